"""What the leading replica of a root decides: where it is cut, which shards are split or merged, what is mended (database.md 20.5, 20.6, 20.9)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from swift.core import clock
from swift.core.timestamp import NormalTimestamp
from swift.engine.fault_points import fault_point

from ..shard_ranges import ACTIVE, CREATED, FOUND, SHARDING, SHRINKING, ShardRange
from . import change, family, leading, repair, scan, shrinking
from .local import ENABLED, QUOTED_ROOT
from .shrinking import Merger
from .visit import Visit

REPAIR_AGE = 14400.0  # seconds that ranges must have stood before they are mended


# -- cutting


def may_cut(visit: Visit) -> bool:
    """Returns True if there is something to be cut, else it need not be. A container with two files that never is has rows that nobody lists."""
    options = visit.options
    if visit.own()["state"] != SHARDING or visit.run(
        scan.is_large_enough, visit.broker, options.rows_per_shard, options.minimum_shard_size
    ):
        return True
    _think_better(visit)
    return False


def _think_better(visit: Visit) -> None:
    """Most rows went between the decision and the look: the container stays as it is. Else a shard would never be cut, and never be merged, and
    replicas that are to give it their rows would wait for ever."""
    if not leading.agree(visit):
        return
    own = visit.own()
    if own["state"] != SHARDING or visit.others():
        return  # somebody has gone on meanwhile
    when = change.now()
    info = visit.run(visit.broker.info)
    visit.store(change.with_statistics(change.forced(own, ACTIVE, when), info, when))
    fault_point("shard:back:decided")
    visit.logger.info("%s has too few rows by now: it stays as it is", visit.path)
    visit.replicate()


def find(visit: Visit) -> int:
    """Look for cuts, as long as they don't reach the end; returns how many were found."""
    if scan.is_complete(visit.others(), visit.own()):
        return 0
    if not leading.agree(visit):
        return 0
    others, own = visit.others(), visit.own()
    if own["state"] != SHARDING or scan.is_complete(others, own):
        return 0
    figures, options = visit.figures, visit.options
    figures.count("scanned", "attempted")
    started = clock.time()
    cuts = visit.run(
        scan.find_shard_ranges,
        visit.broker,
        options.rows_per_shard,
        options.minimum_shard_size,
        others,
        options.scanner_batch,
    )
    if not cuts and not others:
        # most rows went between the decision and the look: there is no way back, but one shard is as good
        visit.logger.warning("%s has too few rows to be cut: it becomes one shard", visit.path)
        count = visit.run(visit.broker.info)["object_count"]
        cuts = [{"index": 0, "lower": own["lower"], "upper": own["upper"], "object_count": count}]
    if not cuts:
        figures.count("scanned", "failure")
        return 0
    when = change.now()
    account, container = visit.path.split("/", 1)
    root = visit.root.split("/", 1)[1]
    ranges = [
        _found(family.shard_path(account, root, container, when, cut["index"]), when, cut) for cut in cuts
    ]
    visit.store(*ranges)
    fault_point("shard:found:stored")
    figures.count("scanned", "found", len(ranges))
    figures.count("scanned", "success")
    figures.took("scanned", (clock.time() - started) / len(ranges))
    return len(ranges)


def _found(name: str, when: str, cut: dict[str, Any]) -> ShardRange:
    return {
        "name": name,
        "timestamp": when,
        "lower": cut["lower"],
        "upper": cut["upper"],
        "object_count": cut["object_count"],
        "bytes_used": 0,
        "meta_timestamp": when,
        "deleted": 0,
        "state": FOUND,
        "state_timestamp": when,
        "epoch": None,
        "reported": 0,
        "tombstones": -1,
    }


def create(visit: Visit) -> int:
    """Make the containers of ranges that have been found; returns how many were made."""
    found = [item for item in visit.others() if item["state"] == FOUND]
    if not found:
        return 0
    policy = visit.run(lambda: visit.broker.storage_policy_index)
    headers = {
        "X-Backend-Storage-Policy-Index": str(policy),
        QUOTED_ROOT: quote(visit.root),
        ENABLED: "True",
        "X-Backend-Auto-Create": "True",
    }
    created = []
    for item in found:
        visit.figures.count("created", "attempted")
        made = change.in_state(item, CREATED)
        if not visit.figures.outcome("created", visit.asking.send(item["name"], [made], headers)):
            break
        created.append(made)
        fault_point("shard:created:sent")
    if created:
        visit.store(*created)
        if not visit.is_root:
            visit.asking.send(visit.root, created)
    return len(created)


def settle(visit: Visit) -> None:
    """Of two sets of cuts that were found by two who did not see each other, one goes."""
    gone = leading.settle_found(visit.others(), change.now())
    if gone:
        visit.logger.warning(
            "%s: %d ranges that another has found otherwise are dropped", visit.path, len(gone)
        )
        visit.store(*gone)


def split_large(visit: Visit) -> None:
    """Shards that have grown over the threshold are to be split themselves."""
    if not _large(visit) or not leading.agree(visit):
        return
    when = change.now()
    large = [change.forced(item, SHARDING, when) for item in _large(visit)]
    if large:
        visit.store(*large)


def _large(visit: Visit) -> list[ShardRange]:
    return [
        item
        for item in visit.others()
        if item["state"] == ACTIVE and item["object_count"] >= visit.options.threshold
    ]


def tell_splitting(visit: Visit) -> None:
    """Shards that are to be split are told, until they are."""
    for item in visit.others():
        if item["state"] == SHARDING:
            visit.asking.send(item["name"], [item])


# -- merging


def mergers(visit: Visit, include_shrinking: bool = False) -> list[Merger]:
    """What can be merged by the options."""
    options = visit.options
    return shrinking.find_compactible(
        visit.others(),
        visit.own(),
        options.shrink_threshold,
        options.expansion_limit,
        options.max_shrinking,
        options.max_expanding,
        include_shrinking,
    )


def merge_all(visit: Visit) -> list[Merger]:
    """The way back to a container without shards: two become one, again and again, and the last one goes into the root.

    Not more at once: who lists takes ranges by their upper bounds, and what a donor that is gone has left in its acceptor comes behind
    the other donors then.
    """
    endless = 2**62
    return shrinking.find_compactible(
        visit.others(), visit.own(), endless, endless, 1, -1, include_shrinking=True
    )


def shrink(visit: Visit, wanted: list[Merger]) -> None:
    """Set mergers going, and tell those that are under way again."""
    for merger in wanted:
        when = change.now()
        going = shrinking.set_going(merger, when)
        visit.store(going.acceptor, *going.donors)
        fault_point("shard:shrink:stored")
        if going.acceptor["name"] != visit.path:
            visit.asking.send(going.acceptor["name"], [going.acceptor])
        told = shrinking.as_donors_know_it(going, change.now())
        for donor in going.donors:
            visit.asking.send(donor["name"], [donor, told])


# -- mending


def mend(visit: Visit) -> None:
    """Gaps go to a neighbour; of shards that overlap, the best sequence stays and the others give it what they have.

    Only what has stood for some hours is mended, and only if nothing is on its way.
    """
    if not leading.agree(visit):  # what is wrong here may long be mended elsewhere
        return
    own, others = visit.own(), visit.others()
    if any(item["state"] in (SHRINKING, SHARDING) for item in others) or not others:
        return
    old = [item for item in others if float(NormalTimestamp(item["timestamp"])) <= clock.time() - REPAIR_AGE]
    if len(old) != len(others):
        return
    when = change.now()
    for gap in repair.find_gaps(others, own):
        heir = repair.heir_of_gap(gap, others)
        if heir is None:
            return
        heir = {**heir, "timestamp": when, "reported": 0}
        visit.logger.warning("%s: nothing holds %r-%r, %s takes it", visit.path, *gap, heir["name"])
        visit.store(heir)
        fault_point("shard:mend:heir_stored")
        visit.asking.send(heir["name"], [heir])
        return
    paths = repair.find_paths(others, own)
    if not paths or not repair.is_whole(paths[0], own) or len(paths[0]) == len(others):
        return
    for item, heirs in repair.superfluous(paths[0], others):
        donor = change.forced(item, SHRINKING, when)
        visit.logger.warning("%s: %s overlaps others and gives them its rows", visit.path, item["name"])
        visit.store(donor)
        fault_point("shard:mend:donor_stored")
        visit.asking.send(item["name"], [donor, *heirs])
        fault_point("shard:mend:donor_told")
