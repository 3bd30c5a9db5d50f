"""Archives and lists over the whole stack: what comes slowly keeps its connection, what breaks off leaves nothing half stored."""

import io
import json
import socket
import tarfile
import time

import pytest

JSON = {"Accept": "application/json"}


def tar(*members, kind=""):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{kind}") as made:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return file.getvalue()


@pytest.fixture
def container(cluster):
    yield "bulk"
    names = cluster.request("GET", "/bulk").body.decode().splitlines()
    body = "".join(f"bulk/{name}\n" for name in names) + "bulk\n"
    answer = cluster.request("POST", "?bulk-delete", body.encode(), {**JSON, "Content-Type": "text/plain"})
    assert json.loads(answer.body)["Response Status"] == "200 OK"
    assert cluster.request("HEAD", "/bulk").status == 404


@pytest.mark.parametrize("kind", ["", "gz", "bz2"])
def test_an_archive_is_there_as_a_whole(cluster, container, kind):
    members = [(f"{container}/{n}", b"%d" % n * (n * 50)) for n in range(60)]
    members.append((f"{container}/long", bytes(range(256)) * 4000))
    query = f"?extract-archive=tar{'.' * bool(kind)}{kind}"
    answer = cluster.request("PUT", query, tar(*members, kind=kind), JSON)
    told = json.loads(answer.body)
    assert (told["Response Status"], told["Number Files Created"]) == ("201 Created", len(members))
    for name, data in members:
        assert cluster.request("GET", f"/{name}").body == data


def connected(cluster, head):
    connection = socket.create_connection(cluster.address, 30)
    connection.sendall((head + f"Host: x\r\nX-Auth-Token: {cluster.token}\r\n\r\n").encode())
    return connection


def answer_of(connection):
    data = b""
    while not data.endswith(b"\r\n0\r\n\r\n"):
        piece = connection.recv(65536)
        assert piece, data
        data += piece
    return data


def test_what_comes_slowly_comes_whole_and_the_connection_goes_on(cluster, container):
    body = tar(*((f"{container}/{n}", b"x" * 3000) for n in range(20)))
    head = "PUT /v1/AUTH_test?extract-archive=tar HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
    connection = connected(cluster, head)
    for start in range(0, len(body), 9000):
        piece = body[start : start + 9000]
        connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        time.sleep(0.02)
    connection.sendall(b"0\r\n\r\n")
    assert b"Number Files Created: 20\n" in answer_of(connection)
    connection.sendall(f"HEAD /v1/AUTH_test/{container} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {cluster.token}\r\n\r\n".encode())  # fmt: skip
    assert connection.recv(65536).startswith(b"HTTP/1.1 204 ")
    connection.close()


def test_who_leaves_in_the_middle_leaves_nothing_half_stored(cluster, container):
    body = tar((f"{container}/small", b"x"), (f"{container}/long", b"y" * 1_000_000))
    connection = connected(
        cluster, f"PUT /v1/AUTH_test?extract-archive=tar HTTP/1.1\r\nContent-Length: {len(body)}\r\n"
    )
    connection.sendall(body[:500_000])
    end = time.monotonic() + 60
    while cluster.request("HEAD", f"/{container}/small").status != 200:
        assert time.monotonic() < end
    connection.close()
    time.sleep(0.2)
    assert cluster.request("HEAD", f"/{container}/long").status == 404
    assert cluster.request("GET", f"/{container}").body == b"small\n"
