"""Bucket policies over the whole stack: other users, other accounts, and people who do not sign (spec s3.md 13.4, 13.7, 16)."""

import hashlib
import http.client
import json

import pytest
from botocore.exceptions import ClientError

from test.s3_clients import DENIED, refused, s3_client


@pytest.fixture(scope="module")
def owner(address):
    return s3_client(address, "test:tester")


@pytest.fixture(scope="module")
def colleague(address):
    """Of the same account, without any right of her own."""
    return s3_client(address, "test:tester3")


@pytest.fixture(scope="module")
def stranger(address):
    """Of another account."""
    found = s3_client(address, "test2:tester2")
    # boto3 would refuse the name of a bucket that says whose it is.
    found.meta.events.unregister(
        "before-parameter-build.s3", __import__("botocore.handlers").handlers.validate_bucket_name
    )
    return found


@pytest.fixture
def bucket(owner, name):
    owner.create_bucket(Bucket=name)
    owner.put_object(Bucket=name, Key="open/a", Body=b"a")
    owner.put_object(Bucket=name, Key="shut/a", Body=b"secret")
    return name


def statement(bucket, effect, principal, action, path=None, **more):
    resource = f"arn:aws:s3:::{bucket}" + ("" if path is None else f"/{path}")
    return {"Effect": effect, "Principal": principal, "Action": action, "Resource": resource, **more}


def put(s3, bucket, *statements):
    text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    s3.put_bucket_policy(Bucket=bucket, Policy=text)
    return text


def anybody(address, method, path, headers=None, body=None):
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


COLLEAGUE = {"AWS": "arn:aws:iam::test:user/tester3"}


def test_a_policy_is_kept_as_it_came(owner, bucket):
    assert refused(owner.get_bucket_policy, Bucket=bucket) == ("NoSuchBucketPolicy", 404)
    assert refused(owner.get_bucket_policy_status, Bucket=bucket) == ("NoSuchBucketPolicy", 404)
    text = put(owner, bucket, statement(bucket, "Allow", "*", "s3:GetObject", "open/*"))
    assert owner.get_bucket_policy(Bucket=bucket)["Policy"] == text
    assert owner.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is True
    put(owner, bucket, statement(bucket, "Allow", COLLEAGUE, "s3:GetObject", "open/*"))
    assert owner.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is False
    owner.delete_bucket_policy(Bucket=bucket)
    owner.delete_bucket_policy(Bucket=bucket)
    assert refused(owner.get_bucket_policy, Bucket=bucket) == ("NoSuchBucketPolicy", 404)


def test_a_long_policy_goes_with_its_bucket(owner, name):
    owner.create_bucket(Bucket=name)
    many = [
        statement(name, "Allow", COLLEAGUE, "s3:GetObject", f"{hashlib.sha512(bytes([at])).hexdigest()}/*")
        for at in range(60)
    ]
    put(owner, name, *many)
    owner.delete_bucket(Bucket=name)
    owner.create_bucket(Bucket=name)
    assert refused(owner.get_bucket_policy, Bucket=name) == ("NoSuchBucketPolicy", 404)


def test_a_colleague_may_what_is_granted_and_no_more(owner, colleague, bucket):
    assert refused(colleague.get_object, Bucket=bucket, Key="open/a") == DENIED
    put(
        owner,
        bucket,
        statement(bucket, "Allow", COLLEAGUE, ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "open/*"),
    )
    assert colleague.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"a"
    colleague.put_object(Bucket=bucket, Key="open/b", Body=b"b")
    colleague.delete_object(Bucket=bucket, Key="open/b")
    assert (
        refused(colleague.get_object, Bucket=bucket, Key="open/b") == DENIED
    )  # it is not there, who may not list is not told
    for key in ("shut/a", "shut/absent"):
        assert refused(colleague.get_object, Bucket=bucket, Key=key) == DENIED
        assert refused(colleague.put_object, Bucket=bucket, Key=key, Body=b"") == DENIED
    assert refused(colleague.list_objects_v2, Bucket=bucket) == DENIED
    assert refused(colleague.get_bucket_policy, Bucket=bucket) == DENIED
    assert refused(colleague.put_bucket_policy, Bucket=bucket, Policy="{}")[1] in (400, 403)
    assert refused(colleague.delete_bucket, Bucket=bucket) == DENIED
    put(owner, bucket, statement(bucket, "Allow", COLLEAGUE, "s3:GetObject", "open/*"), statement(bucket, "Allow", COLLEAGUE, "s3:ListBucket"))  # fmt: skip
    assert refused(colleague.get_object, Bucket=bucket, Key="open/absent") == ("NoSuchKey", 404)
    assert len(colleague.list_objects_v2(Bucket=bucket)["Contents"]) == 2


def test_listing_by_prefix(owner, colleague, bucket):
    condition = {"StringLike": {"s3:prefix": ["open/*", "home/${aws:username}/*"]}}
    put(owner, bucket, statement(bucket, "Allow", COLLEAGUE, "s3:ListBucket", Condition=condition))
    assert len(colleague.list_objects_v2(Bucket=bucket, Prefix="open/")["Contents"]) == 1
    assert "Contents" not in colleague.list_objects_v2(Bucket=bucket, Prefix="home/tester3/x")
    for prefix in ("", "shut/", "home/tester/x"):
        assert refused(colleague.list_objects_v2, Bucket=bucket, Prefix=prefix) == DENIED


def test_a_denial_wins_over_the_owner(owner, bucket):
    put(owner, bucket, statement(bucket, "Deny", "*", "s3:DeleteObject", "*"), statement(bucket, "Allow", "*", "s3:*", "*"))  # fmt: skip
    assert refused(owner.delete_object, Bucket=bucket, Key="open/a") == DENIED
    answer = owner.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "open/a"}, {"Key": "shut/a"}]})
    assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"] * 2
    assert owner.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"a"
    # Nobody locks himself out.
    put(owner, bucket, statement(bucket, "Deny", "*", "s3:*"), statement(bucket, "Deny", "*", "s3:*", "*"))
    assert refused(owner.list_objects_v2, Bucket=bucket) == DENIED
    assert refused(owner.delete_bucket, Bucket=bucket) == DENIED
    owner.get_bucket_policy(Bucket=bucket)
    owner.delete_bucket_policy(Bucket=bucket)
    everything = {
        "Effect": "Deny",
        "Principal": "*",
        "NotAction": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}*",
    }
    for denial in (everything, statement(f"{bucket}*", "Deny", "*", "*")):
        put(owner, bucket, denial)
        put(owner, bucket, denial)
        owner.get_bucket_policy(Bucket=bucket)
        owner.delete_bucket_policy(Bucket=bucket)
    owner.delete_object(Bucket=bucket, Key="open/a")


def test_many_deletions_are_decided_key_by_key(owner, colleague, bucket):
    put(owner, bucket, statement(bucket, "Allow", COLLEAGUE, "s3:DeleteObject", "open/*"))
    answer = colleague.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": "open/a"}, {"Key": "shut/a"}]}
    )
    assert [found["Key"] for found in answer["Deleted"]] == ["open/a"]
    assert [(found["Key"], found["Code"]) for found in answer["Errors"]] == [("shut/a", "AccessDenied")]


def test_a_copy_is_decided_twice(owner, colleague, bucket):
    put(owner, bucket, statement(bucket, "Allow", COLLEAGUE, "s3:PutObject", "to/*"))
    source = {"Bucket": bucket, "Key": "open/a"}
    assert refused(colleague.copy_object, Bucket=bucket, Key="to/a", CopySource=source) == DENIED
    put(owner, bucket, statement(bucket, "Allow", COLLEAGUE, "s3:GetObject", "open/*"))
    assert refused(colleague.copy_object, Bucket=bucket, Key="to/a", CopySource=source) == DENIED
    put(owner, bucket, statement(bucket, "Allow", COLLEAGUE, "s3:GetObject", "open/*"), statement(bucket, "Allow", COLLEAGUE, "s3:PutObject", "to/*"))  # fmt: skip
    colleague.copy_object(Bucket=bucket, Key="to/a", CopySource=source)
    assert owner.get_object(Bucket=bucket, Key="to/a")["Body"].read() == b"a"
    # A denial of the source counts for its owner.
    put(owner, bucket, statement(bucket, "Deny", "*", "s3:GetObject", "shut/*"))
    source = {"Bucket": bucket, "Key": "shut/a"}
    assert refused(owner.copy_object, Bucket=bucket, Key="to/b", CopySource=source) == DENIED


def test_a_copy_from_another_account(owner, stranger, bucket):
    mine = f"{bucket}-mine"
    stranger.create_bucket(Bucket=mine)
    source = f"test:{bucket}/open/a"
    assert refused(stranger.copy_object, Bucket=mine, Key="a", CopySource=source) == DENIED
    put(owner, bucket, statement(bucket, "Allow", {"AWS": "test2"}, "s3:GetObject", "open/*"))
    stranger.copy_object(Bucket=mine, Key="a", CopySource=source)
    assert stranger.get_object(Bucket=mine, Key="a")["Body"].read() == b"a"
    assert refused(stranger.copy_object, Bucket=mine, Key="a", CopySource=f"test:{bucket}/shut/a") == DENIED


def test_an_upload_in_parts_of_who_is_granted(owner, colleague, bucket):
    put(owner, bucket, statement(bucket, "Allow", COLLEAGUE, ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"], "open/*"))  # fmt: skip
    whole = b"0" * (5 << 20) + b"end"
    upload = colleague.create_multipart_upload(Bucket=bucket, Key="open/big")["UploadId"]
    parts = []
    for number, data in ((1, whole[: 5 << 20]), (2, whole[5 << 20 :])):
        part = colleague.upload_part(
            Bucket=bucket, Key="open/big", UploadId=upload, PartNumber=number, Body=data
        )
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    assert refused(colleague.list_parts, Bucket=bucket, Key="open/big", UploadId=upload) == DENIED
    done = {"Bucket": bucket, "Key": "open/big", "UploadId": upload, "MultipartUpload": {"Parts": parts}}
    colleague.complete_multipart_upload(**done)
    assert colleague.get_object(Bucket=bucket, Key="open/big")["Body"].read() == whole
    assert refused(colleague.create_multipart_upload, Bucket=bucket, Key="shut/big") == DENIED
    upload = colleague.create_multipart_upload(Bucket=bucket, Key="open/no")["UploadId"]
    colleague.abort_multipart_upload(Bucket=bucket, Key="open/no", UploadId=upload)


def test_versions_of_who_is_granted(owner, colleague, bucket):
    owner.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = owner.put_object(Bucket=bucket, Key="open/v", Body=b"1")["VersionId"]
    put(owner, bucket, statement(bucket, "Allow", COLLEAGUE, ["s3:PutObject", "s3:GetObject", "s3:DeleteObject"], "open/*"))  # fmt: skip
    colleague.put_object(Bucket=bucket, Key="open/v", Body=b"2")
    assert colleague.get_object(Bucket=bucket, Key="open/v")["Body"].read() == b"2"
    assert refused(colleague.get_object, Bucket=bucket, Key="open/v", VersionId=first) == DENIED
    assert refused(colleague.delete_object, Bucket=bucket, Key="open/v", VersionId=first) == DENIED
    put(owner, bucket, statement(bucket, "Allow", COLLEAGUE, ["s3:GetObject*", "s3:DeleteObject*"], "open/*"))
    assert colleague.get_object(Bucket=bucket, Key="open/v", VersionId=first)["Body"].read() == b"1"
    colleague.delete_object(Bucket=bucket, Key="open/v", VersionId=first)
    assert colleague.delete_object(Bucket=bucket, Key="open/v")["DeleteMarker"] is True


def test_tags_decide(owner, colleague, bucket):
    tagged = {"StringEquals": {"s3:ExistingObjectTag/open": "yes"}}
    sent = {"StringNotEquals": {"s3:RequestObjectTag/open": "yes"}}
    put(
        owner,
        bucket,
        statement(bucket, "Allow", COLLEAGUE, "s3:GetObject", "*", Condition=tagged),
        statement(bucket, "Allow", COLLEAGUE, ["s3:PutObject", "s3:PutObjectTagging"], "*"),
        statement(bucket, "Deny", COLLEAGUE, "s3:PutObject*", "*", Condition=sent),
    )
    assert refused(colleague.get_object, Bucket=bucket, Key="shut/a") == DENIED
    owner.put_object(Bucket=bucket, Key="t", Body=b"t", Tagging="open=yes")
    assert colleague.get_object(Bucket=bucket, Key="t")["Body"].read() == b"t"
    colleague.put_object(Bucket=bucket, Key="u", Body=b"u", Tagging="open=yes")
    assert refused(colleague.put_object, Bucket=bucket, Key="u", Body=b"u", Tagging="open=no") == DENIED
    tags = {"TagSet": [{"Key": "open", "Value": "no"}]}
    assert refused(colleague.put_object_tagging, Bucket=bucket, Key="u", Tagging=tags) == DENIED
    tags["TagSet"][0]["Value"] = "yes"
    colleague.put_object_tagging(Bucket=bucket, Key="u", Tagging=tags)


def test_signed_addresses_are_under_policies_too(owner, address, bucket):
    url = owner.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "open/a"})
    path = url.partition(f":{address[1]}")[2]
    assert anybody(address, "GET", path) == (200, b"a")
    only_headers = {"StringNotEquals": {"s3:authType": "REST-HEADER"}}
    put(owner, bucket, statement(bucket, "Deny", "*", "s3:GetObject", "*", Condition=only_headers))
    assert anybody(address, "GET", path)[0] == 403
    assert owner.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"a"


def test_another_account(owner, stranger, bucket):
    theirs = f"test:{bucket}"
    assert refused(stranger.get_object, Bucket=theirs, Key="open/a") == DENIED
    put(
        owner,
        bucket,
        statement(
            bucket, "Allow", {"AWS": "arn:aws:iam::test2:root"}, ["s3:GetObject", "s3:PutObject"], "open/*"
        ),
        statement(bucket, "Allow", {"AWS": "test2"}, "s3:ListBucket"),
    )
    for name in (theirs, f"AUTH_test:{bucket}"):
        assert stranger.get_object(Bucket=name, Key="open/a")["Body"].read() == b"a"
        assert len(stranger.list_objects_v2(Bucket=name)["Contents"]) == 2
    stranger.put_object(Bucket=theirs, Key="open/theirs", Body=b"theirs")
    assert owner.get_object(Bucket=bucket, Key="open/theirs")["Body"].read() == b"theirs"
    assert refused(stranger.get_object, Bucket=theirs, Key="shut/a") == DENIED
    assert refused(stranger.get_object, Bucket=theirs, Key="open/no") == ("NoSuchKey", 404)
    assert refused(stranger.get_object, Bucket=bucket, Key="open/a") == (
        "NoSuchBucket",
        404,
    )  # there is none of their own
    assert refused(stranger.put_bucket_policy, Bucket=theirs, Policy="{}")[1] in (400, 403)


def test_anybody(owner, address, bucket):
    path = f"/test:{bucket}/open/a"
    assert anybody(address, "GET", path)[0] == 403
    put(owner, bucket, statement(bucket, "Allow", "*", "s3:GetObject", "open/*"))
    assert anybody(address, "GET", path) == (200, b"a")
    assert anybody(address, "HEAD", path) == (200, b"")
    assert anybody(address, "GET", f"/AUTH_test%3A{bucket}/open/a") == (200, b"a")
    assert anybody(address, "GET", path, {"Range": "bytes=0-0"}) == (206, b"a")
    for method, other in (
        ("GET", f"/test:{bucket}/shut/a"),
        ("GET", f"/test:{bucket}/open/absent"),
        ("GET", f"/test:{bucket}"),
        ("GET", f"/test:{bucket}?policy"),
        ("PUT", f"/test:{bucket}/open/a"),
        ("DELETE", f"/test:{bucket}/open/a"),
        ("GET", "/test:no-such-bucket-at-all/a"),
        ("GET", "/no-account-at-all:b12/a"),
        ("PUT", "/test:somebodys-new-bucket"),
    ):
        status, body = anybody(address, method, other, body=b"" if method == "PUT" else None)
        assert status in (403, 404), (method, other, status, body)
    here = {"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}
    put(owner, bucket, statement(bucket, "Allow", "*", "s3:GetObject", "open/*"), statement(bucket, "Deny", "*", "s3:GetObject", "*", Condition=here))  # fmt: skip
    assert anybody(address, "GET", path)[0] == 200
    here["NotIpAddress"]["aws:SourceIp"] = "10.0.0.0/8"
    put(owner, bucket, statement(bucket, "Allow", "*", "s3:GetObject", "open/*"), statement(bucket, "Deny", "*", "s3:GetObject", "*", Condition=here))  # fmt: skip
    assert anybody(address, "GET", path, {"X-Forwarded-For": "10.1.1.1"})[0] == 403


def test_a_public_container_by_its_native_acl(owner, address, bucket):
    owner.put_bucket_acl(Bucket=bucket, ACL="public-read")
    path = f"/test:{bucket}/shut/a"
    assert anybody(address, "GET", path) == (200, b"secret")
    owner.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    assert anybody(address, "GET", path)[0] == 403
    assert anybody(address, "GET", f"/test:{bucket}")[0] == 403
    assert owner.get_object(Bucket=bucket, Key="shut/a")["Body"].read() == b"secret"
    owner.delete_public_access_block(Bucket=bucket)
    assert anybody(address, "GET", path)[0] == 200


def test_the_block_of_public_access(owner, address, bucket):
    assert refused(owner.get_public_access_block, Bucket=bucket)[0] == "NoSuchPublicAccessBlockConfiguration"
    put(owner, bucket, statement(bucket, "Allow", "*", "s3:GetObject", "*"))
    flags = {
        "BlockPublicAcls": True,
        "IgnorePublicAcls": False,
        "BlockPublicPolicy": True,
        "RestrictPublicBuckets": True,
    }
    owner.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=flags)
    assert owner.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == flags
    assert anybody(address, "GET", f"/test:{bucket}/open/a")[0] == 403
    assert owner.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"a"
    policy = json.dumps(
        {"Version": "2012-10-17", "Statement": [statement(bucket, "Allow", "*", "s3:GetObject", "*")]}
    )
    assert refused(owner.put_bucket_policy, Bucket=bucket, Policy=policy) == DENIED
    assert refused(owner.put_bucket_acl, Bucket=bucket, ACL="public-read") == DENIED
    assert refused(owner.put_object, Bucket=bucket, Key="p", Body=b"", ACL="public-read") == DENIED
    owner.put_object(Bucket=bucket, Key="p", Body=b"", ACL="private")


def test_ownership_without_acls(owner, bucket):
    assert refused(owner.get_bucket_ownership_controls, Bucket=bucket)[0] == "OwnershipControlsNotFoundError"
    controls = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    owner.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=controls)
    assert owner.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"] == controls
    assert refused(owner.put_bucket_acl, Bucket=bucket, ACL="private")[0] == "AccessControlListNotSupported"
    assert (
        refused(owner.put_object, Bucket=bucket, Key="k", Body=b"", ACL="public-read")[0]
        == "AccessControlListNotSupported"
    )
    owner.put_object(Bucket=bucket, Key="k", Body=b"", ACL="bucket-owner-full-control")
    owner.delete_bucket_ownership_controls(Bucket=bucket)
    owner.put_bucket_acl(Bucket=bucket, ACL="private")
    made = f"{bucket}-own"
    owner.create_bucket(Bucket=made, ObjectOwnership="BucketOwnerPreferred")
    assert owner.get_bucket_ownership_controls(Bucket=made)["OwnershipControls"]["Rules"][0]["ObjectOwnership"] == "BucketOwnerPreferred"  # fmt: skip


def test_links_and_manifests_lead_to_nothing_that_is_not_granted(owner, colleague, user, bucket):
    """A grant is about a name: what the native API has put behind it is asked about apart."""
    other = f"{bucket}-other"
    owner.create_bucket(Bucket=other)
    owner.put_object(Bucket=other, Key="hidden", Body=b"hidden")
    assert (
        user(
            "PUT",
            f"/{bucket}/open/link",
            headers={"X-Symlink-Target": f"{other}/hidden", "Content-Length": "0"},
        ).status
        == 201
    )
    manifest = json.dumps([{"path": f"/{other}/hidden"}])
    assert user("PUT", f"/{bucket}/open/large?multipart-manifest=put", manifest).status == 201
    put(owner, bucket, statement(bucket, "Allow", COLLEAGUE, "s3:GetObject", "open/*"))
    for key in ("open/link", "open/large"):
        assert owner.get_object(Bucket=bucket, Key=key)["Body"].read() == b"hidden"
        assert refused(colleague.get_object, Bucket=bucket, Key=key)[1] in (403, 409)


def test_wrong_policies(owner, bucket):
    good = statement(bucket, "Allow", "*", "s3:GetObject", "*")
    for wrong, message in (
        ("[]", "Policies must be valid JSON"),
        (json.dumps({"Statement": [{**good, "Effect": "Perhaps"}]}), "Invalid effect: Perhaps"),
        (json.dumps({"Statement": [{**good, "Resource": "arn:aws:s3:::other/*"}]}), "Policy has invalid resource"),
        (json.dumps({"Statement": [{**good, "Action": "s3:ListBucket"}]}), "Action does not apply to any resource(s) in statement"),
        (json.dumps({"Statement": [good], "Id": "x" * 21000}), "Policy exceeds the maximum allowed document size."),
    ):  # fmt: skip
        with pytest.raises(ClientError) as raised:
            owner.put_bucket_policy(Bucket=bucket, Policy=wrong)
        error = raised.value.response["Error"]
        assert error["Code"] == "MalformedPolicy" and error["Message"].startswith(message), error
