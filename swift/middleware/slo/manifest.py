"""Manifests as they are stored: what their items mean, and the size and ETag that follow (spec middleware 4.21.1).

Stored by the reference too, with its oldest forms. Nothing here asks anybody for anything.
"""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import orjson

from swift.core.hashing import md5
from swift.core.names import str_to_wsgi
from swift.wire.ranges import parse_range, ranges_for_length

MARK = "X-Static-Large-Object"
ETAG, SIZE = "X-Object-Sysmeta-Slo-Etag", "X-Object-Sysmeta-Slo-Size"
_SWIFT_BYTES = "swift_bytes="
_DECODER = json.JSONDecoder()


class BadManifest(ValueError):
    """A stored manifest that cannot be understood."""


class Item(NamedTuple):
    """One item: bytes of its own (`data`), or `length` bytes from `first` on of the object `path` (WSGI string, /container/object)
    of `size` bytes, which is a manifest itself if `is_manifest`."""

    data: bytes | None
    path: str
    first: int
    length: int
    size: int
    etag: str
    is_manifest: bool


class Stored:
    """The items of a stored manifest, as they came out of JSON; each is looked at when `item` takes it.

    What follows the first one is read when somebody wants it: an answer can begin before that. Raises BadManifest, then or now.
    `size`: bytes of the JSON.
    """

    __slots__ = ("_all", "_ends", "_first", "_text", "size")

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._all: list[Any] | None = None
        self._ends: list[int] = []  # of the items that were looked at, where in the object they end
        self._text = data
        self._first: Any = None
        if data[:1] == b"[":
            try:
                self._first, _ = _DECODER.raw_decode(data.decode(), 1)
                return
            except (ValueError, RecursionError):
                pass  # an empty one, or none
        self._all = _parsed(data)

    def all(self) -> list[Any]:
        """Every item."""
        found = self._all
        if found is None:
            found = self._all = _parsed(self._text)
        return found

    def __iter__(self) -> Iterator[Any]:
        if self._all is None:
            yield self._first
            yield from self.all()[1:]
        else:
            yield from self._all

    def __len__(self) -> int:
        return len(self.all())

    def items_from(self, first: int) -> Iterator[tuple[int, Item]]:
        """(where it begins, item) of the items in their order; those that end before the byte `first` and were passed once already
        are not looked at again."""
        ends = self._ends
        index = bisect_right(ends, first)
        end = ends[index - 1] if index else 0
        every = islice(self.all(), index, None) if index else iter(self)
        for number, one in enumerate(every, index):
            found = item(one)
            begin, end = end, end + found.length
            if number == len(ends):
                ends.append(end)
            yield begin, found


def _parsed(data: bytes) -> list[Any]:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise BadManifest(f"no JSON: {error}") from None
    if not isinstance(found, list):
        raise BadManifest("no list")
    return found


def item(stored: Any) -> Item:
    """Raises BadManifest."""
    try:
        data = stored.get("data")
        if data is not None:
            raw = base64.b64decode(data.encode("ascii"), validate=True)
            return Item(raw, "", 0, len(raw), len(raw), "", False)
        path = str_to_wsgi(stored["name"])
        if path[:1] != "/" or not all(path[1:].partition("/")):
            raise BadManifest(f"no object: {path[:200]!r}")
        is_manifest = bool(stored.get("sub_slo"))
        size = _size(stored, is_manifest)
        first, stop = 0, size
        if stored.get("range"):
            first, stop = _range(stored["range"], size)
        return Item(None, path, first, stop - first, size, str(stored["hash"]), is_manifest)
    except (KeyError, TypeError, AttributeError, UnicodeError, binascii.Error) as error:
        raise BadManifest(f"no item: {error!r:.200}") from None


def _size(stored: dict[str, Any], is_manifest: bool) -> int:
    size = stored["bytes"]
    if is_manifest:
        # Of old: `bytes` is the size of the manifest, and that of what it stands for is in the type.
        _, found, value = str(stored.get("content_type", "")).rpartition(_SWIFT_BYTES)
        if found and value.isascii() and value.isdigit():
            size = int(value[:20])
    if type(size) is not int or size < 0:
        raise BadManifest(f"no size: {size!r:.100}")
    return size


def _range(text: str, size: int) -> tuple[int, int]:
    specs = parse_range(f"bytes={text}")
    ranges = ranges_for_length(specs, size) if specs and len(specs) == 1 else None
    if not ranges:
        raise BadManifest(f"no range of {size} bytes: {text!r:.100}")
    return ranges[0]


def items(stored: Iterable[Any]) -> Iterator[Item]:
    """Raises BadManifest."""
    return map(item, stored)


def size_of(stored: Iterable[Any]) -> int:
    """Bytes of what the manifest stands for. Raises BadManifest."""
    return sum(one.length for one in items(stored))


def etag_of(stored: Iterable[Any]) -> str:
    """The ETag of what the manifest stands for. Raises BadManifest."""
    made = SloEtag()
    for one in stored:
        known = item(one)
        if known.data is not None:
            made.add_data(known.data)
        else:
            made.add(known.etag, one.get("range"))
    return made.hexdigest()


class SloEtag:
    """The ETag of a static large object, put together item by item."""

    def __init__(self) -> None:
        self._digest = md5()

    def add(self, etag: str, byte_range: str | None) -> None:
        text = f"{etag}:{byte_range};" if byte_range else etag
        self._digest.update(text.encode("utf-8", "surrogateescape"))

    def add_data(self, data: bytes) -> None:
        self._digest.update(md5(data).hexdigest().encode())

    def hexdigest(self) -> str:
        return str(self._digest.hexdigest())


def as_sent(stored: Iterable[Any]) -> bytes:
    """The manifest as a client could send it (format=raw). Raises BadManifest."""
    made = []
    try:
        for one in stored:
            if "data" in one:
                made.append(one)
                continue
            sent = {"etag": one["hash"], "path": one["name"]}
            if one.get("range"):
                sent["range"] = one["range"]
            sent["size_bytes"] = one["bytes"]
            made.append(sent)
    except (KeyError, TypeError) as error:
        raise BadManifest(f"no item: {error!r:.200}") from None
    return json.dumps(made, sort_keys=True).encode()
