"""S3's own ACLs over the whole stack (`s3_acl` on): who may, who may not, and what strangers are told (spec s3.md 8.2)."""

import pytest

from test.cluster import Cluster
from test.functional.conftest import assert_logs_are_clean
from test.s3_clients import DENIED, refused, s3_client


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("acls") / "saio")
    cluster.write()
    cluster.configure("s3api", alone=True, s3_acl="true", check_bucket_owner="true")
    with cluster:
        yield cluster
        assert_logs_are_clean(cluster)


@pytest.fixture(scope="module")
def owner(running):
    return s3_client(running.address, "test:tester")


@pytest.fixture(scope="module")
def other(running):
    return s3_client(running.address, "test:tester3")


def grants(answer):
    return [
        (grant["Grantee"].get("ID") or grant["Grantee"]["URI"].rpartition("/")[2], grant["Permission"])
        for grant in answer["Grants"]
    ]


def test_what_is_private_is_nobody_elses(owner, other):
    bucket = "private-bucket"
    owner.create_bucket(Bucket=bucket)
    owner.put_object(Bucket=bucket, Key="k", Body=b"secret")
    etag = owner.head_object(Bucket=bucket, Key="k")["ETag"]
    for key in ("k", "absent"):
        assert refused(other.get_object, Bucket=bucket, Key=key) == DENIED
        assert refused(other.get_object, Bucket=bucket, Key=key, IfMatch='"other"') == DENIED
        assert refused(other.get_object, Bucket=bucket, Key=key, IfNoneMatch=etag) == DENIED
        assert refused(other.get_object, Bucket=bucket, Key=key, Range="bytes=100-") == DENIED
        assert refused(other.head_object, Bucket=bucket, Key=key)[1] == 403
        assert refused(other.get_object_acl, Bucket=bucket, Key=key) == DENIED
        assert refused(other.put_object_acl, Bucket=bucket, Key=key, ACL="public-read") == DENIED
        assert refused(other.get_object_tagging, Bucket=bucket, Key=key) == DENIED
        assert refused(other.put_object, Bucket=bucket, Key=key, Body=b"") == DENIED
        assert refused(other.delete_object, Bucket=bucket, Key=key) == DENIED
        assert refused(other.create_multipart_upload, Bucket=bucket, Key=key) == DENIED
    assert refused(other.list_objects_v2, Bucket=bucket) == DENIED
    assert refused(other.list_multipart_uploads, Bucket=bucket) == DENIED
    assert refused(other.delete_objects, Bucket=bucket, Delete={"Objects": [{"Key": "k"}]}) == DENIED
    assert refused(other.get_bucket_acl, Bucket=bucket) == DENIED
    assert refused(other.put_bucket_acl, Bucket=bucket, ACL="public-read") == DENIED
    assert refused(other.delete_bucket, Bucket=bucket) == DENIED
    assert refused(other.head_bucket, Bucket=bucket)[1] == 403
    assert refused(other.get_bucket_location, Bucket=bucket) == DENIED
    versions = {"Status": "Enabled"}
    assert refused(other.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=versions) == DENIED
    assert owner.get_object(Bucket=bucket, Key="k")["Body"].read() == b"secret"
    assert refused(owner.get_object, Bucket=bucket, Key="k", IfMatch='"other"')[1] == 412
    assert refused(owner.get_object, Bucket=bucket, Key="absent") == ("NoSuchKey", 404)
    assert refused(other.get_object, Bucket="no-such-bucket", Key="k") == ("NoSuchBucket", 404)
    assert [row["Name"] for row in other.list_buckets()["Buckets"]] == []
    assert refused(other.create_bucket, Bucket="plain-users-bucket") == DENIED


def test_what_is_granted_can_be_done_and_no_more(owner, other):
    bucket = "shared-bucket"
    owner.create_bucket(Bucket=bucket, GrantWrite='id="test:tester3"')
    assert grants(owner.get_bucket_acl(Bucket=bucket)) == [("test:tester3", "WRITE")]
    other.put_object(Bucket=bucket, Key="theirs", Body=b"theirs")
    assert refused(other.list_objects_v2, Bucket=bucket) == DENIED
    assert refused(owner.get_object, Bucket=bucket, Key="theirs") == DENIED
    other.put_object_acl(Bucket=bucket, Key="theirs", ACL="bucket-owner-read")
    assert owner.get_object(Bucket=bucket, Key="theirs")["Body"].read() == b"theirs"
    shown = other.get_object_acl(Bucket=bucket, Key="theirs")
    assert shown["Owner"]["ID"] == "test:tester3"
    assert grants(shown) == [("test:tester", "READ"), ("test:tester3", "FULL_CONTROL")]
    owner.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert grants(owner.get_bucket_acl(Bucket=bucket)) == [
        ("AllUsers", "READ"),
        ("test:tester", "FULL_CONTROL"),
    ]
    assert refused(other.put_object, Bucket=bucket, Key="more", Body=b"") == DENIED
    assert [row["Key"] for row in other.list_objects_v2(Bucket=bucket)["Contents"]] == ["theirs"]
    assert refused(other.get_object, Bucket=bucket, Key="absent") == ("NoSuchKey", 404)


def test_who_may_not_read_does_not_copy(owner, other):
    owner.create_bucket(Bucket="source-bucket")
    owner.put_object(Bucket="source-bucket", Key="k", Body=b"secret")
    owner.create_bucket(Bucket="target-bucket", ACL="public-read-write")
    source = {"Bucket": "source-bucket", "Key": "k"}
    call = {"Bucket": "target-bucket", "Key": "copy", "CopySource": source}
    assert refused(other.copy_object, **call) == DENIED
    assert refused(other.copy_object, **call, CopySourceIfMatch='"other"') == DENIED
    owner.put_object_acl(Bucket="source-bucket", Key="k", ACL="authenticated-read")
    other.copy_object(**call)
    assert other.get_object(Bucket="target-bucket", Key="copy")["Body"].read() == b"secret"
    assert grants(other.get_object_acl(Bucket="target-bucket", Key="copy")) == [
        ("test:tester3", "FULL_CONTROL")
    ]


def test_an_uploads_acl_is_the_objects(owner, other):
    bucket = "uploads-bucket"
    owner.create_bucket(Bucket=bucket)
    call = {"Bucket": bucket, "Key": "large"}
    upload = owner.create_multipart_upload(**call, ACL="public-read")["UploadId"]
    part = {**call, "UploadId": upload, "PartNumber": 1}
    assert refused(other.upload_part, **part, Body=b"x") == DENIED
    etag = owner.upload_part(**part, Body=b"x" * 100)["ETag"]
    assert refused(other.list_parts, **call, UploadId=upload) == DENIED
    assert refused(other.abort_multipart_upload, **call, UploadId=upload) == DENIED
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    owner.complete_multipart_upload(**call, UploadId=upload, MultipartUpload=parts)
    assert other.get_object(**call)["Body"].read() == b"x" * 100
    before = owner.head_object(**call, ChecksumMode="ENABLED")
    owner.put_object_acl(**call, ACL="private")
    assert refused(other.get_object, **call) == DENIED
    after = owner.head_object(**call, ChecksumMode="ENABLED")
    same = ("ETag", "ContentLength", "ContentType", "Metadata", "LastModified")
    assert [before[name] for name in same] == [after[name] for name in same]
    row = owner.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert (row["ETag"], row["Size"]) == (after["ETag"], 100)
    assert owner.get_object(**call, PartNumber=1)["Body"].read() == b"x" * 100


def test_acls_of_versions(owner, other):
    bucket = "acls-of-old-ones"
    owner.create_bucket(Bucket=bucket, ACL="public-read")
    owner.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    call = {"Bucket": bucket, "Key": "k"}
    first = owner.put_object(**call, Body=b"first", Metadata={"m": "1"})["VersionId"]
    upload = owner.create_multipart_upload(**call, Metadata={"m": "2"})["UploadId"]
    etag = owner.upload_part(**call, UploadId=upload, PartNumber=1, Body=b"second")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    second = owner.complete_multipart_upload(**call, UploadId=upload, MultipartUpload=parts)["VersionId"]
    third = owner.put_object(**call, Body=b"third")["VersionId"]
    for version, body in ((first, b"first"), (second, b"second"), (third, b"third")):
        assert refused(other.get_object, **call, VersionId=version) == DENIED
        before = owner.head_object(**call, VersionId=version)
        owner.put_object_acl(**call, VersionId=version, ACL="public-read")
        assert other.get_object(**call, VersionId=version)["Body"].read() == body
        after = owner.head_object(**call, VersionId=version)
        same = ("ETag", "ContentLength", "Metadata", "VersionId", "LastModified")
        assert [before[name] for name in same] == [after[name] for name in same]
    owner.put_object_acl(**call, ACL="private")  # the current one, without a new version
    assert refused(other.get_object, **call) == DENIED
    assert other.get_object(**call, VersionId=second)["Body"].read() == b"second"
    listed = owner.list_object_versions(Bucket=bucket)["Versions"]
    assert [(row["VersionId"], row["Size"]) for row in listed] == [(third, 5), (second, 6), (first, 5)]
    assert owner.get_object(**call)["Body"].read() == b"third"


def test_what_nobody_owns_and_what_is_no_acl_is_closed(running, owner):
    running.request("PUT", "/native-bucket")
    running.request("PUT", "/native-bucket/k", b"x")
    assert refused(owner.list_objects_v2, Bucket="native-bucket") == DENIED
    assert refused(owner.get_object, Bucket="native-bucket", Key="k") == DENIED
    assert refused(owner.create_bucket, Bucket="native-bucket")[1] == 409
    wrong = s3_client(running.address, "test:tester", "wrong")
    for call in ("list_objects_v2", "get_bucket_versioning", "get_bucket_acl"):
        assert refused(getattr(wrong, call), Bucket="private-bucket") == ("SignatureDoesNotMatch", 403)


def test_the_acl_of_a_locked_object_can_be_changed(owner):
    """Which writes it onto itself: the lock stays, and no default retention comes to what was there before."""
    owner.create_bucket(Bucket="acl-locked", ObjectLockEnabledForBucket=True)
    held = owner.put_object(Bucket="acl-locked", Key="held", Body=b"x", ObjectLockLegalHoldStatus="ON")
    owner.put_object(Bucket="acl-locked", Key="free", Body=b"y")
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    owner.put_object_lock_configuration(Bucket="acl-locked", ObjectLockConfiguration={"Rule": rule})
    for key in ("held", "free"):
        owner.put_object_acl(Bucket="acl-locked", Key=key, ACL="public-read")
        assert ("AllUsers", "READ") in grants(owner.get_object_acl(Bucket="acl-locked", Key=key))
    named = {"Bucket": "acl-locked", "Key": "held", "VersionId": held["VersionId"]}
    assert owner.get_object_legal_hold(**named)["LegalHold"]["Status"] == "ON"
    assert refused(owner.delete_object, **named) == DENIED
    assert "ObjectLockMode" not in owner.head_object(Bucket="acl-locked", Key="free")
