"""Multipart uploads: what is stored, which requests that come at the same time win, and that nothing is left behind."""

import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from test.s3_clients import refused, s3_client

LEAST = 5 * 1024 * 1024
FIRST = bytes(range(256)) * (LEAST // 256)
SECOND = b"the end"


@pytest.fixture(scope="module")
def s3(address):
    return s3_client(address, max_pool_connections=20)


class Upload:
    """An upload that has been begun."""

    def __init__(self, s3, bucket, key="k", **arguments):
        self.s3 = s3
        self.names = {"Bucket": bucket, "Key": key}
        self.id = s3.create_multipart_upload(**self.names, **arguments)["UploadId"]
        self.etags = {}

    def put(self, number, body):
        made = self.s3.upload_part(**self.names, UploadId=self.id, PartNumber=number, Body=body)
        self.etags[number] = made["ETag"]
        return made["ETag"]

    def complete(self, etags=None, **arguments):
        parts = [
            {"PartNumber": number, "ETag": etag} for number, etag in sorted((etags or self.etags).items())
        ]
        return self.s3.complete_multipart_upload(
            **self.names, UploadId=self.id, MultipartUpload={"Parts": parts}, **arguments
        )

    def abort(self):
        return self.s3.abort_multipart_upload(**self.names, UploadId=self.id)

    def body(self):
        return self.s3.get_object(**self.names)["Body"].read()


def code_of(call, *arguments, **named):
    return refused(call, *arguments, **named)[0]


def left(user, bucket):
    """What is in a bucket's segments container."""
    return user("GET", f"/{bucket}+segments").body.decode().split()


def test_what_is_stored(s3, bucket, user):
    upload = Upload(
        s3,
        bucket,
        "dir/k",
        ContentType="image/png",
        CacheControl="no-cache",
        Metadata={"a_b": "c", "d-e": "f"},
    )
    assert left(user, bucket) == [f"dir/k/{upload.id}"]
    marker = user("HEAD", f"/{bucket}+segments/dir/k/{upload.id}")
    assert (marker.headers["content-type"], marker.headers["content-length"]) == (
        "application/directory",
        "0",
    )
    upload.put(2, SECOND)
    upload.put(1, FIRST)
    made = upload.complete()
    digests = [hashlib.md5(body).digest() for body in (FIRST, SECOND)]
    assert made["ETag"] == f'"{hashlib.md5(b"".join(digests)).hexdigest()}-2"'
    manifest = json.loads(user("GET", f"/{bucket}/dir/k?multipart-manifest=get").body)
    assert [(item["name"], item["bytes"], item["hash"], item["content_type"]) for item in manifest] == [
        (
            f"/{bucket}+segments/dir/k/{upload.id}/{number}",
            len(body),
            hashlib.md5(body).hexdigest(),
            "application/octet-stream",
        )
        for number, body in ((1, FIRST), (2, SECOND))
    ]
    assert all(item["last_modified"].endswith(".000000") for item in manifest)
    head = s3.head_object(Bucket=bucket, Key="dir/k")
    assert (head["ContentType"], head["CacheControl"]) == ("image/png", "no-cache")
    assert head["Metadata"] == {"a_b": "c", "d-e": "f"}
    assert left(user, bucket) == [f"dir/k/{upload.id}/{number}" for number in (1, 2)]
    assert s3.get_object(Bucket=bucket, Key="dir/k", PartNumber=2)["Body"].read() == SECOND
    row = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert (row["ETag"], row["Size"]) == (made["ETag"], len(FIRST + SECOND))
    assert upload.complete()["ETag"] == made["ETag"]
    assert code_of(upload.abort) == "NoSuchUpload"
    assert code_of(upload.put, 3, b"late") == "NoSuchUpload"
    assert upload.body() == FIRST + SECOND


def test_what_no_object_can_be_stored_with_begins_no_upload(s3, bucket, user):
    lock = {"ObjectLockLegalHoldStatus": "ON", "ServerSideEncryption": "aws:kms", "Tagging": "a=1&a=2"}
    names = {"Bucket": bucket, "Key": "k"}
    for name, value in lock.items():
        code = code_of(s3.create_multipart_upload, **names, **{name: value})
        assert code in ("NotImplemented", "InvalidArgument", "InvalidRequest"), name
    assert user("HEAD", f"/{bucket}+segments").status == 404


def test_the_last_one_of_a_number_counts(s3, bucket):
    upload = Upload(s3, bucket)
    other = upload.put(1, FIRST[::-1])
    upload.put(1, FIRST)
    upload.put(2, SECOND)
    assert code_of(upload.complete, {**upload.etags, 1: other}) == "InvalidPart"
    upload.complete()
    assert upload.body() == FIRST + SECOND


def test_a_part_that_comes_too_late_changes_no_object(s3, bucket):
    upload = Upload(s3, bucket)
    upload.put(1, FIRST)
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        """A body whose end comes when it may."""

        def __init__(self):
            self.at = 0

        def __len__(self):
            return LEAST

        def read(self, size=-1):
            if self.at >= LEAST // 2:
                begun.set()
                go_on.wait(60)
            data = bytes(min(size if size > 0 else LEAST, 65536, LEAST - self.at))
            self.at += len(data)
            return data

    url = s3.generate_presigned_url("upload_part", {**upload.names, "UploadId": upload.id, "PartNumber": 1})
    import http.client
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(
            connection.request, "PUT", f"{parts.path}?{parts.query}", Slow(), {"Content-Length": str(LEAST)}
        )
        assert begun.wait(60)
        upload.complete()
        go_on.set()
        sent.result()
    answer = connection.getresponse()
    assert (answer.status, b"NoSuchUpload" in answer.read()) == (404, True)
    assert upload.body() == FIRST


def test_nothing_is_left_of_an_aborted_upload(s3, bucket, user):
    upload = Upload(s3, bucket)
    with ThreadPoolExecutor(8) as pool:
        coming = [pool.submit(upload.put, number, SECOND) for number in range(1, 25)]
        upload.abort()
        for part in coming:
            error = part.exception()
            assert error is None or error.response["Error"]["Code"] == "NoSuchUpload"
    assert left(user, bucket) == []
    assert code_of(upload.put, 1, SECOND) == "NoSuchUpload"
    assert code_of(upload.complete, {1: hashlib.md5(SECOND).hexdigest()}) == "NoSuchUpload"
    assert left(user, bucket) == []


def test_whoever_wins_there_is_all_of_it_or_nothing(s3, bucket, user):
    for turn in range(6):
        upload = Upload(s3, bucket, f"k{turn}")
        upload.put(1, FIRST)
        upload.put(2, SECOND)
        calls = [upload.complete, upload.abort, upload.complete]
        if turn % 2:
            calls.reverse()
        with ThreadPoolExecutor(3) as pool:
            done = [pool.submit(call) for call in calls]
        completed = [
            one.exception() is None for call, one in zip(calls, done, strict=True) if call == upload.complete
        ]
        assert all(
            one.exception() is None or one.exception().response["Error"]["Code"] == "NoSuchUpload"
            for one in done
        )
        aborted = done[calls.index(upload.abort)].exception() is None
        assert any(completed) != aborted
        if any(completed):
            assert upload.body() == FIRST + SECOND
        else:
            assert code_of(upload.body) == "NoSuchKey"
            assert not [name for name in left(user, bucket) if name.startswith(f"k{turn}/")]


def test_many_uploads_are_all_listed_whatever_the_pages_are(s3, bucket):
    keys = ["a", "a!", "a/b", "a/c", "a-", "b/1", "b/2", "c"]
    uploads = sorted((key, Upload(s3, bucket, key).id) for key in keys for _ in range(2))
    done = Upload(s3, bucket, "a/b")
    for number in (1, 2, 10):
        done.put(number, FIRST if number < 10 else b"")
    done.complete()
    for size in (1, 2, 5, 1000):
        pages = s3.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket, PaginationConfig={"PageSize": size}
        )
        found = [(row["Key"], row["UploadId"]) for page in pages for row in page.get("Uploads", [])]
        assert (size, sorted(found)) == (size, uploads)
        pages = s3.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": size}
        )
        found, prefixes = [], []
        for page in pages:
            found += [row["Key"] for row in page.get("Uploads", [])]
            prefixes += [row["Prefix"] for row in page.get("CommonPrefixes", [])]
        assert (sorted(found), prefixes) == (sorted(2 * ["a", "a!", "a-", "c"]), ["a/", "b/"])
    after = s3.list_multipart_uploads(Bucket=bucket, KeyMarker="a/b")["Uploads"]
    assert [row["Key"] for row in after] == [key for key, _ in uploads if key > "a/b"]


def test_parts_are_listed_by_their_numbers(s3, bucket):
    upload = Upload(s3, bucket)
    numbers = [1, 2, 10, 999, 1000, 1001, 1010, 2000, 9999, 10000]
    for number in numbers:
        upload.put(number, str(number).encode())
    for size in (1, 3, 1000):
        found, after = [], 0
        while True:
            page = s3.list_parts(**upload.names, UploadId=upload.id, PartNumberMarker=after, MaxParts=size)
            found += [row["PartNumber"] for row in page.get("Parts", [])]
            if not page["IsTruncated"]:
                break
            after = page["NextPartNumberMarker"]
        assert (size, found) == (size, numbers)
    assert code_of(upload.complete) == "EntityTooSmall"
    assert code_of(upload.put, 10001, b"") == "InvalidArgument"


def test_no_parts_go_with_a_bucket_that_has_versions(s3, bucket, user):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    upload = Upload(s3, bucket)
    upload.put(1, FIRST)
    version = upload.complete()["VersionId"]
    s3.delete_object(Bucket=bucket, Key="k")
    assert code_of(s3.delete_bucket, Bucket=bucket) == "BucketNotEmpty"
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=version)["Body"].read() == FIRST


def test_segments_stay_with_what_was_there_before_versions(s3, bucket, user):
    """Of a native large object: its segments would go at once, those of an upload when the expirer comes."""
    user("PUT", f"/{bucket}+segments")
    segment = f"/{bucket}+segments/s"
    assert user("PUT", segment, FIRST).status == 201
    manifest = json.dumps([{"path": segment}]).encode()
    assert user("PUT", f"/{bucket}/k?multipart-manifest=put", manifest).status == 201
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.delete_object(Bucket=bucket, Key="k")["DeleteMarker"]
    version = s3.list_object_versions(Bucket=bucket)["Versions"][0]["VersionId"]
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=version)["Body"].read() == FIRST
