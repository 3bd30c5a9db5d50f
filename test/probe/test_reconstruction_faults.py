"""Fragments while things break: reconstructors and servers killed at each step, a full disk, rotten fragments. In the end all are where they belong."""

import http.client
import os
import pathlib
import random
import signal
import subprocess
import time

import pytest

from swift.core import hashing
from test.fragment_nodes import FragmentNodes, body_of
from test.object_nodes import OURS

T1, T2 = "1700000001.00000", "1700000002.00000"
SIZES = (0, 10, 5000, 65537, 300_000)
NAMES = [f"o{n}" for n in range(40)]
LOST = (1, "sda")


@pytest.fixture
def nodes(tmp_path):
    hashing.set_hash_config("changeme", "changeme")
    with FragmentNodes(tmp_path / "nodes", [OURS] * 4) as nodes:
        yield nodes
        for path in sorted(nodes.home.glob("*.log")):
            assert "Traceback" not in path.read_text(errors="replace"), path


def fill(nodes, names=NAMES):
    for number, name in enumerate(names):
        nodes.write(name, body_of(name, SIZES[number % len(SIZES)]), T1)
    return nodes.all_contents()


def check_equal(nodes, before):
    assert nodes.all_contents() == before
    assert not list(nodes.home.glob("node*/sd?/quarantined/*/*"))


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def is_part_of(found, before):
    """Nothing is on any disk that was not there at first: no half fragments, no wrong ones. They need not be committed."""
    for spot, files in found.items():
        for path, content in files.items():
            durable = path if path.endswith("#d.data") else path.replace(".data", "#d.data")
            if before[spot].get(durable) != content:
                return False
    return True


@pytest.mark.parametrize("point", ["rebuild:made:1", "rebuild:made:6"])
def test_killed_in_the_middle_of_rebuilding(nodes, point):
    before = fill(nodes)
    nodes.clear(LOST)
    processes = nodes.reconstructors(2, 3, 4, SWIFT_FAULT_POINT=point)
    for process in processes:
        process.communicate(timeout=120)
    assert any(process.returncode == -signal.SIGKILL for process in processes)
    assert is_part_of(nodes.all_contents(), before)
    nodes.reconstruct(2, 3, 4)
    nodes.reconstruct()
    check_equal(nodes, before)


@pytest.mark.parametrize("point", ["revert:safe", "purge:unlinked", "drop:emptied"])
def test_killed_in_the_middle_of_giving_back(nodes, point):
    """No fragment is nowhere, at any time."""
    before = fill(nodes)
    moved = {}
    for name in NAMES[:20]:
        for at, guest in enumerate(nodes.guests(name)):
            home = nodes.homes(name)[at]
            source = nodes.file(home, name)
            target = nodes.path(guest) / source.relative_to(nodes.path(home))
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(source, target)
            moved[source.name, name] = home
    for node in nodes.nodes:
        (process,) = nodes.reconstructors(node, SWIFT_FAULT_POINT=point)
        process.communicate(timeout=120)
        for name in NAMES[:20]:
            there = {file for files in nodes.names(name).values() for file in files}
            assert there == {f"{T1}#{index}#d.data" for index in range(6)}
    nodes.reconstruct_at_once()
    nodes.reconstruct_at_once()
    check_equal(nodes, before)


def test_the_receiver_is_killed_again_and_again(nodes):
    before = fill(nodes)
    nodes.clear(LOST)
    for tries in range(3):
        senders = nodes.reconstructors(2, 3, 4)
        time.sleep(0.5 + 0.4 * tries)
        nodes.stop(1)
        for sender in senders:
            sender.communicate(timeout=120)
            assert sender.returncode == 0  # a peer that dies is no error of theirs
        nodes.start(1)
        assert is_part_of(nodes.all_contents(), before)
    nodes.reconstruct_at_once()
    nodes.reconstruct_at_once()
    check_equal(nodes, before)


def test_a_source_is_killed_while_others_rebuild(nodes):
    """Too few may be left for a while; nothing wrong is made of them."""
    before = fill(nodes)
    nodes.clear(LOST)
    processes = nodes.reconstructors(2, 3)
    time.sleep(0.6)
    nodes.stop(4)
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert is_part_of(nodes.all_contents(), before)
    nodes.start(4)
    nodes.reconstruct_at_once()
    nodes.reconstruct_at_once()
    check_equal(nodes, before)


def test_a_disk_that_fills_up_while_it_is_rebuilt(nodes):
    if os.geteuid():
        pytest.skip("mounting a small disk needs root")
    before = fill(nodes)
    nodes.stop(1)
    nodes.clear(LOST)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(nodes.path(LOST))], check=True)
    try:
        nodes.start(1)
        nodes.reconstruct(2, 3, 4)
        found = nodes.all_contents()
        assert is_part_of({LOST: found[LOST]}, before)
        assert 0 < len(found[LOST]) < len(before[LOST])
        for spot in nodes.spots:
            if spot != LOST:  # guests may stand in for it
                assert found[spot].items() >= before[spot].items()
        subprocess.run(["mount", "-o", "remount,size=50m", str(nodes.path(LOST))], check=True)
        nodes.reconstruct_at_once()
        nodes.reconstruct_at_once()
        check_equal(nodes, before)
    finally:
        nodes.stop(1)
        subprocess.run(["umount", str(nodes.path(LOST))], check=True)


def test_a_full_primary_costs_a_guest_nothing(nodes):
    if os.geteuid():
        pytest.skip("mounting a small disk needs root")
    name, body = next(n for n in NAMES if nodes.homes(n)[0][0] != nodes.guests(n)[0][0]), os.urandom(3 << 20)
    home, guest = nodes.homes(name)[0], nodes.guests(name)[0]
    nodes.write(name, body, T1, guest, index=0)
    before = nodes.contents(guest)
    nodes.stop(home[0])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(nodes.path(home))], check=True)
    try:
        nodes.start(home[0])
        nodes.reconstruct(guest[0])
        assert nodes.contents(guest) == before
        subprocess.run(["mount", "-o", "remount,size=50m", str(nodes.path(home))], check=True)
        nodes.reconstruct(guest[0])
        assert nodes.contents(guest) == {}
        assert nodes.contents(home) == before
    finally:
        nodes.stop(home[0])
        subprocess.run(["umount", str(nodes.path(home))], check=True)


def flip(path: pathlib.Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 0x10
    with open(path, "r+b") as file:  # in place: its attributes stay
        file.write(data)


@pytest.mark.parametrize("size", [10, 5000, 300_000])
def test_a_rotten_fragment_is_set_aside_when_it_is_read_and_made_anew(nodes, size):
    chance = random.Random(size)
    for name in NAMES[:6]:
        nodes.write(name, body_of(name, size), T1)
    before = nodes.all_contents()
    for number, name in enumerate(NAMES[:6]):
        spot = nodes.homes(name)[number]
        flip(nodes.file(spot, name), chance.randrange(1 << 20))
        try:
            nodes.fragment(spot, "GET", name)
        except (OSError, http.client.HTTPException):
            pass  # it broke off
        assert nodes.fragment(spot, "GET", name)[0] == 404
    assert len(list(nodes.home.glob("node*/sd?/quarantined/objects-2/*"))) == 6
    nodes.reconstruct_at_once()
    nodes.reconstruct_at_once()
    assert nodes.all_contents() == before


def test_a_rotten_fragment_that_nobody_has_read_misleads_nobody(nodes):
    """It is found by the check of whoever sends it, while another is made."""
    for name in NAMES[:10]:
        nodes.write(name, body_of(name, 300_000), T1)
    before = nodes.all_contents()
    for name in NAMES[:10]:
        flip(nodes.file(nodes.homes(name)[1], name), 30_000)
        nodes.file(nodes.homes(name)[3], name).unlink()
    for _ in range(3):
        nodes.reconstruct_at_once()
    assert nodes.all_contents() == before
