"""python -m test.soak [--minutes N] [--seed S] [--folder F]: mixed traffic, reloads and changes of rings for as long as is asked for.

Native clients of a replicated and of an erasure-coded policy, large objects, listings and S3 work without a pause. Once in `--pause`
seconds one thing is done to the cluster, in turns: a server starts anew in its place (USR1), a daemon does (HUP), or a ring gets other
weights; the last node never starts anew, the proxy only in the first third, so that there are processes that grow old. A line each minute tells of requests, failures, and memory (MiB), descriptors and lasting descriptors of each process: of the largest of those with
the same duty; growth is judged in runs of 15 minutes or more. Ends with 0 if no request failed, no log has a traceback, nothing has ended by itself and nothing has grown; else with 1
and what was wrong. Clients ask again, once, what an idle connection that a reload has closed did not answer.
"""

from __future__ import annotations

import argparse
import itertools
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from swift.cli import saio
from swift.cli.saio_layout import DAEMONS, NODES
from swift.ring.builder import RingBuilder
from test.cluster import Cluster
from test.soak.processes import Watch
from test.soak.traffic import Buckets, Large, Listings, Native, Session, Worker

BIN = pathlib.Path(__file__).parents[2] / "bin"
SERVERS = ("proxy", *(f"node{node}" for node in NODES))
# Node 1's, as commands of their own, so that they can be told to start anew; all others share a process.
ALONE = ("object-replicator", "object-updater", "object-expirer", "container-replicator", "container-updater")
RINGS = ("object", "container", "object-2")
TOLD = 20
MINUTE = 60.0


class Soak:
    """Against a running cluster. Use as a context manager: daemons and clients end with it."""

    def __init__(self, cluster: Cluster, seed: int, proxies_until: float) -> None:
        """`proxies_until`: when proxies don't start anew any more, by `time.monotonic`."""
        self.cluster = cluster
        self.proxies_until = proxies_until
        self.chance = random.Random(seed)
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.workers = self._workers(seed)
        self.watch = Watch()
        self.wrong: list[str] = []
        self.done: list[str] = []
        self._next = itertools.cycle(self._disturbances())

    def _workers(self, seed: int) -> list[Worker]:
        address = self.cluster.address
        containers = {"/gold": "gold", "/ec": "ec42", "/large": "gold"}
        for container, policy in containers.items():
            answer = self.cluster.request("PUT", container, headers={"X-Storage-Policy": policy})
            assert answer.status in (201, 202), answer

        def session() -> Session:
            return Session(address, self.cluster.token)

        return [
            Native(session(), "/gold", 1), Native(session(), "/gold", 2), Native(session(), "/ec", 3), Large(session(), "/large", seed),
            Listings(session(), list(containers), seed), Buckets(address, "soak", seed),
        ]  # fmt: skip

    def __enter__(self) -> Soak:
        layout = self.cluster.layout
        running = saio._running(layout)["daemons"]
        saio._signal(running, signal.SIGTERM)
        while "daemons" in saio._running(layout):
            time.sleep(0.05)
        own = {layout.etc / f"{kind}-server" / "1.conf" for kind in DAEMONS}
        saio._spawn(
            layout,
            "daemons",
            [path for path in layout.daemon_confs() if path not in own],
            "swift.cli.daemons",
        )
        for name in ALONE:
            conf = layout.etc / f"{name.partition('-')[0]}-server" / "1.conf"
            with open(layout.log / f"{name}.out", "ab") as out:
                words = [sys.executable, BIN / f"swift-{name}", conf]
                self.daemons[name] = subprocess.Popen(words, stdout=out, stderr=out, start_new_session=True)
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self.workers:
            worker.stopping = True
        for worker in self.workers:
            worker.join(150)
        for daemon in self.daemons.values():
            if daemon.poll() is None:
                os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()

    # -- what is done to it

    def _disturbances(self) -> list[Callable[[], str]]:
        def server(name: str) -> Callable[[], str]:
            return lambda: self._reload_server(name)

        def daemon(name: str) -> Callable[[], str]:
            return lambda: self._reload_daemon(name)

        def ring(name: str) -> Callable[[], str]:
            return lambda: self._change_ring(name)

        turns = itertools.zip_longest(
            map(server, SERVERS[:-1]),
            map(daemon, ALONE),
            [ring(RINGS[0]), None, ring(RINGS[1]), None, ring(RINGS[2])],
        )
        return [step for turn in turns for step in turn if step is not None]

    def disturb(self) -> None:
        try:
            self.done.append(next(self._next)())
        except Exception as err:
            self.wrong.append(f"{err!r}")

    def _reload_server(self, name: str) -> str:
        if name == "proxy" and time.monotonic() > self.proxies_until:
            return "proxy left alone"
        saio._reload_now(self.cluster.layout, {name: saio._running(self.cluster.layout)[name]})
        return f"{name} anew"

    def _reload_daemon(self, name: str) -> str:
        self.daemons[name].send_signal(signal.SIGHUP)
        return f"{name} anew"

    def _change_ring(self, name: str) -> str:
        """One partition's copies move one at a time, so that two of three stay where they are looked for."""
        etc = self.cluster.layout.etc
        builder = RingBuilder.load(str(etc / f"{name}.builder"))
        device = self.chance.choice([device for device in builder.devs if device])
        builder.set_dev_weight(device["id"], self.chance.choice((50.0, 75.0, 100.0)) / 100)
        builder.pretend_min_part_hours_passed()
        builder.rebalance()
        builder.save(str(etc / f"{name}.builder"))
        builder.get_ring().save(str(etc / f"{name}.ring.gz"))
        return f"ring {name} anew"

    # -- what is seen of it

    def duties(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        running = saio._running(self.cluster.layout)
        for name in (*SERVERS, "daemons"):
            leader = running.get(name)
            if leader is None:
                self.wrong.append(f"{name} has ended")
                continue
            found[name] = [leader]
            workers = [pid for pid in self.cluster.pids(name) if pid != leader]
            if workers:
                found[f"{name} workers"] = workers
        for name, daemon in self.daemons.items():
            if daemon.poll() is not None:
                self.wrong.append(f"{name} has ended with {daemon.returncode}")
                continue
            found[name] = [daemon.pid]
        return found

    def look(self) -> str:
        """A line for people; samples and failures are kept."""
        held = self.watch.take(self.duties())
        for worker in self.workers:
            while worker.failures:
                self.wrong.append(worker.failures.pop(0))
        kinds = ", ".join(f"{worker.kind} {worker.requests}" for worker in self.workers)
        processes = " ".join(
            f"{duty.replace(' ', '-')}={one.memory >> 20}M/{one.descriptors}/{one.lasting or '-'}"
            for duty, one in held.items()
        )
        done, self.done = ", ".join(self.done), []
        total = sum(worker.requests for worker in self.workers)
        return f"{total} requests ({kinds}), {len(self.wrong)} wrong; {done or 'left alone'}; {processes}"

    def tracebacks(self) -> Iterator[str]:
        for path in sorted(self.cluster.layout.log.iterdir()):
            text = path.read_text(errors="replace")
            at = text.find("Traceback")
            if at >= 0:
                yield f"{path.name}: {text[max(0, at - 300) : at + 2000]}"


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m test.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--pause", type=float, default=45.0, help="seconds between reloads and changes of rings"
    )
    parser.add_argument("--folder", default=None, help="where the cluster is made")
    args = parser.parse_args(argv)
    with (
        tempfile.TemporaryDirectory(dir=args.folder, prefix="soak-") as folder,
        Cluster(pathlib.Path(folder) / "saio") as cluster,
    ):
        began = time.monotonic()
        with Soak(cluster, args.seed, began + args.minutes * MINUTE / 3) as soak:
            told, disturbed = began, began
            while time.monotonic() - began < args.minutes * MINUTE:
                time.sleep(1)
                if time.monotonic() - disturbed >= args.pause:
                    soak.disturb()
                    disturbed = time.monotonic()
                if time.monotonic() - told >= MINUTE:
                    told += MINUTE
                    say(soak.look())
            say(soak.look())
        wrong = [*soak.wrong, *soak.watch.grown(), *soak.tracebacks()]
    for text in wrong[:TOLD]:
        print(f"WRONG: {text}")
    print(f"{len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
