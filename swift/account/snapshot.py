"""One state of an account: its totals, metadata and containers, with what is pending (see swift.db.snapshot, swift.db.reader)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from swift.db.broker import parse_metadata
from swift.db.connection import Connection
from swift.db.merge import ContainerItem, ContainerRow, merge_container
from swift.db.reader import Reader
from swift.db.snapshot import PendingRows, Snapshot, Stored, Totals

from .broker import AccountBroker

ListedRow = tuple[str, int, int, str, int]
"""(name, object count, bytes, put_timestamp, policy) of a live container."""

TABLE = 0  # an account has one listing
_TOTALS = ("container_count", "object_count", "bytes_used")


class AccountSnapshot(Snapshot):
    """An account as GET and HEAD show it."""

    def info_of_now(self) -> dict[str, Any]:
        info = dict(self.stored.info)
        for at, key in enumerate(_TOTALS):
            info[key] += sum(numbers[at] for numbers in self.totals.values())
        return info


class AccountReader(Reader[AccountSnapshot]):
    """Reads an account's database."""

    broker: AccountBroker

    def files(self) -> list[str]:
        return [self.broker.path] if os.path.exists(self.broker.path) else []

    def read_stored(self, conns: Sequence[Connection], files: Sequence[str]) -> Stored:
        (conn,) = conns
        info = self.broker.read_info(conn)
        metadata = parse_metadata(info.pop("metadata"))
        totals: dict[int, Totals] = {
            row[0]: row[1:]
            for row in conn.execute(
                "SELECT storage_policy_index, container_count, object_count, bytes_used FROM policy_stat"
            )
        }
        # what the stat row counts beside the policies: nothing, but in a damaged or very old database
        for at, key in enumerate(_TOTALS):
            info[key] = (info[key] or 0) - sum(numbers[at] for numbers in totals.values())
        return Stored(info, metadata, totals)

    def stored_rows(self, conn: Connection, names: Iterable[str]) -> dict[Any, ContainerRow]:
        return {(name, TABLE): row for name, row in self.broker.rows_named(conn, names).items()}

    def rows_between(
        self, conn: Connection, table: int, low: str, high: str | None, reverse: bool, count: int
    ) -> list[ListedRow]:
        """Stored live containers with low <= name < high."""
        args: list[Any] = [low]
        below = ""
        if high is not None:
            below = " AND name < ?"
            args.append(high)
        return conn.execute(
            "SELECT name, object_count, bytes_used, put_timestamp, storage_policy_index FROM container"
            f" WHERE deleted = 0 AND name >= ?{below} ORDER BY name {'DESC' if reverse else 'ASC'} LIMIT ?",
            (*args, count),
        ).fetchall()

    def snapshot(self, stored: Stored, rows: PendingRows) -> AccountSnapshot:
        return AccountSnapshot(stored, rows)

    @staticmethod
    def table(item: ContainerItem) -> int:
        return TABLE

    @staticmethod
    def merged(old: ContainerRow | None, item: ContainerItem) -> ContainerRow | None:
        return merge_container(old, item)

    @staticmethod
    def counts(row: ContainerRow) -> tuple[int, Totals]:
        return row[7], (1 - row[6], row[4], row[5])

    @staticmethod
    def listed(row: ContainerRow) -> ListedRow | None:
        return None if row[6] else (row[1], row[4], row[5], row[2], row[7])
