import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.middleware.acl import (
    acls_from_account_info,
    clean_acl,
    format_acl_v2,
    parse_account_acl,
    parse_acl,
    referrer_allowed,
)


@pytest.mark.parametrize(
    ("given_text", "cleaned"),
    [
        ("bob , sue", "bob,sue"),
        (".referrer : *", ".r:*"),
        (".ref:*.example.com", ".r:.example.com"),
        (".r:-*.x.com,,a:b, .rlistings", ".r:-.x.com,a:b,.rlistings"),
        (
            ".r : * , .rlistings,,test2:tester2 , .referrer:*.ex.com,.ref:-bad.ex.com",
            ".r:*,.rlistings,test2:tester2,.r:.ex.com,.r:-bad.ex.com",
        ),
        ("", ""),
        (" , ", ""),
        (".r: - x.com", ".r:-x.com"),
    ],
)
def test_clean_acl_stores_the_short_form(given_text, cleaned):
    assert clean_acl("X-Container-Read", given_text) == cleaned


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("X-Container-Write", ".r:*", "Referrers not allowed in write ACL: '.r:*'"),
        ("X-Container-Read", ".r:", "No host/domain value after referrer designation in ACL: '.r:'"),
        ("X-Container-Read", ".r:-", "No host/domain value after referrer designation in ACL: '.r:-'"),
        ("X-Container-Read", ".r:*.", "No host/domain value after referrer designation in ACL: '.r:*.'"),
        ("X-Container-Read", "a,.x:y ", "Unknown designator '.x' in ACL: '.x:y'"),
    ],
)
def test_clean_acl_says_what_is_wrong(name, text, message):
    with pytest.raises(ValueError) as caught:
        clean_acl(name, text)
    assert str(caught.value) == message


@given(st.text(alphabet="abr.:*-, ", max_size=40))
def test_a_cleaned_acl_stays_as_it_is(text):
    try:
        cleaned = clean_acl("X-Container-Read", text)
    except ValueError:
        return
    assert clean_acl("X-Container-Read", cleaned) == cleaned


def test_parse_acl_separates_referrers_from_groups():
    assert parse_acl(".r:*,a%20b,.rlistings") == (["*"], ["a b", ".rlistings"])
    assert parse_acl(None) == ([], [])
    assert parse_acl("") == ([], [])


@pytest.mark.parametrize(
    ("referrer", "items", "allowed"),
    [
        ("http://a.example.com/x", [".example.com", "-a.example.com"], False),
        (None, ["*"], True),
        ("http://x", ["*", "-x"], False),
        ("", ["unknown"], True),
        ("http://example.com", [".example.com"], False),
        ("http://b.example.com:80/", [".example.com"], True),
        ("http://a", [], False),
        ("http://a", None, False),
        ("http://[::1", ["unknown"], True),
        ("http://x", ["-x", "*"], True),
    ],
)
def test_referrer_allowed(referrer, items, allowed):
    assert referrer_allowed(referrer, items) is allowed


def test_account_acl_forms():
    assert parse_account_acl("") == {}
    assert parse_account_acl(None) is None
    assert parse_account_acl("[1]") is None
    assert parse_account_acl("{") is None
    assert parse_account_acl("[" * 100000) is None
    assert format_acl_v2({"read-only": ["é"], "admin": ["b"]}) == '{"admin":["b"],"read-only":["\\u00e9"]}'


def test_acls_from_account_info():
    info = {"sysmeta": {"core-access-control": '{"admin":["a"]}'}}
    assert acls_from_account_info(info) == {"admin": ["a"], "read-write": [], "read-only": []}
    assert acls_from_account_info({"sysmeta": {}}) is None
    assert acls_from_account_info({"sysmeta": {"core-access-control": "{}"}}) is None
