"""The last line of a command that fails, and where it goes when standard output takes nothing (a full disk)."""

from __future__ import annotations

import os
import sys


def complain(error: object) -> None:
    """Print a line on stdout, as the reference does; on stderr if it can't be written there."""
    try:
        print(error, flush=True)
    except OSError:
        # nothing of what waits in the buffer must be tried again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(error, file=sys.stderr)
