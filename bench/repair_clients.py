"""How much longer clients wait while a lost disk is being made whole again: p99 of GET and PUT before and meanwhile. Ours, and the reference's.

Objects of 4 KiB are written through the proxy until there are enough, one device is emptied, and the replicator (the reconstructor, for
fragments) of every node runs, as a daemon, beside readers and writers. At most twice as long is asked for. It needs an idle machine, and
so many objects that the device is not whole again before the clients have been measured: it is said if it was.

usage: repair_clients.py [--objects N] [--policy gold|ec42] [--seconds S] [--clients N] [--reference BIN] [--ours BIN] [--root DIR] [--port P]
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import signal
import subprocess
import sys
import sysconfig
import time

from cluster import EC42, Cluster
from wrk import Result, Run

CLIENTS = 4  # of each kind
FILLERS = 16
# What makes a policy's disks whole, and its options: the reference's replicator would want rsyncd.
DAEMON = {"gold": ("object-replicator", "sync_method = ssync\n"), "ec42": ("object-reconstructor", "")}
ASKED = 2.0
WHOLE_SECONDS = 600
KINDS = ("get", "put")


class Side:
    """One cluster: its objects, its clients, its lost device."""

    def __init__(self, cluster: Cluster, args: argparse.Namespace) -> None:
        self.cluster = cluster
        self.args = args
        self.daemon, self.options = DAEMON[args.policy]
        self.token = ""
        self.writes = 0

    def prepare(self) -> None:
        cluster = self.cluster
        cluster.write()
        for node in cluster.nodes:
            with open(cluster.etc / f"object-{node}.conf", "a") as file:
                file.write(f"\n[{self.daemon}]\ninterval = 1\n{self.options}")
        cluster.start()
        self.token = cluster.token()
        for container in ("kept", "written"):
            assert cluster.request("PUT", f"/{container}", self.token) in (201, 202)
        for number in range(100):
            assert cluster.request("PUT", f"/kept/g-{number}", self.token, b"4096" * 1024) == 201
        written = 0
        while written < self.args.objects:
            written += self._run("put", "kept", f"f{written}", FILLERS, 4).result().good

    def _run(self, kind: str, container: str, prefix: str, clients: int, seconds: int) -> Run:
        cluster = self.cluster
        base = f"/v1/AUTH_test/{container}"
        return Run(cluster.endpoint, self.token, kind, base, prefix, clients=clients, seconds=seconds)

    def clients(self) -> dict[str, Result]:
        """Readers beside writers."""
        self.writes += 1
        running = {
            "get": self._run("get", "kept", "g", self.args.clients, self.args.seconds),
            "put": self._run("put", "written", f"w{self.writes}", self.args.clients, self.args.seconds),
        }
        return {kind: run.result() for kind, run in running.items()}

    def files(self) -> set[str]:
        """The object files of the device that is lost."""
        disk = self.cluster.root / "1" / "sdb1"
        return {str(file) for file in disk.glob("objects*/*/*/*/*.data")}

    def lose(self) -> set[str]:
        """Empty a device: the files that were there."""
        lost = self.files()
        for folder in (self.cluster.root / "1" / "sdb1").glob("objects*"):
            shutil.rmtree(folder)
        return lost

    def repair(self) -> list[subprocess.Popen]:
        """The daemon of each node, begun."""
        return [self.cluster.daemon(self.daemon, node) for node in self.cluster.nodes]


def measure(side: Side) -> None:
    """Prints what was found of one side."""
    name = side.cluster.name
    side.prepare()
    side.clients()  # for warming up
    quiet = side.clients()
    lost = side.lose()
    began = time.monotonic()
    passes = side.repair()
    meanwhile = side.clients()
    is_long_enough = bool(lost - side.files())
    while lost - side.files() and time.monotonic() - began < WHOLE_SECONDS:
        time.sleep(0.5)
    seconds = time.monotonic() - began
    for one in passes:
        one.terminate()
        one.wait()
    print(
        f"{name}: {len(lost & side.files())} of {len(lost)} files came back within {seconds:.1f} s"
        + ("" if is_long_enough else ", before the clients had ended: take more objects, or fewer seconds")
    )
    for kind in KINDS:
        before, under = quiet[kind], meanwhile[kind]
        ratio = under.p99 / before.p99
        print(
            f"  {kind.upper()} p99 {before.p99:8.1f} ms, {under.p99:8.1f} ms under repair: {ratio:.2f} times (at most {ASKED:g});"
            f" {before.rate:.0f} /s, {under.rate:.0f} /s"
            + (f"; failed: {under.failures}" if under.failures else "")
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=20000)
    parser.add_argument("--policy", choices=sorted(DAEMON), default="gold")
    parser.add_argument(
        "--seconds", type=int, default=10, help="that clients are measured, before and meanwhile"
    )
    parser.add_argument("--clients", type=int, default=CLIENTS, help="of each kind")
    parser.add_argument("--reference", type=pathlib.Path, help="folder of its commands")
    parser.add_argument("--ours", type=pathlib.Path, default=pathlib.Path(sysconfig.get_path("scripts")))
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("/dev/shm/repair-clients"))
    parser.add_argument("--port", type=int, default=12600, help="the first of some 200 ports")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server stays behind
    folders = {"ours": args.ours, "reference": args.reference}
    fragments = {"policies": (EC42,), "default": 1, "devices": 2} if args.policy == "ec42" else {}
    for number, (name, folder) in enumerate(folders.items()):
        if folder is None:
            continue
        port = args.port + 100 * number
        cache = f"127.0.0.1:{port + 99}"
        root = args.root / name
        cluster = Cluster(name, folder.absolute(), root, port, port, cache, **fragments)  # type: ignore[arg-type]
        memcached = subprocess.Popen(
            ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port + 99), "-m", "64"]
        )
        try:
            measure(Side(cluster, args))
        finally:
            cluster.stop()
            memcached.kill()
            memcached.wait()
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
