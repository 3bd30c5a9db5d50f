"""Versions of objects: switched on and off, written, read and deleted with and without an id, listed page by page."""

from test.side_by_side.table import Step

V, L = {"X-Versions-Enabled": "true"}, "/c?versions"
_LATEST = "is_latest is lost behind a marker there, and where a delete marker is newer than what is current"
_EARLY = "a version is stored there before the request is refused"
_TYPE = "the type is guessed from the hidden name there"
_TOLD = "the refusal tells of versions there"
_FIRST = "whoever may not is told of versions there"


def put(name: str, body: str, keep: str = "", **headers: str) -> Step:
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    return Step("PUT", f"/c/{name}", {"Content-Type": "text/plain", **given}, body=body, keep={keep: "header:x-object-version-id"} if keep else {})  # fmt: skip


def listed(query: str, latest: bool = False, **kwargs: str) -> Step:
    return Step("GET", f"{L}&format=json{query}", differs={"body": _LATEST} if latest else {})


SWITCHING = [
    Step("PUT", "/c", V),
    *(Step(method, "/c") for method in ("HEAD", "GET", "OPTIONS")),
    Step("POST", "/c", {"X-Versions-Enabled": "false"}), Step("HEAD", "/c"),
    Step("POST", "/c", {"X-Versions-Enabled": "T"}), Step("HEAD", "/c"),
    Step("POST", "/c", {"X-Container-Meta-A": "b"}), Step("POST", "/c", {"X-Remove-Versions-Enabled": "x"}),
    Step("POST", "/c", {"X-Container-Sysmeta-Versions-Enabled": "False"}), Step("HEAD", "/c"),
    *(step for value in ("maybe", "", "on", "0", "yes") for step in (Step("PUT", "/switch", {"X-Versions-Enabled": value}), Step("HEAD", "/switch"))),
    Step("POST", "/nothing", V), Step("HEAD", "/nothing"),
    Step("PUT", "/new", V, user="member"), Step("PUT", "/new", V, user=""), Step("HEAD", "/new"),
    Step("PUT", "/legacy", {"X-Versions-Location": "old"}), Step("POST", "/legacy", V), Step("PUT", "/legacy", V),
    Step("PUT", "/silver", {**V, "X-Storage-Policy": "silver"}), Step("HEAD", "/silver"), Step("DELETE", "/silver"), Step("HEAD", "/silver"),
    Step("PUT", "/nopolicy", {**V, "X-Storage-Policy": "nope"}, differs={"*": "500 there"}),
    Step("PUT", "/" + "c" * 250, V, differs={"*": "500 there"}),
]  # fmt: skip

WRITING = [
    put("a", "one", "a1", X_Object_Meta_A="1", Content_Disposition="x"), put("a", "two2", "a2", X_Delete_After="10000"), put("a", "three", "a3"),
    *(Step(method, f"/c/a{query}") for query in ("", "?symlink=get") for method in ("GET", "HEAD")),
    Step("GET", "/c/a", {"Range": "bytes=1-2"}), Step("GET", "/c/a", {"Range": "bytes=100-"}), Step("GET", "/c/a", {"Range": "bytes=0-0,2-2"}),
    Step("GET", "/c/a", {"If-None-Match": "35d6d33467aae9a2e3dccb4b6b027878"}), Step("GET", "/c/a", {"If-Match": "x"}),
    Step("GET", "/c/none"), Step("HEAD", "/c/none"), Step("OPTIONS", "/c/a"), Step("PATCH", "/c/a"),
    Step("GET", "/c?format=json"), Step("GET", "/c"), Step("GET", "/c?format=xml"), Step("HEAD", "/c"), listed(""),
    put("html.html", "x"), Step("HEAD", "/c/html.html"),
    Step("PUT", "/c/guess.html", body="x"), Step("HEAD", "/c/guess.html", differs={"header content-type": _TYPE}),
    Step("PUT", "/c/chunked", body=[b"ab", b"cd"], headers={"Content-Type": "a/b"}), Step("GET", "/c/chunked"), Step("HEAD", "/c/chunked?symlink=get"),
    put("new", "x", If_None_Match="*"),
    put("badetag", "x", Etag="abc"), put("badtype", "x", Content_Type="a/b; swift_bytes=3"), put("badmatch", "x", If_None_Match="abc"),
    Step("GET", "/c?versions&prefix=bad"), put("long" * 256, "x"), put("long" * 257, "x"), put("%00x", "x"),
    Step("POST", "/c/a", {"X-Object-Meta-B": "2", "Content-Type": "text/new"}), Step("HEAD", "/c/a"), Step("HEAD", "/c/a?symlink=get"),
    Step("HEAD", "/c/a?version-id={a3}"), Step("POST", "/c/none", {"X-Object-Meta-B": "2"}), Step("POST", "/c/a", {"X-Object-Meta-" + "a" * 200: "x"}),
    Step("POST", "/c/a", {"X-Delete-After": "10000"}), Step("HEAD", "/c/a?symlink=get"), Step("GET", "/c?format=json&prefix=a"), listed("&prefix=a"),
    Step("DELETE", "/c/a", keep={"a4": "header:x-object-version-id"}), Step("GET", "/c/a"), Step("HEAD", "/c/a"), listed("&prefix=a"),
    Step("DELETE", "/c/never"), listed("&prefix=never"), Step("DELETE", "/c/a"), listed("&prefix=a"),
]  # fmt: skip

BY_ID = [
    *(Step(method, f"/c/a?version-id={{{name}}}") for name in ("a1", "a2", "a3", "a4") for method in ("GET", "HEAD")),
    *(Step("GET", f"/c/a?version-id={text}") for text in ("null", "", "abc", "1", "1e9", "-1", "99999999999", "%20{a1}", "{a1}_0000000000000001", "{a1}&version-id=null", "{a1}&symlink=get", "Null")),
    Step("GET", "/c/a?version-id={a2}", {"Range": "bytes=1-2"}), Step("GET", "/c/a?version-id={a2}", {"Range": "bytes=100-"}), Step("GET", "/c/a?version-id={a2}", {"If-Match": "x"}),
    Step("POST", "/c/a?version-id={a1}"), Step("POST", "/c/a?version-id=null"), Step("OPTIONS", "/c/a?version-id={a1}"), Step("OPTIONS", "/c/a?version-id=null"),
    Step("OPTIONS", "/c/a?version-id=abc"), Step("PATCH", "/c/a?version-id={a1}"),
    Step("PUT", "/c/a?version-id={a1}", body="x"), Step("PUT", "/c/a?version-id=null"), Step("PUT", "/c/a?version-id=abc"), Step("PUT", "/c/a?version-id=1234567890.00000"),
    Step("PUT", "/c/a?version-id={a1}", {"X-Object-Meta-New": "x"}), Step("GET", "/c/a"), Step("HEAD", "/c/a?symlink=get"), listed("&prefix=a", latest=True),
    Step("PUT", "/c/a?version-id={a4}", differs={"*": "400 about a Content-Type there"}), Step("GET", "/c/a"),
    Step("DELETE", "/c/a?version-id={a2}"), Step("DELETE", "/c/a?version-id={a2}"), Step("DELETE", "/c/a?version-id=abc"), Step("DELETE", "/c/a?version-id={a4}"),
    Step("DELETE", "/c/a?version-id={a1}"), Step("GET", "/c/a"), listed("&prefix=a"), Step("DELETE", "/c/a?version-id=null"), Step("DELETE", "/c/zz?version-id=null"),
]  # fmt: skip

BEFORE = [
    Step("PUT", "/d"), *(Step("PUT", f"/d/n{at}", {"Content-Type": "text/n", "X-Object-Meta-N": "1"}, body=f"null{at}") for at in range(5)),
    Step("GET", "/d?versions"), Step("GET", "/d?versions&format=json"), Step("GET", "/d/n0?version-id=null"), Step("HEAD", "/d/n0?version-id=null"),
    *(Step(method, "/d/n0?version-id=12.0") for method in ("GET", "HEAD", "PUT", "DELETE", "POST")),
    Step("POST", "/d", V), Step("GET", "/d/n0"), Step("HEAD", "/d/n0?version-id=null"), Step("POST", "/d/n0", {"X-Object-Meta-P": "1"}), Step("GET", "/d?versions"),
    Step("PUT", "/d/n0", {"Content-Type": "text/v"}, body="v2"), Step("DELETE", "/d/n1"), Step("DELETE", "/d/n2?version-id=null"),
    Step("GET", "/d?format=json"), Step("GET", "/d?versions", keep={"n0": "json:1.version_id"}), Step("GET", "/d/n0?version-id={n0}"), Step("GET", "/d/n0?version-id=null"),
    Step("POST", "/d", {"X-Versions-Enabled": "no"}), Step("PUT", "/d/n3", body="plain", headers={"Content-Type": "a/b"}), Step("DELETE", "/d/n4"), Step("GET", "/d/n4"),
    Step("PUT", "/d/n0", body="over", headers={"Content-Type": "a/b"}), Step("HEAD", "/d/n0"), Step("GET", "/d?versions"), Step("HEAD", "/d"),
]  # fmt: skip

NAMES = ("a", "b", "b1", "f/x", "f/y", "z", "%C3%A4", "%F0%9F%98%80", "sp%20ace")
LISTING = [
    Step("PUT", "/c", V),
    *(Step("PUT", f"/e{at}", V) for at in range(1)),
    *(Step("PUT", f"/e0/{name}", {"Content-Type": "a/b"}, body=f"{turn}", keep={f"e_{at}_{turn}": "header:x-object-version-id"}) for at, name in enumerate(NAMES) for turn in range(3)),
    Step("DELETE", "/e0/b1"),
    *(
        Step("GET", f"/e0?versions{query}", differs={"body": _LATEST} if latest else {})
        for query, latest in (
            ("", False), ("&limit=4", False), ("&limit=0", False), ("&limit=x", False), ("&limit=-1", False), ("&limit=100000", False), ("&reverse=true", False),
            ("&reverse=true&limit=5", False), ("&marker=a", False), ("&marker=b&version_marker={e_1_2}", False), ("&marker=b&version_marker={e_1_1}&limit=2", False),
            ("&marker=b&version_marker={e_1_0}", False), ("&marker=b&version_marker={e_1_1}&reverse=1", True), ("&marker=b&version_marker=null", True),
            ("&marker=b&reverse=on", True), ("&marker=b&version_marker=null&reverse=on", False), ("&prefix=b", False), ("&prefix=f/", False), ("&delimiter=/", False),
            ("&delimiter=/&prefix=f/", False), ("&delimiter=/&limit=3", False), ("&delimiter=x", False), ("&delimiter=1", False), ("&delimiter=.", False), ("&delimiter=%00", False),
            ("&end_marker=b1", True), ("&version_marker=123", False), ("&marker=a&version_marker=xyz", False), ("&marker=&version_marker=123", False),
            ("&format=xml", False), ("&format=plain", False), ("&format=", False), ("=false", False), ("&prefix=nope", False), ("&marker=zz", False),
            ("&prefix=%C3", False), ("&marker=%C3%A4", False), ("&delimiter=%C3%A4", False),
        )
    ),
    Step("GET", "/e0?versions&prefix=%00", differs={"*": "500 there"}),
    Step("GET", "/e0?versions", {"Accept": "text/plain"}), Step("GET", "/e0?versions", {"Accept": "*/*"}),
    Step("GET", "/e0?versions", {"Accept": "application/xml, application/json;q=0.1"}), Step("HEAD", "/e0?versions"), Step("HEAD", "/e0?versions&format=xml"),
    Step("GET", "/nothing?versions"), Step("GET", "/e0?limit=1&format=xml"), Step("GET", "/e0?format=json&prefix=%00"), Step("GET", "/e0?format=json&reverse=1"),
]  # fmt: skip

MIXED = [
    Step("PUT", "/m", V), Step("PUT", "/m/target", {"Content-Type": "a/b"}, body="tt"),
    Step("COPY", "/m/target", {"Destination": "m/copy"}, keep={"copy": "header:x-object-version-id"}), Step("HEAD", "/m/copy"),
    Step("COPY", "/m/copy?version-id={copy}", {"Destination": "m/copy2"}), Step("GET", "/m/copy2"),
    Step("PUT", "/m/copy3", {"X-Copy-From": "m/target"}), Step("HEAD", "/m/copy3?symlink=get"),
    Step("PUT", "/m/link", {"X-Symlink-Target": "m/target"}, keep={"link": "header:x-object-version-id"}), Step("HEAD", "/m/link?symlink=get"), Step("GET", "/m?format=json&prefix=l"),
    Step("GET", "/m?versions&prefix=l"), Step("GET", "/m/link", differs={"header content-location": "names the link with the target's id there"}),
    Step("PUT", "/seg"), Step("PUT", "/seg/1", {"Content-Type": "a/b"}, body="segment"),
    Step("PUT", "/m/slo?multipart-manifest=put", {"Content-Type": "x/y"}, body='[{"path": "/seg/1"}]', keep={"slo": "header:x-object-version-id"}),
    # times are in a manifest, and so in its ETag
    Step("GET", "/m/slo?multipart-manifest=get", keep={"manifest": "header:etag"}), Step("GET", "/m/slo"), Step("HEAD", "/m/slo?symlink=get"), Step("GET", "/m?versions&prefix=slo"), Step("GET", "/m?format=json&prefix=slo"),
    Step("PUT", "/m/slo", {"Content-Type": "a/b"}, body="plain"), Step("GET", "/m/slo?version-id={slo}"), Step("HEAD", "/m/slo?version-id={slo}"),
    Step("GET", "/m/slo?multipart-manifest=get&version-id={slo}"), Step("PUT", "/m/slo?version-id={slo}"), Step("GET", "/m/slo"), Step("GET", "/m?versions&prefix=slo"),
    Step("PUT", "/m/dlo", {"Content-Type": "x/y", "X-Object-Manifest": "seg/"}), Step("GET", "/m/dlo"), Step("HEAD", "/m/dlo?symlink=get"),
]  # fmt: skip

RIGHTS = [
    Step("PUT", "/r", V), Step("PUT", "/r/o", {"Content-Type": "a/b"}, body="1", keep={"r": "header:x-object-version-id"}), Step("PUT", "/r/o", {"Content-Type": "a/b"}, body="2"),
    *(
        step
        for acl in ({}, {"X-Container-Read": "{name}:member"}, {"X-Container-Read": "", "X-Container-Write": "{name}:member"})
        for step in (
            Step("POST", "/r", acl),
            *(
                Step(method, path, user=user)
                for user in ("member", "other", "")
                for method, path in (("GET", "/r/o"), ("GET", "/r/o?version-id={r}"), ("HEAD", "/r/o?version-id={r}"), ("GET", "/r?versions"), ("GET", "/r/o?version-id=null"))
            ),
        )
    ),
    Step("PUT", "/r/o", {"Content-Type": "a/b"}, body="3", user="member"), Step("DELETE", "/r/o?version-id={r}", user="member", differs={"*": _TOLD}), Step("GET", "/r?versions"),
    Step("PUT", "/r/o?version-id={r}", user="member"), Step("GET", "/r?versions"),
    *(Step(method, path, user="other") for method, path in (("PUT", "/r/o"), ("DELETE", "/r/o"), ("POST", "/r/o"))),
    *(Step(method, "/r/o?version-id={r}", user=user, differs={"*": _TOLD} if method == "PUT" else {}) for method in ("PUT", "DELETE") for user in ("other", "")),
    Step("DELETE", "/r", user="member", differs={"*": _FIRST}), Step("DELETE", "/r", user="", differs={"*": _FIRST}), Step("DELETE", "/r"),
    *(Step(method, path) for method in ("GET", "HEAD", "PUT", "DELETE", "POST") for path in ("/%00versions%00r", "/%00versions%00r/%00o%001")),
]  # fmt: skip

GOING = [
    Step("PUT", "/g", V), Step("DELETE", "/g"), Step("HEAD", "/g"), Step("PUT", "/g", V), Step("PUT", "/g/o", {"Content-Type": "a/b"}, body="1"),
    Step("DELETE", "/g"), Step("DELETE", "/g/o"), Step("DELETE", "/g"), Step("GET", "/g?versions"),
]  # fmt: skip

REFUSED_EARLY = [
    put("early", "1"),
    *(put("early", "2", **header)._replace(differs={"*": _EARLY}) for header in ({"X_Delete_At": "1"}, {"X_Delete_At": "x"}, {"X_Delete_After": "-1"}, {"If_None_Match": "*"})),
    Step("GET", "/c?versions&prefix=early", differs={"*": _EARLY}),
]  # fmt: skip

STEPS = [*SWITCHING, *WRITING, *BY_ID, *BEFORE, *LISTING, *MIXED, *RIGHTS, *GOING, *REFUSED_EARLY]
IGNORED = {"header x-delete-at": "a second may pass between the two"}
