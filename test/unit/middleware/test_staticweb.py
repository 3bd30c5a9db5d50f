"""Containers as web sites. Statuses, headers and pages are those that the reference gave to the same requests, where nothing else is said."""

import json

import pytest
from filter_stand_ins import App, call, memory_logger
from hypothesis import given as holds_for
from hypothesis import strategies as st

from swift.core import capabilities
from swift.middleware.info.forms import (
    account_info_from_headers,
    container_info_from_headers,
    usable_account_info,
    usable_container_info,
)
from swift.middleware.staticweb import StaticWeb, filter_factory, pages
from swift.middleware.staticweb.filter import LARGEST_LISTING
from swift.wire.message import HTTPUnauthorized, parsed_path

ROOT = "/v1/AUTH_test/c"
INDEX = {"Web-Index": "index.html"}
LISTINGS = {"Web-Listings": "true"}
ERRORS = {"Web-Error": "error.html"}
FILES = {
    "index.html": b"<h1>index</h1>", "b.txt": b"b", "sub/index.html": b"sub index", "sub/one.txt": b"1", "sub/deep/two.txt": b"2",
    "marker": ("application/directory", b""), "marker/m.txt": b"m", "one byte": ("application/directory", b"1"),
    "big marker": ("application/directory", b"22"), "lonely": ("application/directory", b""), "trail/": ("application/directory", b""),
    "custom": ("text/directory", b""), "custom/z": b"z", "a<b>&\"'.txt": b"x", "ü ö.txt": b"u",
    "404error.html": b"my 404", "401error.html": b"my 401",
}  # fmt: skip


class Site:
    """An application that has one container, and asks the authorization that it is given."""

    def __init__(self, files=FILES, broken=()):
        self.files = files
        self.broken = broken
        self.asked = []
        self.closed = 0

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "surrogateescape")
        self.asked.append((environ["REQUEST_METHOD"], path[len(ROOT) :], environ.get("QUERY_STRING", "")))
        self.environ = environ
        refusal = environ["swift.authorize"](type("R", (), {"environ": environ}))
        if refusal is not None:
            return refusal(environ, start_response)
        obj = path[len(ROOT) + 1 :]
        if obj in self.broken:
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
        status, headers, data = self.listing(environ) if not obj else self.object(environ, obj)
        start_response(status, [("Content-Length", str(len(data))), *headers])
        site = self

        class Body(list):
            def close(self):
                site.closed += 1

        return Body([data if environ["REQUEST_METHOD"] == "GET" else b""])

    def object(self, environ, obj):
        if obj not in self.files:
            return "404 Not Found", [("Content-Type", "text/html")], b"nothing"
        found = self.files[obj]
        kind, data = found if isinstance(found, tuple) else ("text/html", found)
        status = "206 Partial Content" if "HTTP_RANGE" in environ else "200 OK"
        return status, [("Content-Type", kind), ("Etag", "e")], data

    def listing(self, environ):
        from urllib.parse import parse_qs

        query = parse_qs(environ["QUERY_STRING"], encoding="utf-8")
        prefix = query.get("prefix", [""])[0]
        rows, seen = [], set()
        for name, data in sorted(self.files.items()):
            if not name.startswith(prefix):
                continue
            below, slash, _ = name[len(prefix) :].partition("/")
            if slash and below + slash not in seen:
                seen.add(below + slash)
                rows.append({"subdir": prefix + below + slash})
            elif not slash:
                kind, data = data if isinstance(data, tuple) else ("text/html", data)
                rows.append(
                    {
                        "name": name,
                        "bytes": len(data),
                        "hash": "h",
                        "content_type": kind,
                        "last_modified": "2026-11-21T05:04:58.123450",
                    }
                )
        rows = rows[: int(query.get("limit", ["10000"])[0])]
        return "200 OK", [("Content-Type", "application/json")], json.dumps(rows).encode()


def everybody(request):
    return None


def nobody(request):
    return HTTPUnauthorized()


def readers(request):
    """No listings."""
    return None if parsed_path(request.environ)[3] else HTTPUnauthorized()


def visit(
    path="/",
    meta=LISTINGS,
    site=None,
    method="GET",
    headers=None,
    user=None,
    authorize=everybody,
    conf=None,
    **environ,
):
    site = site or Site()
    settings = {f"X-Container-Meta-{name}": value.encode().decode("latin-1") for name, value in meta.items()}
    known = usable_container_info(
        container_info_from_headers(204, {**settings, "X-Container-Read": "acl"}.items())
    )
    base = {
        "swift.authorize": authorize,
        "swift.infocache": {
            "account/AUTH_test": usable_account_info(account_info_from_headers(204, ())),
            "container/AUTH_test/c": known,
        },
        **environ,
    }
    if user:
        base["REMOTE_USER"] = user
    answer = call(StaticWeb(site, conf or {}, memory_logger()[0]), ROOT + path, method, headers, base)
    answer.site = site
    return answer


def outcome(answer):
    """What matters of an answer, briefly."""
    if answer.status_int == 301:
        return answer.headers["Location"].removeprefix(f"http://localhost{ROOT}")
    if answer.body.startswith(b"<!DOCTYPE"):
        kind = "listing" if b'id="listing"' in answer.body else "no listing"
        return kind if answer.status_int == 200 else f"{kind} {answer.status_int}"
    if answer.status_int in (404, 401) and answer.body.startswith((b"<html>", b"nothing")):
        return str(answer.status_int)
    return answer.body.decode()


# -- where a visit leads ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, index, listings, both",
    [
        ("", "/", "/", "/"),
        ("/", "<h1>index</h1>", "listing", "<h1>index</h1>"),
        ("/index.html", "<h1>index</h1>", "<h1>index</h1>", "<h1>index</h1>"),
        ("/sub", "/sub/", "/sub/", "/sub/"),
        ("/sub/", "sub index", "listing", "sub index"),
        ("/sub/deep", "/sub/deep/", "/sub/deep/", "/sub/deep/"),
        ("/sub/deep/", "no listing 404", "listing", "listing"),
        ("/marker", "/marker/", "/marker/", "/marker/"),
        ("/marker/", "no listing 404", "listing", "listing"),
        ("/one%20byte", "404", "404", "404"),
        ("/big%20marker", "22", "22", "22"),
        ("/lonely", "404", "404", "404"),
        ("/lonely/", "no listing 404", "404", "404"),
        ("/trail", "/trail/", "/trail/", "/trail/"),
        ("/trail/", "no listing 404", "listing", "listing"),
        ("/custom", "", "", ""),
        ("/nothing", "404", "404", "404"),
        ("/nothing/", "no listing 404", "404", "404"),
        ("//", "<h1>index</h1>", "404", "<h1>index</h1>"),
        ("/%C3%BC%20%C3%B6.txt", "u", "u", "u"),
    ],
)
def test_where_a_visit_leads(path, index, listings, both):
    files = {**FILES, "/index.html": b"<h1>index</h1>"} if path == "//" else FILES
    if path == "//":
        listings = "listing"
    found = [outcome(visit(path, meta, Site(files))) for meta in (INDEX, LISTINGS, {**INDEX, **LISTINGS})]
    assert found == [index, listings, both]


@pytest.mark.parametrize(
    "meta", [{}, {"Web-Error": "e"}, {"Web-Listings-Css": "c"}, {"Web-Index": "", "Web-Listings": ""}]
)
def test_a_container_that_is_no_site(meta):
    for path in ("", "/", "/sub", "/b.txt"):
        answer = visit(path, meta)
        assert len(answer.site.asked) == 1 and answer.site.asked[0][1] == path
        assert answer.raw_body.__class__.__name__ == "Body"


@pytest.mark.parametrize(
    "value, listed", [("true", True), ("Yes", True), ("ON", True), ("false", False), ("x", False)]
)
def test_any_value_makes_a_site_but_only_a_true_one_listings(value, listed):
    assert outcome(visit("/sub/", {"Web-Listings": value})) == ("listing" if listed else "no listing 404")
    assert outcome(visit("/sub", {"Web-Listings": value})) == "/sub/"


def test_directories_of_another_type():
    meta = {**LISTINGS, "Web-Directory-Type": "text/directory"}
    assert outcome(visit("/custom", meta)) == "/custom/"
    assert outcome(visit("/marker", meta)) == ""


@pytest.mark.parametrize(
    "options, user, headers, is_site",
    [
        ({}, None, {}, True),
        ({}, "test,test:tester,AUTH_test", {}, False),
        ({}, "test,test:tester,AUTH_test", {"X-Web-Mode": "true"}, True),
        ({}, "test,test:tester,AUTH_test", {"X-Web-Mode": "no"}, False),
        ({}, ".wsgi.tempurl", {}, True),
        ({"authorize": None}, None, {}, False),
        ({"method": "POST"}, None, {}, False),
        ({"method": "PUT"}, None, {"X-Web-Mode": "true"}, False),
        ({"method": "DELETE"}, None, {}, False),
        ({"method": "OPTIONS"}, None, {}, False),
        ({"method": "HEAD"}, None, {}, True),
    ],
)  # fmt: skip
def test_who_is_a_visitor(options, user, headers, is_site):
    app = App()
    answer = visit("", site=app, user=user, headers=headers, **options)
    assert answer.status_int == (301 if is_site else 200)


def test_web_mode_for_a_container_that_is_no_site():
    assert visit("/", {}, headers={"X-Web-Mode": "true"}).status_int == 404
    assert outcome(visit("/b.txt", {}, headers={"X-Web-Mode": "true"})) == "b"


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/AUTH_test", "/info", "//x/y/z"])
def test_other_paths_are_none_of_its_business(path):
    app = App()
    call(StaticWeb(app, {}, memory_logger()[0]), path, environ={"swift.authorize": everybody})
    assert app.calls == 1


@pytest.mark.parametrize(
    "base, location",
    [
        ("", "http://localhost/v1/AUTH_test/c/s%C3%BCb%3F/"),
        ("https://", "https://localhost/v1/AUTH_test/c/s%C3%BCb%3F/"),
        ("//www.example.com", "http://www.example.com/v1/AUTH_test/c/s%C3%BCb%3F/"),
        ("https://www.example.com:8443/ignored", "https://www.example.com:8443/v1/AUTH_test/c/s%C3%BCb%3F/"),
    ],
)
def test_redirects(base, location):
    """The path alone is kept, and quoted."""
    files = {"süb?/x": b"x"}
    answer = visit("/s%C3%BCb%3F?a=b", site=Site(files), conf={"url_base": base} if base else {})
    assert (answer.status_int, answer.headers["Location"]) == (301, location)
    answer = visit("/s%C3%BCb%3F", site=Site(files), method="HEAD", conf={"url_base": base} if base else {})
    assert (answer.status_int, answer.body) == (301, b"")


# -- failures --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/nothing", "/nothing/", "/lonely", "/sub/deep/"])
def test_the_owners_error_page(path, method):
    """To a HEAD the reference answers 500."""
    answer = visit(path, {**INDEX, **ERRORS}, method=method)
    assert (answer.status, answer.body) == ("404 Not Found", b"my 404" if method == "GET" else b"")
    assert (answer.headers["Content-Length"], answer.headers["Content-Type"]) == ("6", "text/html")


def test_an_error_page_that_is_not_there():
    assert outcome(visit("/nothing", {**LISTINGS, "Web-Error": "none"})) == "404"
    assert outcome(visit("/nothing", {**LISTINGS, **ERRORS}, Site(broken=("404error.html",)))) == "404"


@pytest.mark.parametrize("path", ["/", "/sub/", "/nothing/"])
def test_listings_need_the_right_to_list(path):
    assert outcome(visit(path, authorize=readers)) == "401"
    assert outcome(visit(path, {**LISTINGS, **ERRORS}, authorize=readers)) == "my 401"


def test_without_that_right_there_are_no_directories():
    """Whether names begin with something is told by listings only."""
    assert outcome(visit("/sub", authorize=readers)) == outcome(visit("/nothing", authorize=readers)) == "404"
    assert outcome(visit("/b.txt", authorize=readers)) == "b"
    assert outcome(visit("/sub", INDEX, authorize=readers)) == "/sub/"
    assert outcome(visit("/sub/", INDEX, authorize=readers)) == "sub index"


def test_who_may_not_read_sees_nothing():
    for meta in (INDEX, LISTINGS, {**INDEX, **LISTINGS, **ERRORS}):
        for path in ("", "/", "/sub", "/sub/", "/b.txt", "/nothing", "/nothing/"):
            answer = visit(path, meta, authorize=nobody)
            assert answer.status_int == 401 and b"my" not in answer.body


def test_what_is_asked_on_a_visitors_behalf_is_asked_in_his_name():
    seen = []

    def authorize(request):
        seen.append(
            (
                request.environ["PATH_INFO"],
                request.environ.get("REMOTE_USER"),
                request.environ.get("swift.authorize_override"),
            )
        )

    site = visit("/nothing/", {**INDEX, **LISTINGS, **ERRORS}, authorize=authorize).site
    assert {user for _, user, _ in seen} == {None} and {override for _, _, override in seen} == {None}
    assert [path for path, _, _ in seen] == [
        ROOT + path for path in ("/nothing/", "/nothing/index.html", "", "/404error.html")
    ]
    assert site.environ["swift.source"] == "SW"


def test_the_container_is_checked_with_its_read_acl():
    acls = []

    def authorize(request):
        acls.append(request.environ.get("swob.ACL"))

    answer = visit("/", authorize=authorize)
    assert acls[0] == "acl" and "swob.ACL" not in answer.site.environ


@pytest.mark.parametrize("path", ["/", "/sub/", "/sub"])
def test_a_store_that_fails_is_told_as_such(path):
    broken = ("index.html", "sub/index.html")
    answer = visit(path, {**INDEX, **LISTINGS}, Site(broken=broken))
    assert answer.status_int == 503
    assert visit("/b.txt", {**INDEX, **LISTINGS}, Site(broken=("b.txt",))).status_int == 503


def test_no_body_is_left_open():
    for path in ("/nothing", "/lonely", "/sub", "/sub/deep/", "/nothing/", "/sub/"):
        for meta in (INDEX, LISTINGS, {**INDEX, **LISTINGS, **ERRORS}):
            answer = visit(path, meta)
            assert answer.site.closed == len(answer.site.asked), (path, meta)


def test_conditions_and_ranges_are_for_the_page_that_is_shown():
    answer = visit("/sub/", INDEX, headers={"Range": "bytes=0-1", "If-None-Match": "x", "If-Range": "e"})
    assert answer.status_int == 206
    environ = answer.site.environ
    assert (environ["HTTP_IF_NONE_MATCH"], environ["HTTP_IF_RANGE"]) == ("x", "e")
    answer = visit("/nothing", {**INDEX, **ERRORS}, headers={"Range": "bytes=0-1", "If-None-Match": "*"})
    assert (answer.status_int, answer.body) == (404, b"my 404") and "HTTP_RANGE" not in answer.site.environ


# -- pages -----------------------------------------------------------------------------------------------------------------


def test_a_listing_is_the_references():
    rows = [
        {"subdir": "sub/deep/"},
        {"name": "sub/a<b.txt", "bytes": 1, "content_type": "text/plain", "last_modified": "2026-11-21T05:04:58.123450"},
    ]  # fmt: skip
    page = pages.listing(pages.Directory("/v1/A/c/sub/", "sub/", ""), rows)
    assert page == (
        '<!DOCTYPE html>\n<html>\n <head>\n  <title>Listing of /v1/A/c/sub/</title>\n  <style type="text/css">\n   h1 {font-size: 1em; font-weight: bold;}\n'
        "   th {text-align: left; padding: 0px 1em 0px 1em;}\n   td {padding: 0px 1em 0px 1em;}\n   a {text-decoration: none;}\n  </style>\n </head>\n <body>\n"
        '  <h1 id="title">Listing of /v1/A/c/sub/</h1>\n  <table id="listing">\n   <tr id="heading">\n    <th class="colname">Name</th>\n    <th class="colsize">Size</th>\n'
        '    <th class="coldate">Date</th>\n   </tr>\n   <tr id="parent" class="item">\n    <td class="colname"><a href="../">../</a></td>\n    <td class="colsize">&nbsp;</td>\n'
        '    <td class="coldate">&nbsp;</td>\n   </tr>\n   <tr class="item subdir">\n    <td class="colname"><a href="./deep/">deep/</a></td>\n    <td class="colsize">&nbsp;</td>\n'
        '    <td class="coldate">&nbsp;</td>\n   </tr>\n   <tr class="item type-text type-plain">\n    <td class="colname"><a href="./a%3Cb%2Etxt">a&lt;b.txt</a></td>\n'
        '    <td class="colsize">1</td>\n    <td class="coldate">2026-11-21 05:04:58</td>\n   </tr>\n  </table>\n </body>\n</html>\n'
    )


def test_headers_of_a_listing():
    answer = visit("/sub/")
    assert answer.header_list == [
        ("Content-Type", "text/html; charset=UTF-8"),
        ("Content-Length", str(len(answer.body))),
        ("X-Backend-Content-Generator", "staticweb"),
    ]
    assert visit("/sub/", method="HEAD").header_list == answer.header_list
    assert visit("/sub/", method="HEAD").body == b""


def test_that_there_is_none_is_the_references():
    page = pages.no_listing(pages.Directory("L/sub/", "sub/", "a.css"), "none.html")
    assert page == (
        '<!DOCTYPE html>\n<html>\n<head>\n<title>Listing of L/sub/</title>\n  <link rel="stylesheet" type="text/css" href="../a.css" />\n</head>\n'
        "<body>  <h1>Web Listing Disabled</h1>   <p>The owner of this web site has disabled web listing.   <p>If you are the owner of this web site, you can enable"
        "   web listing by setting X-Container-Meta-Web-Listings.</p><h1>Index File Not Found</h1> <p>The owner of this web site has set "
        " <b>X-Container-Meta-Web-Index: none.html</b>.  However, this file is not found.</p> </body>\n</html>\n"
    )
    assert "p {font-size: 2}" in pages.no_listing(pages.Directory("", "", ""), "")


@pytest.mark.parametrize(
    "label, path, shown",
    [
        ("", "/", "/v1/AUTH_test/c/"),
        ("", "/sub/deep/", "/v1/AUTH_test/c/sub/deep/"),
        ("My <Site>", "/", "My &lt;Site&gt;/"),
        ("My ü", "/sub/", "My ü/sub/"),
    ],
)
def test_labels(label, path, shown):
    page = visit(path, {**LISTINGS, "Web-Listings-Label": label}).body.decode()
    assert f"<title>Listing of {shown}</title>" in page and f'<h1 id="title">Listing of {shown}</h1>' in page


@pytest.mark.parametrize(
    "css, prefix, href",
    [
        ("a.css", "", "a.css"),
        ("d/a.css", "x/y/", "../../d/a.css"),
        ("/v1/A/c/a.css", "x/", "/v1/A/c/a.css"),
        ("https://e/a.css", "x/", "https://e/a.css"),
        ("https://e/a?b=c&d", "", "https://e/a?b=c&amp;d"),
        ('a"b>.css', "", "a%22b%3E.css"),
        ('/a"b>.css', "", "/a%22b%3E.css"),
        ('https://e/"><script>', "", "https://e/%22%3E%3Cscript%3E"),
        ("javascript:alert(1)", "", "javascript%3Aalert%281%29"),
        ("ü.css", "", "%C3%BC.css"),
    ],
)
def test_style_sheets(css, prefix, href):
    """Of a style sheet elsewhere the reference quotes the question mark, too."""
    page = pages.listing(pages.Directory("l", prefix, css), [])
    assert f'<link rel="stylesheet" type="text/css" href="{href}" />\n' in page and "<style" not in page


@pytest.mark.parametrize(
    "count, shown",
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1Ki"),
        (1536, "2Ki"),
        (2560, "2Ki"),
        (1024**2 - 1, "1Mi"),
        (5 * 1024**3, "5Gi"),
        (1024**9, "1024Yi"),
    ],
)
def test_sizes(count, shown):
    assert pages.readable(count) == shown


@holds_for(st.text(), st.text(), st.text(), st.text(alphabet="ab/<>\"'& ;"))
def test_nothing_that_others_write_becomes_markup(name, label, css, kind):
    rows = [
        {"name": name, "bytes": 1, "content_type": kind, "last_modified": "2026"},
        {"subdir": name + "/"},
    ]
    directory = pages.Directory(label, "", css)
    page = pages.listing(directory, rows)
    tags = page.count("<")
    plain = pages.listing(
        pages.Directory("", "", "x" if css else ""),
        [{**rows[0], "name": "", "content_type": ""}, {"subdir": ""}],
    )
    assert (
        tags == plain.count("<")
        and page.count(">") == plain.count(">")
        and page.count('"') == plain.count('"')
    )
    other = pages.no_listing(directory, name)
    assert other.count("<") == pages.no_listing(
        pages.Directory("", "", "x" if css else ""), "x" if name else ""
    ).count("<")


@holds_for(st.text(min_size=1))
def test_links_stay_in_their_directory(name):
    page = pages.listing(pages.Directory("", "", ""), [{"subdir": name}])
    href = page.split('href="')[1].split('"')[0]
    assert (
        href.startswith("./")
        and "." not in href[2:]
        and ":" not in href
        and "?" not in href
        and "#" not in href
    )


@pytest.mark.parametrize("body", [b"", b"nonsense", b"{}", b"[1", b"x" * (LARGEST_LISTING + 1)])
def test_a_listing_that_is_none(body):
    app = App(headers=[("Content-Type", "application/json")], body=[body])
    answer = visit("/", site=app)
    assert answer.status_int == 200 and b'class="item' not in answer.body


# -- signed URLs -----------------------------------------------------------------------------------------------------------


def signed(prefix, more=""):
    return f"temp_url_sig=0a1b&temp_url_expires=1900000000&temp_url_prefix={prefix}{more}"


@pytest.mark.parametrize(
    "query, path, links",
    [
        (signed("sub/"), "/sub/", ["./deep/", "./index%2Ehtml", "./one%2Etxt"]),
        (signed(""), "/sub/deep/", ["../", "./two%2Etxt"]),
        (signed("sub/"), "/sub/deep/", ["../", "./two%2Etxt"]),
        (
            signed("sub%2F", "&temp_url_ip_range=1.0.0.0/8&inline="),
            "/sub/",
            ["./deep/", "./index%2Ehtml", "./one%2Etxt"],
        ),
    ],
)
def test_links_of_a_signed_listing_are_signed(query, path, links):
    page = visit(path, user=".wsgi.tempurl", QUERY_STRING=query).body.decode()
    prefix = "sub/" if "sub" in query else ""
    more = "&amp;temp_url_ip_range=1.0.0.0/8&amp;inline" if "inline" in query else ""
    tail = f"?temp_url_prefix={prefix}&amp;temp_url_expires=1900000000&amp;temp_url_sig=0a1b{more}"
    assert [part.split('"')[0] for part in page.split('href="')[1:]] == [link + tail for link in links]


def test_links_carry_nothing_that_was_not_signed():
    for query, user in ((signed("sub/"), None), ("temp_url_sig=0a1b&temp_url_expires=5", ".wsgi.tempurl")):
        assert b"temp_url" not in visit("/sub/", user=user, QUERY_STRING=query).body


def test_info():
    capabilities.forget_all()
    filter_factory({})(App())
    assert capabilities.disclosed()["staticweb"] == {}
    capabilities.forget_all()
