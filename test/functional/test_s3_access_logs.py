"""Access logs of buckets on a real cluster."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from swift.cli import saio
from test.cluster import Cluster
from test.s3_clients import s3_client

FIELDS = re.compile(r'"[^"]*"|\[[^\]]*\]|[^ \n]+')


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("logged") / "saio")
    made.write()
    made.configure("s3api", access_log_interval="3")
    with made:
        yield made


@pytest.fixture(scope="module")
def s3(cluster: Cluster) -> Any:
    return s3_client(cluster.address, attempts=6, signature_version="s3v4")


def enable(s3: Any, bucket: str, target: str, prefix: str, **more: Any) -> None:
    s3.put_bucket_logging(
        Bucket=bucket,
        BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": prefix, **more}},
    )


def lines(s3: Any, target: str, prefix: str, least: int) -> list[list[str]]:
    found: list[str] = []
    end = time.monotonic() + 120
    while time.monotonic() < end:
        found = []
        for item in s3.list_objects_v2(Bucket=target, Prefix=prefix).get("Contents", []):
            found += s3.get_object(Bucket=target, Key=item["Key"])["Body"].read().decode().splitlines()
        if len(found) >= least:
            break
        time.sleep(0.1)
    return [FIELDS.findall(text) for text in found]


def test_the_configuration(s3: Any) -> None:
    s3.create_bucket(Bucket="logged-config")
    s3.create_bucket(Bucket="logs-config")
    s3.put_object(Bucket="logs-config", Key="an-object", Body=b"x")
    for name in ("logs-nowhere", "logs-config/an-object", "logs-config+segments", "a:logs-config", ".."):
        with pytest.raises(ClientError) as caught:
            enable(s3, "logged-config", name, "")
        assert caught.value.response["Error"]["Code"] == "InvalidTargetBucketForLogging", name
    enable(s3, "logged-config", "logs-config", "a/")
    found = s3.get_bucket_logging(Bucket="logged-config")["LoggingEnabled"]
    assert found["TargetBucket"] == "logs-config" and found["TargetPrefix"] == "a/"
    s3.put_bucket_logging(Bucket="logged-config", BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket="logged-config")


def test_requests_are_logged_in_amazons_form_without_their_secrets(s3: Any) -> None:
    bucket, target = "logged-lines", "logs-lines"
    s3.create_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=target)
    enable(s3, bucket, target, "access-")
    s3.put_object(Bucket=bucket, Key="a b", Body=b"12345")
    s3.get_object(Bucket=bucket, Key="a b")["Body"].read()
    with pytest.raises(ClientError):
        s3.get_object(Bucket=bucket, Key="nothing")
    s3.list_objects_v2(Bucket=bucket)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b"})
    assert requests.get(url, headers={"User-Agent": 'evil" 200 -\t"'}, timeout=60).content == b"12345"
    s3.put_object(Bucket=target, Key="not-logged", Body=b"")
    found = lines(s3, target, "access-", 6)
    shown = [(line[6], line[7], line[9], line[10], line[12]) for line in found]
    assert sorted(shown) == [
        ("REST.GET.BUCKET", "-", "200", "-", "-"),
        ("REST.GET.OBJECT", "a+b", "200", "-", "5"),
        ("REST.GET.OBJECT", "a+b", "200", "-", "5"),
        ("REST.GET.OBJECT", "nothing", "404", "NoSuchKey", "-"),
        ("REST.PUT.LOGGING_STATUS", "-", "200", "-", "-"),
        ("REST.PUT.OBJECT", "a+b", "200", "-", "5"),
    ]
    assert [line[11] for line in found if line[7] == "a+b"] == ["-", "5", "5"]
    for line in found:
        assert len(line) == 26
        assert line[:2] == ["test", bucket] and line[3] == "127.0.0.1" and line[4] == "test:tester"
        assert line[19] == "SigV4"
    presigned = [line for line in found if line[21] == "QueryString"][0]
    signature = re.findall("X-Amz-Signature=([0-9a-f]+)", url)[0]
    assert signature not in presigned[8] and "X-Amz-Signature=REDACTED" in presigned[8]
    assert presigned[16] == '"evil%22 200 -%09%22"'


def test_keys_by_day(s3: Any) -> None:
    bucket, target = "logged-by-day", "logs-by-day"
    s3.create_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=target)
    form = {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}
    enable(s3, bucket, target, "p/", TargetObjectKeyFormat=form)
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    lines(s3, target, "p/", 1)
    key = s3.list_objects_v2(Bucket=target)["Contents"][0]["Key"]
    assert re.fullmatch(
        rf"p/test/us-east-1/{bucket}/\d{{4}}/\d\d/\d\d/\d{{4}}-\d\d-\d\d-00-00-00-[0-9A-F]{{16}}", key
    )


def test_what_waits_is_written_when_a_proxy_ends_in_peace(s3: Any, cluster: Cluster) -> None:
    bucket, target = "logged-to-the-end", "logs-to-the-end"
    s3.create_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=target)
    enable(s3, bucket, target, "")
    for number in range(20):
        s3.put_object(Bucket=bucket, Key=f"k{number}", Body=b"x")
    saio._signal(saio._running(cluster.layout)["proxy"], signal.SIGHUP)
    while "proxy" in saio._running(cluster.layout):
        time.sleep(0.05)
    cluster.revive("proxy")
    found = lines(s3, target, "", 20)
    assert sorted(line[7] for line in found if line[6] == "REST.PUT.OBJECT") == sorted(
        f"k{n}" for n in range(20)
    )
