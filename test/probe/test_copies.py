"""Every copy of an object, container or account is shown as it is, repaired, and brought back from quarantine if it proves whole."""

import json
import os
import shutil
import sqlite3

import pytest

from swift.cli.saio_layout import NODES
from swift.core import hashing
from swift.core.hashing import hash_path
from test.cluster import Cluster
from test.probe.test_safe_to_pull import command, put

BODY = os.urandom(150_000)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("copies") / "saio") as running:
        running.kill("daemons")  # what repairs is started by the tests
        for policy in ("gold", "ec42"):
            running.request("PUT", f"/{policy}", headers={"X-Storage-Policy": policy})
        yield running


@pytest.fixture
def cluster(shared):
    shared.make_whole()
    shared.kill("daemons")
    hashing.load_hash_config(str(shared.layout.etc))
    return shared


@pytest.fixture(params=["gold", "ec42"])
def policy(request):
    return request.param


def copies(cluster, *words):
    """(exit status, document)."""
    status, text = command(cluster, "--json", *words, name="swift-copies")
    return status, json.loads(text)


def states(document, primaries=True):
    found = [copy for copy in document["copies"] if not primaries or copy["role"] == "primary"]
    return [copy["state"] for copy in found]


def directories(cluster, container, name):
    """The hash directories of an object, sorted."""
    name_hash = hash_path("AUTH_test", container, name)
    return sorted(cluster.layout.disks.glob(f"*/*/objects*/*/*/{name_hash}"))


def device_of(path):
    return path.parts[-5]


def check_read(cluster, container, name, body):
    answer = cluster.request("GET", f"/{container}/{name}")
    assert (answer.status, answer.body == body) == (200, True)


def test_copies_that_are_whole(cluster, policy):
    put(cluster, policy, "whole", BODY)
    etag = cluster.request("HEAD", f"/{policy}/whole").headers["etag"].strip('"')
    status, found = copies(cluster, f"/AUTH_test/{policy}/whole")
    assert status == 0 and found["whole"]
    primaries = [copy for copy in found["copies"] if copy["role"] == "primary"]
    assert {(copy["state"], copy["checksum"], copy["size"]) for copy in primaries} == {
        ("data", etag, len(BODY))
    }
    assert len({copy["timestamp"] for copy in primaries}) == 1
    if policy == "ec42":
        assert [copy["fragment"] for copy in primaries] == list(range(6))
    status, text = command(cluster, "--verify", "AUTH_test", policy, "whole", name="swift-copies")
    assert status == 0 and text.count("verified") == len(primaries)
    assert text.endswith("All primaries have the newest.\n")


def test_a_missing_copy_is_brought_back(cluster, policy):
    put(cluster, policy, "gone", BODY)
    assert cluster.request("POST", f"/{policy}/gone", headers={"X-Object-Meta-Color": "blue"}).status == 202
    gone, *_ = directories(cluster, policy, "gone")
    before = sorted(entry.name for entry in gone.iterdir())
    shutil.rmtree(gone)
    path = f"/AUTH_test/{policy}/gone"
    status, found = copies(cluster, path)
    assert status == 1 and states(found).count("missing") == 1
    assert [place.rpartition("/")[2] for place in found["lacking"]] == [device_of(gone)]
    status, found = copies(cluster, "--repair", "--verify", path)
    assert status == 0, found
    assert states(found).count("data") == len(states(found))
    assert {copy["note"] for copy in found["copies"] if copy["role"] == "primary"} == {"verified"}
    assert sorted(entry.name for entry in gone.iterdir()) == before
    check_read(cluster, policy, "gone", BODY)
    assert cluster.request("HEAD", f"/{policy}/gone").headers["x-object-meta-color"] == "blue"


def test_an_old_copy_a_missed_post_and_a_missed_deletion(cluster):
    path = "/AUTH_test/gold/stale"
    put(cluster, "gold", "stale", b"first")
    stale, *_ = directories(cluster, "gold", "stale")
    kept = stale.with_name("kept")
    shutil.copytree(stale, kept)
    for change in ("PUT", "POST", "DELETE"):
        if change == "PUT":
            put(cluster, "gold", "stale", b"second")
        else:
            cluster.request(change, "/gold/stale", headers={"X-Object-Meta-Color": "blue"})
        shutil.rmtree(stale)
        shutil.copytree(kept, stale)
        status, found = copies(cluster, path)
        assert status == 1 and [p.rpartition("/")[2] for p in found["lacking"]] == [device_of(stale)]
        status, found = copies(cluster, "--repair", path)
        assert status == 0, found
        assert states(found) == (["tombstone"] if change == "DELETE" else ["data"]) * 3
    shutil.rmtree(kept)
    assert cluster.request("GET", "/gold/stale").status == 404


def test_a_node_that_is_away(cluster, policy):
    put(cluster, policy, "away", BODY)
    cluster.kill("node2")
    status, found = copies(cluster, "--repair", f"/AUTH_test/{policy}/away")
    expected = (
        2
        if policy == "ec42"
        else len([copy for copy in found["copies"] if copy["role"] == "primary" and "/sdb2" in copy["node"]])
    )
    assert states(found).count("unreachable") in (1, expected) or not expected
    assert status == (1 if expected else 0)


def test_fragments_that_are_not_durable(cluster):
    put(cluster, "ec42", "halves", BODY)
    half, *_ = directories(cluster, "ec42", "halves")
    (file,) = half.iterdir()
    file.rename(half / file.name.replace("#d", ""))
    path = "/AUTH_test/ec42/halves"
    status, found = copies(cluster, path)
    assert status == 1 and states(found).count("non-durable") == 1
    status, found = copies(cluster, "--repair", path)
    assert status == 0, found
    assert [entry.name for entry in half.iterdir()] == [file.name]


def test_too_few_fragments_are_not_made_into_anything(cluster):
    put(cluster, "ec42", "few", BODY)
    for directory in directories(cluster, "ec42", "few")[:3]:
        shutil.rmtree(directory)
    status, found = copies(cluster, "--repair", "/AUTH_test/ec42/few")
    assert status == 1
    assert all("3 different fragments are left, and 4 are needed" in text for text in found["done"])
    assert states(found).count("missing") == 3


def test_a_copy_on_a_handoff_is_shown(cluster):
    put(cluster, "gold", "guest", b"guest")
    first, *_ = directories(cluster, "gold", "guest")
    others = {device_of(path) for path in directories(cluster, "gold", "guest")}
    node = next(node for node in NODES if f"sdb{node}" not in others)
    target = cluster.device(node).joinpath(*first.parts[-4:])
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(first, target)
    status, found = copies(cluster, "/AUTH_test/gold/guest")
    assert status == 1
    assert [(c["role"], c["state"]) for c in found["copies"] if c["node"].endswith(f"/sdb{node}")] == [
        ("handoff", "data")
    ]
    assert copies(cluster, "--repair", "/AUTH_test/gold/guest")[0] == 0


def quarantine(cluster, directory):
    target = (
        cluster.layout.disks / directory.parts[-6] / directory.parts[-5] / "quarantined" / directory.parts[-4]
    )
    target.mkdir(parents=True, exist_ok=True)
    shutil.move(directory, target / directory.name)
    return target / directory.name


def test_what_is_whole_comes_back_from_quarantine(cluster, policy):
    put(cluster, policy, "aside", BODY)
    there = directories(cluster, policy, "aside")
    whole, damaged = quarantine(cluster, there[0]), quarantine(cluster, there[1])
    (file,) = damaged.iterdir()
    with open(file, "r+b") as opened:
        opened.seek(200)
        opened.write(b"flipped")
    path = f"/AUTH_test/{policy}/aside"
    status, found = copies(cluster, path)
    assert status == 1
    faults = {entry["path"]: entry["fault"] for entry in found["quarantined"]}
    assert faults[str(whole)] == "" and "checksum" in faults[str(damaged)]
    status, found = copies(cluster, "--unquarantine", path)
    assert status == 1 and len(found["quarantined"]) == 1
    assert sorted(text.rpartition(": ")[2] == "brought back" for text in found["done"]) == [False, True]
    assert there[0].exists() and not there[1].exists() and damaged.exists()
    assert copies(cluster, "--repair", "--verify", path)[0] == 0
    check_read(cluster, policy, "aside", BODY)


# -- containers and accounts


def databases(cluster, kind, *names):
    name_hash = hash_path(*names)
    return sorted(cluster.layout.disks.glob(f"*/*/{kind}s/*/*/{name_hash}"))


@pytest.mark.parametrize("names", [("AUTH_test", "rows"), ("AUTH_test",)])
def test_a_database_is_shown_and_brought_back(cluster, names):
    cluster.request("PUT", "/rows")
    for number in range(5):
        put(cluster, "rows", f"o{number}", b"x")
    kind = "container" if len(names) == 2 else "account"
    path = "/" + "/".join(names)
    first, second, *_ = databases(cluster, kind, *names)
    shutil.rmtree(first)
    status, found = copies(cluster, path)
    assert status == 1 and states(found).count("missing") == 1
    status, found = copies(cluster, "--repair", path)
    assert status == 0, found
    assert len({copy["checksum"] for copy in found["copies"] if copy["role"] == "primary"}) == 1
    if kind == "container":
        assert {copy["size"] for copy in found["copies"] if copy["role"] == "primary"} == {5}
    # one that has missed rows
    with sqlite3.connect(second / f"{second.name}.db") as conn:
        table = "object" if kind == "container" else "container"
        before = conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    assert before
    status, text = command(cluster, path, name="swift-copies")
    assert status == 0 and text.endswith("All primaries have the newest.\n")


def test_rows_that_one_replica_missed(cluster):
    cluster.request("PUT", "/missed")
    nodes = [int(path.parts[-6]) for path in databases(cluster, "container", "AUTH_test", "missed")]
    cluster.kill(f"node{nodes[0]}")
    for number in range(5):
        put(cluster, "missed", f"o{number}", b"x")
    cluster.revive(f"node{nodes[0]}")
    status, found = copies(cluster, "/AUTH_test/missed")
    assert status == 1 and len(found["lacking"]) >= 1
    status, found = copies(cluster, "--repair", "/AUTH_test/missed")
    assert status == 0, found
    assert {copy["size"] for copy in found["copies"] if copy["role"] == "primary"} == {5}


def test_a_database_comes_back_from_quarantine(cluster):
    cluster.request("PUT", "/asides")
    put(cluster, "asides", "o", b"x")
    first, second, _ = databases(cluster, "container", "AUTH_test", "asides")
    command(cluster, "/AUTH_test/asides", name="swift-copies")  # what is pending is merged
    whole, damaged = quarantine(cluster, first), quarantine(cluster, second)
    with open(damaged / f"{damaged.name}.db", "r+b") as file:
        file.seek(4096)
        file.write(b"x" * 4096)
    status, found = copies(cluster, "/AUTH_test/asides")
    assert status == 1 and states(found).count("missing") == 2
    faults = {entry["path"]: entry["fault"] for entry in found["quarantined"]}
    assert faults[str(whole)] == "" and faults[str(damaged)]
    status, found = copies(cluster, "--unquarantine", "--repair", "/AUTH_test/asides")
    assert status == 0, found
    assert first.exists() and damaged.exists() and not whole.exists()


def test_bad_use(cluster):
    for words in (
        [],
        ["/"],
        ["//c/o"],
        ["a", "b", "c", "d"],
        ["a/b", "c"],
        ["--nonsense"],
        ["/AUTH_test/nowhere/o"],
        ["-P", "tin", "/a/c/o"],
        ["--timeout", "0", "/a"],
        [b"/AUTH_test/c/\xff"],
    ):
        status, text = command(cluster, *words, name="swift-copies")
        assert status == 2, words
        assert len(text.splitlines()) == 1, text
    status, text = command(cluster, "/AUTH_test/gold/never", name="swift-copies")
    assert status == 1 and text.endswith("There is no copy.\n")
    assert copies(cluster, "-Q", "/AUTH_test/gold/n%C3%A4her")[1]["path"] == "/AUTH_test/gold/n\u00e4her"
