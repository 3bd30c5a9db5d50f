"""What the servers of a cluster have left in memory goes when it is stopped, and nothing of anybody else."""

import os
import subprocess
import sys

import pytest

from swift.cache import changes
from swift.cli import saio
from swift.cli.saio_layout import NODES, Layout, write
from swift.core import config, hashing
from swift.obj import in_hand

NOTE = b"\1sdb1 0 7 0123456789abcdef\n"


@pytest.fixture
def layouts(tmp_path, monkeypatch):
    """Two clusters; what they share in memory is in a directory of this test."""
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr(changes, "DIRECTORY", str(memory))
    monkeypatch.setattr(in_hand, "SHARED_MEMORY", str(memory))
    found = [Layout(tmp_path / name) for name in ("ours", "theirs")]
    for layout in found:
        write(layout)
    return found


def table(layout):
    settings = config.read_ini(str(layout.etc / "swift.conf"))["swift-hash"]
    hash_config = hashing.HashConfig(
        settings["swift_hash_path_prefix"].encode(), settings["swift_hash_path_suffix"].encode()
    )
    path = os.path.join(changes.DIRECTORY, changes.table_name(os.geteuid(), hash_config))
    changes.Changes(path)
    return path


def notes(layout, content=b""):
    """What a process left that has ended, for one node."""
    directory = in_hand.notes_directory(str(layout.disks / str(NODES[0])))
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = f"{directory}/1-{f'{len(content):02x}'}"
    with open(path, "wb") as file:
        file.write(content.ljust(in_hand.RECORD, b"\0"))
    return path


def test_tables_of_this_cluster_go_and_others_stay(layouts):
    ours, theirs = ([table(layout), notes(layout)] for layout in layouts)
    saio._take_away_tables(layouts[0])
    assert [os.path.exists(path) for path in ours + theirs] == [False, False, True, True]
    assert not os.path.exists(os.path.dirname(ours[1]))


def test_what_a_killed_server_had_in_hand_stays_until_all_is_deleted(layouts):
    path, empty = notes(layouts[0], NOTE), notes(layouts[0])
    saio._take_away_tables(layouts[0])
    assert os.path.exists(path) and not os.path.exists(empty)
    saio._take_away_tables(layouts[0], unreported=True)
    assert not os.path.exists(os.path.dirname(path))


def test_what_a_living_process_uses_stays(layouts):
    path = table(layouts[0])
    held = notes(layouts[0])
    code = "import fcntl, mmap, sys; f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 0); " + (
        "g = open(sys.argv[2]); fcntl.flock(g, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, path, held]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        saio._take_away_tables(layouts[0], unreported=True)
        assert os.path.exists(path) and os.path.exists(held)
        process.communicate()
    saio._take_away_tables(layouts[0], unreported=True)
    assert not os.path.exists(path) and not os.path.exists(held)
