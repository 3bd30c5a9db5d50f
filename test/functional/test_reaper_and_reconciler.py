"""Deleted accounts become empty, and objects of a policy that lost move to the one that won: the daemons' commands on a cluster."""

import json
import os
import pathlib
import subprocess
import sys
import sysconfig
import time
import urllib.parse

import pytest

from swift.cli.saio_layout import NODES
from swift.core import swift_dir
from swift.core.timestamp import Timestamp
from swift.ring.lookup import Ring
from swift.wire import direct
from test.cluster import Cluster

BIN = pathlib.Path(os.environ.get("OURS_BIN", sysconfig.get_path("scripts")))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A cluster whose daemons do nothing by themselves."""
    with Cluster(tmp_path_factory.mktemp("daemons") / "saio") as cluster:
        cluster.kill("daemons")
        yield cluster


def run(command, conf, *words):
    done = subprocess.run(
        [BIN / command, conf, *words], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def run_on_all(cluster, server, daemon):
    return "".join(
        run(f"swift-{daemon}", cluster.layout.etc / f"{server}-server" / f"{node}.conf", "once", "-v")
        for node in NODES
    )


def files(cluster, ending, folder="objects"):
    return [path for node in NODES for path in cluster.device(node).glob(f"{folder}/*/*/*/*{ending}")]


def admin(cluster, method, path):
    token = cluster.authenticate("admin:admin", "admin")
    return cluster.raw(method, path, headers={"X-Auth-Token": token})


def test_a_deleted_account_is_emptied(own):
    token = own.authenticate("test2:tester2", "testing2")
    headers = {"X-Auth-Token": token}
    for container in ("one", "two", "drei ☃", "silver"):
        policy = {"X-Storage-Policy": "silver"} if container == "silver" else {}
        path = "/v1/AUTH_test2/" + urllib.parse.quote(container)
        assert own.raw("PUT", path, headers={**headers, **policy}).status == 201
        for number in range(12):
            assert own.raw("PUT", f"{path}/o{number}", b"x", headers).status == 201
    run_on_all(own, "container", "container-updater")
    before = len(files(own, ".data")), len(files(own, ".data", "objects-1"))
    assert before == (3 * 36, 2 * 12)
    assert not run_on_all(own, "account", "account-reaper").count("Completed pass")
    assert admin(own, "DELETE", "/v1/AUTH_test2").status == 204
    log = run_on_all(own, "account", "account-reaper")
    assert 1 <= log.count("Completed pass on account AUTH_test2") <= 3  # who comes last may find nothing left
    assert "Traceback" not in log
    assert not files(own, ".data") and not files(own, ".data", "objects-1")
    assert len(files(own, ".ts")) == 3 * 36 and len(files(own, ".ts", "objects-1")) == 2 * 12
    run_on_all(own, "account", "account-reaper")  # what a row was late for
    run_on_all(own, "container", "container-updater")
    log = run_on_all(own, "account", "account-reaper")
    assert "AUTH_test2" not in log


def test_an_object_of_a_policy_that_lost_is_moved(own):
    """Two halves made the container with different policies, and objects went to both."""
    assert own.request("PUT", "/whose-account-there-is").status in (201, 202)
    etc = str(own.layout.etc)
    swift_dir.use(etc)
    ring, silver = Ring(etc, "container"), Ring(etc, "object-1")
    now = time.time() - 50
    part, nodes = ring.get_nodes("AUTH_test", "split")
    for number, node in enumerate(nodes):
        headers = {
            "X-Timestamp": Timestamp(now + (0 if number == 0 else 1)).internal,
            "X-Backend-Storage-Policy-Index": "0" if number == 0 else "1",
        }
        direct.put_container(node, part, "AUTH_test", "split", headers)

    def put(name, body, at, method="PUT", policy=1):
        where = silver if policy else Ring(etc, "object")
        object_part, object_nodes = where.get_nodes("AUTH_test", "split", name)
        for number, node in enumerate(object_nodes):
            target = nodes[1 + number % 2] if policy else nodes[0]
            headers = {
                "X-Timestamp": Timestamp(at).internal,
                "X-Backend-Storage-Policy-Index": str(policy),
                "X-Container-Host": f"{target['ip']}:{target['port']}",
                "X-Container-Device": target["device"],
                "X-Container-Partition": str(part),
                "X-Object-Meta-Color": "blue",
                "X-Object-Sysmeta-Kept": "yes",
            }
            if method == "PUT":
                direct.put_object(
                    node,
                    object_part,
                    "AUTH_test",
                    "split",
                    name,
                    body,
                    len(body),
                    None,
                    "text/x-moved",
                    headers,
                )
            else:
                try:
                    direct.delete_object(node, object_part, "AUTH_test", "split", name, headers)
                except direct.DirectError as err:
                    assert err.http_status == 404

    big = os.urandom(300_000)
    put("moved", b"hello", now + 5)
    put("big", big, now + 5)
    put("older", b"old in silver", now + 5)
    put("older", b"new in gold", now + 6, policy=0)
    put("gone", b"gold", now + 5, policy=0)
    put("gone", b"", now + 7, "DELETE")
    for _ in range(2):
        run_on_all(own, "container", "container-replicator")
    names = {path.name for path in files(own, ".data", "objects-1")}
    assert names
    log = run("swift-container-reconciler", own.layout.reconciler_conf, "once", "-v")
    assert "Traceback" not in log and "'success': 4" in log, log
    own.kill("proxy")  # what it remembers of the container
    own.revive("proxy")
    for name, body in (("moved", b"hello"), ("big", big), ("older", b"new in gold")):
        answer = own.request("GET", f"/split/{name}")
        assert (answer.status, answer.body == body) == (200, True), name
        assert answer.headers["x-object-meta-color"] == "blue"
        assert answer.headers["content-type"] == "text/x-moved"
    assert own.request("GET", "/split/gone").status == 404
    assert not files(own, ".data", "objects-1")
    # the queue is empty, and the listing is that of one policy
    for _ in range(2):
        run_on_all(own, "container", "container-replicator")
    log = run("swift-container-reconciler", own.layout.reconciler_conf, "once", "-v")
    assert "Reconciler Stats: {}" in log, log
    listing = json.loads(own.request("GET", "/split?format=json").body)
    assert {(row["name"], row["bytes"]) for row in listing} == {("moved", 5), ("big", 300_000), ("older", 11)}


def test_an_object_is_put_into_the_queue_by_hand(own):
    """swift-reconciler-enqueue reads /etc/swift only: here with another directory, as a program would call it."""
    script = (
        "import sys; from swift.core import concurrency; concurrency.patch();"
        "from swift.core import swift_dir; swift_dir.DEFAULT_SWIFT_DIR = sys.argv.pop(1);"
        "from swift.cli.reconciler_enqueue import main; sys.exit(main())"
    )

    def enqueue(*words):
        return subprocess.run(
            [sys.executable, "-c", script, str(own.layout.etc), *words],
            capture_output=True,
            text=True,
            timeout=180,
        )

    assert own.request("PUT", "/byhand").status == 201
    done = enqueue("1", "/AUTH_test/byhand/o", "1795237261.00000", "-X", "DELETE")
    assert (done.returncode, done.stdout) == (0, "1795237200\n"), done.stderr
    etc = str(own.layout.etc)
    swift_dir.use(etc)
    part, nodes = Ring(etc, "container").get_nodes(".misplaced_objects", "1795237200")
    for node in nodes:
        _, listed = direct.get_container(node, part, ".misplaced_objects", "1795237200")
        assert [(row["name"], row["content_type"]) for row in listed] == [
            ("1:/AUTH_test/byhand/o", "application/x-delete")
        ]
    for words, error in (
        (("7", "/a/c/o", "1"), "ERROR: invalid storage policy index: 7\n"),
        (("1", "/a/c", "1"), "ERROR: Invalid path: /a/c\n"),
        (("1", "/a/c/o", "x"), "ERROR: "),
    ):
        done = enqueue(*words)
        assert done.returncode == 1 and done.stderr.startswith(error), done
    done = enqueue("1")
    assert done.returncode == 0 and "swift-reconciler-enqueue" in done.stdout
