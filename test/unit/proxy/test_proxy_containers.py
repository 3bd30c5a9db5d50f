"""Containers and accounts: what their servers are asked, and what clients get."""

import json

import pytest
from proxy_backends import ACCOUNT_HEADERS, CONTAINER_HEADERS, T0, Reply

from swift.core.policy import policies
from swift.middleware.acl import clean_acl
from swift.wire.message import Request

PAGE = b"<html><h1>Not Found</h1><p>The resource could not be found.</p></html>"
OWNER = {"swift_owner": True}
LISTING = b'[{"name": "o"}]'
LISTED = {
    **CONTAINER_HEADERS,
    "X-Backend-Record-Type": "object",
    "Content-Type": "application/json; charset=utf-8",
}


# -- listings --------------------------------------------------------------------------------------------------------------


def test_a_listing_is_handed_on(cluster):
    cluster.on("container", "GET", Reply(200, {**LISTED, "X-Backend-Record-Shard-Format": "full"}, LISTING))
    status, headers, body = cluster.request(
        "GET", "/v1/a/c?prefix=x&limit=5&format=xml", {"X-Auth-Token": "t"}
    )
    assert (status, body) == (200, LISTING)
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["x-storage-policy"] == "gold"
    assert headers["accept-ranges"] == "bytes"
    assert "x-backend-record-type" not in headers and "x-backend-record-shard-format" not in headers
    assert "x-put-timestamp" not in headers
    (seen,) = cluster.of("container", "GET")
    assert seen.query == "prefix=x&limit=5&format=json&states=listing"
    assert seen.headers["x-backend-record-type"] == "auto"
    assert seen.headers["x-backend-record-shard-format"] == "namespace"
    assert seen.headers["x-backend-include-deleted"] == "false"


def test_explicit_record_types_pass(cluster):
    cluster.on("container", "GET", Reply(200, {**LISTED, "X-Backend-Record-Type": "shard"}, b"[]"))
    status, headers, body = cluster.request("GET", "/v1/a/c", {"X-Backend-Record-Type": "shard"})
    assert (status, body) == (200, b"[]")
    (seen,) = cluster.of("container", "GET")
    assert seen.headers["x-backend-record-type"] == "shard"
    assert "x-backend-record-shard-format" not in seen.headers
    assert seen.query == "format=json"


def test_a_long_listing_is_relayed(cluster):
    body = json.dumps([{"name": f"{i:050d}"} for i in range(10000)]).encode()
    cluster.on("container", "GET", Reply(200, LISTED, body))
    assert cluster.request("GET", "/v1/a/c")[2] == body


@pytest.mark.parametrize(
    ("query", "status", "text", "content_type"),
    [
        ("limit=10001", 412, b"Maximum limit is 10000", "text/html"),
        ("prefix=%ff", 400, b'"prefix" parameter not valid UTF-8', "text/plain"),
    ],
)
def test_bad_parameters(cluster, query, status, text, content_type):
    got, headers, body = cluster.request("GET", f"/v1/a/c?{query}")
    assert (got, body) == (status, text)
    assert headers["content-type"].startswith(content_type)
    assert cluster.of("container", "GET") == []


def test_a_listing_of_a_missing_container(cluster):
    cluster.on("container", "GET", Reply(404, {"X-Backend-Timestamp": "0000000000.00000"}, PAGE))
    status, headers, body = cluster.request("GET", "/v1/a/c")
    assert (status, body, headers["content-type"]) == (404, PAGE, "text/html; charset=UTF-8")


def test_a_listing_in_a_missing_account(cluster):
    cluster.on("account", "HEAD", Reply(404))
    assert cluster.request("GET", "/v1/a/c")[0] == 404
    assert cluster.of("container") == []
    cluster.on("container", "GET", Reply(200, LISTED, LISTING))
    assert cluster.request("GET", "/v1/.hidden/c")[0] == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_an_account_that_cannot_be_asked_is_not_a_missing_one(make_cluster, method):
    cluster = make_cluster(account_autocreate="true")
    cluster.on("account", "HEAD", Reply(500))
    assert cluster.request(method, "/v1/a/c")[0] == 503
    assert cluster.of("container") == [] and cluster.of("account", "PUT") == []


def test_a_database_that_was_never_put_is_missing(cluster):
    zero = {**LISTED, "X-Put-Timestamp": "0000000000.00000"}
    cluster.on("container", "GET", [Reply(200, zero, LISTING)] * 3)
    assert cluster.request("GET", "/v1/a/c")[0] == 404


def test_owner_headers_are_for_owners(cluster):
    headers = {**CONTAINER_HEADERS, "X-Container-Read": ".r:*", "X-Container-Sysmeta-Sharding": "true"}
    cluster.on("container", "HEAD", Reply(204, headers))
    assert "x-container-read" not in cluster.request("HEAD", "/v1/a/c")[1]
    assert cluster.request("HEAD", "/v1/a/c", environ=OWNER)[1]["x-container-read"] == ".r:*"
    got = cluster.request("HEAD", "/v1/a/c", environ={"reseller_request": True})[1]
    assert got["x-container-sharding"] == "True"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_missing_container_is_not_sharded(cluster, method):
    cluster.on("container", "HEAD", Reply(404))
    assert "x-container-sharding" not in cluster.request(method, "/v1/a/c")[1]
    status, headers, _ = cluster.request(method, "/v1/a/c", environ={"reseller_request": True})
    assert (status, headers["x-container-sharding"]) == (404, "False")


def test_logs_show_what_the_servers_were_asked(cluster):
    """What the reference leaves in the query string, and so in access lines and in the Referer of backend requests."""
    cluster.on("container", "GET", Reply(200, LISTED, LISTING))
    cluster.on("account", "GET", Reply(200, ACCOUNT_HEADERS, b"[]"))
    for path, query in (("/v1/a/c", "limit=5&format=json&states=listing"), ("/v1/a", "limit=5&format=json")):
        environ = {"QUERY_STRING": "limit=5"}
        request = Request.blank(path, environ={"REQUEST_METHOD": "GET", **environ})
        assert request.get_response(cluster.app).status_int == 200
        assert request.environ["QUERY_STRING"] == query
        assert cluster.seen[-1].headers["referer"].endswith(f"GET http://localhost{path}?{query}")


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/v1/a", "marker=%ff", 400),
        ("/v1/a", "path=%ff", 200),
        ("/v1/a", "x=%ff", 200),
        ("/v1/a/c", "path=%ff", 400),
        ("/v1/a/c", "states=%ff", 400),
        ("/v1/a/c", "x=%ff", 200),
        ("/v1/a/c", "%ff=%ff", 200),
    ],
)
def test_parameters_of_listings_are_utf8(cluster, path, query, status):
    cluster.on("container", "GET", Reply(200, LISTED, LISTING))
    cluster.on("container", "HEAD", Reply(204, CONTAINER_HEADERS))
    cluster.on("account", "GET", Reply(200, ACCOUNT_HEADERS, b"[]"))
    assert cluster.request("GET", f"{path}?{query}")[0] == status
    assert cluster.request("HEAD", f"{path}?{query}")[0] == 204


def test_a_listing_is_authorised_by_the_acl_that_came_with_it(cluster):
    asked = []
    from swift.wire.message import HTTPForbidden

    def authorize(request):
        asked.append(request.acl)
        return None if request.acl == ".r:*" else HTTPForbidden(request=request)

    cluster.on("container", "GET", Reply(200, {**LISTED, "X-Container-Read": ".r:*"}, LISTING))
    assert cluster.request("GET", "/v1/a/c", environ={"swift.authorize": authorize})[0] == 200
    assert asked == [None, ".r:*"]
    wire = "tést:u".encode().decode("latin-1")
    cluster.on("container", "GET", Reply(200, {**LISTED, "X-Container-Read": wire}, LISTING))
    assert cluster.request("GET", "/v1/a/c", environ={"swift.authorize": authorize})[0] == 403
    assert asked[-1] == "tést:u"  # as the infos have it
    cluster.on("container", "GET", Reply(200, {**LISTED, "X-Container-Read": "x"}, LISTING))
    assert cluster.request("GET", "/v1/a/c", environ={"swift.authorize": authorize})[0] == 403


# -- container writes ------------------------------------------------------------------------------------------------------


def test_put_tells_each_server_one_account_server(cluster):
    cluster.on("container", "PUT", Reply(201, {"X-Backend-Storage-Policy-Index": "0"}))
    sent = {
        "X-Container-Meta-Color": "red",
        "X-Container-Read": ".r:*,.rlistings",
        "X-Auth-Token": "t",
        "X-Container-Host": "evil:1",
    }
    status, headers, body = cluster.request("PUT", "/v1/AUTH_test/c", sent, environ=OWNER)
    assert (status, body) == (201, b"")
    puts = cluster.of("container", "PUT")
    assert sorted(seen.node for seen in puts) == [0, 1, 2]
    for seen in puts:
        assert seen.headers["x-backend-storage-policy-default"] == "0"
        assert "x-backend-storage-policy-index" not in seen.headers
        assert seen.headers["x-container-meta-color"] == "red"
        assert seen.headers["x-container-read"] == ".r:*,.rlistings"
        assert seen.headers["x-account-partition"] == "7"
        assert seen.headers["x-timestamp"] and seen.headers["x-trans-id"]
        assert not {"x-auth-token", "content-length", "x-container-host"} & set(seen.headers)
    assert sorted(seen.headers["x-account-device"] for seen in puts) == ["a0", "a1", "a2"]


def test_more_account_servers_than_container_servers(make_cluster):
    cluster = make_cluster()
    cluster.rings["c"].primaries = cluster.rings["c"].primaries[:2]
    cluster.on("container", "PUT", Reply(201))
    assert cluster.request("PUT", "/v1/a/c")[0] == 201
    devices = sorted(seen.headers["x-account-device"] for seen in cluster.of("container", "PUT"))
    assert devices == ["a0,a2", "a1"]


def test_fewer_account_servers_than_container_servers(make_cluster):
    cluster = make_cluster()
    cluster.rings["a"].primaries = cluster.rings["a"].primaries[:2]
    cluster.on("container", "PUT", Reply(201))
    assert cluster.request("PUT", "/v1/a/c")[0] == 201
    assert sum("x-account-host" in seen.headers for seen in cluster.of("container", "PUT")) == 2


def test_non_owners_cannot_set_owner_headers(cluster):
    cluster.on("container", "PUT", Reply(201))
    sent = {"X-Container-Read": ".r:*", "X-Container-Meta-Temp-Url-Key": "k", "X-Container-Meta-A": "b"}
    cluster.request("PUT", "/v1/a/c", sent)
    for seen in cluster.of("container", "PUT"):
        assert "x-container-read" not in seen.headers
        assert "x-container-meta-temp-url-key" not in seen.headers
        assert seen.headers["x-container-meta-a"] == "b"


def test_removal_headers(cluster):
    cluster.on("container", "POST", Reply(204))
    sent = {
        "X-Remove-Container-Meta-Color": "x",
        "X-Remove-Container-Read": "x",
        "X-Container-Write": "a:b",
        "X-Remove-Container-Write": "x",
    }
    assert cluster.request("POST", "/v1/a/c", sent, environ=OWNER)[0] == 204
    for seen in cluster.of("container", "POST"):
        assert seen.headers["x-container-meta-color"] == ""
        assert seen.headers["x-container-read"] == ""
        assert seen.headers["x-container-write"] == "a:b"
        assert not any(name.startswith("x-remove") for name in seen.headers)
        assert "x-account-host" not in seen.headers


def test_acls_are_cleaned(cluster):
    cluster.on("container", "PUT", Reply(201))
    environ = {"swift.clean_acl": clean_acl, **OWNER}
    cluster.request("PUT", "/v1/a/c", {"X-Container-Read": ".referrer : *"}, environ=environ)
    assert {seen.headers["x-container-read"] for seen in cluster.of("container", "PUT")} == {".r:*"}
    status, headers, body = cluster.request("PUT", "/v1/a/c", {"X-Container-Write": ".r:*"}, environ=environ)
    assert (status, body) == (400, b"Referrers not allowed in write ACL: '.r:*'")
    assert headers["content-type"] == "text/html; charset=UTF-8"


@pytest.fixture
def three_policies():
    from swift.core.policy import PolicyCollection, ReplicatedPolicy

    return PolicyCollection(
        [
            ReplicatedPolicy(0, "gold", is_default=True),
            ReplicatedPolicy(1, "silver", aliases=["argent"]),
            ReplicatedPolicy(2, "lead", is_deprecated=True),
        ]
    )


@pytest.mark.parametrize(
    ("name", "status", "answer"),
    [
        ("SILVER", 201, "1"),
        ("argent", 201, "1"),
        ("nope", 400, b"Invalid X-Storage-Policy 'nope'"),
        ("lead", 400, b"Storage Policy 'lead' is deprecated"),
    ],
)
def test_policies_by_name(make_cluster, three_policies, name, status, answer):
    cluster = make_cluster(policies=three_policies)
    cluster.on("container", "PUT", Reply(201))
    got, _, body = cluster.request("PUT", "/v1/a/c", {"X-Storage-Policy": name})
    assert got == status
    if status == 201:
        assert {s.headers["x-backend-storage-policy-index"] for s in cluster.of("container", "PUT")} == {
            answer
        }
    else:
        assert body == answer


def test_the_number_of_containers_is_limited(make_cluster):
    cluster = make_cluster(max_containers_per_account="1", max_containers_whitelist="rich")
    cluster.on("container", "HEAD", Reply(404))
    cluster.on("container", "PUT", Reply(201))
    assert cluster.request("PUT", "/v1/a/c")[::2] == (403, b"Reached container limit of 1")
    assert cluster.request("PUT", "/v1/rich/c")[0] == 201
    cluster.on("container", "HEAD", Reply(204, CONTAINER_HEADERS))
    assert cluster.request("PUT", "/v1/a/there")[0] == 201


def test_a_container_name_that_is_too_long(cluster):
    status, headers, body = cluster.request("PUT", "/v1/a/" + "x" * 257)
    assert (status, body) == (400, b"Container name length of 257 longer than 256")
    assert headers["content-type"].startswith("text/html")


def test_delete(cluster):
    cluster.on("container", "DELETE", Reply(204))
    assert cluster.request("DELETE", "/v1/a/c")[0] == 204
    for seen in cluster.of("container", "DELETE"):
        assert seen.headers["x-account-device"]
        assert seen.headers["x-backend-storage-policy-default"] == "0"
    cluster.on("container", "DELETE", Reply(202))
    assert cluster.request("DELETE", "/v1/a/c")[0] == 404
    cluster.on("container", "DELETE", Reply(409))
    status, _, body = cluster.request("DELETE", "/v1/a/c")
    assert status == 409 and b"not empty" in body


@pytest.mark.parametrize("lost", [Reply(drop=True), Reply(507)])
def test_a_deletion_is_listed_although_its_server_was_lost(cluster, lost):
    """Its place is taken by a handoff, which never had the container and tells the account nothing."""
    cluster.on(
        "container", "DELETE", lambda seen: {0: lost, 1: Reply(204), 2: Reply(204)}.get(seen.node, Reply(404))
    )
    cluster.on("account", "PUT", Reply(204))
    assert cluster.request("DELETE", "/v1/a/c")[0] == 204
    request = next(seen for seen in cluster.of("container", "DELETE") if seen.node == 0)
    (row,) = cluster.of("account", "PUT")
    assert row.path == f"/{request.headers['x-account-device']}/7/a/c"
    assert row.headers["x-delete-timestamp"] == request.headers["x-timestamp"]
    assert row.headers["x-put-timestamp"] == "0000000000.00000"
    assert row.headers["x-object-count"] == row.headers["x-bytes-used"] == "0"


def test_a_refused_deletion_is_not_listed(cluster):
    cluster.on("container", "DELETE", [Reply(409), Reply(507), Reply(409), Reply(404)])
    assert cluster.request("DELETE", "/v1/a/c")[0] == 409
    assert not cluster.of("account", "PUT")


def test_the_highest_status_of_the_class_speaks(cluster):
    cluster.on("container", "PUT", [Reply(201), Reply(202), Reply(201)])
    assert cluster.request("PUT", "/v1/a/c")[0] == 202


def test_a_dead_primary_is_replaced(cluster):
    cluster.on("container", "PUT", Reply(201))
    cluster.backends[0].stop()
    assert cluster.request("PUT", "/v1/a/c")[0] == 201
    assert sorted(seen.node for seen in cluster.of("container", "PUT")) == [1, 2, 3]


def test_update_is_private(cluster):
    cluster.on("container", "UPDATE", Reply(202))
    status, headers, _ = cluster.request("UPDATE", "/v1/a/c", body=b"[]")
    assert status == 405
    assert "UPDATE" not in headers["allow"]
    sent = {"X-Backend-Allow-Private-Methods": "true", "X-Backend-Storage-Policy-Index": "0"}
    assert cluster.request("UPDATE", "/v1/a/c", sent, body=b"[1]")[0] == 202
    for seen in cluster.of("container", "UPDATE"):
        assert seen.body == b"[1]"
        assert seen.headers["x-backend-storage-policy-index"] == "0"


# -- accounts --------------------------------------------------------------------------------------------------------------


def test_put_into_a_new_account_makes_it(make_cluster):
    cluster = make_cluster(account_autocreate="true")
    cluster.on("account", "HEAD", Reply(404))
    cluster.on("account", "PUT", Reply(201))
    cluster.on("container", "PUT", Reply(201))
    sent = {"X-Timestamp": T0, "X-Account-Sysmeta-Owner": "me"}
    assert cluster.request("PUT", "/v1/AUTH_new/c", sent)[0] == 201
    puts = cluster.of("account", "PUT")
    assert sorted(seen.node for seen in puts) == [0, 1, 2]
    for seen in puts:
        assert seen.headers["x-timestamp"] > T0
        assert seen.headers["x-trans-id"] == seen.headers["x-openstack-request-id"]
        assert seen.headers["x-account-sysmeta-owner"] == "me"


def test_put_into_a_missing_account(make_cluster):
    cluster = make_cluster()
    cluster.on("account", "HEAD", Reply(404))
    assert cluster.request("PUT", "/v1/AUTH_new/c")[0] == 404
    cluster = make_cluster(account_autocreate="true")
    cluster.on("account", "HEAD", Reply(404))
    cluster.on("account", "PUT", Reply(403, {"X-Account-Status": "Deleted"}, b"Recently deleted"))
    assert cluster.request("PUT", "/v1/AUTH_new/c")[0] == 503


def test_an_account_that_could_be_made_is_empty(make_cluster):
    cluster = make_cluster(account_autocreate="true")
    cluster.on("account", "HEAD", Reply(404))
    cluster.on("account", "GET", Reply(404))
    status, headers, body = cluster.request("GET", "/v1/AUTH_new")
    assert (status, body) == (200, b"[]")
    assert headers["x-account-container-count"] == "0"
    assert headers["x-backend-fake-account-listing"] == "yes"
    assert cluster.request("HEAD", "/v1/AUTH_new")[0] == 200
    assert cluster.request("GET", "/v1/AUTH_new/c")[0] == 404


def test_a_deleted_account_is_gone(make_cluster):
    cluster = make_cluster(account_autocreate="true")
    cluster.on("account", "GET", Reply(404, {"X-Account-Status": "Deleted"}))
    status, headers, body = cluster.request("GET", "/v1/AUTH_old")
    assert (status, body, headers["x-account-status"]) == (410, b"", "Deleted")


def test_an_account_listing(cluster):
    sysmeta = {"X-Account-Sysmeta-Core-Access-Control": '{"read-only": ["x"], "admin": []}'}
    headers = {**ACCOUNT_HEADERS, **sysmeta, "X-Account-Meta-Temp-Url-Key": "k"}
    cluster.on("account", "GET", Reply(200, headers, b'[{"name": "c"}]'))
    status, headers, body = cluster.request("GET", "/v1/AUTH_test?marker=a&format=plain", environ=OWNER)
    assert (status, body) == (200, b'[{"name": "c"}]')
    assert headers["x-account-access-control"] == '{"admin":[],"read-only":["x"]}'
    assert headers["x-account-meta-temp-url-key"] == "k"
    assert "x-account-sysmeta-core-access-control" not in headers
    raw = {"X-Account-Sysmeta-Core-Access-Control": '{"admin": ["é"]}'.encode().decode("latin-1")}
    cluster.on("account", "HEAD", Reply(204, {**ACCOUNT_HEADERS, **raw}))
    headers = cluster.request("HEAD", "/v1/AUTH_test", environ=OWNER)[1]
    assert headers["x-account-access-control"] == '{"admin":["\\u00e9"]}'
    assert cluster.of("account", "GET")[0].query == "marker=a&format=json"
    headers = cluster.request("GET", "/v1/AUTH_test")[1]
    assert "x-account-access-control" not in headers and "x-account-meta-temp-url-key" not in headers


def test_account_writes(make_cluster):
    cluster = make_cluster(allow_account_management="true", account_autocreate="true")
    cluster.on("account", "PUT", Reply(201))
    cluster.on("account", "POST", Reply(204))
    cluster.on("account", "DELETE", Reply(204, {"X-Account-Status": "Deleted"}))
    assert cluster.request("PUT", "/v1/AUTH_test")[0] == 201
    sent = {"X-Account-Meta-A": "b", "X-Remove-Account-Meta-C": "x", "X-Auth-Token": "t"}
    assert cluster.request("POST", "/v1/AUTH_test", sent)[0] == 204
    for seen in cluster.of("account", "POST"):
        assert seen.headers["x-account-meta-a"] == "b"
        assert seen.headers["x-account-meta-c"] == ""
        assert "x-auth-token" not in seen.headers
    assert cluster.request("DELETE", "/v1/AUTH_test?x=y")[0] == 400
    status, headers, _ = cluster.request("DELETE", "/v1/AUTH_test")
    assert (status, headers["x-account-status"]) == (204, "Deleted")


def test_post_to_a_missing_account_makes_it(make_cluster):
    cluster = make_cluster(account_autocreate="true")
    made = []

    def post(seen):
        return Reply(204 if made else 404)

    cluster.on("account", "POST", post)
    cluster.on("account", "PUT", lambda seen: made.append(1) or Reply(201))
    assert cluster.request("POST", "/v1/AUTH_new", {"X-Account-Meta-A": "b"})[0] == 204


def test_accounts_are_not_managed_by_everybody(cluster):
    status, headers, _ = cluster.request("PUT", "/v1/AUTH_test")
    assert (status, headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_an_account_name_that_is_too_long(cluster, method):
    status, headers, body = cluster.request(method, "/v1/" + "x" * 257)
    assert status == 400
    if method != "HEAD":
        assert body == b"Account name length of 257 longer than 256"


def test_account_parameters(cluster):
    assert cluster.request("GET", "/v1/a?limit=10001")[::2] == (412, b"Maximum limit is 10000")
    status, headers, body = cluster.request("GET", "/v1/a?marker=%ff")
    assert (status, body) == (400, b'"marker" parameter not valid UTF-8')
    assert headers["content-type"].startswith("text/html")


def test_non_owners_cannot_remove_owner_headers_either(cluster):
    cluster.on("container", "POST", Reply(204))
    sent = {
        "X-Remove-Container-Read": "x",
        "X-Remove-Container-Meta-Temp-Url-Key": "x",
        "X-Remove-Container-Meta-A": "x",
    }
    cluster.request("POST", "/v1/a/c", sent)
    for seen in cluster.of("container", "POST"):
        assert "x-container-read" not in seen.headers
        assert "x-container-meta-temp-url-key" not in seen.headers
        assert seen.headers["x-container-meta-a"] == ""


def test_a_policy_that_the_container_does_not_have_is_named_as_the_reason(cluster):
    cluster.on("container", "PUT", Reply(409, {"X-Backend-Storage-Policy-Index": "1"}))
    status, _, body = cluster.request("PUT", "/v1/a/c", {"X-Storage-Policy": policies().default.name})
    assert status == 409 and b"another storage policy" in body
