"""swift-proxy-server, swift-account-server, swift-container-server, swift-object-server.

What lives here: putting together what the floors below don't know of each other, the HTTP server and the rings' ports. What
never does: the life of processes (core/process.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from swift.core import concurrency


def make_server(
    listener: Any, app: Any, conf: Mapping[str, Any], logger: Any, on_done: Callable[..., None]
) -> Any:
    """Our HTTP server on a listening socket."""
    from swift.telemetry.shared_tables import COMPONENT
    from swift.wire.backend_tls import node_tls
    from swift.wire.guard import guarded
    from swift.wire.server import Server

    between_nodes = node_tls()  # with files that can't be used a proxy would reach nobody
    if conf[COMPONENT] == "proxy-server":
        return Server(listener, app, conf, logger, on_done)
    return Server(listener, guarded(app, conf, logger), conf, logger, on_done, door=between_nodes)


def main(section: str) -> int:
    """Runs one server command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.run.process import run_server

    return run_server(sys.argv[1:], section, make_server, _ring_ports(), _families())


def run_servers(paths: list[str], test_config: bool = False) -> int:
    """The servers of several configuration files under one parent; returns the exit status."""
    concurrency.patch()
    from swift.run import process

    return process.run_servers(
        paths, make_server, ring_ports=_ring_ports(), test_config=test_config, families=_families()
    )


def _ring_ports() -> Any:
    from swift.cli.ring_ports import RingPorts

    return RingPorts()


def _families() -> Any:
    from swift.ring.figures import RingFigures

    return RingFigures()
