"""What is remembered of words from outside: bounded in number and in length, and nothing else remembers functions of such words."""

from __future__ import annotations

import ast
import pathlib
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swift
from swift.core import timestamp
from swift.core.names import check_device_name, check_device_partition
from swift.core.remembered import Remembered, remembered
from swift.middleware.hosts import is_address
from swift.wire.client import header_block_of
from swift.wire.conditional import parse_http_date
from swift.wire.headers import environ_key, header_name, title_case


@given(st.lists(st.text(max_size=8)), st.integers(1, 5), st.integers(0, 6))
def test_no_more_and_no_longer_ones_are_kept(words: list[str], most: int, longest: int) -> None:
    known: Remembered[str, int] = Remembered(most, longest)
    for number, word in enumerate(words):
        assert known.keep(word, number) == number
        assert (known.get(word) == number) is (len(word) <= longest)
        assert len(known) <= most


def test_a_tuple_is_as_long_as_its_words() -> None:
    known: Remembered[tuple, int] = Remembered(10, 6)
    known.keep(("abc", b"abc"), 1)
    known.keep(("abc", ("abc", None)), 2)
    assert list(known) == [("abc", b"abc")]


def test_a_function_is_asked_once_for_what_is_kept() -> None:
    asked = []

    @remembered(2, longest=3)
    def size(word: str) -> int:
        asked.append(word)
        if not word:
            raise ValueError("nothing")
        return len(word)

    assert [size(word) for word in ("a", "a", "long", "long", "b", "a")] == [1, 1, 4, 4, 1, 1]
    assert asked == ["a", "long", "long", "b"]
    for _ in range(2):
        with pytest.raises(ValueError, match="nothing"):
            size("")
    assert asked[-2:] == ["", ""]


@pytest.mark.parametrize(
    "ask",
    [
        title_case,
        environ_key,
        is_address,
        parse_http_date,
        lambda word: header_name(f"HTTP_{word.upper()}"),
        lambda word: header_block_of({word: "x"}),
        lambda word: timestamp.parse(word[-15:].replace("x", "0") + "." + "0" * 3000),
        lambda word: check_device_partition(word, "1"),
        check_device_name,
    ],
    ids=["title", "environ", "address", "date", "name", "block", "timestamp", "partition", "device"],
)
def test_long_words_take_no_memory(ask: Callable[[str], object]) -> None:
    ask("x" * 3000)
    tracemalloc.start()
    try:
        for number in range(2000):
            ask("x" * 3000 + f"{number:05}")
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()


# Of what no client says: numbers, what a ring or a configuration names, a disk's own file names, keys and documents that are bounded elsewhere.
_OTHERS = {
    "coding/byte_maps.load",
    "coding/linear_code._numpy",
    "core/timestamp._http_date",
    "middleware/encryption/ciphers._parse_key_id",
    "middleware/encryption/ciphers.value_cipher",
    "obj/blocks._shift",
    "obj/files/layout.parse_name",
    "run/addresses._resolved",
    "s3/checksums._kernel",
    "s3/checksums._kernels",
    "s3/checksums._squares",
    "s3/names._fits",
    "s3/policy/document.parse",
}


def test_functions_of_words_from_outside_are_remembered_here() -> None:
    """`lru_cache` bounds the number of words, not their length."""
    root = pathlib.Path(swift.__file__).parent
    found = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and not str(path.relative_to(root)).startswith("cli/"):
                words = {ast.unparse(one).partition("(")[0].rpartition(".")[2] for one in node.decorator_list}
                if words & {"lru_cache", "cache"}:
                    found.add(f"{path.relative_to(root).with_suffix('')}.{node.name}")
    assert found == _OTHERS
