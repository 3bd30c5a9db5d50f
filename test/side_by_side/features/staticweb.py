"""Web sites: indexes, listings, error pages, directories and objects that stand for them, rights, signed and ordinary visitors, odd names and settings."""

from urllib.parse import quote

from test.side_by_side.table import Step

PUBLIC = {"X-Container-Read": ".r:*,.rlistings"}
FILES = (
    ("index.html", "text/html", b"<h1>index</h1>"), ("a<b.txt", "text/plain", b"x" * 1023), ("b.txt", "text/plain", b"x" * 1024), ("c.txt", "text/plain", b"x" * 1536),
    ("d.bin", "application/x-tar", b"x" * 2560), ("sub/index.html", "text/html", b"sub index"), ("sub/one.txt", "text/plain", b"1"), ("sub/deep/two.txt", "text/plain", b"2"),
    ("marker", "application/directory", b""), ("marker/m.txt", "text/plain", b"m"), ("marker1", "application/directory", b"1"), ("big marker", "application/directory", b"22"),
    ("lonely", "application/directory", b""), ("custom", "text/directory", b""), ("custom/z", "x/y", b"z"), ("file", "x/y", b"file"), ("file/under", "x/y", b"under"),
    ("trail/", "application/directory", b""), ("q?x=1/y", "x/y", b"q"), ("ü ö&'\"%.txt", "text/plain", b"u"), ("404error.html", "text/html", b"my 404"),
    ("401error.html", "text/html", b"my 401"),
)  # fmt: skip
ODD = (
    ("p", 'text/plain; charset="utf-8"', b""), ("q", "Text/HTML;a=b", b""), ("r", "weird", b""), ("s", "a/b/c", b""), ("t", 'x/"><script>', b""), ("nl\nname", "x/y", b"x"),
    ("sp ace/f", "x/y", b"x"), ("ü/ö", "x/y", b"x"), ("javascript:alert(1)", "x/y", b"x"), ("..", "x/y", b"x"), ("../up", "x/y", b"x"), ("a/../b", "x/y", b"x"), ("a//b", "x/y", b"x"),
    ("m", "application/directory; charset=x", b""), ("in dex.html", "text/html", b"idx"), ("x/in dex.html", "text/html", b"xidx"), ("404e r", "x/y", b"E404"),
)  # fmt: skip
PATHS = (
    "", "/", "/index.html", "/sub", "/sub/", "/sub/deep", "/sub/deep/", "/marker", "/marker/", "/marker1", "/big%20marker", "/lonely", "/lonely/", "/custom", "/custom/", "/file",
    "/file/", "/nothing", "/nothing/", "/trail", "/trail/", "/q%3Fx=1", "/q%3Fx=1/", "/%C3%BC%20%C3%B6&'%22%25.txt", "//", "/sub//",
)  # fmt: skip
FEW = ("", "/", "/sub", "/sub/", "/nothing", "/nothing/", "/custom")


def site(name: str, files=(), read: dict[str, str] | None = None, **settings: str) -> list[Step]:
    meta = {f"X-Container-Meta-Web-{key.replace('_', '-')}": value for key, value in settings.items()}
    steps = [Step("PUT", name, PUBLIC if read is None else read), Step("POST", name, meta)]
    return steps + [
        Step("PUT", f"{name}/{quote(path)}", {"Content-Type": kind}, body) for path, kind, body in files
    ]


def visits(
    name: str, paths=FEW, method: str = "GET", user: str = "", differs=None, **headers: str
) -> list[Step]:
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    return [
        Step(method, name + path, given, user=user, differs=(differs or {}).get(path, {})) for path in paths
    ]


HEAD_OF_ERROR = {"*": "a HEAD of an error page is 500 in the reference"}
ESCAPED = {"body": "the name of a missing index is escaped"}

OTHER_VERSION = {"*": "it is told that there is no such version"}


def of_index(name: str, headers: dict[str, str]) -> dict[str, dict[str, str]]:
    """Conditions that a directory's index does not meet."""
    unmet = name == "/both" and (
        headers.get("Range") == "bytes=100-" or "If-Match" in headers or "If_Unmodified_Since" in headers
    )
    return (
        dict.fromkeys(("/sub", "/sub/"), {"*": "412 and 416 of an index are 500 in the reference"})
        if unmet
        else {}
    )


STEPS = [
    *site("/index", FILES, Index="index.html", Error="error.html"), *visits("/index", PATHS),
    *site("/listings", FILES, Listings="true"), *visits("/listings", PATHS),
    *site("/both", FILES, Index="index.html", Listings="on", Listings_Css="style.css", Error="error.html"), *visits("/both", PATHS),
    *site("/css", FILES[:4], Listings="yes", Listings_Css="/v1/x.css", Listings_Label="My Site <&>"), *visits("/css"),
    *site("/type", FILES[10:18], Listings="yes", Listings_Css="https://e/x.css", Directory_Type="text/directory"), *visits("/type", ("/", "/custom", "/marker", "/lonely")),
    *site("/false", FILES[:8], Listings="false"), *visits("/false"),
    *site("/none", FILES[:8]), *visits("/none"),
    *site("/empty", Listings="true"), *visits("/empty"), *site("/emptyindex", Index="index.html"), *visits("/emptyindex"),
    *site("/emptyerror", (("404e", "x/y", b"e404"),), Index="index.html", Error="e"), *visits("/emptyerror"),
    *site("/private", FILES[:8], {}, Index="index.html", Listings="true", Error="error.html"), *visits("/private"),
    *site("/nolist", FILES, {"X-Container-Read": ".r:*"}, Listings="true", Error="error.html"), *visits("/nolist"),
    *site("/referer", FILES[:8], {"X-Container-Read": ".r:good.com,.rlistings"}, Listings="true", Index="index.html"), *visits("/referer"),
    *visits("/referer", Referer="http://good.com/x"), *visits("/referer", Referer="http://bad.com/x"), *visits("/missing"),
    # -- other methods, tokens, X-Web-Mode
    *visits("/listings", method="HEAD"), *visits("/index", method="HEAD", differs={"/nothing": HEAD_OF_ERROR, "/nothing/": HEAD_OF_ERROR}),
    *visits("/both", method="HEAD", differs={"/nothing": HEAD_OF_ERROR, "/nothing/": HEAD_OF_ERROR}),
    *visits("/private", method="HEAD"), *visits("/none", method="HEAD"), *visits("/both", ("/", "/sub", "/nothing"), method="OPTIONS"),
    *(step for method in ("PUT", "POST", "DELETE") for step in visits("/both", method=method)),
    *visits("/both", user="owner"), *visits("/private", user="owner", X_Web_Mode="true"), *visits("/none", user="owner", X_Web_Mode="true"), *visits("/missing", user="owner", X_Web_Mode="true"),
    *visits("/private", user="other", X_Web_Mode="t"), *visits("/private", user="member"), *visits("/both", ("/", "/sub"), user="owner", X_Web_Mode="false"),
    *visits("/both", ("/", "/sub"), X_Web_Mode="true"), *visits("/both", ("/", "/sub"), X_Auth_Token="AUTH_tkbad"),
    # -- queries and headers
    *visits("/listings", ("/?format=json&limit=2", "/?prefix=sub/", "/?delimiter=x&reverse=on&marker=sub", "?x=y", "/sub?x=y")), *visits("/both", ("/?multipart-manifest=get", "/sub?x=y")),
    *(step for headers in ({"Range": "bytes=0-3"}, {"Range": "bytes=100-"}, {"If-None-Match": "*"}, {"If-Match": "zz"}, {"If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
      {"If_Unmodified_Since": "Fri, 01 Jan 2000 00:00:00 GMT"}, {"Accept": "application/json"}, {"Accept": "text/xml"}, {"Origin": "http://x"}, {"X_Newest": "true"}, {"Host": "example.org"})
      for path in ("/both", "/listings") for step in visits(path, ("/", "/sub/", "/sub", "/nothing"), differs=of_index(path, headers), **headers)),
    Step("GET", "/v1.0/AUTH_staticweb/both/", user="", whole=True), Step("GET", "/v1.0/AUTH_staticweb/both/sub", user="", whole=True), Step("GET", "/v2/AUTH_staticweb/both/", user="", whole=True, differs=OTHER_VERSION),
    Step("GET", "", user=""), Step("GET", "/", user=""), Step("GET", "/v1/AUTH_nobody/c/", user="", whole=True),
    # -- odd names and settings
    *site("/odd", ODD, Listings="true", Listings_Css='a"b>c.css', Listings_Label="L/x/"),
    *visits("/odd", ("/", "/a", "/a/", "/a//", "/a/..", "/a/../", "/..", "/../", "/x", "/sp%20ace", "/sp%20ace/", "/%C3%BC", "/%C3%BC/", "/m", "/nl%0Aname", "/%FF", "/%FF/", "/%2e%2e/", "/f/")),
    *site("/oddindex", ODD, Index="in dex.html", Error="e r", Listings="true", Listings_Css="d/e.css"), *visits("/oddindex", ("/", "/x", "/x/", "/a/", "/nothing", "/nothing/", "/m")),
    *site("/oddlabel", Index="none.html", Listings_Css="ü.css", Listings_Label="ü"), *visits("/oddlabel", ("/", "/a/")),
    *site("/markup", Index="<b>none</b>", Listings="no"), *visits("/markup", ("/",), differs={"/": ESCAPED}),
    *site("/spaces", (("index", "x/y", b"i"), ("404", "x/y", b"bare")), Index=" index ", Error="", Listings=" true "), *visits("/spaces"),
    *site("/deepindex", (("sub/f", "x/y", b"x"), ("404err", "x/y", b"bare")), Index="sub/f", Error="err", Listings="TRUE"), *visits("/deepindex"),
]  # fmt: skip
