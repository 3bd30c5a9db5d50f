"""What goes over each connection while a body comes, whatever pieces it comes in: whole archives, framed, with their digests."""

import hashlib
import json
import random
import re
from collections import defaultdict
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.coding.fragments import Codec
from swift.core.checksum import crc32
from swift.core.concurrency import hub
from swift.core.object_headers import EC_ETAG, EC_LENGTH
from swift.engine import threads
from swift.proxy import erasure_put
from swift.proxy.erasure_put import StreamedFragments
from swift.proxy.quorum import Answer
from swift.wire.message import HTTPClientDisconnect, HTTPServiceUnavailable, Request

CODEC = Codec("liberasurecode_rs_vand", 4, 2)
SEGMENT = 200_000  # more than is encoded inline


class Link:
    def __init__(self, index):
        self.node = {"id": index, "index": index}
        self.boundary = b"%064x" % index
        self.call = None


class Uplinks:
    """All that a document is sent over."""

    def __init__(self, services, exchange, asking, common, shares, nodes, quorum, needed):
        self.common = common
        self.quorum = quorum
        self.links = [Link(index) for index in (3, 0, 5, 1, 4, 2)]
        self.sent = defaultdict(bytes)
        self.is_abandoned = False

    def connect(self):
        return None

    def live(self):
        return self.links

    def send(self, link, parts):
        self.sent[link.node["index"]] += b"".join(bytes(part) for part in parts)

    def await_continue(self):
        return []

    def commit(self):
        pass

    def abandon(self):
        self.is_abandoned = True

    def collect(self, report):
        return []

    def unavailable(self):
        return HTTPServiceUnavailable()


class Body:
    """The body in pieces of these sizes, received (None) or handed out by a filter (True)."""

    def __init__(self, data, pieces):
        self.data = data
        self.pieces = iter(pieces)

    def piece(self, buffer):
        size, is_filters = next(self.pieces, (len(self.data), False))
        if not is_filters:
            size = min(size, len(buffer))
        data, self.data = self.data[:size], self.data[size:]
        if is_filters:
            return data
        buffer[: len(data)] = data
        return buffer[: len(data)]

    def gone(self):
        return HTTPClientDisconnect()


def parts_of(document):
    """What a chunked body says, in its parts: the fragment archive, and the footers."""
    text = b""
    while document:
        line, _, document = document.partition(b"\r\n")
        size = int(line, 16)
        text += document[:size]
        assert document[size : size + 2] == b"\r\n"
        document = document[size + 2 :]
    boundary = re.match(rb"--([0-9a-f]{64})\r\nX-Document: object body\r\n\r\n", text)
    archive, metadata = text[boundary.end() :].split(b"\r\n--" + boundary[1] + b"\r\n", 1)[:2]
    footers = metadata.partition(b"\r\n\r\n")[2].partition(b"\r\n--")[0]
    return archive, json.loads(footers)


def upload(monkeypatch, data, pieces, length, in_hand=None):
    made = []

    def uplinks(*args):
        made.append(Uplinks(*args))
        return made[0]

    monkeypatch.setattr(erasure_put, "Uplinks", uplinks)
    monkeypatch.setattr(erasure_put, "ClientBody", lambda services, exchange: Body(data, pieces))
    environ = Request.blank("/v1/a/c/o", environ={"REQUEST_METHOD": "PUT"}).environ
    services = SimpleNamespace(options=SimpleNamespace(conn_timeout=1, node_timeout=1))
    selector = SimpleNamespace(iterate_for_put=lambda part, primaries: iter(()))
    place = SimpleNamespace(part=1, tail="/a/c/o", primaries=(), quorum=5, selector=selector)
    exchange = SimpleNamespace(environ=environ, use_replication=False, request=None)
    wanted = SimpleNamespace(exchange=exchange, place=place, common=b"", length=length, shares=[])
    policy = SimpleNamespace(codec=CODEC, segment_size=SEGMENT, duplication=1)
    streamed = StreamedFragments(services, policy, wanted, in_hand)
    return streamed, made[0]


def check(uplinks, data, etag):
    archives = [b""] * CODEC.total
    for start in range(0, len(data), SEGMENT):
        fragments = CODEC.encode(data[start : start + SEGMENT])
        archives = [a + f for a, f in zip(archives, fragments, strict=True)]
    assert etag == hashlib.md5(data).hexdigest()
    for index, archive in enumerate(archives):
        sent, footers = parts_of(uplinks.sent[index])
        assert sent == archive
        assert footers["Etag"] == hashlib.md5(archive).hexdigest()
        assert footers["X-Backend-Body-Crc32"] == f"{crc32(archive):08x}"
        assert (footers[EC_ETAG], footers[EC_LENGTH]) == (etag, str(len(data)))
        assert footers["X-Object-Sysmeta-Ec-Frag-Index"] == str(index)


PIECES = st.lists(st.tuples(st.sampled_from([1, 77, 65_536, 300_000, 1 << 20]), st.booleans()), max_size=30)
LENGTHS = st.sampled_from(
    [0, 1, 70_000, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT, 5 * SEGMENT + 100_000, 7 * SEGMENT + 5]
)


@settings(deadline=None, max_examples=40)
@given(LENGTHS, PIECES, st.booleans())
def test_archives(length, pieces, is_known):
    hub()
    data = random.Random(length).randbytes(length)
    with pytest.MonkeyPatch.context() as monkeypatch:
        streamed, uplinks = upload(monkeypatch, data, pieces, length if is_known else None)
        _, etag = streamed.run()
    check(uplinks, data, etag)
    if is_known and length:
        assert b"X-Backend-Obj-Content-Length: %d\r\n" % CODEC.archive_size(length, SEGMENT) in uplinks.common


def test_a_body_in_hand(monkeypatch):
    data = random.Random(1).randbytes(60_000)
    streamed, uplinks = upload(monkeypatch, b"", [], len(data), data)
    check(uplinks, data, streamed.run()[1])


def test_a_body_that_ends_early(monkeypatch):
    hub()
    for there in (0, 100, SEGMENT, 2 * SEGMENT + 7):
        streamed, uplinks = upload(monkeypatch, bytes(there), [], 3 * SEGMENT)
        with pytest.raises(HTTPClientDisconnect):
            streamed.run()
        assert uplinks.is_abandoned
        assert all(b"object metadata" not in sent for sent in uplinks.sent.values())


def test_where_no_lanes_are_to_be_had(monkeypatch):
    def none():
        raise OSError("too many open files")

    monkeypatch.setattr(erasure_put, "lane", none)
    data = random.Random(2).randbytes(3 * SEGMENT + 5)
    streamed, uplinks = upload(monkeypatch, data, [], len(data))
    check(uplinks, data, streamed.run()[1])


def test_where_no_thread_can_be_started(monkeypatch):
    def busy(*args):
        raise threads.DeviceBusy("no thread")

    monkeypatch.setattr(erasure_put, "lane", lambda: busy)
    streamed, uplinks = upload(monkeypatch, bytes(3 * SEGMENT), [], None)
    with pytest.raises(HTTPServiceUnavailable):
        streamed.run()
    assert uplinks.is_abandoned


def test_memory_is_bounded(monkeypatch):
    """However long a body is, there are as many segments of it at a time as are being encoded, and one that is received."""
    hub()
    rooms = []

    class Counting(Codec):
        def room(self, segment):
            rooms.append(segment)
            return super().room(segment)

    streamed, uplinks = upload(monkeypatch, bytes(20 * SEGMENT), [], None)
    streamed.policy.codec = Counting("liberasurecode_rs_vand", 4, 2)
    streamed.run()
    assert len(rooms) <= erasure_put.AHEAD + 2


@pytest.mark.parametrize(
    "refusals, told",
    [
        ([400] * 6, [400] * 6),
        ([400] * 5 + [503], [400] * 5 + [503]),
        ([400] * 4 + [404] * 2, [503] * 6),
        ([422] * 6, [503] * 6),
        ([400] * 5 + [422], [400] * 5 + [503]),
    ],
)
def test_what_a_quorum_refuses_for_good_is_told(monkeypatch, refusals, told):
    """Metadata that no disk can hold: another try would not help, and nobody is to be left alone for it."""
    streamed, uplinks = upload(monkeypatch, b"x" * 100, [], 100)
    monkeypatch.setattr(uplinks, "await_continue", lambda: [Answer(status, "") for status in refusals])
    monkeypatch.setattr(uplinks, "links", [])
    answers, etag = streamed.run()
    assert (
        sorted(answer.status for answer in answers) == sorted(told) and etag is None and uplinks.is_abandoned
    )
