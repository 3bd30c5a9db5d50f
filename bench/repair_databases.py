"""A pass of the container-replicator, ours and the reference's: over what is in sync, and after a disk was lost.

    python bench/repair_databases.py OURS_BIN REFERENCE_BIN [-n CONTAINERS] [--root FOLDER]

Each side gets a cluster of four nodes with container servers only, and its own rsync daemon (the reference needs one). Times are those that
replicators log: without their start. Root only, see reference_etc.py.
"""

from __future__ import annotations

import argparse
import http.client
import os
import pathlib
import re
import shutil
import subprocess
import sys
from urllib.parse import quote

import cluster as bench_cluster
from reference_etc import write_starters

from swift.core.hashing import hash_path, set_hash_config, storage_directory
from swift.ring.lookup import Ring

PORT = 40500
LOST = 2


class Side:
    """One implementation's cluster."""

    def __init__(self, name: str, folder: pathlib.Path, root: pathlib.Path, base: int) -> None:
        self.cluster = bench_cluster.Cluster(name, folder, root, base + 99, base)
        self.cluster.write()
        if name == "reference":
            commands = [f"swift-container-{kind}" for kind in ("server", "replicator")]
            self.bin = write_starters(root, self.cluster.etc, folder, commands)
        else:
            self.bin = folder
        self.rsync = self._start_rsyncd(root, base + 98)
        for node in bench_cluster.NODES:
            with open(self.cluster.etc / f"container-{node}.conf", "a") as file:
                file.write(
                    "\n[container-replicator]\ndatabases_per_second = 1000000\nlog_level = INFO\n"
                    f"rsync_module = rsync://127.0.0.1:{base + 98}/node{{replication_ip}}\n"
                )
            self.cluster.start_one(f"container-{node}", "container", self.bin)
        for node in bench_cluster.NODES:
            self.cluster.wait(base + 10 * node + bench_cluster.PORT_OF["container"], f"127.0.0.{node}")
        set_hash_config(b"changeme", b"changeme")
        self.ring = Ring(str(self.cluster.etc), "container")

    def _start_rsyncd(self, root: pathlib.Path, port: int) -> subprocess.Popen[bytes]:
        text = f"use chroot = no\nuid = root\ngid = root\nport = {port}\naddress = 127.0.0.1\nreverse lookup = no\n"
        for node in bench_cluster.NODES:
            text += f"[node127.0.0.{node}]\npath = {root}/{node}\nread only = no\n"
        (root / "rsyncd.conf").write_text(text)
        return subprocess.Popen(["rsync", "--daemon", "--no-detach", f"--config={root}/rsyncd.conf"])

    def stop(self) -> None:
        self.cluster.stop()
        self.rsync.kill()
        self.rsync.wait()

    def fill(self, count: int) -> None:
        """Containers with a row each, one replica made by requests and copied: all are in sync."""
        connections: dict[str, http.client.HTTPConnection] = {}
        for number in range(count):
            name = f"c{number}"
            part, nodes = self.ring.get_nodes("AUTH_bench", name)
            for node in nodes:
                key = f"{node['ip']}:{node['port']}"
                connection = connections.setdefault(key, http.client.HTTPConnection(key, timeout=30))
                path = f"/{node['device']}/{part}/AUTH_bench/{quote(name)}"
                row = {
                    "X-Size": "1",
                    "X-Content-Type": "t",
                    "X-Etag": "e",
                    "X-Backend-Storage-Policy-Index": "0",
                }
                for target in (path, path + "/o"):
                    connection.request("PUT", target, headers={"X-Timestamp": "1795000000.00000", **row})
                    answer = connection.getresponse()
                    answer.read()
                    assert answer.status in (201, 202), answer.status

    def replicate(self, node: int) -> tuple[float, int, str]:
        """(seconds, databases, the line of counts) of one pass."""
        done = subprocess.run(
            [
                self.bin / "swift-container-replicator",
                self.cluster.etc / f"container-{node}.conf",
                "once",
                "-v",
            ],
            capture_output=True,
            text=True,
            check=True,
            env={**bench_cluster._clean_environ(), "PATH": f"{self.bin}:{os.environ['PATH']}"},
        )
        told = re.search(r"Attempted to replicate (\d+) dbs in ([0-9.]+) seconds", done.stderr)
        counts = re.search(r"diff:.*", done.stderr)
        assert told and counts, done.stderr
        return float(told[2]), int(told[1]), counts[0]

    def lose_disk(self) -> int:
        """How many databases were on it."""
        folder = self.cluster.root / str(LOST) / f"sdb{LOST}" / "containers"
        count = len(list(folder.glob("*/*/*/*.db")))
        shutil.rmtree(folder)
        return count

    def missing(self, count: int) -> int:
        """Databases that should be on the lost disk and are not."""
        missing = 0
        for number in range(count):
            part, nodes = self.ring.get_nodes("AUTH_bench", f"c{number}")
            for node in nodes:
                name_hash = hash_path("AUTH_bench", f"c{number}")
                root = self.cluster.root / node["device"][3:] / node["device"] / "containers"
                missing += not pathlib.Path(
                    storage_directory(str(root), str(part), name_hash), f"{name_hash}.db"
                ).exists()
        return missing


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ours", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("reference", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("-n", type=int, default=2000)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("/dev/shm/repair-databases"))
    options = parser.parse_args()
    sides = {}
    idle: dict[str, list[float]] = {}
    repair: dict[str, float] = {}
    try:
        for number, (name, folder) in enumerate((("ours", options.ours), ("reference", options.reference))):
            sides[name] = Side(name, folder, options.root / name, PORT + 100 * number)
            sides[name].fill(options.n)
            for node in bench_cluster.NODES:
                sides[name].replicate(node)
        for _ in range(3):  # in alternation: the machine is never quiet
            for name, side in sides.items():
                seconds, count, counts = side.replicate(1)
                idle.setdefault(name, []).append(seconds / count)
                print(f"{name}: in sync, {count} databases in {seconds:.2f} s ({counts})", flush=True)
        for name, side in sides.items():
            lost = side.lose_disk()
            took = 0.0
            for node in bench_cluster.NODES:
                if node != LOST:
                    seconds, _, counts = side.replicate(node)
                    took += seconds
                    print(f"{name}: node {node} in {seconds:.2f} s ({counts})", flush=True)
            repair[name] = took
            print(
                f"{name}: {lost} databases of a lost disk in {took:.2f} s; missing: {side.missing(options.n)}",
                flush=True,
            )
    finally:
        for side in sides.values():
            side.stop()
        shutil.rmtree(options.root, ignore_errors=True)
    print(f"in sync: {min(idle['reference']) / min(idle['ours']):.1f} times as fast as the reference")
    print(f"lost disk: {repair['reference'] / repair['ours']:.1f} times as fast")
    return 0


if __name__ == "__main__":
    sys.exit(main())
