#!/usr/bin/env python3
"""Encryption at rest, side by side with the reference with encryption on; prints a table of ratios.

usage: bench/encryption.py [--seconds 5] [--rounds 2] [--only get,put,list,big] [--policy gold|ec42] [--plain]

As bench/speed.py (which says what it needs), on memory file systems, with `keymaster encryption` in both pipelines. `--plain` measures our own
cluster without them in the reference's place: what encryption costs here.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys

from cluster import EC42, Cluster, Policy
from disks import memory_folder
from loads import Figures, Rounds
from speed import PROJECT, REFERENCE, _install

INNER = (
    ("keymaster", "encryption_root_secret = Y2hhbmdlbWVjaGFuZ2VtZWNoYW5nZW1lY2hhbmdlbWU=\n"),
    ("encryption", ""),
)
FLOORS = {"GET 4 KiB": 8, "PUT 4 KiB": 8, "GET 256 MiB": 2, "PUT 256 MiB": 2}


def main() -> int:
    args = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all that was started is ended
    only = args.only.split(",")
    home = pathlib.Path(args.home)
    ours = _install(home, "ours", str(PROJECT))
    other = ours if args.plain else _install(home, "reference", REFERENCE)
    folder = memory_folder()
    policies: tuple[Policy, ...] = (EC42,) if args.policy == "ec42" else ()
    sides = [
        Cluster(
            name,
            bin_,
            folder / f"bench-encryption-{name}",
            args.port + n,
            args.port + 100 + 100 * n,
            f"127.0.0.1:{args.port + 10 + n}",
            policies=policies,
            default=len(policies),
            devices=2 if policies else 1,
            inner=inner,
        )
        for n, (name, bin_, inner) in enumerate(
            (
                ("plain" if args.plain else "reference", other, () if args.plain else INNER),
                ("ours", ours, INNER),
            )
        )
    ]
    memcached = [
        subprocess.Popen(
            ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", side.memcache.rpartition(":")[2]]
        )
        for side in sides
    ]
    try:
        for side in sides:
            side.write()
            side.start()
        rounds = Rounds(sides, args.seconds, lambda part: part in only)
        rounds.run(args.rounds)
        print("\n".join(_table(rounds.figures, sides)))
    finally:
        for side in sides:
            side.stop()
            shutil.rmtree(side.root, ignore_errors=True)
        for process in memcached:
            process.kill()
            process.wait()
    return 0


def _table(figures: dict[str, Figures], sides: list[Cluster]) -> list[str]:
    first, ours = (side.name for side in sides)
    lines = [f"| load | {first} | ours | ratio | floor |", "|---|---|---|---|---|"]
    for load, found in figures.items():
        if first not in found.rate or ours not in found.rate:
            continue
        rates = [statistics.median(found.rate[name]) for name in (first, ours)]
        ratio = rates[1] / rates[0] if rates[0] else 0
        lines.append(f"| {load} | {rates[0]:,.0f} | {rates[1]:,.0f} | {ratio:.2f} | {FLOORS.get(load, '')} |")
    return lines


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=5, help="of each load")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="get,put,list,big")
    parser.add_argument("--policy", default="gold", choices=("gold", "ec42"))
    parser.add_argument("--plain", action="store_true", help="our own, unencrypted, in the reference's place")
    parser.add_argument("--port", type=int, default=17000, help="the first of 300 ports")
    parser.add_argument("--home", default="/tmp/swift-bench", help="where both are installed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
