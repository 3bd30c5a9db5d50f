"""Buckets as web sites: the document, where visitors are sent, what they see (spec s3.md 22); storage classes, restoring, payment (29)."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.core.errors import ConfigError
from swift.s3 import bucket_documents, metadata
from swift.s3.answers import Answer
from swift.s3.errors import S3Error
from swift.s3.filter import filter_factory
from swift.s3.options import Options, SiteDomain, parse_options
from swift.s3.website import document, routing
from swift.s3.website.routing import Redirect, Site, Visited
from swift.s3.website.visit import Visit

FULL = (
    b"<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument><ErrorDocument><Key>error.html</Key></ErrorDocument>"
    b"<RoutingRules><RoutingRule><Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition><Redirect><ReplaceKeyPrefixWith>new/"
    b"</ReplaceKeyPrefixWith></Redirect></RoutingRule><RoutingRule><Condition><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals>"
    b"<KeyPrefixEquals>moved/</KeyPrefixEquals></Condition><Redirect><Protocol>https</Protocol><HostName>elsewhere</HostName>"
    b"<ReplaceKeyWith>a b</ReplaceKeyWith><HttpRedirectCode>307</HttpRedirectCode></Redirect></RoutingRule></RoutingRules></WebsiteConfiguration>"
)


def wrapped(inner):
    return f"<WebsiteConfiguration>{inner}</WebsiteConfiguration>".encode()


INDEX = "<IndexDocument><Suffix>i</Suffix></IndexDocument>"


def ruled(rule):
    return wrapped(f"{INDEX}<RoutingRules><RoutingRule>{rule}</RoutingRule></RoutingRules>")


# -- documents -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        FULL,
        wrapped(INDEX),
        wrapped(
            "<RedirectAllRequestsTo><HostName>www.example.com:8080</HostName><Protocol>https</Protocol></RedirectAllRequestsTo>"
        ),
        ruled("<Redirect><HostName>x</HostName></Redirect>"),
    ],
)
def test_what_was_sent_is_shown(data):
    found = document.parse(data)
    again = document.shown(found)
    assert document.parse(again) == found == json.loads(json.dumps(found))


@pytest.mark.parametrize(
    "data, code",
    [
        (wrapped(""), "InvalidArgument"),
        (wrapped("<IndexDocument><Suffix/></IndexDocument>"), "InvalidArgument"),
        (wrapped("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>"), "InvalidArgument"),
        (wrapped("<IndexDocument/>"), "MalformedXML"),
        (wrapped(f"{INDEX}<ErrorDocument><Key/></ErrorDocument>"), "InvalidArgument"),
        (
            wrapped(f"{INDEX}<RedirectAllRequestsTo><HostName>x</HostName></RedirectAllRequestsTo>"),
            "InvalidArgument",
        ),
        (wrapped("<RedirectAllRequestsTo><HostName>x/y</HostName></RedirectAllRequestsTo>"), "MalformedXML"),
        (
            wrapped("<RedirectAllRequestsTo><HostName>x&#10;y</HostName></RedirectAllRequestsTo>"),
            "MalformedXML",
        ),
        (
            wrapped(
                "<RedirectAllRequestsTo><HostName>x</HostName><Protocol>javascript</Protocol></RedirectAllRequestsTo>"
            ),
            "MalformedXML",
        ),
        (ruled("<Redirect/>"), "MalformedXML"),
        (ruled("<Condition/><Redirect><HostName>x</HostName></Redirect>"), "MalformedXML"),
        (ruled("<Redirect><HttpRedirectCode>200</HttpRedirectCode></Redirect>"), "InvalidRequest"),
        (ruled("<Redirect><HttpRedirectCode>300</HttpRedirectCode></Redirect>"), "InvalidRequest"),
        (
            ruled(
                "<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>"
            ),
            "InvalidRequest",
        ),
        (
            ruled(
                "<Condition><HttpErrorCodeReturnedEquals>302</HttpErrorCodeReturnedEquals></Condition><Redirect><HostName>x</HostName></Redirect>"
            ),
            "InvalidRequest",
        ),
        (
            wrapped(
                f"{INDEX}<RoutingRules>{'<RoutingRule><Redirect><HostName>x</HostName></Redirect></RoutingRule>' * 51}</RoutingRules>"
            ),
            "InvalidRequest",
        ),
        (b"<nonsense/>", "MalformedXML"),
    ],
)
def test_what_is_no_site(data, code):
    with pytest.raises(S3Error) as raised:
        document.parse(data)
    assert raised.value.code == code


# -- hosts and routes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host, site",
    [
        ("photos.sites.example.com", Site("photos", "AUTH_a")),
        ("Photos.Sites.example.com:8080", Site("photos", "AUTH_a")),
        ("a.b.sites.example.com", Site("a.b", "AUTH_a")),
        ("sites.example.com", Site("sites.example.com", "AUTH_a")),
        ("www.firm.com", Site("www.firm.com", None)),
        ("evilsites.example.com", None),
        ("", None),
    ],
)
def test_hosts(host, site):
    options = parse_options({"website_domains": "sites.example.com=AUTH_a, .www.firm.com"})
    assert options.website_domains[1] == SiteDomain("www.firm.com", None)
    assert routing.site_of({"HTTP_HOST": host}, options) == site
    assert routing.site_of({"HTTP_HOST": host}, Options()) is None


def test_a_domain_that_is_none():
    with pytest.raises(ConfigError):
        parse_options({"website_domains": "a b"})


@pytest.mark.parametrize(
    "key, status, redirect",
    [
        ("old/x y", None, Redirect(301, "http://h:1/new/x%20y")),
        ("moved/x", 404, Redirect(307, "https://elsewhere/a%20b")),
        ("moved/x", 403, None),
        ("moved/x", None, None),
        ("other", 404, None),
    ],
)
def test_rules(key, status, redirect):
    assert routing.by_rules(document.parse(FULL), Visited("http", "h:1", key), status) == redirect


@given(st.text(max_size=30), st.binary(max_size=30).map(lambda data: data.decode("latin-1")))
def test_a_location_is_one_line_of_ascii(key, query):
    for found in (routing.own_path(key), routing.as_location(query)):
        assert found.isascii() and found.isprintable() and " " not in found
    assert not routing.own_path(key).startswith("//")


# -- visits ----------------------------------------------------------------------------------------------------------------


class Bucket:
    """A bucket's objects and its document, in place of requests about it: an object is its content, a redirect, or an error."""

    def __init__(self, monkeypatch, website, **objects):
        self.objects = objects
        self.read_keys = []
        self.key = self.bucket = None
        self.environ = {}
        self.status = 204
        monkeypatch.setattr(bucket_documents, "load", lambda _request, _name: website)

    def container_info(self):
        return {"status": self.status}

    def read(self, method, key, with_conditions):
        self.read_keys.append((method, key, with_conditions))
        found = self.objects.get(key, "NoSuchKey")
        if isinstance(found, str):
            raise S3Error(found, Key=key) if found == "NoSuchKey" else S3Error(found)
        if isinstance(found, list):
            return Answer(200, [("x-amz-website-redirect-location", found[0])], [b""])
        return Answer(200, [("Content-Type", "text/plain")], [found])

    def visit(self, path, method="GET", query=""):
        """(status, headers, body)."""
        self.key = path[1:] or None
        environ = {
            "REQUEST_METHOD": method,
            "HTTP_HOST": "b.sites",
            "wsgi.url_scheme": "http",
            "QUERY_STRING": query,
        }
        answer = Visit(environ, self, self.read).answer()
        return answer.status, dict(answer.headers), b"".join(answer.body)


def test_pages_and_directories(monkeypatch):
    bucket = Bucket(
        monkeypatch,
        document.parse(FULL),
        **{"index.html": b"home", "dir/index.html": b"dir", "page": b"page", "error.html": b"oh"},
    )
    assert bucket.visit("/")[::2] == (200, b"home")
    assert bucket.visit("/dir/")[::2] == (200, b"dir")
    assert bucket.visit("/page")[::2] == (200, b"page")
    status, headers, _ = bucket.visit("/dir")
    assert (status, headers["Location"]) == (302, "/dir/")
    status, headers, body = bucket.visit("/nothing")
    assert (status, body, headers["x-amz-error-code"]) == (404, b"oh", "NoSuchKey")
    assert bucket.read_keys[-1] == ("GET", "error.html", False)
    assert bucket.visit("/old/x")[1]["Location"] == "http://b.sites/new/x"
    assert bucket.visit("/moved/x")[1]["Location"] == "https://elsewhere/a%20b"


def test_what_is_not_for_everybody(monkeypatch):
    bucket = Bucket(
        monkeypatch, document.parse(FULL), secret="AccessDenied", **{"error.html": "AccessDenied"}
    )
    status, headers, body = bucket.visit("/secret")
    assert (status, headers["Content-Type"]) == (403, "text/html; charset=utf-8")
    assert b"<li>Code: AccessDenied</li>" in body
    assert bucket.visit("/secret", "HEAD")[::2] == (403, b"")


def test_a_page_of_an_error_holds_nothing_but_text(monkeypatch):
    _, _, body = Bucket(monkeypatch, document.parse(wrapped(INDEX))).visit("/<script>")
    assert b"<script>" not in body and b"&lt;script&gt;" in body


@pytest.mark.parametrize("target", ["/other page", "https://x/y?z#\u00e9"])
def test_objects_that_lead_elsewhere(monkeypatch, target):
    bucket = Bucket(monkeypatch, document.parse(wrapped(INDEX)), there=[target])
    status, headers, _ = bucket.visit("/there")
    assert (status, headers["Location"]) == (301, target.replace(" ", "%20").replace("\u00e9", "%E9"))


def test_sites_that_send_everybody_elsewhere(monkeypatch):
    site = document.parse(wrapped("<RedirectAllRequestsTo><HostName>new</HostName></RedirectAllRequestsTo>"))
    assert Bucket(monkeypatch, site).visit("/a b", query="c=d")[1]["Location"] == "http://new/a%20b?c=d"


def test_what_is_no_site_and_no_visit(monkeypatch):
    bucket = Bucket(monkeypatch, None)
    assert b"NoSuchWebsiteConfiguration" in bucket.visit("/")[2]
    status, headers, body = bucket.visit("/", "POST")
    assert (status, headers["Allow"], b"MethodNotAllowed" in body) == (405, "GET, HEAD", True)
    bucket.status = 404
    assert bucket.visit("/")[0] == 404
    bucket.status = 503
    with pytest.raises(S3Error):
        bucket.visit("/")


# -- what is kept with objects ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, is_good",
    [
        ("/a", True),
        ("https://x", True),
        ("ftp://x", False),
        ("x", False),
        ("/" * 2049, False),
        ("/\n", False),
    ],
)
def test_redirects_of_objects(value, is_good):
    environ = {"HTTP_X_AMZ_WEBSITE_REDIRECT_LOCATION": value}
    if is_good:
        metadata.check_headers(environ)
        assert metadata.kept_sysmeta(environ)[metadata.REDIRECT_KEY] == value
    else:
        with pytest.raises(S3Error) as raised:
            metadata.check_headers(environ)
        assert raised.value.code == "InvalidArgument"
    stored = [
        ("X-Object-Sysmeta-S3api-Website-Redirect", value),
        ("X-Object-Sysmeta-S3api-Storage-Class", ""),
    ]
    assert metadata.shown_headers(stored) == [("x-amz-website-redirect-location", value)]


def test_storage_classes():
    options = parse_options({"storage_classes": "STANDARD_IA, GLACIER_IR"})
    for name in ("STANDARD", "STANDARD_IA", "GLACIER_IR"):
        environ = {"HTTP_X_AMZ_STORAGE_CLASS": name}
        metadata.check_headers(environ, options.storage_classes)
        assert metadata.kept_sysmeta(environ)[metadata.STORAGE_CLASS_KEY] == (
            "" if name == "STANDARD" else name
        )
    with pytest.raises(S3Error) as raised:
        metadata.check_headers({"HTTP_X_AMZ_STORAGE_CLASS": "DEEP_ARCHIVE"}, options.storage_classes)
    assert raised.value.code == "InvalidStorageClass"
    with pytest.raises(ConfigError):
        parse_options({"storage_classes": "cold storage"})


def test_the_native_api_of_other_hosts_is_not_looked_at():
    seen = []

    def app(environ, start_response):
        seen.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b""]

    filtered = filter_factory({"website_domains": "sites"})(app)
    for host in ("example.com", ""):
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/v1/a/c/o",
            "QUERY_STRING": "",
            "HTTP_HOST": host,
            "wsgi.input": io.BytesIO(),
        }
        filtered(environ, lambda *_: None)
    assert seen == ["/v1/a/c/o"] * 2
