"""Requests on whose way the device must be looked at again: in its threads, where nobody may wait for its threads."""

import pytest

from swift.account.server import AccountServer
from swift.container.server import ContainerServer
from swift.core import concurrency
from swift.db import devices
from test.databases import Logger, call, make_conf

T1 = "1700000001.00000"


@pytest.fixture(autouse=True)
def always_due(monkeypatch):
    monkeypatch.setattr(devices, "CHECK_SECONDS", 0.0)


def together(server, requests):
    """The statuses of requests that run at the same time."""
    asked = [concurrency.spawn(call, server, *request) for request in requests]
    with concurrency.Timeout(60):
        return [one.wait()[0] for one in asked]


def test_databases_are_created_while_others_are_asked(tmp_path):
    server = ContainerServer(make_conf(tmp_path), Logger())
    headers = {"X-Timestamp": T1, "X-Backend-Storage-Policy-Index": "0"}
    puts = [("PUT", f"/sda1/{n}/AUTH_a/c{n}", "", headers) for n in range(12)]
    reads = [("HEAD", f"/sda1/{n}/AUTH_a/missing", "") for n in range(6)]
    assert together(server, puts + reads) == [201] * 12 + [404] * 6
    assert together(server, [("HEAD", f"/sda1/{n}/AUTH_a/c{n}", "") for n in range(12)]) == [204] * 12


def test_accounts_as_well(tmp_path):
    server = AccountServer(make_conf(tmp_path), Logger())
    puts = [("PUT", f"/sda1/{n}/AUTH_a{n}", "", {"X-Timestamp": T1}) for n in range(12)]
    assert together(server, puts) == [201] * 12
