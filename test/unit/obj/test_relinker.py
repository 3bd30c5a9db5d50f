"""The relinker: relink, increase, cleanup, finish, and the way back."""

import collections
import json
import os
import signal
import types

import pytest
from growing import POWER, Growing
from obj_golden import load
from test_crash import killed

from swift.core.hashing import hash_path
from swift.engine import fault_points
from swift.obj.files import relink, relink_state, suffixes
from swift.obj.relinking import processes, relinker

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))
NEXT = str(POWER + 1)
GOLDEN = load("relinker.json")


@pytest.fixture
def grown(root, monkeypatch):
    monkeypatch.setattr(relinker, "STATE_SECONDS", 0)
    grown = Growing(root)
    grown.app.server.devices.get("sda").inline = True  # some tests fork
    return grown


def recon(grown):
    with open(f"{grown.root}/relinker.recon") as file:
        return json.load(file)


def state(grown, datadir="objects"):
    with open(relink_state.state_path(grown.device, datadir)) as file:
        return json.load(file)


def whole_tree(root):
    """As in the golden file, less what only one implementation leaves: {path: number of links}."""
    found = {}
    for directory, _, files in os.walk(f"{root}/sda"):
        for name in files:
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, root).replace("sda/", "d0/", 1)
            found[relative] = os.stat(path).st_nlink
    return found


def golden_tree(stage):
    found = {}
    for line in GOLDEN[stage]:
        path, _, links = line.split()
        found[path] = int(links.removeprefix("nlink"))
    found.pop("d0/.lock", None)  # of a lock on the device that dropping a partition takes there
    return found


def test_as_the_reference_leaves_it(grown):
    seen = {}
    for line in GOLDEN["before"]:
        path, inode, _ = line.split()
        path = path.replace("d0/", f"{grown.root}/sda/", 1)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if inode in seen:
            os.link(seen[inode], path)
        else:
            seen[inode] = path
            with open(path, "w") as file:
                if path.endswith("hashes.invalid"):
                    here = os.path.dirname(path)
                    file.write("".join(f"{name}\n" for name in os.listdir(here) if len(name) == 3))
    grown.prepare()
    assert grown.run("relink", names=["gold"]) == 0
    assert whole_tree(grown.root) == golden_tree("after_relink")
    assert state(grown) == json.loads(GOLDEN["state_after_relink"])
    compare_recon(recon(grown), json.loads(GOLDEN["recon_after_relink"]))
    grown.increase()
    assert grown.run("cleanup", names=["0"]) == 0
    assert whole_tree(grown.root) == golden_tree("after_cleanup")
    assert state(grown) == json.loads(GOLDEN["state_after_cleanup"])
    compare_recon(recon(grown), json.loads(GOLDEN["recon_after_cleanup"]))


def compare_recon(ours, theirs):
    def plain(value):
        if isinstance(value, dict):
            return {
                name: plain(item)
                for name, item in value.items()
                if name not in ("start_time", "timestamp", "total_time")
            }
        return value

    assert plain(ours["devices"]["sda"]) == plain(theirs["devices"]["d0"])
    assert [entry["return_code"] for entry in ours["workers"].values()] == [0]
    assert [set(entry) for entry in ours["workers"].values()] == [{"devices", "return_code", "timestamp"}]


# ---------------------------------------------------------------- the whole way


def contents(grown, names):
    """Objects in several states: {name: body, None when deleted}, as the last writes left them."""
    wanted = {}
    for number, name in enumerate(names):
        body = f"body of {name}".encode() * (number * 1000 + 1)
        grown.put(name, grown.power, T1, b"old")
        grown.put(name, grown.power, T2, body)
        wanted[name] = body
        if number % 3 == 1:
            grown.request("POST", name, grown.power, X_Timestamp=T3, X_Object_Meta_A="posted")
        if number % 3 == 2:
            grown.request("DELETE", name, grown.power, X_Timestamp=T3)
            wanted[name] = None
    return wanted


def check(grown, wanted, *powers):
    for power in powers:
        for number, (name, body) in enumerate(wanted.items()):
            got = grown.get(name, power)
            assert (got.status, got.body if body is not None else None) == (
                404 if body is None else 200,
                body,
            )
            if number % 3 == 1:
                assert got.headers["x-object-meta-a"] == "posted"
            if body is None:
                assert got.headers["x-backend-timestamp"] == T3


def check_hashes(grown, datadir="objects"):
    """What replication would compare says what is there, and nothing lies where its partition is not."""
    for partition in grown.partitions(datadir):
        directory = f"{grown.device}/{datadir}/{partition}"
        _, hashes = suffixes.get_hashes(directory, reclaim_age=1e12)
        for suffix in hashes:
            assert hashes[suffix] == suffixes.hash_suffix(f"{directory}/{suffix}", reclaim_age=1e12)


def test_up(grown):
    wanted = contents(grown, grown.names(9))
    grown.prepare()
    assert grown.run("relink") == 0
    check(grown, wanted, POWER, POWER + 1)
    check_hashes(grown)
    grown.increase()
    assert grown.run("relink") == 2
    assert grown.run("cleanup") == 0
    check(grown, wanted, POWER + 1)
    check_hashes(grown)
    assert grown.partitions() == sorted({grown.partition(n, POWER + 1) for n in wanted}, key=int)
    assert all(grown.files(name, POWER) == [] for name in wanted)
    grown.finish()
    assert grown.run("cleanup") == grown.run("relink") == 2
    assert "warning: [step=relink] No policy found to increase the partition power." in grown.log.lines


def test_and_back(grown):
    wanted = contents(grown, grown.names(9))
    grown.prepare()
    assert grown.run("relink") == 0
    grown.cancel()
    assert grown.run("relink") == 2
    assert grown.run("cleanup") == 0
    check(grown, wanted, POWER)
    check_hashes(grown)
    assert grown.partitions() == sorted({grown.partition(n, POWER) for n in wanted}, key=int)
    assert all(grown.files(name, POWER + 1) == [] for name in wanted)
    grown.finish()
    # and then in earnest
    grown.prepare()
    assert grown.run("relink") == 0
    check(grown, wanted, POWER, POWER + 1)
    grown.increase()
    assert grown.run("cleanup") == 0
    check(grown, wanted, POWER + 1)


def test_without_a_relink_cleanup_links(grown):
    wanted = contents(grown, grown.names(6))
    grown.prepare()
    grown.increase()
    assert grown.run("cleanup") == 0
    check(grown, wanted, POWER + 1)
    assert grown.partitions() == sorted({grown.partition(n, POWER + 1) for n in wanted}, key=int)


def test_fragments(grown):
    headers = {"X_Object_Sysmeta_Ec_Frag_Index": "1", "X_Object_Sysmeta_Ec_Etag": "x"}
    names = grown.names(4)
    for number, name in enumerate(names):
        grown.put(name, POWER, T1, name.encode(), policy=2, **headers)
        if number == 1:
            grown.put(name, POWER, T2, b"second", policy=2, X_Backend_No_Commit="true", **headers)
    before = {name: grown.files(name, POWER, 2) for name in names}
    grown.prepare(2)
    assert grown.run("relink") == 0
    assert {name: grown.files(name, POWER + 1, 2) for name in names} == before
    grown.increase(2)
    assert grown.run("cleanup") == 0
    assert {name: grown.files(name, POWER + 1, 2) for name in names} == before
    assert all(grown.files(name, POWER, 2) == [] for name in names)
    assert state(grown, "objects-2")["prev_part_power"] == POWER


def test_a_tombstone_by_the_larger_ring_outlives_its_age(grown):
    """Older data that was not linked must not come back because the tombstone beside it may be reclaimed by now."""
    name = grown.names(1)[0]
    grown.put(name, POWER, T1, b"deleted")
    grown.prepare()
    grown.increase()
    grown.request("DELETE", name, POWER + 1, X_Timestamp=T2)
    assert grown.files(name, POWER) == [f"{T1}.data"]
    assert grown.run("cleanup") == 0
    assert grown.get(name, POWER + 1).status == 404
    assert grown.files(name, POWER) == []
    assert f"{T1}.data" not in grown.files(name, POWER + 1)


def test_what_is_newer_in_the_place_to_come_stays(grown):
    name = grown.names(1)[0]
    grown.put(name, POWER, T1, b"one")
    grown.put(name, POWER + 1, T2, b"two")
    grown.prepare()
    assert grown.run("relink") == 0
    assert grown.files(name, POWER + 1) == [f"{T2}.data"]
    grown.increase()
    assert grown.run("cleanup") == 0
    assert grown.get(name, POWER + 1).body == b"two"
    assert grown.files(name, POWER) == []


# ---------------------------------------------------------------- two files of one name


@pytest.fixture
def collided(grown):
    grown.collided = grown.names(1)[0]
    grown.put(grown.collided, POWER, T1, b"old place")
    grown.put(grown.collided, POWER + 1, T1, b"new place")
    grown.put(grown.collided + "?", POWER + 1, T1, b"beside")
    return grown


def quarantined(grown):
    found = []
    for directory, _, files in os.walk(f"{grown.device}/quarantined"):
        for name in files:
            with open(os.path.join(directory, name), "rb") as file:
                found.append(file.read())
    return found


def test_a_collision_is_an_error(collided):
    grown, name = collided, collided.collided
    grown.prepare()
    assert grown.run("relink") == 1
    old, new = (grown.where(name, power).hash_dir for power in (POWER, POWER + 1))
    assert any(
        f"hardlink collision: {old}/{T1}.data to {new}/{T1}.data "
        "(consider enabling clobber_hardlink_collisions)" in line
        for line in grown.log.lines
    )
    assert recon(grown)["devices"]["sda"]["stats"]["errors"] == 1
    assert state(grown)["state"][grown.partition(name, POWER)] is False
    grown.increase()
    assert grown.run("cleanup") == 1
    assert grown.get(name, POWER).body == b"old place"
    assert grown.get(name, POWER + 1).body == b"new place"


def test_relink_with_clobber_keeps_what_is_served(collided):
    grown, name = collided, collided.collided
    grown.request("POST", name, POWER + 1, X_Timestamp=T2, X_Object_Meta_A="beside")
    grown.prepare()
    assert grown.run("relink", clobber_hardlink_collisions="true") == 0
    assert grown.get(name, POWER + 1).body == b"old place"
    assert quarantined(grown) == [b"new place"]
    assert grown.files(name, POWER + 1) == [f"{T1}.data", f"{T2}.meta"]


def test_cleanup_with_clobber_keeps_what_is_served(collided):
    grown, name = collided, collided.collided
    grown.prepare()
    grown.increase()
    assert grown.run("cleanup", clobber_hardlink_collisions="true") == 0
    assert grown.get(name, POWER + 1).body == b"new place"
    assert quarantined(grown) == [b"old place"]
    assert grown.files(name, POWER) == []


def test_tombstones_and_copies_are_no_collision(grown):
    name, deleted = grown.names(2)
    for power in POWER, POWER + 1:
        grown.put(name, power, T1, b"same")
        grown.request("DELETE", deleted, power, X_Timestamp=T1)
    grown.prepare()
    assert grown.run("relink") == 0
    grown.increase()
    assert grown.run("cleanup") == 0
    assert grown.get(name, POWER + 1).body == b"same"
    assert grown.files(name, POWER) == grown.files(deleted, POWER) == []


def test_copies_of_which_one_has_rotted_are_a_collision(grown):
    name = grown.names(1)[0]
    for power in POWER, POWER + 1:
        grown.put(name, power, T1, b"same")
    with open(f"{grown.where(name, POWER + 1).hash_dir}/{T1}.data", "r+b") as file:
        file.write(b"S")
    grown.prepare()
    grown.increase()
    assert grown.run("cleanup") == 1
    assert grown.get(name, POWER).body == b"same"


# ---------------------------------------------------------------- what is in the way


def test_what_is_no_directory_leaves_the_partition_to_be_done(grown):
    wanted = contents(grown, grown.names(6))
    where = grown.where(next(iter(wanted)), POWER)
    os.makedirs(f"{where.partition_dir}/abc")
    with open(f"{where.partition_dir}/abc/{where.name_hash[:-3]}abc", "w"):
        pass
    grown.prepare()
    assert grown.run("relink") == 1
    assert [part for part, done in state(grown)["state"].items() if not done] == [where.partition]
    check(grown, wanted, POWER, POWER + 1)
    grown.increase()
    assert grown.run("cleanup") == 1
    check(grown, wanted, POWER + 1)


def test_a_name_that_nobody_can_read_is_taken_along(grown):
    name = grown.names(1)[0]
    grown.put(name, POWER, T1)
    with open(f"{grown.where(name, POWER).hash_dir}/rubbish", "w"):
        pass
    grown.prepare()
    grown.increase()
    assert grown.run("cleanup") == 0
    assert grown.files(name, POWER + 1) == [f"{T1}.data", "rubbish"]


def test_unmounted_and_unknown_devices(grown):
    grown.prepare()
    assert grown.run("relink", mount_check="true") == 1
    assert "warning: [step=relink] 1 disks were unmounted" in grown.log.lines
    assert not os.path.exists(relink_state.state_path(grown.device, "objects"))
    assert grown.run("relink", devices=["sdz"]) == 1
    assert "error: [step=relink] There is no device sdz in " + grown.root in grown.log.lines


def test_a_file_that_vanishes_from_the_place_to_come_keeps_its_former_one(grown, monkeypatch):
    """A reader has quarantined it there, after it was linked and before it is removed here."""
    name = grown.names(1)[0]
    grown.put(name, POWER, T1)
    grown.prepare()
    grown.increase()
    real = relink.PartitionRelink._sync

    def sync(self, moved):
        for done in moved:
            for file in os.listdir(done.new.hash_dir):
                os.unlink(f"{done.new.hash_dir}/{file}")
        return real(self, moved)

    monkeypatch.setattr(relink.PartitionRelink, "_sync", sync)
    assert grown.run("cleanup") == 1
    assert grown.get(name, POWER).status == 200
    monkeypatch.undo()
    assert grown.run("cleanup") == 0
    assert grown.get(name, POWER + 1).status == 200


def test_nothing_is_removed_that_could_not_be_synced(grown, monkeypatch):
    name = grown.names(1)[0]
    grown.put(name, POWER, T1)
    grown.prepare()
    grown.increase()

    def fail(*args, **kwargs):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(relink, "sync_entries", fail)
    assert grown.run("cleanup") == 1
    assert grown.get(name, POWER).status == 200


def test_what_was_written_meanwhile_is_not_removed(grown, monkeypatch):
    name = grown.names(1)[0]
    grown.put(name, POWER, T1, b"one")
    grown.prepare()
    grown.increase()
    real = relink.PartitionRelink._sync

    def sync(self, moved):
        grown.put(name, POWER, T2, b"two")  # by a proxy that has not heard of anything
        return real(self, moved)

    monkeypatch.setattr(relink.PartitionRelink, "_sync", sync)
    grown.run("cleanup")
    assert grown.get(name, POWER).body == b"two" or grown.get(name, POWER + 1).body == b"two"


# ---------------------------------------------------------------- state


def test_only_some_partitions(grown):
    names = grown.names(6)
    contents(grown, names)
    one = grown.partition(names[0], POWER)
    grown.prepare()
    assert grown.run("relink", partitions=[int(one)]) == 0
    assert {part for part, done in state(grown)["state"].items() if done} == {one}
    assert grown.run("relink") == 0
    assert all(state(grown)["state"].values())


def test_what_is_done_is_not_done_again(grown):
    contents(grown, grown.names(6))
    grown.prepare()
    assert grown.run("relink") == 0
    assert recon(grown)["devices"]["sda"]["stats"]["hash_dirs"] == 6
    assert grown.run("relink") == 0
    assert recon(grown)["devices"]["sda"]["stats"]["hash_dirs"] == 0


def test_a_step_that_was_given_up_and_begun_again_begins_anew(grown):
    """Between the two, nobody linked what was written."""
    name, other = grown.names(2)
    grown.put(name, POWER, T1)
    grown.prepare()
    assert grown.run("relink") == 0
    path = relink_state.state_path(grown.device, "objects")
    grown.cancel()
    grown.finish()
    os.utime(path, (1.6e9, 1.6e9))  # the ring, of which it knows nothing, is younger
    grown.put(name, POWER, T2, b"two")
    grown.prepare()
    assert grown.run("relink") == 0
    assert grown.get(name, POWER + 1).body == b"two"


def test_a_limit_of_pace(grown, monkeypatch):
    waits = []
    monkeypatch.setattr("swift.core.clock.sleep", waits.append)
    contents(grown, grown.names(6))
    grown.prepare()
    assert grown.run("relink", files_per_second="1") == 0
    assert len(waits) >= 1


# ---------------------------------------------------------------- processes


def test_workers(grown):
    os.makedirs(f"{grown.root}/sdb")
    contents(grown, grown.names(6))
    grown.prepare()
    assert grown.run("relink", devices=["sda", "sdb"], workers="auto") == 0
    told = recon(grown)
    assert sorted(entry["devices"][0] for entry in told["workers"].values()) == ["sda", "sdb"]
    assert {entry["return_code"] for entry in told["workers"].values()} == {0}
    assert told["devices"]["sda"]["parts_done"] == told["devices"]["sda"]["total_parts"] > 0
    # also an empty device says that the change is under way
    assert relink_state.powers(f"{grown.root}/sdb", "objects")[:2] == (POWER, POWER + 1)


def test_a_worker_that_dies(grown, monkeypatch):
    os.makedirs(f"{grown.root}/sdb")
    contents(grown, grown.names(6))
    grown.prepare()
    monkeypatch.setattr(fault_points, "_fault", ("relink:linked", 1))
    assert grown.run("relink", devices=["sda", "sdb"], workers="2") == 1
    codes = {entry["devices"][0]: entry["return_code"] for entry in recon(grown)["workers"].values()}
    assert codes == {"sda": -signal.SIGKILL, "sdb": 0}
    assert any("after receiving signal: 9" in line for line in grown.log.lines)
    monkeypatch.undo()
    assert grown.run("relink", devices=["sda", "sdb"], workers="2") == 0


# ---------------------------------------------------------------- killed

RELINK_POINTS = ["relink:begun", "relink:linked", "relink:linked:3", "relink:synced", "relink:gone over",
                 "invalidate:appended:2", "relink:state written", "relink:state written:3", "relink:state kept",
                 "mkdirs_durable:made:2", "write_durable:written"]  # fmt: skip
CLEANUP_POINTS = [*(point for point in RELINK_POINTS if not point.startswith("mkdirs")), "relink:removed",
                  "relink:removed:2", "drop:emptied"]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("point", RELINK_POINTS)
def test_killed_in_relink(grown, point):
    wanted = contents(grown, grown.names(6))
    grown.prepare()
    assert killed(point, lambda: grown.run("relink"))
    check(grown, wanted, POWER)
    assert grown.run("relink") == 0
    check(grown, wanted, POWER, POWER + 1)
    check_hashes(grown)
    assert all(state(grown)["state"].values())


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("relinked", [True, False])
@pytest.mark.parametrize("point", CLEANUP_POINTS)
def test_killed_in_cleanup(grown, point, relinked):
    wanted = contents(grown, grown.names(6))
    grown.prepare()
    if relinked:
        grown.run("relink")
    grown.increase()
    died = killed(point, lambda: grown.run("cleanup"))
    assert died or (relinked and point.startswith(("relink:linked", "invalidate")))
    if relinked:
        check(grown, wanted, POWER + 1)
    assert grown.run("cleanup") == 0
    check(grown, wanted, POWER + 1)
    check_hashes(grown)
    assert all(grown.files(name, POWER) == [] for name in wanted)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_killed_again_and_again(grown):
    wanted = contents(grown, grown.names(9))
    grown.prepare()
    deaths = collections.Counter()
    for step in "relink", "cleanup":
        if step == "cleanup":
            grown.increase()
        for number in range(1, 200):
            point = "relink:linked" if step == "relink" else "relink:removed"
            if not killed(f"{point}:{number % 3 + 1}", lambda step=step: grown.run(step)):
                break
            deaths[step] += 1
            check(grown, wanted, POWER + (step == "cleanup"))
        assert grown.run(step) == 0
    assert min(deaths.values()) >= 3
    check(grown, wanted, POWER + 1)
    check_hashes(grown)


# ---------------------------------------------------------------- options


def test_the_loggers_prefix():
    lines = []
    logger = types.SimpleNamespace(info=lambda message, *args: lines.append(message % args))
    processes.Prefixed(logger, "[step=relink] ").info("%d of %s", 1, "a")
    assert lines == ["[step=relink] 1 of a"]


def test_hashes_are_as_names_say(grown):
    assert grown.where("o1", 5).name_hash == hash_path("a", "c", "o1")
