"""Limits of names, metadata and sizes: `[swift-constraints]` of swift.conf and the checks of requests against them.

The checks read a WSGI environ and raise `swift.core.errors.RequestError`s; swift.wire turns those into responses.
Which verbs are checked for what is decided by the servers.

Spec: proxy-and-backend 3.3.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from swift.core.config import DEFAULT_SWIFT_DIR, csv_list, swift_conf
from swift.core.errors import (
    BadRequest,
    ConfigError,
    EntityTooLarge,
    LengthRequired,
    NotImplementedCoding,
    PreconditionFailed,
)
from swift.core.names import valid_wsgi_utf8
from swift.core.timestamp import Timestamp, normalize_delete_at

HEADERS_BESIDE_METADATA = 36


@dataclass(frozen=True)
class Limits:
    """All constraints; sizes in bytes, names of accounts, containers and objects in code points."""

    max_file_size: int = 5368709122
    max_meta_name_length: int = 128
    max_meta_value_length: int = 256
    max_meta_count: int = 90
    max_meta_overall_size: int = 4096
    max_header_size: int = 8192
    max_request_line: int = 8192
    extra_header_count: int = 0
    max_object_name_length: int = 1024
    container_listing_limit: int = 10000
    account_listing_limit: int = 10000
    max_account_name_length: int = 256
    max_container_name_length: int = 256
    valid_api_versions: list[str] = field(default_factory=lambda: ["v1", "v1.0"])
    auto_create_account_prefix: str = "."

    @property
    def max_header_count(self) -> int:
        """How many header lines a request may have."""
        return self.max_meta_count + HEADERS_BESIDE_METADATA + max(self.extra_header_count, 0)

    def info(self) -> dict[str, Any]:
        """What /info publishes under `swift`."""
        return asdict(self)


def parse_limits(options: Mapping[str, str]) -> Limits:
    """The limits of a `[swift-constraints]` section; unknown options are ignored. Raises ValueError."""
    values: dict[str, Any] = {}
    for known in fields(Limits):
        text = options.get(known.name)
        if text is None:
            continue
        if known.name == "valid_api_versions":
            values[known.name] = csv_list(text)
        elif known.name == "auto_create_account_prefix":
            values[known.name] = text
        else:
            try:
                values[known.name] = int(text)
            except ValueError:
                raise ValueError(f"{known.name} must be an integer, not {text!r}") from None
    return Limits(**values)


_limits: Limits | None = None


def set_limits(chosen: Limits) -> Limits:
    """Makes these the process's limits."""
    global _limits
    _limits = chosen
    return chosen


def load_limits(swift_dir: str = DEFAULT_SWIFT_DIR) -> Limits:
    """Reads `<swift_dir>/swift.conf` and makes its limits the process's. Raises ConfigError."""
    try:
        return set_limits(parse_limits(swift_conf(swift_dir).get("swift-constraints", {})))
    except ValueError as err:
        path = os.path.join(swift_dir, "swift.conf")
        raise ConfigError(f"Error: [swift-constraints] in {path}: {err}") from None


def limits() -> Limits:
    """The process's limits, read from the default swift.conf if none were loaded."""
    return _limits or load_limits()


# -- metadata


def check_metadata(environ: Mapping[str, Any], target: str) -> None:
    """Checks the X-<Target>-Meta-* headers (`target`: account, container or object). Raises BadRequest."""
    limit = limits()
    prefix = f"HTTP_X_{target.upper()}_META_"
    skip = len(prefix)
    shown = f"x-{target}-meta-"
    count = size = 0
    keys: Iterable[str] = environ
    if environ.get("swift.head_size", limit.max_header_size) < limit.max_header_size:
        # no value is too long, then; and most requests have no metadata
        if prefix not in "\n".join(environ):
            return
        keys = [key for key in environ if key.startswith(prefix)]
    for key in keys:
        value = environ[key]
        if key[:5] != "HTTP_" or type(value) is not str:
            continue
        if len(value) > limit.max_header_size:
            name = key[5:].replace("_", "-").title()
            raise BadRequest(f"Header value too long: {name[: limit.max_meta_name_length]}")
        if not key.startswith(prefix):
            continue
        name = key[skip:]
        if not name:
            raise BadRequest("Metadata name cannot be empty")
        count += 1
        size += len(name) + len(value)
        if target != "object" and not (valid_wsgi_utf8(name) and (not value or valid_wsgi_utf8(value))):
            raise BadRequest("Metadata must be valid UTF-8")
        if len(name) > limit.max_meta_name_length:
            raise BadRequest(f"Metadata name too long: {shown}{name.replace('_', '-').title()}")
        if len(value) > limit.max_meta_value_length:
            title = name.replace("_", "-").title()
            raise BadRequest(f"Metadata value longer than {limit.max_meta_value_length}: {shown}{title}")
        if count > limit.max_meta_count:
            raise BadRequest(f"Too many metadata items; max {limit.max_meta_count}")
        if size > limit.max_meta_overall_size:
            raise BadRequest(f"Total metadata too large; max {limit.max_meta_overall_size}")


# -- objects


def message_length(environ: Mapping[str, Any]) -> int | None:
    """The length of a request's body: None if it is chunked or not given. Raises BadRequest, NotImplementedCoding."""
    coding = environ.get("HTTP_TRANSFER_ENCODING")
    if coding:
        if "," in coding:
            raise NotImplementedCoding(
                "Unsupported Transfer-Coding header value specified in Transfer-Encoding header"
            )
        if coding.strip().lower() != "chunked":
            raise BadRequest("Invalid Transfer-Encoding header value")
        return None
    text = environ.get("CONTENT_LENGTH")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise BadRequest("Invalid Content-Length header value")
    return int(text[:20])


def too_large() -> EntityTooLarge:
    """What becomes of an upload that is longer than an object may be."""
    most = limits().max_file_size
    return EntityTooLarge(f"Your request is too large. An object may have at most {most} bytes.")


def check_object_creation(
    environ: MutableMapping[str, Any], object_name: str, timestamp: Timestamp
) -> int | None:
    """All checks of an object PUT, in the order clients rely on; returns the body's length (None: chunked).

    `object_name`: WSGI string. `timestamp`: the request's. May set X-Delete-At (`check_delete_headers`).
    Raises RequestErrors.
    """
    limit = limits()
    length = message_length(environ)
    if length is not None and length > limit.max_file_size:
        raise too_large()
    if length is None and not environ.get("HTTP_TRANSFER_ENCODING"):
        raise LengthRequired("Missing Content-Length header.")
    name_length = wsgi_name_length(object_name)
    if name_length > limit.max_object_name_length:
        raise BadRequest(f"Object name length of {name_length} longer than {limit.max_object_name_length}")
    content_type = environ.get("CONTENT_TYPE")
    if not content_type:
        raise BadRequest("No content type")
    check_delete_headers(environ, timestamp)
    if not valid_wsgi_utf8(content_type):
        raise BadRequest("Invalid Content-Type")
    check_metadata(environ, "object")
    return length


def check_delete_headers(environ: MutableMapping[str, Any], timestamp: Timestamp) -> None:
    """Checks X-Delete-After and X-Delete-At; the former wins and is rewritten as the latter. Raises BadRequest."""
    after = environ.get("HTTP_X_DELETE_AFTER")
    if after is not None:
        try:
            seconds = int(after)
        except ValueError:
            raise BadRequest("Non-integer X-Delete-After") from None
        delete_at = normalize_delete_at(min(float(timestamp) + max(min(seconds, 10**11), -(10**11)), 10**11))
        if int(delete_at) <= timestamp.timestamp:
            raise BadRequest("X-Delete-After in past")
        environ["HTTP_X_DELETE_AT"] = delete_at
        del environ["HTTP_X_DELETE_AFTER"]
    at = environ.get("HTTP_X_DELETE_AT")
    if at is not None:
        try:
            delete_at = normalize_delete_at(int(at))
        except ValueError:
            raise BadRequest("Non-integer X-Delete-At") from None
        if int(delete_at) <= timestamp.timestamp and "HTTP_X_BACKEND_REPLICATION" not in environ:
            raise BadRequest("X-Delete-At in past")
        environ["HTTP_X_DELETE_AT"] = delete_at


# -- names


def wsgi_name_length(name: str) -> int:
    """The length of a WSGI string in code points; of what isn't UTF-8, in bytes."""
    if name.isascii():
        return len(name)
    try:
        return len(name.encode("latin-1").decode())
    except UnicodeError:
        return len(name)


def _check_length(kind: str, account: str, name: str, longest: int) -> None:
    if account.startswith(limits().auto_create_account_prefix):
        longest *= 2
    length = wsgi_name_length(name)
    if length > longest:
        raise BadRequest(f"{kind} name length of {length} longer than {longest}")


def check_account_length(account: str) -> None:
    """`account`: WSGI string. Raises BadRequest."""
    _check_length("Account", account, account, limits().max_account_name_length)


def check_container_length(account: str, container: str) -> None:
    """WSGI strings. Raises BadRequest."""
    _check_length("Container", account, container, limits().max_container_name_length)


def listing_limit(text: str | None, maximum: int) -> int:
    """The `limit` parameter of a listing: ignored unless made of digits. Raises PreconditionFailed above `maximum`."""
    if text and text.isascii() and text.isdigit():
        given = int(text[:20])
        if given > maximum:
            raise PreconditionFailed(f"Maximum limit is {maximum}")
        return given
    return maximum


ACCOUNT_LISTING_PARAMS = frozenset(
    ("format", "limit", "marker", "end_marker", "prefix", "delimiter", "reverse")
)
CONTAINER_LISTING_PARAMS = ACCOUNT_LISTING_PARAMS | {"path", "states", "includes"}


def check_query_utf8(params: Mapping[str, str], names: frozenset[str]) -> None:
    """Raises BadRequest for one of these query parameters (WSGI strings) that isn't UTF-8; others are nobody's business."""
    for name, value in params.items():
        if not value.isascii() and name in names and not valid_wsgi_utf8(value, allow_nul=True):
            raise BadRequest(f'"{name}" parameter not valid UTF-8')
