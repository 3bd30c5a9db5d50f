"""The cached state of one account: its totals, metadata and containers, with what is pending (see swift.db.snapshot)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from swift.db.broker import parse_metadata
from swift.db.connection import Connection
from swift.db.merge import ContainerItem, ContainerRow, merge_container
from swift.db.snapshot import Base, Snapshot, Totals

from .broker import AccountBroker

ListedRow = tuple[str, int, int, str, int]
"""(name, object count, bytes, put_timestamp, policy) of a live container."""


class AccountSnapshot(Snapshot[ContainerRow]):
    """An account as GET and HEAD show it."""

    width = 3
    broker: AccountBroker

    def read_base(self, conn: Connection) -> Base[ContainerRow]:
        info = self.broker.read_info(conn)
        metadata = parse_metadata(info.pop("metadata"))
        totals: dict[int, Totals] = {
            row[0]: row[1:]
            for row in conn.execute(
                "SELECT storage_policy_index, container_count, object_count, bytes_used FROM policy_stat"
            )
        }
        # what the stat row counts beside the policies: nothing, but in a damaged or very old database
        for at, key in enumerate(("container_count", "object_count", "bytes_used")):
            info[key] = (info[key] or 0) - sum(numbers[at] for numbers in totals.values())
        return Base(info, metadata, totals)

    def stored_rows(self, conn: Connection, names: Iterable[str]) -> dict[Any, ContainerRow]:
        return dict(self.broker.rows_named(conn, names))

    def key_of(self, item: ContainerItem) -> str:
        return item[0]

    def merged(self, old: ContainerRow | None, item: ContainerItem) -> ContainerRow | None:
        return merge_container(old, item)

    def contribution(self, row: ContainerRow) -> tuple[int, Totals]:
        return row[7], (1 - row[6], row[4], row[5])

    def listed(self, row: ContainerRow) -> ListedRow | None:
        return None if row[6] else (row[1], row[4], row[5], row[2], row[7])

    def overlay_key(self, row: ContainerRow) -> int:
        return 0

    def derive(self) -> None:
        for at, key in enumerate(("container_count", "object_count", "bytes_used")):
            self.info[key] += sum(numbers[at] for numbers in self.totals.values())

    def rows_between(
        self, conn: Connection, key: int, low: str, high: str | None, reverse: bool, count: int
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
