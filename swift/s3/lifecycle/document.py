"""The lifecycle document: read from XML, checked, written (spec s3.md 17.1). What its rules mean is `rules`'."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from swift.core import clock
from swift.s3 import tagging
from swift.s3.errors import S3Error
from swift.s3.xml import Child, Node, Text, document, element, many, maybe, node, one, read

MOST_BYTES = 1024 * 1024
MOST_RULES = 1000
_NUMBER = Text("-?[0-9]{1,18}")
_TAG = Node({"Key": one(Text()), "Value": one(Text())})
_SIZES: dict[str, Child] = {"ObjectSizeGreaterThan": maybe(_NUMBER), "ObjectSizeLessThan": maybe(_NUMBER)}
_FILTER = Node(
    {
        "Prefix": maybe(Text()),
        "Tag": maybe(_TAG),
        **_SIZES,
        "And": maybe(Node({"Prefix": maybe(Text()), "Tag": many(_TAG), **_SIZES})),
    }
)
_RULE = Node(
    {
        "ID": maybe(Text()),
        "Status": one(Text("Enabled|Disabled")),
        "Prefix": maybe(Text()),
        "Filter": maybe(_FILTER),
        "Expiration": maybe(
            Node(
                {
                    "Days": maybe(_NUMBER),
                    "Date": maybe(Text()),
                    "ExpiredObjectDeleteMarker": maybe(Text("true|false")),
                }
            )
        ),
        "NoncurrentVersionExpiration": maybe(
            Node({"NoncurrentDays": maybe(_NUMBER), "NewerNoncurrentVersions": maybe(_NUMBER)})
        ),
        "AbortIncompleteMultipartUpload": maybe(Node({"DaysAfterInitiation": one(_NUMBER)})),
        "Transition": many(
            Node({"Days": maybe(_NUMBER), "Date": maybe(Text()), "StorageClass": one(Text())})
        ),
        "NoncurrentVersionTransition": many(
            Node(
                {
                    "NoncurrentDays": maybe(_NUMBER),
                    "NewerNoncurrentVersions": maybe(_NUMBER),
                    "StorageClass": one(Text()),
                }
            )
        ),
    }
)
_SCHEMA = Node({"Rule": many(_RULE, 1, MOST_RULES)})
_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:T([0-9:]{8})(?:\.[0-9]{1,9})?(?:Z|\+00:00))?")
_MOST_DAYS = 2**31 - 1
_ACTIONS = ("Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload")
_TRANSITIONS = ("Transition", "NoncurrentVersionTransition")


def parse(data: bytes) -> dict[str, Any]:
    """The document as it is kept: the XML's names, numbers as int, `Date` in whole form. Raises S3Error."""
    found = read(data, "LifecycleConfiguration", _SCHEMA)
    rules = [_rule(rule) for rule in found["Rule"]]
    seen = set()
    for rule in rules:
        if rule["ID"] in seen:
            raise S3Error(
                "InvalidArgument",
                "Rule ID must be unique. Found same ID for more than one rule",
                ArgumentName="ID",
                ArgumentValue=rule["ID"],
            )
        seen.add(rule["ID"])
    return {"Rule": rules}


def _rule(found: Mapping[str, Any]) -> dict[str, Any]:
    rule: dict[str, Any] = {"ID": found.get("ID") or str(clock.uuid4()), "Status": found["Status"]}
    if len(rule["ID"]) > 255:
        raise S3Error(
            "InvalidArgument", "ID length should not exceed allowed limit of 255", ArgumentName="ID"
        )
    if any(found[name] for name in _TRANSITIONS):
        raise S3Error("InvalidStorageClass")
    if not any(name in found for name in _ACTIONS):
        raise S3Error("InvalidRequest", "At least one action needs to be specified in a rule.")
    if ("Filter" in found) == ("Prefix" in found):
        raise S3Error("MalformedXML")
    if "Prefix" in found:
        rule["Prefix"] = found["Prefix"]
    else:
        rule["Filter"] = _filter(found["Filter"])
    has_tags = "Tag" in rule.get("Filter", {}) or bool(rule.get("Filter", {}).get("And", {}).get("Tag"))
    if "Expiration" in found:
        rule["Expiration"] = _expiration(found["Expiration"], has_tags)
    if "NoncurrentVersionExpiration" in found:
        rule["NoncurrentVersionExpiration"] = _noncurrent(found["NoncurrentVersionExpiration"])
    if "AbortIncompleteMultipartUpload" in found:
        if has_tags:
            raise S3Error("InvalidRequest", "AbortIncompleteMultipartUpload cannot be specified with Tags.")
        days = _positive(
            found["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"],
            "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
        )
        rule["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
    return rule


def _filter(found: Mapping[str, Any]) -> dict[str, Any]:
    if len(found) > 1:
        raise S3Error("MalformedXML")
    kept: dict[str, Any] = {}
    if "And" in found:
        both = found["And"]
        if len(both["Tag"]) + len(both) - 1 < 2:
            raise S3Error("MalformedXML")
        kept["And"] = _sizes(both)
        if "Prefix" in both:
            kept["And"]["Prefix"] = both["Prefix"]
        if both["Tag"]:
            kept["And"]["Tag"] = _tags(both["Tag"])
        return kept
    kept = _sizes(found)
    if "Prefix" in found:
        kept["Prefix"] = found["Prefix"]
    if "Tag" in found:
        kept["Tag"] = _tags([found["Tag"]])[0]
    return kept


def _tags(found: list[dict[str, str]]) -> list[dict[str, str]]:
    tags = tagging.checked((tag["Key"], tag["Value"]) for tag in found)
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _sizes(found: Mapping[str, Any]) -> dict[str, Any]:
    sizes = {name: int(found[name]) for name in _SIZES if name in found}
    if any(size < 0 for size in sizes.values()):
        raise S3Error("InvalidRequest", "Object sizes of a filter must not be negative.")
    if len(sizes) == 2 and sizes["ObjectSizeGreaterThan"] >= sizes["ObjectSizeLessThan"]:
        raise S3Error(
            "InvalidRequest", "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'."
        )
    return sizes


def _expiration(found: Mapping[str, Any], has_tags: bool) -> dict[str, Any]:
    if len(found) != 1:
        raise S3Error("MalformedXML")
    if "ExpiredObjectDeleteMarker" in found:
        if has_tags:
            raise S3Error("InvalidRequest", "ExpiredObjectDeleteMarker cannot be specified with Tags.")
        return {"ExpiredObjectDeleteMarker": found["ExpiredObjectDeleteMarker"]}
    if "Days" in found:
        return {"Days": _positive(found["Days"], "'Days' for Expiration action must be a positive integer")}
    return {"Date": _date(found["Date"])}


def _noncurrent(found: Mapping[str, Any]) -> dict[str, Any]:
    if "NoncurrentDays" not in found:
        raise S3Error("MalformedXML")
    days = _positive(
        found["NoncurrentDays"],
        "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer",
    )
    kept = {"NoncurrentDays": days}
    if "NewerNoncurrentVersions" in found:
        newer = int(found["NewerNoncurrentVersions"])
        if not 1 <= newer <= 100:
            raise S3Error(
                "InvalidArgument",
                "'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must be between 1 and 100",
            )
        kept["NewerNoncurrentVersions"] = newer
    return kept


def _positive(text: str, message: str) -> int:
    if not 0 < int(text) <= _MOST_DAYS:
        raise S3Error("InvalidArgument", message)
    return int(text)


def _date(text: str) -> str:
    found = _DATE.fullmatch(text)
    if found is None:
        raise S3Error("MalformedXML")
    if found.group(2) not in (None, "00:00:00"):
        raise S3Error("InvalidArgument", "'Date' must be at midnight GMT")
    kept = found.group(1) + "T00:00:00.000Z"
    try:
        seconds_of(kept)
    except ValueError:
        raise S3Error("MalformedXML") from None
    return kept


def seconds_of(date: str) -> int:
    """Of a kept `Date`, since the epoch. Raises ValueError."""
    day = datetime.strptime(date[:10], "%Y-%m-%d").replace(tzinfo=timezone.utc)
    return int(day.timestamp())


# -- writing --------------------------------------------------------------------------------------------------------------


def shown(found: Mapping[str, Any]) -> bytes:
    """The document as a client gets it."""
    return document("LifecycleConfiguration", *(_node("Rule", rule) for rule in found["Rule"]))


def _node(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return node(name, *(_node(inner, below) for inner, below in value.items()))
    if isinstance(value, list):
        return "".join(_node(name, below) for below in value)
    return element(name, value)
