"""The proxy behind its real server loop, between real sockets: 100-continue, splicing, and connections that break."""

import hashlib

import pytest
from proxy_backends import T0, Reply, mime_parts

from swift.core import concurrency
from swift.engine import sockets
from swift.wire.server import Server

BIG = bytes(range(256)) * 40_000
OBJECT = {"Etag": '"e1"', "X-Backend-Timestamp": T0}


@pytest.fixture
def front(cluster):
    sock = sockets.listen("127.0.0.1", 0)
    server = Server(sock, cluster.app, {"client_timeout": "5"}, cluster.logger)
    thread = concurrency.spawn(server.run)
    cluster.port = sock.getsockname()[1]
    yield cluster
    server.stop()
    concurrency.kill(thread)


def connected(front):
    stream = sockets.connect("127.0.0.1", front.port, 1)
    stream.set_timeout(60)
    return stream


def head_of(stream):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = stream.recv(65536)
        assert piece, data
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def read_to(stream, data, size):
    parts = [data]
    have = len(data)
    while have < size:
        piece = stream.recv(1 << 20)
        if not piece:
            break
        parts.append(piece)
        have += len(piece)
    return b"".join(parts)


def stores(seen):
    if not seen.complete:
        return Reply(100)
    body = mime_parts(seen)[0] if "x-backend-obj-metadata-footer" in seen.headers else seen.body
    return Reply(201, {"Etag": f'"{hashlib.md5(body).hexdigest()}"'})


def wait_until(condition):
    for _ in range(200):
        if condition():
            return
        concurrency.sleep(0.01)
    raise AssertionError("it did not happen")


def test_a_long_body_is_spliced_through(front):
    front.on("object", "GET", Reply(200, OBJECT, BIG))
    stream = connected(front)
    for _ in range(2):
        stream.sendall(b"GET /v1/a/c/o HTTP/1.1\r\nHost: x\r\n\r\n")
        head, rest = head_of(stream)
        assert f"Content-Length: {len(BIG)}" in head
        assert read_to(stream, rest, len(BIG)) == BIG
    stream.close()


def test_a_spliced_body_that_breaks_off_is_continued(front):
    def reply(seen):
        text = seen.headers.get("range")
        if text is None:
            return Reply(200, OBJECT, BIG, cut=3_000_000)
        first, last = map(int, text.removeprefix("bytes=").split("-"))
        headers = {**OBJECT, "Content-Range": f"bytes {first}-{last}/{len(BIG)}"}
        cut = 3_000_000 if len(front.of("object")) == 2 else None
        return Reply(206, headers, BIG[first : last + 1], cut=cut)

    front.on("object", "GET", reply)
    stream = connected(front)
    stream.sendall(b"GET /v1/a/c/o HTTP/1.1\r\nHost: x\r\n\r\n")
    head, rest = head_of(stream)
    assert read_to(stream, rest, len(BIG)) == BIG
    assert [seen.headers.get("range") for seen in front.of("object")][1:] == [
        f"bytes=3000000-{len(BIG) - 1}",
        f"bytes=6000000-{len(BIG) - 1}",
    ]
    stream.close()


def test_a_body_that_cannot_be_continued_breaks_the_clients_connection(front):
    front.on("object", "GET", lambda seen: Reply(200, {"Etag": f'"{seen.node}"'}, BIG, cut=1_000_000))
    stream = connected(front)
    stream.sendall(b"GET /v1/a/c/o HTTP/1.1\r\nHost: x\r\n\r\n")
    head, rest = head_of(stream)
    assert len(read_to(stream, rest, len(BIG))) == 1_000_000
    stream.close()


def test_a_client_that_leaves_a_download_frees_the_source(front):
    front.on("object", "GET", Reply(200, OBJECT, BIG * 4))
    stream = connected(front)
    stream.sendall(b"GET /v1/a/c/o HTTP/1.1\r\nHost: x\r\n\r\n")
    head_of(stream)
    stream.close()
    wait_until(lambda: any(s.fd < 0 for backend in front.backends for s in backend.streams))


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_the_client_is_asked_for_its_body_once_somebody_wants_it(front, size):
    front.on("object", "PUT", stores)
    stream = connected(front)
    head = f"PUT /v1/a/c/o HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\nExpect: 100-continue\r\n\r\n"
    stream.sendall(head.encode())
    assert head_of(stream)[0] == "HTTP/1.1 100 Continue"
    stream.sendall(b"x" * size)
    answer, _ = head_of(stream)
    assert answer.startswith("HTTP/1.1 201")
    assert hashlib.md5(b"x" * size).hexdigest() in answer
    stream.close()


def test_a_body_that_nobody_wants_is_not_asked_for(front):
    front.on("container", "HEAD", Reply(404))
    stream = connected(front)
    stream.sendall(b"PUT /v1/a/c/o HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n")
    assert head_of(stream)[0].startswith("HTTP/1.1 404")
    stream.close()


def test_an_unavailable_cluster_does_not_ask_for_a_long_body(front):
    front.on("object", "PUT", Reply(503, early=True))
    stream = connected(front)
    stream.sendall(
        b"PUT /v1/a/c/o HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\nExpect: 100-continue\r\n\r\n"
    )
    assert head_of(stream)[0].startswith("HTTP/1.1 503")
    stream.close()


@pytest.mark.parametrize("sent", [0, 1, 70_000, 999_999])
def test_an_upload_that_breaks_off_is_broken_for_the_servers_too(front, sent):
    front.on("object", "PUT", stores)
    stream = connected(front)
    stream.sendall(b"PUT /v1/a/c/o HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * sent)
    wait_until(lambda: len(front.of("object", "PUT")) == 3)
    stream.close()
    wait_until(lambda: all(s.fd < 0 for backend in front.backends[:3] for s in backend.streams[-1:]))
    assert not any(seen.complete for seen in front.of("object", "PUT"))


def test_a_chunked_upload(front):
    front.on("object", "PUT", stores)
    stream = connected(front)
    stream.sendall(b"PUT /v1/a/c/o HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(50):
        stream.sendall(b"4e20\r\n" + b"y" * 20000 + b"\r\n")
    stream.sendall(b"0\r\n\r\n")
    assert head_of(stream)[0].startswith("HTTP/1.1 201")
    assert [len(mime_parts(seen)[0]) for seen in front.of("object")] == [1_000_000] * 3
    stream.close()


def test_bad_chunks_are_not_stored(front):
    front.on("object", "PUT", stores)
    stream = connected(front)
    stream.sendall(
        b"PUT /v1/a/c/o HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"
    )
    head, _ = head_of(stream)
    assert head.split()[1] in ("400", "499")
    concurrency.sleep(0.02)
    assert not any(seen.complete for seen in front.of("object", "PUT"))
    stream.close()
