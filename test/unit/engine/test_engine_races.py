"""The engine under coincidences: descriptors used again, streams closed under their waiters, peers that leave at once, forks."""

import contextlib
import os
import signal
import time

import pytest

from swift.core import concurrency as c
from swift.engine import sockets, threads
from swift.engine.stream import Stream, wait_readable_any

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def connected(count=1):
    """`count` pairs of connected streams."""
    listener = sockets.listen("127.0.0.1", 0)
    accepting = sockets.Listener(listener)
    pairs = []
    for _ in range(count):
        client = sockets.connect("127.0.0.1", listener.getsockname()[1], 2)
        pairs.append((client, Stream(accepting.accept()[0], 5)))
    accepting.close()
    return pairs


def close(*streams):
    for stream in streams:
        stream.close()


def test_an_event_of_a_closed_stream_does_not_reach_the_one_that_got_its_descriptor():
    """Two peers leave at the same time; whoever hears of the first closes both streams and connects anew."""
    quiet = sockets.listen("127.0.0.1", 0)
    port = quiet.getsockname()[1]
    # the second event is for the lower number, which is given out first
    (two, two_peer), (one, one_peer) = sorted(connected(2), key=lambda pair: pair[0].fd)
    fillers = [os.open(os.devnull, os.O_RDONLY)]
    while fillers[-1] < one.fd:
        fillers.append(os.open(os.devnull, os.O_RDONLY))
    replaced = []

    def reader(mine, other):
        assert mine.recv(1) == b""
        if replaced:
            return
        numbers = {mine.fd, other.fd}
        close(mine, other)
        while not {stream.fd for stream in replaced}.issuperset(numbers):
            replaced.append(sockets.connect("127.0.0.1", port, 2))

    threads = [c.spawn(reader, one, two)]
    two.readable = False  # as if it had been read empty
    one.readable = False
    c.sleep(0)
    # both ends close before the hub looks again, so that both events come in one batch
    one_peer.sock.close()
    two_peer.sock.close()
    threads[0].wait()
    c.sleep(0.01)
    assert not any(stream.gone for stream in replaced)
    assert not any(stream.is_dead() for stream in replaced)
    close(*replaced, one_peer, two_peer)
    quiet.close()
    for fd in fillers:
        os.close(fd)


def test_closing_a_stream_disturbs_nobody_who_has_stopped_waiting_for_it():
    """A green thread waits for two streams; one becomes readable in the turn in which another thread closes the second."""
    (one, one_peer), (two, two_peer) = connected(2)
    for stream in (one, two):
        stream.readable = False
    seen = []

    def waiter():
        seen.append(wait_readable_any([one, two], 5))
        try:
            c.sleep(0.05)
            seen.append("undisturbed")
        except OSError as err:
            seen.append(err)

    thread = c.spawn(waiter)
    c.sleep(0)

    def closer():
        two.close()
        # the event of `one` is taken before the hub's timers run again
        reader, one.reader = one.reader, None
        one.readable = True
        reader.switch()

    c.spawn(closer)
    thread.wait()
    assert seen[1:] == ["undisturbed"]
    close(one, one_peer, two_peer)


def test_whoever_waits_for_several_streams_is_told_when_one_is_closed():
    (one, one_peer), (two, two_peer) = connected(2)
    for stream in (one, two):
        stream.readable = False
    thread = c.spawn(wait_readable_any, [one, two], 5)
    c.sleep(0)
    two.close()
    assert thread.wait() == [two]
    close(one, one_peer, two_peer)


def test_a_peer_that_answers_and_leaves_at_once_is_heard(monkeypatch):
    """What the peer does before we hear of our own connection is not forgotten."""
    listener = sockets.listen("127.0.0.1", 0)
    real = Stream.wait_writable

    def slow(stream):
        peer, _ = listener.accept()
        peer.sendall(b"bye")
        peer.close()
        real(stream)

    monkeypatch.setattr(Stream, "wait_writable", slow)
    stream = sockets.connect("127.0.0.1", listener.getsockname()[1], 2)
    monkeypatch.undo()
    assert wait_readable_any([stream], 2) == [stream]
    stream.set_timeout(2)
    assert stream.recv(10) == b"bye"
    assert stream.recv(10) == b""
    stream.close()
    listener.close()


def test_what_merely_seems_readable_is_not_returned():
    """A stream that was read to the last byte may still be marked: that is no input."""
    ((one, peer),) = connected()
    peer.sendall(b"12345")
    assert one.recv(5) == b"12345"
    assert one.readable, "it can't know yet"
    assert wait_readable_any([one], 0.05) == []
    peer.sendall(b"6")
    assert wait_readable_any([one], 5) == [one]
    close(one, peer)


def test_a_child_that_closes_what_it_inherited_leaves_the_parents_streams_alone():
    ((one, peer),) = connected()
    one.readable = False
    read, write = os.pipe()
    pid = c.fork()
    if pid == 0:
        try:
            one.close()
            os.write(write, b"x")
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.read(read, 1)
    os.waitpid(pid, 0)
    os.close(read)
    os.close(write)
    peer.sendall(b"still here")
    one.set_timeout(2)
    assert one.recv(100) == b"still here"
    close(one, peer)


def test_timeouts_of_two_waiters_of_one_stream():
    """The sweeper ends both, and each once."""
    ((one, peer),) = connected()
    while True:  # fill the buffers
        try:
            one.sock.send(b"x" * 65536)
        except BlockingIOError:
            break
    one.readable = one.writable = False
    one.set_deadline(0.05)
    ended = []

    def wait(how):
        try:
            how()
        except TimeoutError:
            ended.append(how.__name__)
            c.sleep(0.15)  # a second throw would hit here
            ended.append("calm")

    threads = [c.spawn(wait, one.wait_readable), c.spawn(wait, one.wait_writable)]
    for thread in threads:
        thread.wait()
    assert sorted(ended) == ["calm", "calm", "wait_readable", "wait_writable"]
    close(one, peer)


def filled():
    """A stream whose peer takes nothing, and that peer."""
    ((one, peer),) = connected()
    while True:
        try:
            one.sock.send(b"x" * 65536)
        except BlockingIOError:
            break
    one.readable = one.writable = False
    return one, peer


def drain(peer, seconds=60):
    with c.Timeout(seconds):
        while True:
            peer.set_timeout(0.3)
            try:
                peer.recv(1 << 20)
            except TimeoutError:
                return


def test_a_limit_that_was_lifted_ends_no_wait_and_loses_none():
    """The reader hears of the limit first and lifts it; the writer goes on once there is room."""
    one, peer = filled()
    one.set_deadline(1.0)
    told = []

    def reader():
        try:
            one.recv(1)
        except TimeoutError:
            one.set_timeout(None)
            told.append("reader")

    def writer():
        one.sendall(b"y" * 3_000_000)
        told.append("writer")

    threads = [c.spawn(reader), c.spawn(writer)]
    threads[0].wait()
    with c.Timeout(60):
        drain(peer)
        threads[1].wait()
    assert told == ["reader", "writer"]
    close(one, peer)


def test_a_reader_that_is_served_does_not_extend_the_writers_limit():
    one, peer = filled()
    one.set_timeout(0.3)
    has_ended = []

    def read():
        while one.recv(1) != b"e":
            pass

    def feed():
        while not has_ended:
            peer.sendall(b"z")
            c.sleep(0.05)
        peer.sendall(b"e")

    reading, feeding = c.spawn(read), c.spawn(feed)
    with c.Timeout(30):
        with pytest.raises(TimeoutError):
            one.sendall(b"y" * 3_000_000)
    has_ended.append(True)
    feeding.wait()
    reading.wait()
    close(one, peer)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.3])
def test_waiting_for_several_ends_in_time_and_leaves_no_traces(seconds):
    pairs = connected(3)
    streams = [client for client, _ in pairs]
    c.sleep(0)
    for stream in streams:
        assert stream.try_recv(1) is None
    assert wait_readable_any(streams, seconds) == []
    assert all(stream.reader is None for stream in streams)
    for stream, peer in pairs:
        peer.sendall(b"a")
        assert stream.recv(1) == b"a"
        close(stream, peer)


def test_pools_of_a_forked_child_have_threads_of_their_own(tmp_path):
    """Also those that somebody has kept since before the fork."""
    pool = threads.ThreadPool("test", 2, 10)
    assert pool.run(int, 7) == 7
    pid = c.fork()
    if pid == 0:
        code = 1
        try:
            with c.Timeout(60):
                code = 0 if pool.run(int, 8) == 8 else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert pool.run(int, 9) == 9


def one_after_the_other(*steps):
    """Runs each in a green thread of its own, all woken by the same look at the sockets: no time limit is looked at between them.

    The last step keeps the whole process busy, as it is when there is too much to do. Returns the green threads.
    """
    pairs = connected(len(steps) + 1)

    def after_input(stream, step):
        stream.recv(1)
        return step()

    busy = [*steps, lambda: c.raw_threading.Event().wait(0.2)]
    threads_ = [c.spawn(after_input, client, step) for (client, _), step in zip(pairs, busy, strict=True)]
    c.sleep(0)
    for _, peer in pairs:
        peer.sendall(b"x")
    return threads_


def test_a_time_limit_does_not_overtake_input_that_came_in_time():
    ((client, peer),) = connected()
    waiting, *_ = one_after_the_other(
        lambda: wait_readable_any([client], 0.05),
        lambda: peer.sendall(b"x"),
    )
    assert waiting.wait() == [client] and client.recv(1) == b"x"
    close(client, peer)


def test_a_time_limit_does_not_overtake_a_connection_that_was_made_in_time():
    listener = sockets.listen("127.0.0.1", 0)
    connecting, _ = one_after_the_other(lambda: sockets.connect("127.0.0.1", listener.getsockname()[1], 0.05))
    stream = connecting.wait()
    stream.sendall(b"x")
    close(stream)
    listener.close()


def test_a_number_that_is_given_again_does_not_go_to_whoever_had_it():
    """A callback whose descriptor was closed behind the hub's back swallows nobody's events."""
    from eventlet.green import socket as green

    wake = os.eventfd(0, os.EFD_NONBLOCK)
    c.hub().watch_callback(wake, lambda: None)
    os.close(wake)
    kept = []
    while True:
        ours, theirs = green.socketpair()
        kept += [ours, theirs]
        if wake in (ours.fileno(), theirs.fileno()):
            break
    reader, writer = (ours, theirs) if ours.fileno() == wake else (theirs, ours)
    got = c.spawn(reader.recv, 1)
    c.sleep(0)
    writer.send(b"x")
    with c.Timeout(60):
        assert got.wait() == b"x"
    for sock in kept:
        sock.close()


@pytest.mark.parametrize("limit", ["set_deadline", "set_timeout"])
def test_what_came_while_another_kept_us_busy_is_not_late(limit):
    """The hub has looked, somebody whom it woke takes his time, and then the limits are looked at."""
    (mine, peer), (other, other_peer) = connected(2)
    getattr(mine, limit)(0.05)

    def busy():
        other.recv(1)
        c.hub().next_sweep = 0.0
        time.sleep(0.1)  # nobody else runs
        peer.sock.send(b"x")

    reading = c.spawn(mine.recv, 10)
    c.spawn(busy)
    c.sleep(0)
    other_peer.sendall(b"go")
    assert reading.wait() == b"x"
    close(mine, peer, other, other_peer)


def test_room_that_came_while_another_kept_us_busy_is_not_late():
    (mine, peer), (other, other_peer) = connected(2)
    while mine.try_send(bytes(65536)):
        pass
    mine.writable = False
    mine.set_deadline(0.05)

    def busy():
        other.recv(1)
        c.hub().next_sweep = 0.0
        time.sleep(0.1)
        while not c.is_ready(mine.fd, c.raw_select.POLLOUT):
            with contextlib.suppress(BlockingIOError):
                peer.sock.recv(65536)

    waiting = c.spawn(mine.wait_writable)
    c.spawn(busy)
    c.sleep(0)
    other_peer.sendall(b"go")
    assert waiting.wait() is None
    close(mine, peer, other, other_peer)


def test_what_is_there_when_a_wait_begins_too_late_counts():
    ((mine, peer),) = connected()
    mine.readable = False  # as if the hub had not heard of it yet
    mine.set_deadline(-1)
    with pytest.raises(TimeoutError):
        mine.recv(10)
    peer.sock.send(b"x")
    assert mine.recv(10) == b"x"
    mine.writable = False
    mine.wait_writable()
    close(mine, peer)
