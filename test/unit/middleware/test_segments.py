"""Bodies made of segments: what is asked for ahead, what is let go of, and how bytes get to a client's stream."""

from __future__ import annotations

import pytest

from swift.core.concurrency import Event, sleep
from swift.core.hashing import md5
from swift.middleware.segments import body as body_module
from swift.middleware.segments.body import MOST_AHEAD, SegmentedBody
from swift.middleware.segments.pace import Pace
from swift.middleware.segments.source import SegmentError, SegmentSource, Span
from swift.wire.errors import ClientDisconnected
from swift.wire.message import Request, Response
from test.unit.middleware.filter_stand_ins import memory_logger
from test.unit.middleware.stored_objects import Store


class Stream:
    """A client's stream that keeps what it gets; `room`: bytes until the client is gone."""

    def __init__(self, room=1 << 30):
        self.got = b""
        self.room = room

    def sendall(self, data):
        if len(self.got) + len(data) > self.room:
            raise BrokenPipeError("gone")
        self.got += bytes(data)


@pytest.fixture
def store():
    made = Store()
    for number in range(20):
        made.put(f"/seg/{number:02}", b"%02d" % number * 4)
    return made


def spans(count=20, size=8):
    for number in range(count):
        yield Span(f"/v1/a/seg/{number:02}", 0, size - 1, size, md5(b"%02d" % number * 4).hexdigest())


WHOLE = b"".join(b"%02d" % number * 4 for number in range(20))


def made(store, pieces, length=None, per_second=0.0, longest=100.0):
    source = SegmentSource(store, Request.blank("/v1/a/c/o").environ, "SLO", "/c/o")
    return SegmentedBody(pieces, source, Pace(per_second, 0), length, longest, memory_logger()[0])


def test_segments_send_themselves(store):
    body = made(store, spans(), 160)
    body.prime()
    stream = Stream()
    assert body.send_to(stream) == 160
    assert stream.got == WHOLE
    assert store.sent_by_themselves == 20
    assert store.open == set()
    assert [served.sent for served in store.done] == [8] * 20
    assert {served.error for served in store.done} == {None}


def test_bytes_between_segments(store):
    def pieces():
        for span in spans(3):
            yield b"<"
            yield span
            yield b">"

    expected = b"<00000000><01010101><02020202>"
    assert b"".join(made(store, pieces(), 30)) == expected
    body, stream = made(store, pieces(), 30), Stream()
    body.prime()
    assert body.send_to(stream) == 30
    assert stream.got == expected


def test_only_some_are_asked_for_ahead(store):
    body = made(store, spans())
    for count, _ in enumerate(body, 1):
        asked = len(store.requests)
        assert asked <= count + MOST_AHEAD
    assert store.open == set()


def test_large_ones_are_asked_for_one_by_one(monkeypatch, store):
    monkeypatch.setattr(body_module, "BYTES_AHEAD", 8)
    body = made(store, spans())
    seen = 0
    for piece in body:
        seen += len(piece)
        assert len(store.requests) <= seen // 8 + 2


def test_the_first_answers_head_is_waited_for_alone(store):
    """Nothing delays the first byte."""
    body = made(store, spans())
    body.prime()
    assert len(store.requests) == 1
    body.close()
    assert store.open == set()


def test_an_answer_that_waits_too_long_is_let_go_of_and_asked_for_again(store, monkeypatch):
    """Its storage server would give up; and a client that slow needs nothing ahead."""
    monkeypatch.setattr(body_module, "LONGEST_WAIT", 0.01)
    body = made(store, spans())
    pieces = iter(body)
    first = next(pieces)
    while store.open - {body._current and body._current._answer.body}:
        sleep(0.01)
    before = len(store.requests)
    rest = b"".join(pieces)
    assert first + rest == WHOLE
    assert len(store.requests) > 20
    assert before < 20
    assert store.open == set()


def test_a_client_that_leaves_while_something_is_asked_for(store):
    """The answer is let go of when it comes."""
    gate = Event()

    def slow(environ):
        gate.wait()
        return store._handle(dict(environ), "GET", environ["PATH_INFO"])

    store.answers["GET", "/v1/a/seg/01"] = slow
    body = made(store, spans())
    next(iter(body))
    sleep(0)
    body.close()
    gate.send()
    sleep(0.01)
    assert store.open == set()
    assert len(store.done) == len(store.requests)


def test_a_client_that_is_gone_is_told_to_logs_as_that(store):
    def broken(stream):
        raise ConnectionResetError("reset")

    body = made(store, spans(1))
    body.prime()
    body._queue[0].segment._answer.body.send_to = broken
    with pytest.raises(ConnectionResetError):
        body.send_to(Stream())
    body.close()
    assert [type(served.error) for served in store.done] == [ClientDisconnected]


@pytest.mark.parametrize("length", [159, 8, 0])
def test_never_more_than_was_announced(store, length):
    body, stream = made(store, spans(), length), Stream()
    with pytest.raises(SegmentError):
        body.send_to(stream)
    body.close()
    assert len(stream.got) <= length
    assert store.open == set()


@pytest.mark.parametrize(
    ("status", "headers", "data"),
    [
        (200, {"Etag": "other"}, b"03030303"),
        (200, {"Content-Length": "9"}, b"030303030"),
        (206, {}, b"03030303"),
        (204, {}, b""),
        (404, {}, b""),
        (503, {}, b""),
    ],
)
def test_what_is_not_as_promised_ends_the_body(store, status, headers, data):
    etag = md5(b"03" * 4).hexdigest()
    store.answers["GET", "/v1/a/seg/03"] = lambda environ: Response(
        status=status, body=data, request=Request(environ), headers={"Etag": etag, **headers}
    )
    body, stream = made(store, spans(), 160), Stream()
    with pytest.raises(SegmentError):
        body.send_to(stream)
    body.close()
    assert stream.got == WHOLE[:24]
    assert store.open == set()


def test_a_body_without_a_length_is_counted(store):
    """A filter on the way may not say how much comes."""
    etag = md5(b"03" * 4).hexdigest()
    for data, right in ((b"03030303", True), (b"0303", False), (b"0303030303", False)):

        def application(environ, start_response, data=data):
            start_response("200 OK", [("Etag", etag)])
            return iter([data[:3], data[3:]])

        store.answers["GET", "/v1/a/seg/03"] = lambda environ, application=application: application
        body, stream = made(store, spans(5), 40), Stream()
        if right:
            assert body.send_to(stream) == 40
            assert stream.got == WHOLE[:40]
        else:
            with pytest.raises(SegmentError):
                body.send_to(stream)
            assert len(stream.got) < 40
        body.close()


def test_an_application_that_fails_is_no_reason_to_hang(store):
    def broken(environ):
        raise OSError("no")

    store.answers["GET", "/v1/a/seg/02"] = broken
    body = made(store, spans())
    with pytest.raises(SegmentError, match="no"):
        list(body)
    assert store.open == set()


def test_what_makes_the_pieces_may_fail_when_their_turn_comes(store):
    def pieces():
        yield from spans(2)
        raise SegmentError("no more")

    body = made(store, pieces())
    got = []
    with pytest.raises(SegmentError, match="no more"):
        for piece in body:
            got.append(piece)
    assert b"".join(got) == WHOLE[:16]


def test_the_pace(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(body_module.clock, "monotonic", lambda: now[0])
    pace = Pace(2.0, 3)
    delays = []
    for _ in range(7):
        delays.append(pace.delay(True))
        now[0] += delays[-1]
        pace.passed(True)
        pace.passed(False)
    assert delays == [0, 0, 0, 0, 0.5, 0.5, 0.5]
    assert pace.delay(False) == 0
    now[0] += 100
    assert pace.delay(True) == 0
    assert Pace(0, 0).delay(True) == 0


@pytest.mark.parametrize(("size", "most"), [(1, body_module.LONGEST_QUEUE), (3 * 1024 * 1024, 2)])
def test_bytes_without_end_before_the_first_segment(store, size, most):
    """They are not collected; that they are there is enough for an answer to begin."""
    taken = 0

    def pieces():
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield b"x" * size
        yield from spans(1)

    body = made(store, pieces(), 100 * size + 8)
    body.prime()
    assert taken <= most
    sent = 0
    for piece in body:
        sent += len(piece)
        assert (taken - 1) * size <= sent + most * size
    assert sent == 100 * size + 8
    assert store.open == set()


def test_a_body_of_bytes_alone_has_its_time_too(monkeypatch, store):
    now = [0.0]
    monkeypatch.setattr(body_module.clock, "monotonic", lambda: now[0])
    pieces = iter(made(store, iter([b"x"] * 100), 100, longest=10.0))
    next(pieces)
    now[0] += 11
    with pytest.raises(SegmentError, match="max_get_time"):
        list(pieces)


@pytest.mark.parametrize("opened", [[], [("X-Backend-Customer-Key", "true")]])
def test_what_a_customers_key_has_opened_has_the_etag_of_what_is_stored(opened):
    etag = md5(b"stored").hexdigest()

    def app(environ, start_response):
        start_response("200 OK", [("Etag", etag), ("Content-Length", "6"), *opened])
        return [b"opened"]

    source = SegmentSource(app, Request.blank("/v1/a/c/o").environ, "SLO", "/c/o", verify=True)
    segment = source.open(Span("/v1/a/seg/0", 0, 5, 6, etag))
    if opened:
        assert b"".join(segment) == b"opened"
    else:
        with pytest.raises(SegmentError):
            list(segment)


def test_the_same_few_threads_ask_for_all_segments_and_end_with_the_body(store, monkeypatch):
    threads = []
    spawn_n = body_module.spawn_n
    monkeypatch.setattr(body_module, "spawn_n", lambda *given: threads.append(spawn_n(*given)))
    assert b"".join(made(store, spans())) == WHOLE
    sleep(0)
    sleep(0)
    assert len(threads) <= MOST_AHEAD + 1
    assert all(thread.dead for thread in threads)


def test_what_nobody_wants_any_more_is_not_asked_for(store):
    body = made(store, spans())
    pieces = iter(body)
    next(pieces)
    body._ask_ahead()
    body.close()
    before = len(store.requests)
    for _ in range(10):
        sleep(0)
    assert len(store.requests) == before
    assert store.open == set()
