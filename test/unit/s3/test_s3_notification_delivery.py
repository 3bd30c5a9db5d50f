"""The way of events: into the queue together, out of it in order, again when something fails, and lost only where it is said."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from swift.core import clock
from swift.core.concurrency import sleep, spawn
from swift.core.timestamp import Timestamp
from swift.s3.notifications import outbox, queue
from swift.s3.notifications.delivery import Delivery, Limits
from swift.s3.notifications.local_queue import Held, Page
from swift.s3.notifications.outbox import Outbox
from swift.s3.notifications.targets.target import Message, Refused, Target, Unreachable

# -- into the queue


def test_requests_that_come_meanwhile_share_an_update() -> None:
    sent: list[list[str]] = []

    def send(container: str, rows: list[dict[str, Any]]) -> bool:
        sleep(0.01)
        sent.append([row["name"] for row in rows])
        return True

    box = Outbox(lambda *args: None)
    threads = [spawn(box.put, "c", [{"name": str(number)}], send) for number in range(20)]
    assert all(thread.wait() for thread in threads)
    assert sorted(name for names in sent for name in names) == sorted(map(str, range(20)))
    assert len(sent) == 2  # the first one alone, all others behind it
    assert not box._open and not box._turns


def test_many_rows_go_in_updates_of_bounded_size() -> None:
    sizes: list[int] = []

    def send(container: str, rows: list[dict[str, Any]]) -> bool:
        sizes.append(len(rows))
        return True

    Outbox(lambda *args: None).put("c", [{"name": str(number)} for number in range(2500)], send)
    assert sizes == [1000, 1000, 500]


def test_what_the_queue_does_not_take_waits_and_what_is_too_much_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "_BETWEEN", 0.01)
    monkeypatch.setattr(outbox, "MOST_LATE", 3)
    said: list[str] = []
    works = [False]
    sent: list[str] = []

    def send(container: str, rows: list[dict[str, Any]]) -> bool:
        if not works[0]:
            raise OSError("down")
        sent.extend(row["name"] for row in rows)
        return True

    box = Outbox(lambda message, *args: said.append(message % args))
    assert not box.put("c", [{"name": "a"}, {"name": "b"}], send)
    assert not box.put("c", [{"name": "c"}], send)
    assert not box.put("c", [{"name": "d"}], send)
    assert box.lost == 1 and any("1 events are lost" in text for text in said)
    works[0] = True
    for _ in range(200):
        if len(sent) == 3:
            break
        sleep(0.01)
    assert sent == ["a", "b", "c"] and not box.late_rows


# -- out of the queue


class Taker(Target):
    """`answers`: what becomes of the next messages, None for yes; then always yes."""

    kind = "test"

    def __init__(self, *answers: Exception | None, **conf: str) -> None:
        super().__init__("hook", conf)
        self.answers = list(answers)
        self.asked: list[list[str]] = []
        self.bad: set[str] = set()

    def deliver(self, messages: Sequence[Message]) -> None:
        names = [record["n"] for message in messages for record in message.get("Records", [{"n": "test"}])]
        self.asked.append(names)
        if self.bad & set(names):
            raise Refused("bad")
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer

    def close(self) -> None:
        pass


class Fake:
    """The queue of one container on a node of some rank."""

    def __init__(self, rank: int = 0, age: float = 0.0) -> None:
        self.rank = rank
        self.age = age
        self.rows: dict[str, str] = {}
        self.note_text = ""
        self.notes = 0
        self.removed = 0
        self.takes = True
        self.version = 0

    def add(self, *names: str, **message: Any) -> None:
        for name in names:
            at = Timestamp(clock.time() - self.age).normal
            content = message or {"Records": [{"n": name}]}
            self.rows[f"{at}/{len(self.rows):04d}/{name}"] = queue.row("x", content)["content_type"]
        self.version += 1

    def held(self, place: Any) -> list[Held]:
        if place.share or place.period != queue.period_of(clock.time()):
            return []
        return [Held(place, 1, ({},), self.rank, "/d", place.container)]

    def signatures(self, found: Iterable[Held]) -> dict[str, tuple[Any, ...]]:
        return {held.path: (self.version,) for held in found}

    def read(self, held: Held, marker: str, limit: int) -> Page:
        rows = [(name, self.rows[name]) for name in sorted(self.rows) if name > marker]
        return Page(rows[:limit], len(self.rows), self.note_text)

    def take_away(self, held: Held, names: Iterable[str]) -> bool:
        if self.takes:
            for name in names:
                self.rows.pop(name, None)
            self.version += 1
        return self.takes

    def note(self, held: Held) -> None:
        self.notes += 1

    def remove(self, held: Held) -> None:
        self.removed += 1


def delivery(target: Taker, local: Fake, **limits: Any) -> Delivery:
    return Delivery(target, local, Limits(**limits), logging.getLogger("test"))  # type: ignore[arg-type]


def test_all_go_in_their_order_and_are_gone() -> None:
    local, target = Fake(), Taker()
    local.add(*(f"{number:03d}" for number in range(450)))
    made = delivery(target, local)
    made.run()
    assert target.asked == [[f"{number:03d}"] for number in range(450)]
    assert not local.rows and made.figures.delivered == 450
    made.run()
    assert len(target.asked) == 450


def test_batches_hold_records_only() -> None:
    local, target = Fake(), Taker(batch="10")
    local.add(*"abc")
    local.add("t", Event="s3:TestEvent")
    local.add(*"def")
    delivery(target, local).run()
    assert target.asked == [["a", "b", "c"], ["test"], ["d", "e", "f"]]


def test_a_target_that_is_down_holds_up_and_loses_nothing() -> None:
    local, target = Fake(), Taker(None, Unreachable("no"))
    local.add(*"abc")
    made = delivery(target, local)
    made.run()
    assert target.asked == [["a"], ["b"]] and len(local.rows) == 2
    made.run()  # it rests
    assert len(target.asked) == 2 and made.figures.failures == 1
    made.resting_until = 0.0
    made.run()
    assert target.asked[2:] == [["b"], ["c"]] and not local.rows


def test_the_pauses_grow_and_end_with_a_success() -> None:
    local, target = Fake(), Taker(*[Unreachable("no")] * 8, longest_pause="30")
    local.add("a")
    made = delivery(target, local)
    pauses = []
    for _ in range(8):
        made.resting_until = 0.0
        made.run()
        pauses.append(made._pause)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    made.resting_until = 0.0
    made.run()
    assert made._pause == 0 and not local.rows


def test_one_message_that_nobody_wants_holds_up_no_other() -> None:
    local, target = Fake(), Taker(batch="3")
    target.bad = {"b"}
    local.add(*"abcd")
    made = delivery(target, local)
    made.run()
    assert target.asked == [["a", "b", "c"], ["a"], ["b"], ["c"], ["d"]]
    assert [name[-1] for name in local.rows] == ["b"] and made.figures.refused == 1
    local.add("e")
    made.run()
    assert target.asked[5:] == [["e"]]  # the refused one waits for its time


def test_what_is_refused_always_is_the_targets_fault() -> None:
    local, target = Fake(), Taker()
    names = [f"{number:03d}" for number in range(150)]
    target.bad = set(names)
    local.add(*names)
    made = delivery(target, local)
    made.run()
    assert len(target.asked) == 101 and made.resting_until > clock.monotonic() and len(local.rows) == 150


def test_a_row_that_stays_though_delivered_is_not_delivered_again() -> None:
    local, target = Fake(), Taker()
    local.takes = False
    local.add(*"ab")
    made = delivery(target, local)
    made.run()
    local.add("c")
    made.run()
    assert target.asked == [["a"], ["b"], ["c"]] and len(local.rows) == 3
    local.takes = True
    local.add("d")
    made.run()
    assert target.asked == [["a"], ["b"], ["c"], ["d"]] and not local.rows and not made._taken


def test_another_node_waits_until_the_first_one_had_its_time() -> None:
    local, target = Fake(rank=1), Taker()
    local.add("a")
    made = delivery(target, local, takeover=60.0)
    made.run()
    assert not target.asked and local.rows
    older = Fake(rank=1, age=61.0)
    older.add("a")
    made = delivery(target, older, takeover=60.0)
    older.note_text = f"{clock.time() - 5};0"  # the first one tries
    made.run()
    assert not target.asked
    older.note_text = f"{clock.time() - 61};0"
    older.version += 1
    made.run()
    assert target.asked == [["a"]] and older.notes == 1 and not older.rows


def test_a_node_that_tries_in_vain_says_so_at_times() -> None:
    local, target = Fake(age=30.0), Taker(*[Unreachable("no")] * 3)
    local.add("a")
    made = delivery(target, local, takeover=60.0)
    for _ in range(3):
        made.resting_until = 0.0
        made.run()
    assert local.notes == 1


def test_the_queue_has_an_end() -> None:
    local, target = Fake(), Taker(Unreachable("no"))
    local.add(*(f"{number:02d}" for number in range(30)))
    made = delivery(target, local, most_queued=20)
    made.run()
    assert len(local.rows) == 20 and made.figures.dropped == 10
    assert sorted(name[-2:] for name in local.rows)[0] == "10"


def test_a_row_that_is_no_message_is_left_alone() -> None:
    local, target = Fake(), Taker()
    local.add(*"ab")
    first = sorted(local.rows)[0]
    local.rows[first] = "rubbish"
    delivery(target, local).run()
    assert target.asked == [["b"]] and list(local.rows) == [first]
