"""Objects whose time has come disappear: from clients' sight at once, from disks, listings and the queue with the expirer's pass."""

import json
import os
import pathlib
import subprocess
import sysconfig
import time
import urllib.parse
from datetime import datetime, timezone

import pytest

from swift.cli.saio_layout import NODES
from swift.core import swift_dir
from swift.core.timestamp import Timestamp
from swift.obj.expirer.tasks import async_container
from swift.ring.lookup import Ring
from swift.wire import direct
from swift.wire.internal import InternalClient
from test.cluster import Cluster
from test.expiring import when_due
from test.passes import run_passes

BIN = pathlib.Path(os.environ.get("OURS_BIN", sysconfig.get_path("scripts")))
QUEUE = ".expiring_objects"
REPLICATION = {"X-Backend-Replication": "true"}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A cluster whose daemons do nothing by themselves, and whose users may see expired objects."""
    cluster = Cluster(tmp_path_factory.mktemp("expiry") / "saio")
    cluster.write()
    cluster.trust_everybody()  # signatures of who has a wrong clock would not be taken
    conf = cluster.layout.proxy_conf
    conf.write_text(
        conf.read_text().replace("account_autocreate", "allow_open_expired = true\naccount_autocreate", 1)
    )
    with cluster:
        cluster.kill("daemons")
        swift_dir.use(str(cluster.layout.etc))
        yield cluster


def run(command, *words):
    done = subprocess.run(
        [BIN / command, *words], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def conf_of(cluster, server, node):
    return cluster.layout.etc / f"{server}-server" / f"{node}.conf"


def update_accounts(cluster):
    """The account of the queue hears of its containers."""
    run_passes("container-updater", [conf_of(cluster, "container", node) for node in NODES])


def expire(cluster, ahead=0.0):
    """A pass of each node's expirer."""
    update_accounts(cluster)
    return run_passes("object-expirer", [conf_of(cluster, "object", node) for node in NODES], ahead)


def files(cluster, ending):
    return [
        path
        for node in NODES
        for device in cluster.layout.devices_of(node)
        for path in (cluster.layout.disks / str(node) / device).glob(f"objects*/*/*/*/*{ending}")
    ]


def queue(cluster):
    """{container: {row: content type}} as every one of its servers has it."""
    update_accounts(cluster)
    etc = str(cluster.layout.etc)
    accounts, containers = Ring(etc, "account"), Ring(etc, "container")
    part, nodes = accounts.get_nodes(QUEUE)
    found = {}
    for node in nodes:
        try:
            for listed in direct.get_account(node, part, QUEUE)[1]:
                found[listed["name"]] = {}
        except direct.DirectError as err:
            assert err.http_status == 404
    for name in found:
        part, nodes = containers.get_nodes(QUEUE, name)
        for node in nodes:
            try:
                rows = direct.get_container(node, part, QUEUE, name)[1]
            except direct.DirectError as err:
                assert err.http_status == 404
                continue
            found[name].update({row["name"]: row["content_type"] for row in rows})
    return found


def rows(cluster, due=""):
    return sorted(name for listed in queue(cluster).values() for name in listed if name.startswith(str(due)))


def names(cluster, container):
    return [row["name"] for row in json.loads(cluster.request("GET", f"/{container}?format=json").body)]


def test_expired_objects_disappear(own):
    """Of all policies, whatever their names; what has no time, or a later one, stays."""

    def prepare(due):
        for container, policy in (("gold", "gold"), ("silver", "silver"), ("ec", "ec42"), ("näme", "gold")):
            path = "/" + urllib.parse.quote(container)
            assert own.request("PUT", path, headers={"X-Storage-Policy": policy}).status in (201, 202)
            for name in ("o", "with ☃ and / and %41"):
                headers = {"X-Delete-At": str(due)}
                answer = own.request("PUT", f"{path}/{urllib.parse.quote(name)}", b"x" * 5000, headers)
                assert answer.status == 201
            headers = {"X-Delete-At": str(due + 3600)}
            assert own.request("PUT", f"{path}/stays", b"x", headers).status == 201
            assert own.request("PUT", f"{path}/plain", b"x").status == 201
            assert own.request("GET", f"{path}/o").headers.get("x-delete-at") == str(due)

    due = when_due(prepare)
    assert (len(rows(own, due)), len(rows(own, due + 3600))) == (8, 4)
    assert own.request("GET", "/gold/o").status == 404
    assert own.request("GET", "/gold/o", headers={"X-Open-Expired": "true"}).body == b"x" * 5000
    assert len(names(own, "gold")) == 4
    log = expire(own)
    assert (
        sum(int(line.split("; ")[1].split()[0]) for line in log.splitlines() if "Pass completed" in line) == 8
    )
    for container in ("gold", "silver", "ec", "näme"):
        assert names(own, urllib.parse.quote(container)) == ["plain", "stays"]
    assert (len(rows(own, due)), len(rows(own, due + 3600))) == (0, 4)
    assert own.request("GET", "/gold/o", headers={"X-Open-Expired": "true"}).status == 404
    assert {path.stem for path in files(own, ".ts")} == {Timestamp(due).internal}
    assert sorted(queue(own)) == sorted(
        name for name, listed in queue(own).items() if listed
    )  # empty ones are gone


def test_nothing_expires_too_early(own):
    before = rows(own)
    assert before and expire(own).count("; 0 objects expired") == len(NODES)
    assert rows(own) == before
    log = expire(own, ahead=2 * 3600.0)  # by a clock that is wrong: object servers know better
    assert log.count("; 0 objects expired") == len(NODES)
    assert rows(own) == before


def test_what_has_another_time_by_now_stays(own):
    def prepare(due):
        at = {"X-Delete-At": str(due)}
        assert own.request("PUT", "/changed").status in (201, 202)
        for name in ("posted", "cleared", "overwritten", "expires"):
            assert own.request("PUT", f"/changed/{name}", b"x", at).status == 201
        assert own.request("POST", "/changed/posted", headers={"X-Delete-At": str(due + 3600)}).status == 202
        assert own.request("POST", "/changed/cleared").status == 202
        assert own.request("PUT", "/changed/overwritten", b"y").status == 201

    due = when_due(prepare)
    for node in NODES:  # the old rows stay in the queue: nobody delivers what took them out
        for path in own.device(node).glob("async_pending*/*/*"):
            path.unlink()
    expire(own)
    assert names(own, "changed") == ["cleared", "overwritten", "posted"]
    for name in names(own, "changed"):
        assert own.request("GET", f"/changed/{name}").status == 200
    left = rows(own, f"{due}-AUTH_test/changed/")
    assert [name.rpartition("/")[2] for name in left] == [
        "cleared",
        "overwritten",
        "posted",
    ]  # until reclaim_age
    for node in NODES:
        conf = conf_of(own, "object", node)
        conf.write_text(conf.read_text().replace("[object-expirer]", "[object-expirer]\nreclaim_age = 0"))
    expire(own)
    for node in NODES:
        conf = conf_of(own, "object", node)
        conf.write_text(conf.read_text().replace("\nreclaim_age = 0", ""))
    assert not rows(own, f"{due}-AUTH_test/changed/")
    assert names(own, "changed") == ["cleared", "overwritten", "posted"]


def test_an_expired_object_may_be_given_more_time(own):
    def prepare(due):
        assert own.request("PUT", "/revived").status in (201, 202)
        assert own.request("PUT", "/revived/o", b"x", {"X-Delete-At": str(due)}).status == 201

    due = when_due(prepare)
    assert own.request("POST", "/revived/o").status == 404
    answer = own.request(
        "POST", "/revived/o", headers={"X-Open-Expired": "true", "X-Delete-At": str(due + 3600)}
    )
    assert answer.status == 202
    expire(own)
    assert own.request("GET", "/revived/o").body == b"x"
    assert names(own, "revived") == ["o"]


def test_a_later_time_that_one_node_has_missed_counts(own):
    """Its own object server would say yes, and the tombstone would go to all others."""

    def prepare(due):
        assert own.request("PUT", "/missed").status in (201, 202)
        assert own.request("PUT", "/missed/o", b"x", {"X-Delete-At": str(due)}).status == 201
        assert own.request("POST", "/missed/o", headers={"X-Delete-At": str(due + 3600)}).status == 202

    due = when_due(prepare)
    metas = [
        path
        for path in files(own, ".meta")
        if str(due + 3600).encode() in os.getxattr(path, "user.swift.metadata")
    ]
    assert len(metas) == 3
    metas[0].unlink()
    for node in NODES:
        for path in own.device(node).glob("async_pending*/*/*"):
            path.unlink()
    before = len(files(own, ".ts"))
    expire(own)
    assert len(files(own, ".ts")) == before
    for _ in range(6):
        assert own.request("GET", "/missed/o", headers={"X-Newest": "true"}).status in (200, 404)
    assert names(own, "missed") == ["o"]


def test_reserved_names_expire_too(own):
    """Such as those of the versions of an object."""
    client = InternalClient(str(own.layout.internal_client_conf), "test", 1)
    container = "\0versions\0box"

    def prepare(due):
        client.create_container("AUTH_test", container)
        for name in ("\0o\x001", "\0☃\x002"):
            headers = {"X-Delete-At": str(due)}
            found = client.upload_object(b"x", "AUTH_test", container, name, headers, (2, 400))
            assert found.status_int == 201
        client.upload_object(b"x", "AUTH_test", container, "\0stays\x003")

    due = when_due(prepare)
    expire(own)
    assert [item["name"] for item in client.iter_objects("AUTH_test", container)] == ["\0stays\x003"]
    assert not rows(own, due)


def test_deletions_are_queued(own):
    assert own.request("PUT", "/bulk", headers={"X-Storage-Policy": "silver"}).status == 201
    for number in range(30):
        assert own.request("PUT", f"/bulk/old-{number:02d}", b"x").status == 201
    now = Timestamp(time.time())
    time.sleep(0.01)
    assert own.request("PUT", "/bulk/old-05", b"new").status == 201
    assert own.request("PUT", "/bulk/other", b"x").status == 201
    conf = ["--config", own.layout.internal_client_conf]
    text = run(
        "swift-container-deleter", *conf, "--prefix=old", "--timestamp", now.internal, "AUTH_test", "bulk"
    )
    assert text == "Finished. Marked 30 objects for deletion.\n"
    listed = queue(own)[async_container(now)]
    assert len(listed) == 30 and set(listed.values()) == {"application/async-deleted"}
    assert f"{now.internal}-AUTH_test/bulk/old-00" in listed
    assert len(names(own, "bulk")) == 31
    expire(own)
    assert names(own, "bulk") == ["old-05", "other"]
    assert async_container(now) not in queue(own)


def test_what_is_queued_and_late_is_shown(own):
    tomorrow = int(time.time()) // 86400 * 86400 + 100_000
    assert own.request("PUT", "/shown").status == 201
    assert own.request("PUT", "/shown/o", b"x", {"X-Delete-At": str(tomorrow)}).status == 201
    expire(own)
    ip, port = own.layout.storage_address("object", 1)
    node = {"ip": ip, "port": port, "device": "sdb1"}
    found = direct.get_recon(node, "expirer/object")
    assert found["expired_last_pass"] >= 0 and found["object_expiration_pass"] >= 0
    shown = found["object_expirer_queue"]
    assert (shown["waiting"] == 0) == (shown["oldest_left"] is None) and shown["queued"] >= 1
    day = datetime.fromtimestamp(tomorrow, timezone.utc).date().isoformat()
    assert shown["queued_by_day"][day] >= 1


def test_shares_of_the_work(own):
    """Whatever processes there are, each row is done by one of them."""

    def prepare(due):
        assert own.request("PUT", "/shares").status in (201, 202)
        for number in range(20):
            assert own.request("PUT", f"/shares/{number}", b"x", {"X-Delete-At": str(due)}).status == 201

    when_due(prepare)
    update_accounts(own)
    left = [20]
    for process in range(3):
        run(
            "swift-object-expirer", conf_of(own, "object", 1), "once", "--processes=3", f"--process={process}"
        )
        left.append(len(names(own, "shares")))
    assert 20 > left[1] > left[2] >= left[3] == 0
    done = subprocess.run(
        [BIN / "swift-object-expirer", conf_of(own, "object", 1), "once", "--processes=3", "--process=3"],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 1
