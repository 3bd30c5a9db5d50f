"""Parts of multipart objects in whose place something else was written go with the expirer's next pass; those that are needed stay."""

import contextlib
import hashlib
import pathlib
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from swift.core import swift_dir
from test.cluster import Cluster
from test.functional.conftest import Client
from test.functional.test_expiry import expire as passes
from test.s3_clients import s3_client

LEAST = 5 * 1024 * 1024
ROOT = pathlib.Path(__file__).parents[2]
BODY = b"b" * LEAST


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A cluster in which nobody but the tests has anything removed."""
    with Cluster(tmp_path_factory.mktemp("replaced") / "saio") as cluster:
        cluster.kill("daemons")
        swift_dir.use(str(cluster.layout.etc))
        yield cluster


@pytest.fixture(scope="module")
def address(running):
    return running.address


@pytest.fixture
def user(address):
    return Client(address, "test:tester")


@pytest.fixture(scope="module")
def s3(address):
    return s3_client(address)


def uploaded(s3, bucket, key):
    """An object of two parts, and one that it is not made of. Returns the upload."""
    names = {"Bucket": bucket, "Key": key}
    names["UploadId"] = s3.create_multipart_upload(**names)["UploadId"]
    parts = []
    for number, body in ((1, BODY), (2, b"end"), (3, b"unused")):
        made = s3.upload_part(**names, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": made["ETag"]})
    s3.complete_multipart_upload(**names, MultipartUpload={"Parts": parts[:2]})
    return names["UploadId"]


def left(user, bucket):
    return sorted(
        {line.rpartition("/")[0] for line in user("GET", f"/{bucket}+segments").body.decode().split()}
    )


@pytest.fixture
def expire(running):
    return lambda: passes(running, 1.0)


def test_what_is_written_over_goes(s3, user, name, expire):
    bucket = f"re-{hashlib.md5(name.encode()).hexdigest()}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="plain", Body=b"plain")
    for key in ("put", "copy", "gone"):
        uploaded(s3, bucket, key)
    uploaded(s3, bucket, "again")
    kept = [f"again/{uploaded(s3, bucket, 'again')}", f"same/{uploaded(s3, bucket, 'same')}"]
    uploaded(s3, bucket, "copy-of-large")
    s3.put_object(Bucket=bucket, Key="put", Body=b"")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "plain"})
    s3.copy_object(Bucket=bucket, Key="copy-of-large", CopySource={"Bucket": bucket, "Key": "same"})
    same = {"Bucket": bucket, "Key": "same"}
    s3.copy_object(**same, CopySource=same, MetadataDirective="REPLACE", Metadata={"m": "1"})
    s3.delete_object(Bucket=bucket, Key="gone")
    expire()
    names = left(user, bucket)
    assert [entry for entry in names if not entry.startswith("copy-of-large/")] == sorted(kept)
    assert sum(entry.startswith("copy-of-large/") for entry in names) == 1
    for key in ("again", "same", "copy-of-large"):
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY + b"end"


def test_parts_of_what_became_a_version_stay(s3, user, name, expire):
    bucket = f"re-{hashlib.md5(name.encode()).hexdigest()}"
    s3.create_bucket(Bucket=bucket)
    uploaded(s3, bucket, "k")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    uploaded(s3, bucket, "k")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    upload = uploaded(s3, bucket, "k")
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    expire()
    assert len(left(user, bucket)) == 2
    assert f"k/{upload}" not in left(user, bucket)
    sizes = [
        len(s3.get_object(Bucket=bucket, Key="k", VersionId=row["VersionId"])["Body"].read())
        for row in s3.list_object_versions(Bucket=bucket)["Versions"]
    ]
    assert sorted(sizes) == [0, 0, LEAST + 3, LEAST + 3]


def abort_in_the_end(s3, bucket, upload):
    """What a proxy had decided when it died holds for a minute: 503 until then."""
    for _ in range(10):
        try:
            return s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "ServiceUnavailable":
                raise
    raise AssertionError("it can never be aborted")


def test_a_killed_proxy_leaves_nothing_that_is_not_found(running, s3, user, name, address):
    bucket = f"re-{hashlib.md5(name.encode()).hexdigest()}"
    s3.create_bucket(Bucket=bucket)
    for turn in range(6):
        names = {"Bucket": bucket, "Key": f"k{turn}"}
        names["UploadId"] = s3.create_multipart_upload(**names)["UploadId"]
        made = s3.upload_part(**names, PartNumber=1, Body=BODY)
        parts = {"Parts": [{"PartNumber": 1, "ETag": made["ETag"]}]}
        calls = [lambda: s3.complete_multipart_upload(**names, MultipartUpload=parts)]  # noqa: B023
        calls.append(lambda: s3.abort_multipart_upload(**names))  # noqa: B023
        with ThreadPoolExecutor(2) as pool:
            done = [pool.submit(call) for call in (calls[:1], calls[1:], calls)[turn % 3]]
            time.sleep(turn * 0.008)
            running.kill("proxy")
            ended = [one.exception() for one in done]
        running.revive("proxy")
        assert ended
        if turn % 2:
            continue
        # A client that was not answered sends it again.
        try:
            calls[0]()
        except ClientError as error:
            assert error.response["Error"]["Code"] == "NoSuchUpload"
    for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        with contextlib.suppress(
            s3.exceptions.NoSuchUpload
        ):  # there is an object of it, and now it is listed no more
            abort_in_the_end(s3, bucket, upload)
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")
    command = [
        sys.executable,
        str(ROOT / "bin/swift-s3-orphans"),
        "AUTH_test",
        bucket,
        "--days",
        "0",
        "--delete",
    ]
    command += ["--swift-dir", str(running.layout.etc)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    there = [row["Key"] for row in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    for key in there:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY
    assert [entry.partition("/")[0] for entry in left(user, bucket)] == there
