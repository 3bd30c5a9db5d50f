"""The cached state of one container: its info, metadata and rows, with what is pending (see swift.db.snapshot)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from swift.db.broker import parse_metadata
from swift.db.connection import Connection
from swift.db.merge import ObjectItem, ObjectRow, merge_object, new_object_row
from swift.db.snapshot import Base, Snapshot, Totals

from . import shard_ranges
from .broker import ContainerBroker
from .shard_ranges import ShardRange
from .sharded import SHARDED, is_root, single_file_state

ListedRow = tuple[str, str, int, str, str]
"""(name, created_at, size, content type, etag) of a live object."""

_LISTED = "name, created_at, size, content_type, etag"


class ContainerSnapshot(Snapshot[ObjectRow]):
    """A container as GET and HEAD show it. `shard_ranges`: all stored ranges; a container with several files isn't kept."""

    width = 2
    broker: ContainerBroker

    def __init__(self, broker: ContainerBroker) -> None:
        super().__init__(broker)
        self.shard_ranges: list[ShardRange] = []
        self.several_files = False
        self.shown: tuple[int, list[tuple[str, str]]] | None = None  # response headers of a generation

    # -- hooks of Snapshot

    def refresh_uncached(self) -> bool:
        broker = self.broker
        self.several_files = len(broker.files) > 1
        if not self.several_files:
            return False
        self.generation += 1
        self.body_cache.clear()
        self._base = None
        self.info = broker.info()
        self.metadata = broker.metadata()
        self.shard_ranges = broker.all_shard_ranges()
        return True

    def read_base(self, conn: Connection) -> Base[ObjectRow]:
        broker = self.broker
        info = broker.read_info(conn)
        metadata = parse_metadata(info.pop("metadata"))
        totals: dict[int, Totals] = {
            row[0]: (row[1], row[2])
            for row in conn.execute("SELECT storage_policy_index, object_count, bytes_used FROM policy_stat")
        }
        ranges = broker.read_shard_ranges(conn)
        own_name = f"{info['account']}/{info['container']}"
        info["db_state"] = single_file_state(broker.file, ranges, own_name)
        if info["db_state"] == SHARDED:
            own = next((item for item in ranges if item["name"] == own_name), None)
            if is_root(metadata, own_name, own):
                info["usage"] = shard_ranges.usage(ranges, own_name)
        info["shard_ranges"] = ranges
        return Base(info, metadata, totals)

    def stored_rows(self, conn: Connection, names: Iterable[str]) -> dict[Any, ObjectRow]:
        return self.broker.rows_named(conn, names)

    def key_of(self, item: ObjectItem) -> tuple[str, int]:
        return item[0], item[6]

    def merged(self, old: ObjectRow | None, item: ObjectItem) -> ObjectRow | None:
        return new_object_row(item) if old is None else merge_object(old, item)

    def contribution(self, row: ObjectRow) -> tuple[int, Totals]:
        return row[7], (1 - row[6], row[3])

    def listed(self, row: ObjectRow) -> ListedRow | None:
        return None if row[6] else row[1:6]

    def overlay_key(self, row: ObjectRow) -> int:
        return row[7]

    def derive(self) -> None:
        info = self.info
        self.shard_ranges = info.pop("shard_ranges")
        usage = info.pop("usage", None)
        if usage is None:
            usage = self.totals.get(info["storage_policy_index"], (0, 0))
        info["object_count"], info["bytes_used"] = usage

    # -- rows

    def rows_between(
        self, conn: Connection, policy: int, low: str, high: str | None, reverse: bool, count: int
    ) -> list[ListedRow]:
        """Stored live rows with low <= name < high."""
        args: list[Any] = [policy, low]
        below = ""
        if high is not None:
            below = " AND name < ?"
            args.append(high)
        return conn.execute(
            f"SELECT {_LISTED} FROM object WHERE deleted = 0 AND storage_policy_index = ? AND name >= ?{below}"
            f" ORDER BY name {'DESC' if reverse else 'ASC'} LIMIT ?",
            (*args, count),
        ).fetchall()
