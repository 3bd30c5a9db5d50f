"""Limits of devices, on a clock that stands still unless moved."""

import pytest
from filter_stand_ins import App, Metrics, call, memory_logger

from swift.core import clock
from swift.middleware import backend_ratelimit
from swift.middleware.backend_ratelimit import BackendRateLimit, filter_factory


class Clock:
    now = 1000.0


@pytest.fixture
def time(monkeypatch):
    made = Clock()
    monkeypatch.setattr(clock, "monotonic", lambda: made.now)
    return made


@pytest.fixture
def build(tmp_path, monkeypatch):
    looks = []
    monkeypatch.setattr(backend_ratelimit, "spawn_n", lambda function, *args: looks.append((function, args)))
    monkeypatch.setattr(backend_ratelimit, "run_in_thread", lambda function, *args: function(*args))

    def make(**conf):
        logger, lines = memory_logger()
        made = BackendRateLimit(App(), {"swift_dir": str(tmp_path), **conf}, logger)
        made.metrics = Metrics()
        made.lines = lines

        def look():
            while looks:
                function, args = looks.pop()
                function(*args)

        made.look = look
        return made

    return make


def statuses(made, count, method="GET", path="/sda/12/a/c/o"):
    return [call(made, path, method).status_int for _ in range(count)]


def test_without_a_rate_nothing_is_limited(build):
    made = build()
    assert statuses(made, 50) == [200] * 50
    assert made._limiters == {}


def test_a_burst_and_then_the_rate(build, time):
    made = build(requests_per_device_per_second="5", requests_per_device_rate_buffer="1")
    assert statuses(made, 10) == [200] * 6 + [529] * 4
    assert made.metrics.events == ["backend.ratelimit"] * 4
    time.now += 0.4
    assert statuses(made, 4) == [200] * 2 + [529] * 2
    assert statuses(made, 2, path="/sdb/1/a") == [200, 200]


def test_each_method_has_its_own(build, time):
    made = build(put_requests_per_device_per_second="1", requests_per_device_rate_buffer="0")
    assert statuses(made, 3, "PUT") == [200, 529, 529]
    assert statuses(made, 3, "GET") == [200] * 3


def test_what_the_method_refuses_counts_for_the_device(build, time):
    made = build(
        requests_per_device_per_second="3",
        put_requests_per_device_per_second="1",
        requests_per_device_rate_buffer="0",
    )
    assert statuses(made, 1, "PUT") == [200]
    time.now += 0.4
    assert statuses(made, 2, "PUT") == [529, 529]
    assert statuses(made, 1, "GET") == [529]


@pytest.mark.parametrize(
    "path", ["/healthcheck", "/recon/load", "/sda", "/sda/x/a", "/", "//1/a", "/sda/-1", "/sda/\xb2"]
)
def test_paths_without_a_device_pass(build, time, path):
    made = build(requests_per_device_per_second="0.001", requests_per_device_rate_buffer="0")
    assert statuses(made, 3, path=path) == [200] * 3


def test_the_file_overlays_the_section_and_is_looked_at_again(build, time, tmp_path):
    path = tmp_path / "backend-ratelimit.conf"
    path.write_text("[backend_ratelimit]\nget_requests_per_device_per_second = 7\n")
    made = build(requests_per_device_per_second="5", config_reload_interval="10")
    assert (made.rates.per_method["ALL"], made.rates.per_method["GET"]) == (5, 7)
    path.write_text("[backend_ratelimit]\nrequests_per_device_per_second = 2\n")
    statuses(made, 1)
    made.look()
    assert made.rates.per_method["ALL"] == 5  # too soon
    time.now += 11
    statuses(made, 1)
    made.look()
    assert (made.rates.per_method["ALL"], made.rates.per_method["GET"]) == (2, 0)
    for text in (
        "[backend_ratelimit]\nrequests_per_device_per_second = fast\n",
        "[other]\n",
        "nonsense\n",
        "[backend_ratelimit]\nrequests_per_device_per_second = -1\n",
    ):
        path.write_text(text)
        time.now += 11
        statuses(made, 1)
        made.look()
        assert made.rates.per_method["ALL"] == 2
        assert "Invalid config file" in made.lines[-1]
    path.unlink()
    time.now += 11
    statuses(made, 1)
    made.look()
    assert made.rates.per_method["ALL"] == 2


def test_a_missing_file_is_told_of_only_if_it_was_named(build, tmp_path):
    assert build().lines == []
    assert (
        "Cannot load config file" in build(backend_ratelimit_conf_path=str(tmp_path / "other.conf")).lines[0]
    )


def test_never_looked_at_again(build, time):
    made = build(config_reload_interval="0")
    time.now += 10**6
    statuses(made, 1)
    made.look()
    assert made._next_look == float("inf")


def test_memory_is_bounded(build, time):
    made = build(requests_per_device_per_second="5")
    for number in range(10_000):
        call(made, f"/dev{number}/1/a")
    assert len(made._limiters) <= 4096


@pytest.mark.parametrize("value", ["x", "-1", "nan"])
def test_a_rate_that_is_none_is_refused_at_start(value, tmp_path):
    with pytest.raises(ValueError):
        filter_factory({"swift_dir": str(tmp_path)}, requests_per_device_per_second=value)(App())
