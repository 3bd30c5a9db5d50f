"""What the bytes of a body must come to: its digests taken piece by piece, and compared at its end (spec s3.md 4.1, 4.2).

The beginning of a body, and what comes slowly, is digested where it is; the rest of a long one by another core, while this one receives
and sends on.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
from collections import deque
from collections.abc import Callable

from swift.engine.threads import Call, DeviceBusy, lane
from swift.s3.checksums import Algorithm, Digest
from swift.s3.errors import S3Error

BEGINNING = 1024 * 1024  # bytes
LEAST = 16 * 1024  # bytes of a piece that another core is worth waking for
MOST = 16  # pieces that wait for it: few more than 4 MB of a body


class Check:
    """What a body's bytes must come to: digests that are fed, and the values that they must have. `end` raises S3Error."""

    def __init__(self, sha256: str | None, algorithm: Algorithm | None, value: bytes | None) -> None:
        self.sha256 = sha256
        self.algorithm = algorithm
        self.value = value  # of the checksum: as promised; as it is, after `end`
        self._hash = hashlib.sha256() if sha256 is not None else None
        self._digest: Digest | None = algorithm.make() if algorithm is not None else None
        self._length = 0
        self._submit: Callable[..., Call] | None = None
        # with where its piece lies: first and last address
        self._taken: deque[tuple[Call, int, int]] = deque()

    @property
    def is_needed(self) -> bool:
        return self._hash is not None or self._digest is not None

    def release(self, buffer: memoryview) -> None:
        """Return when nothing that was taken lies in this buffer any more: it can be written to."""
        if not self._taken:
            return
        first, last = _place(buffer)
        waiting = [at for at, (_, begin, end) in enumerate(self._taken, 1) if begin < last and first < end]
        if waiting:
            self._wait(len(self._taken) - waiting[-1])

    def update(self, data: bytes | memoryview) -> None:
        """The next piece, which stays as it is; in a buffer that is to be written to again, until `release`."""
        self._length += len(data)
        if self._submit is None and self._length >= BEGINNING and len(data) >= LEAST and self.is_needed:
            with contextlib.suppress(OSError):  # without descriptors it goes on here
                self._submit = lane()
        if self._submit is None or (not self._taken and len(data) < LEAST):
            self._feed(data)
            return
        if len(self._taken) >= MOST:
            # Some at once, so that this core isn't woken for each of them.
            self._wait(MOST // 2)
        try:
            place = (0, 0) if isinstance(data, bytes) else _place(data)
            self._taken.append((self._submit(self._feed, data), *place))
        except DeviceBusy:  # no thread can be had: here, after what came before
            self._wait(0)
            self._feed(data)

    def _wait(self, left: int) -> None:
        while len(self._taken) > left:
            self._taken.popleft()[0].wait()

    def _feed(self, data: bytes | memoryview) -> None:
        if self._hash is not None:
            self._hash.update(data)
        if self._digest is not None:
            self._digest.update(data)

    def end(self) -> None:
        """All of it has come. Raises S3Error."""
        self._wait(0)
        if self._hash is not None and self.sha256 is not None:
            found = self._hash.hexdigest()
            if found != self.sha256.lower():
                raise S3Error(
                    "XAmzContentSHA256Mismatch",
                    ClientComputedContentSHA256=self.sha256,
                    S3ComputedContentSHA256=found,
                )
        if self._digest is not None and self.algorithm is not None:
            value = self._digest.digest()
            if self.value is not None and value != self.value:
                raise S3Error(
                    "BadDigest",
                    f"The {self.algorithm.name.upper()} you specified did not match the calculated checksum.",
                )
            self.value = value


def _place(buffer: memoryview) -> tuple[int, int]:
    """The address of its first byte, and that behind its last one."""
    if not len(buffer):
        return 0, 0
    start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    return start, start + len(buffer)
