"""Objects that the kernel has in memory are opened and read right in the event loop: a trip to a thread costs more than the rest.

Remembered of an object: the sign of its hash directory with the one name in it, and the sign of that file with its metadata (see
`witness`). Directory and file are opened anew each time, by calls that fail rather than wait for a disk, and must have these very
signs. Whatever is cold, young, odd, damaged or changed takes the trip as ever; only the trip decides, and only it quarantines.

Everything here runs in the event loop. What never lives here: deciding between files, moving damaged ones away.
"""

from __future__ import annotations

import errno
import os
import re
from collections import OrderedDict
from typing import Any

from swift.core import clock
from swift.core.checksum import crc32
from swift.engine.mounts import file_system_of
from swift.engine.openat2 import AT_FDCWD, CLOSED, open_cached
from swift.obj.blocks import BLOCK_CRC32, parse_block_crcs
from swift.obj.checks import is_good
from swift.obj.device import Device
from swift.obj.files.layout import ObjectLocation
from swift.obj.files.reader import INLINE_LIMIT
from swift.obj.files.witness import Sign
from swift.obj.store import BODY, HEAD, OpenObject

DEFAULT_BYTES = 32 << 20
# Times of change are this kernel's own there, and the calls were tried.
FILE_SYSTEMS = frozenset(("xfs", "ext4", "ext3", "ext2"))
# A trip costs nothing there, but what is remembered need not be read and checked anew. Reading needs no leave: it is all in memory.
MEMORY_FILE_SYSTEM = "tmpfs"
_MEMORY_SINCE = (6, 6)  # before, an attribute of a file on tmpfs could change without its time of change

_DIRECTORY = os.O_PATH | os.O_DIRECTORY
# an access time to be written would wait for the journal
_FILE = os.O_RDONLY | os.O_NOATIME
_FIXED_BYTES = 2500
_BYTES_A_VALUE = 60


class _Known:
    """What is remembered of one object. `bytes`: about what it takes in memory."""

    __slots__ = (
        "bytes",
        "crc",
        "delete_at",
        "dir_sign",
        "directory",
        "file",
        "file_sign",
        "found",
        "metadata",
        "size",
    )

    def __init__(self, where: ObjectLocation, found: OpenObject, dir_sign: Sign, file_sign: Sign) -> None:
        self.directory = os.fsencode(where.hash_dir)
        self.file = os.fsencode(found.version)
        self.dir_sign, self.file_sign = dir_sign, file_sign
        self.metadata = found.metadata
        self.size = found.size
        delete_at = found.metadata.get("X-Delete-At")
        self.delete_at = None if delete_at is None else int(delete_at)
        self.crc = _only_crc(found.metadata, found.size)
        self.found = OpenObject(-1, found.version)
        _copy(found, self.found)
        self.found.shown = []
        self.bytes = _FIXED_BYTES + sum(len(value) + _BYTES_A_VALUE for value in found.metadata.values())

    def is_expired(self, now: float | None) -> bool:
        """True as of `now` (seconds; None: the clock)."""
        return self.delete_at is not None and self.delete_at <= (clock.time() if now is None else now)


def _copy(source: OpenObject, target: OpenObject) -> None:
    """All but the extent."""
    target.metadata = target.data_metadata = source.metadata
    target.timestamp, target.data_timestamp = source.timestamp, source.data_timestamp
    target.ctype_timestamp, target.durable_timestamp = source.ctype_timestamp, source.durable_timestamp
    target.fragments = source.fragments
    target.size = source.size
    target.shown = source.shown


def _only_crc(metadata: dict[str, str], size: int) -> int | None:
    """The checksum of a body of one block; None for any other body."""
    stored = metadata.get(BLOCK_CRC32)
    blocks = parse_block_crcs(stored, metadata.get("ETag", ""), size) if stored is not None else None
    return blocks[1][0] if blocks is not None and len(blocks[1]) == 1 else None


def _release() -> tuple[int, ...]:
    """The first two numbers of the kernel's version."""
    return tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])


class WarmObjects:
    """What one process remembers, `limit` bytes of it; 0 remembers nothing."""

    def __init__(self, limit: int = DEFAULT_BYTES) -> None:
        self.limit = limit
        self.bytes = 0
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._ways: dict[
            str, int | None
        ] = {}  # device path → how files are read there; None: this road is closed
        self._buffer = memoryview(bytearray(INLINE_LIMIT))

    def is_open(self, device: Device) -> bool:
        """True if objects of this device are worth remembering."""
        try:
            return self._ways[device.path] is not None
        except KeyError:
            way = self._ways[device.path] = self._way_to(device) if self.limit > 0 else None
            return way is not None

    @staticmethod
    def _way_to(device: Device) -> int | None:
        """The flags to read with; None where this road is closed."""
        kind = file_system_of(device.path)
        if device.inline:
            return 0 if kind == MEMORY_FILE_SYSTEM and _release() >= _MEMORY_SINCE else None
        return os.RWF_NOWAIT if kind in FILE_SYSTEMS else None

    def open(
        self, device: Device, where: ObjectLocation, want: int, now: float | None, open_expired: bool
    ) -> OpenObject | None:
        """The object as `reader.open_object` would give it, or None if only a trip can tell. Never waits for a disk."""
        known = self._known.get(where.hash_dir)
        if known is None or known.metadata["name"] != where.name:
            return None
        if known.delete_at is not None and not open_expired and known.is_expired(now):
            return None
        directory = fd = -1
        is_nameless = False
        try:
            directory = open_cached(AT_FDCWD, known.directory, _DIRECTORY)
            st = os.fstat(directory)
            if (st.st_ino, st.st_ctime_ns) != known.dir_sign:
                return self._forget(where.hash_dir)
            fd = open_cached(directory, known.file, _FILE)
            st = os.fstat(fd)
            is_nameless = not st.st_nlink
            if (st.st_ino, st.st_ctime_ns) != known.file_sign or st.st_size != known.size:
                return self._forget(where.hash_dir)
            body = None
            if want == BODY and known.size <= INLINE_LIMIT:
                body = self._read(fd, known.size, self._ways[device.path])
                if body is None:
                    return None
                if known.crc is not None and where.etag_validate_pct >= 100:
                    if crc32(body) != known.crc:
                        return None
                elif not is_good(body, known.metadata, where.etag_validate_pct):
                    return None
            found = OpenObject(-1, known.found.version)
            _copy(known.found, found)
            found.body = body
            if body is None and want != HEAD:
                found.identity = st.st_dev, st.st_ino, st.st_ctime_ns, st.st_size
                found.fd, fd = fd, -1
            self._known.move_to_end(where.hash_dir)
            return found
        except OSError as error:
            self._failed(error, device, where.hash_dir, directory >= 0)
            return None
        finally:
            if directory >= 0:
                os.close(directory)
            if fd >= 0:
                if is_nameless:
                    device.leave(os.close, fd)  # it is the last that holds the file, whose blocks go with it
                else:
                    os.close(fd)

    def _read(self, fd: int, size: int, flags: int | None) -> bytes | None:
        view = self._buffer[:size]
        if size and os.preadv(fd, (view,), 0, flags or 0) != size:
            return None
        return bytes(view)

    def _failed(self, error: OSError, device: Device, hash_dir: str, is_file: bool) -> None:
        if error.errno == errno.EAGAIN:
            return
        self._forget(hash_dir)
        # EPERM for a file means only that its owner is somebody else
        if error.errno in CLOSED and not (is_file and error.errno == errno.EPERM):
            self._ways[device.path] = None

    def remember(
        self, device: Device, where: ObjectLocation, found: OpenObject, signs: list[Sign | None]
    ) -> None:
        """Keep what a trip has found, if its signs say that it may be believed later."""
        if len(signs) != 2 or signs[0] is None or signs[1] is None or not self.is_open(device):
            return
        if found.tail:
            return
        known = _Known(where, found, signs[0], signs[1])
        self._forget(where.hash_dir)
        self._known[where.hash_dir] = known
        self.bytes += known.bytes
        while self.bytes > self.limit:
            self.bytes -= self._known.popitem(last=False)[1].bytes

    def _forget(self, hash_dir: str) -> Any:
        known = self._known.pop(hash_dir, None)
        if known is not None:
            self.bytes -= known.bytes
