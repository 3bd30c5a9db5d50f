"""Containers that are, or are being, sharded: their files, their states and their shard ranges (database.md 11).

Lives here: which of a container's files are asked, and the table of shard ranges. Rows of objects are the broker's.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from swift.core import clock
from swift.core.timestamp import Timestamp, normalize_timestamp
from swift.db.broker import Broker, Metadata, Result
from swift.db.connection import Connection
from swift.db.errors import DatabaseReplaced

from . import shard_ranges
from .shard_ranges import ShardRange

NOT_FOUND, UNSHARDED, SHARDING, SHARDED, COLLAPSED = (
    "not_found",
    "unsharded",
    "sharding",
    "sharded",
    "collapsed",
)


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


class ShardedDatabase(Broker):
    """A container database as a set of files with shard ranges; the base of ContainerBroker."""

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__(path, **options)
        self._files: list[str] | None = None
        self._new_epoch: str | None = None
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

    @property
    def new_file(self) -> str:
        return f"{self.path[:-3]}_{self._new_epoch}.db" if self._new_epoch else self.path

    def create_at_epoch(self, epoch: str | None, put_timestamp: str, policy_index: int) -> None:
        """`create`, of a file that has the epoch in its name, for a container that was sharded or shrunk then. Raises as create."""
        self._new_epoch = Timestamp(epoch).normal if epoch is not None else None
        try:
            self.create(put_timestamp, policy_index)
        finally:
            self._new_epoch = None

    def exists(self) -> bool:
        self.reload_files()
        return bool(self.files)

    def change(self, function: Callable[[Connection], Result], sync: bool = False) -> Result:
        """As Broker.change, in the newest file: whoever waited while that came into being must not write to the retiring one."""

        def in_newest(conn: Connection) -> Result:
            newest = database_files(self.path)[-1:]
            if newest and newest[0] != conn.path:
                raise DatabaseReplaced(f"{conn.path} retires")
            return function(conn)

        return super().change(in_newest, sync)

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
            shard_ranges.own_range_default(self.path_name, normalize_timestamp(clock.time()))
            if default
            else None
        )

    def other_shard_ranges(self) -> list[ShardRange]:
        """Ranges that are neither deleted nor the own one."""
        own = self.path_name
        return [item for item in self.all_shard_ranges() if not item["deleted"] and item["name"] != own]

    def merge_shard_ranges(self, items: Iterable[ShardRange]) -> None:
        """Merge ranges (11.2)."""
        incoming = list(items)
        if not incoming:
            return

        def merge(conn: Connection) -> None:
            existing = {item["name"]: item for item in self.read_shard_ranges(conn)}
            deletes, inserts = shard_ranges.merge_shard_ranges(existing, incoming)
            conn.executemany("DELETE FROM shard_range WHERE name = ?", [(name,) for name in deletes])
            conn.executemany(
                f"INSERT INTO shard_range ({', '.join(shard_ranges.FIELDS)})"
                f" VALUES ({', '.join('?' * len(shard_ranges.FIELDS))})",
                [tuple(item[key] for key in shard_ranges.FIELDS) for item in inserts],
            )

        self.change(merge, sync=True)

    def merge_ranges_of_peer(self, items: Iterable[ShardRange]) -> None:
        """merge_shard_ranges of what another replica has: an own range that has lost its epoch there stays as it is here (14.6)."""
        self.merge_shard_ranges(self.without_lost_epoch(list(items), self.own_shard_range(default=False)))

    def without_lost_epoch(self, items: list[ShardRange], own: ShardRange | None) -> list[ShardRange]:
        """The ranges of another replica but for an own one without epoch where `own`, which is ours, has one."""
        if own is None or own["epoch"] is None:
            return items
        lost = [item for item in items if item["name"] == own["name"] and item["epoch"] is None]
        for item in lost:
            if shard_ranges.merge_shard_range(own, item) is not None and self.logger is not None:
                self.logger.warning("Ignoring remote osr w/o epoch, path: %s, db: %s", own["name"], self.path)
        return [item for item in items if item not in lost] if lost else items

    def may_be_replaced(self) -> bool:
        return len(self.files) == 1 and not self.sharding_initiated()

    def carry_over_other(self, conn: Connection, arrived: Any) -> None:
        ranges = self.read_shard_ranges(conn)
        own = [item for item in ranges if item["name"] == self.path_name and item["epoch"] is not None]
        if own:
            arrived.forget_own_range_without_epoch()
        arrived.merge_ranges_of_peer(ranges)

    def forget_own_range_without_epoch(self) -> None:
        """An own range that has lost its epoch goes, so that a replica's that has one counts."""
        name = self.path_name
        self.change(
            lambda conn: conn.execute("DELETE FROM shard_range WHERE name = ? AND epoch IS NULL", (name,))
        )

    def shard_usage(self) -> tuple[int, int]:
        """(object count, bytes) in the shards."""
        return shard_ranges.usage(self.all_shard_ranges(), self.path_name)

    def sharding_initiated(self) -> bool:
        """Returns True if somebody has asked for sharding (11.3)."""
        own = self.own_shard_range()
        assert own is not None
        return own["state"] in shard_ranges.CLEAVING and bool(self.other_shard_ranges())

    def sharding_required(self) -> bool:
        """Returns True if the sharder has work here (11.3)."""
        state = self.db_state()
        return state == SHARDING or (state == UNSHARDED and self.sharding_initiated())

    def is_root(self) -> bool:
        """Returns True if this is no shard of another container (11.3)."""
        return is_root(self.metadata(), self.path_name, self.own_shard_range(default=False))

    # -- reclaim

    def is_reclaim_due(self, conn: Connection, info: Mapping[str, Any], age: str, sync_age: str) -> bool:
        if super().is_reclaim_due(conn, info, age, sync_age):
            return True
        if info["shard_max_row"] < 0:
            return False
        with _old_databases():
            query = "SELECT 1 FROM shard_range WHERE deleted = 1 AND timestamp < ? AND name <> ? LIMIT 1"
            return conn.execute(query, (sync_age, self.path_name)).fetchone() is not None
        return False

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
        own = shard_ranges.own_range_default(own_name, normalize_timestamp(clock.time()))
    return shard_ranges.select(candidates, own, marker, end_marker, includes, reverse, fill_gaps)


@contextmanager
def _old_databases() -> Iterator[None]:
    """Databases from before sharding have no shard_range table: to read nothing from it is right (25)."""
    try:
        yield
    except sqlite3.OperationalError as err:
        if "no such table: shard_range" not in str(err):
            raise


def is_root(metadata: Metadata, own_name: str, own_range: ShardRange | None) -> bool:
    """Returns True if these make a root container (11.3)."""
    quoted = metadata.get("X-Container-Sysmeta-Shard-Quoted-Root")
    if quoted and quoted[0]:
        return unquote(quoted[0]) == own_name
    plain = metadata.get("X-Container-Sysmeta-Shard-Root")
    if plain and plain[0]:
        return plain[0] == own_name
    return own_range is None or not own_range["deleted"]
