"""What counts as different between two answers: everything but what no two answers share.

Dates, timestamps, transaction ids, addresses, boundaries and values that were kept become words in angle brackets, so that their place and form
is compared; JSON is compared by what it means, XML in its canonical form. Never here: which differences are expected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

from test.side_by_side.sending import Answer

SHOWN = 300  # characters of each side, at most

_WORDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), word)
    for pattern, word in (
        (r"tx[0-9a-f]{21}-[0-9a-f]{10}[^\s\"<]{0,50}", "<transaction>"),
        (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d[ -]\w{3}[ -]\d{4} \d\d:\d\d:\d\d (GMT|UTC)", "<date>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", "<time>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "<time>"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<time>"),
        (r"\b1[5-9]\d{8}\.\d{5}(_[0-9a-f]{16})?\b", "<timestamp>"),
        (r"\b127\.0\.0\.1:\d+", "<address>"),
        (r"AUTH_tk[0-9a-f]{32}", "<token>"),
    )
)
_BOUNDARY = re.compile(r'boundary="?([^";\s]+)')
# header → what stands for its value
_HEADERS: Mapping[str, str] = {
    "x-auth-token-expires": "<seconds>",
    "x-timestamp": "<timestamp>",
    "x-put-timestamp": "<timestamp>",
    "x-trans-id": "<transaction>",
    "x-openstack-request-id": "<transaction>",
}
# Lists in no order.
_SETS = frozenset(("allow", "vary", "access-control-allow-methods", "access-control-allow-headers", "access-control-expose-headers"))  # fmt: skip


def plain(text: str) -> str:
    """Without dates, timestamps, transaction ids, addresses and tokens."""
    for pattern, word in _WORDS:
        text = pattern.sub(word, text)
    return text


class Difference(NamedTuple):
    """what: `status`, `reason`, `error`, `body` or `header <name>`; then both sides, the reference's first."""

    what: str
    reference: str
    ours: str


def differences(
    reference: Answer,
    ours: Answer,
    kept: tuple[Mapping[str, str], Mapping[str, str]],
    words: Sequence[tuple[str, str]] = (),
) -> list[Difference]:
    """`kept`: by side, values that are each side's own, by name. `words`: patterns, and what stands for them."""
    if reference.body == ours.body:  # often, and it may be long
        reference, ours = reference._replace(body=b""), ours._replace(body=b"")
    return _differences(_Plain(reference, kept[0], words), _Plain(ours, kept[1], words))


def _differences(theirs: _Plain, mine: _Plain) -> list[Difference]:
    found = []
    for what in ("status", "reason", "error"):
        a, b = getattr(theirs, what), getattr(mine, what)
        if a != b and (what != "reason" or theirs.status == mine.status):
            found.append(Difference(what, a, b))
    same_body = theirs.body == mine.body
    for name in sorted({*theirs.headers, *mine.headers}):
        a, b = theirs.headers.get(name, []), mine.headers.get(name, [])
        if a == b or (name == "content-length" and a and b and (not same_body or theirs.length_varies)):
            continue
        found.append(Difference(f"header {name}", ", ".join(a) or "-", ", ".join(b) or "-"))
    if not same_body:
        found.append(Difference("body", *_where_apart(theirs.body, mine.body)))
    return found


class _Plain:
    """An answer without what is its own."""

    def __init__(self, answer: Answer, kept: Mapping[str, str], words: Sequence[tuple[str, str]]) -> None:
        self._words = words
        self._kept = sorted(kept.items(), key=lambda item: -len(item[1]))
        boundary = _BOUNDARY.search(answer.header("content-type"))
        if boundary:
            self._kept.insert(0, ("boundary", boundary[1]))
        self.status = str(answer.status or "")
        self.reason = answer.reason
        self.error = answer.error
        self.headers: dict[str, list[str]] = {}
        for name, value in answer.headers:
            name = name.lower()
            if name == "content-length" and answer.status == 204:
                continue  # there is no body, whether that is said or not
            if name in _SETS:
                value = ", ".join(sorted(word.strip() for word in value.split(",")))
            text = _HEADERS.get(name) or self._text(value)
            if text or not value:  # a word may stand for nothing
                self.headers.setdefault(name, []).append(text)
        for values in self.headers.values():
            values.sort()
        raw = answer.body.decode("utf-8", "surrogateescape")
        self.body = self._body(raw, answer.header("content-type"))
        # where what was taken out may have another length on the other side
        self.length_varies = self._text(raw) != raw

    def _text(self, text: str) -> str:
        for name, value in self._kept:
            if len(value) > 5:
                text = text.replace(value, f"<{name}>")
        for pattern, word in self._words:
            text = re.sub(pattern, word, text)
        return plain(text)

    def _body(self, text: str, content_type: str) -> str:
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "application/json":
            try:
                text = json.dumps(json.loads(text), sort_keys=True, ensure_ascii=False, indent=1)
            except (ValueError, RecursionError):
                pass
        elif kind.endswith("/xml") or kind.endswith("+xml"):
            try:
                text = ElementTree.canonicalize(text)
            except (ElementTree.ParseError, ValueError):
                pass
        return self._text(text)


def _where_apart(a: str, b: str) -> tuple[str, str]:
    """Both from a little before the first place where they differ on."""
    at = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    start = max(0, at - 60)
    return tuple(("…" if start else "") + _short(text[start:]) for text in (a, b))  # type: ignore[return-value]


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text) - SHOWN} more)"


def found_in(answer: Answer, where: str) -> str:
    """A value of an answer, by one of the ways of `Step.keep`; "" where it is not there."""
    kind, _, word = where.partition(":")
    if kind == "header":
        return answer.header(word)
    text = answer.body.decode("utf-8", "surrogateescape")
    if kind == "json":
        try:
            found: Any = json.loads(text)
            for key in word.split("."):
                found = found[int(key)] if isinstance(found, list) else found[key]
        except (ValueError, LookupError, TypeError):
            return ""
        return str(found)
    if kind != "body":
        raise ValueError(f"where is {where!r}?")
    if not word:
        return text
    match = re.search(word, text)
    return match[1] if match else ""
