"""What a builder can tell about its tables: dispersion per tier, parts per device, and whether they are sound.

Spec ring 7.9, 7.11, 10.7, 10.9. Reads the tables; of the state it changes only the cached dispersion.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swift.ring import balance
from swift.ring.errors import RingBuilderError, RingValidationError

if TYPE_CHECKING:
    from swift.ring.builder_file import BuilderState


@dataclass(frozen=True)
class TierDispersion:
    """One line of the dispersion table (7.9). ``counts[i]``: parts with exactly i replicas in the tier."""

    tier: tuple
    name: str
    placed: int
    percent: float
    max_replicas: int
    counts: list[int]


@dataclass(frozen=True)
class DispersionReport:
    """``worst`` is None when no tier is over its maximum; ``rebuilt``: the cache was computed anew, version + 1."""

    dispersion: float
    tiers: list[TierDispersion]
    worst: TierDispersion | None
    rebuilt: bool


def dispersion_report(state: BuilderState, pattern: str | None, recalculate: bool) -> DispersionReport:
    """RingBuilderError when never rebalanced; re.error for a bad pattern."""
    if not state.rows:
        raise RingBuilderError("The builder is not rebalanced yet. Please rebalance first.")
    matcher = re.compile(pattern or "")
    limits = balance.max_replicas(balance.TierTree.of(state.devs), state.replicas)
    rebuilt = recalculate or not state.dispersion_graph or state.dispersion is None
    if rebuilt:
        from swift.ring.dispersion import measure_dispersion

        measured = measure_dispersion(state.devs, state.rows, state.parts, state.replicas, limits)
        state.dispersion_graph, state.dispersion = measured.graph, measured.percent
        state.version += 1
    tiers = []
    for tier, counts in sorted(state.dispersion_graph.items()):
        name = tier_name(state, tier)
        if matcher.match(name):
            tiers.append(_line(tier, name, counts, int(limits.get(tier, 0))))
    worst = max(tiers, key=lambda line: line.percent, default=None)
    assert state.dispersion is not None
    return DispersionReport(state.dispersion, tiers, worst if worst and worst.percent > 0 else None, rebuilt)


def _line(tier: tuple, name: str, counts: list[int], limit: int) -> TierDispersion:
    placed = sum(i * count for i, count in enumerate(counts))
    over = sum((i - limit) * count for i, count in enumerate(counts) if i > limit)
    return TierDispersion(tier, name, placed, 100.0 * over / placed if placed else 0.0, limit, counts)


def tier_name(state: BuilderState, tier: tuple) -> str:
    """``r1``, ``r1z2``, ``r1z2-10.0.0.1``, ``r1z2-10.0.0.1/sda``; a hole is called ``IDd<id>``."""
    name = f"r{tier[0]}"
    if len(tier) > 1:
        name += f"z{tier[1]}"
    if len(tier) > 2:
        name += f"-{tier[2]}"
    if len(tier) > 3:
        dev = state.devs[tier[3]] if tier[3] < len(state.devs) else None
        name += f"/{dev['device'] if dev else f'IDd{tier[3]}'}"
    return name


def part_counts(state: BuilderState, ids: Collection[int]) -> list[tuple[int, int]]:
    """(part, replicas on these devices), most first; equals in the order in which the tables name them."""
    counts: dict[int, int] = {}
    for row in state.rows or ():
        for part, dev_id in enumerate(row):
            if dev_id in ids:
                counts[part] = counts.get(part, 0) + 1
    return sorted(counts.items(), key=lambda item: -item[1])


def check_tables(state: BuilderState) -> None:
    """Every part has its replicas, on devices that exist and differ; RingValidationError names the first that hasn't."""
    import numpy as np

    assert state.rows
    wanted = math.ceil(state.replicas)
    exists = np.array([dev is not None for dev in state.devs] + [False])
    # the rows that there are: set_replicas takes effect at the next rebalance, until then a ring is as valid as before
    table = np.full((len(state.rows), state.parts), len(state.devs), dtype=np.int64)
    lacking = np.zeros(table.shape, dtype=bool)
    for replica, entries in enumerate(state.rows):
        row = np.frombuffer(entries, dtype=f"u{entries.itemsize}")
        length = len(row)
        table[replica, :length] = np.minimum(row, len(state.devs))
        lacking[replica, :length] = ~exists[table[replica, :length]]
        lacking[replica, length:] = replica + 1 < wanted
    twice = np.zeros(state.parts, dtype=bool)
    for later in range(1, len(table)):
        for earlier in range(later):
            twice |= (table[later] == table[earlier]) & exists[table[later]]
    bad = np.flatnonzero(lacking.any(axis=0) | twice)
    if not len(bad):
        return
    part = int(bad[0])
    if lacking[:, part].any():
        replica = int(lacking[:, part].argmax())
        raise RingValidationError(f"Partition {part}, replica {replica} was not allocated to a device.")
    found = [row[part] for row in state.rows if part < len(row)]
    raise RingValidationError(f"The partition {part} has been assigned to duplicate devices {found!r}")
