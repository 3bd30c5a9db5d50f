"""Filter `copy`: objects are copied inside, the body going from a read of the one to a write of the other (spec middleware 4.18).

Both are requests like any others: each is authorized on its own, and all that is further right (large objects, links, quotas, versions)
sees them. The write is the client's own request turned into a PUT, so that the answer to it is the answer to the client. Nothing of a body
is collected on the way (`swift.wire.body_input`), and of a source that breaks off nothing is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode

from swift.core.config import positive_float, truthy
from swift.core.constraints import limits
from swift.core.object_lock import LEGAL_HOLD, RETENTION
from swift.middleware.absent_features import AbsentFeatures
from swift.middleware.summary import JSON, TEXT, native, summary_body, summary_type, while_it_lasts
from swift.telemetry.log import get_logger
from swift.wire.body_input import BodyInput
from swift.wire.call import Headers, call_app
from swift.wire.errors import ClientError
from swift.wire.input import NO_BODY
from swift.wire.message import (
    BodyFilter,
    HTTPBadRequest,
    HTTPException,
    HTTPPreconditionFailed,
    HTTPRequestEntityTooLarge,
    HTTPServiceUnavailable,
    Request,
    close_if_possible,
    environ_key,
    parsed_path,
    wsgi_quote,
    wsgi_to_str,
    wsgi_unquote,
)
from swift.wire.subanswer import Subanswer, ask

SOURCE = "SSC"
# In the environ, by filters on the left: headers (environ keys) for the read alone, and for the write alone, where None takes one away.
READ_HEADERS, WRITE_HEADERS = "swift.copy.read_headers", "swift.copy.write_headers"
_ALL = frozenset(("slo", "dlo", "symlink", "encryption", "customer_keys"))
StartResponse = Callable[..., Any]
Answer = tuple[str, Headers, Iterable[bytes]]

# Of the client's environ what a read of the source must not have: its body, what is told of its end, and what only the write is to say.
_NOT_FOR_THE_READ = (
    "CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_DESTINATION", "HTTP_DESTINATION_ACCOUNT", "HTTP_ETAG", "HTTP_EXPECT", "HTTP_ORIGIN",
    "HTTP_TRANSFER_ENCODING", "HTTP_X_BACKEND_STORAGE_POLICY_INDEX", "HTTP_X_COPY_FROM", "HTTP_X_COPY_FROM_ACCOUNT",
    "HTTP_X_TIMESTAMP", "swift.log_info", "swift.orig_req_method", "swift.proxy_access_log_made",
)  # fmt: skip
# And what the write must not have: the range was the source's.
_NOT_FOR_THE_WRITE = (
    "HTTP_DESTINATION", "HTTP_DESTINATION_ACCOUNT", "HTTP_EXPECT", "HTTP_RANGE", "HTTP_TRANSFER_ENCODING", "HTTP_X_COPY_FROM",
    "HTTP_X_COPY_FROM_ACCOUNT", "swift.backend_path",
)  # fmt: skip
# Of the source's headers those that are of the answer, or that are dealt with one by one.
_NOT_COPIED = frozenset(
    (
        "accept-ranges", "connection", "content-length", "content-location", "content-range", "content-type", "date", "etag",
        "keep-alive", "last-modified", "server", "transfer-encoding", "vary", "x-object-manifest", "x-openstack-request-id",
        "x-static-large-object", "x-timestamp", "x-trans-id",
        # Of the link to a version: only who keeps versions may say this of a link.
        "x-object-sysmeta-allow-reserved-names", "x-object-sysmeta-symloop-extend", "x-object-sysmeta-versions-symlink",
        # A lock is the source's: with it anybody who may write somewhere could leave there what nobody can remove.
        RETENTION.lower(), LEGAL_HOLD.lower(),
    )
)  # fmt: skip
_SYSMETA = "x-object-sysmeta-"
_SLO_SYSMETA = "x-object-sysmeta-slo-"
_OVERRIDES = "HTTP_X_OBJECT_SYSMETA_CONTAINER_UPDATE_OVERRIDE_"
# What the answer tells of the new object's headers; user metadata last, whose names may be outside ASCII.
_TOLD = (
    "HTTP_X_OBJECT_SYSMETA_",
    "HTTP_X_OBJECT_TRANSIENT_SYSMETA_",
    "HTTP_X_DELETE_AT",
    "HTTP_X_OBJECT_META_",
)


class CopyFilter:
    def __init__(self, app: Any, conf: dict[str, Any], logger: Any = None) -> None:
        self.app = app
        self.logger = logger or get_logger(conf, "proxy-server", log_route="copy")
        self.yield_frequency = positive_float(conf.get("yield_frequency", 10))
        self._absent: AbsentFeatures | None = None

    @property
    def absent(self) -> AbsentFeatures:
        """What this pipeline could not read as what it is."""
        if self._absent is None:
            self._absent = AbsentFeatures(getattr(self, "_pipeline_names", None) or _ALL)
        return self._absent

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method == "PUT":
            if "HTTP_X_COPY_FROM" not in environ:
                return self.app(environ, start_response)
        elif method != "COPY" and method != "OPTIONS":
            return self.app(environ, start_response)
        if parsed_path(environ)[3] is None:
            return self.app(environ, start_response)
        if method == "OPTIONS":
            return self.app(environ, _offering_copy(start_response))
        if method == "PUT" and not environ["HTTP_X_COPY_FROM"]:
            del environ["HTTP_X_COPY_FROM"]
            return self.app(environ, start_response)
        try:
            source, destination = _from_put(environ) if method == "PUT" else _from_copy(environ)
            status, headers, body = Copy(self, environ, source, destination).run()
        except HTTPException as refusal:
            return refusal(environ, start_response)
        start_response(status, headers)
        return body


class Copy:
    """One copy. `source` and `destination`: (account, container, object), WSGI strings."""

    def __init__(
        self,
        parent: CopyFilter,
        environ: dict[str, Any],
        source: tuple[str, str, str],
        destination: tuple[str, str, str],
    ) -> None:
        self.app = parent.app
        self.absent = parent.absent
        self.logger = parent.logger
        self.yield_frequency = parent.yield_frequency
        self.environ = environ
        self.source = source
        self.destination = destination
        self.version = parsed_path(environ)[0]
        query = environ.get("QUERY_STRING", "")
        pairs = parse_qsl(query, keep_blank_values=True, encoding="latin-1") if query else []
        self.params = dict(pairs)
        self.wants_manifest = self.params.get("multipart-manifest") == "get"

    def run(self) -> Answer:
        """The answer to the client."""
        read = self._read_environ()
        found = ask(self.app, read)
        try:
            if found.status >= 300:
                return found.status_line, found.headers, _passed_on(found)
            unreadable = self.absent.unreadable(read, found.status_line, found.headers)
            if unreadable is not None:
                raise unreadable
            self._check(found)
            self._make_write(found)
        except BaseException:
            found.close()
            raise
        source = Source(found)
        self.environ["wsgi.input"] = source.input
        if truthy(self.params.get("heartbeat")):
            return self._told_at_length(source)
        answer = self._written(source)
        if answer[0][:1] == "2":
            answer = (answer[0], answer[1] + self._told(found), answer[2])
        return answer

    # -- the read ----------------------------------------------------------------------------------------------------------

    def _read_environ(self) -> dict[str, Any]:
        """The client's request as a read of the source."""
        read = {**self.environ}
        for key in _NOT_FOR_THE_READ:
            read.pop(key, None)
        read["REQUEST_METHOD"] = "GET"
        read["PATH_INFO"] = f"/{self.version}/{'/'.join(self.source)}"
        read["SCRIPT_NAME"] = ""
        read["HTTP_X_NEWEST"] = "true"
        read["swift.source"] = SOURCE
        read["wsgi.input"] = NO_BODY
        read.update(self.environ.get(READ_HEADERS) or {})
        if self.wants_manifest:
            read["QUERY_STRING"] = urlencode({**self.params, "format": "raw"}, encoding="latin-1")
        return read

    def _check(self, found: Subanswer) -> None:
        """Raises HTTPException for a source that cannot be stored."""
        length = found.content_length
        if length is None or length > limits().max_file_size:
            raise HTTPRequestEntityTooLarge(request=Request(self.environ))
        if found.status == 206 and (found.get("content-type") or "").startswith("multipart/byteranges"):
            # With its boundaries between them the ranges would be no part of the object.
            text = b"Only one range of an object can be copied.\n"
            raise HTTPBadRequest(request=Request(self.environ), body=text, content_type="text/plain")

    # -- the write ---------------------------------------------------------------------------------------------------------

    def _make_write(self, found: Subanswer) -> None:
        """Turn the client's request into the write of the destination: the source's headers below its own."""
        environ = self.environ
        is_large = truthy(found.get("x-static-large-object"))
        manifest = found.get("x-object-manifest")
        is_dynamic = manifest is not None
        is_fresh = truthy(environ.get("HTTP_X_FRESH_METADATA"))
        for key in _NOT_FOR_THE_WRITE:
            environ.pop(key, None)
        for name, value in found.headers:
            lower = name.lower()
            if lower.startswith("x-backend-") or lower in _NOT_COPIED:
                continue
            if is_fresh and not lower.startswith(_SYSMETA):
                continue
            if is_large and not self.wants_manifest and lower.startswith(_SLO_SYSMETA):
                continue  # it is a plain object from now on
            environ.setdefault(environ_key(name), value)
        if self.wants_manifest and is_dynamic:
            environ.setdefault("HTTP_X_OBJECT_MANIFEST", manifest)
        content_type, etag = found.get("content-type"), found.get("etag")
        if not environ.get("CONTENT_TYPE") and content_type is not None:
            environ["CONTENT_TYPE"] = content_type
        is_the_same = found.status == 200 and not is_large and (self.wants_manifest or not is_dynamic)
        if is_the_same and etag is not None:
            environ["HTTP_ETAG"] = etag
        else:
            for key in [key for key in environ if key.startswith(_OVERRIDES)]:
                del environ[key]
        for key, given in (environ.get(WRITE_HEADERS) or {}).items():
            environ.pop(key, None)
            if given is not None:
                environ[key] = given
        environ["CONTENT_LENGTH"] = str(found.content_length)
        environ.setdefault("swift.orig_req_method", environ["REQUEST_METHOD"])
        environ["REQUEST_METHOD"] = "PUT"
        environ["PATH_INFO"] = f"/{self.version}/{'/'.join(self.destination)}"
        environ["SCRIPT_NAME"] = ""
        environ["swift.source"] = SOURCE
        self._make_query(is_large)

    def _make_query(self, is_large: bool) -> None:
        """The query without what was about the source, or about the answer."""
        params = dict(self.params)
        for name in ("version-id", "heartbeat"):
            params.pop(name, None)
        if self.wants_manifest:
            del params["multipart-manifest"]
            if is_large:
                params["multipart-manifest"] = "put"
        if params != self.params:
            self.environ["QUERY_STRING"] = urlencode(params, encoding="latin-1")

    def _written(self, source: Source) -> Answer:
        """The answer to the write; the source is let go of with its body."""
        try:
            status, headers, body = call_app(self.app, self.environ)
        except ClientError:
            if source.input.broken is None:
                source.end()
                raise
            return self._broke_off(source)
        except BaseException:
            source.end()
            raise
        if source.input.broken is not None and status[:1] in "45":
            close_if_possible(body)
            return self._broke_off(source)
        if isinstance(body, list | tuple):
            source.end()
            return status, headers, body
        return status, headers, _Both(body, source.end)

    def _broke_off(self, source: Source) -> Answer:
        """The client has sent no body, so it is not the one that broke off."""
        error = source.input.broken
        source.end(error)
        path = "/".join(map(wsgi_to_str, self.source))
        self.logger.error("Copying %s: the source broke off: %s", path, error)
        text = b"The source of the copy broke off; nothing was stored.\n"
        request = Request(self.environ)
        refusal = HTTPServiceUnavailable(request=request, body=text, content_type="text/plain")
        return call_app(refusal, self.environ)

    # -- the answer --------------------------------------------------------------------------------------------------------

    def _told(self, found: Subanswer) -> Headers:
        """What the answer says beside that of the write."""
        told = [
            ("X-Copied-From-Account", wsgi_quote(self.source[0])),
            ("X-Copied-From", wsgi_quote("/".join(self.source[1:]))),
        ]
        for name in ("Last-Modified", "Version-Id"):
            value = found.get("last-modified" if name == "Last-Modified" else "x-object-version-id")
            if value is not None:
                told.append((f"X-Copied-From-{name}", value))
        request_headers = Request(self.environ).headers
        names = [(environ_key(name), name) for name in request_headers]
        for prefix in _TOLD:
            told += [(name, self.environ[key]) for key, name in names if key.startswith(prefix)]
        return told

    def _told_at_length(self, source: Source) -> Answer:
        """202, and how it went when it is over."""
        media_type = summary_type(self.environ.get("HTTP_ACCEPT"), (TEXT, JSON))
        self.environ["eventlet.minimum_write_chunk_size"] = 0

        def work() -> bytes:
            try:
                status, headers, body = self._written(source)
            except HTTPException as refusal:
                status, headers, body = call_app(refusal, self.environ)
            except Exception:
                self.logger.exception("Copying failed")
                status, headers, body = "500 Internal Error", [], []
            try:
                text = b"".join(body).decode("utf-8", "replace")
            finally:
                close_if_possible(body)
            fields = {
                "Response Status": status,
                "Response Body": text,
                **native(dict(self._told(source.answer))),
            }
            for name, value in native(dict(headers)).items():
                if not name.lower().startswith((_SYSMETA, "x-backend-")):
                    fields[name] = value
            fields = {name: value for name, value in fields.items() if not name.lower().startswith(_SYSMETA)}
            path = "/".join(map(wsgi_to_str, self.source[1:]))
            errors = [] if status[:1] == "2" else [(path, status)]
            return summary_body(media_type, fields, errors, "copy")

        headers = [("Content-Type", media_type)]
        return "202 Accepted", headers, while_it_lasts(work, self.yield_frequency)


class Source:
    """The object that is read: its answer, and its body as the `input` of another request."""

    def __init__(self, answer: Subanswer) -> None:
        self.answer = answer
        self.input = BodyInput(answer.body, answer.content_length)

    def end(self, error: BaseException | None = None) -> None:
        """Let go of it. Calling it again does nothing."""
        self.answer.sent = self.input.received
        self.answer.close(error)  # with the body, which is the input's, too


def _passed_on(answer: Subanswer) -> Iterable[bytes]:
    """The body of an answer that goes to the client as it is."""
    body = answer.body
    if isinstance(body, list | tuple):
        answer.sent = sum(map(len, body))
        answer.close()
        return body
    return _Both(body, answer.close)


class _Both(BodyFilter):
    """A body with whose end the read from inside ends, too."""

    def __init__(self, body: Iterable[bytes], end: Callable[[], None]) -> None:
        super().__init__(body)
        self._end = end

    def ended(self) -> None:
        self._end()


# -- what is asked for -----------------------------------------------------------------------------------------------------


def _from_put(environ: dict[str, Any]) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    """(source, destination) of a PUT with X-Copy-From. Raises HTTPException."""
    _, account, container, obj = parsed_path(environ)
    if environ.get("CONTENT_LENGTH") not in (None, "", "0") or (
        "HTTP_TRANSFER_ENCODING" in environ and environ["wsgi.input"].read(1)
    ):
        text = b"Copy requests require a zero byte body"
        raise HTTPBadRequest(request=Request(environ), body=text, content_type="text/plain")
    source_account = account
    if environ.get("HTTP_X_COPY_FROM_ACCOUNT"):
        source_account = _account(environ, "HTTP_X_COPY_FROM_ACCOUNT")
    source = (source_account, *_container_and_object(environ, "X-Copy-From"))
    return source, (account, container, obj)  # type: ignore[return-value]


def _from_copy(environ: dict[str, Any]) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    """(source, destination) of a COPY. Raises HTTPException."""
    _, account, container, obj = parsed_path(environ)
    if not environ.get("HTTP_DESTINATION"):
        raise HTTPPreconditionFailed(request=Request(environ), body=b"Destination header required")
    to_account = account
    if "HTTP_DESTINATION_ACCOUNT" in environ:
        to_account = _account(environ, "HTTP_DESTINATION_ACCOUNT")
    destination = (to_account, *_container_and_object(environ, "Destination"))
    return (account, container, obj), destination  # type: ignore[return-value]


def _account(environ: dict[str, Any], key: str) -> str:
    name = wsgi_unquote(environ[key])
    if not name or "/" in name:
        text = "Account name cannot contain slashes" if name else "Account name cannot be empty"
        raise HTTPPreconditionFailed(request=Request(environ), body=text)
    return name


def _container_and_object(environ: dict[str, Any], header: str) -> tuple[str, str]:
    path = wsgi_unquote(environ[environ_key(header)]).removeprefix("/")
    container, _, obj = path.partition("/")
    if not container or not obj:
        text = f"{header} header must be of the form <container name>/<object name>"
        raise HTTPPreconditionFailed(request=Request(environ), body=text)
    return container, obj


def _offering_copy(start_response: StartResponse) -> StartResponse:
    """Answers to OPTIONS that name COPY among the methods."""

    def respond(status: str, headers: Headers, exc_info: Any = None) -> Any:
        if status[0] == "2":
            headers = [
                (
                    name,
                    f"{value}, COPY" if name.lower() in ("allow", "access-control-allow-methods") else value,
                )
                for name, value in headers
            ]
        if exc_info is None:
            return start_response(status, headers)
        return start_response(status, headers, exc_info)

    return respond


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], CopyFilter]:
    conf = {**global_conf, **local_conf}

    def factory(app: Any) -> CopyFilter:
        return CopyFilter(app, conf)

    return factory
