"""The queue of objects that lie in another storage policy than their container: its containers and entries (database.md 18.1).

Lives here: the forms, and the way from rows of a container to entries. Who works on the queue is swift.container.reconciler.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from swift.core.names import split_path
from swift.core.timestamp import Timestamp, decode_timestamps
from swift.db.items import object_item
from swift.db.merge import ObjectItem

ACCOUNT = ".misplaced_objects"
SECONDS = 3600  # of one container
PUT_TYPE, DELETE_TYPE = "application/x-put", "application/x-delete"
_OPERATIONS = {PUT_TYPE: "PUT", DELETE_TYPE: "DELETE"}


class Misplaced(NamedTuple):
    """An entry of the queue. `timestamp`: of the data of the object that is to be moved; `recorded`: of the entry itself."""

    policy_index: int
    account: str
    container: str
    obj: str
    operation: str  # PUT or DELETE
    timestamp: Timestamp
    recorded: Timestamp

    @property
    def path(self) -> str:
        return f"/{self.account}/{self.container}/{self.obj}"


def queue_container(created_at: str) -> str:
    """The name of the container for a row: the hour of its last change. Raises ValueError."""
    meta = decode_timestamps(created_at)[2]
    assert meta is not None
    return str(meta.raw // 100_000 // SECONDS * SECONDS)


def entry_name(policy_index: int, account: str, container: str, obj: str) -> str:
    """What an object is called in the queue."""
    return f"{policy_index}:/{account}/{container}/{obj}"


def queue_entry(row: Mapping[str, Any], account: str, container: str) -> ObjectItem:
    """The entry for a row of the container `account/container`, which is the root's for shards. Raises ValueError."""
    return object_item(
        entry_name(row["storage_policy_index"], account, container, row["name"]),
        row["created_at"],
        0,
        DELETE_TYPE if row["deleted"] else PUT_TYPE,
        row["created_at"],
        0,
        0,
    )


def parse_entry(listed: Mapping[str, Any]) -> Misplaced:
    """An entry as a listing shows it. Raises ValueError for what is none."""
    try:
        index, colon, path = listed["name"].partition(":")
        account, container, obj = split_path(path, 3, 3, True)
        data = decode_timestamps(listed["hash"])[0]
        operation = _OPERATIONS[listed["content_type"]]
        recorded = Timestamp.from_isoformat(listed["last_modified"])
    except (KeyError, TypeError, AttributeError) as err:
        raise ValueError(f"no entry of the queue: {err!r:.200}") from None
    if not colon or not (index.isascii() and index.isdecimal()):
        raise ValueError(f"no entry of the queue: {listed['name']!r:.200}")
    return Misplaced(int(index), account, container, obj, operation, data, recorded)
