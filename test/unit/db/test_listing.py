"""Listings: against the plainest possible model, for any names, arguments and pending rows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.core.constraints import CONTAINER_LISTING_PARAMS
from swift.core.errors import BadRequest, PreconditionFailed
from swift.db.blocks import Blocks, Budget, Overlay, overlaid
from swift.db.listing import Listing, behind_prefix, query_params, walk

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
LISTINGS = st.builds(
    Listing,
    limit=st.integers(0, 12),
    marker=TEXT,
    end_marker=TEXT,
    prefix=TEXT,
    delimiter=st.sampled_from(["", "", "/", "-", "--", "a/"]),
    path=st.none() | TEXT,
    reverse=st.booleans(),
    allow_reserved=st.booleans(),
)


def model(names, listing):
    """What the specification says, name by name."""
    low, high = (
        (listing.end_marker, listing.marker) if listing.reverse else (listing.marker, listing.end_marker)
    )
    found = []
    for name in sorted(names, reverse=listing.reverse):
        if (low and name <= low) or (high and name >= high) or not name.startswith(listing.prefix):
            continue
        if not listing.allow_reserved and name < "\x01":
            continue
        entry = (name, 1)
        if listing.delimiter:
            at = name.find(listing.delimiter, len(listing.prefix))
            if listing.path is not None:
                if name == listing.prefix and at < 0:
                    continue
                if at >= 0 and at != len(name) - 1:
                    continue
            elif at >= 0:
                entry = (name[: at + len(listing.delimiter)],)
                if entry[0] == low or entry in found:
                    continue
        found.append(entry)
    return found[: listing.limit]


def fetcher(names, chunk=None):
    def fetch(low, high, reverse, count):
        if chunk:
            count = min(count, chunk)
        inside = [name for name in names if name >= low and (high is None or name < high)]
        if reverse:
            inside.reverse()
        rows = [(name, 1) for name in inside[:count]]
        if len(rows) < count:
            return rows, None
        return rows, rows[-1][0] if reverse else rows[-1][0] + "\0"

    return fetch


@settings(max_examples=600)
@given(NAMES, LISTINGS, st.sampled_from([None, 1, 2, 3, 5]))
def test_the_walk_finds_what_the_model_finds(names, listing, chunk):
    assert walk(listing, fetcher(names, chunk)) == model(names, listing)


@given(NAMES, LISTINGS.filter(lambda listing: listing.limit > 0))
def test_pages_put_together_are_the_whole(names, listing):
    whole = walk(Listing(1000, *listing.key()[1:]), fetcher(names))
    pages, page = [], None
    marker = listing.marker
    while page is None or len(page) == listing.limit:
        _, _, *rest = listing.key()
        page = walk(Listing(listing.limit, marker, *rest), fetcher(names))
        pages += page
        if page:
            marker = page[-1][0]
    assert pages == whole


@given(st.text(max_size=5), st.text(max_size=5))
def test_behind_prefix(prefix, rest):
    behind = behind_prefix(prefix)
    name = prefix + rest
    if behind is None:
        assert set(prefix) <= {"\U0010ffff"}
    else:
        assert name < behind
        assert behind > prefix and not behind.startswith(prefix) or not prefix
        behind.encode()


def test_a_long_directory_is_jumped_over():
    names = [f"d/{n:04d}" for n in range(3000)] + ["e"] + [f"f/{n:04d}" for n in range(3000)]
    fetched = []

    def fetch(low, high, reverse, count):
        rows, bound = fetcher(sorted(names))(low, high, reverse, count)
        fetched.extend(rows)
        return rows, bound

    assert walk(Listing(delimiter="/"), fetch) == [("d/",), ("e", 1), ("f/",)]
    assert len(fetched) < 500


def test_query_params():
    found = query_params(
        "limit=5&marker=a%2Fb+c&prefix=%E6%97%A5&x=%ff&limit=6&delimiter=", CONTAINER_LISTING_PARAMS
    )
    assert found == {"limit": "6", "marker": "a/b c", "prefix": "日", "delimiter": ""}
    assert query_params("%6cimit=5", CONTAINER_LISTING_PARAMS) == {"limit": "5"}
    for bad in ("marker=%ff", "prefix=\xff", "path=%ed%a0%80"):
        with pytest.raises(BadRequest, match="parameter not valid UTF-8"):
            query_params(bad, CONTAINER_LISTING_PARAMS)


def test_limits():
    assert Listing.from_params({"limit": "0"}, 10, False, True).limit == 0
    assert Listing.from_params({"limit": "x"}, 10, False, True).limit == 10
    assert Listing.from_params({"limit": "-1"}, 10, False, True).limit == 10
    with pytest.raises(PreconditionFailed):
        Listing.from_params({"limit": "11"}, 10, False, True)
    with pytest.raises(PreconditionFailed):
        Listing.from_params({"limit": "9" * 5000}, 10, False, True)


# ---------------------------------------------------------------- cached stretches


def block_pages(blocks, names, low, high, count, chunk=None):
    def load(start, end, wanted):
        inside = [name for name in names if name >= start and (end is None or name < end)][:wanted]
        return (inside, [name.encode("utf-8", "surrogatepass") for name in inside]), True

    found = []
    while len(found) < count:
        (page, texts), bound = blocks.page(low, high, min(count - len(found), chunk or count), load)
        assert [text.decode("utf-8", "surrogatepass") for text in texts] == page
        found += page
        if bound is None:
            break
        low = bound
    return found[:count]


@settings(max_examples=300)
@given(
    NAMES,
    st.lists(st.tuples(TEXT, st.none() | TEXT, st.integers(1, 8)), min_size=1, max_size=12),
    st.sampled_from([50, 600, 10**6]),
)
def test_cached_pages_are_the_stored_ones(names, requests, budget):
    import swift.db.blocks as module

    saved = module.MIN_LOAD_ROWS
    module.MIN_LOAD_ROWS = 2
    try:
        blocks = Blocks(Budget(budget))
        for low, high, count in requests:
            expected = [name for name in names if name >= low and (high is None or name < high)][:count]
            if high is not None and low >= high:
                continue
            assert block_pages(blocks, names, low, high, count) == expected
    finally:
        module.MIN_LOAD_ROWS = saved


def test_a_second_page_reads_nothing():
    names = [f"{n:05d}" for n in range(5000)]
    reads = []

    def load(start, end, wanted):
        reads.append((start, end, wanted))
        inside = [name for name in names if name >= start and (end is None or name < end)][:wanted]
        return (inside, [b"x"] * len(inside)), True

    blocks = Blocks(Budget())
    for start in ("02000", "01500", "02500", "00000", "04500"):
        blocks.page(start, None, 1000, load)
    first = len(reads)
    for start in ("02100", "01600", "01999", "02400"):
        (page, _), _ = blocks.page(start, None, 1000, load)
        assert page[0] == start and len(page) == 1000
    assert len(reads) == first
    blocks.clear()
    assert blocks._budget.used == 0


def test_the_budget_holds_and_old_stretches_go_first():
    budget = Budget(100_000)
    names = [f"{n:05d}" for n in range(20_000)]

    def load(start, end, wanted):
        inside = [name for name in names if name >= start and (end is None or name < end)][:wanted]
        return (inside, [b"x" * 100] * len(inside)), True

    blocks = Blocks(budget)
    for n in range(0, 20_000, 200):
        blocks.page(f"{n:05d}", None, 100, load)
        assert budget.used <= 100_000


def test_what_is_not_of_the_cached_state_is_not_kept():
    reads = []

    def load(start, end, wanted):
        reads.append(start)
        return (["a"], [b"a"]), False

    blocks = Blocks(Budget())
    blocks.page("", None, 10, load)
    blocks.page("", None, 10, load)
    assert len(reads) == 2


@given(NAMES, st.dictionaries(TEXT.filter(bool), st.none() | st.just("new"), max_size=8))
def test_overlay(names, changes):
    overlay = Overlay()
    for name, text in changes.items():
        overlay.put(name, None)
        overlay.put(name, text)
    shown, texts = list(names), ["old"] * len(names)
    overlaid(shown, texts, overlay.between("", None), overlay.texts)
    expected = dict.fromkeys(names, "old")
    for name, text in changes.items():
        expected.pop(name, None)
        if text is not None:
            expected[name] = text
    assert dict(zip(shown, texts, strict=True)) == expected
    assert shown == sorted(expected)


def test_a_page_within_a_prefix_reads_no_further():
    names = [f"{n:05d}" for n in range(5000)]
    read = []

    def load(start, end, wanted):
        inside = [name for name in names if name >= start and (end is None or name < end)][:wanted]
        read.extend(inside)
        return (inside, [b"x"] * len(inside)), True

    (page, _), bound = Blocks(Budget()).page("00100", "00200", 10_000, load)
    assert (len(page), bound, len(read)) == (100, None, 100)
