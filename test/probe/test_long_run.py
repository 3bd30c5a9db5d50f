"""A short form of the long run: whatever breaks, nothing acknowledged is lost and all copies become the same again."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = "20"  # one in which much happens at once


def test_all_is_whole_after_everything_has_broken():
    done = subprocess.run(
        [sys.executable, "-m", "test.long_run", "--minutes", "0.1", "--seed", SEED, "--round", "30"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
