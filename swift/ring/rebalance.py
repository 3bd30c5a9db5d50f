"""One rebalance of a builder's state, and what it would change: plan, placement, bookkeeping (spec ring 7.10, 8).

Which device gets what is decided in ``placement`` (first time) and ``movement`` (later).
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from swift.core import clock
from swift.ring import balance
from swift.ring.devices import Device
from swift.ring.format import TYPECODE, id_width

if TYPE_CHECKING:
    import numpy as np

    from swift.ring.builder_file import BuilderState

Progress = Callable[[str, float], None]  # (what is being done, fraction done 0..1)
_QUIET_FOR = 1.0  # seconds before progress is told
_PROGRESS_EVERY = 0.1


class RebalanceResult(NamedTuple):
    """moved: part-replicas (7.10, all entries counted); balance: percent (7.8); removed: number of devices dropped."""

    moved: int
    balance: float
    removed: int


@dataclass(frozen=True)
class DeviceFlow:
    """Part-replicas that one device gains and loses, and what it holds before and after."""

    dev: Device
    before: int
    after: int
    gained: int
    lost: int


@dataclass(frozen=True)
class RebalancePreview:
    """A rebalance that was not made. ``flows``: devices that change, by id; ``tier_flows``: (from, to) names of zones
    (``r1z2``; from ``new``: an additional replica) → part-replicas; ``dispersion``: after it."""

    result: RebalanceResult
    dispersion: float
    flows: list[DeviceFlow]
    tier_flows: dict[tuple[str, str], int]


def row_lengths(parts: int, replicas: float) -> list[int]:
    """Entries of each row: whole rows, and a last one for the fraction."""
    whole = math.floor(replicas)
    return [parts] * whole + ([int(parts * (replicas - whole))] if replicas > whole else [])


def _throttled(progress: Progress | None) -> Progress:
    if progress is None:
        return lambda what, done: None
    told = clock.monotonic() + _QUIET_FOR - _PROGRESS_EVERY

    def tell(what: str, done: float) -> None:
        nonlocal told
        now = clock.monotonic()
        if now - told >= _PROGRESS_EVERY:
            told = now
            progress(what, done)

    return tell


def rebalance(
    state: BuilderState, seed: str | None, progress: Progress | None, max_moves: int | None = None
) -> RebalanceResult:
    """Change tables, ages, ``parts`` and figures of ``state``, whose ages are up to date. Its devices are changed in
    place, everything else is replaced. Removed devices hold nothing afterwards, but are still listed."""
    import numpy as np

    from swift.ring.dispersion import measure_dispersion
    from swift.ring.placement import first_placement

    tell = _throttled(progress)
    tell("planning", 0.0)
    removed = {dev["id"] for dev in state.removed}
    devs = [None if dev is None or dev["id"] in removed else dev for dev in state.devs]
    lengths = row_lengths(state.parts, state.replicas)
    seed = seed if seed is not None else f"{state.id} {state.version}"
    kept = _kept(state, lengths)
    plan = balance.make_plan(devs, state.parts, state.replicas, state.overload, kept)
    tell("placing partitions", 0.2)
    width = max(id_width(len(devs) - 1), state.rows[0].itemsize if state.rows else 2)
    if state.rows is None:
        rows = first_placement(plan, lengths, seed)
        moved_parts = np.ones(state.parts, dtype=bool)
        moved = sum(lengths)
    else:
        rows, moved_parts, moved = _move(state, plan, devs, lengths, seed, max_moves, tell)
    tell("measuring dispersion", 0.9)
    state.rows = [array(TYPECODE[width], row.astype(f"u{width}").tobytes()) for row in rows]
    ages = np.frombuffer(state.ages, dtype=np.uint8).copy()
    ages[moved_parts] = 0
    state.ages = array("B", ages.tobytes())
    _count(state, plan, rows)
    limits = balance.max_replicas(plan.tree, state.replicas)
    measured = measure_dispersion(devs, state.rows, state.parts, state.replicas, limits)
    state.dispersion_graph, state.dispersion = measured.graph, measured.percent
    state.devs_changed = False
    state.version += 1
    part_weight = balance.weight_of_one_part(devs, state.parts, state.replicas)
    worst = max(abs(balance.device_balance(dev, part_weight)) for dev in devs if dev is not None)
    return RebalanceResult(moved, worst, len(removed))


def _kept(state: BuilderState, lengths: Sequence[int]) -> dict[int, int] | None:
    """Parts per device that stay after rows are cut to their new lengths."""
    if state.rows is None:
        return None
    import numpy as np

    counts = np.zeros(len(state.devs) + 1, dtype=np.int64)
    for row, length in zip(state.rows, lengths, strict=False):
        ids = np.frombuffer(row, dtype=f"u{row.itemsize}")[:length]
        counts += np.bincount(np.minimum(ids, len(state.devs)), minlength=len(counts))
    return dict(enumerate(counts.tolist()))


def _move(
    state: BuilderState,
    plan: balance.Plan,
    devs: Sequence[Device | None],
    lengths: Sequence[int],
    seed: str,
    max_moves: int | None,
    tell: Progress,
) -> tuple[list[np.ndarray], np.ndarray, int]:
    """(new rows, which parts changed, how many entries did)."""
    import numpy as np

    from swift.ring.movement import Mover

    assert state.rows is not None
    none = len(devs)
    table = np.full((len(lengths), state.parts), none, dtype=np.int32)
    for row, own, length in zip(state.rows, table, lengths, strict=False):
        count = min(len(row), length)
        own[:count] = np.minimum(np.frombuffer(row, dtype=f"u{row.itemsize}")[:count], none)
    usable = np.array([dev is not None for dev in devs] + [False])
    table[~usable[table]] = none
    before = table.copy()
    # what a rebalance has to fill: removed devices' entries and new ones, but not what lies beyond a short row
    lacking = table == none
    for own, length in zip(lacking, lengths, strict=True):
        own[length:] = False
    forced_rows, forced_parts = np.nonzero(lacking)
    movable = np.frombuffer(state.ages, dtype=np.uint8) >= state.min_part_hours
    Mover(plan, devs, table, movable, seed, max_moves, tell).run(forced_parts, forced_rows)
    changed = table != before
    rows = [own[:length] for own, length in zip(table, lengths, strict=True)]
    return rows, changed.any(axis=0), int(changed.sum())


def _count(state: BuilderState, plan: balance.Plan, rows: Sequence[np.ndarray]) -> None:
    import numpy as np

    counts = sum(np.bincount(row, minlength=len(state.devs)) for row in rows).tolist()  # type: ignore[union-attr]
    for dev in state.devs:
        if dev is not None:
            dev["parts"] = counts[dev["id"]]
            if dev["weight"]:
                dev["parts_wanted"] = plan.quota[dev["id"]] - dev["parts"]
            else:
                dev["parts_wanted"] = -state.parts * state.replicas


def preview(before: BuilderState, after: BuilderState, result: RebalanceResult) -> RebalancePreview:
    """What changed between two states of a builder."""
    import numpy as np

    devs: list[Any] = [
        old if old is not None else new
        for old, new in zip(
            before.devs, after.devs + [None] * (len(before.devs) - len(after.devs)), strict=True
        )
    ]
    none = len(devs)
    gained, lost = Counter[int](), Counter[int]()
    held_before, held_after = Counter[int](), Counter[int]()
    zones: Counter[tuple[str, str]] = Counter()
    names = [dev and f"r{dev['region']}z{dev['zone']}" for dev in devs] + ["new"]
    old_rows = _widened(before.rows or [], none)
    new_rows = _widened(after.rows or [], none)
    for index in range(max(len(old_rows), len(new_rows))):
        old = old_rows[index] if index < len(old_rows) else np.empty(0, dtype=np.int64)
        new = new_rows[index] if index < len(new_rows) else np.empty(0, dtype=np.int64)
        held_before.update(_counted(old))
        held_after.update(_counted(new))
        length = max(len(old), len(new))
        old = np.concatenate([old, np.full(length - len(old), none)])
        new = np.concatenate([new, np.full(length - len(new), none)])
        changed = old != new
        lost.update(_counted(old[changed]))
        gained.update(_counted(new[changed]))
        pairs, times = np.unique(np.stack([old[changed], new[changed]]), axis=1, return_counts=True)
        for (source, target), count in zip(pairs.T.tolist(), times.tolist(), strict=True):
            if target != none:
                zones[str(names[source]), str(names[target])] += count
    flows = [
        DeviceFlow(devs[dev_id], held_before[dev_id], held_after[dev_id], gained[dev_id], lost[dev_id])
        for dev_id in sorted({*lost, *gained} - {none})
    ]
    return RebalancePreview(result, after.dispersion or 0.0, flows, dict(zones))


def _widened(rows: Sequence[array], none: int) -> list[np.ndarray]:
    import numpy as np

    return [np.minimum(np.frombuffer(row, dtype=f"u{row.itemsize}").astype(np.int64), none) for row in rows]


def _counted(ids: np.ndarray) -> dict[int, int]:
    import numpy as np

    values, times = np.unique(ids, return_counts=True)
    return dict(zip(values.tolist(), times.tolist(), strict=True))
