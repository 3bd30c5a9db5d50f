"""Who is let in, who waits, who is sent away."""

import pytest

from swift.core import clock
from swift.core.concurrency import GreenletExit, kill, sleep, spawn
from swift.wire import admission
from swift.wire.admission import Admission, Refused


def enter_beside(gate, log, name):
    """Wait for a place beside the test; what became of it is logged under `name`."""

    def run():
        try:
            place = gate.enter()
        except Refused:
            log.append((name, "refused"))
            return
        log.append((name, "in"))
        places.append(place)

    places = []
    thread = spawn(run)
    sleep(0)
    return thread, places


def test_places_are_given_in_the_order_of_arrival():
    gate, log = Admission(1, 10), []
    first = gate.enter()
    others = [enter_beside(gate, log, name) for name in "abc"]
    assert gate.waiting == 3 and log == []
    first.leave()
    # Who comes now does not overtake, although the place was free for a moment.
    late = enter_beside(gate, log, "late")
    for _, places in [*others, late]:
        sleep(0)
        places[0].leave()
    sleep(0)
    assert [name for name, _ in log] == ["a", "b", "c", "late"] and gate.taken == 0


def test_leaving_twice_frees_one_place():
    gate = Admission(2, 10)
    one, _other = gate.enter(), gate.enter()
    one.leave()
    one.leave()
    assert gate.taken == 1


def test_who_has_waited_long_enough_is_refused():
    gate, log = Admission(1, 0.2), []
    held = gate.enter()
    thread, _ = enter_beside(gate, log, "a")
    thread.wait()
    assert log == [("a", "refused")] and gate.taken == 1 and gate.waiting == 0 and gate.refused == 1
    held.leave()
    gate.enter().leave()


def test_who_would_wait_too_long_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(admission, "_RATE_SECONDS", 0.05)
    gate, log = Admission(1, 5), []
    gate.enter()  # and never leaves
    enter_beside(gate, log, "a")
    sleep(0.2)
    started = clock.monotonic()
    with pytest.raises(Refused) as caught:
        gate.enter()
    assert 1 <= caught.value.retry_after <= 5 and clock.monotonic() - started < 4
    assert gate.waiting == 1


def test_a_place_that_hangs_is_lent(monkeypatch):
    monkeypatch.setattr(admission, "_LEAST_HOLD_SECONDS", 0.1)
    gate, log = Admission(1, 5, lends=True), []
    hanging = gate.enter()
    thread, places = enter_beside(gate, log, "a")
    thread.wait()
    assert log == [("a", "in")] and gate.taken == 1
    hanging.leave()  # after all: frees nothing, its place is the other's
    assert gate.taken == 1
    places[0].leave()
    assert gate.taken == 0


def test_slow_clients_do_not_pass_for_slow_work(monkeypatch):
    monkeypatch.setattr(admission, "_LEAST_HOLD_SECONDS", 0.05)
    gate = Admission(4, 5, lends=True)
    for _ in range(3):
        upload = gate.enter(usual=False)
        sleep(0.1)
        upload.leave()
    for _ in range(4):
        gate.enter(usual=False)
    sleep(0.1)
    gate.enter().leave()  # the uploads' places count no more, however long uploads have taken before


def test_who_is_killed_while_waiting_takes_no_place_along():
    gate, log = Admission(1, 10), []
    held = gate.enter()
    (waiting, _), (chosen, _) = enter_beside(gate, log, "a"), enter_beside(gate, log, "b")
    kill(waiting, GreenletExit)
    assert gate.waiting == 1
    held.leave()
    kill(chosen, GreenletExit)  # it has been given the place and does not know yet
    sleep(0)
    assert gate.taken == 0 and gate.waiting == 0
