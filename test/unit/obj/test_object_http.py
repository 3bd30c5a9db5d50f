"""The object server behind the server loop: bodies by every way in and out of a real socket."""

import hashlib
import os
import socket

import pytest
from obj_app import App

from swift.core.concurrency import spawn
from swift.engine.sockets import listen
from swift.engine.threads import run_in_thread
from swift.wire.server import Server

T1, T2 = "1700000001.00000", "1700000002.00000"


@pytest.fixture
def app(root):
    return App(root)


@pytest.fixture
def address(app):
    sock = listen("127.0.0.1", 0)
    server = Server(sock, app.application, {"client_timeout": "5"}, app.log)
    thread = spawn(server.run)
    yield sock.getsockname()
    server.stop()
    thread.kill()


class Client:
    def __init__(self, address):
        self.sock = socket.create_connection(address, 10)
        self.buffer = b""

    def head(self):
        while b"\r\n\r\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                return None
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        return lines[0], {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}

    def body(self, headers):
        length = int(headers["content-length"])
        parts, have = [self.buffer], len(self.buffer)
        while have < length:
            data = self.sock.recv(1 << 20)
            if not data:
                break
            parts.append(data)
            have += len(data)
        data = b"".join(parts)
        self.buffer = data[length:]
        return data[:length]


def talk(address, function):
    """Run a blocking conversation beside the server."""
    client = Client(address)
    try:
        return run_in_thread(function, client)
    finally:
        client.sock.close()


def put_head(length, extra=""):
    return (
        f"PUT /sda/7/a/c/o HTTP/1.1\r\nHost: x\r\nX-Timestamp: {T1}\r\nContent-Type: a/b\r\nContent-Length: {length}\r\n{extra}\r\n"
    ).encode()


GET = b"GET /sda/7/a/c/o HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("size", [0, 5, 65536, 65537, 3_000_001])
@pytest.mark.parametrize("expect", [False, True])
def test_there_and_back_on_one_connection(address, size, expect):
    body = os.urandom(size)

    def conversation(client):
        client.sock.sendall(put_head(size, "Expect: 100-continue\r\n" if expect else ""))
        if expect and size:
            assert client.head()[0] == "HTTP/1.1 100 Continue"
        client.sock.sendall(body)
        status, headers = client.head()
        # nothing was waited for where there is no body: no 100 Continue came before
        assert status == "HTTP/1.1 201 Created"
        assert headers["etag"] == f'"{hashlib.md5(body).hexdigest()}"'
        assert "connection" not in headers
        for _ in range(2):
            client.sock.sendall(GET)
            status, headers = client.head()
            assert status == "HTTP/1.1 200 OK"
            assert client.body(headers) == body
        client.sock.sendall(GET[:-2] + b"Range: bytes=1-3\r\n\r\n")
        status, headers = client.head()
        got = client.body(headers)
        if size:
            assert (status, got) == ("HTTP/1.1 206 Partial Content", body[1:4])
        else:
            assert status.startswith("HTTP/1.1 416") and "bytes */0" in headers["content-range"]
        client.sock.sendall(GET[:-2] + b"Range: bytes=0-0,-1\r\n\r\n")
        status, headers = client.head()
        got = client.body(headers)
        if size:
            assert status.startswith("HTTP/1.1 206") and got.count(b"Content-Range") == 2
            assert b"\r\n\r\n" + body[:1] + b"\r\n--" in got and b"\r\n\r\n" + body[-1:] + b"\r\n--" in got
        else:  # the last byte of nothing is all of it
            assert (status, got) == ("HTTP/1.1 200 OK", b"")

    talk(address, conversation)


def test_conflict_is_told_before_the_body_is_sent(app, address):
    app.put(T2)

    def conversation(client):
        client.sock.sendall(put_head(10**9, "Expect: 100-continue\r\n"))
        status, headers = client.head()
        assert status == "HTTP/1.1 409 Conflict"
        assert headers["x-backend-timestamp"] == T2

    talk(address, conversation)


def test_footer_after_a_chunked_document(app, address):
    body = b"y" * 300_000
    boundary = "abcdef"
    etag = hashlib.md5(body).hexdigest()
    footer = f'{{"Etag": "{etag}"}}'.encode()
    document = b"".join(
        [
            b"--abcdef\r\nX-Document: object body\r\n\r\n",
            body,
            b"\r\n--abcdef\r\nX-Document: object metadata\r\nContent-MD5: ",
            hashlib.md5(footer).hexdigest().encode(),
            b"\r\n\r\n",
            footer,
            b"\r\n--abcdef--",
        ]
    )

    def conversation(client):
        head = put_head(0, "").replace(b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n")[:-2]
        client.sock.sendall(
            head
            + f"Expect: 100-continue\r\nX-Backend-Obj-Metadata-Footer: yes\r\nX-Backend-Obj-Content-Length: {len(body)}\r\n"
            f"X-Backend-Obj-Multipart-Mime-Boundary: {boundary}\r\n\r\n".encode()
        )
        status, headers = client.head()
        assert (status, headers["x-obj-metadata-footer"]) == ("HTTP/1.1 100 Continue", "yes")
        for start in range(0, len(document), 70001):
            piece = document[start : start + 70001]
            client.sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        client.sock.sendall(b"0\r\n\r\n")
        status, headers = client.head()
        assert status == "HTTP/1.1 201 Created"
        client.sock.sendall(GET)
        status, headers = client.head()
        assert client.body(headers) == body

    talk(address, conversation)


def test_body_that_ends_early_leaves_nothing(app, address):
    for size in (10, 200_000):
        for sent in (0, 1, size // 2, size - 1):

            def conversation(client, size=size, sent=sent):
                client.sock.sendall(put_head(size) + b"x" * sent)
                client.sock.shutdown(socket.SHUT_WR)
                client.head()

            talk(address, conversation)
    assert app.files() == []
    left = [f for path, _, files in os.walk(app.device) for f in files if not path.endswith("/writers")]
    assert [f for f in left if f not in (".lock", "hashes.invalid")] == []
    assert app.get().status == 404


def test_damage_found_on_the_way_breaks_the_connection(app, address):
    body = b"x" * 5_000_000
    app.put(T1, body)
    with open(f"{app.where().hash_dir}/{T1}.data", "r+b") as f:
        f.seek(4_000_000)
        f.write(b"!")

    def conversation(client):
        client.sock.sendall(GET)
        status, headers = client.head()
        got = client.body(headers)
        assert len(got) < len(body)
        assert b"!" not in got

    talk(address, conversation)
    assert app.get().status == 404
