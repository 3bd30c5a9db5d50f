"""A bucket's object lock configuration: read, checked, shown; the retention that it gives to new objects (spec s3.md 18).

Never here: requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swift.core.object_lock import COMPLIANCE, GOVERNANCE, stored_retention
from swift.s3.errors import S3Error
from swift.s3.xml import Node, Text, document, element, maybe, node, one, read

NAME = "Object-Lock"
_DAY = 86_400
_MOST_DAYS, _MOST_YEARS = 36_500, 100
_NUMBER = Text("[-+]?[0-9]{1,12}")
_SCHEMA = Node(
    {
        "ObjectLockEnabled": maybe(Text("Enabled")),
        "Rule": maybe(
            Node(
                {
                    "DefaultRetention": one(
                        Node(
                            {
                                "Mode": one(Text(f"{GOVERNANCE}|{COMPLIANCE}")),
                                "Days": maybe(_NUMBER),
                                "Years": maybe(_NUMBER),
                            }
                        )
                    )
                }
            )
        ),
    }
)
# What PutObjectRetention and PutObjectLegalHold bring.
RETENTION_SCHEMA = Node(
    {"Mode": maybe(Text(f"{GOVERNANCE}|{COMPLIANCE}")), "RetainUntilDate": maybe(Text(most=64))}
)
HOLD_SCHEMA = Node({"Status": one(Text("ON|OFF"))})
LARGEST = 10_240  # bytes of a document about an object

Document = Mapping[str, Any]


def parse(data: bytes) -> dict[str, Any]:
    """Raises S3Error."""
    found = read(data, "ObjectLockConfiguration", _SCHEMA)
    made: dict[str, Any] = {"ObjectLockEnabled": "Enabled"}
    if "Rule" not in found:
        return made
    retention = found["Rule"]["DefaultRetention"]
    units = [unit for unit in ("Days", "Years") if unit in retention]
    if len(units) != 1:
        raise S3Error("MalformedXML")
    unit = units[0]
    length = int(retention[unit])
    if length <= 0:
        raise S3Error("InvalidArgument", "Default retention period must be a positive integer value.")
    if length > (_MOST_DAYS if unit == "Days" else _MOST_YEARS):
        raise S3Error("InvalidArgument", "Default retention period is too large.")
    made["Rule"] = {"DefaultRetention": {"Mode": retention["Mode"], unit: length}}
    return made


def shown(found: Document) -> bytes:
    inner = [element("ObjectLockEnabled", "Enabled")]
    retention = found.get("Rule", {}).get("DefaultRetention")
    if retention:
        parts = (element(name, retention[name]) for name in ("Mode", "Days", "Years") if name in retention)
        inner.append(node("Rule", node("DefaultRetention", *parts)))
    return document("ObjectLockConfiguration", *inner)


def default_retention(found: Document, now: float) -> str | None:
    """What is stored with an object made at `now` (seconds), None if the configuration has no rule."""
    retention = found.get("Rule", {}).get("DefaultRetention")
    if not retention:
        return None
    days = retention["Days"] if "Days" in retention else retention["Years"] * 365
    return stored_retention(retention["Mode"], int(now) + days * _DAY)
