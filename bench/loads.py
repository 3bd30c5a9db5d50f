"""The loads that both sides get in alternation, their floors, and the figures of each run.

What lives here: which requests, from how many clients, and what they must reach. What never does: clusters (cluster.py), the page
(report.py), loads that only make sense alone (overload.py, hung.py, memory.py, calls.py).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cluster import Cluster
from disks import touch
from wrk import Result, Run

BIG = 256 * 1024 * 1024


@dataclass(frozen=True)
class Load:
    """One row of the table. part: its name for --only."""

    name: str
    part: str
    kind: str
    container: str
    prefix: str = "g"
    clients: int = 16
    count: int = 100


LOADS = (
    Load("GET 4 KiB", "get", "get", "small"),
    Load("GET 1 MiB, 4 clients", "mib", "get", "medium", clients=4, count=16),
    Load("HEAD", "head", "head", "small", "empty"),
    Load("PUT 4 KiB", "put", "put", "written", "p"),
    Load("DELETE", "delete", "delete", "written", "p"),
    Load("listing of 1,000", "list", "list", "many", "o", count=1000),
    Load("GET 4 KiB, 256 clients", "get256", "get", "small", clients=256),
    Load("PUT 4 KiB, 256 clients", "put256", "put", "written", "q", clients=256),
)
LOST = "GET 256 MiB, two fragments lost"
_CROWD = 100  # clients; above that a load may leave a side unwell for a minute, so that it is run no more often than needed
MIXED = ("GET of 8 GET + 8 PUT", "PUT of 8 GET + 8 PUT")

# Ratio to the reference: the floor, and what is aimed at.
FLOORS: dict[str, dict[str, tuple[float, float]]] = {
    "tmpfs": {
        "GET 4 KiB": (12, 14),
        "HEAD": (12, 14),
        "PUT 4 KiB": (9, 10),
        "DELETE": (6, 8),
        "listing of 1,000": (20, 20),
        "GET 256 MiB": (2.5, 3),
        "PUT 256 MiB": (1.7, 2),
    },
    "XFS": {
        "GET 4 KiB": (11, 14),
        "HEAD": (11, 14),
        "PUT 4 KiB": (8, 10),
        "DELETE": (6, 8),
        "listing of 1,000": (15, 20),
    },
    "tmpfs, 4+2": {
        "GET 4 KiB": (12, 15),
        "PUT 4 KiB": (10, 12),
        "GET 256 MiB": (3, 4),
        "PUT 256 MiB": (2.5, 3),
        LOST: (3, 3),
    },
    "XFS, 4+2": {"GET 4 KiB": (10, 10), "PUT 4 KiB": (7, 7)},
}
# How many times lower p99 must be than the reference's.
P99_FLOORS = {
    "XFS": dict.fromkeys(("GET 4 KiB", "GET 4 KiB, 256 clients", "PUT 4 KiB", "PUT 4 KiB, 256 clients"), 5.0)
}
# GET of 1 MiB: how many times the median p99 may be.
SLOWEST_OF_MEDIAN = 5.0


@dataclass
class Figures:
    """What was found for one load: by side, one value a round. Times in ms, CPU in microseconds a request."""

    rate: dict[str, list[float]] = field(default_factory=dict)
    mean: dict[str, list[float]] = field(default_factory=dict)
    median: dict[str, list[float]] = field(default_factory=dict)
    p99: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, list[float]] = field(default_factory=dict)  # of all answers, 0 … 1

    def add(self, side: str, **values: float) -> None:
        for name, value in values.items():
            getattr(self, name).setdefault(side, []).append(value)


class Rounds:
    """Runs the loads on both sides in alternation; figures: by name of the load."""

    def __init__(self, sides: list[Cluster], seconds: int, wanted: Callable[[str], bool]) -> None:
        self.sides = sides
        self.seconds = seconds
        self.wanted = wanted
        self.tokens = {side.name: side.token() for side in sides}
        self.figures: dict[str, Figures] = {}

    def run(self, rounds: int) -> None:
        for side in self.sides:
            self.prepare(side)
        for number in range(-1, rounds):  # the first one is for warming up
            for load in LOADS:
                if number < 0 and load.clients > _CROWD:
                    continue
                if self.wanted(load.part) or load.part == "put" and self.wanted("delete"):
                    for side in self.sides:
                        wait_until_well(side, self.tokens[side.name])
                        self.one(load, side, number)
            for side in self.sides:
                wait_until_well(side, self.tokens[side.name])
                if self.wanted("mixed"):
                    self.mixed(side, number)
                if self.wanted("big") and number >= 0:
                    self.big(side, number)

    def prepare(self, side: Cluster) -> None:
        token = self.tokens[side.name]
        for container in ("small", "medium", "written", "many", "large"):
            status = side.request("PUT", f"/{container}", token)
            assert status in (201, 202), f"{side.name}: no container: {status}"
        for n in range(100):
            assert side.request("PUT", f"/small/g-{n}", token, os.urandom(4096)) == 201
            # wrk waits for the bytes that a Content-Length announces, also after a HEAD: so it asks for empty objects
            assert side.request("PUT", f"/small/empty-{n}", token, b"") == 201
        for n in range(16):
            assert side.request("PUT", f"/medium/g-{n}", token, os.urandom(1 << 20)) == 201
        for n in range(2000 if self.wanted("list") else 0):
            assert side.request("PUT", f"/many/o-{n:06}", token, b"x") == 201

    def start(self, load: Load, side: Cluster, number: int, seconds: int | None = None) -> Run:
        prefix = f"{load.prefix}{number + 1}" if load.container == "written" else load.prefix
        if seconds is None:
            seconds = 2 if number < 0 else self.seconds
        if load.kind == "delete":
            seconds = max(1, seconds // 2)  # what it deletes must have been written
        base = f"/v1/AUTH_test/{load.container}"
        return Run(
            side.endpoint,
            self.tokens[side.name],
            load.kind,
            base,
            prefix,
            clients=load.clients,
            seconds=seconds,
            count=load.count,
        )

    def one(self, load: Load, side: Cluster, number: int) -> None:
        before = side.cpu_seconds()
        result = self.start(load, side, number).result()
        if number < 0:
            return
        cost = (side.cpu_seconds() - before) / max(1, result.requests) * 1e6
        self.note(load.name, side, number, result, cost)

    def note(self, name: str, side: Cluster, number: int, result: Result, cost: float | None = None) -> None:
        figures = self.figures.setdefault(name, Figures())
        figures.add(side.name, rate=result.rate, mean=result.mean, median=result.median, p99=result.p99)
        figures.add(side.name, failed=1 - result.good / max(1, result.requests))
        if cost is not None:
            figures.add(side.name, cpu=cost)
        say(name, side, number, f"{result.rate:8.0f} /s   p99 {result.p99:8.2f} ms", cost, result.failures)

    def mixed(self, side: Cluster, number: int) -> None:
        """Readers beside writers: each sort's figures."""
        loads = (
            Load(MIXED[0], "mixed", "get", "small", clients=8),
            Load(MIXED[1], "mixed", "put", "written", "m", clients=8),
        )
        for load, run in [(load, self.start(load, side, number)) for load in loads]:
            result = run.result()
            if number >= 0:
                self.note(load.name, side, number, result)

    def big(self, side: Cluster, number: int) -> None:
        """One large object up and down, three times; where it is kept in fragments, once more when two of them are lost."""
        path = f"{side.endpoint}/v1/AUTH_test/large/{number}"
        down = "%{http_code} %{speed_download}"
        with tempfile.NamedTemporaryFile(dir=side.root) as file:
            for _ in range(BIG >> 20):
                file.write(os.urandom(1 << 20))
            file.flush()
            words = ["-T", file.name, "-H", "Expect:"]
            self.transfer(side, number, "PUT 256 MiB", path, words, "%{http_code} %{speed_upload}")
            self.transfer(side, number, "GET 256 MiB", path, [], down)
            if lose_fragments(side, BIG // 8):
                self.transfer(side, number, LOST, path, [], down)
        assert side.request("DELETE", f"/large/{number}", self.tokens[side.name]) == 204

    def transfer(
        self, side: Cluster, number: int, name: str, path: str, words: list[str], figure: str
    ) -> None:
        """The median speed of three."""
        header = f"X-Auth-Token: {self.tokens[side.name]}"
        speeds = []
        before = side.cpu_seconds()
        for _ in range(3):
            touch(side.root, 4 * BIG)
            curl = ["curl", "-s", "-o", "/dev/null", "-w", figure, "-H", header, *words, path]
            code, speed = subprocess.run(curl, capture_output=True, text=True).stdout.split()
            assert code in ("200", "201"), f"{side.name} {name}: {code}"
            speeds.append(float(speed) / 1e6)
        rate = statistics.median(speeds)
        cost = (side.cpu_seconds() - before) / 3 * 1e6
        self.figures.setdefault(name, Figures()).add(side.name, rate=rate, cpu=cost)
        say(name, side, number, f"{rate:8.0f} MB/s", cost)


def lose_fragments(side: Cluster, size: int) -> bool:
    """Take away the data fragments 0 and 1 that are larger than so many bytes; False if there are none."""
    found = [
        file
        for index in (0, 1)
        for file in side.root.glob(f"*/*/objects-*/*/*/*/*#{index}#d.data")
        if file.stat().st_size > size
    ]
    for file in found:
        file.unlink()
    return bool(found)


def wait_until_well(side: Cluster, token: str, seconds: int = 120) -> None:
    """After many clients a side may know nobody's token for a minute: the next load is not to pay for that."""
    give_up = time.monotonic() + seconds
    while side.request("HEAD", "/small", token) != 204:
        if time.monotonic() > give_up:
            raise SystemExit(
                f"bench: {side.name} has not answered well for {seconds} s; see {side.root}/log (--keep)"
            )
        time.sleep(1)


def say(
    name: str, side: Cluster, number: int, what: str, cost: float | None = None, failures: str = ""
) -> None:
    """A line for whoever watches."""
    spent = f"   {cost:10.0f} us of CPU" if cost is not None else ""
    note = f"   ({failures})" if failures else ""
    print(f"round {number + 1} {name:24} {side.name:10} {what}{spent}{note}", flush=True)
