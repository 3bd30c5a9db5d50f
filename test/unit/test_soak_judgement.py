"""When a soak says that a process has grown."""

from __future__ import annotations

import os
import random

from test.soak.processes import FEWEST, LASTING, Held, Watch

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


def test_descriptors_that_stay_are_told_from_those_that_come_and_go():
    watch = Watch()
    forgotten = []
    try:
        for sample in range(4 * FEWEST):
            passing = [os.open(os.devnull, os.O_RDONLY) for _ in range(sample % 7)]
            if sample % 2:
                forgotten.append(os.open(os.devnull, os.O_RDONLY))
            held = watch.take({"node1": [os.getpid()]})["node1"]
            for fd in passing:
                os.close(fd)
        assert held.lasting is not None
        # those of the last minutes may still be in hand
        assert len(forgotten) - LASTING <= held.lasting < held.descriptors
    finally:
        for fd in forgotten:
            os.close(fd)


def test_lasting_descriptors_that_become_more_are_named():
    watch = Watch()
    young = [Held(1, 100, None)] * 5
    watch.samples["node1"] = [*young, *(Held(1, 100, 20 + at // 2) for at in range(100))]
    assert watch.grown() == ["node1: lasting descriptors from 43 to 61"]
    watch.samples["node1"] = young * 10
    assert watch.grown() == []
