"""One GET, three ways: its body iterated in process, spliced to a socket by the server, and sent over TLS."""

import ssl
from dataclasses import dataclass

from swift.core import concurrency
from swift.engine import sockets
from swift.wire.errors import ResponseBroken
from swift.wire.message import Request
from swift.wire.server import Server

WAYS = ("iterated", "spliced", "tls")
_OF_THE_SERVER = ("date", "connection", "transfer-encoding")


@dataclass
class Got:
    """`broken`: the body ended before its announced end. `wire`: the bytes that the client's socket received."""

    status: int
    headers: dict
    body: bytes
    broken: bool
    wire: bytes = b""


class _TlsClient:
    """The client's end of a TLS connection, on a Stream."""

    def __init__(self, stream, cafile):
        self.stream = stream
        self.wire = b""
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=cafile)
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self._run(self.tls.do_handshake)
        self.wire = b""

    def _run(self, step, *args):
        while True:
            try:
                result = step(*args)
            except ssl.SSLWantReadError:
                self.stream.sendall(self.outgoing.read())
                data = self.stream.recv(1 << 20)
                self.wire += data
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()
                continue
            self.stream.sendall(self.outgoing.read())
            return result

    def sendall(self, data):
        self._run(self.tls.write, data)

    def recv(self, size):
        try:
            return self._run(self.tls.read, size)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def close(self):
        self.stream.close()


class _PlainClient:
    def __init__(self, stream):
        self.stream = stream
        self.wire = b""
        self.sendall = stream.sendall
        self.close = stream.close

    def recv(self, size):
        data = self.stream.recv(size)
        self.wire += data
        return data


class Front:
    """A client of an application; `way` is one of WAYS, `certificate` (cert file, key file) for TLS."""

    def __init__(self, app, way, certificate, logger):
        self.app = app
        self.way = way
        self.cafile = certificate[0]
        if way != "iterated":
            sock = sockets.listen("127.0.0.1", 0)
            self.port = sock.getsockname()[1]
            conf = {"client_timeout": "5"}
            if way == "tls":
                conf.update(cert_file=certificate[0], key_file=certificate[1])
            self.server = Server(sock, app, conf, logger)
            self.thread = concurrency.spawn(self.server.run)

    def stop(self):
        if self.way != "iterated":
            self.server.stop()
            concurrency.kill(self.thread)

    def get(self, path, headers=None, method="GET"):
        with concurrency.Timeout(15):
            if self.way == "iterated":
                return self._call(path, headers or {}, method)
            return self._ask(path, headers or {}, method)

    def _call(self, path, headers, method):
        request = Request.blank(path, environ={"REQUEST_METHOD": method}, headers=headers)
        status, answer_headers, chunks = request.call_application(self.app)
        data = b""
        broken = False
        try:
            for chunk in chunks:
                data += chunk
        except ResponseBroken:
            broken = True
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        return Got(int(status[:3]), {name.lower(): value for name, value in answer_headers}, data, broken)

    def connect(self):
        stream = sockets.connect("127.0.0.1", self.port, 1)
        stream.set_timeout(5)
        return _TlsClient(stream, self.cafile) if self.way == "tls" else _PlainClient(stream)

    def _ask(self, path, headers, method):
        client = self.connect()
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode("latin-1"))
        data = b""
        while b"\r\n\r\n" not in data:
            piece = client.recv(1 << 20)
            assert piece, data
            data += piece
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        got = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "transfer-encoding" in got:
            body, broken = self._chunks(client, data)
        elif method == "HEAD":
            body, broken = data, False
        else:
            length = int(got["content-length"])
            parts = [data]
            have = len(data)
            while have < length:
                piece = client.recv(1 << 20)
                if not piece:
                    break
                parts.append(piece)
                have += len(piece)
            body, broken = b"".join(parts), have < length
        client.close()
        for name in _OF_THE_SERVER:
            got.pop(name, None)
        return Got(int(first.split()[1]), got, body, broken, client.wire)

    def _chunks(self, client, data):
        body = b""
        while True:
            while b"\r\n" not in data:
                piece = client.recv(1 << 20)
                if not piece:
                    return body, True
                data += piece
            line, _, data = data.partition(b"\r\n")
            size = int(line, 16)
            while len(data) < size + 2:
                piece = client.recv(1 << 20)
                if not piece:
                    return body + data, True
                data += piece
            if not size:
                return body, False
            body += data[:size]
            data = data[size + 2 :]
