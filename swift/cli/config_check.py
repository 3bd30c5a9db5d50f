"""`swift-config --check`: what a configuration would do, and what is wrong with it.

What lives here: gathering it, for servers' files and daemons' alike, and lines of it. What never does: starting anything, and showing secrets.
"""

from __future__ import annotations

import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from swift.core.config import read_conf_sections
from swift.core.errors import ConfigError
from swift.core.outside_values import is_outside, left_as_written
from swift.run import pipeline_order
from swift.run.known_options import unknown_options, unknown_sections
from swift.run.option_values import impossible_values, odd_switches, read
from swift.run.pipeline import evaluated_sections, hidden_options
from swift.run.pipeline_order import required_filters

_SECRET = re.compile("secret|passw|key|token|^user(64)?_|salt|suffix|prefix$")
_PASSWORD = re.compile(r"(?<=://)[^/\s]*@")  # in an address
_NO_SECRET = frozenset(
    (
        "reseller_prefix",
        "auth_prefix",
        "log_statsd_metric_prefix",
        "keymaster_config_path",
        "key_file",
        "token_life",
    )
)
ERROR, WARNING = "ERROR", "WARNING"


class Finding(NamedTuple):
    """`level`: ERROR for what does not start, WARNING for what does something else than it says."""

    level: str
    text: str


class Checked(NamedTuple):
    """`pipeline`: entry points, and which of them are added; `options`: lines of what is set to something else than the default."""

    findings: list[Finding]
    pipeline: list[str]
    options: list[str]


def check(path: str) -> Checked:
    """Everything about one file or directory."""
    findings: list[Finding] = []
    try:
        with left_as_written():
            sections = read_conf_sections(path)
    except ConfigError as error:
        return Checked([Finding(ERROR, str(error))], [], [])
    daemons = [name for name in sections if ":" not in name]
    seen: set[str] = set()

    def note(level: str, text: str) -> None:
        if text not in seen:
            seen.add(text)
            findings.append(Finding(level, text))

    for daemon in ("", *daemons):
        for fault in impossible_values(path, daemon):
            note(ERROR, str(fault))
        for text in (*unknown_options(path, daemon), *odd_switches(path, daemon)):
            note(WARNING, text)
    for text in unknown_sections(sections):
        note(WARNING, text)
    pipeline: list[str] = []
    if "pipeline:main" in sections:
        try:
            pipeline = _pipeline(path, note)
        except ConfigError as error:
            note(ERROR, str(error))
    elif not daemons:
        note(ERROR, "there is neither a [pipeline:main] nor a daemon's section")
    return Checked(sorted(findings, key=lambda one: one.level != ERROR), pipeline, [*_options(path, daemons)])


def _pipeline(path: str, note: Callable[[str, str], None]) -> list[str]:
    """Entry points in their order, those that are added marked. Raises ConfigError."""
    with left_as_written():
        for entry in hidden_options(path):
            note(WARNING, str(entry))
        pipeline = evaluated_sections(path)["pipeline:main"]["pipeline"].split()
    if pipeline[-1:] != ["proxy"]:
        return pipeline
    pipeline, added = required_filters(pipeline)
    refused, warned = pipeline_order.check(pipeline[:-1])
    for text in refused:
        note(ERROR, f"the pipeline: {text}")
    for text in warned:
        note(WARNING, f"the pipeline: {text}")
    return [f"{name} (added)" if name in added else name for name in pipeline]


def lines(path: str, checked: Checked) -> Iterator[str]:
    for level, text in checked.findings:
        yield f"{path}: {level} {text}"
    if checked.pipeline:
        yield f"{path}: pipeline: {' '.join(checked.pipeline)}"
    for line in checked.options:
        yield f"{path}: {line}"
    errors = sum(one.level == ERROR for one in checked.findings)
    warnings = len(checked.findings) - errors
    if errors:
        yield f"{path}: it does not start: {errors} errors, {warnings} warnings"
    else:
        yield f"{path}: {f'it starts, with {warnings} warnings' if warnings else 'all is well'}"


def _options(path: str, daemons: list[str]) -> Iterator[str]:
    defaults = _sample_defaults()
    with left_as_written():
        found: dict[str, Mapping[str, str]] = {}
        for daemon in ("", *daemons):
            found.update(read(path, daemon).sections)
    for section, options in found.items():
        for option, value in options.items():
            name = option.removeprefix("set ").strip()
            usual = defaults.get(name, frozenset())
            if option in ("use", "pipeline") or value in usual:
                continue
            shown = "…" if _is_secret(name) and not is_outside(value) else _PASSWORD.sub("…@", value)
            default = (
                f" (default {' or '.join(sorted(usual))})"
                if usual and "" not in usual and not _is_secret(name)
                else ""
            )
            yield f"[{section}] {option} = {shown}{default}"


def _is_secret(name: str) -> bool:
    return bool(_SECRET.search(name)) and name not in _NO_SECRET


def _sample_defaults() -> Mapping[str, frozenset[str]]:
    """option → its defaults in the samples, where those are installed."""
    here = pathlib.Path(__file__).resolve().parents[2] / "etc"
    folder = here if here.is_dir() else pathlib.Path(sys.prefix) / "share/swift"
    found: dict[str, set[str]] = {}
    for sample in sorted(folder.glob("*.conf-sample")):
        for line in sample.read_text().splitlines():
            match = re.fullmatch(r"# ?([a-z0-9_]+) =(?: (.*))?", line)
            if match:
                found.setdefault(match[1], set()).add((match[2] or "").strip())
    return {name: frozenset(values) for name, values in found.items()}
