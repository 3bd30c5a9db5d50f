"""The process that carries small writes to a real disk: it answers as a thread would, and its death loses nothing."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obj_app import App

from swift.core.concurrency import hub, sleep, spawn
from swift.core.object_lock import Word
from swift.engine import threads
from swift.engine.space import Reserve
from swift.obj.errors import Deleted, Elsewhere, Expired, NotExist, Refused
from swift.obj.files import carriers, messages
from swift.obj.files.batch import SmallWrite
from swift.obj.files.layout import ObjectLocation
from swift.obj.files.plans import CommitPlan, DeletePlan, PostPlan, PutPlan
from swift.obj.store import OpenObject, State, StoreOptions, Write
from swift.obj.verdicts import DeleteCheck, Locking, PostChange, PutCheck
from swift.wire.message import Match
from test import disks

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))
POINTS = [
    "write:opened",
    "write:attributes",
    "write:synced",
    "invalidate:appended",
    "write:linked",
    "write:durable",
    "write:cleaned",
    "writer:written",
]


@pytest.fixture(scope="module")
def disk():
    with disks.xfs() as path:
        yield path


@pytest.fixture
def app(disk, tmp_path):
    hub()
    app = App(f"{disk}/{tmp_path.name}", writer_process="true")
    yield app
    end(app)
    shutil.rmtree(app.root)


TEXT = st.text(max_size=20) | st.just("caf\udcc3\udca9\nx")
HEADERS = st.dictionaries(TEXT, TEXT, max_size=4)


@given(
    HEADERS,
    st.binary(max_size=50),
    st.none() | st.lists(TEXT, max_size=3),
    TEXT,
    st.floats(0, 1e10),
    st.booleans(),
)
def test_items_come_over_as_they_were_sent(headers, body, tags, name, now, flag):
    condition = None
    if tags is not None:
        condition = Match("")
        condition.tags = set(tags)
    where = ObjectLocation("/srv/node/sda", 1, "7", "0" * 29 + "abc", name, etag_validate_pct=50.0)
    plans = [
        PutPlan(where, headers, body, PutCheck(T1, condition), Write(now, fragment=2 if flag else None), 2),
        PostPlan(
            where,
            PostChange(T1, name, T2, headers, locking=Locking(now, None, flag, not flag)),
            Write(now, open_expired=flag, is_exact=not flag),
        ),
        DeletePlan(
            where,
            T1,
            DeleteCheck(T2, 5 if flag else None, flag, locking=Locking(now, Word(T1, flag, not flag), True)),
            Write(now, is_exact=flag),
        ),
    ]
    for number, plan in enumerate(plans):
        got, item = messages.decode_item(messages.encode_item(number, SmallWrite(where, plan, len(body))))
        assert got == number and type(item.plan) is type(plan)
        for field in ("device_path", "hash_dir", "name", "policy_index", "etag_validate_pct", "ec"):
            assert getattr(item.where, field) == getattr(where, field)
        assert item.plan.write == plan.write
        if number == 0:
            assert (item.plan.metadata, item.plan.body, item.bytes) == (headers, body, len(body))
            assert (item.plan.check.timestamp, item.plan.fragment) == (T1, 2)
            assert (item.plan.check.if_none_match is None) == (condition is None)
            assert condition is None or item.plan.check.if_none_match.tags == condition.tags
        elif number == 1:
            assert item.plan.change == plan.change
        else:
            assert (item.plan.timestamp, item.plan.check) == (plan.timestamp, plan.check)
    message = messages.encode_item(7, SmallWrite(where, CommitPlan(T1, 5)))
    assert messages.decode_item(message)[1].plan == CommitPlan(T1, 5)
    with pytest.raises(Elsewhere):
        messages.encode_item(
            1, SmallWrite(where, PutPlan(where, headers, body, lambda state: None, Write(now)), 1)
        )


@given(HEADERS, HEADERS, st.none() | HEADERS, st.booleans(), st.none() | st.lists(TEXT, max_size=2))
def test_results_come_back_as_they_were(metadata, data, meta, flag, notes):
    where = ObjectLocation("/srv/node/sda", 0, "7", "0" * 32, "/a/c/o")
    where.notes = notes
    item = SmallWrite(where, lambda: (None, None))
    found = OpenObject(-1, f"{T1}.data")
    found.metadata, found.meta_metadata, found.size = metadata, meta, 7
    found.data_metadata = metadata if flag else data
    found.timestamp, found.data_timestamp, found.ctype_timestamp, found.durable_timestamp = T3, T1, T2, None
    state = State()
    state.found = found if flag else None
    state.timestamp, state.metadata, state.expired = T1, metadata, not flag
    expired = Expired({"X-Timestamp": T1, **metadata})
    values = [
        state,
        (state, flag),
        (found, data),
        Refused(409, T1),
        expired,
        OSError(28, "full"),
        Deleted(T2),
        KeyError("x"),
        None,
    ]
    results = [messages.encode_result(n, item, value) for n, value in enumerate(values)]
    for (number, told, value), sent in zip(
        messages.decode_results(messages.join_results(results)), values, strict=True
    ):
        assert values[number] is sent and told == notes
        if isinstance(sent, Exception):
            assert type(value) is (
                RuntimeError
                if isinstance(sent, KeyError)
                else OSError
                if isinstance(sent, OSError)
                else type(sent)
            )
            assert {**vars(sent)} == vars(value)
            assert getattr(sent, "errno", None) == getattr(value, "errno", None)
            continue
        if sent is None:
            assert value is None
            continue
        for ours, theirs in ((sent, value),) if isinstance(sent, State) else zip(sent, value, strict=True):
            assert described(ours) == described(theirs)


def described(value):
    if isinstance(value, (OpenObject, State)):
        return {
            name: described(getattr(value, name))
            for name in type(value).__slots__
            if name not in ("fd", "identity")
        }
    return value


@pytest.mark.parametrize("reserve", [0, 1048576, "1%", "2.5%"])
def test_terms_come_over_as_they_were_sent(reserve):
    options = StoreOptions(False, Reserve(reserve), 5 << 20, 1e12, 30.5)
    terms = messages.Terms.decode(messages.Terms("/srv/node/sda", True, options).encode())
    assert (terms.path, terms.mount_check) == ("/srv/node/sda", True)
    assert (terms.options.reserve.value, terms.options.reserve.percent) == (
        options.reserve.value,
        options.reserve.percent,
    )
    for name in ("preallocate", "sync_every", "reclaim_age", "commit_window"):
        assert getattr(terms.options, name) == getattr(options, name)


def store_of(app):
    return app.server.stores.get(app.server.devices.get("sda"), app.server.policies.default)


def writers_of(app):
    return store_of(app).writers


def process_of(app):
    """The writer process's number, once it is up."""
    writers = writers_of(app)
    carrier = writers.carrier(app.server.devices.get("sda"))
    for _ in range(3000):
        carrier = writers.carrier(app.server.devices.get("sda"))
        if isinstance(carrier, carriers.WriterChannel):
            return writers._pids[-1]
        sleep(0.01)
    raise AssertionError("no writer process")


def end(app):
    writers = writers_of(app)
    pids = [*writers._pids, *writers._dying]
    for channel in writers._channels.values():
        channel.lose()
    writers._close()
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def test_until_it_is_up_a_thread_writes(app):
    assert app.put(T1).status == 201
    process_of(app)
    assert app.put(T2, b"by the process").status == 201
    assert app.get().body == b"by the process"


def test_it_answers_as_a_thread_would(app):
    process_of(app)
    sent = writers_of(app)._channels[app.device]
    assert app.put(T2, b"one", X_Object_Meta_A="b").status == 201
    assert app.put(T2, b"one", X_Object_Meta_A="b").status == 201
    got = app.put(T2, b"other")
    assert (got.status, got.headers["x-backend-timestamp"]) == (409, T2)
    assert app.put(T1, b"older").headers["x-backend-timestamp"] == T2
    assert app.put(T3, b"x", If_None_Match="*").status == 412
    assert app.request("POST", X_Timestamp=T1, X_Object_Meta_A="c").status == 409
    assert app.request("POST", X_Timestamp=T3, X_Object_Meta_A="c").status == 202
    assert app.get().headers["x-object-meta-a"] == "c"
    assert app.request("POST", "/sda/7/a/c/none", X_Timestamp=T3).status == 404
    assert app.request("DELETE", X_Timestamp=T1).status == 409
    assert app.request("DELETE", X_Timestamp=T3, X_If_Delete_At="5").status == 412
    assert app.request("DELETE", X_Timestamp="1700000004.00000").status == 204
    assert app.request("DELETE", X_Timestamp="1700000005.00000").status == 404
    assert app.put("1700000006.00000", os.urandom(65536)).status == 201
    assert sent._number == sent._count[0] == 13
    assert not app.log.lines


def test_fragments_are_committed_by_it(app):
    process_of(app)
    channel = writers_of(app)._channels[app.device]
    server = app.server
    store = server.stores.get(server.devices.get("sda"), server.policies[2])
    place = store.locate("7", "0" * 29 + "abc", "/a/c/o")
    for when in (T1, T2):
        metadata = {"X-Timestamp": when, "ETag": "e", "Content-Length": "4", "Content-Type": "a/b"}
        metadata["X-Object-Sysmeta-Ec-Frag-Index"] = "3"
        store.put(place, metadata, b"body", PutCheck(when, None), Write(0))
        sent = channel._number
        store.commit(place, when, 3)
        assert channel._number == sent + 1
        assert os.listdir(place.hash_dir) == [f"{when}#3#d.data"]
    store.commit(place, T2, 3)  # once more
    with pytest.raises(NotExist):
        store.commit(place, T3, 3)


def test_many_at_once(app):
    process_of(app)
    greens = [
        spawn(app.request, "PUT", f"/sda/{n % 5}/a/c/{n}", os.urandom(60000), X_Timestamp=T1)
        for n in range(200)
    ]
    assert {green.wait().status for green in greens} == {201}
    channel = writers_of(app)._channels[app.device]
    assert (
        channel.pending == 0 and not channel._flying and not channel._backlog and not channel._backlog_bytes
    )


def test_damage_is_set_aside_and_said(app):
    process_of(app)
    app.put(T1)
    os.setxattr(f"{app.where().hash_dir}/{T1}.data", "user.swift.metadata", b"bad")
    assert app.put(T2, b"good").status == 201
    assert app.get().body == b"good"
    assert any("Quarantined" in line for line in app.log.lines)


@pytest.mark.parametrize("point", POINTS)
def test_killed_amid_a_write(app, monkeypatch, point):
    """The client hears 503, the object is old or new, and whole; a thread goes on until there is another process."""
    monkeypatch.setenv("SWIFT_FAULT_POINT", f"{point}:2")
    pid = process_of(app)
    assert app.put(T1, b"old").status == 201
    assert app.put(T2, b"new").status == 503
    # another process that remembers nothing sees what a server sees after a crash
    other = App(app.root, writer_process="false")
    got = other.get()
    assert (got.status, got.body) in ((200, b"old"), (200, b"new"))
    if POINTS.index(point) >= POINTS.index("write:linked"):
        assert got.body == b"new"
    assert app.put(T2, b"new").status == 201
    assert app.put(T3, b"newer").status == 201
    assert app.get().body == b"newer"
    assert app.files() == [f"{T3}.data"]
    monkeypatch.delenv("SWIFT_FAULT_POINT")
    monkeypatch.setattr(carriers, "RESTART_SECONDS", 0.0)
    assert process_of(app) != pid
    assert app.put("1700000004.00000", b"newest").status == 201
    assert not os.path.exists(f"/proc/{pid}")


def test_all_that_were_under_way_hear_of_its_death(app):
    pid = process_of(app)
    with disks.frozen(app.root):
        greens = [spawn(app.request, "PUT", f"/sda/7/a/c/{n}", b"x", X_Timestamp=T1) for n in range(20)]
        sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        sleep(0.2)
        # it hangs in the disk and can't die: neither is anybody told before it has, nor is there a second writer
        assert os.path.exists(f"/proc/{pid}")
    answers = [green.wait().status for green in greens]
    assert set(answers) <= {201, 503}
    for number, status in enumerate(answers):
        if status == 201:
            assert app.request("GET", f"/sda/7/a/c/{number}").status == 200
    assert app.put(T2).status == 201


def test_killed_while_one_disk_hangs_the_others_get_another_process(app, monkeypatch):
    """And the disk that hangs gets none before the thread in it is gone, nor a thread that stands in."""
    monkeypatch.setattr(carriers, "RESTART_SECONDS", 0.0)
    monkeypatch.setattr(threads.LIMITS, "stall", 4.0)
    with disks.xfs() as other:
        os.symlink(other, f"{app.root}/sdb")
        pid = process_of(app)
        assert app.request("PUT", "/sdb/7/a/c/o", b"x", X_Timestamp=T1).status == 201
        channel = writers_of(app)._channels[f"{app.root}/sdb"]
        while not channel.is_ready:
            assert app.request("PUT", "/sdb/7/a/c/o", b"x", X_Timestamp=T1).status == 201
            sleep(0.01)
        assert app.request("PUT", "/sda/7/a/c/n", b"", X_Timestamp=T1).status == 201
        with disks.frozen(app.device):
            hanging = spawn(app.request, "PUT", "/sda/7/a/c/n", b"x", X_Timestamp=T2)
            sleep(0.3)
            os.kill(pid, signal.SIGKILL)
            sleep(0.1)
            # what is sent before that is found out reaches nobody, and nobody takes the other disk for stuck
            assert app.request("PUT", "/sdb/7/a/c/o", b"y", X_Timestamp=T2).status in (201, 503)
            assert hanging.wait().status == 503
            assert os.path.exists(f"/proc/{pid}")
            assert app.request("PUT", "/sdb/7/a/c/o", b"y", X_Timestamp=T2).status == 201
            for _ in range(500):
                carrier = writers_of(app).carrier(app.server.devices.get("sdb"))
                if isinstance(carrier, carriers.WriterChannel):
                    break
                sleep(0.02)
            else:
                pytest.fail("no other process")
            assert app.request("PUT", "/sdb/7/a/c/o", b"z", X_Timestamp=T3).status == 201
            assert writers_of(app)._pids[-1] != pid
            for _ in range(2):
                assert app.request("PUT", "/sda/7/a/c/n", b"y", X_Timestamp=T3).status == 507
            assert not writers_of(app)._threads[app.device].pending
        for _ in range(500):
            if app.request("PUT", "/sda/7/a/c/n", b"z", X_Timestamp=T3).status == 201:
                break
            sleep(0.02)
        assert app.request("GET", "/sda/7/a/c/n").body == b"z"
        assert app.request("GET", "/sdb/7/a/c/o").body == b"z"
        assert not os.path.exists(f"/proc/{pid}") and not writers_of(app)._dying


def test_it_ends_with_its_server(disk, tmp_path):
    """Also when that is killed; and signals that are meant for the server do not end it before."""
    code = f"""
        import sys, os, time
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from test_carriers import App, process_of, T1
        from swift.core.concurrency import hub
        from swift.core import hashing
        hashing.set_hash_config("changeme", "changeme")
        hub()
        app = App({f"{disk}/{tmp_path.name}"!r}, writer_process="true")
        print(process_of(app), flush=True)
        time.sleep(100)
    """
    server = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    pid = int(server.stdout.readline())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(pid, number)
    time.sleep(0.2)
    assert os.path.exists(f"/proc/{pid}")
    server.kill()
    server.wait()
    for _ in range(500):
        if not os.path.exists(f"/proc/{pid}") or "\nState:\tZ" in open(f"/proc/{pid}/status").read():
            break
        time.sleep(0.02)
    else:
        raise AssertionError("still there")


def test_on_a_memory_file_system_there_is_none(root):
    app = App(root, writer_process="true")
    if not app.server.devices.get("sda").inline:
        pytest.skip("needs tmpfs")
    app.put(T1)
    assert isinstance(writers_of(app), carriers.OnTheSpot)


def test_where_no_process_can_be_had_a_thread_writes(app, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(11, "no more processes")

    monkeypatch.setattr(os, "posix_spawn", refuse)
    for timestamp in (T1, T2, T3):
        assert app.put(timestamp).status == 201
    assert not writers_of(app)._pids
