"""The process's table of counts, merged over the workers of a server, in the text form that Prometheus reads.

Counting is a dictionary update; prometheus_client is imported when somebody asks. Workers of one parent share a
directory of small files: each writes its table there soon after a change, and whichever worker is asked
adds them up. What is counted is decided elsewhere (`swift.telemetry.metrics`).

Spec: none (the reference has no such thing); insights of operations.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.core.concurrency import Timeout, spawn_after
from swift.engine.threads import DeviceBusy, run_in_thread
from swift.telemetry.log_sinks import dropped_messages
from swift.telemetry.served import Served

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MAX_SERIES = 10_000  # of each kind; what comes after is counted as `other`
WRITE_DELAY = 1.0  # seconds
ANSWER_SECONDS = 10
MAX_FILE_BYTES = 64 * 1024 * 1024
KNOWN_METHODS = frozenset(
    ("GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "OPTIONS", "REPLICATE", "SSYNC", "UPDATE")
)

Key = tuple[str, ...]


class Table:
    """Counts of one process: `counts` and `levels` by (tail, name), `times` [count, seconds], `requests` histograms."""

    def __init__(self) -> None:
        self.counts: dict[Key, float] = {}
        self.levels: dict[Key, float] = {}
        self.times: dict[Key, list[float]] = {}
        self.requests: dict[Key, list[float]] = {}  # by (server, method, status, policy): buckets, count, sum
        self.directory: str | None = None
        self._write_set = False

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

    def request(self, server: str, method: str, status: str, policy: str, seconds: float) -> None:
        key = (server, method, status, policy)
        entry = self.requests.get(key)
        if entry is None:
            entry = self.requests.setdefault(
                _bounded(self.requests, key), [0] * (len(BUCKETS) + 1) + [0, 0.0]
            )
        entry[bisect_left(BUCKETS, seconds)] += 1
        entry[-2] += 1
        entry[-1] += seconds
        if not self._write_set and self.directory is not None:
            self._set_write()

    # -- sharing

    def _set_write(self) -> None:
        self._write_set = True
        spawn_after(WRITE_DELAY, self.write)

    def write(self) -> None:
        """Puts this process's table where its siblings find it."""
        self._write_set = False
        if self.directory is None:
            return
        path = os.path.join(self.directory, str(os.getpid()))
        try:
            with open(path + ".tmp", "w") as file:
                json.dump(self.as_json(), file)
            os.replace(path + ".tmp", path)
        except OSError:  # a table that can't be shared must not fail a request
            pass

    def as_json(self) -> dict[str, list]:
        return {
            "counts": [[*key, value] for key, value in self.counts.items()],
            "levels": [[*key, value] for key, value in self.levels.items()],
            "times": [[*key, value] for key, value in self.times.items()],
            "requests": [[*key, value] for key, value in self.requests.items()],
        }

    def add_json(self, data: Mapping[str, Iterable[list]]) -> None:
        """Adds another process's table to this one."""
        for tail, name, value in data.get("counts", ()):
            self.counts[tail, name] = self.counts.get((tail, name), 0) + value
        for tail, name, value in data.get("levels", ()):
            self.levels[tail, name] = self.levels.get((tail, name), 0) + value
        for kind, own in (("times", self.times), ("requests", self.requests)):
            for *key, values in data.get(kind, ()):
                entry = own.get(tuple(key))
                own[tuple(key)] = (
                    values if entry is None else [a + b for a, b in zip(entry, values, strict=True)]
                )

    def pids(self) -> list[int]:
        """This process and those that share its directory, as far as they live."""
        names = _names_in(self.directory) if self.directory is not None else []
        return sorted({os.getpid(), *(int(name) for name in names if name.isdecimal())})

    def merged(self) -> Table:
        """This table and those of all siblings, dead ones included."""
        total = Table()
        total.add_json(self.as_json())
        if self.directory is not None:
            own = str(os.getpid())
            for name in _names_in(self.directory):
                if name != own and not name.endswith(".tmp"):
                    data = _read_table(os.path.join(self.directory, name))
                    if data:
                        total.add_json(data)
        return total

    def forget(self) -> None:
        """Starts from nothing: a forked worker counts for itself."""
        for table in (self.counts, self.levels, self.times, self.requests):
            table.clear()  # type: ignore[attr-defined]
        self._write_set = False


def _names_in(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:  # a worker that outlives a reload: the new parent has removed it
        return []


def _bounded(table: Mapping[Key, Any], key: Key) -> Key:
    return key if key in table or len(table) < MAX_SERIES else (*("other" for _ in key),)


def _read_table(path: str) -> dict | None:
    try:
        with open(path) as file:
            data = json.loads(file.read(MAX_FILE_BYTES))
        return data if isinstance(data, dict) else None
    except (OSError, ValueError):
        return None


TABLE = Table()


_PREFIX = "swift-metrics-"


def _remove_abandoned(parent: str) -> None:
    """Removes what servers left there that were killed."""
    for entry in os.scandir(parent):
        if not entry.name.startswith(_PREFIX) or entry.stat(follow_symlinks=False).st_uid != os.getuid():
            continue
        pid = entry.name[len(_PREFIX) :].partition("-")[0]
        # our own pid: the image before a reload
        if pid.isdecimal() and (int(pid) == os.getpid() or not os.path.exists(f"/proc/{pid}")):
            shutil.rmtree(entry.path, ignore_errors=True)


def share_between_workers(uid: int = -1, gid: int = -1) -> str | None:
    """Makes the directory that workers forked from now on share; returns it. None if there is no place for it.

    `uid`, `gid`: whom the workers will run as, if not as this process.
    """
    for parent in ("/dev/shm", None):
        try:
            _remove_abandoned(parent or tempfile.gettempdir())
            TABLE.directory = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent)
            if uid >= 0:
                os.chown(TABLE.directory, uid, gid)
        except OSError:
            continue
        return TABLE.directory
    return None


def stop_sharing() -> None:
    """Removes the directory."""
    if TABLE.directory is not None:
        shutil.rmtree(TABLE.directory, ignore_errors=True)
        TABLE.directory = None


def retire(pid: int) -> None:
    """Adds the table of a worker that died to that of all dead ones, so that counts never go back."""
    if TABLE.directory is None:
        return
    path = os.path.join(TABLE.directory, str(pid))
    data = _read_table(path)
    if data is None:
        return
    dead = Table()
    dead_path = os.path.join(TABLE.directory, "dead")
    dead.add_json(_read_table(dead_path) or {})
    data.pop("levels", None)
    dead.add_json(data)
    try:
        with open(dead_path + ".tmp", "w") as file:
            json.dump(dead.as_json(), file)
        os.replace(dead_path + ".tmp", dead_path)
        os.unlink(path)
    except OSError:
        pass


class RequestMeter:
    """A completion callback of the server loop that counts requests by method, status and policy."""

    def __init__(self, server: str) -> None:
        self._server = server

    def on_done(self, served: Served) -> None:
        environ = served.environ
        method = environ["REQUEST_METHOD"]
        TABLE.request(
            self._server,
            method if method in KNOWN_METHODS else "BAD_METHOD",
            str(served.status),
            environ.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX", ""),
            served.end - served.start,
        )


def exposition(state: Callable[[], Iterable[Any]] | None = None) -> bytes:
    """All counts of this server as Prometheus text. `state`: further families, made anew each time."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
        SummaryMetricFamily,
    )

    total = TABLE.merged()
    labels = ["component", "event"]

    def families() -> Iterable[Metric]:
        counts = CounterMetricFamily("swift_events", "Events, by the name that StatsD knows.", labels=labels)
        for key, value in sorted(total.counts.items()):
            counts.add_metric(key, value)
        levels = GaugeMetricFamily("swift_level", "Levels, summed over workers.", labels=labels)
        for key, value in sorted(total.levels.items()):
            levels.add_metric(key, value)
        times = SummaryMetricFamily(
            "swift_timing_seconds", "Durations, by the name that StatsD knows.", labels=labels
        )
        for key, (count, seconds) in sorted(total.times.items()):
            times.add_metric(key, count_value=int(count), sum_value=seconds)
        requests = HistogramMetricFamily(
            "swift_request_duration_seconds",
            "Requests answered, from the head to the last byte of the response.",
            labels=["server", "method", "status", "policy"],
        )
        for key, entry in sorted(total.requests.items()):
            running = 0.0
            buckets = []
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), entry, strict=False):
                running += count
                buckets.append((bound, running))
            requests.add_metric(key, buckets, sum_value=entry[-1])
        dropped = CounterMetricFamily(
            "swift_log_messages_dropped", "Log messages this worker could not deliver."
        )
        dropped.add_metric([], dropped_messages())
        yield from (counts, levels, times, requests, dropped)
        if state is not None:
            yield from state()

    class Collector:
        def collect(self) -> Iterable[Metric]:
            return families()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())  # type: ignore[arg-type]
    return generate_latest(registry)


_PATH = re.compile(r"/[A-Za-z0-9_./-]+")


def with_endpoint(
    app: Callable, path: str = "/metrics", state: Callable[[], Iterable[Any]] | None = None
) -> Callable:
    """`app`, with the exposition answered at `path`, in a thread. Raises ValueError for what is no plain path."""
    if not _PATH.fullmatch(path):
        raise ValueError(f"metrics_path must be a plain path, not {path!r}")

    def endpoint(environ: dict[str, Any], start_response: Callable) -> Any:
        if environ["PATH_INFO"] != path:
            return app(environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")])
            return [b""]
        try:
            with Timeout(ANSWER_SECONDS):
                body = run_in_thread(exposition, state)
        except (Timeout, DeviceBusy):
            text = b"A disk does not answer."
            start_response(
                "503 Service Unavailable",
                [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))],
            )
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else text]
        start_response("200 OK", [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    return endpoint
