"""swift-safe-to-pull: may these disks be pulled? Yes or no, and why; exit status 0, 1, or 2 for bad use.

Lives here: the command line and the verdict. What is asked of nodes is in `pull_objects` and `pull_databases`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from optparse import OptionParser, Values
from typing import TYPE_CHECKING, NoReturn

from swift.core import concurrency

if TYPE_CHECKING:
    from swift.cli.cluster import Cluster, Target
    from swift.cli.pull_findings import Part

CONNECT_SECONDS = 5.0
EXIT_YES, EXIT_NO, EXIT_USAGE = 0, 1, 2
_USAGE = """%prog [options] DEVICE [DEVICE ...]

Says whether all these disks may be pulled together: whether everything on
them (objects of all policies, containers, accounts) is also on all the other
devices where the rings want it, no update waits on them, and nothing in
their quarantine is whole nowhere else. Nothing on them is changed.

DEVICE is [IP[:PORT]/]NAME as in the rings: sdb1, 10.0.0.1/sdb1 or
10.0.0.1:6200/sdb1. All nodes are asked over the replication network.
A device whose server is the reference's can only be looked at on its own
machine, by --devices.

A disk that can't be read any more: --dead asks all other devices whether they
have the same of everything that the rings want on it. What it held for others
meanwhile, and what waited on it, can't be told then.

The answer holds for the moment: stop writes to a device (set its weight to
0, or stop its servers) before it is pulled, and ask again.

Exit status: 0 yes, 1 no, 2 bad use."""


class _Parser(OptionParser):
    def error(self, msg: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.get_prog_name()}: error: {msg}\n")


def _parser() -> OptionParser:
    parser = _Parser(usage=_USAGE, prog="swift-safe-to-pull")
    parser.add_option(
        "-d", "--swift-dir", default=None, help="where swift.conf and the rings are (/etc/swift)"
    )
    parser.add_option(
        "--devices",
        metavar="DIR",
        default="/srv/node",
        help="where this machine's disks are mounted, for devices whose server can't tell (%default)",
    )
    parser.add_option(
        "--no-mount-check", action="store_true", default=False, help="disks there may be plain directories"
    )
    parser.add_option(
        "--quick",
        action="store_true",
        default=False,
        help="believe suffix hashes, as replication does, instead of asking about each object",
    )
    parser.add_option(
        "--dead",
        action="store_true",
        default=False,
        help="the disks can't be read any more: ask all others what they have of theirs, and whether it is whole",
    )
    parser.add_option("--json", action="store_true", default=False, help="the answer as JSON")
    parser.add_option("-q", "--quiet", action="store_true", default=False, help="only the exit status")
    parser.add_option(
        "--timeout", type="float", default=60.0, help="seconds that a node may take for an answer (%default)"
    )
    return parser


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.cli.cluster import Cluster, UnknownDevice
    from swift.core.errors import ConfigError
    from swift.ring.errors import RingError

    options, words = _parser().parse_args()
    if not words:
        print("swift-safe-to-pull: error: which device? See --help.", file=sys.stderr)
        return EXIT_USAGE
    if not 0 < options.timeout < 1e6:
        print("swift-safe-to-pull: error: --timeout must be above 0", file=sys.stderr)
        return EXIT_USAGE
    try:
        cluster = Cluster(options.swift_dir)
        targets = [cluster.target(word) for word in words]
    except (UnknownDevice, ConfigError, RingError, OSError, ValueError) as error:
        print(f"swift-safe-to-pull: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    try:
        found = [(target, check(cluster, target, targets, options)) for target in targets]
    except KeyboardInterrupt:
        print("swift-safe-to-pull: error: interrupted, there is no answer", file=sys.stderr)
        return EXIT_NO
    return _answer(found, options)


def check(cluster: Cluster, target: Target, targets: Sequence[Target], options: Values) -> list[Part]:
    """The parts of one device: accounts, containers, and objects by policy. `targets`: all that are to be pulled."""
    from swift.cli.pull_databases import DatabaseCheck
    from swift.cli.pull_findings import Part
    from swift.cli.pull_objects import ObjectCheck
    from swift.cli.pull_views import Here, database_view, object_view
    from swift.db.replication.peer import Timeouts
    from swift.obj.device_view import Unanswered
    from swift.obj.replication.peers import Peers

    def pulled(ring: str) -> frozenset[int]:
        return frozenset(other.nodes[ring]["id"] for other in targets if ring in other.nodes)

    here = Here(options.devices, not options.no_mount_check)
    timeouts = Timeouts(min(CONNECT_SECONDS, options.timeout), options.timeout)
    peers = Peers(timeouts.connect, options.timeout, options.timeout)
    dead = None
    if options.dead:
        from swift.cli.pull_dead import DeadCheck

        dead = DeadCheck(cluster, target, pulled, peers, timeouts, here, options.quick)
    parts = []
    for kind in ("account", "container"):
        parts.append(part := Part(f"{kind}s", None, kind, "row"))
        if dead is not None:
            dead.databases(part, kind)
            continue
        try:
            found = database_view(cluster, target, kind, timeouts, here)
        except Unanswered as error:
            part.problem("not-told", why=str(error))
            continue
        if found is not None:
            ring, own = cluster.rings[kind], target.nodes.get(kind)
            DatabaseCheck(part, found, ring, own, pulled(kind), timeouts).run()
    for policy in cluster.policies:
        name = policy.ring_name
        parts.append(part := Part("objects", policy.name, "partition", "object"))
        if dead is not None:
            dead.objects(part, policy)
            continue
        try:
            view = object_view(cluster, target, policy, peers, here)
        except Unanswered as error:
            part.problem("not-told", why=str(error))
            continue
        if view is not None:
            ring, own = cluster.rings[name], target.nodes.get(name)
            tell = _teller(f"{target}: {part.title}")
            ObjectCheck(part, view, policy, ring, own, pulled(name), peers, options.quick, tell).run()
    return parts


def _teller(what: str) -> Callable[[int, int], None]:
    """Says how far the work is, on a terminal."""
    if not sys.stderr.isatty():
        return lambda done, total: None

    def tell(done: int, total: int) -> None:
        print(f"\r\x1b[K{what}: {done} of {total} partitions", end="", file=sys.stderr, flush=True)

    return tell


def _answer(found: Sequence[tuple[Target, Sequence[Part]]], options: Values) -> int:
    yes = all(part.is_whole for _, parts in found for part in parts)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    if options.json:
        document = {
            "safe_to_pull": yes,
            "dead": options.dead,
            "devices": [
                {
                    "device": str(target),
                    "safe_to_pull": all(part.is_whole for part in parts),
                    "parts": [part.document() for part in parts],
                }
                for target, parts in found
            ],
        }
        print(json.dumps(document, indent=2, sort_keys=True))
    elif not options.quiet:
        for target, parts in found:
            _print(target, parts, options.dead)
    sys.stdout.flush()
    return EXIT_YES if yes else EXIT_NO


def _print(target: Target, parts: Sequence[Part], dead: bool) -> None:
    if all(part.is_whole for part in parts):
        print(f"{target}: YES, it may be pulled")
    else:
        print(f"{target}: NO, {'what it held is not whole elsewhere' if dead else 'it must stay'}")
    for part in parts:
        for line in part.lines():
            print(f"  {line}")
