"""Databases are replaced, removed and set aside by identity: what is moved is what was looked at, and nothing acknowledged goes with it."""

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import pytest

from swift.account.broker import AccountBroker
from swift.container.broker import ContainerBroker
from swift.db import damage, moves
from swift.db.connection import CONNECTIONS
from swift.db.errors import DatabaseBusy, DatabaseMissing, DatabaseQuarantined
from swift.db.merge import ObjectItem
from swift.engine.xattrs import get_xattr
from test.databases import Logger

HASH = "0" * 29 + "abc"
T1, T2, T3 = "1700000001.00000", "1700000002.00000", "1700000003.00000"


def path_in(root):
    return f"{root}/sda1/containers/1/abc/{HASH}/{HASH}.db"


def make(root, count=0, prefix="o", **options):
    os.makedirs(f"{root}/sda1", exist_ok=True)
    broker = ContainerBroker(path_in(root), account="a", container="c", logger=Logger(), **options)
    if not broker.exists():
        broker.create(T1, 0)
    if count:
        broker.merge_items(items(count, prefix))
    return broker


def items(count, prefix="o"):
    return [ObjectItem(f"{prefix}{n:06d}", T1, 1, "t" * 50, "e" * 32, 0) for n in range(count)]


def names(broker):
    return {row["name"] for row in broker.get_objects(100_000)}


def other_database(root, count=50):
    """The path of a complete database of the same container with other content and another layout."""
    other = make(f"{root}/other", count, prefix="new")
    CONNECTIONS.forget(other.directory)
    return other.path


def spoil(path):
    """Leave only the first page."""
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (os.path.getsize(path) - 4096))


def python(code, *args, point="", **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        env={**os.environ, "SWIFT_FAULT_POINT": point},
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


LOOK = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1])
print(conn.execute("SELECT count(*) FROM object").fetchone()[0], conn.execute("PRAGMA integrity_check").fetchone()[0])
"""


def look(path):
    """(number of rows, integrity) as another program's SQLite finds them."""
    done = python(LOOK, path)
    return done.stdout.strip() or done.stderr[-300:]


# ---------------------------------------------------------------- renamed over, without any lock


@pytest.mark.parametrize("moment", ["before", "amid"])
def test_a_file_renamed_over_ours_amid_a_transaction_stays_whole(tmp_path, moment):
    """As the reference's rsync_then_merge does it. What is acknowledged is in the file that is there then."""
    broker = make(tmp_path, 3000)
    new = other_database(tmp_path, 2000)
    tries = []

    def store(conn):
        tries.append(1)
        is_first = len(tries) == 1
        if moment == "before" and is_first:
            os.rename(new, broker.path)
        conn.executemany(
            "INSERT INTO object (name, created_at, size, content_type, etag, deleted) VALUES (?, '1', 1, 't', 'e', 0)",
            [(f"z{n:06d}",) for n in range(3000)],
        )
        if moment == "amid" and is_first:
            os.rename(new, broker.path)
        if is_first:
            seen.append(look(broker.path))

    seen = []
    broker.change(store)
    assert seen == (["2000 ok"] if moment == "amid" else [])
    assert len(tries) == 2
    assert look(broker.path) == "5000 ok"


def test_pending_rows_are_cut_only_when_they_are_in_the_file_that_is_there(tmp_path, monkeypatch):
    broker = make(tmp_path)
    for n in range(20):
        broker.put_object(f"p{n:02d}", T2, 1, "t", "e")
    new = other_database(tmp_path)
    merge = broker.merge_items
    calls = []

    def merge_and_lose(*args):
        merge(*args)
        if not calls:
            os.rename(new, broker.path)  # the rows were committed to a file that nobody sees any more
        calls.append(1)

    monkeypatch.setattr(broker, "merge_items", merge_and_lose)
    broker.commit_pending()
    assert not os.path.getsize(broker.pending_path)
    assert names(broker) == {f"p{n:02d}" for n in range(20)} | {f"new{n:06d}" for n in range(50)}


COMMIT = """
import sys, swift.db.connection
swift.db.connection.PAGE_CACHE_KIB = 16
from swift.container.broker import ContainerBroker
from swift.db.merge import ObjectItem
broker = ContainerBroker(sys.argv[1])
with broker.connection() as conn:
    conn.execute("PRAGMA cache_spill = ON")  # as amid a commit: pages are in the file, the journal is complete
broker.merge_items([ObjectItem(f"z{n * 7919 % 3000:06d}", "1700000002.00000", 1, "t" * 100, "e" * 100, 0) for n in range(3000)])
"""


def killed_amid_a_commit(tmp_path):
    broker = make(tmp_path, 3000)
    CONNECTIONS.forget(broker.directory)
    before = os.path.getsize(broker.path)
    assert python(COMMIT, broker.path, point="db:transaction:marked").returncode == -signal.SIGKILL
    assert os.path.getsize(broker.path) > before
    try:
        get_xattr(broker.path + "-journal", "user.swift.journal_of")
    except OSError:
        pytest.skip("this file system has no user attributes: journals go unmarked there")
    return broker


def test_a_journal_is_not_replayed_into_another_file(tmp_path):
    broker = killed_amid_a_commit(tmp_path)
    os.rename(other_database(tmp_path, 2000), broker.path)
    assert broker.info()["object_count"] == 2000
    assert look(broker.path) == "2000 ok"
    assert not os.path.exists(broker.path + "-journal")


def test_a_journal_undoes_what_its_own_file_was_killed_at(tmp_path):
    broker = killed_amid_a_commit(tmp_path)
    assert broker.info()["object_count"] == 3000
    assert look(broker.path) == "3000 ok"


def test_a_journal_that_was_copied_with_its_file_still_undoes(tmp_path):
    """A disk that is evacuated file by file, attributes and all."""
    broker = killed_amid_a_commit(tmp_path)
    copy = path_in(tmp_path / "copy")
    os.makedirs(os.path.dirname(copy))
    for end in ("", "-journal"):
        shutil.copy2(broker.path + end, copy + end)
    assert make(tmp_path / "copy").info()["object_count"] == 3000
    assert look(copy) == "3000 ok"


# ---------------------------------------------------------------- replaced, by us


REPLACE = """
import os, sys
from swift.container.broker import ContainerBroker
from swift.db.connection import open_connection
broker = ContainerBroker(sys.argv[1])
tmp = sys.argv[2]
def carry_over(conn):
    rows = conn.execute("SELECT name FROM object").fetchall()
    new = open_connection(tmp); new.prepare()
    with new.writing():
        new.executemany(
            "INSERT INTO object (name, created_at, size, content_type, etag, deleted) VALUES (?, '1', 1, 't', 'e', 0)", rows
        )
    new.close()
broker.replace_file(tmp, carry_over)
print("replaced")
"""


@pytest.mark.parametrize("point", ["", "db:merge:committed", "db:replace:ready", "db:replace:renamed"])
def test_replacing_keeps_every_row(tmp_path, point):
    broker = make(tmp_path, 10)
    broker.put_object("pending", T2, 1, "t", "e")
    CONNECTIONS.forget(broker.directory)
    new = other_database(tmp_path, 20)
    done = python(REPLACE, broker.path, new, point=point)
    assert ("replaced" in done.stdout) is (point == ""), done.stderr
    replaced = point in ("", "db:replace:renamed")
    broker.commit_pending()
    expected = {f"o{n:06d}" for n in range(10)} | {"pending"}
    if replaced:
        expected |= {f"new{n:06d}" for n in range(20)}
    assert names(broker) == expected
    assert look(broker.path) == f"{len(expected)} ok"


def test_who_waited_for_a_file_that_was_replaced_writes_to_the_new_one(tmp_path):
    broker = make(tmp_path, 10)
    new = other_database(tmp_path, 20)
    children = []

    def carry_over(conn):
        code = "import sys\nfrom swift.container.broker import ContainerBroker as B\n"
        code += "B(sys.argv[1]).update_put_timestamp('1700000009.00000'); print('acknowledged')"
        children.append(
            subprocess.Popen([sys.executable, "-c", code, broker.path], stdout=subprocess.PIPE, text=True)
        )
        time.sleep(1)  # long enough for it to wait; if it isn't there yet, it comes to the new file anyway

    broker.replace_file(new, carry_over)
    assert children[0].communicate(timeout=30)[0] == "acknowledged\n"
    assert broker.info()["put_timestamp"] == "1700000009.00000"
    assert broker.info()["object_count"] == 20


def test_a_file_that_is_still_written_to_replaces_nothing(tmp_path):
    broker = make(tmp_path, 10)
    new = other_database(tmp_path, 20)
    open(new + "-journal", "wb").close()
    with pytest.raises(DatabaseBusy):
        broker.replace_file(new, lambda conn: None)
    assert broker.info()["object_count"] == 10


# ---------------------------------------------------------------- removed


CREATE = """
import sys
from swift.container.broker import ContainerBroker
broker = ContainerBroker(sys.argv[1], account="a", container="c")
if not broker.exists():
    broker.create("1700000005.00000", 0)
broker.put_object("row", "1700000006.00000", 1, "t", "e")
print("acknowledged")
"""


def test_what_is_created_while_the_old_database_goes_stays(tmp_path, monkeypatch):
    broker = make(tmp_path, 3)
    real = os.unlink
    answers = []

    def unlink(path, *args, **options):
        real(path, *args, **options)
        if not answers:
            answers.append("")
            answers[0] = python(CREATE, broker.path).stdout

    monkeypatch.setattr(os, "unlink", unlink)
    broker.remove()
    monkeypatch.undo()
    assert answers == ["acknowledged\n"]
    assert names(broker) == {"row"}


def test_removal_and_creation_by_many_processes(tmp_path):
    """Whatever the order: a row that was acknowledged after the last removal is there."""
    broker = make(tmp_path)
    code = """
    import sys
    from swift.container.broker import ContainerBroker
    from swift.db.errors import DatabaseError
    broker = ContainerBroker(sys.argv[1], account="a", container="c")
    for n in range(60):
        try:
            if sys.argv[2] == "remove":
                broker.remove()
            else:
                if not broker.exists():
                    broker.create("1700000005.00000", 0)
                broker.put_object(f"{sys.argv[2]}{n}", "1700000006.00000", 1, "t", "e")
        except DatabaseError:
            pass
    if sys.argv[2] != "remove":
        while True:
            try:
                if not broker.exists():
                    broker.create("1700000005.00000", 0)
                broker.put_object(f"last-{sys.argv[2]}", "1700000006.00000", 1, "t", "e")
                break
            except DatabaseError:
                pass
    """
    removers = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), broker.path, "remove"])
        for _ in range(2)
    ]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), broker.path, name],
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in "xy"
    ]
    for process in removers + writers:
        process.wait(60)
    assert [process.returncode for process in removers + writers] == [0] * 4, writers[0].stderr.read()
    python(CREATE.replace('"row"', '"final"'), broker.path)
    assert "final" in names(broker)
    assert look(broker.path).endswith("ok")
    assert not os.listdir(tmp_path / "sda1/tmp")


def test_a_removal_that_was_killed_is_finished_by_the_auditor(tmp_path):
    broker = make(tmp_path, 3)
    code = "import sys; from swift.container.broker import ContainerBroker as B; B(sys.argv[1]).remove()"
    assert python(code, broker.path, point="db:remove:renamed").returncode == -signal.SIGKILL
    assert not broker.exists()
    assert len(os.listdir(tmp_path / "sda1/tmp")) == 1
    assert moves.sweep_leftovers(str(tmp_path / "sda1")) == 1
    assert not os.listdir(tmp_path / "sda1/tmp")
    broker.create(T2, 0)
    assert broker.info()["object_count"] == 0


def test_a_condition_sees_what_is_pending_and_what_it_refuses_stays(tmp_path):
    broker = make(tmp_path)
    broker.put_object("late", T2, 1, "t", "e")

    def is_empty(conn):
        return not conn.execute("SELECT count(*) FROM object").fetchone()[0]

    assert not broker.remove(is_empty)
    assert names(broker) == {"late"}
    broker.remove_objects("", "")
    assert broker.remove(is_empty)
    assert not os.path.exists(tmp_path / "sda1/containers/1")
    with pytest.raises(DatabaseMissing):
        broker.remove(is_empty)


# ---------------------------------------------------------------- set aside


def test_what_was_made_since_is_not_set_aside(tmp_path):
    slow, error = make(tmp_path, 3), sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = 11
    with pytest.raises(sqlite3.DatabaseError) as raised:
        with slow.connection():
            os.rename(slow.directory, tmp_path / "aside")  # somebody else has found the damage first
            make(tmp_path).put_object("acknowledged", T3, 1, "t", "e")
            raise error
    assert not isinstance(raised.value, DatabaseQuarantined)
    assert names(slow) == {"acknowledged"}
    assert not os.path.exists(tmp_path / "sda1/quarantined")


def test_damage_is_set_aside_and_the_next_put_makes_it_anew(tmp_path):
    broker = make(tmp_path, 300)
    CONNECTIONS.forget(broker.directory)
    spoil(broker.path)
    with pytest.raises(DatabaseQuarantined):
        broker.get_objects(1000)
    assert os.listdir(tmp_path / "sda1/quarantined/containers") == [HASH]
    assert not broker.exists()
    make(tmp_path)
    assert broker.info()["object_count"] == 0


def test_killed_while_setting_aside(tmp_path):
    broker = make(tmp_path, 300)
    CONNECTIONS.forget(broker.directory)
    spoil(broker.path)
    code = "import sys; from swift.container.broker import ContainerBroker as B; B(sys.argv[1]).get_objects(1000)"
    assert python(code, broker.path, point="db:quarantine:renamed").returncode == -signal.SIGKILL
    assert os.path.exists(tmp_path / f"sda1/quarantined/containers/{HASH}/{HASH}.db")
    make(tmp_path)
    assert broker.info()["object_count"] == 0


def sqlite_error(code, text="disk I/O error"):
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


PASSING = {
    "NOMEM": 7,
    "BUSY": 5,
    "LOCKED": 6,
    "READONLY": 8,
    "FULL": 13,
    "CANTOPEN": 14,
    "PERM": 3,
    "INTERRUPT": 9,
    "IOERR": 10,
    "IOERR_READ": 266,
    "IOERR_SHORT_READ": 522,
    "IOERR_WRITE": 778,
    "IOERR_FSYNC": 1034,
    "IOERR_NOMEM": 3082,
    "IOERR_ACCESS": 3338,
    "IOERR_LOCK": 3850,
}


@pytest.mark.parametrize("name", PASSING)
def test_passing_errors_prove_no_damage(tmp_path, name):
    broker = make(tmp_path, 3)
    with pytest.raises(sqlite3.OperationalError):
        with broker.connection():
            raise sqlite_error(PASSING[name])
    assert broker.info()["object_count"] == 3


def test_a_process_without_descriptors_sets_nothing_aside(tmp_path):
    broker = make(tmp_path, 3)
    CONNECTIONS.forget(broker.directory)
    code = """
    import sys, os, sqlite3
    from swift.container.broker import ContainerBroker
    from swift.db.errors import DatabaseError
    broker = ContainerBroker(sys.argv[1])
    broker.exists(), broker.db_state
    fds = []
    try:
        while True:
            fds.append(os.dup(0))
    except OSError:
        pass
    for spare in range(4):
        for _ in range(spare):
            os.close(fds.pop())
        try:
            broker.update_put_timestamp("1700000009.00000")
        except (sqlite3.Error, OSError, DatabaseError) as err:
            print(repr(err))
    """
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))  # noqa: E731
    done = python(code, broker.path, preexec_fn=limit)
    assert done.returncode == 0 and done.stdout, done.stderr
    assert broker.exists()
    assert not os.path.exists(tmp_path / "sda1/quarantined")


def test_a_read_that_fails_twice_is_damage(tmp_path, monkeypatch):
    broker = make(tmp_path, 3)
    monkeypatch.setattr("swift.db.broker.second_look", lambda path, timeout, check: True)
    with pytest.raises(DatabaseQuarantined):
        with broker.connection():
            raise sqlite_error(266)


def test_the_second_look_reads_the_whole_file(tmp_path):
    broker = make(tmp_path, 300)
    assert not damage.second_look(broker.path, 1)
    CONNECTIONS.forget(broker.directory)
    with open(broker.path, "r+b") as file:
        file.seek(-5000, os.SEEK_END)
        file.write(b"\xff" * 5000)
    assert damage.second_look(broker.path, 1)


@pytest.mark.parametrize("kind", ["container", "account"])
def test_an_empty_file_is_damage_unless_it_is_brand_new(tmp_path, kind):
    (tmp_path / "sda1").mkdir()
    if kind == "container":
        broker = make(tmp_path)
    else:
        broker = AccountBroker(path_in(tmp_path), account="a", logger=Logger())
        broker.create(T1)
    CONNECTIONS.forget(broker.directory)
    os.truncate(broker.path, 0)
    with pytest.raises(DatabaseBusy):
        broker.info()
    os.utime(broker.path, (1, 1))
    with pytest.raises(DatabaseQuarantined):
        broker.info()
    with pytest.raises(DatabaseMissing):
        broker.info()


def test_a_database_without_our_tables_is_damage(tmp_path):
    broker = make(tmp_path)
    CONNECTIONS.forget(broker.directory)
    os.unlink(broker.path)
    conn = sqlite3.connect(broker.path)
    conn.execute("CREATE TABLE x (y)")
    conn.close()
    with pytest.raises(DatabaseQuarantined):
        broker.info()


def test_damage_found_while_the_lock_is_held(tmp_path):
    """A merge holds the lock already; whoever comes later finds no database."""
    broker = make(tmp_path, 300)
    broker.put_object("o000001", T3, 1, "t", "e")
    CONNECTIONS.forget(broker.directory)
    spoil(broker.path)
    with pytest.raises(DatabaseQuarantined):
        broker.commit_pending()
    with pytest.raises(DatabaseMissing):
        broker.put_object("x", T3, 1, "t", "e")


# ---------------------------------------------------------------- created


def test_a_creation_that_is_killed_leaves_no_file(tmp_path):
    os.makedirs(tmp_path / "sda1")
    code = """
    import sys
    from swift.container.broker import ContainerBroker
    ContainerBroker(sys.argv[1], account="a", container="c").create("1700000001.00000", 0)
    """
    for point in ("db:create:written", "db:create:built"):
        assert python(code, path_in(tmp_path), point=point).returncode == -signal.SIGKILL
    assert [name for name in os.listdir(os.path.dirname(path_in(tmp_path))) if name != ".lock"] == []


def test_what_others_left_unfinished_goes_when_it_is_old(tmp_path):
    broker = make(tmp_path)
    for name, age in (("old.tmp", 700_000), ("new.tmp", 10)):
        path = f"{broker.directory}/{name}"
        open(path, "wb").close()
        os.utime(path, (time.time() - age,) * 2)
    assert moves.sweep_unfinished(broker.directory, time.time() - 604800) == 1
    assert sorted(name for name in os.listdir(broker.directory) if name.endswith(".tmp")) == ["new.tmp"]
