"""The filter itself: which requests are about links, and what becomes of them. A request about none costs a look at a few names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from swift.core import capabilities
from swift.core.errors import RequestError
from swift.middleware.listing_hash import LARGEST, changed_listing
from swift.middleware.symlink.links import (
    ETAG,
    MARKS,
    TARGET,
    TYPE,
    Link,
    keep,
    link_of,
    link_wanted,
    show_row,
    shown,
)
from swift.middleware.symlink.walk import Walk, own_account
from swift.wire.call import Headers, call_app, first_chunk_taken
from swift.wire.input import NO_BODY
from swift.wire.message import (
    HTTPBadRequest,
    HTTPConflict,
    HTTPException,
    HTTPTemporaryRedirect,
    Request,
    close_if_possible,
    environ_key,
    parsed_path,
    status_map,
    wsgi_quote,
    wsgi_unquote,
)
from swift.wire.subanswer import Subanswer

DEFAULT_MOST = 2
StartResponse = Callable[..., Any]
Body = Iterable[bytes]
_TARGET_KEY = environ_key(TARGET)
_IGNORE_RANGE = "HTTP_X_BACKEND_IGNORE_RANGE_IF_METADATA_PRESENT"
_LINKS_ARE_EMPTY = "x-object-sysmeta-symlink-target"  # a range of one would be 416
_POSTED = (
    "The requested POST was applied to a symlink. POST directly to the target to apply requested metadata."
)
# What of a PUT a look at the target of a new link must not have.
_NOT_FOR_THE_LOOK = (
    "CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_ETAG", "HTTP_EXPECT", "HTTP_IF_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_NONE_MATCH",
    "HTTP_IF_UNMODIFIED_SINCE", "HTTP_ORIGIN", "HTTP_RANGE", "HTTP_TRANSFER_ENCODING", "HTTP_X_TIMESTAMP",
    "HTTP_X_BACKEND_STORAGE_POLICY_INDEX", "swift.callback.update_footers",
)  # fmt: skip


class SymlinkFilter:
    """`most`: links that may follow each other."""

    def __init__(self, app: Any, most: int) -> None:
        self.app = app
        self.most = most

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Body:
        method = environ["REQUEST_METHOD"]
        _, _, container, obj = parsed_path(environ)
        if obj is None:
            if method == "GET" and container is not None:
                return self._listing(environ, start_response)
            return self.app(environ, start_response)
        if method == "GET" or method == "HEAD":
            query = environ.get("QUERY_STRING")
            if query and "symlink" in query and _wants_link(query):
                return self.app(environ, _showing_links(start_response))
            return self._read(environ, start_response)
        if method == "PUT":
            if _TARGET_KEY in environ:
                return self._put(environ, start_response)
        elif method == "POST":
            return self._post(environ, start_response)
        return self.app(environ, start_response)

    # -- reads -------------------------------------------------------------------------------------------------------------

    def _read(self, environ: dict[str, Any], start_response: StartResponse) -> Body:
        """The object, or the one that it leads to."""
        if "HTTP_RANGE" in environ:
            others = environ.get(_IGNORE_RANGE)
            environ[_IGNORE_RANGE] = f"{others}, {_LINKS_ARE_EMPTY}" if others else _LINKS_ARE_EMPTY
        body, headers = self._passed_unless_link(environ, start_response)
        if headers is None:
            return body
        link = link_of(headers)
        assert link is not None
        try:
            found = Walk(self.app, environ, self.most).follow(link, own_account(environ))
        except HTTPConflict as conflict:
            return conflict(environ, start_response)
        # In front of the others: user metadata goes last (see swift.proxy.exchange.split_headers).
        answer = found.answer
        start_response(answer.status_line, [("Content-Location", found.location), *answer.headers])
        return answer.given_to(environ)

    def _passed_unless_link(
        self, environ: dict[str, Any], start_response: StartResponse, only: str = ""
    ) -> tuple[Body, Headers | None]:
        """(body, None) of an answer that went on, (empty, its headers) of one that is a link's and did not.

        `only`: what the status of those that are held back begins with.
        """
        links: list[Headers] = []
        started = False

        def respond(status: str, headers: Headers, exc_info: Any = None) -> Any:
            nonlocal started
            started = True
            for pair in headers:
                if pair[0] in MARKS and status.startswith(only):
                    links.append(headers)
                    return _no_write
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        body = self.app(environ, respond)
        if not started:
            body = first_chunk_taken(body)
        if not links:
            return body, None
        close_if_possible(body)
        return [], links[0]

    # -- links -------------------------------------------------------------------------------------------------------------

    def _put(self, environ: dict[str, Any], start_response: StartResponse) -> Body:
        """Make a link of what is put."""
        try:
            _require_no_body(environ)
            request = Request(environ)
            link = link_wanted(environ, environ["PATH_INFO"], request.allow_reserved_names)
            slo_etag = None
            if link.etag is not None and not environ.get("swift.symlink_override"):
                found = self._look(environ, link)
                link = link._replace(
                    bytes=found.get("x-object-sysmeta-slo-size") or found.get("content-length")
                )
                slo_etag = found.get("x-object-sysmeta-slo-etag")
                if not environ.get("CONTENT_TYPE"):
                    environ["CONTENT_TYPE"] = found.get("content-type") or TYPE
        except HTTPException as refusal:
            return refusal(environ, start_response)
        except RequestError as error:
            page = status_map[error.status](request=Request(environ), body=error.body)
            if error.status == 400 or wsgi_unquote(environ[_TARGET_KEY])[:1] == "/":
                page.content_type = "text/plain"
            return page(environ, start_response)
        if not environ.get("CONTENT_TYPE"):
            environ["CONTENT_TYPE"] = TYPE
        keep(environ, link, slo_etag)
        return self.app(environ, start_response)

    def _look(self, environ: dict[str, Any], link: Link) -> Subanswer:
        """What a static link that is to be made leads to, as the client may see it. Raises HTTPException.

        A dynamic link there is the target itself; a static one is not, and what is at its end must be as both say.
        """
        look = {**environ, "REQUEST_METHOD": "HEAD", "QUERY_STRING": "", "wsgi.input": NO_BODY}
        for key in list(look):
            if key in _NOT_FOR_THE_LOOK or key.startswith(_TARGET_KEY):
                del look[key]
        walk = Walk(self.app, look, self.most)
        account = own_account(environ)
        found = walk.step(None, link.path(walk.version, account))
        found.answer.close()
        after = link_of(found.answer.headers)
        if after is not None and after.etag is not None:
            walk.check_link(link, after, found)
            found = walk.follow(after, link.account or account)
            found.answer.close()
        status = found.answer.status
        if status == 404:
            text = f"{TARGET} does not exist"
            where = {"Content-Location": found.location}
            raise HTTPConflict(request=Request(environ), body=text, content_type="text/plain", headers=where)
        if status // 100 != 2:
            raise status_map[status](request=Request(environ))
        if (after is None or after.etag is None) and found.answer.etag != link.etag:
            raise walk.mismatch(link, found)
        return found.answer

    def _post(self, environ: dict[str, Any], start_response: StartResponse) -> Body:
        """New metadata; a link gets it, too, and the client is told where it leads."""
        if _TARGET_KEY in environ:
            text = "A PUT request is required to set a symlink target"
            refusal = HTTPBadRequest(request=Request(environ), body=text, content_type="text/plain")
            return refusal(environ, start_response)
        body, headers = self._passed_unless_link(environ, start_response, only="2")
        link = None if headers is None else link_of(headers)
        if link is None:
            return body
        environ["swift.leave_relative_location"] = True
        there = {"Location": link.path(parsed_path(environ)[0] or "", own_account(environ))}
        if link.etag is not None:
            there[ETAG] = link.etag
        redirect = HTTPTemporaryRedirect(request=Request(environ), body=_POSTED, headers=there)
        return redirect(environ, start_response)

    # -- listings ----------------------------------------------------------------------------------------------------------

    def _listing(self, environ: dict[str, Any], start_response: StartResponse) -> Body:
        """A container's listing, in which a link's row says where it leads."""
        status, headers, body = call_app(self.app, environ)
        length = _json_length(headers) if status[:3] == "200" else None
        if length is None or length > LARGEST:
            start_response(status, headers)
            return body
        try:
            data = body[0] if isinstance(body, list) and len(body) == 1 else b"".join(body)
        finally:
            close_if_possible(body)
        version, account = parsed_path(environ)[:2]
        quoted = wsgi_quote(account or "")
        changed = changed_listing(data, b"symlink_target=", lambda row: show_row(row, version or "", quoted))
        if changed is not data:
            size = str(len(changed))
            headers = [(n, size if n.lower() == "content-length" else value) for n, value in headers]
        start_response(status, headers)
        return [changed]


def _wants_link(query: str) -> bool:
    return dict(parse_qsl(query, encoding="latin-1")).get("symlink") == "get"


def _showing_links(start_response: StartResponse) -> StartResponse:
    def respond(status: str, headers: Headers, exc_info: Any = None) -> Any:
        if exc_info is None:
            return start_response(status, shown(headers))
        return start_response(status, shown(headers), exc_info)

    return respond


def _require_no_body(environ: dict[str, Any]) -> None:
    """Raises HTTPBadRequest for a link with bytes of its own."""
    length = environ.get("CONTENT_LENGTH")
    if "HTTP_TRANSFER_ENCODING" in environ:
        if not environ["wsgi.input"].read(1):
            del environ["HTTP_TRANSFER_ENCODING"]
            environ["CONTENT_LENGTH"] = "0"
            environ["wsgi.input"] = NO_BODY
            return
    elif length in (None, "", "0"):
        return
    text = "Symlink requests require a zero byte body"
    raise HTTPBadRequest(request=Request(environ), body=text, content_type="text/plain")


def _json_length(headers: Headers) -> int | None:
    """The announced length of a JSON body; None for any other."""
    found = {name.lower(): value for name, value in headers}
    length = found.get("content-length", "")
    is_json = found.get("content-type", "").partition(";")[0].strip() == "application/json"
    return int(length) if is_json and length.isdigit() else None


def _no_write(_data: bytes) -> None:
    """For what an application would write beside its body."""


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], SymlinkFilter]:
    conf = {**global_conf, **local_conf}
    most = int(conf.get("symloop_max", DEFAULT_MOST))
    if most < 1:
        most = DEFAULT_MOST
    capabilities.register("symlink", symloop_max=most, static_links=True)

    def factory(app: Any) -> SymlinkFilter:
        return SymlinkFilter(app, most)

    return factory
