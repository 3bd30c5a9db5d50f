"""The hash of a row in a container's listing, which carries parameters behind the ETag (spec middleware 2.8): taken apart and put together.

What a parameter means is known to the filter that wrote it; each takes out its own and leaves the others as they are. A listing is read only
where a row in it has a parameter at all, which is found by searching its bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import orjson

LARGEST = 20_480_000  # bytes of JSON; what is larger goes out as it stands
Parameters = list[tuple[str, str]]

_PARAMETER = re.compile(r';[ \t]*([^=;"]*)=[ \t]*("(?:[^"\\]|\\.)*"|[^;]*)')
_ESCAPED = re.compile(r"\\(.)")


def parse_hash(text: str) -> tuple[str, Parameters]:
    """(the ETag, its parameters in their order, values without quotes)."""
    etag, semicolon, rest = text.partition(";")
    if not semicolon:
        return text, []
    found = []
    for name, value in _PARAMETER.findall(semicolon + rest):
        value = value.strip()
        if value.startswith('"') and value.endswith('"') and len(value) > 1:
            value = _ESCAPED.sub(r"\1", value[1:-1])
        found.append((name.strip(), value))
    return etag.strip(), found


def make_hash(etag: str, parameters: Iterable[tuple[str, str]]) -> str:
    """The other way round."""
    return "".join([etag, *(f"; {name}={value}" for name, value in parameters)])


def changed_listing(data: bytes, mark: bytes, change: Callable[[dict[str, Any]], bool]) -> bytes:
    """A listing in JSON after `change` had each row whose hash has parameters; the very same bytes if it returned False for all of them.

    `mark`: bytes without which there is nothing for `change`.
    """
    # One byte is looked for at the speed of memory; in most listings that is all.
    if b";" not in data or mark not in data:
        return data
    try:
        rows = orjson.loads(data)
    except orjson.JSONDecodeError:
        return data
    if not isinstance(rows, list):
        return data
    changed = False
    for row in rows:
        if isinstance(row, dict) and ";" in str(row.get("hash", "")):
            changed = change(row) or changed
    return json.dumps(rows).encode("ascii") if changed else data


def shown_apart(row: dict[str, Any], parameter: str) -> bool:
    """Take a parameter out of a row's hash, to stand under its own name, in quotes. Returns True if it was there."""
    hashed = row["hash"]
    if not isinstance(hashed, str):
        return False
    etag, parameters = parse_hash(hashed)
    kept = [pair for pair in parameters if pair[0] != parameter]
    if len(kept) == len(parameters):
        return False
    row["hash"] = make_hash(etag, kept)
    value = dict(parameters)[parameter].strip('"')
    row[parameter] = f'"{value}"'
    return True
