"""How each fault begins and ends.

What lives here: breaking one thing of `Machines` and mending it. What never does: which faults come when (`schedule`).
A fault that cannot be had here (no network or disks of their own) is not in `possible`.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import shutil
import signal
import threading
from collections import defaultdict
from collections.abc import Callable

from swift.cli import saio
from test.long_run.schedule import DESTROYING, EVERYWHERE, PASSING, Fault
from test.machines import Machines
from test.network import Rule

OF_NETWORK = ("cut", "cut to", "cut from", "slow", "lossy")
OF_DISKS = ("full", "frozen", "power")
HOUR = 3600.0
BALLAST = "ballast"  # what fills a disk


def possible(machines: Machines) -> frozenset[str]:
    """The kinds that this machine can do."""
    found = {*PASSING, *EVERYWHERE, *DESTROYING}
    if machines.network is None:
        found -= set(OF_NETWORK)
    if not machines.on_xfs:
        found -= set(OF_DISKS)
    return frozenset(found)


class Breaker:
    """Begins and ends faults. `device`: the index of the device of a node that what destroys may work on; `keeps_fragments`: nothing
    of erasure-coded objects is destroyed (nobody would rebuild it)."""

    def __init__(self, machines: Machines, device: int, keeps_fragments: bool) -> None:
        self.machines = machines
        self.device = device
        self.keeps_fragments = keeps_fragments
        self._rules: dict[Fault, list[Rule]] = {}
        self._lock = threading.Lock()
        self._nodes: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)

    def claim(self, fault: Fault) -> threading.Lock:
        """Held from its begin to its end: what the one before it has broken is mended first."""
        with self._lock:
            return self._nodes[0 if fault.kind in EVERYWHERE else fault.node]

    def begin(self, fault: Fault) -> None:
        self._call("_begin_", fault)

    def end(self, fault: Fault) -> None:
        self._call("_end_", fault)

    def _call(self, prefix: str, fault: Fault) -> None:
        if fault.kind in OF_NETWORK:
            self._set_rules(fault, self._rules_of(fault) if prefix == "_begin_" else [])
            return
        name = prefix + fault.kind.replace(" ", "_")
        action: Callable[[Fault], None] | None = getattr(self, name, None)
        if action is not None:
            action(fault)

    # -- the network

    def _rules_of(self, fault: Fault) -> list[Rule]:
        place = f"node{fault.node}"
        to, back = Rule("*", place), Rule(place, "*")
        if fault.kind == "slow":
            return [Rule("*", place, delay=0.02 + 0.6 * fault.choice)]
        loss = {"cut": (1, 1), "cut to": (1, 0), "cut from": (0, 1), "lossy": (0.1, 0.1)}[fault.kind]
        rules = [
            Rule(rule.source, rule.target, loss=share) for rule, share in zip((to, back), loss, strict=True)
        ]
        return [rule for rule in rules if rule.loss]

    def _set_rules(self, fault: Fault, rules: list[Rule]) -> None:
        assert self.machines.network is not None
        with self._lock:
            self._rules[fault] = rules
            self.machines.network.set_rules(*(rule for some in self._rules.values() for rule in some))

    # -- processes

    def _begin_kill(self, fault: Fault) -> None:
        self.machines.kill(f"node{fault.node}")

    def _end_kill(self, fault: Fault) -> None:
        self.machines.revive(f"node{fault.node}")

    def _begin_kill_worker(self, fault: Fault) -> None:
        """A worker, or the process that writes for it; the parent starts another."""
        leader = self.machines.running().get(f"node{fault.node}")
        children = [pid for pid in self.machines.pids(f"node{fault.node}") if pid != leader]
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(sorted(children)[int(fault.choice * len(children))], signal.SIGKILL)

    def _begin_stop(self, fault: Fault) -> None:
        self._signal(f"node{fault.node}", signal.SIGSTOP)

    def _end_stop(self, fault: Fault) -> None:
        self._signal(f"node{fault.node}", signal.SIGCONT)

    def _begin_kill_daemons(self, fault: Fault) -> None:
        self.machines.kill(f"daemons{fault.node}")

    def _end_kill_daemons(self, fault: Fault) -> None:
        self.machines.revive(f"daemons{fault.node}")

    def _proxy(self, fault: Fault) -> str:
        return self.machines.proxies[int(fault.choice * len(self.machines.proxies))]

    def _begin_kill_proxy(self, fault: Fault) -> None:
        self.machines.kill(self._proxy(fault))

    def _end_kill_proxy(self, fault: Fault) -> None:
        self.machines.revive(self._proxy(fault))

    def _begin_stop_proxy(self, fault: Fault) -> None:
        self._signal(self._proxy(fault), signal.SIGSTOP)

    def _end_stop_proxy(self, fault: Fault) -> None:
        self._signal(self._proxy(fault), signal.SIGCONT)

    def _signal(self, name: str, number: int) -> None:
        leader = self.machines.running().get(name)
        for pid in saio._members({leader}) if leader else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    # -- clocks

    def _begin_clock(self, fault: Fault) -> None:
        self.machines.kill(f"node{fault.node}")
        self.machines.revive(f"node{fault.node}", skew=HOUR if fault.choice < 0.5 else -HOUR)

    def _end_clock(self, fault: Fault) -> None:
        self.machines.kill(f"node{fault.node}")
        self.machines.revive(f"node{fault.node}")

    def _begin_clock_of_proxy(self, fault: Fault) -> None:
        self._restart_proxy(self._proxy(fault), 10 * (fault.choice * 2 % 1) - 5)

    def _end_clock_of_proxy(self, fault: Fault) -> None:
        self._restart_proxy(self._proxy(fault), 0.0)

    def _restart_proxy(self, name: str, skew: float) -> None:
        """While it starts, either clock may be the one."""
        self.machines.kill(name)
        self.skews[name] = skew
        self.machines.revive(name, skew=skew)

    @property
    def skews(self) -> dict[str, float]:
        """Seconds that the clocks of proxies are ahead."""
        return self.machines.__dict__.setdefault("skews", {})

    # -- disks

    def _victim(self, fault: Fault) -> tuple[str, pathlib.Path]:
        device = self.machines.layout.devices_of(fault.node)[self.device]
        return device, self.machines.path_of(device)

    def _begin_full(self, fault: Fault) -> None:
        device = self.machines.layout.devices_of(fault.node)[int(fault.choice * 2)]
        path = self.machines.path_of(device)
        left = int(fault.choice * 7) << 15
        with open(path / BALLAST, "wb") as file:
            for step in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        free = os.statvfs(path).f_bavail * 4096 - left
                        if free < step:
                            break
                        at = file.seek(0, os.SEEK_END)
                        os.posix_fallocate(file.fileno(), at, max(step, free // 2 // step * step))

    def _end_full(self, fault: Fault) -> None:
        for device in self.machines.layout.devices_of(fault.node):
            (self.machines.path_of(device) / BALLAST).unlink(missing_ok=True)

    def _begin_frozen(self, fault: Fault) -> None:
        self.machines.freeze(fault.node, self.machines.layout.devices_of(fault.node)[int(fault.choice * 2)])

    def _end_frozen(self, fault: Fault) -> None:
        for device in self.machines.layout.devices_of(fault.node):
            self.machines.thaw(fault.node, device)

    # -- what destroys

    def _begin_empty(self, fault: Fault) -> None:
        _, path = self._victim(fault)
        for entry in path.iterdir():
            if not (self.keeps_fragments and entry.name == "objects-2") and entry.name != BALLAST:
                shutil.rmtree(entry, ignore_errors=True)

    def _begin_replace(self, fault: Fault) -> None:
        self.machines.kill(f"node{fault.node}")
        self._begin_empty(fault)

    def _end_replace(self, fault: Fault) -> None:
        self.machines.revive(f"node{fault.node}")

    def _begin_power(self, fault: Fault) -> None:
        device, _ = self._victim(fault)
        self.machines.kill(f"node{fault.node}")
        self.machines.kill(f"daemons{fault.node}")
        self.machines.cut_power_of(fault.node, device)

    def _end_power(self, fault: Fault) -> None:
        self.machines.revive(f"node{fault.node}")
        self.machines.revive(f"daemons{fault.node}")

    def _begin_flip(self, fault: Fault) -> None:
        """One bit of some files: bodies, attributes, hashes, pending rows, the first page of a database."""
        _, path = self._victim(fault)
        chance = random.Random(fault.choice)
        for pattern in ("objects*/*/*/*/*.data", "objects*/*/hashes.pkl", "containers/*/*/*/*"):
            files = sorted(
                file
                for file in path.glob(pattern)
                if not (self.keeps_fragments and "objects-2" in file.parts)
            )
            for file in chance.sample(files, min(3, len(files))):
                with contextlib.suppress(OSError):
                    _flip(file, chance)


def _flip(file: pathlib.Path, chance: random.Random) -> None:
    if file.suffix == ".data" and chance.random() < 0.3:
        name = chance.choice([name for name in os.listxattr(file) if name.startswith("user.swift.metadata")])
        value = bytearray(os.getxattr(file, name))
        value[chance.randrange(len(value))] ^= 1 << chance.randrange(8)
        os.setxattr(file, name, bytes(value))
        return
    size = 16 if file.suffix == ".db" else file.stat().st_size
    if size and file.suffix in (".data", ".pkl", ".db", ".pending"):
        with open(file, "r+b") as opened:
            opened.seek(chance.randrange(size))
            byte = opened.read(1)
            opened.seek(-1, os.SEEK_CUR)
            opened.write(bytes([byte[0] ^ 1 << chance.randrange(8)]))
