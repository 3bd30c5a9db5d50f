"""What is done to a request before it is sent: its words replaced, its body broken, its framing made a lie. By chance, from a seed.

What never lives here: sending, judging.
"""

from __future__ import annotations

import functools
import pathlib
import random
import re

from test.fuzz.traffic import Sent

ROOT = pathlib.Path(__file__).parents[2]

METHODS = (
    "GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "OPTIONS", "REPLICATE", "SSYNC", "UPDATE", "PATCH", "CONNECT", "TRACE", "get", "X" * 300, "(", "GETorHEAD",
    "__init__", "reload", "verbs",
)  # fmt: skip
VALUES = (
    "", " ", "0", "-1", "+1", "1e9", "99999999999999999999999", "-99999999999999999999", "NaN", "inf", "0x10", "1_0", "１２", "true", "yes", "None", "null", "{}",
    "[]", '{"a": 1}', "[[[[[[[[[", '"', "'", "\\", "%", "%00", "%zz", "%ff%fe", "../..", "/", "//", "a/b", "/a/b/c/d", "*", "*,*", ";", "=", ",", ",,,", "a=b;c", "x" * 300,
    "x" * 5000, "é", "\xff\xfe", "\xc3\xa9", "\xed\xa0\x80", "\x7f", "\x01", "\t", "bytes=-", "bytes=5-1", "bytes=0-0,0-0,0-0,0-0", "bytes=-99999999999999999999", "bytes=a-b",
    "1700000000.00000", "1700000000.00000_0000000000000001", "9999999999.99999", "99999999999.99999_ffffffffffffffff", "0000000000.00000", "-1.5", "1.2.3",
    "Mon, 30 Nov 2026 12:00:00 GMT", "Thu, 01 Jan 0000 00:00:00 GMT", "2027-01-01T00:00:00Z", "2027-13-45T99:99:99Z", "http://x/y", "//a/b/c/d", "127.0.0.1:1", "[::1]:1",
    "::::", "AUTH_test/fuzz", "AUTH_test", ".shards_a/c", "\x00", ".r:*,.rlistings", "application/json; charset=\"", "multipart/form-data; boundary=", "text/xml;q=5",
    '[{"timestamp": 1}]', "<a>", "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>", "AWS4-HMAC-SHA256 Credential=", "AWS a:b", "Bearer x",
)  # fmt: skip
ODD_LINES = (
    ("Expect", "100-continue"), ("Expect", "200-ok"), ("Connection", "close, keep-alive"), ("Connection", "Upgrade"), ("Upgrade", "h2c"), ("TE", "trailers"),
    ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "gzip, chunked"), ("Content-Length", "0"), ("Host", "other"), ("Trailer", "X-Trailer"),
    ("X" * 300, "y"), ("X-Long", "y" * 8180), ("Cookie", "a=b; " * 1000), ("X_Auth_Token", "x"), ("Accept", "*/*;q=0.1, " * 500), ("Range", "bytes=" + "0-1," * 1000),
)  # fmt: skip
SEGMENTS = (
    "", ".", "..", "%2e%2e", "%2F", "%00", "%ff", "%C3%A9", "a%20b", "x" * 257, "x" * 1100, "AUTH_test", "AUTH_", "fuzz", "fuzz-s3", "o", "sdb1", "sdb2", "1", "-1", "0123", "99999999",
    "%00obj%00v", ".misplaced_objects", "recon", "metrics", "v1", "v1.0", "auth", "*", "a b", "é", "%", "%u1234", ";a=b", "0123456789abcdef0123456789abcdef", "abc-def",
)  # fmt: skip
BODIES = (
    b"", b"{}", b"[]", b"null", b'"', b"[" * 5000, b'{"a":' * 2000, b"[1, 2", b'["sync"]', b'["merge_items", [{}], "x"]', b'[{"name": 1, "created_at": null}]', b"\x00" * 100,
    b"\xff\xfe" * 100, b"<a>", b"<a" * 3000, b"<?xml version='1.0'?><!DOCTYPE a><a/>", b"a=b&c=d&&&=", b"x" * 100_000, b"\x1f\x8b\x08\x00" + b"\x00" * 50, b"\r\n" * 100,
    b"--B--\r\n", b":MISSING_CHECK: START\r\nx y z\r\n", b":UPDATES: START\r\n", b"ustar" * 200, b'{"data": "' + b"A" * 9000 + b'"}', b"1" * 5000, b'[{"path": "/a/b", "range": "5-"}]',
)  # fmt: skip


@functools.cache
def words() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(names of headers, names of parameters) that the code knows of."""
    text = "".join(path.read_text() for path in sorted((ROOT / "swift").rglob("*.py")))
    headers = set(
        re.findall(
            r'"((?:X-|x-amz-|If-|Content-|Accept|Range|Expect|Host|Origin|Transfer)[A-Za-z0-9-]{0,50})"', text
        )
    )
    headers |= {name.replace("_", "-").title() for name in re.findall(r'"HTTP_([A-Z0-9_]{3,60})"', text)}
    parameters = set(re.findall(r'"([a-z][a-z0-9]*(?:[-_][a-z0-9]+)*)"', text))
    return tuple(sorted(headers)), tuple(sorted(word for word in parameters if len(word) < 30))


class Changes:
    """A stream of requests from kinds of them. `pair` of the same numbers is always the same, whatever came before."""

    def __init__(self, kinds: list[Sent], seed: int) -> None:
        self.kinds = kinds
        self.seed = seed

    def request(self, number: int) -> tuple[Sent, random.Random]:
        """The request of this number, not signed yet, and the chance that goes on to `bytes_of` it."""
        chance = random.Random(f"{self.seed} {number}")
        sent = chance.choice(self.kinds).copy()
        for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 3, 5))):
            chance.choice((_header, _header, _header, _more_header, _path, _query, _method, _body, _way))(
                sent, chance
            )
        return sent, chance


def _header(sent: Sent, chance: random.Random) -> None:
    if not sent.headers:
        return _more_header(sent, chance)
    at = chance.randrange(len(sent.headers))
    name, value = sent.headers[at]
    what = chance.randrange(6)
    if what == 0:
        del sent.headers[at]
    elif what == 1:
        sent.headers.append((name, chance.choice(VALUES)))
    elif what == 2:
        sent.headers[at] = (name, _broken(value, chance))
    else:
        sent.headers[at] = (name, chance.choice(VALUES))
    return None


def _more_header(sent: Sent, chance: random.Random) -> None:
    sent.headers.append((chance.choice(words()[0]), chance.choice(VALUES)))


def _broken(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text) + 1)
    what = chance.randrange(4)
    if what == 0:
        return text[:at]
    if what == 1:
        return text[:at] + chance.choice(VALUES)[:50] + text[at:]
    if what == 2:
        return text + text
    return text[:at] + chr(chance.randrange(256)) + text[at + 1 :]


def _path(sent: Sent, chance: random.Random) -> None:
    parts = sent.path.split("/")
    at = chance.randrange(1, len(parts)) if len(parts) > 1 else 0
    what = chance.randrange(4)
    if what == 0:
        parts[at] = chance.choice(SEGMENTS)
    elif what == 1:
        parts.insert(at, chance.choice(SEGMENTS))
    elif what == 2:
        del parts[at]
    else:
        parts[at] = _broken(parts[at], chance)
    sent.path = "/".join(parts) or "/"


def _query(sent: Sent, chance: random.Random) -> None:
    pairs = sent.query.split("&") if sent.query else []
    if pairs and chance.random() < 0.6:
        at = chance.randrange(len(pairs))
        name = pairs[at].partition("=")[0]
        pairs[at] = chance.choice(
            (
                name,
                f"{name}={chance.choice(VALUES)}",
                f"{name}={chance.choice(SEGMENTS)}",
                _broken(pairs[at], chance),
            )
        )
    else:
        pairs.append(
            chance.choice(words()[1])
            + chance.choice(("", "=" + chance.choice(VALUES), "=" + chance.choice(SEGMENTS)))
        )
    sent.query = "&".join(pairs)


def _method(sent: Sent, chance: random.Random) -> None:
    sent.method = chance.choice(METHODS)


def _body(sent: Sent, chance: random.Random) -> None:
    body = sent.body
    what = chance.randrange(6)
    if what == 0 or not body:
        sent.body = chance.choice(BODIES)
    elif what == 1:
        sent.body = body[: chance.randrange(len(body))]
    elif what == 2:
        at = chance.randrange(len(body))
        sent.body = body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :]
    elif what == 3:
        at = chance.randrange(len(body))
        sent.body = body[:at] + chance.choice(BODIES)[:1000] + body[at:]
    elif what == 4:
        at = chance.randrange(len(body))
        sent.body = body[:at] + body[at + chance.randrange(20) :]
    else:
        sent.chunked = not sent.chunked


def _way(sent: Sent, chance: random.Random) -> None:
    if sent.to == "proxy":
        sent.way = chance.choice(("token", "s3", "s3 in the address", ""))


def framed(sent: Sent, headers: list[tuple[str, str]], chance: random.Random) -> tuple[bytes, bytes]:
    """(head without its empty line, body) as they go over the wire; now and then they don't fit each other."""
    lie = chance.random() < 0.05
    if sent.chunked:
        headers = [*headers, ("Transfer-Encoding", "chunked")]
        size = chance.choice((1, 7, 1000, 65536))
        pieces = [sent.body[at : at + size] for at in range(0, min(len(sent.body), size * 300), size)]
        note = chance.choice((b"", b"", b"", b";a=b", b' ; a="b\\""', b";" + b"x" * 900))
        body = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), note, piece) for piece in pieces)
        body += (
            b"0\r\n"
            + chance.choice(
                (
                    b"",
                    b"",
                    b"",
                    b"X-Trailer: a\r\n",
                    b"Content-Length: 5\r\n" * 20,
                    b"a:" + b"x" * 8100 + b"\r\n",
                )
            )
            + b"\r\n"
        )
        if lie:
            at = chance.randrange(len(body))
            body = (
                body[:at]
                + chance.choice((b"", b"g", b"\n", b"ffffffffffffffff\r\n", b"-1\r\n"))
                + body[at + 1 :]
            )
    else:
        body = sent.body
        named = any(name.lower() == "content-length" for name, _ in headers)
        if (body or sent.method in ("PUT", "POST")) and not named:
            length = (
                str(len(body))
                if not lie
                else chance.choice((str(len(body) + 5), str(max(0, len(body) - 3)), "-1", "x", "9" * 30))
            )
            headers = [*headers, ("Content-Length", length)]
    target = sent.path + (f"?{sent.query}" if sent.query else "")
    odd = chance.random()
    if odd < 0.02:
        target = (
            chance.choice(("http://fuzz", "HTTP://other:80", "https://", "ftp://x", "*", "http:")) + target
        )
    version = (
        chance.choice(("HTTP/1.0", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0")) if 0.02 <= odd < 0.05 else "HTTP/1.1"
    )
    if 0.05 <= odd < 0.08:
        headers = [*headers, chance.choice(ODD_LINES)]
    lines = [f"{sent.method} {target} {version}\r\n"]
    if not any(name.lower() == "host" for name, _ in headers):
        lines.append("Host: fuzz\r\n")
    lines += [f"{name}: {value}\r\n" for name, value in headers]
    head = "".join(lines).encode("latin-1", "replace")
    if chance.random() < 0.03:
        at = chance.randrange(len(head))
        head = head[:at] + bytes([chance.randrange(256)]) + head[at + 1 :]
    return head, body
