"""The names of events, and which of them a configuration's words mean (spec s3.md 21)."""

from __future__ import annotations

from typing import NamedTuple

CREATED_PUT = "s3:ObjectCreated:Put"
CREATED_POST = "s3:ObjectCreated:Post"
CREATED_COPY = "s3:ObjectCreated:Copy"
CREATED_BY_PARTS = "s3:ObjectCreated:CompleteMultipartUpload"
REMOVED = "s3:ObjectRemoved:Delete"
MARKED_DELETED = "s3:ObjectRemoved:DeleteMarkerCreated"
TAGGED = "s3:ObjectTagging:Put"
UNTAGGED = "s3:ObjectTagging:Delete"
ACL_PUT = "s3:ObjectAcl:Put"
EXPIRED = "s3:LifecycleExpiration:Delete"
EXPIRED_BY_MARKER = "s3:LifecycleExpiration:DeleteMarkerCreated"

FIRED = (
    CREATED_PUT, CREATED_POST, CREATED_COPY, CREATED_BY_PARTS, REMOVED, MARKED_DELETED, TAGGED, UNTAGGED, ACL_PUT, EXPIRED,
    EXPIRED_BY_MARKER,
)  # fmt: skip
# By the operation that reads, MinIO's words for it; AWS has none.
READS = {
    "GetObject": "s3:ObjectAccessed:Get",
    "HeadObject": "s3:ObjectAccessed:Head",
    "GetObjectAttributes": "s3:ObjectAccessed:Attributes",
    "GetObjectRetention": "s3:ObjectAccessed:GetRetention",
    "GetObjectLegalHold": "s3:ObjectAccessed:GetLegalHold",
}
# What may be asked for and never happens here.
_NEVER = (
    "s3:ReducedRedundancyLostObject", "s3:ObjectRestore:Post", "s3:ObjectRestore:Completed", "s3:ObjectRestore:Delete",
    "s3:Replication:OperationFailedReplication", "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationReplicatedAfterThreshold", "s3:Replication:OperationNotTracked", "s3:LifecycleTransition",
    "s3:IntelligentTiering",
)  # fmt: skip


def _words() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for name in (*FIRED, *READS.values(), *_NEVER):
        found[name] = {name}
        if name.count(":") > 1:
            found.setdefault(name.rpartition(":")[0] + ":*", set()).add(name)
    return {word: frozenset(names) for word, names in found.items()}


# By what may stand in a configuration: the events that are meant.
WORDS = _words()


class Event(NamedTuple):
    """Something that was done to a key. Text; `size` in bytes, `etag` without quotes; `timestamp`: of the change, as native servers
    know it."""

    name: str
    key: str
    size: int | None = None
    etag: str | None = None
    version_id: str | None = None
    timestamp: str | None = None
