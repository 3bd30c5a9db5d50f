"""The rule by which a long run judges what is read, and the schedule that comes from its seed."""

import itertools

import pytest

from test.long_run import schedule
from test.long_run.history import DELETE, NOW, POST, PUT, Key, Seen, Write

numbers = itertools.count(1)


def write(kind, low, high, acknowledged=True, **more):
    return Write(
        next(numbers), kind, low=low, high=high, began=low, ended=high, acknowledged=acknowledged, **more
    )


def key(*writes):
    found = Key()
    for one in writes:
        found.add(one)
    return found


def seen(data, metadata=None):
    return Seen(data.number, (metadata or data).number)


def test_nothing_was_written():
    assert not key().judge(Seen())
    assert key().judge(Seen(9, 9))


def test_a_write_by_a_clock_that_is_ahead_of_the_end_of_all_is_the_last_one():
    first, second = write(PUT, 1, 2), write(PUT, 14.5, 14.6, skewed=True)
    history = key(first, second)
    history.quiesce(12.0)
    assert not history.judge(seen(second))
    assert history.judge(seen(first)) and history.judge(Seen())


def test_the_last_acknowledged_write_is_the_only_one_that_may_be_read():
    first, second = write(PUT, 1, 2), write(PUT, 3, 4)
    history = key(first, second)
    assert not history.judge(seen(second))
    assert history.judge(seen(first))
    assert history.judge(Seen())


def test_what_was_deleted_must_not_be_back():
    first, gone = write(PUT, 1, 2), write(DELETE, 3, 4)
    assert not key(first, gone).judge(Seen())
    assert key(first, gone).judge(seen(first))


def test_of_two_that_overlap_either_may_be_the_last():
    first, second = write(PUT, 1, 4), write(DELETE, 3, 6)
    for one in (seen(first), Seen()):
        assert not key(first, second).judge(one)


def test_an_unknown_outcome_may_be_or_not_and_hides_nothing():
    first, unknown = write(PUT, 1, 2), write(PUT, 3, NOW, acknowledged=False)
    history = key(first, unknown)
    for one in (first, unknown):
        assert not history.judge(seen(one))
    assert history.judge(Seen())
    history.quiesce(4.5)
    assert unknown.high == 4.5
    unknown.high = NOW
    # it may even be done after what was acknowledged later, until all proxies are idle
    later = write(PUT, 5, 6)
    history.add(later)
    for one in (unknown, later):
        assert not history.judge(seen(one))
    assert history.judge(seen(first))
    unknown.high = 4.5
    assert history.judge(seen(unknown))


def test_metadata_of_a_post_go_with_the_object_that_it_came_to():
    old, post, new = write(PUT, 1, 2), write(POST, 3, 4), write(PUT, 5, 6)
    history = key(old, post)
    assert not history.judge(seen(old, post))
    assert history.judge(seen(old))
    history.add(new)
    assert not history.judge(seen(new))
    assert history.judge(seen(new, post))


def test_a_post_of_unknown_outcome_may_be_or_not():
    old, post = write(PUT, 1, 2), write(POST, 3, 9, acknowledged=False)
    for metadata in (old, post):
        assert not key(old, post).judge(seen(old, metadata))


def test_early_reads_may_be_behind_but_never_of_what_nobody_wrote():
    first, second = write(PUT, 1, 2), write(PUT, 3, 4)
    history = key(first, second)
    assert history.judge_early(seen(second), 5, 6) == ("", "")
    assert history.judge_early(seen(first), 5, 6) == ("", "old")
    assert history.judge_early(Seen(), 5, 6) == ("", "missed")
    assert history.judge_early(Seen(), 0, 1) == ("", "")
    assert history.judge_early(Seen(999_999, 999_999), 5, 6)[0]
    assert history.judge_early(seen(second), 1, 2.5)[0]


def test_what_has_settled_is_all_that_is_known_of_the_past():
    first, post, second = write(PUT, 1, 2), write(POST, 3, 4), write(PUT, 5, 6, acknowledged=False)
    history = key(first, post, second)
    history.settle(seen(first, post))
    assert history.judge(seen(second))
    assert history.judge(Seen())
    assert not history.judge(seen(first, post))
    history.settle(Seen())
    assert not history.judge(Seen())
    assert history.judge(seen(first, post))


@pytest.mark.parametrize("kinds", [schedule.PASSING, schedule.DESTROYING, schedule.EVERYWHERE])
def test_the_same_seed_gives_the_same_schedule(kinds):
    def all_of(seed):
        stream = schedule.operations(seed, 3, 1, 3, 2)
        return list(itertools.islice(stream, 200)), schedule.faults(seed, 3, 60, frozenset(kinds))

    assert all_of(7) == all_of(7)
    assert all_of(7)[0] != all_of(8)[0]


@pytest.mark.parametrize("seed", range(40))
def test_faults_stay_within_what_the_store_promises(seed):
    kinds = frozenset((*schedule.PASSING, *schedule.EVERYWHERE, *schedule.DESTROYING))
    faults = schedule.faults(seed, 1, 60, kinds)
    assert len({fault.node for fault in faults if fault.kind in schedule.DESTROYING}) <= 1
    assert all(0 <= fault.begin <= fault.end <= 60 for fault in faults)
    for fault in faults:
        assert not schedule.is_overlapping(fault, [other for other in faults if other is not fault])
