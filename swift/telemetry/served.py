"""What a server loop tells of a request that it has dealt with: the one argument of completion callbacks.

What never lives here: what anybody makes of it (access lines, metrics, counters).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Served:
    """A request whose response has left, or broke.

    `headers`: as the application gave them, latin-1 text; `sent`, `received`: bytes of the bodies; `error`: what ended it early, or None;
    `start`, `end`: seconds since the epoch.
    """

    __slots__ = ("end", "environ", "error", "headers", "received", "sent", "start", "status")

    def __init__(
        self,
        environ: dict[str, Any],
        status: int,
        headers: list[tuple[str, str]],
        sent: int,
        received: int,
        error: BaseException | None,
        start: float,
        end: float,
    ) -> None:
        self.environ = environ
        self.status = status
        self.headers = headers
        self.sent = sent
        self.received = received
        self.error = error
        self.start = start
        self.end = end


DoneCallback = Callable[[Served], None]
