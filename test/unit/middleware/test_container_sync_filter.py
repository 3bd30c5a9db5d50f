"""The container_sync filter: which requests are signed as they should be, what they may do then, and what it tells of realms."""

import os

import pytest
from object_stand_in import ask

from swift.container.sync_realms import signature
from swift.core import capabilities
from swift.middleware import container_sync
from swift.middleware.container_sync import ContainerSyncFilter
from swift.wire.message import Request, Response
from test.databases import load

REALMS = "[DEFAULT]\nmtime_check_interval = 0\n[Realm1]\nkey = rk1\nkey2 = rk2\ncluster_One = http://one/v1/\n[other]\nkey = ok\n"


@pytest.fixture
def info(monkeypatch):
    """What is known of the container."""
    known = {"sync_key": "uk", "sysmeta": {}}
    monkeypatch.setattr(container_sync, "get_container_info", lambda *names: known)
    return known


@pytest.fixture
def make(tmp_path, info):
    (tmp_path / "container-sync-realms.conf").write_text(REALMS)

    def filter_with(**conf):
        seen = []

        def app(environ, start_response):
            seen.append(environ)
            return Response(body=b"in")(environ, start_response)

        made = ContainerSyncFilter(app, {"swift_dir": str(tmp_path), **conf})
        made.seen = seen
        return made

    return filter_with


def signed(method="PUT", path="/v1/AUTH_q/c/o%20x", timestamp="1387408800.12345", key="rk1", realm="realm1"):
    given = signature(method, path, timestamp, "nonce", key, "uk")
    return {"X-Container-Sync-Auth": f"{realm} nonce {given}", "X-Backend-Inbound-X-Timestamp": timestamp}


def test_the_signature_is_the_one_that_others_make():
    assert signature("PUT", "/v1/AUTH_q/c/o%20x", "1387408800.12345", "nonce", "rk1", "uk") == (
        "b921c5975ae04087d9b2ce1eefbc82fb79ee112b"
    )
    for case in load("misc.json")["sync"]["signature"]:
        assert case["hmac_sha1"] == signature(
            case["method"],
            case["path"],
            case["x_timestamp"],
            case["nonce"],
            case["realm_key"],
            case["user_key"],
        )


@pytest.mark.parametrize("key, realm", [("rk1", "REALM1"), ("rk2", "Realm1"), ("ok", "other")])
def test_a_signed_request_is_let_in(make, key, realm):
    filter_ = make()
    assert ask(filter_, "PUT", "/v1/AUTH_q/c/o%20x", signed(key=key, realm=realm))[::2] == (200, b"in")
    (environ,) = filter_.seen
    assert (
        environ["swift.authorize_override"]
        and environ["swift.slo_override"]
        and environ["swift.symlink_override"]
    )
    assert environ["HTTP_X_TIMESTAMP"] == "1387408800.12345" and environ["swift.log_info"] == ["cs:valid"]
    assert "swift_owner" not in environ


def test_what_it_may_do_is_in_its_container(make):
    filter_ = make()
    ask(filter_, "PUT", "/v1/AUTH_q/c/o%20x", signed())
    authorize = filter_.seen[0]["swift.authorize"]
    for path, allowed in (("/v1/AUTH_q/c/o", True), ("/v1/AUTH_q/c", True), ("/v1/AUTH_q/d/o", False), ("/v1/AUTH_q", False), ("/v1/AUTH_x/c/o", False)):  # fmt: skip
        assert (authorize(Request.blank(path)) is None) is allowed, path


@pytest.mark.parametrize(
    "headers, why",
    [
        ({"X-Container-Sync-Auth": " "}, "not-3-args"),
        ({"X-Container-Sync-Auth": "a b"}, "not-3-args"),
        ({"X-Container-Sync-Auth": "a b c d"}, "not-3-args"),
        ({"X-Container-Sync-Auth": "none nonce sig"}, "no-local-realm-key"),
        ({"X-Container-Sync-Auth": "realm1 nonce sig"}, "invalid-sig"),
        ({"X-Container-Sync-Auth": "realm1 nonce s\xefg"}, "invalid-sig"),
        ({"X-Container-Sync-Auth": "realm1 n\xf6nce sig"}, "invalid-sig"),
        (signed(method="DELETE"), "invalid-sig"),
        (signed(path="/v1/AUTH_q/c/o"), "invalid-sig"),
        (signed(key="ok"), "invalid-sig"),
        ({**signed(), "X-Backend-Inbound-X-Timestamp": "1"}, "invalid-sig"),
    ],
)  # fmt: skip
def test_all_others_are_turned_away(make, headers, why):
    filter_ = make()
    said = []
    status, answer, body = ask(filter_, "PUT", "/v1/AUTH_q/c/o%20x", headers, **{"swift.log_info": said})
    assert status == 401 and said == [f"cs:{why}"]
    assert body == b"X-Container-Sync-Auth header not valid; contact cluster operator for support."
    assert answer["www-authenticate"] == 'SwiftContainerSync realm="AUTH_q"'
    assert filter_.seen == []


def test_a_container_without_a_key_takes_nothing(make, info):
    info["sync_key"] = None
    said = []
    assert ask(make(), "PUT", "/v1/AUTH_q/c/o%20x", signed(), **{"swift.log_info": said})[0] == 401
    assert said == ["cs:no-local-user-key"]


def test_full_urls_may_be_forbidden(make):
    url = {"X-Container-Sync-To": "http://one/v1/a/c"}
    assert ask(make(), "PUT", "/v1/a/c", url)[0] == 200
    strict = make(allow_full_urls="no")
    status, _, body = ask(strict, "POST", "/v1/a/c", url)
    assert status == 400 and b"Full URLs are not allowed" in body
    assert ask(strict, "POST", "/v1/a/c", {"X-Container-Sync-To": "//realm1/one/a/c"})[0] == 200
    assert ask(strict, "POST", "/v1/a/c", {"X-Container-Sync-To": ""})[0] == 200


def test_versions_are_not_synchronised(make, info):
    info["sysmeta"] = {"versions-container": "x"}
    status, _, body = ask(make(), "PUT", "/v1/a/c", {"X-Container-Sync-To": "//realm1/one/a/c"})
    assert status == 400 and b"object versioning" in body
    assert ask(make(), "PUT", "/v1/a/c", {"X-Container-Sync-To": ""})[0] == 200
    assert ask(make(), "PUT", "/v1/a/c/o", {"X-Container-Sync-To": "//realm1/one/a/c"})[0] == 200


@pytest.mark.parametrize("path", ["/v1/a", "/v2/a/c/o", "/auth/v1.0"])
def test_where_no_container_is_the_headers_mean_nothing(make, path):
    assert ask(make(), "GET", path, {"X-Container-Sync-Auth": "x", "X-Container-Sync-To": "y"})[0] == 200


def test_info_follows_the_file(make, tmp_path):
    filter_ = make(current="//realm1/one")
    assert capabilities.disclosed()["container_sync"] == {
        "realms": {"REALM1": {"clusters": {"ONE": {"current": True}}}}
    }
    path = tmp_path / "container-sync-realms.conf"
    path.write_text(REALMS + "cluster_x = http://x/v1/\n")
    os.utime(path, (1, 1))
    filter_.realms._next_check = 0.0
    ask(filter_, "GET", "/info")
    told = capabilities.disclosed()["container_sync"]["realms"]
    assert told["OTHER"] == {"clusters": {"X": {}}} and told["REALM1"] == {
        "clusters": {"ONE": {"current": True}}
    }


@pytest.mark.parametrize("current", ["realm1/one", "//realm1", "//realm1/none", "//", "x"])
def test_a_current_cluster_that_is_none_is_no_reason_not_to_start(make, current):
    make(current=current)
    assert capabilities.disclosed()["container_sync"]["realms"]["REALM1"]["clusters"] == {"ONE": {}}


def test_other_requests_pass_as_they_are(make):
    seen = []
    filter_ = make()
    filter_.app = lambda environ, start_response: seen.append((environ, start_response)) or "body"
    environ = {"REQUEST_METHOD": "PUT", "PATH_INFO": "/v1/a/c/o"}
    assert filter_(environ, print) == "body" and seen == [(environ, print)]
    assert list(environ) == ["REQUEST_METHOD", "PATH_INFO"]
