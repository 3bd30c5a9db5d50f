"""Policies where S3's own ACLs count (`s3_acl` on), ownership of what others write, and buckets that are open to everybody by an ACL."""

import time

import pytest

from test.cluster import Cluster
from test.functional.conftest import assert_logs_are_clean
from test.functional.test_s3_policies import anybody, put, statement
from test.s3_clients import DENIED, refused, s3_client

OTHER = {"AWS": "arn:aws:iam::test:user/tester3"}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("policies-acls") / "saio")
    cluster.write()
    cluster.configure("s3api", s3_acl="true", access_log_interval="1")
    with cluster:
        yield cluster
        assert_logs_are_clean(cluster)


@pytest.fixture(scope="module")
def where(running):
    return running.address


@pytest.fixture(scope="module")
def owner(where):
    return s3_client(where, "test:tester")


@pytest.fixture(scope="module")
def other(where):
    return s3_client(where, "test:tester3")


@pytest.fixture
def bucket(owner, name):
    owner.create_bucket(Bucket=name)
    owner.put_object(Bucket=name, Key="open/a", Body=b"a")
    owner.put_object(Bucket=name, Key="shut/a", Body=b"secret")
    return name


def test_a_policy_beside_acls(owner, other, where, bucket):
    assert refused(other.get_object, Bucket=bucket, Key="open/a") == DENIED
    put(
        owner,
        bucket,
        statement(bucket, "Allow", OTHER, ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "open/*"),
    )
    assert other.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"a"
    assert refused(other.get_object, Bucket=bucket, Key="shut/a") == DENIED
    assert refused(other.get_object, Bucket=bucket, Key="open/absent") == DENIED
    assert refused(other.get_object_acl, Bucket=bucket, Key="open/a") == DENIED
    answer = other.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "open/a"}, {"Key": "shut/a"}]})
    assert [found["Key"] for found in answer["Deleted"]] == ["open/a"]
    assert [found["Key"] for found in answer["Errors"]] == ["shut/a"]
    answer = owner.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "shut/a"}]})
    assert [found["Key"] for found in answer["Deleted"]] == ["shut/a"]
    put(owner, bucket, statement(bucket, "Deny", "*", "s3:*"), statement(bucket, "Deny", "*", "s3:*", "*"))
    assert refused(owner.put_object, Bucket=bucket, Key="k", Body=b"") == DENIED
    owner.delete_bucket_policy(Bucket=bucket)
    owner.put_object(Bucket=bucket, Key="k", Body=b"")


def test_copies(owner, other, bucket):
    source = {"Bucket": bucket, "Key": "open/a"}
    mine = f"{bucket}-to"
    owner.create_bucket(Bucket=mine)
    put(owner, mine, statement(mine, "Allow", OTHER, "s3:PutObject", "*"))
    assert refused(other.copy_object, Bucket=mine, Key="a", CopySource=source) == DENIED
    put(owner, bucket, statement(bucket, "Allow", OTHER, "s3:GetObject", "open/*"))
    other.copy_object(Bucket=mine, Key="a", CopySource=source)
    source["Key"] = "shut/a"
    assert refused(other.copy_object, Bucket=mine, Key="a", CopySource=source) == DENIED
    # The target by a policy, the source by an ACL.
    owner.put_object(Bucket=bucket, Key="shut/b", Body=b"b", ACL="public-read")
    source["Key"] = "shut/b"
    other.copy_object(Bucket=mine, Key="b", CopySource=source)


def test_anybody_by_an_acl(owner, where, bucket):
    owner.put_object(Bucket=bucket, Key="p", Body=b"p", ACL="public-read")
    path = f"/test:{bucket}/p"
    assert anybody(where, "GET", path) == (200, b"p")
    assert anybody(where, "GET", f"/test:{bucket}/open/a")[0] == 403
    owner.put_object(Bucket=bucket, Key="q", Body=b"q", ACL="authenticated-read")
    assert anybody(where, "GET", f"/test:{bucket}/q")[0] == 403
    owner.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    assert anybody(where, "GET", path)[0] == 403


def test_whose_objects_are(owner, other, bucket):
    put(owner, bucket, statement(bucket, "Allow", OTHER, ["s3:PutObject", "s3:PutObjectAcl"], "*"))
    other.put_object(Bucket=bucket, Key="theirs", Body=b"1")
    assert refused(owner.get_object, Bucket=bucket, Key="theirs") == DENIED
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    owner.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    other.put_object(Bucket=bucket, Key="given", Body=b"2", ACL="bucket-owner-full-control")
    assert owner.get_object_acl(Bucket=bucket, Key="given")["Owner"]["ID"] == "test:tester"
    rules["Rules"][0]["ObjectOwnership"] = "BucketOwnerEnforced"
    owner.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    assert owner.get_object(Bucket=bucket, Key="theirs")["Body"].read() == b"1"
    assert refused(other.get_object, Bucket=bucket, Key="theirs") == DENIED
    other.put_object(Bucket=bucket, Key="owners", Body=b"3")
    owner.delete_bucket_ownership_controls(Bucket=bucket)
    assert owner.get_object(Bucket=bucket, Key="owners")["Body"].read() == b"3"


def test_grants_on_log_objects(owner, other, where, name):
    target = f"{name}-logs"
    owner.create_bucket(Bucket=name)
    owner.create_bucket(Bucket=target)
    logs = 'uri="http://acs.amazonaws.com/groups/s3/LogDelivery"'
    mine = 'id="test:tester"'
    owner.put_bucket_acl(Bucket=target, GrantWrite=logs, GrantReadACP=logs, GrantFullControl=mine)
    grant = {"Grantee": {"Type": "CanonicalUser", "ID": "test:tester3"}, "Permission": "READ"}
    status = {"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": "", "TargetGrants": [grant]}}
    owner.put_bucket_logging(Bucket=name, BucketLoggingStatus=status)
    found = owner.get_bucket_logging(Bucket=name)["LoggingEnabled"]["TargetGrants"]
    assert [(one["Grantee"]["ID"], one["Permission"]) for one in found] == [("test:tester3", "READ")]
    owner.put_object(Bucket=name, Key="k", Body=b"")
    end = time.monotonic() + 120
    while not (keys := owner.list_objects_v2(Bucket=target).get("Contents")) and time.monotonic() < end:
        time.sleep(0.2)
    key = keys[0]["Key"]
    assert b"REST.PUT" in other.get_object(Bucket=target, Key=key)["Body"].read()
    assert refused(other.get_object_acl, Bucket=target, Key=key) == DENIED
    assert refused(other.list_objects_v2, Bucket=target) == DENIED
    assert anybody(where, "GET", f"/test:{target}/{key}")[0] == 403
    blocked = f"{name}-blocked"
    owner.create_bucket(Bucket=blocked)
    owner.put_bucket_acl(Bucket=blocked, GrantWrite=logs, GrantReadACP=logs, GrantFullControl=mine)
    owner.put_public_access_block(Bucket=blocked, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    uri = "http://acs.amazonaws.com/groups/global/AllUsers"
    enabled = status["LoggingEnabled"]
    enabled["TargetBucket"] = blocked
    enabled["TargetGrants"] = [{"Grantee": {"Type": "Group", "URI": uri}, "Permission": "READ"}]
    assert refused(owner.put_bucket_logging, Bucket=name, BucketLoggingStatus=status) == DENIED
    enforced = f"{name}-enforced"
    owner.create_bucket(Bucket=enforced)
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    owner.put_bucket_ownership_controls(Bucket=enforced, OwnershipControls=rules)
    enabled.update(TargetBucket=enforced, TargetGrants=[grant])
    refusal = refused(owner.put_bucket_logging, Bucket=name, BucketLoggingStatus=status)
    assert refusal == ("AccessControlListNotSupported", 400)
    del enabled["TargetGrants"]
    owner.put_bucket_logging(Bucket=name, BucketLoggingStatus=status)
