"""Looking at processes through /proc: command lines, ages, sessions, and signals that can't hit the wrong one.

What lives here: reading. What never does: deciding what a process is for; imports beyond the standard library.
Spec: operations.md 6.5, 7.
"""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass

from swift.core import clock

SERVER_COMMANDS = (
    "swift-proxy-server",
    "swift-account-server",
    "swift-container-server",
    "swift-object-server",
)

_SWIFT_COMMAND = re.compile(r"(?:^|/)swift-[a-z][a-z-]*$")


@dataclass(frozen=True)
class Process:
    """A process as it was when it was looked at. `started`: seconds since the epoch, about."""

    pid: int
    parent: int
    session: int
    argv: tuple[str, ...]
    start_ticks: int
    started: float

    @property
    def command(self) -> str:
        """The arguments joined by blanks."""
        return " ".join(self.argv)

    @property
    def swift_command(self) -> str | None:
        """`swift-...` if the process runs one of our commands, whatever interpreter runs it."""
        at = self._command_at()
        return None if at is None else os.path.basename(self.argv[at])

    @property
    def short_command(self) -> str:
        """The command line without interpreter, directory and `swift-`, for tables."""
        at = self._command_at()
        if at is None:
            return self.command
        return " ".join((os.path.basename(self.argv[at])[len("swift-") :], *self.argv[at + 1 :]))

    def _command_at(self) -> int | None:
        for at, word in enumerate(self.argv[:3]):
            if _SWIFT_COMMAND.search(word):
                return at
        return None

    @property
    def age(self) -> float:
        """Seconds since the start."""
        return max(0.0, clock.time() - self.started)


def look(pid: int) -> Process | None:
    """The process, or None if there is none or only its remains."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            argv = file.read().rstrip(b"\0").split(b"\0")
    except (OSError, ValueError):
        return None
    if fields[0] in ("Z", "X"):
        return None
    ticks = int(fields[19])
    return Process(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        argv=tuple(word.decode("utf-8", "surrogateescape") for word in argv),
        start_ticks=ticks,
        started=_boot_time() + ticks / os.sysconf("SC_CLK_TCK"),
    )


def _boot_time() -> float:
    # against the clock of now, so that a clock that was set meanwhile doesn't matter
    return clock.time() - clock.since_boot()


def all_processes() -> list[Process]:
    """All processes, by pid."""
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    return [found for found in map(look, pids) if found is not None]


def send_signal(process: Process, number: int) -> bool:
    """Signals exactly this process; False if it is gone. Raises PermissionError."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    except OSError:  # a kernel or sandbox without pidfds
        return _send_unsafely(process, number)
    try:
        # the handle is fixed now: if it is still the same process, nothing else can be hit
        current = look(process.pid)
        if current is None or current.start_ticks != process.start_ticks:
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def _send_unsafely(process: Process, number: int) -> bool:
    current = look(process.pid)
    if current is None or current.start_ticks != process.start_ticks:
        return False
    try:
        os.kill(process.pid, number)
        return True
    except ProcessLookupError:
        return False
