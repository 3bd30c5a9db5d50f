"""Checksums of uploads in parts, announced, checked, kept, listed and told; and copies of what was made of parts."""

import base64
import hashlib
import zlib

import pytest
from boto3.s3.transfer import TransferConfig

from swift.s3.checksums import ALGORITHMS, combined
from test.s3_clients import refusal, s3_client

LEAST = 5 * 1024 * 1024
BODIES = [bytes(range(256)) * (LEAST // 256), b"\1" * (LEAST + 7), b"the end"]
WHOLE = b"".join(BODIES)
KINDS = [
    ("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("CRC32C", "COMPOSITE"), ("CRC32C", "FULL_OBJECT"),
    ("CRC64NVME", "FULL_OBJECT"), ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE"),
]  # fmt: skip


@pytest.fixture(scope="module")
def s3(address):
    return s3_client(
        address, request_checksum_calculation="when_required", response_checksum_validation="when_supported"
    )


def digest(name, data):
    found = ALGORITHMS[name.lower()].make()
    found.update(data)
    return found.digest()


def value_of(name, data):
    return base64.b64encode(digest(name, data)).decode()


def refused(call, **arguments):
    error = refusal(call, **arguments)["Error"]
    return error["Code"], error.get("Message", "")


class Upload:
    """An upload with checksums."""

    def __init__(self, s3, bucket, name, kind, key="k"):
        self.s3, self.element = s3, f"Checksum{name}"
        self.names = {"Bucket": bucket, "Key": key}
        self.made = s3.create_multipart_upload(**self.names, ChecksumAlgorithm=name, ChecksumType=kind)
        self.names["UploadId"] = self.made["UploadId"]
        self.parts = []

    def put(self, number, body, **arguments):
        arguments = arguments or {self.element: value_of(self.element[8:], body)}
        made = self.s3.upload_part(**self.names, PartNumber=number, Body=body, **arguments)
        self.parts.append({"PartNumber": number, "ETag": made["ETag"], self.element: made.get(self.element)})
        return made

    def complete(self, parts=None, **arguments):
        parts = self.parts if parts is None else parts
        return self.s3.complete_multipart_upload(**self.names, MultipartUpload={"Parts": parts}, **arguments)


def expected(name, kind):
    if kind == "FULL_OBJECT":
        return value_of(name, WHOLE)
    digests = b"".join(digest(name, body) for body in BODIES)
    return f"{value_of(name, digests)}-{len(BODIES)}"


@pytest.mark.parametrize(("algorithm", "kind"), KINDS)
def test_checksums_of_parts_and_of_the_whole(s3, bucket, algorithm, kind):
    name = algorithm
    upload = Upload(s3, bucket, name, kind)
    assert (upload.made["ChecksumAlgorithm"], upload.made["ChecksumType"]) == (name, kind)
    listed = s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (name, kind)
    for number, body in enumerate(BODIES, 1):
        assert upload.put(number, body)[upload.element] == value_of(name, body)
    page = s3.list_parts(**upload.names)
    assert (page["ChecksumAlgorithm"], page["ChecksumType"]) == (name, kind)
    assert [row[upload.element] for row in page["Parts"]] == [value_of(name, body) for body in BODIES]
    made = upload.complete(MpuObjectSize=len(WHOLE))
    assert (made[upload.element], made["ChecksumType"]) == (expected(name, kind), kind)
    again = upload.complete()
    assert again[upload.element] == made[upload.element]
    key = {"Bucket": bucket, "Key": "k"}
    head = s3.head_object(**key, ChecksumMode="ENABLED")
    assert (head[upload.element], head["ChecksumType"]) == (expected(name, kind), kind)
    got = s3.get_object(**key, ChecksumMode="ENABLED")
    assert (got["Body"].read() == WHOLE, got[upload.element]) == (True, expected(name, kind))
    part = s3.get_object(**key, PartNumber=2, ChecksumMode="ENABLED")
    assert (part[upload.element], part["Body"].read() == BODIES[1]) == (value_of(name, BODIES[1]), True)
    assert upload.element not in s3.head_object(**key)
    assert upload.element not in s3.get_object(**key, Range="bytes=0-9", ChecksumMode="ENABLED")
    told = s3.get_object_attributes(
        **key, ObjectAttributes=["Checksum", "ObjectParts", "ObjectSize"], MaxParts=2
    )
    assert told["Checksum"] == {
        upload.element: expected(name, kind).partition("-")[0], "ChecksumType": kind
    }  # fmt: skip
    parts = told["ObjectParts"]
    assert (parts["TotalPartsCount"], parts["IsTruncated"], parts["NextPartNumberMarker"]) == (3, True, 2)
    assert [(row["PartNumber"], row["Size"], row[upload.element]) for row in parts["Parts"]] == [
        (number, len(body), value_of(name, body)) for number, body in enumerate(BODIES[:2], 1)
    ]
    rest = s3.get_object_attributes(**key, ObjectAttributes=["ObjectParts"], PartNumberMarker=2)
    assert [row["PartNumber"] for row in rest["ObjectParts"]["Parts"]] == [3]
    assert not rest["ObjectParts"]["IsTruncated"]


def test_what_can_not_be_announced(s3, bucket):
    key = {"Bucket": bucket, "Key": "k"}
    for name, kind in (("SHA1", "FULL_OBJECT"), ("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")):
        code, message = refused(s3.create_multipart_upload, **key, ChecksumAlgorithm=name, ChecksumType=kind)
        assert (code, message) == (
            "InvalidRequest",
            f"The {kind} checksum type cannot be used with the {name.lower()} checksum algorithm.",
        )
    assert refused(s3.create_multipart_upload, **key, ChecksumType="COMPOSITE")[0] == "InvalidRequest"
    assert refused(s3.create_multipart_upload, **key, ChecksumAlgorithm="MD5")[0] == "InvalidRequest"


def test_parts_that_are_not_what_was_announced(s3, bucket):
    upload = Upload(s3, bucket, "SHA256", "COMPOSITE")
    code, message = refused(upload.put, number=1, body=BODIES[0], ChecksumCRC32=value_of("CRC32", BODIES[0]))
    assert (code, message.endswith("expected checksum Type: sha256, actual checksum Type: crc32")) == (
        "InvalidRequest",
        True,
    )
    plain = {"PartNumber": 1, "Body": BODIES[0]}
    assert refused(s3.upload_part, **upload.names, **plain)[0] == "InvalidRequest"
    wrong = value_of("SHA256", b"other")
    assert refused(upload.put, number=1, body=BODIES[0], ChecksumSHA256=wrong)[0] == "BadDigest"
    assert "Parts" not in s3.list_parts(**upload.names)
    for number, body in enumerate(BODIES, 1):
        upload.put(number, body)
    bare = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in upload.parts]
    code, message = refused(upload.complete, parts=bare)
    assert (code, "missing for part 1 in" in message) == ("InvalidRequest", True)
    swapped = [{**upload.parts[0], "ChecksumSHA256": wrong}, *upload.parts[1:]]
    assert refused(upload.complete, parts=swapped)[0] == "InvalidPart"
    assert refused(upload.complete, MpuObjectSize=5)[0] == "InvalidRequest"
    assert refused(upload.complete, ChecksumType="FULL_OBJECT")[0] == "InvalidRequest"
    assert refused(s3.head_object, Bucket=bucket, Key="k")[0] == "404"
    upload.complete()


def test_the_whole_is_what_is_promised_of_it(s3, bucket):
    upload = Upload(s3, bucket, "CRC64NVME", "FULL_OBJECT")
    for number, body in enumerate(BODIES, 1):
        made = s3.upload_part(**upload.names, PartNumber=number, Body=body)
        assert made["ChecksumCRC64NVME"] == value_of("CRC64NVME", body)
        upload.parts.append({"PartNumber": number, "ETag": made["ETag"]})
    assert refused(upload.complete, ChecksumCRC64NVME=value_of("CRC64NVME", b""))[0] == "BadDigest"
    made = upload.complete(ChecksumCRC64NVME=value_of("CRC64NVME", WHOLE))
    assert made["ChecksumCRC64NVME"] == value_of("CRC64NVME", WHOLE)


def test_what_clients_do_unasked(address, bucket, tmp_path):
    client = s3_client(address)
    (tmp_path / "file").write_bytes(WHOLE)
    config = TransferConfig(multipart_threshold=LEAST, multipart_chunksize=LEAST)
    client.upload_file(str(tmp_path / "file"), bucket, "k", Config=config)
    head = client.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head["ChecksumType"], head["ChecksumCRC32"][-2:]) == ("COMPOSITE", "-3")
    client.download_file(bucket, "k", str(tmp_path / "back"), Config=config)
    assert (tmp_path / "back").read_bytes() == WHOLE
    whole = {"ChecksumCRC32": base64.b64encode(zlib.crc32(WHOLE).to_bytes(4, "big")).decode()}
    client.upload_file(str(tmp_path / "file"), bucket, "f", ExtraArgs=whole, Config=config)
    head = client.head_object(Bucket=bucket, Key="f", ChecksumMode="ENABLED")
    assert (head["ChecksumType"], head["ChecksumCRC32"]) == ("FULL_OBJECT", whole["ChecksumCRC32"])
    # Without a word at the beginning.
    names = {"Bucket": bucket, "Key": "u"}
    names["UploadId"] = client.create_multipart_upload(**names)["UploadId"]
    parts = []
    for number, body in enumerate(BODIES, 1):
        made = client.upload_part(**names, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": made["ETag"]})
    client.complete_multipart_upload(**names, MultipartUpload={"Parts": parts})
    assert client.get_object(Bucket=bucket, Key="u")["Body"].read() == WHOLE


def test_copied_parts_have_checksums(s3, bucket):
    s3.put_object(Bucket=bucket, Key="source", Body=WHOLE)
    upload = Upload(s3, bucket, "SHA256", "COMPOSITE")
    source = {"Bucket": bucket, "Key": "source"}
    first = len(BODIES[0])
    for number, extent in ((1, f"bytes=0-{first - 1}"), (2, f"bytes={first}-{len(WHOLE) - 1}")):
        made = s3.upload_part_copy(
            **upload.names, PartNumber=number, CopySource=source, CopySourceRange=extent
        )["CopyPartResult"]
        body = WHOLE[:first] if number == 1 else WHOLE[first:]
        assert made["ChecksumSHA256"] == value_of("SHA256", body)
        assert made["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
        upload.parts.append(
            {"PartNumber": number, **{name: made[name] for name in ("ETag", "ChecksumSHA256")}}
        )
    upload.complete()
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == WHOLE
    missing = {"Bucket": bucket, "Key": "missing"}
    assert refused(s3.upload_part_copy, **upload.names, PartNumber=3, CopySource=missing)[0] in (
        "NoSuchUpload",
        "NoSuchKey",
    )


def test_copies_of_objects_and_their_checksums(s3, bucket):
    s3.put_object(
        Bucket=bucket, Key="a", Body=b"abc", ChecksumSHA1=value_of("SHA1", b"abc"), Metadata={"m": "1"}
    )
    source = {"Bucket": bucket, "Key": "a"}
    kept = s3.copy_object(Bucket=bucket, Key="b", CopySource=source)["CopyObjectResult"]
    assert kept["ChecksumSHA1"] == value_of("SHA1", b"abc")
    made = s3.copy_object(Bucket=bucket, Key="c", CopySource=source, ChecksumAlgorithm="CRC32C")
    assert made["CopyObjectResult"]["ChecksumCRC32C"] == value_of("CRC32C", b"abc")
    head = s3.head_object(Bucket=bucket, Key="c", ChecksumMode="ENABLED")
    assert (head["ChecksumCRC32C"], head["Metadata"]) == (value_of("CRC32C", b"abc"), {"m": "1"})
    assert "ChecksumSHA1" not in head


def test_a_copy_is_made_of_as_many_parts(s3, bucket, user):
    names = {"Bucket": bucket, "Key": "k"}
    upload = Upload(s3, bucket, "CRC32", "COMPOSITE")
    for number, body in enumerate(BODIES, 1):
        upload.put(number, body)
    etag = upload.complete()["ETag"]
    s3.create_bucket(Bucket=f"{bucket}2")
    made = s3.copy_object(Bucket=f"{bucket}2", Key="copy", CopySource=names, MetadataDirective="REPLACE",
                          Metadata={"new": "1"}, ContentType="text/x")  # fmt: skip
    assert (made["CopyObjectResult"]["ETag"], made["CopyObjectResult"]["ChecksumCRC32"][-2:]) == (etag, "-3")
    s3.delete_object(**names)
    head = s3.head_object(Bucket=f"{bucket}2", Key="copy", ChecksumMode="ENABLED")
    assert (head["ETag"], head["Metadata"], head["ContentType"]) == (etag, {"new": "1"}, "text/x")
    assert head["ChecksumCRC32"] == expected("CRC32", "COMPOSITE")
    row = s3.list_objects_v2(Bucket=f"{bucket}2")["Contents"][0]
    assert (row["ETag"], row["Size"]) == (etag, len(WHOLE))
    for part in user("GET", f"/{bucket}+segments").body.decode().split():
        user("DELETE", f"/{bucket}+segments/{part}")  # as the expirer will
    got = s3.get_object(Bucket=f"{bucket}2", Key="copy", PartNumber=2, ChecksumMode="ENABLED")
    assert (got["Body"].read() == BODIES[1], got["ChecksumCRC32"]) == (True, value_of("CRC32", BODIES[1]))
    # Onto itself: other metadata, the same parts.
    itself = {"Bucket": f"{bucket}2", "Key": "copy"}
    before = user("GET", f"/{bucket}2+segments").body
    s3.copy_object(**itself, CopySource=itself, MetadataDirective="REPLACE", Metadata={"third": "1"})
    head = s3.head_object(**itself, ChecksumMode="ENABLED")
    assert (head["Metadata"], head["ETag"]) == ({"third": "1"}, etag)
    assert head["ChecksumCRC32"] == expected("CRC32", "COMPOSITE")
    assert user("GET", f"/{bucket}2+segments").body == before
    assert s3.get_object(**itself)["Body"].read() == WHOLE
    missing = refused(s3.copy_object, Bucket=bucket, Key="x", CopySource={"Bucket": bucket, "Key": "k"})
    assert missing[0] == "NoSuchKey"


def test_crcs_of_parts_are_put_together():
    for name in ("crc32", "crc32c", "crc64nvme"):
        parts = [(digest(name, body), len(body)) for body in (b"", *BODIES, b"x")]
        assert combined(ALGORITHMS[name], parts) == digest(name, WHOLE + b"x")
