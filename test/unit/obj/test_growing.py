"""Writes while the partition power changes: whoever asks, by the smaller ring or by the larger one, finds what was acknowledged."""

import json
import os

import pytest
from growing import POWER, Growing
from hypothesis import given
from hypothesis import strategies as st
from test_crash import killed

from swift.obj.files import growing, relink_state
from swift.obj.files.layout import ObjectLocation

T1, T2, T3, T4 = (f"170000000{n}.00000" for n in (1, 2, 3, 4))
NEXT = str(POWER + 1)


@pytest.fixture
def grown(root, road):
    return Growing(root, batch=road == "batch")


@pytest.fixture
def name(grown):
    return grown.names(1)[0]


def check_everywhere(grown, name, body):
    """What both rings show."""
    for power in POWER, POWER + 1:
        got = grown.get(name, power)
        if body is None:
            assert got.status == 404
        else:
            assert (got.status, got.body) == (200, body)
    assert grown.files(name, POWER) == grown.files(name, POWER + 1)


@pytest.mark.parametrize("size", [0, 10, 3 << 20])
def test_prepared_each_write_is_in_both_places(grown, name, size):
    body = b"x" * size
    grown.put(name, POWER, T1, body, X_Backend_Next_Part_Power=NEXT)
    check_everywhere(grown, name, body)
    grown.request("POST", name, POWER, X_Timestamp=T2, X_Object_Meta_A="b", X_Backend_Next_Part_Power=NEXT)
    check_everywhere(grown, name, body)
    assert grown.request("HEAD", name, POWER + 1).headers["x-object-meta-a"] == "b"
    grown.put(name, POWER, T3, b"new", X_Backend_Next_Part_Power=NEXT)
    check_everywhere(grown, name, b"new")
    grown.request("DELETE", name, POWER, X_Timestamp=T4, X_Backend_Next_Part_Power=NEXT)
    check_everywhere(grown, name, None)
    assert grown.files(name, POWER + 1) == [f"{T4}.ts"]
    assert open(f"{grown.where(name, POWER + 1).partition_dir}/hashes.invalid").read().strip()


def test_a_write_that_has_no_second_place_is_not_acknowledged(grown, name):
    where = grown.where(name, POWER + 1)
    os.makedirs(os.path.dirname(where.suffix_dir), exist_ok=True)
    with open(where.suffix_dir, "w"):
        pass  # no directory can be made there
    got = grown.request("PUT", name, POWER, b"x", X_Timestamp=T1, X_Backend_Next_Part_Power=NEXT)
    assert got.status in (500, 507)


def test_another_file_of_the_same_time_in_the_second_place(grown, name):
    grown.put(name, POWER + 1, T1, b"other")
    got = grown.request("PUT", name, POWER, b"mine", X_Timestamp=T1, X_Backend_Next_Part_Power=NEXT)
    assert got.status == 409
    assert grown.get(name, POWER + 1).body == b"other"


def test_the_same_again_in_the_second_place(grown, name):
    grown.put(name, POWER + 1, T1, b"same")
    grown.put(name, POWER, T1, b"same", X_Backend_Next_Part_Power=NEXT)
    check_everywhere(grown, name, b"same")
    grown.request("DELETE", name, POWER + 1, X_Timestamp=T2)
    got = grown.request("DELETE", name, POWER, X_Timestamp=T2, X_Backend_Next_Part_Power=NEXT)
    assert got.status == 204
    check_everywhere(grown, name, None)


def test_an_upload_that_began_before_the_change_was_announced(grown, name):
    """Its proxy says nothing of another power; the relinker may be past its partition."""
    grown.put(name, POWER, T1, b"one")
    grown.prepare()
    assert grown.run("relink") == 0
    grown.put(name, POWER, T2, b"two")
    check_everywhere(grown, name, b"two")
    grown.request("POST", name, POWER, X_Timestamp=T3, X_Object_Meta_A="b")
    check_everywhere(grown, name, b"two")
    grown.increase()
    grown.put(name, POWER, T4, b"four")
    check_everywhere(grown, name, b"four")
    assert grown.run("cleanup") == 0
    grown.put(name, POWER, "1700000005.00000", b"five")
    assert grown.get(name, POWER + 1).body == b"five"


def test_a_device_that_was_away_when_the_change_ended(grown, name):
    """What its relinker left long ago is no reason to link anything."""
    grown.prepare()
    assert grown.run("relink") == 0
    path = relink_state.state_path(grown.device, "objects")
    os.utime(path, (1.7e9, 1.7e9))
    grown.put(name, POWER, T1, b"one")
    assert grown.files(name, POWER + 1) == []


def test_increased_a_write_by_the_larger_ring_is_seen_by_the_smaller_one(grown, name):
    """Proxies take up a new ring one after the other."""
    grown.put(name, POWER, T1, b"one")
    grown.prepare()
    assert grown.run("relink") == 0
    grown.increase()
    grown.put(name, POWER + 1, T2, b"two", X_Backend_Next_Part_Power=NEXT)
    check_everywhere(grown, name, b"two")
    grown.request(
        "POST", name, POWER + 1, X_Timestamp=T3, X_Object_Meta_A="b", X_Backend_Next_Part_Power=NEXT
    )
    assert grown.request("HEAD", name, POWER).headers["x-object-meta-a"] == "b"
    new = grown.names(2)[1]
    grown.put(new, POWER + 1, T2, b"new", X_Backend_Next_Part_Power=NEXT)
    check_everywhere(grown, new, b"new")
    grown.request("DELETE", name, POWER + 1, X_Timestamp=T4, X_Backend_Next_Part_Power=NEXT)
    check_everywhere(grown, name, None)


def test_once_places_are_cleaned_up_nothing_is_linked_there(grown, name):
    grown.put(name, POWER, T1, b"one")
    grown.prepare()
    grown.run("relink")
    grown.increase()
    assert grown.run("cleanup") == 0
    grown.put(name, POWER + 1, T2, b"two", X_Backend_Next_Part_Power=NEXT)
    assert grown.files(name, POWER) == []
    assert grown.files(name, POWER + 1) == [f"{T2}.data"]


def test_given_up_nothing_more_is_linked_once_it_is_cleaned_up(grown, name):
    grown.put(name, POWER, T1, b"one")
    grown.prepare()
    grown.run("relink")
    grown.cancel()
    assert grown.run("cleanup") == 0
    grown.put(name, POWER, T2, b"two", X_Backend_Next_Part_Power=str(POWER))
    assert grown.files(name, POWER) == [f"{T2}.data"]
    assert grown.files(name, POWER + 1) == grown.files(name, POWER - 1) == []


def test_an_increase_given_up_is_not_taken_for_one_that_was_made(grown, name):
    """The request says the same in both cases."""
    grown.put(name, POWER, T1, X_Backend_Next_Part_Power=str(POWER))
    assert grown.files(name, POWER - 1) == grown.files(name, POWER + 1) == []


def test_while_a_relinker_is_at_work_nothing_is_linked_into_former_places(grown, name):
    import fcntl

    grown.prepare()
    grown.run("relink")
    grown.increase()
    with open(relink_state.lock_path(grown.device, "objects")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        grown.put(name, POWER + 1, T1, b"one", X_Backend_Next_Part_Power=NEXT)
    assert grown.files(name, POWER) == []
    assert grown.get(name, POWER + 1).body == b"one"


@pytest.mark.parametrize("state", ["prepared", "straggler", "increased"])
def test_fragments_are_durable_in_both_places(grown, name, state):
    headers = {"X_Object_Sysmeta_Ec_Frag_Index": "1", "X_Object_Sysmeta_Ec_Etag": "x"}
    power = POWER
    if state != "straggler":
        headers["X_Backend_Next_Part_Power"] = NEXT
    if state != "prepared":
        grown.prepare(2)
        assert grown.run("relink") == 0
    if state == "increased":
        grown.increase(2)
        power = POWER + 1
    for time, body in (T1, b"one"), (T2, b"two"):
        grown.put(name, power, time, body, policy=2, **headers)
        for each in POWER, POWER + 1:
            assert grown.files(name, each, 2) == [f"{time}#1#d.data"]
            assert grown.get(name, each, 2).body == body
    assert grown.request("DELETE", name, power, policy=2, X_Timestamp=T3, **headers).status == 204
    assert grown.files(name, POWER, 2) == grown.files(name, POWER + 1, 2) == [f"{T3}.ts"]


def test_a_fragment_whose_commit_comes_after_the_relinker(grown, name):
    """It was linked while it was not known durable."""
    where = grown.where(name, POWER, 2)
    headers = {"X_Object_Sysmeta_Ec_Frag_Index": "1", "X_Object_Sysmeta_Ec_Etag": "x"}
    grown.put(name, POWER, T1, b"one", policy=2, X_Backend_No_Commit="true", **headers)
    assert grown.files(name, POWER, 2) == [f"{T1}#1.data"]
    grown.prepare(2)
    assert grown.run("relink", names=["2"]) == 0
    assert grown.files(name, POWER + 1, 2) == [f"{T1}#1.data"]
    service = grown.app.server
    store = service.stores.get(service.devices.get("sda"), service.policies[2])
    store.commit(store.locate(where.partition, where.name_hash, where.name), T1, 1)
    for power in POWER, POWER + 1:
        assert grown.files(name, power, 2) == [f"{T1}#1#d.data"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
@pytest.mark.parametrize(
    "point", ["write:linked", "invalidate:appended:2", "write:linked twice", "write:durable", "write:cleaned"]
)
def test_killed_between_two_places(grown, name, point, method):
    grown.app.server.devices.get("sda").inline = True  # no threads: this forks
    grown.put(name, POWER, T1, b"one", X_Backend_Next_Part_Power=NEXT)

    def write():
        grown.request(
            method, name, POWER, b"two", X_Timestamp=T2, X_Object_Meta_A="b", X_Backend_Next_Part_Power=NEXT
        )

    assert killed(point, write)
    for power in POWER, POWER + 1:
        assert grown.get(name, power).body in (
            (b"one", b"two") if method == "PUT" else (b"one", grown.get(name, power).body)
        )
    write()
    check_everywhere(grown, name, {"PUT": b"two", "POST": b"one", "DELETE": None}[method])
    grown.prepare()
    assert grown.run("relink") == 0
    check_everywhere(grown, name, {"PUT": b"two", "POST": b"one", "DELETE": None}[method])


# ---------------------------------------------------------------- partitions

HASHES = st.text("0123456789abcdef", min_size=32, max_size=32)


@given(name_hash=HASHES, power=st.integers(1, 31))
def test_an_object_stays_within_its_former_partition(name_hash, power):
    where = ObjectLocation("/d", 0, "0", name_hash, None).in_part_power(power)
    after = where.in_part_power(power + 1)
    assert int(after.partition) in (2 * int(where.partition), 2 * int(where.partition) + 1)
    assert after.in_part_power(power).hash_dir == where.hash_dir
    assert (after.partition == where.partition) == (int(after.partition) == 0)


@given(
    name_hash=HASHES,
    power=st.integers(1, 31),
    asked=st.integers(-1, 1),
    told=st.sampled_from([None, 0, 1]),
    state=st.sampled_from(["none", "relink", "increased", "cancelled"]),
)
def test_a_second_place_is_always_that_of_a_neighbouring_power(
    tmp_path_factory, name_hash, power, asked, told, state
):
    device = str(tmp_path_factory.getbasetemp())
    where = ObjectLocation(device, 0, "0", name_hash, None).in_part_power(max(power + asked, 0))
    content = {
        "relink": {"part_power": power - 1, "next_part_power": power, "state": {}},
        "increased": {
            "part_power": power,
            "next_part_power": power,
            "state": {},
            "prev_part_power": power - 1,
        },
        "cancelled": {"part_power": power, "next_part_power": power, "state": {}},
    }.get(state)
    path = relink_state.state_path(device, "objects")
    if content is None:
        if os.path.exists(path):
            os.unlink(path)
    else:
        with open(path, "w") as file:
            json.dump(content, file)
    relink_state._known.clear()
    other = growing.second_place(where, None if told is None else power - 1 + told)
    if other is not None:
        assert other.partition != where.partition
        assert other.name_hash == where.name_hash
        assert other.partition in {where.in_part_power(p).partition for p in (power - 1, power)}
    if state in ("none", "cancelled") and told is None:
        assert other is None


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "{", '{"part_power": 4}', '{"part_power": 99, "next_part_power": 99, "state": {}}',
     '{"part_power": 4, "next_part_power": 7, "state": {}}', '{"part_power": "a", "next_part_power": 5}', "\0" * 600],
)  # fmt: skip
def test_a_state_file_of_rubbish_says_nothing(tmp_path, text):
    path = relink_state.state_path(str(tmp_path), "objects")
    with open(path, "w") as file:
        file.write(text)
    assert relink_state.powers(str(tmp_path), "objects") is None
    assert relink_state.RelinkState(str(tmp_path), "objects", 4, 5).done == {}


@given(
    done=st.dictionaries(st.integers(0, 1 << 16).map(str), st.booleans(), max_size=60),
    power=st.integers(1, 31),
    cleanup=st.booleans(),
    before=st.booleans(),
)
def test_what_a_state_file_says_is_told_from_its_ends(tmp_path_factory, done, power, cleanup, before):
    device = str(tmp_path_factory.getbasetemp())
    state = relink_state.RelinkState("/nowhere", "objects", power, power if cleanup else power + 1)
    state._path, state._tmp, state._device_path = (
        relink_state.state_path(device, "objects"), f"{device}/tmp", device,
    )  # fmt: skip
    state.done = done
    state.prev_part_power = power - 1 if cleanup and before else None
    state.write()
    relink_state._known.clear()
    told = relink_state.powers(device, "objects")
    assert told[:3] == (state.part_power, state.next_part_power, state.prev_part_power)
    again = relink_state.RelinkState(device, "objects", state.part_power, state.next_part_power)
    assert (again.done, again.prev_part_power) == (done, state.prev_part_power)
