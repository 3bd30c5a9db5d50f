"""Fragments at the object server: two phases in both of their forms, over real sockets, and what is on disk after each step."""

import hashlib
import json
import os
from zlib import crc32

import pytest
from obj_app import App
from test_crash import killed
from test_object_http import talk

from swift.core.concurrency import spawn
from swift.core.hashing import hash_path
from swift.engine.sockets import listen
from swift.wire.server import Server

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))
BOUNDARY = "b" * 64
BODY = b"fragment" * 20
EC = {
    "X-Object-Sysmeta-Ec-Etag": "0" * 32,
    "X-Object-Sysmeta-Ec-Content-Length": "500",
    "X-Object-Sysmeta-Ec-Scheme": "liberasurecode_rs_vand 4+2",
    "X-Object-Sysmeta-Ec-Segment-Size": "1024",
}
COMMIT = b"put_commit_confirmation"


@pytest.fixture
def app(root, road):
    return App(root, batch=road == "batch")


@pytest.fixture
def address(app):
    sock = listen("127.0.0.1", 0)
    server = Server(sock, app.application, {"client_timeout": "5"}, app.log)
    thread = spawn(server.run)
    yield sock.getsockname()
    server.stop()
    thread.kill()


def files(app):
    store = app.server.stores.get(app.server.devices.get("sda"), app.server.policies[2])
    place = store.locate("7", hash_path("a/c/o"), "/a/c/o")
    try:
        return sorted(os.listdir(place.hash_dir))
    except FileNotFoundError:
        return []


def get(app, **headers):
    return app.request("GET", X_Backend_Storage_Policy_Index="2", **headers)


def head(time, **headers):
    lines = {
        "Host": "x",
        "X-Timestamp": time,
        "Content-Type": "a/b",
        "X-Backend-Storage-Policy-Index": "2",
        "X-Backend-Obj-Multiphase-Commit": "yes",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return ("PUT /sda/7/a/c/o HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())).encode()


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


class Mime:
    """The conversation of the specification."""

    def __init__(self, time=T1, index=1, body=BODY, **footers):
        self.head = (
            head(
                time,
                Expect="100-continue",
                Transfer_Encoding="chunked",
                X_Backend_Obj_Content_Length=len(body),
                X_Backend_Obj_Metadata_Footer="yes",
                X_Backend_Obj_Multipart_Mime_Boundary=BOUNDARY,
            )
            + b"\r\n"
        )
        etag = hashlib.md5(body).hexdigest()
        text = json.dumps(
            {**EC, "X-Object-Sysmeta-Ec-Frag-Index": str(index), "Etag": etag, **footers}
        ).encode()
        line = b"--" + BOUNDARY.encode()
        self.first = (
            chunk(line + b"\r\nX-Document: object body\r\n\r\n")
            + (chunk(body) if body else b"")
            + chunk(
                b"\r\n%s\r\nX-Document: object metadata\r\nContent-MD5: %s\r\n\r\n%s\r\n%s\r\n"
                % (line, hashlib.md5(text).hexdigest().encode(), text, line)
            )
            + b"0\r\n\r\n"
        )
        self.second = (
            chunk(b"X-Document: put commit\r\n\r\n" + COMMIT + b"\r\n" + line + b"--") + b"0\r\n\r\n"
        )

    def begin(self, client):
        """Everything up to where the server says that it is stored, or else."""
        client.sock.sendall(self.head)
        status, headers = client.head()
        if status != "HTTP/1.1 100 Continue":
            return status, headers
        assert headers["x-obj-multiphase-commit"] == headers["x-obj-metadata-footer"] == "yes"
        client.sock.sendall(self.first)
        return client.head()


class Short:
    """The short form."""

    def __init__(self, time=T1, index=1, body=BODY, **headers):
        self.head = (
            head(
                time,
                Content_Length=len(body) + len(COMMIT),
                X_Backend_Obj_Content_Length=len(body),
                Etag=hashlib.md5(body).hexdigest(),
                X_Backend_Body_Crc32=f"{crc32(body):08x}",
                **{**EC, "X-Object-Sysmeta-Ec-Frag-Index": str(index), **headers},
            )
            + b"\r\n"
        )
        self.first = body
        self.second = COMMIT

    def begin(self, client):
        client.sock.sendall(self.head + self.first)
        return client.head()


@pytest.fixture(params=[Mime, Short])
def form(request):
    return request.param


@pytest.mark.parametrize("size", [0, 160, 65536, 300_000])
def test_two_phases(app, address, form, size):
    body = os.urandom(size)
    put = form(body=body)

    def converse(client):
        status, headers = put.begin(client)
        assert status == "HTTP/1.1 100 Continue" and headers["x-obj-multiphase-commit"] == "yes"
        assert files(app) == [f"{T1}#1.data"]
        client.sock.sendall(put.second)
        status, headers = client.head()
        assert status == "HTTP/1.1 201 Created"
        assert headers["etag"] == f'"{hashlib.md5(body).hexdigest()}"'
        # and the connection goes on
        client.body(headers)
        client.sock.sendall(
            b"HEAD /sda/7/a/c/o HTTP/1.1\r\nHost: x\r\nX-Backend-Storage-Policy-Index: 2\r\n\r\n"
        )
        assert client.head()[0] == "HTTP/1.1 200 OK"

    talk(address, converse)
    assert files(app) == [f"{T1}#1#d.data"]
    got = get(app)
    assert (got.status, got.body) == (200, body)
    assert got.headers["x-backend-durable-timestamp"] == got.headers["x-backend-data-timestamp"] == T1
    assert json.loads(got.headers["x-backend-fragments"]) == {T1: [1]}
    assert got.headers["x-object-sysmeta-ec-frag-index"] == "1"
    assert ("x-backend-fragments-checked" in got.headers) == (size > 65536)


def test_who_does_not_check_what_is_sent_does_not_say_so(root, address, form):
    app = App(root)

    def whole(client):
        put = form(body=bytes(300_000))
        put.begin(client)
        client.sock.sendall(put.second)
        return client.head()[0]

    assert talk(address, whole) == "HTTP/1.1 201 Created"
    assert "x-backend-fragments-checked" in get(app).headers
    app.server.stores.options.validate_pct = 50
    assert "x-backend-fragments-checked" not in get(app).headers


@pytest.mark.parametrize("end", ["closed", "wrong word"])
def test_without_the_word_nothing_counts(app, address, form, end):
    """And what was there before still does."""

    def whole(client):
        put = form()
        put.begin(client)
        client.sock.sendall(put.second)
        return client.head()[0]

    assert talk(address, whole) == "HTTP/1.1 201 Created"

    def half(client):
        put = form(time=T2, body=b"new")
        assert put.begin(client)[0] == "HTTP/1.1 100 Continue"
        if end == "wrong word":
            client.sock.sendall(put.second.replace(b"put", b"pot"))
            return client.head()[0]
        return None

    told = talk(address, half)
    assert told is None or told == "HTTP/1.1 400 Bad Request"
    assert files(app) == [f"{T1}#1#d.data", f"{T2}#1.data"]
    assert get(app).headers["x-backend-data-timestamp"] == T1
    any_ = get(app, X_Backend_Fragment_Preferences="[]")
    assert (any_.headers["x-backend-data-timestamp"], any_.headers["x-backend-durable-timestamp"]) == (T2, T1)


def test_a_fragment_that_is_alone_is_not_there(app, address, form):
    def half(client):
        assert form().begin(client)[0] == "HTTP/1.1 100 Continue"

    talk(address, half)
    assert get(app).status == 404
    got = get(app, X_Backend_Fragment_Preferences="[]")
    assert got.status == 200 and "x-backend-durable-timestamp" not in got.headers
    exclude = json.dumps([{"timestamp": T1, "exclude": [1]}])
    assert get(app, X_Backend_Fragment_Preferences=exclude).status == 404


@pytest.mark.parametrize("index", ["6", "-1", "x", ""])
def test_an_index_that_cannot_be(app, address, form, index):
    def refused(client):
        return form(index=index).begin(client)[0]

    assert talk(address, refused) == "HTTP/1.1 400 Bad Request"
    assert files(app) == []


def test_the_same_again_is_no_conflict(app, address, form):
    def whole(client):
        put = form()
        assert put.begin(client)[0] == "HTTP/1.1 100 Continue"
        client.sock.sendall(put.second)
        return client.head()[0]

    assert [talk(address, whole), talk(address, whole)] == ["HTTP/1.1 201 Created"] * 2
    assert files(app) == [f"{T1}#1#d.data"]


def test_two_fragments_of_one_object_on_one_node(app, address, form):
    def whole(index):
        def run(client):
            put = form(index=index)
            put.begin(client)
            client.sock.sendall(put.second)
            return client.head()[0]

        return talk(address, run)

    assert [whole(1), whole(4)] == ["HTTP/1.1 201 Created"] * 2
    assert files(app) == [f"{T1}#1#d.data", f"{T1}#4#d.data"]
    assert get(app).headers["x-object-sysmeta-ec-frag-index"] == "4"
    prefer = json.dumps([{"timestamp": T1, "exclude": [4]}])
    got = get(app, X_Backend_Fragment_Preferences=prefer)
    assert got.headers["x-object-sysmeta-ec-frag-index"] == "1"


def test_a_newer_one_is_told_at_once(app, address, form):
    def whole(client):
        put = form(time=T2)
        put.begin(client)
        client.sock.sendall(put.second)
        return client.head()[0]

    talk(address, whole)

    def older(client):
        status, headers = form(time=T1).begin(client)
        return status, headers["x-backend-timestamp"]

    assert talk(address, older) == ("HTTP/1.1 409 Conflict", T2)


def test_the_short_form_with_a_wrong_checksum(app, address):
    def wrong(client):
        put = Short()
        put.first = b"x" + put.first[1:]
        return put.begin(client)[0]

    assert talk(address, wrong) == "HTTP/1.1 422 Unprocessable Entity"
    assert files(app) == []


def test_two_phases_are_for_fragments(app, address):
    def gold(client):
        put = Short()
        put.head = put.head.replace(b"Policy-Index: 2", b"Policy-Index: 0")
        return put.begin(client)[0]

    assert talk(address, gold) == "HTTP/1.1 400 Bad Request"


def test_a_plain_put_as_daemons_send_it(app):
    """Durable at once, unless it is said that it is not."""
    headers = {name.replace("-", "_"): value for name, value in EC.items()}
    common = {"X_Backend_Storage_Policy_Index": "2", "Content_Type": "a/b", **headers}
    for time, more, name in (
        (T1, {}, f"{T1}#2#d.data"),
        (T2, {"X_Backend_No_Commit": "True"}, f"{T2}#2.data"),
    ):
        answer = app.request(
            "PUT", body=BODY, X_Timestamp=time, X_Object_Sysmeta_Ec_Frag_Index="2", **common, **more
        )
        assert answer.status == 201
        assert name in files(app)


def test_post_and_delete(app, address, form):
    def whole(client):
        put = form()
        put.begin(client)
        client.sock.sendall(put.second)
        return client.head()[0]

    talk(address, whole)
    common = {"X_Backend_Storage_Policy_Index": "2"}
    assert app.request("POST", X_Timestamp=T2, X_Object_Meta_A="b", **common).status == 202
    got = get(app)
    assert (got.headers["x-object-meta-a"], got.headers["x-object-sysmeta-ec-frag-index"]) == ("b", "1")
    assert (got.headers["x-backend-timestamp"], got.headers["x-backend-data-timestamp"]) == (T2, T1)
    assert app.request("DELETE", X_Timestamp=T3, **common).status == 204
    assert files(app) == [f"{T3}.ts"]
    assert get(app, X_Backend_Fragment_Preferences="[]").status == 404


PHASES = ["write:opened", "write:synced", "write:linked", "write:durable", "commit:renamed", "commit:durable"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("point", PHASES)
def test_killed_in_either_phase(app, point):
    """Until the new fragment is durable the old one is there, and is what readers get; then the new one is."""
    app.server.devices.get("sda").inline = True  # no threads: this forks

    def put(time, body):
        crc, etag = f"{crc32(body):08x}", hashlib.md5(body).hexdigest()
        return app.request(
            "PUT",
            body=body + COMMIT,
            X_Timestamp=time,
            X_Backend_Storage_Policy_Index="2",
            X_Backend_Obj_Multiphase_Commit="yes",
            X_Backend_Obj_Content_Length=str(len(body)),
            X_Backend_Body_Crc32=crc,
            Etag=etag,
            X_Object_Sysmeta_Ec_Frag_Index="1",
            **{name.replace("-", "_"): value for name, value in EC.items()},
        ).status

    assert put(T1, b"old") == 201
    assert killed(point, lambda: put(T2, b"new"))
    if point.startswith("commit"):
        assert get(app).body == b"new"
    else:
        assert get(app).body == b"old" and f"{T1}#1#d.data" in files(app)
    assert put(T2, b"new") == 201
    assert files(app) == [f"{T2}#1#d.data"]
