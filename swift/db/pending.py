"""The pending file: updates that servers append and that are merged into the database later (database.md 5).

Lives here: the record format, appending, reading and emptying under the directory lock, and the optional group
commit. What the records mean, and merging them, is the brokers' business.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import struct
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator
from typing import Any

from swift.core.concurrency import getcurrent, sleep
from swift.core.errors import LockTimeout
from swift.core.unpickle import UnpickleError
from swift.core.unpickle import loads as unpickle
from swift.engine.durable import fsync_dir
from swift.engine.fault_points import fault_point
from swift.engine.locks import acquire_lock
from swift.engine.new_file import write_all

from .errors import DatabaseBusy, DatabaseMissing

MERGE_ABOVE = 131_072  # bytes; a longer file is merged by whoever appends to it
READ_AT_MOST = 4 * 1024 * 1024  # bytes in memory at a time

Record = tuple[Any, ...]


# ---------------------------------------------------------------- format


def encode(record: Record) -> bytes:
    """One record as it stands in the file: `:` and base64 of a protocol 2 pickle."""
    return b":" + b2a_base64(pickle.dumps(record, 2), newline=False)


_u32 = struct.Struct("<I").unpack_from
_i32 = struct.Struct("<i").unpack_from
_u16 = struct.Struct("<H").unpack_from


def _decode_common(data: bytes) -> Record | None:
    """The tuple of a pickle in the form that every writer's pickler gives it: strings, small numbers and None.

    None for any other pickle, which is then left to the complete decoder.
    """
    if data[:3] != b"\x80\x02(":
        return None
    items: list[Any] = []
    at = 3
    while True:
        op = data[at]
        if op == 0x58:  # BINUNICODE, memoized
            end = at + 5 + _u32(data, at + 1)[0]
            if data[end] != 0x71:
                return None
            items.append(data[at + 5 : end].decode())
            at = end + 2
        elif op == 0x4B:  # BININT1
            items.append(data[at + 1])
            at += 2
        elif op == 0x4E:  # NONE
            items.append(None)
            at += 1
        elif op == 0x4D:  # BININT2
            items.append(_u16(data, at + 1)[0])
            at += 3
        elif op == 0x4A:  # BININT
            items.append(_i32(data, at + 1)[0])
            at += 5
        elif op == 0x8A:  # LONG1
            end = at + 2 + data[at + 1]
            items.append(int.from_bytes(data[at + 2 : end], "little", signed=True))
            at = end
        elif op == 0x74:  # TUPLE, memoized, STOP
            if data[at + 1] == 0x71 and data[at + 3] == 0x2E and len(data) == at + 4:
                return tuple(items)
            return None
        else:
            return None


def decode(entry: bytes) -> Record:
    """The tuple of one entry (without its `:`). Raises ValueError."""
    try:
        data = a2b_base64(entry)
        record = _decode_common(data)
    except (Base64Error, IndexError, struct.error, UnicodeDecodeError):
        record = None
    if record is None:
        try:
            record = unpickle(a2b_base64(entry))
        except (Base64Error, UnpickleError) as err:
            raise ValueError(str(err)) from None
        if type(record) is not tuple:
            raise ValueError(f"a {type(record).__name__} in a pending file")
    return record


def split(data: bytes) -> list[bytes]:
    """The entries of a file's content."""
    return [entry for entry in data.split(b":") if entry]


# ---------------------------------------------------------------- file


_held: set[tuple[str, Any]] = set()  # (directory, who holds its lock)


class DirectoryLock:
    """The lock of a database directory, held between `with` and its end; a holder may take it again.

    Guards the pending file, creation and all that moves the database. Raises DatabaseMissing (no such directory), DatabaseBusy.
    """

    __slots__ = ("_fd", "_holding", "directory", "timeout")

    def __init__(self, directory: str, timeout: float) -> None:
        self.directory = directory
        self.timeout = timeout
        self._fd = -1
        self._holding = (directory, getcurrent())

    def __enter__(self) -> DirectoryLock:
        if self._holding in _held:
            return self
        path = self.directory + "/.lock"
        while True:
            try:
                fd = acquire_lock(self.directory, self.timeout, rest=sleep)
            except LockTimeout as err:
                raise DatabaseBusy(str(err)) from err
            except (FileNotFoundError, NotADirectoryError) as err:
                raise DatabaseMissing(self.directory) from err
            try:
                mine, there = os.fstat(fd), os.stat(path)
            except FileNotFoundError:
                os.close(fd)
                continue
            except BaseException:
                os.close(fd)
                raise
            # while we waited the directory may have been removed and made anew: the lock of the old one guards nothing
            if mine.st_ino == there.st_ino and mine.st_dev == there.st_dev:
                self._fd = fd
                _held.add(self._holding)
                return self
            os.close(fd)

    def __exit__(self, *exc: object) -> None:
        if self._fd >= 0:
            _held.discard(self._holding)
            os.close(self._fd)
            self._fd = -1


def append(path: str, data: bytes) -> int:
    """Append encoded records, whole or not at all; the caller holds the directory lock. Returns the new size.

    What is appended survives the death of this process; swift.db.appends can make it survive the machine's. Raises OSError.
    """
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        append_to(fd, data)
        return os.lseek(fd, 0, os.SEEK_CUR)
    finally:
        os.close(fd)


def append_to(fd: int, data: bytes) -> None:
    """As `append`, to a file that is open for appending."""
    written = os.write(fd, data)
    if written < len(data):
        os.ftruncate(fd, os.lseek(fd, 0, os.SEEK_END) - written)
        raise OSError(errno.ENOSPC, "no space for a pending record")
    fault_point("db:pending:appended")


def read(path: str, offset: int = 0, limit: int = READ_AT_MOST) -> bytes:
    """Up to `limit` bytes of the file from `offset`, b'' if there is none. Raises OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(fd, min(max(os.fstat(fd).st_size - offset, 0), limit), offset)
    finally:
        os.close(fd)


def read_all(path: str) -> Iterator[bytes]:
    """The file's content in pieces. Raises OSError."""
    offset = 0
    while True:
        data = read(path, offset)
        if not data:
            return
        yield data
        offset += len(data)


def entries(path: str, offset: int = 0) -> Iterator[bytes]:
    """The entries from `offset` on in order, however many; for a caller who holds the directory lock. Raises OSError."""
    rest = b""
    while True:
        data = read(path, offset)
        if not data:
            break
        offset += len(data)
        complete, _, rest = (rest + data).rpartition(b":")
        yield from split(complete)
        if len(rest) > READ_AT_MOST:
            rest = b""  # no record is that long: garbage
    if rest:
        yield rest


def empty(path: str) -> None:
    """Cut the file to nothing, once all it held is committed; the caller holds the directory lock. Raises OSError."""
    os.truncate(path, 0)
    fault_point("db:pending:emptied")


def replace(path: str, data: bytes, sync: bool = False) -> None:
    """Put `data` (whole records) in the place of the file's content, at once; the caller holds the directory lock. Raises OSError.

    `sync`: the records survive power loss, as they did before.
    """
    if not data:
        empty(path)
        return
    # one name for all: what a crash leaves is written over by the next, as nobody else may write while we hold the lock
    tmp = path + ".tmp"
    fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            write_all(fd, data)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        fault_point("db:pending:rewritten")
        os.rename(tmp, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(tmp)
        raise
    fault_point("db:pending:replaced")
    if sync:
        fsync_dir(os.path.dirname(path))
