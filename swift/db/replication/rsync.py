"""Whole databases to peers that take them by rsync only (database.md 14.5, operations.md 19).

Lives here: the module's name and the command. Never here: what the peer is told afterwards.
"""

from __future__ import annotations

import math
import os
import string
from collections.abc import Mapping
from typing import Any

from swift.core.errors import ConfigError
from swift.engine.threads import DevicePool

_VARIABLES = ("ip", "port", "replication_ip", "replication_port", "region", "zone", "device", "meta")


def check_module(template: str) -> str:
    """The template without a slash at its end. Raises ConfigError for unknown variables."""
    rsync_module(template, dict.fromkeys(_VARIABLES, ""))
    return template.rstrip("/")


def rsync_module(template: str, node: Mapping[str, Any]) -> str:
    """The module of a node. Raises ConfigError."""
    values = {name: str(node.get(name, "")) for name in _VARIABLES}
    for name in ("ip", "replication_ip"):
        if ":" in values[name]:
            values[name] = f"[{values[name]}]"
    try:
        return string.Formatter().vformat(template, (), values).rstrip("/")
    except (KeyError, IndexError, ValueError, AttributeError) as err:
        raise ConfigError(f"Cannot interpolate rsync_module, invalid variable: {err}") from None


def push(
    pool: DevicePool, path: str, target: str, answer_timeout: float, conn_timeout: float, compress: bool
) -> str:
    """Copy a file to `module/path`; returns '' or what went wrong."""
    words = [
        "rsync",
        "--quiet",
        "--no-motd",
        f"--timeout={max(1, math.ceil(answer_timeout))}",
        f"--contimeout={max(1, math.ceil(conn_timeout))}",
        "--whole-file",
    ]
    if compress:
        words.append("--compress")
    return str(pool.run_long(_run, [*words, path, target]))


def _run(words: list[str]) -> str:
    """Run a command to its end; its time limits are its own. Blocks."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        pid = os.posix_spawnp(
            words[0],
            words,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, null, fd) for fd in range(3)],
        )
    except OSError as err:
        return f"{words[0]}: {err}"
    finally:
        os.close(null)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return "" if code == 0 else f"exit status {code} of {' '.join(words)}"
