"""How far a pass over databases is, and what was told of devices before it."""

from swift.core import clock
from swift.db.replication.figures import Figures


class Metrics:
    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def test_a_pass_goes_on(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(clock, "time", lambda: now[0])
    figures = Figures(Metrics())
    assert figures.progress() == {}
    before = {"databases": 4, "failures": 0, "handoffs": 2, "last": 900.0, "last_without_failure": 800.0}
    figures.begin_device("sda", before)
    figures.begin_device("sdb", None)
    told = figures.progress()["replication_per_device"]
    assert told["sda"] == {**before, "pass": {"done": 0, "expected": 4, "began": 1000.0, "remaining": None}}
    assert told["sdb"] == {"pass": {"done": 0, "expected": None, "began": 1000.0, "remaining": None}}
    now[0] = 1010.0
    figures.at_device("sda", "databases")
    figures.at_device("sdb", "databases")
    told = figures.progress()["replication_per_device"]
    assert told["sda"]["pass"]["remaining"] == 30.0
    assert told["sdb"]["pass"]["remaining"] is None
    assert told["sda"]["handoffs"] == 2  # of the last whole pass
    figures.end_device("sda")
    told = figures.progress()["replication_per_device"]
    assert told["sda"] == {
        "databases": 1, "failures": 0, "handoffs": 0, "last": 1010.0, "last_without_failure": 1000.0,
    }  # fmt: skip
    assert figures.recon()["replication_per_device"]["sda"] == told["sda"]
