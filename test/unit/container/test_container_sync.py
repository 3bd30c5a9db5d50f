"""The container-sync daemon over real databases: whose turn it is, how far it is done, and what is sent for a row."""

import json
import time

import pytest

from swift.container import sync as sync_module
from swift.container.broker import ContainerBroker
from swift.container.server import ContainerServer
from swift.container.sync import ContainerSync
from swift.container.sync_realms import SyncRealms, SyncTarget, check_target
from swift.container.sync_rows import Failed, RowSender, Source
from swift.core.errors import ConfigError
from swift.wire.client import BackendTimeout, ConnectError
from swift.wire.internal import UnexpectedResponse
from swift.wire.message import Response
from swift.wire.remote import RemoteAnswer
from test.databases import Logger, call, load, make_conf

NODES = 3


class Ring:
    """The device is the one of the node `here`."""

    def __init__(self, here=0, port=6201):
        self.here, self.port = here, port

    def get_nodes(self, *names):
        return 1, [
            {"ip": "127.0.0.1", "port": self.port if n == self.here else 1, "replication_ip": "x", "replication_port": 1, "device": "sda1"}
            for n in range(NODES)
        ]  # fmt: skip


class Sender:
    """Notes what is sent; fails where told."""

    def __init__(self):
        self.sent = []
        self.failing = set()
        self.late = set()
        self.away = False

    def send(self, source, row):
        self.sent.append(row["name"])
        if self.away or row["name"] in self.failing | self.late:
            raise Failed("no", is_away=self.away, is_late=row["name"] in self.late)


class Node:
    def __init__(self, tmp_path, here=0):
        self.conf = {**make_conf(tmp_path), "recon_cache_path": str(tmp_path), "bind_ip": "127.0.0.1"}
        self.logger = Logger()
        self.logger.debug = self.logger.notice = self.logger.info
        self.app = ContainerServer(self.conf, Logger())
        self.tmp_path = tmp_path
        self.sender = Sender()
        self.daemon = self.make(here)

    def make(self, here):
        daemon = ContainerSync(self.conf, self.logger, Ring(here), client=object(), remote=Remote())
        daemon._sender = self.sender
        return daemon

    def put(self, path, **headers):
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        status, _, _ = call(
            self.app, "PUT", f"/sda1/1/{path}", "", {"X-Timestamp": "1700000000.00000", **named}
        )
        assert status in (201, 202)

    def rows(self, *names, container="AUTH_a/c"):
        for name in names:
            self.put(f"{container}/{name}", X_Size="7", X_Content_Type="t", X_Etag="e")

    def points(self):
        (path,) = (self.tmp_path / "node/sda1/containers").rglob("*.db")
        info = ContainerBroker(str(path)).info()
        return info["x_container_sync_point1"], info["x_container_sync_point2"]

    def run(self):
        """The names that one pass sends."""
        self.sender.sent = []
        self.daemon.run_once()
        return sorted(self.sender.sent)


class Remote:
    def close(self):
        pass


@pytest.fixture
def node(tmp_path):
    made = Node(tmp_path)
    made.put("AUTH_a/c", X_Container_Sync_To="http://127.0.0.1/v1/a/c", X_Container_Sync_Key="k")
    return made


NAMES = [f"o{n}" for n in range(1, 9)]


def test_new_rows_are_shared_out_and_then_all_made_sure_of(node):
    node.rows(*NAMES)
    shares = []
    for here in range(NODES):
        node.daemon = node.make(here)
        (path,) = (node.tmp_path / "node/sda1/containers").rglob("*.db")
        ContainerBroker(str(path)).set_x_container_sync_points(-1, -1)
        shares.append(node.run())
        assert node.points() == (8, -1)
    assert sorted(sum(shares, [])) == NAMES and all(shares)
    assert node.run() == NAMES and node.points() == (8, 8)
    assert node.run() == []
    wanted = {case["object"]: case["ordinal"] for case in load("misc.json")["sync"]["row_owner"]}
    assert {name: at for at, share in enumerate(shares) for name in share if name in wanted} == wanted


def test_a_row_that_failed_is_sent_again_and_what_follows_it_too(node):
    node.rows(*NAMES)
    node.run()
    node.sender.failing = {"o4"}
    assert node.run() == NAMES and node.points() == (8, 3)
    node.sender.failing = set()
    assert node.run() == NAMES[3:] and node.points() == (8, 8)


def test_what_fails_of_a_share_is_made_sure_of_by_all(node):
    node.rows(*NAMES)
    node.sender.failing = set(NAMES)
    share = node.run()
    assert node.points() == (8, -1)
    node.sender.failing = set()
    assert share and node.run() == NAMES


def test_a_target_that_is_away_keeps_everything_where_it_is(node, monkeypatch):
    monkeypatch.setattr(sync_module, "BATCH", 2)
    node.rows(*NAMES)
    node.run()
    assert node.points() == (8, -1)
    node.sender.away = True
    assert len(node.run()) == 2 and node.points() == (8, -1)  # one batch, and no more of them
    node.rows(*(f"p{n}" for n in range(8)))
    (path,) = (node.tmp_path / "node/sda1/containers").rglob("*.db")
    ContainerBroker(str(path)).set_x_container_sync_points(8, 8)
    tried = node.run()
    assert 1 <= len(tried) <= 2 and node.points()[0] < 16
    node.sender.away = False
    assert set(tried) <= set(node.run()) and node.points()[0] == 16


def test_a_row_that_is_never_answered_in_time_does_not_hold_up_the_others(node, monkeypatch):
    monkeypatch.setattr(sync_module, "BATCH", 2)
    node.rows(*NAMES)
    node.run()
    node.sender.late = {"o1"}
    node.rows("p1", "p2", "p3")
    sent = node.run()
    assert set(sent) >= set(NAMES) and node.points() == (11, -1)
    node.sender.late = set(NAMES)  # all of them: it is the target
    assert len(node.run()) == 8 and node.points() == (11, -1)


def test_a_container_has_its_time(node, monkeypatch):
    monkeypatch.setattr(sync_module, "BATCH", 2)
    node.rows(*NAMES)
    node.run()
    node.daemon.container_time = 0.0
    assert node.run() == [] and node.points() == (8, -1)


def test_batches_go_on_where_the_last_one_ended(node, monkeypatch):
    monkeypatch.setattr(sync_module, "BATCH", 3)
    node.rows(*NAMES)
    node.run()
    assert node.points() == (8, -1)
    assert node.run() == NAMES and node.points() == (8, 8)


@pytest.mark.parametrize(
    "headers, skips, failures",
    [
        ({"X_Container_Sysmeta_Versions_Container": "v"}, 1, 0),
        ({"X_Container_Sync_Key": ""}, 0, 0),  # it has no link then
    ],
)
def test_who_is_not_synchronised(node, headers, skips, failures):
    node.rows("o1")
    node.put("AUTH_a/c", **{**headers, "X_Timestamp": "1700000001.00000"})
    assert node.run() == [] and node.points() == (-1, -1)
    line = next(text for text in node.logger.lines if text.startswith("Since"))
    assert f"{skips} skipped, {failures} failed" in line


def test_a_container_in_shards_is_said_to_be_left_out(node, monkeypatch):
    node.rows("o1")
    read = sync_module._read
    monkeypatch.setattr(
        sync_module, "_read", lambda broker: ({**read(broker)[0], "db_state": "sharded"}, read(broker)[1])
    )
    assert node.run() == [] and node.points() == (-1, -1)
    assert [text for text in node.logger.lines if "what its shards have is not synchronised" in text]


def test_other_nodes_containers_and_deleted_ones_are_left_alone(node):
    node.rows("o1")
    node.daemon = node.make(here=None)
    assert node.run() == []
    node.daemon = node.make(here=0)
    path = "/sda1/1/AUTH_a/c"
    assert call(node.app, "DELETE", f"{path}/o1", "", {"X-Timestamp": "1700000002.00000"})[0] == 204
    assert call(node.app, "DELETE", path, "", {"X-Timestamp": "1700000003.00000"})[0] == 204
    assert node.run() == []


def test_a_link_to_nothing_goes(node):
    (link,) = (path for path in (node.tmp_path / "node/sda1/sync_containers").rglob("*.db"))
    link.resolve().unlink()
    assert node.run() == []
    assert not (node.tmp_path / "node/sda1/sync_containers").exists() or not link.is_symlink()


def test_once_tells_what_it_did_and_leaves_it_for_recon(node):
    node.rows("o1")
    node.run()
    node.run()
    lines = [text for text in node.logger.lines if "ync" in text]
    assert 'Begin container sync "once" mode' in lines[0]
    assert any("1 synced [0 deletes, 0 puts], 0 skipped, 0 failed" in line for line in lines)
    assert any('Container sync "once" mode completed: ' in line for line in lines)
    told = json.loads((node.tmp_path / "container.recon").read_text())
    assert told["container_sync_stats"]["syncs"] == 1 and told["container_sync_last"] <= time.time()


@pytest.mark.parametrize("end", ["c?x", "c?", "c#x", "?", "c/d", ""])
def test_targets_in_a_realm_are_containers(tmp_path, end):
    path = tmp_path / "realms.conf"
    path.write_text("[realm]\nkey = k\ncluster_there = http://there/v1\n")
    realms = SyncRealms(str(path))
    for value in (f"//realm/there/a/{end}", f"//realm/there/{end}/c"):
        complaint, target = check_target(value, [], realms)
        assert (
            target is None and complaint is not None and complaint.startswith("Invalid X-Container-Sync-To")
        )
    assert check_target("//realm/there/a/c%3Fx", [], realms)[1].endpoint == "http://there/v1/a/c%3Fx"


def test_a_pipeline_that_is_not_there_is_named_at_the_start(tmp_path):
    conf = {**make_conf(tmp_path), "internal_client_conf_path": "/nowhere.conf"}
    with pytest.raises(ConfigError, match="/nowhere.conf"):
        ContainerSync(conf, Logger(), Ring())


# -- one row

WHEN = "1700000005.00000"
TARGET = SyncTarget("http://there/v1/a/c", "REALM", "rk")
SOURCE = Source("AUTH_a", "c", TARGET, "uk")


class There:
    """The other cluster: answers as told, and notes what it gets."""

    def __init__(self, **statuses):
        self.statuses = {"HEAD": 404, "PUT": 201, "DELETE": 204, **statuses}
        self.timestamp = None
        self.got = []

    def request(self, method, url, headers, body=None, length=0):
        data = b"" if body is None else body.read()
        self.got.append((method, url, headers, data))
        status = self.statuses[method]
        if isinstance(status, Exception):
            raise status
        return RemoteAnswer(status, {"x-timestamp": self.timestamp} if self.timestamp else {})


class Here:
    """The internal client."""

    def __init__(self, headers=None, body=(b"da", b"ta"), status=200):
        self.headers = {
            "X-Timestamp": WHEN,
            "Content-Length": "4",
            "Content-Type": "a/b",
            "Etag": '"e"',
            **(headers or {}),
        }
        self.body, self.status = body, status
        self.asked = []

    def get_object(self, account, container, name, headers, params):
        self.asked.append((account, container, name, headers, params))
        if self.status != 200:
            raise UnexpectedResponse("no", Response(status=self.status))
        return 200, Response(headers=self.headers).headers, iter(self.body)


def row(name="o", deleted=0, created_at=WHEN):
    return {"name": name, "deleted": deleted, "created_at": created_at, "storage_policy_index": 2}


def send(here, there, a_row):
    counted = []
    sender = RowSender(here, there, counted.append, lambda *args: None)
    sender.send(SOURCE, a_row)
    return counted


def test_an_object_goes_on_as_clients_know_it():
    inside = {
        "X-Backend-Timestamp": WHEN, "X-Object-Sysmeta-Crypto-Body-Meta": "secret", "X-Object-Transient-Sysmeta-Crypto-Meta": "s",
        "Date": "x", "Last-Modified": "x", "X-Trans-Id": "t", "X-Object-Meta-A": "b", "X-Delete-At": "9", "X-Static-Large-Object": "True",
    }  # fmt: skip
    here, there = Here({**inside, "Content-Type": "a/b;c=d;swift_bytes=99"}), There()
    assert send(here, there, row("o \u00e9")) == ["puts"]
    assert here.asked == [
        (
            "AUTH_a",
            "c",
            "o \u00e9",
            {"X-Newest": "true", "X-Backend-Storage-Policy-Index": "2"},
            {"symlink": "get"},
        )
    ]
    (head, url, _, _), (put, same, headers, body) = there.got
    assert (head, put) == ("HEAD", "PUT") and url == same == "http://there/v1/a/c/o%20%C3%A9"
    assert body == b"data"
    given = {
        name: value for name, value in headers.items() if name not in ("X-Container-Sync-Auth", "User-Agent")
    }
    assert given == {
        "X-Timestamp": WHEN, "Content-Type": "a/b;c=d", "Etag": "e", "X-Object-Meta-A": "b", "X-Delete-At": "9",
        "X-Static-Large-Object": "True",
    }  # fmt: skip
    assert headers["X-Container-Sync-Auth"].startswith("REALM ")


def test_links_go_on_as_links():
    kept = {"X-Object-Sysmeta-Symlink-Target": "c/o", "X-Object-Sysmeta-Symlink-Target-Etag": "e"}
    there = There()
    send(Here(kept), there, row())
    assert there.got[1][2]["X-Symlink-Target"] == "c/o" and there.got[1][2]["X-Symlink-Target-Etag"] == "e"


def test_links_of_versions_stay():
    there = There()
    assert send(Here({"X-Object-Sysmeta-Versions-Symlink": "true"}), there, row()) == []
    assert [method for method, *_ in there.got] == ["HEAD"]


@pytest.mark.parametrize("timestamp, puts", [("1700000004.99999", 1), (WHEN, 0), ("1700000006.00000", 0)])
def test_what_is_there_already_is_not_sent(timestamp, puts):
    here, there = Here(), There(HEAD=200)
    there.timestamp = timestamp
    assert len(send(here, there, row())) == puts == len(here.asked)


def test_an_object_that_was_brought_into_its_policy_is_sent_once():
    moved = row(created_at=f"{WHEN}_0000000000000002")
    assert send(Here(), There(), moved) == ["puts"]
    there = There(HEAD=200)
    there.timestamp = WHEN
    assert send(Here(), there, moved) == []


@pytest.mark.parametrize("status", [204, 404, 409])
def test_deletions(status):
    there = There(DELETE=status)
    assert send(Here(), there, row(deleted=1)) == ["deletes"]
    ((method, _, headers, _),) = there.got
    assert method == "DELETE" and headers["X-Timestamp"] == WHEN


@pytest.mark.parametrize(
    "here, there, a_row, expected, away",
    [
        (Here(), There(PUT=401), row(), True, False),
        (Here(), There(PUT=503), row(), False, False),
        (Here(), There(HEAD=503), row(), False, False),
        (Here(), There(DELETE=500), row(deleted=1), False, False),
        (Here(), There(HEAD=ConnectError("no")), row(), False, True),
        (Here(), There(PUT=BackendTimeout("late")), row(), False, False),
        (Here(status=404), There(), row(), True, False),
        (Here(status=503), There(), row(), False, False),
        (Here({"X-Timestamp": "1700000004.00000"}), There(), row(), False, False),
        (Here(body=(b"da",)), There(), row(), False, False),
        (Here(), There(), row(created_at="x"), False, False),
    ],
)
def test_what_fails(here, there, a_row, expected, away):
    with pytest.raises(Failed) as failed:
        send(here, there, a_row)
    assert (failed.value.is_expected, failed.value.is_away) == (expected, away)
    assert failed.value.is_late == ("late" in str(failed.value))


def test_a_plain_key_is_sent_as_it_is():
    there = There(HEAD=401)  # with it alone one may write, and not look
    sender = RowSender(Here(), there, lambda what: None, lambda *args: None)
    sender.send(Source("AUTH_a", "c", SyncTarget("http://there/v1/a/c/", None, None), "\u00fck"), row())
    for _, url, headers, _ in there.got:
        assert headers["X-Container-Sync-Key"] == "\xc3\xbck" and "X-Container-Sync-Auth" not in headers
        assert url == "http://there/v1/a/c/o"
