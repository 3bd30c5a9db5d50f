"""Request heads: what is accepted, what is refused and how (spec proxy-and-backend.md 21.1, house overrides)."""

import contextlib

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.wire import parser
from swift.wire.parser import BadHead, HeadLimits, parse_head, refuse_unfinished

LIMITS = HeadLimits()
BASE = {"CONTENT_TYPE": "", "wsgi.version": (1, 0)}


def parse(head, limits=LIMITS):
    return parse_head(head, BASE, limits)


def test_pieces_of_the_environ():
    environ = parse(
        b"PUT /v1/a/c/o%20%2f%C3%A9?x=%20y&z HTTP/1.1\r\nHost: h:8080\r\nX-Object-Meta-Caf\xc3\xa9:  \t v\xc3\xa9 \t\r\n"
        b"content-type: a/b\r\nCONTENT-LENGTH: 007\r\nx-a: 1\r\nX-A:2\r\nX_Under: dropped\r\nX-Empty:\r\n\r\n"
    )
    assert environ == {
        **BASE,
        "REQUEST_METHOD": "PUT",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "RAW_PATH_INFO": "/v1/a/c/o%20%2f%C3%A9",
        "PATH_INFO": "/v1/a/c/o /\xc3\xa9",
        "QUERY_STRING": "x=%20y&z",
        "HTTP_HOST": "h:8080",
        "HTTP_X_OBJECT_META_CAF\xc3\xa9": "v\xc3\xa9",
        "CONTENT_TYPE": "a/b",
        "CONTENT_LENGTH": "007",
        "HTTP_X_A": "1,2",
        "HTTP_X_EMPTY": "",
        "swift.head_size": 175,
    }
    assert BASE == {"CONTENT_TYPE": "", "wsgi.version": (1, 0)}


@pytest.mark.parametrize(
    ("line", "path", "query"),
    [
        (b"GET /a?b?c HTTP/1.1", "/a", "b?c"),
        (b"GET /a\xc3\xa9 HTTP/1.1", "/a\xc3\xa9", ""),
        (b"GET /a%zz%4 HTTP/1.1", "/a%zz%4", ""),
        (b"GET /a%00b HTTP/1.1", "/a\0b", ""),
        (b"GET http://host/a?b HTTP/1.1", "/a", "b"),
        (b"GET HTTPS://host:1 HTTP/1.1", "/", ""),
        (b"GET http://host?b=/c HTTP/1.1", "/", "b=/c"),
        (b"OPTIONS * HTTP/1.1", "*", ""),
        (b"GET //a/b HTTP/1.1", "//a/b", ""),
        (b"get /a#b HTTP/1.0", "/a#b", ""),
        (b"FR!OB /a HTTP/1.9", "/a", ""),
        (b"GET /a", "/a", ""),
    ],
)
def test_request_lines(line, path, query):
    environ = parse(line + b"\r\nHost: h\r\n\r\n")
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path, query)


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"GET", 400, "Bad request syntax ('GET')"),
        (b"GET  / HTTP/1.1", 400, "Bad request syntax ('GET  / HTTP/1.1')"),
        (b"GET /a b HTTP/1.1", 400, "Bad request syntax ('GET /a b HTTP/1.1')"),
        (b"GET / HTTP/1.1 ", 400, "Bad request syntax ('GET / HTTP/1.1 ')"),
        (b" GET / HTTP/1.1", 400, "Bad request syntax (' GET / HTTP/1.1')"),
        (b"GET /\0 HTTP/1.1", 400, "Bad request syntax ('GET /\\x00 HTTP/1.1')"),
        (b"GET\t/ HTTP/1.1", 400, "Bad request syntax ('GET\\t/ HTTP/1.1')"),
        (b"G\xe9T / HTTP/1.1", 400, "Bad request syntax ('G\\xe9T / HTTP/1.1')"),
        (b"GET / HTTX/1.1", 400, "Bad request version ('HTTX/1.1')"),
        (b"GET / HTTP/1", 400, "Bad request version ('HTTP/1')"),
        (b"GET / http/1.1", 400, "Bad request version ('http/1.1')"),
        (b"GET / HTTP/2.0", 505, "Invalid HTTP version (2.0)"),
        (b"PUT /", 400, "Bad HTTP/0.9 request type ('PUT')"),
        (b"GET /" + b"x" * 8192 + b" HTTP/1.1", 414, "Request URI Too Long"),
    ],
)
def test_refused_request_lines(line, status, reason):
    with pytest.raises(BadHead) as caught:
        parse(line + b"\r\nHost: h\r\n\r\n")
    assert (caught.value.status, caught.value.reason) == (status, reason)


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        (b"Content-Length: 1\r\nTransfer-Encoding: chunked", 400, "Both"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 1", 400, "Both"),
        (b"Content-Length: 1\r\nContent-Length: 2", 400, "Bad Request"),
        (b"Content-Length: 1, 1", 400, "Bad Request"),
        (b"Content-Length: -1", 400, "Bad Request"),
        (b"Content-Length: +1", 400, "Bad Request"),
        (b"Content-Length: 1_0", 400, "Bad Request"),
        (b"Content-Length: 0x10", 400, "Bad Request"),
        (b"Content-Length: \xb2", 400, "Bad Request"),
        (b"Content-Length:", 400, "Bad Request"),
        (b"Content-Length: 99999999999999999999", 400, "Bad Request"),
        (b"Transfer-Encoding: gzip", 400, "Invalid Transfer-Encoding"),
        (b"Transfer-Encoding: chunked, gzip", 400, "Invalid Transfer-Encoding"),
        (b"Transfer-Encoding: identity", 400, "Invalid Transfer-Encoding"),
        (b"Transfer-Encoding: xchunked", 400, "Invalid Transfer-Encoding"),
        (b"Transfer-Encoding: \x0bchunked", 400, "Invalid Transfer-Encoding"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", 400, "Invalid Transfer-Encoding"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400, "Invalid Transfer-Encoding"),
        (b"Transfer-Encoding:", 400, "Invalid Transfer-Encoding"),
        (b"Transfer-Encoding: gzip, chunked", 501, "Unsupported Transfer-Coding"),
        (b"Host: a\r\nHost: b", 400, "Host"),
        (b"X-A: b\r\n folded", 400, "Folded"),
        (b"X-A: b\r\n\tfolded", 400, "Folded"),
        (b" X-A: b", 400, "Folded"),
        (b"X-A: b\nX-B: c", 400, "alone"),
        (b"X-A: b\rX-B: c", 400, "alone"),
        (b"X-A: b\0", 400, "NUL"),
        (b"X-\0A: b", 400, "NUL"),
        (b"X-A : b", 400, "Bad header line"),
        (b"X A: b", 400, "Bad header line"),
        (b": b", 400, "Bad header line"),
        (b"no colon", 400, "Bad header line"),
        (b"X-A: " + b"b" * 8192, 400, "Header Line Too Long"),
        (b"\r\n".join([b"X-A: " + b"b" * 1000] * 70), 400, "Headers Too Large"),
        (b"\r\n".join([b"X-%d: b" % i for i in range(202)]), 431, "Too many headers"),
        (b"\r\n".join([b"A:b"] * 10000), 431, "Too many headers"),
    ],
)
def test_refused_headers(headers, status, text):
    with pytest.raises(BadHead) as caught:
        parse(b"PUT /a HTTP/1.1\r\n" + headers + b"\r\n\r\n")
    assert caught.value.status == status
    assert text in caught.value.reason + caught.value.explanation


def test_transfer_encoding_needs_http_1_1():
    with pytest.raises(BadHead):
        parse(b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")
    environ = parse(b"PUT / HTTP/1.1\r\nTransfer-Encoding: CHUNKED \r\n\r\n")
    assert environ["HTTP_TRANSFER_ENCODING"] == "chunked"


def test_equal_repeated_lengths_are_one():
    assert parse(b"PUT / HTTP/1.1\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n")["CONTENT_LENGTH"] == "5"


def test_an_underscore_cannot_stand_for_a_hyphen():
    environ = parse(b"PUT / HTTP/1.1\r\nContent_Length: 5\r\nX_Auth_Token: a\r\nX-Auth_Token: b\r\n\r\n")
    assert not [key for key in environ if "AUTH" in key or "LENGTH" in key]


def test_limits_can_be_changed():
    limits = HeadLimits(request_line=20, header_line=12, header_count=2)
    assert parse(b"GET /567 HTTP/1.1\r\nX-A: 123\r\n\r\n", limits)["HTTP_X_A"] == "123"
    for head, status in (
        (b"GET /5678 HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX-A: 12345\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA:\r\nB:\r\nC:\r\n\r\n", 431),
    ):
        with pytest.raises(BadHead) as caught:
            parse(head, limits)
        assert caught.value.status == status


def test_the_cache_of_names_is_bounded():
    for i in range(3 * parser._NAMES_LIMIT // 100):
        names = b"".join(b"X-%d-%d: a\r\n" % (i, j) for j in range(100))
        parse(b"GET / HTTP/1.1\r\n" + names + b"\r\n")
    parse(b"GET / HTTP/1.1\r\nX-" + b"L" * 5000 + b": a\r\n\r\n")
    assert len(parser._keys) <= parser._NAMES_LIMIT
    assert max(map(len, parser._keys)) <= parser._NAME_LENGTH_LIMIT
    assert parse(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")["HTTP_HOST"] == "h"


@pytest.mark.parametrize(
    ("buffer", "status"),
    [
        (b"GET / HTTP/1.1\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\rx", 400),
        (b"x" * 8200, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 8200, 400),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000, 400),
    ],
)
def test_a_head_that_cannot_become_good_is_refused_early(buffer, status):
    with pytest.raises(BadHead) as caught:
        refuse_unfinished(buffer, LIMITS)
    assert caught.value.status == status
    with pytest.raises(BadHead):
        # byte by byte, as it drips in
        for end in range(1, len(buffer) + 1):
            if end < 100 or end > len(buffer) - 3 or end % 997 == 0:
                refuse_unfinished(buffer[:end], LIMITS, 0 if end % 7 else max(end - 1000, 0))


def test_an_unfinished_good_head_is_waited_for():
    head = b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 8000 + b"\r\n\r\n"
    for end in (*range(1, 60), *range(60, len(head), 500)):
        refuse_unfinished(head[:end], LIMITS, end // 2)


# --- h11 as the judge

token = st.text(st.sampled_from("abcXYZ-09!#$%&'*+.^`|~"), min_size=1, max_size=8)
value = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=12)
name = st.one_of(
    token,
    st.sampled_from(["Content-Length", "Transfer-Encoding", "Host", "Content-Type", "content-length"]),
    st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=4),
)
known_value = st.sampled_from(["chunked", "5", "0", "5, 5", "-1", "gzip, chunked", "", "\t5 ", "5\r\n 6"])
separator = st.sampled_from([": ", ":", ":\t", " : ", ""])
line_end = st.sampled_from(["\r\n"] * 12 + ["\n", "\r", "\r\r\n", "\r\n "])
header = st.tuples(name, separator, st.one_of(value, known_value), line_end).map("".join)
target = st.one_of(
    st.sampled_from(["/", "*", "/a/b?c", "http://h/x", "/a%20b"]),
    st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=6),
)
version = st.sampled_from(["HTTP/1.1"] * 6 + ["HTTP/1.0", "HTTP/2.0", "HTTP/1.1 ", "http/1.1", ""])


@settings(max_examples=600, deadline=None)
@given(
    st.one_of(token, st.sampled_from(["GET", "PUT", "HEAD"])),
    target,
    version,
    line_end,
    st.lists(header, max_size=5),
)
def test_we_accept_only_what_h11_accepts_and_read_the_same(method, target, version, end, headers):
    head = f"{method} {target} {version}{end}{''.join(headers)}\r\n".encode("latin-1")
    head = head[: head.index(b"\r\n\r\n") + 4] if b"\r\n\r\n" in head else head
    try:
        environ = parse(head)
    except BadHead as error:
        assert error.status in (400, 414, 431, 501, 505)
        return
    if environ["SERVER_PROTOCOL"] == "HTTP/0.9":
        return
    judge = h11.Connection(h11.SERVER)
    # Where we knowingly take more than h11: no Host, bytes above ASCII and odd punctuation in targets and names.
    names = [line.split(b":")[0] for line in head.split(b"\r\n")[1:-2]]
    with contextlib.suppress(ValueError):
        if not any(n.lower() == b"host" for n in names):
            head = head[:-2] + b"Host: h\r\n\r\n"
    judge.receive_data(head)
    try:
        event = judge.next_event()
    except h11.RemoteProtocolError as error:
        odd_name = any(set(n) - TOKEN for n in names)
        odd_method = not set(method.encode("latin-1")) <= TOKEN
        assert odd_name or not target.isascii() or odd_method or _controls(head), (head, error)
        return
    assert isinstance(event, h11.Request)
    assert event.method.decode() == environ["REQUEST_METHOD"]
    for key, h11_name in (
        ("CONTENT_LENGTH", b"content-length"),
        ("HTTP_TRANSFER_ENCODING", b"transfer-encoding"),
    ):
        found = [v.decode() for n, v in event.headers if n == h11_name]
        assert set(found) == ({environ[key]} if key in environ else set())
    for n, v in event.headers:
        if b"_" not in n and n != b"host":
            shown = environ[parser.environ_key(n.decode("latin-1"))]
            assert v.decode("latin-1") in shown


TOKEN = set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-!#$%&'*+.^_`|~")


def _controls(head):
    return any(byte < 32 and byte not in b"\t\r\n" or byte == 127 for byte in head)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data):
    with contextlib.suppress(BadHead):
        parse(data + b"\r\n\r\n" if not data.endswith(b"\r\n\r\n") else data)
    with contextlib.suppress(BadHead):
        refuse_unfinished(data, LIMITS)
