"""Requests that the pipeline makes of itself, and applications called from inside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.core.names import wsgi_quote
from swift.wire.call import call_app, first_chunk_taken, status_and_headers
from swift.wire.subrequest import make_environ, make_request

CLIENT = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/v1/a/c",
    "QUERY_STRING": "x=1",
    "SERVER_NAME": "h",
    "SERVER_PORT": "80",
}


@given(st.text(st.characters(max_codepoint=255), min_size=1))
def test_any_name_stays_one(name):
    request = make_request(CLIENT, "GET", wsgi_quote(f"/v1/a/c/{name}"), query="format=json")
    assert request.environ["PATH_INFO"] == f"/v1/a/c/{name}"
    assert request.environ["QUERY_STRING"] == "format=json"


@pytest.mark.parametrize(
    "path", ["/v1/a/c/what?", "/v1/a/c/o?format=json", "/v1/a b", "/v1/a/#", "/v1/\u00e9", "/v1/a\n"]
)
def test_what_is_not_quoted_is_refused(path):
    with pytest.raises(ValueError, match="quoted"):
        make_request(CLIENT, "GET", path)


def test_without_a_path_or_query_the_clients_hold():
    request = make_request(CLIENT, "HEAD", body=b"abc", headers={"X-A": "b"}, pre_authed=True, source="XX")
    environ = request.environ
    assert (environ["PATH_INFO"], environ["QUERY_STRING"], environ["REQUEST_METHOD"]) == (
        "/v1/a/c",
        "x=1",
        "HEAD",
    )
    assert (request.body, environ["HTTP_X_A"], environ["swift.source"]) == (b"abc", "b", "XX")
    assert environ["REMOTE_USER"] == ".wsgi.pre_authed" and environ["swift.authorize"](request) is None
    assert make_environ(CLIENT, path="/v1/a/c/what?")["PATH_INFO"] == "/v1/a/c/what?"


class Late:
    """Calls start_response with its second chunk only."""

    def __init__(self, fails=False):
        self.closed = 0
        self.fails = fails

    def __call__(self, environ, start_response):
        self.start_response = start_response
        return self

    def __iter__(self):
        yield b""
        if self.fails:
            raise ValueError
        self.start_response("201 Created", [("A", "b")])
        yield b"one"
        yield b"two"

    def close(self):
        self.closed += 1


def test_an_application_that_starts_late():
    app = Late()
    status, headers, body = call_app(app, {})
    assert (status, headers, b"".join(body)) == ("201 Created", [("A", "b")], b"onetwo")
    body.close()
    assert app.closed == 1
    assert status_and_headers(app, {}) == (201, [("A", "b")])
    assert app.closed == 2


def test_what_fails_before_it_starts_is_closed():
    for call in (call_app, status_and_headers):
        app = Late(fails=True)
        with pytest.raises(ValueError):
            call(app, {})
        assert app.closed == 1
    app = Late(fails=True)
    with pytest.raises(AssertionError):
        call_app(lambda environ, start_response: [b"x"], {})
    body = first_chunk_taken([b"a", b"b"])
    assert list(body) == [b"a", b"b"]
