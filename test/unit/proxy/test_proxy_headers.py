"""Which headers go to storage servers, and in which order answers go to clients."""

import http.client
import io

import pytest
from proxy_backends import ACCOUNT_HEADERS, CONTAINER_HEADERS, T0, Reply

from swift.core.policy import PolicyCollection, ReplicatedPolicy, UnservedPolicy
from swift.telemetry import redaction

BODY = b"hello world"
OBJECT = {"Etag": '"e1"', "X-Timestamp": T0, "X-Backend-Timestamp": T0}

# What a proxy says of itself in every request, and the framing.
OWN = {"host", "x-timestamp", "x-trans-id", "user-agent", "referer", "x-backend-storage-policy-index"}
UPDATES = {
    "x-container-partition", "x-container-host", "x-container-device", "x-container-root-db-state",
    "x-backend-clean-expiring-object-queue",
}  # fmt: skip
FRAMING = {"content-length", "etag", "x-backend-body-crc32"}

# Nothing of this is any storage server's business.
STRANGE = {
    "X-Foo": "1", "Forwarded": "for=1.2.3.4", "X-Forwarded-For": "1.2.3.4", "Accept": "*/*", "Accept-Encoding": "gzip", "Origin": "http://x",
    "Cookie": "secret", "Authorization": "secret", "X-Auth-Key": "secret", "X-Service-Token": "secret", "X-Storage-Pass": "secret",
    "X-Copy-To": "c/o", "X-Container-Partition": "1", "X-Container-Host": "evil:1", "X-Container-Device": "d",
    "X-Delete-At-Host": "evil:1", "X-Delete-At-Container": "c", "Content-Type-Timestamp": "9", "X-Size": "1", "X-Etag": "e",
    "X-Account-Host": "evil:1", "X-Put-Timestamp": "9", "X-Delete-Timestamp": "9", "X-Versions-Foo": "v", "Te": "trailers",
    "X-Backend-Body-Crc32": "00000000", "X-Backend-Container-Path": "a/b", "X-Backend-Quoted-Container-Path": "a/b",
    "X-Backend-Obj-Multiphase-Commit": "yes", "X-Backend-Obj-Metadata-Footer": "yes", "X-Object-Meta": "no name",
}  # fmt: skip
CONDITIONS = {
    "If-Match": '"e1"', "If-Modified-Since": "Thu, 01 Jan 1970 00:00:01 GMT", "If-Range": '"e1"',
}  # fmt: skip
PIPELINE = {
    "X-Backend-Etag-Is-At": "x", "X-Backend-Replication": "yes", "X-Backend-No-Commit": "no", "X-Backend-New-One": "1",
    "X-Backend-Container-Update-Override-Etag": "e",
}  # fmt: skip
KEPT = {
    "X-Object-Meta-Colour": "red", "X-Object-Sysmeta-A": "b", "X-Object-Transient-Sysmeta-A": "c", "Content-Disposition": "inline",
    "Content-Encoding": "gzip", "X-Object-Manifest": "c/p", "X-Static-Large-Object": "True", "Cache-Control": "no-cache",
    "Content-Language": "de", "Expires": "never", "X-Robots-Tag": "none", "X-Delete-At": "9999999999", "Content-Type": "text/x",
}  # fmt: skip
EXPIRY = {"x-delete-at-container", "x-delete-at-partition", "x-delete-at-host", "x-delete-at-device"}


@pytest.mark.parametrize(
    ("method", "sent", "more"),
    [
        ("GET", {"Range": "bytes=0-3", **CONDITIONS}, set()),
        ("HEAD", {"Range": "bytes=0-3", **CONDITIONS}, set()),
        ("PUT", KEPT, UPDATES | FRAMING | EXPIRY),
        ("POST", KEPT, UPDATES | EXPIRY),
        ("DELETE", {"X-If-Delete-At": "1700000000"}, UPDATES),
    ],
)
def test_objects_get_what_is_theirs_and_nothing_else(cluster, method, sent, more):
    replies = {
        "GET": Reply(200, OBJECT, BODY),
        "HEAD": Reply(200, OBJECT),
        "PUT": Reply(201),
        "POST": Reply(202),
    }
    cluster.on("object", method, replies.get(method, Reply(204)))
    body = BODY if method == "PUT" else b""
    given = {**STRANGE, **sent, **PIPELINE}
    status = cluster.request(method, "/v1/a/c/o", given, body)[0]
    assert status < 300
    for seen in cluster.of("object"):
        wanted = {name.lower(): value for name, value in {**sent, **PIPELINE}.items()}
        assert {name: seen.headers.get(name) for name in wanted} == wanted
        assert set(seen.headers) - set(wanted) - OWN - more == set()
        assert not any("secret" in value or "evil" in value for value in seen.headers.values())


def test_storage_servers_do_not_hear_with_which_signature_somebody_came(cluster):
    """They log where a request comes from."""
    redaction.register_sensitive_parameter("temp_url_sig")
    cluster.on("object", "GET", Reply(200, OBJECT, BODY))
    assert cluster.request("GET", "/v1/a/c/o?temp_url_sig=0123456789abcdef&temp_url_expires=5&x=y")[0] == 200
    for seen in cluster.of("object"):
        assert seen.headers["referer"].endswith("/v1/a/c/o?temp_url_sig=...&temp_url_expires=5&x=y")


@pytest.mark.parametrize(("kind", "path"), [("account", "/v1/a"), ("container", "/v1/a/c")])
def test_listings_take_nothing_along(cluster, kind, path):
    headers = ACCOUNT_HEADERS if kind == "account" else CONTAINER_HEADERS
    cluster.on(kind, "GET", Reply(200, headers, b"[]"))
    assert cluster.request("GET", path, {**STRANGE, "Range": "bytes=0-0", **CONDITIONS, **PIPELINE})[0] == 200
    (seen,) = cluster.of(kind, "GET")
    wanted = {name.lower() for name in PIPELINE}
    record = {"x-backend-record-type", "x-backend-record-shard-format", "x-backend-include-deleted"}
    record.add("x-backend-override-shard-name-filter")
    assert wanted <= set(seen.headers)
    assert set(seen.headers) - wanted - OWN - record == set()


def test_object_servers_may_be_configured_to_keep_more(make_cluster):
    cluster = make_cluster(allowed_headers="X-Shelf, Etag, X-Auth-Token, Content-Length")
    cluster.on("object", "POST", Reply(202))
    given = {"X-Shelf": "7", "Cache-Control": "x", "X-Auth-Token": "secret", "Etag": "e"}
    assert cluster.request("POST", "/v1/a/c/o", given)[0] == 202
    for seen in cluster.of("object"):
        assert seen.headers["x-shelf"] == "7"
        assert not {"cache-control", "x-auth-token", "etag", "content-length"} & set(seen.headers)


def test_services_name_more_headers_to_keep(cluster):
    cluster.on("object", "PUT", Reply(201))
    given = {
        "X-Backend-Replication-Headers": "X-Odd x-foo Cache-Control Content-Length X-Auth-Token X-Container-Host missing",
        "X-Odd": "1",
        "Cache-Control": "none",
        "X-Auth-Token": "secret",
        "X-Container-Host": "evil",
        "Content-Type": "a/b",
    }
    assert cluster.request("PUT", "/v1/a/c/o", given, BODY)[0] == 201
    for seen in cluster.of("object"):
        assert seen.headers["x-odd"] == "1" and seen.headers["cache-control"] == "none"
        assert seen.headers["x-container-host"] != "evil" and "x-auth-token" not in seen.headers


# -- answers to clients ----------------------------------------------------------------------------------------------------

NAME = "X-{}-Meta-\u00d0\u00ba\u00d0\u00bb\u00d1\u008e\u00d1\u0087"  # the bytes of "ключ"


@pytest.mark.parametrize(
    ("kind", "path", "headers", "needed"),
    [
        (
            "object",
            "/v1/a/c/o",
            OBJECT,
            ["content-length", "etag", "x-timestamp", "content-type", "accept-ranges"],
        ),
        (
            "container",
            "/v1/a/c",
            CONTAINER_HEADERS,
            ["content-length", "x-container-object-count", "x-storage-policy"],
        ),
        ("account", "/v1/a", ACCOUNT_HEADERS, ["content-length", "x-account-container-count", "x-timestamp"]),
    ],
)
@pytest.mark.parametrize("origin", [{}, {"Origin": "http://page"}])
def test_user_metadata_goes_out_last(make_cluster, kind, path, headers, needed, origin):
    """Python's http.client reads nothing after a header whose name is not ASCII."""
    cluster = make_cluster(cors_allow_origin="http://page")
    name = NAME.format(kind.title())
    for method in ("GET", "HEAD"):
        cluster.on(kind, method, Reply(200, {name: "value", **headers}, BODY))
        answered = []

        def start_response(status, sent, exc_info=None, answered=answered):
            answered[:] = sent

        from swift.wire.message import Request

        request = Request.blank(path, environ={"REQUEST_METHOD": method, "swift_owner": True}, headers=origin)
        list(cluster.app(request.environ, start_response))
        assert answered[-1] == (name, "value")
        wire = "".join(f"{key}: {value}\r\n" for key, value in answered).encode("latin-1")
        seen = http.client.parse_headers(io.BytesIO(wire + b"\r\n"))
        assert all(header in seen for header in needed)
        if origin and kind != "account":
            assert seen["Access-Control-Allow-Origin"] == "http://page"


def test_answers_to_writes_keep_that_order(cluster):
    cluster.on("object", "POST", Reply(202, {NAME.format("Object"): "v", "X-Other": "o"}))
    answered = []
    from swift.wire.message import Request

    request = Request.blank("/v1/a/c/o", environ={"REQUEST_METHOD": "POST"})
    list(cluster.app(request.environ, lambda status, headers, exc_info=None: answered.extend(headers)))
    assert [name for name, _ in answered][-1] == NAME.format("Object")


# -- policies that are not served ------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(make_cluster):
    policies = PolicyCollection(
        [
            ReplicatedPolicy(0, "gold", is_default=True),
            UnservedPolicy("erasure_coding", 1, "coded"),
        ]
    )
    return make_cluster(policies=policies)


def test_a_policy_that_is_not_served_stops_no_proxy(mixed):
    mixed.on("object", "GET", Reply(200, OBJECT, BODY))
    assert mixed.request("GET", "/v1/a/c/o")[0] == 200
    assert any("coded (1)" in line and "erasure_coding" in line for line in mixed.logger.lines)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_its_objects_are_refused_with_a_line(mixed, method):
    coded = {**CONTAINER_HEADERS, "X-Backend-Storage-Policy-Index": "1"}
    mixed.on("container", "HEAD", Reply(204, coded))
    status, _, body = mixed.request(method, "/v1/a/c/o", {}, BODY if method == "PUT" else b"")
    assert status == 503 and mixed.of("object") == []
    if method != "HEAD":
        assert body == b"Storage policy coded (1): objects of type erasure_coding are not served here\n"


def test_its_containers_go_on_but_no_new_one_is_made(mixed):
    coded = {**CONTAINER_HEADERS, "X-Backend-Storage-Policy-Index": "1"}
    mixed.on("container", "PUT", Reply(202))
    mixed.on("container", "GET", Reply(200, coded, b"[]"))
    mixed.on("container", "HEAD", Reply(204, coded))
    assert mixed.request("GET", "/v1/a/c")[:2][0] == 200
    assert mixed.request("PUT", "/v1/a/c", {"X-Storage-Policy": "coded"})[0] == 202
    mixed.on("container", "HEAD", Reply(404))
    status, _, body = mixed.request("PUT", "/v1/a/new", {"X-Storage-Policy": "coded"})
    assert status == 503 and b"not served here" in body
    assert mixed.request("PUT", "/v1/a/new")[0] == 202


def test_info_names_what_can_be_used(mixed):
    import json

    _, _, body = mixed.request("GET", "/info")
    assert [policy["name"] for policy in json.loads(body)["swift"]["policies"]] == ["gold"]


def test_a_server_with_too_much_to_do_is_no_node_that_fails(cluster):
    node = cluster.rings["o"].primaries[0]
    cluster.on("object", "POST", Reply(503, {"Retry-After": "1"}))
    for _ in range(12):
        assert cluster.request("POST", "/v1/a/c/o")[0] == 503
    assert not cluster.app.limiter.is_limited(node)
    cluster.on("object", "POST", Reply(503))
    for _ in range(12):
        cluster.request("POST", "/v1/a/c/o")
    assert cluster.app.limiter.is_limited(node)
