"""A TLS connection with the face of a Stream. As a server's for tests and small set-ups: production puts a TLS proxy in front.

Spec: operations.md 2.1 (cert_file, key_file).
"""

import contextlib
import ssl
from collections.abc import Sequence
from typing import Any

from swift.engine.stream import Stream

_RECORD = 65536


def server_context(cert_file: str, key_file: str | None) -> ssl.SSLContext:
    """Raises OSError (ssl.SSLError is one) when the files cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert_file, key_file or None)
    return context


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
