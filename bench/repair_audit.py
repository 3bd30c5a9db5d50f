"""How fast objects are audited: MB and objects a second of one pass of the object-auditor, without limits. Ours beside the reference's.

The same files are laid under both: they are written once, through our server, and copied. Passes alternate; the shortest of each counts: ours
is by ETag the first time that it sees an object, and told of by itself as `ours, new`.

usage: repair_audit.py [--objects N] [--size BYTES] [--passes N] [--reference BIN] [--root DIR]
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
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from swift.core import hashing  # noqa: E402
from test.object_nodes import OURS, ObjectNodes  # noqa: E402

SECTION = """
[object-auditor]
files_per_second = 0
bytes_per_second = 0
zero_byte_files_per_second = 0
prove_by = {prove_by}
"""


def fill(nodes: ObjectNodes, count: int, size: int) -> None:
    """Every object to node 1, over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", nodes.base + 1)
    body = os.urandom(size)
    for number in range(count):
        name = f"o{number}"
        part = nodes.ring.get_part("a", "c", name)
        headers = {"X-Timestamp": f"{time.time():.5f}", "Content-Type": "text/plain"}
        connection.request("PUT", f"/sda/{part}/a/c/{name}", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 201:
            raise SystemExit(f"PUT: {answer.status}")
    connection.close()


def one_pass(nodes: ObjectNodes, name: str) -> tuple[float, float]:
    """(seconds, seconds of processor). What the process takes to start is in them: measure much of it."""
    before = os.times()
    started = time.monotonic()
    done = subprocess.run(
        [*nodes._command(1, "swift-object-auditor"), str(nodes.conf(1)), "once", "-v"],
        env=nodes._environ(1),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    seconds = time.monotonic() - started
    after = os.times()
    said = done.stdout + done.stderr
    if done.returncode or "Total quarantined: 0, Total errors: 0" not in said:
        raise SystemExit(f"{name}: {said}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, used


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--size", type=int, default=64 << 20)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--reference", type=pathlib.Path, help="folder of its commands")
    parser.add_argument("--root", default="/dev/shm")
    args = parser.parse_args()
    hashing.set_hash_config("changeme", "changeme")
    home = pathlib.Path(tempfile.mkdtemp(prefix="repair-audit-", dir=args.root)) / "nodes"
    subjects = [
        ("ours", OURS, "mixed"),
        ("ours, by ETag", OURS, "etag"),
        ("ours, by checksums", OURS, "checksums"),
    ]
    if args.reference:
        subjects.append(("reference", args.reference, "etag"))
    try:
        nodes = ObjectNodes(home, [OURS] * 2, part_power=10)
        nodes.start(1)
        fill(nodes, args.objects, args.size)
        nodes.stop(1)
        plain = nodes.conf(1).read_text()
        best: dict[str, tuple[float, float]] = {}
        for _ in range(args.passes):
            for name, folder, prove_by in subjects:
                nodes.kinds = [folder] * 2
                nodes.conf(1).write_text(plain + SECTION.format(prove_by=prove_by))
                found = one_pass(nodes, name)
                if prove_by == "mixed" and name not in best:
                    best["ours, new"], best[name] = found, one_pass(nodes, name)
                best[name] = min(best.get(name, found), found)
        for name, (seconds, used) in best.items():
            print(
                f"{name:20} {args.objects * args.size / seconds / 1e6:8.0f} MB/s {args.objects / seconds:8.0f} objects/s "
                f"{seconds:7.2f} s, {used:6.2f} s of processor"
            )
    finally:
        shutil.rmtree(home.parent)


if __name__ == "__main__":
    main()
