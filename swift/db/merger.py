"""Moving what a pending file holds into its database (database.md 5).

Lives here: when the lock is held, in which portions, and when the file may be cut: only once all it held is committed in the
very file that is the database then. What the rows are, and how they combine, is the brokers' business.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from swift.engine.fault_points import fault_point

from . import pending
from .errors import DatabaseBusy, DatabaseReplaced
from .pending import DirectoryLock

MERGE_BATCH = 4_000  # rows in one transaction, which keeps in memory what it changes
MERGE_AHEAD_ABOVE = 16 * 1024  # bytes
MERGE_AHEAD_BATCH = 600  # rows in a transaction without the lock, since others may want the database meanwhile: what a file that is just too long holds
ATTEMPTS = 5  # at merging into a database that is being replaced


class RowStore(Protocol):
    """What is asked of a database into which pending rows are merged."""

    path: str
    directory: str
    pending_path: str
    lock_timeout: float
    stale_reads_ok: bool
    skip_commits: bool
    durable: bool
    logger: Any
    rows_commute: bool

    def current_file(self) -> Any:
        """Which file is the database now, in a form that compares. Raises DatabaseMissing."""

    def item_from_record(self, record: pending.Record) -> Any:
        """The row item that a record stands for. Raises ValueError."""

    def merge_items(self, items: list[Any]) -> None:
        """Merge row items."""


class _Ahead(NamedTuple):
    """What was merged before the lock was taken: the beginning of the pending file, and into which database."""

    data: bytes
    place: Any


class PendingMerger:
    """Merges the pending file of one database."""

    def __init__(self, rows: RowStore) -> None:
        self._rows = rows

    def merge(self) -> None:
        """Merge all of the file. Raises DatabaseBusy (not with stale_reads_ok), DatabaseMissing, OSError.

        Of a long file all but the last records are merged before the lock is taken, so that writers wait no longer than for a
        few rows. Only where rows may be merged again in any order: we may die, or another may merge, in between.
        """
        rows = self._rows
        if rows.skip_commits:
            return
        try:
            size = os.stat(rows.pending_path).st_size
        except FileNotFoundError:
            return
        if not size:
            return
        try:
            ahead = self._ahead() if rows.rows_commute and size > MERGE_AHEAD_ABOVE else None
            with DirectoryLock(rows.directory, rows.lock_timeout):
                self.merge_locked(ahead=ahead)
        except DatabaseBusy:
            if not rows.stale_reads_ok:
                raise

    def shorten(self) -> None:
        """Merge so much of the file that it is short again. Raises as merge.

        Where possible the lock is held only to leave the last records in the file: no writer waits for a commit and its syncs.
        """
        rows = self._rows
        if not rows.rows_commute:
            self.merge()
            return
        for _ in range(ATTEMPTS):
            if self._shorten() <= pending.MERGE_ABOVE:
                return

    def _shorten(self) -> int:
        """One round; returns how many bytes have come meanwhile."""
        rows = self._rows
        ahead = self._ahead()
        if not ahead.data:
            return 0
        with DirectoryLock(rows.directory, rows.lock_timeout):
            data = b"".join(pending.read_all(rows.pending_path))
            if not data.startswith(ahead.data) or rows.current_file() != ahead.place:
                return 0  # somebody else is at it
            left = data[len(ahead.data) :]
            pending.replace(rows.pending_path, left, rows.durable)
            return len(left)

    def merge_locked(self, more: Iterable[pending.Record] = (), ahead: _Ahead | None = None) -> None:
        """Merge the file and then `more`, and empty the file; for a caller who holds the directory lock. Raises as merge."""
        rows = self._rows
        added = [rows.item_from_record(record) for record in more]
        for _ in range(ATTEMPTS):
            place = rows.current_file()
            start = 0
            if ahead is not None and ahead.place == place:
                length = len(ahead.data)
                if pending.read(rows.pending_path, 0, length) == ahead.data:
                    start = length
            self._merge_entries(pending.entries(rows.pending_path, start), MERGE_BATCH)
            if added:
                rows.merge_items(added)
            fault_point("db:merge:committed")
            if rows.current_file() == place:
                with contextlib.suppress(FileNotFoundError):
                    pending.empty(rows.pending_path)
                return
        raise DatabaseReplaced(f"{rows.path} is being replaced all the time")

    def _ahead(self) -> _Ahead:
        """Merge what the file holds now, without its lock, but for the last record, which may not be whole."""
        rows = self._rows
        place = rows.current_file()
        data = pending.read(rows.pending_path)
        data = data[: max(data.rfind(b":"), 0)]
        self._merge_entries(pending.split(data), MERGE_AHEAD_BATCH)
        fault_point("db:merge:ahead")
        return _Ahead(data if rows.current_file() == place else b"", place)

    def _merge_entries(self, entries: Iterable[bytes], batch_size: int) -> None:
        """Merge entries of a pending file; one that can't be understood costs only itself."""
        rows = self._rows
        batch: list[Any] = []
        for entry in entries:
            try:
                batch.append(rows.item_from_record(pending.decode(entry)))
            except ValueError as err:
                if rows.logger is not None:
                    rows.logger.error("Invalid pending entry %s: %s", rows.pending_path, err)
                continue
            if len(batch) >= batch_size:
                rows.merge_items(batch)
                batch = []
        if batch:
            rows.merge_items(batch)
