"""One container in a sharder's cycle: what its steps have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from swift.engine.threads import DevicePool

from .. import shard_ranges
from ..shard_ranges import ShardRange
from .asking import Asking
from .figures import ShardingFigures
from .local import LocalShards, Spot
from .options import ShardingOptions

Node = Mapping[str, Any]


class Visit:
    """`found`: a Found. `index`: the device's place among the primaries of its partition, None for a handoff. `sharder`: the daemon."""

    def __init__(
        self,
        sharder: Any,
        found: Any,
        disk: DevicePool,
        device: Node,
        index: int | None,
        figures: ShardingFigures,
    ) -> None:
        self.sharder = sharder
        self.broker = found.broker
        self.path: str = found.path  # account/container
        self.is_root: bool = found.is_root
        self.root: str = found.root  # account/container, maybe its own
        self.disk = disk
        self.device = device
        self.index = index
        self.figures = figures
        self.options: ShardingOptions = sharder.options
        self.asking: Asking = sharder.asking
        self.local: LocalShards = sharder.local
        self.logger = sharder.logger
        self.reclaim_age: float = sharder.reclaim_age
        self.error: str | None = None

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """function(*args) in the threads of the container's device, and a rest of the daemon's after it."""
        return self.sharder.rests.call(self.disk.run_long, function, *args)

    def run_at(self, spot: Spot) -> Callable[..., Any]:
        """`run` for a database on another device of this node."""
        run = spot.pool(self.local.root).run_long
        return lambda function, *args: self.sharder.rests.call(run, function, *args)

    # -- what the container is

    def own(self) -> ShardRange:
        """The container's own range as it is stored now, or the default one."""
        own: ShardRange = self.run(self.broker.own_shard_range)
        return own

    def others(self) -> list[ShardRange]:
        """The other ranges, in order, without deleted ones."""
        return sorted(self.run(self.broker.other_shard_ranges), key=shard_ranges.sort_key)

    def store(self, *ranges: ShardRange) -> None:
        """Merge ranges into the container's."""
        self.run(self.broker.merge_shard_ranges, ranges)

    def state(self) -> str:
        """The database's state now."""

        def look() -> str:
            self.broker.reload_files()
            return self.broker.db_state()

        return str(self.run(look))

    @property
    def is_leader(self) -> bool:
        """See `leading`."""
        return bool(self.sharder.leading.leads(self))

    # -- replicas

    def replicate(self) -> int:
        """Bring the container's ranges to its other replicas, and theirs here; returns how many have all now, with ours."""
        results = self.sharder.replicate(self.broker.path, self.device)
        return sum(results) + (self.index is not None)

    def replicate_shard(self, spot: Spot, quorum: int) -> bool:
        """Bring a shard's database to where it belongs; returns True if `quorum` of its replicas have it then."""
        results = self.sharder.replicate_rows(spot.path, spot.device)
        return sum(results) + spot.is_own >= quorum
