"""Where log lines go: syslog datagrams, a file, or JSON lines on standard output.

A sink takes finished messages and never blocks or raises: what can't be delivered is counted in `dropped`. What a
message looks like is decided in `swift.telemetry.log`.

Spec: operations.md 8.1.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import errno
import fcntl
import json
import os
import stat
from logging.handlers import SysLogHandler
from typing import Any, Protocol

from swift.core import clock
from swift.core.concurrency import getcurrent, raw_select, raw_socket
from swift.engine.resolver import HostAddress
from swift.telemetry.line_writer import LineWriter

MAX_QUEUED_BYTES = 1024 * 1024
RECONNECT_SECONDS = 1.0
NO_SOCKET = ("localhost", 514)
REOPEN_CHECK_SECONDS = 1.0
TRUNCATED_BYTES = 8192
PIPE_CHUNK = 4096  # a pipe that polls writable takes this much without blocking

SEVERITY = {10: 7, 20: 6, 25: 5, 30: 4, 40: 3, 50: 2}
LEVEL_NAMES = {10: "DEBUG", 20: "INFO", 25: "NOTICE", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}


class Sink(Protocol):
    """Takes one message: numeric level, logger name, text without line ends, transaction id and client address."""

    @property
    def dropped(self) -> int: ...

    def emit(self, level: int, name: str, text: str, txn: str | None, client_ip: str | None) -> None: ...


def facility_code(name: str | None) -> int:
    """The number of a `LOG_*` facility; LOG_LOCAL0 for unknown ones."""
    number = getattr(SysLogHandler, str(name), None) if str(name).startswith("LOG_") else None
    known = set(SysLogHandler.facility_names.values())
    return number if isinstance(number, int) and number in known else SysLogHandler.LOG_LOCAL0


class SyslogSink:
    """`<PRI>NAME: message` and a NUL as datagrams, to a UNIX socket or over UDP.

    `address`: path of a socket (if there is none, UDP to localhost:514), or (host, port).
    """

    def __init__(self, facility: int, address: str | tuple[str, int]) -> None:
        self.dropped = 0
        self._priority = {level: b"<%d>" % (facility * 8 + severity) for level, severity in SEVERITY.items()}
        self._address = address
        self._host: HostAddress | None = None if isinstance(address, str) else HostAddress(*address)
        self._sock: Any = None
        self._retry_at = 0.0

    def emit(self, level: int, name: str, text: str, txn: str | None, client_ip: str | None) -> None:
        head = self._priority.get(level, self._priority[20])
        self._send(head + f"{name}: {text}\0".encode("utf-8", "backslashreplace"))

    def _send(self, datagram: bytes) -> None:
        sock = self._sock or self._connect()
        if sock is None:
            self.dropped += 1
            return
        try:
            sock.send(datagram, raw_socket.MSG_DONTWAIT)
        except OSError as err:
            if err.errno == errno.EMSGSIZE and len(datagram) > TRUNCATED_BYTES:
                self._send(datagram[: TRUNCATED_BYTES - 1] + b"\0")
                return
            self.dropped += 1
            if err.errno not in (errno.EAGAIN, errno.ENOBUFS):
                sock.close()
                self._sock = None

    def _connect(self) -> Any:
        now = clock.monotonic()
        if now < self._retry_at:
            return None
        self._retry_at = now + RECONNECT_SECONDS
        try:
            family, target = self._target()
            sock = raw_socket.socket(family, raw_socket.SOCK_DGRAM | raw_socket.SOCK_CLOEXEC)
            sock.setblocking(False)
            try:
                sock.connect(target)
            except OSError:
                sock.close()
                raise
        except OSError:
            return None
        self._sock = sock
        return sock

    def _target(self) -> tuple[int, Any]:
        """Address family and address by now. Raises OSError while the host's is not known."""
        if isinstance(self._address, str):
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(os.stat(self._address).st_mode):
                    return raw_socket.AF_UNIX, self._address
        if self._host is None:
            self._host = HostAddress(*NO_SOCKET)
        found = self._host.get()
        if found is None:
            raise OSError(errno.EHOSTUNREACH, "the name of the log host is not resolved")
        return found


def _timestamp(now: float, cache: list[Any]) -> str:
    """UTC with milliseconds; the part above the second is made once a second (`cache` is [second, text])."""
    second = int(now)
    if cache[0] != second:
        cache[:] = second, clock.strftime("%Y-%m-%dT%H:%M:%S", clock.gmtime(second))
    return f"{cache[1]}.{int((now - second) * 1000):03d}Z"


class FileSink:
    """`<time> <LEVEL> <name>: message` lines appended to a file, which may be rotated away under us.

    With `max_bytes` it is put aside as PATH.1 once it is longer (0: never). With `as_json` the lines are JSON objects. Whole lines are appended, so that several processes may share the file.
    """

    def __init__(self, path: str, as_json: bool = False, max_bytes: int = 0) -> None:
        self._writer = LineWriter(self._append)
        self.path = path
        self._max_bytes = max_bytes
        self.as_json = as_json
        self._fd = -1
        self._check_at = 0.0
        self._clock: list[Any] = [-1, ""]

    def emit(self, level: int, name: str, text: str, txn: str | None, client_ip: str | None) -> None:
        now = clock.time()
        if self.as_json:
            line = json_line(now, self._clock, level, name, text, txn, client_ip)
        else:
            shown = LEVEL_NAMES.get(level, str(level))
            line = f"{_timestamp(now, self._clock)} {shown} {name}: {text}\n".encode(
                "utf-8", "backslashreplace"
            )
        self._writer.put(line)

    @property
    def dropped(self) -> int:
        return self._writer.dropped

    def _append(self, lines: bytes) -> None:
        now = clock.monotonic()
        if now >= self._check_at:
            self._check_at = now + REOPEN_CHECK_SECONDS
            self._reopen_if_moved()
            if self._max_bytes and os.fstat(self._fd).st_size > self._max_bytes:
                self._put_aside()
        _write_all(self._fd, lines)

    def open(self) -> None:
        """Raises OSError if the file can't be written to."""
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _put_aside(self) -> None:
        """Several processes may come to it at once: who has the lock, and still sees this file at the path, renames it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        try:
            there, have = os.stat(self.path), os.fstat(self._fd)
            if (there.st_dev, there.st_ino) == (have.st_dev, have.st_ino):
                os.rename(self.path, self.path + ".1")
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._reopen_if_moved()

    def _reopen_if_moved(self) -> None:
        try:
            there = os.stat(self.path)
            have = os.fstat(self._fd) if self._fd >= 0 else None
            if have is not None and (there.st_dev, there.st_ino) == (have.st_dev, have.st_ino):
                return
        except OSError:
            pass
        try:
            opened = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError:
            return
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = opened


_NO_TRACE = (None, None, "")


def json_line(
    now: float,
    second_cache: list[Any],
    level: int,
    name: str,
    text: str,
    txn: str | None,
    client_ip: str | None,
) -> bytes:
    """One message as a JSON object and a line end."""
    entry: dict[str, Any] = {
        "time": _timestamp(now, second_cache),
        "level": LEVEL_NAMES.get(level, str(level)),
        "name": name,
        "pid": os.getpid(),
        "message": text,
    }
    if txn:
        entry["txn"] = txn
    if client_ip:
        entry["client_ip"] = client_ip
    trace = getattr(getcurrent(), "swift_transaction", _NO_TRACE)[2]  # swift.telemetry.log
    if trace:
        entry["trace"] = trace
    return json.dumps(entry).encode() + b"\n"


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


class StreamSink:
    """JSON lines on a descriptor that may be a slow pipe: queued up to a limit, then dropped."""

    def __init__(self, fd: int) -> None:
        self.dropped = 0
        self._fd = os.dup(fd)  # lives on when standard output is redirected
        self._file: LineWriter | None = (
            None  # a file is always said to be writable, and may block all the same
        )
        if stat.S_ISREG(os.fstat(self._fd).st_mode):
            self._file = LineWriter(lambda lines: _write_all(self._fd, lines))
        self._poll = raw_select.poll()
        self._poll.register(self._fd, raw_select.POLLOUT)
        self._queue: collections.deque[bytes] = collections.deque()
        self._queued = 0
        self._clock: list[Any] = [-1, ""]
        atexit.register(self.flush)

    def emit(self, level: int, name: str, text: str, txn: str | None, client_ip: str | None) -> None:
        line = json_line(clock.time(), self._clock, level, name, text, txn, client_ip)
        if self._file is not None:
            self._file.put(line)
            self.dropped = self._file.dropped
            return
        if self._queued + len(line) > MAX_QUEUED_BYTES:
            self.dropped += 1
        else:
            self._queue.append(line)
            self._queued += len(line)
        self.flush()

    def flush(self) -> None:
        """Writes as much of the queue as goes without blocking."""
        queue = self._queue
        while queue:
            events = self._poll.poll(0)
            if not events or not events[0][1] & raw_select.POLLOUT:
                return
            piece = queue[0][:PIPE_CHUNK]
            try:
                written = os.write(self._fd, piece)
            except OSError:
                self.dropped += len(queue)
                queue.clear()
                self._queued = 0
                return
            self._queued -= written
            if written == len(queue[0]):
                queue.popleft()
            else:
                queue[0] = queue[0][written:]


class ConsoleSink:
    """Plain `NAME: message` lines on standard error, for someone who looks on."""

    def __init__(self) -> None:
        self.dropped = 0

    def emit(self, level: int, name: str, text: str, txn: str | None, client_ip: str | None) -> None:
        try:
            os.write(2, f"{name}: {text}\n".encode("utf-8", "backslashreplace"))
        except OSError:
            self.dropped += 1


_sinks: dict[tuple, Sink] = {}


def shared_sink(kind: type, *args: Any) -> Any:
    """One sink per destination and process, however many loggers use it."""
    key = (kind, *args)
    if key not in _sinks:
        _sinks[key] = kind(*args)
    return _sinks[key]


def dropped_messages() -> int:
    """How many messages of this process could not be delivered."""
    return sum(sink.dropped for sink in _sinks.values())
