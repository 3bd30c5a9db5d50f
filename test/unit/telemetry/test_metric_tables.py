"""Counts of several processes shown by one: workers, daemons, those that have ended; and who may read them."""

import os
import subprocess
import sys

import pytest

from swift.core import policy
from swift.core.concurrency import Timeout, raw_threading, sleep, spawn, use_fast_hub
from swift.proxy.error_limit import ErrorLimiter
from swift.proxy.node_health import NodeHealth
from swift.telemetry import disk_watch, families, metric_table, prometheus, shared_tables
from swift.telemetry.disk_watch import DiskWatch
from swift.telemetry.metric_table import Table, retire
from swift.telemetry.metrics import get_metrics
from swift.telemetry.node_metrics import state_families
from swift.telemetry.served import Served
from swift.telemetry.shared_tables import COMPONENT, NodeTables
from swift.wire.client import BackendError, BackendTimeout, ConnectError

use_fast_hub()


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    table = Table("object-server")
    for module in (metric_table, prometheus, shared_tables):
        monkeypatch.setattr(module, "TABLE", table)
    monkeypatch.setattr(table, "looks", [])
    monkeypatch.setattr(shared_tables, "NODE_TABLES", NodeTables())
    monkeypatch.setattr("swift.telemetry.metrics.NODE_TABLES", shared_tables.NODE_TABLES)
    monkeypatch.setattr("swift.proxy.node_health.TABLE", table)
    return table


def shown(**options):
    text = prometheus.exposition(**options).decode()
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_what_a_process_is_like_goes_with_it_and_what_it_counted_stays(fresh, tmp_path):
    one, total = Table("object-server"), Table()
    one.looks = [
        lambda: [
            ((families.CONNECTIONS, "object-server", "open"), 7.0),
            ((families.REFUSED, "object-server", "requests"), 3.0),
            ((families.LIMITED_NODES, "object-server"), 2.0),
        ]
    ]
    one.observe((families.LOOP_LAG, "object-server"), 0.2)
    for name in ("1", "2"):
        metric_table.write_table(str(tmp_path / name), one.as_json())
        total.add_json(one.as_json())
    assert total.values[families.CONNECTIONS, "object-server", "open"] == 14
    assert total.values[families.REFUSED, "object-server", "requests"] == 6
    assert total.values[families.LIMITED_NODES, "object-server"] == 2
    for name in ("1", "2"):
        retire(str(tmp_path), str(tmp_path / name))
    dead = Table()
    dead.looks = []
    dead.add_json(metric_table.read_table(str(tmp_path / "dead")))
    assert os.listdir(tmp_path) == ["dead"]
    assert dead.values == {(families.REFUSED, "object-server", "requests"): 6}
    assert dead.histograms[families.LOOP_LAG, "object-server"] == [0, 0, 0, 2, 0, 0, 2, 0.4]


def test_a_table_of_another_version_is_passed_over(fresh):
    fresh.observe((families.LOOP_LAG, "x"), 0.2)
    before = dict(fresh.histograms)
    for other in (
        {"histograms": [[families.LOOP_LAG, "x", [1, 2]]]},
        {"counts": 5},
        {"counts": [["a"]]},
        {"values": [[families.REFUSED, "x", "y", "many"]]},
        {"times": [["a", "b", None]]},
    ):
        fresh.add_json(other)
        assert fresh.histograms == before
    assert prometheus.exposition()


def test_answers_of_nodes_are_counted_by_what_they_are_for(fresh):
    fresh.waited("10.0.0.1", 6202, "REPLICATE", "/sdb1/7/hash", 200, 0.001)
    fresh.waited("10.0.0.1", 6202, "HEAD", "/sdb1/7/AUTH_a", 204, 0.002)
    fresh.waited("10.0.0.1", 6201, "GET", "/sdb1/7/AUTH_a/c?prefix=a/b/c", 200, 0.3)
    fresh.waited("10.0.0.1", 6200, "PUT", "/sdb1/7/AUTH_a/c/o/with/slashes", 201, 0.02)
    fresh.waited("10.0.0.1", 6200, "REPLICATE", "/sdb1/7", 200, 0.5)
    kinds = {key[2:5] for key in fresh.histograms}
    assert kinds == {
        ("", "REPLICATE", "200"),
        ("account", "HEAD", "204"),
        ("container", "GET", "200"),
        ("object", "PUT", "201"),
        ("object", "REPLICATE", "200"),
    }
    fresh.look()
    assert fresh.values[families.NODE_WAITS, "object-server", "10.0.0.1:6200"] == 2
    assert fresh.values[families.NODE_SECONDS, "object-server", "10.0.0.1:6200"] == 0.52


def test_names_that_clients_choose_are_in_no_label_and_series_are_bounded(fresh, monkeypatch):
    monkeypatch.setattr(metric_table, "MAX_SERIES", 5)
    for number in range(50):
        fresh.waited(f"10.0.0.{number}", 6200, "GET", f"/sdb1/7/AUTH_secret/c{number}/o", 200, 0.1)
        fresh.request(
            "proxy-server", "GET", str(200 + number), f"{number}x" if number % 2 else "1", 0.1, 1, 1
        )
    text = prometheus.exposition()
    assert b"secret" not in text and len(fresh.histograms) < 9 and len(fresh.values) < 16
    assert b'node="other"' in text


def test_no_policy_is_shown_that_there_is_not(fresh, tmp_path):
    """Who is refused at the door may name any."""
    (tmp_path / "swift.conf").write_text(
        "[storage-policy:0]\nname = a\ndefault = yes\n[storage-policy:1]\nname = b\n"
    )
    before = policy.policies()
    policy.load_policies(str(tmp_path))
    try:
        meter = prometheus.RequestMeter("proxy-server")
        for named in ("", "0", "1", "01", "abc", "7", '"}', "1" * 5000, "\xb2"):
            environ = {"REQUEST_METHOD": "GET", "HTTP_X_BACKEND_STORAGE_POLICY_INDEX": named}
            meter.on_done(Served(environ, 503, [], 0, 0, None, 0.0, 0.0))
        assert {key[4] for key in fresh.histograms} == {"", "0", "1", "other"}
    finally:
        policy.set_policies(before)


def test_a_table_that_is_a_link_leads_nowhere(tmp_path):
    (tmp_path / "other").write_text("as it was")
    for name in ("dead.tmp", "7"):
        os.symlink(tmp_path / "other", tmp_path / name)
    os.mkfifo(tmp_path / "8")
    assert not metric_table.write_table(str(tmp_path / "dead"), {"counts": []})
    assert metric_table.read_table(str(tmp_path / "7")) is None
    assert metric_table.read_table(str(tmp_path / "8")) is None
    assert (tmp_path / "other").read_text() == "as it was"


def test_errors_of_nodes_by_what_went_wrong(fresh):
    class Log:
        def error(self, *args):
            pass

    node = {"ip": "10.0.0.1", "port": 6200, "device": "sdb1"}
    health = NodeHealth(ErrorLimiter(limit=1), Log())
    for error in (
        ConnectError("x"),
        BackendTimeout("x"),
        TimeoutError("x"),
        BackendError("x"),
        Timeout(None),
    ):
        health.failed(node, error, "GET /a")
    found = {key[4]: value for key, value in fresh.values.items() if key[0] == families.BACKEND_ERRORS}
    assert found == {"connect": 1, "timeout": 3, "broken": 1}
    assert health.limiter.limited() == 1


# -- daemons


def test_daemons_of_a_node_are_shown_by_the_server_of_their_kind(fresh, tmp_path):
    mine, other = {"recon_cache_path": str(tmp_path / "1")}, {"recon_cache_path": str(tmp_path / "2")}
    tables = shared_tables.NODE_TABLES
    for conf in (mine, other):
        os.mkdir(conf["recon_cache_path"])
        tables.leave(conf, "daemons")
    for conf, section in ((mine, "object-auditor"), (mine, "container-sharder"), (other, "object-auditor")):
        counts = get_metrics({**conf, COMPONENT: section}, "log-name-of-the-file")
        counts.increment("quarantines")
        counts.gauge("handoffs.sdb1", 4)
    tables.write()
    fresh.directory = None
    for table in (fresh.counts, fresh.levels):
        table.clear()
    found = shown(section="object-server", daemons_at=mine["recon_cache_path"])
    assert found['swift_events_total{component="object-auditor",event="quarantines"}'] == "1.0"
    assert found['swift_level{component="object-auditor",event="handoffs.sdb1"}'] == "4.0"
    assert "sharder" not in str(found)
    # the process of all daemons is told of by object servers; those of one kind are known by their names
    assert "auditor" not in str(shown(section="container-server", daemons_at=mine["recon_cache_path"]))


_DAEMON = """
import os, sys
from swift.core import concurrency
concurrency.patch()
from swift.telemetry.shared_tables import NODE_TABLES
from swift.telemetry.metrics import get_metrics
conf = {"recon_cache_path": sys.argv[1], "__component__": "object-updater"}
NODE_TABLES.leave(conf, "object-updater")
get_metrics(conf, "x").increment("successes")
get_metrics(conf, "x").gauge("level", 1)
NODE_TABLES.write()
print("swift", flush=True)
sys.stdin.readline()
"""


def test_counts_of_a_daemon_outlive_it_and_its_next_start(fresh, tmp_path):
    def start():
        child = subprocess.Popen(
            [sys.executable, "-c", _DAEMON, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        child.stdout.readline()
        return child

    def events():
        found = shown(section="object-server", daemons_at=str(tmp_path))
        key = '{component="object-updater",event='
        return found.get(f'swift_events_total{key}"successes"}}'), found.get(f'swift_level{key}"level"}}')

    first = start()
    assert events() == ("1.0", "1.0")
    first.kill()
    first.communicate()
    (tmp_path / "metrics" / f"object-updater~{first.pid}.tmp").write_text("{")
    assert events() == ("1.0", None)
    second = start()
    assert events() == ("2.0", "1.0")
    assert len(os.listdir(tmp_path / "metrics")) == 2
    second.kill()
    second.communicate()


def test_a_daemon_that_is_started_anew_in_its_process_goes_on_counting(fresh, tmp_path):
    conf = {"recon_cache_path": str(tmp_path), COMPONENT: "object-updater"}
    shared_tables.NODE_TABLES.leave(conf, "object-updater")
    get_metrics(conf, "x").increment("successes")
    shared_tables.NODE_TABLES.write()
    fresh.forget()
    fresh.directory = None
    NodeTables().leave(conf, "object-updater")
    fresh.directory = None
    found = shown(section="object-server", daemons_at=str(tmp_path))
    assert found['swift_events_total{component="object-updater",event="successes"}'] == "1.0"


def test_a_recon_folder_that_is_not_there_stops_no_daemon(fresh, tmp_path):
    shared_tables.NODE_TABLES.leave({"recon_cache_path": str(tmp_path / "nowhere")}, "object-updater")
    (tmp_path / "file").write_text("")
    shared_tables.NODE_TABLES.leave({"recon_cache_path": str(tmp_path / "file")}, "object-updater")
    assert not shared_tables.NODE_TABLES.tables


@pytest.mark.parametrize(
    ("section", "name", "expected"),
    [
        ("object-server", "object-replicator", True),
        ("object-server", "container-sharder", False),
        ("container-server", "s3-lifecycle", True),
        ("object-server", "s3-lifecycle", False),
        ("account-server", "proxy-server", False),
        ("proxy-server", "tempauth.AUTH_", True),
        ("", "object-replicator", True),
    ],
)
def test_each_is_shown_by_one_server_of_a_node(section, name, expected):
    assert prometheus.shows(section, name) is expected


# -- who may read


@pytest.mark.parametrize(
    ("allowed", "address", "expected"),
    [
        ("", "203.0.113.9", True),
        ("10.0.0.0/8, 127.0.0.1", "10.2.3.4", True),
        ("10.0.0.0/8, 127.0.0.1", "::ffff:10.2.3.4", True),
        ("10.0.0.0/8, 127.0.0.1", "127.0.0.2", False),
        ("fd00::/8", "fd00::1", True),
        ("fd00::/8", "10.0.0.1", False),
        ("10.0.0.0/8", "", False),
        ("10.0.0.0/8", "somebody", False),
    ],
)
def test_metrics_allow(allowed, address, expected):
    assert prometheus.Readers(allowed).include({"REMOTE_ADDR": address}) is expected


class State:
    """Notes how often it was asked."""

    def __init__(self):
        self.asked = 0
        self.fault = None

    daemons_at = None

    def prepare(self):
        sleep(0.05)

    def __call__(self):
        self.asked += 1
        if self.fault:
            raise self.fault
        return ()


def test_who_asks_at_the_same_time_hears_the_same(fresh):
    state = State()
    app = prometheus.with_endpoint(None, state=state)
    environ = {"PATH_INFO": "/metrics", "REQUEST_METHOD": "GET"}

    def ask():
        started = []
        body = b"".join(app(environ, lambda *args: started.append(args)))
        return started[0][0], body

    for round_ in (1, 2):
        answers = [asked.wait() for asked in [spawn(ask) for _ in range(20)]]
        assert {status for status, _ in answers} == {"200 OK"} and state.asked == round_
    state.fault = ValueError("x")
    for asked in [spawn(ask) for _ in range(2)]:
        with pytest.raises(ValueError):
            asked.wait()
    state.fault = None
    assert ask()[0] == "200 OK"


def test_for_others_there_is_no_such_path(fresh):
    def app(environ, start_response):
        start_response("404 Not Found", [])
        return [b"nothing"]

    endpoint = prometheus.with_endpoint(app, "/metrics", allowed="10.0.0.0/8")
    environ = {"PATH_INFO": "/metrics", "REQUEST_METHOD": "GET", "REMOTE_ADDR": "192.0.2.1"}
    assert endpoint(environ, lambda *args: None) == [b"nothing"]
    with pytest.raises(ValueError, match="metrics_allow"):
        prometheus.with_endpoint(app, "/metrics", allowed="10.0.0.300")


# -- disks


def test_a_disk_that_hangs_hides_nothing_of_the_others(tmp_path, monkeypatch):
    for name in ("good", "hung"):
        (tmp_path / "disks" / name / "quarantined" / "objects" / "a").mkdir(parents=True)
    (tmp_path / "disks" / "a file").write_text("")
    monkeypatch.setattr(disk_watch, "LOOK_SECONDS", 0.5)
    conf = {"devices": str(tmp_path / "disks"), "mount_check": "no", "recon_cache_path": str(tmp_path)}
    state = state_families("object-server", {**conf, "swift_dir": str(tmp_path)})
    watch = disk_watch.watch_of(conf)
    release = raw_threading.Event()
    is_usable = watch.disks.is_usable
    looks = []

    def hanging(name):
        looks.append(name)
        if name == "hung":
            release.wait(60)
        return is_usable(name)

    watch.disks.is_usable = hanging
    try:
        for _ in range(3):
            state.prepare()
        found = shown(state=state)
        assert found['swift_disk_answers{device="good"}'] == "1.0"
        assert found['swift_disk_answers{device="hung"}'] == "0.0"
        assert float(found['swift_disk_size_bytes{device="good"}']) > 0
        assert found['swift_quarantined{kind="objects",policy="0"}'] == "1.0"
        assert looks.count("hung") == 1 and looks.count("good") == 3
        assert watch.usable() == ["good"]
    finally:
        release.set()


def test_disks_that_can_not_be_listed_or_are_not_mounted(tmp_path):
    watch = DiskWatch({"devices": str(tmp_path / "nowhere")})
    watch.look()
    assert watch.usable() == [] and watch.unlisted
    (tmp_path / "sdb1").mkdir()
    watch = DiskWatch({"devices": str(tmp_path)})
    watch.look()
    assert watch.names == ["sdb1"] and watch.usable() == [] and watch.seen["sdb1"].mounted is False
