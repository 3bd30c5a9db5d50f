"""How far a device is with a change of the partition power: the relinker's state file (object-disk 22.4).

Written by the relinker, of either implementation; the object server reads which powers it is about. What is done on the way from one power to
the other lives elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import NamedTuple

from swift.engine.durable import fsync_dir
from swift.engine.fault_points import fault_point
from swift.engine.new_file import write_all

MAX_POWER = 32
MAX_BYTES = 1 << 30  # of a state file: some 14 for each partition
_HEAD = 256
_NUMBER = re.compile(rb'"(part_power|next_part_power|prev_part_power)": ?(\d{1,2})\b')


class Powers(NamedTuple):
    """`part_power`, `next_part_power`: of the ring that the relinker went by; equal once the power is increased, or the increase
    given up. `prev_part_power`: what it was before, where a relink preceded this cleanup. `changed`: when the file was written, seconds.
    """

    part_power: int
    next_part_power: int
    prev_part_power: int | None = None
    changed: float = 0.0

    @property
    def is_cleanup(self) -> bool:
        """True once the files in former places are being removed."""
        return self.part_power == self.next_part_power


def state_path(device_path: str, datadir: str) -> str:
    """`datadir`: its name, `objects` or `objects-N`."""
    return f"{device_path}/relink.{datadir}.json"


def lock_path(device_path: str, datadir: str) -> str:
    """Held, exclusively, by the one relinker that works on this directory of this device."""
    return f"{device_path}/.relink.{datadir}.lock"


# ---------------------------------------------------------------- for servers

_MAX_KNOWN = 4096
_known: dict[str, tuple[tuple[int, int, int], Powers | None]] = {}


def powers(device_path: str, datadir: str) -> Powers | None:
    """What the state file of a device says now; None without one, or when it can't be read. One system call as a rule."""
    path = f"{device_path}/relink.{datadir}.json"
    if not os.access(path, os.F_OK):  # nearly always, and without the cost of an exception
        return None
    try:
        st = os.stat(path)
    except OSError:
        return None
    sign = st.st_ino, st.st_mtime_ns, st.st_size
    known = _known.get(path)
    if known is None or known[0] != sign:
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        known = _known[path] = sign, _read_powers(path, st.st_size, st.st_mtime)
    return known[1]


def _read_powers(path: str, size: int, changed: float) -> Powers | None:
    """From both ends: what lies between them, a word for each partition, may be long."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.pread(fd, _HEAD, 0) + b" " + (os.pread(fd, _HEAD, size - _HEAD) if size > _HEAD else b"")
    except OSError:
        return None
    finally:
        os.close(fd)
    found = {name.decode(): int(number) for name, number in _NUMBER.findall(text)}
    return _checked(found, changed)


def _checked(found: dict[str, int], changed: float) -> Powers | None:
    try:
        one, other, before = (
            found["part_power"],
            found["next_part_power"],
            found.get("prev_part_power"),
        )
    except KeyError:
        return None
    if max(one, other, before or 0) > MAX_POWER or other not in (one, one + 1):
        return None
    return Powers(one, other, before, changed)


# ---------------------------------------------------------------- for the relinker


class RelinkState:
    """The state file of one directory of one device. `done`: {partition: True when that is finished}."""

    def __init__(
        self,
        device_path: str,
        datadir: str,
        part_power: int,
        next_part_power: int,
        since: float = 0.0,
    ) -> None:
        """Read what is there and belongs to this step, or begin anew.

        `since`: when this step began, seconds. What was done before belongs to one of the same powers, that was given up and begun again.
        """
        self._path = state_path(device_path, datadir)
        self._tmp = f"{device_path}/.relink.{datadir}.json.tmp"
        self._device_path = device_path
        self.part_power = part_power
        self.next_part_power = next_part_power
        self.prev_part_power: int | None = None
        self.done: dict[str, bool] = {}
        self._read(since)

    def _read(self, since: float) -> None:
        try:
            with open(self._path, "rb") as file:
                is_late = os.fstat(file.fileno()).st_mtime >= since
                found = json.loads(file.read(MAX_BYTES))
            done = {
                name: flag is True
                for name, flag in found["state"].items()
                if name.isascii() and name.isdecimal()
            }
            power, following, before = (
                found["part_power"],
                found["next_part_power"],
                found.get("prev_part_power"),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        if following != self.next_part_power or not isinstance(power, int):
            return
        if power == self.part_power:
            self.done = done if is_late else {}
            self.prev_part_power = before if isinstance(before, int) else None
        else:
            # of the step before: the partitions are to be gone over again
            self.prev_part_power = power

    def write(self) -> None:
        """On disk when it returns. Raises OSError."""
        content = {
            "part_power": self.part_power,
            "next_part_power": self.next_part_power,
            "state": self.done,
        }
        if self.prev_part_power is not None:
            content["prev_part_power"] = self.prev_part_power
        fd = os.open(self._tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            write_all(fd, json.dumps(content).encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        fault_point("relink:state written")
        os.rename(self._tmp, self._path)
        with contextlib.suppress(FileNotFoundError):
            fsync_dir(self._device_path)
