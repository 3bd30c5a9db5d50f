"""The node's table of changes: marks seen by every process, never the same twice, and files that can't be trusted."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.cache import changes
from swift.cache.changes import Changes, ChangesUnknown, table_path
from swift.core.hashing import set_hash_config


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "table")


def in_child(work):
    """What `work` returns (an int), from a process of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, str(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as answer:
        return int(answer.read())


def test_a_change_is_seen_by_all_processes(path):
    here = Changes(path)
    slot = here.slot("container/a/c")
    before = here.mark(slot)
    theirs = in_child(lambda: (here.set(slot), here.mark(slot))[1])
    assert here.mark(slot) == theirs != before
    opened_anew = in_child(lambda: Changes(path).mark(slot))
    assert opened_anew == theirs
    assert 0 <= here.seconds_since(slot) < 60
    assert here.seconds_since(here.slot("container/a/d")) > 0


def test_processes_never_set_the_same_mark(path):
    here = Changes(path)
    slot = here.slot("k")

    def marks():
        here.set(slot)
        return here.mark(slot)

    seen = [in_child(marks) for _ in range(5)] + [marks() for _ in range(100)]
    assert len(set(seen)) == len(seen)


@settings(max_examples=200)
@given(st.text(st.characters(exclude_categories=())))
def test_any_key_has_a_place(tmp_path_factory, key):
    table = Changes(str(tmp_path_factory.getbasetemp() / "any-key"))
    table.set(table.slot(key))
    assert table.mark(table.slot(key))


def test_the_same_file_for_the_same_cluster_and_user():
    set_hash_config("a", "b")
    first = table_path()
    assert first == table_path() and str(os.geteuid()) in first and first.startswith(changes.DIRECTORY)
    set_hash_config("a", "c")
    assert table_path() != first


def test_drafts_do_not_stay(path, tmp_path):
    Changes(path)
    Changes(path)
    assert os.listdir(tmp_path) == ["table"]
    assert os.stat(path).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["symlink", "short", "foreign", "open", "directory", "no directory"])
def test_what_could_be_somebody_elses_is_not_used(path, tmp_path, kind):
    if kind == "symlink":
        Changes(str(tmp_path / "real"))
        os.symlink(tmp_path / "real", path)
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "no directory":
        path = str(tmp_path / "nowhere" / "table")
    else:
        Changes(path)
        with open(path, "r+b") as table:
            if kind == "short":
                table.truncate(100)
            elif kind == "foreign":
                table.write(b"x" * 16)
            else:
                os.chmod(path, 0o666)
    with pytest.raises(ChangesUnknown):
        Changes(path)


def test_a_table_that_was_taken_away_is_replaced_by_the_one_that_others_use(path, monkeypatch):
    monkeypatch.setattr(changes, "LOOK_SECONDS", 0)
    here = Changes(path)
    assert here.look()
    identity = here.identity
    os.unlink(path)
    there = Changes(path)
    slot = there.slot("k")
    there.set(slot)
    assert not here.look()
    assert here.identity == there.identity != identity
    assert here.mark(slot) == there.mark(slot)
    os.unlink(path)
    here.set(slot)
    assert Changes(path).mark(slot) == here.mark(slot)
