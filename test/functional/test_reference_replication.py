"""Nodes 1 and 2 are ours, 3 and 4 the reference's: databases of both become the same, whichever side's replicators run first.

Run with REFERENCE_BIN=/path/to/its/bin.
"""

import http.client
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import time
from urllib.parse import quote

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))

import cluster as bench_cluster  # noqa: E402
from reference_etc import write_starters  # noqa: E402

from swift.core.hashing import hash_path, set_hash_config  # noqa: E402
from swift.db.schema import chexor  # noqa: E402
from swift.ring.lookup import Ring  # noqa: E402
from test.ports import free_port, free_ports  # noqa: E402

REFERENCE = os.environ.get("REFERENCE_BIN", "")
OURS = pathlib.Path(os.environ.get("OURS_BIN", sysconfig.get_path("scripts")))

pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(not REFERENCE, reason="REFERENCE_BIN names no installation of the reference"),
    pytest.mark.skipif(
        os.geteuid() != 0, reason="the reference's daemons need an /etc/swift of their own: root only"
    ),
]

SILVER = "\n[storage-policy:1]\nname = silver\n"
OUR_NODES, THEIR_NODES = (1, 2), (3, 4)
COMMANDS = [
    f"swift-{server}-{kind}" for server in ("account", "container") for kind in ("server", "replicator")
]
ORDERS = {"ours first": (*OUR_NODES, *THEIR_NODES), "theirs first": (*THEIR_NODES, *OUR_NODES)}


class Mixed:
    """Account and container servers of four nodes, and their replicators when they are asked for."""

    def __init__(self, root: pathlib.Path, rsync: bool) -> None:
        port, base = free_ports()
        self.cluster = bench_cluster.Cluster("mixed", OURS, root, port, base)
        self.cluster.write()
        self.cluster.bin_of_node = dict.fromkeys(
            THEIR_NODES, write_starters(root, self.cluster.etc, pathlib.Path(REFERENCE), COMMANDS)
        )
        self.rings: dict[str, Ring] = {}
        self.rsyncd = None
        rsync_port = free_port()
        if rsync:
            self.start_rsyncd(root, rsync_port)
        with open(self.cluster.etc / "swift.conf", "a") as file:
            file.write(SILVER)
        self.cluster.ring("object-1", "create", 10, 3, 1)
        for node in bench_cluster.NODES:
            self.cluster.ring(
                "object-1", "add", f"r1z{node}-{self.cluster.address('object', node)}/sdb{node}", 1
            )
        self.cluster.ring("object-1", "rebalance")
        for server in ("account", "container"):
            module = f"rsync://127.0.0.1:{rsync_port}/{server}{{replication_port}}"
            for node in bench_cluster.NODES:
                with open(self.cluster.etc / f"{server}-{node}.conf", "a") as file:
                    file.write(
                        f"\n[{server}-replicator]\nper_diff = 10\nrsync_module = {module}\nlog_level = DEBUG\n"
                        f"log_name = {server}-replicator-{node}\ndatabases_per_second = 1000\nnode_timeout = 5\n"
                    )
        for node in bench_cluster.NODES:
            for server in ("account", "container"):
                self.start(server, node)
        for node in bench_cluster.NODES:
            for server in ("account", "container"):
                self.cluster.wait(base + 10 * node + bench_cluster.PORT_OF[server], f"127.0.0.{node}")

    def start_rsyncd(self, root: pathlib.Path, port: int) -> None:
        text = f"use chroot = no\nuid = root\ngid = root\nport = {port}\naddress = 127.0.0.1\nreverse lookup = no\n"
        for server, offset in bench_cluster.PORT_OF.items():
            for node in bench_cluster.NODES:
                name = f"{server}{self.cluster.base_port + 10 * node + offset}"
                text += f"[{name}]\npath = {root}/{node}\nread only = no\n"
        (root / "rsyncd.conf").write_text(text)
        self.rsyncd = subprocess.Popen(["rsync", "--daemon", "--no-detach", f"--config={root}/rsyncd.conf"])

    def start(self, server: str, node: int) -> None:
        self.cluster.start_one(f"{server}-{node}", server, self.cluster.bin_of_node.get(node, OURS))

    def stop(self) -> None:
        self.cluster.stop()
        if self.rsyncd is not None:
            self.rsyncd.kill()
            self.rsyncd.wait()

    # -- where

    def part(self, *names: str) -> int:
        return self.rings["account" if len(names) == 1 else "container"].get_part(*names)

    def nodes(self, *names: str) -> list[int]:
        """The nodes that hold a replica, the first primary first."""
        _, primaries = self.rings["account" if len(names) == 1 else "container"].get_nodes(*names)
        return [int(node["device"][3:]) for node in primaries]

    def names_on(self, wanted: set[int], prefix: str) -> tuple[str, str]:
        """A container with a replica on each of these nodes."""
        for number in range(1000):
            names = ("AUTH_a", f"{prefix}{number}")
            if wanted <= set(self.nodes(*names)):
                return names
        raise AssertionError("not reached")

    def directory(self, node: int, *names: str) -> pathlib.Path:
        name_hash = hash_path(*names)
        folder = "accounts" if len(names) == 1 else "containers"
        return (
            self.cluster.root / f"{node}/sdb{node}/{folder}/{self.part(*names)}/{name_hash[-3:]}/{name_hash}"
        )

    # -- what

    def call(
        self, node: int, method: str, names: tuple[str, ...], timestamp: str, obj: str = "", **headers: object
    ) -> int:
        server = "account" if len(names) == 1 else "container"
        ip, port = self.cluster.address(server, node).split(":")
        connection = http.client.HTTPConnection(ip, int(port), timeout=30)
        path = f"/sdb{node}/{self.part(*names)}/" + "/".join(
            quote(name) for name in (*names, *filter(None, [obj]))
        )
        given = {"X-Timestamp": timestamp, **{k.replace("_", "-"): str(v) for k, v in headers.items()}}
        connection.request(method, path, headers=given)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    def put_row(
        self, node: int, names: tuple[str, ...], obj: str, timestamp: str, size: int = 7, policy: int = 0
    ) -> None:
        headers = {"X_Size": size, "X_Content_Type": "t/x", "X_Etag": f"e{size}"}
        status = self.call(
            node, "PUT", names, timestamp, obj, X_Backend_Storage_Policy_Index=policy, **headers
        )
        assert status == 201

    def create(
        self, names: tuple[str, ...], timestamp: str, nodes: list[int] | None = None, policy: int = 0
    ) -> None:
        for node in nodes or self.nodes(*names):
            status = self.call(node, "PUT", names, timestamp, X_Backend_Storage_Policy_Index=policy)
            assert status in (201, 202)

    def replicate(self, *nodes: int, server: str = "container") -> str:
        """One pass of these nodes' replicators, those of one side at the same time; what they logged."""
        told = ""
        for side in (OUR_NODES, THEIR_NODES) if nodes[0] in OUR_NODES else (THEIR_NODES, OUR_NODES):
            running = [self.replicator(server, node) for node in nodes if node in side]
            for process in running:
                _, errors = process.communicate(timeout=120)
                assert process.returncode == 0, errors
                told += errors
        return told

    def replicator(self, server: str, node: int) -> subprocess.Popen[str]:
        folder = self.cluster.bin_of_node.get(node, OURS)
        return subprocess.Popen(
            [folder / f"swift-{server}-replicator", self.cluster.etc / f"{server}-{node}.conf", "once", "-v"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**bench_cluster._clean_environ(), "PATH": f"{folder}:{os.environ['PATH']}"},
        )

    def state(self, node: int, names: tuple[str, ...]) -> dict[str, object]:
        """What a replica holds, as it should be the same on all nodes."""
        self.call(node, "GET", names, "1")  # merges what is pending, on the reference
        directory = self.directory(node, *names)
        (path,) = directory.glob("*.db")
        connection = sqlite3.connect(path)
        connection.create_function("chexor", 3, chexor)
        connection.row_factory = sqlite3.Row
        table = "account_stat" if len(names) == 1 else "container_stat"
        stat = dict(connection.execute(f"SELECT * FROM {table}").fetchone())
        columns = (
            "name, put_timestamp, delete_timestamp, object_count, bytes_used, deleted, storage_policy_index"
            if len(names) == 1
            else "name, created_at, size, content_type, etag, deleted, storage_policy_index"
        )
        kind = "container" if len(names) == 1 else "object"
        rows = [tuple(row) for row in connection.execute(f"SELECT {columns} FROM {kind} ORDER BY name")]
        connection.close()
        pending = directory / (path.name.split("_")[0].removesuffix(".db") + ".db.pending")
        assert not pending.exists() or not pending.stat().st_size
        wanted = ("created_at", "put_timestamp", "delete_timestamp", "hash", "object_count", "bytes_used")
        kept = {key: stat[key] for key in (*wanted, "storage_policy_index") if key in stat}
        kept["metadata"] = json.loads(stat["metadata"] or "{}")
        return {**kept, "rows": rows}

    def lose(self, node: int, names: tuple[str, ...]) -> None:
        shutil.rmtree(self.directory(node, *names))

    def assert_same(self, names: tuple[str, ...]) -> dict[str, object]:
        states = [self.state(node, names) for node in self.nodes(*names)]
        assert states[1] == states[0] and states[2] == states[0]
        return states[0]


@pytest.fixture(autouse=True)
def settings_of_the_cluster(mixed):
    """For the rings that are looked at from here; taken back after each test."""
    set_hash_config(b"changeme", b"changeme")
    mixed.rings = {server: Ring(str(mixed.cluster.etc), server) for server in ("account", "container")}


@pytest.fixture(scope="module", params=["rsyncd", "no rsyncd"])
def mixed(request, tmp_path_factory):
    made = Mixed(tmp_path_factory.mktemp("replication"), request.param == "rsyncd")
    made.has_rsync = request.param == "rsyncd"
    try:
        yield made
    finally:
        made.stop()


NOW = time.time()


def at(second: float) -> str:
    return f"{NOW - 1000 + second:.5f}"


@pytest.fixture(params=sorted(ORDERS))
def order(request):
    return ORDERS[request.param]


@pytest.mark.parametrize("wanted", [{1, 2, 3}, {1, 3, 4}], ids=["two of ours", "two of theirs"])
def test_halves_are_joined(mixed, order, wanted):
    names = mixed.names_on(wanted, f"halves{order[0]}{len(wanted & {1, 2})}-")
    a, b, c = mixed.nodes(*names)
    mixed.create(names, at(0))
    for n in range(5):
        mixed.put_row(a, names, f"a{n}", at(n))
        mixed.put_row(b, names, f"b{n}", at(n), 100)
    mixed.put_row(a, names, "both", at(20), 1)
    mixed.put_row(c, names, "both", at(21), 2)
    mixed.put_row(b, names, "gone", at(20))
    mixed.call(c, "DELETE", names, at(22), "gone", X_Backend_Storage_Policy_Index=0)
    mixed.call(a, "POST", names, at(30), X_Container_Meta_Color="blue")
    mixed.call(b, "POST", names, at(31), X_Container_Meta_Color="red")
    for _ in range(2):
        mixed.replicate(*order)
    state = mixed.assert_same(names)
    assert state["object_count"] == 11 and state["bytes_used"] == 5 * 7 + 5 * 100 + 2
    assert [row[2] for row in state["rows"] if row[0] == "both"] == [2]
    assert state["metadata"]["X-Container-Meta-Color"] == ["red", at(31)]
    log = mixed.replicate(*order)
    assert "diff:0 " in log and "ERROR" not in log


@pytest.mark.parametrize("count", [3, 60])
def test_an_emptied_disk_is_filled_again(mixed, order, count):
    """From ours to theirs and back, with and without an rsync daemon; theirs can't do it without."""
    lost = order[-1]
    names = mixed.names_on({1, 3, lost}, f"lost{order[0]}{count}-")
    mixed.create(names, at(0))
    for node in mixed.nodes(*names):
        for n in range(count):
            mixed.put_row(node, names, f"o{n}", at(n))
        mixed.call(node, "POST", names, at(99), X_Container_Meta_Color="blue")
    mixed.replicate(*order)
    mixed.lose(lost, names)
    others = [node for node in order if node != lost and (mixed.has_rsync or node in OUR_NODES)]
    mixed.replicate(*others)
    state = mixed.assert_same(names)
    assert state["object_count"] == count
    log = mixed.replicate(*order)
    assert "ERROR" not in log


def test_a_replica_far_behind_keeps_its_own_rows(mixed, order):
    behind = order[-1]
    names = mixed.names_on({1, 3, behind}, f"behind{order[0]}-")
    mixed.create(names, at(0))
    for node in mixed.nodes(*names):
        if node != behind:
            for n in range(60):
                mixed.put_row(node, names, f"o{n}", at(n))
    mixed.put_row(behind, names, "own", at(70))
    mixed.put_row(behind, names, "o1", at(71), 50)
    log = ""
    for _ in range(3):
        log += mixed.replicate(*order)
    state = mixed.assert_same(names)
    assert len(state["rows"]) == 61
    assert [row[2] for row in state["rows"] if row[0] == "o1"] == [50]
    if mixed.has_rsync:
        assert "remote_merge:1" in log


def test_deleted_and_made_anew_while_a_replica_was_away(mixed, order):
    for away in (2, 4):
        names = mixed.names_on({1, 3, away}, f"anew{order[0]}{away}-")
        mixed.create(names, at(0))
        for node in mixed.nodes(*names):
            mixed.put_row(node, names, "old", at(1))
        for node in mixed.nodes(*names):
            if node != away:
                mixed.call(node, "DELETE", names, at(2), "old", X_Backend_Storage_Policy_Index=0)
                assert mixed.call(node, "DELETE", names, at(3)) == 204
                assert mixed.call(node, "PUT", names, at(4), X_Backend_Storage_Policy_Index=1) == 201
                mixed.put_row(node, names, "new", at(5), policy=1)
        for _ in range(2):
            mixed.replicate(*order)
        state = mixed.assert_same(names)
        assert state["storage_policy_index"] == 1 and state["object_count"] == 1
        assert {(row[0], row[5]) for row in state["rows"]} == {("old", 1), ("new", 0)}


def test_a_policy_conflict(mixed, order):
    for first in (1, 3):
        names = mixed.names_on({1, 3}, f"conflict{order[0]}{first}-")
        mixed.create(names, at(1), [first], policy=1)
        mixed.create(names, at(2), [node for node in mixed.nodes(*names) if node != first], policy=0)
        for _ in range(2):
            mixed.replicate(*order)
        assert mixed.assert_same(names)["storage_policy_index"] == 1


def test_accounts(mixed, order):
    names = (f"AUTH_acc{order[0]}",)
    nodes = mixed.nodes(*names)
    for node in nodes:
        assert mixed.call(node, "PUT", names, at(0)) == 201

    def report(node, container, put, delete, count):
        headers = {
            "X_Put_Timestamp": put,
            "X_Delete_Timestamp": delete,
            "X_Object_Count": count,
            "X_Bytes_Used": count * 10,
            "X_Backend_Storage_Policy_Index": 0,
        }
        assert mixed.call(node, "PUT", names, put, container, **headers) in (201, 204)

    for number, node in enumerate(nodes):
        report(node, f"own{number}", at(1), "0", number)
    report(nodes[0], "both", at(1), "0", 5)
    report(nodes[1], "both", at(2), "0", 9)
    report(nodes[0], "gone", at(1), "0", 0)
    report(nodes[2], "gone", at(1), at(3), 0)
    for _ in range(3):
        mixed.replicate(*order, server="account")
    state = mixed.assert_same(names)
    # theirs take the numbers that come last, but all have the same
    assert state["rows"][0][0] == "both" and state["rows"][0][3] in (5, 9)
    assert [row[5] for row in state["rows"] if row[0] == "gone"] == [1]
    lost = nodes[-1]
    mixed.lose(lost, names)
    mixed.replicate(
        *[node for node in order if node != lost and (mixed.has_rsync or node in OUR_NODES)], server="account"
    )
    if mixed.has_rsync or set(nodes[:2]) & set(OUR_NODES):  # theirs can't do it without
        mixed.assert_same(names)


def test_a_handoff_goes_home(mixed, order):
    for away in bench_cluster.NODES:
        names = next(
            ("AUTH_a", f"away{order[0]}-{n}")
            for n in range(1000)
            if away not in mixed.nodes("AUTH_a", f"away{order[0]}-{n}")
        )
        nodes = mixed.nodes(*names)
        mixed.create(names, at(0), [*nodes[:2], away])
        mixed.put_row(away, names, "o", at(1))
        if not mixed.has_rsync and away in THEIR_NODES:
            mixed.create(names, at(0), [nodes[2]])  # theirs can't make it there
        mixed.replicate(away)
        assert not mixed.directory(away, *names).exists()
        states = [mixed.state(node, names) for node in nodes]
        for state in states:
            del state["created_at"]  # the primaries have not talked to each other
        assert states[0] == states[1] == states[2] and states[0]["object_count"] == 1
