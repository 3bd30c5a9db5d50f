"""Runs wrk, the load generator, and reads what it found.

What lives here: the words of its command line and the figures of one run. What never does: which loads are run (loads.py).
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import resource
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

SCRIPTS = pathlib.Path(__file__).resolve().parent / "wrk"


@dataclass
class Result:
    """One run. Times in milliseconds, over all answers; statuses: answers by status; broken: connections that failed."""

    seconds: float
    requests: int
    mean: float
    median: float
    p99: float
    statuses: dict[str, int]
    broken: dict[str, int]

    @property
    def good(self) -> int:
        """Answers of success."""
        return sum(number for status, number in self.statuses.items() if status[0] == "2")

    @property
    def rate(self) -> float:
        """Answers of success a second."""
        return self.good / self.seconds

    @property
    def failures(self) -> str:
        """What was not success, in words; empty when there was nothing."""
        bad = {status: number for status, number in self.statuses.items() if status[0] != "2"}
        bad.update({f"{name} errors": number for name, number in self.broken.items() if name != "status"})
        return ", ".join(f"{number:,} x {name}" for name, number in sorted(bad.items()) if number)


class Script:
    """A wrk that runs one of wrk/*.lua; `values`: what that asks its environment for."""

    def __init__(
        self,
        endpoint: str,
        name: str,
        values: dict[str, str],
        *,
        clients: int,
        seconds: int,
        timeout: int = 60,
    ) -> None:
        _raise_descriptors(clients + 1000)
        environ = {**os.environ, **values, "REPORT": str(SCRIPTS / "report.lua")}
        self._words = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", f"{timeout}s"]
        self._words += ["-s", str(SCRIPTS / name), endpoint]
        self._process = subprocess.Popen(self._words, env=environ, stdout=subprocess.PIPE, text=True)

    def result(self) -> Result:
        """Waits for its end. Raises SystemExit when it has nothing to say."""
        out, _ = self._process.communicate()
        found = re.search(r"^RESULT (.*)$", out, re.MULTILINE)
        if found is None:
            raise SystemExit(f"bench: no result of {' '.join(self._words)}\n{out}")
        figures = json.loads(found.group(1).replace("-nan", "0").replace("nan", "0"))
        latency = figures["latency"]
        return Result(
            figures["seconds"],
            figures["requests"],
            latency["mean"],
            latency["median"],
            latency["p99"],
            {name: int(number) for name, number in figures["statuses"].items()},
            {name: int(number) for name, number in figures["errors"].items()},
        )


class Run(Script):
    """Loads of native requests. kind, base, prefix and count as in wrk/requests.lua."""

    def __init__(
        self,
        endpoint: str,
        token: str,
        kind: str,
        base: str,
        prefix: str,
        *,
        clients: int,
        seconds: int,
        count: int = 100,
        timeout: int = 60,
        direct: bool = False,
    ) -> None:
        values = {"KIND": kind, "BASE": base, "PREFIX": prefix, "TOKEN": token, "COUNT": str(count)}
        if direct:
            values["STORAGE_SERVER"] = "1"
        super().__init__(endpoint, "requests.lua", values, clients=clients, seconds=seconds, timeout=timeout)


class Replay(Script):
    """Sends what stands in a file, as wrk/replay.lua has it."""

    def __init__(self, endpoint: str, file: pathlib.Path, *, clients: int, seconds: int) -> None:
        super().__init__(endpoint, "replay.lua", {"FILE": str(file)}, clients=clients, seconds=seconds)


def write_replay(file: pathlib.Path, requests: Iterable[bytes]) -> None:
    """Requests (head and body) in the form of wrk/replay.lua."""
    with open(file, "wb") as out:
        for request in requests:
            out.write(b"%d\n%s" % (len(request), request))


def _raise_descriptors(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard > 0 else wanted, hard))
