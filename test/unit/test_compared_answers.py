"""What counts as a difference between an answer of the reference and one of ours, and what a table of requests may hold."""

import pytest

from test.side_by_side.comparing import differences, found_in
from test.side_by_side.sending import Answer
from test.side_by_side.sides import ORDER
from test.side_by_side.table import Feature, Step, all_features


def answer(body=b"", status=200, reason="OK", **headers):
    return Answer(status, reason, [(name.replace("_", "-"), value) for name, value in headers.items()], body)


def what_differs(a, b, kept=({}, {})):
    return [difference.what for difference in differences(a, b, kept)]


def test_what_no_two_answers_share_is_no_difference():
    a = answer(b"tx0123456789abcdef01234-0000000001 at 1700000000.12345", Date="Mon, 30 Nov 2026 01:00:00 GMT", X_Trans_Id="txa")  # fmt: skip
    b = answer(b"txf123456789abcdef01234-0000000002 at 1700000001.54321", Date="Tue, 01 Dec 2026 01:00:00 GMT", X_Trans_Id="txb")  # fmt: skip
    assert not what_differs(a, b)
    assert what_differs(a, answer(b"at", Date="yesterday", X_Trans_Id="txa")) == ["header date", "body"]


def test_names_of_headers_have_no_case_and_some_lists_no_order():
    a = answer(Etag="x", Allow="GET, HEAD", X_Other="a, b")
    b = answer(ETAG="x", allow="HEAD, GET", x_other="b, a")
    assert what_differs(a, b) == ["header x-other"]


def test_json_and_xml_are_compared_by_what_they_say():
    kind = "application/json; charset=utf-8"
    assert not what_differs(answer(b'{"a": 1, "b": [2]}', Content_Type=kind), answer(b'{"b":[2],"a":1}', Content_Type=kind))  # fmt: skip
    assert what_differs(answer(b"[1, 2]", Content_Type=kind), answer(b"[2, 1]", Content_Type=kind)) == ["body"]  # fmt: skip
    kind = "application/xml"
    assert not what_differs(answer(b"<a b='1'/>", Content_Type=kind), answer(b'<a b="1"></a>', Content_Type=kind))  # fmt: skip


def test_the_length_counts_where_the_body_does_not_tell():
    assert what_differs(answer(Content_Length="0"), answer(Content_Length="1")) == ["header content-length"]
    assert what_differs(answer(Content_Length="0"), answer()) == ["header content-length"]
    assert what_differs(answer(b"a", Content_Length="1"), answer(b"ab", Content_Length="2")) == ["body"]


def test_values_that_were_kept_are_each_sides_own():
    a, b = answer(b"version abcdef"), answer(b"version ghijkl")
    assert what_differs(a, b) == ["body"]
    assert not what_differs(a, b, ({"version": "abcdef"}, {"version": "ghijkl"}))


def test_where_a_kept_value_is():
    seen = answer(b'{"rows": [{"name": "x"}]}', Etag="abc")
    assert found_in(seen, "header:etag") == "abc"
    assert found_in(seen, "json:rows.0.name") == "x"
    assert found_in(seen, "json:rows.1.name") == ""
    assert found_in(seen, "body:name.: .(.)") == "x"
    with pytest.raises(ValueError):
        found_in(seen, "elsewhere:x")


def test_every_table_is_found_and_can_be_sent():
    features = all_features()
    assert {"accounts", "containers", "objects", "listings", "access"} <= {one.name for one in features}
    for feature in features:
        assert isinstance(feature, Feature)
        assert feature.account.replace("-", "").isalnum()
        assert set(feature.filters) <= set(ORDER)
        assert all(isinstance(step, Step) for step in feature.steps)
    with pytest.raises(ValueError):
        all_features(["bogus"])
