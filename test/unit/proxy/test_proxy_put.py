"""Uploads: what the replicas are sent, and when the client is told what."""

import gc
import hashlib
import io
import re
import zlib

import pytest
from proxy_backends import CONTAINER_HEADERS, Reply, mime_parts

from swift.core import concurrency
from swift.wire import digest
from swift.wire.errors import BadChunk, ClientDisconnected, ClientTimeout
from swift.wire.message import Request

EMPTY = hashlib.md5(b"").hexdigest()
BODY = b"hello world"
ETAG = hashlib.md5(BODY).hexdigest()
LONG = bytes(range(256)) * 4096
LONG_ETAG = hashlib.md5(LONG).hexdigest()


def stores(seen):
    """An object server that stores what it gets and says its MD5."""
    if not seen.complete:
        return Reply(100)
    body = mime_parts(seen)[0] if "x-backend-obj-metadata-footer" in seen.headers else seen.body
    return Reply(
        201, {"Etag": f'"{hashlib.md5(body).hexdigest()}"', "Content-Type": "text/html; charset=UTF-8"}
    )


@pytest.fixture(params=[BODY, LONG], ids=["small", "long"])
def body(request):
    return request.param


def test_a_small_body_goes_to_all_primaries_at_once(cluster):
    cluster.on("object", "PUT", stores)
    sent = {"Content-Type": "text/plain", "X-Object-Meta-Color": "red", "X-Auth-Token": "t"}
    status, headers, body = cluster.request("PUT", "/v1/AUTH_test/c/o", sent, BODY)
    assert (status, body) == (201, b"")
    assert headers["etag"] == ETAG
    assert headers["content-length"] == "0"
    assert headers["content-type"] == "text/html; charset=UTF-8"
    assert headers["last-modified"].endswith("GMT")
    puts = cluster.of("object", "PUT")
    assert sorted(seen.node for seen in puts) == [0, 1, 2]
    for seen in puts:
        assert seen.body == BODY
        assert "expect" not in seen.headers
        assert seen.headers["content-length"] == "11"
        assert seen.headers["content-type"] == "text/plain"
        assert seen.headers["x-object-meta-color"] == "red"
        assert seen.headers["etag"] == ETAG
        assert seen.headers["x-backend-body-crc32"] == f"{zlib.crc32(BODY):08x}"
        assert seen.headers["x-backend-storage-policy-index"] == "0"
        assert seen.headers["x-container-partition"] == "7"
        assert seen.headers["x-container-root-db-state"] == "unsharded"
    hosts = sorted(seen.headers["x-container-host"] for seen in puts)
    assert hosts == sorted(f"127.0.0.1:{backend.port}" for backend in cluster.backends[:3])
    assert sorted(seen.headers["x-container-device"] for seen in puts) == ["c0", "c1", "c2"]
    assert sorted(seen.headers["x-backend-clean-expiring-object-queue"] for seen in puts) == ["f", "t", "t"]
    assert len({seen.headers["x-timestamp"] for seen in puts}) == 1


def test_an_empty_body_and_empty_metadata(cluster):
    cluster.on("object", "PUT", stores)
    sent = {"Content-Type": "text/plain", "X-Object-Meta-Empty": ""}
    status, headers, _ = cluster.request("PUT", "/v1/a/c/o", sent)
    assert {seen.headers.get("x-object-meta-empty") for seen in cluster.of("object")} == {""}
    assert (status, headers["etag"]) == (201, EMPTY)
    assert [seen.headers["content-length"] for seen in cluster.of("object")] == ["0"] * 3


def test_a_long_body_is_streamed_and_its_etag_follows(cluster):
    cluster.on("object", "PUT", stores)
    status, headers, _ = cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, LONG)
    assert (status, headers["etag"]) == (201, LONG_ETAG)
    puts = cluster.of("object", "PUT")
    assert sorted(seen.node for seen in puts) == [0, 1, 2]
    assert len({seen.headers["x-backend-obj-multipart-mime-boundary"] for seen in puts}) == 3
    for seen in puts:
        data, digest, footers = mime_parts(seen)
        assert data == LONG
        assert footers == {"Etag": LONG_ETAG, "X-Backend-Body-Crc32": f"{zlib.crc32(LONG):08x}"}
        assert seen.headers["expect"] == "100-continue"
        assert seen.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in seen.headers  # the reference takes it for that of the object
        assert seen.headers["x-backend-obj-metadata-footer"] == "yes"
        assert seen.headers["x-backend-obj-content-length"] == str(len(LONG))
        assert seen.headers["x-backend-body-crc32"] == "footer"
        assert "x-backend-obj-multiphase-commit" not in seen.headers
        assert seen.headers["x-container-partition"] == "7"


def test_a_body_of_unknown_length(cluster):
    cluster.on("object", "PUT", stores)
    environ = {"wsgi.input": io.BytesIO(BODY)}
    sent = {"Content-Type": "a/b", "Transfer-Encoding": "chunked"}
    status, headers, _ = cluster.request("PUT", "/v1/a/c/o", sent, environ=environ)
    assert (status, headers["etag"]) == (201, ETAG)
    for seen in cluster.of("object"):
        assert mime_parts(seen)[0] == BODY
        assert "x-backend-obj-content-length" not in seen.headers


def test_a_client_cannot_say_what_the_checksum_is(cluster, body):
    cluster.on("object", "PUT", stores)
    sent = {"Content-Type": "a/b", "X-Backend-Body-Crc32": "00000000", "Etag": "0" * 32}
    status, _, _ = cluster.request("PUT", "/v1/a/c/o", sent, body)
    for seen in cluster.of("object", "PUT"):
        assert seen.headers.get("x-backend-body-crc32") in (None, "footer")


def test_a_right_etag_is_accepted(cluster, body):
    cluster.on("object", "PUT", stores)
    etag = f'"{hashlib.md5(body).hexdigest()}"'
    status, headers, _ = cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b", "Etag": etag}, body)
    assert (status, headers["etag"]) == (201, etag.strip('"'))


def test_a_wrong_etag_of_a_small_body_is_left_to_the_servers(cluster):
    cluster.on("object", "PUT", Reply(422, body=b"unprocessable"))
    status, headers, body = cluster.request(
        "PUT", "/v1/a/c/o", {"Content-Type": "a/b", "Etag": "0" * 32}, BODY
    )
    assert (status, body) == (422, b"unprocessable")
    for seen in cluster.of("object"):
        assert seen.headers["etag"] == "0" * 32
        assert "x-backend-body-crc32" not in seen.headers


def test_a_wrong_etag_of_a_long_body_is_422_and_no_document_is_finished(cluster):
    cluster.on("object", "PUT", stores)
    sent = {"Content-Type": "a/b", "Etag": "0" * 32, "X-Timestamp": "1700000000.00000"}
    status, headers, _ = cluster.request("PUT", "/v1/a/c/o", sent, LONG)
    assert (status, headers["last-modified"]) == (422, "Tue, 14 Nov 2023 22:13:20 GMT")
    concurrency.sleep(0.01)
    assert [seen.complete for seen in cluster.of("object", "PUT")] == [False] * 3


# -- quorum ----------------------------------------------------------------------------------------------------------------


def test_one_dead_primary_is_replaced_by_a_handoff(cluster, body):
    cluster.on("object", "PUT", stores)
    cluster.backends[1].stop()
    assert cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, body)[0] == 201
    puts = [seen for seen in cluster.of("object", "PUT") if seen.complete]
    assert sorted(seen.node for seen in puts) == [0, 2, 3]
    assert sorted(seen.headers["x-container-device"] for seen in puts) == ["c0", "c1", "c2"]


def test_a_full_primary_is_replaced_by_a_handoff(cluster, body):
    early = Reply(507, early=True)
    cluster.on("object", "PUT", lambda seen: early if seen.node == 0 else stores(seen))
    assert cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, body)[0] == 201
    nodes = sorted(seen.node for seen in cluster.of("object", "PUT") if seen.node)
    assert nodes == [1, 2, 3]


def test_no_quorum_is_503(cluster, body):
    cluster.on("object", "PUT", lambda seen: stores(seen) if seen.node == 0 else Reply(503, early=True))
    assert cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, body)[0] == 503


def test_a_silent_replica_costs_only_the_grace_after_a_quorum(make_cluster, body):
    cluster = make_cluster(nodes=3, node_timeout="120", post_quorum_timeout="0.1")

    def reply(seen):
        if seen.node == 2 and seen.complete and seen.body:
            return Reply(201, hang=90)
        return stores(seen)

    cluster.on("object", "PUT", reply)
    with concurrency.Timeout(60):
        assert cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, body)[0] == 201


def test_a_replica_that_stays_silent_counts_as_failed_later(make_cluster):
    cluster = make_cluster(
        nodes=3, node_timeout="0.3", post_quorum_timeout="0.05", error_suppression_limit="0"
    )
    cluster.on("object", "PUT", lambda seen: Reply(201, hang=60) if seen.node == 2 else stores(seen))
    assert cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, BODY)[0] == 201
    assert not cluster.app.limiter.is_limited(cluster.rings["o"].primaries[2])
    with concurrency.Timeout(30):
        while not cluster.app.limiter.is_limited(cluster.rings["o"].primaries[2]):
            concurrency.sleep(0.01)


def test_a_replica_that_dies_after_the_answer_is_replaced(make_cluster):
    """Or the third copy, and the row of the container server that this replica was to inform, would be missing."""
    cluster = make_cluster(nodes=4, post_quorum_timeout="0.05")
    cluster.on("object", "PUT", lambda seen: Reply(hang=0.3, drop=True) if seen.node == 2 else stores(seen))
    assert cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, BODY)[0] == 201
    lost = next(seen for seen in cluster.of("object", "PUT") if seen.node == 2)
    with concurrency.Timeout(60):
        while not any(seen.node == 3 and seen.complete for seen in cluster.of("object", "PUT")):
            concurrency.sleep(0.01)
    handoff = next(seen for seen in cluster.of("object", "PUT") if seen.node == 3)
    assert handoff.body == BODY
    assert handoff.headers["x-container-device"] == lost.headers["x-container-device"]


def test_a_replica_that_breaks_in_the_middle_is_dropped(make_cluster):
    cluster = make_cluster(nodes=3)

    def reply(seen):
        if seen.node == 2 and not seen.complete:
            return Reply(100)
        return Reply(drop=True) if seen.node == 2 else stores(seen)

    cluster.on("object", "PUT", reply)
    assert cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, LONG)[0] == 201


@pytest.mark.parametrize("when", ["refused", "before", "in the middle", "later"])
def test_rows_that_a_lost_replica_was_to_report_are_reported_by_the_proxy(make_cluster, body, when):
    """One copy of the listing would lack the object otherwise, until replication finds out."""
    cluster = make_cluster(nodes=3, post_quorum_timeout="0.1")

    def reply(seen):
        if seen.node != 2:
            return stores(seen)
        if when == "refused":
            return Reply(507, early=True)
        if when == "in the middle" and not seen.complete:
            return Reply(100)
        return Reply(drop=True, hang=0.3 if when == "later" else 0)

    cluster.on("object", "PUT", reply)
    cluster.on("container", "PUT", Reply(201))
    sent = {"Content-Type": "a/b", "X-Backend-Container-Update-Override-Color": "red"}
    assert cluster.request("PUT", "/v1/a/c/o", sent, body)[0] == 201
    lost = next(seen for seen in cluster.of("object", "PUT") if seen.node == 2)
    with concurrency.Timeout(60):
        while not cluster.of("container", "PUT"):
            concurrency.sleep(0.01)
    (row,) = cluster.of("container", "PUT")
    assert row.path == f"/{lost.headers['x-container-device']}/7/a/c/o"
    assert row.headers["x-size"] == str(len(body))
    assert row.headers["x-etag"] == hashlib.md5(body).hexdigest()
    assert row.headers["x-content-type"] == "a/b"
    assert row.headers["x-color"] == "red"
    assert row.headers["x-timestamp"] == lost.headers["x-timestamp"]
    assert row.headers["x-backend-storage-policy-index"] == "0"


def test_no_row_is_reported_for_what_was_not_stored(make_cluster, body):
    cluster = make_cluster(nodes=3)
    cluster.on("object", "PUT", lambda seen: stores(seen) if seen.node == 0 else Reply(drop=seen.complete))
    cluster.on("container", "PUT", Reply(201))
    assert cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, body)[0] == 503
    assert not cluster.of("container", "PUT")


def test_a_replica_without_the_footer_capability_is_not_used(cluster):
    cluster.on("object", "PUT", lambda seen: Reply(201, capable=False) if seen.node == 0 else stores(seen))
    assert cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, LONG)[0] == 201
    done = [seen.node for seen in cluster.of("object", "PUT") if seen.body]
    assert sorted(done) == [1, 2, 3]


def test_something_newer_is_accepted(cluster, body):
    newer = Reply(409, {"X-Backend-Timestamp": "1999999999.00000"}, early=True)
    cluster.on("object", "PUT", lambda seen: newer if seen.node == 1 else stores(seen))
    status, headers, text = cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, body)
    assert status == 202
    assert "etag" not in headers and "last-modified" not in headers
    assert text == b"<html><h1>Accepted</h1><p>The request is accepted for processing.</p></html>"


def test_if_none_match_star(cluster, body):
    exists = Reply(412, early=True)
    cluster.on("object", "PUT", lambda seen: exists if seen.node == 1 else stores(seen))
    sent = {"Content-Type": "a/b", "If-None-Match": "*"}
    assert cluster.request("PUT", "/v1/a/c/o", sent, body)[0] == 412
    assert cluster.of("object")[0].headers["if-none-match"] == "*"


def test_if_none_match_supports_only_star(cluster):
    sent = {"Content-Type": "a/b", "If-None-Match": "abc"}
    status, headers, body = cluster.request("PUT", "/v1/a/c/o", sent, BODY)
    assert (status, body) == (400, b"If-None-Match only supports *")
    assert headers["content-type"].startswith("text/plain")


def test_a_copy_that_nobody_makes_is_refused(cluster):
    """Instead of an empty object in its place."""
    cluster.on("object", "PUT", stores)
    status, _headers, text = cluster.request("PUT", "/v1/a/c/o", {"X-Copy-From": "c/other"})
    assert (status, text) == (400, b"X-Copy-From is not supported here")
    assert not cluster.of("object")


def test_disagreeing_etags_are_500(cluster):
    cluster.on("object", "PUT", lambda seen: Reply(201, {"Etag": f'"{seen.node}"'}))
    assert cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, BODY)[0] == 500


def test_a_refusal_of_all_is_the_clients_answer(cluster, body):
    cluster.on("object", "PUT", Reply(400, body=b"bad", early=True))
    status, headers, text = cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, body)
    assert (status, text, headers["content-type"]) == (400, b"bad", "text/html; charset=UTF-8")


# -- clients that do not hold their word -----------------------------------------------------------------------------------


class Breaking(io.BytesIO):
    def __init__(self, data, error):
        super().__init__(data)
        self.error = error

    def read(self, size=-1):
        data = super().read(min(size, 65536) if size > 0 else size)
        if not data:
            raise self.error
        return data


@pytest.mark.parametrize(
    ("error", "status"),
    [(ClientTimeout("slow"), 408), (ClientDisconnected("gone"), 499), (BadChunk("bad"), 499)],
)
@pytest.mark.parametrize("length", [1000, 1_000_000])
def test_a_client_that_breaks_off_leaves_nothing(cluster, error, status, length):
    cluster.on("object", "PUT", stores)
    environ = {"wsgi.input": Breaking(b"", error), "CONTENT_LENGTH": str(length)}
    if length > 1000:
        environ["wsgi.input"] = Breaking(LONG[:700_000], error)
    sent = {"Content-Type": "a/b", "Transfer-Encoding": None}
    request = Request.blank(
        "/v1/a/c/o", environ={"REQUEST_METHOD": "PUT", **environ}, headers={"Content-Type": "a/b"}
    )
    got, _, body = request.call_application(cluster.app)
    assert int(got[:3]) == status
    concurrency.sleep(0.01)
    assert not any(seen.complete for seen in cluster.of("object", "PUT")), sent


def test_an_upload_that_breaks_off_gives_its_buffers_back(cluster, monkeypatch):
    monkeypatch.setattr(digest, "BEGINNING", 0)
    cluster.on("object", "PUT", stores)
    before = digest.BodyDigest.made_by_all
    made = []

    class Watched(Breaking):
        def read(self, size=-1):
            made.append(digest.BodyDigest.made_by_all)
            return super().read(size)

    request = Request.blank(
        "/v1/a/c/o",
        environ={
            "REQUEST_METHOD": "PUT",
            "wsgi.input": Watched(LONG[:700_000], ClientDisconnected("gone")),
            "CONTENT_LENGTH": "1000000",
        },
        headers={"Content-Type": "a/b"},
    )
    gc.disable()
    try:
        assert request.call_application(cluster.app)[0].startswith("499")
        assert max(made) > before == digest.BodyDigest.made_by_all
    finally:
        gc.enable()


def test_fewer_bytes_than_announced_are_499(cluster, body):
    cluster.on("object", "PUT", stores)
    environ = {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body) + 1)}
    request = Request.blank(
        "/v1/a/c/o", environ={"REQUEST_METHOD": "PUT", **environ}, headers={"Content-Type": "a/b"}
    )
    assert request.call_application(cluster.app)[0].startswith("499")
    concurrency.sleep(0.01)
    assert not any(seen.complete for seen in cluster.of("object", "PUT"))


def test_too_long_a_body_is_413(cluster):
    from swift.core.constraints import Limits, set_limits

    set_limits(Limits(max_file_size=100_000))
    cluster.on("object", "PUT", stores)
    status, headers, body = cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, LONG)
    assert (status, body) == (413, b"Your request is too large. An object may have at most 100000 bytes.")
    environ = {"wsgi.input": io.BytesIO(LONG)}
    sent = {"Content-Type": "a/b", "Transfer-Encoding": "chunked"}
    assert cluster.request("PUT", "/v1/a/c/o", sent, environ=environ)[::2] == (status, body)
    concurrency.sleep(0.01)
    assert not any(seen.complete for seen in cluster.of("object", "PUT"))


def test_a_body_without_length_is_411(cluster):
    request = Request.blank("/v1/a/c/o", environ={"REQUEST_METHOD": "PUT"}, headers={"Content-Type": "a/b"})
    status, headers, body = request.call_application(cluster.app)
    assert status.startswith("411")
    assert b"".join(body) == b"Missing Content-Length header."


# -- what is checked and added ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sent", "stored"),
    [
        ("pic.png", {}, "image/png"),
        ("what.unknown-thing", {}, "application/octet-stream"),
        ("pic.png", {"Content-Type": "a/b"}, "a/b"),
        ("pic.png", {"Content-Type": "a/b", "X-Detect-Content-Type": "true"}, "image/png"),
    ],
)
def test_content_types_are_guessed_from_names(cluster, name, sent, stored):
    cluster.on("object", "PUT", stores)
    assert cluster.request("PUT", f"/v1/a/c/{name}", sent, BODY)[0] == 201
    for seen in cluster.of("object"):
        assert seen.headers["content-type"] == stored
        assert "x-detect-content-type" not in seen.headers


@pytest.mark.parametrize(
    ("sent", "status", "text"),
    [
        (
            {"Content-Type": "a/b;swift_x=y"},
            400,
            b"Invalid Content-Type, swift_* is not a valid parameter name.",
        ),
        ({"X-Delete-At": "x"}, 400, b"Non-integer X-Delete-At"),
        ({"X-Delete-At": "1"}, 400, b"X-Delete-At in past"),
        ({"X-Delete-After": "x"}, 400, b"Non-integer X-Delete-After"),
        ({"X-Delete-After": "-5"}, 400, b"X-Delete-After in past"),
        ({"X-Object-Meta-" + "x" * 129: "v"}, 400, None),
        ({"X-Object-Meta-A": "v" * 257}, 400, b"Metadata value longer than 256: x-object-meta-A"),
    ],
)
def test_bad_headers_are_refused_before_anything_is_sent(cluster, sent, status, text):
    got, headers, body = cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b", **sent}, BODY)
    assert got == status
    if text:
        assert body == text
    assert cluster.of("object") == []


def test_an_object_name_that_is_too_long(cluster):
    status, headers, body = cluster.request("PUT", "/v1/a/c/" + "x" * 1025, {}, BODY)
    assert (status, body) == (400, b"Object name length of 1025 longer than 1024")


def test_a_missing_container_is_404(cluster):
    cluster.on("container", "HEAD", Reply(404))
    assert cluster.request("PUT", "/v1/a/c/o", {}, BODY)[0] == 404
    assert cluster.of("object") == []


def test_expiry_is_queued_from_the_other_end(cluster):
    cluster.on("object", "PUT", stores)
    environ = {}
    status, _, _ = cluster.request(
        "PUT", "/v1/AUTH_test/c/o", {"X-Delete-At": "1999999999", "Content-Type": "a/b"}, BODY, environ
    )
    assert status == 201
    assert [seen.headers["x-delete-at"] for seen in cluster.of("object")] == ["1999999999"] * 3
    for seen in cluster.of("object"):
        assert seen.headers["x-delete-at-partition"] == "7"
        assert 1999999999 // 86400 * 86400 - 100 < int(seen.headers["x-delete-at-container"]) <= 1999987200
        # request k tells container node k of the row, and node 2-k of the expiry
        told = seen.headers["x-container-device"], seen.headers["x-delete-at-device"]
        assert told in {("c0", "c2"), ("c1", "c1"), ("c2", "c0")}


def test_the_name_of_an_expirer_container():
    from swift.core.hashing import set_hash_config
    from swift.core.object_headers import queue_container

    set_hash_config("pfx", "sfx")
    assert queue_container(86400, 1795323498, b"AUTH_test", b"c", b"o") == "1795305528"


@pytest.mark.parametrize(
    ("requests", "quorum", "containers", "updates"),
    [(3, 2, 3, 3), (4, 2, 3, 4), (6, 5, 3, 3), (14, 11, 3, 5), (3, 2, 5, 5)],
)
def test_the_number_of_container_updates(requests, quorum, containers, updates):
    from swift.proxy.updates import number_of_updates

    assert number_of_updates(requests, quorum, containers) == updates


def test_a_delete_after_becomes_a_delete_at(cluster):
    cluster.on("object", "PUT", stores)
    sent = {
        "X-Delete-After": "60",
        "X-Delete-At": "1",
        "X-Timestamp": "1700000000.00000",
        "Content-Type": "a/b",
    }
    assert cluster.request("PUT", "/v1/a/c/o", sent, BODY)[0] == 201
    assert {seen.headers["x-delete-at"] for seen in cluster.of("object")} == {"1700000060"}


FOOTERS = {
    "X-Object-Sysmeta-Crypto": "yes",
    "X-Object-Sysmeta-Container-Update-Override-Etag": "of the plaintext",
    "X-Object-Transient-Sysmeta-Key": "k",
    "X-Object-Meta-Colour": "overridden",
    "X-Backend-Container-Update-Override-Size": "7",
    "X-Unknown": "not kept with an object",
}


@pytest.mark.parametrize("letter", ["\x85", "\x1c", "\x0b", "\x0c", "\u00c5".encode().decode("latin-1")])
def test_footers_leave_headers_with_odd_letters_whole(cluster, letter):
    """Some of the bytes of UTF-8 are line breaks to who takes them for text."""
    cluster.on("object", "PUT", stores)
    environ = {"swift.callback.update_footers": lambda footers: footers.update(FOOTERS)}
    sent = {
        "Content-Type": "a/b",
        "Content-Disposition": f"attachment; filename={letter}.txt",
        "X-Object-Meta-B": letter + "b",
    }
    assert cluster.request("PUT", "/v1/a/c/o", sent, BODY, environ)[0] == 201
    for seen in cluster.of("object"):
        assert seen.headers["content-disposition"] == f"attachment; filename={letter}.txt"
        assert seen.headers["x-object-meta-b"].strip() == (letter + "b").strip()


def test_footers_of_filters_reach_the_servers(cluster, body):
    cluster.on("object", "PUT", stores)
    called = []

    def add(footers):
        called.append(cluster.app.metrics)
        footers.update(FOOTERS)

    environ = {"swift.callback.update_footers": add}
    sent = {
        "Content-Type": "a/b",
        "X-Object-Meta-Colour": "red",
        "X-Object-Meta-Other": "o",
        "Etag": "0" * 32,
    }
    status, headers, _ = cluster.request("PUT", "/v1/a/c/o", sent, body, environ)
    etag = hashlib.md5(body).hexdigest()
    assert (status, headers["etag"]) == (201, etag)
    assert len(called) == 1
    for seen in cluster.of("object"):
        if len(body) <= 65536:
            # It is known before the head goes out: no second document, nothing to wait for.
            data, kept = seen.body, seen.headers
            assert "expect" not in kept and "x-backend-obj-metadata-footer" not in kept
            assert kept["x-object-meta-colour"] == "overridden"
            assert "x-unknown" not in kept
        else:
            data, _, footers = mime_parts(seen)
            kept = {name.lower(): value for name, value in footers.items()}
        assert data == body
        assert seen.headers["x-object-meta-other"] == "o"
        for name, value in FOOTERS.items():
            assert name == "X-Unknown" or kept[name.lower()] == value
        assert kept["etag"] == etag
        assert re.fullmatch("[0-9a-f]{8}", kept["x-backend-body-crc32"])


def test_a_footer_with_a_line_break_is_no_header(cluster):
    environ = {
        "swift.callback.update_footers": lambda footers: footers.update({"X-Object-Meta-A": "b\r\nX-Evil: 1"})
    }
    assert cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, BODY, environ)[0] == 400
    assert cluster.of("object") == []


def test_a_footer_etag_that_is_wrong_is_422(cluster, body):
    cluster.on("object", "PUT", stores)
    environ = {"swift.callback.update_footers": lambda footers: footers.update({"Etag": "0" * 32})}
    assert cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, body, environ)[0] == 422
    assert not any(seen.complete for seen in cluster.of("object"))


def test_the_partition_power_being_increased_is_told(cluster):
    cluster.on("object", "PUT", stores)
    cluster.rings["o"].next_part_power = 11
    cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, BODY)
    assert {seen.headers["x-backend-next-part-power"] for seen in cluster.of("object")} == {"11"}


def test_a_sharded_containers_state_is_told(cluster):
    cluster.on("container", "HEAD", Reply(204, {**CONTAINER_HEADERS, "X-Backend-Sharding-State": "sharded"}))
    cluster.on("object", "PUT", stores)
    cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, BODY)
    assert {seen.headers["x-container-root-db-state"] for seen in cluster.of("object")} == {"sharded"}


def test_write_affinity_puts_local_copies_first(make_cluster):
    cluster = make_cluster(nodes=8, write_affinity="r1", write_affinity_node_count="2 * replicas")
    ring = cluster.rings["o"]
    for node in (*ring.primaries, *ring.handoffs):
        node["region"] = 1 if node["id"] in (0, 4, 5, 6) else 2
    cluster.on("object", "PUT", stores)
    assert cluster.request("PUT", "/v1/a/c/o", {"Content-Type": "a/b"}, BODY)[0] == 201
    assert sorted(seen.node for seen in cluster.of("object", "PUT")) == [0, 4, 5]


def test_an_etag_in_capitals(cluster, body):
    cluster.on("object", "PUT", stores)
    etag = hashlib.md5(body).hexdigest().upper()
    assert cluster.request("PUT", "/v1/a/c/o", {"Etag": etag}, body)[0] == 201
