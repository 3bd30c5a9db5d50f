"""Room on a device: preallocation, the reserve that stays free, the page cache."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from typing import Any

from swift.core import clock

_libc = ctypes.CDLL(None, use_errno=True)
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
