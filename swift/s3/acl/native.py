"""ACLs where the native ones count (`s3_acl` off): canned ACLs of buckets as container ACLs (spec s3.md 8.1).

Never here: S3's own ACLs, which are kept with buckets and objects.
"""

from __future__ import annotations

from swift.s3 import access
from swift.s3.answers import Answer, empty, xml_answer
from swift.s3.errors import S3Error
from swift.s3.request import S3Request
from swift.s3.rights import SEGMENTS
from swift.s3.service import owner
from swift.s3.xml import XSI, Child, Node, Text, document, element, many, maybe, node, one, read

_ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
_DOCUMENT_LIMIT = 204_800
_CANNED = {
    "private": (".", "."),
    "bucket-owner-read": (".", "."),
    "bucket-owner-full-control": (".", "."),
    "public-read": (".r:*,.rlistings", None),
}
_NOT_THERE = ("authenticated-read", "log-delivery-write", "public-read-write", "aws-exec-read")
_USER = Node({"ID": one(Text()), "DisplayName": maybe(Text())})
_GRANTEE = Node(
    {name: maybe(Text()) for name in ("ID", "DisplayName", "URI", "EmailAddress")}, attribute="type"
)
_POLICY = Node(
    {
        "Owner": Child(_USER, 0, 1),
        "AccessControlList": one(
            Node({"Grant": many(Node({"Grantee": one(_GRANTEE), "Permission": one(Text())}), 0, 100)})
        ),
    }
)


def canned_headers(request: S3Request) -> dict[str, str]:
    """The native headers (environ keys) of a request's x-amz-acl, none if there is none. Raises S3Error."""
    canned = request.header("x-amz-acl")
    return {} if request.options.s3_acl or canned is None else _headers_of(canned)


def check_object_acl(request: S3Request) -> None:
    """What an object may be sent with: the rights of its bucket are the only ones. Raises S3Error."""
    canned = request.header("x-amz-acl")
    if canned is not None and not request.options.s3_acl:
        _headers_of(canned)


def _headers_of(canned: str) -> dict[str, str]:
    if canned in _NOT_THERE:
        raise S3Error("NotImplemented", f"The canned ACL {canned} is not supported.")
    if canned not in _CANNED:
        raise S3Error("InvalidArgument", ArgumentName="x-amz-acl", ArgumentValue=canned)
    readers, writers = _CANNED[canned]
    headers = {"HTTP_X_CONTAINER_READ": readers}
    if writers is not None:
        headers["HTTP_X_CONTAINER_WRITE"] = writers
    return headers


def get(request: S3Request) -> Answer:
    """GetBucketAcl and GetObjectAcl: all that the caller may, and whether everybody may read."""
    assert request.bucket is not None
    bucket, key = request.bucket, request.key
    answer = request.ask("HEAD", bucket, key)
    if not answer.is_success:
        raise request.error_of(answer, bucket, key)
    answer.close()
    grants = [
        _grant(
            "CanonicalUser",
            element("ID", request.user_id) + element("DisplayName", request.user_id),
            "FULL_CONTROL",
        )
    ]
    if ".r:*" in (request.container_info()["read_acl"] or "").split(","):
        grants.append(_grant("Group", element("URI", _ALL_USERS), "READ"))
    return xml_answer(document("AccessControlPolicy", owner(request), node("AccessControlList", *grants)))


def _grant(kind: str, inner: str, permission: str) -> str:
    grantee = f'<Grantee xmlns:xsi="{XSI}" xsi:type="{kind}">{inner}</Grantee>'
    return node("Grant", grantee, element("Permission", permission))


def put_object(request: S3Request) -> Answer:
    """PutObjectAcl: objects have the rights of their bucket."""
    raise S3Error("NotImplemented", "ACLs of objects are not supported.")


def put_bucket(request: S3Request) -> Answer:
    """PutBucketAcl: a canned ACL in a header, or a document that means one."""
    assert request.bucket is not None
    data = request.document_body(_DOCUMENT_LIMIT, required=False)
    headers = canned_headers(request)
    if data and headers:
        raise S3Error("UnexpectedContent")
    if not data and not headers:
        raise S3Error("MissingSecurityHeader", MissingHeaderName="x-amz-acl")
    if data:
        headers = _headers_of(_canned_of(data))
    access.check_changed_acl(request, headers["HTTP_X_CONTAINER_READ"] != ".")
    # The parts of its objects have the same rights: what was open to everybody must not stay so.
    for container in (request.bucket, request.bucket + SEGMENTS):
        answer = request.ask("POST", container, headers=headers)
        if answer.status == 404 and container != request.bucket:
            answer.close()
            continue
        if answer.status not in (201, 202, 204):
            raise request.error_of(answer, request.bucket)
        answer.drain()
    return empty(200)


def _canned_of(data: bytes) -> str:
    """The canned ACL that a document means. Raises S3Error."""
    found = read(data, "AccessControlPolicy", _POLICY, "MalformedACLError")
    canned = "private"
    for grant in found["AccessControlList"]["Grant"]:
        grantee, permission = grant["Grantee"], grant["Permission"]
        kind = grantee["@type"]
        if kind == "CanonicalUser" and permission == "FULL_CONTROL":
            continue
        if kind == "Group" and grantee.get("URI") == _ALL_USERS and permission == "READ":
            canned = "public-read"
        elif kind == "Group" and grantee.get("URI") == _ALL_USERS and permission == "WRITE":
            return "public-read-write"
        else:
            raise S3Error("MalformedACLError")
    return canned
