"""Passes of the object-replicator over servers in this process: who asks whom, what goes where, what may be removed."""

import os
import re
import shutil

import pytest
from replicating import Farm

from swift.core.errors import ConfigError
from swift.obj.replication import passes, push, report, revert, update
from swift.obj.replication.peers import Peers
from swift.obj.server_replicate import EQUAL
from swift.obj.ssync.sender import Session, SyncError
from swift.telemetry import recon_cache
from swift.telemetry.node_metrics import state_families

T = [f"17000000{n:02d}.00000" for n in range(20)]
NAMES = [f"o{n}" for n in range(20)]


@pytest.fixture
def farm(root):
    farm = Farm(root)
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


def stats_of(farm, number):
    return recon_cache.read(f"{farm.root}/n{number}/object.recon")["replication_stats"]


# ---------------------------------------------------------------- comparing


def test_what_is_in_sync_costs_one_request_a_peer(farm, monkeypatch):
    for name in NAMES:
        farm.put(name, T[1])
    farm.replicate()
    asked = counted(monkeypatch, Peers, "_ask")
    sessions = counted(monkeypatch, Session, "run")
    hashed = counted(monkeypatch, update._Update, "_hash")
    farm.replicate(1)
    home = {farm.part(name) for name in NAMES if 1 in farm.primaries(name)}
    assert len(home) > 5
    assert len(asked) == 3  # peers, whatever the number of partitions
    assert not sessions and not hashed
    stats = stats_of(farm, 1)
    assert (stats["attempted"], stats["hashmatch"], stats["success"]) == (len(home), 2 * len(home), len(home))
    assert (stats["failure"], stats["rsync"], stats["suffix_hash"]) == (0, 0, 0)


def test_only_what_differs_is_pushed(farm, monkeypatch):
    for name in NAMES:
        farm.put(name, T[1])
    farm.replicate()
    name = NAMES[0]
    first, second, third = farm.primaries(name)
    farm.put(name, T[2], first)
    sessions = counted(monkeypatch, Session, "run")
    farm.replicate(first)
    assert len(sessions) == 2
    assert farm.having(name) == dict.fromkeys((first, second, third), T[2])
    assert stats_of(farm, first)["suffix_sync"] == 2


def test_a_peer_that_compares_one_at_a_time(farm, monkeypatch):
    """The reference ignores the header."""
    for name in NAMES:
        farm.put(name, T[1])
    ask = Peers._ask

    def plain(self, node, policy_index, what, extra=()):
        headers, body = ask(self, node, policy_index, what)
        return {key: value for key, value in headers.items() if key != EQUAL.lower()}, body

    monkeypatch.setattr(Peers, "_ask", plain)
    farm.replicate(1)
    stats = stats_of(farm, 1)
    assert (stats["hashmatch"], stats["failure"]) == (2 * stats["attempted"], 0)


def test_an_answer_that_is_no_hashes_is_a_failure_of_that_node(farm, monkeypatch):
    farm.put(NAMES[0], T[1])
    number = farm.primaries(NAMES[0])[0]
    ask = Peers._ask

    def nonsense(self, node, policy_index, what, extra=()):
        ask(self, node, policy_index, what, extra)
        return {}, b"cos\nsystem\n(S'true'\ntR."

    monkeypatch.setattr(Peers, "_ask", nonsense)
    farm.replicate(number)
    stats = stats_of(farm, number)
    assert stats["failure"] == 2
    assert sum(stats["failure_nodes"]["127.0.0.1"].values()) == 2


# ---------------------------------------------------------------- primaries


def test_a_peer_that_is_away_is_counted_and_not_waited_for(farm, monkeypatch):
    name = NAMES[0]
    farm.put(name, T[1])
    first, second, third = farm.primaries(name)
    farm.put(name, T[2], first)
    farm.served[second].stop()
    farm.replicate(first)
    assert farm.having(name)[third] == T[2]
    stats = stats_of(farm, first)
    assert stats["failure"] == 1
    assert any(
        "ERROR asking about partition" in line or "could not be reached" in line for line in farm.log(first)
    )


def test_a_device_that_is_unmounted_is_replaced_by_a_handoff(farm):
    name = NAMES[0]
    farm.put(name, T[1])
    first, second, _ = farm.primaries(name)
    shutil.rmtree(farm.served[second].app.device)
    farm.replicate(first)
    assert farm.handoff(name) in farm.having(name)
    assert any("responded as unmounted" in line for line in farm.log(first))


def test_one_that_we_lost_here_is_not_pushed_as_a_loss(farm):
    """Pushing only adds: who lacks something gets it from the others' passes."""
    farm.put(NAMES[0], T[1])
    first, second, third = farm.primaries(NAMES[0])
    store = farm.served[first].store()
    shutil.rmtree(store.datadir)
    farm.replicate(first)
    assert set(farm.having(NAMES[0])) == {second, third}
    farm.replicate(second)
    assert set(farm.having(NAMES[0])) == {first, second, third}


def test_suffixes_nobody_told_of_are_found_within_ten_passes(farm):
    """As when somebody copies files to a disk by hand."""
    name = NAMES[0]
    other = next(n for n in NAMES[1:] if farm.part(n) == farm.part(name))
    farm.put(name, T[1])
    farm.replicate()
    first = farm.primaries(name)[0]
    farm.put(other, T[1], farm.handoff(name))
    came, goes = (
        farm.served[n].app.where(f"/a/c/{other}", farm.part(name)) for n in (farm.handoff(name), first)
    )
    os.rename(came.suffix_dir, goes.suffix_dir)
    daemon = farm.replicator(first)
    passes = 0
    while len(farm.having(other)) < 3:
        daemon.run_once()
        passes += 1
        assert passes <= 10


# ---------------------------------------------------------------- handoffs


def test_a_handoff_gives_back_and_goes(farm):
    name = NAMES[0]
    handoff = farm.handoff(name)
    farm.put(name, T[1], handoff)
    farm.request(handoff, "POST", name, X_Timestamp=T[2], X_Object_Meta_A="1")
    farm.replicate(handoff)
    assert farm.having(name) == dict.fromkeys(farm.primaries(name), T[2])
    assert farm.served[handoff].store().partitions() == []
    stats = stats_of(farm, handoff)
    assert (stats["remove"], stats["success"], stats["failure"]) == (1, 1, 0)


def test_nothing_goes_unless_all_have_it(farm):
    name = NAMES[0]
    handoff = farm.handoff(name)
    farm.put(name, T[1], handoff)
    farm.served[farm.primaries(name)[1]].stop()
    farm.replicate(handoff)
    assert farm.having(name)[handoff] == T[1]
    assert stats_of(farm, handoff)["remove"] == 0
    farm.replicate(handoff, handoff_delete="2")
    assert handoff not in farm.having(name)


def test_what_is_written_to_a_handoff_meanwhile_stays(farm, monkeypatch):
    """The reference removes the whole directory once its session is over."""
    name = NAMES[0]
    handoff = farm.handoff(name)
    other = next(n for n in NAMES if n != name and farm.part(n) == farm.part(name) or n == "none")
    farm.put(name, T[1], handoff)
    run = Session.run

    def written_meanwhile(self, offers, check_only=False):
        result = run(self, offers, check_only)
        if farm.request(handoff, "HEAD", other).status != 200:
            farm.put(name, T[3], handoff, body=b"newer")
            farm.put(other, T[1], handoff)
        return result

    monkeypatch.setattr(Session, "run", written_meanwhile)
    farm.replicate(handoff)
    assert farm.having(name)[handoff] == T[3]
    assert farm.having(other)[handoff] == T[1]
    monkeypatch.undo()
    farm.replicate(handoff)
    assert handoff not in {**farm.having(name), **farm.having(other)}
    assert all(farm.request(n, "GET", name).body == b"newer" for n in farm.primaries(name))


def test_what_could_not_be_sent_stays(farm):
    good, bad = NAMES[0], next(n for n in NAMES[1:] if farm.part(n) == farm.part(NAMES[0]))
    handoff = farm.handoff(good)
    farm.put(good, T[1], handoff)
    farm.put(bad, T[1], handoff, body=b"x" * (3 << 20))
    where = farm.served[handoff].app.where(f"/a/c/{bad}", farm.part(bad))
    os.chmod(f"{where.hash_dir}/{T[1]}.data", 0o600)
    with open(f"{where.hash_dir}/{T[1]}.data", "r+b") as file:
        file.seek(2 << 20)
        file.write(b"y")
    farm.replicate(handoff)
    # found damaged on the way out, and set aside; the rest comes next time
    quarantined = os.listdir(f"{farm.served[handoff].app.device}/quarantined/objects")
    assert quarantined == [where.name_hash]
    farm.replicate(handoff)
    assert set(farm.having(good)) == set(farm.primaries(good))


def test_a_partition_that_somebody_replicates_into_is_left(farm):
    name = NAMES[0]
    handoff = farm.handoff(name)
    farm.put(name, T[1], handoff)
    lock = farm.served[handoff].store().lock_partition(farm.part(name))
    farm.replicate(handoff)
    lock.close()
    assert handoff in farm.having(name)


def test_a_partition_of_no_ring_is_left_alone(farm):
    app = farm.served[1].app
    app.request("PUT", "/sda/99/a/c/o", b"x", X_Timestamp=T[1])
    farm.replicate(1)
    assert app.request("HEAD", "/sda/99/a/c/o").status == 200
    assert any("the ring has no such partition" in line for line in farm.log(1))


def test_handoffs_first(farm):
    here = next(n for n in NAMES if farm.handoff(n) == 1)
    home = next(n for n in NAMES if 1 in farm.primaries(n))
    farm.put(here, T[1], 1)
    farm.put(home, T[1], 1)
    away = farm.primaries(here)[0]
    farm.served[away].stop()
    farm.replicate(1, handoffs_first="true")
    assert list(farm.having(home)) == [1]
    assert any("handoffs remaining. Aborting" in line for line in farm.log(1))
    farm.replicate(1, handoffs_first="true", handoff_delete="2")
    assert 1 not in farm.having(here)
    assert len(farm.having(home)) > 1


def test_another_region_gets_one_copy(root, monkeypatch):
    farm = Farm(root, count=5, replicas=4, regions=[1, 1, 2, 2, 2])
    try:
        names = [n for n in NAMES if farm.handoff(n) > 2 or True]
        name = (
            next(
                n for n in names if farm.handoff(n) in (1, 2) and len({3, 4, 5} & set(farm.primaries(n))) == 3
            )
            if any(farm.handoff(n) in (1, 2) for n in names)
            else None
        )
        if name is None:
            pytest.fail("the ring of this seed has no such partition: choose another seed")
        handoff = farm.handoff(name)
        farm.put(name, T[1], handoff)
        sent = []
        run = Session.run
        monkeypatch.setattr(
            Session,
            "run",
            lambda self, offers, check_only=False: (
                sent.append((self.node["region"], check_only)) or run(self, offers, check_only)
            ),
        )
        farm.replicate(handoff)
        assert sorted(sent) == [(1, False), (2, False), (2, True), (2, True)]
        assert handoff in farm.having(name)  # two of region 2 lack it as yet
        receiver = next(n for n in (3, 4, 5) if n in farm.having(name))
        farm.replicate(receiver)
        farm.replicate(handoff)
        assert set(farm.having(name)) == set(farm.primaries(name))
    finally:
        farm.stop()


# ---------------------------------------------------------------- the daemon


def test_restrictions(farm):
    first, second = NAMES[0], next(n for n in NAMES if farm.part(n) != farm.part(NAMES[0]))
    number = farm.primaries(first)[0]
    farm.put(first, T[1], number)
    daemon = farm.replicator(number)
    daemon.run_once(partitions=farm.part(second))
    assert list(farm.having(first)) == [number]
    daemon.run_once(devices="sdx")
    daemon.run_once(policies="1")
    assert list(farm.having(first)) == [number]
    assert not os.path.exists(f"{farm.root}/n{number}/object.recon")
    daemon.run_once(devices="sda", partitions=f"{farm.part(first)},999", policies="0")
    assert len(farm.having(first)) == 3


def test_other_policies_have_rings_and_places_of_their_own(farm):
    app = farm.served[1].app
    app.request("PUT", "/sda/3/a/c/o", b"x", X_Timestamp=T[1], X_Backend_Storage_Policy_Index="1")
    assert os.path.isdir(f"{app.device}/objects-1/3")
    farm.replicate(1)
    found = [
        n
        for n in farm.served
        if farm.served[n].app.request("HEAD", "/sda/3/a/c/o", X_Backend_Storage_Policy_Index="1").status
        == 200
    ]
    assert len(found) == 3


def test_a_changed_ring_ends_the_pass(farm, monkeypatch):
    farm.put(NAMES[0], T[1], farm.primaries(NAMES[0])[0])
    monkeypatch.setattr(passes.Rings, "check", lambda self: (_ for _ in ()).throw(passes.RingChanged))
    farm.replicate(farm.primaries(NAMES[0])[0])
    assert len(farm.having(NAMES[0])) == 1
    assert any("Ring change detected" in line for line in farm.log(farm.primaries(NAMES[0])[0]))


def test_a_ring_that_grows_is_skipped(farm):
    from swift.ring.format import RingData

    data = RingData.load(f"{farm.etc}/object.ring.gz")
    data.next_part_power = data.part_power + 1 if hasattr(data, "part_power") else 5
    data.save(f"{farm.etc}/object.ring.gz")
    name = NAMES[0]
    farm.put(name, T[1], farm.primaries(name)[0])
    farm.replicate(farm.primaries(name)[0])
    assert len(farm.having(name)) == 1
    assert any("next_part_power set" in line for line in farm.log(farm.primaries(name)[0]))


def test_not_in_the_ring(farm):
    daemon = farm.replicator(1, bind_port="1")
    daemon.run_once()
    assert any("Can't find itself in policy with index 0" in line for line in farm.log(1))


def test_an_unmounted_device_of_ours(farm):
    shutil.rmtree(farm.served[1].app.device)
    farm.replicate(1)
    assert stats_of(farm, 1)["failure"] == 8  # each device of each policy's ring
    assert any("sda is not mounted" in line for line in farm.log(1))


def test_log_and_recon(farm):
    for name in NAMES:
        farm.put(name, T[1])
    farm.replicate(1)
    said = "\n".join(farm.log(1))
    total = len({farm.part(n) for n in NAMES if 1 in farm.primaries(n)})
    assert "info: Running object replicator in script mode." in said
    assert re.search(
        rf"{total}/{total} \(100\.00%\) partitions replicated in \d+\.\d\ds \(\d+\.\d\d/sec, 0s remaining\)",
        said,
    )
    assert f"{total} successes, 0 failures" in said
    assert re.search(r"\d+ suffixes checked - \d+\.\d\d% hashed, 0\.00% synced", said)
    assert re.search(r"Partition times: max \d+\.\d{4}s, min \d+\.\d{4}s, med \d+\.\d{4}s", said)
    assert re.search(r"Object replication complete \(once\)\. \(\d+\.\d\d minutes\)", said)
    recon = recon_cache.read(f"{farm.root}/n1/object.recon")
    assert recon["object_replication_last"] == recon["replication_last"] > 0
    assert recon["replication_time"] == recon["object_replication_time"] >= 0
    assert set(recon["replication_stats"]) == {
        "attempted", "failure", "hashmatch", "remove", "rsync", "success", "suffix_count", "suffix_hash", "suffix_sync",
    }  # fmt: skip


def test_workers(farm):
    daemon = farm.replicator(1, replicator_workers="2")
    assert daemon.get_worker_args(once=True, devices=None) == [
        {"devices": None, "worker": 0, "worker_devices": ["sda"]}
    ]
    assert daemon.is_healthy()
    farm.put(next(n for n in NAMES if 1 in farm.primaries(n)), T[1], 1)
    daemon.run_once(worker=0, worker_devices=["sda"])
    recon = recon_cache.read(f"{farm.root}/n1/object.recon")
    assert "replication_stats" not in recon
    daemon.post_multiprocess_run()
    recon = recon_cache.read(f"{farm.root}/n1/object.recon")
    on_disk = recon["object_replication_per_disk"]["sda"]["replication_stats"]
    assert recon["replication_stats"].items() <= on_disk.items()
    assert recon["replication_stats"]["attempted"] == 1
    daemon._planned = frozenset(["sdb"])
    assert not daemon.is_healthy()


def test_sums_of_several_disks():
    one, two = report.Report(), report.Report()
    one.add("attempted", 3)
    one.fail([{"replication_ip": "1", "device": "a"}])
    two.fail([{"replication_ip": "1", "device": "a"}, {"replication_ip": "2", "device": "b"}])
    merged = report.merged({"sda": one.recon(), "sdb": two.recon()})
    assert merged["replication_stats"]["attempted"] == 3
    assert merged["replication_stats"]["failure"] == 3
    assert merged["replication_stats"]["failure_nodes"] == {"1": {"a": 2}, "2": {"b": 1}}


def test_what_hangs_is_ended(farm, monkeypatch):
    from swift.core.concurrency import sleep

    name = NAMES[0]
    number = farm.primaries(name)[0]
    farm.put(name, T[1], number)
    monkeypatch.setattr(update, "update", lambda *args: sleep(3600))
    farm.replicate(number, lockup_timeout="0.2")
    assert any("Lockup detected" in line for line in farm.log(number))


@pytest.mark.parametrize(
    "conf",
    [
        {"sync_method": "carrier pigeon"},
        {"sync_method": "rsync", "rsync_module": "{nonsense}::object"},
        {"concurrency": "0"},
        {"interval": "-1"},
    ],
)
def test_bad_options(farm, conf):
    with pytest.raises((ValueError, ConfigError)):
        farm.replicator(1, **conf)


def test_a_busy_peer_is_asked_again(farm, monkeypatch):
    monkeypatch.setattr(push, "PAUSE", 0.01)
    name = NAMES[0]
    first, second, third = farm.primaries(name)
    farm.put(name, T[1], first)
    lock = farm.served[second].store().lock_partition(farm.part(name))
    farm.served[second].app.server.turnstile.timeout = 0.05
    run = Session.run
    tries = []

    def freed(self, offers, check_only=False):
        tries.append(self.node["port"])
        if tries.count(farm.served[second].node["port"]) == 2:
            lock.close()
        return run(self, offers, check_only)

    monkeypatch.setattr(Session, "run", freed)
    farm.replicate(first)
    assert set(farm.having(name)) == {first, second, third}


def test_failures_of_one_session_leave_the_others(farm, monkeypatch):
    run = Session.run
    failed = []

    def first_one_fails(self, offers, check_only=False):
        if not failed:
            failed.append(1)
            raise SyncError("it broke off")
        return run(self, offers, check_only)

    for name in NAMES:
        farm.put(name, T[1], farm.primaries(name)[0])
    monkeypatch.setattr(Session, "run", first_one_fails)
    farm.replicate()
    farm.replicate()
    for name in NAMES:
        assert len(farm.having(name)) == 3
    assert revert.LOCK_SECONDS < 1


def test_what_is_behind_and_since_when(farm):
    name = next(n for n in NAMES if 1 in farm.primaries(n))
    guest = next(n for n in NAMES if farm.handoff(n) == 1)
    farm.put(name, T[1], 1)
    farm.put(guest, T[1], 1)
    away = next(n for n in farm.primaries(name) if n != 1 and n in farm.primaries(guest))
    farm.served[away].stop()
    daemon = farm.replicator(1)

    def standing():
        daemon.run_once()
        return recon_cache.read(f"{farm.root}/n1/object.recon")["object_replication_standing"]["sda"]["0"]

    first = standing()
    assert (first["partitions"], first["handoffs"], first["behind"]) == (1, 1, 2)
    assert 0 < first["behind_since"] <= first["checked"]
    assert standing()["behind_since"] == first["behind_since"]
    families = {
        family.name: family
        for family in state_families("object-server", {"recon_cache_path": f"{farm.root}/n1"})()
    }
    told = {
        name: families[f"swift_object_replication_{name}"].samples for name in ("handoffs", "behind_since")
    }
    assert [(s.labels, s.value) for s in told["handoffs"]] == [
        ({"device": "sda", "policy": "0"}, 1),
        ({"device": "sda", "policy": "1"}, 0),
    ]
    assert [s.value for s in told["behind_since"]] == [first["behind_since"]]
    shutil.rmtree(farm.served[1].store().datadir)
    after = standing()
    assert (after["partitions"], after["handoffs"], after["behind"], after["behind_since"]) == (0, 0, 0, None)
