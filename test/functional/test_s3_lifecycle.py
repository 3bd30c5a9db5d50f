"""Lifecycle rules carried out on a real cluster, with short days."""

from __future__ import annotations

import configparser
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from swift.cli.saio_layout import NODES
from test.cluster import Cluster

ROOT = Path(__file__).parents[2]
DAY = 8.0  # longer than a pass takes on a busy machine


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Without daemons of its own for this: they would have longer days, and say that a bucket is being worked on."""
    made = Cluster(tmp_path_factory.mktemp("lifecycle") / "saio")
    made.write()
    made.leave_out("container", "s3-lifecycle", "s3-notifier")
    with made:
        yield made


@pytest.fixture(scope="module")
def address(cluster: Cluster) -> tuple[str, int]:
    return cluster.address


class Daemons:
    """The daemon, once per node, all of them at the same time."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.paths = []
        for path in sorted(cluster.layout.etc.rglob("container-server*.conf")) + sorted(
            cluster.layout.etc.rglob("container*/*.conf")
        ):
            conf = configparser.RawConfigParser(interpolation=None)
            conf.read(path)
            made = configparser.RawConfigParser()
            made["DEFAULT"] = {
                **{name: conf["DEFAULT"][name] for name in conf["DEFAULT"]},
                "log_to": "stderr",
            }
            made["s3-lifecycle"] = {
                "lifecycle_day_seconds": str(DAY),
                "orphan_parts_days": "1",
                "recon_cache_path": str(folder),
            }
            target = folder / f"lifecycle{len(self.paths)}.conf"
            with target.open("w") as file:
                made.write(file)
            self.paths.append(target)
        assert len(self.paths) == len(NODES)

    def run(self, **options: Any) -> list[subprocess.Popen[str]]:
        return [
            subprocess.Popen(
                [sys.executable, str(ROOT / "bin/swift-s3-lifecycle"), str(path), "once"],
                stderr=subprocess.PIPE, text=True, **options,
            )
            for path in self.paths
        ]  # fmt: skip

    def passed(self) -> str:
        said = ""
        for process in self.run():
            said += process.communicate(timeout=120)[1]
            assert process.returncode == 0, said
        assert "Traceback" not in said, said
        return said


@pytest.fixture(scope="module")
def daemons(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    yield Daemons(cluster, tmp_path_factory.mktemp("lifecycle"))


def rule(name: str = "r", **parts: Any) -> dict[str, Any]:
    return {"ID": name, "Status": "Enabled", "Filter": {}, **parts}


def configure(s3: Any, bucket: str, *rules: dict[str, Any]) -> None:
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})


def names(s3: Any, bucket: str) -> list[str]:
    return [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_what_customers_have_encrypted_expires(cluster: Cluster, s3: Any, daemons: Daemons) -> None:
    """Nobody has the keys here, and none is needed: sizes, tags and parts are there without."""
    bucket = "closed"
    mine: Any = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
    s3.create_bucket(Bucket=bucket)
    larger = {"And": {"Prefix": "", "ObjectSizeGreaterThan": 100}}
    tagged = {"Tag": {"Key": "kind", "Value": "old"}}
    configure(
        s3,
        bucket,
        rule("larger", Filter=larger, Expiration={"Days": 1}),
        rule("tagged", Filter=tagged, Expiration={"Days": 1}),
        rule("abandoned", Filter={"Prefix": ""}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}),
    )
    s3.put_object(Bucket=bucket, Key="large", Body=b"x" * 101, **mine)
    s3.put_object(Bucket=bucket, Key="small", Body=b"x" * 100, **mine)
    s3.put_object(Bucket=bucket, Key="tagged", Body=b"x", Tagging="kind=old", **mine)
    for key in ("parts", "abandoned"):
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **mine)["UploadId"]
        part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x" * 1000, **mine)
        if key == "parts":
            named = [{"PartNumber": 1, "ETag": part["ETag"]}]
            s3.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": named}
            )
    found = s3.head_object(Bucket=bucket, Key="large", **mine)
    assert 'rule-id="larger"' in found["Expiration"]
    end = time.monotonic() + 120
    while names(s3, bucket) != ["small"] or s3.list_multipart_uploads(Bucket=bucket).get("Uploads"):
        assert time.monotonic() < end, names(s3, bucket)
        time.sleep(1)
        daemons.passed()
    assert s3.get_object(Bucket=bucket, Key="small", **mine)["Body"].read() == b"x" * 100
    while cluster.request("GET", f"/{bucket}+segments").body.strip():
        assert time.monotonic() < end
        time.sleep(0.5)
        daemons.passed()


def test_the_document(s3: Any) -> None:
    s3.create_bucket(Bucket="document")
    with pytest.raises(ClientError) as caught:
        s3.get_bucket_lifecycle_configuration(Bucket="document")
    assert caught.value.response["Error"]["Code"] == "NoSuchLifecycleConfiguration"
    rules = [
        rule(
            "a b",
            Expiration={"Days": 3},
            Filter={"And": {"Prefix": "p", "Tags": [{"Key": "k", "Value": "v"}]}},
        ),
        rule("c", NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}),
    ]
    configure(s3, "document", *rules)
    assert s3.get_bucket_lifecycle_configuration(Bucket="document")["Rules"] == rules
    many = [rule(f"{at:0200d}", Expiration={"Days": at}) for at in range(1, 1001)]
    configure(s3, "document", *many)
    assert s3.get_bucket_lifecycle_configuration(Bucket="document")["Rules"] == many
    configure(
        s3, "document",
        rule("a b", Expiration={"Days": 3}, Filter={"Prefix": "p"}),
        rule("u", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}),
    )  # fmt: skip
    for key in ("p", "q"):
        s3.put_object(Bucket="document", Key=key, Body=b"x")
        expires = s3.head_object(Bucket="document", Key=key).get("Expiration")
        assert (expires is not None and 'rule-id="a%20b"' in expires and "00:00:00 GMT" in expires) == (
            key == "p"
        )
        s3.delete_object(Bucket="document", Key=key)
    made = s3.create_multipart_upload(Bucket="document", Key="k")
    assert made["AbortRuleId"] == "u"
    s3.abort_multipart_upload(Bucket="document", Key="k", UploadId=made["UploadId"])
    s3.delete_bucket_lifecycle(Bucket="document")
    with pytest.raises(ClientError):
        s3.get_bucket_lifecycle_configuration(Bucket="document")
    s3.delete_bucket(Bucket="document")


def upload(s3: Any, bucket: str, key: str, complete: bool = True) -> str:
    made = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key=key, UploadId=made, PartNumber=1, Body=b"part")
    if complete:
        s3.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=made,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
        )  # fmt: skip
    return str(made)


def segments(cluster: Cluster, bucket: str) -> list[str]:
    return cluster.request("GET", f"/{bucket}+segments").body.decode().split()


def test_what_is_due_goes_and_nothing_else(s3: Any, cluster: Cluster, daemons: Daemons) -> None:
    """All kinds of buckets in one pass, by four nodes at the same time; then a second one, in which some daemons are killed."""
    for bucket in ("lc-plain", "tag-rules", "lc-uploads", "lc-versioned", "lc-none"):
        s3.create_bucket(Bucket=bucket)
    configure(s3, "lc-plain", rule(Expiration={"Days": 1}, Filter={"Prefix": "old/"}))
    configure(s3, "tag-rules", rule(Expiration={"Days": 1}, Filter={"Tag": {"Key": "go", "Value": "yes"}}))
    configure(
        s3,
        "lc-uploads",
        rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}, Filter={"Prefix": "a"}),
    )
    s3.put_bucket_versioning(Bucket="lc-versioned", VersioningConfiguration={"Status": "Enabled"})
    configure(
        s3, "lc-versioned",
        rule("now", Expiration={"Days": 1}, Filter={"Prefix": "cur"}),
        rule("then", NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 1}, Filter={"Prefix": "non"}),
    )  # fmt: skip
    for key in ("old/1", "old/ä", "new/1", "old/rewritten"):
        s3.put_object(Bucket="lc-plain", Key=key, Body=b"x")
    upload(s3, "lc-plain", "old/large")
    for key in ("a", "b"):
        s3.put_object(Bucket="tag-rules", Key=key, Body=b"x")
    s3.put_object_tagging(Bucket="tag-rules", Key="a", Tagging={"TagSet": [{"Key": "go", "Value": "yes"}]})
    s3.put_object_tagging(Bucket="tag-rules", Key="b", Tagging={"TagSet": [{"Key": "go", "Value": "no"}]})
    upload(s3, "lc-uploads", "abandoned", complete=False)
    kept_upload = upload(s3, "lc-uploads", "other", complete=False)
    upload(s3, "lc-uploads", "a-done")
    s3.put_object(Bucket="lc-versioned", Key="current", Body=b"1")
    ids = [
        s3.put_object(Bucket="lc-versioned", Key="noncurrent", Body=b"%d" % at)["VersionId"]
        for at in range(4)
    ]
    s3.put_object(Bucket="lc-none", Key="k", Body=b"x")
    # Markers go, too: those that newer versions stand in front of, and one that is all that is left.
    marked = {"Bucket": "lc-versioned", "Key": "non-marked"}
    s3.put_object(**marked, Body=b"1")
    s3.delete_object(**marked)
    last = [s3.put_object(**marked, Body=body)["VersionId"] for body in (b"2", b"3")]
    sole = {"Bucket": "lc-versioned", "Key": "cur-marker"}
    version = s3.put_object(**sole, Body=b"1")["VersionId"]
    s3.delete_object(**sole)
    s3.delete_object(**sole, VersionId=version)
    # Without rules: parts of what the native API removes go; those stay that a manifest names which it has copied.
    s3.create_bucket(Bucket="lc-swept")
    kept_parts = [f"kept/{upload(s3, 'lc-swept', 'kept')}/1", f"named/{upload(s3, 'lc-swept', 'named')}/1"]
    upload(s3, "lc-swept", "lost")
    where = {"Destination": "lc-none/copy"}
    assert cluster.request("COPY", "/lc-swept/named?multipart-manifest=get", headers=where).status == 201
    for key in ("named", "lost"):
        assert cluster.request("DELETE", f"/lc-swept/{key}").status == 204
    time.sleep(DAY + 0.5)
    with rewriting(s3, "lc-plain", "old/rewritten"):
        said = daemons.passed()
    assert names(s3, "lc-plain") == ["new/1", "old/rewritten"], said
    assert s3.get_object(Bucket="lc-plain", Key="old/rewritten")["Body"].read() == b"anew"
    assert segments(cluster, "lc-plain") == []
    assert names(s3, "tag-rules") == ["b"]
    left = segments(cluster, "lc-uploads")
    assert not any(name.startswith("abandoned") for name in left)
    assert f"other/{kept_upload}" in left and f"other/{kept_upload}/1" in left
    assert s3.get_object(Bucket="lc-uploads", Key="a-done")["Body"].read() == b"part"
    assert names(s3, "lc-versioned") == ["non-marked", "noncurrent"]
    listed = s3.list_object_versions(Bucket="lc-versioned")
    # Two nodes at the same moment may make two; nothing is lost by that.
    assert {item["Key"] for item in listed["DeleteMarkers"]} == {"current"}
    assert [item["VersionId"] for item in listed["Versions"] if item["Key"] == "noncurrent"] == [
        ids[3],
        ids[2],
    ]
    assert [item["Key"] for item in listed["Versions"] if item["Key"] == "current"] == ["current"]
    assert names(s3, "lc-none") == ["copy", "k"]
    assert "cur-marker" not in {item["Key"] for item in listed["DeleteMarkers"]}
    assert [item["VersionId"] for item in listed["Versions"] if item["Key"] == "non-marked"] == last[::-1]
    assert sorted(segments(cluster, "lc-swept")) == kept_parts
    assert cluster.request("GET", "/lc-none/copy").body == b"part"


@contextlib.contextmanager
def rewriting(s3: Any, bucket: str, key: str) -> Iterator[None]:
    """Write an object again and again meanwhile: it never becomes old, however long a pass takes to begin."""
    is_over = threading.Event()

    def write() -> None:
        while not is_over.wait(0.5):
            s3.put_object(Bucket=bucket, Key=key, Body=b"anew")

    s3.put_object(Bucket=bucket, Key=key, Body=b"anew")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        is_over.set()
        writer.join()


def test_a_killed_daemon_harms_nothing(s3: Any, cluster: Cluster, daemons: Daemons) -> None:
    s3.create_bucket(Bucket="killed")
    for at in range(30):
        s3.put_object(Bucket="killed", Key=f"old/{at}", Body=b"x")
    s3.put_object(Bucket="killed", Key="kept", Body=b"x")
    upload(s3, "killed", "old/large")
    configure(s3, "killed", rule(Expiration={"Days": 1}, Filter={"Prefix": "old/"}))
    time.sleep(DAY + 0.5)
    for process in daemons.run():
        time.sleep(0.4)
        process.kill()
        process.communicate()
    time.sleep(DAY)
    daemons.passed()
    time.sleep(DAY)
    daemons.passed()
    assert names(s3, "killed") == ["kept"]
    assert segments(cluster, "killed") == []


def test_parts_that_nothing_is_made_of(s3: Any, cluster: Cluster) -> None:
    """What a failure may leave behind is listed and removed; what is in use never."""
    s3.create_bucket(Bucket="orphans")
    open_one = upload(s3, "orphans", "open", complete=False)
    done = upload(s3, "orphans", "done")
    lost = upload(s3, "orphans", "lost")
    cluster.request("DELETE", "/orphans/lost")  # by the native API: the manifest alone
    command = [
        sys.executable, str(ROOT / "bin/swift-s3-orphans"), "AUTH_test", "orphans", "--swift-dir", str(cluster.layout.etc),
    ]  # fmt: skip
    young = subprocess.run([*command, "--delete"], capture_output=True, text=True, timeout=180, check=False)
    assert (young.returncode, young.stdout) == (0, ""), young.stderr
    command += ["--days", "0"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert listed.stdout == f"orphans/lost {lost} 1 parts 4 bytes\n", listed.stderr
    assert f"lost/{lost}/1" in segments(cluster, "orphans")
    removed = subprocess.run([*command, "--delete"], capture_output=True, text=True, timeout=180, check=False)
    assert "1 removed" in removed.stdout
    assert sorted(segments(cluster, "orphans")) == sorted(
        [f"done/{done}/1", f"open/{open_one}", f"open/{open_one}/1"]
    )
