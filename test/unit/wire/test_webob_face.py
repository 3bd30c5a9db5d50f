"""What WebOb's classes promise either works on ours or is refused by name; cookies; bodies that are read whole."""

import copy
import io
import pickle

import pytest
import webob
import webob.request

from swift.core.errors import EntityTooLarge
from swift.wire import request as request_module
from swift.wire.message import HeaderKeyDict, HTTPForbidden, Request, Response, wsgify
from swift.wire.webob_face import NotOffered, _Blocked


def public(cls):
    return {name for name in dir(cls) if not name.startswith("_")}


def blocked(cls):
    return {name for name in public(cls) if isinstance(vars(cls).get(name), _Blocked)}


def inherited(cls):
    """What comes from WebOb as it is."""
    defining = {name: next(base for base in cls.__mro__ if name in vars(base)) for name in public(cls)}
    return {name for name, base in defining.items() if base.__module__.startswith("webob")}


def test_nothing_of_webob_does_half_of_what_it_promises():
    for name in ("POST", "GET", "copy", "text", "json", "as_bytes", "body_file_seekable", "path_info_pop"):
        assert name in blocked(Request)
        with pytest.raises(NotOffered, match=f"Request.{name} is not offered"):
            getattr(Request.blank("/"), name)
    for name in ("copy", "md5_etag", "encode_content", "json_body", "write", "merge_cookies", "body_file"):
        assert name in blocked(Response)
        with pytest.raises(NotOffered, match=f"Response.{name} is not offered"):
            getattr(Response(), name)
        with pytest.raises(NotOffered):
            setattr(Response(), name, b"x")
    with pytest.raises(NotOffered):
        Request.from_bytes(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(NotOffered, match="Response.copy"):
        HTTPForbidden().copy()
    assert not hasattr(Request.blank("/"), "POST")
    # every name of theirs is one of ours, works (below), or is refused
    assert public(webob.request.BaseRequest) <= public(Request)
    assert public(webob.Response) <= public(Response)


HEADERS = {
    "accept_ranges": ("bytes", "Accept-Ranges"),
    "age": (5, "Age"),
    "allow": (("GET", "PUT"), "Allow"),
    "content_disposition": ("attachment", "Content-Disposition"),
    "content_encoding": ("gzip", "Content-Encoding"),
    "content_language": (("en",), "Content-Language"),
    "content_location": ("/x", "Content-Location"),
    "content_md5": ("abc=", "Content-Md5"),
    "content_range": ((0, 5, 10), "Content-Range"),
    "date": ("Thu, 01 Jan 1970 00:16:41 GMT", "Date"),
    "expires": ("Thu, 01 Jan 1970 00:16:41 GMT", "Expires"),
    "pragma": ("no-cache", "Pragma"),
    "retry_after": (7, "Retry-After"),
    "server": ("x", "Server"),
    "vary": (("Accept", "Origin"), "Vary"),
    "www_authenticate": ('Basic realm="x"', "Www-Authenticate"),
    "charset": ("latin-1", "Content-Type"),
}
CONSTANTS = {"default_charset", "default_content_type", "default_body_encoding", "unicode_errors"}


def test_the_header_attributes_that_are_offered_work():
    assert inherited(Response) - {"request", "environ"} == set(HEADERS) | CONSTANTS
    for name, (value, header) in HEADERS.items():
        response = Response(body=b"x")
        setattr(response, name, value)
        assert header in response.headers and header in dict(response.headerlist)
        assert getattr(response, name) is not None
        if name != "charset":
            delattr(response, name)
            assert header not in response.headers


def test_the_views_of_the_environ_that_are_offered_work():
    request = Request.blank(
        "https://host:8443/v1/a?x=1",
        headers={
            "Cookie": "a=b; c=d",
            "Authorization": "Basic abc",
            "Date": "Thu, 01 Jan 1970 00:16:41 GMT",
            "Max-Forwards": "3",
            "Pragma": "no-cache",
            "X-Requested-With": "XMLHttpRequest",
            "Accept-Language": "en",
            "Accept-Encoding": "gzip",
        },
        environ={"REMOTE_ADDR": "10.1.2.3", "REMOTE_HOST": "peer"},
    )
    seen = {name: getattr(request, name) for name in inherited(Request)}
    assert dict(seen.pop("cookies")) == {"a": "b", "c": "d"}
    assert seen["authorization"][0] == "Basic" and seen["max_forwards"] == 3 and seen["is_xhr"]
    assert seen["scheme"] == "https" and seen["host_port"] == "8443" and seen["domain"] == "host"
    assert seen["client_addr"] == "10.1.2.3" and seen["remote_host"] == "peer"


# -- cookies ---------------------------------------------------------------------------------------------------------------


def cookies(headers):
    return [value for name, value in headers if name == "Set-Cookie"]


def test_several_cookies_reach_the_client():
    response = Response(body=b"x")
    response.set_cookie("a", "1", httponly=True, secure=True, samesite="Lax", max_age=60)
    response.set_cookie("b", "2", path="/v1")
    response.delete_cookie("c")
    status, headers, _ = Request.blank("/").call_application(response)
    first, second, third = cookies(headers)
    assert first.startswith("a=1; ") and "HttpOnly" in first and "secure" in first and "SameSite=Lax" in first
    assert second == "b=2; Path=/v1" and third.startswith("c=; Max-Age=0")
    # and through whatever makes a response of a response
    again = Request.blank("/").get_response(Response(headers=headers, app_iter=[b"x"]))
    assert cookies(again.headerlist) == [first, second, third]
    for name, value, path in (
        ("a\r\nX", "1", "/"),
        ("", "1", "/"),
        ("a", "1\r\nX: y", "/"),
        ("a", "b;c", "/"),
        ("a", "é", "/"),
        ("a", "1", "/;\n"),
    ):
        with pytest.raises(ValueError, match="not a cookie"):
            response.set_cookie(name, value, path=path)


def test_a_name_occurs_once_unless_it_is_set_cookie():
    headers = HeaderKeyDict([("set-cookie", "a"), ("X", "1"), ("Set-Cookie", "b"), ("x", "2")])
    assert headers.pairs() == [("Set-Cookie", "a"), ("Set-Cookie", "b"), ("X", "2")]
    assert headers["set-cookie"] == "b" and list(headers.items()) == [("Set-Cookie", "b"), ("X", "2")]
    headers.update([("Set-Cookie", "c")])
    for same in (
        headers.copy(),
        copy.deepcopy(headers),
        pickle.loads(pickle.dumps(headers)),
        HeaderKeyDict(headers),
    ):
        assert cookies(same.pairs()) == ["a", "b", "c"]
    headers["Set-Cookie"] = headers["Set-Cookie"]
    assert cookies(headers.pairs()) == ["a", "b", "c"]
    headers["Set-Cookie"] = "d"
    assert cookies(headers.pairs()) == ["d"]
    headers.update({"Set-Cookie": "e"})
    assert cookies(headers.pairs()) == ["e"]
    headers.add("Vary", "Accept")
    headers.add("Vary", "Origin")
    assert headers["Vary"] == "Accept, Origin" and len(headers.pairs()) == 3
    del headers["Set-Cookie"]
    assert cookies(headers.pairs()) == []


# -- bodies read whole -----------------------------------------------------------------------------------------------------


class Endless:
    """A client that never stops."""

    def __init__(self):
        self.given = 0

    def read(self, size=-1):
        assert 0 <= size <= 1 << 26, "without a limit"
        size = min(size, 1 << 20)
        self.given += size
        return b"x" * size


def test_a_body_is_read_whole_and_stays_for_the_next():
    request = Request.blank("/", method="POST", body=b"k=v")
    assert request.body == request.body == request.read_body(3) == b"k=v"
    assert request.environ["wsgi.input"].read() == b"k=v"


def test_a_body_without_end_is_refused():
    endless = Endless()
    request = Request.blank("/", environ={"wsgi.input": endless})
    with pytest.raises(EntityTooLarge):
        _ = request.body
    assert endless.given == request_module.MAX_BODY + 1
    with pytest.raises(EntityTooLarge):
        Request.blank("/", body=b"1234").read_body(3)

    @wsgify
    def app(request):
        return Response(body=request.body)

    answer = Request.blank("/", environ={"wsgi.input": Endless()}).get_response(app)
    assert answer.status_int == 413 and b"longer than" in answer.body
    assert Request.blank("/", environ={"wsgi.input": io.BytesIO(b"abc")}).get_response(app).body == b"abc"
