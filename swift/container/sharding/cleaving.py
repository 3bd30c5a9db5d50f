"""A replica's rows go into its shards, range by range; then the replica's old file goes (database.md 20.7, 20.8).

Each step is durable before the next one, and each may be made again: whoever is killed anywhere goes on in the next visit. The old file
goes only when every row in it is in shards that a quorum of their replicas have.
"""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.concurrency import kill, spawn
from swift.db.connection import Connection
from swift.engine.fault_points import fault_point

from ..broker import ContainerBroker
from ..shard_ranges import ACTIVE, CLEAVED, CREATED, SHARDED, SHARDING, SHRINKING, SHRUNK, ShardRange
from . import change, context, files, moving, strays
from .context import CleavingContext
from .local import Spot
from .visit import Visit

_CLEAVABLE = (CREATED, CLEAVED, ACTIVE)


def cleave(visit: Visit) -> CleavingContext | None:
    """Move rows of as many ranges as a visit does; how far that is now, None if there is nothing more to be done in this visit."""
    broker = visit.broker
    retiring = visit.run(files.retiring_state, broker)
    record: CleavingContext = visit.run(context.load, broker, retiring)
    if not record.misplaced_done:
        if not strays.move_outside(visit, retiring["file"]):
            return None
        record.misplaced_done = True
        visit.run(context.store, broker, record)
    if record.cleaving_done:
        return record
    own = visit.own()
    todo = [item for item in visit.others() if item["state"] != SHRINKING and _is_behind(item, record.cursor)]
    if own["state"] in (SHRINKING, SHRUNK):
        todo = [item for item in todo if item["state"] in _CLEAVABLE]
    if not record.cursor:
        record.start()
        record.ranges_todo = len(todo)
    _cleave_ranges(visit, record, retiring, own, todo)
    visit.run(context.store, broker, record)
    return record


def move_ahead(visit: Visit) -> bool:
    """Bring the rows of a shard that is to be merged into others to these before its own file retires; returns False if some are not there.

    From then on who lists looks for its names there.
    """
    own = visit.own()
    source = visit.run(_whole_file, visit.broker)
    policy = visit.run(lambda: visit.broker.storage_policy_index)
    for item in visit.others():
        if item["state"] not in _CLEAVABLE or not change.overlap(item, own):
            continue
        spot = visit.local.spot(*item["name"].split("/", 1))
        run = visit.run_at(spot)
        shard, _ = run(visit.local.open, spot, item, visit.root, policy)
        lower = max(item["lower"], own["lower"])
        upper = min((u for u in (item["upper"], own["upper"]) if u), default="")
        rows = source._replace(lower=lower, upper=upper)
        moving.move(rows, shard, visit.options.row_batch, run)
        fault_point("shard:ahead:moved")
        if not visit.replicate_shard(spot, visit.sharder.old_quorum):
            visit.error = f"too few replicas of {item['name']} answer"
            visit.logger.warning("%s is not merged yet: %s", visit.path, visit.error)
            return False
    return True


def take_back(visit: Visit) -> bool:
    """Merge a root's old file into its new one where all shards have gone back into the root meanwhile; returns True if it is gone."""
    broker = visit.broker
    retiring = visit.run(files.retiring_state, broker)
    rows = moving.Rows(retiring["file"], "", "", -1, retiring["max_row"])
    moving.move(rows, broker, visit.options.row_batch, visit.run)
    visit.run(_note_points, broker, retiring)
    fault_point("shard:back:moved")
    record = CleavingContext(retiring["id"], cleave_to_row=retiring["max_row"])
    return bool(visit.run(files.end, broker, record))


def _whole_file(broker: ContainerBroker) -> moving.Rows:
    """All rows of a container's newest file. Blocks."""
    broker.commit_pending()
    broker.reload_files()
    return moving.Rows(broker.file, "", "", -1, broker.max_row())


def _is_behind(item: ShardRange, cursor: str) -> bool:
    return not cursor or not item["upper"] or item["upper"] > cursor


class _Moved(NamedTuple):
    """A range whose rows are in its shard's database on this node. `number`: of rows; `created`: if the database was made for them."""

    item: ShardRange
    spot: Spot
    shard: ContainerBroker
    number: int
    created: bool
    started: float


class _Sent(NamedTuple):
    """A range whose shard is on its way to where it belongs.

    `changed`, `donor`: ranges to be stored when it is there. `replicating`: a green thread that returns True if enough have it; None if
    there is nothing to be sent.
    """

    item: ShardRange
    changed: ShardRange | None
    donor: ShardRange | None
    replicating: Any
    started: float
    sent_at: float


def _cleave_ranges(
    visit: Visit, record: CleavingContext, retiring: dict[str, Any], own: ShardRange, todo: list[ShardRange]
) -> None:
    """A range's rows are moved while the shard before it is replicated; what is stored of them is stored in order."""
    reached = record.cursor or own["lower"]
    done = 0
    sent: _Sent | None = None
    try:
        for item in todo:
            if done >= visit.options.cleave_batch:
                break
            if item["lower"] > reached or item["state"] not in _CLEAVABLE:
                if item["lower"] > reached:
                    visit.error = f"no shard for what is behind {reached!r}"
                break
            if item["upper"] and item["upper"] <= reached:
                continue
            visit.figures.count("cleaved", "attempted")
            moved = _move_range(visit, record, retiring, item)
            if sent is not None and not _finish_range(visit, record, own, sent):
                return
            sent = None
            if moved is None:
                visit.figures.count("cleaved", "failure")
                return
            sent = _send_range(visit, own, moved)
            done += sent.replicating is not None
            reached = item["upper"]
            if not reached or (own["upper"] and reached >= own["upper"]):
                break
        if sent is not None:
            _finish_range(visit, record, own, sent)
            sent = None
    finally:
        if sent is not None and sent.replicating is not None:
            kill(sent.replicating)


def _move_range(
    visit: Visit, record: CleavingContext, retiring: dict[str, Any], item: ShardRange
) -> _Moved | None:
    """Move a range's rows to its shard's database; None if it has to be tried again."""
    started = clock.time()
    spot = visit.local.spot(*item["name"].split("/", 1))
    run = visit.run_at(spot)
    policy = visit.run(lambda: visit.broker.storage_policy_index)
    shard, created = run(visit.local.open, spot, item, visit.root, policy)
    visit.figures.count("cleaved", "db_created" if created else "db_exists")
    fault_point("shard:cleave:opened")
    above = -1 if record.last_cleave_to_row is None else record.last_cleave_to_row
    rows = moving.Rows(retiring["file"], item["lower"], item["upper"], above, retiring["max_row"])
    try:
        number = moving.move(rows, shard, visit.options.row_batch, run)
        run(_note_points, shard, retiring)
    except sqlite3.OperationalError as err:
        visit.logger.error("ERROR moving rows to %s: %s", item["name"], err)
        return None
    fault_point("shard:cleave:moved")
    return _Moved(item, spot, shard, number, created, started)


def _send_range(visit: Visit, own: ShardRange, moved: _Moved) -> _Sent:
    """Note in the shard what has become of it, and begin to bring it to where it belongs."""
    item, spot, shard = moved.item, moved.spot, moved.shard
    run = visit.run_at(spot)
    changed, donor = _after_move(visit, own, item, run(_numbers, shard))
    if changed is not None or donor is not None:
        run(shard.merge_shard_ranges, [r for r in (changed, donor) if r is not None])
    replicating = None
    if moved.number or not moved.created or not run(_remove_if_empty, shard):
        is_first = own["state"] == SHARDING and item["state"] == CREATED
        quorum = visit.sharder.new_quorum if is_first else visit.sharder.old_quorum
        replicating = spawn(visit.replicate_shard, spot, quorum)
    return _Sent(item, changed, donor, replicating, moved.started, clock.time())


def _finish_range(visit: Visit, record: CleavingContext, own: ShardRange, sent: _Sent) -> bool:
    """Wait until a shard is where it belongs, and note that; returns False if it has to be tried again."""
    item = sent.item
    if sent.replicating is not None:
        if not sent.replicating.wait():
            visit.error = f"too few replicas of {item['name']} answer"
            visit.logger.warning("%s is not cleaved further: %s", visit.path, visit.error)
            visit.figures.count("cleaved", "failure")
            return False
        record.replication_time += clock.time() - sent.sent_at
    fault_point("shard:cleave:replicated")
    visit.store(*(r for r in (sent.changed, sent.donor) if r is not None))
    visit.figures.count("cleaved", "success")
    visit.figures.took("cleaved", clock.time() - sent.started)
    visit.sharder.metrics.timing_since("sharder.sharding.cleave", sent.started)
    record.cursor = item["upper"]
    record.ranges_done += 1
    record.ranges_todo = max(record.ranges_todo - 1, 0)
    if not item["upper"] or (own["upper"] and item["upper"] >= own["upper"]):
        record.cleaving_done = True
    visit.run(context.store, visit.broker, record)
    fault_point("shard:cleave:stored")
    return True


def _numbers(shard: ContainerBroker) -> dict[str, int]:
    """Live rows, bytes and tombstones of a shard. Blocks."""
    info = shard.info()
    with shard.connection() as conn:
        dead = conn.execute("SELECT count(*) FROM object WHERE deleted = 1").fetchone()[0]
    return {"object_count": info["object_count"], "bytes_used": info["bytes_used"], "tombstones": dead}


def _after_move(
    visit: Visit, own: ShardRange, item: ShardRange, numbers: dict[str, int]
) -> tuple[ShardRange | None, ShardRange | None]:
    """(the range as it is now, the container's own as it is now), None for what has not changed."""
    when = change.now()
    if own["state"] in (SHRINKING, SHRUNK):
        if change.includes(item, own) and not own["deleted"]:
            # with the acceptor's report the root learns of both in one step
            gone = change.deleted(change.in_state(own, SHRUNK), when)
            return None, change.with_statistics(gone, {"object_count": 0, "bytes_used": 0}, when)
        return None, own if own["deleted"] else None
    if item["state"] == CREATED:
        return change.in_state(change.with_statistics(item, numbers, when), CLEAVED), None
    return None, None


def _note_points(shard: ContainerBroker, retiring: dict[str, Any]) -> None:
    """The shard's replica has what the retiring one had, and its peers' rows with it: durably, with all rows before it."""

    def note(conn: Connection) -> None:
        shard._raise_sync_point(conn, retiring["id"], retiring["max_row"])
        for remote_id, point in retiring["syncs"]:
            shard._raise_sync_point(conn, remote_id, point)

    shard.change(note, sync=True)


def _remove_if_empty(shard: ContainerBroker) -> bool:
    """Remove a database that was made for nothing; returns True if it is gone."""

    def is_empty(conn: Connection) -> bool:
        return conn.execute("SELECT 1 FROM object LIMIT 1").fetchone() is None

    return shard.remove(is_empty)


def finish(visit: Visit, record: CleavingContext) -> bool:
    """All ranges are done: the old file goes, unless rows have come into it meanwhile; returns True if it is gone."""
    broker = visit.broker
    if not record.is_done:
        record.reset()
        visit.run(context.store, broker, record)
        return False
    own = visit.own()
    when = change.now()
    final = SHRUNK if own["state"] in (SHRINKING, SHRUNK) else SHARDED
    changed = change.with_statistics(change.in_state(own, final), {"object_count": 0, "bytes_used": 0}, when)
    if not visit.is_root and not own["deleted"]:
        changed = change.deleted(changed, when)
    cleaved = []
    if final == SHARDED:
        cleaved = [change.in_state(item, ACTIVE) for item in visit.others() if item["state"] == CLEAVED]
    visit.store(changed, *cleaved)
    fault_point("shard:finish:stored")
    if not visit.run(files.end, broker, record):
        record.reset()
        visit.run(context.store, broker, record)
        return False
    visit.figures.count("visited", "completed")
    visit.logger.info("Completed %s of %s", "shrinking" if final == SHRUNK else "sharding", visit.path)
    return True
