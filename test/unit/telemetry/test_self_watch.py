"""What a process that watches itself does about it."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
from swift.core.concurrency import patch

patch()
import os

from swift.core import clock
from swift.core.concurrency import sleep
from swift.telemetry import self_watch

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

self_watch.TICK_SECONDS = 0.01
before = resident()
small = [b"x" * 100_000 for _ in range(500)]
stays = b"x" * 90_000
del small
print(resident() - before)
self_watch.watch("test")
end = clock.monotonic() + 60
while resident() - before > 20 and clock.monotonic() < end:
    sleep(0.05)
print(resident() - before)
"""


def test_memory_that_nobody_uses_goes_back_while_a_process_lives() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    used, kept = map(int, done.stdout.split())
    assert used > 40
    assert kept <= 20
