"""The two legacy modes of versions: where copies go, what is kept and what comes back."""

from test.side_by_side.table import Step

_SLASH = "a quoted slash is taken there"
_NOTHING = "an archive copy is made there although the request is refused"


def write(path: str, body: str, **headers: str) -> Step:
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    return Step("PUT", path, {"Content-Type": "text/plain", **given}, body=body)


def copies(prefix: str, count: int) -> Step:
    keep = {f"copy_{prefix}_{at}": f"json:{at}.name" for at in range(count)}
    return Step("GET", f"/old?format=json&prefix=00{len(prefix)}{prefix}/", keep=keep)


def look(path: str) -> list[Step]:
    return [Step("HEAD", path), Step("GET", path)]


CONTAINERS = [
    Step("PUT", "/c", {"X-Versions-Location": "old"}), Step("HEAD", "/c"), Step("GET", "/c?format=json"),
    Step("POST", "/c", {"X-History-Location": "old"}), Step("HEAD", "/c"),
    Step("PUT", "/x", {"X-Versions-Location": "a/b"}), Step("PUT", "/x", {"X-Versions-Location": "a", "X-History-Location": "b"}),
    Step("PUT", "/x", {"X-Versions-Location": "", "X-History-Location": "b"}), Step("HEAD", "/x"),
    Step("POST", "/x", {"X-Remove-Versions-Location": "x"}), Step("HEAD", "/x"), Step("POST", "/x", {"X-Versions-Location": "caf%C3%A9"}), Step("HEAD", "/x"),
    Step("POST", "/x", {"X-Versions-Location": "☃"}), Step("HEAD", "/x"), Step("POST", "/x", {"X-Versions-Location": "new", "X-Remove-History-Location": "x"}), Step("HEAD", "/x"),
    Step("POST", "/x", {"X-History-Location": ""}), Step("HEAD", "/x"), Step("POST", "/x", {"X-Versions-Location": "/"}), Step("POST", "/x", {"X-Versions-Location": "a b"}), Step("HEAD", "/x"),
    Step("POST", "/x", {"X-Versions-Location": "a%2Fb"}, differs={"*": _SLASH}), Step("POST", "/x", {"X-Versions-Location": "old"}), Step("HEAD", "/x"),
    Step("POST", "/x", {"X-Versions-Location": "other"}, user="member"), Step("POST", "/x", {"X-Versions-Location": "other"}, user=""), Step("HEAD", "/x"),
    Step("POST", "/nothing", {"X-Versions-Location": "old"}), Step("POST", "/c", {"X-Container-Sysmeta-Versions-Location": "evil"}), Step("HEAD", "/c"),
]  # fmt: skip

STACK = [
    Step("POST", "/c", {"X-Versions-Location": "old"}),
    write("/c/o", "0"), write("/c/o", "1"), *look("/c/o"), Step("PUT", "/old"), write("/c/o", "1", X_Object_Meta_A="1"), write("/c/o?x=y", "2", X_Object_Meta_A="2", X_Delete_After="10000"),
    *look("/c/o"), copies("o", 2), Step("GET", "/old/{copy_o_0}"), Step("HEAD", "/old/{copy_o_1}"), Step("GET", "/c?format=json"),
    *(step for _ in range(4) for step in (Step("DELETE", "/c/o"), *look("/c/o"))), Step("GET", "/old"),
    write("/c/%C3%A4%20%25", "1"), write("/c/%C3%A4%20%25", "2"), Step("GET", "/old?prefix=005"), Step("DELETE", "/c/%C3%A4%20%25"), Step("GET", "/c/%C3%A4%20%25"),
    write("/c/bad", "1"), write("/c/bad", "2", Etag="00"), *look("/c/bad"),
    Step("POST", "/c/bad", {"X-Object-Meta-A": "b"}), *look("/c/bad"),
]  # fmt: skip

HISTORY = [
    Step("POST", "/c", {"X-History-Location": "old"}), write("/c/h", "h1"), write("/c/h", "h2"), Step("DELETE", "/c/h"), Step("DELETE", "/c/h"), copies("h", 4),
    *(step for at in range(4) for step in look(f"/old/{{copy_h_{at}}}")), Step("GET", "/c/h"),
    Step("POST", "/c", {"X-Versions-Location": "old"}), Step("DELETE", "/c/h"), Step("GET", "/c/h"), copies("h", 3), Step("DELETE", "/c/h"), Step("GET", "/c/h"), copies("h", 1),
    Step("DELETE", "/c/h"), Step("GET", "/c/h"), Step("DELETE", "/c/h"), Step("DELETE", "/c/h"),
    Step("POST", "/c", {"X-History-Location": "old"}), write("/c/i", "1"), Step("DELETE", "/c/i"), write("/c/i", "2"), Step("POST", "/c", {"X-Versions-Location": "old"}),
    Step("DELETE", "/c/i"), Step("GET", "/c/i"), copies("i", 2), Step("DELETE", "/c/i"), Step("GET", "/c/i"),
]  # fmt: skip

ONLY_IF_NEW = [
    Step("PUT", "/new", {"X-Versions-Location": "newold"}), Step("PUT", "/newold"), *(write("/new/o", text, If_None_Match="*") for text in "12"), Step("GET", "/new/o"),
    Step("GET", "/newold", differs={"*": _NOTHING}),
]  # fmt: skip

AWAY = [
    Step("PUT", "/n", {"X-Versions-Location": "nowhere"}), write("/n/o", "1"), write("/n/o", "2"), *look("/n/o"), Step("DELETE", "/n/o"), write("/n/o", "1"),
    Step("POST", "/n", {"X-History-Location": "nowhere"}), Step("DELETE", "/n/o"), *look("/n/o"), write("/nothing/o", "1"), Step("DELETE", "/nothing/o"), Step("DELETE", "/n", differs={"body": "says why here"}),
]  # fmt: skip

RIGHTS = [
    *(Step(method, "/c/o", user=user) for user in ("member", "other", "") for method in ("PUT", "DELETE")),
    Step("POST", "/c", {"X-Container-Write": "{name}:member", "X-Container-Read": "{name}:member"}),
    *(Step("PUT", "/c/acl", {"Content-Type": "a/b"}, body=text, user="member") for text in ("1", "2")), Step("DELETE", "/c/acl", user="member"), Step("GET", "/c/acl", user="member"),
    Step("GET", "/old", user="member"), Step("HEAD", "/c", user="member"), Step("POST", "/c", {"X-Versions-Location": "other"}, user="member"),
]  # fmt: skip

MIXED = [
    Step("PUT", "/seg"), write("/seg/1", "segment"), Step("PUT", "/c/slo?multipart-manifest=put", {"Content-Type": "x/y"}, body='[{"path": "/seg/1"}]'),
    write("/c/slo", "plain"), Step("GET", "/old?format=json&prefix=003slo", keep={"slo": "json:0.name"}), Step("GET", "/old/{slo}"), Step("DELETE", "/c/slo"), *look("/c/slo"),
    Step("GET", "/c/slo?multipart-manifest=get"), Step("PUT", "/c/sym", {"X-Symlink-Target": "seg/1"}), write("/c/sym", "plain"),
    Step("GET", "/old?format=json&prefix=003sym", keep={"sym": "json:0.name"}), *look("/old/{sym}"), Step("HEAD", "/old/{sym}?symlink=get"), Step("DELETE", "/c/sym"), *look("/c/sym"),
    Step("PUT", "/c/dlo", {"Content-Type": "x/y", "X-Object-Manifest": "seg/"}), write("/c/dlo", "plain"), Step("DELETE", "/c/dlo"), *look("/c/dlo"),
    Step("COPY", "/seg/1", {"Destination": "c/copy"}), Step("COPY", "/seg/1", {"Destination": "c/copy"}), Step("DELETE", "/c/copy"), *look("/c/copy"),
]  # fmt: skip

STEPS = [*CONTAINERS, *STACK, *HISTORY, *ONLY_IF_NEW, *AWAY, *RIGHTS, *MIXED]
IGNORED = {"header x-delete-at": "a second may pass between the two"}
