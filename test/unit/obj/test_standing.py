"""How far a pass is and what is behind, as recon, metrics and the recon filter tell it."""

import json
from types import SimpleNamespace

import pytest

from swift.core import clock
from swift.middleware.recon import ReconMiddleware
from swift.obj.replication.jobs import Partitions
from swift.obj.replication.standing import Standing
from swift.telemetry import recon_cache
from swift.telemetry.node_metrics import state_families
from test.databases import Logger


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self, monkeypatch):
        self.now = 1_700_000_000.0
        monkeypatch.setattr(clock, "time", lambda: self.now)


@pytest.fixture
def time(monkeypatch):
    return Clock(monkeypatch)


def holding(guests=()):
    return SimpleNamespace(
        device={"device": "sda"},
        policy=SimpleNamespace(idx=1),
        is_guest=lambda partition: partition in guests,
    )


def entry(standing):
    return standing.recon()["object_replication_standing"]["sda"]["1"]


def test_a_pass_goes_on(time):
    standing = Standing()
    assert standing.recon() == {}
    disk = holding(guests=("8", "9"))
    standing.begin([Partitions(disk, ["1", "2"], ["8", "9"], [])])
    began = entry(standing)
    assert (began["done"], began["total"], began["remaining"], began["checked"]) == (0, 4, None, None)
    assert began["began"] == time.now
    time.now += 10
    standing.note(disk, "8", True)
    standing.note(disk, "1", False)
    found = entry(standing)
    assert (found["done"], found["remaining"]) == (2, 10.0)
    assert (found["handoffs"], found["behind"], found["behind_since"]) == (1, 1, time.now)
    time.now += 5
    standing.note(disk, "2", True)
    standing.note(disk, "9", False)
    found = entry(standing)
    assert (found["done"], found["remaining"], found["checked"]) == (4, 0.0, time.now)
    assert (found["partitions"], found["handoffs"], found["behind"]) == (2, 1, 2)
    time.now += 60
    standing.begin([Partitions(disk, ["1", "2"], ["9"], [])])
    found = entry(standing)
    assert (found["behind_since"], found["checked"]) == (time.now - 65, time.now - 60)


def test_an_empty_disk_is_in_order(time):
    standing = Standing()
    standing.begin([Partitions(holding(), [], [], [])])
    assert (entry(standing)["remaining"], entry(standing)["total"]) == (0.0, 0)


def families(section, path):
    return {
        f.name: f for f in state_families(section, {"recon_cache_path": str(path), "devices": str(path)})()
    }


def test_metrics_and_the_recon_filter_tell_of_it(tmp_path):
    standing = Standing("object_reconstruction_standing")
    disk = holding()
    standing.begin([Partitions(disk, ["1", "2"], [], [])])
    standing.note(disk, "1", True)
    recon_cache.dump(standing.recon(), str(tmp_path / "object.recon"), Logger())
    found = families("object-server", tmp_path)
    assert [s.value for s in found["swift_object_reconstruction_done"].samples] == [1]
    assert [s.value for s in found["swift_object_reconstruction_total"].samples] == [2]
    devices = {
        "sda": {"databases": 5, "failures": 0, "handoffs": 1, "last": 7.0, "last_without_failure": 6.0},
        "sdb": {"databases": 5, "pass": {"done": 1, "expected": 5, "began": 1.0, "remaining": 4.0}},
        "sdc": {"pass": {"done": 1, "expected": None, "began": 1.0, "remaining": None}},
        "sdd": "nonsense",
    }
    recon_cache.dump({"replication_per_device": devices}, str(tmp_path / "container.recon"), Logger())
    found = families("container-server", tmp_path)
    remaining = found["swift_container_replication_remaining"].samples
    assert {s.labels["device"]: s.value for s in remaining} == {"sda": 0, "sdb": 4.0}
    assert [s.value for s in found["swift_container_replication_last_without_failure"].samples] == [6.0]
    assert "swift_account_replication_last" not in found

    def ask(path):
        told = []
        app = ReconMiddleware(None, {"recon_cache_path": str(tmp_path), "devices": str(tmp_path)}, Logger())
        body = app({"PATH_INFO": path, "REQUEST_METHOD": "GET"}, lambda *args: told.append(args))
        return told[0][0], json.loads(b"".join(body))

    assert ask("/recon/standing/container") == ("200 OK", {"replication_per_device": devices})
    status, found = ask("/recon/standing/object")
    assert found["object_replication_standing"] is None
    assert found["object_reconstruction_standing"]["sda"]["1"]["total"] == 2
