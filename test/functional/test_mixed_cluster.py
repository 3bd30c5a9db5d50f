"""Nodes 1 and 2 are ours, 3 and 4 the reference's; one proxy of each. Run with REFERENCE_BIN=/path/to/its/bin (see bench/speed.py)."""

import json
import pathlib
import random
import subprocess
import sys
from urllib.parse import quote as quoted

import pytest

from test.cluster import wait_for_port
from test.mixed import PORT_OF, REFERENCE, Client, mixed_cluster, needs_reference

pytestmark = needs_reference


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    with mixed_cluster(tmp_path_factory.mktemp("mixed")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def clients(mixed):
    return Client(mixed.port), Client(mixed.reference_port)


BODIES = {
    "empty": b"",
    "small": b"hello",
    "page": random.Random(1).randbytes(4096),
    "large": random.Random(2).randbytes(3 * 1024 * 1024 + 7),
    "näme with ☃ and %41": b"unicode",
}


def write_and_read(writer, reader, container):
    assert writer("PUT", f"/{container}")[0] in (201, 202)
    for name, body in BODIES.items():
        status, headers, _ = writer(
            "PUT",
            f"/{container}/{quoted(name)}",
            body,
            {"X-Object-Meta-Color": "blue", "Content-Type": "text/x-test"},
        )
        assert status == 201, name
    for name, body in BODIES.items():
        status, headers, data = reader("GET", f"/{container}/{quoted(name)}")
        assert (status, data == body, headers["x-object-meta-color"], headers["content-type"]) == (
            200,
            True,
            "blue",
            "text/x-test",
        ), name
        if len(body) > 10:
            assert (
                reader("GET", f"/{container}/{quoted(name)}", headers={"Range": "bytes=2-7"})[2] == body[2:8]
            )
    status, _, listing = reader("GET", f"/{container}?format=json")
    rows = {row["name"]: (row["bytes"], row["hash"]) for row in json.loads(listing)}
    assert set(rows) == set(BODIES)
    assert reader("POST", f"/{container}/small", headers={"X-Object-Meta-Color": "red"})[0] == 202
    assert writer("HEAD", f"/{container}/small")[1]["x-object-meta-color"] == "red"
    assert reader("DELETE", f"/{container}/small")[0] == 204
    assert writer("GET", f"/{container}/small")[0] == 404


def test_each_proxy_reads_what_the_other_wrote(clients):
    ours, reference = clients
    write_and_read(ours, reference, "by-ours")
    write_and_read(reference, ours, "by-reference")


@pytest.mark.parametrize("half", [(1, 2), (3, 4)])
def test_reads_with_one_half_gone(mixed, clients, half):
    """Each partition has three of the four nodes: with two gone, a copy remains."""
    ours, reference = clients
    container = f"half-{half[0]}"
    for writer in clients:
        assert writer("PUT", f"/{container}")[0] in (201, 202)
    for name, body in BODIES.items():
        assert ours("PUT", f"/{container}/o-{quoted(name)}", body)[0] == 201
        assert reference("PUT", f"/{container}/r-{quoted(name)}", body)[0] == 201
    servers = ("object", "container", "account")
    for node in half:
        for server in servers:
            mixed.kill(f"{server}-{node}")
    try:
        for client in clients:
            for name, body in BODIES.items():
                for prefix in "or":
                    assert client("GET", f"/{container}/{prefix}-{quoted(name)}")[2] == body
    finally:
        for node in half:
            for server in servers:
                mixed.start_one(f"{server}-{node}", server, mixed.bin_of_node.get(node, mixed.bin))
                wait_for_port(f"127.0.0.{node}", mixed.base_port + 10 * node + PORT_OF[server])
        for conf, port, folder in (
            ("proxy-server", mixed.port, mixed.bin),
            ("reference-proxy", mixed.reference_port, pathlib.Path(REFERENCE)),
        ):
            # A fresh proxy: the old one goes on avoiding the nodes that did not answer, for a minute.
            mixed.kill(conf)
            mixed.start_one(conf, "proxy", folder)
            mixed.wait(port)


FOOTERS_SCRIPT = """
import json, sys
from swift.core import swift_dir
swift_dir.use(sys.argv[1])
from swift.proxy.app import Application
from swift.wire import direct
from swift.wire.message import Request

app = Application({"swift_dir": sys.argv[1]}, inherited={})
FOOTERS = {
    "X-Object-Sysmeta-Crypto": "yes",
    "X-Object-Sysmeta-Container-Update-Override-Etag": "f" * 32,
    "X-Backend-Container-Update-Override-Size": "7",
    "X-Object-Transient-Sysmeta-Key": "caf\\u00c3\\u00a9",
    "X-Object-Meta-Colour": "overridden",
    "X-Unknown": "not kept",
}
found = {}
for name, size in (("small", 11), ("long", 100_000)):
    environ = {
        "REQUEST_METHOD": "PUT",
        "swift.callback.update_footers": lambda footers: footers.update(FOOTERS),
        "swift.authorize_override": True,
    }
    headers = {"Content-Type": "a/b", "X-Object-Meta-Colour": "red", "X-Object-Meta-Other": "o"}
    request = Request.blank(f"/v1/AUTH_test/footers/{name}", environ=environ, headers=headers)
    request.body = b"x" * size
    status, _, body = request.call_application(app)
    assert status.startswith("201"), (status, b"".join(body))
    ring = app.services.objects[0].ring
    part, primaries = ring.get_nodes("AUTH_test", "footers", name)
    for node in primaries:
        kept = direct.head_object(node, part, "AUTH_test", "footers", name)
        wanted = {k: v for k, v in kept.items() if k.startswith("X-Object-") or k in ("Content-Length", "Content-Type")}
        found.setdefault(name, {})[node["id"]] = wanted
print(json.dumps(found))
"""


def test_what_filters_add_is_stored_alike_on_all_nodes(mixed, clients):
    """With the body in hand it goes as headers, else behind the body: the same is kept, by each node."""
    ours, reference = clients
    assert ours("PUT", "/footers")[0] in (201, 202)
    output = subprocess.run(
        [sys.executable, "-c", FOOTERS_SCRIPT, str(mixed.etc)], capture_output=True, text=True, timeout=180
    )
    assert output.returncode == 0, output.stderr
    found = json.loads(output.stdout.splitlines()[-1])
    kept = []
    for name, length in (("small", "11"), ("long", "100000")):
        assert len(found[name]) == 3
        for headers in found[name].values():
            assert headers.pop("Content-Length") == length
            kept.append(headers)
    assert all(headers == kept[0] for headers in kept), kept
    assert kept[0]["X-Object-Meta-Colour"] == "overridden" and kept[0]["X-Object-Meta-Other"] == "o"
    assert kept[0]["X-Object-Sysmeta-Crypto"] == "yes"
    for client in clients:
        rows = json.loads(client("GET", "/footers?format=json")[2])
        assert [(row["name"], row["hash"], row["bytes"]) for row in rows] == [
            ("long", "f" * 32, 7),
            ("small", "f" * 32, 7),
        ]


def test_objects_that_must_not_be_there_yet(clients):
    """Each object has servers of both sides among its own."""
    ours, reference = clients
    star = {"If-None-Match": "*"}
    assert ours("PUT", "/created")[0] in (201, 202)
    for name, body in BODIES.items():
        for writer in clients:
            path = f"/created/{quoted(name)}-{'o' if writer is ours else 'r'}"
            assert writer("PUT", path, body, star)[0] == 201
            for other in clients:
                assert other("PUT", path, b"other", star)[0] == 412
                assert other("GET", path)[2] == body
            assert writer("DELETE", path)[0] == 204
            assert ours("PUT", path, body[::-1], star)[0] == 201
            assert reference("GET", path)[2] == body[::-1]
