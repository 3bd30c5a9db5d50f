"""Shard ranges: the parts of a container's namespace, how they are merged, found and queried (database.md 11).

Pure values and functions; the table that holds them is the container broker's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

from swift.core.timestamp import NormalTimestamp, Timestamp

FOUND, CREATED, CLEAVED, ACTIVE, SHRINKING, SHARDING, SHARDED, SHRUNK = range(10, 90, 10)
STATES = {
    FOUND: "found",
    CREATED: "created",
    CLEAVED: "cleaved",
    ACTIVE: "active",
    SHRINKING: "shrinking",
    SHARDING: "sharding",
    SHARDED: "sharded",
    SHRUNK: "shrunk",
}
_STATE_NUMBERS = {name: number for number, name in STATES.items()}
LISTING = frozenset((CLEAVED, ACTIVE, SHRINKING, SHARDING))
UPDATING = frozenset((CREATED, CLEAVED, ACTIVE, SHARDING))
AUDITING = frozenset(STATES) - {FOUND}
COUNTED = frozenset((ACTIVE, SHARDING, SHRINKING))
CLEAVING = frozenset((SHRINKING, SHRUNK, SHARDING, SHARDED))
ALIASES = {"listing": LISTING, "updating": UPDATING, "auditing": AUDITING}

FIELDS = (
    "name",
    "timestamp",
    "lower",
    "upper",
    "object_count",
    "bytes_used",
    "meta_timestamp",
    "deleted",
    "state",
    "state_timestamp",
    "epoch",
    "reported",
    "tombstones",
)
_REQUIRED = FIELDS[:-2]

ShardRange = dict[str, Any]
"""One range: exactly the keys of FIELDS, in that order. '' as lower or upper: unbounded."""


def parse_state(value: Any) -> int:
    """The number of a state given as number, numeric text or name. Raises ValueError."""
    if isinstance(value, str) and value.lower() in _STATE_NUMBERS:
        return _STATE_NUMBERS[value.lower()]
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise ValueError(f"Invalid state {value!r}") from None
    if number not in STATES:
        raise ValueError(f"Invalid state {number}")
    return number


def parse_states(text: str) -> tuple[frozenset[int], set[str]]:
    """(the states, the aliases among them) of a comma-separated list of numbers, names and aliases. Raises ValueError."""
    states: set[int] = set()
    aliases: set[str] = set()
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        if part in ALIASES:
            states |= ALIASES[part]
            aliases.add(part)
        else:
            states.add(parse_state(part))
    return frozenset(states), aliases


def from_wire(data: Any) -> ShardRange:
    """A range from its JSON form (11.1). Raises KeyError for a missing key, ValueError and TypeError for bad values."""
    if not isinstance(data, Mapping):
        raise TypeError("a shard range must be an object")
    try:
        return _from_wire(data)
    except OverflowError as err:  # JSON knows Infinity and numbers of any length
        raise ValueError(str(err)) from None


def _from_wire(data: Mapping[str, Any]) -> ShardRange:
    values = {key: data[key] for key in _REQUIRED}
    account, slash, container = str(values["name"]).partition("/")
    if not (account and slash and container):
        raise ValueError(f"'<account>/<container>' required, got {str(values['name'])[:200]!r}")
    timestamp = NormalTimestamp(values["timestamp"]).internal
    epoch = values["epoch"]
    made: ShardRange = {
        "name": str(values["name"]),
        "timestamp": timestamp,
        "lower": _bound(values["lower"]),
        "upper": _bound(values["upper"]),
        "object_count": _count(values["object_count"], "object_count"),
        "bytes_used": _count(values["bytes_used"], "bytes_used"),
        "meta_timestamp": _time_or(values["meta_timestamp"], timestamp),
        "deleted": int(bool(values["deleted"])),
        "state": parse_state(values["state"]),
        "state_timestamp": _time_or(values["state_timestamp"], timestamp),
        "epoch": None if epoch is None else NormalTimestamp(epoch).internal,
        "reported": int(bool(data.get("reported", 0))),
        "tombstones": max(_number(data.get("tombstones", -1), "tombstones"), -1),
    }
    if made["lower"] and made["upper"] and made["lower"] >= made["upper"]:
        raise ValueError(f"lower ({made['lower'][:200]!r}) must be less than upper ({made['upper'][:200]!r})")
    return made


def _bound(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("bounds must be text")
    value.encode()  # lone surrogates have no place in the order
    return value


def _count(value: Any, name: str) -> int:
    number = _number(value, name)
    if number < 0:
        raise ValueError(f"{name} cannot be < 0")
    return number


def _number(value: Any, name: str) -> int:
    """As a database can hold it."""
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name} is too large")
    return number


def _time_or(value: Any, default: str) -> str:
    return default if value is None else NormalTimestamp(value).internal


def own_range_default(path: str, now: str) -> ShardRange:
    """The range of a container that has none of its own stored (11.3)."""
    return dict(zip(FIELDS, (path, now, "", "", 0, 0, now, 0, ACTIVE, now, None, 0, -1), strict=True))


# ---------------------------------------------------------------- merging


def merge_shard_range(existing: ShardRange | None, incoming: ShardRange) -> ShardRange | None:
    """What is to be stored when `incoming` meets `existing` (11.2); None: keep what there is."""
    new = dict(incoming)
    if existing is None:
        return new
    if existing["timestamp"] < new["timestamp"]:
        new["reported"] = 0
        return new
    if existing["timestamp"] > new["timestamp"]:
        return None
    changed = False
    for key in ("lower", "upper", "deleted"):
        new[key] = existing[key]
    if existing["meta_timestamp"] >= new["meta_timestamp"]:
        for key in ("object_count", "bytes_used", "meta_timestamp", "tombstones"):
            new[key] = existing[key]
    else:
        changed = True
    if existing["reported"] and _tells_as_much(new, existing):
        new["reported"] = 1
    else:
        new["reported"] = new["reported"] or 0
        if new["reported"] and not existing["reported"]:
            changed = True
    if existing["state_timestamp"] == new["state_timestamp"] and new["state"] > existing["state"]:
        changed = True
    elif existing["state_timestamp"] >= new["state_timestamp"]:
        for key in ("state", "state_timestamp", "epoch"):
            new[key] = existing[key]
    else:
        changed = True
    if (
        changed
        and new["reported"]
        and not any(item["reported"] and _tells_as_much(new, item) for item in (existing, incoming))
    ):
        new["reported"] = 0  # part of each: nobody was told of that
    return new if changed else None


def _tells_as_much(item: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Returns True if who was told of the one knows the other."""
    return all(
        item[key] == other[key] for key in ("object_count", "bytes_used", "tombstones", "state", "epoch")
    )


def merge_shard_ranges(
    existing: Mapping[str, ShardRange], incoming: Iterable[ShardRange]
) -> tuple[list[str], list[ShardRange]]:
    """(names of rows to delete, ranges to insert) that merge a batch into the `existing` rows by name."""
    replaced: dict[str, None] = {}
    taken: dict[str, ShardRange] = {}
    for item in incoming:
        name = item["name"]
        merged = merge_shard_range(taken.get(name) or existing.get(name), item)
        if merged is not None:
            if name in existing:
                replaced[name] = None
            taken[name] = merged
    return list(replaced), list(taken.values())


# ---------------------------------------------------------------- order and queries


def sort_key(item: ShardRange) -> tuple[bool, str, int, str, str]:
    """By upper bound (unbounded last), state, lower bound, name."""
    return item["upper"] == "", item["upper"], item["state"], item["lower"], item["name"]


class Finder:
    """Ranges in order, among which the one for a name is found without looking at all of them."""

    def __init__(self, ranges: Iterable[ShardRange]) -> None:
        self.ordered = sorted(ranges, key=sort_key)
        bounded = [item["upper"] for item in self.ordered if item["upper"]]
        self._uppers = bounded  # unbounded ranges come last
        # the least lower bound from each range on: where that is not below a name, there is nothing behind
        self._lowest = list(accumulate((item["lower"] for item in reversed(self.ordered)), min))[::-1]

    def including(self, name: str) -> ShardRange | None:
        """The first range with lower < name <= upper, None if there is none."""
        ordered, lowest = self.ordered, self._lowest
        at = bisect_left(self._uppers, name)
        while at < len(ordered) and lowest[at] < name:
            if ordered[at]["lower"] < name:
                return ordered[at]
            at += 1
        return None


def select(
    ranges: Iterable[ShardRange],
    own: ShardRange,
    marker: str = "",
    end_marker: str = "",
    includes: str = "",
    reverse: bool = False,
    fill_gaps: bool = False,
) -> list[ShardRange]:
    """Of these ranges, in order, those that overlap what is asked for (11.4).

    `fill_gaps`: if the last one doesn't reach the end, a copy of `own` covers the rest.
    """
    finder = Finder(ranges)
    if includes:
        found = finder.including(includes)
        return [found] if found else []
    if reverse:
        marker, end_marker = end_marker, marker
    if marker and end_marker and marker >= end_marker:
        return []
    chosen = [
        item
        for item in finder.ordered
        if (not marker or not item["upper"] or item["upper"] > marker)
        and (not end_marker or item["lower"] < end_marker)
    ]
    if fill_gaps:
        _fill_tail(chosen, own, marker, end_marker)
    if reverse:
        chosen.reverse()
    return chosen


def _fill_tail(chosen: list[ShardRange], own: ShardRange, marker: str, end_marker: str) -> None:
    if chosen and not chosen[-1]["upper"]:
        return
    lower = chosen[-1]["upper"] if chosen else max(marker, own["lower"])
    upper = own["upper"]
    if end_marker and (not upper or end_marker < upper):
        upper = end_marker
    if not upper or lower < upper:
        chosen.append({**own, "lower": lower, "upper": upper})


def usage(ranges: Iterable[ShardRange], own_name: str) -> tuple[int, int]:
    """(object count, bytes) in the shards that count (11.3)."""
    count = size = 0
    for item in ranges:
        if not item["deleted"] and item["state"] in COUNTED and item["name"] != own_name:
            count += item["object_count"]
            size += item["bytes_used"]
    return count, size


def to_namespace(item: ShardRange) -> dict[str, str]:
    """The three-field form."""
    return {"name": item["name"], "lower": item["lower"], "upper": item["upper"]}


def last_modified(item: ShardRange) -> str:
    """ISO form of the time of the last change."""
    return Timestamp(item["timestamp"]).isoformat
