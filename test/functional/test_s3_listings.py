"""Buckets and their listings over the S3 API, where they are easily got wrong."""

import pytest

from test.s3_clients import refused, s3_client

MB = 1024 * 1024


@pytest.fixture
def s3(address):
    return s3_client(address, parameter_validation=False)  # fmt: skip


def with_query(s3, name, value):
    """A parameter that the client would not send so."""

    def change(request, **_):
        request.url += ("&" if "?" in request.url else "?") + f"{name}={value}"

    s3.meta.events.register_last("before-sign.s3", change)


def upload_in_parts(s3, bucket, key, body):
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    etag = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=body)["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload=parts)


def test_a_bucket_that_has_versions_only_is_not_empty_and_keeps_their_parts(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    upload_in_parts(s3, bucket, "k", b"precious")
    version = s3.list_object_versions(Bucket=bucket)["Versions"][0]["VersionId"]
    s3.delete_object(Bucket=bucket, Key="k")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert refused(s3.delete_bucket, Bucket=bucket) == ("BucketNotEmpty", 409)
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=version)["Body"].read() == b"precious"


def test_an_empty_bucket_goes_with_the_parts_of_what_was_never_completed(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x")
    s3.delete_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize("kind", ["--2", "-", "2x", "", "%C2%B2"])
def test_a_list_type_that_is_no_number(s3, bucket, kind):
    with_query(s3, "list-type", kind)
    assert refused(s3.list_objects, Bucket=bucket) == ("InvalidArgument", 400)


@pytest.mark.parametrize("most", ["-1", "x", "", "--1", "99999999999", "%C2%B2"])
def test_max_keys_that_are_no_number(s3, bucket, most):
    with_query(s3, "max-keys", most)
    assert refused(s3.list_objects, Bucket=bucket) == ("InvalidArgument", 400)


@pytest.mark.parametrize("token", ["x", "*", "/w==", "ü"])
def test_a_continuation_token_that_is_none(s3, bucket, token):
    assert refused(s3.list_objects_v2, Bucket=bucket, ContinuationToken=token) == ("InvalidArgument", 400)


def test_buckets_of_another_region_there_are_none(s3, bucket):
    assert bucket in [row["Name"] for row in s3.list_buckets(BucketRegion="us-east-1")["Buckets"]]
    assert s3.list_buckets(BucketRegion="eu-west-1")["Buckets"] == []


def test_pages_of_keys_and_prefixes(s3, bucket):
    names = ["a", "b/1", "b/2", "c d", "e/ü%&<>\r\n\x01", "f"]
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=b"12")
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]] == names

    shown, token = [], {}
    while True:
        page = s3.list_objects_v2(Bucket=bucket, Delimiter="/", MaxKeys=2, **token)
        found = [row["Key"] for row in page.get("Contents", [])]
        found += [row["Prefix"] for row in page.get("CommonPrefixes", [])]
        assert page["KeyCount"] == len(found) <= page["MaxKeys"] == 2
        shown += found
        if not page["IsTruncated"]:
            break
        token = {"ContinuationToken": page["NextContinuationToken"]}
    assert shown == ["a", "b/", "c d", "e/", "f"]

    shown, marker = [], ""
    while True:
        page = s3.list_objects(Bucket=bucket, Delimiter="/", MaxKeys=1, Marker=marker)
        shown += [row["Key"] for row in page.get("Contents", [])]
        shown += [row["Prefix"] for row in page.get("CommonPrefixes", [])]
        if not page["IsTruncated"]:
            break
        marker = page["NextMarker"]
    assert shown == ["a", "b/", "c d", "e/", "f"]

    after = s3.list_objects_v2(Bucket=bucket, StartAfter="b/2", Prefix="", FetchOwner=True)
    assert [row["Key"] for row in after["Contents"]] == names[3:]
    assert after["Contents"][0]["Owner"]["ID"] == "test:tester"
    assert after["Contents"][0]["Size"] == 2
    none = s3.list_objects_v2(Bucket=bucket, MaxKeys=0)
    assert (none["KeyCount"], none["IsTruncated"]) == (0, False)
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=5000)["MaxKeys"] == 1000


def test_pages_of_versions(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"before")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"22"):
        s3.put_object(Bucket=bucket, Key="a", Body=body)
    s3.delete_object(Bucket=bucket, Key="a")
    s3.put_object(Bucket=bucket, Key="b", Body=b"")
    shown, markers = [], {}
    while True:
        page = s3.list_object_versions(Bucket=bucket, MaxKeys=1, **markers)
        shown += [(row["Key"], row["Size"], row["IsLatest"]) for row in page.get("Versions", [])]
        shown += [(row["Key"], None, row["IsLatest"]) for row in page.get("DeleteMarkers", [])]
        if not page["IsTruncated"]:
            break
        markers = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
    assert shown == [("a", None, True), ("a", 2, False), ("a", 1, False), ("a", 6, False), ("b", 0, True)]
    assert refused(s3.list_object_versions, Bucket=bucket, VersionIdMarker="null") == ("InvalidArgument", 400)
    assert refused(s3.list_object_versions, Bucket=bucket, KeyMarker="a", VersionIdMarker="x")[1] == 400
