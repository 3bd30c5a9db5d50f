"""The account-reaper: whose share, when, with which headers, and what answers come to."""

import time

import pytest

from swift.account import reaper as reaper_module
from swift.account.broker import AccountBroker
from swift.account.reaper import AccountReaper, share_of_container
from swift.account.reaping import Figures, Rings
from swift.account.server import AccountServer
from swift.core.concurrency import use_fast_hub
from swift.telemetry.metrics import get_metrics
from swift.wire import direct
from swift.wire.direct import DirectError
from swift.wire.message import HeaderKeyDict
from test.databases import Logger, call, load, make_conf

use_fast_hub()


@pytest.mark.parametrize(
    "case", load("misc.json")["reaper_container_owner"], ids=lambda case: case["container"]
)
def test_shares(case):
    assert share_of_container(case["container"], case["replicas"]) == case["index"]


class Ring:
    """Three nodes for whatever; node 0 is this one."""

    def __init__(self, base):
        self.devs = [
            {
                "id": n,
                "device": f"sda{n + 1}",
                "ip": f"10.0.0.{n}" if n else "127.0.0.1",
                "port": base,
                "replication_ip": f"10.0.0.{n}" if n else "127.0.0.1",
                "replication_port": base,
                "weight": 1.0,
            }
            for n in range(3)
        ]

    def get_part_nodes(self, part):
        return self.devs

    def get_nodes(self, *names):
        return 7, self.devs


class Cluster:
    """Container and object servers, as the direct client sees them."""

    def __init__(self, monkeypatch):
        self.objects = {}
        self.shards = {}
        self.asked = []
        self.refuse = {}
        monkeypatch.setattr(direct, "get_container", self.get_container)
        monkeypatch.setattr(direct, "delete_container", self.delete_container)
        monkeypatch.setattr(direct, "delete_object", self.delete_object)

    def _answer(self, verb, node, headers, *names):
        self.asked.append((verb, node["id"], names, headers))
        status = self.refuse.get((verb, node["id"]))
        if status:
            raise DirectError(verb, node, "/", status=status)

    def get_container(self, node, part, account, container, marker=None, headers=None, **options):
        self._answer("list", node, headers, container)
        told = HeaderKeyDict({"X-Backend-Storage-Policy-Index": "1"})
        if container in self.shards and headers["X-Backend-Record-Type"] == "auto":
            told["X-Backend-Record-Type"] = "shard"
            return told, self.shards[container]
        end = options.get("end_marker") or "~"
        names = sorted(name for name in self.objects.get(container, ()) if (marker or "") < name < end)[:2]
        return told, [{"name": name} for name in names]

    def delete_container(self, node, part, account, container, headers, **options):
        self._answer("container", node, headers, container)

    def delete_object(self, node, part, account, container, obj, headers, **options):
        self._answer("object", node, headers, container, obj)


@pytest.fixture
def conf(tmp_path):
    return {**make_conf(tmp_path), "bind_ip": "127.0.0.1", "bind_port": "6002"}


@pytest.fixture
def cluster(monkeypatch):
    return Cluster(monkeypatch)


@pytest.fixture
def reaper(conf):
    logger = Logger()
    logger.debug = logger.error
    rings = Rings(Ring(6002), Ring(6001), {1: Ring(6000)})
    return lambda **more: AccountReaper({**conf, **more}, logger, rings)


def account(conf, containers, deleted=True):
    app = AccountServer(conf, Logger())
    now = time.time() - 10
    assert call(app, "PUT", "/sda1/4/AUTH_a", "", {"X-Timestamp": f"{now:.5f}"})[0] == 201
    for name in containers:
        headers = {
            "X-Put-Timestamp": f"{now:.5f}",
            "X-Delete-Timestamp": "0",
            "X-Object-Count": "1",
            "X-Bytes-Used": "1",
        }
        assert call(app, "PUT", f"/sda1/4/AUTH_a/{name}", "", headers)[0] == 201
    if deleted:
        assert call(app, "DELETE", "/sda1/4/AUTH_a", "", {"X-Timestamp": f"{now + 5:.5f}"})[0] == 204


def own(names):
    return [name for name in names if share_of_container(name, 3) == 0]


NAMES = [f"c{n}" for n in range(12)]


def test_containers_in_shards_are_emptied_too(conf, reaper, cluster):
    """Their objects are deleted, and the shards that list these are told; what is not in a shard yet is in the container itself."""
    name = own(NAMES)[0]
    account(conf, [name])

    def part(lower, upper, path):
        return {"name": path, "lower": lower, "upper": upper}

    cluster.shards = {
        name: [
            part("", "b", ".shards_AUTH_a/s 1"),
            part("b", "d", ".shards_AUTH_a/s2"),
            part("d", "", f"AUTH_a/{name}"),
        ],
        "s2": [part("b", "", ".shards_AUTH_a/s3")],
    }
    cluster.objects = {"s 1": ["a", "b", "bb"], "s3": ["c", "d"], name: ["a", "e"]}
    reaper().run_once()
    told = {
        names[1]: headers.get("X-Backend-Quoted-Container-Path")
        for verb, _, names, headers in cluster.asked
        if verb == "object"
    }
    assert told == {
        "a": ".shards_AUTH_a/s%201",
        "b": ".shards_AUTH_a/s%201",
        "c": ".shards_AUTH_a/s3",
        "d": ".shards_AUTH_a/s3",
        "e": None,
    }
    assert {names[0] for verb, _, names, _ in cluster.asked if verb == "container"} == {name}


def test_shards_that_point_at_each_other_end_the_reaping(conf, reaper, cluster):
    name = own(NAMES)[0]
    account(conf, [name])
    for at in range(30):
        shard = {"name": f".shards_AUTH_a/s{at}", "lower": "", "upper": ""}
        cluster.shards[name if not at else f"s{at - 1}"] = [shard]
    reaper().run_once()
    assert not [verb for verb, *_ in cluster.asked if verb == "container"]


def test_a_share_of_a_deleted_account_is_reaped(conf, reaper, cluster):
    account(conf, NAMES)
    cluster.objects = {name: [f"o{n}" for n in range(5)] for name in NAMES}
    made = reaper()
    made.run_once()
    reaped = {names[0] for verb, _, names, _ in cluster.asked if verb == "container"}
    assert reaped == set(own(NAMES)) and reaped
    objects = [(node, names) for verb, node, names, _ in cluster.asked if verb == "object"]
    assert sorted(objects) == sorted(
        (node, (c, f"o{n}")) for node in range(3) for c in own(NAMES) for n in range(5)
    )
    assert {node for verb, node, _, _ in cluster.asked if verb == "list"} == {2}  # the last primary
    headers = [h for verb, _, _, h in cluster.asked if verb == "object"]
    assert {h["X-Container-Host"] for h in headers} == {"127.0.0.1:6001", "10.0.0.1:6001", "10.0.0.2:6001"}
    assert {h["X-Backend-Storage-Policy-Index"] for h in headers} == {"1"}
    headers = [h for verb, _, _, h in cluster.asked if verb == "container"]
    assert {(h["X-Account-Host"], h["X-Account-Device"]) for h in headers} == {
        ("127.0.0.1:6002", "sda1"),
        ("10.0.0.1:6002", "sda2"),
        ("10.0.0.2:6002", "sda3"),
    }
    assert {h["X-Account-Override-Deleted"] for h in headers} == {"yes"}
    assert any(f"{len(reaped)} containers deleted" in line for line in made.logger.lines)


@pytest.mark.parametrize("state", ["alive", "empty", "early"])
def test_what_is_not_to_be_reaped(conf, reaper, cluster, state):
    account(conf, [] if state == "empty" else NAMES, deleted=state != "alive")
    reaper(**({"delay_reaping": "3600"} if state == "early" else {})).run_once()
    assert not cluster.asked


def test_another_server_lists_when_the_last_one_is_away(conf, reaper, cluster):
    account(conf, own(NAMES)[:1])
    cluster.objects = {own(NAMES)[0]: ["o"]}
    cluster.refuse = {("list", 2): 503, ("list", 1): 507}
    reaper().run_once()
    assert {names for verb, _, names, _ in cluster.asked if verb == "object"} == {(own(NAMES)[0], "o")}
    cluster.asked.clear()
    cluster.refuse[("list", 0)] = 503
    reaper().run_once()
    assert {verb for verb, _, _, _ in cluster.asked} == {"list"}  # nothing is deleted unseen


def test_what_answers_come_to():
    figures = Figures(get_metrics({}, "x", Logger()))
    for successes, failures in ((3, 0), (2, 1), (1, 2), (0, 3), (1, 1)):
        figures.settle("objects", successes, failures)
    assert figures.counts["objects_deleted"] == 2
    assert figures.counts["objects_possibly_remaining"] == 2
    assert figures.counts["objects_remaining"] == 1


def test_what_stays_too_long_is_told(conf, reaper, cluster, monkeypatch):
    account(conf, own(NAMES)[:1])
    cluster.refuse = {("container", node): 409 for node in range(3)}
    made = reaper(reap_warn_after="1")
    made.run_once()
    assert any("has not been reaped since" in line for line in made.logger.lines)


def test_a_broken_database_is_no_end_of_the_pass(conf, reaper, cluster, monkeypatch):
    account(conf, NAMES)
    monkeypatch.setattr(AccountBroker, "commit_pending", lambda broker: 1 / 0)
    made = reaper()
    made.run_once()
    assert any("ERROR reaping" in line for line in made.logger.lines)
    assert reaper_module.CONTAINERS_A_LOOK == 1000
