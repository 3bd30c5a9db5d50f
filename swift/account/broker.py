"""The database of one account: its containers and their totals (database.md 7).

Lives here: reading and merging container rows. Never here: HTTP, listings (account.listing).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from swift.core import clock
from swift.core.timestamp import Timestamp, normalize_timestamp
from swift.db import schema
from swift.db.broker import MERGE_BATCH, SQL_VARIABLES, Broker
from swift.db.connection import Connection
from swift.db.errors import DatabaseMissing
from swift.db.items import container_item
from swift.db.merge import ContainerItem, ContainerRow, is_zero, merge_containers, without_old_numbers
from swift.db.pending import Record

_ROW_COLUMNS = (
    "ROWID, name, put_timestamp, delete_timestamp, object_count, bytes_used, deleted, storage_policy_index"
)
_INFO_COLUMNS = (
    "account, created_at, put_timestamp, delete_timestamp, status_changed_at, container_count, object_count,"
    " bytes_used, hash, id"
)


class StatusDeleted(DatabaseMissing):
    """The account has been deleted, and waits for its reaper."""


class AccountBroker(Broker):
    """An account database; see Broker for the arguments."""

    kind = "account"
    data_directory = "accounts"
    ddl = schema.ACCOUNT
    stat_table = "account_stat"
    row_table = "container"
    _tombstone_column = "delete_timestamp"

    def _initial_row(self, put_timestamp: str, policy_index: int | None) -> dict[str, Any]:
        if not self.account:
            raise ValueError("an account database needs the account's name")
        return {
            "account": self.account,
            "created_at": normalize_timestamp(clock.time()),
            "id": self.new_id(),
            "put_timestamp": put_timestamp,
            "status_changed_at": put_timestamp,
            "container_count": 0,
        }

    def create(self, put_timestamp: str, policy_index: int | None = None) -> None:
        """Make the database, durably; accounts have no policy. Raises as Broker.create."""
        super().create(put_timestamp, None)

    # -- rows

    @staticmethod
    def item_from_record(record: Record) -> ContainerItem:
        """(name, put_timestamp, delete_timestamp, object_count, bytes_used, deleted[, policy]) as an item."""
        if not 6 <= len(record) <= 7:
            raise ValueError(f"{len(record)} items")
        return container_item(*record)

    def put_container(
        self,
        name: str,
        put_timestamp: str,
        delete_timestamp: str,
        object_count: int | str,
        bytes_used: int | str,
        storage_policy_index: int | str = 0,
    ) -> int:
        """Record a container's report; returns the pending file's size. Raises as put_record."""
        return self.put_record(
            container_record(
                name, put_timestamp, delete_timestamp, object_count, bytes_used, storage_policy_index
            )
        )

    def merge_items(
        self, items: list[ContainerItem], source: str | None = None, point: int | None = None
    ) -> None:
        """Merge reports; `source`: a peer whose rows up to row id `point` these are. Raises ValueError, sqlite3.Error."""
        for start in range(0, len(items), MERGE_BATCH):
            batch = items[start : start + MERGE_BATCH]
            is_last = start + MERGE_BATCH >= len(items)

            def merge(conn: Connection, batch: list[ContainerItem] = batch, is_last: bool = is_last) -> None:
                self._store(conn, self.rows_named(conn, {item[0] for item in batch}), batch)
                if source is not None and point is not None and is_last:
                    self._raise_sync_point(conn, source, point)

            self.change(merge)

    @staticmethod
    def _store(conn: Connection, stored: dict[str, ContainerRow], items: list[ContainerItem]) -> None:
        deletes, inserts = merge_containers(stored, items)
        conn.executemany("DELETE FROM container WHERE ROWID = ?", [(row.rowid,) for row in deletes])
        conn.executemany(
            "INSERT INTO container (name, put_timestamp, delete_timestamp, object_count, bytes_used, deleted,"
            " storage_policy_index) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [row[1:] for row in inserts],
        )

    @staticmethod
    def item_from_peer(row: Mapping[str, Any]) -> ContainerItem:
        return container_item(
            row["name"],
            row["put_timestamp"],
            row["delete_timestamp"],
            row["object_count"],
            row["bytes_used"],
            row.get("deleted", 0),
            row.get("storage_policy_index", 0),
        )

    def merge_peer_rows(self, conn: Connection, items: list[ContainerItem]) -> None:
        """As Broker. A report from before the container's last PUT or DELETE that is known here leaves the numbers alone."""
        stored = self.rows_named(conn, {item[0] for item in items})
        self._store(conn, stored, [without_old_numbers(stored.get(item[0]), item) for item in items])

    @staticmethod
    def rows_named(conn: Connection, names: Iterable[str]) -> dict[str, ContainerRow]:
        """The stored rows of these names."""
        found: dict[str, ContainerRow] = {}
        wanted = list(names)
        for start in range(0, len(wanted), SQL_VARIABLES):
            part = wanted[start : start + SQL_VARIABLES]
            marks = ",".join("?" * len(part))
            for row in conn.execute(
                f"SELECT {_ROW_COLUMNS} FROM container WHERE deleted IN (0, 1) AND name IN ({marks})", part
            ):
                found[row[1]] = ContainerRow(*row)
        return found

    # -- reading

    def info(self) -> dict[str, Any]:
        self.commit_pending()
        with self.connection() as conn:
            return self._stat_row(conn, _INFO_COLUMNS)

    def read_info(self, conn: Connection) -> dict[str, Any]:
        """The merged part of info on a connection, with status and the raw metadata."""
        return self._stat_row(conn, _INFO_COLUMNS + ", status, metadata")

    def read_replication_info(self, conn: Connection) -> dict[str, Any]:
        info = self._stat_row(conn, _INFO_COLUMNS + ", metadata")
        info["max_row"] = self.read_max_row(conn, self.row_table)
        return info

    def told(self, info: dict[str, Any]) -> dict[str, Any]:
        """info with container_count as `count`, and metadata (raw text) and max_row (7.1)."""
        info["count"] = info.pop("container_count")
        return info

    def is_deleted_row(self, row: dict[str, Any]) -> bool:
        return is_deleted(row)

    def audited_totals(self) -> tuple[dict[str, Any], dict[str, int]]:
        """(info, the same numbers summed over the policies), both of one moment."""
        self.commit_pending()
        with self.connection() as conn, conn.reading():
            info = self._stat_row(conn, _INFO_COLUMNS)
            sums = conn.execute(
                "SELECT sum(container_count), sum(object_count), sum(bytes_used) FROM policy_stat"
            ).fetchone()
        names = ("container_count", "object_count", "bytes_used")
        return info, {name: number or 0 for name, number in zip(names, sums, strict=True)}

    def container_names(self, marker: str, count: int) -> list[str]:
        """Up to `count` names of containers behind `marker`, reserved ones too."""
        self.commit_pending()
        with self.connection() as conn:
            rows = conn.execute(
                "SELECT name FROM container WHERE deleted = 0 AND name > ? ORDER BY name LIMIT ?",
                (marker, count),
            )
            return [row[0] for row in rows]

    def policy_stats(self) -> dict[int, dict[str, int]]:
        """{policy index: {container_count, object_count, bytes_used}}."""
        self.commit_pending()
        with self.connection() as conn:
            return {
                row[0]: {"container_count": row[1], "object_count": row[2], "bytes_used": row[3]}
                for row in conn.execute(
                    "SELECT storage_policy_index, container_count, object_count, bytes_used FROM policy_stat"
                    " ORDER BY storage_policy_index"
                )
            }

    def check_alive(self, conn: Connection) -> None:
        row = self._stat_row(conn, "status, put_timestamp, delete_timestamp, container_count")
        if is_deleted(row):
            raise StatusDeleted(self.path) if is_status_deleted(row) else DatabaseMissing(self.path)

    def check_status(self, conn: Connection) -> None:
        """Raises StatusDeleted if the account is deleted by status or by its timestamps, whatever it still holds."""
        if is_status_deleted(self._stat_row(conn, "status, put_timestamp, delete_timestamp")):
            raise StatusDeleted(self.path)

    def is_status_deleted(self) -> bool:
        """Deleted by status or by its timestamps, whatever it still holds."""
        with self.connection() as conn:
            row = self._stat_row(conn, "status, put_timestamp, delete_timestamp")
        return is_status_deleted(row)

    def is_deleted(self) -> bool:
        if not self.exists():
            return True
        self.commit_pending()
        with self.connection() as conn:
            row = self._stat_row(conn, "status, put_timestamp, delete_timestamp, container_count")
        return is_deleted(row)

    def empty(self) -> bool:
        return is_zero(self.info()["container_count"])

    def is_reclaimable(self, now: float, reclaim_age: float) -> bool:
        """Returns True if the whole database may be removed (10.5)."""
        info = self.info()
        age = Timestamp(max(now - reclaim_age, 0))
        deleted = Timestamp(info["delete_timestamp"])
        return age > deleted > Timestamp(info["put_timestamp"]) and is_zero(info["container_count"])


def is_status_deleted(stat: dict[str, Any]) -> bool:
    """7.1 on a row with status, put_timestamp, delete_timestamp."""
    return stat["status"] == "DELETED" or stat["delete_timestamp"] > stat["put_timestamp"]


def is_deleted(stat: dict[str, Any]) -> bool:
    """7.1 on a row with status, put_timestamp, delete_timestamp, container_count."""
    return stat["status"] == "DELETED" or (
        is_zero(stat["container_count"])
        and Timestamp(stat["delete_timestamp"]) > Timestamp(stat["put_timestamp"])
    )


def container_record(
    name: str,
    put_timestamp: str,
    delete_timestamp: str,
    object_count: int | str,
    bytes_used: int | str,
    storage_policy_index: int | str,
) -> Record:
    """The pending record of a report; `deleted` follows from the others (7.2)."""
    deleted = int(is_zero(object_count) and Timestamp(delete_timestamp) > Timestamp(put_timestamp))
    return name, put_timestamp, delete_timestamp, object_count, bytes_used, deleted, storage_policy_index
