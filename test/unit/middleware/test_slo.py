"""Static large objects: PUT, GET, HEAD, DELETE of manifests, with what the reference's clients see (spec middleware 4.21)."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.core import capabilities, clock
from swift.core.concurrency import kill, sleep, spawn
from swift.core.errors import ConfigError
from swift.core.hashing import md5
from swift.middleware.slo import SloFilter, filter_factory, listing, manifest, reading, upload
from swift.middleware.slo.deleting import MANIFEST_FIRST
from swift.wire.errors import ResponseBroken
from swift.wire.message import HTTPForbidden, HTTPServiceUnavailable, Request, Response
from test.unit.middleware.filter_stand_ins import call, memory_logger
from test.unit.middleware.stored_objects import Store

PUT = "?multipart-manifest=put"
DATA = base64.b64encode(b"ggg").decode()
VECTOR_ETAG = "ce4673b65c709d51e0ca5c5da7b7232a"


def etag(data: bytes) -> str:
    return md5(data).hexdigest()


@pytest.fixture
def store():
    made = Store()
    made.put("/seg/a", b"aaaaa")
    made.put("/seg/b", b"bbbbb")
    made.put("/seg/c", b"ccc")
    return made


@pytest.fixture
def slo(store):
    return SloFilter(store, {"rate_limit_segments_per_sec": "0"}, memory_logger()[0])


def put(slo, items, path="/v1/a/c/slo", query=PUT, **headers):
    body = items if isinstance(items, bytes) else json.dumps(items).encode()
    return call(
        slo,
        path + query,
        "PUT",
        headers=headers,
        environ={"wsgi.input": _input(body), "CONTENT_LENGTH": str(len(body))},
    )


def _input(body):
    import io

    return io.BytesIO(body)


VECTOR = [
    {"path": "/seg/a", "etag": etag(b"aaaaa"), "size_bytes": 5},
    {"path": "/seg/b", "range": "1-3"},
    {"data": DATA},
    {"path": "/seg/c", "range": "0-2"},
]
WHOLE = b"aaaaabbbgggccc"


@pytest.fixture
def vector(slo):
    answer = put(slo, VECTOR, **{"Content-Type": "text/x-slo", "X-Object-Meta-Foo": "bar"})
    assert (answer.status, answer.headers["Etag"]) == ("201 Created", f'"{VECTOR_ETAG}"')
    return slo


# -- PUT


def test_what_is_stored(vector, store):
    headers, body = store.objects["/v1/a/c/slo"]
    assert body == (
        b'[{"name": "/seg/a", "bytes": 5, "hash": "594f803b380a41396ed63dca39503542", "content_type": "text/plain", '
        b'"last_modified": "2026-11-30T01:00:00.000000"}, {"name": "/seg/b", "bytes": 5, "hash": '
        b'"a21075a36eeddd084e17611a238c7101", "content_type": "text/plain", "last_modified": '
        b'"2026-11-30T01:00:00.000000", "range": "1-3"}, {"data": "Z2dn"}, {"name": "/seg/c", "bytes": 3, "hash": '
        b'"9df62e693988eb4e1e1444ece0578579", "content_type": "text/plain", "last_modified": "2026-11-30T01:00:00.000000"}]'
    )
    assert headers["X-Static-Large-Object"] == "True"
    assert headers["X-Object-Sysmeta-Slo-Etag"] == VECTOR_ETAG
    assert headers["X-Object-Sysmeta-Slo-Size"] == "14"
    assert headers["Content-Type"] == "text/x-slo;swift_bytes=14"
    override = headers["X-Object-Sysmeta-Container-Update-Override-Etag"]
    assert override == f"{etag(body)}; slo_etag={VECTOR_ETAG}"


@pytest.mark.parametrize("given", [{}, {"Content-Type": ""}, {"Content-Type": "text/plain"}])
def test_a_type_that_is_guessed_is_guessed_once(slo, store, given):
    """The proxy's guess would not say how large the object is."""
    headers = {**given, "X-Detect-Content-Type": "true"}
    assert put(slo, VECTOR, path="/v1/a/c/slo.png", **headers).status == "201 Created"
    assert store.environs[-1]["CONTENT_TYPE"] == "image/png;swift_bytes=14"
    assert "HTTP_X_DETECT_CONTENT_TYPE" not in store.environs[-1]


def test_who_knows_the_segments_has_only_the_others_looked_at(store):
    """As a completion of S3's does, which has them from a listing; such a manifest may be as long as it is."""
    slo = SloFilter(store, {"max_manifest_segments": "1", "max_manifest_size": "10"}, memory_logger()[0])
    modified = "Mon, 30 Nov 2026 01:00:00 GMT"
    head = upload.Head("", 5, etag(b"aaaaa"), "text/plain", modified)
    items = [
        upload.Wanted(None, name, name, digest) for name, digest in (("/seg/a", head.etag), ("/seg/b", None))
    ]
    environ = {upload.KNOWN: upload.Known(items, {"/seg/a": head})}
    answer = call(slo, "/v1/a/c/slo" + PUT, "PUT", environ=environ)
    assert answer.status == "201 Created"
    assert [one["PATH_INFO"] for one in store.environs if one["REQUEST_METHOD"] == "HEAD"] == ["/v1/a/seg/b"]
    stored = json.loads(store.objects["/v1/a/c/slo"][1])
    assert [(item["name"], item["bytes"], item["last_modified"]) for item in stored] == [
        ("/seg/a", 5, "2026-11-30T01:00:00.000000"),
        ("/seg/b", 5, "2026-11-30T01:00:00.000000"),
    ]
    assert upload.KNOWN not in store.environs[-1]


def test_segments_are_looked_at_once_each_with_the_clients_rights(slo, store):
    put(
        slo,
        [{"path": "/seg/a"}, {"path": "/seg/a", "range": "0-1"}, {"path": "seg/b"}],
        **{"X-Auth-Token": "t"},
    )
    heads = [environ for environ in store.environs if environ["REQUEST_METHOD"] == "HEAD"]
    assert sorted(environ["PATH_INFO"] for environ in heads) == ["/v1/a/seg/a", "/v1/a/seg/b"]
    for environ in heads:
        assert environ["HTTP_X_AUTH_TOKEN"] == "t"
        assert environ["swift.source"] == "SLO"
        assert environ["HTTP_USER_AGENT"] == "SLO MultipartPUT"
        assert not environ["QUERY_STRING"]
    assert len(store.done) == len(heads)  # loggers were told


WRONG = [
    (b"", "Manifest must be valid JSON.\n"),
    (b"x", "Manifest must be valid JSON.\n"),
    (b"\xff", "Manifest must be valid JSON.\n"),
    (b"[" * 100_000, "Manifest must be valid JSON.\n"),
    (b'[{"path": "/seg/a\\ud800"}]', "Manifest must be valid JSON.\n"),
    (b'[{"path": "/seg/a", "size_bytes": 1e400}]', "Manifest must be valid JSON.\n"),
    ({}, "Manifest must be a list.\n"),
    (None, "Manifest must be a list.\n"),
    ("abc", "Manifest must be a list.\n"),
    ([1], "Index 0: not a JSON object\n"),
    ([{"foo": 1}], "Index 0: expected keys to include one of 'data' or 'path'\n"),
    ([{"path": 1}], 'Index 0: "path" must be a string\n'),
    ([{"path": "/seg/a", "zed": 1, "abc": 2}], 'Index 0: extraneous keys "abc", "zed"\n'),
    ([{"path": "/seg/a", "etag": 1}], 'Index 0: "etag" must be a string or null (if provided)\n'),
    (
        [{"path": "seg"}],
        "Index 0: path does not refer to an object. Path must be of the form /container/object.\n",
    ),
    (
        [{"path": "/seg/"}],
        "Index 0: path does not refer to an object. Path must be of the form /container/object.\n",
    ),
    (
        [{"path": ""}],
        "Index 0: path does not refer to an object. Path must be of the form /container/object.\n",
    ),
    ([{"path": "/seg/a", "size_bytes": "x"}], "Index 0: invalid size_bytes\n"),
    ([{"path": "/seg/a", "size_bytes": []}], "Index 0: invalid size_bytes\n"),
    ([{"path": "/seg/a", "size_bytes": ""}], "Index 0: invalid size_bytes\n"),
    (
        [{"path": "/seg/a", "size_bytes": 0}, {"path": "/seg/b"}],
        "Index 0: too small; each segment must be at least 1 byte.\n",
    ),
    ([{"path": "/c/slo"}], "Index 0: manifest must not include itself as a segment\n"),
    ([{"path": "c/slo"}], "Index 0: manifest must not include itself as a segment\n"),
    ([{"path": "/seg/a", "range": "x"}], "Index 0: invalid range\n"),
    ([{"path": "/seg/a", "range": 5}], "Index 0: invalid range\n"),
    ([{"path": "/seg/a", "range": "5-3"}], "Index 0: invalid range\n"),
    ([{"path": "/seg/a", "range": "0-1,3-4"}], "Index 0: multiple ranges (only one allowed)\n"),
    ([{"path": "/seg/a", "range": "9-10", "size_bytes": 5}], "Index 0: unsatisfiable range\n"),
    ([{"data": "!!"}, {"path": "/seg/a"}], "Index 0: data must be valid base64\n"),
    ([{"data": "YQ"}, {"path": "/seg/a"}], "Index 0: data must be valid base64\n"),
    ([{"data": "YQ==\n"}, {"path": "/seg/a"}], "Index 0: data must be valid base64\n"),
    ([{"data": 1}, {"path": "/seg/a"}], "Index 0: data must be valid base64\n"),
    ([{"data": None}, {"path": "/seg/a"}], "Index 0: data must be valid base64\n"),
    ([{"data": ""}, {"path": "/seg/a"}], "Index 0: too small; each segment must be at least 1 byte.\n"),
    ([{"data": "YQ=="}], "Inline data segments require at least one object-backed segment.\n"),
    (
        [{"data": "YQ==", "path": "/seg/a"}],
        'Index 0: extraneous keys "path"\nInline data segments require at least one object-backed segment.\n',
    ),
    (
        [{"path": "/seg/a"}, 1, None, []],
        "Index 1: not a JSON object\nIndex 2: not a JSON object\nIndex 3: not a JSON object\n",
    ),
]


@pytest.mark.parametrize(("items", "text"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_manifests_are_refused_and_nothing_is_asked_for(slo, store, items, text):
    answer = put(slo, items)
    assert (answer.status, answer.body.decode()) == ("400 Bad Request", text)
    assert store.requests == []


PROBLEMS = [
    ([{"path": "/seg/none"}], "/seg/none, 404 Not Found"),
    ([{"path": "seg/none"}], "seg/none, 404 Not Found"),
    ([{"path": "/seg/é"}], "/seg/%C3%A9, 404 Not Found"),
    ([{"path": "/seg/%61"}], "/seg/%2561, 404 Not Found"),
    ([{"path": "/seg/a", "range": "9-10"}], "/seg/a, Unsatisfiable Range"),
    ([{"path": "/seg/a", "range": "-0"}], "/seg/a, Unsatisfiable Range"),
    ([{"path": "/seg/a", "size_bytes": 9}], "/seg/a, Size Mismatch"),
    ([{"path": "/seg/a", "size_bytes": True}], "/seg/a, Size Mismatch"),
    ([{"path": "/seg/a", "etag": ""}], "/seg/a, Etag Mismatch"),
    ([{"path": "/seg/a", "etag": etag(b"aaaaa").upper()}], "/seg/a, Etag Mismatch"),
    ([{"path": "/seg/a", "etag": "x", "size_bytes": 9}], "/seg/a, Size Mismatch\n/seg/a, Etag Mismatch"),
    (
        [{"path": "/seg/empty"}, {"path": "/seg/a"}],
        "/seg/empty, Too small; each segment must be at least 1 byte.",
    ),
]


@pytest.mark.parametrize(("items", "text"), PROBLEMS, ids=lambda value: str(value)[:40])
def test_segments_that_are_not_as_said(slo, store, items, text):
    store.put("/seg/empty", b"")
    answer = put(slo, items)
    assert answer.status == "400 Bad Request"
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.body.decode() == f"Errors:\n{text}\n"
    assert "/v1/a/c/slo" not in store.objects


@pytest.mark.parametrize(
    ("accept", "body"),
    [
        ("application/json", b'{"Errors": [["/seg/x", "404 Not Found"]]}'),
        (
            "application/xml",
            b"<upload>\n<errors>\n<object><name>/seg/x</name><status>404 Not Found</status></object>\n</errors>\n</upload>\n",
        ),
        ("image/png", b"Errors:\n/seg/x, 404 Not Found\n"),
        ("junk", b"Errors:\n/seg/x, 404 Not Found\n"),
    ],
)
def test_problems_in_the_form_that_is_accepted(slo, accept, body):
    assert put(slo, [{"path": "/seg/x"}], Accept=accept).body == body


def test_the_servers_own_trouble_with_a_segment_is_told(slo, store):
    store.answers["HEAD", "/v1/a/seg/a"] = lambda environ: HTTPServiceUnavailable(request=Request(environ))
    answer = put(slo, [{"path": "/seg/a"}])
    assert answer.body == b"Errors:\n/seg/a, 503 Service Unavailable\n"


def test_what_is_accepted(slo):
    for items in (
        [],
        [{"path": "/seg/a", "size_bytes": "5"}],
        [{"path": "/seg/a", "size_bytes": 5.0, "etag": None, "range": None}],
        [{"path": "/seg/a", "range": ""}],
        [{"path": "//seg/a"}],
        [{"path": "/seg/a", "range": "-2"}],
        [{"path": "/seg/a"}, {"path": "/seg/b", "size_bytes": 5, "range": "2-1000"}],
    ):
        assert put(slo, items).status == "201 Created", items


def test_the_clients_etag_is_of_what_the_manifest_stands_for(slo, store):
    assert put(slo, VECTOR, Etag=VECTOR_ETAG).status == "201 Created"
    assert put(slo, VECTOR, Etag=f'"{VECTOR_ETAG}"').status == "201 Created"
    del store.objects["/v1/a/c/slo"]
    assert put(slo, VECTOR, Etag="x").status == "422 Unprocessable Entity"
    assert "/v1/a/c/slo" not in store.objects


def test_for_who_may_not_store_a_manifest_nothing_is_looked_at(slo, store):
    asked = []

    def authorize(request):
        asked.append(request.path_info)
        return HTTPForbidden(request=request)

    body = json.dumps([{"path": "/seg/a"}, {"path": "/seg/b"}]).encode()
    environ = {"wsgi.input": _input(body), "CONTENT_LENGTH": str(len(body)), "swift.authorize": authorize}
    assert call(slo, "/v1/a/c/slo" + PUT, "PUT", environ=environ).status_int == 403
    assert asked == ["/v1/a/c/slo"]
    assert not [request for request in store.requests if request[1].startswith("/v1/a/seg")]


def test_limits(store):
    slo = SloFilter(store, {"max_manifest_segments": "2", "max_manifest_size": "100"}, memory_logger()[0])
    answer = put(slo, [{"path": "/seg/a"}] * 3)
    assert (answer.status[:3], answer.body) == ("413", b"Number of object-backed segments must be <= 2")
    assert put(slo, [{"path": "/seg/a"}, {"data": "YQ=="}, {"data": "YQ=="}]).status == "201 Created"
    answer = put(slo, b" " * 101)
    assert (answer.status[:3], answer.body) == ("413", b"Manifest File > 100 bytes")
    endless = {"wsgi.input": _input(b" " * 1000), "HTTP_TRANSFER_ENCODING": "chunked"}
    assert call(slo, "/v1/a/c/slo" + PUT, "PUT", environ=endless).status[:3] == "413"
    assert call(slo, "/v1/a/c/slo" + PUT, "PUT").status[:3] == "411"


def test_a_copy_cannot_make_a_manifest(slo):
    assert put(slo, VECTOR, **{"X-Copy-From": "/c/x"}).status[:3] == "405"


def test_many_segments_are_looked_at_beside_each_other(store):
    """As many more at a time as go well; never more than the bound."""
    from swift.core.concurrency import sleep

    running = most = 0

    def slow(environ):
        nonlocal running, most
        running += 1
        most = max(most, running)
        sleep(0.001)
        running -= 1
        return Response(request=Request(environ), headers={"Content-Length": "1", "Etag": "e"})

    for number in range(300):
        store.answers["HEAD", f"/v1/a/seg/{number}"] = slow
    slo = SloFilter(store, {}, memory_logger()[0])
    assert put(slo, [{"path": f"/seg/{number}"} for number in range(300)]).status == "201 Created"
    assert 16 < most <= 32


def test_a_hook_may_object_and_add(slo, store):
    seen = []

    def hook(stored):
        seen.extend(stored)
        return [("/seg/a", "Not good")]

    answer = call(
        slo,
        "/v1/a/c/slo" + PUT,
        "PUT",
        environ={
            "wsgi.input": _input(b'[{"path": "/seg/a"}]'),
            "CONTENT_LENGTH": "20",
            "swift.callback.slo_manifest_hook": hook,
        },
    )
    assert answer.body == b"Errors:\n/seg/a, Not good\n"
    assert seen[0]["name"] == "/seg/a"


def test_heartbeat(slo, store):
    answer = put(slo, VECTOR, query=PUT + "&heartbeat=on", Accept="application/json")
    assert answer.status == "202 Accepted"
    assert answer.headers == {"Content-Type": "application/json"}
    spaces, _, summary = answer.body.partition(b"\r\n\r\n")
    assert spaces == b" "
    assert list(json.loads(summary).items()) == [
        ("Response Status", "201 Created"),
        ("Etag", f'"{VECTOR_ETAG}"'),
        ("Last Modified", "Mon, 30 Nov 2026 01:00:00 GMT"),
        ("Response Body", ""),
        ("Errors", []),
    ]
    answer = put(slo, [{"path": "/seg/x"}], query=PUT + "&heartbeat=on")
    assert answer.body == (
        b" \r\n\r\nResponse Body: Bad Request\nThe server could not comply with the request since it is either malformed or "
        b"otherwise incorrect.\nResponse Status: 400 Bad Request\nErrors:\n/seg/x, 404 Not Found\n"
    )
    answer = put(slo, VECTOR, query=PUT + "&heartbeat=on", Etag="x")
    assert b"Response Status: 422 Unprocessable Entity\n" in answer.body
    assert put(slo, b"junk", query=PUT + "&heartbeat=on").status == "400 Bad Request"


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "COPY", "OPTIONS"])
def test_clients_never_set_the_mark(slo, store, method):
    answer = call(slo, "/v1/a/c/o", method, headers={"X-Static-Large-Object": "False"})
    assert answer.status == "400 Bad Request"
    assert answer.body.startswith(b"X-Static-Large-Object is a reserved header.")
    assert store.requests == []


# -- GET and HEAD


def test_what_it_stands_for(vector):
    answer = call(vector, "/v1/a/c/slo")
    assert (answer.status, answer.body) == ("200 OK", WHOLE)
    assert answer.headers["Etag"] == f'"{VECTOR_ETAG}"'
    assert answer.headers["Content-Length"] == "14"
    assert answer.headers["Content-Type"] == "text/x-slo"
    assert answer.headers["X-Static-Large-Object"] == "True"
    assert answer.headers["X-Object-Meta-Foo"] == "bar"
    head = call(vector, "/v1/a/c/slo", "HEAD")
    assert (head.status, head.body) == ("200 OK", b"")
    assert head.headers == answer.headers


def test_a_head_asks_for_nothing_more(vector, store):
    store.requests.clear()
    call(vector, "/v1/a/c/slo", "HEAD")
    assert len(store.requests) == 1


RANGES = [
    ("bytes=0-3", 206, "bytes 0-3/14", b"aaaa"),
    ("bytes=3-9", 206, "bytes 3-9/14", b"aabbbgg"),
    ("bytes=-4", 206, "bytes 10-13/14", b"gccc"),
    ("bytes=5-", 206, "bytes 5-13/14", b"bbbgggccc"),
    ("bytes=8-8", 206, "bytes 8-8/14", b"g"),
    ("bytes=20-", 416, "bytes */14", None),
    ("junk", 200, None, WHOLE),
]


@pytest.mark.parametrize(("header", "status", "content_range", "body"), RANGES)
def test_ranges(vector, header, status, content_range, body):
    answer = call(vector, "/v1/a/c/slo", headers={"Range": header})
    assert answer.status_int == status
    assert answer.headers.get("Content-Range") == content_range
    assert body is None or answer.body == body
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert answer.headers["Etag"] == f'"{VECTOR_ETAG}"'


def test_several_ranges_are_parts(vector):
    answer = call(vector, "/v1/a/c/slo", headers={"Range": "bytes=0-1,6-8"})
    kind, _, boundary = answer.headers["Content-Type"].partition(";boundary=")
    assert (answer.status_int, kind) == (206, "multipart/byteranges")
    expected = (
        f"--{boundary}\r\nContent-Type: text/x-slo\r\nContent-Range: bytes 0-1/14\r\n\r\naa\r\n"
        f"--{boundary}\r\nContent-Type: text/x-slo\r\nContent-Range: bytes 6-8/14\r\n\r\nbbg\r\n--{boundary}--"
    )
    assert answer.body == expected.encode()
    assert answer.headers["Content-Length"] == str(len(expected))


def test_only_what_is_wanted_is_asked_for(vector, store):
    store.requests.clear()
    call(vector, "/v1/a/c/slo", headers={"Range": "bytes=3-6"})
    assert store.requests[1:] == [
        ("GET", "/v1/a/seg/a", "multipart-manifest=get", "bytes=3-"),
        ("GET", "/v1/a/seg/b", "multipart-manifest=get", "bytes=1-2"),
    ]


CONDITIONS = [
    ({"If-Match": VECTOR_ETAG}, 200),
    ({"If-Match": "*"}, 200),
    ({"If-Match": "x"}, 412),
    ({"If-None-Match": VECTOR_ETAG}, 304),
    ({"If-None-Match": f'"{VECTOR_ETAG}"', "Range": "bytes=0-3"}, 304),
    ({"If-None-Match": "x"}, 200),
    ({"If-Modified-Since": "Fri, 01 Jan 2038 00:00:00 GMT"}, 304),
    ({"If-Unmodified-Since": "Fri, 01 Jan 2010 00:00:00 GMT"}, 412),
    ({"If-Range": VECTOR_ETAG, "Range": "bytes=0-3"}, 206),
    ({"If-Range": "x", "Range": "bytes=0-3"}, 200),
]


@pytest.mark.parametrize(("headers", "status"), CONDITIONS)
@pytest.mark.parametrize("legacy", [False, True])
def test_conditions_are_about_what_it_stands_for(vector, store, headers, status, legacy):
    if legacy:
        kept = store.objects["/v1/a/c/slo"][0]
        kept["X-Object-Sysmeta-Slo-Etag"] = kept["X-Object-Sysmeta-Slo-Size"] = None
    answer = call(vector, "/v1/a/c/slo", headers=headers)
    assert answer.status_int == status
    assert answer.headers["Etag"] == f'"{VECTOR_ETAG}"'
    if status in (200, 206):
        assert answer.body == (WHOLE if status == 200 else WHOLE[:4])
    else:
        assert answer.body == b""


def test_manifests_of_old(vector, store):
    """Without the sysmeta, the size and ETag are found out from the manifest, for a HEAD as well."""
    kept = store.objects["/v1/a/c/slo"][0]
    kept["X-Object-Sysmeta-Slo-Etag"] = kept["X-Object-Sysmeta-Slo-Size"] = None
    for method in ("GET", "HEAD"):
        answer = call(vector, "/v1/a/c/slo", method)
        assert (answer.headers["Content-Length"], answer.headers["Etag"]) == ("14", f'"{VECTOR_ETAG}"')


def test_the_size_of_an_old_manifest_in_a_manifest_is_in_its_type():
    old = {
        "name": "/c/o",
        "bytes": 99,
        "hash": "x",
        "content_type": "text/plain;swift_bytes=7",
        "sub_slo": True,
    }
    assert manifest.size_of([old]) == 7


def test_the_manifest_itself(vector, store):
    answer = call(vector, "/v1/a/c/slo?multipart-manifest=get")
    headers, body = store.objects["/v1/a/c/slo"]
    assert (answer.body, answer.headers["Etag"]) == (body, headers["Etag"])
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    part = call(vector, "/v1/a/c/slo?multipart-manifest=get", headers={"Range": "bytes=0-9"})
    assert (part.status_int, part.body) == (206, body[:10])


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}])
def test_the_manifest_as_it_could_be_sent(vector, headers):
    answer = call(vector, "/v1/a/c/slo?multipart-manifest=get&format=raw", headers=headers)
    expected = (
        b'[{"etag": "594f803b380a41396ed63dca39503542", "path": "/seg/a", "size_bytes": 5}, {"etag": "a21075a36eeddd084e17611a238c7101", '
        b'"path": "/seg/b", "range": "1-3", "size_bytes": 5}, {"data": "Z2dn"}, {"etag": "9df62e693988eb4e1e1444ece0578579", '
        b'"path": "/seg/c", "size_bytes": 3}]'
    )
    assert answer.body == expected
    assert answer.headers["Etag"] == etag(expected)
    assert answer.headers["Content-Type"] == "text/x-slo"
    head = call(vector, "/v1/a/c/slo?multipart-manifest=get&format=raw", "HEAD")
    assert (head.status_int, head.headers["Content-Length"], head.body) == (200, str(len(expected)), b"")
    assert put(vector, expected, path="/v1/a/c/again").headers["Etag"] == f'"{VECTOR_ETAG}"'


PARTS = [("1", "0-4", b"aaaaa"), ("2", "5-7", b"bbb"), ("3", "8-10", b"ggg"), ("4", "11-13", b"ccc")]


@pytest.mark.parametrize(("number", "extent", "body"), PARTS)
def test_part_numbers(vector, number, extent, body):
    answer = call(vector, f"/v1/a/c/slo?part-number={number}")
    assert (answer.status_int, answer.body) == (206, body)
    assert answer.headers["Content-Range"] == f"bytes {extent}/14"
    assert answer.headers["X-Parts-Count"] == "4"
    head = call(vector, f"/v1/a/c/slo?part-number={number}", "HEAD")
    assert (head.status_int, head.body, head.headers) == (206, b"", answer.headers)


@pytest.mark.parametrize("number", ["0", "-1", "x", "", "1.0", "%D9%A1", "9" * 5000])
def test_numbers_that_are_none(vector, number):
    answer = call(vector, f"/v1/a/c/slo?part-number={number}")
    if number.startswith("9"):
        assert answer.status_int == 416
    else:
        assert (answer.status_int, answer.body) == (400, b"Part number must be an integer greater than 0")


def test_a_part_that_is_not_there(vector):
    answer = call(vector, "/v1/a/c/slo?part-number=5")
    assert (answer.status_int, answer.body) == (416, b"The requested part number is not satisfiable")
    assert (answer.headers["Content-Range"], answer.headers["X-Parts-Count"]) == ("bytes */14", "4")
    answer = call(vector, "/v1/a/c/slo?part-number=1", headers={"Range": "bytes=0-1"})
    assert (answer.status_int, answer.body) == (
        400,
        b"Range requests are not supported with part number queries",
    )
    assert call(vector, "/v1/a/seg/a?part-number=9", headers={"Range": "bytes=0-1"}).body == b"aa"


def test_other_objects_pass_as_they_are(slo, store):
    body = object()
    headers = [("Content-Length", "3"), ("Etag", "x")]

    def app(environ, start_response):
        start_response("200 OK", headers)
        return body

    slo.app = app
    seen = []
    assert slo(Request.blank("/v1/a/c/o").environ, lambda *given: seen.append(given)) is body
    assert seen == [("200 OK", headers)]
    assert seen[0][1] is headers


def test_an_application_that_begins_late(vector, store):
    def late(environ, start_response):
        yield from store(environ, start_response)

    vector.app = late
    assert call(vector, "/v1/a/c/slo").body == WHOLE
    assert call(vector, "/v1/a/seg/a").body == b"aaaaa"


def test_bypassed(slo, store):
    answer = call(
        slo,
        "/v1/a/c/x",
        "PUT",
        headers={"X-Static-Large-Object": "True"},
        environ={"swift.slo_override": True},
    )
    assert answer.status == "201 Created"
    raw = call(slo, "/v1/a/c/x", environ={"swift.slo_override": True})
    assert raw.body == b""


# -- manifests in manifests


def test_nested(slo, store):
    put(slo, [{"path": "/seg/a"}, {"path": "/seg/b"}], path="/v1/a/c/sub")
    items = [{"path": "/c/sub"}, {"path": "/c/sub", "range": "2-7"}, {"path": "/seg/c"}]
    assert put(slo, items, path="/v1/a/c/top").headers["Etag"] == '"cb4b1c1e15af7ed0e1b6a4d509464fa9"'
    assert call(slo, "/v1/a/c/top").body == b"aaaaabbbbbaaabbbccc"
    store.requests.clear()
    assert call(slo, "/v1/a/c/top", headers={"Range": "bytes=8-13"}).body == b"bbaaab"
    assert len([path for _, path, _, _ in store.requests if path == "/v1/a/c/sub"]) == 1  # kept for both
    store.requests.clear()
    assert call(slo, "/v1/a/c/top", headers={"Range": "bytes=16-"}).body == b"ccc"
    assert [path for _, path, _, _ in store.requests] == ["/v1/a/c/top", "/v1/a/seg/c"]
    assert call(slo, "/v1/a/c/top?part-number=2").body == b"aaabbb"


def test_what_was_passed_once_is_not_looked_at_again(slo, store, monkeypatch):
    """Else a small request has a server count for hours."""
    inner = [{"data": DATA}] * 500 + [{"path": "/seg/a"}]
    put(slo, inner, path="/v1/a/c/sub")
    put(slo, [{"path": "/c/sub", "range": "1499-1500"}] * 50, path="/v1/a/c/top")
    looked_at = 0
    item = manifest.item

    def counted(stored):
        nonlocal looked_at
        looked_at += 1
        return item(stored)

    monkeypatch.setattr(manifest, "item", counted)
    assert call(slo, "/v1/a/c/top").body == b"ga" * 50
    assert looked_at < 1000


def test_only_so_much_of_manifests_inside_is_kept(slo, store, monkeypatch):
    names = ("x", "y")
    for name in names:
        put(slo, [{"path": "/seg/a"}, {"path": "/seg/b"}], path=f"/v1/a/c/{name}")
    put(slo, [{"path": f"/c/{name}"} for name in names * 3], path="/v1/a/c/top")

    def asked_for():
        store.requests.clear()
        assert call(slo, "/v1/a/c/top").body == b"aaaaabbbbb" * 6
        return len([path for _, path, _, _ in store.requests if path in ("/v1/a/c/x", "/v1/a/c/y")])

    assert asked_for() == 2
    monkeypatch.setattr(reading, "_KEPT_BYTES", 500)
    assert asked_for() == 6


def test_others_get_their_turns_with_a_long_manifest(slo):
    turns = 0

    def count():
        nonlocal turns
        while True:
            turns += 1
            sleep(0)

    counting = spawn(count)
    try:
        items = [{"data": DATA}] * 20000 + [{"path": "/seg/a"}]
        assert put(slo, items).status == "201 Created"
        assert turns >= 50
        before = turns
        answer = call(slo, "/v1/a/c/slo", headers={"Range": "bytes=59999-"})
        assert answer.body == b"gaaaaa"
        assert turns >= before + 15
    finally:
        kill(counting)


def test_only_so_many_items_are_told_to_be_wrong(slo):
    answer = put(slo, b"[" + b",".join([b"0"] * 5000) + b"]")
    assert answer.status == "400 Bad Request"
    assert answer.body.startswith(b"Index 0: not a JSON object\nIndex 1: ")
    assert answer.body.count(b"\n") == 1000


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2000])
def test_the_stored_form_does_not_depend_on_the_number_of_items(count):
    items = [upload.Wanted(b"ggg")] * count
    made, problems = upload.make(items, {}, None)
    assert not problems
    assert made.body == json.dumps([{"data": DATA}] * count).encode()


def test_not_too_deep(slo):
    for level in range(11):
        inner = f"/c/n{level - 1}" if level else "/seg/a"
        assert put(slo, [{"path": inner}], path=f"/v1/a/c/n{level}").status == "201 Created"
    assert call(slo, "/v1/a/c/n9").body == b"aaaaa"
    assert call(slo, "/v1/a/c/n10").status_int == 409


def test_a_manifest_inside_that_has_changed_is_not_read(slo, store):
    put(slo, [{"path": "/seg/a"}, {"path": "/seg/b"}], path="/v1/a/c/sub")
    put(slo, [{"path": "/c/sub"}], path="/v1/a/c/top")
    put(slo, [{"path": "/seg/b"}, {"path": "/seg/a"}], path="/v1/a/c/sub")
    assert call(slo, "/v1/a/c/top").status_int == 409
    store.put("/c/sub", b"0123456789")
    assert call(slo, "/v1/a/c/top").status_int == 409


def test_not_larger_than_anybody_can_count(slo):
    """A thousand of a thousand of a thousand …: no database could take the size."""
    answer = put(slo, [{"path": "/seg/a"}] * 1000, path="/v1/a/c/n0")
    for level in range(1, 9):
        answer = put(slo, [{"path": f"/c/n{level - 1}"}] * 1000, path=f"/v1/a/c/n{level}")
        if answer.status_int != 201:
            break
        assert int(call(slo, f"/v1/a/c/n{level}", "HEAD").headers["Content-Length"]) == 5 * 1000 ** (
            level + 1
        )
    assert (answer.status_int, level) == (413, 5)
    assert b"1152921504606846976" in answer.body


# -- segments that are not what they should be


@pytest.mark.parametrize("data", [b"xxxxx", b"longer than before", b"", None])
def test_a_first_segment_that_is_not_right_is_a_conflict(vector, store, data):
    if data is None:
        del store.objects["/v1/a/seg/a"]
    else:
        store.put("/seg/a", data)
    answer = call(vector, "/v1/a/c/slo")
    assert answer.status == "409 Conflict"
    assert store.open == set()


def test_a_first_segment_that_nobody_can_give_is_503(vector, store):
    store.answers["GET", "/v1/a/seg/a"] = lambda environ: HTTPServiceUnavailable(request=Request(environ))
    assert call(vector, "/v1/a/c/slo").status == "503 Service Unavailable"
    store.answers["GET", "/v1/a/seg/a"] = lambda environ: HTTPForbidden(request=Request(environ))
    assert call(vector, "/v1/a/c/slo").status == "409 Conflict"


@pytest.mark.parametrize("data", [b"xxxxx", b"longer than before", b"", None])
def test_a_later_one_breaks_the_body_off(vector, store, data):
    if data is None:
        del store.objects["/v1/a/seg/b"]
    else:
        store.put("/seg/b", data)
    answer = call(vector, "/v1/a/c/slo", read=False)
    assert (answer.status_int, answer.headers["Content-Length"]) == (200, "14")
    got = []
    with pytest.raises(ResponseBroken):
        for piece in answer.raw_body:
            got.append(piece)
    assert b"".join(got) == b"aaaaa"
    answer.raw_body.close()
    assert store.open == set()


def test_a_client_that_leaves_frees_everything(vector, store):
    answer = call(vector, "/v1/a/c/slo", read=False)
    next(iter(answer.raw_body))
    answer.raw_body.close()
    assert store.open == set()
    assert len(store.done) == len(store.requests) - 2  # all but the client's own two


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[1]", b'[{"name": "/seg/a"}]', b'[{"name": "x", "bytes": 1, "hash": "h"}]', b"[" * 50_000, b'[{"data": "!"}]',
     b'[{"data": "\xc3\xa9"}]', b'[{"data": 7}]', b'[{"data": [1]}]', b'[{"data": true, "name": 1}]',
     b'[{"name": "/seg/a", "bytes": 5, "hash": "h", "range": [1]}]', b'[{"name": "/seg/a", "bytes": 1.5, "hash": "h"}]', b'["data"]',
     b'[{"name": "/seg/", "bytes": 5, "hash": "h"}]', b'[{"name": "//a", "bytes": 5, "hash": "h"}]', b'[{"name": "", "bytes": 5, "hash": "h"}]',
     b'[{"name": "/seg/a", "bytes": -1, "hash": "h"}]', b'[{"name": "/seg/a", "bytes": "5", "hash": "h"}]',
     b'[{"name": "/seg/a", "bytes": 5, "hash": "h", "range": "9-10"}]'],
)  # fmt: skip
def test_stored_manifests_that_make_no_sense(slo, store, body):
    store.put("/c/bad", body, X_Static_Large_Object="True")
    answer = call(slo, "/v1/a/c/bad")
    assert answer.status_int == 500
    assert answer.body == b"Unable to load SLO manifest"
    store.put(
        "/c/bad",
        body,
        X_Static_Large_Object="True",
        X_Object_Sysmeta_Slo_Etag="e",
        X_Object_Sysmeta_Slo_Size="5",
    )
    assert call(slo, "/v1/a/c/bad").status_int in (409, 500)


def test_a_stored_manifest_that_is_too_large_is_not_read_to_its_end(slo, store, monkeypatch):
    from swift.middleware.slo import request as request_module

    monkeypatch.setattr(request_module, "_MANIFEST_BYTES", 1000)
    slo = SloFilter(store, {"max_manifest_size": "100"}, memory_logger()[0])
    store.put("/c/bad", b"[" + b" " * 5000 + b"]", X_Static_Large_Object="True")
    answer = call(slo, "/v1/a/c/bad")
    assert (answer.status_int, answer.body) == (500, b"Unable to load SLO manifest")
    assert store.open == set()


def test_a_manifest_that_holds_more_or_less_than_it_says(vector, store):
    for size in ("13", "15"):
        store.objects["/v1/a/c/slo"][0]["X-Object-Sysmeta-Slo-Size"] = size
        answer = call(vector, "/v1/a/c/slo", read=False)
        with pytest.raises(ResponseBroken):
            taken = b"".join(answer.raw_body)
            assert len(taken) == int(size)
            raise ResponseBroken  # 13 of 14: cut where it was announced
        answer.raw_body.close()


def test_each_whole_segment_is_compared_with_its_etag_if_that_is_wanted(store):
    slo = SloFilter(store, {"verify_segments": "true"}, memory_logger()[0])
    put(slo, [{"path": "/seg/a"}, {"path": "/seg/b"}])
    headers, _ = store.objects["/v1/a/seg/b"]
    store.objects["/v1/a/seg/b"] = (headers, b"bbbbX")
    answer = call(slo, "/v1/a/c/slo", read=False)
    with pytest.raises(ResponseBroken):
        b"".join(answer.raw_body)


# -- replaced in the meantime


def test_a_whole_manifest_is_asked_for_again_where_it_is_lacking(vector, store):
    """A storage server that ignores our header answers 206 or 416 for the manifest's own bytes."""
    headers, body = store.objects["/v1/a/c/slo"]
    original = store._handle

    def ignorant(environ, method, path):
        if path == "/v1/a/c/slo" and "HTTP_RANGE" in environ:
            environ.pop("HTTP_X_BACKEND_IGNORE_RANGE_IF_METADATA_PRESENT", None)
        return original(environ, method, path)

    store._handle = ignorant
    for header, expected in (("bytes=0-3", WHOLE[:4]), ("bytes=-4", WHOLE[-4:])):
        assert call(vector, "/v1/a/c/slo", headers={"Range": header}).body == expected


@pytest.mark.parametrize(("timestamp", "status"), [("1796000001.00000", 206), ("1795000000.00000", 503)])
def test_what_has_taken_its_place(vector, store, timestamp, status):
    headers, body = store.objects["/v1/a/c/slo"]
    store.put("/c/slo", b"a plain object")
    plain, data = store.objects["/v1/a/c/slo"]
    plain["X-Timestamp"] = timestamp
    store.objects["/v1/a/c/slo"] = (headers, body)
    original = store._handle

    def once(environ, method, path):
        response = original(dict(environ, HTTP_X_BACKEND_IGNORE_RANGE_IF_METADATA_PRESENT=""), method, path)
        if path == "/v1/a/c/slo":
            store.objects[path] = (plain, data)
        return response

    store._handle = once
    answer = call(vector, "/v1/a/c/slo", headers={"Range": "bytes=2-6"})
    if status == 503:
        assert answer.status_int == 503
    else:
        assert answer.status_int in (200, 206)
        assert answer.body in (data, data[2:7])


# -- pace


class Ticking:
    """A clock on which sleeping takes no time."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def __call__(self):
        return self.now


def test_small_segments_are_slowed_down(store, monkeypatch):
    """After the first ten, one a second; by the bytes that the item means, not by the object's size."""
    from swift.middleware.segments import body as body_module

    ticking = Ticking()
    monkeypatch.setattr(clock, "monotonic", ticking)

    def slept(seconds):
        ticking.slept.append(seconds)
        ticking.now += seconds

    monkeypatch.setattr(body_module, "sleep", slept)
    store.put("/seg/large", b"x" * 100)
    slo = SloFilter(
        store, {"rate_limit_under_size": "50", "rate_limit_after_segment": "2"}, memory_logger()[0]
    )
    put(
        slo,
        [{"path": "/seg/large"}] * 3 + [{"path": "/seg/large", "range": "0-4"}] * 5 + [{"data": DATA}] * 3,
    )
    assert len(call(slo, "/v1/a/c/slo").body) == 300 + 25 + 9
    assert sum(ticking.slept) == pytest.approx(2, abs=0.1)  # three of five, the first of them at once


def test_a_response_has_its_time(store, monkeypatch):
    slo = SloFilter(store, {"max_get_time": "10", "rate_limit_segments_per_sec": "0"}, memory_logger()[0])
    put(slo, [{"path": "/seg/a"}, {"path": "/seg/b"}])
    ticking = Ticking()
    monkeypatch.setattr(clock, "monotonic", ticking)
    answer = call(slo, "/v1/a/c/slo", read=False)
    pieces = iter(answer.raw_body)
    next(pieces)
    ticking.now += 11
    with pytest.raises(ResponseBroken, match="max_get_time"):
        list(pieces)


# -- DELETE


def delete(slo, path, query="?multipart-manifest=delete", **headers):
    return call(slo, path + query, "DELETE", headers={"Accept": "application/json", **headers})


def summary(**values):
    return {"Response Status": "200 OK", "Response Body": "", "Number Deleted": 0, "Number Not Found": 0, "Errors": [], **{name.replace("_", " "): value for name, value in values.items()}}  # fmt: skip


def test_delete_with_all_segments(slo, store):
    put(slo, [{"path": "/seg/a"}, {"data": DATA}, {"path": "/seg/b"}, {"path": "/seg/a"}])
    answer = delete(slo, "/v1/a/c/slo")
    assert answer.status == "200 OK"
    assert json.loads(answer.body) == summary(Number_Deleted=3, Number_Not_Found=1)
    assert list(store.objects) == ["/v1/a/seg/c"]
    deletes = [path for method, path, _, _ in store.requests if method == "DELETE"]
    assert deletes[-1] == "/v1/a/c/slo"


@pytest.mark.parametrize("accept", ["image/png", "junk"])
def test_nothing_is_deleted_for_who_could_not_read_what(slo, store, accept):
    put(slo, [{"path": "/seg/a"}])
    answer = call(slo, "/v1/a/c/slo?multipart-manifest=delete", "DELETE", headers={"Accept": accept})
    assert (answer.status, answer.headers["Content-Type"]) == ("200 OK", "text/html; charset=UTF-8")
    assert b"Response Status: 406 Not Acceptable\n" in answer.body
    assert "/v1/a/seg/a" in store.objects


def test_a_name_that_is_none_deletes_no_container(slo, store):
    store.put("/c/bad", b'[{"name": "/seg/", "bytes": 5, "hash": "h"}]', X_Static_Large_Object="True")
    answer = delete(slo, "/v1/a/c/bad")
    assert json.loads(answer.body)["Errors"] == [["/c/bad", "Unable to load SLO manifest"]]
    assert "DELETE" not in [method for method, _, _, _ in store.requests]


def test_delete_nested(slo, store):
    put(slo, [{"path": "/seg/a"}], path="/v1/a/seg/sub")
    put(slo, [{"path": "/seg/sub"}, {"path": "/seg/b"}], path="/v1/a/c/top")
    assert json.loads(delete(slo, "/v1/a/c/top").body) == summary(Number_Deleted=4)
    assert list(store.objects) == ["/v1/a/seg/c"]


def test_a_circle_of_manifests_comes_to_an_end(slo, store):
    put(slo, [{"path": "/seg/a"}], path="/v1/a/c/one")
    put(slo, [{"path": "/c/one"}], path="/v1/a/c/two")
    put(slo, [{"path": "/c/two"}], path="/v1/a/c/one")
    assert json.loads(delete(slo, "/v1/a/c/one").body)["Number Deleted"] == 2


DELETE_ERRORS = [
    ("/v1/a/c/none", summary(Number_Not_Found=1)),
    ("/v1/a/seg/a", summary(Response_Status="400 Bad Request", Errors=[["/seg/a", "Not an SLO manifest"]])),
    (
        "/v1/a/c/bad",
        summary(Response_Status="400 Bad Request", Errors=[["/c/bad", "Unable to load SLO manifest"]]),
    ),
]


@pytest.mark.parametrize(("path", "expected"), DELETE_ERRORS)
def test_what_cannot_be_deleted(slo, store, path, expected):
    store.put("/c/bad", b"junk", X_Static_Large_Object="True")
    assert json.loads(delete(slo, path).body) == expected
    assert "/v1/a/seg/a" in store.objects


def test_segments_that_may_not_be_deleted_are_told(slo, store):
    put(slo, [{"path": "/seg/a"}, {"path": "/seg/b"}])
    store.answers["DELETE", "/v1/a/seg/a"] = lambda environ: HTTPForbidden(request=Request(environ))
    store.answers["DELETE", "/v1/a/seg/b"] = lambda environ: HTTPServiceUnavailable(request=Request(environ))
    told = json.loads(delete(slo, "/v1/a/c/slo").body)
    assert told["Response Status"] == "502 Bad Gateway"
    assert sorted(told["Errors"]) == [["/seg/a", "403 Forbidden"], ["/seg/b", "503 Service Unavailable"]]


def test_the_version_is_that_of_the_manifest_alone(slo, store):
    put(slo, [{"path": "/seg/a"}])
    store.requests.clear()
    delete(slo, "/v1/a/c/slo", "?multipart-manifest=delete&version-id=17.5%26x")
    assert [(path, query) for _, path, query, _ in store.requests] == [
        ("/v1/a/c/slo", "multipart-manifest=get&version-id=17.5%26x"),
        ("/v1/a/seg/a", ""),
        ("/v1/a/c/slo", "version-id=17.5%26x"),
    ]


def test_a_plain_object_costs_one_byte(slo, store):
    delete(slo, "/v1/a/seg/a")
    assert store.requests == [("GET", "/v1/a/seg/a", "multipart-manifest=get", "bytes=-1")]


LATER = "?multipart-manifest=delete&async=on"


def test_delete_later(slo, store):
    put(slo, [{"path": "/seg/a"}, {"path": "/seg/b"}])
    answer = call(slo, "/v1/a/c/slo" + LATER, "DELETE", headers={"X-Timestamp": "1796000000.12345"})
    assert answer.status == "204 No Content"
    assert "/v1/a/c/slo" not in store.objects
    assert "/v1/a/seg/a" in store.objects
    update = next(environ for environ in store.environs if environ["REQUEST_METHOD"] == "UPDATE")
    assert update["PATH_INFO"] == "/v1/.expiring_objects/1796000000"
    assert update["HTTP_X_BACKEND_ALLOW_PRIVATE_METHODS"] == "True"
    assert update["HTTP_X_BACKEND_STORAGE_POLICY_INDEX"] == "0"
    assert [row["name"] for row in store.rows] == ["1796000000.12345-a/seg/a", "1796000000.12345-a/seg/b"]
    assert store.rows[0] == {
        "name": "1796000000.12345-a/seg/a", "deleted": 0, "created_at": "1796000000.12345", "etag": "d41d8cd98f00b204e9800998ecf8427e",
        "size": 0, "storage_policy_index": 0, "content_type": "application/async-deleted",
    }  # fmt: skip


def test_segments_of_what_stays_are_not_handed_over(store):
    """S3 has it so: a manifest whose deletion is refused keeps its segments."""

    def refusing(environ, start_response):
        if environ["REQUEST_METHOD"] == "DELETE":
            start_response("503 Service Unavailable", [])
            return [b""]
        return store(environ, start_response)

    slo = SloFilter(refusing, {}, memory_logger()[0])
    put(slo, [{"path": "/seg/a"}])
    answer = call(slo, "/v1/a/c/slo" + LATER, "DELETE", environ={MANIFEST_FIRST: "yes"})
    assert answer.status_int == 503
    assert not hasattr(store, "rows")
    slo = SloFilter(store, {}, memory_logger()[0])
    assert call(slo, "/v1/a/c/slo" + LATER, "DELETE", environ={MANIFEST_FIRST: "yes"}).status_int == 204
    assert len(store.rows) == 1 and "/v1/a/c/slo" not in store.objects


def test_what_cannot_be_deleted_later(slo, store):
    put(slo, [{"path": "/seg/a"}], path="/v1/a/c/sub")
    put(slo, [{"path": "/c/sub"}], path="/v1/a/c/nested")
    store.put("/d/x", b"x")
    put(slo, [{"path": "/seg/a"}, {"path": "/d/x"}], path="/v1/a/c/spread")
    put(slo, [], path="/v1/a/c/empty")
    for path, status, body in (
        ("/v1/a/c/none", 404, b"SLO manifest not found"),
        ("/v1/a/seg/a", 400, b"Not an SLO manifest"),
        ("/v1/a/c/nested", 400, b"No segments may be large objects."),
        ("/v1/a/c/spread", 400, b'All segments must be in one container. Found segments in "d", "seg"'),
    ):
        answer = call(slo, path + LATER, "DELETE")
        assert (answer.status_int, answer.body) == (status, body)
    assert call(slo, "/v1/a/c/empty" + LATER, "DELETE").status_int == 204
    assert all(environ["REQUEST_METHOD"] != "UPDATE" for environ in store.environs)


def test_who_may_not_write_may_not_delete_later(slo, store):
    put(slo, [{"path": "/seg/a"}])
    asked = []

    def authorize(request):
        asked.append(request.environ["PATH_INFO"])
        return HTTPForbidden(request=request) if "/seg/" in request.environ["PATH_INFO"] else None

    answer = call(slo, "/v1/a/c/slo" + LATER, "DELETE", environ={"swift.authorize": authorize})
    assert answer.status_int == 403
    assert asked == ["/v1/a/c/slo", "/v1/a/seg/a"]
    assert "/v1/a/c/slo" in store.objects
    assert not hasattr(store, "rows")


def test_not_later_where_the_operator_does_not_want_it(store):
    slo = SloFilter(store, {"allow_async_delete": "no"}, memory_logger()[0])
    put(slo, [{"path": "/seg/a"}])
    assert json.loads(delete(slo, "/v1/a/c/slo", LATER).body) == summary(Number_Deleted=2)


# -- listings


def test_listings_show_the_etag_apart(vector, store):
    store.put("/c/plain", b"x")
    before = call(store, "/v1/a/c?format=json")
    answer = call(vector, "/v1/a/c?format=json")
    rows = json.loads(answer.body)
    assert [row["name"] for row in rows] == ["plain", "slo"]
    assert list(rows[1].items())[-1] == ("slo_etag", f'"{VECTOR_ETAG}"')
    assert rows[1]["hash"] == store.objects["/v1/a/c/slo"][0]["Etag"]
    assert rows[1]["bytes"] == 14
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert len(before.body) != len(answer.body)
    assert call(vector, "/v1/a/seg?format=json").body == call(store, "/v1/a/seg?format=json").body


@pytest.mark.parametrize(
    "data",
    [b"", b"; slo_etag=x", b'{"hash": "a; slo_etag=x"}', b'[1, {"hash": 5}, {"name": "; slo_etag=x"}, {"subdir": "; slo_etag="}]'],
)  # fmt: skip
def test_what_is_no_listing_of_ours_stays(data):
    assert listing.shown(data) is data


def test_other_parameters_of_a_hash_stay():
    shown = json.loads(listing.shown(b'[{"hash": "abc; slo_etag=x; symlink_target=c/o; y=z", "name": "n"}]'))
    assert shown == [{"hash": "abc; symlink_target=c/o; y=z", "name": "n", "slo_etag": '"x"'}]


# -- forms

ITEMS = st.lists(
    st.one_of(
        st.builds(lambda data: {"data": base64.b64encode(data).decode()}, st.binary(min_size=1, max_size=9)),
        st.sampled_from(
            [{"path": "/seg/a"}, {"path": "/seg/b", "range": "1-3"}, {"path": "/seg/c", "range": "-1"}]
        ),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(ITEMS, st.integers(0, 60), st.integers(0, 60))
def test_any_part_of_any_object(items, first, count):
    store = Store()
    for name, data in (("a", b"aaaaa"), ("b", b"bBbBb"), ("c", b"cde")):
        store.put(f"/seg/{name}", data)
    slo = SloFilter(store, {"rate_limit_segments_per_sec": "0"}, memory_logger()[0])
    whole = b"".join(
        base64.b64decode(item["data"])
        if "data" in item
        else {"/seg/a": b"aaaaa", "/seg/b": b"BbB", "/seg/c": b"e"}[item["path"]]
        for item in items
    )
    if not any("path" in item for item in items):
        assert put(slo, items).status_int == 400
        return
    assert put(slo, items).status_int == 201
    assert call(slo, "/v1/a/c/slo").body == whole
    answer = call(slo, "/v1/a/c/slo", headers={"Range": f"bytes={first}-{first + count}"})
    assert answer.status_int == (206 if first < len(whole) else 416)
    if answer.status_int == 206:
        assert answer.body == whole[first : first + count + 1]
    assert store.open == set()


@settings(max_examples=200, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["path", "etag", "size_bytes", "range", "data", "x"]), inner, max_size=4), max_leaves=12))  # fmt: skip
def test_no_json_is_too_much(given_json):
    request = Request.blank("/v1/a/c/o")
    try:
        items = upload.parse(request, json.dumps(given_json).encode(), "/c/o", 5)
    except Exception as error:
        assert getattr(error, "status_int", None) in (400, 413), error
    else:
        assert isinstance(items, list)


# -- configuration


def test_what_info_says():
    filter_factory({}, max_manifest_segments="5", yield_frequency="3")
    assert capabilities.disclosed()["slo"] == {
        "max_manifest_segments": 5, "max_manifest_size": 8388608, "yield_frequency": 3, "min_segment_size": 1, "allow_async_delete": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    "option", ["max_manifest_segments", "concurrency", "yield_frequency", "rate_limit_segments_per_sec"]
)
def test_options_that_make_no_sense(option):
    for value in ("x", "-1", "1e9" if option == "concurrency" else "y"):
        with pytest.raises(ConfigError):
            SloFilter(None, {option: value})
