"""Real file systems for tests: a loop-mounted XFS over a file in memory, which root can freeze."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile

import pytest

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878


@contextlib.contextmanager
def xfs():
    """The directory of a fresh XFS; the test is skipped where that can't be had."""
    if os.geteuid() != 0 or not shutil.which("mkfs.xfs"):
        pytest.skip("needs root and mkfs.xfs for a file system of its own")
    image = tempfile.NamedTemporaryFile(
        prefix="swift-test-xfs-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
    )
    where = tempfile.mkdtemp(prefix="swift-test-xfs-")
    with image:
        os.truncate(image.name, 1 << 30)
        subprocess.run(["mkfs.xfs", "-q", image.name], check=True)
        done = subprocess.run(
            ["mount", "-o", "loop,noatime", image.name, where], capture_output=True, text=True
        )
        if done.returncode:
            os.rmdir(where)
            pytest.skip(f"no loop mounts here: {done.stderr.strip()}")
        try:
            yield where
        finally:
            subprocess.run(["umount", "-l", where], check=True)
            os.rmdir(where)


@contextlib.contextmanager
def frozen(path):
    """Writes to the file system of `path` hang meanwhile."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, FIFREEZE, 0)
        try:
            yield
        finally:
            fcntl.ioctl(fd, FITHAW, 0)
    finally:
        os.close(fd)
