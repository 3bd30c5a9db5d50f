"""Conditions of writes and deletions: If-Match, If-None-Match and what is like them (spec s3.md 25).

A look says whether the condition holds, and what was seen goes along with the write: servers store it only in the place of that. So of
those who have seen the same one wins, and the others are told so. Never here: conditions of reads (`conditions`), and how servers agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from swift.core.object_headers import IF_CURRENT
from swift.core.timestamp import Timestamp
from swift.s3 import metadata, times
from swift.s3.errors import HEADER_NOT_IMPLEMENTED, S3Error
from swift.s3.request import S3Request
from swift.wire.message import Match, environ_key
from swift.wire.subanswer import Subanswer

IF_CURRENT_KEY = environ_key(IF_CURRENT)
_LINKS = ("x-symlink-target", "x-object-sysmeta-symlink-target")
_LOOKS = 5  # at a link and what it leads to, until they are of the same moment


class Condition(NamedTuple):
    """What must hold of what is there. `match`: ETags, None for any object, "" where it is to be absent; `modified`: seconds since the epoch;
    `size`: bytes. `name`: of the header that says it."""

    name: str
    match: str | None = None
    modified: int | None = None
    size: int | None = None


class Seen(NamedTuple):
    """What is there. `time`: of its content or deletion, internal form, "0" for nothing; `answer`: None if it is absent."""

    time: str
    answer: Subanswer | None


def of_write(environ: Mapping[str, Any]) -> Condition | None:
    """The condition of a write; None without one. Raises S3Error for those that nobody knows."""
    for key in ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE"):
        if key in environ:
            raise _unknown(key[5:].replace("_", "-").title())
    match, none_match = environ.get("HTTP_IF_MATCH"), environ.get("HTTP_IF_NONE_MATCH")
    if none_match is not None and (none_match.strip() != "*" or match is not None):
        raise _unknown("If-None-Match")
    if none_match is not None:
        return Condition("If-None-Match", "")
    if match is None:
        return None
    return Condition("If-Match", _tags(match))


def _tags(match: str) -> str | None:
    return None if match.strip() == "*" else match


def of_deletion(match: str | None, modified: str | None, size: str | None) -> Condition | None:
    """The condition of a deletion: values of If-Match, x-amz-if-match-last-modified-time, x-amz-if-match-size. Raises S3Error."""
    if match is None and modified is None and size is None:
        return None
    name = "If-Match" if match is not None else "x-amz-if-match-last-modified-time"
    if match is None and modified is None:
        name = "x-amz-if-match-size"
    seconds = None
    if modified is not None:
        seconds = times.seconds_of(modified)
        if seconds is None:
            raise _invalid("x-amz-if-match-last-modified-time", modified)
    if size is not None and not (size.isascii() and size.isdigit() and len(size) < 19):
        raise _invalid("x-amz-if-match-size", size)
    return Condition(
        name, None if match is None else _tags(match), seconds, None if size is None else int(size)
    )


def _unknown(header: str) -> S3Error:
    return S3Error("NotImplemented", HEADER_NOT_IMPLEMENTED, Header=header)


def _invalid(name: str, value: str) -> S3Error:
    return S3Error("InvalidArgument", ArgumentName=name, ArgumentValue=value)


# -- looking -----------------------------------------------------------------------------------------------------------------


def look(request: S3Request, bucket: str, key: str) -> Seen:
    """What is at a key now, a link's time where it is one. Raises S3Error."""
    for _ in range(_LOOKS):
        found = request.ask("HEAD", bucket, key, {"symlink": "get"}, {"HTTP_X_NEWEST": "true"})
        found.close()
        if found.status == 404:
            if request.container_info(bucket)["status"] == 404:
                raise S3Error("NoSuchBucket", BucketName=bucket)
            return Seen(found.get("x-backend-timestamp") or "0", None)
        if not found.is_success:
            raise request.error_of(found, bucket, key)
        when = found.get("x-backend-data-timestamp") or found.get("x-timestamp") or "0"
        if not any(map(found.get, _LINKS)):
            return Seen(when, found)
        target = request.ask("HEAD", bucket, key, None, {"HTTP_X_NEWEST": "true"})
        target.close()
        if target.is_success and target.get("x-object-version-id") == found.get("x-object-version-id"):
            return Seen(when, target)
        if not target.is_success and target.status != 404:
            raise request.error_of(target, bucket, key)
    raise conflict()


def check(condition: Condition, seen: Seen, key: str) -> None:
    """Raises S3Error if it does not hold."""
    if condition.match == "":
        if seen.answer is not None:
            raise failed(condition)
        return
    if seen.answer is None:
        raise S3Error("NoSuchKey", Key=key)
    if not _holds(condition, seen.answer):
        raise failed(condition)


def _holds(condition: Condition, answer: Subanswer) -> bool:
    if condition.match is not None:
        etag = dict(metadata.shown_headers(answer.headers)).get("ETag", "")
        tags = Match(condition.match).tags
        # made up for large objects that S3 has not made
        if etag.strip('"') not in tags and etag.strip('"').removesuffix("-N") not in tags:
            return False
    if condition.modified is not None:
        modified = times.seconds_of(answer.get("last-modified") or "")
        if modified != condition.modified:
            return False
    return condition.size is None or condition.size == answer.content_length


def failed(condition: Condition) -> S3Error:
    return S3Error("PreconditionFailed", Condition=condition.name)


def conflict() -> S3Error:
    return S3Error("ConditionalRequestConflict")


# -- writing -----------------------------------------------------------------------------------------------------------------


def headers(request: S3Request, bucket: str, key: str, condition: Condition | None) -> dict[str, str]:
    """The native headers (environ keys) of a write under a condition, which holds as far as can be seen. Raises S3Error."""
    if condition is None:
        return {}
    seen = look(request, bucket, key)
    check(condition, seen, key)
    made = instead_of(seen.time)
    if condition.match == "":
        made["HTTP_IF_NONE_MATCH"] = "*"  # for servers that don't know the other one
    return made


def instead_of(time: str) -> dict[str, str]:
    """The native headers (environ keys) of a write that takes the place of what was written then, and of nothing else."""
    made = {IF_CURRENT_KEY: time}
    latest = Timestamp(time)
    if latest >= Timestamp.now():
        # written by somebody whose clock is ahead of ours
        made["HTTP_X_TIMESTAMP"] = Timestamp(latest.normal, delta=1).internal
    return made


def lost(request: S3Request, bucket: str, key: str, condition: Condition | None, error: S3Error) -> S3Error:
    """What is told of a write that was refused with `error`: if it was for its condition, whether that holds no more, or somebody was faster."""
    if condition is None or (error.code != "PreconditionFailed" and error.reason != "conflict"):
        return error
    try:
        check(condition, look(request, bucket, key), key)
    except S3Error as found:
        return found
    return conflict()
