"""rclone's swift backend, configured by the environment alone: a tree up, checked, changed, down, deleted."""

import os
import random
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.skipif(not shutil.which("rclone"), reason="rclone is not installed")


@pytest.fixture
def rclone(address, tmp_path):
    environment = {
        **os.environ,
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_STORE_TYPE": "swift",
        "RCLONE_CONFIG_STORE_AUTH": f"http://{address[0]}:{address[1]}/auth/v1.0",
        "RCLONE_CONFIG_STORE_USER": "test:tester",
        "RCLONE_CONFIG_STORE_KEY": "testing",
    }

    def run(*words, status=0):
        done = subprocess.run(
            ["rclone", "--retries", "1", "--low-level-retries", "1", *words],
            env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=180,
        )  # fmt: skip
        assert (done.returncode == 0) == (status == 0), done.stderr
        return done.stdout

    return run


def test_a_tree_goes_up_and_down(rclone, tmp_path, name):
    source, remote = tmp_path / "source", f"store:{name}"
    files = {
        "empty": b"",
        "nämé ☃ %41 +&?.txt": b"x",
        "a/b/c/deep": b"deep",
        "a/b.txt": b"b" * 5000,
        "large": random.Random(3).randbytes(3_000_000),
    }
    for path, body in files.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(body)
    rclone("copy", "source", remote)
    rclone("check", "--download", "source", remote)
    assert sorted(rclone("lsf", "-R", "--files-only", remote).splitlines()) == sorted(files)
    rclone("copy", remote, "back")
    for path, body in files.items():
        assert (tmp_path / "back" / path).read_bytes() == body
    (source / "a/b.txt").write_bytes(b"changed")
    (source / "large").unlink()
    rclone("sync", "source", remote)
    assert rclone("cat", f"{remote}/a/b.txt") == "changed"
    assert "large" not in rclone("lsf", remote)
    rclone("moveto", f"{remote}/a/b.txt", f"{remote}/moved")  # copied on the server's side
    assert rclone("cat", f"{remote}/moved") == "changed"
    rclone("deletefile", f"{remote}/moved")
    rclone("purge", remote)
    assert name not in rclone("lsd", "store:")
