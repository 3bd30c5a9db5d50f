"""S3's own ACLs: forms, and whom they let (spec s3.md 6.3, 8.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.s3.acl import forms
from swift.s3.acl.forms import Acl, Grant
from swift.s3.errors import S3Error

USERS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(
    lambda name: name not in (forms.ALL_USERS, forms.AUTHENTICATED_USERS, forms.LOG_DELIVERY)
)
GRANTS = st.builds(
    Grant, USERS | st.sampled_from(["AllUsers", "LogDelivery"]), st.sampled_from(forms.PERMISSIONS)
)
ACLS = st.builds(lambda owner, grants: Acl(owner, tuple(grants)), USERS, st.lists(GRANTS, max_size=5))


def test_the_stored_form_is_the_references():
    acl = forms.of_canned("public-read", "test:tester", "test:tester")
    assert acl.stored() == (
        '{"Owner":"test:tester","Grant":[{"Permission":"READ","Grantee":"AllUsers"},'
        '{"Permission":"FULL_CONTROL","Grantee":"test:tester"}]}'
    )


@given(ACLS)
def test_what_is_stored_or_shown_is_read_again(acl):
    assert forms.of_stored(acl.stored()) == acl
    assert acl.stored().isascii()
    assert forms.of_document(acl.document()) == acl


@given(
    st.text(max_size=60)
    | st.sampled_from(['{"Owner":1}', '{"Grant":[1]}', "[" * 5000, '{"Owner":"u","Grant":{}}'])
)
def test_what_is_no_acl_lets_nobody(text):
    acl = forms.of_stored(text)
    assert acl is None or acl == forms.NOBODYS


@pytest.mark.parametrize("value", [None, "", "{}", "[]"])
def test_nothing_stored_lets_nobody_but_where_that_is_allowed(value):
    acl = forms.of_stored(value)
    assert not acl.lets("test:tester", "READ")
    assert acl.lets("test:tester", "READ", allow_no_owner=True)


def test_whom_it_lets():
    acl = Acl("o", (Grant("r", "READ"), Grant("f", "FULL_CONTROL"), Grant("AuthenticatedUsers", "READ_ACP")))
    assert all(acl.lets("o", wanted) for wanted in (*forms.PERMISSIONS, "OWNER"))
    assert acl.lets("r", "READ") and not acl.lets("r", "WRITE") and not acl.lets("r", "OWNER")
    assert acl.lets("f", "WRITE_ACP") and not acl.lets("f", "OWNER")
    assert acl.lets("x", "READ_ACP") and not acl.lets(None, "READ_ACP") and not acl.lets(None, "READ")
    assert Acl("o", (Grant("AllUsers", "READ"),)).lets(None, "READ")


@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                'id="u"',
                'uri="http://acs.amazonaws.com/groups/global/AllUsers"',
                "id=u",
                ",",
                " ",
                "=",
                '"',
                "id",
            ]
        ),
        max_size=6,
    ).map("".join)
)
def test_grants_in_headers_are_read_or_refused(text):
    try:
        acl = forms.of_headers({"x-amz-grant-read": text}, "o", "o")
    except S3Error as error:
        assert error.status in (400, 501)
    else:
        assert acl.owner == "o" and acl.grants


def test_grants_in_headers():
    uri = "http://acs.amazonaws.com/groups/global/AllUsers"
    acl = forms.of_headers(
        {"x-amz-grant-read": f'id="a,b", uri="{uri}"', "x-amz-grant-write-acp": "id=c"}, "o", "o"
    )
    assert acl.grants == (Grant("a,b", "READ"), Grant("AllUsers", "READ"), Grant("c", "WRITE_ACP"))


@pytest.mark.parametrize(
    "headers", [{"x-amz-grant-read": 'id="AllUsers"'}, {"x-amz-grant-read": 'uri="x"'}, {"x-amz-acl": "x"}]
)
def test_nobody_becomes_a_group_by_a_name(headers):
    with pytest.raises(S3Error) as raised:
        forms.of_headers(headers, "o", "o")
    assert raised.value.code == "InvalidArgument"
