"""Objects: storing, reading in ranges and under conditions, metadata, expiry, deletion, names; in every kind of policy."""

import hashlib

from test.side_by_side.names import LONGEST, ODD, TOO_LONG, quoted
from test.side_by_side.table import Step

BODY = bytes(range(256)) * 40
MD5 = hashlib.md5(BODY).hexdigest()
RANGES = (
    "bytes=0-9", "bytes=-5", "bytes=10230-", "bytes=10240-", "bytes=9-5", "bytes=0-0,-1", "bytes=0-9,20-29,100-199", "bytes=0-99999", "bytes=-99999", "bytes=-0", "bytes=",
    "bytes=x-y", "bytes=1", "items=0-5", "bytes=0-1,0-1,0-1", "bytes=0-9,8-20", "bytes=5-,0-3", "bytes= 0-9", "bytes=0 - 9", "bytes=0-9,", "bytes=10240-10250,0-1",
    "bytes=" + ",".join("0-1" for _ in range(60)), "bytes=" + ",".join(f"{n}-{n}" for n in range(120, 0, -1)), "bytes=-10,0-10,99999-", "BYTES=0-9", "bytes=99999999999999999999-",
)  # fmt: skip
PAST, FUTURE = "Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2038 00:00:00 GMT"
CONDITIONS = (
    {"If-Match": MD5}, {"If-Match": f'"{MD5}"'}, {"If-Match": "*"}, {"If-Match": "x"}, {"If-Match": f'"x", "{MD5}"'}, {"If-None-Match": MD5}, {"If-None-Match": "*"},
    {"If-None-Match": '"x"'}, {"If-None-Match": f'W/"{MD5}"'}, {"If-Modified-Since": PAST}, {"If-Modified-Since": FUTURE}, {"If-Unmodified-Since": PAST},
    {"If-Unmodified-Since": FUTURE}, {"If-Modified-Since": "yesterday"}, {"If-Unmodified-Since": "yesterday"}, {"If-Match": MD5, "Range": "bytes=0-3"},
    {"If-None-Match": MD5, "Range": "bytes=0-3"}, {"If-Match": "x", "Range": "bytes=99999-"},
)  # fmt: skip
SAME_RANGES = {"*": "three equal ranges overlap"}
UNREAD = "the rest of a long body is not read, so the connection ends"


def in_policy(name: str) -> list[Step]:
    """What every kind of policy must do."""
    wrong = {"header last-modified": "told of replicated objects by both"} if name == "ec21" else {}
    c = f"/{name}"
    return [
        Step("PUT", c, {"X-Storage-Policy": name}),
        Step("GET", f"{c}/o"),
        Step("HEAD", f"{c}/o"),
        Step("POST", f"{c}/o", {"X-Object-Meta-A": "b"}),
        Step("DELETE", f"{c}/o"),
        Step("PUT", f"{c}/o", {"X-Object-Meta-Color": "blue", "X-Object-Meta-€": "☃", "Content-Type": "text/x-test"}, BODY),
        Step("HEAD", f"{c}/o"),
        Step("GET", f"{c}/o"),
        *(Step("GET", f"{c}/o", {"Range": text}, differs=SAME_RANGES if text == RANGES[14] else {}) for text in RANGES),
        *(Step("HEAD", f"{c}/o", {"Range": text}) for text in RANGES[:6]),
        *(Step(method, f"{c}/o", condition) for condition in CONDITIONS for method in ("GET", "HEAD")),
        Step("POST", f"{c}/o", {"X-Object-Meta-Size": "big"}),
        Step("HEAD", f"{c}/o"),
        Step("POST", f"{c}/o", {"Content-Type": "image/png", "Content-Disposition": "attachment", "Content-Encoding": "gzip", "X-Robots-Tag": "no", "Cache-Control": "max-age=3", "Expires": FUTURE, "Content-Language": "de"}),
        Step("GET", f"{c}/o"),
        Step("GET", f"{c}?format=json"),
        Step("POST", f"{c}/o"),
        Step("HEAD", f"{c}/o"),
        Step("PUT", f"{c}/o", {"Etag": MD5}, BODY),
        Step("PUT", f"{c}/o", {"Etag": f'"{MD5}"'}, BODY),
        Step("PUT", f"{c}/o", {"Etag": "0" * 32}, BODY, differs=wrong),
        Step("PUT", f"{c}/o", {"Etag": "bogus"}, BODY, differs=wrong),
        Step("PUT", f"{c}/o", {"If-None-Match": "*"}, b"other"),
        Step("PUT", f"{c}/new", {"If-None-Match": "*"}, b"other"),
        Step("PUT", f"{c}/o", {"If-None-Match": MD5}, b"other"),
        Step("PUT", f"{c}/o", {"If-Match": "x"}, b"other"),
        Step("PUT", f"{c}/chunked", body=[b"one ", b"two ", b"three"]),
        Step("GET", f"{c}/chunked"),
        Step("PUT", f"{c}/chunked-etag", {"Etag": "0" * 32}, [b"one ", b"two "], differs=wrong),
        Step("PUT", f"{c}/empty"),
        Step("GET", f"{c}/empty"),
        Step("GET", f"{c}/empty", {"Range": "bytes=0-1"}),
        Step("GET", f"{c}/empty", {"Range": "bytes=-1"}),
        Step("PUT", f"{c}/large", body=b"0123456789abcdef" * 20000),
        Step("GET", f"{c}/large", {"Range": "bytes=100000-100020,-3"}),
        Step("HEAD", f"{c}/large"),
        Step("DELETE", f"{c}/o"),
        Step("DELETE", f"{c}/o"),
        Step("GET", f"{c}/o"),
        Step("GET", f"{c}?format=json"),
        Step("HEAD", c),
    ]  # fmt: skip


STEPS = [
    Step("PUT", "/nowhere/o", body=b"x"),
    Step("GET", "/nowhere/o"),
    *in_policy("gold"),
    *in_policy("silver"),
    *in_policy("ec21"),
    Step("PUT", "/c"),
    # -- names
    *(step for name in ODD for step in (
        Step("PUT", f"/c/{quoted(name)}", {"Content-Type": "text/plain"}, name),
        Step("GET", f"/c/{quoted(name)}"),
        Step("HEAD", f"/c/{quoted(name)}", {"Range": "bytes=0-1"}),
    )),
    *(Step(method, f"/c/{quoted(name)}", body=b"x" if method == "PUT" else b"") for name in (LONGEST, TOO_LONG) for method in ("PUT", "GET", "DELETE")),
    Step("PUT", "/c/%ff", body=b"x"),
    Step("PUT", "/c/a%00b", body=b"x"),
    Step("GET", "/c/a%00b"),
    Step("PUT", "/c/%2F", body=b"x"),
    Step("GET", "/c/"),
    Step("PUT", "/c/raw☃", body=b"x"),
    Step("GET", "/c?format=json"),
    Step("GET", "/c?format=xml"),
    Step("GET", "/c"),
    *(Step("DELETE", f"/c/{quoted(name)}") for name in ODD[:12]),
    # -- heads
    Step("PUT", "/c/length", {"Content-Length": None}),
    Step("PUT", "/c/length", {"Content-Length": "5368709123"}, user="", differs={"header connection": UNREAD}),
    Step("PUT", "/c/length", {"Content-Length": "5368709123"}, differs={"header connection": UNREAD, "body": "it says what the limit is"}),
    Step("PUT", "/c/length", {"Transfer-Encoding": "gzip", "Content-Length": None}, differs={"header connection": "where such a body ends is unknown"}),
    Step("PUT", "/c/type", {"Content-Type": "text/html; charset=utf-8; x=\"a;b\""}, b"x"),
    Step("GET", "/c/type"),
    Step("PUT", "/c/type", {"Content-Type": ""}, b"x"),
    Step("GET", "/c/type"),
    Step("PUT", "/c/type", {"Content-Type": "text/plain;swift_bytes=9"}, b"x"),
    Step("HEAD", "/c/type"),
    Step("PUT", "/c/guess.png", body=b"x"),
    Step("HEAD", "/c/guess.png"),
    Step("PUT", "/c/guess.png", {"X-Detect-Content-Type": "true", "Content-Type": "text/plain"}, b"x"),
    Step("HEAD", "/c/guess.png"),
    Step("PUT", "/c/type", {"Content-Type": "☃"}, b"x"),
    Step("GET", "/c/type"),
    Step("PUT", "/c/m", {f"X-Object-Meta-M{n}": "v" for n in range(91)}, b"x"),
    Step("PUT", "/c/m", {"X-Object-Meta-" + "n" * 129: "x"}, b"x"),
    Step("PUT", "/c/m", {"X-Object-Meta-N": "v" * 257}, b"x"),
    Step("PUT", "/c/m", {"X-Object-Meta-": "v"}, b"x"),
    Step("PUT", "/c/m", {f"X-Object-Meta-{'m' * 100}{n}": "v" * 250 for n in range(20)}, b"x"),
    Step("PUT", "/c/m", {"X-Object-Sysmeta-Secret": "mine", "X-Object-Transient-Sysmeta-Secret": "mine", "X-Object-Meta-Ok": "1"}, b"x"),
    Step("HEAD", "/c/m"),
    Step("PUT", "/c/m", {"X-Timestamp": "1.0"}, b"x"),
    Step("PUT", "/c/m", {"X-Backend-Storage-Policy-Index": "1"}, b"x"),
    Step("HEAD", "/c/m", {"X-Newest": "true"}),
    Step("GET", "/c/m?multipart-manifest=get"),
    # -- expiry
    Step("PUT", "/c/x", {"X-Delete-At": "9999999999"}, b"x"),
    Step("HEAD", "/c/x"),
    Step("POST", "/c/x", {"X-Object-Meta-A": "b"}),
    Step("HEAD", "/c/x"),
    Step("PUT", "/c/x", {"X-Delete-At": "1"}, b"x"),
    Step("PUT", "/c/x", {"X-Delete-At": "soon"}, b"x"),
    Step("PUT", "/c/x", {"X-Delete-After": "soon"}, b"x"),
    Step("PUT", "/c/x", {"X-Delete-After": "-1"}, b"x"),
    Step("PUT", "/c/x", {"X-Delete-After": "0"}, b"x"),
    Step("PUT", "/c/x", {"X-Delete-After": "99999999999999999999"}, b"x"),
    Step("PUT", "/c/x", {"X-Delete-At": "9999999999", "X-Delete-After": "x"}, b"x"),
    Step("POST", "/c/x", {"X-Delete-At": "1"}),
    Step("POST", "/c/x", {"X-Delete-At": "x"}),
    Step("POST", "/c/x", {"X-Remove-Delete-At": "x"}),
    Step("PUT", "/c/gone", {"X-Delete-After": "1"}, b"x"),
    Step("GET", "/c/gone", wait=1.2),
    Step("HEAD", "/c/gone"),
    Step("POST", "/c/gone", {"X-Object-Meta-A": "b"}),
    Step("HEAD", "/c/gone", {"X-Open-Expired": "true"}),
    Step("DELETE", "/c/gone"),
    Step("DELETE", "/c/x", {"X-If-Delete-At": "5"}),
    # -- other verbs, other users
    Step("BREW", "/c/m"),
    Step("PATCH", "/c/m"),
    Step("TRACE", "/c/m"),
    Step("POST", "/c/none", {"X-Object-Meta-A": "b"}),
    *(Step(method, "/c/m", body=b"x" if method == "PUT" else b"", user=user) for user in ("member", "other", "") for method in ("GET", "HEAD", "PUT", "POST", "DELETE")),
    Step("GET", "/c/m", {"X-Auth-Token": "bogus"}, user=""),
    Step("GET", "/c/m", {"Authorization": "Basic eDp5"}, user=""),
    Step("DELETE", "/c/m", {"X-Timestamp": "1.0"}),
    Step("GET", "/c/m"),
]  # fmt: skip
