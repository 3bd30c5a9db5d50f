"""What the lifecycle daemon has done to a bucket, told to the bucket's targets (spec s3.md 17.3, 21)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import Timeout
from swift.core.timestamp import Timestamp
from swift.s3 import bucket_documents
from swift.s3.notifications import queue, records
from swift.s3.notifications.events import Event
from swift.s3.notifications.rules import Rules
from swift.wire.internal import InternalClient

_HEADER = bucket_documents.HEADER + "notification"
_WHO = "s3.amazonaws.com"  # as AWS says it of its own deeds


class Expirations:
    """Of one bucket. `headers`: of its container; `fetch`: as of `bucket_documents.parse`; `told`: of what goes wrong."""

    def __init__(
        self,
        client: InternalClient,
        account: str,
        bucket: str,
        region: str,
        headers: Mapping[str, str],
        fetch: Callable[[str], bytes | None],
        told: Callable[..., None],
    ) -> None:
        self._client = client
        self._account = account
        self._bucket = bucket
        self._region = region
        self._told = told
        self._rules: Rules | None = None
        try:
            found = bucket_documents.parse(headers.get(_HEADER), fetch)
            self._rules = Rules(found) if found is not None else None
        except (ValueError, KeyError, TypeError) as error:
            told("ERROR The notifications of %s/%s are unreadable: %r", account, bucket, error)

    def tell(self, name: str, key: str, version_id: str | None = None) -> None:
        """Raises nothing: what is done is done."""
        for rule in self._rules.wanted(name, key) if self._rules is not None else ():
            try:
                self._queue(Event(name, key, version_id=version_id), rule.target, rule.id)
            except (Exception, Timeout) as error:
                self._told(
                    "ERROR %s of %s/%s/%s is not told: %r", name, self._account, self._bucket, key, error
                )

    def _queue(self, event: Event, target: str, rule_id: str) -> None:
        timestamp = Timestamp.now()
        request_id = f"tx{clock.uuid4().hex[:21]}"
        owner = self._account.partition("_")[2] or self._account  # behind its reseller prefix
        source = records.Source(self._region, owner, self._bucket, _WHO, _WHO, request_id)
        place = queue.place_of(target, self._account, self._bucket, clock.time())
        message = {"Records": [records.record(event, source, rule_id, timestamp)]}
        body: Any = json.dumps([queue.row(queue.row_name(timestamp, request_id, 0), message)]).encode()
        path = self._client.make_path(queue.ACCOUNT, place.container)
        answer = self._client.make_request("UPDATE", path, queue.update_headers(timestamp), (2,), body)
        b"".join(answer.app_iter)
