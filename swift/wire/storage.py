"""What all three storage servers have in common: dispatch by verb, errors to statuses, short answers, the common headers.

Lives here: the frame of account, container and object server (database.md 12.1, object-disk 13). Never here: what a verb
does, where anything is on a disk.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift import __version__
from swift.core.config import truthy
from swift.core.errors import BadRequest, InsufficientStorage, LockTimeout, RequestError
from swift.core.names import valid_wsgi_utf8
from swift.core.timestamp import internal_timestamp
from swift.core.trace_context import trace_id_of
from swift.engine.threads import DeviceBusy, DeviceStuck
from swift.telemetry.disk_watch import DiskWatch
from swift.telemetry.log import set_transaction

from .errors import BadChunk, ClientDisconnected, ClientTimeout
from .message import HTTPException
from .status import HTML_TYPE, default_body, status_line

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Handler = Callable[..., Iterable[bytes]]

DISK_ERRORS = frozenset(
    (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.EROFS,
        errno.EUCLEAN,
        errno.ENODEV,
        errno.ENXIO,
        errno.ESTALE,
    )
)
"""What says that the disk, not the request, is at fault: answered with 507, so that another one is asked."""

PASSING_ERRORS = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ETIMEDOUT)
)
"""Of the machine, not of a disk: answered with 503, since another node may take the request, or this one a moment later."""

DISK_STALL_TIMEOUT = 10.0  # seconds; nobody waits longer for an answer of ours

MOST_REASONS = 10  # disks named in one answer


def answer(
    environ: Environ,
    start_response: StartResponse,
    status: int,
    body: bytes | str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    content_type: str | None = None,
) -> Iterable[bytes]:
    """A whole answer; without `body` the status's standard page."""
    if body is None:
        body = default_body(status)
    elif isinstance(body, str):
        body = body.encode("utf-8", "replace")
    start_response(
        status_line(status),
        [("Content-Type", content_type or HTML_TYPE), ("Content-Length", str(len(body))), *headers],
    )
    return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def timestamp_of(environ: Environ) -> str:
    """The request's X-Timestamp in internal form. Raises BadRequest."""
    text = environ.get("HTTP_X_TIMESTAMP")
    if not text:
        raise BadRequest("Missing X-Timestamp header")
    try:
        return internal_timestamp(text)
    except ValueError:
        raise BadRequest("Invalid X-Timestamp header") from None


def is_true(environ: Environ, key: str) -> bool:
    """Returns True if the header of this environ key is there and says yes."""
    value = environ.get(key)
    return value is not None and truthy(value)


class StorageServer(ABC):
    """The frame of a storage server's WSGI application. A subclass gives its verbs and knows the errors of its room."""

    server_type: str
    bad_utf8 = "Invalid UTF8 or contains NULL"

    def __init__(self, logger: Any) -> None:
        self.logger = logger
        self._verbs: Mapping[str, Handler] = {**self.verbs(), "OPTIONS": self.options}

    @abstractmethod
    def verbs(self) -> dict[str, Handler]:
        """{method: handler(environ, start_response)}, without OPTIONS."""

    def allowed(self) -> list[str]:
        """The methods that OPTIONS names."""
        return sorted(self._verbs)

    def room_error(
        self, environ: Environ, start_response: StartResponse, error: Exception
    ) -> Iterable[bytes] | None:
        """The answer to an error that only the subclass knows; None for any other. Asked first."""
        return None

    def respond(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """The answer to a request, whatever becomes of it. Raises nothing."""
        trans_id = environ.get("HTTP_X_TRANS_ID")
        trace = environ.get("HTTP_TRACEPARENT")
        set_transaction(None if trans_id == "-" else trans_id, None, trace_id_of(trace) if trace else "")
        try:
            path = environ["PATH_INFO"]
            if not (path.isascii() or valid_wsgi_utf8(path, allow_nul=True)):
                return answer(environ, start_response, 412, self.bad_utf8)
            handler = self._verbs.get(environ["REQUEST_METHOD"])
            if handler is None:
                return answer(environ, start_response, 405)
            return handler(environ, start_response)
        except HTTPException as error:
            return error(environ, start_response)
        except Exception as error:
            known = self.room_error(environ, start_response, error)
            return self._failed(environ, start_response, error) if known is None else known

    def _failed(self, environ: Environ, start_response: StartResponse, error: Exception) -> Iterable[bytes]:
        """The one place where what went wrong becomes a status."""
        if isinstance(error, RequestError):
            if isinstance(error, InsufficientStorage):
                return self.no_storage(environ, start_response)
            kind = "text/plain" if error.body else None
            return answer(environ, start_response, error.status, error.body or None, content_type=kind)
        if isinstance(error, ClientTimeout):
            return answer(environ, start_response, 408)
        if isinstance(error, ClientDisconnected):
            return answer(environ, start_response, 499)
        if isinstance(error, BadChunk):
            return answer(environ, start_response, 400, str(error), content_type="text/plain")
        if isinstance(error, DeviceStuck):
            self.log_failure(environ, error)
            return self.no_storage(environ, start_response)
        if isinstance(error, (LockTimeout, DeviceBusy)):
            self.log_failure(environ, error)
            return answer(environ, start_response, 503)
        if isinstance(error, OSError):
            self.log_failure(environ, error)
            if error.errno in DISK_ERRORS:
                return self.no_storage(environ, start_response)
            return answer(environ, start_response, 503 if error.errno in PASSING_ERRORS else 500)
        self.logger.exception(
            "ERROR __call__ error with %s %s", environ["REQUEST_METHOD"], environ["PATH_INFO"]
        )
        return answer(environ, start_response, 500)

    def log_failure(self, environ: Environ, error: Exception) -> None:
        """One line for an error that has a status of its own."""
        self.logger.error("ERROR %s %s: %s", environ["REQUEST_METHOD"], environ["PATH_INFO"], error)

    disks: DiskWatch | None = None

    def not_ready(self) -> list[str]:
        """What keeps this server from doing what it is for, a line each: it needs a disk that can be written to. Waits for no disk that hangs."""
        if self.disks is None:
            return []
        if not self.disks.was_looked_at:
            self.disks.look(quarantine=False)
        if self.disks.usable():
            return []
        if self.disks.unlisted:
            return [f"no disks: {self.disks.disks.root}: {self.disks.unlisted}"]
        if not self.disks.names:
            return [f"no disks: there is none in {self.disks.disks.root}"]
        return [
            f"no disks: {self.disks.what_is_wrong_with(name)}" for name in self.disks.names[:MOST_REASONS]
        ]

    @staticmethod
    def no_storage(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """507: the device is missing, broken or full."""
        drive = environ["PATH_INFO"].split("/", 2)[1]
        return answer(environ, start_response, 507, default_body(507, drive))

    def options(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """OPTIONS, of any path: the verbs, and the header by which swift-recon tells server types."""
        headers = [("Allow", ", ".join(self.allowed())), ("Server", f"{self.server_type}/{__version__}")]
        return answer(environ, start_response, 200, b"", headers, HTML_TYPE)
