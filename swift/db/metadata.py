"""The metadata column of a database: how it is read, and which items count where two meet (database.md 6)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from .damage import ContentDamaged

Metadata = dict[str, tuple[str, str]]
"""{header name: (value, timestamp)}, cleared items ('') included."""


def parse_metadata(text: str | None) -> Metadata:
    """The metadata column as a dictionary. Raises ContentDamaged when it is not what any writer writes."""
    if not text:
        return {}
    try:
        return {key: (value, timestamp) for key, (value, timestamp) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as err:
        raise ContentDamaged(f"metadata: {err}") from None


def merge_metadata(stored: Metadata, updates: Mapping[str, tuple[str, str]]) -> bool:
    """Put the newer items of `updates` into `stored`; returns True if any was (6)."""
    changed = False
    for key, (value, timestamp) in updates.items():
        old = stored.get(key)
        if old is None or timestamp > old[1]:
            stored[key] = (value, timestamp)
            changed = True
    return changed
