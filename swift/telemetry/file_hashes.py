"""MD5 sums of files that seldom change, such as rings: computed again only when the file is another one."""

from __future__ import annotations

import hashlib
import os

_READ = 1024 * 1024


class FileHashes:
    """What was computed so far. May block for as long as a disk does."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int, int], str]] = {}

    def md5(self, path: str) -> str:
        """The sum in hex. Raises OSError."""
        with open(path, "rb") as file:
            stat = os.fstat(file.fileno())
            identity = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            known = self._known.get(path)
            if known is not None and known[0] == identity:
                return known[1]
            digest = hashlib.md5(usedforsecurity=False)
            while data := file.read(_READ):
                digest.update(data)
        self._known[path] = (identity, digest.hexdigest())
        return digest.hexdigest()
