"""Moves within an existing table: the fewest that repair the plan and fill the quotas (spec ring 8.1).

Work is in proportion to the change. Entries that have to go somewhere (removed devices, new replicas, replicas that
break the plan) are placed first, then devices above their quota give directly to devices below theirs, preferably
within the same server, zone or region. Candidates are drawn at random and checked in bulk, so that a device's peers
stay many; what luck does not settle is searched for. Each of the two goes from the quick way to the thorough one:

- Placing: devices with room are drawn (``_place``); then the emptiest of some that the plan allows is taken, with room or not
  (``_place_anywhere``); the last entries get the best of all devices (``_best_home``).
- Evening out: pairs of a full and an empty device are drawn, near ones first (``_even_out``); then parts are looked through for each
  device that is still too empty (``_search``); then a third device gives to the empty one and is given to (``_chain``).

The first placement lives in ``placement``, tables of files and their rows in ``builder``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from swift.ring.balance import DEPTH, Plan
from swift.ring.devices import Device
from swift.ring.dispersion import held_counts, tier_numbers
from swift.ring.placement import generator

Array = np.ndarray

# Candidates (a part, and a device for one of its replicas) that are drawn and checked together: so many that numpy's calls cost
# little for each, so few that their arrays are a few megabytes.
_CANDIDATES = 1 << 16
# Parts of the table that are looked at together, for the same reasons: all replicas of each are.
_COLUMNS = 1 << 15
# Rounds of drawing without success after which a phase is left to the next one, which looks more closely.
_FRUITLESS_ROUNDS = 3
# Rounds of a phase in all: an end, whatever is drawn.
_MOST_ROUNDS = 400
# Devices that are searched for by looking through _COLUMNS entries for each: milliseconds, so seconds for all.
_MOST_SEARCHES = 512
# Entries that are placed on the emptiest of several devices before it is looked anew which are the emptiest.
_PLACED_TOGETHER = 1024
# Entries left for which all devices are looked at, one entry after the other: the most thorough way, and the dearest.
_PLACED_SINGLY = 64
# Pairs of devices for which a third one in between is drawn together.
_CHAINED_TOGETHER = 1024
# Of the entries tried in a round, fewer placed than one in so many is no success.
_LEAST_SHARE_PLACED = 50
# Halvings of an interval of 1: the level to which devices are filled is then known to a millionth of their quota.
_HALVINGS = 20


class Bounds:
    """The plan as arrays: which tier a device is in, and how many replicas of a part a tier may and must have.

    ``none`` is the id of no device: of entries that are unassigned or beyond the end of a short row.
    """

    def __init__(self, plan: Plan, devs: Sequence[Device | None]) -> None:
        names, numbers = tier_numbers(devs)
        self.none = len(devs)
        self.tier_of = [
            np.array([*line, len(names[depth])], dtype=np.int32) for depth, line in enumerate(numbers)
        ]
        self.most = [
            np.array([*(plan.maximum.get(t, 0) for t in line), 1 << 20], dtype=np.int32) for line in names
        ]
        self.least = [
            np.array([*(plan.minimum.get(t, 0) for t in line), 0], dtype=np.int32) for line in names
        ]
        self.least_below = []
        for depth, line in enumerate(names):
            above = {tier: index for index, tier in enumerate(names[depth - 1])} if depth else {(): 0}
            sums = np.zeros(len(above) + 1, dtype=np.int32)
            for tier, least in zip(line, self.least[depth].tolist(), strict=False):
                sums[above[tier[:-1]]] += least
            self.least_below.append(sums)
        self.bounded = [bool(least.any()) for least in self.least]

    def above(self, depth: int, ids: Array) -> Array:
        return self.tier_of[depth - 1][ids] if depth else np.zeros_like(ids)

    def allowed(self, others: Array, target: Array, source: Array | None = None) -> Array:
        """For each column: True if a replica may come to ``target`` (and leave ``source``).

        others: rows x columns, ids of the part's other replicas, ``none`` where there are none.
        """
        ok = np.ones(np.broadcast_shapes(others.shape[1:], target.shape), dtype=bool)
        for depth in range(DEPTH):
            tiers = self.tier_of[depth][others]
            tier = self.tier_of[depth][target]
            count = (tiers == tier).sum(axis=0)
            ok &= count < self.most[depth][tier]
            if self.bounded[depth]:
                unmet = self._unmet(depth, others, tiers, _ranks_in_columns(tiers), target)
                ok &= (count < self.least[depth][tier]) | (unmet <= 0)
                if source is not None:
                    left = self.tier_of[depth][source]
                    remaining = (tiers == left).sum(axis=0)
                    ok &= (left == tier) | (remaining >= self.least[depth][left])
        return ok

    def _unmet(self, depth: int, others: Array, tiers: Array, ranks: Array, target: Array) -> Array:
        """How many replicas the siblings of the target's tier, and it itself, lack to their least."""
        parent = self.above(depth, target)
        met = (ranks < self.least[depth][tiers]) & (self.above(depth, others) == parent)
        return self.least_below[depth][parent] - met.sum(axis=0)

    def faults(self, ids: Array) -> Array:
        """rows x columns: how much each replica is in the way of the plan, 0 if not at all; higher tiers weigh more."""
        score = np.zeros(ids.shape, dtype=np.int32)
        for depth in range(DEPTH):
            weight = 4 ** (DEPTH - depth)
            tiers = self.tier_of[depth][ids]
            counts = list(held_counts(list(tiers)))
            held = np.stack([count for _, count, _ in counts]).astype(np.int32)
            over = held > self.most[depth][tiers]
            score += weight * over
            if self.bounded[depth]:
                spare = held > self.least[depth][tiers]
                spare &= tiers < len(self.most[depth]) - 1
                if spare.any():
                    ranks = _ranks_in_columns(tiers)
                    lacking = np.stack([self._unmet(depth, ids, tiers, ranks, row) for row in ids]) > 0
                    score += weight // 2 * (spare & lacking & ~over.any(axis=0))
        return score


def _ranks_in_columns(tiers: Array) -> Array:
    """How many earlier rows of the column hold the same value."""
    ranks = np.zeros(tiers.shape, dtype=np.int16)
    for later in range(1, len(tiers)):
        for earlier in range(later):
            ranks[later] += tiers[later] == tiers[earlier]
    return ranks


def _ranks(values: Array) -> Array:
    """How many earlier elements are equal."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    start = np.zeros(len(values), dtype=np.int64)
    new = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    start[new] = new
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = np.arange(len(values)) - np.maximum.accumulate(start)
    return ranks


class Mover:
    """One rebalance of a table.

    table: rows x parts of device ids, ``bounds.none`` where unassigned or beyond a short row; changed in place.
    movable: per part, whether min_part_hours have passed. ``forced`` parts have an entry that must be placed; nothing
    else of them moves.
    """

    def __init__(
        self,
        plan: Plan,
        devs: Sequence[Device | None],
        table: Array,
        movable: Array,
        seed: str,
        max_moves: int | None = None,
        progress: Callable[[str, float], None] = lambda what, done: None,
    ) -> None:
        self.bounds = Bounds(plan, devs)
        self.table = table
        self.free = movable.copy()
        self.rng = generator(seed)
        self.budget = table.size if max_moves is None else max_moves
        self.progress = progress
        self.quota = np.zeros(len(devs) + 1, dtype=np.int64)
        for dev_id, count in plan.quota.items():
            self.quota[dev_id] = count
        self.live = np.array(sorted(plan.quota), dtype=np.int64)
        self.held = np.bincount(table.ravel(), minlength=len(devs) + 1)
        self.held[self.bounds.none] = 0

    def run(self, forced_parts: Array, forced_rows: Array) -> None:
        """Place the forced entries, repair the plan, fill the quotas."""
        self.free[forced_parts] = False
        parts, rows = self._pick_faults()
        origin = np.concatenate([np.full(len(forced_parts), self.bounds.none), self.table[rows, parts]])
        self._lift(parts, rows)
        self.progress("placing replicas", 0.4)
        self._place(np.concatenate([forced_parts, parts]), np.concatenate([forced_rows, rows]), origin)
        self.progress("evening out", 0.6)
        self._even_out()

    # ---- the table

    def _others(self, parts: Array, rows: Array) -> Array:
        ids = self.table[:, parts]
        ids[rows, np.arange(len(parts))] = self.bounds.none
        return ids

    def _lift(self, parts: Array, rows: Array) -> None:
        np.subtract.at(self.held, self.table[rows, parts], 1)
        self.table[rows, parts] = self.bounds.none

    def _put(self, parts: Array, rows: Array, target: Array) -> None:
        self.table[rows, parts] = target
        np.add.at(self.held, target, 1)

    def _move(self, parts: Array, rows: Array, target: Array) -> None:
        self._lift(parts, rows)
        self._put(parts, rows, target)
        self.free[parts] = False
        self.budget -= len(parts)

    # ---- replicas that break the plan

    def _pick_faults(self) -> tuple[Array, Array]:
        """One entry of each movable part that breaks the plan: from the highest broken tier, the fullest device."""
        broken = [
            start + np.flatnonzero(self.bounds.faults(self.table[:, start : start + _COLUMNS]).any(axis=0))
            for start in range(0, self.table.shape[1], _COLUMNS)
        ]
        candidates = np.concatenate(broken)
        candidates = self.rng.permutation(candidates[self.free[candidates]])[: max(0, self.budget)]
        surplus = (self.held - self.quota).astype(np.float64)
        rows = np.empty(len(candidates), dtype=np.int64)
        # in pieces, so that one device does not stay the fullest for all
        size = min(_COLUMNS, max(8, len(candidates) // 256))
        for start in range(0, len(candidates), size):
            ids = self.table[:, candidates[start : start + size]]
            score = self.bounds.faults(ids).astype(np.float64)
            fullness = surplus[ids] / np.maximum(1, self.quota[ids])
            # between 0 and 1: never weighs as much as a fault
            fullness = 0.5 + 0.45 * fullness / (1 + abs(fullness)) + self.rng.random(ids.shape) / 1e4
            score[score > 0] += fullness[score > 0]
            rows[start : start + size] = row = score.argmax(axis=0)
            np.subtract.at(surplus, ids[row, np.arange(ids.shape[1])], 1)
        return candidates, rows

    # ---- entries that need a device

    def _place(self, parts: Array, rows: Array, origin: Array) -> None:
        """Give every entry a device. Without ``origin`` it must get one, else it may stay there."""
        todo = self.rng.permutation(len(parts))
        stalled = rounds = 0
        while len(todo) and stalled < _FRUITLESS_ROUNDS and rounds < _MOST_ROUNDS:
            rounds += 1
            room = self._room(len(todo) if not stalled else self.table.size)
            slots = np.repeat(np.arange(len(room)), room)
            if not len(slots):
                break
            _, first = np.unique(parts[todo], return_index=True)
            now = todo[first][:_CANDIDATES]
            tries = int(np.clip(_CANDIDATES // len(now), 1, 16))
            drawn = slots[self.rng.integers(0, len(slots), size=(tries, len(now)))]
            others = self._others(parts[now], rows[now])
            good = np.stack([self.bounds.allowed(others, target) for target in drawn])
            target = drawn[good.argmax(axis=0), np.arange(len(now))]
            hit = np.flatnonzero(good.any(axis=0))
            hit = hit[_ranks(target[hit]) < room[target[hit]]]
            chosen = now[hit]
            self._settle(parts[chosen], rows[chosen], target[hit], origin[chosen])
            todo = np.setdiff1d(todo, chosen, assume_unique=True)
            stalled = stalled + 1 if len(hit) * _LEAST_SHARE_PLACED < len(now) else 0
        todo = self._place_anywhere(parts, rows, origin, todo)
        for entry in todo.tolist():
            target = self._best_home(int(parts[entry]), int(rows[entry]), int(origin[entry]))
            self._settle(parts[[entry]], rows[[entry]], np.array([target]), origin[[entry]])

    def _place_anywhere(self, parts: Array, rows: Array, origin: Array, todo: Array) -> Array:
        """Where many entries are left that fit on no device with room: on the emptiest of some that they fit on.

        Returns those that found none."""
        shares = np.cumsum(self.quota[self.live])
        missed = []
        while len(todo) > _PLACED_SINGLY:
            _, first = np.unique(parts[todo], return_index=True)
            now = todo[first][:_PLACED_TOGETHER]
            todo = np.setdiff1d(todo, now, assume_unique=True)
            drawn = self.rng.integers(0, shares[-1], size=(_CANDIDATES // _PLACED_TOGETHER, len(now)))
            drawn = self.live[np.searchsorted(shares, drawn, side="right")]
            others = self._others(parts[now], rows[now])
            good = np.stack([self.bounds.allowed(others, target) for target in drawn])
            want = (self.quota - self.held)[drawn] / self.quota[drawn]
            best = np.where(good, want, -np.inf).argmax(axis=0)
            hit = good.any(axis=0)
            chosen = now[hit]
            self._settle(parts[chosen], rows[chosen], drawn[best, np.arange(len(now))][hit], origin[chosen])
            missed.append(now[~hit])
        return np.concatenate([todo, *missed])

    def _room(self, count: int) -> Array:
        """What each device lacks; if ``count`` parts are fewer, then what the emptiest need to be equally empty."""
        room = np.maximum(0, self.quota - self.held)
        if room.sum() <= count:
            return room
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            level = (low + high) / 2
            if np.ceil(np.maximum(0, room - level * self.quota)).sum() >= count:
                low = level
            else:
                high = level
        return np.ceil(np.maximum(0, room - low * self.quota)).astype(np.int64)

    def _settle(self, parts: Array, rows: Array, target: Array, origin: Array) -> None:
        self._put(parts, rows, target)
        moved = (target != origin) & (origin != self.bounds.none)
        self.free[parts[moved]] = False
        self.budget -= int(moved.sum())

    def _best_home(self, part: int, row: int, origin: int) -> int:
        """The emptiest device that the plan allows; where none is, ``origin`` or the least bad."""
        others = self.table[:, [part]].copy()
        others[row] = self.bounds.none
        live = self.live
        want = (self.quota - self.held)[live] / np.maximum(1, self.quota[live]) + self.rng.random(
            len(live)
        ) * 1e-6
        good = self.bounds.allowed(others, live)
        if good.any():
            return int(live[good][want[good].argmax()])
        if origin != self.bounds.none:
            return origin
        harm = np.zeros(len(live), dtype=np.int64)
        for depth in range(DEPTH):
            tier = self.bounds.tier_of[depth][live]
            count = (self.bounds.tier_of[depth][others] == tier).sum(axis=0)
            over = np.maximum(0, count + 1 - self.bounds.most[depth][tier])
            harm = harm * 16 + np.minimum(over, 15)
        harm[np.isin(live, others)] = 1 << 30
        best = np.flatnonzero(harm == harm.min())
        return int(live[best[want[best].argmax()]])

    # ---- from the full to the empty

    def _even_out(self) -> None:
        """Devices above their quota give to devices below theirs, until there is nothing to give, no budget or no success."""
        sources = _Holdings(self)
        if not sources.count.any():
            return
        stalled = rounds = 0
        while stalled < 2 * _FRUITLESS_ROUNDS and rounds < _MOST_ROUNDS and self.budget > 0:
            rounds += 1
            source, target = self._pairs(sources, near=stalled < _FRUITLESS_ROUNDS)
            if not len(source):
                return
            done = self._give(sources, source, target)
            stalled = 0 if done else stalled + 1
        self._search(sources)
        self._chain(sources)

    def _units(self, counts: Array) -> Array:
        return self.rng.permutation(np.repeat(np.arange(len(counts)), np.maximum(0, counts)))

    def _pairs(self, sources: _Holdings, near: bool) -> tuple[Array, Array]:
        """Devices above their quota with devices below theirs, a pair for each part to move; if ``near``, first those of
        the same server, then zone, then region."""
        surplus = np.where(sources.count > 0, self.held - self.quota, 0)
        source, target = self._units(surplus[:-1]), self._units((self.quota - self.held)[:-1])
        found: list[tuple[Array, Array]] = []
        for depth in (2, 1, 0) if near else ():
            tier_of = self.bounds.tier_of[depth]
            of_source, of_target = tier_of[source], tier_of[target]
            size = len(tier_of) + 1
            in_source = _ranks(of_source) < np.bincount(of_target, minlength=size)[of_source]
            in_target = _ranks(of_target) < np.bincount(of_source, minlength=size)[of_target]
            some_source, some_target = source[in_source], target[in_target]
            found.append(
                (
                    some_source[np.argsort(of_source[in_source], kind="stable")],
                    some_target[np.argsort(of_target[in_target], kind="stable")],
                )
            )
            source, target = source[~in_source], target[~in_target]
        count = min(len(source), len(target))
        found.append((source[:count], target[:count]))
        pairs = np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])
        limit = min(_CANDIDATES, max(0, self.budget))
        if len(pairs[0]) > limit:
            some = self.rng.permutation(len(pairs[0]))[:limit]
            return pairs[0][some], pairs[1][some]
        return pairs

    def _give(self, sources: _Holdings, source: Array, target: Array) -> int:
        """Try to move one part for each pair; returns how many moved."""
        tries = int(np.clip(_CANDIDATES // len(source), 1, 64))
        parts, rows = sources.draw(source, tries)
        wide_source, wide_target = np.tile(source, tries), np.tile(target, tries)
        good = np.flatnonzero(self.free[parts])
        good = good[
            self.bounds.allowed(self._others(parts[good], rows[good]), wide_target[good], wide_source[good])
        ]
        # the first good draw of each pair, and each part once
        pair = good % len(source)
        good = good[np.unique(pair, return_index=True)[1]]
        good = good[np.unique(parts[good], return_index=True)[1]]
        self._move(parts[good], rows[good], wide_target[good])
        return len(good)

    def _search(self, sources: _Holdings) -> None:
        """Look through very many parts for each device that is still below its quota."""
        for target in self._units((self.quota - self.held)[:-1])[:_MOST_SEARCHES].tolist():
            surplus = self.held - self.quota
            parts, rows, holder = sources.sample(_COLUMNS)
            usable = self.free[parts] & (surplus[holder] > 0)
            parts, rows, holder = parts[usable], rows[usable], holder[usable]
            if not len(parts) or self.budget < 1:
                return
            good = np.flatnonzero(
                self.bounds.allowed(self._others(parts, rows), np.full(len(parts), target), holder)
            )
            if len(good):
                self._move(parts[good[:1]], rows[good[:1]], np.array([target]))

    def _chain(self, sources: _Holdings) -> None:
        """Where no part of a full device may go to an empty one: a third device gives to the empty one and is given to."""
        stalled = 0
        while stalled < _FRUITLESS_ROUNDS and self.budget > 1:
            source, target = self._pairs(sources, near=False)
            source, target = source[:_CHAINED_TOGETHER], target[:_CHAINED_TOGETHER]
            if not len(source):
                return
            stalled = 0 if self._chain_once(sources, source, target) else stalled + 1

    def _chain_once(self, sources: _Holdings, source: Array, target: Array) -> int:
        free = np.flatnonzero(self.free)
        if not len(free):
            return 0
        tries = int(np.clip(_CANDIDATES // len(source), 1, 64))
        parts = free[self.rng.integers(0, len(free), size=tries * len(source))]
        rows = self.rng.integers(0, len(self.table), size=len(parts))
        middle = self.table[rows, parts]
        wide_target = np.tile(target, tries)
        good = np.flatnonzero((middle != self.bounds.none) & (self.held[middle] >= self.quota[middle]))
        good = good[
            self.bounds.allowed(self._others(parts[good], rows[good]), wide_target[good], middle[good])
        ]
        good = good[np.unique(good % len(source), return_index=True)[1]]
        good = good[np.unique(parts[good], return_index=True)[1]]
        pair = good % len(source)
        parts, rows, middle = parts[good], rows[good], middle[good]
        done = 0
        if not len(good):
            return done
        from_parts, from_rows = sources.draw(source[pair], tries)
        link = np.tile(np.arange(len(good)), tries)
        fine = np.flatnonzero(self.free[from_parts] & ~np.isin(from_parts, parts))
        fine = fine[
            self.bounds.allowed(
                self._others(from_parts[fine], from_rows[fine]), middle[link[fine]], source[pair][link[fine]]
            )
        ]
        fine = fine[np.unique(link[fine], return_index=True)[1]]
        fine = fine[np.unique(from_parts[fine], return_index=True)[1]][: self.budget // 2]
        linked = link[fine]
        self._move(parts[linked], rows[linked], target[pair[linked]])
        self._move(from_parts[fine], from_rows[fine], middle[linked])
        return len(fine)


class _Holdings:
    """The entries of devices above their quota that may move, by device."""

    def __init__(self, mover: Mover) -> None:
        self.rng = mover.rng
        table, parts = mover.table, mover.table.shape[1]
        above = mover.held > mover.quota
        above[mover.bounds.none] = False
        wanted = above[table]
        wanted &= mover.free
        entries = np.flatnonzero(wanted.ravel())
        holder = table.ravel()[entries]
        order = np.argsort(holder, kind="stable")
        self.entries = entries[order]
        self.parts = parts
        self.holder = holder[order]
        self.count = np.bincount(holder, minlength=len(mover.held))
        self.start = np.concatenate([[0], np.cumsum(self.count)[:-1]])

    def draw(self, source: Array, tries: int) -> tuple[Array, Array]:
        """(parts, rows): ``tries`` random entries of each source, the first of all before the second of all."""
        offset = (self.rng.random((tries, len(source))) * self.count[source]).astype(np.int64)
        entries = self.entries[(self.start[source] + offset).ravel()]
        return entries % self.parts, entries // self.parts

    def sample(self, count: int) -> tuple[Array, Array, Array]:
        """(parts, rows, devices) of up to ``count`` entries, in random order."""
        if len(self.entries) <= count:
            some = self.rng.permutation(len(self.entries))
        else:
            some = self.rng.integers(0, len(self.entries), size=count)
        entries = self.entries[some]
        return entries % self.parts, entries // self.parts, self.holder[some]
