"""A real server on a real socket for the tests of the wire."""

import contextlib
import logging
import socket
import time

from swift.core.concurrency import raw_socket, raw_threading, use_fast_hub
from swift.engine.sockets import listen
from swift.wire.server import Server


class Running:
    """One server in a thread of its own, and what it reported."""

    def __init__(self, app, conf, limits=None, door=None):
        self.done = []
        self.records = []
        self.listener = listen("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        logger = logging.getLogger(f"wire-test-{self.port}")
        logger.propagate = False
        handler = logging.Handler()
        handler.emit = self.records.append
        logger.addHandler(handler)
        ready = raw_threading.Event()

        def run():
            use_fast_hub()
            self.server = Server(self.listener, app, conf, logger, self._on_done, limits, door)
            ready.set()
            self.server.run()

        self.thread = raw_threading.Thread(target=run, daemon=True)
        self.thread.start()
        assert ready.wait(60)

    def _on_done(self, served):
        method = served.environ["REQUEST_METHOD"]
        self.done.append((method, served.status, served.sent, served.received, served.error))

    @property
    def logged(self):
        return [record.getMessage() for record in self.records]

    def connect(self):
        sock = raw_socket.create_connection(("127.0.0.1", self.port), 60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def talk(self, data):
        """Send data on a new connection, say that no more will come, and return all that comes back."""
        with self.connect() as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return read_all(sock)

    def shut(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)

    def stop(self):
        self.shut()
        self.thread.join(60)
        assert not self.thread.is_alive()


def read_all(sock):
    parts = []
    while True:
        try:
            data = sock.recv(65536)
        except ConnectionResetError:
            break
        if not data:
            break
        parts.append(data)
    return b"".join(parts)


def read_until(sock, end):
    data = b""
    while end not in data:
        more = sock.recv(65536)
        if not more:
            break
        data += more
    return data


def wait_for(condition, seconds=60):
    """Poll until condition() is true; its last value."""
    limit = time.monotonic() + seconds
    while not condition() and time.monotonic() < limit:
        time.sleep(0.005)
    return condition()
