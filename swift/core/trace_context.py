"""Trace contexts of the W3C: `traceparent` and `tracestate`, by which a client's tracing finds its requests in our logs.

What lives here: reading them strictly, and what is passed on. What never does: deciding anything by them. They are the client's word: they name
nobody and open nothing.
Spec: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import re
from typing import NamedTuple

from swift.core import clock

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_MEMBER = re.compile(
    r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)
LONGEST_PARENT = 256  # characters of a version to come
LONGEST_STATE = 512
MOST_MEMBERS = 32
_SAMPLED = 1


class TraceContext(NamedTuple):
    """`trace_id`: 32 hex digits; `span_id`: our part of it, 16; `parent_id`: whose part ours is of, "" if the trace begins here."""

    trace_id: str
    span_id: str
    parent_id: str
    flags: str
    state: str

    @property
    def traceparent(self) -> str:
        """What goes on to storage servers."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def taken(traceparent: str, tracestate: str = "") -> TraceContext | None:
    """The context that a client has sent, with a part of our own; None if its traceparent is none.

    A tracestate that is no good is dropped alone.
    """
    if len(traceparent) > LONGEST_PARENT:
        return None
    match = _PARENT.fullmatch(traceparent.strip(" \t"))
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(parent_id, 16):
        return None
    # of flags of a later version only what we know of is passed on
    flags = f"{int(flags, 16) & _SAMPLED:02x}"
    return TraceContext(trace_id, _new_id(8), parent_id, flags, _state(tracestate))


def begun() -> TraceContext:
    """A trace of our own, sampled."""
    return TraceContext(_new_id(16), _new_id(8), "", "01", "")


def trace_id_of(traceparent: str) -> str:
    """Its trace id, of a header that came from one of our own; "" if it is none."""
    match = _PARENT.fullmatch(traceparent) if len(traceparent) == 55 else None
    return match[2] if match else ""


def _state(text: str) -> str:
    if not text or len(text) > LONGEST_STATE:
        return ""
    members = [member.strip(" \t") for member in text.split(",")]
    members = [member for member in members if member]
    if len(members) > MOST_MEMBERS or not all(map(_MEMBER.fullmatch, members)):
        return ""
    keys = {member.partition("=")[0] for member in members}
    return ",".join(members) if len(keys) == len(members) else ""


def _new_id(size: int) -> str:
    while True:
        found = clock.random_bytes(size).hex()
        if int(found, 16):
            return found
