"""The progress line: there when it takes long and somebody looks, nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from swift.cli import ring_builder_progress
from swift.cli.ring_builder_progress import ProgressLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(progress: ProgressLine) -> None:
    with progress:
        for step in range(5):
            progress("placing partitions", step / 5)


@pytest.mark.parametrize(
    ("stream", "after", "shown"), [(Terminal, 0, True), (Terminal, 3600, False), (io.StringIO, 0, False)]
)
def test_shown_only_on_a_terminal_and_when_it_takes_long(stream, after, shown, monkeypatch):
    monkeypatch.setattr(ring_builder_progress, "SHOW_AFTER", after)
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setenv("TERM", "xterm")
    work(ProgressLine())
    assert ("placing partitions" in sys.stderr.getvalue()) is shown
    assert sys.stdout.getvalue() == ""


def test_debug_names_each_step_once(capsys):
    work(ProgressLine(debug=True))
    assert capsys.readouterr().out == "DEBUG: placing partitions\n"


def test_the_line_is_taken_away_when_something_fails(monkeypatch):
    monkeypatch.setattr(ring_builder_progress, "SHOW_AFTER", 0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    progress = ProgressLine()
    with pytest.raises(RuntimeError), progress:
        progress("placing", 0.1)
        raise RuntimeError
    with progress:
        pass  # the display has stopped: nothing is left running
