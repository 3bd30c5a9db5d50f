"""Which nodes are left alone for a while because they failed too often (spec proxy 6.4).

State of one process, keyed by address and device. What counts as an error is decided by the callers.
"""

from collections.abc import Callable, Mapping
from typing import Any

from swift.core import clock

Node = Mapping[str, Any]


_TRY_AGAIN = 1.0  # seconds


class _Record:
    __slots__ = ("count", "is_refusing", "last", "tried")

    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0
        self.tried = 0.0  # when it was asked although it is left alone
        self.is_refusing = False  # its last error was told at once: nobody listens there


class ErrorLimiter:
    """Counts errors per node; a node above `limit` errors rests until `interval` seconds after its last one.

    `count(name)` is told of each metric.
    """

    def __init__(
        self,
        interval: float = 60.0,
        limit: int = 10,
        clock: Callable[[], float] = clock.monotonic,
        count: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.interval = interval
        self.limit = limit
        self._count = count
        self._clock = clock
        self._records: dict[tuple, _Record] = {}

    @staticmethod
    def key(node: Node) -> tuple:
        return node["ip"], node["port"], node["device"]

    def is_limited(self, node: Node) -> bool:
        records = self._records
        if not records:
            return False
        key = (node["ip"], node["port"], node["device"])
        record = records.get(key)
        if record is None:
            return False
        if self._clock() - record.last > self.interval:
            del records[key]
            return False
        if record.count <= self.limit:
            return False
        self._count("error_limiter.is_limited")
        return True

    def limited(self) -> int:
        """How many nodes are left alone at the moment."""
        return len(self.limited_keys())

    def limited_keys(self) -> set[tuple]:
        """Their keys."""
        oldest = self._clock() - self.interval
        return {
            key
            for key, record in self._records.items()
            if record.count > self.limit and record.last >= oldest
        }

    def may_try(self, node: Node) -> bool:
        """Returns True if a node that is left alone is to be asked all the same, for a copy that would be missing without it.

        As often as there is need where a try costs nothing, else once a second.
        """
        record = self._records.get(self.key(node))
        if record is None or record.is_refusing:
            return True
        now = self._clock()
        if now - max(record.last, record.tried) < _TRY_AGAIN:
            return False
        record.tried = now
        return True

    def is_known_to_refuse(self, node: Node) -> bool:
        """Returns True if it is left alone, and nobody listened there the last time either."""
        record = self._records.get(self.key(node))
        return record is not None and record.is_refusing and record.count > self.limit

    def limit_now(self, node: Node) -> None:
        """The node said that its device is not usable (507): leave it alone at once."""
        record = self._touch(node)
        record.is_refusing = False
        record.count = self.limit + 1
        self._count("error_limiter.forced_limit")

    def increment(self, node: Node, is_refusing: bool = False) -> bool:
        """Count one error; returns True if the node is limited now. `is_refusing`: nobody listens there."""
        record = self._touch(node)
        record.is_refusing = is_refusing
        record.count += 1
        if record.count <= self.limit:
            return False
        self._count("error_limiter.incremented_limit")
        return True

    def forget(self, node: Node) -> None:
        """The node does well again."""
        self._records.pop(self.key(node), None)

    def _touch(self, node: Node) -> _Record:
        record = self._records.setdefault(self.key(node), _Record())
        record.last = self._clock()
        return record
