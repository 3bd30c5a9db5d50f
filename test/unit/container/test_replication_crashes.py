"""A server is killed at every step of taking over a peer's rows or its whole file: nothing that it had acknowledged is lost."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from swift.container.broker import ContainerBroker
from swift.container.server import ContainerServer
from swift.core.hashing import hash_path
from swift.db.connection import CONNECTIONS
from swift.db.schema import NO_HASH, chexor
from test.databases import Logger, call, make_conf

CHILD = textwrap.dedent(
    """
    import json, sys
    from swift.core.concurrency import patch
    patch()
    import swift.db.merger, swift.db.sync_points, swift.db.replication.arrivals
    swift.db.sync_points.MERGE_BATCH = swift.db.replication.arrivals.MERGE_BATCH = 7
    from swift.container.server import ContainerServer
    from test.databases import Logger, call
    conf, path, body = eval(sys.argv[1])
    app = ContainerServer(conf, Logger())
    print(call(app, "REPLICATE", path, body=json.dumps(body))[0])
    """
)
T = [f"17000000{n:02d}.00000" for n in range(100)]


class Replica:
    """Of a container on sda1, with 15 rows of its own, some of them pending, and a peer's file with 30 rows."""

    def __init__(self, tmp_path, with_own=True):
        self.conf = make_conf(tmp_path)
        self.app = ContainerServer(self.conf, Logger())
        self.device = tmp_path / "node" / "sda1"
        (self.device / "tmp").mkdir()
        name_hash = hash_path("AUTH_a", "c")
        self.path = f"/sda1/1/{name_hash}"
        self.file = self.device / "containers" / "1" / name_hash[-3:] / name_hash / f"{name_hash}.db"
        self.peer_file = tmp_path / "peer.db"
        self.put("c", "PUT", T[5], X_Backend_Storage_Policy_Index="0")
        for n in range(30):
            self.row(f"peer{n:02d}", T[10])
        self.row("both", T[20], 2)
        self.broker().commit_pending()
        self.peer_id = self.broker().replication_info()["id"]
        CONNECTIONS.forget(str(self.file.parent))
        shutil.move(self.file, self.peer_file)
        shutil.rmtree(self.file.parent)
        self.theirs = {f"peer{n:02d}": 7 for n in range(30)} | {"both": 2}
        self.own = {}
        if with_own:
            self.put("c", "PUT", T[6], X_Container_Meta_Own="yes", X_Backend_Storage_Policy_Index="0")
            for n in range(14):
                self.row(f"own{n:02d}", T[10])
                if n == 10:
                    self.broker().commit_pending()
            self.row("both", T[30], 3)
            self.own = {f"own{n:02d}": 7 for n in range(14)} | {"both": 3}
        CONNECTIONS.forget(str(self.file.parent))

    def put(self, path, method, timestamp, **headers):
        given = {"X-Timestamp": timestamp, **{k.replace("_", "-"): v for k, v in headers.items()}}
        assert call(self.app, method, f"/sda1/1/AUTH_a/{path}", "", given)[0] in (201, 202)

    def row(self, name, timestamp, size=7):
        self.put(f"c/{name}", "PUT", timestamp, X_Size=str(size), X_Content_Type="t", X_Etag="e")

    def broker(self):
        return ContainerBroker(str(self.file), logger=Logger())

    def arrive(self):
        shutil.copy(self.peer_file, self.device / "tmp" / self.peer_id)

    def killed_at(self, point, *body):
        """True if the child that answers the call died there."""
        done = subprocess.run(
            [sys.executable, "-c", CHILD, repr((self.conf, self.path, list(body)))],
            env={**os.environ, "SWIFT_FAULT_POINT": point},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode in (0, -9), done.stderr
        return done.returncode == -9

    def answered(self, *body):
        return call(self.app, "REPLICATE", self.path, body=json.dumps(body))[0]

    def rows(self):
        """What the replica holds, which is in order."""
        broker = self.broker()
        info = broker.info()
        rows = broker.get_objects(1000)
        expected = NO_HASH
        for row in rows:
            expected = chexor(expected, row["name"], row["created_at"])
        assert info["hash"] == expected and info["object_count"] == len(rows)
        with broker.connection() as conn:
            assert conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return {row["name"]: row["size"] for row in rows}


IN_TRANSACTIONS = [
    f"db:transaction:{step}:{count}" for step in ("begun", "marked", "committed") for count in (1, 2, 4, 6)
]
JOINING = ["db:merge:committed", "db:join:merged", "db:replace:ready", "db:replace:renamed", *IN_TRANSACTIONS]


@pytest.mark.parametrize("point", JOINING)
def test_killed_while_a_file_is_joined_with_ours(tmp_path, point):
    replica = Replica(tmp_path)
    replica.arrive()
    assert replica.killed_at(point, "rsync_then_merge", replica.peer_id)
    both = {**replica.theirs, **replica.own}
    assert replica.rows() in (replica.own, both)
    info = replica.broker().info()
    assert info["put_timestamp"] == T[6]
    assert replica.broker().metadata()["X-Container-Meta-Own"] == ("yes", T[6])
    CONNECTIONS.forget(str(replica.file.parent))
    replica.arrive()
    assert replica.answered("rsync_then_merge", replica.peer_id) == 204
    assert replica.rows() == both


@pytest.mark.parametrize(
    "point", ["db:complete:renewed", "db:transaction:marked:1", "db:transaction:committed:1"]
)
def test_killed_while_a_file_becomes_our_replica(tmp_path, point):
    replica = Replica(tmp_path, with_own=False)
    replica.arrive()
    replica.killed_at(point, "complete_rsync", replica.peer_id)
    if not replica.file.exists():
        replica.arrive()
        assert replica.answered("complete_rsync", replica.peer_id) == 204
    assert replica.rows() == replica.theirs
    info = replica.broker().replication_info()
    assert info["id"] != replica.peer_id
    assert replica.broker().sync_point(replica.peer_id, incoming=True) == info["max_row"]


def test_a_journal_of_a_file_that_is_gone_is_not_played_back_into_the_one_that_arrives(tmp_path):
    replica = Replica(tmp_path, with_own=False)
    other = tmp_path / "other.db"
    shutil.copy(replica.peer_file, other)
    conn = sqlite3.connect(other, isolation_level=None)
    conn.create_function("chexor", 3, chexor)
    conn.execute("PRAGMA cache_size = 1")
    conn.execute("BEGIN")
    for n in range(300):
        conn.execute(
            "INSERT INTO object (name, created_at, size, content_type, etag) VALUES (?, ?, 1, 't', ?)",
            (f"x{n}", T[1], "e" * 200),
        )
    replica.file.parent.mkdir(parents=True)
    journal = replica.file.with_name(replica.file.name + "-journal")
    shutil.copy(f"{other}-journal", journal)
    conn.close()
    assert journal.stat().st_size > 4096
    replica.arrive()
    assert replica.answered("complete_rsync", replica.peer_id) == 204
    assert not journal.exists()
    assert replica.rows() == replica.theirs


@pytest.mark.parametrize("point", IN_TRANSACTIONS)
def test_killed_while_rows_are_merged(tmp_path, point):
    """The point that says "all up to here is merged" is never there without the rows."""
    replica = Replica(tmp_path)
    replica.broker().commit_pending()
    CONNECTIONS.forget(str(replica.file.parent))
    rows = [
        {
            "ROWID": 100 + n,
            "name": f"new{n}",
            "created_at": T[40],
            "size": 9,
            "content_type": "t",
            "etag": "e",
            "deleted": 0,
            "storage_policy_index": 0,
        }
        for n in range(20)
    ]
    new = {row["name"]: 9 for row in rows}
    replica.killed_at(point, "merge_items", rows, "peer")
    found = replica.rows()
    assert replica.own.items() <= found.items()
    if replica.broker().sync_point("peer", incoming=True) == 119:
        assert found == {**replica.own, **new}
    CONNECTIONS.forget(str(replica.file.parent))
    assert replica.answered("merge_items", rows, "peer") == 202
    assert replica.rows() == {**replica.own, **new}
    assert replica.broker().sync_point("peer", incoming=True) == 119
