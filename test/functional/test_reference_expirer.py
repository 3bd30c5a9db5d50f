"""Nodes 1 and 2 are ours, 3 and 4 the reference's: what either side has queued expires by the expirers of either side.

Run with REFERENCE_BIN=/path/to/its/bin.
"""

import http.client
import json
import os
import pathlib
import subprocess
import sys
import sysconfig
from urllib.parse import quote

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))

import cluster as bench_cluster  # noqa: E402
from reference_etc import write_starters  # noqa: E402

from test.expiring import when_due  # noqa: E402
from test.ports import free_port, free_ports  # noqa: E402

REFERENCE = os.environ.get("REFERENCE_BIN", "")
OURS = pathlib.Path(os.environ.get("OURS_BIN", sysconfig.get_path("scripts")))
QUEUE = ".expiring_objects"

pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(not REFERENCE, reason="REFERENCE_BIN names no installation of the reference"),
    pytest.mark.skipif(
        os.geteuid() != 0, reason="the reference's daemons need an /etc/swift of their own: root only"
    ),
]

COMMANDS = [f"swift-{server}-server" for server in ("account", "container", "object", "proxy")]
COMMANDS += ["swift-container-updater", "swift-object-expirer", "swift-container-deleter"]
PIPELINE = (
    "[pipeline:main]\npipeline = catch_errors cache proxy-server\n\n"
    "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n\n"
    "[filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = {memcache}\n\n"
    "[filter:catch_errors]\nuse = egg:swift#catch_errors\n"
)


class Mixed:
    """The cluster, a proxy of each kind, and their daemons when they are asked for."""

    def __init__(self, root):
        port, base = free_ports()
        self.memcache_port = free_port()
        memcache = f"127.0.0.1:{self.memcache_port}"
        self.cluster = cluster = bench_cluster.Cluster("mixed", OURS, root, port, base, memcache)
        cluster.write()
        self.theirs = write_starters(root, cluster.etc, pathlib.Path(REFERENCE), COMMANDS)
        cluster.bin_of_node = {3: self.theirs, 4: self.theirs}
        self.ports = {"ours": port, "theirs": free_port()}
        (cluster.etc / "reference-proxy.conf").write_text(cluster.proxy_conf(self.ports["theirs"]))
        self.client_conf = cluster.etc / "internal-client.conf"
        self.client_conf.write_text(
            f"[DEFAULT]\nuser = root\nswift_dir = {cluster.etc}\nlog_level = WARNING\n\n{PIPELINE.format(memcache=memcache)}"
        )
        for node in bench_cluster.NODES:
            with open(cluster.etc / f"object-{node}.conf", "a") as file:
                file.write(
                    f"\n[object-expirer]\ndequeue_from_legacy = true\nconcurrency = 4\nreclaim_age = 604800\nrequest_tries = 1\n"
                    f"internal_client_conf_path = {self.client_conf}\nlog_level = INFO\n"
                )
            with open(cluster.etc / f"container-{node}.conf", "a") as file:
                file.write("\n[container-updater]\n")
        self.memcached = subprocess.Popen(
            ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(self.memcache_port)]
        )
        self.tokens = {}

    def start(self):
        self.cluster.start()
        self.cluster.start_one("reference-proxy", "proxy", self.theirs)
        self.cluster.wait(self.ports["theirs"])
        login = {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}
        for side in self.ports:
            self.tokens[side] = self.raw(side, "GET", "/auth/v1.0", headers=login)[1]["x-auth-token"]

    def stop(self):
        self.cluster.stop()
        self.memcached.kill()
        self.memcached.wait()

    def raw(self, side, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[side], timeout=60)
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        connection.close()
        return found

    def request(self, side, method, path, body=None, headers=None):
        return self.raw(
            side, method, f"/v1/AUTH_test{path}", body, {"X-Auth-Token": self.tokens[side], **(headers or {})}
        )

    def names(self, container):
        return [
            row["name"] for row in json.loads(self.request("ours", "GET", f"/{container}?format=json")[2])
        ]

    def run(self, folder, command, *words):
        done = subprocess.run(
            [str(folder / command), *map(str, words)],
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def update_accounts(self):
        for node in (1, 2):  # each container has a replica there
            self.run(OURS, "swift-container-updater", self.cluster.etc / f"container-{node}.conf", "once")

    def expire(self, side, *words):
        self.update_accounts()
        folder, node = (OURS, 1) if side == "ours" else (self.theirs, 3)
        return self.run(
            folder, "swift-object-expirer", self.cluster.etc / f"object-{node}.conf", "once", "-v", *words
        )

    def rows(self):
        """All rows of the queue, on any node."""
        self.update_accounts()
        from swift.core import swift_dir
        from swift.ring.lookup import Ring
        from swift.wire import direct

        swift_dir.use(str(self.cluster.etc))
        accounts, containers = (Ring(str(self.cluster.etc), name) for name in ("account", "container"))
        found, rows = set(), set()
        part, nodes = accounts.get_nodes(QUEUE)
        for node in nodes:
            try:
                found |= {listed["name"] for listed in direct.get_account(node, part, QUEUE)[1]}
            except direct.DirectError as err:
                assert err.http_status == 404
        for name in found:
            part, nodes = containers.get_nodes(QUEUE, name)
            for node in nodes:
                try:
                    rows |= {row["name"] for row in direct.get_container(node, part, QUEUE, name)[1]}
                except direct.DirectError as err:
                    assert err.http_status == 404
        return rows


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    made = Mixed(tmp_path_factory.mktemp("mixed"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def fill(mixed, container):
    """Ten objects of each proxy with a near time; (that time, those that stay)."""
    assert mixed.request("ours", "PUT", f"/{container}")[0] in (201, 202)
    due = when_due(lambda due: put(mixed, container, due), 8)
    return due, sorted(f"{side}-{name}" for side in mixed.ports for name in ("later", "plain"))


def put(mixed, container, due):
    at = {"X-Delete-At": str(due)}
    for side in mixed.ports:
        for name in [*map(str, range(8)), "näme ☃", "a/b %41"]:
            assert mixed.request(side, "PUT", f"/{container}/{side}-{quote(name)}", b"x" * 100, at)[0] == 201
        assert mixed.request(side, "PUT", f"/{container}/{side}-later", b"x", at)[0] == 201
        later = {"X-Delete-At": str(due + 3600)}
        assert mixed.request(side, "POST", f"/{container}/{side}-later", headers=later)[0] == 202
        assert mixed.request(side, "PUT", f"/{container}/{side}-plain", b"x")[0] == 201


def waiting(mixed, container, due):
    """Rows of these objects, less those whose time was changed."""
    mine = f"{due}-AUTH_test/{container}/"
    return [name for name in mixed.rows() if name.startswith(mine) and not name.endswith("-later")]


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_rows_of_both_are_done_by_either(mixed, side):
    container = f"by-{side}"
    due, stay = fill(mixed, container)
    assert len(waiting(mixed, container, due)) == 20
    log = mixed.expire(side)
    assert mixed.names(container) == stay, log
    assert waiting(mixed, container, due) == []
    for reader in mixed.ports:
        for name in stay:
            assert mixed.request(reader, "GET", f"/{container}/{name}")[0] == 200


def test_shares_of_both(mixed):
    """Each takes its rows by the same rule, whatever else ours does."""
    due, stay = fill(mixed, "shared")
    mixed.expire("theirs", "--processes=2", "--process=1")
    left = waiting(mixed, "shared", due)
    assert 0 < len(left) < 20
    mixed.expire("ours", "--processes=2", "--process=0")
    assert waiting(mixed, "shared", due) == []
    assert mixed.names("shared") == stay


@pytest.mark.parametrize(("deleter", "expirer"), [("ours", "theirs"), ("theirs", "ours")])
def test_queued_deletions(mixed, deleter, expirer):
    container = f"queued-{deleter}"
    assert mixed.request("ours", "PUT", f"/{container}")[0] in (201, 202)
    for name in ("o-1", "o-ü ☃", "o-a/b", "other"):
        assert mixed.request("ours", "PUT", f"/{container}/{quote(name)}", b"x")[0] == 201
    folder = OURS if deleter == "ours" else mixed.theirs
    conf = ["--config", mixed.client_conf, "--prefix", "o-"]
    text = mixed.run(folder, "swift-container-deleter", *conf, "AUTH_test", container)
    assert "Finished. Marked 3 objects for deletion." in text, text
    mixed.expire(expirer)
    assert mixed.names(container) == ["other"]
    assert not [name for name in mixed.rows() if f"/{container}/" in name]
