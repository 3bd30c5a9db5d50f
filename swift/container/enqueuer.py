"""Rows of another storage policy than their container's go into the reconciler's queue, in databases on this node (database.md 14.7).

Lives here: which local databases those are, and how far a container's rows have been looked through. Bringing the databases to where they
belong is replication's business, working on the queue the reconciler's. What says that it blocks does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from swift.core import clock
from swift.core.hashing import hash_path, storage_directory
from swift.core.timestamp import normalize_timestamp
from swift.db.errors import DatabaseExists, DatabaseMissing
from swift.db.merge import ObjectItem
from swift.engine.durable import fsync_dir
from swift.engine.threads import pool_for

from . import misplaced
from .broker import ContainerBroker

ATTEMPTS = 5
Node = Mapping[str, Any]


class LocalQueues:
    """The queue's databases that were written to on this node. `devices`: the ring's devices of this node."""

    def __init__(self, root: str, ring: Any, devices: Sequence[Node], logger: Any, metrics: Any) -> None:
        self.root = root
        self.ring = ring
        self.devices = devices
        self.logger = logger
        self.metrics = metrics
        self.touched: dict[str, Node] = {}
        """{path of a database: its device}."""

    def add(self, container: str, entries: list[ObjectItem]) -> None:
        """Store entries durably, in the database of the queue's `container`. Raises DatabaseError, sqlite3.Error, OSError, DeviceBusy."""
        partition = self.ring.get_part(misplaced.ACCOUNT, container)
        device = self._device(partition)
        name_hash = hash_path(misplaced.ACCOUNT, container)
        device_path = os.path.join(self.root, device["device"])
        folder = os.path.join(device_path, ContainerBroker.data_directory)
        path = f"{storage_directory(folder, str(partition), name_hash)}/{name_hash}.db"
        created = pool_for(device_path).run_long(self._add, path, container, entries)
        self.metrics.increment("reconciler_db_created" if created else "reconciler_db_exists")
        self.touched[path] = device

    def _add(self, path: str, container: str, entries: list[ObjectItem]) -> bool:
        """True if the database had to be made. Blocks."""
        broker = ContainerBroker(path, account=misplaced.ACCOUNT, container=container, logger=self.logger)
        created = False
        for attempt in range(ATTEMPTS):
            try:
                broker.create(normalize_timestamp(container), 0)
                created = True
            except DatabaseExists:
                pass
            try:
                broker.merge_items(entries)
                fsync_dir(broker.directory)
                return created
            except DatabaseMissing:  # it has been brought to where it belongs, and is gone
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("not reached")

    def _device(self, partition: int) -> Node:
        """A primary of the partition if this node has one, else any of its devices."""
        own = {device["id"] for device in self.devices}
        for node in self.ring.get_part_nodes(partition):
            if node["id"] in own:
                return dict(node)
        weighty = [device for device in self.devices if device["weight"] > 0] or list(self.devices)
        return clock.choice(weighty)


def root_names(broker: ContainerBroker) -> tuple[str, str]:
    """(account, container) of a container, or of the one that it is a shard of. Blocks."""
    metadata = broker.metadata()
    quoted = metadata.get("X-Container-Sysmeta-Shard-Quoted-Root", ("", ""))[0]
    path = unquote(quoted) or metadata.get("X-Container-Sysmeta-Shard-Root", ("", ""))[0] or broker.path_name
    account, _, container = path.partition("/")
    return account, container


def enqueue(
    broker: ContainerBroker, queues: LocalQueues, info: Mapping[str, Any], count: int, run: Any
) -> int | None:
    """Put all misplaced rows of a container into the queue; the row id up to which none is left, None if nothing was to be looked at.

    `run(function, *args)`: in the threads of the container's device. Raises as LocalQueues.add.
    """
    point, several, names = run(_look, broker)
    if info["max_row"] == point:
        return None
    if not several:
        return int(info["max_row"])
    found = False
    while True:
        rows = run(broker.misplaced_since, point, count)
        if not rows:
            return point if found else int(info["max_row"])
        found = True
        by_container: dict[str, list[ObjectItem]] = {}
        for row in rows:
            name = misplaced.queue_container(row["created_at"])
            by_container.setdefault(name, []).append(misplaced.queue_entry(row, *names))
        for name, entries in by_container.items():
            queues.add(name, entries)
        point = rows[-1]["ROWID"]


def _look(broker: ContainerBroker) -> tuple[int, bool, tuple[str, str]]:
    """(the row id up to which all was looked at, True if there may be rows of several policies, the root's names). Blocks."""
    return broker.reconciler_sync(), len(broker.policy_stats()) > 1, root_names(broker)
