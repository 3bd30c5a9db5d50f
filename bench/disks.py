"""Where the nodes' disks lie: on tmpfs, in a folder of yours, or on XFS with a journal over a file in memory.

What lives here: making, freezing and taking away file systems. An XFS over memory is as fast as NVMe and syncs like a real disk; it
needs root and xfsprogs. What never does: servers and load.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile

XFS_BYTES = 3 << 30  # of each disk; sparse


class Images:
    """XFS file systems in files of one folder; taken away by `close`."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._mounted: list[tuple[pathlib.Path, pathlib.Path]] = []

    def mount(self, where: pathlib.Path, size: int = XFS_BYTES) -> None:
        """A new, empty XFS at `where`."""
        where.mkdir(parents=True, exist_ok=True)
        image = self.folder / f"bench-{os.getpid()}-{len(self._mounted)}.xfs"
        with open(image, "wb") as file:
            file.truncate(size)
        subprocess.run(["mkfs.xfs", "-q", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop,noatime", str(image), str(where)], check=True)
        self._mounted.append((where, image))

    def close(self) -> None:
        """Unmounts and removes all of them, frozen ones too."""
        for where, image in reversed(self._mounted):
            subprocess.run(["fsfreeze", "-u", str(where)], stderr=subprocess.DEVNULL)
            subprocess.run(["umount", "-l", str(where)], check=False)
            image.unlink(missing_ok=True)
        self._mounted.clear()


def freeze(where: pathlib.Path) -> None:
    """From now on all writes to this file system hang."""
    subprocess.run(["fsfreeze", "-f", str(where)], check=True)


def thaw(where: pathlib.Path) -> None:
    subprocess.run(["fsfreeze", "-u", str(where)], check=True)


def why_no_images() -> str:
    """Why this machine can't make file systems; empty if it can."""
    if os.geteuid():
        return "only root can mount file systems"
    missing = [tool for tool in ("mkfs.xfs", "mount", "umount", "fsfreeze") if not shutil.which(tool)]
    if missing:
        return f"{', '.join(missing)} missing (Debian: apt install xfsprogs)"
    if not any(pathlib.Path(path).exists() for path in ("/dev/loop-control", "/dev/loop0")):
        return "there are no loop devices"
    return ""


def memory_folder() -> pathlib.Path:
    """tmpfs where it holds user xattrs, else a folder on disk."""
    for folder in ("/dev/shm", tempfile.gettempdir()):
        try:
            with tempfile.NamedTemporaryFile(dir=folder) as probe:
                os.setxattr(probe.name, "user.probe", b"x" * 1000)
            return pathlib.Path(folder)
        except OSError:
            continue
    raise SystemExit("bench: no file system with user xattrs found; say --memory FOLDER")


def touch(folder: pathlib.Path, size: int) -> None:
    """Fills and frees memory: on a virtual machine the first use of a page costs more than all that is measured here."""
    path = folder / "bench-touch"
    block = bytes(1 << 20)
    try:
        with open(path, "wb") as file:
            for _ in range(min(size, shutil.disk_usage(folder).free // 4) >> 20):
                file.write(block)
    finally:
        path.unlink(missing_ok=True)
