"""What doc/minio.md has people paste: a bucket with its configuration, tags and versions comes from another account."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

ROOT = Path(__file__).parents[2]


def client(host: str, key: str, secret: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=f"http://{host}",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )


def test_the_script_of_the_page(address: tuple[str, int], tmp_path: Path) -> None:
    host, bucket = f"{address[0]}:{address[1]}", "moving-in"
    old, new = client(host, "test2:tester2", "testing2"), client(host, "test:tester", "testing")
    old.create_bucket(Bucket=bucket)
    old.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 3}}
    old.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    old.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "team", "Value": "a"}]})
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::test:user/tester3"},
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    old.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    for body in (b"one", b"two", b"three"):
        old.put_object(Bucket=bucket, Key="k", Body=body, Metadata={"n": body.decode()}, ContentType="text/x")
    old.put_object(Bucket=bucket, Key="gone", Body=b"x")
    old.delete_object(Bucket=bucket, Key="gone")
    old.put_object(Bucket=bucket, Key="tagged", Body=b"x", Tagging="a=b")
    (script,) = re.findall(r"```python\n(.*?)```", (ROOT / "doc/minio.md").read_text(), re.DOTALL)
    path = tmp_path / "moving_in.py"
    path.write_text(script)
    environment = {
        **os.environ,
        "OLD_URL": f"http://{host}", "OLD_KEY": "test2:tester2", "OLD_SECRET": "testing2",
        "NEW_URL": f"http://{host}", "NEW_KEY": "test:tester", "NEW_SECRET": "testing",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(path), bucket], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "moving-in: 6 versions and delete markers" in done.stdout
    assert new.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert new.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == [rule]
    assert new.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "team", "Value": "a"}]
    assert json.loads(new.get_bucket_policy(Bucket=bucket)["Policy"]) == policy
    reader = client(host, "test:tester3", "testing3")
    assert reader.get_object(Bucket=bucket, Key="k")["Body"].read() == b"three"
    found = new.get_object(Bucket=bucket, Key="k")
    assert (found["Body"].read(), found["Metadata"], found["ContentType"]) == (
        b"three",
        {"n": "three"},
        "text/x",
    )
    listed = new.list_object_versions(Bucket=bucket)
    bodies = [
        new.get_object(Bucket=bucket, Key="k", VersionId=item["VersionId"])["Body"].read()
        for item in listed["Versions"]
        if item["Key"] == "k"
    ]
    assert bodies == [b"three", b"two", b"one"]
    assert [item["Key"] for item in listed["DeleteMarkers"]] == ["gone"]
    assert new.get_object_tagging(Bucket=bucket, Key="tagged")["TagSet"] == [{"Key": "a", "Value": "b"}]
