"""Temporary credentials through boto3: asked for, used for everything, and no more than their parent's."""

import hashlib

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
