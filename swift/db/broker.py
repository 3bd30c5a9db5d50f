"""What account and container databases have in common: life cycle, metadata, pending merges, reclaim (database.md 5-10).

Lives here: one database directory and the operations on it that do not depend on what its rows are. Subclasses know
their rows. Never here: HTTP, rings, peers. Methods block (SQLite, files); servers decide what runs in a thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from swift.core import clock
from swift.core.fs import fault_point, forget_durable, fsync_dir, mkdirs_durable, rename_durable
from swift.core.timestamp import Timestamp, normalize_timestamp

from . import pending
from .connection import CONNECTIONS, Connection, is_damage
from .errors import DatabaseBusy, DatabaseError, DatabaseExists, DatabaseMissing, DatabaseQuarantined
from .merge import is_zero
from .migrate import migrate
from .pending import DirectoryLock
from .schema import build

MERGE_BATCH = 10_000  # rows in one transaction
SQL_VARIABLES = 900  # below the oldest SQLite's limit of 999

Metadata = dict[str, tuple[str, str]]


class Broker:
    """One account or container database.

    `path`: `<hash directory>/<hash>.db`. `timeout`: seconds to wait for SQLite's locks; `lock_timeout`: for the
    directory's. `stale_reads_ok`: go on with what is merged when the pending file cannot be. `skip_commits`: never
    merge it, and refuse to write. `durable`: commits survive power loss on every file system.
    """

    kind: str  # "account" or "container", also the name in log lines
    data_directory: str
    ddl: str
    stat_table: str
    row_table: str

    def __init__(
        self,
        path: str,
        *,
        account: str | None = None,
        container: str | None = None,
        timeout: float = 25.0,
        lock_timeout: float = 10.0,
        stale_reads_ok: bool = False,
        skip_commits: bool = False,
        durable: bool = False,
        logger: Any = None,
    ) -> None:
        self.path = path
        self.directory = os.path.dirname(path)
        self.pending_path = path + ".pending"
        self.account = account
        self.container = container
        self.timeout = timeout
        self.lock_timeout = lock_timeout
        self.stale_reads_ok = stale_reads_ok
        self.skip_commits = skip_commits
        self.durable = durable
        self.logger = logger

    # -- files

    @property
    def file(self) -> str:
        """The authoritative database file."""
        return self.path

    def exists(self) -> bool:
        """Whether there is a database."""
        return os.path.exists(self.file)

    @property
    def device_path(self) -> str:
        """The mount directory: five levels above the database directory's files."""
        return self.directory.rsplit("/", 4)[0]

    @contextmanager
    def connection(self, path: str | None = None) -> Iterator[Connection]:
        """A connection of our own for the block. Raises DatabaseMissing, DatabaseBusy, DatabaseQuarantined, sqlite3.Error."""
        conn = None
        try:
            conn = CONNECTIONS.take(path or self.file, self.timeout, self.durable)
            if not conn.is_current:
                if not self.skip_commits:
                    migrate(conn, self.kind)
                conn.is_current = True
            yield conn
            if conn.in_transaction:
                raise DatabaseError("a transaction was left open")
        except sqlite3.DatabaseError as err:
            if conn is not None:
                conn.close()
            if is_damage(err):
                self.quarantine(str(err))
                raise DatabaseQuarantined(f"{self.path}: {err}") from err
            raise
        except BaseException:
            if conn is not None:
                conn.close()
            raise
        CONNECTIONS.give_back(conn, self.durable)

    def quarantine(self, reason: str) -> str:
        """Move the whole directory aside (10.6); returns where to."""
        CONNECTIONS.forget(self.directory)
        root = os.path.join(self.device_path, "quarantined", os.path.basename(self.data_directory))
        target = os.path.join(root, os.path.basename(self.directory))
        mkdirs_durable(root, self.device_path)
        try:
            rename_durable(self.directory, target)
        except OSError:
            if not os.path.isdir(self.directory):
                raise
            target = f"{target}-{clock.uuid4().hex}"
            rename_durable(self.directory, target)
        forget_durable(self.directory)
        if self.logger is not None:
            self.logger.error("Quarantined %s to %s due to %s database", self.directory, target, reason)
        return target

    # -- creation and removal

    def _initial_row(self, put_timestamp: str, policy_index: int | None) -> dict[str, Any]:
        raise NotImplementedError

    def new_id(self) -> str:
        """An id for a replica of a database on this device."""
        return f"{clock.uuid4()}-{os.path.basename(self.device_path)}"

    def create(self, put_timestamp: str, policy_index: int | None = None) -> None:
        """Make the database, durably. Raises DatabaseExists when it is there already (or by then), OSError."""
        if self.exists():
            raise DatabaseExists(self.path)
        mkdirs_durable(self.directory, self.device_path, remember=False)
        row = self._initial_row(put_timestamp, policy_index)
        fd, tmp = tempfile.mkstemp(dir=self.directory, suffix=".tmp")
        os.close(fd)
        try:
            build(tmp, self.ddl, self.stat_table, row, policy_index)
            fault_point("db:create:built")
            with DirectoryLock(self.directory, self.lock_timeout):
                if self.exists():
                    raise DatabaseExists(self.path)
                os.rename(tmp, self.path)
                fault_point("db:create:renamed")
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(tmp)
            raise
        fsync_dir(self.directory)

    def remove(self) -> None:
        """Delete the directory and its then empty parents (10.5)."""
        with DirectoryLock(self.directory, self.lock_timeout):
            self._remove_locked()

    def _remove_locked(self) -> None:
        CONNECTIONS.forget(self.directory)
        forget_durable(self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)
        parent = os.path.dirname(self.directory)
        for directory in (parent, os.path.dirname(parent)):
            try:
                os.rmdir(directory)
            except OSError:
                break
            forget_durable(directory)

    # -- pending records

    def put_record(self, record: pending.Record) -> int:
        """Append a record to the pending file; a long file is merged instead, with it. Returns the file's new size.

        Raises DatabaseMissing, DatabaseBusy, OSError.
        """
        if self.skip_commits:
            raise DatabaseError("refusing to write: skip_commits")
        with DirectoryLock(self.directory, self.lock_timeout):
            if not self.exists():
                raise DatabaseMissing(self.path)
            try:
                size = os.stat(self.pending_path).st_size
            except FileNotFoundError:
                size = 0
            if size > pending.MERGE_ABOVE:
                self._merge_pending_locked([record])
                return 0
            return pending.append(self.pending_path, pending.encode(record))

    def commit_pending(self) -> None:
        """Merge what the pending file holds. Raises DatabaseBusy (not with stale_reads_ok), DatabaseMissing, OSError."""
        self._commit_pending()

    def shorten_pending(self) -> None:
        """Merge so much of the pending file that it is short again. Raises as commit_pending."""
        self.commit_pending()

    def _commit_pending(self, merged: bytes = b"") -> None:
        if self.skip_commits:
            return
        try:
            if not os.stat(self.pending_path).st_size:
                return
        except FileNotFoundError:
            return
        try:
            with DirectoryLock(self.directory, self.lock_timeout):
                self._merge_pending_locked(merged=merged)
        except DatabaseBusy:
            if not self.stale_reads_ok:
                raise

    def _merge_pending_locked(self, more: Iterable[pending.Record] = (), merged: bytes = b"") -> None:
        """Merge the pending file and `more` in the order of arrival, then empty the file.

        `merged`: what has been merged already, if the file still starts with it.
        """
        start = len(merged) if merged and pending.read(self.pending_path, 0, len(merged)) == merged else 0
        self._merge_entries(pending.entries(self.pending_path, start), MERGE_BATCH)
        added = [self.item_from_record(record) for record in more]
        if added:
            self.merge_items(added)
        fault_point("db:merge:committed")
        with contextlib.suppress(FileNotFoundError):
            pending.empty(self.pending_path)

    def _merge_entries(self, entries: Iterable[bytes], batch_size: int) -> None:
        """Merge entries of a pending file; one that can't be understood costs only itself."""
        batch: list[Any] = []
        for entry in entries:
            try:
                batch.append(self.item_from_record(pending.decode(entry)))
            except ValueError as err:
                if self.logger is not None:
                    self.logger.error("Invalid pending entry %s: %s", self.pending_path, err)
                continue
            if len(batch) >= batch_size:
                self.merge_items(batch)
                batch = []
        if batch:
            self.merge_items(batch)

    @staticmethod
    def item_from_record(record: pending.Record) -> Any:
        """The row item that a pending record stands for. Raises ValueError for anything that could not be merged."""
        raise NotImplementedError

    def merge_items(self, items: list[Any], source: str | None = None) -> None:
        """Merge row items, in transactions of bounded size; `source`: remember how far we are with that peer."""
        raise NotImplementedError

    def _remember_source(self, conn: Connection, source: str, point: int) -> None:
        cursor = conn.execute(
            "UPDATE incoming_sync SET sync_point = max(?, sync_point) WHERE remote_id = ?", (point, source)
        )
        if not cursor.rowcount:
            conn.execute("INSERT INTO incoming_sync (sync_point, remote_id) VALUES (?, ?)", (point, source))

    # -- reading

    def _stat_row(self, conn: Connection, columns: str = "*", table: str | None = None) -> dict[str, Any]:
        cursor = conn.execute(f"SELECT {columns} FROM {table or self.stat_table}")
        row = cursor.fetchone()
        if row is None:
            raise sqlite3.DatabaseError("file is not a database: it has no stat row")
        return dict(zip((d[0] for d in cursor.description), row, strict=True))

    def info(self) -> dict[str, Any]:
        """get_info of 7.1 and 8.1, after merging the pending file."""
        raise NotImplementedError

    def max_row(self, table: str | None = None) -> int:
        """The highest row id ever given out, -1 if none was."""
        with self.connection() as conn:
            found = conn.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = ?", (table or self.row_table,)
            ).fetchone()
        return found[0] if found else -1

    def items_since(self, start: int, count: int) -> list[dict[str, Any]]:
        """Up to `count` rows with row ids above `start`, all columns, by row id."""
        self.commit_pending()
        with self.connection() as conn:
            cursor = conn.execute(
                f"SELECT * FROM {self.row_table} WHERE ROWID > ? ORDER BY ROWID LIMIT ?", (start, count)
            )
            names = [d[0] for d in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def sync_table(self, incoming: bool) -> list[dict[str, Any]]:
        """The sync points with peers: [{remote_id, sync_point, updated_at}] (4.1)."""
        table = "incoming_sync" if incoming else "outgoing_sync"
        with self.connection() as conn:
            cursor = conn.execute(f"SELECT remote_id, sync_point, updated_at FROM {table}")
            return [{"remote_id": row[0], "sync_point": row[1], "updated_at": row[2]} for row in cursor]

    # -- metadata

    def metadata(self) -> Metadata:
        """{header name: (value, timestamp)}, cleared entries ('') included."""
        with self.connection() as conn:
            return parse_metadata(self._stat_row(conn, "metadata")["metadata"])

    def update_metadata(self, updates: Mapping[str, tuple[str, str]], limits: Any = None) -> None:
        """Store items that are newer than what is there. `limits`: callable(metadata) that raises if the result is too much."""
        if not updates:
            return
        with self.connection() as conn, conn.writing(sync=True):
            self._update_metadata(conn, updates, limits)

    def touch(
        self, put_timestamp: str | None, updates: Mapping[str, tuple[str, str]], limits: Any = None
    ) -> None:
        """put_timestamp = the later one (None: leave it), and update_metadata: both or neither."""
        if put_timestamp is None and not updates:
            return
        with self.connection() as conn, conn.writing(sync=True):
            if put_timestamp is not None:
                self._raise_timestamp(conn, "put_timestamp", put_timestamp)
            if updates:
                self._update_metadata(conn, updates, limits)

    def _update_metadata(
        self, conn: Connection, updates: Mapping[str, tuple[str, str]], limits: Any = None
    ) -> None:
        stored = parse_metadata(self._stat_row(conn, "metadata")["metadata"])
        changed = merge_metadata(stored, updates)
        if not changed:
            return
        if limits is not None:
            limits(stored)
        conn.execute(f"UPDATE {self.stat_table} SET metadata = ?", (json.dumps(stored),))

    def _cleared_by_delete(self, key: str) -> bool:
        """Whether deleting the database clears this metadata item."""
        return True

    # -- timestamps

    def update_put_timestamp(self, timestamp: str) -> None:
        """put_timestamp = the later one."""
        with self.connection() as conn, conn.writing(sync=True):
            self._raise_timestamp(conn, "put_timestamp", timestamp)

    def update_status_changed_at(self, timestamp: str) -> None:
        """status_changed_at = the later one."""
        with self.connection() as conn, conn.writing():
            self._raise_timestamp(conn, "status_changed_at", timestamp)

    def _raise_timestamp(self, conn: Connection, column: str, timestamp: str) -> None:
        conn.execute(f"UPDATE {self.stat_table} SET {column} = ? WHERE {column} < ?", (timestamp, timestamp))

    def delete_db(self, timestamp: str) -> None:
        """Mark the database deleted at `timestamp` and clear its metadata, unless it was deleted later than that."""
        with self.connection() as conn, conn.writing(sync=True):
            self._delete_db(conn, timestamp)

    def _delete_db(self, conn: Connection, timestamp: str) -> None:
        stored = parse_metadata(self._stat_row(conn, "metadata")["metadata"])
        cleared = {key: ("", timestamp) for key in stored if self._cleared_by_delete(key)}
        if merge_metadata(stored, cleared):
            conn.execute(f"UPDATE {self.stat_table} SET metadata = ?", (json.dumps(stored),))
        conn.execute(
            f"UPDATE {self.stat_table} SET delete_timestamp = ?, status = 'DELETED', status_changed_at = ?"
            " WHERE delete_timestamp < ?",
            (timestamp, timestamp, timestamp),
        )

    def merge_timestamps(self, created_at: str, put_timestamp: str, delete_timestamp: str) -> None:
        """Take over a peer's times: the earliest creation, the latest PUT and DELETE (10.1)."""
        was_deleted = self.is_deleted()
        with self.connection() as conn, conn.writing():
            conn.execute(
                f"UPDATE {self.stat_table} SET created_at = min(?, created_at), put_timestamp = max(?, put_timestamp),"
                " delete_timestamp = max(?, delete_timestamp)",
                (created_at, put_timestamp, delete_timestamp),
            )
        if self.is_deleted() != was_deleted:
            self.update_status_changed_at(normalize_timestamp(clock.time()))

    def is_deleted(self) -> bool:
        """Whether the database counts as deleted (7.1, 8.1)."""
        raise NotImplementedError

    def empty(self) -> bool:
        """Whether it holds no rows that would be lost with it (7.1, 8.1)."""
        raise NotImplementedError

    # -- reclaim

    _tombstone_column: str

    def reclaim(self, age: str | float, sync_age: str | float) -> int:
        """Physically remove what is deleted since before `age` (seconds); returns how many tombstones are left (10.4)."""
        self.commit_pending()
        remaining = self._reclaim_tombstones(str(age))
        with self.connection() as conn, conn.writing():
            for table in ("outgoing_sync", "incoming_sync"):
                conn.execute(f"DELETE FROM {table} WHERE updated_at < ?", (str(sync_age),))
            stored = parse_metadata(self._stat_row(conn, "metadata")["metadata"])
            kept = {
                key: item for key, item in stored.items() if item[0] != "" or not _is_before(item[1], age)
            }
            if len(kept) != len(stored):
                conn.execute(f"UPDATE {self.stat_table} SET metadata = ?", (json.dumps(kept),))
            self._reclaim_other(conn, str(sync_age))
        return remaining

    def _reclaim_other(self, conn: Connection, sync_age: str) -> None:
        """What a subclass has to throw away beside rows."""

    def _reclaim_tombstones(self, age: str) -> int:
        """Batches of names, one transaction each, so that no request waits long for the lock."""
        table, column = self.row_table, self._tombstone_column
        marker, remaining = "", 0
        first = True
        with self.connection() as conn:
            while True:
                above = "name >= ?" if first else "name > ?"
                rows = conn.execute(
                    f"SELECT name, {column} FROM {table} WHERE deleted = 1 AND {above} ORDER BY name LIMIT ?",
                    (marker, MERGE_BATCH),
                ).fetchall()
                if not rows:
                    return remaining
                low, marker, first = rows[0][0], rows[-1][0], False
                # a name may have one tombstone a policy: the last name's others are covered by its range
                old = sum(1 for row in rows if row[1] < age)
                remaining += len(rows) - old
                if old:
                    with conn.writing():
                        conn.execute(
                            f"DELETE FROM {table} WHERE deleted = 1 AND name >= ? AND name <= ? AND {column} < ?",
                            (low, marker, age),
                        )


def _is_before(timestamp: str, age: str | float) -> bool:
    try:
        return Timestamp(timestamp) < Timestamp(max(float(age), 0))
    except ValueError:
        return False


def parse_metadata(text: str | None) -> Metadata:
    """The metadata column as a dictionary. Raises sqlite3.DatabaseError when it is not what any writer writes."""
    if not text:
        return {}
    try:
        return {key: (value, timestamp) for key, (value, timestamp) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as err:
        raise sqlite3.DatabaseError(f"database disk image is malformed: metadata: {err}") from None


def merge_metadata(stored: Metadata, updates: Mapping[str, tuple[str, str]]) -> bool:
    """Put the newer items of `updates` into `stored`; whether any was (6)."""
    changed = False
    for key, (value, timestamp) in updates.items():
        old = stored.get(key)
        if old is None or timestamp > old[1]:
            stored[key] = (value, timestamp)
            changed = True
    return changed


__all__ = ["Broker", "Metadata", "is_zero", "merge_metadata", "parse_metadata"]
