"""Durable directories and whole files: what must be on disk when a function returns, is.

Everything blocks and knows nothing of green threads: run it on a device pool.
Never here: names, layouts or formats of any service's files.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from swift.engine.fault_points import fault_point
from swift.engine.mounts import is_memory_file_system
from swift.engine.new_file import write_all

_libc = ctypes.CDLL(None, use_errno=True)


def fsync_dir(path: str) -> None:
    """Make the entries of directory `path` durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


_AT_EMPTY_PATH = 0x1000
_MOUNT_AT = 8 + 128
_HANDLE_SIZE = _MOUNT_AT + 4
_EMPTY_HANDLE = (128).to_bytes(4, sys.byteorder) + bytes(_HANDLE_SIZE - 4)
_FS_IOC_GETVERSION = 0x80087601 if sys.maxsize > 2**32 else 0x80047601
_EIGHT_BYTES = bytes(8)
_name_to_handle_at: Any = getattr(_libc, "name_to_handle_at", None)
if _name_to_handle_at is not None:
    _name_to_handle_at.argtypes = [
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_void_p,
        ctypes.c_int,
    ]

# Directories whose entry, and those of all above them, this process has seen onto the disk: identity → nothing, oldest first. By what they
# are and not by their path: another process may remove one and make another in its place, which nobody has synced.
_KNOWN_DURABLE_MAX = 16384
DirectoryIdentity = tuple[int, int, bytes]
_known_durable: dict[DirectoryIdentity, None] = {}
# how it is told apart what has the same inode number: by device
_generation_by_device: dict[int, Callable[[int], bytes | None]] = {}
_VANISHED_TRIES = 16


def _identity(fd: int) -> DirectoryIdentity | None:
    """What an open directory is, never the same as one made later, whatever its path and inode number; None if that can't be told."""
    st = os.fstat(fd)
    generation_of = _generation_by_device.get(st.st_dev)
    if generation_of is None:
        generation_of = _generation_by_device[st.st_dev] = _how_to_tell(fd)
    generation = generation_of(fd)
    return None if generation is None else (st.st_dev, st.st_ino, generation)


def _how_to_tell(fd: int) -> Callable[[int], bytes | None]:
    """How inodes of the same number are told apart on the file system of `fd`."""
    try:
        _generation(fd)
        return _generation
    except OSError:
        pass
    if _handle(fd) is None:
        return _cannot_tell  # overlayfs: nothing is remembered, all is synced each time
    if is_memory_file_system(os.readlink(f"/proc/self/fd/{fd}")):
        return _needs_not_tell
    return _handle


def _generation(fd: int) -> bytes:
    return fcntl.ioctl(fd, _FS_IOC_GETVERSION, _EIGHT_BYTES)


def _handle(fd: int) -> bytes | None:
    if _name_to_handle_at is None:
        return None
    handle = ctypes.create_string_buffer(_EMPTY_HANDLE, _HANDLE_SIZE)
    # the number of the mount comes behind the handle
    if _name_to_handle_at(fd, b"", handle, ctypes.addressof(handle) + _MOUNT_AT, _AT_EMPTY_PATH):
        return None
    return handle.raw


def _needs_not_tell(fd: int) -> bytes:
    return b""  # what memory holds no sync makes durable


def _cannot_tell(fd: int) -> None:
    return None


def _remember_durable(identity: DirectoryIdentity | None) -> None:
    if identity is None:
        return
    _known_durable[identity] = None
    while len(_known_durable) > _KNOWN_DURABLE_MAX:
        with contextlib.suppress(KeyError, StopIteration, RuntimeError):
            del _known_durable[next(iter(_known_durable))]


def sync_entries(path: str, root: str, own_entries: bool = False, remember: bool = True) -> None:
    """Make durable the entry of directory `path` and of all directories between it and `root`; with `own_entries` also those in it.

    Also an entry that was found is synced, once: another writer may have created it a moment ago and not have come to its
    own sync yet, and what we acknowledge must not hang on that. A directory that can't be empty while we look (one that holds
    what we have linked) is the same before and after. `remember=False`: for directories that come and go. Raises OSError.
    """
    unknown: list[DirectoryIdentity | None] = []
    directory = path
    sync = own_entries
    while True:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # before the sync: what is synced afterwards is this one or one made since
            identity = _identity(fd) if directory != root else None
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        if directory == root or (identity is not None and identity in _known_durable):
            break
        unknown.append(identity)
        directory = directory[: directory.rindex("/")]
        sync = True
    for identity in unknown if remember else unknown[1:]:
        _remember_durable(identity)


def make_directories(path: str, root: str) -> None:
    """Create `path` and what is missing between it and `root`, which must exist. Syncs nothing. Raises OSError."""
    if not path.startswith(root + "/"):
        raise ValueError(f"{path} is not below {root}")
    for _ in range(_VANISHED_TRIES):
        try:
            os.mkdir(path)
            fault_point("mkdirs_durable:made")
            return
        except FileExistsError:
            return
        except FileNotFoundError:
            parent = path[: path.rindex("/")]
            if parent == root:
                raise
            make_directories(parent, root)
    raise OSError(errno.EAGAIN, "the directory above keeps vanishing", path)


def mkdirs_durable(path: str, root: str, remember: bool = True) -> None:
    """Create `path` and the missing directories between it and `root` (which must exist), and make their entries durable.

    `remember`: see `sync_entries`. Raises OSError; ENOENT when `root` itself is missing (an unmounted device is never filled by accident).
    """
    for attempt in range(_VANISHED_TRIES):
        make_directories(path, root)
        try:
            sync_entries(path, root, remember=remember)
            return
        except FileNotFoundError:  # removed as empty by somebody just now
            if attempt == _VANISHED_TRIES - 1 or not os.path.isdir(root):
                raise


def write_durable(path: str, data: bytes, tmp_dir: str | None = None, mode: int = 0o600) -> None:
    """Replace the file `path` atomically by `data`: temp file (in `tmp_dir`, else beside it), fsync, rename, directory sync.

    Both directories must exist and share a file system. The temp file is removed on error. Raises OSError.
    """
    directory = os.path.dirname(path)
    fd, tmp = tempfile.mkstemp(dir=tmp_dir or directory, suffix=".tmp")
    try:
        try:
            if mode != 0o600:
                os.fchmod(fd, mode)
            write_all(fd, data)
            fault_point("write_durable:written")
            os.fsync(fd)
        finally:
            os.close(fd)
        fault_point("write_durable:synced")
        os.rename(tmp, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(tmp)
        raise
    fault_point("write_durable:renamed")
    fsync_dir(directory)


def rename_durable(source: str, target: str) -> None:
    """Rename and make both directories' entries durable. Raises OSError."""
    os.rename(source, target)
    fsync_dir(os.path.dirname(target))
    if os.path.dirname(source) != os.path.dirname(target):
        fsync_dir(os.path.dirname(source))
