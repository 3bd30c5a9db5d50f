"""What an operator decides about the object-expirer (object-disk 23.6)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from swift.core.config import non_negative_float, non_negative_int, positive_float, positive_int, truthy
from swift.core.errors import ConfigError
from swift.obj.expirer.tasks import Delays
from swift.obj.store import RECLAIM_AGE
from swift.obj.updates import ExpirerQueue
from swift.telemetry import recon_cache
from swift.wire.internal import DEFAULT_CONF


class ExpirerOptions:
    """`conf`: section object-expirer. Times in seconds. Raises ValueError, ConfigError."""

    def __init__(self, conf: Mapping[str, Any]) -> None:
        self.interval = positive_float(conf.get("interval", 300))
        self.report_interval = positive_float(conf.get("report_interval", 300))
        self.concurrency = positive_int(conf.get("concurrency", 1))
        self.tasks_per_second = non_negative_float(conf.get("tasks_per_second", 50.0))
        self.cache_size = positive_int(conf.get("round_robin_task_cache_size", 100000))
        self.reclaim_age = non_negative_float(conf.get("reclaim_age", RECLAIM_AGE))
        self.request_tries = positive_int(conf.get("request_tries", 3))
        self.conn_timeout = positive_float(conf.get("conn_timeout", 0.5))
        self.node_timeout = positive_float(conf.get("node_timeout", 10))
        self.delays = Delays(conf)
        queue = ExpirerQueue(conf)
        self.account, self.divisor = queue.account, queue.divisor
        self.recon_file = os.path.join(
            conf.get("recon_cache_path", recon_cache.DEFAULT_PATH), recon_cache.OBJECT
        )
        path = str(conf.get("__file__", ""))
        has_own_file = "expirer" in "/".join(path.split("/")[-2:])
        self.is_wanted = has_own_file or truthy(conf.get("dequeue_from_legacy", "false"))
        self.client_conf = path if has_own_file else conf.get("internal_client_conf_path", DEFAULT_CONF)
        self.processes, self.process = 0, 0
        self.divide(conf.get("processes", 0), conf.get("process", 0))

    def divide(self, processes: Any, process: Any) -> None:
        """This is number `process` of `processes` that share the work; 0: it does all of it. Raises ValueError, ConfigError."""
        self.processes, self.process = non_negative_int(processes), non_negative_int(process)
        if self.processes and self.process >= self.processes:
            raise ConfigError(f"process must be less than processes ({self.processes}), not {self.process}")
