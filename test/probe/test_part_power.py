"""The partition power of a running cluster is raised under load, replicated and erasure-coded: not one request fails, and none shows other content.

Of two proxies one always gets a new ring later than the other.
"""

import http.client
import os
import subprocess
import sys
import time

import pytest

from swift.cli import saio
from swift.cli.saio_layout import NODES
from swift.core import swift_dir
from test.altered import ROOT, spawner
from test.load import Load
from test.two_proxies import TwoProxies, environ

RINGS = ("object", "object-2")
POWER = 10


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    monkeypatch.setattr(saio, "_spawn", spawner(environ))
    cluster = TwoProxies(tmp_path / "saio")
    cluster.write()
    for node in NODES:
        with open(cluster.conf(node), "a") as file:
            file.write("\n[object-relinker]\n" + ("" if os.geteuid() else "user = root\n"))
    swift_dir.use(str(cluster.layout.etc))
    with cluster:
        for container, policy in ("/gold", "gold"), ("/ec", "ec42"):
            answer = cluster.request("PUT", container, headers={"X-Storage-Policy": policy})
            assert answer.status == 201
        yield cluster
        for path in sorted(cluster.layout.log.iterdir()):
            assert "Traceback" not in path.read_text(errors="replace"), path


def turn(cluster, what, load):
    """One step of the rings."""

    def step(builder):
        assert getattr(builder, f"{what}_partition_power")()

    cluster.change(RINGS, step, load)


def relinker(cluster, step):
    cluster.run("swift-object-relinker", step, "{conf}")


def load_of(cluster):
    return Load(cluster.addresses(), cluster.token, ["/gold", "/ec"])


def test_up(cluster):
    """Relinkers are killed on the way, and run again."""
    load = load_of(cluster)
    with load.running():
        load.rest(20)
        turn(cluster, "prepare_increase", load)
        for step in "relink", "cleanup":
            kill_amid(cluster, step, 1)
            relinker(cluster, step)
            load.rest()
            turn(cluster, "increase" if step == "relink" else "finish_increase", load)
        load.rest(20)
    load.check()
    assert cluster.misplaced(RINGS, POWER + 1) == []


def test_given_up(cluster):
    load = load_of(cluster)
    with load.running():
        load.rest(20)
        turn(cluster, "prepare_increase", load)
        relinker(cluster, "relink")
        load.rest()
        turn(cluster, "cancel_increase", load)
        relinker(cluster, "cleanup")
        load.rest()
        turn(cluster, "finish_increase", load)
        load.rest(20)
    load.check()
    assert cluster.misplaced(RINGS, POWER) == []


def kill_amid(cluster, step, node):
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "bin" / "swift-object-relinker"), step, str(cluster.conf(node)),
         "--files-per-second", "20"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
    )  # fmt: skip
    time.sleep(1.0)
    process.kill()
    process.wait()


def test_an_upload_that_takes_all_the_time_of_it(cluster):
    """It begins before anything is announced, and ends when its former place has been cleaned up."""
    load = Load(cluster.addresses(), cluster.token, ["/gold", "/ec"], each=1)
    uploads = []
    for container in "/gold", "/ec":
        connection = http.client.HTTPConnection(*cluster.addresses()[0], timeout=120)
        connection.putrequest("PUT", f"/v1/AUTH_test{container}/long")
        connection.putheader("X-Auth-Token", cluster.token)
        connection.putheader("Content-Length", "200000")
        connection.endheaders(b"x" * 100_000)
        uploads.append(connection)
    with load.running():
        turn(cluster, "prepare_increase", load)
        relinker(cluster, "relink")
        for connection in uploads:
            connection.send(b"x" * 50_000)
        turn(cluster, "increase", load)
        for connection in uploads:
            connection.send(b"x" * 50_000)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (201, answer.read())
        for container in "/gold", "/ec":
            got = cluster.request("GET", f"{container}/long")
            assert (got.status, got.body) == (200, b"x" * 200_000)
        relinker(cluster, "cleanup")
        for container in "/gold", "/ec":
            got = cluster.request("GET", f"{container}/long")
            assert (got.status, got.body) == (200, b"x" * 200_000)
        turn(cluster, "finish_increase", load)
    load.check()
    assert cluster.misplaced(RINGS, POWER + 1) == []
