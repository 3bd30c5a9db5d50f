"""An address has one server: whoever starts at an address where somebody listens already is refused.

SO_REUSEPORT, which our workers use among themselves, would let a second server in unnoticed, and the kernel would share
the connections out between both: requests of one cluster would reach another's servers.

What lives here: the look before the bind, and that two starts at the same moment take turns. What never does: sockets
that serve.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from swift.core import clock
from swift.core.concurrency import raw_socket

TURN_SECONDS = 5.0
_TURN = "\0swift-store-binds"  # an abstract name: gone with the process, and one for each network namespace, as ports are


def is_in_use(ip: str, port: int) -> bool:
    """Returns True if somebody listens at the address, at all addresses of the port, or at one of those that `ip` stands for.

    Nothing listens meanwhile, so that no client comes upon the look. Raises OSError if nobody could bind to it.
    """
    family = raw_socket.AF_INET6 if ":" in ip else raw_socket.AF_INET
    with raw_socket.socket(family, raw_socket.SOCK_STREAM | raw_socket.SOCK_CLOEXEC) as sock:
        sock.setsockopt(raw_socket.SOL_SOCKET, raw_socket.SO_REUSEADDR, 1)
        try:
            sock.bind((ip, port))
        except OSError as err:
            if err.errno == errno.EADDRINUSE:
                return True
            raise
    return False


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Between the look and the bind nobody else looks; blocks for five seconds at most, then goes on without."""
    give_up = clock.monotonic() + TURN_SECONDS
    with raw_socket.socket(raw_socket.AF_UNIX, raw_socket.SOCK_DGRAM | raw_socket.SOCK_CLOEXEC) as mine:
        while clock.monotonic() < give_up:
            try:
                mine.bind(_TURN)
                break
            except OSError as err:
                if err.errno != errno.EADDRINUSE:
                    break  # no such names here: two starts at the same moment may then miss each other
            clock.sleep(0.01)
        yield
