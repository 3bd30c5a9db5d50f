"""Fragments come back to where they belong: real servers, real passes of swift-object-reconstructor, ours and the reference's in turn."""

import json
import os
import pathlib

import pytest

from swift.core import hashing
from test.fragment_nodes import FragmentNodes, body_of
from test.object_nodes import OURS

REFERENCE = os.environ.get("REFERENCE_BIN", "")
THEIRS = pathlib.Path(REFERENCE or "/nonexistent")
needs_reference = [
    pytest.mark.reference,
    pytest.mark.skipif(not REFERENCE, reason="REFERENCE_BIN names no installation of the reference"),
]
T = [f"17000000{n:02d}.00000" for n in range(30)]
SIZES = (0, 1, 4096, 65536, 65537, 400_000)
NAMES = [f"object-{n}" for n in range(18)] + ["näme ☃ %41+ü"]
KINDS = {
    "ours": [OURS] * 4,
    "mixed": [OURS, OURS, THEIRS, THEIRS],
    "mixed the other way": [THEIRS, OURS, THEIRS, OURS],
}
DUPLICATED = {"ec_num_data_fragments": "2", "ec_num_parity_fragments": "1", "ec_duplication_factor": "2"}


CLUSTERS = [
    ("ours", "plain"),
    ("ours", "duplicated"),
    ("mixed", "plain"),
    ("mixed the other way", "duplicated"),
]


@pytest.fixture(
    params=[
        pytest.param(
            (kinds, policy), id=f"{kinds}, {policy}", marks=needs_reference if "mixed" in kinds else ()
        )
        for kinds, policy in CLUSTERS
    ]
)
def nodes(request, tmp_path):
    hashing.set_hash_config("changeme", "changeme")
    kinds, policy = request.param
    with FragmentNodes(
        tmp_path / "nodes", KINDS[kinds], **(DUPLICATED if policy == "duplicated" else {})
    ) as nodes:
        yield nodes


def fill(nodes):
    """Some as our proxy writes them, others as the reference's does."""
    for number, name in enumerate(NAMES):
        nodes.write(
            name,
            body_of(name, SIZES[number % len(SIZES)]),
            T[1],
            sums=number % 4 < 2,
            X_Object_Meta_Color="r\u00c3\u00b6t",
            X_Object_Sysmeta_Kept="s",
        )
    for name in NAMES[:4]:
        for spot in nodes.homes(name):
            answer = nodes.fragment(spot, "POST", name, timestamp=T[2], X_Object_Meta_Color="blue")
            assert answer[0] == 202
    for name in NAMES[4:6]:
        for spot in nodes.homes(name):
            assert nodes.fragment(spot, "DELETE", name, timestamp=T[3])[0] == 204


def check_equal(nodes, before):
    for spot, files in nodes.all_contents().items():
        assert files.keys() == before[spot].keys(), spot
        for path, content in files.items():
            assert content == before[spot][path], (spot, path)


def test_an_emptied_disk_comes_back_byte_for_byte(nodes):
    fill(nodes)
    before = nodes.all_contents()
    assert sum(map(len, before.values())) > 100
    nodes.clear((1, "sda"))
    nodes.reconstruct()  # in turn
    check_equal(nodes, before)
    nodes.clear((3, "sdb"))
    nodes.reconstruct_at_once()
    check_equal(nodes, before)


def test_handoffs_are_given_back(nodes):
    fill(nodes)
    before = nodes.all_contents()
    for name in NAMES[6:]:
        homes, guests = nodes.homes(name), nodes.guests(name)
        for at, guest in enumerate(guests[:2]):
            nodes.write(
                name,
                body_of(name, SIZES[NAMES.index(name) % len(SIZES)]),
                T[1],
                guest,
                index=nodes.policy.fragment_of(at),
                sums=NAMES.index(name) % 4 < 2,
                X_Object_Meta_Color="r\u00c3\u00b6t",
                X_Object_Sysmeta_Kept="s",
            )
            nodes.file(homes[at], name).unlink()
    nodes.reconstruct_at_once()
    nodes.reconstruct_at_once()
    check_equal(nodes, before)


def test_what_happened_while_a_node_was_away(nodes):
    """The newest wins everywhere; a fragment that one node does not know to be durable becomes so."""
    fill(nodes)
    away = {(2, "sda"), (2, "sdb")}
    for number, name in enumerate(NAMES[6:]):
        present = [spot for spot in nodes.homes(name) if spot not in away]
        if number % 3 == 0:
            nodes.write(name, body_of(name, 70_000), T[4], *present)
            absent = [spot for spot in nodes.homes(name) if spot in away]
            if absent:
                nodes.write(name, body_of(name, 70_000), T[4], absent[0], durable=False)
        elif number % 3 == 1:
            for spot in present:
                assert nodes.fragment(spot, "DELETE", name, timestamp=T[5])[0] == 204
        else:
            for spot in present:
                answer = nodes.fragment(spot, "POST", name, timestamp=T[6], X_Object_Meta_Color="green")
                assert answer[0] == 202
    nodes.reconstruct_at_once()
    nodes.reconstruct_at_once()
    for number, name in enumerate(NAMES[6:]):
        answers = [nodes.fragment(spot, "HEAD", name) for spot in nodes.homes(name)]
        told = {(status, headers.get("x-backend-timestamp")) for status, headers, _ in answers}
        assert told == {((200, T[4]), (404, T[5]), (200, T[6]))[number % 3]}, name
        for at, files in enumerate(nodes.names(name)[spot] for spot in nodes.homes(name) if number % 3 == 0):
            assert files == [f"{T[4]}#{nodes.policy.fragment_of(at)}#d.data"]


def test_nothing_to_do(nodes):
    fill(nodes)
    nodes.reconstruct_at_once()
    before = nodes.all_contents()
    said = nodes.reconstruct(1)
    assert "Object reconstruction complete (once)." in said
    assert nodes.all_contents() == before


def test_workers_and_overrides(tmp_path):
    """`once` ends when all workers have, and one document says when it was."""
    hashing.set_hash_config("changeme", "changeme")
    with FragmentNodes(tmp_path / "nodes", [OURS] * 4) as nodes:
        fill(nodes)
        before = nodes.all_contents()
        for node in nodes.nodes:
            nodes.conf(node).write_text(nodes.conf(node).read_text() + "reconstructor_workers = 2\n")
        nodes.clear((1, "sda"))
        parts = sorted({path.partition("/")[0] for path in before[1, "sda"]})
        nodes.reconstruct(2, 3, 4, args=("-p", parts[0]))
        assert {path.partition("/")[0] for path in nodes.contents((1, "sda"))} == {parts[0]}
        assert not (nodes.home / "cache2" / "object.recon").exists()
        nodes.reconstruct(2, 3, 4)
        nodes.reconstruct(1)
        check_equal(nodes, before)
        recon = json.loads((nodes.home / "cache2" / "object.recon").read_text())
        assert sorted(recon["object_reconstruction_per_disk"]) == ["sda", "sdb"]
        assert recon["object_reconstruction_last"] > 0
        assert recon["object_reconstruction_time"] < 10
        assert recon["object_reconstruction_standing"]["sda"]["2"]["partitions"] > 0
