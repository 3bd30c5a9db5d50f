"""Handoffs of a partition: all other devices, in the order that every server of a cluster must agree on (spec ring 4.2).

The rule: from a part that the partition's digest names, go over the table, part by part, row by row, and take each device that is in
a region where no earlier one is; then, in a second pass, in a new zone; then on a new server; then all that are left. A large table
is gone over in steps of several parts, whose residue the beginning decides.

The rule would look at the whole table for the last few devices. So each pass takes up to three ways, with one outcome: the
first parts, one entry after the other (nearly every pass ends here); then pieces of growing size; and once the walk finds too little, an
index of the parts where what is still missing occurs.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain, filterfalse
from struct import Struct
from typing import Any

from swift.ring.format import RingData

try:
    # a third faster than OpenSSL's for a few bytes; nothing secret is hashed
    from _md5 import md5 as _md5
except ImportError:

    def _md5(data: bytes) -> Any:
        return hashlib.md5(data, usedforsecurity=False)


_HEAD = Struct(">I").unpack_from
_PATIENCE = 1024  # entries that a pass looks at, at least, before it asks the index
_DEVICES = 3  # the pass over single devices, after regions, zones and servers
_MAX_POSTINGS = 1 << 22  # entries (4 bytes each) kept per ring
_STEPS_NEAR = 4  # steps that are taken one entry after the other


class Handoffs:
    """The handoffs of one ring, for each of its partitions."""

    def __init__(self, data: RingData) -> None:
        self._table = table = _Table(data.rows)
        self._rows, self._step, self._even_up_to = table.rows, table.step, table.even_up_to
        self._part_shift = data.part_shift
        self._number_tiers(data)
        self._near = _STEPS_NEAR * self._step
        # by pass: what a walk has once been too long for
        self._known_rare: list[set[int]] = [set() for _ in self._tiers]
        self._postings = _Postings(table, self._tier_of, data.assigned)

    def _number_tiers(self, data: RingData) -> None:
        """By pass: a small number for each device's region, zone, server or itself; which numbers occur."""
        self._tier_of: list[list[int]] = []
        self._tiers: list[set[int]] = []
        for depth in range(1, 4):
            numbers: dict[tuple, int] = {}
            tier_of = [-1] * len(data.devs)
            for dev_id in data.assigned:
                dev = data.devs[dev_id]
                assert dev is not None
                key = (dev["region"], dev["zone"], dev["ip"])[:depth]
                tier_of[dev_id] = numbers.setdefault(key, len(numbers))
            self._tier_of.append(tier_of)
            self._tiers.append(set(numbers.values()))
        self._tier_of.append(list(range(len(data.devs))))
        self._tiers.append(data.assigned)
        self._passes = [(len(tiers), of) for tiers, of in zip(self._tiers, self._tier_of, strict=True)]

    def ids(self, part: int, taken: set[int]) -> Iterator[int]:
        """Device ids, lazily. `taken`: the primaries; changed on the way."""
        rows = self._rows
        if not rows:
            return
        start = _HEAD(_md5(b"%d" % part).digest())[0] >> self._part_shift
        for depth, (total, tier_of) in enumerate(self._passes):
            if total == 1 and taken:
                continue
            seen = {tier_of[dev_id] for dev_id in taken} if depth < _DEVICES else taken
            if len(seen) == total:
                continue
            # nearly always the next device is found at the first part or two: no pieces for those
            near = start + self._near
            if near > self._even_up_to:
                near = start
            for at in range(start, near, self._step):
                for row in rows:
                    dev_id = row[at]
                    if tier_of[dev_id] not in seen:
                        yield dev_id
                        seen.add(tier_of[dev_id])
                        taken.add(dev_id)
                        if len(seen) == total:
                            break
                if len(seen) == total:
                    break
            else:
                yield from self._far(depth, start, near, seen, taken)

    def _far(self, depth: int, start: int, begin: int, seen: set[int], taken: set[int]) -> Iterator[int]:
        """The rest of one pass, from `begin` on."""
        missing = self._tiers[depth] - seen
        if not missing <= self._known_rare[depth]:
            missing = yield from self._walked(depth, start, begin, seen, taken)
            self._known_rare[depth] |= missing
        if missing:
            found = self._postings.first_of(depth, missing, start)
            yield from found
            taken.update(found)

    def _walked(
        self, depth: int, start: int, begin: int, seen: set[int], taken: set[int]
    ) -> Generator[int, None, set[int]]:
        """Walk on as long as it is worth while; returns the tiers that are still missing when it is not."""
        total, tier_of = self._passes[depth]
        patience = max(_PATIENCE, 20 * total)
        for count, ids in self._table.walk(start, begin):
            if depth == _DEVICES:
                fresh = dict.fromkeys(filterfalse(taken.__contains__, ids))
                taken.update(fresh)
                yield from fresh
            else:
                for dev_id in ids:
                    if tier_of[dev_id] not in seen:
                        yield dev_id
                        seen.add(tier_of[dev_id])
                        taken.add(dev_id)
                        if len(seen) == total:
                            return set()
            patience -= count
            if len(seen) == total or patience < 0:
                return self._tiers[depth] - seen
        return set()


class _Table:
    """The rows of a ring, and the ways over them. The last row may be shorter than the others."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self.rows = rows
        self.parts = len(rows[0]) if rows else 0
        self.step = max(1, self.parts // 65536)
        # where no row may have ended
        self.even_up_to = self.parts if len({len(row) for row in rows}) <= 1 else 0

    def walk(self, start: int, begin: int) -> Iterator[tuple[int, Iterable[int]]]:
        """Ids in the order of the walk from `start`, without what lies before `begin`; in pieces of growing size,
        each with the number of its entries."""
        step, parts = self.step, self.parts
        first = step - (parts - start) % step
        size = 4 * step
        for at, stop in ((begin, parts), (first, start)):
            while at < stop:
                end = min(at + size, stop)
                count = (end - at + step - 1) // step
                yield count * len(self.rows), self.entries(at, end, step)
                at += count * step
                size = min(size * 4, step * 1024)

    def entries(self, at: int, end: int, step: int) -> Iterable[int]:
        """All rows' entries of parts at, at + step, … < end, part by part."""
        rows = self.rows
        short = len(rows[-1])
        if end > short:
            if short > at:
                middle = at + (short - at + step - 1) // step * step
                rest = self.entries(middle, end, step) if middle < end else ()
                return chain(self.entries(at, short, step), rest)
            rows = rows[:-1]
        return chain.from_iterable(zip(*[row[at:end:step] for row in rows], strict=True))


class _Postings:
    """At which parts rare tiers occur: made when asked for, kept up to a limit."""

    def __init__(self, table: _Table, tier_of: list[list[int]], assigned: set[int]) -> None:
        self._table = table
        self._tier_of = tier_of
        self._assigned = assigned
        self._parts: dict[tuple[int, int, int], array] = {}
        self._size = 0

    def first_of(self, depth: int, missing: set[int], start: int) -> list[int]:
        """The first device of each missing tier, in the order of the walk; tiers that it never meets are left out."""
        residue = start % self._table.step
        unknown = {tier for tier in missing if (depth, tier, residue) not in self._parts}
        if unknown:
            self._post(depth, residue, unknown)
        # the walk never wraps to part 0 when start is a multiple of step, unless it begins there
        lowest = residue or (self._table.step if start else 0)
        hits = []
        for tier in missing:
            posting = self._parts[depth, tier, residue]
            for wrapped, begin in enumerate((start, lowest)):
                at = bisect_left(posting, begin)
                if at < len(posting):
                    hits.append((wrapped, posting[at]))
                    break
        hits.sort()
        tier_of = self._tier_of[depth]
        result = []
        for _, part in hits:
            for dev_id in self._table.entries(part, part + 1, 1):
                if tier_of[dev_id] in missing:
                    missing.discard(tier_of[dev_id])
                    result.append(dev_id)
        return result

    def _post(self, depth: int, residue: int, tiers: set[int]) -> None:
        """Remember at which parts of a residue class these tiers occur."""
        tier_of, step = self._tier_of[depth], self._table.step
        if self._size > _MAX_POSTINGS:
            self._parts.clear()
            self._size = 0
        found: dict[int, set[int]] = {tier: set() for tier in tiers}
        wanted = {dev_id for dev_id in self._assigned if tier_of[dev_id] in tiers}
        for row in self._table.rows:
            for index, dev_id in enumerate(row[residue::step]):
                if dev_id in wanted:
                    found[tier_of[dev_id]].add(residue + index * step)
        for tier, parts in found.items():
            self._parts[depth, tier, residue] = array("L", sorted(parts))
            self._size += len(parts)
