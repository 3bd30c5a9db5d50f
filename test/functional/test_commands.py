"""Commands for people, on a running cluster, as they are typed."""

import os
import pathlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_every_command_explains_itself():
    """`--help` is exit 0 with a usage, whatever else is missing on the machine."""

    def ask(name: str) -> tuple[str, int, str, str]:
        done = subprocess.run(
            [sys.executable, ROOT / "bin" / name, "--help"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=180,
        )
        return name, done.returncode, done.stdout, done.stderr

    commands = sorted(path.name for path in (ROOT / "bin").iterdir())
    assert commands
    with ThreadPoolExecutor(2) as pool:
        for name, status, out, err in pool.map(ask, commands):
            assert status == 0, err
            assert name in out, name


@pytest.fixture
def run():
    def run(command, *words, lines=None):
        """(status, stdout); what it says on stderr must be nothing. `lines`: as in `| head -n lines`."""
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "bin" / command), *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        if lines is not None:
            process.stdout.read(lines)
            process.stdout.close()
            text = b""
        else:
            text = process.stdout.read()
        error = process.stderr.read()
        assert error == b"", error.decode()
        return process.wait(), text.decode()

    return run


def first(cluster, pattern):
    """Some file of that form on the disks."""
    return next(path for node in (1, 2, 3, 4) for path in cluster.device(node).glob(pattern))


def test_where_an_object_is_and_what_it_is(run, cluster, user, obj, container):
    etc = cluster.layout.etc
    status, text = run("swift-get-nodes", "-d", etc, etc / "object.ring.gz", "AUTH_test", container[1:], "o")
    assert status == 0
    assert text.count("[Handoff]") == 3  # one handoff, in three forms
    places = re.findall(r'^ssh \S+ "ls -lah [^}]*}/(\S+)"', text, re.MULTILINE)
    files = [
        file
        for node in (1, 2, 3, 4)
        for place in places
        for file in (cluster.layout.disks / str(node)).glob(f"{place}/*.data")
    ]
    assert len(files) == 3
    status, text = run("swift-object-info", "-d", etc, files[0])
    assert status == 0
    assert f"Path: /AUTH_test{container}/o" in text
    assert "(valid)" in text
    status, text = run("swift-get-nodes", "-d", etc, etc / "account.ring.gz", "AUTH_test")
    name_hash = re.search(r"^Hash +\t?(\w{32})$", text, re.MULTILINE)[1]
    database = first(cluster, f"accounts/*/*/{name_hash}/*.db")
    status, text = run("swift-account-info", "-d", etc, database)
    assert status == 0 and "Account: AUTH_test\n" in text
    database = first(cluster, "containers/*/*/*/*.db")
    assert run("swift-container-info", "-d", etc, database)[0] == 0


@pytest.mark.parametrize(
    "command", ["swift-get-nodes", "swift-object-info", "swift-container-info", "swift-ring-builder"]
)
def test_ending_quietly_when_nobody_reads_on(run, cluster, obj, container, command):
    etc = cluster.layout.etc
    words = {
        "swift-get-nodes": ["-d", etc, etc / "object.ring.gz", "AUTH_test", "c", "o"],
        "swift-object-info": ["-d", etc, first(cluster, "objects/*/*/*/*.data")],
        "swift-container-info": ["-d", etc, first(cluster, "containers/*/*/*/*.db")],
        "swift-ring-builder": [etc / "object.builder"],
    }[command]
    run(command, *words, lines=0)
    run(command, *words, lines=1)


@pytest.mark.parametrize("command", ["swift-get-nodes", "swift-object-info", "swift-ring-builder"])
def test_output_that_has_no_room_is_one_line(cluster, obj, container, command):
    etc = cluster.layout.etc
    words = {
        "swift-get-nodes": ["-d", etc, etc / "object.ring.gz", "AUTH_test", "c", "o"],
        "swift-object-info": ["-d", etc, first(cluster, "objects/*/*/*/*.data")],
        "swift-ring-builder": [etc / "object.builder"],
    }[command]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, str(ROOT / "bin" / command), *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode and done.stderr == "[Errno 28] No space left on device\n"
