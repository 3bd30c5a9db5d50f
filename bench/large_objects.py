#!/usr/bin/env python3
"""Large objects: how soon a static one of 1,000 segments begins, how fast it is read, and how long its manifest takes to store.

    bench/large_objects.py --reference DIR [--ours DIR] [--root DIR] [--rounds N]

Both sides in alternation, with the defaults of all filters; only ratios mean anything. The floors are those
of the issue: begun within three small GETs, read at 90 % of the speed of one object, stored 10 times faster than by the reference.
"""

from __future__ import annotations

import argparse
import http.client
import json
import pathlib
import signal
import statistics
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor

from cluster import Cluster

SEGMENTS = 1000
MEBIBYTE = 1024 * 1024
DISTINCT = 16  # objects that a large one is made of, again and again
# MiB of a segment → how many there are: the smallest that are not slowed down, and the smallest parts that S3 clients send
READ = {1: SEGMENTS, 5: 200}
WHOLE = 256 * MEBIBYTE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", required=True, type=pathlib.Path, help="folder of its commands")
    parser.add_argument("--ours", type=pathlib.Path, default=pathlib.Path(sysconfig.get_path("scripts")))
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("/dev/shm/large-objects"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=11600)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server stays behind
    sides = [
        Side(Cluster(name, folder, options.root / name, port, port, f"127.0.0.1:{port + 90}"))
        for name, folder, port in (
            ("reference", options.reference, options.port),
            ("ours", options.ours, options.port + 100),
        )
    ]
    # one each: they have the same accounts
    memcached = [
        subprocess.Popen(
            ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", side.cluster.memcache.rpartition(":")[2]]
        )
        for side in sides
    ]
    try:
        for side in sides:
            side.prepare()
        for _ in range(options.rounds):
            for side in sides:
                side.round()
    finally:
        for side in sides:
            side.cluster.stop()
        for process in memcached:
            process.kill()
            process.wait()
    print("\n".join(report(*sides)))


class Side:
    """One side and what was measured of it: seconds, except `speed` (bytes a second)."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.token = ""
        self.times: dict[str, list[float]] = {}

    def prepare(self) -> None:
        cluster = self.cluster
        cluster.write()
        cluster.start()
        self.token = cluster.token()
        for container in ("/small", "/pieces", "/manifests"):
            self._put(container)
        with ThreadPoolExecutor(8) as pool:
            names = (f"/small/{number:04}" for number in range(SEGMENTS))
            list(pool.map(lambda name: self._put(name, b"4096" * 1024), names))
        for size in READ:
            for number in range(DISTINCT):
                self._put(f"/pieces/{size}-{number:02}", bytes((number,)) * MEBIBYTE * size)
        self._put("/pieces/whole", b"x" * WHOLE)
        for size, count in READ.items():
            pieces = [{"path": f"/pieces/{size}-{number % DISTINCT:02}"} for number in range(count)]
            self._manifest(f"large-{size}", pieces)

    def _put(self, path: str, body: bytes | None = None) -> None:
        """Again and again, as a busy machine may have none of its servers answer in time."""
        for _ in range(10):
            status = self.cluster.request("PUT", path, self.token, body)
            if status in (201, 202):
                return
            time.sleep(0.5)
        raise SystemExit(f"{self.cluster.name}: PUT {path} is {status}")

    def round(self) -> None:
        items = [{"path": f"/small/{number:04}", "size_bytes": 4096} for number in range(SEGMENTS)]
        self._note("put", self._manifest("small", items))
        for _ in range(20):
            self._note("get", self._begun("/small/0007"))
            self._note("start", self._begun("/manifests/small"))
        for _ in range(3):
            self._note("whole", WHOLE / self._read("/pieces/whole", WHOLE))
            for size, count in READ.items():
                length = count * size * MEBIBYTE
                self._note(f"large-{size}", length / self._read(f"/manifests/large-{size}", length))

    def _note(self, what: str, value: float) -> None:
        self.times.setdefault(what, []).append(value)

    def middle(self, what: str) -> float:
        return statistics.median(self.times[what])

    def _manifest(self, name: str, items: list[dict[str, object]]) -> float:
        """Seconds of its PUT."""
        body = json.dumps(items).encode()
        began = time.perf_counter()
        status = self.cluster.request("PUT", f"/manifests/{name}?multipart-manifest=put", self.token, body)
        assert status == 201, status
        return time.perf_counter() - began

    def _open(self, path: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse, float]:
        """(connection, answer, when it was asked for) on a connection that was used before."""
        connection = http.client.HTTPConnection("127.0.0.1", self.cluster.port, timeout=60)
        headers = {"X-Auth-Token": self.token}
        connection.request("HEAD", "/v1/AUTH_test/small/0000", headers=headers)
        connection.getresponse().read()
        began = time.perf_counter()
        connection.request("GET", f"/v1/AUTH_test{path}", headers=headers)
        return connection, connection.getresponse(), began

    def _begun(self, path: str) -> float:
        """Seconds until the first byte of the body."""
        connection, answer, began = self._open(path)
        assert answer.read(1)
        took = time.perf_counter() - began
        connection.close()
        return took

    def _read(self, path: str, length: int) -> float:
        """Seconds for all of it."""
        connection, answer, began = self._open(path)
        buffer = bytearray(MEBIBYTE)
        count = 0
        while got := answer.readinto(buffer):
            count += got
        took = time.perf_counter() - began
        connection.close()
        assert count == length, count
        return took


def report(reference: Side, ours: Side) -> list[str]:
    """A table in Markdown."""
    lines = ["| what | reference | ours | measure | floor |", "| --- | --- | --- | --- | --- |"]

    def row(what: str, theirs: str, mine: str, value: float, unit: str, floor: str, held: bool) -> None:
        shown = f"{value:.2f}{unit}"
        lines.append(f"| {what} | {theirs} | {mine} | {f'**{shown}**' if held else f'_{shown}_'} | {floor} |")

    def milliseconds(side: Side, what: str) -> str:
        return f"{side.middle(what) * 1000:.1f} ms"

    begins = ours.middle("start") / ours.middle("get")
    row(
        f"SLO of {SEGMENTS} segments, until its first byte",
        milliseconds(reference, "start"),
        milliseconds(ours, "start"),
        begins,
        " small GETs of ours",
        "at most 3",
        begins <= 3,
    )
    for size, count in READ.items():
        name = f"large-{size}"
        share = ours.middle(name) / ours.middle("whole")
        row(
            f"SLO of {count} segments of {size} MiB, read",
            f"{reference.middle(name) / 1e6:.0f} MB/s",
            f"{ours.middle(name) / 1e6:.0f} MB/s",
            share,
            " of one object's speed",
            "0.9",
            share >= 0.9,
        )
    faster = reference.middle("put") / ours.middle("put")
    row(
        f"PUT of a manifest of {SEGMENTS} segments",
        milliseconds(reference, "put"),
        milliseconds(ours, "put"),
        faster,
        " times",
        "10",
        faster >= 10,
    )
    lines.append("")
    for side in (reference, ours):
        lines.append(
            f"{side.cluster.name}: a small GET begins after {milliseconds(side, 'get')}, one object of 256 MiB comes at"
            f" {side.middle('whole') / 1e6:.0f} MB/s."
        )
    return lines


if __name__ == "__main__":
    main()
