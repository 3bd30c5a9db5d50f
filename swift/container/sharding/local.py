"""The databases of shards on this node into which rows are moved, before they go to where they belong (database.md 20.7)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from swift.core.hashing import hash_path, storage_directory
from swift.core.timestamp import now_internal
from swift.db.errors import DatabaseExists
from swift.engine.threads import DevicePool, pool_for

from ..broker import ContainerBroker
from ..shard_ranges import ShardRange
from . import change

Node = Mapping[str, Any]
QUOTED_ROOT = "X-Container-Sysmeta-Shard-Quoted-Root"
ENABLED = "X-Container-Sysmeta-Sharding"


class Spot(NamedTuple):
    """Where a shard's replica is on this node. `is_own`: it belongs there, so that it counts as one of the replicas."""

    path: str
    device: Node
    is_own: bool

    def pool(self, root: str) -> DevicePool:
        """The threads of its device; `root`: of all devices."""
        return pool_for(os.path.join(root, self.device["device"]))


class LocalShards:
    """`devices()`: the ring's devices of this node."""

    def __init__(
        self, root: str, ring: Any, devices: Callable[[], Sequence[Node]], timeout: float, logger: Any
    ) -> None:
        self.root = root
        self.ring = ring
        self.devices = devices
        self.timeout = timeout
        self.logger = logger

    def spot(self, account: str, container: str) -> Spot:
        """A primary of the shard's partition if this node has one, else a device with weight, else any."""
        partition = self.ring.get_part(account, container)
        own = {device["id"]: device for device in self.devices()}
        for node in self.ring.get_part_nodes(partition):
            if node["id"] in own:
                return self._spot(partition, account, container, own[node["id"]], True)
        weighty = [device for device in own.values() if device["weight"] > 0] or list(own.values())
        # the same one in each visit, so that what was moved before is still there
        chosen = min(weighty, key=lambda device: hash_path(account, container, str(device["id"])))
        return self._spot(partition, account, container, chosen, False)

    def _spot(self, partition: int, account: str, container: str, device: Node, is_own: bool) -> Spot:
        name_hash = hash_path(account, container)
        folder = os.path.join(self.root, device["device"], ContainerBroker.data_directory)
        path = f"{storage_directory(folder, str(partition), name_hash)}/{name_hash}.db"
        return Spot(path, device, is_own)

    def open(
        self, spot: Spot, item: ShardRange, root: str, policy_index: int
    ) -> tuple[ContainerBroker, bool]:
        """(the database for a range, True if it had to be made). `root`: `account/container`. Blocks.

        Raises DatabaseError, sqlite3.Error, OSError.
        """
        account, _, container = item["name"].partition("/")
        broker = ContainerBroker(
            spot.path, account=account, container=container, timeout=self.timeout, logger=self.logger
        )
        created = False
        if not broker.exists():
            try:
                broker.create_at_epoch(item["epoch"], change.now(), policy_index)
                created = True
            except DatabaseExists:
                broker.reload_files()
        wanted = {QUOTED_ROOT: quote(root), ENABLED: "True"}
        stored = broker.metadata()
        if item["name"] != root:
            missing = {k: v for k, v in wanted.items() if stored.get(k, ("", ""))[0] != v}
            broker.update_metadata({key: (value, now_internal()) for key, value in missing.items()})
        broker.merge_shard_ranges([item])
        return broker, created
