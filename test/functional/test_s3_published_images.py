"""A machine image published to a bucket as cloud images are: kernel, ramdisk, the root file system in parts, and a manifest of all."""

import base64
import gzip
import hashlib
import random
import urllib.request
from xml.etree import ElementTree

from boto3.s3.transfer import TransferConfig

MB = 1024 * 1024
PART = 10 * MB
FILES = {"kernel": 7 * MB + 1, "ramdisk": 11 * MB, "root": 33 * MB + 5}


def bundle(folder, name, data):
    """The parts of a file, as they are published, and the manifest that says what they come to."""
    packed = gzip.compress(data, compresslevel=0, mtime=0)
    manifest = ElementTree.Element("manifest")
    image = ElementTree.SubElement(manifest, "image")
    ElementTree.SubElement(image, "name").text = name
    ElementTree.SubElement(image, "size").text = str(len(data))
    ElementTree.SubElement(image, "digest", algorithm="SHA1").text = hashlib.sha1(data).hexdigest()
    pieces = [packed[at : at + PART] for at in range(0, len(packed), PART)]
    parts = ElementTree.SubElement(image, "parts", count=str(len(pieces)))
    for index, piece in enumerate(pieces):
        filename = f"{name}.part.{index:02}"
        (folder / filename).write_bytes(piece)
        part = ElementTree.SubElement(parts, "part", index=str(index))
        ElementTree.SubElement(part, "filename").text = filename
        ElementTree.SubElement(part, "digest", algorithm="SHA1").text = hashlib.sha1(piece).hexdigest()
    (folder / f"{name}.manifest.xml").write_bytes(ElementTree.tostring(manifest))
    return [f"{name}.part.{index:02}" for index in range(len(pieces))]


def fetched(s3, bucket, key):
    """As an installer fetches it: by an address that somebody has signed for it."""
    address = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key}, ExpiresIn=300)
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read()


def test_an_image_is_published_installed_and_published_anew(s3, tmp_path, name):
    bucket = f"im-{hashlib.md5(name.encode()).hexdigest()}"
    s3.create_bucket(Bucket=bucket)
    config = TransferConfig(multipart_threshold=8 * MB, multipart_chunksize=5 * MB, max_concurrency=4)
    for release in (1, 2):
        contents = {kind: random.Random(f"{release}{kind}").randbytes(size) for kind, size in FILES.items()}
        for kind, data in contents.items():
            # The manifest last: who finds it finds all that it names.
            for filename in [*bundle(tmp_path, kind, data), f"{kind}.manifest.xml"]:
                s3.upload_file(
                    str(tmp_path / filename), bucket, f"images/{filename}",
                    ExtraArgs={"Metadata": {"release": str(release)}, "ChecksumAlgorithm": "SHA256"}, Config=config,
                )  # fmt: skip
        for kind, data in contents.items():
            manifest = ElementTree.fromstring(fetched(s3, bucket, f"images/{kind}.manifest.xml"))
            packed = b""
            for part in manifest.iter("part"):
                piece = fetched(s3, bucket, f"images/{part.findtext('filename')}")
                assert hashlib.sha1(piece).hexdigest() == part.findtext("digest")
                packed += piece
            assert gzip.decompress(packed) == data
            assert manifest.findtext("image/digest") == hashlib.sha1(data).hexdigest()
    keys = [row["Key"] for row in s3.list_objects_v2(Bucket=bucket, Prefix="images/")["Contents"]]
    assert len(keys) == 3 + sum(-(-size // PART) for size in FILES.values())
    # An image in one piece, as it is registered: a copy on the server's side, which stays the same in all that is told of it.
    s3.copy_object(
        Bucket=bucket,
        Key="registered/root.part.00",
        CopySource={"Bucket": bucket, "Key": "images/root.part.00"},
    )
    told = [
        s3.head_object(Bucket=bucket, Key=f"{folder}/root.part.00", ChecksumMode="ENABLED")
        for folder in ("images", "registered")
    ]
    same = ("ETag", "ContentLength", "Metadata", "ChecksumSHA256", "ChecksumType")
    assert [told[0][field] for field in same] == [told[1][field] for field in same]
    parts = s3.get_object_attributes(
        Bucket=bucket, Key="registered/root.part.00", ObjectAttributes=["ObjectParts", "ObjectSize"]
    )
    assert (parts["ObjectParts"]["TotalPartsCount"], parts["ObjectSize"]) == (2, PART)
    first = s3.get_object(Bucket=bucket, Key="registered/root.part.00", PartNumber=1)["Body"].read()
    digest = parts["ObjectParts"]["Parts"][0]["ChecksumSHA256"]
    assert digest == base64.b64encode(hashlib.sha256(first).digest()).decode()
