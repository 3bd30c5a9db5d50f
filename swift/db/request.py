"""What requests to account and container servers have in common: their target and their headers (database.md 12.1).

Lives here: functions from a WSGI environ to checked values. Names come out as native text. What the object server shares, too,
is in swift.wire.storage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from swift.core.constraints import limits
from swift.core.errors import BadRequest, RequestError
from swift.wire.message import Accept, header_name
from swift.wire.storage import Environ

MAX_BODY = 64 * 1024 * 1024  # bytes of a JSON document that a peer may send

_OFFERED = ("text/plain", "application/json", "application/xml", "text/xml")
_FORMATS = {"plain": "text/plain", "json": "application/json", "xml": "application/xml"}


class NotAcceptable(RequestError):
    status = 406


class Place(NamedTuple):
    """Where a request's database is. `name_hash`: of account and container."""

    device: str
    device_path: str
    account: str
    container: str | None
    path: str


def native_header(environ: Environ, key: str) -> str:
    """A required header's value as text. Raises BadRequest when it is missing or not UTF-8."""
    value = environ.get(key)
    if value is None:
        raise BadRequest(f"Missing {header_name(key)} header")
    if value.isascii():
        return str(value)
    return _utf8(value, f"Invalid {header_name(key)} header")


def _utf8(value: str, complaint: str) -> str:
    try:
        return value.encode("latin-1").decode()
    except ValueError:
        raise BadRequest(complaint) from None


def integer_header(environ: Environ, key: str, negative: bool = False) -> int:
    """A required number. Raises BadRequest when it is missing or none."""
    value = environ.get(key)
    if value is None:
        raise BadRequest(f"Missing {header_name(key)} header")
    try:
        number = int(value)
    except ValueError:
        raise BadRequest(f"Invalid {header_name(key)} header") from None
    if not (-(2**63) if negative else 0) <= number < 2**63:
        raise BadRequest(f"Invalid {header_name(key)} header")
    return number


FORMAT_PARAM = frozenset(("format",))  # all that a HEAD looks at


def media_type(environ: Environ, params: Mapping[str, str]) -> str:
    """The type of a listing: by `format`, else by Accept. Raises NotAcceptable, BadRequest."""
    chosen = params.get("format")
    if chosen:
        return _FORMATS.get(chosen.lower(), "text/plain")
    accept = environ.get("HTTP_ACCEPT")
    if not accept or accept == "*/*":
        return "text/plain"
    try:
        best = Accept(accept).best_match(_OFFERED)
    except ValueError:
        raise BadRequest("Invalid Accept header") from None
    if best is None:
        raise NotAcceptable()
    return best


def metadata_headers(
    environ: Environ, timestamp: str, prefixes: Iterable[str], names: Iterable[str] = ()
) -> dict[str, tuple[str, str]]:
    """The metadata that a request sets: {header name: (value, timestamp)}, both native text.

    `prefixes`: of environ keys, with something behind them; `names`: whole environ keys. Raises BadRequest.
    """
    found: dict[str, tuple[str, str]] = {}
    prefixes = tuple(prefixes)
    for key, value in environ.items():
        if not key.startswith("HTTP_X_"):
            continue
        if (key.startswith(prefixes) and key not in prefixes) or key in names:
            name = header_name(key)
            assert name is not None
            if not (name.isascii() and value.isascii()):
                name = _utf8(name, "Metadata must be valid UTF-8")
                value = _utf8(value, "Metadata must be valid UTF-8")
            found[name] = (value, timestamp)
    return found


def check_metadata_limits(kind: str) -> Callable[[Mapping[str, tuple[str, str]]], None]:
    """A check of merged metadata against max_meta_count and max_meta_overall_size, which raises BadRequest (6)."""
    prefix = f"x-{kind}-meta-"

    def check(metadata: Mapping[str, tuple[str, str]]) -> None:
        count = size = 0
        for key, (value, _) in metadata.items():
            if value and key.lower().startswith(prefix):
                count += 1
                size += len(key.encode()) - len(prefix) + len(value.encode())
        if count > limits().max_meta_count:
            raise BadRequest(f"Too many metadata items; max {limits().max_meta_count}")
        if size > limits().max_meta_overall_size:
            raise BadRequest(f"Total metadata too large; max {limits().max_meta_overall_size}")

    return check


def shown_metadata(metadata: Mapping[str, tuple[str, str]]) -> list[tuple[str, str]]:
    """Stored items as response headers, WSGI text; cleared ones are left out."""
    return [
        (_wsgi(key), _wsgi(value))
        for key, (value, _) in metadata.items()
        if value != "" and "\n" not in value and "\r" not in value
    ]


def _wsgi(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def read_body(environ: Environ, longest: int = MAX_BODY) -> bytes:
    """The whole request body. Raises BadRequest when it is longer than `longest`, and what reading raises."""
    data: bytes = environ["wsgi.input"].read(longest + 1)
    while len(data) <= longest:
        more = environ["wsgi.input"].read(longest + 1 - len(data))
        if not more:
            return data
        data += more
    raise BadRequest("Request body too large")
