"""swift-copies: every copy of an object, container or account, and its repair; exit status 0 if all is whole in the end, 1 if not, 2 for bad use.

Lives here: the command line and what is told. What is asked is in `object_copies` and `database_copies`, what is done also in `object_repair`.
"""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from optparse import OptionParser, Values
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote

from swift.core import concurrency

if TYPE_CHECKING:
    from swift.cli.cluster import Cluster
    from swift.cli.copy_states import Aside, Place
    from swift.cli.database_copies import DatabaseCopies
    from swift.cli.object_copies import ObjectCopies
    from swift.obj.device_view import DeviceView

EXIT_WHOLE, EXIT_NOT_WHOLE, EXIT_USAGE = 0, 1, 2
CONNECT_SECONDS = 5.0
_USAGE = """%prog [options] /ACCOUNT[/CONTAINER[/OBJECT]]
       %prog [options] ACCOUNT [CONTAINER [OBJECT]]

Shows each copy of an object (or container, or account): where it is or
should be, its state, timestamp, checksum and size (of a database: its rows),
and what is in quarantine of it. States: data, tombstone, missing,
non-durable, damaged, unmounted, unreachable; of databases: data, deleted.

--repair brings the primaries up to date from the newest good copy.
--unquarantine brings back from quarantine what proves whole, where nothing
newer is.

Exit status: 0 all primaries have the newest (after what was done), 1 some
have not, 2 bad use."""


class BadUse(ValueError):
    """The text says what is wrong."""


class _Parser(OptionParser):
    def error(self, msg: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.get_prog_name()}: error: {msg}\n")


def _parser() -> OptionParser:
    parser = _Parser(usage=_USAGE, prog="swift-copies")
    parser.add_option(
        "-d", "--swift-dir", default=None, help="where swift.conf and the rings are (/etc/swift)"
    )
    parser.add_option("-P", "--policy-name", help="the object's storage policy, if not its container's")
    parser.add_option(
        "-a", "--all", action="store_true", default=False, help="ask all devices, not only some handoffs"
    )
    parser.add_option("-Q", "--quoted", action="store_true", default=False, help="names are percent-quoted")
    parser.add_option(
        "--verify", action="store_true", default=False, help="read all bytes of each copy of an object"
    )
    parser.add_option("--repair", action="store_true", default=False, help="bring the primaries up to date")
    parser.add_option(
        "--unquarantine",
        action="store_true",
        default=False,
        help="bring back from quarantine what proves whole",
    )
    parser.add_option("--json", action="store_true", default=False, help="the answer as JSON")
    parser.add_option(
        "--devices",
        metavar="DIR",
        default="/srv/node",
        help="where this machine's disks are mounted, to look into the quarantine of those that the reference serves (%default)",
    )
    parser.add_option(
        "--no-mount-check", action="store_true", default=False, help="disks there may be plain directories"
    )
    parser.add_option(
        "--timeout", type="float", default=60.0, help="seconds that a node may take for an answer (%default)"
    )
    return parser


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.cli.cluster import Cluster
    from swift.core.errors import ConfigError
    from swift.ring.errors import RingError

    options, words = _parser().parse_args()
    try:
        names = _names(words, options.quoted)
        if not 0 < options.timeout < 1e6:
            raise BadUse("--timeout must be above 0")
        cluster = Cluster(options.swift_dir)
        shown = (
            ObjectReport(cluster, names, options)
            if len(names) == 3
            else DatabaseReport(cluster, names, options)
        )
    except (BadUse, ConfigError, RingError, OSError, ValueError) as error:
        print(f"swift-copies: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    try:
        return shown.run()
    except KeyboardInterrupt:
        print("swift-copies: error: interrupted", file=sys.stderr)
        return EXIT_NOT_WHOLE


def _names(words: Sequence[str], quoted: bool) -> tuple[str, ...]:
    """Raises BadUse."""
    if not words:
        raise BadUse("of what? See --help.")
    names = words[0].removeprefix("/").split("/", 2) if len(words) == 1 else list(words)
    if len(words) == 1 and not names[-1]:
        names.pop()
    if not 1 <= len(names) <= 3 or not all(names):
        raise BadUse(f"no name of an account, container or object: {' '.join(words)}")
    if quoted:
        names = [unquote(name, errors="surrogateescape") for name in names]
    try:
        for name in names:
            name.encode()
    except UnicodeEncodeError:
        raise BadUse("names must be UTF-8") from None
    if len(names) > 1 and any("/" in name for name in names[:2]):
        raise BadUse("names of accounts and containers have no slash")
    return tuple(names)


class _Report(ABC):
    """What both kinds share: look, act, look again, tell."""

    copies: ObjectCopies | DatabaseCopies

    def __init__(self, options: Values) -> None:
        self.options = options
        self.done: list[str] = []

    def run(self) -> int:
        """Returns the exit status."""
        self.copies.look()
        if self.options.unquarantine:
            self.unquarantine()
            self.copies.look()
        if self.options.repair:
            self.repair()
            self.copies.look()
        whole = self.is_anywhere() and not self.copies.lacking
        aside, silent = self.aside()
        if self.options.json:
            self._print_json(whole, aside, silent)
        else:
            self._print(whole, aside, silent)
        sys.stdout.flush()
        return EXIT_WHOLE if whole else EXIT_NOT_WHOLE

    def unquarantine(self) -> None:
        """Bring back what proves whole."""
        aside, _ = self.aside()
        if not aside:
            self.done.append("nothing is in quarantine where it could be looked for")
        for found in aside:
            refused = found.fault or self.take_back(found)
            what = f"{found.place}: {found.entry}"
            self.done.append(f"{what}: stays: {refused}" if refused else f"{what}: brought back")

    # what differs between the kinds

    @abstractmethod
    def title(self) -> str:
        """The first line."""

    @abstractmethod
    def is_anywhere(self) -> bool:
        """Returns True if anybody has a copy."""

    @abstractmethod
    def aside(self) -> tuple[list[Aside], list[Place]]:
        """(what is in quarantine, who could not be asked about it)."""

    @abstractmethod
    def take_back(self, found: Aside) -> str:
        """Bring one back; why it stays, or nothing."""

    @abstractmethod
    def repair(self) -> None:
        """Bring the primaries up to date; what was done is in `done`."""

    def verdict(self, whole: bool) -> str:
        lacking = ", ".join(map(str, self.copies.lacking))
        if whole:
            return "All primaries have the newest."
        return f"NOT whole: {lacking}" if self.is_anywhere() else "There is no copy."

    def _print(self, whole: bool, aside: Sequence[Aside], silent: Sequence[Place]) -> None:
        from swift.cli.copy_states import table

        print(self.title())
        for line in table(self.copies.copies):
            print(f"  {line}")
        for found in aside:
            print(f"  in quarantine: {found.line()}")
        if silent:
            print(f"  quarantine not looked into: {', '.join(map(str, silent))}")
        for text in self.done:
            print(f"  {text}")
        print(self.verdict(whole))

    def _print_json(self, whole: bool, aside: Sequence[Aside], silent: Sequence[Place]) -> None:
        document: dict[str, Any] = {
            "path": "/" + "/".join(self.copies.name if hasattr(self.copies, "name") else self.copies.names),
            "partition": self.copies.partition,
            "whole": whole,
            "copies": [copy.document() for copy in self.copies.copies],
            "lacking": [str(place) for place in self.copies.lacking],
            "quarantined": [
                {
                    "node": str(found.place),
                    "path": f"{found.path}/{found.entry}",
                    "timestamp": found.timestamp,
                    "fault": found.fault,
                }
                for found in aside
            ],
            "quarantine_unknown": [str(place) for place in silent],
            "done": self.done,
        }
        print(json.dumps(document, indent=2, sort_keys=True))


class ObjectReport(_Report):
    """Of one object. Raises BadUse where its policy is not known."""

    copies: ObjectCopies

    def __init__(self, cluster: Cluster, names: Sequence[str], options: Values) -> None:
        from swift.cli.object_copies import Name, ObjectCopies, Timeouts, policy_of
        from swift.obj.replication.peers import Peers

        super().__init__(options)
        timeouts = Timeouts(min(CONNECT_SECONDS, options.timeout), options.timeout)
        name = Name(*names)
        if options.policy_name is not None:
            wanted = options.policy_name.strip().lower()
            policy = next(
                (p for p in cluster.policies if wanted in (str(p.idx), *(n.lower() for n in p.aliases))),
                None,
            )
            if policy is None:
                raise BadUse(f"there is no policy {options.policy_name}")
        else:
            policy = policy_of(cluster, name, timeouts)
            if policy is None:
                raise BadUse("no server knows the container: name the object's policy with -P")
        handoffs = None if options.all else len(cluster.rings[policy.ring_name].get_part_nodes(0))
        self.copies = ObjectCopies(cluster, name, policy, timeouts, handoffs, options.verify)
        self.peers = Peers(timeouts.connect, timeouts.answer, timeouts.answer)
        self._views: dict[int, DeviceView] | None = None

    def title(self) -> str:
        return f"{self.copies.name}: policy {self.copies.policy.name}, partition {self.copies.partition}, hash {self.copies.name_hash}"

    def is_anywhere(self) -> bool:
        return self.copies.newest is not None

    @property
    def views(self) -> dict[int, DeviceView]:
        """How each device's quarantine can be looked into."""
        if self._views is None:
            self._views = {place.node["id"]: self._view(place) for place in self.copies.places}
        return self._views

    def _view(self, place: Place) -> DeviceView:
        from swift.cli.cluster import is_here
        from swift.obj.device_view import LocalDevice, RemoteDevice, Unanswered

        remote = RemoteDevice(place.node, self.peers)
        try:
            remote.set_aside(self.copies.policy, self.copies.partition, self.copies.name_hash)
        except Unanswered:
            if not is_here([place.node]):
                return remote
            try:
                return LocalDevice(
                    self.options.devices, place.node["device"], not self.options.no_mount_check
                )
            except Unanswered:
                return remote
        return remote

    def aside(self) -> tuple[list[Aside], list[Place]]:
        return self.copies.aside(self.views)

    def take_back(self, found: Aside) -> str:
        from swift.obj.device_view import Unanswered

        copies = self.copies
        try:
            _, refused = self.views[found.place.node["id"]].take_back(
                copies.policy, copies.partition, copies.name_hash, found.entry
            )
            return refused
        except Unanswered as error:
            return str(error)

    def repair(self) -> None:
        from swift.cli.object_repair import ObjectRepair

        ObjectRepair(self.copies, self.done.append).run()


class DatabaseReport(_Report):
    """Of an account or a container."""

    copies: DatabaseCopies

    def __init__(self, cluster: Cluster, names: Sequence[str], options: Values) -> None:
        from swift.cli.database_copies import DatabaseCopies
        from swift.cli.object_copies import Timeouts

        super().__init__(options)
        kind = "account" if len(names) == 1 else "container"
        handoffs = None if options.all else len(cluster.rings[kind].get_part_nodes(0))
        timeouts = Timeouts(min(CONNECT_SECONDS, options.timeout), options.timeout)
        self.copies = DatabaseCopies(cluster, tuple(names), timeouts, handoffs)

    def title(self) -> str:
        return f"/{'/'.join(self.copies.names)}: {self.copies.kind}, partition {self.copies.partition}, hash {self.copies.name_hash}"

    def is_anywhere(self) -> bool:
        return self.copies.is_anywhere

    def aside(self) -> tuple[list[Aside], list[Place]]:
        return self.copies.aside()

    def take_back(self, found: Aside) -> str:
        return self.copies.take_back(found)

    def repair(self) -> None:
        self.copies.repair(self.done.append)
