"""Group commit of pending files: acknowledged rows that survive power loss (the option sync_pending_updates).

One sync serves all who appended before it began. What is appended, and how, is swift.db.pending's business.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from swift.core.concurrency import Event
from swift.core.fs import fsync_dir
from swift.core.threads import pool_for


class _Round:
    """One sync of one file, and those who wait for it."""

    __slots__ = ("done", "error")

    def __init__(self) -> None:
        self.done = Event()
        self.error: OSError | None = None


class GroupSync:
    """Makes appended records survive power loss: one sync serves all who appended before it began.

    A failed sync fails every write of its group, as none of them is known to be on disk.
    """

    def __init__(self, sync: Callable[[str], None] | None = None) -> None:
        self._sync = sync or _sync_file
        self._next: dict[str, _Round] = {}
        self._running: dict[str, _Round] = {}

    def wait(self, path: str, device: str) -> None:
        """Return when everything that is in `path` now is on disk. `device`: its mount directory. Raises OSError."""
        mine = self._next.get(path)
        if mine is not None:
            mine.done.wait()  # a round that hasn't begun: it will see our record
        else:
            mine = self._next[path] = _Round()
            running = self._running.get(path)
            if running is not None:
                running.done.wait()
            # from here on whoever appends needs another round
            del self._next[path]
            self._running[path] = mine
            try:
                pool_for(device).run(self._sync, path)
            except OSError as err:
                mine.error = err
            except BaseException:
                mine.error = OSError(5, "sync given up", path)
                raise
            finally:
                del self._running[path]
                mine.done.send()
        if mine.error is not None:
            raise OSError(mine.error.errno, mine.error.strerror, path)


_entries_synced: set[tuple[str, int, int]] = set()


def _sync_file(path: str) -> None:
    """fdatasync a pending file and, the first time, its directory entry. A file that is gone has been merged."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fdatasync(fd)
        st = os.fstat(fd)
    finally:
        os.close(fd)
    key = (path, st.st_dev, st.st_ino)
    if key not in _entries_synced:
        if len(_entries_synced) > 65536:
            _entries_synced.clear()
        fsync_dir(os.path.dirname(path))
        _entries_synced.add(key)
