"""The object server's verbs: statuses, headers, and what is on disk afterwards."""

import errno
import hashlib
import json
import os
import zlib

import pytest
from obj_app import App

from swift.engine import new_file
from swift.engine.locks import acquire_lock
from swift.obj import blocks, boots, checks
from swift.obj.body import BodyDamaged
from swift.obj.files import batch, metadata, writer
from swift.wire.errors import BadChunk, ClientDisconnected, ClientTimeout
from test.descriptors import none_left_open

T0, T1, T2, T3, T4 = (f"170000000{n}.00000" for n in range(5))


@pytest.fixture
def app(root):
    return App(root)


def md5(data):
    return hashlib.md5(data).hexdigest()


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
        got = app.put(timestamp, body, **headers)
        got.sent = body
        return got

    return put


def test_put_get_head_delete(app, put):
    got = put(T1, X_Object_Meta_Color="red", X_Object_Sysmeta_S="1", Content_Disposition="x", Etag=None)
    assert (got.status, got.body) == (201, b"")
    assert got.headers["etag"] == f'"{md5(got.sent)}"'
    assert app.files() == [f"{T1}.data"]
    for method in ("GET", "HEAD"):
        seen = app.request(method)
        assert seen.status == 200
        assert seen.body == (got.sent if method == "GET" else b"")
        assert dict(seen.headers.items()) == {
            "content-type": "text/plain",
            "content-length": str(len(got.sent)),
            "etag": f'"{md5(got.sent)}"',
            "last-modified": "Tue, 14 Nov 2023 22:13:21 GMT",
            "x-timestamp": T1,
            "x-backend-timestamp": T1,
            "x-backend-data-timestamp": T1,
            "x-backend-durable-timestamp": T1,
            "x-object-meta-color": "red",
            "x-object-sysmeta-s": "1",
            "content-disposition": "x",
        }
    gone = app.request("DELETE", X_Timestamp=T2)
    assert (gone.status, gone.body) == (204, b"")
    assert gone.headers["x-backend-timestamp"] == T2
    assert gone.headers["x-backend-content-type"] == "text/plain"
    assert app.files() == [f"{T2}.ts"]
    missing = app.get()
    assert missing.status == 404
    assert missing.headers["x-backend-timestamp"] == T2


def test_stored_metadata_is_what_the_reference_stores(app):
    app.put(T1, b"hello", X_Object_Meta_Color="red")
    with open(f"{app.where().hash_dir}/{T1}.data") as f:
        stored = metadata.read(f.fileno())
    block = stored.pop("X-Object-Sysmeta-Block-Crc32")
    assert block == blocks.format_block_crcs(md5(b"hello"), 65536, [zlib.crc32(b"hello")])
    assert stored == {
        "X-Timestamp": T1,
        "Content-Type": "text/plain",
        "Content-Length": "5",
        "ETag": md5(b"hello"),
        "X-Object-Meta-Color": "red",
        "name": "/a/c/o",
    }
    assert open(f"{app.device}/objects/7/hashes.invalid").read() == app.where().suffix + "\n"


def test_names_and_values_that_are_not_ascii(app):
    path = "/sda/7/a/c/\u00c3\u00bc"  # the wire bytes of ü as latin-1
    app.request("PUT", path, b"x", X_Timestamp=T1, **{"X_Object_Meta_F\u00c3\u00a5rg": "r\u00c3\u00b6d"})
    got = app.request("GET", path)
    assert got.status == 200
    assert got.headers["x-object-meta-f\u00e3\u00a5rg"] == "r\u00c3\u00b6d"
    where = app.where("/a/c/\u00fc")
    with open(f"{where.hash_dir}/{T1}.data") as f:
        stored = metadata.read(f.fileno())
    assert stored["name"] == "/a/c/\u00fc"
    assert stored["X-Object-Meta-F\u00c3\u00a5Rg"] == "r\u00c3\u00b6d"


def test_empty_object(app):
    app.put(T1, b"")
    got = app.get()
    assert (got.status, got.body, got.headers["etag"]) == (200, b"", '"d41d8cd98f00b204e9800998ecf8427e"')


def test_policies_have_their_own_directories(app):
    app.put(T1, X_Backend_Storage_Policy_Index="1")
    assert app.files(policy=1) == [f"{T1}.data"]
    assert app.get().status == 404
    assert app.get(X_Backend_Storage_Policy_Index="1").status == 200
    bad = app.get(X_Backend_Storage_Policy_Index="9")
    assert (bad.status, bad.body) == (503, b"No policy with index 9")


# ---------------------------------------------------------------- conflicts


def test_older_put_is_refused(app, put):
    put(T2)
    got = put(T1)
    assert got.status == 409
    assert got.headers["x-backend-timestamp"] == T2
    assert app.files() == [f"{T2}.data"]


def test_put_at_the_same_time_with_the_same_content_succeeds_with_other_content_conflicts(app, put):
    assert put(T1, b"one").status == 201
    assert put(T1, b"one").status == 201
    got = put(T1, b"two")
    assert got.status == 409
    assert got.headers["x-backend-timestamp"] == T1
    assert put(T1, b"one", X_Object_Meta_A="other").status == 409
    assert app.get().body.startswith(b"one")
    assert app.files() == [f"{T1}.data"]


def test_tombstone_beats_data_of_the_same_time(app, put):
    assert app.request("DELETE", X_Timestamp=T1).status == 404
    got = put(T1)
    assert (got.status, got.headers["x-backend-timestamp"]) == (409, T1)
    assert put(T2).status == 201
    got = app.request("DELETE", X_Timestamp=T2)
    assert (got.status, got.headers["x-backend-timestamp"]) == (409, T2)
    assert app.files() == [f"{T2}.data"]


def test_newer_put_replaces(app, put):
    put(T1)
    put(T2, b"new!")
    assert app.get().body.startswith(b"new!")
    assert app.files() == [f"{T2}.data"]


def test_offsets_decide(app):
    app.put(T1)
    assert app.put(f"{T1}_000000000000000a", b"later").status == 201
    assert app.put(f"{T1}_0000000000000009").status == 409
    got = app.get()
    assert got.body == b"later"
    assert got.headers["x-timestamp"] == T1
    assert got.headers["x-backend-timestamp"] == f"{T1}_000000000000000a"


@pytest.mark.parametrize("known, status", [("*", 412), (f'"{md5(b"body")}"', 412), ('"x"', 201)])
def test_put_if_none_match(app, known, status):
    app.put(T1)
    assert app.put(T2, If_None_Match=known).status == status
    app.request("DELETE", X_Timestamp=T3)
    assert app.put(T4, If_None_Match=known).status == 201


def test_delete_of_what_is_not_there_leaves_a_tombstone(app):
    got = app.request("DELETE", X_Timestamp=T2)
    assert (got.status, got.headers["x-backend-timestamp"]) == (404, T2)
    assert app.files() == [f"{T2}.ts"]
    got = app.request("DELETE", X_Timestamp=T1)
    assert (got.status, got.headers["x-backend-timestamp"]) == (404, T2)
    assert app.files() == [f"{T2}.ts"]
    assert app.request("DELETE", X_Timestamp=T3).status == 404
    assert app.files() == [f"{T3}.ts"]


@pytest.mark.parametrize(
    "upload", ["X_Object_Sysmeta_S3api_Upload_Id", "X_Object_Sysmeta_Swift3_Upload_Id", "X_Other"]
)
def test_who_replaces_a_large_object_is_told_of_it(app, put, upload):
    told = "x-backend-replaced-large-object"
    value = f"{T1};" if upload == "X_Other" else f"{T1};u%3B1"
    app.put(T1, X_Static_Large_Object="True", **{upload: "u;1"})
    got = app.request("DELETE", X_Timestamp=T0)
    assert got.status == 409 and told not in got.headers
    got = put(T2)
    assert (got.status, got.headers[told]) == (201, value)
    assert told not in put(T3).headers
    app.put(T3[:-1] + "1", X_Static_Large_Object="True", **{upload: "u;1"})
    got = app.request("DELETE", X_Timestamp=T4)
    assert (got.status, got.headers[told]) == (204, value.replace(T1, T3[:-1] + "1"))
    assert told not in app.request("DELETE", X_Timestamp=T4[:-1] + "1").headers


@pytest.mark.parametrize("batch", [True, False])
def test_a_delete_that_leaves_large_objects_alone(root, batch):
    app = App(root, batch=batch)
    app.put(T1, X_Static_Large_Object="True")
    got = app.request("DELETE", X_Timestamp=T2, X_Backend_Unless_Large_Object="true")
    assert (got.status, got.headers["x-backend-replaced-large-object"]) == (412, f"{T1};")
    assert app.files() == [f"{T1}.data"]
    assert app.request("DELETE", X_Timestamp=T0, X_Backend_Unless_Large_Object="true").status == 409
    app.put(T2)
    assert app.request("DELETE", X_Timestamp=T3, X_Backend_Unless_Large_Object="true").status == 204
    assert app.request("DELETE", X_Timestamp=T4, X_Backend_Unless_Large_Object="true").status == 404
    assert app.files() == [f"{T4}.ts"]


# ---------------------------------------------------------------- bodies that go wrong


def nothing_left(app):
    app.settle()
    left = []
    for directory, dirs, files in os.walk(app.device):
        if directory == f"{app.device}/{boots.DIRECTORY}":
            continue
        left += [f for f in files if f not in (".lock", "hashes.invalid")]
        assert not any(len(d) == 32 for d in dirs), directory
    return left == []


@pytest.mark.parametrize(
    "error, status", [(ClientDisconnected("x"), 499), (ClientTimeout("x"), 408), (BadChunk("x"), 400)]
)
def test_body_that_breaks_off_leaves_nothing(app, error, status):
    got = app.put(T1, b"abc", error=error, Transfer_Encoding="chunked")
    assert got.status == status
    assert nothing_left(app)


def test_wrong_etag_leaves_nothing(app, put):
    got = put(T1, Etag="0" * 32)
    assert got.status == 422
    assert nothing_left(app)


def test_right_etag_in_quotes(app):
    assert app.put(T1, b"x", Etag=f'"{md5(b"x")}"').status == 201


def test_too_large(app):
    got = app.put(T1, Content_Length="6000000000")
    assert (got.status, got.body) == (
        413,
        b"Your request is too large. An object may have at most 5368709122 bytes.",
    )


@pytest.mark.parametrize(
    "headers, status, body",
    [
        ({"X_Timestamp": None}, 400, b"Missing X-Timestamp header"),
        ({"X_Timestamp": "soon"}, 400, b"Invalid X-Timestamp header"),
        ({"Content_Type": ""}, 400, b"No content type"),
        ({"Content_Length": "x"}, 400, b"Invalid Content-Length header value"),
        ({"Content_Length": ""}, 411, b"Missing Content-Length header."),
        ({"Transfer_Encoding": "gzip"}, 400, b"Invalid Transfer-Encoding header value"),
        ({"X_Delete_At": "soon"}, 400, b"Non-integer X-Delete-At"),
        ({"X_Delete_At": "1"}, 400, b"X-Delete-At in past"),
        ({"X_Delete_After": "x"}, 400, b"Non-integer X-Delete-After"),
        ({"X_Object_Meta_A": "x" * 300}, 400, b"Metadata value longer than 256: x-object-meta-A"),
        ({"X_Backend_Next_Part_Power": "99"}, 400, b"Invalid X-Backend-Next-Part-Power"),
        ({"X_Backend_Ssync_Frag_Index": "x"}, 400, b"Invalid X-Backend-Ssync-Frag-Index"),
    ],
)
def test_bad_puts_change_nothing(app, headers, status, body):
    got = app.request("PUT", body=b"x", **{"X_Timestamp": T1, **headers})
    assert (got.status, got.body) == (status, body)
    assert nothing_left(app)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path, status",
    [
        ("/sda/7/a/c", 400),
        ("/sda/7/a//o", 400),
        ("//7/a/c/o", 400),
        ("/../7/a/c/o", 400),
        ("/./7/a/c/o", 400),
        ("/sda/../a/c/o", 400),
        ("/sda/7x/a/c/o", 400),
        ("/sda/-7/a/c/o", 400),
        ("/", 400),
        ("", 400),
        ("/sd a/7/a/c/o", 507),
        ("/nope/7/a/c/o", 507),
        ("/sda/7/a/c/\xff", 412),
        ("/sda/7/a/c/x\x00y", 400),
    ],
)
def test_bad_paths(app, method, path, status):
    assert app.request(method, path, X_Timestamp=T1).status == status
    assert os.listdir(app.device) == []


@pytest.mark.parametrize("method", ["UPDATE", "COPY", "__call__", "locate"])
def test_unknown_verbs(app, method):
    assert app.request(method).status == 405


def test_options(app):
    got = app.request("OPTIONS", "*")
    assert got.status == 200
    assert got.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, POST, PUT, REPLICATE, SSYNC"
    assert got.headers["server"].startswith("object-server/")


def test_507_names_the_drive(app):
    got = app.request("GET", "/nope/7/a/c/o")
    assert b"Drive: nope" in got.body


def test_mount_check(root):
    app = App(root, mount_check="true")
    assert app.put(T1).status == 507
    open(f"{app.device}/.ismount", "w").close()
    assert app.put(T1).status == 201
    os.unlink(f"{app.device}/.ismount")
    assert app.put(T2).status == 507


# ---------------------------------------------------------------- conditions and ranges


@pytest.fixture
def stored(app):
    app.put(T1, b"0123456789", X_Object_Meta_Etag="other", X_Static_Large_Object="true")
    return app


@pytest.mark.parametrize(
    "headers, status, body",
    [
        ({"Range": "bytes=2-4"}, 206, b"234"),
        ({"Range": "bytes=-3"}, 206, b"789"),
        ({"Range": "bytes=8-100"}, 206, b"89"),
        ({"Range": "bytes=x"}, 200, b"0123456789"),
        ({"If_None_Match": "*"}, 304, b""),
        ({"If_None_Match": md5(b"0123456789")}, 304, b""),
        ({"If_None_Match": '"x"'}, 200, b"0123456789"),
        ({"If_Match": '"x"'}, 412, b""),
        ({"If_Match": "other", "X_Backend_Etag_Is_At": "x-missing,X-Object-Meta-Etag"}, 200, b"0123456789"),
        ({"If_Modified_Since": "Tue, 14 Nov 2023 22:13:21 GMT"}, 304, b""),
        ({"If_Unmodified_Since": "Tue, 14 Nov 2023 22:13:20 GMT"}, 412, b""),
        ({"If_None_Match": '"x"', "If_Modified_Since": "Tue, 14 Nov 2023 22:13:21 GMT"}, 200, b"0123456789"),
        ({"If_Match": "*", "If_Unmodified_Since": "Tue, 14 Nov 2023 22:13:20 GMT"}, 200, b"0123456789"),
        ({"If_Range": '"x"'}, 200, b"0123456789"),
        ({"Range": "bytes=2-4", "If_Range": md5(b"0123456789")}, 206, b"234"),
        ({"Range": "bytes=2-4", "If_Range": '"x"'}, 200, b"0123456789"),
        ({"Range": "bytes=20-", "If_Range": '"x"'}, 200, b"0123456789"),
        ({"Range": "bytes=2-4", "If_Range": "Tue, 14 Nov 2023 22:13:21 GMT"}, 206, b"234"),
        ({"Range": "bytes=2-4", "If_Range": "Tue, 14 Nov 2023 22:13:20 GMT"}, 200, b"0123456789"),
        ({"Range": "bytes=2-4", "If_Range": "other", "X_Backend_Etag_Is_At": "X-Object-Meta-Etag"}, 206, b"234"),
        ({"Range": "bytes=2-4", "X_Backend_Ignore_Range_If_Metadata_Present": "X-A, X-Static-Large-Object"}, 200, b"0123456789"),
        ({"Range": "bytes=2-4", "X_Backend_Ignore_Range_If_Metadata_Present": "X-A"}, 206, b"234"),
    ],
)  # fmt: skip
def test_conditions_and_ranges(stored, headers, status, body):
    got = stored.get(**headers)
    assert (got.status, got.body) == (status, body)
    if status == 206:
        assert got.headers["content-range"].endswith("/10")
    assert "x-backend-timestamp" in got.headers


def test_head_has_conditions_but_no_ranges(stored):
    assert stored.request("HEAD", If_None_Match="*").status == 304
    assert stored.request("HEAD", If_Match="x").status == 412
    got = stored.request("HEAD", Range="bytes=2-4")
    assert (got.status, got.body, got.headers["content-length"]) == (200, b"", "10")


def test_range_that_nothing_satisfies(stored):
    got = stored.get(Range="bytes=10-")
    assert got.status == 416
    assert got.headers["content-range"] == "bytes */10"


def test_several_ranges(stored):
    got = stored.get(Range="bytes=0-0,9-9")
    boundary = got.headers["content-type"].partition("boundary=")[2]
    assert got.status == 206
    assert got.body.count(boundary.encode()) == 3
    assert b"Content-Range: bytes 9-9/10\r\n\r\n9\r\n" in got.body


def test_if_match_any_of_nothing(app):
    assert app.get(If_Match="*").status == 412
    assert app.get(If_Match="x").status == 404


def test_x_timestamp_of_a_read(stored):
    got = stored.get(X_Timestamp="never")
    assert got.status == 400
    assert got.body == b"X-Timestamp should be a UNIX timestamp float value; was 'never'"


# ---------------------------------------------------------------- expiry


def test_expired_object(app):
    app.put(T1, X_Delete_At="1700000002")
    assert app.get(X_Timestamp=T1).status == 200
    got = app.get(X_Timestamp=T2)
    assert (got.status, got.headers["x-backend-timestamp"]) == (404, T1)
    assert app.get().status == 404
    assert app.get(X_Timestamp=T2, X_Backend_Open_Expired="true").status == 200
    assert app.get(X_Timestamp=T2, X_Backend_Replication="true").status == 200
    assert app.request("POST", X_Timestamp=T3).status == 404
    assert app.put(T1).status == 409  # as of then
    assert app.put(T3, If_None_Match="*").status == 201


def test_delete_if_delete_at(app):
    delete_at = "1700000002"

    def delete(timestamp=T3, at=delete_at):
        return app.request("DELETE", X_Timestamp=timestamp, X_If_Delete_At=at)

    assert delete().status == 404
    assert app.files() == []
    app.put(T1, X_Delete_At=delete_at)
    got = delete(at="soon")
    assert (got.status, got.body) == (400, b"Bad X-If-Delete-At header value")
    got = delete(at="1700000003")
    assert (got.status, got.body) == (412, b"X-If-Delete-At and X-Delete-At do not match")
    assert delete(timestamp=T0).status == 409
    assert app.files() == [f"{T1}.data"]
    assert delete().status == 204
    assert app.files() == [f"{T3}.ts"]
    assert delete(timestamp=T4).status == 412


# ---------------------------------------------------------------- POST


def test_post_replaces_user_metadata(app):
    app.put(
        T1,
        X_Object_Meta_A="1",
        X_Object_Sysmeta_S="s",
        X_Object_Transient_Sysmeta_T="t",
        Content_Encoding="gzip",
    )
    got = app.request("POST", X_Timestamp=T2, X_Object_Meta_B="2", X_Object_Sysmeta_S="ignored")
    assert got.status == 202
    assert got.body == b"<html><h1>Accepted</h1><p>The request is accepted for processing.</p></html>"
    assert got.headers["x-backend-content-type"] == "text/plain"
    assert got.headers["x-object-sysmeta-s"] == "s"
    assert app.files() == [f"{T1}.data", f"{T2}.meta"]
    got = app.get()
    assert got.body == b"body"
    assert got.headers["x-timestamp"] == T2
    assert got.headers["x-backend-data-timestamp"] == T1
    own = {k: v for k, v in got.headers.items() if k.startswith("x-object-")}
    assert own == {"x-object-meta-b": "2", "x-object-sysmeta-s": "s"}
    assert "content-encoding" not in got.headers
    assert app.request("DELETE", X_Timestamp=T3).status == 204
    assert app.files() == [f"{T3}.ts"]


def test_post_with_content_type(app):
    app.put(T1)
    assert app.request("POST", X_Timestamp=T2, Content_Type="image/png").status == 202
    assert app.files() == [f"{T1}.data", f"{T2}+0.meta"]
    assert app.get().headers["content-type"] == "image/png"
    # without one: the newer content type is carried on
    app.request("POST", X_Timestamp=T4, X_Object_Meta_A="1")
    assert app.files() == [f"{T1}.data", f"{T4}-30d40.meta"]
    assert app.get().headers["content-type"] == "image/png"
    # an older POST with a newer content type changes only that
    got = app.request("POST", X_Timestamp=T3, Content_Type="image/gif", X_Object_Meta_A="2")
    assert got.status == 202
    assert app.files() == [f"{T1}.data", f"{T4}-186a0.meta"]
    got = app.get()
    assert (got.headers["content-type"], got.headers["x-object-meta-a"]) == ("image/gif", "1")
    for timestamp, ctype in ((T3, ""), (T3, "image/jpeg"), (T4, "")):
        got = app.request("POST", X_Timestamp=timestamp, Content_Type=ctype)
        assert (got.status, got.headers["x-backend-timestamp"]) == (409, T4)


def test_post_to_nothing(app):
    assert app.request("POST", X_Timestamp=T1).status == 404
    app.request("DELETE", X_Timestamp=T1)
    got = app.request("POST", X_Timestamp=T2)
    assert (got.status, got.headers["x-backend-timestamp"]) == (404, T1)
    assert app.files() == [f"{T1}.ts"]


@pytest.mark.parametrize(
    "headers, body",
    [
        ({"X_Delete_At": "x"}, b"Non-integer X-Delete-At"),
        ({"X_Delete_At": "1"}, b"X-Delete-At in past"),
        ({"X_Timestamp": None}, b"Missing X-Timestamp header"),
        ({"Content_Type": "a/b", "Content_Type_Timestamp": "x"}, b"Invalid Content-Type-Timestamp header"),
    ],
)
def test_bad_posts(app, headers, body):
    app.put(T1)
    got = app.request("POST", **{"X_Timestamp": T2, **headers})
    assert (got.status, got.body) == (400, body)
    assert app.files() == [f"{T1}.data"]


# ---------------------------------------------------------------- checksums


def test_proxy_that_knows_the_digest_spares_us_the_md5(app):
    crc = f"{zlib.crc32(b'body'):08x}"
    etag = "0" * 32  # believed: the proxy has taken it
    assert app.put(T1, Etag=etag, X_Backend_Body_Crc32=crc).status == 201
    assert app.get().headers["etag"] == f'"{etag}"'
    assert app.put(T2, Etag=etag, X_Backend_Body_Crc32="00000000").status == 422
    assert app.put(T2, X_Backend_Body_Crc32=crc).headers["etag"] == f'"{md5(b"body")}"'
    large = b"x" * 200000
    crc = f"{zlib.crc32(large):08x}"
    assert app.put(T3, large, Etag=etag, X_Backend_Body_Crc32=crc).headers["etag"] == f'"{etag}"'
    assert app.put(T4, large, Etag=etag, X_Backend_Body_Crc32="00000000").status == 422
    assert app.get().body == large


def test_block_checksums_are_our_own_business(app):
    app.put(T1, X_Object_Sysmeta_Block_Crc32="forged")
    assert "x-object-sysmeta-block-crc32" not in app.get().headers
    assert app.get(X_Backend_Replication="true").headers["x-object-sysmeta-block-crc32"] != "forged"
    assert "x-object-sysmeta-block-crc32" not in app.request("POST", X_Timestamp=T2).headers


@pytest.mark.parametrize("with_crc", [True, False])
@pytest.mark.parametrize("size", [5, 70000, 3000000])
def test_damaged_body_is_never_sent_whole(app, size, with_crc):
    app.put(T1, b"x" * size)
    path = f"{app.where().hash_dir}/{T1}.data"
    if not with_crc:
        with open(path) as f:
            stored = metadata.read(f.fileno())
            del stored["X-Object-Sysmeta-Block-Crc32"]
            metadata.write(f.fileno(), stored)
    with open(path, "r+b") as f:
        f.seek(size - 2)
        f.write(b"!")
    if size <= 65536:
        assert app.get().status == 404
    else:
        with pytest.raises(Exception, match="checksum differs"):
            app.get()
    assert app.get().status == 404
    assert any("Quarantined" in line for line in app.log.lines)
    assert os.listdir(f"{app.device}/quarantined/objects") == [app.where().name_hash]


@pytest.mark.parametrize("piece", [1 << 20, 65536, 20000, 501])
@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (0, 65536), (65535, 65537), (65536, 131072), (70000, 70010), (1, 199999), (131072, 200000), (199999, 200000)],
)  # fmt: skip
def test_ranges_are_checked_by_whole_blocks(app, monkeypatch, piece, start, stop):
    """Blocks have 65536 bytes here. What lies in good blocks is sent; of a bad one the range's last byte never is."""
    monkeypatch.setattr(checks, "PIECE", piece)
    monkeypatch.setattr(checks.Check, "is_worth", lambda self, start, stop: self.blocks is not None)
    content = os.urandom(200000)
    app.put(T1, content)
    path = f"{app.where().hash_dir}/{T1}.data"
    wanted = f"bytes={start}-{stop - 1}"
    if piece > 501:
        assert app.get(Range=wanted).body == content[start:stop]
    for damaged in (0, 65000, 65536, 131071, 140000, 199999) if piece > 501 else (start,):
        checks._checked.clear()
        app.put(f"17000000{10 + damaged % 80}.{damaged % 100000:05d}", content)
        (path,) = [f"{app.where().hash_dir}/{name}" for name in app.files()]
        with open(path, "r+b") as f:
            f.seek(damaged)
            f.write(bytes([content[damaged] ^ 1]))
        concerned = start // 65536 <= damaged // 65536 <= (stop - 1) // 65536
        if concerned:
            with pytest.raises(BodyDamaged):
                app.get(Range=wanted)
            assert app.get().status == 404
        else:
            assert app.get(Range=wanted).body == content[start:stop]


@pytest.mark.parametrize("size", [5, 60000])
@pytest.mark.parametrize("wanted", ["bytes=1-2", "bytes=-1", "bytes=0-1,3-4"])
def test_ranges_of_small_damaged_objects_are_not_found(app, size, wanted):
    app.put(T1, b"x" * size)
    with open(f"{app.where().hash_dir}/{T1}.data", "r+b") as f:
        f.seek(size - 2)
        f.write(b"!")
    assert app.get(Range=wanted).status == 404
    assert os.listdir(f"{app.device}/quarantined/objects") == [app.where().name_hash]


def test_several_ranges_of_a_damaged_object_are_not_found(app):
    app.put(T1, b"x" * 200000)
    with open(f"{app.where().hash_dir}/{T1}.data", "r+b") as f:
        f.seek(150000)
        f.write(b"!")
    assert app.get(Range="bytes=0-9,100-110").status == 206
    assert app.get(Range="bytes=0-9,140000-140010").status == 404
    assert app.get().status == 404


def test_a_short_range_of_a_long_block_is_sent_as_it_is(app, monkeypatch):
    """Reading a block of many megabytes for a few bytes of it would cost more than it is worth."""
    monkeypatch.setattr(checks, "PIECE", 10000)
    app.put(T1, b"x" * 200000)
    with open(f"{app.where().hash_dir}/{T1}.data", "r+b") as f:
        f.seek(1)
        f.write(b"!")
    assert app.get(Range="bytes=10-19").body == b"x" * 10
    with pytest.raises(BodyDamaged):
        app.get(Range="bytes=10-50000")


# ---------------------------------------------------------------- footers

BOUNDARY = "c3a9d0cb8971b8665d16"


def mime(body, footer, digest=None, boundary=BOUNDARY, header="object metadata", end=True):
    text = footer if isinstance(footer, bytes) else json.dumps(footer).encode()
    digest = md5(text) if digest is None else digest
    lines = [
        f"--{boundary}\r\nX-Document: object body\r\n\r\n".encode(),
        body,
        f"\r\n--{boundary}\r\nX-Document: {header}\r\n".encode(),
        f"Content-MD5: {digest}\r\n".encode() if digest else b"",
        b"\r\n",
        text,
        f"\r\n--{boundary}--".encode() if end else b"",
    ]
    return b"".join(lines)


def put_mime(app, document, timestamp=T1, length=None, **headers):
    headers = {
        "X_Backend_Obj_Metadata_Footer": "yes",
        "X_Backend_Obj_Multipart_Mime_Boundary": BOUNDARY,
        "Transfer_Encoding": "chunked",
        "Expect": "100-continue",
        **headers,
    }
    if length is not None:
        headers["X_Backend_Obj_Content_Length"] = str(length)
    return app.put(timestamp, document, **headers)


BODIES = [b"", b"x", b"\r\n--" + BOUNDARY.encode()[:-1], b"\r\n" * 30000 + b"--c3a9d0cb", b"z" * 200001]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("known", [True, False])
def test_footers(app, body, known):
    footer = {"Etag": md5(body), "X-Object-Sysmeta-A": "footer", "X-Object-Meta-B": "b"}
    got = put_mime(
        app,
        mime(body, footer),
        length=len(body) if known else None,
        X_Object_Sysmeta_A="header",
        Etag="0" * 32,
    )
    assert got.status == 201
    assert got.input.hundred_headers == {"X-Obj-Metadata-Footer": "yes"}
    got = app.get()
    assert got.body == body
    assert got.headers["x-object-sysmeta-a"] == "footer"
    assert got.headers["x-object-meta-b"] == "b"


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_promised_checksum_in_the_footer(app, body):
    etag = "0" * 32
    footer = {"Etag": etag, "X-Backend-Body-Crc32": f"{zlib.crc32(body):08x}"}
    got = put_mime(app, mime(body, footer), length=len(body), X_Backend_Body_Crc32="footer")
    assert (got.status, got.headers["etag"]) == (201, f'"{etag}"')
    assert app.get().body == body
    footer["X-Backend-Body-Crc32"] = "12345678"
    assert put_mime(app, mime(body, footer), T2, X_Backend_Body_Crc32="footer").status == 422
    for missing in ({"Etag": etag}, {"X-Backend-Body-Crc32": "12345678"}):
        assert put_mime(app, mime(body, missing), T2, X_Backend_Body_Crc32="footer").status == 400
    assert app.files() == [f"{T1}.data"]


@pytest.mark.parametrize(
    "document, length, status, text",
    [
        (mime(b"abc", {}, digest="0" * 32), 3, 422, b"footer MD5 mismatch"),
        (mime(b"abc", {}, digest=""), 3, 400, b"no Content-MD5 in footer"),
        (mime(b"abc", b"{"), 3, 400, b"invalid JSON for footer doc"),
        (mime(b"abc", b"[]"), 3, 400, b"invalid JSON for footer doc"),
        (mime(b"abc", {"A": 1}), 3, 400, b"invalid JSON for footer doc"),
        (mime(b"abc", {"A": "1\r\nB: 2"}), 3, 400, b"invalid value in footer doc"),
        (mime(b"abc", {"A": "\u2603"}), 3, 400, b"invalid JSON for footer doc"),
        (mime(b"abc", b"[" * 100000), 3, 400, b"invalid JSON for footer doc"),
        (mime(b"abc", {}, header="other"), 3, 400, b"couldn't find footer MIME doc"),
        (mime(b"abc", {}, end=False), 3, 400, b"malformed footer MIME doc"),
        (mime(b"abc", {}, boundary="other"), 3, 400, b"malformed MIME document"),
        (f"--{BOUNDARY}\r\n\r\nabc\r\n--{BOUNDARY}--".encode(), 3, 400, b"couldn't find footer MIME doc"),
        (mime(b"abc", {"Etag": "0" * 32}), 3, 422, None),
        (mime(b"abc", {}), 2, 499, None),
        (mime(b"abc", {}), 4, 499, None),
        (mime(b"abc", {}), 10**6, 499, None),
        (mime(b"abc", {})[:20], None, 400, b"malformed MIME document"),
        (b"x" * 200000, None, 400, b"malformed MIME document"),
        (f"--{BOUNDARY}\r\n\r\nabc".encode(), None, 499, None),
        (f"--{BOUNDARY}\r\nno colon\r\n\r\nabc".encode(), None, 400, b"malformed headers in a MIME document"),
    ],
)
def test_bad_documents_leave_nothing(app, document, length, status, text):
    got = put_mime(app, document, length=length)
    assert got.status == status
    if text:
        assert got.body == text
    assert nothing_left(app)


def test_footers_without_boundary(app):
    got = put_mime(app, b"", X_Backend_Obj_Multipart_Mime_Boundary=None)
    assert (got.status, got.body) == (400, b"no MIME boundary")


def test_the_answer_to_a_post_tells_the_type_that_the_object_has_now(app):
    """Not the one it had before; as the reference."""
    app.put(T1, Content_Type="a/old")
    for timestamp, given, now in (
        (T2, "a/new", "a/new"),
        (T3, None, "a/new"),
        ("1700000004.00000", "a/newer", "a/newer"),
    ):
        got = app.request("POST", X_Timestamp=timestamp, Content_Type=given)
        assert (got.status, got.headers["x-backend-content-type"]) == (202, now)
        assert app.get().headers["content-type"] == now
    # an older POST whose type is newer than the one that is there
    got = app.request(
        "POST", X_Timestamp=T2, Content_Type="a/late", Content_Type_Timestamp="1700000005.00000"
    )
    assert (got.status, got.headers["x-backend-content-type"]) == (202, "a/late")


# ---------------------------------------------------------------- full and broken disks


def test_reserve(root):
    app = App(root, fallocate_reserve=str(2**60))
    assert app.put(T1).status == 507
    assert app.put(T1, b"x" * 100000).status == 507
    assert app.request("DELETE", X_Timestamp=T2).status == 404
    assert app.files() == [f"{T2}.ts"]
    assert app.request("POST", X_Timestamp=T3).status == 404


@pytest.mark.parametrize(
    "code, status",
    [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EIO, 507), (errno.EROFS, 507), (errno.EMFILE, 503)],
)
def test_write_errors(app, monkeypatch, code, status):
    def fail(fd, data):
        raise OSError(code, os.strerror(code))

    for module in (batch, writer):
        monkeypatch.setattr(module, "write_all", fail)
    got = app.put(T1)
    assert got.status == status
    assert b"Traceback" not in got.body
    monkeypatch.undo()
    assert nothing_left(app)


def test_too_much_metadata_for_the_disk_is_the_clients_error(app, monkeypatch):
    app.server.stores.options.metadata_overflow = False

    def fail(fd, name, value):
        if len(value) > 3000:
            raise OSError(errno.ENOSPC, "no")

    monkeypatch.setattr(metadata, "set_xattr", fail)
    got = app.put(T1, **{f"X_Object_Meta_{n}": "x" * 200 for n in range(18)})
    assert got.status == 400
    assert got.body.startswith(b"Metadata too large for this server's disks")
    monkeypatch.undo()
    assert nothing_left(app)


def test_lock_that_nobody_gives_back(app, monkeypatch):
    app.put(T1)
    monkeypatch.setattr("swift.obj.files.suffixes.LOCK_TIMEOUT", 0.01)
    lock = acquire_lock(app.where().partition_dir, 1)
    try:
        assert app.put(T2).status == 503
    finally:
        os.close(lock)
    assert app.files() == [f"{T1}.data"]


def test_collision_is_403(app):
    app.put(T1)
    with open(f"{app.where().hash_dir}/{T1}.data") as f:
        stored = metadata.read(f.fileno())
        metadata.write(f.fileno(), {**stored, "name": "/a/c/other"})
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        assert app.request(method, X_Timestamp=T2).status == 403


def test_unexpected_errors_say_nothing_about_themselves(app, monkeypatch):
    def fail(*args):
        raise RuntimeError("secret")

    monkeypatch.setattr("swift.obj.files.store.open_object", fail)
    got = app.get()
    assert got.status == 500
    assert b"secret" not in got.body and b"Traceback" not in got.body


# ---------------------------------------------------------------- how it is on disk


def test_everything_acknowledged_was_synced(app, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))[1]
    )
    assert app.put(T1).status == 201
    where = app.where()
    for directory in (
        app.device,
        f"{app.device}/objects",
        where.partition_dir,
        where.suffix_dir,
        where.hash_dir,
    ):
        assert directory in synced, directory
    data = [n for n, path in enumerate(synced) if path.endswith("(deleted)")]
    assert data and data[0] < len(synced) - 1 - synced[::-1].index(where.hash_dir)


def test_new_part_power_links_into_the_next_partition(app):
    digest = app.where().name_hash
    old, new = int(digest[:8], 16) >> 28, int(digest[:8], 16) >> 27
    path = f"/sda/{old}/a/c/o"
    app.request("PUT", path, b"x", X_Timestamp=T1, X_Backend_Next_Part_Power="5")
    one, other = app.where(partition=str(old)), app.where(partition=str(new))
    if one.hash_dir != other.hash_dir:
        assert os.path.samefile(f"{one.hash_dir}/{T1}.data", f"{other.hash_dir}/{T1}.data")
    app.request("POST", path, X_Timestamp=T2, X_Backend_Next_Part_Power="5")
    app.request("DELETE", path, X_Timestamp=T3, X_Backend_Next_Part_Power="5")
    assert os.listdir(one.hash_dir) == os.listdir(other.hash_dir) == [f"{T3}.ts"]
    assert open(f"{other.partition_dir}/hashes.invalid").read().strip()


def test_no_descriptor_leaks(app):
    def use():
        for size in (10, 100000):
            app.put(T1, b"x" * size)
            app.get()
            app.get(Range="bytes=1-2")
            app.get(If_None_Match="*")
            app.request("HEAD")
            app.put(T1, Etag="0" * 32)
            app.request("POST", X_Timestamp=T2)
            app.request("DELETE", X_Timestamp=T3)
            app.put(T1)

    use()
    with none_left_open():
        use()


def test_file_systems_without_unnamed_files(app, monkeypatch):
    new_file.no_tmpfile.add(app.where().tmp_dir)
    try:
        assert app.put(T1).status == 201
        assert app.put(T1, b"other").status == 409
        assert app.put(T2, Etag="0" * 32).status == 422
        assert os.listdir(f"{app.device}/tmp") == []
        assert app.get().body == b"body"
    finally:
        new_file.no_tmpfile.clear()


def test_hash_directory_removed_while_writing(app):
    """A cleanup may remove the directory, empty as it still is, at any moment before the link."""
    where = app.where()
    new = writer.NewObjectFile(where, app.server.stores.options)
    os.rmdir(where.hash_dir)
    os.rmdir(where.suffix_dir)
    new.write(b"body")
    new.finish({"X-Timestamp": T1, "Content-Length": "4", "ETag": md5(b"body")}, ".data")
    new.close()
    assert app.get().body == b"body"


def test_a_write_succeeds_although_its_directory_cannot_be_listed_afterwards(app, monkeypatch):
    listdir = os.listdir

    def no_descriptor_left(path="."):
        if isinstance(path, int):
            raise OSError(errno.EMFILE, "too many open files")
        return listdir(path)

    app.put(T1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", no_descriptor_left)
        assert app.put(T2, b"newer").status == 201
    assert app.get().body == b"newer"
    assert os.listdir(app.where().hash_dir) == [f"{T2}.data"]


# ---------------------------------------------------------------- metrics


def test_timings_are_sent_where_statsd_is(root):
    import socket

    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(60)
    port = str(receiver.getsockname()[1])
    app = App(root, log_statsd_host="127.0.0.1", log_statsd_port=port, statsd_label_mode="dogstatsd")
    app.put(T1, b"x" * 1000)
    app.get()
    app.request("GET", "/nope/7/a/c/o")
    damaged = f"{app.where().hash_dir}/{T1}.data"
    with open(damaged, "r+b") as f:
        f.write(b"!")
    app.get()
    names = []
    while "quarantines" not in names or names.count("object-server.GET.timing") < 2:
        event = receiver.recv(1000).decode()
        name, _, value = event.partition(":")
        names.append(name.rpartition(".")[2] if "quarantines" in name else name)
        if "|#" in value:
            assert name == "swift_object_server_request_timing"
    receiver.close()
    assert names.count("object-server.PUT.timing") == 1
    assert names.count("object-server.PUT.sda.timing") == 1
    assert names.count("object-server.GET.errors.timing") == 1
    assert "swift_object_server_request_timing" in names


@pytest.mark.parametrize("size", ["0", "-5"])
def test_pieces_of_no_size_are_refused_before_they_end_every_answer_early(root, size):
    with pytest.raises(ValueError, match="must be an positive int"):
        App(root, disk_chunk_size=size)
