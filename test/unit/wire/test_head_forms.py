"""Heads that look alike are read by a pattern, and say what they would say line by line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.wire import head_forms, parser
from swift.wire.head_forms import LEAST_BETWEEN, LOOK_EVERY, SEEN_OFTEN, Forms
from swift.wire.parser import BadHead, HeadLimits, parse_head

LIMITS = HeadLimits()
BASE = {"CONTENT_TYPE": "", "SERVER_NAME": "h"}
ROW = (
    b"PUT /d/1/a/c/o%20x HTTP/1.1\r\nHost: h:6201\r\nX-Size: 12\r\nX-Timestamp: 1.00000\r\nContent-Type: a/b\r\n"
    b"ETag: abc\r\nX-Trans-Id: tx1\r\n\r\n"
)
PART = [b"PUT ", b"/d/1/a/c/o", b" HTTP/1.1", b"\r\n", b": ", b" ", b"\t", b"?", b"Host: h", b"X-Size: 12", b"x-size: 12", b"X-Size:",
        b"X-Size: 12 ", b"ETag: ", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"\0", b"\n", b"\xe9", b"X_Size: 1", b"x-amz-a_b: 1",
        b"Content-Type: c/d", b"\r\n\r\n"]  # fmt: skip


@pytest.fixture
def forms(monkeypatch):
    made = Forms()
    monkeypatch.setattr(parser, "FORMS", made)
    return made


def result(head, limits=LIMITS):
    try:
        return parse_head(head, BASE, limits)
    except BadHead as refused:
        return refused.status, refused.reason, refused.explanation, refused.bare, refused.plain


def learn(*heads):
    """Have them come often enough to become forms."""
    for head in heads:
        for _ in range(LEAST_BETWEEN + LOOK_EVERY * SEEN_OFTEN):
            parse_head(head, BASE, LIMITS)


def known(forms):
    return [form.names for kind in forms._known.values() for form in kind]


def test_what_recurs_becomes_a_form_and_means_the_same(forms):
    before = result(ROW)
    learn(ROW)
    assert known(forms) == [("Host", "X-Size", "X-Timestamp", "Content-Type", "ETag", "X-Trans-Id")]
    assert forms.find(ROW.decode()) is not None
    assert result(ROW) == before
    assert (
        before["PATH_INFO"] == "/d/1/a/c/o x"
        and before["HTTP_ETAG"] == "abc"
        and before["CONTENT_TYPE"] == "a/b"
    )


def test_forms_of_a_method_with_as_many_headers_stand_beside_each_other(forms):
    heads = [b"GET /a HTTP/1.1\r\nHost: h\r\nX-%c: 1\r\n\r\n" % letter for letter in b"abcd"]
    before = [result(head) for head in heads]
    learn(*heads)
    assert len(known(forms)) == head_forms.MOST_OF_A_KIND
    assert [result(head) for head in heads] == before
    assert known(forms)[0][1] == "X-d"


@pytest.mark.parametrize(
    "lines", [b"X-A: 1\r\nX-A: 2\r\n", b"X-A: 1\r\nx-a: 2\r\n", b"X_A: 1\r\n", b"x-amz-meta_a: 1\r\n"]
)
def test_what_is_not_one_value_for_one_name_is_never_a_form(forms, lines):
    head = b"GET /a HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n"
    before = result(head)
    learn(head)
    assert known(forms) == []
    assert result(head) == before


def test_limits_hold_whatever_the_form(forms):
    learn(ROW)
    assert result(ROW, HeadLimits(header_count=6))["HTTP_ETAG"] == "abc"
    assert result(ROW, HeadLimits(header_count=5))[0] == 431
    assert result(ROW, HeadLimits(request_line=20))[0] == 414
    assert result(ROW, HeadLimits(header_line=10))[0] == 400
    length = ROW.replace(b"X-Size", b"Content-Length")
    learn(length)
    assert result(length)["CONTENT_LENGTH"] == "12"
    assert result(length.replace(b": 12", b": 1x"))[0] == 400
    coded = ROW.replace(b"X-Size: 12", b"Transfer-Encoding: chunked")
    learn(coded)
    assert result(coded)["HTTP_TRANSFER_ENCODING"] == "chunked"
    assert result(coded.replace(b"chunked", b"gzip, chunked"))[0] == 501
    assert result(coded.replace(b"HTTP/1.1", b"HTTP/1.0"))[0] == 400


def test_what_is_remembered_is_bounded(forms):
    for number in range(40 * LEAST_BETWEEN):
        name = b"x" * (number // LOOK_EVERY // (SEEN_OFTEN + 1) % 1500 + 1)
        head = b"M%d /a HTTP/1.1\r\nHost: h\r\n%s: 1\r\n\r\n" % (number // (LOOK_EVERY * 8) % 200, name)
        parse_head(head, BASE, LIMITS)
    assert len(forms._known) <= head_forms.MOST_KINDS and len(forms._noted) <= head_forms.MOST_KINDS
    assert 0 < len(known(forms)) <= 40
    many = (
        b"GET /a HTTP/1.1\r\n"
        + b"".join(b"X-%d: 1\r\n" % n for n in range(head_forms.MOST_HEADERS + 1))
        + b"\r\n"
    )
    learn(many)
    assert not any(len(names) > head_forms.MOST_HEADERS for names in known(forms))


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(ROW)),
            st.integers(0, 12),
            st.one_of(st.sampled_from(PART), st.binary(max_size=4)),
        ),
        max_size=4,
    )
)
def test_a_head_says_the_same_with_and_without_forms(changes):
    head = ROW
    for at, taken, put in changes:
        head = head[:at] + put + head[at + taken :]
    kept = parser.FORMS
    try:
        parser.FORMS = Forms()
        expected = result(head)
        learn(ROW, ROW.replace(b"X-Size: 12\r\n", b""), ROW.replace(b"X-Size", b"Content-Length"))
        assert result(head) == expected
    finally:
        parser.FORMS = kept
