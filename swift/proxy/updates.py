"""Which servers of the listing above a storage server is to inform of a write: its share of them (spec proxy 9.2, 13).

One share for each request, wherever that request ends up. Of a container in shards the one that has the object's name is told
(who that is, `shard_directory` knows).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swift.core.names import quote_name
from swift.core.object_headers import queue_container
from swift.core.policy import quorum_size
from swift.proxy.exchange import Exchange
from swift.proxy.routing import Node, Place, address
from swift.proxy.services import Services
from swift.wire.message import str_to_wsgi, wsgi_to_bytes


def number_of_updates(requests: int, object_quorum: int, container_replicas: int) -> int:
    """So many that any quorum of the requests informs a quorum of the container's servers (13.2)."""
    return max(quorum_size(container_replicas) + requests - object_quorum, container_replicas)


class Share:
    """What one of the requests of a write has besides the headers that all have.

    `lines`: header lines; `part`, `hosts`, `devices`: the servers of the listing above that it is to inform, as their parallel lists
    stand in the headers; '' for none. `listing`: quoted path of the container that they have, where it is not the object's own.
    """

    __slots__ = ("devices", "hosts", "lines", "listing", "part")

    def __init__(
        self, lines: bytes = b"", part: int = 0, hosts: str = "", devices: str = "", listing: str = ""
    ) -> None:
        self.lines = lines
        self.part = part
        self.hosts = hosts
        self.devices = devices
        self.listing = listing

    @property
    def addresses(self) -> list[tuple[str, str]]:
        """(`ip:port`, device) of each server to inform."""
        return list(zip(self.hosts.split(","), self.devices.split(","), strict=True)) if self.hosts else []


NOTHING = Share()

# What object servers were last told of a container: (its partition, …) → the nodes that it hung on, and the shares.
_MOST_KNOWN = 1024
_known: dict[tuple[Any, ...], tuple[Sequence[Node], Sequence[Share]]] = {}


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


def account_shares(place: Place, requests: int, replication: bool) -> list[Share]:
    """For each request of a container write which servers of its account, kept at `place`, it informs (spec 9.2)."""
    shares = []
    for nodes in _share(place.primaries, len(place.primaries), requests):
        if not nodes:
            shares.append(NOTHING)
            continue
        hosts, devices = hosts_and_devices(nodes, replication)
        text = (
            f"X-Account-Partition: {place.part}\r\nX-Account-Host: {hosts}\r\nX-Account-Device: {devices}\r\n"
        )
        shares.append(Share(text.encode("latin-1"), place.part, hosts, devices))
    return shares


def container_shares(
    services: Services,
    exchange: Exchange,
    info: Mapping[str, Any],
    requests: int,
    object_quorum: int,
    delete_at: str | None,
    shard: str | None = None,
) -> Sequence[Share]:
    """For each of the `requests` of an object write what its object server is told besides the common headers.

    `shard`: the `account/container`, native text, that lists the object, if it is not its own.
    """
    environ = exchange.environ
    replication = exchange.use_replication
    listing = ""
    if shard is None:
        part, nodes = services.containers.lookup(exchange.account, exchange.container)
    else:
        account, _, container = str_to_wsgi(shard).partition("/")
        part, nodes = services.containers.lookup(account, container)
        listing = quote_name(f"/{shard}")
    state = info["sharding_state"]
    updates = number_of_updates(requests, object_quorum, len(nodes))
    clean_queue = "HTTP_X_BACKEND_CLEAN_EXPIRING_OBJECT_QUEUE" not in environ
    key = part, state, requests, updates, clean_queue, replication, listing
    known = _known.get(key)
    if known is not None and known[0] == nodes and not delete_at:
        return known[1]
    texts, told = [], []
    for at, share in enumerate(_share(nodes, updates, requests)):
        text = hosts = devices = ""
        if share:
            hosts, devices = hosts_and_devices(share, replication)
            text = (
                f"X-Container-Partition: {part}\r\nX-Container-Host: {hosts}\r\nX-Container-Device: {devices}\r\n"
                f"X-Container-Root-Db-State: {state}\r\n"
            )
            if listing:
                text += f"X-Backend-Quoted-Container-Path: {listing[1:]}\r\n"
        if clean_queue:
            text += f"X-Backend-Clean-Expiring-Object-Queue: {'t' if at < 2 else 'f'}\r\n"
        texts.append(text)
        told.append((hosts, devices))
    if delete_at:
        _add_expirer_lines(services, exchange, texts, updates, delete_at)
    shares = [
        Share(text.encode("latin-1"), part, *who, listing) for text, who in zip(texts, told, strict=True)
    ]
    if not delete_at:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[key] = nodes, shares
    return shares


def _add_expirer_lines(
    services: Services, exchange: Exchange, texts: list[str], updates: int, delete_at: str
) -> None:
    options = services.options
    names = [wsgi_to_bytes(name or "") for name in (exchange.account, exchange.container, exchange.obj)]
    container = queue_container(options.expirer_divisor, int(delete_at), *names)
    part, nodes = services.containers.lookup(options.expirer_account, container)
    # From the other end, so that no request carries more than it must.
    for at, share in enumerate(reversed(_share(nodes, updates, len(texts)))):
        if share:
            hosts, devices = hosts_and_devices(share, exchange.use_replication)
            texts[at] += (
                f"X-Delete-At-Container: {container}\r\nX-Delete-At-Partition: {part}\r\n"
                f"X-Delete-At-Host: {hosts}\r\nX-Delete-At-Device: {devices}\r\n"
            )
