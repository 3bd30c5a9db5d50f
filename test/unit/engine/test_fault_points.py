"""What is promised of swift.engine.fault_points: where crash tests die."""

import os
import signal
import subprocess
import sys


def run_to_fault(spec, code):
    return subprocess.run(
        [sys.executable, "-c", "from swift.engine.fault_points import fault_point\n" + code],
        env={**os.environ, "SWIFT_FAULT_POINT": spec},
        capture_output=True,
        text=True,
    )


def test_fault_point_kills_at_the_count_given():
    code = "for i in range(3):\n print(i, flush=True)\n fault_point('put:here')"
    for spec, lines in (("put:here", "0\n"), ("put:here:2", "0\n1\n")):
        done = run_to_fault(spec, code)
        assert done.returncode == -signal.SIGKILL
        assert done.stdout == lines
    assert run_to_fault("elsewhere", code).returncode == 0


def test_fault_point_names_may_have_colons():
    code = "for i in range(3):\n print(i, flush=True)\n fault_point('here:now')"
    for spec, lines in (("here:now", "0\n"), ("here:now:2", "0\n1\n")):
        done = run_to_fault(spec, code)
        assert done.returncode == -signal.SIGKILL
        assert done.stdout == lines
