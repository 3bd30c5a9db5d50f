"""All that S3 lets a client store beside an object fits, whatever the file system of the disks is."""

from __future__ import annotations

import datetime
from typing import Any

from test.cluster import Cluster

USERS = {f"key{n}": f"{n}" + "v" * 195 for n in range(10)}
TAGS = [{"Key": f"{n}" + "k" * 127, "Value": f"{n}" + "w" * 255} for n in range(10)]
FAR = datetime.datetime(2090, 1, 1, tzinfo=datetime.timezone.utc)


def test_metadata_tags_retention_and_checksums_together(cluster: Cluster, s3: Any) -> None:
    s3.create_bucket(Bucket="large-metadata", ObjectLockEnabledForBucket=True)
    tagging = "&".join(f"{tag['Key']}={tag['Value']}" for tag in TAGS)
    for key, body in (("small", b"body"), ("large", bytes(3 << 20))):
        s3.put_object(
            Bucket="large-metadata",
            Key=key,
            Body=body,
            Metadata=USERS,
            Tagging=tagging,
            ChecksumAlgorithm="SHA256",
            ObjectLockMode="GOVERNANCE",
            ObjectLockRetainUntilDate=FAR,
            ObjectLockLegalHoldStatus="ON",
            ContentDisposition="attachment; filename*=UTF-8''" + "d" * 500,
        )
        found = s3.get_object(Bucket="large-metadata", Key=key, ChecksumMode="ENABLED")
        assert found["Body"].read() == body
        assert found["Metadata"] == USERS
        assert (found["TagCount"], found["ObjectLockLegalHoldStatus"]) == (10, "ON")
        assert found["ChecksumSHA256"]
        assert s3.get_object(Bucket="large-metadata", Key=key, Range="bytes=1-2")["Body"].read() == body[1:3]
        tags = s3.get_object_tagging(Bucket="large-metadata", Key=key)["TagSet"]
        assert sorted(tags, key=str) == sorted(TAGS, key=str)
        # changing them is a POST with all of them
        s3.put_object_tagging(Bucket="large-metadata", Key=key, Tagging={"TagSet": TAGS[:9]})
        found = s3.get_object(Bucket="large-metadata", Key=key)
        assert (found["Body"].read(), found["Metadata"], found["TagCount"]) == (body, USERS, 9)
        source = {"Bucket": "large-metadata", "Key": key}
        s3.copy_object(Bucket="large-metadata", Key=f"copy-{key}", CopySource=source)
        assert s3.head_object(Bucket="large-metadata", Key=f"copy-{key}")["Metadata"] == USERS
