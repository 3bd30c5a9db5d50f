"""What was read of databases that have not changed since: most of them, in most passes.

Lives here: keeping it, within a bound, and telling whether it still holds, as doc/durability.md says of snapshots. Never here: reading it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any, Generic, NamedTuple, TypeVar

from swift.core import clock
from swift.core.concurrency import raw_threading

from ..marks import Mark, is_settled, mark

LIMIT = 8192  # databases of a process
MAX_METADATA = 2048  # characters of a database that is kept
KEEP_SECONDS = 3600.0  # what comes with time alone (what is old enough to be removed) is seen after that

Value = TypeVar("Value")
Marks = tuple["Mark | None", "Mark | None", "Mark | None"]


class _Kept(NamedTuple):
    marks: Marks
    until: float
    value: Any


class Look(NamedTuple):
    """How the files of a database were before they were read, and when that was (nanoseconds)."""

    marks: Marks
    at: int


def look(path: str) -> Look:
    """At the files of the database at `path`. Blocks. Raises OSError."""
    at = clock.time_ns()
    return Look((mark(os.path.dirname(path)), mark(path), mark(path + ".pending")), at)


class Known(Generic[Value]):
    """By path; used by several threads."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = raw_threading.Lock()

    def get(self, path: str, seen: Look) -> Value | None:
        """What was kept of the database, if its files are as they were then."""
        with self._lock:
            kept = self._kept.get(path)
            if kept is None:
                return None
            if kept.marks != seen.marks or clock.monotonic() >= kept.until:
                del self._kept[path]
                return None
            self._kept.move_to_end(path)
            value: Value = kept.value
            return value

    def keep(self, path: str, seen: Look, value: Value, info: dict[str, Any]) -> None:
        """Keep what was read after `seen`, if later changes will be noticed by the files' marks.

        `info`: replication_info. A database with several files, or with much metadata, is not kept.
        """
        if seen.marks[1] is None or info.get("db_state", "unsharded") != "unsharded":
            return
        if len(info["metadata"]) > MAX_METADATA or not all(
            is_settled(found, seen.at) for found in seen.marks
        ):
            return
        with self._lock:
            self._kept[path] = _Kept(seen.marks, clock.monotonic() + KEEP_SECONDS, value)
            self._kept.move_to_end(path)
            if len(self._kept) > self.limit:
                self._kept.popitem(last=False)
