"""Requests and responses as handlers and filters see them (spec proxy-and-backend.md 22, 29)."""

import datetime
import email.utils
import io

import pytest

from swift.core import clock
from swift.wire import message
from swift.wire.message import (
    HeaderKeyDict,
    HTTPConflict,
    HTTPException,
    HTTPInsufficientStorage,
    HTTPNotFound,
    HTTPSeeOther,
    HTTPUnauthorized,
    Request,
    Response,
    parsed_path,
    status_map,
    wsgify,
)


def call(app, environ=None, **kw):
    request = Request.blank("/v1/AUTH_a/c/o", environ=environ, **kw)
    status, headers, body = request.call_application(app)
    return status, HeaderKeyDict(headers), b"".join(body)


def test_header_key_dict():
    headers = HeaderKeyDict({"x-a": 1}, ETag="q")
    assert headers["X-A"] == 1 and headers["etag"] == "q" and headers["missing"] is None
    headers["content-length"] = 5
    headers["x-b"] = b"\xc3\xa9"
    assert headers["Content-Length"] == "5" and headers["X-B"] == "\xc3\xa9"
    headers["X-A"] = None
    assert "x-a" not in headers and list(headers) == ["Etag", "Content-Length", "X-B"]
    assert headers.get("nope", 3) == 3 and headers.setdefault("n", 4) == "4" and headers.pop("N") == "4"
    assert message.title_case("x-caf\xe9-bar") == "X-Caf\xe9-Bar"


def test_request_headers_are_a_live_view():
    request = Request.blank("/", headers={"x-foo": 1, "Content-Type": "a/b"})
    assert request.environ["HTTP_X_FOO"] == "1" and request.environ["CONTENT_TYPE"] == "a/b"
    request.environ["HTTP_X_BAR"] = "2"
    assert request.headers["x-bar"] == "2" and request.headers.get("nope") is None
    assert set(request.headers) >= {"X-Foo", "X-Bar", "Content-Type", "Host"}
    request.headers["X-Foo"] = None
    assert "HTTP_X_FOO" not in request.environ
    assert ("X-Bar", "2") in message.head_headers(request.environ)
    assert "secret" not in repr(Request.blank("/", headers={"X-Auth-Token": "secret"}).headers)


def test_request_target():
    request = Request.blank("/v1/a/c/o%20%C3%A9?x=1&y=&x=2", environ={"HTTP_HOST": "h:80"})
    assert request.path_info == "/v1/a/c/o \xc3\xa9"
    assert request.path == "/v1/a/c/o%20%C3%A9"
    assert request.url == "http://h/v1/a/c/o%20%C3%A9?x=1&y=&x=2"
    assert request.as_referer() == "GET " + request.url
    assert request.swift_entity_path == "/a/c/o é"
    assert request.params == {"x": "2", "y": ""} and request.params is request.params
    request.params = {"a": "\xc3\xa9"}
    assert request.query_string == "a=%C3%A9" and request.params == {"a": "\xc3\xa9"}
    assert request.split_path(2, 4, True) == ["v1", "a", "c", "o \xc3\xa9"]
    with pytest.raises(ValueError, match="Invalid path: /v1/a/c/o%20%C3%A9"):
        request.split_path(1, 2)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/a/c/o/p", ("v1", "a", "c", "o/p")),
        ("/v1/a/c//", ("v1", "a", "c", "/")),
        ("/v1/a/c/", ("v1", "a", "c", None)),
        ("/v1/a/", ("v1", "a", None, None)),
        ("/v1", ("v1", None, None, None)),
        ("/v1/", ("v1", None, None, None)),
        ("/", (None,) * 4),
        ("//a", (None,) * 4),
        ("/v1//c", (None,) * 4),
        ("/v1/a//o", (None,) * 4),
        ("*", (None,) * 4),
    ],
)
def test_parsed_path(path, expected):
    environ = {"PATH_INFO": path}
    assert parsed_path(environ) == expected
    assert parsed_path(environ) is parsed_path(environ)
    environ["PATH_INFO"] = "/v1/other"
    assert parsed_path(environ) == ("v1", "other", None, None)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Content-Length": "12"}, 12),
        ({"Transfer-Encoding": "chunked"}, None),
        ({"Transfer-Encoding": "Chunked", "Content-Length": "x"}, None),
        ({"Content-Length": "x"}, ValueError("Invalid Content-Length header value")),
        ({"Transfer-Encoding": "gzip"}, ValueError("Invalid Transfer-Encoding header value")),
        (
            {"Transfer-Encoding": "gzip, chunked"},
            AttributeError("Unsupported Transfer-Coding header value specified in Transfer-Encoding header"),
        ),
    ],
)
def test_message_length(headers, expected):
    request = Request.blank("/", headers=headers)
    if isinstance(expected, Exception):
        with pytest.raises(type(expected), match=str(expected)):
            request.message_length()
    else:
        assert request.message_length() == expected


def test_request_body_is_rewindable():
    request = Request.blank("/", body="abc")
    assert request.content_length == 3 and request.body == b"abc" and request.body == b"abc"
    copy = request.copy_get()
    assert copy.method == "GET" and copy.body == b"" and request.body_file.read() == b"abc"


def test_default_bodies():
    status, headers, body = call(HTTPNotFound())
    assert status == "404 Not Found"
    assert body == b"<html><h1>Not Found</h1><p>The resource could not be found.</p></html>"
    assert headers == {"Content-Type": "text/html; charset=UTF-8", "Content-Length": "70"}
    assert call(HTTPNotFound(body="x", content_type="text/plain"))[1:] == (
        {"Content-Type": "text/plain", "Content-Length": "1"},
        b"x",
    )
    # Left to the server, which adds it where a body may be.
    assert "Content-Length" not in call(Response(status=204))[1]
    assert call(HTTPNotFound(body=""))[1:] == (
        {"Content-Type": "text/html; charset=UTF-8", "Content-Length": "0"},
        b"",
    )
    assert "Content-Length" not in call(HTTPNotFound(), environ={"REQUEST_METHOD": "HEAD"})[1]
    assert b"Drive: sda&lt;1" in call(HTTPInsufficientStorage(drive="sda<1"))[2]
    assert b"Drive: unknown" in call(HTTPInsufficientStorage())[2]
    assert status_map[418]().status == "418 Unknown"
    assert status_map[409] is HTTPConflict


@pytest.mark.parametrize(
    ("path", "realm"),
    [("/v1/AUTH_%C3%A9/c", "AUTH_%C3%A9"), ("/", "unknown"), ("/auth/v1.0", "unknown"), ("/v1", "unknown")],
)
def test_unauthorized_names_the_realm(path, realm):
    request = Request.blank(path)
    assert HTTPUnauthorized(request=request).headers["Www-Authenticate"] == f'Swift realm="{realm}"'
    assert request.get_response(HTTPUnauthorized()).headers["Www-Authenticate"] == f'Swift realm="{realm}"'


def test_raising():
    @wsgify
    def app(request):
        raise HTTPConflict(request=request, headers={"X-Backend-Timestamp": "1"})

    status, headers, _ = call(app)
    assert status == "409 Conflict" and headers["x-backend-timestamp"] == "1"
    with pytest.raises(HTTPException):
        raise HTTPConflict()


def test_location_is_made_absolute():
    response = HTTPSeeOther(location="/v1/x")
    assert call(response, headers={"Host": "h:80"})[1]["Location"] == "http://h/v1/x"
    assert (
        call(HTTPSeeOther(location="/x"), environ={"swift.leave_relative_location": True})[1]["Location"]
        == "/x"
    )


def test_head_keeps_the_length_and_closes_the_body():
    closed = []

    class Body:
        def __iter__(self):
            yield b"abc"

        def close(self):
            closed.append(1)

    response = Response(app_iter=Body(), headers={"Content-Length": "3"})
    status, headers, body = call(response, environ={"REQUEST_METHOD": "HEAD"})
    assert body == b"" and headers["Content-Length"] == "3" and closed == [1]
    assert call(Response(body="abcd"), environ={"REQUEST_METHOD": "HEAD"})[1]["Content-Length"] == "4"


def test_response_attributes():
    response = Response(status="201 Created", headers=[("x-a", "1")], etag="abc")
    assert response.status_int == 201 and response.is_success
    assert response.headers["Etag"] == '"abc"' and response.etag == "abc"
    response.last_modified = 1000.2
    assert response.headers["Last-Modified"] == "Thu, 01 Jan 1970 00:16:41 GMT"
    assert response.last_modified == datetime.datetime.fromtimestamp(1001, datetime.timezone.utc)
    assert response.content_type == "text/html" and response.charset == "UTF-8"
    response.charset = "utf-16"
    assert response.headers["Content-Type"] == "text/html; charset=utf-16"
    response.app_iter = iter([b"a", b"b"])
    assert response.content_length is None and response.body == b"ab"
    response.app_iter = [b"a", b"b"]
    assert response.content_length == 2
    response.accept_ranges = "bytes"
    assert response.headers["Accept-Ranges"] == "bytes"
    with pytest.raises(TypeError):
        Response(nonsense=1)


def test_late_start_response():
    def app(environ, start_response):
        yield b""
        start_response("200 OK", [("X-A", "b")])
        yield b"x"
        yield b"y"

    assert call(app) == ("200 OK", {"X-A": "b"}, b"xy")
    with pytest.raises(AssertionError):
        Request.blank("/").call_application(lambda environ, start_response: [])


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ({"If-None-Match": "x, abc"}, 304, b""),
        ({"If-None-Match": "*"}, 304, b""),
        ({"If-None-Match": 'W/"abc"'}, 200, b"0123456789"),
        ({"If-Match": '"abc"'}, 200, b"0123456789"),
        ({"If-Match": "x"}, 412, b""),
        ({"If-Match": ""}, 412, b""),
        ({"If-None-Match": ""}, 200, b"0123456789"),
        ({"If-Modified-Since": "Thu, 01 Jan 1970 00:16:41 GMT"}, 304, b""),
        ({"If-Modified-Since": "Thu, 01 Jan 1970 00:16:40 GMT"}, 200, b"0123456789"),
        ({"If-Modified-Since": "rubbish"}, 200, b"0123456789"),
        ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:16:40 GMT"}, 412, b""),
        # a date does not count beside the ETag header of its kind
        ({"If-None-Match": "x", "If-Modified-Since": "Thu, 01 Jan 1971 00:16:41 GMT"}, 200, b"0123456789"),
        ({"If-None-Match": "abc", "If-Modified-Since": "Thu, 01 Jan 1970 00:16:40 GMT"}, 304, b""),
        ({"If-Match": "abc", "If-Unmodified-Since": "Thu, 01 Jan 1970 00:16:40 GMT"}, 200, b"0123456789"),
        ({"If-Match": "x", "If-Unmodified-Since": "Thu, 01 Jan 1971 00:16:40 GMT"}, 412, b""),
        # what would forbid an answer comes before what would save one
        ({"If-Match": "x", "If-None-Match": "abc"}, 412, b""),
        ({"If-Match": "abc", "If-None-Match": "abc"}, 304, b""),
        ({"If-Match": "abc", "If-Modified-Since": "Thu, 01 Jan 1970 00:16:41 GMT"}, 304, b""),
        (
            {
                "If-Unmodified-Since": "Thu, 01 Jan 1970 00:16:40 GMT",
                "If-Modified-Since": "Thu, 01 Jan 1971 00:16:41 GMT",
            },
            412,
            b"",
        ),
        ({"Range": "bytes=2-3"}, 206, b"23"),
        ({"Range": "bytes=-3"}, 206, b"789"),
        ({"Range": "bytes=20-"}, 416, None),
        ({"Range": "bytes=x"}, 200, b"0123456789"),
    ],
)
def test_conditions_and_ranges(headers, status, body):
    request = Request.blank("/v1/a/c/o", headers=headers)
    response = request.get_response(
        Response(body="0123456789", etag="abc", last_modified=1001, conditional_response=True)
    )
    assert response.status_int == status and (body is None or response.body == body)
    assert response.content_length == len(response.body)
    assert response.headers["Content-Type"] == "text/html; charset=UTF-8"
    plain = request.get_response(Response(body="0123456789", etag="abc"))
    assert plain.status_int == 200


LAST_MODIFIED = "Thu, 01 Jan 1970 00:16:41 GMT"


@pytest.mark.parametrize(
    ("header", "is_part"),
    [
        ('"abc"', True),
        ("abc", True),  # as our proxies show it
        ('"abd"', False),
        ("abd", False),
        ('W/"abc"', False),  # weak tags name no bytes
        ("*", False),
        ("", False),
        ('"abc", "x"', False),  # one validator, not a list
        (LAST_MODIFIED, True),
        ("Thu, 01 Jan 1970 00:16:40 GMT", False),
        ("Thu, 01 Jan 1970 00:16:42 GMT", False),  # not "since": exactly
        ("Thursday, 01-Jan-70 00:16:41 GMT", True),
        ("rubbish", False),
    ],
)
@pytest.mark.parametrize("ranges,part", [("2-3", b"23"), ("20-", None), ("0-1,5-6", None)])
def test_a_range_counts_only_for_the_entity_that_if_range_names(header, is_part, ranges, part):
    headers = {"If-Range": header, "Range": f"bytes={ranges}"}
    response = Request.blank("/v1/a/c/o", headers=headers).get_response(
        Response(body="0123456789", etag="abc", last_modified=1001, conditional_response=True)
    )
    if not is_part:
        assert (response.status_int, response.body) == (200, b"0123456789")
        assert "Content-Range" not in response.headers
    elif ranges == "20-":
        assert response.status_int == 416
    else:
        assert response.status_int == 206 and part in (None, response.body)


def test_if_range_without_a_range_changes_nothing():
    response = Request.blank("/", headers={"If-Range": '"x"'}).get_response(
        Response(body="0123456789", etag="abc", conditional_response=True)
    )
    assert (response.status_int, response.body) == (200, b"0123456789")


def test_a_date_names_no_entity_that_was_changed_in_this_second():
    """It may be changed again, and then the same date would stand for other bytes."""
    for age, status in ((0, 200), (-1, 200), (2, 206)):
        when = int(clock.time()) - age
        date = email.utils.formatdate(when, usegmt=True)
        request = Request.blank("/", headers={"If-Range": date, "Range": "bytes=0-1"})
        made = Response(body="0123456789", etag="abc", last_modified=when, conditional_response=True)
        assert request.get_response(made).status_int == status


def test_if_match_star_on_missing():
    request = Request.blank("/v1/a/c/o", headers={"If-Match": "*"})
    assert request.get_response(HTTPNotFound(conditional_response=True)).status_int == 412


def test_multi_range_body():
    request = Request.blank("/", headers={"Range": "bytes=0-0,9-9"})
    response = request.get_response(
        Response(body="0123456789", content_type="a/b", conditional_response=True)
    )
    kind, _, boundary = response.headers["Content-Type"].partition(";boundary=")
    assert response.status_int == 206 and kind == "multipart/byteranges" and len(boundary) == 32
    expected = "".join(
        f"--{boundary}\r\nContent-Type: a/b\r\nContent-Range: bytes {n}-{n}/10\r\n\r\n{n}\r\n" for n in (0, 9)
    )
    assert response.body == (expected + f"--{boundary}--").encode()
    assert int(response.headers["Content-Length"]) == len(response.body)


def test_accept():
    def best(header, *options):
        return Request.blank("/", headers={"Accept": header}).accept.best_match(options)

    assert Request.blank("/").accept.best_match(["a/b", "c/d"]) == "a/b"
    assert (
        best("text/xml;q=0.5, application/json", "text/plain", "application/json", "text/xml")
        == "application/json"
    )
    assert best("*/*", "a/b") == "a/b" and best("text/*", "a/b", "text/xml") == "text/xml"
    assert best("*/*, text/xml", "text/plain", "text/xml") == "text/xml"
    assert best("image/png", "a/b") is None
    for bad in ("text", "a/b;q=x", "*/json", "te*t/xml", "a/b;;"):
        with pytest.raises(ValueError, match=".+"):
            best(bad, "a/b")


def test_blank_accepts_a_full_url_and_input():
    request = Request.blank("https://h/x?y=1", environ={"wsgi.input": io.BytesIO(b"z")}, method="PUT")
    assert request.url == "https://h/x?y=1" and request.method == "PUT" and request.body == b"z"
