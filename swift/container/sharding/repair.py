"""What is wrong with a set of shard ranges, and which of them are right. Pure functions over ranges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..shard_ranges import ACTIVE, CLEAVED, SHRINKING, ShardRange, sort_key
from . import change, family

Path = list[ShardRange]
MAX_PATHS = 8  # that are followed further from one boundary


def find_gaps(ranges: Iterable[ShardRange], own: ShardRange, with_tail: bool = True) -> list[tuple[str, str]]:
    """Parts (lower, upper] of `own` that are in none of the ranges, '' as the last upper: no bound.

    `with_tail`: what is missing behind the last of them counts, too.
    """
    gaps: list[tuple[str, str]] = []
    reached = own["lower"]
    for item in sorted(ranges, key=lambda r: (r["lower"], r["upper"] == "", r["upper"])):
        if own["upper"] and item["lower"] >= own["upper"]:
            break
        if item["lower"] > reached:
            gaps.append((reached, item["lower"]))
        if not item["upper"]:
            return gaps
        reached = max(reached, item["upper"])
        if own["upper"] and reached >= own["upper"]:
            return gaps
    if with_tail and (not own["upper"] or reached < own["upper"]):
        gaps.append((reached, own["upper"]))
    return gaps


def find_overlaps(ranges: Iterable[ShardRange]) -> list[tuple[ShardRange, list[ShardRange]]]:
    """Each range that shares names with others behind it, and those."""
    ordered = sorted(ranges, key=lambda r: (r["lower"], r["upper"] == "", r["upper"], r["name"]))
    found = []
    for at, item in enumerate(ordered):
        others = []
        for other in ordered[at + 1 :]:
            if item["upper"] and other["lower"] >= item["upper"]:
                break
            others.append(other)
        if others:
            found.append((item, others))
    return found


def find_overlaps_by_state(
    ranges: Sequence[ShardRange], young: str
) -> list[tuple[ShardRange, list[ShardRange]]]:
    """find_overlaps among ranges of the same state but shrinking, without pairs of a parent and a child that is from after `young`."""
    found = []
    for state in sorted({item["state"] for item in ranges} - {SHRINKING}):
        for item, others in find_overlaps(r for r in ranges if r["state"] == state):
            counted = [other for other in others if not _is_young_family(item, other, young)]
            if counted:
                found.append((item, counted))
    return found


def _is_young_family(one: ShardRange, other: ShardRange, young: str) -> bool:
    for child, parent in ((one, other), (other, one)):
        if family.is_child_of(child["name"], parent["name"]) and child["timestamp"] > young:
            return True
    return False


def find_paths(ranges: Iterable[ShardRange], own: ShardRange) -> list[Path]:
    """Sequences of ranges from the beginning of `own` without gap and overlap, as far as they go; the best first (22.1).

    Shrinking ranges are in none.
    """
    by_lower: dict[str, list[ShardRange]] = {}
    for item in ranges:
        if item["state"] != SHRINKING and not item["deleted"]:
            by_lower.setdefault(item["lower"], []).append(item)
    unfinished: dict[str, list[Path]] = {own["lower"]: [[]]}
    finished: list[Path] = []
    while unfinished:
        lower = min(unfinished)
        paths = sorted(unfinished.pop(lower), key=lambda path: rank(path, own))[:MAX_PATHS]
        following = by_lower.get(lower, [])
        if not following:
            finished += [path for path in paths if path]
            continue
        for path in paths:
            for item in following:
                longer = [*path, item]
                if not item["upper"] or (own["upper"] and item["upper"] >= own["upper"]):
                    finished.append(longer)
                else:
                    unfinished.setdefault(item["upper"], []).append(longer)
    return sorted(finished, key=lambda path: rank(path, own))


def is_whole(path: Path, own: ShardRange) -> bool:
    """Returns True if a path reaches from the beginning of `own` to its end."""
    if not path or path[0]["lower"] > own["lower"]:
        return False
    upper = path[-1]["upper"]
    return not upper or bool(own["upper"] and upper >= own["upper"])


def rank(path: Path, own: ShardRange) -> tuple[object, ...]:
    """The less, the better: whole, how far it is in use, objects, of how many times, and how new it is."""
    progress: tuple[bool, str] = (False, own["lower"])
    for item in path:
        if item["state"] not in (CLEAVED, ACTIVE):
            break
        progress = (item["upper"] == "", item["upper"])
    times = {item["timestamp"] for item in path}
    newest = max(times, default="")
    return (
        not is_whole(path, own),
        not progress[0],
        _reversed(progress[1]),
        -sum(item["object_count"] for item in path),
        len(times),
        _reversed(newest),
    )


def _reversed(text: str) -> tuple[int, ...]:
    """Sorts texts from the last to the first; a longer text counts as more than its beginning."""
    return (*(-ord(character) for character in text), 1)


def heir_of_gap(gap: tuple[str, str], ranges: Iterable[ShardRange]) -> ShardRange | None:
    """The active neighbour that a gap is to be given to, with its new bounds: the upper one, else the lower one (22.1)."""
    active = sorted((r for r in ranges if r["state"] == ACTIVE and not r["deleted"]), key=sort_key)
    lower, upper = gap
    for item in active:
        if upper and item["lower"] == upper:
            return {**item, "lower": lower}
    for item in active:
        if item["upper"] and item["upper"] == lower:
            return {**item, "upper": upper}
    return None


def superfluous(path: Path, ranges: Iterable[ShardRange]) -> list[tuple[ShardRange, list[ShardRange]]]:
    """Ranges that are not in the path, each with those of the path that take over what it has. Relatives of these stay."""
    names = {item["name"] for item in path}
    found = []
    for item in ranges:
        if item["name"] in names or item["deleted"]:
            continue
        heirs = [other for other in path if change.overlap(item, other)]
        if not any(family.are_related(item, heir) for heir in heirs):
            found.append((item, heirs))
    return found
