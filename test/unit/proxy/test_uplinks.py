"""The conversation of an upload with a second 100 Continue, and a document after it, as erasure-coded policies need it."""

from types import SimpleNamespace
from typing import Any

import pytest
from proxy_backends import Cluster

from swift.core import concurrency
from swift.engine import sockets
from swift.engine.stream import Stream
from swift.proxy.backend import Asking
from swift.proxy.exchange import Exchange
from swift.proxy.reserved_uplinks import ReservedUplinks
from swift.proxy.updates import Share
from swift.proxy.uplinks import COMMIT, FOOTERS, Uplinks, body_head, metadata_document
from swift.wire.message import HTTPServiceUnavailable, Request

CONTINUE = b"HTTP/1.1 100 Continue\r\nX-Obj-Metadata-Footer: yes\r\nX-Obj-Multiphase-Commit: yes\r\n\r\n"
STORED = b'HTTP/1.1 201 Created\r\nContent-Length: 0\r\nEtag: "e"\r\n\r\n'
FAILED = b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n"
COMMITMENT = b"X-Document: put commit\r\n\r\nput_commit_confirmation\r\n--%s--"


def chunk(data):
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)


class Server:
    """Answers as told: what it says instead of the second 100, or after the commit."""

    def __init__(self, second=CONTINUE, first=CONTINUE, gate=None, last=STORED):
        self.last = last
        self.gate = gate  # a semaphore to pass before it says what it says instead of the second 100
        self.sock = sockets.listen("127.0.0.1", 0)
        self.listener = sockets.Listener(self.sock)
        self.first, self.second = first, second
        self.received = b""
        concurrency.spawn_n(self._serve)

    def _serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            stream = Stream(sock, 5)
            try:
                self._until(stream, b"\r\n\r\n", 1)
                stream.sendall(self.first)
                self._until(stream, b"\r\n0\r\n\r\n", 1)
                if self.second is None:
                    continue
                if self.gate is not None:
                    self.gate.acquire()
                stream.sendall(self.second)
                self._until(stream, b"\r\n0\r\n\r\n", 2)
                if self.last is not None:
                    stream.sendall(self.last)
            except OSError:
                pass

    def _until(self, stream, mark, times):
        while self.received.count(mark) < times:
            data = stream.recv(65536)
            if not data:
                raise OSError("gone")
            self.received += data


@pytest.fixture
def talk(request):
    cluster = Cluster(nodes=3, node_timeout="0.5", post_quorum_timeout="0.1")
    servers = []

    def make(*those, is_reserved=False):
        servers.extend(those)
        nodes = [
            {
                "id": i, "device": f"o{i}", "ip": "127.0.0.1", "port": server.sock.getsockname()[1], "region": 1, "zone": i,
                "replication_ip": "", "replication_port": 0, "index": i,
            }
            for i, server in enumerate(those)
        ]  # fmt: skip
        from swift.proxy.routing import NodeIterator

        environ = Request.blank("/v1/a/c/o", environ={"REQUEST_METHOD": "PUT"}).environ
        exchange = Exchange(environ, "PUT", "a", "c", "o")
        asking = Asking("PUT", 7, "/a/c/o", 0.5, 0.5)
        supply = NodeIterator(cluster.app.limiter, nodes, lambda: (), 6)
        shares = [Share() for _ in those]
        if is_reserved:
            ring = SimpleNamespace(get_more_nodes=lambda part: ())
            selector = SimpleNamespace(limiter=cluster.app.limiter, ring=ring)
            place: Any = SimpleNamespace(primaries=nodes, quorum=2, part=7, selector=selector)
            return ReservedUplinks(cluster.app.services, exchange, asking, b"", shares, place)
        return Uplinks(cluster.app.services, exchange, asking, b"", shares, supply, 2, (FOOTERS, COMMIT))

    yield make
    for server in servers:
        server.listener.close()
    cluster.close()


def send_document(uplinks):
    for link in uplinks.live():
        document = (
            body_head(link.boundary) + b"data" + metadata_document(link.boundary, {"A": "b"}, is_last=False)
        )
        uplinks.send(link, [chunk(document)])


def commit(uplinks):
    for link in uplinks.live():
        uplinks.send(link, [chunk(COMMITMENT % link.boundary)])


def test_a_commit_within_one_request(talk):
    servers = [Server(), Server(), Server()]
    uplinks = talk(*servers)
    assert uplinks.connect() is None
    send_document(uplinks)
    assert uplinks.await_continue() == []
    commit(uplinks)
    statuses = [answer.status for answer in uplinks.collect(lambda shares: None)]
    assert statuses.count(201) >= 2  # where it takes its time the third one is told later
    for server, link in zip(servers, sorted(uplinks.links, key=lambda link: link.node["id"]), strict=True):
        head, _, rest = server.received.partition(b"\r\n\r\n")
        assert b"X-Backend-Obj-Multiphase-Commit: yes" in head and link.boundary in head
        for _ in range(100):
            if b"put commit" in server.received:
                break
            concurrency.sleep(0.05)
        assert server.received.endswith(chunk(COMMITMENT % link.boundary))


@pytest.mark.parametrize(
    "second", [b"HTTP/1.1 507 Full\r\nContent-Length: 0\r\n\r\n", b"", None], ids=["full", "closed", "silent"]
)
def test_one_that_does_not_go_on_is_not_committed(talk, second):
    odd = Server(second=second)
    if second == b"":
        odd.second = b"HTTP/1.1 "
    uplinks = talk(Server(), odd, Server())
    assert uplinks.connect() is None
    send_document(uplinks)
    assert len(uplinks.await_continue()) == (1 if second else 0)
    assert len(uplinks.live()) == 2
    commit(uplinks)
    statuses = sorted(answer.status for answer in uplinks.collect(lambda shares: None))
    assert statuses == [201, 201, 507 if second else 503]


def test_who_stores_it_late_is_committed_behind_the_clients_back(talk):
    gate = concurrency.Semaphore(0)
    late = Server(gate=gate)
    uplinks = talk(Server(), late, Server())
    assert uplinks.connect() is None
    send_document(uplinks)
    assert uplinks.await_continue() == []
    assert len(uplinks.live()) == 2
    uplinks.commit()
    lost = []
    statuses = [answer.status for answer in uplinks.collect(lost.extend)]
    assert sorted(statuses) == [201, 201, 503]
    gate.release()
    for _ in range(100):
        if b"put commit" in late.received:
            break
        concurrency.sleep(0.05)
    assert b"put commit" in late.received
    concurrency.sleep(0.1)
    assert lost == []  # it tells its container itself


def test_without_a_quorum_nothing_is_committed(talk):
    full = b"HTTP/1.1 507 Full\r\nContent-Length: 0\r\n\r\n"
    uplinks = talk(Server(), Server(second=full), Server(second=full))
    assert uplinks.connect() is None
    send_document(uplinks)
    with pytest.raises(HTTPServiceUnavailable):
        uplinks.await_continue()
    uplinks.abandon()
    assert uplinks.live() == []


def test_a_server_without_the_capability_is_not_used(talk):
    plain = Server(first=b"HTTP/1.1 100 Continue\r\nX-Obj-Metadata-Footer: yes\r\n\r\n")
    uplinks = talk(Server(), Server(), plain)
    assert uplinks.connect() is None
    assert len(uplinks.live()) == 2
    uplinks.abandon()


def reserve(uplinks):
    def end(link):
        footers = metadata_document(link.boundary, {"A": "b"}, is_last=False)
        uplinks.send(link, [chunk(body_head(link.boundary) + b"data" + footers)])

    assert uplinks.connect() is None
    return uplinks.reserve(end)


def test_what_all_have_refused_is_refused(talk):
    uplinks = talk(*(Server(last=FAILED) for _ in range(3)), is_reserved=True)
    assert reserve(uplinks) is None
    uplinks.commit()
    answers = uplinks.collect(lambda shares: None)
    assert {answer.status for answer in answers if answer.node is not None} == {412}


@pytest.mark.parametrize("third", ["breaks off", "is late"])
def test_what_somebody_may_have_stored_is_not_told_to_be_refused(talk, third):
    """Something came in between on two; the third one says nothing, or does not go on before the others have answered."""
    gate = concurrency.Semaphore(0)
    servers = [Server(last=FAILED), Server(last=FAILED)]
    servers.append(Server(last=None) if third == "breaks off" else Server(gate=gate))
    uplinks = talk(*servers, is_reserved=True)
    assert reserve(uplinks) is None
    uplinks.commit()
    with pytest.raises(HTTPServiceUnavailable):
        uplinks.collect(lambda shares: None)
    gate.release()
