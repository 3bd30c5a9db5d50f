#!/usr/bin/env python3
"""Measures this store against the reference implementation, side by side on one machine; prints ratios, writes doc/performance.md.

usage: bench/speed.py [--seconds 8] [--rounds 3] [--only get,put,...] [--no-write]

Needs wrk, curl and memcached on the PATH (Debian: apt install wrk curl memcached). The reference is installed from PyPI into a virtual
environment of its own and run as a black box; both sides run the same files, one process per server, disks on tmpfs.
"""

from __future__ import annotations

import argparse
import datetime
import http.client
import os
import pathlib
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from cluster import Cluster

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent
REFERENCE = "swift==2.38.3"
BIG = 256 * 1024 * 1024
FLOORS = {
    "GET 4 KiB": (10, 12),
    "HEAD": (8, 12),
    "PUT 4 KiB": (8, 10),
    "DELETE": (6, 8),
    "listing of 1,000": (8, 10),
    "GET 256 MiB": (2, 3),
    "PUT 256 MiB": (2, 3),
}


def main() -> int:
    args = _arguments()
    for tool in ("wrk", "curl", "memcached"):
        if not shutil.which(tool):
            raise SystemExit(f"bench: {tool} is missing (Debian: apt install wrk curl memcached)")
    home = pathlib.Path(args.home)
    ours, reference = _install(home, "ours", str(PROJECT)), _install(home, "reference", REFERENCE)
    disks = pathlib.Path(args.disks) if args.disks else _memory_disk()
    # one each: in a shared one, each side would read what the other knows of its accounts
    memcached = [
        subprocess.Popen(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", port, "-m", "64"])
        for port in ("11311", "11312")
    ]
    sides = [
        Cluster("reference", reference, disks / "bench-reference", 18081, 17200),
        Cluster("ours", ours, disks / "bench-ours", 18080, 16200, "127.0.0.1:11312"),
    ]
    try:
        _touch(disks)
        for side in sides:
            side.write()
            side.start()
        bench = Bench(sides, args.seconds, args.rounds)
        bench.run(args.only.split(",") if args.only else [])
    finally:
        for side in sides:
            side.stop()
            if not args.keep:
                shutil.rmtree(side.root, ignore_errors=True)
        for process in memcached:
            process.kill()
    report = bench.report(disks)
    print(report)
    if not args.no_write and not args.only:
        (PROJECT / "doc" / "performance.md").write_text(report)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=8, help="length of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="get,head,put,delete,list,big,idle,million")
    parser.add_argument(
        "--home",
        default=os.environ.get("BENCH_HOME", str(PROJECT / ".saio" / "bench")),
        help="for the virtual environments",
    )
    parser.add_argument(
        "--disks", default="", help="folder for the disks (a tmpfs that holds user xattrs, else on disk)"
    )
    parser.add_argument("--no-write", action="store_true", help="do not write doc/performance.md")
    parser.add_argument("--keep", action="store_true", help="keep logs and disks")
    return parser.parse_args()


def _install(home: pathlib.Path, name: str, what: str) -> pathlib.Path:
    """A virtual environment with one side in it; returns its bin folder."""
    given = os.environ.get(f"{name.upper()}_BIN")
    if given:
        return pathlib.Path(given)
    venv = home / name
    if not (venv / "bin" / "pip").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    words = [
        str(venv / "bin" / "pip"),
        "install",
        "-q",
        "--disable-pip-version-check",
        *(["-e"] if name == "ours" else []),
        what,
    ]
    subprocess.run(words, check=True)
    return venv / "bin"


def _memory_disk() -> pathlib.Path:
    """tmpfs where it holds user xattrs, else a folder on disk (and the report says so)."""
    for folder in ("/dev/shm", tempfile.gettempdir()):
        try:
            with tempfile.NamedTemporaryFile(dir=folder) as probe:
                os.setxattr(probe.name, "user.probe", b"x" * 1000)
            return pathlib.Path(folder)
        except OSError:
            continue
    raise SystemExit("bench: no file system with user xattrs found; say --disks FOLDER")


def _touch(disks: pathlib.Path) -> None:
    """Fills and frees some gigabytes: on a virtual machine the first use of memory costs more than what is measured here."""
    path = disks / "bench-touch"
    block = bytes(1 << 20)
    try:
        with open(path, "wb") as file:
            for _ in range(min(6 << 30, shutil.disk_usage(disks).free // 4) >> 20):
                file.write(block)
    finally:
        path.unlink(missing_ok=True)


class Bench:
    """Runs the loads on both sides in alternation and keeps the figures: {load: {side: [figure per round]}}."""

    def __init__(self, sides: list[Cluster], seconds: int, rounds: int) -> None:
        self.sides = sides
        self.seconds = seconds
        self.rounds = rounds
        self.rates: dict[str, dict[str, list[float]]] = {}
        self.p99: dict[str, dict[str, list[float]]] = {}
        self.tokens = {side.name: side.token() for side in sides}
        self.memory = {}
        self.facts: list[str] = []

    def run(self, only: list[str]) -> None:
        self.memory = {side.name: side.memory() for side in self.sides}
        for side in self.sides:
            self.prepare(side)
        wanted = lambda name: not only or name in only  # noqa: E731
        for number in range(-1, self.rounds):
            seconds = 2 if number < 0 else self.seconds
            for side in self.sides:
                prefix = f"p{number + 1}"
                if wanted("get"):
                    self.wrk("GET 4 KiB", side, number, "get", "small", "g", seconds)
                if wanted("head"):
                    self.wrk("HEAD", side, number, "head", "small", "empty", seconds)
                if wanted("put") or wanted("delete"):
                    self.wrk("PUT 4 KiB", side, number, "put", "written", prefix, seconds)
                if wanted("delete"):
                    self.wrk("DELETE", side, number, "delete", "written", prefix, max(1, seconds // 2))
                if wanted("list"):
                    self.wrk("listing of 1,000", side, number, "list", "many", "o", seconds, count=1000)
                if wanted("big"):
                    self.big(side, number)
        if wanted("idle"):
            self.idle_clients()
        if wanted("million"):
            self.million()

    def prepare(self, side: Cluster) -> None:
        token = self.tokens[side.name]
        for container in ("small", "written", "many", "large"):
            assert side.request("PUT", f"/{container}", token) in (201, 202), f"{side.name}: no container"
        for n in range(100):
            assert side.request("PUT", f"/small/g-{n}", token, os.urandom(4096)) == 201
            # wrk waits for the bytes that a Content-Length announces, also after a HEAD: so it asks for empty objects
            assert side.request("PUT", f"/small/empty-{n}", token, b"") == 201
        for n in range(2000):
            assert side.request("PUT", f"/many/o-{n:06}", token, b"x") == 201

    def wrk(
        self,
        load: str,
        side: Cluster,
        number: int,
        kind: str,
        container: str,
        prefix: str,
        seconds: int,
        count: int = 100,
    ) -> None:
        env = {
            **os.environ,
            "KIND": kind,
            "BASE": f"/v1/AUTH_test/{container}",
            "PREFIX": prefix,
            "TOKEN": self.tokens[side.name],
            "COUNT": str(count),
        }
        words = [
            "wrk",
            "-t1",
            "-c16",
            f"-d{seconds}s",
            "--timeout",
            "30s",
            "--latency",
            "-s",
            str(HERE / "wrk" / "requests.lua"),
            side.endpoint,
        ]
        out = subprocess.run(words, env=env, capture_output=True, text=True).stdout
        if number < 0:
            return
        if "Latency" not in out or "nan" in out:
            raise SystemExit(
                f"bench: {side.name} answered nothing during {load}; see {side.root}/log (--keep)\n{out}"
            )
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
        p99 = _milliseconds(re.search(r"99%\s+(\S+)", out).group(1))
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
        note = f"  ({bad.group(1)} answers were not 2xx)" if bad else ""
        print(
            f"round {number + 1} {load:18} {side.name:10} {rate:10.0f} /s   p99 {p99:8.2f} ms{note}",
            flush=True,
        )
        self.rates.setdefault(load, {}).setdefault(side.name, []).append(rate)
        self.p99.setdefault(load, {}).setdefault(side.name, []).append(p99)

    def big(self, side: Cluster, number: int) -> None:
        if number < 0:
            return
        path = f"{side.endpoint}/v1/AUTH_test/large/{number}"
        header = f"X-Auth-Token: {self.tokens[side.name]}"
        with tempfile.NamedTemporaryFile(dir=side.root) as file:
            for _ in range(BIG >> 20):
                file.write(os.urandom(1 << 20))
            file.flush()
            for load, words, figure in (
                ("PUT 256 MiB", ["-T", file.name, "-H", "Expect:"], "%{http_code} %{speed_upload}"),
                ("GET 256 MiB", [], "%{http_code} %{speed_download}"),
            ):
                best = []
                for _ in range(3):
                    out = subprocess.run(
                        ["curl", "-s", "-o", "/dev/null", "-w", figure, "-H", header, *words, path],
                        capture_output=True,
                        text=True,
                    )
                    code, speed = out.stdout.split()
                    assert code in ("200", "201"), f"{side.name} {load}: {code}"
                    best.append(float(speed) / 1e6)
                rate = statistics.median(best)
                print(f"round {number + 1} {load:18} {side.name:10} {rate:10.0f} MB/s", flush=True)
                self.rates.setdefault(load, {}).setdefault(side.name, []).append(rate)
        assert side.request("DELETE", f"/large/{number}", self.tokens[side.name]) == 204

    def idle_clients(self) -> None:
        """Resident memory of a proxy that holds 1,000 idle keep-alive clients."""
        for side in self.sides:
            clients = []
            for _ in range(1000):
                sock = socket.create_connection(("127.0.0.1", side.port))
                sock.sendall(b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n")
                sock.recv(4096)
                clients.append(sock)
            time.sleep(1)
            self.facts.append(
                f"proxy with 1,000 idle keep-alive clients, {side.name}: {side.memory()['proxy']:.0f} MB resident"
            )
            for sock in clients:
                sock.close()

    def million(self) -> None:
        """A page in the middle of a container of 1,000,000 names against one of 1,000 (ours)."""
        side = self.sides[-1]
        token = self.tokens[side.name]
        for container, count in (("thousand", 1000), ("million", 1000000)):
            side.request("PUT", f"/{container}", token)
            _fill(side, container, count)
        for container, count in (("thousand", 1000), ("million", 1000000)):
            times = []
            connection = http.client.HTTPConnection("127.0.0.1", side.port, timeout=60)
            for n in range(40):
                marker = f"n-{(n * 7919 * 25) % count:07}" if container == "million" else ""
                limit = (
                    1000 + n
                )  # another page each time, for the small container too: none comes from a cache
                start = time.perf_counter()
                connection.request(
                    "GET",
                    f"/v1/AUTH_test/{container}?format=json&limit={limit}&marker={marker}",
                    headers={"X-Auth-Token": token},
                )
                answer = connection.getresponse()
                answer.read()
                times.append((time.perf_counter() - start) * 1000)
                assert answer.status == 200
            self.facts.append(
                f"page of 1,000 names out of {count:,}: median {statistics.median(times):.2f} ms, slowest {max(times):.2f} ms (ours)"
            )

    def report(self, disks: pathlib.Path) -> str:
        lines = [
            "# Performance",
            "",
            "Measured against the reference implementation in the same run; only the ratios mean anything beyond this machine.",
            "",
            f"`bench/speed.py --seconds {self.seconds} --rounds {self.rounds}` on {datetime.date.today()}, {os.cpu_count()} cores, Python {platform.python_version()},"
            f" Linux {platform.release().split('-')[0]}, reference {REFERENCE.split('==')[1]}; four nodes, 3 replicas, one process a server, pipeline"
            f" `catch_errors gatekeeper healthcheck proxy-logging cache listing_formats tempauth proxy-logging proxy-server`; wrk with 1 thread and 16 connections;"
            f" disks on {'tmpfs' if str(disks).startswith('/dev/shm') else 'disk (no tmpfs here holds user xattrs)'}; medians of the rounds, the two sides in alternation.",
            "",
            "| load | reference | ours | ratio | floor (aim) | p99 reference | p99 ours | p99 ratio |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for load, sides in self.rates.items():
            unit = "MB/s" if "MiB" in load else "/s"
            theirs, mine = (statistics.median(sides[side.name]) for side in self.sides)
            floor, aim = FLOORS[load]
            row = f"| {load} | {theirs:.0f} {unit} | {mine:.0f} {unit} | **{mine / theirs:.1f}** | {floor} ({aim}) |"
            if load in self.p99:
                slow, fast = (statistics.median(self.p99[load][side.name]) for side in self.sides)
                row += f" {slow:.1f} ms | {fast:.1f} ms | {slow / fast:.1f} |"
            else:
                row += " | | |"
            lines.append(row)
        lines += [
            "",
            "| resident memory of an idle server process | reference | ours |",
            "| --- | --- | --- |",
        ]
        theirs, mine = (self.memory[side.name] for side in self.sides)
        lines += [f"| {kind} | {theirs[kind]:.0f} MB | {mine[kind]:.0f} MB |" for kind in theirs]
        lines += ["", *[f"- {fact}" for fact in self.facts]]
        lines += ["", "Rings are measured by `bench/ring.py`: figures in [ring.md](ring.md).", ""]
        return "\n".join(lines)


def _fill(side: Cluster, container: str, count: int) -> None:
    """Puts names straight into the container databases (an upload of a million objects would measure something else)."""
    import sqlite3

    for path in side.root.glob("[1-4]/*/containers/*/*/*/*.db"):
        with sqlite3.connect(path) as db:
            if db.execute("SELECT container FROM container_stat").fetchone() != (container,):
                continue
            db.create_function("chexor", 3, lambda old, name, timestamp: old)
            db.executemany(
                "INSERT INTO object (name, created_at, size, content_type, etag, deleted, storage_policy_index) VALUES (?, ?, 1, 'text/plain', ?, 0, 0)",
                ((f"n-{n:07}", "1700000000.00000", "0" * 32) for n in range(count)),
            )
        db.close()


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]


if __name__ == "__main__":
    sys.exit(main())
