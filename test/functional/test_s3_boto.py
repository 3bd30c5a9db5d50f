"""The S3 API through boto3: what its users do every day, and what they are told when it goes wrong."""

import hashlib
import io
import json
import random
import socket
import urllib.request

import pytest
from boto3.s3.transfer import TransferConfig

from test.s3_clients import refused, s3_client

MB = 1024 * 1024
NAME = "a b/ü+%41?.txt"


@pytest.fixture(scope="module")
def make_client(address):
    def make(user="test:tester", key="testing", aws_session_token=None, **config):
        return s3_client(address, user, key, session_token=aws_session_token, **config)

    return make


@pytest.fixture(scope="module")
def s3(make_client):
    return make_client(signature_version="s3v4")


def body_of(answer):
    return answer["Body"].read()


def keys(s3, bucket, **arguments):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, **arguments)
    return [row["Key"] for page in pages for row in page.get("Contents", [])]


# -- buckets ---------------------------------------------------------------------------------------------------------------


def test_buckets(s3, bucket):
    assert refused(s3.create_bucket, Bucket=bucket) == ("BucketAlreadyOwnedByYou", 409)
    listed = {row["Name"]: row["CreationDate"] for row in s3.list_buckets()["Buckets"]}
    assert listed[bucket].year >= 2025
    assert s3.head_bucket(Bucket=bucket)["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert refused(s3.delete_bucket, Bucket=bucket) == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)
    assert refused(s3.head_bucket, Bucket=bucket) == ("404", 404)
    assert refused(s3.list_objects_v2, Bucket=bucket) == ("NoSuchBucket", 404)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"") == ("NoSuchBucket", 404)
    assert refused(s3.get_object, Bucket=bucket, Key="k") == ("NoSuchBucket", 404)


def test_buckets_come_in_pages(s3, bucket):
    for number in range(3):
        s3.create_bucket(Bucket=f"{bucket[:40]}-{number}")
    pages = s3.get_paginator("list_buckets").paginate(
        Prefix=f"{bucket[:40]}-", PaginationConfig={"PageSize": 2}
    )
    assert [[row["Name"][-1] for row in page["Buckets"]] for page in pages] == [["0", "1"], ["2"]]


def test_a_bucket_in_another_region_or_policy(s3, name):
    bucket = f"s3-{hashlib.md5(name.encode()).hexdigest()}"
    elsewhere = {"LocationConstraint": "eu-west-1"}
    assert refused(s3.create_bucket, Bucket=bucket, CreateBucketConfiguration=elsewhere) == (
        "InvalidLocationConstraint",
        400,
    )
    policy = {"LocationConstraint": "us-east-1:silver"}
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=policy)
    assert refused(s3.create_bucket, Bucket="No_Bucket") == ("InvalidBucketName", 400)


# -- objects ---------------------------------------------------------------------------------------------------------------


def test_an_object_with_all_that_it_has(s3, bucket):
    s3.put_object(
        Bucket=bucket, Key=NAME, Body=b"hello world", ContentType="text/plain", CacheControl="no-cache",
        ContentEncoding="x", ContentDisposition="inline", ContentLanguage="de", Metadata={"one": "1", "under_score": "x"},
    )  # fmt: skip
    found = s3.get_object(Bucket=bucket, Key=NAME)
    assert body_of(found) == b"hello world"
    assert found["Metadata"] == {"one": "1", "under_score": "x"}
    shown = (
        "ContentType",
        "CacheControl",
        "ContentEncoding",
        "ContentDisposition",
        "ContentLanguage",
        "ETag",
    )
    assert [found[name] for name in shown] == [
        "text/plain", "no-cache", "x", "inline", "de", '"5eb63bbbe01eeed093cb22bb8f5acdc3"',
    ]  # fmt: skip
    assert found["ChecksumCRC32"] == "DUoRhQ=="
    assert body_of(s3.get_object(Bucket=bucket, Key=NAME, Range="bytes=6-")) == b"world"
    assert s3.head_object(Bucket=bucket, Key=NAME, Range="bytes=0-3")["ContentLength"] == 4
    assert refused(s3.get_object, Bucket=bucket, Key=NAME, Range="bytes=50-")[1] == 416
    other = s3.get_object(Bucket=bucket, Key=NAME, ResponseContentType="q/r", ResponseCacheControl="x")
    assert other["ContentType"] == "q/r"
    s3.delete_object(Bucket=bucket, Key=NAME)
    s3.delete_object(Bucket=bucket, Key=NAME)
    assert refused(s3.get_object, Bucket=bucket, Key=NAME) == ("NoSuchKey", 404)


def test_an_object_is_its_own_first_part(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"whole")
    for read in (s3.get_object, s3.head_object):
        told = read(Bucket=bucket, Key="k", PartNumber=1)
        assert told["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert told["ContentRange"] == "bytes 0-4/5" and told["ContentLength"] == 5
        assert refused(read, Bucket=bucket, Key="k", PartNumber=2)[1] == 416


def test_a_native_expiry_that_is_none(s3, bucket):
    def send_expiry(request, **_):
        request.headers["X-Delete-At"] = "5"

    s3.meta.events.register("before-sign.s3.PutObject", send_expiry)
    try:
        assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x") == ("InvalidArgument", 400)
    finally:
        s3.meta.events.unregister("before-sign.s3.PutObject", send_expiry)


def test_conditions(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    assert body_of(s3.get_object(Bucket=bucket, Key="k", IfMatch=etag)) == b"1"
    assert refused(s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=etag)[1] == 304
    assert refused(s3.get_object, Bucket=bucket, Key="k", IfMatch='"x"') == ("PreconditionFailed", 412)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*") == (
        "PreconditionFailed",
        412,
    )
    s3.put_object(Bucket=bucket, Key="new", Body=b"2", IfNoneMatch="*")
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"1"


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums_are_checked_kept_and_told(s3, bucket, algorithm):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"123456789", ChecksumAlgorithm=algorithm)
    found = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert body_of(found) == b"123456789"
    assert found[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
    wrong = {f"Checksum{algorithm}": put[f"Checksum{algorithm}"]}
    assert refused(s3.put_object, Bucket=bucket, Key="other", Body=b"1234567890", **wrong) == (
        "BadDigest",
        400,
    )
    assert refused(s3.head_object, Bucket=bucket, Key="other")[1] == 404


def test_a_body_that_is_not_the_one_that_was_promised(s3, bucket):
    md5 = "AAAAAAAAAAAAAAAAAAAAAA=="
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ContentMD5=md5) == ("BadDigest", 400)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ContentMD5="x") == ("InvalidDigest", 400)
    assert keys(s3, bucket) == []


def test_copies(s3, bucket):
    s3.put_object(Bucket=bucket, Key=NAME, Body=b"1", Metadata={"a": "b"}, ContentType="x/y")
    source = {"Bucket": bucket, "Key": NAME}
    etag = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)["CopyObjectResult"]["ETag"]
    found = s3.get_object(Bucket=bucket, Key="copy")
    assert (body_of(found), found["Metadata"], found["ContentType"], found["ETag"]) == (
        b"1",
        {"a": "b"},
        "x/y",
        etag,
    )
    s3.copy_object(
        Bucket=bucket, Key=NAME, CopySource=source, MetadataDirective="REPLACE", Metadata={"c": "d"}
    )
    assert s3.head_object(Bucket=bucket, Key=NAME)["Metadata"] == {"c": "d"}
    assert refused(s3.copy_object, Bucket=bucket, Key=NAME, CopySource=source) == ("InvalidRequest", 400)
    missing = {"Bucket": bucket, "Key": "missing"}
    assert refused(s3.copy_object, Bucket=bucket, Key="k", CopySource=missing) == ("NoSuchKey", 404)
    wrong = {"CopySource": source, "CopySourceIfMatch": '"x"'}
    assert refused(s3.copy_object, Bucket=bucket, Key="k", **wrong) == ("PreconditionFailed", 412)


def test_many_deletions(s3, bucket):
    for number in range(5):
        s3.put_object(Bucket=bucket, Key=f"<&{number}>", Body=b"")
    doomed = [{"Key": f"<&{number}>"} for number in range(5)] + [{"Key": "never"}]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed})
    assert [row["Key"] for row in answer["Deleted"]] == [row["Key"] for row in doomed]
    assert keys(s3, bucket) == []
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True})
    assert "Deleted" not in quiet and "Errors" not in quiet


def test_tags_come_along(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", Tagging="a=b%20c&d=")

    def tags(key):
        return {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]}

    assert tags("k") == {"a": "b c", "d": ""}
    assert (
        s3.head_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPHeaders"]["x-amz-tagging-count"]
        == "2"
    )
    source = {"Bucket": bucket, "Key": "k"}
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    s3.copy_object(
        Bucket=bucket, Key="fresh", CopySource=source, MetadataDirective="REPLACE", Metadata={"x": "y"}
    )
    s3.copy_object(Bucket=bucket, Key="other", CopySource=source, TaggingDirective="REPLACE", Tagging="e=f")
    s3.copy_object(Bucket=bucket, Key="none", CopySource=source, TaggingDirective="REPLACE")
    assert [tags(key) for key in ("copy", "fresh", "other", "none")] == [tags("k"), tags("k"), {"e": "f"}, {}]
    target, parts = upload(s3, bucket, "m", [b"1"], Tagging="g=h")
    s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    assert tags("m") == {"g": "h"}
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"2", Tagging="a=b&a=c") == (
        "InvalidArgument",
        400,
    )
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"1"


# -- listings --------------------------------------------------------------------------------------------------------------


def test_listings(s3, bucket):
    names = [f"l/{number:02d}" for number in range(12)] + [NAME, "z&<>"]
    for key in names:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert keys(s3, bucket, PaginationConfig={"PageSize": 5}) == sorted(names)
    old = s3.get_paginator("list_objects").paginate(Bucket=bucket, PaginationConfig={"PageSize": 5})
    assert [row["Key"] for page in old for row in page["Contents"]] == sorted(names)
    page = s3.list_objects_v2(Bucket=bucket, Delimiter="/", MaxKeys=1000, FetchOwner=True)
    assert [row["Key"] for row in page["Contents"]] == ["z&<>"]
    assert [row["Prefix"] for row in page["CommonPrefixes"]] == ["a b/", "l/"]
    assert (page["KeyCount"], page["Contents"][0]["Owner"]["ID"]) == (3, "test:tester")
    assert keys(s3, bucket, StartAfter="l/09", Prefix="l/") == ["l/10", "l/11"]
    none = s3.list_objects_v2(Bucket=bucket, MaxKeys=0)
    assert (none["KeyCount"], none["IsTruncated"]) == (0, False)
    assert refused(s3.list_objects_v2, Bucket=bucket, ContinuationToken="%") == ("InvalidArgument", 400)


# -- multipart -------------------------------------------------------------------------------------------------------------


def upload(s3, bucket, key, bodies, **arguments):
    made = s3.create_multipart_upload(Bucket=bucket, Key=key, **arguments)["UploadId"]
    parts = []
    for number, body in enumerate(bodies, 1):
        answer = s3.upload_part(Bucket=bucket, Key=key, UploadId=made, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    return {"Bucket": bucket, "Key": key, "UploadId": made}, parts


def test_a_multipart_upload(s3, bucket):
    data = random.Random(1).randbytes(5 * MB)
    target, parts = upload(s3, bucket, "m/p", [data, data, b"end"], ContentType="x/y", Metadata={"m_n": "1"})
    assert [row["UploadId"] for row in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [
        target["UploadId"]
    ]
    listed = s3.list_parts(**target, MaxParts=2)
    assert ([row["Size"] for row in listed["Parts"]], listed["NextPartNumberMarker"]) == ([5 * MB] * 2, 2)
    etag = s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})["ETag"]
    binary = b"".join(bytes.fromhex(part["ETag"].strip('"')) for part in parts)
    assert etag == f'"{hashlib.md5(binary).hexdigest()}-3"'
    found = s3.get_object(Bucket=bucket, Key="m/p", IfMatch=etag)
    assert body_of(found) == data + data + b"end"
    assert (found["ContentType"], found["Metadata"], found["ETag"]) == ("x/y", {"m_n": "1"}, etag)
    row = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert (row["ETag"], row["Size"]) == (etag, 10 * MB + 3)
    third = s3.get_object(Bucket=bucket, Key="m/p", PartNumber=3)
    assert (body_of(third), third["PartsCount"]) == (b"end", 3)
    assert refused(s3.get_object, Bucket=bucket, Key="m/p", PartNumber=4)[1] == 416
    assert s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})["ETag"] == etag
    assert refused(s3.abort_multipart_upload, **target) == ("NoSuchUpload", 404)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "m/p"})
    copy = s3.head_object(Bucket=bucket, Key="copy")["ETag"]
    assert copy == s3.list_objects_v2(Bucket=bucket, Prefix="copy")["Contents"][0]["ETag"]


def test_uploads_that_come_to_nothing(s3, bucket):
    target, parts = upload(s3, bucket, "k", [b"x", b"y"])

    def complete(*chosen):
        return refused(s3.complete_multipart_upload, **target, MultipartUpload={"Parts": list(chosen)})[0]

    assert complete(*parts) == "EntityTooSmall"
    assert complete(*reversed(parts)) == "InvalidPartOrder"
    assert complete({"PartNumber": 1, "ETag": '"' + "0" * 32 + '"'}) == "InvalidPart"
    assert complete({"PartNumber": 3, "ETag": parts[0]["ETag"]}) == "InvalidPart"
    assert refused(s3.upload_part, **target, PartNumber=10001, Body=b"")[0] == "InvalidArgument"
    s3.abort_multipart_upload(**target)
    assert complete(*parts) == "NoSuchUpload"
    assert refused(s3.upload_part, **target, PartNumber=1, Body=b"x")[0] == "NoSuchUpload"
    assert refused(s3.list_parts, **target)[0] == "NoSuchUpload"
    assert refused(s3.head_object, Bucket=bucket, Key="k")[1] == 404
    s3.delete_bucket(Bucket=bucket)


def test_uploads_are_listed_page_by_page(s3, bucket):
    made = [
        s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        for key in ("a", "a/b", "b", "b", "c/d/e")
    ]
    pages = s3.get_paginator("list_multipart_uploads").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 2}
    )
    listed = [row["UploadId"] for page in pages for row in page["Uploads"]]
    assert sorted(listed) == sorted(made)
    grouped = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert sorted(row["Prefix"] for row in grouped["CommonPrefixes"]) == ["a/", "c/"]
    assert [row["Key"] for row in grouped["Uploads"]] == ["a", "b", "b"]
    assert [row["Key"] for row in s3.list_multipart_uploads(Bucket=bucket, Prefix="c")["Uploads"]] == [
        "c/d/e"
    ]


def test_parts_that_are_copies(s3, bucket):
    data = random.Random(2).randbytes(6 * MB)
    s3.put_object(Bucket=bucket, Key="source", Body=data)
    target, _ = upload(s3, bucket, "k", [])
    source = {"Bucket": bucket, "Key": "source"}
    etags = [
        s3.upload_part_copy(**target, PartNumber=number, CopySource=source, CopySourceRange=extent)["CopyPartResult"]["ETag"]
        for number, extent in ((1, f"bytes=0-{5 * MB - 1}"), (2, f"bytes={5 * MB}-{6 * MB - 1}"))
    ]  # fmt: skip
    wrong = {"CopySource": source, "CopySourceRange": f"bytes=0-{6 * MB}", "PartNumber": 3}
    assert refused(s3.upload_part_copy, **target, **wrong)[0] == "InvalidArgument"
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
    s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == data


def test_large_files_go_up_and_down_in_parts_at_the_same_time(s3, bucket):
    data = random.Random(3).randbytes(16 * MB + 5)
    config = TransferConfig(multipart_chunksize=5 * MB, multipart_threshold=5 * MB)
    s3.upload_fileobj(io.BytesIO(data), bucket, "k", Config=config)
    back = io.BytesIO()
    s3.download_fileobj(bucket, "k", back, Config=config)
    assert back.getvalue() == data
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)


# -- versions --------------------------------------------------------------------------------------------------------------


def test_versions(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    first, second = (s3.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"] for body in (b"1", b"2"))
    marker = s3.delete_object(Bucket=bucket, Key="k")
    assert marker["DeleteMarker"]
    assert refused(s3.get_object, Bucket=bucket, Key="k") == ("NoSuchKey", 404)
    old = s3.get_object(Bucket=bucket, Key="k", VersionId=first)
    assert (body_of(old), old["VersionId"]) == (b"1", first)
    assert refused(s3.get_object, Bucket=bucket, Key="k", VersionId=marker["VersionId"]) == (
        "MethodNotAllowed",
        405,
    )
    assert refused(s3.get_object, Bucket=bucket, Key="k", VersionId="1.1") == ("NoSuchVersion", 404)
    assert refused(s3.get_object, Bucket=bucket, Key="k", VersionId="x") == ("InvalidArgument", 400)
    listed = s3.list_object_versions(Bucket=bucket)
    assert [(row["VersionId"], row["IsLatest"]) for row in listed["Versions"]] == [
        (second, False),
        (first, False),
    ]
    assert [(row["VersionId"], row["IsLatest"]) for row in listed["DeleteMarkers"]] == [
        (marker["VersionId"], True)
    ]
    assert s3.delete_object(Bucket=bucket, Key="k", VersionId=marker["VersionId"])["DeleteMarker"]
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"2"
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "VersionId": second}]})[
        "Deleted"
    ]
    assert gone == [{"Key": "k", "VersionId": second}]
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"1"
    source = {"Bucket": bucket, "Key": "k", "VersionId": first}
    assert s3.copy_object(Bucket=bucket, Key="l", CopySource=source)["CopySourceVersionId"] == first
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Suspended"


def test_an_object_without_a_version_stays_current(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    older, newer = (s3.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"] for body in (b"1", b"2"))
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"3")
    s3.delete_object(Bucket=bucket, Key="k", VersionId=newer)
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"3"
    assert body_of(s3.get_object(Bucket=bucket, Key="k", VersionId=older)) == b"1"


# -- who may ---------------------------------------------------------------------------------------------------------------


def test_who_may(s3, make_client, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    for who, code in (
        (("test:tester", "wrong"), "SignatureDoesNotMatch"),
        (("nobody", "x"), "InvalidAccessKeyId"),
    ):
        stranger = make_client(*who)
        assert refused(stranger.list_buckets) == (code, 403)
        assert refused(stranger.get_object, Bucket=bucket, Key="k") == (code, 403)
        assert refused(stranger.put_object, Bucket=bucket, Key="k", Body=b"") == (code, 403)
    assert refused(make_client(aws_session_token="t").list_buckets) == ("InvalidToken", 400)
    plain = make_client("test:tester3", "testing3")
    assert refused(plain.list_buckets) == ("AccessDenied", 403)
    assert refused(plain.get_object, Bucket=bucket, Key="k") == ("AccessDenied", 403)
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert [row["Permission"] for row in s3.get_bucket_acl(Bucket=bucket)["Grants"]] == [
        "FULL_CONTROL",
        "READ",
    ]
    assert body_of(plain.get_object(Bucket=bucket, Key="k")) == b"1"
    assert refused(plain.put_object, Bucket=bucket, Key="k", Body=b"") == ("AccessDenied", 403)
    assert refused(plain.delete_object, Bucket=bucket, Key="k") == ("AccessDenied", 403)
    other = make_client("test2:tester2", "testing2")
    assert refused(other.get_object, Bucket=bucket, Key="k") == ("NoSuchBucket", 404)
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    assert refused(plain.get_object, Bucket=bucket, Key="k") == ("AccessDenied", 403)


def test_presigned_urls(s3, bucket):
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": NAME}, ExpiresIn=60)
    urllib.request.urlopen(urllib.request.Request(url, b"1", {"Content-Type": ""}, method="PUT")).close()
    params = {"Bucket": bucket, "Key": NAME, "ResponseContentType": "q/r"}
    with urllib.request.urlopen(s3.generate_presigned_url("get_object", Params=params)) as answer:
        assert (answer.read(), answer.headers["Content-Type"]) == (b"1", "q/r")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(s3.generate_presigned_url("get_object", Params=params) + "x")
    assert raised.value.code == 403
    assert b"<Code>SignatureDoesNotMatch</Code>" in raised.value.read()


def test_signatures_of_version_2(make_client, bucket):
    old = make_client(signature_version="s3")
    old.put_object(Bucket=bucket, Key=NAME, Body=b"2", Metadata={"a": "b"})
    assert body_of(old.get_object(Bucket=bucket, Key=NAME)) == b"2"
    assert [row["Key"] for row in old.list_objects(Bucket=bucket)["Contents"]] == [NAME]
    url = old.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": NAME})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"2"


def test_an_answer_in_place_of_a_100_ends_the_connection(s3, bucket, address):
    """botocore would take its status for that of the next answer, and wait for that one for a minute."""
    for url, body, status in (
        (s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"}), b"", "200"),
        (
            s3.generate_presigned_url("put_object", Params={"Bucket": bucket + "x", "Key": "k"}) + "x",
            b"1",
            "403",
        ),
    ):
        target = url.partition(f":{address[1]}")[2]
        with socket.create_connection(address, timeout=60) as sock:
            head = f"PUT {target} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nExpect: 100-continue\r\n"
            sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
            told = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        assert told.startswith(f"HTTP/1.1 {status} ")
        assert "connection: close" in told.lower()


# -- what is not there -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, code",
    [
        ("get_bucket_policy", "NoSuchBucketPolicy"),
        ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
        ("get_bucket_cors", "NoSuchCORSConfiguration"),
        ("get_bucket_tagging", "NoSuchTagSet"),
        ("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("get_bucket_website", "NoSuchWebsiteConfiguration"),
        ("get_bucket_replication", "ReplicationConfigurationNotFoundError"),
        ("get_public_access_block", "NoSuchPublicAccessBlockConfiguration"),
        ("get_bucket_ownership_controls", "OwnershipControlsNotFoundError"),
        ("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError"),
    ],
)
def test_what_no_bucket_has_is_told_so(s3, bucket, method, code):
    assert refused(getattr(s3, method), Bucket=bucket) == (code, 404)


def test_what_is_not_there_touches_nothing(s3, bucket):
    """The reference replaces the object by the document, and removes the bucket."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    hold = {"LegalHold": {"Status": "ON"}}
    lock = {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}
    assert refused(s3.put_object_legal_hold, Bucket=bucket, Key="k", **hold)[1] == 400
    assert refused(s3.put_object_lock_configuration, Bucket=bucket, **lock)[1] == 409
    assert refused(s3.restore_object, Bucket=bucket, Key="k") == ("InvalidObjectState", 403)
    service = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key"}
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"2", **service)[1] == 501
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"1"


def test_native_clients_see_the_same_objects(s3, bucket, user):
    data = random.Random(4).randbytes(5 * MB)
    target, parts = upload(s3, bucket, "m", [data, b"end"])
    etag = s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})["ETag"]
    assert user("GET", f"/{bucket}/m").body == data + b"end"
    row = json.loads(user("GET", f"/{bucket}?format=json").body)[0]
    assert (row["s3_etag"], row["bytes"]) == (etag, 5 * MB + 3)
    assert ";" not in row["hash"]
    assert user("PUT", f"/{bucket}/native", b"n", Content_Type="a/b").status == 201
    assert body_of(s3.get_object(Bucket=bucket, Key="native")) == b"n"


# -- attributes ------------------------------------------------------------------------------------------------------------


def test_attributes(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key=NAME, Body=b"hello world", ChecksumAlgorithm="CRC32")
    wanted = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    found = s3.get_object_attributes(Bucket=bucket, Key=NAME, ObjectAttributes=wanted)
    assert found["ETag"] == put["ETag"].strip('"')
    assert found["Checksum"] == {"ChecksumCRC32": "DUoRhQ==", "ChecksumType": "FULL_OBJECT"}
    assert (found["ObjectSize"], found["StorageClass"]) == (11, "STANDARD")
    assert "ObjectParts" not in found
    whole = s3.head_object(Bucket=bucket, Key=NAME, ChecksumMode="ENABLED")
    part = s3.head_object(Bucket=bucket, Key=NAME, ChecksumMode="ENABLED", Range="bytes=0-3")
    assert whole["ChecksumCRC32"] == "DUoRhQ==" and "ChecksumCRC32" not in part
    only = s3.get_object_attributes(Bucket=bucket, Key=NAME, ObjectAttributes=["ObjectSize"])
    assert "ETag" not in only and only["ObjectSize"] == 11
    asked = s3.get_object_attributes
    assert refused(asked, Bucket=bucket, Key=NAME, ObjectAttributes=["Colour"]) == ("InvalidArgument", 400)
    assert refused(asked, Bucket=bucket, Key="none", ObjectAttributes=wanted) == ("NoSuchKey", 404)
    assert refused(asked, Bucket=bucket + "-no", Key="k", ObjectAttributes=wanted) == ("NoSuchBucket", 404)


def test_attributes_of_a_large_object(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="large")["UploadId"]
    parts = []
    for number, data in enumerate((b"a" * 5 * MB, b"b"), 1):
        answer = s3.upload_part(Bucket=bucket, Key="large", UploadId=upload, PartNumber=number, Body=data)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    s3.complete_multipart_upload(
        Bucket=bucket, Key="large", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    found = s3.get_object_attributes(
        Bucket=bucket, Key="large", ObjectAttributes=["ETag", "ObjectParts", "ObjectSize"]
    )
    assert found["ETag"].endswith("-2")
    assert found["ObjectParts"]["TotalPartsCount"] == 2
    assert found["ObjectSize"] == 5 * MB + 1
