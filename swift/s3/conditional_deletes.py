"""DeleteObject, and what may be deleted only if it is as it was seen: If-Match and the like (spec s3.md 25).

A deletion under a condition has the time of what was seen, and a bit, so that nothing that came later is ever hit by it; where servers
contradict each other it is asked for again. Never here: deletions without conditions (`objects`).
"""

from __future__ import annotations

from swift.core.concurrency import sleep
from swift.core.config import truthy
from swift.core.timestamp import Timestamp
from swift.s3 import objects, replaced
from swift.s3.answers import Answer
from swift.s3.errors import S3Error
from swift.s3.multipart.remove import remove_parts
from swift.s3.request import S3Request
from swift.s3.write_conditions import (
    IF_CURRENT_KEY,
    Condition,
    Seen,
    check,
    conflict,
    failed,
    look,
    of_deletion,
)
from swift.wire.subanswer import Subanswer

_TRIES = 6
_PAUSE = 0.05  # seconds before the second try, twice as long before each further one


def delete(request: S3Request) -> Answer:
    """DeleteObject."""
    condition = of_deletion(
        request.header("if-match"),
        request.header("x-amz-if-match-last-modified-time"),
        request.header("x-amz-if-match-size"),
    )
    assert request.key is not None
    return objects.answer_gone(delete_one(request, request.key, request.version_id, condition))


def delete_one(
    request: S3Request, key: str, version: str | None, condition: Condition | None
) -> objects.Gone:
    """As `objects.delete_one`, if the condition holds. Raises S3Error."""
    if condition is None:
        return objects.delete_one(request, key, version)
    assert request.bucket is not None
    if version is not None:
        return _delete_version(request, request.bucket, key, version, condition)
    return _delete_current(request, request.bucket, key, condition)


def _delete_version(
    request: S3Request, bucket: str, key: str, version: str, condition: Condition
) -> objects.Gone:
    """A version does not change."""
    objects.check_version(version)
    found = request.ask("HEAD", bucket, key, {"version-id": version}, {"HTTP_X_NEWEST": "true"})
    found.close()
    if found.status >= 500:
        raise request.error_of(found, bucket, key)
    if found.is_success:
        check(condition, Seen("0", found), key)
    elif not _is_any(condition):
        raise failed(condition)
    return objects.delete_one(request, key, version)


def _is_any(condition: Condition) -> bool:
    return condition.match is None and condition.modified is None and condition.size is None


def _delete_current(request: S3Request, bucket: str, key: str, condition: Condition) -> objects.Gone:
    info = request.container_info(bucket)
    keeps_versions = truthy(info["sysmeta"].get("versions-enabled"))
    latest = "0"
    for turn in range(_TRIES):
        if turn:
            sleep(_PAUSE * (1 << (turn - 1)))
        seen = look(request, bucket, key)
        if seen.answer is None:
            if not _is_any(condition):
                raise failed(condition)
            return objects.delete_one(request, key, None)
        check(condition, seen, key)
        headers = {IF_CURRENT_KEY: seen.time}
        if not keeps_versions:
            latest = max(Timestamp(seen.time).internal, Timestamp(latest).internal)
            headers["HTTP_X_TIMESTAMP"] = Timestamp(latest, offset=1).internal
        answer = request.ask("DELETE", bucket, key, headers=headers)
        if answer.status not in (409, 412):
            found = objects.gone(request, answer, bucket, key)
            if not keeps_versions:
                _remove_parts(request, answer, bucket, key)
            return found
        answer.close()
        # that of somebody whose write has come to nothing, as far as is known
        latest = max(latest, Timestamp(answer.get("x-backend-timestamp") or "0").internal)
    raise conflict()


def _remove_parts(request: S3Request, answer: Subanswer, bucket: str, key: str) -> None:
    """Of what was deleted. What can't be removed now is found by the orphans' sweep."""
    try:
        for upload in replaced.uploads_gone(request, bucket, key, answer):
            remove_parts(request, bucket, key, upload)
    except S3Error as error:
        request.logger.warning("Parts of %s are left: %s", request.resource, error)
