"""Our replica of one database in a pass: what it was when it was looked at, and what may have become of it since.

Lives here: the look, and the proof that a replica holds nothing that its peers were not told. Never here: whom to tell.
Methods whose docstring says so block.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from swift.core import clock
from swift.core.checksum import crc32
from swift.engine.threads import DevicePool

from ..broker import Broker
from ..connection import Connection
from ..metadata import merge_metadata, parse_metadata
from ..taking_over import later_times
from .peer_state import PeerState

SNAPSHOT = ".snapshot"  # the end of names of copies on their way to a peer, in a device's tmp
SHARE_OF_ROOM = 0.5  # of what is free on the device, that a copy may take
_PAGES = 4096  # copied at a time
_CHUNK = 1 << 20


class Replica:
    """One replica of ours. `info`: its replication_info as it was last read; `device_path`: of the device that it lies on.

    `beside`: what the daemon has looked at beside that.
    """

    def __init__(
        self, broker: Broker, pool: DevicePool, device_path: str, info: dict[str, Any], beside: Any = None
    ) -> None:
        self.broker = broker
        self.pool = pool
        self.device_path = device_path
        self.info = info
        self.beside = beside
        self.file = os.path.basename(broker.file)
        self._stored = _state(info)
        self.ranges_changed = False
        self.has_learned = False  # a peer knew more than we had told others of
        self.was_used = False  # since it was looked at

    @property
    def name_hash(self) -> str:
        """Which database it is."""
        return os.path.basename(self.broker.directory)

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """function(*args) in the device's threads."""
        self.was_used = True
        return self.pool.run_long(function, *args)

    # -- what peers know

    def learn(self, peer: PeerState) -> bool:
        """What the peer's replica knows becomes known here; returns True if anything was news. Raises as Broker.change."""
        broker = self.broker
        policy = peer.policy_info()
        if policy is not None and not broker.policy_would_change(self.info, policy):
            policy = None
        times = peer._asdict()
        if policy is None and not broker.has_news_in(self.info, times, peer.metadata):
            return False
        self.run(broker.change, lambda conn: broker.take_over(conn, times, peer.metadata, policy), True)
        self.has_learned = True
        # what is to be found in the end, if nobody else changes anything
        stored, metadata = self._stored
        metadata = dict(metadata)
        merge_metadata(metadata, peer.metadata)
        self._stored = later_times(stored, times), metadata
        if policy is not None:
            self.info["storage_policy_index"] = policy["storage_policy_index"]
        self.info.update(later_times(self.info, times))
        merged = parse_metadata(self.info["metadata"])
        merge_metadata(merged, peer.metadata)
        self.info["metadata"] = orjson.dumps(merged).decode()
        return True

    def is_untouched(self, conn: Connection) -> bool:
        """Returns True if the replica holds nothing but what it held when it was looked at, and what peers told since."""
        row = self.broker.read_info(conn)
        return (
            not self.ranges_changed
            and row["id"] == self.info["id"]
            and row["hash"] == self.info["hash"]
            and self.broker.read_max_row(conn, self.broker.row_table) == self.info["max_row"]
            and _state(row) == self._stored
            and self.broker.read_max_row(conn, "shard_range") == self.info.get("shard_max_row", -1)
        )

    # -- rows

    def rows_after(self, start: int, count: int) -> tuple[bytes, int, int]:
        """Up to `count` rows above row id `start` as a JSON list, how many, and the last one's row id. Blocks."""
        with self.broker.connection() as conn:
            cursor = conn.execute(
                f"SELECT * FROM {self.broker.row_table} WHERE ROWID > ? ORDER BY ROWID LIMIT ?",
                (start, count),
            )
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
        return orjson.dumps(rows), len(rows), rows[-1]["ROWID"] if rows else start

    # -- the whole file

    @contextlib.contextmanager
    def snapshot(self) -> Any:
        """(path, bytes, CRC-32) of a copy in one state, for the block. Raises OSError, sqlite3.Error."""
        path = f"{self.device_path}/tmp/{self.name_hash}-{clock.uuid4().hex}{SNAPSHOT}"
        try:
            size, checksum = self.run(self._copy, path)
            yield path, size, checksum
        finally:
            self.pool.leave(_unlink, path)

    def _copy(self, path: str) -> tuple[int, int]:
        """Nobody can commit while a connection of ours reads, so that the copy never begins anew."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(os.path.dirname(path))
        self.broker.commit_pending()
        room = os.statvfs(os.path.dirname(path))
        if os.stat(self.broker.file).st_size > room.f_bavail * room.f_frsize * SHARE_OF_ROOM:
            raise OSError(errno.ENOSPC, "no room for a copy", path)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        copy = sqlite3.connect(path, isolation_level=None)
        try:
            copy.execute("PRAGMA synchronous = OFF")
            with self.broker.connection() as conn, conn.reading():
                self.broker.read_info(conn)
                conn.backup(copy, pages=_PAGES, sleep=0)
        finally:
            copy.close()
        checksum = size = 0
        with open(path, "rb", buffering=0) as file:
            while data := file.read(_CHUNK):
                checksum = crc32(data, checksum)
                size += len(data)
        return size, checksum


def _state(row: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """(times, metadata) of a stat row."""
    times = {key: row[key] for key in ("created_at", "put_timestamp", "delete_timestamp")}
    return times, parse_metadata(row["metadata"])


def _unlink(path: str) -> None:
    for name in (path, path + "-journal"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
