"""The text of account listings: JSON, XML and plain (database.md 12.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from json.encoder import encode_basestring_ascii as quoted
from xml.sax.saxutils import escape, quoteattr

from swift.core.timestamp import Timestamp
from swift.db.listing import Listing, Row, walk
from swift.db.reader import Source

from .snapshot import TABLE, AccountSnapshot

JSON, XML, TEXT = "application/json", "application/xml", "text/plain"

PolicyName = Callable[[int], "str | None"]


def json_entry(row: Row, policy_name: PolicyName) -> str:
    """One container or subdir as it stands in a JSON listing."""
    if len(row) == 1:
        return f'{{"subdir": {quoted(row[0])}}}'
    name, count, size, put_timestamp, policy = row
    policy_text = policy_name(policy)
    shown_policy = "" if policy_text is None else f', "storage_policy": {quoted(policy_text)}'
    return (
        f'{{"name": {quoted(name)}, "count": {count}, "bytes": {size}, '
        f'"last_modified": "{Timestamp(put_timestamp).isoformat}"{shown_policy}}}'
    )


def xml_body(account: str, rows: Iterable[Row], policy_name: PolicyName) -> bytes:
    """An XML listing."""
    parts = [f'<?xml version="1.0" encoding="UTF-8"?>\n<account name={quoteattr(account)}>']
    for row in rows:
        if len(row) == 1:
            parts.append(f"<subdir name={quoteattr(row[0])} />")
            continue
        name, count, size, put_timestamp, policy = row
        policy_text = policy_name(policy)
        shown_policy = (
            "" if policy_text is None else f"<storage_policy>{escape(policy_text)}</storage_policy>"
        )
        parts.append(
            f"<container><name>{escape(name)}</name><count>{count}</count><bytes>{size}</bytes><last_modified>"
            f"{Timestamp(put_timestamp).isoformat}</last_modified>{shown_policy}</container>"
        )
    parts.append("</account>")
    return "\n".join(parts).encode()


def container_listing(
    source: Source[AccountSnapshot], listing: Listing, media_type: str, policy_name: PolicyName
) -> bytes:
    """The body of a listing. Raises NotInMemory, sqlite3.Error and the room's errors."""

    def make() -> bytes:
        rows = walk(listing, source.fetch(TABLE))
        if media_type == JSON:
            return f"[{', '.join([json_entry(row, policy_name) for row in rows])}]".encode("ascii")
        if media_type == TEXT:
            return "".join([f"{row[0]}\n" for row in rows]).encode()
        return xml_body(source.snapshot.info["account"], rows, policy_name)

    return source.body((media_type, listing.key()), make)
