"""What restricts the rights to a bucket or adds to them, beside ACLs: its policy, the block of public access, who owns its objects (spec s3.md 16).

Known from the container's info: a bucket that has none of it costs three look-ups. Never here: the decision (`access`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from swift.s3 import bucket_documents
from swift.s3.errors import S3Error
from swift.s3.policy import document
from swift.s3.policy.public import is_public
from swift.s3.request import S3Request

POLICY, BLOCK, OWNERSHIP = "Policy", "Public-Access", "Ownership"
ENFORCED, PREFERRED, WRITER = "BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"
BLOCK_ACLS, IGNORE_ACLS, BLOCK_POLICY, RESTRICT = (
    "BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets",
)  # fmt: skip
_KEYS = tuple(bucket_documents.SYSMETA + name.lower() for name in (POLICY, BLOCK, OWNERSHIP))


class Rules(NamedTuple):
    """`policy`: None for none; `blocks`: those of the four that are on."""

    policy: document.Policy | None = None
    blocks: frozenset[str] = frozenset()
    ownership: str = WRITER

    @property
    def is_policy_public(self) -> bool:
        return self.policy is not None and is_public(self.policy)


NONE = Rules()


def has_rules(info: Mapping[str, Any]) -> bool:
    """Returns True if a container's info tells of any."""
    sysmeta = info.get("sysmeta")
    if not sysmeta:
        return False
    policy, block, ownership = _KEYS
    return bool(sysmeta.get(policy) or sysmeta.get(block) or sysmeta.get(ownership))


def of_bucket(
    request: S3Request, info: Mapping[str, Any], bucket: str | None = None, account: str | None = None
) -> Rules:
    """Raises S3Error if they can't be read: what restricts must not vanish because of that."""
    if not has_rules(info):
        return NONE
    policy = bucket_documents.load(request, POLICY, bucket, info, account)
    block = bucket_documents.load(request, BLOCK, bucket, info, account)
    ownership = bucket_documents.load(request, OWNERSHIP, bucket, info, account)
    return Rules(
        None if policy is None else _parsed(policy),
        frozenset() if block is None else frozenset(name for name in block if block[name] == "true"),
        WRITER if ownership is None else str(ownership.get("ObjectOwnership", ENFORCED)),
    )


def of_request(request: S3Request) -> Rules:
    """Those of the request's bucket."""
    return of_bucket(request, request.container_info())


def _parsed(found: Mapping[str, Any]) -> document.Policy:
    text = found.get("text")
    try:
        if isinstance(text, str):
            return document.parse(text)
    except S3Error:
        pass
    raise S3Error("AccessDenied", reason="unreadable_policy")
