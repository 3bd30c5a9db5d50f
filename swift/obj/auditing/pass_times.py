"""When the auditor last began to go over all of a device: what is newer has not been seen yet."""

from __future__ import annotations

import contextlib
import json
import os

from swift.core import clock
from swift.obj.directories import TMPDIR

MAX_STATE = 65536


class PassTimes:
    """In a file on the device, `name`. `before`: when the last whole pass began, 0 if there was none. All methods block; errors are of no consequence."""

    def __init__(self, device_path: str, name: str) -> None:
        self._name = name
        self._path = f"{device_path}/{name}"
        self._tmp_dir = f"{device_path}/{TMPDIR}"
        self.before = 0.0
        self._began = 0.0

    def begin(self, now: float) -> None:
        """A pass begins, or goes on: then it has begun when it did."""
        try:
            with open(self._path) as file:
                state = json.loads(file.read(MAX_STATE))
            self.before = min(float(state.get("before") or 0), now)
            self._began = min(float(state.get("began") or now), now)
        except (OSError, ValueError, TypeError, AttributeError):
            self.before, self._began = 0.0, now
        self._write({"before": self.before, "began": self._began})

    def end(self, is_whole: bool) -> None:
        """It is complete."""
        self._write({"before": self._began if is_whole else self.before, "began": None})

    def _write(self, state: dict[str, float | None]) -> None:
        temporary = f"{self._tmp_dir}/{self._name}-{clock.random_bytes(6).hex()}"
        with contextlib.suppress(OSError):
            os.makedirs(self._tmp_dir, exist_ok=True)
            with open(temporary, "w") as file:
                json.dump(state, file)
            os.rename(temporary, self._path)
