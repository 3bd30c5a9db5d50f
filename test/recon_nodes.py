"""Nodes that answer `/recon/…` with what a test says, and the rings that name them; also for recording what the reference makes of them.

What lives here: servers, rings, and cases with what their nodes answer. What never does: assertions.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from swift.ring.builder import RingBuilder

HANG, CLOSE = object(), object()
SWIFT_CONF = """[swift-hash]
swift_hash_path_suffix = changeme
[storage-policy:0]
name = gold
aliases = yellow
default = yes
[storage-policy:1]
name = silver
"""


class Node:
    """One server. `answers`: by path below /recon/, what json.dumps takes, or bytes, an int (a status), HANG, CLOSE,
    or a function of the folder that gives one of these; `server`: its header.

    A path that is not there is answered with 404.
    """

    class Place(NamedTuple):
        """Where one is."""

        ip: str
        port: int

    def __init__(self, etc: pathlib.Path, ip: str, answers: Mapping[str, Any] | None, server: str) -> None:
        self.etc = etc
        self.ip = ip
        self.answers = answers
        self.ended = threading.Event()
        handler = type("Handler", (_Handler,), {"node": self, "header": server})
        self._server = http.server.ThreadingHTTPServer((ip, 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        if answers is None:  # nobody is there, and the port is kept
            self._server.socket.close()
        else:
            threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.ended.set()
        if self.answers is not None:
            self._server.shutdown()
            self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    node: Node
    header = ""
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one write

    def version_string(self) -> str:
        return self.header

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_OPTIONS(self) -> None:
        self._answer("OPTIONS")

    def do_GET(self) -> None:
        self._answer(self.path.removeprefix("/recon/"))

    def _answer(self, name: str) -> None:
        answers = self.node.answers or {}
        answer = answers.get(name, 200 if name == "OPTIONS" else 404)
        if callable(answer):
            answer = answer(self.node.etc)
        if answer is HANG:
            self.node.ended.wait(60)
            answer = CLOSE
        if answer is CLOSE:
            self.close_connection = True
            return
        status, body = 200, b""
        if isinstance(answer, bytes):
            body = answer
        elif isinstance(answer, int):
            status, body = answer, b"" if answer == 200 else b"Invalid path"
        else:
            body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)


class Nodes:
    """The nodes of one case. `named`: by the names that the case gives them; `etc`: the folder with rings and swift.conf."""

    def __init__(self, etc: pathlib.Path) -> None:
        self.etc = etc
        self.named: dict[str, Node] = {}

    def masked(self, text: str) -> str:
        """Text with names instead of ports and folders."""
        for name, node in self.named.items():
            text = text.replace(f"{node.ip}:{node.port}", f"{node.ip}:<{name}>")
        return text.replace(str(self.etc), "<etc>")


@contextlib.contextmanager
def running(etc: pathlib.Path, case: Mapping[str, Any]) -> Iterator[Nodes]:
    """`case`: {type: [{name, ip, region, zone, policies, server, answers}]}; see Node."""
    nodes = Nodes(etc)
    etc.mkdir(parents=True, exist_ok=True)
    (etc / "swift.conf").write_text(SWIFT_CONF)
    builders = {name: RingBuilder(4, 1, 1) for name in ("account", "container", "object", "object-1")}
    try:
        for kind, hosts in case.items():
            for host in hosts:
                answers = host.get("answers", {})
                node = Node(etc, host["ip"], answers, host.get("server", f"{kind}-server/2.38.3"))
                nodes.named[host["name"]] = node
                for policy in host.get("policies", (0,)):
                    device = {
                        "region": host.get("region", 1),
                        "zone": host.get("zone", 1),
                        "ip": node.ip,
                        "port": node.port,
                        "device": "sdb1",
                        "weight": 1.0,
                    }
                    builders[f"{kind}-{policy}" if policy else kind].add_dev(device)
        for name, builder in builders.items():
            if builder.devs:
                builder.rebalance()
                builder.get_ring().save(str(etc / f"{name}.ring.gz"))
        yield nodes
    finally:
        for node in nodes.named.values():
            node.close()
