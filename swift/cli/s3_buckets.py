"""swift-s3-buckets: the names of buckets where they are of the whole cluster (`bucket_namespace = global`): registers what is there already,
shows whose a name is, and gives it back (doc/s3.md). What an entry is, is `s3.bucket_names.registry`'s matter."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from swift.core import concurrency

if TYPE_CHECKING:
    from swift.s3.bucket_names.registry import Registry
    from swift.wire.internal import InternalClient

DESCRIPTION = """Names of buckets, each of which is one account's in the whole cluster (bucket_namespace = global in [filter:s3api])."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status: 0, or 1 where a name is another's or something could not be found out."""
    args = _parser().parse_args(argv)
    concurrency.patch()
    from swift.core.errors import ConfigError
    from swift.core.swift_dir import use as use_swift_dir
    from swift.s3.bucket_names.registry import Busy, Registry, Unknown
    from swift.s3.lifecycle.daemon import make_client
    from swift.wire.internal import UnexpectedResponse

    conf = {"internal_client_conf_path": args.conf} if args.conf else {}
    try:
        client = make_client(conf, use_swift_dir(args.swift_dir), "Swift S3 Buckets")
        return int(args.run(args, client, Registry(client.ask)))
    except Busy as error:
        print(f"{error}: others change it all the time", file=sys.stderr)
    except (Unknown, UnexpectedResponse, ConfigError, OSError) as error:
        print(error, file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="swift-s3-buckets", description=DESCRIPTION)
    parser.add_argument("--swift-dir", default="/etc/swift", help="where swift.conf and the rings are")
    parser.add_argument("--conf", help="the pipeline to work through (default: one of its own)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "register",
        help="have containers that are there registered for their accounts, and tell which can't be",
    )
    command.add_argument("account", nargs="*", help="storage accounts, AUTH_...")
    command.add_argument(
        "--devices", help="also all accounts that have a database below this directory: /srv/node"
    )
    command.add_argument("--dry-run", action="store_true", help="change nothing, only tell")
    command.add_argument(
        "--loose", action="store_true", help="names as with dns_compliant_bucket_names = false"
    )
    command.set_defaults(run=_register)
    command = commands.add_parser("show", help="whose a name is")
    command.add_argument("name", nargs="+")
    command.set_defaults(run=_show)
    command = commands.add_parser("release", help="make a name nobody's; not while its container is there")
    command.add_argument("name", nargs="+")
    command.set_defaults(run=_release)
    return parser


def _register(args: argparse.Namespace, client: InternalClient, names: Registry) -> int:
    from swift.s3.bucket_names.registry import Taken
    from swift.s3.names import is_bucket_name

    status = 0
    for account in dict.fromkeys([*args.account, *_accounts_below(args.devices)]):
        for row in client.iter_containers(account):
            name = row.get("name", "")
            if not is_bucket_name(name, not args.loose):
                continue
            try:
                seen = names.look(name)
                if seen.account == account:
                    continue
                if args.dry_run and seen.account is not None and not names.is_left(name, seen):
                    raise Taken(seen.account)
                if not args.dry_run:
                    names.say_made(name, names.claim(name, account))
                print(f"{name}  {account}")
            except Taken as error:
                print(f"{name}  {account}  conflict: it is {error.account}'s")
                status = 1
    return status


def _accounts_below(devices: str | None) -> Iterator[str]:
    """Of the account databases that this node has."""
    if devices is None:
        return
    import logging

    from swift.account.broker import AccountBroker
    from swift.core.constraints import limits
    from swift.db.walker import Walker

    walker = Walker(devices, False, AccountBroker.data_directory, logging.getLogger("swift-s3-buckets"))
    for _, path in walker.databases():
        broker = AccountBroker(path)
        if not broker.exists():
            continue
        account = broker.info()["account"]
        if not account.startswith(limits().auto_create_account_prefix):
            yield account


def _show(args: argparse.Namespace, client: InternalClient, names: Registry) -> int:
    for name in args.name:
        seen = names.look(name)
        told = seen.account or "nobody's"
        if seen.account is not None and not names.has_container(seen.account, name):
            told += "  there is no container"
        print(f"{name}  {told}")
    return 0


def _release(args: argparse.Namespace, client: InternalClient, names: Registry) -> int:
    status = 0
    for name in _each(args.name):
        seen = names.look(name)
        if seen.account is None:
            print(f"{name}: it is nobody's", file=sys.stderr)
        elif names.has_container(seen.account, name):
            print(f"{name}: {seen.account} has a container of that name", file=sys.stderr)
        elif not names.release(name, seen):
            print(f"{name}: it has changed meanwhile", file=sys.stderr)
        else:
            continue
        status = 1
    return status


def _each(names: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys(names)


if __name__ == "__main__":
    sys.exit(main())
