"""Events in AWS's JSON form (spec s3.md 21): what a target reads. Never here: how it gets there."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote_plus

from swift.core import clock
from swift.core.timestamp import Timestamp
from swift.s3.notifications.events import Event

_SIMPLE = ("s3:ObjectCreated:", "s3:ObjectRemoved:")
_MOST_OFFSET = 255


class Source(NamedTuple):
    """Where an event comes from. Text. `account`: the owner of the bucket, as shown."""

    region: str
    account: str
    bucket: str
    user_id: str
    address: str
    request_id: str


def sequencer(timestamp: Timestamp) -> str:
    """Of two changes of a key, the one whose sequencer sorts behind the other's is the later one."""
    return f"{timestamp.raw << 8 | min(timestamp.offset, _MOST_OFFSET):016X}"


def when(seconds: float) -> str:
    whole = int(seconds)
    return f"{clock.strftime('%Y-%m-%dT%H:%M:%S', clock.gmtime(whole))}.{int(seconds * 1000) % 1000:03d}Z"


def record(event: Event, source: Source, rule_id: str, timestamp: Timestamp) -> dict[str, Any]:
    """One entry of `Records`."""
    about: dict[str, Any] = {"key": quote_plus(event.key, safe="/", errors="replace")}
    if event.size is not None:
        about["size"] = event.size
    if event.etag:
        about["eTag"] = event.etag
    if event.version_id and event.version_id != "null":
        about["versionId"] = event.version_id
    about["sequencer"] = sequencer(timestamp)
    return {
        "eventVersion": "2.1" if event.name.startswith(_SIMPLE) else "2.3",
        "eventSource": "aws:s3",
        "awsRegion": source.region,
        "eventTime": when(clock.time()),
        "eventName": event.name.removeprefix("s3:"),
        "userIdentity": {"principalId": source.user_id},
        "requestParameters": {"sourceIPAddress": source.address},
        "responseElements": {"x-amz-request-id": source.request_id, "x-amz-id-2": source.request_id},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": rule_id,
            "bucket": {
                "name": source.bucket,
                "ownerIdentity": {"principalId": source.account},
                "arn": f"arn:aws:s3:::{source.bucket}",
            },
            "object": about,
        },
    }


def trial(source: Source) -> dict[str, Any]:
    """What a target gets when a bucket is configured to tell it of events: a document of its own, no record."""
    return {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": when(clock.time()),
        "Bucket": source.bucket,
        "RequestId": source.request_id,
        "HostId": source.request_id,
    }
