"""swift-s3-keys: access keys of S3's own for tempauth's users (spec s3.md 27). What the file holds is `tempauth.s3_keys`' matter."""

from __future__ import annotations

import argparse
import json
import sys

from swift.core import clock
from swift.middleware.tempauth import s3_keys
from swift.middleware.tempauth.s3_keys import BadKeysFile, S3Key

DEFAULT_FILE = "/etc/swift/s3-keys.json"
DESCRIPTION = """Access keys for S3 of users in [filter:tempauth]: its option s3_keys_file names the same file. Several for each user; the
proxies see a change within two seconds. A secret is shown once, when it is made."""


def main(argv: list[str] | None = None) -> int:
    """Run the command with sys.argv; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except KeyError as error:
        print(f"{arguments.file}: there is no access key {error.args[0]}", file=sys.stderr)
        return 1
    except (BadKeysFile, OSError) as error:
        print(f"{arguments.file}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="swift-s3-keys", description=DESCRIPTION)
    parser.add_argument("-f", "--file", default=DEFAULT_FILE, help="default: %(default)s")
    parser.add_argument("-j", "--json", action="store_true", help="tell it in JSON")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("add", help="a new key of a user")
    command.add_argument("user", help="<account>:<name>")
    command.add_argument("--access-key", help="one of your own choice, without a colon")
    command.set_defaults(run=_add)
    command = commands.add_parser("list", help="the keys, without their secrets")
    command.add_argument("user", nargs="?", help="<account>:<name>, else all")
    command.set_defaults(run=_list)
    for name, run, told in (
        ("rotate", _rotate, "a new secret; the one before it counts until it is retired"),
        ("retire", _retire, "let only the newest secret count"),
        ("disable", _disable, "switch a key off"),
        ("enable", _enable, "switch it on again"),
        ("remove", _remove, "forget a key"),
    ):
        command = commands.add_parser(name, help=told)
        command.add_argument("access_key")
        command.set_defaults(run=run)
    return parser


def _add(arguments: argparse.Namespace) -> None:
    name, secret = s3_keys.change(
        arguments.file, lambda keys: s3_keys.add(keys, arguments.user, arguments.access_key)
    )
    _show_secret(arguments, name, secret)


def _rotate(arguments: argparse.Namespace) -> None:
    secret = s3_keys.change(arguments.file, lambda keys: s3_keys.rotate(keys, arguments.access_key))
    _show_secret(arguments, arguments.access_key, secret)


def _retire(arguments: argparse.Namespace) -> None:
    s3_keys.change(arguments.file, lambda keys: s3_keys.retire(keys, arguments.access_key))


def _disable(arguments: argparse.Namespace) -> None:
    s3_keys.change(arguments.file, lambda keys: s3_keys.switch(keys, arguments.access_key, True))


def _enable(arguments: argparse.Namespace) -> None:
    s3_keys.change(arguments.file, lambda keys: s3_keys.switch(keys, arguments.access_key, False))


def _remove(arguments: argparse.Namespace) -> None:
    s3_keys.change(arguments.file, lambda keys: keys.pop(arguments.access_key))


def _show_secret(arguments: argparse.Namespace, name: str, secret: str) -> None:
    if arguments.json:
        print(json.dumps({"access_key": name, "secret_key": secret}))
    else:
        print(f"Access key: {name}\nSecret key: {secret}")


def _list(arguments: argparse.Namespace) -> None:
    found = {
        name: key
        for name, key in sorted(s3_keys.load(arguments.file).items())
        if arguments.user in (None, key.user)
    }
    if arguments.json:
        print(json.dumps([{"access_key": name, **_told(key)} for name, key in found.items()]))
        return
    for name, key in found.items():
        told = _told(key)
        print(f"{name}  {told['user']}  {told['created']}  {told['secrets']} secret(s)  {told['state']}")


def _told(key: S3Key) -> dict[str, str | int]:
    created = clock.strftime("%Y-%m-%dT%H:%M:%SZ", clock.gmtime(key.created))
    state = "disabled" if key.disabled else "enabled"
    return {"user": key.user, "created": created, "secrets": len(key.secrets), "state": state}
