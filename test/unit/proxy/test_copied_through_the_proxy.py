"""A copy through the copy filter and the proxy itself: how its bytes go, and what is left when a storage server breaks off."""

import hashlib
from importlib.metadata import entry_points

import pytest
from proxy_backends import T0, Reply, mime_parts, none_left_connected

from swift.middleware.copy import CopyFilter
from swift.proxy.relay import RangeBody
from swift.wire import client
from swift.wire.body_input import BodyInput

LONG = bytes(range(256)) * 4096
ETAG = hashlib.md5(LONG).hexdigest()


def of_object(body, **reply):
    headers = {
        "Etag": f'"{hashlib.md5(body).hexdigest()}"',
        "X-Timestamp": T0,
        "X-Backend-Timestamp": T0,
        "Content-Type": "x/y",
    }
    return Reply(200, {**headers, "X-Object-Meta-A": "b"}, body, **reply)


def stores(seen):
    if not seen.complete:
        return Reply(100)
    body = mime_parts(seen)[0] if "x-backend-obj-metadata-footer" in seen.headers else seen.body
    return Reply(201, {"Etag": f'"{hashlib.md5(body).hexdigest()}"'})


@pytest.fixture
def copying(cluster):
    cluster.on("object", "PUT", stores)
    cluster.app = CopyFilter(cluster.app, {}, cluster.logger)
    return cluster


@pytest.mark.parametrize("body", [b"", b"short", LONG])
def test_the_bytes_arrive(copying, body):
    copying.on("object", "GET", of_object(body))
    status, headers, _ = copying.request("COPY", "/v1/AUTH_test/c/o", {"Destination": "d/n"})
    assert status == 201 and headers["x-copied-from"] == "c/o"
    puts = copying.of("object", "PUT")
    assert len(puts) == 3 and {put.entity for put in puts} == {"/AUTH_test/d/n"}
    for put in puts:
        stored = mime_parts(put)[0] if "x-backend-obj-metadata-footer" in put.headers else put.body
        assert stored == body and put.headers["x-object-meta-a"] == "b"
        assert put.headers["content-type"] == "x/y"


def test_a_long_body_is_received_where_it_is_sent_from(copying, monkeypatch):
    """No piece of it is an object of its own on the way."""
    read = []
    original = client.BackendResponse.read
    monkeypatch.setattr(
        client.BackendResponse, "read", lambda self, *size: read.append(self) or original(self, *size)
    )
    copying.on("object", "GET", of_object(LONG))
    assert copying.request("COPY", "/v1/AUTH_test/c/o", {"Destination": "d/n"})[0] == 201
    assert sum(response.content_length == len(LONG) for response in read) <= 1  # what came with the head


def test_it_is_so_with_the_filters_between_too(cluster, monkeypatch):
    """Large objects, versions, links and the log look at the answer, and pass its very body on."""
    cluster.on("object", "PUT", stores)
    app = cluster.app
    for name in ("proxy_logging", "symlink", "versioned_writes", "dlo", "slo"):
        (entry,) = entry_points(group="paste.filter_factory", name=name)
        app = entry.load()({"log_to_console": "false"})(app)
        app._pipeline_final_app = app._pipeline_request_logging_app = cluster.app
        app._pipeline = [cluster.app]
    bodies = []
    original = BodyInput.__init__
    monkeypatch.setattr(
        BodyInput, "__init__", lambda self, body, *more: bodies.append(body) or original(self, body, *more)
    )
    cluster.app = CopyFilter(app, {}, cluster.logger)
    cluster.on("object", "GET", of_object(LONG))
    assert cluster.request("COPY", "/v1/AUTH_test/c/o", {"Destination": "d/n"})[0] == 201
    assert [type(body) for body in bodies] == [RangeBody]


@pytest.mark.parametrize("body", [LONG, LONG[:70_000]])
def test_of_a_source_that_breaks_off_nothing_is_stored(copying, body):
    copying.on("object", "GET", of_object(body, cut=len(body) - 100))
    status, _, text = copying.request("COPY", "/v1/AUTH_test/c/o", {"Destination": "d/n"})
    assert status == 503
    assert not any(put.complete for put in copying.of("object", "PUT"))
    assert not any("Traceback" in line for line in copying.logger.lines)
    none_left_connected()


def test_a_body_with_another_checksum_than_its_etag_is_not_stored(copying):
    def answer(seen):
        reply = of_object(LONG)
        reply.body = LONG[:-1] + b"x"
        return reply

    copying.on("object", "GET", answer)
    assert copying.request("COPY", "/v1/AUTH_test/c/o", {"Destination": "d/n"})[0] == 422
    assert not any(put.complete for put in copying.of("object", "PUT"))
