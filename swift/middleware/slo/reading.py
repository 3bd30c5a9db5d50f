"""GET and HEAD of manifests: what they stand for, its parts, or the manifest itself (spec middleware 4.21.2)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

from swift.core.config import truthy
from swift.core.hashing import md5
from swift.middleware.parallel import in_turns
from swift.middleware.segments.answer import (
    Answer,
    Assembled,
    Held,
    answer,
    unsatisfiable,
)
from swift.middleware.segments.body import SegmentedBody
from swift.middleware.segments.pace import Pace
from swift.middleware.segments.source import Piece, SegmentError, SegmentSource, Span
from swift.middleware.slo import manifest
from swift.middleware.slo.manifest import ETAG, MARK, SIZE, BadManifest, Item, Stored
from swift.middleware.slo.request import SOURCE, Options
from swift.wire.body import read_whole
from swift.wire.call import Application
from swift.wire.errors import ResponseBroken
from swift.wire.message import (
    HeaderKeyDict,
    HTTPBadRequest,
    HTTPServerError,
    HTTPServiceUnavailable,
    Request,
    Response,
    close_if_possible,
    parsed_path,
    status_line,
    wsgi_to_str,
)
from swift.wire.ranges import parse_content_range

MOST_DEPTH = 10
_KEPT_MANIFESTS = 20
_KEPT_BYTES = 8 * 1024 * 1024  # of their JSON; what is made of it is some times as large
JSON_TYPE = "application/json; charset=utf-8"
_UNREADABLE = "Unable to load SLO manifest"


class Reading:
    """One GET or HEAD whose answer turned out to be a manifest. `path`, `query`: of the request as it came to the filter."""

    def __init__(
        self, app: Application, options: Options, logger: Any, environ: dict[str, Any], path: str, query: str
    ) -> None:
        self._app = app
        self._options = options
        self._logger = logger
        self._environ = environ
        self._path = path
        self._query = query
        self._request = Request(environ)
        parameters = Request({"QUERY_STRING": query}).params if query else {}
        self._wants_manifest = parameters.get("multipart-manifest") == "get"
        self._is_raw = self._wants_manifest and parameters.get("format") == "raw"
        self._part = None if self._wants_manifest else parameters.get("part-number")
        self._number = 0  # of the part, once it is checked
        self._is_head = environ["REQUEST_METHOD"] == "HEAD"
        version, account, _, _ = parsed_path({"PATH_INFO": path})
        self._account_path = f"/{version}/{account}"
        self._source = SegmentSource(app, environ, SOURCE, wsgi_to_str(path), verify=options.verify_segments)
        self._kept: OrderedDict[str, Stored] = OrderedDict()
        self._kept_bytes = 0

    # -- the answer --------------------------------------------------------------------------------------------------------

    def answer(self, held: Held) -> Answer:
        """Raises HTTPException."""
        try:
            return self._answer(held)
        except BadManifest as error:
            self._logger.error("%s: %s: %s", wsgi_to_str(self._path), _UNREADABLE, error)
            raise HTTPServerError(request=self._request, body=_UNREADABLE) from None
        except ResponseBroken as error:
            self._logger.error("%s: %s", wsgi_to_str(self._path), error)
            raise HTTPServiceUnavailable(request=self._request) from None
        finally:
            # Read, passed on, or of no use.
            held.body.release()

    def _answer(self, held: Held) -> Answer:
        if self._wants_manifest:
            return self._the_manifest(held)
        if self._part is not None:
            self._check_part()
        headers = held.headers
        etag, size = headers.get(ETAG), _number(headers.get(SIZE))
        is_known = etag is not None and size is not None
        if held.status in (304, 412) and is_known:
            # The storage servers have compared the right ETag.
            described(headers, etag)
            return status_line(held.status), headers.pairs(), held.body.taken()
        if self._is_head and is_known and self._part is None:
            return answer(self._environ, self._assembled(headers, etag or "", size or 0, Stored(b"[]")))
        found = self._with_body(held)
        if not isinstance(found, Held):
            return found
        headers = found.headers
        stored = Stored(self._whole(found))
        etag, size = headers.get(ETAG), _number(headers.get(SIZE))
        if etag is None or size is None:
            etag, size = manifest.etag_of(in_turns(stored)), manifest.size_of(in_turns(stored))
        headers["Content-Range"] = None
        assembled = self._assembled(headers, etag, size, stored)
        if self._part is None:
            return answer(self._environ, assembled)
        return self._part_answer(assembled, stored)

    def _assembled(self, headers: HeaderKeyDict, etag: str, size: int, stored: Stored) -> Assembled:
        described(headers, etag)

        def pieces(first: int, stop: int | None) -> Iterator[Piece]:
            return self._pieces(stored, first, size if stop is None else stop, 1)

        return Assembled(headers, size, etag, pieces, self._body)

    def _body(self, pieces: Iterator[Piece], length: int | None) -> SegmentedBody:
        options = self._options
        pace = Pace(options.rate_limit_segments_per_sec, options.rate_limit_after_segment)
        return SegmentedBody(pieces, self._source, pace, length, options.max_get_time, self._logger)

    # -- parts -------------------------------------------------------------------------------------------------------------

    def _check_part(self) -> None:
        try:
            self._number = int(self._part[:20]) if self._part is not None and self._part.isascii() else 0
        except ValueError:
            self._number = 0
        if self._number < 1:
            text = "Part number must be an integer greater than 0"
            raise HTTPBadRequest(request=self._request, body=text)
        if "HTTP_RANGE" in self._environ:
            text = "Range requests are not supported with part number queries"
            raise HTTPBadRequest(request=self._request, body=text)

    def _part_answer(self, assembled: Assembled, stored: Stored) -> Answer:
        number = self._number
        headers = assembled.headers
        if number > len(stored):
            headers["X-Parts-Count"] = str(len(stored))
            status, pairs, _ = unsatisfiable(headers, assembled.length or 0)
            page = b"" if self._is_head else b"The requested part number is not satisfiable"
            length = ("Content-Length", str(len(page)))
            return status, [length if pair[0] == "Content-Length" else pair for pair in pairs], [page]
        start = manifest.size_of(in_turns(stored.all()[: number - 1]))
        stop = start + manifest.item(stored.all()[number - 1]).length
        status, pairs, body = answer(self._environ, assembled, (start, stop))
        if status.startswith("206"):
            pairs.append(("X-Parts-Count", str(len(stored))))
        return status, pairs, body

    # -- the manifest itself -----------------------------------------------------------------------------------------------

    def _the_manifest(self, held: Held) -> Answer:
        headers = held.headers
        if not self._is_raw:
            if 200 <= held.status < 300:
                headers["Content-Type"] = JSON_TYPE
            return status_line(held.status), headers.pairs(), held.body.taken()
        if held.status in (304, 412):
            return status_line(held.status), headers.pairs(), held.body.taken()
        found = self._with_body(held)
        if not isinstance(found, Held):
            return found
        headers = found.headers
        text = manifest.as_sent(in_turns(Stored(self._whole(found))))
        headers["Content-Range"] = None
        headers["Content-Length"] = str(len(text))
        headers["Etag"] = md5(text).hexdigest()
        return status_line(200), headers.pairs(), [] if self._is_head else [text]

    # -- getting it --------------------------------------------------------------------------------------------------------

    def _with_body(self, held: Held) -> Held | Answer:
        """The manifest with all of its body; the answer if it is gone, or no manifest any more."""
        if not self._is_head and _is_whole(held):
            return held
        again = self._source.ask(self._source.environ(self._path, self._query))
        headers = HeaderKeyDict(again.headers)
        if not again.is_success:
            return again.status_line, again.headers, again
        if truthy(headers.get(MARK)):
            return Held(again.status, headers, HeldBody(again))
        if _written(headers) < _written(held.headers):
            again.close()
            raise HTTPServiceUnavailable(request=self._request)
        return self._plain(again.status, headers, again)

    def _plain(self, status: int, headers: HeaderKeyDict, body: Iterable[bytes]) -> Answer:
        """What has taken the manifest's place in the meantime."""
        response = Response(
            status=status, headers=headers, app_iter=body, request=self._request, conditional_response=True
        )
        length = headers.get("Content-Length")
        response.headers["Content-Length"] = length
        begun: list[Any] = []
        sent = response(self._environ, lambda *started: begun.extend(started))
        return begun[0], begun[1], sent

    def _whole(self, held: Held) -> bytes:
        """Raises ResponseBroken, BadManifest."""
        try:
            return read_whole(held.body.taken(), self._options.max_stored_size)
        except ValueError as error:
            raise BadManifest(str(error)) from None

    # -- segments ----------------------------------------------------------------------------------------------------------

    def _pieces(self, stored: Stored, first: int, stop: int, depth: int) -> Iterator[Piece]:
        """The bytes `first` up to `stop` of what the items stand for. Raises SegmentError."""
        at = 0
        every = in_turns(stored.items_from(first))
        while at < stop:
            try:
                one = next(every, None)
            except BadManifest as error:
                raise SegmentError(f"{self._source.manifest}: {error}") from None
            if one is None:
                break
            at, item = one
            begin, end = max(first - at, 0), min(item.length, stop - at)
            at += item.length
            if begin >= end:
                continue
            if item.data is not None:
                yield item.data[begin:end]
            elif item.is_manifest:
                if depth >= MOST_DEPTH:
                    raise SegmentError(f"{self._source.manifest}: manifests in manifests, too deep")
                inside = self._inside(item)
                yield from self._pieces(inside, item.first + begin, item.first + end, depth + 1)
            else:
                yield self._span(item, begin, end)
        if at < stop:
            raise SegmentError(f"{self._source.manifest}: {at} bytes instead of {stop} in the manifest")

    def _span(self, item: Item, begin: int, end: int) -> Span:
        return Span(
            self._account_path + item.path,
            item.first + begin,
            item.first + end - 1,
            item.size,
            item.etag,
            item.length < self._options.rate_limit_under_size,
        )

    def _inside(self, item: Item) -> Stored:
        """The items of a manifest that is a segment. Raises SegmentError."""
        path = self._account_path + item.path
        stored = self._kept.get(path)
        if stored is not None:
            self._kept.move_to_end(path)
            return stored
        got = self._source.ask(self._source.environ(path))
        if not got.is_success:
            raise self._source.failure(got, path)
        where = f"{self._source.manifest}, {wsgi_to_str(path)}"
        if not truthy(got.get(MARK.lower())):
            got.close()
            raise SegmentError(f"{where}: no manifest any more")
        try:
            stored = Stored(got.read(self._options.max_stored_size))
            etag = got.get(ETAG.lower()) or manifest.etag_of(in_turns(stored))
        except BadManifest as error:
            raise SegmentError(f"{where}: {error}") from None
        if etag != item.etag:
            raise SegmentError(f"{where}: Etag {etag} instead of {item.etag}")
        self._kept[path] = stored
        self._kept_bytes += stored.size
        while len(self._kept) > _KEPT_MANIFESTS or (len(self._kept) > 1 and self._kept_bytes > _KEPT_BYTES):
            self._kept_bytes -= self._kept.popitem(last=False)[1].size
        return stored


class HeldBody:
    """A body that is either taken once, or let go of."""

    __slots__ = ("_body",)

    def __init__(self, body: Any) -> None:
        self._body = body

    def taken(self) -> Any:
        """The very body."""
        body, self._body = self._body, None
        return body if body is not None else []

    def release(self) -> None:
        body, self._body = self._body, None
        close_if_possible(body)


def described(headers: HeaderKeyDict, etag: str | None) -> None:
    """Give an answer the ETag of what the manifest stands for."""
    headers["X-Manifest-Etag"] = headers["Etag"]
    headers["Etag"] = f'"{etag}"'


def _number(text: str | None) -> int | None:
    return int(text[:20]) if text is not None and text.isascii() and text.isdigit() else None


def _is_whole(held: Held) -> bool:
    """Returns True if an answer has all of the manifest in its body."""
    if held.status == 206:
        extent = parse_content_range(held.headers.get("Content-Range"))
        return extent is not None and extent[0] == 0 and extent[1] == extent[2] - 1
    return held.status == 200


def _written(headers: HeaderKeyDict) -> float:
    """When an object was written, 0 if nobody says."""
    text = headers.get("X-Backend-Timestamp") or headers.get("X-Timestamp") or "0"
    try:
        return float(text.partition("_")[0])
    except ValueError:
        return 0.0
