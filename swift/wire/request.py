"""Request: a WebOb request whose text is WSGI strings and whose every attribute is a view of the environ.

Nothing is copied and nothing is read before it is asked for. Spec: proxy-and-backend.md 22.
"""

import datetime
import io
import sys
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode

import webob.request

from swift.core.config import truthy
from swift.core.errors import EntityTooLarge
from swift.core.names import split_path, wsgi_quote, wsgi_to_str
from swift.core.timestamp import Timestamp
from swift.wire.accept import Accept
from swift.wire.call import Application, call_application
from swift.wire.conditional import Match, parse_http_date
from swift.wire.headers import RequestHeaders
from swift.wire.paths import DEFAULT_PORTS, host_url
from swift.wire.ranges import Range
from swift.wire.response import Response
from swift.wire.webob_face import offers

# Bytes of a body that are read at once by who does not say how many: documents are shorter, objects are not read that way.
MAX_BODY = 16 * 1024 * 1024


def _environ_attribute(key: str, default: Any = None) -> Any:
    """A property on one environ key; setting None deletes. Text is stored as WSGI text and must be valid UTF-8 or latin-1."""

    def get(self: "Request") -> Any:
        return self.environ.get(key, default)

    def put(self: "Request", value: Any) -> None:
        if value is None:
            self.environ.pop(key, None)
            return
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode("latin-1")
            except UnicodeEncodeError:
                value = value.encode("utf-8").decode("latin-1")
        self.environ[key] = value

    def remove(self: "Request") -> None:
        self.environ.pop(key, None)

    return property(get, put, remove, f"environ[{key!r}]")


@offers(
    # views of the environ
    "accept_charset", "accept_encoding", "accept_language", "authorization", "client_addr", "cookies", "date",
    "domain", "host_port", "http_version", "is_xhr", "max_forwards", "pragma", "remote_host", "scheme", "server_name", "server_port",
    "urlargs", "urlvars",
)  # fmt: skip
class Request(webob.request.BaseRequest):
    """One HTTP request, around (never a copy of) its WSGI environ."""

    environ: dict[str, Any]

    def __init__(self, environ: dict[str, Any], **attributes: Any) -> None:
        self.environ = environ
        self._headers: RequestHeaders | None = None
        self._params: tuple[str, dict[str, str]] | None = None
        self._timestamp: tuple[str, Timestamp] | None = None
        for name, value in attributes.items():
            if not hasattr(type(self), name):
                raise TypeError(f"Unexpected keyword: {name}={value!r}")
            setattr(self, name, value)

    method = _environ_attribute("REQUEST_METHOD", "GET")
    script_name = _environ_attribute("SCRIPT_NAME", "")
    path_info = _environ_attribute("PATH_INFO", "")
    query_string = _environ_attribute("QUERY_STRING", "")
    remote_addr = _environ_attribute("REMOTE_ADDR")
    remote_user = _environ_attribute("REMOTE_USER")
    referer = referrer = _environ_attribute("HTTP_REFERER")
    user_agent = _environ_attribute("HTTP_USER_AGENT")
    host = _environ_attribute("HTTP_HOST")
    acl = _environ_attribute("swob.ACL")
    body_file = body_file_raw = _environ_attribute("wsgi.input")

    # --- headers

    @property
    def headers(self) -> RequestHeaders:
        view = self._headers
        if view is None or view.environ is not self.environ:
            view = self._headers = RequestHeaders(self.environ)
        return view

    @headers.setter
    def headers(self, value: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        pairs = dict(value)
        self.headers.clear()
        self.headers.update(pairs)

    @property
    def content_length(self) -> int | None:
        """ValueError when the header is not an integer."""
        text = self.environ.get("CONTENT_LENGTH")
        return None if text is None or text == "" else int(text)

    @content_length.setter
    def content_length(self, value: int | None) -> None:
        self.headers["Content-Length"] = value

    @property
    def is_chunked(self) -> bool:
        return "chunked" in self.environ.get("HTTP_TRANSFER_ENCODING", "").lower()

    def message_length(self) -> int | None:
        """Bytes of the body; None when chunked or not announced.

        ValueError for a bad Content-Length or Transfer-Encoding, AttributeError for more than one coding.
        """
        coding = self.environ.get("HTTP_TRANSFER_ENCODING")
        if coding:
            codings = coding.split(",")
            if codings[-1].strip(" \t").lower() != "chunked":
                raise ValueError("Invalid Transfer-Encoding header value")
            if len(codings) > 1:
                raise AttributeError(
                    "Unsupported Transfer-Coding header value specified in Transfer-Encoding header"
                )
            return None
        text = self.environ.get("CONTENT_LENGTH")
        if text is None or text == "":
            return None
        try:
            return int(text)
        except ValueError:
            raise ValueError("Invalid Content-Length header value")

    @property
    def range(self) -> Range | None:
        header = self.environ.get("HTTP_RANGE")
        if not header:
            return None
        try:
            return Range(header)
        except ValueError:
            return None

    @range.setter
    def range(self, value: Any) -> None:
        self.headers["Range"] = value

    @property
    def if_match(self) -> Match | None:
        header = self.environ.get("HTTP_IF_MATCH")
        return Match(header) if header else None

    @if_match.setter
    def if_match(self, value: str | None) -> None:
        self.headers["If-Match"] = value

    @property
    def if_none_match(self) -> Match | None:
        header = self.environ.get("HTTP_IF_NONE_MATCH")
        return Match(header) if header else None

    @if_none_match.setter
    def if_none_match(self, value: str | None) -> None:
        self.headers["If-None-Match"] = value

    @property
    def if_modified_since(self) -> datetime.datetime | None:
        header = self.environ.get("HTTP_IF_MODIFIED_SINCE")
        return parse_http_date(header) if header else None

    @if_modified_since.setter
    def if_modified_since(self, value: Any) -> None:
        self.headers["If-Modified-Since"] = value

    @property
    def if_unmodified_since(self) -> datetime.datetime | None:
        header = self.environ.get("HTTP_IF_UNMODIFIED_SINCE")
        return parse_http_date(header) if header else None

    @if_unmodified_since.setter
    def if_unmodified_since(self, value: Any) -> None:
        self.headers["If-Unmodified-Since"] = value

    @property
    def accept(self) -> Accept:
        return Accept(self.environ.get("HTTP_ACCEPT"))

    @accept.setter
    def accept(self, value: Any) -> None:
        self.headers["Accept"] = value

    @property
    def allow_reserved_names(self) -> bool:
        return truthy(self.environ.get("HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"))

    @property
    def timestamp(self) -> Timestamp:
        """The parsed X-Timestamp; InvalidTimestamp when it is missing or malformed."""
        text: Any = self.environ.get("HTTP_X_TIMESTAMP")
        cached = self._timestamp
        if cached is None or cached[0] is not text:
            cached = self._timestamp = (text, Timestamp(text))
        return cached[1]

    def ensure_x_timestamp(self) -> Timestamp:
        """Give the request an X-Timestamp of now if it has none, and put it into its internal form."""
        if "HTTP_X_TIMESTAMP" in self.environ:
            stamp = self.timestamp
        else:
            stamp = Timestamp.now()
        self.environ["HTTP_X_TIMESTAMP"] = text = stamp.internal
        self._timestamp = (text, stamp)
        return stamp

    # --- target

    @property
    def path(self) -> str:
        """Percent-quoted path."""
        return wsgi_quote(self.environ.get("SCRIPT_NAME", "") + self.environ.get("PATH_INFO", ""))

    @property
    def path_qs(self) -> str:
        query = self.environ.get("QUERY_STRING")
        return f"{self.path}?{query}" if query else self.path

    @property
    def host_url(self) -> str:
        return host_url(self.environ)

    @property
    def path_url(self) -> str:
        return host_url(self.environ) + self.path

    @property
    def url(self) -> str:
        return host_url(self.environ) + self.path_qs

    @property
    def swift_entity_path(self) -> str | None:
        """Native `/a/c/o` without the version; None when there is no account."""
        parts = self.environ.get("PATH_INFO", "").split("/", 2)
        if len(parts) < 3 or parts[0] or not parts[1] or not parts[2] or parts[2][0] == "/":
            return None
        return "/" + wsgi_to_str(parts[2])

    @property
    def params(self) -> dict[str, str]:
        """Query parameters as WSGI strings: the last of equal names wins, blank values are kept. Cached."""
        query = self.environ.get("QUERY_STRING", "")
        cached = self._params
        if cached is None or cached[0] is not query:
            pairs = parse_qsl(query, keep_blank_values=True, encoding="latin-1") if query else ()
            cached = self._params = (query, dict(pairs))
        return cached[1]

    @params.setter
    def params(self, pairs: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        items = pairs.items() if isinstance(pairs, Mapping) else pairs
        self.environ["QUERY_STRING"] = urlencode(list(items), encoding="latin-1")
        self._params = None

    str_params = params

    def split_path(
        self, minsegs: int = 1, maxsegs: int | None = None, rest_with_last: bool = False
    ) -> list[str | None]:
        """Segments of SCRIPT_NAME + PATH_INFO as WSGI strings; ValueError when the path does not have that shape."""
        path = self.environ.get("SCRIPT_NAME", "") + self.environ.get("PATH_INFO", "")
        try:
            return split_path(path, minsegs, maxsegs, rest_with_last)
        except ValueError:
            raise ValueError(f"Invalid path: {wsgi_quote(path)}")

    def as_referer(self) -> str:
        return f"{self.method} {self.url}"

    # --- body

    @property
    def body(self) -> bytes:
        """read_body(MAX_BODY)"""
        return self.read_body(MAX_BODY)

    @body.setter
    def body(self, data: bytes | str) -> None:
        if isinstance(data, str):
            data = data.encode("utf-8")
        self.environ["wsgi.input"] = io.BytesIO(data)
        self.environ["CONTENT_LENGTH"] = str(len(data))

    def read_body(self, limit: int) -> bytes:
        """All of the body; a copy stays behind for the next reader. Raises EntityTooLarge above `limit` bytes, ClientError."""
        source = self.environ["wsgi.input"]
        parts = []
        left = limit + 1
        while left:
            data = source.read(left)
            if not data:
                break
            parts.append(data)
            left -= len(data)
        data = b"".join(parts)
        if not left:
            raise EntityTooLarge(f"The body of the request is longer than {limit} bytes.")
        self.environ["wsgi.input"] = io.BytesIO(data)
        return data

    # --- calling

    def copy_get(self) -> "Request":
        """The same request as a GET without a body, on an environ of its own."""
        environ = dict(self.environ)
        environ.update(REQUEST_METHOD="GET", CONTENT_LENGTH="0")
        environ["wsgi.input"] = io.BytesIO(b"")
        return type(self)(environ)

    def call_application(self, application: Application, catch_exc_info: bool = False) -> Any:
        """(status, headers, body iterable) of a WSGI application, which has called start_response by then."""
        status, headers, body, exc_info = call_application(application, self.environ)
        return (status, headers, body, exc_info) if catch_exc_info else (status, headers, body)

    def get_response(self, application: Application) -> Response:  # type: ignore[override]
        status, headers, body = self.call_application(application)
        return Response(status=status, headers=headers, app_iter=body, request=self)

    send = get_response  # type: ignore[assignment]

    @classmethod
    def blank(  # type: ignore[override]
        cls,
        path: str,
        environ: dict[str, Any] | None = None,
        headers: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None,
        body: bytes | str | None = None,
        **attributes: Any,
    ) -> "Request":
        """A request out of nothing; path is percent-encoded and may have a query string and scheme://host in front."""
        env = _blank_environ(path)
        if environ:
            env.update(environ)
        request = cls(env)
        if body is not None:
            request.body = body
        elif "wsgi.input" not in env:
            env["wsgi.input"] = io.BytesIO(b"")
        if headers:
            request.headers.update(headers)
        for name, value in attributes.items():
            setattr(request, name, value)
        return request


def _blank_environ(path: str) -> dict[str, Any]:
    scheme, server = "http", "localhost:80"
    if "://" in path.partition("?")[0]:
        scheme, _, rest = path.partition("://")
        server, slash, path = rest.partition("/")
        path = slash + path
        if ":" not in server:
            server += DEFAULT_PORTS.get(scheme, ":80")
    raw, _, query = path.partition("?")
    try:
        decoded = unquote_to_bytes(raw.encode("latin-1"))
    except UnicodeEncodeError:
        decoded = unquote_to_bytes(raw.encode("utf-8"))
    name, _, port = server.rpartition(":")
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "QUERY_STRING": query,
        "PATH_INFO": decoded.decode("latin-1"),
        "SERVER_NAME": name,
        "SERVER_PORT": port,
        "HTTP_HOST": server,
        "SERVER_PROTOCOL": "HTTP/1.0",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
