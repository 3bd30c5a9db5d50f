"""The queue as a node with container servers sees it: the replicas of its containers that are here, and the changes to all of them.

Which rows are delivered when is not decided here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from swift.container.broker import ContainerBroker, is_deleted
from swift.core import clock
from swift.core.concurrency import GreenPile, GreenPool
from swift.core.hashing import hash_path, storage_directory
from swift.core.timestamp import Timestamp
from swift.db.devices import is_there
from swift.db.errors import DatabaseMissing
from swift.engine.threads import DeviceBusy, pool_for
from swift.run.addresses import is_own_device
from swift.s3.notifications import queue
from swift.s3.notifications.queue import Place
from swift.telemetry.units import handed_on
from swift.wire import direct

LOCK_TIMEOUT = 10.0
_NOTE = "X-Container-Sysmeta-S3api-Notifier"
_TIMEOUTS: dict[str, Any] = {"conn_timeout": 1.0, "response_timeout": 10.0}
Signature = tuple[Any, ...]


class Held(NamedTuple):
    """A container of the queue of which a replica may be here. `rank`: of this node among the container's."""

    place: Place
    part: int
    nodes: tuple[Mapping[str, Any], ...]
    rank: int
    device_path: str
    path: str  # of the database


class Page(NamedTuple):
    """`rows`: (name, content type) of a container, in their order; `total`: how many wait in it; `note`: who works on it (`parse_note`)."""

    rows: list[tuple[str, str]]
    total: int
    note: str


def parse_note(text: str) -> tuple[float, int]:
    """(when, rank) of the node that said last that it works on a container."""
    at, _, rank = text.partition(";")
    try:
        return float(at), int(rank)
    except ValueError:
        return 0.0, 0


class LocalQueue:
    """`ring`: of containers; `devices`: their folder; `addresses`: of this node."""

    def __init__(
        self, ring: Any, devices: str, mount_check: bool, addresses: Collection[str], logger: Any
    ) -> None:
        self.ring = ring
        self.devices = devices
        self.mount_check = mount_check
        self.addresses = addresses
        self.logger = logger
        self._mounted: dict[str, tuple[float, bool]] = {}

    # -- which containers there may be

    def held(self, place: Place) -> Iterator[Held]:
        """The replica of a container that is this node's, if one is."""
        part, nodes = self.ring.get_nodes(queue.ACCOUNT, place.container)
        for rank, node in enumerate(nodes):
            if not is_own_device(node, self.addresses, node["port"]):
                continue
            device_path = os.path.join(self.devices, node["device"])
            name = hash_path(queue.ACCOUNT, place.container)
            folder = storage_directory(ContainerBroker.data_directory, part, name)
            yield Held(
                place, part, tuple(nodes), rank, device_path, os.path.join(device_path, folder, f"{name}.db")
            )
            return

    def signatures(self, found: Iterable[Held]) -> dict[str, Signature]:
        """By path of the databases that are there: something that changes with them. One trip to each device's threads."""
        by_device: dict[str, list[str]] = {}
        for held in found:
            by_device.setdefault(held.device_path, []).append(held.path)
        signatures: dict[str, Signature] = {}
        for device_path, paths in by_device.items():
            try:
                signatures.update(
                    pool_for(device_path).run(_signatures, device_path, paths, self.mount_check)
                )
            except DeviceBusy as error:
                self.logger.error("ERROR on %s: %s", device_path, error)
        return signatures

    def read(self, held: Held, marker: str, limit: int) -> Page | None:
        """Rows behind `marker`; None for a container that is not there. Raises what reading a database raises."""
        try:
            found: Page | None = pool_for(held.device_path).run(_read, held.path, marker, limit, self.logger)
        except (DatabaseMissing, FileNotFoundError):
            return None
        return found

    # -- changes, on all nodes of a container

    def take_away(self, held: Held, names: Iterable[str]) -> bool:
        """Returns True if the rows are gone from the replica here; those that do not answer hear of it by replication."""
        body = json.dumps([queue.taken_away(name) for name in names]).encode()
        timestamp = Timestamp.now()

        def one(node: Mapping[str, Any]) -> None:
            headers = queue.update_headers(timestamp)
            direct.update_container(
                node, held.part, queue.ACCOUNT, held.place.container, headers, body, **_TIMEOUTS
            )

        return held.rank in self._on_all(held, one)

    def note(self, held: Held) -> None:
        """Tell the other nodes of a container that this one works on it."""
        headers = {
            _NOTE: f"{clock.time():.5f};{held.rank}",
            "X-Backend-No-Timestamp-Update": "true",
        }
        path = f"/{{}}/{held.part}/{queue.ACCOUNT}/{held.place.container}"
        self._on_all(
            held,
            lambda node: direct.call(
                node, "POST", path.format(node["device"]), headers, body=b"", **_TIMEOUTS
            ).drain(),
        )

    def remove(self, held: Held) -> None:
        """Remove a container of a time that is over; where rows are left in it, it stays."""

        def one(node: Mapping[str, Any]) -> None:
            direct.call(
                node,
                "DELETE",
                f"/{node['device']}/{held.part}/{queue.ACCOUNT}/{held.place.container}",
                {},
                **_TIMEOUTS,
            ).drain()

        self._on_all(held, one)

    def _on_all(self, held: Held, one: Callable[[Mapping[str, Any]], None]) -> set[int]:
        """The ranks of the nodes on which it went well."""

        def tried(rank: int, node: Mapping[str, Any]) -> int | None:
            try:
                one(node)
            except direct.DirectError as error:
                if error.http_status not in (404, 409):
                    self.logger.warning("%s: %s", held.place.container, error)
                return None
            return rank

        pile = GreenPile(GreenPool(max(1, len(held.nodes))))
        for rank, node in enumerate(held.nodes):
            pile.spawn(handed_on(tried), rank, node)
        return {rank for rank in pile if rank is not None}


def _signatures(device_path: str, paths: list[str], mount_check: bool) -> dict[str, Signature]:
    found: dict[str, Signature] = {}
    if not is_there(device_path, mount_check):
        return found
    for path in paths:
        try:
            with os.scandir(os.path.dirname(path)) as entries:
                seen = sorted((e.name, e.stat()) for e in entries if ".db" in e.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            continue  # whoever audits the device says so
        if seen:
            found[path] = tuple((name, stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in seen)
    return found


def _read(path: str, marker: str, limit: int, logger: Any) -> Page | None:
    broker = ContainerBroker(path, lock_timeout=LOCK_TIMEOUT, logger=logger)
    if not broker.exists():
        return None
    rows = broker.get_objects(limit, marker, include_deleted=False)
    info = broker.info()
    if is_deleted(info):
        return None
    metadata = {name.lower(): value for name, (value, _) in broker.metadata().items()}
    return Page(
        [(row["name"], row["content_type"]) for row in rows],
        info["object_count"],
        metadata.get(_NOTE.lower()) or "",
    )
