"""Copies inside: both verbs, metadata, ranges, conditions, policies, accounts, large objects and links, summaries, and what cannot be meant."""

import json
from urllib.parse import quote

from test.side_by_side.names import LONGEST, ODD
from test.side_by_side.table import Step

ETAG = "781e5e245d69b566979b86e28d23f2c7"
_UTF8 = "500 there for names that are no UTF-8"
_RANGES = "there the multipart text is stored, and then it cannot be served"
_SUMMARY = "a summary of the manifest's PUT stands in it there"
_WHEN = "the time of the source is told there, and that of the copy stored"
_SLO = "the system metadata of the manifest stays with the plain object there, and decides conditions"
META = {
    "X-Object-Meta-Color": "red",
    "X-Object-Meta-Size": "x",
    "Content-Type": "text/plain",
    "Content-Disposition": "inline",
    "Cache-Control": "no-cache",
}
BOTH = (("COPY", "/c/o", "Destination", "d/{0}"), ("PUT", "/d/{0}", "X-Copy-From", "/c/o"))  # fmt: skip


def both(
    to: str,
    headers: dict[str, str] | None = None,
    query: str = "",
    then: tuple[str, ...] = ("GET",),
    **more: object,
) -> list[Step]:
    """The copy by either verb, and a look at it."""
    steps = []
    for number, (method, path, header, value) in enumerate(BOTH):
        name = f"{to}{number}"
        given = {header: value.format(name), **(headers or {})}
        steps.append(Step(method, path.format(name) + query, given, **more))  # type: ignore[arg-type]
        steps += [Step(verb, f"/d/{name}") for verb in then]
    return steps


SET_UP = [
    Step("PUT", "/c"), Step("PUT", "/d"), Step("PUT", "/silver", {"X-Storage-Policy": "silver"}), Step("PUT", "/ec", {"X-Storage-Policy": "ec21"}),
    Step("PUT", "/c/o", META, body="0123456789"), Step("PUT", "/c/empty"), Step("PUT", "/c/binary", body=bytes(range(256)) * 700),
    Step("POST", "/c/o", {**META, "X-Delete-After": "100000"}),
]  # fmt: skip

METADATA = [
    *both("plain", then=("GET", "HEAD")),
    *both("meta", {"X-Object-Meta-Color": "blue", "X-Object-Meta-New": "1", "Content-Type": "image/png", "X-Object-Meta-Size": ""}),
    *both("fresh", {"X-Fresh-Metadata": "true", "X-Object-Meta-New": "1"}), *both("notfresh", {"X-Fresh-Metadata": "no"}),
    *both("freshtype", {"X-Fresh-Metadata": "1", "Content-Type": "image/png"}), *both("detect.html", {"X-Detect-Content-Type": "true"}),
    *both("expires", {"X-Delete-After": "5000"}, then=(), differs={"header x-delete-at": _WHEN}), *both("past", {"X-Delete-At": "5"}), *both("word", {"X-Delete-At": "soon"}),
    *both("toomuch", {"X-Object-Meta-A": "x" * 257}), *both("noname", {"X-Object-Meta-": "x"}), *both("badtype", {"Content-Type": "a/b; swift_bytes=1"}),
    *both("etag", {"Etag": ETAG}), *both("wrongetag", {"Etag": "abc"}), *both("removed", {"X-Remove-Object-Meta-Color": "x"}),
    *both("unicode", {"X-Object-Meta-Ünï": "☃"}), *both("sysmeta", {"X-Object-Sysmeta-X": "y", "X-Backend-X": "y", "X-Timestamp": "1"}, then=("GET",)),
    *both("manifest", {"X-Static-Large-Object": "True"}), *both("dlo", {"X-Object-Manifest": "c/o"}), *both("baddlo", {"X-Object-Manifest": "c"}),
    Step("COPY", "/c/o", {"Destination": "c/o", "X-Object-Meta-Self": "1"}), Step("HEAD", "/c/o"),
    Step("COPY", "/c/o", {"Destination": "c/o", "Content-Type": "text/other"}), Step("HEAD", "/c/o"), Step("GET", "/c?format=json&prefix=o"),
    Step("COPY", "/c/empty", {"Destination": "d/empty"}), Step("GET", "/d/empty"), Step("COPY", "/c/binary", {"Destination": "d/binary"}), Step("GET", "/d/binary"),
]  # fmt: skip

PARTS = [
    *both("r1", {"Range": "bytes=2-4"}), *both("r2", {"Range": "bytes=-3"}), *both("r3", {"Range": "bytes=5-"}), *both("r4", {"Range": "bytes=100-"}),
    *both("r5", {"Range": "nonsense"}), *both("r6", {"Range": "bytes=5-3"}), *both("r7", {"Range": "bytes=2-4", "Etag": "abc"}),
    *both("r8", {"Range": "bytes=0-1,4-5"}, then=(), differs={"*": _RANGES}), *(Step("DELETE", f"/d/r8{n}", differs={"*": _RANGES}) for n in (0, 1)), *both("r9", {"Range": "bytes=0-99"}),
    *both("i1", {"If-None-Match": "*"}), *both("i2", {"If-None-Match": ETAG}), *both("i3", {"If-None-Match": "other"}), *both("i4", {"If-Match": ETAG}),
    *both("i5", {"If-Match": "other"}), *both("i6", {"If-Match": "*"}), *both("i7", {"If-Modified-Since": "Fri, 01 Jan 2038 00:00:00 GMT"}),
    *both("i8", {"If-Unmodified-Since": "Fri, 01 Jan 1999 00:00:00 GMT"}), *both("i9", {"If-Unmodified-Since": "Fri, 01 Jan 2038 00:00:00 GMT"}),
]  # fmt: skip

WHERE = [
    *(Step("COPY", "/c/o", {"Destination": f"{box}/o"}) for box in ("silver", "ec")), *(Step("GET", f"/{box}/o") for box in ("silver", "ec")),
    Step("COPY", "/ec/o", {"Destination": "/silver/from"}), Step("GET", "/silver/from"), Step("COPY", "/ec/o", {"Destination": "d/part", "Range": "bytes=1-3"}),
    Step("GET", "/d/part"), Step("COPY", "/c/binary", {"Destination": "ec/binary"}), Step("GET", "/ec/binary"), Step("COPY", "/ec/binary", {"Destination": "d/b"}), Step("GET", "/d/b"),
    *(Step("COPY", "/c/o", {"Destination": f"d/odd/{quote(name)}"}) for name in ODD),
    *(Step("PUT", "/d/back", {"X-Copy-From": f"d/odd/{quote(name)}"}) for name in ODD),
    Step("COPY", "/c/o", {"Destination": f"d/{quote(LONGEST)}"}), Step("PUT", "/d/back", {"X-Copy-From": f"d/{quote(LONGEST)}"}), Step("GET", "/d?format=json"),
    *(Step("COPY", "/c/o", {"Destination": to}) for to in ("d/☃ raw", "d/a?b=c", "d/a#b", "%2fd/slash", "d%2fslash", "d//double", "/d/lead", " d/space ", "d/" + "x" * 1025, "c" * 257 + "/x")),
    *(Step("COPY", "/c/o", {"Destination": to}, differs={"*": _UTF8}) for to in ("d/%ff", "%ff/x")), Step("PUT", "/d/x", {"X-Copy-From": "%ff/%fe"}, differs={"*": _UTF8}),
    *(Step("COPY", "/c/o", {"Destination": to}) for to in ("c/%00x", "%00versions%00c/%00o", "d", "", "/", "//", "//d/x", "/d/", "d/", "nothere/x")),
    Step("COPY", "/c/o"), Step("COPY", "/c"), Step("COPY", ""), Step("COPY", "/c/none", {"Destination": "d/x"}), Step("COPY", "/none/o", {"Destination": "d/x"}),
    *(Step("PUT", "/d/x", {"X-Copy-From": source}) for source in ("c", "", "/", "//c/o", "/c/", "c/none", "none/o", "c/%00x", "%00c/o")),
    Step("PUT", "/none/x", {"X-Copy-From": "c/o"}), Step("PUT", "/d/x", {"X-Copy-From": "c/o"}, body="body"), Step("PUT", "/d/x", {"X-Copy-From": "c/o", "Content-Length": None}),
    Step("PUT", "/d", {"X-Copy-From": "c/o"}), Step("POST", "/d/x", {"X-Copy-From": "c/empty"}), Step("GET", "/d/x"), Step("DELETE", "/d/x", {"X-Copy-From": "c/o"}),
    Step("COPY", "/c/o", {"Destination": "d/both", "X-Copy-From": "c/empty"}), Step("GET", "/d/both"), Step("COPY", "/c/o", {"Destination": "d/body"}, body="body"),
    Step("COPY", "/c/o?version-id=null", {"Destination": "d/null"}), Step("OPTIONS", "/c/o"), Step("OPTIONS", "/c"),
]  # fmt: skip

ACCOUNTS = [
    Step("PUT", "/v1/{other}/o", user="other", whole=True),
    *(Step("COPY", "/c/o", {"Destination": "o/x", "Destination-Account": account}) for account in ("{other}", "", "a/b", "a%2fb", "AUTH_copies", "AUTH%5fcopies", "nobody")),
    *(Step("PUT", "/d/acc", {"X-Copy-From": "c/o", "X-Copy-From-Account": account}) for account in ("", "a/b", "a%2fb", "AUTH_copies", "AUTH%5fcopies", "{other}", "nobody")),
    *(Step("COPY", "/c/o", {"Destination": to}, user=user) for user in ("member", "other", "") for to in ("d/mine", "c/mine")),
    Step("PUT", "/v1/{other}/o/x", {"X-Copy-From": "c/o", "X-Copy-From-Account": "{account}"}, user="other", whole=True),
    Step("POST", "/c", {"X-Container-Read": "copies-other:*,copies:member"}),
    *(Step("COPY", "/c/o", {"Destination": to}, user=user) for user in ("member", "other", "") for to in ("d/mine", "c/mine")),
    Step("PUT", "/v1/{other}/o/x", {"X-Copy-From": "c/o", "X-Copy-From-Account": "{account}"}, user="other", whole=True),
    Step("COPY", "/c/o", {"Destination": "o/y", "Destination-Account": "{other}"}, user="other"), Step("GET", "/v1/{other}/o", user="other", whole=True),
    Step("POST", "/d", {"X-Container-Write": "copies:member"}), Step("COPY", "/c/o", {"Destination": "d/mine"}, user="member"),
    Step("COPY", "/d/plain0", {"Destination": "d/mine2"}, user="member"), Step("PUT", "/d/mine3", {"X-Copy-From": "d/plain0"}, user="member"),
    Step("POST", "/c", {"X-Container-Read": ""}), Step("COPY", "/c/o", {"Destination": "d/mine4"}, user="member"), Step("POST", "/d", {"X-Container-Write": ""}),
]  # fmt: skip

MANIFEST = json.dumps([{"path": "/c/seg1"}, {"path": "/c/seg2"}])
LARGE = [
    Step("PUT", "/c/seg1", body="aaaaa"), Step("PUT", "/c/seg2", body="bbbbb"),
    Step("PUT", "/c/slo?multipart-manifest=put", {"X-Object-Meta-K": "v", "Content-Type": "x/y"}, body=MANIFEST), Step("PUT", "/c/dlo", {"X-Object-Manifest": "c/seg", "Content-Type": "x/y"}),
    *(step for kind in ("slo", "dlo") for step in (
        Step("COPY", f"/c/{kind}", {"Destination": f"d/{kind}flat"}), Step("GET", f"/d/{kind}flat"), Step("HEAD", f"/d/{kind}flat"),
        Step("COPY", f"/c/{kind}?multipart-manifest=get", {"Destination": f"d/{kind}man"}), Step("GET", f"/d/{kind}man"), Step("HEAD", f"/d/{kind}man"),
        Step("COPY", f"/c/{kind}?multipart-manifest=get", {"Destination": f"d/{kind}fresh", "X-Fresh-Metadata": "1"}), Step("GET", f"/d/{kind}fresh"),
        Step("COPY", f"/c/{kind}", {"Destination": f"d/{kind}part", "Range": "bytes=3-6"}), Step("GET", f"/d/{kind}part"),
    )),
    Step("GET", "/d/sloflat", {"If-Match": "2d4105bcfdd281b5ba538ffefe519a7e"}, differs={"*": _SLO}),
    Step("COPY", "/c/slo?part-number=2", {"Destination": "d/part2"}), Step("GET", "/d/part2"), Step("COPY", "/c/o?multipart-manifest=get", {"Destination": "d/noman"}), Step("GET", "/d/noman"),
    Step("PUT", "/c/link", {"X-Symlink-Target": "c/o", "X-Object-Meta-L": "1"}), Step("PUT", "/c/static", {"X-Symlink-Target": "c/o", "X-Symlink-Target-Etag": ETAG}), Step("PUT", "/c/broken", {"X-Symlink-Target": "c/none"}),
    *(step for kind in ("link", "static", "broken") for step in (
        Step("COPY", f"/c/{kind}", {"Destination": f"d/{kind}c"}), Step("HEAD", f"/d/{kind}c?symlink=get"),
        Step("COPY", f"/c/{kind}?symlink=get", {"Destination": f"d/{kind}l"}), Step("HEAD", f"/d/{kind}l?symlink=get"), Step("GET", f"/d/{kind}l"),
        Step("COPY", f"/c/{kind}?symlink=get", {"Destination": f"d/{kind}f", "X-Fresh-Metadata": "1"}), Step("HEAD", f"/d/{kind}f?symlink=get"),
    )),
    Step("GET", "/d?format=json"),
]  # fmt: skip

HEARTBEATS = [
    *(Step("COPY", "/c/o?heartbeat=on", {"Destination": "d/h", "Accept": accept}) for accept in ("", "application/json", "application/xml", "text/xml", "text/plain", "*/*", "image/png", "what?")),
    Step("COPY", "/c/none?heartbeat=on", {"Destination": "d/h"}), Step("COPY", "/c/o?heartbeat=on", {"Destination": "none/h", "Accept": "application/json"}),
    Step("COPY", "/c/o?heartbeat=on", {"Destination": "d"}), Step("COPY", "/c/o?heartbeat=no", {"Destination": "d/h"}), Step("PUT", "/d/h?heartbeat=1", {"X-Copy-From": "c/o"}),
    Step("COPY", "/c/slo?heartbeat=on&multipart-manifest=get", {"Destination": "d/h"}, differs={"*": _SUMMARY}), Step("COPY", "/c/slo?heartbeat=on", {"Destination": "d/h"}),
]  # fmt: skip

STEPS = [*SET_UP, *METADATA, *PARTS, *WHERE, *ACCOUNTS, *LARGE, *HEARTBEATS]
