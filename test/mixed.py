"""A cluster of both implementations for tests: nodes 1 and 2 are ours, 3 and 4 the reference's, and proxies of either; its users.

Run with REFERENCE_BIN=/path/to/the/reference's/bin (see bench/speed.py).
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence

import pytest

from test.ports import free_port, free_ports

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bench"))

from cluster import PORT_OF, Cluster, Policy  # noqa: E402
from disks import memory_folder  # noqa: E402

__all__ = [
    "EC_TYPE",
    "PORT_OF",
    "REFERENCE",
    "ROOT",
    "Client",
    "MixedCluster",
    "erasure_policy",
    "memory_folder",
    "mixed_cluster",
    "needs_reference",
]

REFERENCE = os.environ.get("REFERENCE_BIN", "")
EC_TYPE = os.environ.get("EC_TYPE", "liberasurecode_rs_vand")
needs_reference = [
    pytest.mark.reference,
    pytest.mark.skipif(not REFERENCE, reason="REFERENCE_BIN names no installation of the reference"),
]


def erasure_policy(name: str, data: int, parity: int, copies: int = 1) -> Policy:
    """One with short segments, for a ring of (data + parity) * copies replicas."""
    text = (
        f"policy_type = erasure_coding\nec_type = {EC_TYPE}\nec_num_data_fragments = {data}\n"
        f"ec_num_parity_fragments = {parity}\nec_object_segment_size = 65536\nec_duplication_factor = {copies}\n"
    )
    return name, text, (data + parity) * copies


class MixedCluster(Cluster):
    """With a second proxy, the reference's, at `reference_port`."""

    reference_port = 0


@contextlib.contextmanager
def mixed_cluster(
    root: pathlib.Path,
    policies: Sequence[Policy] = (),
    devices: int = 1,
    proxy_options: str = "",
    inner: Sequence[tuple[str, str]] = (),
) -> Iterator[MixedCluster]:
    """It runs. `proxy_options`: lines for both proxies' own section; `inner`: (entry point, options) of further filters of both."""
    ours = pathlib.Path(os.environ.get("OURS_BIN", sysconfig.get_path("scripts")))
    reference = pathlib.Path(REFERENCE)
    port, base = free_ports()
    memcache_port = free_port()
    memcached = subprocess.Popen(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(memcache_port)])
    memcache = f"127.0.0.1:{memcache_port}"
    cluster = MixedCluster(
        root.name,
        ours,
        root,
        port,
        base,
        memcache,
        devices=devices,
        policies=tuple(policies),
        inner=tuple(inner),
    )
    cluster.bin_of_node = {3: reference, 4: reference}
    try:
        cluster.write()
        cluster.reference_port = free_port()
        for name, its_port in (("proxy-server", port), ("reference-proxy", cluster.reference_port)):
            section = "use = egg:swift#proxy\n"
            conf = cluster.proxy_conf(its_port).replace(section, section + proxy_options)
            (cluster.etc / f"{name}.conf").write_text(conf)
        cluster.start()
        cluster.start_one("reference-proxy", "proxy", reference)
        cluster.wait(cluster.reference_port)
        yield cluster
    finally:
        cluster.stop()
        memcached.kill()
        memcached.wait()


class Client:
    """A user at one of the proxies. Answers are (status, headers by lower-case name, body)."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.token = self.call(
            "GET", "/auth/v1.0", headers={"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}
        )[1]["x-auth-token"]

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Any request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, data

    def __call__(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One below the account."""
        return self.call(
            method, f"/v1/AUTH_test{path}", body, {"X-Auth-Token": self.token, **(headers or {})}
        )
