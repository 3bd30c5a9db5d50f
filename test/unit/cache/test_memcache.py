"""The memcached client against a stand-in server over real sockets; ring and keys against vectors of the reference."""

import datetime
import ipaddress
import logging
import ssl
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.cache.memcache import HashRing, MemcacheClient, MemcacheConnectionError, wire_key
from swift.cache.memcache_server import parse_server
from swift.core import concurrency
from test.memcacheds import StandIn

THREE = ["10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211"]


@pytest.fixture
def server():
    stand_in = StandIn()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def client(server):
    client = MemcacheClient([server.name])
    yield client
    client.close()


class Timings:
    def __init__(self):
        self.names = []

    def timing(self, name, milliseconds, sample_rate=None):
        assert milliseconds >= 0
        self.names.append((name, sample_rate))


@pytest.mark.parametrize(
    "key, first",
    [
        ("account/AUTH_test", ".1"),
        ("container/AUTH_test/c", ".2"),
        ("some_key", ".2"),
        ("a", ".3"),
        ("b", ".3"),
        ("c", ".2"),
        ("AUTH_/user/test:tester", ".1"),
        ("ratelimit/AUTH_test", ".2"),
    ],
)
def test_the_ring_chooses_the_server_that_the_reference_chooses(key, first):
    order = list(HashRing(THREE).servers(wire_key(key)))
    assert order[0] == f"10.0.0{first}:11211"
    assert sorted(order) == THREE


def test_wire_keys_are_the_md5_of_the_utf8_key():
    assert wire_key("account/AUTH_test") == "05fad1c218a819c6507731ef4698a285"
    assert wire_key("shard-listing-v2/AUTH_test/sh") == "76ca97e1f83263262f4915534d28c9f4"
    assert len(wire_key("☃\udcff")) == 32


@settings(max_examples=30)
@given(st.lists(st.sampled_from([f"s{n}:1" for n in range(8)]), min_size=1, unique=True), st.text())
def test_every_server_comes_once(servers, key):
    assert sorted(HashRing(servers).servers(wire_key(key))) == sorted(servers)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("cache", ("cache", 11211)),
        ("cache:", ("cache", 11211)),
        ("10.0.0.1:5", ("10.0.0.1", 5)),
        ("[::1]", ("::1", 11211)),
        ("[fe80::1]:99", ("fe80::1", 99)),
    ],
)
def test_server_names(text, expected):
    assert parse_server(text) == expected


@pytest.mark.parametrize(
    "text", ["", ":1", "h:x", "h:0", "h:65536", "::1", "[::1", "[::1]x", "[]:1", "[::1]:"]
)
def test_malformed_server_names_are_refused(text):
    with pytest.raises(ValueError):
        parse_server(text)


def test_no_servers_are_refused():
    with pytest.raises(ValueError):
        MemcacheClient([])


def test_values_go_out_as_json_with_flag_2(client, server):
    value = {"status": 200, "name": "☃", "policies": {0: 1}}
    client.set("account/AUTH_test", value, time=60)
    key = b"05fad1c218a819c6507731ef4698a285"
    assert server.lines[-1].startswith(b"set " + key + b" 2 60 ")
    assert server.store[key][1] == b'{"status": 200, "name": "\\u2603", "policies": {"0": 1}}'
    assert client.get("account/AUTH_test") == {"status": 200, "name": "☃", "policies": {"0": 1}}


def test_raw_values_have_flag_0_and_come_back_as_bytes(client, server):
    client.set("k", "text", serialize=False)
    assert server.lines[-1] == b"set %s 0 0 4" % wire_key("k").encode()
    assert client.get("k") == b"text"


def test_bytes_go_out_as_the_text_that_they_are(client, server):
    client.set("token", '{"ä": 1}'.encode())
    assert client.get("token") == '{"ä": 1}'


def test_missing_pickled_and_broken_values_are_none(client, server):
    name = wire_key("k").encode()
    assert client.get("k") is None
    server.store[name] = (b"1", b"cos\nsystem\n(S'true'\ntR.")
    assert client.get("k") is None
    server.store[name] = (b"2", b"{not json")
    assert client.get("k") is None


def test_a_long_time_to_live_becomes_absolute(client, server):
    client.set("k", 1, time=30 * 86400)
    assert server.lines[-1].split()[3] == b"2592000"
    client.set("k", 1, time=30 * 86400 + 1)
    assert int(server.lines[-1].split()[3]) > time.time() + 30 * 86400 - 60


def test_counters(client, server):
    assert client.incr("n", 5, time=10) == 5
    assert server.lines[-1].startswith(b"add %s 0 10 1" % wire_key("n").encode())
    assert client.incr("n") == 6
    assert client.decr("n", 2) == 4
    assert client.incr("n", -10) == 0
    assert client.decr("other", 3) == 0
    assert client.decr("other", -3) == 3
    assert client.get("n") == b"0"


def test_a_counter_lost_between_two_questions_is_asked_for_again(client, server):
    server.replies = {b"incr": b"NOT_FOUND\r\n", b"add": b"NOT_STORED\r\n"}
    with pytest.raises(MemcacheConnectionError):
        client.incr("n")
    assert [line.split()[0] for line in server.lines] == [b"incr", b"add"] * 2


def test_counting_what_is_no_counter_raises(client, server):
    client.set("text", "x", serialize=False)
    with pytest.raises(MemcacheConnectionError):
        client.incr("text")
    assert client.get("text") == b"x"
    assert server.accepted == 1


def test_delete_ignores_the_answer(client, server):
    client.set("k", 1)
    client.delete("k")
    client.delete("k")
    assert client.get("k") is None


def test_multi_uses_one_server_and_keeps_order(server):
    others = [StandIn(), StandIn()]
    servers = {s.name: s for s in [server, *others]}
    client = MemcacheClient(list(servers))
    client.set_multi({"a": 1, "b": [2], "c": {"x": 3}}, "account/a", time=5)
    assert client.get_multi(["c", "nope", "a", "b"], "account/a") == [{"x": 3}, None, 1, [2]]
    assert client.get_multi([], "account/a") == []
    responsible = next(HashRing(list(servers)).servers(wire_key("account/a")))
    assert [name for name, s in servers.items() if s.lines] == [responsible]
    client.delete("a", server_key="account/a")
    assert client.get_multi(["a", "b"], "account/a") == [None, [2]]
    client.close()
    for other in others:
        other.stop()


def test_connections_are_kept_and_dead_ones_replaced(client, server):
    client.set("k", 1)
    assert client.get("k") == 1
    assert server.accepted == 1
    server.drop_connections()
    deadline = time.monotonic() + 60
    while client.get("k") is None and time.monotonic() < deadline:
        pass
    assert client.get("k") == 1
    assert server.accepted == 2


def test_no_more_connections_than_allowed(server):
    client = MemcacheClient([server.name], max_connections=2)
    client.set("k", 1)
    pool = concurrency.GreenPool(20)
    results = list(pool.imap(lambda _: client.get("k"), range(20)))
    assert results == [1] * 20
    assert server.accepted <= 2
    client.close()


def test_waiting_for_a_connection_is_bounded(server):
    server.silent.add(b"get")
    client = MemcacheClient([server.name], max_connections=1, pool_timeout=0.05, io_timeout=1)
    first = concurrency.spawn(client.get, "k")
    concurrency.sleep(0.01)
    assert client.get("k") is None
    assert server.accepted == 1
    first.kill()
    client.close()


def test_the_next_server_is_asked_when_one_is_gone(server):
    gone = StandIn()
    gone.stop()
    client = MemcacheClient([server.name, gone.name])
    for number in range(20):
        client.set(f"key{number}", number)
        assert client.get(f"key{number}") == number


def test_without_any_server_get_is_none_and_incr_raises(caplog):
    gone = StandIn()
    gone.stop()
    timings = Timings()
    client = MemcacheClient([gone.name], error_suppression_interval=0, metrics=timings)
    assert client.get("k") is None
    client.set("k", 1)
    client.delete("k")
    assert client.get_multi(["k"], "s") == [None]
    with pytest.raises(MemcacheConnectionError):
        client.get("k", raise_on_error=True)
    with pytest.raises(MemcacheConnectionError):
        client.set("k", 1, raise_on_error=True)
    with pytest.raises(MemcacheConnectionError):
        client.incr("k")
    assert "Error talking to memcached: " + gone.name in caplog.text
    assert timings.names[0] == ("memcached.get.conn_err.timing", 0.01)


def test_a_failing_server_is_left_alone(server, caplog):
    server.replies[b"get"] = b"HTTP/1.1 400 Bad Request\r\n"
    client = MemcacheClient([server.name], error_suppression_limit=3, error_suppression_interval=0.2)
    for _ in range(4):
        assert client.get("k") is None
    assert f"Error limiting server {server.name}" in caplog.text
    asked = len(server.lines)
    client.set("k", 1)
    with pytest.raises(MemcacheConnectionError):
        client.get("k", raise_on_error=True)
    assert len(server.lines) == asked
    del server.replies[b"get"]
    give_up = time.monotonic() + 30
    while client.get("k") != 1:  # it is asked by nobody's request, and used again once it answers
        assert time.monotonic() < give_up
        client.set("k", 1)
        concurrency.sleep(0.05)
    client.close()


def test_a_silent_server_times_out(server, caplog):
    server.silent.add(b"get")
    client = MemcacheClient([server.name], io_timeout=0.05)
    assert client.get("k") is None
    assert "Timeout talking to memcached" in caplog.text


def test_a_hanging_server_is_soon_left_alone(server, caplog):
    server.silent.update((b"get", b"set"))
    client = MemcacheClient([server.name], io_timeout=0.02)
    for _ in range(3):
        client.get("k")
    assert f"Error limiting server {server.name}" in caplog.text
    asked = len(server.lines)
    client.get("k")
    assert len(server.lines) == asked


def test_a_refusal_is_an_error_but_no_reason_to_avoid_the_server(client, server):
    server.replies[b"set"] = b"SERVER_ERROR object too large for cache\r\n"
    for _ in range(20):
        client.set("k", 1)
    with pytest.raises(MemcacheConnectionError):
        client.set("k", 1, raise_on_error=True)
    with pytest.raises(MemcacheConnectionError):
        client.set_multi({"k": 1, "l": 2}, "k", raise_on_error=True)
    del server.replies[b"set"]
    client.set("k", 1)
    assert client.get("k") == 1
    assert server.accepted == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"VALUE\r\nEND\r\n",
        b"VALUE k x 1\r\n1\r\nEND\r\n",
        b"VALUE k 0 -1\r\nEND\r\n",
        b"VALUE k 0 3\r\n1234567\r\nEND\r\n",
        b"VALUE k 0 99999999999\r\n1\r\n",
        b"x" * 20000 + b"\r\n",
        b"\r\n",
    ],
)
def test_nonsense_from_a_server_is_an_error(client, server, answer):
    server.replies[b"get"] = answer
    with pytest.raises(MemcacheConnectionError):
        client.get("k", raise_on_error=True)
    server.replies.clear()
    assert client.get("k", raise_on_error=True) is None
    assert server.accepted == 2


def test_large_items_are_warned_about(server, caplog):
    caplog.set_level(logging.WARNING)
    client = MemcacheClient([server.name], item_size_warning_threshold=12)
    client.set("shard/a", "x" * 9)
    assert not caplog.records
    client.set("shard/a", "x" * 10)
    assert "Item size larger than warning threshold: 12 (12) >= 12 for key prefix shard" in caplog.text
    client.close()


def test_every_call_is_timed(server):
    timings = Timings()
    client = MemcacheClient([server.name], metrics=timings)
    client.set("k", 1)
    client.get("k")
    client.incr("n")
    client.decr("n")
    client.delete("k")
    client.set_multi({"k": 1}, "k")
    client.get_multi(["k"], "k")
    client.close()
    assert [name for name, _ in timings.names] == [
        f"memcached.{name}.timing"
        for name in ("set", "get", "incr", "decr", "delete", "set_multi", "get_multi")
    ]
    assert [rate for _, rate in timings.names] == [0.1, 0.01, 0.001, 0.001, 0.1, 0.1, 0.1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "memcached")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return str(path)


def test_tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = StandIn(context)
    client = MemcacheClient([server.name], tls_context=ssl.create_default_context(cafile=certificate))
    client.set("k", "x" * 100_000, raise_on_error=True)
    assert client.get("k") == "x" * 100_000
    assert server.accepted == 1
    client.close()
    stranger = MemcacheClient([server.name], tls_context=ssl.create_default_context())
    with pytest.raises(MemcacheConnectionError):
        stranger.get("k", raise_on_error=True)
    server.stop()
