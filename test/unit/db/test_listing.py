"""Listings: against the plainest possible model, for any names, arguments and pending rows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.core.constraints import CONTAINER_LISTING_PARAMS
from swift.core.errors import BadRequest, PreconditionFailed
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
