"""Names of hosts turned into addresses without waiting: a look-up runs in a thread of its own, and its answer is kept.

What lives here: the last answer for one name and when to ask again. What never does: sockets, and what is sent where.
"""

from __future__ import annotations

import os
from typing import Any

from swift.core import clock
from swift.core.concurrency import raw_socket, raw_threading

FRESH_SECONDS = 60.0
RETRY_SECONDS = 1.0

Resolved = tuple[int, Any]  # address family, address as `connect` takes it


class HostAddress:
    """The address of a host: at once if it is written in numbers, else as a thread finds it out.

    IPv4 comes before IPv6, as everywhere where only one can be taken. An address that was found stays in use while it is
    asked for again.
    """

    def __init__(self, host: str, port: int, kind: int = raw_socket.SOCK_DGRAM) -> None:
        self.host = host
        self.port = port
        self.error: OSError | None = None  # of the last look-up
        self._kind = kind
        self._found: Resolved | None = None
        self._ask_at = 0.0
        self._asked_by = 0  # the process whose thread is on its way
        try:
            self._found = self._look_up(raw_socket.AI_NUMERICHOST)
            self._ask_at = float("inf")
        except OSError:
            pass

    def get(self) -> Resolved | None:
        """The address known by now, or None. Starts a look-up when it is time for one; never waits for it."""
        now = clock.monotonic()
        if now >= self._ask_at and self._asked_by != os.getpid():
            self._asked_by = os.getpid()
            self._ask_at = now + RETRY_SECONDS
            try:
                raw_threading.Thread(target=self._ask, name=f"resolve {self.host}", daemon=True).start()
            except RuntimeError:  # no thread to be had: tried again in a moment
                self._asked_by = 0
        return self._found

    def ask_again(self) -> None:
        """What was found did not work: it is looked up anew with the next `get`, though not more than once a second."""
        if self._ask_at != float("inf"):
            self._ask_at = min(self._ask_at, clock.monotonic() + RETRY_SECONDS)

    def _ask(self) -> None:
        try:
            self._found = self._look_up()
            self.error = None
            self._ask_at = clock.monotonic() + FRESH_SECONDS
        except OSError as err:
            self.error = err
            self._ask_at = clock.monotonic() + RETRY_SECONDS
        finally:
            self._asked_by = 0

    def _look_up(self, flags: int = 0) -> Resolved:
        found = raw_socket.getaddrinfo(self.host, self.port, type=self._kind, flags=flags)
        found.sort(key=lambda entry: entry[0] != raw_socket.AF_INET)
        return found[0][0], found[0][4]
