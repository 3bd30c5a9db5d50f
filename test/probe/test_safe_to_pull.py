"""May a disk be pulled? Asked of a real cluster whose disks are emptied, repaired, and whose nodes are killed."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

from swift.cli.saio_layout import NODES
from swift.core import hashing
from swift.core.hashing import hash_path
from swift.obj.async_pending import write_update
from test.cluster import Cluster

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
DAEMONS = ("object-replicator", "object-reconstructor", "container-replicator", "account-replicator")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("pull") / "saio") as running:
        running.kill("daemons")  # what repairs is started by the tests
        for policy in ("gold", "ec42"):
            running.request("PUT", f"/{policy}", headers={"X-Storage-Policy": policy})
            for number in range(12):
                put(running, policy, f"o{number}", os.urandom(1000 + 20_000 * (number % 3)))
        for number in range(8):  # so that each disk has some in common with each other
            assert running.request("PUT", f"/more{number}").status == 201
        assert running.request("DELETE", "/gold/o1").status == 204
        assert running.request("POST", "/gold/o2", headers={"X-Object-Meta-A": "b"}).status == 202
        yield running


@pytest.fixture
def cluster(shared):
    shared.make_whole()
    shared.kill("daemons")
    return shared


def put(cluster, container, name, body):
    """A machine that is asked too much says so, and is asked again."""
    for _ in range(20):
        answer = cluster.request("PUT", f"/{container}/{name}", body)
        if answer.status != 503:
            break
        time.sleep(0.5)
    assert answer.status == 201


def command(cluster, *words, name="swift-safe-to-pull"):
    """(exit status, what it says)."""
    done = subprocess.run(
        [sys.executable, ROOT / "bin" / name, "-d", cluster.layout.etc, *words],
        env=ENV,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout or done.stderr


def parts(cluster, *devices):
    """{(kind, policy): part} of the first device, and the exit status."""
    status, text = command(cluster, "--json", *devices)
    document = json.loads(text)
    assert document["safe_to_pull"] is (status == 0)
    found = document["devices"][0]["parts"]
    return {(part["kind"], part["policy"]): part for part in found}, status


def problems(part):
    return [(problem["what"], problem["node"].rpartition("/")[2]) for problem in part["problems"]]


def counted(found):
    """Without examples, which may be any."""
    return {
        key: sorted(
            (problem["what"], problem["node"], problem["units"], problem["items"])
            for problem in part["problems"]
        )
        for key, part in found.items()
    }


def replicate(cluster, *nodes):
    for node in nodes:
        for name in DAEMONS:
            conf = cluster.layout.etc / f"{name.partition('-')[0]}-server" / f"{node}.conf"
            subprocess.run(
                [sys.executable, ROOT / "bin" / f"swift-{name}", conf, "once"],
                env=ENV,
                check=True,
                timeout=120,
            )


def test_a_whole_cluster_lets_any_one_disk_go(cluster):
    for device in ("sdb1", "sdb4", "sdb6"):
        status, text = command(cluster, device)
        assert status == 0, text
        assert "YES" in text
        assert command(cluster, "--quick", device) == (0, text)
    found, _ = parts(cluster, "sdb1")
    assert found["objects", "gold"]["checked"] and found["containers", None]["checked"]
    assert command(cluster, "-q", "sdb1") == (0, "")


def test_not_all_copies_may_go_together(cluster):
    status, text = command(cluster, "sdb1", "sdb2", "sdb3", "sdb4")
    assert status == 1
    assert "no other device has" in text
    assert "too few other devices would be left" in text


def test_an_emptied_disk_holds_its_neighbours_until_it_is_repaired(cluster):
    for entry in cluster.device(2).iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    found, status = parts(cluster, "sdb1")
    assert status == 1
    for key in (("objects", "gold"), ("objects", "ec42"), ("containers", None)):
        assert ("lacks", "sdb2") in problems(found[key]), key
    quick, _ = parts(cluster, "--quick", "sdb1")
    assert counted(quick) == counted(found)
    assert command(cluster, "sdb2")[0] == 0  # nothing would be lost with it
    replicate(cluster, 1, 3, 4)
    found, status = parts(cluster, "sdb1")
    assert status == 0, found


def test_a_node_that_does_not_answer_is_a_reason(cluster):
    cluster.kill("node3")
    status, text = command(cluster, "sdb1")
    assert status == 1
    assert "sdb3 can't be asked about" in text and "refused" in text
    status, text = command(cluster, "sdb3")
    assert status == 1
    assert "what lies there can't be told" in text


def test_a_disk_that_is_dead_may_go_when_all_others_have_the_same(cluster):
    kept = cluster.device(3).with_name("kept")
    cluster.device(3).rename(kept)
    try:
        assert command(cluster, "sdb3")[0] == 1
        for words in ((), ("--quick",)):
            status, text = command(cluster, "--dead", *words, "sdb3")
            assert status == 0 and "YES" in text, text
        found, _ = parts(cluster, "--dead", "sdb3")
    finally:
        kept.rename(cluster.device(3))
    for key in (("objects", "gold"), ("objects", "ec42"), ("containers", None)):
        assert found[key]["checked"], key


def test_what_only_some_others_have_a_dead_disk_may_have_had(cluster):
    put(cluster, "gold", "late", b"first")
    hashing.load_hash_config(str(cluster.layout.etc))
    name_hash = hash_path("AUTH_test", "gold", "late")
    copies = {
        f"sdb{node}": file
        for node in NODES
        for file in cluster.device(node).glob(f"objects/*/*/{name_hash}/*.data")
    }
    lacking, *others = sorted(copies)
    copies[lacking].unlink()
    for words in ((), ("--quick",)):
        status, text = command(cluster, "--dead", *words, others[0])
        assert status == 1 and f"{lacking} lacks 1 object" in text, text
        assert command(cluster, "--dead", *words, lacking)[0] == 0
    put(cluster, "gold", "late", b"second")


def test_a_dead_disk_stays_while_another_is_away(cluster):
    cluster.kill("node3")
    status, text = command(cluster, "--dead", "sdb2")
    assert status == 1 and "sdb3 can't be asked about" in text
    status, text = command(cluster, "--dead", "sdb3", "sdb7")  # all that this node has
    assert status == 0, text


def test_one_old_copy_elsewhere_is_a_reason(cluster):
    hashing.load_hash_config(str(cluster.layout.etc))
    put(cluster, "gold", "old", b"first")
    name_hash = hash_path("AUTH_test", "gold", "old")
    copies = {
        node: file for node in NODES for file in cluster.device(node).glob(f"objects/*/*/{name_hash}/*.data")
    }
    first, second = sorted(copies)[:2]
    kept = copies[second].with_name("kept"), copies[second].name
    shutil.copy2(copies[second], kept[0])  # with its attributes
    put(cluster, "gold", "old", b"second")
    for file in copies[second].parent.glob("*.data"):
        file.unlink()
    kept[0].rename(copies[second])
    found, status = parts(cluster, f"sdb{first}")
    assert status == 1
    (problem,) = found["objects", "gold"]["problems"]
    assert (problem["what"], problem["items"]) == ("lacks", 1)
    assert problem["node"].endswith(f"sdb{second}") and name_hash in problem["example"]
    put(cluster, "gold", "old", b"third")


def test_updates_that_wait_are_a_reason(cluster):
    headers = {"X-Timestamp": "1700000000.00000", "X-Size": "1", "X-Etag": "0" * 32, "X-Content-Type": "a/b"}
    update = {"op": "PUT", "account": "AUTH_test", "container": "gold", "obj": "x", "headers": headers}
    path = write_update(str(cluster.device(4)), 0, "0" * 29 + "abc", "1700000000.00000", update)
    status, text = command(cluster, "sdb4")
    os.unlink(path)
    assert status == 1
    assert "1 update not delivered" in text


def test_quarantine_is_a_reason_only_while_nothing_else_is_whole(cluster):
    hashing.load_hash_config(str(cluster.layout.etc))
    put(cluster, "gold", "aside", b"kept")
    name_hash = hash_path("AUTH_test", "gold", "aside")
    places = [
        (node, place) for node in NODES for place in cluster.device(node).glob(f"objects/*/*/{name_hash}")
    ]
    node, place = places[0]
    quarantine = cluster.device(node) / "quarantined" / "objects"
    quarantine.mkdir(parents=True, exist_ok=True)
    place.rename(quarantine / name_hash)
    device = f"sdb{node}"
    found, status = parts(cluster, device)
    assert status == 0, found
    for _, other in places[1:]:
        shutil.rmtree(other)
    found, status = parts(cluster, device)
    assert ("set-aside", "") in problems(found["objects", "gold"])
    shutil.rmtree(quarantine / name_hash)


def test_a_policy_that_nobody_knows_is_a_reason(cluster):
    strange = cluster.device(1) / "objects-7" / "1"
    strange.mkdir(parents=True)
    status, text = command(cluster, "sdb1")
    shutil.rmtree(strange.parent)
    assert status == 1 and "objects-7 belongs to no policy" in text


def test_fragments_of_unfinished_writes(cluster):
    """What no other node knows to be durable was never acknowledged; what one of them knows counts."""
    hashing.load_hash_config(str(cluster.layout.etc))
    put(cluster, "ec42", "unfinished", b"x" * 5000)
    name_hash = hash_path("AUTH_test", "ec42", "unfinished")
    files = [
        (device, file)
        for node in NODES
        for device in cluster.layout.devices_of(node)
        for file in (cluster.layout.disks / str(node) / device).glob(f"objects-2/*/*/{name_hash}/*#d.data")
    ]
    (first, ours), (_, theirs) = files[:2]
    half = ours.rename(ours.with_name(ours.name.replace("#d", "")))
    theirs.unlink()
    found, _ = parts(cluster, first)
    assert [problem[0] for problem in problems(found["objects", "ec42"])] == ["lacks"]
    for _, file in files[2:]:
        file.rename(file.with_name(file.name.replace("#d", "")))
    found, status = parts(cluster, first)
    assert status == 0, found
    half.unlink()


def test_bad_use(cluster):
    for words in (
        [],
        ["nowhere"],
        ["--nonsense"],
        ["10.0.0.9/sdb1"],
        ["--timeout", "-1", "sdb1"],
        ["a b:c/d"],
    ):
        status, text = command(cluster, *words)
        assert status == 2, words
        assert len(text.splitlines()) == 1, text
    status, text = command(cluster, "-d", "/nonexistent", "sdb1")
    assert status == 2 and len(text.splitlines()) == 1, text


def test_devices_are_called_as_rings_call_them(cluster):
    ip, port = cluster.layout.storage_address("object", 1)
    for name in ("sdb1", f"{ip}/sdb1", f"{ip}:{port}/sdb1", "/sdb1"):
        status, text = command(cluster, name)
        assert status == 0 and text.startswith(f"{ip}/sdb1: YES"), text
