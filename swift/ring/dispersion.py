"""How well the replicas of partitions are spread: the dispersion graph and its figures (spec ring 7.9).

Reads the tables, never changes them. Unlike the reference it counts all entries of rings with a fractional last row.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swift.ring.balance import DEPTH, Tier, tiers_of
from swift.ring.devices import Device

if TYPE_CHECKING:
    import numpy

_PIECE = 1 << 15  # parts looked at together: their rows stay in the processor's cache

Graph = dict[Tier, list[int]]


def tier_numbers(devs: Sequence[Device | None]) -> tuple[list[list[Tier]], list[list[int]]]:
    """Per depth 1..4: the tiers of all devices (weight 0 as well) and, per device id, the number of its tier.

    Holes get the number 0.
    """
    names: list[list[Tier]] = []
    numbers: list[list[int]] = []
    all_tiers = [dev and tiers_of(dev) for dev in devs]
    for depth in range(DEPTH):
        known: dict[Tier, int] = {}
        numbers.append([known.setdefault(tiers[depth], len(known)) if tiers else 0 for tiers in all_tiers])
        names.append(list(known))
    return names, numbers


@dataclass
class Dispersion:
    """``graph``: 7.9; ``percent``: replicas at risk."""

    graph: Graph
    percent: float


def measure_dispersion(
    devs: Sequence[Device | None],
    rows: Sequence[array],
    parts: int,
    replicas: float,
    limits: Mapping[Tier, float],
) -> Dispersion:
    """Count the parts with i replicas in each tier; ``limits`` is M of 7.4."""
    import numpy as np

    names, numbers = tier_numbers(devs)
    tables = [np.frombuffer(row, dtype=f"u{row.itemsize}") for row in rows]
    lines = len(rows) + 1
    counts = [np.zeros(len(depth_names) * lines, dtype=np.int64) for depth_names in names]
    tier_of = [np.array(depth_numbers, dtype=np.int32) for depth_numbers in numbers]
    limit = [np.array([int(limits.get(tier, 0)) for tier in depth_names]) for depth_names in names]
    at_risk = 0
    for start, stop in _pieces([len(row) for row in rows], _PIECE):
        ids = [row[start:stop] for row in tables if len(row) > start]
        worst = np.zeros(stop - start, dtype=np.int64)
        for depth in range(DEPTH):
            excess = np.zeros(stop - start, dtype=np.int64)
            for tier, held, first in held_counts([tier_of[depth][row] for row in ids]):
                counts[depth] += np.bincount(tier * lines + held, minlength=len(counts[depth]))
                most = limit[depth][tier]
                over = np.flatnonzero((held > most) & first)
                excess[over] += held[over] - most[over]
            np.maximum(worst, excess, out=worst)
        at_risk += int(worst.sum())
    return Dispersion(_graph(names, counts, lines, parts, replicas), 100.0 * at_risk / (parts * replicas))


def _graph(
    names: list[list[Tier]], counts: Sequence[numpy.ndarray], lines: int, parts: int, replicas: float
) -> Graph:
    import numpy as np

    width = math.ceil(replicas) + 1
    graph: Graph = {}
    for depth_names, depth_counts in zip(names, counts, strict=True):
        # a tier with i replicas of a part was met i times
        met = depth_counts.reshape(len(depth_names), lines) // np.maximum(1, np.arange(lines))
        for tier, line in zip(depth_names, met.tolist(), strict=True):
            if any(line):
                graph[tier] = _fit([parts - sum(line), *line[1:]], width)
    return graph


def _fit(line: list[int], width: int) -> list[int]:
    return (line + [0] * width)[:width]


def _pieces(lengths: Iterable[int], size: int) -> Iterator[tuple[int, int]]:
    """Ranges of parts of about ``size``, none of which straddles the end of a row."""
    start = 0
    for end in sorted(set(lengths)):
        while start < end:
            stop = min(start + size, end)
            yield start, stop
            start = stop


def held_counts(
    tiers: Sequence[numpy.ndarray],
) -> Iterator[tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]]:
    """For each row of tier numbers: (the row, how many replicas of the part its tier holds, whether no earlier row
    names that tier)."""
    import numpy as np

    kind = np.uint8 if len(tiers) < 256 else np.uint16
    held = [np.ones(len(row), dtype=kind) for row in tiers]
    first = [np.ones(len(row), dtype=bool) for row in tiers]
    for later in range(1, len(tiers)):
        for earlier in range(later):
            same = tiers[later] == tiers[earlier]
            held[later] += same
            held[earlier] += same
            first[later] &= ~same
    return zip(tiers, held, first, strict=True)
