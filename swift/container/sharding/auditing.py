"""Is what a container knows of its family in order (database.md 20.3)? What the history tells is mended, the rest is named and waits.

Where it is not, nothing is split or merged on this node until it is.
"""

from __future__ import annotations

from swift.core import clock
from swift.core.timestamp import Timestamp, normalize_timestamp
from swift.engine.fault_points import fault_point

from .. import shard_ranges
from ..broker import ContainerBroker
from ..shard_ranges import ACTIVE, CLEAVING, SHARDED, SHARDING, SHRINKING, SHRUNK, ShardRange
from ..sharded import SHARDED as DB_SHARDED
from . import change, context, family, files, repair
from .asking import Fetched
from .visit import Visit

_ROOT_HEADERS = {"X-Backend-Override-Deleted": "true", "X-Backend-Include-Deleted": "True"}


def audit(visit: Visit, is_deleted: bool) -> bool:
    """Returns True if work on the container may go on."""
    visit.run(_forget_contexts, visit)
    if visit.is_root:
        if is_deleted:
            return True
        visit.figures.count("audit_root", "attempted")
        return visit.figures.outcome("audit_root", _audit_root(visit))
    visit.figures.count("audit_shard", "attempted")
    return visit.figures.outcome("audit_shard", _audit_shard(visit))


def _forget_contexts(visit: Visit) -> None:
    """Records of moves that have come to their end, or whose file is long gone. Blocks."""
    now = clock.time()
    old = []
    for record, timestamp in context.all_of(visit.broker.metadata()):
        age = now - float(Timestamp(timestamp))
        if age > visit.reclaim_age or (record.is_done and age > visit.options.recon_sharded_timeout):
            old.append(record.ref)
    if old:
        context.remove(visit.broker, old)


# -- roots


def _audit_root(visit: Visit) -> bool:
    own, others = visit.own(), visit.others()
    if own["state"] not in (SHARDING, SHARDED):
        return True
    wrong = []
    if own["epoch"] is None and visit.run(files.epoch_of, visit.broker) is not None:
        wrong.append("missing own epoch")
    standing = [item for item in others if item["state"] != SHRINKING]
    gaps = repair.find_gaps(standing, own, with_tail=own["state"] == SHARDED) if others else []
    if gaps:
        wrong.append("missing range(s): " + " ".join(f"{lower!r}-{upper!r}" for lower, upper in gaps[:10]))
    young = normalize_timestamp(max(clock.time() - visit.reclaim_age, 0))
    overlaps = repair.find_overlaps_by_state(others, young)
    if overlaps:
        visit.figures.count("audit_root", "has_overlap")
        visit.figures.count("audit_root", "num_overlap", len(overlaps))
        named = (
            f"{i['name']} {i['lower']!r}-{i['upper']!r}" for item, rest in overlaps[:5] for i in (item, *rest)
        )
        wrong.append("overlapping ranges: " + ", ".join(named))
    if wrong:
        visit.error = "; ".join(wrong)
        visit.logger.warning("Audit failed for root %s (%s): %s", visit.broker.path, visit.path, visit.error)
    return not wrong


# -- shards


def _audit_shard(visit: Visit) -> bool:
    own = visit.run(visit.broker.own_shard_range, False)
    if own is None:
        visit.error = "missing own shard range"
        visit.logger.warning("Audit failed for shard %s (%s): %s", visit.broker.path, visit.path, visit.error)
        return False
    if not family.is_shards_account(visit.path.partition("/")[0]):
        visit.logger.warning("Audit warnings for shard %s (%s): account not in shards namespace", visit.broker.path, visit.path)  # fmt: skip
    found = visit.asking.fetch(visit.root, "auditing", own["lower"], own["upper"], _ROOT_HEADERS)
    if found.answered:
        _learn(visit, own, found.ranges)
        visit.run(_take_policy, visit.broker, found.policy)
    elif not own["deleted"]:
        visit.logger.warning("Audit warnings for shard %s (%s): unable to get shard ranges from root %s", visit.broker.path, visit.path, visit.root)  # fmt: skip
    own = visit.own()
    if _is_orphan(visit, own, found):
        rows = 0 if visit.run(visit.broker.empty) else visit.run(visit.broker.info)["object_count"]
        if rows:
            visit.sharder.name_orphan(visit, rows)
        else:
            visit.logger.warning("%s is a shard of %s, which is gone", visit.path, visit.root)
            own = change.deleted(change.in_state(own, SHRUNK), change.now())
            visit.store(own)
            fault_point("shard:audit:orphan_stored")
    visit.run(_delete_if_over, visit, own)
    return True


def _is_orphan(visit: Visit, own: ShardRange, found: Fetched) -> bool:
    """All replicas of the root's partition say that there is no root, for long already."""
    replicas = len(visit.asking.ring.get_part_nodes(visit.asking.ring.get_part(*visit.root.split("/", 1))))
    if found.answered or found.missing < replicas or own["deleted"]:
        return False
    newest = max(own["timestamp"], own["meta_timestamp"], own["state_timestamp"])
    return float(Timestamp(newest)) < clock.time() - visit.reclaim_age


def _learn(visit: Visit, own: ShardRange, ranges: list[ShardRange]) -> None:
    """What the root knows of the shard, its children and, for one that is being moved, those that take its rows."""
    mine = [item for item in ranges if item["name"] == own["name"]]
    if mine:
        visit.store(*mine)
        fault_point("shard:audit:own_stored")
        own = visit.own()
    rest = [item for item in ranges if item["name"] != own["name"]]
    children = [item for item in rest if family.is_child_of(item["name"], own["name"])]
    if children:
        visit.store(*children)
    if own["state"] not in CLEAVING or (own["state"] == SHARDED and visit.state() == DB_SHARDED):
        return  # else a replica that comes late finds its children split or merged again, and gone
    root = [item for item in ranges if item["name"] == visit.root]
    above = {item["name"] for item in family.ancestors(own, ranges)} | {visit.root}
    acceptors = [
        item
        for item in rest
        if item["name"] not in above and not (item["state"] in CLEAVING and not item["deleted"])
    ]
    if own["state"] in (SHRINKING, SHRUNK, SHARDED) and root and root[0]["state"] == ACTIVE:
        acceptors.append(root[0])
    _take_acceptors(visit, own, acceptors)


def _take_policy(broker: ContainerBroker, policy: int | None) -> None:
    """A root that was deleted and made again may have another policy: its shards count, and list, what it has now. Blocks."""
    if policy is not None and policy != broker.storage_policy_index:
        # as of no time of its own: else the replica that has not looked yet would have the older choice, which counts
        broker.set_storage_policy_index(policy, normalize_timestamp(0))


def _take_acceptors(visit: Visit, own: ShardRange, acceptors: list[ShardRange]) -> None:
    """Merge ranges if what comes of it is whole: neither gap nor overlap within the container's own range."""
    existing = {item["name"]: item for item in visit.run(visit.broker.all_shard_ranges)}
    combined = dict(existing)
    for item in shard_ranges.merge_shard_ranges(existing, acceptors)[1]:
        combined[item["name"]] = item
    standing = [
        item
        for item in combined.values()
        if not item["deleted"] and item["name"] != own["name"] and change.overlap(item, own)
    ]
    if not standing or repair.find_gaps(standing, own) or repair.find_overlaps(standing):
        return
    names = {item["name"] for item in standing} | set(existing)
    visit.store(*(item for item in acceptors if item["name"] in names))
    fault_point("shard:audit:acceptors_stored")


def _delete_if_over(visit: Visit, own: ShardRange) -> None:
    """A shard that has given all away, long ago, is deleted; replicators remove it. Blocks."""
    if not own["deleted"]:
        return
    if float(Timestamp(own["timestamp"])) > clock.time() - visit.reclaim_age:
        return
    if visit.broker.empty() and not visit.broker.is_deleted():
        visit.broker.delete_db(Timestamp.now().internal)
        visit.logger.info("Marked shard container as deleted %s (%s)", visit.broker.path, visit.path)
