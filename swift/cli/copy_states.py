"""A copy of an object, container or account on one device, as an operator is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from swift.obj.replication.peers import name_of

DATA, TOMBSTONE, MISSING = "data", "tombstone", "missing"
NONDURABLE = "non-durable"
DELETED = "deleted"
DAMAGED = "damaged"
UNREACHABLE, UNMOUNTED, ERROR = "unreachable", "unmounted", "error"
UNKNOWN = (UNREACHABLE, UNMOUNTED, ERROR)

Node = Mapping[str, Any]


class Place(NamedTuple):
    """A device that was asked. `role`: primary or handoff; `position`: of its kind."""

    node: Node
    role: str
    position: int

    @property
    def is_primary(self) -> bool:
        """It should have a copy."""
        return self.role == "primary"

    def __str__(self) -> str:
        return name_of(self.node)


class Copy(NamedTuple):
    """What is on a device. Times in internal form. `meta`: of a later change of metadata. `fragment`: index, of an erasure-coded policy.

    `checksum`, `size`: of the object (of the rows, of a database). `note`: what else is to be said.
    """

    place: Place
    state: str
    timestamp: str = ""
    meta: str = ""
    fragment: int | None = None
    checksum: str = ""
    size: int | None = None
    note: str = ""

    def columns(self) -> list[str]:
        """As in a table."""
        state = self.state if self.fragment is None else f"{self.state} #{self.fragment}"
        time = self.timestamp + (f" (meta {self.meta})" if self.meta else "")
        role = f"{self.place.role} {self.place.position}"
        size = "" if self.size is None else str(self.size)
        return [role, str(self.place), state, time, self.checksum, size, self.note]

    def document(self) -> dict[str, Any]:
        """For JSON."""
        found = self._asdict()
        del found["place"]
        node = self.place.node
        return {
            "node": str(self.place),
            "device_id": node["id"],
            "role": self.place.role,
            "position": self.place.position,
            **found,
        }


class Aside(NamedTuple):
    """Something in quarantine. `fault`: why it does not prove whole, '' if it does, None where that can't be told."""

    place: Place
    path: str
    entry: str
    timestamp: str
    fault: str | None

    def line(self) -> str:
        """As it is told."""
        verdict = "proves whole" if not self.fault else f"does not prove whole: {self.fault}"
        return f"{self.place}: {self.path}/{self.entry} {self.timestamp} {verdict}".replace("  ", " ")


def table(copies: Sequence[Copy]) -> list[str]:
    """Lines with columns of equal width."""
    rows = [copy.columns() for copy in copies]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(7)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width).rstrip()
        for row in rows
    ]
