"""The receiving side of SSYNC, a verb of the object server (object-disk 17).

The peer's list is looked at while it arrives, some objects at a time; what it then sends are requests to this very server, of which small
ones are carried out beside each other, so that the disks sync them together. Words and lines are in `protocol`, who may come in, in
`turnstile`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any
from urllib.parse import quote

from swift.core import clock
from swift.core.concurrency import GreenPool, Timeout
from swift.core.errors import LockTimeout
from swift.obj.device import Device
from swift.obj.errors import DeviceOverloaded, DeviceUnavailable, NotExist, ObjectError, StateChanged
from swift.obj.precedence import TOGETHER, Precedence
from swift.obj.server_replicate import target_of
from swift.obj.service import ObjectService
from swift.obj.ssync import protocol
from swift.obj.ssync.protocol import ProtocolError, Subrequest
from swift.obj.ssync.turnstile import NoSession, NotInTime
from swift.obj.store import HEAD, ObjectStore, PartitionLock, Times
from swift.wire.call import status_and_headers
from swift.wire.errors import ClientDisconnected, ClientTimeout
from swift.wire.message import HTML_TYPE, InputFilter, environ_key
from swift.wire.storage import Environ, StartResponse, answer

LOOKED_AT = 50  # objects, in one trip to the disk
SMALL = 65536  # bytes of a body that is held in memory for that
SIGN_SECONDS = 5.0
LINES_IN_PIECE = 1000

Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class Aborted(Exception):
    """The session ends with an error line. `status`: 0 for what is no HTTP error; `text`: see `protocol.encode_error`."""

    def __init__(self, status: int, text: str | bytes) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


def ssync(
    server: ObjectService, app: Application, environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    """SSYNC. `app`: the object server itself."""
    store, partition, rest = target_of(server, environ)
    if rest is not None:
        return answer(environ, start_response, 400)
    text = environ.get("HTTP_X_BACKEND_SSYNC_FRAG_INDEX")
    fragment = None
    if text is not None:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            return answer(environ, start_response, 400, f"Invalid X-Backend-Ssync-Frag-Index {text[:100]!r}")
        fragment = int(text)
    store.device.run(store.device.check)
    server.precedence.carried_out += 1
    session = Session(server, app, environ, store, partition, fragment)
    start_response("200 OK", [("Content-Type", HTML_TYPE), ("X-Backend-Accept-No-Commit", "True")])
    return session.answers()


class Session:
    """One session."""

    def __init__(
        self,
        server: ObjectService,
        app: Application,
        environ: Environ,
        store: ObjectStore,
        partition: str,
        fragment: int | None,
    ) -> None:
        self.server = server
        self.store = store
        self.partition = partition
        self.fragment = fragment
        self._lines = _Lines(environ["wsgi.input"])
        self._environ = environ
        self._app = app
        self._peer = environ.get("REMOTE_ADDR", "-")
        self._has_updates = False
        self._said = clock.monotonic()
        self.successes = self.failures = 0

    def answers(self) -> Iterator[bytes]:
        """The pieces of the answer's body, made while the request's body arrives. Raises ClientError when the peer is gone."""
        # at once, so that the head goes out: nothing comes before it is seen
        yield b"\r\n"
        held: list[PartitionLock] = []
        try:
            try:
                held = self.server.turnstile.enter(self.store, self.partition)
                wanted: list[str] = []
                yield from self._missing_check(wanted)
                yield protocol.MISSING_START + b"\r\n"
                yield from _joined(wanted)
                yield b"\r\n"
                yield protocol.MISSING_END + b"\r\n"
                yield from self._updates()
                if not self._has_updates:
                    return
                yield protocol.UPDATES_START + b"\r\n"
                yield protocol.UPDATES_END + b"\r\n"
            except Aborted as aborted:
                self._log(aborted.text)
                yield protocol.encode_error(aborted.status, aborted.text)
            except NoSession:
                self._log("too many sessions")
                yield protocol.encode_error(503, b"Too many replication sessions, try again later")
            except (NotInTime, ProtocolError) as wrong:
                self._log(str(wrong))
                yield protocol.encode_error(0, str(wrong))
            except ClientTimeout:
                self._log("timeout")
                yield protocol.encode_error(408, b"timed out reading")
            except (ObjectError, LockTimeout, OSError) as error:
                self._log(str(error))
                unavailable = isinstance(error, (DeviceUnavailable, DeviceOverloaded))
                yield protocol.encode_error(507 if unavailable else 500, type(error).__name__)
        finally:
            for lock in held:
                lock.close()

    def _log(self, text: str | bytes) -> None:
        self.server.logger.warning(
            "ssync of %s/%s from %s ended: %s", self.store.device.name, self.partition, self._peer, text
        )

    # ------------------------------------------------------------ the peer's list

    def _signs_of_life(self) -> Iterator[bytes]:
        """An empty line now and then while there is work: peers pass over it, and know that we are here."""
        if clock.monotonic() - self._said >= SIGN_SECONDS:
            self._said = clock.monotonic()
            yield b"\r\n"

    def _missing_check(self, wanted: list[str]) -> Iterator[bytes]:
        """Puts the lines to answer into `wanted`. Raises ProtocolError, ClientError, and what the store raises."""
        lines = self._lines
        line = lines.next()
        if line.strip() != protocol.MISSING_START:
            raise ProtocolError(f"Looking for :MISSING_CHECK: START got {lines.shown(line)!r}")
        offers: list[tuple[str, Times]] = []
        while True:
            line = lines.next()
            end = not line or line.strip() == protocol.MISSING_END
            if not end:
                offers.append(protocol.decode_offer(line.decode("latin-1")))
            if offers and (end or len(offers) >= LOOKED_AT or not lines.has_next()):
                wanted += self._wanted(offers)
                offers = []
                yield from self._signs_of_life()
            if end:
                return

    def _wanted(self, offers: list[tuple[str, Times]]) -> Iterator[str]:
        names = [name_hash for name_hash, _ in offers]
        with self.server.precedence.piece(self.store.device):
            known = self.store.verified_times(self.partition, names, self.fragment)
        for (name_hash, remote), local in zip(offers, known, strict=True):
            if self.fragment is not None and (local is None or remote.data > local.data):
                local = self._held_fragment(name_hash, remote) or local
            parts = protocol.wanted_parts(remote, local)
            if parts:
                yield f"{name_hash} {parts}"

    def _held_fragment(self, name_hash: str, remote: Times) -> Times | None:
        """What we have if it is the offered fragment, not known to be durable; it becomes so if the peer knows better."""
        store = self.store
        place = store.locate(self.partition, name_hash, None)
        assert self.fragment is not None
        try:
            held = store.open(place, HEAD, open_expired=True, frag_index=self.fragment, frag_prefs=[])
        except (NotExist, StateChanged):
            return None
        if self.fragment not in (held.fragments or {}).get(remote.data, ()):
            return None
        if not remote.durable:
            return Times(remote.data, held.timestamp, held.ctype_timestamp, False)
        with contextlib.suppress(NotExist):
            store.commit(place, remote.data, self.fragment)
        return store.verified_times(self.partition, [name_hash], self.fragment)[0]

    # ------------------------------------------------------------ what it sends

    def _updates(self) -> Iterator[bytes]:
        """Take what the peer sends, if it does. Raises Aborted, ProtocolError, ClientError."""
        lines = self._lines
        line = lines.next()
        if not line:
            return
        if line.strip() != protocol.UPDATES_START:
            raise ProtocolError(f"Looking for :UPDATES: START got {lines.shown(line)!r}")
        work = _Work(self._carry_out, self.server.precedence, self.store.device)
        try:
            while True:
                line = lines.next()
                if not line or line.strip() == protocol.UPDATES_END:
                    break
                request = protocol.read_subrequest(line.strip(), lambda: lines.next().rstrip(b"\r\n"))
                if request.length <= SMALL:
                    body = lines.read(request.length)
                    work.beside(request, InputFilter(BytesIO(body)))
                else:
                    rest = _Part(lines, request.length)
                    work.alone(request, rest)
                    rest.discard(request.length)
                self._check_failures()
                yield from self._signs_of_life()
        finally:
            work.wait()
        if self.failures:
            raise Aborted(500, self._counts())
        self._has_updates = True

    def _check_failures(self) -> None:
        server = self.server
        if self.failures >= server.replication_failure_threshold and (
            not self.successes or self.failures / self.successes > server.replication_failure_ratio
        ):
            raise Aborted(500, b"Too many " + self._counts())

    def _counts(self) -> bytes:
        return b"ERROR: With :UPDATES: %d failures to %d successes" % (self.failures, self.successes)

    def _carry_out(self, request: Subrequest, body: Any) -> None:
        """Have the server do it, and count how that went. Raises nothing."""
        error = self._error_of(request, body)
        self.server.precedence.carried_out += 1
        if error is None:
            self.successes += 1
        else:
            self.failures += 1
            where = f"/{self.store.device.name}/{self.partition}{request.path}"
            self.server.logger.warning(
                "ssync subrequest failed: %s %s: %s", request.method, quote(where), error
            )

    def _error_of(self, request: Subrequest, body: Any) -> str | None:
        try:
            status, headers = status_and_headers(self._app, self._environ_of(request, body))
        except (Exception, Timeout) as error:
            return str(error) or type(error).__name__
        return None if _is_settled(request, status, headers) else str(status)

    def _environ_of(self, request: Subrequest, body: Any) -> Environ:
        environ: Environ = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": f"/{self.store.device.name}/{self.partition}{request.path}",
            "QUERY_STRING": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_NAME": self._environ.get("SERVER_NAME", ""),
            "SERVER_PORT": self._environ.get("SERVER_PORT", ""),
            "REMOTE_ADDR": self._peer,
            "wsgi.url_scheme": "http",
            "wsgi.input": body,
            "CONTENT_TYPE": "",
        }
        for name, value in request.headers.items():
            environ[environ_key(name)] = value
        environ["HTTP_X_BACKEND_STORAGE_POLICY_INDEX"] = str(self.store.policy.idx)
        environ["HTTP_X_BACKEND_REPLICATION"] = "True"
        if self.fragment is not None:
            environ["HTTP_X_BACKEND_SSYNC_FRAG_INDEX"] = str(self.fragment)
        environ["HTTP_X_BACKEND_REPLICATION_HEADERS"] = " ".join(
            name for name in request.headers if name not in ("etag", "x-backend-no-commit")
        )
        return environ


def _is_settled(request: Subrequest, status: int, headers: list[tuple[str, str]]) -> bool:
    """True if what the peer has is here, or something newer."""
    if 200 <= status < 300:
        return True
    known = {name.lower(): value for name, value in headers}.get("x-backend-timestamp", "")
    sent = request.headers.get("x-timestamp", "")
    if status == 404:
        # a tombstone is written also where there is nothing; metadata has no place then, unless the object is deleted by now
        return request.method == "DELETE" or known >= sent > ""
    return status == 409 and known > sent > ""


class _Work:
    """Requests under way. Those for one object never beside each other."""

    def __init__(
        self, carry_out: Callable[[Subrequest, Any], None], precedence: Precedence, device: Device
    ) -> None:
        self._carry_out = carry_out
        self._precedence = precedence
        self._device = device
        self._pool = GreenPool(TOGETHER)
        self._under_way: set[str] = set()

    def beside(self, request: Subrequest, body: Any) -> None:
        """Begin with a request, beside others."""
        if request.path in self._under_way:
            self._pool.waitall()
        self._under_way.add(request.path)
        self._pool.spawn(self._run, request, body)

    def _run(self, request: Subrequest, body: Any) -> None:
        try:
            with self._precedence.piece(self._device, TOGETHER):
                self._carry_out(request, body)
        finally:
            self._under_way.discard(request.path)

    def alone(self, request: Subrequest, body: Any) -> None:
        """Carry out a request whose body is still on its way: nobody waits for a turn of his meanwhile."""
        if request.path in self._under_way:
            self._pool.waitall()
        began = clock.monotonic()
        self._carry_out(request, body)
        self._precedence.rest(began)

    def wait(self) -> None:
        """Until all have ended."""
        self._pool.waitall()


class _Lines:
    """The lines of a request body, and the bytes between them."""

    def __init__(self, source: Any) -> None:
        self._read = source.read_available
        self._read_into = source.recv_into
        self._buffer = b""
        self._at = 0

    def _more(self) -> bool:
        data = self._read(protocol.MAX_LINE)
        if not data:
            return False
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        return True

    def has_next(self) -> bool:
        """True if the next line has arrived already."""
        return self._buffer.find(b"\n", self._at) >= 0

    def next(self) -> bytes:
        """The next line with its end; b'' at the end of the body. Raises ProtocolError, ClientError."""
        while True:
            end = self._buffer.find(b"\n", self._at)
            if end >= 0:
                line = self._buffer[self._at : end + 1]
                self._at = end + 1
                return line
            if len(self._buffer) - self._at > protocol.MAX_LINE:
                raise ProtocolError("Line too long")
            if not self._more():
                if self._at < len(self._buffer):
                    raise ClientDisconnected("the body ended in the middle of a line")
                return b""

    @staticmethod
    def shown(line: bytes) -> bytes:
        """As much of a line as its sender needs to see."""
        return line[:100]

    def read(self, size: int) -> bytes:
        """Exactly so many bytes. Raises ClientError."""
        while len(self._buffer) - self._at < size:
            if not self._more():
                raise ClientDisconnected("the body ended in the middle of an object")
        data = self._buffer[self._at : self._at + size]
        self._at += size
        return data

    def recv_into(self, view: memoryview) -> int:
        """Fill `view` as far as bytes are there, at least one. Raises ClientError."""
        have = len(self._buffer) - self._at
        if have:
            count = min(have, len(view))
            view[:count] = self._buffer[self._at : self._at + count]
            self._at += count
            return count
        received: int = self._read_into(view)
        if not received:
            raise ClientDisconnected("the body ended in the middle of an object")
        return received

    def read_available(self, size: int) -> bytes:
        """At least one byte and at most so many. Raises ClientError."""
        if self._at == len(self._buffer) and not self._more():
            raise ClientDisconnected("the body ended in the middle of an object")
        data = self._buffer[self._at : self._at + size]
        self._at += len(data)
        return data


class _Part(InputFilter):
    """The body of one request within the session."""

    def __init__(self, lines: _Lines, length: int) -> None:
        super().__init__(lines)
        self._left = length

    def pull(self, size: int) -> bytes:
        if not self._left:
            return b""
        data = self._read_below(min(max(size, 1), self._left))
        self._left -= len(data)
        return data

    def recv_into(self, buffer: Any) -> int:
        if self._ahead or not self._left:
            return super().recv_into(buffer)
        count: int = self._below.recv_into(memoryview(buffer)[: self._left])
        self._left -= count
        return count

    def discard(self, limit: int) -> bool:
        """What the server left unread."""
        while self._left:
            self.pull(65536)
        return True


def _joined(lines: list[str]) -> Iterator[bytes]:
    """Lines for the peer, in pieces of moderate size; the last one without its end."""
    for at in range(0, len(lines), LINES_IN_PIECE):
        piece = "\r\n".join(lines[at : at + LINES_IN_PIECE]).encode()
        yield piece + b"\r\n" if at + LINES_IN_PIECE < len(lines) else piece
