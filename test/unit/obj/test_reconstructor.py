"""Passes of the object-reconstructor over servers in this process: what is rebuilt of what, what goes where, what may be removed."""

import os
import random
import shutil
from hashlib import md5

import pytest
from rebuilding import SEGMENT, FragmentFarm

from swift.core.hashing import hash_path
from swift.obj.blocks import BLOCK_CRC32
from swift.obj.files import metadata
from swift.obj.reconstruction import sync
from swift.obj.replication.peers import Peers
from swift.obj.ssync.sender import Session
from swift.telemetry import recon_cache

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


# ---------------------------------------------------------------- giving back


def having(farm, name):
    """{node: names of the object's files there}."""
    return {
        number: found
        for number in farm.served
        if (
            found := sorted(
                path.rpartition("/")[2]
                for path, (_, kept) in farm.files(number).items()
                if kept.get("name") == f"/a/c/{name}"
            )
        )
    }


def at_home(farm, name, time):
    nodes = farm.ring.get_nodes("a", "c", name)[1]
    return {node["zone"]: [f"{time}#{farm.policy.fragment_of(node['index'])}#d.data"] for node in nodes}


def test_a_handoff_gives_each_fragment_to_its_own_primary(farm):
    name = NAMES[7]
    farm.put(name, body_of(name), T[1])
    first, second, third = farm.primaries(name)[:3]
    guest = farm.handoff(name)
    before = farm.everything()
    for number in (first, second):
        farm.empty(number)
    farm.put(name, body_of(name), T[1], guest, index=0)
    farm.put(name, body_of(name), T[1], guest, index=1)
    farm.put(name, body_of(name), T[1], guest, index=2)
    assert having(farm, name)[guest] == [f"{T[1]}#{n}#d.data" for n in range(3)]
    farm.reconstruct(guest)
    assert having(farm, name) == at_home(farm, name, T[1])
    for number in (first, second, third):
        assert plain(farm.files(number)) == plain(before[number])
    assert not farm.served[guest].store(2).partitions()


def test_what_a_primary_has_of_others_goes_to_them(farm):
    name = NAMES[6]
    farm.put(name, body_of(name), T[1])
    first, second = farm.primaries(name)[:2]
    farm.empty(second)
    farm.put(name, body_of(name), T[1], first, index=1)
    farm.reconstruct(first)
    assert having(farm, name) == at_home(farm, name, T[1])


def test_nothing_goes_while_the_primary_is_away(farm):
    name = NAMES[5]
    farm.put(name, body_of(name), T[1], *farm.primaries(name)[1:])
    first, guest = farm.primaries(name)[0], farm.handoff(name)
    farm.put(name, body_of(name), T[1], guest, index=0)
    farm.served[first].stop()
    before = farm.files(guest)
    reconstructor = farm.reconstructor(guest)
    reconstructor.run_once()
    assert farm.files(guest) == before
    recon = recon_cache.read(reconstructor.options.recon_file)
    assert recon["object_reconstruction_stats"]["handoffs_remaining"] == 1


def test_one_at_a_time_if_so_wished(farm):
    names = [name for name in NAMES if farm.part(name) == farm.part(NAMES[0])]
    names += [f"x{n}" for n in range(200) if farm.part(f"x{n}") == farm.part(NAMES[0])][: 3 - len(names)]
    guest = farm.handoff(NAMES[0])
    for name in names:
        farm.put(name, b"x", T[1], guest, index=3)
    farm.reconstruct(guest, max_objects_per_revert="1")
    assert sum(guest in having(farm, name) for name in names) == len(names) - 1


def test_a_young_fragment_that_is_not_durable_stays_to_be_committed(farm):
    name = NAMES[4]
    guest, first = farm.handoff(name), farm.primaries(name)[0]
    farm.put(name, body_of(name), T[1], guest, index=0, durable=False)
    farm.reconstruct(guest)
    assert having(farm, name) == {guest: [f"{T[1]}#0.data"], first: [f"{T[1]}#0.data"]}
    # its writer comes back, and so does the next pass
    store = farm.served[guest].store(2)
    store.commit(store.locate(farm.part(name), hash_path("a", "c", name), f"/a/c/{name}"), T[1], 0)
    farm.reconstruct(guest)
    assert having(farm, name) == {first: [f"{T[1]}#0#d.data"]}


def test_an_old_fragment_that_is_not_durable_goes(farm):
    name = NAMES[4]
    guest, first = farm.handoff(name), farm.primaries(name)[0]
    farm.put(name, body_of(name), T[1], guest, index=0, durable=False)
    farm.reconstruct(guest, commit_window="0")
    assert having(farm, name) == {first: [f"{T[1]}#0.data"]}
    assert not farm.served[guest].store(2).partitions()


def test_a_durable_fragment_behind_one_that_is_not(farm):
    """Both have the same index: neither is taken for the other."""
    name = NAMES[4]
    guest, first = farm.handoff(name), farm.primaries(name)[0]
    farm.put(name, b"old", T[1], guest, index=0)
    farm.put(name, b"new", T[2], guest, index=0, durable=False)
    farm.reconstruct(guest)
    assert having(farm, name) == {
        guest: [f"{T[2]}#0.data"],
        first: [f"{T[1]}#0#d.data", f"{T[2]}#0.data"],
    }


def test_a_commit_that_comes_while_it_is_given_back(farm, monkeypatch):
    """The primary has a fragment that it does not know to be durable: that one must not be purged here as if it were."""
    name = NAMES[4]
    guest, first = farm.handoff(name), farm.primaries(name)[0]
    farm.put(name, body_of(name), T[1], guest, index=0, durable=False)
    store = farm.served[guest].store(2)
    place = store.locate(farm.part(name), hash_path("a", "c", name), f"/a/c/{name}")
    run = Session.run

    def and_commit(self, offers, check_only=False):
        result = run(self, offers, check_only)
        store.commit(place, T[1], 0)
        return result

    monkeypatch.setattr(Session, "run", and_commit)
    farm.reconstruct(guest, commit_window="0")
    assert having(farm, name) == {guest: [f"{T[1]}#0#d.data"], first: [f"{T[1]}#0.data"]}
    monkeypatch.setattr(Session, "run", run)
    farm.reconstruct(guest)
    assert having(farm, name) == {first: [f"{T[1]}#0#d.data"]}


@pytest.mark.parametrize("what", ["data", "meta", "tombstone"])
def test_what_is_written_while_it_is_given_back_stays(farm, monkeypatch, what):
    name = NAMES[4]
    guest, first = farm.handoff(name), farm.primaries(name)[0]
    farm.put(name, body_of(name), T[1], guest, index=0)
    run = Session.run

    def and_write(self, offers, check_only=False):
        result = run(self, offers, check_only)
        if what == "data":
            farm.put(name, b"newer", T[2], guest, index=0)
        elif what == "meta":
            assert farm.request(guest, "POST", name, X_Timestamp=T[2], X_Object_Meta_A="b").status == 202
        else:
            assert farm.request(guest, "DELETE", name, X_Timestamp=T[2]).status == 204
        monkeypatch.setattr(Session, "run", run)
        return result

    monkeypatch.setattr(Session, "run", and_write)
    farm.reconstruct(guest)
    farm.reconstruct(guest)
    found = having(farm, name)
    if what == "tombstone":
        assert list(found.values()).count([f"{T[2]}.ts"]) >= 3
    elif what == "data":
        assert found == {first: [f"{T[2]}#0#d.data"]}
    else:
        assert found == {first: [f"{T[1]}#0#d.data", f"{T[2]}.meta"]}
    assert guest not in found


def test_a_tombstone_of_a_guest_reaches_so_many_that_nothing_comes_back(farm):
    name = NAMES[3]
    guest = farm.handoff(name)
    farm.put(name, body_of(name), T[1])
    farm.request(guest, "DELETE", name, X_Timestamp=T[2])
    farm.reconstruct(guest)
    found = having(farm, name)
    assert guest not in found
    assert list(found.values()).count([f"{T[2]}.ts"]) == 3
    farm.reconstruct()
    assert having(farm, name) == dict.fromkeys(farm.primaries(name), [f"{T[2]}.ts"])


def test_a_tombstone_that_too_few_would_take_stays(farm):
    name = NAMES[3]
    guest = farm.handoff(name)
    farm.request(guest, "DELETE", name, X_Timestamp=T[2])
    for number in farm.primaries(name)[:4]:
        farm.served[number].stop()
    farm.reconstruct(guest)
    assert having(farm, name)[guest] == [f"{T[2]}.ts"]


# ---------------------------------------------------------------- what nodes know of each other


def test_a_fragment_becomes_durable_where_another_node_knows(farm):
    name = NAMES[2]
    first, *others = farm.primaries(name)
    farm.put(name, body_of(name), T[1], *others)
    farm.put(name, body_of(name), T[1], first, durable=False)
    farm.reconstruct(*others)
    assert having(farm, name) == at_home(farm, name, T[1])


def test_fragments_that_nobody_knows_to_be_durable_are_not_spread(farm):
    name = NAMES[2]
    farm.put(name, body_of(name), T[1], *farm.primaries(name)[:4], durable=False)
    before = farm.everything()
    farm.reconstruct()
    assert farm.everything() == before


def test_metadata_and_tombstones_reach_the_partners(farm):
    for name in NAMES[:4]:
        farm.put(name, body_of(name), T[1])
    for name in NAMES[:2]:
        number = farm.primaries(name)[2]
        assert farm.request(number, "POST", name, X_Timestamp=T[2], X_Object_Meta_A="b").status == 202
    for name in NAMES[2:4]:
        assert farm.request(farm.primaries(name)[1], "DELETE", name, X_Timestamp=T[3]).status == 204
    farm.reconstruct()
    farm.reconstruct()
    for name in NAMES[:2]:
        for files in having(farm, name).values():
            assert files[1:] == [f"{T[2]}.meta"]
    for name in NAMES[2:4]:
        assert having(farm, name) == dict.fromkeys(farm.primaries(name), [f"{T[3]}.ts"])


def test_a_disk_that_is_unmounted_is_stood_in_for(farm):
    name = NAMES[7]
    farm.put(name, body_of(name), T[1])
    lost = farm.primaries(name)[0]
    shutil.rmtree(farm.served[lost].app.device)
    partner = farm.primaries(name)[1]
    farm.reconstruct(partner, rebuild_handoff_node_count="0")
    assert len(having(farm, name)) == 5
    # the handoffs for a fragment are those at its place in their order
    part = int(farm.part(name))
    expected = [n["zone"] for n in farm.ring.get_more_nodes(part) if n["handoff_index"] % 6 == 0][:1]
    farm.reconstruct(partner)
    found = having(farm, name)
    assert [number for number in found if number not in farm.primaries(name)] == expected
    assert found[expected[0]] == [f"{T[1]}#0#d.data"]
    assert any("responded as unmounted" in line for line in farm.log(partner))


# ---------------------------------------------------------------- proof


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x20]))


def rot(farm, number, name, at=200, trusting=True):
    """Change a byte of a node's fragment behind its back. `trusting`: its checksums go with it, as those of other implementations that never had any."""
    path = farm.path(number, name)
    flip(path, at)
    if trusting:
        with open(path, "rb") as file:
            kept = metadata.read(file.fileno())
            file.seek(0)
            kept["ETag"] = md5(file.read()).hexdigest()
        kept.pop(BLOCK_CRC32, None)
        os.unlink(path + ".new") if os.path.exists(path + ".new") else None
        shutil.copyfile(path, path + ".new")
        with open(path + ".new", "r+b") as file:
            metadata.write(file.fileno(), kept)
        os.rename(path + ".new", path)


LONG = 20 * SEGMENT + 3  # archives of less than 64 KiB: servers say nothing of having checked them
HUGE = 300_000


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("size", [100, LONG, HUGE])
@pytest.mark.parametrize("rotten", [0, 1, 5])
def test_a_rotten_fragment_is_found_out_and_left_out(farm, sums, size, rotten):
    """It looks right to its server, and one more is at hand to tell."""
    name = NAMES[0]
    body = body_of(name, size)
    farm.put(name, body, T[1], sums=sums)
    before = farm.everything()
    lost = farm.primaries(name)[3]
    farm.empty(lost)
    rot(farm, farm.primaries(name)[rotten], name, 80 + min(size // 8, 300))
    for number in farm.served:
        if number != lost:
            farm.reconstruct(number)
    if (sums and size != HUGE) or size == 100:
        assert plain(farm.files(lost)) == plain(before[lost])
    else:  # of more than 256 segments there are no checksums: nobody can tell which of five it is, and nothing is made
        assert plain(farm.files(lost)) in ({}, plain(before[lost]))


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("size", [100, LONG, HUGE])
def test_nothing_is_made_of_too_few_of_which_one_is_rotten(farm, sums, size):
    name = NAMES[0]
    farm.put(name, body_of(name, size), T[1], sums=sums)
    nodes = farm.primaries(name)
    for number in nodes[4:]:
        farm.empty(number)
    rot(farm, nodes[1], name, 90)
    farm.reconstruct(*nodes[:4])
    assert set(having(farm, name)) == set(nodes[:4])
    lines = [line for number in nodes[:4] for line in farm.log(number)]
    assert any("unable to make fragment" in line or "ERROR syncing" in line for line in lines)


@pytest.mark.parametrize("size", [100, LONG, HUGE])
def test_exactly_enough_and_nothing_but_the_etag_to_prove_it(farm, size):
    name = NAMES[0]
    farm.put(name, body_of(name, size), T[1], sums=False)
    before = farm.everything()
    nodes = farm.primaries(name)
    for number in nodes[:2]:
        farm.empty(number)
    farm.reconstruct()
    farm.reconstruct()
    for number in nodes:
        assert plain(farm.files(number)) == plain(before[number])


def test_one_that_cannot_be_made_holds_up_no_other(farm):
    names = [n for n in (f"y{n}" for n in range(300)) if farm.part(n) == farm.part("y0")][:5]
    for name in names:
        farm.put(name, body_of(name, HUGE), T[1], sums=False)
    nodes = farm.primaries(names[0])
    for name in names[1:3]:
        rot(farm, nodes[1], name, 90)
        rot(farm, nodes[2], name, 99)  # errors at the same place might cancel each other out
    for name in names[3:4]:
        for number in nodes[1:4]:
            os.unlink(farm.path(number, name))
    farm.empty(nodes[5])
    farm.reconstruct(nodes[0], nodes[4])
    assert nodes[5] in having(farm, names[0])
    assert nodes[5] in having(farm, names[4])
    for name in names[1:4]:
        assert nodes[5] not in having(farm, name)


def test_our_own_rotten_fragment_is_set_aside_and_comes_back(farm):
    name = NAMES[0]
    farm.put(name, body_of(name, HUGE), T[1])
    before = farm.everything()
    nodes = farm.primaries(name)
    rot(farm, nodes[0], name, 5000, trusting=False)
    farm.empty(nodes[1])
    farm.reconstruct(nodes[0])
    assert nodes[0] not in having(farm, name)
    farm.reconstruct()
    farm.reconstruct()
    for number in nodes:
        assert plain(farm.files(number)) == plain(before[number])


# ---------------------------------------------------------------- the last of its kind


def age(farm, name, *numbers):
    """Tombstones of a deletion were reclaimed everywhere, and one node was away all the time."""
    for number in farm.primaries(name):
        if number not in numbers:
            os.unlink(farm.path(number, name))


@pytest.mark.parametrize(
    ("conf", "left", "is_set_aside"),
    [
        ({}, 1, False),
        ({"quarantine_threshold": "1"}, 1, True),
        ({"quarantine_threshold": "1"}, 2, False),
        ({"quarantine_threshold": "2"}, 2, True),
        ({"quarantine_threshold": "6"}, 4, False),
        ({"quarantine_threshold": "1", "quarantine_age": "1e12"}, 1, False),
        ({"quarantine_threshold": "1", "request_node_count": "6"}, 1, True),
    ],
)
def test_lonely_fragments(farm, conf, left, is_set_aside):
    name = NAMES[7]
    farm.put(name, body_of(name), T[1])
    nodes = farm.primaries(name)[:left]
    age(farm, name, *nodes)
    farm.reconstruct(nodes[0], **{"quarantine_age": "1000", **conf})
    assert (nodes[0] not in having(farm, name)) is is_set_aside
    said = any("Solitary fragment #0" in line for line in farm.log(nodes[0]))
    assert said is is_set_aside


def test_a_fragment_is_not_lonely_if_somebody_did_not_answer(farm):
    name = NAMES[7]
    farm.put(name, body_of(name), T[1])
    nodes = farm.primaries(name)
    age(farm, name, nodes[0])
    farm.served[nodes[3]].stop()
    farm.reconstruct(nodes[0], quarantine_threshold="1", quarantine_age="1000")
    assert nodes[0] in having(farm, name)


def test_a_fragment_is_not_lonely_if_a_handoff_has_others(farm):
    name = NAMES[7]
    farm.put(name, body_of(name), T[1])
    nodes = farm.primaries(name)
    age(farm, name, nodes[0])
    for index in range(1, 4):
        farm.put(name, body_of(name), T[1], farm.handoff(name), index=index)
    farm.reconstruct(nodes[0], quarantine_threshold="1", quarantine_age="1000")
    assert having(farm, name)[nodes[1]] == [f"{T[1]}#1#d.data"]  # and it is made of them
    assert nodes[0] in having(farm, name)
