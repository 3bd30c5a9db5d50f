"""GET and PUT ?acl where S3's own ACLs count (spec s3.md 8.2). `access` has found that who asks may do it by then."""

from __future__ import annotations

from typing import Any

from swift.middleware.copy import READ_HEADERS
from swift.middleware.customer_keys import RAW
from swift.middleware.info import forget_container
from swift.s3 import access, metadata, object_changes
from swift.s3.acl import forms
from swift.s3.acl.forms import Acl
from swift.s3.answers import Answer, empty, xml_answer
from swift.s3.errors import S3Error
from swift.s3.multipart import copies
from swift.s3.notifications import events
from swift.s3.request import S3Request, quoted
from swift.wire.message import str_to_wsgi
from swift.wire.subanswer import Subanswer

_DOCUMENT_LIMIT = 204_800
_BUCKET_KEY = "HTTP_X_CONTAINER_SYSMETA_S3API_ACL"
_OBJECT_KEY = "HTTP_X_OBJECT_SYSMETA_S3API_ACL"


def get(request: S3Request) -> Answer:
    """GetBucketAcl and GetObjectAcl."""
    if request.key is None:
        acl = access.acl_of_bucket(request)
    else:
        acl = access.acl_of_object(_object(request, "READ_ACP"))
    return xml_answer((acl or forms.NOBODYS).document())


def _object(request: S3Request, permission: str) -> Subanswer:
    """What a HEAD says of the object, which may be another one than that which was decided on. Raises S3Error."""
    assert request.bucket is not None and request.key is not None
    query = {} if request.version_id is None else {"version-id": request.version_id}
    answer = request.ask("HEAD", request.bucket, request.key, query, {"HTTP_X_NEWEST": "true"})
    answer.close()
    access.check_object(request, answer, request.bucket, request.key, query, permission)
    if not answer.is_success:
        raise request.error_of(answer, request.bucket, request.key)
    return answer


def put_bucket(request: S3Request) -> Answer:
    """PutBucketAcl."""
    acl = _wanted(request, access.acl_of_bucket(request))
    access.check_changed_acl(request, acl.is_public)
    store_for_bucket(request, acl.stored())
    return empty(200)


def store_for_bucket(request: S3Request, stored: str) -> None:
    """Give a bucket its ACL. Raises S3Error."""
    assert request.bucket is not None
    answer = request.ask("POST", request.bucket, headers={_BUCKET_KEY: stored}, rights="own")
    if not answer.is_success:
        raise request.error_of(answer, request.bucket)
    answer.drain()
    if request.account is not None:
        forget_container(request.environ, str_to_wsgi(request.account), str_to_wsgi(request.bucket))


def put_object(request: S3Request) -> Answer:
    """PutObjectAcl: the object is written onto itself, just behind what was looked at: an object that comes meanwhile stays.

    A version stays the version that it is, and what is made of parts is made of the same ones: its bytes are not copied.
    """
    assert request.bucket is not None and request.key is not None
    found = _object(request, "WRITE_ACP")
    acl = _wanted(request, access.acl_of_object(found))
    access.check_changed_acl(request, acl.is_public)
    container, name = object_changes.place(request, found)
    headers: dict[str, Any] = {
        _OBJECT_KEY: acl.stored(),
        "HTTP_X_TIMESTAMP": object_changes.after(found),
        **object_changes.rewritten(found),
    }
    if container != request.bucket:
        headers["HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"] = "true"
    if (found.get("x-static-large-object") or "").lower() == "true":
        copies.rewrite(request, found, container, name, headers)
    else:
        headers["HTTP_X_COPY_FROM"] = str_to_wsgi("/" + quoted(f"{container}/{name}"))
        headers[READ_HEADERS] = {RAW: True}
        answer = request.ask("PUT", container, name, headers=headers, body=b"")
        if answer.status not in (201, 202):
            raise request.error_of(answer, request.bucket, request.key)
        answer.drain()
    request.tell(
        events.ACL_PUT,
        request.key,
        size=found.content_length,
        etag=found.get(metadata.ETAG) or found.etag,
        version_id=found.get("x-object-version-id"),
    )
    return empty(200)


def _wanted(request: S3Request, stored: Acl | None) -> Acl:
    """The ACL that a request brings, in its headers or as its document. Raises S3Error."""
    data = request.document_body(_DOCUMENT_LIMIT, required=False)
    sent = access.sent_acl(request)
    owner = stored.owner if stored is not None else None
    if sent is not None and data:
        raise S3Error("UnexpectedContent")
    if sent is not None:
        return _of_owner(request, sent, owner)
    if not data:
        raise S3Error("MissingSecurityHeader", MissingHeaderName="x-amz-acl")
    acl = forms.of_document(data)
    if acl.owner != owner:
        raise S3Error("AccessDenied", reason="not_the_owner")
    return acl


def _of_owner(request: S3Request, sent: Acl, owner: str | None) -> Acl:
    """An ACL that headers give to what somebody owns: who may change it does not come to own it."""
    canned = request.header("x-amz-acl")
    if owner is None:
        return sent
    if canned is None:
        return Acl(owner, sent.grants)
    bucket = access.acl_of_bucket(request)
    return forms.of_canned(canned, owner, (bucket.owner if bucket is not None else None) or owner)
