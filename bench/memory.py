"""What servers keep in memory: idle, with many idle clients, and after many uploads.

What lives here: resident memory by kind of server. What never does: why it is kept.
"""

from __future__ import annotations

import socket
import time

from cluster import Cluster
from wrk import Run

# MB; an object server's resident memory after any number of uploads. What grows at first are bounded memories: the names of 65,536
# directories that are known to be on the disk (some 16 MB), and smaller ones.
BOUND = 80
_CLIENTS = 16
_PARTS = 5


def idle_clients(sides: list[Cluster]) -> list[str]:
    """Resident memory of a proxy that holds 1,000 idle keep-alive clients."""
    lines = []
    for side in sides:
        clients = []
        for _ in range(1000):
            sock = socket.create_connection(("127.0.0.1", side.port))
            sock.sendall(b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n")
            sock.recv(4096)
            clients.append(sock)
        time.sleep(1)
        resident = side.memory()["proxy"]
        lines.append(f"proxy with 1,000 idle keep-alive clients, {side.name}: {resident:.0f} MB resident")
        for sock in clients:
            sock.close()
    return lines


def many_uploads(side: Cluster, token: str, seconds: int) -> list[str]:
    """Resident memory of the object servers (mean) in the course of a long series of uploads of 4 KiB."""
    steps = [f"{side.memory()['object']:.0f}"]
    done = 0
    for part in range(_PARTS):
        base = "/v1/AUTH_test/written"
        result = Run(
            side.endpoint, token, "put", base, f"memory{part}", clients=_CLIENTS, seconds=seconds
        ).result()
        done += result.good
        steps.append(f"{side.memory()['object']:.0f}")
        print(f"memory after {done:,} uploads: {steps[-1]} MB", flush=True)
    last = side.memory()
    verdict = "within" if last["object"] <= BOUND else "ABOVE"
    return [
        f"object servers ({side.name}) at the start and after each fifth of {done:,} uploads: {', '.join(steps)} MB resident,"
        f" {verdict} the bound of {BOUND} MB; then container {last['container']:.0f}, account {last['account']:.0f},"
        f" proxy {last['proxy']:.0f} MB"
    ]
