"""Lifecycle: documents, and what is due when."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.s3.errors import S3Error
from swift.s3.lifecycle import document
from swift.s3.lifecycle.rules import DAY, Item, Rules, Version, doomed


def xml(*rules: str) -> bytes:
    return f"<LifecycleConfiguration>{''.join(f'<Rule>{rule}</Rule>' for rule in rules)}</LifecycleConfiguration>".encode()


ON = "<Status>Enabled</Status>"
ALL = "<Filter/>"
DAYS = "<Expiration><Days>3</Days></Expiration>"


def test_a_document_is_shown_as_it_was_given() -> None:
    found = document.parse(
        xml(
            f"<ID>a</ID>{ON}{ALL}{DAYS}",
            f"<ID>b</ID>{ON}<Prefix>p</Prefix><Expiration><Date>2026-01-02T00:00:00Z</Date></Expiration>",
            f"<ID>c</ID>{ON}<Filter><And><Prefix>x</Prefix><Tag><Key>k</Key><Value>v</Value></Tag>"
            f"<Tag><Key>l</Key><Value/></Tag><ObjectSizeGreaterThan>0</ObjectSizeGreaterThan></And></Filter>{DAYS}",
            f"<ID>d</ID><Status>Disabled</Status><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>{DAYS}",
            f"<ID>e</ID>{ON}{ALL}<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>"
            "<NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>"
            "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
            f"<ID>f</ID>{ON}{ALL}<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
        )
    )
    assert document.parse(document.shown(found)) == found
    assert [rule["ID"] for rule in found["Rule"]] == list("abcdef")


def test_rules_without_an_id_get_one() -> None:
    rules = document.parse(xml(ON + ALL + DAYS, ON + ALL + DAYS))["Rule"]
    assert rules[0]["ID"] and rules[0]["ID"] != rules[1]["ID"]


TAGGED = "<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"<LifecycleConfiguration/>", "MalformedXML"),
        (xml(*[ON + ALL + DAYS] * 1001), "MalformedXML"),
        (xml("<Status>On</Status>" + ALL + DAYS), "MalformedXML"),
        (xml(ALL + DAYS), "MalformedXML"),
        (xml(ON + DAYS), "MalformedXML"),
        (xml(ON + ALL + "<Prefix/>" + DAYS), "MalformedXML"),
        (
            xml(ON + "<Filter><Prefix>a</Prefix><Tag><Key>k</Key><Value/></Tag></Filter>" + DAYS),
            "MalformedXML",
        ),
        (xml(ON + "<Filter><And><Prefix>a</Prefix></And></Filter>" + DAYS), "MalformedXML"),
        (xml(ON + ALL), "InvalidRequest"),
        (xml(f"<ID>a</ID>{ON}{ALL}{DAYS}", f"<ID>a</ID>{ON}{ALL}{DAYS}"), "InvalidArgument"),
        (xml(f"<ID>{'a' * 256}</ID>{ON}{ALL}{DAYS}"), "InvalidArgument"),
        (xml(ON + ALL + "<Expiration><Days>0</Days></Expiration>"), "InvalidArgument"),
        (xml(ON + ALL + "<Expiration><Days>-1</Days></Expiration>"), "InvalidArgument"),
        (xml(ON + ALL + "<Expiration><Days>999999999999</Days></Expiration>"), "InvalidArgument"),
        (xml(ON + ALL + "<Expiration><Days>x</Days></Expiration>"), "MalformedXML"),
        (xml(ON + ALL + "<Expiration/>"), "MalformedXML"),
        (xml(ON + ALL + "<Expiration><Date>2026-01-02T00:00:01Z</Date></Expiration>"), "InvalidArgument"),
        (xml(ON + ALL + "<Expiration><Date>2026-13-02</Date></Expiration>"), "MalformedXML"),
        (
            xml(
                ON
                + ALL
                + "<Expiration><Days>1</Days><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"
            ),
            "MalformedXML",
        ),
        (
            xml(
                ON
                + TAGGED
                + "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"
            ),
            "InvalidRequest",
        ),
        (
            xml(
                ON
                + TAGGED
                + "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
            ),
            "InvalidRequest",
        ),
        (
            xml(
                ON
                + "<Filter><And><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>5</ObjectSizeLessThan></And></Filter>"
                + DAYS
            ),
            "InvalidRequest",
        ),
        (
            xml(ON + ALL + "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"),
            "InvalidStorageClass",
        ),
    ],
)
def test_documents_that_are_none(data: bytes, code: str) -> None:
    with pytest.raises(S3Error) as caught:
        document.parse(data)
    assert caught.value.code == code


def rules(*found: dict[str, Any], day: float = DAY) -> Rules:
    return Rules(
        {
            "Rule": [
                {"ID": f"r{at}", "Status": "Enabled", "Filter": {}, **rule} for at, rule in enumerate(found)
            ]
        },
        day,
    )


@given(st.floats(0, 4e9), st.integers(1, 5000))
def test_days_end_at_the_next_midnight(created: float, days: int) -> None:
    due = rules({"Expiration": {"Days": days}}).expiry(Item("k", 1, created))
    assert due is not None
    assert due.time % DAY == 0
    assert created + days * DAY <= due.time < created + (days + 1) * DAY


def test_days_of_another_length_are_not_rounded() -> None:
    due = rules({"Expiration": {"Days": 2}}, day=10.0).expiry(Item("k", 1, 100.5))
    assert due is not None and due.time == 120.5


def test_the_earliest_rule_counts_and_filters_do() -> None:
    found = rules(
        {"Expiration": {"Days": 9}},
        {"Prefix": "a", "Filter": {}, "Expiration": {"Days": 3}},
        {"Filter": {"And": {"Prefix": "b", "ObjectSizeGreaterThan": 10}}, "Expiration": {"Days": 2}},
        {"Filter": {"Tag": {"Key": "k", "Value": "v"}}, "Expiration": {"Days": 1}},
        {"Status": "Disabled", "Expiration": {"Days": 1}},
    )

    def rule_of(*args: Any) -> str | None:
        due = found.expiry(Item(*args))
        return due.rule if due else None

    assert rule_of("x", 1, 0.0) == "r0"
    assert rule_of("abc", 1, 0.0) == "r1"
    assert rule_of("b", 10, 0.0) == "r0"
    assert rule_of("b", 11, 0.0) == "r2"
    assert rule_of("b", 11, 0.0, {"k": "v", "l": ""}) == "r3"
    assert rule_of("b", 11, 0.0, {"k": "w"}) == "r2"
    assert found.prefix == ""
    assert found.may_need_tags(Item("x", 1, 0.0), DAY)
    assert not found.may_need_tags(Item("x", 1, 0.0), DAY - 1)


def test_what_all_names_begin_with() -> None:
    expiry = {"Expiration": {"Days": 1}}
    assert rules({"Prefix": "logs/a", **expiry}, {"Prefix": "logs/b", **expiry}).prefix == "logs/"
    assert rules({"Prefix": "logs", **expiry}).prefix == "logs"
    assert rules({"Prefix": "a", **expiry}, {**expiry}).prefix == ""


def test_noncurrent_versions_count_from_when_they_were_superseded() -> None:
    found = rules(
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 1}}, day=10.0
    )
    versions = [Version(str(at), 100.0 - at, 1, False) for at in range(5)]
    # superseded at 100, 99, 98, 97; the newest noncurrent one is kept
    assert [dead.at for dead in doomed(found, "k", versions, 107.9)] == [4]
    assert [dead.at for dead in doomed(found, "k", versions, 200.0)] == [2, 3, 4]


def test_delete_markers_go_only_if_they_are_alone() -> None:
    found = rules({"Expiration": {"ExpiredObjectDeleteMarker": "true"}}, {"Expiration": {"Days": 1}}, day=1.0)
    marker, version = Version("2", 50.0, 0, True), Version("1", 40.0, 1, False)
    assert [dead.why for dead in doomed(found, "k", [marker], 1e9)] == ["marker"]
    assert doomed(found, "k", [marker, version], 1e9) == []
    assert [dead.why for dead in doomed(found, "k", [version], 1e9)] == ["expired"]


def test_nothing_is_due_before_tags_are_known() -> None:
    found = rules({"Filter": {"Tag": {"Key": "k", "Value": "v"}}, "Expiration": {"Days": 1}}, day=1.0)
    assert [dead.needs_tags for dead in doomed(found, "x", [Version("1", 1.0, 1, False)], 5.0)] == [True]
    assert doomed(found, "x", [Version("1", 1.0, 1, False)], 1.5) == []


def test_uploads_go() -> None:
    found = rules({"Prefix": "a", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}}, day=10.0)
    due = found.abort("abc", 100.0)
    assert due is not None and due.time == 120.0
    assert found.abort("b", 100.0) is None
    assert found.has_aborts and not found.has_expiries
