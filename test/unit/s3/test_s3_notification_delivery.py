"""The way of events: into the queue together, out of it in order, again when something fails, and lost only where it is said."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from swift.core import clock
from swift.core.concurrency import Timeout, sleep, spawn
from swift.core.timestamp import Timestamp
from swift.s3 import patience
from swift.s3.errors import S3Error
from swift.s3.notifications import outbox, queue, telling
from swift.s3.notifications.delivery import Delivery, Limits
from swift.s3.notifications.events import Event
from swift.s3.notifications.local_queue import Held, Page
from swift.s3.notifications.outbox import Outbox
from swift.s3.notifications.rules import Rules
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


def test_nothing_is_queued_for_a_target_that_is_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    queued: list[str] = []
    monkeypatch.setattr(telling, "put", lambda environ, app, container, rows: queued.append(container))
    options = SimpleNamespace(notification_targets=("hook",), location="", reseller_prefixes=())
    request: Any = SimpleNamespace(
        options=options, account="AUTH_a", bucket="b", user_id="u", environ={}, app=None
    )
    kept = {
        "QueueConfiguration": [
            {"Id": name, "Queue": f"arn:aws:sqs:::{name}", "Event": ["s3:ObjectRemoved:*"]}
            for name in ("gone", "hook")
        ]
    }
    telling._queue(request, Rules(kept), [Event("s3:ObjectRemoved:Delete", "k")])
    assert [container.partition("-")[0] for container in queued] == ["hook"]


def test_what_was_done_is_told_of_also_if_something_fails_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.01)
    told: list[list[str]] = []

    def send(request: Any) -> None:
        told.append(list(request.events))
        request.events.clear()

    monkeypatch.setattr(telling, "send", send)
    request = SimpleNamespace(events=[], environ={}, resource="/b", logger=logging.getLogger("test"))

    def work() -> Any:
        sleep(0.05)
        request.events.append("deleted")
        raise S3Error("ServiceUnavailable")

    answer = patience.answer_of(request, work)  # type: ignore[arg-type]
    assert b"ServiceUnavailable" in b"".join(answer.body)
    assert ["deleted"] in told


def test_what_waits_for_one_container_holds_up_no_other_and_goes_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "_BETWEEN", 0.05)
    down = {"bad", "good"}
    sent: list[str] = []
    tried: list[str] = []

    def send(container: str, rows: list[dict[str, Any]]) -> bool:
        tried.append(container)
        if container in down:
            raise OSError("down")
        sent.extend(row["name"] for row in rows)
        return True

    box = Outbox(lambda *args: None)
    names = [f"{number:03d}" for number in range(300)]
    for name in names:
        box.put("bad", [{"name": "x" + name}], send)
        box.put("good", [{"name": name}], send)
    down.remove("good")
    tried.clear()
    for _ in range(20):
        sleep(0.05)
        if len(sent) == len(names):
            break
    assert sent == names and box.late_rows == len(names)
    assert tried.count("bad") <= 20  # once a round
    box.late.clear()


def test_the_end_of_a_process_does_not_wait_for_a_queue_that_is_away() -> None:
    said: list[str] = []

    def send(container: str, rows: list[dict[str, Any]]) -> bool:
        if container == "silent":
            sleep(60)
        if container == "down":
            raise OSError("down")
        return True

    box = Outbox(lambda message, *args: said.append(message % args))
    for container in ("up", "down", "down", "silent", "silent"):
        box.late.append((container, [{"name": "x"}], send))
    box.late_rows = 5
    with pytest.raises(Timeout):
        with Timeout(0.2):
            box.last_try()
    assert said == ["ERROR 4 events are lost with this process"] and box.lost == 4 and not box.late_rows


# -- out of the queue


class Taker(Target):
    """`answers`: what becomes of the next messages, None for yes; then always yes."""

    kind = "test"

    def __init__(self, *answers: Exception | None, **conf: str) -> None:
        super().__init__("hook", conf)
        self.answers = list(answers)
        self.asked: list[list[str]] = []
        self.bad: set[str] = set()
        self.badly: Exception = Refused("bad")

    def deliver(self, messages: Sequence[Message]) -> None:
        names = [record["n"] for message in messages for record in message.get("Records", [{"n": "test"}])]
        self.asked.append(names)
        if self.bad & set(names):
            raise self.badly
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


def test_those_that_fail_side_by_side_are_one_failure() -> None:
    made = delivery(Taker(), Fake())
    for _ in range(4):
        made._rest(Unreachable("no"))
    assert made._pause == 1 and made.figures.failures == 4


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


def run_without_rest(made: Delivery, times: int) -> None:
    for _ in range(times):
        made.resting_until = 0.0
        made.run()


@pytest.mark.parametrize("batch", ["1", "4"])
@pytest.mark.parametrize("error", [Unreachable("status 500"), KeyError("s3")])
def test_a_message_on_which_the_target_fails_does_not_hold_up_the_others_for_ever(
    error: Exception, batch: str
) -> None:
    local, target = Fake(), Taker(batch=batch)
    target.bad, target.badly = {"b", "c"}, error
    local.add(*"abcdefgh")
    made = delivery(target, local)
    run_without_rest(made, 20)
    assert [name[-1] for name in sorted(local.rows)] == ["b", "c"] and made.figures.refused == 2
    taken = [name for names in target.asked for name in names if name not in "bc"]
    assert list(dict.fromkeys(taken)) == list("adefgh")
    local.add("i")
    asked = len(target.asked)
    made.run()
    assert target.asked[asked:] == [["i"]]
    # When their time has come again, they don't let the target rest.
    for refused in made._refused.values():
        refused.update(dict.fromkeys(refused, 0.0))
    local.add("j")
    made.run()
    assert made.resting_until == 0.0 and len(local.rows) == 2


def test_a_target_that_is_down_for_long_has_nothing_refused() -> None:
    local, target = Fake(), Taker(*[Unreachable("no")] * 1000)
    names = [f"{number:03d}" for number in range(300)]
    local.add(*names)
    made = delivery(target, local)
    run_without_rest(made, 50)
    assert not made._refused and len(local.rows) == 300
    target.answers.clear()
    target.asked.clear()
    run_without_rest(made, 1)
    assert target.asked == [[name] for name in names]


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
    older.note_text = f"{clock.time() - 110};0"  # it may rest for a minute, and then has its time again
    older.version += 1
    made.run()
    assert not target.asked
    older.note_text = f"{clock.time() - 121};0"
    older.version += 1
    made.run()
    assert target.asked == [["a"]] and older.notes == 1 and not older.rows


def test_another_node_does_not_read_all_that_is_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    local = Fake(rank=1)
    local.add(*(f"{number:04d}" for number in range(1000)))
    reads = []
    read = local.read
    monkeypatch.setattr(local, "read", lambda *args: reads.append(args) or read(*args))
    delivery(Taker(), local, takeover=60.0).run()
    assert len(reads) == 1


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
