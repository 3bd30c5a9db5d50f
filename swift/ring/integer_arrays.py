"""Arrays of integers in the pickles of builder files: millions of numbers, read without a Python object for each.

What never lives here: any other part of a pickle, and what may stand in one (`swift.core.unpickle`, which asks this). Spec: ring 6.1.
"""

from __future__ import annotations

import re
from array import array
from sys import byteorder

from swift.core.unpickle import UnpickleError

# What the list of an array's values consists of: opcodes that remember it, then marked runs of small integers, or single ones.
_PUT = re.compile(rb"q.|r....", re.DOTALL)
_INTEGERS = re.compile(rb"\(((?:K.|M..){1,1024})e|(K.|M..)a", re.DOTALL)
_NARROW = re.compile(rb"((?:M..)*)K(.)", re.DOTALL)
_OTHER_INTEGERS = b"(KMJIL\x8a\x8b"


class IntegerArrays:
    """`swift.core.unpickle.Arrays` for array.array of unsigned integers."""

    @staticmethod
    def make(args: tuple) -> array:
        """array(*args). Raises UnpickleError for any other type of array."""
        typecode, values = args
        if typecode not in ("B", "H", "I", "L", "Q") or type(values) not in (list, array):
            raise UnpickleError("array of another type in a pickle")
        if typecode == "B" and type(values) is array:
            return array("B", _low_bytes(values))
        return array(typecode, values)

    @staticmethod
    def values(data: bytes, at: int) -> tuple[array, int] | None:
        """(the list of values whose opcodes begin at `at`, where they end); None if it has to be read one by one."""
        if put := _PUT.match(data, at):
            at = put.end()
        values = array("H")
        while run := _INTEGERS.match(data, at):
            values += _integers(run[1] or run[2])
            at = run.end()
        if data[at] in _OTHER_INTEGERS:
            return None  # larger ones among them
        return values, at


def _integers(run: bytes) -> array:
    """What the opcodes of a run push: BININT1 and BININT2, and nothing else."""
    if run[::2] == b"K" * (len(run) // 2):
        pairs = bytearray(len(run))
        pairs[::2] = run[1::2]
    else:
        # With a last one behind it, each match ends where the next opcode begins; so all have two bytes in the end.
        pieces = _NARROW.findall(run + b"K\0")
        wide = b"".join([part for pair in pieces for part in (pair[0], b"M", pair[1], b"\0")])[:-3]
        pairs = bytearray(len(wide) // 3 * 2)
        pairs[::2], pairs[1::2] = wide[1::3], wide[2::3]
    numbers = array("H", bytes(pairs))
    if byteorder == "big":
        numbers.byteswap()
    return numbers


def _low_bytes(numbers: array) -> bytes:
    """Those of an array('H') whose numbers are all below 256."""
    raw = numbers.tobytes()
    low = 0 if byteorder == "little" else 1
    if raw[1 - low :: 2].count(0) != len(numbers):
        raise UnpickleError("a byte above 255 in a pickle")
    return raw[low::2]
