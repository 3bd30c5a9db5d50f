"""A small memcached in a thread of its own, that can also misbehave on demand."""

import socket
import ssl
import threading


class StandIn:
    """``replies``: command → bytes to answer instead of doing it; ``silent``: commands that get no answer at all."""

    def __init__(self, tls_context: ssl.SSLContext | None = None):
        self.store: dict[bytes, tuple[bytes, bytes]] = {}
        self.lines: list[bytes] = []
        self.replies: dict[bytes, bytes] = {}
        self.silent: set[bytes] = set()
        self.connections: list[socket.socket] = []
        self.accepted = 0
        self._tls_context = tls_context
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self.name = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        for sock in [self._listener, *self.connections]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def drop_connections(self):
        for sock in self.connections:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self.connections.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            if self._tls_context:
                sock = self._tls_context.wrap_socket(sock, server_side=True)
            with sock.makefile("rwb") as stream:
                for line in stream:
                    self._answer(stream, line.rstrip(b"\r\n"))
        except OSError:
            pass

    def _answer(self, stream, line):
        self.lines.append(line)
        words = line.split()
        command = words[0]
        data = stream.read(int(words[4]) + 2)[:-2] if command in (b"set", b"add") else b""
        if command in self.silent:
            return
        stream.write(self.replies.get(command) or self._do(command, words, data))
        stream.flush()

    def _do(self, command, words, data):
        key = words[1]
        if command == b"get":
            found = [(k, *self.store[k]) for k in words[1:] if k in self.store]
            return b"".join(b"VALUE %s %s %d\r\n%s\r\n" % (k, f, len(v), v) for k, f, v in found) + b"END\r\n"
        if command == b"set" or (command == b"add" and key not in self.store):
            self.store[key] = (words[2], data)
            return b"STORED\r\n"
        if command == b"add":
            return b"NOT_STORED\r\n"
        if command == b"delete":
            return b"DELETED\r\n" if self.store.pop(key, None) else b"NOT_FOUND\r\n"
        if command in (b"incr", b"decr"):
            if key not in self.store:
                return b"NOT_FOUND\r\n"
            flags, old = self.store[key]
            if not old.isdigit():
                return b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
            step = int(words[2]) if command == b"incr" else -int(words[2])
            new = b"%d" % max(int(old) + step, 0)
            self.store[key] = (flags, new)
            return new + b"\r\n"
        return b"ERROR\r\n"
