"""What the weights ask for and what the failure domains allow: tiers, replicanths, plan, quotas, balance.

Deterministic functions of the devices, exactly as in spec ring 7.1–7.8. Tables are not looked at here.
"Replicanths" are replicas per part, as a float. A tier is a tuple: () (region) (region, zone) (region, zone, ip)
(region, zone, ip, id).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from swift.ring.devices import Device
from swift.ring.errors import EmptyRingError, RingBuilderError

Tier = tuple
MAX_BALANCE = 999.99
_EPSILON = 1e-10
_NO_PART = 1e-6  # a fraction of a part smaller than this is an error of floating point
_TINY = 1e-200  # weights may be so small that shares vanish
_MAX_ROUNDS = 10_000
DEPTH = 4


def tiers_of(dev: Mapping[str, Any]) -> tuple[Tier, Tier, Tier, Tier]:
    """The tiers of a device from region down to itself."""
    region, zone, ip, dev_id = dev["region"], dev["zone"], dev["ip"], dev["id"]
    return (region,), (region, zone), (region, zone, ip), (region, zone, ip, dev_id)


@dataclass
class TierTree:
    """Tiers of live devices (weight ≠ 0). ``children``: in sorted order; ``device_count``: live devices below."""

    devices: dict[Tier, Device] = field(default_factory=dict)
    children: dict[Tier, list[Tier]] = field(default_factory=lambda: {(): []})
    device_count: dict[Tier, int] = field(default_factory=lambda: {(): 0})

    @classmethod
    def of(cls, devs: Iterable[Device | None]) -> TierTree:
        tree = cls()
        children, counts = tree.children, tree.device_count
        for dev in devs:
            if dev is None or not dev["weight"]:
                continue
            above: Tier = ()
            counts[()] += 1
            for tier in tiers_of(dev):
                if tier not in counts:
                    counts[tier] = 0
                    children[above].append(tier)
                    children[tier] = []
                counts[tier] += 1
                above = tier
            tree.devices[above] = dev
        for below in children.values():
            below.sort()
        return tree

    def sums(self, leaves: Mapping[Tier, float]) -> dict[Tier, float]:
        """Values of devices added up for every tier."""
        totals = dict.fromkeys(self.children, 0.0)
        for leaf, value in leaves.items():
            for depth in range(DEPTH):
                totals[leaf[:depth]] += value
            totals[leaf] = value
        return totals


def total_weight(devs: Iterable[Device | None]) -> float:
    return sum(dev["weight"] for dev in devs if dev is not None)


def weight_of_one_part(devs: Iterable[Device | None], parts: int, replicas: float) -> float:
    """Part-replicas per unit of weight (7.2); EmptyRingError without any weight."""
    weight = total_weight(devs)
    if not weight:
        raise EmptyRingError("There are no devices in this ring, or all devices have been deleted")
    return parts * replicas / weight


def weighted_replicanths(tree: TierTree, replicas: float) -> dict[Tier, float]:
    """W: what the weights ask for, no device above one replica (7.3)."""
    weight = sum(dev["weight"] for dev in tree.devices.values())
    wanted = {tier: min(1.0, dev["weight"] * replicas / weight) for tier, dev in tree.devices.items()}
    for _ in range(_MAX_ROUNDS):
        remaining = replicas - sum(wanted.values())
        if remaining < _EPSILON:
            break
        room = [tier for tier, value in wanted.items() if value < 1]
        share = sum(wanted[tier] for tier in room)
        if not room or not share:
            break
        factor = 1 + remaining / share
        for tier in room:
            wanted[tier] = min(1.0, wanted[tier] * factor)
    result = tree.sums(wanted)
    _check_sums(result, replicas)
    return result


def _check_sums(replicanths: Mapping[Tier, float], replicas: float) -> None:
    levels = [0.0] * (DEPTH + 1)
    for tier, value in replicanths.items():
        levels[len(tier)] += value
    for depth, total in enumerate(levels):
        if abs(total - replicas) > _EPSILON * max(1.0, replicas):
            raise RingBuilderError(f"Replicanths at depth {depth} add up to {total!r}, not to {replicas!r}")


def max_replicas(tree: TierTree, replicas: float) -> dict[Tier, float]:
    """M: the most replicas of a part that a tier should hold if all were spread evenly (7.4)."""
    return _spread(tree, replicas, math.ceil)


def fair_replicanths(tree: TierTree, replicas: float) -> dict[Tier, float]:
    """F: the even share of each tier (7.4)."""
    return _spread(tree, replicas, float)


def _spread(tree: TierTree, replicas: float, bound: Any) -> dict[Tier, float]:
    result: dict[Tier, float] = {}
    pending: list[tuple[Tier, float]] = [((), replicas)]
    while pending:
        tier, value = pending.pop()
        if len(tier) == DEPTH:
            value = min(1, value)
        result[tier] = value
        below = tree.children[tier]
        if below:
            share = bound(value / len(below))
            pending.extend((child, share) for child in below)
    return result


def wanted_replicanths(
    tree: TierTree, replicas: float, weighted: Mapping[Tier, float], fair: Mapping[Tier, float]
) -> dict[Tier, float]:
    """D: as dispersed as possible (7.5). RingBuilderError when a tier has too few devices."""
    result: dict[Tier, float] = {}
    pending: list[tuple[Tier, float]] = [((), replicas)]
    while pending:
        tier, value = pending.pop()
        if value > tree.device_count[tier] + _EPSILON:
            raise RingBuilderError(
                f"More replicanths ({value}) than devices ({tree.device_count[tier]}) in tier ({tier})"
            )
        result[tier] = value
        below = tree.children[tier]
        if below:
            put = _disperse(tree, value, below, weighted, fair)
            pending.extend(zip(below, put, strict=True))
    _check_sums(result, replicas)
    return result


def _disperse(
    tree: TierTree,
    value: float,
    below: list[Tier],
    weighted: Mapping[Tier, float],
    fair: Mapping[Tier, float],
) -> list[float]:
    """Share ``value`` among siblings by weight, within the whole numbers around their even share where possible."""
    weights = [max(weighted[child], _TINY) for child in below]
    floors = [math.floor(fair[child]) for child in below]
    ceilings = [math.ceil(fair[child]) for child in below]
    rooms = [tree.device_count[child] for child in below]
    put = [0.0] * len(below)
    remaining = value
    active: Sequence[int] = range(len(below))
    limited = False
    for _ in range(_MAX_ROUNDS):
        share = sum(weights[i] for i in active)
        if not share:
            raise RingBuilderError(f"No way to spread {value} replicanths over {below}")
        factor = remaining / share
        for i in active:
            now = put[i] + weights[i] * factor
            if now < floors[i]:
                now = floors[i]
            elif now > ceilings[i] and not limited:
                now = ceilings[i]
            put[i] = min(now, rooms[i])
        remaining = value - sum(put)
        if remaining < -_EPSILON:
            active = [i for i in range(len(below)) if put[i] > floors[i]]
        elif remaining > _EPSILON:
            active = [i for i in range(len(below)) if put[i] < rooms[i] and put[i] < ceilings[i]]
            if not active:
                limited = True
                active = [i for i in range(len(below)) if put[i] < rooms[i]]
        else:
            break
    return put


@dataclass
class Plan:
    """What a rebalance aims at (7.6, 7.7): replicanths per tier, whole-number bounds, and parts per device id."""

    tree: TierTree
    required_overload: float
    target: dict[Tier, float]
    minimum: dict[Tier, int]
    maximum: dict[Tier, int]
    quota: dict[int, int]


def required_overload(dispersed: Mapping[Tier, float], weighted: Mapping[Tier, float]) -> float:
    """The overload at which dispersion is as good as it gets."""
    return max(
        [0.0]
        + [
            (value - weighted[t]) / max(weighted[t], _TINY)
            for t, value in dispersed.items()
            if len(t) == DEPTH
        ],
    )


def replica_targets(
    tree: TierTree, replicas: float, overload: float
) -> tuple[float, dict[Tier, float]]:  # fmt: skip
    """(required overload, T): target replicanths between what weights and dispersion want (7.6)."""
    if tree.device_count[()] < replicas:
        raise RingBuilderError(
            f"Replica count of {replicas} requires more than {tree.device_count[()]} devices"
        )
    weighted = weighted_replicanths(tree, replicas)
    dispersed = wanted_replicanths(tree, replicas, weighted, fair_replicanths(tree, replicas))
    required = required_overload(dispersed, weighted)
    if not required:
        return required, dispersed
    factor = min(overload, required) / required
    return required, {tier: value + (dispersed[tier] - value) * factor for tier, value in weighted.items()}


def make_plan(
    devs: Sequence[Device | None],
    parts: int,
    replicas: float,
    overload: float,
    held: Mapping[int, int] | None = None,
) -> Plan:
    """``held``: parts that each device id keeps if nothing moves. EmptyRingError, or RingBuilderError when devices are
    too few (8.1)."""
    weight_of_one_part(devs, parts, replicas)
    tree = TierTree.of(devs)
    required, target = replica_targets(tree, replicas, overload)
    return Plan(
        tree=tree,
        required_overload=required,
        target=target,
        minimum={tier: math.floor(value + _EPSILON) for tier, value in target.items()},
        maximum={tier: math.ceil(value - _EPSILON) for tier, value in target.items()},
        quota=part_quotas(tree, target, parts, replicas, held),
    )


def part_quotas(
    tree: TierTree,
    target: Mapping[Tier, float],
    parts: int,
    replicas: float,
    held: Mapping[int, int] | None = None,
) -> dict[int, int]:
    """Parts that each live device should hold (7.7).

    Rounding leaves a choice. Without ``held`` it is made as the specification does; with it, who already holds the
    part too many keeps it: equal balance, no pointless moves. Either way nobody's share is rounded up by more than
    one part: that would break the plan.
    """
    kept = tree.sums({tier: float((held or {}).get(dev["id"], 0)) for tier, dev in tree.devices.items()})
    quota: dict[int, int] = {}
    pending: list[tuple[Tier, int]] = [((), int(replicas * parts))]
    while pending:
        tier, count = pending.pop()
        below = tree.children[tier]
        if not below:
            if len(tier) == DEPTH:
                quota[tier[3]] = count
            continue
        left = count
        given = {}
        for child in below:
            given[child] = min(left, math.floor(target[child] * parts + _NO_PART))
            left -= given[child]
        order = sorted(below, key=target.__getitem__)
        if held:
            order.sort(key=lambda child: kept[child] <= given[child])
        order.sort(key=lambda child: target[child] * parts - given[child] < _NO_PART)
        whole, rest = divmod(left, len(below))
        for index, child in enumerate(order):
            given[child] += whole + (index < rest)
        pending.extend(given.items())
    return quota


def device_balance(dev: Mapping[str, Any], part_weight: float) -> float:
    """Percent above or below what the device's weight asks (7.8)."""
    if not dev["weight"]:
        return MAX_BALANCE if dev["parts"] else 0
    return 100.0 * dev["parts"] / max(dev["weight"] * part_weight, _TINY) - 100.0
