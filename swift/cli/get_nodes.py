"""swift-get-nodes: which devices hold an account, container, object or partition (spec ring 13, operations 12.1).

What lives here: the command line. The lines that it prints about a ring are in ``swift.cli.ring_locations``.
"""

from __future__ import annotations

import optparse
import os
import sys
from typing import NoReturn
from urllib.parse import unquote

from swift.cli.output import complain
from swift.cli.ring_locations import Target, datadir_of, object_ring_policy, print_locations, print_target
from swift.core.config import DEFAULT_SWIFT_DIR
from swift.core.errors import ConfigError
from swift.core.hashing import load_hash_config
from swift.core.policy import StoragePolicy, load_policies
from swift.ring.errors import RingError
from swift.ring.lookup import Ring

EXIT_SUCCESS, EXIT_ERROR = 0, 1
_USAGE = """%prog [-a] <ring.gz> <account> [<container> [<object>]]
       %prog [-a] <ring.gz> -p <partition>
       %prog [-a] -P <policy> <account> [<container> [<object>]]
       %prog [-a] -P <policy> -p <partition>

Shows the devices that hold an item, then those that stand in for them (handoffs).
Account, container and object may also be one argument, separated by "/"."""


class _Refused(Exception):
    """The arguments don't make sense: help is shown, then this."""


class _Parser(optparse.OptionParser):
    def error(self, msg: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.get_prog_name()}: error: {msg}\n")


def _parser(prog: str) -> optparse.OptionParser:
    parser = _Parser(usage=_USAGE, prog=prog)
    parser.add_option("-a", "--all", action="store_true", default=False, help="show all handoffs")
    parser.add_option("-p", "--partition", metavar="PARTITION", help="show the devices of this partition")
    parser.add_option("-P", "--policy-name", metavar="POLICY", help="name or alias of a storage policy")
    parser.add_option(
        "-d", "--swift-dir", default=DEFAULT_SWIFT_DIR, help="where swift.conf and the rings are"
    )
    parser.add_option("-Q", "--quoted", action="store_true", default=False, help="names are percent-quoted")
    return parser


def _split_target(values: list[str]) -> Target:
    if len(values) == 1:
        values = values[0].strip("/").split("/", 2)
    if len(values) > 3:
        raise _Refused("Invalid arguments")
    names = [value or None for value in values] + [None] * (3 - len(values))
    return Target(*names)


def _partition(text: str | None) -> int | None:
    if text is None:
        return None
    part = int(text)
    if part < 0:
        raise ValueError(f"Invalid partition {text}")
    return part


def _ring_path(target: Target, policy: StoragePolicy, part: int | None, swift_dir: str) -> str:
    """The ring of the swift directory that a path, or a partition of a policy, belongs to."""
    if target.obj or (part is not None and not target.account):
        name = policy.ring_name
    else:
        name = "container" if target.container else "account"
    return os.path.join(swift_dir, f"{name}.ring.gz")


def _locate(options: optparse.Values, values: list[str]) -> None:
    ring_file = None
    policy = None
    if options.policy_name is not None:
        policy = load_policies(options.swift_dir).get_by_name(options.policy_name)
        if policy is None:
            raise _Refused(f"No policy named {options.policy_name!r}")
    elif values and values[0].endswith(".ring.gz"):
        ring_file, *values = values
        if not os.path.exists(ring_file):
            raise _Refused("Ring file does not exist")
    else:
        raise _Refused("Need to specify policy_name or <ring.gz>")
    if options.quoted:
        values = [unquote(value) for value in values]
    if not values and options.partition is None:
        raise _Refused("No target specified")
    part = _partition(options.partition)
    target = _split_target(values) if values else Target()
    if not target.account and part is None:
        raise ValueError("No target specified")
    if (target.container and not target.account) or (target.obj and not target.container):
        raise ValueError("No container specified" if target.account else "No account specified")

    beside = os.path.dirname(os.path.abspath(ring_file)) if ring_file else ""
    if (
        beside
        and options.swift_dir == DEFAULT_SWIFT_DIR
        and os.path.exists(os.path.join(beside, "swift.conf"))
    ):
        options.swift_dir = beside  # the ring that is named has the settings of its own cluster
    load_hash_config(options.swift_dir)
    path = ring_file or _ring_path(target, policy, part, options.swift_dir)  # type: ignore[arg-type]
    ring = Ring(path)
    ring_name = os.path.basename(path).removesuffix(".ring.gz")
    _warn_of_another_ring(target, ring_name)
    print_target(target)
    print_locations(
        ring,
        target,
        datadir_of(target, ring_name),
        part=part,
        all_handoffs=options.all,
        policy_index=_policy_index(target, ring_name, policy),
    )


def _warn_of_another_ring(target: Target, ring_name: str) -> None:
    if target.obj or not target.account:
        return
    if target.container and ring_name != "container":
        print('WARNING: account/container specified but ring not named "container"')
    if not target.container and ring_name != "account":
        print('WARNING: account specified but ring not named "account"')


def _policy_index(target: Target, ring_name: str, policy: StoragePolicy | None) -> int | None:
    """Of the header in the curl lines: always for a named policy's objects, for a ring file only if it names one."""
    if target.account and not target.obj:
        return None
    if policy is not None:
        return policy.idx
    return (object_ring_policy(ring_name) or None) if target.obj else None


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv if argv is None else argv
    parser = _parser(os.path.basename(argv[0]))
    options, values = parser.parse_args(argv[1:])
    try:
        _locate(options, values)
        sys.stdout.flush()
    except _Refused as error:
        parser.print_help()
        print(f"ERROR: {error}", file=sys.stderr)
        return EXIT_ERROR
    except (ValueError, OSError, ConfigError, RingError) as error:
        complain(error)
        return EXIT_ERROR
    return EXIT_SUCCESS
