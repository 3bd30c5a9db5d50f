"""Objects over HTTP: uploads, downloads, metadata, deletion, expiry, what is refused."""

import hashlib
import random
import socket
import time

import pytest

# Whole copies and fragments are the same to clients.
POLICIES = ["gold", "ec42"]
SIZES = [0, 1, 4096, 65535, 65536, 65537, 1 << 20, (3 << 20) + 7]


@pytest.fixture(params=POLICIES)
def container(request, user, name):
    """A new container: its path below the account."""
    assert user("PUT", f"/{name}", X_Storage_Policy=request.param).status == 201
    return f"/{name}"


def md5(data):
    return hashlib.md5(data).hexdigest()


@pytest.mark.parametrize("size", SIZES)
def test_what_goes_in_comes_out(user, container, size):
    body = random.Random(size).randbytes(size)
    answer = user("PUT", f"{container}/o", body, Content_Type="x/y", X_Object_Meta_Color="red")
    assert (answer.status, answer.body, answer.headers["etag"]) == (201, b"", md5(body))
    written = answer.headers["last-modified"]
    answer = user("GET", f"{container}/o")
    assert (answer.status, answer.body == body) == (200, True)
    head = user("HEAD", f"{container}/o")
    assert (head.status, head.body) == (200, b"")
    for headers in (answer.headers, head.headers):
        assert headers["etag"] == md5(body)
        assert headers["content-length"] == str(size)
        assert headers["content-type"] == "x/y"
        assert headers["x-object-meta-color"] == "red"
        assert headers["accept-ranges"] == "bytes"
        assert headers["last-modified"] == written
        assert 0 <= time.time() - float(headers["x-timestamp"]) < 60


@pytest.mark.parametrize("size", [0, 10, 70_000, 300_000])
def test_chunked_uploads(user, container, size):
    body = random.Random(size).randbytes(size)
    pieces = [body[i : i + 7777] for i in range(0, size, 7777)]
    answer = user("PUT", f"{container}/o", iter(pieces))
    assert (answer.status, answer.headers["etag"]) == (201, md5(body))
    assert user("GET", f"{container}/o").body == body


def talk(address, data):
    """What comes back on one connection until the server closes it or is silent for a second."""
    with socket.create_connection(address, 30) as sock:
        sock.sendall(data)
        answer = b""
        sock.settimeout(5)
        while True:
            try:
                part = sock.recv(65536)
            except TimeoutError:
                return answer
            if not part:
                return answer
            answer += part


@pytest.mark.parametrize("size", [3, 100_000])
def test_expect_continue(user, container, address, size):
    body = b"x" * size
    head = (
        f"PUT /v1/AUTH_test{container}/o HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {user.token}\r\nContent-Length: {size}\r\n"
        "Expect: 100-continue\r\nConnection: close\r\n\r\n"
    ).encode()
    with socket.create_connection(address, 30) as sock:
        sock.sendall(head)
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert sock.recv(65536).startswith(b"HTTP/1.1 201 ")
    assert user("GET", f"{container}/o").body == body


def test_expect_continue_is_not_answered_when_the_answer_is_no(container, address):
    head = (
        f"PUT /v1/AUTH_test{container}/o HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n"
        "Connection: close\r\n\r\n"
    ).encode()
    assert talk(address, head).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_wrong_etag_stores_nothing(user, container, size):
    body = b"x" * size
    answer = user("PUT", f"{container}/o", body, ETag=md5(b"something else"))
    assert answer.status == 422
    assert user("GET", f"{container}/o").status == 404
    assert user("PUT", f"{container}/o", b"first").status == 201
    assert user("PUT", f"{container}/o", body, ETag="nonsense").status == 422
    assert user("GET", f"{container}/o").body == b"first"
    for etag in (md5(body), f'"{md5(body)}"'):
        assert user("PUT", f"{container}/o", body, ETag=etag).status == 201
    assert user("GET", f"{container}/o").body == body


def put_head(user, container, more):
    return (
        f"PUT /v1/AUTH_test{container}/o HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {user.token}\r\nConnection: close\r\n{more}\r\n"
    ).encode()


@pytest.mark.parametrize(
    ("more", "body", "status"),
    [
        ("", b"", 411),
        ("Content-Length: -1\r\n", b"", 400),
        ("Content-Length: x\r\n", b"", 400),
        ("Content-Length: 1e3\r\n", b"", 400),
        ("Content-Length: 999999999999999999\r\n", b"", 413),
        ("Content-Length: 5368709123\r\n", b"", 413),
        ("Transfer-Encoding: gzip\r\n", b"", 400),
        ("Content-Length: 3\r\nX-Delete-At: x\r\n", b"abc", 400),
        ("Content-Length: 3\r\nX-Delete-At: 1\r\n", b"abc", 400),
        ("Content-Length: 3\r\nX-Delete-After: x\r\n", b"abc", 400),
        ("Content-Length: 3\r\nX-Delete-After: -1\r\n", b"abc", 400),
        ("Content-Length: 3\r\nX-Delete-After: 0\r\n", b"abc", 400),
        ("Content-Length: 3\r\nIf-None-Match: abc\r\n", b"abc", 400),
        ("Content-Length: 3\r\nContent-Type: \xff\r\n", b"abc", 400),
        ("Content-Length: 3\r\nContent-Type: a/b; swift_bytes=7\r\n", b"abc", 400),
        ("Content-Length: 3\r\nX-Object-Meta-: x\r\n", b"abc", 400),
        (f"Content-Length: 3\r\nX-Object-Meta-A: {'x' * 257}\r\n", b"abc", 400),
        (f"Content-Length: 3\r\nX-Whatever: {'x' * 9000}\r\n", b"abc", 400),
    ],
)
def test_refused_uploads_store_nothing(user, container, address, more, body, status):
    answer = talk(address, put_head(user, container, more).replace("\u00ff".encode(), b"\xff") + body)
    assert answer.startswith(b"HTTP/1.1 %d " % status) or answer.startswith(b"HTTP/1.0 %d " % status), answer
    assert len(answer.partition(b"\r\n\r\n")[2]) < 500
    assert user("HEAD", f"{container}/o").status == 404


def test_copying_is_not_pretended(user, obj, container):
    """Without a copy filter, X-Copy-From must not make an empty object: who moves by copy and delete would lose the data."""
    answer = user("PUT", f"{container}/copy", b"", X_Copy_From=obj)
    if answer.status == 201:
        assert user("GET", f"{container}/copy").body == b"0123456789"
    else:
        assert answer.status == 400
        assert b"X-Copy-From" in answer.body
        assert user("HEAD", f"{container}/copy").status == 404


@pytest.mark.parametrize(
    "names",
    [
        ["\u00e9"],
        ["%41"],
        ["a b+c"],
        ["x" * 1024],
        ["\U0001f600" * 256],
        ["a/", "a//b", "/a", "a/./b", "a/../b"],
        ["?", "#", "&=;"],
    ],
)
def test_names(user, container, names):
    from urllib.parse import quote

    for number, name in enumerate(names):
        path = f"{container}/{quote(name)}"
        body = f"{number} {name}".encode()
        assert user("PUT", path, body).status == 201, name
        assert user("GET", path).body == body
    listed = user("GET", container).body.decode().splitlines()
    assert listed == sorted(names, key=str.encode)
    for name in names:
        assert user("DELETE", f"{container}/{quote(name)}").status == 204
    assert user("GET", container).status == 204


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("x" * 1025, 400),
        ("%C3%A9" * 1025, 400),
        ("%ff", 412),
        ("a%00b", 412),
        ("%00", 412),
        ("%ed%a0%80", 412),
        ("x" * 8000, 400),
        ("x" * 9000, 414),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD", "POST", "DELETE"])
def test_bad_names(user, container, target, status, method):
    answer = user(method, f"{container}/{target}", b"x" if method == "PUT" else None)
    if status == 400 and method != "PUT":
        # A DELETE leaves a tombstone with the name, for which a file system may have no room.
        assert answer.status == 404 or method == "DELETE" and answer.status == 400
    else:
        assert answer.status == status
    assert len(answer.body) < 500


# -- conditions and ranges -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"{etag}"'}, 200),
        ({"If-Match": "{etag}"}, 200),
        ({"If-Match": '"a", "{etag}"'}, 200),
        ({"If-Match": '"a"'}, 412),
        ({"If-None-Match": '"{etag}"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"a"'}, 200),
        ({"If-Modified-Since": "{date}"}, 304),
        ({"If-Modified-Since": "Thu, 01 Jan 1970 00:00:01 GMT"}, 200),
        ({"If-Modified-Since": "nonsense"}, 200),
        ({"If-Unmodified-Since": "{date}"}, 200),
        ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:01 GMT"}, 412),
        ({"If-Match": '"a"', "If-None-Match": '"{etag}"'}, 412),
        ({"Range": "bytes=0-1", "If-Match": '"a"'}, 412),
        ({"Range": "bytes=0-1", "If-None-Match": '"{etag}"'}, 304),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(user, obj, headers, status, method):
    head = user("HEAD", obj).headers
    given = {
        name: value.format(etag=head["etag"], date=head["last-modified"]) for name, value in headers.items()
    }
    answer = user(method, obj, headers=given)
    assert answer.status == status
    if status == 304:
        assert answer.body == b""
        assert answer.headers["etag"] == head["etag"]
    if status in (200, 206) and method == "GET":
        assert answer.body == (b"0123456789" if status == 200 else b"01")


@pytest.mark.parametrize(
    ("wanted", "status", "body", "content_range"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=5-", 206, b"56789", "bytes 5-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-30", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=8-100", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=100-200", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=5-3", 200, b"0123456789", None),
        ("bytes=", 200, b"0123456789", None),
        ("bytes=a-b", 200, b"0123456789", None),
        ("octets=1-2", 200, b"0123456789", None),
        ("bytes=--1", 200, b"0123456789", None),
        ("bytes=1-2,x", 200, b"0123456789", None),
        ("bytes=99999999999999999999-", 416, None, "bytes */10"),
        ("bytes=" + ",".join(f"{i}-{i}" for i in range(9, 0, -1)), 416, None, None),
        ("bytes=" + ",".join(["0-1"] * 60), 416, None, None),
    ],
)
def test_ranges(user, obj, wanted, status, body, content_range):
    answer = user("GET", obj, Range=wanted)
    assert answer.status == status
    if body is not None:
        assert answer.body == body
    if content_range:
        assert answer.headers["content-range"] == content_range
    head = user("HEAD", obj, Range=wanted)
    assert (head.status, head.headers["content-length"], head.body) == (200, "10", b"")


@pytest.mark.parametrize("size", [1000, 400_000])
def test_several_ranges(user, container, size):
    import email.parser

    body = random.Random(5).randbytes(size)
    user("PUT", f"{container}/o", body, Content_Type="x/y")
    ranges = [(0, 9), (500, 599), (size - 20, size - 1)]
    wanted = ",".join(f"{first}-{last}" for first, last in ranges)
    answer = user("GET", f"{container}/o", Range=f"bytes={wanted}")
    assert answer.status == 206
    content_type = answer.headers["content-type"]
    assert content_type.startswith("multipart/byteranges")
    assert answer.headers["content-length"] == str(len(answer.body))
    message = email.parser.BytesParser().parsebytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + answer.body
    )
    parts = message.get_payload()
    assert len(parts) == 3
    for part, (first, last) in zip(parts, ranges, strict=True):
        assert part["Content-Range"] == f"bytes {first}-{last}/{size}"
        assert part["Content-Type"] == "x/y"
    for first, last in ranges:
        assert b"\r\n\r\n" + body[first : last + 1] + b"\r\n--" in answer.body


def test_ranges_of_large_objects(user, container):
    body = random.Random(6).randbytes(2_000_000)
    user("PUT", f"{container}/o", body)
    for first, last in ((0, 0), (65_535, 65_536), (100_000, 1_500_000), (1_999_999, 1_999_999)):
        answer = user("GET", f"{container}/o", Range=f"bytes={first}-{last}")
        assert (answer.status, answer.body == body[first : last + 1]) == (206, True)
    assert user("GET", f"{container}/o", Range="bytes=-100").body == body[-100:]


def test_if_none_match_star_guards_what_is_there(user, container):
    for size in (5, 100_000):
        path = f"{container}/o{size}"
        assert user("PUT", path, b"1" * size, If_None_Match="*").status == 201
        assert user("PUT", path, b"2" * size, If_None_Match="*").status == 412
        assert user("GET", path).body == b"1" * size
        assert user("DELETE", path).status == 204
        assert user("PUT", path, b"3" * size, If_None_Match="*").status == 201


# -- metadata, deletion, expiry --------------------------------------------------------------------------------------------


def test_metadata_names_outside_ascii_hide_nothing_from_python(user, container):
    """http.client, which this is asked with, reads no header behind such a name."""
    key = "X-Object-Meta-\u043a\u043b\u044e\u0447".encode()
    assert user("PUT", f"{container}/o", b"0123456789", **{"Content-Type": "a/b"}).status == 201
    assert user("POST", f"{container}/o", headers={key: "v"}).status == 202
    for method in ("GET", "HEAD"):
        answer = user(method, f"{container}/o")
        assert answer.headers["content-length"] == "10"
        assert {"etag", "content-type", "last-modified", "x-timestamp", "x-trans-id"} <= set(answer.headers)
        assert answer.body == (b"0123456789" if method == "GET" else b"")


def test_post_replaces_metadata(user, obj):
    assert user("POST", obj, X_Object_Meta_A="1", X_Object_Meta_B="2", Content_Type="new/type").status == 202
    headers = user("GET", obj).headers
    assert (headers["x-object-meta-a"], headers["x-object-meta-b"]) == ("1", "2")
    assert headers["content-type"] == "new/type"
    assert user("POST", obj, X_Object_Meta_C="3", Content_Disposition="attachment").status == 202
    answer = user("GET", obj)
    assert "x-object-meta-a" not in answer.headers
    assert (answer.headers["x-object-meta-c"], answer.headers["content-disposition"]) == ("3", "attachment")
    assert (answer.headers["content-type"], answer.body) == ("new/type", b"0123456789")
    assert user("POST", f"{obj}-missing", X_Object_Meta_C="3").status == 404


def test_post_changes_the_listing(user, obj, container):
    import json

    assert user("POST", obj, Content_Type="new/type;charset=x").status == 202
    (row,) = json.loads(user("GET", f"{container}?format=json").body)
    assert (row["content_type"], row["bytes"], row["hash"]) == ("new/type;charset=x", 10, md5(b"0123456789"))


def test_stored_headers(user, container):
    headers = {
        "Content-Encoding": "gzip",
        "Content-Disposition": 'attachment; filename="a"',
        "Content-Language": "de",
        "Cache-Control": "no-cache",
        "Expires": "Thu, 01 Jan 1970 00:00:01 GMT",
        "X-Robots-Tag": "none",
    }
    assert user("PUT", f"{container}/o", b"x", headers=headers).status == 201
    found = user("GET", f"{container}/o").headers
    for name, value in headers.items():
        assert found[name.lower()] == value


def test_content_types_are_guessed(user, container):
    for name, expected in (
        ("a.html", "text/html"),
        ("a.png", "image/png"),
        ("a", "application/octet-stream"),
    ):
        connection_headers = {"Content-Type": ""}
        assert user("PUT", f"{container}/{name}", b"x", headers=connection_headers).status == 201
        assert user("HEAD", f"{container}/{name}").headers["content-type"] == expected
    assert (
        user("PUT", f"{container}/b.html", b"x", Content_Type="a/b", X_Detect_Content_Type="true").status
        == 201
    )
    assert user("HEAD", f"{container}/b.html").headers["content-type"] == "text/html"


@pytest.mark.parametrize(
    "header",
    ["X-Backend-Foo", "X-Object-Sysmeta-Foo", "X-Object-Transient-Sysmeta-Foo", "X-Backend-Storage-Policy-Index",
     "X-Backend-Body-Crc32", "X-Backend-Replication", "X-Backend-Etag-Is-At", "X-Backend-Obj-Metadata-Footer",
     "X-Backend-Container-Update-Override-Etag", "X-Object-Sysmeta-Container-Update-Override-Etag",
     "X-Container-Host", "X-Delete-At-Host", "X-Backend-Open-Expired", "X-Backend-Allow-Reserved-Names"],
)  # fmt: skip
def test_headers_of_the_inner_side_are_taken_from_clients(user, container, header):
    for size in (3, 70_000):
        path = f"{container}/o{size}"
        body = b"x" * size
        assert user("PUT", path, body, headers={header: "1"}).status == 201
        answer = user("GET", path, headers={header: "x-object-meta-a"})
        assert (answer.status, answer.body == body, answer.headers["etag"]) == (200, True, md5(body))
        assert not any("sysmeta" in name or "backend" in name for name in answer.headers)
        assert user("POST", path, headers={header: "1"}).status == 202
    listed = user("GET", f"{container}?format=json").body
    assert md5(b"xxx").encode() in listed


def test_a_clients_x_timestamp_is_nothing(user, container):
    assert user("PUT", f"{container}/o", b"new", X_Timestamp="1000000000.00000").status == 201
    assert not user("HEAD", f"{container}/o").headers["x-timestamp"].startswith("1000000000")
    assert user("PUT", f"{container}/o", b"newer", X_Timestamp="9999999999.00000").status == 201
    assert user("PUT", f"{container}/o", b"newest").status == 201
    assert user("GET", f"{container}/o").body == b"newest"
    for bad in ("inf", "nan", "x", "-1"):
        assert user("PUT", f"{container}/o", b"newest", X_Timestamp=bad).status == 201
        assert user("GET", f"{container}/o", X_Timestamp=bad).status == 200


def test_delete(user, obj, container):
    assert user("DELETE", obj).status == 204
    for method in ("GET", "HEAD", "POST", "DELETE"):
        assert user(method, obj).status == 404
    assert user("GET", container).status == 204
    assert user("PUT", obj, b"again").status == 201
    assert user("GET", obj).body == b"again"


def test_expiry(user, container):
    path = f"{container}/o"
    before = int(time.time())
    assert user("PUT", path, b"x", X_Delete_After="100").status == 201
    assert before + 100 <= int(user("HEAD", path).headers["x-delete-at"]) <= time.time() + 101
    assert user("POST", path, X_Delete_At=str(before + 1000)).status == 202
    assert user("HEAD", path).headers["x-delete-at"] == str(before + 1000)
    assert user("POST", path).status == 202
    assert "x-delete-at" not in user("HEAD", path).headers
    assert user("PUT", path, b"x", X_Delete_After="1").status == 201
    assert user("PUT", f"{path}2", b"x" * 70_000, X_Delete_After="1").status == 201
    deadline = time.monotonic() + 60
    while user("HEAD", path).status != 404 or user("HEAD", f"{path}2").status != 404:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    for method in ("GET", "POST", "DELETE"):
        assert user(method, path).status == 404
    assert user("PUT", f"{path}2", b"reborn").status == 201
    assert user("GET", f"{path}2").body == b"reborn"


def test_x_newest(user, obj):
    for method in ("GET", "HEAD"):
        answer = user(method, obj, X_Newest="true")
        assert answer.status == 200
    assert user("GET", obj, X_Newest="true", Range="bytes=3-5").body == b"345"
    assert user("GET", f"{obj}-missing", X_Newest="true").status == 404


def test_keep_alive_over_everything(user, obj, address):
    """One connection through good and bad requests: each gets its own answer."""
    import http.client

    connection = http.client.HTTPConnection(*address, timeout=30)
    token = {"X-Auth-Token": user.token}
    for method, path, body, status in [
        ("GET", obj, None, 200),
        ("PUT", obj, b"x" * 10, 201),
        ("GET", f"{obj}-missing", None, 404),
        ("PUT", f"{obj}-missing/../x", b"y" * 100_000, 201),
        ("PUT", "/nowhere-at-all/o", b"z" * 1000, 404),
        ("HEAD", obj, None, 200),
        ("POST", obj, None, 202),
        ("DELETE", obj, None, 204),
        ("GET", obj, None, 404),
    ]:
        connection.request(method, f"/v1/AUTH_test{path}", body, token)
        response = connection.getresponse()
        response.read()
        assert response.status == status, (method, path)
    connection.close()
