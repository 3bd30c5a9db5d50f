"""Uploads that nobody completed, and parts that nothing is made of (spec s3.md 17.3).

A part is an orphan if there is neither its upload's marker nor an object, or a version of one, that was completed from the upload.
Never here: when an upload is too old, which is its rule's to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from swift.core.timestamp import Timestamp
from swift.s3.lifecycle.objects import Bucket, Unsure
from swift.s3.multipart import layout


class Orphans(NamedTuple):
    """The parts of one upload. `newest`: when the last of them was written, seconds since the epoch; `size`: bytes of all."""

    key: str
    upload: str
    parts: int
    size: int
    newest: float


def abort(bucket: Bucket, key: str, upload: str, is_versioned: bool) -> bool:
    """Abort an upload as a client's request does. Returns True if it was, False if it had been completed or is gone."""
    if not bucket.decide_abort(key, upload):
        return False
    if upload in bucket.uploads_of(key, is_versioned):
        # Its parts are the object's; only the marker was left over.
        _remove_marker(bucket, key, upload)
        return False
    bucket.remove_parts(key, upload)
    _remove_marker(bucket, key, upload)
    # Those that came meanwhile; whoever stores one now finds no marker, and takes it back.
    bucket.remove_parts(key, upload)
    return True


def _remove_marker(bucket: Bucket, key: str, upload: str) -> None:
    name = f"{key}/{upload}"
    bucket.remove_seen(name, bucket.head(name, container=bucket.segments), bucket.segments)


def orphans(bucket: Bucket, before: float, is_versioned: bool) -> Iterator[Orphans]:
    """Orphans of which every part was written before a moment. Nothing is changed."""
    for found in _uploads(bucket):
        if found.newest < before and _is_orphaned(bucket, found, is_versioned):
            yield found


def _uploads(bucket: Bucket) -> Iterator[Orphans]:
    """The parts in a segments container by their uploads, of those whose markers are not listed."""
    current: Orphans | None = None
    marked: tuple[str, str] | None = None
    for row in bucket.rows(bucket.segments):
        split = layout.split_name(row["name"])
        if split is None or not layout.is_made_upload_id(split[1]):
            continue  # the container may be somebody's who knows nothing of S3
        key, upload, number = split
        if number is None:
            marked = key, upload  # stands in front of its parts
            continue
        if current is not None and (current.key, current.upload) != (key, upload):
            yield current
            current = None
        if marked == (key, upload):
            continue
        written = float(Timestamp.from_isoformat(row["last_modified"]))
        if current is None:
            current = Orphans(key, upload, 1, int(row["bytes"]), written)
        else:
            current = current._replace(
                parts=current.parts + 1,
                size=current.size + int(row["bytes"]),
                newest=max(current.newest, written),
            )
    if current is not None:
        yield current


def _is_orphaned(bucket: Bucket, found: Orphans, is_versioned: bool) -> bool:
    # The listing may be behind: the object servers are asked, for the marker before and after the object, which a completion
    # stores before it removes the marker.
    name = f"{found.key}/{found.upload}"
    if bucket.head(name, container=bucket.segments).status != 404:
        return False
    if found.upload in bucket.uploads_of(found.key, is_versioned):
        return False
    if bucket.head(found.key).status == 404 and bucket.lists(found.key):
        # Two who should know disagree: those who have the object may all be away.
        raise Unsure(f"{bucket.name}/{found.key} is listed, and not found")
    return True


def remove(bucket: Bucket, found: Orphans, is_versioned: bool) -> int:
    """Remove orphans, if they still are. Returns how many parts went."""
    return bucket.remove_parts(found.key, found.upload) if _is_orphaned(bucket, found, is_versioned) else 0
