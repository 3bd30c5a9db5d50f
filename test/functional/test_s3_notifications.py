"""Events of buckets on a real cluster: what a webhook hears, and what it hears after everybody was down for a while."""

from __future__ import annotations

import base64
import configparser
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from swift.cli.saio_layout import NODES
from test.cluster import Cluster

ROOT = Path(__file__).parents[2]
ARN = "arn:aws:sqs:us-east-1::hook"
SECRET, TOKEN = "a key of the hook's", "a-token"
TAKEOVER = 3.0


class Hook:
    """A webhook; `status`: what it answers. `heard`: (headers, document) of what it said yes to."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], Any]] = []
        self.asked = 0
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.asked += 1
                headers = {name.lower(): value for name, value in self.headers.items()}
                headers["body"] = body.decode()
                if hook.status == 200:
                    hook.heard.append((headers, json.loads(body)))
                self.send_response(hook.status)
                if hook.status == 302:
                    self.send_header("Location", f"http://127.0.0.1:{hook.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def all_records(self, bucket: str) -> list[dict[str, Any]]:
        found = [record for _, document in self.heard for record in document.get("Records", ())]
        return [record for record in found if record["s3"]["bucket"]["name"] == bucket]

    def records(self, bucket: str) -> list[dict[str, Any]]:
        """Each once: with so little patience, on a busy machine two nodes may deliver the same one."""
        return list({json.dumps(record): record for record in self.all_records(bucket)}.values())

    def names(self, bucket: str) -> list[tuple[str, str]]:
        return [(record["eventName"], record["s3"]["object"]["key"]) for record in self.records(bucket)]


def until(found: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    return found()


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.server.shutdown()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, hook: Hook) -> Iterator[Cluster]:
    """Without notifiers: each node gets one of its own below."""
    made = Cluster(tmp_path_factory.mktemp("notifications") / "saio")
    made.write()
    made.leave_out("container", "s3-notifier", "s3-lifecycle")
    made.configure("s3api", notification_targets="hook, other")
    with made:
        yield made


class Notifiers:
    """One process a node."""

    def __init__(self, cluster: Cluster, hook: Hook, folder: Path) -> None:
        self.folder = folder
        self.paths: dict[int, Path] = {}
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        for node in NODES:
            conf = configparser.RawConfigParser(interpolation=None)
            conf.read(cluster.layout.etc / "container-server" / f"{node}.conf")
            made = configparser.RawConfigParser()
            made["DEFAULT"] = {
                **dict(conf["DEFAULT"]),
                "log_to": "file",
                "log_file": str(folder / f"{node}.log"),
            }
            (folder / str(node)).mkdir()
            made["s3-notifier"] = {
                "interval": "0.2",
                "takeover": str(TAKEOVER),
                "recon_cache_path": str(folder / str(node)),
            }
            made["s3-target:hook"] = {
                "type": "webhook",
                "url": f"http://localhost:{hook.port}/events?of=s3",
                "secret": SECRET,
                "auth_token": TOKEN,
                "longest_pause": "1",
                "timeout": "3",
            }
            self.paths[node] = folder / f"notifier{node}.conf"
            with self.paths[node].open("w") as file:
                made.write(file)

    def start(self, *nodes: int) -> None:
        for node in nodes or NODES:
            command = [sys.executable, str(ROOT / "bin/swift-s3-notifier"), str(self.paths[node])]
            self.running[node] = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def kill(self, *nodes: int) -> None:
        for node in nodes or list(self.running):
            process = self.running.pop(node)
            process.send_signal(signal.SIGKILL)
            process.wait()

    def logs(self) -> str:
        return "".join(path.read_text() for path in self.folder.glob("*.log"))


@pytest.fixture(scope="module")
def notifiers(cluster: Cluster, hook: Hook, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notifiers]:
    made = Notifiers(cluster, hook, tmp_path_factory.mktemp("notifiers"))
    made.start()
    yield made
    made.kill()
    said = made.logs()
    assert "Traceback" not in said, said[said.index("Traceback") - 500 :][:3000]
    assert SECRET not in said and TOKEN not in said


@pytest.fixture(scope="module")
def address(cluster: Cluster) -> tuple[str, int]:
    return cluster.address


def configure(s3: Any, bucket: str, *events: str, **filters: str) -> None:
    wanted: dict[str, Any] = {
        "QueueArn": ARN,
        "Events": list(events) or ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
    }
    if filters:
        rules = [{"Name": name, "Value": value} for name, value in filters.items()]
        wanted["Filter"] = {"Key": {"FilterRules": rules}}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [wanted]}
    )


def test_a_configuration_is_kept_and_tried_out(s3: Any, hook: Hook, notifiers: Notifiers) -> None:
    s3.create_bucket(Bucket="told-document")
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket="told-document")
    s3.put_bucket_notification_configuration(
        Bucket="told-document",
        NotificationConfiguration={
            "QueueConfigurations": [
                {
                    "Id": "pictures",
                    "QueueArn": ARN,
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "Prefix", "Value": "in/"}, {"Name": "suffix", "Value": ".jpg"}]}},
                }
            ],
            "TopicConfigurations": [
                {"TopicArn": "arn:aws:sns:eu-1:123:other", "Events": ["s3:ObjectCreated:Put"], "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "out/"}]}}}
            ],
            "LambdaFunctionConfigurations": [
                {"LambdaFunctionArn": "arn:minio:sqs::hook:webhook", "Events": ["s3:ObjectRemoved:Delete"]}
            ],
        },
    )  # fmt: skip
    found = s3.get_bucket_notification_configuration(Bucket="told-document")
    assert found["QueueConfigurations"][0]["Id"] == "pictures"
    assert len(found["QueueConfigurations"][0]["Filter"]["Key"]["FilterRules"]) == 2
    assert found["TopicConfigurations"][0]["TopicArn"] == "arn:aws:sns:eu-1:123:other"
    assert found["TopicConfigurations"][0]["Id"]
    assert found["LambdaFunctionConfigurations"][0]["Events"] == ["s3:ObjectRemoved:Delete"]

    def tried_out() -> list[Any]:
        return [doc for _, doc in hook.heard if doc.get("Bucket") == "told-document"]

    document = until(tried_out)[0]
    assert document["Service"] == "Amazon S3" and document["Event"] == "s3:TestEvent"
    assert document["RequestId"] and document["Time"].endswith("Z")
    s3.put_bucket_notification_configuration(Bucket="told-document", NotificationConfiguration={})
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket="told-document")


@pytest.mark.parametrize(
    ("arn", "events", "message"),
    [
        ("arn:aws:sqs:us-east-1::unknown", ["s3:ObjectCreated:*"], "Unable to validate"),
        ("http://169.254.169.254/latest", ["s3:ObjectCreated:*"], "Unable to validate"),
        ("arn:aws:sqs:us-east-1::http://evil", ["s3:ObjectCreated:*"], "Unable to validate"),
        (ARN, ["s3:ObjectCreated:Teleport"], "not supported"),
        (ARN, ["s3:ObjectAccessed:Teleport"], "not supported"),
    ],
)
def test_what_is_no_configuration_is_refused(s3: Any, arn: str, events: list[str], message: str) -> None:
    bucket = f"told-refused-{hashlib.md5(repr((arn, events)).encode()).hexdigest()[:8]}"
    s3.create_bucket(Bucket=bucket)
    wanted = {"QueueConfigurations": [{"QueueArn": arn, "Events": events}]}
    with pytest.raises(ClientError) as caught:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=wanted)
    assert caught.value.response["Error"]["Code"] == "InvalidArgument"
    assert message in caught.value.response["Error"]["Message"]


def test_each_operation_is_told_of_with_what_it_made(s3: Any, hook: Hook, notifiers: Notifiers) -> None:
    bucket = "told-operations"
    s3.create_bucket(Bucket=bucket)
    configure(s3, bucket, "s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*")
    made = s3.put_object(Bucket=bucket, Key="a b/ü.txt", Body=b"12345")
    form = s3.generate_presigned_post(bucket, "formed")
    assert (
        requests.post(form["url"], data=form["fields"], files={"file": b"123"}, timeout=60).status_code == 204
    )
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a b/ü.txt"})
    s3.put_object_tagging(Bucket=bucket, Key="copy", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    s3.delete_object_tagging(Bucket=bucket, Key="copy")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"x" * 1000)
    whole = s3.complete_multipart_upload(
        Bucket=bucket,
        Key="parts",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    s3.put_object_tagging(Bucket=bucket, Key="parts", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    s3.delete_object(Bucket=bucket, Key="copy")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "parts"}, {"Key": "a b/ü.txt"}]})
    until(lambda: len(hook.names(bucket)) >= 10)
    assert hook.names(bucket)[:8] == [
        ("ObjectCreated:Put", "a+b/%C3%BC.txt"),
        ("ObjectCreated:Post", "formed"),
        ("ObjectCreated:Copy", "copy"),
        ("ObjectTagging:Put", "copy"),
        ("ObjectTagging:Delete", "copy"),
        ("ObjectCreated:CompleteMultipartUpload", "parts"),
        ("ObjectTagging:Put", "parts"),
        ("ObjectRemoved:Delete", "copy"),
    ]
    assert sorted(hook.names(bucket)[8:]) == [
        ("ObjectRemoved:Delete", "a+b/%C3%BC.txt"),
        ("ObjectRemoved:Delete", "parts"),
    ]
    records = hook.records(bucket)
    first = records[0]
    assert first["eventVersion"] == "2.1" and first["eventSource"] == "aws:s3"
    assert first["awsRegion"] == "us-east-1" and first["eventTime"].endswith("Z")
    assert first["userIdentity"] == {"principalId": "test:tester"}
    assert first["requestParameters"] == {"sourceIPAddress": "127.0.0.1"}
    assert first["responseElements"]["x-amz-request-id"] == made["ResponseMetadata"]["RequestId"]
    assert first["s3"]["bucket"]["arn"] == f"arn:aws:s3:::{bucket}"
    assert first["s3"]["object"]["size"] == 5
    assert first["s3"]["object"]["eTag"] == made["ETag"].strip('"')
    assert records[1]["s3"]["object"]["size"] == 3
    assert records[5]["s3"]["object"]["size"] == 1000
    assert records[5]["s3"]["object"]["eTag"] == whole["ETag"].strip('"')
    assert records[6]["s3"]["object"]["eTag"] == whole["ETag"].strip('"')
    order = [
        record["s3"]["object"]["sequencer"] for record in records if record["eventName"].startswith("Object")
    ]
    assert order[:2] == sorted(order[:2]) and all(len(text) == 16 for text in order)
    headers = next(headers for headers, document in hook.heard if document.get("Records") == [first])
    assert headers["authorization"] == f"Bearer {TOKEN}"
    signature = hmac.new(SECRET.encode(), headers["body"].encode(), hashlib.sha256).hexdigest()
    assert headers["x-hub-signature-256"] == f"sha256={signature}"


def test_reads_are_told_to_who_asks_for_them(s3: Any, hook: Hook, notifiers: Notifiers) -> None:
    bucket = "told-of-reads"
    s3.create_bucket(Bucket=bucket)
    configure(s3, bucket, "s3:ObjectAccessed:*", prefix="in/")
    made = s3.put_object(Bucket=bucket, Key="in/a", Body=b"0123456789")
    s3.put_object(Bucket=bucket, Key="out", Body=b"")
    s3.get_object(Bucket=bucket, Key="in/a", Range="bytes=0-3")["Body"].read()
    s3.head_object(Bucket=bucket, Key="in/a")
    s3.get_object(Bucket=bucket, Key="out")["Body"].read()
    for key, etag in (("in/absent", None), ("in/a", made["ETag"])):
        with pytest.raises(ClientError):
            s3.get_object(Bucket=bucket, Key=key, **({"IfNoneMatch": etag} if etag else {}))
    s3.get_object(Bucket=bucket, Key="in/a")["Body"].read()
    until(lambda: len(hook.records(bucket)) >= 3)
    shown = sorted(hook.names(bucket))
    assert shown == [("ObjectAccessed:Get", "in/a")] * 2 + [("ObjectAccessed:Head", "in/a")]
    for record in hook.records(bucket):
        assert record["s3"]["object"]["size"] == 10
        assert record["s3"]["object"]["eTag"] == made["ETag"].strip('"')
        assert record["userIdentity"] == {"principalId": "test:tester"}


def test_events_of_what_customers_have_encrypted(
    s3: Any, hook: Hook, notifiers: Notifiers, cluster: Cluster
) -> None:
    bucket = "told-of-closed"
    key = hashlib.sha256(b"told").digest()
    mine: Any = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
    s3.create_bucket(Bucket=bucket)
    configure(s3, bucket, "s3:ObjectCreated:*", "s3:ObjectAccessed:*", "s3:ObjectRemoved:*")
    s3.put_object(Bucket=bucket, Key="a", Body=b"12345", **mine)
    form = s3.generate_presigned_post(bucket, "formed", Conditions=[["starts-with", "$x-amz-server-side-encryption-customer-algorithm", ""], ["starts-with", "$x-amz-server-side-encryption-customer-key", ""], ["starts-with", "$x-amz-server-side-encryption-customer-key-MD5", ""]])  # fmt: skip
    fields = {
        **form["fields"],
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-server-side-encryption-customer-key": base64.b64encode(key).decode(),
        "x-amz-server-side-encryption-customer-key-MD5": base64.b64encode(hashlib.md5(key).digest()).decode(),
    }
    posted = requests.post(form["url"], data=fields, files={"file": b"x" * 70_000}, timeout=60)
    assert posted.status_code == 204, posted.text
    source: Any = {f"CopySource{name}": value for name, value in mine.items()}
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/a", **source, **mine)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", **mine)["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"x" * 1000, **mine)
    s3.complete_multipart_upload(
        Bucket=bucket,
        Key="parts",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    for name in ("a", "formed", "copy", "parts"):
        s3.head_object(Bucket=bucket, Key=name, **mine)
    with pytest.raises(ClientError):
        s3.head_object(Bucket=bucket, Key="a")  # without the key nothing is read
    for name in ("a", "parts"):
        s3.delete_object(Bucket=bucket, Key=name)
    until(lambda: len(hook.records(bucket)) >= 10)
    made, read = {}, {}
    for record in hook.records(bucket):
        about = record["s3"]["object"]
        found = {"Created": made, "Accessed": read}.get(record["eventName"].partition(":")[0][6:])
        if found is not None:
            assert about["key"] not in found
            found[about["key"]] = about["size"], about["eTag"]
    assert made == read
    assert {name: size for name, (size, _) in made.items()} == {"a": 5, "formed": 70_000, "copy": 5, "parts": 1000}  # fmt: skip
    heard = json.dumps(hook.heard)
    assert base64.b64encode(key).decode() not in heard and fields["x-amz-server-side-encryption-customer-key-MD5"] not in heard  # fmt: skip


def test_versions_and_filters(s3: Any, hook: Hook, notifiers: Notifiers) -> None:
    bucket = "told-with-history"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    configure(s3, bucket, prefix="in/", suffix=".jpg")
    made = s3.put_object(Bucket=bucket, Key="in/a.jpg", Body=b"1")
    s3.put_object(Bucket=bucket, Key="in/a.png", Body=b"1")
    s3.put_object(Bucket=bucket, Key="out/a.jpg", Body=b"1")
    marker = s3.delete_object(Bucket=bucket, Key="in/a.jpg")
    s3.delete_object(Bucket=bucket, Key="in/a.jpg", VersionId=made["VersionId"])
    until(lambda: len(hook.names(bucket)) >= 3)
    assert [(r["eventName"], r["s3"]["object"].get("versionId")) for r in hook.records(bucket)] == [
        ("ObjectCreated:Put", made["VersionId"]),
        ("ObjectRemoved:DeleteMarkerCreated", marker["VersionId"]),
        ("ObjectRemoved:Delete", made["VersionId"]),
    ]
    assert {r["s3"]["object"]["key"] for r in hook.records(bucket)} == {"in/a.jpg"}


def test_events_outlive_a_target_that_is_down_and_a_proxy_that_is_killed(
    s3: Any, hook: Hook, cluster: Cluster, notifiers: Notifiers
) -> None:
    bucket = "told-late"
    s3.create_bucket(Bucket=bucket)
    configure(s3, bucket)
    until(lambda: any(document.get("Bucket") == bucket for _, document in hook.heard))
    hook.status = 503
    try:
        wanted = [f"key{number:02d}" for number in range(20)]
        for key in wanted:
            s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        cluster.kill("proxy")
        notifiers.kill()
        cluster.revive("proxy")
        notifiers.start()
        asked = hook.asked
        until(lambda: hook.asked > asked)
        # A redirection is no yes, and is not followed.
        hook.status = 302
        asked = hook.asked
        until(lambda: hook.asked > asked)
        assert not hook.names(bucket)
    finally:
        hook.status = 200
    until(lambda: len(set(hook.names(bucket))) >= 20)
    assert list(dict.fromkeys(hook.names(bucket))) == [("ObjectCreated:Put", key) for key in wanted]
    # What is delivered is not delivered again.
    time.sleep(3 * TAKEOVER)
    count = len(hook.all_records(bucket))
    time.sleep(TAKEOVER)
    assert len(hook.all_records(bucket)) == count <= 60
    assert "takes nothing: status 503" in notifiers.logs()


def test_another_node_delivers_what_the_first_one_does_not(s3: Any, hook: Hook, notifiers: Notifiers) -> None:
    bucket = "told-by-another"
    s3.create_bucket(Bucket=bucket)
    # Three of four nodes have the container of the queue; two of any three are among those that are left.
    notifiers.kill(1, 2)
    try:
        configure(s3, bucket)
        for number in range(5):
            s3.put_object(Bucket=bucket, Key=f"k{number}", Body=b"x")
        until(lambda: len(set(hook.names(bucket))) >= 5, 60)
        assert set(hook.names(bucket)) == {("ObjectCreated:Put", f"k{number}") for number in range(5)}
    finally:
        notifiers.start(1, 2)


def test_the_operator_sees_it(notifiers: Notifiers) -> None:
    def told() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for node in NODES:
            path = notifiers.folder / str(node) / "s3.recon"
            if path.exists():
                targets = json.loads(path.read_text())["s3_notifier"]["targets"]
                found[str(node)] = targets["hook"]["delivered"]
        return found

    assert until(lambda: sum(told().values()) > 0)
    assert os.path.exists(notifiers.folder)
