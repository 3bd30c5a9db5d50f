"""Names of shards, and who descends from whom (database.md 11.1). Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import md5
from typing import NamedTuple

from swift.core.constraints import limits
from swift.core.timestamp import NormalTimestamp

from ..shard_ranges import ShardRange


class ShardName(NamedTuple):
    """A shard's name in its parts. `parent_hash`: md5 of the name of the container that it was cut out of."""

    account: str
    root_container: str
    parent_hash: str
    timestamp: str
    number: int


def shards_account(account: str) -> str:
    """The account of the shards of a root, or of a shard, in `account`."""
    prefix = limits().auto_create_account_prefix + "shards_"
    return account if account.startswith(prefix) else prefix + account


def is_shards_account(account: str) -> bool:
    """Returns True if containers of this account are shards."""
    return account.startswith(limits().auto_create_account_prefix + "shards_")


def hash_of(container: str) -> str:
    """What children have of their parent's name in theirs."""
    return md5(container.encode(), usedforsecurity=False).hexdigest()


def shard_path(account: str, root_container: str, parent_container: str, timestamp: str, index: int) -> str:
    """`account/container` of a new shard; `account`: of the root or of a shard."""
    return f"{shards_account(account)}/{root_container}-{hash_of(parent_container)}-{timestamp}-{index}"


def parse(path: str) -> ShardName | None:
    """The parts of a shard's `account/container`, None for what is none."""
    account, _, container = path.partition("/")
    parts = container.rsplit("-", 3)
    if len(parts) != 4 or len(parts[1]) != 32 or not parts[3].isdecimal():
        return None
    try:
        timestamp = NormalTimestamp(parts[2]).internal
    except ValueError:
        return None
    return ShardName(account, parts[0], parts[1], timestamp, int(parts[3]))


def is_child_of(child: str, parent: str) -> bool:
    """Returns True if the shard `child` was cut out of the container `parent`, both as `account/container`."""
    name = parse(child)
    if name is None:
        return False
    above = parse(parent)
    container = parent.partition("/")[2]
    root = container if above is None else above.root_container
    return name.root_container == root and name.parent_hash == hash_of(container)


def are_related(one: ShardRange, other: ShardRange) -> bool:
    """Returns True if one of two ranges is the parent of the other."""
    return is_child_of(one["name"], other["name"]) or is_child_of(other["name"], one["name"])


def ancestors(item: ShardRange, ranges: Iterable[ShardRange]) -> list[ShardRange]:
    """Of these ranges the parent of a shard, the parent's and so on; where a parent is missing, only the root."""
    known = list(ranges)
    found: list[ShardRange] = []
    current = item
    while True:
        parent = next((r for r in known if r not in found and is_child_of(current["name"], r["name"])), None)
        if parent is None:
            break
        found.append(parent)
        current = parent
    name = parse(item["name"])
    if name is not None:
        for r in known:
            if (
                r not in found
                and parse(r["name"]) is None
                and r["name"].partition("/")[2] == name.root_container
            ):
                found.append(r)
    return found
