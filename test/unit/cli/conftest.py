"""Running a command of swift.cli inside the test process: its exit status and what it wrote."""

from __future__ import annotations

import importlib
import io
import sys
from typing import NamedTuple

import pytest

MODULES = {
    "swift-ring-builder": "swift.cli.ring_builder",
    "swift-ring-builder-safe": "swift.cli.ring_builder",
    "swift-ring-builder-analyzer": "swift.cli.ring_builder_analyzer",
    "swift-ring-composer": "swift.cli.ring_composer",
    "swift-get-nodes": "swift.cli.get_nodes",
    "swift-object-info": "swift.cli.object_info",
    "swift-account-info": "swift.cli.database_info:account_main",
    "swift-container-info": "swift.cli.database_info:container_main",
}


class Result(NamedTuple):
    rc: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch):
    """run(program, *arguments, stdin='') → Result."""

    def call(program: str, *args: str, stdin: str = "") -> Result:
        streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for name in ("stdout", "stderr")}
        with monkeypatch.context() as patch:
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            try:
                module, _, function = MODULES[program].partition(":")
                rc = getattr(importlib.import_module(module), function or "main")([program, *args])
            except SystemExit as exit:
                rc = exit.code
        texts = []
        for stream in streams.values():
            stream.flush()
            texts.append(stream.buffer.getvalue().decode())
        return Result(rc or 0, *texts)

    return call
