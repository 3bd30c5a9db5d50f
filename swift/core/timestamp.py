"""Timestamps: the values that decide which of two writes wins, and all their text forms.

A timestamp is a count of 10 microsecond units since the epoch (`raw`) plus a 64-bit `offset`. Its identity is its
*internal* text, which sorts bytewise in time order; most code can therefore compare strings and never do
arithmetic. Also here: encoded triples, delete-at values and HTTP dates. Clocks, sleeping and rate limits are elsewhere.

Spec: proxy-and-backend section 2, database 1.1, object-disk 2.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from swift.core import clock
from swift.core.remembered import remembered

RAW_PER_SECOND = 100_000
MAX_RAW = 10**15 - 1
MAX_OFFSET = 2**64 - 1

_CANONICAL = re.compile(r"[0-9]{10}\.[0-9]{5}(?:_([0-9a-f]{16}))?", re.ASCII).fullmatch
_EPOCH = datetime(1970, 1, 1)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_time = clock.time


def _normal_text(raw: int) -> str:
    return f"{raw // RAW_PER_SECOND:010d}.{raw % RAW_PER_SECOND:05d}"


def _internal_text(raw: int, offset: int) -> str:
    text = f"{raw // RAW_PER_SECOND:010d}.{raw % RAW_PER_SECOND:05d}"
    return f"{text}_{offset:016x}" if offset else text


def _raw_of_number(value: float) -> int:
    try:
        raw = round(value * RAW_PER_SECOND)
    except OverflowError:
        raise ValueError(f"timestamp out of range: {value!r}") from None
    if not 0 <= raw <= MAX_RAW or value < 0:
        raise ValueError(f"timestamp out of range: {value!r}")
    return raw


def _parse_loose(text: str) -> tuple[int, int]:
    """(raw, offset) of any text form that peers may send: `1e3`, ` 12 `, `1_a`."""
    number, *rest = text.split("_")
    if len(rest) > 1:
        raise ValueError(f"invalid timestamp: {text!r}")
    offset = 0
    if rest and rest[0]:
        if len(rest[0]) > 16:
            raise ValueError(f"invalid timestamp offset: {text!r}")
        offset = int(rest[0], 16)
        if offset < 0:
            raise ValueError(f"invalid timestamp offset: {text!r}")
    return _raw_of_number(float(number)), offset


class Timestamp:
    """An immutable point in time, comparable with timestamps, numbers and any text form of a timestamp.

    `value`: text in any form, a number of seconds, or a Timestamp. `offset` is added to the value's own offset,
    `delta` (in units of 10 microseconds) to its raw part. Raises ValueError for what isn't a timestamp in range.
    """

    __slots__ = ("internal",)
    internal: str  # the identity: fixed width, so that string order is time order

    def __init__(self, value: Any, offset: int = 0, delta: int = 0) -> None:
        if type(value) is str and _CANONICAL(value):
            # a written-out zero offset isn't canonical
            self.internal = value if len(value) == 16 or value[17:] != "0000000000000000" else value[:16]
            if not offset and not delta:
                return
            value = self
        if isinstance(value, Timestamp):
            raw, own_offset = value.raw, value.offset
        elif isinstance(value, (str, bytes)):
            raw, own_offset = _parse_loose(value if isinstance(value, str) else value.decode("latin-1"))
        elif value is None:
            raise ValueError("None is not a timestamp")
        else:
            try:
                raw, own_offset = _raw_of_number(float(value)), 0
            except TypeError:
                raise ValueError(f"not a timestamp: {value!r}") from None
        raw += delta
        own_offset += offset
        if not 0 <= raw <= MAX_RAW:
            raise ValueError(f"timestamp out of range: {value!r}")
        if not 0 <= own_offset <= MAX_OFFSET:
            raise ValueError(f"timestamp offset out of range: {own_offset}")
        self.internal = _internal_text(raw, own_offset)

    @classmethod
    def now(cls, offset: int = 0, delta: int = 0) -> Timestamp:
        """The current time."""
        return cls(_time(), offset, delta)

    @classmethod
    def from_raw(cls, raw: int, offset: int = 0) -> Timestamp:
        """From units of 10 microseconds."""
        if not 0 <= raw <= MAX_RAW or not 0 <= offset <= MAX_OFFSET:
            raise ValueError(f"timestamp out of range: {raw}, {offset}")
        made = cls.__new__(cls)
        made.internal = _internal_text(raw, offset)
        return made

    @classmethod
    def zero(cls) -> Timestamp:
        return cls.from_raw(0)

    @classmethod
    def from_isoformat(cls, text: str) -> Timestamp:
        """From `YYYY-MM-DDTHH:MM:SS[.ffffff]`, UTC."""
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            moment = moment.astimezone(timezone.utc).replace(tzinfo=None)
        span = moment - _EPOCH
        return cls.from_raw(round(((span.days * 86400 + span.seconds) * 1_000_000 + span.microseconds) / 10))

    @property
    def normal(self) -> str:
        """`%016.5f`; what clients are shown."""
        return self.internal[:16]

    @property
    def short(self) -> str:
        """As internal, with the offset unpadded."""
        text = self.internal
        return text if len(text) == 16 else text[:17] + text[17:].lstrip("0")

    @property
    def raw(self) -> int:
        """Units of 10 microseconds since the epoch."""
        text = self.internal
        return int(text[:10] + text[11:16])

    @property
    def offset(self) -> int:
        text = self.internal
        return 0 if len(text) == 16 else int(text[17:], 16)

    @property
    def timestamp(self) -> float:
        """Seconds since the epoch, offset dropped."""
        return float(self.internal[:16])

    @property
    def isoformat(self) -> str:
        """UTC `YYYY-MM-DDTHH:MM:SS.ffffff`, always with 6 decimals, no zone."""
        return raw_to_isoformat(self.raw)

    @property
    def http_date(self) -> str:
        """RFC 1123 date of this time, rounded up to a whole second."""
        return _http_date(self.ceil())

    def ceil(self) -> int:
        """Whole seconds, rounded up."""
        return -(-self.raw // RAW_PER_SECOND)

    def __int__(self) -> int:
        return int(self.internal[:10])

    def __float__(self) -> float:
        return float(self.internal[:16])

    def __bool__(self) -> bool:
        return self.internal != "0000000000.00000"

    def __str__(self) -> str:
        raise TypeError("choose a form of the timestamp: normal, internal, short or isoformat")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.internal!r})"

    def __hash__(self) -> int:
        return hash(self.internal)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Timestamp):
            return self.internal == other.internal
        if other is None:
            return False
        try:
            return self.internal == Timestamp(other).internal
        except ValueError:
            return False

    def __lt__(self, other: Any) -> bool:
        if not isinstance(other, Timestamp):
            if other is None:
                return False
            other = Timestamp(other)
        return self.internal < other.internal

    def __le__(self, other: Any) -> bool:
        if not isinstance(other, Timestamp):
            if other is None:
                return False
            other = Timestamp(other)
        return self.internal <= other.internal

    def __gt__(self, other: Any) -> bool:
        if not isinstance(other, Timestamp):
            if other is None:
                return False
            other = Timestamp(other)
        return self.internal > other.internal

    def __ge__(self, other: Any) -> bool:
        if not isinstance(other, Timestamp):
            if other is None:
                return False
            other = Timestamp(other)
        return self.internal >= other.internal

    def __invert__(self) -> Timestamp:
        """The timestamp that sorts where this one would in reverse order."""
        raw, offset = MAX_RAW - self.raw, self.offset
        if offset:
            raw, offset = raw - 1, 2**64 - offset
        return Timestamp.from_raw(raw, offset)


class NormalTimestamp(Timestamp):
    """A timestamp without offset: refuses text with `_` (shard ranges, container creation times)."""

    __slots__ = ()

    def __init__(self, value: Any, offset: int = 0, delta: int = 0) -> None:
        if offset:
            raise ValueError("offset is not supported here")
        if isinstance(value, (str, bytes)) and ("_" if isinstance(value, str) else b"_") in value:  # type: ignore[operator]
            raise ValueError(f"invalid timestamp: {value!r}")
        super().__init__(value.normal if isinstance(value, Timestamp) else value, 0, delta)


@remembered(4096, longest=64)
def parse(text: str) -> Timestamp:
    """`Timestamp(text)`, remembering recent texts: one request's timestamp is parsed at many places of a process."""
    return Timestamp(text)


def normalize_timestamp(value: Any) -> str:
    """The normal form of any timestamp value. Raises ValueError."""
    if type(value) is str and len(value) == 16 and _CANONICAL(value):
        return value
    return Timestamp(value).internal[:16]


def internal_timestamp(value: Any) -> str:
    """The internal form of any timestamp value. Raises ValueError."""
    if type(value) is str and len(value) == 16 and _CANONICAL(value):
        return value
    return Timestamp(value).internal


def now_internal() -> str:
    """The current time in internal form; what a new X-Timestamp is."""
    raw = round(_time() * RAW_PER_SECOND)
    return f"{raw // RAW_PER_SECOND:010d}.{raw % RAW_PER_SECOND:05d}"


def raw_to_isoformat(raw: int) -> str:
    """UTC `YYYY-MM-DDTHH:MM:SS.ffffff` of units of 10 microseconds."""
    return (
        _EPOCH + timedelta(seconds=raw // RAW_PER_SECOND, microseconds=raw % RAW_PER_SECOND * 10)
    ).isoformat(timespec="microseconds")


def encode_timestamps(
    t1: Timestamp, t2: Timestamp | None = None, t3: Timestamp | None = None, explicit: bool = False
) -> str:
    """Up to three timestamps in one text: `<t1 short>[±hex(t2-t1)[±hex(t3-t2)]]`.

    Offsets of t2 and t3 are lost. Zero deltas are left out when all are zero, unless `explicit`.
    """
    text = t1.short
    if t2 is None:
        return text
    raw1, raw2 = t1.raw, t2.raw
    deltas = [raw2 - raw1]
    if t3 is not None:
        deltas.append(t3.raw - raw2)
    if explicit or any(deltas):
        text += "".join([f"{delta:+x}" for delta in deltas])
    return text


_ENCODED = re.compile(r"([^+-]*)(?:([+-][^+-]*)(?:([+-][^+-]*))?)?", re.DOTALL).fullmatch


def decode_timestamps(
    encoded: str, explicit: bool = False
) -> tuple[Timestamp, Timestamp | None, Timestamp | None]:
    """The three timestamps of `encode_timestamps`' text.

    Missing parts are None when `explicit`, else equal to the part before. A zero delta gives the same timestamp with
    its offset; any other starts from the normal form. Raises ValueError.
    """
    match = _ENCODED(encoded)
    if not match:
        raise ValueError(f"invalid encoded timestamps: {encoded!r}")
    first, *parts = match.groups()
    result: list[Timestamp | None] = [Timestamp(first)]
    last = result[0]
    assert last is not None
    for part in parts:
        if part is None:
            result.append(None if explicit else last)
            continue
        delta = int(part, 16)
        if delta:
            last = Timestamp.from_raw(last.raw + delta)
        result.append(last)
    return result[0], result[1], result[2]  # type: ignore[return-value]


def normalize_delete_at(value: Any, high_precision: bool = False) -> str:
    """A delete-at time clamped to 0..9999999999 seconds: `%010d`, or `%016.5f` if `high_precision`. Raises ValueError."""
    try:
        seconds = min(max(0.0, float(value)), 9999999999.99999)
        return f"{seconds:016.5f}" if high_precision else f"{int(seconds):010d}"
    except (OverflowError, TypeError):
        raise ValueError(f"not a delete-at time: {value!r}") from None


@lru_cache(maxsize=1024)
def _http_date(seconds: int) -> str:
    moment = clock.gmtime(seconds)
    day, month = _DAYS[moment.tm_wday], _MONTHS[moment.tm_mon - 1]
    of_day = f"{moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d}"
    return f"{day}, {moment.tm_mday:02d} {month} {moment.tm_year:04d} {of_day} GMT"


def http_date(value: Any) -> str:
    """RFC 1123 date of a timestamp, its text or a number of seconds, rounded up to a whole second."""
    if type(value) is int:
        return _http_date(value)
    if type(value) is Timestamp:
        return _http_date(value.ceil())
    if type(value) is str and len(value) == 16 and _CANONICAL(value):
        second = int(value[:10])
        return _http_date(second if value[11:] == "00000" else second + 1)
    return _http_date(Timestamp(value).ceil())
