"""Containers in shards, ours and the reference's: listings, writes, redirects; and what shards cost against a plain container.

    python bench/sharding.py OURS_BIN REFERENCE_BIN [--shards 100] [--rows 30000] [--ranges 5000] [--seconds 10] [--root FOLDER]

Both sides get a cluster with the same rows, once in a container of their own and once in shards that are made by requests (nobody's sharder
runs; what those take is cleaving.py's). Requests go in alternation; figures are medians of single requests on one connection, and rates of pages that
16 clients of wrk ask for, so that it is the servers that are measured and not who asks them. Ratios are what counts.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from urllib.parse import quote

from cluster import Cluster
from wrk import Replay, write_replay

from swift.core.hashing import hash_path, set_hash_config, storage_directory
from swift.ring.lookup import Ring

PORT = 21700  # and the next hundred
EPOCH = "1700000700.00000"
OLD = "1700000000.00000"
BODY = os.urandom(4096)
CLIENTS = 16
PAGES = 200  # that are asked for, over and over
FLOORS = {  # of rates
    "page of 1,000 names from shards": 10,
    "with delimiter": 10,
}


class Side:
    """One implementation's cluster with its containers `plain` and `shards`, and `cut`, a root with many ranges."""

    def __init__(self, name: str, folder: pathlib.Path, root: pathlib.Path, base: int, memcache: str) -> None:
        self.name = name
        self.cluster = Cluster(name, folder, root, base + 45, base, memcache)
        self.cluster.write()
        self.cluster.start()
        self.token = self.cluster.token()
        set_hash_config(b"changeme", b"changeme")
        self.ring = Ring(str(self.cluster.etc), "container")
        self.connection = http.client.HTTPConnection("127.0.0.1", self.cluster.port, timeout=120)
        for container in ("plain", "shards", "cut"):
            assert self.cluster.request("PUT", f"/{container}", self.token) in (201, 202)

    # -- making containers

    def to_servers(self, method: str, path: str, body: object = None, **headers: str) -> None:
        """One request to all primaries of `/account/container`."""
        account, container = path[1:].split("/", 1)
        part, nodes = self.ring.get_nodes(account, container)
        given = {"X-Timestamp": OLD, "X-Backend-Storage-Policy-Index": "0", "X-Backend-Auto-Create": "true"}
        given |= {f"X-{name.replace('_', '-')}": value for name, value in headers.items()}
        for node in nodes:
            connection = http.client.HTTPConnection(node["ip"], node["port"], timeout=120)
            target = f"/{node['device']}/{part}{quote(path)}"
            connection.request(method, target, json.dumps(body).encode(), given)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status in (201, 202), (answer.status, text[:500])
            connection.close()

    def fill(self, path: str, names: list[str]) -> None:
        for start in range(0, len(names), 5000):
            rows = [
                {"name": name, "created_at": OLD, "size": 1, "content_type": "text/plain", "etag": "0" * 32, "deleted": 0,
                 "storage_policy_index": 0}
                for name in names[start : start + 5000]
            ]  # fmt: skip
            self.to_servers("UPDATE", path, rows)

    def cut(self, container: str, bounds: list[str], rows: int) -> list[dict[str, object]]:
        """Active shard ranges up to each of the bounds and behind the last one, in the root; its databases get their new name.

        `rows`: that each of them is said to have.
        """
        ranges = [
            _range(f".shards_AUTH_test/{container}-{at}", lower, upper, 40, rows)
            for at, (lower, upper) in enumerate(zip(["", *bounds], [*bounds, ""], strict=True))
        ]
        own = {**_range(f"AUTH_test/{container}", "", "", 70, 0), "epoch": EPOCH}
        self.to_servers("PUT", f"/AUTH_test/{container}", [own, *ranges], Backend_Record_Type="shard")
        part, nodes = self.ring.get_nodes("AUTH_test", container)
        digest = hash_path("AUTH_test", container)
        for node in nodes:
            device = self.cluster.root / node["device"][3:] / node["device"]
            folder = pathlib.Path(storage_directory(str(device / "containers"), str(part), digest))
            (folder / f"{digest}.db").rename(folder / f"{digest}_{EPOCH}.db")
            for pending in folder.glob("*.pending"):
                pending.unlink()
        return ranges

    def make_shards(self, names: list[str], count: int) -> None:
        per_shard = len(names) // count
        bounds = [names[at * per_shard - 1] for at in range(1, count)]
        ranges = self.cut("shards", bounds, per_shard)
        for at, item in enumerate(ranges):
            path = f"/{item['name']}"
            last = None if at == count - 1 else (at + 1) * per_shard
            self.to_servers("PUT", path, [item], Backend_Record_Type="shard",
                            Container_Sysmeta_Shard_Quoted_Root="AUTH_test/shards")  # fmt: skip
            self.fill(path, names[at * per_shard : last])
        self.fill("/AUTH_test/plain", names)

    # -- measuring

    def timed(self, method: str, path: str, body: bytes | None = None) -> float:
        """Seconds of one request; its answer has the entries that are expected."""
        started = time.perf_counter()
        self.connection.request(method, f"/v1/AUTH_test{path}", body, {"X-Auth-Token": self.token})
        answer = self.connection.getresponse()
        text = answer.read()
        took = time.perf_counter() - started
        assert answer.status in (200, 201), (self.name, path, answer.status, text[:300])
        self.entries = len(json.loads(text)) if method == "GET" else 0
        return took

    def rate(self, paths: list[str], seconds: int) -> tuple[float, float]:
        """Answers a second when many clients ask for these, and all servers' milliseconds of processor for one."""
        file = self.cluster.root / "requests"
        head = f"Host: 127.0.0.1:{self.cluster.port}\r\nX-Auth-Token: {self.token}\r\n\r\n"
        write_replay(file, [f"GET /v1/AUTH_test{path} HTTP/1.1\r\n{head}".encode() for path in paths])
        used = self.cluster.cpu_seconds()
        result = Replay(self.cluster.endpoint, file, clients=CLIENTS, seconds=seconds).result()
        used = self.cluster.cpu_seconds() - used
        assert not result.failures, (self.name, result.failures)
        if not result.requests:
            raise SystemExit(f"{self.name}: no answer to {paths[0]} in {seconds} s: more --seconds")
        return result.rate, used / result.requests * 1000

    def redirect_cpu(self, names: list[str]) -> float:
        """Milliseconds of a container server's processor time for one row that it sends to a shard."""
        account, container = "AUTH_test", "cut"
        part, nodes = self.ring.get_nodes(account, container)
        node = nodes[0]
        number = node["device"][3:]
        pid = self.cluster.processes[f"container-{number}"].pid
        connection = http.client.HTTPConnection(node["ip"], node["port"], timeout=60)
        headers = {
            "X-Timestamp": "1700001000.00000", "X-Size": "1", "X-Content-Type": "t", "X-Etag": "e",
            "X-Backend-Accept-Redirect": "true", "X-Backend-Accept-Quoted-Location": "true",
        }  # fmt: skip
        spent = 0.0
        for count, warm in ((20, True), (len(names), False)):
            before = _processor(pid)
            for name in names[:count]:
                connection.request(
                    "PUT", f"/{node['device']}/{part}/{account}/{container}/{name}", b"", headers
                )
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 301, answer.status
            if not warm:
                spent = _processor(pid) - before
        connection.close()
        return spent / len(names) * 1000


NAME = "{0:0{2}d}/{1:0{2}d}"  # thirty in each folder


def name_of(number: int, rows: int) -> str:
    """One of that many names, in order."""
    return NAME.format(number // 30, number, len(str(rows)))


def names_of(rows: int) -> list[str]:
    """That many names in order."""
    return [name_of(number, rows) for number in range(rows)]


def _range(name: str, lower: str, upper: str, state: int, rows: int) -> dict[str, object]:
    return {
        "name": name, "timestamp": OLD, "lower": lower, "upper": upper, "object_count": rows, "bytes_used": rows,
        "meta_timestamp": OLD,
        "deleted": 0, "state": state, "state_timestamp": OLD, "epoch": None, "reported": 1, "tombstones": 0,
    }  # fmt: skip


def _processor(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare_rates(sides: list[Side], names: list[str], turns: int, seconds: int) -> list[str]:
    """The lines of the report that are about many clients."""
    chance = random.Random(2)
    markers = [quote(names[chance.randrange(len(names) - 1100)]) for _ in range(PAGES)]
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(turns):
        for container in ("plain", "shards"):
            pages = [f"/{container}?format=json&limit=1000&marker={marker}" for marker in markers]
            groups = [f"/{container}?format=json&delimiter=/&limit=1000&prefix="]
            for what, paths in (("page of 1,000 names from " + container, pages), ("with delimiter", groups)):
                what += ", plain" if what == "with delimiter" and container == "plain" else ""
                for side in sides:
                    found.setdefault((what, side.name), []).append(side.rate(paths, seconds))
    lines = []
    for what in dict.fromkeys(what for what, _ in found):
        (mine, own), (other, its) = (
            map(statistics.median, zip(*found[what, side.name], strict=True)) for side in sides
        )
        floor = FLOORS.get(what)
        lines.append(
            f"{CLIENTS} clients, {what}: ours {mine:.0f} /s, reference {other:.0f} /s: {mine / other:.1f} x, of CPU {its / own:.1f} x"
            + (f" (to be: {floor})" if floor else "")
        )
    return lines


def compare(sides: list[Side], names: list[str], turns: int) -> list[str]:
    """The lines of the report that are about single requests."""
    found: dict[tuple[str, str], list[float]] = {}
    chance = random.Random(1)

    def note(what: str, side: Side, seconds: float) -> None:
        found.setdefault((what, side.name), []).append(seconds)

    for side in sides:  # what is known of containers is known from here on
        for container in ("plain", "shards"):
            side.cluster.request("HEAD", f"/{container}", side.token)
            side.timed("GET", f"/{container}?format=json&limit=1")
    for turn in range(turns):
        marker = names[chance.randrange(len(names) - 1100)]
        for side in sides:
            for what, container in (("plain", "plain"), ("shards", "shards")):
                page = side.timed("GET", f"/{container}?format=json&limit=1000&marker={quote(marker)}")
                assert side.entries == 1000
                note(f"page of 1,000 names from {what}", side, page)
                groups = side.timed("GET", f"/{container}?format=json&delimiter=/&limit=1000&prefix=")
                note("with delimiter" if what == "shards" else "with delimiter, plain", side, groups)
            for container in ("plain", "shards"):
                for at in range(4):
                    folder = chance.choice(names).partition("/")[0]
                    name = f"{folder}/put-{turn}-{at}"
                    note(f"PUT into {container}", side, side.timed("PUT", f"/{container}/{name}", BODY))
    lines = []
    ours, theirs = (side.name for side in sides)
    for what in dict.fromkeys(what for what, _ in found):
        mine, other = (statistics.median(found[what, name]) * 1000 for name in (ours, theirs))
        lines.append(f"{what}: ours {mine:.2f} ms, reference {other:.2f} ms: {other / mine:.1f} x")
    for side in sides:
        for what, plain, most in (
            ("page of 1,000 names from shards", "page of 1,000 names from plain", 1.5),
            ("with delimiter", "with delimiter, plain", None),
            ("PUT into shards", "PUT into plain", 1.1),
        ):
            ratio = statistics.median(found[what, side.name]) / statistics.median(found[plain, side.name])
            bound = f" (at most {most})" if most and side.name == ours else ""
            lines.append(f"{side.name}: {what} takes {ratio:.2f} x {plain}{bound}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ours", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("reference", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--rows", type=int, default=30000)
    parser.add_argument("--ranges", type=int, default=5000)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=10, help="of one run of many clients")
    parser.add_argument("--rounds", type=int, default=2, help="of such runs")
    parser.add_argument("--port", type=int, default=PORT, help="the first of a hundred")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("/dev/shm/sharding"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the clusters end
    names = names_of(options.rows)
    sides: list[Side] = []
    memcached = []
    try:
        for number, (name, folder) in enumerate((("ours", options.ours), ("reference", options.reference))):
            base = options.port + 50 * number
            command = ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(base + 46)]
            memcached.append(subprocess.Popen(command))
            root = options.root / name
            root.mkdir(parents=True)
            side = Side(name, folder, root, base, f"127.0.0.1:{base + 46}")
            sides.append(side)
            side.make_shards(names, options.shards)
            side.cut("cut", [f"n{at:05d}" for at in range(1, options.ranges)], 1)
        for line in compare(sides, names, options.turns):
            print(line, flush=True)
        for line in compare_rates(sides, names, options.rounds, options.seconds):
            print(line, flush=True)
        rows = [f"n{random.randrange(options.ranges):05d}x" for _ in range(200)]
        for side in sides:
            bound = " (at most 0.3)" if side.name == "ours" else ""
            print(
                f"{side.name}: {side.redirect_cpu(rows):.2f} ms of processor time for a redirect at a root with"
                f" {options.ranges} ranges{bound}"
            )
    finally:
        for side in sides:
            side.cluster.stop()
        for process in memcached:
            process.kill()
            process.wait()
        shutil.rmtree(options.root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
