"""Which requests are logged, and what is known of one when its answer has left. Costs a look at the bucket's info, where that is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from swift.core import clock
from swift.s3 import bucket_documents
from swift.s3.access_logging import document, line, writing
from swift.s3.access_logging.batches import Batches, Place
from swift.s3.errors import S3Error
from swift.s3.identity import account_id_of
from swift.s3.request import S3Request
from swift.telemetry.served import DoneCallback, Served
from swift.wire.server import before_the_end

NAME = "Logging"
_DONE = "swift.on_response_done"
_KEPT = ("swift.cache", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL")
_batches: list[Batches] = []
# What requests of our own need; the latest request's, they are the same for all.
_environ: dict[str, Any] = {}


class _Operation(Protocol):
    @property
    def level(self) -> str: ...
    @property
    def subresource(self) -> str: ...


def batches(request: S3Request) -> Batches:
    """Those of this process."""
    if not _batches:
        app, options = request.app, request.options
        made = Batches(
            options.access_log_interval,
            lambda place, content: writing.writer(app, _environ, options, place, content),
            request.logger.error,
        )
        _batches.append(made)
        before_the_end(made.flush)
    return _batches[0]


def watch(request: S3Request, operation: _Operation, error: S3Error | None = None) -> None:
    """Have a request logged if its bucket wants that; to be called when its answer is known. Raises nothing."""
    callbacks = request.environ.get(_DONE)
    if callbacks is None or request.account is None or request.bucket is None:
        return
    if error is not None and error.code == "NoSuchBucket":
        return
    try:
        found = bucket_documents.load(request, NAME)
    except S3Error:
        return  # it can't be read: what is told of a request does not depend on its log
    if not found:
        return
    if any(isinstance(callback, _Line) for callback in callbacks):
        return  # a visit to a site may read several objects, and is one request
    _environ.update({key: request.environ[key] for key in _KEPT if key in request.environ})
    ready = clock.time()
    waiting = batches(request)
    code = error.code if error is not None else ""

    def done(served: Served) -> None:
        facts = _facts(request, operation, served, ready, code)
        waiting.add(_place(request, found, served.end), line.made(facts).encode("utf-8", "replace"))

    callbacks.append(_Line(done))


class _Line:
    """The callback of a request that is logged."""

    def __init__(self, done: DoneCallback) -> None:
        self._done = done

    def __call__(self, served: Served) -> None:
        self._done(served)


def _place(request: S3Request, found: dict[str, Any], moment: float) -> Place:
    dated_by = found.get("PartitionDateSource", "")
    day = clock.strftime("%Y-%m-%d", clock.gmtime(int(moment))) if dated_by == "EventTime" else ""
    target, prefix = found["TargetBucket"], found["TargetPrefix"]
    grants = document.grants_of(found)
    return Place(request.account or "", target, prefix, request.bucket or "", dated_by, day, grants)


def _facts(request: S3Request, operation: _Operation, served: Served, ready: float, code: str) -> line.Facts:
    environ, credential = request.environ, request.credential
    return line.Facts(
        owner=account_id_of(request.account or "", request.options),
        bucket=request.bucket or "",
        time=served.start,
        address=environ.get("REMOTE_ADDR", ""),
        requester=request.user_id or "",
        request_id=environ.get("swift.trans_id", ""),
        operation=line.operation_name(
            request.method, operation.level, operation.subresource, "HTTP_X_AMZ_COPY_SOURCE" in environ
        ),
        key=request.key,
        method=request.method,
        uri=line.uri_of(environ.get("RAW_PATH_INFO", ""), environ.get("QUERY_STRING", "")),
        protocol=environ.get("SERVER_PROTOCOL", ""),
        status=served.status,
        error=code,
        sent=served.sent,
        size=_size(request, served),
        total=(served.end - served.start) * 1000,
        turn_around=(ready - served.start) * 1000,
        referer=environ.get("HTTP_REFERER", ""),
        agent=environ.get("HTTP_USER_AGENT", ""),
        version=request.version_id or _header(served.headers, "x-amz-version-id") or "",
        signature="" if credential is None else "SigV4" if credential.is_v4 else "SigV2",
        authentication="" if credential is None else "QueryString" if credential.is_query else "AuthHeader",
        host=environ.get("HTTP_HOST", ""),
    )


def _size(request: S3Request, served: Served) -> int | None:
    """Of the object that was read or written."""
    if request.key is None or not 200 <= served.status < 300:
        return None
    if request.method == "PUT":
        decoded = request.environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH", "")
        return int(decoded) if decoded.isascii() and decoded.isdigit() else served.received
    if request.method not in ("GET", "HEAD"):
        return None
    whole = (_header(served.headers, "content-range") or "").rpartition("/")[2]
    text = whole or _header(served.headers, "content-length") or ""
    return int(text) if text.isascii() and text.isdigit() else None


def _header(headers: Iterable[tuple[str, str]], lower_name: str) -> str | None:
    return next((value for name, value in headers if name.lower() == lower_name), None)
