"""The object server: paths, options, dispatch, and the one place where errors become statuses (object-disk 13).

What each verb does is in `server_get`, `server_put` and `server_change`; what is on disk, in the modules below them.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from swift.core import clock
from swift.core.concurrency import sleep
from swift.core.config import auto_int, csv_list, non_negative_int, positive_float, positive_int, truthy
from swift.core.errors import RequestError
from swift.core.fs import Reserve
from swift.core.hashing import hash_path
from swift.core.names import (
    MAX_PARTITION_DIGITS,
    check_device_partition,
    check_object_name,
    split_path,
    wsgi_to_str,
)
from swift.core.object_headers import DEFAULT_ALLOWED_HEADERS
from swift.core.policy import StoragePolicy, policies
from swift.core.swift_dir import use as use_swift_dir
from swift.core.threads import bound_waits
from swift.obj import server_change, server_get, server_put, timings
from swift.obj.boots import Beat
from swift.obj.device import Device, Devices
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
    WriterLost,
    XattrUnsupported,
)
from swift.obj.in_hand import WritesInHand
from swift.obj.request import Malformed, NamedObject
from swift.obj.store import COMMIT_WINDOW, RECLAIM_AGE, Place, StoreOptions
from swift.obj.stores import Stores
from swift.obj.updates import ContainerUpdates
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics
from swift.wire.message import HTTPException
from swift.wire.storage import (
    DISK_STALL_TIMEOUT,
    Environ,
    Handler,
    StartResponse,
    StorageServer,
    answer,
    timestamp_of,
)

_NOTED = "swift.obj.noted"  # in the environ: what `WritesInHand.begin` returned
_NEVER_ALLOWED = frozenset(("content-length", "deleted", "etag"))
# of the machine, not of a disk: another node may take the request, or this one a moment later
_PASSING_ERRORS = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ETIMEDOUT)
)
PLACE = "swift.object_place"  # environ key: where the request's object is, for the notes taken on the way


class ObjectServer(StorageServer):
    """The WSGI application. `conf`: the options of object-disk 23.1. Raises ValueError and ConfigError for bad ones."""

    server_type = "object-server"

    def __init__(self, conf: Mapping[str, Any], logger: Any) -> None:
        super().__init__(logger)
        use_swift_dir(conf.get("swift_dir"))
        self.policies = policies()
        # servers_per_port gives each disk processes of its own: one thread in each is then enough
        per_port = int(conf.get("servers_per_port", 0) or 0) > 0
        threads = auto_int(conf.get("eventlet_tpool_num_threads"), 1 if per_port else 4)
        self.devices = Devices(
            conf.get("devices", "/srv/node"),
            truthy(conf.get("mount_check", "true")),
            max(1, min(threads, 64)),
        )
        bound_waits(
            positive_int(conf.get("max_clients", 4096)),
            positive_float(conf.get("disk_stall_timeout", DISK_STALL_TIMEOUT)),
        )
        self.stores = Stores(
            StoreOptions(
                not truthy(conf.get("disable_fallocate", "no")),
                Reserve(conf.get("fallocate_reserve", "1%")),
                max(1, int(conf.get("mb_per_sync", 512))) << 20,
                float(conf.get("reclaim_age", RECLAIM_AGE)),
                float(conf.get("commit_window", COMMIT_WINDOW)),
                float(conf.get("etag_validate_pct", 100)),
                non_negative_int(conf.get("warm_objects_mb", 32)) << 20,
                truthy(conf.get("writer_process", "true")),
            )
        )
        self.metrics = get_metrics(conf, conf.get("log_name") or self.server_type, logger)
        self.in_hand = WritesInHand(self.devices.root, logger)
        self._beats: dict[str, Beat] = {}
        self.updates = ContainerUpdates(conf, logger, self.metrics)
        self.disk_chunk_size = positive_int(conf.get("disk_chunk_size", 65536))
        self.max_upload_time = float(conf.get("max_upload_time", 86400))
        self.slow = float(conf.get("slow", 0))
        self.slow_delete_threshold = float(conf.get("slow_delete_log_threshold_seconds", 120))
        self.keep_cache_size = int(conf.get("keep_cache_size", 5242880))
        self.keep_cache_private = truthy(conf.get("keep_cache_private", "false"))
        self.keep_cache_slo_manifest = truthy(conf.get("keep_cache_slo_manifest", "false"))
        allowed = csv_list(conf.get("allowed_headers", DEFAULT_ALLOWED_HEADERS))
        self.allowed_headers = [h.title() for h in allowed if h.lower() not in _NEVER_ALLOWED]
        self.allowed_keys = [(h, "HTTP_" + h.upper().replace("-", "_")) for h in self.allowed_headers]
        self.shown_headers = frozenset([*(h.lower() for h in self.allowed_headers), "content-encoding"])
        self.shown: dict[str, bool] = {}  # stored header → whether responses show it; grows to a bound
        self._policy_by_header: dict[str | None, StoragePolicy] = {}
        self._respond: Callable[..., Iterable[bytes]] = self._answer
        if timings.are_wanted(conf):
            self._respond = timings.timed(self._answer, self._verbs, conf, self.metrics, logger)

    # ------------------------------------------------------------ dispatch

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return self._respond(environ, start_response)

    def verbs(self) -> dict[str, Handler]:
        return {
            "GET": partial(server_get.get, self),
            "HEAD": partial(server_get.get, self),
            "PUT": partial(server_put.put, self),
            "POST": partial(server_change.post, self),
            "DELETE": partial(server_change.delete, self),
        }

    def _answer(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return self.respond(environ, start_response)
        finally:
            place = environ.get(PLACE)
            if place is not None and place.notes is not None:
                self.log_notes(place)
            noted = environ.pop(_NOTED, None)
            if noted is not None:
                self.in_hand.end(noted)

    def room_error(
        self, environ: Environ, start_response: StartResponse, error: Exception
    ) -> Iterable[bytes] | None:
        if isinstance(error, (DeviceUnavailable, WriterLost, OSError)):
            self.in_hand.doubt(environ.pop(_NOTED, -1))
        if isinstance(error, ObjectError):
            return self._object_error(environ, start_response, error)
        if isinstance(error, Malformed):
            return answer(environ, start_response, error.status, error.body or None)
        if isinstance(error, OSError) and error.errno in _PASSING_ERRORS:
            self.log_failure(environ, error)
            return answer(environ, start_response, 503)
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
        return answer(environ, start_response, 500)

    def log_notes(self, place: Place) -> None:
        """Log what disk work noted and forget it."""
        for text in place.notes or ():
            self.logger.warning("%s", text)
            if text.startswith("Quarantined"):
                self.metrics.increment("quarantines")
        place.notes = None

    # ------------------------------------------------------------ what requests have in common

    def locate(self, environ: Environ) -> NamedObject:
        """The object that a request's path names. Raises RequestError, HTTPException, DeviceUnavailable."""
        path = environ["PATH_INFO"]
        parts = path.split("/", 5)
        if len(parts) != 6 or parts[0] or not (parts[1] and parts[2] and parts[3] and parts[4] and parts[5]):
            try:
                parts = ["", *split_path(path, 5, 5, True)]
            except ValueError as error:
                raise RequestError(str(error)) from None
        _, device_name, partition, account, container, obj = parts
        if (
            not partition.isdecimal()
            or len(partition) > MAX_PARTITION_DIGITS
            or not device_name.isascii()
            or device_name in (".", "..")
        ):
            check_device_partition(device_name, partition)
            raise RequestError(f"Invalid partition: {partition[:64]!a}")
        native = path[len(device_name) + len(partition) + 2 :]
        if not path.isascii():
            native = wsgi_to_str(native)
        if "\0" in path:
            check_object_name(account, container, obj)
        store = self.stores.get(self.devices.get(device_name), self.policy_of(environ))
        environ[PLACE] = place = store.locate(partition, hash_path(native[1:]), native)
        return NamedObject(store, place, account, container, obj)

    def begin_write(self, environ: Environ, target: NamedObject) -> None:
        """What may be changed is noted until the request is done. Raises DeviceUnavailable, DeviceOverloaded."""
        self.beat(target.store.device)
        environ[_NOTED] = self.in_hand.begin(target.store, target.place)

    def beat(self, device: Device) -> None:
        """Have a device know that it is written to now. Raises DeviceUnavailable, DeviceOverloaded."""
        beat = self._beats.get(device.path)
        if beat is None:
            beat = self._beats[device.path] = Beat(device.path)
        if not beat.is_fresh():
            device.run_mounted(True, beat.beat)

    def policy_of(self, environ: Environ) -> StoragePolicy:
        """The storage policy of a request. Raises HTTPException (503) for an unknown one."""
        header = environ.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX")
        policy = self._policy_by_header.get(header)
        if policy is None:
            try:
                policy = self.policies.get_by_index(header)
            except ValueError:
                policy = None
            if policy is None:
                raise HTTPException(
                    f"No policy with index {header}", 503, headers={"Content-Type": "text/plain"}
                )
            if not policy.is_served:
                raise HTTPException(f"{policy.unserved}\n", 503, headers={"Content-Type": "text/plain"})
            if len(self._policy_by_header) < 1024:
                self._policy_by_header[header] = policy
        return policy

    def at_least_slow(self, started: float) -> None:
        """The `slow` option: no write answers sooner than that."""
        if self.slow:
            left = self.slow - (clock.time() - started)
            if left > 0:
                sleep(left)


def app_factory(global_conf: Mapping[str, Any], **local_conf: Any) -> ObjectServer:
    """PasteDeploy's entry point for `egg:swift#object`."""
    conf = {**global_conf, **local_conf}
    return ObjectServer(conf, get_logger(conf, ObjectServer.server_type))
