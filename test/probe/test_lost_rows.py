"""Listings that have lost what they had acknowledged, all copies at once, as in a power cut of the container servers: real processes."""

import json
import os
import pathlib
import sqlite3
import subprocess

import pytest

from swift.db.schema import chexor
from test.cluster import NODES, Cluster
from test.object_nodes import OURS


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path / "saio") as running:
        yield running


def listed(cluster):
    answer = cluster.request("GET", "/rows?format=json")
    return {row["name"]: (row["bytes"], row["hash"]) for row in json.loads(answer.body)}


def forget(cluster):
    """Take all rows out of all databases while their servers are dead; how many databases there were."""
    found = 0
    for node in NODES:
        cluster.kill(f"node{node}")
        for path in cluster.device(node).glob("containers/*/*/*/*.db"):
            pathlib.Path(f"{path}.pending").unlink(missing_ok=True)
            connection = sqlite3.connect(path)
            connection.create_function("chexor", 3, chexor)
            with connection:
                if connection.execute("SELECT container FROM container_info").fetchone() == ("rows",):
                    found += 1
                    connection.execute("DELETE FROM object")
            connection.close()
        cluster.revive(f"node{node}")
    return found


def test_rows_come_back_with_the_next_audit(cluster):
    cluster.kill("daemons")
    assert cluster.request("PUT", "/rows").status == 201
    names = [f"o{number}" for number in range(12)]
    for name in names:
        assert cluster.request("PUT", f"/rows/{name}", name.encode() * 1000).status == 201
    before = listed(cluster)
    assert sorted(before) == sorted(names)
    assert forget(cluster) == 3
    cluster.make_whole()
    assert listed(cluster) == {}
    for node in NODES:
        conf = cluster.layout.etc / "object-server" / f"{node}.conf"
        done = subprocess.run(
            [str(OURS / "swift-object-auditor"), str(conf), "once"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            env={**os.environ, "PATH": f"{OURS}:{os.environ['PATH']}"},
            start_new_session=True,
        )
        assert (done.returncode, done.stderr) == (0, b"")
    assert listed(cluster) == before
    for node in NODES:
        assert not list(cluster.device(node).glob("async_pending*/*/*"))
    said = "".join(path.read_text() for path in cluster.layout.log.glob("node*.log"))
    assert "to their containers again, whose listings had lost them" in said
