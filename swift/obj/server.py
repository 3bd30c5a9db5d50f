"""The object server: the frame of its application, and the one place where errors become statuses (object-disk 13).

What each verb does is in `server_get`, `server_put`, `server_change`, `server_replicate` and `ssync.receiver`, what they share in `service`; what is on disk, in the modules
below them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from swift.obj import server_change, server_get, server_put, server_replicate, timings
from swift.obj.errors import (
    Collision,
    Deleted,
    DeviceOverloaded,
    DeviceUnavailable,
    Expired,
    MetadataTooLarge,
    NoSpace,
    NotExist,
    ObjectError,
    SameTimeConflict,
    StateChanged,
    Unreservable,
    WriterLost,
    XattrUnsupported,
)
from swift.obj.request import Malformed
from swift.obj.service import SERVER_TYPE, ObjectService
from swift.obj.ssync import receiver
from swift.telemetry.disk_watch import watch_of
from swift.telemetry.log import get_logger
from swift.wire.storage import (
    Environ,
    Handler,
    StartResponse,
    StorageServer,
    answer,
    timestamp_of,
)


class ObjectServer(StorageServer):
    """The WSGI application. `conf`: see `ObjectService`."""

    server_type = SERVER_TYPE

    def __init__(self, conf: Mapping[str, Any], logger: Any) -> None:
        self.service = ObjectService(conf, logger)
        super().__init__(logger)
        self.disks = watch_of(conf)
        self._respond: Callable[..., Iterable[bytes]] = self.respond
        if timings.are_wanted(conf):
            self._respond = timings.timed(self.respond, self._verbs, conf, self.service.metrics, logger)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return self._respond(environ, start_response)

    def verbs(self) -> dict[str, Handler]:
        verbs: dict[str, Handler] = {
            "GET": partial(server_get.get, self.service),
            "HEAD": partial(server_get.get, self.service),
            "PUT": partial(server_put.put, self.service),
            "POST": partial(server_change.post, self.service),
            "DELETE": partial(server_change.delete, self.service),
        }
        if self.service.replication_server:
            verbs["REPLICATE"] = partial(server_replicate.replicate, self.service)
            verbs["SSYNC"] = partial(receiver.ssync, self.service, self.respond)
        return verbs

    def respond(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return super().respond(environ, start_response)
        finally:
            self.service.done(environ)

    def room_error(
        self, environ: Environ, start_response: StartResponse, error: Exception
    ) -> Iterable[bytes] | None:
        if isinstance(error, (DeviceUnavailable, WriterLost, OSError)):
            self.service.doubt(environ)
        if isinstance(error, ObjectError):
            return self._object_error(environ, start_response, error)
        if isinstance(error, Malformed):
            return answer(environ, start_response, error.status, error.body or None)
        return None

    def _object_error(
        self, environ: Environ, start_response: StartResponse, error: ObjectError
    ) -> Iterable[bytes]:
        if isinstance(error, NotExist):
            headers = []
            if isinstance(error, (Deleted, Expired)):
                headers.append(("X-Backend-Timestamp", error.timestamp))
            return answer(environ, start_response, 404, headers=headers)
        if isinstance(error, Collision):
            return answer(environ, start_response, 403)
        if isinstance(error, (StateChanged, DeviceOverloaded, WriterLost)):
            return answer(environ, start_response, 503)
        if isinstance(error, SameTimeConflict):
            return answer(
                environ, start_response, 409, headers=[("X-Backend-Timestamp", timestamp_of(environ))]
            )
        if isinstance(error, MetadataTooLarge):
            return answer(
                environ,
                start_response,
                400,
                f"Metadata too large for this server's disks: {error}",
                content_type="text/plain",
            )
        if isinstance(error, (NoSpace, XattrUnsupported, DeviceUnavailable)):
            if not isinstance(error, DeviceUnavailable):
                self.log_failure(environ, error)
            return self.no_storage(environ, start_response)
        self.log_failure(environ, error)
        if isinstance(error, Unreservable):
            # said so that no proxy holds it against a disk
            return answer(environ, start_response, 503, headers=[("Retry-After", "1")])
        return answer(environ, start_response, 500)


def app_factory(global_conf: Mapping[str, Any], **local_conf: Any) -> ObjectServer:
    """PasteDeploy's entry point for `egg:swift#object`."""
    conf = {**global_conf, **local_conf}
    return ObjectServer(conf, get_logger(conf, SERVER_TYPE))
