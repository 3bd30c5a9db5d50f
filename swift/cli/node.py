"""swift.cli.node: the servers of several configuration files under one parent process.

What lives here: the command line of that. What never does: what a server does, or how it is started (core/process.py).
"""

from __future__ import annotations

import sys

from swift.cli.server import run_servers


def main(argv: list[str] | None = None) -> int:
    """usage: python -m swift.cli.node CONF [CONF ...] [--test-config]"""
    words = sys.argv[1:] if argv is None else argv
    test_config = words[-1:] == ["--test-config"]
    confs = words[:-1] if test_config else words
    if not confs or any(word.startswith("-") for word in confs):
        print(main.__doc__, file=sys.stderr)
        return 2
    return run_servers(confs, test_config=test_config)


if __name__ == "__main__":
    sys.exit(main())
