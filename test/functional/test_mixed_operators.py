"""Operators' commands on a mixed cluster: nodes 1 and 2 are ours, 3 and 4 the reference's.

Run with REFERENCE_BIN=/path/to/its/bin, as test_mixed_cluster.
"""

import json
import os
import random
import shutil
import subprocess
import sys

import pytest

from swift.core import hashing
from swift.core.hashing import hash_path
from test.functional.test_mixed_erasure import make
from test.mixed import ROOT, Client, erasure_policy, mixed_cluster, needs_reference

pytestmark = needs_reference


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    root = tmp_path_factory.mktemp("mixed-operators")
    with mixed_cluster(root, [erasure_policy("ec42", 4, 2)], 2) as cluster:
        cluster.client = Client(cluster.port)
        chance = random.Random(1)
        make(cluster.client, "ec", "ec42")
        assert cluster.client("PUT", "/plain")[0] == 201
        for container in ("ec", "plain"):
            for number in range(12):
                body = chance.randbytes(1000 + 30_000 * (number % 3))
                assert cluster.client("PUT", f"/{container}/o{number}", body)[0] == 201
        assert cluster.client("DELETE", "/plain/o1")[0] == 204
        assert cluster.client("POST", "/plain/o2", headers={"X-Object-Meta-A": "b"})[0] == 202
        yield cluster


def command(cluster, name, *words):
    """(exit status, what it says)."""
    done = subprocess.run(
        [sys.executable, ROOT / "bin" / name, "-d", cluster.etc, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout or done.stderr


def local(cluster, node):
    return ("--devices", cluster.root / str(node), "--no-mount-check")


def test_one_of_our_disks_may_be_pulled(mixed):
    status, text = command(mixed, "swift-safe-to-pull", "sdb1")
    assert status == 0, text
    status, text = command(mixed, "swift-safe-to-pull", "--quick", "sdb1")
    assert status == 0, text


def test_one_of_the_others_can_be_looked_at_where_it_is(mixed):
    status, text = command(mixed, "swift-safe-to-pull", "sdb3")
    assert status == 1
    assert text.count("is served by the reference, which can't tell") >= 3, text
    status, text = command(mixed, "swift-safe-to-pull", *local(mixed, 3), "sdb3")
    assert status == 0, text
    assert "objects of policy ec42" in text


def test_what_one_of_the_others_lacks_is_seen(mixed):
    disk = mixed.root / "4" / "sdb4"
    kept = disk.rename(mixed.root / "kept")
    disk.mkdir()
    status, text = command(mixed, "swift-safe-to-pull", "--json", "sdb1")
    shutil.rmtree(disk)
    kept.rename(disk)
    assert status == 1
    problems = [problem for part in json.loads(text)["devices"][0]["parts"] for problem in part["problems"]]
    assert {problem["what"] for problem in problems} == {"lacks"}
    assert all("/sdb4" in problem["node"] and not problem["node"].endswith("x") for problem in problems)


# -- swift-copies


def copies(cluster, *words):
    status, text = command(cluster, "swift-copies", "--json", *words)
    return status, json.loads(text)


def states(document):
    return [copy["state"] for copy in document["copies"] if copy["role"] == "primary"]


def hash_directories(cluster, container, name):
    hashing.load_hash_config(str(cluster.etc))
    name_hash = hash_path("AUTH_test", container, name)
    return sorted(cluster.root.glob(f"?/sdb*/objects*/*/*/{name_hash}"))


@pytest.mark.parametrize("container", ["plain", "ec"])
def test_copies_are_shown_and_brought_back_on_both_sides(mixed, container):
    """Each of them in turn, whoever's node it is on."""
    name = "o3"
    path = f"/AUTH_test/{container}/{name}"
    body = mixed.client("GET", f"/{container}/{name}")[2]
    assert mixed.client("POST", f"/{container}/{name}", headers={"X-Object-Meta-Color": "blue"})[0] == 202
    status, found = copies(mixed, "--verify", path)
    assert status == 0, found
    for directory in hash_directories(mixed, container, name):
        files = sorted(entry.name for entry in directory.iterdir())
        shutil.rmtree(directory)
        status, found = copies(mixed, path)
        assert status == 1 and states(found).count("missing") == 1, found
        status, found = copies(mixed, "--repair", "--verify", path)
        assert status == 0, found
        assert sorted(entry.name for entry in directory.iterdir()) == files
    headers, got = mixed.client("GET", f"/{container}/{name}")[1:]
    assert got == body and headers["x-object-meta-color"] == "blue"


def test_a_missed_deletion_and_a_missed_overwrite(mixed):
    for name, method in (("o4", "PUT"), ("o5", "DELETE")):
        for directory in hash_directories(mixed, "plain", name):
            kept = directory.with_name("kept")
            shutil.copytree(directory, kept)
            assert mixed.client(method, f"/plain/{name}", b"newer")[0] in (201, 204, 404)
            shutil.rmtree(directory)
            kept.rename(directory)
            status, found = copies(mixed, f"/AUTH_test/plain/{name}")
            assert status == 1 and len(found["lacking"]) == 1, found
            status, found = copies(mixed, "--repair", f"/AUTH_test/plain/{name}")
            assert status == 0, found


def test_containers_of_both_sides(mixed):
    hashing.load_hash_config(str(mixed.etc))
    status, found = copies(mixed, "/AUTH_test/plain")
    assert status == 0, found
    assert len({copy["checksum"] for copy in found["copies"] if copy["role"] == "primary"}) == 1
    name_hash = hash_path("AUTH_test", "plain")
    directories = sorted(mixed.root.glob(f"?/sdb*/containers/*/*/{name_hash}"))
    for directory in directories:
        kept = directory.rename(directory.with_name("kept"))
        status, found = copies(mixed, "/AUTH_test/plain")
        assert status == 1 and states(found).count("missing") == 1
        status, found = copies(mixed, "--repair", "/AUTH_test/plain")
        if any(other.parts[-6] in ("1", "2") for other in directories if other != directory):
            assert status == 0, found
            shutil.rmtree(kept)
        else:  # only their own replicator can bring what only they have
            assert status == 1 and "run swift-container-replicator there" in found["done"][0]
            kept.rename(directory)
    assert copies(mixed, "/AUTH_test/plain")[0] == 0


def test_quarantine_of_the_others_is_looked_into_where_it_is(mixed):
    directory = next(d for d in hash_directories(mixed, "plain", "o6") if d.parts[-6] in ("3", "4"))
    quarantine = directory.parents[3] / "quarantined" / "objects"
    quarantine.mkdir(parents=True, exist_ok=True)
    shutil.move(directory, quarantine / directory.name)
    status, found = copies(mixed, "/AUTH_test/plain/o6")
    assert status == 1 and found["quarantined"] == []
    assert any(node.endswith(f"/{directory.parts[-5]}") for node in found["quarantine_unknown"])
    status, found = copies(
        mixed, "--unquarantine", *local(mixed, int(directory.parts[-6])), "/AUTH_test/plain/o6"
    )
    assert status == 0, found
    assert directory.exists()
