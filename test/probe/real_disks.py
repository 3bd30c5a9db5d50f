"""Disks of their own for tests: file systems in files, which can be frozen and unmounted. They need root and loop devices."""

import os
import shutil
import subprocess
import time

import pytest

SIZE = 400 << 20  # the least that mkfs.xfs takes; sparse


class Disk:
    """A file system mounted at `path`."""

    def __init__(self, image, path):
        self.image = image
        self.path = path
        self.is_frozen = False

    def mount(self):
        tools = [("mkfs.xfs", ["-q", "-f"]), ("mkfs.ext4", ["-q", "-F"])]
        found = [(tool, flags) for tool, flags in tools if shutil.which(tool)]
        if os.geteuid() or not found or not shutil.which("fsfreeze"):
            pytest.skip("disks that freeze need root, mkfs.xfs or mkfs.ext4, and fsfreeze")
        with open(self.image, "wb") as file:
            file.truncate(SIZE)
        tool, flags = found[0]
        subprocess.run([tool, *flags, str(self.image)], check=True, capture_output=True)
        self.path.mkdir(parents=True)
        done = subprocess.run(
            ["mount", "-o", "loop", str(self.image), str(self.path)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"no loop device can be mounted here: {done.stderr.strip()}")
        return self

    def freeze(self):
        """From now on whoever writes to it waits."""
        subprocess.run(["fsfreeze", "-f", str(self.path)], check=True)
        self.is_frozen = True

    def thaw(self):
        if self.is_frozen:
            subprocess.run(["fsfreeze", "-u", str(self.path)], check=True)
            self.is_frozen = False

    def unmount(self, seconds=0.0):
        """Returns True if it could be unmounted within that time: nobody has a file of it open."""
        end = time.monotonic() + seconds
        while True:
            if not subprocess.run(["umount", str(self.path)], capture_output=True).returncode:
                return True
            if time.monotonic() >= end:
                return False
            time.sleep(0.25)

    def end(self):
        self.thaw()
        if os.path.ismount(self.path):
            subprocess.run(["umount", "-l", str(self.path)], check=False)
