"""Signatures of requests between nodes: what they cover, who is refused, and how keys are replaced."""

import os
import socket
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running_server import read_all, read_until

from swift.core import backend_security, clock
from swift.core.backend_security import LOOK_SECONDS, Settings
from swift.core.errors import ConfigError
from swift.telemetry import prometheus
from swift.telemetry.shared_tables import COMPONENT
from swift.wire import direct, guard, signing
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendError, header_block
from swift.wire.connection_pool import POOL
from swift.wire.direct import DirectError

ONE, TWO, THREE = b"1" * 40, b"2" * 40, b"3" * 40
HEAD = b"PUT /sda/1/a/c/o?x=1 HTTP/1.1\r\nHost: 10.0.0.1:6200\r\nX-Timestamp: 1\r\nContent-Length: 4\r\n"


def use(mode="require", **options):
    keys = options.pop("keys", {"one": ONE})
    return backend_security.use(Settings(signing=mode, keys=keys, **options))


class Storage:
    """Says what it was asked, and remembers it."""

    def __init__(self):
        self.asked = []

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read()
        assert "swift.head" not in environ
        self.asked.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], body))
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]


@pytest.fixture(autouse=True)
def fresh():
    POOL.clear()
    yield
    POOL.clear()


@pytest.fixture
def storage(start, monkeypatch):
    monkeypatch.setattr(guard, "LOG_SECONDS", 0.0)
    use()
    app = Storage()
    logged = []

    class Logger:
        def warning(self, text, *args):
            logged.append(text % args)

    app.server = start(guard.guarded(app, {COMPONENT: "object-server"}, Logger()))
    app.logged = logged
    app.node = {"ip": "127.0.0.1", "port": app.server.port, "device": "sda"}
    app.node.update(replication_ip="127.0.0.1", replication_port=app.server.port)
    return app


def ask(storage, method="PUT", body=b"", headers=(), path="/sda/1/a/c/o"):
    block = header_block([*headers, ("Content-Length", str(len(body)))])
    call = BackendCall("127.0.0.1", storage.server.port, method, path, block, body, conn_timeout=5, timeout=5)
    return call.answer().read_all(1000)


def count(kind):
    return prometheus.TABLE.counts.get(("object-server", f"signature.{kind}"), 0)


# --- what a signature covers


def check(head, now=None):
    return signing.check_head(head, signing.keyring(), clock.time() if now is None else now)


def test_what_is_signed_is_taken():
    use()
    head = signing.finished(HEAD, b"body")
    assert head.startswith(HEAD + b"X-Backend-Signature: 1 one ") and head.endswith(b"\r\n\r\n")
    assert check(head) == (4, sha256(b"body").hexdigest().encode())
    assert check(signing.finished(HEAD)) is None
    assert check(signing.finished(HEAD, b"x" * (signing.MAX_COVERED + 1))) is None


def test_without_keys_a_head_is_as_ever():
    use("off", keys={})
    assert signing.finished(HEAD, b"body") == HEAD + b"\r\n"


@given(st.data())
def test_no_byte_of_a_head_can_be_changed(data):
    use()
    head = signing.finished(HEAD, b"body")
    at = data.draw(st.integers(0, len(head) - 5))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != head[at]))
    with pytest.raises(signing.Fault):
        check(head[:at] + bytes([byte]) + head[at + 1 :])


@given(st.integers(0, len(HEAD)), st.binary(min_size=1, max_size=40))
def test_nothing_can_be_put_into_a_head(at, more):
    use()
    head = signing.finished(HEAD)
    with pytest.raises(signing.Fault):
        check(head[:at] + more + head[at:])


def test_a_line_behind_the_signature_makes_it_none():
    use()
    head = signing.finished(HEAD)
    with pytest.raises(signing.Fault) as caught:
        check(head[:-2] + b"X-Timestamp: 9\r\n\r\n")
    assert caught.value.kind == "malformed"


@pytest.mark.parametrize(("seconds", "kind"), [(-301, "late"), (301, "early")])
def test_a_signature_holds_for_a_while(monkeypatch, seconds, kind):
    use()
    head = signing.finished(HEAD)
    now = clock.time()
    with pytest.raises(signing.Fault) as caught:
        check(head, now - seconds)
    assert caught.value.kind == kind and "301." in str(caught.value)
    check(head, now + 299)


@given(st.binary(max_size=200))
def test_whatever_stands_there_is_a_signature_or_is_told_so(text):
    use()
    with pytest.raises(signing.Fault):
        check(HEAD + b"X-Backend-Signature: 1 " + text + b"\r\n\r\n")


# --- keys


def test_the_first_key_signs_and_all_are_taken():
    use(keys={"two": TWO, "one": ONE})
    new = signing.finished(HEAD)
    assert b" 1 two " in new
    use(keys={"one": ONE, "two": TWO})
    check(new)
    use(keys={"one": ONE})
    with pytest.raises(signing.Fault) as caught:
        check(new)
    assert caught.value.kind == "unknown_key"
    use(keys={"two": ONE})
    with pytest.raises(signing.Fault) as caught:
        check(new)
    assert caught.value.kind == "wrong"


def broken(why):
    raise ConfigError(why)


def test_a_changed_file_of_keys_is_taken_while_it_runs(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    path = tmp_path / "keys"

    def write(text):
        (tmp_path / "new").write_bytes(text)
        (tmp_path / "new").chmod(0o600)
        os.replace(tmp_path / "new", path)
        now[0] += LOOK_SECONDS

    write(b"one " + ONE)
    use(keys={"one": ONE}, keys_file=str(path))
    assert b" 1 one " in signing.finished(HEAD)
    write(b"two " + TWO + b"\none " + ONE)
    assert b" 1 two " in signing.finished(HEAD)
    for why in ("Too many open files", "line 1"):
        monkeypatch.setattr(signing, "read_keys", lambda path, why=why: broken(why))
        write(b"three " + THREE)
        assert b" 1 two " in signing.finished(HEAD) and why in signing.keyring().trouble
    monkeypatch.undo()
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    now[0] += LOOK_SECONDS
    assert b" 1 three " in signing.finished(HEAD)  # what has passed is tried again
    write(b"two " + TWO)
    assert b" 1 two " in signing.finished(HEAD)
    write(b"half a li")
    assert b" 1 two " in signing.finished(HEAD)
    assert "line 1" in signing.keyring().trouble
    write(b"three " + THREE)
    assert b" 1 three " in signing.finished(HEAD) and not signing.keyring().trouble


def test_a_worker_that_comes_later_has_the_keys_of_its_own_time(tmp_path):
    """The settings are what its parent has read, long ago maybe."""
    path = tmp_path / "keys"
    path.write_bytes(b"two " + TWO)
    path.chmod(0o600)
    use(keys={"one": ONE}, keys_file=str(path))
    assert b" 1 two " in signing.finished(HEAD)
    path.write_bytes(b"half a li")
    use(keys={"one": ONE}, keys_file=str(path))
    assert b" 1 one " in signing.finished(HEAD) and "line 1" in signing.keyring().trouble


# --- at a server


def test_what_our_senders_send_is_served(storage):
    assert ask(storage) == b"ok"
    assert ask(storage, body=b"x" * 100_000) == b"ok"
    assert ask(storage, "REPLICATE", b"[1]") == b"ok"
    direct.head_object(storage.node, 1, "a", "c", "o")
    direct.put_object(storage.node, 1, "a", "c", "o", iter([b"abc", b"d" * 100_000]))
    assert [len(body) for _, _, body in storage.asked] == [0, 100_000, 3, 0, 100_003]
    assert storage.logged == []


def test_who_does_not_sign_is_refused_and_told_little(storage):
    before = count("unsigned")
    answer = storage.server.talk(b"DELETE /sda/1/a/c/o HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 ") and b"\r\nConnection: close" in head
    assert body == guard.REFUSED
    assert storage.asked == [] and count("unsigned") == before + 1
    assert (
        len(storage.logged) == 1
        and "DELETE /sda/1/a/c/o from 127.0.0.1: it is not signed" in storage.logged[0]
    )


def test_nothing_of_a_body_is_asked_for_from_who_is_refused(storage):
    with storage.server.connect() as sock:
        sock.sendall(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert read_until(sock, b"\r\n").startswith(b"HTTP/1.1 401 ")


def test_a_sender_hears_that_its_signature_is_not_taken(storage):
    use(keys={"one": ONE, "two": TWO})
    wrong = signing._Key("one", TWO)
    ring = signing.keyring()
    ring.first = wrong
    with pytest.raises(BackendError, match="does not take our signature"):
        ask(storage)
    with pytest.raises(DirectError) as caught:
        direct.head_account(storage.node, 1, "a")
    assert caught.value.http_status is None and storage.asked == []


def test_a_clock_that_is_off_is_told_to_the_log_alone(storage):
    late = HEAD.replace(b"Content-Length: 4\r\n", b"")
    real = clock.time
    try:
        clock.time = lambda: real() - 1000
        head = signing.finished(late)
    finally:
        clock.time = real
    answer = storage.server.talk(head)
    assert answer.startswith(b"HTTP/1.1 401 ") and answer.endswith(guard.REFUSED)
    assert "it was signed 1000." in storage.logged[0]


def test_another_body_than_the_one_that_was_signed(storage):
    for body in (b"boDy", b"body"):
        head = signing.finished(HEAD, b"body")
        answer = storage.server.talk(head + body)
        assert answer.startswith(b"HTTP/1.1 200 " if body == b"body" else b"HTTP/1.1 401 ")
    assert [body for _, _, body in storage.asked] == [b"body"]


def test_a_signed_body_may_come_late(storage):
    head = signing.finished(HEAD + b"Expect: 100-continue\r\n", b"body")
    with storage.server.connect() as sock:
        sock.sendall(head)
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"bo")
        sock.sendall(b"dy")
        assert read_until(sock, b"ok").startswith(b"HTTP/1.1 200 OK")
    with storage.server.connect() as sock:
        sock.sendall(signing.finished(HEAD, b"body") + b"bo")
        sock.shutdown(socket.SHUT_WR)
        assert b" 200 " not in read_all(sock)
    assert len(storage.asked) == 1


def test_what_comes_later_of_a_body_may_wait_for_an_answer(storage):
    """Fragments come with their head, the word that they count when all servers have them."""
    head = signing.finished(HEAD.replace(b"Length: 4", b"Length: 6"), b"body")
    with storage.server.connect() as sock:
        sock.sendall(head + b"body")
        sock.sendall(b"!!")
        assert read_until(sock, b"ok").startswith(b"HTTP/1.1 200 OK")
    chunked = HEAD.replace(b"Content-Length: 4", b"Transfer-Encoding: chunked")
    for first in (b"4\r\nbody\r\n", b"4\r\nbOdy\r\n"):
        head = signing.finished(chunked, b"4\r\nbody\r\n")
        answer = storage.server.talk(head + first + b"2\r\n!!\r\n0\r\n\r\n")
        assert (b" 200 OK" in answer) == (b"body" in first)
    assert [body for _, _, body in storage.asked] == [b"body!!"] * 2


def test_each_request_of_a_connection_is_looked_at(storage):
    bodiless = HEAD.replace(b"Content-Length: 4\r\n", b"")
    answer = storage.server.talk(signing.finished(bodiless) + bodiless + b"\r\n")
    assert answer.count(b"HTTP/1.1 200 ") == 1 and answer.count(b"HTTP/1.1 401 ") == 1
    assert len(storage.asked) == 1


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /healthcheck", 200),
        (b"HEAD /metrics", 200),
        (b"GET /recon/ringmd5", 200),
        (b"GET /reconnaissance", 401),
        (b"PUT /recon/ringmd5", 401),
        (b"GET /healthcheck/../sda", 200),
        (b"GET /recon%2f..", 200),
    ],
)
def test_what_may_be_read_by_anybody(storage, request_line, status):
    use(open_paths=("/healthcheck", "/metrics", "/recon"))
    answer = storage.server.talk(request_line + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_while_signing_is_rolled_out_everybody_is_served(storage):
    use("sign", open_paths=("/recon",))
    assert storage.server.talk(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert len(storage.logged) == 1 and storage.logged[0].startswith("served in spite of their signatures")
    assert ask(storage) == b"ok"
    assert storage.server.talk(b"GET /recon/x HTTP/1.1\r\nHost: h\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert len(storage.logged) == 1


def test_one_line_says_of_many_that_they_were_refused(storage, monkeypatch):
    monkeypatch.setattr(guard, "LOG_SECONDS", 1000.0)
    for _ in range(20):
        storage.server.talk(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
    assert len(storage.logged) == 1


def test_servers_of_a_cluster_that_does_not_sign_have_no_guard():
    use("off", keys={})
    app = Storage()
    assert guard.guarded(app, {}, None) is app
