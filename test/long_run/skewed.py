"""python -m test.long_run.skewed SECONDS MODULE ARGUMENT...: runs a module whose clock is so many seconds ahead (or behind)."""

import runpy
import sys

from swift.core import clock


class Skewed:
    def __init__(self, seconds: float) -> None:
        real, real_ns = clock.time, clock.time_ns
        self.time = lambda: real() + seconds
        self.time_ns = lambda: real_ns() + int(seconds * 1e9)


if __name__ == "__main__":
    clock.use(Skewed(float(sys.argv[1])))
    del sys.argv[:2]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
