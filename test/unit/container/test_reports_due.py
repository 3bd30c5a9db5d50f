"""What the container-updater remembers between sweeps: each container is reported once an interval, none is taken for unchanged that isn't."""

import math

from hypothesis import given
from hypothesis import strategies as st

from swift.container.resend import MAX_OWED, Resends
from swift.container.unchanged import WAYS, Unchanged

NAMES = [f"{int(i * 2**32 / 97):08x}" + "0" * 24 for i in range(97)]
LONG_AGO = (1, 2, 3, 10**18 + 1)
NOW = 2 * 10**18


@given(
    st.floats(1, 2e9),
    st.lists(
        st.tuples(
            st.floats(0.001, 3),  # length of a sweep in intervals
            st.floats(0, 0.5),  # rest after it
            st.booleans(),  # the daemon is started anew
            st.integers(0, 9),  # 0: it ends in the middle of the sweep
        ),
        min_size=1,
        max_size=30,
    ),
)
def test_each_container_is_reported_once_in_an_interval(start, sweeps):
    """However long sweeps last, whenever a container's turn comes in them, and when the daemon is killed amid one."""
    interval = 86400.0
    resends = Resends(interval, start)
    now = start
    last = dict.fromkeys(NAMES, start)
    longest = 0.0
    whole = 0
    reports = dict.fromkeys(NAMES, 0)
    unfinished = 0.0
    for length, rest, anew, luck in sweeps:
        if anew:
            resends = Resends(interval, resends.done_until)
        resends.begin(now)
        length, rest = length * interval, rest * interval
        longest = max(longest, length + rest + unfinished)
        for number, name in enumerate(NAMES):
            if luck == 0 and number > 40:
                break
            if resends.is_due(name):
                last[name] = now
                reports[name] += luck != 0
            elif luck:
                assert now - last[name] <= interval * (1 + 1e-9)
        if luck:
            resends.end()
            whole += 1
            unfinished = 0.0
        else:
            unfinished += length + rest
        now += length + rest
    if whole:
        turns = (resends.done_until - start) / interval
        assert all(count <= math.ceil(turns) + 1e-6 for count in reports.values())


@given(st.integers(0, 200), st.floats(0.005, 0.02))
def test_sweeps_of_any_length_leave_nobody_out(count, share):
    """The old rule left out nine of ten when a sweep took 3,000 s."""
    interval = 86400.0
    resends = Resends(interval, 1e9)
    seen = set()
    for number in range(math.ceil(1 / share) + 2):
        resends.begin(1e9 + number * share * interval)
        seen |= {name for name in NAMES if resends.is_due(name)}
        resends.end()
    assert seen == set(NAMES)


def test_nothing_known_reports_all_and_zero_never():
    resends = Resends(100)
    resends.begin(1000)
    assert all(resends.is_due(name) for name in NAMES)
    resends = Resends(0)
    resends.begin(1000)
    assert not any(resends.is_due(name) for name in NAMES)


def test_a_clock_that_is_set_back_reports_again_rather_than_not():
    resends = Resends(100, 5000)
    resends.begin(2000)
    resends.end()
    resends.begin(2100)
    assert all(resends.is_due(name) for name in NAMES)


def test_what_could_not_be_reported_is_due_in_the_next_sweep():
    resends = Resends(1000, 0)
    resends.begin(1)
    resends.owe(NAMES[50])
    for n in range(2 * MAX_OWED):
        resends.owe(f"{n}")
    resends.end()
    resends.begin(2)
    assert resends.is_due(NAMES[50]) and not resends.is_due(NAMES[51])
    resends.end()
    resends.begin(3)
    assert not resends.is_due(NAMES[50])


marks = st.tuples(
    *[st.none() | st.tuples(*[st.integers(1, 3)] * 3, st.integers(1, 10).map(lambda n: 10**18 + n))] * 3
)


@given(st.lists(st.tuples(st.integers(0, 40), marks, st.integers(0, 2)), max_size=200))
def test_nothing_is_taken_for_unchanged_that_is_not(steps):
    table = Unchanged(most_buckets=4)
    model = {}
    for number, mark, what in steps:
        path = f"/srv/node/sda1/containers/{number}"
        if what == 0:
            table.learn(path, mark, NOW)
            model[path] = mark
        elif what == 1:
            table.forget(path)
            model.pop(path, None)
        elif (path, mark) in table:
            assert model.get(path) == mark
        assert len(table) <= min(4 * WAYS, max(len(model), 0))


def test_it_is_small_and_forgets_one_at_a_time():
    table = Unchanged(most_buckets=1024)
    for n in range(4096):
        table.learn(f"/c/{n}", (LONG_AGO, LONG_AGO, None), NOW)
    assert table.nbytes == 1024 * WAYS * 16
    known = sum((f"/c/{n}", (LONG_AGO, LONG_AGO, None)) in table for n in range(4096))
    assert known > 3000
    for n in range(4096, 4106):
        table.learn(f"/c/{n}", (LONG_AGO, LONG_AGO, None), NOW)
    assert sum((f"/c/{n}", (LONG_AGO, LONG_AGO, None)) in table for n in range(4106)) >= known


def test_files_that_changed_just_now_are_not_believed():
    table = Unchanged()
    settled = (LONG_AGO, LONG_AGO, None)
    table.learn("/c", settled, NOW)
    assert ("/c", settled) in table
    table.learn("/c", ((1, 2, 3, NOW - 10), LONG_AGO, None), NOW)
    assert ("/c", settled) not in table
    table.learn("/c", ((1, 2, 3, NOW + 10**9), LONG_AGO, None), NOW)
    assert len(table) == 0
