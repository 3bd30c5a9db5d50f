"""Rows that are moved from one file into another inside of SQLite come to the same as rows that are merged."""

import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swift.container.broker import ContainerBroker
from swift.container.sharding import moving
from swift.core.timestamp import Timestamp
from swift.db.merge import ObjectItem

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", "é", "z/1"]),
        st.integers(1, 4),  # when
        st.integers(0, 9),  # size
        st.booleans(),  # deleted
        st.sampled_from([0, 0, 0, 1]),  # policy
    ),
    max_size=14,
)


def items(rows):
    return [
        ObjectItem(
            name, Timestamp(1700000000 + when).internal, 0 if dead else size, "t", "e", int(dead), policy
        )
        for name, when, size, dead, policy in rows
    ]


@pytest.fixture
def make(tmp_path):
    made = iter(range(1 << 30))

    def broker(rows):
        number = next(made)
        (tmp_path / str(number)).mkdir()
        path = tmp_path / str(number) / "containers/0/000/h/h.db"
        found = ContainerBroker(str(path), account="a", container="c")
        found.create(Timestamp(1700000000).internal, 0)
        found.merge_items(items(rows))
        return found

    return broker


def content(broker):
    """(rows, figures of all policies, the hash)."""
    broker.commit_pending()
    conn = sqlite3.connect(broker.path)
    try:
        rows = conn.execute(
            f"SELECT {moving._COLUMNS} FROM object ORDER BY name, storage_policy_index"
        ).fetchall()
        figures = conn.execute(
            "SELECT * FROM policy_stat WHERE object_count OR bytes_used ORDER BY 1"
        ).fetchall()
        return rows, figures, conn.execute("SELECT hash FROM container_info").fetchone()[0]
    finally:
        conn.close()


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    there=ROWS,
    coming=ROWS,
    batch=st.integers(1, 4),
    bounds=st.sampled_from([("", ""), ("a", "d"), ("b", "")]),
)
def test_moving_is_merging(make, there, coming, batch, bounds):
    lower, upper = bounds
    source, target, merged = make(coming), make(there), make(there)
    kept = [row for row in content(source)[0] if row[0] > lower and (not upper or row[0] <= upper)]
    merged.merge_items([ObjectItem(*row) for row in kept])
    rows = moving.Rows(source.path, lower, upper, -1, source.max_row())
    for _ in range(2):  # once more is no news
        moving.move(rows, target, batch, lambda function, *args: function(*args))
        assert content(target) == content(merged)


def test_only_rows_between_two_row_ids_are_moved(make):
    source, target = make([(name, 1, 1, False, 0) for name in "abcd"]), make([("b", 2, 5, False, 0)])
    moving.move(moving.Rows(source.path, "", "", 1, 3), target, 10, lambda function, *args: function(*args))
    assert [row[:3] for row in content(target)[0]] == [
        ("b", "1700000002.00000", 5),
        ("c", "1700000001.00000", 1),
    ]
