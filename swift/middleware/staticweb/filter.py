"""The filter itself: which requests are visits of a web site, and what is answered to them.

A container of which nobody made a site costs two look-ups in what is known of it. Never here: what pages look like (`pages`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import orjson

from swift.core import capabilities
from swift.core.config import truthy
from swift.middleware.info import get_container_info
from swift.middleware.staticweb import pages
from swift.telemetry.log import get_logger
from swift.wire.body import read_whole
from swift.wire.call import Application, Headers, StartResponse, call_app
from swift.wire.message import (
    HTTPMovedPermanently,
    HTTPNotFound,
    Request,
    Response,
    close_if_possible,
    host_url,
    parsed_path,
    str_to_wsgi,
    wsgi_quote,
    wsgi_to_str,
)
from swift.wire.subrequest import make_environ

TEMP_URL_USER = ".wsgi.tempurl"
LARGEST_LISTING = 32 * 1024 * 1024  # bytes; what is larger is no listing of a page
# Of the visitor's headers those that say what of a page he needs.
_CONDITIONS = (
    "HTTP_RANGE", "HTTP_IF_RANGE", "HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE",
)  # fmt: skip


class Answer(NamedTuple):
    """status line, headers, body: as an application gave them."""

    status: str
    headers: Headers
    body: Iterable[bytes]

    @property
    def is_there(self) -> bool:
        return self.status[0] in "23"

    @property
    def is_missing(self) -> bool:
        return self.status[:3] == "404"

    def header(self, wanted: str) -> str:
        return next((value for name, value in self.headers if name.lower() == wanted), "")

    def drop(self) -> None:
        close_if_possible(self.body)


class StaticWeb:
    """Raises ValueError at once for a configuration that can't be meant."""

    def __init__(self, app: Application, conf: dict[str, Any], logger: Any = None) -> None:
        self.app = app
        self.logger = logger or get_logger(conf, "proxy-server", log_route="staticweb")
        base = urlsplit(conf.get("url_base") or "")
        self.scheme, self.host = base.scheme, base.netloc

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method != "GET" and method != "HEAD":
            return self.app(environ, start_response)
        user = environ.get("REMOTE_USER")
        wanted = truthy(environ["HTTP_X_WEB_MODE"]) if "HTTP_X_WEB_MODE" in environ else False
        if user and user != TEMP_URL_USER and not wanted or environ.get("swift.authorize") is None:
            return self.app(environ, start_response)
        version, account, container, obj = parsed_path(environ)
        if container is None or account is None or version is None:
            return self.app(environ, start_response)
        info = get_container_info(environ, self.app, account, container)
        meta = info["meta"]
        if not (meta.get("web-index") or meta.get("web-listings")):
            if wanted and obj is None:
                return HTTPNotFound(request=Request(environ))(environ, start_response)
            return self.app(environ, start_response)
        visit = _Visit(self, environ, (version, account, container), obj or "", info)
        answer = visit.of_container() if obj is None else visit.of_object()
        start_response(answer.status, answer.headers)
        return answer.body


class _Visit:
    """One visit of a site. `place`: version, account and container, `obj`: what is asked for in it ('' for itself), WSGI strings."""

    def __init__(
        self,
        owner: StaticWeb,
        environ: dict[str, Any],
        place: tuple[str, str, str],
        obj: str,
        info: Mapping[str, Any],
    ) -> None:
        self.owner = owner
        self.app = owner.app
        self.environ = environ
        self.method = environ["REQUEST_METHOD"]
        self.path = environ["PATH_INFO"]
        self.root = "/" + "/".join(place)
        self.obj = obj
        self.info = info
        meta = info["meta"]
        self.index = str_to_wsgi(meta.get("web-index", "").strip())
        self.error = str_to_wsgi(meta.get("web-error", "").strip())
        self.lists = truthy(meta.get("web-listings", ""))
        self.css = meta.get("web-listings-css", "").strip()
        self.label = meta.get("web-listings-label", "").strip()
        self.directory_type = (
            str_to_wsgi(meta.get("web-directory-type", "").strip()) or "application/directory"
        )

    # -- what is asked for -------------------------------------------------------------------------------------------------

    def of_container(self) -> Answer:
        environ = self.environ
        environ["swob.ACL"] = self.info["read_acl"]
        refusal = environ["swift.authorize"](Request(environ))
        environ.pop("swob.ACL", None)
        if refusal is not None:
            return self._failed(self._made(refusal))
        if not self.path.endswith("/"):
            return self._redirect()
        if not self.index:
            return self._listing()
        answer = self._page(self.path + self.index)
        if answer.is_there:
            return answer
        if answer.is_missing:
            answer.drop()
            return self._listing()
        return self._failed(answer)

    def of_object(self) -> Answer:
        answer = Answer(*call_app(self.app, self.environ))
        is_marker = answer.is_there and self._is_marker(answer)
        if not is_marker and not answer.is_missing:
            return answer
        answer.drop()
        is_directory = self.path.endswith("/")
        if self.index:
            page = self._page(f"{self.path}{'' if is_directory else '/'}{self.index}")
            if page.is_there and is_directory:
                return page
            if not page.is_there and not page.is_missing:
                return self._failed(page)
            page.drop()
            if page.is_there:
                return self._redirect()
        if is_directory:
            return self._listing()
        if self._rows(f"{self.obj}/", limit=1)[1]:
            return self._redirect()
        return self._not_found()

    def _is_marker(self, answer: Answer) -> bool:
        """Returns True if an object stands for a directory: of its type, and of one byte at most."""
        if answer.header("content-type") != self.directory_type:
            return False
        length = answer.header("content-length")
        return length.isdigit() and int(length) <= 1

    # -- what is answered --------------------------------------------------------------------------------------------------

    def _redirect(self) -> Answer:
        """To the same path as a directory."""
        scheme, _, host = host_url(self.environ).partition("://")
        base = f"{self.owner.scheme or scheme}://{self.owner.host or host}"
        location = f"{base}{wsgi_quote(self.path)}/"
        return self._made(HTTPMovedPermanently(request=Request(self.environ), headers={"Location": location}))

    def _not_found(self) -> Answer:
        return self._failed(self._made(HTTPNotFound(request=Request(self.environ))))

    def _made(self, response: Response) -> Answer:
        return Answer(*call_app(response, self.environ))

    def _html(self, status: str, page: str, *headers: tuple[str, str]) -> Answer:
        data = page.encode("utf-8", "surrogateescape")
        told = [("Content-Type", "text/html; charset=UTF-8"), ("Content-Length", str(len(data))), *headers]
        return Answer(status, told, [data if self.method == "GET" else b""])

    def _failed(self, answer: Answer) -> Answer:
        """The owner's page for this status, where there is one and the visitor may see it; else the answer itself."""
        if not self.error:
            return answer
        status = answer.status
        page = Answer(*call_app(self.app, self._sub(f"{self.root}/{status[:3]}{self.error}", self.method)))
        if page.status[0] != "2":
            page.drop()
            return answer
        answer.drop()
        return page._replace(status=status)

    def _listing(self) -> Answer:
        directory = self._directory()
        if not self.lists:
            return self._failed(
                self._html("404 Not Found", pages.no_listing(directory, wsgi_to_str(self.index)))
            )
        refusal, rows = self._rows(self.obj)
        if refusal is not None:
            return self._failed(refusal)
        if not rows and self.obj:
            return self._not_found()
        page = pages.listing(directory, rows)
        return self._html("200 OK", page, ("X-Backend-Content-Generator", "staticweb"))

    def _directory(self) -> pages.Directory:
        label = wsgi_to_str(self.path)
        if self.label:
            label = self.label + label[len(wsgi_to_str(self.root)) :]
        signed = self._signed()
        floor = wsgi_to_str(signed.get("temp_url_prefix", ""))
        return pages.Directory(label, wsgi_to_str(self.obj), self.css, _link_query(signed), floor)

    def _signed(self) -> dict[str, str]:
        """What a signed URL for a prefix said, as WSGI strings, so that links can say it again; nothing for other requests."""
        if self.environ.get("REMOTE_USER") != TEMP_URL_USER:
            return {}
        query = parse_qs(self.environ.get("QUERY_STRING", ""), keep_blank_values=True, encoding="latin-1")
        said = {name: values[0] for name, values in query.items()}
        return said if "temp_url_prefix" in said else {}

    # -- requests of its own -----------------------------------------------------------------------------------------------

    def _sub(self, path: str, method: str, query: str = "") -> dict[str, Any]:
        """An environ in the visitor's name."""
        return make_environ(self.environ, method, path, query=query, agent="%(orig)s StaticWeb", source="SW")

    def _page(self, path: str) -> Answer:
        """The object at a path, as far as the visitor needs it."""
        sub = self._sub(path, self.method)
        for key in _CONDITIONS:
            if key in self.environ:
                sub[key] = self.environ[key]
        return Answer(*call_app(self.app, sub))

    def _rows(self, prefix: str, limit: int | None = None) -> tuple[Answer | None, list[Mapping[str, Any]]]:
        """(None, rows of a directory), or (why there are none, nothing)."""
        query: dict[str, str] = {"format": "json", "delimiter": "/"}
        if limit is not None:
            query["limit"] = str(limit)
        if prefix:
            query["prefix"] = prefix
        answer = Answer(
            *call_app(self.app, self._sub(self.root, "GET", urlencode(query, encoding="latin-1")))
        )
        if answer.status[0] != "2":
            return answer, []
        try:
            rows = orjson.loads(read_whole(answer.body, LARGEST_LISTING) or b"[]")
        except ValueError:
            rows = []
        return None, rows if isinstance(rows, list) else []


def _link_query(signed: Mapping[str, str]) -> str:
    if not signed:
        return ""
    names = ("temp_url_prefix", "temp_url_expires", "temp_url_sig", "temp_url_ip_range")
    said = [f"{name}={quote(signed[name], encoding='latin-1')}" for name in names if name in signed]
    return "&".join([*said, "inline"] if "inline" in signed else said)


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], StaticWeb]:
    conf = {**global_conf, **local_conf}
    capabilities.register("staticweb")

    def factory(app: Any) -> StaticWeb:
        return StaticWeb(app, conf)

    return factory
