"""The options of [container-sharder] that say when and where containers are cut and merged (database.md 23.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swift.core.config import auto_int, non_negative_float, non_negative_int, percent, positive_int, truthy
from swift.core.errors import ConfigError

THRESHOLD = 1_000_000


@dataclass(frozen=True)
class ShardingOptions:
    """See database.md 23.5; `shard_all` is ours: containers are sharded without having been enabled."""

    threshold: int
    rows_per_shard: int
    minimum_shard_size: int
    shrink_threshold: int
    expansion_limit: int
    max_shrinking: int
    max_expanding: int
    auto_shard: bool
    shard_all: bool
    scanner_batch: int
    cleave_batch: int
    row_batch: int
    recon_sharded_timeout: float
    candidates_limit: int

    @classmethod
    def from_conf(cls, conf: Mapping[str, Any]) -> ShardingOptions:
        """Raises ValueError, ConfigError for values that contradict each other."""
        threshold = positive_int(conf.get("shard_container_threshold", THRESHOLD))
        rows = positive_int(conf.get("rows_per_shard", max(threshold // 2, 1)))
        minimum = positive_int(conf.get("minimum_shard_size", max(rows // 5, 1)))
        shrink_point = percent(conf.get("shard_shrink_point", 10))
        merge_point = percent(conf.get("shard_shrink_merge_point", 75))
        made = cls(
            threshold,
            rows,
            minimum,
            non_negative_int(conf.get("shrink_threshold", int(threshold * shrink_point))),
            non_negative_int(conf.get("expansion_limit", int(threshold * merge_point))),
            int(conf.get("max_shrinking", 1)),
            int(conf.get("max_expanding", -1)),
            truthy(conf.get("auto_shard", "false")),
            truthy(conf.get("auto_shard_all", "false")),
            positive_int(conf.get("shard_scanner_batch_size", 10)),
            positive_int(conf.get("cleave_batch_size", 2)),
            positive_int(conf.get("cleave_row_batch_size", 10000)),
            non_negative_float(conf.get("recon_sharded_timeout", 43200)),
            int(conf.get("recon_candidates_limit", 5)),
        )
        made.check()
        return made

    def check(self) -> None:
        """Raises ConfigError for values that contradict each other."""
        for smaller, larger, strict in (
            ("minimum_shard_size", "rows_per_shard", False),
            ("shrink_threshold", "minimum_shard_size", False),
            ("rows_per_shard", "threshold", True),
            ("expansion_limit", "threshold", True),
        ):
            one, other = getattr(self, smaller), getattr(self, larger)
            if one > other or (strict and one == other):
                name = "shard_container_threshold" if larger == "threshold" else larger
                sign = "<" if strict else "<="
                raise ConfigError(f"{smaller} ({one}) must be {sign} {name} ({other})")


def quorum_option(text: Any, automatic: int, replicas: int) -> int:
    """A quorum of replicas: a number, no more than there are, or `auto`. Raises ValueError."""
    return min(auto_int(text, automatic), replicas)
