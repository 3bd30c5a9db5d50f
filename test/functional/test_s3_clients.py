"""Clients of S3 that people use, configured by files and the environment alone: a tree up, compared, changed, down, deleted.

Each client's tests need that client on the PATH (doc/s3.md says how it is set up).
"""

import contextlib
import hashlib
import os
import random
import shutil
import subprocess
import time

import pytest

MB = 1024 * 1024
FILES = {
    "empty": b"",
    "nämé ☃ %41 +&?.txt": b"x",
    "a/b/c/deep": b"deep",
    "a/b.txt": b"b" * 5000,
    "large": random.Random(3).randbytes(12 * MB),
}
MANY = {f"many/{number % 7}/{number:04}": str(number).encode() for number in range(200)}


def needs(client):
    return pytest.mark.skipif(not shutil.which(client), reason=f"{client} is not installed")


@pytest.fixture
def bucket(name):
    return f"c-{hashlib.md5(name.encode()).hexdigest()}"


@pytest.fixture
def endpoint(address):
    return f"http://{address[0]}:{address[1]}"


@pytest.fixture
def run(endpoint, tmp_path):
    """Run a client in a folder of its own, with its configuration; what it prints. It must end as `fails` says."""
    host = endpoint.removeprefix("http://")
    (tmp_path / "aws.conf").write_text(
        "[default]\nregion = us-east-1\nretry_mode = standard\nmax_attempts = 1\ns3 =\n    addressing_style = path\n"
    )
    (tmp_path / "s3cmd.conf").write_text(
        f"[default]\nhost_base = {host}\nhost_bucket = {host}\nuse_https = False\nbucket_location = us-east-1\n"
        "access_key = test:tester\nsecret_key = testing\nmultipart_chunk_size_mb = 5\n"
    )
    environment = {
        **{key: value for key, value in os.environ.items() if key != "AWS_CA_BUNDLE"},
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(tmp_path / "aws.conf"),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test:tester",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWSACCESSKEYID": "test:tester",
        "AWSSECRETACCESSKEY": "testing",
        "AWS_PAGER": "",
        "RESTIC_PASSWORD": "secret",
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Other",
        "RCLONE_CONFIG_STORE_ENDPOINT": endpoint,
        "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": "test:tester",
        "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": "testing",
        "RCLONE_CONFIG_STORE_CHUNK_SIZE": "5Mi",
    }

    def run(*words, fails=False):
        done = subprocess.run(
            words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    return run


@pytest.fixture
def source(tmp_path):
    """A tree of files to send."""
    write(tmp_path / "source", FILES)
    return tmp_path / "source"


def write(folder, files):
    for path, body in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body)


def read(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- aws -------------------------------------------------------------------------------------------------------------------


@needs("aws")
def test_aws_sends_and_fetches_a_tree(run, bucket, source, tmp_path):
    run("aws", "s3", "mb", f"s3://{bucket}")
    run("aws", "s3", "sync", "source", f"s3://{bucket}/tree")
    assert run("aws", "s3", "sync", "source", f"s3://{bucket}/tree") == ""
    run("aws", "s3", "sync", f"s3://{bucket}/tree", "back")
    assert read(tmp_path / "back") == FILES
    (source / "large").unlink()
    write(source, {"a/b.txt": b"changed, and longer or shorter"})
    run("aws", "s3", "sync", "--delete", "source", f"s3://{bucket}/tree")
    assert "large" not in run("aws", "s3", "ls", "--recursive", f"s3://{bucket}/tree/")
    assert run("aws", "s3", "cp", f"s3://{bucket}/tree/a/b.txt", "-") == "changed, and longer or shorter"
    run("aws", "s3", "mv", f"s3://{bucket}/tree/a/b.txt", f"s3://{bucket}/moved")
    assert "NoSuchKey" in run(
        "aws", "s3api", "get-object", "--bucket", bucket, "--key", "tree/a/b.txt", "x", fails=True
    )
    run("aws", "s3", "rb", "--force", f"s3://{bucket}")
    assert bucket not in run("aws", "s3", "ls")


@needs("aws")
def test_aws_copies_large_objects_and_signs_addresses(run, bucket, source, tmp_path):
    run("aws", "s3", "mb", f"s3://{bucket}")
    run("aws", "s3", "cp", "source/large", f"s3://{bucket}/large")
    run("aws", "s3", "cp", f"s3://{bucket}/large", f"s3://{bucket}/copy")
    address = run("aws", "s3", "presign", f"s3://{bucket}/copy").strip()
    run("curl", "-sSf", "-o", "fetched", address)
    assert (tmp_path / "fetched").read_bytes() == FILES["large"]
    assert "403" in run("curl", "-sSf", address[:-1] + ("0" if address[-1] != "0" else "1"), fails=True)


@needs("aws")
def test_aws_manages_versions(run, bucket, source):
    run("aws", "s3", "mb", f"s3://{bucket}")
    run("aws", "s3api", "put-bucket-versioning", "--bucket", bucket, "--versioning-configuration", "Status=Enabled")  # fmt: skip
    for path in ("a/b.txt", "empty"):
        run("aws", "s3", "cp", f"source/{path}", f"s3://{bucket}/k")
    run("aws", "s3", "rm", f"s3://{bucket}/k")
    found = run(
        "aws", "s3api", "list-object-versions", "--bucket", bucket, "--output", "text",
        "--query", "[length(Versions), length(DeleteMarkers)]",
    )  # fmt: skip
    assert found.split() == ["2", "1"]


# -- s3cmd -----------------------------------------------------------------------------------------------------------------


@needs("s3cmd")
def test_s3cmd(run, bucket, source, tmp_path):
    def s3cmd(*words):
        return run("s3cmd", "-c", "s3cmd.conf", "--no-progress", *words)

    s3cmd("mb", f"s3://{bucket}")
    s3cmd("sync", "source/", f"s3://{bucket}/tree/")
    assert "upload:" not in s3cmd("sync", "source/", f"s3://{bucket}/tree/")
    s3cmd("sync", f"s3://{bucket}/tree/", "back/")
    assert read(tmp_path / "back") == FILES
    s3cmd("put", "source/a/b.txt", f"s3://{bucket}/b")
    s3cmd("get", f"s3://{bucket}/b", "b")
    assert (tmp_path / "b").read_bytes() == FILES["a/b.txt"]
    s3cmd("cp", f"s3://{bucket}/b", f"s3://{bucket}/c")
    s3cmd("del", f"s3://{bucket}/b")
    assert f"s3://{bucket}/c" in s3cmd("ls", f"s3://{bucket}")
    assert f"s3://{bucket}/b\n" not in s3cmd("ls", f"s3://{bucket}")
    assert bucket in s3cmd("info", f"s3://{bucket}")
    s3cmd("rb", "--recursive", f"s3://{bucket}")
    assert bucket not in s3cmd("ls")


# -- rclone ----------------------------------------------------------------------------------------------------------------


@needs("rclone")
def test_rclone_copies_and_checks_many_files(run, bucket, source, tmp_path):
    def rclone(*words):
        return run("rclone", "--retries", "1", "--low-level-retries", "1", *words)

    write(source, MANY)
    remote = f"store:{bucket}"
    rclone("copy", "source", remote)
    rclone("check", "source", remote)
    rclone("check", "--download", "source", remote)
    assert sorted(rclone("lsf", "-R", "--files-only", remote).splitlines()) == sorted({**FILES, **MANY})
    rclone("copy", remote, "back")
    assert read(tmp_path / "back") == {**FILES, **MANY}
    shutil.rmtree(source / "many")
    write(source, {"a/b.txt": b"changed"})
    rclone("sync", "source", remote)
    assert rclone("cat", f"{remote}/a/b.txt") == "changed"
    assert "many" not in rclone("lsf", remote)
    rclone("moveto", f"{remote}/large", f"{remote}/moved")  # copied on the server's side
    rclone("purge", remote)
    assert bucket not in rclone("lsd", "store:")


# -- restic ----------------------------------------------------------------------------------------------------------------


@needs("restic")
def test_restic_keeps_backups(run, bucket, endpoint, source, tmp_path):
    def restic(*words):
        return run("restic", "--no-cache", "-r", f"s3:{endpoint}/{bucket}/backup", *words)

    restic("init")
    restic("backup", "source")
    restic("restore", "latest", "--target", "back")
    assert read(tmp_path / "back" / "source") == FILES
    (source / "large").unlink()
    restic("backup", "source")
    restic("forget", "--keep-last", "1", "--prune")
    assert "no errors were found" in restic("check", "--read-data")
    shutil.rmtree(tmp_path / "back")
    restic("restore", "latest", "--target", "back")
    assert read(tmp_path / "back" / "source") == {key: FILES[key] for key in FILES if key != "large"}


# -- s3fs ------------------------------------------------------------------------------------------------------------------


@needs("s3fs")
@pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="there is no /dev/fuse")
def test_s3fs_is_a_file_system(run, bucket, endpoint, tmp_path):
    run("aws", "s3", "mb", f"s3://{bucket}")
    folder = tmp_path / "mounted"
    folder.mkdir()
    options = f"url={endpoint},use_path_request_style,multipart_size=5,retries=1"
    run("s3fs", bucket, str(folder), "-o", options)
    try:
        wait_until(folder.is_mount)
        write(folder, FILES)
        (folder / "a/b.txt").rename(folder / "a/c.txt")
        with open(folder / "a/c.txt", "ab") as opened:
            opened.write(b"more")
        names = {("a/c.txt" if path == "a/b.txt" else path): body for path, body in FILES.items()}
        assert read(folder) == {**names, "a/c.txt": FILES["a/b.txt"] + b"more"}
        (folder / "large").unlink()
        assert not (folder / "large").exists()
    finally:
        with contextlib.suppress(AssertionError):
            run("umount", str(folder))
    assert run("aws", "s3", "cp", f"s3://{bucket}/a/b/c/deep", "-") == "deep"


def wait_until(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen in a minute")
