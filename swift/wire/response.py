"""Response: a WebOb response that is rendered the reference's way, and the exceptions that are responses.

What is answered to conditions and ranges is decided in conditional.py and ranges.py; this module only applies it.
Spec: proxy-and-backend.md 22, 29; middleware.md 2.2.
"""

import datetime
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from email.utils import formatdate
from typing import Any

import webob
from webob.cookies import make_cookie
from webob.request import BaseRequest

from swift.core import clock
from swift.core.names import wsgi_quote
from swift.wire.body import close_if_possible
from swift.wire.call import StartResponse
from swift.wire.conditional import evaluate, normalize_etag, parse_http_date, range_applies
from swift.wire.headers import HeaderKeyDict
from swift.wire.multipart import byteranges_body, byteranges_length
from swift.wire.paths import host_url
from swift.wire.ranges import parse_range, ranges_for_length
from swift.wire.status import HTML_TYPE, default_body, status_line
from swift.wire.webob_face import offers

# A HEAD's body iterator is read to its end only as far as that: enough for it to finish cleanly, not more.
_DRAIN_LIMIT = 65536

_COOKIE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")
_COOKIE_ATTRIBUTE = re.compile(r"[ -:<-~]*")


class _HeaderList:
    """What WebOb's own header attributes need of a header list, on top of the mapping."""

    __slots__ = ("headers",)

    def __init__(self, headers: HeaderKeyDict) -> None:
        self.headers = headers

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.headers.pairs())

    def __len__(self) -> int:
        return len(self.headers)

    def append(self, pair: tuple[str, str]) -> None:
        self.headers.add(*pair)

    def __setitem__(self, _all: slice, pairs: Iterable[tuple[str, str]]) -> None:
        kept = list(pairs)
        self.headers.clear()
        for pair in kept:
            self.headers.add(*pair)


def _modified_date(value: Any) -> str | None:
    """HTTP date of a datetime, number or Timestamp, rounded up to a whole second."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            value = value.replace(tzinfo=datetime.timezone.utc)
        value = value.timestamp()
    return formatdate(math.ceil(float(value)), usegmt=True)


@offers(
    # headers, which WebOb reads and writes through `_headerlist`
    "accept_ranges", "age", "allow", "content_disposition", "content_encoding", "content_language", "content_location",
    "content_md5", "content_range", "date", "expires", "pragma", "retry_after", "server", "vary", "www_authenticate",
    "charset", "default_charset", "default_content_type", "default_body_encoding", "unicode_errors",
)  # fmt: skip
class Response(webob.Response):
    """One HTTP response; a WSGI application. Headers are one HeaderKeyDict, so a name occurs once, except Set-Cookie."""

    conditional_etag: str | None
    request: BaseRequest | None
    environ: dict[str, Any] | None

    def __init__(
        self,
        body: bytes | str | None = None,
        status: int | str = 200,
        headers: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None,
        app_iter: Any = None,
        request: BaseRequest | None = None,
        conditional_response: bool = False,
        conditional_etag: str | None = None,
        **attributes: Any,
    ) -> None:
        self._headers = HeaderKeyDict()
        dict.__setitem__(self._headers, "Content-Type", HTML_TYPE)
        self.conditional_response = conditional_response
        self.conditional_etag = conditional_etag
        self.request = request
        self.environ = None if request is None else request.environ
        self.drive: str | None = attributes.pop("drive", None)
        self.status = status
        self._body: bytes | None = None
        self._app_iter: Any = None
        if app_iter is not None:
            self.app_iter = app_iter
        elif body is not None:
            self.body = body
        if headers is None:
            headers = attributes.pop("headerlist", None)
        if headers:
            self._headers.update(headers)
        for name, value in attributes.items():
            if not hasattr(type(self), name):
                raise TypeError(f"Unexpected keyword: {name}={value!r}")
            setattr(self, name, value)
        if self.status_int == 401 and request is not None and "Www-Authenticate" not in self._headers:
            self._headers["Www-Authenticate"] = _realm(request.environ)

    # --- status

    @property
    def status(self) -> str:
        return self._status

    @status.setter
    def status(self, value: int | str) -> None:
        if isinstance(value, int):
            self._status, self.status_int = status_line(value), value
        else:
            self.status_int = int(value[:3])
            self._status = value if len(value) > 4 else status_line(self.status_int)

    status_int: int = 200

    @property
    def status_code(self) -> int:
        return self.status_int

    @status_code.setter
    def status_code(self, value: int) -> None:
        self.status = value

    @property
    def is_success(self) -> bool:
        return 200 <= self.status_int < 300

    # --- headers

    @property
    def headers(self) -> HeaderKeyDict:
        return self._headers

    @headers.setter
    def headers(self, value: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        self._headers = HeaderKeyDict(value)

    @property
    def _headerlist(self) -> Any:
        return _HeaderList(self.headers)

    @property
    def headerlist(self) -> list[tuple[str, str]]:
        return self.headers.pairs()

    @headerlist.setter
    def headerlist(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._headerlist[:] = list(pairs)

    @property
    def content_length(self) -> int | None:
        value = dict.get(self._headers, "Content-Length")
        return None if value is None else int(value)

    @content_length.setter
    def content_length(self, value: int | None) -> None:
        self._headers["Content-Length"] = value

    @property
    def content_type(self) -> str | None:
        """The media type without parameters."""
        value = dict.get(self._headers, "Content-Type")
        return None if value is None else value.split(";", 1)[0]

    @content_type.setter
    def content_type(self, value: str | None) -> None:
        self._headers["Content-Type"] = value

    @property
    def etag(self) -> str | None:
        """Without surrounding quotes; setting adds them."""
        return normalize_etag(dict.get(self._headers, "Etag"))

    @etag.setter
    def etag(self, value: str | None) -> None:
        self._headers["Etag"] = None if value is None else f'"{value}"'

    @property
    def last_modified(self) -> datetime.datetime | None:
        value = dict.get(self._headers, "Last-Modified")
        return parse_http_date(value) if value else None

    @last_modified.setter
    def last_modified(self, value: Any) -> None:
        """Takes a datetime, a number of seconds or a Timestamp; rounds up."""
        self._headers["Last-Modified"] = _modified_date(value)

    @property
    def location(self) -> str | None:
        return dict.get(self._headers, "Location")

    @location.setter
    def location(self, value: str | None) -> None:
        self._headers["Location"] = value

    def set_cookie(
        self,
        name: str,
        value: str | None = "",
        max_age: int | datetime.timedelta | None = None,
        path: str = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: str | None = None,
    ) -> None:
        """One more cookie for the client to keep; max_age in seconds, value None takes it away. Raises ValueError."""
        well_formed = _COOKIE_NAME.fullmatch(name) and _COOKIE_VALUE.fullmatch(value or "")
        if not well_formed or not _COOKIE_ATTRIBUTE.fullmatch(path + (domain or "")):
            raise ValueError("not a cookie (RFC 6265 4.1.1)")
        made = make_cookie(name, value, max_age, path, domain, secure, httponly, samesite=samesite)
        self._headers.add("Set-Cookie", made)

    def delete_cookie(self, name: str, path: str = "/", domain: str | None = None) -> None:
        """Ask the client to forget a cookie."""
        self.set_cookie(name, None, path=path, domain=domain)

    # --- body

    @property
    def body(self) -> bytes:
        """The whole body; an iterator is read to its end and kept as bytes."""
        if self._body is None:
            if self._app_iter is None:
                return b""
            try:
                self._body = b"".join(self._app_iter)
            finally:
                close_if_possible(self._app_iter)
                self._app_iter = None
        return self._body

    @body.setter
    def body(self, value: bytes | str | None) -> None:
        if isinstance(value, str):
            value = value.encode(self.charset or "utf-8")
        self._body = value or b""
        self._app_iter = None
        self._headers["Content-Length"] = str(len(self._body))

    @property
    def app_iter(self) -> Any:
        return [self._body or b""] if self._app_iter is None else self._app_iter

    @app_iter.setter
    def app_iter(self, value: Any) -> None:
        self._app_iter = value
        self._body = None
        if isinstance(value, list | tuple):
            self._headers["Content-Length"] = str(sum(map(len, value)))
        elif value is not None:
            self._headers["Content-Length"] = None

    @property
    def has_body(self) -> bool:
        return self._app_iter is not None or bool(self._body)

    def close(self) -> None:
        """Let go of a body that nobody will read."""
        close_if_possible(self._app_iter)

    # --- rendering

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Any:
        if self.environ is None:
            self.environ = environ
        headers = self._headers
        if self.status_int == 401 and "Www-Authenticate" not in headers:
            headers["Www-Authenticate"] = _realm(environ)
        if "Location" in headers:
            location = headers["Location"]
            if location.startswith("/") and not environ.get("swift.leave_relative_location"):
                headers["Location"] = host_url(environ) + location
        body = self._render(environ)
        start_response(self._status, headers.pairs())
        return body

    def fix_conditional_response(self) -> None:
        """Evaluate conditions and ranges now instead of when called."""
        if self.environ is None:
            return
        body = self._render(self.environ)
        length = self._headers["Content-Length"]
        self.app_iter = body
        if length is not None:
            self._headers["Content-Length"] = length
        self.conditional_response = False

    def _render(self, environ: dict[str, Any]) -> Any:
        """The body to send; sets status, Content-Length, -Type and -Range to fit it."""
        method = environ.get("REQUEST_METHOD")
        if self.conditional_response:
            etag = self.etag if self.conditional_etag is None else self.conditional_etag
            decided = evaluate(environ, self.status_int, etag, self.last_modified)
            if decided is not None:
                self._drop_body()
                self.status = decided
                self._headers["Content-Length"] = "0"
                return [b""]
            if (
                method != "HEAD"
                and self.status_int == 200
                and "Content-Range" not in self._headers
                and range_applies(environ, etag, self.last_modified)
            ):
                ranged = self._ranged(parse_range(environ.get("HTTP_RANGE")))
                if ranged is not None:
                    return ranged
        body = self._app_iter
        if body is None:
            data = self._body
            if data is None:
                data = default_body(self.status_int, self.drive)
                if data and method != "HEAD":
                    self._headers["Content-Length"] = str(len(data))
            body = [data]
        if method == "HEAD":
            _drain(body)
            return [b""]
        return body

    def _drop_body(self) -> None:
        close_if_possible(self._app_iter)
        self._app_iter, self._body = None, b""

    def _ranged(self, specs: Any) -> Any:
        """The body of a 206 or 416, None when the whole is to be sent."""
        body = self._app_iter
        length = self.content_length
        if not specs or length is None or not (body is None or hasattr(body, "app_iter_range")):
            return None
        ranges = ranges_for_length(specs, length)
        if ranges is None:
            return None
        if not ranges:
            self._drop_body()
            self.status = 416
            self._headers["Content-Range"] = f"bytes */{length}"
            page = default_body(416)
            self._headers["Content-Length"] = str(len(page))
            return [page]
        if len(ranges) == 1:
            start, stop = ranges[0]
            self.status = 206
            self._headers["Content-Range"] = f"bytes {start}-{stop - 1}/{length}"
            self._headers["Content-Length"] = str(stop - start)
            if body is None:
                return [(self._body or b"")[start:stop]]
            return body.app_iter_range(start, stop)
        return self._multi_ranged(ranges, length)

    def _multi_ranged(self, ranges: list[tuple[int, int]], length: int) -> Any:
        body = self._app_iter
        if body is not None and not hasattr(body, "app_iter_ranges"):
            return None
        part_type = self._headers["Content-Type"] or ""
        boundary = f"{clock.getrandbits(128):032x}"
        self.status = 206
        self._headers["Content-Length"] = str(byteranges_length(ranges, length, part_type, boundary))
        self._headers["Content-Type"] = f"multipart/byteranges;boundary={boundary}"
        if body is None:
            data = self._body or b""
            return list(
                byteranges_body(ranges, length, part_type, boundary, lambda start, stop: (data[start:stop],))
            )
        return body.app_iter_ranges(ranges, part_type, boundary, length)


def _drain(body: Any) -> None:
    """Read a body that is not sent so far that its maker can finish, and close it."""
    if isinstance(body, list | tuple):
        return
    try:
        if not hasattr(body, "send_to"):
            seen = 0
            for chunk in body:
                seen += len(chunk)
                if seen >= _DRAIN_LIMIT:
                    break
    finally:
        close_if_possible(body)


def _realm(environ: dict[str, Any]) -> str:
    parts = environ.get("PATH_INFO", "").split("/", 3)
    account = parts[2] if len(parts) > 2 else ""
    # /auth/v1.0 is where a token is asked for, not an account.
    if not account or account in ("v1.0", "auth"):
        account = "unknown"
    return f'Swift realm="{wsgi_quote(account)}"'


class HTTPException(Response, Exception):
    """A response that can be raised. The subclasses below are its factories, one per status."""

    code = 500

    def __init__(
        self,
        body: bytes | str | None = None,
        status: int | str | None = None,
        headers: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None,
        app_iter: Any = None,
        request: BaseRequest | None = None,
        **attributes: Any,
    ) -> None:
        Exception.__init__(self)
        Response.__init__(self, body, status or self.code, headers, app_iter, request, **attributes)

    def __str__(self) -> str:  # type: ignore[override]
        return self._status

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._status}>"
