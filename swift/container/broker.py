"""The database of one container: object rows, totals, PUT and DELETE (database.md 8, 10).

Lives here: reading and merging rows. Files, states and shard ranges are in container.sharded, listings in container.listing;
moving rows between containers is the sharder's business.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

from swift.core import clock
from swift.core.fs import fault_point
from swift.core.timestamp import Timestamp, normalize_timestamp
from swift.db import pending, schema
from swift.db.broker import MERGE_BATCH, SQL_VARIABLES, parse_metadata
from swift.db.connection import Connection
from swift.db.errors import DatabaseError
from swift.db.items import object_item
from swift.db.merge import ObjectItem, ObjectRow, is_zero, merge_objects
from swift.db.pending import DirectoryLock, Record

from .sharded import SHARDED, SHARDING, ShardedDatabase

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


class ContainerBroker(ShardedDatabase):
    """A container database; see Broker for the arguments. `path` is always `<hash>.db`, whichever files there are."""

    kind = "container"
    data_directory = "containers"
    ddl = schema.CONTAINER
    stat_table = "container_info"
    row_table = "object"
    _tombstone_column = "created_at"

    def _initial_row(self, put_timestamp: str, policy_index: int | None) -> dict[str, Any]:
        if not self.account or not self.container:
            raise ValueError("a container database needs the names of account and container")
        if policy_index is None:
            raise ValueError("a container database needs a storage policy")
        return {
            "account": self.account,
            "container": self.container,
            "created_at": normalize_timestamp(clock.time()),
            "id": self.new_id(),
            "put_timestamp": put_timestamp,
            "status_changed_at": put_timestamp,
            "storage_policy_index": policy_index,
        }

    def create(self, put_timestamp: str, policy_index: int | None = None) -> None:
        super().create(put_timestamp, policy_index)
        self.reload_files()

    # -- rows

    @staticmethod
    def item_from_record(record: Record) -> ObjectItem:
        """(name, created_at, size, content_type, etag, deleted[, policy[, ctype time[, meta time]]]) as an item."""
        if not 6 <= len(record) <= 9:
            raise ValueError(f"{len(record)} items")
        return object_item(*record)

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
                pending.replace(self.pending_path, data[len(merged) :], self.durable)

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
        with self.connection() as conn, conn.writing(sync=True):
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
            self.set_policy(conn, policy_index, timestamp or normalize_timestamp(clock.time()))

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


def is_deleted(info: dict[str, Any]) -> bool:
    """8.1 on a row with object_count, put_timestamp, delete_timestamp."""
    return is_zero(info["object_count"]) and Timestamp(info["delete_timestamp"]) > Timestamp(
        info["put_timestamp"]
    )
