"""The daemons of several configuration files in one process: what they refuse."""

import subprocess
import sys


def test_an_impossible_value_is_refused_in_one_line(tmp_path):
    path = tmp_path / "object-server.conf"
    path.write_text("[object-updater]\ninterval = often\n")
    done = subprocess.run(
        [sys.executable, "-m", "swift.cli.daemons", str(path)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "interval" in done.stderr and '"often"' in done.stderr and str(path) in done.stderr
