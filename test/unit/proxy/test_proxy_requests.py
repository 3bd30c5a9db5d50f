"""What happens to every request before a verb answers it; `/info`; the start."""

import hashlib
import hmac
import json
import time

import pytest
from proxy_backends import CONTAINER_HEADERS, T0, Reply

from swift.core import capabilities
from swift.core.errors import ConfigError
from swift.core.policy import PolicyCollection, ReplicatedPolicy
from swift.proxy.options import parse_options
from swift.telemetry.log import set_transaction, transaction
from swift.wire.message import HTTPForbidden, HTTPUnauthorized, Request

KEYSTONE = b"No identity service (Keystone) is here; this is an object store, with its API under /v1, /v1.0."
OBJECT = {"Etag": '"e"', "X-Backend-Timestamp": T0, "X-Timestamp": T0, "X-Object-Meta-Foo": "1"}


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/v1", 412, b"Bad URL"),
        ("/v1/", 412, b"Bad URL"),
        ("/info/", 412, b"Bad URL"),
        ("/", 404, None),
        ("//", 404, None),
        ("/v1//c", 404, None),
        ("/v1/a//o", 404, None),
        ("/v2/a", 400, b"Unknown API version; here are /v1, /v1.0."),
        ("/v3", 404, KEYSTONE),
        ("/v3/", 404, KEYSTONE),
        ("/v3/auth/tokens", 404, KEYSTONE),
        ("/v2.0/tokens", 404, KEYSTONE),
        ("/v1/a/%ff", 412, b"Invalid UTF8 or contains NULL"),
        ("/v1/a/%ed%a0%80", 412, b"Invalid UTF8 or contains NULL"),
        ("/v1/a/%00x", 412, b"Invalid UTF8 or contains NULL"),
    ],
)
def test_paths(cluster, path, status, body):
    got, headers, text = cluster.request("GET", path)
    assert got == status
    assert headers["content-type"] == "text/html; charset=UTF-8"
    if body is not None:
        assert text == body
    assert cluster.seen == []


@pytest.mark.parametrize(
    ("method", "path", "errors"),
    [
        ("GET", "/v1", 1),
        ("GET", "/v2/a", 1),
        ("GET", "/", 1),
        ("GET", "/v1/a/%ff", 1),
        ("GET", "/v1/a/c%00", 1),
        ("FOO", "/v1/a/c", 0),
        ("GET", "/v1/a/c/none", 0),
        ("PUT", "/v1/a/c?a=%ff", 0),
    ],
)
def test_what_is_no_request_for_anything_is_counted_as_an_error(cluster, monkeypatch, method, path, errors):
    """And nothing else is: servers that fail are not."""
    counted = []
    monkeypatch.setattr(cluster.app.metrics, "increment", lambda name, rate=None: counted.append(name))
    cluster.on("container", "PUT", Reply(500))
    cluster.request(method, path)
    assert counted.count("errors") == errors


def test_log_lines_name_the_client(cluster):
    seen = []
    cluster.logger.error = lambda *args: seen.append(transaction())
    for headers, address in (
        ({}, "192.0.2.1"),
        ({"X-Forwarded-For": "198.51.100.7, 192.0.2.1"}, "198.51.100.7"),
        ({"X-Cluster-Client-Ip": "203.0.113.9"}, "203.0.113.9"),
    ):
        cluster.on("container", "PUT", Reply(500))
        set_transaction("tx1")
        environ = {"REMOTE_ADDR": "192.0.2.1", "swift.trans_id": "tx1"}
        assert cluster.request("PUT", "/v1/a/c", headers, environ=environ)[0] == 503
        assert seen.pop() == ("tx1", address, "")


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("PUT", {"X-Delete-At": "x"}, 400),
        ("PUT", {"Content-Length": "6000000000"}, 413),
        ("POST", {"X-Delete-At": "x"}, 400),
        ("POST", {"X-Object-Meta-": "x"}, 400),
        ("GET", {}, 404),
        ("DELETE", {}, 404),
    ],
)
def test_refused_requests_for_objects_are_logged_with_their_policy(make_cluster, method, headers, status):
    gold, silver = ReplicatedPolicy(0, "gold", is_default=True), ReplicatedPolicy(1, "silver")
    cluster = make_cluster(policies=PolicyCollection([gold, silver]))
    cluster.on("container", "HEAD", Reply(204, {**CONTAINER_HEADERS, "X-Backend-Storage-Policy-Index": "1"}))
    request = Request.blank("/v1/a/c/o", environ={"REQUEST_METHOD": method}, headers=headers)
    if "Content-Length" not in headers and method == "PUT":
        request.body = b"x"
    request.environ["swift.authorize"] = lambda request: None
    assert request.get_response(cluster.app).status_int == status
    assert request.headers["X-Backend-Storage-Policy-Index"] == "1"
    refusing = Request.blank("/v1/a/c/o", environ={"REQUEST_METHOD": method}, headers={"Content-Length": "0"})
    refusing.environ["swift.authorize"] = _forbid
    assert refusing.get_response(cluster.app).status_int == 403
    assert refusing.headers["X-Backend-Storage-Policy-Index"] == "1"


def _forbid(request):
    return HTTPForbidden(request=request)


@pytest.mark.parametrize("path", ["/v1/a/", "/v1/a/c/", "/v1.0/a"])
def test_a_trailing_slash_and_the_other_version(cluster, path):
    cluster.on("account", "GET", Reply(200))
    cluster.on("container", "GET", Reply(200, CONTAINER_HEADERS))
    assert cluster.request("GET", path)[0] == 200


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/v1/a/%00c", 200, None),
        ("/v1/a/c%00c", 400, b"Invalid reserved-namespace container"),
        ("/v1/a/c/%00o", 400, b"Invalid reserved-namespace object in user-namespace container"),
        ("/v1/a/%00c/o", 400, b"Invalid user-namespace object in reserved-namespace container"),
    ],
)
def test_reserved_names_for_those_who_may(cluster, path, status, text):
    cluster.on("container", "GET", Reply(200, CONTAINER_HEADERS))
    got, headers, body = cluster.request("GET", path, {"X-Backend-Allow-Reserved-Names": "true"})
    assert got == status
    if text:
        assert body == text


@pytest.mark.parametrize("path", ["/v1/a", "/v1/a/c", "/v1/a/c/o"])
def test_unknown_verbs(make_cluster, path):
    cluster = make_cluster(allow_account_management="true")
    status, headers, body = cluster.request("BREW", path)
    assert status == 405
    assert headers["allow"] == "DELETE, GET, HEAD, OPTIONS, POST, PUT"
    assert (
        body == b"<html><h1>Method Not Allowed</h1><p>The method is not allowed for this resource.</p></html>"
    )


@pytest.mark.parametrize("given", ["x", "inf", "-1", "1_2_3"])
def test_bad_timestamps(cluster, given):
    status, headers, body = cluster.request("GET", "/v1/a/c/o", {"X-Timestamp": given})
    assert (status, headers["content-type"].split(";")[0]) == (400, "text/plain")
    assert body == f"X-Timestamp should be a UNIX timestamp float value; was {given!r}".encode()


def test_a_given_timestamp_is_normalised(cluster):
    cluster.on("object", "GET", Reply(200, OBJECT))
    cluster.request("GET", "/v1/a/c/o", {"X-Timestamp": "1.5"})
    assert cluster.of("object")[0].headers["x-timestamp"] == "0000000001.50000"


def test_transaction_ids_are_kept_or_made(make_cluster):
    cluster = make_cluster(trans_id_suffix="-x")
    cluster.on("object", "GET", Reply(200, OBJECT))
    cluster.request("GET", "/v1/a/c/o", environ={"swift.trans_id": "tx123"})
    cluster.request("GET", "/v1/a/c/o")
    first, second = (seen.headers["x-trans-id"] for seen in cluster.of("object"))
    assert first == "tx123"
    assert second.startswith("tx") and second.endswith("-x")


def test_denied_hosts(make_cluster):
    cluster = make_cluster(deny_host_headers="bad.example.com, worse")
    status, _, body = cluster.request("GET", "/v1/a", {"Host": "bad.example.com:80"})
    assert (status, body) == (403, b"Invalid host header")


def test_a_line_break_in_a_header_never_reaches_a_server(cluster):
    for method, key in (("GET", "HTTP_RANGE"), ("POST", "HTTP_X_OBJECT_META_A"), ("PUT", "HTTP_ETAG")):
        status, _, _ = cluster.request(method, "/v1/a/c/o", environ={key: "a\r\nX-Evil: 1"})
        assert status == 400
    assert cluster.of("object") == []


def test_an_unexpected_error_is_500_without_details(cluster):
    cluster.rings["o"].get_nodes = None
    status, headers, body = cluster.request("GET", "/v1/a/c/o")
    assert status == 500
    assert b"Traceback" not in body and b"NoneType" not in body
    assert any("Traceback" in line for line in cluster.logger.lines)


# -- authorisation ---------------------------------------------------------------------------------------------------------


class Auth:
    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, request):
        self.asked.append(request.acl)
        answer = self.answers.pop(0)
        return None if answer is None else answer(request=request)


@pytest.fixture
def with_acls(cluster):
    headers = {**CONTAINER_HEADERS, "X-Container-Read": "readers", "X-Container-Write": "writers"}
    cluster.on("container", "HEAD", Reply(204, headers))
    cluster.on("object", "GET", Reply(200, OBJECT))
    cluster.on("object", "PUT", Reply(201))
    cluster.on("object", "DELETE", Reply(204))
    cluster.on("object", "POST", Reply(202))
    return cluster


@pytest.mark.parametrize(
    ("method", "acl", "status"),
    [("GET", "readers", 200), ("PUT", "writers", 201), ("POST", "writers", 202), ("DELETE", "writers", 204)],
)
def test_object_verbs_ask_again_with_the_acl(with_acls, method, acl, status):
    auth = Auth(HTTPForbidden, None)
    assert with_acls.request(method, "/v1/a/c/o", environ={"swift.authorize": auth})[0] == status
    assert auth.asked == [None, acl]
    auth = Auth(HTTPUnauthorized, HTTPUnauthorized)
    with_acls.seen.clear()
    assert with_acls.request(method, "/v1/a/c/o", environ={"swift.authorize": auth})[0] == 401
    assert with_acls.of("object") == []


def test_who_is_allowed_at_once_is_not_asked_again(with_acls):
    auth = Auth(None)
    environ = {"swift.authorize": auth}
    from swift.wire.message import Request

    request = Request.blank("/v1/a/c/o", environ=environ)
    assert request.call_application(with_acls.app)[0].startswith("200")
    assert request.environ["swift.authorize"] is auth


def test_container_writes_are_decided_by_the_first_answer(cluster):
    auth = Auth(HTTPForbidden)
    assert cluster.request("PUT", "/v1/a/c", environ={"swift.authorize": auth})[0] == 403
    assert cluster.seen == []


def test_the_sync_key_is_shown_to_authorisers(cluster):
    cluster.on("container", "HEAD", Reply(204, {**CONTAINER_HEADERS, "X-Container-Sync-Key": "k"}))
    cluster.on("object", "PUT", Reply(201))
    keys = []

    def authorize(request):
        keys.append(request.environ.get("swift_sync_key"))
        return HTTPForbidden(request=request) if len(keys) == 1 else None

    assert cluster.request("PUT", "/v1/a/c/o", environ={"swift.authorize": authorize})[0] == 201
    assert keys == [None, "k"]


# -- cross-origin ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shared(cluster):
    headers = {
        **CONTAINER_HEADERS,
        "X-Container-Meta-Access-Control-Allow-Origin": "http://x http://y",
        "X-Container-Meta-Access-Control-Max-Age": "5",
        "X-Container-Meta-Access-Control-Expose-Headers": "X-Foo",
    }
    cluster.on("container", "HEAD", Reply(204, headers))
    cluster.on("object", "GET", Reply(200, OBJECT))
    return cluster


def test_an_allowed_origin(shared):
    headers = shared.request("GET", "/v1/a/c/o", {"Origin": "http://x"})[1]
    assert headers["access-control-allow-origin"] == "http://x"
    assert headers["vary"] == "Origin"
    exposed = headers["access-control-expose-headers"].split(", ")
    assert {"x-foo", "x-object-meta-foo", "etag", "x-trans-id"} <= set(exposed)


def test_errors_of_the_handler_are_decorated_too(shared):
    shared.on("object", "GET", Reply(404))
    status, headers, _ = shared.request("GET", "/v1/a/c/o", {"Origin": "http://x"})
    assert (status, headers["access-control-allow-origin"]) == (404, "http://x")


def test_another_origin_gets_the_plain_answer(shared):
    status, headers, _ = shared.request("GET", "/v1/a/c/o", {"Origin": "http://z"})
    assert status == 200
    assert not any(name.startswith("access-control") for name in headers)


def test_a_star_is_answered_with_a_star(shared):
    star = {**CONTAINER_HEADERS, "X-Container-Meta-Access-Control-Allow-Origin": "*"}
    shared.on("container", "HEAD", Reply(204, star))
    headers = shared.request("GET", "/v1/a/c/o", {"Origin": "http://z"})[1]
    assert headers["access-control-allow-origin"] == "*"
    assert "vary" not in headers


def test_the_proxy_can_allow_origins_everywhere(make_cluster):
    cluster = make_cluster(cors_allow_origin="http://q", cors_expose_headers="X-Mine")
    cluster.on("object", "GET", Reply(200, OBJECT))
    headers = cluster.request("GET", "/v1/a/c/o", {"Origin": "http://q"})[1]
    assert headers["access-control-allow-origin"] == "http://q"
    assert "X-Mine" in headers["access-control-expose-headers"]


def test_preflight(shared):
    asked = {
        "Origin": "http://x",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "a, b,a",
    }
    status, headers, body = shared.request("OPTIONS", "/v1/a/c/o", asked)
    assert (status, body) == (200, b"")
    assert headers["access-control-allow-origin"] == "http://x"
    assert headers["access-control-max-age"] == "5"
    assert (
        headers["access-control-allow-methods"] == headers["allow"] == "DELETE, GET, HEAD, OPTIONS, POST, PUT"
    )
    assert headers["access-control-allow-headers"] == "a, b"
    assert headers["vary"] == "Origin, Access-Control-Request-Headers"
    assert "content-type" not in headers


@pytest.mark.parametrize(
    "asked",
    [
        {"Origin": "http://z", "Access-Control-Request-Method": "GET"},
        {"Origin": "http://x", "Access-Control-Request-Method": "BREW"},
        {"Origin": "http://x"},
    ],
)
def test_a_preflight_that_is_refused(shared, asked):
    status, headers, body = shared.request("OPTIONS", "/v1/a/c/o", asked)
    assert (status, headers["allow"]) == (401, "DELETE, GET, HEAD, OPTIONS, POST, PUT")
    assert "www-authenticate" not in headers


@pytest.mark.parametrize("path", ["/v1/a", "/v1/a/c", "/v1/a/c/o"])
def test_options_without_origin(make_cluster, path):
    cluster = make_cluster(allow_account_management="true")
    status, headers, body = cluster.request("OPTIONS", path)
    assert (status, body, headers["allow"]) == (200, b"", "DELETE, GET, HEAD, OPTIONS, POST, PUT")


# -- /info -----------------------------------------------------------------------------------------------------------------


def test_info(make_cluster):
    capabilities.forget_all()
    both = PolicyCollection(
        [
            ReplicatedPolicy(0, "gold", is_default=True),
            ReplicatedPolicy(1, "silver", aliases=["argent"]),
            ReplicatedPolicy(2, "lead", is_deprecated=True),
        ]
    )
    cluster = make_cluster(policies=both, account_autocreate="yes")
    status, headers, body = cluster.request("GET", "/info")
    assert (status, headers["content-type"]) == (200, "application/json; charset=UTF-8")
    told = json.loads(body)["swift"]
    assert told["policies"] == [
        {"name": "gold", "aliases": "gold", "default": True},
        {"name": "silver", "aliases": "silver, argent"},
    ]
    assert told["max_file_size"] == 5368709122
    assert told["account_autocreate"] is True
    assert "valid_api_versions" not in told and "auto_create_account_prefix" not in told
    assert cluster.request("HEAD", "/info")[2] == b""
    assert cluster.request("POST", "/info")[0] == 405
    assert cluster.request("OPTIONS", "/info")[1]["allow"] == "HEAD, GET, OPTIONS"
    headers = cluster.request("GET", "/info", {"Origin": "http://x"})[1]
    assert headers["access-control-allow-origin"] == "http://x"


def test_info_can_be_closed(make_cluster):
    assert make_cluster(expose_info="false").request("GET", "/info")[0] == 403


def test_the_administrators_info(make_cluster):
    capabilities.forget_all()
    capabilities.register("encryption", admin=True, enabled=True)
    cluster = make_cluster(admin_key="secret_admin_key")
    expires = int(time.time()) + 60

    def sign(method, when):
        return hmac.new(b"secret_admin_key", f"{method}\n{when}\n/info".encode(), hashlib.sha1).hexdigest()

    path = f"/info?swiftinfo_sig={sign('GET', expires)}&swiftinfo_expires={expires}"
    status, _, body = cluster.request("GET", path)
    assert status == 200
    assert json.loads(body)["admin"]["encryption"] == {"enabled": True}
    assert cluster.request("HEAD", path)[0] == 200
    assert (
        cluster.request("GET", f"/info?swiftinfo_sig={sign('HEAD', expires)}&swiftinfo_expires={expires}")[0]
        == 401
    )
    assert cluster.request("GET", f"/info?swiftinfo_sig={sign('GET', 5)}&swiftinfo_expires=5")[0] == 401
    assert cluster.request("GET", f"/info?swiftinfo_sig=%E9&swiftinfo_expires={expires}")[0] == 401
    assert make_cluster().request("GET", path)[0] == 403


# -- options ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("sorting_method", "best", "Invalid sorting_method value"),
        ("read_affinity", "x1", "Invalid read_affinity value: 'x1'"),
        ("write_affinity", "x1", "Invalid write_affinity value: 'x1'"),
        ("node_timeout", "x", 'not "x"'),
        ("request_node_count", "x", "Invalid request_node_count value"),
        ("expiring_objects_container_divisor", "100", "must be above 100"),
    ],
)
def test_bad_options_stop_the_start_with_a_line(option, value, message):
    policies = PolicyCollection([])
    with pytest.raises(ConfigError) as caught:
        parse_options({option: value}, policies)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_policies_have_options_of_their_own(tmp_path):
    path = tmp_path / "proxy.conf"
    path.write_text(
        "[DEFAULT]\nswift_dir = /x\n[app:proxy-server]\nsorting_method = shuffle\n"
        "[proxy-server:policy:1]\nsorting_method = affinity\nread_affinity = r1=100\nconcurrent_gets = on\n"
    )
    policies = PolicyCollection([ReplicatedPolicy(0, "gold", is_default=True), ReplicatedPolicy(1, "silver")])
    conf = {"__file__": str(path), "__name__": "proxy-server", "sorting_method": "shuffle", "swift_dir": "/x"}
    options = parse_options(conf, policies, {"swift_dir": "/x"})
    assert options.policy_nodes[0].sorting_method == "shuffle"
    assert options.policy_nodes[1].sorting_method == "affinity"
    assert options.policy_nodes[1].concurrent_gets
    assert options.policy_nodes[1].read_affinity({"region": 1, "zone": 1}) == 100
    path.write_text("[proxy-server:policy:9]\nsorting_method = affinity\n")
    with pytest.raises(ConfigError, match="No policy found for override config, index: 9"):
        parse_options(conf, policies)
    path.write_text("[proxy-server:policy:gold]\nsorting_method = affinity\n")
    with pytest.raises(ConfigError, match="Override config must refer to policy index: 'gold'"):
        parse_options(conf, policies)


def test_a_proxy_is_ready_while_a_write_finds_enough_nodes(cluster):
    app = cluster.app
    assert app.not_ready() == []
    nodes = [device for device in cluster.rings["c"].devs if device]
    for node in nodes[:1]:
        app.limiter.limit_now(node)
    assert app.not_ready() == []
    for node in nodes:
        app.limiter.limit_now(node)
    assert [text for text in app.not_ready() if text.startswith("container nodes: 0 of ")]
    for node in nodes:
        app.limiter.forget(node)
    assert app.not_ready() == []
