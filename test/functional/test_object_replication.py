"""Copies of objects come back to where they belong: real servers, real passes of swift-object-replicator, ours and the reference's in turn."""

import json
import os
import pathlib
import random
import shutil

import pytest

from swift.core import hashing
from test.object_nodes import OURS, ObjectNodes

REFERENCE = os.environ.get("REFERENCE_BIN", "")
THEIRS = pathlib.Path(REFERENCE or "/nonexistent")
needs_reference = [
    pytest.mark.reference,
    pytest.mark.skipif(not REFERENCE, reason="REFERENCE_BIN names no installation of the reference"),
]
T = [f"17000000{n:02d}.00000" for n in range(30)]
NAMES = [f"object-{n}" for n in range(25)] + ["näme ☃ %41+ü"]
KINDS = {
    "ours": ([OURS] * 4, "ssync"),
    "ours with rsync": ([OURS] * 4, "rsync"),
    "mixed": ([OURS, OURS, THEIRS, THEIRS], "ssync"),
    "mixed the other way": ([THEIRS, THEIRS, OURS, OURS], "ssync"),
    "mixed with rsync": ([OURS, THEIRS, OURS, THEIRS], "rsync"),
}


@pytest.fixture(
    params=[pytest.param(kinds, marks=needs_reference if "mixed" in kinds else ()) for kinds in KINDS]
)
def nodes(request, tmp_path):
    hashing.set_hash_config("changeme", "changeme")
    kinds, method = KINDS[request.param]
    if method == "rsync" and shutil.which("rsync") is None:
        pytest.skip("there is no rsync on this machine")
    with ObjectNodes(tmp_path / "nodes", kinds, method) as nodes:
        yield nodes


def fill(nodes):
    chance = random.Random(1)
    expired = {"X_Delete_At": "1700000500", "X_Backend_Replication": "true"}
    for number, name in enumerate(NAMES):
        nodes.put(
            name,
            chance.randbytes((0, 1, 4096, 200_000)[number % 4]),
            T[1],
            X_Object_Meta_Color="r\u00c3\u00b6t",
            X_Object_Sysmeta_Kept="s",
            **(expired if name in NAMES[8:10] else {}),
        )
    for name in NAMES[:5]:
        for node in nodes.primaries(name):
            assert nodes.request(node, "POST", name, timestamp=T[2], X_Object_Meta_Color="blue")[0] == 202
    for name in NAMES[5:8]:
        for node in nodes.primaries(name):
            assert nodes.request(node, "DELETE", name, timestamp=T[3])[0] == 204


def check_whole(nodes, files):
    """Each node has exactly what belongs to it, and all copies say the same."""
    for node in nodes.nodes:
        assert nodes.files(node) == nodes.belonging(node, files), f"node {node}"
    for name in NAMES:
        answers = [nodes.request(node, "GET", name) for node in nodes.primaries(name)]
        told = [
            (
                status,
                body,
                headers.get("etag"),
                headers.get("x-object-meta-color"),
                headers.get("x-timestamp"),
            )
            for status, headers, body in answers
        ]
        assert len(set(told)) == 1, name


def test_an_emptied_disk_comes_back(nodes):
    fill(nodes)
    files = nodes.everything()
    assert len(files) > 25
    for node in nodes.nodes:
        nodes.empty(node)
        nodes.replicate(*(other for other in nodes.nodes if other != node))
        check_whole(nodes, files)


def test_handoffs_are_given_back(nodes):
    chance = random.Random(2)
    for name in NAMES:
        first, second, _ = nodes.primaries(name)
        nodes.put(name, chance.randbytes(3000), T[1], first, nodes.handoff(name))
        nodes.request(nodes.handoff(name), "POST", name, timestamp=T[2], X_Object_Meta_Color="blue")
    for name in NAMES[:5]:
        nodes.request(nodes.handoff(name), "DELETE", name, timestamp=T[3])
    files = {file for file in nodes.everything() if not file.endswith(".data") or True}
    nodes.replicate()
    nodes.replicate()
    for node in nodes.nodes:
        own = [part for part in range(16) if node in [n["zone"] for n in nodes.ring.get_part_nodes(part)]]
        assert {int(part) for part in nodes.partitions(node)} <= set(own)
    deleted = {nodes.ring.get_part("a", "c", name) for name in NAMES[:5]}
    assert deleted
    check_whole(nodes, nodes.everything())
    for name in NAMES:
        status, headers, _ = nodes.request(nodes.primaries(name)[2], "GET", name)
        assert (status, headers.get("x-object-meta-color")) == (
            (404, None) if name in NAMES[:5] else (200, "blue")
        )
    assert files


def test_two_halves_that_went_apart_are_joined(nodes):
    """Both halves wrote, deleted and posted; the newest wins, whichever side it was."""
    chance = random.Random(3)
    expected = {}
    for name in NAMES:
        nodes.put(name, b"before", T[0])
        expected[name] = (T[0], b"before")
    for step in range(1, 20):
        half = chance.choice([(1, 2), (3, 4)])
        for name in chance.sample(NAMES, 8):
            action = chance.choice(["PUT", "DELETE"])
            body = b"%d" % step if action == "PUT" else b""
            reached = [node for node in nodes.primaries(name) if node in half]
            for node in reached:
                assert nodes.request(node, action, name, body, T[step])[0] in (201, 204, 404)
            if reached:
                expected[name] = (T[step], body if action == "PUT" else None)
    nodes.replicate()
    nodes.replicate()
    for name, (timestamp, body) in expected.items():
        for node in nodes.primaries(name):
            status, headers, got = nodes.request(node, "GET", name)
            assert (status, headers["x-backend-timestamp"]) == (404 if body is None else 200, timestamp)
            if body is not None:
                assert got == body
    check_whole(nodes, nodes.everything())


def test_nothing_to_do(nodes):
    fill(nodes)
    nodes.replicate()
    before = nodes.everything()
    said = nodes.replicate(1)
    assert "0 failures" in said
    assert nodes.everything() == before
    check_whole(nodes, before)


def test_workers(tmp_path):
    """`once` ends when all of them have, and one document says what they did."""
    hashing.set_hash_config("changeme", "changeme")
    with ObjectNodes(tmp_path / "nodes", [OURS] * 4) as nodes:
        fill(nodes)
        files = nodes.everything()
        nodes.empty(1)
        for node in nodes.nodes:
            nodes.conf(node).write_text(nodes.conf(node).read_text() + "replicator_workers = 2\n")
        nodes.replicate(2, 3, 4)
        check_whole(nodes, files)
        recon = json.loads((nodes.home / "cache2" / "object.recon").read_text())
        assert list(recon["object_replication_per_disk"]) == ["sda"]
        assert recon["replication_stats"]["attempted"] > 0
        assert recon["replication_last"] > 0
