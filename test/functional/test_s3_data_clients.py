"""Programs that keep their data in S3: data frames read by ranges, a container registry, a backup tool, MinIO's own client library,
and an application that has its clients upload by presigned addresses, as GitLab does.

Each test needs its program; without it, it is skipped and says so.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from test.ports import free_port
from test.s3_clients import s3_client

MB = 1024 * 1024
KEY, SECRET = "test:tester", "testing"


@pytest.fixture
def bucket(name: str) -> str:
    return f"d-{hashlib.md5(name.encode()).hexdigest()}"


@pytest.fixture
def host(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


@pytest.fixture
def s3(host: str) -> Any:
    return s3_client(host, KEY, SECRET, attempts=1, signature_version="s3v4")


def needed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        pytest.skip(f"the package {module} is not installed")


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


# -- tables


def test_pyarrow_reads_columns_of_parquet_by_ranges(s3: Any, host: str, bucket: str) -> None:
    pyarrow = needed("pyarrow")
    parquet, dataset = needed("pyarrow.parquet"), needed("pyarrow.dataset")
    files = needed("pyarrow.fs").S3FileSystem(
        access_key=KEY, secret_key=SECRET, endpoint_override=host, scheme="http", region="us-east-1"
    )
    s3.create_bucket(Bucket=bucket)
    numbers = list(range(200_000))
    noise = random.Random(1).randbytes(200_000)
    for year in (2025, 2026):
        table = pyarrow.table({"id": numbers, "blob": [noise[n : n + 40].hex() for n in numbers]})
        path = f"{bucket}/table/year={year}/part.parquet"
        parquet.write_table(table, path, filesystem=files, row_group_size=20_000)
    found = dataset.dataset(f"{bucket}/table", filesystem=files, format="parquet", partitioning="hive")
    rows = found.to_table(
        columns=["id"], filter=(dataset.field("id") < 100) & (dataset.field("year") == 2026)
    )
    assert sorted(rows["id"].to_pylist()) == numbers[:100]
    info = files.get_file_info(f"{bucket}/table/year=2025/part.parquet")
    assert info.size == s3.head_object(Bucket=bucket, Key="table/year=2025/part.parquet")["ContentLength"]
    with files.open_input_file(f"{bucket}/table/year=2025/part.parquet") as file:
        file.seek(info.size - 4)
        assert file.read() == b"PAR1"
    files.delete_dir(f"{bucket}/table/year=2025")
    names = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert [key for key in names if not key.endswith("/")] == ["table/year=2026/part.parquet"]


def test_pandas_and_s3fs(s3: Any, host: str, bucket: str) -> None:
    pandas, s3fs = needed("pandas"), needed("s3fs")
    needed("pyarrow")
    s3.create_bucket(Bucket=bucket)
    options = {
        "key": KEY,
        "secret": SECRET,
        "client_kwargs": {"endpoint_url": f"http://{host}", "region_name": "us-east-1"},
    }
    frame = pandas.DataFrame({"n": range(1000), "text": [f"ü{n}" for n in range(1000)]})
    for form in ("parquet", "csv"):
        address = f"s3://{bucket}/frames/f.{form}"
        getattr(frame, f"to_{form}")(address, storage_options=options, index=False)
        back = getattr(pandas, f"read_{form}")(address, storage_options=options)
        assert back.equals(frame)
    files = s3fs.S3FileSystem(**options)
    assert sorted(files.ls(f"{bucket}/frames")) == [f"{bucket}/frames/f.csv", f"{bucket}/frames/f.parquet"]
    data = random.Random(2).randbytes(12 * MB)
    with files.open(f"{bucket}/large", "wb", block_size=5 * MB) as file:
        file.write(data)
    with files.open(f"{bucket}/large", "rb", block_size=1 * MB) as file:
        file.seek(7 * MB)
        assert file.read(1000) == data[7 * MB : 7 * MB + 1000]
    files.mv(f"{bucket}/large", f"{bucket}/moved")
    assert files.info(f"{bucket}/moved")["size"] == len(data) and not files.exists(f"{bucket}/large")
    files.rm(bucket, recursive=True)


# -- a registry of container images


class Registry:
    """Docker's registry, with its blobs in a bucket."""

    def __init__(self, folder: Path, host: str, bucket: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v2"
        self.conf = folder / "registry.yml"
        self.conf.write_text(
            f"""version: 0.1
log: {{level: error}}
storage:
  s3: {{region: us-east-1, regionendpoint: "http://{host}", bucket: {bucket}, accesskey: "{KEY}", secretkey: {SECRET}, secure: false, v4auth: true, chunksize: 5242880, rootdirectory: /registry}}
  delete: {{enabled: true}}
  redirect: {{disable: true}}
http: {{addr: "127.0.0.1:{self.port}", secret: x}}
"""
        )
        self.log = (folder / "registry.log").open("wb")
        self.process: Any = None

    def start(self) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.process = subprocess.Popen(
            [program("docker-registry"), "serve", str(self.conf)], env=own, stdout=self.log, stderr=self.log
        )
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the registry does not start")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def registry(tmp_path: Path, host: str, bucket: str, s3: Any) -> Iterator[Registry]:
    program("docker-registry")
    s3.create_bucket(Bucket=bucket)
    made = Registry(tmp_path, host, bucket)
    made.start()
    yield made
    made.stop()


def test_a_registry_keeps_its_images(registry: Registry, s3: Any, bucket: str) -> None:
    requests = needed("requests")

    def push(data: bytes, piece: int) -> str:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        place = requests.post(f"{registry.url}/tools/app/blobs/uploads/", timeout=60)
        assert place.status_code == 202
        location = place.headers["Location"]
        for start in range(0, len(data), piece):
            part = data[start : start + piece]
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{start}-{start + len(part) - 1}",
            }
            sent = requests.patch(location, data=part, headers=headers, timeout=60)
            assert sent.status_code == 202, sent.text
            location = sent.headers["Location"]
        done = requests.put(location, params={"digest": digest}, timeout=60)
        assert done.status_code == 201, done.text
        return digest

    layer = random.Random(5).randbytes(13 * MB)
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    ).encode()
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": len(config),
            "digest": push(config, MB),
        },
        "layers": [
            {
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "size": len(layer),
                "digest": push(layer, 4 * MB),
            }
        ],
    }
    body = json.dumps(manifest)
    tagged = requests.put(
        f"{registry.url}/tools/app/manifests/1.0", data=body, headers={"Content-Type": kind}, timeout=30
    )
    assert tagged.status_code == 201, tagged.text
    registry.stop()
    registry.start()
    assert requests.get(f"{registry.url}/tools/app/tags/list", timeout=60).json()["tags"] == ["1.0"]
    found = requests.get(f"{registry.url}/tools/app/manifests/1.0", headers={"Accept": kind}, timeout=60)
    assert found.json() == manifest
    address = f"{registry.url}/tools/app/blobs/{manifest['layers'][0]['digest']}"
    assert requests.get(address, timeout=60).content == layer
    some = requests.get(address, headers={"Range": "bytes=5000000-5000099"}, timeout=60)
    assert some.content in (layer[5_000_000:5_000_100], layer)  # by its version it gives ranges or all
    # What was uploaded piece by piece has left nothing open.
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


# -- backups


def test_duplicity_keeps_full_and_incremental_backups(
    s3: Any, host: str, bucket: str, tmp_path: Path
) -> None:
    command = program("duplicity")
    s3.create_bucket(Bucket=bucket)
    source, back = tmp_path / "source", tmp_path / "back"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "nämé").write_bytes(b"one")
    (source / "large").write_bytes(random.Random(7).randbytes(7 * MB))
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "HOME": str(tmp_path),
    }
    environment.pop("AWS_CA_BUNDLE", None)
    target = f"boto3+s3://{bucket}/laptop"
    common = [
        "--no-encryption",
        "--s3-endpoint-url",
        f"http://{host}",
        "--archive-dir",
        str(tmp_path / "cache"),
        "--volsize",
        "2",
    ]

    def run(*words: str) -> str:
        done = subprocess.run(
            [command, *words, *common], env=environment, capture_output=True, text=True, timeout=180
        )
        if (
            "boto3 module is missing" in done.stdout + done.stderr
            or "No module named 'boto3'" in done.stdout + done.stderr
        ):
            pytest.skip("duplicity has no boto3")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("full", str(source), target)
    (source / "deep" / "nämé").write_bytes(b"two")
    (source / "new").write_bytes(b"new")
    run("incremental", str(source), target)
    assert "0 differences found" in run("verify", target, str(source))
    shutil.rmtree(tmp_path / "cache")
    run("restore", target, str(back))
    assert (back / "deep" / "nämé").read_bytes() == b"two" and (back / "new").read_bytes() == b"new"
    assert (back / "large").read_bytes() == (source / "large").read_bytes()
    assert "No orphaned or incomplete backup sets found." in run("collection-status", target)
    run("remove-all-but-n-full", "1", "--force", target)


# -- MinIO's client library


def test_minios_library(s3: Any, host: str, bucket: str, tmp_path: Path) -> None:
    minio = needed("minio")
    commonconfig, deletes = needed("minio.commonconfig"), needed("minio.deleteobjects")
    client = minio.Minio(host, access_key=KEY, secret_key=SECRET, secure=False, region="us-east-1")
    if not client.bucket_exists(bucket):
        client.make_bucket(bucket)
    data = random.Random(9).randbytes(11 * MB)
    path = tmp_path / "large"
    path.write_bytes(data)
    tags = commonconfig.Tags.new_object_tags()
    tags["kind"] = "test"
    client.fput_object(bucket, "a/large", str(path), part_size=5 * MB, metadata={"Who": "me"}, tags=tags)
    found = client.stat_object(bucket, "a/large")
    assert found.size == len(data) and found.metadata["x-amz-meta-who"] == "me"
    assert dict(client.get_object_tags(bucket, "a/large")) == {"kind": "test"}
    part = client.get_object(bucket, "a/large", offset=6 * MB, length=100)
    assert part.read() == data[6 * MB : 6 * MB + 100]
    part.close()
    client.copy_object(bucket, "b", commonconfig.CopySource(bucket, "a/large"))
    client.compose_object(
        bucket, "c", [commonconfig.ComposeSource(bucket, "b"), commonconfig.ComposeSource(bucket, "b")]
    )
    assert client.stat_object(bucket, "c").size == 2 * len(data)
    assert [item.object_name for item in client.list_objects(bucket, recursive=True)] == ["a/large", "b", "c"]
    assert sorted(item.object_name for item in client.list_objects(bucket)) == ["a/", "b", "c"]
    requests = needed("requests")
    assert requests.get(client.presigned_get_object(bucket, "b"), timeout=60).content == data
    client.set_bucket_versioning(bucket, needed("minio.versioningconfig").VersioningConfig("Enabled"))
    client.put_object(bucket, "b", path.open("rb"), len(data), part_size=5 * MB)
    versions = list(client.list_objects(bucket, prefix="b", include_version=True))
    assert len(versions) == 2
    doomed = [
        deletes.DeleteObject(item.object_name, item.version_id)
        for item in client.list_objects(bucket, recursive=True, include_version=True)
    ]
    assert not list(client.remove_objects(bucket, doomed))
    client.remove_bucket(bucket)
    assert not client.bucket_exists(bucket)


# -- an application that lets its clients upload


def test_clients_upload_parts_by_presigned_addresses(s3: Any, bucket: str) -> None:
    """GitLab's way: the application begins the upload and signs, its clients send parts, complete it and read, without a key."""
    requests = needed("requests")
    s3.create_bucket(Bucket=bucket)
    key = "tmp/uploads/1234-lfs"
    data = random.Random(11).randbytes(12 * MB)
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    base = {"Bucket": bucket, "Key": key, "UploadId": upload}
    etags = []
    for number in range(1, 4):
        url = s3.generate_presigned_url("upload_part", Params={**base, "PartNumber": number}, ExpiresIn=600)
        sent = requests.put(url, data=data[(number - 1) * 5 * MB : number * 5 * MB], timeout=60)
        assert sent.status_code == 200
        etags.append(sent.headers["ETag"])
    inner = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in enumerate(etags, 1)
    )
    url = s3.generate_presigned_url("complete_multipart_upload", Params=base, ExpiresIn=600)
    done = requests.post(url, data=f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>", timeout=60)
    assert done.status_code == 200 and b"<ETag>" in done.content, done.text
    # Then it is moved to where it stays, and the client is sent there.
    final = "lfs/ab/cd/ef"
    s3.copy_object(Bucket=bucket, Key=final, CopySource={"Bucket": bucket, "Key": key})
    s3.delete_object(Bucket=bucket, Key=key)
    url = s3.generate_presigned_url(
        "get_object",
        Params={
            "Bucket": bucket,
            "Key": final,
            "ResponseContentDisposition": 'attachment; filename="a.bin"',
            "ResponseContentType": "application/x-lfs",
        },
    )
    got = requests.get(url, timeout=60)
    assert got.content == data and got.headers["Content-Type"] == "application/x-lfs"
    assert got.headers["Content-Disposition"] == 'attachment; filename="a.bin"'
    some = requests.get(url, headers={"Range": "bytes=-10"}, timeout=60)
    assert some.status_code == 206 and some.content == data[-10:]
    head = s3.generate_presigned_url("head_object", Params={"Bucket": bucket, "Key": final})
    assert requests.head(head, timeout=60).headers["Content-Length"] == str(len(data))
    aborted = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    url = s3.generate_presigned_url("abort_multipart_upload", Params={**base, "UploadId": aborted})
    assert requests.delete(url, timeout=60).status_code == 204
    url = s3.generate_presigned_url("delete_object", Params={"Bucket": bucket, "Key": final})
    assert requests.delete(url, timeout=60).status_code == 204
    with pytest.raises(ClientError):
        s3.head_object(Bucket=bucket, Key=final)
