"""The internal client against a pipeline of a few lines (spec proxy-and-backend.md 26.1)."""

import gzip
import io
import json

import pytest

from swift.core.errors import ConfigError
from swift.wire import internal
from swift.wire.internal import InternalClient, UnexpectedResponse
from swift.wire.message import Request, Response


class App:
    """Answers with what the test put into `answers` (the last one again and again) and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.seen = []

    def __call__(self, environ, start_response):
        request = Request(environ)
        self.seen.append((request.method, request.path_qs, dict(request.headers), request.body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(environ, start_response)


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    made = []
    monkeypatch.setattr(internal, "sleep", made.append)
    return made


def client(*answers, tries=1, **options):
    app = App(*answers)
    return InternalClient("", "agent", tries, app=app, **options), app


def test_what_every_request_carries():
    one, app = client(Response(status=204), use_replication_network=True)
    one.create_container("a", "c é", {"X-A": "1"})
    method, path, headers, _ = app.seen[0]
    assert (method, path) == ("PUT", "/v1/a/c%20%C3%A9")
    assert headers["User-Agent"] == "agent" and headers["X-A"] == "1"
    assert headers["X-Backend-Allow-Reserved-Names"] == headers["X-Backend-Use-Replication-Network"] == "true"


def test_tries(pauses):
    one, app = client(Response(status=503), RuntimeError(), Response(status=201), tries=3)
    one.create_account("a")
    assert len(app.seen) == 3 and pauses == [2, 4]
    one, app = client(Response(status=503), tries=2)
    with pytest.raises(UnexpectedResponse) as caught:
        one.create_account("a")
    assert caught.value.resp.status_int == 503 and len(app.seen) == 2
    one, app = client(Response(status=409), tries=3)
    with pytest.raises(UnexpectedResponse, match="409 Conflict"):
        one.delete_container("a", "c")
    assert len(app.seen) == 1
    one, app = client(RuntimeError("x"), tries=2)
    with pytest.raises(RuntimeError):
        one.create_account("a")
    with pytest.raises(ValueError, match="positive"):
        client(Response(), tries=0)


def test_asked_as_filters_ask(pauses):
    one, app = client(Response(status=404), Response(status=200, body=b"abc"), Response(status=503), tries=2)
    answer = one.ask("HEAD", "a", "c", "o é", headers={"HTTP_X_NEWEST": "true", "CONTENT_TYPE": "a/b"})
    assert (answer.status, answer.method) == (404, "HEAD")
    method, path, headers, _ = app.seen[0]
    assert (method, path, headers["X-Newest"], headers["Content-Type"]) == (
        "HEAD", "/v1/a/c/o%20%C3%A9", "true", "a/b",
    )  # fmt: skip
    answer = one.ask("PUT", "a", "c", query={"q": "é"}, body=b"body")
    assert (answer.get("content-length"), answer.read(10)) == ("3", b"abc")
    assert app.seen[1][1::2] == ("/v1/a/c?q=%C3%A9", b"body")
    with pytest.raises(UnexpectedResponse):
        one.ask("GET", "a")
    assert len(app.seen) == 4


def test_a_body_is_rewound_for_another_try_or_given_once():
    class Unseekable:
        def __init__(self):
            self.file = io.BytesIO(b"abc")
            self.read = self.file.read

    one, app = client(Response(status=503), Response(status=201), tries=2)
    one.upload_object(io.BytesIO(b"abc"), "a", "c", "o")
    assert [seen[3] for seen in app.seen] == [b"abc"] * 2
    assert app.seen[0][2]["Transfer-Encoding"] == "chunked"
    one.upload_object(b"abcd", "a", "c", "o", {"Content-Type": "a/b"})
    assert app.seen[2][2]["Content-Length"] == "4" and app.seen[2][2]["Content-Type"] == "a/b"
    one, app = client(Response(status=503), Response(status=201), tries=2)
    with pytest.raises(UnexpectedResponse):
        one.upload_object(Unseekable(), "a", "c", "o")
    assert len(app.seen) == 1


def test_metadata():
    headers = {"X-Container-Meta-Foo": "1", "X-Container-Sysmeta-B": "2"}
    one, app = client(Response(status=204, headers=headers))
    assert one.get_container_metadata("a", "c", "x-container-meta-") == {"foo": "1"}
    assert one.get_object_metadata("a", "c", "o")["x-container-sysmeta-b"] == "2"
    one.set_container_metadata("a", "c", {"A": "b", "X-Container-Meta-C": "d"}, "X-Container-Meta-")
    assert {"X-Container-Meta-A", "X-Container-Meta-C"} <= set(app.seen[-1][2])
    one, _ = client(Response(status=404))
    assert one.get_account_metadata("a", acceptable_statuses=(2, 404)) == {}
    assert one.get_account_info("a") == (0, 0)
    assert not one.account_exists("a") and not one.container_exists("a", "c")
    counts = {"X-Account-Container-Count": "3", "X-Account-Object-Count": "10"}
    assert client(Response(status=204, headers=counts))[0].get_account_info("a") == (3, 10)


def test_listings_page_by_marker():
    pages = [[{"name": "a"}, {"name": "b é"}], [{"subdir": "c/"}], []]
    one, app = client(*[Response(body=json.dumps(page)) for page in pages])
    assert list(one.iter_objects("a", "c", prefix="p")) == pages[0] + pages[1]
    assert [seen[1].split("marker=")[1].split("&")[0] for seen in app.seen] == ["", "b+%C3%A9", "c%2F"]
    assert list(client(Response(status=404))[0].iter_containers("a")) == []
    with pytest.raises(UnexpectedResponse):
        list(client(Response(status=403))[0].iter_containers("a"))
    with pytest.raises(ValueError, match="does not advance"):
        list(client(Response(body=json.dumps(pages[0])))[0].iter_containers("a"))


def test_lines():
    text = b"one\ntwo\n\n" + b"x" * 200_000 + b"\nlast"
    body = [text[i : i + 1000] for i in range(0, len(text), 1000)]
    assert list(client(Response(app_iter=body))[0].iter_object_lines("a", "c", "o")) == text.split(b"\n")
    packed = gzip.compress(text[:50]) + gzip.compress(text[50:])
    body = [packed[i : i + 100] for i in range(0, len(packed), 100)]
    one, _ = client(Response(app_iter=body))
    assert list(one.iter_object_lines("a", "c", "o.gz")) == text.split(b"\n")
    with pytest.raises(ValueError, match="ends early"):
        list(client(Response(body=gzip.compress(text)[:-20]))[0].iter_object_lines("a", "c", "o.gz"))


def test_get_object():
    one, _ = client(Response(body=b"abc", headers={"X-A": "1"}))
    status, headers, body = one.get_object("a", "c", "o")
    assert (status, headers["X-A"], b"".join(body)) == (200, "1", b"abc")


def test_gatekeeper_is_refused(tmp_path):
    conf = tmp_path / "internal-client.conf"
    conf.write_text(
        "[pipeline:main]\npipeline = gatekeeper proxy-server\n[filter:gatekeeper]\nuse = egg:swift#gatekeeper\n"
        "[app:proxy-server]\nuse = egg:swift#proxy\n"
    )
    with pytest.raises(ConfigError, match="gatekeeper"):
        InternalClient(str(conf), "agent", 1)
