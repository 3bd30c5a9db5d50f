"""Who of those that write under a condition is the one that may, while it is being found out if enough other nodes let it (doc/durability.md).

A reservation of an object on a device is a lock on one byte of a file in memory that all processes of a node share: it is gone with whoever
had it. Beside it that file remembers for what time an object was reserved last, for as long as the place is not needed for another: what came to
nothing here may have been written elsewhere, and what is written later must be newer. Never here: conditions, and what is on disks.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from hashlib import blake2b

from swift.core import clock
from swift.core.concurrency import sleep
from swift.obj.errors import Refused, Unreservable
from swift.obj.in_hand import notes_directory
from swift.obj.store import ObjectStore, Place

PATIENCE = 2.0  # seconds in which who has it mostly comes to an end
_SHORTEST, _LONGEST = 0.002, 0.05  # seconds between two looks
_PLACES = 65536
_PROMISE = struct.Struct("<Q40s")  # whose, time in internal form
_LOCK = struct.Struct("hhqqi4x")  # struct flock


@contextlib.contextmanager
def _no_disk() -> Iterator[None]:
    """Memory that is full, missing or somebody else's is no fault of the disks, which serve all other requests."""
    try:
        yield
    except OSError as error:
        raise Unreservable(str(error)) from None


class Reservation:
    """One that is held. `close` gives it back; so does being forgotten."""

    __slots__ = ("_fd", "_key")

    def __init__(self, fd: int, key: int) -> None:
        self._fd = fd
        self._key = key

    def check(self, timestamp: str) -> None:
        """Raises Refused (409) if it was held for something as new as `timestamp`, internal form; Unreservable."""
        with _no_disk():
            known = os.pread(self._fd, _PROMISE.size, self._place)
        if len(known) == _PROMISE.size:
            whose, when = _PROMISE.unpack(known)
            text = when.rstrip(b"\0").decode("ascii", "replace")
            if whose == self._key and text >= timestamp:
                raise Refused(409, text, "Something as new was to be written")

    def promise(self, timestamp: str) -> None:
        """What is written later is newer than this: it may be stored on other nodes now. Raises Unreservable."""
        with _no_disk():
            os.pwrite(self._fd, _PROMISE.pack(self._key, timestamp.encode()), self._place)

    @property
    def _place(self) -> int:
        return self._key % _PLACES * _PROMISE.size

    def close(self) -> None:
        """Safe to call twice."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __del__(self) -> None:
        self.close()


def _path_of(root: str) -> str:
    return notes_directory(root).replace("swift-writes", "swift-reservations")


def take_away(root: str) -> None:
    """Remove the file of devices that nobody serves any more. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path_of(root))


class Reservations:
    """Those of the devices below `root`."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._path = ""  # known once somebody takes one: who made this may have been root, and is to become somebody else

    def take(
        self, store: ObjectStore, place: Place, timestamp: str, patience: float | None = None
    ) -> Reservation:
        """Wait for the reservation of an object. `timestamp`: of what is to be written, internal form; `patience`: seconds.

        Raises Refused (409) if somebody else keeps it too long, or has had it for something as new; Unreservable.
        """
        text = f"{store.device.name} {store.policy.idx} {place.name_hash}"
        key = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 2
        with _no_disk():
            held = Reservation(self._open(), key)
        try:
            with _no_disk():
                self._lock(held._fd, key, PATIENCE if patience is None else patience)
            held.check(timestamp)
        except BaseException:
            held.close()
            raise
        return held

    def _open(self) -> int:
        if not self._path:
            self._path = _path_of(self._root)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            os.close(fd)
            raise PermissionError(errno.EPERM, "not ours alone", self._path)
        return fd

    def _lock(self, fd: int, key: int, patience: float) -> None:
        wanted = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, key, 1, 0)
        until = clock.monotonic() + patience
        pause = _SHORTEST
        while True:
            try:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wanted)
                return
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
            if clock.monotonic() >= until:
                raise Refused(409, text="Somebody else is writing it")
            sleep(pause)
            pause = min(pause * 2, _LONGEST)
