"""When a soak says that a process has grown."""

from __future__ import annotations

import random

from test.soak.processes import FEWEST, Held, Watch

MEBI = 1024 * 1024


def judged(memory, descriptors):
    watch = Watch()
    watch.samples["node1"] = [Held(int(a * MEBI), int(b)) for a, b in zip(memory, descriptors, strict=True)]
    return watch.grown()


def test_what_goes_up_and_down_has_not_grown():
    chance = random.Random(1)
    memory = [chance.uniform(50, 60) for _ in range(120)]
    assert judged(memory, [chance.randrange(60, 150) for _ in memory]) == []


def test_caches_fill_in_the_first_third():
    assert judged([40 + min(at, 40) for at in range(120)], [50] * 120) == []


def test_what_goes_up_and_up_is_named():
    assert judged([50 + at / 2 for at in range(120)], [50 + at * 3 for at in range(120)]) == [
        "node1: memory from 80 to 100 MiB",
        "node1: descriptors from 228 to 348",
    ]


def test_a_few_minutes_tell_nothing():
    assert judged([50 * at for at in range(FEWEST - 1)], [50] * (FEWEST - 1)) == []
