"""Clients that break the rules halfway must not shift the answers of the connections between proxy and storage servers.

Proxy and storage servers talk over connections that many clients' requests share. Whatever a client does to its own request, each
other client gets the answer to its own question.
"""

import random
import socket
import threading

import pytest

OBJECTS = 12
ROUNDS = 40
CLIENTS = 4
SMUGGLED = b"DELETE /v1/AUTH_test/desync/0 HTTP/1.1\r\nHost: h\r\n\r\nDELETE /sdb1/1/AUTH_test/desync/1 HTTP/1.1\r\nHost: h\r\n\r\n"


def content(number):
    """Unlike any other's, of all sizes: with the head, spliced, several blocks."""
    return (b"object %d " % number) * (1, 1000, 20000, 100000)[number % 4]


class Abuser:
    def __init__(self, cluster, seed):
        self.cluster = cluster
        self.random = random.Random(seed)
        self.token = cluster.token.encode()

    def send(self, data, read=4096):
        """Send bytes as they are, read a little of the answer, and leave."""
        with socket.create_connection(self.cluster.address, 20) as sock:
            sock.settimeout(20)
            try:
                sock.sendall(data)
                if read:
                    sock.recv(read)
            except OSError:
                pass

    def head(self, method, name, *lines):
        path = b"/v1/AUTH_test/desync/%s" % name
        head = [b"%s %s HTTP/1.1" % (method, path), b"Host: h", b"X-Auth-Token: " + self.token, *lines]
        return b"\r\n".join(head) + b"\r\n\r\n"

    def once(self):
        size = self.random.choice((10, 70_000, 400_000))
        number = b"%d" % self.random.randrange(OBJECTS)
        body = (SMUGGLED * (size // len(SMUGGLED) + 1))[:size]
        length = b"Content-Length: %d" % size
        bad = b"bad-%d" % self.random.randrange(5)
        chunk = b"%x\r\n%s\r\n" % (len(body), body)
        self.random.choice(
            (
                lambda: self.send(self.head(b"PUT", bad, length) + body[: size // 2], 0),
                lambda: self.send(self.head(b"PUT", bad, length, b"Expect: 100-continue"), 100),
                lambda: self.send(self.head(b"PUT", bad, length, b"Etag: " + b"0" * 32) + body),
                lambda: self.send(self.head(b"PUT", number, length, b"If-None-Match: *") + body),
                lambda: self.send(self.head(b"PUT", number, length, b"If-None-Match: *", b"Expect: 100-continue") + body),
                lambda: self.send(self.head(b"PUT", bad, b"Transfer-Encoding: chunked") + chunk + b"zz\r\n" + SMUGGLED),
                lambda: self.send(self.head(b"PUT", bad, b"Transfer-Encoding: chunked") + chunk + b"0\r\nX: y\r\n\r\n"),
                lambda: self.send(self.head(b"PUT", bad, b"Transfer-Encoding: chunked") + chunk[:-3], 0),
                lambda: self.send(self.head(b"PUT", bad + b"/" + b"n" * 1100, length) + body),
                lambda: self.send(self.head(b"PUT", b"../nowhere/o", length) + body),
                lambda: self.send(self.head(b"POST", b"missing", length) + body),
                lambda: self.send(self.head(b"DELETE", b"missing", length) + body),
                lambda: self.send(self.head(b"GET", number, length) + body),
                lambda: self.send(self.head(b"HEAD", number) * 3),
                lambda: self.send(self.head(b"GET", number), 100),
                lambda: self.send(self.head(b"GET", number, b"Range: bytes=0-9,50-59,90-")),
                lambda: self.send(self.head(b"GET", number, b"If-None-Match: *") + self.head(b"GET", number), 50),
                lambda: self.send(self.head(b"UPDATE", number, length) + body),
                lambda: self.send(self.head(b"PUT", bad, length, b"X-Object-Meta-A: b\rX-Backend-B: c") + body),
            )
        )()  # fmt: skip


@pytest.fixture
def objects(cluster):
    assert cluster.request("PUT", "/desync").status in (201, 202)
    for number in range(OBJECTS):
        assert cluster.request("PUT", f"/desync/{number}", content(number)).status == 201


def test_everybody_gets_the_answer_to_his_own_question(cluster, objects):
    wrong = []
    stop = threading.Event()

    def abuse(seed):
        abuser = Abuser(cluster, seed)
        while not stop.is_set():
            abuser.once()

    def check(seed):
        chosen = random.Random(seed)
        for _ in range(ROUNDS):
            number = chosen.randrange(OBJECTS)
            if chosen.random() < 0.3:
                own = cluster.request("PUT", f"/desync/own-{seed}", content(seed))
                if own.status != 201:
                    wrong.append(("PUT", own.status))
                continue
            answer = cluster.request("GET", f"/desync/{number}")
            if (answer.status, answer.body) != (200, content(number)):
                wrong.append((number, answer.status, len(answer.body), answer.body[:60]))

    abusers = [threading.Thread(target=abuse, args=(seed,)) for seed in range(CLIENTS)]
    checkers = [threading.Thread(target=check, args=(100 + seed,)) for seed in range(2)]
    for thread in abusers + checkers:
        thread.start()
    for thread in checkers:
        thread.join()
    stop.set()
    for thread in abusers:
        thread.join()
    assert wrong == []
    for number in range(OBJECTS):
        assert cluster.request("GET", f"/desync/{number}").body == content(number)
