"""Two proxies with the same root secrets, one of each implementation: each reads what the other encrypted. Run with REFERENCE_BIN."""

import contextlib
import hashlib
import json
import pathlib
import random
import tempfile
from urllib.parse import quote

import pytest

from test.mixed import Client, erasure_policy, memory_folder, mixed_cluster, needs_reference

pytestmark = needs_reference

INNER = (
    (
        "keymaster",
        "encryption_root_secret = Y2hhbmdlbWVjaGFuZ2VtZWNoYW5nZW1lY2hhbmdlbWU=\n"
        "encryption_root_secret_two = dHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdv\nactive_root_secret_id = two\n",
    ),
    ("encryption", ""),
)
LARGE = random.Random(4).randbytes(2 * 1024 * 1024 + 3)
BODIES = {
    "empty": b"",
    "small": b"hello",
    "large": LARGE,
    "n\u00e4me with \u2603 and %41": b"unicode",
    "\u4e2d" * 60: b"a path that is long in version 2",
    "/slash": b"slash",
}


@pytest.fixture(scope="module")
def clients():
    with contextlib.ExitStack() as stack:
        # in memory: ext4 holds 4 KiB of metadata, and a node of the reference that meets more is left alone for a while
        root = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory_folder())))
        cluster = stack.enter_context(mixed_cluster(root, [erasure_policy("ec21", 2, 1)], inner=INNER))
        yield Client(cluster.port), Client(cluster.reference_port)


def test_servers_that_are_met_for_the_first_time(clients):
    """They don't know the short form of a write in fragments, and get the long one, of the same object."""
    ours, reference = clients
    assert ours("PUT", "/met", headers={"X-Storage-Policy": "ec21"})[0] in (201, 202)
    for number in range(12):  # so that all of them are met
        assert ours("PUT", f"/met/{number}", b"a body", {"X-Object-Meta-Color": "blue"})[0] == 201
        assert reference("GET", f"/met/{number}")[2] == b"a body"


@pytest.mark.parametrize("policy", ["gold", "ec21"])
@pytest.mark.parametrize("writer, reader", [(0, 1), (1, 0)], ids=["ours writes", "the reference writes"])
def test_each_reads_what_the_other_encrypted(clients, writer, reader, policy):
    write, read = clients[writer], clients[reader]
    container = f"{policy}-{writer}"
    assert write("PUT", f"/{container}", headers={"X-Storage-Policy": policy})[0] == 201
    for name, body in BODIES.items():
        path = f"/{container}/{quote(name)}"
        assert (
            write("PUT", path, body, {"X-Object-Meta-Color": "blue", "X-Object-Meta-Empty": ""})[0] == 201
        ), name
        etag = hashlib.md5(body).hexdigest()
        status, headers, data = read("GET", path)
        assert (status, data == body, headers["etag"], headers["x-object-meta-color"]) == (
            200,
            True,
            etag,
            "blue",
        ), name
        assert read("GET", path, headers={"If-None-Match": etag})[0] == 304
        assert read("GET", path, headers={"If-Match": "0" * 32})[0] == 412
        if len(body) > 5:
            assert read("GET", path, headers={"Range": "bytes=3-5"})[2] == body[3:6]
            parts = read("GET", path, headers={"Range": "bytes=0-1,4-5"})[2]
            assert body[:2] in parts and body[4:6] in parts
    for client in (read, write):
        rows = json.loads(client("GET", f"/{container}?format=json")[2])
        assert {row["name"]: row["hash"] for row in rows} == {
            name: hashlib.md5(body).hexdigest() for name, body in BODIES.items()
        }
    assert read("POST", f"/{container}/small", headers={"X-Object-Meta-Color": "red"})[0] == 202
    assert write("HEAD", f"/{container}/small")[1]["x-object-meta-color"] == "red"
    copied = read("PUT", f"/{container}/copy", headers={"X-Copy-From": f"/{container}/large"})
    assert copied[0] == 201 and write("GET", f"/{container}/copy")[2] == LARGE


@pytest.mark.parametrize("writer, reader", [(0, 1), (1, 0)], ids=["ours writes", "the reference writes"])
def test_manifests_and_links(clients, writer, reader):
    write, read = clients[writer], clients[reader]
    assert write("PUT", f"/m-{writer}")[0] == 201
    assert write("PUT", f"/m-{writer}/segment", b"s" * 20)[0] == 201
    manifest = [{"path": f"/m-{writer}/segment"}, {"path": f"/m-{writer}/segment", "range": "0-4"}]
    assert write("PUT", f"/m-{writer}/slo?multipart-manifest=put", json.dumps(manifest).encode())[0] == 201
    assert write("PUT", f"/m-{writer}/link", b"", {"X-Symlink-Target": f"m-{writer}/segment"})[0] == 201
    status, headers, data = read("GET", f"/m-{writer}/slo")
    assert (status, data) == (200, b"s" * 25)
    assert read("GET", f"/m-{writer}/slo", headers={"If-None-Match": headers["etag"]})[0] == 304
    assert read("GET", f"/m-{writer}/link")[2] == b"s" * 20
    of_both = [json.loads(client("GET", f"/m-{writer}?format=json")[2]) for client in clients]
    assert of_both[0] == of_both[1]
    rows = {row["name"]: row for row in of_both[0]}
    assert rows["slo"]["slo_etag"] == headers["etag"] and rows["link"]["symlink_path"].endswith("/segment")
