"""How long a pass of the object replicator takes: over what is in sync, and after the loss of a disk. Ours beside the reference's.

The same files are laid under both: they are written once, through our servers, and copied. Passes of all nodes run at the same time.

usage: repair_objects.py [--objects N] [--size BYTES] [--reference BIN] [--method ssync|rsync] [--root DIR]
"""

from __future__ import annotations

import argparse
import http.client
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from daemon_passes import passes

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from swift.core import hashing  # noqa: E402
from test.object_nodes import OURS, ObjectNodes  # noqa: E402

POWER = 10


def fill(nodes: ObjectNodes, count: int, size: int) -> None:
    """Every object to its primaries, over one connection a node."""
    body = os.urandom(size)
    connections = {n: http.client.HTTPConnection(f"127.0.0.{n}", nodes.base + n) for n in nodes.nodes}
    for number in range(count):
        name = f"o{number}"
        part, primaries = nodes.ring.get_nodes("a", "c", name)
        for node in primaries:
            connection = connections[node["zone"]]
            headers = {"X-Timestamp": "1700000001.00000", "Content-Type": "text/plain"}
            connection.request("PUT", f"/sda/{part}/a/c/{name}", body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 201:
                raise SystemExit(f"PUT: {answer.status}")


def measure(name: str, folder: pathlib.Path, source: ObjectNodes, args: argparse.Namespace) -> None:
    home = pathlib.Path(tempfile.mkdtemp(prefix=f"repair-{name}-", dir=args.root)) / "nodes"
    with ObjectNodes(home, [folder] * 4, args.method, part_power=POWER) as nodes:
        for node in nodes.nodes:
            nodes.disk(node).rmdir()
            subprocess.run(["cp", "-a", str(source.disk(node)), str(nodes.disk(node))], check=True)
        everyone = list(nodes.nodes)
        lines = [("first", *passes(nodes, "swift-object-replicator", everyone))]
        lines += [("in sync", *passes(nodes, "swift-object-replicator", everyone)) for _ in range(3)]
        wanted = len(nodes.files(1))
        nodes.empty(1)
        lines.append(("disk lost", *passes(nodes, "swift-object-replicator", [2, 3, 4])))
        print(f"{name}: {len(nodes.files(1))} of {wanted} objects came back")
        for what, seconds, used in lines:
            print(f"  {what:10} {seconds:7.2f} s, daemons {used:6.2f} s of processor")
    shutil.rmtree(home.parent)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=20000)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--method", default="ssync", choices=("ssync", "rsync"))
    parser.add_argument("--reference", type=pathlib.Path, help="folder of its commands")
    parser.add_argument("--root", default="/dev/shm")
    args = parser.parse_args()
    hashing.set_hash_config("changeme", "changeme")
    home = pathlib.Path(tempfile.mkdtemp(prefix="repair-source-", dir=args.root)) / "nodes"
    try:
        with ObjectNodes(home, [OURS] * 4, part_power=POWER) as source:
            fill(source, args.objects, args.size)
        measure("ours", OURS, source, args)
        if args.reference:
            measure("reference", args.reference, source, args)
    finally:
        shutil.rmtree(home.parent)


if __name__ == "__main__":
    main()
