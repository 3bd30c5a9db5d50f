"""The operations on a bucket's policy, on the block of public access and on who owns objects (spec s3.md 16.1, 16.4, 16.5)."""

from __future__ import annotations

from swift.s3 import access, bucket_documents, bucket_rules
from swift.s3.acl import forms
from swift.s3.answers import Answer, empty, xml_answer
from swift.s3.errors import S3Error
from swift.s3.policy import document
from swift.s3.policy.public import is_public
from swift.s3.request import S3Request
from swift.s3.xml import Node, Text, element, maybe, node, one, read
from swift.s3.xml import document as xml_document

_MOST_BYTES = 65_536
_FLAGS = (
    bucket_rules.BLOCK_ACLS, bucket_rules.IGNORE_ACLS, bucket_rules.BLOCK_POLICY, bucket_rules.RESTRICT,
)  # fmt: skip
_BLOCK = Node({name: maybe(Text("(?i)true|false")) for name in _FLAGS})
_OWNERSHIPS = (bucket_rules.ENFORCED, bucket_rules.PREFERRED, bucket_rules.WRITER)
_OWNERSHIP = Node({"Rule": one(Node({"ObjectOwnership": one(Text("|".join(_OWNERSHIPS)))}))})
_TOO_LARGE = "Policy exceeds the maximum allowed document size."


def _need(request: S3Request, extension: str) -> None:
    """Raises S3Error where the operator has not turned a feature on: there must be no belief that it restricts anybody."""
    if extension not in request.options.extensions:
        raise S3Error("NotImplemented", "The requested resource is not implemented")


def _must_be_owner(request: S3Request) -> None:
    """What is set here decides on others' rights: a right to write into a bucket does not reach so far. Raises S3Error."""
    granted = request.granted.has(request.account or "", request.bucket or "", None)
    if granted or request.is_decided:
        return
    if not request.owns_account():
        raise S3Error("AccessDenied", reason="not_the_owner")


# -- policies -------------------------------------------------------------------------------------------------------------


def put_policy(request: S3Request) -> Answer:
    """PutBucketPolicy; the text is kept as it is."""
    _need(request, "policy")
    assert request.bucket is not None
    try:
        data = request.document_body(document.MOST_BYTES)
    except S3Error as error:
        if error.code == "MalformedXML":
            raise document.malformed(_TOO_LARGE) from None
        raise
    try:
        text = data.decode()
    except UnicodeError:
        raise S3Error("MalformedPolicy") from None
    found = document.parse(text)
    document.check_bucket(found, request.bucket)
    _must_be_owner(request)
    rules = bucket_rules.of_request(request)
    if bucket_rules.BLOCK_POLICY in rules.blocks and is_public(found):
        raise S3Error("AccessDenied", reason="public_policy")
    bucket_documents.store(request, bucket_rules.POLICY, {"text": text})
    return empty(204)


def get_policy(request: S3Request) -> Answer:
    """GetBucketPolicy."""
    _must_be_owner(request)
    found = bucket_documents.current(request, bucket_rules.POLICY)
    if found is None:
        raise S3Error("NoSuchBucketPolicy", BucketName=request.bucket)
    data = str(found.get("text", "")).encode()
    return Answer(200, [("Content-Type", "application/json"), ("Content-Length", str(len(data)))], [data])


def delete_policy(request: S3Request) -> Answer:
    """DeleteBucketPolicy."""
    _must_be_owner(request)
    bucket_documents.remove(request, bucket_rules.POLICY)
    return empty(204)


def get_status(request: S3Request) -> Answer:
    """GetBucketPolicyStatus."""
    _must_be_owner(request)
    found = bucket_documents.current(request, bucket_rules.POLICY)
    if found is None:
        raise S3Error("NoSuchBucketPolicy", BucketName=request.bucket)
    public = is_public(document.parse(str(found.get("text", ""))))
    return xml_answer(xml_document("PolicyStatus", element("IsPublic", "true" if public else "false")))


# -- public access --------------------------------------------------------------------------------------------------------


def get_block(request: S3Request) -> Answer:
    """GetPublicAccessBlock."""
    found = bucket_documents.current(request, bucket_rules.BLOCK)
    if found is None:
        raise S3Error("NoSuchPublicAccessBlockConfiguration", BucketName=request.bucket)
    shown = (element(name, found.get(name, "false")) for name in _FLAGS)
    return xml_answer(xml_document("PublicAccessBlockConfiguration", *shown))


def put_block(request: S3Request) -> Answer:
    """PutPublicAccessBlock."""
    _need(request, "public-access-block")
    found = read(request.document_body(_MOST_BYTES), "PublicAccessBlockConfiguration", _BLOCK)
    _must_be_owner(request)
    kept = {name: str(found.get(name, "false")).lower() for name in _FLAGS}
    bucket_documents.store(request, bucket_rules.BLOCK, kept)
    return empty(200)


def delete_block(request: S3Request) -> Answer:
    """DeletePublicAccessBlock."""
    _must_be_owner(request)
    bucket_documents.remove(request, bucket_rules.BLOCK)
    return empty(204)


# -- ownership ------------------------------------------------------------------------------------------------------------


def get_ownership(request: S3Request) -> Answer:
    """GetBucketOwnershipControls."""
    found = bucket_documents.current(request, bucket_rules.OWNERSHIP)
    if found is None:
        raise S3Error("OwnershipControlsNotFoundError", BucketName=request.bucket)
    rule = node("Rule", element("ObjectOwnership", found["ObjectOwnership"]))
    return xml_answer(xml_document("OwnershipControls", rule))


def put_ownership(request: S3Request) -> Answer:
    """PutBucketOwnershipControls."""
    _need(request, "ownership")
    found = read(request.document_body(_MOST_BYTES), "OwnershipControls", _OWNERSHIP)
    _must_be_owner(request)
    wanted = found["Rule"]["ObjectOwnership"]
    if wanted == bucket_rules.ENFORCED and _grants_others(request):
        raise S3Error("InvalidBucketAclWithObjectOwnership")
    bucket_documents.store(request, bucket_rules.OWNERSHIP, {"ObjectOwnership": wanted})
    return empty(200)


def _grants_others(request: S3Request) -> bool:
    """Returns True if the bucket's ACL lets anybody but its owner."""
    if request.options.s3_acl:
        acl = access.acl_of_bucket(request) or forms.NOBODYS
        return any(grant.grantee != acl.owner for grant in acl.grants)
    return ".r:*" in (request.container_info()["read_acl"] or "").split(",")


def delete_ownership(request: S3Request) -> Answer:
    """DeleteBucketOwnershipControls."""
    _must_be_owner(request)
    bucket_documents.remove(request, bucket_rules.OWNERSHIP)
    return empty(204)


def created_with(request: S3Request) -> dict[str, str]:
    """The native headers (environ keys) of a bucket that is made with x-amz-object-ownership. Raises S3Error."""
    wanted = request.header("x-amz-object-ownership")
    if wanted is None:
        return {}
    if wanted not in _OWNERSHIPS:
        raise S3Error(
            "InvalidArgument",
            "Invalid x-amz-object-ownership header",
            ArgumentName="x-amz-object-ownership",
            ArgumentValue=wanted[:256],
        )
    if wanted == bucket_rules.WRITER:
        return {}
    _need(request, "ownership")
    if wanted == bucket_rules.ENFORCED and request.header("x-amz-acl") not in (
        None, "private", "bucket-owner-full-control",
    ):  # fmt: skip
        raise S3Error("InvalidBucketAclWithObjectOwnership")
    return bucket_documents.headers_of(bucket_rules.OWNERSHIP, {"ObjectOwnership": wanted})
