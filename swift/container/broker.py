"""The database of one container: object rows, totals, shard ranges, and its files while it is sharded (database.md 8, 11).

Lives here: reading and merging rows, and which of several files is asked. Never here: HTTP, listings
(container.listing), moving rows between containers (the sharder).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from swift.core.config import truthy
from swift.core.fs import fault_point
from swift.core.timestamp import Timestamp, decode_timestamps, normalize_timestamp
from swift.db import pending, schema
from swift.db.broker import MERGE_BATCH, SQL_VARIABLES, Broker, Metadata, parse_metadata
from swift.db.connection import Connection
from swift.db.errors import DatabaseError
from swift.db.merge import MAX_INTEGER, ObjectItem, ObjectRow, is_plain, is_zero, merge_objects
from swift.db.pending import DirectoryLock, Record

from . import shard_ranges
from .shard_ranges import ShardRange

NOT_FOUND, UNSHARDED, SHARDING, SHARDED, COLLAPSED = (
    "not_found",
    "unsharded",
    "sharding",
    "sharded",
    "collapsed",
)

MERGE_AHEAD_ABOVE = 16 * 1024  # bytes
MERGE_AHEAD_BATCH = 200  # rows in a transaction: others may want the database meanwhile

_ROW_COLUMNS = "ROWID, name, created_at, size, content_type, etag, deleted, storage_policy_index"
_INFO_COLUMNS = (
    "account, container, created_at, put_timestamp, delete_timestamp, status, status_changed_at, object_count,"
    " bytes_used, reported_put_timestamp, reported_delete_timestamp, reported_object_count, reported_bytes_used, hash,"
    " id, x_container_sync_point1, x_container_sync_point2, storage_policy_index"
)
# the view without its cost: two primary-key look-ups
_INFO_SOURCE = (
    "(SELECT ci.*, coalesce(ps.object_count, 0) AS object_count, coalesce(ps.bytes_used, 0) AS bytes_used"
    " FROM container_info ci LEFT JOIN policy_stat ps ON ci.storage_policy_index = ps.storage_policy_index)"
)
_SHARDING_KEYS = (
    "x-container-sysmeta-shard-quoted-root",
    "x-container-sysmeta-shard-root",
    "x-container-sysmeta-sharding",
)


class PolicyConflict(DatabaseError):
    """The container exists with another policy than the one that was asked for."""

    def __init__(self, policy_index: int) -> None:
        super().__init__(f"the container's policy is {policy_index}")
        self.policy_index = policy_index


class TooOld(DatabaseError):
    """The container was deleted later than the PUT that would create it."""


def database_files(path: str) -> list[str]:
    """The database files beside and including `path`, oldest first (2)."""
    directory, name = os.path.split(path)
    stem = name[:-3]
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [
        f"{directory}/{found}"
        for found in sorted(names)
        if found.endswith(".db") and (found == name or found[: len(stem) + 1] == stem + "_")
    ]


def file_epoch(path: str) -> str | None:
    """The epoch in a database file's name, in normal form, None if there is none."""
    _, underscore, epoch = os.path.basename(path)[:-3].partition("_")
    return epoch if underscore else None


class ContainerBroker(Broker):
    """A container database; see Broker for the arguments. `path` is always `<hash>.db`, whichever files there are."""

    kind = "container"
    data_directory = "containers"
    ddl = schema.CONTAINER
    stat_table = "container_info"
    row_table = "object"
    _tombstone_column = "created_at"

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__(path, **options)
        self._files: list[str] | None = None
        self._reported_extra_files = False

    # -- files and states

    @property
    def files(self) -> list[str]:
        """The database files, oldest first; remembered until reload_files."""
        if not self._files:
            self._files = database_files(self.path)
        return self._files

    def reload_files(self) -> None:
        """Look again which files there are."""
        self._files = None

    @property
    def file(self) -> str:
        files = self.files
        return files[-1] if files else self.path

    def exists(self) -> bool:
        self.reload_files()
        return bool(self.files)

    def _initial_row(self, put_timestamp: str, policy_index: int | None) -> dict[str, Any]:
        if not self.account or not self.container:
            raise ValueError("a container database needs the names of account and container")
        if policy_index is None:
            raise ValueError("a container database needs a storage policy")
        return {
            "account": self.account,
            "container": self.container,
            "created_at": normalize_timestamp(time.time()),
            "id": self.new_id(),
            "put_timestamp": put_timestamp,
            "status_changed_at": put_timestamp,
            "storage_policy_index": policy_index,
        }

    def create(self, put_timestamp: str, policy_index: int | None = None) -> None:
        super().create(put_timestamp, policy_index)
        self.reload_files()

    def component_files(self) -> list[str]:
        """The files that hold the container's rows: retiring and fresh while sharding, else one."""
        files = self.files
        if len(files) > 2 and not self._reported_extra_files and self.logger is not None:
            self._reported_extra_files = True
            self.logger.warning("Unexpected db files will be ignored: %s", files[:-2])
        return files[-2:]

    @property
    def path_name(self) -> str:
        """`account/container`, read from the database if it wasn't given."""
        if self.account is None or self.container is None:
            with self.connection() as conn:
                row = self._stat_row(conn, "account, container")
            self.account, self.container = row["account"], row["container"]
        return f"{self.account}/{self.container}"

    def db_state(self) -> str:
        """One of not_found, unsharded, sharding, sharded, collapsed (11.3)."""
        files = self.files
        if not files:
            return NOT_FOUND
        if len(files) > 1:
            return SHARDING
        if file_epoch(files[0]) is None:
            return UNSHARDED
        return single_file_state(files[0], self.all_shard_ranges(), self.path_name)

    # -- rows

    @staticmethod
    def item_from_record(record: Record) -> ObjectItem:
        """(name, created_at, size, content_type, etag, deleted[, policy[, ctype time[, meta time]]]) as an item."""
        if not 6 <= len(record) <= 9:
            raise ValueError(f"{len(record)} items")
        return checked_item(*record)

    def put_object(
        self,
        name: str,
        timestamp: str,
        size: int,
        content_type: str,
        etag: str,
        deleted: int = 0,
        storage_policy_index: int = 0,
        ctype_timestamp: str | None = None,
        meta_timestamp: str | None = None,
    ) -> int:
        """Record an object's row; returns the pending file's size. Raises as put_record."""
        return self.put_record(
            (
                name,
                timestamp,
                size,
                content_type,
                etag,
                deleted,
                storage_policy_index,
                ctype_timestamp,
                meta_timestamp,
            )
        )

    def delete_object(self, name: str, timestamp: str, storage_policy_index: int = 0) -> int:
        """Record a tombstone; returns the pending file's size. Raises as put_record."""
        return self.put_object(name, timestamp, 0, "application/deleted", "noetag", 1, storage_policy_index)

    def merge_items(
        self, items: list[ObjectItem], source: str | None = None, point: int | None = None
    ) -> None:
        """Merge object rows; `source`: a peer whose rows up to row id `point` these are. Raises ValueError, sqlite3.Error."""
        for start in range(0, len(items), MERGE_BATCH):
            batch = items[start : start + MERGE_BATCH]
            with self.connection() as conn, conn.writing():
                deletes, inserts = merge_objects(self.rows_named(conn, {item[0] for item in batch}), batch)
                conn.executemany("DELETE FROM object WHERE ROWID = ?", [(row.rowid,) for row in deletes])
                conn.executemany(
                    "INSERT INTO object (name, created_at, size, content_type, etag, deleted, storage_policy_index)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [row[1:] for row in inserts],
                )
                if source is not None and point is not None and start + MERGE_BATCH >= len(items):
                    self._remember_source(conn, source, point)

    @staticmethod
    def rows_named(conn: Connection, names: Iterable[str]) -> dict[tuple[str, int], ObjectRow]:
        """The stored rows of these names, live and deleted, of all policies."""
        found: dict[tuple[str, int], ObjectRow] = {}
        wanted = list(names)
        for start in range(0, len(wanted), SQL_VARIABLES):
            part = wanted[start : start + SQL_VARIABLES]
            marks = ",".join("?" * len(part))
            for row in conn.execute(
                f"SELECT {_ROW_COLUMNS} FROM object WHERE deleted IN (0, 1) AND name IN ({marks})", part
            ):
                found[row[1], row[7]] = ObjectRow(*row)
        return found

    def commit_pending(self) -> None:
        """As Broker.commit_pending; of a long file all but the last records are merged before the lock is taken.

        Writers then wait for the lock no longer than for a few rows. Merging object rows twice, should we die in between,
        changes nothing.
        """
        merged = b""
        if not self.skip_commits:
            with contextlib.suppress(FileNotFoundError):
                if os.stat(self.pending_path).st_size > MERGE_AHEAD_ABOVE:
                    merged = self._merge_ahead()
        self._commit_pending(merged)

    def shorten_pending(self) -> None:
        """Merge all but the last records without the lock, and hold it only to leave those in the file.

        A writer never waits for a commit and its syncs. Should we die before the file is replaced, all is merged again.
        """
        merged = self._merge_ahead()
        if not merged:
            return
        with DirectoryLock(self.directory, self.lock_timeout):
            data = b"".join(pending.read_all(self.pending_path))
            if data.startswith(merged):
                pending.replace(self.pending_path, data[len(merged) :])

    def _merge_ahead(self) -> bytes:
        """Merge what the pending file holds now, without its lock, but for the last record, which may not be whole."""
        data = pending.read(self.pending_path)
        data = data[: max(data.rfind(b":"), 0)]
        self._merge_entries(pending.split(data), MERGE_AHEAD_BATCH)
        fault_point("db:merge:ahead")
        return data

    def get_objects(
        self,
        limit: int,
        marker: str = "",
        end_marker: str = "",
        include_deleted: bool | None = None,
        since_row: int | None = None,
    ) -> list[dict[str, Any]]:
        """Rows of all policies by name, reserved names too; include_deleted None: both, True: only tombstones (8.1)."""
        conditions, args = ["deleted IN (0, 1)" if include_deleted is None else "deleted = ?"], []
        if include_deleted is not None:
            args.append(int(include_deleted))
        for test, value in (("name > ?", marker), ("name < ?", end_marker)):
            if value:
                conditions.append(test)
                args.append(value)  # type: ignore[arg-type]
        if since_row:
            conditions.append("ROWID > ?")
            args.append(since_row)
        self.commit_pending()
        with self.connection() as conn:
            cursor = conn.execute(
                f"SELECT * FROM object WHERE {' AND '.join(conditions)} ORDER BY name LIMIT ?", (*args, limit)
            )
            names = [d[0] for d in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def misplaced_since(self, start: int, count: int) -> list[dict[str, Any]]:
        """Up to `count` rows with row ids above `start` whose policy is not the container's, by row id."""
        self.commit_pending()
        with self.connection() as conn:
            cursor = conn.execute(
                "SELECT * FROM object WHERE ROWID > ? AND storage_policy_index !="
                " (SELECT storage_policy_index FROM container_info LIMIT 1) ORDER BY ROWID LIMIT ?",
                (start, count),
            )
            names = [d[0] for d in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def remove_objects(self, lower: str, upper: str, max_row: int | None = None) -> None:
        """Physically delete rows with lower < name <= upper ('' = unbounded) and row id <= max_row, of all policies."""
        conditions: list[str] = ["deleted IN (0, 1)"]
        args: list[Any] = []
        for test, value in (("name > ?", lower), ("name <= ?", upper), ("ROWID <= ?", max_row)):
            if value:
                conditions.append(test)
                args.append(value)
        self.commit_pending()
        with self.connection() as conn, conn.writing():
            conn.execute(f"DELETE FROM object WHERE {' AND '.join(conditions)}", args)

    # -- reading

    def info(self) -> dict[str, Any]:
        self.commit_pending()
        with self.connection() as conn:
            info = self._stat_row(conn, _INFO_COLUMNS, _INFO_SOURCE)
        return self._with_usage(info)

    def read_info(self, conn: Connection) -> dict[str, Any]:
        """The merged part of info on a connection, with the raw metadata."""
        return self._stat_row(conn, _INFO_COLUMNS + ", metadata", _INFO_SOURCE)

    def _with_usage(self, info: dict[str, Any]) -> dict[str, Any]:
        """Counts as seen from outside in the database's state (11.3), and db_state."""
        self.account, self.container = info["account"], info["container"]
        state = self.db_state()
        if state == SHARDING:
            with self.connection(self.component_files()[0]) as conn:
                info.update(self._stat_row(conn, "object_count, bytes_used", _INFO_SOURCE))
        elif state == SHARDED and self.is_root():
            info["object_count"], info["bytes_used"] = self.shard_usage()
        info["db_state"] = state
        return info

    def replication_info(self) -> dict[str, Any]:
        """info with object_count as `count`, and metadata (raw text), max_row and shard_max_row (8.1)."""
        info = self.info()
        info["count"] = info.pop("object_count")
        with self.connection() as conn:
            info["metadata"] = self._stat_row(conn, "metadata")["metadata"]
        info["max_row"] = self.max_row()
        info["shard_max_row"] = self.max_row("shard_range")
        return info

    def policy_stats(self) -> dict[int, dict[str, int]]:
        """{policy index: {object_count, bytes_used}} of what is merged, never without the container's own policy."""
        with self.connection() as conn:
            stats = {
                row[0]: {"object_count": row[1], "bytes_used": row[2]}
                for row in conn.execute(
                    "SELECT storage_policy_index, object_count, bytes_used FROM policy_stat ORDER BY 1"
                )
            }
            own = self._stat_row(conn, "storage_policy_index")["storage_policy_index"]
        stats.setdefault(own, {"object_count": 0, "bytes_used": 0})
        return stats

    @property
    def storage_policy_index(self) -> int:
        """The container's policy."""
        with self.connection() as conn:
            index = self._stat_row(conn, "storage_policy_index")["storage_policy_index"]
        assert isinstance(index, int)
        return index

    def is_deleted(self) -> bool:
        return not self.exists() or is_deleted(self.info())

    def empty(self) -> bool:
        self.commit_pending()
        for path in self.component_files():
            with self.connection(path) as conn:
                if not is_zero(conn.execute("SELECT max(object_count) FROM policy_stat").fetchone()[0]):
                    return False
        if self.is_root() and self.sharding_initiated():
            return self.shard_usage()[0] <= 0
        return True

    def is_reclaimable(self, now: float, reclaim_age: float) -> bool:
        """Whether the whole database may be removed (10.5)."""
        info = self.info()
        age = Timestamp(max(now - reclaim_age, 0))
        if not age > Timestamp(info["delete_timestamp"]) > Timestamp(info["put_timestamp"]):
            return False
        if not self.empty():
            return False
        return not self.is_root() or (not self.other_shard_ranges() and info["db_state"] != SHARDING)

    # -- PUT and DELETE

    def put(
        self,
        timestamp: str,
        requested_policy: int | None,
        new_policy: int,
        updates: Mapping[str, tuple[str, str]],
        limits: Any = None,
    ) -> bool:
        """PUT of a container whose database exists, all of it or nothing; whether it has come to life again (13.5).

        Raises PolicyConflict, TooOld, and what `limits` raises.
        """
        info = self.info()
        recreated = is_deleted(info)
        if recreated:
            if timestamp <= info["delete_timestamp"]:
                raise TooOld()
        elif requested_policy is not None and requested_policy != info["storage_policy_index"]:
            raise PolicyConflict(info["storage_policy_index"])
        with self.connection() as conn, conn.writing():
            if recreated:
                self.set_policy(conn, new_policy, timestamp)
            self._raise_timestamp(conn, "put_timestamp", timestamp)
            if recreated:
                self._raise_timestamp(conn, "status_changed_at", timestamp)
            if updates:
                self._update_metadata(conn, updates, limits)
        return recreated

    def remove_if_untouched(self, info: dict[str, Any], metadata: Mapping[str, tuple[str, str]]) -> bool:
        """Undo a creation that nobody was told of, unless somebody has used the container since; whether it was undone."""
        with DirectoryLock(self.directory, self.lock_timeout):
            if os.path.exists(self.pending_path) and os.stat(self.pending_path).st_size:
                return False
            if self.max_row() != -1 or self.max_row("shard_range") != -1:
                return False
            if self.metadata() != dict(metadata) or self.info() != info:
                return False
            self._remove_locked()
        return True

    def delete(self, timestamp: str) -> bool | None:
        """DELETE of a container whose database exists (13.6).

        Whether there was a container, or None if it can't be deleted: it has rows, or was PUT later. Then nothing changes.
        """
        if not self.empty():
            return None
        info = self.info()
        if timestamp <= info["put_timestamp"] and not is_deleted(info):
            return None
        existed = Timestamp(info["put_timestamp"]) > 0 and not is_deleted(info)
        self.delete_db(timestamp)
        return existed

    def _update_metadata(
        self, conn: Connection, updates: Mapping[str, tuple[str, str]], limits: Any = None
    ) -> None:
        target = updates.get("X-Container-Sync-To")
        if target is not None:
            stored = parse_metadata(self._stat_row(conn, "metadata")["metadata"]).get("X-Container-Sync-To")
            if stored is None or stored[0] != target[0]:
                conn.execute(
                    "UPDATE container_info SET x_container_sync_point1 = -1, x_container_sync_point2 = -1"
                )
        super()._update_metadata(conn, updates, limits)

    # -- other writes

    def _cleared_by_delete(self, key: str) -> bool:
        return key.lower() not in _SHARDING_KEYS

    def reported(self, put_timestamp: str, delete_timestamp: str, object_count: int, bytes_used: int) -> None:
        """Remember what a majority of account servers has accepted."""
        with self.connection() as conn, conn.writing():
            conn.execute(
                "UPDATE container_info SET reported_put_timestamp = ?, reported_delete_timestamp = ?,"
                " reported_object_count = ?, reported_bytes_used = ?",
                (put_timestamp, delete_timestamp, object_count, bytes_used),
            )

    def set_storage_policy_index(self, policy_index: int, timestamp: str | None = None) -> None:
        """Switch the container to a policy, as of `timestamp` (default now)."""
        with self.connection() as conn, conn.writing():
            self.set_policy(conn, policy_index, timestamp or normalize_timestamp(time.time()))

    @staticmethod
    def set_policy(conn: Connection, policy_index: int, timestamp: str) -> None:
        """set_storage_policy_index inside of a transaction."""
        conn.execute("INSERT OR IGNORE INTO policy_stat (storage_policy_index) VALUES (?)", (policy_index,))
        conn.execute(
            "UPDATE container_info SET storage_policy_index = ?, status_changed_at = max(?, status_changed_at)"
            " WHERE storage_policy_index <> ?",
            (policy_index, timestamp, policy_index),
        )

    def set_x_container_sync_points(self, point1: int | None, point2: int | None) -> None:
        """Set those that are not None."""
        with self.connection() as conn, conn.writing():
            conn.execute(
                "UPDATE container_info SET x_container_sync_point1 = coalesce(?, x_container_sync_point1),"
                " x_container_sync_point2 = coalesce(?, x_container_sync_point2)",
                (point1, point2),
            )

    def reconciler_sync(self) -> int:
        """Highest row id checked for misplaced policies."""
        with self.connection() as conn:
            point = self._stat_row(conn, "reconciler_sync_point")["reconciler_sync_point"]
        assert isinstance(point, int)
        return point

    def update_reconciler_sync(self, point: int) -> None:
        """Set reconciler_sync_point."""
        with self.connection() as conn, conn.writing():
            conn.execute("UPDATE container_info SET reconciler_sync_point = ?", (point,))

    # -- shard ranges

    def all_shard_ranges(self) -> list[ShardRange]:
        """Every stored range, own and deleted ones too, by row id; [] where an old database has no such table."""
        with self.connection() as conn:
            return self.read_shard_ranges(conn)

    @staticmethod
    def read_shard_ranges(conn: Connection) -> list[ShardRange]:
        """all_shard_ranges on a connection."""
        with _old_databases():
            rows = conn.execute(f"SELECT {', '.join(shard_ranges.FIELDS)} FROM shard_range ORDER BY ROWID")
            return [dict(zip(shard_ranges.FIELDS, row, strict=True)) for row in rows]
        return []

    def own_shard_range(self, default: bool = True) -> ShardRange | None:
        """The container's own range; if none is stored, the default one or None."""
        found = [item for item in self.all_shard_ranges() if item["name"] == self.path_name]
        if found:
            return found[0]
        return (
            shard_ranges.own_range_default(self.path_name, normalize_timestamp(time.time()))
            if default
            else None
        )

    def other_shard_ranges(self) -> list[ShardRange]:
        """Ranges that are neither deleted nor the own one."""
        own = self.path_name
        return [item for item in self.all_shard_ranges() if not item["deleted"] and item["name"] != own]

    def get_shard_ranges(
        self,
        marker: str = "",
        end_marker: str = "",
        includes: str = "",
        reverse: bool = False,
        include_deleted: bool = False,
        states: Iterable[int] | None = None,
        include_own: bool = False,
        exclude_others: bool = False,
        fill_gaps: bool = False,
    ) -> list[ShardRange]:
        """The query of 11.4."""
        return select_shard_ranges(
            self.all_shard_ranges(),
            self.path_name,
            marker,
            end_marker,
            includes,
            reverse,
            include_deleted,
            states,
            include_own,
            exclude_others,
            fill_gaps,
        )

    def merge_shard_ranges(self, items: Iterable[ShardRange]) -> None:
        """Merge ranges (11.2)."""
        incoming = list(items)
        if not incoming:
            return
        with self.connection() as conn, conn.writing():
            existing = {item["name"]: item for item in self.read_shard_ranges(conn)}
            deletes, inserts = shard_ranges.merge_shard_ranges(existing, incoming)
            conn.executemany("DELETE FROM shard_range WHERE name = ?", [(name,) for name in deletes])
            conn.executemany(
                f"INSERT INTO shard_range ({', '.join(shard_ranges.FIELDS)})"
                f" VALUES ({', '.join('?' * len(shard_ranges.FIELDS))})",
                [tuple(item[key] for key in shard_ranges.FIELDS) for item in inserts],
            )

    def shard_usage(self) -> tuple[int, int]:
        """(object count, bytes) in the shards."""
        return shard_ranges.usage(self.all_shard_ranges(), self.path_name)

    def sharding_initiated(self) -> bool:
        """Whether somebody has asked for sharding (11.3)."""
        own = self.own_shard_range()
        assert own is not None
        return own["state"] in shard_ranges.CLEAVING and bool(self.other_shard_ranges())

    def sharding_required(self) -> bool:
        """Whether the sharder has work here (11.3)."""
        state = self.db_state()
        return state == SHARDING or (state == UNSHARDED and self.sharding_initiated())

    def is_root(self) -> bool:
        """Whether this is no shard of another container (11.3)."""
        return is_root(self.metadata(), self.path_name, self.own_shard_range(default=False))

    # -- reclaim

    def _reclaim_other(self, conn: Connection, sync_age: str) -> None:
        with _old_databases():
            conn.execute(
                "DELETE FROM shard_range WHERE deleted = 1 AND timestamp < ? AND name <> ?",
                (sync_age, self.path_name),
            )


def single_file_state(path: str, ranges: Iterable[ShardRange], own_name: str) -> str:
    """The state of a container whose only file is at `path`, with these ranges."""
    epoch = file_epoch(path)
    if epoch is None:
        return UNSHARDED
    own_epoch = None
    others = False
    for item in ranges:
        if item["name"] == own_name:
            own_epoch = item["epoch"]
        elif not item["deleted"]:
            others = True
    if own_epoch is None or Timestamp(own_epoch) != Timestamp(epoch):
        return UNSHARDED
    return SHARDED if others else COLLAPSED


def select_shard_ranges(
    ranges: Iterable[ShardRange],
    own_name: str,
    marker: str = "",
    end_marker: str = "",
    includes: str = "",
    reverse: bool = False,
    include_deleted: bool = False,
    states: Iterable[int] | None = None,
    include_own: bool = False,
    exclude_others: bool = False,
    fill_gaps: bool = False,
) -> list[ShardRange]:
    """The query of 11.4 on ranges that have been read."""
    wanted = None if states is None else set(states)
    own: ShardRange | None = None
    candidates = []
    for item in ranges:
        is_own = item["name"] == own_name
        if is_own:
            own = item
        if (not include_own if is_own else exclude_others) or (item["deleted"] and not include_deleted):
            continue
        if wanted is None or item["state"] in wanted:
            candidates.append(item)
    if own is None:
        own = shard_ranges.own_range_default(own_name, normalize_timestamp(time.time()))
    return shard_ranges.select(candidates, own, marker, end_marker, includes, reverse, fill_gaps)


@contextmanager
def _old_databases() -> Iterator[None]:
    """Databases from before sharding have no shard_range table: to read nothing from it is right (25)."""
    try:
        yield
    except sqlite3.OperationalError as err:
        if "no such table: shard_range" not in str(err):
            raise


def is_deleted(info: dict[str, Any]) -> bool:
    """8.1 on a row with object_count, put_timestamp, delete_timestamp."""
    return is_zero(info["object_count"]) and Timestamp(info["delete_timestamp"]) > Timestamp(
        info["put_timestamp"]
    )


def is_root(metadata: Metadata, own_name: str, own_range: ShardRange | None) -> bool:
    """Whether these make a root container (11.3)."""
    quoted = metadata.get("X-Container-Sysmeta-Shard-Quoted-Root")
    if quoted and quoted[0]:
        return unquote(quoted[0]) == own_name
    plain = metadata.get("X-Container-Sysmeta-Shard-Root")
    if plain and plain[0]:
        return plain[0] == own_name
    return own_range is None or not own_range["deleted"]


def sharding_enabled(metadata: Metadata, others: Iterable[ShardRange]) -> bool:
    """Whether sharding is enabled for a container with this metadata and these other ranges (11.3)."""
    flag = metadata.get("X-Container-Sysmeta-Sharding")
    return bool(flag and truthy(flag[0])) or any(True for _ in others)


def checked_item(
    name: Any,
    created_at: Any,
    size: Any,
    content_type: Any,
    etag: Any,
    deleted: Any,
    storage_policy_index: Any = 0,
    ctype_timestamp: Any = None,
    meta_timestamp: Any = None,
) -> ObjectItem:
    """A row from outside as an item that can be merged. Raises ValueError."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"bad object name {name!r:.100}")
    if not isinstance(content_type, str) or not isinstance(etag, str):
        raise ValueError("content type and etag must be text")
    if not (name.isascii() and content_type.isascii() and etag.isascii()):
        (name + content_type + etag).encode()  # lone surrogates can't be stored
    if not isinstance(created_at, str):
        created_at = normalize_timestamp(created_at)
    if not is_plain(created_at):
        decode_timestamps(created_at)
    try:
        size, deleted, policy = int(size), int(deleted), int(storage_policy_index or 0)
    except (TypeError, OverflowError) as err:
        raise ValueError(str(err)) from None
    if not (-MAX_INTEGER <= size <= MAX_INTEGER and deleted in (0, 1) and 0 <= policy <= MAX_INTEGER):
        raise ValueError("a number out of range")
    return ObjectItem(
        name,
        created_at,
        size,
        content_type,
        etag,
        deleted,
        policy,
        ctype_timestamp and Timestamp(ctype_timestamp).internal,
        meta_timestamp and Timestamp(meta_timestamp).internal,
    )
