"""What the verbs of an object server share: its options, devices and stores, and the object that a request names (object-disk 13, 23.1).

What never lives here: what a verb does (`server_get`, `server_put`, `server_change`), and which status an error becomes (`server`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import sleep
from swift.core.config import auto_int, csv_list, non_negative_int, positive_float, positive_int, truthy
from swift.core.errors import RequestError
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
from swift.core.remembered import Remembered
from swift.core.swift_dir import use as use_swift_dir
from swift.engine.space import Reserve
from swift.engine.threads import bound_waits
from swift.obj.boots import Beat
from swift.obj.device import Device, Devices
from swift.obj.in_hand import WritesInHand
from swift.obj.precedence import Precedence
from swift.obj.request import NamedObject
from swift.obj.reservations import Reservations
from swift.obj.ssync.turnstile import Turnstile
from swift.obj.store import COMMIT_WINDOW, RECLAIM_AGE, ObjectStore, Place, StoreOptions
from swift.obj.stores import Stores
from swift.obj.updates import ContainerUpdates
from swift.telemetry.metrics import get_metrics
from swift.wire.message import HTTPException
from swift.wire.storage import (
    DISK_STALL_TIMEOUT,
    Environ,
)

SERVER_TYPE = "object-server"
MAX_NAMES = 4096  # that are remembered of each kind
_NEVER_ALLOWED = frozenset(("content-length", "deleted", "etag"))
_PLACE = "swift.object_place"  # environ key: where the request's object is, for the notes taken on the way
_NOTED = "swift.obj.noted"  # in the environ: what `WritesInHand.begin` returned


class ObjectService:
    """An object server as its verbs see it. `conf`: the options of object-disk 23.1. Raises ValueError and ConfigError for bad ones."""

    def __init__(self, conf: Mapping[str, Any], logger: Any) -> None:
        self.logger = logger
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
        self.answered = 0  # requests
        self.precedence = Precedence(lambda: self.answered)
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
                truthy(conf.get("metadata_overflow", "true")),
                self.precedence.rest,
            )
        )
        self.metrics = get_metrics(conf, conf.get("log_name") or SERVER_TYPE, logger)
        self.in_hand = WritesInHand(self.devices.root, logger)
        self._beats: dict[str, Beat] = {}
        self.updates = ContainerUpdates(conf, logger, self.metrics)
        self.replication_server = truthy(conf.get("replication_server", "true"))
        self.turnstile = Turnstile(conf, self.devices.root, logger)
        self.reservations = Reservations(self.devices.root)
        self.replication_failure_threshold = positive_int(conf.get("replication_failure_threshold", 100))
        self.replication_failure_ratio = float(conf.get("replication_failure_ratio", 1.0))
        self.disk_chunk_size = positive_int(conf.get("disk_chunk_size", 65536))
        self.max_upload_time = float(conf.get("max_upload_time", 86400))
        self.slow = float(conf.get("slow", 0))
        self.slow_delete_threshold = float(conf.get("slow_delete_log_threshold_seconds", 120))
        self.keep_cache_size = int(conf.get("keep_cache_size", 5242880))
        self.keep_cache_private = truthy(conf.get("keep_cache_private", "false"))
        self.keep_cache_slo_manifest = truthy(conf.get("keep_cache_slo_manifest", "false"))
        allowed = csv_list(conf.get("allowed_headers", DEFAULT_ALLOWED_HEADERS))
        self.allowed_headers = [h.title() for h in allowed if h.lower() not in _NEVER_ALLOWED]
        self.allowed_keys = {"HTTP_" + h.upper().replace("-", "_"): h for h in self.allowed_headers}
        self.shown_headers = frozenset([*(h.lower() for h in self.allowed_headers), "content-encoding"])
        self.shown: Remembered[str, bool] = Remembered(MAX_NAMES)  # stored header → do responses show it?
        self._policy_by_header: Remembered[str | None, StoragePolicy] = Remembered(MAX_NAMES)
        # by device and policy header
        self._known_stores: Remembered[tuple[str, str | None], ObjectStore] = Remembered(MAX_NAMES)

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
        known = (device_name, environ.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX"))
        store = self._known_stores.get(known)
        if (
            not partition.isdecimal()
            or len(partition) > MAX_PARTITION_DIGITS
            or (store is None and (not device_name.isascii() or device_name in (".", "..")))
        ):
            check_device_partition(device_name, partition)
            raise RequestError(f"Invalid partition: {partition[:64]!a}")
        native = path[len(device_name) + len(partition) + 2 :]
        if not path.isascii():
            native = wsgi_to_str(native)
        if "\0" in path:
            check_object_name(account, container, obj)
        if store is None:
            store = self.stores.get(self.devices.get(device_name), self.policy_of(environ))
            self._known_stores.keep(known, store)
        environ[_PLACE] = place = store.locate(partition, hash_path(native[1:]), native)
        return NamedObject(store, place, obj)

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
            self._policy_by_header.keep(header, policy)
        return policy

    def at_least_slow(self, started: float) -> None:
        """The `slow` option: no write answers sooner than that."""
        if self.slow:
            left = self.slow - (clock.time() - started)
            if left > 0:
                sleep(left)

    def doubt(self, environ: Environ) -> None:
        """A request failed in a way that leaves open what it has changed: it stays noted as begun."""
        self.in_hand.doubt(environ.pop(_NOTED, -1))

    def done(self, environ: Environ) -> None:
        """A request has been dealt with: log what its disk work noted; what it may have changed is in hand no more."""
        self.answered += 1
        place = environ.get(_PLACE)
        if place is not None and place.notes is not None:
            self.log_notes(place)
        noted = environ.pop(_NOTED, None)
        if noted is not None:
            self.in_hand.end(noted)

    def log_notes(self, place: Place) -> None:
        """Log what disk work noted and forget it."""
        for text in place.notes or ():
            self.logger.warning("%s", text)
            if text.startswith("Quarantined"):
                self.metrics.increment("quarantines")
        place.notes = None
