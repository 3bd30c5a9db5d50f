"""How the files of a database were when they were read, and whether what was read still holds.

Lives here: the one place that tells that. Nothing here changes. What marks are, and when they count: swift.db.marks.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from .marks import Mark, is_settled, look_anyway, road_to


class SeenFile(NamedTuple):
    """How a database file was in a transaction that has read it."""

    path: str
    mark: Mark
    version: Any  # of the connection
    checked: int  # when, in nanoseconds

    def is_same(self, later: SeenFile) -> bool:
        """True if what was read then is what would be read now."""
        return (self.path, self.mark) == (later.path, later.mark) and (
            self.version == later.version or is_settled(self.mark, self.checked)
        )


class Seen:
    """How the files were when a snapshot was made of them: the one place that tells whether it still holds. Never changes."""

    __slots__ = ("_look", "_marks", "_names", "_settled", "_stored_settled", "directory", "files", "read_at")

    def __init__(
        self,
        where: tuple[bytes, bytes],
        directory: Mark,
        pending_file: Mark | None,
        files: tuple[SeenFile, ...],
        read_at: int,
        before: Seen | None,
    ) -> None:
        """`where`: the directory, and the pending file's name. `before`: what was seen of the same files earlier."""
        self.directory = directory
        self.files = files
        self.read_at = read_at
        if before is None:
            names = [os.fsencode(os.path.basename(file.path)) for file in files]
            self._names = where[0], (*names, where[1])
            self._look = road_to(where[0])
        else:
            self._names, self._look = before._names, before._look
        self._marks = (directory, *[f.mark for f in files], pending_file)
        self._stored_settled = is_settled(directory, read_at) and all(
            is_settled(f.mark, f.checked) for f in files
        )
        self._settled = self._stored_settled and is_settled(pending_file, read_at)

    def holds_at_once(self) -> bool:
        """True if nothing has changed, as far as can be told without waiting for a disk."""
        if not self._settled or self._look is None:
            return False
        try:
            return self._look(*self._names) == self._marks
        except OSError:
            return False

    def stored_holds_at_once(self) -> bool:
        """True if the database has not changed; the pending file may have."""
        if not self._stored_settled or self._look is None:
            return False
        directory, names = self._names
        try:
            return self._look(directory, names[:-1]) == self._marks[:-1]
        except OSError:
            return False

    def holds(self) -> bool:
        """True if nothing has changed, as far as marks tell. May wait for the disk."""
        return self._settled and look_anyway(*self._names) == self._marks
