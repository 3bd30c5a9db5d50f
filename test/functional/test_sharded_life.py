"""Everything that meets a container in shards: versions, S3, quotas, deletion of an account, the operators' commands."""

import contextlib
import json
import os
import pathlib
import sqlite3
import subprocess
import sysconfig
from urllib.parse import quote

import boto3
import pytest
from botocore.config import Config

from swift.cli.saio_layout import NODES
from swift.container.broker import ContainerBroker
from swift.core import hashing, swift_dir
from swift.core.hashing import hash_path
from swift.core.timestamp import Timestamp
from swift.ring.lookup import Ring
from swift.wire import direct
from test.cluster import Cluster

SHARDS = ".shards_AUTH_test"
BIN = pathlib.Path(os.environ.get("OURS_BIN", sysconfig.get_path("scripts")))
COMMANDS = (
    pathlib.Path(__file__).parents[2] / "bin"
)  # what this test needs may be newer than the installation
OPTIONS = (
    "auto_shard_all = false\nshard_container_threshold = 1000\nrows_per_shard = 10\nminimum_shard_size = 2\nshrink_threshold = 0\n"
    "expansion_limit = 900\n"
)


def run(command, *words, statuses=(0,)):
    done = subprocess.run(
        [BIN / "python", COMMANDS / command, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode in statuses, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


class Own:
    """A cluster whose daemons do nothing by themselves."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.token = cluster.token
        for node in NODES:
            conf = cluster.layout.etc / "container-server" / f"{node}.conf"
            text = conf.read_text()
            head, mark, section = text.partition("[container-sharder]\n")
            assert mark
            conf.with_name(f"sharder-{node}.conf").write_text(
                f"{head}{mark}interval = 30\nauto_shard = true\n{OPTIONS}\n[container-auditor]\n"
            )
            assert section.lstrip().startswith("interval")
            conf = cluster.layout.etc / "account-server" / f"{node}.conf"
            conf.with_name(f"auditor-{node}.conf").write_text(f"{conf.read_text()}\n[account-auditor]\n")

    def call(self, method, path, body=None, headers=None, status=(200, 201, 202, 204), account="AUTH_test"):
        answer = self.cluster.raw(
            method, f"/v1/{account}{path}", body, {"X-Auth-Token": self.token, **(headers or {})}
        )
        assert answer.status in status, (method, path, answer)
        return answer

    def databases(self, account, container):
        hashing.set_hash_config("", "")
        hashing.load_hash_config(str(self.cluster.layout.etc))
        digest = hash_path(account, container)
        folders = [
            folder for node in NODES for folder in self.cluster.device(node).glob(f"containers/*/*/{digest}")
        ]
        return [sorted(folder.glob("*.db"))[-1] for folder in folders]

    def daemon(self, server, daemon, conf="{}"):
        return "".join(
            run(
                f"swift-{daemon}",
                self.cluster.layout.etc / f"{server}-server" / f"{conf.format(node)}.conf",
                "once",
                "-v",
            )
            for node in NODES
        )

    def shard(self, account, container):
        """Has a container cut into shards of ten rows each."""
        path = self.databases(account, container)[0]
        run(
            "swift-manage-shard-ranges",
            path,
            "find_and_replace",
            "10",
            "--minimum-shard-size",
            "2",
            "--enable",
        )
        for _ in range(4):
            self.daemon("container", "container-sharder", "sharder-{}")
            states = [
                run("swift-manage-shard-ranges", path, "info") for path in self.databases(account, container)
            ]
            if all("db_state = sharded" in text for text in states):
                break
        assert all("db_state = sharded" in text for text in states), states

    def names(self, path):
        return [row.get("subdir") or row["name"] for row in json.loads(self.call("GET", path).body)]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("sharded") / "saio") as cluster:
        cluster.kill("daemons")
        yield Own(cluster)


def test_old_versions_in_shards(own):
    container = "history"
    own.call("PUT", f"/{container}", headers={"X-Versions-Enabled": "true"})
    names = [f"v{number:02d}" for number in range(15)]
    for turn in (b"1", b"22"):
        for name in names:
            own.call("PUT", f"/{container}/{name}", turn)
    before = json.loads(own.call("GET", f"/{container}?versions").body)
    hidden = f"\0versions\0{container}"
    own.shard("AUTH_test", hidden)
    own.shard("AUTH_test", container)
    after = json.loads(own.call("GET", f"/{container}?versions").body)
    assert after == before and len(after) == 30
    assert own.call("HEAD", f"/{container}").headers["x-container-object-count"] == "15"
    version = own.call("PUT", f"/{container}/v07", b"333").headers["x-object-version-id"]
    found = json.loads(own.call("GET", f"/{container}?versions&prefix=v07").body)
    assert [row["bytes"] for row in found] == [3, 2, 1] and found[0]["version_id"] == version
    own.call("DELETE", f"/{container}/v07?version-id={version}")
    assert own.call("GET", f"/{container}/v07?version-id={found[1]['version_id']}").body == b"22"


def test_s3_lists_and_uploads(own):
    address = own.cluster.address
    s3 = boto3.client(
        "s3", endpoint_url=f"http://{address[0]}:{address[1]}", region_name="us-east-1",
        aws_access_key_id="test:tester", aws_secret_access_key="testing",
        config=Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}),
    )  # fmt: skip
    s3.create_bucket(Bucket="in-shards")
    names = [f"{letter}/{number}" for letter in "abcde" for number in range(6)]
    for name in names:
        s3.put_object(Bucket="in-shards", Key=name, Body=b"x")
    uploads = [
        s3.create_multipart_upload(Bucket="in-shards", Key=f"u{number:02d}")["UploadId"]
        for number in range(12)
    ]
    own.shard("AUTH_test", "in-shards")
    own.shard("AUTH_test", "in-shards+segments")
    keys = []
    for page in s3.get_paginator("list_objects_v2").paginate(
        Bucket="in-shards", PaginationConfig={"PageSize": 7}
    ):
        keys += [entry["Key"] for entry in page.get("Contents", ())]
    assert keys == names
    groups = s3.list_objects_v2(Bucket="in-shards", Delimiter="/", MaxKeys=3)
    assert [entry["Prefix"] for entry in groups["CommonPrefixes"]] == ["a/", "b/", "c/"]
    listed = s3.list_multipart_uploads(Bucket="in-shards")["Uploads"]
    assert [entry["UploadId"] for entry in listed] == uploads
    part = s3.upload_part(Bucket="in-shards", Key="u05", UploadId=uploads[5], PartNumber=1, Body=b"part")
    done = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket="in-shards", Key="u05", UploadId=uploads[5], MultipartUpload=done)
    assert s3.get_object(Bucket="in-shards", Key="u05")["Body"].read() == b"part"
    assert len(s3.list_multipart_uploads(Bucket="in-shards")["Uploads"]) == 11
    assert [v["Key"] for v in s3.list_object_versions(Bucket="in-shards", Prefix="u")["Versions"]] == ["u05"]
    s3.delete_objects(Bucket="in-shards", Delete={"Objects": [{"Key": name} for name in names]})
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="in-shards")["Contents"]] == ["u05"]


def test_counts_are_right_for_quotas_accounts_and_auditors(own):
    own.call("PUT", "/limited", headers={"X-Container-Meta-Quota-Count": "24"})
    names = [f"o{number:02d}" for number in range(24)]
    for name in names:
        own.call("PUT", f"/limited/{name}", b"x")
    put_untold(own, "limited", "o07x")
    own.shard("AUTH_test", "limited")
    assert own.call("HEAD", "/limited").headers["x-container-object-count"] == "24"
    own.call(
        "POST", "/limited", headers={"X-Container-Meta-Seen": "1"}
    )  # what the proxy knows of it is old now
    own.call("PUT", "/limited/more", b"x", status=(413,))
    assert own.names("/limited?format=json") == names
    for _ in range(10):  # what object servers could not tell goes to the shard, and the root hears of it
        own.daemon("object", "object-updater")
        own.daemon("container", "container-sharder", "sharder-{}")
        if own.call("HEAD", "/limited").headers["x-container-object-count"] == "25":
            break
    assert own.call("HEAD", "/limited").headers["x-container-object-count"] == "25"
    assert own.names("/limited?format=json") == sorted([*names, "o07x"])
    own.daemon("container", "container-updater")
    own.daemon("account", "account-replicator")
    listed = {row["name"]: row["count"] for row in json.loads(own.call("GET", "?format=json").body)}
    assert listed["limited"] == 25
    assert not any(name.startswith(".shards") for name in listed)
    unlisted = sum(count for name, count in rows_of_account(own).items() if name.startswith("\0"))
    count = own.call("HEAD", "").headers["x-account-object-count"]
    assert count == str(sum(listed.values()) + unlisted)
    log = own.daemon("account", "account-auditor", "auditor-{}")
    log += own.daemon("container", "container-auditor", "sharder-{}")
    assert "ERROR" not in log and "Audit failed" not in log and "quarantined" not in log.lower(), log


def rows_of_account(own):
    """{container: objects} as an account server has it, those of which no client hears included."""
    hashing.set_hash_config("", "")
    hashing.load_hash_config(str(own.cluster.layout.etc))
    digest = hash_path("AUTH_test")
    path = next(own.cluster.layout.disks.glob(f"*/*/accounts/*/*/{digest}/{digest}.db"))
    with contextlib.closing(sqlite3.connect(path)) as rows:
        return dict(rows.execute("SELECT name, object_count FROM container WHERE deleted = 0"))


def put_untold(own, container, name):
    """An object of which its servers can tell no container server yet."""
    etc = str(own.cluster.layout.etc)
    swift_dir.use(etc)
    part, holders = Ring(etc, "container").get_nodes("AUTH_test", container)
    object_part, nodes = Ring(etc, "object").get_nodes("AUTH_test", container, name)
    for node, holder in zip(nodes, holders, strict=True):
        told = {
            "X-Timestamp": Timestamp.now().internal,
            "X-Backend-Storage-Policy-Index": "0",
            "X-Container-Host": f"{holder['ip']}:1",  # where nobody listens
            "X-Container-Device": holder["device"],
            "X-Container-Partition": str(part),
        }
        direct.put_object(
            node, object_part, "AUTH_test", container, name, b"x", 1, None, "text/plain", headers=told
        )


def test_a_container_and_the_queue_that_it_is_deleted_by_are_both_in_shards(own):
    own.call("PUT", "/doomed")
    names = [f"d{number:02d}" for number in range(24)]
    for name in names:
        own.call("PUT", f"/doomed/{name}", b"x")
    own.shard("AUTH_test", "doomed")
    client = own.cluster.layout.internal_client_conf
    run("swift-container-deleter", "--config", client, "AUTH_test", "doomed")
    queues = {entry for entry in _containers(own, ".expiring_objects") if "doomed" in _rows(own, entry)}
    assert len(queues) == 1
    queue = queues.pop()
    own.shard(".expiring_objects", queue)
    assert "quarantined" not in own.daemon("container", "container-auditor", "sharder-{}").lower()
    own.daemon("container", "container-updater")  # the queue's account hears of it
    own.daemon("object", "object-expirer")
    for name in names:
        own.call("HEAD", f"/doomed/{name}", status=(404,))
    for _ in range(10):  # rows that nobody took at once are told by updaters
        own.daemon("object", "object-updater")
        own.daemon("container", "container-sharder", "sharder-{}")
        if not own.names("/doomed?format=json"):
            break
    assert own.names("/doomed?format=json") == []
    account = ".shards_.expiring_objects"
    shards = {entry for entry in _containers(own, account) if entry.startswith(queue)}
    for _ in range(5):  # copies on handoffs hear of it by replication
        left = [entry for entry in shards if "doomed" in _rows(own, entry, account)]
        if not left:
            break
        own.daemon("container", "container-replicator")
    assert shards and not left


def _containers(own, account):
    """Names of an account's containers that lie anywhere."""
    found = set()
    for path in (path for node in NODES for path in own.cluster.device(node).glob("containers/*/*/*/*.db")):
        with contextlib.closing(sqlite3.connect(path)) as conn:
            row = conn.execute("SELECT account, container FROM container_info").fetchone()
        if row[0] == account:
            found.add(row[1])
    return found


def _rows(own, container, account=".expiring_objects"):
    """Names of all live rows of a container's replicas, as one text."""
    text = ""
    for path in own.databases(account, container):
        broker = ContainerBroker(str(path.with_name(f"{path.parent.name}.db")))
        text += "".join(row["name"] for row in broker.get_objects(1000, include_deleted=False))
    return text


def test_objects_of_a_policy_that_lost_are_moved(own):
    own.call("PUT", "/halves", headers={"X-Storage-Policy": "gold"})
    names = [f"o{number:02d}" for number in range(24)]
    for name in names:
        own.call("PUT", f"/halves/{name}", b"gold")
    own.shard("AUTH_test", "halves")
    etc = str(own.cluster.layout.etc)
    swift_dir.use(etc)
    rows, silver = Ring(etc, "container"), Ring(etc, "object-1")
    owner = next(entry for entry in _shards(own, "halves") if names[3] in _rows(own, entry, SHARDS))
    part, holders = rows.get_nodes(SHARDS, owner)
    object_part, nodes = silver.get_nodes("AUTH_test", "halves", names[3])
    for node, holder in zip(nodes, holders, strict=False):
        told = {
            "X-Timestamp": Timestamp.now().internal,
            "X-Backend-Storage-Policy-Index": "1",
            "X-Backend-Quoted-Container-Path": quote(f"{SHARDS}/{owner}"),
            "X-Container-Host": f"{holder['ip']}:{holder['port']}",
            "X-Container-Device": holder["device"],
            "X-Container-Partition": str(part),
        }
        direct.put_object(
            node, object_part, "AUTH_test", "halves", names[3], b"newer", 5, None, "text/plain", headers=told
        )
    for _ in range(2):
        own.daemon("container", "container-replicator")
    log = run("swift-container-reconciler", own.cluster.layout.reconciler_conf, "once", "-v")
    assert "'success': 1" in log, log
    assert own.call("GET", f"/halves/{names[3]}").body == b"newer"
    assert not [path for node in NODES for path in own.cluster.device(node).glob("objects-1/*/*/*/*.data")]
    assert own.names("/halves?format=json") == names
    for _ in range(3):
        own.daemon("container", "container-replicator")
        own.daemon("container", "container-sharder", "sharder-{}")
        if own.call("HEAD", "/halves").headers["x-container-bytes-used"] == str(23 * 4 + 5):
            break
    assert own.call("HEAD", "/halves").headers["x-container-object-count"] == "24"
    log = run("swift-container-reconciler", own.cluster.layout.reconciler_conf, "once", "-v")
    assert "Reconciler Stats: {}" in log, log


def _shards(own, container):
    return {entry for entry in _containers(own, SHARDS) if entry.startswith(f"{container}-")}


def _admin(own):
    return {"X-Auth-Token": own.cluster.authenticate("admin:admin", "admin")}


def test_commands_tell_of_shards(own):
    own.call("PUT", "/told")
    for number in range(22):
        own.call("PUT", f"/told/o{number:02d}", b"x")
    own.shard("AUTH_test", "told")
    text = run("swift-container-info", "-d", own.cluster.layout.etc, self_path(own, "told"))
    assert "State: sharded" in text and "Shard Ranges (" in text and "Object Count: 22" in text
    text = run("swift-sharding-status", "-d", own.cluster.layout.etc)
    assert "/AUTH_test/told: 3 of 3 replicas done" in text and "PROBLEM" not in text
    for _ in range(2):
        own.daemon("container", "container-replicator")
        own.daemon("account", "account-replicator")
        own.daemon("object", "object-replicator")
    run("swift-safe-to-pull", "-d", own.cluster.layout.etc, "sdb1")
    assert own.names("/told?format=json") == [f"o{number:02d}" for number in range(22)]


def self_path(own, container):
    return own.databases("AUTH_test", container)[0]


def test_a_deleted_account_is_emptied_of_them(own):
    headers = {"X-Auth-Token": own.cluster.authenticate("test2:tester2", "testing2")}
    own.call("PUT", "/many", account="AUTH_test2", headers=headers)
    for number in range(24):
        own.call("PUT", f"/many/{quote(f'ö{number:02d}')}", b"x", account="AUTH_test2", headers=headers)
    own.shard("AUTH_test2", "many")
    own.daemon("container", "container-updater")
    own.call("DELETE", "", account="AUTH_test2", headers=_admin(own))
    own.daemon("account", "account-reaper")
    left = [path for node in NODES for path in own.cluster.device(node).glob("objects/*/*/*/*.data")]
    told = own.databases("AUTH_test2", "many")
    assert told
    names = {hash_path("AUTH_test2", "many", f"ö{number:02d}") for number in range(24)}
    assert not [path for path in left if path.parent.name in names]
    # shards tell their root that they are empty, which can be deleted then; it may take them a cycle more
    for _ in range(5):
        own.daemon("container", "container-sharder", "sharder-{}")
        own.daemon("account", "account-reaper")
        own.daemon("container", "container-updater")
        there = own.databases("AUTH_test2", "many")
        told = [run("swift-container-info", "-d", own.cluster.layout.etc, path) for path in there]
        if all("Deleted: True" in text for text in told):
            break
    assert all("Deleted: True" in text for text in told)
