"""What targets are called, and which one an ARN means."""

from __future__ import annotations

import re

TARGET = re.compile(r"[A-Za-z0-9_-]{1,64}")
_AWS_ARN = re.compile(r"arn:aws:(?:sqs|sns|lambda):[^:]*:[^:]*:(?:function:)?([^:]+)")
_MINIO_ARN = re.compile(r"arn:minio:sqs:[^:]*:([^:]+):[^:]+")


def target_of(arn: str) -> str:
    """The name of the target that an ARN means, in AWS's form or MinIO's; "" for none."""
    found = _AWS_ARN.fullmatch(arn) or _MINIO_ARN.fullmatch(arn)
    return found.group(1) if found is not None and TARGET.fullmatch(found.group(1)) else ""
