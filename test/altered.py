"""Runs a module of ours that sees the world otherwise: `python -m test.altered MODULE ARGUMENTS`, as the environment says.

ALTERED_RING_SECONDS: how often rings are looked at for changes. ALTERED_CLOCK: seconds by which the clock is ahead.
"""

from __future__ import annotations

import os
import pathlib
import runpy
import subprocess
import sys
import time
import types
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parents[1]


def spawner(environ: Callable[[str], dict[str, str]]) -> Callable[..., None]:
    """In the place of `swift.cli.saio._spawn`; `environ(name)`: what is altered for a process of that name."""
    from swift.cli import saio

    def spawn(layout, name, confs, module="swift.cli.node"):
        with open(layout.log / f"{name}.out", "w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "test.altered", module, *map(str, confs)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
                env={**os.environ, "PYTHONPATH": str(ROOT), **environ(name)},
            )
        (layout.run / f"{name}.pid").write_text(f"{process.pid} {saio._start_time(process.pid)}\n")

    return spawn


def alter() -> None:
    """As the environment of this process says."""
    seconds = os.environ.get("ALTERED_RING_SECONDS")
    if seconds:
        from swift.ring import lookup

        lookup.DEFAULT_RELOAD_TIME = float(seconds)
    ahead = float(os.environ.get("ALTERED_CLOCK", 0))
    if ahead:
        from swift.core import clock

        clock.use(
            types.SimpleNamespace(
                time=lambda: time.time() + ahead, time_ns=lambda: time.time_ns() + int(ahead * 1e9)
            )
        )


if __name__ == "__main__":
    del sys.argv[0]
    module = sys.argv[0]
    alter()
    runpy.run_module(module, run_name="__main__", alter_sys=True)
