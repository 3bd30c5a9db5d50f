"""The checks of swift-recon: what each asks of which servers, and the lines and figures that it makes of the answers.

What lives here: one class a check, and the table of them. What never does: asking, options, thresholds. The lines are the reference's
letter by letter: programs read them. Spec: operations.md 11.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from swift.cli.recon_hosts import one_port_each
from swift.survey.answers import KINDS, OPTIONS, Answer, Host, md5_of
from swift.survey.figures import (
    Completion,
    Figures,
    auditor_passes,
    clock_off,
    completions,
    disks,
    figures,
    mapping,
    number,
    unmounted,
    versions,
)

_STARS = 69
_SIZES = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")


@dataclass
class Seen:
    """What one check has to go by. `answers`: to its question, of all hosts that were asked; `swift_dir`: with the own rings."""

    kind: str
    hosts: Sequence[Host]
    answers: Sequence[Answer]
    swift_dir: str
    now: float
    rings: Sequence[str] = ()  # the names of the rings of the kind
    human: bool = False
    top: int = 0
    lowest: int = 0
    jitter: float = 0.0
    verbose: bool = False
    came: list[Answer] = field(init=False)

    def __post_init__(self) -> None:
        self.came = [answer for answer in self.answers if answer.came]

    def documents(self) -> Iterator[Any]:
        return (mapping(answer.document) for answer in self.came)


class Check(ABC):
    """`name`: of its option and in documents; `kinds`: of the servers that can be asked; `refusal`: what is said about others."""

    name = ""
    kinds: Sequence[str] = KINDS
    refusal = ""

    @abstractmethod
    def question(self, kind: str) -> str:
        """What is asked: a path below /recon/, or OPTIONS."""

    @abstractmethod
    def heading(self, seen: Seen) -> str:
        """What stands above its lines."""

    def hosts(self, hosts: Sequence[Host]) -> Sequence[Host]:
        """Those that are asked."""
        return hosts

    def figures(self, seen: Seen) -> list[Figures]:
        """The numbers in it."""
        return []

    def lines(self, seen: Seen) -> Iterable[str]:
        """What is printed, without heading and frame."""
        return [one.line() for one in self.figures(seen)]

    def appendix(self, seen: Seen) -> Iterable[str]:
        """What is printed below the frame."""
        return []


class _Values(Check):
    """Single values of a document, each over all hosts."""

    def __init__(self, name: str, question: str, heading: str, values: dict[str, str], kinds: Sequence[str] = KINDS, refusal: str = "") -> None:  # fmt: skip
        """`values`: by the name that they are told by, their keys in the document; `{kind}` stands for the server's."""
        self.name, self._question, self._heading, self._values = name, question, heading, values
        self.kinds, self.refusal = kinds, refusal

    def question(self, kind: str) -> str:
        return self._question.format(kind=kind)

    def heading(self, seen: Seen) -> str:
        return self._heading

    def figures(self, seen: Seen) -> list[Figures]:
        return [
            figures(
                name.format(kind=seen.kind),
                [document.get(key.format(kind=seen.kind)) for document in seen.documents()],
            )
            for name, key in self._values.items()
        ]


class _Sweeps(_Values):
    """Daemons that have made no pass yet don't count as hosts without a value."""

    def figures(self, seen: Seen) -> list[Figures]:
        return [one._replace(nothing=0) for one in super().figures(seen)]


class _Passes(_Values):
    """Values of a daemon's last pass, counts of it, and when the passes ended."""

    def __init__(
        self, *args: Any, last: Sequence[str], stats: str = "", counts: Sequence[str] = (), **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self.last, self._stats, self._counts = last, stats, counts

    def figures(self, seen: Seen) -> list[Figures]:
        found = super().figures(seen)
        stats = [mapping(document.get(self._stats)) for document in seen.documents()]
        for count in self._counts:
            values = [one[count] for one in stats if one.get(count) is not None]
            name = f"replication_{count}" if self.name == "replication" and values else count
            found.append(figures(name, values))
        return found

    def lines(self, seen: Seen) -> Iterable[str]:
        yield from super().lines(seen)
        found = completions(seen.came, *self.last)
        if found:
            oldest, newest = found[0], found[-1]
            yield f"Oldest completion was {_completion(oldest, seen.now)}"
            if newest.last:
                yield f"Most recent completion was {_completion(newest, seen.now)}"


class _DatabaseAuditor(_Sweeps):
    """The auditors of accounts and containers."""

    def lines(self, seen: Seen) -> Iterable[str]:
        if not seen.came:
            return ["Error: No hosts available"]
        found = [*super().lines(seen)]
        since = [number(document.get(f"{seen.kind}_audits_since")) for document in seen.documents()]
        known = [value for value in since if value is not None]
        if known:
            oldest, newest, average = min(known), max(known), sum(known) / len(known)
            found.append(
                f"[last_pass] oldest: {_date(oldest)}, newest: {_date(newest)}, avg: {_date(average)}"
            )
        else:
            found.append(f"[{seen.kind}_audits_since] - No hosts returned valid data.")
        return found


class _ObjectAuditor(Check):
    """Both passes of the auditors of objects; processes of a host are added up."""

    name = "auditor"
    kinds = ("object",)

    def question(self, kind: str) -> str:
        return "auditor/object"

    def heading(self, seen: Seen) -> str:
        return "Checking auditor stats "

    def figures(self, seen: Seen) -> list[Figures]:
        found = []
        for kind in ("ALL", "ZBF"):
            hosts = [auditor_passes(document, kind) for document in seen.documents()]
            hosts = [passes for passes in hosts if passes]
            if not hosts:
                found.append(Figures(f"{kind}_auditor", [], 0))
                continue
            for key in ("audit_time", "bytes_processed", "passes", "errors", "quarantined"):
                if kind == "ZBF" and key == "passes":
                    continue
                sums = [sum(number(one.get(key)) or 0 for one in passes) for passes in hosts]
                found.append(figures(f"{kind}_{key}_last_path", sums))
        return found


class _Unmounted(Check):
    name = "unmounted"

    def question(self, kind: str) -> str:
        return "unmounted"

    def heading(self, seen: Seen) -> str:
        return f"Getting unmounted drives from {len(seen.hosts)} hosts..."

    def lines(self, seen: Seen) -> Iterable[str]:
        for host, device, error in unmounted(seen.came):
            yield f"{'Device errors' if error else 'Not mounted'}: {device} on {host}"


class _DiskUsage(Check):
    name = "diskusage"

    def question(self, kind: str) -> str:
        return "diskusage"

    def heading(self, seen: Seen) -> str:
        return "Checking disk usage now"

    def hosts(self, hosts: Sequence[Host]) -> Sequence[Host]:
        return one_port_each(hosts)

    def figures(self, seen: Seen) -> list[Figures]:
        found = [*disks(seen.came)]
        return [figures("disk_percent", [disk.percent for disk in found])] if found else []

    def lines(self, seen: Seen) -> Iterable[str]:
        known = {answer.host for answer in seen.came if [*disks([answer])]}
        for answer in seen.came:
            if answer.host not in known:
                yield f"-> {answer.url}: Error. No drive info available."
        found = [*disks(seen.came)]
        if not found:
            yield "No hosts returned valid data."
            return
        percents = [disk.percent for disk in found]
        yield "Distribution Graph:"
        buckets = Counter(int(percent) for percent in percents)
        most = max(buckets.values())
        for percent, count in sorted(buckets.items()):
            yield f"{percent:3d}%{count:5d} {'*' * (_STARS * count // most)}"
        used, free = sum(disk.used for disk in found), sum(disk.available for disk in found)
        size = used + free
        yield f"Disk usage: space used: {_size(used, seen.human)} of {_size(size, seen.human)}"
        yield f"Disk usage: space free: {_size(free, seen.human)} of {_size(size, seen.human)}"
        yield f"Disk usage: lowest: {min(percents):.2f}%, highest: {max(percents):.2f}%, avg: {100.0 * used / size if size else 0.0}%"

    def appendix(self, seen: Seen) -> Iterable[str]:
        found = sorted(disks(seen.came), key=lambda disk: disk.percent)
        for title, count, chosen in (
            ("TOP", seen.top, found[::-1][: seen.top]),
            ("LOWEST", seen.lowest, found[: seen.lowest]),
        ):
            if count:
                yield f"{title} {count}"
                for disk in chosen:
                    yield f"{disk.percent:.02f}%  {disk.host.ip:<15} {disk.device}"


class Compared(Check):
    """What hosts answer compared with what is here."""

    difference_is_error = False  # counts as one, as in the reference

    def __init__(self) -> None:
        self._here: dict[str, str] = {}

    @abstractmethod
    def differences(self, seen: Seen, answer: Answer) -> list[str]:
        """What is other than here, as it stands in parentheses; none if all is the same."""

    def here(self, seen: Seen, name: str) -> str:
        """The MD5 of a file of this side. Raises OSError."""
        path = os.path.join(seen.swift_dir, name)
        if path not in self._here:
            self._here[path] = md5_of(path)
        return self._here[path]

    def before(self, seen: Seen) -> Iterable[str]:
        """What is told of this side, verbosely."""
        return []

    def matching(self, seen: Seen) -> list[Answer]:
        return [answer for answer in seen.came if not self.differences(seen, answer)]

    def lines(self, seen: Seen) -> Iterable[str]:
        errors = len(seen.answers) - len(seen.came)
        for answer in seen.came:
            different = self.differences(seen, answer)
            for text in different:
                errors += self.difference_is_error
                yield f"!! {answer.url} ({text}) doesn't match on disk md5sum"
            if not different and seen.verbose:
                yield f"-> {answer.url} matches."
        yield f"{len(self.matching(seen))}/{len(seen.answers)} hosts matched, {errors} error[s] while checking hosts."


class _RingSums(Compared):
    name = "md5"
    difference_is_error = True

    def question(self, kind: str) -> str:
        return "ringmd5"

    def heading(self, seen: Seen) -> str:
        return "Checking ring md5sums"

    def _sums(self, seen: Seen) -> dict[str, str]:
        found = {}
        for ring in seen.rings:
            name = f"{ring}.ring.gz"
            found[name] = self.here(seen, name)
        return found

    def before(self, seen: Seen) -> Iterable[str]:
        for name, digest in self._sums(seen).items():
            yield f"-> On disk {name} md5sum: {digest}"

    def differences(self, seen: Seen, answer: Answer) -> list[str]:
        there = {os.path.basename(path): digest for path, digest in mapping(answer.document).items()}
        here = self._sums(seen)
        return [f"{name} => {there[name]}" for name in here if name in there and there[name] != here[name]]


class _ConfSum(Compared):
    name = "swiftconf"

    def question(self, kind: str) -> str:
        return "swiftconfmd5"

    def heading(self, seen: Seen) -> str:
        return "Checking swift.conf md5sum"

    def _sum(self, seen: Seen) -> str:
        return self.here(seen, "swift.conf")

    def before(self, seen: Seen) -> Iterable[str]:
        yield f"-> On disk swift.conf md5sum: {self._sum(seen)}"

    def differences(self, seen: Seen, answer: Answer) -> list[str]:
        return [str(there) for there in mapping(answer.document).values() if there != self._sum(seen)]


class _Plainly(Check):
    """Without names where there is nothing."""

    def lines(self, seen: Seen) -> Iterable[str]:
        return [one.line() if one.values else "No hosts returned valid data." for one in self.figures(seen)]


class _Sockets(_Plainly, _Values):
    pass


class _Quarantined(_Plainly):
    name = "quarantined"

    def question(self, kind: str) -> str:
        return "quarantined"

    def heading(self, seen: Seen) -> str:
        return "Checking quarantine"

    def figures(self, seen: Seen) -> list[Figures]:
        documents = [*seen.documents()]
        of_policies = [mapping(document.get("policies")) for document in documents]
        indexes = sorted(
            {index for one in of_policies for index in one}, key=lambda index: (len(index), index)
        )
        found = []
        for index in indexes:
            counts = [mapping(one[index]).get("objects") for one in of_policies if index in one]
            found.append(figures(f"quarantined_objects_{index}", counts))
        for kind in ("objects", "containers", "accounts"):
            found.append(figures(f"quarantined_{kind}", [document.get(kind) for document in documents]))
        return found


class _Servers(Check):
    name = "validate_servers"

    def question(self, kind: str) -> str:
        return OPTIONS

    def heading(self, seen: Seen) -> str:
        return f"Validating server type '{seen.kind}' on {len(seen.hosts)} hosts..."

    def lines(self, seen: Seen) -> Iterable[str]:
        wrong = wrong_servers(seen)
        for answer in seen.came:
            if answer in wrong:
                yield f"Invalid: {answer.url} is {_server(answer)}"
        errors = len(seen.answers) - len(seen.came) + len(wrong)
        yield f"{len(seen.came) - len(wrong)}/{len(seen.answers)} hosts ok, {errors} error[s] while checking hosts."


class _Time(Check):
    name = "time"

    def question(self, kind: str) -> str:
        return "time"

    def heading(self, seen: Seen) -> str:
        return "Checking time-sync"

    def lines(self, seen: Seen) -> Iterable[str]:
        errors = len(seen.answers) - len(seen.came)
        matches = 0
        for answer in seen.came:
            off = clock_off(answer, seen.jitter)
            if off is None:
                errors += 1
            elif off:
                remote = number(answer.document) or 0.0
                yield (
                    f"!! {answer.url} current time is {_date(answer.ended)}, but remote is {_date(remote)}, differs by "
                    f"{off:.4f} sec"
                )
            else:
                matches += 1
                if seen.verbose:
                    yield f"-> {answer.url} matches."
        yield f"{matches}/{len(seen.answers)} hosts matched, {errors} error[s] while checking hosts."


class _Versions(Check):
    name = "swift_versions"

    def question(self, kind: str) -> str:
        return "version"

    def heading(self, seen: Seen) -> str:
        return "Checking versions"

    def lines(self, seen: Seen) -> Iterable[str]:
        if seen.verbose:
            for answer in seen.came:
                yield f"-> {answer.url} installed version {mapping(answer.document).get('version')}"
        found = versions(seen.came)
        if not found:
            yield "No hosts returned valid data."
            return
        errors = len(seen.answers) - len(seen.came)
        verdict = "matched" if len(found) == 1 else "not matched"
        yield f"Versions {verdict} ({', '.join(sorted(found))}), {errors} error[s] while checking hosts."


# -- what thresholds and other commands need as well ---------------------------------------------------------------------


def wrong_servers(seen: Seen) -> list[Answer]:
    """Those at whose address another kind of server is."""
    return [answer for answer in seen.came if _server(answer) != f"{seen.kind}-server"]


def _server(answer: Answer) -> str:
    return str(answer.document).partition("/")[0]


def _date(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def _completion(found: Completion, now: float) -> str:
    if not found.last:
        return f"NEVER by {found.host}."
    ago = now - found.last
    for limit, unit in ((60, "second"), (3600, "minute"), (86400, "hour"), (None, "day")):
        if limit is None or ago < limit:
            count = int(ago / {"second": 1, "minute": 60, "hour": 3600, "day": 86400}[unit])
            plural = "" if count == 1 else "s"
            return f"{_date(found.last)} ({count} {unit}{plural} ago) by {found.host}."
    raise AssertionError("unreachable")


def _size(size: float, human: bool) -> str:
    if not human:
        return str(int(size) if isinstance(size, int) or float(size).is_integer() else size)
    whole, unit = int(size), 0
    while whole >= 1000 and unit < len(_SIZES) - 1:
        whole, unit = whole // 1000, unit + 1
    return f"{whole} {_SIZES[unit]}"


_REPLICATION = _Passes(
    "replication", "replication/{kind}", "Checking on replication", {"replication_time": "replication_time"},
    last=("replication_last", "object_replication_last"), stats="replication_stats", counts=("failure", "success", "attempted"),
)  # fmt: skip
_SHARDING = _Passes(
    "sharding", "sharding", "Checking on sharders", {"sharding_time": "sharding_time"}, kinds=("container",),
    refusal="Error: Can't check sharding on non container servers.",
    last=("sharding_last",), stats="sharding_stats", counts=("attempted", "failure", "success"),
)  # fmt: skip
_DATABASE_AUDITOR = _DatabaseAuditor(
    "auditor", "auditor/{kind}", "Checking auditor stats",
    {f"{{kind}}_{key}": f"{{kind}}_{key}" for key in ("auditor_pass_completed", "audits_failed", "audits_passed")},
    kinds=("account", "container"),
)  # fmt: skip
_OBJECT_AUDITOR = _ObjectAuditor()
RING_SUMS, CONF_SUM = _RingSums(), _ConfSum()

CHECKS: dict[str, Sequence[Check]] = {
    "async": [_Values("async", "async", "Checking async pendings", {"async_pending": "async_pending"}, ("object",), "Error: Can't check asyncs on non object servers.")],
    "unmounted": [_Unmounted()],
    "replication": [_REPLICATION],
    "auditor": [_OBJECT_AUDITOR, _DATABASE_AUDITOR],
    "updater": [_Sweeps("updater", "updater/{kind}", "Checking updater times", {"updater_last_sweep": "{kind}_updater_sweep"}, ("container", "object"), "Error: Can't check updaters on account servers.")],
    "expirer": [_Values("expirer", "expirer/object", "Checking on expirers", {key: key for key in ("object_expiration_pass", "expired_last_pass")}, ("object",), "Error: Can't check expirer on non object servers.")],
    "sharding": [_SHARDING],
    "reconstruction": [_Passes("reconstruction", "reconstruction/object", "Checking on reconstructors", {"object_reconstruction_time": "object_reconstruction_time"}, ("object",), "Error: Can't check reconstruction stats on non object servers.", last=("object_reconstruction_last",))],
    "loadstats": [_Values("loadstats", "load", "Checking load averages", {f"{minutes}_load_avg": minutes for minutes in ("1m", "5m", "15m")})],
    "diskusage": [_DiskUsage()],
    "md5": [RING_SUMS, CONF_SUM],
    "quarantined": [_Quarantined()],
    "sockstat": [_Sockets("sockstat", "sockstat", "Checking socket usage", {key: key for key in ("tcp_in_use", "tcp_mem_allocated_bytes", "tcp6_in_use", "time_wait", "orphan")})],
    "validate_servers": [_Servers()],
    "driveaudit": [_Values("driveaudit", "driveaudit", "Checking drive-audit errors", {"drive_audit_errors": "drive_audit_errors"})],
    "time": [_Time()],
    "swift_versions": [_Versions()],
}  # fmt: skip
