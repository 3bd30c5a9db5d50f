"""The database of one container: object rows, totals, PUT and DELETE (database.md 8, 10).

Lives here: reading and merging rows. Files, states and shard ranges are in container.sharded, listings in container.listing;
moving rows between containers is the sharder's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

from swift.core import clock
from swift.core.timestamp import Timestamp, normalize_timestamp
from swift.db import schema
from swift.db.broker import MERGE_BATCH, SQL_VARIABLES, Result, parse_metadata
from swift.db.connection import Connection
from swift.db.errors import DatabaseError, DatabaseMissing
from swift.db.items import object_item
from swift.db.merge import ObjectItem, ObjectRow, is_zero, merge_objects
from swift.db.pending import Record

from .added_up import added_up
from .policy_choice import compare
from .sharded import SHARDED, SHARDING, ShardedDatabase

MANY = 100  # rows from which on it pays to do without triggers
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
    rows_commute = True  # their times decide
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
            is_last = start + MERGE_BATCH >= len(items)

            def merge(conn: Connection, batch: list[ObjectItem] = batch, is_last: bool = is_last) -> None:
                self._store(conn, batch)
                if source is not None and point is not None and is_last:
                    self._raise_sync_point(conn, source, point)

            self.change(merge)

    @staticmethod
    def item_from_peer(row: Mapping[str, Any]) -> ObjectItem:
        return object_item(
            row["name"],
            row["created_at"],
            row["size"],
            row["content_type"],
            row["etag"],
            row.get("deleted", 0),
            row.get("storage_policy_index", 0),
            row.get("ctype_timestamp"),
            row.get("meta_timestamp"),
        )

    def merge_peer_rows(self, conn: Connection, items: list[ObjectItem]) -> None:
        self._store(conn, items)

    def _store(self, conn: Connection, items: list[ObjectItem]) -> None:
        deletes, inserts = merge_objects(self.rows_named(conn, {item[0] for item in items}), items)
        conn.executemany("DELETE FROM object WHERE ROWID = ?", [(row.rowid,) for row in deletes])
        with added_up(conn) if len(inserts) >= MANY else nullcontext():
            conn.executemany(
                "INSERT INTO object (name, created_at, size, content_type, etag, deleted, storage_policy_index)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [row[1:] for row in inserts],
            )

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
        return self._rows_since(
            start,
            count,
            "AND storage_policy_index != (SELECT storage_policy_index FROM container_info LIMIT 1)",
        )

    def rows_since(self, start: int, count: int) -> list[dict[str, Any]]:
        """Up to `count` rows with row ids above `start`, tombstones too, by row id."""
        return self._rows_since(start, count)

    def _rows_since(self, start: int, count: int, condition: str = "") -> list[dict[str, Any]]:
        self.commit_pending()
        with self.connection() as conn:
            query = f"SELECT * FROM object WHERE ROWID > ? {condition} ORDER BY ROWID LIMIT ?"
            cursor = conn.execute(query, (start, count))
            names = [d[0] for d in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def remove_objects(
        self, lower: str, upper: str, max_row: int | None = None, batch: int = MERGE_BATCH
    ) -> int:
        """Physically delete rows with lower < name <= upper ('' = unbounded) and row id <= max_row, of all policies.

        At most `batch` rows in a transaction, by row id, so that others get their turn. Returns how many were removed.
        """
        conditions: list[str] = ["deleted IN (0, 1)"]
        args: list[Any] = []
        for test, value in (("name > ?", lower), ("name <= ?", upper)):
            if value:
                conditions.append(test)
                args.append(value)
        if max_row is not None:
            conditions.append("ROWID <= ?")
            args.append(max_row)
        self.commit_pending()
        query = f"DELETE FROM object WHERE ROWID IN (SELECT ROWID FROM object WHERE {' AND '.join(conditions)} LIMIT ?)"
        removed = 0
        while True:
            count = self.change(lambda conn: conn.execute(query, (*args, batch)).rowcount)
            removed += count
            if count < batch:
                return removed

    # -- reading

    def info(self) -> dict[str, Any]:
        self.commit_pending()
        return self._merged_info()

    def _merged_info(self) -> dict[str, Any]:
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

    def read_replication_info(self, conn: Connection) -> dict[str, Any]:
        info = self.read_info(conn)
        self.account, self.container = info["account"], info["container"]
        info["max_row"] = self.read_max_row(conn, self.row_table)
        info["shard_max_row"] = self.read_max_row(conn, "shard_range")
        return info

    def told(self, info: dict[str, Any]) -> dict[str, Any]:
        """info with object_count as `count`, and metadata (raw text), max_row and shard_max_row (8.1)."""
        self._with_usage(info)
        info["count"] = info.pop("object_count")
        return info

    def is_deleted_row(self, row: dict[str, Any]) -> bool:
        return is_deleted(self._with_usage(dict(row)))

    def policy_would_change(self, row: dict[str, Any], policy: Mapping[str, Any]) -> bool:
        return policy["storage_policy_index"] != row["storage_policy_index"] and compare(row, policy) > 0

    def _take_over_policy(self, conn: Connection, row: dict[str, Any], policy: Mapping[str, Any]) -> None:
        if self.policy_would_change(self._with_usage(dict(row)), policy):
            self.set_policy(conn, policy["storage_policy_index"], normalize_timestamp(clock.time()))

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

    def check_alive(self, conn: Connection) -> None:
        if is_deleted(self._merged_info()):
            raise DatabaseMissing(self.path)

    def is_deleted(self) -> bool:
        return not self.exists() or is_deleted(self.info())

    def empty(self) -> bool:
        self.commit_pending()
        return self._has_no_rows()

    def has_rows(self) -> bool:
        """Returns True if there are merged rows in its files, tombstones too."""
        for path in self.component_files():
            with self.connection(path) as conn:
                if conn.execute("SELECT 1 FROM object LIMIT 1").fetchone() is not None:
                    return True
        return False

    def _has_no_rows(self) -> bool:
        for path in self.component_files():
            with self.connection(path) as conn:
                if not is_zero(conn.execute("SELECT max(object_count) FROM policy_stat").fetchone()[0]):
                    return False
        # also of one whose shards are on their way back into it
        return not self.is_root() or self.shard_usage()[0] <= 0

    def is_reclaimable(self, now: float, reclaim_age: float) -> bool:
        """Returns True if the whole database may be removed (10.5)."""
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
        """PUT of a container whose database exists, all of it or nothing; returns True if it has come to life again (13.5).

        Raises PolicyConflict, TooOld, and what `limits` raises.
        """

        def store(conn: Connection) -> bool:
            # nobody else can commit, so that what another connection reads now holds until our end
            info = self._merged_info()
            recreated = is_deleted(info)
            if recreated:
                if timestamp <= info["delete_timestamp"]:
                    raise TooOld()
                self.set_policy(conn, new_policy, timestamp)
                self._raise_timestamp(conn, "status_changed_at", timestamp)
            elif requested_policy is not None and requested_policy != info["storage_policy_index"]:
                raise PolicyConflict(info["storage_policy_index"])
            self._raise_timestamp(conn, "put_timestamp", timestamp)
            if updates:
                self._update_metadata(conn, updates, limits)
            return recreated

        return self._decide(store)

    def _decide(self, function: Callable[[Connection], Result]) -> Result:
        """`change`, synced, with all rows merged that anybody has been told are stored, and no other to come until its end."""
        self.commit_pending()  # the long part, without the lock
        with self.lock():
            self.merger.merge_locked()
            return self.change(function, sync=True)

    def remove_if_untouched(self, info: dict[str, Any], metadata: Mapping[str, tuple[str, str]]) -> bool:
        """Undo a creation that nobody was told of, unless somebody has used the container since; returns True if it was undone."""

        def untouched(conn: Connection) -> bool:
            rows = conn.execute(
                "SELECT count(*) FROM sqlite_sequence WHERE name IN ('object', 'shard_range')"
            ).fetchone()[0]
            found = self.read_info(conn)
            stored = parse_metadata(found.pop("metadata"))
            return not rows and stored == dict(metadata) and found.items() <= info.items()

        return self.remove(untouched)

    def delete(self, timestamp: str) -> bool | None:
        """DELETE of a container whose database exists (13.6).

        Returns True if there was a container, None if it can't be deleted: it has rows, or was PUT later. Then nothing changes.
        """

        def mark_deleted(conn: Connection) -> bool | None:
            if not self._has_no_rows():
                return None
            info = self._merged_info()
            if timestamp <= info["put_timestamp"] and not is_deleted(info):
                return None
            existed = Timestamp(info["put_timestamp"]) > 0 and not is_deleted(info)
            self._delete_db(conn, timestamp)
            return existed

        return self._decide(mark_deleted)

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
        self.change(
            lambda conn: conn.execute(
                "UPDATE container_info SET reported_put_timestamp = ?, reported_delete_timestamp = ?,"
                " reported_object_count = ?, reported_bytes_used = ?",
                (put_timestamp, delete_timestamp, object_count, bytes_used),
            )
        )

    def _renew_other(self, conn: Connection) -> None:
        conn.execute(
            "UPDATE container_info SET reported_put_timestamp = '0', reported_delete_timestamp = '0',"
            " reported_object_count = 0, reported_bytes_used = 0,"
            # up to the first all nodes' rows are synchronised, up to the second only the copied node's share
            " x_container_sync_point2 = min(x_container_sync_point1, x_container_sync_point2)"
        )

    def set_storage_policy_index(self, policy_index: int, timestamp: str | None = None) -> None:
        """Switch the container to a policy, as of `timestamp` (default now)."""
        when = timestamp or normalize_timestamp(clock.time())
        self.change(lambda conn: self.set_policy(conn, policy_index, when))

    @staticmethod
    def set_policy(conn: Connection, policy_index: int, timestamp: str) -> None:
        """set_storage_policy_index inside of a transaction."""
        conn.execute("INSERT OR IGNORE INTO policy_stat (storage_policy_index) VALUES (?)", (policy_index,))
        conn.execute(
            # all rows are to be looked at again by who looks for misplaced ones
            "UPDATE container_info SET storage_policy_index = ?, status_changed_at = max(?, status_changed_at),"
            " reconciler_sync_point = -1 WHERE storage_policy_index <> ?",
            (policy_index, timestamp, policy_index),
        )

    def set_x_container_sync_points(self, point1: int | None, point2: int | None) -> None:
        """Set those that are not None."""
        self.change(
            lambda conn: conn.execute(
                "UPDATE container_info SET x_container_sync_point1 = coalesce(?, x_container_sync_point1),"
                " x_container_sync_point2 = coalesce(?, x_container_sync_point2)",
                (point1, point2),
            )
        )

    def reconciler_sync(self) -> int:
        """Highest row id checked for misplaced policies."""
        with self.connection() as conn:
            return self.read_reconciler_sync(conn)

    def read_reconciler_sync(self, conn: Connection) -> int:
        """reconciler_sync on a connection."""
        point = self._stat_row(conn, "reconciler_sync_point")["reconciler_sync_point"]
        assert isinstance(point, int)
        return point

    def update_reconciler_sync(self, point: int) -> None:
        """Set reconciler_sync_point."""
        self.change(
            lambda conn: conn.execute("UPDATE container_info SET reconciler_sync_point = ?", (point,))
        )


def is_deleted(info: dict[str, Any]) -> bool:
    """8.1 on a row with object_count, put_timestamp, delete_timestamp."""
    return is_zero(info["object_count"]) and Timestamp(info["delete_timestamp"]) > Timestamp(
        info["put_timestamp"]
    )
