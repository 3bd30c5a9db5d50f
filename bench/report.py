"""The page doc/performance.md, made of what was measured.

What lives here: tables in Markdown. What never does: measuring.
"""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from dataclasses import dataclass, field

from cluster import PIPELINE
from loads import FLOORS, P99_FLOORS, SLOWEST_OF_MEDIAN, Figures


@dataclass
class Part:
    """All that was found on one kind of file system. extra: further tables, each with its heading."""

    disks: str  # tmpfs or XFS: whose floors count
    told: str  # in words
    figures: dict[str, Figures]
    memory: dict[str, dict[str, float]]
    facts: list[str] = field(default_factory=list)
    extra: list[tuple[str, list[str]]] = field(default_factory=list)


def page(parts: list[Part], words: str, reference: str, left_out: list[str]) -> str:
    lines = [
        "# Performance",
        "",
        "Measured against the reference implementation in the same run; only the ratios mean anything beyond this machine.",
        "",
        f"`{words}` on {datetime.date.today()}, {os.cpu_count()} cores, Python {platform.python_version()},"
        f" Linux {platform.release().split('-')[0]}, reference {reference}; four nodes, 3 replicas, one process a server, pipeline"
        f" `{PIPELINE}`; wrk with 1 thread and 16 connections unless it says otherwise; medians of the rounds, the two sides in alternation."
        " **Bold** ratios reach their floor, _slanted_ ones don't.",
        "",
        *[f"Left out: {why}." for why in left_out],
    ]
    for part in parts:
        lines += ["", f"## Disks: {part.told}", "", *_ratios(part), "", *_costs(part), "", *_idle(part)]
        lines += ["", *[f"- {fact}" for fact in [*_slowest(part), *part.facts]]]
        for heading, table in part.extra:
            lines += ["", f"### {heading}", "", *table]
    lines += ["", "Rings are measured by `bench/ring.py`: figures in [ring.md](ring.md).", ""]
    return "\n".join(lines)


def _middle(values: list[float]) -> float:
    known = [value for value in values if value == value]
    return statistics.median(known) if known else float("nan")


def _ratios(part: Part) -> list[str]:
    lines = [
        "| load | reference | ours | ratio | floor (aim) | p99 reference | p99 ours | p99 ratio (floor) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    floors, p99_floors = FLOORS.get(part.disks, {}), P99_FLOORS.get(part.disks, {})
    for name, figures in part.figures.items():
        unit = "MB/s" if "256 MiB" in name else "/s"
        theirs, mine = _middle(figures.rate["reference"]), _middle(figures.rate["ours"])
        floor, aim = floors.get(name, (None, None))
        told = f"{floor:g} ({aim:g})" if floor else ""
        row = f"| {name} | {theirs:.0f} {unit} | {mine:.0f} {unit} | {_judged(mine / theirs if theirs else 0, floor)} | {told} |"
        if figures.p99:
            slow, fast = _middle(figures.p99["reference"]), _middle(figures.p99["ours"])
            limit = p99_floors.get(name)
            ratio = _judged(slow / fast if fast else 0, limit) + (f" ({limit:g})" if limit else "")
            row += f" {slow:.1f} ms | {fast:.1f} ms | {ratio} |"
        else:
            row += " | | |"
        lines.append(row)
    return lines + _failures(part)


def _failures(part: Part) -> list[str]:
    """Whose times say little, since they are those of refusals too."""
    lines = []
    for name, figures in part.figures.items():
        for side, shares in figures.failed.items():
            if max(shares) > 0.001:
                lines.append(
                    f"- {name}, {side}: {max(shares):.1%} of the answers were failures; times and CPU are of all answers"
                )
    return ["", *lines] if lines else []


def _judged(ratio: float, floor: float | None) -> str:
    if floor is None:
        return f"{ratio:.1f}"
    return f"**{ratio:.1f}**" if ratio >= floor else f"_{ratio:.1f}_"


def _costs(part: Part) -> list[str]:
    lines = [
        "CPU time of all server processes together for one request, in microseconds:",
        "",
        "| load | reference | ours | ratio |",
        "| --- | --- | --- | --- |",
    ]
    for name, figures in part.figures.items():
        if figures.cpu:
            theirs, mine = _middle(figures.cpu["reference"]), _middle(figures.cpu["ours"])
            lines.append(f"| {name} | {theirs:,.0f} | {mine:,.0f} | {theirs / mine if mine else 0:.1f} |")
    return lines


def _idle(part: Part) -> list[str]:
    theirs, mine = part.memory["reference"], part.memory["ours"]
    lines = ["| resident memory of an idle server process | reference | ours |", "| --- | --- | --- |"]
    return lines + [f"| {kind} | {theirs[kind]:.0f} MB | {mine[kind]:.0f} MB |" for kind in theirs]


def _slowest(part: Part) -> list[str]:
    """How far the slowest of one load lie from its median, ours."""
    lines = []
    for name, figures in part.figures.items():
        if not name.startswith("GET 1 MiB"):
            continue
        for side in ("reference", "ours"):
            median, p99 = _middle(figures.median[side]), _middle(figures.p99[side])
            ratio = p99 / median if median else 0.0
            floor = f" (at most {SLOWEST_OF_MEDIAN:g})" if side == "ours" else ""
            lines.append(
                f"{name}, {side}: median {median:.1f} ms, p99 {p99:.1f} ms, {ratio:.1f} times as much{floor}"
            )
    return lines
