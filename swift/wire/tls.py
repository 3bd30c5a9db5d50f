"""A TLS connection with the face of a Stream: of a proxy's clients, between nodes, and to servers elsewhere.

Spec: operations.md 2.1 (cert_file, key_file).
"""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from swift.core.backend_security import WatchedFiles
from swift.engine.stream import Stream
from swift.engine.threads import DeviceBusy, run_in_thread

_RECORD = 65536
_log = logging.getLogger(__name__)
HANDSHAKE_SECONDS = 20.0
"""For a whole handshake: who does not get so far has no request."""


class ReloadedContext:
    """A context made of files, and made anew when one of them has changed. What can't be used then changes nothing, and the log says so.

    Raises OSError (ssl.SSLError is one) when the files can't be used at the start.
    """

    def __init__(self, make: Callable[[], ssl.SSLContext], *paths: str) -> None:
        self._make = make
        self._files = WatchedFiles(*paths)
        self._paths = [path for path in paths if path]
        self._context = make()
        self._told = ""

    def get(self) -> ssl.SSLContext:
        """The context of the files as they are; others go on with the old one while it is made."""
        if self._files.changed():
            try:
                self._context = run_in_thread(self._make)
                self._told = ""
            except (OSError, DeviceBusy) as err:
                self._files.doubt()
                if str(err) != self._told:
                    self._told = str(err)
                    paths = ", ".join(self._paths)
                    _log.error("the files for TLS are used as they were: %s (%s)", err, paths)
        return self._context


class Door(Protocol):
    """What makes of a connection that was accepted the stream that requests come over."""

    def accept(self, stream: Stream, seconds: float) -> Stream | TlsStream:
        """That stream. Raises OSError."""


class FrontTls:
    """A server's own certificate; with `ca_file` clients must show one of that authority, too. Raises OSError for files that can't be used."""

    def __init__(self, cert_file: str, key_file: str | None, ca_file: str | None = None) -> None:
        def make() -> ssl.SSLContext:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert_file, key_file or None)
            if ca_file:
                context.load_verify_locations(ca_file)
                context.verify_mode = ssl.CERT_REQUIRED
            return context

        self._context = ReloadedContext(make, cert_file, key_file or "", ca_file or "")

    def accept(self, stream: Stream, seconds: float) -> TlsStream:
        """The stream of somebody who has connected. Raises OSError."""
        tls = TlsStream(stream, self._context.get())
        tls.handshake(min(seconds, HANDSHAKE_SECONDS))
        return tls


class TlsStream:
    """A connected socket, encrypted on the way out and decrypted on the way in.

    Nobody gets at the descriptor below: what were written there would leave unencrypted. So `zero_copy` is False, and bodies are iterated.
    """

    zero_copy = False

    __slots__ = ("_incoming", "_outgoing", "_stream", "_tls")

    def __init__(self, stream: Stream, context: ssl.SSLContext, server_name: str | None = None) -> None:
        """`server_name`: of the server that this is the client of; None: this is the server."""
        self._stream = stream
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )

    def handshake(self, seconds: float) -> None:
        """Raises OSError, and TimeoutError if it takes longer than `seconds` in all."""
        self._stream.set_deadline(seconds)
        self._run(self._tls.do_handshake)

    def _run(self, step: Any, *args: Any) -> Any:
        """Repeat a TLS operation, moving records, until it is done."""
        while True:
            try:
                result = step(*args)
            except ssl.SSLWantReadError:
                self._flush()
                data = self._stream.recv(_RECORD)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
                continue
            except ssl.SSLError:
                # The alert that says why, if it can leave at once.
                if self._outgoing.pending:
                    self._stream.try_send(self._outgoing.read())
                raise
            self._flush()
            return result

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._stream.sendall(self._outgoing.read())

    def certificate(self) -> Any:
        """The peer's certificate as `ssl` shows it; None or {} if it has shown none."""
        return self._tls.getpeercert()

    @property
    def carrier(self) -> Stream:
        """What tells when something has come; to be waited on, nothing else."""
        return self._stream

    def holds_input(self) -> bool:
        """Returns True if something has come that need not be waited for."""
        return self._incoming.pending > 0 or self._tls.pending() > 0

    @property
    def is_open(self) -> bool:
        """It was not closed here."""
        return self._stream.is_open

    def set_timeout(self, seconds: float | None) -> None:
        """Bounds each single wait from now on."""
        self._stream.set_timeout(seconds)

    def set_deadline(self, seconds: float | None) -> None:
        """Bounds all waits from now on together."""
        self._stream.set_deadline(seconds)

    def recv(self, size: int) -> bytes:
        """Up to size bytes; b'' at the end of the stream."""
        try:
            return self._run(self._tls.read, size)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def recv_into(self, buffer: Any) -> int:
        """recv into a writable buffer; 0 at the end of the stream."""
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def sendall(self, data: Any) -> None:
        """Sends all of data."""
        view = memoryview(data)
        while view:
            sent = self._run(self._tls.write, view[:_RECORD])
            view = view[sent:]

    def send_more(self, data: bytes) -> None:
        """sendall: a record leaves whole."""
        self.sendall(data)

    def sendmsg_all(self, parts: Sequence[Any]) -> None:
        """Sends a short list of buffers."""
        self.sendall(b"".join(parts))

    @property
    def gone(self) -> bool:
        """The peer has closed its side, or the connection broke."""
        return self._stream.gone

    def is_dead(self) -> bool:
        """For an idle connection: the peer has closed it, or there is input to be read."""
        return self._stream.is_dead() or self._incoming.pending > 0 or self._tls.pending() > 0

    def is_quiet(self) -> bool:
        """Returns True if nothing has come, an end neither."""
        return self._stream.is_quiet() and not self._incoming.pending and not self._tls.pending()

    def shutdown_write(self) -> None:
        """Tells the peer that nothing more will come: that what it has is whole. Said only if it can leave at once."""
        with contextlib.suppress(ssl.SSLError, OSError, ValueError):
            self._tls.unwrap()
        if self._outgoing.pending:
            self._stream.try_send(self._outgoing.read())
        self._stream.shutdown_write()

    def close(self) -> None:
        """Closes the connection as it is; after a body that broke off the peer must not believe that it was whole."""
        self._stream.close()


def names_of(certificate: Any) -> list[str]:
    """All names and addresses in a certificate, as `ssl` shows it."""
    if not certificate:
        return []
    found = [value for _, value in certificate.get("subjectAltName", ())]
    found += [
        value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"
    ]
    return found
