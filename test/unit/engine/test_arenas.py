"""How many arenas the C library has for the threads of a process, and how much it keeps of what is free."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from swift.engine.arenas import MOST_FREE

# Threads that are all there at once, so that the library can't give one of them another's arena; then the arenas that it tells of.
_PROGRAM = """
import ctypes, os, sys, threading
from swift.engine.arenas import share_arenas
print(share_arenas(), flush=True)
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
meet = threading.Barrier(9)

def work():
    meet.wait()
    libc.malloc(ctypes.c_size_t(1000))
    meet.wait()

threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
for thread in threads:
    thread.start()
meet.wait()
meet.wait()
libc.fopen.restype = ctypes.c_void_p
file = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, ctypes.c_void_p(file))
libc.fclose(ctypes.c_void_p(file))
"""


@pytest.mark.parametrize(
    ("environment", "is_ours"), [({}, True), ({"MALLOC_ARENA_MAX": "5"}, False), ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=5"}, False)]
)  # fmt: skip
def test_native_threads_share_an_arena(environment: dict[str, str], is_ours: bool) -> None:
    clean = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env={**clean, **environment}, capture_output=True, text=True
    )
    assert done.stdout.startswith(f"{is_ours}\n"), done
    assert done.stdout.count("<heap nr=") == (2 if is_ours else 5)


# A large piece that comes and goes, from which the library would learn to keep twice as much; then as much in small ones, the last of which stays.
_PEAK = """
import os, sys
from swift.engine.arenas import give_back, share_arenas
if sys.argv[1] == "ours":
    share_arenas()

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

stays = []
before = resident()
large = b"x" * (30 << 20)
del large
print(resident() - before)
for _ in range(2):
    large = b"x" * (30 << 20)
    del large
print(resident() - before)
small = [b"x" * 100_000 for _ in range(300)]
stays.append(b"x" * 90_000)
del small
print(resident() - before)
if sys.argv[1] == "ours":
    give_back()
print(resident() - before)
"""


def test_what_was_used_for_once_is_given_back() -> None:
    clean = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    kept = {}
    for whose in ("ours", "the library's"):
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, whose], env=clean, capture_output=True, text=True, check=True
        )
        kept[whose] = [int(line) for line in done.stdout.split()]
    few = MOST_FREE >> 20
    assert kept["the library's"][1] > few
    assert kept["ours"][1] <= few
    assert kept["ours"][2] > few  # under the one that stays
    assert kept["ours"][3] <= few
