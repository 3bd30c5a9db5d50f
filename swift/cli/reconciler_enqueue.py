"""swift-reconciler-enqueue: puts an object into the reconciler's queue by hand (database.md 18.1)."""

from __future__ import annotations

import sys
from optparse import OptionParser
from typing import Any

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.core import swift_dir
    from swift.core.names import split_path
    from swift.core.policy import policies
    from swift.core.timestamp import Timestamp

    parser = OptionParser(
        usage="%prog <policy_index> </a/c/o path> <timestamp> [options]\n\n"
        "Have the container-reconciler look at an object of the policy with this index, as of this timestamp.",
        prog="swift-reconciler-enqueue",
    )
    parser.add_option(
        "-X",
        "--op",
        type="choice",
        choices=("PUT", "DELETE"),
        default="PUT",
        help="what the object's row was: PUT (default) or DELETE",
    )
    parser.add_option(
        "-f", "--force", action="store_true", help="replace an entry that is newer: it is recorded as of now"
    )
    options, words = parser.parse_args()
    if len(words) != 3:
        parser.print_help()
        return 0
    swift_dir.use()
    policy = policies().get_by_index(words[0]) if words[0] else None
    if policy is None:
        return _failed(f"invalid storage policy index: {words[0]}")
    try:
        names = split_path(words[1], 3, 3, True)
    except ValueError as err:
        return _failed(str(err))
    try:
        timestamp = Timestamp(words[2])
    except ValueError as err:
        return _failed(str(err))
    container = _enqueue(int(policy), names, timestamp, options.op, bool(options.force))
    if container is None:
        return _failed("unable to enqueue!")
    print(container)
    return 0


def _enqueue(policy: int, names: list[str], timestamp: Any, operation: str, force: bool) -> str | None:
    from swift.container.reconciler_queue import add_entry
    from swift.core import swift_dir
    from swift.ring.lookup import Ring

    account, container, obj = names
    ring = Ring(swift_dir.current(), "container")
    return add_entry(ring, policy, account, container, obj, timestamp, operation, force)


def _failed(text: str) -> int:
    print(f"ERROR: {text}", file=sys.stderr)
    return 1
