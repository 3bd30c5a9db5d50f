"""Real processes and disks: databases of a lost disk, of a node that was away, of replicators killed amid their work become the same."""

import os
import pathlib
import shutil
import subprocess
import sysconfig
import time

import pytest

from swift.account.broker import AccountBroker
from swift.cli.saio_layout import NODES
from swift.container.broker import ContainerBroker
from swift.core import swift_dir
from swift.core.hashing import hash_path, storage_directory
from swift.core.timestamp import Timestamp
from swift.db.connection import CONNECTIONS
from swift.ring.lookup import Ring
from swift.wire import direct
from test.cluster import Cluster

BIN = pathlib.Path(os.environ.get("OURS_BIN", sysconfig.get_path("scripts")))
START = time.time() - 1000


def at(second):
    return Timestamp(START + second).internal


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Its daemons do nothing by themselves."""
    cluster = Cluster(tmp_path_factory.mktemp("replication") / "saio")
    cluster.write()
    for server in ("account", "container"):
        for node in NODES:
            path = cluster.layout.etc / f"{server}-server" / f"{node}.conf"
            text = path.read_text()
            section = f"[{server}-replicator]\n"
            path.write_text(text.replace(section, f"{section}per_diff = 20\ndatabases_per_second = 0\n"))
    with cluster:
        cluster.kill("daemons")
        yield cluster


@pytest.fixture(autouse=True)
def settings_of_the_cluster(cluster):
    """For the rings and databases that are looked at from here; taken back after each test."""
    swift_dir.use(str(cluster.layout.etc))


def ring(cluster, *names):
    return Ring(str(cluster.layout.etc), "account" if len(names) == 1 else "container")


def node_number(node):
    return int(node["device"][3:])


def broker(cluster, number, *names):
    kind = AccountBroker if len(names) == 1 else ContainerBroker
    part, name_hash = ring(cluster, *names).get_part(*names), hash_path(*names)
    folder = cluster.device(number) / kind.data_directory
    return kind(f"{storage_directory(str(folder), str(part), name_hash)}/{name_hash}.db")


def rows(cluster, number, *names):
    """What a replica holds; None if there is none."""
    found = broker(cluster, number, *names)
    if not found.exists():
        return None
    try:
        info = found.replication_info()
        kept = {
            key: info[key] for key in ("put_timestamp", "delete_timestamp", "hash", "count", "bytes_used")
        }
        return kept, {
            tuple(v for k, v in row.items() if k != "ROWID") for row in found.items_since(-1, 10**6)
        }
    finally:
        CONNECTIONS.forget(found.directory)


def agree(cluster, *names):
    """What all replicas of an account or container hold."""
    _, nodes = ring(cluster, *names).get_nodes(*names)
    states = [rows(cluster, node_number(node), *names) for node in nodes]
    assert states[0] is not None and states[1] == states[0] and states[2] == states[0]
    return states[0]


def replicate(cluster, *numbers, point="", server="container", words=()):
    """One pass of these nodes; the exit statuses."""
    running = [
        subprocess.Popen(
            [
                BIN / f"swift-{server}-replicator",
                cluster.layout.etc / f"{server}-server" / f"{number}.conf",
                "once",
                *words,
            ],
            env={**os.environ, "SWIFT_FAULT_POINT": point},
            stdin=subprocess.DEVNULL,
        )
        for number in numbers or NODES
    ]
    return [process.wait(180) for process in running]


def make_container(cluster, name):
    part, nodes = ring(cluster, "AUTH_p", name).get_nodes("AUTH_p", name)
    for node in nodes:
        headers = {"X-Timestamp": at(0), "X-Backend-Storage-Policy-Index": "0"}
        direct.put_container(node, part, "AUTH_p", name, headers)
    return part, nodes


def put_row(node, part, container, name, second):
    headers = {
        "X-Timestamp": at(second),
        "X-Size": "7",
        "X-Content-Type": "t",
        "X-Etag": "e",
        "X-Backend-Storage-Policy-Index": "0",
    }
    direct.put_container_object(node, part, "AUTH_p", container, name, headers=headers)


POINTS = [
    "db:exchange:rows_sent",
    "db:exchange:rows_sent:2",
    "db:exchange:points_sent",
    "db:exchange:copied",
    "db:exchange:piece_sent",
    "db:exchange:done",
    "db:exchange:done:2",
    "db:remove:renamed",
]


@pytest.mark.parametrize("point", POINTS)
def test_a_replicator_is_killed_amid_its_work(cluster, point):
    """Its rows go to one peer as rows, to the other as a file, and its replica goes, since it belongs elsewhere."""
    name = "killed-" + point.replace(":", "-")
    part, nodes = make_container(cluster, name)
    primaries = [node_number(node) for node in nodes]
    away = next(number for number in NODES if number not in primaries)
    device = next(dev for dev in ring(cluster, "AUTH_p", name).devs if node_number(dev) == away)
    headers = {"X-Timestamp": at(0), "X-Backend-Storage-Policy-Index": "0"}
    direct.put_container(device, part, "AUTH_p", name, headers)
    shutil.rmtree(broker(cluster, primaries[1], "AUTH_p", name).directory)
    for number in range(55):
        put_row(device, part, name, f"o{number:02d}", number)
        put_row(nodes[0], part, name, f"p{number:02d}", number)
    put_row(nodes[2], part, name, "own", 1)
    assert replicate(cluster, away, point=point) == [-9]
    # whatever it had done, nothing is lost
    replicate(cluster)
    replicate(cluster)
    _, found = agree(cluster, "AUTH_p", name)
    assert len(found) == 111
    assert rows(cluster, away, "AUTH_p", name) is None


def test_a_lost_disk_and_a_node_that_was_away(cluster):
    """Clients write, overwrite and delete while a node is down; then another one loses its disk."""
    containers = [f"away{number}" for number in range(8)]
    for name in containers:
        assert cluster.request("PUT", f"/{name}").status == 201
        for number in range(5):
            assert cluster.request("PUT", f"/{name}/o{number}", b"x" * number).status == 201
    cluster.kill("node2")
    for name in containers[:6]:
        assert cluster.request("PUT", f"/{name}/new", b"new").status == 201
        assert cluster.request("PUT", f"/{name}/o1", b"over").status == 201
        assert cluster.request("DELETE", f"/{name}/o2").status == 204
        assert cluster.request("POST", f"/{name}", headers={"X-Container-Meta-A": "b"}).status == 204
    assert cluster.request("PUT", "/made-meanwhile").status == 201
    cluster.revive("node2")
    for server in ("container", "account"):
        assert replicate(cluster, server=server) == [0] * 4
        assert replicate(cluster, server=server) == [0] * 4
    for folder in ("accounts", "containers"):
        shutil.rmtree(cluster.device(3) / folder, ignore_errors=True)
    for server in ("container", "account"):
        assert replicate(cluster, 1, 2, 4, server=server) == [0] * 3
    for name in containers:
        info, found = agree(cluster, "AUTH_test", name)
        live = {row[0] for row in found if not row[5]}
        changed = name in containers[:6]
        assert live == ({"o0", "o1", "o3", "o4", "new"} if changed else {f"o{n}" for n in range(5)})
        listed = cluster.request("GET", f"/{name}").body.decode().split()
        assert set(listed) == live
    agree(cluster, "AUTH_test", "made-meanwhile")
    agree(cluster, "AUTH_test")


def test_a_pass_of_one_device_and_partition_from_the_command_line(cluster):
    part, nodes = make_container(cluster, "chosen")
    put_row(nodes[0], part, "chosen", "o", 1)
    own = node_number(nodes[0])
    for words in (
        ("-d", "nosuch"),
        ("-p", str(part + 1)),
        ("--devices", "nosuch", "--partitions", str(part)),
    ):
        assert replicate(cluster, own, words=words) == [0]
        assert not rows(cluster, node_number(nodes[1]), "AUTH_p", "chosen")[1]
    assert replicate(cluster, own, words=("-d", nodes[0]["device"], "-p", f"{part}")) == [0]
    assert len(agree(cluster, "AUTH_p", "chosen")[1]) == 1
