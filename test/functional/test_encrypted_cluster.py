"""Encryption over the whole stack: what clients see, and what is on the disks (spec middleware 4.27)."""

import contextlib
import hashlib
import json
import os
import pathlib
import random
import tempfile
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from swift.cli.saio_layout import NODES
from test.cluster import Cluster
from test.s3_clients import s3_client

ROOT_SECRET = "Y2hhbmdlbWVjaGFuZ2VtZWNoYW5nZW1lY2hhbmdlbWU="
SECOND = "dHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdv"
KEYMASTER = f"[filter:keymaster]\nuse = egg:swift#keymaster\nencryption_root_secret = {ROOT_SECRET}\n"
ENCRYPTION = "[filter:encryption]\nuse = egg:swift#encryption\n"
SHARED_MEMORY = pathlib.Path("/dev/shm")
TEXT = b"Nobody but us shall read this. " * 3
LARGE = random.Random(3).randbytes(3 * 1024 * 1024 + 5)


class Encrypted(Cluster):
    def configure(self, keymaster=KEYMASTER, encryption=ENCRYPTION):
        """The proxy's filters, anew."""
        conf = self.layout.proxy_conf
        before, _, _ = conf.read_text().partition("\n[filter:keymaster]")
        lines = []
        for line in before.splitlines():
            if line.startswith("pipeline =") and "encryption" not in line:
                front, _, last = line.rpartition(" proxy-logging")
                line = f"{front} keymaster encryption proxy-logging{last}"
            lines.append(line)
        conf.write_text("\n".join(lines) + f"\n\n{keymaster}\n{encryption}")

    def restart(self, **filters):
        self.kill("proxy")
        self.configure(**filters)
        self.revive("proxy")


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    home = tmp_path_factory.mktemp("encryption")
    with contextlib.ExitStack() as stack:
        if _holds_attributes(SHARED_MEMORY):
            home = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=SHARED_MEMORY)))
        yield from _running(home)


def _holds_attributes(folder):
    """Returns True if a file there can have all the metadata that an object may have; ext4 ends at 4 KiB."""
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:
        os.setxattr(file.fileno(), "user.test", b"x" * 40_000)
        return True
    return False


def _running(home):
    running = Encrypted(home / "saio")
    running.write()
    running.configure()
    with running:
        assert running.request("PUT", "/c").status == 201
        assert running.request("PUT", "/ec", headers={"X-Storage-Policy": "ec42"}).status == 201
        yield running


def files_of(cluster):
    return [path for node in NODES for path in cluster.device(node).rglob("objects*/**/*.data")]


@pytest.mark.parametrize("container", ["c", "ec"])
@pytest.mark.parametrize("body", [b"", b"x", TEXT, LARGE[:70000], LARGE], ids=lambda body: str(len(body)))
def test_what_was_put_is_got(encrypted, container, body):
    path = f"/{container}/o-{len(body)}"
    etag = hashlib.md5(body).hexdigest()
    put = encrypted.request("PUT", path, body, {"Etag": etag, "X-Object-Meta-Color": "blue \u00e4"})
    assert put.status == 201 and put.headers["etag"] == etag
    got = encrypted.request("GET", path)
    assert got.status == 200 and got.body == body
    assert got.headers["etag"] == etag and got.headers["x-object-meta-color"] == "blue \u00e4"
    assert not [name for name in got.headers if "crypto" in name or "sysmeta" in name]
    listing = json.loads(encrypted.request("GET", f"/{container}?format=json&prefix=o-{len(body)}").body)
    assert (etag, len(body)) in [(row["hash"], row["bytes"]) for row in listing]


@pytest.mark.parametrize("container", ["c", "ec"])
def test_a_chunked_body(encrypted, container):
    pieces = [LARGE[at : at + 100_000] for at in range(0, 1_500_000, 100_000)]
    assert encrypted.request("PUT", f"/{container}/chunked", iter(pieces)).status == 201
    assert encrypted.request("GET", f"/{container}/chunked").body == b"".join(pieces)


@pytest.mark.parametrize("container", ["c", "ec"])
@pytest.mark.parametrize("size", [len(TEXT), len(LARGE)])
def test_ranges(encrypted, container, size):
    body = LARGE[:size]
    path = f"/{container}/ranges-{size}"
    assert encrypted.request("PUT", path, body).status == 201
    for first, last in ((0, 0), (1, 15), (16, 16), (31, size - 1), (size - 1, size + 9)):
        got = encrypted.request("GET", path, headers={"Range": f"bytes={first}-{last}"})
        assert (got.status, got.body) == (206, body[first : last + 1])
    got = encrypted.request("GET", path, headers={"Range": f"bytes=3-20,40-41,-7,{size - 40}-"})
    boundary = got.headers["content-type"].partition("boundary=")[2]
    parts = got.body.split(f"--{boundary}".encode())
    datas = [part.partition(b"\r\n\r\n")[2][:-2] for part in parts[1:-1]]
    assert datas == [body[3:21], body[40:42], body[-7:], body[-40:]]
    assert got.body.endswith(f"--{boundary}--".encode())


def test_nothing_is_on_the_disks_in_plain(encrypted):
    assert encrypted.request("PUT", "/c/secret", TEXT, {"X-Object-Meta-Word": "Shibboleth"}).status == 201
    etag = hashlib.md5(TEXT).hexdigest().encode()
    for node in NODES:
        for path in encrypted.device(node).rglob("*"):
            if path.is_file():
                data = path.read_bytes() + _attributes(path)
                assert b"Shibboleth" not in data and TEXT[:20] not in data and etag not in data, path


def _attributes(path: pathlib.Path) -> bytes:
    return b"".join(os.getxattr(path, name) for name in os.listxattr(path))


@pytest.mark.parametrize("container", ["c", "ec"])
def test_conditions(encrypted, container):
    path = f"/{container}/conditions"
    assert encrypted.request("PUT", path, TEXT).status == 201
    etag, other = hashlib.md5(TEXT).hexdigest(), "0" * 32

    def status(**headers):
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return encrypted.request("GET", path, headers=given).status

    assert status(If_None_Match=etag) == status(If_None_Match=f'"{other}", "{etag}"') == 304
    assert status(If_None_Match=other) == status(If_None_Match=f'W/"{etag}"') == 200
    assert status(If_Match=etag) == status(If_Match=f"{other},{etag}") == status(If_Match="*") == 200
    assert status(If_Match=other) == 412
    assert status(If_None_Match="*") == 304
    assert status(Range="bytes=1-5", If_Range=f'"{etag}"') == 206
    assert status(Range="bytes=1-5", If_Range=f'"{other}"') == 200
    assert status(Range="bytes=5000-", If_Range=f'"{other}"') == 200
    assert status(Range="bytes=5000-", If_Range=f'"{etag}"') == 416
    assert encrypted.request("PUT", path, TEXT, {"If-None-Match": "*"}).status == 412
    assert encrypted.request("PUT", path, TEXT, {"Etag": other}).status == 422
    assert encrypted.request("GET", path).headers["etag"] == etag


def test_metadata_that_is_posted(encrypted):
    assert encrypted.request("PUT", "/c/posted", TEXT, {"X-Object-Meta-Old": "1"}).status == 201
    assert encrypted.request("POST", "/c/posted", headers={"X-Object-Meta-New": "zwei"}).status == 202
    head = encrypted.request("HEAD", "/c/posted")
    assert head.headers["x-object-meta-new"] == "zwei" and "x-object-meta-old" not in head.headers
    assert encrypted.request("POST", "/c/posted").status == 202
    assert "x-object-meta-new" not in encrypted.request("HEAD", "/c/posted").headers
    too_long = {"X-Object-Meta-New": "x" * 257}
    for method in ("PUT", "POST"):
        answer = encrypted.request(method, "/c/posted", headers=too_long)
        assert (answer.status, answer.body) == (400, b"Metadata value longer than 256: x-object-meta-New")


@pytest.mark.parametrize("letter", ["a", "\u0436", "\u4e2d", "\U0001f600", "%", "\\", '"'])
def test_the_longest_names_in_any_script(encrypted, letter):
    """The reference answers 400 to some of them, and others never come to their listing."""
    name = letter * (1024 // len(letter.encode()))
    path = f"/c/{quote(name)}"
    put = encrypted.request("PUT", path, TEXT, {"X-Object-Meta-Color": "blue"})
    if not _holds_attributes(encrypted.layout.home):
        assert put.status in (201, 400)  # and no node is left alone for it: see below
        return
    assert put.status == 201
    assert encrypted.request("GET", path).body == TEXT
    rows = json.loads(encrypted.request("GET", f"/c?format=json&prefix={quote(letter * 50)}").body)
    assert [(row["name"], row["hash"]) for row in rows] == [(name, hashlib.md5(TEXT).hexdigest())]


def test_copies_are_encrypted_anew(encrypted):
    assert encrypted.request("PUT", "/c/original", TEXT, {"X-Object-Meta-Word": "kept"}).status == 201
    known = set(files_of(encrypted))
    for target, headers in (("/ec/copy", {}), ("/c/original", {"X-Object-Meta-More": "added"})):
        copied = encrypted.request("PUT", target, headers={"X-Copy-From": "/c/original", **headers})
        assert copied.status == 201 and copied.headers["etag"] == hashlib.md5(TEXT).hexdigest()
        got = encrypted.request("GET", target)
        assert got.body == TEXT and got.headers["x-object-meta-word"] == "kept"
    bodies = [path.read_bytes() for path in set(files_of(encrypted)) - known]
    assert bodies and not any(TEXT[:20] in body for body in bodies)


def test_large_objects(encrypted):
    segments = []
    for number in range(3):
        data = LARGE[number * 1000 : number * 1000 + 1000]
        assert encrypted.request("PUT", f"/c/segment-{number}", data).status == 201
        etag = hashlib.md5(data).hexdigest()
        segments.append({"path": f"/c/segment-{number}", "etag": etag, "size_bytes": 1000})
    made = encrypted.request("PUT", "/c/slo?multipart-manifest=put", json.dumps(segments).encode())
    assert made.status == 201
    got = encrypted.request("GET", "/c/slo")
    assert got.body == LARGE[:3000] and got.headers["etag"] == made.headers["etag"]
    part = encrypted.request("GET", "/c/slo", headers={"Range": "bytes=990-2010"})
    assert (part.status, part.body) == (206, LARGE[990:2011])
    for condition, status in (("If-None-Match", 304), ("If-Match", 200)):
        assert encrypted.request("GET", "/c/slo", headers={condition: got.headers["etag"]}).status == status
    row = json.loads(encrypted.request("GET", "/c?format=json&prefix=slo").body)[0]
    assert row["slo_etag"] == got.headers["etag"] and row["bytes"] == 3000 and len(row["hash"]) == 32
    assert encrypted.request("PUT", "/c/dlo", b"", {"X-Object-Manifest": "c/segment-"}).status == 201
    assert encrypted.request("GET", "/c/dlo").body == LARGE[:3000]
    copied = encrypted.request("PUT", "/ec/slo?multipart-manifest=get", headers={"X-Copy-From": "/c/slo"})
    assert copied.status == 201 and encrypted.request("GET", "/ec/slo").body == LARGE[:3000]
    row = json.loads(encrypted.request("GET", "/ec?format=json&prefix=slo").body)[0]
    assert row["slo_etag"] == got.headers["etag"]
    assert encrypted.request("DELETE", "/c/slo?multipart-manifest=delete").status == 200


@pytest.mark.parametrize("container", ["c", "ec"])
@pytest.mark.parametrize("body", [b"", b"x"])
def test_what_is_stored_if_there_is_none(encrypted, container, body):
    path = f"/{container}/first-{len(body)}"
    assert encrypted.request("PUT", path, body, {"If-None-Match": "*"}).status == 201
    assert encrypted.request("PUT", path, body, {"If-None-Match": "*"}).status == 412
    assert encrypted.request("GET", path).body == body


def test_s3_tells_of_it_and_keys_of_customers_come_on_top(encrypted):
    s3 = s3_client(encrypted.address, attempts=1)
    s3.create_bucket(Bucket="sse")
    wanted = {"Bucket": "sse", "ServerSideEncryption": "AES256"}
    assert s3.put_object(**wanted, Key="a", Body=TEXT)["ServerSideEncryption"] == "AES256"
    assert s3.get_object(Bucket="sse", Key="a")["ServerSideEncryption"] == "AES256"
    copied = s3.copy_object(**wanted, Key="b", CopySource="sse/a")
    assert copied["ServerSideEncryption"] == "AES256"
    begun = s3.create_multipart_upload(**wanted, Key="c")
    assert begun["ServerSideEncryption"] == "AES256"
    upload = {"Bucket": "sse", "Key": "c", "UploadId": begun["UploadId"]}
    part = s3.upload_part(**upload, PartNumber=1, Body=TEXT)
    assert part["ServerSideEncryption"] == "AES256"
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    assert s3.complete_multipart_upload(**upload, MultipartUpload=parts)["ServerSideEncryption"] == "AES256"
    assert s3.head_object(Bucket="sse", Key="c")["ServerSideEncryption"] == "AES256"
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
    told = s3.get_bucket_encryption(Bucket="sse")["ServerSideEncryptionConfiguration"]["Rules"]
    assert [found["ApplyServerSideEncryptionByDefault"] for found in told] == [
        rule["ApplyServerSideEncryptionByDefault"]
    ]
    s3.put_bucket_encryption(Bucket="sse", ServerSideEncryptionConfiguration={"Rules": [rule]})
    for kind in ("aws:kms", "aws:kms:dsse"):
        rule["ApplyServerSideEncryptionByDefault"] = {"SSEAlgorithm": kind}
        with pytest.raises(ClientError, match="NotImplemented"):
            s3.put_bucket_encryption(Bucket="sse", ServerSideEncryptionConfiguration={"Rules": [rule]})
        with pytest.raises(ClientError, match="NotImplemented"):
            s3.put_object(Bucket="sse", Key="a", Body=b"x", ServerSideEncryption=kind)
    s3.delete_bucket_encryption(Bucket="sse")
    mine = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
    stored = s3.put_object(Bucket="sse", Key="d", Body=LARGE, **mine)
    assert "ServerSideEncryption" not in stored
    assert stored["ETag"] != f'"{hashlib.md5(LARGE).hexdigest()}"'
    got = s3.get_object(Bucket="sse", Key="d", Range="bytes=70000-80000", **mine)
    assert got["Body"].read() == LARGE[70000:80001] and "ServerSideEncryption" not in got
    listed = {row["Key"]: row["ETag"] for row in s3.list_objects_v2(Bucket="sse")["Contents"]}
    assert listed["d"] == stored["ETag"]
    other = {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": b"k" * 32}
    s3.copy_object(Bucket="sse", Key="e", CopySource="sse/d", **other)
    etag = f'"{hashlib.md5(LARGE).hexdigest()}"'
    assert s3.head_object(Bucket="sse", Key="e")["ETag"] == etag
    listed = {row["Key"]: row["ETag"] for row in s3.list_objects_v2(Bucket="sse")["Contents"]}
    assert listed["e"] == etag
    with pytest.raises(ClientError, match="InvalidRequest"):
        s3.get_object(Bucket="sse", Key="d")
    assert s3.get_object(Bucket="sse", Key="e")["Body"].read() == LARGE


def test_links(encrypted):
    etag = hashlib.md5(TEXT).hexdigest()
    assert encrypted.request("PUT", "/c/target", TEXT, {"X-Object-Meta-Word": "there"}).status == 201
    for name, headers in (("link", {}), ("static", {"X-Symlink-Target-Etag": etag})):
        assert (
            encrypted.request("PUT", f"/c/{name}", b"", {"X-Symlink-Target": "c/target", **headers}).status
            == 201
        )
        got = encrypted.request("GET", f"/c/{name}")
        assert (
            got.body == TEXT
            and got.headers["x-object-meta-word"] == "there"
            and got.headers["etag"].strip('"') == etag
        )
        row = json.loads(encrypted.request("GET", f"/c?format=json&prefix={name}").body)[0]
        assert row["symlink_path"].endswith("/c/target")
        assert encrypted.request("GET", f"/c/{name}", headers={"If-None-Match": etag}).status == 304


def test_versions(encrypted):
    assert encrypted.request("PUT", "/versions", headers={"X-Versions-Enabled": "true"}).status == 201
    for number in range(3):
        assert (
            encrypted.request(
                "PUT", "/versions/o", b"version %d" % number, {"X-Object-Meta-N": str(number)}
            ).status
            == 201
        )
    rows = json.loads(encrypted.request("GET", "/versions?versions&format=json").body)
    assert len(rows) == 3
    found = {}
    for row in rows:
        got = encrypted.request("GET", f"/versions/o?version-id={row['version_id']}")
        assert got.headers["x-object-meta-n"] == got.body.decode()[-1]
        assert row["hash"] == hashlib.md5(got.body).hexdigest()
        found[got.body] = row["is_latest"]
    assert found == {b"version 0": False, b"version 1": False, b"version 2": True}


@pytest.mark.parametrize("container", ["c", "ec"])
def test_metadata_that_does_not_fit_limits_no_node(encrypted, container):
    """So much of it that some file systems refuse it: one PUT fails, or none, and the next one is taken."""
    headers = {f"X-Object-Meta-{n}": "x" * 90 for n in range(40)}
    assert encrypted.request("PUT", f"/{container}/heavy", TEXT, headers).status in (201, 400)
    for n in range(8):
        assert encrypted.request("PUT", f"/{container}/after-{n}", TEXT).status == 201


def test_a_new_root_secret_and_no_encryption_any_more(encrypted):
    assert encrypted.request("PUT", "/c/first", TEXT).status == 201
    two = f"{KEYMASTER}encryption_root_secret_two = {SECOND}\nactive_root_secret_id = two\n"
    try:
        encrypted.restart(keymaster=two)
        assert encrypted.request("PUT", "/c/second", TEXT).status == 201
        etag = hashlib.md5(TEXT).hexdigest()
        for name in ("first", "second"):
            assert encrypted.request("GET", f"/c/{name}").body == TEXT
            assert encrypted.request("GET", f"/c/{name}", headers={"If-None-Match": etag}).status == 304

        encrypted.restart(keymaster=two, encryption=f"{ENCRYPTION}disable_encryption = yes\n")
        known = set(files_of(encrypted))
        assert encrypted.request("PUT", "/c/plain", TEXT, {"X-Object-Meta-Word": "open"}).status == 201
        assert {path.read_bytes() for path in set(files_of(encrypted)) - known} == {TEXT}
        for name in ("first", "second", "plain"):
            got = encrypted.request("GET", f"/c/{name}", headers={"If-Match": etag})
            assert (got.status, got.body) == (200, TEXT)

        encrypted.restart()  # the second secret is lost
        lost = encrypted.request("GET", "/c/second")
        assert (lost.status, lost.body) == (500, b"Error decrypting object")
        rows = json.loads(encrypted.request("GET", "/c?format=json&prefix=second").body)
        assert [row["hash"] for row in rows] == ["<unknown>"]
        assert encrypted.request("GET", "/c/plain").body == encrypted.request("GET", "/c/first").body == TEXT
        for path in encrypted.layout.log.iterdir():
            text = path.read_text(errors="replace")
            assert ROOT_SECRET not in text and SECOND not in text and "Traceback" not in text, path
    finally:
        encrypted.restart()
