"""Who may do what, where S3's own ACLs count (`s3_acl` on; spec s3.md 8.2, 13.7).

`decide` is asked once between finding an operation and carrying it out; after its yes the native requests of this request are authorized
already. The ACL of an object that is read comes with the answer that holds the object (`check_object`). With `s3_acl` off nothing is
decided here: the auth filter does, in each native request. Never here: what an ACL looks like.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from swift.s3.acl import forms
from swift.s3.acl.forms import Acl
from swift.s3.errors import S3Error
from swift.s3.request import S3Request
from swift.wire.subanswer import Subanswer

OBJECT_ACL = "x-object-sysmeta-s3api-acl"
_OLD_OBJECT_ACL = "x-object-sysmeta-swift3-acl"
# Their handlers ask about the object whose answer they hand on.
_ASK_THEMSELVES = ("GetObject", "HeadObject")
_TELL_OF_OBJECT = (304, 412, 416)


class _Operation(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def level(self) -> str: ...
    @property
    def permission(self) -> str: ...
    @property
    def checks_object(self) -> bool: ...


def decide(request: S3Request, operation: _Operation) -> None:
    """Raises S3Error if who asks may not have an operation carried out."""
    if not request.options.s3_acl:
        return
    request.authenticate()
    if operation.name == "CreateBucket":
        return  # a right of the account's, which the auth filter knows of
    permission, reads = operation.permission, operation.method in ("GET", "HEAD")
    if operation.name == "ListBuckets":
        # An account that the access key only names is not the caller's: the auth filter is asked then.
        request.is_decided = request.is_at_home
        return
    if operation.level == "object" and (operation.checks_object or not permission):
        request.is_decided = True
        if operation.name not in _ASK_THEMSELVES:
            _look_at_object(request, permission or ("READ" if reads else "OWNER"))
        return
    if permission or not reads:
        # What changes something and says nothing of who may is for the owner alone.
        _check_bucket(request, permission or "OWNER")
    request.is_decided = True


def require(
    request: S3Request,
    action: str,
    bucket: str,
    key: str | None = None,
    *,
    version_id: str | None = None,
    permission: str = "",
) -> None:
    """The decision about a second thing that a request touches: a copy's source, each key of DeleteObjects, a lock that is bypassed.

    `action`: as policies call it, of an object that has a version's id without `Version` at its end; `permission`: what an ACL must grant
    for it where S3's own count: of the bucket for "WRITE" and "OWNER"; an object's "READ" is asked by `check_object` with the answer that
    holds it. "OWNER" is for what native requests say nothing of: only the account's owner may it then, unless a policy says otherwise.
    Raises S3Error.
    """
    if permission == "OWNER" and not request.options.s3_acl:
        if not request.owns_account():
            raise S3Error("AccessDenied", reason="not_the_owner")
        return
    if request.options.s3_acl and permission in ("WRITE", "OWNER"):
        request.authenticate()
        _check_bucket(request, permission, bucket)


def _check_bucket(request: S3Request, permission: str, bucket: str | None = None) -> None:
    acl = acl_of_bucket(request, bucket)
    if acl is not None and acl.lets(request.user_id, permission, request.options.allow_no_owner):
        return
    status = request.container_info(bucket)["status"]
    if status == 404:
        raise S3Error("NoSuchBucket", BucketName=bucket or request.bucket)
    if not 200 <= status < 300:
        raise S3Error("ServiceUnavailable")
    raise S3Error("AccessDenied", reason="acl")


def acl_of_bucket(request: S3Request, bucket: str | None = None) -> Acl | None:
    """The ACL of a bucket as far as its container's info tells; None if it lets nobody (there is no bucket, or what is stored is no ACL)."""
    info = request.container_info(bucket)
    if not 200 <= info["status"] < 300:
        return None
    sysmeta = info.get("sysmeta") or {}
    return forms.of_stored(sysmeta.get("s3api-acl") or sysmeta.get("swift3-acl"))


def acl_of_object(answer: Subanswer) -> Acl | None:
    """The ACL in a native answer that tells of an object; None if what is stored is no ACL."""
    return forms.of_stored(answer.get(OBJECT_ACL) or answer.get(_OLD_OBJECT_ACL))


def _look_at_object(request: S3Request, permission: str) -> None:
    assert request.bucket is not None and request.key is not None
    query = {} if request.version_id is None else {"version-id": request.version_id}
    answer = request.ask("HEAD", request.bucket, request.key, query, {"HTTP_X_NEWEST": "true"})
    answer.close()
    check_object(request, answer, request.bucket, request.key, query, permission)
    if not answer.is_success and answer.status not in (400, 404):
        # What is not known lets nobody: the handler's own look may be luckier.
        raise request.error_of(answer, request.bucket, request.key)


def check_object(
    request: S3Request,
    answer: Subanswer,
    bucket: str,
    key: str,
    query: Mapping[str, str] | None = None,
    permission: str = "READ",
) -> None:
    """Raises S3Error, and closes the answer, if who asks may not be told what a native GET or HEAD of an object answers.

    An answer of conditions and ranges tells of an object without its ACL, which is asked for then; who may not list a bucket is not
    told that a key is absent either.
    """
    if not request.is_decided:
        return
    status = answer.status
    try:
        if status == 404:
            _check_bucket(request, "READ", bucket)
        elif 200 <= status < 300:
            acl = acl_of_object(answer)
            if acl is None or not acl.lets(request.user_id, permission, request.options.allow_no_owner):
                raise S3Error("AccessDenied", reason="acl")
        elif status in _TELL_OF_OBJECT:
            named = {"version-id": query["version-id"]} if query and "version-id" in query else {}
            whole = request.ask("HEAD", bucket, key, named)
            whole.close()
            if whole.status in _TELL_OF_OBJECT:
                raise S3Error("AccessDenied", reason="acl")
            if not whole.is_success and whole.status != 404:
                raise request.error_of(whole, bucket, key)
            check_object(request, whole, bucket, key, named, permission)
    except S3Error:
        answer.close()
        raise


def sent_acl(request: S3Request) -> Acl | None:
    """The ACL that a request's headers give to what it makes, None if they say nothing. Raises S3Error."""
    headers = {name: value for name in forms.HEADERS if (value := request.header(name)) is not None}
    if not headers:
        return None
    owner = request.user_id or ""
    bucket_owner = owner
    if headers.get("x-amz-acl", "").startswith("bucket-owner-") and request.key is not None:
        acl = acl_of_bucket(request)
        bucket_owner = (acl.owner if acl is not None else None) or owner
    return forms.of_headers(headers, owner, bucket_owner)


def new_acl(request: S3Request) -> str:
    """The ACL of what a request makes, as it is stored. Raises S3Error."""
    owner = request.user_id or ""
    return (sent_acl(request) or forms.of_canned("private", owner, owner)).stored()


def object_headers(request: S3Request) -> dict[str, str]:
    """The native headers (environ keys) that an object is made with. Raises S3Error."""
    return {"HTTP_X_OBJECT_SYSMETA_S3API_ACL": new_acl(request)} if request.options.s3_acl else {}


def is_hidden(request: S3Request, bucket: str) -> bool:
    """Returns True for a bucket that a listing of buckets leaves out: `check_bucket_owner` shows nobody what isn't theirs."""
    options = request.options
    if not (options.s3_acl and options.check_bucket_owner):
        return False
    acl = acl_of_bucket(request, bucket)
    return acl is None or not acl.lets(request.user_id, "OWNER", options.allow_no_owner)
