"""A real cluster under faults: nodes killed, disks emptied, damaged or full, listings unreachable, writers in each other's way.

Whatever was acknowledged is read back right, whatever was not is whole or absent, and nothing is left behind.
"""

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from test.cluster import NODES, Cluster, wait_for_port
from test.ports import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shared(faultless, tmp_path_factory):
    with faultless(Cluster(tmp_path_factory.mktemp("faults") / "saio")) as running:
        yield running


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)
    return value


class Uploader(threading.Thread):
    """PUTs objects of mixed sizes one after another until told to stop; remembers what was acknowledged."""

    def __init__(self, cluster, container, number):
        super().__init__()
        self.cluster, self.container, self.number = cluster, container, number
        self.random = random.Random(number)
        self.acknowledged = {}
        self.refused = {}
        self.stopping = False

    def run(self):
        connection = None
        count = 0
        while not self.stopping:
            name = f"{self.number}-{count:04d}"
            body = self.random.randbytes(self.random.choice((0, 100, 4096, 70_000, 700_000)))
            count += 1
            try:
                if connection is None:
                    layout = self.cluster.layout
                    connection = http.client.HTTPConnection(layout.ip, layout.port, timeout=30)
                connection.request(
                    "PUT", f"/v1/AUTH_test{self.container}/{name}", body, {"X-Auth-Token": self.cluster.token}
                )
                response = connection.getresponse()
                response.read()
                good = response.status == 201
            except (OSError, http.client.HTTPException):
                connection, good = None, False
            (self.acknowledged if good else self.refused)[name] = body


def upload_during(cluster, container, action, before=20, after=40):
    """Uploads from four threads while `action` runs. Returns (acknowledged, refused): name → body."""
    uploaders = [Uploader(cluster, container, number) for number in range(4)]
    done = lambda: sum(len(uploader.acknowledged) + len(uploader.refused) for uploader in uploaders)  # noqa: E731
    for uploader in uploaders:
        uploader.start()
    try:
        wait_until(lambda: done() >= before)
        action()
        mark = done()
        wait_until(lambda: done() >= mark + after, 120)
    finally:
        for uploader in uploaders:
            uploader.stopping = True
        for uploader in uploaders:
            uploader.join()
    acknowledged, refused = {}, {}
    for uploader in uploaders:
        acknowledged |= uploader.acknowledged
        refused |= uploader.refused
    return acknowledged, refused


def assert_whole_or_absent(cluster, container, acknowledged, refused):
    def check(name):
        answer = cluster.request("GET", f"{container}/{name}")
        if name in acknowledged:
            assert answer.status == 200, (name, answer)
            assert answer.body == acknowledged[name], name
            assert answer.headers["etag"] == hashlib.md5(answer.body).hexdigest()
        else:
            assert answer.status in (200, 404), (name, answer)
            if answer.status == 200:
                assert answer.body == refused[name], name

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, [*acknowledged, *refused]))


def listings(cluster, container, times=8):
    """The names in several answers, which come from different servers."""
    return [set(cluster.request("GET", container).body.decode().split()) for _ in range(times)]


def data_files(cluster, container, name, policy=""):
    """{node: path of the .data file} of an object's replicas."""
    found = {}
    for node in NODES:
        for path in cluster.device(node).glob(f"objects{policy}/*/*/*/*.data"):
            metadata = os.getxattr(path, "user.swift.metadata")
            if f"/AUTH_test{container}/{name}".encode() + b"\x94" in metadata or (
                f"/AUTH_test{container}/{name}".encode() in metadata
            ):
                found[node] = path
    return found


def left_over(cluster):
    """Files in the tmp folders of all devices."""
    return [
        path for node in NODES for folder in cluster.device(node).glob("tmp*") for path in folder.iterdir()
    ]


# -- nodes that die --------------------------------------------------------------------------------------------------------


def test_a_node_killed_in_the_middle_of_uploads(cluster, container):
    acknowledged, refused = upload_during(cluster, container, lambda: cluster.kill("node2"))
    assert len(refused) <= 4, "one of four nodes must not stop the uploads"
    assert_whole_or_absent(cluster, container, acknowledged, refused)
    for names in listings(cluster, container):
        assert set(acknowledged) <= names
    cluster.make_whole()
    assert_whole_or_absent(cluster, container, acknowledged, refused)
    assert wait_until(lambda: not left_over(cluster))


def test_two_nodes_down(cluster, container):
    bodies = {f"o{i}": os.urandom(1000 * i) for i in range(1, 90, 8)}
    for name, body in bodies.items():
        assert cluster.request("PUT", f"{container}/{name}", body).status == 201
    assert cluster.request("PUT", f"{container}/doomed", b"x").status == 201
    cluster.kill("node1")
    cluster.kill("node3")
    assert_whole_or_absent(cluster, container, bodies, {})
    # Two nodes are left: enough for a quorum of each partition.
    for name, body in list(bodies.items())[:5]:
        assert cluster.request("PUT", f"{container}/second-{name}", body).status == 201
        assert cluster.request("GET", f"{container}/second-{name}").body == body
    cluster.kill("node4")
    for size in (10, 100_000):
        answer = cluster.request("PUT", f"{container}/third", b"x" * size)
        assert answer.status == 503
        assert len(answer.body) < 300
        assert cluster.request("DELETE", f"{container}/doomed").status == 503
    cluster.make_whole()
    assert_whole_or_absent(
        cluster, container, bodies | {f"second-{n}": b for n, b in list(bodies.items())[:5]}, {}
    )
    # What was refused may have happened on the node that was left.
    for name in ("third", "doomed"):
        assert cluster.request("GET", f"{container}/{name}").status in (200, 404)


def test_the_proxy_killed_in_the_middle_of_uploads(cluster, container):
    def restart():
        cluster.kill("proxy")
        cluster.revive("proxy")

    acknowledged, refused = upload_during(cluster, container, restart)
    assert_whole_or_absent(cluster, container, acknowledged, refused)
    for names in listings(cluster, container):
        assert set(acknowledged) <= names
    assert wait_until(lambda: not left_over(cluster))


# -- disks -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, 4096, 60_000, 3_000_000])
def test_a_flipped_byte_is_never_served(cluster, container, size):
    """Each of the copies but the last is damaged in turn: the client gets the right bytes, the copy goes to quarantine."""
    body = random.Random(size).randbytes(size)
    assert cluster.request("PUT", f"{container}/o", body).status == 201
    files = data_files(cluster, container, "o")
    assert len(files) == 3
    for node, path in list(files.items())[:2]:
        with open(path, "r+b") as f:
            f.seek(size // 2)
            byte = f.read(1)
            f.seek(size // 2)
            f.write(bytes([byte[0] ^ 0x40]))

        def read_and_look(node=node, path=path):
            assert cluster.request("GET", f"{container}/o").body == body
            part = cluster.request(
                "GET", f"{container}/o", headers={"Range": f"bytes={size // 2}-{size // 2 + 9}"}
            )
            assert part.body == body[size // 2 : size // 2 + 10]
            return not path.exists()

        wait_until(read_and_look)
        quarantined = list((cluster.device(node) / "quarantined" / "objects").iterdir())
        assert any(path.parent.name == entry.name for entry in quarantined)
    assert cluster.request("PUT", f"{container}/o", b"new").status == 201
    assert cluster.request("GET", f"{container}/o").body == b"new"


def test_a_file_cut_short_is_never_served(cluster, container):
    body = os.urandom(200_000)
    assert cluster.request("PUT", f"{container}/o", body).status == 201
    (node, path), *_ = data_files(cluster, container, "o").items()
    os.truncate(path, 150_000)
    wait_until(lambda: cluster.request("GET", f"{container}/o").body == body and not path.exists())


def with_reserve(cluster, reserve, nodes=NODES):
    """Restarts nodes with this fallocate_reserve."""
    for node in nodes:
        for conf in cluster.layout.storage_confs(node):
            text = conf.read_text().replace("[DEFAULT]\n", f"[DEFAULT]\nfallocate_reserve = {reserve}\n", 1)
            conf.write_text(text)
    restart(cluster, nodes)


def without_reserve(cluster, nodes=NODES):
    for node in nodes:
        for conf in cluster.layout.storage_confs(node):
            lines = [line for line in conf.read_text().splitlines() if "fallocate_reserve" not in line]
            conf.write_text("\n".join(lines) + "\n")
        cluster.kill(f"node{node}")


def restart(cluster, nodes=NODES, **options):
    """Kills nodes and starts them again, all at the same time."""
    for node in nodes:
        cluster.kill(f"node{node}")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda node: cluster.revive(f"node{node}", **options), nodes))


@pytest.mark.parametrize("size", [100, 300_000])
def test_full_disks_refuse_and_keep_nothing(cluster, container, size):
    assert cluster.request("PUT", f"{container}/before", b"x" * size).status == 201
    with_reserve(cluster, "99.99%")
    try:
        cluster.kill("proxy")
        cluster.revive("proxy")
        answer = cluster.request("PUT", f"{container}/o", b"x" * size)
        assert answer.status in (503, 507)
        assert len(answer.body) < 300
        assert cluster.request("PUT", f"{container}-other").status in (503, 507)
        assert cluster.request("GET", f"{container}/before").body == b"x" * size
        wait_until(lambda: not left_over(cluster))
        # Deleting is what makes room: it must go on working.
        cluster.kill("proxy")
        cluster.revive("proxy")
        assert cluster.request("DELETE", f"{container}/before").status == 204
    finally:
        without_reserve(cluster)
    cluster.make_whole()
    assert cluster.request("GET", f"{container}/o").status == 404
    assert cluster.request("GET", container).status == 204


# -- listings --------------------------------------------------------------------------------------------------------------


def pending_files(cluster):
    return [path for node in NODES for path in cluster.device(node).glob("async_pending*/*/*")]


def update_once(cluster):
    """swift-object-updater on each node, one pass."""
    for node in NODES:
        done = subprocess.run(
            [sys.executable, str(ROOT / "bin" / "swift-object-updater"), str(cluster.layout.etc / "object-server" / f"{node}.conf"), "once"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=180,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


def test_listings_unreachable_while_objects_are_written(cluster, container):
    cluster.kill("daemons")
    assert cluster.request("PUT", f"{container}/old", b"old").status == 201
    # The proxy must know the container, or it could not tell that it is there.
    restart(cluster, servers=("object", "account"))
    names = {f"o{i}" for i in range(10)}
    statuses = set()
    for name in names:
        statuses.add(cluster.request("PUT", f"{container}/{name}", name.encode()).status)
    assert statuses <= {201, 503}
    stored = {name for name in names if cluster.request("GET", f"{container}/{name}").status == 200}
    for node in NODES:
        cluster.kill(f"node{node}")
    cluster.make_whole()
    written = {name for name in names if cluster.request("HEAD", f"{container}/{name}").status == 200}
    assert stored <= written
    if written:
        assert pending_files(cluster)
    update_once(cluster)
    assert pending_files(cluster) == []
    for listed in listings(cluster, container):
        assert listed == written | {"old"}


def test_every_node_killed_in_the_middle_of_uploads_and_what_is_there_is_listed(cluster, container):
    """Objects that reached their disks before their servers were killed, and whose rows didn't, are reported again."""
    cluster.kill("daemons")

    def kill_all():
        for node in NODES:
            cluster.kill(f"node{node}")

    acknowledged, refused = upload_during(cluster, container, kill_all, after=8)
    cluster.make_whole()
    update_once(cluster)
    names = [*acknowledged, *refused]
    there = {name for name in names if cluster.request("HEAD", f"{container}/{name}").status == 200}
    assert set(acknowledged) <= there
    # An upload that reached one node told one copy of the listing; the others have it from replication of containers. And the
    # updater among the daemons may have begun before ours.
    wait_until(lambda: set().union(*listings(cluster, container, 30)) == there)


# -- writers in each other's way -------------------------------------------------------------------------------------------


def states(cluster, container, name):
    """What each replica says of the object: {(status, etag, timestamp)}, and the file names on the disks."""
    return {
        node: sorted(p.name for p in path.parent.iterdir())
        for node, path in data_files(cluster, container, name).items()
    }


@pytest.mark.parametrize("deleting", [False, True])
def test_writers_and_deleters_of_one_object(cluster, container, deleting):
    """All replicas end with the same last word, and the listing says the same as the object."""
    bodies = [bytes([65 + i]) * (i * 30_000 + 10) for i in range(6)]

    def write(i):
        for _ in range(5):
            assert cluster.request("PUT", f"{container}/o", bodies[i]).status in (201, 202, 409)
            if deleting and i % 2:
                assert cluster.request("DELETE", f"{container}/o").status in (204, 404, 409)
            answer = cluster.request("GET", f"{container}/o")
            assert answer.status == 404 if deleting and answer.status != 200 else answer.body in bodies

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    answers = [cluster.request("GET", f"{container}/o", headers={"X-Newest": "true"}) for _ in range(3)]
    answers += [cluster.request("GET", f"{container}/o") for _ in range(12)]
    assert len({(answer.status, answer.body) for answer in answers}) == 1
    if not deleting:
        assert answers[0].status == 200
    files = states(cluster, container, "o")
    assert len({tuple(names) for names in files.values()}) <= 1
    assert len(files) == (3 if answers[0].status == 200 else 0)
    for _ in range(6):
        rows = json.loads(cluster.request("GET", f"{container}?format=json").body)
        expected = [hashlib.md5(answers[0].body).hexdigest()] if answers[0].status == 200 else []
        assert [row["hash"] for row in rows] == expected


# -- memcached -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_memcached(tmp_path):
    """(a cluster that uses memcached, the memcached process)."""
    port = free_port()
    memcached = subprocess.Popen(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port)])
    try:
        wait_for_port("127.0.0.1", port)
        with Cluster(tmp_path / "saio", memcache=f"127.0.0.1:{port}") as running:
            yield running, memcached
            for path in sorted(running.layout.log.iterdir()):
                assert "Traceback" not in path.read_text(errors="replace"), path
    finally:
        memcached.kill()
        memcached.wait()


@pytest.mark.skipif(not shutil.which("memcached"), reason="memcached is not installed")
@pytest.mark.parametrize("fault", [signal.SIGSTOP, signal.SIGKILL])
def test_memcached_gone_in_the_middle(with_memcached, fault):
    """Hanging is worse than dead: both must cost nobody a request."""
    cluster, memcached = with_memcached
    assert cluster.request("PUT", "/c").status == 201
    acknowledged, refused = upload_during(cluster, "/c", lambda: memcached.send_signal(fault), 20, 10)
    assert not refused
    assert_whole_or_absent(cluster, "/c", acknowledged, refused)
    assert cluster.request("PUT", "/new").status == 201
    assert cluster.request("PUT", "/new/o", b"x").status == 201
    assert cluster.request("DELETE", "/new/o").status == 204
    assert cluster.request("DELETE", "/new").status == 204
    assert cluster.request("HEAD", "/new").status == 404
    assert cluster.authenticate()


# -- full disks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disks(tmp_path):
    """A cluster whose devices are file systems of 12 MB, without a reserve."""
    with contextlib.ExitStack() as stack:
        cluster = Cluster(tmp_path / "saio")
        cluster.write()
        for node in NODES:
            path = str(cluster.device(node))
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", path], check=True)
            stack.callback(subprocess.run, ["umount", "-l", path], check=True)
            for conf in cluster.layout.storage_confs(node):
                conf.write_text(
                    conf.read_text().replace("[DEFAULT]\n", "[DEFAULT]\nfallocate_reserve = 0\n", 1)
                )
        with cluster:
            yield cluster
            for path in sorted(cluster.layout.log.iterdir()):
                assert "Traceback" not in path.read_text(errors="replace"), path


if os.geteuid() == 0:

    @pytest.mark.parametrize("size", [50_000, 700_000, 3_000_000])
    def test_disks_that_run_full(small_disks, size):
        """Until the last byte: what was acknowledged stays, what was not leaves nothing, and deleting makes room again."""
        cluster = small_disks
        assert cluster.request("PUT", "/c").status == 201
        acknowledged, refused = {}, {}
        number = 0
        while len(refused) < 3:
            name, body = f"o{number}", os.urandom(size)
            answer = cluster.request("PUT", f"/c/{name}", body)
            assert answer.status in (201, 503, 507), answer
            (acknowledged if answer.status == 201 else refused)[name] = body
            number += 1
            assert number < 1000
        assert len(acknowledged) * size > 6_000_000
        assert_whole_or_absent(cluster, "/c", acknowledged, refused)
        # seen on a busy machine: a refused upload's file that went only after 50 to 60 s, as if its server waited for client_timeout
        assert wait_until(lambda: not left_over(cluster), 120)
        for name in acknowledged:
            # 404: most of its primaries had no room for it. They know now that it is deleted.
            assert cluster.request("DELETE", f"/c/{name}").status in (204, 404), name
        answer = cluster.request("PUT", "/c/again", b"x" * size)
        assert answer.status == 201
        assert cluster.request("GET", "/c/again").body == b"x" * size
        for name in acknowledged:
            # the newest: a node that was left alone as full while it was deleted may have its copy until replication
            assert cluster.request("GET", f"/c/{name}", headers={"X-Newest": "true"}).status == 404


# -- emptied disks: last, for what they lose in databases only replication would bring back --------------------------------


def test_a_disk_emptied_under_the_servers(cluster, container, node=1):
    bodies = {f"o{i}": os.urandom(i * 5000) for i in range(20)}
    for name, body in bodies.items():
        assert cluster.request("PUT", f"{container}/{name}", body).status == 201
    for entry in cluster.device(node).iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()
    assert_whole_or_absent(cluster, container, bodies, {})
    for names in listings(cluster, container):
        assert names == set(bodies) or not names - set(bodies)
    more = {f"p{i}": os.urandom(i * 5000) for i in range(20)}
    for name, body in more.items():
        assert cluster.request("PUT", f"{container}/{name}", body).status == 201
    assert_whole_or_absent(cluster, container, bodies | more, {})
    assert cluster.request("DELETE", f"{container}/o1").status == 204
    assert cluster.request("GET", f"{container}/o1").status == 404
    assert cluster.request("PUT", f"{container}-new").status == 201
    assert cluster.request("PUT", f"{container}-new/o", b"x").status == 201
    assert cluster.request("GET", f"{container}-new").body == b"o\n"
