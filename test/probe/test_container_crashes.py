"""A container server is killed at every step of storing a row: what it acknowledged is whole, all else is whole or absent."""

import os
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from swift.container.broker import ContainerBroker
from swift.container.server import ContainerServer
from swift.core.concurrency import use_fast_hub
from swift.core.hashing import hash_path
from swift.db.schema import NO_HASH, chexor
from test.databases import Logger, call, make_conf

use_fast_hub()

CHILD = textwrap.dedent(
    """
    import sys
    from swift.core.concurrency import patch
    patch()
    import swift.db.pending, swift.db.connection, swift.db.server, swift.db.merger
    swift.db.merger.MERGE_AHEAD_ABOVE = 3000
    swift.db.merger.MERGE_AHEAD_BATCH = 20
    swift.db.pending.MERGE_ABOVE = 6000
    swift.db.server.BACK_PRESSURE = 6000
    swift.db.connection.PAGE_CACHE_KIB = 16
    from swift.container.server import ContainerServer
    from test.databases import Logger, call
    conf = eval(sys.argv[1])
    app = ContainerServer(conf, Logger())
    def put(n):
        headers = {"X-Timestamp": f"17000{n:05d}.00000", "X-Size": "1", "X-Content-Type": "t", "X-Etag": "e" * 50}
        name = f"o{n * 7919 % 1000:03d}"
        method = "DELETE" if n % 5 == 4 else "PUT"
        if method == "DELETE":
            name = f"o{(n - 1) * 7919 % 1000:03d}"
        print("try", method, name, flush=True)
        status, _, _ = call(app, method, f"/sda1/1/AUTH_a/c/{name}", "", headers)
        assert status in (201, 204), status
        print("ok", method, name, flush=True)
    status, _, _ = call(app, "PUT", "/sda1/1/AUTH_a/c", "", {"X-Timestamp": "1700000000.00000"})
    print("container", status, flush=True)
    for n in range(200):
        put(n)
        if n % 45 == 44:
            headers = {"X-Timestamp": f"17000{n:05d}.00000", "X-Container-Meta-A": str(n)}
            assert call(app, "POST", "/sda1/1/AUTH_a/c", "", headers)[0] == 204
            print("posted", n, flush=True)
    """
)

ROW_POINTS = [
    "db:pending:appended:1",
    "db:pending:appended:17",
    "db:transaction:begun:1",
    "db:transaction:before_commit:1",
    "db:transaction:before_commit:2",
    "db:transaction:committed:1",
    "db:transaction:committed:2",
    "db:merge:ahead:1",
    "db:merge:committed:1",
    "db:merge:committed:2",
    "db:pending:emptied:1",
    "db:pending:emptied:2",
    "db:merge:ahead:2",
    "db:pending:rewritten:1",
    "db:pending:replaced:1",
    "db:pending:replaced:2",
]


def run(conf, point):
    environment = {**os.environ, "SWIFT_FAULT_POINT": point}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, repr(conf)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == -9, (point, done.returncode, done.stderr[-2000:])
    return done.stdout.splitlines()


def acknowledged(lines):
    """(names that must be listed, names that must not, names that may be either)."""
    live, dead, either = set(), set(), set()
    for line in lines:
        word, *rest = line.split()
        if word not in ("try", "ok"):
            continue
        method, name = rest
        if word == "try":
            either.add(name)
            continue
        either.discard(name)
        (live if method == "PUT" else dead).add(name)
        (dead if method == "PUT" else live).discard(name)
    return live - either, dead - either, either


def database(conf):
    digest = hash_path("AUTH_a", "c")
    return f"{conf['devices']}/sda1/containers/1/{digest[-3:]}/{digest}/{digest}.db"


def check_consistency(path):
    """The file is sound, and its counters and hash are those of its rows."""
    conn = sqlite3.connect(path)
    assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    rows = conn.execute("SELECT name, created_at, size, deleted FROM object").fetchall()
    assert len({row[0] for row in rows}) == len(rows)
    expected = NO_HASH
    for row in rows:
        expected = chexor(expected, row[0], row[1])
    assert conn.execute("SELECT hash FROM container_info").fetchone()[0] == expected
    count = sum(1 - row[3] for row in rows)
    assert conn.execute("SELECT object_count, bytes_used FROM container_stat").fetchone() == (
        count,
        sum(row[2] for row in rows),
    )
    conn.close()


@pytest.mark.parametrize("point", ROW_POINTS)
def test_killed_while_storing_rows(tmp_path, point):
    conf = make_conf(tmp_path)
    lines = run(conf, point)
    live, dead, either = acknowledged(lines)
    assert len(either) <= 1
    app = ContainerServer(conf, Logger())
    status, headers, body = call(app, "GET", "/sda1/1/AUTH_a/c", "limit=10000")
    listed = set(body.split())
    assert status in (200, 204)
    assert live <= listed <= live | either
    assert not dead & listed
    assert headers["X-Container-Object-Count"] == str(len(listed))
    broker = ContainerBroker(database(conf))
    broker.commit_pending()
    assert {row["name"] for row in broker.get_objects(1000, include_deleted=False)} == listed
    check_consistency(broker.path)


@pytest.mark.parametrize("point", ["db:pending:to_be_synced:1", "db:pending:to_be_synced:17"])
def test_killed_between_a_row_and_its_sync(tmp_path, point):
    conf = {**make_conf(tmp_path), "sync_pending_updates": "yes"}
    live, dead, either = acknowledged(run(conf, point))
    assert len(either) == 1
    listed = set(call(ContainerServer(conf, Logger()), "GET", "/sda1/1/AUTH_a/c", "limit=10000")[2].split())
    assert live <= listed <= live | either
    assert not dead & listed


@pytest.mark.parametrize(
    "point", ["mkdirs_durable:made:1", "mkdirs_durable:made:4", "db:create:written", "db:create:built"]
)
def test_killed_while_creating(tmp_path, point):
    conf = make_conf(tmp_path)
    assert run(conf, point) == []
    app = ContainerServer(conf, Logger())
    assert call(app, "HEAD", "/sda1/1/AUTH_a/c")[0] == 404
    assert call(app, "PUT", "/sda1/1/AUTH_a/c", "", {"X-Timestamp": "1700000000.00000"})[0] == 201
    assert call(app, "HEAD", "/sda1/1/AUTH_a/c")[0] == 204
    assert sorted(os.listdir(os.path.dirname(database(conf)))) == [".lock", os.path.basename(database(conf))]


def test_killed_after_the_link(tmp_path):
    conf = make_conf(tmp_path)
    assert run(conf, "db:create:linked") == []
    app = ContainerServer(conf, Logger())
    assert call(app, "HEAD", "/sda1/1/AUTH_a/c")[0] == 204
    check_consistency(database(conf))


def test_killed_amid_a_commit_that_has_reached_the_file(tmp_path):
    """A commit that has written a part of its pages: the journal must undo them."""
    conf = make_conf(tmp_path)
    app = ContainerServer(conf, Logger())
    assert call(app, "PUT", "/sda1/1/AUTH_a/c", "", {"X-Timestamp": "1700000000.00000"})[0] == 201
    path = database(conf)
    code = textwrap.dedent(
        """
        import sys, swift.db.connection
        swift.db.connection.PAGE_CACHE_KIB = 16
        from swift.container.broker import ContainerBroker
        from swift.db.merge import ObjectItem
        broker = ContainerBroker(sys.argv[1])
        with broker.connection() as conn:  # the next that is taken, too
            conn.execute("PRAGMA cache_spill = ON")  # pages reach the file early, as amid a commit
        items = [ObjectItem(f"o{n:06d}", "1700000001.00000", 1, "t" * 100, "e" * 100, 0) for n in range(3000)]
        broker.merge_items(items)
        """
    )
    before = os.path.getsize(path)
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        env={**os.environ, "SWIFT_FAULT_POINT": "db:transaction:before_commit"},
        timeout=180,
    )
    assert done.returncode == -9
    assert os.path.getsize(path) > before, "the transaction was to reach the file"
    assert os.path.exists(path + "-journal")
    assert call(app, "GET", "/sda1/1/AUTH_a/c")[0] == 204
    check_consistency(path)


@pytest.mark.parametrize("count", [5, 9, 12])
def test_killed_while_posting(tmp_path, count):
    """Metadata that was acknowledged is there, whichever transaction was the last."""
    conf = make_conf(tmp_path)
    lines = run(conf, f"db:transaction:committed:{count}")
    posted = [line.split()[1] for line in lines if line.startswith("posted")]
    headers = call(ContainerServer(conf, Logger()), "HEAD", "/sda1/1/AUTH_a/c")[1]
    assert posted
    assert int(headers["X-Container-Meta-A"]) >= int(posted[-1])
    check_consistency(database(conf))
