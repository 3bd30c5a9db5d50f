"""Streams, listeners and thread pools over real loopback sockets."""

import os

import pytest

from swift.core import concurrency as c
from swift.engine import sockets
from swift.engine.pipes import PIPE_SIZE
from swift.engine.stream import Stream, wait_readable_any


@pytest.fixture
def pair():
    client, server = connected()
    client.set_timeout(60)
    yield client, server
    client.close()
    server.close()


def connected():
    """Both ends of a connection over loopback."""
    listener = sockets.Listener(sockets.listen("127.0.0.1", 0))
    client = sockets.connect("127.0.0.1", listener.sock.getsockname()[1], 2)
    server = Stream(listener.accept()[0], 5)
    listener.close()
    return client, server


def close_all(*streams):
    for stream in streams:
        stream.close()


def test_bytes_arrive_in_both_directions(pair):
    client, server = pair
    client.sendall(b"ping")
    assert server.recv(100) == b"ping"
    server.sendmsg_all([b"po", b"ng"])
    assert client.recv(100) == b"pong"


def test_more_than_the_socket_buffers_hold(pair):
    client, server = pair
    data = os.urandom(8 * 1024 * 1024)
    sender = c.spawn(client.sendmsg_all, [data[:10], data[10:]])
    got = b""
    while len(got) < len(data):
        got += server.recv(1 << 20)
    sender.wait()
    assert got == data


def test_end_of_stream_is_seen_after_the_last_byte(pair):
    client, server = pair
    client.sendall(b"last")
    client.close()
    assert server.recv(4) == b"last"
    assert server.recv(4) == b""


def test_a_silent_peer_ends_in_a_timeout_and_the_stream_stays_usable(pair):
    client, server = pair
    client.set_timeout(0.05)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.set_timeout(None)
    server.sendall(b"x")
    assert client.recv(1) == b"x"


def test_a_clock_that_was_set_back_delays_no_time_limit(pair, monkeypatch):
    """As by a test that shifted it: those after it waited for as long as it had gone ahead."""
    client, _server = pair
    ahead = c.clock.monotonic() + 3600
    with monkeypatch.context() as shifted:
        shifted.setattr(c.clock, "monotonic", lambda: ahead)
        c.sleep(0.01)
    client.set_timeout(0.05)
    with c.Timeout(20), pytest.raises(TimeoutError):
        client.recv(1)


def test_deadline_bounds_all_waits_together(pair):
    client, _server = pair
    client.set_deadline(0.05)
    with pytest.raises(TimeoutError):
        client.recv(1)
    with pytest.raises(TimeoutError):
        client.recv(1)


def test_idle_connection_knows_that_its_peer_left(pair):
    client, server = pair
    c.sleep(0)
    assert not client.is_dead()
    server.close()
    c.sleep(0.01)
    assert client.is_dead()


def test_closing_wakes_the_waiter(pair):
    client, _server = pair
    waiter = c.spawn(client.recv, 1)
    c.sleep(0)
    client.close()
    with pytest.raises(OSError):
        waiter.wait()


def test_wait_readable_any_returns_the_ready_one_or_nothing(pair):
    client, server = pair
    c.sleep(0)
    assert client.try_recv(1) is None
    assert wait_readable_any([client], 0.05) == []
    server.sendall(b"x")
    assert wait_readable_any([client], 5) == [client]
    assert client.recv(1) == b"x"


def test_sendfile_and_splice_move_every_byte(pair, tmp_path):
    client, server = pair
    data = os.urandom(3 * 1024 * 1024 + 17)
    (tmp_path / "f").write_bytes(data)
    out, end = connected()

    def send():
        with open(tmp_path / "f", "rb") as f:
            assert client.sendfile_all(f.fileno(), 5, len(data) - 5) == len(data) - 5

    sender = c.spawn(send)
    mover = c.spawn(server.splice_to, out, len(data) - 5)
    got = b""
    while len(got) < len(data) - 5:
        got += end.recv(1 << 20)
    sender.wait()
    assert mover.wait() == len(data) - 5
    assert got == data[5:]
    out.close()
    end.close()


@pytest.mark.parametrize("size", [1, 70_000, 3_000_000])
def test_the_end_of_what_is_spliced_is_not_held_back(pair, monkeypatch, size):
    """The kernel is told that more follows while it does, and never with the last piece: it would wait 200 ms for the rest."""
    client, server = pair
    out, end = connected()
    pieces = []
    real = os.splice

    def splice(source, target, count, flags):
        moved = real(source, target, count, flags=flags)
        if target == out.fd:
            pieces.append((moved, bool(flags & os.SPLICE_F_MORE)))
        return moved

    monkeypatch.setattr(os, "splice", splice)
    sender = c.spawn(client.sendall, b"x" * size)
    mover = c.spawn(server.splice_to, out, size)
    got = 0
    while got < size:
        got += len(end.recv(1 << 20))
    sender.wait()
    assert mover.wait() == sum(moved for moved, _ in pieces) == size
    sent = 0
    for moved, more in pieces:
        # a piece may leave in parts: what matters is that nothing says "more" once all of the rest is in the pipe
        assert not more or sent + moved < size
        sent += moved
    assert not pieces[-1][1]
    assert size < PIPE_SIZE or any(more for _, more in pieces)
    close_all(out, end)


def test_nothing_is_spliced_past_a_stream_that_is_none(pair):
    """Whatever encrypts or counts may have a descriptor somewhere: it is not to be written to."""

    class Other:
        fd = 1

    with pytest.raises(TypeError, match="Other"):
        pair[1].splice_to(Other(), 5)


def test_splice_reports_a_source_that_ends_early(pair):
    client, server = pair
    onward = sockets.listen("127.0.0.1", 0)
    out = sockets.connect("127.0.0.1", onward.getsockname()[1], 2)
    client.sendall(b"12345")
    client.close()
    assert server.splice_to(out, 100) == 5
    out.close()
    onward.close()


def test_a_socket_closed_behind_its_streams_back_takes_no_other_descriptors_events():
    left, right = c.raw_socket.socketpair()
    number = Stream(left).fd
    left.close()
    wake = os.eventfd(0, os.EFD_NONBLOCK)
    assert wake == number
    done = c.Event()
    c.hub().watch_callback(wake, lambda: (os.eventfd_read(wake), done.send(True)))
    os.eventfd_write(wake, 1)
    with c.Timeout(60):
        assert done.wait()
    del c.hub().callbacks[wake]
    os.close(wake)
    right.close()


def test_refused_connection_is_an_os_error():
    listener = sockets.listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(OSError):
        sockets.connect("127.0.0.1", port, 1)


def congestion_control(sock):
    return sock.getsockopt(c.raw_socket.IPPROTO_TCP, c.raw_socket.TCP_CONGESTION, 16).rstrip(b"\0")


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
def test_nothing_is_paced_on_loopback(ip):
    """Both ends; elsewhere the system's choice holds."""
    listener = sockets.listen(ip, 0)
    accepting = sockets.Listener(listener)
    client = sockets.connect(ip, listener.getsockname()[1], 2)
    server, _ = accepting.accept()
    assert congestion_control(client.sock) == congestion_control(server) == b"reno"
    server.close()
    client.close()
    accepting.close()
    everywhere = sockets.listen("0.0.0.0", 0)
    with c.raw_socket.socket() as untouched:
        assert congestion_control(everywhere) == congestion_control(untouched)
    everywhere.close()


def test_more_come_at_once_than_one_turn_hears():
    pairs = [c.raw_socket.socketpair() for _ in range(c.MOST_EVENTS + 50)]
    streams = [(Stream(one, 60), Stream(other, 60)) for one, other in pairs]
    heard = []

    def listen(number, stream):
        heard.append((number, stream.recv(100)))

    threads = [c.spawn(listen, number, stream) for number, (stream, _) in enumerate(streams)]
    c.sleep(0)
    for number, (_, other) in enumerate(streams):
        other.sendall(b"%d" % number)
    for thread in threads:
        thread.wait()
    assert sorted(heard) == [(number, b"%d" % number) for number in range(len(streams))]
    close_all(*[stream for pair in streams for stream in pair])


def test_timers_go_off_whatever_sets_and_cancels_others():
    told = []
    hub = c.hub()

    def first():
        told.append("first")
        hub.schedule_call_global(0, told.append, "set by the first")
        late.cancel()

    hub.schedule_call_global(0.02, told.append, "second")
    late = hub.schedule_call_global(30, told.append, "cancelled")
    hub.schedule_call_global(0, first)
    # so many that the hub throws out what was cancelled, and its list with it
    for timer in [hub.schedule_call_global(1000, told.append, "never") for _ in range(2500)]:
        timer.cancel()
    for _ in range(3000):
        if len(told) == 3:
            break
        c.sleep(0.01)
    assert told[0] == "first"
    assert sorted(told) == ["first", "second", "set by the first"]


def test_a_timer_that_fails_ends_neither_the_hub_nor_others(capsys):
    told = []
    c.hub().schedule_call_global(0, lambda: 1 / 0)
    c.hub().schedule_call_global(0, told.append, "next")
    c.sleep(0.01)
    assert told == ["next"]
    assert "ZeroDivisionError" in capsys.readouterr().err
