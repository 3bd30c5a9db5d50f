"""What stands behind the ETag in a listing's rows: read, written, and left as it is by who has nothing there."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.middleware.listing_hash import changed_listing, make_hash, parse_hash

WORD = st.text(
    st.characters(codec="ascii", exclude_characters='";=\\', exclude_categories=("C", "Z")), min_size=1
)


@given(etag=WORD, parameters=st.lists(st.tuples(WORD, WORD)))
def test_what_is_made_is_read(etag, parameters):
    assert parse_hash(make_hash(etag, parameters)) == (etag, parameters)


@given(st.text(max_size=200))
def test_nothing_ends_it(text):
    etag, parameters = parse_hash(text)
    assert len(etag) <= len(text) and len(parameters) <= text.count("=")


@pytest.mark.parametrize(
    "text, etag, parameters",
    [
        ("abc", "abc", []),
        ("", "", []),
        ("abc;", "abc", []),
        ("abc; a=b", "abc", [("a", "b")]),
        ('abc ;a= "b;c=d" ; e=f', "abc", [("a", "b;c=d"), ("e", "f")]),
        ('abc; a="b\\"c"', "abc", [("a", 'b"c')]),
        ("abc; symlink_target=c/%E2%98%83; x", "abc", [("symlink_target", "c/%E2%98%83")]),
    ],
)
def test_odd_forms(text, etag, parameters):
    assert parse_hash(text) == (etag, parameters)


def test_listings_are_read_only_where_something_is_in_them():
    def never(row):
        raise AssertionError(row)

    for data in (b"[]", b'[{"hash": "a", "name": "mark="}]', b"mark= no JSON", b'{"mark=": 1}', b"[1, null]"):
        assert changed_listing(data, b"mark=", never) is data
    data = json.dumps([{"hash": "a; other=1", "name": "mark="}]).encode()
    assert changed_listing(data, b"mark=", lambda row: False) is data
    changed = changed_listing(data, b"mark=", lambda row: row.update(hash="b") or True)
    assert json.loads(changed) == [{"hash": "b", "name": "mark="}]
