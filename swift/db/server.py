"""The frame of the account and container servers: options, devices, work on databases, counting (database.md 12.1).

What the verbs do is in swift.account.server and swift.container.server. Never here: SQL, rows, listings.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from swift.core import swift_dir
from swift.core.concurrency import Event, spawn_n
from swift.core.config import positive_float, positive_int, truthy
from swift.core.errors import BadRequest
from swift.core.hashing import hash_path, storage_directory
from swift.core.names import check_device_partition, is_partition, split_path
from swift.core.policy import policies
from swift.core.remembered import Remembered
from swift.engine.space import Reserve
from swift.engine.threads import bound_waits, pool_for
from swift.telemetry.disk_watch import watch_of
from swift.telemetry.metrics import get_metrics
from swift.telemetry.served import Served
from swift.wire.serving import DEFAULT_MAX_CLIENTS
from swift.wire.storage import DISK_STALL_TIMEOUT, Environ, StartResponse, StorageServer, answer

from . import pending
from .appends import Appender
from .broker import Broker
from .budget import BUDGET
from .devices import DatabaseDevices
from .errors import DatabaseBusy, DatabaseExists, DatabaseMissing, DatabaseQuarantined
from .replication.rpc import Operation, ReplicationCalls
from .replication.spots import Spot
from .request import Place

LOCK_TIMEOUT = 10.0  # seconds that a write waits for a directory's lock
READ_LOCK_TIMEOUT = 0.1
BACK_PRESSURE = 8 * pending.MERGE_ABOVE  # a pending file that long is merged before its writer gets an answer
PLACES, LONGEST_PLACE = 8192, 600  # databases whose places are remembered; characters of their names

_DISK_TEXTS = ("disk is full", "readonly database", "unable to open database file", "disk I/O error")

AnyBroker = TypeVar("AnyBroker", bound=Broker)


class DatabaseServer(StorageServer, Generic[AnyBroker]):
    """Base of both WSGI applications. `conf`: the options of database.md 23.1. Raises ValueError, ConfigError.

    Ours beside those: `sync_pending_updates` (no): an acknowledged row survives power loss, not only a crash of the
    process; `listing_cache_size` (16777216): bytes of listings that a process keeps; `disk_stall_timeout` (10): seconds after which
    a disk that finishes nothing counts as hung.
    """

    data_directory: str
    broker_class: type[AnyBroker]
    sample_rates: Mapping[str, float] = {}

    def __init__(self, conf: Mapping[str, Any], logger: Any) -> None:
        super().__init__(logger)
        swift_dir.use(conf.get("swift_dir"))
        self.policies = policies()
        self.devices = DatabaseDevices(
            conf.get("devices", "/srv/node"),
            truthy(conf.get("mount_check", "true")),
            Reserve(conf.get("fallocate_reserve", "1%")),
        )
        self.disks = watch_of(conf)
        self.replication_server = truthy(conf.get("replication_server", "true"))
        bound_waits(
            positive_int(conf.get("max_clients", DEFAULT_MAX_CLIENTS)),
            positive_float(conf.get("disk_stall_timeout", DISK_STALL_TIMEOUT)),
        )
        self.durable = truthy(conf.get("sync_pending_updates", "no"))
        BUDGET.limit = max(0, int(conf.get("listing_cache_size", BUDGET.limit)))
        self.metrics = get_metrics(conf, conf.get("log_name") or self.server_type, logger)
        self._places: Remembered[str, Place] = Remembered(PLACES, LONGEST_PLACE)
        self._merging: dict[str, Event] = {}
        self._appender = Appender(self.exists, self.durable)
        self._known_policies: Remembered[str, int] = Remembered(1024)
        self._replication = ReplicationCalls(self, self.replication_operations())
        if self.replication_server:
            self._verbs = {**self._verbs, "REPLICATE": self._replication.replicate}

    def allowed(self) -> list[str]:
        return sorted({*self._verbs, "REPLICATE"})

    def replication_operations(self) -> Mapping[str, Operation]:
        """What peers may call beside the operations of both kinds of databases (14.1)."""
        return {}

    def replica(self, path: str, **options: Any) -> AnyBroker:
        """A broker for a path that a peer's call leads to."""
        return self.broker_class(path, **{"durable": self.durable, "logger": self.logger, **options})

    def exchange_class(self) -> Any:
        """What replicas of this kind say to each other, for the server that is asked to bring one up to date."""
        from .replication.exchange import Exchange

        return Exchange

    def bring(self, where: Spot, ids: list[int]) -> dict[str, Any]:
        """See `replication.bring`. Raises DatabaseMissing."""
        from .replication.bring import Bringer  # a server seldom needs it, nor a ring

        broker = self.replica(where.path, lock_timeout=LOCK_TIMEOUT)
        return Bringer(broker.kind, self.exchange_class(), self.metrics, self.logger).bring(
            broker, where, ids
        )

    # -- dispatch

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        callbacks = environ.get("swift.on_response_done")
        if callbacks is not None:
            callbacks.append(self.on_done)
        return self.respond(environ, start_response)

    def room_error(
        self, environ: Environ, start_response: StartResponse, error: Exception
    ) -> Iterable[bytes] | None:
        if isinstance(error, DatabaseMissing):
            return answer(environ, start_response, 404)
        if isinstance(error, (DatabaseBusy, DatabaseQuarantined)):
            self.log_failure(environ, error)
            return answer(environ, start_response, 503 if isinstance(error, DatabaseBusy) else 500)
        if isinstance(error, sqlite3.OperationalError) and any(text in str(error) for text in _DISK_TEXTS):
            self.log_failure(environ, error)
            return self.no_storage(environ, start_response)
        return None

    def on_done(self, served: Served) -> None:
        """A completion callback of the server loop: counts the request."""
        method = served.environ["REQUEST_METHOD"]
        if method not in self._verbs:
            return
        suffix = ".errors.timing" if served.status >= 500 else ".timing"
        milliseconds = (served.end - served.start) * 1000
        self.metrics.timing(method + suffix, milliseconds, self.sample_rates.get(method))
        kind = served.environ.get("swift.db.kind")
        if kind is not None:
            self.metrics.timing(kind + suffix, milliseconds)

    # -- where

    def segments(self, environ: Environ, least: int, most: int) -> list[str]:
        """The path's segments, WSGI text, '' for missing ones; device and partition checked. Raises BadRequest."""
        try:
            parts = split_path(environ["PATH_INFO"], least, most, True)
        except ValueError as error:
            raise BadRequest(str(error)) from None
        check_device_partition(parts[0], parts[1])
        if not is_partition(parts[1]):
            raise BadRequest(f"Invalid partition: {parts[1][:64]!a}")
        return [part or "" for part in parts]

    def place(
        self,
        device: str,
        partition: str,
        account: str,
        container: str | None = None,
        with_room: bool = False,
    ) -> Place:
        """Where the database of native names is; the device is there, and has room if that is needed. Raises InsufficientStorage."""
        if with_room:
            self.devices.get_with_room(device)
        else:
            self.devices.get(device)
        key = f"{device}/{partition}/{account}/{container or ''}"
        found = self._places.get(key)
        if found is None:
            name_hash = hash_path(account, container)
            device_path = f"{self.devices.root}/{device}"
            directory = storage_directory(f"{device_path}/{self.data_directory}", partition, name_hash)
            found = Place(device, device_path, account, container, f"{directory}/{name_hash}.db")
            self._places.keep(key, found)
        return found

    def policy_index(self, environ: Environ) -> int | None:
        """X-Backend-Storage-Policy-Index, if given. Raises BadRequest for an unknown policy."""
        header = environ.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX")
        if header is None:
            return None
        index = self._known_policies.get(header)
        if index is None:
            policy = self.policies.get_by_index(header) if header else None
            if policy is None:
                raise BadRequest(f"Invalid X-Backend-Storage-Policy-Index {header[:64]}")
            index = int(policy)
            self._known_policies.keep(header, index)
        return index

    # -- work

    def run(self, place: Place, function: Callable[..., Any], *args: Any) -> Any:
        """function(*args) where it stalls nobody else."""
        return pool_for(place.device_path).run(function, *args)

    def run_long(self, place: Place, function: Callable[..., Any], *args: Any) -> Any:
        """As run, for work on many rows: once begun it is waited for."""
        return pool_for(place.device_path).run_long(function, *args)

    def run_to_create(self, place: Place, function: Callable[..., Any], *args: Any) -> Any:
        """As run, for what may create a database: nothing is ever made below a device that is not there. Raises InsufficientStorage."""
        return self.run_long(place, self._if_there, place.device, function, *args)

    def _if_there(self, device: str, function: Callable[..., Any], *args: Any) -> Any:
        self.devices.look(device)
        try:
            return function(*args)
        except DatabaseQuarantined as error:
            # it was damaged and is out of the way: the request makes it anew
            self.logger.error("%s", error)
            return function(*args)

    def broker(self, place: Place) -> AnyBroker:
        """A broker for a request that changes something."""
        return self.broker_class(
            place.path,
            account=place.account,
            container=place.container,
            lock_timeout=LOCK_TIMEOUT,
            durable=self.durable,
            logger=self.logger,
        )

    def reading_broker(self, path: str) -> AnyBroker:
        """A broker for the snapshot of a database: it waits little and puts up with what is merged."""
        return self.broker_class(
            path, lock_timeout=READ_LOCK_TIMEOUT, stale_reads_ok=True, logger=self.logger
        )

    def _create(self, place: Place, timestamp: str, policy: int | None = None) -> bool:
        """Returns True if the database had to be made. Blocks."""
        try:
            self.broker(place).create(timestamp, policy)
        except DatabaseExists:
            return False
        return True

    @staticmethod
    def exists(path: str) -> bool:
        """Returns True if there is a database at a place's path."""
        return os.path.exists(path)

    def append(self, place: Place, record: pending.Record, timeout: float) -> None:
        """Put a record into the pending file, durably as configured, and see to its being merged in time.

        Raises DatabaseMissing, DatabaseBusy, OSError.
        """
        path = place.path
        size = self._appender.append(path, pool_for(place.device_path), pending.encode(record), timeout)
        if size > pending.MERGE_ABOVE:
            if size > BACK_PRESSURE:
                self._merge(place)
            elif path not in self._merging:
                spawn_n(self._merge, place)

    def _merge(self, place: Place) -> None:
        """Merge a long pending file, in a thread, or wait for whoever does. What fails here stays to be merged."""
        running = self._merging.get(place.path)
        if running is None:
            running = self._merging[place.path] = Event()
            # not in the request's green thread, whose end would leave the others waiting
            spawn_n(self._merge_now, place, running)
        running.wait()

    def _merge_now(self, place: Place, done: Event) -> None:
        try:
            pool_for(place.device_path).run_aside(self.broker(place).merger.shorten)
        except Exception as error:
            self.logger.error("ERROR merging pending updates of %s: %s", place.path, error)
        finally:
            del self._merging[place.path]
            done.send()
