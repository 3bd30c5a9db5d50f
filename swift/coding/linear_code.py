"""Erasure codes as linear maps: what a library's code does is read off what it makes of single bits, and done again faster.

In the codes on offer two bytes of a parity fragment depend on the two bytes at the same place of each data fragment, by a linear map over
GF(2), and data fragments hold the data as it is. Such a code is known as a whole when it is known what becomes of each bit. The library
itself keeps the interpreter's lock while it computes, copies everything twice and multiplies number by number; here nothing is copied.
Whoever learns a code proves it on other data than it was learned from.
What never lives here: the library, and the headers of fragments (`learned`); how maps are carried out (`byte_maps`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from swift.coding.byte_maps import MOST_SOURCES, ByteMap, Kernels, Rows

SHORTEST = 1024  # bytes of the payloads that plans are carried out on
MOST_PLANS = 256
_BITS = 16  # of what is mapped at a time
_WORD = _BITS // 8
_BLOCK = (
    64 * 1024
)  # bytes of each fragment that are worked on at a time: so few that they stay in the core's cache
_LOW = 0x00FF

# The images of the 16 bits of two bytes, the first of which has the lower bits.
WordMap = tuple[int, ...]
# (payloads of all parity fragments) of the payloads of all data fragments, of the same size
Encode = Callable[[list[bytes]], list[bytes]]


@lru_cache(maxsize=1)
def _numpy() -> Any:
    """It is loaded when it is needed, and without threads of its own."""
    name = "OPENBLAS_NUM_THREADS"
    given = os.environ.get(name)
    os.environ[name] = given or "1"
    import numpy

    if given is None:
        del os.environ[name]
    return numpy


class NotEnough(Exception):
    """Some fragments do not follow from the others."""


def bytes_to_learn(data: int) -> int:
    """How long the payloads must be at least that `LinearCode.learned` hands to the library."""
    return 2 * data * _BITS * _WORD


class Plan:
    """How some fragments follow from others. `sources`: indexes of those that are needed, in this order."""

    __slots__ = ("sources", "_plain", "_plain_at", "_mixed", "_mixed_at", "_spare")

    def __init__(self, kernels: Kernels, sources: Sequence[int], maps: Sequence[Sequence[WordMap]]) -> None:
        """`maps[output][source]`."""
        self.sources = tuple(sources)
        # outputs whose every byte depends on bytes at its own place only, and others
        self._plain_at = [at for at, row in enumerate(maps) if all(map(_is_plain, row))]
        self._mixed_at = [at for at in range(len(maps)) if at not in self._plain_at]
        plain = [[_part(one, 0, 0) for one in maps[at]] for at in self._plain_at]
        # of these, one row for the first byte of each two and one for the second, both made of both
        mixed = [
            [_part(one, start, shift) for one in maps[at] for start in (0, 8)]
            for at in self._mixed_at
            for shift in (0, 8)
        ]
        self._plain = Rows(kernels, plain) if plain else None
        self._mixed = Rows(kernels, mixed) if mixed else None
        self._spare: list[Any] = []  # room for the second bytes, of whoever has done with it

    def run(self, sources: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Fill the outputs. All are buffers of the same length, an even one of at least SHORTEST; long ones take a while, without the lock."""
        np = _numpy()
        views = [np.frombuffer(one, np.uint8) for one in (*sources, *outputs)]
        length = len(views[0])
        if length < SHORTEST or length % _WORD or any(len(view) != length for view in views):
            raise ValueError("fragments of different or odd lengths")
        if not all(view.flags.writeable for view in views[len(sources) :]):
            raise ValueError("outputs that can't be written to")
        starts = [view.__array_interface__["data"][0] for view in views]
        from_, to = starts[: len(sources)], starts[len(sources) :]
        made = views[len(sources) :]
        at = 0
        while at < length:
            size = length - at if length - at < 2 * _BLOCK else _BLOCK
            here = [start + at for start in from_]
            if self._plain is not None:
                self._plain.run(size, here, [to[n] + at for n in self._plain_at])
            if self._mixed is not None:
                is_last = at + size == length
                self._run_mixed(size, is_last, here, [made[n][at : at + size] for n in self._mixed_at])
            at += size

    def _run_mixed(self, size: int, is_last: bool, sources: list[int], outputs: list[Any]) -> None:
        np = _numpy()
        try:
            spare = self._spare.pop()
        except IndexError:
            spare = np.empty((len(outputs), 2 * _BLOCK), np.uint8)
        assert self._mixed is not None
        pairs = [address for start in sources for address in (start, start + 1)]
        seconds = [spare[n, :size] for n in range(len(outputs))]
        targets = [
            view.__array_interface__["data"][0]
            for pair in zip(outputs, seconds, strict=True)
            for view in pair
        ]
        # every other byte of each is of use; the last one is not, and would be made of a byte behind the end
        self._mixed.run(size - is_last, pairs, targets)
        for output, second in zip(outputs, seconds, strict=True):
            low, high = output.view("<u2"), second.view("<u2")
            np.bitwise_and(low, np.uint16(_LOW), out=low)
            np.left_shift(high, np.uint16(8), out=high)
            np.bitwise_or(low, high, out=low)
        self._spare.append(spare)


def _is_plain(one: WordMap) -> bool:
    low = _part(one, 0, 0)
    return one == (*low, *(image << 8 for image in low))


def _part(one: WordMap, start: int, shift: int) -> ByteMap:
    """What the byte whose lowest bit is `start` gives to the one whose lowest bit is `shift`."""
    return tuple(image >> shift & 0xFF for image in one[start : start + 8])


class LinearCode:
    """`data` + `parity` fragments; `maps[parity][data]`."""

    def __init__(self, kernels: Kernels, data: int, maps: Sequence[Sequence[WordMap]]) -> None:
        self.data = data
        self.parity = len(maps)
        self._kernels = kernels
        self._maps = maps
        self._plans: dict[tuple[tuple[int, ...], tuple[int, ...]], Plan] = {}
        self.encoding = Plan(kernels, range(data), maps)

    @classmethod
    def learned(cls, kernels: Kernels, data: int, size: int, encode: Encode) -> LinearCode | None:
        """The code that `encode` does; None if it is none of these. `size`: of the payloads it is given, see `bytes_to_learn`."""
        if 2 * data > MOST_SOURCES:
            return None
        bits = [bytearray(size) for _ in range(data)]
        for number in range(data):
            for bit in range(_BITS):
                bits[number][(number * _BITS + bit) * _WORD + bit // 8] = 1 << bit % 8
        made = encode([bytes(one) for one in bits])
        used = data * _BITS * _WORD
        if any(len(one) != size or any(one[used:]) for one in made):
            return None
        words = [
            [int.from_bytes(one[at : at + _WORD], "little") for at in range(0, used, _WORD)] for one in made
        ]
        maps = [
            [tuple(word[number * _BITS : (number + 1) * _BITS]) for number in range(data)] for word in words
        ]
        return cls(kernels, data, maps)

    def plan(self, have: Sequence[int], want: Sequence[int]) -> Plan:
        """How the fragments `want` follow from the fragments `have`. Raises NotEnough."""
        key = tuple(sorted(have)), tuple(want)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._made(*key)
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def _made(self, have: tuple[int, ...], want: tuple[int, ...]) -> Plan:
        bit_of = {index: 1 << at * _BITS for at, index in enumerate(have)}
        known = self._solved(have, bit_of)
        rows = []
        for index in want:
            if index < self.data:
                rows.append(known[index])
            else:
                rows.append([self._sum(index, bit, known) for bit in range(_BITS)])
        needed = [
            at for at in range(len(have)) if any(row >> at * _BITS & 0xFFFF for bits in rows for row in bits)
        ]
        maps = [[_map_of(bits, at) for at in needed] for bits in rows]
        return Plan(self._kernels, [have[at] for at in needed], maps)

    def _sum(self, parity: int, bit: int, known: dict[int, list[int]]) -> int:
        """One bit of a parity fragment, of bits of data fragments."""
        total = 0
        for number, one in enumerate(self._maps[parity - self.data]):
            for at, image in enumerate(one):
                if image >> bit & 1:
                    total ^= known[number][at]
        return total

    def _solved(self, have: tuple[int, ...], bit_of: dict[int, int]) -> dict[int, list[int]]:
        """For each data fragment what its bits are sums of: sets of bits of those in hand, by `bit_of`. Raises NotEnough."""
        missing = [number for number in range(self.data) if number not in bit_of]
        # what is unknown stands above what is in hand
        shift = len(have) * _BITS
        known = {
            number: [bit_of[number] << bit for bit in range(_BITS)] for number in have if number < self.data
        }
        for at, number in enumerate(missing):
            known[number] = [1 << shift + at * _BITS + bit for bit in range(_BITS)]
        # each bit of a parity fragment in hand is a sum, and the two are together nothing
        sums = [
            self._sum(index, bit, known) ^ bit_of[index] << bit
            for index in have
            if index >= self.data
            for bit in range(_BITS)
        ]
        unknown = [known[number][bit] for number in missing for bit in range(_BITS)]
        found = _separated(sums, unknown)
        for number in missing:
            known[number] = [found[bit] for bit in known[number]]
        return known


def _separated(sums: list[int], unknown: Sequence[int]) -> dict[int, int]:
    """Of sums that are nothing, what each unknown bit is a sum of: bits that are none of the unknown. Raises NotEnough."""
    chosen: dict[int, int] = {}
    for bit in unknown:
        at = next((at for at, row in enumerate(sums) if row & bit), None)
        if at is None:
            raise NotEnough
        pivot = sums.pop(at)
        sums = [row ^ pivot if row & bit else row for row in sums]
        chosen = {other: row ^ pivot if row & bit else row for other, row in chosen.items()}
        chosen[bit] = pivot
    return {bit: row ^ bit for bit, row in chosen.items()}


def _map_of(bits: Sequence[int], at: int) -> WordMap:
    """What one source gives to an output whose bits are these sums."""
    return tuple(
        sum(1 << bit for bit, row in enumerate(bits) if row >> at * _BITS + column & 1)
        for column in range(_BITS)
    )
