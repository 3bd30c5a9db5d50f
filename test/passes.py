"""Passes of daemons of several nodes, one after the other in one process: starting one for each is what takes its time.

What lives here: running them. What never does: assertions about what they have done.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Iterable

from swift.cli.daemons import DAEMONS

_SCRIPT = """
import importlib, sys
module, name, section, ahead, *confs = sys.argv[1:]
if float(ahead):
    from swift.core import clock
    now = clock.time
    clock.time = lambda: now() + float(ahead)
from swift.core import concurrency
concurrency.patch()
from swift.core.config import read_conf
from swift.telemetry.log import get_logger
daemon = getattr(importlib.import_module(module), name)
for path in confs:
    conf = {**read_conf(path, section), "log_to_console": "yes"}
    daemon(conf, get_logger(conf, section, log_to_console=True)).run_once()
"""


def run_passes(section: str, confs: Iterable[pathlib.Path], ahead: float = 0.0) -> str:
    """One pass of a daemon by each configuration; what they say. `ahead`: seconds by which their clock is wrong."""
    module, name = DAEMONS[section]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, module, name, section, str(ahead), *map(str, confs)],
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode or "Traceback" in done.stderr:
        raise AssertionError(done.stderr)
    return done.stderr
