"""Wildcards and variables of policies (spec s3.md 16.2).

A pattern is matched piece by piece, each as far left as it can be: that is right for `*`, and no pattern can make it try anything twice. What a
variable stands for is taken as it is, stars in it included. Never here: what is compared with what.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from swift.core.remembered import remembered

STAR, MARK = object(), object()
Token = object  # STAR, MARK, a text that stands for itself, or a Variable
Lookup = Callable[[str], str | None]
_VARIABLE = re.compile(r"\$\{\s*([^}',]*?)\s*(?:,\s*'([^'}]*)'\s*)?\}")
_LITERAL = {"*": "*", "?": "?", "$": "$"}


class BadPattern(ValueError):
    """A variable that does not end, or has no name."""


class Variable:
    """`name`: a condition key in lower case; `default`: None for none."""

    __slots__ = ("default", "name")

    def __init__(self, name: str, default: str | None) -> None:
        self.name = name
        self.default = default


class Glob:
    """A pattern without variables. `*` stands for any text, `/` included, `?` for one character."""

    __slots__ = ("_exact", "_first", "_last", "_least", "_middle")

    def __init__(self, tokens: Sequence[Token]) -> None:
        pieces: list[list[Token]] = [[]]
        for token in tokens:
            if token is STAR:
                pieces.append([])
            else:
                pieces[-1].append(token)
        sizes = [sum(1 if token is MARK else len(str(token)) for token in piece) for piece in pieces]
        self._least = sum(sizes)
        self._exact = _piece(pieces[0]) if len(pieces) == 1 else None
        self._first, self._last = (_piece(pieces[0]), sizes[0]), (_piece(pieces[-1]), sizes[-1])
        self._middle = [
            (_piece(piece), size) for piece, size in zip(pieces[1:-1], sizes[1:-1], strict=True) if size
        ]

    def matches(self, text: str) -> bool:
        """Takes time for each character of text and pattern once, or with `?` in a piece of it for each pair of them."""
        if len(text) < self._least:
            return False
        if self._exact is not None:
            return len(text) == self._least and _is_at(self._exact, text, 0)
        (first, start), (last, size) = self._first, self._last
        stop = len(text) - size
        if not _is_at(first, text, 0) or not _is_at(last, text, stop):
            return False
        for piece, length in self._middle:
            if isinstance(piece, str):
                found = text.find(piece, start, stop)
            else:
                match = piece.search(text, start, stop)
                found = match.start() if match else -1
            if found < 0:
                return False
            start = found + length
        return True


_Piece = str | re.Pattern[str]


def _piece(tokens: Sequence[Token]) -> _Piece:
    if MARK in tokens:
        return re.compile(
            "".join("." if token is MARK else re.escape(str(token)) for token in tokens), re.DOTALL
        )
    return "".join(map(str, tokens))


def _is_at(piece: _Piece, text: str, start: int) -> bool:
    if isinstance(piece, str):
        return text.startswith(piece, start)
    return piece.match(text, start) is not None


class Pattern:
    """A text of a policy. `is_glob` False: `*` and `?` in it stand for themselves."""

    __slots__ = ("_glob", "_tokens", "is_fixed", "text")

    def __init__(self, text: str, has_variables: bool, is_glob: bool = True) -> None:
        """Raises BadPattern."""
        self.text = text
        self._tokens = _tokens(text, has_variables, is_glob)
        self.is_fixed = not any(isinstance(token, Variable) for token in self._tokens)
        self._glob = Glob(self._tokens) if self.is_fixed else None

    @property
    def has_wildcards(self) -> bool:
        return any(token is STAR or token is MARK for token in self._tokens)

    def glob(self, lookup: Lookup) -> Glob | None:
        """With what its variables stand for; None if one of them stands for nothing."""
        if self._glob is not None:
            return self._glob
        filled = _filled(self._tokens, lookup)
        return None if filled is None else Glob(filled)

    def parts(self, lookup: Lookup, separator: str, most: int) -> list[Glob] | None:
        """The patterns of at most `most` parts between separators, the last one with all that is left; None as of `glob`."""
        filled = _filled(self._tokens, lookup)
        if filled is None:
            return None
        parts: list[list[Token]] = [[]]
        for token in filled:
            pieces = (
                [token] if token is STAR or token is MARK else str(token).split(separator, most - len(parts))
            )
            parts[-1].append(pieces[0])
            parts.extend([piece] for piece in pieces[1:])
        return [Glob(part) for part in parts]

    def value(self, lookup: Lookup) -> str | None:
        """The text with what its variables stand for, for what knows no wildcards; None as of `glob`."""
        filled = _filled(self._tokens, lookup)
        if filled is None:
            return None
        return "".join("*" if token is STAR else "?" if token is MARK else str(token) for token in filled)


def _filled(tokens: Sequence[Token], lookup: Lookup) -> list[Token] | None:
    filled: list[Token] = []
    for token in tokens:
        if isinstance(token, Variable):
            found = lookup(token.name)
            found = token.default if found is None else found
            if found is None:
                return None
            token = found
        filled.append(token)
    return filled


def _tokens(text: str, has_variables: bool, is_glob: bool) -> tuple[Token, ...]:
    tokens: list[Token] = []
    at = 0
    while has_variables and (start := text.find("${", at)) >= 0:
        found = _VARIABLE.match(text, start)
        if found is None or not found.group(1):
            raise BadPattern(text)
        tokens.extend(_plain(text[at:start], is_glob))
        name, default = found.groups()
        tokens.append(_LITERAL[name] if name in _LITERAL else Variable(name.lower(), default))
        at = found.end()
    tokens.extend(_plain(text[at:], is_glob))
    return tuple(tokens)


def _plain(text: str, is_glob: bool) -> list[Token]:
    if not is_glob:
        return [text] if text else []
    kinds: dict[str, Token] = {"*": STAR, "?": MARK}
    return [kinds.get(part, part) for part in re.split(r"([*?])", text) if part]


@remembered(1024, longest=2048)
def plain_glob(text: str) -> Glob:
    """The pattern of a text that has no variables."""
    return Glob(_tokens(text, False, True))
