"""CORS of buckets: documents, rules, headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.s3 import cors
from swift.s3.errors import S3Error


def rule(**parts: object) -> dict[str, object]:
    return {
        "AllowedOrigin": ["*"],
        "AllowedMethod": ["GET"],
        "AllowedHeader": [],
        "ExposeHeader": [],
        **parts,
    }


def document(*rules: str) -> bytes:
    return f"<CORSConfiguration>{''.join(f'<CORSRule>{rule}</CORSRule>' for rule in rules)}</CORSConfiguration>".encode()


METHOD = "<AllowedMethod>GET</AllowedMethod>"
ORIGIN = "<AllowedOrigin>http://*.a</AllowedOrigin>"


def test_a_document_is_shown_as_it_was_given() -> None:
    data = document(
        "<ID>x</ID>"
        + ORIGIN
        + METHOD
        + "<AllowedMethod>PUT</AllowedMethod><AllowedHeader>x-*</AllowedHeader>"
        "<ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>30</MaxAgeSeconds>",
        "<AllowedOrigin>*</AllowedOrigin>" + METHOD,
    )
    found = cors.parse(data)
    assert cors.parse(cors.shown(found)) == found
    assert len(found["CORSRule"]) == 2


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"<CORSConfiguration/>", "MalformedXML"),
        (document(METHOD), "MalformedXML"),
        (document(ORIGIN), "MalformedXML"),
        (document(*[ORIGIN + METHOD] * 101), "MalformedXML"),
        (document(ORIGIN + "<AllowedMethod>PATCH</AllowedMethod>"), "InvalidRequest"),
        (document("<AllowedOrigin>*a*</AllowedOrigin>" + METHOD), "InvalidRequest"),
        (document(ORIGIN + METHOD + "<AllowedHeader>*-*</AllowedHeader>"), "InvalidRequest"),
        (document(ORIGIN + METHOD + "<ExposeHeader>x-*</ExposeHeader>"), "InvalidRequest"),
        (document(ORIGIN + METHOD + "<ExposeHeader>a&#13;&#10;X: y</ExposeHeader>"), "InvalidRequest"),
        (document(ORIGIN + METHOD + "<MaxAgeSeconds>x</MaxAgeSeconds>"), "MalformedXML"),
    ],
)
def test_documents_that_are_none(data: bytes, code: str) -> None:
    with pytest.raises(S3Error) as caught:
        cors.parse(data)
    assert caught.value.code == code


@given(st.text(max_size=9), st.text(max_size=9), st.text(max_size=9))
def test_a_star_stands_for_anything(start: str, middle: str, end: str) -> None:
    if "*" not in start + end:
        assert cors.matches(start + "*" + end, start + middle + end)
        assert cors.matches(start + end, start + end)


def test_a_star_does_not_let_both_sides_share_letters() -> None:
    assert not cors.matches("ab*ba", "aba")


def test_the_first_rule_that_fits_counts() -> None:
    found = {
        "CORSRule": [
            rule(AllowedOrigin=["http://a"], AllowedMethod=["PUT"]),
            rule(AllowedOrigin=["http://a"], AllowedHeader=["X-Amz-*"]),
            rule(ExposeHeader=["ETag"], MaxAgeSeconds="5"),
        ]
    }
    rules = found["CORSRule"]
    assert cors.rule_for(found, "http://a", "GET", ["x-amz-date"]) == (rules[1], "http://a")
    assert cors.rule_for(found, "http://a", "GET", ["other"]) is None
    assert cors.rule_for(found, "http://b", "GET") == (rules[2], "*")
    assert cors.rule_for(found, "http://b", "PUT") is None
    assert dict(cors.headers_of(rules[1], "http://a", "http://a", ["x-amz-date"])) == {
        "Access-Control-Allow-Origin": "http://a",
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET",
        "Access-Control-Allow-Headers": "x-amz-date",
        "Vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
    }
    open_to_all = dict(cors.headers_of(rules[2], "*", "http://b"))
    assert open_to_all["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in open_to_all
    assert open_to_all["Access-Control-Max-Age"] == "5"
