"""What servers answered, made into figures: lowest, highest, average and total over hosts, ages of passes, fill of disks.

What lives here: pure functions from answers, which may hold anything, to numbers. What never does: asking, printing, judging.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from swift.survey.answers import Answer, Host

MOST = 1e100  # what is more is no figure of a server's, and sums of it are none at all
Picked = Callable[[Answer], Any]


class Figures(NamedTuple):
    """One value of all hosts that answered. `values`: those that are numbers; `nothing`: how many hosts have none."""

    name: str
    values: Sequence[float]
    nothing: int

    @property
    def average(self) -> float:
        return sum(self.values) / len(self.values)

    @property
    def failed(self) -> float:
        """Percent of the hosts that have no value."""
        return 100.0 * self.nothing / (len(self.values) + self.nothing)

    def line(self) -> str:
        if not self.values:
            return f"[{self.name}] - No hosts returned valid data."
        low, high, total = min(self.values), max(self.values), sum(self.values)
        return (
            f"[{self.name}] low: {int(low)}, high: {int(high)}, avg: {self.average:.1f}, total: {int(total)}, "
            f"Failed: {self.failed:.1f}%, no_result: {self.nothing}, reported: {len(self.values)}"
        )

    def document(self) -> dict[str, Any]:
        if not self.values:
            return {"reported": 0, "no_result": self.nothing}
        return {
            "low": min(self.values),
            "high": max(self.values),
            "average": self.average,
            "total": sum(self.values),
            "failed_percent": self.failed,
            "no_result": self.nothing,
            "reported": len(self.values),
        }


def number(value: Any) -> float | None:
    """A number that can be added up and compared with others of its kind, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -MOST < value < MOST else None


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def figures(name: str, values: Iterable[Any]) -> Figures:
    """`values`: of each host that answered, whatever they are."""
    found = [number(value) for value in values]
    numbers = [value for value in found if value is not None]
    return Figures(name, numbers, len(found) - len(numbers))


class Completion(NamedTuple):
    """When a host's last pass ended, in seconds since the epoch; 0: never."""

    last: float
    host: Host


def completions(answers: Iterable[Answer], *keys: str) -> list[Completion]:
    """Oldest first; the first of `keys` that a host has. Hosts without any are left out."""
    found = []
    for answer in answers:
        document = mapping(answer.document)
        lasts = [last for key in keys if (last := number(document.get(key))) is not None]
        if lasts:
            found.append(Completion(lasts[0], answer.host))
    return sorted(found)


class Disk(NamedTuple):
    """One disk as its server sees it, in bytes. `size` may be more than what is used and available: some is kept for root."""

    host: Host
    device: str
    size: float
    used: float
    available: float

    @property
    def percent(self) -> float:
        return 100.0 * self.used / self.size


def disks(answers: Iterable[Answer]) -> Iterator[Disk]:
    """The disks that say how full they are."""
    for answer in answers:
        for entry in answer.document if isinstance(answer.document, list) else ():
            entry = mapping(entry)
            size, used, available = (number(entry.get(key)) for key in ("size", "used", "avail"))
            if size and used is not None and available is not None and size > 0:
                yield Disk(answer.host, str(entry.get("device")), size, used, available)


def unmounted(answers: Iterable[Answer]) -> Iterator[tuple[Host, str, str]]:
    """(host, device, the error or '' for one that is just not mounted)."""
    for answer in answers:
        for entry in answer.document if isinstance(answer.document, list) else ():
            entry = mapping(entry)
            state = entry.get("mounted")
            if state is not True:
                yield answer.host, str(entry.get("device")), state if isinstance(state, str) else ""


def auditor_passes(document: Any, kind: str) -> list[Mapping[str, Any]]:
    """The passes of a node's object-auditor: one, or one of each of its processes."""
    stats = mapping(mapping(document).get(f"object_auditor_stats_{kind}"))
    nested: list[Mapping[str, Any]] = [value for value in stats.values() if isinstance(value, dict)]
    return nested or ([stats] if stats else [])


def versions(answers: Iterable[Answer]) -> dict[str, int]:
    """How many hosts have which version."""
    found: Counter[str] = Counter()
    for answer in answers:
        version = mapping(answer.document).get("version")
        if isinstance(version, str):
            found[version] += 1
    return dict(found)


def clock_off(answer: Answer, jitter: float = 0.0) -> float | None:
    """Seconds by which a host's clock differs from ours, 0 if it is within the time of the question; None if it tells none."""
    remote = number(answer.document)
    if remote is None:
        return None
    if answer.began - jitter <= remote <= answer.ended + jitter:
        return 0.0
    return abs(remote - answer.ended)


def span(seconds: float) -> str:
    """In the largest unit that is not below one."""
    unit = "s"
    for longer, name in ((60, "m"), (60, "h"), (24, "d")):
        if seconds < longer:
            break
        seconds, unit = seconds / longer, name
    return f"{round(seconds)}{unit}"
