"""Listings of containers: the ETag of a static large object stands in its row's hash, and is shown apart (spec middleware 2.8, 4.21.4)."""

from __future__ import annotations

from typing import Any

from swift.middleware.listing_hash import changed_listing, make_hash, parse_hash

_PARAMETER = "slo_etag"
_MARK = b"; slo_etag="


def shown(data: bytes) -> bytes:
    """A listing in JSON as clients are to see it; the very same bytes where no row says anything for us."""
    return changed_listing(data, _MARK, _show)


def _show(row: dict[str, Any]) -> bool:
    hashed = row["hash"]
    if not isinstance(hashed, str):
        return False
    etag, parameters = parse_hash(hashed)
    kept = [pair for pair in parameters if pair[0] != _PARAMETER]
    if len(kept) == len(parameters):
        return False
    row["hash"] = make_hash(etag, kept)
    value = dict(parameters)[_PARAMETER].strip('"')
    row["slo_etag"] = f'"{value}"'
    return True
