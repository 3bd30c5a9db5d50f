"""How long a pass of the object reconstructor takes: over what is in sync, and after the loss of a disk with fragments. Ours beside the reference's.

The same files are laid under both: they are written once, through our servers, and copied. Passes of all nodes run at the same time.

usage: repair_fragments.py [--objects N] [--size BYTES] [--reference BIN] [--root DIR] [--passes N]
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
from swift.proxy.fragment_sums import Encoder, merged_footers  # noqa: E402
from test.fragment_nodes import FragmentNodes  # noqa: E402
from test.object_nodes import OURS  # noqa: E402

POWER = 8
LOST = (1, "sda")
SEGMENT = {"ec_object_segment_size": "1048576"}


def fill(nodes: FragmentNodes, count: int, size: int) -> None:
    """Every fragment to its primary, over one connection a node. All objects hold the same."""
    encoder = Encoder(nodes.policy)
    archives = encoder.whole(os.urandom(size))
    describing = encoder.describing(encoder.etag())
    headers = [
        {
            "X-Timestamp": "1700000001.00000",
            "Content-Type": "text/plain",
            "X-Backend-Storage-Policy-Index": "2",
            **{
                key: value
                for key, value in merged_footers(describing, None, encoder.own(index)).items()
                if key.startswith("X-Object-Sysmeta-Ec-")
            },
        }
        for index in range(nodes.policy.codec.total)
    ]
    connections = {n: http.client.HTTPConnection(f"127.0.0.{n}", nodes.base + n) for n in nodes.nodes}
    for number in range(count):
        name = f"o{number}"
        part, primaries = nodes.fragment_ring.get_nodes("a", "c", name)
        for node in primaries:
            index = nodes.policy.fragment_of(node["index"])
            connection = connections[node["zone"]]
            path = f"/{node['device']}/{part}/a/c/{name}"
            connection.request("PUT", path, archives[index], headers[index])
            answer = connection.getresponse()
            answer.read()
            if answer.status != 201:
                raise SystemExit(f"PUT: {answer.status}")


def of_servers(nodes: FragmentNodes) -> float:
    """Seconds of processor that the servers have used."""
    ticks = 0
    for process in nodes.processes.values():
        pids = [process.pid]
        for pid in pids:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
            pids += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(name: str, folder: pathlib.Path, source: FragmentNodes, args: argparse.Namespace) -> None:
    home = pathlib.Path(tempfile.mkdtemp(prefix=f"repair-{name}-", dir=args.root)) / "nodes"
    with FragmentNodes(home, [folder] * 4, part_power=POWER, **SEGMENT) as nodes:
        for spot in nodes.spots:
            nodes.path(spot).rmdir()
            subprocess.run(["cp", "-a", str(source.path(spot)), str(nodes.path(spot))], check=True)
        lines = [("first", *passes(nodes, "swift-object-reconstructor", nodes.nodes))]
        lines += [
            ("in sync", *passes(nodes, "swift-object-reconstructor", nodes.nodes)) for _ in range(args.passes)
        ]
        wanted = len(list((nodes.path(LOST) / "objects-2").glob("*/*/*/*.data")))
        shutil.rmtree(nodes.path(LOST))
        nodes.path(LOST).mkdir()
        before = of_servers(nodes)
        lines.append(("disk lost", *passes(nodes, "swift-object-reconstructor", nodes.nodes)))
        servers = of_servers(nodes) - before
        found = len(list((nodes.path(LOST) / "objects-2").glob("*/*/*/*#d.data")))
        print(f"{name}: {found} of {wanted} fragments came back; servers {servers:.2f} s of processor")
        for what, seconds, used in lines:
            print(f"  {what:10} {seconds:7.2f} s, daemons {used:6.2f} s of processor", flush=True)
    shutil.rmtree(home.parent)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=4000)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--passes", type=int, default=3, help="over what is in sync")
    parser.add_argument("--reference", type=pathlib.Path, help="folder of its commands")
    parser.add_argument("--root", default="/dev/shm")
    args = parser.parse_args()
    hashing.set_hash_config("changeme", "changeme")
    home = pathlib.Path(tempfile.mkdtemp(prefix="repair-source-", dir=args.root)) / "nodes"
    try:
        with FragmentNodes(home, [OURS] * 4, part_power=POWER, **SEGMENT) as source:
            fill(source, args.objects, args.size)
        measure("ours", OURS, source, args)
        if args.reference:
            measure("reference", args.reference, source, args)
    finally:
        shutil.rmtree(home.parent)


if __name__ == "__main__":
    main()
