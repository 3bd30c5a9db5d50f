"""The state of a cluster on one screen. What lives here: lines for people. What never does: asking, judging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from swift.core import clock
from swift.survey.figures import span
from swift.survey.findings import DANGER, NOTE, WRONG, Finding

MOST_DISKS = 3
MOST_FINDINGS = 12
_MARKS = {DANGER: ("DANGER", "1;31"), WRONG: ("WRONG", "33"), NOTE: ("NOTE", "36")}


def lines(
    state: Mapping[str, Any], found: Sequence[Finding], swift_dir: str, color: bool = False
) -> Iterator[str]:
    """The whole screen. `color`: with escape sequences of terminals."""
    now = state["asked_at"]
    at = clock.strftime("%Y-%m-%d %H:%M:%S UTC", clock.gmtime(now))
    yield f"Cluster of {swift_dir} at {at}: {_verdict(found)}"
    yield ""
    for name, text in _facts(state, now):
        yield f"  {name:<12} {text}"
    if found:
        yield ""
        yield "What to do next"
    for number, one in enumerate(found[:MOST_FINDINGS], 1):
        mark, code = _MARKS[one.level]
        shown = f"\x1b[{code}m{mark}\x1b[0m" if color else mark
        yield f"{number:3}. {shown} {one.text}"
        if one.do:
            yield f"     {one.do}"
        if one.command:
            yield f"     $ {one.command}"
    if len(found) > MOST_FINDINGS:
        yield f"     and {len(found) - MOST_FINDINGS} more: --json has all"


def _verdict(found: Sequence[Finding]) -> str:
    counts = {level: sum(one.level == level for one in found) for level in (DANGER, WRONG)}
    if not any(counts.values()):
        return "all is well"
    told = [
        f"{counts[DANGER]} dangerous" if counts[DANGER] else "",
        f"{counts[WRONG]} wrong" if counts[WRONG] else "",
    ]
    return ", ".join(filter(None, told))


def _facts(state: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    servers = state["servers"]
    yield (
        "servers",
        ", ".join(
            f"{kind} {one['hosts'] - len(one['away'])} of {one['hosts']}" for kind, one in servers.items()
        ),
    )
    versions = state["versions"]
    yield (
        "version",
        ", ".join(f"{version} ({count})" for version, count in sorted(versions.items())) or "not known",
    )
    rings, conf = state["rings"], state["swift_conf"]
    yield (
        "rings",
        f"{_agree(rings)} ({', '.join(name.removesuffix('.ring.gz') for name in rings['here'])}); swift.conf {_agree(conf)}",
    )
    yield "disks", _disks(state["disks"])
    for name, told in _passes(state, now):
        yield name, told
    waiting = state["async"]["total"]
    yield "updates", "not known" if waiting is None else f"{waiting:g} of containers wait"
    expirer = state["expirer"]
    if expirer["queued"] is not None:
        late = expirer["oldest_due"]
        told = f"; the oldest was due {span(now - late)} ago" if late else ""
        yield "expirer", f"{expirer['queued']:g} objects are to expire{told}"
    sharding = state["sharding"]
    on_their_way, candidates = len(sharding["containers"]), sharding["candidates"]
    yield "sharding", f"{on_their_way} containers on their way, {candidates} large enough"
    total = state["quarantined"]["total"]
    yield "quarantine", f"{total:g} item{'s' * (total != 1)}"
    off = state["clocks"]["most_off"]
    yield "clocks", "not known" if off is None else "agree" if not off else f"differ by up to {off:.2f} s"


def _agree(compared: Mapping[str, Any]) -> str:
    if not compared["asked"]:
        return "can't be compared"
    if compared["other"]:
        return f"{'differ' if len(compared['here']) != 1 else 'differs'} on {len(compared['other'])} of {compared['asked']}"
    return "agree" if len(compared["here"]) != 1 else "agrees"


def _disks(disks: Mapping[str, Any]) -> str:
    if not disks["counted"]:
        return "none can be seen"
    size = disks["used"] + disks["available"]
    percent = 100.0 * disks["used"] / size if size else 0.0
    fullest = ", ".join(
        f"{one['host']} {one['device']} {one['percent']:.0f} %" for one in disks["fullest"][:MOST_DISKS]
    )
    return f"{disks['counted']}, {percent:.0f} % of {_size(size)} used; fullest: {fullest}"


def _passes(state: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    shown: dict[str, list[str]] = {}
    for name, one in state["passes"].items():
        kind, _, what = name.partition(" ")
        if one["oldest"] is not None:
            told = f"{kind} {span(max(now - one['oldest'], 0))} ago"
            if one["never"]:
                told += f" ({len(one['never'])} without)"
        else:
            told = f"{kind} none yet"
        shown.setdefault(what, []).append(told)
    for what, told_of in shown.items():
        if what == "sharding":
            continue
        text = "oldest: " + ", ".join(told_of)
        behind = [one["behind"] for one in state["standing"].values() if one["behind"] is not None]
        handoffs = [one["handoffs"] for one in state["standing"].values() if one["handoffs"] is not None]
        if what == "replication" and behind:
            text += f"; {sum(behind)} partitions behind, {sum(handoffs)} on handoffs"
        yield ("rebuilding" if what == "reconstruction" else what), text


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000 or unit == "PB":
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")
