"""Who may do what: container ACLs, users of several kinds, referrers."""

import pytest


def test_nobody_gets_at_a_private_container(clients, user, obj, container):
    for who in (None, "test:tester3", "test2:tester2"):
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            for path in (container, obj):
                body = b"x" if method == "PUT" else None
                answer = clients[who](method, path, body, account="AUTH_test")
                assert answer.status == (401 if who is None else 403), (who, method, path)
    assert user("GET", obj).body == b"0123456789"


def test_readable_by_anybody(anybody, user, obj, container):
    assert user("POST", container, X_Container_Read=".r:*").status == 204
    assert anybody("GET", obj, account="AUTH_test").body == b"0123456789"
    assert anybody("HEAD", obj, account="AUTH_test").status == 200
    assert anybody("GET", container, account="AUTH_test").status == 401
    for method in ("PUT", "POST", "DELETE"):
        assert anybody(method, obj, account="AUTH_test").status == 401
    assert user("POST", container, X_Container_Read=".r:*,.rlistings").status == 204
    assert anybody("GET", container, account="AUTH_test").body == b"o\n"
    assert user("POST", container, X_Remove_Container_Read="x").status == 204
    assert anybody("GET", obj, account="AUTH_test").status == 401


def test_referrers(anybody, user, obj, container):
    acl = ".r:.example.com,.r:-bad.example.com,.r:exact.org"
    assert user("POST", container, X_Container_Read=acl).status == 204
    for referrer, status in (
        ("http://www.example.com/page", 200),
        ("http://bad.example.com/page", 401),
        ("https://exact.org/", 200),
        ("https://not.exact.org/", 401),
        ("nonsense", 401),
        (None, 401),
    ):
        headers = {"Referer": referrer} if referrer else {}
        assert anybody("GET", obj, account="AUTH_test", headers=headers).status == status, referrer


@pytest.mark.parametrize("who", ["test:tester3", "test2:tester2"])
def test_users_with_a_grant(clients, user, obj, container, who):
    other = clients[who]
    assert user("POST", container, X_Container_Read=who).status == 204
    assert other("GET", obj, account="AUTH_test").body == b"0123456789"
    assert other("GET", container, account="AUTH_test").body == b"o\n"
    assert other("PUT", obj, b"x", account="AUTH_test").status == 403
    assert user("POST", container, X_Container_Write=who).status == 204
    assert other("PUT", obj, b"changed", account="AUTH_test").status == 201
    assert other("POST", obj, account="AUTH_test").status == 202
    assert user("GET", obj).body == b"changed"
    assert other("DELETE", obj, account="AUTH_test").status == 204
    # The container itself stays the owner's.
    assert other("POST", container, account="AUTH_test", X_Container_Meta_A="b").status == 403
    assert other("DELETE", container, account="AUTH_test").status == 403
    assert other("PUT", f"{container}-2", account="AUTH_test").status == 403
    headers = other("GET", container, account="AUTH_test").headers
    assert "x-container-read" not in headers and "x-container-write" not in headers
    assert user("HEAD", container).headers["x-container-write"] == who


def test_a_whole_account_as_grant(clients, user, obj, container):
    assert user("POST", container, X_Container_Read="test2").status == 204
    assert clients["test2:tester2"]("GET", obj, account="AUTH_test").status == 200
    assert clients["test:tester3"]("GET", obj, account="AUTH_test").status == 403


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (" bob , sue:x ", "bob,sue:x"),
        (".referrer : *", ".r:*"),
        (".ref:*.example.com", ".r:.example.com"),
        (".r:-*.x.com,,a:b, .rlistings", ".r:-.x.com,a:b,.rlistings"),
        (".r:", None),
        (".unknown:x", None),
        ("", ""),
    ],
)
def test_what_is_kept_of_an_acl(user, container, given, kept):
    answer = user("POST", container, X_Container_Read=given)
    if kept is None:
        assert answer.status == 400
        assert b"ACL" in answer.body
    else:
        assert answer.status == 204
        assert user("HEAD", container).headers.get("x-container-read", "") == kept


def test_no_referrers_in_write_acls(user, container):
    answer = user("POST", container, X_Container_Write=".r:*")
    assert answer.status == 400
    assert b"Referrers not allowed in write ACL" in answer.body


def test_resellers_everywhere(clients, user, obj):
    assert clients["admin:admin"]("GET", obj, account="AUTH_test").body == b"0123456789"
    assert clients["admin:admin"]("GET", "", account="AUTH_test").status == 200


def test_a_token_of_one_is_not_that_of_another(clients, user, obj):
    assert user("GET", obj, headers={"X-Auth-Token": clients["test2:tester2"].token}).status == 403
    assert user("GET", obj, headers={"X-Auth-Token": user.token + "x"}).status == 401
    assert user("GET", obj, headers={"X-Auth-Token": user.token[:-1]}).status == 401
    assert user("GET", obj, headers={"X-Auth-Token": "", "X-Storage-Token": user.token}).status in (200, 401)
