"""Dynamic large objects: what a client may say, reading in all ways, listings and segments that fail, who may."""

from __future__ import annotations

from test.side_by_side.names import ODD, quoted
from test.side_by_side.table import Step

FILTERS = {"dlo": "rate_limit_segments_per_sec = 0"}
ETAG = "eafb79e7551581038dff8567b1c38941"
OF_NOTHING = "d41d8cd98f00b204e9800998ecf8427e"
OWN_TYPE = {
    "header content-type": "the manifest's own type is kept",
    "header accept-ranges": "as for any other GET",
}
HTML = {"header content-type": "as for any other 412", "header accept-ranges": "as for any other 412"}
LENGTH = {"header content-length": "of the page that a GET would get"}


def both(
    path: str, headers: dict[str, str | None] | None = None, differs: dict[str, str] | None = None
) -> list[Step]:
    return [Step(method, path, headers or {}, differs=differs or {}) for method in ("GET", "HEAD")]


READS: tuple[dict[str, str | None], ...] = (
    {}, {"Range": "bytes=0-3"}, {"Range": "bytes=3-9"}, {"Range": "bytes=-4"}, {"Range": "bytes=5-"}, {"Range": "bytes=0-1,6-8"},
    {"Range": "junk"}, {"Range": "bytes=0-999"}, {"If-None-Match": ETAG}, {"If-None-Match": f'"{ETAG}"', "Range": "bytes=0-3"},
    {"If-None-Match": OF_NOTHING}, {"If-None-Match": "x"}, {"If-None-Match": "*"}, {"If-Match": "*"}, {"If-Match": "x"},
    {"If-Modified-Since": "Fri, 01 Jan 2038 00:00:00 GMT"}, {"If-Unmodified-Since": "Fri, 01 Jan 2010 00:00:00 GMT"},
)  # fmt: skip
SAID = (
    "seg", "seg/", "/seg/p", "seg//p", "/p", "seg/p?x", "seg/p&x", "seg%2Fp", "", "/", "//", "seg/p%3Fx", "seg/p%26x", "seg/p%20x", "seg/p x",
    "seg/%2Fp", "seg/p#x", "%73eg/p", "seg/é", "seg/%C3%A9", "seg/%FF", "seg/%00", "seg/p;x", "s" * 256 + "/p", "seg/" + "p" * 1000,
)  # fmt: skip

STEPS = [
    *(Step("PUT", f"/{name}") for name in ("c", "seg", "odd")),
    *(Step("PUT", f"/seg/p/{name}", {}, data) for name, data in (("a", b"aaaaa"), ("b", b"bbbbb"), ("c", b"ccc"))),
    Step("PUT", "/seg/q", {}, b"not meant"),
    Step("PUT", "/c/dlo", {"X-Object-Manifest": "seg/p/", "Content-Type": "text/x-dlo", "X-Object-Meta-Foo": "bar"}),
    *(step for headers in READS for step in both("/c/dlo", headers)),
    *both("/c/dlo", {"If-Match": ETAG}, OWN_TYPE),
    *both("/c/dlo", {"If-Match": OF_NOTHING}, HTML),
    Step("GET", "/c/dlo", {"Range": "bytes=20-"}),
    Step("HEAD", "/c/dlo", {"Range": "bytes=20-"}, differs=LENGTH),
    Step("GET", "/c/dlo", {"Range": "bytes=-0"}, differs={"*": "500 in the reference"}),
    Step("GET", "/c/dlo", {"Range": "bytes=0-3", "If-Range": ETAG}),
    Step("GET", "/c/dlo", {"Range": "bytes=0-3", "If-Range": "x"}, differs={"*": "If-Range is honoured here"}),
    *(step for query in ("get", "GET", "put", "get&format=raw", "") for step in both(f"/c/dlo?multipart-manifest={query}")),
    # -- what a client may say
    *(
        step
        for value in SAID
        for step in (Step("PUT", "/c/said", {"X-Object-Manifest": value}), Step("HEAD", "/c/said?multipart-manifest=get"))
    ),
    Step("POST", "/c/said", {"X-Object-Manifest": "seg/p/"}),
    Step("GET", "/c/said"),
    Step("POST", "/c/said", {"X-Object-Meta-A": "b"}),
    *both("/c/said"),
    Step("POST", "/c/said", {"X-Object-Manifest": "junk"}, differs={"*": "400 as in a PUT"}),
    # -- what it stands for
    Step("PUT", "/c/none", {"X-Object-Manifest": "seg/none"}, b"data"),
    *both("/c/none"),
    Step("GET", "/c/none", {"Range": "bytes=0-1"}),
    Step("GET", "/c/none", {"Range": "bytes=-1"}),
    *both("/c/none?multipart-manifest=get"),
    Step("PUT", "/c/nowhere", {"X-Object-Manifest": "nope/none"}),
    Step("GET", "/c/nowhere"),
    Step("HEAD", "/c/nowhere", differs=LENGTH),
    Step("PUT", "/c/itself", {"X-Object-Manifest": "c/itself"}),
    *both("/c/itself"),
    *(
        step
        for name in ODD
        for step in (
            Step("PUT", f"/odd/{quoted(name)}", {}, name.encode()),
            Step("PUT", "/c/odd", {"X-Object-Manifest": f"odd/{quoted(name)}"}),
            *both("/c/odd"),
            Step("DELETE", f"/odd/{quoted(name)}"),
        )
    ),
    # -- deletion
    Step("DELETE", "/c/dlo?multipart-manifest=delete", {"Accept": "application/json"}),
    Step("GET", "/c/dlo"),
    # -- who may
    Step("PUT", "/open", {"X-Container-Read": "{name}:member"}),
    Step("PUT", "/open/dlo", {"X-Object-Manifest": "seg/p/"}),
    Step("GET", "/open/dlo", user="member"),
    Step("HEAD", "/open/dlo", user="member", differs=LENGTH),
    *(Step(method, "/open/dlo", user=user) for user in ("other", "") for method in ("GET", "HEAD")),
    Step("POST", "/seg", {"X-Container-Read": "{name}:member"}),
    *(Step("GET", "/open/dlo", user=user) for user in ("member", "other", "")),
    Step("POST", "/seg", {"X-Container-Read": ".r:*"}),
    Step("POST", "/open", {"X-Container-Read": ".r:*"}),
    *(Step("GET", "/open/dlo", user=user) for user in ("member", "other", "")),
    Step("POST", "/seg", {"X-Container-Read": ".r:*,.rlistings"}),
    *(Step("GET", "/open/dlo", user=user) for user in ("member", "other", "")),
    Step("DELETE", "/c/dlo"),
    Step("GET", "/c/dlo"),
]  # fmt: skip
