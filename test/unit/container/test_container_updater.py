"""The container-updater: news reach all account servers, a majority settles them, nothing is moved aside."""

import json
import os
import time

import pytest

from swift.container import updater as updater_module
from swift.container.broker import ContainerBroker
from swift.container.server import ContainerServer
from swift.container.updater import ContainerUpdater
from swift.core.concurrency import Event, sleep, spawn
from swift.db import walker as walker_module
from swift.engine.threads import DeviceStuck
from test.databases import Logger, call, make_conf


class Ring:
    def get_nodes(self, account):
        return 5, [
            {
                "ip": "127.0.0.9",
                "port": 1,
                "replication_ip": "127.0.0.1",
                "replication_port": 6000 + n,
                "device": f"sd{n}",
            }
            for n in range(3)
        ]


class Cluster:
    def __init__(self, tmp_path, monkeypatch):
        self.conf = {**make_conf(tmp_path), "recon_cache_path": str(tmp_path), "containers_per_second": "0"}
        self.app = ContainerServer(self.conf, Logger())
        self.logger = Logger()
        self.logger.debug = self.logger.notice = self.logger.info
        self.updater = ContainerUpdater(self.conf, self.logger, Ring())
        self.sent = []
        self.statuses = [201, 201, 201]

        def put(reports, node, path, headers):
            self.sent.append(
                (node, path, dict(line.split(": ", 1) for line in headers.decode().split("\r\n") if line))
            )
            return self.statuses[node.port - 6000]

        monkeypatch.setattr("swift.container.account_update.AccountReports._put", put)

    def container(self, name="c", **headers):
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        status, _, _ = call(
            self.app, "PUT", f"/sda1/1/AUTH_a/{name}", "", {"X-Timestamp": "1700000000.00000", **named}
        )
        assert status == 201

    def row(self, name):
        headers = {"X-Timestamp": "1700000001.00000", "X-Size": "7", "X-Content-Type": "t", "X-Etag": "e"}
        assert call(self.app, "PUT", f"/sda1/1/AUTH_a/{name}/o", "", headers)[0] == 201

    def sweep(self):
        self.sent.clear()
        self.updater.run_once()
        return sorted((node.device, headers["X-Object-Count"]) for node, _, headers in self.sent)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    return Cluster(tmp_path, monkeypatch)


def test_news_are_reported_once(cluster):
    cluster.container()
    cluster.row("c")
    assert cluster.sweep() == [("sd0", "1"), ("sd1", "1"), ("sd2", "1")]
    node, path, headers = cluster.sent[0]
    assert (node.ip, path) == ("127.0.0.1", "/5/AUTH_a/c")
    assert headers["X-Account-Override-Deleted"] == "yes"
    assert headers["X-Put-Timestamp"] == "1700000000.00000"
    assert headers["X-Bytes-Used"] == "7"
    assert headers["User-Agent"] == f"container-updater {os.getpid()}"
    assert cluster.sweep() == []
    call(cluster.app, "POST", "/sda1/1/AUTH_a/c", "", {"X-Timestamp": "1700000005.00000"})
    assert len(cluster.sweep()) == 3
    call(cluster.app, "DELETE", "/sda1/1/AUTH_a/c/o", "", {"X-Timestamp": "1700000006.00000"})
    assert cluster.sweep() == [("sd0", "0"), ("sd1", "0"), ("sd2", "0")]
    call(cluster.app, "DELETE", "/sda1/1/AUTH_a/c", "", {"X-Timestamp": "1700000007.00000"})
    cluster.sweep()
    assert cluster.sent[0][2]["X-Delete-Timestamp"] == "1700000007.00000"
    assert cluster.sweep() == []


@pytest.mark.parametrize(
    "statuses, settled", [([201, 204, 500], True), ([201, 0, 507], False), ([0, 0, 0], False)]
)
def test_a_majority_settles_it(cluster, statuses, settled):
    cluster.container()
    cluster.statuses = statuses
    assert len(cluster.sweep()) == 3
    cluster.updater._suppressed.clear()
    assert (cluster.sweep() == []) == settled


def test_an_account_that_fails_is_left_alone_for_a_while(cluster):
    cluster.container("c")
    cluster.container("d")
    cluster.updater.concurrency = 1
    cluster.statuses = [500, 500, 500]
    assert len(cluster.sweep()) == 3, "the second container of the account must wait"
    assert cluster.sweep() == []
    cluster.updater._suppressed = dict.fromkeys(cluster.updater._suppressed, time.time() - 1)
    cluster.statuses = [201] * 3
    assert len(cluster.sweep()) == 6


def test_a_container_of_an_unknown_account_stays_where_it_is(cluster):
    """The reference quarantines it, and with a wrong account ring all containers."""
    cluster.container()
    cluster.statuses = [404, 404, 404]
    cluster.sweep()
    assert call(cluster.app, "HEAD", "/sda1/1/AUTH_a/c")[0] == 204
    assert any("No account server knows" in line for line in cluster.logger.lines)


def test_a_shard_reports_nothing_of_its_own(cluster):
    cluster.container("c", X_Container_Sysmeta_Shard_Quoted_Root="AUTH_a/root")
    cluster.row("c")
    assert cluster.sweep() == [("sd0", "0"), ("sd1", "0"), ("sd2", "0")]


def test_what_has_not_changed_is_not_opened_again(cluster, monkeypatch):
    monkeypatch.setattr("swift.container.unchanged.is_settled", lambda *_: True)
    cluster.container()
    cluster.sweep()
    assert cluster.sweep() == []
    assert cluster.sweep() == []
    monkeypatch.setattr(ContainerBroker, "info", None)
    assert cluster.sweep() == []
    assert "1 with no changes" in cluster.logger.lines[-1]


def test_reports_are_repeated_now_and_then(cluster):
    cluster.container()
    cluster.sweep()
    cluster.sent.clear()
    assert cluster.updater._sweep(resend=True).successes == 1, "nothing is known of when it was reported last"
    assert len(cluster.sent) == 3
    assert cluster.updater._sweep(resend=True).successes == 0
    resends = cluster.updater._resends["sda1"]
    resends._since -= 86400
    cluster.statuses = [500] * 3
    assert cluster.updater._sweep(resend=True).failures == 1
    cluster.statuses = [201] * 3
    assert cluster.updater._sweep(resend=True).successes == 0, "the account is left alone for a while"
    cluster.updater._suppressed.clear()
    assert cluster.updater._sweep(resend=True).successes == 1, "what could not be reported is still due"
    assert cluster.updater._sweep(resend=True).successes == 0


def test_a_report_that_one_account_server_missed_is_sent_again(cluster):
    """It may hold an older count in a newer row, which wins when the account's replicas meet."""
    cluster.container()
    cluster.updater._sweep(resend=True)
    cluster.row("c")
    cluster.statuses = [201, 201, 503]
    assert cluster.updater._sweep(resend=True).successes == 1
    for statuses in ([201, 201, 0], [201, 201, 201]):
        cluster.statuses = statuses
        cluster.sent.clear()
        assert cluster.updater._sweep(resend=True).successes == 1
        assert [headers["X-Object-Count"] for _, _, headers in cluster.sent] == ["1"] * 3
    assert cluster.updater._sweep(resend=True).successes == 0


def test_a_damaged_database_does_not_end_the_sweep(cluster):
    cluster.container("c")
    cluster.container("d")
    _, path = next(cluster.updater.walker.databases())
    with open(path, "r+b") as file:
        file.write(b"\0" * 4096)
    assert len(cluster.sweep()) == 3
    assert os.listdir(f"{cluster.conf['devices']}/sda1/quarantined/containers")


def test_figures(cluster, tmp_path):
    cluster.container()
    cluster.sweep()
    assert "1 successes, 0 failures, 0 with no changes" in cluster.logger.lines[-1]
    assert json.loads((tmp_path / "container.recon").read_text())["container_updater_sweep"] > 0


def test_disks_are_touched_in_their_threads_and_a_hung_one_stalls_no_other(cluster, tmp_path, monkeypatch):
    """All that touches a device goes through its pool; the sweep of another goes on meanwhile, and later the hung one is swept."""
    (tmp_path / "node" / "sdb1").mkdir()
    cluster.container("c")
    cluster.app.devices._devices.clear()
    headers = {"X-Timestamp": "1700000000.00000"}
    assert call(cluster.app, "PUT", "/sdb1/1/AUTH_a/d", "", headers)[0] == 201
    hung = str(tmp_path / "node" / "sda1")
    free = Event()
    held = []

    class Pool:
        inline = False

        def __init__(self, path):
            self.path = path

        def run(self, function, *args):
            if self.path == hung and function is not walker_module.is_there:
                held.append(function)
                if not free.ready():
                    free.wait()
                    raise DeviceStuck(self.path)
            inside.append(self.path)
            try:
                return function(*args)
            finally:
                inside.pop()

    inside = []
    pools = {}

    def pool_for(path, size=4):
        return pools.setdefault(path, Pool(path))

    def guarded(function):
        def call_it(path, *args):
            if os.fsdecode(path).startswith(str(tmp_path / "node") + "/"):
                assert inside, f"{function.__name__} of {path} in the event loop"
            return function(path, *args)

        return call_it

    monkeypatch.setattr(updater_module, "pool_for", pool_for)
    monkeypatch.setattr(walker_module, "pool_for", pool_for)
    for name in ("stat", "listdir", "open"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    sweep = spawn(cluster.updater.run_once)
    give_up = time.monotonic() + 20
    while len(cluster.sent) < 3 and time.monotonic() < give_up:
        sleep(0.01)
    assert {path for _, path, _ in cluster.sent} == {"/5/AUTH_a/d"} and held
    free.send(None)
    sweep.wait()
    assert any("left for the next time" in line for line in cluster.logger.lines)
    cluster.sent.clear()
    cluster.updater.run_once()
    assert {path for _, path, _ in cluster.sent} == {"/5/AUTH_a/c"}
