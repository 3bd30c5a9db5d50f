"""One pass of a daemon on several nodes of a test cluster at the same time, measured. What is measured before and after is the benches' business."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable
from typing import Any


def passes(nodes: Any, daemon: str, which: Iterable[int]) -> tuple[float, float]:
    """(seconds, seconds of processor of the daemons) that one pass of these nodes takes. `nodes`: `test.object_nodes.ObjectNodes`."""
    before = os.times()
    started = time.monotonic()
    running = [
        subprocess.Popen(
            [*nodes._command(node, daemon), str(nodes.conf(node)), "once"],
            env=nodes._environ(node),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for node in which
    ]
    for process in running:
        process.wait()
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - started, used
