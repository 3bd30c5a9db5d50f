"""Daemons that work through requests, killed in the middle of their work and started again: all is done in the end, and nothing else.

Those that work on their own disk have their tests beside what they do: replicators, reconstructor, object-auditor, expirer, relinker.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from swift.cli.saio_layout import NODES
from swift.core import swift_dir
from swift.core.timestamp import Timestamp
from swift.ring.lookup import Ring
from swift.wire import direct
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
        for kind in ("account", "container"):  # they are no part of such a cluster
            if conf.parent.name == f"{kind}-server":
                text += f"\n[{kind}-auditor]\n"
        conf.write_text(text)
    with made:
        made.kill("daemons")
        yield made
        for path in sorted(made.layout.log.iterdir()):
            assert "Traceback" not in path.read_text(errors="replace"), path


def start(cluster, daemon, node, fault=""):
    """`fault`: the point at which it kills itself."""
    conf = cluster.layout.etc / f"{daemon.partition('-')[0]}-server" / f"{node}.conf"
    if daemon == "container-reconciler":
        conf = cluster.layout.reconciler_conf
    return subprocess.Popen(
        [sys.executable, ROOT / "bin" / f"swift-{daemon}", conf, "once"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "SWIFT_FAULT_POINT": fault},
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
    while True:
        # a directory that a daemon removes while it is looked through is no news
        with contextlib.suppress(FileNotFoundError):
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
    once(cluster, "account-replicator")  # two of three replicas are enough for an updater
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


def dies(cluster, daemon, fault, node=NODES[0]):
    assert start(cluster, daemon, node, fault).wait(120) == -signal.SIGKILL


def misplace(cluster, container, name, body, when):
    """An object in silver, and what tells the reconciler of it."""
    etc = str(cluster.layout.etc)
    part, nodes = Ring(etc, "object-1").get_nodes("AUTH_test", container, name)
    headers = {"X-Timestamp": when, "X-Backend-Storage-Policy-Index": "1"}
    for node in nodes:
        direct.put_object(
            node, part, "AUTH_test", container, name, body, len(body), None, "text/x-moved", headers
        )
    script = (
        "import sys; from swift.core import concurrency; concurrency.patch();"
        "from swift.core import swift_dir; swift_dir.DEFAULT_SWIFT_DIR = sys.argv.pop(1);"
        "from swift.cli.reconciler_enqueue import main; sys.exit(main())"
    )
    subprocess.run(
        [sys.executable, "-c", script, etc, "1", f"/AUTH_test/{container}/{name}", when], check=True
    )


def test_the_container_reconciler(cluster):
    """Killed when an object is in both policies, and when it is in the right one and still in the queue."""
    assert cluster.request("PUT", "/moved").status == 201
    swift_dir.use(str(cluster.layout.etc))
    bodies = {f"o{number}": os.urandom(1000) for number in range(4)}
    for name, body in bodies.items():
        misplace(cluster, "moved", name, body, Timestamp(time.time()).internal)
    before = len(files(cluster, "objects/*/*/*/*.data"))
    for fault in ("reconciler:copied", "reconciler:handled", "reconciler:copied:2", "reconciler:handled:2"):
        dies(cluster, "container-reconciler", fault)
    assert start(cluster, "container-reconciler", NODES[0]).wait(120) == 0
    for name, body in bodies.items():
        answer = cluster.request("GET", f"/moved/{name}")
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["content-type"] == "text/x-moved"
    assert not files(cluster, "objects-1/*/*/*/*.data")
    assert len(files(cluster, "objects/*/*/*/*.data")) == before + 3 * len(bodies)
    listing = json.loads(cluster.request("GET", "/moved?format=json").body)
    assert [(row["name"], row["bytes"]) for row in listing] == [(name, 1000) for name in sorted(bodies)]
    # nothing is left of the queue
    dies_not = start(cluster, "container-reconciler", NODES[0], "reconciler:handled")
    assert dies_not.wait(120) == 0


@pytest.mark.parametrize("kind", ["account", "container"])
def test_an_auditor_of_databases(cluster, kind):
    """Killed between two databases, and with one half in quarantine: that one comes back from its partners, the others stay as they are."""
    for number in range(8):
        assert cluster.request("PUT", f"/{kind}-{number}").status == 201
        assert cluster.request("PUT", f"/{kind}-{number}/o", b"12345").status == 201
    once(cluster, "container-updater")
    paths = ["", *(f"/{kind}-{number}" for number in range(8))]
    listed = [cluster.request("GET", path).body for path in paths]
    there = sorted(files(cluster, f"{kind}s/*/*/*/*.db"))
    node = next(node for node in NODES if list(cluster.device(node).glob(f"{kind}s/*/*/*/*.db")))
    damaged = next(cluster.device(node).glob(f"{kind}s/*/*/*/*.db"))
    dies(cluster, f"{kind}-auditor", "db:audit:next", node)
    assert sorted(files(cluster, f"{kind}s/*/*/*/*.db")) == there
    with open(damaged, "r+b") as file:
        file.write(b"no database" * 20)
    dies(cluster, f"{kind}-auditor", "db:quarantine:renamed", node)
    assert not damaged.exists()
    once(cluster, f"{kind}-auditor")
    assert sorted(files(cluster, f"{kind}s/*/*/*/*.db")) == sorted({*there} - {damaged})
    assert len(files(cluster, f"quarantined/{kind}s/*/*.db")) == 1
    for _ in range(2):
        once(cluster, f"{kind}-replicator")
    assert sorted(files(cluster, f"{kind}s/*/*/*/*.db")) == there
    assert [cluster.request("GET", path).body for path in paths] == listed
