"""The first placement: partitions onto devices by hierarchical systematic sampling.

All devices lie on a circle, tier by tier, each with an arc as long as its quota; a partition takes as many equidistant
points as it has replicas. A tier with an arc of L partitions then gets floor(L) or ceil(L) replicas of every
partition: the plan holds at all tiers at once and quotas are met exactly, without any search. The partitions are cut
in groups, each with an order of its own of the siblings in every tier, so that a device shares its partitions with
very many others.

Moves within an existing table live in ``movement``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from swift.ring.balance import DEPTH, Plan, Tier, TierTree

_GROUP_QUOTA = 1.5  # parts of a device in one group, about: the fewer, the more peers a device has
_MAX_CELLS = 1 << 22  # groups times devices


def generator(seed: str) -> np.random.Generator:
    """A source of random numbers made from a text; that of the process is not touched."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big")))


def first_placement(plan: Plan, row_lengths: Sequence[int], seed: str) -> list[np.ndarray]:
    """Tables of device ids (int64), one array a row: quotas met exactly, bounds met by every part."""
    rng = generator(seed)
    circle = _Circle(plan.tree, rng)
    ids = np.array([leaf[DEPTH - 1] for leaf in circle.leaves], dtype=np.int64)
    rows = [np.empty(length, dtype=np.int64) for length in row_lengths]
    for start, stop, groups, quota in _classes(plan, row_lengths):
        depth = sum(length >= stop for length in row_lengths)
        shares = np.array([quota[leaf] for leaf in circle.leaves], dtype=np.int64)
        table = ids[circle.sample(shares, groups, (stop - start) // groups, depth)]
        where = start + rng.permutation(stop - start)
        for row in range(depth):
            rows[row][where] = table[row]
    return rows


class _Circle:
    """The devices of a tree, and how to lay them out anew for each group."""

    def __init__(self, tree: TierTree, rng: np.random.Generator) -> None:
        self.rng = rng
        # parents[depth]: for each tier of that depth, in sorted order, the index of the tier above
        self.parents: list[np.ndarray] = []
        above: dict[Tier, int] = {(): 0}
        for depth in range(1, DEPTH + 1):
            names = sorted(tier for tier in tree.children if len(tier) == depth)
            self.parents.append(np.array([above[name[:-1]] for name in names], dtype=np.int64))
            above = {name: index for index, name in enumerate(names)}
        self.leaves = list(above)

    def orders(self, groups: int) -> np.ndarray:
        """groups x devices: device indexes, siblings of every tier together and in random order."""
        position = np.zeros((groups, 1), dtype=np.int64)
        order = position
        for parent in self.parents:
            keys = position[:, parent] << 32
            keys |= self.rng.integers(0, 1 << 32, size=keys.shape, dtype=np.int64)
            order = np.argsort(keys, axis=1)
            position = np.empty_like(order)
            np.put_along_axis(position, order, np.arange(order.shape[1])[None, :], axis=1)
        return order

    def quotas(self, shares: np.ndarray, groups: int) -> np.ndarray:
        """groups x devices: each device's share cut in ``groups`` pieces.

        The parts that are left over are dealt out to one group after the other along a circle of the devices: so
        groups get the same number, and any tier's piece is its share divided by the groups, rounded up or down.
        """
        base, rest = np.divmod(shares, groups)
        along = self.orders(1)[0]
        device = np.repeat(along, rest[along])
        group = np.arange(len(device)) % groups
        extra = np.bincount(group * len(shares) + device, minlength=groups * len(shares))
        return base[None, :] + extra.reshape(groups, len(shares))

    def sample(self, shares: np.ndarray, groups: int, size: int, depth: int) -> np.ndarray:
        """depth x (groups * size) device indexes; ``shares`` of all devices add up to as many."""
        order = self.orders(groups)
        quotas = np.take_along_axis(self.quotas(shares, groups), order, axis=1)
        length = size * depth
        slots = np.repeat(order.ravel(), quotas.ravel()).reshape(groups, length)
        turn = self.rng.integers(0, length, size=(groups, 1))
        slots = np.take_along_axis(slots, (np.arange(length)[None, :] + turn) % length, axis=1)
        return slots.reshape(groups, depth, size).transpose(1, 0, 2).reshape(depth, groups * size)


def _group_count(parts: int, devices: int, replicas: int) -> int:
    """A power of two: how many groups ``parts`` should be cut in."""
    wanted = min(parts, int(parts * replicas / devices / _GROUP_QUOTA), _MAX_CELLS // devices)
    return 1 << max(0, wanted.bit_length() - 1)


Quotas = dict[Tier, int]


def _classes(plan: Plan, row_lengths: Sequence[int]) -> Iterator[tuple[int, int, int, Quotas]]:
    """(first part, end, groups, quotas per tier) of ranges in which all parts have equally many replicas and which the
    groups divide."""
    quota: Quotas = dict.fromkeys(plan.tree.children, 0)
    for leaf in plan.tree.devices:
        for depth in range(DEPTH + 1):
            quota[leaf[:depth]] += plan.quota[leaf[DEPTH - 1]]
    ranges: list[tuple[int, int, int]] = []
    start = 0
    for end in sorted(set(row_lengths) - {0}):
        depth = sum(length >= end for length in row_lengths)
        groups = _group_count(end - start, len(plan.tree.devices), depth)
        middle = end - (end - start) % groups
        ranges.append((start, middle, groups))
        if middle < end:
            ranges.append((middle, end, 1))
        start = end
    for start, stop, groups in ranges:
        depth = sum(length >= stop for length in row_lengths)
        here, quota = _split(plan, quota, stop - start, row_lengths[0] - stop, depth)
        yield start, stop, groups, here


def _split(plan: Plan, quota: Quotas, parts: int, others: int, depth: int) -> tuple[Quotas, Quotas]:
    """Quotas of ``parts`` parts with ``depth`` replicas, and of the other parts; the plan's bounds hold in both."""
    if not others:
        return quota, {}
    here: Quotas = {}
    pending = [((), parts * depth)]
    while pending:
        tier, amount = pending.pop()
        here[tier] = amount
        below = plan.tree.children[tier]
        if below:
            pending.extend(zip(below, _share(plan, quota, below, amount, parts, others), strict=True))
    return here, {tier: count - here[tier] for tier, count in quota.items()}


def _share(plan: Plan, quota: Quotas, below: list[Tier], amount: int, parts: int, others: int) -> list[int]:
    total = sum(quota[child] for child in below) or 1
    given, low, high = [], [], []
    for child in below:
        least, most, count = plan.minimum[child], plan.maximum[child], quota[child]
        low.append(max(least * parts, count - most * others, 0))
        high.append(max(min(most * parts, count - least * others, count), low[-1]))
        given.append(min(max(amount * count // total, low[-1]), high[-1]))
    left = amount - sum(given)
    for bounds in (high, low) if left > 0 else (low, high):
        for index in range(len(below)):
            step = bounds[index] - given[index]
            step = min(step, left) if left > 0 else max(step, left)
            if step * left > 0:
                given[index] += step
                left -= step
        if not left:
            break
    return given
