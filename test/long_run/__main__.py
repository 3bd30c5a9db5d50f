"""The rounds of a long run, and its report. Exits 0 if nothing was lost, 1 if something was, with all that is wrong printed."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter

from swift.cli.saio_layout import DAEMONS
from test.long_run import schedule, sharded
from test.long_run.clients import Client, Notes
from test.long_run.faults import Breaker, possible
from test.long_run.replicas import Found, Replicas
from test.long_run.sharded import Sharded
from test.machines import Machines

CONTAINERS = {"gold": ["/gold-a", "/gold-b"], "ec42": ["/ec42-a"]}
INDEX = {"gold": 0, "ec42": 2}
OPTIONS = {
    "app:proxy-server": "error_suppression_interval = 5\nnode_timeout = 5",
    "object-updater": "missing_container_retry = 5",
    "container-updater": "resend_interval = 60",  # what heals counts that came late
}
OWN_MOUNTS = "SWIFT_LONG_RUN_HAS_OWN_MOUNTS"
SLOW = 10.0  # seconds to become whole, of which it is told what they were for
TOLD = 20  # of what is wrong, so many are printed


class LongRun:
    def __init__(self, machines: Machines, args: argparse.Namespace) -> None:
        self.machines = machines
        self.seed: int = args.seed
        self.clients: int = args.clients
        self.round_seconds: float = args.round
        self.patience: float = args.patience
        self.policies = {
            container: INDEX[policy] for policy in args.policy.split(",") for container in CONTAINERS[policy]
        }
        self.rebuilds = "object-reconstructor" in DAEMONS["object"]
        self.audits = "object-auditor" in DAEMONS["object"]
        self.notes = Notes()
        self.faults: Counter[str] = Counter()
        self.settling: list[float] = []
        self.last_wrong = ""  # what took longest to become whole in this round
        self.replicas = Replicas(machines, self.policies, self.rebuilds)
        if args.sharding:
            ring = self.replicas.rings["container"]
            self.replicas.sharded = Sharded(machines, list(self.policies), ring)

    def prepare(self) -> None:
        for container, index in self.policies.items():
            policy = next(name for name, number in INDEX.items() if number == index)
            answer = self.machines.ask(
                self.machines.proxies[0], "PUT", container, headers={"X-Storage-Policy": policy}
            )
            if answer.status not in (201, 202):
                raise OSError(f"PUT {container}: {answer}")

    def round(self, number: int) -> None:
        """Clients and faults at the same time; then all must become whole. What does not is in `notes.wrong`."""
        streams = [
            schedule.operations(self.seed, number, client, len(self.policies), len(self.machines.proxies))
            for client in range(self.clients)
        ]
        clients = [
            Client(self.machines, self.notes, list(self.policies), stream, (number * 100 + client) * 100_000)
            for client, stream in enumerate(streams)
        ]
        if self.replicas.sharded is not None:
            self.replicas.sharded.switch(number)
        for client in clients:
            client.start()
        try:
            self.break_things(number)
        finally:
            for client in clients:
                client.stopping.set()
            for client in clients:
                client.join()
        self.machines.make_whole()
        now = time.time()
        for key in self.notes.keys.values():
            key.quiesce(now)
        self.settle()

    def break_things(self, number: int) -> None:
        faults = schedule.faults(self.seed, number, self.round_seconds, possible(self.machines))
        device = schedule.device(self.seed, number) if self.rebuilds else 0
        breaker = Breaker(self.machines, device, not self.rebuilds)
        began = time.monotonic()

        def run(fault: schedule.Fault) -> None:
            time.sleep(max(0.0, began + fault.begin - time.monotonic()))
            with breaker.claim(fault):
                try:
                    say(f"round {number}: {fault}")
                    self.faults[fault.kind] += 1
                    breaker.begin(fault)
                    time.sleep(max(0.0, began + fault.end - time.monotonic()))
                except BaseException as err:
                    self.notes.complain(f"{fault} could not be made: {err!r}")
                finally:
                    try:
                        breaker.end(fault)
                    except BaseException as err:
                        self.notes.complain(f"{fault} could not be ended: {err!r}")

        threads = [threading.Thread(target=run, args=(fault,), daemon=True) for fault in faults]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(max(0.0, began + self.round_seconds - time.monotonic()))

    def settle(self) -> None:
        """Wait until nothing is wrong any more, for as long as is left of our patience."""
        began = time.monotonic()
        self.last_wrong = ""
        found: dict[tuple[int, str], Found] = {}
        while True:
            try:
                found, wrong = self._look()
            except (http.client.HTTPException, OSError) as err:  # a machine with much else to do
                wrong = [f"no answer: {err!r}"]
            took = time.monotonic() - began
            if not wrong or took > self.patience:
                break
            self.last_wrong = wrong[0]
            time.sleep(1)
        self.settling.append(took)
        if self.replicas.sharded is not None:
            self.replicas.sharded.note_states()
        for text in wrong:
            self.notes.complain(f"{took:.0f} s later: {text}")
        for item, there in found.items():
            self.notes.keys[item].settle(there.seen)

    def _look(self) -> tuple[dict[tuple[int, str], Found], list[str]]:
        """What is read of each key, and what is wrong."""
        found: dict[tuple[int, str], Found] = {}
        if not self.audits:
            self.replicas.touch_all()
        wrong = self.replicas.unsent() or self.replicas.objects()
        if not wrong:
            found, wrong = self.replicas.read(self.notes)
        if not wrong:
            wrong = self.replicas.listings(self.notes, found)
        return found, wrong

    def report(self, seconds: float) -> dict[str, object]:
        shards = self.replicas.sharded
        requests = {k: v for k, v in self.notes.counts.items() if k.split()[0].isupper()}
        return {
            "seed": self.seed,
            "seconds": round(seconds),
            "rounds": len(self.settling),
            "policies": sorted({name for name, index in INDEX.items() if index in self.policies.values()}),
            "requests": sum(requests.values()),
            "by status": dict(sorted(requests.items())),
            "faults": sum(self.faults.values()),
            "by kind": dict(sorted(self.faults.items())),
            "behind while it was broken": {k: self.notes.counts[k] for k in ("old", "missed")},
            "longest request": {k: round(v, 1) for k, v in sorted(self.notes.longest.items())},
            "seconds until all was whole": [round(took) for took in self.settling],
            "replicas by state at the end of rounds": shards.states if shards is not None else {},
            "not tried here": self.machines.lacks,
            "wrong": len(self.notes.wrong),
        }


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m test.long_run")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (rounds are finished)")
    parser.add_argument(
        "--seed", type=int, default=None, help="of an earlier run, to have its schedule again"
    )
    parser.add_argument("--policy", default="gold,ec42", help="gold, ec42, or both with a comma")
    parser.add_argument("--round", type=float, default=45.0, help="seconds of faults in a round")
    parser.add_argument(
        "--patience", type=float, default=150.0, help="seconds within which all must be whole"
    )
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--disks", choices=("xfs", "folder"), default="xfs")
    parser.add_argument("--on-loopback", action="store_true", help="no network of its own")
    parser.add_argument(
        "--sharding", action="store_true", help="containers are split, merged and put together again"
    )
    parser.add_argument("--keep", action="store_true", help="do not remove the folder")
    args = parser.parse_args(argv)
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1_000_000)
    return args


def enter_own_mounts() -> None:
    """Begin anew where nobody else sees our file systems: another's copy of a mount would keep one alive that is to lose its power."""
    if os.geteuid() or os.environ.get(OWN_MOUNTS) or not shutil.which("unshare"):
        return
    os.environ[OWN_MOUNTS] = "yes"
    words = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "test.long_run"]
    os.execvp(words[0], [*words, *sys.argv[1:]])


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    enter_own_mounts()
    home = pathlib.Path(tempfile.mkdtemp(prefix="swift-long-run-"))
    say(f"seed {args.seed} (python -m test.long_run --seed {args.seed}), in {home}")
    began = time.monotonic()
    options = {**OPTIONS, "container-sharder": sharded.OPTIONS} if args.sharding else OPTIONS
    machines = Machines(home / "saio", args.disks, not args.on_loopback, options, quick=True)
    for text in machines.lacks:
        say(f"left out: {text}")
    with machines:
        run = LongRun(machines, args)
        run.prepare()
        number = 0
        while not run.notes.wrong and (number == 0 or time.monotonic() - began < args.minutes * 60):
            number += 1
            try:
                run.round(number)
            except BaseException:
                for text in run.notes.wrong[:TOLD]:
                    print(f"WRONG: {text}")
                raise
            last = f"; last of all {run.last_wrong[:200]}" if run.settling[-1] > SLOW else ""
            say(f"round {number} is whole after {run.settling[-1]:.0f} s{last}")
        traces = [
            f"{path.name}: {line}"
            for path in sorted(machines.layout.log.iterdir())
            for line in path.read_text(errors="replace").splitlines()
            if "Traceback" in line
        ]
        run.notes.wrong += traces
        if run.notes.wrong and os.environ.get("SWIFT_LONG_RUN_WAIT"):
            say("waiting, so that one may look around")
            time.sleep(float(os.environ["SWIFT_LONG_RUN_WAIT"]))
    print(json.dumps(run.report(time.monotonic() - began), indent=1))
    for text in run.notes.wrong[:TOLD]:
        print(f"WRONG: {text}")
    if args.keep or run.notes.wrong:
        say(f"logs and configuration are kept in {home}")
    else:
        shutil.rmtree(home)
    return 1 if run.notes.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
