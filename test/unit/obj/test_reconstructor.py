"""Passes of the object-reconstructor over servers in this process: what is rebuilt of what, what goes where, what may be removed."""

import random

import pytest
from rebuilding import SEGMENT, FragmentFarm

from swift.obj.blocks import BLOCK_CRC32
from swift.obj.reconstruction import sync
from swift.obj.replication.peers import Peers
from swift.obj.ssync.sender import Session

T = [f"17000000{n:02d}.00000" for n in range(20)]
NAMES = [f"o{n}" for n in range(20)]
SIZES = (0, 1, 100, SEGMENT - 1, SEGMENT, SEGMENT + 1, 5 * SEGMENT + 7, 300_000)


def body_of(name, size=None):
    chance = random.Random(name)
    return chance.randbytes(SIZES[int(name[1:]) % len(SIZES)] if size is None else size)


@pytest.fixture
def farm(root):
    farm = FragmentFarm(root)
    yield farm
    farm.stop()


def counted(monkeypatch, owner, name):
    calls = []
    real = getattr(owner, name)

    def count(*args, **kwargs):
        calls.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, count)
    return calls


def plain(files):
    """Without what each server makes for itself."""
    return {
        path: (data, {key: value for key, value in kept.items() if key != BLOCK_CRC32})
        for path, (data, kept) in files.items()
    }


@pytest.mark.parametrize("sums", [True, False])
def test_an_emptied_disk_is_rebuilt_byte_for_byte(farm, sums):
    for name in NAMES:
        farm.put(name, body_of(name), T[1], sums=sums, X_Object_Meta_Color="blue")
    before = farm.everything()
    for lost in (1, 4):
        farm.empty(lost)
        farm.reconstruct(*(number for number in farm.served if number != lost))
        assert plain(farm.files(lost)) == plain(before[lost])
    assert farm.everything().keys() == before.keys()
    for number, files in before.items():
        assert plain(farm.files(number)) == plain(files)


def test_what_is_in_sync_costs_one_request_a_peer(farm, monkeypatch):
    for name in NAMES:
        farm.put(name, body_of(name), T[1])
    farm.reconstruct()
    asked = counted(monkeypatch, Peers, "_ask")
    sessions = counted(monkeypatch, Session, "run")
    synced = counted(monkeypatch, sync, "sync")
    farm.reconstruct(1)
    assert 0 < len(asked) <= 7
    assert not sessions and not synced
