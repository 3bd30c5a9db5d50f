"""Heads of requests that look alike: one pattern for a method and a list of header names, in place of a look at each line.

What asks a server asks it with the same headers again and again. A list that recurs becomes a pattern which says all that `parser` would
find in such a head; what it does not match in every byte is read line by line as before, so a form never decides that a head is bad.
Lives here: which forms are known, and how they are learned. Never here: what a head means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

MOST_KINDS = 64  # methods with so many lines each
MOST_OF_A_KIND = 3
MOST_HEADERS = 40  # of one form
LONGEST_NAMES = 1024  # characters of them together
LOOK_EVERY = 8  # heads without a form; the names of one of so many are noted
SEEN_OFTEN = 3  # noted so often, one after the other, they make a form
LEAST_BETWEEN = 256  # heads without a form between two that are learned: making a pattern costs as much as reading a hundred

Kind = tuple[str, int]

# As `parser` has them. Values that begin or end with a blank, or are empty, are left to it; names are compared letter by letter.
_LINE = r"([!-~]+) (/[!-~\x80-\xff]*) (HTTP/1\.[01])\r\n"
_VALUE = r": ([^ \t\r\n\0][^\r\n\0]*)(?<![ \t])\r\n"


class Form:
    """`match(text)` gives the values for `keys`, which begin with method, path with query, and protocol. `count`: headers."""

    __slots__ = ("count", "keys", "match", "names")

    def __init__(self, names: tuple[str, ...], keys: Sequence[str]) -> None:
        self.names = names
        self.count = len(names)
        self.keys = ("REQUEST_METHOD", "RAW_PATH_INFO", "SERVER_PROTOCOL", *keys)
        pattern = re.compile(f"{_LINE}{''.join(re.escape(name) + _VALUE for name in names)}\\r\\n")
        self.match: Callable[[str], re.Match[str] | None] = pattern.fullmatch


class Forms:
    """What a process has learned; bounded, whatever it is sent."""

    def __init__(self) -> None:
        self._known: dict[Kind, list[Form]] = {}
        self._noted: dict[Kind, tuple[tuple[str, ...], int]] = {}
        self._until_look = LOOK_EVERY
        self._until_learning = 0

    def find(self, text: str) -> tuple[Form, tuple[Any, ...]] | None:
        """The form of a head, and the values for its keys."""
        known = self._known.get((text[:4], text.count("\n")))
        if known is None:
            return None
        for form in known:
            match = form.match(text)
            if match is not None:
                if form is not known[0]:
                    known.remove(form)
                    known.insert(0, form)
                return form, match.groups()
        return None

    def is_look_due(self) -> bool:
        """Called for each head without a form; returns True if `note` is to be called with what is in this one."""
        self._until_learning -= 1
        self._until_look -= 1
        if self._until_look > 0:
            return False
        self._until_look = LOOK_EVERY
        return True

    def note(self, text: str, names: tuple[str, ...], keys: Sequence[str]) -> None:
        """A good head with these header names, whose values stand under these keys; all of them different."""
        if len(names) > MOST_HEADERS or sum(map(len, names)) > LONGEST_NAMES:
            return
        kind = (text[:4], text.count("\n"))
        last, times = self._noted.get(kind, ((), 0))
        times = times + 1 if last == names else 1
        if times < SEEN_OFTEN or self._until_learning > 0:
            if len(self._noted) >= MOST_KINDS and kind not in self._noted:
                self._noted.clear()
            self._noted[kind] = names, times
            return
        self._noted.pop(kind, None)
        self._until_learning = LEAST_BETWEEN
        if kind not in self._known and len(self._known) >= MOST_KINDS:
            del self._known[next(iter(self._known))]
        known = self._known.setdefault(kind, [])
        if not any(form.names == names for form in known):
            known[:] = [Form(names, keys), *known[: MOST_OF_A_KIND - 1]]


FORMS = Forms()
