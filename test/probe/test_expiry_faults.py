"""Expiry while things break: a node away, expirers killed and running beside each other. What expires goes everywhere, all else stays."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sysconfig
import time

import pytest

from swift.cli.saio_layout import NODES
from test.cluster import Cluster
from test.expiring import when_due
from test.passes import run_passes

BIN = pathlib.Path(os.environ.get("OURS_BIN", sysconfig.get_path("scripts")))


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path / "saio") as made:
        made.kill("daemons")
        yield made


def confs(cluster, section, nodes):
    return [cluster.layout.etc / f"{section.partition('-')[0]}-server" / f"{node}.conf" for node in nodes]


def once(cluster, section, nodes=NODES):
    """A pass of a daemon on each of the nodes."""
    return run_passes(section, confs(cluster, section, nodes))


def alone(cluster):
    """Each expirer has all of the work, as if there were no others."""
    for path in confs(cluster, "object-expirer", NODES):
        path.write_text(
            path.read_text().replace(f"processes = {len(NODES)}", "processes = 0\nlog_level = DEBUG")
        )


def begin(cluster, node):
    """An expirer on its way."""
    return subprocess.Popen(
        [BIN / "swift-object-expirer", *confs(cluster, "object-expirer", [node]), "once", "-v"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def put(cluster, container, names, due):
    for name in names:
        answer = cluster.request("PUT", f"/{container}/{name}", b"x" * 3000, {"X-Delete-At": str(due)})
        assert answer.status == 201


def names(cluster, container):
    return {row["name"] for row in json.loads(cluster.request("GET", f"/{container}?format=json").body)}


def data_files(cluster):
    return [
        path
        for node in NODES
        for device in cluster.layout.devices_of(node)
        for path in (cluster.layout.disks / str(node) / device).glob("objects*/*/*/*/*.data")
    ]


def test_a_node_is_away_while_objects_expire(cluster):
    """What it holds of them goes once it is back; what was given more time meanwhile stays, also where it was missed."""
    alone(cluster)
    assert cluster.request("PUT", "/gold").status == 201
    assert cluster.request("PUT", "/ec", headers={"X-Storage-Policy": "ec42"}).status == 201

    def prepare(due):
        cluster.make_whole()
        for container in ("gold", "ec"):
            for kind, count in (("plain", 12), ("more", 6), ("new", 6)):
                put(cluster, container, [f"{kind}-{number}" for number in range(count)], due)
        once(cluster, "container-updater")
        cluster.kill("node2")
        for container in ("gold", "ec"):
            for number in range(6):
                later = {"X-Delete-At": str(due + 3600)}
                assert cluster.request("POST", f"/{container}/more-{number}", headers=later).status == 202
                assert cluster.request("PUT", f"/{container}/new-{number}", b"new").status == 201

    when_due(prepare, 12)
    stay = {f"{kind}-{number}" for kind in ("more", "new") for number in range(6)}
    log = once(cluster, "object-expirer", [1, 1])
    for container in ("gold", "ec"):
        assert names(cluster, container) == stay, log
    cluster.revive("node2")
    cluster.kill("proxy")  # and what it remembers of the node
    cluster.revive("proxy")
    for _ in range(2):
        once(cluster, "object-updater")
        once(cluster, "object-replicator")
        once(cluster, "container-replicator")
        once(cluster, "container-updater")
        once(cluster, "object-expirer", [2])
    for container in ("gold", "ec"):
        assert names(cluster, container) == stay
        for name in stay:
            body = b"new" if name.startswith("new") else b"x" * 3000
            assert cluster.request("GET", f"/{container}/{name}").body == body
    left = [path for path in data_files(cluster) if path.parts[-5] == "objects"]
    assert len(left) == 3 * len(stay)


def test_expirers_are_killed_again_and_again(cluster):
    """Whatever is half done is done by whoever comes next; nothing else is touched."""
    alone(cluster)
    assert cluster.request("PUT", "/box").status == 201

    def prepare(due):
        put(cluster, "box", [f"goes-{number}" for number in range(60)], due)
        put(cluster, "box", [f"stays-{number}" for number in range(10)], due + 3600)

    when_due(prepare)
    once(cluster, "container-updater")
    chance = random.Random(1)
    for _ in range(6):
        running = [begin(cluster, node) for node in (1, 2)]
        time.sleep(1 + chance.random())
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        assert names(cluster, "box") >= {f"stays-{number}" for number in range(10)}
    once(cluster, "object-expirer", [1, 1])
    assert names(cluster, "box") == {f"stays-{number}" for number in range(10)}
    assert "0 objects expired" in once(cluster, "object-expirer", [1])
    for number in range(10):
        assert cluster.request("GET", f"/box/stays-{number}").body == b"x" * 3000
    assert len(data_files(cluster)) == 30


def test_expirers_beside_each_other(cluster):
    """All of them with all of the work, at the same time: no errors, nothing left."""
    alone(cluster)
    assert cluster.request("PUT", "/box").status == 201
    when_due(lambda due: put(cluster, "box", map(str, range(60)), due))
    once(cluster, "container-updater")
    running = [begin(cluster, node) for node in NODES]
    for process in running:
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0 and "Traceback" not in said, said
        assert "Pass completed in" in said
    once(cluster, "object-expirer", [1])  # what a server had no time for
    assert names(cluster, "box") == set() and data_files(cluster) == []
    assert "; 0 objects expired" in once(cluster, "object-expirer", [1])
