"""A change of the partition power begun by one implementation's relinker and finished by the other's.

Run with REFERENCE_BIN=/path/to/its/bin.
"""

import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sysconfig
import time

import pytest

from swift.core.hashing import hash_path, set_hash_config
from swift.obj.files.layout import ObjectLocation
from swift.obj.files.reader import open_object
from swift.obj.files.writer import tombstone, write_file
from swift.obj.store import EXTENT, StoreOptions
from swift.ring.builder import RingBuilder
from test.object_nodes import IN_OWN_ETC

REFERENCE = os.environ.get("REFERENCE_BIN", "")
OURS = pathlib.Path(os.environ.get("OURS_BIN", sysconfig.get_path("scripts")))

pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(not REFERENCE, reason="REFERENCE_BIN names no installation of the reference"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the reference needs an /etc/swift of its own: root only"),
]

POWER = 4
T1, T2, T3 = (f"{int(time.time()) - 100}.0000{n}" for n in (1, 2, 3))
NAMES = [f"o{number}" for number in range(30)]
SIDES = ("ours", "theirs")


class Node:
    """Two disks with replicated objects and fragments, and the rings."""

    def __init__(self, home):
        self.home = home
        self.etc = home / "etc"
        self.etc.mkdir()
        (home / "cache").mkdir()
        (self.etc / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_prefix = changeme\nswift_hash_path_suffix = changeme\n"
            "[storage-policy:0]\nname = gold\ndefault = yes\n"
            "[storage-policy:1]\nname = ec\npolicy_type = erasure_coding\nec_type = liberasurecode_rs_vand\n"
            "ec_num_data_fragments = 2\nec_num_parity_fragments = 1\n"
        )
        (self.etc / "relinker.conf").write_text(
            f"[object-relinker]\nswift_dir = {self.etc}\ndevices = {home}/d\nmount_check = false\nuser = root\n"
            f"recon_cache_path = {home}/cache\nlog_level = DEBUG\n"
        )
        self.builders = [RingBuilder(POWER, replicas, 0) for replicas in (1, 3)]
        for builder in self.builders:
            for number, disk in enumerate(("sda", "sdb", "sdc")):
                builder.add_dev(
                    {"id": number, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": 6200, "device": disk,
                     "weight": 1.0, "replication_ip": "127.0.0.1", "replication_port": 6200, "meta": ""}
                )  # fmt: skip
            builder.rebalance()
        self.write_rings()
        self.options = StoreOptions(reclaim_age=1e12)
        for disk in "sda", "sdb":
            (home / "d" / disk).mkdir(parents=True)
            self.fill(disk)

    def write_rings(self):
        for builder, name in zip(self.builders, ("object", "object-1"), strict=True):
            path = self.etc / f"{name}.ring.gz"
            builder.get_ring().save(str(path))
            os.utime(path, (time.time() - 3600,) * 2)

    def turn(self, what):
        for builder in self.builders:
            assert (
                getattr(builder, f"{what}_increase_partition_power")()
                if what != "increase"
                else (builder.increase_partition_power())
            )
        self.write_rings()

    def where(self, disk, policy, name, power):
        digest = hash_path("a", "c", name)
        partition = str(int(digest[:8], 16) >> (32 - power))
        return ObjectLocation(
            f"{self.home}/d/{disk}",
            policy,
            partition,
            digest,
            f"/a/c/{name}",
            policy == 1,
            3 if policy else None,
        )

    def fill(self, disk):
        for policy, name in itertools.product((0, 1), NAMES):
            where = self.where(disk, policy, name, POWER)
            fragment = None
            metadata = {"X-Timestamp": T1, "ETag": "x", "Content-Length": "4", "Content-Type": "text/plain"}
            if policy:
                fragment = 1
                metadata["X-Object-Sysmeta-Ec-Frag-Index"] = "1"
            write_file(where, self.options, metadata, ".data", b"body", fragment=fragment)
            if policy and name != NAMES[0]:
                os.rename(f"{where.hash_dir}/{T1}#1.data", f"{where.hash_dir}/{T1}#1#d.data")
            if name in NAMES[1:6]:
                write_file(where, self.options, {"X-Timestamp": T2}, ".meta")
            if name in NAMES[4:9]:
                tombstone(where, self.options, T3)

    def command(self, side, *words):
        if side == "ours":
            return [str(OURS / "swift-object-relinker"), *words]
        own = self.home / "own-etc"
        own.mkdir(exist_ok=True)
        return ["unshare", "-m", "sh", "-c", IN_OWN_ETC, "sh", str(own), str(self.etc / "swift.conf"),
                f"{REFERENCE}/swift-object-relinker", *words]  # fmt: skip

    def run(self, side, step, *words):
        done = subprocess.run(
            self.command(side, step, str(self.etc / "relinker.conf"), *words),
            capture_output=True, text=True, timeout=120, cwd="/",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def tree(self):
        """{path of a file of an object: number of links}; and the partitions that are there."""
        top = self.home / "d"
        files = {}
        partitions = set()
        for path in top.glob("*/objects*/*/*/*/*"):
            files[str(path.relative_to(top))] = path.stat().st_nlink
        for path in top.glob("*/objects*/*"):
            partitions.add(str(path.relative_to(top)))
        return files, partitions

    def states(self):
        return {
            path.parent.name + path.name: json.loads(path.read_text())
            for path in sorted((self.home / "d").glob("*/relink.*.json"))
        }


@pytest.fixture
def node(tmp_path):
    set_hash_config(b"changeme", b"changeme")
    return Node(tmp_path)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """What the reference leaves: after relink, after cleanup, and after cleanup of an increase given up."""
    found = {}
    for way in "increase", "cancel":
        set_hash_config(b"changeme", b"changeme")
        node = Node(tmp_path_factory.mktemp(way))
        node.turn("prepare")
        node.run("theirs", "relink")
        found["relink"] = node.tree()
        node.turn(way)
        node.run("theirs", "cleanup")
        found[way] = node.tree()
        shutil.rmtree(node.home)
    return found


def check_readable(node, power):
    for disk, name in itertools.product(("sda", "sdb"), NAMES):
        if name in NAMES[4:9]:
            continue
        found = open_object(node.where(disk, 0, name, power), want=EXTENT)
        assert found.size == 4
        found.close()


@pytest.mark.parametrize("way", ["increase", "cancel"])
@pytest.mark.parametrize("hands", list(itertools.product(SIDES, SIDES)))
def test_each_step_by_either(node, wanted, way, hands):
    node.turn("prepare")
    node.run(hands[0], "relink")
    assert node.tree() == wanted["relink"]
    check_readable(node, POWER)
    check_readable(node, POWER + 1)
    node.turn(way)
    node.run(hands[1], "cleanup")
    assert node.tree() == wanted[way]
    check_readable(node, POWER + (way == "increase"))
    assert all(all(state["state"].values()) for state in node.states().values())


@pytest.mark.parametrize("step", ["relink", "cleanup"])
@pytest.mark.parametrize("hands", [("ours", "theirs"), ("theirs", "ours")])
def test_begun_by_one_and_finished_by_the_other(node, wanted, step, hands):
    node.turn("prepare")
    if step == "cleanup":
        node.run(hands[1], "relink")
        node.turn("increase")
    for part in range(0, 16, 2):
        node.run(hands[0], step, "-p", str(part))
    halfway = {name: sum(state["state"].values()) for name, state in node.states().items()}
    assert min(halfway.values()) > 0
    node.run(hands[1], step)
    assert node.tree() == wanted["relink" if step == "relink" else "increase"]
    assert all(all(state["state"].values()) for state in node.states().values())


@pytest.mark.parametrize("step", ["relink", "cleanup"])
@pytest.mark.parametrize("hands", [("ours", "theirs"), ("theirs", "ours")])
def test_killed_and_finished_by_the_other(node, wanted, step, hands):
    node.turn("prepare")
    if step == "cleanup":
        node.run("theirs", "relink")
        node.turn("increase")
    words = ["--files-per-second", "8", "--workers", "0"]
    process = subprocess.Popen(
        node.command(hands[0], step, str(node.etc / "relinker.conf"), *words),
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    before = node.tree()
    end = time.monotonic() + 120
    while node.tree() == before and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    node.run(hands[1], step)
    assert node.tree() == wanted["relink" if step == "relink" else "increase"]
