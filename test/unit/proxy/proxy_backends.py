"""Scripted storage servers on real loopback sockets, and a proxy application over them.

Each node is one listening socket that plays account, container and object server at once; the first letter of the device
name in the request path (`a0`, `c0`, `o0`) tells which is meant. Every request is recorded as the backend saw it.
"""

import re
from dataclasses import dataclass, field

from swift.core import concurrency
from swift.core.constraints import Limits, set_limits
from swift.core.hashing import set_hash_config
from swift.core.policy import PolicyCollection, ReplicatedPolicy, set_policies
from swift.engine import sockets
from swift.engine.stream import Stream
from swift.middleware.info import PROCESS_CACHE
from swift.proxy.app import Application
from swift.wire.connection_pool import POOL
from swift.wire.message import Request
from test.descriptors import none_left_open

KINDS = {"a": "account", "c": "container", "o": "object"}
T0 = "1700000000.00000"


@dataclass
class Seen:
    """One request as a backend got it. `headers`: lower-case names."""

    node: int
    kind: str
    method: str
    path: str
    query: str
    headers: dict
    body: bytes = b""
    complete: bool = False

    @property
    def entity(self):
        """The path after device and partition."""
        return "/" + self.path.split("/", 3)[3]

    def __repr__(self):
        return f"<{self.kind} {self.node} {self.method} {self.path}?{self.query}>"


@dataclass
class Reply:
    """`cut`: close after so many bytes of the body; `hang`: seconds of silence before; `drop`: close without an answer;
    `early`: answer before the body is asked for; `pause`: (bytes of the body, seconds of silence after them)."""

    status: int = 200
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    hang: float = 0
    drop: bool = False
    early: bool = False
    capable: bool = True
    close: bool = False
    pause: tuple[int, float] | None = None


class Backend:
    def __init__(self, cluster, index):
        self.cluster = cluster
        self.index = index
        self.sock = sockets.listen("127.0.0.1", 0)
        self.port = self.sock.getsockname()[1]
        self.listener = sockets.Listener(self.sock)
        self.streams = []
        self.down = False
        concurrency.spawn_n(self._accept)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if self.down:
                sock.close()
                continue
            stream = Stream(sock)
            self.streams.append(stream)
            concurrency.spawn_n(self._serve, stream)

    def stop(self):
        self.listener.close()
        for stream in self.streams:
            stream.close()

    def _serve(self, stream):
        buffer = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = stream.recv(65536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                method, target, version = lines[0].split(" ")
                assert version == "HTTP/1.1"
                headers = {}
                for line in lines[1:]:
                    name, _, value = line.partition(":")
                    assert name.lower() not in headers, f"{name} twice"
                    headers[name.lower()] = value.strip()
                path, _, query = target.partition("?")
                kind = KINDS[path[1]]
                seen = Seen(self.index, kind, method, path, query, headers)
                self.cluster.seen.append(seen)
                reply = self.cluster.reply_for(seen)
                if reply.drop:
                    return
                expecting = headers.get("expect") == "100-continue"
                if expecting and not reply.early:
                    if reply.hang:
                        concurrency.sleep(reply.hang)
                    extra = b""
                    if reply.capable and "x-backend-obj-metadata-footer" in headers:
                        extra = b"X-Obj-Metadata-Footer: yes\r\n"
                    stream.sendall(b"HTTP/1.1 100 Continue\r\n" + extra + b"\r\n")
                if not (expecting and reply.early):
                    seen.complete = False
                    seen.body, buffer = self._body(stream, headers, buffer)
                    if seen.body is None:
                        return
                    seen.complete = True
                    reply = self.cluster.reply_for(seen)
                if reply.hang:
                    concurrency.sleep(reply.hang)
                if reply.drop:
                    return
                if not self._answer(stream, method, reply):
                    return
        except OSError:
            pass
        finally:
            stream.close()

    def _body(self, stream, headers, buffer):
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                while b"\r\n" not in buffer:
                    data = stream.recv(65536)
                    if not data:
                        return None, b""
                    buffer += data
                line, _, buffer = buffer.partition(b"\r\n")
                size = int(line, 16)
                while len(buffer) < size + 2:
                    data = stream.recv(65536)
                    if not data:
                        return None, b""
                    buffer += data
                body += buffer[:size]
                assert buffer[size : size + 2] == b"\r\n"
                buffer = buffer[size + 2 :]
                if size == 0:
                    return body, buffer
        size = int(headers.get("content-length", 0))
        while len(buffer) < size:
            data = stream.recv(65536)
            if not data:
                return None, b""
            buffer += data
        return buffer[:size], buffer[size:]

    def _answer(self, stream, method, reply):
        headers = {"Content-Length": str(len(reply.body)), **reply.headers}
        text = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None)
        if reply.close:
            text += "Connection: close\r\n"
        head = f"HTTP/1.1 {reply.status} Status\r\n{text}\r\n".encode("latin-1")
        body = b"" if method == "HEAD" else reply.body
        if reply.cut is not None:
            stream.sendall(head + body[: reply.cut])
            return False
        if reply.pause is not None:
            size, seconds = reply.pause
            stream.sendall(head + body[:size])
            concurrency.sleep(seconds)
            stream.sendall(body[size:])
        else:
            stream.sendall(head + body)
        return not reply.close


class FakeRing:
    """Primaries `first`.. of the cluster, the other nodes are handoffs. Every name is in partition 7."""

    def __init__(self, cluster, letter, replicas=3, region_of=lambda i: 1):
        self.cluster = cluster
        self.next_part_power = None
        nodes = []
        for i, backend in enumerate(cluster.backends):
            nodes.append(
                {
                    "id": i, "device": f"{letter}{i}", "ip": "127.0.0.1", "port": backend.port, "region": region_of(i), "zone": i,
                    "replication_ip": "127.0.0.1", "replication_port": backend.port,
                }
            )  # fmt: skip
        self.primaries = tuple({**node, "index": i} for i, node in enumerate(nodes[:replicas]))
        self.handoffs = [{**node, "handoff_index": i} for i, node in enumerate(nodes[replicas:])]
        self.devs = [{**node, "weight": 1.0} for node in nodes]
        self.replica_count = float(replicas)
        self.names = []

    def get_nodes(self, *names):
        self.names.append(names)
        return 7, self.primaries

    def get_more_nodes(self, part):
        yield from self.handoffs


class Logger:
    def __init__(self):
        self.lines = []

    def _log(self, message, *args, **kwargs):
        self.lines.append(message % args if args else message)

    debug = info = warning = error = critical = _log

    def exception(self, message, *args, **kwargs):
        import traceback

        self._log(message, *args)
        self.lines.append(traceback.format_exc())


ACCOUNT_HEADERS = {
    "X-Account-Container-Count": "1",
    "X-Account-Object-Count": "0",
    "X-Account-Bytes-Used": "0",
    "X-Timestamp": T0,
    "X-Put-Timestamp": T0,
}
CONTAINER_HEADERS = {
    "X-Backend-Timestamp": T0,
    "X-Backend-Put-Timestamp": T0,
    "X-Backend-Delete-Timestamp": "0000000000.00000",
    "X-Backend-Status-Changed-At": T0,
    "X-Backend-Storage-Policy-Index": "0",
    "X-Container-Object-Count": "0",
    "X-Container-Bytes-Used": "0",
    "X-Timestamp": T0,
    "X-Put-Timestamp": T0,
    "X-Backend-Sharding-State": "unsharded",
}


class Cluster:
    """Backends, their script, and what they saw. `on(kind, method, reply)`: reply is a Reply, a list of them by node, or a
    function of Seen."""

    def __init__(self, nodes=6, replicas=3, policies=None, **conf):
        set_hash_config("pfx", "sfx")
        set_policies(policies or PolicyCollection([ReplicatedPolicy(0, "gold", is_default=True)]))
        set_limits(Limits())
        PROCESS_CACHE.clear()
        PROCESS_CACHE.asked("")  # opens what it keeps open
        POOL.clear()
        self.seen = []
        self.script = {}
        self.backends = [Backend(self, i) for i in range(nodes)]
        self.logger = Logger()
        self.rings = {letter: FakeRing(self, letter, replicas) for letter in "aco"}
        from swift.core.policy import policies as all_policies

        self.conf = {"node_timeout": "20", "conn_timeout": "20", "post_quorum_timeout": "0.2", **conf}
        self.app = Application(
            self.conf,
            logger=self.logger,
            account_ring=self.rings["a"],
            container_ring=self.rings["c"],
            object_rings={int(policy): self.rings["o"] for policy in all_policies()},
        )
        self.on("account", "HEAD", Reply(204, ACCOUNT_HEADERS))
        self.on("container", "HEAD", Reply(204, CONTAINER_HEADERS))

    def on(self, kind, method, reply):
        self.script[kind, method] = reply

    def reply_for(self, seen):
        reply = self.script.get((seen.kind, seen.method), Reply(404))
        if isinstance(reply, list):
            return reply[seen.node] if seen.node < len(reply) else Reply(404)
        return reply(seen) if callable(reply) else reply

    def of(self, kind, method=None):
        """What the backends saw of a kind, in order."""
        return [s for s in self.seen if s.kind == kind and method in (None, s.method)]

    def request(self, method, path, headers=None, body=b"", environ=None):
        """(status, {lower name: value}, body) of a request to the application, without a server between."""
        request = Request.blank(
            path, environ={"REQUEST_METHOD": method, **(environ or {})}, headers=headers or {}
        )
        if body or method in ("PUT", "POST") and "Transfer-Encoding" not in (headers or {}):
            request.body = body
        status, answer_headers, chunks = request.call_application(self.app)
        data = b""
        try:
            for chunk in chunks:
                data += chunk
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        names = [name.lower() for name, _ in answer_headers]
        assert len(set(names)) == len(names), names
        return int(status.split()[0]), {n.lower(): v for n, v in answer_headers}, data

    def close(self):
        POOL.clear()
        for backend in self.backends:
            backend.stop()


def mime_parts(seen):
    """(object body, metadata document headers, footers) of an upload with a footer."""
    import json

    boundary = seen.headers["x-backend-obj-multipart-mime-boundary"].encode()
    pattern = (
        rb"--%s\r\nX-Document: object body\r\n\r\n(.*)\r\n--%s\r\nX-Document: object metadata\r\n"
        rb"Content-MD5: ([0-9a-f]{32})\r\n\r\n(.*)\r\n--%s--" % (boundary, boundary, boundary)
    )
    match = re.fullmatch(pattern, seen.body, re.DOTALL)
    assert match, seen.body[:200]
    return match.group(1), match.group(2).decode(), json.loads(match.group(3))


def none_left_connected():
    """`none_left_open` with time for what ends in the background: late answers, peers that see a connection close."""
    return none_left_open(lambda: (POOL.clear(), concurrency.sleep(0.03)))
