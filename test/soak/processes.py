"""What processes of a cluster hold, minute by minute, and whether that has grown."""

from __future__ import annotations

import os
import pathlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median
from typing import NamedTuple

# By how much a figure may be higher in the last third than in the second one; the first is for caches to fill.
MOST_MEMORY, SHARE_OF_MEMORY = 10 * 1024 * 1024, 0.15
MOST_DESCRIPTORS, SHARE_OF_DESCRIPTORS = 60, 0.25  # idle connections come and go
FEWEST = 15  # samples, to judge by


class Held(NamedTuple):
    """Of the process that has most, of those with the same duty: resident bytes and descriptors."""

    memory: int
    descriptors: int


def held_by(pids: Iterable[int]) -> Held:
    """Those that have ended meanwhile are left out."""
    memory, descriptors = [0], [0]
    for pid in pids:
        try:
            pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
            memory.append(pages * os.sysconf("SC_PAGE_SIZE"))
            descriptors.append(len(os.listdir(f"/proc/{pid}/fd")))
        except OSError:
            continue
    return Held(max(memory), max(descriptors))


class Watch:
    """Samples by duty: `proxy` and `proxy worker`, `node1`, daemons by their names."""

    def __init__(self) -> None:
        self.samples: dict[str, list[Held]] = defaultdict(list)

    def take(self, duties: Mapping[str, Iterable[int]]) -> dict[str, Held]:
        now = {duty: held_by(pids) for duty, pids in duties.items()}
        for duty, held in now.items():
            self.samples[duty].append(held)
        return now

    def grown(self) -> list[str]:
        """What has, in words."""
        return [text for duty, samples in sorted(self.samples.items()) for text in _grown(duty, samples)]


def _grown(duty: str, samples: list[Held]) -> Iterable[str]:
    if len(samples) < FEWEST:
        return
    third = len(samples) // 3
    for what, most, share, unit in (
        ("memory", MOST_MEMORY, SHARE_OF_MEMORY, 1024 * 1024),
        ("descriptors", MOST_DESCRIPTORS, SHARE_OF_DESCRIPTORS, 1),
    ):
        before = median(getattr(held, what) for held in samples[third : 2 * third])
        after = median(getattr(held, what) for held in samples[-third:])
        if after - before > max(most, share * before):
            yield f"{duty}: {what} from {before / unit:.0f} to {after / unit:.0f}{' MiB' if unit > 1 else ''}"
