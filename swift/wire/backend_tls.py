"""TLS between nodes: both sides show a certificate of the cluster's authority, on the ports that are there anyway.

What lives here: who is let in and talked to. Never here: how a stream is encrypted (wire.tls), where the settings come from (core.backend_security).
"""

from __future__ import annotations

import ssl

from swift.core import backend_security
from swift.core.backend_security import ACCEPT, OFF, REQUIRE, Tls
from swift.engine.stream import Stream
from swift.wire.tls import HANDSHAKE_SECONDS, ReloadedContext, TlsStream, names_of

_RECORD_OF_A_HANDSHAKE = b"\x16"  # no method of HTTP begins so


class NodeTls:
    """Both sides of one node's settings."""

    def __init__(self, settings: Tls) -> None:
        self.settings = settings
        files = (settings.cert_file, settings.key_file, settings.ca_file)
        self._server = ReloadedContext(self._server_context, *files)
        self._client = ReloadedContext(self._client_context, *files)

    def _context(self, protocol: int) -> ssl.SSLContext:
        settings = self.settings
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(settings.cert_file, settings.key_file or None)
        context.load_verify_locations(settings.ca_file)
        return context

    def _server_context(self) -> ssl.SSLContext:
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        # Connections are kept, not resumed; and nothing shall come that is no answer.
        context.num_tickets = 0
        return context

    def _client_context(self) -> ssl.SSLContext:
        context = self._context(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = self.settings.check_address
        return context

    def accept(self, stream: Stream, seconds: float) -> Stream | TlsStream:
        """The stream of somebody who has connected, or this stream as long as plain connections are taken. Raises OSError."""
        if self.settings.way != REQUIRE:
            stream.set_deadline(seconds)
            if stream.peek() != _RECORD_OF_A_HANDSHAKE:
                return stream
        tls = TlsStream(stream, self._server.get())
        tls.handshake(min(seconds, HANDSHAKE_SECONDS))
        self._check(tls)
        return tls

    def connect(self, stream: Stream, ip: str, seconds: float) -> Stream | TlsStream:
        """The stream to a node, as the settings want it. Raises OSError."""
        if self.settings.way == ACCEPT:
            return stream
        tls = TlsStream(stream, self._client.get(), ip)
        tls.handshake(seconds)
        self._check(tls)
        return tls

    def _check(self, tls: TlsStream) -> None:
        names = names_of(tls.certificate())
        if not self.settings.lets_in(names):
            raise ssl.SSLError(f"a certificate of {names[0] if names else 'nobody'} is not one of tls_names")


_node_tls: NodeTls | None = None


def node_tls() -> NodeTls | None:
    """What the process's settings ask for; None for plain connections. Raises OSError for files that can't be used."""
    global _node_tls
    settings = backend_security.current().tls
    if settings.way == OFF:
        return None
    if _node_tls is None or _node_tls.settings is not settings:
        _node_tls = NodeTls(settings)
    return _node_tls
