"""A cluster whose swift.conf has a policy of a type that these servers don't know: everything else goes on."""

import os
import pathlib
import subprocess
import sys
import time

from test.cluster import Cluster

ROOT = pathlib.Path(__file__).resolve().parents[2]
REFUSED = "Storage policy coded (7): objects of type striped are not served here\n"
CODED = """
[storage-policy:7]
name = coded
policy_type = striped
width = 4
"""


def command(cluster, name, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "bin" / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_servers_and_commands_go_on(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.write()
    cluster.trust_everybody()
    with (cluster.layout.etc / "swift.conf").open("a") as conf:
        conf.write(CODED)
    with cluster:
        assert cluster.request("PUT", "/c").status == 201
        assert cluster.request("PUT", "/c/o", b"hello").status == 201
        assert cluster.request("GET", "/c/o").body == b"hello"
        for _ in range(600):
            if cluster.request("GET", "/c").body == b"o\n":
                break
            time.sleep(0.1)
        assert cluster.request("GET", "/c").body == b"o\n"
        answer = cluster.request("PUT", "/coded", headers={"X-Storage-Policy": "coded"})
        assert (answer.status, answer.body.decode()) == (503, REFUSED)
        assert cluster.request("GET", "").body == b"c\n"

        # An object server says the same to whoever asks it.
        device = cluster.device(1).name
        from http.client import HTTPConnection

        ip, port = cluster.layout.storage_address("object", 1)
        connection = HTTPConnection(ip, port, timeout=10)
        for method in ("GET", "PUT", "POST", "DELETE"):
            headers = {
                "X-Backend-Storage-Policy-Index": "7",
                "X-Timestamp": "1700000000",
                "Content-Type": "a/b",
            }
            connection.request(method, f"/{device}/1/a/c/o", headers=headers)
            answer = connection.getresponse()
            assert (answer.status, answer.read().decode()) == (503, REFUSED)
        connection.close()

        ring = cluster.layout.etc / "object.ring.gz"
        assert command(cluster, "swift-ring-builder", cluster.layout.etc / "object.builder").returncode == 0
        found = command(cluster, "swift-get-nodes", "-d", cluster.layout.etc, ring, "AUTH_test", "c", "o")
        assert found.returncode == 0 and "Traceback" not in found.stderr
        data = next(cluster.layout.disks.rglob("*.data"))
        shown = command(cluster, "swift-object-info", "-d", cluster.layout.etc, data)
        assert shown.returncode == 0 and "/AUTH_test/c/o" in shown.stdout, shown
