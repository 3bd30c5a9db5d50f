"""Multipart uploads in a cluster of both implementations: each proxy finishes, lists, reads and deletes what the other one began."""

import hashlib
import json

import pytest

from test.mixed import Client, mixed_cluster, needs_reference

import cluster as bench_cluster  # isort: skip
from test.s3_clients import s3_client

pytestmark = needs_reference
LEAST = 5 * 1024 * 1024
BODIES = {1: b"a" * LEAST, 2: b"b" * LEAST, 10: b"end"}


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            bench_cluster, "PIPELINE", bench_cluster.PIPELINE.replace(" tempauth ", " s3api tempauth ")
        )
        with mixed_cluster(tmp_path_factory.mktemp("mixed-s3")) as cluster:
            yield [
                (
                    s3_client(("127.0.0.1", port)),
                    Client(port),
                )
                for port in (cluster.port, cluster.reference_port)
            ]


def stored(native, bucket, upload):
    """What an object is, without what differs from object to object."""
    manifest = json.loads(
        native.call(
            "GET",
            f"/v1/AUTH_test/{bucket}/dir/k?multipart-manifest=get",
            None,
            {"X-Auth-Token": native.token},
        )[2]
    )
    return [
        (
            item["name"].replace(upload, "ID"),
            item["bytes"],
            item["hash"],
            item["content_type"],
            len(item["last_modified"]),
        )
        for item in manifest
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_what_one_began_the_other_finishes(sides, turned):
    (first, _), (other, native) = reversed(sides) if turned else sides
    bucket = f"mixed-{turned}".lower()
    first.create_bucket(Bucket=bucket)
    found = []
    for begins, finishes in ((first, other), (first, first)):
        names = {"Bucket": bucket, "Key": "dir/k"}
        upload = begins.create_multipart_upload(**names, ContentType="image/png", Metadata={"a": "b"})[
            "UploadId"
        ]
        etags = {}
        for number, body in BODIES.items():
            side = begins if number != 2 else finishes
            etags[number] = side.upload_part(**names, UploadId=upload, PartNumber=number, Body=body)["ETag"]
        listed = finishes.list_parts(**names, UploadId=upload)["Parts"]
        assert [(row["PartNumber"], row["ETag"]) for row in listed] == list(etags.items())
        assert [row["UploadId"] for row in finishes.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [
            upload
        ]
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in etags.items()]
        made = finishes.complete_multipart_upload(**names, UploadId=upload, MultipartUpload={"Parts": parts})
        whole = b"".join(BODIES.values())
        for reader in (begins, finishes):
            got = reader.get_object(**names)
            assert (got["ETag"], got["ContentType"], got["Metadata"]) == (
                made["ETag"],
                "image/png",
                {"a": "b"},
            )
            assert hashlib.md5(got["Body"].read()).digest() == hashlib.md5(whole).digest()
            assert reader.list_objects_v2(Bucket=bucket)["Contents"][0]["ETag"] == made["ETag"]
        found.append(stored(native, bucket, upload))
        begins.delete_object(**names)
    assert found[0] == found[1]
    left = first.create_multipart_upload(Bucket=bucket, Key="x")["UploadId"]
    first.upload_part(Bucket=bucket, Key="x", UploadId=left, PartNumber=1, Body=b"1")
    other.abort_multipart_upload(Bucket=bucket, Key="x", UploadId=left)
    assert "Uploads" not in first.list_multipart_uploads(Bucket=bucket)
