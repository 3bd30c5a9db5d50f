"""The container server (database.md 13): containers, their listings, object rows and shard ranges.

GET and HEAD are in swift.container.server_get.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from swift.core import swift_dir
from swift.core.config import csv_list, truthy
from swift.core.constraints import limits
from swift.core.errors import BadRequest
from swift.core.names import MAX_PARTITION_DIGITS, check_container_name, check_object_name, wsgi_to_str
from swift.core.timestamp import Timestamp, internal_timestamp
from swift.db.errors import DatabaseExists, DatabaseMissing
from swift.db.merge import is_plain
from swift.db.replication.rpc import Operation
from swift.db.request import (
    Place,
    check_metadata_limits,
    integer_header,
    metadata_headers,
    native_header,
    read_body,
)
from swift.db.server import LOCK_TIMEOUT, DatabaseServer
from swift.db.snapshots import Snapshots
from swift.engine.durable import fsync_dir
from swift.telemetry.log import get_logger
from swift.wire.storage import Environ, Handler, StartResponse, answer, is_true, timestamp_of

from . import account_update, server_get, shard_ranges, sync_store
from .account_update import AccountReports
from .broker import ContainerBroker, PolicyConflict, TooOld
from .sharded import database_files
from .snapshot import ContainerReader, ContainerSnapshot, ContainerStored
from .sync_realms import FILE, SyncRealms, check_target

_METADATA = ("HTTP_X_CONTAINER_META_", "HTTP_X_CONTAINER_SYSMETA_")
_SAVED = frozenset(
    (
        "HTTP_X_CONTAINER_READ",
        "HTTP_X_CONTAINER_WRITE",
        "HTTP_X_CONTAINER_SYNC_KEY",
        "HTTP_X_CONTAINER_SYNC_TO",
    )
)
Result = TypeVar("Result")
_check_limits = check_metadata_limits("container")
MAX_ROWS = 100_000  # in one UPDATE


class ContainerServer(DatabaseServer[ContainerBroker]):
    """The WSGI application; see DatabaseServer for its options."""

    server_type = "container-server"
    data_directory = "containers"
    broker_class = ContainerBroker
    sample_rates = {"HEAD": 0.1, "REPLICATE": 0.01}

    def __init__(self, conf: Mapping[str, Any], logger: Any) -> None:
        super().__init__(conf, logger)
        self.snapshots: Snapshots[ContainerSnapshot] = Snapshots(self._reader)
        self.account_reports = AccountReports(conf, logger)
        self.allowed_sync_hosts = csv_list(conf.get("allowed_sync_hosts", "127.0.0.1"))
        self.realms = SyncRealms(os.path.join(swift_dir.current(), FILE), logger)
        self.saved_headers = _SAVED
        if truthy(conf.get("allow_versions", "false")):
            self.saved_headers = _SAVED | {"HTTP_X_VERSIONS_LOCATION"}
        self.default_policy = int(self.policies.default)

    def verbs(self) -> dict[str, Handler]:
        return {
            "HEAD": self.head,
            "GET": self.get,
            "PUT": self.put,
            "POST": self.post,
            "DELETE": self.delete,
            "UPDATE": self.update,
        }

    def replication_operations(self) -> Mapping[str, Operation]:
        return {"merge_shard_ranges": _merge_ranges_of_peer, "get_shard_ranges": _shard_ranges_for_peer}

    def exchange_class(self) -> Any:
        from .replicator import RowsExchange  # a server seldom needs it

        return RowsExchange

    def _reader(self, path: str) -> ContainerReader:
        return ContainerReader(self.reading_broker(path))

    @staticmethod
    def exists(path: str) -> bool:
        return os.path.exists(path) or bool(database_files(path))

    # -- targets

    def container(self, environ: Environ, with_room: bool = False) -> Place:
        """The container that a request names. Raises BadRequest, InsufficientStorage."""
        device, partition, account, container, obj = self.segments(environ, 4, 5)
        if obj:
            raise BadRequest(f"Invalid path: {quote(environ['PATH_INFO'][:1024].encode('latin-1'))}")
        return self._container([device, partition, account, container], with_room)

    def _container(self, parts: list[str], with_room: bool = False) -> Place:
        device, partition, account, container = parts
        check_container_name(account, container)
        return self.place(device, partition, wsgi_to_str(account), wsgi_to_str(container), with_room)

    def _object(self, parts: list[str], with_room: bool = False) -> tuple[Place, str]:
        """(the container's place, the object's name) of a path of five segments."""
        device, partition, account, container, obj = parts
        if "\0" in obj or "\0" in container or "\0" in account:
            check_object_name(account, container, obj)
        if not (account.isascii() and container.isascii()):
            account, container = wsgi_to_str(account), wsgi_to_str(container)
        return self.place(device, partition, account, container, with_room), wsgi_to_str(obj)

    def _hot_parts(self, environ: Environ) -> list[str]:
        """The five segments of an object row's path, fewer for a container's."""
        parts: list[str] = environ["PATH_INFO"].split("/", 5)
        if (
            len(parts) != 6
            or parts[0]
            or not all(parts[1:])
            or parts[1] in (".", "..")
            or not parts[2].isdecimal()
            or len(parts[2]) > MAX_PARTITION_DIGITS
        ):
            return [part for part in self.segments(environ, 4, 5) if part]
        del parts[0]
        return parts

    # -- GET, HEAD

    def head(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """HEAD: totals and metadata."""
        return server_get.head(environ, start_response, self.container(environ), self.snapshots)

    def get(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """GET: a listing of objects, shard ranges or namespaces."""
        place = self.container(environ)
        return server_get.get(environ, start_response, place, self.snapshots, self.policy_index(environ))

    # -- object rows

    def put(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """PUT of an object row, of shard ranges or of a container."""
        parts = self._hot_parts(environ)
        if len(parts) == 5:
            environ["swift.db.kind"] = "PUT_object"
            return self._put_object(environ, start_response, parts)
        place = self._container(parts, with_room=True)
        if environ.get("HTTP_X_BACKEND_RECORD_TYPE", "").lower() == "shard":
            environ["swift.db.kind"] = "PUT_shard"
            return self._put_shards(environ, start_response, place)
        environ["swift.db.kind"] = "PUT_container"
        return self._put_container(environ, start_response, place)

    def _put_object(
        self, environ: Environ, start_response: StartResponse, parts: list[str]
    ) -> Iterable[bytes]:
        timestamp = environ.get("HTTP_X_TIMESTAMP")
        if timestamp is None or not is_plain(timestamp):
            timestamp = timestamp_of(environ)
        place, name = self._object(parts, with_room=True)
        policy = self.policy_index(environ)
        record = (
            name,
            timestamp,
            integer_header(environ, "HTTP_X_SIZE"),
            native_header(environ, "HTTP_X_CONTENT_TYPE"),
            native_header(environ, "HTTP_X_ETAG"),
            0,
            policy or 0,
            self._other_time(environ, "HTTP_X_CONTENT_TYPE_TIMESTAMP"),
            self._other_time(environ, "HTTP_X_META_TIMESTAMP"),
        )
        redirect = self._add_row(environ, place, record, policy, timestamp)
        if redirect is not None:
            return answer(environ, start_response, 301, None, redirect)
        return answer(environ, start_response, 201, b"")

    @staticmethod
    def _other_time(environ: Environ, key: str) -> str | None:
        value = environ.get(key)
        if not value:
            return None
        try:
            return internal_timestamp(value)
        except ValueError:
            raise BadRequest(f"Invalid {key[5:].replace('_', '-').title()} header") from None

    def _add_row(
        self, environ: Environ, place: Place, record: tuple[Any, ...], policy: int | None, timestamp: str
    ) -> list[tuple[str, str]] | None:
        """Put a row into the pending file; or the headers of a redirection to a shard. Raises DatabaseMissing."""
        try:
            return self._add_row_there(environ, place, record)
        except DatabaseMissing:
            if not self._may_create(environ, place):
                raise
        self.run_to_create(place, self._create, place, Timestamp(timestamp).normal, policy or 0)
        return self._add_row_there(environ, place, record)

    def _add_row_there(
        self, environ: Environ, place: Place, record: tuple[Any, ...]
    ) -> list[tuple[str, str]] | None:
        if "HTTP_X_BACKEND_ACCEPT_REDIRECT" in environ and is_true(environ, "HTTP_X_BACKEND_ACCEPT_REDIRECT"):
            redirect = self._redirect(environ, place, record[0])
            if redirect is not None:
                return redirect
        self.append(place, record, LOCK_TIMEOUT)
        return None

    @staticmethod
    def _may_create(environ: Environ, place: Place) -> bool:
        """Returns True if a missing database is to be created."""
        wanted = environ.get("HTTP_X_BACKEND_AUTO_CREATE")
        if wanted is None:
            prefix = limits().auto_create_account_prefix
            return place.account.startswith(prefix) and not place.account.startswith(prefix + "shards_")
        return truthy(wanted)

    def _change_or_create(
        self,
        environ: Environ,
        place: Place,
        policy: int | None,
        timestamp: str,
        function: Callable[..., Result],
        *args: Any,
    ) -> tuple[bool, Result]:
        """(True if the database had to be created, function(broker, *args)). Raises DatabaseMissing, BadRequest."""
        if not self._may_create(environ, place):
            return False, self.run_long(place, self._change, place, function, *args)

        def change_or_create() -> tuple[bool, Result]:
            created = False
            if not self.exists(place.path):
                if policy is None:
                    raise BadRequest("X-Backend-Storage-Policy-Index header is required")
                created = self._create(place, Timestamp(timestamp).normal, policy)
            return created, self._change(place, function, *args)

        created: tuple[bool, Result] = self.run_to_create(place, change_or_create)
        return created

    def _change(self, place: Place, function: Callable[..., Result], *args: Any) -> Result:
        broker = self.broker(place)
        if not broker.exists():
            raise DatabaseMissing(place.path)
        return function(broker, *args)

    def _redirect(self, environ: Environ, place: Place, name: str) -> list[tuple[str, str]] | None:
        stored = self.snapshots.stored(place.path)
        assert isinstance(stored, ContainerStored)
        found = stored.updating.including(name)
        if found is None:
            return None
        location = f"/{found['name']}/{name}"
        quoted = quote(location)
        if quoted != location and not is_true(environ, "HTTP_X_BACKEND_ACCEPT_QUOTED_LOCATION"):
            return None
        return [
            ("Location", quoted),
            ("X-Backend-Location-Is-Quoted", "true"),
            ("X-Backend-Redirect-Timestamp", Timestamp(found["timestamp"]).internal),
        ]

    # -- PUT container

    def _put_container(
        self, environ: Environ, start_response: StartResponse, place: Place
    ) -> Iterable[bytes]:
        timestamp = timestamp_of(environ)
        self._check_sync_to(environ)
        requested = self.policy_index(environ)
        accounts = account_update.wanted(environ)
        new_policy = requested if requested is not None else self._default_policy(environ)
        updates = metadata_headers(environ, timestamp, _METADATA, self.saved_headers)
        try:
            made, alive, info = self.run_to_create(
                place, self._store, place, timestamp, requested, new_policy, updates
            )
        except PolicyConflict as conflict:
            headers = [("X-Backend-Storage-Policy-Index", str(conflict.policy_index))]
            return answer(environ, start_response, 409, None, headers)
        except TooOld:
            return answer(environ, start_response, 409)
        if self._is_unknown(environ, accounts, info):
            # a single one may be a new disk that has nothing yet: other container servers ask the others
            if made and len(accounts[1]) > 1:
                self.run(place, self.broker(place).remove_if_untouched, info, updates)
            return answer(environ, start_response, 404)
        headers = [("X-Backend-Storage-Policy-Index", str(info["storage_policy_index"]))]
        return answer(environ, start_response, 201 if alive else 202, b"" if alive else None, headers)

    def _is_unknown(
        self, environ: Environ, accounts: tuple[str, list[account_update.AccountNode]], info: dict[str, Any]
    ) -> bool:
        """Tell the account servers; returns True if every one of them knows of no such account (13.8)."""
        partition, nodes = accounts
        statuses = self.account_reports.send(partition, nodes, info, account_update.request_headers(environ))
        return bool(statuses) and all(status == 404 for status in statuses)

    def _default_policy(self, environ: Environ) -> int:
        header = environ.get("HTTP_X_BACKEND_STORAGE_POLICY_DEFAULT")
        if header:
            try:
                index = int(header)
            except ValueError:
                index = -1
            if index < 0 or index >= 2**31:
                raise BadRequest(f"Invalid X-Backend-Storage-Policy-Default {header[:64]}")
            return index
        return self.default_policy

    def _store(
        self,
        place: Place,
        timestamp: str,
        requested: int | None,
        new_policy: int,
        updates: Mapping[str, tuple[str, str]],
    ) -> tuple[bool, bool, dict[str, Any]]:
        """(True if the database was made, True if the container is new or alive again, its info).

        Raises PolicyConflict, TooOld, BadRequest.
        """
        broker = self.broker(place)
        if not broker.exists():
            _check_limits(updates)
            try:
                broker.create(timestamp, new_policy)
            except DatabaseExists:
                broker.reload_files()
            else:
                broker.touch(None, updates, _check_limits)
                _refresh_link(broker, updates)
                return True, True, broker.info()
        alive = broker.put(timestamp, requested, new_policy, updates, _check_limits)
        _refresh_link(broker, updates)
        return False, alive, broker.info()

    def _check_sync_to(self, environ: Environ) -> None:
        value = environ.get("HTTP_X_CONTAINER_SYNC_TO")
        if value:
            complaint, _ = check_target(wsgi_to_str(value), self.allowed_sync_hosts, self.realms)
            if complaint:
                raise BadRequest(complaint)

    # -- shard ranges, rows in bulk

    def _put_shards(self, environ: Environ, start_response: StartResponse, place: Place) -> Iterable[bytes]:
        timestamp = timestamp_of(environ)
        policy = self.policy_index(environ)
        updates = metadata_headers(environ, timestamp, _METADATA, self.saved_headers)
        try:
            document = json.loads(read_body(environ))
            if not isinstance(document, list):
                raise TypeError("a list of shard ranges is required")
            ranges = [shard_ranges.from_wire(item) for item in document]
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as err:
            raise BadRequest(f"Invalid body: {err!r}"[:1024]) from None
        created, index = self._change_or_create(
            environ, place, policy, timestamp, _merge_ranges, ranges, updates
        )
        headers = [("X-Backend-Storage-Policy-Index", str(index))]
        return answer(environ, start_response, 201 if created else 202, b"" if created else None, headers)

    def update(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """UPDATE: object rows from a JSON list, merged at once (13.7)."""
        environ["swift.db.kind"] = "UPDATE"
        place = self.container(environ, with_room=True)
        timestamp = timestamp_of(environ)
        policy = self.policy_index(environ)
        try:
            rows = json.loads(read_body(environ))
            if not isinstance(rows, list):
                raise ValueError("a list of rows is required")
            if len(rows) > MAX_ROWS:
                raise ValueError(f"more than {MAX_ROWS} rows")
            items = [_row_item(row) for row in rows]
        except (ValueError, RecursionError) as err:
            raise BadRequest(str(err)[:1024]) from None
        self._change_or_create(environ, place, policy, timestamp, _merge_rows, items)
        return answer(environ, start_response, 202)

    # -- POST, DELETE

    def post(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """POST: metadata."""
        place = self.container(environ, with_room=True)
        timestamp = timestamp_of(environ)
        self._check_sync_to(environ)
        updates = metadata_headers(environ, timestamp, _METADATA, self.saved_headers)
        put_timestamp = None if is_true(environ, "HTTP_X_BACKEND_NO_TIMESTAMP_UPDATE") else timestamp
        self.run(place, self._post, place, put_timestamp, updates)
        return answer(environ, start_response, 204, b"")

    def _post(self, place: Place, timestamp: str | None, updates: Mapping[str, tuple[str, str]]) -> None:
        broker = self.broker(place)
        broker.commit_pending()
        broker.touch(timestamp, updates, _check_limits, broker.check_alive)
        _refresh_link(broker, updates)

    def delete(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """DELETE of an object row or a container."""
        parts = self._hot_parts(environ)
        if len(parts) == 5:
            return self._delete_object(environ, start_response, parts)
        place = self._container(parts)
        timestamp = timestamp_of(environ)
        accounts = account_update.wanted(environ)
        deleted = self.run(place, self._delete, place, timestamp)
        if deleted is None:
            return answer(environ, start_response, 409)
        existed, info = deleted
        if self._is_unknown(environ, accounts, info):
            return answer(environ, start_response, 404)
        return answer(environ, start_response, 204 if existed else 404, b"" if existed else None)

    def _delete(self, place: Place, timestamp: str) -> tuple[bool, dict[str, Any]] | None:
        """(True if there was a container, its info), None for one that can't be deleted. Raises DatabaseMissing."""
        broker = self.broker(place)
        if not broker.exists():
            raise DatabaseMissing(place.path)
        existed = broker.delete(timestamp)
        if existed is None:
            return None
        sync_store.refresh(broker)
        return existed, broker.info()

    def _delete_object(
        self, environ: Environ, start_response: StartResponse, parts: list[str]
    ) -> Iterable[bytes]:
        timestamp = timestamp_of(environ)
        place, name = self._object(parts)
        policy = self.policy_index(environ)
        record = (name, timestamp, 0, "application/deleted", "noetag", 1, policy or 0, None, None)
        redirect = self._add_row(environ, place, record, policy, timestamp)
        if redirect is not None:
            return answer(environ, start_response, 301, None, redirect)
        return answer(environ, start_response, 204, b"")


def _refresh_link(broker: ContainerBroker, updates: Iterable[str]) -> None:
    if any(key.startswith(sync_store.MARK) for key in updates):
        sync_store.refresh(broker)


def _merge_ranges(
    broker: ContainerBroker,
    ranges: list[shard_ranges.ShardRange],
    updates: Mapping[str, tuple[str, str]],
) -> int:
    broker.touch(None, updates, _check_limits)
    broker.merge_shard_ranges(ranges)
    return broker.storage_policy_index


def _merge_ranges_of_peer(broker: Any, arguments: list[Any]) -> tuple[int, bytes | None]:
    """REPLICATE merge_shard_ranges (14.1). Raises BadRequest."""
    if not 1 <= len(arguments) <= 2 or not isinstance(arguments[0], list) or len(arguments[0]) > MAX_ROWS:
        raise BadRequest("merge_shard_ranges needs a list of ranges")
    try:
        ranges = [shard_ranges.from_wire(item) for item in arguments[0]]
    except (ValueError, KeyError, TypeError) as err:
        raise BadRequest(f"Invalid body: {err!r}"[:1024]) from None
    broker.merge_ranges_of_peer(ranges)
    return 202, None


def _shard_ranges_for_peer(broker: Any, arguments: list[Any]) -> tuple[int, bytes | None]:
    """REPLICATE get_shard_ranges: all of them, own and deleted ones too (14.1)."""
    return 200, json.dumps(sorted(broker.all_shard_ranges(), key=shard_ranges.sort_key)).encode()


def _merge_rows(broker: ContainerBroker, items: list[Any]) -> None:
    broker.merge_items(items)
    fsync_dir(broker.directory)  # what is answered with 202 was in no pending file


def _row_item(row: Any) -> Any:
    """A row of an UPDATE as an item. Raises ValueError."""
    if not isinstance(row, dict):
        raise ValueError("a row must be an object")
    try:
        return ContainerBroker.item_from_peer(row)
    except KeyError as err:
        raise ValueError(f"a row without {err.args[0]}") from None


def app_factory(global_conf: Mapping[str, Any], **local_conf: Any) -> ContainerServer:
    """PasteDeploy's entry point for `egg:swift#container`."""
    conf = {**global_conf, **local_conf}
    return ContainerServer(conf, get_logger(conf, ContainerServer.server_type))
