"""Limits of accounts and containers, on a clock that only sleeping moves."""

import json

import pytest
from filter_stand_ins import App, call, memory_logger
from hypothesis import given
from hypothesis import strategies as st

from swift.cache.local_cache import LocalCache
from swift.cache.memcache import MemcacheConnectionError
from swift.core import capabilities, clock
from swift.middleware import ratelimit
from swift.middleware.info.forms import usable_account_info, usable_container_info
from swift.middleware.ratelimit import RateLimit, filter_factory, rate_of, steps

A = "/v1/AUTH_test"


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(round(seconds, 3))
        self.now += seconds


@pytest.fixture
def time(monkeypatch):
    made = Clock()
    monkeypatch.setattr(clock, "time", lambda: made.now)
    monkeypatch.setattr(clock, "monotonic", lambda: made.now)
    monkeypatch.setattr(ratelimit, "sleep", made.sleep)
    return made


class World:
    def __init__(self, cache=None, **conf):
        self.app = App()
        self.logger, self.lines = memory_logger()
        self.filter = RateLimit(self.app, conf, self.logger)
        self.cache = cache if cache is not None else LocalCache()
        self.account = {"status": 200, "sysmeta": {}, "meta": {}}
        self.container = {"status": 200, "object_count": "10"}

    def call(self, method="PUT", path="/c/o", **environ):
        infos = {
            "account/AUTH_test": usable_account_info(self.account),
            "container/AUTH_test/c": usable_container_info(self.container),
        }
        return call(
            self.filter,
            A + path,
            method,
            environ={"swift.cache": self.cache, "swift.infocache": infos, **environ},
        )

    def many(self, count, method="PUT", path="/c/o"):
        return [self.call(method, path).status_int for _ in range(count)]


# -- rates -------------------------------------------------------------------------------------------------------------------


def test_rates_between_steps():
    table = steps(
        {
            "container_ratelimit_0": "100",
            "container_ratelimit_10": "50",
            "container_ratelimit_50": "20",
            "other": "1",
        },
        "container_ratelimit_",
    )
    assert table == [(0, 100), (10, 50), (50, 20)]
    for size, rate in ((0, 100), (1, 95), (5, 75), (10, 50), (30, 35), (50, 20), (1000, 20)):
        assert rate_of(table, size) == rate
    assert rate_of([(10, 5)], 9) == 0
    assert rate_of([], 9) == 0


@given(st.dictionaries(st.integers(0, 1000), st.integers(1, 1000), min_size=1), st.integers(0, 2000))
def test_a_rate_is_between_those_of_its_steps(table, size):
    made = sorted(table.items())
    rate = rate_of(made, size)
    if size < made[0][0]:
        assert rate == 0
    else:
        assert min(table.values()) - 1e-9 <= rate <= max(table.values()) + 1e-9


# -- waiting -----------------------------------------------------------------------------------------------------------------


def test_writes_of_objects_wait_for_their_turn(time):
    world = World(container_ratelimit_0="10")
    assert world.many(6) == [200] * 6
    assert time.slept == [0.1] * 5
    for method in ("DELETE", "POST", "COPY"):
        world.many(1, method)
    assert len(time.slept) == 8
    time.slept.clear()
    world.many(3, "GET")
    world.many(3, "HEAD")
    assert time.slept == []


def test_what_was_not_used_may_be_caught_up_with(time):
    world = World(container_ratelimit_0="10")
    world.many(1)
    time.now += 3
    world.many(30)
    assert time.slept == []
    world.many(2)
    assert len(time.slept) >= 1
    time.now += 60  # longer than the buffer: nothing is saved up
    time.slept.clear()
    world.many(3)
    assert time.slept == [0.1, 0.1]


def test_many_small_turns_cost_few_questions(time):
    asked = []

    class Counting(LocalCache):
        def incr(self, key, delta=1, time=0):
            asked.append(key)
            return super().incr(key, delta, time)

    world = World(Counting(), container_ratelimit_0="1000")
    start = time.now
    world.many(1000)
    assert len(asked) <= 60
    assert 0.9 <= time.now - start <= 1.1


def test_too_long_a_wait_is_refused_and_not_counted(time):
    world = World(container_ratelimit_0="1", max_sleep_time_seconds="2")
    key = "ratelimit/AUTH_test/c"
    world.cache.set(key, str(round((time.now + 2.5) * 1000)), serialize=False)
    before = int(world.cache.get(key))
    answer = world.call()
    assert (answer.status, answer.body) == ("498 Rate Limited", b"Slow down")
    assert world.app.calls == 0 and time.slept == []
    assert int(world.cache.get(key)) == before
    time.now += 1
    assert world.call().status_int == 200
    assert time.slept == [1.5]


def test_which_requests_fall_under_which_limit(time):
    world = World(account_ratelimit="1", container_ratelimit_5="1", container_listing_ratelimit_0="1")
    world.account["sysmeta"]["global-write-ratelimit"] = "1"
    table = [
        ("PUT", "/c", {"ratelimit/AUTH_test", "ratelimit/global-write/AUTH_test"}),
        ("DELETE", "/c", {"ratelimit/AUTH_test", "ratelimit/global-write/AUTH_test"}),
        ("POST", "/c", {"ratelimit/global-write/AUTH_test"}),
        ("POST", "", {"ratelimit/global-write/AUTH_test"}),
        ("GET", "/c", {"ratelimit_listing/AUTH_test/c"}),
        ("HEAD", "/c", set()),
        ("GET", "", set()),
        ("GET", "/c/o", set()),
        ("PUT", "/c/o", {"ratelimit/AUTH_test/c", "ratelimit/global-write/AUTH_test"}),
        ("COPY", "/c/o", {"ratelimit/AUTH_test/c", "ratelimit/global-write/AUTH_test"}),
    ]
    every = set().union(*(keys for _, _, keys in table))
    for method, path, keys in table:
        world.cache.clear()
        world.call(method, path)
        assert {key for key in every if world.cache.get(key) is not None} == keys, (method, path)


def test_sizes_of_containers(time):
    for known, waits in (
        ({"object_count": "0"}, True),
        ({"object_count": "7"}, True),
        ({"status": 404}, False),
        ({"status": 503}, False),
    ):
        world = World(container_ratelimit_0="10")
        world.container.update(known)
        time.slept.clear()
        world.many(2)
        assert bool(time.slept) == waits


# -- lists of accounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conf, value", [({"account_whitelist": "a, AUTH_test"}, None), ({}, "WHITELIST")])
def test_accounts_without_limits(time, conf, value):
    world = World(container_ratelimit_0="1", **conf)
    if value:
        world.account["sysmeta"]["global-write-ratelimit"] = value
    assert world.many(5) == [200] * 5
    assert time.slept == []


@pytest.mark.parametrize("conf, value", [({"account_blacklist": "AUTH_test,b"}, None), ({}, "BLACKLIST")])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_accounts_that_get_nothing(time, conf, value, method):
    world = World(**conf)
    if value:
        world.account["sysmeta"]["global-write-ratelimit"] = value
    answer = world.call(method)
    assert (answer.status, answer.body) == ("497 Blacklisted", b"Your account has been blacklisted")
    assert time.slept == [1] and world.app.calls == 0


@pytest.mark.parametrize("value", ["", "x", "-1", "0", "nan", "inf"])
def test_a_limit_that_is_none(time, value):
    world = World()
    world.account["sysmeta"]["global-write-ratelimit"] = value
    assert world.many(3) == [200] * 3
    assert time.slept == []


# -- around ------------------------------------------------------------------------------------------------------------------


def test_without_a_cache_nothing_is_limited_and_the_log_says_so_once(time):
    world = World(container_ratelimit_0="1")
    for _ in range(3):
        assert world.call(**{"swift.cache": None}).status_int == 200
    assert [line for line in world.lines if "Cannot ratelimit" in line] == world.lines
    assert len(world.lines) == 1


def test_a_cache_that_is_away_stops_nobody(time):
    class Away(LocalCache):
        def incr(self, *args, **kwargs):
            raise MemcacheConnectionError("away")

    assert World(Away(), container_ratelimit_0="1").many(5) == [200] * 5
    assert time.slept == []


def test_a_second_one_in_the_pipeline_does_nothing(time):
    world = World(container_ratelimit_0="1")
    for _ in range(3):
        world.call(**{"swift.ratelimit.handled": True})
    assert time.slept == []
    world.call()
    assert world.app.arrived["swift.ratelimit.handled"] is True


def test_paths_that_are_nobodys(time):
    world = World(container_ratelimit_0="1", account_ratelimit="1")
    for path in ("/info", "/healthcheck", "/v9/a/c/o", "/v1"):
        for _ in range(3):
            assert call(world.filter, path, "PUT", environ={"swift.cache": world.cache}).status_int == 200
    assert time.slept == []


def test_counters_do_not_live_for_ever(time):
    world = World(container_ratelimit_0="1")
    world.call()
    assert world.cache.get("ratelimit/AUTH_test/c") is not None
    time.now += 100_000
    assert world.cache.get("ratelimit/AUTH_test/c") is None


def test_long_waits_are_logged(time):
    world = World(container_ratelimit_0="1", log_sleep_time_seconds="0.5")
    world.many(2)
    assert any("Ratelimit sleep log" in line for line in world.lines)


def test_what_info_says():
    capabilities.forget_all()
    filter_factory({}, account_ratelimit="3", container_ratelimit_10="5", container_ratelimit_2="7.5")
    assert json.loads(json.dumps(capabilities.disclosed()["ratelimit"])) == {
        "account_ratelimit": 3.0,
        "max_sleep_time_seconds": 60.0,
        "container_ratelimits": [[2.0, 7.5], [10.0, 5.0]],
        "container_listing_ratelimits": [],
    }
    capabilities.forget_all()
    with pytest.raises(ValueError):
        filter_factory({}, container_ratelimit_x="5")
