"""One state of a database and its pending file. Nothing here changes, but for memory of what has been made of a state.

Lives here: snapshots and what they consist of. Never here: how they are read (swift.db.reader), which is the latest (swift.db.snapshots),
what rows are (the rooms).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from .bodies import Bodies
from .broker import Metadata
from .overlay import NOTHING, Overlay
from .stretches import Stretches

_BYTES_PER_PENDING_BYTE = 8  # what a record takes in memory once it is understood

Totals = tuple[int, ...]


class Stored:
    """What the database files say, in one state of theirs. Never changes.

    `info`: the stat row and more; `totals`: {policy: numbers}. `stretches(table)` remembers what has been read of the rows.
    """

    size = 0  # bytes in memory, about, of what a room adds

    def __init__(self, info: dict[str, Any], metadata: Metadata, totals: dict[int, Totals]) -> None:
        self.info = info
        self.metadata = metadata
        self.totals = totals
        self._stretches: dict[int, Stretches] = {}
        self._closed = False

    def stretches(self, table: int) -> Stretches:
        """The rows of a table (a container's policy; an account has one) that are in memory."""
        found = self._stretches.get(table)
        if found is None:
            found = self._stretches.setdefault(table, Stretches())
            if self._closed:
                found.close()
        return found

    def open(self) -> None:
        """The files have this state: keep rows, also if that had seemed to have passed."""
        if self._closed:
            self._closed = False
            for stretches in list(self._stretches.values()):
                stretches.open()

    def close(self) -> None:
        """Give the memory of rows back: the files have another state now."""
        self._closed = True
        for stretches in list(self._stretches.values()):
            stretches.close()


class PendingRows(NamedTuple):
    """What a pending file makes of a stored state. Never changes."""

    data: bytes  # of the file, without a last record that isn't whole yet
    overlays: dict[int, Overlay]  # the rows that come of it, by table
    changes: dict[int, Totals]  # of totals, by policy


NO_ROWS = PendingRows(b"", {}, {})


class Snapshot(ABC):
    """One state of a database with its pending rows. Never changes: whoever has one may read on while others have a newer one.

    `info`: as Broker.info but with pending rows counted; `totals`: {policy: numbers}; `bodies`: finished answers of this state;
    `headers`: for the room's server, to keep response headers in.
    """

    def __init__(self, stored: Stored, rows: PendingRows) -> None:
        self.stored = stored
        self.rows = rows
        self.metadata = stored.metadata
        self.totals = _sums(stored.totals, rows.changes)
        self.info = self.info_of_now()
        self.bodies = Bodies()
        self.headers: list[tuple[str, str]] | None = None

    @abstractmethod
    def info_of_now(self) -> dict[str, Any]:
        """`stored.info` brought up to date with `totals`."""

    def overlay(self, table: int) -> Overlay:
        """The pending rows of a table."""
        return self.rows.overlays.get(table, NOTHING)

    @property
    def size(self) -> int:
        """Bytes in memory, about, without stretches and bodies."""
        return 4096 + self.stored.size + _BYTES_PER_PENDING_BYTE * len(self.rows.data)

    def open(self) -> None:
        """This is the latest state, and what is made of it is kept."""
        self.bodies.open()
        self.stored.open()

    def close(self, successor: Snapshot | None = None) -> None:
        """Give the memory back that is of no use any more, but for what the successor shares."""
        self.bodies.close()
        if successor is None or successor.stored is not self.stored:
            self.stored.close()


def _sums(first: Mapping[int, Totals], second: Mapping[int, Totals]) -> dict[int, Totals]:
    found = dict(first)
    for policy, numbers in second.items():
        old = found.get(policy)
        found[policy] = numbers if old is None else tuple(a + b for a, b in zip(old, numbers, strict=True))
    return found


AnySnapshot = TypeVar("AnySnapshot", bound=Snapshot)
