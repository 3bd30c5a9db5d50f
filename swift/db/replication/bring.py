"""One database brought to given devices now, as the replicator would in its next pass: for operators' commands, in a server."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import Any

from swift.core import swift_dir
from swift.core.policy import policies
from swift.engine.threads import DeviceBusy, pool_for, run_in_thread
from swift.ring.lookup import Ring

from ..broker import Broker
from ..connection import CONNECTIONS
from ..errors import DatabaseError, DatabaseMissing
from .exchange import Exchange, Terms
from .figures import Figures
from .peer import Timeouts
from .replica import Replica
from .spots import Spot

_TIMEOUTS = Timeouts(2.0, 60.0)
_PER_DIFF, _MAX_DIFFS = 1000, 10_000


class Bringer:
    """`kind`: account or container, also the ring. `exchange_class`: what that kind says to a peer."""

    def __init__(self, kind: str, exchange_class: type[Exchange], metrics: Any, logger: Any) -> None:
        self._kind = kind
        self._exchange_class = exchange_class
        self._metrics = metrics
        self._logger = logger
        self._ring: Ring = run_in_thread(Ring, swift_dir.current(), kind)

    def bring(self, broker: Broker, spot: Spot, ids: Sequence[int]) -> dict[str, Any]:
        """`done`: {id: True if that device has all now}; `error`: why nothing was done. Only to devices of the ring. Raises DatabaseMissing."""
        pool = pool_for(spot.device_path)
        try:
            replica = Replica(broker, pool, spot.device_path, pool.run_long(_look, broker))
            return {"done": self._bring(replica, ids)}
        except DatabaseMissing:
            raise
        except (DatabaseError, sqlite3.Error, OSError, DeviceBusy, ValueError) as error:
            self._logger.error("ERROR bringing %s to others: %s", broker.path, error)
            return {"done": {}, "error": str(error)[:500]}
        finally:
            pool.leave(CONNECTIONS.forget, broker.directory)

    def _bring(self, replica: Replica, ids: Sequence[int]) -> dict[str, bool]:
        info = replica.info
        partition = self._ring.get_part(*(info[key] for key in ("account", "container") if key in info))
        terms = Terms(
            per_diff=_PER_DIFF,
            max_diffs=_MAX_DIFFS,
            timeouts=_TIMEOUTS,
            rsync_module="{replication_ip}::" + self._kind,
            rsync_compress=False,
            region=None,
            agent=f"{self._kind}-replicator {os.getpid()}",
            with_policy="container" in info and len(policies()) > 1,
        )
        figures = Figures(self._metrics)
        done = {}
        for node in self._ring.devs:
            if node is not None and node["id"] in ids:
                exchange = self._exchange_class(replica, node, partition, terms, figures, self._logger)
                done[str(node["id"])] = exchange.run()
        return done


def _look(broker: Broker) -> dict[str, Any]:
    if not broker.exists():
        raise DatabaseMissing(broker.path)
    broker.commit_pending()
    return broker.told(broker.glance(broker.read_replication_info))
