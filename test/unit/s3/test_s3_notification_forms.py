"""Notification configurations, the rows of the queue, and records."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.core.timestamp import Timestamp
from swift.s3 import bucket_documents
from swift.s3.errors import S3Error
from swift.s3.notifications import document, queue, records
from swift.s3.notifications.events import EXPIRED, FIRED, WORDS, Event
from swift.s3.notifications.expirations import Expirations
from swift.s3.notifications.names import target_of
from swift.s3.notifications.rules import Rules

SOURCE = records.Source("here", "test", "b", "test:tester", "10.0.0.1", "tx1")


def xml(*configurations: str) -> bytes:
    inner = "".join(configurations)
    return f'<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}</NotificationConfiguration>'.encode()


def queued(*events: str, name: str = "hook", id: str = "", **rules: str) -> str:
    parts = f"<Id>{id}</Id>" if id else ""
    parts += f"<Queue>arn:aws:sqs:us-east-1::{name}</Queue>" + "".join(
        f"<Event>{event}</Event>" for event in events
    )
    if rules:
        inner = "".join(
            f"<FilterRule><Name>{key}</Name><Value>{value}</Value></FilterRule>"
            for key, value in rules.items()
        )
        parts += f"<Filter><S3Key>{inner}</S3Key></Filter>"
    return f"<QueueConfiguration>{parts}</QueueConfiguration>"


def parse(*configurations: str) -> dict[str, Any]:
    return document.parse(xml(*configurations), ("hook", "other"))


def told(*configurations: str) -> S3Error:
    with pytest.raises(S3Error) as caught:
        parse(*configurations)
    return caught.value


def test_what_is_read_is_what_is_shown() -> None:
    found = parse(
        queued("s3:ObjectCreated:*", id="one", prefix="a&amp;", suffix="ü"),
        queued("s3:ObjectRemoved:Delete", name="other"),
    )
    assert document.parse(document.shown(found), ("hook", "other")) == found
    assert document.parse(xml(), ()) == {}
    assert document.shown(None).endswith(
        b'<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>'
    )


@pytest.mark.parametrize(
    ("configurations", "code", "text"),
    [
        ([queued("s3:ObjectCreated:*", name="nobody")], "InvalidArgument", "Unable to validate"),
        ([queued("s3:ObjectWatched:Get")], "InvalidArgument", "not supported"),
        ([queued("s3:ObjectCreated:*", middle="x")], "InvalidArgument", "either prefix or suffix"),
        ([queued("s3:ObjectCreated:*", prefix="x" * 1025)], "InvalidArgument", "1024 bytes"),
        ([queued("s3:ObjectCreated:*", id="i"), queued("s3:ObjectRemoved:*", id="i")], "InvalidArgument", "IDs must be unique"),
        ([queued("s3:ObjectCreated:*", id="x" * 256)], "InvalidArgument", "255"),
        ([queued("s3:ObjectCreated:*", prefix="a"), queued("s3:ObjectCreated:Put", prefix="ab")], "InvalidArgument", "overlap"),
        ([queued("s3:ObjectCreated:*", suffix=".jpg"), queued("s3:ObjectCreated:Put", prefix="ab")], "InvalidArgument", "overlap"),
        ([queued("s3:ObjectCreated:Put", prefix=f"{number:03d}") for number in range(101)], "InvalidArgument", "100"),
        (["<EventBridgeConfiguration/>"], "NotImplemented", "EventBridge"),
        (["<QueueConfiguration><Queue>arn:aws:sqs:x::hook</Queue></QueueConfiguration>"], "MalformedXML", ""),
        (["<Other/>"], "MalformedXML", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(configurations: list[str], code: str, text: str) -> None:
    error = told(*configurations)
    assert error.code == code and text in error.message


def test_what_does_not_overlap_may_stand_together() -> None:
    found = parse(
        queued("s3:ObjectCreated:*", prefix="a", suffix=".jpg"),
        queued("s3:ObjectCreated:Put", prefix="b"),
        queued("s3:ObjectCreated:Put", prefix="a", suffix=".png"),
        queued("s3:ObjectRemoved:*", prefix="a", suffix=".jpg"),
    )
    rules = Rules(found)
    assert [rule.target for rule in rules.wanted("s3:ObjectCreated:Copy", "a/1.jpg")] == ["hook"]
    assert not list(rules.wanted("s3:ObjectCreated:Copy", "b/1.jpg"))
    assert not list(rules.wanted("s3:ObjectTagging:Put", "a/1.jpg"))


def test_wildcards_mean_their_family() -> None:
    assert WORDS["s3:ObjectRemoved:*"] == {"s3:ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated"}
    assert all(name in WORDS for name in FIRED)
    assert "s3:*" not in WORDS and "s3:ObjectAcl:*" in WORDS


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:sqs:us-east-1:123:hook", "hook"),
        ("arn:aws:sns:::a-b_c", "a-b_c"),
        ("arn:aws:lambda:us-east-1:1:function:hook", "hook"),
        ("arn:minio:sqs::PRIMARY:webhook", "PRIMARY"),
        ("http://169.254.169.254/", ""),
        ("arn:aws:sqs:us-east-1::http://evil/", ""),
        ("arn:aws:sqs:us-east-1::../x", ""),
        ("hook", ""),
        ("", ""),
    ],
)
def test_an_arn_is_only_a_name(arn: str, name: str) -> None:
    assert target_of(arn) == name


@given(st.text(max_size=1024), st.text(max_size=200), st.integers(0, 2**60))
def test_a_message_comes_back_as_it_was(key: str, user: str, size: int) -> None:
    made = records.record(
        Event("s3:ObjectCreated:Put", key, size, "etag"), SOURCE._replace(user_id=user), "id", Timestamp.now()
    )
    try:
        row = queue.row("name", {"Records": [made]})
    except ValueError:
        assert len(key) > 200  # of the rarest letters, more than any object's name may have
        return
    assert queue.message_of(row["content_type"]) == {"Records": [made]}
    assert len(row["content_type"]) <= queue.MOST_BYTES and row["content_type"].isascii()


@pytest.mark.parametrize(
    "text",
    ["", "x", "s3event/1;", "s3event/1;!!", "s3event/1;eJwrSy0qzszPAwANjQNn", "s3event/1;eJxLTEpOAQAD2AGL"],
)
def test_what_is_no_message_is_told_from_one(text: str) -> None:
    with pytest.raises(ValueError):
        queue.message_of(text)


@pytest.mark.parametrize(
    ("account", "owner"), [("AUTH_test", "test"), ("AUTH_my_team", "my_team"), ("team", "team")]
)
def test_expirations_are_told_of_as_the_owners(account: str, owner: str) -> None:
    sent: list[list[dict[str, Any]]] = []

    class Client:
        def make_path(self, *parts: str) -> str:
            return "/".join(parts)

        def make_request(self, method: str, path: str, headers: Any, statuses: Any, body: bytes) -> Any:
            sent.append(json.loads(body))
            return SimpleNamespace(app_iter=[])

    kept = {"QueueConfiguration": [{"Id": "i", "Queue": "arn:aws:sqs:::hook", "Event": [EXPIRED]}]}
    headers = {
        "x-container-sysmeta-s3api-conf-notification": bucket_documents.packed(json.dumps(kept).encode())
    }
    made: Any = Client()
    told = Expirations(made, account, "b", "", headers, lambda at: None, lambda *args: None)
    told.tell(EXPIRED, "k")
    record = queue.message_of(sent[0][0]["content_type"])["Records"][0]
    assert record["s3"]["bucket"]["ownerIdentity"] == {"principalId": owner}


@pytest.mark.parametrize("ahead", [-5, 0, 5])
def test_what_is_delivered_is_gone_whatever_the_clocks_say(ahead: int) -> None:
    name = queue.row_name(Timestamp(Timestamp.now(), delta=ahead * 100_000), "tx", 0)
    row = queue.row(name, {})
    assert queue.taken_away(name)["created_at"] > row["created_at"]


@given(
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), st.text(max_size=30), st.floats(0, 9_000_000_000)
)
def test_containers_of_the_queue_say_what_they_are_of(target: str, bucket: str, moment: float) -> None:
    place = queue.place_of(target, "AUTH_test", bucket, moment)
    assert queue.parse_place(place.container) == place
    assert place.period <= moment < place.end


@pytest.mark.parametrize(
    "name", ["", "a", "a-b-c", "hook-0000000000-g", "hook-0000000000-10", "hook-1-0", "-0000000000-0"]
)
def test_other_containers_are_none_of_the_queue(name: str) -> None:
    assert queue.parse_place(name) is None


def test_later_changes_have_later_sequencers() -> None:
    first = Timestamp(1_700_000_000.00001)
    moments = [first, Timestamp(first, offset=1), Timestamp(1_700_000_000.00002), Timestamp(1_800_000_000)]
    found = [records.sequencer(moment) for moment in moments]
    assert found == sorted(set(found)) and all(len(text) == 16 for text in found)
    assert records.sequencer(Timestamp(first, offset=2**40)) < records.sequencer(
        Timestamp(1_700_000_000.00002)
    )


def test_a_record_has_amazons_form() -> None:
    made = records.record(
        Event("s3:ObjectRemoved:Delete", "a b+c/ü", version_id="null"), SOURCE, "rule", Timestamp(1)
    )
    assert made["s3"]["object"] == {"key": "a+b%2Bc/%C3%BC", "sequencer": records.sequencer(Timestamp(1))}
    assert made["eventName"] == "ObjectRemoved:Delete" and made["s3"]["configurationId"] == "rule"
    tagged = records.record(
        Event("s3:ObjectTagging:Put", "k", 3, "e", "1.00000"), SOURCE, "rule", Timestamp(1)
    )
    assert tagged["eventVersion"] == "2.3" and tagged["s3"]["object"]["versionId"] == "1.00000"
