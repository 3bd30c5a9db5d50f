"""A bucket's object lock configuration, times of retention, and what there is without the filter."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.s3 import metadata
from swift.s3.errors import S3Error
from swift.s3.object_lock import document, sent


def configured(rule: str) -> dict[str, Any]:
    text = f"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}</ObjectLockConfiguration>"
    return document.parse(text.encode())


def by_default(inner: str) -> dict[str, Any]:
    return configured(f"<Rule><DefaultRetention>{inner}</DefaultRetention></Rule>")


def test_default_retention() -> None:
    assert document.default_retention(configured(""), 5.5) is None
    days = by_default("<Mode>GOVERNANCE</Mode><Days>2</Days>")
    assert document.default_retention(days, 5.5) == f"GOVERNANCE;{5 + 2 * 86400}"
    years = by_default("<Mode>COMPLIANCE</Mode><Years>1</Years>")
    assert document.default_retention(years, 0.0) == f"COMPLIANCE;{365 * 86400}"
    assert b"<DefaultRetention><Mode>COMPLIANCE</Mode><Years>1</Years></DefaultRetention>" in document.shown(
        years
    )


@pytest.mark.parametrize(
    "inner, code",
    [
        ("<Mode>GOVERNANCE</Mode>", "MalformedXML"),
        ("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>", "MalformedXML"),
        ("<Mode>STRICT</Mode><Days>1</Days>", "MalformedXML"),
        ("<Days>1</Days>", "MalformedXML"),
        ("<Mode>GOVERNANCE</Mode><Days>1.5</Days>", "MalformedXML"),
        ("<Mode>GOVERNANCE</Mode><Days>0</Days>", "InvalidArgument"),
        ("<Mode>GOVERNANCE</Mode><Days>-1</Days>", "InvalidArgument"),
        ("<Mode>GOVERNANCE</Mode><Days>36501</Days>", "InvalidArgument"),
        ("<Mode>GOVERNANCE</Mode><Years>101</Years>", "InvalidArgument"),
    ],
)
def test_what_is_no_rule(inner: str, code: str) -> None:
    with pytest.raises(S3Error) as caught:
        by_default(inner)
    assert caught.value.code == code


def test_dates() -> None:
    assert sent.parse_date("1970-01-02T00:00:01Z") == 86401
    assert sent.parse_date("1970-01-02T00:00:01.250Z") == 86401
    assert sent.parse_date("2028-02-29T00:00:00+00:00") == 1835395200
    for bad in (
        "",
        "2027-02-29T00:00:00Z",
        "2027-01-01",
        "2027-01-01T00:00:00",
        "2027-13-01T00:00:00Z",
        "1969-01-01T00:00:00Z",
    ):
        assert sent.parse_date(bad) is None


@given(st.text(max_size=40))
def test_no_text_is_too_odd_for_a_date(text: str) -> None:
    found = sent.parse_date(text)
    assert found is None or found >= 0


@pytest.mark.parametrize("value", ["GOVERNANCE;0", "COMPLIANCE;99999999999999", "", "rubbish"])
def test_whatever_is_kept_is_shown_or_not(value: str) -> None:
    shown = dict(metadata.shown_headers([("X-Object-Transient-Sysmeta-S3Api-Retention", value)]))
    told = {"": None, "GOVERNANCE;0": None}.get(value, "COMPLIANCE")
    assert shown.get("x-amz-object-lock-mode") == told


def test_without_the_filter_there_are_no_locks() -> None:
    """Nothing would hold them on the native API."""
    request: Any = SimpleNamespace(
        options=SimpleNamespace(object_lock=False), environ={"HTTP_X_AMZ_OBJECT_LOCK_LEGAL_HOLD": "ON"}
    )
    with pytest.raises(S3Error) as caught:
        sent.headers_of(request)
    assert caught.value.status == 501
    assert sent.headers_of(SimpleNamespace(environ={})) == {}  # type: ignore[arg-type]
