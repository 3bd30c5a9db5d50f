"""A disk that stops answering altogether: a FUSE file system to which nobody answers. Needs root and /dev/fuse."""

import ctypes
import os

import pytest

MNT_DETACH = 2


class SilentDisk:
    """Mounted at `path`; whoever asks it anything waits, until `end`."""

    def __init__(self, path):
        self.path = str(path)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._device = -1

    def mount(self):
        os.makedirs(self.path, exist_ok=True)
        if os.geteuid():
            pytest.skip("to mount a file system needs root")
        try:
            self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as err:
            pytest.skip(f"no FUSE here: {err.strerror}")
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0".encode()
        if self._libc.mount(b"silent", self.path.encode(), b"fuse.silent", 0, options):
            pytest.skip(f"no FUSE file system can be mounted here: {os.strerror(ctypes.get_errno())}")
        return self

    def end(self):
        """Whoever waits gets an error."""
        if self._device >= 0:
            os.close(self._device)
            self._libc.umount2(self.path.encode(), MNT_DETACH)
            self._device = -1
