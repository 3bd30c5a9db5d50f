"""A node is away while containers and accounts come and go. When it is back and daemons have run, it has forgotten what the others have, and nothing comes back."""

import json
import time

import pytest

from swift.cli import saio
from swift.cli.saio_layout import NODES
from swift.core import swift_dir
from swift.ring.lookup import Ring
from swift.wire import direct
from test.cluster import Cluster
from test.two_proxies import run_on

SECONDS = 120  # on a busy machine


@pytest.fixture
def cluster(tmp_path):
    """Its daemons hurry, where they run."""
    cluster = Cluster(tmp_path / "saio")
    cluster.write()
    for server in "account", "container", "object":
        for node in NODES:
            path = conf(cluster, server, node)
            path.write_text(path.read_text().replace("interval = 30\n", "interval = 1\n"))
    path = cluster.layout.reconciler_conf
    path.write_text(path.read_text().replace("interval = 30\n", "interval = 1\n"))
    with cluster:
        cluster.kill("daemons")
        swift_dir.use(str(cluster.layout.etc))
        yield cluster
        for path in sorted(cluster.layout.log.iterdir()):
            assert "Traceback" not in path.read_text(errors="replace"), path


def conf(cluster, server, node):
    return cluster.layout.etc / f"{server}-server" / f"{node}.conf"


def settle(cluster, is_so):
    """All daemons run until that is so, and a little longer: nothing is to come after it."""
    saio._spawn(cluster.layout, "daemons", cluster.layout.daemon_confs(), "swift.cli.daemons")
    try:
        end = time.monotonic() + SECONDS
        while not is_so():
            assert time.monotonic() < end, "not in time"
            time.sleep(0.5)
        time.sleep(5)
        assert is_so()
    finally:
        cluster.kill("daemons")


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


def replicas(cluster, account, container):
    """What each of its servers lists; None where it knows of none."""
    ring = Ring(str(cluster.layout.etc), "container")
    part, nodes = ring.get_nodes(account, container)
    found = []
    for node in nodes:
        try:
            rows = direct.get_container(node, part, account, container)[1]
        except direct.DirectError:
            found.append(None)
        else:
            found.append([row["name"] for row in rows])
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
    away = nodes_of(cluster, "container", "AUTH_test", "box")[0]
    cluster.kill(f"node{away}")
    for number in range(8):
        assert cluster.request("DELETE", f"/box/o{number}").status == 204
    assert cluster.request("DELETE", "/box").status == 204
    assert (
        cluster.request("PUT", "/box", headers={"X-Storage-Policy": new, "X-Container-Meta-B": "new"}).status
        == 201
    )
    for number in (1, 9):
        assert cluster.request("PUT", f"/box/o{number}", b"new").status == 201
    cluster.revive(f"node{away}")
    settle(cluster, lambda: all(replica == ["o1", "o9"] for replica in replicas(cluster, "AUTH_test", "box")))
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
    for name, devices in objects(cluster).items():
        kinds = {tuple(sorted(files)) for files in devices.values()}
        assert len(kinds) == 1 or any(file.endswith(".ts") for files in kinds for file in files), (
            name,
            devices,
        )


def is_empty(cluster):
    """No object and no row of one is anywhere."""
    files = [file for devices in objects(cluster).values() for of in devices.values() for file in of]
    if any(not file.endswith(".ts") for file in files):
        return False
    return all(not replica for name in ("one", "two") for replica in replicas(cluster, "AUTH_test2", name))


def test_an_account_deleted_and_reaped(cluster):
    token = cluster.authenticate("test2:tester2", "testing2")
    headers = {"X-Auth-Token": token}
    for container, policy in ("one", "gold"), ("two", "silver"):
        path = f"/v1/AUTH_test2/{container}"
        assert cluster.raw("PUT", path, headers={**headers, "X-Storage-Policy": policy}).status == 201
        for number in range(6):
            assert cluster.raw("PUT", f"{path}/o{number}", b"x", headers).status == 201
    assert len(objects(cluster)) == 12
    away = nodes_of(cluster, "account", "AUTH_test2")[-1]
    cluster.kill(f"node{away}")
    admin = cluster.authenticate("admin:admin", "admin")
    assert cluster.raw("DELETE", "/v1/AUTH_test2", headers={"X-Auth-Token": admin}).status == 204
    for node in NODES:
        if node != away:
            run_on("swift-account-reaper", str(conf(cluster, "account", node)), "once")
    cluster.revive(f"node{away}")
    settle(cluster, lambda: is_empty(cluster))
    assert objects(cluster)
    fresh_proxy(cluster)
    for container in "one", "two":
        assert cluster.raw("GET", f"/v1/AUTH_test2/{container}", headers=headers).status in (403, 404, 410)
        for number in range(6):
            answer = cluster.raw("GET", f"/v1/AUTH_test2/{container}/o{number}", headers=headers)
            assert answer.status in (403, 404, 410), answer
