"""What a container lists of an object, told from what is stored of it: after a POST, and when it is reported again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def listed_fields(data: Mapping[str, str], data_timestamp: str, content_type: str) -> dict[str, str]:
    """Headers of a container update without overrides. `data`: the .data's metadata; `content_type`: what the object's is now."""
    return {
        "X-Size": data.get("X-Object-Sysmeta-Ec-Content-Length") or data.get("Content-Length", "0"),
        "X-Content-Type": with_swift_bytes(content_type, data.get("Content-Type", "")),
        "X-Timestamp": data_timestamp,
        "X-Etag": data.get("X-Object-Sysmeta-Ec-Etag") or data.get("ETag", ""),
    }


def stored_overrides(data: Mapping[str, str]) -> list[tuple[str, str]]:
    """The stored headers that may override fields of a container update."""
    return [item for item in data.items() if item[0].startswith("X-Object-Sysmeta-")]


def queue_fields(data: Mapping[str, str], data_timestamp: str) -> dict[str, Any]:
    """Of the row in the expirer's queue."""
    return {
        "X-Content-Type": f"text/plain;swift_expirer_bytes={data.get('Content-Length', '0')}",
        "X-Content-Type-Timestamp": data_timestamp,
    }


def with_swift_bytes(content_type: str, data_type: str) -> str:
    """`content_type` with the swift_bytes parameter that the data's own content type has."""
    if content_type == data_type:
        return content_type
    for parameter in data_type.split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name == "swift_bytes":
            return f"{content_type};swift_bytes={value}"
    return content_type
