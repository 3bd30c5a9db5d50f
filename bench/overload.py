"""More clients than the machine can serve: is everybody served in turn, is the rate kept, what is answered to the others.

What lives here: GET and PUT from 16, 256, 1,000 and 4,000 clients, ours and the reference's. What never does: what a server does about it.
"""

from __future__ import annotations

import pathlib
import time
from dataclasses import dataclass

from cluster import Cluster
from loads import say, wait_until_well
from wrk import Result, Run

CLIENTS = (16, 256, 1000, 4000)
# p99 as a multiple of the mean, and the part of the best rate that must be kept.
FAIRNESS = {256: 4.0, 1000: 6.0}
KEPT = 0.8


@dataclass
class Row:
    verb: str
    clients: int
    side: str
    result: Result
    of_best: float = 0.0
    memory: float = 0.0  # MB resident, all servers together, after it


def measure(sides: list[Cluster], tokens: dict[str, str], seconds: int) -> list[Row]:
    rows = []
    for verb in ("get", "put"):
        for clients in CLIENTS:
            for side in sides:
                container, prefix = ("small", "g") if verb == "get" else ("written", f"o{clients}")
                base = f"/v1/AUTH_test/{container}"
                token = tokens[side.name]
                run = Run(side.endpoint, token, verb, base, prefix, clients=clients, seconds=seconds)
                result = run.result()
                row = Row(verb.upper(), clients, side.name, result, memory=_resident(side))
                rows.append(row)
                what = f"{result.rate:8.0f} /s   mean {result.mean:7.1f} p99 {result.p99:8.1f} ms"
                say(f"{row.verb}, {clients:,} clients", side, 0, what, failures=result.failures)
                time.sleep(2)  # what is left in queues shall not be the next one's
                wait_until_well(side, token)
    best: dict[tuple[str, str], float] = {}
    for row in rows:
        key = row.verb, row.side
        best[key] = max(best.get(key, 0.0), row.result.rate)
    for row in rows:
        row.of_best = row.result.rate / (best[row.verb, row.side] or 1.0)
    return rows


def _resident(side: Cluster) -> float:
    total = 0.0
    for process in side.processes.values():
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        total += int(status.split("VmRSS:")[1].split()[0]) / 1024
    return total


def table(rows: list[Row]) -> list[str]:
    """The rows as Markdown; a * marks what is not as it should be with ours."""
    lines = [
        f"GET and PUT of 4 KiB from many clients. Ours should keep {KEPT:.0%} of its best rate, have p99 at most"
        f" {FAIRNESS[256]:.0f} times the mean at 256 clients and {FAIRNESS[1000]:.0f} times at 1,000, and say nothing but 2xx and 503 with"
        " Retry-After; * marks what does not hold. Times are those of all answers; memory is of all servers together, afterwards.",
        "",
        "| load | clients | side | good answers | of its best | mean | p99 | p99 / mean | memory | failed |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        result = row.result
        spread = result.p99 / result.mean if result.mean else 0.0
        ours = row.side == "ours"
        slow = "*" if ours and row.of_best < KEPT else ""
        unfair = "*" if ours and spread > FAIRNESS.get(row.clients, 1e9) else ""
        allowed = {status for status in result.statuses if status[0] == "2" or status == "503"}
        broken = any(number for name, number in result.broken.items() if name != "status")
        wrong = "*" if ours and (set(result.statuses) - allowed or broken) else ""
        lines.append(
            f"| {row.verb} | {row.clients:,} | {row.side} | {result.rate:.0f} /s | {row.of_best:.0%}{slow} | {result.mean:.1f} ms"
            f" | {result.p99:.0f} ms | {spread:.1f}{unfair} | {row.memory:.0f} MB | {result.failures or '0'}{wrong} |"
        )
    return lines
