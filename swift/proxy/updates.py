"""Which container servers an object server is to inform: lines of object writes (spec proxy 13).

One set of lines for each request, wherever that request ends up. Containers in shards: the object's own container is told
as long as nobody looks the shard up; its server passes the row on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from swift.core.config import truthy
from swift.core.hashing import hash_path
from swift.core.policy import quorum_size
from swift.proxy.routing import Node, address
from swift.wire.message import wsgi_to_bytes

if TYPE_CHECKING:
    from swift.proxy.app import Application
    from swift.proxy.exchange import Exchange


def number_of_updates(requests: int, object_quorum: int, container_replicas: int) -> int:
    """So many that any quorum of the requests informs a quorum of the container's servers (13.2)."""
    return max(quorum_size(container_replicas) + requests - object_quorum, container_replicas)


def expirer_container(divisor: int, delete_at: int, account: bytes, container: bytes, obj: bytes) -> str:
    """The name of the container in which the expiry of an object is queued (13.3)."""
    spread = int(hash_path(account, container, obj), 16) % 100
    return f"{max(delete_at // divisor * divisor - spread, 0):010d}"


def _share(nodes: Sequence[Node], updates: int, requests: int) -> list[list[Node]]:
    """Which nodes each request informs."""
    shares: list[list[Node]] = [[] for _ in range(requests)]
    for at in range(updates):
        shares[at % requests].append(nodes[at % len(nodes)])
    return shares


def hosts_and_devices(nodes: Sequence[Node], replication: bool) -> tuple[str, str]:
    """The parallel lists of an update header pair."""
    hosts = []
    for node in nodes:
        ip, port = address(node, replication)
        hosts.append(f"{ip}:{port}")
    return ",".join(hosts), ",".join([node["device"] for node in nodes])


def update_lines(
    app: Application,
    exchange: Exchange,
    info: Mapping[str, Any],
    requests: int,
    object_quorum: int,
    delete_at: str | None,
) -> list[bytes]:
    """For each of `requests` the header lines that its object server gets besides the common ones."""
    environ = exchange.environ
    replication = truthy(environ.get("HTTP_X_BACKEND_USE_REPLICATION_NETWORK"))
    part, nodes = app.container_nodes_of(exchange.account, exchange.container)
    state = info["sharding_state"]
    updates = number_of_updates(requests, object_quorum, len(nodes))
    clean_queue = "HTTP_X_BACKEND_CLEAN_EXPIRING_OBJECT_QUEUE" not in environ
    lines = []
    for at, share in enumerate(_share(nodes, updates, requests)):
        text = ""
        if share:
            hosts, devices = hosts_and_devices(share, replication)
            text = (
                f"X-Container-Partition: {part}\r\nX-Container-Host: {hosts}\r\nX-Container-Device: {devices}\r\n"
                f"X-Container-Root-Db-State: {state}\r\n"
            )
        if clean_queue:
            text += f"X-Backend-Clean-Expiring-Object-Queue: {'t' if at < 2 else 'f'}\r\n"
        lines.append(text)
    if delete_at:
        _add_expirer_lines(app, exchange, lines, updates, delete_at, replication)
    return [text.encode("latin-1") for text in lines]


def _add_expirer_lines(
    app: Application, exchange: Exchange, lines: list[str], updates: int, delete_at: str, replication: bool
) -> None:
    names = [wsgi_to_bytes(name or "") for name in (exchange.account, exchange.container, exchange.obj)]
    container = expirer_container(app.options.expirer_divisor, int(delete_at), *names)
    part, nodes = app.container_nodes_of(app.options.expirer_account, container)
    # From the other end, so that no request carries more than it must.
    for at, share in enumerate(reversed(_share(nodes, updates, len(lines)))):
        if share:
            hosts, devices = hosts_and_devices(share, replication)
            lines[at] += (
                f"X-Delete-At-Container: {container}\r\nX-Delete-At-Partition: {part}\r\n"
                f"X-Delete-At-Host: {hosts}\r\nX-Delete-At-Device: {devices}\r\n"
            )
