import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.cache.local_cache import CacheValueError, LocalCache
from swift.core import clock as source


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(source, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_values_come_back_as_json_gives_them(clock):
    cache = LocalCache()
    stored = {"a": [1, (2, 3)], "policies": {0: "x"}, "big": 2**70}
    cache.set("key", stored)
    assert cache.get("key") == {"a": [1, [2, 3]], "policies": {"0": "x"}, "big": 2**70}
    cache.get("key")["a"].append(9)
    stored["a"].append(9)
    assert cache.get("key")["a"] == [1, [2, 3]]
    assert cache.get("other") is None


def test_raw_values_and_counters_are_bytes(clock):
    cache = LocalCache()
    cache.set("raw", "text", serialize=False)
    assert cache.get("raw") == b"text"
    assert cache.incr("n", 3) == 3
    assert cache.get("n") == b"3"


def test_bytes_are_stored_as_the_text_that_they_are(clock):
    cache = LocalCache()
    cache.set("token", '{"ä": 1}'.encode(), time=10)
    assert cache.get("token") == '{"ä": 1}'
    with pytest.raises(UnicodeDecodeError):
        cache.set("token", b"\xff")


def test_an_empty_cache_is_one(clock):
    """keystonemiddleware takes a cache that is false for none, and asks Keystone about each request."""
    assert LocalCache()


def test_entries_expire(clock):
    cache = LocalCache()
    cache.set("key", 1, time=10)
    cache.set("stays", 1)
    clock.now += 9.9
    assert cache.get("key") == 1
    clock.now += 0.1
    assert cache.get("key") is None
    clock.now += 1e9
    assert cache.get("stays") == 1


SHARED = ("account/AUTH_a", "container/AUTH_a/c", "shard-listing-v2/AUTH_a/c", "shard-updating-v2/AUTH_a/c")


def test_what_other_processes_change_too_is_believed_for_a_second_only(clock):
    cache = LocalCache()
    for key in SHARED:
        cache.set(key, {"status": 200}, time=60)
        cache.set(key + "2", {"status": 200})
        cache.set(key + "short", {"status": 200}, time=0.5)
    cache.set("AUTH_/token/t", [], time=60)
    clock.now += 0.9
    assert cache.get("account/AUTH_a") == {"status": 200}
    assert cache.get("account/AUTH_ashort") is None
    clock.now += 0.1
    for key in SHARED:
        assert cache.get(key) is None
        assert cache.get(key + "2") is None
    assert cache.get("AUTH_/token/t") == []


def test_counters(clock):
    cache = LocalCache()
    assert cache.incr("n", time=10) == 1
    assert cache.incr("n", 5) == 6
    assert cache.incr("n", -2) == 4
    assert cache.decr("n", 3) == 1
    assert cache.decr("n", 3) == 0
    assert cache.decr("fresh", 3) == 0
    clock.now += 10
    assert cache.incr("n", 2) == 2
    cache.set("text", {"a": 1})
    with pytest.raises(CacheValueError):
        cache.incr("text")


def test_multi_keeps_order(clock):
    cache = LocalCache()
    cache.set_multi({"a": 1, "b": 2}, "server", time=10)
    assert cache.get_multi(["b", "x", "a"], "server") == [2, None, 1]
    cache.delete("a")
    cache.delete("never there")
    assert cache.get_multi(["b", "x", "a"], "server") == [2, None, None]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.binary(max_size=300)), max_size=200),
    st.integers(1, 20),
    st.integers(300, 5000),
)
def test_the_bounds_hold_and_the_newest_entry_survives(stores, max_entries, max_bytes):
    cache = LocalCache(max_entries, max_bytes)
    for number, data in stores:
        cache.set(str(number), data, serialize=False)
        assert len(cache) <= max_entries
        assert cache.bytes <= max_bytes
    assert cache.bytes == sum(len(k) + len(v[1]) + 200 for k, v in cache._entries.items())
    if stores and max_entries >= 2 and max_bytes >= 2000:
        number, data = stores[-1]
        assert cache.get(str(number)) == data


def test_expired_entries_make_room_before_live_ones(clock):
    cache = LocalCache(max_entries=4)
    cache.set("old", 1)
    for number in range(3):
        cache.set(f"dying{number}", 1, time=5)
    clock.now += 5
    cache.set("new", 1)
    assert cache.get("old") == 1
    assert cache.get("new") == 1


def test_what_has_expired_takes_no_memory(clock):
    """As many names as anybody likes, each of which is of use for a second."""
    cache = LocalCache()
    cache.set("stays", "x")
    for number in range(20_000):
        clock.now += 0.001
        cache.set(f"container/a/{number}", {"status": 200}, time=1)
        assert len(cache) <= 2 * 1024
    assert cache.get("stays") == "x" and cache.get("container/a/19999") == {"status": 200}
    assert cache.bytes < 2 * 1024 * 400
