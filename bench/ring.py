"""Rings side by side: builds, small changes and lookups of ours and of the reference, in processes of their own.

    REFERENCE_BIN=/path/to/venv/bin python bench/ring.py [--rounds 3] [--only NAME] [--markdown FILE]

What lives here: the cases and the table. Both sides run the same lines through their public library (`RingBuilder`, `Ring`)
and their command; figures are CPU seconds and medians over the rounds, in alternation. Without REFERENCE_BIN only ours is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent.parent

# ---- what both sides run; the arguments are a JSON object, the answer is one line of JSON

PRELUDE = """
import json, resource, sys, time
argument = json.loads(sys.argv[1])
def answer(**values):
    print(json.dumps({**values, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
def fill(builder, zones, servers, disks):
    for zone in range(zones):
        for server in range(servers):
            for disk in range(disks):
                builder.add_dev({"region": 1, "zone": zone, "ip": f"10.{zone}.{server // 250}.{server % 250}", "port": 6200,
                    "replication_ip": f"10.{zone}.{server // 250}.{server % 250}", "replication_port": 6200,
                    "device": f"d{disk}", "weight": 100.0, "meta": ""})
"""

BUILD = """
builder = RingBuilder(argument["power"], 3, 1)
fill(builder, *argument["shape"])
began = time.process_time()
moved, balance, removed = builder.rebalance(seed="1")
cpu = time.process_time() - began
builder.pretend_min_part_hours_passed()
if argument.get("save"):
    builder.save(argument["save"])
    builder.get_ring().save(argument["save"].replace(".builder", ".ring.gz"))
answer(cpu=cpu, moved=moved, balance=balance, dispersion=builder.dispersion)
"""

CHANGE = """
builder = RingBuilder.load(argument["builder"])
if argument["change"] == "disk":
    builder.remove_dev(777)
elif argument["change"] == "server":
    for disk in range(20):
        builder.add_dev({"region": 1, "zone": 3, "ip": "10.3.9.9", "port": 6200, "replication_ip": "10.3.9.9",
            "replication_port": 6200, "device": f"d{disk}", "weight": 100.0, "meta": ""})
else:
    for dev in list(builder.devs):
        if dev and dev["zone"] == 3 and dev["ip"] == "10.3.0.5":
            builder.remove_dev(dev["id"])
least = sum(dev["parts"] for dev in builder.devs if dev and dev["weight"] == 0)
began = time.process_time()
moved, balance, removed = builder.rebalance(seed="1")
cpu = time.process_time() - began
least = least or sum(dev["parts"] for dev in builder.devs if dev and dev["ip"] == "10.3.9.9")
answer(cpu=cpu, moved=moved, least=least, balance=balance, dispersion=builder.dispersion)
"""

LOOKUP = """
import itertools, random
began = time.process_time()
ring = Ring(argument["ring"])
load = time.process_time() - began
random.seed(1)
names = [("AUTH_test", f"container-{i % 97}", f"object-{i}") for i in range(argument["count"])]
parts = [random.randrange(ring.partition_count) for _ in range(argument["count"])]
def rate(function, items):
    best = None
    for _ in range(3):
        began = time.process_time()
        function(items)
        used = time.process_time() - began
        best = used if best is None else min(best, used)
    return len(items) / best
def get_part(items):
    for a, c, o in items: ring.get_part(a, c, o)
def get_nodes(items):
    for a, c, o in items: ring.get_nodes(a, c, o)
def first(items):
    for part in items: next(ring.get_more_nodes(part))
def first6(items):
    for part in items: list(itertools.islice(ring.get_more_nodes(part), 6))
def whole(items):
    for part in items: list(ring.get_more_nodes(part))
few = parts[:argument["few"]]
answer(load_ms=load * 1000, get_part=rate(get_part, names), get_nodes=rate(get_nodes, names), first=rate(first, few),
    first6=rate(first6, few), whole=rate(whole, few[:50]))
"""

OURS = PRELUDE + (
    "import numpy\n"  # the library is loaded before it is measured, on both sides
    "from swift.ring.builder import RingBuilder\nimport swift.ring.placement, swift.ring.movement\n"
)
OURS_LOOKUP = PRELUDE + (
    "from swift.core import hashing\nhashing.set_hash_config('', 'bench')\nfrom swift.ring.lookup import Ring\n"
)
THEIRS = PRELUDE + "from swift.common.ring import RingBuilder\n"
THEIRS_LOOKUP = PRELUDE + (
    "from swift.common import utils\nutils.set_swift_dir(argument['swift_dir'])\nfrom swift.common.ring import Ring\n"
)


class Side:
    """One implementation: how to run a script with its library, and its commands."""

    def __init__(
        self, python: str, commands: pathlib.Path, path: str | None, build: str, lookup: str
    ) -> None:
        self.python, self.commands, self.build, self.lookup = python, commands, build, lookup
        self.environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        if path:
            self.environment["PYTHONPATH"] = path

    def run(self, script: str, **argument: object) -> dict:
        with tempfile.TemporaryDirectory() as elsewhere:
            done = subprocess.run(
                [self.python, "-c", script, json.dumps(argument)],
                capture_output=True, text=True, env=self.environment, cwd=elsewhere,
            )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{self.python} failed:\n{done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def command(self, *arguments: str) -> float:
        """CPU seconds of one swift-ring-builder command."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [self.python, str(self.commands / "swift-ring-builder"), *arguments],
            capture_output=True, text=True, env=self.environment,
        )  # fmt: skip
        if done.returncode not in (0, 1):
            raise SystemExit(f"swift-ring-builder failed:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def sides() -> dict[str, Side]:
    found = {"ours": Side(sys.executable, HERE / "bin", str(HERE), OURS, OURS_LOOKUP)}
    reference = os.environ.get("REFERENCE_BIN")
    if reference:
        folder = pathlib.Path(reference)
        found["reference"] = Side(str(folder / "python"), folder, None, THEIRS, THEIRS_LOOKUP)
    return found


BUILDS = {
    "first, 2^16 parts, 1,000 disks": ({"power": 16, "shape": [10, 10, 10]}, 30),
    "first, 2^18 parts, 4,000 disks": ({"power": 18, "shape": [10, 20, 20]}, 30),
    "first, 2^16 parts, 1,000 servers in one zone": ({"power": 16, "shape": [1, 1000, 1]}, 30),
}
CHANGES = {
    "a disk of 4,000 out": "disk",
    "a server of 20 disks in": "server",
    "a server of 20 disks out": "out",
}


class Table:
    def __init__(self) -> None:
        self.lines: list[tuple[str, ...]] = []

    def add(
        self, what: str, ours: str, reference: str = "", ratio: str = "", aim: str = "", note: str = ""
    ) -> None:
        line = what, ours, reference, ratio, aim, note
        self.lines.append(line)
        print(f"{what:52} {ours:>12} {reference:>12} {ratio:>8} {aim:>8}  {note}", flush=True)

    def markdown(self) -> str:
        head = ["| what | ours | reference | ratio | aim | |", "|---|---|---|---|---|---|"]
        return "\n".join(head + ["| " + " | ".join(line) + " |" for line in self.lines]) + "\n"


def medians(results: list[dict], key: str) -> float:
    return statistics.median(result[key] for result in results)


def compare(table: Table, what: str, found: dict[str, list[dict]], aim: float, note: str = "") -> None:
    """CPU seconds of both, and how many times ours is faster."""
    ours = medians(found["ours"], "cpu")
    theirs = medians(found["reference"], "cpu") if "reference" in found else None
    table.add(
        what, f"{ours:.3f} s", f"{theirs:.3f} s" if theirs else "", f"{theirs / ours:.0f}x" if theirs else "",
        f"{aim:.0f}x", note,
    )  # fmt: skip


def describe(found: dict[str, list[dict]]) -> str:
    return "; ".join(
        f"{side}: balance {results[0]['balance']:.2f}, dispersion {results[0]['dispersion']:.2f}"
        + (
            f", moved {results[0]['moved'] / results[0]['least']:.3f} of the least"
            if "least" in results[0]
            else ""
        )
        + f", {max(result['peak_mb'] for result in results):.0f} MB"
        for side, results in found.items()
    )


def measure_builds(table: Table, both: dict[str, Side], rounds: int) -> None:
    for name, (argument, aim) in BUILDS.items():
        found: dict[str, list[dict]] = {side: [] for side in both}
        for _ in range(rounds):
            for side, program in both.items():
                found[side].append(program.run(program.build + BUILD, **argument))
        compare(table, name, found, aim, describe(found))


def measure_changes(table: Table, both: dict[str, Side], rounds: int, folder: pathlib.Path) -> None:
    for side, program in both.items():
        path = folder / side / "object.builder"
        path.parent.mkdir()
        program.run(program.build + BUILD, power=18, shape=[10, 20, 20], save=str(path))
    for name, change in CHANGES.items():
        found: dict[str, list[dict]] = {side: [] for side in both}
        for _ in range(rounds):
            for side, program in both.items():
                path = folder / side / "object.builder"
                found[side].append(program.run(program.build + CHANGE, builder=str(path), change=change))
        compare(table, name + ", 2^18 parts", found, 10, describe(found))


def measure_commands(table: Table, both: dict[str, Side], rounds: int, folder: pathlib.Path) -> None:
    found: dict[str, list[dict]] = {side: [] for side in both}
    change: dict[str, list[dict]] = {side: [] for side in both}
    for turn in range(rounds):
        for side, program in both.items():
            path = str(folder / f"{side}-{turn}.builder")
            program.command(path, "create", "16", "3", "1")
            adds: list[str] = []
            for zone in range(10):
                for disk in range(100):
                    adds += [f"r1z{zone}-10.0.{zone}.{disk // 10}:6200/d{disk % 10}", "100"]
            program.command(path, "add", *adds)
            found[side].append({"cpu": program.command(path, "rebalance", "--seed", "1")})
            large = folder / f"{side}-large-{turn}.builder"
            shutil.copy(folder / side / "object.builder", large)
            program.command(str(large), "remove", "d777")
            change[side].append({"cpu": program.command(str(large), "rebalance", "--seed", "1")})
    compare(table, "command rebalance, 2^16 parts, 1,000 disks", found, 5)
    compare(table, "command rebalance, a disk of 4,000 out", change, 5)


def measure_lookups(table: Table, both: dict[str, Side], rounds: int, folder: pathlib.Path) -> None:
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = bench\n")
    ring = folder / ("reference" if "reference" in both else "ours") / "object.ring.gz"
    shutil.copy(ring, folder / "object.ring.gz")
    rare = folder / "rare.ring.gz"
    write_ring_with_rare_region(both["ours"], str(folder / "ours" / "object.builder"), str(rare))
    for name, path, few in (
        ("4,000 disks", folder / "object.ring.gz", 20000),
        ("rare second region", rare, 300),
    ):
        found: dict[str, list[dict]] = {side: [] for side in both}
        for _ in range(rounds):
            for side, program in both.items():
                found[side].append(
                    program.run(
                        program.lookup + LOOKUP, ring=str(path), swift_dir=str(folder), count=50000, few=few
                    )
                )
        for key, aim in (("get_part", 1), ("get_nodes", 1), ("first", 2), ("first6", 1), ("whole", 1)):
            ours = medians(found["ours"], key)
            theirs = medians(found["reference"], key) if "reference" in found else None
            table.add(
                f"{key} per second, {name}", f"{ours:,.0f}", f"{theirs:,.0f}" if theirs else "",
                f"{ours / theirs:.1f}x" if theirs else "", f"{aim}x",
            )  # fmt: skip
        load = {side: medians(results, "load_ms") for side, results in found.items()}
        table.add(
            f"load, {name}",
            f"{load['ours']:.0f} ms",
            f"{load['reference']:.0f} ms" if "reference" in load else "",
        )


def write_ring_with_rare_region(ours: Side, builder: str, ring: str) -> None:
    ours.run(
        ours.build
        + """
builder = RingBuilder.load(argument["builder"])
builder.add_dev({"region": 2, "zone": 1, "ip": "10.99.0.1", "port": 6200, "device": "d0", "weight": 10.0})
builder.rebalance(seed="1")
builder.get_ring().save(argument["ring"])
answer()
""",
        builder=builder,
        ring=ring,
    )


def measure_scatter(table: Table, ours: Side) -> None:
    found = ours.run(
        ours.build
        + """
builder = RingBuilder(16, 3, 1)
fill(builder, 10, 10, 10)
builder.rebalance(seed="1")
peers = [set() for _ in builder.devs]
for ids in zip(*builder.rows):
    for dev_id in ids:
        peers[dev_id].update(ids)
counts = sorted(len(others) - 1 for others in peers)
answer(least=counts[0], median=counts[len(counts) // 2], most=counts[-1])
"""
    )
    table.add(
        "peers per disk, 2^16 parts, 1,000 disks",
        f"{found['median']}",
        "4",
        "",
        "150",
        f"{found['least']}–{found['most']}",
    )


def measure_large(table: Table, ours: Side) -> None:
    found = ours.run(ours.build + BUILD, power=20, shape=[20, 50, 10])
    table.add(
        "first, 2^20 parts, 10,000 disks",
        f"{found['cpu']:.2f} s",
        "",
        "",
        "60 s",
        f"{found['peak_mb']:.0f} MB",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["builds", "changes", "commands", "lookups", "scatter", "large"])
    parser.add_argument("--markdown", help="also write the table to this file")
    options = parser.parse_args()
    both, table = sides(), Table()
    table.add("what", "ours", "reference", "ratio", "aim")
    with tempfile.TemporaryDirectory(prefix="ring-bench-") as name:
        folder = pathlib.Path(name)
        if options.only in (None, "builds"):
            measure_builds(table, both, options.rounds)
        if options.only in (None, "scatter"):
            measure_scatter(table, both["ours"])
        if options.only in (None, "large"):
            measure_large(table, both["ours"])
        if options.only in (None, "changes", "commands", "lookups"):
            measure_changes(table, both, options.rounds, folder)
        if options.only in (None, "commands"):
            measure_commands(table, both, options.rounds, folder)
        if options.only in (None, "lookups"):
            measure_lookups(table, both, options.rounds, folder)
    if options.markdown:
        table.lines.pop(0)
        pathlib.Path(options.markdown).write_text(table.markdown())


if __name__ == "__main__":
    main()
