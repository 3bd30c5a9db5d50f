"""Erasure-coded objects under faults: fragments lost, rotten or old, nodes dead or frozen. What was acknowledged is read back right."""

import http.client
import os
import pathlib
import random
import time

import pytest

from swift.obj.files import metadata
from test.cluster import NODES, Cluster

POLICY = "ec42"  # of the containers
SIZES = [0, 1, 4096, 65536, 300_000, (3 << 20) + 7]


@pytest.fixture(scope="module", params=["checked", "unchecked"])
def shared(request, faultless, tmp_path_factory):
    """`unchecked`: object servers send what is on their disks as it is, as others do: the proxy finds what is rotten. It asks for more
    than it needs, too."""
    cluster = Cluster(tmp_path_factory.mktemp("erasure") / "saio")
    cluster.write()
    if request.param == "unchecked":
        for node in NODES:
            conf = cluster.layout.etc / "object-server" / f"{node}.conf"
            text = conf.read_text()
            conf.write_text(
                text.replace("use = egg:swift#object\n", "use = egg:swift#object\netag_validate_pct = 0\n")
            )
        more = "concurrent_gets = on\nconcurrent_ec_extra_requests = 1\n"
        text = cluster.layout.proxy_conf.read_text()
        cluster.layout.proxy_conf.write_text(
            text.replace("use = egg:swift#proxy\n", f"use = egg:swift#proxy\n{more}")
        )
    with faultless(cluster):
        yield cluster


def body_of(size, seed=0):
    return random.Random(size * 100 + seed).randbytes(size)


def put(cluster, path, body):
    assert cluster.request("PUT", path, body).status == 201


def fragments(cluster, path):
    """The fragment archives of an object on all disks, in order of their index."""
    found = []
    for file in cluster.layout.disks.glob("*/*/objects-2/*/*/*/*.data"):
        fd = os.open(file, os.O_RDONLY)
        try:
            if metadata.read(fd)["name"] == f"/AUTH_test{path}":
                found.append(file)
        finally:
            os.close(fd)
    return sorted(found, key=lambda file: file.name.split("#")[1])


def flip(file, at):
    data = bytearray(file.read_bytes())
    data[at % len(data)] ^= 0x40
    with open(file, "r+b") as writing:  # in place: its attributes stay
        writing.write(data)


@pytest.mark.parametrize("size", SIZES)
def test_any_two_fragments_lost(cluster, container, size):
    body = body_of(size)
    for number, lost in enumerate([(0, 1), (2, 5), (4, 5), (1,), (3,)]):
        path = f"{container}/o{number}"
        put(cluster, path, body)
        files = fragments(cluster, path)
        assert len(files) == 6 and all(file.name.endswith("#d.data") for file in files)
        for index in lost:
            files[index].unlink()
        answer = cluster.request("GET", path)
        assert (answer.status, answer.body == body) == (200, True), lost
        if size:
            answer = cluster.request("GET", path, headers={"Range": f"bytes={size // 2}-"})
            assert (answer.status, answer.body) == (206, body[size // 2 :])


def test_three_lost_is_no_404(cluster, container):
    put(cluster, f"{container}/o", body_of(4096))
    for file in fragments(cluster, f"{container}/o")[:3]:
        file.unlink()
    assert cluster.request("GET", f"{container}/o").status == 503
    assert cluster.request("HEAD", f"{container}/o").status == 200


@pytest.mark.parametrize("size", SIZES[1:])
def test_flipped_bits_are_never_served(cluster, container, size):
    body = body_of(size)
    chance = random.Random(size)
    for number, rotten in enumerate([(0,), (3,), (5,), (0, 1), (1, 4)]):
        path = f"{container}/o{number}"
        put(cluster, path, body)
        files = fragments(cluster, path)
        for index in rotten:
            flip(files[index], chance.randrange(1 << 30))
        for headers, expected in (({}, body), ({"Range": f"bytes={size // 3}-{size // 2}"}, None)):
            answer = cluster.request("GET", path, headers=headers)
            if expected is None:
                expected = body[size // 3 : size // 2 + 1]
            assert answer.body == expected, (rotten, headers, answer.status)


def test_what_too_much_of_has_rotted_is_an_error(cluster, container):
    put(cluster, f"{container}/o", body_of(4096))
    for file in fragments(cluster, f"{container}/o")[:3]:
        flip(file, 500)
    assert cluster.request("GET", f"{container}/o").status == 503


def test_fragments_that_were_never_committed_are_not_there(cluster, container):
    path = f"{container}/o"
    put(cluster, path, body_of(4096))
    files = fragments(cluster, path)
    for file in files:
        file.rename(str(file).replace("#d.data", ".data"))
    assert cluster.request("GET", path).status == 404
    # one node that knows better is enough
    files[2].with_name(files[2].name.replace("#d.data", ".data")).rename(files[2])
    answer = cluster.request("GET", path)
    assert (answer.status, answer.body) == (200, body_of(4096))


def put_in_vain(cluster, path, body):
    """An object with this body is there, and above it one that no node was told to be acknowledged."""
    put(cluster, path, body)
    old = {file: (file.read_bytes(), dict(attributes(file))) for file in fragments(cluster, path)}
    put(cluster, path, b"new" * 1000)
    for file in fragments(cluster, path):
        file.rename(str(file).replace("#d.data", ".data"))
    for file, (data, found) in old.items():
        file.write_bytes(data)
        for name, value in found.items():
            os.setxattr(file, name, value)


def test_an_older_object_is_read_while_the_new_one_is_not_acknowledged(cluster, container):
    """As if a proxy had died between the two phases."""
    path = f"{container}/o"
    put_in_vain(cluster, path, b"old" * 1000)
    for headers in ({}, {"X-Newest": "true"}):
        assert cluster.request("GET", path, headers=headers).body == b"old" * 1000


def test_an_older_object_is_there_beneath_a_put_that_failed_while_nodes_are_away(cluster, container):
    """Nodes die in the middle of a PUT: those that are left hold some of it, and what was acknowledged before."""
    path = f"{container}/o"
    put_in_vain(cluster, path, b"old" * 1000)
    for away in NODES:
        cluster.kill(f"node{away}")
        for headers in ({}, {"X-Newest": "true"}):
            answers = [cluster.request("GET", path, headers=headers) for _ in range(3)]
            assert {(answer.status, answer.body) for answer in answers} == {(200, b"old" * 1000)}, away
        also = NODES[away % len(NODES)]
        cluster.kill(f"node{also}")  # too little is left, but it is not gone
        assert {cluster.request("GET", path).status for _ in range(3)} <= {200, 503}, (away, also)
        cluster.revive(f"node{away}")
        cluster.revive(f"node{also}")


def attributes(file):
    return [(name, os.getxattr(file, name)) for name in os.listxattr(file)]


@pytest.mark.parametrize("node", NODES)
def test_writes_and_reads_while_a_node_is_away(cluster, container, node):
    for size in SIZES:
        put(cluster, f"{container}/before{size}", body_of(size, 1))
        put(cluster, f"{container}/again{size}", body_of(size, 2))
    cluster.kill(f"node{node}")
    for size in SIZES:
        assert cluster.request("GET", f"{container}/before{size}").body == body_of(size, 1)
        put(cluster, f"{container}/while{size}", body_of(size, 3))
        put(cluster, f"{container}/again{size}", body_of(size, 4))
        assert cluster.request("GET", f"{container}/while{size}").body == body_of(size, 3)
    cluster.revive(f"node{node}")
    for size in SIZES:  # what came back with it is old
        for headers in ({}, {"X-Newest": "true"}):
            answer = cluster.request("GET", f"{container}/again{size}", headers=headers)
            assert answer.body == body_of(size, 4)
        assert cluster.request("DELETE", f"{container}/again{size}").status == 204
        assert cluster.request("GET", f"{container}/again{size}").status == 404


def test_a_node_that_dies_in_the_middle_of_a_body(cluster, container):
    size = 40 << 20
    body = body_of(size)
    put(cluster, f"{container}/large", body)
    layout = cluster.layout
    for node in (1, 3):
        connection = http.client.HTTPConnection(layout.ip, layout.port, timeout=60)
        connection.request("GET", f"/v1/AUTH_test{container}/large", headers={"X-Auth-Token": cluster.token})
        answer = connection.getresponse()
        got = answer.read(2 << 20)
        cluster.kill(f"node{node}")
        got += answer.read()
        connection.close()
        assert got == body
        cluster.revive(f"node{node}")


def test_a_client_that_leaves_in_the_middle_changes_nothing(cluster, container):
    path = f"{container}/o"
    put(cluster, path, b"old")
    layout = cluster.layout
    connection = http.client.HTTPConnection(layout.ip, layout.port, timeout=10)
    connection.putrequest("PUT", f"/v1/AUTH_test{path}")
    connection.putheader("X-Auth-Token", cluster.token)
    connection.putheader("Content-Length", str(10 << 20))
    connection.endheaders()
    connection.send(b"x" * (5 << 20))
    connection.close()
    time.sleep(0.5)
    assert cluster.request("GET", path).body == b"old"
    assert [pathlib.Path(file).name.endswith("#d.data") for file in fragments(cluster, path)] == [True] * 6
