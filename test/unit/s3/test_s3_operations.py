"""Which operation a request is, and that nothing is done that nobody understands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.s3.errors import S3Error
from swift.s3.operations import OPERATIONS, SUBRESOURCES, TABLE, find, table_of
from swift.s3.options import Options
from swift.s3.request import S3Request


def request(line, options=None):
    method, _, path = line.partition(" ")
    path, _, query = path.partition("?")
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
    return S3Request(environ, None, options or Options(), None, None)


def named(line, options=None):
    """The operation's name, or (code, status)."""
    try:
        return find(request(line, options)).name
    except S3Error as error:
        return error.code, error.status


@pytest.mark.parametrize(
    "line, name",
    [
        ("GET /", "ListBuckets"),
        ("GET /bucket", "ListObjects"),
        ("GET /bucket?list-type=2&prefix=acl", "ListObjects"),
        ("GET /bucket?versions&prefix=x", "ListObjectVersions"),
        ("PUT /bucket", "CreateBucket"),
        ("PUT /bucket?acl", "PutBucketAcl"),
        ("POST /bucket?delete", "DeleteObjects"),
        ("GET /bucket?uploads&max-uploads=1", "ListMultipartUploads"),
        ("GET /bucket/k", "GetObject"),
        ("GET /bucket/k?versionId=1.2&response-content-type=x", "GetObject"),
        ("GET /bucket/k?partNumber=1", "GetObject"),
        ("HEAD /bucket/k?partNumber=1", "HeadObject"),
        ("PUT /bucket/k?x-id=PutObject", "PutObject"),
        ("PUT /bucket/k?partNumber=1&uploadId=x&x-id=UploadPart", "UploadPart"),
        ("POST /bucket/k?uploads", "CreateMultipartUpload"),
        ("POST /bucket/k?uploadId=x", "CompleteMultipartUpload"),
        ("DELETE /bucket/k?uploadId=x", "AbortMultipartUpload"),
        ("DELETE /bucket/k?versionId=1.2", "DeleteObject"),
        ("POST /bucket/k?restore", "RestoreObject"),
        ("PUT /bucket?website", "PutBucketWebsite"),
        (
            "PUT /bucket/k?X-Amz-Algorithm=x&X-Amz-Credential=x&X-Amz-Date=x&X-Amz-Expires=1&X-Amz-SignedHeaders=h&X-Amz-Signature=s",
            "PutObject",
        ),
        ("PUT /bucket/k?AWSAccessKeyId=a&Expires=1&Signature=x", "PutObject"),
        ("GET /bucket?nonsense", "ListObjects"),
    ],
)
def test_what_is_asked_for(line, name):
    assert named(line) == name


@pytest.mark.parametrize(
    "line, code, status",
    [
        ("DELETE /bucket/k?legal-hold", "NotImplemented", 501),
        ("DELETE /bucket/k?retention", "NotImplemented", 501),
        ("DELETE /bucket?object-lock", "MethodNotAllowed", 405),
        ("POST /bucket/k?select&select-type=2", "NotImplemented", 501),
        ("GET /bucket/k?torrent", "NotImplemented", 501),
        ("GET /bucket?torrent", "NotImplemented", 501),
        ("PUT /bucket?nonsense", "NotImplemented", 501),
        ("DELETE /bucket?nonsense=1", "NotImplemented", 501),
        ("POST /bucket", "NotImplemented", 501),
        ("POST /bucket/k", "NotImplemented", 501),
        ("PUT /", "MethodNotAllowed", 405),
        ("PATCH /bucket/k", "MethodNotAllowed", 405),
        ("DELETE /bucket?location", "MethodNotAllowed", 405),
        ("POST /bucket?versioning", "MethodNotAllowed", 405),
    ],
)
def test_what_is_not_there(line, code, status):
    assert named(line) == (code, status)


@given(
    st.sampled_from(["PUT", "POST", "DELETE"]),
    st.sampled_from(["/bucket", "/bucket/k"]),
    st.sampled_from(SUBRESOURCES),
    st.text("abc-&=", max_size=5),
)
def test_no_change_of_a_subresource_is_one_of_the_thing_itself(method, path, subresource, rest):
    found = named(f"{method} {path}?{subresource}&{rest}")
    plain = {"PutObject", "DeleteObject", "CreateBucket", "DeleteBucket"}
    assert found not in plain


def test_uploads_can_be_switched_off():
    options = Options(allow_multipart_uploads=False)
    for line in ("POST /bucket/k?uploads", "PUT /bucket/k?partNumber=1&uploadId=x", "GET /bucket?uploads"):
        assert named(line, options) == ("NotImplemented", 501)
    assert named("PUT /bucket/k", options) == "PutObject"


def test_the_table_holds_each_operation_once():
    assert len(TABLE) == len(OPERATIONS) == len({operation.name for operation in OPERATIONS})
    assert all(operation.action.startswith("s3:") for operation in OPERATIONS)
    assert {operation.subresource for operation in OPERATIONS} - {""} <= set(SUBRESOURCES)
    with pytest.raises(ValueError):
        table_of((OPERATIONS[0], OPERATIONS[0]))
