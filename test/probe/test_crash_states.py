"""Whatever a power cut leaves of what was not synced: what was acknowledged is whole, what was not is whole or absent.

A real server does each kind of write under the tracer; then each state that its disk may be left in (`test.crash_states`) is made
and opened by the store, which reads every byte as the auditor does.
"""

import functools
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
from zlib import crc32

import pytest
from servers import environment
from traced_servers import ROOT, TracedServer, answers

from swift.account.broker import AccountBroker
from swift.container.broker import ContainerBroker
from swift.core import hashing, swift_dir
from swift.core.hashing import hash_path
from swift.core.policy import policies
from swift.db.connection import CONNECTIONS
from swift.obj.device import Device
from swift.obj.errors import NotExist
from swift.obj.files import suffixes
from swift.obj.files.store import FileStore
from swift.obj.store import EXTENT, StoreOptions
from swift.ring.builder import RingBuilder
from test import crash_states, system_calls
from test.cluster import wait_for_port
from test.crash_states import Recording, tree
from test.object_nodes import OURS, ObjectNodes
from test.ports import free_port

WHOLE_STRINGS = 1 << 21
NOBODY = {"X-Container-Partition": "1", "X-Container-Host": "127.0.0.1:1", "X-Container-Device": "sda"}
COMMIT = b"put_commit_confirmation"
MOST = 6000  # states of one test


@pytest.fixture
def memory():
    """Where states are made: by the thousand."""
    where = "/dev/shm" if os.path.isdir("/dev/shm") else None
    path = pathlib.Path(tempfile.mkdtemp(prefix="swift-test-states-", dir=where))
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def needs_strace(tmp_path, monkeypatch):
    if why := system_calls.why_not():
        pytest.skip(why)


START = int(time.time()) - 1000


def at(second):
    """A timestamp of a moment ago: what is older than the reclaim age is another matter."""
    return f"{START + second}.00000"


def recorded(server):
    """(the recording, the calls), checked: all changes together give what is there."""
    calls = server.calls()
    recording = Recording(server.device, calls)
    return recording, calls


def assert_same_as_disk(recording, device, memory):
    """A recorder that missed something would prove nothing."""
    recording.make(recording.changes, memory / "all")
    made, there = tree(memory / "all"), tree(pathlib.Path(device))
    assert made.keys() == there.keys()
    for path, content in there.items():
        assert made[path] == content, path


def each_state(recording, moments, memory):
    """(how many of the answers have left, the root of the state)"""
    count = 0
    for left, kept in crash_states.states(recording, moments):
        root = memory / "state"
        root.mkdir()
        recording.make(kept, root / "sda")
        yield left, root
        shutil.rmtree(root)
        count += 1
        assert count < MOST
    assert count > len(moments)


# -- objects ---------------------------------------------------------------------------------------------------------------


class Objects:
    """Requests about objects, one after the other, and what each of them leaves. A world: (policy, name) → (time, body, metadata)."""

    def __init__(self, server, at=at):
        self.server = server
        self.at = at
        self.worlds = [{}]
        self.times = []
        self.pending = [set()]
        self.second = 0

    def path(self, name):
        return f"/sda/{int(hash_path(f'a/c/{name}')[:2], 16)}/a/c/{name}"

    def _done(self, policy, name, state, told):
        self.times.append(self.at(self.second))
        self.worlds.append({**self.worlds[-1], (policy, name): state})
        self.pending.append(self.pending[-1] | ({(name, self.at(self.second))} if told else set()))

    def do(self, method, name, body=b"", told=False, metadata=""):
        self.second += 1
        headers = {"X_Object_Meta_A": metadata} if method != "DELETE" else {}
        status = self.server.request(
            method, self.path(name), self.at(self.second), body, **headers, **(NOBODY if told else {})
        )
        assert status in (201, 202, 204, 404), (method, status)
        before = self.worlds[-1].get((0, name))
        state = {
            "PUT": (body, metadata),
            "POST": before and (before[0], metadata),
            "DELETE": None,
        }[method]
        self._done(0, name, state, told)

    def put_fragment(self, name, body, index):
        """Both phases, in the short form."""
        self.second += 1
        lines = {
            "Host": "x",
            "X-Timestamp": self.at(self.second),
            "Content-Type": "a/b",
            "Content-Length": len(body) + len(COMMIT),
            "Etag": hashlib.md5(body).hexdigest(),
            "X-Backend-Body-Crc32": f"{crc32(body):08x}",
            "X-Backend-Obj-Content-Length": len(body),
            "X-Backend-Obj-Multiphase-Commit": "yes",
            "X-Backend-Storage-Policy-Index": 2,
            "X-Object-Meta-A": "fragment",
            "X-Object-Sysmeta-Ec-Frag-Index": index,
            "X-Object-Sysmeta-Ec-Etag": "0" * 32,
            "X-Object-Sysmeta-Ec-Content-Length": 500,
            "X-Object-Sysmeta-Ec-Scheme": "isa_l_rs_vand 4+2",
            "X-Object-Sysmeta-Ec-Segment-Size": 1024,
        }
        self._talk(name, lines, [body, COMMIT])
        self._done(2, name, (body, "fragment"), False)

    def put_fragment_as_documents(self, name, body, index):
        """Both phases, in the form of the specification: body, footers and commit are parts of a MIME document."""
        self.second += 1
        boundary = "b" * 64
        lines = {
            "Host": "x",
            "X-Timestamp": self.at(self.second),
            "Content-Type": "a/b",
            "Expect": "100-continue",
            "Transfer-Encoding": "chunked",
            "X-Backend-Obj-Content-Length": len(body),
            "X-Backend-Obj-Metadata-Footer": "yes",
            "X-Backend-Obj-Multiphase-Commit": "yes",
            "X-Backend-Obj-Multipart-Mime-Boundary": boundary,
            "X-Backend-Storage-Policy-Index": 2,
            "X-Object-Meta-A": "document",
        }
        footers = {
            "Etag": hashlib.md5(body).hexdigest(),
            "X-Object-Sysmeta-Ec-Frag-Index": str(index),
            "X-Object-Sysmeta-Ec-Etag": "0" * 32,
            "X-Object-Sysmeta-Ec-Content-Length": "500",
            "X-Object-Sysmeta-Ec-Scheme": "isa_l_rs_vand 4+2",
            "X-Object-Sysmeta-Ec-Segment-Size": "1024",
        }
        text, line = json.dumps(footers).encode(), b"--" + boundary.encode()
        digest = hashlib.md5(text).hexdigest().encode()
        first = [
            line + b"\r\nX-Document: object body\r\n\r\n",
            body,
            b"\r\n%s\r\nX-Document: object metadata\r\nContent-MD5: %s\r\n\r\n%s\r\n%s\r\n"
            % (line, digest, text, line),
            b"",
        ]
        second = [b"X-Document: put commit\r\n\r\n" + COMMIT + b"\r\n" + line + b"--", b""]
        parts = [b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in some) for some in (first, second)]
        self._talk(name, lines, [b"", *parts])
        self._done(2, name, (body, "document"), False)

    def _talk(self, name, lines, parts):
        """The first part goes with the head, the others after a 100 each."""
        head = f"PUT {self.path(name)} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        with socket.create_connection(("127.0.0.1", self.server.port), 30) as client:
            client.sendall(head.encode() + b"\r\n" + parts[0])
            for part in parts[1:]:
                assert client.recv(65536).startswith(b"HTTP/1.1 100")
                client.sendall(part)
            assert client.recv(65536).startswith(b"HTTP/1.1 201")


def stored(root, policy, name, partition=None):
    """What the store has of an object, every byte looked at: (body, metadata) or None."""
    store = FileStore(Device("sda", f"{root}/sda", 1), policies()[policy], StoreOptions(warm_bytes=0))
    partition = int(hash_path(f"a/c/{name}")[:2], 16) if partition is None else partition
    place = store.locate(str(partition), hash_path(f"a/c/{name}"), f"/a/c/{name}")
    if not os.path.isdir(f"{root}/sda"):
        return None
    try:
        store.verify(place)
        found = store.open(place, EXTENT)
    except NotExist:
        return None
    with found_closed(found):
        return os.pread(found.fd, found.size, found.offset), found.metadata.get("X-Object-Meta-A", "")


class found_closed:
    def __init__(self, found):
        self.found = found

    def __enter__(self):
        return self.found

    def __exit__(self, *exc):
        self.found.close()


def pending_there(root):
    return {path.name for path in (root / "sda").glob("async_pending*/*/*")}


def assert_objects_survive(objects, memory, moments, recording):
    for left, root in each_state(recording, moments, memory):
        before = objects.worlds[left]
        after = objects.worlds[left + 1] if left + 1 < len(objects.worlds) else before
        for policy, name in after:
            got = stored(root, policy, name)
            assert got in (before.get((policy, name)), after[policy, name]), (
                left,
                policy,
                name,
                got and got[1],
            )
        assert not (root / "sda" / "quarantined").exists(), left
        there = pending_there(root)
        for name, when in objects.pending[left]:
            assert any(file.startswith(hash_path(f"a/c/{name}")) for file in there), (left, name, when, there)
        for partition in (root / "sda").glob("objects*/*"):
            suffixes.get_hashes(str(partition), reclaim_age=1e12)


@pytest.fixture(params=["thread", "process"])
def object_server(request, tmp_path, memory):
    """In memory small writes are done inline, so these stand on the disk that the tests are on."""
    in_process = request.param == "process"
    server = TracedServer(
        tmp_path / "node",
        tmp_path,
        strings=WHOLE_STRINGS,
        writer_process=str(in_process),
        container_update_timeout=0.2,
    )
    swift_dir.use(str(tmp_path))
    yield server
    server.stop()


def test_objects(object_server, memory):
    objects = Objects(object_server)
    objects.do("PUT", "small", b"first", metadata="1")
    objects.do("PUT", "small", b"second" * 100, metadata="2")
    objects.do("POST", "small", metadata="3")
    objects.do("POST", "small", metadata="4")
    objects.do("PUT", "large", os.urandom(100_000), metadata="5")
    objects.do("PUT", "large", os.urandom(150_000), metadata="6")
    objects.do("DELETE", "small")
    objects.do("PUT", "small", b"again", metadata="7")
    objects.do("DELETE", "large")
    objects.do("DELETE", "never")
    objects.put_fragment("piece", os.urandom(2000), 3)
    objects.put_fragment("piece", os.urandom(90_000), 3)
    objects.do("PUT", "told", b"told", told=True)
    recording, calls = recorded(object_server)
    assert_same_as_disk(recording, object_server.device, memory)
    left = answers(calls)
    assert_objects_survive(objects, memory, [left[when][1] for when in objects.times], recording)


def test_fragments_that_come_as_documents(object_server, memory):
    objects = Objects(object_server)
    objects.put_fragment_as_documents("piece", os.urandom(2000), 3)
    objects.put_fragment_as_documents("piece", os.urandom(90_000), 3)
    objects.put_fragment("piece", os.urandom(700), 3)
    objects.put_fragment_as_documents("piece", b"x", 3)
    recording, calls = recorded(object_server)
    assert_same_as_disk(recording, object_server.device, memory)
    left = answers(calls)
    assert_objects_survive(objects, memory, [left[when][1] for when in objects.times], recording)


def test_a_tombstone_that_is_old_already(object_server, memory):
    """It goes at once, with what it hides: never before it."""
    objects = Objects(object_server, lambda second: f"{1700000000 + second}.00000")
    objects.do("PUT", "o", b"first", metadata="1")
    objects.do("POST", "o", metadata="2")
    objects.do("DELETE", "o")
    objects.do("PUT", "o", b"second", metadata="3")
    objects.do("DELETE", "o")
    recording, calls = recorded(object_server)
    assert_same_as_disk(recording, object_server.device, memory)
    left = answers(calls)
    assert_objects_survive(objects, memory, [left[when][1] for when in objects.times], recording)


# -- containers ------------------------------------------------------------------------------------------------------------

CONTAINER = "/sda/1/a/c"
ROW = {"X_Size": "7", "X_Content_Type": "t/x", "X_Etag": "e", "X_Backend_Storage_Policy_Index": "0"}


class Rows:
    """Requests about one container. A world: None before there is one, or (deleted, rows: name → time, metadata)."""

    def __init__(self, server):
        self.server = server
        self.worlds = [None]
        self.times = []

    def do(self, method, path, world, **headers):
        second = len(self.times) + 1
        self.times.append(at(second))
        status = self.server.request(method, CONTAINER + path, at(second), **headers)
        assert status in (201, 202, 204), (method, path, status)
        self.worlds.append(world(self.worlds[-1], at(second)))

    def create(self):
        self.do(
            "PUT",
            "",
            lambda world, when: (False, world[1] if world else {}, {}),
            X_Backend_Storage_Policy_Index="0",
        )

    def row(self, name):
        self.do("PUT", f"/{name}", lambda world, when: (False, {**world[1], name: when}, world[2]), **ROW)

    def remove(self, name):
        kept = lambda rows: {key: value for key, value in rows.items() if key != name}  # noqa: E731
        self.do("DELETE", f"/{name}", lambda world, when: (False, kept(world[1]), world[2]), **ROW)

    def post(self, value):
        self.do(
            "POST",
            "",
            lambda world, when: (False, world[1], {"X-Container-Meta-A": value}),
            X_Container_Meta_A=value,
        )

    def delete(self):
        self.do("DELETE", "", lambda world, when: (True, {}, {}))


def container_there(root, container="c"):
    """As in a world; the file sound in every page."""
    name_hash = hash_path("a", container)
    path = root / "sda" / "containers" / "1" / name_hash[-3:] / name_hash / f"{name_hash}.db"
    broker = ContainerBroker(str(path))
    if not broker.exists():
        return None
    try:
        with broker.connection() as conn:
            assert conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        broker.commit_pending()
        rows = {row["name"]: row["created_at"] for row in broker.items_since(-1, 1000) if not row["deleted"]}
        metadata = {key: value[0] for key, value in broker.metadata().items() if value[0]}
        return broker.is_deleted(), rows, metadata
    finally:
        CONNECTIONS.forget(str(path.parent))


@pytest.fixture
def container_server(tmp_path, memory, request):
    server = TracedServer(
        tmp_path / "node", tmp_path, "container", strings=WHOLE_STRINGS, sync_pending_updates=request.param
    )
    swift_dir.use(str(tmp_path))
    yield server
    server.stop()


@pytest.mark.parametrize("container_server", ["yes", "no"], indirect=True, ids=["synced rows", "usual"])
def test_containers(container_server, memory, request):
    rows = Rows(container_server)
    rows.create()
    rows.row("a")
    rows.row("b")
    rows.post("1")
    rows.row("c")
    rows.remove("a")
    rows.post("2")
    rows.remove("b")
    rows.remove("c")
    rows.delete()
    rows.create()
    rows.row("d")
    recording, calls = recorded(container_server)
    assert_same_as_disk(recording, container_server.device, memory)
    left = answers(calls)
    rows_are_synced = "synced" in request.node.callspec.id
    for count, root in each_state(recording, [left[when][1] for when in rows.times], memory):
        got = container_there(root)
        may = rows.worlds[count : count + 2]
        if rows_are_synced or got is None or got[0]:
            assert got in may, (count, got, may)
        else:
            # rows of the last seconds may be missing, and what they have replaced be there: nothing that was never there
            assert (got[0], got[2]) in [(world[0], world[2]) for world in may if world], (count, got, may)
            assert got[1].items() <= {item for world in rows.worlds if world for item in world[1].items()}
        assert not (root / "sda" / "quarantined").exists()


# -- accounts --------------------------------------------------------------------------------------------------------------


class Containers:
    """Requests about one account. A world: None before there is one, or (deleted, containers: name → (time, objects), metadata)."""

    def __init__(self, server):
        self.server = server
        self.worlds = [None]
        self.times = []

    def do(self, method, path, world, **headers):
        second = len(self.times) + 1
        self.times.append(at(second))
        status = self.server.request(method, "/sda/1/a" + path, at(second), **headers)
        assert status in (201, 202, 204), (method, path, status)
        self.worlds.append(world(self.worlds[-1], at(second)))

    def create(self):
        self.do("PUT", "", lambda world, when: (False, world[1] if world else {}, {}))

    def report(self, name, put, count, gone=False):
        """What a container's server tells."""
        times = {"X_Put_Timestamp": at(put), "X_Delete_Timestamp": at(put + 1) if gone else "0"}

        def after(world, when):
            rows = {key: value for key, value in world[1].items() if key != name}
            return False, rows if gone else {**rows, name: (at(put), count)}, world[2]

        figures = {"X_Object_Count": str(count), "X_Bytes_Used": str(count * 10)}
        self.do("PUT", f"/{name}", after, X_Backend_Storage_Policy_Index="0", **times, **figures)

    def post(self, value):
        metadata = {"X-Account-Meta-A": value}
        self.do("POST", "", lambda world, when: (False, world[1], metadata), X_Account_Meta_A=value)

    def delete(self):
        self.do("DELETE", "", lambda world, when: (True, {}, {}))


def account_there(root):
    """As in a world; the file sound in every page, its totals those of its rows."""
    name_hash = hash_path("a")
    path = root / "sda" / "accounts" / "1" / name_hash[-3:] / name_hash / f"{name_hash}.db"
    broker = AccountBroker(str(path))
    if not broker.exists():
        return None
    try:
        with broker.connection() as conn:
            assert conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        broker.commit_pending()
        found = [row for row in broker.items_since(-1, 1000) if not row["deleted"]]
        rows = {row["name"]: (row["put_timestamp"], row["object_count"]) for row in found}
        metadata = {key: value[0] for key, value in broker.metadata().items() if value[0]}
        info = broker.info()
        totals = info["container_count"], info["object_count"], info["bytes_used"]
        counts = [count for _, count in rows.values()]
        assert totals == (len(rows), sum(counts), sum(counts) * 10)
        return broker.is_deleted(), rows, metadata
    finally:
        CONNECTIONS.forget(str(path.parent))


@pytest.mark.parametrize("synced", ["yes", "no"])
def test_accounts(tmp_path, memory, synced):
    server = TracedServer(
        tmp_path / "node", tmp_path, "account", strings=WHOLE_STRINGS, sync_pending_updates=synced
    )
    swift_dir.use(str(tmp_path))
    try:
        told = Containers(server)
        told.create()
        told.report("b", 1, 5)
        told.report("c", 2, 7)
        told.post("1")
        told.report("b", 1, 6)
        told.post("2")
        told.report("b", 1, 0, gone=True)
        told.report("c", 2, 0, gone=True)
        told.delete()
        recording, calls = recorded(server)
    finally:
        server.stop()
    assert_same_as_disk(recording, server.device, memory)
    left = answers(calls)
    ever = {item for world in told.worlds if world for item in world[1].items()}
    for count, root in each_state(recording, [left[when][1] for when in told.times], memory):
        got = account_there(root)
        may = told.worlds[count : count + 2]
        if synced == "yes" or got is None or got[0]:
            assert got in may, (count, got, may)
        else:
            # reports of the last seconds may be missing: their containers are reported again
            assert (got[0], got[2]) in [(world[0], world[2]) for world in may if world], (count, got, may)
            assert got[1].items() <= ever
        assert not (root / "sda" / "quarantined").exists()


# -- replication -----------------------------------------------------------------------------------------------------------


def mark(port, number):
    """A request of no consequence, by whose answer a moment is known."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("OPTIONS", "/", headers={"X-Timestamp": f"{number:010d}.00000"})
    connection.getresponse().read()
    connection.close()
    return f"{number:010d}.00000"


def test_objects_that_replication_brings(tmp_path, memory):
    """SSYNC, at the node that receives."""
    hashing.set_hash_config("changeme", "changeme")
    bodies = {name: os.urandom(size) for name, size in (("a", 100), ("b", 100_000), ("c", 5))}
    with ObjectNodes(tmp_path / "nodes", [OURS] * 2, replicas=2) as nodes:
        nodes.stop(1)
        words = [str(OURS / "swift-object-server"), str(nodes.conf(1))]
        traced = system_calls.Traced(words, tmp_path / "trace", environment(), WHOLE_STRINGS)
        try:
            wait_for_port("127.0.0.1", nodes.base + 1)
            worlds, marks = [{}], []

            def replicated(**changes):
                assert nodes.replicate(2)
                worlds.append({**worlds[-1], **changes})
                marks.append(mark(nodes.base + 1, len(marks) + 1))

            put = {"X_Object_Meta_A": "put"}
            nodes.put("a", bodies["a"], at(1), 2, **put)
            nodes.put("b", bodies["b"], at(1), 2, **put)
            replicated(a=(bodies["a"], "put"), b=(bodies["b"], "put"))
            nodes.put("a", bodies["c"], at(2), 2, **put)
            assert nodes.request(2, "POST", "b", timestamp=at(2), X_Object_Meta_A="post")[0] == 202
            replicated(a=(bodies["c"], "put"), b=(bodies["b"], "post"))
            assert nodes.request(2, "DELETE", "b", timestamp=at(3))[0] == 204
            nodes.put("c", bodies["b"], at(3), 2, **put)
            replicated(b=None, c=(bodies["b"], "put"))
        finally:
            traced.stop()
        parts = {name: nodes.ring.get_part("a", "c", name) for name in bodies}
        device = str(nodes.disk(1))
        calls = traced.calls()
        recording = Recording(device, calls)
        assert_same_as_disk(recording, device, memory)
    left = answers(calls)
    for count, root in each_state(recording, [left[when][1] for when in marks], memory):
        for name in bodies:
            got = stored(root, 0, name, parts[name])
            may = [world.get(name) for world in worlds[count : count + 2]]
            assert got in may, (count, name, got and got[1])
        assert not (root / "sda" / "quarantined").exists()


@pytest.mark.parametrize("container_server", ["yes"], indirect=True)
def test_rows_and_databases_that_replication_brings(container_server, tmp_path, memory):
    """At the container server that receives: its own rows, acknowledged and synced, and all that a peer was told it has."""
    peer = Peer(tmp_path, container_server)
    container = next(name for name in "cdefghijkl" if int(hash_path("a", name)[0], 16) >= 8)  # of partition 1
    own, theirs, marks, worlds = set(), set(), [], [(set(), set())]

    def replicated():
        peer.replicate()
        worlds.append((set(own), set(theirs)))
        marks.append(mark(container_server.port, len(marks) + 1))

    def rows(server, device, names):
        for name in names:
            assert server.request("PUT", f"/{device}/1/a/{container}/{name}", at(5), **ROW) == 201
        (own if server is container_server else theirs).update(names)

    try:
        assert peer.request("PUT", f"/sdb/1/a/{container}", at(1), X_Backend_Storage_Policy_Index="0") == 201
        rows(peer, "sdb", [f"first{n}" for n in range(5)])
        replicated()  # the whole file
        rows(peer, "sdb", ["second"])
        rows(container_server, "sda", ["own1"])
        worlds.append((set(own), set(theirs) - {"second"}))
        marks.append(mark(container_server.port, len(marks) + 1))
        replicated()  # a row
        rows(peer, "sdb", [f"third{n}" for n in range(25)])
        rows(container_server, "sda", ["own2"])
        replicated()  # the whole file, into which our rows go
    finally:
        peer.stop()
    recording, calls = recorded(container_server)
    assert_same_as_disk(recording, container_server.device, memory)
    left = answers(calls)
    all_rows = own | theirs
    for count, root in each_state(recording, [left[when][1] for when in marks], memory):
        got = container_there(root, container)
        there = set(got[1]) if got else set()
        assert set().union(*worlds[count]) <= there <= all_rows, (count, worlds[count], there)
        assert not (root / "sda" / "quarantined").exists()


class Peer:
    """A container server with the device `sdb` and its replicator, beside the traced one in a ring of two."""

    def __init__(self, tmp_path, traced):
        self.port = free_port()
        builder = RingBuilder(1, 2, 0)
        for device, port in (("sda", traced.port), ("sdb", self.port)):
            address = {
                "ip": "127.0.0.1",
                "port": port,
                "replication_ip": "127.0.0.1",
                "replication_port": port,
            }
            builder.add_dev(
                {"region": 1, "zone": port, "device": device, "weight": 1.0, "meta": "", **address}
            )
        builder.rebalance()
        builder.get_ring().save(str(tmp_path / "container.ring.gz"))
        (tmp_path / "peer" / "sdb").mkdir(parents=True)
        self.conf = tmp_path / "peer.conf"
        self.conf.write_text(
            f"[DEFAULT]\nuser = root\ndevices = {tmp_path}/peer\nmount_check = false\nbind_ip = 127.0.0.1\nbind_port = {self.port}\n"
            f"workers = 0\nswift_dir = {tmp_path}\nrecon_cache_path = {tmp_path}\n[pipeline:main]\npipeline = container-server\n"
            "[app:container-server]\nuse = egg:swift#container\n[container-replicator]\ndatabases_per_second = 0\n"
        )
        self.process = subprocess.Popen(
            [str(ROOT / "bin" / "swift-container-server"), str(self.conf)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )
        wait_for_port("127.0.0.1", self.port)
        self.kind = "container"
        self.request = functools.partial(TracedServer.request, self)

    def replicate(self):
        words = [str(ROOT / "bin" / "swift-container-replicator"), str(self.conf), "once"]
        subprocess.run(words, check=True, env=environment(), capture_output=True, timeout=120)

    def stop(self):
        self.process.kill()
        self.process.wait()
