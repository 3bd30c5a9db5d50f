"""Accounts over HTTP: counts, metadata, listings of containers, who gets at them."""

import json
import xml.etree.ElementTree

import pytest


def test_a_token_opens_the_own_account(user):
    answer = user("HEAD")
    assert answer.status in (200, 204)  # 200: made up, nobody has written to it yet
    for header in ("x-account-container-count", "x-account-object-count", "x-account-bytes-used"):
        assert answer.headers[header].isdecimal()
    assert answer.headers["x-trans-id"] == answer.headers["x-openstack-request-id"]
    assert answer.headers["x-timestamp"].count(".") == 1
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Auth-User": "test:tester", "X-Auth-Key": "wrong"}, 401),
        ({"X-Auth-User": "test:nobody", "X-Auth-Key": "testing"}, 401),
        ({"X-Auth-User": "tester", "X-Auth-Key": "testing"}, 401),
        ({"X-Auth-User": "", "X-Auth-Key": ""}, 401),
        ({"X-Auth-User": "test:tester"}, 401),
        ({"X-Storage-User": "test:tester", "X-Storage-Pass": "testing"}, 200),
        ({"X-Auth-User": "t\u00e9st:tester", "X-Auth-Key": "testing"}, 401),
    ],
)
def test_tokens_are_given_for_the_right_key_only(anybody, headers, status):
    answer = anybody.raw("GET", "/auth/v1.0", headers=headers)
    assert answer.status == status
    assert ("x-auth-token" in answer.headers) == (status == 200)


@pytest.mark.parametrize("path", ["/auth", "/auth/", "/auth/v1.0/x/y", "/auth/v2.0"])
def test_other_auth_addresses_are_client_errors(anybody, path):
    assert anybody.raw("GET", path).status in (400, 401, 404, 412)


@pytest.mark.parametrize("token", [None, "", "x", "AUTH_tk" + "0" * 32, "AUTH_" + "x" * 3000, "AUTH_ftk%00"])
def test_without_a_good_token_nothing_is_shown(anybody, token):
    headers = {} if token is None else {"X-Auth-Token": token}
    for method, path in (("GET", ""), ("HEAD", ""), ("PUT", "/c"), ("DELETE", "/c/o"), ("POST", "")):
        answer = anybody(method, path, account="AUTH_test", headers=headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith('Swift realm="')


def test_metadata(user, name):
    key = f"X-Account-Meta-{name}"
    assert user("POST", headers={key: "value with blanks"}).status == 204
    assert user("HEAD").headers[key.lower()] == "value with blanks"
    assert user("POST", headers={key: "é\u00ff".encode()}).status == 204
    assert user("HEAD").headers[key.lower()].encode("latin-1").decode() == "é\u00ff"
    assert user("POST", headers={f"X-Remove-Account-Meta-{name}": "x"}).status == 204
    assert key.lower() not in user("HEAD").headers


def test_containers_are_listed(user, name):
    for letter in "abc":
        assert user("PUT", f"/{name}-{letter}").status == 201
    names = user("GET", f"?prefix={name}").body.decode().splitlines()
    assert names == [f"{name}-{letter}" for letter in "abc"]
    assert user("GET", f"?prefix={name}&marker={name}-a&end_marker={name}-c").body.decode() == f"{name}-b\n"
    assert user("GET", f"?prefix={name}&limit=1").body.decode() == f"{name}-a\n"
    assert user("GET", f"?prefix={name}&reverse=on").body.decode().split() == names[::-1]
    rows = json.loads(user("GET", f"?prefix={name}&format=json").body)
    assert [row["name"] for row in rows] == names
    assert all(row["count"] == 0 and row["bytes"] == 0 and row["last_modified"] for row in rows)
    rows = json.loads(user("GET", f"?prefix={name[:4]}&delimiter=-&format=json").body)
    assert {"subdir"} == set(rows[0]) or "name" in rows[0]
    tree = xml.etree.ElementTree.fromstring(user("GET", f"?prefix={name}&format=xml").body)
    assert (tree.tag, tree.attrib["name"]) == ("account", "AUTH_test")
    assert [child.find("name").text for child in tree.findall("container")] == names
    for letter in "abc":
        assert user("DELETE", f"/{name}-{letter}").status == 204
    answer = user("GET", f"?prefix={name}")
    assert (answer.status, answer.body) == (204, b"")
    assert user("GET", f"?prefix={name}&format=json").body == b"[]"


def test_other_accounts_are_forbidden(clients):
    for user, account, status in (
        ("test2:tester2", "AUTH_test", 403),
        ("test:tester", "AUTH_test2", 403),
        ("test:tester3", "AUTH_test", 403),
        ("test:tester2", "AUTH_test", 204),
        ("admin:admin", "AUTH_test", 204),
    ):
        assert clients[user]("HEAD", account=account).status == status, (user, account)


def test_only_resellers_make_and_delete_accounts(clients, name):
    account = f"AUTH_{name}"
    assert clients["test:tester"]("PUT", account=account).status == 403
    assert clients["test:tester"]("DELETE").status == 403
    admin = clients["admin:admin"]
    # With account_autocreate, reading an account that was never written to is an empty listing.
    answer = admin("HEAD", account=account)
    assert (answer.status, answer.headers["x-account-container-count"]) == (200, "0")
    assert admin("PUT", account=account).status == 201
    assert admin("PUT", account=account).status == 202
    assert admin("POST", account=account, X_Account_Meta_A="b").status == 204
    assert admin("HEAD", account=account).headers["x-account-meta-a"] == "b"
    assert admin("DELETE", account=account).status == 204
    answer = admin("GET", account=account)
    assert answer.status == 410
    assert answer.headers["x-account-status"] == "Deleted"
    assert admin("PUT", "/c", account=account).status == 503


def test_account_acls(clients):
    owner, other = clients["test:tester"], clients["test2:tester2"]
    container = "/account-acl"
    try:
        owner("PUT", container)
        owner("PUT", f"{container}/o", b"x")
        assert other("GET", f"{container}/o", account="AUTH_test").status == 403
        acl = {"read-only": ["test2:tester2"]}
        assert owner("POST", X_Account_Access_Control=json.dumps(acl)).status == 204
        assert json.loads(owner("HEAD").headers["x-account-access-control"]) == acl
        assert other("GET", f"{container}/o", account="AUTH_test").status == 200
        answer = other("GET", account="AUTH_test")
        assert answer.status == 200
        assert "x-account-access-control" not in answer.headers
        assert other("PUT", f"{container}/o", b"y", account="AUTH_test").status == 403
        assert other("PUT", "/more", account="AUTH_test").status == 403
        acl = {"read-write": ["test2:tester2"]}
        assert owner("POST", X_Account_Access_Control=json.dumps(acl)).status == 204
        assert other("PUT", f"{container}/o", b"y", account="AUTH_test").status == 201
        assert other("PUT", "/account-acl-2", account="AUTH_test").status == 201
        assert other("POST", account="AUTH_test", X_Account_Meta_A="b").status == 403
        acl = {"admin": ["test2:tester2"]}
        assert owner("POST", X_Account_Access_Control=json.dumps(acl)).status == 204
        assert other("POST", account="AUTH_test", X_Account_Meta_A="").status == 204
        assert "x-account-access-control" in other("HEAD", account="AUTH_test").headers
    finally:
        assert owner("POST", X_Account_Access_Control="{}").status == 204
    assert other("HEAD", account="AUTH_test").status == 403
    owner("DELETE", "/account-acl-2")


@pytest.mark.parametrize("acl", ["x", "[]", '{"nobody": []}', '{"admin": "x"}', '{"admin": [1]}'])
def test_bad_account_acls_are_refused(user, acl):
    answer = user("POST", X_Account_Access_Control=acl)
    assert answer.status == 400
    assert b"X-Account-Access-Control" in answer.body
