"""Signed URLs. Statuses, bodies and headers are those that the reference gave to the same requests, where nothing else is said."""

import urllib.parse

import pytest
from filter_stand_ins import App, Metrics, call, memory_logger
from hypothesis import given as holds_for
from hypothesis import strategies as st
from signed_requests import EXPIRES, infos, query, sign

from swift.core import capabilities, clock
from swift.middleware.info.forms import Info
from swift.middleware.tempurl import TempURL, disposition, filter_factory, parse_expires, within
from swift.telemetry import redaction
from swift.wire.message import Request

INVALID = b"401 Unauthorized: Temp URL invalid\n"
OBJECT = [("Content-Type", "text/plain"), ("X-Object-Meta-Foo", "no"), ("X-Object-Meta-Public-Bar", "yes")]


def build(app=None, **conf):
    app = app or App(headers=OBJECT, body=(b"data",))
    return TempURL(app, conf, memory_logger()[0], Metrics()), app


def ask(filtered, given="", method="GET", path="/v1/AUTH_test/c/o", headers=None, **environ):
    base = {"swift.infocache": infos(), "REMOTE_ADDR": "10.1.2.3", **environ}
    return call(filtered, f"{path}?{given}", method, headers, base)


def assert_refused(answer, app):
    assert (answer.status_int, answer.body) == (401, INVALID)
    assert answer.headers["Www-Authenticate"] == 'Swift realm="unknown"'
    assert app.calls == 0


# -- what is let in --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("key", ["of account", "second", "of container"])
def test_a_good_signature_lets_in_whoever_brings_it(digest, key):
    filtered, app = build()
    answer = ask(filtered, query(digest=digest, key=key), HTTP_X_AUTH_TOKEN="bad")
    assert (answer.status_int, answer.body) == (200, b"data")
    assert answer.headers == {
        "Content-Type": "text/plain",
        "X-Object-Meta-Public-Bar": "yes",
        "Content-Disposition": "attachment; filename=\"o\"; filename*=UTF-8''o",
        "Expires": "Sun, 17 Mar 2030 17:46:40 GMT",
    }
    assert app.arrived["REMOTE_USER"] == ".wsgi.tempurl" and app.arrived["swift.authorize_override"] is True
    assert filtered.metrics.events == [f"digests.{digest}"]
    assert answer.raw_body is app.body


def test_signatures_of_the_reference():
    known = {
        "": "a056c00ae0e390c8c900025e76e0009cd7fc7cfb92a6396b87403e382b07c04d",
        "&temp_url_prefix=pre": "1985074410c93f3ab3fb7f93d8b2ec62c2b4ff42891d50e8febf7bba0710426a",
        "&temp_url_ip_range=1.2.3.0/24": "eeb87588e2a731f340a88ad43b24f08a29ec83d1debb0f5e56421772327c84c1",
    }
    keys = infos(account={"X-Account-Meta-Temp-Url-Key": "mykey"})
    for more, sig in known.items():
        path = "/v1/AUTH_test/c/prefixed" if "prefix" in more else "/v1/AUTH_test/c/o"
        given = f"temp_url_sig={sig}&temp_url_expires={EXPIRES}{more}"
        answer = ask(build()[0], given, path=path, REMOTE_ADDR="1.2.3.4", **{"swift.infocache": keys})
        assert answer.status_int == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize("signed", ["GET", "HEAD", "PUT", "POST", "DELETE", "get"])
def test_a_signature_is_for_one_method(method, signed):
    """For HEAD those of all that show or store the object are good, too."""
    filtered, app = build()
    answer = ask(filtered, query(method=signed), method)
    good = signed == method or method == "HEAD" and signed in ("GET", "PUT", "POST")
    assert answer.status_int == (200 if good else 401)
    assert app.calls == good
    if method == "HEAD" and not good:
        assert answer.body == b""


@pytest.mark.parametrize("method", ["COPY", "UPDATE", "PATCH", "get"])
def test_methods_that_are_not_offered(method):
    filtered, app = build()
    assert_refused(ask(filtered, query(method=method), method), app)
    filtered, app = build(methods="COPY UPDATE PATCH get")
    assert ask(filtered, query(method=method), method).status_int == 200


def test_options_pass_as_they_are():
    filtered, app = build()
    given = query(sig="wrong")
    assert ask(filtered, given, "OPTIONS").status_int == 200
    assert app.arrived["QUERY_STRING"] == given and "REMOTE_USER" not in app.arrived


@pytest.mark.parametrize("given", ["", "a=b", "temp_url_prefix=x", "temp_url=1", "inline&filename=x"])
def test_a_request_without_a_signature_is_none_of_its_business(given):
    filtered, app = build()
    answer = ask(filtered, given)
    assert answer.header_list == OBJECT and app.arrived["QUERY_STRING"] == given
    assert "swift.authorize" not in app.arrived


# -- what is not -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        "temp_url_sig=abc",
        f"temp_url_expires={EXPIRES}",
        "temp_url_sig=&temp_url_expires=",
        query(sig=""),
        query(sig="ab" * 32),
        query(sig="sha256:***"),
        query(sig="\u00e9" * 64),
        query(key="third"),
        query(digest="md5"),
        query(method="PUT"),
        query(path="/v1/AUTH_test/c/p"),
        query(sig=sign(f"GET\n{EXPIRES}\n/v1/AUTH_test/c/o").upper()),
        query() + "0&",
        query(expires=1000000000),
        query(expires=-5),
        query(expires="abc", sig=sign(f"GET\n{EXPIRES}\n/v1/AUTH_test/c/o")),
        query(sig=sign(f"GET\n{EXPIRES}\n/v1/AUTH_test/c/o"), expires=EXPIRES + 1),
        "temp_url_sig=x&" + query(),
        query(ip="10.2.0.0/16"),
        query(ip="10.1.2.3/16"),
        query(ip="everybody"),
        query(ip="10.1.0.0/16").replace("10.1.0.0%2F16", ""),
        query() + "&temp_url_ip_range=10.1.0.0/16",
        query() + "&temp_url_prefix=o",
        query(prefix="x"),
        query(prefix="o").replace("prefix=o", "prefix="),
        "&".join(["temp_url_sig=a"] * 5000),
    ],
)  # fmt: skip
def test_everything_else_is_refused_in_the_same_words(given):
    filtered, app = build()
    assert_refused(ask(filtered, given), app)
    assert filtered.metrics.events == []


@pytest.mark.parametrize(
    "path",
    ["/", "/info", "/v1", "/v1/AUTH_test", "/v1/AUTH_test/c", "/v1/AUTH_test/c/", "/v1/AUTH_test/c//", "/v1//c/o", "/v1.0/AUTH_test/c/o",
     "/v2/AUTH_test/c/o", "/auth/v1.0", "/v1/AUTH_other/c/o", "//v1/AUTH_test/c/o"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_objects_can_be_signed_for(path, method):
    filtered, app = build()
    environ = {
        "swift.infocache": {**infos(), "container/AUTH_other/c": Info(status=404, meta={}, sysmeta={})}
    }
    assert_refused(ask(filtered, query(path=path, method=method), method, path, **environ), app)


def test_without_keys_nothing_is_good():
    filtered, app = build()
    for key in ("", "None"):
        assert_refused(ask(filtered, query(key=key), **{"swift.infocache": infos({}, {})}), app)
    empty = infos({"X-Account-Meta-Temp-Url-Key": ""}, {"X-Container-Meta-Temp-Url-Key": ""})
    assert_refused(ask(filtered, query(key=""), **{"swift.infocache": empty}), app)


def test_keys_are_looked_for_last():
    """Whatever can be told without them costs no request."""
    filtered, app = build()
    for given in (query(expires=5), query(sig="x"), query(ip="1.1.1.1"), query(prefix="zz")):
        assert_refused(ask(filtered, given, **{"swift.infocache": {}}), app)


def test_digests_that_the_operator_does_not_want():
    filtered, app = build(allowed_digests="sha512")
    assert_refused(ask(filtered, query(digest="sha256")), app)
    assert ask(filtered, query(digest="sha512")).status_int == 200
    with pytest.raises(ValueError, match="allowed_digests"):
        build(allowed_digests="md5")


def test_it_ends_with_its_time(monkeypatch):
    filtered, _ = build()
    for now, status in ((EXPIRES - 1, 200), (EXPIRES, 200), (EXPIRES + 1, 401)):
        monkeypatch.setattr(clock, "time", lambda now=now: float(now))
        assert ask(filtered, query()).status_int == status


# -- times, networks, prefixes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("1900000000", EXPIRES),
        (" 1900000000", EXPIRES),
        ("2030-03-17T17:46:40Z", EXPIRES),
        ("2030-3-17T17:46:40Z", EXPIRES),
        ("2030-03-17T17:46:40", None),
        ("2030-03-17 17:46:40Z", None),
        ("2030-03-17T17:46:40+00:00", None),
        ("2030-02-30T00:00:00Z", None),
        ("1e10", None),
        ("1.5", None),
        ("", None),
        (None, None),
        ("9" * 33, None),
        ("\uff11\uff19", None),
    ],
)
def test_forms_of_a_time(text, seconds):
    assert parse_expires(text) == seconds


@holds_for(st.text(max_size=40))
def test_no_time_is_too_odd(text):
    found = parse_expires(text)
    assert found is None or isinstance(found, int)


@pytest.mark.parametrize("expires", [253402300800, 9999999999999, 10**20])
def test_a_time_far_away_is_told_as_the_last_date_there_is(expires):
    """The reference tells years of five digits, which are no HTTP dates, and fails at the largest number."""
    answer = ask(build()[0], query(expires=expires))
    assert answer.headers["Expires"] == "Fri, 31 Dec 9999 23:59:59 GMT"


def test_a_time_of_day_is_signed_as_a_number():
    sig = sign(f"GET\n{EXPIRES}\n/v1/AUTH_test/c/o")
    assert ask(build()[0], query(sig=sig, expires="2030-03-17T17:46:40Z")).status_int == 200


@pytest.mark.parametrize(
    "address, network, inside",
    [
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.0.0.0/255.0.0.0", True),
        ("10.1.2.3", "10.1.2.3/8", False),
        ("10.1.2.3", "11.0.0.0/8", False),
        ("10.1.2.3", "::/0", False),
        ("::1", "::1", True),
        ("::ffff:10.1.2.3", "10.0.0.0/8", True),
        ("::ffff:10.1.2.3", "11.0.0.0/8", False),
        ("fd00::5", "fd00::/8", True),
        ("10.1.2.3", "x", False),
        ("10.1.2.3", "", False),
        ("", "0.0.0.0/0", False),
        (None, "0.0.0.0/0", False),
        ("unix:", "0.0.0.0/0", False),
    ],
)
def test_networks(address, network, inside):
    assert within(address, network) is inside


def test_a_network_is_that_of_the_peer_whatever_it_says_of_itself():
    filtered, app = build()
    assert ask(filtered, query(ip="10.1.0.0/16")).status_int == 200
    assert "temp_url_ip_range=10.1.0.0%2F16" in app.arrived["QUERY_STRING"]
    filtered, app = build()
    assert_refused(
        ask(
            filtered,
            query(ip="9.0.0.0/8"),
            headers={"X-Forwarded-For": "9.1.1.1", "X-Cluster-Client-Ip": "9.1.1.1"},
        ),
        app,
    )


@pytest.mark.parametrize("prefix", ["", "p", "pre/", "pre/a", "pre/\u00fc%41"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_prefix_opens_all_that_begins_with_it(prefix, method):
    filtered, app = build()
    given = query(path="/v1/AUTH_test/c/x", prefix=prefix, method=method)
    for name in (prefix + "more", prefix + "/", prefix + "a/b"):
        path = "/v1/AUTH_test/c/" + urllib.parse.quote(name)
        assert ask(filtered, given, method, path).status_int == (200 if name.strip("/") else 401)
    if prefix:
        answer = ask(filtered, given, method, "/v1/AUTH_test/c/" + urllib.parse.quote("q" + prefix))
        assert answer.status_int == 401
        assert ask(filtered, given, method, "/v1/AUTH_test/d/" + urllib.parse.quote(prefix)).status_int == 401


# -- what it opens, and no more --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key, opened",
    [
        ("of account", {"/v1/AUTH_test/c/o", "/v1/AUTH_test/c/p", "/v1/AUTH_test/d/o", "/v1/AUTH_test/c", "/v1/AUTH_test"}),
        ("of container", {"/v1/AUTH_test/c/o", "/v1/AUTH_test/c/p", "/v1/AUTH_test/c"}),
    ],
)  # fmt: skip
def test_the_authorization_holds_for_what_is_asked_on_its_behalf(key, opened):
    """Links, segments and copies are asked for with the same callback."""
    filtered, app = build()
    assert ask(filtered, query(key=key)).status_int == 200
    places = [
        f"/v1/{account}{rest}"
        for account in ("AUTH_test", "AUTH_test2", "AUTH_other", ".system")
        for rest in ("", "/c", "/d", "/c/o", "/c/p", "/d/o", "/c%00/o", "/cc/o")
    ] + ["/", "/v1", "/v1//c/o", "/info", "//AUTH_test/c"]
    authorize = app.arrived["swift.authorize"]
    verdicts = {place: authorize(Request.blank(place)) for place in places}
    allowed = {place for place, refusal in verdicts.items() if refusal is None}
    of_account = {place for place in places if place.startswith("/v1/AUTH_test/") or place == "/v1/AUTH_test"}
    assert allowed == (of_account if key == "of account" else opened)
    assert opened <= allowed
    assert {refusal.status_int for refusal in verdicts.values() if refusal is not None} == {401}


@pytest.mark.parametrize("name", ["X-Object-Manifest", "x-symlink-target", "X-Copy-From"])
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_what_would_lead_elsewhere_is_refused(name, method):
    filtered, app = build()
    answer = ask(filtered, query(method=method), method, headers={name: "d/o"})
    text = f"The header '{name.title()}' is not allowed in this tempurl"
    assert (answer.status_int, answer.body) == (400, text.encode()) and app.calls == 0
    assert ask(filtered, query(method=method, key="wrong"), method, headers={name: "d/o"}).status_int == 401
    assert ask(filtered, query(), "GET", headers={name: "d/o"}).status_int == 200


def test_only_what_was_signed_is_left_of_the_query():
    filtered, app = build()
    more = "&multipart-manifest=put&symlink=get&version-id=1&X-Amz-Signature=a&format=json&filename=f%20g&inline=1"
    ask(filtered, query() + more + "&temp_url_sig=second")
    assert urllib.parse.parse_qsl(app.arrived["QUERY_STRING"], keep_blank_values=True) == [
        ("temp_url_sig", sign(f"GET\n{EXPIRES}\n/v1/AUTH_test/c/o")),
        ("temp_url_expires", str(EXPIRES)),
        ("filename", "f g"),
        ("inline", ""),
    ]


def test_headers_that_may_not_come_in():
    filtered, app = build()
    given = {"X-Timestamp": "1", "X-Open-Expired": "true", "X-Other": "x", "X-Object-Meta-A": "b"}
    ask(filtered, query(method="PUT"), "PUT", headers=given)
    assert {"HTTP_X_OTHER", "HTTP_X_OBJECT_META_A"} <= app.arrived.keys()
    assert not {"HTTP_X_TIMESTAMP", "HTTP_X_OPEN_EXPIRED"} & app.arrived.keys()
    filtered, app = build(
        incoming_remove_headers="x-object-* X-OTHER", incoming_allow_headers="x-object-meta-ok*"
    )
    given["X-Object-Meta-Okay"] = "yes"
    ask(filtered, query(method="PUT"), "PUT", headers=given)
    assert {"HTTP_X_TIMESTAMP", "HTTP_X_OBJECT_META_OKAY"} <= app.arrived.keys()
    assert not {"HTTP_X_OTHER", "HTTP_X_OBJECT_META_A"} & app.arrived.keys()


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "304 Not Modified", "503 Service Unavailable"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_headers_that_may_not_go_out(status, method):
    app = App(status, [*OBJECT, ("x-OBJECT-meta-lower", "no")])
    answer = ask(build(app)[0], query(method=method), method)
    shown = {name for name in answer.headers if name.lower().startswith("x-")}
    assert shown == {"X-Object-Meta-Public-Bar"}
    assert (
        ("Expires" in answer.headers)
        == ("Content-Disposition" in answer.headers)
        == (status[0] == "2" and method == "GET")
    )
    answer = ask(
        build(app, outgoing_remove_headers="X-Object-Meta-Public-*", outgoing_allow_headers="")[0], query()
    )
    assert "X-Object-Meta-Foo" in answer.headers and "X-Object-Meta-Public-Bar" not in answer.headers


# -- what a browser does with it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, more, kept, expected",
    [
        ("o", "", None, "attachment; filename=\"o\"; filename*=UTF-8''o"),
        ("a/b c", "", None, "attachment; filename=\"b c\"; filename*=UTF-8''b%20c"),
        ("trail//", "", None, "attachment; filename=\"trail\"; filename*=UTF-8''trail"),
        ('\u00fc\n"x', "", None, "attachment; filename=\"%C3%BC%0A%22x\"; filename*=UTF-8''%C3%BC%0A%22x"),
        ("o", "", "inline; filename=kept", "inline; filename=kept"),
        ("o", "&filename=f", "inline; filename=kept", "attachment; filename=\"f\"; filename*=UTF-8''f"),
        ("o", "&filename=", None, "attachment; filename=\"o\"; filename*=UTF-8''o"),
        ("o", "&filename=a/b%0D%0Ac;%25d", None, "attachment; filename=\"a/b%0D%0Ac%3B%25d\"; filename*=UTF-8''a/b%0D%0Ac%3B%25d"),
        ("o", "&filename=one&filename=two", None, "attachment; filename=\"one\"; filename*=UTF-8''one"),
        ("o", "&inline", "attachment", "inline"),
        ("o", "&inline&filename=f", None, "inline; filename=\"f\"; filename*=UTF-8''f"),
        ("o", "&filename=%FF", None, "attachment; filename=\"%EF%BF%BD\"; filename*=UTF-8''%EF%BF%BD"),
    ],
)  # fmt: skip
def test_disposition(name, more, kept, expected):
    app = App(headers=[("Content-Type", "t"), *([("Content-disposition", kept)] if kept else [])])
    path = "/v1/AUTH_test/c/" + name
    answer = ask(build(app)[0], query(path=path) + more, path=urllib.parse.quote(path))
    values = [value for header, value in answer.header_list if header.lower() == "content-disposition"]
    assert values == [expected]


@holds_for(st.text(max_size=50))
def test_no_filename_breaks_the_header(filename):
    raw = filename.encode("utf-8", "surrogatepass").decode("latin-1")
    value = disposition("attachment", raw)
    assert value.isascii() and value.isprintable() and value.count('"') == 2


# -- the container's own page ----------------------------------------------------------------------------------------------


def of_the_root(headers, status="200 OK", path="/v1/AUTH_test/c", method="GET"):
    app = App(status, headers, [b"listing"])
    return ask(build(app)[0], query(path="/v1/AUTH_test/c/", prefix="", method=method), method, path)


@pytest.mark.parametrize("path", ["/v1/AUTH_test/c", "/v1/AUTH_test/c/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_container_is_shown_by_staticweb_or_not_at_all(path, method):
    answer = of_the_root([("X-Backend-Content-Generator", "staticweb")], path=path, method=method)
    assert answer.status_int == 200 and answer.headers["Content-Disposition"] == "inline"
    answer = of_the_root([("Content-Type", "application/json")], path=path, method=method)
    assert (answer.status_int, answer.body) == (401, INVALID if method == "GET" else b"")
    assert of_the_root([], status="404 Not Found", path=path, method=method).status_int == 404


def test_a_listing_that_is_not_shown_is_closed_even_if_it_begins_late():
    closed = []

    class Late:
        def __iter__(self):
            self.start("200 OK", [("Content-Type", "text/plain")])
            yield b"secret listing"

        def close(self):
            closed.append(True)

    def app(environ, start_response):
        body = Late()
        body.start = start_response
        return body

    answer = ask(build(app)[0], query(path="/v1/AUTH_test/c/", prefix=""), path="/v1/AUTH_test/c")
    assert (answer.status_int, answer.body, closed) == (401, INVALID, [True])


# -- beside it -------------------------------------------------------------------------------------------------------------


def test_info_and_what_logs_must_not_show():
    capabilities.forget_all()
    filter_factory({})(App())
    assert capabilities.disclosed()["tempurl"] == {
        "methods": ["GET", "HEAD", "PUT", "POST", "DELETE"],
        "incoming_remove_headers": ["x-timestamp", "x-open-expired"],
        "incoming_allow_headers": [],
        "outgoing_remove_headers": ["x-object-meta-*"],
        "outgoing_allow_headers": ["x-object-meta-public-*"],
        "allowed_digests": ["sha1", "sha256", "sha512"],
        "deprecated_digests": ["sha1"],
    }
    assert "temp_url_sig" in redaction.sensitive_parameters()
    capabilities.forget_all()
