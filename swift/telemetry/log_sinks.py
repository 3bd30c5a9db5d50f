"""Where log lines go: syslog datagrams, a file, or JSON lines on standard output.

A sink takes finished messages and never blocks or raises: what can't be delivered is counted in `dropped`. What a
message looks like is decided in `swift.telemetry.log`.

Spec: operations.md 8.1.
"""

from __future__ import annotations

import atexit
import collections
import errno
import json
import os
import stat
from logging.handlers import SysLogHandler
from typing import Any, Protocol

from swift.core import clock
from swift.core.concurrency import raw_select, raw_socket

MAX_QUEUED_BYTES = 1024 * 1024
RECONNECT_SECONDS = 1.0
REOPEN_CHECK_SECONDS = 1.0
TRUNCATED_BYTES = 8192
PIPE_CHUNK = 4096  # a pipe that polls writable takes this much without blocking

SEVERITY = {10: 7, 20: 6, 25: 5, 30: 4, 40: 3, 50: 2}
LEVEL_NAMES = {10: "DEBUG", 20: "INFO", 25: "NOTICE", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}


class Sink(Protocol):
    """Takes one message: numeric level, logger name, text without line ends, transaction id and client address."""

    dropped: int

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
        target: Any = self._address
        if isinstance(target, str):
            try:
                if not stat.S_ISSOCK(os.stat(target).st_mode):
                    target = ("localhost", 514)
            except OSError:
                target = ("localhost", 514)
        try:
            if isinstance(target, str):
                family = raw_socket.AF_UNIX
            else:
                family, _, _, _, target = raw_socket.getaddrinfo(*target, type=raw_socket.SOCK_DGRAM)[0]
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


def _timestamp(now: float, cache: list[Any]) -> str:
    """UTC with milliseconds; the part above the second is made once a second (`cache` is [second, text])."""
    second = int(now)
    if cache[0] != second:
        cache[:] = second, clock.strftime("%Y-%m-%dT%H:%M:%S", clock.gmtime(second))
    return f"{cache[1]}.{int((now - second) * 1000):03d}Z"


class FileSink:
    """`<time> <LEVEL> <name>: message` lines appended to a file, which may be rotated away under us.

    With `as_json` the lines are JSON objects. Each line is one append, so that several processes may share the file.
    """

    def __init__(self, path: str, as_json: bool = False) -> None:
        self.dropped = 0
        self.path = path
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
        if now >= self._check_at or now < self._check_at - REOPEN_CHECK_SECONDS:
            self._check_at = now + REOPEN_CHECK_SECONDS
            self._reopen_if_moved()
        try:
            os.write(self._fd, line)
        except OSError:
            self.dropped += 1

    def open(self) -> None:
        """Raises OSError if the file can't be written to."""
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

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
    return json.dumps(entry).encode() + b"\n"


class StreamSink:
    """JSON lines on a descriptor that may be a slow pipe: queued up to a limit, then dropped."""

    def __init__(self, fd: int) -> None:
        self.dropped = 0
        self._fd = os.dup(fd)  # lives on when standard output is redirected
        self._poll = raw_select.poll()
        self._poll.register(self._fd, raw_select.POLLOUT)
        self._queue: collections.deque[bytes] = collections.deque()
        self._queued = 0
        self._clock: list[Any] = [-1, ""]
        atexit.register(self.flush)

    def emit(self, level: int, name: str, text: str, txn: str | None, client_ip: str | None) -> None:
        line = json_line(clock.time(), self._clock, level, name, text, txn, client_ip)
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
