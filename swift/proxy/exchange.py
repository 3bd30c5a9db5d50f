"""One client request on its way through the proxy: what the steps before the handler found out, for the handler.

Also how backend answers become the client's. Nothing here talks to a backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from swift.core.config import truthy
from swift.core.errors import RequestError
from swift.core.policy import StoragePolicy
from swift.core.remembered import Remembered
from swift.middleware.info import Info
from swift.proxy.quorum import Answer
from swift.wire.message import (
    HTTPServiceUnavailable,
    Request,
    Response,
    status_line,
    status_map,
    wsgi_to_str,
)

StartResponse = Callable[..., Any]
Body = Iterable[bytes]
Headers = list[tuple[str, str]]

_COPY, _DROP, _ETAG, _TYPE, _LENGTH, _METADATA = range(6)
# What becomes of a backend's header, by its name as received; names that are not here yet are looked up in lower case.
_LOWER_FATES = {
    "date": _DROP,
    "connection": _DROP,
    "keep-alive": _DROP,
    "transfer-encoding": _DROP,
    "x-put-timestamp": _DROP,
    "x-delete-after": _DROP,
    "server": _DROP,
    "accept-ranges": _DROP,
    "etag": _ETAG,
    "content-type": _TYPE,
    "content-length": _LENGTH,
}
_METADATA_NAMES = ("x-object-meta-", "x-container-meta-", "x-account-meta-")
_MAX_FATES = 4096
_fates: Remembered[str, int] = Remembered(_MAX_FATES)


def _fate(name: str) -> int:
    lower = name.lower()
    fate = _METADATA if lower.startswith(_METADATA_NAMES) else _LOWER_FATES.get(lower, _COPY)
    return _fates.keep(name, fate)


def split_headers(
    headers: Iterable[tuple[str, str]],
) -> tuple[Headers, Headers, str | None, str | None]:
    """(headers that go on to the client, user metadata, Content-Type, Content-Length) of a backend's answer (spec 1.4).

    The ETag loses its quotes. `X-Backend-*` and system metadata stay: the gatekeeper takes them out on the front side. User metadata
    is to stand behind all other headers: its names may be outside ASCII, and Python's http.client reads nothing after such a name.
    """
    kept: Headers = []
    metadata: Headers = []
    content_type = content_length = None
    for pair in headers:
        name = pair[0]
        fate = _fates.get(name)
        if fate is None:
            fate = _fate(name)
        if fate == _COPY:
            kept.append(pair)
        elif fate == _METADATA:
            metadata.append(pair)
        elif fate == _TYPE:
            content_type = pair[1]
        elif fate == _LENGTH:
            content_length = pair[1]
        elif fate == _ETAG:
            kept.append(("Etag", pair[1].replace('"', "")))
    return kept, metadata, content_type, content_length


class Exchange:
    """A request after routing. `account`, `container`, `obj`: WSGI strings; `policy`: of objects only."""

    __slots__ = ("_request", "account", "container", "container_info", "environ", "method", "obj", "policy")

    def __init__(
        self,
        environ: dict[str, Any],
        method: str,
        account: str,
        container: str | None = None,
        obj: str | None = None,
    ) -> None:
        self.environ = environ
        self.method = method
        self.account = account
        self.container = container
        self.obj = obj
        self.container_info: Info | None = None
        self.policy: StoragePolicy | None = None
        self._request: Request | None = None

    @property
    def request(self) -> Request:
        request = self._request
        if request is None:
            request = self._request = Request(self.environ)
        return request

    @property
    def use_replication(self) -> bool:
        """Nodes are asked by their addresses for replication."""
        environ = self.environ
        key = "HTTP_X_BACKEND_USE_REPLICATION_NETWORK"
        return key in environ and truthy(environ[key])

    @property
    def native_names(self) -> tuple[str, ...]:
        """The names that are there, as native strings."""
        names = (self.account, self.container, self.obj)
        return tuple(wsgi_to_str(name) for name in names if name is not None)

    def denied(self, acl: str | None) -> Response | None:
        """Ask the auth middleware once more, now that the ACL is known: its answer if it refuses, else None."""
        environ = self.environ
        authorize = environ.get("swift.authorize")
        if authorize is None:
            return None
        environ["swob.ACL"] = acl
        return authorize(self.request)

    def checked(self, check: Callable[..., Any], *arguments: Any, html: bool = False) -> Any:
        """`check(*arguments)`; a RequestError that it raises becomes the client's answer, as plain text unless `html`."""
        try:
            return check(*arguments)
        except RequestError as error:
            raise as_response(error, self.request, html) from None


def as_response(error: RequestError, request: Request | None, html: bool = False) -> Any:
    """The HTTPException of a RequestError."""
    if not error.body:
        return status_map[error.status](request=request)
    if html:
        return status_map[error.status](request=request, body=error.body)
    return status_map[error.status](request=request, body=error.body, content_type="text/plain")


def respond(
    exchange: Exchange,
    start_response: StartResponse,
    answer: Answer | None,
    extra: Sequence[tuple[str, str]] = (),
) -> Body:
    """Answer the client as a backend answered. Raises HTTPServiceUnavailable for None.

    The body is the backend's, if it sent none then none. `extra` replaces headers of the same (title-cased) names.
    """
    if answer is None:
        raise HTTPServiceUnavailable(request=exchange.request, headers=dict(extra))
    status = answer.status
    headers, metadata, _, _ = split_headers(answer.headers)
    if extra:
        replaced = {name for name, _ in extra}
        headers = [pair for pair in headers if pair[0] not in replaced]
        headers.extend(extra)
    if status in (304, 416) and exchange.obj is not None:
        headers.append(("Accept-Ranges", "bytes"))
    body = answer.body
    headers.append(("Content-Type", "text/html; charset=UTF-8"))
    headers.append(("Content-Length", str(len(body))))
    headers += metadata
    start_response(status_line(status), headers)
    return [] if exchange.method == "HEAD" or not body else [body]
