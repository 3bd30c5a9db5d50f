"""A node is away while containers and accounts come and go. When it is back and daemons have run, it has forgotten what the others have, and nothing comes back."""

import json

import pytest

from swift.cli.saio_layout import NODES
from swift.core import swift_dir
from swift.ring.lookup import Ring
from test.cluster import Cluster
from test.two_proxies import run_on


@pytest.fixture
def cluster(tmp_path):
    """Its daemons do nothing by themselves."""
    cluster = Cluster(tmp_path / "saio")
    with cluster:
        cluster.kill("daemons")
        swift_dir.use(str(cluster.layout.etc))
        yield cluster
        for path in sorted(cluster.layout.log.iterdir()):
            assert "Traceback" not in path.read_text(errors="replace"), path


def conf(cluster, server, node):
    return cluster.layout.etc / f"{server}-server" / f"{node}.conf"


def everywhere(cluster, *commands, times=2):
    """All of these daemons once on each node."""
    for _ in range(times):
        for command in commands:
            server = command.split("-")[1]
            for node in NODES:
                run_on(command, str(conf(cluster, server, node)), "once")


def replicate(cluster):
    everywhere(cluster, "swift-container-updater", "swift-container-replicator", "swift-account-replicator",
               "swift-object-replicator")  # fmt: skip


def nodes_of(cluster, server, *names):
    ring = Ring(str(cluster.layout.etc), server)
    return [node["zone"] for node in ring.get_nodes(*names)[1]]


def objects(cluster):
    """{name hash: {device: its files}}."""
    found = {}
    for path in cluster.layout.disks.glob("*/*/objects*/*/*/*/*"):
        if path.name.endswith((".data", ".meta", ".ts")):
            found.setdefault(path.parent.name, {}).setdefault(path.parts[-6], []).append(path.name)
    return found


def fresh_proxy(cluster):
    cluster.kill("proxy")
    cluster.revive("proxy")


def listing(cluster, path):
    answer = cluster.request("GET", f"{path}?format=json")
    assert answer.status in (200, 204), answer
    return [row["name"] for row in json.loads(answer.body)]


@pytest.mark.parametrize("policies", [("gold", "gold"), ("gold", "silver")])
def test_a_container_deleted_and_made_anew(cluster, policies):
    old, new = policies
    assert (
        cluster.request("PUT", "/box", headers={"X-Storage-Policy": old, "X-Container-Meta-A": "old"}).status
        == 201
    )
    for number in range(8):
        assert cluster.request("PUT", f"/box/o{number}", b"old").status == 201
    replicate(cluster)
    away = nodes_of(cluster, "container", "AUTH_test", "box")[0]
    cluster.kill(f"node{away}")
    for number in range(8):
        assert cluster.request("DELETE", f"/box/o{number}").status == 204
    everywhere_but(cluster, away)
    assert cluster.request("DELETE", "/box").status == 204
    assert (
        cluster.request("PUT", "/box", headers={"X-Storage-Policy": new, "X-Container-Meta-B": "new"}).status
        == 201
    )
    for number in (1, 9):
        assert cluster.request("PUT", f"/box/o{number}", b"new").status == 201
    cluster.revive(f"node{away}")
    replicate(cluster)
    run_on("swift-container-reconciler", str(cluster.layout.reconciler_conf), "once")
    replicate(cluster)
    fresh_proxy(cluster)
    assert listing(cluster, "/box") == ["o1", "o9"]
    head = cluster.request("HEAD", "/box").headers
    assert head["x-storage-policy"] == new
    assert head["x-container-meta-b"] == "new"
    assert head["x-container-object-count"] == "2"
    assert "x-container-meta-a" not in head
    for number in range(10):
        answer = cluster.request("GET", f"/box/o{number}")
        assert (answer.status, answer.body if number in (1, 9) else b"") == (
            (200, b"new") if number in (1, 9) else (404, b"")
        )
    # also the node that was away says so by itself
    for node in NODES:
        if node != away:
            cluster.kill(f"node{node}")
    fresh_proxy(cluster)
    answer = cluster.request("GET", "/box?format=json")
    assert answer.status in (200, 503)
    if answer.status == 200:
        assert [row["name"] for row in json.loads(answer.body)] == ["o1", "o9"]


def everywhere_but(cluster, away):
    """What container and object servers of the node that is away have not been told waits on the others."""
    for node in NODES:
        if node != away:
            run_on("swift-object-updater", str(conf(cluster, "object", node)), "once")
            run_on("swift-container-updater", str(conf(cluster, "container", node)), "once")


def test_an_account_deleted_and_reaped(cluster):
    token = cluster.authenticate("test2:tester2", "testing2")
    headers = {"X-Auth-Token": token}
    for container, policy in ("one", "gold"), ("two", "silver"):
        path = f"/v1/AUTH_test2/{container}"
        assert cluster.raw("PUT", path, headers={**headers, "X-Storage-Policy": policy}).status == 201
        for number in range(6):
            assert cluster.raw("PUT", f"{path}/o{number}", b"x", headers).status == 201
    replicate(cluster)
    before = objects(cluster)
    assert len(before) == 12
    away = nodes_of(cluster, "account", "AUTH_test2")[-1]
    cluster.kill(f"node{away}")
    admin = cluster.authenticate("admin:admin", "admin")
    assert cluster.raw("DELETE", "/v1/AUTH_test2", headers={"X-Auth-Token": admin}).status == 204
    for _ in range(3):
        for node in NODES:
            if node != away:
                run_on("swift-account-reaper", str(conf(cluster, "account", node)), "once")
        everywhere_but(cluster, away)
    cluster.revive(f"node{away}")
    for _ in range(3):
        replicate(cluster)
        everywhere(cluster, "swift-object-updater", "swift-account-reaper", times=1)
    replicate(cluster)
    for name, devices in objects(cluster).items():
        for device, files in devices.items():
            assert not [file for file in files if not file.endswith(".ts")], (name, device, files)
    fresh_proxy(cluster)
    for container in "one", "two":
        assert cluster.raw("GET", f"/v1/AUTH_test2/{container}", headers=headers).status in (403, 404, 410)
        for number in range(6):
            answer = cluster.raw("GET", f"/v1/AUTH_test2/{container}/o{number}", headers=headers)
            assert answer.status in (403, 404, 410), answer
