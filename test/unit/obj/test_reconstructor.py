"""Passes of the object-reconstructor over servers in this process: what is rebuilt of what, what goes where, what may be removed."""

import os
import random
import shutil
from hashlib import md5

import pytest
from rebuilding import SEGMENT, FragmentFarm

from swift.core.concurrency import sleep
from swift.core.errors import ConfigError
from swift.core.hashing import hash_path
from swift.obj.blocks import BLOCK_CRC32
from swift.obj.files import metadata
from swift.obj.files.store import FileStore
from swift.obj.reconstruction import reconstructor, report, sync
from swift.obj.replication import passes
from swift.obj.replication.peers import Peers
from swift.obj.ssync.sender import Session
from swift.telemetry import recon_cache
from swift.telemetry.node_metrics import state_families

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
    farm.reconstruct(guest)
    assert farm.files(guest) == before
    recon = recon_cache.read(f"{farm.root}/n{guest}/object.recon")
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


# ---------------------------------------------------------------- comparing


def test_a_peer_that_compares_one_at_a_time(farm, monkeypatch):
    """The reference ignores the headers."""
    for name in NAMES:
        farm.put(name, body_of(name), T[1])
    farm.reconstruct()
    ask = Peers._ask

    def plain_answer(self, node, policy_index, what, extra=()):
        return ask(self, node, policy_index, what)

    monkeypatch.setattr(Peers, "_ask", plain_answer)
    sessions = counted(monkeypatch, Session, "run")
    farm.reconstruct(1)
    assert not sessions
    stats = recon_cache.read(f"{farm.root}/n1/object.recon")["object_reconstruction_stats"]
    assert stats["attempted"] == stats["success"] > 5
    assert stats["failure"] == 0


def replicate(farm, number, part, **headers):
    return farm.served[number].app.request(
        "REPLICATE", f"/sda/{part}", X_Backend_Storage_Policy_Index="2", **headers
    )


def test_digests_of_one_fragment(farm):
    """What else lies there makes no difference; what all should have alike does."""
    name = NAMES[3]
    farm.put(name, body_of(name), T[1])
    first, second = farm.primaries(name)[:2]
    part = farm.part(name)

    def digest(number, fragment):
        return farm.served[number].store(2).digests([part])[0].of_fragment(fragment)

    assert digest(first, 0) == digest(second, 1) != digest(first, 1)
    farm.put(name, body_of(name), T[1], first, index=4)
    assert digest(first, 0) == digest(second, 1)
    farm.request(second, "POST", name, X_Timestamp=T[2], X_Object_Meta_A="b")
    assert digest(first, 0) != digest(second, 1)
    farm.request(first, "POST", name, X_Timestamp=T[2], X_Object_Meta_A="b")
    value = digest(first, 0)
    assert value == digest(second, 1)
    for fragment, expected in (("1", part), ("2", ""), (None, "")):
        got = replicate(
            farm,
            second,
            part,
            X_Backend_Compare_Partitions=f"{part}={value}",
            X_Backend_Compare_Fragments=fragment,
        )
        assert (got.status, got.headers["x-backend-equal-partitions"]) == (200, expected)


@pytest.mark.parametrize("fragments", ["", "x", "-1", "1,2", "1,", "9" * 20])
def test_bad_fragments_to_compare(farm, fragments):
    got = replicate(farm, 1, 3, X_Backend_Compare_Partitions="3=ab", X_Backend_Compare_Fragments=fragments)
    assert got.status == 400


# ---------------------------------------------------------------- options, figures, what ends a pass


def test_handoffs_only(farm):
    name = NAMES[7]
    farm.put(name, body_of(name), T[1])
    farm.empty(farm.primaries(name)[0])
    guest = farm.handoff(name)
    farm.put("guest", b"x", T[1], guest, index=0)
    for number in farm.served:
        farm.reconstruct(number, handoffs_first="yes")
    assert farm.primaries(name)[0] not in having(farm, name)
    if guest not in farm.primaries("guest"):
        assert guest not in having(farm, "guest")
    assert any("handoffs_first is deprecated" in line for line in farm.log(1))
    assert any("0 handoffs remaining" in line for line in farm.log(guest))


def test_figures(farm):
    for name in NAMES:
        farm.put(name, body_of(name), T[1])
    lost = farm.primaries(NAMES[0])[2]
    farm.empty(lost)
    partner = farm.primaries(NAMES[0])[1]
    farm.reconstruct(partner)
    recon = recon_cache.read(f"{farm.root}/n{partner}/object.recon")
    stats = recon["object_reconstruction_stats"]
    assert stats["rebuilt"] > 0 and stats["rebuilt_bytes"] > 0
    assert stats["handoffs_remaining"] == 0
    assert recon["object_reconstruction_last"] > 1.7e9
    standing = recon["object_reconstruction_standing"]["sda"]["2"]
    assert standing["partitions"] > 0 and standing["behind"] == 0 and standing["checked"]
    assert "replication_stats" not in recon
    families = state_families("object-server", {"recon_cache_path": f"{farm.root}/n{partner}"})()
    found = {family.name: family.samples for family in families}
    (sample,) = found["swift_object_reconstruction_partitions"]
    assert (sample.labels, sample.value) == ({"device": "sda", "policy": "2"}, standing["partitions"])


def test_what_is_behind(farm):
    name = NAMES[5]
    farm.put(name, body_of(name), T[1])
    first, second = farm.primaries(name)[:2]
    farm.served[second].stop()
    farm.reconstruct(first)
    standing = recon_cache.read(f"{farm.root}/n{first}/object.recon")["object_reconstruction_standing"]
    assert standing["sda"]["2"]["behind"] == 1 and standing["sda"]["2"]["behind_since"]


def test_workers_leave_what_is_summed_up():
    found = report.merged(
        {
            "sda": {"object_reconstruction_time": 1.0, "object_reconstruction_last": 1000.0, "pid": 1},
            "sdb": {"object_reconstruction_time": 0.5, "object_reconstruction_last": 1060.0, "pid": 2},
        }
    )
    assert found == {"object_reconstruction_time": 2.0, "object_reconstruction_last": 1060.0}


def test_a_changed_ring_ends_the_pass_over_its_policy(farm, monkeypatch):
    name = NAMES[7]
    farm.put(name, body_of(name), T[1])
    farm.empty(farm.primaries(name)[0])
    monkeypatch.setattr(passes.Rings, "is_current", lambda self, ring: False)
    farm.reconstruct()
    assert farm.primaries(name)[0] not in having(farm, name)


def test_what_hangs_is_ended(farm, monkeypatch):
    name = NAMES[7]
    farm.put(name, body_of(name), T[1], farm.primaries(name)[0])
    monkeypatch.setattr(sync, "sync", lambda *args: sleep(3600))
    monkeypatch.setattr(reconstructor, "sync", lambda *args: sleep(3600))
    farm.reconstruct(farm.primaries(name)[0], lockup_timeout="0.2")
    assert any("Lockup detected" in line for line in farm.log(farm.primaries(name)[0]))


@pytest.mark.parametrize(
    "conf",
    [
        {"rebuild_handoff_node_count": "-2"},
        {"quarantine_threshold": "-1"},
        {"request_node_count": "3 * x"},
        {"concurrency": "0"},
        {"max_objects_per_revert": "x"},
    ],
)
def test_bad_options(farm, conf):
    with pytest.raises((ValueError, ConfigError)):
        farm.reconstructor(1, **conf)


def test_duplicated_fragments(root):
    """Each index has two homes: what is lost on one is copied from the other, and a guest gives back to both."""
    farm = FragmentFarm(root, data=2, parity=1, copies=2)
    try:
        for name in NAMES[:8]:
            farm.put(name, body_of(name), T[1])
        before = farm.everything()
        for lost in (1, 5):
            farm.empty(lost)
            farm.reconstruct()
            assert {n: plain(files) for n, files in farm.everything().items()} == {
                n: plain(files) for n, files in before.items()
            }
        name = NAMES[7]
        guest, homes = farm.handoff(name), farm.primaries(name)
        farm.put(name, body_of(name), T[1], guest, index=2)
        for number in (homes[2], homes[5]):
            os.unlink(farm.path(number, name))
        farm.reconstruct(guest)
        assert having(farm, name) == at_home(farm, name, T[1])
    finally:
        farm.stop()


@pytest.mark.parametrize("ec_type", ["isa_l_rs_vand", "isa_l_rs_cauchy", "flat_xor_hd_3"])
def test_other_codes(root, ec_type):
    data, parity = (10, 5) if ec_type.startswith("flat") else (4, 2)
    farm = FragmentFarm(
        root, ec_type=ec_type, data=data, parity=parity, count=data + parity + 1, part_power=2
    )
    try:
        for name in NAMES[:8]:
            farm.put(name, body_of(name), T[1])
        before = farm.everything()
        for lost in (2, 3):
            farm.empty(lost)
            farm.reconstruct()
            farm.reconstruct()
            for number, files in before.items():
                assert plain(farm.files(number)) == plain(files)
    finally:
        farm.stop()


def test_fragments_that_arrive_are_written_with_others(farm, monkeypatch):
    """Small ones take no trip of their own to the disk."""
    for name in NAMES:
        farm.put(name, body_of(name, 1000), T[1])
    before = farm.everything()
    lost = farm.primaries(NAMES[0])[1]
    farm.empty(lost)
    trips = counted(monkeypatch, FileStore, "_put_trip")
    farm.reconstruct(*(number for number in farm.served if number != lost))
    assert plain(farm.files(lost)) == plain(before[lost])
    assert not trips
