"""The digests of a body, however it arrives."""

import gc
import hashlib
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.core.concurrency import raw_threading, sleep
from swift.engine.threads import DeviceBusy
from swift.wire import digest
from swift.wire.digest import BodyDigest


def receive(body, sizes):
    """Feed `body` as pieces of these sizes (over and over), as far as the buffer holds them."""
    taker = BodyDigest()
    position = turn = 0
    while position < len(body):
        buffer = taker.buffer()
        piece = body[position : position + min(sizes[turn % len(sizes)], len(buffer))]
        buffer[: len(piece)] = piece
        taker.take(buffer[: len(piece)])
        position += len(piece)
        turn += 1
    taker.wait()
    return taker


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 40_000),
    st.lists(st.integers(1, 3000), min_size=1, max_size=8),
    st.integers(1, 6),
)
def test_any_pieces_give_the_digests_of_the_whole(length, sizes, ring):
    body = bytes(n * n % 251 for n in range(length))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digest, "PIECE", 500)
        patch.setattr(digest, "LONG_PIECE", 1500)
        patch.setattr(digest, "BEGINNING", 2000)
        patch.setattr(digest, "RING", ring * 2)
        taker = receive(body, sizes)
    assert (taker.etag(), taker.crc) == (hashlib.md5(body).hexdigest(), zlib.crc32(body))


def test_bytes_from_elsewhere():
    taker = BodyDigest()
    body = b"x" * 3_000_000
    for start in range(0, len(body), 70_000):
        assert len(taker.buffer())
        taker.take(body[start : start + 70_000])
    taker.wait()
    assert (taker.etag(), taker.crc) == (hashlib.md5(body).hexdigest(), zlib.crc32(body))


def test_a_slow_client_costs_one_small_buffer():
    taker = BodyDigest()
    for _ in range(3000):
        buffer = taker.buffer()
        assert len(buffer) == digest.PIECE
        taker.take(buffer[:1000])
    assert not taker._taken


def test_what_waits_for_its_digest_is_bounded(monkeypatch):
    gate = raw_threading.Event()
    slow = BodyDigest._digest
    monkeypatch.setattr(BodyDigest, "_digest", lambda *args: gate.wait() and slow(*args))
    taker = BodyDigest()
    taker._length = digest.BEGINNING
    gate.set()
    taker.take(taker.buffer())  # from here on in the ring
    gate.clear()
    seen = []
    for _ in range(digest.RING):
        seen.append(taker.buffer())
        taker.take(seen[-1])
    assert len({id(buffer.obj) for buffer in seen}) == digest.RING
    raw_threading.Timer(0.05, gate.set).start()
    assert any(taker.buffer().obj is buffer.obj for buffer in seen)
    taker.wait()


def test_many_bodies_together_are_bounded(monkeypatch):
    gc.collect()  # those that other tests left
    before = BodyDigest.made_by_all
    monkeypatch.setattr(digest, "ALL_RINGS", before + 20)
    monkeypatch.setattr(digest, "BEGINNING", 0)
    takers = [BodyDigest() for _ in range(30)]
    for _ in range(3 * digest.RING):
        for taker in takers:
            taker.take(taker.buffer())
    assert BodyDigest.made_by_all <= before + 20 + digest.FEW * len(takers)
    for taker in takers:
        taker.wait()
    assert len({taker.etag() for taker in takers}) == 1
    assert BodyDigest.made_by_all == before  # although the digests are still there


def test_two_bodies_at_once_and_one_that_is_given_up():
    one, other, given_up = b"1" * 5_000_000, b"2" * 4_000_000, b"3" * 6_000_000
    takers = [(BodyDigest(), body) for body in (one, other, given_up)]
    for start in range(0, 6_000_000, digest.PIECE):
        for taker, body in takers:
            piece = body[start : start + digest.PIECE]
            if piece:
                buffer = taker.buffer()
                buffer[: len(piece)] = piece
                taker.take(buffer[: len(piece)])
        if start > 2_000_000:
            del takers[2:]
        sleep(0)
    for taker, body in takers:
        taker.wait()
        assert taker.etag() == hashlib.md5(body).hexdigest()


@pytest.mark.parametrize("missing", ["descriptors", "threads"])
def test_a_process_at_its_limits_digests_where_it_is(monkeypatch, missing):
    def no_descriptors():
        raise OSError(24, "Too many open files")

    def no_threads(*args):
        raise DeviceBusy("lane 0")

    monkeypatch.setattr(digest, "lane", no_descriptors if missing == "descriptors" else lambda: no_threads)
    body = bytes(range(250)) * 12_000
    taker = receive(body, [digest.LONG_PIECE])
    assert (taker.etag(), taker.crc) == (hashlib.md5(body).hexdigest(), zlib.crc32(body))
