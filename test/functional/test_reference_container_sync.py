"""Nodes 1 and 2 are ours, 3 and 4 the reference's: they share out the rows of a synchronised container, and either proxy takes them.

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

from test.ports import free_port, free_ports  # noqa: E402

REFERENCE = os.environ.get("REFERENCE_BIN", "")
OURS = pathlib.Path(os.environ.get("OURS_BIN", sysconfig.get_path("scripts")))

pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(not REFERENCE, reason="REFERENCE_BIN names no installation of the reference"),
    pytest.mark.skipif(
        os.geteuid() != 0, reason="the reference's daemons need an /etc/swift of their own: root only"
    ),
]

COMMANDS = [f"swift-{server}-server" for server in ("account", "container", "object", "proxy")]
COMMANDS += ["swift-container-sync"]
NAMES = [*(f"o{n}" for n in range(12)), "n\u00e4me \u2603", "a/b %41"]


class Mixed:
    """The cluster, a proxy of each kind, and the daemons of all nodes when they are asked for."""

    def __init__(self, root):
        port, base = free_ports()
        memcache_port = free_port()
        self.cluster = cluster = bench_cluster.Cluster(
            "mixed", OURS, root, port, base, f"127.0.0.1:{memcache_port}"
        )
        cluster.write()
        self.theirs = write_starters(root, cluster.etc, pathlib.Path(REFERENCE), COMMANDS)
        cluster.bin_of_node = {3: self.theirs, 4: self.theirs}
        self.ports = {"ours": port, "theirs": free_port()}
        (cluster.etc / "reference-proxy.conf").write_text(cluster.proxy_conf(self.ports["theirs"]))
        realms = "".join(f"cluster_{side} = http://127.0.0.1:{at}/v1/\n" for side, at in self.ports.items())
        (cluster.etc / "container-sync-realms.conf").write_text(f"[realm]\nkey = k1\nkey2 = k2\n{realms}")
        client = cluster.etc / "internal-client.conf"
        client.write_text(
            f"[DEFAULT]\nuser = root\nswift_dir = {cluster.etc}\nlog_level = WARNING\n\n[pipeline:main]\n"
            "pipeline = catch_errors proxy-server\n\n[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n\n"
            "[filter:catch_errors]\nuse = egg:swift#catch_errors\n"
        )
        for node in bench_cluster.NODES:
            with open(cluster.etc / f"container-{node}.conf", "a") as file:
                file.write(f"\n[container-sync]\ninternal_client_conf_path = {client}\nlog_level = INFO\n")
        self.memcached = subprocess.Popen(
            ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(memcache_port)]
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

    def request(self, side, method, path, body=None, **headers):
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.raw(
            side, method, f"/v1/AUTH_test{path}", body, {"X-Auth-Token": self.tokens[side], **given}
        )

    def sync(self):
        """One pass of each node's daemon."""
        for node in bench_cluster.NODES:
            folder = self.theirs if node > 2 else OURS
            done = subprocess.run(
                [str(folder / "swift-container-sync"), str(self.cluster.etc / f"container-{node}.conf"), "once"],
                capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr

    def listing(self, side, container):
        rows = json.loads(self.request(side, "GET", f"{container}?format=json")[2])
        return {
            row["name"]: (row["hash"], row["bytes"], row["content_type"], row["last_modified"])
            for row in rows
        }


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    made = Mixed(tmp_path_factory.mktemp("mixed"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize("taken_by", ["ours", "theirs"])
def test_each_node_sends_its_share_and_all_are_there(mixed, taken_by):
    source, target = f"/from-{taken_by}", f"/to-{taken_by}"
    assert mixed.request("ours", "PUT", target, X_Container_Sync_Key="secret")[0] == 201
    to = f"//realm/{taken_by}/AUTH_test{target}"
    headers = {"X_Container_Sync_To": to, "X_Container_Sync_Key": "secret"}
    assert mixed.request("theirs", "PUT", source, **headers)[0] == 201
    for at, name in enumerate(NAMES):
        side = ("ours", "theirs")[at % 2]
        path = f"{source}/{quote(name)}"
        assert (
            mixed.request(side, "PUT", path, name.encode() * 3000, Content_Type="a/b", X_Object_Meta_A="b")[0]
            == 201
        )
    mixed.sync()
    wanted = mixed.listing("ours", source)
    assert sorted(wanted) == sorted(NAMES)
    assert mixed.listing("ours", target) == mixed.listing("theirs", target) == wanted
    for side, name in (("ours", NAMES[1]), ("theirs", NAMES[-1])):
        assert mixed.request(side, "DELETE", f"{source}/{quote(name)}")[0] == 204
    assert mixed.request("theirs", "POST", f"{source}/o0", X_Object_Meta_A="new")[0] == 202
    mixed.sync()
    mixed.sync()  # all of them make sure of it
    assert mixed.listing("theirs", target) == mixed.listing("ours", source)
    assert mixed.request("ours", "HEAD", f"{target}/o0")[1]["x-object-meta-a"] == "new"
    assert mixed.request(taken_by, "GET", f"{target}/o2")[2] == b"o2" * 3000
