"""What the operator's view asks of storage nodes, and what it makes of their answers and their silence."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from swift.console import nodes as module
from swift.console.nodes import Nodes
from swift.core import clock, policy
from swift.core.concurrency import GreenPool, sleep
from swift.core.hashing import set_hash_config
from swift.ring.builder import RingBuilder
from swift.ring.lookup import Ring
from swift.survey.rings import ClusterRings
from swift.wire import direct


class Rings:
    def __init__(self, *devices):
        self._devices = devices

    def devices(self):
        return iter(self._devices)

    def told(self):
        return {"rings": []}


def device(ip, port, name, **more):
    return {"ip": ip, "port": port, "device": name, "region": 1, "zone": 2, "weight": 3.0, **more}


class Answers:
    """Stands for the network: (ip, port, check) → a document, or an error that is raised."""

    def __init__(self, told):
        self.told = told
        self.asked = Counter()

    def __call__(self, node, method, path, **options):
        key = node["ip"], node["port"], path.removeprefix("/recon/").rstrip("/")
        self.asked[key] += 1
        assert (method, node["device"]) == ("GET", "")
        sleep(0)
        answer = self.told.get(key, self.told.get(key[2], {}))
        if isinstance(answer, Exception):
            raise answer
        return Response(answer)


class Response:
    def __init__(self, answer):
        self.body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    def read_all(self, limit):
        assert len(self.body) <= limit
        return self.body


@pytest.fixture
def network(monkeypatch):
    def make(told):
        answers = Answers(told)
        monkeypatch.setattr(direct, "call", answers)
        return answers

    return make


def refused(status=None, reason="refused"):
    return direct.DirectError("GET", {}, "/recon/version", "10.0.0.1", 6200, status, reason)


def told(*devices):
    return Nodes(Rings(*devices), "/nowhere", None).told()


def test_hosts_servers_and_disks(network):
    network({"version": {"version": "1.2"}, "diskusage": [{"device": "sda", "size": 10, "used": 5}], "mem": {"MemTotal": "9 kB", "Other": 1}})  # fmt: skip
    found = told(
        ("account", device("10.0.0.1", 6202, "sda", weight=1.0)),
        ("object", device("10.0.0.1", 6200, "sda")),
        ("object", device("10.0.0.1", 6200, "sdb", weight=0.0)),
        ("object", device("10.0.0.2", 6200, "sdc")),
    )
    first, second = found["hosts"]
    assert [host["ip"] for host in found["hosts"]] == ["10.0.0.1", "10.0.0.2"]
    assert [(server["kind"], server["port"], server["version"], server["error"]) for server in first["servers"]] == [("object", 6200, "1.2", ""), ("account", 6202, "1.2", "")]  # fmt: skip
    assert first["devices"] == [
        {"device": "sda", "region": 1, "zone": 2, "weight": 3.0, "kinds": ["account", "object"]},
        {"device": "sdb", "region": 1, "zone": 2, "weight": 0.0, "kinds": ["object"]},
    ]
    assert first["checks"]["mem"] == {"MemTotal": "9 kB", "MemAvailable": None}
    assert "replication/account" in first["checks"] and "replication/account" not in second["checks"]
    assert "replication/object" in second["checks"] and found["hosts_left_out"] == 0


def test_a_node_that_is_silent_holds_up_nobody(network, monkeypatch):
    monkeypatch.setattr(module, "HOST_SECONDS", 0.2)
    answers = network({"version": {"version": "1"}})

    class Hangs(Answers):
        def __call__(self, node, method, path, **options):
            if node["ip"] == "10.0.0.1" and "load" in path:
                sleep(60)
            return super().__call__(node, method, path, **options)

    monkeypatch.setattr(direct, "call", Hangs(answers.told))
    first, second = told(("object", device("10.0.0.1", 6200, "a")), ("object", device("10.0.0.2", 6200, "b")))["hosts"]  # fmt: skip
    assert first["servers"][0]["error"] == "" and first["checks"] == {}
    assert "async" in second["checks"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refused(), "refused"),
        (refused(404, "Not Found"), "its pipeline has no recon filter, or an older one"),
        (refused(503, "Busy"), "HTTP Error 503: Busy"),
        (b"<html>", "Expecting value: line 1 column 1 (char 0)"),
        (b"\xff\xfe", None),
    ],
)
def test_who_does_not_answer_is_told_of(network, answer, error):
    answers = network({("10.0.0.1", 6200, "version"): answer, "version": {"version": "1"}})
    (host,) = told(("object", device("10.0.0.1", 6200, "a")), ("account", device("10.0.0.1", 6202, "a")))[
        "hosts"
    ]
    wrong, right = host["servers"]
    assert wrong["error"] and (error is None or wrong["error"] == error)
    assert right["error"] == "" and "load" in host["checks"]
    assert answers.asked["10.0.0.1", 6200, "load"] == 0  # whoever is silent is asked no more


@pytest.mark.parametrize(
    "answer",
    [[], None, 7, "text", {"version": None}, [[[]]], [{"device": []}, {"device": {}}, {"device": "b"}]],
)
def test_answers_of_another_form_break_nothing(network, answer):
    network({"version": answer, "diskusage": answer, "mem": answer})
    (host,) = told(("object", device("10.0.0.1", 6200, "a")), ("object", device("10.0.0.1", 6210, "b")))[
        "hosts"
    ]
    assert host["servers"][0]["error"] == ""


def test_a_server_that_is_silent_holds_up_no_other_of_its_host(network, monkeypatch):
    monkeypatch.setattr(module, "LIFE_SECONDS", 0.2)
    answers = network({"version": {"version": "1"}})

    class Hangs(Answers):
        def __call__(self, node, method, path, **options):
            if node["port"] < 6210:
                sleep(60)
            return super().__call__(node, method, path, **options)

    monkeypatch.setattr(direct, "call", Hangs(answers.told))
    found = told(*[("object", device("10.0.0.1", 6200 + port, "a")) for port in range(12)])
    (host,) = found["hosts"]
    assert [server["error"] for server in host["servers"]] == ["no answer in time"] * 10 + ["", ""]
    assert "load" in host["checks"] and found["seconds"] < module.HOST_SECONDS


def test_what_no_page_could_read_is_not_told(network):
    network({"version": {"version": "1"}, "load": b'{"1m": NaN, "5m": Infinity}', "time": b"[" * 100_000})
    (host,) = told(("object", device("10.0.0.1", 6200, "a")))["hosts"]
    assert host["checks"]["load"] == {"1m": None, "5m": None}
    assert host["checks"]["time"]["error"]


def test_storage_servers_that_share_an_address_each_tell_of_their_disks(network):
    network({
        "version": {"version": "1"},
        ("127.0.0.1", 6210, "diskusage"): [{"device": "sdb1"}, {"device": "spare"}],
        ("127.0.0.1", 6220, "diskusage"): [{"device": "sdb2"}, {"device": "sdb1"}, 5],
    })  # fmt: skip
    (host,) = told(("object", device("127.0.0.1", 6210, "sdb1")), ("object", device("127.0.0.1", 6220, "sdb2")))["hosts"]  # fmt: skip
    assert [disk["device"] for disk in host["checks"]["diskusage"]] == ["sdb1", "spare", "sdb2"]


def test_who_looks_at_the_same_time_hears_the_same(network, monkeypatch):
    answers = network({"version": {"version": "1"}})
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    view = Nodes(Rings(("object", device("10.0.0.1", 6200, "a"))), "/nowhere", None)
    seen = list(GreenPool(8).imap(lambda _: view.told(), range(8)))
    assert all(each is seen[0] for each in seen)
    assert answers.asked["10.0.0.1", 6200, "version"] == 1
    now[0] += module.KEPT_SECONDS + 0.1
    assert view.told() is not seen[0]
    assert answers.asked["10.0.0.1", 6200, "version"] == 2


def test_there_is_an_end_to_hosts_and_servers(network, monkeypatch):
    monkeypatch.setattr(module, "MOST_HOSTS", 3)
    answers = network({"version": {"version": "1"}})
    many = [
        ("object", device(f"10.0.0.{host}", 6200 + port, "a")) for host in range(1, 6) for port in range(20)
    ]
    found = told(*many)
    assert (len(found["hosts"]), found["hosts_left_out"]) == (3, 2)
    assert [host["servers_left_out"] for host in found["hosts"]] == [4, 4, 4]
    assert len({key[:2] for key in answers.asked}) == 3 * module.MOST_SERVERS


def test_a_cluster_that_is_away_is_not_asked_for_ever(network, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 2)
    now = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])

    class Slow(Answers):
        def __call__(self, *args, **options):
            now[0] += 10
            raise refused(reason="timed out")

    monkeypatch.setattr(direct, "call", Slow({}))
    hosts = told(*(("object", device(f"10.0.0.{host}", 6200, "a")) for host in range(20)))["hosts"]
    errors = [host["servers"][0]["error"] for host in hosts]
    assert errors[:2] == ["timed out"] * 2
    assert errors[5:] == ["not asked, as others took too long"] * 15


def test_what_needs_attention_is_told_with_the_nodes(network):
    network({
        "version": {"version": "1"},
        ("10.0.0.2", 6200, "version"): refused(),
        "driveaudit": {"drive_audit_errors": 2},
        "time": clock.time() + 60,
    })  # fmt: skip
    found = told(("object", device("10.0.0.1", 6200, "sda")), ("object", device("10.0.0.2", 6200, "sda")))
    texts = {one["text"]: one["level"] for one in found["findings"]}
    assert texts["1 object server of 2 away: 10.0.0.2:6200 (refused)."] == "wrong"
    assert texts["The kernels have seen 2 errors of disks: 10.0.0.1:6200."] == "wrong"
    assert any(text.startswith("The clocks of 1 server differ") for text in texts)
    assert 59 < found["hosts"][0]["offset"] < 61 and found["hosts"][1]["offset"] is None


# -- rings


@pytest.fixture
def swift_dir(tmp_path):
    set_hash_config(b"a", b"b")
    for name, weights in (("account", (1, 1, 1)), ("object", (1, 2, 1))):
        builder = RingBuilder(6, 1, 0)
        for at, weight in enumerate(weights):
            builder.add_dev(device(f"10.0.0.{at + 1}", 6200, "sda", zone=at, weight=float(weight), replication_ip="10.0.0.1", replication_port=6200, meta=""))  # fmt: skip
        builder.rebalance()
        builder.get_ring().save(str(tmp_path / f"{name}.ring.gz"))
    return str(tmp_path)


class Log:
    def __init__(self):
        self.lines = []

    def error(self, *args):
        self.lines.append(args[0] % args[1:])


def test_what_rings_say(swift_dir):
    log = Log()
    rings = {each["name"]: each for each in ClusterRings(swift_dir, log).told()["rings"]}
    assert rings["container"]["missing"] and "container" in log.lines[0]
    ring = rings["object"]
    assert (ring["policy"], ring["partitions"], ring["replicas"]) == (policy.policies().default.name, 64, 1.0)
    assert [device["parts"] for device in ring["devices"]] == [16, 32, 16]
    assert [device["wanted"] for device in ring["devices"]] == [16.0, 32.0, 16.0]
    assert ring["balance"] == 0.0
    account = rings["account"]
    assert sum(device["parts"] for device in account["devices"]) == 64
    assert account["balance"] == max(abs(device["off"]) for device in account["devices"]) > 0


def test_a_device_that_is_drained_is_no_imbalance(swift_dir):
    builder = RingBuilder(6, 1, 0)
    for at, weight in enumerate((1.0, 0.0)):
        builder.add_dev(device("10.0.0.1", 6200, f"sd{at}", zone=at, weight=weight, replication_ip="10.0.0.1", replication_port=6200, meta=""))  # fmt: skip
    builder.rebalance()
    builder.get_ring().save(f"{swift_dir}/container.ring.gz")
    rings = {each["name"]: each for each in ClusterRings(swift_dir, Log()).told()["rings"]}
    assert rings["container"]["balance"] == 0.0
    assert [device["parts"] for device in rings["container"]["devices"]] == [64, 0]


def test_rings_are_counted_once_and_again_when_they_have_changed(swift_dir, monkeypatch):
    counted = []
    count = Ring.parts_by_device
    monkeypatch.setattr(Ring, "parts_by_device", lambda ring: counted.append(ring.md5) or count(ring))
    view = ClusterRings(swift_dir, Log())
    first = view.told()["rings"][0]
    assert view.told()["rings"][0]["devices"] is first["devices"]
    builder = RingBuilder(6, 1, 0)
    builder.add_dev(
        device("10.0.0.9", 6200, "sda", replication_ip="10.0.0.9", replication_port=6200, meta="")
    )
    builder.rebalance()
    builder.get_ring().save(f"{swift_dir}/account.ring.gz")
    later = clock.monotonic() + 60
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    (only,) = view.told()["rings"][0]["devices"]
    assert (only["ip"], only["parts"]) == ("10.0.0.9", 64)
    assert counted.count(first["md5"]) == 1
