"""What rots on a disk is found by the auditor and brought back by replication; what kills an auditor costs nothing. Real processes."""

import json
import os
import pathlib
import random
import signal
import subprocess
import time

import pytest

from swift.core import hashing
from swift.engine.xattrs import get_xattr, set_xattr
from swift.obj.auditing.status import StatusFile
from test.object_nodes import OURS, ObjectNodes

T1 = "1700000001.00000"
NAMES = [f"o{n}" for n in range(24)]
REFERENCE = os.environ.get("REFERENCE_BIN")
FAST = "files_per_second = 0\nbytes_per_second = 0\nzero_byte_files_per_second = 0\n"


class AuditedNodes(ObjectNodes):
    """Nodes with auditors; policy 2 is erasure-coded, for archives that a test lays down itself."""

    def set_up(self, node: int, options: str) -> None:
        plain = self.conf(node).read_text().partition("\n[object-auditor]")[0]
        self.conf(node).write_text(f"{plain}\n[object-auditor]\n{options}")

    def audit(self, node: int, options: str = FAST) -> str:
        """One pass; what it said."""
        process = self.begin(node, options)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
        return said

    def begin(self, node: int, options: str, words: tuple[str, ...] = ("once",)) -> subprocess.Popen:
        self.set_up(node, options)
        return subprocess.Popen(
            [*self._command(node, "swift-object-auditor"), str(self.conf(node)), *words, "-v"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environ(node),
            start_new_session=True,
        )

    def data_files(self, node: int) -> list[pathlib.Path]:
        return sorted((self.disk(node) / "objects").glob("*/*/*/*.data"))

    def quarantined(self, node: int) -> list[str]:
        return sorted(path.name for path in (self.disk(node) / "quarantined").glob("objects*/*/*"))


@pytest.fixture
def nodes(tmp_path):
    hashing.set_hash_config("changeme", "changeme")
    with AuditedNodes(tmp_path / "nodes", [OURS] * 4) as nodes:
        yield nodes


def fill(nodes):
    chance = random.Random(4)
    bodies = {}
    for name in NAMES:
        bodies[name] = chance.randbytes(chance.choice([10, 5000, 300_000]))
        nodes.put(name, bodies[name], T1)
    nodes.replicate()
    return bodies


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 0x20
    with open(path, "r+b") as file:
        file.write(data)


def flip_xattr(path):
    with open(path, "rb") as file:
        value = bytearray(get_xattr(file.fileno(), "user.swift.metadata"))
        value[len(value) // 3] ^= 4
        set_xattr(file.fileno(), "user.swift.metadata", bytes(value))


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


DAMAGE = [
    lambda path: flip(path, 0),
    lambda path: flip(path, -1),
    flip_xattr,
    truncate,
    lambda path: os.truncate(path, 0),
]


def test_what_rots_is_found_and_comes_back(nodes):
    """Every copy on one node is damaged in one way or another: each is quarantined, and after replication all are whole."""
    bodies = fill(nodes)
    files = nodes.everything()
    damaged = nodes.data_files(1)
    for number, path in enumerate(damaged):
        DAMAGE[number % len(DAMAGE)](path)
    for path in (nodes.disk(1) / "objects").glob("*/hashes.pkl"):
        flip(path, 40)
    said = nodes.audit(1)
    assert f"Total quarantined: {len(damaged)}, Total errors: 0" in said
    assert len(nodes.quarantined(1)) == len(damaged)
    assert nodes.data_files(1) == []
    nodes.replicate(2, 3, 4)
    nodes.replicate()
    for node in nodes.nodes:
        assert nodes.files(node) == nodes.belonging(node, files)
    for name, body in bodies.items():
        for node in nodes.primaries(name):
            assert nodes.request(node, "GET", name)[2] == body
    for node in nodes.nodes:
        assert "Total quarantined: 0, Total errors: 0" in nodes.audit(node)


def test_damaged_suffix_hashes_hide_nothing(nodes):
    """Bytes flipped all over hashes.pkl and hashes.invalid: the auditor is not led astray, and replication converges."""
    fill(nodes)
    files = nodes.everything()
    chance = random.Random(5)
    for path in sorted((nodes.disk(1) / "objects").glob("*/hashes.pkl")):
        for _ in range(3):
            flip(path, chance.randrange(1000))
        (path.parent / "hashes.invalid").write_bytes(chance.randbytes(20))
    assert "Total quarantined: 0, Total errors: 0" in nodes.audit(1)
    for path in nodes.data_files(1)[:3]:
        flip(path, 3)
    assert "Total quarantined: 3," in nodes.audit(1)
    nodes.replicate(2, 3, 4)
    nodes.replicate()
    for node in nodes.nodes:
        assert nodes.files(node) == nodes.belonging(node, files)


def test_an_auditor_that_is_killed_goes_on(nodes):
    """In the middle of a pass, several times, with clients writing: nothing good goes, what is bad is found in the end."""
    bodies = fill(nodes)
    bad = nodes.data_files(1)[-1]
    flip(bad, 1)
    status = nodes.disk(1) / "objects/auditor_status_ALL.json"
    slow = "files_per_second = 20\nbytes_per_second = 0\nzero_byte_files_per_second = 20\ninterval = 0.1\n"
    for number in range(3):
        process = nodes.begin(1, slow, ())
        end = time.monotonic() + 60
        while not status.exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert json.loads(status.read_text())["partitions"]
        nodes.put(NAMES[0], bodies[NAMES[0]], f"1700000002.0000{number}")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    said = nodes.audit(1)
    assert "Total errors: 0" in said
    assert not status.exists()
    assert len(nodes.quarantined(1)) == 1
    assert not bad.exists()
    nodes.replicate()
    for name, body in bodies.items():
        for node in nodes.primaries(name):
            assert nodes.request(node, "GET", name)[2] == body


def test_a_worker_that_dies_is_replaced(nodes):
    fill(nodes)
    nodes.set_up(1, FAST)
    process = nodes.begin(1, "interval = 0.2\nfiles_per_second = 0\n", ())
    try:
        children = _wait(lambda: len(_children(process.pid)) == 2 and _children(process.pid))
        os.kill(children[0], signal.SIGKILL)
        _wait(lambda: len(_children(process.pid)) == 2 and children[0] not in _children(process.pid))
        flip(nodes.data_files(1)[0], 0)
        _wait(lambda: nodes.quarantined(1))
        process.terminate()
        process.communicate(timeout=30)
        _wait(lambda: not any(pathlib.Path(f"/proc/{child}").exists() for child in children))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _children(pid):
    return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _wait(condition):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("never")


@pytest.mark.reference
@pytest.mark.skipif(not REFERENCE, reason="REFERENCE_BIN is not set")
def test_either_goes_on_where_the_other_was(tmp_path):
    """The status file is understood by both, whoever wrote it."""
    hashing.set_hash_config("changeme", "changeme")
    with AuditedNodes(tmp_path / "nodes", [OURS] * 4) as nodes:
        fill(nodes)
        disk = str(nodes.disk(1))
        status = StatusFile(disk, "objects", 0, "ALL")
        count = {}
        for path in nodes.data_files(1):
            count.setdefault(path.parents[2].name, []).append(path)
        partitions = sorted(count, key=int)
        left = partitions[1:]
        expected = sum(len(count[partition]) for partition in left)
        status.write(left)
        for kind in (pathlib.Path(REFERENCE), OURS):
            nodes.kinds[0] = kind
            status.write(left)
            said = nodes.audit(
                1,
                FAST.replace("files_per_second = 0\nbytes", "files_per_second = 10000\nbytes")
                + "object_size_stats = 1000000\n",
            )
            assert f'Object audit stats: {{"1000000": {expected}, "OVER": 0}}' in said, said
            assert not pathlib.Path(status.path).exists()
        # a reference's auditor that was stopped in the middle
        nodes.kinds[0] = pathlib.Path(REFERENCE)
        process = nodes.begin(1, "files_per_second = 1\nzero_byte_files_per_second = 0\n", ())
        _wait(lambda: pathlib.Path(status.path).exists() and status.read())
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert set(status.read()) <= set(partitions)
        nodes.kinds[0] = OURS
        assert "Total quarantined: 0, Total errors: 0" in nodes.audit(1)
        assert not pathlib.Path(status.path).exists()
