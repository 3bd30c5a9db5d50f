"""What an operator decides about daemons that go over partitions, and about the object-replicator (object-disk 23.2)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from swift.core.config import non_negative_float, non_negative_int, positive_float, positive_int, truthy
from swift.core.errors import ConfigError
from swift.obj.replication.peers import Peers
from swift.obj.replication.push import Rsync, Ssync
from swift.obj.replication.rsync_sync import RsyncOptions, is_installed
from swift.obj.replication.work import Method
from swift.obj.ssync.sender import Options as SsyncOptions
from swift.obj.store import COMMIT_WINDOW, RECLAIM_AGE
from swift.run.addresses import own_addresses
from swift.run.rate import RateLimiter
from swift.telemetry import recon_cache


class PassOptions:
    """`conf`: a daemon's section of object-server.conf, named `section`. Times in seconds. Raises ValueError, ConfigError."""

    def __init__(self, conf: Mapping[str, Any], logger: Any, section: str) -> None:
        interval = conf.get("interval", conf.get("run_pause"))
        if "run_pause" in conf:
            logger.warning("Option %s/run_pause is deprecated. Use interval instead.", section)
        self.interval = non_negative_float(30 if interval is None else interval)
        self.concurrency = positive_int(conf.get("concurrency", 4))
        self.workers = 0
        self.stats_interval = positive_float(conf.get("stats_interval", 300))
        self.ring_check_interval = positive_float(conf.get("ring_check_interval", 15))
        self.lockup_timeout = positive_float(conf.get("lockup_timeout", 1800))
        self.reclaim_age = float(conf.get("reclaim_age", RECLAIM_AGE))
        self.commit_window = non_negative_float(conf.get("commit_window", COMMIT_WINDOW))
        self.recon_file = os.path.join(
            conf.get("recon_cache_path", recon_cache.DEFAULT_PATH), recon_cache.OBJECT
        )
        self.addresses = own_addresses(conf.get("ring_ip", conf.get("bind_ip", "0.0.0.0")))
        per_port = int(conf.get("servers_per_port", 0) or 0)
        self.port = None if per_port > 0 else positive_int(conf.get("bind_port", 6200))
        self.conn_timeout = positive_float(conf.get("conn_timeout", 0.5))
        self.node_timeout = positive_float(conf.get("node_timeout", 10))
        self.http_timeout = positive_float(conf.get("http_timeout", 60))
        self.peers = Peers(self.conn_timeout, self.node_timeout, self.http_timeout, section)


class ReplicatorOptions(PassOptions):
    """`conf`: section object-replicator."""

    def __init__(self, conf: Mapping[str, Any], logger: Any) -> None:
        super().__init__(conf, logger, "object-replicator")
        self.workers = non_negative_int(conf.get("replicator_workers", 0))
        self.handoffs_first = truthy(conf.get("handoffs_first", "false"))
        handoff_delete = conf.get("handoff_delete", "auto")
        self.handoff_delete = 0 if handoff_delete == "auto" else non_negative_int(handoff_delete)
        if self.handoffs_first or self.handoff_delete:
            logger.warning(
                "Handoff only mode is not intended for normal operation, please disable handoffs_first and "
                "handoff_delete before the next normal rebalance"
            )
        limit = non_negative_float(conf.get("ssync_bwlimit", 0))
        rate = RateLimiter(limit * 1024) if limit else None
        ssync = SsyncOptions(self.conn_timeout, self.node_timeout, self.http_timeout, rate)
        self.method = self._method(conf, ssync, logger)

    def _method(self, conf: Mapping[str, Any], options: SsyncOptions, logger: Any) -> Method:
        ssync = Ssync(options)
        name = conf.get("sync_method", "ssync")
        rsync_options = RsyncOptions(conf)
        if name == "ssync":
            return ssync
        if name != "rsync":
            raise ConfigError(f"sync_method must be ssync or rsync, not {name!r}")
        if not is_installed():
            logger.warning("sync_method is rsync, but there is no rsync here: replicating over HTTP (ssync)")
            return ssync
        return Rsync(rsync_options, self.peers, ssync, logger)
