"""The text of container listings: JSON, XML and plain, of objects and of shard ranges (database.md 13.3).

The JSON of ascending listings without delimiter, which is what nearly all are, comes from stretches of rows in memory; all else
is walked and then kept as a finished body.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from json.encoder import encode_basestring_ascii as quoted
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from swift.core.remembered import remembered
from swift.core.timestamp import Timestamp, decode_timestamps
from swift.db.listing import Listing, Row, walk
from swift.db.merge import ObjectRow, is_plain, split_swift_bytes
from swift.db.overlay import lay_over
from swift.db.reader import Source

from . import shard_ranges
from .shard_ranges import ShardRange
from .snapshot import ContainerReader, ContainerSnapshot

JSON, XML, TEXT = "application/json", "application/xml", "text/plain"


@remembered(4096)
def _second(text: str) -> str:
    return Timestamp(text + ".00000").isoformat[:19]


def iso_time(created_at: str) -> str:
    """The ISO form of the last of encoded timestamps. Raises ValueError."""
    if is_plain(created_at):
        return f"{_second(created_at[:10])}.{created_at[11:]}0"
    meta = decode_timestamps(created_at)[2]
    assert meta is not None
    return meta.isoformat


@remembered(1024)
def _shown_type(content_type: str) -> tuple[str, int | None]:
    """(content type as JSON, the size that overrides the row's)."""
    shown, swift_bytes = split_swift_bytes(content_type)
    size = None
    if swift_bytes is not None:
        try:
            size = int(swift_bytes)
        except ValueError:
            size = None
    return quoted(shown), size


def json_row(row: Row) -> bytes:
    """One object as it stands in a JSON listing."""
    name, created_at, size, content_type, etag = row
    shown, real_size = _shown_type(content_type)
    if real_size is not None:
        size = real_size
    return (
        f'{{"bytes": {size}, "hash": {quoted(etag)}, "name": {quoted(name)}, "content_type": {shown}, '
        f'"last_modified": "{iso_time(created_at)}"}}'
    ).encode("ascii")


def json_entry(row: Row) -> bytes:
    """One object or subdir."""
    return json_row(row) if len(row) > 1 else b'{"subdir": %s}' % quoted(row[0]).encode("ascii")


def json_body(texts: Iterable[bytes]) -> bytes:
    """A JSON listing of finished entries."""
    return b"[" + b", ".join(texts) + b"]"


def text_body(rows: Iterable[Row]) -> bytes:
    """Names and subdirs, a line each."""
    return "".join([f"{row[0]}\n" for row in rows]).encode()


def xml_body(container: str, rows: Iterable[Row]) -> bytes:
    """An XML listing."""
    parts = [f'<?xml version="1.0" encoding="UTF-8"?>\n<container name={quoteattr(container)}>']
    for row in rows:
        name = escape(row[0])
        if len(row) == 1:
            parts.append(f"<subdir name={quoteattr(row[0])}><name>{name}</name></subdir>")
            continue
        _, created_at, size, content_type, etag = row
        shown, swift_bytes = split_swift_bytes(content_type)
        if swift_bytes is not None and swift_bytes.isdecimal():
            size = int(swift_bytes)
        parts.append(
            f"<object><name>{name}</name><hash>{escape(etag)}</hash><bytes>{size}</bytes><content_type>"
            f"{escape(shown)}</content_type><last_modified>{iso_time(created_at)}</last_modified></object>"
        )
    parts.append("</container>")
    return "".join(parts).encode()


def object_listing(
    source: Source[ContainerSnapshot], listing: Listing, media_type: str, policy: int
) -> bytes:
    """The body of a listing of one policy's objects. Raises NotInMemory, sqlite3.Error and the room's errors."""
    if media_type == JSON and listing.flat:
        return json_body(_flat_texts(source, listing, policy))

    def make() -> bytes:
        rows = walk(listing, source.fetch(policy))
        if media_type == JSON:
            return json_body(map(json_entry, rows))
        if media_type == TEXT:
            return text_body(rows)
        return xml_body(source.snapshot.info["container"], rows)

    return source.body((media_type, policy, listing.key()), make)


def _flat_texts(source: Source[ContainerSnapshot], listing: Listing, policy: int) -> list[bytes]:
    """The texts of a listing of nothing but rows, from stretches and pending rows."""
    low, high = listing.bounds()
    left = listing.limit
    if left <= 0 or (high is not None and low >= high):
        return []
    overlay = source.snapshot.overlay(policy)
    found: list[bytes] = []
    while True:
        (names, texts), bound = source.page(policy, low, high, left, json_row)
        if overlay.names:
            changes = overlay.between(low, bound if bound is not None else high)
            if changes:
                lay_over(names, texts, overlay.texts(changes, _json_of_pending))
        found = found + texts if found else texts
        left -= len(texts)
        if bound is None or left <= 0:
            return found if left >= 0 else found[: listing.limit]
        low = bound


def _json_of_pending(row: ObjectRow) -> bytes | None:
    shown = ContainerReader.listed(row)
    return None if shown is None else json_row(shown)


def shard_listing(ranges: list[ShardRange], namespaces: bool, media_type: str, container: str) -> bytes:
    """The body of a listing of shard ranges; but for JSON only their names."""
    if media_type == TEXT:
        return "".join([f"{item['name']}\n" for item in ranges]).encode()
    if media_type != JSON:
        names = "".join(
            [f"<shard_range><name>{escape(item['name'])}</name></shard_range>" for item in ranges]
        )
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<container name={quoteattr(container)}>{names}</container>'
        ).encode()
    shown: list[dict[str, Any]]
    if namespaces:
        shown = [dict(shard_ranges.to_namespace(item)) for item in ranges]
    else:
        shown = [{**item, "last_modified": shard_ranges.last_modified(item)} for item in ranges]
    return json.dumps(shown).encode("ascii")
