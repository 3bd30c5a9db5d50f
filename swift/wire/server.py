"""The server of all four server types: accepts connections, bounds their number, and drains them when it stops.

What happens on one connection is in connection.py, what all of them share in serving.py. Processes, workers and signals are in run.process.
Spec: proxy-and-backend.md 21, 25; operations.md 2.1.
"""

import errno
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from swift.core import clock
from swift.core.concurrency import Event, Timeout, raw_socket, sleep, spawn_n
from swift.engine.sockets import Listener
from swift.engine.stream import Stream
from swift.telemetry.served import DoneCallback
from swift.wire.admission import Refused
from swift.wire.call import Application
from swift.wire.connection import Connection, base_environ
from swift.wire.parser import HeadLimits
from swift.wire.serving import Serving
from swift.wire.tls import Door, FrontTls, TlsStream

# Idle connections may bring one more request for so long after the server was told to stop: a client that has just sent one
# would lose it, and with most clients the user would see that.
DRAIN_GRACE = 1.0
LAST_DEED = 10.0  # seconds for each thing that is to be done at the end
_ACCEPT_RETRY_SECONDS = 0.1
# So many connections are accepted before the others have their turn.
_ACCEPT_BATCH = 64
# Connections that are accepted but have no place; more stay with the kernel.
_MOST_WAITING = 4096
# Connections that are told at a time that there is no place for them, each for so long: who comes back at once and always
# shall not take the time of those who have one.
_MOST_TURNED_AWAY = 256
_TURN_AWAY_SECONDS = 1.0
# Of them over TLS, where the word costs a handshake (a millisecond or two of our time); beyond that they are closed without one.
_MOST_TLS_TURNED_AWAY = 32
# A connection that has been quiet for less may have its request on its way.
LEAST_IDLE_SECONDS = 1.0
# A handshake, or the head of a request, that has begun so long ago and is still not at its end gives way.
LEAST_UNFINISHED_SECONDS = 3.0
_IDLE_LOOKS = 16
# So does a body that comes for so long already and not even at this rate (bytes a second).
LEAST_UPLOAD_SECONDS = 30.0
LEAST_UPLOAD_RATE = 512.0
_UPLOAD_LOOKS = 64


class Server(Serving):
    """Serves one application on one listening socket until stop() or until that socket is shut down.

    conf: max_clients (open connections), max_requests (of those a worker works on at the same time; 0: no limit), queue_timeout
    (seconds that either may be waited for; beyond that it is refused), client_timeout (seconds; 0 or blank: 60), keepalive_timeout (default: client_timeout; 0: no keep-alive),
    require_proxy_protocol, cert_file, key_file, client_ca_file, trans_id_suffix. `door`: where cert_file is not set, what stands in its place.
    Raises ValueError and OSError for bad ones.
    """

    def __init__(
        self,
        listener: Any,
        app: Application,
        conf: Mapping[str, Any],
        logger: Any,
        on_done: DoneCallback | None = None,
        limits: HeadLimits | None = None,
        door: Door | None = None,
    ) -> None:
        super().__init__(app, conf, logger, on_done, limits)
        cert_file = conf.get("cert_file")
        if cert_file:
            door = FrontTls(str(cert_file), conf.get("key_file"), conf.get("client_ca_file"))
        self._door = door
        self._listener = Listener(listener)
        self._turned_away = 0
        self._active = 0
        self._all_done: Any = None

    def run(self) -> None:
        """Accept until the listening socket ends, then return when all connections have."""
        accept, clients = self._listener.accept, self.clients
        accepted = 0
        try:
            while not self.draining:
                if clients.waiting >= _MOST_WAITING or self._turned_away >= _MOST_TURNED_AWAY:
                    # While we don't accept nobody else would notice that the socket was shut down.
                    sleep(_ACCEPT_RETRY_SECONDS)
                    if self._is_listening():
                        continue
                    break
                try:
                    sock, peer = accept()
                except OSError as error:
                    if self.draining or error.errno not in _PASSING_ACCEPT_ERRORS:
                        break
                    self.logger.error("cannot accept connections: %s", error)
                    self._make_room()
                    sleep(_ACCEPT_RETRY_SECONDS)
                    continue
                self._active += 1
                spawn_n(self._admit, sock, peer)
                accepted += 1
                if accepted % _ACCEPT_BATCH == 0:
                    sleep(0)
        finally:
            self._drain()

    def _is_listening(self) -> bool:
        sock = self._listener.sock
        return sock.fileno() >= 0 and bool(sock.getsockopt(raw_socket.SOL_SOCKET, raw_socket.SO_ACCEPTCONN))

    def stop(self) -> None:
        """Accept no more, let requests end, close what is idle. run() returns after that."""
        if not self.draining:
            self.draining = True
            self._take_waiting()
            self._listener.close()

    def _take_waiting(self) -> None:
        """Accept what the kernel has already accepted for us: closing the socket would reset those clients."""
        while True:
            try:
                sock, peer = self._listener.sock.accept()
            except OSError:
                return
            # Beyond max_clients for once: they get their one answer.
            self._active += 1
            spawn_n(self._handle_last, sock, peer)

    @property
    def active(self) -> int:
        """Open connections."""
        return self._active

    def _admit(self, sock: Any, peer: Any) -> None:
        """A connection's life: it waits for its place, or is told that there is none."""
        place = None
        try:
            if self.clients.taken >= self.clients.places:
                self._make_room()
            place = self.clients.enter()
            self._handle(sock, peer)
        except Refused as refused:
            self.note_refusal()
            self._turn_away(sock, peer, refused.retry_after)
        finally:
            sock.close()
            if place is not None:
                place.leave()
            self._ended()

    def _handle_last(self, sock: Any, peer: Any) -> None:
        try:
            self._handle(sock, peer)
        finally:
            self._ended()

    def _ended(self) -> None:
        self._active -= 1
        if self._active == 0 and self._all_done is not None:
            self._all_done.send()
            self._all_done = None

    def _turn_away(self, sock: Any, peer: Any, retry_after: int) -> None:
        if self._door is not None and self._turned_away >= _MOST_TLS_TURNED_AWAY:
            return
        until = clock.monotonic() + _TURN_AWAY_SECONDS
        self._turned_away += 1
        stream = None
        try:
            stream = Stream(sock, _TURN_AWAY_SECONDS)
            connection = Connection(self, stream, base_environ(peer, sock.getsockname(), "http"))
            if self._door is not None:
                connection.stream = self._door.accept(stream, _TURN_AWAY_SECONDS)
            connection.turn_away(retry_after)
        except OSError:
            pass
        finally:
            if stream is not None:
                stream.close()
            try:
                sleep(0 if self.draining else max(0, until - clock.monotonic()))
            finally:
                self._turned_away -= 1

    def _make_room(self) -> bool:
        """Make room, if there is somebody who holds a place for nothing; returns True if he has lost his connection.

        Who has not asked for anything for longest, whose next request is not on its way; then who does not come to the end of his
        question, or of his upload.
        """
        now = clock.monotonic()
        for waiting, least in ((self.idle, LEAST_IDLE_SECONDS), (self.unfinished, LEAST_UNFINISHED_SECONDS)):
            for connection, since in list(islice(waiting.items(), _IDLE_LOOKS)):
                if now - since < least:
                    break
                if connection.stream.is_quiet():
                    del waiting[connection]
                    connection.stream.close()
                    return True
        return self._end_a_crawl(now)

    def _end_a_crawl(self, now: float) -> bool:
        for connection, (since, body) in list(islice(self.uploads.items(), _UPLOAD_LOOKS)):
            seconds = now - since
            if seconds < LEAST_UPLOAD_SECONDS:
                break
            # Behind the others, so that all are looked at.
            self.uploads[connection] = self.uploads.pop(connection)
            # Where we are the ones who are waited for, it is not the client who is slow.
            ours = body.done or body.expecting or connection.head_sent or not connection.stream.is_quiet()
            if not ours and body.received < LEAST_UPLOAD_RATE * seconds:
                del self.uploads[connection]
                connection.stream.close()
                return True
        return False

    def _handle(self, sock: Any, peer: Any) -> None:
        connection = None
        stream: Stream | TlsStream | None = None
        try:
            sock.setsockopt(raw_socket.IPPROTO_TCP, raw_socket.TCP_NODELAY, 1)
            stream = Stream(sock, self.client_timeout)
            base = base_environ(peer, sock.getsockname(), "http")
            connection = Connection(self, stream, base)
            if self._door is not None:
                self.unfinished[connection] = clock.monotonic()
                stream = connection.stream = self._door.accept(stream, self.client_timeout)
                self.unfinished.pop(connection, None)
                if isinstance(stream, TlsStream):
                    base["wsgi.url_scheme"] = "https"
            connection.run()
        except (OSError, Timeout):
            # The client is gone or silent: nothing to say, and nobody to say it to.
            pass
        except Exception:
            self.logger.exception("error on the connection of %s", peer[0])
        finally:
            if connection is not None:
                self.idle.pop(connection, None)
                self.unfinished.pop(connection, None)
                self.uploads.pop(connection, None)
            if stream is None:
                sock.close()
            else:
                stream.close()

    def _drain(self) -> None:
        self.draining = True
        self._listener.close()
        if self._active:
            self._all_done = finished = Event()
            spawn_n(self._close_idle)
            finished.wait()
        for deed in list(_last_deeds):
            try:
                with Timeout(LAST_DEED):
                    deed()
            except (Exception, Timeout):
                self.logger.exception("error at the end")

    def _close_idle(self) -> None:
        sleep(DRAIN_GRACE)
        self.closing_idle = True
        for connection in list(self.idle):
            # A request that has just arrived is still served.
            if not connection.stream.is_dead():
                connection.stream.close()


_last_deeds: list[Callable[[], None]] = []


def before_the_end(deed: Callable[[], None]) -> None:
    """Have something done when a server of this process has served its last request; it is given LAST_DEED seconds."""
    _last_deeds.append(deed)


# Too little of something, and errors of the one connection that was to be accepted (accept(2) hands those on).
_PASSING_ACCEPT_ERRORS = frozenset(
    (
        errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPROTO, errno.EPERM, errno.ECONNRESET, errno.ETIMEDOUT,
        errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENONET,
    )
)  # fmt: skip


def serve(
    listener: Any,
    app: Application,
    conf: Mapping[str, Any],
    logger: Any,
    on_done: DoneCallback | None = None,
    limits: HeadLimits | None = None,
) -> None:
    """Serve app on a listening socket (engine.sockets.listen) until it is closed or shut down; returns when drained."""
    Server(listener, app, conf, logger, on_done, limits).run()
