"""On each device, since which start of the machine it is written to, and until when it was: how the object-updater learns of a power cut.

A file `writers/<boot id>` on the device, whose time of change is renewed while there are writes. Those of other starts of the machine tell
when it stopped, give or take BEAT_SECONDS; they stay until what was written last is reported again. Everything here blocks but `is_fresh`.
"""

from __future__ import annotations

import contextlib
import os

from swift.core import clock
from swift.engine.durable import fsync_dir

DIRECTORY = "writers"
BEAT_SECONDS = 60.0
MAX_BOOTS = 1000


def boot_id() -> str:
    """What tells this start of the machine from others. Raises OSError."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read(64).strip()


class Beat:
    """Of one device, in one process that writes to it."""

    def __init__(self, device_path: str) -> None:
        self._directory = f"{device_path}/{DIRECTORY}"
        self._device_path = device_path
        self._path = ""
        self._at = 0.0

    def is_fresh(self) -> bool:
        """True if the device knows that it is written to now; a clock that was set back makes it not so."""
        return 0 <= clock.time() - self._at < BEAT_SECONDS

    def beat(self) -> None:
        """Have the device know, durably. Where that fails, the write that comes now shows why, and the next one tries again."""
        now = clock.time()
        with contextlib.suppress(OSError):
            self._beat()
            self._at = now

    def _beat(self) -> None:
        self._path = self._path or f"{self._directory}/{boot_id()}"
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._directory)
        is_new = not os.path.exists(self._path)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.utime(fd)
            os.fsync(fd)
        finally:
            os.close(fd)
        if is_new:
            fsync_dir(self._directory)
            fsync_dir(self._device_path)


def earlier_boots(device_path: str) -> dict[str, float]:
    """{path: last known write, seconds} of the starts of the machine before this one. Raises OSError."""
    directory = f"{device_path}/{DIRECTORY}"
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    own = boot_id()
    found = {}
    for name in sorted(names)[:MAX_BOOTS]:
        if name != own:
            with contextlib.suppress(FileNotFoundError):
                found[f"{directory}/{name}"] = os.stat(f"{directory}/{name}").st_mtime
    return found


def forget_boots(paths: list[str]) -> None:
    """What was written then is reported. Raises OSError."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
