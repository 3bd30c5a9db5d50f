"""Temporary credentials through boto3: asked for, used for everything, and no more than their parent's."""

import hashlib
import json

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError


@pytest.fixture(scope="module")
def make(address):
    def client(service, user="test:tester", key="testing", token=None, version=None):
        config = Config(
            retries={"max_attempts": 0}, s3={"addressing_style": "path"}, signature_version=version
        )
        return boto3.client(
            service, endpoint_url=f"http://{address[0]}:{address[1]}", aws_access_key_id=user, aws_secret_access_key=key,
            aws_session_token=token, region_name="us-east-1", config=config,
        )  # fmt: skip

    return client


@pytest.fixture(scope="module")
def found(make):
    sts = make("sts")
    answer = sts.assume_role(RoleArn="arn:aws:iam::test:role/any", RoleSessionName="me", DurationSeconds=900)
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::test:assumed-role/any/me"
    assert sts.get_caller_identity()["Arn"] == "arn:aws:iam::test:user/tester"
    return answer["Credentials"]


def session(make, found, service="s3", version=None):
    return make(service, found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"], version)


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_all_that_a_client_does(make, found, name, version):
    s3 = session(make, found, version=version)
    bucket = f"session-{hashlib.md5(name.encode()).hexdigest()}"
    s3.create_bucket(Bucket=bucket)
    assert bucket in [row["Name"] for row in s3.list_buckets()["Buckets"]]
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=1, Body=b"x" * 100)
    s3.complete_multipart_upload(
        Bucket=bucket,
        Key="big",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    assert requests.get(url, timeout=60).content == b"hello"
    form = s3.generate_presigned_post(bucket, "form")
    assert (
        requests.post(form["url"], data=form["fields"], files={"file": b"x"}, timeout=60).status_code == 204
    )
    del form["fields"]["x-amz-security-token"]
    assert (
        requests.post(form["url"], data=form["fields"], files={"file": b"x"}, timeout=60).status_code == 403
    )
    assert len(s3.list_objects_v2(Bucket=bucket)["Contents"]) == 3
    assert make("s3").get_object(Bucket=bucket, Key="form")["Body"].read() == b"x"


def test_a_session_of_somebody_without_rights_has_none(make):
    found = make("sts", "test:tester3", "testing3").get_session_token()["Credentials"]
    with pytest.raises(ClientError) as raised:
        session(make, found).list_buckets()
    assert raised.value.response["Error"]["Code"] == "AccessDenied"


def test_what_is_wrong_with_a_token(make, found):
    wrong = {**found, "SessionToken": found["SessionToken"][:-8] + "AAAAAAA="}
    for changed, code in (
        (wrong, "InvalidToken"),
        ({**found, "SecretAccessKey": "x"}, "SignatureDoesNotMatch"),
        ({**found, "SessionToken": None}, "InvalidAccessKeyId"),
    ):
        with pytest.raises(ClientError) as raised:
            session(make, changed).list_buckets()
        assert raised.value.response["Error"]["Code"] == code
    with pytest.raises(ClientError) as raised:
        session(make, found, "sts").assume_role(RoleArn="arn:aws:iam::test:role/any", RoleSessionName="me")
    assert raised.value.response["Error"]["Code"] == "AccessDenied"


def test_a_session_with_a_policy_of_its_own(make, name):
    s3, bucket = make("s3"), f"session-{hashlib.md5(name.encode()).hexdigest()}"
    s3.create_bucket(Bucket=bucket)
    for key in ("mine/a", "others/a"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    statements = [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"arn:aws:s3:::{bucket}/mine/*"},
        {
            "Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}",
            "Condition": {"StringLike": {"s3:prefix": "mine/*"}},
        },
    ]  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    found = make("sts").assume_role(
        RoleArn="arn:aws:iam::test:role/any", RoleSessionName="me", Policy=policy
    )["Credentials"]
    mine = session(make, found)
    mine.put_object(Bucket=bucket, Key="mine/b", Body=b"y")
    assert mine.get_object(Bucket=bucket, Key="mine/b")["Body"].read() == b"y"
    assert len(mine.list_objects_v2(Bucket=bucket, Prefix="mine/")["Contents"]) == 2
    form = mine.generate_presigned_post(bucket, "mine/form")
    assert (
        requests.post(form["url"], data=form["fields"], files={"file": b"x"}, timeout=60).status_code == 204
    )
    form = mine.generate_presigned_post(bucket, "others/form")
    assert (
        requests.post(form["url"], data=form["fields"], files={"file": b"x"}, timeout=60).status_code == 403
    )
    for call, arguments in (
        (mine.get_object, {"Key": "others/a"}), (mine.put_object, {"Key": "others/b", "Body": b""}), (mine.delete_object, {"Key": "mine/a"}),
        (mine.list_objects_v2, {}), (mine.create_multipart_upload, {"Key": "others/b"}), (mine.get_object_tagging, {"Key": "mine/a"}),
        (mine.copy_object, {"Key": "mine/c", "CopySource": f"{bucket}/others/a"}), (mine.delete_bucket, {}),
        (mine.put_bucket_policy, {"Policy": policy}), (mine.get_bucket_acl, {}), (mine.head_bucket, {}),
    ):  # fmt: skip
        with pytest.raises(ClientError) as raised:
            call(Bucket=bucket, **arguments)
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, call
    with pytest.raises(ClientError):
        mine.list_buckets()
    gone = mine.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "mine/a"}, {"Key": "others/a"}]})
    assert [error["Code"] for error in gone["Errors"]] == ["AccessDenied"] * 2
    assert {row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]} == {
        "mine/a",
        "mine/b",
        "mine/form",
        "others/a",
    }
