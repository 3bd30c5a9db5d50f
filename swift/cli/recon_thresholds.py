"""`swift-recon --check`: limits as they are written, and what servers said judged by them, in the manner of monitoring plugins.

What lives here: the names that limits can be set for, pure judging, the summary. What never does: asking.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from swift.cli.recon_checks import (
    CONF_SUM,
    RING_SUMS,
    Check,
    Seen,
    wrong_servers,
)
from swift.survey.answers import Host
from swift.survey.figures import (
    auditor_passes,
    clock_off,
    completions,
    disks,
    figures,
    mapping,
    number,
    span,
    unmounted,
    versions,
)

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_BADNESS = {OK: 0, UNKNOWN: 1, WARNING: 2, CRITICAL: 3}
MOST_NAMED = 10  # culprits of one limit
MOST_SUMMED = 5  # limits in the first line

Measured = tuple[
    float | None, list[str], list[str]
]  # (the value, who is above 0 or worst, who tells nothing)


class Measure(NamedTuple):
    """What a limit can be set for. `check`: of recon_checks.CHECKS, '' for the hosts themselves; `default`: (warning, critical)."""

    check: str
    unit: str
    told: str
    default: tuple[float, float]
    of: Callable[[Seen, float], Measured]


class Limit(NamedTuple):
    """One word of the list, understood."""

    name: str
    warning: float
    critical: float

    @property
    def check(self) -> str:
        return MEASURES[self.name].check


# -- measures ------------------------------------------------------------------------------------------------------------


def _total(key: str) -> Callable[[Seen, float], Measured]:
    def of(seen: Seen, limit: float) -> Measured:
        values = [(number(mapping(answer.document).get(key)), answer.host) for answer in seen.came]
        known = [(value, host) for value, host in values if value is not None]
        worst = sorted(known, reverse=True)
        if not known:
            return None, [], [str(host) for _, host in values]
        silent = [str(host) for value, host in values if value is None]
        return sum(v for v, _ in known), [f"{host}: {value:g}" for value, host in worst if value], silent

    return of


def _age(*keys: str) -> Callable[[Seen, float], Measured]:
    def of(seen: Seen, limit: float) -> Measured:
        return _ages(seen, [(one.last, one.host) for one in completions(seen.came, *keys) if one.last], limit)

    return of


def _ages(seen: Seen, lasts: Sequence[tuple[float, Host]], limit: float) -> Measured:
    known = {host for _, host in lasts}
    silent = [str(answer.host) for answer in seen.came if answer.host not in known]
    if not lasts:
        return None, [], silent
    ages = sorted(((max(seen.now - last, 0.0), host) for last, host in lasts), reverse=True)
    return ages[0][0], [f"{host}: {span(age)} ago" for age, host in ages if age > limit], silent


def _audits(seen: Seen, limit: float) -> Measured:
    lasts = []
    for answer in seen.came:
        if seen.kind == "object":
            starts = [number(one.get("start_time")) for one in auditor_passes(answer.document, "ALL")]
        else:
            starts = [number(mapping(answer.document).get(f"{seen.kind}_audits_since"))]
        known = [start for start in starts if start is not None]
        if known:
            lasts.append((min(known), answer.host))
    return _ages(seen, lasts, limit)


def _sweep(seen: Seen, limit: float) -> Measured:
    return _highest(seen, f"{seen.kind}_updater_sweep", limit)


def _load(seen: Seen, limit: float) -> Measured:
    return _highest(seen, "5m", limit)


def _highest(seen: Seen, key: str, limit: float) -> Measured:
    found = [(number(mapping(answer.document).get(key)), answer.host) for answer in seen.came]
    known = sorted(((value, host) for value, host in found if value is not None), reverse=True)
    silent = [str(host) for value, host in found if value is None]
    if not known:
        return None, [], silent
    return known[0][0], [f"{host}: {value:g}" for value, host in known if value > limit], silent


def _disks(seen: Seen, limit: float) -> Measured:
    found = sorted(disks(seen.came), key=lambda disk: -disk.percent)
    if not found:
        return None, [], [str(answer.host) for answer in seen.came]
    full = [f"{disk.host} {disk.device}: {disk.percent:.1f}%" for disk in found if disk.percent > limit]
    return found[0].percent, full, []


def _unmounted(seen: Seen, limit: float) -> Measured:
    found = [
        f"{host} {device}{f': {error}' if error else ''}" for host, device, error in unmounted(seen.came)
    ]
    return (float(len(found)) if seen.came else None), found, []


def _quarantined(seen: Seen, limit: float) -> Measured:
    found, silent = [], []
    for answer in seen.came:
        counts = figures(
            "", [mapping(answer.document).get(kind) for kind in ("objects", "containers", "accounts")]
        )
        if counts.values:
            found.append((sum(counts.values), answer.host))
        else:
            silent.append(str(answer.host))
    if not found:
        return None, [], silent
    worst = sorted(found, reverse=True)
    return sum(count for count, _ in found), [f"{host}: {count:g}" for count, host in worst if count], silent


def _compared(check: Any) -> Callable[[Seen, float], Measured]:
    def of(seen: Seen, limit: float) -> Measured:
        other = [(answer, check.differences(seen, answer)) for answer in seen.came]
        found = [f"{answer.host}: {', '.join(texts)}" for answer, texts in other if texts]
        return (float(len(found)) if seen.came else None), found, []

    return of


def _servers(seen: Seen, limit: float) -> Measured:
    found = [f"{answer.host} is {answer.document}" for answer in wrong_servers(seen)]
    return (float(len(found)) if seen.came else None), found, []


def _time(seen: Seen, limit: float) -> Measured:
    found = [(clock_off(answer), answer.host) for answer in seen.came]
    known = sorted(((off, host) for off, host in found if off is not None), reverse=True)
    if not known:
        return None, [], []
    return known[0][0], [f"{host}: {off:.3f}s" for off, host in known if off > limit], []


def _versions(seen: Seen, limit: float) -> Measured:
    found = versions(seen.came)
    if not found:
        return None, [], []
    return (
        float(len(found) - 1),
        [f"{version}: {count} hosts" for version, count in sorted(found.items())],
        [],
    )


def _hosts(seen: Seen, limit: float) -> Measured:
    return None, [], []  # judged over all questions, see `_away`


_NEVER = float("inf")
_DAY, _HOUR = 86400.0, 3600.0
MEASURES: dict[str, Measure] = {
    "async": Measure("async", "", "updates of containers that wait, in all", (10000, 100000), _total("async_pending")),
    "auditor": Measure("auditor", "s", "age of the oldest audit pass", (30 * _DAY, 60 * _DAY), _audits),
    "diskusage": Measure("diskusage", "%", "fill of the fullest disk", (85, 92), _disks),
    "driveaudit": Measure("driveaudit", "", "errors of disks, in all", (0, _NEVER), _total("drive_audit_errors")),
    "hosts": Measure("", "", "servers that don't answer; judged in any case", (0, _NEVER), _hosts),
    "load": Measure("loadstats", "", "highest load average of 5 minutes", (_NEVER, _NEVER), _load),
    "quarantined": Measure("quarantined", "", "what lies in quarantine, in all", (0, _NEVER), _quarantined),
    "reconstruction": Measure("reconstruction", "s", "age of the oldest reconstruction pass", (_DAY, 3 * _DAY), _age("object_reconstruction_last")),
    "replication": Measure("replication", "s", "age of the oldest replication pass", (6 * _HOUR, _DAY), _age("replication_last", "object_replication_last")),
    "ringmd5": Measure("md5", "", "servers with other rings than this machine", (0, 0), _compared(RING_SUMS)),
    "servers": Measure("validate_servers", "", "addresses with another kind of server", (0, 0), _servers),
    "sharding": Measure("sharding", "s", "age of the oldest pass of a sharder", (6 * _HOUR, _DAY), _age("sharding_last")),
    "swiftconf": Measure("md5", "", "servers with another swift.conf than this machine", (0, 0), _compared(CONF_SUM)),
    "time": Measure("time", "s", "seconds by which a clock differs from this one", (1, 10), _time),
    "unmounted": Measure("unmounted", "", "disks that are not mounted", (0, 0), _unmounted),
    "updater": Measure("updater", "s", "duration of the longest last pass of an updater", (_HOUR, 6 * _HOUR), _sweep),
    "versions": Measure("swift_versions", "", "versions beside the first", (0, _NEVER), _versions),
}  # fmt: skip
_CHECK_OF = {"ringmd5": RING_SUMS, "swiftconf": CONF_SUM}


def _table() -> str:
    lines = [
        "--check LIST, for monitoring: NAME, NAME=CRITICAL or NAME=WARNING:CRITICAL, with commas",
        "between; `all` stands for all names. What is above a limit is bad. Without a server type",
        "all that have such a check are asked. One line of summary comes first, with figures",
        "behind a |, then what is wrong. Exit status: 0 ok, 1 warning, 2 critical, 3 nobody can",
        "say. Durations are seconds or have a unit (90s, 15m, 2h, 1d); limits if none is given:",
        "",
    ]
    for name, measure in MEASURES.items():
        limits = ":".join(_written(limit, measure.unit) for limit in measure.default)
        lines.append(f"  {name:<15} {limits:<10} {measure.told}")
    return "\n".join(lines)


def _written(value: float, unit: str) -> str:
    if value == _NEVER:
        return "-"
    if unit == "s":
        return span(value)
    return f"{value:.4g}{unit}"


TOLD = _table()


# -- limits as they are written ------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([smhd%]?)")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": _HOUR, "d": _DAY}


def parse(text: str) -> list[Limit]:
    """Raises ValueError with one line."""
    found: dict[str, Limit] = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        name, equals, limits = word.partition("=")
        if name == "all" and not equals:
            for one, measure in MEASURES.items():
                found.setdefault(one, Limit(one, *measure.default))
            continue
        name = {"md5": "ringmd5"}.get(name, name)
        if name not in MEASURES:
            raise ValueError(f"--check {word}: there is no {name!r}, but {', '.join(MEASURES)}, all")
        if not equals:
            found[name] = Limit(name, *MEASURES[name].default)
            continue
        warning, colon, critical = limits.partition(":")
        values = [
            _limit(word, one, MEASURES[name].unit) for one in ([warning, critical] if colon else [warning])
        ]
        found[name] = Limit(name, values[0] if colon else _NEVER, values[-1])
        if colon and _NEVER > values[0] > values[1]:
            raise ValueError(f"--check {word}: a warning above what is critical")
    if not found:
        raise ValueError("--check: which limits?")
    return list(found.values())


def _limit(word: str, text: str, unit: str) -> float:
    if text == "-":
        return _NEVER
    match = _NUMBER.fullmatch(text)
    if match is None or match[2] not in ({"s": _SECONDS, "%": ("", "%")}.get(unit, ("",))):
        raise ValueError(f"--check {word}: {text!r} is no {'duration' if unit == 's' else 'number'}")
    return float(match[1]) * (_SECONDS[match[2]] if unit == "s" else 1.0)


# -- judging -------------------------------------------------------------------------------------------------------------

Told = tuple[str, Sequence[Host], Sequence[tuple[Check, Seen]]]  # (kind, its hosts, what the checks saw)


class Verdict(NamedTuple):
    """One limit and one kind of server. `text`: for the summary; `figures`: behind its |; `more`: lines."""

    status: int
    text: str
    figures: str
    more: list[str]


def judge(limits: Sequence[Limit], told: Sequence[Told]) -> tuple[int, list[str]]:
    """(exit status, lines)."""
    verdicts = []
    hosts_limit = next((limit for limit in limits if limit.name == "hosts"), Limit("hosts", 0, _NEVER))
    others = any(_there(seen_by) for _, _, seen_by in told)
    for kind, hosts, seen_by in told:
        verdicts.append(_away(kind, hosts, seen_by, hosts_limit, others))
        for limit in limits:
            verdicts += [_verdict(limit, kind, seen) for check, seen in seen_by if _is_of(limit, check)]
    status = max((verdict.status for verdict in verdicts), key=_BADNESS.__getitem__, default=UNKNOWN)
    bad = [verdict for verdict in verdicts if verdict.status != OK]
    shown = bad or verdicts
    asked = sum(len(hosts) for _, hosts, _ in told)
    worst_first = sorted(shown, key=lambda verdict: -_BADNESS[verdict.status])
    texts = ", ".join(verdict.text for verdict in worst_first[:MOST_SUMMED])
    if len(worst_first) > MOST_SUMMED:
        texts += f" and {len(worst_first) - MOST_SUMMED} more"
    data = " ".join(verdict.figures for verdict in verdicts if verdict.figures)
    first = f"SWIFT {_WORDS[status]} - {texts or 'nothing was asked'}; {asked} servers asked"
    lines = [f"{first} | {data}" if data else first]
    for verdict in worst_first if bad else ():
        lines.append(f"{_WORDS[verdict.status]}: {verdict.text}")
        lines += [f"  {line}" for line in verdict.more[:MOST_NAMED]]
        if len(verdict.more) > MOST_NAMED:
            lines.append(f"  and {len(verdict.more) - MOST_NAMED} more")
    return status, lines


def _is_of(limit: Limit, check: Check) -> bool:
    if limit.name in _CHECK_OF:
        return check is _CHECK_OF[limit.name]
    return check.name == limit.check


def _status(value: float, limit: Limit) -> int:
    return CRITICAL if value > limit.critical else WARNING if value > limit.warning else OK


def _figures(name: str, value: float, limit: Limit, unit: str) -> str:
    bounds = ";".join("" if bound == _NEVER else f"{bound:.10g}" for bound in (limit.warning, limit.critical))
    return f"{name}={value:.10g}{unit};{bounds}"


def _there(seen_by: Sequence[tuple[Check, Seen]]) -> set[Host]:
    """Those that answered a question, if only in HTTP."""
    every = (answer for _, seen in seen_by for answer in seen.answers)
    return {answer.host for answer in every if answer.came or answer.status is not None}


def _away(
    kind: str, hosts: Sequence[Host], seen_by: Sequence[tuple[Check, Seen]], limit: Limit, others: bool
) -> Verdict:
    """`others`: some server of any kind answers, so that it isn't this machine that reaches none."""
    errors: dict[Host, str] = {}
    there = _there(seen_by)
    for _, seen in seen_by:
        for answer in seen.answers:
            if not answer.came:
                errors.setdefault(answer.host, answer.error)
    away = {host: error for host, error in errors.items() if host not in there}
    more = [f"{host}: {error}" for host, error in sorted(away.items())]
    data = _figures(f"{kind}_hosts", len(away), limit, "")
    if not hosts:
        return Verdict(UNKNOWN, f"no {kind} server is in the rings", "", [])
    if not seen_by:
        return Verdict(OK, f"{kind}: nothing to ask", "", [])
    if not there:
        judged = others and min(limit.warning, limit.critical) < _NEVER
        return Verdict(CRITICAL if judged else UNKNOWN, f"no {kind} server answers", data, more)
    if not away:
        return Verdict(OK, f"{len(hosts)} {kind} servers", data, [])
    return Verdict(_status(len(away), limit), f"{len(away)} of {len(hosts)} {kind} servers away", data, more)


def _verdict(limit: Limit, kind: str, seen: Seen) -> Verdict:
    measure = MEASURES[limit.name]
    bound = min(limit.warning, limit.critical)
    value, culprits, silent = measure.of(seen, bound)
    name = f"{kind} {limit.name}"
    failed = [f"{answer.host}: {answer.error}" for answer in seen.answers if answer.status not in (None, 200)]
    if value is None:
        if not seen.came:
            return Verdict(UNKNOWN, f"{name}: no answer", "", failed)
        return Verdict(WARNING, f"{name}: no figures yet", "", [f"{host}: none" for host in silent])
    status = _status(value, limit)
    shown = _written(value, measure.unit)
    text = f"{name} {shown}"
    if status:
        passed = limit.critical if status == CRITICAL else limit.warning
        text += f" (above {_written(passed, measure.unit)})"
    more = list(culprits) if status else []
    if silent and measure.unit == "s" or failed:
        status = max(status, WARNING, key=_BADNESS.__getitem__)
        text += f", {_hosts_told(len(silent) + len(failed))} without"
        more += [f"{host}: none" for host in silent] + failed
    label = f"{kind}_{limit.name}"
    return Verdict(status, text, _figures(label, value, limit, measure.unit), more)


def _hosts_told(count: int) -> str:
    return "1 host" if count == 1 else f"{count} hosts"
