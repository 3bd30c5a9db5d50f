"""The house's rules that a program can check."""

from __future__ import annotations

import ast
import pathlib

from swift.wire import message

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = sorted((ROOT / "swift").rglob("*.py"))


def imported(path: pathlib.Path) -> set[str]:
    """Top-level names of the packages that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
    return found


def importers(*packages: str) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in SOURCES if imported(path) & set(packages)]


def test_one_importer_of_the_engine():
    assert importers("eventlet", "greenlet") == ["swift/core/concurrency.py"]


def test_one_place_asks_for_time_and_chance():
    assert importers("time", "random", "uuid") == ["swift/core/clock.py"]


def test_core_holds_the_trades_words_only():
    lines = sum(len(path.read_text().splitlines()) for path in SOURCES if path.parent.name == "core")
    assert lines < 4500


def test_one_door_to_requests_and_responses():
    """Outside of wire, what swift.wire.message gathers comes from there and not from where it lives."""
    past = []
    for path in SOURCES:
        if path.parent.name == "wire":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if module.startswith("swift.wire.") and module != "swift.wire.message":
                past += [f"{path.name}: {a.name}" for a in node.names if a.name in message.__all__]
    assert past == []
