"""Every kind of change has its word for targets: handlers that lose theirs in a change are named here."""

from __future__ import annotations

import json
import pathlib
import re
from types import SimpleNamespace
from typing import Any

import pytest

from swift.core.concurrency import sleep
from swift.s3 import bucket_documents, operations
from swift.s3.answers import Answer
from swift.s3.notifications import events, queue, telling
from swift.s3.options import Options

S3 = pathlib.Path(events.__file__).parents[1]


def test_each_event_is_told_by_somebody() -> None:
    text = "".join(path.read_text() for path in S3.rglob("*.py") if path.parent.name != "notifications")
    told = set(re.findall(r"events\.([A-Z_]+)", text))
    names = {name for name, value in vars(events).items() if name.isupper() and value in events.FIRED}
    assert names - told == set()


def test_each_event_of_a_read_is_an_operations() -> None:
    names = {operation.name for operation in operations.OPERATIONS}
    assert events.READS.keys() <= names
    assert events.WORDS["s3:ObjectAccessed:*"] == set(events.READS.values())
    assert not any(
        set(events.READS.values()) & events.WORDS[f"s3:Object{kind}:*"] for kind in ("Created", "Removed")
    )


class Request:
    """A read that was answered."""

    key, resource, version_id, account, bucket, user_id = "k", "/b/k", None, "AUTH_test", "b", "test:tester"
    app = None

    def __init__(self, kept: dict[str, Any] | None, targets: tuple[str, ...] = ("hook",)) -> None:
        self.environ: dict[str, Any] = {}
        self.options = Options(notification_targets=targets)
        value = bucket_documents.packed(json.dumps(kept).encode()) if kept is not None else ""
        self.info = {"status": 200, "sysmeta": {"s3api-conf-notification": value}}
        self.said: list[str] = []
        self.logger = SimpleNamespace(error=lambda message, *args: self.said.append(message % args))

    def container_info(self, *_: Any) -> dict[str, Any]:
        return self.info


ANSWER = Answer(206, [("ETag", '"e"'), ("Content-Length", "1"), ("Content-Range", "bytes 0-0/10")], [b""])


def asks(*names: str) -> dict[str, Any]:
    return {"QueueConfiguration": [{"Id": "i", "Queue": "arn:aws:sqs:us-east-1::hook", "Event": list(names)}]}


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def put(environ: dict[str, Any], app: Any, container: str, rows: list[dict[str, Any]]) -> bool:
        found.extend(queue.message_of(row["content_type"])["Records"][0] for row in rows)
        return True

    monkeypatch.setattr(telling, "put", put)
    return found


@pytest.mark.parametrize(
    ("kept", "answer", "names"),
    [
        (asks("s3:ObjectAccessed:*"), ANSWER, ["ObjectAccessed:Get"]),
        (asks("s3:ObjectAccessed:Get"), ANSWER._replace(status=200), ["ObjectAccessed:Get"]),
        (asks("s3:ObjectAccessed:Head"), ANSWER, []),
        (asks("s3:ObjectCreated:*", "s3:ObjectRemoved:*"), ANSWER, []),
        (asks("s3:ObjectAccessed:*"), ANSWER._replace(status=304), []),
        (None, ANSWER, []),
    ],
)
def test_reads_are_told_to_who_asks(
    kept: dict[str, Any] | None, answer: Answer, names: list[str], queued: list[dict[str, Any]]
) -> None:
    telling.read(Request(kept), "GetObject", answer)  # type: ignore[arg-type]
    sleep(0)
    assert [record["eventName"] for record in queued] == names
    assert telling._reads_under_way == 0
    for record in queued:
        assert record["s3"]["object"]["eTag"] == "e" and record["s3"]["object"]["key"] == "k"
        assert record["s3"]["object"]["size"] == 10


def test_reads_that_nobody_takes_are_dropped(
    monkeypatch: pytest.MonkeyPatch, queued: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(telling, "_reads_under_way", telling.MOST_READS)
    request = Request(asks("s3:ObjectAccessed:*"))
    telling.read(request, "GetObject", ANSWER)  # type: ignore[arg-type]
    sleep(0)
    assert not queued and "lost" in request.said[0]
