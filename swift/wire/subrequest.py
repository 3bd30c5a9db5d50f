"""Requests that the pipeline makes of itself on behalf of a client's request (spec proxy 23.4, middleware 2.5).

What is carried over from the client's environ is a fixed list; everything else must be given. Sending is `swift.wire.call`'s.
"""

import io
from collections.abc import Mapping
from typing import Any

from swift.core.names import wsgi_unquote
from swift.wire.request import Request

PRE_AUTHED_USER = ".wsgi.pre_authed"

_KEPT = (
    "HTTP_USER_AGENT", "HTTP_HOST", "PATH_INFO", "QUERY_STRING", "REMOTE_USER", "REQUEST_METHOD", "SCRIPT_NAME", "SERVER_NAME",
    "SERVER_PORT", "HTTP_ORIGIN", "HTTP_ACCESS_CONTROL_REQUEST_METHOD", "SERVER_PROTOCOL", "swift.cache", "swift.source",
    "swift.trans_id", "swift.trace", "swift.authorize_override", "swift.authorize", "HTTP_X_USER_ID", "HTTP_X_PROJECT_ID", "HTTP_REFERER",
    "swift.infocache", "swift.base_labels", "swift.shard_listing_history",
)  # fmt: skip


def _allow_all(_request: Any) -> None:
    return None


def make_environ(
    environ: Mapping[str, Any],
    method: str | None = None,
    path: str | None = None,
    query: str | None = None,
    agent: str | None = "Swift",
    source: str | None = None,
) -> dict[str, Any]:
    """A new environ without a body; None keeps what the client asked for. `path` is a WSGI string, not quoted: a PATH_INFO, in
    which `?` and `%` are letters like any others; `query` is a query string.

    `agent` may hold `%(orig)s`, the client's agent; None removes the header.
    """
    made: dict[str, Any] = {key: environ[key] for key in _KEPT if key in environ}
    if method is not None:
        made["REQUEST_METHOD"] = method
    if path is not None:
        made["PATH_INFO"] = path
        made["SCRIPT_NAME"] = ""
    made.setdefault("SCRIPT_NAME", "")
    if query is not None:
        made["QUERY_STRING"] = query
    if agent is None:
        made.pop("HTTP_USER_AGENT", None)
    else:
        if "%(orig)s" in agent:
            agent = (agent % {"orig": environ.get("HTTP_USER_AGENT", "")}).strip()
        made["HTTP_USER_AGENT"] = agent
    if source is not None:
        made["swift.source"] = source
    made["wsgi.input"] = io.BytesIO()
    made["wsgi.url_scheme"] = environ.get("wsgi.url_scheme", "http")
    made["wsgi.errors"] = environ.get("wsgi.errors")
    made["wsgi.version"] = (1, 0)
    made["wsgi.multithread"] = made["wsgi.multiprocess"] = made["wsgi.run_once"] = False
    return made


def make_pre_authed_environ(
    environ: Mapping[str, Any], method: str | None = None, path: str | None = None, **options: Any
) -> dict[str, Any]:
    """As make_environ, for a request that no auth middleware shall refuse; `options` as there."""
    made = make_environ(environ, method, path, **options)
    made["swift.authorize"] = _allow_all
    made["swift.authorize_override"] = True
    made["REMOTE_USER"] = PRE_AUTHED_USER
    return made


def make_request(
    environ: Mapping[str, Any],
    method: str | None = None,
    path: str | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    pre_authed: bool = False,
    **options: Any,
) -> Request:
    """A Request on such an environ; `options` as for make_environ.

    `path` is percent-quoted, as it stands in a request line (`wsgi_quote` makes it), so that a name with `?` or `%` in it stays
    one; the query, if there is one, is an option of its own. Raises ValueError for a path with anything that must be quoted.
    """
    if path is not None:
        if "?" in path or "#" in path or not path.isascii() or not path.isprintable() or " " in path:
            raise ValueError(f"not a quoted path: {path[:200]!r}")
        path = wsgi_unquote(path)
    make = make_pre_authed_environ if pre_authed else make_environ
    request = Request(make(environ, method, path, **options))
    if body is not None:
        request.body = body
    if headers:
        request.headers.update(headers)
    return request
