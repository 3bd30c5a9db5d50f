"""How a snapshot is made from the files and, where much of it still holds, from the one before.

Lives here: readers, which have no state, and the sources that answers are made of. Never here: which snapshot is the latest, and who waits
for it (swift.db.snapshots); what rows are (the rooms).

A read neither merges nor locks: pending rows are laid over the stored ones in memory. The pending file is read before the
database: what a merge moves from one to the other in between is then seen twice, which changes nothing, and never missed.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic

from swift.core import clock

from . import pending
from .broker import Broker
from .connection import Connection
from .errors import DatabaseBusy, DatabaseMissing
from .listing import Fetch
from .listing import Row as ListingRow
from .marks import Mark, is_settled, mark, mark_of
from .overlay import NOTHING, lay_over
from .seen import Seen, SeenFile
from .snapshot import NO_ROWS, AnySnapshot, PendingRows, Stored, Totals
from .stretches import Page, Stretch, Stretches

MAX_OVERLAY = 1024 * 1024  # bytes of pending file that are laid over; a longer one is merged by the reader
LONGEST_OVERLAY = (
    8 * MAX_OVERLAY
)  # one that can't be merged: a longer one is no answer rather than half of one
ATTEMPTS = 5  # at files that others replace meanwhile


class Held(Generic[AnySnapshot]):
    """A snapshot and what was seen of its files. Never changes."""

    __slots__ = ("seen", "snapshot")

    def __init__(self, snapshot: AnySnapshot, seen: Seen) -> None:
        self.snapshot = snapshot
        self.seen = seen


class NotInMemory(Exception):
    """An answer needs the files."""


class Source(Generic[AnySnapshot]):
    """What one answer is made of, all of one state: a snapshot, its rows in memory and, within a transaction, its file's."""

    __slots__ = ("_bodies", "_conn", "_reader", "_used", "snapshot")

    def __init__(
        self, snapshot: AnySnapshot, reader: Reader[AnySnapshot], conn: Connection | None = None
    ) -> None:
        self.snapshot = snapshot
        self._reader = reader
        self._conn = conn
        self._used: list[tuple[Stretches, list[Stretch]]] = []
        self._bodies: list[tuple[Any, bytes]] = []

    def page(
        self, table: int, low: str, high: str | None, count: int, text: Callable[[Any], bytes]
    ) -> tuple[Page, str | None]:
        """Up to `count` stored rows as texts, and where to go on (see Stretches.page). `text` is the same for all. Raises NotInMemory.

        Names are left out where no pending rows of the table need them.
        """
        stretches = self.snapshot.stored.stretches(table)
        used: list[Stretch] = []
        load = None if self._conn is None else partial(self._load, self._conn, table, text)
        with_names = bool(self.snapshot.overlay(table).names)
        page = stretches.page(low, high, count, load, used, with_names)
        if page is None:
            raise NotInMemory
        self._used.append((stretches, used))
        return page

    def _load(
        self,
        conn: Connection,
        table: int,
        text: Callable[[Any], bytes],
        low: str,
        high: str | None,
        count: int,
    ) -> Page:
        rows = self._reader.rows_between(conn, table, low, high, False, count)
        return [row[0] for row in rows], list(map(text, rows))

    def fetch(self, table: int) -> Fetch:
        """The `Fetch` of swift.db.listing over stored and pending rows. Raises NotInMemory."""
        conn, reader, overlay = self._conn, self._reader, self.snapshot.overlay(table)
        if conn is None:
            raise NotInMemory

        def fetch(
            low: str, high: str | None, reverse: bool, count: int
        ) -> tuple[list[ListingRow], str | None]:
            rows = reader.rows_between(conn, table, low, high, reverse, count)
            bound: str | None = None
            if len(rows) >= count:
                bound = rows[-1][0] if reverse else rows[-1][0] + "\0"
            if overlay.names:
                changes = (
                    overlay.between(bound or low, high) if reverse else overlay.between(low, bound or high)
                )
                if changes:
                    if reverse:
                        rows.reverse()
                    shown = {name: reader.listed(overlay.rows[name]) for name in changes}
                    lay_over([row[0] for row in rows], rows, shown)
                    if reverse:
                        rows.reverse()
            return rows, bound

        return fetch

    def body(self, key: Any, make: Callable[[], bytes]) -> bytes:
        """make(), or what it gave before for this key in this state."""
        found = self.snapshot.bodies.get(key)
        if found is None:
            found = make()
        self._bodies.append((key, found))
        return found

    def keep(self) -> None:
        """Keep what was made. Called in the thread of the budget."""
        for stretches, used in self._used:
            stretches.keep(used)
        for key, body in self._bodies:
            self.snapshot.bodies.keep(key, body)


class _Replaced(Exception):
    """Another file came in the place of one that was being read."""


class Reader(ABC, Generic[AnySnapshot]):
    """Reads the database of a broker. Has no state of its own: any number of threads may use it at once."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.device_path = broker.device_path
        self.directory = os.fsencode(broker.directory)
        self.where = self.directory, os.fsencode(os.path.basename(broker.pending_path))

    # -- what subclasses know of files

    @abstractmethod
    def files(self) -> list[str]:
        """The database files there are, at most two: the one whose rows are listed first, the one with the rest last."""

    @abstractmethod
    def read_stored(self, conns: Sequence[Connection], files: Sequence[str]) -> Stored:
        """What the files say, in the transactions of `conns`."""

    @abstractmethod
    def stored_rows(self, conn: Connection, names: Iterable[str]) -> dict[Any, Any]:
        """The stored rows of names, by (name, table)."""

    @abstractmethod
    def rows_between(
        self, conn: Connection, table: int, low: str, high: str | None, reverse: bool, count: int
    ) -> list[Any]:
        """Up to `count` stored rows as listings show them, low <= name < high, by name."""

    @abstractmethod
    def snapshot(self, stored: Stored, rows: PendingRows) -> AnySnapshot:
        """The room's snapshot."""

    # -- what subclasses know of rows

    @staticmethod
    @abstractmethod
    def table(item: Any) -> int:
        """Which listing an item's row belongs to."""

    @staticmethod
    @abstractmethod
    def merged(old: Any, item: Any) -> Any:
        """The row that an item makes of a row (None: of nothing); None: the old one stays."""

    @staticmethod
    @abstractmethod
    def counts(row: Any) -> tuple[int, Totals]:
        """(policy, what the row adds to its totals)."""

    @staticmethod
    @abstractmethod
    def listed(row: Any) -> Any:
        """The row as a listing shows it, None if it doesn't."""

    # -- reading

    def read(
        self, held: Held[AnySnapshot] | None, function: Callable[[Source[AnySnapshot]], Any] | None = None
    ) -> tuple[Held[AnySnapshot], Source[AnySnapshot] | None, Any]:
        """(the database as it is now, the source that `function` was called with, function(source) in the same transaction).

        `held`: what was read before. For a thread of the device's pool. Raises DatabaseMissing, DatabaseBusy,
        DatabaseQuarantined, sqlite3.Error, OSError.
        """
        if function is None and held is not None and held.seen.holds():
            return held, None, None
        for _ in range(ATTEMPTS):
            try:
                return self._read(held, function)
            except (_Replaced, DatabaseMissing):
                held = None
                if not self.files():
                    raise DatabaseMissing(self.broker.path) from None
        raise DatabaseBusy(f"{self.broker.path}: replaced again and again")

    def _read(
        self, held: Held[AnySnapshot] | None, function: Callable[[Source[AnySnapshot]], Any] | None
    ) -> tuple[Held[AnySnapshot], Source[AnySnapshot] | None, Any]:
        read_at = clock.time_ns()
        directory = mark(self.directory)
        seen = None if held is None else held.seen
        if seen is not None and directory == seen.directory and is_settled(directory, seen.read_at):
            paths = [file.path for file in seen.files]
        else:
            paths = self.files()
        if directory is None or not paths:
            raise DatabaseMissing(self.broker.path)
        # rows that come while there are two files go to the one that isn't listed
        pending_file, data = (
            self._pending_file() if len(paths) == 1 else (mark(self.broker.pending_path), b"")
        )
        source = value = None
        with self._opened(paths) as (conns, files):
            same = (
                seen is not None
                and len(files) == len(seen.files)
                and all(map(SeenFile.is_same, seen.files, files))
            )
            if held is not None and same:
                stored = held.snapshot.stored
            else:
                stored = self.read_stored(conns, paths)
            before = None if held is None else held.snapshot.rows
            rows = self._laid_over(conns[-1], before, same, data)
            if held is not None and same and rows is before:
                snapshot = held.snapshot
            else:
                snapshot = self.snapshot(stored, rows)
            if function is not None:
                source = Source(snapshot, self, conns[0])
                value = function(source)
        new = Seen(self.where, directory, pending_file, tuple(files), read_at, seen if same else None)
        return Held(snapshot, new), source, value

    def _pending_file(self) -> tuple[Mark | None, bytes]:
        """(mark, content), in this order, of the pending file."""
        found, data = _read_file(self.broker.pending_path)
        if found is not None and found[2] > MAX_OVERLAY:
            self.broker.commit_pending()
            found, data = _read_file(self.broker.pending_path)
            if found is not None and found[2] > LONGEST_OVERLAY:
                raise DatabaseBusy(f"{self.broker.pending_path}: {found[2]} bytes can't be merged")
        return found, data

    @contextmanager
    def _opened(self, paths: Sequence[str]) -> Iterator[tuple[list[Connection], list[SeenFile]]]:
        """Connections in transactions, and how they found the files, for the block."""
        path = paths[-1]
        with self.broker.connection(path) as conn, conn.reading():
            version = conn.version()  # from here on nobody else can write to the file
            checked = clock.time_ns()
            found = mark(path)
            if found is None or found[:2] != conn.identity:
                raise _Replaced
            file = SeenFile(path, found, version, checked)
            if len(paths) == 1:
                yield [conn], [file]
            else:
                with self._opened(paths[:-1]) as (conns, files):
                    yield [*conns, conn], [*files, file]

    def _laid_over(
        self, conn: Connection, before: PendingRows | None, same: bool, data: bytes
    ) -> PendingRows:
        """The rows of a pending file with this content. `same`: the stored rows are those that `before` was made of."""
        if before is None or not same or not data.startswith(before.data):
            before = NO_ROWS
        items, whole = self._decoded(data, len(before.data))
        if not items:
            return before if len(whole) == len(before.data) else before._replace(data=whole)
        overlays = dict(before.overlays)
        new: dict[int, dict[str, Any]] = {}
        unknown = set()
        for item in items:
            table = self.table(item)
            if table not in new:
                new[table] = {}
                overlays.setdefault(table, NOTHING)
            if item[0] not in overlays[table].rows:
                unknown.add(item[0])
        stored = self.stored_rows(conn, unknown) if unknown else {}
        changes = {policy: list(numbers) for policy, numbers in before.changes.items()}
        for item in items:
            name, table = item[0], self.table(item)
            old = new[table].get(name) or overlays[table].rows.get(name) or stored.get((name, table))
            row = self.merged(old, item)
            if row is not None:
                new[table][name] = row
                if old is not None:
                    self._count(changes, old, -1)
                self._count(changes, row, 1)
        for table, rows in new.items():
            overlays[table] = overlays[table].with_rows(rows)
        totals = {policy: tuple(numbers) for policy, numbers in changes.items()}
        return PendingRows(whole, overlays, totals)

    def _count(self, changes: dict[int, list[int]], row: Any, sign: int) -> None:
        policy, numbers = self.counts(row)
        totals = changes.get(policy)
        if totals is None:
            totals = changes[policy] = [0] * len(numbers)
        for at, number in enumerate(numbers):
            totals[at] += sign * number

    def _decoded(self, data: bytes, start: int) -> tuple[list[Any], bytes]:
        """(the items of the records from `start` on, the data without a last record that isn't whole yet)."""
        if len(data) == start:
            return [], data
        entries = pending.split(data[start:])
        items = []
        for at, entry in enumerate(entries):
            try:
                items.append(self.broker.item_from_record(pending.decode(entry)))
            except ValueError:
                if at == len(entries) - 1:
                    data = data[: len(data) - len(entry) - 1]
        return items, data


def _read_file(path: str) -> tuple[Mark | None, bytes]:
    """(mark, content up to LONGEST_OVERLAY) of a file, in this order; (None, b"") if it is missing. Raises OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None, b""
    try:
        found = mark_of(fd)
        return found, os.read(fd, min(found[2], LONGEST_OVERLAY))
    finally:
        os.close(fd)
