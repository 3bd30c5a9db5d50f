"""What a long run takes for a fault among files that count for nothing."""

import pytest

from test.long_run.leftovers import sort_out

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))


def test_all_that_counts_is_kept():
    names = {"a": [f"{T1}.data", f"{T2}.meta"], "b": [f"{T3}.ts"]}
    assert sort_out(names, ec=False) == (names, [])


@pytest.mark.parametrize("ec", [False, True])
def test_metadata_of_nothing(ec):
    counting, wrong = sort_out({"a": [f"{T2}.meta"]}, ec)
    assert counting == {} and len(wrong) == 1 and "of nothing" in wrong[0]


def test_metadata_beside_a_tombstone():
    """Newer than it they may be there; older never, wherever the newest one is."""
    counting, wrong = sort_out({"a": [f"{T2}.ts", f"{T3}.meta"], "b": [f"{T2}.ts"]}, ec=False)
    assert counting == {"a": [f"{T2}.ts"], "b": [f"{T2}.ts"]} and not wrong
    _, wrong = sort_out({"a": [f"{T1}.ts", f"{T2}.meta"], "b": [f"{T3}.ts"]}, ec=False)
    assert len(wrong) == 1 and "deleted" in wrong[0]


def test_metadata_of_a_fragment_that_was_never_committed():
    counting, wrong = sort_out({"a": [f"{T2}#0.data", f"{T3}.meta"]}, ec=True)
    assert counting == {} and len(wrong) == 1 and "of nothing" in wrong[0]


def test_fragments_that_were_never_committed():
    whole = {"a": [f"{T1}#0#d.data"], "b": [f"{T1}#1#d.data"]}
    later = {"a": [f"{T1}#0#d.data", f"{T2}#0.data"], "b": [f"{T1}#1#d.data"], "c": [f"{T2}#2.data"]}
    assert sort_out(later, ec=True) == (whole, [])
    earlier = {"a": [f"{T1}#0.data"], "b": [f"{T2}#1#d.data"]}
    _, wrong = sort_out(earlier, ec=True)
    assert len(wrong) == 1 and "newer one" in wrong[0]
    deleted = {"a": [f"{T1}#0.data"], "b": [f"{T2}.ts"]}
    assert len(sort_out(deleted, ec=True)[1]) == 1


def test_a_fragment_that_was_committed_elsewhere_only_counts_as_it_is():
    there = {"a": [f"{T1}#0#d.data"], "b": [f"{T1}#1.data"]}
    assert sort_out(there, ec=True) == (there, [])
