"""The progress line of the ring commands: on stderr, only on a terminal, only when it takes longer than a second."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from swift.core import clock

SHOW_AFTER = 1.0


class ProgressLine:
    """A context whose value is called with (what is being done, fraction done 0..1), as often as one likes."""

    def __init__(self, debug: bool = False) -> None:
        self._debug = debug
        self._doing = ""
        self._display: Any = None
        self._task: Any = None
        self._start = 0.0

    def __enter__(self) -> ProgressLine:
        self._start = clock.monotonic()
        return self

    def __call__(self, doing: str, fraction: float) -> None:
        if self._debug and doing != self._doing:
            print(f"DEBUG: {doing}")
        self._doing = doing
        if self._display is None and not self._begin():
            return
        self._display.update(self._task, description=doing, completed=fraction)

    def _begin(self) -> bool:
        if clock.monotonic() - self._start < SHOW_AFTER or not sys.stderr.isatty():
            return False
        # imported late: it costs more than most of these commands
        from rich.console import Console
        from rich.progress import Progress

        self._display = Progress(console=Console(stderr=True), transient=True)
        self._task = self._display.add_task("", total=1.0)
        self._display.start()
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._display is not None:
            self._display.stop()
