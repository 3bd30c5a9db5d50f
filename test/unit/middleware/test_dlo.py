"""Dynamic large objects: what a common beginning of names stands for (spec middleware 4.22)."""

from __future__ import annotations

import json

import pytest

from swift.core import constraints
from swift.core.hashing import md5
from swift.middleware.dlo import DloFilter, parse_options
from swift.wire.errors import ResponseBroken
from swift.wire.message import HTTPServiceUnavailable, Request, Response
from test.unit.middleware.filter_stand_ins import call, memory_logger
from test.unit.middleware.stored_objects import Store

ETAG = "eafb79e7551581038dff8567b1c38941"
OF_NOTHING = "d41d8cd98f00b204e9800998ecf8427e"
WHOLE = b"aaaaabbbbbccc"


@pytest.fixture
def store():
    made = Store()
    for name, data in (("a", b"aaaaa"), ("b", b"bbbbb"), ("c", b"ccc")):
        made.put(f"/seg/p/{name}", data)
    made.put("/seg/q", b"not meant")
    made.put("/c/dlo", b"", X_Object_Manifest="seg/p/", Content_Type="text/x-dlo")
    return made


@pytest.fixture
def dlo(store):
    return DloFilter(store, {"rate_limit_segments_per_sec": "0"}, memory_logger()[0])


def test_what_it_stands_for(dlo, store):
    answer = call(dlo, "/v1/a/c/dlo", headers={"X-Auth-Token": "t"})
    assert (answer.status, answer.body) == ("200 OK", WHOLE)
    assert answer.headers["Etag"] == f'"{ETAG}"'
    assert answer.headers["Content-Length"] == "13"
    assert answer.headers["Content-Type"] == "text/x-dlo"
    assert answer.headers["X-Object-Manifest"] == "seg/p/"
    head = call(dlo, "/v1/a/c/dlo", "HEAD")
    assert (head.body, head.headers) == (b"", answer.headers)
    inner = store.environs[1]
    assert (inner["PATH_INFO"], inner["QUERY_STRING"]) == (
        "/v1/a/seg",
        "format=json&prefix=p%2F",
    )
    assert inner["HTTP_X_AUTH_TOKEN"] == "t"
    assert inner["swift.source"] == "DLO"
    assert inner["HTTP_USER_AGENT"] == "DLO MultipartGET"


@pytest.mark.parametrize(
    ("header", "status", "body"),
    [
        ("bytes=0-3", 206, b"aaaa"),
        ("bytes=3-9", 206, b"aabbbbb"),
        ("bytes=-4", 206, b"bccc"),
        ("bytes=0-1,6-8", 200, WHOLE),
        ("junk", 200, WHOLE),
    ],
)
def test_ranges(dlo, header, status, body):
    answer = call(dlo, "/v1/a/c/dlo", headers={"Range": header})
    assert (answer.status_int, answer.body) == (status, body)
    assert answer.headers["Content-Length"] == str(len(body))


def test_ranges_that_are_not_there(dlo):
    for method in ("GET", "HEAD"):
        answer = call(dlo, "/v1/a/c/dlo", method, headers={"Range": "bytes=20-"})
        assert answer.status_int == 416
        assert answer.headers["Content-Range"] == "bytes */13"
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert "X-Object-Manifest" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": ETAG}, 200),
        ({"If-Match": "x"}, 412),
        ({"If-Match": OF_NOTHING}, 412),
        ({"If-Match": "*"}, 200),
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": ETAG, "Range": "bytes=0-3"}, 304),
        ({"If-None-Match": OF_NOTHING}, 200),
        ({"If-None-Match": "*"}, 304),
        ({"If-Modified-Since": "Fri, 01 Jan 2038 00:00:00 GMT"}, 304),
        ({"If-Unmodified-Since": "Fri, 01 Jan 2010 00:00:00 GMT"}, 412),
        ({"If-Range": ETAG, "Range": "bytes=0-3"}, 206),
        ({"If-Range": "x", "Range": "bytes=0-3"}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions_are_about_what_it_stands_for(dlo, method, headers, status):
    answer = call(dlo, "/v1/a/c/dlo", method, headers=headers)
    assert answer.status_int == (200 if status == 206 and method == "HEAD" else status)
    assert answer.headers["Etag"] == f'"{ETAG}"'
    if answer.status_int == 200:
        assert answer.headers["Content-Type"] == "text/x-dlo"
        assert answer.body == (WHOLE if method == "GET" else b"")


def test_the_manifest_itself(dlo, store):
    answer = call(dlo, "/v1/a/c/dlo?multipart-manifest=get")
    assert (answer.body, answer.headers["Etag"]) == (b"", OF_NOTHING)
    assert len(store.requests) == 1


def test_nothing_begins_so(dlo, store):
    store.put("/c/none", b"data", X_Object_Manifest="seg/none")
    answer = call(dlo, "/v1/a/c/none")
    assert (answer.status_int, answer.body, answer.headers["Etag"]) == (200, b"", f'"{OF_NOTHING}"')


def test_a_listing_that_fails_is_the_answer(dlo, store):
    store.answers["GET", "/v1/a/seg"] = lambda environ: HTTPServiceUnavailable(request=Request(environ))
    assert call(dlo, "/v1/a/c/dlo").status_int == 503


@pytest.mark.parametrize("value", ["junk", "junk/", "/p", "%2Fx"])
def test_a_manifest_that_says_nothing(dlo, store, value):
    store.put("/c/bad", b"", X_Object_Manifest=value)
    assert call(dlo, "/v1/a/c/bad").status_int == 409


WELL_FORMED = [
    "seg/p",
    "seg/p%3Fx",
    "seg/p%26x",
    "seg/p x",
    "seg/%2Fp",
    "seg/p#x",
    "%73eg/p",
    "seg/\u00c3\u00a9",
    "seg/%FF",
]
ILL_FORMED = ["seg", "seg/", "/seg/p", "seg//p", "/p", "seg/p?x", "seg/p&x", "seg%2Fp", ""]


@pytest.mark.parametrize("value", WELL_FORMED)
def test_what_a_client_may_say(dlo, store, value):
    environ = {"HTTP_X_OBJECT_MANIFEST": value, "CONTENT_LENGTH": "0"}
    assert call(dlo, "/v1/a/c/new", "PUT", environ=dict(environ)).status_int == 201
    assert store.objects["/v1/a/c/new"][0]["X-Object-Manifest"] == value


@pytest.mark.parametrize("value", ILL_FORMED)
def test_what_a_client_may_not_say(dlo, store, value):
    for method in ("PUT", "POST"):
        if method == "POST" and not value:
            continue  # takes it away
        answer = call(dlo, "/v1/a/c/new", method, environ={"HTTP_X_OBJECT_MANIFEST": value})
        assert (answer.status_int, answer.body) == (
            400,
            b"X-Object-Manifest must be in the format container/prefix",
        )
    assert store.requests == []


def test_names_with_everything(dlo, store):
    """Names are native in a listing, and raw in the path of a request."""
    name = "p/\u00e4 ?#%41\n\"';x"
    store.put(f"/seg/{name.encode().decode('latin-1')}", b"odd")
    row = {"name": name, "bytes": 3, "hash": "h"}
    store.answers["GET", "/v1/a/seg"] = lambda environ: Response(
        body=json.dumps([row]), request=Request(environ)
    )
    store.put("/c/odd", b"", X_Object_Manifest="seg/p/%C3%A4")
    assert call(dlo, "/v1/a/c/odd").body == b"odd"
    assert store.requests[1][2] == "format=json&prefix=p%2F%C3%A4"


# -- pages


@pytest.fixture
def pages(store, monkeypatch):
    monkeypatch.setattr(constraints, "_limits", constraints.Limits(container_listing_limit=2))
    store.page = 2
    return store


def test_more_than_one_page(dlo, pages):
    """Nobody knows the length; pages are listed as they are needed, and the ETag is the manifest's own."""
    answer = call(dlo, "/v1/a/c/dlo")
    assert (answer.status_int, answer.body) == (200, WHOLE)
    assert "Content-Length" not in answer.headers
    assert answer.headers["Etag"] == OF_NOTHING
    listings = [query for _, path, query, _ in pages.requests if path == "/v1/a/seg"]
    assert listings == ["format=json&prefix=p%2F", "format=json&prefix=p%2F&marker=p%2Fb"]
    for header in ("bytes=-4", "bytes=0-1,3-4", "bytes=8-11", "bytes=20-"):
        assert call(dlo, "/v1/a/c/dlo", headers={"Range": header}).body == WHOLE
    head = call(dlo, "/v1/a/c/dlo", "HEAD")
    assert "Content-Length" not in head.headers


def test_a_page_that_fails_breaks_the_body_off(dlo, pages):
    first = call(pages, "/v1/a/seg?prefix=p/").body

    def listing(environ):
        if "marker" in environ["QUERY_STRING"]:
            return HTTPServiceUnavailable(request=Request(environ))
        return Response(body=first, request=Request(environ))

    pages.answers["GET", "/v1/a/seg"] = listing
    answer = call(dlo, "/v1/a/c/dlo", read=False)
    got = []
    with pytest.raises(ResponseBroken):
        for piece in answer.raw_body:
            got.append(piece)
    assert b"".join(got) == b"aaaaabbbbb"
    answer.raw_body.close()
    assert pages.open == set()


@pytest.mark.parametrize(
    "body", [b"{}x", b"[1]", b'[{"name": "p/a"}]', b'[{"name": "p/a", "bytes": "x", "hash": "h"}]']
)
def test_what_is_no_listing(dlo, store, body):
    store.answers["GET", "/v1/a/seg"] = lambda environ: Response(body=body, request=Request(environ))
    assert call(dlo, "/v1/a/c/dlo").status_int == 503


# -- segments


@pytest.mark.parametrize("data", [b"longer than listed", b"", None])
def test_segments_that_are_not_as_listed(dlo, store, data):
    """A listing may be behind; what it promised is what a client gets, or nothing."""
    rows = call(store, "/v1/a/seg?prefix=p/").body
    store.answers["GET", "/v1/a/seg"] = lambda environ: Response(body=rows, request=Request(environ))
    for name, status in (("a", 409), ("b", 200)):
        kept = store.objects[f"/v1/a/seg/p/{name}"]
        if data is None:
            del store.objects[f"/v1/a/seg/p/{name}"]
        else:
            store.put(f"/seg/p/{name}", data)
        answer = call(dlo, "/v1/a/c/dlo", read=False)
        assert answer.status_int == status
        if status == 200:
            with pytest.raises(ResponseBroken):
                list(answer.raw_body)
            answer.raw_body.close()
        store.objects[f"/v1/a/seg/p/{name}"] = kept
    assert store.open == set()


def test_what_is_a_static_one_too_is_left_to_the_filter_for_these(dlo, store):
    store.put("/c/both", b"[]", X_Object_Manifest="seg/p/", X_Static_Large_Object="True")
    assert call(dlo, "/v1/a/c/both").body == b"[]"


def test_other_objects_pass_as_they_are(dlo, store):
    assert call(dlo, "/v1/a/seg/q", headers={"Range": "bytes=0-2"}).body == b"not"
    body = object()
    dlo.app = lambda environ, start_response: (start_response("200 OK", []), body)[1]
    assert dlo(Request.blank("/v1/a/c/o").environ, lambda *_: None) is body


def test_an_application_that_begins_late(dlo, store):
    dlo.app = lambda environ, start_response: (piece for piece in store(environ, start_response))
    assert call(dlo, "/v1/a/c/dlo").body == WHOLE


# -- configuration


def test_options_of_old_stand_in_the_proxys_section(tmp_path):
    path = tmp_path / "proxy-server.conf"
    path.write_text("[app:proxy-server]\nrate_limit_after_segment = 7\nmax_get_time = 9\n[filter:dlo]\n")
    found = parse_options({"__file__": str(path)})
    assert (found.rate_limit_after_segment, found.max_get_time) == (7, 9)
    own = parse_options({"__file__": str(path), "max_get_time": "5"})
    assert (own.rate_limit_after_segment, own.max_get_time) == (10, 5)


def test_md5_of_md5s():
    made = md5("".join(md5(data).hexdigest() for data in (b"aaaaa", b"bbbbb", b"ccc")).encode()).hexdigest()
    assert made == ETAG
