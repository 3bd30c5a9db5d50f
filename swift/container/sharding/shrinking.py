"""Which shards have become so small that they are merged into a neighbour, and how that is set going (database.md 20.9). Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..shard_ranges import ACTIVE, SHARDED, SHRINKING, ShardRange, sort_key
from . import change


class Merger(NamedTuple):
    """Neighbours that become one: `donors` give what they have to the `acceptor`, which may be the root itself."""

    donors: list[ShardRange]
    acceptor: ShardRange


def find_compactible(
    ranges: Iterable[ShardRange],
    own: ShardRange,
    shrink_threshold: int,
    expansion_limit: int,
    max_shrinking: int = 1,
    max_expanding: int = -1,
    include_shrinking: bool = False,
) -> list[Merger]:
    """Sequences of neighbours that can be merged. `include_shrinking`: also those that have all been set going already.

    max_shrinking: donors of one acceptor; max_expanding: acceptors; -1: any number. Those under way count for it.
    """
    ordered = sorted((r for r in ranges if not r["deleted"] and r["name"] != own["name"]), key=sort_key)
    found: list[Merger] = []
    expanding = 0
    at = 0
    while at < len(ordered) and (max_expanding < 0 or expanding < max_expanding):
        sequence, at = _sequence(ordered, at, own, shrink_threshold, expansion_limit, max_shrinking)
        if len(sequence) < 2 or sequence[-1]["state"] not in (ACTIVE, SHARDED):
            continue
        expanding += 1
        if include_shrinking or any(item["state"] != SHRINKING for item in sequence[:-1]):
            found.append(Merger(sequence[:-1], sequence[-1]))
    return found


def _is_shrinkable(item: ShardRange, shrink_threshold: int, expansion_limit: int) -> bool:
    count = change.row_count(item)
    return (
        item["state"] in (ACTIVE, SHRINKING)
        and (count < shrink_threshold or item["state"] == SHRINKING)
        and count <= expansion_limit
    )


def _sequence(
    ordered: Sequence[ShardRange],
    start: int,
    own: ShardRange,
    shrink_threshold: int,
    expansion_limit: int,
    max_shrinking: int,
) -> tuple[list[ShardRange], int]:
    """(neighbours from `start` on that may become one, where the next look begins)."""
    first = ordered[start]
    if not _is_shrinkable(first, shrink_threshold, expansion_limit):
        return [], start + 1
    sequence, count = [first], change.row_count(first)
    complete = False
    at = start + 1
    while at < len(ordered) and not complete:
        item = ordered[at]
        # One that takes over others reaches over them already: that is no gap.
        if item["lower"] > (sequence[-1]["upper"] or item["lower"]) or item["state"] not in (
            ACTIVE,
            SHRINKING,
        ):
            break
        if item["state"] == ACTIVE:
            if count + change.row_count(item) > expansion_limit:
                break
            complete = not _is_shrinkable(item, shrink_threshold, expansion_limit)
        sequence.append(item)
        count += change.row_count(item)
        at += 1
        if item["state"] == ACTIVE:
            complete = complete or 0 < max_shrinking < len(sequence) or count >= expansion_limit
    if at == len(ordered) and not complete and _covers(sequence, own):
        sequence.append(own)
    return sequence, max(at, start + 1)


def _covers(sequence: Sequence[ShardRange], own: ShardRange) -> bool:
    return sequence[0]["lower"] == own["lower"] and sequence[-1]["upper"] == own["upper"]


def set_going(merger: Merger, when: str) -> Merger:
    """The ranges of a merger as they are to be stored: the acceptor reaches over its donors, which are shrinking."""
    acceptor = dict(merger.acceptor)
    lower = min(item["lower"] for item in (*merger.donors, acceptor))
    uppers = [item["upper"] for item in (*merger.donors, acceptor)]
    upper = "" if "" in uppers else max(uppers)
    if (lower, upper) != (acceptor["lower"], acceptor["upper"]):
        acceptor.update(lower=lower, upper=upper, timestamp=when, reported=0)
    if acceptor["state"] != ACTIVE:
        acceptor = change.forced(acceptor, ACTIVE, when)
    donors = [
        item if item["state"] == SHRINKING else change.forced(item, SHRINKING, when) for item in merger.donors
    ]
    return Merger(donors, acceptor)


def as_donors_know_it(merger: Merger, when: str) -> ShardRange:
    """The acceptor as donors are told of it: with what they will give it, which they then delete themselves with."""
    numbers: dict[str, Any] = {
        "object_count": merger.acceptor["object_count"] + sum(d["object_count"] for d in merger.donors),
        "bytes_used": merger.acceptor["bytes_used"] + sum(d["bytes_used"] for d in merger.donors),
        "tombstones": max(merger.acceptor["tombstones"], 0)
        + sum(max(d["tombstones"], 0) for d in merger.donors),
    }
    return change.with_statistics(merger.acceptor, numbers, when)
