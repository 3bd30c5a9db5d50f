"""What a peer's replica knows of a database becomes known in ours: times, metadata, the storage policy (database.md 10.1, 10.3).

Lives here: which of two replicas' values count, and storing them, all or nothing. Never here: rows, the talking to peers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from swift.core import clock
from swift.core.timestamp import normalize_timestamp

from .connection import Connection
from .metadata import merge_metadata, parse_metadata

Result = TypeVar("Result")
Times = Mapping[str, str]
"""created_at, put_timestamp, delete_timestamp."""
Items = Mapping[str, tuple[str, str]]


class TakingOver(ABC):
    """The part of a broker that merges what stat rows say."""

    stat_table: str

    @abstractmethod
    def connection(self, path: str | None = None) -> AbstractContextManager[Connection]:
        """See Broker."""

    @abstractmethod
    def change(self, function: Callable[[Connection], Result], sync: bool = False) -> Result:
        """See Broker."""

    @abstractmethod
    def commit_pending(self) -> None:
        """See Broker."""

    @abstractmethod
    def _raise_timestamp(self, conn: Connection, column: str, timestamp: str) -> None: ...

    @abstractmethod
    def _update_metadata(self, conn: Connection, updates: Items, limits: Any = None) -> None: ...

    def merge_timestamps(self, created_at: str, put_timestamp: str, delete_timestamp: str) -> None:
        """Take over a peer's times: the earliest creation, the latest PUT and DELETE (10.1)."""
        self.commit_pending()
        times = {
            "created_at": created_at,
            "put_timestamp": put_timestamp,
            "delete_timestamp": delete_timestamp,
        }
        self.change(lambda conn: self.take_over(conn, times, {}, None), sync=True)

    def take_over(
        self,
        conn: Connection,
        times: Times,
        metadata: Items,
        policy: Mapping[str, Any] | None,
    ) -> None:
        """What a peer's replica knows becomes known here, in the transaction of `conn` (10.1, 10.3).

        `times`: created_at, put_timestamp, delete_timestamp. `policy`: what decides about its storage policy, if it says so.
        """
        row = self.read_info(conn)
        if policy is not None:
            self._take_over_policy(conn, row, policy)
        merged = later_times(row, times)
        if any(row[key] != value for key, value in merged.items()):
            conn.execute(
                f"UPDATE {self.stat_table} SET created_at = ?, put_timestamp = ?, delete_timestamp = ?",
                (merged["created_at"], merged["put_timestamp"], merged["delete_timestamp"]),
            )
            if self.is_deleted_row({**row, **merged}) != self.is_deleted_row(row):
                self._raise_timestamp(conn, "status_changed_at", normalize_timestamp(clock.time()))
        if metadata:
            self._update_metadata(conn, metadata)

    def _take_over_policy(self, conn: Connection, row: dict[str, Any], policy: Mapping[str, Any]) -> None:
        """Only containers have one."""
        return

    def policy_would_change(self, row: dict[str, Any], policy: Mapping[str, Any]) -> bool:
        """Returns True if the peer's storage policy would count, and not that of the replica of which `row` was read."""
        return False

    def has_news_in(
        self,
        row: Mapping[str, Any],
        times: Times,
        metadata: Items,
    ) -> bool:
        """Returns True if take_over would change a database of which `row` (of replication_info) was read."""
        return any(row[key] != value for key, value in later_times(row, times).items()) or (
            bool(metadata) and merge_metadata(parse_metadata(row["metadata"]), metadata)
        )

    @abstractmethod
    def read_info(self, conn: Connection) -> dict[str, Any]:
        """The merged part of info on a connection, with the raw metadata."""

    @abstractmethod
    def is_deleted_row(self, row: dict[str, Any]) -> bool:
        """is_deleted of what read_info has read."""


def later_times(row: Mapping[str, Any], times: Times) -> dict[str, str]:
    """The earliest creation, the latest PUT and DELETE of both."""
    return {
        "created_at": min(row["created_at"], times["created_at"]),
        "put_timestamp": max(row["put_timestamp"], times["put_timestamp"]),
        "delete_timestamp": max(row["delete_timestamp"], times["delete_timestamp"]),
    }
