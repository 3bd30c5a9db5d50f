"""memcached for tests: a small one in a thread of its own that can also misbehave on demand, and the real one where there is one.

Both can be stopped without a word, killed, and started again without their memory. What never lives here: assertions.
"""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

from test.ports import free_port


class StandIn:
    """``replies``: command → bytes to answer instead of doing it; ``silent``: commands that get no answer at all."""

    def __init__(self, tls_context: ssl.SSLContext | None = None, port: int = 0):
        self.store: dict[bytes, tuple[bytes, bytes]] = {}
        self.lines: list[bytes] = []
        self.answered = 0
        self.replies: dict[bytes, bytes] = {}
        self.silent: set[bytes] = set()
        self.connections: list[socket.socket] = []
        self.accepted = 0
        self._tls_context = tls_context
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
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

    def freeze(self):
        """Connections are taken, nothing is answered."""
        self._goes_on.clear()

    def go_on(self):
        self._goes_on.set()

    kill = stop

    def start_again(self):
        """On the same address, without its memory."""
        self.__init__(self._tls_context, int(self.name.rpartition(":")[2]))

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
        self._goes_on.wait()
        self.lines.append(line)
        words = line.split()
        command = words[0]
        data = stream.read(int(words[4]) + 2)[:-2] if command in (b"set", b"add") else b""
        if command in self.silent:
            return
        stream.write(self.replies.get(command) or self._do(command, words, data))
        stream.flush()
        self.answered += 1

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


class Memcached:
    """The real one, in a process of its own."""

    def __init__(self):
        self.port = free_port()
        self.name = f"127.0.0.1:{self.port}"
        self.start_again()

    def start_again(self):
        command = ["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "16"]
        self.process = subprocess.Popen([*command, *(["-u", "root"] if os.geteuid() == 0 else [])])
        give_up = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.02)

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)  # all its threads stand still

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    stop = kill


def best_memcached():
    """The real one where there is one."""
    return Memcached() if shutil.which("memcached") else StandIn()


KINDS = [StandIn, best_memcached]
