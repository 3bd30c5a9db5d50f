"""What a shard tells its root: its ranges, with statistics (database.md 20.10).

Each replica tells what it counts, and the last one who does is believed. So rows that make a difference are brought to the other replicas
first: else one that lacks them would go on telling the root of less, after each that has them. A copy on a handoff, which may be from
before a disk went away, has no say.
"""

from __future__ import annotations

from urllib.parse import quote

from swift.core import clock
from swift.db.connection import Connection
from swift.engine.fault_points import fault_point

from .. import sharded
from ..shard_ranges import ACTIVE, CLEAVED, SHARDED, SHARDING, SHRINKING, SHRUNK, ShardRange
from . import change
from .visit import Visit

_COUNTING = (CLEAVED, ACTIVE, SHARDING, SHARDED, SHRINKING, SHRUNK)


def report(visit: Visit) -> bool:
    """Bring the shard's statistics up to date, and tell the root of what it does not know yet; returns False if it could not be told."""
    own = visit.run(visit.broker.own_shard_range, False)
    if own is None:
        return True
    if own["state"] in _COUNTING and visit.index is not None:
        if visit.run(_has_other_rows, visit, own):
            visit.replicate()
            fault_point("shard:report:replicated")
            own = visit.own()
        own = visit.run(_count, visit, own)
    if own["reported"]:
        return True
    started = clock.time()
    ranges = visit.run(visit.broker.all_shard_ranges)
    if not visit.asking.send(visit.root, ranges, {"Referer": quote(visit.path)}):
        visit.sharder.metrics.increment("sharder.sharding.update_root.failure")
        return False
    visit.sharder.metrics.timing_since("sharder.sharding.update_root", started)
    visit.store({**own, "reported": 1})
    return True


def _has_other_rows(visit: Visit, own: ShardRange) -> bool:
    """Returns True if the replica counts other than its family was told, and may give its rows to its peers. Blocks."""
    broker = visit.broker
    if broker.db_state() not in (sharded.UNSHARDED, sharded.COLLAPSED) or broker.sharding_initiated():
        return False
    info = broker.info()
    return any(info[key] != own[key] for key in ("object_count", "bytes_used"))


def _count(visit: Visit, own: ShardRange) -> ShardRange:
    """The own range with today's numbers, stored if they are new. Blocks."""
    broker = visit.broker
    now = clock.time()
    age, sync_age = max(now - visit.reclaim_age, 0), max(now - 2 * visit.reclaim_age, 0)
    info = broker.info()

    def look(conn: Connection) -> tuple[bool, int]:
        stored = broker.read_replication_info(conn)
        due = broker.is_reclaim_due(conn, stored, str(age), str(sync_age))
        return due, conn.execute("SELECT count(*) FROM object WHERE deleted = 1").fetchone()[0]

    due, dead = broker.glance(look)
    if due:
        dead = broker.reclaim(age, sync_age)
    numbers = {"object_count": info["object_count"], "bytes_used": info["bytes_used"], "tombstones": dead}
    if any(own[key] != value for key, value in numbers.items()):
        own = change.with_statistics(own, numbers, change.now())
        broker.merge_shard_ranges([own])
    return own
