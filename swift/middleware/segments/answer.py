"""The answer to a GET or HEAD of an object that is made of segments: conditions, ranges, and the first segment before it begins.

Also how a request for such an object goes through the pipeline: which filter it concerns shows in the answer only. What the headers of
a manifest mean is its filter's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from swift.core import clock
from swift.core.concurrency import Timeout
from swift.middleware.segments.body import SegmentedBody
from swift.middleware.segments.source import Piece, SegmentError
from swift.wire import conditional
from swift.wire.call import Application, StartResponse, first_chunk_taken
from swift.wire.message import (
    HTML_TYPE,
    HeaderKeyDict,
    HTTPConflict,
    HTTPServiceUnavailable,
    Request,
    default_body,
    status_line,
)
from swift.wire.multipart import byteranges_length, part_head
from swift.wire.ranges import parse_range, ranges_for_length

ETAG_IS_AT = "HTTP_X_BACKEND_ETAG_IS_AT"
IGNORE_RANGE = "HTTP_X_BACKEND_IGNORE_RANGE_IF_METADATA_PRESENT"

Headers = list[tuple[str, str]]
Answer = tuple[str, Headers, Iterable[bytes]]
Ranges = Sequence[tuple[int, int]]


class Held(NamedTuple):
    """An answer that was not given to the client yet. To be closed, or its body read."""

    status: int
    headers: HeaderKeyDict
    body: Any


def appended(environ: dict[str, Any], key: str, value: str) -> None:
    """Add a value to a list in a header of our own; those of filters further left stand first."""
    before = environ.get(key)
    environ[key] = f"{before},{value}" if before else value


def held_if_marked(
    app: Application, environ: dict[str, Any], start_response: StartResponse, mark: str
) -> Held | Iterable[bytes]:
    """Send a request on. An answer with the header `mark` (title case) is held back; any other has begun, and its body comes as it is."""
    found: tuple[str, Headers] | Literal[False] | None = None  # False: the answer has begun

    def respond(status: str, headers: Headers, exc_info: Any = None) -> Any:
        nonlocal found
        if exc_info is None:
            for pair in headers:
                if pair[0] == mark:
                    found = status, headers
                    return _no_write
            found = False
            return start_response(status, headers)
        found = False
        return start_response(status, headers, exc_info)

    body = app(environ, respond)
    if found is False:
        return body
    if found is None:
        body = first_chunk_taken(body)
    if not found:
        return body
    return Held(int(found[0][:3]), HeaderKeyDict(found[1]), body)


def _no_write(_data: bytes) -> None:
    """For what an application would write beside its body."""


def unconditional(environ: dict[str, Any]) -> dict[str, Any]:
    """The same request for all of the object, whatever the client has already."""
    made = dict(environ)
    for key in ("HTTP_RANGE", *conditional.KEYS):
        made.pop(key, None)
    return made


class Assembled(NamedTuple):
    """What a manifest stands for. `headers`: of an answer with all of it, Content-Length and Etag left out; `length`: None if nobody
    knows; `pieces(first, stop)`: of these bytes, of all for (0, None); `body`: makes a body of such; `in_parts`: several ranges are served."""

    headers: HeaderKeyDict
    length: int | None
    etag: str | None
    pieces: Callable[[int, int | None], Iterator[Piece]]
    body: Callable[[Iterator[Piece], int | None], SegmentedBody]
    in_parts: bool = True


def answer(environ: dict[str, Any], assembled: Assembled, part: tuple[int, int] | None = None) -> Answer:
    """(status line, headers, body). `part`: the bytes (first, stop) in place of a Range.

    Raises HTTPConflict, or HTTPServiceUnavailable, if the first segment is not what it should be.
    """
    headers, length = assembled.headers, assembled.length
    modified = conditional.parse_http_date(headers.get("Last-Modified") or "")
    etag = _etag_asked_about(environ, headers) or assembled.etag
    decided = conditional.evaluate(environ, 200, etag, modified)
    if decided is not None:
        return _undelivered(decided, headers)
    ranges: Ranges | None = None
    if part is not None:
        ranges = [part]
    elif environ["REQUEST_METHOD"] != "HEAD" and conditional.range_applies(environ, etag, modified):
        ranges = _wanted(environ, assembled)
    if ranges is not None and not ranges:
        return unsatisfiable(headers, length or 0)
    status = 200 if ranges is None else 206
    if ranges is None:
        headers["Content-Length"] = None if length is None else str(length)
    elif len(ranges) == 1:
        start, stop = ranges[0]
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{length}"
        headers["Content-Length"] = str(stop - start)
    else:
        assert length is not None
        boundary = f"{clock.getrandbits(128):032x}"
        part_type = headers["Content-Type"] or "application/octet-stream"
        headers["Content-Length"] = str(byteranges_length(ranges, length, part_type, boundary))
        headers["Content-Type"] = f"multipart/byteranges;boundary={boundary}"
        return _opened(environ, 206, headers, assembled, _in_parts(assembled, ranges, part_type, boundary))
    if environ["REQUEST_METHOD"] == "HEAD":
        return status_line(status), headers.pairs(), []
    return _opened(
        environ, status, headers, assembled, assembled.pieces(*(ranges[0] if ranges else (0, None)))
    )


def _etag_asked_about(environ: dict[str, Any], headers: HeaderKeyDict) -> str | None:
    """The ETag that conditions are about, where a filter further left keeps one of its own with the object."""
    for name in environ.get(ETAG_IS_AT, "").split(","):
        found = headers.get(name.strip()) if name.strip() else None
        if found:
            return conditional.normalize_etag(found)
    return None


def _wanted(environ: dict[str, Any], assembled: Assembled) -> Ranges | None:
    """The ranges to be sent, None for all of it."""
    specs = parse_range(environ.get("HTTP_RANGE"))
    if not specs or assembled.length is None or (len(specs) > 1 and not assembled.in_parts):
        return None
    return ranges_for_length(specs, assembled.length)


def _undelivered(status: int, headers: HeaderKeyDict) -> Answer:
    headers["Content-Length"] = "0"
    if status == 412:
        headers["Content-Type"] = HTML_TYPE
        headers["Accept-Ranges"] = None
    return status_line(status), headers.pairs(), []


def unsatisfiable(headers: HeaderKeyDict, length: int) -> Answer:
    page = default_body(416)
    headers["Content-Range"] = f"bytes */{length}"
    headers["Content-Length"] = str(len(page))
    return status_line(416), headers.pairs(), [page]


def _in_parts(assembled: Assembled, ranges: Ranges, part_type: str, boundary: str) -> Iterator[Piece]:
    length = assembled.length or 0
    for start, stop in ranges:
        yield part_head(start, stop, length, part_type, boundary)
        yield from assembled.pieces(start, stop)
        yield b"\r\n"
    yield f"--{boundary}--".encode("latin-1")


def _opened(
    environ: dict[str, Any],
    status: int,
    headers: HeaderKeyDict,
    assembled: Assembled,
    pieces: Iterator[Piece],
) -> Answer:
    length = headers["Content-Length"]
    body = assembled.body(pieces, None if length is None else int(length))
    try:
        body.prime()
    except SegmentError as error:
        body.log(error)
        if error.status is not None and error.status >= 500:
            raise HTTPServiceUnavailable(request=Request(environ)) from None
        raise HTTPConflict(request=Request(environ)) from None
    except (Exception, Timeout):
        body.close()
        raise
    return status_line(status), headers.pairs(), body
