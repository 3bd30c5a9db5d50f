"""swift-cluster: one description of a cluster, and all of its machines brought to it.

What lives here: the command line, and what people are told. What never does: what follows from a description (swift/deploy).
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence

from swift.cli.cluster_steps import EXAMPLE, steps
from swift.core.errors import ConfigError
from swift.deploy import applying, tree
from swift.deploy import state as kept
from swift.deploy.described import Description, DescriptionError, Node
from swift.deploy.description import load
from swift.deploy.nodes import AT_ONCE, SECONDS, SSH, NodeFailed, Pushing, Way, chosen, on_all
from swift.deploy.state import State
from swift.ring.errors import RingError


class CommandError(Exception):
    """Ends the command with this one line."""


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args) or 0)
    except DescriptionError as err:
        for line in err.lines:
            print(f"swift-cluster: {line}", file=sys.stderr)
        return 1
    except (CommandError, ConfigError, RingError) as err:
        print(f"swift-cluster: {err}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still buffered
        return 0
    except OSError as err:
        print(
            f"swift-cluster: {err.filename or ''}: {err.strerror or err}".replace(": :", ":"), file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="swift-cluster",
        description="One description of a cluster (cluster.toml), and all of its machines brought to it.",
        epilog="Begin with: swift-cluster example > cluster.toml. Passwords of users are in the folder STATE, for nobody else to read: keep a backup of it.",
    )
    parser.add_argument(
        "-d", "--description", default="cluster.toml", metavar="FILE", help="the description (cluster.toml)"
    )
    parser.add_argument(
        "--state",
        metavar="DIR",
        help="where builders, rings and secrets are kept (state, beside the description)",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="where what each node has is written (out, beside the description)"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int | None], text: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        added.set_defaults(run=run)
        return added

    command("example", _example, "print a description to begin with")
    for name, run, text in (
        ("plan", _plan, "say what apply would change, and change nothing"),
        ("apply", _apply, "make rings and files, here; nothing is sent to nodes"),
    ):
        changing = command(name, run, text)
        changing.add_argument(
            "--remove",
            action="append",
            default=[],
            metavar="NODE/DISK",
            help="a disk that may be taken out of the rings; again for more",
        )
        changing.add_argument(
            "--rebalance",
            action="store_true",
            help="move what is still to move, where nothing else has changed",
        )
    pushing = command("push", _push, "bring what was applied to nodes; what is there already is left alone")
    _choosing(pushing)
    pushing.add_argument(
        "--activate",
        action="store_true",
        help="start what is to run, reload what has changed, stop what is not wanted",
    )
    pushing.add_argument(
        "--overwrite",
        action="store_true",
        help="also files that were changed there; FILE.replaced keeps each",
    )
    pushing.add_argument(
        "--careful", action="store_true", help="begin with no other node after one has failed"
    )
    for name in ("check", "status"):
        checking = command(
            name,
            _check,
            "compare all nodes with what was applied: files, rings, services (exit status 1 if anything differs)",
        )
        _choosing(checking)
    running = command("run", _run, "run a command on nodes")
    _choosing(running)
    running.add_argument(
        "--careful", action="store_true", help="begin with no other node after one has failed"
    )
    running.add_argument(
        "words",
        nargs="+",
        metavar="WORD",
        help="{node}, {address}, {swift_dir}, {run_dir}, {devices} are replaced",
    )
    command("steps", _steps, "say what is to be done by hand on a node").add_argument(
        "node", nargs="*", help="all of them if none is named"
    )
    command("adopt", _adopt, "take over hash settings and builders of a cluster that is there").add_argument(
        "directory", help="its /etc/swift"
    )
    command("secret", _secret, "keep a secret that options name, from standard input").add_argument("name")
    command("show-key", _show_key, "print the key of a user").add_argument("user", metavar="ACCOUNT:USER")
    return parser


def _choosing(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--nodes", default="", metavar="A,B", help="these nodes (all)")
    add("--role", action="append", default=[], help="nodes of this role")
    add("--zone", action="append", default=[], type=int, help="nodes of this zone")
    add(
        "--at-once",
        type=int,
        default=AT_ONCE,
        metavar="N",
        help=f"nodes at a time ({AT_ONCE}); 1 for one after the other",
    )
    add(
        "--ssh",
        default=os.environ.get("SWIFT_CLUSTER_SSH") or SSH,
        metavar="COMMAND",
        help=f"how to get there ($SWIFT_CLUSTER_SSH, or {SSH}); {{node}} and {{address}} in it are replaced",
    )
    add("--sudo", action="store_true", help="the user there is not root, and may use sudo")
    add("--timeout", type=float, default=SECONDS, metavar="S", help=f"seconds for one node ({SECONDS:g})")


def _folder(args: argparse.Namespace, name: str) -> str:
    return getattr(args, name) or os.path.join(os.path.dirname(os.path.abspath(args.description)), name)


def _opened(args: argparse.Namespace) -> tuple[Description, State]:
    return load(args.description), State(_folder(args, "state"))


# -- here -----------------------------------------------------------------------------------------------------------------


def _example(args: argparse.Namespace) -> None:
    print(EXAMPLE, end="")


def _plan(args: argparse.Namespace) -> None:
    description, state = _opened(args)
    found = applying.plan(description, state, _folder(args, "out"), args.remove, args.rebalance)
    _tell(found)
    print("nothing is to be done" if found.is_empty else "apply does it")


def _apply(args: argparse.Namespace) -> None:
    description, state = _opened(args)
    with state.locked():
        found = applying.plan(description, state, _folder(args, "out"), args.remove, args.rebalance)
        warnings = applying.apply(found)
    _tell(found)
    for line in warnings:
        print(f"warning: {line}", file=sys.stderr)
    print("nothing was to be done" if found.is_empty else "applied; push brings it to the nodes")


def _tell(found: applying.Plan) -> None:
    if found.made:
        print(f"secrets made, kept in {found.state.folder}: {', '.join(found.made)}")
    for change in found.rings:
        if change.lines or change.hints:
            print(f"ring {change.ring}")
        for line in (*change.lines, *change.hints):
            print(f"  {line}")
    for one in found.nodes:
        if one.lines:
            print(f"node {one.node.name} ({one.node.address})")
        for line in one.lines:
            print(f"  {line}")
    for name in tree.stale_nodes(found.out, found.description):
        print(
            f"{name} is not described any more: once it is empty, stop it, and remove {os.path.join(found.out, name)}"
        )


def _adopt(args: argparse.Namespace) -> None:
    for line in kept.adopt(State(_folder(args, "state")), args.directory):
        print(f"took {line}")
    print("now describe its nodes; plan says what would change")


def _secret(args: argparse.Namespace) -> None:
    state = State(_folder(args, "state"))
    text = sys.stdin.read(1 << 16).strip("\n")
    if not text or any(ord(c) < 32 for c in text):
        raise CommandError("standard input is to be one line, the secret")
    if args.name.startswith("swift_hash_path_") and args.name in state.secrets:
        raise CommandError(f"{args.name} decides where data is found and never changes")
    with state.locked():
        state.secrets[args.name] = text
        state.save()


def _show_key(args: argparse.Namespace) -> None:
    description, state = _opened(args)
    for user in description.users:
        if user.full_name == args.user:
            key = user.key or state.secrets.get(f"user {user.full_name}")
            if key is None:
                raise CommandError(f"{args.user} has no key yet: apply makes it")
            print(key)
            return
    raise CommandError(f"the description has no user {args.user}")


def _steps(args: argparse.Namespace) -> None:
    description = load(args.description)
    for node in _chosen(description, args.node):
        print(steps(description, node))


# -- on nodes -------------------------------------------------------------------------------------------------------------


def _chosen(
    description: Description, names: Sequence[str], roles: Sequence[str] = (), zones: Sequence[int] = ()
) -> list[Node]:
    try:
        found = chosen(description, names, roles, zones)
    except ValueError as err:
        raise CommandError(str(err)) from None
    if not found:
        raise CommandError("no node is meant by that")
    return found


def _nodes(args: argparse.Namespace, description: Description) -> list[Node]:
    if args.at_once < 1:
        raise CommandError("--at-once is to be 1 or more")
    return _chosen(description, [name for name in args.nodes.split(",") if name], args.role, args.zone)


def _push(args: argparse.Namespace) -> int:
    description = load(args.description)
    nodes = _nodes(args, description)
    if args.activate and description.manager == "none":
        raise CommandError(
            '--activate starts nothing with manager = "none": push, and start services as you do'
        )
    out = _folder(args, "out")
    for node in nodes:
        tree.NodeTree.of(out, node).check()
    pushing = Pushing(description, out, Way(args.ssh, args.sudo, args.timeout), args.overwrite, args.activate)

    def told(lines: list[str]) -> str:
        return ", ".join(lines) or "nothing was to be done"

    return _on_all(args, nodes, pushing.push, told, "pushed", "push")


def _check(args: argparse.Namespace) -> int:
    description = load(args.description)
    nodes = _nodes(args, description)
    pushing = Pushing(description, _folder(args, "out"), Way(args.ssh, args.sudo, args.timeout))

    def work(node: Node) -> list[str]:
        found = pushing.check(node)
        if found:
            raise NodeFailed(", ".join(found))
        return found

    args.careful = False
    return _on_all(args, nodes, work, lambda found: "as it should be", "as they should be", "check")


def _run(args: argparse.Namespace) -> int:
    description = load(args.description)
    nodes = _nodes(args, description)
    way = Way(args.ssh, args.sudo, args.timeout)

    def work(node: Node) -> str:
        words = args.words
        for name in ("node", "address", "swift_dir", "run_dir", "devices"):
            value = node.name if name == "node" else getattr(node, name)
            words = [word.replace("{" + name + "}", value) for word in words]
        command = words[0] if len(words) == 1 else shlex.join(words)
        status, out, err = way.run(
            node, f'env PATH="{description.commands}:$PATH" sh -c {shlex.quote(command)}'
        )
        said = (out + err).rstrip("\n")
        if status:
            raise NodeFailed(
                f"exit status {status}" + "".join(f"\n{node.name}: {line}" for line in said.splitlines())
            )
        return said

    def told(said: str) -> str:
        return said or "done"

    return _on_all(args, nodes, work, told, "done", "run")


def _on_all(
    args: argparse.Namespace, nodes: list[Node], work: Callable, told: Callable, word: str, name: str
) -> int:
    failed, well = [], 0
    for node, outcome in on_all(nodes, work, args.at_once, args.careful):
        if isinstance(outcome, NodeFailed):
            failed.append(node.name)
            print(f"{node.name}: FAILED: {outcome}", flush=True)
        else:
            well += 1
            for line in told(outcome).splitlines():
                print(f"{node.name}: {line}", flush=True)
    if failed:
        untouched = len(nodes) - well - len(failed)
        more = f"; not begun with {untouched}" if untouched else ""
        again = "" if name == "check" else " Mend that and say it again: what is done stays as it is."
        print(
            f"swift-cluster: {well} of {len(nodes)} nodes {word}; not: {', '.join(failed)}{more}.{again}",
            file=sys.stderr,
        )
        return 1
    print(f"{well} of {len(nodes)} nodes {word}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
