"""What the container-updater remembers from sweep to sweep: which containers had nothing new, as their files were then.

Sixteen bytes a container, in a table that grows to a bound. Where it is full, something is forgotten for each thing that is learnt; what is
forgotten costs a look inside, never a report. Never here: looking at files.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from hashlib import blake2b

from swift.core import clock
from swift.db.marks import Mark, is_settled

WAYS = 4  # places that one container may have
FIRST_BUCKETS = 64
MOST_BUCKETS = 65536  # 262,144 containers in 4 MiB


class Unchanged:
    """Containers without news. Two 64-bit digests each, of the path and of the files' marks, with a secret of this process."""

    def __init__(self, most_buckets: int = MOST_BUCKETS) -> None:
        self._most = most_buckets
        self._secret = clock.random_bytes(16)
        self._make(min(FIRST_BUCKETS, most_buckets))

    def _make(self, buckets: int) -> None:
        self._buckets = buckets
        self._paths = array("Q", bytes(8 * WAYS * buckets))
        self._marks = array("Q", bytes(8 * WAYS * buckets))
        self._count = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the table."""
        return 2 * 8 * len(self._paths)

    def __len__(self) -> int:
        return self._count

    def _digest(self, text: str) -> int:
        digest = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8, key=self._secret).digest()
        return int.from_bytes(digest, "little") or 1  # 0 is an empty place

    def __contains__(self, item: tuple[str, Sequence[Mark | None]]) -> bool:
        """True if the container at this path had no news when its files had these marks."""
        path, marks = item
        place = self._find(self._digest(path))
        return place is not None and self._marks[place] == self._digest(repr(marks))

    def learn(self, path: str, marks: Sequence[Mark | None], read_at: int) -> None:
        """There were no news in it at `read_at` (nanoseconds); `marks` are from before that, and are believed only if they can be."""
        digest = self._digest(path)
        if not all(is_settled(mark, read_at) for mark in marks):
            self._drop(digest)
            return
        self._put(digest, self._digest(repr(marks)))

    def forget(self, path: str) -> None:
        """Nothing is known of it any more."""
        self._drop(self._digest(path))

    def _bucket(self, digest: int) -> range:
        first = digest % self._buckets * WAYS
        return range(first, first + WAYS)

    def _find(self, digest: int) -> int | None:
        paths = self._paths
        for place in self._bucket(digest):
            if paths[place] == digest:
                return place
        return None

    def _drop(self, digest: int) -> None:
        place = self._find(digest)
        if place is not None:
            self._paths[place] = self._marks[place] = 0
            self._count -= 1

    def _put(self, digest: int, marks: int) -> None:
        place = self._find(digest)
        if place is None:
            if self._count * 2 >= len(self._paths) and self._buckets < self._most:
                self._grow()
            bucket = self._bucket(digest)
            place = next((one for one in bucket if not self._paths[one]), None)
            if place is None:
                place = bucket[clock.random_bytes(1)[0] % WAYS]
            else:
                self._count += 1
        self._paths[place] = digest
        self._marks[place] = marks

    def _grow(self) -> None:
        known = [(path, marks) for path, marks in zip(self._paths, self._marks, strict=True) if path]
        self._make(min(self._buckets * 2, self._most))
        for path, marks in known:
            self._put(path, marks)
