"""Time and chance: the one place where the process asks what time it is or for a random number.

What lives here: the clocks, the wait of a thread, and the random numbers and names that nothing secret hangs on. Callers write
`clock.monotonic()`, never `from swift.core.clock import monotonic`, so that `use(source)` can put a seeded source in the place
of the system's for a whole process (a simulated cluster, a test). What never does: secrets (they are taken from `secrets`),
durations and their parsing, forms of timestamps.
"""

from __future__ import annotations

import os
import random as _random
import time as _time
import uuid as _uuid
from functools import partial as _partial
from typing import Any

time = _time.time  # seconds since the epoch
time_ns = _time.time_ns
# by the clock that file systems take their times from, which only ticks (Linux's CLOCK_REALTIME_COARSE); never a seeded one
file_time_ns = _partial(_time.clock_gettime_ns, 5)
monotonic = _time.monotonic  # seconds, for differences only

random = _random.random  # 0 <= x < 1
uniform = _random.uniform
choice = _random.choice
sample = _random.sample
shuffle = _random.shuffle
getrandbits = _random.getrandbits
random_bytes = os.urandom
uuid4 = _uuid.uuid4

gmtime = _time.gmtime
ctime = _time.ctime
strftime = _time.strftime
tzset = _time.tzset


def since_boot() -> float:
    """Seconds since the machine started, those asleep included."""
    return _time.clock_gettime(_time.CLOCK_BOOTTIME)


_ASKED = (
    "time",
    "time_ns",
    "monotonic",
    "random",
    "uniform",
    "choice",
    "sample",
    "shuffle",
    "random_bytes",
    "uuid4",
    "sleep",
)


def sleep(seconds: float) -> None:
    """Waits; where the engine has replaced `time.sleep`, only the green thread does."""
    _time.sleep(seconds)


def use(source: Any) -> dict[str, Any]:
    """Puts the functions that `source` has under the names of this module in their place; returns what stood there, for `restore`."""
    before = {name: globals()[name] for name in _ASKED if hasattr(source, name)}
    globals().update({name: getattr(source, name) for name in before})
    return before


def restore(before: dict[str, Any]) -> None:
    """Takes a `use` back."""
    globals().update(before)
