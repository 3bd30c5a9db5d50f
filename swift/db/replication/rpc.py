"""REPLICATE on account and container servers: what peers call (database.md 14.1, 14.2).

Lives here: the operations that both kinds know, and the arrival of whole files over HTTP, which is ours alone: servers that take them say
so in every answer (`FILES`). What becomes of a file that has arrived is in `arrivals`. Never here: calling others.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import orjson

from swift.core import clock
from swift.core.checksum import crc32
from swift.core.concurrency import Semaphore, sleep
from swift.core.errors import BadRequest, InsufficientStorage
from swift.engine.new_file import write_all
from swift.engine.threads import pool_for
from swift.wire.storage import Environ, StartResponse, answer

from ..broker import Broker
from ..errors import DatabaseError, DatabaseMissing, DatabaseQuarantined
from ..request import read_body
from . import arrivals, inventory, peer_state, set_aside
from .known import Known, look
from .peer_state import PeerState
from .spots import Spot, spot

MAX_ROWS = 100_000  # in one merge_items
MAX_POINTS = 100_000  # in one merge_syncs
MAX_MANY = 1000  # databases in one sync_many
MAX_BROUGHT = 64  # devices in one bring
FILE, MERGE = "file", "merge"
AT_A_TIME = {FILE: 1, MERGE: 2}  # on a device, in a process
MAX_FILE = 1 << 50  # bytes; the disk's reserve is the real bound
CHUNK = 1 << 20
SHORT_LOCK_TIMEOUT = 1.0  # seconds, for who looks at many

FILES = "X-Backend-Database-Files"
"""In every answer of a server that takes whole databases over HTTP, and then in the request that brings one: how it is to be used."""
COMPLETE, JOIN = "complete", "join"
FILE_NAME, FILE_ID, FILE_CRC = "X-Backend-Database-Name", "X-Backend-Database-Id", "X-Backend-Database-Crc32"

KnownInfos = Known[tuple[dict[str, Any], dict[str, int]]]
"""replication_info, and points by peers' ids."""
MAX_PEERS = 16

Operation = Callable[[Broker, "list[Any]"], "tuple[int, bytes | None]"]
"""operation(broker, arguments) -> (status, body). Blocks. Raises ValueError, BadRequest for bad arguments."""


class Host(Protocol):
    """What is asked of the server."""

    data_directory: str
    devices: Any
    logger: Any

    def replica(self, path: str, **options: Any) -> Broker:
        """A broker for a path."""

    def segments(self, environ: Environ, least: int, most: int) -> list[str]:
        """The path's segments, device and partition checked."""

    def bring(self, where: Spot, ids: list[int]) -> dict[str, Any]:
        """Bring these devices up to date with a replica of ours. Raises DatabaseMissing."""


class ReplicationCalls:
    """Answers REPLICATE. `more`: operations that only this kind of database has."""

    def __init__(self, host: Host, more: Mapping[str, Operation]) -> None:
        self.host = host
        self._known: KnownInfos = Known()
        self._turns: dict[tuple[str, str], Semaphore] = {}
        self._asked_by_people: dict[str, Callable[[Spot, list[Any]], tuple[int, bytes]]] = {
            "inventory": self._inventory,
            "tell": self._tell,
            "take_back": self._take_back,
            "bring": self._bring,
        }
        self.operations: dict[str, Operation] = {
            "sync": self._sync,
            "merge_items": self._merge_items,
            "merge_syncs": self._merge_syncs,
            **more,
        }

    def replicate(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """The handler of the verb."""
        device, partition, name_hash = self.host.segments(environ, 3, 3)
        self.host.devices.get(device)
        where = spot(self.host.devices.root, self.host.data_directory, device, partition, name_hash)
        kind = None
        try:
            if environ.get(_key(FILES)) is not None:
                self.host.devices.get_with_room(device)
                status, body = self._receive(environ, where)
            else:
                name, arguments = _operation(environ)
                if name in self._asked_by_people:
                    status, body = self._asked_by_people[name](where, arguments)
                elif name == "sync_many":
                    self.host.devices.get_with_room(device)
                    status, body = self._sync_many(device, arguments)
                else:
                    self.host.devices.get_with_room(device)
                    status, body = self._call(where, name, arguments)
                kind = "application/json" if name.startswith("get_") else None
        except ValueError as err:
            raise BadRequest(f"Invalid arguments: {err!s:.500}") from None
        except (DatabaseMissing, DatabaseQuarantined) as err:
            if isinstance(err, DatabaseQuarantined):
                self.host.logger.error("%s", err)
            status, body, kind = 404, None, None
        return answer(environ, start_response, status, body, [(FILES, "1")], kind)

    def _call(self, where: Spot, name: str, arguments: list[Any]) -> tuple[int, bytes | None]:
        if name in ("complete_rsync", "rsync_then_merge"):
            if len(arguments) not in (1, 2):
                raise BadRequest(f"{name} has {len(arguments)} arguments")
            file = where.file(arguments[1] if len(arguments) == 2 else None)
            arrival, remote_id = where.arrival(arguments[0]), peer_state.checked_id(arguments[0])
            use = COMPLETE if name == "complete_rsync" else JOIN
            return self._long(where, FILE, self._arrived, where, use, file, arrival, remote_id)
        operation = self.operations.get(name)
        if operation is None:
            raise BadRequest(f"Unknown operation {name[:64]!a}")
        if name == "merge_items":
            return self._long(where, MERGE, self._run, where, operation, arguments)
        return pool_for(where.device_path).run_long(self._run, where, operation, arguments)

    def _long(self, where: Spot, kind: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """function(*arguments) in the device's threads, of which clients have some left: others like it wait their turn here."""
        key = where.device_path, kind
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = Semaphore(AT_A_TIME[kind])
        with turn:
            return pool_for(where.device_path).run_aside(function, *arguments)

    def _run(self, where: Spot, operation: Operation, arguments: list[Any]) -> tuple[int, bytes | None]:
        with contextlib.suppress(FileExistsError):
            os.mkdir(where.tmp)  # for what rsync may bring next; never the device above it
        broker = self.host.replica(where.path, lock_timeout=arrivals.LOCK_TIMEOUT)
        if not broker.exists():
            return 404, None
        return operation(broker, arguments)

    def _arrived(
        self, where: Spot, use: str, file: str, arrival: str, remote_id: str
    ) -> tuple[int, bytes | None]:
        step = arrivals.complete if use == COMPLETE else arrivals.join
        done = step(where, file, arrival, remote_id, self.host.replica, self.host.logger)
        return (204, b"") if done else (404, None)

    # -- operations

    def _sync(self, broker: Broker, arguments: list[Any]) -> tuple[int, bytes | None]:
        info = sync(broker, peer_state.from_arguments(arguments, self.host.logger.error), self._known)
        return 200, json.dumps(info).encode()

    def _sync_many(self, device: str, arguments: list[Any]) -> tuple[int, bytes | None]:
        """`sync` of many databases of a device, which is ours alone: for each what `sync` answers, or the status.

        Each is a trip of its own, so that none of a server's other work waits for all of them. Raises ValueError, BadRequest.
        """
        if len(arguments) != 1 or not isinstance(arguments[0], list) or len(arguments[0]) > MAX_MANY:
            raise BadRequest("sync_many needs a list")
        found: list[Any] = []
        for item in arguments[0]:
            if not isinstance(item, list) or len(item) < 2 or type(item[0]) is not int or item[0] < 0:
                raise BadRequest("sync_many needs lists of partition, hash and arguments")
            where = spot(self.host.devices.root, self.host.data_directory, device, str(item[0]), str(item[1]))
            try:
                pool = pool_for(where.device_path)
                found.append(pool.run_long(self._sync_one, where, item[2:]))
                if pool.inline:
                    sleep(0)
            except (DatabaseMissing, DatabaseQuarantined):
                found.append(404)
            except (DatabaseError, sqlite3.Error, OSError) as err:
                self.host.logger.error("ERROR sync of %s: %s", where.path, err)
                found.append(500)
        return 200, orjson.dumps(found)

    def _sync_one(self, where: Spot, arguments: list[Any]) -> dict[str, Any]:
        broker = self.host.replica(where.path, lock_timeout=arrivals.LOCK_TIMEOUT)
        return sync(broker, peer_state.from_arguments(arguments, self.host.logger.error), self._known)

    def _merge_items(self, broker: Broker, arguments: list[Any]) -> tuple[int, bytes | None]:
        if len(arguments) != 2 or not isinstance(arguments[0], list):
            raise BadRequest("merge_items needs a list of rows and an id")
        rows, remote_id = arguments
        if len(rows) > MAX_ROWS:
            raise BadRequest(f"more than {MAX_ROWS} rows")
        merge_rows(broker, rows, peer_state.checked_id(remote_id), self.host.logger)
        return 202, None

    def _merge_syncs(self, broker: Broker, arguments: list[Any]) -> tuple[int, bytes | None]:
        if len(arguments) != 1 or not isinstance(arguments[0], list) or len(arguments[0]) > MAX_POINTS:
            raise BadRequest("merge_syncs needs a list of sync points")
        broker.merge_syncs(arguments[0])
        return 202, None

    # -- operators' commands, ours alone

    def _inventory(self, where: Spot, arguments: list[Any]) -> tuple[int, bytes]:
        """A page of what lies on the device. Raises BadRequest."""
        if [type(argument) for argument in arguments] != [int, str, int]:
            raise BadRequest("inventory needs a partition, a hash and a number")
        partition, name_hash, most = arguments
        document = pool_for(where.device_path).run_long(
            inventory.page,
            where.device_path,
            self.host.data_directory,
            self._short_broker,
            (partition, name_hash),
            max(1, most),
        )
        return 200, orjson.dumps(document)

    def _short_broker(self, path: str) -> Broker:
        return self.host.replica(path, lock_timeout=SHORT_LOCK_TIMEOUT)

    def _tell(self, where: Spot, arguments: list[Any]) -> tuple[int, bytes]:
        """One replica, and what is in quarantine of it."""
        pool = pool_for(where.device_path)
        told = pool.run_long(inventory.tell, self._short_broker(where.path))
        aside = pool.run_long(set_aside.entries, where, self.host.data_directory)
        path = set_aside.quarantine_of(where, self.host.data_directory)
        return 200, orjson.dumps({"told": told, "set_aside": aside, "path": path})

    def _take_back(self, where: Spot, arguments: list[Any]) -> tuple[int, bytes]:
        """Bring a replica back from quarantine. Raises BadRequest."""
        if len(arguments) != 1 or not isinstance(arguments[0], str):
            raise BadRequest("take_back needs the name of an entry")
        refused = pool_for(where.device_path).run_long(
            set_aside.take_back, where, self.host.data_directory, arguments[0]
        )
        return 200, orjson.dumps({"refused": refused})

    def _bring(self, where: Spot, arguments: list[Any]) -> tuple[int, bytes]:
        """Bring these devices of the ring up to date. Raises BadRequest, DatabaseMissing."""
        ids = arguments[0] if len(arguments) == 1 else None
        if not isinstance(ids, list) or len(ids) > MAX_BROUGHT or not all(type(n) is int for n in ids):
            raise BadRequest("bring needs ids of devices")
        return 200, orjson.dumps(self.host.bring(where, ids))

    # -- whole files over HTTP

    def _receive(self, environ: Environ, where: Spot) -> tuple[int, bytes | None]:
        """A database as the body of a request. Raises BadRequest, InsufficientStorage, and what reading raises."""
        use = environ[_key(FILES)]
        if use not in (COMPLETE, JOIN):
            raise BadRequest(f"Invalid {FILES} header")
        file = where.file(environ.get(_key(FILE_NAME)))
        remote_id = peer_state.checked_id(environ.get(_key(FILE_ID)))
        length, checksum = (
            _digits(environ, "CONTENT_LENGTH", MAX_FILE),
            _digits(environ, _key(FILE_CRC), 2**32),
        )
        pool = pool_for(where.device_path)
        if pool.run(os.path.exists, file) == (use == COMPLETE):
            return 404, None
        arrival = f"{where.tmp}/{where.name_hash}-{clock.uuid4().hex}.arriving"
        fd = pool.run(self._open, where, arrival, length)
        try:
            try:
                self._fill(environ["wsgi.input"], pool, fd, length, checksum)
            finally:
                # one who still writes after DeviceStuck has a descriptor of his own
                pool.leave(os.close, fd)
            return self._long(where, FILE, self._arrived, where, use, file, arrival, remote_id)
        finally:
            pool.leave(_unlink, arrival)

    def _open(self, where: Spot, arrival: str, length: int) -> int:
        self.host.devices.look(where.device)
        try:
            self.host.devices.reserve.check(where.device_path, length)
        except OSError:
            raise InsufficientStorage() from None
        with contextlib.suppress(FileExistsError):
            os.mkdir(where.tmp)
        return os.open(arrival, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    @staticmethod
    def _fill(source: Any, pool: Any, fd: int, length: int, checksum: int) -> None:
        left, found = length, 0
        while left:
            data = source.read(min(left, CHUNK))
            if not data:
                raise BadRequest("the body ended early")
            left -= len(data)
            found = crc32(data, found)
            pool.run(write_all, fd, data)
        if found != checksum:
            raise BadRequest("the body is not what was sent")


def sync(broker: Broker, peer: PeerState, known: KnownInfos) -> dict[str, Any]:
    """`sync` on a replica that is there: its replication_info and `point`, after taking over what the peer knows (14.2)."""
    info, point = _info_for_peer(broker, peer.id, known)
    policy = peer.policy_info()
    if policy is not None and broker.policy_would_change(info, policy):
        broker.change(lambda conn: broker.take_over(conn, info, {}, policy), sync=True)
        info, point = broker.info_for_peer(peer.id)
    times = peer._asdict()
    if broker.has_news_in(info, times, peer.metadata):
        broker.change(lambda conn: broker.take_over(conn, times, peer.metadata, None), sync=True)
    if peer.hash == info["hash"] and point < peer.max_row:
        broker.merge_syncs([{"remote_id": peer.id, "sync_point": peer.max_row}])
        point = peer.max_row
    info["point"] = point
    return info


def _info_for_peer(broker: Broker, remote_id: str, known: KnownInfos) -> tuple[dict[str, Any], int]:
    """replication_info, and how far we are with the peer; of an unchanged database without opening it. Raises DatabaseMissing."""
    seen = look(broker.path)
    kept = known.get(broker.path, seen)
    if kept is not None and remote_id in kept[1]:
        return dict(kept[0]), kept[1][remote_id]
    if not broker.exists():
        raise DatabaseMissing(broker.path)
    info, point = broker.info_for_peer(remote_id)
    points = {} if kept is None or len(kept[1]) >= MAX_PEERS else kept[1]
    known.keep(broker.path, seen, (dict(info), {**points, remote_id: point}), info)
    return info, point


def merge_rows(broker: Broker, rows: list[Any], remote_id: str, logger: Any) -> None:
    """`merge_items`: what can't be understood costs only itself. Raises ValueError without a single usable row id."""
    items, point = [], -1
    for row in rows:
        try:
            row_id = row["ROWID"]
            if type(row_id) is not int or not 0 < row_id < 2**63:
                raise ValueError("no row id")
            point = max(point, row_id)
            items.append(broker.item_from_peer(row))
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            logger.error("Invalid row from %s for %s: %r: %.200r", remote_id, broker.path, err, row)
    if rows and point < 0:
        raise ValueError("none of the rows has an id")
    if items or point >= 0:
        broker.merge_from_peer(items, remote_id, point)


def _operation(environ: Environ) -> tuple[str, list[Any]]:
    """(name, arguments) of a call. Raises BadRequest."""
    try:
        body = orjson.loads(read_body(environ))
    except ValueError as err:
        raise BadRequest(str(err)) from None
    if not isinstance(body, list) or not body or not isinstance(body[0], str):
        raise BadRequest("a list of an operation and its arguments is required")
    return body[0], body[1:]


def _key(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")


def _digits(environ: Environ, key: str, limit: int) -> int:
    text = environ.get(key) or ""
    if not text.isascii() or not text.isdecimal() or len(text) > 20 or int(text) >= limit:
        raise BadRequest("bad length or checksum")
    return int(text)


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
