import json
import os
import socket
import struct

import pytest

from swift.run.seamless import LISTEN_FDS, NOTIFY_FD, STATE_FD, Inherited


class Log:
    def __init__(self):
        self.lines = []

    def warning(self, message, *args):
        self.lines.append(message % args)


@pytest.fixture
def pipes():
    made = [os.pipe(), os.pipe()]
    yield made
    for pipe in made:
        for fd in pipe:
            try:
                os.close(fd)
            except OSError:
                pass


def environment(pipes, **more):
    (_, notify_write), (state_read, _) = pipes
    return {NOTIFY_FD: str(notify_write), STATE_FD: str(state_read), **more}


def send_state(pipes, state):
    text = json.dumps(state).encode()
    os.write(pipes[1][1], struct.pack("!I", len(text)) + text)
    os.close(pipes[1][1])


def test_an_ordinary_start_inherits_nothing():
    inherited = Inherited({})
    assert not inherited.reloading and inherited.take(("127.0.0.1", 80)) is None
    assert inherited.finish(Log()) == {}


def test_sockets_and_workers_of_the_old_image(pipes):
    with socket.socket() as listening, socket.socket() as unwanted:
        for sock in (listening, unwanted):
            sock.bind(("127.0.0.1", 0))
            sock.listen()
        address = listening.getsockname()
        environ = environment(pipes)
        entries = [[*sock.getsockname(), os.dup(sock.fileno())] for sock in (listening, unwanted)]
        environ[LISTEN_FDS] = json.dumps(entries)
        inherited = Inherited(environ)
        assert environ == {} and inherited.reloading
        taken = inherited.take(address)
        assert taken.getsockname() == address and inherited.take(address) is None
        taken.close()
    send_state(pipes, {"old_pids": {"12": 5.5}, "more": 1})
    log = Log()
    assert inherited.finish(log) == {12: 5.5} and not log.lines and not inherited.sockets
    assert os.read(pipes[0][0], 100) == b"%d adopted" % os.getpid()


@pytest.mark.parametrize(
    "entries", ["rubbish", "[1]", '[["127.0.0.1", 80, 999]]', '[["127.0.0.1", 80, "x"]]', "own pipe"]
)
def test_a_list_of_sockets_that_is_not_for_us(pipes, entries):
    """An image of the reference hands the variable on without the sockets."""
    if entries == "own pipe":
        entries = json.dumps([["127.0.0.1", 80, pipes[0][0]]])
    inherited = Inherited(environment(pipes, **{LISTEN_FDS: entries}))
    assert inherited.sockets == {}
    send_state(pipes, {"old_pids": {}})
    inherited.finish(Log())
    assert os.read(pipes[0][0], 100) == b"%d" % os.getpid()


@pytest.mark.parametrize(
    "state",
    [b"", b"\0\0", struct.pack("!I", 2**31), struct.pack("!I", 2) + b"[]", struct.pack("!I", 9) + b"{}"],
)
def test_a_broken_state_is_only_warned_of(pipes, state):
    inherited = Inherited(environment(pipes))
    os.write(pipes[1][1], state)
    os.close(pipes[1][1])
    log = Log()
    assert inherited.finish(log) == {} and len(log.lines) == 1


def test_descriptors_that_are_none():
    assert not Inherited({NOTIFY_FD: "x", STATE_FD: "99999"}).reloading
    assert not Inherited({NOTIFY_FD: "", LISTEN_FDS: "[]"}).reloading
