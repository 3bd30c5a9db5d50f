"""The console's filter: what it serves to whom, and with which headers."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from swift.console import pages
from swift.console.filter import Console, filter_factory


class Told:
    def __init__(self, value: Any) -> None:
        self.value = value
        self.asked = 0

    def told(self) -> Any:
        self.asked += 1
        return self.value


def backend(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"from behind"]


@pytest.fixture
def views():
    return Told({"rings": []}), Told({"hosts": []})


@pytest.fixture
def console(views):
    return Console(backend, {"metrics_path": "/metrics"}, *views)


def ask(app, path="/console/", method="GET", **environ):
    answered = []
    body = app(
        {"PATH_INFO": path, "REQUEST_METHOD": method, **environ},
        lambda status, headers: answered.append((status, dict(headers))),
    )
    (status, headers), data = answered[0], b"".join(body)
    return int(status[:3]), headers, data


def test_the_page_and_what_it_loads(console):
    status, headers, body = ask(console)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert body == (pages.STATIC / "index.html").read_bytes()
    for path in pages.STATIC.iterdir():
        status, headers, body = ask(console, f"/console/{path.name}")
        assert (status, body) == (200, path.read_bytes()), path.name
        assert headers["Content-Type"] == pages.TYPES[path.suffix]


def test_all_of_it_is_small():
    assert sum(path.stat().st_size for path in pages.STATIC.iterdir()) < 200_000


def test_the_bare_name_leads_to_the_page(console):
    status, headers, _ = ask(console, "/console")
    assert (status, headers["Location"]) == (301, "/console/")


@pytest.mark.parametrize(
    "path", ["/", "/v1/AUTH_test", "/consolea", "/consol", "/v1/console/", "/Console/", "//console/", "/info"]
)
def test_all_else_goes_on(console, path):
    assert ask(console, path)[2] == b"from behind"
    assert ask(console, path, "PUT")[2] == b"from behind"


@pytest.mark.parametrize(
    "path",
    [
        "../filter.py", "..", "../", "static/app.js", "./app.js", "app.js/", "app.js/..", "/app.js", "//etc/passwd", "..\\filter.py", "app.js\0",
        "%2e%2e/filter.py", ".", "operator/", "operator/../operator/nodes", "operator/nodes/", "operator/nodes/127.0.0.1", "recon/version", "é",
    ],
)  # fmt: skip
def test_no_name_leads_anywhere_else(console, views, path):
    status, headers, body = ask(console, f"/console/{path}", reseller_request=True)
    assert (status, body) == (404, b"The console has nothing of that name.\n")
    assert headers["Content-Type"].startswith("text/plain")
    assert not any(view.asked for view in views)


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "OPTIONS", "COPY", "TRACE", "get", ""])
@pytest.mark.parametrize("path", ["/console/", "/console/app.js", "/console/operator/nodes", "/console/none"])
def test_it_is_read_only(console, views, method, path):
    status, headers, _ = ask(console, path, method, reseller_request=True)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert not any(view.asked for view in views)


@pytest.mark.parametrize("path", ["/console", "/console/", "/console/app.js", "/console/none", "/console/operator"])  # fmt: skip
def test_head_has_the_same_headers_and_no_body(console, path):
    got, told = ask(console, path), ask(console, path, "HEAD")
    assert told == (got[0], got[1], b"")


@pytest.mark.parametrize(
    "path", ["/console", "/console/", "/console/style.css", "/console/settings.json", "/console/none", "/console/operator/nodes"]
)  # fmt: skip
def test_what_goes_with_every_answer(console, path):
    headers = ask(console, path)[1]
    policy = dict(part.partition(" ")[::2] for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers


def test_no_script_and_no_style_stands_in_the_page():
    for path in pages.STATIC.iterdir():
        text = path.read_text()
        if path.suffix == ".html":
            assert "<style" not in text and "style=" not in text and "onclick" not in text
            assert text.count("<script") == text.count('<script type="module" src="')
        for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc", "localStorage", "sessionStorage", "document.cookie"):  # fmt: skip
            assert sink not in text, (path.name, sink)


def test_a_browser_asks_anew_and_hears_that_it_has_it(console):
    _, headers, body = ask(console, "/console/app.js")
    assert headers["Cache-Control"] == "no-cache"
    tag = headers["Etag"]
    for known in (tag, f'W/{tag}, "x"', f'"x", {tag}', "*"):
        status, told, nothing = ask(console, "/console/app.js", HTTP_IF_NONE_MATCH=known)
        assert (status, nothing) == (304, b"")
        assert told["Etag"] == tag and "Content-Length" not in told and "Content-Type" not in told
        assert told["X-Content-Type-Options"] == "nosniff"
    for other in ("", '"x"', tag.strip('"'), '"', "," * 10_000):
        assert ask(console, "/console/app.js", HTTP_IF_NONE_MATCH=other)[2] == body


@pytest.mark.parametrize("given", ["bytes=0-3", "bytes=-1", "bytes=9-1", "lines=1", "bytes=0-0,2-3", "bytes=999999999999-", "\xff"])  # fmt: skip
def test_ranges_are_not_looked_at(console, given):
    status, headers, body = ask(console, "/console/app.js", HTTP_RANGE=given)
    assert (status, len(body)) == (200, int(headers["Content-Length"]))


# -- who sees the cluster


def test_operators_see_what_recon_tells(console, views):
    for name, view in zip(("rings", "nodes"), views, strict=True):
        status, headers, body = ask(console, f"/console/operator/{name}", reseller_request=True)
        assert (status, json.loads(body), headers["Cache-Control"]) == (200, view.value, "no-store")
    assert json.loads(ask(console, "/console/operator", reseller_request=True)[2]) == {"operator": True}


@pytest.mark.parametrize("environ", [{}, {"REMOTE_USER": ""}, {"HTTP_RESELLER_REQUEST": "True"}, {"HTTP_X_AUTH_TOKEN": "AUTH_tk1"}, {"QUERY_STRING": "reseller_request=1"}])  # fmt: skip
def test_strangers_see_nothing_and_nobody_is_asked(console, views, environ):
    for name in ("rings", "nodes"):
        status, headers, body = ask(console, f"/console/operator/{name}", **environ)
        assert (status, body) == (401, b"Sign in first.\n")
        assert "Www-Authenticate" in headers
    assert json.loads(ask(console, "/console/operator", **environ)[2]) == {"operator": False}
    assert not any(view.asked for view in views)


def test_users_who_are_no_administrators_see_nothing(console, views):
    environ = {"REMOTE_USER": "test,test:tester,AUTH_test", "swift_owner": True}
    assert ask(console, "/console/operator/nodes", **environ)[0] == 403
    assert not any(view.asked for view in views)


def test_the_view_can_be_switched_off(views):
    console = Console(backend, {"operators_view": "no"}, *views)
    assert ask(console, "/console/operator/nodes", reseller_request=True)[0] == 404
    assert json.loads(ask(console, "/console/operator", reseller_request=True)[2]) == {"operator": False}
    assert not any(view.asked for view in views)


# -- configuration


def test_what_pages_are_told(views):
    conf = {
        "console_path": "panel",
        "keystone_url": "https://keys.example:5000/v3/",
        "segment_size": "1048576",
        "tempauth_path": "/auth/v1.0",
    }
    console = Console(backend, conf, *views)
    told = json.loads(ask(console, "/panel/settings.json")[2])
    assert told == {"tempauth": "/auth/v1.0", "keystone": "https://keys.example:5000/v3", "segment_size": 1048576, "metrics": ""}  # fmt: skip
    policy = ask(console, "/panel/")[1]["Content-Security-Policy"]
    assert "connect-src 'self' https://keys.example:5000;" in policy
    assert ask(console, "/console/")[2] == b"from behind"


@pytest.mark.parametrize("path", ["", "/", "a/b", "/v1/", "auth", "info", "healthcheck", "é", "a\nb"])
def test_paths_that_cannot_be_meant(views, path):
    with pytest.raises(ValueError, match="console_path"):
        Console(backend, {"console_path": path}, *views)


@pytest.mark.parametrize("url", ["keystone", "ftp://a/", "javascript:alert(1)", "https://", "https://a b", "https://a;script-src *", "https://u:p@host/v3", "https://a\r\nX: y", "https://a,b"])  # fmt: skip
def test_addresses_that_would_open_the_policy(views, url):
    with pytest.raises(ValueError, match="URL"):
        Console(backend, {"keystone_url": url}, *views)


def test_the_pipeline_makes_it():
    app = filter_factory({"swift_dir": "/nowhere"}, operators_view="no")(backend)
    assert ask(app, "/console/")[0] == 200


def test_it_says_nothing_of_those_who_may_not(console, caplog):
    with caplog.at_level(logging.DEBUG):
        ask(console, "/console/operator/nodes")
    assert not caplog.records
