"""What speaks against pulling a disk, counted by kind and node, and how that is told.

Bounded whatever is found: examples are kept, never lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from swift.core.concurrency import Timeout

MOST_PROBLEMS = 200  # of one part; what else there is is the same on more nodes

# what → how it is told; {node}, {units}, {items}, {example} and {why} are there
TEXTS = {
    "lacks": "{node} lacks {items} of {units}, e.g. {example}",
    "no-answer": "{node} can't be asked about {units}: {why}",
    "unread": "can't be read here, {units}: {why}",
    "alone": "no other device has {units}, e.g. {example}",
    "too-few": "too few other devices would be left for {units}: {why}",
    "no-partition": "the ring has no partition {example} ({units} like that)",
    "waiting": "{items} not delivered to container servers yet",
    "set-aside": "{items} in quarantine are whole nowhere else, e.g. {example}",
    "unknown": "{example} belongs to no policy of swift.conf",
    "growing": "the ring's part power is being increased",
    "not-told": "what lies there can't be told: {why}",
    "failed": "{units} could not be checked: {why}",
    "sharding": "{units} are being sharded or hold shard ranges that others lack, e.g. {example}",
}


class Problem:
    """One kind of problem with one node. `units`: partitions or databases that are concerned; `items`: objects, rows or updates."""

    __slots__ = ("example", "items", "node", "units", "what", "why")

    def __init__(self, what: str, node: str, why: str, example: str) -> None:
        self.what = what
        self.node = node
        self.why = why
        self.example = example
        self.units = self.items = 0


class Part:
    """What was found of one kind of things on a device. `unit`, `item`: what is counted. `checked`, `guests`: units here, and those not at home."""

    def __init__(self, kind: str, policy: str | None, unit: str, item: str) -> None:
        self.kind = kind
        self.policy = policy
        self.unit = unit
        self.item = item
        self.checked = 0
        self.guests = 0
        self._problems: dict[tuple[str, str, str], Problem] = {}

    @property
    def is_whole(self) -> bool:
        """All that is here is elsewhere, too."""
        return not self._problems

    def problem(
        self, what: str, node: str = "", why: str = "", example: str = "", units: int = 1, items: int = 0
    ) -> None:
        """Count a problem. `what`: of TEXTS."""
        key = (what, node, why)
        found = self._problems.get(key)
        if found is None:
            if len(self._problems) >= MOST_PROBLEMS:
                found = next(iter(self._problems.values()))
            else:
                found = self._problems[key] = Problem(what, node, why, example)
        found.units += units
        found.items += items

    def guarded(self, function: Callable[..., Any], *args: Any) -> None:
        """Call it; whatever it raises is a problem, never silence: what was not looked at is not whole."""
        try:
            function(*args)
        except (Exception, Timeout) as error:
            self.problem("failed", why=f"{type(error).__name__}: {error}"[:300])

    @property
    def title(self) -> str:
        """How it is called."""
        return f"{self.kind} of policy {self.policy}" if self.policy is not None else self.kind

    def lines(self) -> Iterator[str]:
        """What is told of it: one line, and one for each problem."""
        count = _count(self.checked, self.unit)
        guests = f", {self.guests} of them not at home here" if self.guests else ""
        verdict = "whole elsewhere" if self.is_whole else "NOT whole elsewhere"
        yield (
            f"{self.title}: {count}{guests}: {verdict}"
            if self.checked
            else (f"{self.title}: nothing here" if self.is_whole else f"{self.title}:")
        )
        for found in self._problems.values():
            text = TEXTS[found.what].format(
                node=found.node,
                why=found.why,
                example=found.example,
                units=_count(found.units, self.unit),
                items=_count(found.items, "update" if found.what == "waiting" else self.item),
            )
            yield f"  {text}"

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "kind": self.kind,
            "policy": self.policy,
            "whole": self.is_whole,
            "checked": self.checked,
            "not_at_home": self.guests,
            "problems": [
                {key: getattr(found, key) for key in Problem.__slots__} for found in self._problems.values()
            ],
        }


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def short_reason(why: str, node: str) -> str:
    """An error's text without the names of the node that it is about, which stand before it."""
    for name in (node, node.rpartition("/")[0]):
        why = why.removeprefix(name).lstrip(": ")
    return why
