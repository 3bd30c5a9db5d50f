"""Reports from a container server to account servers over real sockets."""

import socket

import pytest

from swift.account.server import AccountServer
from swift.container.server import ContainerServer
from swift.core.concurrency import spawn
from swift.engine.sockets import listen
from swift.wire.connection_pool import POOL
from swift.wire.server import Server
from test.databases import Logger, call, make_conf


@pytest.fixture
def cluster(tmp_path):
    """(container app, [account apps], host header) with two account servers that run."""
    conf = make_conf(tmp_path)
    (tmp_path / "node" / "sdb1").mkdir()
    account = AccountServer(conf, Logger())
    servers, hosts = [], []
    for device in ("sda1", "sdb1"):
        sock = listen("127.0.0.1", 0)
        server = Server(sock, account, {}, Logger())
        servers.append((server, spawn(server.run)))
        hosts.append(f"127.0.0.1:{sock.getsockname()[1]}")
        assert call(account, "PUT", f"/{device}/7/AUTH_a", "", {"X-Timestamp": "1700000000.00000"})[0] == 201
    yield ContainerServer(conf, Logger()), account, hosts
    POOL.clear()
    for server, thread in servers:
        server.draining = True
        thread.kill()


def headers(hosts, devices="sda1,sdb1", timestamp="1700000001.00000"):
    return {
        "X-Timestamp": timestamp,
        "X-Account-Host": ",".join(hosts),
        "X-Account-Device": devices,
        "X-Account-Partition": "7",
        "X-Trans-Id": "tx1",
    }


def listed(account, device):
    return call(account, "GET", f"/{device}/7/AUTH_a")[2].split()


def test_all_are_told(cluster):
    app, account, hosts = cluster
    for name in ("c", "%E6%97%A5%20x"):
        assert call(app, "PUT", f"/sda1/1/AUTH_a/{name}", "", headers(hosts))[0] == 201
    assert listed(account, "sda1") == listed(account, "sdb1") == ["c", "日", "x"]
    assert call(app, "DELETE", "/sda1/1/AUTH_a/c", "", headers(hosts, timestamp="1700000002.00000"))[0] == 204
    assert listed(account, "sda1") == listed(account, "sdb1") == ["日", "x"]


def test_one_that_does_not_answer_is_left_to_the_updater(cluster):
    app, account, hosts = cluster
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{silent.getsockname()[1]}"
        assert call(app, "PUT", "/sda1/1/AUTH_a/c", "", headers([dead, hosts[1]]))[0] == 201
    assert (listed(account, "sda1"), listed(account, "sdb1")) == ([], ["c"])
    assert any("will retry later" in line for line in app.logger.lines)


def test_none_that_knows_the_account(cluster):
    app, account, hosts = cluster
    assert call(app, "PUT", "/sda1/1/AUTH_none/c", "", headers(hosts))[0] == 404
    assert call(app, "HEAD", "/sda1/1/AUTH_none/c")[0] == 404


def test_a_single_one_that_does_not_know_the_account_is_not_believed(cluster):
    """Its disk may be new: the copy that was asked for stays, as does its answer."""
    app, account, hosts = cluster
    assert call(app, "PUT", "/sda1/1/AUTH_none/c", "", headers(hosts[:1], "sda1"))[0] == 404
    assert call(app, "HEAD", "/sda1/1/AUTH_none/c")[0] == 204


@pytest.mark.parametrize(
    "change",
    [
        {"X-Account-Host": "127.0.0.1"},
        {"X-Account-Host": "127.0.0.1:x,127.0.0.1:2"},
        {"X-Account-Host": "127.0.0.1:1"},
        {"X-Account-Device": "a"},
        {"X-Account-Device": ","},
        {"X-Account-Partition": "../x"},
    ],
)
def test_bad_addresses_change_nothing(cluster, change):
    app, account, hosts = cluster
    assert call(app, "PUT", "/sda1/1/AUTH_a/c", "", {**headers(hosts), **change})[0] == 400
    assert call(app, "HEAD", "/sda1/1/AUTH_a/c")[0] == 404
