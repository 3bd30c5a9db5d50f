"""Large uploads in parallel parts whose client, proxy and object servers are killed on the way, gone on with, and read again.

RESUMED_UPLOAD_MB=2048 makes them that large; small ones belong to the suite.
"""

import base64
import hashlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.config import Config

from test.cluster import Cluster

MB = 1024 * 1024
SIZE = int(os.environ.get("RESUMED_UPLOAD_MB", "96")) * MB + 12345
PART = 8 * MB if SIZE < 512 * MB else 32 * MB
NUMBERS = range(1, -(-SIZE // PART) + 1)
CLIENT = """
import sys
from concurrent.futures import ThreadPoolExecutor
from test.functional.test_s3_resumed_uploads import NUMBERS, client, put
address, bucket, upload = sys.argv[1:]
s3 = client(address)
with ThreadPoolExecutor(4) as pool:
    list(pool.map(lambda number: put(s3, bucket, upload, number), NUMBERS))
"""


def client(address):
    return boto3.client(
        "s3",
        endpoint_url=f"http://{address}",
        aws_access_key_id="test:tester",
        aws_secret_access_key="testing",
        region_name="us-east-1",
        config=Config(
            retries={"max_attempts": 8, "mode": "standard"},
            s3={"addressing_style": "path"},
            read_timeout=120,
            max_pool_connections=8,
        ),
    )


def body_of(number):
    """What no other part is, and costs nothing to make."""
    length = min(PART, SIZE - (number - 1) * PART)
    piece = hashlib.sha256(str(number).encode()).digest() * 2048
    return (piece * (length // len(piece) + 1))[:length]


def put(s3, bucket, upload, number):
    made = s3.upload_part(
        Bucket=bucket,
        Key="k",
        UploadId=upload,
        PartNumber=number,
        Body=body_of(number),
        ChecksumAlgorithm="SHA256",
    )
    return {"PartNumber": number, "ETag": made["ETag"], "ChecksumSHA256": made["ChecksumSHA256"]}


@pytest.fixture
def running(tmp_path):
    with Cluster(tmp_path / "saio") as cluster:
        yield cluster


def listed(s3, bucket, upload):
    pages = s3.get_paginator("list_parts").paginate(Bucket=bucket, Key="k", UploadId=upload)
    return {
        row["PartNumber"]: {name: row[name] for name in ("PartNumber", "ETag", "ChecksumSHA256")}
        for page in pages
        for row in page.get("Parts", [])
    }


def whole():
    digest, parts = hashlib.sha256(), b""
    for number in NUMBERS:
        body = body_of(number)
        digest.update(body)
        parts += hashlib.sha256(body).digest()
    return digest.hexdigest(), f"{base64.b64encode(hashlib.sha256(parts).digest()).decode()}-{len(NUMBERS)}"


def test_killed_and_resumed(running):
    address, bucket = f"{running.layout.ip}:{running.layout.port}", "resumed"
    s3 = client(address)
    s3.create_bucket(Bucket=bucket)
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256")
    upload = made["UploadId"]
    # The client goes.
    sender = subprocess.Popen([sys.executable, "-c", CLIENT, address, bucket, upload], start_new_session=True)
    end = time.monotonic() + 120
    while len(listed(s3, bucket, upload)) < len(NUMBERS) // 4 and time.monotonic() < end:
        time.sleep(0.1)
    os.killpg(sender.pid, signal.SIGKILL)
    sender.wait()
    there = listed(s3, bucket, upload)
    assert len(there) >= len(NUMBERS) // 4
    for number, part in there.items():
        assert part["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(body_of(number)).digest()).decode()
    # Then the proxy, while another one sends the rest; then an object server.
    with ThreadPoolExecutor(4) as pool:
        coming = {
            number: pool.submit(put, s3, bucket, upload, number) for number in NUMBERS if number not in there
        }
        time.sleep(0.5)
        running.kill("proxy")
        running.revive("proxy")
        running.kill("node2")
        there.update({number: part.result() for number, part in coming.items()})
    parts = [there[number] for number in NUMBERS]
    done = s3.complete_multipart_upload(
        Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts}, MpuObjectSize=SIZE
    )
    digest, checksum = whole()
    assert done["ChecksumSHA256"] == checksum
    got, found = s3.get_object(Bucket=bucket, Key="k"), hashlib.sha256()
    for piece in got["Body"].iter_chunks(MB):
        found.update(piece)
    assert found.hexdigest() == digest
    running.revive("node2")
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumSHA256"] == checksum
    with pytest.raises(s3.exceptions.NoSuchUpload):
        s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == SIZE
