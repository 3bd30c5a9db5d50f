"""A TLS server connection with the face of a Stream. For tests and small set-ups: production puts a TLS proxy in front.

Spec: operations.md 2.1 (cert_file, key_file).
"""

import os
import ssl
from collections.abc import Sequence
from typing import Any

from swift.core.stream import Stream

_RECORD = 65536


def server_context(cert_file: str, key_file: str | None) -> ssl.SSLContext:
    """Raises OSError (ssl.SSLError is one) when the files cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert_file, key_file or None)
    return context


class TlsStream:
    """Encrypts on the way out and decrypts on the way in. There is no splicing: `fd` is not for payload."""

    def __init__(self, stream: Stream, context: ssl.SSLContext) -> None:
        self.stream = stream
        self.sock = stream.sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def handshake(self) -> None:
        """Raises OSError or TimeoutError."""
        self._run(self._tls.do_handshake)

    def _run(self, step: Any, *args: Any) -> Any:
        """Repeat a TLS operation, moving records, until it is done."""
        while True:
            try:
                result = step(*args)
            except ssl.SSLWantReadError:
                self._flush()
                data = self.stream.recv(_RECORD)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
                continue
            self._flush()
            return result

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.stream.sendall(self._outgoing.read())

    @property
    def fd(self) -> int:
        return self.stream.fd

    def set_timeout(self, seconds: float | None) -> None:
        self.stream.set_timeout(seconds)

    def set_deadline(self, seconds: float | None) -> None:
        self.stream.set_deadline(seconds)

    def recv(self, size: int) -> bytes:
        try:
            return self._run(self._tls.read, size)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def recv_into(self, buffer: Any) -> int:
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def sendall(self, data: Any) -> None:
        view = memoryview(data)
        while view:
            sent = self._run(self._tls.write, view[:_RECORD])
            view = view[sent:]

    def sendmsg_all(self, parts: Sequence[Any]) -> None:
        self.sendall(b"".join(parts))

    def sendfile_all(self, fd: int, offset: int, count: int) -> int:
        done = 0
        while done < count:
            data = os.pread(fd, min(count - done, _RECORD), offset + done)
            if not data:
                break
            self.sendall(data)
            done += len(data)
        return done

    def is_dead(self) -> bool:
        return self.stream.is_dead()

    def is_quiet(self) -> bool:
        return self.stream.is_quiet()

    def shutdown_write(self) -> None:
        self.stream.shutdown_write()

    def fileno(self) -> int:
        return self.stream.fileno()

    def close(self) -> None:
        self.stream.close()
