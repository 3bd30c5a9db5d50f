"""Which replica's sharder decides for a container: where it is cut, what is merged (doc/durability.md, "Sharding").

It is the first primary whose device answers. Nobody decides without most of the others: who takes another's place needs a majority, and the
first primary half of them, so that two who can't see each other never both have enough. What one has decided is stored with those before
anything is done about it, and what they know is learnt before anything is decided.
"""

from __future__ import annotations

from typing import Any

from swift.core import clock

from ..shard_ranges import ACTIVE, FOUND, SHARDING, ShardRange
from . import change, family
from .local import ENABLED

BELIEVED_SECONDS = 60.0  # how long it is believed that a device is away, or is not


class Leading:
    """`sharder`: the daemon."""

    def __init__(self, sharder: Any) -> None:
        self._sharder = sharder
        self._seen: dict[int, tuple[float, bool]] = {}

    def leads(self, visit: Any) -> bool:
        """Returns True if this replica decides."""
        if not visit.options.auto_shard or visit.index is None:
            return False
        nodes = self._sharder.ring.get_part_nodes(self._sharder.ring.get_part(*visit.path.split("/", 1)))
        return all(self._is_away(node, visit) for node in nodes[: visit.index])

    def _is_away(self, node: Any, visit: Any) -> bool:
        seen = self._seen.get(node["id"])
        if seen is not None and clock.monotonic() < seen[0]:
            return seen[1]
        away = visit.asking.is_away(node, visit.path)
        if away:
            self._sharder.logger.warning("%s is away: the next replica shards in its place", node["device"])
        self._seen[node["id"]] = (clock.monotonic() + BELIEVED_SECONDS, away)
        return bool(away)

    def begin_cycle(self) -> None:
        """Look again."""
        self._seen.clear()


def agree(visit: Any) -> bool:
    """Exchange ranges with the other replicas; returns True if so many have ours now that we may decide."""
    replicas = len(visit.sharder.ring.get_part_nodes(visit.sharder.ring.get_part(*visit.path.split("/", 1))))
    needed = (replicas + 1) // 2 if visit.index == 0 else replicas // 2 + 1
    reached = visit.replicate()
    if reached < needed:
        visit.error = f"only {reached} of {replicas} replicas answer"
        visit.logger.warning("%s is not sharded further: %s", visit.path, visit.error)
        return False
    return True


def enable(visit: Any, info: dict[str, Any]) -> None:
    """Have the sharding of a root begin that has grown over the threshold."""
    if not agree(visit):
        return
    own = visit.own()
    if own["state"] != ACTIVE:
        return  # by now somebody else has
    when = change.now()
    own = change.with_statistics(change.forced(own, SHARDING, when), info, when)
    visit.store(own)
    if ENABLED not in visit.run(visit.broker.metadata):
        visit.run(visit.broker.update_metadata, {ENABLED: ("True", when)})
    agree(visit)


def settle_found(ranges: list[ShardRange], when: str) -> list[ShardRange]:
    """Ranges that have only been found, and that another set of ranges makes superfluous, as deleted.

    Nothing was stored for them anywhere. A set that is in use counts, else the oldest.
    """
    if all(item["state"] != FOUND for item in ranges):
        return []
    known = [
        (_set_of(item), item) for item in ranges
    ]  # of thousands of ranges: names are taken to pieces once
    found = [(key, item) for key, item in known if item["state"] == FOUND]
    if len({key for key, _ in known}) < 2:
        return []
    losers = set()
    for key, item in found:
        if key not in losers and any(
            other_key != key and (other["state"] != FOUND or other_key < key) and change.overlap(item, other)
            for other_key, other in known
        ):
            losers.add(key)
    return [change.deleted(item, when) for key, item in found if key in losers]


def _set_of(item: ShardRange) -> tuple[str, str, str]:
    """What ranges have in common that were found together, the time first."""
    name = family.parse(item["name"])
    return (
        (item["timestamp"], "", item["name"])
        if name is None
        else (name.timestamp, name.parent_hash, name.account)
    )
