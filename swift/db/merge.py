"""How rows that meet are combined: object rows of containers, container rows of accounts (database.md 7.2, 8.2).

Pure functions from rows to rows; no SQL, no files, no clock. Merging is what makes replicas agree, so it is
idempotent and, for object rows, independent of the order of arrival.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from swift.core.timestamp import Timestamp, decode_timestamps, encode_timestamps

MAX_INTEGER = 2**63 - 1  # what an SQLite column holds

is_plain = re.compile(r"[0-9]{10}\.[0-9]{5}", re.ASCII).fullmatch
"""Returns True if timestamp text is in the normal form that nearly all have: such compare as strings."""


class ObjectItem(NamedTuple):
    """An object row on its way into a container: a pending record, a replicated row.

    `created_at` may be an encoded triple; the two extra timestamps, if given, override its second and third part.
    """

    name: str
    created_at: str
    size: int
    content_type: str
    etag: str
    deleted: int
    storage_policy_index: int = 0
    ctype_timestamp: str | None = None
    meta_timestamp: str | None = None


class ObjectRow(NamedTuple):
    """A row of table `object` (`rowid` None: not stored yet). Key: (name, storage_policy_index)."""

    rowid: int | None
    name: str
    created_at: str
    size: int
    content_type: str
    etag: str
    deleted: int
    storage_policy_index: int


class ContainerItem(NamedTuple):
    """A container's report on its way into an account. None in a field: keep what is stored."""

    name: str
    put_timestamp: str | None
    delete_timestamp: str | None
    object_count: int | str | None
    bytes_used: int | str | None
    deleted: int
    storage_policy_index: int = 0


class ContainerRow(NamedTuple):
    """A row of table `container` (`rowid` None: not stored yet). Key: name."""

    rowid: int | None
    name: str
    put_timestamp: str
    delete_timestamp: str
    object_count: int
    bytes_used: int
    deleted: int
    storage_policy_index: int


# ---------------------------------------------------------------- content types

# as peers read them: no separators in names and unquoted values, the value may be missing
_TOKEN = r'[^()<>@,;:\\"/\[\]?={}\s]'
_PARAMETER = re.compile(rf';\s*({_TOKEN}+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|{_TOKEN}*))?')


def split_swift_bytes(content_type: str) -> tuple[str, str | None]:
    """(content type with its parameters as `;k=v`, value of `swift_bytes` or None).

    Quotes stay; without any `;` the text is returned as it is.
    """
    if ";" not in content_type:
        return content_type, None
    media_type, _, rest = content_type.partition(";")
    swift_bytes = None
    parts = [media_type]
    for key, value in _PARAMETER.findall(";" + rest):
        if key == "swift_bytes":
            swift_bytes = value
        else:
            parts.append(f"{key}={value}")
    return ";".join(parts), swift_bytes


def join_swift_bytes(content_type: str, swift_bytes: str | None) -> str:
    """The reverse of split_swift_bytes."""
    return content_type if swift_bytes is None else f"{content_type};swift_bytes={swift_bytes}"


# ---------------------------------------------------------------- object rows


def new_object_row(item: ObjectItem) -> ObjectRow:
    """The row that an item becomes where none of its name and policy is stored. Raises ValueError (bad timestamps)."""
    created_at = item[1]
    if item[7] is not None or item[8] is not None or not is_plain(created_at):
        created_at = encode_timestamps(*_times(item))
    return ObjectRow(None, item[0], created_at, item[2], item[3], item[4], item[5], item[6] or 0)


def merge_object(old: ObjectRow, item: ObjectItem) -> ObjectRow | None:
    """What `old` and `item` make together; None if nothing of the item is newer (ties go to `old`).

    Size, etag, deletion and swift_bytes go with the data time, the content type with its own. Raises ValueError.
    """
    name, created_at, size, content_type, etag, deleted, policy, ctype_time, meta_time = item
    if ctype_time is None and meta_time is None and is_plain(created_at) and is_plain(old.created_at):
        if created_at <= old.created_at:
            return None
        if ";" in content_type:
            content_type = join_swift_bytes(*split_swift_bytes(content_type))
        return ObjectRow(None, name, created_at, size, content_type, etag, deleted, policy or 0)
    data, ctype, meta = _times(item)
    old_data, old_ctype, old_meta = _decode(old.created_at)
    content_type, swift_bytes = split_swift_bytes(content_type)
    old_type, old_bytes = split_swift_bytes(old.content_type)
    newer = False
    if old_data >= data:
        data, size, etag, deleted, swift_bytes = old_data, old.size, old.etag, old.deleted, old_bytes
    else:
        newer = True
    if old_ctype >= ctype:
        ctype, content_type = old_ctype, old_type
    else:
        newer = True
    if old_meta >= meta:
        meta = old_meta
    else:
        newer = True
    if not newer:
        return None
    created_at = encode_timestamps(data, ctype, meta)
    content_type = join_swift_bytes(content_type, swift_bytes)
    return ObjectRow(None, name, created_at, size, content_type, etag, deleted, policy or 0)


def merge_objects(
    existing: Mapping[tuple[str, int], ObjectRow], items: Iterable[ObjectItem]
) -> tuple[list[ObjectRow], list[ObjectRow]]:
    """(rows to delete, rows to insert in order) that merge a batch into the `existing` rows of its names.

    Raises ValueError for an item with a bad timestamp.
    """
    replaced: dict[tuple[str, int], ObjectRow] = {}
    taken: dict[tuple[str, int], ObjectRow] = {}
    for item in items:
        key = (item[0], item[6] or 0)
        old = existing.get(key)
        row = new_object_row(item) if old is None else merge_object(old, item)
        if row is None:
            continue
        if old is not None:
            replaced[key] = old
        earlier = taken.get(key)
        if earlier is not None:
            row = merge_object(earlier, item)
            if row is None:
                continue
        taken[key] = row
    return list(replaced.values()), list(taken.values())


def _times(item: ObjectItem) -> tuple[Timestamp, Timestamp, Timestamp]:
    data, ctype, meta = _decode(item[1])
    if item[7]:
        ctype = meta = Timestamp(item[7])
    if item[8]:
        meta = Timestamp(item[8])
    return data, ctype, meta


def _decode(created_at: str) -> tuple[Timestamp, Timestamp, Timestamp]:
    data, ctype, meta = decode_timestamps(created_at)
    assert ctype is not None and meta is not None
    return data, ctype, meta


# ---------------------------------------------------------------- container rows


def is_zero(count: Any) -> bool:
    """Returns True if a count is absent or zero, in any of the forms that it travels in."""
    return count is None or count == "" or count == 0 or count == "0"


def later(first: str, second: str) -> str:
    """The later of two timestamps in any text form (the first when equal). Raises ValueError."""
    if first == second:
        return first
    if is_plain(first) and is_plain(second):
        return first if first > second else second
    return first if Timestamp(first) >= Timestamp(second) else second


def is_deleted_container(put_timestamp: str, delete_timestamp: str, object_count: Any) -> bool:
    """Returns True if a container row counts as deleted: deleted after its last PUT, and without objects."""
    if not is_zero(object_count) or put_timestamp == delete_timestamp:
        return False
    if is_plain(put_timestamp) and is_plain(delete_timestamp):
        return delete_timestamp > put_timestamp
    return Timestamp(delete_timestamp) > Timestamp(put_timestamp)


def merge_container(old: ContainerRow | None, item: ContainerItem) -> ContainerRow:
    """What a stored row and a report make together: the later times, the counts and policy of the report.

    A report that does not know of the deletion that is stored, nor of a later PUT, is from before it (of a replica that lags, or out of a
    pending file that is merged again after a power cut): its counts bring nothing back. Raises ValueError for bad timestamps and
    counts that are no numbers.
    """
    if old is not None and old.deleted:
        item = without_old_numbers(old, item)
    name, put, delete, count, size, deleted, policy = item
    if old is not None:
        put = old.put_timestamp if put is None else later(old.put_timestamp, put)
        delete = old.delete_timestamp if delete is None else later(old.delete_timestamp, delete)
        count = old.object_count if count is None else count
        size = old.bytes_used if size is None else size
        deleted = int(is_deleted_container(put, delete, count))
    return ContainerRow(
        None,
        name,
        put or "0",
        delete or "0",
        int(count or 0),
        int(size or 0),
        int(deleted or 0),
        int(policy or 0),
    )


def merge_containers(
    existing: Mapping[str, ContainerRow], items: Iterable[ContainerItem]
) -> tuple[list[ContainerRow], list[ContainerRow]]:
    """(rows to delete, rows to insert in order) that merge a batch of reports into the `existing` rows of their names.

    A report that says nothing new leaves its row alone: a new row id would send it to every replica again.
    """
    taken: dict[str, ContainerRow] = {}
    for item in items:
        name = item[0]
        # the last report of a name decides its place, as if the batch had been stored one by one
        earlier = taken.pop(name, existing.get(name))
        taken[name] = merge_container(earlier, item)
    inserts = [row for name, row in taken.items() if name not in existing or row[1:] != existing[name][1:]]
    return [existing[row.name] for row in inserts if row.name in existing], inserts


def without_old_numbers(old: ContainerRow | None, item: ContainerItem) -> ContainerItem:
    """A report as it is to be merged when it comes from another replica of the account, maybe late.

    A container's times only grow: a report whose PUT or DELETE is older than the stored one's, and neither is newer, was made earlier,
    and its numbers and policy don't count. Raises ValueError for bad timestamps.
    """
    if old is None:
        return item
    put = item.put_timestamp or old.put_timestamp
    delete = item.delete_timestamp or old.delete_timestamp
    newest_put, newest_delete = later(old.put_timestamp, put), later(old.delete_timestamp, delete)
    if newest_put != old.put_timestamp or newest_delete != old.delete_timestamp:
        return item
    if put == old.put_timestamp and delete == old.delete_timestamp:
        return item  # from the same time: nothing tells which numbers are newer but that these came later
    return item._replace(
        object_count=old.object_count,
        bytes_used=old.bytes_used,
        storage_policy_index=old.storage_policy_index,
    )
