"""Links: made, followed, shown, posted to, listed; static ones whose targets change; chains, circles; other accounts; what cannot be meant."""

import json
from urllib.parse import quote

from test.side_by_side.names import LONGEST, ODD
from test.side_by_side.table import Step

ETAG, OTHER, EMPTY = (
    "781e5e245d69b566979b86e28d23f2c7",
    "795f3202b17cb6bc3d4b771d8c6c9eaf",
    "d41d8cd98f00b204e9800998ecf8427e",
)
_NO_NAME = "stored there, and never to be followed"
_DEEP = "500 there"


def link(
    name: str,
    target: str,
    etag: str = "",
    user: str = "owner",
    differs: dict[str, str] | None = None,
    **headers: str,
) -> Step:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if etag:
        given["X-Symlink-Target-Etag"] = etag
    return Step("PUT", f"/l/{name}", {"X-Symlink-Target": target, **given}, user=user, differs=differs or {})


def looks(name: str) -> list[Step]:
    return [Step(method, f"/l/{name}{query}") for query in ("", "?symlink=get") for method in ("GET", "HEAD")]


SET_UP = [
    Step("PUT", "/c"), Step("PUT", "/l"), Step("PUT", "/ec", {"X-Storage-Policy": "ec21"}), Step("PUT", "/v1/{other}/o", user="other", whole=True),
    Step("PUT", "/c/o", {"X-Object-Meta-Color": "red", "Content-Type": "text/plain"}, body="0123456789"), Step("PUT", "/ec/o", body="0123456789"),
]  # fmt: skip

MADE = [
    link("dyn", "c/o", X_Object_Meta_Mine="1"), link("sta", "c/o", ETAG), link("quoted", "c/o", f'"{ETAG}"'), link("typed", "c/o", Content_Type="my/type"), link("stypes", "c/o", ETAG, Content_Type="my/type"),
    link("dangling", "c/none"), link("nocont", "none/o"), link("acc", "o/x", X_Symlink_Target_Account="{other}"), link("own", "c/o", X_Symlink_Target_Account="AUTH_symlinks"),
    link("ec", "ec/o"), link("ecs", "ec/o", ETAG), link("bytes", "c/o", X_Symlink_Target_Bytes="99"), link("sbytes", "c/o", ETAG, X_Symlink_Target_Bytes="99"), link("noetag", "c/o", X_Symlink_Target_Etag=""),
    link("ifn", "c/o", If_None_Match="*"), link("ifn", "c/o", If_None_Match="*"), link("ifs", "c/o", ETAG, If_None_Match="*"), link("etag", "c/o", Etag="abc"), link("etag", "c/o", Etag=EMPTY),
    link("expires", "c/o", X_Delete_After="10000"), link("query?symlink=get", "c/o"), link("unicode", "c/%E2%98%83"), link("raw", "c/☃"), link("slash", "c//o"), link("dots", "c/../o"),
    *(step for name in ("dyn", "sta", "typed", "stypes", "dangling", "nocont", "acc", "own", "ec", "ecs", "sbytes", "unicode") for step in looks(name)),
    *(Step("PUT", f"/l/{quote(name)}", {"X-Symlink-Target": f"c/{quote(name)}"}) for name in ODD), *(Step("GET", f"/l/{quote(name)}") for name in ODD),
    Step("PUT", f"/l/{quote(LONGEST)}", {"X-Symlink-Target": f"c/{quote(LONGEST)}"}), link("toolong", "c/" + "o" * 1100), link("toolongc", "c" * 300 + "/o"), Step("PUT", "/none/l", {"X-Symlink-Target": "c/o"}),
    Step("GET", "/l?format=json"), Step("GET", "/l?format=xml&limit=5"), Step("GET", "/l?limit=5"), Step("GET", "/l?format=json&prefix=s&delimiter=t"), Step("HEAD", "/l"),
]  # fmt: skip

REFUSED = [
    *(link("bad", target) for target in ("/c/o", "%2fc/o", "c", "", "c/", "/", "//", " ", "l/bad", "l/b%61d")), link("bad", "l/bad", X_Symlink_Target_Account="AUTH_symlinks"),
    *(link("bad", target, differs={"*": _NO_NAME}) for target in ("%ff/%fe", "c/%00o", "%00versions%00c/%00o")),
    *(link("bad", "c/o", X_Symlink_Target_Account=account) for account in ("", "a/b", "a%2fb")), *(link("bad", "c/o", etag) for etag in ("a;b", 'a"b', '"a', "a\\b", '""', "abc")),
    link("bad", "c/none", ETAG), link("bad", "none/none", ETAG), link("bad", "o/x", ETAG, X_Symlink_Target_Account="{other}"),
    Step("PUT", "/l/bad", {"X-Symlink-Target": "c/o"}, body="body"), Step("PUT", "/l/bad", {"X-Symlink-Target": "c/o", "Content-Length": None}), Step("GET", "/l/bad"), Step("DELETE", "/l/bad"),
    Step("PUT", "/l/plain", {"X-Symlink-Target-Etag": ETAG, "X-Symlink-Target-Account": "x"}), Step("HEAD", "/l/plain?symlink=get"), Step("PUT", "/l", {"X-Symlink-Target": "c/o"}), Step("PUT", "", {"X-Symlink-Target": "c/o"}),
    Step("PUT", "/l/sys", {"X-Object-Sysmeta-Symlink-Target": "c/o"}), Step("GET", "/l/sys"),
    Step("POST", "/c/o", {"X-Symlink-Target": "c/x"}), Step("POST", "/l/dyn", {"X-Symlink-Target": "c/x"}), link("sysm", "c/o", X_Object_Sysmeta_Symloop_Extend="true"), Step("GET", "/l/sysm"),
]  # fmt: skip

READ = [
    *(Step("GET", f"/l/{name}", headers) for name in ("dyn", "sta", "ec", "ecs") for headers in (
        {"Range": "bytes=2-4"}, {"Range": "bytes=100-"}, {"Range": "bytes=0-0,5-6"}, {"If-None-Match": ETAG}, {"If-None-Match": EMPTY}, {"If-Match": "x"}, {"If-Match": EMPTY},
        {"If-Modified-Since": "Fri, 01 Jan 2038 00:00:00 GMT"}, {"X-Newest": "true"},
    )),
    *(Step("GET", f"/l/dyn?{query}") for query in ("symlink=", "symlink=x", "symlink", "symlink=get&symlink=x", "symlink=x&symlink=get", "multipart-manifest=get", "Symlink=get", "symlink=GET")),
    Step("GET", "/l/dyn?symlink=get", {"Range": "bytes=0-0"}), Step("GET", "/l/dyn?symlink=get", {"If-None-Match": EMPTY}), Step("GET", "/l/dyn?symlink=get", {"If-Match": ETAG}),
    Step("OPTIONS", "/l/dyn"), Step("PATCH", "/l/dyn"), Step("POST", "/l/dyn", {"X-Object-Meta-P": "1"}), Step("HEAD", "/l/dyn?symlink=get"), Step("HEAD", "/c/o"), Step("POST", "/l/sta", {"X-Object-Meta-P": "1"}),
    Step("POST", "/l/dyn?symlink=get", {"Content-Type": "new/type"}), Step("GET", "/l?format=json&prefix=dyn"), Step("POST", "/l/acc", {"X-Object-Meta-P": "1"}), Step("POST", "/l/unicode"), Step("POST", "/l/none"),
    Step("POST", "/l/dyn", {"X-Object-Meta-A": "x" * 300}), Step("POST", "/l/dyn", {"X-Delete-After": "10000"}), Step("HEAD", "/l/dyn?symlink=get"), Step("GET", "/l/dyn"),
]  # fmt: skip

CHAINS = [
    link("1", "c/o"), link("2", "l/1"), link("3", "l/2"), link("4", "l/3"), *(Step(method, f"/l/{n}") for n in range(1, 5) for method in ("GET", "HEAD")), link("x", "l/y"), link("y", "l/x"), Step("GET", "/l/x"), Step("HEAD", "/l/x"),
    link("s1", "c/o", ETAG), link("s2", "l/s1", ETAG), link("s3", "l/s2", ETAG), link("s4", "l/s3", ETAG, differs={"*": _DEEP}), *(Step("GET", f"/l/s{n}") for n in range(1, 4)),
    link("sd", "l/1", ETAG), link("sd", "l/1", EMPTY), *looks("sd"), link("ssd", "l/sd", EMPTY), link("ssd", "l/sd", ETAG), Step("GET", "/l/ssd"), link("ds", "l/s1"), Step("GET", "/l/ds"), link("sds", "l/ds", ETAG), link("sx", "l/x", EMPTY), Step("GET", "/l/sx"),
    Step("GET", "/l?format=json&prefix=s"),
    Step("PUT", "/c/o", body="other"), *(Step(method, f"/l/{n}") for n in ("1", "2", "s1", "s2", "sd", "ds") for method in ("GET", "HEAD")), link("s5", "l/s1", ETAG),
    link("s1", "c/o", OTHER), Step("GET", "/l/s2"), Step("HEAD", "/l/s2"), Step("GET", "/l/s1"), Step("DELETE", "/l/1"), Step("GET", "/l/2"), Step("GET", "/c/o"), Step("DELETE", "/c/o"), Step("GET", "/l/s1"), Step("HEAD", "/l/s1"),
    Step("PUT", "/l/s1", body="plain"), Step("GET", "/l/s1"), Step("GET", "/l?format=json&prefix=s"), Step("PUT", "/c/o", {"Content-Type": "text/plain"}, body="0123456789"),
]  # fmt: skip

MANIFEST = json.dumps([{"path": "/c/seg1"}, {"path": "/c/seg2"}])
LARGE = [
    Step("PUT", "/c/seg1", body="aaaaa"), Step("PUT", "/c/seg2", body="bbbbb"), Step("PUT", "/c/slo?multipart-manifest=put", {"Content-Type": "x/y"}, body=MANIFEST), Step("PUT", "/c/dlo", {"X-Object-Manifest": "c/seg"}),
    link("slo", "c/slo"), link("dlo", "c/dlo"), Step("PUT", "/l/slob", {"X-Symlink-Target": "c/slo", "X-Symlink-Target-Etag": "d31eea83662e6f7e577ae0cf8b71fb3d"}), link("dlos", "c/dlo", EMPTY),
    *(Step("GET", f"/l/{kind}{query}", headers) for kind in ("slo", "dlo", "dlos") for query, headers in (("", {}), ("", {"Range": "bytes=3-6"}), ("?symlink=get", {}), ("", {"If-None-Match": "d31eea83662e6f7e577ae0cf8b71fb3d"}))),
    Step("HEAD", "/l/slo"), Step("HEAD", "/l/dlo"), link("seg3", "c/seg1"), Step("PUT", "/c/slo2?multipart-manifest=put", body=json.dumps([{"path": "/l/seg3"}, {"path": "/c/seg2"}])), Step("GET", "/c/slo2"),
    Step("GET", "/l?format=json&prefix=slo"),
]  # fmt: skip

WHO = [
    *(Step(method, f"/l/{name}", user=user) for user in ("member", "other", "") for name in ("own", "own?symlink=get") for method in ("GET", "HEAD")),
    Step("POST", "/l", {"X-Container-Read": ".r:*,symlinks:member"}), *(Step(method, f"/l/{name}", user=user) for user in ("member", "other", "") for name in ("own", "own?symlink=get") for method in ("GET", "HEAD")),
    Step("POST", "/c", {"X-Container-Read": ".r:*"}), *(Step("GET", "/l/own", user=user) for user in ("member", "other", "")), Step("POST", "/l", {"X-Container-Write": "symlinks:member", "X-Container-Read": ""}),
    link("m", "c/o", user="member"), link("ms", "c/o", ETAG, user="member"), Step("POST", "/c", {"X-Container-Read": ""}), link("ms2", "c/o", ETAG, user="member"), link("ms3", "c/none", ETAG, user="member"), link("n", "c/o", user="other"), link("n", "c/o", user=""),
    Step("GET", "/l/m", user="member"), Step("GET", "/l/m"), Step("POST", "/l/m", {"X-Object-Meta-A": "b"}, user="member"), Step("DELETE", "/l/m", user="member"), Step("DELETE", "/l/ms", user="other"),
    Step("PUT", "/v1/{other}/o/l", {"X-Symlink-Target": "c/o", "X-Symlink-Target-Account": "{account}"}, user="other", whole=True), Step("GET", "/v1/{other}/o/l", user="other", whole=True), Step("GET", "/v1/{other}/o/l", whole=True),
    Step("PUT", "/v1/{other}/o/s", {"X-Symlink-Target": "c/o", "X-Symlink-Target-Account": "{account}", "X-Symlink-Target-Etag": ETAG}, user="other", whole=True), Step("GET", "/v1/{other}/o?format=json", user="other", whole=True),
]  # fmt: skip

STEPS = [*SET_UP, *MADE, *REFUSED, *READ, *CHAINS, *LARGE, *WHO]
