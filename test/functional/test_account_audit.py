"""swift-account-audit names each copy that is missing or another one, whatever the policy."""

import os
import pathlib
import shutil
import subprocess
import sysconfig

import pytest

from swift.cli.saio_layout import NODES
from swift.core import swift_dir
from swift.core.hashing import hash_path
from swift.ring.lookup import Ring
from swift.wire import direct
from test.cluster import Cluster

COMMAND = pathlib.Path(os.environ.get("OURS_BIN", sysconfig.get_path("scripts"))) / "swift-account-audit"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("audited") / "saio") as cluster:
        cluster.kill("daemons")
        swift_dir.use(str(cluster.layout.etc))
        for container, policy in (("one", "gold"), ("ec", "ec42")):
            assert cluster.request("PUT", f"/{container}", headers={"X-Storage-Policy": policy}).status == 201
            for name in ("a", "b", "c/d", "%C3%BC"):
                assert cluster.request("PUT", f"/{container}/{name}", b"x" * 10).status == 201
        for node in NODES:
            conf = cluster.layout.etc / "container-server" / f"{node}.conf"
            subprocess.run([COMMAND.with_name("swift-container-updater"), conf, "once"], check=True)
        yield cluster


def audit(cluster, *words, lines=""):
    """(findings, counts) of the command's output."""
    done = subprocess.run(
        [COMMAND, "-r", cluster.layout.etc, *words], capture_output=True, text=True, input=lines, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    head, _, counts = done.stdout.partition("\n\n")
    findings = sorted(line for line in head.splitlines() if line.startswith("  "))
    return findings, [line.strip() for line in counts.splitlines() if line.strip()]


def at(ring, number):
    return f"{ring[1][number]['ip']}/{ring[1][number]['device']}"


def test_a_whole_cluster(own):
    findings, counts = audit(own, "AUTH_test", "-d")
    assert findings == []
    assert counts == ["Accounts checked: 1", "Containers checked: 2", "Objects checked: 8"]
    findings, counts = audit(own, lines="/AUTH_test/one/a\nAUTH_test/ec/c/d\n")
    assert findings == [] and counts[-1] == "Objects checked: 2"


def test_each_damage_is_named(own, tmp_path):
    etc = str(own.layout.etc)
    gold, ec, containers = Ring(etc, "object"), Ring(etc, "object-2"), Ring(etc, "container")
    a, b = gold.get_nodes("AUTH_test", "one", "a"), gold.get_nodes("AUTH_test", "one", "b")
    direct.delete_object(a[1][0], a[0], "AUTH_test", "one", "a")
    direct.put_object(b[1][1], b[0], "AUTH_test", "one", "b", b"zzzz", 4)
    e = ec.get_nodes("AUTH_test", "ec", "a")
    headers = {"X-Backend-Storage-Policy-Index": "2"}
    direct.delete_object(e[1][3], e[0], "AUTH_test", "ec", "a", headers)
    box = containers.get_nodes("AUTH_test", "ec")
    node = box[1][2]
    name = hash_path("AUTH_test", "ec")
    shutil.rmtree(
        own.layout.disks / str(node["zone"]) / node["device"] / "containers" / str(box[0]) / name[-3:] / name
    )
    errors = tmp_path / "errors"
    findings, counts = audit(own, "-e", errors, "AUTH_test")
    others = [at(b, number) for number in (0, 2)]
    assert findings == sorted(
        [
            f'  Bad status 404 HEADing object "/AUTH_test/one/a" on {at(a, 0)}',
            *[f'  ETag mismatch for "/AUTH_test/one/b" on {where}' for where in others],
            f'  Bad status 404 HEADing object "/AUTH_test/ec/a" on {at(e, 3)}',
            f'  Bad status GETting container "/AUTH_test/ec" on {at(box, 2)}',
        ]
    )
    assert sorted(errors.read_text().split()) == [
        "/AUTH_test/ec",
        "/AUTH_test/ec/a",
        "/AUTH_test/one/a",
        "/AUTH_test/one/b",
    ]
    assert "Missing Replicas: 2" in counts and "MD5 Mismatch: 2" in counts
    assert sorted(set(audit(own, lines=errors.read_text())[0])) == findings


def test_a_node_that_is_away(own):
    own.kill("node4")
    try:
        findings, counts = audit(own, "AUTH_test/one", "AUTH_test/nothing", "AUTH_test/one/nope")
    finally:
        own.revive("node4")
    assert "  Container /AUTH_test/nothing not in account listing!" in findings
    assert "  Failed to fetch container /AUTH_test/nothing at all!" in findings
    assert "  Object /AUTH_test/one/nope missing in container listing!" in findings
    assert any(line.startswith('  Exception fetching object "/AUTH_test/one/') for line in findings)


@pytest.mark.parametrize("words", [["-x"], ["--helper"], ["-c", "0", "a"], ["-c"]])
def test_usage(words):
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, input="")
    assert done.returncode == 2 and "Usage!" in done.stdout and "Traceback" not in done.stderr


def test_no_configuration(tmp_path):
    done = subprocess.run([COMMAND, "-r", tmp_path, "a"], capture_output=True, text=True, input="")
    assert done.returncode == 1 and done.stderr.startswith("swift-account-audit: ")
