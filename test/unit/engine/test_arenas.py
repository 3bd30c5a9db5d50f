"""How many arenas the C library has for the threads of a process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
