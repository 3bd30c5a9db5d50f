"""python -m test.slow_clients [--clients N] [--seconds S] [--folder F]: the pace of a few quick clients beside thousands of slow ones.

A third of the slow clients never come to the end of their head (a header line every two seconds), a third bring a body at a byte in two seconds, a third
read a large object at 1 KiB in two seconds; one in eight of them asks an object server itself. Quick clients PUT and GET 4 KiB, before, beside
and after; what counts is that none of them fails, what the servers' processors work for a request, and what the processes hold. Ends with 0 if no
quick client failed, all slow ones are still there, and each of them costs less than `MOST_EACH`.
What never lives here: clients that are told to go since their places are needed (test_slow_clients.py, test_overload.py).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import os
import pathlib
import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from swift.core.hashing import load_hash_config
from swift.ring.lookup import Ring
from swift.wire import signing
from test.cluster import Cluster, sign_requests

SERVERS = ("proxy", "node1", "node2", "node3", "node4")
KINDS = ("head", "body", "read")
QUICK = 4
PAUSE = 2.0  # seconds of a slow client between two bytes
LARGE = 8 * 1024 * 1024
MOST_EACH = 256 * 1024  # bytes of memory of all processes together
MINUTE = 60.0
SETTLE = 15.0  # seconds in which buffers of the slow ones fill
GIVEN_BACK = 65.0  # seconds until a process has given back what is free


class Slow:
    """One slow client: what it sends at once, then what it does every `PAUSE` seconds until it is told to stop."""

    def __init__(self, kind: str, address: tuple[str, int], head: bytes) -> None:
        self.kind, self.address, self.head = kind, address, head
        self.is_there = False

    async def live(self, stopping: asyncio.Event) -> None:
        """Whoever is sent away for a head that takes too long comes back."""
        while not stopping.is_set():
            try:
                await self._once(stopping)
            except OSError:
                self.is_there = self.kind == "head"
            if self.kind != "head":
                return

    async def _once(self, stopping: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(sock, self.address)
            await loop.sock_sendall(sock, self.head)
            self.is_there = True
            while not stopping.is_set():
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(stopping.wait(), PAUSE)
                if self.kind == "read":
                    if not await asyncio.wait_for(loop.sock_recv(sock, 1024), MINUTE):
                        raise ConnectionResetError("it ended")
                    continue
                await loop.sock_sendall(sock, b"X-A: b\r\n" if self.kind == "head" else b"b")
                with contextlib.suppress(BlockingIOError):
                    sock.recv(1024)
                    raise ConnectionResetError("an answer is the end")


class Crowd(threading.Thread):
    """Slow clients in a thread of their own. Use as a context manager: they go with it."""

    def __init__(self, clients: list[Slow]) -> None:
        super().__init__(daemon=True)
        self.clients = clients
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()

    def run(self) -> None:
        self._loop.run_until_complete(self._all())

    async def _all(self) -> None:
        await asyncio.gather(
            *(client.live(self._stopping) for client in self.clients), return_exceptions=True
        )

    @property
    def there(self) -> int:
        return sum(client.is_there for client in self.clients)

    def __enter__(self) -> Crowd:
        self.start()
        end = time.monotonic() + MINUTE
        while self.there < len(self.clients) and time.monotonic() < end:
            time.sleep(0.1)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self.join(2 * MINUTE)


class Used(NamedTuple):
    """Of all servers together: seconds of processors, resident bytes that are their own, descriptors."""

    seconds: float
    memory: int
    descriptors: int


def used(cluster: Cluster) -> Used:
    seconds, memory, descriptors = 0.0, 0, 0
    for pid in {pid for name in SERVERS for pid in cluster.pids(name)}:
        process = pathlib.Path(f"/proc/{pid}")
        words = (process / "stat").read_text().rpartition(")")[2].split()
        seconds += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        pages = (process / "statm").read_text().split()
        memory += (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")
        descriptors += len(os.listdir(process / "fd"))
    return Used(seconds, memory, descriptors)


class Quick(threading.Thread):
    """PUT and GET of 4 KiB in turns until it is told to stop."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        super().__init__(daemon=True)
        self.cluster, self.number = cluster, number
        self.done, self.stopping = 0, False
        self.failures: list[str] = []
        self.times: list[float] = []

    def run(self) -> None:
        layout, body = self.cluster.layout, os.urandom(4096)
        connection = http.client.HTTPConnection(layout.ip, layout.port, timeout=2 * MINUTE)
        while not self.stopping:
            for method, wanted in (("PUT", 201), ("GET", 200)):
                began = time.monotonic()
                try:
                    path = f"/v1/AUTH_test/quick/{self.number}-{self.done % 100}"
                    connection.request(
                        method, path, body if method == "PUT" else None, {"X-Auth-Token": self.cluster.token}
                    )
                    answer = connection.getresponse()
                    content = answer.read()
                    if answer.status != wanted or (method == "GET" and content != body):
                        self.failures.append(f"{method}: {answer.status}")
                except (OSError, http.client.HTTPException) as err:
                    self.failures.append(f"{method}: {err!r}")
                    connection.close()
                self.times.append(time.monotonic() - began)
            self.done += 1
        connection.close()


def paced(cluster: Cluster, seconds: float, what: str) -> tuple[Used, list[str]]:
    """Has quick clients ask for so long, and tells of it; what the servers hold then, and what failed."""
    clients = [Quick(cluster, number) for number in range(QUICK)]
    before = used(cluster)
    for client in clients:
        client.start()
    time.sleep(seconds)
    for client in clients:
        client.stopping = True
    for client in clients:
        client.join(5 * MINUTE)
    after = used(cluster)
    times = sorted(second for client in clients for second in client.times)
    failures = [failure for client in clients for failure in client.failures]
    print(
        f"{what}: {len(times) / seconds:.0f} requests a second, {(after.seconds - before.seconds) / len(times) * 1000:.2f} ms of processors each,"
        f" p99 {times[len(times) * 99 // 100] * 1000:.0f} ms, {len(failures)} failed; memory {after.memory / 2**20:.0f} MiB, {after.descriptors} descriptors",
        flush=True,
    )
    return after, failures


def crowd(cluster: Cluster, count: int, kinds: Sequence[str]) -> list[Slow]:
    layout, token = cluster.layout, f"X-Auth-Token: {cluster.token}\r\n".encode()
    assert cluster.request("PUT", "/quick").status in (201, 202)
    assert cluster.request("PUT", "/quick/large", os.urandom(LARGE)).status == 201
    load_hash_config(str(layout.etc))
    part, nodes = Ring(str(layout.etc), "object").get_nodes("AUTH_test", "quick", "large")
    place, node = (
        f"/{nodes[0]['device']}/{part}/AUTH_test/quick/large".encode(),
        (nodes[0]["ip"], nodes[0]["port"]),
    )
    sign_requests()
    inner = b"GET %s HTTP/1.1\r\nHost: h\r\nX-Backend-Storage-Policy-Index: 0\r\n" % place
    upload = b"PUT /v1/AUTH_test/quick/slow-%d HTTP/1.1\r\nHost: h\r\n%sContent-Length: 100000\r\n\r\n"
    made = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        if number % 8 == 0 and kind != "body":
            head = inner if kind == "head" else signing.finished(inner, b"")
            made.append(Slow(kind, node, head))
        elif kind == "head":
            made.append(
                Slow(kind, (layout.ip, layout.port), b"GET /v1/AUTH_test/quick HTTP/1.1\r\nHost: h\r\n")
            )
        elif kind == "body":
            made.append(Slow(kind, (layout.ip, layout.port), upload % (number, token)))
        else:
            head = b"GET /v1/AUTH_test/quick/large HTTP/1.1\r\nHost: h\r\n%s\r\n" % token
            made.append(Slow(kind, (layout.ip, layout.port), head))
    return made


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m test.slow_clients", description=__doc__)
    parser.add_argument("--clients", type=int, default=3000)
    parser.add_argument(
        "--kinds", type=lambda text: text.split(","), default=list(KINDS), help="of slow clients"
    )
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--folder", default=None, help="where the cluster is made")
    args = parser.parse_args(argv)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with (
        tempfile.TemporaryDirectory(dir=args.folder, prefix="slow-") as folder,
        Cluster(pathlib.Path(folder) / "saio") as cluster,
    ):
        clients = crowd(cluster, args.clients, args.kinds)
        paced(cluster, args.seconds, "warming up")
        before, failures = paced(cluster, args.seconds, "before")
        with Crowd(clients) as slow:
            time.sleep(SETTLE)
            beside, failed = paced(cluster, args.seconds, f"beside {slow.there} slow ones")
            left = slow.there
        failures += failed
        time.sleep(GIVEN_BACK)
        after, failed = paced(cluster, args.seconds, "after")
        failures += failed
    each = (beside.memory - before.memory) / args.clients
    print(
        f"a slow client costs {each / 1024:.0f} KiB and {(beside.descriptors - before.descriptors) / args.clients:.1f} descriptors"
    )
    print(
        f"{left} of {args.clients} were there to the end; {after.memory / 2**20:.0f} MiB are left of them; failed: {failures[:5]}"
    )
    return 1 if failures or left < args.clients or each > MOST_EACH else 0


if __name__ == "__main__":
    sys.exit(main())
