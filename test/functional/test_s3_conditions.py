"""Conditions of writes and deletions through the S3 API: what is decided, and that of many who try only one wins."""

import hashlib

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError


@pytest.fixture(scope="module")
def s3(address):
    return boto3.client(
        "s3",
        endpoint_url=f"http://{address[0]}:{address[1]}",
        aws_access_key_id="test:tester",
        aws_secret_access_key="testing",
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}, signature_version="s3v4"),
    )


@pytest.fixture
def bucket(s3, name):
    bucket = f"s3-{hashlib.md5(name.encode()).hexdigest()}"
    s3.create_bucket(Bucket=bucket)
    return bucket


def told(call, **arguments):
    """(code, status) of an error, ("", 200) of none."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return "", 200


def test_a_bucket_of_another_owner_than_expected(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", ExpectedBucketOwner="test")
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", ExpectedBucketOwner="AUTH_test")
    for call in (s3.get_object, s3.head_object, s3.delete_object, s3.get_object_tagging):
        assert told(call, Bucket=bucket, Key="k", ExpectedBucketOwner="other")[1] == 403, call
    assert told(s3.put_object, Bucket=bucket, Key="k", Body=b"2", ExpectedBucketOwner="") == (
        "AccessDenied",
        403,
    )
    assert told(s3.delete_objects, Bucket=bucket, Delete={"Objects": [{"Key": "k"}]}, ExpectedBucketOwner="x") == (
        "AccessDenied", 403,
    )  # fmt: skip
    assert told(s3.head_bucket, Bucket=bucket, ExpectedBucketOwner="x")[1] == 403
    copy = {"Bucket": bucket, "Key": "copy", "CopySource": f"{bucket}/k"}
    assert told(s3.copy_object, **copy, ExpectedSourceBucketOwner="x") == ("AccessDenied", 403)
    s3.copy_object(**copy, ExpectedSourceBucketOwner="test", ExpectedBucketOwner="test")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
