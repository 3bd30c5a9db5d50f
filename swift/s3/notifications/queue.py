"""The queue between proxies and the notifier, in words: names of its containers, forms of its rows (doc/s3.md, "Notifications").

A message is a row without an object in a container of a hidden account. Containers are by target, hour and bucket, so that what one
bucket has to tell stays in its order. Forms only: nothing here asks a server.
"""

from __future__ import annotations

import base64
import json
import zlib
from hashlib import md5
from typing import Any, NamedTuple

import orjson

from swift.core.timestamp import Timestamp
from swift.s3.notifications.names import TARGET

ACCOUNT = ".s3events"
PERIOD = 3600  # seconds that a container is for
SHARES = 16  # containers of a target and period
MOST_BYTES = 8000  # of a message as it is kept
_MOST_UNPACKED = 256 * 1024
_NO_ETAG = md5(b"", usedforsecurity=False).hexdigest()
_FORM = "s3event/1;"


class Place(NamedTuple):
    """A container of the queue. `period`: when it begins, in seconds since the epoch; `share`: one of SHARES."""

    target: str
    period: int
    share: int

    @property
    def container(self) -> str:
        return f"{self.target}-{self.period:010d}-{self.share:x}"

    @property
    def end(self) -> int:
        return self.period + PERIOD


def period_of(seconds: float) -> int:
    return int(seconds) // PERIOD * PERIOD


def place_of(target: str, account: str, bucket: str, seconds: float) -> Place:
    """Where messages of a bucket go at a time."""
    digest = md5(f"{account}/{bucket}".encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()
    return Place(target, period_of(seconds), digest[0] % SHARES)


def parse_place(container: str) -> Place | None:
    """None for what is no container of the queue."""
    parts = container.rsplit("-", 2)
    if len(parts) != 3:
        return None
    target, period, share = parts
    if not TARGET.fullmatch(target) or not (period.isascii() and period.isdigit() and len(period) == 10):
        return None
    try:
        found = Place(target, int(period), int(share, 16))
    except ValueError:
        return None
    return found if found.container == container and found.share < SHARES else None


def row(name: str, message: dict[str, Any]) -> dict[str, Any]:
    """A message as a row of an UPDATE. Raises ValueError for one that is too long."""
    data = zlib.compress(json.dumps(message, separators=(",", ":")).encode(), 6)
    kept = _FORM + base64.b64encode(data).decode()
    if len(kept) > MOST_BYTES:
        raise ValueError(f"a message of {len(kept)} bytes")
    return _row(name, (_time_of(name) or Timestamp.now()).internal, kept, 0)


def row_name(timestamp: Timestamp, request_id: str, count: int) -> str:
    """Rows sort by the time of the change, and two never have one name."""
    return f"{timestamp.internal}/{request_id}/{count}"


def taken_away(name: str) -> dict[str, Any]:
    """The row that takes another's place: its message is delivered. It is the newer one also if the clock here is behind."""
    now, then = Timestamp.now(), _time_of(name)
    if then is not None and then >= now:
        now = Timestamp(then, delta=1)
    return _row(name, now.internal, "", 1)


def _time_of(name: str) -> Timestamp | None:
    try:
        return Timestamp(name.partition("/")[0])
    except ValueError:
        return None


def _row(name: str, created_at: str, content_type: str, deleted: int) -> dict[str, Any]:
    return {
        "name": name,
        "created_at": created_at,
        "size": 0,
        "content_type": content_type,
        "etag": _NO_ETAG,
        "deleted": deleted,
        "storage_policy_index": 0,
    }


def message_of(content_type: str) -> dict[str, Any]:
    """Raises ValueError for what is no message."""
    if not content_type.startswith(_FORM):
        raise ValueError("an unknown form")
    try:
        unzip = zlib.decompressobj()
        data = unzip.decompress(base64.b64decode(content_type[len(_FORM) :], validate=True), _MOST_UNPACKED)
    except (ValueError, zlib.error):
        raise ValueError("not packed as it should be") from None
    if not unzip.eof:
        raise ValueError("it does not end where it should")
    found = orjson.loads(data)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def told_at(name: str) -> float:
    """When what a row tells of happened, 0 if its name does not say so."""
    return float(_time_of(name) or 0.0)


def update_headers(timestamp: Timestamp) -> dict[str, str]:
    """Of an UPDATE, native or direct."""
    return {
        "X-Timestamp": timestamp.internal,
        "X-Backend-Allow-Private-Methods": "True",
        "X-Backend-Storage-Policy-Index": "0",
    }
