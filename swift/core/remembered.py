"""What was worked out for words that come from outside, remembered in bounded memory: bounded in number and in length.

What lives here: the dictionary and the decorator. What never does: answers of other servers, which grow old.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

LONGEST = 256  # characters of a word, or of all words of a tuple

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Remembered(dict[K, T]):
    """`most` values by words, none of them longer than `longest` characters in all. Reads are a dictionary's.

    When it is full it begins anew, so who sends rubbish takes from others only what is worked out again at once.
    """

    __slots__ = ("longest", "most")

    def __init__(self, most: int, longest: int = LONGEST) -> None:
        super().__init__()
        self.most = most
        self.longest = longest

    def keep(self, words: K, value: T) -> T:
        """Remembers the value if the words are short enough, and returns it."""
        if _length(words) <= self.longest:
            if len(self) >= self.most:
                self.clear()
            self[words] = value
        return value


class _Asked(Remembered[Any, Any]):
    __slots__ = ("function",)

    function: Callable[[Any], Any]

    def __missing__(self, word: Any) -> Any:
        return self.keep(word, self.function(word))


def remembered(most: int, longest: int = LONGEST) -> Callable[[Callable[[K], T]], Callable[[K], T]]:
    """For a pure function of one word: `Remembered`, asked as fast as a dictionary is. What it raises is not remembered."""

    def decorate(function: Callable[[K], T]) -> Callable[[K], T]:
        known = _Asked(most, longest)
        known.function = function
        return known.__getitem__

    return decorate


def _length(words: Any) -> int:
    if isinstance(words, tuple):
        return sum(map(_length, words))
    return len(words) if isinstance(words, (str, bytes)) else 1
