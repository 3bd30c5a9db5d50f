"""PUT of a manifest: what the client wrote is read, each segment looked at, and the stored form made (spec middleware 4.21.1).

Looking at segments is the caller's: `heads` says of each what there is.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from swift.core import clock
from swift.core.timestamp import Timestamp
from swift.middleware.parallel import in_turns
from swift.middleware.slo.manifest import SloEtag
from swift.wire.conditional import parse_http_date
from swift.wire.message import (
    REASONS,
    HTTPBadRequest,
    HTTPException,
    HTTPRequestEntityTooLarge,
    Request,
    str_to_wsgi,
    wsgi_quote,
    wsgi_to_str,
)
from swift.wire.ranges import RangeSpec, parse_range, ranges_for_length

_OWN_KEYS = frozenset(("data",))
_KEYS = frozenset(("path", "etag", "size_bytes", "range"))
LARGEST = 1 << 60  # bytes: a few of them still fit into what databases count with
_MOST_TOLD = 1000  # items that are wrong
_AT_ONCE = 1000  # items that are made JSON of
KNOWN = "swift.slo_known"
TOO_SMALL = "too small; each segment must be at least 1 byte."
Problems = list[tuple[str, str]]


class Wanted(NamedTuple):
    """An item of a client's manifest: `data`, or an object by its name (WSGI string, /container/object) with what it is said to be."""

    data: bytes | None
    shown: str = ""  # the path as it was given, quoted
    name: str = ""
    etag: str | None = None
    size: int | None = None
    range: RangeSpec | None = None


class Head(NamedTuple):
    """What is known of a segment. `status_line`: why nothing is, '' if something is; the rest as in the answer's headers."""

    status_line: str
    size: int = 0
    etag: str = ""
    content_type: str = ""
    last_modified: str = ""
    is_manifest: bool = False


class Known(NamedTuple):
    """A manifest that comes without a body, in the environ under KNOWN, of who has looked at its segments already: its items, and what is
    known of them by name; those of which nothing is are looked at. Such a one may have as many items as there are."""

    items: list[Wanted]
    heads: dict[str, Head]


class Made(NamedTuple):
    """The manifest to be stored, and what it stands for. `size`: bytes, at most LARGEST."""

    body: bytes
    etag: str
    size: int


# -- what the client wrote


def parse(request: Request, body: bytes, own_name: str, max_segments: int) -> list[Wanted]:
    """The items of a manifest. `own_name`: of the manifest itself. Raises HTTPException."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise HTTPBadRequest(request=request, body="Manifest must be valid JSON.\n") from None
    if not isinstance(given, list):
        raise HTTPBadRequest(request=request, body="Manifest must be a list.\n")
    objects = sum(1 for one in given if isinstance(one, dict) and "path" in one and "data" not in one)
    if objects > max_segments:
        text = f"Number of object-backed segments must be <= {max_segments}"
        raise HTTPRequestEntityTooLarge(request=request, body=text)
    items: list[Wanted] = []
    wrong: list[str] = []
    for index, one in enumerate(in_turns(given)):
        if len(wrong) >= _MOST_TOLD:
            break
        try:
            items.append(_wanted(one, own_name, is_last=index == len(given) - 1))
        except ValueError as error:
            wrong.append(f"Index {index}: {error}\n")
    if given and all(isinstance(one, dict) and "data" in one for one in given):
        wrong.append("Inline data segments require at least one object-backed segment.\n")
    if wrong:
        raise HTTPBadRequest(request=request, body="".join(wrong), content_type="text/plain")
    return items


def _wanted(given: Any, own_name: str, is_last: bool) -> Wanted:
    """Raises ValueError with what is wrong."""
    if not isinstance(given, dict):
        raise ValueError("not a JSON object")
    if "data" in given:
        _check_keys(given, _OWN_KEYS)
        return Wanted(_data(given["data"]))
    if "path" not in given:
        raise ValueError("expected keys to include one of 'data' or 'path'")
    _check_keys(given, _KEYS)
    path, etag, size = given["path"], given.get("etag"), given.get("size_bytes")
    if not isinstance(path, str):
        raise ValueError('"path" must be a string')
    if not (etag is None or isinstance(etag, str)):
        raise ValueError('"etag" must be a string or null (if provided)')
    if "/" not in path.strip("/"):
        raise ValueError("path does not refer to an object. Path must be of the form /container/object.")
    if size is not None:
        try:
            size = int(size)
        except (ValueError, TypeError, OverflowError):
            raise ValueError("invalid size_bytes") from None
        if size < 1 and not is_last:
            raise ValueError(TOO_SMALL)
    wsgi = str_to_wsgi(path)
    name = "/" + wsgi.lstrip("/")
    if name == own_name:
        raise ValueError("manifest must not include itself as a segment")
    return Wanted(None, wsgi_to_str(wsgi_quote(wsgi)), name, etag, size, _range(given.get("range"), size))


def _check_keys(given: dict[str, Any], known: frozenset[str]) -> None:
    others = sorted(given.keys() - known)
    if others:
        raise ValueError(f"extraneous keys {', '.join(json.dumps(key) for key in others)}")


def _data(given: Any) -> bytes:
    try:
        data = base64.b64decode(given, validate=True)
    except (ValueError, TypeError, binascii.Error):
        raise ValueError("data must be valid base64") from None
    if not data:
        raise ValueError(TOO_SMALL)
    return data


def _range(given: Any, size: int | None) -> RangeSpec | None:
    if given is None or given == "":
        return None
    specs = parse_range(f"bytes={given}") if isinstance(given, str) else None
    if not specs:
        raise ValueError("invalid range")
    if len(specs) > 1:
        raise ValueError("multiple ranges (only one allowed)")
    if size is not None and not ranges_for_length(specs, size):
        raise ValueError("unsatisfiable range")
    return specs[0]


# -- what is stored


def make(
    items: Iterable[Wanted],
    heads: Mapping[str, Head],
    hook: Callable[[list[dict[str, Any]]], Problems | None] | None,
) -> tuple[Made, Problems]:
    """The manifest, and everything that speaks against it. `heads`: by name; `hook`: may change the stored items and find more problems."""
    stored: list[dict[str, Any]] = []
    problems: Problems = []
    etag = SloEtag()
    total = 0
    every = list(items)
    times: dict[str, str] = {}
    for index, one in enumerate(in_turns(every)):
        if one.data is not None:
            stored.append({"data": base64.b64encode(one.data).decode("ascii")})
            etag.add_data(one.data)
            total += len(one.data)
            continue
        head = heads[one.name]
        if head.status_line:
            problems.append((one.shown, head.status_line))
            continue
        start, stop, wrong = _extent(one, head, is_last=index == len(every) - 1)
        problems += [(one.shown, text) for text in wrong]
        if wrong:
            continue
        made = _stored(one.name, head, times)
        if stop - start < head.size:
            made["range"] = f"{start}-{stop - 1}"
        if head.is_manifest:
            made["sub_slo"] = True
        stored.append(made)
        etag.add(head.etag, made.get("range"))
        total += stop - start
    if hook is not None and not problems:
        problems += hook(stored) or []
    return Made(_as_json(stored), etag.hexdigest(), total), problems


def _as_json(stored: list[dict[str, Any]]) -> bytes:
    """As json.dumps makes it of all of it at once."""
    starts = in_turns(range(0, len(stored), _AT_ONCE), 1)
    return f"[{', '.join(json.dumps(stored[at : at + _AT_ONCE])[1:-1] for at in starts)}]".encode("ascii")


def _extent(one: Wanted, head: Head, is_last: bool) -> tuple[int, int, list[str]]:
    """(start, stop, what is wrong) of the bytes that an item means."""
    wrong = []
    start, stop = 0, head.size
    if one.range is not None:
        ranges = ranges_for_length([one.range], head.size)
        if not ranges:
            wrong.append("Unsatisfiable Range")
        else:
            start, stop = ranges[0]
    if not wrong and stop - start < 1 and not is_last:
        wrong.append(f"T{TOO_SMALL[1:]}")
    if one.size is not None and one.size != head.size:
        wrong.append("Size Mismatch")
    if one.etag is not None and one.etag != head.etag:
        wrong.append("Etag Mismatch")
    return start, stop, wrong


def _stored(name: str, head: Head, times: dict[str, str]) -> dict[str, Any]:
    """An item as it is stored. `times`: how times of change are written there, as far as it is known."""
    modified = times.get(head.last_modified)
    if modified is None:
        when = parse_http_date(head.last_modified)
        stamp = Timestamp(when.timestamp() if when is not None else clock.time())
        modified = times[head.last_modified] = stamp.isoformat
    return {
        "name": wsgi_to_str(name),
        "bytes": head.size,
        "hash": head.etag,
        "content_type": wsgi_to_str(head.content_type),
        "last_modified": modified,
    }


def refused(error: HTTPException) -> str:
    """An error as a summary tells it: its reason and what it means."""
    return "\n".join(REASONS[error.status_int])
