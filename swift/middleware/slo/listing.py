"""Listings of containers: the ETag of a static large object stands in its row's hash, and is shown apart (spec middleware 2.8, 4.21.4)."""

from __future__ import annotations

from typing import Any

from swift.middleware.listing_hash import changed_listing, shown_apart

_PARAMETER = "slo_etag"
_MARK = b"; slo_etag="


def shown(data: bytes) -> bytes:
    """A listing in JSON as clients are to see it; the very same bytes where no row says anything for us."""
    return changed_listing(data, _MARK, _show)


def _show(row: dict[str, Any]) -> bool:
    return shown_apart(row, _PARAMETER)
