"""Operations on a bucket's notification configuration (spec s3.md 21)."""

from __future__ import annotations

from swift.core import clock
from swift.core.timestamp import Timestamp
from swift.s3 import bucket_documents
from swift.s3.answers import Answer, empty, xml_answer
from swift.s3.notifications import document, queue, records, telling
from swift.s3.request import S3Request


def get(request: S3Request) -> Answer:
    """GetBucketNotificationConfiguration; of no configuration, an empty one."""
    return xml_answer(document.shown(bucket_documents.current(request, telling.NAME)))


def put(request: S3Request) -> Answer:
    """PutBucketNotificationConfiguration: each target that is named gets a test message."""
    found = document.parse(request.document_body(document.MOST_BYTES), request.options.notification_targets)
    if not found:
        bucket_documents.remove(request, telling.NAME)
        return empty(200)
    bucket_documents.store(request, telling.NAME, found)
    _try_out(request, found)
    return empty(200)


def _try_out(request: S3Request, found: dict[str, object]) -> None:
    source = telling.source_of(request)
    timestamp = Timestamp.now()
    for count, target in enumerate(dict.fromkeys(name for name, _ in document.configurations(found))):
        place = queue.place_of(target, request.account or "", source.bucket, clock.time())
        row = queue.row(queue.row_name(timestamp, source.request_id, count), records.trial(source))
        telling.put(request.environ, request.app, place.container, [row])
