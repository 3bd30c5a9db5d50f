"""swift.cli.node: the servers of several configuration files under one parent process.

What lives here: the command line of that. What never does: what a server does, or how it is started (core/process.py).
"""

from __future__ import annotations

import sys

from swift.core import process


def main(argv: list[str] | None = None) -> int:
    """usage: python -m swift.cli.node CONF [CONF ...]"""
    confs = sys.argv[1:] if argv is None else argv
    if not confs or confs[0].startswith("-"):
        print(main.__doc__, file=sys.stderr)
        return 2
    return process.run_servers(confs)


if __name__ == "__main__":
    sys.exit(main())
