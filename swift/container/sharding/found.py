"""A container as a sharder finds it when its turn comes."""

from __future__ import annotations

import os
from typing import Any

from swift.core.config import truthy
from swift.db.metadata import Metadata

from ..broker import ContainerBroker
from ..enqueuer import root_names
from ..shard_ranges import ShardRange
from ..sharded import SHARDING
from ..sync_store import SYNC_TO
from .local import ENABLED


class Found:
    """What was read of the container of `broker`; see look_at."""

    def __init__(
        self,
        broker: ContainerBroker,
        info: dict[str, Any],
        own: ShardRange,
        others: list[ShardRange],
        metadata: Metadata,
    ) -> None:
        self.broker = broker
        self.info = info
        self.path = f"{info['account']}/{info['container']}"
        self.own = own
        self.others = others
        self.enabled_text = metadata.get(ENABLED, ("", ""))[0]
        self.is_synchronised = bool(metadata.get(SYNC_TO, ("", ""))[0])  # with another cluster
        self.is_root = broker.is_root()
        self.root = "/".join(root_names(broker))
        self.file = broker.file
        self.size = os.stat(self.file).st_size

    @property
    def is_enabled(self) -> bool:
        """Sharding is enabled for the container (11.3), or was: one with two files is gone on with, whoever has said no meanwhile."""
        return truthy(self.enabled_text) or bool(self.others) or self.info["db_state"] == SHARDING

    @property
    def is_switched_off(self) -> bool:
        """Somebody has said that it is not to be sharded."""
        return self.enabled_text != "" and not truthy(self.enabled_text)

    def entry(self, index: int | None) -> dict[str, Any]:
        """What recon tells of it. `index`: the device's place among the primaries."""
        return {
            "account": self.info["account"],
            "container": self.info["container"],
            "root": self.root,
            "path": self.file,
            "node_index": index,
            "object_count": self.info["object_count"],
            "tombstones": self.own["tombstones"],
            "meta_timestamp": self.own["meta_timestamp"],
            "file_size": self.size,
        }


def look_at(broker: ContainerBroker) -> Found:
    """Read what there is. Blocks. Raises DatabaseError, sqlite3.Error, OSError."""
    info = broker.info()
    own = broker.own_shard_range()
    assert own is not None
    return Found(broker, info, own, broker.other_shard_ranges(), broker.metadata())
