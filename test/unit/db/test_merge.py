"""Merging rows: the golden vectors, and what must hold for any rows."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.db.merge import (
    ContainerItem,
    ContainerRow,
    ObjectItem,
    ObjectRow,
    is_deleted_container,
    later,
    merge_containers,
    merge_objects,
    split_swift_bytes,
)
from test.databases import load, with_our_row_ids

OBJECT_KEYS = ("name", "created_at", "size", "content_type", "etag", "deleted", "storage_policy_index")
CONTAINER_KEYS = (
    "name",
    "put_timestamp",
    "delete_timestamp",
    "object_count",
    "bytes_used",
    "deleted",
    "storage_policy_index",
)


def object_item(data):
    return ObjectItem(
        *(data.get(key, 0) for key in OBJECT_KEYS), data.get("ctype_timestamp"), data.get("meta_timestamp")
    )


class Table:
    """A table of rows with ascending row ids, as SQLite would keep it."""

    def __init__(self):
        self.rows = {}
        self.last = 0

    def apply(self, deletes, inserts):
        for row in deletes:
            del self.rows[row.rowid]
        for row in inserts:
            self.last += 1
            self.rows[self.last] = row._replace(rowid=self.last)

    def by_key(self, *keys):
        return {
            tuple(getattr(row, key) for key in keys) if len(keys) > 1 else getattr(row, keys[0]): row
            for row in self.rows.values()
        }


@pytest.mark.parametrize("case", load("merge_objects.json"), ids=lambda case: case["note"])
def test_golden_object_rows(case):
    table = Table()
    for batch in case["batches"]:
        items = [object_item(data) for data in batch]
        table.apply(*merge_objects(table.by_key("name", "storage_policy_index"), items))
    found = [
        {"ROWID": row.rowid, **{key: getattr(row, key) for key in OBJECT_KEYS}} for row in table.rows.values()
    ]
    assert found == case["rows"]
    assert table.last == case["max_row"]


@pytest.mark.parametrize("case", load("merge_containers.json"), ids=lambda case: case["note"])
def test_golden_container_rows(case):
    table = Table()
    for batch in case["batches"]:
        items = [ContainerItem(*(data[key] for key in CONTAINER_KEYS)) for data in batch]
        table.apply(*merge_containers(table.by_key("name"), items))
    found = [
        {"ROWID": row.rowid, **{key: getattr(row, key) for key in CONTAINER_KEYS}}
        for row in table.rows.values()
    ]
    assert found == with_our_row_ids(case)


TIMES = st.integers(1, 6).map(lambda n: f"17000000{n:02d}.00000")
# no offsets: the encoding of a triple drops those of its second and third time
ITEMS = st.builds(
    ObjectItem,
    st.sampled_from(["a", "b"]),
    st.one_of(
        TIMES,
        TIMES.map(lambda t: t + "+186a0+186a0"),
        TIMES.map(lambda t: t + "-186a0+186a0"),
    ),
    st.integers(0, 3),
    st.sampled_from(["t/a", "t/b;swift_bytes=7", "t/c; x=y"]),
    st.sampled_from(["e1", "e2"]),
    st.integers(0, 1),
    st.integers(0, 1),
    st.none() | TIMES,
    st.none() | TIMES,
)


def state(items):
    table = Table()
    for item in items:
        table.apply(*merge_objects(table.by_key("name", "storage_policy_index"), [item]))
    return {key: row[1:] for key, row in table.by_key("name", "storage_policy_index").items()}


@given(st.lists(ITEMS, max_size=6))
def test_merging_again_changes_nothing(items):
    table = Table()
    table.apply(*merge_objects({}, items))
    assert merge_objects(table.by_key("name", "storage_policy_index"), items) == ([], [])


@given(st.lists(ITEMS, max_size=5))
def test_batches_and_single_rows_end_alike(items):
    """What a reader sees over pending rows one by one is what the merge of the batch will store."""
    table = Table()
    table.apply(*merge_objects({}, items))
    batch = {key: row[1:] for key, row in table.by_key("name", "storage_policy_index").items()}
    single = state(items)
    # content types of rows that met no other are stored as they came
    assert {k: (v[1], v[2], v[4], v[5]) for k, v in batch.items()} == {
        k: (v[1], v[2], v[4], v[5]) for k, v in single.items()
    }
    assert {k: split_swift_bytes(v[3]) for k, v in batch.items()} == {
        k: split_swift_bytes(v[3]) for k, v in single.items()
    }


@given(st.lists(ITEMS, max_size=4, unique_by=lambda i: (i.created_at, i.ctype_timestamp, i.meta_timestamp)))
def test_replicas_agree_on_times_whatever_the_order(items):
    results = {
        tuple(sorted((k, v[1]) for k, v in state(order).items())) for order in itertools.permutations(items)
    }
    # the later time of each of the three wins everywhere
    assert len(results) <= 1


@pytest.mark.parametrize(
    "text, expected",
    [
        ("text/plain", ("text/plain", None)),
        ("text/html; charset=UTF-8", ("text/html;charset=UTF-8", None)),
        ("a/b;swift_bytes=700", ("a/b", "700")),
        ('a/b; x="q;z";swift_bytes=5; y=1', ('a/b;x="q;z";y=1', "5")),
        ("", ("", None)),
    ],
)
def test_split_swift_bytes(text, expected):
    assert split_swift_bytes(text) == expected


def test_object_rows_need_no_text_form_of_their_own():
    deletes, inserts = merge_objects({}, [ObjectItem("o", "1.5", 1, "t", "e", 0)])
    assert (deletes, inserts[0]) == ([], ObjectRow(None, "o", "0000000001.50000", 1, "t", "e", 0, 0))


def test_container_times_compare_in_any_form():
    assert later("0", "0000000000.00000") == "0"
    assert later("5", "0000000004.00000") == "5"
    assert is_deleted_container("1", "0000000002.00000", "0")
    assert not is_deleted_container("0000000002.00000", "2", 0)


def test_last_report_of_a_name_wins_within_a_batch():
    old = ContainerRow(3, "c", "0000000005.00000", "0", 1, 1, 0, 0)
    reports = [
        ContainerItem("c", "0000000004.00000", "0", 9, 9, 0),
        ContainerItem("c", "0000000006.00000", "0", 2, 2, 0),
    ]
    deletes, inserts = merge_containers({"c": old}, reports)
    assert deletes == [old]
    assert inserts == [ContainerRow(None, "c", "0000000006.00000", "0", 2, 2, 0, 0)]
