"""The logging configuration of a bucket: read, checked and shown. Never here: whether its target lets itself be written to."""

from __future__ import annotations

from typing import Any

from swift.s3.errors import S3Error
from swift.s3.xml import Node, Text, document, element, maybe, node, one, read

MOST_BYTES = 65_536
_LONGEST_PREFIX = 800  # bytes; of a key's 1024, there has to be room for times and names behind it
_GRANTS = Node({"Grant": maybe(Node({"Grantee": maybe(Text()), "Permission": maybe(Text())}))})
_SHAPE = Node(
    {
        "LoggingEnabled": maybe(
            Node(
                {
                    "TargetBucket": one(Text()),
                    "TargetPrefix": one(Text()),
                    "TargetGrants": maybe(_GRANTS),
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
    """A document as it is kept: `TargetBucket`, `TargetPrefix`, and `PartitionDateSource` of partitioned keys; {} for no logging.

    Raises S3Error.
    """
    found = read(data, "BucketLoggingStatus", _SHAPE).get("LoggingEnabled")
    if found is None:
        return {}
    if found.get("TargetGrants", {}).get("Grant"):
        raise S3Error("NotImplemented", "Grants on log objects are not supported.")
    if not found["TargetBucket"]:
        raise S3Error("InvalidTargetBucketForLogging", TargetBucket="")
    if len(found["TargetPrefix"].encode("utf-8", "surrogatepass")) > _LONGEST_PREFIX:
        raise S3Error("InvalidArgument", "The target prefix is too long.", ArgumentName="TargetPrefix")
    kept = {"TargetBucket": found["TargetBucket"], "TargetPrefix": found["TargetPrefix"]}
    form = found.get("TargetObjectKeyFormat")
    if form is not None:
        if len(form) != 1:
            raise S3Error("MalformedXML")
        if "PartitionedPrefix" in form:
            kept["PartitionDateSource"] = form["PartitionedPrefix"]["PartitionDateSource"]
    return kept


def shown(kept: dict[str, Any] | None) -> bytes:
    """The document as clients see it."""
    if not kept:
        return document("BucketLoggingStatus")
    parts = [element("TargetBucket", kept["TargetBucket"]), element("TargetPrefix", kept["TargetPrefix"])]
    if "PartitionDateSource" in kept:
        source = element("PartitionDateSource", kept["PartitionDateSource"])
        parts.append(node("TargetObjectKeyFormat", node("PartitionedPrefix", source)))
    return document("BucketLoggingStatus", node("LoggingEnabled", *parts))
