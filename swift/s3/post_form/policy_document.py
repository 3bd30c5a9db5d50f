"""The policy of a form: read, and held against the form's fields (spec s3.md 24).

Pure: `Policy` knows nothing of requests. Never here: bucket policies (`policy`), and who signed.
"""

from __future__ import annotations

import binascii
import calendar
import json
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from swift.s3.errors import S3Error

_MOST_CONDITIONS = 1000
_LARGEST = 2**63 - 1
_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?Z?", re.ASCII)
# What a policy need not say, since it can't, or since it makes no difference.
_NEED_NO_CONDITION = frozenset(("policy", "file", "awsaccesskeyid", "signature", "x-amz-signature"))
_IGNORED = "x-ignore-"
_RANGE = "content-length-range"


@dataclass(frozen=True)
class Condition:
    """`operator`: `eq` or `starts-with`; `name`: of the field, lower case; `shown`: as the policy has it."""

    operator: str
    name: str
    value: str
    shown: str

    def holds(self, value: str) -> bool:
        if self.operator == "eq":
            return value == self.value
        if self.name == "content-type" and "," in value:
            return all(part.strip().startswith(self.value) for part in value.split(","))
        return value.startswith(self.value)


@dataclass(frozen=True)
class Policy:
    """`expires`: seconds since the epoch; `least`, `most`: bytes of the file."""

    expires: float
    conditions: tuple[Condition, ...] = ()
    least: int = 0
    most: int = _LARGEST
    named: frozenset[str] = field(default_factory=frozenset)

    def check(self, values: Mapping[str, str], bucket: str, now: float) -> None:
        """Raises S3Error if a form with these fields (by lower-case name) may not be sent to a bucket."""
        if self.expires <= now:
            raise _refused("Policy expired.")
        if values.get("bucket", bucket) != bucket:
            # What is said of the bucket is said of the one that the form is sent to, not of a field of that name.
            raise _refused("Policy Condition failed: the field bucket names another bucket")
        found = {**values, "bucket": bucket}
        for condition in self.conditions:
            if not condition.holds(found.get(condition.name, "")):
                raise _refused(f"Policy Condition failed: {condition.shown}")
        extra = [
            name
            for name in found
            if name not in self.named and name not in _NEED_NO_CONDITION and not name.startswith(_IGNORED)
        ]
        if extra:
            raise _refused(f"Extra input fields: {', '.join(sorted(extra))}")


def _refused(text: str) -> S3Error:
    return S3Error("AccessDenied", f"Invalid according to Policy: {text}")


def _bad(text: str) -> S3Error:
    return S3Error("InvalidPolicyDocument", f"Invalid Policy: {text}")


def parse(text: str) -> Policy:
    """The policy of the field `policy` (base64). Raises S3Error."""
    try:
        document = json.loads(b64decode("".join(text.split()).encode("ascii"), validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise _bad("Invalid JSON.") from None
    if not isinstance(document, dict):
        raise _bad("Invalid JSON.")
    named = {name.lower(): value for name, value in document.items()}
    unknown = named.keys() - {"expiration", "conditions"}
    if unknown or len(named) != len(document):
        raise _bad("Unexpected member.")
    if "expiration" not in named:
        raise _bad("Policy missing expiration.")
    conditions = named.get("conditions")
    if not isinstance(conditions, list) or len(conditions) > _MOST_CONDITIONS:
        raise _bad("Policy missing conditions.")
    found: list[Condition] = []
    least, most = 0, _LARGEST
    for condition in conditions:
        if isinstance(condition, dict):
            found.extend(_equal(name, value) for name, value in condition.items())
        elif isinstance(condition, list) and len(condition) == 3 and isinstance(condition[0], str):
            if condition[0].lower() == _RANGE:
                low, high = _bytes(condition[1]), _bytes(condition[2])
                least, most = max(least, low), min(most, high)
            else:
                found.append(_listed(condition))
        else:
            raise _bad("Invalid Condition.")
    return Policy(
        _moment(named["expiration"]), tuple(found), least, most, frozenset(item.name for item in found)
    )


def _equal(name: str, value: Any) -> Condition:
    text = _text(value)
    return Condition("eq", name.lower(), text, json.dumps(["eq", f"${name}", text]))


def _listed(condition: list[Any]) -> Condition:
    operator, name, value = condition
    operator = operator.lower()
    if operator not in ("eq", "starts-with") or not isinstance(name, str) or not name.startswith("$"):
        raise _bad("Invalid Condition.")
    text = _text(value)
    return Condition(operator, name[1:].lower(), text, json.dumps([operator, name, text]))


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _bad("Invalid Condition: a value must be a string.")
    return str(value)


def _bytes(value: Any) -> int:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise _bad("Invalid content-length-range.")
    return int(text)


def _moment(value: Any) -> float:
    """Seconds since the epoch. Raises S3Error."""
    match = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _bad("Invalid 'expiration' value.")
    year, month, day, hour, minute, second = map(int, match.groups())
    if not (year and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61):
        raise _bad("Invalid 'expiration' value.")
    return calendar.timegm((year, month, day, hour, minute, second))
