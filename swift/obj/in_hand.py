"""The writes that an object server has in hand: noted before an object reaches the disk, until its listings are told or that is kept.

The notes are in memory that outlives the process (a file on tmpfs, locked for as long as its process lives), so that the object-updater finds
what a killed one never reported. Noting is a store to memory: no system call, no disk. Never here: reporting.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import stat
import weakref
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from swift.core import clock
from swift.obj.store import ObjectStore, Place

SHARED_MEMORY = "/dev/shm"
RECORD = 128  # bytes
RECORDS = 4096  # a write beyond so many is not noted
MAX_FILES = 10_000
MAX_CLEANED = 100


class Noted(NamedTuple):
    """A write that a process had in hand when it ended."""

    device: str
    policy_index: int
    partition: str
    name_hash: str


def notes_directory(devices_root: str) -> str:
    """Where the notes of the servers of these devices are; the same for all that run as this user."""
    digest = hashlib.sha256(os.path.realpath(devices_root).encode("utf-8", "surrogateescape")).hexdigest()[
        :16
    ]
    return f"{SHARED_MEMORY}/swift-writes-{os.geteuid()}-{digest}"


_all: weakref.WeakSet[WritesInHand] = weakref.WeakSet()


def _forget() -> None:
    for notes in list(_all):
        notes.forget()


os.register_at_fork(after_in_child=_forget)


class WritesInHand:
    """The notes of this process. Its file is made with the first one, so in the worker that writes it."""

    def __init__(self, devices_root: str, logger: Any) -> None:
        self._root = devices_root
        self._logger = logger
        self._started = False
        self._fd = -1
        self._memory: mmap.mmap | None = None
        self._free: list[int] = []
        self._doubtful: deque[int] = deque()
        self._path = ""
        _all.add(self)

    def __del__(self) -> None:
        if self._fd < 0:
            return
        if len(self._free) == RECORDS:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
                os.rmdir(os.path.dirname(self._path))
        self.forget()

    def forget(self) -> None:
        """In a forked child: the notes are the parent's, and so is the lock."""
        fd, self._started, self._fd, self._memory, self._free = self._fd, False, -1, None, []
        self._doubtful.clear()
        if fd >= 0:
            os.close(fd)

    def begin(self, store: ObjectStore, place: Place) -> int:
        """Note a write; returns what `end` is to be told. Raises nothing."""
        if not self._started:
            self._start()
        memory = self._memory
        if memory is None or not (self._free or self._doubtful):
            return -1
        text = f"{store.device.name} {store.policy.idx} {place.partition} {place.name_hash}\n".encode()
        if len(text) >= RECORD:
            return -1
        number = self._free.pop() if self._free else self._doubtful.popleft()
        first = number * RECORD
        memory[first + 1 : first + 1 + len(text)] = text
        memory[first] = 1  # last, so that half a note is none
        return number

    def end(self, number: int) -> None:
        """The listings know, or what they are to be told is on disk, or nothing was written."""
        if number >= 0 and self._memory is not None:
            self._memory[number * RECORD] = 0
            self._free.append(number)

    def doubt(self, number: int) -> None:
        """Nobody knows what became of the write: it stays noted, so that it is looked at when this process has ended."""
        if number >= 0 and self._memory is not None:
            self._doubtful.append(number)

    def _start(self) -> None:
        self._started = True
        try:
            try:
                self._open()
            except FileNotFoundError:  # the last of others that left removed the directory just now
                self._open()
        except (OSError, ValueError) as err:
            self._logger.warning(
                "Writes can't be noted, what a killed server had in hand won't be reported: %s", err
            )

    def _open(self) -> None:
        directory = notes_directory(self._root)
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        _check_ours(directory)
        _clean_up(self._root)
        path = f"{directory}/{os.getpid()}-{clock.random_bytes(8).hex()}"
        # under a hidden name until it is locked: one that nobody holds is taken for that of a dead process
        hidden = f"{directory}/.{os.path.basename(path)}"
        fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(fd, 0, RECORDS * RECORD)  # or a store where there is no room would be our end
            memory = mmap.mmap(fd, RECORDS * RECORD)
            os.rename(hidden, path)
        except BaseException:
            os.close(fd)
            os.unlink(hidden)
            raise
        self._fd, self._path, self._memory = fd, path, memory
        self._free = list(range(RECORDS - 1, -1, -1))


def _check_ours(directory: str) -> None:
    """Anybody may make directories there. Raises OSError unless it is ours alone."""
    st = os.lstat(directory)
    if not stat.S_ISDIR(st.st_mode) or st.st_uid != os.geteuid() or st.st_mode & 0o022:
        raise PermissionError(f"{directory} is not ours alone")


def _clean_up(devices_root: str) -> None:
    """Where no object-updater runs, the notes of those that had nothing in hand would become ever more."""
    for notes in islice(abandoned(devices_root), MAX_CLEANED):
        if not notes.writes:
            notes.remove()


def take_away(devices_root: str, unreported: bool = False) -> None:
    """Remove what ended processes have left in memory; what they had in hand stays for the object-updater, unless `unreported`.

    Raises OSError.
    """
    for notes in abandoned(devices_root):
        if unreported or not notes.writes:
            notes.remove()
    with contextlib.suppress(OSError):  # there is none, or something is left in it
        os.rmdir(notes_directory(devices_root))


class Abandoned:
    """The notes of a process that is no more. `remove` them when all is reported; `close` it in any case."""

    def __init__(self, path: str, fd: int) -> None:
        self._path = path
        self._fd = fd
        self.writes = list(_parse(os.pread(fd, RECORDS * RECORD, 0)))

    def remove(self) -> None:
        """Nothing is left to be done."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def close(self) -> None:
        """Leave them to whoever comes next."""
        os.close(self._fd)


def abandoned(devices_root: str) -> Iterator[Abandoned]:
    """The notes of all processes that have ended, however they did. Raises OSError."""
    directory = notes_directory(devices_root)
    try:
        _check_ours(directory)
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    for name in sorted(names)[:MAX_FILES]:
        if name.startswith("."):
            continue
        path = f"{directory}/{name}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # its process lives
            os.close(fd)
            continue
        found = Abandoned(path, fd)
        try:
            yield found
        finally:
            found.close()


def _parse(data: bytes) -> Iterator[Noted]:
    for first in range(0, len(data) - RECORD + 1, RECORD):
        if data[first] != 1:
            continue
        words = data[first + 1 : first + RECORD].partition(b"\n")[0].decode("utf-8", "replace").split(" ")
        if len(words) == 4 and words[1].isdecimal():
            yield Noted(words[0], int(words[1]), words[2], words[3])
