"""Buckets: making and removing them, what is known of them, versioning (spec s3.md 7.2, 27)."""

from __future__ import annotations

from swift.core.config import truthy
from swift.s3 import access, bucket_documents, storage_classes, tagging
from swift.s3.acl import native, own
from swift.s3.answers import Answer, empty, xml_answer
from swift.s3.bucket_names import resolving
from swift.s3.errors import S3Error
from swift.s3.multipart import handlers as multipart
from swift.s3.object_lock import handlers as lock
from swift.s3.policy import handlers as policy_handlers
from swift.s3.request import Handler, S3Request
from swift.s3.xml import Node, Text, document, element, many, maybe, one, read

_DOCUMENT_LIMIT = 10_240
_ROW_LIMIT = 65_536  # bytes of a listing of one row
_CREATE = Node(
    {
        "LocationConstraint": maybe(Text()),
        "Tags": maybe(Node({"Tag": many(Node({"Key": one(Text()), "Value": one(Text())}))})),
    }
)
_VERSIONING = Node({"Status": one(Text("Enabled|Suspended")), "MfaDelete": maybe(Text("Enabled|Disabled"))})
_REGION = "x-amz-bucket-region"


def bucket_of(request: S3Request) -> str:
    assert request.bucket is not None
    return request.bucket


def create(request: S3Request) -> Answer:
    """CreateBucket. `<location>:<policy>` as LocationConstraint chooses a storage policy."""
    bucket = bucket_of(request)
    headers = {**native.canned_headers(request), **policy_handlers.created_with(request)}
    stored = access.new_acl(request) if request.options.s3_acl else None
    is_locked = lock.wants_lock(request)
    policy = request.environ.get("HTTP_X_STORAGE_POLICY")
    tags: tagging.Tags = {}
    data = request.document_body(_DOCUMENT_LIMIT, required=False)
    if data:
        found = read(data, None, _CREATE)
        wanted = found.get("LocationConstraint", "")
        rows = found.get("Tags", {}).get("Tag", ())
        tags = tagging.checked(((row["Key"], row["Value"]) for row in rows), tagging.MOST_OF_BUCKET)
        location, _, named = wanted.partition(":")
        if location and location not in (request.options.location, request.options.location.lower()):
            raise S3Error("InvalidLocationConstraint", LocationConstraint=wanted)
        policy = storage_classes.policy_named(request.options, named) or policy
    if policy:
        headers["HTTP_X_STORAGE_POLICY"] = policy
    claim = resolving.Claim(request) if request.options.has_global_buckets else None
    answer = request.ask("PUT", bucket, headers=headers)
    if answer.status == 202:
        answer.close()
        if claim is not None:
            claim.keep()
        raise S3Error(_taken(request), BucketName=bucket)
    if answer.status != 201:
        if claim is not None and answer.status < 500:
            claim.give_up()
        raise request.error_of(answer, bucket)
    answer.drain()
    if claim is not None:
        claim.hold()
    if stored is not None:
        own.store_for_bucket(request, stored)
    if tags:
        request.forget_infos()
        tagging.store_for_bucket(request, tags)
    if is_locked:
        lock.enable(request)
    return empty(200, [("Location", f"/{bucket}")])


def _taken(request: S3Request) -> str:
    """The error of a bucket that is there already."""
    if request.options.s3_acl:
        acl = access.acl_of_bucket(request)
        if acl is None or (acl.owner is not None and not access.is_owner(request, acl)):
            return "BucketAlreadyExists"
    return "BucketAlreadyOwnedByYou"


def head(request: S3Request) -> Answer:
    """HeadBucket."""
    answer = request.ask("HEAD", bucket_of(request))
    if not answer.is_success:
        raise request.error_of(answer, request.bucket)
    answer.close()
    shown = [(name, value) for name, value in answer.headers if name.lower() == "last-modified"]
    return empty(200, [*shown, (_REGION, request.options.location), ("Content-Type", "application/xml")])


def delete(request: S3Request) -> Answer:
    """DeleteBucket, with what multipart uploads have left in its segments' container.

    The bucket goes first: if it may not, or an object has come meanwhile, no part goes either. Parts that can't be removed then are found by the
    sweep for orphans.
    """
    bucket = bucket_of(request)
    has_uploads = request.options.allow_multipart_uploads
    if has_uploads:
        answer = request.ask("HEAD", bucket, headers={"HTTP_X_NEWEST": "true"})
        if not answer.is_success:
            raise request.error_of(answer, bucket)
        answer.close()
        if answer.get("x-container-object-count") not in ("0", None):
            raise S3Error("BucketNotEmpty", BucketName=bucket)
        _refuse_versions(request, bucket)
    removal = resolving.Removal(request) if request.options.has_global_buckets else None
    answer = request.ask("DELETE", bucket)
    if answer.status != 204:
        raise request.error_of(answer, bucket)
    answer.close()
    if removal is not None:
        removal.done()
    request.forget_infos()
    try:
        if has_uploads:
            multipart.clean_up(request, bucket)
        bucket_documents.clean_up(request, bucket)
    except S3Error as error:
        request.logger.warning(
            "the bucket %s is gone, not all that uploads have left of it: %s", bucket, error
        )
    return empty(204)


def _refuse_versions(request: S3Request, bucket: str) -> None:
    """A bucket that looks empty may have versions, and the parts of those are in what is cleaned up. Raises S3Error."""
    query = {"format": "json", "limit": "1", "versions": ""}
    answer = request.ask("GET", bucket, query=query, headers={"HTTP_X_NEWEST": "true"})
    if answer.status not in (200, 204):
        raise request.error_of(answer, bucket)
    if answer.read(_ROW_LIMIT).strip() not in (b"", b"[]"):
        raise S3Error("BucketNotEmpty", BucketName=bucket)


def location(request: S3Request) -> Answer:
    """GetBucketLocation."""
    _must_exist(request)
    name = request.options.location
    return xml_answer(document("LocationConstraint", "" if name == "us-east-1" else name))


def get_versioning(request: S3Request) -> Answer:
    """GetBucketVersioning."""
    info = _must_exist(request)
    enabled = info["sysmeta"].get("versions-enabled")
    if enabled is None:
        return xml_answer(document("VersioningConfiguration"))
    return xml_answer(
        document("VersioningConfiguration", element("Status", "Enabled" if truthy(enabled) else "Suspended"))
    )


def put_versioning(request: S3Request) -> Answer:
    """PutBucketVersioning."""
    found = read(request.document_body(_DOCUMENT_LIMIT), "VersioningConfiguration", _VERSIONING)
    if found.get("MfaDelete") == "Enabled":
        raise S3Error("NotImplemented", "MFA Delete is not supported.")
    enabled = "true" if found["Status"] == "Enabled" else "false"
    if enabled == "false":
        lock.check_versioning(request)
    answer = request.ask("POST", bucket_of(request), headers={"HTTP_X_VERSIONS_ENABLED": enabled})
    if not answer.is_success:
        raise request.error_of(answer, request.bucket)
    answer.drain()
    return empty(200)


def _must_exist(request: S3Request) -> dict[str, dict[str, str]]:
    """What is known of the bucket, asked with the caller's rights. Raises S3Error."""
    answer = request.ask("HEAD", bucket_of(request))
    if not answer.is_success:
        raise request.error_of(answer, request.bucket)
    answer.close()
    return dict(request.container_info())


# -- what other stores keep with a bucket, and this one has not --------------------------------------------------------------


def _absent(code: str) -> Handler:
    def handler(request: S3Request) -> Answer:
        _must_exist(request)
        raise S3Error(code, BucketName=request.bucket)

    return handler


def _constant(*parts: str, name: str) -> Handler:
    def handler(request: S3Request) -> Answer:
        _must_exist(request)
        return xml_answer(document(name, *parts))

    return handler
