"""Which files of a hash directory count: the reference's own decisions, and what must hold for any directory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obj_golden import load

from swift.core import clock
from swift.obj import directories
from swift.obj.files import layout
from swift.obj.files.cleanup import cleanup, garbage, is_superseded
from swift.obj.files.decide import decide

CASES = load("ondisk_decisions.json")


def names(files):
    return sorted({f.name for f in files})


@pytest.mark.parametrize("case", CASES, ids=[f"{n}-{c['note'] or c['files']}" for n, c in enumerate(CASES)])
def test_golden(case):
    ec = case["policy"] == 2
    got = decide(case["files"], ec, 6 if ec else None, **case["args"])
    for kind in ("data", "meta", "ctype", "ts"):
        chosen = getattr(got, kind)
        assert (chosen and chosen.name) == case[f"{kind}_file"], kind
    assert names(got.obsolete) == sorted(case["obsolete"])
    assert names(got.possible_reclaim) == sorted(case["possible_reclaim"])
    assert sorted(got.unexpected) == sorted(case["unexpected"])
    if ec:
        sets = {time: [[f.fragment, f.durable] for f in files] for time, files in got.frag_sets.items()}
        assert sets == case["frag_sets"]
        if case["data_file"]:
            assert got.durable_set == case["durable_frag_set"]
        if "data_durable" in case and case["data_durable"] is not None:
            assert got.data.durable == case["data_durable"]


times = st.integers(90, 94).map(lambda n: f"00000000{n}.00000")
file_names = st.one_of(
    st.tuples(times, st.sampled_from([".data", ".meta", ".ts", ".durable", ".foo"])).map("".join),
    st.tuples(times, st.sampled_from(["+0.meta", "-a.meta", "+a.meta", "#0.data", "#1#d.data"])).map("".join),
    st.sampled_from(["junk", ".x.data.abcdef"]),
)


@given(st.lists(file_names, unique=True), st.booleans())
def test_cleanup_does_not_change_what_is_served(files, ec):
    """Removing what is obsolete leaves the same choice, and nothing more is obsolete then."""
    before = decide(files, ec)
    rest = set(files) - {f.name for f in before.obsolete}
    after = decide(rest, ec)
    for kind in ("data", "meta", "ctype", "ts"):
        assert getattr(after, kind) == getattr(before, kind)
    assert after.obsolete == []
    assert (before.data is None) or (before.ts is None)
    chosen = {f.name for f in (before.data, before.meta, before.ctype, before.ts) if f}
    assert not chosen & {f.name for f in before.obsolete}


@given(st.lists(file_names, unique=True), st.booleans(), st.randoms())
def test_the_order_of_the_listing_does_not_matter(files, ec, random):
    shuffled = list(files)
    random.shuffle(shuffled)
    one, other = decide(files, ec), decide(shuffled, ec)
    assert [getattr(one, k) for k in one.__slots__] == [getattr(other, k) for k in other.__slots__]


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "x.data",
        ".data",
        "1_2_3.data",
        "1700000000.00001#1.data",
        "99999999999.meta",
        "nan.ts",
        "1+x.meta",
        "",
    ],
)
def test_unexpected_names(name):
    assert decide([name]).unexpected == [name]


def test_file_names():
    t, later = "1700000000.00001", "1700000000.00002_000000000000000a"
    assert layout.file_name(t, ".data") == "1700000000.00001.data"
    assert layout.file_name(later, ".meta") == "1700000000.00002_000000000000000a.meta"
    assert layout.file_name(later, ".meta", t) == "1700000000.00002_a-1.meta"
    assert layout.file_name(t, ".meta", t) == "1700000000.00001+0.meta"
    assert layout.file_name(t, ".data", fragment=3) == "1700000000.00001#3.data"
    assert layout.file_name(t, ".data", fragment=3, durable=True) == "1700000000.00001#3#d.data"


@pytest.mark.parametrize(
    "name, parts", [("objects", ("objects", 0)), ("objects-2", ("objects", 2)), ("a-b-12", ("a-b", 12))]
)
def test_policy_directories(name, parts):
    assert directories.split_policy_dir(name) == parts
    assert directories.policy_dir(*parts) == name


@pytest.mark.parametrize(
    "name", ["objects-0", "objects-01", "objects-", "objects-x", "objects-+1", "objects--1"]
)
def test_policy_directories_spelled_otherwise_are_unknown(name):
    with pytest.raises(ValueError):
        directories.split_policy_dir(name)


def test_an_isolated_durable_marker_does_not_break_the_cleanup(tmp_path):
    """A legacy marker that is newer than all fragments puts them on both lists of what may go."""
    for name in ("1700000001.00000#0.data", "1700000001.00000#1#d.data", "1700000002.00000.durable"):
        (tmp_path / name).touch()
    decision, remaining = cleanup(str(tmp_path), ec=True, reclaim_age=0, commit_window=0, now=1800000000.0)
    assert decision.data is None
    assert remaining == []
    assert list(tmp_path.parent.glob(f"{tmp_path.name}/*")) == []


times = st.sampled_from([f"17000000{n:02}.00000" for n in range(4)] + ["1700000001.00000_0000000000000001"])
file_names = st.builds(
    "".join, st.tuples(times, st.sampled_from([".data", ".meta", ".ts", ".durable", "#1.data", ".tmp"]))
)


@given(file_names, file_names, st.sampled_from([0.0, 1.0, 1e12]))
def test_what_is_told_at_once_is_what_is_decided(older, newest, reclaim_age):
    if is_superseded(older, newest, reclaim_age):
        gone = garbage("/nowhere", [older, newest], False, None, reclaim_age, 0, clock.time())
        assert gone == {older}
    assert is_superseded("1700000001.00000.data", "1700000002.00000.ts", 1e12)


def test_a_fragment_that_came_twice_is_there_once():
    """Its second sender died before the commit."""
    twin, first = "1700000001.00000#1.data", "1700000001.00000#1#d.data"
    names = ["1700000001.00000#0.data", first, twin]
    decision = decide(names, True, 6)
    assert [file.name for file in decision.obsolete] == [twin]
    assert decision.data is not None and decision.data.name == first
    assert [file.name for file in decision.frag_sets["1700000001.00000"]] == [names[0], first]
