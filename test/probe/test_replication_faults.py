"""Replication while things break: servers and replicators killed in the middle, a full disk. In the end every copy is where it belongs."""

import os
import random
import signal
import subprocess
import time

import pytest

from swift.core import hashing
from test.object_nodes import OURS, ObjectNodes

T1, T2 = "1700000001.00000", "1700000002.00000"
NAMES = [f"o{n}" for n in range(120)]


@pytest.fixture
def nodes(tmp_path):
    hashing.set_hash_config("changeme", "changeme")
    with ObjectNodes(tmp_path / "nodes", [OURS] * 4) as nodes:
        yield nodes


def fill(nodes):
    chance = random.Random(1)
    bodies = {}
    for name in NAMES:
        bodies[name] = chance.randbytes(chance.choice([10, 5000, 300_000]))
        nodes.put(name, bodies[name], T1)
    return bodies


def check_whole(nodes, bodies, files):
    for node in nodes.nodes:
        assert nodes.files(node) == nodes.belonging(node, files), f"node {node}"
    for name, body in bodies.items():
        for node in nodes.primaries(name):
            status, _, got = nodes.request(node, "GET", name)
            assert (status, got == body) == (200, True), name
        assert not list(nodes.home.glob("node*/sda/quarantined/*/*"))


def begin(nodes, node):
    """A replicator on its way."""
    return subprocess.Popen(
        [str(OURS / "swift-object-replicator"), str(nodes.conf(node)), "once"],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_the_receiver_is_killed_again_and_again(nodes):
    """What it acknowledged is whole; the next pass brings the rest."""
    bodies = fill(nodes)
    files = nodes.everything()
    nodes.empty(1)
    for tries in range(4):
        senders = [begin(nodes, node) for node in (2, 3, 4)]
        time.sleep(0.4 + 0.3 * tries)
        nodes.stop(1)
        for sender in senders:
            assert sender.wait(120) == 0  # a peer that dies is no error of theirs
        nodes.start(1)
        for file in nodes.files(1):
            assert file in files
    nodes.replicate(2, 3, 4)
    check_whole(nodes, bodies, files)


def test_the_replicator_is_killed_again_and_again(nodes):
    """In the middle of giving back what it has as a handoff, above all."""
    bodies = {}
    chance = random.Random(2)
    for name in NAMES:
        bodies[name] = chance.randbytes(chance.choice([10, 5000, 300_000]))
        nodes.put(name, bodies[name], T1, nodes.handoff(name))
    files = nodes.everything()
    for tries in range(4):
        running = [begin(nodes, node) for node in nodes.nodes]
        time.sleep(0.4 + 0.2 * tries)
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert nodes.everything() >= files  # nothing is nowhere
    nodes.replicate()
    check_whole(nodes, bodies, files)
    for node in nodes.nodes:
        assert {int(part) for part in nodes.partitions(node)} <= {
            part for part in range(16) if node in [n["zone"] for n in nodes.ring.get_part_nodes(part)]
        }


def test_a_disk_that_fills_up(nodes):
    """What does not fit is not there, and nothing was removed elsewhere for it."""
    if os.geteuid():
        pytest.skip("mounting a small disk needs root")
    bodies = fill(nodes)
    files = nodes.everything()
    nodes.stop(1)
    nodes.empty(1)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(nodes.disk(1))], check=True)
    try:
        nodes.start(1)
        said = nodes.replicate(2, 3, 4)
        assert " failures" in said and " 0 failures" not in said.rpartition("successes")[2]
        there = nodes.files(1)
        assert there
        assert set(there) < set(nodes.belonging(1, files))
        for name in NAMES:
            if 1 in nodes.primaries(name):
                status, _, got = nodes.request(1, "GET", name)
                assert status == 404 or got == bodies[name]
        for node in (2, 3, 4):
            # handoffs may stand in for the full disk meanwhile
            assert set(nodes.files(node)) >= set(nodes.belonging(node, files))
        subprocess.run(["mount", "-o", "remount,size=200m", str(nodes.disk(1))], check=True)
        nodes.replicate(2, 3, 4)
        nodes.replicate(2, 3, 4)
        check_whole(nodes, bodies, files)
    finally:
        nodes.stop(1)
        subprocess.run(["umount", str(nodes.disk(1))], check=True)


def test_a_handoff_whose_primaries_are_full_keeps_its_copy(nodes):
    if os.geteuid():
        pytest.skip("mounting a small disk needs root")
    name = next(n for n in NAMES if 1 in nodes.primaries(n))
    body = random.Random(3).randbytes(3 << 20)
    handoff = nodes.handoff(name)
    nodes.put(name, body, T1, handoff)
    nodes.stop(1)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(nodes.disk(1))], check=True)
    try:
        nodes.start(1)
        nodes.replicate(handoff)
        assert nodes.request(handoff, "GET", name)[2] == body
        assert len(nodes.files(handoff)) == 1
        subprocess.run(["mount", "-o", "remount,size=20m", str(nodes.disk(1))], check=True)
        nodes.replicate(handoff)
        assert nodes.files(handoff) == []
        for node in nodes.primaries(name):
            assert nodes.request(node, "GET", name)[2] == body
    finally:
        nodes.stop(1)
        subprocess.run(["umount", str(nodes.disk(1))], check=True)
