"""Clients that write, change, delete and read objects without a pause, and remember what they were promised.

What lives here: who asks what, and what was not as promised. What never does: faults, and what they are to lead to.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

SIZES = (0, 100, 4096, 70_000, 300_000)
NAMES_EACH = 12


class Client(threading.Thread):
    """One after the other, of names that are its own: so it knows what it must read. `failures`: what was not so."""

    def __init__(self, addresses: Sequence[tuple[str, int]], token: str, container: str, number: int) -> None:
        super().__init__()
        self.addresses, self.token, self.container = addresses, token, container
        self.random = random.Random(f"{container} {number}")
        self.names = [f"{number}-{name}" for name in range(NAMES_EACH)]
        self.bodies: dict[str, bytes | None] = {}
        self.metas: dict[str, str] = {}
        self.failures: list[str] = []
        self.done = 0
        self.stopping = False
        self._connections: dict[tuple[str, int], http.client.HTTPConnection] = {}

    def run(self) -> None:
        while not self.stopping:
            self.step()
            self.done += 1
        for connection in self._connections.values():
            connection.close()

    def step(self) -> None:
        """One change, and one look at it; through any of the proxies each."""
        name = self.random.choice(self.names)
        there = self.bodies.get(name) is not None
        kind = self.random.choice(("PUT", "PUT", "POST", "DELETE", "GET") if there else ("PUT", "GET"))
        if kind == "PUT":
            body = self.random.randbytes(self.random.choice(SIZES))
            if self.ask("PUT", name, body, {"X-Object-Meta-A": "put"}, (201,)):
                self.bodies[name], self.metas[name] = body, "put"
        elif kind == "POST":
            meta = str(self.random.random())
            if self.ask("POST", name, None, {"X-Object-Meta-A": meta}, (202,)):
                self.metas[name] = meta
        elif kind == "DELETE" and self.ask("DELETE", name, None, {}, (204,)):
            self.bodies[name] = None
        self.look(name)

    def look(self, name: str, newest: bool = True) -> None:
        """What the name has is what it must have. `newest`: also of a copy that is not yet as the others are."""
        body = self.bodies.get(name)
        wanted = (404,) if body is None else (200,)
        answer = self.ask("GET", name, None, {"X-Newest": "true"} if newest else {}, wanted)
        if not answer or body is None:
            return
        if answer[1] != body:
            self.failures.append(f"GET {name}: other content, {len(answer[1])} bytes for {len(body)}")
        if answer[0].get("X-Object-Meta-A") != self.metas[name]:
            self.failures.append(f"GET {name}: {answer[0].get('X-Object-Meta-A')} for {self.metas[name]}")

    def ask(
        self, method: str, name: str, body: bytes | None, headers: dict[str, str], wanted: tuple[int, ...]
    ) -> tuple[Any, bytes] | None:
        """(headers, body) of the answer; None if it was not one that is wanted."""
        address = self.random.choice(list(self.addresses))
        try:
            connection = self._connections.get(address)
            if connection is None:
                connection = self._connections[address] = http.client.HTTPConnection(*address, timeout=60)
            path = f"/v1/AUTH_test{self.container}/{name}"
            connection.request(method, path, body, {"X-Auth-Token": self.token, **headers})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as err:
            self._connections.pop(address, None)
            self.failures.append(f"{method} {name} by {address}: {err!r}")
            return None
        if answer.status not in wanted:
            self.failures.append(
                f"{time.time():.3f} {method} {name} by {address}: {answer.status} for {wanted}, "
                f"{answer.headers.get('X-Trans-Id')} {content[:100]!r}"
            )
            return None
        return answer.headers, content


class Load:
    """Clients of several containers. `rest(operations)`: returns when each of them has done so many more."""

    def __init__(
        self, addresses: Sequence[tuple[str, int]], token: str, containers: Sequence[str], each: int = 2
    ) -> None:
        self.clients = [
            Client(addresses, token, container, number) for container in containers for number in range(each)
        ]

    def failures(self) -> list[str]:
        return [failure for client in self.clients for failure in client.failures]

    def rest(self, operations: int = 5, seconds: float = 0.0) -> None:
        """At least so many seconds, too. Raises AssertionError at the first failure."""
        end = time.monotonic() + seconds
        marks = [client.done + operations for client in self.clients]
        give_up = time.monotonic() + seconds + 120
        while True:
            failures = self.failures()
            assert not failures, failures[:5]
            busy = any(client.done < mark for client, mark in zip(self.clients, marks, strict=True))
            if not busy and time.monotonic() >= end:
                return
            assert time.monotonic() < give_up, "the clients hang"
            time.sleep(0.05)

    def check(self) -> None:
        """All that is there is as it must be, whichever copy is asked. To be called when the clients have ended."""
        for client in self.clients:
            for name in client.names:
                client.look(name, newest=False)
        assert not self.failures(), self.failures()[:5]

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """They work while the body does."""
        for client in self.clients:
            client.start()
        try:
            yield self
            self.rest()
        finally:
            for client in self.clients:
                client.stopping = True
            for client in self.clients:
                client.join()
