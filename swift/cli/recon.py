"""swift-recon: what all servers of a cluster say of themselves, as text, as JSON, or judged by thresholds for monitoring.

What lives here: the command line, and the order of asking and telling. What never does: what is asked and made of the answers
(`recon_checks`), and thresholds (`recon_thresholds`). Spec: operations.md 11.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from optparse import OptionGroup, OptionParser, Values
from typing import TYPE_CHECKING, Any

from swift.core import clock, concurrency

if TYPE_CHECKING:
    from swift.cli.recon_checks import Check, Seen
    from swift.cli.recon_hosts import Rings
    from swift.core.policy import StoragePolicy
    from swift.survey.answers import Answer, Host

EXIT_USAGE, EXIT_UNKNOWN = 1, 3
_FRAME = "=" * 79
_KINDS = ("account", "container", "object")
_USAGE = """%prog [account] [container] [object] [options]

Asks the servers of the rings what they know of themselves, without an account
and without ssh: at http://IP:PORT/recon/... of each. Without a server type,
object servers. The exit status is 0 whatever is found, but with --check.

  swift-recon --all                              everything, of object servers
  swift-recon container --sharding --auditor     of container servers
  swift-recon account container object --md5     do all have the same rings?
  swift-recon --check replication=2h:1d,unmounted,diskusage=85:92"""


class _Parser(OptionParser):
    def format_epilog(self, formatter: Any) -> str:
        return f"\n{self.epilog}\n" if self.epilog else ""


def _parser() -> OptionParser:
    from swift.cli import recon_thresholds

    parser = _Parser(usage=_USAGE, prog="swift-recon", epilog=recon_thresholds.TOLD)
    flag: Any = {"action": "store_true", "default": False}
    parser.add_option("-v", "--verbose", help="print each answer", **flag)
    parser.add_option("--suppress", help="don't print which hosts could not be asked", **flag)
    checks = OptionGroup(parser, "Checks")
    for names, text in (
        (("-a", "--async"), "updates of containers that wait"),
        (("-r", "--replication"), "the last replication pass"),
        (("-R", "--reconstruction"), "the last reconstruction pass"),
        (("--auditor",), "the last audit"),
        (("--updater",), "the last pass of the updaters"),
        (("--expirer",), "the last pass of the expirers"),
        (("--sharding",), "the last pass of the sharders"),
        (("-u", "--unmounted"), "disks that are not mounted"),
        (("-d", "--diskusage"), "how full disks are"),
        (("-l", "--loadstats"), "load averages"),
        (("-q", "--quarantined"), "what lies in quarantine"),
        (("--validate-servers",), "is the right server at each address?"),
        (("--md5",), "have all the rings and the swift.conf of this machine?"),
        (("--sockstat",), "sockets in use"),
        (("--driveaudit",), "errors that swift-drive-audit found"),
        (("-T", "--time"), "do clocks agree?"),
        (("--swift-versions",), "do versions agree?"),
        (("--all",), "all of these"),
    ):
        checks.add_option(*names, help=text, **flag)
    parser.add_option_group(checks)
    parser.add_option("--human-readable", help="sizes with units (powers of 1,000)", **flag)
    parser.add_option(
        "--jitter", type="float", default=0.0, help="seconds by which clocks may differ (%default)"
    )
    parser.add_option(
        "--top", type="int", metavar="COUNT", default=0, help="with -d: the COUNT fullest disks, too"
    )
    parser.add_option(
        "--lowest", type="int", metavar="COUNT", default=0, help="with -d: the COUNT emptiest disks, too"
    )
    parser.add_option("--region", type="int", help="only servers of this region")
    parser.add_option("-z", "--zone", type="int", help="only servers of this zone")
    parser.add_option(
        "-t", "--timeout", type="float", metavar="SECONDS", default=5.0, help="to wait for a connection, and for an answer (%default)"
    )  # fmt: skip
    parser.add_option(
        "--swiftdir", default="/etc/swift", help="where the rings and swift.conf are (%default)"
    )
    parser.add_option(
        "-p", "--policy", help="only object servers of this storage policy (name, alias or index)"
    )
    parser.add_option("--json", help="one document with everything that was found, by check and host", **flag)
    parser.add_option("--check", metavar="LIST", help="judge by thresholds, see below")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    concurrency.patch()
    parser = _parser()
    if not words:
        print(_FRAME)
        parser.print_help()
        return 0
    options, kinds = parser.parse_args(words)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        return _run(parser, options, kinds)
    except KeyboardInterrupt:
        print()
        return EXIT_UNKNOWN if options.check else 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_UNKNOWN if options.check else 0


def _run(parser: OptionParser, options: Values, words: Sequence[str]) -> int:
    from swift.cli import recon_thresholds
    from swift.cli.recon_hosts import Rings
    from swift.core import swift_dir
    from swift.core.errors import SwiftError
    from swift.core.policy import policies
    from swift.ring.errors import RingError

    kinds = list(dict.fromkeys(words)) or ["object"]
    machine = options.json or options.check
    try:
        unknown = [kind for kind in kinds if kind not in _KINDS]
        limits = recon_thresholds.parse(options.check) if options.check else []
        if not machine and unknown:
            print(_FRAME)
            print("Invalid Server Type")
            parser.print_help()
            return EXIT_USAGE
        if unknown:
            raise ValueError(f"Invalid Server Type: {unknown[0]}")
        if not 0 < options.timeout < 1e6:
            raise ValueError("--timeout must be above 0")
        swift_dir.use(options.swiftdir)
        policy = None
        if options.policy is not None:
            policy = policies().get_by_name_or_index(options.policy)
            if policy is None and machine:
                raise ValueError(f"Invalid Storage Policy: {options.policy}")
            if policy is None:
                print(_FRAME)
                print(f"Invalid Storage Policy: {options.policy}")
                parser.print_help()
                return 0
        rings = Rings(options.swiftdir)
        if options.check:
            return _judge(limits, words, rings, policy, options)
        found = [_Asked(kind, rings, policy, options, _chosen(kind, options)) for kind in kinds]
        if options.json:
            return _print_document(found, options)
        print(_FRAME)
        for asked in found:
            asked.run()
            asked.print()
        return 0
    except (SwiftError, RingError, OSError, ValueError) as error:
        print(f"swift-recon: {error}", file=sys.stderr)
        return EXIT_UNKNOWN if options.check else EXIT_USAGE


def _chosen(kind: str, options: Values) -> list[str]:
    """The names of the checks that are wanted, in their order; with --all those that there are for the kind."""
    from swift.cli.recon_checks import CHECKS

    names = list(CHECKS)
    if not options.all:
        return [name for name in names if getattr(options, name)]
    first = ("async", "auditor", "updater", "expirer", "reconstruction", "sharding")
    order = [*first, *(name for name in ("replication", *names) if name not in first)]
    return [name for name in dict.fromkeys(order) if any(kind in check.kinds for check in CHECKS[name])]


class _Asked:
    """One kind of server and the checks of it. `told`: (check, what it saw), once it has run."""

    def __init__(
        self, kind: str, rings: Rings, policy: StoragePolicy | None, options: Values, names: Sequence[str]
    ) -> None:
        from swift.cli.recon_checks import CHECKS

        self.kind, self.options, self.rings = kind, options, rings
        self.policy = policy if kind == "object" else None
        self.hosts: list[Host] = rings.hosts(kind, self.policy, options.region, options.zone)
        self.refused = [
            CHECKS[name][0].refusal
            for name in names
            if not any(kind in check.kinds for check in CHECKS[name])
        ]
        self.checks: list[tuple[str, Check]] = [
            (name, check) for name in names for check in CHECKS[name] if kind in check.kinds
        ]
        self.told: list[tuple[Check, Seen]] = []

    def run(self) -> None:
        """Ask."""
        from swift.cli.recon_checks import Seen
        from swift.cli.recon_hosts import ask
        from swift.core.policy import policies

        questions: dict[Host, list[str]] = {host: [] for host in self.hosts}
        for _, check in self.checks:
            for host in check.hosts(self.hosts):
                questions[host].append(check.question(self.kind))
        by_question: dict[str, list[Answer]] = {}
        for answer in ask(
            ((host, list(dict.fromkeys(asked))) for host, asked in questions.items()), self.options.timeout
        ):
            by_question.setdefault(answer.question, []).append(answer)
        ring_names = [self.kind]
        if self.kind == "object":
            ring_names = sorted(one.ring_name for one in policies() if self.policy in (None, one))
        for _, check in self.checks:
            asked = set(check.hosts(self.hosts))
            answers = [one for one in by_question.get(check.question(self.kind), ()) if one.host in asked]
            seen = Seen(
                self.kind, self.hosts, answers, self.options.swiftdir, clock.time(), ring_names, self.options.human_readable,
                self.options.top, self.options.lowest, self.options.jitter, self.options.verbose,
            )  # fmt: skip
            self.told.append((check, seen))

    def print(self) -> None:
        print(f"--> Starting reconnaissance on {len(self.hosts)} hosts ({self.kind})")
        print(_FRAME)
        for text in self.refused:
            print(text)
            print(_FRAME)
        for check, seen in self.told:
            print(f"[{_now()}] {check.heading(seen)}")
            for line in _preface(check, seen, self.options):
                print(_printable(line))
            ended = True
            for line in check.lines(seen):
                print(_printable(line))
                ended = not line.startswith("Error: ")
            if ended:
                print(_FRAME)
            for line in check.appendix(seen):
                print(_printable(line))
        sys.stdout.flush()

    def document(self) -> dict[str, Any]:
        """Everything, by check and host."""
        checks = {}
        for check, seen in self.told:
            hosts = {
                str(answer.host): ({"answer": answer.document} if answer.came else {"error": answer.error})
                | {"seconds": round(answer.ended - answer.began, 6)}
                for answer in seen.answers
            }
            checks[check.name] = {
                "figures": {one.name: one.document() for one in check.figures(seen)},
                "hosts": hosts,
                "lines": [*check.lines(seen)],
            }
        return {"hosts": [str(host) for host in self.hosts], "checks": checks}


def _preface(check: Check, seen: Seen, options: Values) -> Iterable[str]:
    """What hosts answered, and which could not be asked."""
    from swift.cli.recon_checks import Compared

    if seen.verbose and isinstance(check, Compared):
        yield from check.before(seen)
    for answer in seen.answers:
        if not answer.came:
            if seen.verbose or not options.suppress:
                yield f"-> {answer.url}: {answer.error}"
        elif seen.verbose and check.name != "validate_servers":
            yield f"-> {answer.url}: {answer.document}"


def _print_document(found: Sequence[_Asked], options: Values) -> int:
    for asked in found:
        asked.run()
    document = {
        "asked_at": clock.time(),
        "swift_dir": options.swiftdir,
        "servers": {asked.kind: asked.document() for asked in found},
    }
    print(json.dumps(document, indent=2, sort_keys=True))
    return 0


def _judge(
    limits: Sequence[Any], words: Sequence[str], rings: Rings, policy: StoragePolicy | None, options: Values
) -> int:
    from swift.cli import recon_thresholds

    options.verbose = False
    found = []
    for kind in dict.fromkeys(words or _KINDS):
        names = [limit.check for limit in limits if limit.check]
        asked = _Asked(kind, rings, policy, options, list(dict.fromkeys(names)))
        asked.run()
        found.append((kind, asked.hosts, asked.told))
    status, lines = recon_thresholds.judge(limits, found)
    for line in lines:
        print(_printable(line))
    return status


def _now() -> str:
    return clock.strftime("%Y-%m-%d %H:%M:%S", clock.gmtime())


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join([letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line])


if __name__ == "__main__":
    sys.exit(main())
