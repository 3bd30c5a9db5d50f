"""The modules of the package as the house's own tests see them: each is read and parsed once in a run."""

from __future__ import annotations

import ast
import functools
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
MODULES = sorted((ROOT / "swift").rglob("*.py"))


@functools.cache
def imports_of(path: pathlib.Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """All that a module imports, wherever in it. The rest of its tree is not kept."""
    return tuple(
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    )
