"""Rests beside clients: as long as they were told to be, bounded, and none after what took no time."""

import pytest

from swift.run import rests
from swift.run.rests import Rests


@pytest.fixture
def slept(monkeypatch):
    seconds = []
    monkeypatch.setattr(rests, "sleep", seconds.append)
    return seconds


@pytest.mark.parametrize(
    "share, took, expected",
    [(2, 0.1, [0.2]), (0.5, 0.1, [0.05]), (0, 0.1, []), (2, 0.001, []), (2, 60, [1.0])],
)
def test_how_long(slept, share, took, expected):
    Rests(share).after(took)
    assert slept == pytest.approx(expected)


def test_of_a_call_its_result_comes_and_then_a_rest(slept, monkeypatch):
    now = iter([10.0, 10.25])
    monkeypatch.setattr(rests.clock, "monotonic", lambda: next(now))
    assert Rests(2).call(divmod, 7, 2) == (3, 1)
    assert slept == [0.5]


def test_what_fails_is_not_rested_from(slept):
    with pytest.raises(ZeroDivisionError):
        Rests(2).call(divmod, 1, 0)
    assert slept == []
