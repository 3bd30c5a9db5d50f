"""Reading all of an open object to prove that it is what was once stored: what the auditor does with each.

Unlike a check on the way to a client (`checks`) it proves the ETag, and the headers of all fragments of an archive. What differs is read a
second time, past the page cache where there is one: a bit that fell over in memory is no damage of what is stored. Everything here blocks.
"""

from __future__ import annotations

import contextlib
import errno
import os
from hashlib import md5

from swift.coding.fragments import HEADER, Codec, FragmentError
from swift.obj.checks import PIECE, Check
from swift.obj.damage import read_or_judge
from swift.obj.errors import Corrupt
from swift.obj.store import OpenObject

# A client that reads an object has it in memory soon again; what nobody reads must not push that out.
_NOT_CACHED = errno.EAGAIN
_UNKNOWN = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL))
_in_memory: set[int] = set()  # device numbers of file systems that can't be asked: nothing is forgotten there
MAX_FRAGMENT = 64 << 20  # bytes; a fragment with an old header checksum is read whole to be judged


def look_at_once(found: OpenObject, buffer: memoryview) -> bool | None:
    """True if all bytes of a small object are in memory and fit its ETag, False if they differ; None says nothing."""
    view = buffer[: found.size]
    try:
        flags = 0 if found.identity[0] in _in_memory else os.RWF_NOWAIT
        if os.preadv(found.fd, [view], found.offset, flags) != found.size:
            return None
    except OSError:
        return None
    return md5(view, usedforsecurity=False).hexdigest() == found.metadata.get("ETag")


class Archive:
    """A fragment archive, whose fragments tell themselves where they end. `index`: that of all of them."""

    __slots__ = ("_at", "_codec", "_index", "number")

    def __init__(self, codec: Codec, index: int | None) -> None:
        self._codec = codec
        self._index = index
        self._at = 0
        self.number = 0

    def through(self, found: OpenObject, stop: int) -> None:
        """Check the headers of the fragments that begin before `stop`. Raises Corrupt, OSError."""
        while self._at < stop:
            head = read_or_judge(os.pread, found.fd, HEADER, found.offset + self._at)
            try:
                if len(head) < HEADER:
                    raise FragmentError("it ends within a header")
                header = self._codec.header(head)
                if header.size <= HEADER or self._at + header.size > found.size:
                    raise FragmentError("the header says a wrong size")
                if self._index is not None and header.number != self._index:
                    raise FragmentError(f"it is fragment {header.number}, not {self._index}")
                if not header.is_good and header.size <= MAX_FRAGMENT:
                    self._codec.check(read_or_judge(os.pread, found.fd, header.size, found.offset + self._at))
            except FragmentError as err:
                raise Corrupt(f"fragment of segment {self.number}: {err}") from None
            self._at += header.size
            self.number += 1


class Proof:
    """The proof of one open object, in steps. `by_checksums`: by the checksums of its blocks, where it has them, at several times the speed.

    `codec`, `index`: for fragment archives. `chunk`: bytes of a read. When `step` says 0: `damage` tells why the object is not what was stored,
    or is None; `once` tells what differed at the first look only.
    """

    __slots__ = (
        "_archive",
        "_at",
        "_by_checksums",
        "_check",
        "_chunk",
        "_codec",
        "_index",
        "_keep",
        "damage",
        "found",
        "once",
    )

    def __init__(
        self,
        found: OpenObject,
        by_checksums: bool = False,
        codec: Codec | None = None,
        index: int | None = None,
        chunk: int = PIECE,
    ) -> None:
        self.found = found
        self.damage: str | None = None
        self.once: str | None = None
        self._by_checksums = by_checksums
        self._codec = codec
        self._index = index
        self._chunk = chunk
        self._keep = True
        self._begin()

    def _begin(self) -> None:
        self._at = 0
        self._check = Check(self.found, not self._by_checksums)
        self._archive = Archive(self._codec, self._index) if self._codec is not None else None

    def step(self, buffer: memoryview) -> int:
        """Read on, at most as much as fits into the buffer; the bytes read, 0 at the end. Raises OSError for what proves nothing."""
        found = self.found
        if self._at >= found.size or self.damage is not None:
            return 0
        began = self._at
        stop = min(began + len(buffer), found.size)
        try:
            while self._at < stop:
                self._read(buffer[: min(self._check.room(), self._chunk, stop - self._at)])
            if self._archive is not None:
                self._archive.through(found, self._at)
        except Corrupt as err:
            count = self._at - began
            self.differs(str(err))
            return max(count, 1)
        self._forget(began, self._at)
        return self._at - began

    def doubt(self, path: str) -> str:
        """For the log, when `once` says something and `damage` nothing."""
        return f"{path}: {self.once} when it was read at first, and was good the second time: memory, controller or cable may be bad"

    def _read(self, view: memoryview) -> None:
        check, at = self._check, self._at
        count = 0
        if at == 0 and self.once is None and self.found.identity[0] not in _in_memory:
            count = self._if_cached(view)
        count = count or check.read(view, at)
        if not count:
            raise Corrupt(f"it ends at {at} of {self.found.size} bytes")
        self._at += count
        if check.failed:
            raise Corrupt("checksum differs")

    def _if_cached(self, view: memoryview) -> int:
        """The first bytes, if they are in memory: then they stay there."""
        try:
            return self._check.read(view, 0, os.RWF_NOWAIT)
        except OSError as err:
            if err.errno == _NOT_CACHED:
                self._keep = False
                with contextlib.suppress(OSError):
                    os.posix_fadvise(self.found.fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            elif err.errno in _UNKNOWN:
                _in_memory.add(self.found.identity[0])
            else:
                raise
        return 0

    def differs(self, why: str) -> None:
        """It was not what it should be, at this look."""
        if self.once is not None:
            self.damage = why
            return
        self.once = why
        self._by_checksums = False  # a checksum may be what is wrong
        self._forget(0, 0, True)
        self._begin()

    def _forget(self, start: int, stop: int, anyway: bool = False) -> None:
        if anyway or not self._keep:
            with contextlib.suppress(OSError):
                os.posix_fadvise(
                    self.found.fd, self.found.offset + start, stop - start, os.POSIX_FADV_DONTNEED
                )
