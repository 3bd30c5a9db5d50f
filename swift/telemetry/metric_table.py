"""A process's table of counts, and how those of several processes become one.

Counting is a dictionary update. Processes of one parent share a directory of small files: each writes its table there soon after a
change, and whichever worker is asked adds them up. What is counted is decided elsewhere, what it is called in `swift.telemetry.families`,
what it looks like for Prometheus in `swift.telemetry.prometheus`.
"""

from __future__ import annotations

import json
import os
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from swift.core import clock
from swift.core.concurrency import spawn_after
from swift.telemetry import families
from swift.telemetry.families import COUNTER, FAMILIES, HISTOGRAMS, LARGEST

MAX_SERIES = 10_000  # of each kind; what comes after is counted as `other`
WRITE_DELAY = 1.0  # seconds
WRITE_SHARE = 50  # times as long as a write took there is none
MAX_FILE_BYTES = 64 * 1024 * 1024

T = TypeVar("T")
Key = tuple[str, ...]
Wait = tuple[list[float], list[float]]  # a histogram's entry, a node's
Look = Callable[[], Iterable[tuple[Key, float]]]

_REQUEST_BOUNDS = HISTOGRAMS[families.REQUESTS].bounds
_WAIT_BOUNDS = HISTOGRAMS[families.BACKEND_WAIT].bounds
_KINDS = {3: "account", 4: "container"}  # by the number of slashes in /device/part/account/container/object
_NAMED_PATHS = frozenset(("GET", "HEAD", "PUT", "POST", "DELETE", "UPDATE"))

looks: list[Look] = []
"""Asked for what is not counted but is so at the moment, whenever a table is written or shown: ((family, *labels), value)."""


class Table:
    """`counts` and `levels` by (tail, name), `times` [count, seconds]; `histograms` and `values` by (family, *labels).

    `process`: what this process is called in labels.
    """

    def __init__(self, process: str = "") -> None:
        self.process = process
        self.counts: dict[Key, float] = {}
        self.levels: dict[Key, float] = {}
        self.times: dict[Key, list[float]] = {}
        self.histograms: dict[Key, list[float]] = {}  # buckets, count, sum
        self.values: dict[Key, float] = {}
        self.directory: str | None = None
        self.prefix = ""  # of our file's name there
        self.looks: list[Look] = looks
        # What is counted with each request, in a form in which that is quick; `look` has it in `values`.
        self._moved: dict[Key, list[float]] = {}  # by (server, method): bytes received, sent
        self._nodes: dict[Key, list[float]] = {}  # by (address,): answers, seconds
        self._waits: dict[tuple[str, int, str, int], Wait] = {}
        self._kinds: dict[tuple[str, int], str] = {}
        self._write_set = False
        self._write_after = 0.0

    # -- counting ------------------------------------------------------------------------------------------------------
    def count(self, tail: str, name: str, amount: float) -> None:
        key = (tail, name)
        counts = self.counts
        if key in counts:
            counts[key] += amount
        else:
            counts[_bounded(counts, key)] = counts.get(_bounded(counts, key), 0) + amount
        if not self._write_set and self.directory is not None:
            self._set_write()

    def set(self, tail: str, name: str, value: float) -> None:
        self.levels[_bounded(self.levels, (tail, name))] = value
        if not self._write_set and self.directory is not None:
            self._set_write()

    def time(self, tail: str, name: str, seconds: float) -> None:
        key = (tail, name)
        entry = self.times.get(key)
        if entry is None:
            entry = self.times.setdefault(_bounded(self.times, key), [0, 0.0])
        entry[0] += 1
        entry[1] += seconds
        if not self._write_set and self.directory is not None:
            self._set_write()

    def add(self, key: Key, amount: float) -> None:
        """Counts in one of FAMILIES. `key`: its name and labels."""
        values = self.values
        if key in values:
            values[key] += amount
        else:
            key = _bounded(values, key)
            values[key] = values.get(key, 0) + amount

    def observe(self, key: Key, seconds: float) -> None:
        """Notes a duration in one of HISTOGRAMS. `key`: its name and labels."""
        bounds = HISTOGRAMS[key[0]].bounds
        entry = self.histograms.get(key) or self._new_histogram(key, bounds)
        entry[bisect_left(bounds, seconds)] += 1
        entry[-2] += 1
        entry[-1] += seconds

    def request(
        self, server: str, method: str, status: str, policy: str, seconds: float, received: int, sent: int
    ) -> None:
        key = (families.REQUESTS, server, method, status, policy)
        entry = self.histograms.get(key) or self._new_histogram(key, _REQUEST_BOUNDS)
        entry[bisect_left(_REQUEST_BOUNDS, seconds)] += 1
        entry[-2] += 1
        entry[-1] += seconds
        if received or sent:
            moved = self._moved.get((server, method))
            if moved is None:
                moved = self._moved.setdefault(_bounded(self._moved, (server, method)), [0, 0])
            moved[0] += received
            moved[1] += sent
        if not self._write_set and self.directory is not None:
            self._set_write()

    def waited(self, ip: str, port: int, method: str, path: str, status: int, seconds: float) -> None:
        """A storage server has begun to answer. `path`: /device/part/account/container/object, the query with it."""
        wait = self._waits.get((ip, port, method, status))
        if wait is None:
            wait = self._new_wait(ip, port, method, path, status)
        entry, node = wait
        entry[bisect_left(_WAIT_BOUNDS, seconds)] += 1
        entry[-2] += 1
        entry[-1] += seconds
        node[0] += 1
        node[1] += seconds

    def _new_wait(self, ip: str, port: int, method: str, path: str, status: int) -> Wait:
        """What a server is for is told by the first thing that it is asked by name: an address has one server."""
        kind = self._kinds.get((ip, port), "")
        if not kind and method in _NAMED_PATHS:
            kind = _KINDS.get(path.partition("?")[0].count("/"), "object")
            if len(self._kinds) < MAX_SERIES:
                self._kinds[ip, port] = kind
        key = (families.BACKEND_WAIT, self.process, kind, method, str(status))
        name = _bounded(self._nodes, (f"{ip}:{port}",))
        wait = (
            self.histograms.get(key) or self._new_histogram(key, _WAIT_BOUNDS),
            self._nodes.setdefault(name, [0, 0.0]),
        )
        if kind and len(self._waits) < MAX_SERIES:
            self._waits[ip, port, method, status] = wait
        return wait

    def _new_histogram(self, key: Key, bounds: tuple[float, ...]) -> list[float]:
        return self.histograms.setdefault(_bounded(self.histograms, key), [0] * (len(bounds) + 1) + [0, 0.0])

    # -- sharing -------------------------------------------------------------------------------------------------------
    def _set_write(self) -> None:
        self._write_set = True
        spawn_after(max(WRITE_DELAY, self._write_after - clock.monotonic()), self.write)

    @property
    def file_name(self) -> str:
        return f"{self.prefix}{os.getpid()}"

    def write(self) -> None:
        """Puts this process's table where its siblings find it."""
        self._write_set = False
        if self.directory is None:
            return
        started = clock.monotonic()
        write_table(os.path.join(self.directory, self.file_name), self.as_json())
        ended = clock.monotonic()
        self._write_after = ended + (ended - started) * WRITE_SHARE

    def look(self) -> None:
        """Brings up to date what is not counted."""
        values = self.values
        for key in [key for key in values if _kind_of(key) != COUNTER]:
            del values[key]
        for (server, method), (received, sent) in self._moved.items():
            if received:
                values[families.RECEIVED, server, method] = received
            if sent:
                values[families.SENT, server, method] = sent
        for (node,), (answers, seconds) in self._nodes.items():
            values[families.NODE_WAITS, self.process, node] = answers
            values[families.NODE_SECONDS, self.process, node] = seconds
        for ask in list(self.looks):
            for key, value in ask():
                if key in values and _kind_of(key) != COUNTER:  # two servers of one process
                    value = max(value, values[key]) if _kind_of(key) == LARGEST else value + values[key]
                values[_bounded(values, key)] = value

    def as_json(self) -> dict[str, list]:
        self.look()
        return {
            "counts": [[*key, value] for key, value in self.counts.items()],
            "levels": [[*key, value] for key, value in self.levels.items()],
            "times": [[*key, list(value)] for key, value in self.times.items()],
            "histograms": [[*key, list(value)] for key, value in self.histograms.items()],
            "values": [[*key, value] for key, value in self.values.items()],
        }

    def add_json(self, data: Mapping[str, Any], counts_only: bool = False) -> None:
        """Adds another process's table to this one; what another version has written and can't be read is passed over.

        `counts_only`: of one that has ended, what was so at its time is not so any more.
        """
        try:
            for tail, name, value in data.get("counts", ()):
                self.counts[tail, name] = self.counts.get((tail, name), 0) + float(value)
            for tail, name, value in () if counts_only else data.get("levels", ()):
                self.levels[tail, name] = self.levels.get((tail, name), 0) + float(value)
            for *labels, value in data.get("values", ()):
                self._add_value(tuple(map(str, labels)), float(value), counts_only)
            for kind, own in (("times", self.times), ("histograms", self.histograms)):
                for *labels, values in data.get(kind, ()):
                    key = tuple(map(str, labels))
                    entry = own.get(key)
                    if entry is None:
                        own[key] = [float(number) for number in values]
                    else:
                        own[key] = [a + b for a, b in zip(entry, values, strict=True)]
        except (TypeError, ValueError, AttributeError):
            pass

    def _add_value(self, key: Key, value: float, counts_only: bool) -> None:
        kind = _kind_of(key)
        if counts_only and kind != COUNTER:
            return
        there = self.values.get(key)
        if there is None:
            self.values[key] = value
        else:
            self.values[key] = max(there, value) if kind == LARGEST else there + value

    def pids(self) -> list[int]:
        """This process and those that share its directory, as far as they live."""
        found = {os.getpid()}
        for name in names_in(self.directory) if self.directory is not None else ():
            pid = name.removeprefix(self.prefix)
            if pid.isdecimal():
                found.add(int(pid))
        return sorted(found)

    def silence(self) -> float:
        """Seconds since the sibling that has been silent for longest has written its table."""
        oldest = now = clock.time()
        for pid in self.pids():
            if pid != os.getpid() and self.directory is not None and os.path.exists(f"/proc/{pid}"):
                try:
                    oldest = min(
                        oldest, os.stat(os.path.join(self.directory, f"{self.prefix}{pid}")).st_mtime
                    )
                except OSError:
                    continue
        return now - oldest

    def merged(self, own: Mapping[str, Any] | None = None) -> Table:
        """This table and those of all siblings, dead ones included. `own`: what `as_json` said, if this is another thread."""
        total = Table(self.process)
        total.looks = []
        total.add_json(own if own is not None else self.as_json())
        if self.directory is not None:
            for name in names_in(self.directory):
                if name != self.file_name and not name.endswith(".tmp"):
                    total.add_json(read_table(os.path.join(self.directory, name)) or {})
        return total

    def forget(self) -> None:
        """Starts from nothing: a forked worker counts for itself."""
        for table in (self.counts, self.levels, self.times, self.histograms, self.values):
            table.clear()  # type: ignore[attr-defined]
        for quick in (self._moved, self._nodes, self._waits, self._kinds):
            quick.clear()  # type: ignore[attr-defined]
        self._write_set = False
        self._write_after = 0.0


def watch_weakly(what: T, look: Callable[[T], Iterable[tuple[Key, float]]]) -> None:
    """Has `look(what)` asked with the others for as long as `what` lives."""
    reference = weakref.ref(what)

    def ask() -> Iterable[tuple[Key, float]]:
        there = reference()
        if there is not None:
            yield from look(there)
        elif ask in looks:
            looks.remove(ask)

    looks.append(ask)


def retire(directory: str, path: str, dead_name: str = "dead") -> None:
    """Adds the table of a process that has ended to that of all dead ones, so that counts never go back."""
    data = read_table(path)
    if data is None:
        return
    dead = Table()
    dead.looks = []
    dead_path = os.path.join(directory, dead_name)
    dead.add_json(read_table(dead_path) or {}, counts_only=True)
    dead.add_json(data, counts_only=True)
    if write_table(dead_path, dead.as_json()):
        try:
            os.unlink(path)
        except OSError:
            pass


def _no_link(path: str, flags: int) -> int:
    """A parent that is root works in a directory of its workers: they shall not lead it elsewhere, nor keep it waiting."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)


def write_table(path: str, data: Mapping[str, Any]) -> bool:
    """Returns False if it can't be written: a table that can't be shared must not fail a request."""
    try:
        with open(path + ".tmp", "w", opener=_no_link) as file:
            json.dump(data, file)
        os.replace(path + ".tmp", path)
        return True
    except OSError:
        return False


def read_table(path: str) -> dict | None:
    """None for what is not there or no table."""
    try:
        with open(path, opener=_no_link) as file:
            data = json.loads(file.read(MAX_FILE_BYTES))
        return data if isinstance(data, dict) else None
    except (OSError, ValueError):
        return None


def names_in(directory: str) -> list[str]:
    """Names of the files there; none if it is gone."""
    try:
        return sorted(os.listdir(directory))
    except OSError:  # a worker that outlives a reload: the new parent has removed it
        return []


def _kind_of(key: Key) -> str:
    family = FAMILIES.get(key[0])
    return family.kind if family is not None else COUNTER


def _bounded(table: Mapping[Key, Any], key: Key) -> Key:
    if key in table or len(table) < MAX_SERIES:
        return key
    if key[0] in FAMILIES or key[0] in HISTOGRAMS:
        return (key[0], *("other" for _ in key[1:]))
    return (*("other" for _ in key),)


TABLE = Table()
