"""A container of many rows that is sharded, by us and by the reference: how long, with how much memory, and what writes wait meanwhile.

    python bench/cleaving.py OURS_BIN [REFERENCE_BIN] [--rows 1000000] [--shards 10] [--writes] [--root FOLDER] [--port 38100]

The container is made once, in one file, and copied to its three nodes. Sharders run with `once`, node after node, until the container is
sharded on all of them; with --writes they run for ever, all at once, and somebody writes before, meanwhile and after. Root only, see reference_etc.py. Figures of two runs on a machine that does other work say little: ratios count.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import pathlib
import resource
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import threading
import time

import cluster as bench_cluster
from reference_etc import write_starters
from sharding import name_of

from swift.container.broker import ContainerBroker
from swift.core.hashing import hash_path, set_hash_config, storage_directory
from swift.core.timestamp import Timestamp
from swift.ring.lookup import Ring

ACCOUNT, CONTAINER = "AUTH_test", "big"
BODY = os.urandom(4096)
CLIENT = (
    "[DEFAULT]\nuser = root\nswift_dir = {etc}\nlog_level = WARNING\n\n"
    "[pipeline:main]\npipeline = catch_errors proxy-server\n\n"
    "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n\n"
    "[filter:catch_errors]\nuse = egg:swift#catch_errors\n"
)
MOST_TURNS = 60
LONGEST = 900  # seconds until a container is sharded by those that run for ever
QUIET = 20  # seconds of writes before sharders run, and after


def make_database(path: pathlib.Path, rows: int) -> None:
    """A container's file with that many names, as if they had been put in no order at all."""
    broker = ContainerBroker(str(path), account=ACCOUNT, container=CONTAINER)
    broker.create(Timestamp(1700000000).internal, 0)
    broker.update_metadata({"X-Container-Sysmeta-Sharding": ("True", Timestamp(1700000000).internal)})
    stride = next(n for n in (7919, 7907, 7901) if rows % n)
    conn = sqlite3.connect(path)
    triggers = conn.execute(
        "SELECT name, sql FROM sqlite_master WHERE type='trigger' AND tbl_name='object'"
    ).fetchall()
    index = conn.execute(
        "SELECT name, sql FROM sqlite_master WHERE type='index' AND tbl_name='object'"
    ).fetchall()
    for kind, entries in (("TRIGGER", triggers), ("INDEX", index)):
        for name, _ in entries:
            conn.execute(f"DROP {kind} {name}")
    digits = len(str(rows))
    conn.execute(
        "INSERT INTO object (name, created_at, size, content_type, etag, deleted, storage_policy_index)"
        " WITH RECURSIVE c (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i + 1 < ?)"
        f" SELECT printf('%0{digits}d/%0{digits}d', n / 30, n), '1700000000.00000', 1, 'text/plain', ?, 0, 0"
        " FROM (SELECT i * ? % ? AS n FROM c)",
        (rows, "0" * 32, stride, rows),
    )
    for _, sql in (*index, *triggers):
        conn.execute(sql)
    conn.execute("INSERT OR REPLACE INTO policy_stat VALUES (0, ?, ?)", (rows, rows))
    conn.commit()
    conn.close()


class Side:
    """One implementation's cluster, and its sharders."""

    def __init__(
        self, name: str, folder: pathlib.Path, root: pathlib.Path, base: int, conf: str, writes: bool
    ) -> None:
        self.name = name
        self.cluster = bench_cluster.Cluster(name, folder, root, base + 49, base, f"127.0.0.1:{base + 47}")
        self.cluster.write()
        self.etc = self.cluster.etc
        self.bin = folder
        if name == "reference":
            commands = [f"swift-{kind}-server" for kind in ("account", "container", "object", "proxy")]
            self.bin = write_starters(root, self.etc, folder, [*commands, "swift-container-sharder"])
        text = f"use chroot = no\nuid = root\ngid = root\nport = {base + 48}\naddress = 127.0.0.1\nreverse lookup = no\n"
        for node in bench_cluster.NODES:
            text += f"[node127.0.0.{node}]\npath = {root}/{node}\nread only = no\n"
        (root / "rsyncd.conf").write_text(text)
        self.rsync = subprocess.Popen(["rsync", "--daemon", "--no-detach", f"--config={root}/rsyncd.conf"])
        self.memcached = subprocess.Popen(
            ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(base + 47)]
        )
        (self.etc / "internal-client.conf").write_text(CLIENT.format(etc=self.etc))
        for node in bench_cluster.NODES:
            with open(self.etc / f"container-{node}.conf", "a") as file:
                file.write(
                    f"\n[container-sharder]\ninternal_client_conf_path = {self.etc}/internal-client.conf\nlog_level = INFO\n"
                    f"auto_shard = true\ndatabases_per_second = 1000000\n{conf}"
                    f"rsync_module = rsync://127.0.0.1:{base + 48}/node{{replication_ip}}\n"
                )
        self.cluster.bin = self.bin
        if writes:
            self.cluster.start()
        else:
            for node in bench_cluster.NODES:
                self.cluster.start_one(f"container-{node}", "container", self.bin)
            for node in bench_cluster.NODES:
                self.cluster.wait(base + 10 * node + bench_cluster.PORT_OF["container"], f"127.0.0.{node}")
        self.peak = 0.0  # MiB of the largest sharder
        self.seconds = 0.0
        self.processor = 0.0
        self.started_at = 0.0

    def files(self) -> list[pathlib.Path]:
        """Those of the container's replicas."""
        digest = hash_path(ACCOUNT, CONTAINER)
        part, nodes = Ring(str(self.etc), "container").get_nodes(ACCOUNT, CONTAINER)
        folders = []
        for node in nodes:
            root = self.cluster.root / node["device"][3:] / node["device"] / "containers"
            folders.append(pathlib.Path(storage_directory(str(root), str(part), digest)))
        return [folder / f"{digest}.db" for folder in folders]

    def place(self, made: pathlib.Path) -> None:
        """Copy the container to its nodes, each copy a database of its own."""
        for at, path in enumerate(self.files()):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made, path)
            conn = sqlite3.connect(path)
            conn.execute("UPDATE container_info SET id = ?", (f"00000000-0000-0000-0000-00000000000{at}",))
            conn.commit()
            conn.close()

    @property
    def is_sharded(self) -> bool:
        """All replicas are."""
        return all(len(list(path.parent.glob("*.db"))) == 1 and not path.exists() for path in self.files())

    def shard(self, node: int) -> None:
        """One `once` of a node's sharder."""
        command = [
            str(self.bin / "swift-container-sharder"),
            str(self.etc / f"container-{node}.conf"),
            "once",
            "-v",
        ]
        environ = {**bench_cluster._clean_environ(), "PATH": f"{self.bin}:{os.environ['PATH']}"}
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        with open(self.cluster.root / "log" / f"sharder-{node}.log", "ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environ, start_new_session=True)
            while process.poll() is None:
                self.peak = max(self.peak, _proportional(process.pid))
                time.sleep(0.02)
        self.seconds += time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.processor += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        assert process.returncode == 0, (self.name, node, process.returncode)

    def watch(self) -> tuple[float, float]:
        """Sharders that run for ever, from their start until the container is sharded: when that was."""
        command = [str(self.bin / "swift-container-sharder")]
        environ = {**bench_cluster._clean_environ(), "PATH": f"{self.bin}:{os.environ['PATH']}"}
        began, running = time.perf_counter(), []
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            for node in bench_cluster.NODES:
                with open(self.cluster.root / "log" / f"sharder-{node}.log", "ab") as log:
                    arguments = [*command, str(self.etc / f"container-{node}.conf"), "-v"]
                    running.append(
                        subprocess.Popen(
                            arguments, stdout=log, stderr=log, env=environ, start_new_session=True
                        )
                    )
            while not self.is_sharded:
                if time.perf_counter() - began > LONGEST:
                    raise SystemExit(f"{self.name}: not sharded after {LONGEST} s")
                if any(process.poll() is not None for process in running):
                    raise SystemExit(f"{self.name}: a sharder ended")
                time.sleep(0.5)
        finally:
            ended = time.perf_counter()
            for process in running:
                self.peak = max(self.peak, _proportional(process.pid))
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
            for process in running:
                process.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.processor += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.seconds += ended - began
        return began, ended

    def servers_processor(self) -> float:
        """Seconds of the container servers' processors so far."""
        ticks = 0
        for pid in self.cluster.family("container"):
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def counted(self) -> int:
        """Live rows of all shards, as one replica of each has them."""
        total: dict[str, int] = {}
        for path in self.cluster.root.glob("[1-4]/sdb*/containers/*/*/*/*.db"):
            conn = sqlite3.connect(path)
            account, container = conn.execute("SELECT account, container FROM container_info").fetchone()
            if account.startswith(".shards_"):
                count = conn.execute("SELECT count(*) FROM object WHERE deleted = 0").fetchone()[0]
                total[container] = max(total.get(container, 0), count)
            conn.close()
        return sum(total.values())

    def stop(self) -> None:
        self.cluster.stop()
        for process in (self.rsync, self.memcached):
            process.kill()
            process.wait()


def _proportional(group: int) -> float:
    """MiB of a process group, pages that are shared counted in part."""
    total = 0.0
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if int((entry / "stat").read_text().rpartition(")")[2].split()[2]) != group:
                continue
            text = (entry / "smaps_rollup").read_text()
            total += int(text.split("Pss:")[1].split()[0]) / 1024
        except (OSError, IndexError):
            continue
    return total


class Writer:
    """Somebody who puts objects into the container all the time; `times`: (when, seconds)."""

    def __init__(self, side: Side, rows: int) -> None:
        self.side = side
        self.rows = rows
        self.times: list[tuple[float, float]] = []
        self.written: list[str] = []
        self.is_over = False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        token = self.side.cluster.token()
        self.side.cluster.request("PUT", "/other", token)  # so that there is an account
        connection = http.client.HTTPConnection("127.0.0.1", self.side.cluster.port, timeout=60)
        number = 0
        while not self.is_over:
            name = f"{name_of(number * 7919 % self.rows, self.rows)}-{number}"
            started = time.perf_counter()
            connection.request("PUT", f"/v1/{ACCOUNT}/{CONTAINER}/{name}", BODY, {"X-Auth-Token": token})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 201, answer.status
            self.times.append((started, time.perf_counter() - started))
            self.written.append(name)
            number += 1

    def told(self, busy: list[tuple[float, float]]) -> str:
        """What writes took while sharders ran and while they did not."""
        during = [took for at, took in self.times if any(a <= at < b for a, b in busy)]
        other = [took for at, took in self.times if not any(a <= at < b for a, b in busy)]
        if len(during) < 100 or len(other) < 100:
            return f"too few writes to tell: {len(during)}, {len(other)}"
        high, low = (statistics.quantiles(some, n=100)[98] * 1000 for some in (during, other))
        return f"p99 of writes {high:.1f} ms while sharders run, {low:.1f} ms else: {high / low:.2f} x (at most 2)"


def run(side: Side, rows: int, made: pathlib.Path, writes: bool) -> list[str]:
    """The lines of the report."""
    side.place(made)
    writer = Writer(side, rows) if writes else None
    busy = []
    servers = side.servers_processor()
    try:
        if writer is not None:
            time.sleep(QUIET)
            busy.append(side.watch())
            time.sleep(QUIET)
        for _ in range(MOST_TURNS):
            if side.is_sharded:
                break
            for node in bench_cluster.NODES:
                side.shard(node)
        else:
            raise SystemExit(f"{side.name}: not sharded after {MOST_TURNS} turns")
    finally:
        if writer is not None:
            writer.is_over = True
            writer.thread.join()
    servers = side.servers_processor() - servers
    if writer is not None:
        for node in bench_cluster.NODES:
            side.shard(node)
    count, least = side.counted(), rows + len(writer.written if writer is not None else [])
    assert writer is not None or count == least, (side.name, count, least)
    lines = [
        f"{side.name}: {rows} rows cleaved in {side.seconds:.1f} s, {side.processor:.1f} s of the sharders' processors,"
        f" {servers:.1f} s of the servers', {side.peak:.0f} MiB at most in a sharder"
    ]
    if writer is not None:
        lines.append(f"{side.name}: {writer.told(busy)}; {count} rows in the end, {least} written")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ours", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("reference", type=lambda text: pathlib.Path(text).resolve(), nargs="?")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument(
        "--batch", type=int, help="shards in a visit (cleave_batch_size); all of them, if not given"
    )
    parser.add_argument("--writes", action="store_true", help="put objects all the time")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("/dev/shm/cleaving"))
    parser.add_argument("--port", type=int, default=21800, help="the first of a hundred")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the clusters end
    set_hash_config(b"changeme", b"changeme")
    per_shard = options.rows // options.shards
    conf = (
        f"shard_container_threshold = {options.rows // 2}\nrows_per_shard = {per_shard}\nminimum_shard_size = 2\n"
        f"shrink_threshold = 1\nexpansion_limit = {per_shard}\nshard_scanner_batch_size = 1000\n"
        f"cleave_batch_size = {options.batch or 1000}\n"
    )
    if options.writes:
        conf += "interval = 1\nnice_priority = 10\n"  # the priority is what ours have that run for ever
    (options.root / "made").mkdir(parents=True, exist_ok=True)
    made = options.root / "made" / "containers" / "0" / "000" / "made" / "made.db"
    seconds: dict[str, float] = {}
    try:
        make_database(made, options.rows)
        for number, (name, folder) in enumerate((("ours", options.ours), ("reference", options.reference))):
            if folder is None:
                continue
            root = options.root / name
            root.mkdir(parents=True)
            side = Side(name, folder, root, options.port + 50 * number, conf, options.writes)
            try:
                for line in run(side, options.rows, made, options.writes):
                    print(line, flush=True)
                seconds[name] = side.seconds
            finally:
                side.stop()
            shutil.rmtree(root, ignore_errors=True)
        if len(seconds) == 2:
            print(f"ratio: {seconds['reference'] / seconds['ours']:.1f} x (to be: 4)")
    finally:
        shutil.rmtree(options.root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
