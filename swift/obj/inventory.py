"""What a node tells of one of its devices when an operator asks: documents of what lies there and of what was set aside.

They are made here of a store, for the object server's answers and for commands that look at a disk of their own machine, and read
here by who asked. Nothing is compared. Never here: HTTP.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from swift.core.policy import policies
from swift.core.timestamp import internal_timestamp
from swift.obj.async_pending import count_updates
from swift.obj.directories import ASYNCDIR, DATADIR, is_hash, is_suffix, policy_dir, split_policy_dir
from swift.obj.store import HashedSuffixes, Item, ObjectStore, SetAside, SuffixHash, Times

MAX_ITEMS = 20_000  # in one document
MAX_SET_ASIDE = 5_000
MAX_COUNTED = 100_000  # updates that wait

Document = dict[str, Any]

_ENTRY = re.compile(r"[^/\0]{1,255}").fullmatch


class BadDocument(ValueError):
    """What a node answered makes no sense."""


# ---------------------------------------------------------------- made


def device_document(store: ObjectStore) -> Document:
    """What one policy has on a device. `waiting`: container updates that nobody has taken; `unknown`: directories of no policy."""
    aside = store.set_aside(most=MAX_SET_ASIDE)
    device = store.device
    return {
        "partitions": [int(partition) for partition in store.partitions()],
        "waiting": device.run(count_updates, device.path, store.policy.idx, MAX_COUNTED),
        "set_aside": [_aside_list(found) for found in aside],
        "more_set_aside": len(aside) == MAX_SET_ASIDE,
        "unknown": device.run(_unknown, device.path),
    }


def _unknown(device_path: str) -> list[str]:
    """Directories of objects or updates that belong to no policy of swift.conf, unless they are empty. Blocks."""
    found = []
    for name in sorted(os.listdir(device_path)):
        try:
            base, index = split_policy_dir(name)
        except ValueError:
            continue
        if base in (DATADIR, ASYNCDIR) and policies().get_by_index(index) is None:
            with os.scandir(f"{device_path}/{name}") as entries:
                if next(entries, None) is not None:
                    found.append(name)
    return found


def suffixes_document(store: ObjectStore, partition: str) -> Document:
    """The suffixes that are in a partition, whatever is remembered of them."""
    return {"suffixes": store.suffixes(partition)}


def hashes_document(found: HashedSuffixes) -> Document:
    """Suffix hashes: pairs of a suffix and its value, which for fragments is a list of pairs of an index, or null, and its digest."""
    hashes = [
        [suffix, list(value.items()) if isinstance(value, dict) else value]
        for suffix, value in found.hashes.items()
    ]
    return {"hashes": hashes}


def objects_document(store: ObjectStore, partition: str, suffixes: Iterable[str] | None) -> Document:
    """The objects of a partition, or of some of its suffixes; `more`: there are too many to tell."""
    items: list[Any] = []
    for item in store.inventory(partition, suffixes):
        if len(items) == MAX_ITEMS:
            return {"objects": items, "more": True}
        items.append(_item_list(item))
    return {"objects": items, "more": False}


def set_aside_document(store: ObjectStore, name_hash: str) -> Document:
    """What is in quarantine of one object, and whether it proves whole. `path`: the directory that the entries are in."""
    path = f"{store.device.path}/quarantined/{policy_dir(DATADIR, store.policy.idx)}"
    return {"path": path, "set_aside": [_aside_list(found) for found in store.set_aside(name_hash, 100)]}


def _item_list(item: Item) -> list[Any]:
    return [item.name_hash, _times_list(item.times), item.fragments, item.unfinished, item.name]


def _times_list(times: Times | None) -> list[Any] | None:
    return None if times is None else [times.data, times.meta, times.ctype, times.deleted]


def _aside_list(found: SetAside) -> list[Any]:
    return [found.entry, found.item and _item_list(found.item), found.size, found.etag, found.fault]


# ---------------------------------------------------------------- read


class Contents:
    """A device document, checked. Raises BadDocument."""

    def __init__(self, document: Any) -> None:
        try:
            self.partitions = [_natural(number) for number in document["partitions"]]
            self.waiting = _natural(document["waiting"])
            self.set_aside = [_aside(found) for found in document["set_aside"]]
            self.more_set_aside = bool(document["more_set_aside"])
            self.unknown = [str(name)[:255] for name in document["unknown"]]
        except (LookupError, TypeError, ValueError) as error:
            raise BadDocument(str(error)) from None


def items_of(document: Any) -> tuple[list[Item], bool]:
    """(objects, True if there are more) of an objects document. Raises BadDocument."""
    try:
        return [_item(values) for values in document["objects"]], bool(document["more"])
    except (LookupError, TypeError, ValueError) as error:
        raise BadDocument(str(error)) from None


def suffixes_of(document: Any) -> list[str]:
    """Of a suffixes document. Raises BadDocument."""
    try:
        found = list(document["suffixes"])
        if not all(isinstance(suffix, str) and is_suffix(suffix) for suffix in found):
            raise ValueError("no suffix")
        return found
    except (LookupError, TypeError, ValueError) as error:
        raise BadDocument(str(error)) from None


def hashes_of(document: Any) -> dict[str, SuffixHash | None]:
    """{suffix: value} of a hashes document. Raises BadDocument."""
    try:
        return {_suffix(suffix): _value(value) for suffix, value in document["hashes"]}
    except (LookupError, TypeError, ValueError) as error:
        raise BadDocument(str(error)) from None


def _suffix(value: Any) -> str:
    if not (isinstance(value, str) and is_suffix(value)):
        raise ValueError(f"no suffix: {value!r:.40}")
    return value


def _value(value: Any) -> SuffixHash | None:
    if value is None or isinstance(value, str):
        return value
    return {None if index is None else _natural(index): str(digest) for index, digest in value}


def set_aside_of(document: Any) -> tuple[str, list[SetAside]]:
    """(path, entries) of such a document. Raises BadDocument."""
    try:
        return str(document["path"]), [_aside(values) for values in document["set_aside"]]
    except (LookupError, TypeError, ValueError) as error:
        raise BadDocument(str(error)) from None


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"no number: {value!r:.40}")
    return value


def _item(values: Any) -> Item:
    name_hash, times, fragments, unfinished, name = values
    if not (isinstance(name_hash, str) and is_hash(name_hash)):
        raise ValueError(f"no hash: {name_hash!r:.40}")
    return Item(
        name_hash,
        None if times is None else _times(times),
        tuple(map(_natural, fragments)),
        tuple((internal_timestamp(time), _natural(index)) for time, index in unfinished),
        name if isinstance(name, str) and name.count("/") >= 3 else None,
    )


def _times(values: Any) -> Times:
    data, meta, ctype, deleted = values
    return Times(
        internal_timestamp(data),
        None if meta is None else internal_timestamp(meta),
        None if ctype is None else internal_timestamp(ctype),
        deleted=bool(deleted),
    )


def _aside(values: Any) -> SetAside:
    entry, item, size, etag, fault = values
    if not (isinstance(entry, str) and _ENTRY(entry)):
        raise ValueError("no name of an entry")
    return SetAside(
        entry,
        None if item is None else _item(item),
        _natural(size),
        str(etag)[:64],
        None if fault is None else str(fault)[:1000],
    )
