"""The filter: which requests concern static large objects, and who deals with them."""

from __future__ import annotations

import io
import mimetypes
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

from swift.core import capabilities
from swift.core.config import truthy
from swift.core.errors import EntityTooLarge
from swift.core.hashing import md5
from swift.middleware import locked_objects
from swift.middleware.info import get_container_info
from swift.middleware.listing_hash import LARGEST
from swift.middleware.parallel import in_parallel
from swift.middleware.segments.answer import ETAG_IS_AT, IGNORE_RANGE, Held, appended, held_if_marked
from swift.middleware.segments.source import MANIFEST
from swift.middleware.slo import listing, upload
from swift.middleware.slo.deleting import MANIFEST_FIRST, Deletion
from swift.middleware.slo.manifest import ETAG, MARK, SIZE
from swift.middleware.slo.reading import HeldBody, Reading
from swift.middleware.slo.request import denied_write, own_request, parse_options
from swift.middleware.summary import summary_body, summary_type, while_it_lasts
from swift.telemetry.log import get_logger
from swift.wire.call import Headers, StartResponse, call_app, first_chunk_taken
from swift.wire.errors import ResponseBroken
from swift.wire.message import (
    HTTPBadRequest,
    HTTPException,
    HTTPLengthRequired,
    HTTPMethodNotAllowed,
    HTTPRequestEntityTooLarge,
    HTTPServiceUnavailable,
    HTTPUnprocessableEntity,
    Request,
    Response,
    close_if_possible,
    normalize_etag,
    parsed_path,
    status_line,
    wsgi_to_str,
)
from swift.wire.subanswer import ask

_OVERRIDE = "HTTP_X_OBJECT_SYSMETA_CONTAINER_UPDATE_OVERRIDE_ETAG"
_MARK_KEY = "HTTP_X_STATIC_LARGE_OBJECT"
_ETAG_NAME = ETAG.lower()
_RESERVED = "X-Static-Large-Object is a reserved header. To create a static large object add query param multipart-manifest=put."
_DEFAULT_TYPE = "application/octet-stream"


class SloFilter:
    """Raises ConfigError."""

    def __init__(self, app: Any, conf: dict[str, Any], logger: Any = None) -> None:
        self.app = app
        self.options = parse_options(conf)
        self.logger = logger or get_logger(conf, "proxy-server", log_route="slo")

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        _, account, container, obj = parsed_path(environ)
        method = environ["REQUEST_METHOD"]
        if obj is None:
            if container is None or method != "GET" or "swift.slo_override" in environ:
                return self.app(environ, start_response)
            return self._list(environ, start_response)
        if "swift.slo_override" in environ:
            return self.app(environ, start_response)
        if method == "GET" or method == "HEAD":
            return self._read(environ, start_response)
        try:
            query = environ.get("QUERY_STRING")
            if query and "multipart-manifest" in query:
                wanted = Request(environ).params.get("multipart-manifest")
                if method == "PUT" and wanted == "put":
                    return self._put(environ, start_response)
                if method == "DELETE" and wanted == "delete":
                    return self._delete(environ, start_response)
            if _MARK_KEY in environ:
                raise HTTPBadRequest(request=Request(environ), body=_RESERVED)
        except HTTPException as refusal:
            return refusal(environ, start_response)
        return self.app(environ, start_response)

    # -- reads -------------------------------------------------------------------------------------------------------------

    def _read(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING", "")
        path = environ["PATH_INFO"]
        if not query or "multipart-manifest" not in query or not _wants_manifest(query):
            if "HTTP_RANGE" in environ:
                appended(environ, IGNORE_RANGE, MARK)
            if "HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MATCH" in environ or "HTTP_IF_RANGE" in environ:
                appended(environ, ETAG_IS_AT, _ETAG_NAME)
        elif "HTTP_RANGE" in environ and "raw" in query:
            appended(environ, IGNORE_RANGE, MARK)
        held = held_if_marked(self.app, environ, start_response, MARK)
        if not isinstance(held, Held):
            return held
        if not truthy(held.headers.get(MARK)):
            start_response(status_line(held.status), held.headers.pairs())
            return held.body  # type: ignore[no-any-return]
        held = held._replace(body=HeldBody(held.body))
        reading = Reading(self.app, self.options, self.logger, environ, path, query)
        try:
            status, headers, body = reading.answer(held)
        except HTTPException as refusal:
            return refusal(environ, start_response)
        start_response(status, headers)
        return body

    def _list(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        held: list[Any] = []
        started = False

        def respond(status: str, headers: Headers, exc_info: Any = None) -> Any:
            nonlocal started
            started = True
            if exc_info is not None:
                held.clear()
                return start_response(status, headers, exc_info)
            if status[:3] == "200" and _is_json(headers):
                held[:] = status, headers
                return None
            return start_response(status, headers)

        body = self.app(environ, respond)
        if not started:
            body = first_chunk_taken(body)
        if not held:
            return body
        status, headers = held
        try:
            before = b"".join(body)
        except ResponseBroken as error:
            self.logger.error("%s: %s", wsgi_to_str(environ["PATH_INFO"]), error)
            return HTTPServiceUnavailable(request=Request(environ))(environ, start_response)
        finally:
            close_if_possible(body)
        data = listing.shown(before)
        if data is not before:
            headers = [pair for pair in headers if pair[0].lower() != "content-length"]
            headers.append(("Content-Length", str(len(data))))
        start_response(status, headers)
        return [data]

    # -- PUT ---------------------------------------------------------------------------------------------------------------

    def _put(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Raises HTTPException."""
        request = Request(environ)
        if "HTTP_X_COPY_FROM" in environ:
            text = "Multipart Manifest PUTs cannot be COPY requests"
            raise HTTPMethodNotAllowed(request=request, body=text)
        # Before a thousand segments are looked at for somebody who may not store a manifest anyway.
        denial: Response | None = denied_write(self.app, environ, environ["PATH_INFO"])
        if denial is not None:
            return denial(environ, start_response)
        known = environ.pop(upload.KNOWN, None) or self._given(request)
        media_type = summary_type(environ.get("HTTP_ACCEPT"))
        if truthy(request.params.get("heartbeat")):
            parts = while_it_lasts(
                lambda: b"\r\n\r\n" + self._stored_summary(request, known, media_type),
                self.options.yield_frequency,
            )
            start_response("202 Accepted", [("Content-Type", media_type)])
            return parts
        made, problems = self._made(request, known)
        if problems:
            start_response("400 Bad Request", [("Content-Type", media_type)])
            return iter((summary_body(media_type, {}, problems, "upload"),))
        self._prepare(request, made)

        def respond(status: str, headers: Headers, exc_info: Any = None) -> Any:
            if status[0] == "2":
                headers = _with_etag(headers, made.etag)
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        return self.app(environ, respond)

    def _given(self, request: Request) -> upload.Known:
        """What a client's body lists. Raises HTTPException."""
        body = self._manifest_body(request)
        _, _, container, obj = parsed_path(request.environ)
        return upload.Known(
            upload.parse(request, body, f"/{container}/{obj}", self.options.max_manifest_segments), {}
        )

    def _manifest_body(self, request: Request) -> bytes:
        limit = self.options.max_manifest_size
        text = f"Manifest File > {limit} bytes"
        length = request.content_length
        if length is None and not request.is_chunked:
            raise HTTPLengthRequired(request=request)
        if length is not None and length > limit:
            raise HTTPRequestEntityTooLarge(request=request, body=text)
        try:
            return request.read_body(limit)
        except EntityTooLarge:
            raise HTTPRequestEntityTooLarge(request=request, body=text) from None

    def _made(self, request: Request, known: upload.Known) -> tuple[upload.Made, upload.Problems]:
        """The manifest to be stored. Raises HTTPUnprocessableEntity for an ETag that it does not have."""
        environ = request.environ
        version, account, _, _ = parsed_path(environ)

        form = own_request(environ, "HEAD", "", "", "MultipartPUT")

        def head(name: str) -> upload.Head:
            asked = dict(form)
            asked["PATH_INFO"] = f"/{version}/{account}{name}"
            got = ask(self, asked)
            got.drain()
            if not got.is_success:
                return upload.Head(got.status_line)
            get = got.get
            return upload.Head(
                "",
                got.content_length or 0,
                got.etag or "",
                get("content-type") or _DEFAULT_TYPE,
                get("last-modified") or "",
                truthy(get(MARK.lower())),
            )

        items, heads = known
        names = dict.fromkeys(one.name for one in items if one.data is None and one.name not in heads)
        heads.update(
            in_parallel(head, names, self.options.concurrency, lambda found: found.status_line[:1] != "5")
        )
        made, problems = upload.make(items, heads, environ.get("swift.callback.slo_manifest_hook"))
        if made.size > upload.LARGEST:
            text = f"A static large object may have at most {upload.LARGEST} bytes"
            raise HTTPRequestEntityTooLarge(request=request, body=text)
        given = normalize_etag(environ.get("HTTP_ETAG"))
        if not problems and given and given != made.etag:
            raise HTTPUnprocessableEntity(request=request)
        return made, problems

    def _prepare(self, request: Request, made: upload.Made) -> None:
        """Turn the client's request into the PUT of what is stored."""
        environ = request.environ
        stored_etag = md5(made.body).hexdigest()
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ["CONTENT_LENGTH"] = str(len(made.body))
        environ["wsgi.input"] = io.BytesIO(made.body)
        environ["HTTP_ETAG"] = stored_etag
        environ[_MARK_KEY] = "True"
        environ[f"HTTP_{ETAG.upper().replace('-', '_')}"] = made.etag
        environ[f"HTTP_{SIZE.upper().replace('-', '_')}"] = str(made.size)
        listed = environ.get(_OVERRIDE) or stored_etag
        if listed.startswith(";"):
            listed = stored_etag + listed  # parameters for the row, without the value that only we know
        environ[_OVERRIDE] = f"{listed}; slo_etag={made.etag}"
        environ["CONTENT_TYPE"] = f"{_content_type(environ)};swift_bytes={made.size}"
        environ["swift.content_type_overridden"] = True

    def _stored_summary(self, request: Request, known: upload.Known, media_type: str) -> bytes:
        """What became of a manifest whose client was answered 202 already."""
        fields: dict[str, str]
        try:
            made, problems = self._made(request, known)
            if problems:
                fields = _refused(HTTPBadRequest(request=request))
            else:
                self._prepare(request, made)
                fields = self._stored(request.environ, made)
        except HTTPException as error:
            problems, fields = [], _refused(error)
        return summary_body(media_type, fields, problems, "upload")

    def _stored(self, environ: dict[str, Any], made: upload.Made) -> dict[str, str]:
        status, headers, body = call_app(self.app, environ)
        try:
            page = b"".join(body)
        finally:
            close_if_possible(body)
        fields = {"Response Status": status}
        if status[0] == "2":
            fields["Etag"] = f'"{made.etag}"'
            fields["Last Modified"] = next((text for name, text in headers if name == "Last-Modified"), "")
            page = b""
        fields["Response Body"] = page.decode("utf-8", "replace")
        return fields

    # -- DELETE ------------------------------------------------------------------------------------------------------------

    def _delete(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Raises HTTPException."""
        deletion = Deletion(self.app, self.options, environ)
        if self.options.allow_async_delete and truthy(Request(environ).params.get("async")):
            segments = deletion.segments()
            _, account, container, _ = parsed_path(environ)
            info = get_container_info(environ, self.app, account or "", container or "")
            if MANIFEST_FIRST not in environ and not locked_objects.may_be_locked(info):
                deletion.queue(*segments)
                return self.app(environ, start_response)
            # It may be locked at this very moment, or stay for another reason: its segments go only once it has gone.
            status, headers, body = call_app(self.app, environ)
            if status[0] == "2":
                try:
                    deletion.queue(*segments)
                except HTTPException:
                    close_if_possible(body)
                    raise
            start_response(status, headers)
            return body
        media_type, body = deletion.summary()
        start_response("200 OK", [("Content-Type", media_type)])
        return body


def _wants_manifest(query: str) -> bool:
    return query == MANIFEST or Request({"QUERY_STRING": query}).params.get("multipart-manifest") == "get"


def _is_json(headers: Headers) -> bool:
    length = kind = ""
    for name, value in headers:
        lower = name.lower()
        if lower == "content-type":
            kind = value
        elif lower == "content-length":
            length = value
    return kind.startswith("application/json") and length.isdigit() and int(length) <= LARGEST


def _with_etag(headers: Headers, etag: str) -> Headers:
    kept = [pair for pair in headers if pair[0].lower() != "etag"]
    return [*kept, ("Etag", f'"{etag}"')]


def _content_type(environ: dict[str, Any]) -> str:
    """The client's, or one guessed from the name."""
    given: str = environ.get("CONTENT_TYPE") or ""
    detect = environ.pop("HTTP_X_DETECT_CONTENT_TYPE", None)  # the proxy would guess again, without the size
    if not given or truthy(detect):
        name = unquote(wsgi_to_str(environ["PATH_INFO"]))
        given = mimetypes.guess_type(name)[0] or _DEFAULT_TYPE
    return given


def _refused(error: HTTPException) -> dict[str, str]:
    return {"Response Status": error.status, "Response Body": upload.refused(error)}


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], SloFilter]:
    conf = {**global_conf, **local_conf}
    options = parse_options(conf)
    capabilities.register(
        "slo",
        max_manifest_segments=options.max_manifest_segments,
        max_manifest_size=options.max_manifest_size,
        yield_frequency=int(options.yield_frequency),
        min_segment_size=1,
        allow_async_delete=options.allow_async_delete,
    )

    def factory(app: Any) -> SloFilter:
        return SloFilter(app, conf)

    return factory
