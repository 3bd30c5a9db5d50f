"""One target's messages on their way from the queue to it: in which order, by which node, how often (doc/s3.md, "Notifications").

The first node of a container delivers what is in it; another one only what is older than its patience, while no earlier one has said that it
works on it. A row is taken away once its message is delivered: crashes and races in between deliver it twice, nothing leaves it out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from swift.core import clock
from swift.core.concurrency import GreenPool, Timeout
from swift.db.errors import DatabaseError
from swift.engine.threads import DeviceBusy
from swift.s3.notifications import queue
from swift.s3.notifications.local_queue import Held, LocalQueue, Page, Signature, parse_note
from swift.s3.notifications.queue import PERIOD, SHARES, Place
from swift.s3.notifications.targets.target import Message, Refused, Target, Unreachable
from swift.telemetry.units import unit_of_work

PAGE = 200  # rows
_OLD_ONES = 30.0  # seconds between two looks at containers of times that are over
_FIRST_PAUSE = 1.0  # seconds, after a failure; doubled with each one
_MOST_REFUSED = 100  # of a container, after which it is the target that is wrong
_REFUSED_PAUSE = 600.0  # seconds until a refused message is tried again
_MOST_TRIES = (
    5  # of a message on which a target fails, before others have their turn to tell whose fault it is
)
_MOST_DOUBTED = 5  # messages that fail one after the other, and then it is the target
_MOST_DROPPED = 10_000  # rows at a time
_LINGERS = PERIOD  # seconds that an empty container stays after its time


@dataclass(frozen=True)
class Limits:
    """`max_age`, `takeover`: seconds; `most_queued`: rows of a container."""

    max_age: float = 259_200.0
    takeover: float = 60.0
    most_queued: int = 1_000_000


@dataclass
class Figures:
    """Since the start."""

    delivered: int = 0
    failures: int = 0
    refused: int = 0
    dropped: int = 0
    waiting: dict[str, int] = field(default_factory=dict)  # by container, of which this node is the first


class _Seen:
    """A container as it was looked at last."""

    __slots__ = ("next_look", "signature")

    def __init__(self, signature: Signature, next_look: float) -> None:
        self.signature = signature
        self.next_look = next_look


class Delivery:
    """To one target. `logger`: told of what goes wrong, of a target that is down once in a pause."""

    def __init__(self, target: Target, local: LocalQueue, limits: Limits, logger: object) -> None:
        self.target = target
        self.local = local
        self.limits = limits
        self.logger = logger
        self.figures = Figures()
        self.resting_until = 0.0  # monotonic
        self._pause = 0.0
        self._seen: dict[str, _Seen] = {}
        self._refused: dict[str, dict[str, float]] = {}  # by container: rows and when they are tried again
        self._taken: dict[str, set[str]] = {}  # delivered rows that are still in the replica here
        self._noted: dict[str, float] = {}
        # By container: the first row that failed, how often, and what was delivered before that.
        self._tries: dict[str, tuple[str, int, int]] = {}
        self._doubted: dict[str, dict[str, Message]] = {}  # rows that may be the reason why the target fails
        self._note_lasts = limits.takeover + target.longest_pause  # nothing is noted while a target rests
        self._old_ones_at = 0.0

    def _told(self, level: str, *args: object) -> None:
        getattr(self.logger, level)(*args)

    # -- a pass

    def run(self) -> None:
        """One look at all containers, and delivery of what is due in them."""
        if clock.monotonic() < self.resting_until:
            return
        found = [held for place in self._places() for held in self.local.held(place)]
        signatures = self.local.signatures(found)
        pool = GreenPool(self.target.concurrency)
        for held in found:
            signature = signatures.get(held.path)
            if signature is None:
                continue
            seen = self._seen.get(held.place.container)
            if seen is not None and seen.signature == signature and clock.time() < seen.next_look:
                continue
            pool.spawn_n(self._looked_at, held, signature)
        pool.waitall()

    def _places(self) -> Iterator[Place]:
        now = clock.time()
        latest = queue.period_of(now + 60)  # by the clock of a proxy that is ahead
        first = queue.period_of(now - 60)
        if clock.monotonic() >= self._old_ones_at:
            self._old_ones_at = clock.monotonic() + _OLD_ONES
            first = queue.period_of(now - self.limits.max_age)
            self._forget_before(first)
        for period in range(first, latest + 1, PERIOD):
            for share in range(SHARES):
                yield Place(self.target.name, period, share)

    def _forget_before(self, period: int) -> None:
        for table in (
            self._seen, self._refused, self._taken, self._noted, self._tries, self.figures.waiting
        ):  # fmt: skip
            for container in list(table):
                place = queue.parse_place(container)
                if place is None or place.period < period:
                    del table[container]  # type: ignore[attr-defined]

    @unit_of_work
    def _looked_at(self, held: Held, signature: Signature) -> None:
        container = held.place.container
        try:
            next_look = self._work(held)
        except (DeviceBusy, DatabaseError, sqlite3.Error, OSError, Timeout) as error:
            self._told("error", "ERROR %s: %s", held.path, error)
            next_look = clock.time() + 5
        except Exception:
            self._told("exception", "ERROR %s", held.path)
            next_look = clock.time() + 5
        self._seen[container] = _Seen(signature, next_look)

    # -- a container

    def _work(self, held: Held) -> float:
        """Deliver what is due in a container. Returns when it is to be looked at again, unless it changes before."""
        container = held.place.container
        marker, next_look = "", float("inf")
        while clock.monotonic() >= self.resting_until:
            page = self.local.read(held, marker, PAGE)
            if page is None:
                return float("inf")
            if not marker:
                if held.rank == 0:
                    self.figures.waiting[container] = page.total
                if self._is_over(held, page):
                    self.local.remove(held)
                    return float("inf")
                if page.total > self.limits.most_queued and held.rank == 0:
                    if not self._drop_oldest(held, page.total):
                        return clock.time() + 5
                    continue
            due, later, goes_on = self._due(held, page)
            next_look = min(next_look, later)
            self._say_so(held, page)
            if not self._deliver(held, due):
                return clock.time()
            if not goes_on:
                return next_look
            if len(page.rows) < PAGE:
                if held.rank == 0 and not self._refused.get(container):
                    self.figures.waiting[container] = 0
                return next_look
            marker = page.rows[-1][0]
        return clock.time()

    def _is_over(self, held: Held, page: Page) -> bool:
        return (
            held.rank == 0 and not page.total and not page.rows and clock.time() > held.place.end + _LINGERS
        )

    def _due(self, held: Held, page: Page) -> tuple[list[tuple[str, str]], float, bool]:
        """(rows to be delivered now by this node, when there will be others, False if none behind this page is due)."""
        now, container = clock.time(), held.place.container
        taken = self._taken.get(container, ())
        refused = self._refused.get(container, {})
        patience = held.rank * self.limits.takeover
        later = float("inf")
        if patience and page.rows:
            at, rank = parse_note(page.note)
            if rank < held.rank and now - self._note_lasts < at < now + self._note_lasts:
                return [], at + self._note_lasts, False
        due: list[tuple[str, str]] = []
        for name, content_type in page.rows:
            if patience and queue.told_at(name) + patience > now:
                return due, min(later, queue.told_at(name) + patience), False  # and so are all behind it
            when = refused.get(name, 0.0)
            if when > now:
                later = min(later, when)
            elif name not in taken:
                due.append((name, content_type))
        return due, later, True

    def _say_so(self, held: Held, page: Page) -> None:
        """Let the other nodes of a container know that somebody works on what is old in it."""
        now, container = clock.time(), held.place.container
        share = self.limits.takeover / 3
        if not page.rows or queue.told_at(page.rows[0][0]) > now - share:
            return
        at, rank = parse_note(page.note)
        if held.rank and rank < held.rank and now - at < self._note_lasts:
            return
        if now - self._noted.get(container, 0.0) >= share:
            self._noted[container] = now
            self.local.note(held)

    def _deliver(self, held: Held, due: list[tuple[str, str]]) -> bool:
        """Returns False once the target takes nothing more; what it took is taken away in any case."""
        delivered: list[str] = []
        try:
            return all(
                self._hand_over(held, names, messages, delivered)
                for names, messages in self._messages(held, due)
            ) and self._is_settled(held, delivered)
        finally:
            self._doubted.pop(held.place.container, None)
            self._take_away(held, delivered)

    def _hand_over(self, held: Held, names: list[str], messages: list[Message], delivered: list[str]) -> bool:
        """One message with all of them. Returns False if nothing more is to be tried."""
        try:
            self.target.deliver(messages)
        except Refused as error:
            if len(names) == 1:
                return self._refuse(held, names[0], error)
            # What is refused in company may be taken alone.
            return all(
                self._hand_over(held, [name], [message], delivered)
                for name, message in zip(names, messages, strict=True)
            )
        except Unreachable as error:
            return self._failed(held, names, messages, delivered, error)
        except Exception as error:  # a fault of ours: it may be about this message
            self._told("exception", "ERROR on target %s", self.target.name)
            return self._failed(held, names, messages, delivered, Unreachable(repr(error)))
        self._pause = 0.0
        self.figures.delivered += len(names)
        delivered += names
        return self._settle_doubts(held, delivered)

    def _failed(
        self, held: Held, names: list[str], messages: list[Message], delivered: list[str], error: Unreachable
    ) -> bool:
        """The target is down, or it is so only for one message: which of both, the next ones tell. Returns False if nothing more is to
        be tried."""
        container = held.place.container
        if len(names) == 1 and names[0] in self._refused.get(container, {}):
            return self._refuse(held, names[0], error)
        doubted = self._doubted.get(container, {})
        name, tries, before = self._tries.get(container, ("", 0, 0))
        if not doubted:
            if name != names[0]:
                tries, before = 0, self.figures.delivered
            tries += 1
            self._tries[container] = names[0], tries, before
        if tries <= _MOST_TRIES or len(doubted) >= _MOST_DOUBTED:
            self._rest(error)
            return False
        if len(names) > 1:
            return all(
                self._hand_over(held, [name], [message], delivered)
                for name, message in zip(names, messages, strict=True)
            )
        self._doubted.setdefault(container, {})[names[0]] = messages[0]
        return True

    def _settle_doubts(self, held: Held, delivered: list[str]) -> bool:
        """The target takes others: what it does not take now counts as refused. Returns False if nothing more is to be tried."""
        container = held.place.container
        for name, message in self._doubted.pop(container, {}).items():
            self._refused.setdefault(container, {})[name] = 0.0
            if not self._hand_over(held, [name], [message], delivered):
                return False
        return True

    def _is_settled(self, held: Held, delivered: list[str]) -> bool:
        """At the end, when nothing is left here that could tell whose fault it is. Returns False if the target is to rest."""
        container = held.place.container
        if container not in self._doubted:
            return True
        if self.figures.delivered > self._tries[container][2]:  # to other containers' rows
            return self._settle_doubts(held, delivered)
        self._rest(Unreachable("it takes none of them"))
        return False

    def _messages(
        self, held: Held, due: Iterable[tuple[str, str]]
    ) -> Iterator[tuple[list[str], list[Message]]]:
        """(names of rows, their messages), `batch` records at a time; what is no record goes alone."""
        names: list[str] = []
        messages: list[Message] = []
        for name, content_type in due:
            try:
                message = queue.message_of(content_type)
            except ValueError as error:
                self._told("error", "ERROR %s: %r is no message: %s", held.path, name, error)
                self._refused.setdefault(held.place.container, {})[name] = float("inf")
                continue
            is_record = "Records" in message
            if names and (not is_record or len(names) >= self.target.batch):
                yield names, messages
                names, messages = [], []
            names.append(name)
            messages.append(message)
            if not is_record:
                yield names, messages
                names, messages = [], []
        if names:
            yield names, messages

    def _refuse(self, held: Held, name: str, error: Refused | Unreachable) -> bool:
        """Returns False if so much is refused that it can't be the messages."""
        self.figures.refused += 1
        refused = self._refused.setdefault(held.place.container, {})
        refused[name] = clock.time() + _REFUSED_PAUSE
        self._told("error", "ERROR Target %s refuses the event %s: %s", self.target.name, name, error)
        if len(refused) > _MOST_REFUSED:
            refused.clear()
            self._rest(error)
            return False
        return True

    def _take_away(self, held: Held, delivered: list[str]) -> None:
        container = held.place.container
        left = self._taken.get(container)
        if not delivered and not left:
            return
        refused = self._refused.get(container)
        if refused:
            for name in delivered:
                refused.pop(name, None)
        if self.local.take_away(held, [*(left or ()), *delivered]):
            self._taken.pop(container, None)
        else:
            self._taken.setdefault(container, set()).update(delivered)

    def _rest(self, error: Exception) -> None:
        self.figures.failures += 1
        if clock.monotonic() < self.resting_until:
            return  # one of those that were under way beside it has found out first
        self._pause = min(max(_FIRST_PAUSE, self._pause * 2), self.target.longest_pause)
        self.resting_until = clock.monotonic() + self._pause
        self._told(
            "error",
            "ERROR Target %s takes nothing: %s; again in %.0f s",
            self.target.name,
            error,
            self._pause,
        )

    def _drop_oldest(self, held: Held, count: int) -> bool:
        """The queue has an end: what is oldest goes without having been delivered. Returns True if some went."""
        page = self.local.read(held, "", min(count - self.limits.most_queued, _MOST_DROPPED))
        names = [name for name, _ in page.rows] if page is not None else []
        if not names or not self.local.take_away(held, names):
            return False
        self.figures.dropped += len(names)
        self._told(
            "error",
            "ERROR %d events for %s are lost: more than %d waited in %s",
            len(names),
            self.target.name,
            self.limits.most_queued,
            held.place.container,
        )
        return True


def drop_all(local: LocalQueue, held: Held, told: Callable[..., None]) -> int:
    """Remove a container whose time is over for good, with what is in it. Returns how many messages are lost with it."""
    lost = 0
    while True:
        page = local.read(held, "", _MOST_DROPPED)
        if page is None:
            return lost
        if not page.rows:
            local.remove(held)
            return lost
        if not local.take_away(held, [name for name, _ in page.rows]):
            return lost
        lost += len(page.rows)
        told("ERROR %d events for %s are lost: they are too old", len(page.rows), held.place.target)
