"""Operators' commands on a mixed cluster: nodes 1 and 2 are ours, 3 and 4 the reference's.

Run with REFERENCE_BIN=/path/to/its/bin, as test_mixed_cluster.
"""

import json
import os
import random
import shutil
import subprocess
import sys

import pytest

from test.functional.test_mixed_erasure import make
from test.mixed import ROOT, Client, erasure_policy, mixed_cluster, needs_reference

pytestmark = needs_reference


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    root = tmp_path_factory.mktemp("mixed-operators")
    with mixed_cluster(root, [erasure_policy("ec42", 4, 2)], 2) as cluster:
        cluster.client = Client(cluster.port)
        chance = random.Random(1)
        make(cluster.client, "ec", "ec42")
        assert cluster.client("PUT", "/plain")[0] == 201
        for container in ("ec", "plain"):
            for number in range(12):
                body = chance.randbytes(1000 + 30_000 * (number % 3))
                assert cluster.client("PUT", f"/{container}/o{number}", body)[0] == 201
        assert cluster.client("DELETE", "/plain/o1")[0] == 204
        assert cluster.client("POST", "/plain/o2", headers={"X-Object-Meta-A": "b"})[0] == 202
        yield cluster


def command(cluster, name, *words):
    """(exit status, what it says)."""
    done = subprocess.run(
        [sys.executable, ROOT / "bin" / name, "-d", cluster.etc, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout or done.stderr


def local(cluster, node):
    return ("--devices", cluster.root / str(node), "--no-mount-check")


def test_one_of_our_disks_may_be_pulled(mixed):
    status, text = command(mixed, "swift-safe-to-pull", "sdb1")
    assert status == 0, text
    status, text = command(mixed, "swift-safe-to-pull", "--thorough", "sdb1")
    assert status == 0, text


def test_one_of_the_others_can_be_looked_at_where_it_is(mixed):
    status, text = command(mixed, "swift-safe-to-pull", "sdb3")
    assert status == 1
    assert text.count("is served by the reference, which can't tell") >= 3, text
    status, text = command(mixed, "swift-safe-to-pull", *local(mixed, 3), "sdb3")
    assert status == 0, text
    assert "objects of policy ec42" in text


def test_what_one_of_the_others_lacks_is_seen(mixed):
    disk = mixed.root / "4" / "sdb4"
    kept = disk.rename(mixed.root / "kept")
    disk.mkdir()
    status, text = command(mixed, "swift-safe-to-pull", "--json", "sdb1")
    shutil.rmtree(disk)
    kept.rename(disk)
    assert status == 1
    for part in json.loads(text)["devices"][0]["parts"]:
        if part["checked"] and part["kind"] != "accounts":
            assert [problem["what"] for problem in part["problems"]] == ["lacks"], part
            assert part["problems"][0]["node"].endswith("/sdb4")
