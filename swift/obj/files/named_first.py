"""File systems on which a file may get its name before it is synced, so that one sync brings both onto the disk.

XFS writes all changes of metadata into one log, in their order, and a record of the log gets onto the disk only behind a flush of the disk's
cache. So once a file's bytes have been written back, its name never comes onto the disk without them, its size and its attributes: a power cut
leaves the file whole or not at all, as where it was synced first. What is acknowledged is synced all the same, file, then directory; the
second finds nothing left to do. That saves a write of the log, and two flushes of the disk of the four that a small write took.

Everything here blocks. Never here: the steps of a write (`batch`, `writer`). Tried by power cuts of a real XFS: test/probe/test_power_cuts.py.
"""

from __future__ import annotations

import fcntl
import struct

from swift.obj.files.calls import can_write_back

# What a mounted XFS says of itself, since ever; other file systems don't know the question.
_XFS_GEOMETRY = 0x80705864
_ANSWER = bytes(112)
_realtime_blocks_and_log_start = struct.Struct("=40xQ8xQ").unpack_from


def may_be_named_first(fd: int) -> bool:
    """Returns True if the file system of `fd` keeps that order: an XFS with all its parts on one disk. Raises nothing."""
    if not can_write_back:
        return False
    try:
        told = fcntl.ioctl(fd, _XFS_GEOMETRY, _ANSWER)
    except OSError:
        return False
    # bytes or log on disks of their own, whose caches are not flushed together
    realtime_blocks, log_start = _realtime_blocks_and_log_start(told)
    return not realtime_blocks and log_start != 0
