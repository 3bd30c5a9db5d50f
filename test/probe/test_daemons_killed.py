"""Daemons that work through requests, killed in the middle of their work and started again: all is done in the end, and nothing else.

Those that work on their own disk have their tests beside what they do: replicators, reconstructor, object-auditor, expirer, relinker.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from swift.cli.saio_layout import NODES
from test.cluster import Cluster

ROOT = pathlib.Path(__file__).resolve().parents[2]
KILLS = 3


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("killed") / "saio")
    made.write()
    for conf in made.layout.daemon_confs():
        text = conf.read_text()
        for section, pace in (
            ("object-updater", "objects_per_second = 40\nconcurrency = 1\nupdater_workers = 1"),
            ("container-updater", "containers_per_second = 20\nconcurrency = 1"),
            ("account-reaper", "concurrency = 1"),
        ):
            text = text.replace(f"[{section}]\n", f"[{section}]\n{pace}\n")
        conf.write_text(text)
    with made:
        made.kill("daemons")
        yield made
        for path in sorted(made.layout.log.iterdir()):
            assert "Traceback" not in path.read_text(errors="replace"), path


def start(cluster, daemon, node):
    conf = cluster.layout.etc / f"{daemon.partition('-')[0]}-server" / f"{node}.conf"
    return subprocess.Popen(
        [sys.executable, ROOT / "bin" / f"swift-{daemon}", conf, "once"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def once(cluster, daemon):
    for node in NODES:
        assert start(cluster, daemon, node).wait(120) == 0


def killed_again_and_again(cluster, daemon, left):
    """On each node until `left()` goes down, so that it is in the middle of it; then to its end. Returns how often it was."""
    amid = 0
    for node in NODES:
        for _ in range(KILLS):
            before = left()
            process = start(cluster, daemon, node)
            while process.poll() is None and left() == before:
                time.sleep(0.005)
            amid += process.poll() is None and left() > 0
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    once(cluster, daemon)
    return amid


def files(cluster, pattern):
    return [file for node in NODES for file in cluster.device(node).glob(pattern)]


def test_the_object_updater(cluster):
    for container in ("u0", "u1"):
        assert cluster.request("PUT", f"/{container}").status == 201
    names = [f"o{number}" for number in range(30)]
    for node in ("node1", "node2"):
        cluster.kill(node)
    try:
        for number, name in enumerate(names):
            assert cluster.request("PUT", f"/u{number % 2}/{name}", b"x").status in (201, 503)
    finally:
        cluster.make_whole()
        cluster.kill("daemons")

    def waiting():
        return len(files(cluster, "async_pending*/*/*"))

    assert waiting()
    assert killed_again_and_again(cluster, "object-updater", waiting)
    assert not waiting()
    once(cluster, "container-replicator")
    for container in ("u0", "u1"):
        listed = cluster.request("GET", f"/{container}").body.decode().split()
        for name in listed:
            assert cluster.request("HEAD", f"/{container}/{name}").status == 200
        there = [
            n
            for n in names[int(container[1]) :: 2]
            if cluster.request("HEAD", f"/{container}/{n}").status == 200
        ]
        assert listed == sorted(there)


def test_the_container_updater(cluster):
    once(cluster, "container-updater")
    before = int(cluster.request("HEAD", "").headers["x-account-object-count"])
    for number in range(30):
        assert cluster.request("PUT", f"/c{number}").status == 201
        assert cluster.request("PUT", f"/c{number}/o", b"12345").status == 201

    def untold():
        return before + 30 - int(cluster.request("HEAD", "").headers["x-account-object-count"])

    killed_again_and_again(cluster, "container-updater", untold)
    assert untold() == 0
    head = cluster.request("HEAD", "").headers
    listed = [entry for entry in cluster.request("GET", "").body.decode().split() if entry[0] == "c"]
    assert len(listed) == 30 and int(head["x-account-container-count"]) >= 30


def test_the_account_reaper(cluster):
    token = cluster.authenticate("test2:tester2", "testing2")
    headers = {"X-Auth-Token": token}
    for container in ("one", "two", "three"):
        assert cluster.raw("PUT", f"/v1/AUTH_test2/{container}", headers=headers).status == 201
        for number in range(25):
            path = f"/v1/AUTH_test2/{container}/o{number}"
            assert cluster.raw("PUT", path, b"x", headers).status == 201
    once(cluster, "container-updater")
    others = len(files(cluster, "objects/*/*/*/*.data")) - 3 * 75
    admin = {"X-Auth-Token": cluster.authenticate("admin:admin", "admin")}
    assert cluster.raw("DELETE", "/v1/AUTH_test2", headers=admin).status == 204

    def left():
        return max(len(files(cluster, "objects/*/*/*/*.data")) - others, 0)

    assert killed_again_and_again(cluster, "account-reaper", left)
    for _ in range(3):  # what a row was late for
        if left():
            once(cluster, "container-updater")
            once(cluster, "account-reaper")
    assert left() == 0
    assert len(files(cluster, "objects/*/*/*/*.data")) == others
    assert cluster.request("HEAD", "").status == 204
