"""Servers for the tests of the wire."""

import pytest
from running_server import Running

from swift.wire import server as server_module


@pytest.fixture
def start(monkeypatch):
    """start(app, **conf) → Running; all are stopped at the end of the test."""
    monkeypatch.setattr(server_module, "DRAIN_GRACE", 0.01)
    running = []

    def start_one(app, limits=None, **conf):
        one = Running(app, conf, limits)
        running.append(one)
        return one

    yield start_one
    for one in running:
        one.stop()
