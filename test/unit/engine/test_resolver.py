"""Names are resolved while everybody else goes on."""

import socket
import threading
import time

import pytest

from swift.engine import resolver
from swift.engine.resolver import HostAddress


class Resolver:
    """Stands in for the system's: answers when it is let, with what it is told."""

    def __init__(self, monkeypatch):
        self.asked = 0
        self.may_answer = threading.Event()
        self.answer = [
            (socket.AF_INET6, 0, 0, "", ("::2", 1, 0, 0)),
            (socket.AF_INET, 0, 0, "", ("10.0.0.2", 1)),
        ]
        self.real = resolver.raw_socket.getaddrinfo
        monkeypatch.setattr(resolver.raw_socket, "getaddrinfo", self)

    def __call__(self, host, port, type=0, flags=0):
        if flags & socket.AI_NUMERICHOST:
            return self.real(host, port, type=type, flags=flags)
        self.asked += 1
        assert self.may_answer.wait(30)
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


@pytest.fixture
def names(monkeypatch):
    made = Resolver(monkeypatch)
    yield made
    made.may_answer.set()


def eventually(condition):
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def test_numbers_need_no_resolver(names):
    assert HostAddress("127.0.0.1", 8125).get() == (socket.AF_INET, ("127.0.0.1", 8125))
    assert HostAddress("::1", 8125).get()[0] == socket.AF_INET6
    assert names.asked == 0


def test_nobody_waits_for_a_resolver_that_is_silent(names):
    address = HostAddress("statsd.example", 1)
    for _ in range(1000):
        assert address.get() is None
    eventually(lambda: names.asked == 1)
    names.may_answer.set()
    eventually(lambda: address.get() == (socket.AF_INET, ("10.0.0.2", 1)))
    assert names.asked == 1


def test_an_old_answer_stays_while_it_is_asked_for_again(names, monkeypatch):
    names.may_answer.set()
    address = HostAddress("statsd.example", 1)
    eventually(lambda: address.get() is not None)
    known = address.get()
    now = time.monotonic()
    monkeypatch.setattr(resolver.clock, "monotonic", lambda: now + 100)
    names.answer = OSError("temporary failure in name resolution")
    assert address.get() == known
    eventually(lambda: address.error is not None)
    assert address.get() == known
