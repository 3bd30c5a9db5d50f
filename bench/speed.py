#!/usr/bin/env python3
"""Measures this store against the reference implementation, side by side on one machine; prints ratios, writes doc/performance.md.

usage: bench/speed.py [--seconds 8] [--rounds 3] [--only get,put,...] [--on tmpfs,xfs] [--disk DIR] [--no-write]

Needs wrk, curl and memcached on the PATH (Debian: apt install wrk curl memcached); for disks with a journal root and xfsprogs, or a
folder on such a disk (--disk). The reference is installed from PyPI into a virtual environment of its own and run as a black box
(REFERENCE_BIN and OURS_BIN name installed ones instead); both sides run the same files, one process per server.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import counts
import hung
import listings
import memory
import overload
import report
from cluster import EC42, Cluster
from disks import Images, memory_folder, touch, why_no_images
from loads import LOADS, Rounds

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent
REFERENCE = "swift==2.38.3"
BY_HAND = "## How to read this run"  # from there on the page is kept
PARTS = [load.part for load in LOADS] + ["mixed", "big", "idle", "million", "load", "memory", "hung", "calls"]


def main() -> int:
    args = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all that was started is ended
    for tool in ("wrk", "curl", "memcached"):
        if not shutil.which(tool):
            raise SystemExit(f"bench: {tool} is missing (Debian: apt install wrk curl memcached)")
    only = args.only.split(",") if args.only else []
    unknown = set(only) - set(PARTS)
    if unknown:
        raise SystemExit(f"bench: --only knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    home = pathlib.Path(args.home)
    bins = {"reference": _install(home, "reference", REFERENCE), "ours": _install(home, "ours", str(PROJECT))}
    left_out: list[str] = []
    parts = []
    for disks in args.on.split(","):
        if disks == "xfs" and not args.disk and why_no_images():
            left_out.append(f"disks with a journal, as {why_no_images()}")
            continue
        # one each: in a shared one, each side would read what the other knows of its accounts; new ones, as the accounts are new
        memcached = [
            subprocess.Popen(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port), "-m", "64"])
            for port in (args.port + 10, args.port + 11)
        ]
        try:
            parts.append(_measure(disks, bins, args, lambda part: not only or part in only, left_out))
        finally:
            for process in memcached:
                process.kill()
                process.wait()
    words = f"bench/speed.py --seconds {args.seconds} --rounds {args.rounds}"
    text = report.page(parts, words, REFERENCE.split("==")[1], left_out)
    print(text)
    if not args.no_write and not args.only and args.policy == "gold":
        page = PROJECT / "doc" / "performance.md"
        by_hand = page.read_text().partition(BY_HAND) if page.exists() else ("", "", "")
        page.write_text(text + ("\n" + BY_HAND + by_hand[2] if by_hand[1] else ""))
    return 0


def _measure(
    disks: str,
    bins: dict[str, pathlib.Path],
    args: argparse.Namespace,
    wanted: Callable[[str], bool],
    left_out: list[str],
) -> report.Part:
    """All parts that are wanted, on one kind of disks."""
    in_memory = pathlib.Path(args.memory) if args.memory else memory_folder()
    folder = pathlib.Path(args.disk) if disks == "xfs" and args.disk else in_memory
    images = Images(in_memory) if disks == "xfs" and not args.disk else None
    more: dict[str, Any] = {"policies": (EC42,), "default": 1, "devices": 2} if args.policy == "ec42" else {}
    sides = [
        Cluster(
            name, bins[name], folder / f"bench-{name}", args.port + n, args.port + 100 + 100 * n, cache, images=images, **more
        )
        for n, (name, cache) in enumerate(
            {"reference": f"127.0.0.1:{args.port + 10}", "ours": f"127.0.0.1:{args.port + 11}"}.items()
        )
    ]  # fmt: skip
    ours = sides[1]
    try:
        touch(in_memory, 6 << 30)
        for side in sides:
            side.write()
            side.start()
        resting = {side.name: side.memory() for side in sides}
        rounds = Rounds(sides, args.seconds, wanted)
        rounds.run(args.rounds)
        told = "tmpfs" if disks == "tmpfs" else f"`{args.disk}`" if args.disk else "XFS over memory"
        kind = "tmpfs" if disks == "tmpfs" else "XFS"
        part = report.Part(f"{kind}, 4+2" if more else kind, told, rounds.figures, resting)
        token = rounds.tokens["ours"]
        if wanted("idle") and disks == "tmpfs":
            part.facts += memory.idle_clients(sides)
        if wanted("million") and disks == "tmpfs":
            part.facts += listings.million(ours, token)
        if wanted("memory"):
            part.facts += memory.many_uploads(ours, token, args.memory_seconds)
        if wanted("load") and disks == args.on.split(",")[0]:  # once: it is about servers, not about disks
            table = overload.table(overload.measure(sides, rounds.tokens, args.seconds))
            part.extra.append(("Many clients", table))
        if wanted("calls"):
            if counts.why_none():
                left_out.append(f"counts of system calls, as {counts.why_none()}")
            else:
                part.facts += counts.measure(ours, token, min(args.seconds, 4))
    finally:
        for side in sides:
            side.stop()
        if images is not None:
            images.close()
        if not args.keep:
            for side in sides:
                shutil.rmtree(side.root, ignore_errors=True)
    if wanted("hung") and disks == "xfs":
        if why_no_images():
            left_out.append(f"the hung disk, as {why_no_images()}")
        else:
            table = hung.measure(bins["ours"], in_memory, args.port + 300, args.seconds)
            part.extra.append(("A hung disk", table))
    return part


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=8, help="length of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help=",".join(PARTS))
    parser.add_argument("--on", default="tmpfs,xfs", help="kinds of disks, one after the other")
    parser.add_argument(
        "--policy",
        choices=("gold", "ec42"),
        default="gold",
        help="3 replicas, or fragments in 4+2 (no page is written)",
    )
    parser.add_argument("--disk", default="", help="a folder on a real disk, in place of XFS over memory")
    parser.add_argument(
        "--memory", default="", help="the folder for disks in memory (a tmpfs that holds user xattrs)"
    )
    parser.add_argument(
        "--memory-seconds", type=int, default=24, help="of each fifth of the uploads of which memory is read"
    )
    parser.add_argument("--port", type=int, default=18080, help="the first of some 500 ports")
    parser.add_argument(
        "--home",
        default=os.environ.get("BENCH_HOME", str(PROJECT / ".saio" / "bench")),
        help="for the virtual environments",
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
    words = [str(venv / "bin" / "pip"), "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*words, *(["-e"] if name == "ours" else []), what], check=True)
    return venv / "bin"


if __name__ == "__main__":
    sys.exit(main())
