"""Which targets want to know of an event: a notification configuration in the form that is asked. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from swift.s3.notifications import document


class Rule(NamedTuple):
    """`events`: names; `prefix`, `suffix`: of keys."""

    id: str
    target: str
    events: frozenset[str]
    prefix: str
    suffix: str


class Rules:
    """Those of a document that is kept."""

    def __init__(self, kept: dict[str, Any]) -> None:
        self.rules = [
            Rule(item["Id"], target, document.events_of(item), *document.filter_of(item))
            for target, item in document.configurations(kept)
        ]

    def wanted(self, name: str, key: str) -> Iterator[Rule]:
        """The rules that an event of a key is to be told by."""
        for rule in self.rules:
            if name in rule.events and key.startswith(rule.prefix) and key.endswith(rule.suffix):
                yield rule


_MOST_KEPT = 64
_rules_of: dict[int, tuple[dict[str, Any], Rules]] = {}


def rules_of(kept: dict[str, Any]) -> Rules:
    """A document that is remembered has its rules made once. Raises KeyError, TypeError for what is none."""
    found = _rules_of.get(id(kept))
    if found is None or found[0] is not kept:
        found = _rules_of[id(kept)] = kept, Rules(kept)
        while len(_rules_of) > _MOST_KEPT:
            _rules_of.pop(next(iter(_rules_of)))
    return found[1]
