"""Names: splitting request paths, checking account, container, object and device names, quoting, WSGI strings.

A *native* string is text whose UTF-8 form is on the wire; a *WSGI string* is the latin-1 text of the wire bytes.
Nothing here knows requests: errors are `swift.core.errors.RequestError`s or ValueErrors. Length limits are in
`swift.core.constraints`.

Spec: proxy-and-backend 3.1, 3.2, 22.
"""

from __future__ import annotations

import re
from urllib.parse import quote, quote_from_bytes, quote_plus, unquote_to_bytes

from swift.core.errors import BadRequest, InsufficientStorage, PreconditionFailed
from swift.core.remembered import remembered

RESERVED = "\0"
_UNQUOTED = re.compile(r"[A-Za-z0-9_.~/-]*", re.ASCII).fullmatch


def split_path(path: str, minsegs: int = 1, maxsegs: int | None = None, rest_with_last: bool = False) -> list:
    """The segments of `path`, None for missing optional ones.

    `maxsegs` defaults to `minsegs`; with `rest_with_last` the last segment takes the rest, slashes included.
    Raises ValueError (`Invalid path: <quoted>`).
    """
    if maxsegs is None:
        maxsegs = minsegs
    if minsegs > maxsegs:
        raise ValueError(f"minsegs > maxsegs: {minsegs} > {maxsegs}")
    if path[:1] == "/":
        if rest_with_last:
            segments: list = path.split("/", maxsegs)
            del segments[0]
        else:
            segments = path.split("/", maxsegs + 1)
            del segments[0]
            if len(segments) == maxsegs + 1 and not segments[-1]:
                del segments[-1]
        count = len(segments)
        if minsegs <= count <= maxsegs and all(segments[: count - 1]) and (segments[-1] or count > minsegs):
            if count < maxsegs:
                segments.extend([None] * (maxsegs - count))
            return segments
    raise ValueError(f"Invalid path: {quote(path.encode('utf-8', 'surrogateescape'))}")


# -- WSGI strings


def wsgi_to_bytes(text: str) -> bytes:
    return text.encode("latin-1")


def bytes_to_wsgi(data: bytes) -> str:
    return data.decode("latin-1")


def wsgi_to_str(text: str) -> str:
    """The native string of a WSGI string; bytes that aren't UTF-8 become lone surrogates."""
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "surrogateescape")


def str_to_wsgi(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


_needs_no_quoting = re.compile(r"[A-Za-z0-9_.~/-]*").fullmatch


def wsgi_quote(text: str, safe: str = "/") -> str:
    """Percent-quotes a WSGI string."""
    if safe == "/" and _needs_no_quoting(text):
        return text
    return quote_from_bytes(text.encode("latin-1"), safe)


def wsgi_unquote(text: str) -> str:
    """The WSGI string that a percent-quoted WSGI string stands for."""
    return unquote_to_bytes(text.encode("latin-1")).decode("latin-1") if "%" in text else text


def quote_name(text: str | bytes, safe: str = "/") -> str:
    """Percent-quotes a native string."""
    if safe == "/" and isinstance(text, str) and _UNQUOTED(text):
        return text
    return (
        quote(text, safe, errors="surrogateescape") if isinstance(text, str) else quote_from_bytes(text, safe)
    )


# -- UTF-8


def valid_utf8(text: str | bytes, allow_nul: bool = False) -> bool:
    """Returns True if a native string is non-empty, encodable UTF-8 (no surrogates) and, unless `allow_nul`, free of NUL."""
    if not text:
        return False
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError:
            return False
    elif not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return allow_nul or "\0" not in text


def valid_wsgi_utf8(text: str, allow_nul: bool = False) -> bool:
    """`valid_utf8` of a WSGI string."""
    if text.isascii():
        return bool(text) and (allow_nul or "\0" not in text)
    try:
        return valid_utf8(text.encode("latin-1"), allow_nul)
    except UnicodeEncodeError:
        return False


# -- reserved namespace


def reserved_name(*parts: str) -> str:
    """The reserved-namespace name of components (native or WSGI). Raises ValueError if one contains NUL."""
    if any(RESERVED in part for part in parts):
        raise ValueError("invalid reserved part in components")
    return RESERVED + RESERVED.join(parts)


def split_reserved_name(name: str) -> list[str]:
    """The components of a reserved-namespace name. Raises ValueError."""
    if not name.startswith(RESERVED):
        raise ValueError(f"invalid reserved name: {name!r}")
    return name[1:].split(RESERVED)


def _check_reserved(name: str | None, kind: str) -> None:
    if name and RESERVED in name and name[0] != RESERVED:
        raise BadRequest(f"Invalid reserved-namespace {kind}")


def check_account_name(account: str | None) -> None:
    """Raises BadRequest for NUL anywhere but (also) at the start."""
    _check_reserved(account, "account")


def check_container_name(account: str | None, container: str | None) -> None:
    """The reserved-name rules of a container path. Raises BadRequest."""
    _check_reserved(account, "account")
    _check_reserved(container, "container")


def check_object_name(account: str, container: str, obj: str) -> None:
    """The reserved-name rules of an object path. Raises BadRequest."""
    if RESERVED not in obj and RESERVED not in container and RESERVED not in account:
        return
    _check_reserved(account, "account")
    _check_reserved(container, "container")
    if account.startswith("."):  # queues and shards name what they refer to; .misplaced_objects among them
        return
    _check_reserved(obj, "object")
    if container.startswith(RESERVED) and not obj.startswith(RESERVED):
        raise BadRequest("Invalid user-namespace object in reserved-namespace container")
    if obj.startswith(RESERVED) and not container.startswith(RESERVED):
        raise BadRequest("Invalid reserved-namespace object in user-namespace container")


def check_proxy_path(path: str, allow_reserved: bool = False) -> None:
    """The front door's check of a WSGI path. Raises PreconditionFailed."""
    if not valid_wsgi_utf8(path, allow_reserved):
        raise PreconditionFailed("Invalid UTF8 or contains NULL")


# -- devices and partitions

MAX_PARTITION_DIGITS = 10  # of 2^32, the most that a ring can have


def is_partition(name: str) -> bool:
    """Returns True if a partition may have that number, and so that directory: digits, not too many."""
    return name.isascii() and name.isdecimal() and len(name) <= MAX_PARTITION_DIGITS


def check_device_partition(device: str, partition: str) -> None:
    """The names in a storage server's path. Raises BadRequest."""
    if not device or "/" in device or device in (".", ".."):
        raise BadRequest(f"Invalid device: {quote(device.encode('utf-8', 'surrogateescape'), '')}")
    if not partition or "/" in partition or partition in (".", ".."):
        raise BadRequest(f"Invalid partition: {quote(partition.encode('utf-8', 'surrogateescape'), '')}")


@remembered(1024)
def check_device_name(device: str) -> None:
    """Raises InsufficientStorage for a device name that no ring can contain. Whether it is mounted is another question."""
    if quote_plus(device.encode("utf-8", "surrogateescape")) != device or device in (".", ".."):
        raise InsufficientStorage()
