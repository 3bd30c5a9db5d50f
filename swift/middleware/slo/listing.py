"""Listings of containers: the ETag of a static large object stands in its row's hash, and is shown apart (spec middleware 2.8, 4.21.4)."""

from __future__ import annotations

import json
from typing import Any

import orjson

LARGEST = 20_480_000  # bytes of JSON; what is larger goes out as it stands
_PARAMETER = "slo_etag"
_MARK = b"; slo_etag="


def shown(data: bytes) -> bytes:
    """A listing in JSON as clients are to see it; the very same bytes where no row says anything for us."""
    if _MARK not in data:
        return data
    try:
        rows = orjson.loads(data)
    except orjson.JSONDecodeError:
        return data
    if not isinstance(rows, list):
        return data
    changed = False
    for row in rows:
        if isinstance(row, dict):
            changed = _show(row) or changed
    return json.dumps(rows).encode("ascii") if changed else data


def _show(row: dict[str, Any]) -> bool:
    hashed = row.get("hash")
    if not isinstance(hashed, str) or ";" not in hashed:
        return False
    value, *parameters = hashed.split(";")
    kept, etag = [value], None
    for parameter in parameters:
        name, _, text = parameter.partition("=")
        if name.strip() == _PARAMETER:
            etag = text.strip().strip('"')
        else:
            kept.append(parameter)
    if etag is None:
        return False
    row["hash"] = ";".join(kept)
    row["slo_etag"] = f'"{etag}"'
    return True
