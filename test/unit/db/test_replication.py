"""Replicas become the same: what one of them was told is found on all, the newest wins, and nothing goes before it is where it belongs."""

import os
import shutil
import time

import pytest

from swift.core.concurrency import use_fast_hub
from swift.core.errors import ConfigError
from swift.db.connection import CONNECTIONS
from swift.db.replication import exchange as exchange_module
from swift.db.replication import peer as peer_module
from swift.db.replication.peer import Answer, Peer
from swift.telemetry import recon_cache
from test.replicas import Nodes

use_fast_hub()

T = [f"17000000{n:02d}.00000" for n in range(100)]
C = ("AUTH_a", "c")


@pytest.fixture
def make(tmp_path):
    made = []

    def make(*args, **kwargs):
        made.append(Nodes(tmp_path, *args, **kwargs))
        return made[-1]

    yield make
    for nodes in made:
        nodes.stop()


@pytest.fixture
def nodes(make):
    nodes = make()
    for node in range(3):
        assert nodes.request(node, "PUT", "AUTH_a/c", T[0], X_Backend_Storage_Policy_Index=0) == 201
    return nodes


def rows(nodes, node, names=C):
    return {
        (row["name"], row["created_at"], row["size"], row["deleted"])
        for row in nodes.broker(node, *names).get_objects(100_000)
    }


def described(nodes, node, names=C):
    """What is the same for replicas that agree."""
    info = nodes.broker(node, *names).replication_info()
    own = ("id", "max_row", "status_changed_at", "metadata")
    return {key: value for key, value in info.items() if key not in own and not key.startswith("reported")}


def lose(nodes, node, names=C):
    """A disk was replaced: nothing is left of a replica."""
    directory = nodes.path(node, *names).parent
    CONNECTIONS.forget(str(directory))
    shutil.rmtree(directory)


class Calls:
    """What is called between nodes."""

    def __init__(self, monkeypatch):
        self.made = []
        send, send_file = Peer.send, Peer.send_file

        def noted(peer, body, timeout=None):
            self.made.append(body.split(b'"')[1].decode())
            return send(peer, body, timeout)

        def noted_file(peer, path, pool, use, *args):
            self.made.append(use)
            return send_file(peer, path, pool, use, *args)

        monkeypatch.setattr(Peer, "send", noted)
        monkeypatch.setattr(Peer, "send_file", noted_file)

    def take(self):
        made, self.made = self.made, []
        return made


@pytest.fixture
def calls(monkeypatch):
    return Calls(monkeypatch)


def test_halves_that_wrote_different_things_are_joined(nodes):
    nodes.put_object(0, "AUTH_a/c/both", T[1], 1)
    nodes.put_object(1, "AUTH_a/c/both", T[2], 2)
    nodes.put_object(0, "AUTH_a/c/gone", T[1])
    nodes.request(2, "DELETE", "AUTH_a/c/gone", T[3])
    nodes.put_object(2, "AUTH_a/c/back", T[5], 5)
    nodes.request(0, "DELETE", "AUTH_a/c/back", T[4])
    nodes.request(0, "POST", "AUTH_a/c", T[6], X_Container_Meta_Color="blue")
    nodes.request(1, "POST", "AUTH_a/c", T[7], X_Container_Meta_Color="red")
    nodes.request(2, "POST", "AUTH_a/c", T[8], X_Container_Meta_Shape="round")
    nodes.replicate()
    wanted = {("both", T[2], 2, 0), ("gone", T[3], 0, 1), ("back", T[5], 5, 0)}
    for node in range(3):
        assert rows(nodes, node) == wanted
        metadata = nodes.broker(node, *C).metadata()
        assert metadata["X-Container-Meta-Color"] == ("red", T[7])
        assert metadata["X-Container-Meta-Shape"] == ("round", T[8])
        assert described(nodes, node) == described(nodes, 0)
    assert described(nodes, 0)["count"] == 2


def test_an_idle_pass_asks_each_peer_once(nodes, calls):
    nodes.put_object(0, "AUTH_a/c/o", T[1])
    nodes.replicate()
    nodes.replicate()
    calls.take()
    before = [nodes.path(node, *C).stat().st_mtime_ns for node in range(3)]
    nodes.replicate()
    assert calls.take() == ["sync"] * 6
    assert [nodes.path(node, *C).stat().st_mtime_ns for node in range(3)] == before
    figures = recon_cache.read(str(nodes.home / "container.recon"))["replication_stats"]
    assert (figures["attempted"], figures["success"], figures["no_change"], figures["failure"]) == (
        1,
        2,
        2,
        0,
    )


def test_a_lost_replica_comes_back_as_a_whole(nodes, calls):
    for n in range(20):
        nodes.put_object(0, f"AUTH_a/c/o{n}", T[n])
    nodes.request(0, "POST", "AUTH_a/c", T[30], X_Container_Meta_Color="blue")
    nodes.replicate()
    lose(nodes, 1)
    calls.take()
    nodes.replicate(0)
    assert sorted(calls.take()) == ["complete", "sync", "sync"]
    assert described(nodes, 1) == described(nodes, 0)
    broker = nodes.broker(1, *C)
    assert broker.replication_info()["id"].endswith("-sd1")  # its own device, not that of whoever sent it
    assert broker.metadata()["X-Container-Meta-Color"] == ("blue", T[30])
    assert not os.listdir(nodes.home / "0" / "sd0" / "tmp") and not os.listdir(
        nodes.home / "1" / "sd1" / "tmp"
    )
    # nothing has to be sent once more, in either direction
    nodes.replicate()
    assert set(calls.take()) == {"sync"}


def test_a_replica_far_behind_gets_the_file_and_keeps_its_own_rows(make, calls):
    nodes = make(per_diff="10")
    for node in range(3):
        nodes.request(node, "PUT", "AUTH_a/c", T[0], X_Backend_Storage_Policy_Index=0)
    for n in range(40):
        nodes.put_object(0, f"AUTH_a/c/o{n}", T[n])
    nodes.put_object(1, "AUTH_a/c/only-here", T[50])
    nodes.put_object(1, "AUTH_a/c/o1", T[60], 99)
    nodes.request(1, "DELETE", "AUTH_a/c/o2", T[61])
    nodes.replicate(0)
    assert "join" in calls.take()
    found = rows(nodes, 1)
    assert len(found) == 41
    assert {("only-here", T[50], 7, 0), ("o1", T[60], 99, 0), ("o2", T[61], 0, 1)} <= found
    assert {row["remote_id"] for row in nodes.broker(1, *C).sync_table(True)} >= {
        nodes.broker(0, *C).replication_info()["id"]
    }
    nodes.replicate()
    for node in range(3):
        assert rows(nodes, node) == found


def test_what_a_replica_was_told_survives_the_file_of_a_peer(make, monkeypatch):
    """Times, metadata and rows that come between a peer's look and its file: the reference's replica forgets the times."""
    nodes = make(per_diff="10")
    for node in range(3):
        nodes.request(node, "PUT", "AUTH_a/c", T[0], X_Backend_Storage_Policy_Index=0)
    for n in range(40):
        nodes.put_object(0, f"AUTH_a/c/o{n}", T[n])
    send_file = Peer.send_file

    def late(peer, *args):
        if peer.node["device"] == "sd1":
            nodes.request(1, "PUT", "AUTH_a/c", T[70], X_Container_Meta_Late="yes")
            nodes.put_object(1, "AUTH_a/c/late", T[71])
        return send_file(peer, *args)

    monkeypatch.setattr(Peer, "send_file", late)
    nodes.replicate(0)
    broker = nodes.broker(1, *C)
    assert ("late", T[71], 7, 0) in rows(nodes, 1) and len(rows(nodes, 1)) == 41
    assert broker.replication_info()["put_timestamp"] == T[70]
    assert broker.metadata()["X-Container-Meta-Late"] == ("yes", T[70])


def test_a_peer_that_was_set_back_gets_its_rows_again(nodes, tmp_path):
    """A point that we remember may be one that the peer has lost: what it says itself counts."""
    nodes.put_object(0, "AUTH_a/c/first", T[1])
    nodes.replicate()
    path = nodes.path(1, *C)
    CONNECTIONS.forget(str(path.parent))
    shutil.copy(path, tmp_path / "backup")
    nodes.put_object(0, "AUTH_a/c/second", T[2])
    nodes.replicate(0)
    assert len(rows(nodes, 1)) == 2
    CONNECTIONS.forget(str(path.parent))
    shutil.copy(tmp_path / "backup", path)
    nodes.put_object(1, "AUTH_a/c/third", T[3])
    nodes.replicate(0)
    assert {name for name, *_ in rows(nodes, 1)} == {"first", "second", "third"}


def test_rows_that_come_while_a_replica_is_described_are_not_taken_for_sent(nodes):
    """The row hash and the highest row are of one moment, or a peer believes to have a row that it never gets."""
    broker = nodes.broker(0, *C)
    read = broker.read_info
    seen = []

    def slow(conn):
        found = read(conn)
        if not seen:
            seen.append(1)
            other = nodes.broker(0, *C)
            other.timeout = 0.2
            with pytest.raises(Exception, match="locked"):
                other.merge_items([other.item_from_record(("late", T[9], 1, "t", "e", 0))])
        return found

    broker.read_info = slow
    info = broker.replication_info()
    assert info["max_row"] == -1 and info["hash"] == "0" * 32


def test_no_more_rows_a_pass_than_max_diffs(make, calls):
    nodes = make(per_diff="2", max_diffs="3")
    for node in range(3):
        nodes.request(node, "PUT", "AUTH_a/c", T[0], X_Backend_Storage_Policy_Index=0)
    for n in range(10):
        nodes.put_object(0, f"AUTH_a/c/o{n}", T[n])
        nodes.put_object(1, f"AUTH_a/c/p{n}", T[n])
        nodes.put_object(2, f"AUTH_a/c/q{n}", T[n])
    replicator = nodes.replicator(0)
    replicator.run_once()
    made = calls.take()
    assert made.count("merge_items") == 6 and "merge_syncs" not in made
    figures = recon_cache.read(str(nodes.home / "container.recon"))["replication_stats"]
    assert (figures["diff_capped"], figures["failure"], figures["success"]) == (2, 2, 0)
    nodes.replicate(0)
    assert calls.take().count("merge_syncs") == 2
    assert len(rows(nodes, 1)) == len(rows(nodes, 2)) == 20


def test_a_server_is_asked_about_many_databases_at_once(make, calls):
    nodes = make(replicas=3, count=4)
    names = [("AUTH_a", f"c{n}") for n in range(40)]
    for name in names:
        for node in nodes.part_nodes(*name)[1]:
            nodes.request(node, "PUT", f"AUTH_a/{name[1]}", T[0], X_Backend_Storage_Policy_Index=0)
    for name in names[::5]:
        nodes.put_object(nodes.part_nodes(*name)[1][0], f"AUTH_a/{name[1]}/o", T[1])
    lost = names[7]
    lose(nodes, nodes.part_nodes(*lost)[1][2], lost)
    for _ in range(2):
        nodes.replicate()
    for name in names:
        states = [described(nodes, node, name) for node in nodes.part_nodes(*name)[1]]
        assert states[0] == states[1] == states[2]
        assert states[0]["count"] == (1 if name in names[::5] else 0)
    calls.take()
    nodes.replicate()
    made = calls.take()
    assert set(made) <= {"sync_many", "sync"} and len(made) < 40
    figures = recon_cache.read(str(nodes.home / "container.recon"))["replication_stats"]
    assert figures["no_change"] == 2 * figures["attempted"] and figures["failure"] == 0


def test_what_one_peer_knows_reaches_the_next_in_the_same_pass(make):
    """Whoever was asked together with all others is asked again where another one has told news."""
    nodes = make()
    for name in ("c", "d"):
        for node in range(3):
            nodes.request(node, "PUT", f"AUTH_a/{name}", T[0], X_Backend_Storage_Policy_Index=0)
    nodes.replicate()
    _, primaries = nodes.part_nodes(*C)
    nodes.request(primaries[1], "POST", "AUTH_a/c", T[5], X_Container_Meta_Color="blue")
    nodes.replicate(primaries[0])
    for node in range(3):
        assert nodes.broker(node, *C).metadata()["X-Container-Meta-Color"] == ("blue", T[5])


# -- what does not belong where it is


def handoff(nodes, names=C):
    _, primaries = nodes.part_nodes(*names)
    return next(node for node in nodes.apps if node not in primaries), primaries


def test_a_handoff_goes_when_all_primaries_have_it(make):
    nodes = make(count=4)
    away, primaries = handoff(nodes)
    for node in (away, *primaries[:2]):
        nodes.request(node, "PUT", "AUTH_a/c", T[0], X_Backend_Storage_Policy_Index=0)
    nodes.put_object(away, "AUTH_a/c/o", T[1])
    nodes.replicate(away)
    assert not nodes.path(away, *C).parent.exists()
    assert not list((nodes.home / str(away) / f"sd{away}" / "containers").iterdir())
    for node in primaries:
        assert rows(nodes, node) == {("o", T[1], 7, 0)}


@pytest.mark.parametrize("fault", ["unmounted", "refused"])
def test_a_handoff_stays_as_long_as_a_primary_lacks_it(make, fault, monkeypatch):
    nodes = make(count=5)
    _, primaries = nodes.part_nodes(*C)
    away = next(node for node in nodes.apps if node not in primaries)
    nodes.request(away, "PUT", "AUTH_a/c", T[0], X_Backend_Storage_Policy_Index=0)
    nodes.put_object(away, "AUTH_a/c/o", T[1])
    device = nodes.home / str(primaries[1]) / f"sd{primaries[1]}"
    if fault == "unmounted":
        device.rename(f"{device}.away")
        time.sleep(1.1)  # for so long it is believed to be there
    else:
        call = Peer.call
        refused = f"sd{primaries[1]}"

        def refusing(peer, operation, *args, **kwargs):
            if peer.node["device"] == refused:
                return Answer(500, b"")
            return call(peer, operation, *args, **kwargs)

        monkeypatch.setattr(Peer, "call", refusing)
    nodes.replicate(away)
    assert nodes.path(away, *C).exists()
    figures = recon_cache.read(str(nodes.home / "container.recon"))["replication_per_device"][f"sd{away}"]
    assert (figures["databases"], figures["failures"], figures["handoffs"]) == (1, 1, 1)
    assert figures["last"] and "last_without_failure" not in figures
    assert rows(nodes, primaries[0]) == rows(nodes, primaries[2]) == {("o", T[1], 7, 0)}
    other = next(node for node in nodes.apps if node not in (*primaries, away))
    # in the place of a disk that is missing another node holds a copy
    assert nodes.path(other, *C).exists() == (fault == "unmounted")
    nodes.replicate(away, handoff_delete="2")
    assert not nodes.path(away, *C).exists()


@pytest.mark.parametrize("news", ["row", "metadata"])
def test_a_handoff_that_was_told_something_meanwhile_stays(make, monkeypatch, news):
    nodes = make(count=4)
    away, primaries = handoff(nodes)
    nodes.request(away, "PUT", "AUTH_a/c", T[0], X_Backend_Storage_Policy_Index=0)
    nodes.put_object(away, "AUTH_a/c/o", T[1])
    run = exchange_module.Exchange.run
    told = []

    def late(exchange, *args):
        result = run(exchange, *args)
        if exchange.peer.node["device"] == f"sd{primaries[-1]}" and not told:
            told.append(1)
            if news == "row":
                nodes.put_object(away, "AUTH_a/c/late", T[2])
            else:
                nodes.request(away, "POST", "AUTH_a/c", T[2], X_Container_Meta_Late="yes")
        return result

    monkeypatch.setattr(exchange_module.Exchange, "run", late)
    nodes.replicate(away)
    assert nodes.path(away, *C).exists()
    nodes.replicate(away)
    assert not nodes.path(away, *C).exists()
    for node in primaries:
        broker = nodes.broker(node, *C)
        if news == "row":
            assert ("late", T[2], 7, 0) in rows(nodes, node)
        else:
            assert broker.metadata()["X-Container-Meta-Late"] == ("yes", T[2])


def test_news_of_a_primary_do_not_keep_a_handoff(make):
    nodes = make(count=4)
    away, primaries = handoff(nodes)
    nodes.request(away, "PUT", "AUTH_a/c", T[0], X_Backend_Storage_Policy_Index=0)
    for number, node in enumerate(primaries):
        nodes.request(node, "PUT", "AUTH_a/c", T[3 + number], X_Container_Meta_A=str(number))
    nodes.replicate(away)
    assert not nodes.path(away, *C).exists()


def test_a_replica_in_a_wrong_partition_is_moved(nodes):
    nodes.put_object(0, "AUTH_a/c/o", T[1])
    path = nodes.path(0, *C)
    part = int(path.parts[-4])
    wrong = path.parents[3] / str((part + 1) % 16) / path.parts[-3] / path.parts[-2] / path.name
    CONNECTIONS.forget(str(path.parent))
    wrong.parent.parent.mkdir(parents=True)
    path.parent.rename(wrong.parent)
    nodes.replicate(0)
    assert not wrong.parents[2].exists()
    assert [rows(nodes, node) for node in range(3)] == [{("o", T[1], 7, 0)}] * 3


def test_handoffs_only_leaves_the_others_alone(make, calls):
    nodes = make(count=4)
    away, primaries = handoff(nodes)
    nodes.request(primaries[0], "PUT", "AUTH_a/c", T[0], X_Backend_Storage_Policy_Index=0)
    nodes.request(away, "PUT", "AUTH_a/c", T[0], X_Backend_Storage_Policy_Index=0)
    nodes.replicate(primaries[0], handoffs_only="yes")
    assert not calls.take()
    nodes.replicate(away, handoffs_only="yes")
    assert not nodes.path(away, *C).exists() and nodes.path(primaries[1], *C).exists()
    assert any("handoffs_only" in line for line in nodes.logger.lines)


def test_a_pass_of_some_devices_and_partitions(nodes, calls):
    part = nodes.ring.get_part(*C)
    replicator = nodes.replicator(0)
    replicator.run_once(devices="sd1")
    replicator.run_once(partitions=str(part + 1))
    assert not calls.take()
    replicator.run_once(devices="sd0,sd7", partitions=str(part))
    assert calls.take() == ["sync", "sync"]


# -- deleted ones


def test_a_deleted_container_goes_once_its_account_knows(nodes):
    for node in range(3):
        assert nodes.request(node, "DELETE", "AUTH_a/c", T[5]) == 204
    nodes.replicate(reclaim_age="604800")
    assert nodes.path(0, *C).exists()
    broker = nodes.broker(0, *C)
    broker.reported(T[0], T[5], 0, 0)
    nodes.replicate(0)
    assert nodes.path(0, *C).exists()  # too young
    nodes.replicate(0, reclaim_age="604800")
    assert not nodes.path(0, *C).parent.exists() and nodes.path(1, *C).exists()


def test_old_tombstones_go_and_others_stay(nodes):
    now = time.time()
    nodes.request(0, "DELETE", "AUTH_a/c/old", T[5])
    nodes.request(0, "DELETE", "AUTH_a/c/young", f"{now:.5f}")
    nodes.replicate(0, reclaim_age="604800")
    assert [row[0] for row in rows(nodes, 0)] == ["young"]


def test_a_container_deleted_and_made_anew_while_a_replica_was_away(nodes):
    nodes.put_object(0, "AUTH_a/c/old", T[1])
    nodes.replicate()
    for node in (0, 1):
        nodes.request(node, "DELETE", "AUTH_a/c/old", T[2])
        assert nodes.request(node, "DELETE", "AUTH_a/c", T[3]) == 204
        assert nodes.request(node, "PUT", "AUTH_a/c", T[4], X_Backend_Storage_Policy_Index=1) == 201
    nodes.put_object(0, "AUTH_a/c/new", T[5], policy=1)
    nodes.replicate()
    for node in range(3):
        info = nodes.broker(node, *C).info()
        assert info["storage_policy_index"] == 1
        assert (info["put_timestamp"], info["delete_timestamp"]) == (T[4], T[3])
        assert {(name, deleted) for name, _, _, deleted in rows(nodes, node)} == {("old", 1), ("new", 0)}
        assert info["object_count"] == 1


def test_a_policy_conflict_ends_alike_everywhere(make):
    nodes = make()
    for node, (timestamp, policy) in enumerate([(T[5], 0), (T[4], 1), (T[6], 2)]):
        nodes.request(node, "PUT", "AUTH_a/c", timestamp, X_Backend_Storage_Policy_Index=policy)
        nodes.put_object(node, f"AUTH_a/c/o{node}", T[10 + node], policy=policy)
    nodes.replicate()
    nodes.replicate()
    for node in range(3):
        broker = nodes.broker(node, *C)
        assert broker.info()["storage_policy_index"] == 1
        assert len(rows(nodes, node)) == 3


# -- disks and peers that fail


def test_a_peer_that_has_got_its_replica_from_another_meanwhile_gets_what_that_lacks(nodes, monkeypatch):
    nodes.put_object(0, "AUTH_a/c/o", T[1])
    nodes.put_object(2, "AUTH_a/c/p", T[2])
    lose(nodes, 1)
    send_file = Peer.send_file

    def late(peer, *args):
        if peer.node["device"] == "sd1" and not nodes.path(1, *C).exists():
            monkeypatch.setattr(Peer, "send_file", send_file)
            nodes.replicate(2)
        return send_file(peer, *args)

    monkeypatch.setattr(Peer, "send_file", late)
    nodes.replicate(0)
    assert {name for name, *_ in rows(nodes, 1)} == {"o", "p"}
    figures = recon_cache.read(str(nodes.home / "container.recon"))["replication_stats"]
    assert (figures["success"], figures["failure"]) == (2, 0)


@pytest.mark.parametrize("use", ["complete", "join"])
def test_where_there_is_no_room_for_a_copy_rows_are_sent(make, monkeypatch, use):
    nodes = make(per_diff="10")
    for node in range(3):
        nodes.request(node, "PUT", "AUTH_a/c", T[0], X_Backend_Storage_Policy_Index=0)
    nodes.replicate()
    for n in range(40):
        nodes.put_object(0, f"AUTH_a/c/o{n}", T[n])
    if use == "complete":
        lose(nodes, 1)
    monkeypatch.setattr("swift.db.replication.replica.SHARE_OF_ROOM", 0.0)
    nodes.replicate(0)
    assert [len(rows(nodes, node)) for node in range(3)] == [40, 40, 40]
    assert any("no room for a copy" in line for line in nodes.logger.lines)


def test_a_server_that_is_away_is_told_of_once_a_pass_and_waited_for_once_a_lot(make, monkeypatch):
    nodes = make(replicas=3, count=3)
    names = [("AUTH_a", f"c{n}") for n in range(20)]
    for name in names:
        for node in range(3):
            nodes.request(node, "PUT", f"AUTH_a/{name[1]}", T[0], X_Backend_Storage_Policy_Index=0)
    nodes.replicate()
    tried = []
    request = Peer._request

    def away(peer, *args):
        call = request(peer, *args)
        if peer.node["device"] == "sd1":
            tried.append(args)
            call.port = 1  # nobody is there
            monkeypatch.setattr(call.__class__, "send_idle", lambda call: False)
        return call

    monkeypatch.setattr(Peer, "_request", away)
    nodes.logger.lines.clear()
    nodes.replicate(0)
    assert len(tried) == 1
    errors = [line for line in nodes.logger.lines if "can't be brought up to date" in line]
    assert len(errors) == 20  # this logger has all levels in one
    figures = recon_cache.read(str(nodes.home / "container.recon"))["replication_stats"]
    assert (figures["success"], figures["failure"]) == (20, 20)
    assert list(figures["failure_nodes"].values()) == [{"sd1": 20}]


def test_a_device_that_hangs_holds_up_no_other(make, monkeypatch, calls):
    from swift.engine.threads import DeviceStuck, pool_for

    nodes = make(replicas=3, count=3)
    node = 0
    # a second device of the same node, which hangs
    (nodes.home / "0" / "sd9").mkdir()
    device = {**nodes.ring.devs[0], "id": 99, "device": "sd9"}
    replicator = nodes.replicator(node)
    own = replicator.local_devices()
    monkeypatch.setattr(replicator, "local_devices", lambda: [device, *own])

    def stuck(*args):
        raise DeviceStuck("sd9")

    stuck_pool = pool_for(str(nodes.home / "0" / "sd9"))
    monkeypatch.setattr(stuck_pool, "run", stuck)
    monkeypatch.setattr(stuck_pool, "run_long", stuck)
    nodes.request(0, "PUT", "AUTH_a/c", T[0], X_Backend_Storage_Policy_Index=0)
    replicator.run_once()
    assert nodes.path(1, *C).exists() and nodes.path(2, *C).exists()
    figures = recon_cache.read(str(nodes.home / "container.recon"))["replication_stats"]
    assert figures["failure"] == 1 and figures["failure_nodes"] == {"127.0.0.1": {"sd9": 1}}


def test_leftovers_in_tmp_go_when_they_are_old(nodes):
    tmp = nodes.home / "0" / "sd0" / "tmp"
    tmp.mkdir(exist_ok=True)
    ours = f"{'a' * 32}-{'b' * 32}"
    ages = {
        "old": 10**7,
        "young": 90000,
        f"{ours}.snapshot": 90000,
        f"{ours}.arriving": 80000,
        f"{ours}.db": 10**6,
    }
    for name, age in ages.items():
        (tmp / name).write_text("x")
        os.utime(tmp / name, (time.time() - age,) * 2)
    nodes.replicate(0, reclaim_age="604800")
    assert sorted(os.listdir(tmp)) == [f"{ours}.arriving", "young"]


def test_empty_directories_go(nodes):
    root = nodes.home / "0" / "sd0" / "containers"
    (root / "3" / "abc" / ("0" * 29 + "abc")).mkdir(parents=True)
    (root / "4").mkdir()
    for _ in range(3):  # a level a pass at most
        nodes.replicate(0)
    assert [entry.name for entry in root.iterdir()] == [nodes.path(0, *C).parts[-4]]


def test_a_damaged_replica_is_set_aside_and_comes_back(nodes):
    nodes.put_object(0, "AUTH_a/c/o", T[1])
    nodes.replicate()
    path = nodes.path(1, *C)
    CONNECTIONS.forget(str(path.parent))
    with open(path, "r+b") as file:
        file.write(b"rubbish" * 1000)
    nodes.replicate(0)  # the peer finds it when it is asked
    assert rows(nodes, 1) == {("o", T[1], 7, 0)}
    assert len(list((nodes.home / "1" / "sd1" / "quarantined" / "containers").iterdir())) == 1


def test_a_device_that_is_missing_fails_alone(nodes, calls):
    device = nodes.home / "0" / "sd0"
    device.rename(f"{device}.away")
    nodes.replicate(0, mount_check="true")
    figures = recon_cache.read(str(nodes.home / "container.recon"))["replication_stats"]
    assert figures["failure"] == 1 and figures["failure_nodes"] == {"127.0.0.1": {"sd0": 1}}
    assert not calls.take()


class NoFiles:
    """A server that takes no files over HTTP, like the reference's."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        def start(status, headers, *rest):
            return start_response(status, [h for h in headers if h[0] != "X-Backend-Database-Files"], *rest)

        return self.app(environ, start)


@pytest.fixture
def old_peers(make, monkeypatch):
    monkeypatch.setattr(peer_module, "_takers", set())
    nodes = make(per_diff="10")
    start = nodes.apps[1].__class__.__call__
    monkeypatch.setattr(
        nodes.apps[1].__class__,
        "__call__",
        lambda app, environ, start_response: NoFiles(lambda e, s: start(app, e, s))(environ, start_response),
    )
    return nodes


def test_a_peer_without_rsync_gets_an_empty_database_and_rows(old_peers, calls):
    nodes = old_peers
    nodes.request(0, "PUT", "AUTH_a/c", T[3], X_Container_Meta_A="b", X_Backend_Storage_Policy_Index=1)
    for n in range(30):
        nodes.put_object(0, f"AUTH_a/c/o{n}", T[n], policy=1)
    nodes.replicate(0, rsync_module="127.0.0.1::nowhere")
    for node in (1, 2):
        assert rows(nodes, node) == rows(nodes, 0)
        assert described(nodes, node) == described(nodes, 0)
        assert nodes.broker(node, *C).metadata()["X-Container-Meta-A"] == ("b", T[3])
    assert "join" not in calls.take()
    assert any("rsync failed" in line for line in nodes.logger.lines)


def test_a_peer_with_rsync_gets_the_file(old_peers, monkeypatch):
    nodes = old_peers
    nodes.request(0, "PUT", "AUTH_a/c", T[3], X_Backend_Storage_Policy_Index=1)
    for n in range(30):
        nodes.put_object(0, f"AUTH_a/c/o{n}", T[n], policy=1)
    nodes.request(1, "PUT", "AUTH_a/c", T[3], X_Backend_Storage_Policy_Index=1)
    nodes.put_object(1, "AUTH_a/c/own", T[40], policy=1)

    def push(pool, path, target, answer_timeout, conn_timeout, compress):
        module, device, tmp, name = target.split("/")
        assert module == "127.0.0.1::container" and tmp == "tmp"
        (nodes.home / device[2:] / device / tmp).mkdir(exist_ok=True)
        shutil.copy(path, nodes.home / device[2:] / device / tmp / name)
        return ""

    monkeypatch.setattr("swift.db.replication.rsync.push", push)
    nodes.replicate(0)
    assert len(rows(nodes, 1)) == 31 and len(rows(nodes, 2)) == 30
    figures = recon_cache.read(str(nodes.home / "container.recon"))["replication_stats"]
    assert (figures["remote_merge"], figures["rsync"], figures["failure"]) == (1, 1, 0)


def test_bad_options_are_refused(nodes):
    for bad in (
        {"rsync_module": "{nowhere}::x"},
        {"per_diff": "0"},
        {"handoff_delete": "-1"},
        {"concurrency": "x"},
    ):
        with pytest.raises((ConfigError, ValueError)):
            nodes.replicator(0, **bad)
    assert nodes.replicator(0, handoff_delete="9").handoff_delete == 0
    assert nodes.replicator(0, rsync_module="{replication_ip}::c_{device}/").terms.rsync_module.endswith(
        "{device}"
    )
