"""Ports of loopback for tests, such that no two test processes of a machine ever take the same one.

All lie below those that the kernel gives to connections: a connection to a server that has not started yet may get the very
port that it goes to, and then it has reached itself. What never lives here: listening on them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

LOWEST, HIGHEST, BLOCK = 10_000, 32_000, 100
NODES = (1, 2, 3, 4)
_held: dict[int, socket.socket] = {}  # first port of a block of ours → what shows others that it is
_singles: list[int] = []


def free_port() -> int:
    """A port of 127.0.0.1 where nobody listens; never the same one twice as long as there are others."""
    while True:
        if not _singles:
            base = next(_blocks())
            _singles.extend(range(base + BLOCK - 1, base - 1, -1))
        port = _singles.pop()
        if is_free("127.0.0.1", port):
            return port


def free_ports() -> tuple[int, int]:
    """(a free port for the proxy, the first of a free range for the storage servers); never the same ones twice, as above.

    The nine ports after the proxy's are free, too; those of node n are at 127.0.0.n, 10 n above the first of the range.
    """
    for base in _blocks():
        fronts = [("127.0.0.1", base + number) for number in range(10)]
        nodes = [(f"127.0.0.{node}", base + 10 * node + offset) for node in NODES for offset in range(3)]
        if all(is_free(*address) for address in fronts + nodes):
            return base, base
    raise AssertionError("no end")


def is_free(ip: str, port: int) -> bool:
    """True if nobody listens there."""
    with socket.socket() as probe:
        try:
            probe.bind((ip, port))
        except OSError:
            return False
    return True


def _blocks() -> Iterator[int]:
    """Blocks that no other process has; once there are no more, those of this one again."""
    bases = range(LOWEST, HIGHEST, BLOCK)
    first = os.getpid() % len(bases)
    for base in (*bases[first:], *bases[:first]):
        if base not in _held and _hold(base):
            yield base
    while True:
        yield from list(_held)


def _hold(base: int) -> bool:
    """Takes a block for as long as this process lives; children don't inherit it."""
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        mark.bind(f"\0swift-test-ports-{base}")
    except OSError:
        mark.close()
        return False
    _held[base] = mark
    return True
