"""A disk that is full while containers are told of objects and while replicas are brought to it: it loses nothing, and has all afterwards."""

import errno
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from swift.cli.saio_layout import NODES
from swift.core import hashing
from swift.core.hashing import hash_path
from swift.ring.lookup import Ring
from swift.wire import direct
from test.cluster import Cluster

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = "n" * 400  # rows of some size


@pytest.fixture
def cluster(tmp_path):
    """Node 1 has a disk of 8 MB, without a reserve; daemons run when told to."""
    if os.geteuid():
        pytest.skip("mounting a small disk needs root")
    made = Cluster(tmp_path / "saio")
    made.write()
    disk = str(made.device(1))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
    try:
        for conf in made.layout.storage_confs(1):
            text = conf.read_text().replace("[DEFAULT]\n", "[DEFAULT]\nfallocate_reserve = 0\n", 1)
            conf.write_text(text)
        with made:
            made.kill("daemons")
            hashing.load_hash_config(str(made.layout.etc))
            yield made
            for path in sorted(made.layout.log.iterdir()):
                assert "Traceback" not in path.read_text(errors="replace"), path
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def fill_up(cluster):
    ballast = cluster.device(1) / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        for piece in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(piece))
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return ballast


def once(cluster, *daemons):
    for daemon in daemons:
        for node in NODES:
            conf = cluster.layout.etc / f"{daemon.partition('-')[0]}-server" / f"{node}.conf"
            subprocess.run(
                [sys.executable, ROOT / "bin" / f"swift-{daemon}", conf, "once"],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                check=True,
                timeout=120,
            )


def listed(cluster, container):
    """By node: the names in its replica, None where there is none."""
    part, nodes = Ring(str(cluster.layout.etc), "container").get_nodes("AUTH_test", container)
    found = {}
    for node in nodes:
        try:
            rows = direct.get_container(node, part, "AUTH_test", container, response_timeout=30)[1]
            found[node["device"]] = {row["name"] for row in rows}
        except direct.DirectError as err:
            assert err.http_status == 404, err
            found[node["device"]] = None
    return found


def on_node_1(cluster):
    """Names of two containers that have a replica there."""
    ring = Ring(str(cluster.layout.etc), "container")
    names = (f"c{n}" for n in range(100))
    there = [
        name for name in names if "sdb1" in [node["device"] for node in ring.get_nodes("AUTH_test", name)[1]]
    ]
    return there[:2]


def test_rows_and_replicas_for_a_full_disk(cluster):
    first, second = on_node_1(cluster)
    names = set()

    def put(container, count, mark):
        for number in range(count):
            name = f"{mark}{number}{NAME}"
            assert cluster.request("PUT", f"/{container}/{name}", b"x").status == 201
            if container == first:
                names.add(name)

    for container in (first, second):
        assert cluster.request("PUT", f"/{container}").status == 201
        put(container, 3, "before")
    once(cluster, "object-updater", "container-replicator")
    before = listed(cluster, first)
    ballast = fill_up(cluster)
    put(first, 60, "full")
    assert cluster.request("POST", f"/{first}", headers={"X-Container-Meta-A": "b"}).status == 204
    once(cluster, "object-updater", "container-replicator")
    during = listed(cluster, first)
    assert before["sdb1"] <= during["sdb1"] <= names
    assert all(there == names for device, there in during.items() if device != "sdb1")
    # nor does a replica that is missing come in part
    name_hash = hash_path("AUTH_test", second)
    (place,) = cluster.device(1).glob(f"containers/*/*/{name_hash}")
    shutil.rmtree(place)
    fill_up(cluster)
    once(cluster, "container-replicator")
    brought = listed(cluster, second)["sdb1"]
    assert brought is None or len(brought) == 3
    ballast.unlink()
    once(cluster, "object-updater", "container-replicator", "object-replicator", "object-updater")
    once(cluster, "container-replicator", "account-replicator")
    assert all(there == names for there in listed(cluster, first).values())
    assert all(len(there) == 3 for there in listed(cluster, second).values())
    assert not list(cluster.device(1).glob("quarantined/*/*"))
    assert not [file for node in NODES for file in cluster.device(node).glob("async_pending*/*/*")]
    head = cluster.request("HEAD", f"/{first}")
    assert head.headers["x-container-object-count"] == str(len(names))
    assert head.headers["x-container-meta-a"] == "b"
