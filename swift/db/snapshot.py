"""What a database and its pending file say together, kept between requests and checked against the files at every use.

A read neither merges nor locks: pending rows are laid over the stored ones in memory. A snapshot is true when the files are as
they were; where their times of change are too fresh to tell, SQLite's own version counter and the bytes of the pending file
decide. Lives here: that check, the totals, and the cache of snapshots. What rows are is the subclasses' business.

The pending file is read before the database: what a merge moves from one to the other in between is then seen twice, which
changes nothing, and never missed.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from swift.core import clock
from swift.core.concurrency import Semaphore
from swift.core.threads import pool_for

from . import pending
from .blocks import BUDGET, Blocks, Overlay, PageCache, overlaid
from .broker import Broker, Metadata
from .connection import Connection
from .errors import DatabaseMissing
from .listing import Fetch
from .listing import Row as ListingRow

FRESH_NS = 50_000_000  # a file changed less than that before it was read may change again within the same tick of its clock
MAX_OVERLAY = 1024 * 1024  # bytes of pending file that are laid over; a longer one is merged by the reader
MAX_SNAPSHOTS = 512
_BYTES_PER_PENDING_BYTE = 6  # what a record takes in memory once it is understood

Signature = tuple[int, int, int, int]
Row = TypeVar("Row", bound=tuple)
Totals = tuple[int, ...]


def signature(path: str) -> Signature | None:
    """(device, inode, size, time of change) of a file, None if it is missing."""
    try:
        st = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns


def _settled(found: Signature | None, read_at: int) -> bool:
    """Whether a file that was read at `read_at` (nanoseconds) and had this signature can't have changed unseen since."""
    return found is None or 0 <= found[3] < read_at - FRESH_NS


class Base(Generic[Row]):
    """What one read of the database gave: `info` (stat row and more), metadata, totals a policy."""

    __slots__ = ("checked", "info", "metadata", "path", "signature", "totals", "version")

    def __init__(self, info: dict[str, Any], metadata: Metadata, totals: dict[int, Totals]) -> None:
        self.info = info
        self.metadata = metadata
        self.totals = totals
        self.path = ""
        self.signature: Signature | None = None
        self.version: Any = None
        self.checked = 0  # when it was last known to be true, in nanoseconds

    def is_at(self, found: Signature | None, version: Any) -> bool:
        """Whether a connection of this version, to a file of this signature, sees the same state."""
        return found == self.signature and (version == self.version or _settled(found, self.checked))


class Snapshot(Generic[Row]):
    """The cached state of one database. Use: `refresh()`, then read the attributes.

    `info`: as Broker.info but with pending rows counted; `totals`: {policy: numbers}; `generation`: grows when anything
    changes. `body_cache` holds finished bodies of this generation; `blocks(policy)` rows as they are stored.
    """

    width: int  # how many numbers a policy's totals are

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.device_path = broker.device_path
        self.generation = 0
        self.info: dict[str, Any] = {}
        self.metadata: Metadata = {}
        self.totals: dict[int, list[int]] = {}
        self.rows: dict[Any, Row] = {}  # effective rows that the pending file changes, by key
        self.body_cache = PageCache()
        self._base: Base[Row] | None = None
        self._blocks: dict[int, Blocks] = {}
        self._overlays: dict[int, Overlay] = {}
        self._items: list[Any] = []  # what `rows` were made from
        self._consumed = b""  # the bytes of the pending file that `_items` were made from
        self._pending: Signature | None = None
        self._directory: Signature | None = None
        self._settled = False  # whether signatures alone tell that nothing has changed
        self._lock = Semaphore(1)

    # -- what subclasses know

    def read_base(self, conn: Connection) -> Base[Row]:
        """Read what the database says, in the transaction of `conn`."""
        raise NotImplementedError

    def stored_rows(self, conn: Connection, names: Iterable[str]) -> dict[Any, Row]:
        """The stored rows of names, by key."""
        raise NotImplementedError

    def key_of(self, item: Any) -> Any:
        """The key of an item or row."""
        raise NotImplementedError

    def merged(self, old: Row | None, item: Any) -> Row | None:
        """The row that an item makes of a row; None: the old one stays."""
        raise NotImplementedError

    def contribution(self, row: Row) -> tuple[int, Totals]:
        """(policy, what the row adds to its totals)."""
        raise NotImplementedError

    def listed(self, row: Row) -> Any:
        """The row as a listing shows it, None if it doesn't."""
        raise NotImplementedError

    def overlay_key(self, row: Row) -> int:
        """Which overlay a row belongs to."""
        raise NotImplementedError

    def rows_between(
        self, conn: Connection, key: int, low: str, high: str | None, reverse: bool, count: int
    ) -> list[Any]:
        """Up to `count` stored rows of overlay `key` as listings show them, low <= name < high, by name."""
        raise NotImplementedError

    def derive(self) -> None:
        """Bring `info` up to date with the totals."""
        raise NotImplementedError

    def refresh_uncached(self) -> bool:
        """Whether this database can't be kept (several files), and if so, read it now."""
        return False

    # -- reading

    def blocks(self, policy: int) -> Blocks:
        """The cached rows of a policy, as they are stored."""
        found = self._blocks.get(policy)
        if found is None:
            found = self._blocks[policy] = Blocks()
        return found

    def overlay(self, key: int) -> Overlay:
        """The pending rows of one listing. The object that is returned never loses rows."""
        found = self._overlays.get(key)
        if found is None:
            found = self._overlays[key] = Overlay()
        return found

    def read(self, function: Callable[[Connection], Any]) -> tuple[Any, bool]:
        """(function(connection) in one transaction, whether that was of the state that is cached), in the device's pool."""
        base = self._base
        value, seen = pool_for(self.device_path).run(self._read, function)
        return value, base is not None and base is self._base and base.is_at(*seen)

    def _read(self, function: Callable[[Connection], Any]) -> tuple[Any, Any]:
        path = self.broker.file
        with self.broker.connection(path) as conn, conn.reading():
            version = conn.version()
            return function(conn), (signature(path), version)

    # -- staying true

    def refresh(self) -> None:
        """Make the snapshot true of now. Raises DatabaseMissing, DatabaseBusy, DatabaseQuarantined, sqlite3.Error."""
        BUDGET.touch(self)  # or it would be the first to go, and all its blocks with it
        if not self._is_current():
            with self._lock:
                if not self._is_current():
                    self._refresh()

    def _is_current(self) -> bool:
        base = self._base
        return (
            self._settled
            and base is not None
            and signature(self.broker.pending_path) == self._pending
            and signature(base.path) == base.signature
            and signature(self.broker.directory) == self._directory
        )

    def _refresh(self) -> None:
        broker = self.broker
        start = clock.time_ns()
        directory = signature(broker.directory)
        # exists() also looks again which files there are
        if (not self._settled or directory != self._directory) and not broker.exists():
            raise DatabaseMissing(broker.path)
        self._settled = False
        if self.refresh_uncached():
            return
        pending_now = signature(broker.pending_path)
        if pending_now is not None and pending_now[2] > MAX_OVERLAY:
            pool_for(self.device_path).run(broker.commit_pending)
            pending_now = signature(broker.pending_path)
        data = pending.read(broker.pending_path, 0, 2 * MAX_OVERLAY) if pending_now is not None else b""
        self._follow(data)
        base = self._base
        self._pending, self._directory = pending_now, directory
        self._settled = (
            base is not None  # it is when the budget couldn't hold it
            and _settled(pending_now, start)
            and _settled(directory, start)
            and _settled(base.signature, base.checked)
        )

    def _follow(self, data: bytes) -> None:
        """Take in what the pending file holds now, over what the database says now."""
        base = self._base
        goes_on = base is not None and data.startswith(self._consumed)
        fresh, consumed = self._decoded(data, len(self._consumed) if goes_on else 0)
        earlier = self._items if goes_on else []
        unknown = {item[0] for item in fresh if not goes_on or self.key_of(item) not in self.rows}
        new_base, stored = pool_for(self.device_path).run(self._read_state, base, unknown, earlier)
        if new_base is not base or not goes_on:
            self._start_over(new_base)
            fresh = earlier + fresh
        elif not fresh:
            return
        for item in fresh:
            self._take(item, stored)
        self._items += fresh
        self._consumed = consumed
        self._changed()

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

    def _read_state(
        self, base: Base[Row] | None, unknown: set[str], earlier: list[Any]
    ) -> tuple[Base[Row], dict[Any, Row]]:
        """(`base` if it still holds, else a new one; the stored rows of `unknown`, and with a new base of `earlier`)."""
        path = self.broker.file
        with self.broker.connection(path) as conn, conn.reading():
            version = conn.version()  # from here on nobody else can write to the file
            checked = clock.time_ns()
            found = signature(path)
            if base is not None and base.path == path and base.is_at(found, version):
                base.checked, base.version = checked, version
                return base, self.stored_rows(conn, unknown) if unknown else {}
            base = self.read_base(conn)
            base.path, base.signature, base.version, base.checked = path, found, version, checked
            names = unknown.union(item[0] for item in earlier)
            return base, self.stored_rows(conn, names) if names else {}

    def _start_over(self, base: Base[Row]) -> None:
        if base is not self._base:
            for blocks in self._blocks.values():
                blocks.clear()
            self._blocks = {}
        self._base = base
        # new objects: whoever is amid a listing goes on with the old ones, over the old rows
        self.rows = {}
        self._overlays = {}
        self._items, self._consumed = [], b""
        self.totals = {policy: list(numbers) for policy, numbers in base.totals.items()}

    def _changed(self) -> None:
        self.generation += 1
        self.body_cache.clear()
        base = self._base
        assert base is not None
        self.info = dict(base.info)
        self.metadata = base.metadata
        self.derive()
        BUDGET.add(self, 4096 + _BYTES_PER_PENDING_BYTE * len(self._consumed), self._forget)

    def _forget(self) -> None:
        """Out of the budget: start from nothing at the next refresh."""
        self._base = None
        self._settled = False
        self.rows = {}
        self._overlays = {}
        self._items, self._consumed = [], b""

    def _take(self, item: Any, stored: dict[Any, Row]) -> None:
        key = self.key_of(item)
        old = self.rows.get(key)
        if old is None:
            old = stored.get(key)
        row = self.merged(old, item)
        if row is None:
            return
        if old is not None:
            self._count(old, -1)
            if self.overlay_key(old) != self.overlay_key(row):
                self.overlay(self.overlay_key(old)).put(old[1], None)
        self._count(row, 1)
        self.rows[key] = row
        self.overlay(self.overlay_key(row)).put(row[1], self.listed(row))

    def _count(self, row: Row, sign: int) -> None:
        policy, numbers = self.contribution(row)
        totals = self.totals.get(policy)
        if totals is None:
            totals = self.totals[policy] = [0] * self.width
        for at, number in enumerate(numbers):
            totals[at] += sign * number

    def drop(self) -> None:
        """Give the memory back."""
        for blocks in self._blocks.values():
            blocks.clear()
        self.body_cache.clear()
        BUDGET.remove(self)


def fetcher(snapshot: Snapshot[Any], conn: Connection, key: int, overlay: Overlay) -> Fetch:
    """The `Fetch` of swift.db.listing over stored and pending rows of a snapshot, in one transaction of `conn`."""

    def fetch(low: str, high: str | None, reverse: bool, count: int) -> tuple[list[ListingRow], str | None]:
        rows = snapshot.rows_between(conn, key, low, high, reverse, count)
        bound: str | None = None
        if len(rows) >= count:
            bound = rows[-1][0] if reverse else rows[-1][0] + "\0"
        if overlay.names:
            changes = overlay.between(bound or low, high) if reverse else overlay.between(low, bound or high)
            if changes:
                if reverse:
                    rows.reverse()
                overlaid([row[0] for row in rows], rows, changes, overlay.texts)
                if reverse:
                    rows.reverse()
        return rows, bound

    return fetch


AnySnapshot = TypeVar("AnySnapshot", bound=Snapshot)


class SnapshotCache(Generic[AnySnapshot]):
    """Snapshots by database path; what was used least recently goes first."""

    def __init__(self, make: Callable[[str], AnySnapshot], limit: int = MAX_SNAPSHOTS) -> None:
        self._make = make
        self._limit = limit
        self._snapshots: OrderedDict[str, AnySnapshot] = OrderedDict()

    def current(self, path: str) -> AnySnapshot:
        """A refreshed snapshot. Raises as Snapshot.refresh; what is missing or broken is not kept."""
        found = self._snapshots.get(path)
        if found is None:
            found = self._make(path)
        try:
            found.refresh()
        except BaseException:
            if self._snapshots.pop(path, None) is not None:
                found.drop()
            raise
        if path not in self._snapshots:
            self._snapshots[path] = found
            if len(self._snapshots) > self._limit:
                self._snapshots.popitem(last=False)[1].drop()
        else:
            self._snapshots.move_to_end(path)
        return found
