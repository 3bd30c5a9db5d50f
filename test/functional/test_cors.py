"""Pages of other origins (CORS), and /info."""

import json

import pytest

ORIGIN = "https://page.example"
ALLOW = "X-Container-Meta-Access-Control-Allow-Origin"


def preflight(anybody, path, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return anybody.raw("OPTIONS", f"/v1/AUTH_test{path}", headers=names)


def test_options_without_an_origin(anybody, user, obj, container):
    for path in ("", container, obj):
        answer = preflight(anybody, path)
        assert answer.status == 200
        assert {"GET", "HEAD", "OPTIONS", "POST", "PUT"} <= set(answer.headers["allow"].split(", "))


@pytest.mark.parametrize(
    ("allowed", "status"),
    [(None, 401), (ORIGIN, 200), ("*", 200), ("https://a.b " + ORIGIN, 200), ("https://a.b", 401)],
)
def test_preflight(anybody, user, obj, container, allowed, status):
    if allowed:
        user("POST", container, headers={ALLOW: allowed, "X-Container-Meta-Access-Control-Max-Age": "60"})
    request = {
        "Origin": ORIGIN,
        "Access_Control_Request_Method": "PUT",
        "Access_Control_Request_Headers": "x-a, x-b",
    }
    answer = preflight(anybody, obj, **request)
    assert answer.status == status
    if status == 200:
        headers = answer.headers
        assert headers["access-control-allow-origin"] == ("*" if allowed == "*" else ORIGIN)
        assert headers["access-control-max-age"] == "60"
        assert "PUT" in headers["access-control-allow-methods"]
        assert set(headers["access-control-allow-headers"].split(", ")) == {"x-a", "x-b"}
        request["Access_Control_Request_Method"] = "BREW"
        assert preflight(anybody, obj, **request).status == 401
    else:
        assert "access-control-allow-origin" not in answer.headers


def test_actual_requests(anybody, user, obj, container):
    user(
        "POST", container, headers={ALLOW: ORIGIN, "X-Container-Meta-Access-Control-Expose-Headers": "X-Mine"}
    )
    user("POST", obj, X_Object_Meta_Color="red")
    for answer in (user("GET", obj, Origin=ORIGIN), user("GET", f"{obj}-missing", Origin=ORIGIN)):
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "origin" in answer.headers["vary"].lower()
        exposed = {
            name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")
        }
        assert {"etag", "x-timestamp", "x-trans-id", "x-mine"} <= exposed
    assert (
        "x-object-meta-color"
        in user("GET", obj, Origin=ORIGIN).headers["access-control-expose-headers"].lower()
    )
    assert "access-control-allow-origin" not in user("GET", obj, Origin="https://other").headers
    assert "access-control-allow-origin" not in user("GET", obj).headers


def test_info(anybody):
    answer = anybody.raw("GET", "/info")
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    found = json.loads(answer.body)
    policies = {policy["name"]: policy for policy in found["swift"]["policies"]}
    assert policies["gold"]["default"] is True
    assert "silver" in policies
    assert found["swift"]["max_file_size"] == 5368709122
    assert found["swift"]["container_listing_limit"] == 10000
    assert "tempauth" in found
    assert "valid_api_versions" not in found["swift"]
    assert anybody.raw("HEAD", "/info").status == 200
    assert anybody.raw("OPTIONS", "/info").headers["allow"] == "HEAD, GET, OPTIONS"
    assert anybody.raw("PUT", "/info", b"x").status == 405
    assert anybody.raw("GET", "/info?swiftinfo_sig=0&swiftinfo_expires=1").status == 403
    assert (
        anybody.raw("GET", "/info", headers={"Origin": ORIGIN}).headers["access-control-allow-origin"]
        == ORIGIN
    )


def test_healthcheck(anybody):
    answer = anybody.raw("GET", "/healthcheck")
    assert (answer.status, answer.body) == (200, b"OK")
