"""Rows from outside as items that can be merged: pending records, rows of UPDATE and REPLICATE requests.

What comes out of here can be stored; anything else is a ValueError. Merging itself is swift.db.merge.
"""

from __future__ import annotations

from typing import Any

from swift.core.timestamp import Timestamp, decode_timestamps, normalize_timestamp

from .merge import MAX_INTEGER, ContainerItem, ObjectItem, is_plain


def object_item(
    name: Any,
    created_at: Any,
    size: Any,
    content_type: Any,
    etag: Any,
    deleted: Any,
    storage_policy_index: Any = 0,
    ctype_timestamp: Any = None,
    meta_timestamp: Any = None,
) -> ObjectItem:
    """A row from outside as an item that can be merged. Raises ValueError."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"bad object name {name!r:.100}")
    if not isinstance(content_type, str) or not isinstance(etag, str):
        raise ValueError("content type and etag must be text")
    if not (name.isascii() and content_type.isascii() and etag.isascii()):
        (name + content_type + etag).encode()  # lone surrogates can't be stored
    if not isinstance(created_at, str):
        created_at = normalize_timestamp(created_at)
    if not is_plain(created_at):
        decode_timestamps(created_at)
    try:
        size, deleted, policy = int(size), int(deleted), int(storage_policy_index or 0)
    except (TypeError, OverflowError) as err:
        raise ValueError(str(err)) from None
    if not (-MAX_INTEGER <= size <= MAX_INTEGER and deleted in (0, 1) and 0 <= policy <= MAX_INTEGER):
        raise ValueError("a number out of range")
    return ObjectItem(
        name,
        created_at,
        size,
        content_type,
        etag,
        deleted,
        policy,
        ctype_timestamp and Timestamp(ctype_timestamp).internal,
        meta_timestamp and Timestamp(meta_timestamp).internal,
    )


def container_item(
    name: Any,
    put_timestamp: Any,
    delete_timestamp: Any,
    object_count: Any,
    bytes_used: Any,
    deleted: Any,
    storage_policy_index: Any = 0,
) -> ContainerItem:
    """A report from outside as an item that can be merged. Raises ValueError."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"bad container name {name!r:.100}")
    name.encode()  # lone surrogates can't be stored
    for timestamp in (put_timestamp, delete_timestamp):
        if timestamp is not None and not (isinstance(timestamp, str) and is_plain(timestamp)):
            Timestamp(timestamp)
    try:
        count = None if object_count is None else int(object_count)
        size = None if bytes_used is None else int(bytes_used)
        flag, policy = int(deleted or 0), int(storage_policy_index or 0)
    except (TypeError, OverflowError) as err:
        raise ValueError(str(err)) from None
    if max(abs(count or 0), abs(size or 0), abs(policy)) > MAX_INTEGER or flag not in (0, 1):
        raise ValueError("a number out of range")
    return ContainerItem(name, put_timestamp, delete_timestamp, count, size, flag, policy)
