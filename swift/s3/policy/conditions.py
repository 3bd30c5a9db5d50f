"""The conditions of statements (spec s3.md 16.2): operators, and what they make of values that are missing.

Never here: what a request says of a key (`context`).
"""

from __future__ import annotations

import base64
import calendar
import ipaddress
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from swift.s3.policy.patterns import BadPattern, Pattern

# The values of a condition key (lower case) in a request, None if it says nothing of it.
Values = Callable[[str], tuple[str, ...] | None]
LONGEST_VALUE = 4096  # characters of what is compared with a pattern
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?", re.ASCII)


class BadCondition(ValueError):
    """What is no condition; its text says why."""


class Undecided(Exception):
    """A variable stands for nothing: the statement is not about this request."""


class TooLong(Exception):
    """A value that is not compared with anything."""


# -- kinds of values ------------------------------------------------------------------------------------------------------


def _single(values: Values) -> Callable[[str], str | None]:
    def lookup(key: str) -> str | None:
        found = values(key)
        return found[0] if found is not None and len(found) == 1 else None

    return lookup


def _filled(pattern: Pattern, values: Values) -> str:
    found = pattern.value(_single(values))
    if found is None:
        raise Undecided
    return found


def _is_equal(value: str, wanted: Pattern, values: Values) -> bool:
    return value == _filled(wanted, values)


def _is_equal_ignoring_case(value: str, wanted: Pattern, values: Values) -> bool:
    return value.casefold() == _filled(wanted, values).casefold()


def _is_like(value: str, wanted: Pattern, values: Values) -> bool:
    if len(value) > LONGEST_VALUE:
        raise TooLong
    glob = wanted.glob(_single(values))
    if glob is None:
        raise Undecided
    return glob.matches(value)


def _is_arn_like(value: str, wanted: Pattern, values: Values) -> bool:
    if len(value) > LONGEST_VALUE:
        raise TooLong
    globs = wanted.parts(_single(values), ":", 6)
    if globs is None:
        raise Undecided
    parts = value.split(":", 5)
    return len(parts) == len(globs) and all(
        glob.matches(part) for glob, part in zip(globs, parts, strict=True)
    )


def number_of(text: str) -> float | None:
    """None for what is no number."""
    return float(text) if _NUMBER.fullmatch(text) else None


def seconds_of(text: str) -> float | None:
    """Seconds since the epoch of an ISO 8601 date or such a number; None for what is neither."""
    if _NUMBER.fullmatch(text):
        return float(text)
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60 and year):
        return None
    moment = calendar.timegm((year, month, day, hour, minute, second))
    zone = found.group(7)
    if zone and zone != "Z":
        shift = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        moment += -shift if zone[0] == "+" else shift
    return float(moment)


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for what is no address; that of version 4 for one that a version 6 only wraps."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return mapped or found


def _compared(read: Callable[[str], float | None], is_right: Callable[[float, float], bool]) -> _Test:
    def test(value: str, wanted: Any, values: Values) -> bool:
        mine = read(value)
        theirs = wanted if isinstance(wanted, float) else read(_filled(wanted, values))
        return mine is not None and theirs is not None and is_right(mine, theirs)

    return test


def _is_in_network(value: str, wanted: Any, _values: Values) -> bool:
    address = address_of(value)
    return address is not None and address.version == wanted.version and address in wanted


def _is_flag(value: str, wanted: Pattern, values: Values) -> bool:
    return value.lower() == _filled(wanted, values).lower()


_Test = Callable[[str, Any, Values], bool]


class _Kind(NamedTuple):
    """`make(text, has_variables)`: a policy's value as `test` takes it; raises ValueError."""

    make: Callable[[str, bool], Any]
    test: _Test


def _fixed(read: Callable[[str], float | None]) -> Callable[[str, bool], Any]:
    def make(text: str, has_variables: bool) -> Any:
        if has_variables and "${" in text:
            return Pattern(text, True, False)
        found = read(text)
        if found is None or not math.isfinite(found):
            raise ValueError(text)
        return found

    return make


def _network(text: str, _has_variables: bool) -> Any:
    found = ipaddress.ip_network(text, strict=False)
    mapped = getattr(found.network_address, "ipv4_mapped", None)
    if mapped is not None and found.prefixlen >= 96:
        return ipaddress.ip_network(f"{mapped}/{found.prefixlen - 96}", strict=False)
    return found


def _flag(text: str, has_variables: bool) -> Pattern:
    if "${" not in text and text.lower() not in ("true", "false"):
        raise ValueError(text)
    return Pattern(text, has_variables, False)


def _binary(text: str, _has_variables: bool) -> Pattern:
    base64.b64decode(text, validate=True)
    return Pattern(text, False, False)


def _text(text: str, has_variables: bool) -> Pattern:
    return Pattern(text, has_variables, False)


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "Equals": lambda mine, theirs: mine == theirs,
    "LessThan": lambda mine, theirs: mine < theirs,
    "LessThanEquals": lambda mine, theirs: mine <= theirs,
    "GreaterThan": lambda mine, theirs: mine > theirs,
    "GreaterThanEquals": lambda mine, theirs: mine >= theirs,
}
_KINDS: dict[str, _Kind] = {
    "StringEquals": _Kind(_text, _is_equal),
    "StringEqualsIgnoreCase": _Kind(_text, _is_equal_ignoring_case),
    "StringLike": _Kind(Pattern, _is_like),
    "Bool": _Kind(_flag, _is_flag),
    "BinaryEquals": _Kind(_binary, _is_equal),
    "IpAddress": _Kind(_network, _is_in_network),
    "ArnEquals": _Kind(Pattern, _is_arn_like),
    "ArnLike": _Kind(Pattern, _is_arn_like),
    **{f"Numeric{name}": _Kind(_fixed(number_of), _compared(number_of, right)) for name, right in _COMPARISONS.items()},
    **{f"Date{name}": _Kind(_fixed(seconds_of), _compared(seconds_of, right)) for name, right in _COMPARISONS.items()},
}  # fmt: skip
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}
_ALL, _ANY = "ForAllValues:", "ForAnyValue:"
_IF_EXISTS = "IfExists"


# -- conditions -----------------------------------------------------------------------------------------------------------


class Condition:
    """One operator and one key. `key`: in lower case; `wanted`: the policy's values as its operator takes them, `texts` as they stand there."""

    __slots__ = ("_if_exists", "_is_negated", "_quantifier", "_test", "key", "operator", "texts", "wanted")

    def __init__(self, operator: str, key: str, texts: Sequence[str], has_variables: bool) -> None:
        """Raises BadCondition."""
        self.operator, self.key, self.texts = operator, key.lower(), tuple(texts)
        rest = operator
        self._quantifier = next((prefix for prefix in (_ALL, _ANY) if rest.startswith(prefix)), "")
        rest = rest[len(self._quantifier) :]
        self._if_exists = rest.endswith(_IF_EXISTS)
        rest = rest.removesuffix(_IF_EXISTS)
        self._is_negated = rest in _NEGATED
        kind = _KINDS.get(_NEGATED.get(rest, rest))
        if rest == "Null" and not self._if_exists and not self._quantifier:
            self._test: _Test | None = None
            self.wanted: tuple[Any, ...] = tuple(text.lower() for text in texts)
            if not set(self.wanted) <= {"true", "false"}:
                raise BadCondition(f"Invalid value for condition type : {operator}")
            return
        if kind is None:
            raise BadCondition(f"Invalid Condition type : {operator}")
        self._test = kind.test
        try:
            self.wanted = tuple(kind.make(text, has_variables) for text in texts)
        except BadPattern:
            raise BadCondition("Policy has an invalid variable") from None
        except ValueError:
            raise BadCondition(f"Invalid value for condition type : {operator}") from None

    @property
    def is_positive(self) -> bool:
        """Returns True if it holds only for requests that say one of its values."""
        return (
            self._test is not None
            and not self._is_negated
            and not self._if_exists
            and self._quantifier != _ALL
        )

    def holds(self, values: Values) -> bool:
        """Raises Undecided and TooLong."""
        found = values(self.key)
        if self._test is None:
            return any((found is None) == (wanted == "true") for wanted in self.wanted)
        if self._quantifier == _ALL:
            return all(self._is_met(value, values) for value in found or ())
        if not found:
            return self._if_exists or (self._is_negated and self._quantifier != _ANY)
        return (
            any(self._is_met(value, values) for value in found)
            if self._quantifier
            else self._of_one(found, values)
        )

    def _of_one(self, found: tuple[str, ...], values: Values) -> bool:
        if self._is_negated:
            return all(self._is_met(value, values) for value in found)
        return any(self._is_met(value, values) for value in found)

    def _is_met(self, value: str, values: Values) -> bool:
        assert self._test is not None
        is_undecided = False
        for wanted in self.wanted:
            try:
                if self._test(value, wanted, values):
                    return not self._is_negated
            except Undecided:
                is_undecided = True
        if is_undecided:
            raise Undecided
        return self._is_negated


def conditions_of(
    found: Mapping[str, Mapping[str, Sequence[str]]], has_variables: bool
) -> tuple[Condition, ...]:
    """Those that cost a look at something come last. Raises BadCondition."""
    made = [
        Condition(operator, key, texts, has_variables)
        for operator, keys in found.items()
        for key, texts in keys.items()
    ]
    return tuple(sorted(made, key=lambda condition: condition.key.startswith("s3:existingobjecttag")))
