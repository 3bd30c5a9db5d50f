"""What clients do and which faults come, from a seed: the same seed gives the same schedule, however fast the machine is.

A round has a stream of operations for each client, of which as many are done as there is time for, and a list of faults with their
times. Faults stay within what the store promises: any node may be away, slow or wrong about the time; but what is destroyed in a
round (files removed, bytes flipped, writes lost with the power) is on one device, and the next round begins when all copies are
whole again.

What lives here: choices. What never does: carrying them out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

SIZES = (0, 1, 100, 4096, 4096, 20_000, 70_000, 300_000, 1_500_000)
VERBS = {"PUT": 36, "GET": 30, "DELETE": 14, "POST": 10, "HEAD": 5, "LIST": 5}
KEYS = 30  # of a container

# Faults that take nothing away: of a node, and of none in particular.
PASSING = (
    "kill",
    "kill worker",
    "kill daemons",
    "stop",
    "full",
    "frozen",
    "cut",
    "cut to",
    "cut from",
    "slow",
    "lossy",
    "clock",
)
EVERYWHERE = ("kill proxy", "stop proxy", "clock of proxy")
# Faults that destroy something on one device.
DESTROYING = ("empty", "replace", "flip", "power")
LONGEST = 8.0  # seconds of a fault


@dataclass(frozen=True)
class Operation:
    """`container`: index of the container; `name`: of the object; `proxy`: index; `wait`: seconds before it."""

    verb: str
    container: int
    name: str
    size: int
    proxy: int
    wait: float


@dataclass(frozen=True)
class Fault:
    """From `begin` to `end`, seconds since the round began. `node`: 1 to 4; `choice`: for whatever else there is to choose."""

    kind: str
    node: int
    begin: float
    end: float
    choice: float

    def __str__(self) -> str:
        where = "" if self.kind in EVERYWHERE else f" on node {self.node}"
        return f"{self.begin:.1f}-{self.end:.1f} s {self.kind}{where}"


def operations(seed: int, number: int, client: int, containers: int, proxies: int) -> Iterator[Operation]:
    """Without end. `number`: of the round."""
    chance = random.Random(f"{seed}/{number}/client {client}")
    while True:
        yield Operation(
            verb=chance.choices(list(VERBS), list(VERBS.values()))[0],
            container=chance.randrange(containers),
            name=f"o{chance.randrange(KEYS):03d}",
            size=chance.choice(SIZES),
            proxy=chance.randrange(proxies),
            wait=chance.choice((0.0, 0.0, 0.0, 0.02, 0.1)),
        )


def faults(seed: int, number: int, seconds: float, kinds: frozenset[str]) -> list[Fault]:
    """In the order of their beginning, each over by `seconds`. `kinds`: those that this machine can do."""
    chance = random.Random(f"{seed}/{number}/faults")
    victim = chance.randint(1, 4)
    passing = (*PASSING, *EVERYWHERE)
    found = []
    begin = 1.0
    while begin < seconds - 3:
        kind = chance.choice(DESTROYING if chance.random() < 0.25 else passing)
        node = victim if kind in DESTROYING else chance.randint(1, 4)
        length, choice = chance.uniform(1.0, LONGEST), chance.random()
        # one after the other, or two or three at a time
        gap = chance.uniform(-0.8 * length, 1.0)
        fault = Fault(kind, node, begin, min(begin + length, seconds - 0.5), choice)
        if kind in kinds and not is_overlapping(fault, found):
            found.append(fault)
        begin = max(begin + 0.5, begin + length + gap)
    return found


def device(seed: int, number: int) -> int:
    """Which of the two devices of its node is the one on which things are destroyed in a round."""
    return random.Random(f"{seed}/{number}/device").randrange(2)


def is_overlapping(fault: Fault, others: list[Fault]) -> bool:
    """True if another fault of the same node, or of the proxies, is there at the same time."""

    def touches(other: Fault) -> bool:
        if fault.kind in EVERYWHERE or other.kind in EVERYWHERE:
            return fault.kind in EVERYWHERE and other.kind in EVERYWHERE
        return fault.node == other.node

    return any(touches(other) and other.begin < fault.end and fault.begin < other.end for other in others)
