"""The house's rules that a program can check."""

from __future__ import annotations

import ast
import pathlib
from collections import Counter

from swift.wire import message
from test.sources import MODULES, ROOT, imports_of


def imported(path: pathlib.Path) -> set[str]:
    """Top-level names of the packages that a module imports, wherever in it."""
    found = set()
    for node in imports_of(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif not node.level and node.module:
            found.add(node.module.split(".")[0])
    return found


def importers(*packages: str) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in MODULES if imported(path) & set(packages)]


def test_one_importer_of_the_engine():
    assert importers("eventlet", "greenlet") == ["swift/core/concurrency.py"]


def test_one_place_asks_for_time_and_chance():
    assert importers("time", "random", "uuid") == ["swift/core/clock.py"]


def test_core_holds_the_trades_words_only():
    lines = sum(len(path.read_text().splitlines()) for path in MODULES if path.parent.name == "core")
    assert lines < 4500


def module_name(path: pathlib.Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def import_graph() -> dict[str, set[str]]:
    """Module → the modules of ours that it imports anywhere: at run time, late in a function, or for types only."""
    modules = {module_name(path): path for path in MODULES}
    graph = {}
    for name, path in modules.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        found = set()
        for node in imports_of(path):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            else:
                above = package.split(".")[: 1 - node.level or None] if node.level else []
                base = ".".join([*above, *filter(None, [node.module])])
                found |= {whole if (whole := f"{base}.{a.name}") in modules else base for a in node.names}
        graph[name] = found & modules.keys() - {name}
    return graph


def within_circles(graph: dict[str, set[str]]) -> set[str]:
    """The modules of circles, and what lies between two circles: what is left when ends are cut off until there are none."""
    left = {name: set(targets) for name, targets in graph.items()}
    while True:
        aimed_at = set().union(*left.values())
        free = {name for name, targets in left.items() if not targets or name not in aimed_at}
        if not free:
            return set(left)
        left = {name: targets - free for name, targets in left.items() if name not in free}


def test_circles_are_found():
    assert within_circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == {"b", "c"}
    assert within_circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == set()


def test_no_circle_of_imports():
    """Also not under TYPE_CHECKING: two modules that know each other are one module in two files."""
    assert sorted(within_circles(import_graph())) == []


def test_one_door_to_requests_and_responses():
    """Outside of wire, what swift.wire.message gathers comes from there and not from where it lives."""
    past = []
    for path in MODULES:
        if path.parent.name == "wire":
            continue
        for node in imports_of(path):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if module.startswith("swift.wire.") and module != "swift.wire.message":
                past += [f"{path.name}: {a.name}" for a in node.names if a.name in message.__all__]
    assert past == []


def test_each_file_of_tests_has_a_name_of_its_own():
    """Else the one that is found second is not run, in one run with the first."""
    names = Counter(path.name for path in (ROOT / "test").rglob("test_*.py"))
    assert [name for name, number in names.items() if number > 1] == []
