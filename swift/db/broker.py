"""What account and container databases have in common: life cycle, metadata, reclaim (database.md 5-10).

Lives here: one database directory and the operations on it that do not depend on what its rows are. Subclasses know
their rows. Merging the pending file is in swift.db.merger, the moving of
files in swift.db.moves, sync points in swift.db.sync_points. Never here: HTTP, rings,
peers. Methods block (SQLite, files); servers decide what runs in a thread.
"""

from __future__ import annotations

import json
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from swift.core import clock
from swift.core.timestamp import Timestamp
from swift.engine.durable import fsync_dir, mkdirs_durable
from swift.engine.fault_points import fault_point
from swift.engine.new_file import NewFile, write_all

from . import moves, pending, schema
from .connection import CONNECTIONS, Connection, Identity, identity_of, open_connection
from .damage import (
    ContentDamaged,
    may_be_damage,
    may_lack_tables,
    proves_damage,
    read_whole,
    second_look,
)
from .errors import (
    DatabaseBusy,
    DatabaseError,
    DatabaseExists,
    DatabaseMissing,
    DatabaseQuarantined,
    DatabaseReplaced,
)
from .merge import is_zero
from .merger import MERGE_BATCH, PendingMerger
from .metadata import Metadata, merge_metadata, parse_metadata
from .migrate import made_tables, migrate
from .pending import DirectoryLock
from .sync_points import SyncPoints
from .taking_over import TakingOver

SQL_VARIABLES = 900  # below the oldest SQLite's limit of 999
ATTEMPTS = 5  # at changing a database that is being replaced

Result = TypeVar("Result")


class Broker(SyncPoints, TakingOver, ABC):
    """One account or container database.

    `path`: `<hash directory>/<hash>.db`. `timeout`: seconds to wait for SQLite's locks; `lock_timeout`: for the
    directory's. `stale_reads_ok`: go on with what is merged when the pending file cannot be. `skip_commits`: never
    merge it, and refuse to write. `durable`: commits survive power loss on every file system.
    """

    kind: str  # "account" or "container", also the name in log lines
    data_directory: str
    ddl: str
    rows_commute = False  # rows may be merged more than once and in any order

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
        self.merger = PendingMerger(self)

    # -- files

    @property
    def file(self) -> str:
        """The authoritative database file."""
        return self.path

    @property
    def new_file(self) -> str:
        """The file that `create` makes."""
        return self.path

    def exists(self) -> bool:
        """Returns True if there is a database."""
        return os.path.exists(self.file)

    def current_file(self) -> tuple[str, Identity]:
        """The authoritative file as it is now: (path, identity). Raises DatabaseMissing."""
        if self.exists():
            path = self.file
            identity = identity_of(path)
            if identity is not None:
                return path, identity
        raise DatabaseMissing(self.path)

    @property
    def device_path(self) -> str:
        """The mount directory: five levels above the database directory's files."""
        return self.directory.rsplit("/", 4)[0]

    def lock(self) -> DirectoryLock:
        """The directory's lock, for a `with`."""
        return DirectoryLock(self.directory, self.lock_timeout)

    @contextmanager
    def connection(self, path: str | None = None) -> Iterator[Connection]:
        """A connection of our own for the block. Raises DatabaseMissing, DatabaseBusy, DatabaseQuarantined, sqlite3.Error."""
        path = path or self.file
        conn = CONNECTIONS.take(path, self.timeout, self.durable)
        try:
            if not conn.is_current:
                self._prepare(conn)
            yield conn
            if conn.in_transaction:
                raise DatabaseError("a transaction was left open")
        except sqlite3.DatabaseError as err:
            conn.close()
            self._judge(path, conn.identity, err)
            raise
        except BaseException:
            conn.close()
            raise
        CONNECTIONS.give_back(conn, self.durable)

    def glance(self, function: Callable[[Connection], Result]) -> Result:
        """function(conn) in a read transaction, for a database that is looked at once: nothing is set up that only writers need.

        Raises as connection.
        """
        try:
            conn = open_connection(self.file, self.timeout)
            try:
                with conn.reading():
                    return function(conn)
            finally:
                conn.close()
        except sqlite3.DatabaseError:  # of an old release, or damaged: that is found out on the usual road
            with self.connection() as conn, conn.reading():
                return function(conn)

    def _prepare(self, conn: Connection) -> None:
        conn.prepare()
        if self.skip_commits:
            made_tables(conn, self.kind)
        else:
            migrate(conn, self.kind)
        conn.is_current = True

    def change(self, function: Callable[[Connection], Result], sync: bool = False) -> Result:
        """function(conn) in a write transaction, once more if the file is replaced meanwhile; what it returns in the end.

        It decides on what it reads on `conn`, not on what was read before. `sync`: see Connection.writing. Raises as
        connection, DatabaseReplaced, and what the function raises.
        """
        for attempt in range(ATTEMPTS):
            try:
                with self.connection() as conn, conn.writing(sync):
                    return function(conn)
            except DatabaseReplaced:
                if attempt == ATTEMPTS - 1:
                    raise
                self.exists()  # looks again which files there are
        raise AssertionError("not reached")

    # -- damage

    def _judge(self, path: str, identity: Identity, error: sqlite3.DatabaseError) -> None:
        """Set the database aside if the error proves that its file is damaged. Raises DatabaseQuarantined then."""
        if self.skip_commits:
            return  # who only looks moves nothing
        if not proves_damage(error):
            if may_be_damage(error):
                check: Callable[[Connection], Any] = read_whole
            elif may_lack_tables(error):
                check = lambda conn: made_tables(conn, self.kind)  # noqa: E731
            else:
                return
            if identity_of(path) != identity or not second_look(path, self.timeout, check):
                return
        if self._set_aside(path, identity, str(error)) is not None:
            raise DatabaseQuarantined(f"{self.path}: {error}") from error

    def quarantine(self, reason: str) -> str | None:
        """Set the database aside as damaged (10.6); returns where to, None if there is none any more."""
        with self.lock():
            path, identity = self.current_file()
            return self._set_aside(path, identity, reason)

    def _set_aside(self, path: str, identity: Identity, reason: str) -> str | None:
        try:
            target = moves.set_aside(path, identity, self.device_path, self.data_directory, self.lock_timeout)
        except (DatabaseBusy, OSError) as err:
            if self.logger is not None:
                self.logger.error("%s is damaged (%s) and can't be set aside: %s", path, reason, err)
            return None
        if target is not None and self.logger is not None:
            self.logger.error("Quarantined %s to %s due to %s database", self.directory, target, reason)
        return target

    # -- creation and removal

    @abstractmethod
    def _initial_row(self, put_timestamp: str, policy_index: int | None) -> dict[str, Any]: ...

    def new_id(self) -> str:
        """An id for a replica of a database on this device."""
        return f"{clock.uuid4()}-{os.path.basename(self.device_path)}"

    def create(self, put_timestamp: str, policy_index: int | None = None) -> None:
        """Make the database, durably. Raises DatabaseExists when it is there already (or by then), DatabaseBusy, OSError."""
        if self.exists():
            raise DatabaseExists(self.path)
        row = self._initial_row(put_timestamp, policy_index)
        image = schema.image(self.ddl, self.stat_table, row, policy_index)
        for attempt in range(ATTEMPTS):
            mkdirs_durable(self.directory, self.device_path, remember=False)
            try:
                self._create(image)
                break
            except (DatabaseMissing, FileNotFoundError):  # the directory was removed meanwhile
                if attempt == ATTEMPTS - 1:
                    raise
        fsync_dir(self.directory)

    def _create(self, image: bytes) -> None:
        # without a name until it is whole: a crash leaves nothing behind
        new = NewFile(self.directory, os.path.join(self.device_path, "tmp"))
        try:
            os.fchmod(new.fd, 0o600)
            write_all(new.fd, image)
            fault_point("db:create:written")
            os.fsync(new.fd)
            fault_point("db:create:built")
            with self.lock():
                if self.exists():
                    raise DatabaseExists(self.path)
                try:
                    new.link(self.directory, os.path.basename(self.new_file))
                except FileExistsError:
                    raise DatabaseExists(self.path) from None
                fault_point("db:create:linked")
        finally:
            new.close()

    def remove(self, condition: Callable[[Connection], bool] | None = None) -> bool:
        """Delete the directory and its then empty parents (10.5); returns True if it is gone.

        `condition(conn)`: asked when all that was pending is merged and nobody can add anything; False leaves all as it is.
        Raises DatabaseMissing, DatabaseBusy, OSError.
        """
        with self.lock():
            if condition is not None:
                self.merger.merge_locked()
            return moves.remove(
                self.current_file()[0] if condition is not None else self.path,
                self.device_path,
                self.lock_timeout,
                self.timeout,
                condition,
            )

    def replace_file(self, tmp: str, carry_over: Callable[[Connection], None]) -> None:
        """Put the complete database `tmp` in this one's place, durably (14.5).

        Pending rows are merged first. `carry_over(conn)` then brings what the old file has beyond the caller's look into
        `tmp`, and closes that; nobody is in the old file, nor gets in. Raises DatabaseMissing, DatabaseBusy, OSError.
        """
        with self.lock():
            self.merger.merge_locked()
            moves.replace_file(self.current_file()[0], tmp, self.lock_timeout, self.timeout, carry_over)

    # -- pending records

    def put_record(self, record: pending.Record) -> int:
        """Append a record to the pending file; a long file is merged instead, with it. Returns the file's new size.

        Raises DatabaseMissing, DatabaseBusy, OSError.
        """
        if self.skip_commits:
            raise DatabaseError("refusing to write: skip_commits")
        with self.lock():
            if not self.exists():
                raise DatabaseMissing(self.path)
            try:
                size = os.stat(self.pending_path).st_size
            except FileNotFoundError:
                size = 0
            if size > pending.MERGE_ABOVE:
                self.merger.merge_locked([record])
                return 0
            return pending.append(self.pending_path, pending.encode(record))

    def commit_pending(self) -> None:
        """Merge what the pending file holds. Raises DatabaseBusy (not with stale_reads_ok), DatabaseMissing, OSError."""
        self.merger.merge()

    @staticmethod
    @abstractmethod
    def item_from_record(record: pending.Record) -> Any:
        """The row item that a pending record stands for. Raises ValueError for anything that could not be merged."""

    @abstractmethod
    def merge_items(self, items: list[Any], source: str | None = None) -> None:
        """Merge row items, in transactions of bounded size; `source`: remember how far we are with that peer."""

    # -- reading

    def _stat_row(self, conn: Connection, columns: str = "*", table: str | None = None) -> dict[str, Any]:
        cursor = conn.execute(f"SELECT {columns} FROM {table or self.stat_table}")
        row = cursor.fetchone()
        if row is None:
            raise ContentDamaged("it has no stat row")
        return dict(zip((d[0] for d in cursor.description), row, strict=True))

    @abstractmethod
    def info(self) -> dict[str, Any]:
        """get_info of 7.1 and 8.1, after merging the pending file."""

    def max_row(self, table: str | None = None) -> int:
        """The highest row id ever given out, -1 if none was."""
        with self.connection() as conn:
            return self.read_max_row(conn, table or self.row_table)

    @staticmethod
    def read_max_row(conn: Connection, table: str) -> int:
        """max_row on a connection."""
        found = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
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

    # -- metadata

    def metadata(self) -> Metadata:
        """{header name: (value, timestamp)}, cleared entries ('') included."""
        with self.connection() as conn:
            return parse_metadata(self._stat_row(conn, "metadata")["metadata"])

    def update_metadata(self, updates: Mapping[str, tuple[str, str]], limits: Any = None) -> None:
        """Store items that are newer than what is there. `limits`: callable(metadata) that raises if the result is too much."""
        if not updates:
            return
        self.change(lambda conn: self._update_metadata(conn, updates, limits), sync=True)

    def touch(
        self,
        put_timestamp: str | None,
        updates: Mapping[str, tuple[str, str]],
        limits: Any = None,
        check: Callable[[Connection], None] | None = None,
    ) -> None:
        """put_timestamp = the later one (None: leave it), and update_metadata: both or neither.

        `check(conn)`: raises what refuses that, as check_alive does, of the state that is about to be changed.
        """
        if put_timestamp is None and not updates and check is None:
            return

        def store(conn: Connection) -> None:
            if check is not None:
                check(conn)
            if put_timestamp is not None:
                self._raise_timestamp(conn, "put_timestamp", put_timestamp)
            if updates:
                self._update_metadata(conn, updates, limits)

        self.change(store, sync=True)

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
        """Returns True if deleting the database clears this metadata item."""
        return True

    # -- timestamps

    def update_put_timestamp(self, timestamp: str) -> None:
        """put_timestamp = the later one."""
        self.change(lambda conn: self._raise_timestamp(conn, "put_timestamp", timestamp), sync=True)

    def update_status_changed_at(self, timestamp: str) -> None:
        """status_changed_at = the later one."""
        self.change(lambda conn: self._raise_timestamp(conn, "status_changed_at", timestamp))

    def _raise_timestamp(self, conn: Connection, column: str, timestamp: str) -> None:
        conn.execute(f"UPDATE {self.stat_table} SET {column} = ? WHERE {column} < ?", (timestamp, timestamp))

    def delete_db(self, timestamp: str, check: Callable[[Connection], None] | None = None) -> None:
        """Mark the database deleted at `timestamp` and clear its metadata, unless it was deleted later than that.

        `check`: as for touch.
        """

        def mark(conn: Connection) -> None:
            if check is not None:
                check(conn)
            self._delete_db(conn, timestamp)

        self.change(mark, sync=True)

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

    @abstractmethod
    def check_alive(self, conn: Connection) -> None:
        """Raises DatabaseMissing if the database counts as deleted now, in the write transaction of `conn`."""

    @abstractmethod
    def is_deleted(self) -> bool:
        """Returns True if the database counts as deleted (7.1, 8.1)."""

    @abstractmethod
    def empty(self) -> bool:
        """Returns True if it holds no rows that would be lost with it (7.1, 8.1)."""

    # -- reclaim

    _tombstone_column: str

    @abstractmethod
    def is_reclaimable(self, now: float, reclaim_age: float) -> bool:
        """Returns True if the whole database may be removed (10.5)."""

    def is_reclaim_due(self, conn: Connection, info: Mapping[str, Any], age: str, sync_age: str) -> bool:
        """Returns True if `reclaim` would remove anything; `info`: as read on `conn`. Takes no lock that others wait for."""
        for table, condition, limit in (
            (self.row_table, f"deleted = 1 AND {self._tombstone_column}", age),
            ("outgoing_sync", "updated_at", sync_age),
            ("incoming_sync", "updated_at", sync_age),
        ):
            if conn.execute(f"SELECT 1 FROM {table} WHERE {condition} < ? LIMIT 1", (limit,)).fetchone():
                return True
        if '""' not in info["metadata"]:
            return False
        stored = parse_metadata(info["metadata"])
        return any(item[0] == "" and _is_before(item[1], age) for item in stored.values())

    def reclaim(self, age: str | float, sync_age: str | float) -> int:
        """Physically remove what is deleted since before `age` (seconds); returns how many tombstones are left (10.4)."""
        self.commit_pending()
        remaining = self._reclaim_tombstones(str(age))

        def reclaim_rest(conn: Connection) -> None:
            for table in ("outgoing_sync", "incoming_sync"):
                conn.execute(f"DELETE FROM {table} WHERE updated_at < ?", (str(sync_age),))
            stored = parse_metadata(self._stat_row(conn, "metadata")["metadata"])
            kept = {
                key: item for key, item in stored.items() if item[0] != "" or not _is_before(item[1], age)
            }
            if len(kept) != len(stored):
                conn.execute(f"UPDATE {self.stat_table} SET metadata = ?", (json.dumps(kept),))
            self._reclaim_other(conn, str(sync_age))

        self.change(reclaim_rest)
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


__all__ = ["MERGE_BATCH", "Broker", "Metadata", "is_zero", "merge_metadata", "parse_metadata"]
