"""What answers of the S3 API say beside what was asked for, as AWS's do."""

import hashlib

import pytest
from botocore.exceptions import ClientError

from test.s3_clients import refusal


def headers(answer):
    return answer["ResponseMetadata"]["HTTPHeaders"]


def test_a_delete_marker_is_told_of(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    s3.put_object(Bucket=bucket, Key="k2", Body=b"1")
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    for call in (s3.get_object, s3.head_object):
        answer = refusal(call, Bucket=bucket, Key="k")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 404
        assert headers(answer)["x-amz-delete-marker"] == "true"
        assert headers(answer)["x-amz-version-id"] == marker
        assert "x-amz-delete-marker" not in headers(refusal(call, Bucket=bucket, Key="never"))
    source = {"Bucket": bucket, "Key": "k", "VersionId": marker}
    assert (
        refusal(s3.copy_object, Bucket=bucket, Key="c", CopySource=source)["Error"]["Code"]
        == "InvalidRequest"
    )
    del source["VersionId"]
    assert refusal(s3.copy_object, Bucket=bucket, Key="c", CopySource=source)["Error"]["Code"] == "NoSuchKey"


def test_where_versions_are_suspended(s3, bucket):
    put = {"Bucket": bucket, "Key": "k"}
    assert "VersionId" not in s3.put_object(**put, Body=b"0")
    for status in ("Enabled", "Suspended"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        made = s3.put_object(**put, Body=b"1")["VersionId"]
        assert (made == "null") == (status == "Suspended")
    assert s3.delete_object(**put)["VersionId"] == "null"
    assert refusal(s3.get_object, **put)["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_what_an_error_says(s3, bucket):
    answer = refusal(s3.get_object, Bucket=bucket, Key="never")
    assert answer["Error"]["Key"] == "never" and answer["Error"]["Resource"] == f"/{bucket}/never"
    assert answer["ResponseMetadata"]["HostId"] and answer["ResponseMetadata"]["RequestId"]
    assert headers(answer)["x-amz-bucket-region"] == "us-east-1"
    assert headers(refusal(s3.head_bucket, Bucket=f"{bucket}-no"))["x-amz-bucket-region"] == "us-east-1"


def test_sources_that_there_are_not(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    arn = "arn:aws:s3:us-east-1:123456789012:accesspoint/a/object/k"
    answer = refusal(s3.copy_object, Bucket=bucket, Key="c", CopySource=arn)
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("NotImplemented", 501)
    itself = {"Bucket": bucket, "Key": "k", "CopySource": f"{bucket}/k"}
    assert refusal(s3.copy_object, **itself)["Error"]["Code"] == "InvalidRequest"
    s3.copy_object(**itself, StorageClass="STANDARD")


def test_a_bucket_that_is_made_with_tags(s3, name):
    bucket = f"s3-{hashlib.md5(name.encode()).hexdigest()}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"Tags": [{"Key": "a", "Value": "b"}]})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "a", "Value": "b"}]


def test_what_is_deleted_while_versions_are_suspended(s3, bucket):
    """AWS puts a marker of the version "null" there; it is latest, and what was before it comes back when it goes."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    kept = s3.put_object(Bucket=bucket, Key="k", Body=b"kept")["VersionId"]
    s3.put_object(Bucket=bucket, Key="marked", Body=b"x")
    marker = s3.delete_object(Bucket=bucket, Key="marked")["VersionId"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"null")["VersionId"] == "null"
    gone = s3.delete_object(Bucket=bucket, Key="k")
    assert (gone["DeleteMarker"], gone["VersionId"]) == (True, "null")
    for arguments, status in (({}, 404), ({"VersionId": "null"}, 405)):
        with pytest.raises(ClientError) as raised:
            s3.get_object(Bucket=bucket, Key="k", **arguments)
        told = raised.value.response["ResponseMetadata"]
        assert told["HTTPStatusCode"] == status
        assert told["HTTPHeaders"]["x-amz-delete-marker"] == "true"
        assert told["HTTPHeaders"]["x-amz-version-id"] == "null"
    with pytest.raises(ClientError) as raised:
        s3.get_object(Bucket=bucket, Key="marked")
    assert raised.value.response["ResponseMetadata"]["HTTPHeaders"]["x-amz-version-id"] == marker

    def listed():
        found = s3.list_object_versions(Bucket=bucket)
        rows = [*found.get("Versions", []), *found.get("DeleteMarkers", [])]
        return sorted((row["Key"], row["VersionId"], row["IsLatest"]) for row in rows)

    of_marked = [row for row in listed() if row[0] == "marked"]
    assert (("marked", marker, True) in of_marked, len(of_marked)) == (True, 2)
    assert [row for row in listed() if row[0] == "k"] == [("k", kept, False), ("k", "null", True)]
    page = s3.list_object_versions(Bucket=bucket, KeyMarker="k", VersionIdMarker=kept)
    assert not [row for row in page.get("DeleteMarkers", []) if row["Key"] == "k"]
    assert s3.delete_object(Bucket=bucket, Key="k", VersionId="null")["DeleteMarker"]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"
    assert [row for row in listed() if row[0] == "k"] == [("k", kept, True)]
