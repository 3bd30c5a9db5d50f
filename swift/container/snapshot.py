"""One state of a container: its info, metadata and rows, with what is pending (see swift.db.snapshot, swift.db.reader)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from swift.db.broker import Metadata, parse_metadata
from swift.db.connection import Connection
from swift.db.merge import ObjectItem, ObjectRow, merge_object, new_object_row
from swift.db.reader import Reader
from swift.db.snapshot import PendingRows, Snapshot, Stored, Totals

from . import shard_ranges
from .broker import ContainerBroker
from .shard_ranges import ShardRange
from .sharded import SHARDED, SHARDING, database_files, is_root, single_file_state

ListedRow = tuple[str, str, int, str, str]
"""(name, created_at, size, content type, etag) of a live object."""

_BYTES_PER_RANGE = 1300
_LISTED = "name, created_at, size, content_type, etag"


class ContainerStored(Stored):
    """What a container's files say. `ranges`: all stored shard ranges; `updating`: those that take new rows, by name."""

    def __init__(
        self,
        info: dict[str, Any],
        metadata: Metadata,
        totals: dict[int, Totals],
        ranges: list[ShardRange],
        usage: tuple[int, int] | None,
    ) -> None:
        super().__init__(info, metadata, totals)
        self.ranges = ranges
        self.size = _BYTES_PER_RANGE * len(ranges)
        self.usage = usage  # (object count, bytes) where they are not the sum of rows
        own_name = f"{info['account']}/{info['container']}"
        self.updating = shard_ranges.Finder(
            item
            for item in ranges
            if item["name"] != own_name and not item["deleted"] and item["state"] in shard_ranges.UPDATING
        )


class ContainerSnapshot(Snapshot):
    """A container as GET and HEAD show it."""

    stored: ContainerStored

    def info_of_now(self) -> dict[str, Any]:
        info = dict(self.stored.info)
        usage: Sequence[int] | None = self.stored.usage
        if usage is None:
            usage = self.totals.get(info["storage_policy_index"], (0, 0))
        info["object_count"], info["bytes_used"] = usage
        return info


class ContainerReader(Reader[ContainerSnapshot]):
    """Reads a container's databases."""

    broker: ContainerBroker

    def files(self) -> list[str]:
        return database_files(self.broker.path)[-2:]

    def read_stored(self, conns: Sequence[Connection], files: Sequence[str]) -> ContainerStored:
        broker, conn = self.broker, conns[-1]
        info = broker.read_info(conn)
        metadata = parse_metadata(info.pop("metadata"))
        totals: dict[int, Totals] = {
            row[0]: (row[1], row[2])
            for row in conn.execute("SELECT storage_policy_index, object_count, bytes_used FROM policy_stat")
        }
        ranges = broker.read_shard_ranges(conn)
        own_name = f"{info['account']}/{info['container']}"
        usage = None
        if len(conns) > 1:
            info["db_state"] = SHARDING
            retiring = broker.read_info(conns[0])
            usage = retiring["object_count"], retiring["bytes_used"]
        else:
            info["db_state"] = single_file_state(files[-1], ranges, own_name)
            if info["db_state"] == SHARDED:
                own = next((item for item in ranges if item["name"] == own_name), None)
                if is_root(metadata, own_name, own):
                    usage = shard_ranges.usage(ranges, own_name)
        return ContainerStored(info, metadata, totals, ranges, usage)

    def stored_rows(self, conn: Connection, names: Iterable[str]) -> dict[Any, ObjectRow]:
        return self.broker.rows_named(conn, names)

    def rows_between(
        self, conn: Connection, table: int, low: str, high: str | None, reverse: bool, count: int
    ) -> list[ListedRow]:
        """Stored live rows with low <= name < high."""
        args: list[Any] = [table, low]
        below = ""
        if high is not None:
            below = " AND name < ?"
            args.append(high)
        return conn.execute(
            f"SELECT {_LISTED} FROM object WHERE deleted = 0 AND storage_policy_index = ? AND name >= ?{below}"
            f" ORDER BY name {'DESC' if reverse else 'ASC'} LIMIT ?",
            (*args, count),
        ).fetchall()

    def snapshot(self, stored: Stored, rows: PendingRows) -> ContainerSnapshot:
        return ContainerSnapshot(stored, rows)

    @staticmethod
    def table(item: ObjectItem) -> int:
        return item[6] or 0

    @staticmethod
    def merged(old: ObjectRow | None, item: ObjectItem) -> ObjectRow | None:
        return new_object_row(item) if old is None else merge_object(old, item)

    @staticmethod
    def counts(row: ObjectRow) -> tuple[int, Totals]:
        return row[7], (1 - row[6], row[3])

    @staticmethod
    def listed(row: ObjectRow) -> ListedRow | None:
        return None if row[6] else row[1:6]
