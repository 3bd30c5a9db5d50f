"""The sending side of SSYNC: one session with one peer about one partition (object-disk 17).

Which objects are offered, and what is done with those that the peer then has, is the caller's business: the replicator sends whole copies,
a reconstructor what it makes of other nodes' fragments (`read`). Words and lines are in `protocol`.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from swift.core.concurrency import spawn
from swift.core.errors import LockTimeout, SwiftError
from swift.core.object_lock import WORD
from swift.obj.checks import CheckedReader
from swift.obj.errors import Deleted, ObjectError, Quarantined
from swift.obj.ssync import protocol
from swift.obj.ssync.protocol import ProtocolError
from swift.obj.store import BODY, FragmentPreferences, ObjectStore, OpenObject, Place, Times
from swift.run.rate import RateLimiter
from swift.telemetry.units import transaction_headers
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendError, BackendResponse, header_block

MOST_OFFERED = 2_000  # objects that should be offered in one session, which keeps them in memory
OPENED_AHEAD = 8  # objects that are opened, and small ones read, before those in front of them are sent
_SEND_AT = 16384  # bytes of lines that are sent together
_SHOWN = 1024


class SyncError(SwiftError):
    """A session came to nothing. `status`: of the peer's answer, or of its error line; None when it broke off."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class Busy(SyncError):
    """The peer has other sessions: worth another try."""


class BrokenOff(SyncError):
    """An object could not be sent to its end, and the session ended with it. `name_hash`: which one."""

    def __init__(self, text: str, name_hash: str) -> None:
        super().__init__(text)
        self.name_hash = name_hash


class NothingToSend(SwiftError):
    """What a peer wants of an object can't be had: it is left out."""


Opened = OpenObject | Deleted | None


class Content(NamedTuple):
    """What a peer is sent of an object's data. `metadata`: of the PUT, without name and length. `pieces`: `length` bytes in all.

    They raise Quarantined or NothingToSend where there are no more to be had.
    """

    metadata: dict[str, str]
    length: int
    pieces: Iterable[bytes | memoryview]


class Options(NamedTuple):
    """Seconds to wait for a connection, for the peer to say something, and to wait for it to answer what takes work. `rate`: bytes a second."""

    conn_timeout: float = 0.5
    node_timeout: float = 10.0
    http_timeout: float = 60.0
    rate: RateLimiter | None = None


class Result(NamedTuple):
    """`in_sync`: what the peer has by now, of what was offered: {name hash: times}. `sent`, `bytes`: objects and how much that was."""

    in_sync: dict[str, Times]
    sent: int
    bytes: int


def own_content(store: ObjectStore, place: Place, found: OpenObject) -> Content:
    """The object's own bytes, checked before they leave."""
    metadata = {
        key: value for key, value in found.data_metadata.items() if key not in ("name", "Content-Length")
    }
    if found.body is not None:
        return Content(metadata, len(found.body), (found.body,) if found.body else ())
    return Content(metadata, found.size, (view for _, view in CheckedReader(store, place, found).pieces()))


class Session:
    """One session. `node`: of a ring. `fragment`: index of the fragments that the peer is to have, and `frag_index` of those here
    that are offered; `with_nondurable`: also those that are not known to be durable. `read`: what is sent of an object; called in
    green threads for several objects at a time, it raises NothingToSend for what is to be left out.
    """

    def __init__(
        self,
        store: ObjectStore,
        node: Mapping[str, Any],
        partition: str,
        options: Options,
        fragment: int | None = None,
        frag_index: int | None = None,
        with_nondurable: bool = False,
        read: Callable[[ObjectStore, Place, OpenObject], Content] = own_content,
    ) -> None:
        self.store = store
        self.node = node
        self.partition = partition
        self.options = options
        self.fragment = fragment
        self.frag_index = frag_index
        self.frag_prefs: FragmentPreferences | None = [] if with_nondurable else None
        self.with_nondurable = with_nondurable
        self._read_content = read
        self._sent = self._bytes = 0

    def run(self, offers: Iterable[tuple[str, Times]], check_only: bool = False) -> Result:
        """Offer objects, and send what the peer wants; `check_only`: send nothing, tell what it has. Raises SyncError, DeviceUnavailable.

        Nothing of what could not be sent, or may have changed, is in the result.
        """
        call, response = self._connect()
        try:
            return self._exchange(call, response, offers, check_only)
        except BackendError as error:
            # who breaks off while we send has most often said why before
            raise self._why(response) or SyncError(f"{_name(self.node)}: {error}") from None
        except ProtocolError as error:
            raise SyncError(f"{_name(self.node)}: {error}") from None
        finally:
            call.close()

    def _connect(self) -> tuple[BackendCall, BackendResponse]:
        headers = [
            ("Transfer-Encoding", "chunked"),
            ("X-Backend-Storage-Policy-Index", str(self.store.policy.idx)),
            *transaction_headers(),
        ]
        if self.fragment is not None:
            headers.append(("X-Backend-Ssync-Frag-Index", str(self.fragment)))
            headers.append(("X-Backend-Ssync-Node-Index", str(self.fragment)))
        call = BackendCall(
            self.node["replication_ip"],
            int(self.node["replication_port"]),
            "SSYNC",
            f"/{quote(self.node['device'], '')}/{self.partition}",
            header_block(headers),
            conn_timeout=self.options.conn_timeout,
            timeout=self.options.node_timeout,
        )
        try:
            response = call.answer()
        except BackendError as error:
            raise SyncError(str(error)) from None
        if response.status != 200:
            call.close()
            kind = Busy if response.status == 503 else SyncError
            raise kind(f"{_name(self.node)}: expected status 200; got {response.status}", response.status)
        if self.with_nondurable and (response.get("x-backend-accept-no-commit") or "").lower() != "true":
            self.with_nondurable = False
        return call, response

    def _exchange(
        self,
        call: BackendCall,
        response: BackendResponse,
        offers: Iterable[tuple[str, Times]],
        check_only: bool,
    ) -> Result:
        conn = call.conn
        assert conn is not None
        out = _Chunks(conn, self.options.http_timeout)
        response.set_timeout(self.options.http_timeout)
        answers = _Answers(self.node, response)
        offered = self._offer(out, offers)
        wanted = self._wanted(answers, offered)
        if check_only:
            out.end()
            for name_hash in wanted:
                del offered[name_hash]
            return Result(offered, 0, 0)
        out.add(protocol.UPDATES_START + b"\r\n")
        for name_hash, opened, content in self._prepared(wanted):
            if not self._send(out, name_hash, wanted[name_hash], opened, content):
                del offered[name_hash]
        out.add(protocol.UPDATES_END + b"\r\n")
        out.end()
        answers.expect(protocol.UPDATES_START)
        answers.expect(protocol.UPDATES_END)
        answers.end()
        call.conn = None  # back in the pool, if the peer keeps it
        return Result(offered, self._sent, self._bytes)

    # ------------------------------------------------------------ the list

    def _offer(self, out: _Chunks, offers: Iterable[tuple[str, Times]]) -> dict[str, Times]:
        offered: dict[str, Times] = {}
        out.add(protocol.MISSING_START + b"\r\n")
        for name_hash, times in offers:
            if not times.durable and not self.with_nondurable:
                continue
            offered[name_hash] = times
            out.add(protocol.encode_offer(name_hash, times).encode() + b"\r\n")
        out.add(protocol.MISSING_END + b"\r\n")
        out.flush()
        return offered

    def _wanted(self, answers: _Answers, offered: Mapping[str, Times]) -> dict[str, str]:
        answers.expect(protocol.MISSING_START)
        wanted: dict[str, str] = {}
        while True:
            line = answers.line()
            if line == protocol.MISSING_END:
                return wanted
            if line:
                name_hash, parts = protocol.decode_wanted(line.decode("latin-1"))
                if name_hash not in offered:
                    raise ProtocolError(f"Unexpected response: {name_hash} was not offered")
                wanted[name_hash] = parts

    # ------------------------------------------------------------ the objects

    def _prepared(self, wanted: Mapping[str, str]) -> Iterator[tuple[str, Opened, Content | None]]:
        """Each object, opened, and what is sent of its data if that is wanted; the next ones are on their way meanwhile."""
        ahead: deque[tuple[str, Any]] = deque()
        try:
            for name_hash, parts in wanted.items():
                ahead.append((name_hash, spawn(self._prepare, name_hash, parts)))
                if len(ahead) >= OPENED_AHEAD:
                    first, thread = ahead.popleft()
                    yield first, *thread.wait()
            while ahead:
                first, thread = ahead.popleft()
                yield first, *thread.wait()
        finally:
            for _, thread in ahead:
                thread.kill()

    def _prepare(self, name_hash: str, parts: str) -> tuple[Opened, Content | None]:
        """What there is of an object. Raises nothing."""
        place = self._place(name_hash)
        try:
            found = self.store.open(
                place,
                BODY,
                open_expired=True,
                frag_index=self.frag_index,
                frag_prefs=self.frag_prefs,
            )
        except Deleted as deleted:
            return deleted, None
        except (ObjectError, LockTimeout, OSError):
            return None, None
        if "d" not in parts:
            return found, None
        try:
            return found, self._read_content(self.store, place, found)
        except (NothingToSend, ObjectError, LockTimeout, OSError):
            self.store.device.leave(found.close)
            return None, None

    def _place(self, name_hash: str) -> Place:
        return self.store.locate(self.partition, name_hash, None)

    def _send(
        self, out: _Chunks, name_hash: str, parts: str, opened: Opened, content: Content | None
    ) -> bool:
        """Send what is wanted of an object; False if that is not to be had any more. Raises BackendError, SyncError, DeviceUnavailable."""
        if opened is None:
            return False
        if isinstance(opened, Deleted):
            if "d" not in parts or not opened.name:
                return False
            headers = {"X-Timestamp": opened.timestamp}
            if opened.word:
                headers[WORD] = opened.word
            out.add(protocol.encode_subrequest("DELETE", opened.name, headers))
            self._sent += 1
            return True
        try:
            return self._send_found(out, name_hash, opened, parts, content)
        finally:
            self.store.device.leave(opened.close)

    def _send_found(
        self, out: _Chunks, name_hash: str, found: OpenObject, parts: str, content: Content | None
    ) -> bool:
        name = found.metadata["name"]
        sent = False
        if content is not None:
            headers = {**content.metadata, "Content-Length": str(content.length)}
            if found.durable_timestamp is None or found.durable_timestamp < found.data_timestamp:
                headers["X-Backend-No-Commit"] = "True"
            out.add(protocol.encode_subrequest("PUT", name, headers))
            self._send_body(out, name, name_hash, content)
            sent = True
        if "m" in parts and found.meta_metadata is not None:
            headers = {key: value for key, value in found.meta_metadata.items() if key != "name"}
            if "Content-Type-Timestamp" in found.metadata:
                for key in ("Content-Type", "Content-Type-Timestamp"):
                    headers[key] = found.metadata[key]
            out.add(protocol.encode_subrequest("POST", name, headers))
            sent = True
        self._sent += sent
        return sent

    def _send_body(self, out: _Chunks, name: str, name_hash: str, content: Content) -> None:
        left = content.length
        try:
            for piece in content.pieces:
                if len(piece) > left:
                    break
                if self.options.rate is not None:
                    self.options.rate.wait(len(piece))
                out.add(piece)
                left -= len(piece)
        except Quarantined as damage:
            raise BrokenOff(f"{name} was found damaged: {damage}", name_hash) from None
        except NothingToSend as error:
            raise BrokenOff(f"{name}: {error}", name_hash) from None
        self._bytes += content.length - left
        if left:
            raise BrokenOff(f"{name}: {left} of {content.length} bytes are missing", name_hash)

    def _why(self, response: BackendResponse) -> SyncError | None:
        """The error line of a peer that broke off, if there is one."""
        response.set_timeout(1.0)
        answers = _Answers(self.node, response)
        with contextlib.suppress(BackendError, ProtocolError):
            try:
                while True:
                    answers.line()
            except SyncError as error:
                return error
        return None


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['replication_ip']}:{node['replication_port']}/{node['device']}"


class _Chunks:
    """What is sent: each piece a chunk of its own, small ones together in one call."""

    def __init__(self, conn: Any, timeout: float) -> None:
        self._conn = conn
        self._timeout = timeout
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, data: bytes | memoryview) -> None:
        """A chunk; its bytes may change on return. Raises BackendError."""
        if not len(data):
            return
        if len(data) > _SEND_AT:
            self.flush()
            self._conn.send_bytes([b"%x\r\n" % len(data), data, b"\r\n"], self._timeout)
            return
        self._parts.append(b"%x\r\n%b\r\n" % (len(data), bytes(data)))
        self._size += len(data)
        if self._size > _SEND_AT:
            self.flush()

    def flush(self) -> None:
        """Send what is held back."""
        if self._parts:
            parts, self._parts, self._size = self._parts, [], 0
            self._conn.send_bytes(b"".join(parts), self._timeout)

    def end(self) -> None:
        """The last chunk."""
        self._parts.append(b"0\r\n\r\n")
        self.flush()


class _Answers:
    """The lines of a peer's answer. What is no line of SSYNC, or an error, is raised as SyncError."""

    def __init__(self, node: Mapping[str, Any], response: BackendResponse) -> None:
        self._node = node
        self._response = response
        self._buffer = b""

    def line(self) -> bytes:
        """The next line without its end. Raises SyncError, ProtocolError, BackendError."""
        while True:
            line, end, rest = self._buffer.partition(b"\n")
            if end:
                self._buffer = rest
                line = line.strip()
                if line.startswith(protocol.ERROR):
                    raise self._error(line)
                return line
            if len(self._buffer) > protocol.MAX_LINE:
                raise ProtocolError("a line is too long")
            data = self._response.read()
            if not data:
                raise ProtocolError("early disconnect")
            self._buffer += data

    def _error(self, line: bytes) -> SyncError:
        text = line.decode("utf-8", "replace")[:_SHOWN]
        status = line.split(None, 2)[1] if line.count(b" ") else b""
        number = int(status) if status.isdigit() else None
        kind = Busy if number == 503 or b"/.lock" in line else SyncError
        return kind(f"{_name(self._node)}: {text}", number)

    def expect(self, wanted: bytes) -> None:
        """The next line that is not empty must be this one."""
        while not (line := self.line()):
            pass
        if line != wanted:
            raise ProtocolError(f"Unexpected response: {line[:_SHOWN]!r}")

    def end(self) -> None:
        """Read to the end of the answer, of which nothing is expected, and give the connection back."""
        if self._response.read():
            raise ProtocolError("Unexpected response after the end")
        self._response.release()


def in_portions(
    offers: Iterator[tuple[str, Times]], most: int = MOST_OFFERED
) -> Iterator[list[tuple[str, Times]]]:
    """Offers in lists of at most so many, for one session each."""
    portion: list[tuple[str, Times]] = []
    for offer in offers:
        portion.append(offer)
        if len(portion) == most:
            yield portion
            portion = []
    if portion:
        yield portion
