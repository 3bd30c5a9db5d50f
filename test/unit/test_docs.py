"""What the documents name is there: commands, files, modules, links."""

from __future__ import annotations

import ast
import os
import pathlib
import re

import pytest

from test.sources import ROOT, imports_of

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "doc").glob("*.md"))]
COMMANDS = sorted(path.name for path in (ROOT / "bin").iterdir())
ROOMS = sorted(path.name for path in (ROOT / "swift").iterdir() if (path / "__init__.py").exists())


def page_ids(path):
    return path.name


def anchors(page: pathlib.Path) -> set[str]:
    """The anchors that a Markdown renderer gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name) if name else page
        if target == "doc/performance.md":  # written by bench/speed.py
            continue
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_named_files_are_there(page):
    """Paths of this tree in code: doc/…, etc/…, test/…, bench/…, swift/…, bin/…."""
    for span in re.findall(r"`([^`\n]+)`", page.read_text()):
        match = re.fullmatch(r"(?:\./)?((?:doc|etc|test|bench|bin|swift)/[\w./*-]*(?:/|[.*][\w*-]*))", span)
        assert not match or list(ROOT.glob(match[1])), span


def test_what_holds_a_hole_closed_is_there():
    """doc/security.md names files of tests, and tests in them."""
    text = (ROOT / "doc/security.md").read_text()
    for span in re.findall(r"`test_\w+\.py`(?:[:,]? `test_\w+`)*", text):
        name, *tests = re.findall(r"test_\w+(?:\.py)?", span)
        paths = list((ROOT / "test").rglob(name))
        assert paths, name
        defined = {
            test
            for path in paths
            for test in re.findall(r"^\s*def (test_\w+)", path.read_text(), re.MULTILINE)
        }
        assert set(tests) - defined == set(), span


def test_each_hole_that_is_told_of_has_a_test():
    """The last column of each table of doc/security.md names files of tests, or tests, and nothing else in code."""
    rows, columns = 0, []
    for line in (ROOT / "doc/security.md").read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            columns = []
        elif not columns:
            columns = cells
            assert columns[-1] == "test", line
        elif set(line) - set("|- "):
            rows += 1
            assert len(cells) == len(columns), line
            named = re.findall(r"`([^`]+)`", cells[-1])
            assert named, line
            for name in named:
                assert re.fullmatch(r"test/[\w/]+(?:/|\.py)|test_\w+(?:\.py)?", name), line
    assert rows > 100


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_named_commands_are_there(page):
    """`swift-…` in code, less the sections that are named like daemons, and the name of the image."""
    text = page.read_text()
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`|^    .*$", text, re.DOTALL | re.MULTILINE))
    named = set(re.findall(r"(?<![\w/.-])swift-[a-z0-9]+(?:-[a-z0-9]+)*\b", code))
    assert named - set(COMMANDS) - {"swift-hash", "swift-constraints", "swift-store"} == set()


def test_commands_are_executable():
    for name in COMMANDS:
        assert os.access(ROOT / "bin" / name, os.X_OK), name


# -- architecture.md


def modules(room: str) -> set[str]:
    found = {path.stem if path.is_file() else path.name for path in (ROOT / "swift" / room).iterdir()}
    return {name for name in found if not name.startswith("__")}


@pytest.mark.parametrize("room", ROOMS)
def test_architecture_names_every_module(room):
    text = (ROOT / "doc/architecture.md").read_text()
    section = re.search(rf"^## {room}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert section, f"no section on {room}"
    assert modules(room) - set(re.findall(r"`(\w+)/?`", section[1])) == set()
    in_tables = {
        name
        for row in re.findall(r"^\| (`[^|]*) \|", section[1], re.MULTILINE)
        for name in re.findall(r"`(\w+)/?`", row)
    }
    assert in_tables - modules(room) == set()


def test_architecture_knows_who_uses_whom():
    text = (ROOT / "doc/architecture.md").read_text()
    table = text[text.index("| room |") : text.index("Imports run downwards")]
    told: dict[str, set[str]] = {}
    for names, uses in re.findall(r"^\| (`[^|]*) \|[^|]*\|([^|]*)\|$", table, re.MULTILINE):
        used = set(ROOMS) if uses.strip() == "all" else set(re.findall(r"\w+", uses)) & set(ROOMS)
        for room in re.findall(r"`(\w+)`", names):
            told[room] = used - {room}
    assert set(told) == set(ROOMS)
    for room in ROOMS:
        assert imported_rooms(room) - told[room] == set(), room
        if room != "cli":
            assert told[room] - imported_rooms(room) <= {"ring", "wire"}, room  # of those that share a line


def imported_rooms(room: str) -> set[str]:
    found = set()
    for path in (ROOT / "swift" / room).rglob("*.py"):
        for node in imports_of(path):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            found |= {name.split(".")[1] for name in names if name.startswith("swift.")}
    return (found & set(ROOMS)) - {room}


def test_named_tests_are_there():
    """doc/durability.md says what proves each promise."""
    defined = set()
    for path in (ROOT / "test").rglob("test_*.py"):
        defined.update(re.findall(r"def (test_\w+)", path.read_text()))
    for page in PAGES:
        named = set(re.findall(r"`(test_\w+)`", page.read_text()))
        assert named - defined == set(), page.name
