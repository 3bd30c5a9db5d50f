"""Static large objects: manifests right and wrong, reading in all ways, manifests in manifests, segments that change, deletion."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from test.side_by_side.names import ODD, quoted
from test.side_by_side.table import Step

RIGHTS_FIRST = "who may not store a manifest is told that, before segments are looked at"

FILTERS = {"slo": "yield_frequency = 1\nrate_limit_segments_per_sec = 0"}
IGNORED = {
    "header x-manifest-etag": "a manifest holds the times of its segments",
    "header connection": "of the server that closes",
}

PUT, GET, DELETE = "?multipart-manifest=put", "?multipart-manifest=get", "?multipart-manifest=delete"
VECTOR_ETAG = "ce4673b65c709d51e0ca5c5da7b7232a"


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def body(items: Any) -> bytes:
    return items if isinstance(items, bytes) else json.dumps(items).encode()


def put(
    path: str, items: Any, query: str = "", differs: dict[str, str] | None = None, **headers: str
) -> Step:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Step("PUT", f"{path}{PUT}{query}", named, body(items), differs=differs or {})


def both(path: str, headers: dict[str, str | None] | None = None, **more: Any) -> list[Step]:
    return [Step(method, path, headers or {}, **more) for method in ("GET", "HEAD")]


A = {"path": "/seg/a", "etag": md5(b"aaaaa"), "size_bytes": 5}
B = {"path": "/seg/b"}
C = {"path": "/seg/c"}
DATA = {"data": base64.b64encode(b"ggg").decode()}
ETAG_AB = md5((md5(b"aaaaa") + md5(b"bbbbb")).encode())
VECTOR = [A, {"path": "/seg/b", "range": "1-3"}, DATA, {"path": "/seg/c", "range": "0-2"}]

READS: tuple[dict[str, str | None], ...] = (
    {}, {"Range": "bytes=0-3"}, {"Range": "bytes=3-9"}, {"Range": "bytes=-4"}, {"Range": "bytes=5-"}, {"Range": "bytes=20-"},
    {"Range": "bytes=-0"}, {"Range": "bytes=0-1,6-8"}, {"Range": "bytes=0-0,2-2,4-4", "If-Match": "*"}, {"Range": "bytes=0-1,99-"},
    {"Range": "junk"}, {"Range": "bytes=5-3"}, {"Range": "items=0-3"}, {"If-Match": VECTOR_ETAG}, {"If-Match": f'"{VECTOR_ETAG}"'},
    {"If-Match": "x"}, {"If-None-Match": VECTOR_ETAG}, {"If-None-Match": f'"{VECTOR_ETAG}"', "Range": "bytes=0-3"}, {"If-None-Match": "x"},
    {"If-None-Match": "*"}, {"If-Modified-Since": "Fri, 01 Jan 2038 00:00:00 GMT"}, {"If-Unmodified-Since": "Fri, 01 Jan 2010 00:00:00 GMT"},
    {"If-Range": VECTOR_ETAG, "Range": "bytes=0-3"},
)  # fmt: skip

NOT_500 = {"*": "500 in the reference"}
WRONG: tuple[Any, ...] = (
    b"", b"x", b"\xff", b"{}", b"null", b'"abc"', [{"path": 1}], [{"path": "/seg/a", "abc": 1, "zed": 2}], [{"path": "/seg/a", "etag": 1}],
    [{"path": "seg"}], [{"path": "/seg"}], [{"path": "/seg/"}], [{"path": ""}], [{"path": "/seg/a", "size_bytes": "x"}],
    [{"path": "/seg/a", "size_bytes": []}], [{"path": "/seg/a", "size_bytes": ""}], [{"path": "/seg/a", "size_bytes": 0}, B],
    [{"path": "/seg/a", "size_bytes": -1}, B], [{"path": "/c/bad"}], [{"path": "c/bad"}], [{"path": "/seg/a", "range": "x"}],
    [{"path": "/seg/a", "range": 5}], [{"path": "/seg/a", "range": "5-3"}], [{"path": "/seg/a", "range": "0-1,3-4"}],
    [{"path": "/seg/a", "range": "9-10", "size_bytes": 5}], [{"data": "!!"}, A], [{"data": "YQ"}, A], [{"data": "YQ==\n"}, A],
    [{"data": 1}, A], [{"data": None}, A], [{"data": ""}, A], [{"data": "YQ=="}], [{"data": "YQ==", "path": "/seg/a"}], [{"data": "YQ==", "x": 1}, A],
    [A, 1, "x", None, [], {"path": "x"}], [{"path": "/seg/none"}], [{"path": "seg/none"}], [{"path": "/nope/none"}], [{"path": "/seg/é"}],
    [{"path": "/seg/a\x00"}], [{"path": "/seg/%61"}], [{"path": "/../seg/a"}], [{"path": "/seg/a/"}], [{"path": "/seg//a"}],
    [{"path": "/seg/a", "range": "9-10"}], [{"path": "/seg/a", "range": "-0"}], [{"path": "/seg/a", "size_bytes": 9}],
    [{"path": "/seg/a", "size_bytes": True}], [B, {"path": "/seg/a", "size_bytes": 0}], [{"path": "/seg/a", "size_bytes": -1}],
    [{"path": "/seg/a", "etag": ""}], [{"path": "/seg/a", "etag": "bad", "size_bytes": 9}], [{"path": "/seg/a", "etag": md5(b"aaaaa").upper()}],
    [{"path": "/seg/a", "etag": f'"{md5(b"aaaaa")}"'}], [{"path": "/seg/empty"}, A], [A] * 1001,
)  # fmt: skip
WRONG_500: tuple[Any, ...] = (
    [1],
    [{"foo": 1}],
    b'[{"path": "/seg/a\\ud800"}]',
    b'[{"path": "/seg/a", "size_bytes": 1e400}]',
)
RIGHT: tuple[Any, ...] = (
    [], [{"path": "seg/a"}], [{"path": "//seg/a"}], [{"path": "/seg/a", "size_bytes": "5"}], [{"path": "/seg/a", "size_bytes": 5.0}],
    [{"path": "/seg/a", "size_bytes": 5.5}], [{"path": "/seg/a", "size_bytes": None, "etag": None, "range": None}],
    [{"path": "/seg/a", "range": ""}], [{"path": "/seg/a", "range": "-2"}], [{"path": "/seg/a", "range": "2-"}],
    [{"path": "/seg/a", "range": "0-4"}], [{"path": "/seg/a", "range": "1-1000", "size_bytes": 5}], [A, {"path": "/seg/empty"}],
    [A, {"path": "/seg/empty", "size_bytes": 0}], [{"path": "/seg/empty"}], [{"data": "YW=="}, A], [A] + [{"data": "YQ=="}] * 1500,
)  # fmt: skip
ACCEPTS = (
    "application/json",
    "application/xml",
    "text/xml",
    "text/plain",
    "image/png",
    "*/*",
    "text/*;q=0.1, application/json",
    "junk",
)
BAD = [{"path": "/seg/a", "etag": "bad"}]

STEPS = [
    *(Step("PUT", f"/{name}") for name in ("c", "seg", "other")),
    *(
        Step("PUT", f"/seg/{name}", {"Content-Type": "text/plain"}, data)
        for name, data in (("a", b"aaaaa"), ("b", b"bbbbb"), ("c", b"ccc"), ("empty", b""))
    ),
    put("/c/slo", VECTOR, Content_Type="text/x-slo", X_Object_Meta_Foo="bar"),
    Step("HEAD", "/c/slo", keep={"manifest": "header:x-manifest-etag"}),
    *(step for headers in READS for step in both("/c/slo", headers)),
    Step("GET", "/c/slo", {"If-Range": "x", "Range": "bytes=0-3"}, differs={"*": "If-Range is honoured here"}),
    *(step for query in (GET, "?multipart-manifest=GET", "?multipart-manifest=head", "?format=raw") for step in both(f"/c/slo{query}")),
    Step("GET", f"/c/slo{GET}&format=raw"),
    Step("HEAD", f"/c/slo{GET}&format=raw", differs=NOT_500),
    Step("GET", f"/c/slo{GET}&format=raw", {"Range": "bytes=0-9"}, differs=NOT_500),
    Step("GET", f"/c/slo{GET}", {"Range": "bytes=0-9"}),
    Step("GET", f"/c/slo{GET}", {"If-None-Match": VECTOR_ETAG}),
    Step("GET", f"/c/slo{GET}&part-number=1"),
    *(step for number in ("1", "2", "3", "4", "5", "0", "-1", "x", "", "1.0", "%201") for step in both(f"/c/slo?part-number={number}")),
    *both("/c/slo?part-number=1", {"Range": "bytes=0-1"}),
    Step("GET", "/c/slo?part-number=2", {"If-None-Match": VECTOR_ETAG}),
    Step("GET", "/seg/a?part-number=x", {"Range": "bytes=0-1"}),
    Step("GET", "/c?format=json"),
    Step("GET", "/c?format=xml"),
    Step("GET", "/c"),
    Step("HEAD", "/c"),
    # -- manifests
    *(put("/c/bad", items) for items in WRONG),
    *(put("/c/bad", items, differs=NOT_500) for items in WRONG_500),
    put("/c/bad", b"[" + b" " * 8388608 + b"]"),
    Step("GET", "/c/bad"),
    *(step for items in RIGHT for step in (put("/c/good", items), *both("/c/good"))),
    Step("GET", "/c/good", {"Range": "bytes=0-11"}),
    *(put("/c/bad", BAD, Accept=accept) for accept in ACCEPTS),
    *(put("/c/beat", BAD, "&heartbeat=on", Accept=accept) for accept in ACCEPTS[:4]),
    *(put("/c/beat", [A, B], "&heartbeat=on", Accept=accept) for accept in ACCEPTS),
    *(put("/c/beat", [A, B], "&heartbeat=on", Accept=accept, Etag="x") for accept in ACCEPTS[:4]),
    put("/c/beat", [A, B], "&heartbeat=off"),
    put("/c/beat", b"junk", "&heartbeat=on"),
    put("/nope/beat", [A, B], "&heartbeat=on"),
    put("/nope/slo", [A, B]),
    *(put("/c/e", [A, B], Etag=etag) for etag in (ETAG_AB, f'"{ETAG_AB}"', f'W/"{ETAG_AB}"', "bad")),
    put("/c/e", [A, B], If_None_Match="*"),
    put("/c/e", [A, B], If_None_Match="x"),
    put("/c/e", [A, B], X_Static_Large_Object="False"),
    put("/c/e", [A, B], X_Delete_After="x"),
    put("/c/e", [A, B], Content_Encoding="gzip", Content_Disposition="x", X_Delete_At="4000000000"),
    *both("/c/e"),
    *(Step(method, "/c/e", {"X-Static-Large-Object": "True"}) for method in ("PUT", "POST", "DELETE", "OPTIONS", "COPY", "GET", "HEAD")),
    Step("DELETE", "/c/e", {"X-Static-Large-Object": ""}),
    Step("POST", f"/c/e{PUT}", {}, body([A])),
    Step("PUT", f"/c{PUT}", {}, body([A])),
    Step("POST", "/c/e", {"X-Object-Meta-A": "b", "Content-Type": "image/png"}),
    *both("/c/e"),
    Step("HEAD", "/c/e", keep={"of_e": "header:x-manifest-etag"}),
    Step("GET", "/c?format=json&prefix=e"),
    *(put("/c/typed.html", [A, B], Content_Type=kind) for kind in ("text/plain; charset=utf-8", "text/plain;swift_bytes=7")),
    Step("HEAD", "/c/typed.html"),
    Step("PUT", f"/c/typed.html{PUT}", {"Content-Type": None}, body([A, B])),
    Step("HEAD", "/c/typed.html"),
    Step("HEAD", "/c/typed.html", keep={"of_typed": "header:x-manifest-etag"}),
    Step("GET", "/c?format=json&prefix=typed"),
    Step("PUT", f"/c/e{GET}", {}, b"plain"),
    *both("/c/e"),
    Step("DELETE", f"/c/e{PUT}"),
    # -- odd names, as segments and as manifests
    *(
        step
        for name in ODD
        for step in (
            Step("PUT", f"/other/{quoted(name)}", {"Content-Type": "text/plain"}, b"odd"),
            put(f"/c/{quoted(name)}", [{"path": f"/other/{name}"}, A]),
            Step("GET", f"/c/{quoted(name)}"),
            Step("DELETE", f"/c/{quoted(name)}{DELETE}", {"Accept": "application/json"}),
            Step("PUT", "/seg/a", {"Content-Type": "text/plain"}, b"aaaaa"),
        )
    ),
    # -- manifests in manifests
    put("/c/sub", [A, B]),
    put("/c/top", [{"path": "/c/sub"}, {"path": "/c/sub", "range": "2-7"}, C]),
    *both("/c/top"),
    Step("GET", f"/c/top{GET}"),
    Step("GET", f"/c/top{GET}&format=raw"),
    Step("GET", "/c/top", {"Range": "bytes=8-13"}),
    *(Step("GET", f"/c/top?part-number={number}") for number in (1, 2, 3)),
    put("/c/top2", [{"path": "/c/sub", "size_bytes": 10, "etag": ETAG_AB}]),
    put("/c/top2", [{"path": "/c/sub", "size_bytes": 11}]),
    *(put(f"/c/n{level}", [{"path": f"/c/n{level - 1}" if level else "/seg/a"}]) for level in range(12)),
    *(step for level in (8, 9, 10, 11) for step in both(f"/c/n{level}")),
    put("/c/sub", [B, A]),
    Step("GET", "/c/top2", differs={"*": "a manifest that has changed is not read under the old ETag"}),
    Step("PUT", "/c/sub", {}, b"0123456789"),
    Step("GET", "/c/top2"),
    Step("DELETE", "/c/sub"),
    Step("GET", "/c/top2"),
    # -- segments that change
    Step("PUT", "/other/y", {}, b"yyyy"),
    put("/c/m1", [{"path": "/other/y"}, A]),
    *(
        step
        for data in (b"zzzz", b"zzzzz", None)
        for step in (
            Step("PUT", "/other/y", {}, data) if data is not None else Step("DELETE", "/other/y"),
            *both("/c/m1"),
            Step("GET", "/c/m1", {"Range": "bytes=0-1"}),
            Step("GET", "/c/m1", {"Range": "bytes=4-6"}),
        )
    ),
    # -- deletion
    *(
        step
        for number, accept in enumerate(("application/json", "application/xml", "text/plain", "junk"))
        for step in (
            *(Step("PUT", f"/other/{name}", {}, b"x") for name in "pq"),
            put(f"/c/d{number}", [{"path": "/other/p"}, DATA, {"path": "/other/q"}, {"path": "/other/p"}]),
            Step("DELETE", f"/c/d{number}{DELETE}", {"Accept": accept}),
            Step("DELETE", f"/c/d{number}{DELETE}", {"Accept": accept}),
            Step("GET", "/other?prefix=p"),
        )
    ),
    Step("PUT", "/c/plain", {}, b"x"),
    Step("PUT", "/c/none", {}, b""),
    *(Step("DELETE", f"/c/{name}{DELETE}", {"Accept": "application/json"}) for name in ("plain", "none", "nope", "é")),
    Step("DELETE", f"/nope/x{DELETE}"),
    Step("DELETE", f"/c/plain{DELETE}&async=on"),
    Step("DELETE", f"/c/nope{DELETE}&async=on"),
    put("/other/sub", [C]),
    put("/c/nested", [{"path": "/other/sub"}]),
    Step("DELETE", f"/c/nested{DELETE}&async=on"),
    Step("DELETE", f"/c/nested{DELETE}", {"Accept": "application/json"}),
    put("/c/later", [B]),
    Step("DELETE", f"/c/later{DELETE}&async=on"),
    Step("GET", "/c/later"),
    # -- others
    Step("PUT", "/seg/a", {"Content-Type": "text/plain"}, b"aaaaa"),
    Step("POST", "/other", {"X-Container-Read": "{name}:member", "X-Container-Write": "{name}:member"}),
    put("/other/slo", [A, B]),
    *(Step(method, "/other/slo", user=user) for user in ("member", "other", "") for method in ("GET", "HEAD")),
    *(
        Step(method, f"/other/mine{query}", {}, data, user=user, differs={} if user == "member" else {"*": RIGHTS_FIRST})
        for user in ("member", "other", "")
        for method, query, data in (("PUT", PUT, body([A])), ("PUT", f"{PUT}&heartbeat=on", body([A])), ("PUT", PUT, b"junk"))
    ),
    *(Step("DELETE", f"/other/slo{DELETE}", user=user) for user in ("other", "")),
    Step("DELETE", f"/seg/slo{DELETE}", user="member"),
    Step("GET", "/other/slo"),
    Step("GET", "/info", whole=True, user="", keep={"slo": "json:slo"}, differs={"body": "versions and other filters"}),
]  # fmt: skip
