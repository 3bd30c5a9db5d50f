"""From what a request has done to rows of the queue, before its client is answered: what a client was told of is on its way.

An event that could not be queued fails no request. Never here: when something counts as done (each handler's `request.tell`).
"""

from __future__ import annotations

import json
from typing import Any

from swift.core import clock
from swift.core.concurrency import Timeout, spawn_n
from swift.core.timestamp import Timestamp
from swift.s3 import bucket_documents
from swift.s3.answers import Answer
from swift.s3.errors import S3Error
from swift.s3.identity import account_id_of
from swift.s3.notifications import queue, records
from swift.s3.notifications.events import MARKED_DELETED, READS, Event
from swift.s3.notifications.outbox import Outbox, Row
from swift.s3.notifications.rules import Rules, rules_of
from swift.s3.request import S3Request
from swift.telemetry.log import get_logger
from swift.wire.message import str_to_wsgi
from swift.wire.server import before_the_end
from swift.wire.subanswer import ask
from swift.wire.subrequest import make_request

NAME = "Notification"
MOST_READS = 1000  # events of reads that are on their way into the queue
_KEPT = bucket_documents.SYSMETA + NAME.lower()
_CREATED = "s3:ObjectCreated:"
_WHOLE = ("GetObject", "HeadObject")  # whose answers tell how long the object is
_reads_under_way = 0
_outbox: list[Outbox] = []


def outbox() -> Outbox:
    """That of this process."""
    if not _outbox:
        logger = get_logger({}, "proxy-server", log_route="s3-events")
        _outbox.append(Outbox(logger.error))
        before_the_end(_outbox[0].last_try)
    return _outbox[0]


def send(request: S3Request) -> None:
    """Queue what the request has told of so far. Raises nothing."""
    if not request.events:
        return
    told, request.events = request.events, []
    try:
        kept = bucket_documents.load(request, NAME)
        if kept is not None:
            _queue(request, rules_of(kept), told)
    except (Exception, Timeout) as error:
        request.logger.error("ERROR %d events of %s are not told: %r", len(told), request.resource, error)


def read(request: S3Request, operation: str, answer: Answer) -> None:
    """Something of an object is about to be read, as the operation's name says. Whoever reads does not wait for the queue: what is on its way there
    goes with the process, and what there is no room for is dropped. Raises nothing."""
    global _reads_under_way
    try:
        if answer.status not in (200, 206) or request.key is None:
            return
        if not (request.container_info().get("sysmeta") or {}).get(_KEPT):
            return
        kept = bucket_documents.load(request, NAME)
        if kept is None:
            return
        rules, name = rules_of(kept), READS[operation]
        if not any(rules.wanted(name, request.key)):
            return
        if _reads_under_way >= MOST_READS:
            request.logger.error("ERROR An event of %s is lost: %d wait", request.resource, MOST_READS)
            return
        headers = {name.lower(): value for name, value in answer.headers}
        whole = headers.get("content-range", "").rpartition("/")[2] or headers.get("content-length", "")
        size = int(whole) if operation in _WHOLE and whole.isascii() and whole.isdigit() else None
        etag = headers.get("etag", "").strip('"') or None
        event = Event(name, request.key, size, etag, headers.get("x-amz-version-id") or request.version_id)
        rows = _rows(request, rules, [event])
        _reads_under_way += 1
        spawn_n(_put_reads, request.environ, request.app, rows, request.logger)
    except Exception as error:
        request.logger.error("ERROR A read of %s is not told: %r", request.resource, error)


def _put_reads(environ: dict[str, Any], app: Any, rows: dict[str, list[Row]], logger: Any) -> None:
    global _reads_under_way
    try:
        for container, found in rows.items():
            put(environ, app, container, found)
    except (Exception, Timeout) as error:
        logger.error("ERROR Events of reads are not told: %r", error)
    finally:
        _reads_under_way -= 1


def _queue(request: S3Request, rules: Rules, told: list[Event]) -> None:
    for container, found in _rows(request, rules, told).items():
        put(request.environ, request.app, container, found)


def _rows(request: S3Request, rules: Rules, told: list[Event]) -> dict[str, list[Row]]:
    """By containers of the queue."""
    source = source_of(request)
    rows: dict[str, list[Row]] = {}
    count = 0
    for event in told:
        targets = (
            request.options.notification_targets
        )  # of others that were once, nobody takes anything out of the queue
        wanted = [rule for rule in rules.wanted(event.name, event.key) if rule.target in targets]
        if not wanted:
            continue
        event = _with_size(request, event)
        timestamp = _timestamp(event)
        for rule in wanted:
            place = queue.place_of(rule.target, request.account or "", source.bucket, clock.time())
            name = queue.row_name(timestamp, source.request_id, count)
            message = {"Records": [records.record(event, source, rule.id, timestamp)]}
            rows.setdefault(place.container, []).append(queue.row(name, message))
            count += 1
    return rows


def _with_size(request: S3Request, event: Event) -> Event:
    """An object that came without its length is asked for it."""
    if event.size is not None or not event.name.startswith(_CREATED):
        return event
    query = {"version-id": event.version_id} if event.version_id else None
    found = request.ask("HEAD", request.bucket, event.key, query, {"HTTP_X_NEWEST": "true"}, rights="own")
    found.close()
    return event._replace(size=found.content_length) if found.is_success else event


def _timestamp(event: Event) -> Timestamp:
    """When native servers say that it happened; a version that was made has the time in its id."""
    made = event.version_id if event.name.startswith((_CREATED, MARKED_DELETED)) else None
    for text in (made, event.timestamp):
        if text and text != "null":
            try:
                return Timestamp(text)
            except ValueError:
                continue
    return Timestamp.now()


def source_of(request: S3Request) -> records.Source:
    environ = request.environ
    return records.Source(
        request.options.location,
        account_id_of(request.account or "", request.options),
        request.bucket or "",
        request.user_id or "",
        environ.get("REMOTE_ADDR", ""),
        environ.get("swift.trans_id", "") or clock.uuid4().hex,
    )


def put(environ: dict[str, Any], app: Any, container: str, rows: list[Row]) -> bool:
    """Rows into a container of the queue; False if they have to wait here."""
    # Of the request only what a later try may still need.
    kept: dict[str, Any] = {
        key: environ[key]
        for key in ("swift.cache", "swift.trans_id", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL")
        if key in environ
    }

    def update(container: str, rows: list[Row]) -> bool:
        timestamp = Timestamp.now()
        made = make_request(
            kept,
            "UPDATE",
            f"/v1/{queue.ACCOUNT}/{str_to_wsgi(container)}",
            queue.update_headers(timestamp),
            json.dumps(rows).encode(),
            pre_authed=True,
            source="S3EV",
            query="",
        )
        made.environ["swift.proxy_access_log_made"] = True
        answer = ask(app, made.environ)
        answer.drain()
        if not answer.is_success:
            raise S3Error("ServiceUnavailable", reason=f"UPDATE: {answer.status}")
        return True

    return outbox().put(container, rows, update)
