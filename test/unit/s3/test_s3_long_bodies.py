"""The digests of long bodies: taken by another core, in order, of a bounded number of pieces at a time, and right."""

import base64
import hashlib
import itertools
from types import SimpleNamespace

import pytest

from swift.s3 import digests
from swift.s3.checksums import ALGORITHMS
from swift.s3.digests import Check
from swift.s3.errors import S3Error
from swift.s3.payload import BadBody, Payload

PIECES = [bytes([number]) * 65536 for number in range(200)] + [b"end"]
WHOLE = b"".join(PIECES)


def fed(check):
    for piece in PIECES:
        check.update(piece)
    check.end()
    return check


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_they_are_right(name):
    expected = ALGORITHMS[name].make()
    expected.update(WHOLE)
    check = fed(Check(hashlib.sha256(WHOLE).hexdigest(), ALGORITHMS[name], None))
    assert check.value == expected.digest()


def test_what_was_promised_does_not_hold():
    with pytest.raises(S3Error) as raised:
        fed(Check(hashlib.sha256(b"").hexdigest(), None, None))
    assert raised.value.code == "XAmzContentSHA256Mismatch"
    with pytest.raises(S3Error) as raised:
        fed(Check(None, ALGORITHMS["crc32"], b"1234"))
    assert raised.value.code == "BadDigest"


def test_the_event_loop_takes_the_beginning_only(monkeypatch):
    given, waiting, most = [], 0, 0

    class Call:
        def __init__(self, function, data):
            self.function, self.data = function, data

        def wait(self):
            nonlocal waiting
            waiting -= 1
            self.function(self.data)

    def submit(function, data):
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        given.append(len(data))
        return Call(function, data)

    monkeypatch.setattr(digests, "lane", lambda: submit)
    fed(Check(hashlib.sha256(WHOLE).hexdigest(), None, None))
    assert len(WHOLE) - sum(given) < digests.BEGINNING
    assert most <= digests.MOST


def test_short_bodies_and_those_that_nobody_checks_wake_nobody(monkeypatch):
    monkeypatch.setattr(digests, "lane", None)
    check = Check(hashlib.sha256(WHOLE[:300_000]).hexdigest(), None, None)
    check.update(WHOLE[:300_000])
    check.end()
    fed(Check(None, None, None))


class Late:
    """Digests nothing before somebody waits for it: what is written over meanwhile shows."""

    def __init__(self, function, data):
        self.function, self.data = function, data

    def wait(self):
        self.function(self.data)


def test_nobody_waits_for_what_lies_elsewhere(monkeypatch):
    waited = []

    class Call(Late):
        def wait(self):
            waited.append(self.data.tobytes())
            super().wait()

    monkeypatch.setattr(digests, "lane", lambda: Call)
    data = memoryview(bytearray(WHOLE[: 1 << 20]))
    check = Check(hashlib.sha256(WHOLE[: 1 << 20] + bytes(range(256)) * 512).hexdigest(), None, None)
    check.update(data)
    buffer = memoryview(bytearray(range(256)) * 512)
    check.update(buffer[:65536])
    check.update(buffer[65536:])
    waited.clear()
    check.release(memoryview(bytearray(10)))
    check.release(buffer[:0])
    assert waited == []
    check.release(buffer[:100])
    assert len(waited) == 2  # with what came before it
    check.release(buffer[65535:])
    assert len(waited) == 3
    check.end()
    assert len(waited) == 3


class Received:
    """A body that is received into buffers, in pieces of any length."""

    def __init__(self, body):
        self.body, self.at = body, 0

    def read(self, size):
        found = self.body[self.at : self.at + size]
        self.at += len(found)
        return found

    def recv_into(self, buffer):
        found = self.read(min(len(buffer), 50_001))
        buffer[: len(found)] = found
        return len(found)


class Sent:
    """A request with a body and what it says of it."""

    credential = bucket = key = None

    def __init__(self, body, **headers):
        self.environ = {"CONTENT_LENGTH": str(len(body)), "wsgi.input": Received(body), **headers}


def received(request):
    """What comes out, by way of four places that are used again and again: two of them in one buffer."""
    payload = Payload(request)
    whole = memoryview(bytearray(100_000))
    buffers = [memoryview(bytearray(65536)), whole[:50_000], memoryview(bytearray(40_000)), whole[50_000:]]
    parts = []
    while True:
        buffer = buffers[len(parts) % 4]
        size = payload.input.recv_into(buffer)
        if not size:
            return b"".join(parts)
        parts.append(bytes(buffer[:size]))


def in_chunks(body, size, trailer):
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return chunks + b"0\r\n" + trailer + b"\r\n\r\n"


@pytest.mark.parametrize("is_late", [True, False])
@pytest.mark.parametrize("size", [8192, 65536, 1 << 20, 1 << 30])
def test_what_comes_in_chunks_too(monkeypatch, size, is_late):
    if is_late:
        monkeypatch.setattr(digests, "lane", lambda: Late)
    digest = ALGORITHMS["crc64nvme"].make()
    digest.update(WHOLE)
    trailer = b"x-amz-checksum-crc64nvme:" + base64.b64encode(digest.digest())

    def sent(data):
        said = {
            "HTTP_X_AMZ_CONTENT_SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "HTTP_X_AMZ_DECODED_CONTENT_LENGTH": str(len(WHOLE)),
            "HTTP_X_AMZ_TRAILER": "x-amz-checksum-crc64nvme",
        }
        request = Sent(data, **said)
        request.credential = SimpleNamespace(is_v4=True, is_query=False, signature="")
        return received(request)

    assert sent(in_chunks(WHOLE, size, trailer)) == WHOLE
    for wrong in (
        in_chunks(WHOLE[:-1] + b"!", size, trailer),
        in_chunks(WHOLE, size, trailer)[:-3],
        in_chunks(WHOLE[:-1], size, trailer),
        in_chunks(WHOLE + b"x", size, trailer),
        in_chunks(WHOLE, size, b"x-amz-checksum-crc64nvme:AAAAAAAAAAA="),
        in_chunks(WHOLE, size, trailer)[:-70_000],
    ):
        with pytest.raises(BadBody):
            sent(wrong)


@pytest.mark.parametrize("is_late", [True, False])
@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_what_is_received_in_place_is_digested_before_its_place_is_used_again(monkeypatch, name, is_late):
    if is_late:
        monkeypatch.setattr(digests, "lane", lambda: Late)
    digest = ALGORITHMS[name].make()
    digest.update(WHOLE)
    promised = {
        "HTTP_X_AMZ_CONTENT_SHA256": hashlib.sha256(WHOLE).hexdigest(),
        "HTTP_X_AMZ_CHECKSUM_" + name.upper(): base64.b64encode(digest.digest()).decode(),
    }
    assert received(Sent(WHOLE, **promised)) == WHOLE
    other = WHOLE[:-1] + b"!"
    with pytest.raises(BadBody):
        received(Sent(other, **promised))
    with pytest.raises(BadBody):
        received(Sent(b"!" + WHOLE[1:], **promised))


def test_what_was_read_ahead_is_written_to_no_place_before_that_is_digested(monkeypatch):
    monkeypatch.setattr(digests, "lane", lambda: Late)
    body = b"".join(hashlib.sha256(bytes([at % 251, at % 256])).digest() for at in range(80_000))
    digest = ALGORITHMS["crc32"].make()
    digest.update(body)
    data = in_chunks(body, 65536, b"x-amz-checksum-crc32:" + base64.b64encode(digest.digest()))
    said = {
        "HTTP_X_AMZ_CONTENT_SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "HTTP_X_AMZ_DECODED_CONTENT_LENGTH": str(len(body)),
        "HTTP_X_AMZ_TRAILER": "x-amz-checksum-crc32",
    }
    request = Sent(data, **said)
    request.credential = SimpleNamespace(is_v4=True, is_query=False, signature="")
    payload = Payload(request)
    buffer = memoryview(bytearray(65536))
    found = b""
    for turn in itertools.count():
        if turn % 2:
            found += payload.input.read_available(1)
        size = payload.input.recv_into(buffer)
        if not size:
            break
        found += bytes(buffer[:size])
    assert found == body
