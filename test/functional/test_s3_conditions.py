"""Conditions of writes and deletions through the S3 API: what is decided, and that of many who try only one wins."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from botocore.exceptions import ClientError

from swift.cli.saio_layout import NODES
from test.s3_clients import s3_client


def client_of(address):
    return s3_client(address, signature_version="s3v4")


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


# -- writes ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["copies", "fragments", "with-history"])
def kind(request, s3, name):
    """A bucket of each kind; its name."""
    bucket = f"s3-{hashlib.md5(name.encode()).hexdigest()}"
    if request.param == "fragments":
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "us-east-1:ec42"})
    else:
        s3.create_bucket(Bucket=bucket)
    if request.param == "with-history":
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.mark.parametrize("size", [0, 10, 300_000])
def test_a_new_object_and_its_replacement(s3, kind, size):
    put = {"Bucket": kind, "Key": "a b/ü"}
    assert told(s3.put_object, **put, Body=b"", IfMatch="x") == ("NoSuchKey", 404)
    first = s3.put_object(**put, Body=b"1" * size, IfNoneMatch="*")["ETag"]
    assert told(s3.put_object, **put, Body=b"2" * size, IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert told(s3.put_object, **put, Body=b"2", IfMatch='"00000000000000000000000000000000"') == (
        "PreconditionFailed", 412,
    )  # fmt: skip
    s3.put_object_tagging(**put, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})  # is no new content
    second = s3.put_object(**put, Body=b"2" * size + b"x", IfMatch=first)["ETag"]
    assert told(s3.put_object, **put, Body=b"3", IfMatch=first) == ("PreconditionFailed", 412)
    assert s3.get_object(**put)["Body"].read() == b"2" * size + b"x"
    s3.put_object(**put, Body=b"4", IfMatch=second.strip('"'))
    s3.delete_object(**put)
    assert told(s3.put_object, **put, Body=b"5", IfMatch=second) == ("NoSuchKey", 404)
    s3.put_object(**put, Body=b"6", IfNoneMatch="*")
    assert s3.get_object(**put)["Body"].read() == b"6"
    assert told(s3.put_object, **put, Body=b"", IfMatch=first, IfNoneMatch="*") == ("NotImplemented", 501)
    assert told(s3.put_object, **put, Body=b"", IfNoneMatch='"x"') == ("NotImplemented", 501)


def test_uploads_in_parts_under_conditions(s3, bucket):
    def complete(body, **condition):
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        part = {"Bucket": bucket, "Key": "k", "UploadId": upload}
        etag = s3.upload_part(**part, PartNumber=1, Body=body)["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        return s3.complete_multipart_upload(**part, MultipartUpload=parts, **condition)["ETag"]

    assert told(complete, body=b"1", IfMatch="x") == ("NoSuchKey", 404)
    first = complete(b"1", IfNoneMatch="*")
    assert told(complete, body=b"2", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert told(complete, body=b"2", IfMatch='"x-1"') == ("PreconditionFailed", 412)
    second = complete(b"2", IfMatch=first)
    assert told(complete, body=b"3", IfMatch=first) == ("PreconditionFailed", 412)
    s3.put_object(Bucket=bucket, Key="k", Body=b"4", IfMatch=second)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"4"


def count_up(address, bucket, key, times, wins):
    """Add one to the number that an object holds, `times` times; each that was acknowledged is in `wins`."""
    client = client_of(address)
    for _ in range(times):
        while True:
            answer = client.get_object(Bucket=bucket, Key=key)
            number = int(answer["Body"].read()) + 1
            try:
                client.put_object(Bucket=bucket, Key=key, Body=str(number).encode(), IfMatch=answer["ETag"])
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                assert status in (404, 409, 412), error
                continue
            wins.append(number)
            break


def test_each_of_many_counts_once(address, s3, kind):
    s3.put_object(Bucket=kind, Key="n", Body=b"0")
    wins: list[int] = []
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: count_up(address, kind, "n", 5, wins), range(6)))
    assert sorted(wins) == list(range(1, 31))
    assert s3.get_object(Bucket=kind, Key="n")["Body"].read() == b"30"


def test_one_of_many_makes_it(address, s3, kind):
    def make(number):
        return told(
            client_of(address).put_object, Bucket=kind, Key="k", Body=str(number).encode(), IfNoneMatch="*"
        )

    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(make, range(8)))
        assert [code for code, _ in answers].count("") == 1, answers
        winner = answers.index(("", 200))
        assert {status for _, status in answers} <= {200, 409, 412}
        assert s3.get_object(Bucket=kind, Key="k")["Body"].read() == str(winner).encode()
        s3.delete_object(Bucket=kind, Key="k")
    if "VersionId" in s3.put_object(Bucket=kind, Key="k", Body=b""):
        rows = s3.list_object_versions(Bucket=kind)["Versions"]
        assert len(rows) == 4, "who lost has left a version"


def test_who_loses_leaves_nothing_on_any_node(cluster, address, s3, kind):
    started = time.time()
    s3.put_object(Bucket=kind, Key="n", Body=b"0")

    def attempt(number):
        client = client_of(address)
        if number % 2:
            told(client.put_object, Bucket=kind, Key="k", Body=str(number).encode(), IfNoneMatch="*")
        else:
            etag = client.head_object(Bucket=kind, Key="n")["ETag"]
            told(client.put_object, Bucket=kind, Key="n", Body=str(number).encode(), IfMatch=etag)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(attempt, range(24)))

    def times():
        """{hash: times of what counts there on any node}"""
        found: dict[str, set[str]] = {}
        for node in NODES:
            for path in cluster.device(node).glob("objects*/*/*/*/*.data"):
                is_fragment = "#" in path.name
                if path.stat().st_mtime > started and (not is_fragment or path.name.endswith("#d.data")):
                    found.setdefault(path.parent.name, set()).add(path.name.split("#")[0].split(".data")[0])
        return found

    for _ in range(600):  # a copy may come after the answer
        left = {name: found for name, found in times().items() if len(found) > 1}
        if not left:
            break
        time.sleep(0.1)
    assert times() and not left


def test_a_state_that_is_locked_while_it_is_changed(address, s3, bucket):
    """As Terraform's backend does it: a lock that is made, the state, and the lock removed."""
    s3.put_object(Bucket=bucket, Key="state", Body=b"0")
    inside: list[int] = []

    def work(number):
        client = client_of(address)
        while told(client.put_object, Bucket=bucket, Key="state.tflock", Body=b"me", IfNoneMatch="*") != (
            "",
            200,
        ):
            pass
        inside.append(number)
        assert inside == [number]
        state = client.get_object(Bucket=bucket, Key="state")
        value = str(int(state["Body"].read()) + 1).encode()
        client.put_object(Bucket=bucket, Key="state", Body=value, IfMatch=state["ETag"])
        inside.remove(number)
        client.delete_object(Bucket=bucket, Key="state.tflock")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(12)))
    assert s3.get_object(Bucket=bucket, Key="state")["Body"].read() == b"12"


# -- deletions -------------------------------------------------------------------------------------------------------------


def test_only_what_was_seen_is_deleted(s3, kind):
    key = {"Bucket": kind, "Key": "k"}
    assert told(s3.delete_object, **key, IfMatch="x") == ("PreconditionFailed", 412)
    assert told(s3.delete_object, **key, IfMatch="*") == ("", 200)
    etag = s3.put_object(**key, Body=b"123")["ETag"]
    for wrong in (
        {"IfMatch": '"x"'},
        {"IfMatchSize": 4},
        {"IfMatchLastModifiedTime": datetime(2020, 1, 1)},
        {"IfMatch": etag, "IfMatchSize": 2},
    ):
        assert told(s3.delete_object, **key, **wrong) == ("PreconditionFailed", 412), wrong
    when = s3.head_object(**key)["LastModified"]
    s3.delete_object(**key, IfMatch=etag, IfMatchSize=3, IfMatchLastModifiedTime=when)
    assert told(s3.head_object, **key)[1] == 404
    s3.put_object(**key, Body=b"4", IfNoneMatch="*")
    s3.delete_object(**key, IfMatch="*")
    assert told(s3.get_object, **key)[1] == 404


def test_many_deletions_under_conditions(s3, bucket):
    etags = [s3.put_object(Bucket=bucket, Key=str(n), Body=b"1" * n)["ETag"] for n in range(4)]
    when = s3.head_object(Bucket=bucket, Key="2")["LastModified"]
    doomed = [
        {"Key": "0", "ETag": etags[0]},
        {"Key": "1", "ETag": etags[0]},
        {"Key": "2", "LastModifiedTime": when, "Size": 2},
        {"Key": "3", "Size": 4},
        {"Key": "never", "ETag": "*"},
    ]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed})
    assert [row["Key"] for row in answer["Deleted"]] == ["0", "2", "never"]
    assert [(row["Key"], row["Code"]) for row in answer["Errors"]] == [
        ("1", "PreconditionFailed"), ("3", "PreconditionFailed"),
    ]  # fmt: skip


def test_parts_of_what_is_deleted_go_with_it(s3, bucket, user):
    for condition in ({}, {"IfMatch": "*"}):
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        part = {"Bucket": bucket, "Key": "k", "UploadId": upload}
        etag = s3.upload_part(**part, PartNumber=1, Body=b"1")["ETag"]
        s3.complete_multipart_upload(**part, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
        s3.delete_object(Bucket=bucket, Key="k", **condition)
        assert told(s3.head_object, Bucket=bucket, Key="k")[1] == 404
        if condition:
            assert user("GET", f"/{bucket}%2Bsegments?prefix=k/{upload}/").body == b""


def test_of_who_deletes_and_who_writes_one_wins(address, s3, kind):
    for number in range(6):
        etag = s3.put_object(Bucket=kind, Key="k", Body=b"1")["ETag"]

        def act(is_deletion, etag=etag):
            client = client_of(address)
            if is_deletion:
                return told(client.delete_object, Bucket=kind, Key="k", IfMatch=etag)
            return told(client.put_object, Bucket=kind, Key="k", Body=b"2", IfMatch=etag)

        with ThreadPoolExecutor(2) as pool:
            deleted, written = pool.map(act, (True, False))
        assert [deleted[0], written[0]].count("") < 2, (deleted, written)
        status = told(s3.head_object, Bucket=kind, Key="k")[1]
        if deleted[0] == "":
            assert status == 404, (number, deleted, written)
        elif written[0] == "":
            assert status == 200, (number, deleted, written)


# -- copies ----------------------------------------------------------------------------------------------------------------


def test_copies_under_conditions_of_their_target(s3, kind):
    s3.put_object(Bucket=kind, Key="source", Body=b"1")
    copy = {"Bucket": kind, "Key": "copy", "CopySource": f"{kind}/source"}
    assert told(s3.copy_object, **copy, IfMatch="x") == ("NoSuchKey", 404)
    first = s3.copy_object(**copy, IfNoneMatch="*")["CopyObjectResult"]["ETag"]
    assert told(s3.copy_object, **copy, IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert told(s3.copy_object, **copy, IfMatch='"x"') == ("PreconditionFailed", 412)
    changed = s3.put_object(Bucket=kind, Key="copy", Body=b"2", IfMatch=first)["ETag"]
    assert told(s3.copy_object, **copy, IfMatch=first) == ("PreconditionFailed", 412)
    s3.copy_object(**copy, IfMatch=changed, ChecksumAlgorithm="SHA256", CopySourceIfMatch=first)
    assert s3.get_object(Bucket=kind, Key="copy")["Body"].read() == b"1"
    assert told(s3.copy_object, **copy, CopySourceIfNoneMatch=first) == ("PreconditionFailed", 412)


def test_one_of_many_copies_makes_it(address, s3, bucket):
    for key in "abcd":
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())

    def copy(key):
        client = client_of(address)
        return told(
            client.copy_object, Bucket=bucket, Key="copy", CopySource=f"{bucket}/{key}", IfNoneMatch="*"
        )

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(copy, "abcd"))
    assert [code for code, _ in answers].count("") == 1
    winner = "abcd"[answers.index(("", 200))]
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == winner.encode()


def test_a_copy_does_not_end_with_its_source(s3, bucket, user):
    assert user("PUT", f"/{bucket}/k", b"1", X_Delete_After="1000").status == 201
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    s3.copy_object(Bucket=bucket, Key="summed", CopySource=f"{bucket}/k", ChecksumAlgorithm="CRC32")
    assert "x-delete-at" in user("HEAD", f"/{bucket}/k").headers
    for key in ("copy", "summed"):
        assert "x-delete-at" not in user("HEAD", f"/{bucket}/{key}").headers
