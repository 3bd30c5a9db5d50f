"""Filter `dlo`: objects whose segments are all objects of a container with a common beginning of their names (spec middleware 4.22).

The manifest is any object with the header X-Object-Manifest; what it stands for is found out by listing, anew for each request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson

from swift.core.config import non_negative_float, non_negative_int, positive_float, read_conf_sections, truthy
from swift.core.constraints import limits
from swift.core.errors import ConfigError
from swift.core.hashing import md5
from swift.middleware.segments.answer import (
    IGNORE_RANGE,
    Answer,
    Assembled,
    Held,
    answer,
    appended,
    held_if_marked,
    unsatisfiable,
)
from swift.middleware.segments.body import SegmentedBody
from swift.middleware.segments.pace import Pace
from swift.middleware.segments.source import MANIFEST, Piece, SegmentError, SegmentSource, Span
from swift.telemetry.log import get_logger
from swift.wire.call import StartResponse
from swift.wire.errors import ResponseBroken
from swift.wire.message import (
    HTML_TYPE,
    HeaderKeyDict,
    HTTPBadRequest,
    HTTPConflict,
    HTTPException,
    HTTPServiceUnavailable,
    Request,
    close_if_possible,
    normalize_etag,
    parsed_path,
    status_line,
    str_to_wsgi,
    wsgi_to_str,
    wsgi_unquote,
)
from swift.wire.ranges import parse_range
from swift.wire.subanswer import Subanswer

MARK, _KEY = "X-Object-Manifest", "HTTP_X_OBJECT_MANIFEST"
SOURCE = "DLO"
_BAD = "X-Object-Manifest must be in the format container/prefix"
_PAGE_BYTES = 256 * 1024 * 1024
_STATIC = "X-Static-Large-Object"
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Options:
    """All of [filter:dlo]. Sizes in bytes, times in seconds."""

    rate_limit_under_size: int = 1024 * 1024
    rate_limit_after_segment: int = 10
    rate_limit_segments_per_sec: float = 1.0
    max_get_time: float = 86400.0


_LEGACY = ("rate_limit_after_segment", "rate_limit_segments_per_sec", "max_get_time")


def parse_options(conf: Mapping[str, Any]) -> Options:
    """Where the filter's section has none of them, those of old stand in that of the proxy. Raises ConfigError."""
    if "__file__" in conf and not any(name in conf for name in _LEGACY):
        conf = {**conf, **_of_the_proxy(conf["__file__"])}
    try:
        return Options(
            non_negative_int(conf.get("rate_limit_under_size", "1048576")),
            non_negative_int(conf.get("rate_limit_after_segment", "10")),
            non_negative_float(conf.get("rate_limit_segments_per_sec", "1")),
            positive_float(conf.get("max_get_time", "86400")),
        )
    except ValueError as error:
        raise ConfigError(f"[filter:dlo]: {error}") from None


def _of_the_proxy(path: str) -> dict[str, str]:
    try:
        options = read_conf_sections(path).get("app:proxy-server", {})
    except ConfigError:
        return {}  # a pipeline that is not in a file
    return {name: options[name] for name in _LEGACY if name in options}


class DloFilter:
    """Raises ConfigError."""

    def __init__(self, app: Any, conf: dict[str, Any], logger: Any = None) -> None:
        self.app = app
        self.options = parse_options(conf)
        self.logger = logger or get_logger(conf, "proxy-server", log_route="dlo")

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method == "GET" or method == "HEAD":
            if parsed_path(environ)[3] is not None:
                query = environ.get("QUERY_STRING")
                if not query or "multipart-manifest" not in query or not _wants_manifest(query):
                    return self._read(environ, start_response)
        elif _KEY in environ and parsed_path(environ)[3] is not None:
            value = environ[_KEY]
            # With POST an empty one takes it away, as none does.
            if (
                method == "PUT"
                and not is_well_formed(value)
                or method == "POST"
                and value
                and not is_well_formed(value)
            ):
                return HTTPBadRequest(request=Request(environ), body=_BAD)(environ, start_response)
        return self.app(environ, start_response)

    def _read(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        if "HTTP_RANGE" in environ:
            appended(environ, IGNORE_RANGE, MARK)
        held = held_if_marked(self.app, environ, start_response, MARK)
        if not isinstance(held, Held):
            return held
        if truthy(held.headers.get(_STATIC)):
            # It is both; the list that is written down counts, and is read further left.
            start_response(status_line(held.status), held.headers.pairs())
            return held.body  # type: ignore[no-any-return]
        close_if_possible(held.body)
        try:
            status, headers, body = _Reading(self, environ, path, query).answer(held)
        except HTTPException as refusal:
            return refusal(environ, start_response)
        except ResponseBroken as error:
            self.logger.error("%s: %s", wsgi_to_str(path), error)
            return HTTPServiceUnavailable(request=Request(environ))(environ, start_response)
        start_response(status, headers)
        return body


def _wants_manifest(query: str) -> bool:
    return query == MANIFEST or Request({"QUERY_STRING": query}).params.get("multipart-manifest") == "get"


def is_well_formed(value: str) -> bool:
    """Returns True if the value of X-Object-Manifest, as a client sends it, says where to look."""
    container, _, prefix = value.partition("/")
    return bool(container and prefix) and prefix[0] != "/" and "?" not in value and "&" not in value


class _Reading:
    """One GET or HEAD whose answer turned out to be a manifest. `path`, `query`: of the request as it came to the filter."""

    def __init__(self, filter_: DloFilter, environ: dict[str, Any], path: str, query: str) -> None:
        self._options = filter_.options
        self._logger = filter_.logger
        self._environ = environ
        self._path = path
        self._query = query
        self._request = Request(environ)
        self._source = SegmentSource(filter_.app, environ, SOURCE, wsgi_to_str(path))
        self._container_path = ""
        self._prefix = ""
        self._limit = limits().container_listing_limit

    def answer(self, held: Held) -> Answer:
        """Raises HTTPException, ResponseBroken."""
        headers = held.headers
        if held.status != 200:
            # A storage server has compared the ETag of the manifest, which is nobody's.
            again = self._source.ask(self._source.environ(self._path, self._query))
            headers = HeaderKeyDict(again.headers)
            if not again.is_success or MARK not in headers:
                return again.status_line, again.headers, again
            again.close()
        value = wsgi_unquote(headers[MARK])
        container, _, self._prefix = value.partition("/")
        if not container or not self._prefix:
            raise HTTPConflict(request=self._request)
        version, account, _, _ = parsed_path({"PATH_INFO": self._path})
        self._container_path = f"/{version}/{account}/{container}"
        page = self._page("")
        if isinstance(page, Subanswer):
            return page.status_line, page.headers, page
        return self._answer(headers, page)

    def _answer(self, headers: HeaderKeyDict, rows: Rows) -> Answer:
        is_complete = len(rows) < self._limit
        known = sum(row["bytes"] for row in rows)
        length, etag = None, normalize_etag(headers["Etag"])
        if is_complete:
            length = known
            hashes = md5()
            for row in rows:
                hashes.update(row["hash"].encode("utf-8", "surrogateescape"))
            etag = hashes.hexdigest()
            headers["Etag"] = f'"{etag}"'
        if self._is_beyond(length):
            return unsatisfiable(HeaderKeyDict({"Content-Type": HTML_TYPE, "Accept-Ranges": "bytes"}), known)
        headers["Content-Length"] = None

        def pieces(first: int, stop: int | None) -> Iterator[Piece]:
            return self._pieces(rows, first, stop)

        return answer(self._environ, Assembled(headers, length, etag, pieces, self._body, in_parts=False))

    def _is_beyond(self, length: int | None) -> bool:
        """Returns True for a single range that is not in the object; the reference says so to a HEAD as well."""
        specs = parse_range(self._environ.get("HTTP_RANGE"))
        if length is None or not specs or len(specs) != 1:
            return False
        first, last = specs[0]
        return last == 0 if first is None else first >= length

    def _body(self, pieces: Iterator[Piece], length: int | None) -> SegmentedBody:
        options = self._options
        pace = Pace(options.rate_limit_segments_per_sec, options.rate_limit_after_segment)
        return SegmentedBody(pieces, self._source, pace, length, options.max_get_time, self._logger)

    # -- segments ----------------------------------------------------------------------------------------------------------

    def _page(self, marker: str) -> Rows | Subanswer:
        """The rows behind `marker`, or an answer that is none. Raises SegmentError."""
        query = {"format": "json", "prefix": wsgi_to_str(self._prefix)}
        if marker:
            query["marker"] = marker
        environ = self._source.environ(
            self._container_path, urlencode(query, encoding="utf-8", errors="surrogateescape")
        )
        got = self._source.ask(environ)
        if not got.is_success:
            return got
        data = got.read(_PAGE_BYTES)
        try:
            rows = orjson.loads(data) if data else []
            for row in rows:
                if not (isinstance(row["bytes"], int) and isinstance(row["hash"], str) and row["name"]):
                    raise TypeError
        except (orjson.JSONDecodeError, TypeError, KeyError):
            where = wsgi_to_str(self._container_path)
            raise SegmentError(f"{self._source.manifest}, {where}: not a listing") from None
        return rows  # type: ignore[no-any-return]

    def _pieces(self, rows: Rows, first: int, stop: int | None) -> Iterator[Piece]:
        """The bytes `first` up to `stop` (None: to the end) of all segments, page after page. Raises SegmentError."""
        at = 0
        while True:
            for row in rows:
                size = row["bytes"]
                begin = max(first - at, 0)
                end = size if stop is None else min(size, stop - at)
                if begin < end:
                    yield Span(
                        f"{self._container_path}/{str_to_wsgi(row['name'])}",
                        begin,
                        end - 1,
                        size,
                        None,
                        size < self._options.rate_limit_under_size,
                    )
                at += size
            if len(rows) < self._limit or (stop is not None and at >= stop):
                return
            page = self._page(rows[-1]["name"])
            if isinstance(page, Subanswer):
                raise self._source.failure(page, self._container_path)
            rows = page


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], DloFilter]:
    conf = {**global_conf, **local_conf}

    def factory(app: Any) -> DloFilter:
        return DloFilter(app, conf)

    return factory
