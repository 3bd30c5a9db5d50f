import signal
import subprocess

import pytest

from swift.core.errors import ConfigError
from swift.run import daemon
from swift.run.daemon import Overrides, distribute, parse_overrides


def test_overrides_count_only_for_one_pass():
    given = {"devices": " sda, ,sdb", "partitions": "1,2", "policies": "0", "other": 1}
    assert parse_overrides(once=True, **given) == Overrides(["sda", "sdb"], [1, 2], [0])
    assert parse_overrides(**given) == Overrides() == parse_overrides(once=True)
    with pytest.raises(ConfigError):
        parse_overrides(once=True, partitions="x")


def test_devices_are_dealt_round_robin():
    assert distribute(["a", "b", "c", "d", "e"], 2) == [["a", "c", "e"], ["b", "d"]]
    assert distribute(["a"], 5) == [["a"]]
    assert distribute([], 5) == []


def test_a_worker_that_does_not_end_holds_up_nobody(monkeypatch):
    """As one does whose disk hangs."""
    monkeypatch.setattr(daemon, "END_SECONDS", 0.2)
    told = []

    class Logger:
        def error(self, text, *args):
            told.append(text % args)

    good = subprocess.Popen(["sleep", "60"])
    hung = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo deaf; exec sleep 60"], stdout=subprocess.PIPE, text=True
    )
    assert hung.stdout.readline() == "deaf\n"
    runner = daemon._Runner(None, Logger(), False, {}, None)
    runner.workers = {good.pid: {}, hung.pid: {}}
    runner._end_workers()
    assert not runner.workers and told == [f"Worker {hung.pid} does not end: going on without it"]
    assert hung.wait(60) == -signal.SIGKILL
