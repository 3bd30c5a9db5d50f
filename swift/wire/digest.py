"""MD5 and CRC of a body on its way through the proxy.

What comes slowly, and the beginning of all bodies, is digested where it is. The rest of what comes fast is received into a ring
of buffers, and another core takes their digests while this one sends them on. What never lives here: receiving and sending.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

from swift.core.checksum import crc32
from swift.core.hashing import md5
from swift.engine.threads import Call, DeviceBusy, lane

BEGINNING = 1024 * 1024  # bytes
PIECE = 64 * 1024  # bytes of the one buffer that most bodies need
LONG_PIECE = 256 * 1024  # bytes of each of the ring's buffers
RING = 12  # buffers; made when the other core falls behind
FEW = 2  # buffers that each long body may have, and all together
ALL_RINGS = 256  # of them, when many come at once


class BodyDigest:
    """The digests of one body. For each piece: fill a `buffer()` from its start, then `take` what is in it."""

    made_by_all = 0

    def __init__(self, digest: Any = None) -> None:
        """`digest`: an MD5 that is gone on with."""
        self.crc = 0
        self._md5 = md5() if digest is None else digest
        self._length = 0
        self._submit: Callable[..., Call] | None = None
        self._free = deque([memoryview(bytearray(PIECE))])
        self._made = 0  # long buffers
        self._taken: deque[Call] = deque()

    def buffer(self) -> memoryview:
        """Where the next piece is to be received."""
        free, taken = self._free, self._taken
        if not free:
            if taken and taken[0].done:
                free.append(taken.popleft().wait())
            elif self._made < FEW or self._made < RING and BodyDigest.made_by_all < ALL_RINGS:
                self._made += 1
                BodyDigest.made_by_all += 1
                free.append(memoryview(bytearray(LONG_PIECE)))
            else:
                # some at once, so that this core isn't woken for each of them
                for _ in range(self._made // 2):
                    free.append(taken.popleft().wait())
        return free[0]

    def release(self) -> None:
        """Let go of the buffers: no more pieces come."""
        self._taken.clear()
        self._free.clear()
        if self._made:
            BodyDigest.made_by_all -= self._made
            self._made = 0

    def __del__(self) -> None:
        self.release()

    def take(self, data: memoryview | bytes) -> None:
        """Digest a piece, the beginning of the last `buffer()` or bytes from elsewhere; it must stay as it is."""
        buffer = self._free.popleft()
        self._length += len(data)
        if self._submit is not None:
            try:
                self._taken.append(self._submit(self._digest, data, buffer))
                return
            except DeviceBusy:  # no thread can be had: it goes on here, after what came before
                while self._taken:
                    self._free.append(self._taken.popleft().wait())
        self._free.append(self._digest(data, buffer))
        if self._submit is None and self._length >= BEGINNING and len(data) == len(buffer):
            with contextlib.suppress(OSError):  # without descriptors it goes on here
                self._submit = lane()
                self._free.clear()

    def _digest(self, data: memoryview | bytes, buffer: memoryview) -> memoryview:
        self._md5.update(data)
        self.crc = crc32(data, self.crc)
        return buffer

    def wait(self) -> None:
        """Return when all that was taken is in the digests; then no more pieces may come."""
        while self._taken:
            self._taken.popleft().wait()
        self.release()

    def etag(self) -> str:
        """The MD5 in hex, after `wait`."""
        return self._md5.hexdigest()
