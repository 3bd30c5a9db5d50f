"""What a node tells of the databases on one of its devices when an operator asks, and what of it a peer lacks (ours alone).

Pages of replicas, each with what the replicator would tell peers of it, so that whoever asks can say the same to them and compare.
Never here: HTTP. What makes documents blocks.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from swift.core.errors import LockTimeout

from ..broker import Broker
from ..connection import CONNECTIONS
from ..errors import DatabaseError, DatabaseMissing
from .peer_state import PeerState, from_arguments, sync_arguments

MOST = 500  # databases in one page
MAX_RANGES = 10_000
SHARDING = "sharding"
_HASH = re.compile(r"[0-9a-f]{32}", re.ASCII).fullmatch
_SUFFIX = re.compile(r"[0-9a-f]{3}", re.ASCII).fullmatch
_RANGE_TIMES = ("timestamp", "meta_timestamp", "state_timestamp")

Document = dict[str, Any]
Range = Mapping[str, Any]


class Told(NamedTuple):
    """One replica. `arguments`: of `sync`; `state`: the same, read. `names`: account and container. `fault`: why nothing of all that is known."""

    partition: int
    name_hash: str
    arguments: list[Any]
    state: PeerState | None
    live: int
    names: tuple[str, ...]
    db_state: str
    ranges: list[Range]
    fault: str = ""


# ---------------------------------------------------------------- made


def page(
    device_path: str,
    data_directory: str,
    make_broker: Callable[[str], Broker],
    after: tuple[int, str],
    most: int,
) -> Document:
    """The replicas behind `after` (partition, hash) in this order, at most so many. `next`: where the following page begins, or None.

    `set_aside`: with the first page, hashes of databases in quarantine. Raises OSError.
    """
    found: list[Document] = []
    last = None
    for partition, name_hash in _places(f"{device_path}/{data_directory}", after):
        if len(found) == min(most, MOST):
            last = [found[-1]["partition"], found[-1]["hash"]]
            break
        path = f"{device_path}/{data_directory}/{partition}/{name_hash[-3:]}/{name_hash}/{name_hash}.db"
        told = tell(make_broker(path))
        if told is not None:
            found.append({"partition": partition, "hash": name_hash, **told})
    aside = set_aside(device_path, data_directory) if after[0] < 0 else []
    return {"databases": found, "next": last, "set_aside": aside}


def tell(broker: Broker) -> Document | None:
    """One replica; None if there is none."""
    try:
        if not broker.exists():
            return None
        broker.commit_pending()
        info = broker.told(broker.glance(broker.read_replication_info))
        ranges: list[Any] = []
        if info.get("shard_max_row", -1) >= 0:
            ranges = broker.all_shard_ranges()[:MAX_RANGES]  # type: ignore[attr-defined]
        return {
            "arguments": sync_arguments(info, "storage_policy_index" in info),
            "count": info["count"] if "count" in info else info.get("container_count", 0),
            "names": [info["account"], *([info["container"]] if "container" in info else [])],
            "db_state": info.get("db_state", ""),
            "ranges": ranges,
        }
    except DatabaseMissing:
        return None
    except (DatabaseError, sqlite3.Error, LockTimeout, OSError, ValueError) as error:
        return {"fault": str(error)[:500] or type(error).__name__}
    finally:
        CONNECTIONS.forget(broker.directory)


def _places(root: str, after: tuple[int, str]) -> Iterator[tuple[int, str]]:
    """(partition, hash) of what is there, by partition, suffix and hash. Raises OSError."""
    numbers = (int(name) for name in _listed(root) if name.isascii() and name.isdecimal())
    behind = (after[0], after[1][-3:], after[1])
    for partition in sorted(number for number in numbers if number >= after[0]):
        for suffix in sorted(filter(_SUFFIX, _listed(f"{root}/{partition}"))):
            if (partition, suffix) < behind[:2]:
                continue
            for name_hash in sorted(filter(_HASH, _listed(f"{root}/{partition}/{suffix}"))):
                if (partition, suffix, name_hash) > behind:
                    yield partition, name_hash


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def set_aside(device_path: str, data_directory: str) -> list[str]:
    """The entries of a quarantine. Raises OSError."""
    return sorted(_listed(f"{device_path}/quarantined/{data_directory}"))


# ---------------------------------------------------------------- read and compared


def told_of(document: Any) -> tuple[list[Told], tuple[int, str] | None, list[str]]:
    """(replicas, where the next page begins, entries in quarantine) of a page. Raises ValueError."""
    try:
        following = document["next"]
        if following is not None:
            following = (_natural(following[0]), _checked_hash(following[1]))
        aside = [str(name)[:255] for name in document["set_aside"]]
        return [_told(item) for item in document["databases"]], following, aside
    except (LookupError, TypeError) as error:
        raise ValueError(f"no page of databases: {error}") from None


def _told(item: Any) -> Told:
    partition, name_hash = _natural(item["partition"]), _checked_hash(item["hash"])
    if item.get("fault"):
        return Told(partition, name_hash, [], None, 0, (), "", [], str(item["fault"])[:500])
    arguments = list(item["arguments"])
    return Told(
        partition,
        name_hash,
        arguments,
        from_arguments(arguments),
        _natural(item["count"]),
        tuple(str(name) for name in item["names"]),
        str(item["db_state"]),
        list(item["ranges"]),
    )


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"no number: {value!r:.40}")
    return value


def _checked_hash(value: Any) -> str:
    if not (isinstance(value, str) and _HASH(value)):
        raise ValueError(f"no hash: {value!r:.40}")
    return value


def is_long_deleted(told: Told, before: float) -> bool:
    """Returns True if it is the trace of a deletion before then (seconds), of which nobody needs to be told any more."""
    state = told.state
    return (
        state is not None
        and not told.live
        and state.delete_timestamp > state.put_timestamp
        and float(state.delete_timestamp[:16]) < before
    )


def rows_missing(told: Told, theirs: PeerState, point: int) -> int:
    """How many rows of ours a peer may lack, after it was told of us: its state and how far it is with us."""
    assert told.state is not None
    if theirs.hash == told.state.hash or point >= told.state.max_row:
        return 0
    return max(told.state.max_row - max(point, 0), 1)


def knows_all_but_rows(told: Told, theirs: PeerState) -> bool:
    """Returns True if times and metadata of a peer are as new as ours."""
    ours = told.state
    assert ours is not None
    return (
        theirs.put_timestamp >= ours.put_timestamp
        and theirs.delete_timestamp >= ours.delete_timestamp
        and all(
            key in theirs.metadata and theirs.metadata[key][1] >= time
            for key, (_, time) in ours.metadata.items()
        )
    )


def knows_ranges(ours: Sequence[Range], theirs: Sequence[Range]) -> bool:
    """Returns True if a peer has all of these shard ranges, none of them older."""
    there = {item.get("name"): item for item in theirs if isinstance(item, Mapping)}
    return all(
        item["name"] in there
        and all(str(there[item["name"]].get(key) or "") >= str(item[key] or "") for key in _RANGE_TIMES)
        for item in ours
    )
