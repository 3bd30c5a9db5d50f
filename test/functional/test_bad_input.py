"""What nobody should send: each gets the 4xx that fits, with a short body, and the store goes on as before."""

import socket

import pytest

LONG = "x" * 20_000


def exchange(address, data):
    with socket.create_connection(address, 30) as sock:
        sock.settimeout(10)
        sock.sendall(data)
        answer = b""
        try:
            while True:
                part = sock.recv(65536)
                if not part:
                    break
                answer += part
        except (ConnectionResetError, TimeoutError):
            pass
    return answer


def request_of(user, method, target, lines="", body=b""):
    head = f"{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Auth-Token: {user.token}\r\n{lines}\r\n"
    return head.encode("latin-1") + body


TARGETS = [
    ("/", (404,)),
    ("//", (404,)),
    ("/v1", (412,)),
    ("/v1/", (412,)),
    ("/v1//", (404,)),
    ("/v2/AUTH_test", (400, 401, 403)),
    ("/v1.0/AUTH_test", (200, 204)),
    ("/V1/AUTH_test", (400, 401, 403, 404)),
    ("/v1/AUTH_test//", (404,)),
    ("/v1/AUTH_test//o", (404,)),
    ("/v1/AUTH_test/../AUTH_test2", (404,)),
    ("/v1/AUTH_test/..%2f..%2fetc%2fpasswd", (404,)),
    ("/v1/AUTH_test/%2e%2e/%2e%2e/etc/passwd", (404,)),
    ("/v1/AUTH_test/c/../../../../etc/passwd", (404,)),
    ("/v1/%00", (401, 403, 412)),
    ("/v1/AUTH_test%00/c", (401, 403, 412)),
    ("/v1/AUTH_test/c%00", (412,)),
    ("/v1/AUTH_test/\xff", (412,)),
    ("/v1/AUTH_test/%c0%af", (412,)),
    ("/v1/AUTH_test/%", (404,)),
    ("/v1/AUTH_test/%zz", (404,)),
    ("/v1/AUTH_test/" + "a" * 7000, (400, 404)),
    ("/v1/AUTH_test/" + LONG, (414,)),
    ("/v1/AUTH_test?" + LONG, (414,)),
    ("/v1/AUTH_\xff", (401, 403, 412)),
    ("/v1/.hidden/c", (401, 403)),
    ("/v1/.expiring_objects", (401, 403)),
    ("http://other/v1/AUTH_test", (200, 204)),
    ("http://", (400, 404, 412)),
    ("*", (400, 404, 412)),
    ("v1/AUTH_test", (400, 404, 412)),
    ("/v1/AUTH_test/c/o?multipart-manifest=get", (404,)),
    ("/v1/AUTH_test?limit=%00&marker=%00&format=json%00", (200, 204)),
    ("/v1/AUTH_test?marker=%ff", (400,)),
    ("/v1/AUTH_test?limit=-5&prefix=" + "%41" * 2000, (200, 204)),
]


@pytest.mark.parametrize(("target", "wanted"), TARGETS)
def test_targets(user, address, target, wanted):
    answer = exchange(address, request_of(user, "GET", target))
    status = int(answer.split(b" ", 2)[1])
    assert status in wanted, answer[:500]
    assert b"Traceback" not in answer
    if status >= 400:
        assert len(answer.partition(b"\r\n\r\n")[2]) < 600


LINES = [
    ("Range: " + "bytes=0-1," * 700, (200, 206, 400, 416)),
    ("Range: bytes=" + "9" * 4000 + "-", (200, 416)),
    ("Range: bytes=0-" + "9" * 4000, (200, 206)),
    ("If-Modified-Since: " + "9" * 4000, (200,)),
    ("If-Modified-Since: Thu, 01 Jan 99999999 00:00:01 GMT", (200,)),
    ("If-Unmodified-Since: \xff\xfe", (200, 400, 412)),
    ("If-None-Match: " + '"' * 3999, (200, 304)),
    ("If-Match: " + "," * 3999, (200, 412)),
    ("If-Match: \xff", (200, 412)),
    ("If-Range: " + "x" * 4000, (200,)),
    ("Accept: " + "," * 4000, (200,)),
    ("Accept: \xff/\xff;q=x", (200, 400, 406)),
    ("X-Newest: \xff", (200,)),
    ("Content-Length: 0\r\nContent-Length: 0", (200, 400)),
    ("Content-Length: +1", (400,)),
    ("Content-Length: 0x1", (400,)),
    ("Content-Length: \xb2", (400,)),
    ("Transfer-Encoding: CHUNKED, chunked", (400, 501)),
    ("Expect: 200-maybe", (200, 417)),
    ("Origin: " + "x" * 4000, (200,)),
    ("Origin: \xff", (200,)),
    ("Referer: \xff", (200,)),
    ("User-Agent: \xff" + "x" * 4000, (200,)),
    ("X-Auth-Token: \xff", (200, 401)),
    ("Cookie: " + "x" * 8000, (200, 400)),
    ("X-Foo: " + "x" * 8300, (400,)),
    ("X-Trans-Id-Extra: " + "x" * 3000, (200,)),
    ("X-Trans-Id-Extra: \xff \x7f", (200, 400)),
    ("X-Backend-Etag-Is-At: " + "x," * 2000, (200,)),
    ("X-Object-Meta-A" * 500 + ": b", (200, 400)),
    (": b", (400,)),
    ("A B: c", (400,)),
    ("\xff: b", (200, 400)),
    ("X-A:\x01b", (200, 400)),
    ("Connection: \xff", (200,)),
    ("Upgrade: h2c\r\nHTTP2-Settings: x", (200,)),
    ("Host: other", (400,)),
    ("\r\n".join(f"X-A{i}: b" for i in range(190)), (200,)),
    ("\r\n".join(f"X-A{i}: b" for i in range(500)), (431,)),
    ("\r\n".join(f"X-A{i}: {'b' * 4000}" for i in range(30)), (400,)),
]


@pytest.mark.parametrize(("lines", "wanted"), LINES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_header_lines_of_reads(user, address, obj, method, lines, wanted):
    answer = exchange(address, request_of(user, method, f"/v1/AUTH_test{obj}", lines + "\r\n"))
    status = int(answer.split(b" ", 2)[1])
    assert status in wanted, answer[:500]
    assert user("GET", obj).body == b"0123456789"


@pytest.mark.parametrize(("lines", "wanted"), LINES)
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_header_lines_of_writes_never_give_a_500(user, address, obj, container, method, lines, wanted):
    length = "Content-Length: 3\r\n" if "Content-Length" not in lines and "Transfer" not in lines else ""
    for path in (f"{container}/other", container, ""):
        answer = exchange(
            address, request_of(user, method, f"/v1/AUTH_test{path}", f"{length}{lines}\r\n", b"abc")
        )
        status = int(answer.split(b" ", 2)[1])
        assert status < 500 or status == 501, answer[:500]
        assert b"Traceback" not in answer
    assert user("GET", obj).body == b"0123456789"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Container-Meta-A", b"\xff"),
        ("X-Container-Meta-\xff", b"a"),
        ("X-Container-Read", b"\xff"),
        ("X-Container-Read", b".r:" + b"x" * 4000),
        ("X-Container-Write", b"\x7f"),
        ("X-Storage-Policy", b"\xff"),
        ("X-Storage-Policy", b"x" * 4000),
        ("X-Container-Sync-To", b"nonsense"),
        ("X-Container-Sync-To", b"//a/b/c/d"),
        ("X-Container-Sync-Key", b"\xff"),
        ("X-Versions-Location", b"%ff"),
        ("X-Container-Sharding", b"on"),
        ("X-Container-Meta-Access-Control-Max-Age", b"x"),
        ("X-Container-Meta-Quota-Bytes", b"x"),
    ],
)
def test_odd_headers_of_containers(user, name, address, header, value):
    lines = header.encode("latin-1") + b": " + value + b"\r\n\r\n"
    request = request_of(user, "PUT", f"/v1/AUTH_test/{name}", "Content-Length: 0\r\n")[:-2] + lines
    answer = exchange(address, request)
    assert int(answer.split(b" ", 2)[1]) in (201, 202, 400), answer
    assert user("HEAD", f"/{name}").status in (204, 404)
    assert user("GET", f"/{name}?format=json").status in (200, 404)
    assert user("HEAD", f"/{name}/o", Origin="https://x").status == 404


def test_uploads_that_end_early_or_say_too_little(user, container, address):
    """Early close is tested byte by byte elsewhere; here: what the server answers to a body of the wrong length."""
    for size in (10, 100_000):
        request = request_of(
            user, "PUT", f"/v1/AUTH_test{container}/o", f"Content-Length: {size}\r\n", b"x" * (size // 2)
        )
        with socket.create_connection(address, 30) as sock:
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
            answer = sock.recv(65536)
        assert answer == b"" or answer.split(b" ", 2)[1] in (b"499", b"408", b"400")
        assert user("HEAD", f"{container}/o").status == 404
    assert user("GET", container).status == 204
