"""Durable file primitives: what must be on disk when a function returns, is.

Lives here: directory syncs, durable directory creation, atomic file replacement, unnamed files that are linked when
complete, preallocation and the space reserve, extended attributes, advisory locks, the mount check and the fault
points of crash tests. Everything blocks and knows nothing of green threads: run it on a device pool.
Never here: names, layouts or formats of any service's files.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import xattr

from swift.core import clock, errors

_libc = ctypes.CDLL(None, use_errno=True)

# ---------------------------------------------------------------- fault points

_fault: tuple[str, int] | None = None


def _arm_fault(spec: str | None) -> None:
    """Arm the fault point `name[:count]`: the process dies (SIGKILL) when it passes `name` for the count-th time."""
    global _fault
    if not spec:
        _fault = None
        return
    name, _, count = spec.rpartition(":")
    # names may hold colons themselves: only a number at the end is a count
    _fault = (name, int(count)) if name and count.isdigit() else (spec, 1)


def fault_point(name: str) -> None:
    """Die here if SWIFT_FAULT_POINT names this point; costs one comparison otherwise."""
    global _fault
    if _fault is not None and _fault[0] == name:
        if _fault[1] <= 1:
            os.kill(os.getpid(), signal.SIGKILL)
        _fault = (name, _fault[1] - 1)


_arm_fault(os.environ.get("SWIFT_FAULT_POINT"))


# ---------------------------------------------------------------- directories


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
Identity = tuple[int, int, bytes]
_known_durable: dict[Identity, None] = {}
# how it is told apart what has the same inode number: by device
_generation_by_device: dict[int, Callable[[int], bytes | None]] = {}
_VANISHED_TRIES = 16


def _identity(fd: int) -> Identity | None:
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
    number = bytearray(8)
    fcntl.ioctl(fd, _FS_IOC_GETVERSION, number)
    return bytes(number)


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


def _remember_durable(identity: Identity | None) -> None:
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
    unknown: list[Identity | None] = []
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
        directory = os.path.dirname(directory)
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
            parent = os.path.dirname(path)
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


# ---------------------------------------------------------------- whole files


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


def write_all(fd: int, data: bytes | memoryview) -> None:
    """write(2) until everything is written. Raises OSError."""
    written = os.write(fd, data)
    if written < len(data):
        view = memoryview(data)
        while written < len(view):
            written += os.write(fd, view[written:])


no_tmpfile: set[str] = set()  # tmp directories of file systems of which that was found out


class NewFile:
    """A file that is nowhere until it is linked: `O_TMPFILE`, or a named file in `tmp_dir` where that isn't supported.

    `fd` is open for writing. Ends with `close()`, which removes what was not linked.
    """

    __slots__ = ("fd", "_tmp_path")

    def __init__(self, directory: str, tmp_dir: str, dir_fd: int | None = None):
        """Open in `directory` (or the open directory `dir_fd`); `tmp_dir` is created when the fallback needs it. Raises OSError."""
        self.fd = -1
        self._tmp_path: str | None = None
        if tmp_dir not in no_tmpfile:
            try:
                self.fd = os.open(
                    directory if dir_fd is None else ".", os.O_TMPFILE | os.O_WRONLY, 0o666, dir_fd=dir_fd
                )
                return
            except OSError as err:
                if err.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                    raise
                no_tmpfile.add(tmp_dir)
        with contextlib.suppress(FileExistsError):
            os.mkdir(tmp_dir)  # never the device above it
        self.fd, self._tmp_path = tempfile.mkstemp(dir=tmp_dir, suffix=".tmp")

    def link(self, directory: str, name: str, dir_fd: int | None = None) -> None:
        """Give the file its name. Raises FileExistsError when the name is taken, other OSErrors as they come.

        The caller syncs the file before and the directory after.
        """
        if self._tmp_path is None:
            if dir_fd is None:
                own = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.link(f"/proc/self/fd/{self.fd}", name, dst_dir_fd=own, follow_symlinks=True)
                finally:
                    os.close(own)
            else:
                os.link(f"/proc/self/fd/{self.fd}", name, dst_dir_fd=dir_fd, follow_symlinks=True)
            return
        # link, not rename: rename would replace another writer's file of the same name unseen
        os.link(self._tmp_path, os.path.join(directory, name))
        os.unlink(self._tmp_path)
        self._tmp_path = None

    def close(self, close_fd: Callable[[int], None] = os.close) -> None:
        """Close the descriptor (by `close_fd`); a file never linked is gone afterwards. Safe to call twice."""
        if self.fd >= 0:
            close_fd(self.fd)
            self.fd = -1
        if self._tmp_path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._tmp_path)
            self._tmp_path = None


# ---------------------------------------------------------------- space

_FALLOC_FL_KEEP_SIZE = 1
_fallocate: Any = getattr(_libc, "fallocate64", None) or getattr(_libc, "fallocate", None)
if _fallocate is not None:
    _fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def fallocate(fd: int, size: int) -> None:
    """Reserve `size` bytes of disk for `fd` without changing its length. Raises OSError (ENOSPC, EDQUOT, EIO).

    A file system that can't (ENOSYS, EOPNOTSUPP, EINVAL) is no error: the space check is then all there is.
    """
    if size <= 0 or _fallocate is None:
        return
    while _fallocate(fd, _FALLOC_FL_KEEP_SIZE, 0, size) != 0:
        code = ctypes.get_errno()
        if code == errno.EINTR:
            continue
        if code in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
            return
        raise OSError(code, os.strerror(code))


class Reserve:
    """The free space that must remain on a device: bytes, or percent of its size (`fallocate_reserve`, operations 9.1)."""

    __slots__ = ("percent", "value")

    def __init__(self, text: str | int | float = 0):
        """`text`: `1048576` or `1%`. Raises ValueError."""
        text = str(text).strip()
        self.percent = text.endswith("%")
        self.value = float(text[:-1]) if self.percent else float(int(text))
        if self.value < 0 or (self.percent and self.value > 100) or self.value != self.value:
            raise ValueError(f"invalid reserve {text!r}")

    def __bool__(self) -> bool:
        return self.value > 0

    def check(self, fd_or_path: int | str, size: int = 0, key: str | None = None) -> None:
        """Raise OSError(ENOSPC) if writing `size` more bytes would leave no more than the reserve.

        `key`: names the device, so that an answer with much room to spare is believed for a moment.
        """
        if not self.value:
            return
        if key is not None:
            known = _roomy.get(key)
            if known is not None and known[0] > clock.monotonic() and known[1] > size:
                return
        st = os.statvfs(fd_or_path)
        total = st.f_frsize * st.f_blocks
        kept = self.value * total / 100.0 if self.percent else self.value
        free = st.f_frsize * st.f_bavail - size
        if free < kept or (size > 0 and free <= kept):
            raise OSError(errno.ENOSPC, f"{free} bytes would be left free, {kept:.0f} are reserved")
        if key is not None:
            if len(_roomy) > _ROOMY_DEVICES:
                _roomy.clear()
            _roomy[key] = (clock.monotonic() + ROOMY_SECONDS, (free - kept) / 1000)


# device → (until when, up to which size) a write needs no look at the free space: a thousandth of the room per write is
# more than any disk takes in that time
ROOMY_SECONDS = 0.5
_ROOMY_DEVICES = 4096
_roomy: dict[str, tuple[float, float]] = {}


def drop_cache(fd: int, offset: int, length: int) -> None:
    """Tell the kernel that these bytes won't be read again soon; an unwilling file system is no error."""
    with contextlib.suppress(OSError):
        os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)


# ---------------------------------------------------------------- extended attributes

# os.getxattr answers in one system call where the xattr package asks for the size first: these two are for hot paths
get_xattr = os.getxattr
set_xattr = os.setxattr


def list_xattrs(target: int | str) -> list[str]:
    """Names of the extended attributes of a path or descriptor. Raises OSError."""
    return [str(name) for name in xattr.listxattr(target)]


def remove_xattr(target: int | str, name: str) -> None:
    """Remove one extended attribute; a missing one is no error. Raises OSError."""
    try:
        xattr.removexattr(target, name)
    except OSError as err:
        if err.errno != errno.ENODATA:
            raise


def user_xattr_limit(directory: str, wanted: int = 65536) -> int:
    """How many bytes one user xattr of a file in `directory` may have, up to `wanted`; 0 where they aren't supported.

    Raises OSError when no file can be made there.
    """
    fd, path = tempfile.mkstemp(dir=directory, suffix=".tmp")
    try:
        attributes = xattr.xattr(fd)
        size = wanted
        while size:
            try:
                attributes.set("user.swift.probe", b"x" * size)
                return size
            except OSError as err:
                if err.errno in (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.EACCES):
                    return 0
                size //= 2
        return 0
    finally:
        os.close(fd)
        os.unlink(path)


# ---------------------------------------------------------------- locks


class LockTimeout(errors.LockTimeout):
    """A lock was not to be had in time."""

    def __init__(self, seconds: float, path: str):
        super().__init__(f"no lock on {path} within {seconds:g} s")
        self.seconds = seconds
        self.path = path


def acquire_lock(
    directory: str,
    timeout: float,
    limit: int = 1,
    name: str | None = None,
    rest: Callable[[float], object] | None = None,
) -> int:
    """Take the flock `.lock` (or `.lock-<name>`, and `…-1`, `…-2` up to `limit` holders) in `directory` (object-disk 12).

    `rest`: what to sleep with, where the holder may be another green thread of ours; by default the thread sleeps. Returns
    the descriptor that holds the lock: closing that gives it back. Raises LockTimeout, OSError (ENOENT when the directory
    is missing).
    """
    base = f"{directory}/.lock" if name is None else f"{directory}/.lock-{name}"
    deadline = 0.0
    pause = 0.0005
    while True:
        for slot in range(limit):
            fd = os.open(f"{base}-{slot}" if slot else base, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_nlink:
                    return fd
                # whoever had it removed it together with its directory: another one may stand in its place, or will
                os.close(fd)
            except OSError as err:
                os.close(fd)
                if err.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
            except BaseException:
                os.close(fd)
                raise
        now = clock.monotonic()
        if not deadline:
            deadline = now + timeout
        if now >= deadline:
            raise LockTimeout(timeout, base)
        if rest is not None:
            rest(min(pause, deadline - now))
        else:
            # not time.sleep: green threads may have replaced that one, and this runs in threads without any
            _libc.usleep(int(min(pause, max(deadline - now, 0)) * 1e6) + 1)
        pause = min(pause * 2, max(0.01, timeout / 100))


@contextlib.contextmanager
def locked(directory: str, timeout: float, limit: int = 1, name: str | None = None) -> Iterator[int]:
    """`acquire_lock` as a context; creates `directory` if missing."""
    try:
        fd = acquire_lock(directory, timeout, limit, name)
    except FileNotFoundError:
        os.makedirs(directory, exist_ok=True)
        fd = acquire_lock(directory, timeout, limit, name)
    try:
        yield fd
    finally:
        os.close(fd)


# ---------------------------------------------------------------- mounts


def is_mount(path: str) -> bool:
    """Returns True if something is mounted at `path`, or a `.ismount` file inside says so (object-disk 1). Never raises."""
    try:
        if os.path.lexists(os.path.join(path, ".ismount")):
            return True
        st = os.lstat(path)
        if (st.st_mode & 0o170000) == 0o120000:
            return False
        parent = os.lstat(os.path.join(path, ".."))
    except OSError:
        return False
    return st.st_dev != parent.st_dev or st.st_ino == parent.st_ino


def is_memory_file_system(path: str) -> bool:
    """True when path lies on tmpfs or ramfs, where a sync is free and nothing waits for a disk."""
    return file_system_of(path) in ("tmpfs", "ramfs")


def file_system_of(path: str) -> str:
    """The kind of file system that path lies on, by the kernel's name (`xfs`); "" when that can't be told.

    Asks the table of mounts, not the file system of `path`, which may hang.
    """
    try:
        parent, name = os.path.split(os.path.abspath(path))
        path = os.path.join(os.path.realpath(parent), name)
        with contextlib.suppress(OSError):
            os.readlink(path)  # of what is mounted here, the file system is not asked
            path = os.path.realpath(path)
        with open("/proc/self/mountinfo") as mounts:
            best, kind = "", ""
            for line in mounts:
                fields = line.split()
                point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
                if len(point) >= len(best) and (path == point or path.startswith(point.rstrip("/") + "/")):
                    best, kind = point, fields[fields.index("-") + 1]
        return kind
    except (OSError, ValueError, IndexError):
        return ""


if sys.platform != "linux":  # pragma: no cover
    raise ImportError("swift.core.fs needs Linux (O_TMPFILE, fallocate, user xattrs)")
