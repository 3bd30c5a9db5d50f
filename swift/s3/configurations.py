"""What a bucket can be told and is told of, beyond what has a module of its own: encryption, and what is not there (spec s3.md 13.6, 20, 22, 23, 29).

Never here: serving sites, writing logs. A document that nothing here acts on is refused with 501.
"""

from __future__ import annotations

from typing import Any

from swift.core import capabilities
from swift.s3 import bucket_documents
from swift.s3.answers import Answer, empty, xml_answer
from swift.s3.errors import S3Error
from swift.s3.request import Handler, S3Request
from swift.s3.xml import Node, Text, document, element, many, maybe, node, one, read

_MOST_BYTES = 65_536
_ENCRYPTION = Node(
    {
        "Rule": many(
            Node(
                {
                    "ApplyServerSideEncryptionByDefault": one(
                        Node(
                            {
                                "SSEAlgorithm": one(Text("AES256|aws:kms|aws:kms:dsse")),
                                "KMSMasterKeyID": maybe(Text()),
                            }
                        )
                    ),
                    "BucketKeyEnabled": maybe(Text("true|false")),
                }
            ),
            1,
            2,
        )
    }
)


def is_encrypting() -> bool:
    """Returns True if all objects that are written are encrypted on disk."""
    told = capabilities.disclosed(admin=True).get("admin", {}).get("encryption", {})
    return bool(told.get("enabled"))


def must_exist(request: S3Request) -> None:
    """Asked with the client's rights. Raises S3Error."""
    answer = request.ask("HEAD", request.bucket)
    answer.close()
    if not answer.is_success:
        raise request.error_of(answer, request.bucket)


# -- encryption -----------------------------------------------------------------------------------------------------------


def get_encryption(request: S3Request) -> Answer:
    """GetBucketEncryption; without a document, whether everything is encrypted anyway."""
    found = bucket_documents.current(request, "Encryption")
    if found is None:
        if not is_encrypting():
            raise S3Error("ServerSideEncryptionConfigurationNotFoundError", BucketName=request.bucket)
        found = {"Rule": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    return xml_answer(document("ServerSideEncryptionConfiguration", *map(_shown_rule, found["Rule"])))


def _shown_rule(rule: dict[str, Any]) -> str:
    by_default = rule["ApplyServerSideEncryptionByDefault"]
    inner = [
        node("ApplyServerSideEncryptionByDefault", element("SSEAlgorithm", by_default["SSEAlgorithm"])),
        element("BucketKeyEnabled", rule.get("BucketKeyEnabled", "false")),
    ]
    return node("Rule", *inner)


def put_encryption(request: S3Request) -> Answer:
    """PutBucketEncryption: AES256, where objects are encrypted."""
    found = read(request.document_body(_MOST_BYTES), "ServerSideEncryptionConfiguration", _ENCRYPTION)
    if len(found["Rule"]) != 1:
        raise S3Error("MalformedXML")
    by_default = found["Rule"][0]["ApplyServerSideEncryptionByDefault"]
    if by_default["SSEAlgorithm"] != "AES256":
        raise S3Error("NotImplemented", "Server-side encryption with keys of a service is not supported.")
    if "KMSMasterKeyID" in by_default:
        raise S3Error(
            "InvalidArgument",
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms",
        )
    if not is_encrypting():
        raise S3Error("NotImplemented", "Server-side encryption is not supported.")
    bucket_documents.store(request, "Encryption", found)
    return empty(200)


def delete_encryption(request: S3Request) -> Answer:
    """DeleteBucketEncryption."""
    bucket_documents.remove(request, "Encryption")
    return empty(204)


# -- what there is not ----------------------------------------------------------------------------------------------------


def absent(code: str) -> Handler:
    """A handler for a document that no bucket has."""

    def handler(request: S3Request) -> Answer:
        must_exist(request)
        raise S3Error(code, BucketName=request.bucket)

    return handler


def nothing(name: str) -> Handler:
    """A handler for a document that is empty for every bucket."""

    def handler(request: S3Request) -> Answer:
        must_exist(request)
        return xml_answer(document(name))

    return handler


def removed(request: S3Request) -> Answer:
    """A handler for the removal of what no bucket has."""
    must_exist(request)
    return empty(204)


def _list_of(name: str) -> Handler:
    """A handler for configurations of which a bucket can have many, each with an id."""

    def handler(request: S3Request) -> Answer:
        must_exist(request)
        if "id" in request.params:
            raise S3Error("NoSuchConfiguration")
        return xml_answer(document(name, element("IsTruncated", "false")))

    return handler


list_inventory = _list_of("ListInventoryConfigurationsResult")
list_analytics = _list_of("ListBucketAnalyticsConfigurationsResult")
list_metrics = _list_of("ListMetricsConfigurationsResult")
list_tiering = _list_of("ListBucketIntelligentTieringConfigurationsOutput")
no_replication = absent("ReplicationConfigurationNotFoundError")
get_acceleration = nothing("AccelerateConfiguration")
