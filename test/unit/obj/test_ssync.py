"""SSYNC between two object servers, and as recorded with the reference."""

import contextlib
import os
import random
import socket

import obj_golden
import pytest
from ssync_pair import Served, push

from swift.core.concurrency import sleep, spawn
from swift.core.hashing import hash_path
from swift.engine.threads import run_in_thread
from swift.obj import precedence
from swift.obj.ssync import receiver, sender
from swift.obj.ssync.sender import Busy, Options, SyncError
from swift.obj.store import Times
from swift.wire.errors import ClientError

GOLDEN = obj_golden.load("ssync_transcripts.json")
T = [f"17000000{n:02d}.00000" for n in range(20)]


@pytest.fixture
def pair(root):
    servers = Served(f"{root}/a"), Served(f"{root}/b", replication_lock_timeout="0.2")
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def source(pair):
    return pair[0]


@pytest.fixture
def target(pair):
    return pair[1]


def put(served, name, time, body=b"body", **headers):
    got = served.app.request("PUT", f"/sda/7{name}", body, X_Timestamp=time, **headers)
    assert got.status == 201, got.body


def raw(node, data, more=b""):
    """Send bytes to a server and take all that it answers."""

    def talk():
        sock = socket.create_connection((node["ip"], node["port"]), 10)
        sock.sendall(data)
        if more is None:
            sock.shutdown(socket.SHUT_WR)
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            piece = sock.recv(65536)
            if not piece:
                break
            got += piece
        sock.close()
        return got

    return run_in_thread(talk)


def body_of(message):
    return message.partition("\r\n\r\n")[2].encode("latin-1")


def as_recorded(text, partition="308"):
    return text.replace("/dst/308", f"/sda/{partition}").encode("latin-1")


def recorded_files(case):
    return sorted(entry["path"].partition("/308/")[2] for entry in GOLDEN[case]["destination_after"])


def files_of(served, partition, datadir="objects"):
    top = f"{served.app.device}/{datadir}/{partition}"
    found = []
    for directory, _, names in os.walk(top):
        found += [os.path.join(directory, name)[len(top) + 1 :] for name in names if name[0].isdigit()]
    return sorted(found)


def golden_request(served, method, name, time, body=b"", **headers):
    got = served.app.request(method, f"/sda/308/AUTH_test/c/{name}", body, X_Timestamp=time, **headers)
    assert got.status in (201, 202, 204, 404), got.status


def make_golden_target(served):
    golden_request(served, "PUT", "both", T[2], b"same\n")
    golden_request(served, "PUT", "posted", T[3], b"posted\n")
    golden_request(served, "PUT", "older", T[16], b"newer\n")


def make_golden_source(served):
    golden_request(
        served,
        "PUT",
        "missing",
        T[1],
        b"missing body\n",
        X_Object_Meta_A="1",
        X_Object_Sysmeta_S="s",
        Content_Encoding="gzip",
        X_Delete_At="1700000500",
        X_Backend_Replication="true",
    )
    golden_request(served, "PUT", "both", T[2], b"same\n")
    golden_request(served, "PUT", "posted", T[3], b"posted\n")
    golden_request(served, "POST", "posted", T[13], Content_Type="image/png", X_Object_Meta_B="2")
    golden_request(served, "PUT", "new+posted", T[4], b"np\n")
    golden_request(served, "POST", "new+posted", T[14], X_Object_Meta_B="2")
    golden_request(served, "PUT", "older", T[6], b"older\n")
    golden_request(served, "PUT", "ü".encode().decode("latin-1"), f"{T[7]}_1", b"u\n", X_Object_Meta_U="Ã¼")
    golden_request(served, "DELETE", "gone", T[15])


def test_a_session_of_the_reference_is_answered_byte_for_byte(target):
    make_golden_target(target)
    case = GOLDEN["replicated"]
    got = raw(target.node, as_recorded(case["sender_to_receiver"]))
    head, _, body = got.partition(b"\r\n\r\n")
    assert body == body_of(case["receiver_to_sender"])
    assert b"X-Backend-Accept-No-Commit: True" in head and b"200 OK" in head
    assert files_of(target, "308") == recorded_files("replicated")
    where = target.app.where("/AUTH_test/c/missing", "308")
    assert where.name_hash in os.listdir(where.suffix_dir)
    got = target.app.request("GET", "/sda/308/AUTH_test/c/missing", X_Backend_Open_Expired="true")
    assert got.body == b"missing body\n"
    stored = {"content-encoding": "gzip", "x-object-meta-a": "1", "x-object-sysmeta-s": "s", "x-delete-at": "1700000500"}  # fmt: skip
    assert {name: got.headers[name] for name in stored} == stored

    again = GOLDEN["replicated_in_sync"]
    got = raw(target.node, as_recorded(again["sender_to_receiver"]))
    assert got.partition(b"\r\n\r\n")[2] == body_of(again["receiver_to_sender"])


class Script:
    """A peer that answers as recorded and keeps what it is told."""

    def __init__(self, answer):
        from swift.engine.sockets import listen

        self.listener = listen("127.0.0.1", 0)
        self.answer = answer
        self.got = b""
        self.thread = spawn(run_in_thread, self.serve)

    @property
    def node(self):
        ip, port = self.listener.getsockname()
        return {"replication_ip": ip, "replication_port": port, "device": "dst"}

    def serve(self):
        self.listener.setblocking(True)
        sock, _ = self.listener.accept()
        sock.settimeout(60)
        sock.sendall(self.answer)
        while not self.got.endswith(b"\r\n0\r\n\r\n"):
            data = sock.recv(65536)
            if not data:
                break
            self.got += data
        sock.close()


def without_block_checksums(data):
    """What the reference would have sent: chunks joined, less the header that only our servers add."""
    chunks = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        chunks += rest[: int(size, 16)]
        data = rest[int(size, 16) + 2 :]
    return b"\r\n".join(
        line for line in chunks.split(b"\r\n") if not line.startswith(b"X-Object-Sysmeta-Block-Crc32:")
    )


@pytest.mark.parametrize("case", ["replicated", "replicated_in_sync"])
def test_a_session_as_the_reference_holds_it(source, case):
    make_golden_source(source)
    recorded = GOLDEN[case]
    script = Script(recorded["receiver_to_sender"].encode("latin-1"))
    result = push(source, script.node, "308")
    script.thread.wait()
    assert {h: t.data for h, t in result.in_sync.items()} == {
        h: times["ts_data"] for h, times in recorded["can_delete"].items()
    }
    head, _, body = script.got.partition(b"\r\n\r\n")
    assert head.startswith(b"SSYNC /dst/308 HTTP/1.1\r\n")
    assert b"Transfer-Encoding: chunked" in head and b"X-Backend-Storage-Policy-Index: 0" in head
    assert without_block_checksums(body) == without_block_checksums(body_of(recorded["sender_to_receiver"]))


# ---------------------------------------------------------------- both ours


def test_everything_arrives(source, target):
    make_golden_source(source)
    make_golden_target(target)
    result = push(source, target.node, "308")
    assert result.sent == 5
    assert files_of(target, "308") == recorded_files("replicated")
    again = push(source, target.node, "308")
    assert again.sent == 0
    assert len(again.in_sync) == 7


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 3 << 20])
def test_bodies_of_any_size(source, target, size):
    body = os.urandom(size)
    put(source, "/a/c/o", T[1], body, X_Object_Meta_A="b")
    push(source, target.node)
    got = target.app.request("GET")
    assert (got.status, got.body, got.headers["x-object-meta-a"]) == (200, body, "b")
    assert got.headers["x-timestamp"] == T[1]


def test_expired_objects_go_too(source, target):
    put(source, "/a/c/o", T[1], X_Delete_At="1700000002", X_Backend_Replication="true")
    push(source, target.node)
    assert target.app.request("GET").status == 404
    assert target.app.request("GET", X_Backend_Open_Expired="true").status == 200
    assert not target.app.pendings()


def test_metadata_and_content_type_keep_their_own_times(source, target):
    put(source, "/a/c/o", T[1])
    source.app.request("POST", X_Timestamp=T[2], Content_Type="image/png", X_Object_Meta_A="1")
    source.app.request("POST", X_Timestamp=T[3], X_Object_Meta_A="2")
    push(source, target.node)
    assert target.state() == source.state()
    got = target.app.request("HEAD")
    assert (got.headers["content-type"], got.headers["x-object-meta-a"]) == ("image/png", "2")
    # two .meta that only together say it all: the older one has the newer content type
    source.app.request("POST", X_Timestamp=T[5], X_Object_Meta_A="3")
    target.app.request("POST", X_Timestamp=T[4], Content_Type="text/csv", X_Object_Meta_A="lost")
    push(source, target.node)
    push(target, source.node)
    for served in source, target:
        got = served.app.request("HEAD")
        assert (got.headers["content-type"], got.headers["x-object-meta-a"]) == ("text/csv", "3")
    assert target.state() == source.state()


def test_many_small_objects_are_written_beside_each_other(source, target, monkeypatch):
    """On a disk, whose syncs they share; not in memory, where those behind them would wait for the event loop."""
    for n in range(40):
        put(source, f"/a/c/o{n}", T[1], b"%d" % n)
    most = now = 0
    carry_out = receiver.Session._carry_out

    def counted(self, request, body):
        nonlocal most, now
        now += 1
        most = max(most, now)
        sleep(0)
        carry_out(self, request, body)
        now -= 1

    monkeypatch.setattr(receiver.Session, "_carry_out", counted)
    assert push(source, target.node).sent == 40
    assert target.state() == source.state()
    assert (most == 1) if target.store().device.inline else (1 < most <= precedence.TOGETHER)


def test_what_a_check_finds(source, target):
    put(source, "/a/c/o", T[1])
    put(source, "/a/c/p", T[1])
    put(target, "/a/c/p", T[1])
    result = push(source, target.node, check_only=True)
    assert list(result.in_sync) == [hash_path("a/c/p")]
    assert target.app.request("GET").status == 404


def test_a_damaged_copy_does_not_count_as_there(source, target):
    """What the names of files say is not enough for the one who then removes his own."""
    put(source, "/a/c/o", T[1], b"whole")
    put(target, "/a/c/o", T[1], b"whole")
    where = target.app.where()
    with open(f"{where.hash_dir}/{T[1]}.data", "r+b") as file:
        file.truncate(2)
    assert not push(source, target.node, check_only=True).in_sync
    assert push(source, target.node).sent == 1
    assert target.app.request("GET").body == b"whole"


def test_what_was_found_damaged_is_neither_sent_nor_counted(source, target):
    put(source, "/a/c/o", T[1], b"whole")
    put(source, "/a/c/p", T[1], b"whole")
    where = source.app.where()
    with open(f"{where.hash_dir}/{T[1]}.data", "r+b") as file:
        file.write(b"W")
    result = push(source, target.node)
    assert list(result.in_sync) == [hash_path("a/c/p")]
    assert target.app.request("GET").status == 404


def test_a_large_object_that_is_found_damaged_ends_the_session(source, target):
    put(source, "/a/c/o", T[1], b"x" * (3 << 20))
    where = source.app.where()
    with open(f"{where.hash_dir}/{T[1]}.data", "r+b") as file:
        file.seek(2 << 20)
        file.write(b"y")
    with pytest.raises(SyncError, match="damaged"):
        push(source, target.node)
    sleep(0.05)
    assert target.app.request("GET").status == 404
    assert target.app.files() == []


def test_a_newer_object_that_came_meanwhile_is_no_failure(source, target, monkeypatch):
    put(source, "/a/c/o", T[1], b"old")
    wanted = receiver.Session._wanted

    def race(self, offers):
        found = list(wanted(self, offers))
        put(target, "/a/c/o", T[2], b"new")
        return iter(found)

    monkeypatch.setattr(receiver.Session, "_wanted", race)
    assert push(source, target.node).sent == 1
    assert target.app.request("GET").body == b"new"


def test_metadata_that_finds_no_object_is_a_failure(source, target, monkeypatch):
    """Its sender would remove the only copy of it."""
    put(source, "/a/c/o", T[1])
    put(target, "/a/c/o", T[1])
    source.app.request("POST", X_Timestamp=T[2], X_Object_Meta_A="1")
    wanted = receiver.Session._wanted

    def race(self, offers):
        found = list(wanted(self, offers))
        where = target.app.where()
        os.unlink(f"{where.hash_dir}/{T[1]}.data")
        return iter(found)

    monkeypatch.setattr(receiver.Session, "_wanted", race)
    with pytest.raises(SyncError, match="1 failures to 0 successes"):
        push(source, target.node)


def test_the_connection_is_kept(source, target):
    put(source, "/a/c/o", T[1])
    for _ in range(3):
        push(source, target.node)
    assert target.server.active == 1


# ---------------------------------------------------------------- limits


def test_one_session_a_partition(source, target):
    put(source, "/a/c/o", T[1])
    lock = target.store().lock_partition("7")
    with pytest.raises(Busy, match=r"0\.2 seconds: .*/objects/7/\.lock-replication"):
        push(source, target.node)
    lock.close()
    assert push(source, target.node).sent == 1


def test_sessions_in_all_and_on_a_device(root, source):
    put(source, "/a/c/o", T[1])
    target = Served(
        f"{root}/c",
        replication_lock_timeout="0.2",
        replication_concurrency="1",
        replication_concurrency_per_device="1",
    )
    try:
        session = target.app.server.turnstile.enter(target.store(), "8")
        with pytest.raises(Busy) as error:
            push(source, target.node)
        assert error.value.status == 503
        for lock in session[:1]:
            lock.close()
        with pytest.raises(Busy, match=r"/sda/\.lock'"):
            push(source, target.node)
        for lock in session:
            lock.close()
        assert push(source, target.node).sent == 1
    finally:
        target.stop()


def test_replication_server_off(root):
    served = Served(f"{root}/d", replication_server="false")
    try:
        for method in "REPLICATE", "SSYNC":
            assert served.app.request(method, "/sda/7").status == 405
        allow = served.app.request("OPTIONS", "/").headers["allow"]
        assert allow == "DELETE, GET, HEAD, OPTIONS, POST, PUT"
    finally:
        served.stop()


# ---------------------------------------------------------------- bad input


HEAD = b"SSYNC /sda/7 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(*pieces):
    return HEAD + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_errors_as_recorded(target):
    recorded = GOLDEN["errors"]
    got = raw(target.node, chunked(b"nonsense\r\n"))
    assert body_of(recorded["bad_start"]) in got
    start = b":MISSING_CHECK: START\r\n:MISSING_CHECK: END\r\n:UPDATES: START\r\n"
    got = raw(target.node, chunked(start, b"GET /a/c/o\r\n\r\n"))
    assert b":ERROR: 0 'Invalid subrequest method GET'\n" in got
    got = raw(
        target.node, chunked(start, b"PUT /a/c/o\r\nContent-Length: 1\r\n\r\n", b"x", b":UPDATES: END\r\n")
    )
    assert b":ERROR: 500 b'ERROR: With :UPDATES: 1 failures to 0 successes'\n" in got
    last = HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    got = raw(
        target.node, last.replace(b"\r\n\r\n", b"\r\nX-Backend-Ssync-Frag-Index: x\r\n\r\n") + b"0\r\n\r\n"
    )
    assert got.partition(b"\r\n\r\n")[2].startswith(body_of(recorded["bad_frag_index"]))
    assert b" 400 " in got.partition(b"\r\n")[0]
    got = raw(target.node, last.replace(b"/sda/", b"/nodev/") + b"0\r\n\r\n")
    assert b" 507 " in got.partition(b"\r\n")[0]
    for partition in (b"x", b"9" * 26):
        got = raw(target.node, last.replace(b"/sda/7", b"/sda/" + partition) + b"0\r\n\r\n")
        assert b" 400 " in got.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "pieces",
    [
        [b":MISSING_CHECK: START\r\n", b"x" * 200_000 + b"\r\n"],
        [b":MISSING_CHECK: START\r\n", b"no hash 1\r\n"],
        [b":MISSING_CHECK: START\r\n", b"\xff\xfe\r\n"],
        [b":MISSING_CHECK: START\r\n", b"4d3f950d42b5a4cf099a404509f7dfff 1e400\r\n"],
        [b":MISSING_CHECK: START\r\n:MISSING_CHECK: END\r\n", b"PUT /a/c/o\r\n"],
        [
            b":MISSING_CHECK: START\r\n:MISSING_CHECK: END\r\n:UPDATES: START\r\n",
            b"PUT /a/c/o\r\n" + b"x: y\r\n" * 5,
        ],
        [
            b":MISSING_CHECK: START\r\n:MISSING_CHECK: END\r\n:UPDATES: START\r\n",
            b"POST /a/c/o\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(2000)) + b"\r\n",
        ],
    ],
)
def test_nonsense_is_told_and_leaves_no_trace(target, pieces):
    got = raw(target.node, chunked(*pieces))
    assert got.startswith(b"HTTP/1.1 200 OK")
    assert got.count(b":ERROR: 0 ") == 1
    assert len(got) < 3000
    assert b"Traceback" not in got
    assert not any("raceback" in line or line.startswith("exception") for line in target.app.log.lines)
    # and the next one is served
    assert b":UPDATES: END" in raw(
        target.node,
        chunked(b":MISSING_CHECK: START\r\n:MISSING_CHECK: END\r\n:UPDATES: START\r\n:UPDATES: END\r\n"),
    )


def test_too_many_failures_end_the_session(root):
    target = Served(f"{root}/e", replication_failure_threshold="3")
    try:
        start = b":MISSING_CHECK: START\r\n:MISSING_CHECK: END\r\n:UPDATES: START\r\n"
        bad = b"PUT /a/c/o%d\r\nContent-Length: 1\r\n\r\nx"
        got = raw(target.node, chunked(start, *(bad % n for n in range(200))))
        assert b":ERROR: 500 b'Too many ERROR: With :UPDATES: " in got
    finally:
        target.stop()


def test_a_sender_that_breaks_off_leaves_no_lock(source, target):
    put(source, "/a/c/o", T[1])
    start = b":MISSING_CHECK: START\r\n:MISSING_CHECK: END\r\n:UPDATES: START\r\n"
    request = (
        b"PUT /a/c/o\r\nContent-Length: 100000\r\nContent-Type: a/b\r\nX-Timestamp: 1700000001.00000\r\n\r\n"
    )
    data = HEAD + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (start, request, b"x" * 70_000))
    raw(target.node, data, None)
    assert target.app.files() == []
    assert push(source, target.node).sent == 1


def test_no_answer_can_make_a_sender_hold_what_was_not_offered(source):
    put(source, "/a/c/o", T[1])
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for line in (b"0" * 32 + b" dm", b"nonsense", b"x" * 70_000):
        text = b"\r\n:MISSING_CHECK: START\r\n" + line + b"\r\n:MISSING_CHECK: END\r\n"
        script = Script(answer + b"%x\r\n%b\r\n0\r\n\r\n" % (len(text), text))
        with pytest.raises(SyncError):
            push(source, script.node, options=Options(1, 1, 1))
        script.thread.wait()


def test_a_peer_that_is_not_there(source):
    node = {"replication_ip": "127.0.0.1", "replication_port": 1, "device": "sda"}
    put(source, "/a/c/o", T[1])
    with pytest.raises(SyncError):
        push(source, node)


def test_portions():
    offers = [(str(n), Times(T[1])) for n in range(7)]
    assert [len(portion) for portion in sender.in_portions(iter(offers), 3)] == [3, 3, 1]


def test_clients_come_first(source, target, monkeypatch):
    """While others are served a session rests behind each piece of its work, and only then."""
    rests = []
    under_way = []
    monkeypatch.setattr(precedence, "sleep", lambda seconds: seconds and rests.append(seconds))
    carry_out = receiver.status_and_headers
    for n in range(5):
        put(source, f"/a/c/o{n}", T[1])
    push(source, target.node)
    assert rests == []

    def with_a_client(app, environ):
        under_way.append(environ)
        target.app.request("HEAD")
        sleep(0.01)
        answer = carry_out(app, environ)
        assert len(under_way) <= (1 if target.store().device.inline else precedence.TOGETHER)
        under_way.pop()
        return answer

    monkeypatch.setattr(receiver, "status_and_headers", with_a_client)
    for n in range(5):
        put(source, f"/a/c/p{n}", T[1])
    push(source, target.node)
    assert len(rests) == 5
    assert all(0.01 <= rest <= precedence.LONGEST_REST for rest in rests)


def test_a_receiver_that_takes_its_time_says_so(source, target, monkeypatch):
    """Whoever waits for it gives up after http_timeout without a word."""
    monkeypatch.setattr(receiver, "SIGN_SECONDS", 0)
    monkeypatch.setattr(receiver, "LOOKED_AT", 1)
    for n in range(5):
        put(source, f"/a/c/o{n}", T[1])
    assert push(source, target.node).sent == 5
    assert target.state() == source.state()
    got = raw(target.node, as_recorded(GOLDEN["replicated_in_sync"]["sender_to_receiver"], "7"))
    assert got.count(b"2\r\n\r\n\r\n") > 5
    assert b":UPDATES: END" in got


def test_no_bytes_whatever_make_it_stumble(target):
    """Sessions of all kinds, cut, mixed and spoiled: told or dropped, never an error of ours."""
    chance = random.Random(1)
    good = [
        b":MISSING_CHECK: START\r\n",
        b"4d3f950d42b5a4cf099a404509f7dfff 1700000000.00001 m:f423f\r\n",
        b":MISSING_CHECK: END\r\n",
        b":UPDATES: START\r\n",
        b"PUT /a/c/o\r\nContent-Length: 3\r\nContent-Type: a/b\r\nX-Timestamp: 1700000001.00000\r\n\r\nabc",
        b"POST /a/c/o\r\nX-Timestamp: 1700000002.00000\r\n\r\n",
        b"DELETE /a/c/o\r\nX-Timestamp: 1700000003.00000\r\n\r\n",
        b":UPDATES: END\r\n",
    ]
    for _ in range(300):
        pieces = list(good)
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(pieces))
            what = chance.randrange(4)
            if what == 0:
                pieces[at] = pieces[at][: chance.randrange(len(pieces[at]) + 1)]
            elif what == 1:
                data = bytearray(pieces[at])
                if data:
                    data[chance.randrange(len(data))] = chance.randrange(256)
                pieces[at] = bytes(data)
            elif what == 2:
                del pieces[at]
                pieces.append(b"")
            else:
                pieces.insert(at, chance.choice(good))
        with contextlib.suppress(ClientError):
            got = target.app.request("SSYNC", "/sda/7", b"".join(pieces))
            assert got.status == 200
    assert not [line for line in target.app.log.lines if line.startswith(("exception", "critical"))]
    assert b":ERROR:" not in target.app.request("SSYNC", "/sda/7", b"".join(good[:4] + good[-1:])).body
