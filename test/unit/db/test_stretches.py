"""What is kept in memory of listings: never another row than the stored ones, never more than the budget."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.db import stretches as module
from swift.db.bodies import Bodies
from swift.db.budget import Budget
from swift.db.overlay import NOTHING, lay_over
from swift.db.stretches import Stretches

NAMES = st.lists(
    st.text(
        alphabet=["\0", "\x01", "/", "-", "a", "b", "0", "\ud7ff", "\ue000", "\U0010ffff"],
        min_size=1,
        max_size=6,
    ),
    unique=True,
    max_size=25,
).map(sorted)
TEXT = st.text(alphabet=["/", "-", "a", "b", "\ud7ff", "\U0010ffff"], max_size=4)


class Table:
    """Stored rows, and how often they are read."""

    def __init__(self, names, text=None):
        self.names = names
        self.text = text
        self.reads = []

    def load(self, start, end, wanted):
        self.reads.append((start, end, wanted))
        inside = [name for name in self.names if name >= start and (end is None or name < end)][:wanted]
        return inside, [self.text or name.encode("utf-8", "surrogatepass") for name in inside]

    def page(self, stretches, low, high, count):
        used = []
        found = stretches.page(low, high, count, self.load, used)
        stretches.keep(used)
        return found

    def pages(self, stretches, low, high, count):
        found = []
        while len(found) < count:
            (page, texts), bound = self.page(stretches, low, high, count - len(found))
            assert [text.decode("utf-8", "surrogatepass") for text in texts] == page
            found += page
            if bound is None:
                break
            low = bound
        return found[:count]


@pytest.fixture
def numbers():
    return Table([f"{n:05d}" for n in range(5000)], b"x" * 100)


@settings(max_examples=300)
@given(
    NAMES,
    st.lists(st.tuples(TEXT, st.none() | TEXT, st.integers(1, 8)), min_size=1, max_size=12),
    st.sampled_from([0, 50, 600, 10**6]),
)
def test_pages_from_memory_are_the_stored_ones(names, requests, budget):
    saved = module.MIN_LOAD_ROWS, module.MAX_ROWS
    module.MIN_LOAD_ROWS, module.MAX_ROWS = 2, 6
    try:
        bounded = Budget(budget)
        stretches = Stretches(bounded)
        table = Table(names)
        for low, high, count in requests:
            expected = [name for name in names if name >= low and (high is None or name < high)][:count]
            if high is not None and low >= high:
                continue
            assert table.pages(stretches, low, high, count) == expected
            assert bounded.used <= budget
        stretches.close()
        assert bounded.used == 0
    finally:
        module.MIN_LOAD_ROWS, module.MAX_ROWS = saved


@given(NAMES, st.lists(st.tuples(TEXT, st.integers(1, 8)), min_size=2, max_size=6))
def test_readers_that_load_the_same_at_the_same_time(names, requests):
    """Each has begun before any of them keeps what it has loaded."""
    table, stretches = Table(names), Stretches(Budget())
    loaded = []
    for low, count in requests:
        used = []
        stretches.page(low, None, count, table.load, used)
        loaded.append(used)
    for used in loaded:
        stretches.keep(used)
    for low, count in requests:
        assert table.pages(stretches, low, None, count) == [name for name in names if name >= low][:count]


def test_a_second_page_reads_nothing(numbers):
    stretches = Stretches(Budget())
    for start in ("02000", "01500", "02500", "00000", "04500"):
        numbers.page(stretches, start, None, 1000)
    first = len(numbers.reads)
    for start in ("02100", "01600", "01999", "02400"):
        (page, _), _ = numbers.page(stretches, start, None, 1000)
        assert page[0] == start and len(page) == 1000
        assert stretches.page(start, None, 1000) == ((page, [b"x" * 100] * 1000), page[-1] + "\0")
    assert len(numbers.reads) == first


def test_without_a_file_there_is_a_whole_page_or_none(numbers):
    stretches = Stretches(Budget())
    numbers.page(stretches, "01000", None, 1000)
    assert stretches.page("01500", None, 400) is not None
    assert stretches.page("01500", "01990", 10_000) is not None
    assert stretches.page("01500", None, 501) is None
    assert stretches.page("00999", None, 2) is None


def test_the_budget_holds_and_old_stretches_go_first():
    budget = Budget(100_000)
    table, stretches = Table([f"{n:05d}" for n in range(20_000)], b"x" * 100), Stretches(budget)
    for n in range(0, 20_000, 200):
        table.page(stretches, f"{n:05d}", None, 100)
        assert 0 < budget.used <= 100_000
    assert stretches.page("19800", None, 100) is not None
    assert stretches.page("00000", None, 100) is None


def test_what_is_in_hand_stays_when_all_is_dropped(numbers):
    budget = Budget()
    stretches = Stretches(budget)
    numbers.page(stretches, "00000", None, 1000)
    used = []

    def load(start, end, wanted):
        stretches.close()  # the state has passed, and with it its memory
        return numbers.load(start, end, wanted)

    (names, _), _ = stretches.page("00500", None, 1000, load, used)
    assert names == numbers.names[500:1500]
    stretches.keep(used)
    assert budget.used == 0


def test_a_page_within_a_prefix_reads_no_further(numbers):
    (page, _), bound = Stretches(Budget()).page("00100", "00200", 10_000, numbers.load)
    assert (len(page), bound) == (100, None)
    assert [(low, high) for low, high, _ in numbers.reads] == [("00100", "00200")]


@given(
    NAMES,
    st.lists(st.dictionaries(TEXT.filter(bool), st.none() | st.binary(max_size=2), max_size=8), max_size=4),
)
def test_overlays(names, steps):
    overlay, model = NOTHING, {}
    for changes in steps:
        before = overlay, list(overlay.names), dict(overlay.rows)
        overlay.texts(overlay.names, upper)
        overlay = overlay.with_rows(changes)
        assert (before[0].names, before[0].rows) == before[1:]  # it never changes
        assert before[0].texts(before[1], upper) == {name: upper(row) for name, row in before[2].items()}
        model.update(changes)
    assert overlay.texts(overlay.names, upper) == {name: upper(row) for name, row in model.items()}
    assert overlay.names == sorted(model)
    shown, rows = list(names), [b"old"] * len(names)
    lay_over(shown, rows, {name: overlay.rows[name] for name in overlay.between("", None)})
    expected = dict.fromkeys(names, b"old")
    for name, row in model.items():
        expected.pop(name, None)
        if row is not None:
            expected[name] = row
    assert dict(zip(shown, rows, strict=True)) == expected
    assert shown == sorted(expected)


def test_what_is_made_of_rows_goes_with_their_overlay():
    first, second = NOTHING.with_rows({"a": b"x"}), NOTHING.with_rows({"a": b"y"})
    for overlay in (first, second):
        overlay.texts(["a"], upper)
    assert (first.texts(["a"], upper), second.texts(["a"], upper)) == ({"a": b"X"}, {"a": b"Y"})
    assert not NOTHING._texts
    assert first.with_rows({"b": b"z"})._texts is first._texts  # nothing is made twice


def upper(row):
    return None if row is None else row.upper()


def test_bodies_are_bounded_in_number_and_size_and_end_with_their_state():
    budget = Budget(5000)
    bodies = Bodies(budget, limit=3)
    for n in range(5):
        bodies.keep(n, b"%d" % n)
    assert [bodies.get(n) for n in range(5)] == [None, None, b"2", b"3", b"4"]
    bodies.keep("large", b"x" * 4000)
    assert budget.used <= 5000 and bodies.get("large") and bodies.get(4) is None
    bodies.close()
    bodies.keep("late", b"")
    assert bodies.get("late") is None and budget.used == 0
