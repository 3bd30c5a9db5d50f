"""Many rows at once come to the same totals and hash as rows one by one, and all of them or none are there after a kill."""

import os
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_rows_moved import ROWS, content, items, make  # noqa: F401  (a fixture)

from swift.container import added_up, broker

BATCHES = st.lists(ROWS, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(BATCHES)
def test_the_same_as_one_by_one(make, batches):  # noqa: F811
    one, other = make([]), make([])
    for batch in batches:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(broker, "MANY", 1)
            one.merge_items(items(batch))
            patch.setattr(broker, "MANY", 1 << 30)
            other.merge_items(items(batch))
    assert content(one) == content(other)


def triggers(found):
    conn = sqlite3.connect(found.path)
    try:
        return conn.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
        ).fetchall()
    finally:
        conn.close()


@pytest.mark.parametrize("where", ["_add_up", "_sequence"])
def test_a_kill_in_the_middle_leaves_all_as_it_was(make, monkeypatch, where):  # noqa: F811
    found = make([("a", 1, 5, False, 0)])
    rows = items([(f"{number:03}", 1, 7, False, 0) for number in range(broker.MANY)])
    before, stored = content(found), triggers(found)
    child = os.fork()
    if not child:
        try:
            monkeypatch.setattr(added_up, where, lambda *args: os._exit(3))
            found.merge_items(rows)
        finally:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert content(found) == before and triggers(found) == stored
    found.merge_items(rows)
    assert found.info()["object_count"] == broker.MANY + 1
    assert triggers(found) == stored


def test_triggers_are_there_again_for_the_next_row(make):  # noqa: F811
    found = make([])
    found.merge_items(items([(f"{number:03}", 1, 7, False, 0) for number in range(broker.MANY)]))
    found.merge_items(items([("000", 2, 0, True, 0), ("b", 2, 9, False, 1)]))
    conn = sqlite3.connect(found.path)
    try:
        with pytest.raises(sqlite3.Error, match="UPDATE not allowed"):
            conn.execute("UPDATE object SET size = 1")
        assert conn.execute("SELECT * FROM policy_stat ORDER BY 1").fetchall() == [
            (0, broker.MANY - 1, 7 * (broker.MANY - 1)), (1, 1, 9),
        ]  # fmt: skip
    finally:
        conn.close()
