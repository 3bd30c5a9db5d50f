"""Fragments on a mixed cluster: nodes 1 and 2 are ours, 3 and 4 the reference's, one proxy of each, and each reads what the other wrote.

Run with REFERENCE_BIN=/path/to/its/bin, as test_mixed_cluster.
"""

import json
import random

import pytest

from test.functional.test_mixed_cluster import write_and_read
from test.mixed import PORT_OF, Client, erasure_policy, mixed_cluster, needs_reference

POLICIES = (erasure_policy("ec42", 4, 2), erasure_policy("twice", 2, 1, 2))

pytestmark = needs_reference

SIZES = (0, 1, 4096, 65535, 65536, 65537, 200_000, 3 * 1024 * 1024 + 7)


def body_of(size):
    return random.Random(size).randbytes(size)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    # nodes that were away are back at once: the reference gives up on them even where nobody else is left, and what one proxy has put
    # on handoffs meanwhile, the other does not find
    options = "error_suppression_limit = 1000\n"
    with mixed_cluster(tmp_path_factory.mktemp("mixed-ec"), POLICIES, 2, options) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def clients(mixed):
    return Client(mixed.port), Client(mixed.reference_port)


def make(client, container, policy="ec42"):
    answer = client("PUT", f"/{container}", headers={"X-Storage-Policy": policy})
    assert answer[0] in (201, 202), answer


@pytest.mark.parametrize("policy", ["ec42", "twice"])
def test_each_proxy_reads_what_the_other_wrote(clients, policy):
    ours, reference = clients
    make(ours, f"{policy}-by-ours", policy)
    make(ours, f"{policy}-by-reference", policy)
    write_and_read(ours, reference, f"{policy}-by-ours")
    write_and_read(reference, ours, f"{policy}-by-reference")


@pytest.mark.parametrize("policy", ["ec42", "twice"])
@pytest.mark.parametrize("way", ["ours to reference", "reference to ours"])
def test_ranges(clients, way, policy):
    writer, reader = clients if way.startswith("ours") else clients[::-1]
    ranges = f"/ranges-{policy}"
    make(writer, ranges[1:], policy)
    for size in SIZES:
        body = body_of(size)
        assert writer("PUT", f"{ranges}/o{size}", body)[0] == 201
        for first, last in ((0, 0), (5, 70_000), (65_530, 65_545), (131_072, 131_072)):
            status, headers, data = reader(
                "GET", f"{ranges}/o{size}", headers={"Range": f"bytes={first}-{last}"}
            )
            if first < size:
                assert (status, data) == (206, body[first : last + 1])
                assert headers["content-range"] == f"bytes {first}-{min(last + 1, size) - 1}/{size}"
            else:
                assert status == 416
        if size:
            assert reader("GET", f"{ranges}/o{size}", headers={"Range": "bytes=-10"})[2] == body[-10:]
            status, headers, data = reader(
                "GET", f"{ranges}/o{size}", headers={"Range": "bytes=0-1,65536-65540"}
            )
            assert status == 206
            assert body[:2] in data and body[65536:65541] in data


@pytest.mark.parametrize("policy", ["ec42", "twice"])
@pytest.mark.parametrize("half", [1, 2, 3, 4])
def test_reads_with_one_node_gone(mixed, clients, half, policy):
    """A node has at most two of the six fragments of an object."""
    ours, reference = clients
    container = f"{policy}-{half}"
    make(ours, container, policy)
    for size in SIZES:
        assert ours("PUT", f"/{container}/o{size}", body_of(size))[0] == 201
        assert reference("PUT", f"/{container}/r{size}", body_of(size))[0] == 201
    mixed.kill(f"object-{half}")
    try:
        for client in clients:
            for size in SIZES:
                for prefix in "or":
                    status, _, data = client("GET", f"/{container}/{prefix}{size}")
                    assert (status, data == body_of(size)) == (200, True), (client.port, prefix, size)
    finally:
        mixed.start_one(f"object-{half}", "object", mixed.bin_of_node.get(half, mixed.bin))
        mixed.wait(mixed.base_port + 10 * half + PORT_OF["object"], f"127.0.0.{half}")


def test_overwrites_posts_and_deletes(clients):
    for writer, reader in (clients, clients[::-1]):
        make(writer, "changes")
        for size in (10, 4096, 300_000):
            assert writer("PUT", "/changes/o", body_of(size))[0] == 201
            assert reader("GET", "/changes/o")[2] == body_of(size)
            assert reader("POST", "/changes/o", headers={"X-Object-Meta-A": str(size)})[0] == 202
            assert writer("HEAD", "/changes/o")[1]["x-object-meta-a"] == str(size)
            listing = json.loads(reader("GET", "/changes?format=json")[2])
            assert [row["bytes"] for row in listing] == [size]
        assert reader("DELETE", "/changes/o")[0] == 204
        assert writer("GET", "/changes/o")[0] == 404


def test_conditions(clients):
    ours, reference = clients
    make(ours, "conditions")
    etag = ours("PUT", "/conditions/o", body_of(4096))[1]["etag"]
    for client in clients:
        answers = [
            client("GET", "/conditions/o", headers=headers)[0]
            for headers in (
                {"If-None-Match": etag},
                {"If-None-Match": "x"},
                {"If-Match": etag},
                {"If-Match": "x"},
            )
        ]
        assert answers == [304, 200, 200, 412]
        assert client("PUT", "/conditions/o", b"x", {"If-None-Match": "*"})[0] == 412
        assert client("PUT", "/conditions/o", b"x", {"Etag": "0" * 32})[0] == 422
    assert reference("GET", "/conditions/o")[2] == body_of(4096)
