"""What one upload of 4 KiB costs an object server in system calls, futex calls and context switches.

What lives here: the counts in a whole cluster under load. They say more than times on a machine that others use too. What never
does: one object server alone, and its rates (calls.py).
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time

from cluster import Cluster
from wrk import Run

REPLICAS = 3
_CLIENTS = 16


def why_none() -> str:
    """Why calls can't be counted; empty if they can."""
    return "" if shutil.which("strace") else "strace is missing (Debian: apt install strace)"


def measure(side: Cluster, token: str, seconds: int) -> list[str]:
    """The lines of the report."""
    before = side.switches("object")
    quiet = _put(side, token, "counted", seconds)
    switches = (side.switches("object") - before) / quiet
    words = ["strace", "-f", "-c", "-U", "name,calls"]
    for process in side.family("object"):
        words += ["-p", str(process)]
    tracer = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(1)  # until it is attached
    traced = _put(side, token, "traced", seconds)
    tracer.send_signal(signal.SIGINT)
    _, table = tracer.communicate()
    calls = {
        name: int(number) / traced
        for name, number in re.findall(r"^\s*(\w+)\s+(\d+)\s*$", table, re.MULTILINE)
    }
    total = calls.pop("total", sum(calls.values()))
    most = sorted(calls.items(), key=lambda item: -item[1])[:12]
    return [
        f"one PUT of 4 KiB costs an object server ({side.name}, {_CLIENTS} clients) {total:.1f} system calls, of these"
        f" {calls.get('futex', 0.0):.1f} futex calls, and {switches:.1f} context switches:"
        f" {', '.join(f'{name} {number:.1f}' for name, number in most)}"
    ]


def _put(side: Cluster, token: str, prefix: str, seconds: int) -> int:
    """Uploads for some seconds; how many the object servers took, all replicas counted."""
    base = "/v1/AUTH_test/written"
    result = Run(side.endpoint, token, "put", base, prefix, clients=_CLIENTS, seconds=seconds).result()
    return max(1, result.good * REPLICAS)
