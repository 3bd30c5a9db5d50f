"""memcached that hangs, dies and comes back, and a client that is busy: what is said of the server, and what is made good."""

import socket
import time

import pytest

from swift.cache import memcache, memcache_server
from swift.cache.memcache import MemcacheClient, MemcacheConnectionError
from swift.core import concurrency
from test.memcacheds import KINDS, StandIn


@pytest.fixture(params=KINDS)
def server(request):
    made = request.param()
    yield made
    made.go_on()
    made.kill()


@pytest.fixture
def stand_in():
    made = StandIn()
    yield made
    made.go_on()
    made.stop()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(memcache_server, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(memcache, "_MISSED_PAUSE", 0.05)


def client_of(*servers, **options):
    return MemcacheClient([server.name for server in servers], **{"io_timeout": 0.1, **options})


def eventually(found):
    give_up = time.monotonic() + 30
    while not found():
        assert time.monotonic() < give_up
        concurrency.sleep(0.01)


def test_a_busy_pool_says_nothing_about_the_server(stand_in, caplog):
    client = client_of(
        stand_in, max_connections=1, pool_timeout=0.02, error_suppression_limit=1, io_timeout=5
    )
    client.set("mine", 1)
    stand_in.silent.add(b"delete")
    holder = concurrency.spawn(client.delete, "k")
    concurrency.sleep(0.01)
    for number in range(20):
        with pytest.raises(MemcacheConnectionError):
            client.get(f"key{number}", raise_on_error=True)
    assert "limiting" not in caplog.text and not client.was_away(0)
    holder.kill()
    assert client.get("mine") == 1


def test_who_waits_for_a_connection_is_not_sent_to_another_server(stand_in):
    """It would not have what belongs here, and get what nobody looks for there."""
    other = StandIn()
    client = client_of(stand_in, other, max_connections=1, pool_timeout=0.02, io_timeout=5)
    key = next(
        f"k{i}" for i in range(99) if next(client.ring.servers(memcache.wire_key(f"k{i}"))) == stand_in.name
    )
    stand_in.freeze()
    holder = concurrency.spawn(client.set, key, 1)
    concurrency.sleep(0.01)
    client.set(key, 2)
    assert other.lines == []
    holder.kill()
    other.stop()


def test_those_who_ask_for_the_same_key_ask_once(stand_in):
    client = client_of(stand_in, io_timeout=5)
    client.set("k", {"a": 1})
    stand_in.freeze()
    asking = [concurrency.spawn(client.get, "k") for _ in range(50)]
    concurrency.sleep(0.05)
    stand_in.go_on()
    answers = [thread.wait() for thread in asking]
    assert answers == [{"a": 1}] * 50
    assert len({id(answer) for answer in answers}) == 50  # each its own to change
    assert sum(line.startswith(b"get") for line in stand_in.lines) == 1


def test_who_asks_after_a_change_does_not_share_a_question_from_before(stand_in):
    client = client_of(stand_in, io_timeout=5)
    client.set("k", 1)
    stand_in.replies[b"get"] = b"END\r\n"
    stand_in.freeze()
    early = concurrency.spawn(client.get, "k")
    concurrency.sleep(0.05)
    change = concurrency.spawn(client.set, "k", 2)
    concurrency.sleep(0.05)
    late = concurrency.spawn(client.get, "k")
    concurrency.sleep(0.05)
    stand_in.go_on()
    change.wait()
    early.wait()
    late.wait()
    assert sum(line.startswith(b"get") for line in stand_in.lines) == 2


def test_a_server_that_hangs_costs_a_few_requests_and_is_used_once_it_goes_on(server):
    client = client_of(server, error_suppression_limit=3)
    client.set("k", 1)
    server.freeze()
    for _ in range(3):
        assert client.get("k") is None
    started = time.monotonic()
    for _ in range(100):
        with pytest.raises(MemcacheConnectionError):
            client.get("k", raise_on_error=True)
    assert time.monotonic() - started < 5  # nobody waits for it
    server.go_on()
    eventually(lambda: client.get("k") == 1)


def test_a_server_that_died_is_used_once_it_is_back(server):
    client = client_of(server, error_suppression_limit=3)
    client.set("k", 1)
    before = time.monotonic()
    assert not client.was_away(before)
    server.kill()
    for _ in range(10):
        with pytest.raises(MemcacheConnectionError):
            client.get("k", raise_on_error=True)
    back = []
    client.when_back(lambda: back.append(1))
    server.start_again()
    eventually(lambda: client.set("k", 2) or client.get("k") == 2)
    assert client.was_away(before) and not client.was_away(time.monotonic() + 1)
    eventually(lambda: back)


def test_a_restart_between_two_questions_is_noticed(server):
    client = client_of(server)
    client.set("k", 1)
    before = time.monotonic()
    back = []
    client.when_back(lambda: back.append(1))
    server.kill()
    server.start_again()
    eventually(lambda: client.get("k") is None and back)
    assert client.was_away(before)


def test_a_delete_that_was_missed_is_made_good(server):
    client = client_of(server, error_suppression_limit=3)
    client.set("k", 1)
    client.set("l", 1)
    server.freeze()
    for key in ("k", "l", "k"):
        client.delete(key)
    other = client_of(server)
    server.go_on()
    eventually(lambda: other.get("k") is None and other.get("l") is None)


def test_a_delete_that_found_no_connection_is_made_good(stand_in):
    client = client_of(stand_in, max_connections=1, pool_timeout=0.02, io_timeout=0.2)
    client.set("k", 1)
    stand_in.silent.add(b"set")
    holder = concurrency.spawn(client.set, "other", 1)
    concurrency.sleep(0.01)
    client.delete("k")
    assert len(stand_in.store) == 1
    holder.wait()
    eventually(lambda: not stand_in.store)


def test_deletes_to_be_made_good_are_bounded(stand_in, monkeypatch):
    monkeypatch.setattr(memcache, "_MOST_MISSED", 5)
    client = client_of(stand_in, connect_timeout=0.05)
    stand_in.stop()
    for number in range(20):
        client.delete(f"k{number}")
    assert len(client._missed) == 5


def test_a_stand_ins_nothing_is_no_answer_while_the_keys_own_server_is_away():
    servers = [StandIn(), StandIn()]
    client = client_of(*servers)
    own = {next(client.ring.servers(memcache.wire_key(f"k{i}"))): f"k{i}" for i in range(50)}
    gone, there = servers
    key = own[gone.name]
    client.set(key, 1)
    assert client.get(key, raise_on_error=True) == 1
    assert client.get(own[there.name], raise_on_error=True) is None
    gone.stop()
    with pytest.raises(MemcacheConnectionError):
        client.get(key, raise_on_error=True)
    assert client.get(key) is None
    client.set(key, 2)
    assert client.get(key, raise_on_error=True) == 2
    there.stop()


def test_an_answer_that_came_while_we_were_busy_counts(stand_in):
    client_of(stand_in, io_timeout=5).set("k", 1)
    client = client_of(stand_in, io_timeout=0.05)
    eventually(lambda: client.get("k") == 1)  # a connection that lasts

    def busy(answers):
        """The event loop stands still until the answer has come, and the time for it is over."""
        end = time.monotonic() + 0.2
        while stand_in.answered < answers or time.monotonic() < end:
            time.sleep(0.005)

    for _ in range(3):
        asking = concurrency.spawn(client.get, "k", True)
        concurrency.spawn(busy, stand_in.answered + 1)
        assert asking.wait() == 1


def test_names_are_looked_up_in_no_event_loop(stand_in, monkeypatch):
    """A resolver that takes its time holds nobody up who does not want it, and is asked once for many connections."""
    from swift.core.concurrency import raw_socket

    asked = []
    real = raw_socket.getaddrinfo

    def slow(host, *args, **options):
        if host == "cache.example":
            if options.get("flags"):
                raise socket.gaierror("no number")
            asked.append(host)
            end = time.perf_counter() + 0.2
            while time.perf_counter() < end:
                time_left.wait(0.01)
            host = "127.0.0.1"
        return real(host, *args, **options)

    time_left = concurrency.raw_threading.Event()
    monkeypatch.setattr(raw_socket, "getaddrinfo", slow)
    client = MemcacheClient([f"cache.example:{stand_in.name.partition(':')[2]}"], connect_timeout=5)
    turns = []

    def tick():
        while True:
            turns.append(1)
            concurrency.sleep(0.01)

    ticking = concurrency.spawn(tick)
    client.set("k", 1)
    assert len(turns) > 3
    for _ in range(3):
        stand_in.drop_connections()
        concurrency.sleep(0.02)
        eventually(lambda: client.get("k") == 1)
    ticking.kill()
    assert asked == ["cache.example"]
