"""Tokens while memcached hangs, dies and comes back without its memory: a good one is never refused for it."""

import time

import pytest
from filter_stand_ins import App, Metrics, call, memory_logger

from swift.cache import memcache_server
from swift.cache.local_cache import LocalCache
from swift.cache.memcache import MemcacheClient
from swift.core import clock as source
from swift.core import concurrency
from swift.middleware.tempauth import TempAuth, tokens
from swift.middleware.tempauth.tokens import TokensAway
from test.memcacheds import KINDS

USERS = {"user_test_tester": "testing .admin", "user_test_other": "other"}


class Worker:
    """A process of its own as far as tokens go."""

    def __init__(self, server, **conf):
        self.cache = MemcacheClient([server.name], io_timeout=0.1, error_suppression_limit=3)
        self.auth = TempAuth(App(), {**USERS, **conf}, memory_logger()[0], Metrics())
        self.now = 0.0

    def send(self, path, headers):
        return call(self.auth, path, "GET", headers, {"swift.cache": self.cache})

    def login(self):
        return self.send("/auth/v1.0", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"})

    def status(self, token):
        return self.send("/v1/AUTH_test/c/o", {"X-Auth-Token": token}).status_int


class Hours:
    """Time that passes when it is told to."""

    def __init__(self):
        self.passed = 0.0
        self.monotonic = lambda real=time.monotonic: real() + self.passed
        self.time = lambda real=time.time: real() + self.passed


@pytest.fixture(params=KINDS)
def server(request, monkeypatch):
    monkeypatch.setattr(memcache_server, "PROBE_SECONDS", 0.05)
    made = request.param()
    yield made
    made.go_on()
    made.kill()


@pytest.fixture
def hours():
    made = Hours()
    before = source.use(made)
    yield made
    source.restore(before)
    concurrency.hub().next_sweep = 0.0  # it planned ahead by our time


def test_a_good_token_stays_good_while_the_cache_hangs(server, hours):
    worker, other = Worker(server), Worker(server)
    token = worker.login().headers["X-Auth-Token"]
    assert worker.status(token) == 200
    server.freeze()
    for _ in range(8):
        assert worker.status(token) == 200
        hours.passed += 3
    answer = other.send("/v1/AUTH_test/c/o", {"X-Auth-Token": token})
    assert (answer.status_int, answer.headers["Retry-After"]) == (503, "2")
    assert worker.status("AUTH_tk" + "0" * 32) == 503  # nothing is known of it
    assert worker.status("AUTH_nothing") == 401  # that is no token
    assert other.login().status_int == 503


def test_a_good_token_ends_with_its_life_whatever_the_cache_does(server, hours):
    worker = Worker(server, token_life="100")
    token = worker.login().headers["X-Auth-Token"]
    server.freeze()
    hours.passed += 99
    assert worker.status(token) == 200
    hours.passed += 2
    assert worker.status(token) in (401, 503)
    server.go_on()
    server.kill()
    hours.passed += 20
    assert worker.status(token) != 200


def test_good_tokens_are_written_back_to_a_cache_that_forgot_them(server, hours):
    worker, other = Worker(server), Worker(server)
    token = worker.login().headers["X-Auth-Token"]
    assert other.status("AUTH_tk" + "1" * 32) == 401
    server.kill()
    server.start_again()
    hours.passed += 6
    statuses = []
    give_up = time.monotonic() + 30
    while not statuses or statuses[-1] != 200:
        assert time.monotonic() < give_up
        statuses.append(other.status(token))
        assert worker.status(token) == 200
        concurrency.sleep(0.02)
    assert set(statuses) <= {200, 503}  # that nobody there knows it proves nothing so soon
    assert other.status(token) == 200
    hours.passed += 2 * tokens.TOLD_AGAIN
    assert other.status("AUTH_tk" + "1" * 32) == 401


def test_a_cache_that_was_there_all_the_time_takes_a_token_back(server, hours):
    worker, other = Worker(server), Worker(server)
    token = worker.login().headers["X-Auth-Token"]
    assert worker.status(token) == 200
    other.cache.delete(f"AUTH_/token/{token}")
    hours.passed += 6
    assert worker.status(token) == 401


def test_a_token_of_other_groups_is_believed_as_the_cache_has_it_now(server, hours):
    worker = Worker(server)
    token = worker.login().headers["X-Auth-Token"]
    ends = source.time() + 100
    worker.cache.set(f"AUTH_/token/{token}", [ends, "test,test:other"])
    hours.passed += 6
    assert worker.status(token) == 200
    assert worker.auth.app.environ["REMOTE_USER"] == "test,test:other"
    worker.cache.set(f"AUTH_/token/{token}", [source.time() - 1, "test,test:other"])
    hours.passed += 6
    assert worker.status(token) == 401


def test_many_who_come_with_one_token_ask_once(hours):
    class Slow(LocalCache):
        asked = 0

        def get(self, key, raise_on_error=False):
            self.asked += 1
            concurrency.sleep(0.05)
            return super().get(key)

    worker = TempAuth(App(), USERS, memory_logger()[0], Metrics()).tokens
    cache = Slow()
    token, _ = worker.issue(cache, "test:tester", "test,test:tester,AUTH_test")
    cache.asked = 0
    hours.passed += 6
    asking = [concurrency.spawn(worker.groups, cache, token) for _ in range(50)]
    assert {thread.wait() for thread in asking} == {"test,test:tester,AUTH_test"}
    assert cache.asked == 1


def test_nothing_is_known_of_a_token_nobody_can_look_up():
    class Away(LocalCache):
        def get(self, key, raise_on_error=False):
            from swift.cache.memcache import MemcacheConnectionError

            raise MemcacheConnectionError("away")

    with pytest.raises(TokensAway):
        tokens.Tokens({}, "AUTH_", 100).groups(Away(), "AUTH_tkx")
