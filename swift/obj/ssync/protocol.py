"""What is said in an SSYNC session: the lines of both sides and the heads of the embedded requests, both ways (object-disk 17).

Text and bytes only: no sockets, no disks. All of what is read here comes from outside and is bounded by whoever reads lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import quote

from swift.core.errors import SwiftError
from swift.core.names import wsgi_unquote
from swift.core.timestamp import Timestamp, internal_timestamp
from swift.obj.directories import is_hash
from swift.obj.store import Times

MISSING_START, MISSING_END = b":MISSING_CHECK: START", b":MISSING_CHECK: END"
UPDATES_START, UPDATES_END = b":UPDATES: START", b":UPDATES: END"
ERROR = b":ERROR:"
MAX_LINE = 65536
MAX_HEADERS = 512

_HEX = re.compile(r"-?[0-9a-f]{1,15}", re.ASCII).fullmatch
_OFFSET = re.compile(r"[0-9a-f]{1,16}", re.ASCII).fullmatch
_BAD_IN_NAME = re.compile(r"[\x00-\x20:\x7f]").search
_BAD_IN_VALUE = re.compile(r"[\x00\r\n]").search
_METHODS = frozenset(("PUT", "POST", "DELETE"))


class ProtocolError(SwiftError):
    """The other side said something that is not SSYNC. The text is what it is told."""


# ---------------------------------------------------------------- what the sender has


def encode_offer(name_hash: str, times: Times) -> str:
    """A line of the missing check, without its end."""
    base = Timestamp(times.data)
    parts = []
    if times.meta is not None and times.meta != times.data:
        parts.append(f"m:{_delta(base, times.meta)}")
        if times.ctype is not None and times.ctype != times.data:
            parts.append(f"t:{_delta(base, times.ctype)}")
    if not times.durable:
        parts.append("durable:False")
    line = f"{name_hash} {times.data}"
    return f"{line} {','.join(parts)}" if parts else line


def _delta(base: Timestamp, text: str) -> str:
    later = Timestamp(text)
    delta = f"{later.raw - base.raw:x}"
    return f"{delta}__{later.offset:x}" if later.offset else delta


def decode_offer(line: str) -> tuple[str, Times]:
    """(name hash, times; `meta` and `ctype` are the data's where nothing is said of them) of such a line. Raises ProtocolError."""
    name_hash, _, rest = line.strip().partition(" ")
    text, _, extra = rest.partition(" ")
    try:
        if not is_hash(name_hash):
            raise ValueError("no hash")
        data = internal_timestamp(text)
        meta = ctype = data
        durable = True
        for item in extra.split(","):
            key, colon, value = item.strip().partition(":")
            if not colon:
                continue
            if key == "m":
                meta = _later(data, value)
            elif key == "t":
                ctype = _later(data, value)
            elif key == "durable":
                durable = value.strip().lower() in ("true", "1", "yes", "on", "t", "y")
    except ValueError:
        raise ProtocolError(f"Invalid missing check line {line[:100]!r}") from None
    return name_hash, Times(data, meta, ctype, durable)


def _later(data: str, value: str) -> str:
    delta, _, offset = value.strip().partition("__")
    if _HEX(delta) is None or (offset and _OFFSET(offset) is None):
        raise ValueError(value)
    raw = Timestamp(data).raw + int(delta, 16)
    return Timestamp.from_raw(raw, int(offset, 16) if offset else 0).internal


# ---------------------------------------------------------------- what the receiver wants


def wanted_parts(remote: Times, local: Times | None) -> str:
    """What of an offered object the one who has `local` wants: '', 'd', 'm' or 'dm'. `remote`: as decoded."""
    if local is None:
        return "dm"
    data = "d" if remote.data > local.data else ""
    if local.deleted or remote.meta is None or remote.ctype is None:
        return data
    newer_meta = remote.meta > (local.meta or local.data)
    newer_ctype = remote.ctype > (local.ctype or local.data) and remote.ctype > remote.data
    return data + ("m" if newer_meta or newer_ctype else "")


def decode_wanted(line: str) -> tuple[str, str]:
    """(name hash, parts) of an answer; a peer that names no parts wants the data. Raises ProtocolError."""
    words = line.split()
    if not words or not is_hash(words[0]):
        raise ProtocolError(f"Unexpected response: {line[:100]!r}")
    return words[0], words[1] if len(words) > 1 else "d"


# ---------------------------------------------------------------- requests within the session


class Subrequest(NamedTuple):
    """`path`: /account/container/object, a WSGI string, not quoted. `headers`: by lower-case name, values as WSGI strings."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def length(self) -> int:
        """Bytes of body that follow the head."""
        return int(self.headers.get("content-length", "0"))


def encode_subrequest(method: str, name: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request for the object `name` (native text, /a/c/o). Raises ValueError for what would break the framing."""
    lines = [f"{method} {quote(name, errors='surrogateescape')}"]
    for key in sorted(headers):
        value = headers[key]
        if _BAD_IN_NAME(key) or _BAD_IN_VALUE(value):
            raise ValueError(f"header {key!r}")
        lines.append(f"{key}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def read_subrequest(first: bytes, readline: Callable[[], bytes]) -> Subrequest:
    """The request whose first line is `first`; `readline` gives the others without their ends. Raises ProtocolError."""
    method, _, path = first.decode("latin-1").partition(" ")
    if method not in _METHODS:
        raise ProtocolError(f"Invalid subrequest method {method[:100]}")
    path = wsgi_unquote(path.strip())
    if path.count("/") < 3 or not path.startswith("/"):
        raise ProtocolError(f"Invalid subrequest path {path[:100]!a}")
    headers: dict[str, str] = {}
    while line := readline():
        raw_name, colon, raw_value = line.partition(b":")
        # lowered as bytes: a byte of a name in UTF-8 is no letter
        name, value = raw_name.strip().lower().decode("latin-1"), raw_value.strip(b" \t").decode("latin-1")
        if not colon or not name or _BAD_IN_NAME(name) or _BAD_IN_VALUE(value):
            raise ProtocolError("Invalid header in subrequest")
        headers[name] = value
        if len(headers) > MAX_HEADERS:
            raise ProtocolError("Too many headers in subrequest")
    _check_length(method, headers)
    return Subrequest(method, path, headers)


def _check_length(method: str, headers: dict[str, str]) -> None:
    length = headers.get("content-length")
    if length is None:
        if method == "PUT":
            raise ProtocolError("No content-length sent for PUT")
    elif not (length.isascii() and length.isdigit() and len(length) < 20):
        raise ProtocolError(f"Invalid content-length in subrequest: {length[:40]!r}")
    elif method != "PUT" and int(length):
        raise ProtocolError(f"{method} subrequest with content-length {length}")


# ---------------------------------------------------------------- errors


def encode_error(status: int, text: str | bytes) -> bytes:
    """The line with which a receiver gives up."""
    return b":ERROR: %d %s\n" % (status, repr(text).encode("utf-8", "backslashreplace"))
