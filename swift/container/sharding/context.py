"""How far a replica has been moved into its shards: the record of that, kept in the fresh database (database.md 11.5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from swift.core.timestamp import now_internal
from swift.db.broker import Metadata

from ..broker import ContainerBroker

PREFIX = "X-Container-Sysmeta-Shard-Context-"


@dataclass
class CleavingContext:
    """See database.md 11.5. `ref`: the id of the retiring database."""

    ref: str
    cursor: str = ""
    max_row: int | None = None
    cleave_to_row: int | None = None
    last_cleave_to_row: int | None = None
    cleaving_done: bool = False
    misplaced_done: bool = False
    ranges_done: int = 0
    ranges_todo: int = 0
    replication_time: float = 0.0

    @property
    def is_done(self) -> bool:
        """All rows that there are have been moved."""
        return self.misplaced_done and self.cleaving_done and self.max_row == self.cleave_to_row

    def reset(self) -> None:
        """Begin again, with the rows that have come since."""
        self.cursor = ""
        self.ranges_done = self.ranges_todo = 0
        self.cleaving_done = self.misplaced_done = False
        self.last_cleave_to_row = self.cleave_to_row
        self.replication_time = 0.0

    def start(self) -> None:
        """Begin at the first range."""
        self.cursor = ""
        self.ranges_done = self.ranges_todo = 0
        self.cleaving_done = False
        self.cleave_to_row = self.max_row
        self.replication_time = 0.0


def load(broker: ContainerBroker, retiring: Mapping[str, Any]) -> CleavingContext:
    """The record of a database with two files, a new one if there is none. `retiring`: its `id` and `max_row`. Blocks."""
    context = parse(retiring["id"], broker.metadata().get(PREFIX + retiring["id"], ("", ""))[0])
    context.max_row = retiring["max_row"]
    return context


def parse(ref: str, text: str) -> CleavingContext:
    """The record that a metadata item has; a new one where that can't be understood."""
    context = CleavingContext(ref)
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return context
    if not isinstance(found, dict):
        return context
    for key, value in found.items():
        if key != "ref" and key in _KINDS and isinstance(value, _KINDS[key]):
            setattr(context, key, value)
    return context


_KINDS: dict[str, Any] = {
    "cursor": str,
    "max_row": (int, type(None)),
    "cleave_to_row": (int, type(None)),
    "last_cleave_to_row": (int, type(None)),
    "cleaving_done": bool,
    "misplaced_done": bool,
    "ranges_done": int,
    "ranges_todo": int,
    "replication_time": (int, float),
}


def store(broker: ContainerBroker, context: CleavingContext) -> None:
    """Keep the record, durably. Blocks."""
    text = json.dumps({"ref": context.ref, **{k: v for k, v in asdict(context).items() if k != "ref"}})
    broker.update_metadata({PREFIX + context.ref: (text, now_internal())})


def remove(broker: ContainerBroker, refs: list[str]) -> None:
    """Forget records. Blocks."""
    broker.update_metadata({PREFIX + ref: ("", now_internal()) for ref in refs})


def all_of(metadata: Metadata) -> list[tuple[CleavingContext, str]]:
    """Every record in a database's metadata, with the time at which it was written."""
    return [
        (parse(key[len(PREFIX) :], value), timestamp)
        for key, (value, timestamp) in metadata.items()
        if key.startswith(PREFIX) and value
    ]
