"""Metadata that ext4 can't hold beside a file goes on through replication and audits."""

import shutil
import subprocess

import pytest

from swift.core import hashing
from test.object_nodes import OURS, ObjectNodes

T1 = "1700000001.00000"
MANY = {f"X_Object_Meta_{n}": f"{n}" + "x" * 240 for n in range(14)} | {
    f"X_Object_Transient_Sysmeta_{n}": "y" * 250 for n in range(8)
}


BODIES = {"small": b"body", "large": bytes(300_000), "empty": b""}


@pytest.mark.parametrize("method", ["ssync", "rsync"])
def test_a_disk_is_replaced(tmp_path, method):
    if method == "rsync" and shutil.which("rsync") is None:
        pytest.skip("rsync is not installed")
    hashing.set_hash_config("changeme", "changeme")
    with ObjectNodes(tmp_path / "nodes", [OURS] * 4, method=method) as nodes:
        for name, body in BODIES.items():
            nodes.put(name, body, T1, **MANY)
        nodes.empty(1)
        nodes.replicate(2, 3, 4)
        with open(nodes.conf(1), "a") as conf:
            conf.write("\n[object-auditor]\n")
        audit = [str(OURS / "swift-object-auditor"), str(nodes.conf(1)), "once"]
        subprocess.run(audit, check=True, timeout=120, capture_output=True)
        assert not list(nodes.home.glob("node*/sda/quarantined/*/*"))
        for name, body in BODIES.items():
            for node in nodes.primaries(name):
                status, headers, got = nodes.request(node, "GET", name)
                assert (status, got == body) == (200, True), (node, name)
                for key, value in MANY.items():
                    assert headers[key.lower().replace("_", "-")] == value
