"""Real file systems for tests, loop-mounted over files in memory: an XFS, which root can freeze, and one with coarse times."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile

import pytest

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878


def xfs():
    """The directory of a fresh XFS; the test is skipped where that can't be had."""
    return _fresh("xfs", 1 << 30)


def whole_seconds():
    """As `xfs`, an ext4 that knows times of change to the second only."""
    return _fresh("ext4", 128 << 20, "-I", "128", "-b", "4096")


@contextlib.contextmanager
def _fresh(kind, size, *options):
    if os.geteuid() != 0 or not shutil.which(f"mkfs.{kind}"):
        pytest.skip(f"needs root and mkfs.{kind} for a file system of its own")
    image = tempfile.NamedTemporaryFile(
        prefix=f"swift-test-{kind}-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
    )
    where = tempfile.mkdtemp(prefix=f"swift-test-{kind}-")
    with image:
        os.truncate(image.name, size)
        subprocess.run([f"mkfs.{kind}", "-q", *options, image.name], check=True, stderr=subprocess.DEVNULL)
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
