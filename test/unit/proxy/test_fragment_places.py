"""Which fragment goes to which node."""

from hypothesis import given
from hypothesis import strategies as st

from swift.proxy.fragment_places import fragments_for


def primary(index):
    return {"index": index}


HANDOFF = {"handoff_index": 0}


def test_primaries_keep_their_own():
    assert fragments_for([primary(3), primary(0), primary(2)], 4, 1) == [3, 0, 2]
    assert fragments_for([primary(5), primary(1)], 4, 2) == [1, 1]


def test_handoffs_fill_the_holes():
    assert fragments_for([primary(3), HANDOFF, primary(1), HANDOFF], 4, 1) == [3, 0, 1, 2]


def test_those_of_which_most_copies_are_missing_come_first():
    """As in the specification: index 0 lacks two copies and index 1 lacks one."""
    nodes = [primary(3), HANDOFF, HANDOFF, HANDOFF, primary(2), primary(5)]
    assert fragments_for(nodes, 3, 2) == [0, 1, 0, 1, 2, 2]
    nodes = [primary(1), primary(2), primary(5), HANDOFF, HANDOFF, HANDOFF]
    assert fragments_for(nodes, 3, 2) == [1, 2, 2, 0, 0, 1]


def test_nothing_is_sent_that_nobody_misses():
    assert fragments_for([primary(0), primary(1), HANDOFF], 2, 1) == [0, 1, None]


@given(st.integers(1, 8), st.integers(1, 3), st.data())
def test_as_many_different_fragments_as_nodes_allow(total, copies, data):
    present = data.draw(st.sets(st.integers(0, total * copies - 1)))
    handoffs = data.draw(st.integers(0, total * copies - len(present)))
    nodes = [primary(index) for index in present] + [HANDOFF] * handoffs
    nodes = data.draw(st.permutations(nodes))
    found = fragments_for(nodes, total, copies)
    assert None not in found
    counts = [found.count(index) for index in range(total)]
    assert sum(counts) == len(nodes) and max(counts) <= copies
    missing = {index for index in range(total) if all(p % total != index for p in present)}
    assert len(missing & set(found)) == min(len(missing), handoffs)
