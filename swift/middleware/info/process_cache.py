"""What this process remembers of accounts and containers: briefly, and never against what its node has changed meanwhile.

That something does not exist is not remembered. Never here: forms, memcached, and who is asked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from swift.cache.changes import Changes, ChangesUnknown, table_path
from swift.core import clock
from swift.core.concurrency import Event
from swift.middleware.info.forms import Info, is_success

# Seconds that an answer is believed here. What another node changes is unseen for so long where there is no memcached; what a
# process of this node changes is seen at once.
MAX_AGE = 0.7
SETTLED = 1.0  # seconds after a change; until then another's idea of it may still be on its way into the shared cache
_MAX_ENTRIES = 20_000
_RETRY = 5.0  # seconds


class Asked(NamedTuple):
    """What was noted before a question: when, and the mark of its key."""

    moment: float
    slot: int
    mark: int


class ProcessCache:
    """Infos of this process, each believed for at most `max_age` seconds, and only as long as no process of this node changed
    something since the question. What is too old goes when something new comes, so that it holds what was asked for of late.

    `changes`: the node's table of changes, found by itself unless given. Where there is none, nothing is remembered.
    """

    def __init__(
        self,
        max_age: float = MAX_AGE,
        max_entries: int = _MAX_ENTRIES,
        clock: Callable[[], float] = clock.monotonic,
        changes: Changes | None = None,
    ) -> None:
        self.max_age = max_age
        self.max_entries = max_entries
        self.clock = clock
        self.problem = self.told = ""  # why nothing is remembered; what the log says of that
        self._changes = changes
        self._try_at = float("-inf")
        self._entries: OrderedDict[str, tuple[float, Info, int, int, float]] = OrderedDict()
        self._shared_at: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._flights: dict[str, tuple[int, Event]] = {}

    def __len__(self) -> int:
        """How many keys it holds anything about."""
        return len(self._entries.keys() | self._shared_at.keys())

    # -- changes -----------------------------------------------------------------------------------------------------------

    def _table(self) -> Changes | None:
        changes = self._changes
        try:
            if changes is None:
                now = self.clock()
                if now < self._try_at:
                    return None
                self._try_at = now + _RETRY
                changes = self._changes = Changes(table_path())
                self.problem = ""
            elif not changes.look():
                self._entries.clear()
        except ChangesUnknown as error:
            self.problem = str(error)
            self._changes = None
            self._entries.clear()
            return None
        return changes

    @property
    def identity(self) -> str:
        """The name of the table of changes, so that others of this node know its marks; empty without one."""
        return self._changes.identity if self._changes is not None else ""

    def asked(self, key: str) -> Asked:
        """To be noted before a question about `key` is asked."""
        changes = self._table()
        if changes is None:
            return Asked(self.clock(), -1, 0)
        slot = changes.slot(key)
        return Asked(self.clock(), slot, changes.mark(slot))

    def is_current(self, asked: Asked) -> bool:
        """Returns True if nothing was changed since, as far as the node knows."""
        changes = self._changes
        return changes is not None and asked.slot >= 0 and changes.mark(asked.slot) == asked.mark

    def is_settled(self, asked: Asked) -> bool:
        """Returns True if the last change is long enough ago for others to have stopped telling the state before it."""
        changes = self._changes
        return changes is None or asked.slot < 0 or changes.seconds_since(asked.slot) > SETTLED

    def changed(self, key: str) -> None:
        """A process of this node (this one) changes something: no answer to an earlier question is believed any more."""
        self._entries.pop(key, None)
        self._shared_at.pop(key, None)
        self._flights.pop(key, None)
        changes = self._table()
        if changes is None:
            return
        try:
            changes.set(changes.slot(key))
        except ChangesUnknown as error:
            self.problem = str(error)
            self._changes = None

    # -- entries -----------------------------------------------------------------------------------------------------------

    def get(self, key: str, max_age: float | None = None) -> Info | None:
        """What is remembered; `max_age`: only if it came in so many seconds ago at most."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, info, slot, mark, came = entry
        changes = self._changes
        now = self.clock()
        if expires <= now or changes is None or changes.mark(slot) != mark:
            del self._entries[key]
            return None
        if max_age is not None and came + max_age <= now:
            return None
        return info

    def put(self, key: str, info: Info, asked: Asked, ttl: float) -> None:
        """Keep the answer to what was asked at `asked`, if nothing was changed since and it says that something exists."""
        if not self.is_current(asked) or not is_success(info["status"]):
            return
        if not info.get("account_really_exists", True):
            return
        now = self.clock()
        expires = min(asked.moment + self.max_age, now + ttl)
        entries = self._entries
        entries.pop(key, None)  # or it would keep its old place among those that are dropped in turn
        entries[key] = expires, info, asked.slot, asked.mark, now
        if len(entries) > self.max_entries:
            entries.popitem(last=False)
        while entries[oldest := next(iter(entries))][0] <= now and oldest != key:
            del entries[oldest]

    def shall_share(self, key: str, asked: Asked) -> bool:
        """Returns True if it should be written to the shared cache, too: not all the time, and not what is outdated."""
        if self._changes is not None and not self.is_current(asked):
            return False
        now = self.clock()
        last = self._shared_at.get(key)
        if last is not None and now - last[0] < self.max_age and last[1] == asked.mark:
            return False
        shared = self._shared_at
        shared.pop(key, None)
        shared[key] = now, asked.mark
        if len(shared) > self.max_entries:
            shared.popitem(last=False)
        while now - shared[oldest := next(iter(shared))][0] >= self.max_age and oldest != key:
            del shared[oldest]
        return True

    def clear(self) -> None:
        """As in a new process."""
        self._entries.clear()
        self._shared_at.clear()
        self._flights.clear()
        self._changes = None
        self._try_at = float("-inf")

    def once(self, key: str, fetch: Callable[[], Info]) -> Info:
        """`fetch()`; those who want the same key meanwhile wait for that answer instead of asking too."""
        asked = self.asked(key)
        flight = self._flights.get(key)
        if flight is not None and flight[0] == asked.mark and asked.slot >= 0:
            info = flight[1].wait()
            return info if info is not None else fetch()
        mine: tuple[int, Any] = (asked.mark, Event())
        self._flights[key] = mine
        info = None
        try:
            info = fetch()
            return info
        finally:
            if self._flights.get(key) is mine:
                del self._flights[key]
            mine[1].send(info)


PROCESS_CACHE = ProcessCache()
