"""Telling a service manager, and `swift-reload`, what a server's main process is doing.

Spec: operations.md 4.4.
"""

from __future__ import annotations

import os
from typing import Any

from swift.core.concurrency import raw_socket

READY, RELOADING, STOPPING = b"READY=1", b"RELOADING=1", b"STOPPING=1"


def reload_address(pid: int) -> str:
    """The abstract socket on which somebody may wait for the news of a process."""
    return f"\0swift-notifications\0{pid}"


def notify(message: bytes, logger: Any = None) -> None:
    """Sends `message` to whoever waits for it: our reload command and $NOTIFY_SOCKET. Never raises."""
    targets = [reload_address(os.getpid())]
    manager = os.environ.get("NOTIFY_SOCKET")
    if manager:
        targets.append("\0" + manager[1:] if manager.startswith("@") else manager)
    for target in targets:
        try:
            with raw_socket.socket(
                raw_socket.AF_UNIX, raw_socket.SOCK_DGRAM | raw_socket.SOCK_CLOEXEC
            ) as sock:
                sock.setblocking(False)
                sock.connect(target)
                sock.send(message)
        except ConnectionRefusedError:
            pass
        except OSError:
            if logger is not None:
                logger.debug("Systemd notification failed", exc_info=True)
