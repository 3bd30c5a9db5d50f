"""CreateMultipartUpload (spec s3.md 7.5)."""

from __future__ import annotations

from swift.core import clock
from swift.core.policy import policies
from swift.s3 import access, checksums, customer_keys, metadata, objects, tagging
from swift.s3.answers import Answer, xml_answer
from swift.s3.lifecycle import handlers as lifecycle
from swift.s3.multipart import layout, marker, part_checksums
from swift.s3.object_lock import sent as lock
from swift.s3.request import S3Request
from swift.s3.xml import document, element
from swift.wire.message import str_to_wsgi

HAS_TYPE = "HTTP_X_OBJECT_SYSMETA_S3API_HAS_CONTENT_TYPE"
TYPE = "HTTP_X_OBJECT_SYSMETA_S3API_CONTENT_TYPE"
ACL = "HTTP_X_OBJECT_SYSMETA_S3API_TMPACL"


def create(request: S3Request) -> Answer:
    """CreateMultipartUpload: the marker, in a segments container made on the first occasion."""
    bucket, key = layout.names_of(request)
    layout.check_key(key)
    objects.check_headers(request)
    headers = {
        **metadata.named_headers(request.environ, metadata.STORED_HEADERS),
        **metadata.user_metadata(request.environ),
        **{key: value for key, value in metadata.kept_sysmeta(request.environ).items() if value},
    }
    for name in ("HTTP_X_DELETE_AT", "HTTP_X_DELETE_AFTER", "HTTP_X_ROBOTS_TAG"):
        headers.pop(name, None)
    kind = headers.pop("CONTENT_TYPE", None)
    headers[HAS_TYPE] = "yes" if kind else "no"
    if kind:
        headers[TYPE] = kind
    if request.options.s3_acl:
        headers[ACL] = access.new_acl(request)
    else:
        access.check_sent_acl(request)
    headers["CONTENT_TYPE"] = marker.MEDIA_TYPE
    announced = part_checksums.announced(request)
    if announced.algorithm:
        headers[marker.ALGORITHM_KEY], headers[marker.TYPE_KEY] = announced.algorithm.upper(), announced.kind
        headers[checksums.ROW_TYPE_KEY] = checksums.in_row(
            marker.MEDIA_TYPE, announced.algorithm, announced.kind
        )
    tags = tagging.parse_header(request.header("x-amz-tagging") or "")
    if tags:
        headers[tagging.MARKER_KEY] = tagging.stored(tags)
    secret = customer_keys.sent(request)
    headers.update(customer_keys.seal_headers(secret))
    upload = layout.new_upload_id()
    name = f"{key}/{upload}"
    headers.update(lock.marker_headers(request))
    make_container(request, bucket)
    answer = request.ask("PUT", layout.segments(bucket), name, headers=headers, body=b"")
    if answer.status != 201:
        raise request.error_of(answer, bucket, key)
    answer.drain()
    encrypted = [(metadata.ENCRYPTION, "AES256")] if metadata.is_encrypting() else []
    return xml_answer(
        document(
            "InitiateMultipartUploadResult",
            element("Bucket", bucket),
            element("Key", key),
            element("UploadId", upload),
        ),
        [
            *lifecycle.abort_headers(request, clock.time()),
            *announced.headers(),
            *customer_keys.with_told(encrypted, secret),
        ],
    )


def make_container(request: S3Request, bucket: str) -> None:
    """The segments container, with the bucket's policy and rights, if it is not there. Raises S3Error."""
    info = layout.check_bucket(request, bucket)
    container = layout.segments(bucket)
    if 200 <= request.container_info(container)["status"] < 300:
        return
    policy = policies().get_by_index(info["storage_policy"])
    headers = {} if policy is None else {"HTTP_X_STORAGE_POLICY": policy.name}
    for key, name in (("read_acl", "HTTP_X_CONTAINER_READ"), ("write_acl", "HTTP_X_CONTAINER_WRITE")):
        if info[key]:
            headers[name] = str_to_wsgi(info[key])
    answer = request.ask("PUT", container, headers=headers)
    if answer.status not in (201, 202):
        raise request.error_of(answer, bucket)
    answer.drain()
    request.forget_infos()
