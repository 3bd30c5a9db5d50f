"""Descriptors after everything that can go wrong between proxy and storage servers: none stays open."""

import hashlib

import pytest
from proxy_backends import T0, Reply, none_left_connected

from swift.wire.errors import ClientDisconnected

BODY = b"hello world" * 1000
LONG = b"0123456789abcdef" * 40000
ETAG = hashlib.md5(LONG).hexdigest()
GOOD = {"Etag": f'"{ETAG}"', "X-Timestamp": T0, "X-Backend-Timestamp": T0, "X-Backend-Data-Timestamp": T0}

FAULTS = {
    "drop": Reply(drop=True),
    "hang": Reply(200, GOOD, LONG, hang=0.06),
    "cut": Reply(200, GOOD, LONG, cut=1000),
    "cut-at-once": Reply(200, GOOD, LONG, cut=0),
    "error": Reply(500, body=b"x" * 100),
    "full": Reply(507),
    "missing": Reply(404, body=b"<html>"),
    "conflict": Reply(409, {"X-Backend-Timestamp": T0}),
    "closing": Reply(404, close=True),
    "early": Reply(409, early=True),
    "incapable": Reply(201, capable=False),
    "huge": Reply(404, body=b"x" * 200_000),
    "not-http": Reply(200, {"Content-Length": "nonsense"}),
    "endless": Reply(200, {"Content-Length": None}, LONG, cut=5000),
    "chunks": Reply(200, {"Content-Length": None, "Transfer-Encoding": "chunked"}, b"3\r\nabc\r\nzz\r\n"),
}


class Broken:
    """A client's body that breaks off."""

    def __init__(self, after):
        self.left = after

    def read(self, size=-1):
        if not self.left:
            raise ClientDisconnected("gone")
        self.left -= 1
        return b"x" * 65536


def everything(cluster):
    """Each kind of request once, however it ends."""

    def request(*args, **kwargs):
        try:
            return cluster.request(*args, **kwargs)[0]
        except Exception as error:  # a body that breaks off on its way to the client
            return error

    for headers in ({}, {"Range": "bytes=5-9,100000-100009"}, {"X-Newest": "true"}, {"If-None-Match": ETAG}):
        request("GET", "/v1/a/c/o", headers)
    request("HEAD", "/v1/a/c/o")
    request("PUT", "/v1/a/c/o", {}, BODY)
    request("PUT", "/v1/a/c/o", {}, LONG)
    request("PUT", "/v1/a/c/o", {"Etag": "0" * 32}, LONG)
    request("PUT", "/v1/a/c/o", {"If-None-Match": "*"}, LONG)
    environ = {"wsgi.input": Broken(3), "CONTENT_LENGTH": str(1 << 20)}
    request("PUT", "/v1/a/c/o", {"Transfer-Encoding": "chunked"}, environ=environ)
    request("POST", "/v1/a/c/o", {"X-Object-Meta-A": "b"})
    request("DELETE", "/v1/a/c/o")
    request("GET", "/v1/a/c")
    request("PUT", "/v1/a/c2")
    request("POST", "/v1/a/c")
    request("DELETE", "/v1/a/c")
    request("GET", "/v1/a")
    request("POST", "/v1/a")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("all_nodes", [True, False], ids=["all", "one"])
def test_nothing_leaks(make_cluster, fault, all_nodes):
    limit = "0.02" if fault == "hang" else "0.05"
    cluster = make_cluster(
        nodes=4, node_timeout=limit, recoverable_node_timeout=limit, post_quorum_timeout=limit
    )

    def reply(seen):
        if all_nodes or seen.node == 0:
            return FAULTS[fault]
        if seen.method == "GET":
            return Reply(200, GOOD, LONG)
        return Reply(201 if seen.method == "PUT" else 204, {"Etag": f'"{ETAG}"'})

    for kind in ("object", "container", "account"):
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            if (kind, method) not in (("container", "HEAD"), ("account", "HEAD")):
                cluster.on(kind, method, reply)
    everything(cluster)  # whatever is made once is made now
    cluster.app.limiter._records.clear()
    with none_left_connected():
        everything(cluster)


def test_a_body_that_nobody_reads_is_let_go(make_cluster):
    """The client is gone before the first byte: the body was made and never begun."""
    from swift.wire.message import Request

    cluster = make_cluster()
    for headers in (GOOD, {**GOOD, "Content-Length": None}):
        cluster.on(
            "object", "GET", Reply(200, headers, LONG, cut=None if "Content-Length" not in headers else 70000)
        )
        with none_left_connected():
            request = Request.blank("/v1/a/c/o")
            _, _, body = request.call_application(cluster.app)
            body.close()


def test_a_request_that_cannot_be_sent_closes_its_connection(cluster, monkeypatch):
    from swift.wire.client import BackendConnection, BackendTimeout

    made = []

    def send(self, *args):
        made.append(self)
        raise BackendTimeout("send")

    cluster.request("HEAD", "/v1/a/c")
    monkeypatch.setattr(BackendConnection, "send", send)
    assert cluster.request("GET", "/v1/a/c/o")[0] == 503
    assert made and all(conn.stream.fd < 0 for conn in made)
