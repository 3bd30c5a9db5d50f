"""The partition power of a running cluster is raised under load, replicated and erasure-coded: not one request fails, and none shows other content.

Of two proxies one always gets a new ring later than the other.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

from swift.cli import saio
from swift.cli.saio_layout import NODES
from swift.core import swift_dir
from swift.ring.builder import RingBuilder
from test.altered import ROOT, spawner
from test.cluster import Cluster, free_ports, wait_for_port
from test.load import Load

RINGS = ("object", "object-2")
RING_SECONDS = 0.5  # how often they are looked at
TAKEN_UP = 3.0  # seconds in which a busy process has surely seen a new one
POWER = 10


class TwoProxies(Cluster):
    """`address2`: of the proxy with a folder of rings of its own."""

    def write(self):
        super().write()
        layout = self.layout
        self.etc2 = layout.home / "etc2"
        self.etc2.mkdir()
        for path in [layout.etc / "swift.conf", *layout.etc.glob("*.ring.gz")]:
            shutil.copy(path, self.etc2)
        self.address2 = (layout.ip, free_ports()[0])
        text = layout.proxy_conf.read_text()
        text = text.replace(f"bind_port = {layout.port}", f"bind_port = {self.address2[1]}")
        text = text.replace(f"swift_dir = {layout.etc}\n", f"swift_dir = {self.etc2}\n")
        (self.etc2 / "proxy-server.conf").write_text(text)
        for node in NODES:
            with open(self.conf(node), "a") as file:
                file.write(
                    "\n[object-relinker]\nuser = root\n" if not os.geteuid() else "\n[object-relinker]\n"
                )

    def conf(self, node):
        return self.layout.etc / "object-server" / f"{node}.conf"

    def __enter__(self):
        super().__enter__()
        saio._spawn(self.layout, "proxy2", [self.etc2 / "proxy-server.conf"])
        wait_for_port(*self.address2)
        return self

    def addresses(self):
        return [(self.layout.ip, self.layout.port), self.address2]

    def turn(self, what, load):
        """One step of the rings, which one of the proxies takes up after the other."""
        for ring in RINGS:
            path = str(self.layout.etc / f"{ring}.builder")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}.old")
            builder = RingBuilder.load(path)
            assert getattr(builder, f"{what}_partition_power")()
            builder.save(path)
            builder.get_ring().save(str(self.layout.etc / f"{ring}.ring.gz"))
        load.rest(seconds=TAKEN_UP)
        for ring in RINGS:
            shutil.copy(self.layout.etc / f"{ring}.ring.gz", self.etc2 / "new")
            os.rename(self.etc2 / "new", self.etc2 / f"{ring}.ring.gz")
        load.rest(seconds=TAKEN_UP)

    def relinker(self, step, *words, node=None, wanted=0):
        for each in [node] if node else NODES:
            done = subprocess.run(
                [
                    sys.executable,
                    str(ROOT / "bin" / "swift-object-relinker"),
                    step,
                    str(self.conf(each)),
                    *words,
                ],
                capture_output=True,
                text=True,
                timeout=120,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            assert done.returncode == wanted, (done.stdout + done.stderr, self.layout.log)

    def misplaced(self, power):
        """Hash directories of objects that are not where a ring of this power has them."""
        found = []
        for ring in RINGS:
            datadir = "objects" + ring.removeprefix("object")
            for path in self.layout.disks.glob(f"*/*/{datadir}/*/*/*"):
                with contextlib.suppress(ValueError):
                    if len(path.name) == 32 and int(path.parts[-3]) != int(path.name[:8], 16) >> (32 - power):
                        found.append(str(path))
        return found


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    monkeypatch.setattr(saio, "_spawn", spawner(lambda name: {"ALTERED_RING_SECONDS": str(RING_SECONDS)}))
    cluster = TwoProxies(tmp_path / "saio")
    cluster.write()
    swift_dir.use(str(cluster.layout.etc))
    with cluster:
        for container, policy in ("/gold", "gold"), ("/ec", "ec42"):
            answer = cluster.request("PUT", container, headers={"X-Storage-Policy": policy})
            assert answer.status == 201
        yield cluster
        for path in sorted(cluster.layout.log.iterdir()):
            assert "Traceback" not in path.read_text(errors="replace"), path


def load_of(cluster):
    return Load(cluster.addresses(), cluster.token, ["/gold", "/ec"])


def test_up(cluster):
    load = load_of(cluster)
    with load.running():
        load.rest(20)
        cluster.turn("prepare_increase", load)
        cluster.relinker("relink")
        load.rest()
        cluster.turn("increase", load)
        cluster.relinker("cleanup")
        load.rest()
        cluster.turn("finish_increase", load)
        load.rest(20)
    load.check()
    assert cluster.misplaced(POWER + 1) == []


def test_given_up(cluster):
    load = load_of(cluster)
    with load.running():
        load.rest(20)
        cluster.turn("prepare_increase", load)
        cluster.relinker("relink")
        load.rest()
        cluster.turn("cancel_increase", load)
        cluster.relinker("cleanup")
        load.rest()
        cluster.turn("finish_increase", load)
        load.rest(20)
    load.check()
    assert cluster.misplaced(POWER) == []


def test_relinkers_are_killed_and_run_again(cluster):
    """And servers with them."""
    load = load_of(cluster)
    with load.running():
        load.rest(20)
        cluster.turn("prepare_increase", load)
        for step in "relink", "cleanup":
            for node in NODES:
                kill_amid(cluster, step, node)
            cluster.relinker(step)
            load.rest()
            cluster.turn("increase" if step == "relink" else "finish_increase", load)
        load.rest(10)
    load.check()
    assert cluster.misplaced(POWER + 1) == []


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
    import http.client

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
        cluster.turn("prepare_increase", load)
        cluster.relinker("relink")
        for connection in uploads:
            connection.send(b"x" * 50_000)
        cluster.turn("increase", load)
        for connection in uploads:
            connection.send(b"x" * 50_000)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (201, answer.read())
        for container in "/gold", "/ec":
            got = cluster.request("GET", f"{container}/long")
            assert (got.status, got.body) == (200, b"x" * 200_000)
        cluster.relinker("cleanup")
        for container in "/gold", "/ec":
            got = cluster.request("GET", f"{container}/long")
            assert (got.status, got.body) == (200, b"x" * 200_000)
        cluster.turn("finish_increase", load)
    load.check()
    assert cluster.misplaced(POWER + 1) == []
    assert pathlib.Path(cluster.conf(1)).exists()
