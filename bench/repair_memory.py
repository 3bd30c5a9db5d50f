"""How much memory a pass of the object replicator takes where very many objects are. Ours, and the reference's.

One object is stored through a server, and stands on all nodes under as many names of directories as are wanted, by hard links: the
replicator looks at names only. The pass of node 1 over what is in sync is measured, the first one, which hashes everything, and a second one.

usage: repair_memory.py [--objects N] [--reference BIN] [--root DIR]
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from swift.core import hashing  # noqa: E402
from test.object_nodes import OURS, ObjectNodes  # noqa: E402

POWER = 10
NODES = 3
NAME = "1700000001.00000"
ASKED = 512  # MB


def fill(nodes: ObjectNodes, count: int) -> None:
    """So many objects on every node, which are all the same file. Names of directories as good as random: parts and suffixes fill evenly."""
    status, _, _ = nodes.request(1, "PUT", "o", b"4096" * 1024, NAME)
    if status != 201:
        raise SystemExit(f"PUT: {status}")
    original = next((nodes.disk(1) / "objects").glob("*/*/*/*.data"))
    kept = nodes.home / "original.data"
    os.link(original, kept)
    shutil.rmtree(nodes.disk(1) / "objects")
    for node in nodes.nodes:
        top = f"{nodes.disk(node)}/objects"
        made: set[str] = set()
        for number in range(count):
            digest = hashing.md5(b"%d" % number).hexdigest()
            suffix = f"{top}/{int(digest[:8], 16) >> (32 - POWER)}/{digest[-3:]}"
            if suffix not in made:
                os.makedirs(suffix)
                made.add(suffix)
            os.mkdir(f"{suffix}/{digest}")
            os.link(kept, f"{suffix}/{digest}/{NAME}.data")


def one_pass(nodes: ObjectNodes) -> tuple[float, float, float]:
    """(seconds, seconds of processor, the most MB that one of its processes had)."""
    started = time.monotonic()
    process = subprocess.Popen(
        [*nodes._command(1, "swift-object-replicator"), str(nodes.conf(1)), "once"],
        env=nodes._environ(1),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the replicator ended with {process.returncode}")
    return time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def of_server(nodes: ObjectNodes, node: int) -> float:
    """The most MB that a server's processes have had, all together."""
    total = 0.0
    pids = [nodes.processes[node].pid]
    for pid in pids:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
        total += int(text.split("VmHWM:")[1].split()[0]) / 1024
        pids += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return total


def measure(name: str, folder: pathlib.Path, args: argparse.Namespace) -> None:
    """Prints what was found of one side."""
    home = pathlib.Path(tempfile.mkdtemp(prefix=f"repair-memory-{name}-", dir=args.root)) / "nodes"
    try:
        with ObjectNodes(home, [folder] * NODES, part_power=POWER) as nodes:
            fill(nodes, args.objects)
            for what in ("first", "in sync"):
                seconds, used, most = one_pass(nodes)
                shown = f"**{most:.0f}**" if most <= ASKED else f"_{most:.0f}_"
                print(
                    f"{name}: {args.objects:,} objects, {what}: {shown} MB (at most {ASKED}), {seconds:.1f} s, {used:.1f} s of processor;"
                    f" a peer's server at most {of_server(nodes, 2):.0f} MB",
                    flush=True,
                )
    finally:
        shutil.rmtree(home.parent)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--reference", type=pathlib.Path, help="folder of its commands")
    parser.add_argument("--root", default="/dev/shm")
    args = parser.parse_args()
    hashing.set_hash_config("changeme", "changeme")
    measure("ours", OURS, args)
    if args.reference:
        measure("reference", args.reference, args)


if __name__ == "__main__":
    main()
