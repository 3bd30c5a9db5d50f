"""Opening and accepting connections. What is done with them is `engine.stream`'s; nothing here knows what they carry."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Any

from swift.core.concurrency import Timeout, raw_socket
from swift.engine.stream import Stream

_LOOPBACK = ("127.", "::1", "::ffff:127.")


def no_pacing(sock: Any, ip: str) -> None:
    """For a socket that is not connected yet, of an address on loopback, where there is no network whose congestion could be controlled.

    Where BBR is the system's choice, its pacing would cost a third of the CPU there, and now and then 40 ms. What a listener has, its connections
    get; later it is too late: a socket that has begun to pace goes on.
    """
    if ip.startswith(_LOOPBACK):
        with contextlib.suppress(OSError):
            sock.setsockopt(raw_socket.IPPROTO_TCP, raw_socket.TCP_CONGESTION, b"reno")


def connect(ip: str, port: int, seconds: float) -> Stream:
    """A new TCP connection. Raises OSError (TimeoutError after the time limit)."""
    family = raw_socket.AF_INET6 if ":" in ip else raw_socket.AF_INET
    sock = raw_socket.socket(family, raw_socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(raw_socket.IPPROTO_TCP, raw_socket.TCP_NODELAY, 1)
        no_pacing(sock, ip)
        try:
            code = sock.connect_ex((ip, port))
        except UnicodeError as err:
            raise OSError(errno.EINVAL, f"no address: {err}") from None
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        stream = Stream(sock)
    except BaseException:
        sock.close()
        raise
    if code == 0:
        return stream
    stream.readable = stream.writable = False
    try:
        try:
            with Timeout(seconds, TimeoutError("connect timed out")):
                stream.wait_writable()
        except TimeoutError:
            # When this process is behind, the time limit is noticed before a connection that was made in time: the socket knows.
            if not _is_connected(sock):
                raise
        code = sock.getsockopt(raw_socket.SOL_SOCKET, raw_socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        stream.close()
        raise
    return stream


def _is_connected(sock: Any) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def listen(ip: str, port: int, backlog: int = 4096, reuse_port: bool = False) -> Any:
    """A bound, listening, non-blocking raw socket. Raises OSError."""
    family = raw_socket.AF_INET6 if ":" in ip else raw_socket.AF_INET
    sock = raw_socket.socket(family, raw_socket.SOCK_STREAM)
    try:
        sock.setsockopt(raw_socket.SOL_SOCKET, raw_socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(raw_socket.SOL_SOCKET, raw_socket.SO_REUSEPORT, 1)
        no_pacing(sock, ip)
        sock.bind((ip, port))
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


class Listener:
    """Accepts from a listening socket, cooperatively."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self._stream = Stream(sock)

    def accept(self) -> tuple[Any, Any]:
        """(raw socket, peer address) of the next connection. Raises OSError once closed."""
        stream = self._stream
        while True:
            if stream.fd < 0:
                raise OSError(errno.EBADF, "closed")
            if stream.readable:
                try:
                    return self.sock.accept()
                except BlockingIOError:
                    stream.readable = False
                except ConnectionAbortedError:
                    continue
            stream.gone = False
            stream.wait_readable()

    def close(self) -> None:
        """Stops accepting; a waiting accept raises OSError."""
        self._stream.close()
