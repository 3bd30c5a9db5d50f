"""The logging configuration of a bucket: read, checked and shown. Never here: whether its target lets itself be written to."""

from __future__ import annotations

from typing import Any

from swift.s3.acl import forms
from swift.s3.acl.forms import Grant
from swift.s3.errors import S3Error
from swift.s3.xml import Node, Text, document, element, maybe, node, one, read

MOST_BYTES = 65_536
_GRANTABLE = ("FULL_CONTROL", "READ", "WRITE")
_LONGEST_PREFIX = 800  # bytes; of a key's 1024, there has to be room for times and names behind it
_MOST_GRANTED = 4000  # bytes of the grants, as they are stored with each log object
_SHAPE = Node(
    {
        "LoggingEnabled": maybe(
            Node(
                {
                    "TargetBucket": one(Text()),
                    "TargetPrefix": one(Text()),
                    "TargetGrants": maybe(forms.GRANTS),
                    "TargetObjectKeyFormat": maybe(
                        Node(
                            {
                                "SimplePrefix": maybe(Node()),
                                "PartitionedPrefix": maybe(
                                    Node({"PartitionDateSource": one(Text("EventTime|DeliveryTime"))})
                                ),
                            }
                        )
                    ),
                }
            )
        )
    }
)


def parse(data: bytes) -> dict[str, Any]:
    """A document as it is kept: `TargetBucket`, `TargetPrefix`, `PartitionDateSource` of partitioned keys, and `TargetGrants`, pairs of
    a grantee and a permission; {} for no logging.

    Raises S3Error.
    """
    found = read(data, "BucketLoggingStatus", _SHAPE).get("LoggingEnabled")
    if found is None:
        return {}
    if not found["TargetBucket"]:
        raise S3Error("InvalidTargetBucketForLogging", TargetBucket="")
    if len(found["TargetPrefix"].encode("utf-8", "surrogatepass")) > _LONGEST_PREFIX:
        raise S3Error("InvalidArgument", "The target prefix is too long.", ArgumentName="TargetPrefix")
    kept: dict[str, Any] = {"TargetBucket": found["TargetBucket"], "TargetPrefix": found["TargetPrefix"]}
    grants = forms.granted_by(found.get("TargetGrants", {"Grant": []}), "MalformedXML")
    if any(grant.permission not in _GRANTABLE for grant in grants):
        raise S3Error("MalformedXML")
    if len(forms.Acl(None, tuple(grants)).stored()) > _MOST_GRANTED:
        raise S3Error("InvalidRequest", "The target grants are too long.")
    if grants:
        kept["TargetGrants"] = [list(grant) for grant in grants]
    form = found.get("TargetObjectKeyFormat")
    if form is not None:
        if len(form) != 1:
            raise S3Error("MalformedXML")
        if "PartitionedPrefix" in form:
            kept["PartitionDateSource"] = form["PartitionedPrefix"]["PartitionDateSource"]
    return kept


def grants_of(kept: dict[str, Any]) -> tuple[Grant, ...]:
    """What a document that is kept has granted on the log objects."""
    return tuple(Grant(*pair) for pair in kept.get("TargetGrants", ()))


def shown(kept: dict[str, Any] | None) -> bytes:
    """The document as clients see it."""
    if not kept:
        return document("BucketLoggingStatus")
    parts = [element("TargetBucket", kept["TargetBucket"]), element("TargetPrefix", kept["TargetPrefix"])]
    if "TargetGrants" in kept:
        parts.append(node("TargetGrants", *map(forms.shown_grant, grants_of(kept))))
    if "PartitionDateSource" in kept:
        source = element("PartitionDateSource", kept["PartitionDateSource"])
        parts.append(node("TargetObjectKeyFormat", node("PartitionedPrefix", source)))
    return document("BucketLoggingStatus", node("LoggingEnabled", *parts))
