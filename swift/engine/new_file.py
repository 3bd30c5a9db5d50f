"""Files that are nowhere until they are whole and linked."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable


def write_all(fd: int, data: bytes | memoryview) -> None:
    """write(2) until everything is written. Raises OSError."""
    written = os.write(fd, data)
    if written < len(data):
        view = memoryview(data)
        while written < len(view):
            written += os.write(fd, view[written:])


def _is_gone(directory: str, dir_fd: int | None) -> bool:
    if dir_fd is not None:
        return os.fstat(dir_fd).st_nlink == 0
    return not os.path.isdir(directory)


no_tmpfile: set[str] = set()  # tmp directories of file systems of which that was found out


class NewFile:
    """A file that is nowhere until it is linked: `O_TMPFILE`, or a named file in `tmp_dir` where that isn't supported.

    `fd` is open for writing. Ends with `close()`, which removes what was not linked.
    """

    __slots__ = ("fd", "_tmp_path")

    def __init__(self, directory: str, tmp_dir: str, dir_fd: int | None = None):
        """Open in `directory` (or the open directory `dir_fd`); `tmp_dir` is created when the fallback needs it.

        Raises OSError; FileNotFoundError where the directory is gone, whatever the file system says to that (ext4: EPERM).
        """
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
                    if err.errno == errno.EPERM and _is_gone(directory, dir_fd):
                        raise FileNotFoundError(errno.ENOENT, str(err), directory) from None
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
