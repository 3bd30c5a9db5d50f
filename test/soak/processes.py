"""What processes of a cluster hold, minute by minute, and whether that has grown."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from statistics import median
from typing import NamedTuple

# By how much a figure may be higher in the last third than in the second one; the first is for caches to fill.
MOST_MEMORY, SHARE_OF_MEMORY = 10 * 1024 * 1024, 0.15
MOST_DESCRIPTORS, SHARE_OF_DESCRIPTORS = 60, 0.25  # idle connections and writes in hand come and go
MOST_LASTING, SHARE_OF_LASTING = 12, 0.25
LASTING = 5  # samples, a minute apart
FEWEST = 15  # samples, to judge by


class Held(NamedTuple):
    """Of the process that has most, of those with the same duty: resident bytes, descriptors, and those of them that have been there for
    `LASTING` samples (None where no process is that old): a write in hand or an idle connection is not, one that was forgotten is.
    """

    memory: int
    descriptors: int
    lasting: int | None = None


def open_files(pid: int) -> frozenset[str]:
    """Each descriptor with what it leads to. Raises OSError."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile
            found.add(f"{fd} {os.readlink(f'/proc/{pid}/fd/{fd}')}")
    return frozenset(found)


class Watch:
    """Samples by duty: `proxy` and `proxy worker`, `node1`, daemons by their names."""

    def __init__(self) -> None:
        self.samples: dict[str, list[Held]] = defaultdict(list)
        self._open: dict[int, deque[frozenset[str]]] = {}

    def take(self, duties: Mapping[str, Iterable[int]]) -> dict[str, Held]:
        before, self._open = self._open, {}
        now = {duty: self._held_by(pids, before) for duty, pids in duties.items()}
        for duty, held in now.items():
            self.samples[duty].append(held)
        return now

    def _held_by(self, pids: Iterable[int], before: Mapping[int, deque[frozenset[str]]]) -> Held:
        """Those that have ended meanwhile are left out."""
        memory, descriptors, lasting = [0], [0], []
        for pid in pids:
            try:
                pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
                files = open_files(pid)
            except OSError:
                continue
            memory.append(pages * os.sysconf("SC_PAGE_SIZE"))
            descriptors.append(len(files))
            kept = self._open[pid] = before.get(pid) or deque(maxlen=LASTING)
            kept.append(files)
            if len(kept) == LASTING:
                lasting.append(len(frozenset.intersection(*kept)))
        return Held(max(memory), max(descriptors), max(lasting, default=None))

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
        ("lasting", MOST_LASTING, SHARE_OF_LASTING, 1),
    ):
        earlier, later = (
            [getattr(held, what) for held in part if getattr(held, what) is not None]
            for part in (samples[third : 2 * third], samples[-third:])
        )
        if not earlier or not later:
            continue
        before, after = median(earlier), median(later)
        if after - before > max(most, share * before):
            yield f"{duty}: {'lasting descriptors' if what == 'lasting' else what} from {before / unit:.0f} to {after / unit:.0f}{' MiB' if unit > 1 else ''}"
