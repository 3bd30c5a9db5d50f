"""Writes under a condition at one object server: decided where the object gets its name, one writer at a time between the two phases."""

import errno
import os
import threading
import time

import pytest
from obj_app import App
from test_fragment_uploads import Mime, Short
from test_object_http import Client

from swift.core.concurrency import sleep, spawn
from swift.core.hashing import hash_path
from swift.engine.sockets import listen
from swift.engine.threads import run_in_thread
from swift.obj import reservations
from swift.obj.errors import Refused
from swift.obj.files import batch, writer
from swift.wire.server import Server

T0, T1, T2, T3, T4 = (f"170000000{n}.00000" for n in range(5))
CURRENT = "X_Backend_If_Current_Timestamp"


@pytest.fixture(params=["batch", "trip"])
def app(root, request, monkeypatch):
    monkeypatch.setattr(reservations, "PATIENCE", 0.2)
    return App(root, batch=request.param == "batch")


@pytest.fixture(params=["small", "expect", "chunked", "large"])
def put(app, request):
    """PUT by each way that a body can take."""

    def put(timestamp, body=b"body", **headers):
        if request.param == "expect":
            headers["Expect"] = "100-continue"
        elif request.param == "chunked":
            headers["Transfer_Encoding"] = "chunked"
        elif request.param == "large":
            body = body * 50000
        return app.put(timestamp, body, **headers)

    return put


def test_only_what_was_seen_is_replaced(app, put):
    assert put(T1, **{CURRENT: "0"}).status == 201
    refused = put(T2, **{CURRENT: T0})
    assert (refused.status, refused.headers["x-backend-timestamp"]) == (412, T1)
    assert put(T2, **{CURRENT: "0"}).status == 412
    assert app.files() == [f"{T1}.data"]
    assert put(T2, **{CURRENT: T1}).status == 201
    app.request("POST", X_Timestamp=T3)  # is no new content
    assert put(T4, **{CURRENT: T2}).status == 201
    assert put(T4[:-1] + "1", **{CURRENT: "x"}).status == 400


def test_what_has_missed_something_is_no_reason_against_it(app, put):
    app.put(T1)
    assert put(T3, **{CURRENT: T2}, If_None_Match="*").status == 201


def test_a_deletion_counts_like_an_object(app, put):
    app.request("DELETE", X_Timestamp=T1)
    assert put(T2, **{CURRENT: "0"}).status == 412
    assert put(T2, **{CURRENT: T1}).status == 201
    assert put(T3, If_None_Match="*").status == 412


@pytest.mark.parametrize("what", ["data", "deletion"])
@pytest.mark.parametrize("condition", [CURRENT, "If_None_Match"])
def test_what_comes_between_the_look_and_the_name(app, put, monkeypatch, what, condition):
    """Another process has written the object when this one is about to."""
    other = App(app.root, batch=False)
    at = []

    def fault_point(name):
        if name == "write:synced" and not at:
            at.append(name)
            answer = other.put(T1) if what == "data" else other.request("DELETE", X_Timestamp=T1)
            assert answer.status in (201, 404)

    for module in (batch, writer):
        monkeypatch.setattr(module, "fault_point", fault_point)
    assert put(T2, **{condition: "0" if condition == CURRENT else "*"}).status == 412
    assert at and app.files() == [f"{T1}.data" if what == "data" else f"{T1}.ts"]
    assert not os.listdir(f"{app.device}/tmp") if os.path.isdir(f"{app.device}/tmp") else True


def test_conditional_deletions(app):
    app.put(T1)
    refused = app.request("DELETE", X_Timestamp=T3, **{CURRENT: T0})
    assert refused.status == 412
    later = f"{T1}_0000000000000001"
    assert app.request("DELETE", X_Timestamp=later, **{CURRENT: T1}).status == 204
    assert app.request("DELETE", X_Timestamp=later, **{CURRENT: T1}).status == 404  # the same, sent twice
    assert app.files() == [f"{later}.ts"]
    assert app.request("DELETE", X_Timestamp=T3, **{CURRENT: "?"}).status == 400


# -- the two phases ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def address(app):
    sock = listen("127.0.0.1", 0)
    server = Server(sock, app.application, {"client_timeout": "5"}, app.log)
    thread = spawn(server.run)
    yield sock.getsockname()
    server.stop()
    thread.kill()


@pytest.fixture(params=[0, 2], ids=["copies", "fragments"])
def policy(request):
    return request.param


class Put(Mime):
    """The conversation of the specification, under a condition."""

    def __init__(self, time, policy, condition, name=CURRENT, body=b"body"):
        super().__init__(time, body=body)
        lines = [
            line
            for line in self.head.split(b"\r\n")[:-2]
            if not line.startswith(b"X-Backend-Storage-Policy-Index")
        ]
        lines += [
            b"X-Backend-Storage-Policy-Index: %d" % policy,
            f"{name.replace('_', '-')}: {condition}".encode(),
        ]
        self.head = b"\r\n".join([*lines, b"", b""])
        self.client = None

    def reserve(self, address):
        """Up to the second 100; the status line."""
        self.client = Client(address)
        return self.begin(self.client)[0]

    def commit(self):
        self.client.sock.sendall(self.second)
        return self.client.head()[0]

    def leave(self):
        self.client.sock.close()


def names(app, policy):
    store = app.server.stores.get(app.server.devices.get("sda"), app.server.policies[policy])
    try:
        return sorted(os.listdir(store.locate("7", hash_path("a/c/o"), "/a/c/o").hash_dir))
    except FileNotFoundError:
        return []


def stored(policy, time):
    return [f"{time}#1#d.data"] if policy else [f"{time}.data"]


GOES_ON, STORED = "HTTP/1.1 100 Continue", "HTTP/1.1 201 Created"
CONFLICT, FAILED = "HTTP/1.1 409 Conflict", "HTTP/1.1 412 Precondition Failed"


def test_while_one_has_reserved_it_no_other_does(app, address, policy):
    first, second, third = Put(T1, policy, "0"), Put(T2, policy, "0"), Put(T3, policy, T1)

    def talk():
        assert first.reserve(address) == GOES_ON
        assert not any(name.endswith(("#d.data", f"{T1}.data")) for name in names(app, policy))
        assert second.reserve(address) == CONFLICT
        assert first.commit() == STORED
        assert Put(T2, policy, "0").reserve(address) == FAILED
        assert third.reserve(address) == GOES_ON
        assert third.commit() == STORED

    run_in_thread(talk)
    assert names(app, policy) == stored(policy, T3)


def test_who_waits_goes_on_when_the_other_one_has_left(app, address, policy, monkeypatch):
    monkeypatch.setattr(reservations, "PATIENCE", 5)
    first, second = Put(T1, policy, "0"), Put(T2, policy, "*", "If_None_Match")

    def talk():
        assert first.reserve(address) == GOES_ON
        waiting = threading.Timer(0.2, first.leave)
        waiting.start()
        assert second.reserve(address) == GOES_ON
        assert second.commit() == STORED

    run_in_thread(talk)
    assert names(app, policy)[-1:] == stored(policy, T2)


def test_what_may_have_been_written_elsewhere_is_not_undercut(app, address, policy):
    """Whoever comes after a write that came to nothing here must be newer, or else it would be found in his place one day."""

    def talk():
        first = Put(T3, policy, "0")
        assert first.reserve(address) == GOES_ON
        first.leave()
        until = time.monotonic() + 60
        while Put(T2, policy, "0").reserve(address) != CONFLICT and time.monotonic() < until:
            time.sleep(0.05)
        second = Put(T2, policy, "0")
        assert second.reserve(address) == CONFLICT
        third = Put(T4, policy, "0")
        assert third.reserve(address) == GOES_ON
        assert third.commit() == STORED

    run_in_thread(talk)


def test_what_comes_while_it_is_reserved_is_not_overwritten(app, address, policy):
    """Who asks for no condition does not care who has reserved what."""
    put = Put(T1, policy, "0")

    def talk():
        assert put.reserve(address) == GOES_ON

    run_in_thread(talk)
    assert app.request("DELETE", X_Timestamp=T0, X_Backend_Storage_Policy_Index=str(policy)).status == 404
    assert run_in_thread(put.commit) == FAILED
    assert not any(name.endswith((f"{T1}.data", "#d.data")) for name in names(app, policy))


def test_a_conditional_deletion_waits_too(app, address):
    app.put(T1)
    put = Put(T2, 0, T1)
    later = f"{T1}_0000000000000001"

    def delete():
        return app.request("DELETE", X_Timestamp=later, **{CURRENT: T1})

    assert run_in_thread(put.reserve, address) == GOES_ON
    refused = delete()
    assert refused.status == 409 and app.files() == [f"{T1}.data"]
    run_in_thread(put.leave)
    for _ in range(100):
        refused = delete()
        if "x-backend-timestamp" in refused.headers:
            break
        sleep(0.05)
    assert (refused.status, refused.headers["x-backend-timestamp"]) == (409, T2)  # which may be elsewhere
    assert app.request("DELETE", X_Timestamp=f"{T2}_0000000000000001", **{CURRENT: T1}).status == 204


def test_reservations_of_other_processes_count(app):
    store = app.server.stores.get(app.server.devices.get("sda"), app.server.policies[0])
    place = store.locate("7", hash_path("a/c/o"), "/a/c/o")
    other = App(app.root).server.reservations
    held = other.take(store, place, T1)
    with pytest.raises(Refused) as refused:
        app.server.reservations.take(store, place, T2, 0.05)
    assert refused.value.status == 409
    elsewhere = store.locate("7", hash_path("a/c/other"), "/a/c/other")
    app.server.reservations.take(store, elsewhere, T1, 0.05).close()
    held.close()
    app.server.reservations.take(store, place, T2, 0.05).close()
    reservations.take_away(app.root)
    reservations.take_away(app.root)


@pytest.mark.parametrize("what", ["missing", "full", "ours not alone"])
def test_no_disk_is_blamed_for_reservations_that_cannot_be_had(app, monkeypatch, tmp_path, what):
    """A proxy would send nobody to that disk any more."""
    app.put(T1)
    path = f"{tmp_path}/none/x" if what == "missing" else f"{tmp_path}/there"
    monkeypatch.setattr(app.server.reservations, "_path", path)
    if what == "ours not alone":
        os.close(os.open(path, os.O_CREAT, 0o600))
        os.chmod(path, 0o666)

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    if what == "full":
        monkeypatch.setattr(reservations.os, "pread", full)
    answer = app.request("DELETE", X_Timestamp=T2, **{CURRENT: T1})
    monkeypatch.undo()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert app.files() == [f"{T1}.data"]
    assert app.request("DELETE", X_Timestamp=T2).status == 204


def test_reservations_are_those_of_the_user_that_a_worker_becomes(app, monkeypatch):
    """Its parent, which is root, has made the application."""
    store = app.server.stores.get(app.server.devices.get("sda"), app.server.policies[0])
    place = store.locate("7", hash_path("a/c/o"), "/a/c/o")
    monkeypatch.setattr(reservations.os, "geteuid", lambda: 4242)
    made = reservations.Reservations(app.root)
    monkeypatch.undo()
    other = reservations.Reservations(app.root).take(store, place, T1)
    with pytest.raises(Refused):
        made.take(store, place, T2, 0.05)
    other.close()
    reservations.take_away(app.root)


@pytest.mark.parametrize("is_short", [False, True])
def test_a_lock_that_comes_before_the_commit_counts(app, address, is_short):
    """The fragment is stored, but does not count yet."""
    ec = {"X_Backend_Storage_Policy_Index": "2"}
    kept = {"X_Object_Transient_Sysmeta_S3api_Retention": "COMPLIANCE;4000000000"}
    form = Short if is_short else Mime
    client = Client(address)

    def begin(put):
        status = put.begin(client)[0]
        assert status == GOES_ON

    def commit(put):
        client.sock.sendall(put.second)
        return client.head()[0]

    first, second = form(T1), form(T3)
    lock = b"X-Backend-Object-Lock: %s\r\n\r\n" % T1.encode()
    second.head = second.head[:-2] + lock
    run_in_thread(begin, first)
    assert run_in_thread(commit, first) == STORED
    client.sock.close()
    client = Client(address)
    run_in_thread(begin, second)
    assert app.request("POST", X_Timestamp=T2, X_Backend_Object_Lock=T1, **kept, **ec).status == 202
    assert run_in_thread(commit, second) == "HTTP/1.1 403 Forbidden"
    assert names(app, 2) == [f"{T1}#1#d.data", f"{T2}.meta", f"{T3}#1.data"]
