"""Points at which crash tests have a process die.

Named at each step that a crash may come between; SWIFT_FAULT_POINT says which one is meant (`name[:count]`).
"""

from __future__ import annotations

import os
import signal

_fault: tuple[str, int] | None = None


def arm(spec: str | None) -> None:
    """Arm the fault point `name[:count]`: the process dies (SIGKILL) when it passes `name` for the count-th time."""
    global _fault
    if not spec:
        _fault = None
        return
    name, _, count = spec.rpartition(":")
    # names may hold colons themselves: only a number at the end is a count
    _fault = (name, int(count)) if name and count.isdigit() else (spec, 1)


def fault_point(name: str) -> None:
    """Die here if SWIFT_FAULT_POINT names this point; costs one comparison otherwise."""
    global _fault
    if _fault is not None and _fault[0] == name:
        if _fault[1] <= 1:
            os.kill(os.getpid(), signal.SIGKILL)
        _fault = (name, _fault[1] - 1)


arm(os.environ.get("SWIFT_FAULT_POINT"))
