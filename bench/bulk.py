#!/usr/bin/env python3
"""Many at once: an archive of 10,000 files becomes objects, and 10,000 names are deleted.

    bench/bulk.py --reference DIR [--ours DIR] [--root DIR] [--count N] [--rounds N]

Both sides in alternation, with the defaults of all filters; only ratios mean anything. The floor is that of the issue: 8 times the reference.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import sysconfig
import tarfile
import time

from cluster import Cluster

FLOOR = 8
SIZE = 1024  # bytes of a file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", required=True, type=pathlib.Path, help="folder of its commands")
    parser.add_argument("--ours", type=pathlib.Path, default=pathlib.Path(sysconfig.get_path("scripts")))
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("/dev/shm/bulk"))
    parser.add_argument("--count", type=int, default=10_000, help="of files and names")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=11600)
    options = parser.parse_args()
    sides = []
    caches = []
    for number, (name, folder) in enumerate((("reference", options.reference), ("ours", options.ours))):
        port = options.port + 100 * number
        cache = f"127.0.0.1:{port + 90}"
        caches.append(
            subprocess.Popen(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port + 90)])
        )
        sides.append(Side(Cluster(name, folder, options.root / name, port, port, cache)))
    body = archive(options.count)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all that was started is ended
    names = "".join(f"c/{number:05}\n" for number in range(options.count)).encode()
    try:
        for side in sides:
            side.prepare()
        for _ in range(options.rounds):
            for side in sides:
                side.round(body, names, options.count)
    finally:
        for side in sides:
            side.cluster.stop()
        for process in caches:
            process.kill()
        shutil.rmtree(options.root, ignore_errors=True)
    print("\n".join(report(*sides, options.count)))


def archive(count: int) -> bytes:
    """A tar.gz of files that don't compress."""
    chance = random.Random(1)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as made:
        for number in range(count):
            info = tarfile.TarInfo(f"c/{number:05}")
            info.size = SIZE
            made.addfile(info, io.BytesIO(chance.randbytes(SIZE)))
    return file.getvalue()


class Side:
    """One side and the seconds, and seconds of CPU, that it took."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.token = ""
        self.times: dict[str, list[tuple[float, float]]] = {"extract": [], "delete": []}

    def prepare(self) -> None:
        self.cluster.write()
        self.cluster.start()
        self.token = self.cluster.token()

    def round(self, body: bytes, names: bytes, count: int) -> None:
        told = self._timed("extract", "PUT", "?extract-archive=tar.gz", body)
        assert told["Number Files Created"] == count, told
        told = self._timed("delete", "POST", "?bulk-delete", names)
        assert told["Number Deleted"] == count, told

    def _timed(self, what: str, method: str, query: str, body: bytes) -> dict[str, object]:
        connection = http.client.HTTPConnection("127.0.0.1", self.cluster.port, timeout=900)
        headers = {"X-Auth-Token": self.token, "Accept": "application/json", "Content-Type": "text/plain"}
        used, began = self.cluster.cpu_seconds(), time.perf_counter()
        connection.request(method, f"/v1/AUTH_test{query}", body, headers)
        answer = connection.getresponse().read()
        self.times[what].append((time.perf_counter() - began, self.cluster.cpu_seconds() - used))
        connection.close()
        return json.loads(answer)

    def middle(self, what: str, of: int) -> float:
        return statistics.median(pair[of] for pair in self.times[what])


def report(reference: Side, ours: Side, count: int) -> list[str]:
    """A table in Markdown."""
    lines = [
        f"| {count:,} | reference | ours | ratio | of CPU | floor |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for what in ("extract", "delete"):
        theirs, mine = reference.middle(what, 0), ours.middle(what, 0)
        ratio = theirs / mine
        of_cpu = reference.middle(what, 1) / max(ours.middle(what, 1), 0.01)
        shown = f"**{ratio:.1f}**" if ratio >= FLOOR else f"_{ratio:.1f}_"
        lines.append(
            f"| {what} | {count / theirs:.0f} /s | {count / mine:.0f} /s | {shown} | {of_cpu:.1f} | {FLOOR} |"
        )
    return lines


if __name__ == "__main__":
    main()
