"""The direct client against a storage server made of a few lines (spec proxy-and-backend.md 26.2)."""

import io
import json
import pickle

import pytest

from swift.wire import direct
from swift.wire.direct import DirectError
from swift.wire.message import Request, Response, head_headers


class Storage:
    """Answers with what the test put into `answer` and remembers what it was asked."""

    def __init__(self, start):
        self.seen = []
        self.answer = Response(status=204)
        self.server = start(self)
        self.node = {
            "ip": "127.0.0.1",
            "port": self.server.port,
            "replication_ip": "127.0.0.1",
            "replication_port": self.server.port,
            "device": "sda",
        }

    def __call__(self, environ, start_response):
        request = Request(environ)
        self.seen.append((request.method, request.path_qs, dict(head_headers(environ)), request.body))
        answer = self.answer.pop(0) if isinstance(self.answer, list) else self.answer
        return answer(environ, start_response)


@pytest.fixture
def storage(start):
    return Storage(start)


def test_headers_of_every_request(storage):
    direct.head_container(storage.node, 1, "a", "c")
    method, path, headers, body = storage.seen[0]
    assert (method, path, body) == ("HEAD", "/sda/1/a/c", b"")
    assert headers["X-Backend-Allow-Reserved-Names"] == "true"
    assert headers["User-Agent"].startswith("direct-client ") and len(headers["X-Timestamp"]) == 16
    assert "Content-Length" not in headers
    direct.post_container(
        storage.node, 1, "a", "c", headers={"x-timestamp": "5", "user-agent": "me", "x-a": 1}
    )
    headers = storage.seen[1][2]
    assert (headers["X-Timestamp"], headers["User-Agent"], headers["X-A"]) == ("5", "me", "1")


def test_names_are_quoted_once(storage):
    direct.delete_object(storage.node, 7, "a", "c é", "o/p%\0")
    assert storage.seen[0][1] == "/sda/7/a/c%20%C3%A9/o/p%25%00"


@pytest.mark.parametrize(
    ("call", "method", "path"),
    [
        (direct.head_account, "HEAD", "/sda/1/a"),
        (direct.put_account, "PUT", "/sda/1/a"),
        (direct.post_account, "POST", "/sda/1/a"),
        (direct.delete_account, "DELETE", "/sda/1/a"),
        (direct.put_container, "PUT", "/sda/1/a/b"),
        (direct.update_container, "UPDATE", "/sda/1/a/b"),
        (direct.delete_container, "DELETE", "/sda/1/a/b"),
        (direct.put_container_object, "PUT", "/sda/1/a/b/c"),
        (direct.delete_container_object, "DELETE", "/sda/1/a/b/c"),
        (direct.head_object, "HEAD", "/sda/1/a/b/c"),
        (direct.post_object, "POST", "/sda/1/a/b/c"),
    ],
)
def test_verbs(storage, call, method, path):
    storage.answer = Response(status=200, headers={"X-Backend-Foo": "1"})
    names = ["a", "b", "c"][: path.count("/") - 2]
    assert call(storage.node, 1, *names)["x-backend-foo"] == "1"
    assert storage.seen[0][:2] == (method, path)


def test_listings(storage):
    storage.answer = Response(body=json.dumps([{"name": "x"}]), headers={"X-Account-Container-Count": "1"})
    headers, items = direct.get_account(storage.node, 1, "a", marker="m é", limit=5, reverse=True)
    assert headers["X-Account-Container-Count"] == "1" and items == [{"name": "x"}]
    assert storage.seen[0][1] == "/sda/1/a?format=json&marker=m+%C3%A9&limit=5&reverse=true"
    storage.answer = Response(status=204)
    assert direct.get_container(storage.node, 1, "a", "c", extra_params={"states": "listing"})[1] == []
    assert storage.seen[1][1] == "/sda/1/a/c?format=json&states=listing"
    storage.answer = Response(body="no json")
    with pytest.raises(DirectError, match="not JSON"):
        direct.get_container(storage.node, 1, "a", "c")


@pytest.mark.parametrize(
    ("contents", "length", "framing"),
    [
        (b"abc", None, ("3", None)),
        ("abc", None, ("3", None)),
        (io.BytesIO(b"abc"), None, (None, "chunked")),
        (io.BytesIO(b"abc"), 3, ("3", None)),
        ([b"a", b"", b"bc"], None, (None, "chunked")),
    ],
)
def test_put_object(storage, contents, length, framing):
    storage.answer = Response(status=201, etag="e1")
    etag = direct.put_object(
        storage.node, 1, "a", "c", "o", contents, length, etag='"xyz"', headers={"X-A": "1"}
    )
    assert etag == "e1"
    _, _, headers, body = storage.seen[0]
    assert (
        body == b"abc" and headers["Etag"] == "xyz" and headers["Content-Type"] == "application/octet-stream"
    )
    assert (headers.get("Content-Length"), headers.get("Transfer-Encoding")) == framing


def test_get_object(storage):
    storage.answer = Response(body=b"x" * 200_000, headers={"X-Timestamp": "1"})
    headers, body = direct.get_object(storage.node, 1, "a", "c", "o")
    assert headers["X-Timestamp"] == "1" and body == b"x" * 200_000
    headers, chunks = direct.get_object(storage.node, 1, "a", "c", "o", resp_chunk_size=1000)
    pieces = list(chunks)
    assert b"".join(pieces) == body and max(map(len, pieces)) <= 1000


def test_errors_tell_where(storage):
    storage.answer = Response(status=404, headers={"X-Backend-Timestamp": "9"})
    with pytest.raises(DirectError) as caught:
        direct.head_object(storage.node, 1, "a", "c", "o")
    error = caught.value
    assert (error.http_host, error.http_port, error.http_device) == ("127.0.0.1", storage.server.port, "sda")
    assert (error.http_status, error.http_reason) == (404, "Not Found")
    assert error.http_headers["X-Backend-Timestamp"] == "9"
    assert "404 Not Found" in str(error) and "/sda/1/a/c/o" in str(error)


def test_an_unreachable_node(storage):
    storage.server.stop()
    with pytest.raises(DirectError) as caught:
        direct.head_account(storage.node, 1, "a")
    assert caught.value.http_status is None


def test_suffix_hashes(storage):
    storage.answer = Response(body=pickle.dumps({"abc": "d41d8"}, 2))
    node = {**storage.node, "port": 1}
    assert direct.get_suffix_hashes(node, 5, ["abc", "def"]) == {"abc": "d41d8"}
    assert storage.seen[0][:2] == ("REPLICATE", "/sda/5/abc-def")
    for body in (pickle.dumps(print), pickle.dumps([1]), b"rubbish"):
        storage.answer = Response(body=body)
        with pytest.raises(DirectError):
            direct.get_suffix_hashes(node, 5, [])


def test_recon(storage):
    storage.answer = Response(body=b'{"a": 1}')
    assert direct.get_recon(storage.node, "ringmd5") == {"a": 1}
    assert storage.seen[0][1] == "/recon/ringmd5"


def test_retry(storage):
    storage.answer = [Response(status=503), Response(status=500), Response(status=200, headers={"X-A": "1"})]
    attempts, headers = direct.retry(direct.head_account, storage.node, 1, "a", first_pause=0.001)
    assert attempts == 3 and headers["X-A"] == "1"
    storage.answer = [Response(status=503)] * 3
    with pytest.raises(DirectError):
        direct.retry(direct.head_account, storage.node, 1, "a", retries=2, first_pause=0.001)
    for status in (507, 404):
        storage.answer = [Response(status=status)]
        with pytest.raises(DirectError):
            direct.retry(direct.head_account, storage.node, 1, "a", first_pause=0.001)
