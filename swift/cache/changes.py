"""What the processes of this node have changed: a table in memory that they all share, so that none believes what another undid.

A process that keeps an answer notes the mark of its key before it asks, and drops the answer once the mark is another. Whoever
changes something marks its key anew, before the change and again once it is acknowledged by whoever stores it, before it tells
anybody. Keys share a few thousand marks: a change of one may cost another a question, never an answer.

All processes of one user and one cluster (that is: one pair of hash settings) use the same file in memory, across forks, reloads
and separate services. Never here: what is kept, and what is asked again.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import stat
from zlib import crc32

from swift.core import clock
from swift.core.errors import ConfigError
from swift.core.hashing import HashConfig, hash_config

DIRECTORY = "/dev/shm"
SLOTS = 8192
_MAGIC = b"swchg\0\0\1"
_ALL = (1 << 64) - 1
_NUMBER = (1 << 42) - 1
_HEADER = 16  # bytes: magic, and a number that is the table's own
_SIZE = _HEADER + SLOTS * 16  # of each slot the mark, and when it was set (nanoseconds of clock.monotonic)
LOOK_SECONDS = 1.0  # between two looks whether the file is still the one that others open


class ChangesUnknown(Exception):
    """Changes by other processes can't be seen, so nothing that they may change can be remembered."""


class Changes:
    """The table in the file `path`, made if it is not there. Raises ChangesUnknown."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._number = 0
        self._open()

    def _open(self) -> None:
        try:
            descriptor = _opened(self.path)
            try:
                _check(descriptor)
                found = os.fstat(descriptor)
                memory = mmap.mmap(descriptor, _SIZE)
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as error:
            raise ChangesUnknown(f"{self.path}: {error}") from None
        if memory[: len(_MAGIC)] != _MAGIC:
            raise ChangesUnknown(f"{self.path} is something else")
        self._file = found.st_dev, found.st_ino
        self._memory = memory
        self.identity = memory[len(_MAGIC) : _HEADER].hex()
        self._words = memoryview(memory).cast("Q")
        self._looked_at = clock.monotonic()

    def slot(self, key: str) -> int:
        """Where the mark of a key is."""
        return _HEADER // 8 + crc32(key.encode("utf-8", "surrogatepass")) % SLOTS * 2

    def mark(self, slot: int) -> int:
        """The mark that is there now: another one than before, if something was changed since."""
        return self._words[slot]

    def seconds_since(self, slot: int) -> float:
        """How long ago that was."""
        return clock.monotonic() - self._words[slot + 1] / 1e9

    def set(self, slot: int) -> None:
        """Something was, or is about to be, changed."""
        self.look()
        # No mark is ever set twice: two processes that count from the same number would hide each other's changes.
        self._number = max(self._number + 1, int(clock.monotonic() * 1e6))
        self._words[slot + 1] = int(clock.monotonic() * 1e9)
        self._words[slot] = os.getpid() << 42 & _ALL | self._number & _NUMBER

    def look(self) -> bool:
        """Now and then: False if the file was taken away, and others use another table from now on. Then this one does, too."""
        now = clock.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return True
        self._looked_at = now
        with contextlib.suppress(OSError):
            found = os.stat(self.path)
            if (found.st_dev, found.st_ino) == self._file:
                return True
        self._open()
        return False


def _opened(path: str) -> int:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        pass
    # Whole from the moment that it has its name, whoever else makes one at the same time.
    draft = f"{path}.{os.getpid()}.{clock.getrandbits(64):x}"
    descriptor = os.open(draft, flags | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, _MAGIC + os.urandom(_HEADER - len(_MAGIC)))
        os.posix_fallocate(
            descriptor, 0, _SIZE
        )  # a full memory file system shall fail here, not at an access
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
        os.close(descriptor)
    return os.open(path, flags)


def _check(descriptor: int) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ValueError("does not belong to this user alone")
    if found.st_size != _SIZE:
        raise ValueError("has another size")


def table_path() -> str:
    """The file of this user's processes of this cluster."""
    try:
        config = hash_config()
    except ConfigError:
        config = HashConfig()
    return os.path.join(DIRECTORY, table_name(os.geteuid(), config))


def table_name(user: int | str, config: HashConfig) -> str:
    """The name of a user's table of the cluster that has these hash settings."""
    cluster = hashlib.sha256(config.prefix + b"/" + config.suffix).hexdigest()[:16]
    return f"swift-changes-{user}-{cluster}"
