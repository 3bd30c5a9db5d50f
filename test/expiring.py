"""Objects whose time is near, however busy the machine is.

What lives here: choosing the time, and waiting for it. What never does: assertions about what expires.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def when_due(prepare: Callable[[int], None], seconds: int = 3) -> int:
    """The time at which what `prepare(time)` has made expires; returns once it has come.

    If the preparation wasn't over by then, all of it is done again with more time: it must not mind what it has left behind.
    """
    while True:
        due = int(time.time()) + seconds
        try:
            prepare(due)
        except AssertionError:
            if time.time() < due:
                raise
        if time.time() < due - 0.2:
            while time.time() <= due:
                time.sleep(0.05)
            return due
        seconds *= 3
