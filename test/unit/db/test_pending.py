"""The pending file: the record format, and appends that are whole or absent."""

import base64
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.core.concurrency import spawn
from swift.db import appends, pending
from swift.db.errors import DatabaseBusy, DatabaseMissing
from test.databases import load

PLAIN = st.one_of(st.text(max_size=20), st.integers(-(2**40), 2**40), st.none())


def test_the_golden_vector():
    record = ("x1", "1700000005.00000", 11, "text/plain", "e11", 0, 1, None, None)
    expected = b":gAIoWAIAAAB4MXEAWBAAAAAxNzAwMDAwMDA1LjAwMDAwcQFLC1gKAAAAdGV4dC9wbGFpbnECWAMAAABlMTFxA0sASwFOTnRxBC4="
    assert pending.encode(record) == expected


@pytest.mark.parametrize("entry", load("container_pending.json")["pending_entries"])
def test_golden_entries(entry):
    assert list(pending.decode(entry["b64"].encode())) == entry["tuple"]


@given(st.lists(PLAIN, min_size=6, max_size=9).map(tuple))
def test_what_is_written_is_read(record):
    data = pending.encode(record)
    assert [pending.decode(entry) for entry in pending.split(data * 2)] == [record, record]


@given(st.lists(PLAIN, min_size=6, max_size=9).map(tuple), st.integers(0, 2))
def test_older_pickles_are_read(record, protocol):
    assert pending.decode(base64.b64encode(pickle.dumps(record, protocol))) == record


@given(st.binary(max_size=40))
def test_garbage_is_refused_with_a_value_error(data):
    try:
        assert isinstance(pending.decode(data), tuple)
    except ValueError:
        pass


@given(st.lists(PLAIN, min_size=6, max_size=9).map(tuple), st.data())
def test_a_torn_record_is_refused(record, data):
    entry = pending.encode(record)[1:]
    torn = entry[: data.draw(st.integers(0, len(entry) - 1))]
    try:
        assert pending.decode(torn) == record  # no more than base64 padding is missing
    except ValueError:
        pass


def test_classes_are_refused():
    with pytest.raises(ValueError):
        pending.decode(base64.b64encode(pickle.dumps((pytest.fail,), 2)))


def test_entries_of_a_long_file(tmp_path, monkeypatch):
    monkeypatch.setattr(pending, "READ_AT_MOST", 100)
    path = str(tmp_path / "x.db.pending")
    records = [(f"object {n}", n, None) for n in range(50)]
    for record in records:
        pending.append(path, pending.encode(record))
    assert [pending.decode(entry) for entry in pending.entries(path)] == records
    pending.empty(path)
    assert list(pending.entries(path)) == []


def test_a_full_disk_leaves_no_torn_record(tmp_path, monkeypatch):
    path = str(tmp_path / "x.db.pending")
    pending.append(path, b":whole")
    real = pending.os.write
    monkeypatch.setattr(pending.os, "write", lambda fd, data: real(fd, data[:3]))
    with pytest.raises(OSError):
        pending.append(path, b":second")
    assert pending.read(path) == b":whole"


def test_the_lock_is_exclusive_and_needs_a_directory(tmp_path):
    def want():
        with pending.DirectoryLock(str(tmp_path), 0.01):
            pass

    with pending.DirectoryLock(str(tmp_path), 1):
        with pytest.raises(DatabaseBusy):
            spawn(want).wait()
        want()  # who holds it may take it again, and holds it still
        with pytest.raises(DatabaseBusy):
            spawn(want).wait()
    spawn(want).wait()
    with pytest.raises(DatabaseMissing):
        with pending.DirectoryLock(str(tmp_path / "no"), 1):
            pass


def test_whoever_waits_for_the_lock_lets_its_holder_go_on(tmp_path):
    """The holder may be another green thread of the same process, in the middle of a wait for SQLite."""
    from swift.core.concurrency import sleep

    order = []

    def hold():
        with pending.DirectoryLock(str(tmp_path), 1):
            order.append("held")
            sleep(0.1)
        order.append("given back")

    def want():
        with pending.DirectoryLock(str(tmp_path), 5):
            order.append("had")

    threads = [spawn(hold), spawn(want)]
    for thread in threads:
        thread.wait()
    assert order == ["held", "given back", "had"]


def synced_files(monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))[1]
    )
    return synced


def test_a_shortened_file_is_as_durable_as_the_long_one_was(tmp_path, monkeypatch):
    path = str(tmp_path / "x.db.pending")
    pending.append(path, b":one:two")
    synced = synced_files(monkeypatch)
    pending.replace(path, b":two", sync=True)
    assert synced == [path + ".tmp", str(tmp_path)]
    assert pending.read(path) == b":two"
    assert os.listdir(tmp_path) == ["x.db.pending"]


def test_what_a_crash_left_of_a_shortened_file_is_in_nobodys_way(tmp_path):
    path = str(tmp_path / "x.db.pending")
    (tmp_path / "x.db.pending.tmp").write_bytes(b":longer than what follows")
    pending.append(path, b":one:two")
    pending.replace(path, b":two")
    assert pending.read(path) == b":two"
    assert os.listdir(tmp_path) == ["x.db.pending"]


def test_a_new_file_of_an_old_number_has_its_entry_synced(tmp_path, monkeypatch):
    """File systems give the numbers of removed files out again."""
    synced = synced_files(monkeypatch)
    appends._entries_synced.clear()
    for name in ("a", "b"):
        directory = tmp_path / name
        directory.mkdir()
        os.rename(tmp_path / "a" / "f", directory / "f") if name == "b" else (directory / "f").write_bytes(
            b":x"
        )
        appends.sync_file(str(directory / "f"))
        assert str(directory) in synced
