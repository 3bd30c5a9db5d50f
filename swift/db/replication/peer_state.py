"""What one replica tells another about itself: the arguments of `sync` and its answer, checked (database.md 14.1, 14.2).

Nothing that a peer sends is stored as it came: times are in the form in which they compare as text, metadata is what a writer writes.
Never here: HTTP, databases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from swift.core.timestamp import Timestamp, internal_timestamp

from ..broker import Metadata, parse_metadata
from ..damage import ContentDamaged

MAX_ID = 512  # characters
MAX_METADATA = 4 * 1024 * 1024  # characters; cleaving contexts and system metadata have no other limit
_HASH = re.compile(r"[0-9a-f]{32}", re.ASCII)


class PeerState(NamedTuple):
    """A replica as its node describes it. `policy`: (status_changed_at, count, storage_policy_index), None if it says nothing of it."""

    id: str
    max_row: int
    hash: str
    created_at: str
    put_timestamp: str
    delete_timestamp: str
    metadata: Metadata
    policy: tuple[str, int, int] | None

    def policy_info(self) -> dict[str, Any] | None:
        """What decides about its storage policy, with the names that `info` has for it."""
        if self.policy is None:
            return None
        changed_at, count, index = self.policy
        return {
            "put_timestamp": self.put_timestamp,
            "delete_timestamp": self.delete_timestamp,
            "status_changed_at": changed_at,
            "count": count,
            "storage_policy_index": index,
        }


def sync_arguments(info: Mapping[str, Any], with_policy: bool) -> list[Any]:
    """The arguments of `sync` that tell a peer of a replica with this replication_info."""
    arguments = [
        info["max_row"],
        info["hash"],
        info["id"],
        info["created_at"],
        info["put_timestamp"],
        info["delete_timestamp"],
        info["metadata"],
    ]
    if with_policy:
        arguments += [info["status_changed_at"], info["count"], info["storage_policy_index"]]
    return arguments


def from_arguments(arguments: Sequence[Any], complain: Any = None) -> PeerState:
    """What `sync` was called with: 7 arguments, or 10. `complain(text)`: called for metadata that is ignored. Raises ValueError."""
    if len(arguments) < 7:
        raise ValueError(f"sync has {len(arguments)} arguments")
    max_row, row_hash, remote_id, created, put, delete, metadata = arguments[:7]
    policy = None
    if len(arguments) >= 10:
        changed_at, count, index = arguments[7:10]
        if index is not None:
            policy = _time(changed_at), _number(count), _number(index)
    return PeerState(
        checked_id(remote_id),
        _number(max_row, -1),
        row_hash if isinstance(row_hash, str) and _HASH.fullmatch(row_hash) else "",
        _time(created),
        _time(put),
        _time(delete),
        _metadata(metadata, complain),
        policy,
    )


def from_answer(answer: Any, complain: Any = None) -> PeerState:
    """What a peer answered to `sync`. Raises ValueError."""
    if not isinstance(answer, dict):
        raise ValueError("the answer to sync is no object")
    try:
        arguments = sync_arguments(answer, False)
    except KeyError as err:
        raise ValueError(f"the answer to sync has no {err.args[0]}") from None
    state = from_arguments(arguments, complain)
    if "storage_policy_index" not in answer:
        return state
    policy = (
        _time(answer.get("status_changed_at", "0")),
        _number(answer.get("count", 0)),
        _number(answer["storage_policy_index"]),
    )
    return state._replace(policy=policy)


def checked_id(value: Any) -> str:
    """The id of a replica. Raises ValueError."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
        raise ValueError(f"no id of a database: {value!r:.100}")
    value.encode()  # lone surrogates can't be stored
    return value


def _number(value: Any, least: int = -(2**63)) -> int:
    try:
        number = int(value)
    except (TypeError, OverflowError) as err:
        raise ValueError(str(err)) from None
    if not least <= number < 2**63:
        raise ValueError(f"a number out of range: {number}")
    return number


def _time(value: Any) -> str:
    """A time of a stat row in a form that compares as text: as it is where it has that, like '0' for never."""
    if value in ("0", 0, None, ""):
        return "0"
    if not isinstance(value, (str, int, float)):
        raise ValueError(f"no timestamp: {value!r:.100}")
    return internal_timestamp(value)


def _metadata(text: Any, complain: Any) -> Metadata:
    if not text:
        return {}
    try:
        if not isinstance(text, str) or len(text) > MAX_METADATA:
            raise ValueError("too long, or no text")
        found = parse_metadata(text)
        for key, (value, timestamp) in found.items():
            if not (isinstance(key, str) and isinstance(value, str) and isinstance(timestamp, str)):
                raise ValueError("no text")
            Timestamp(timestamp)
            (key + value).encode()
        return found
    except (ValueError, ContentDamaged) as err:
        if complain is not None:
            complain(f"Unable to decode remote metadata: {err}")
        return {}
