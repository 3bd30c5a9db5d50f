"""A network between namespaces whose wires are held by a process of ours: cut either way, slow, or losing packets.

Each place of the network is a namespace of its own with one address; its only way out is a TUN device, and all of them end in one
process, the switch, which passes packets on as it is told. So a link can be cut one way, delayed or made to lose packets with
nothing but root and /dev/net/tun (no netem, no firewall). A packet on a link that is cut goes nowhere and nobody is told, as with
a real one.

What lives here: the namespaces, the switch, and sockets inside of a namespace. What never does: what runs in them.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import itertools
import json
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
CLONE_NEWNET = 0x40000000
MTU = 65000
_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Rule:
    """What happens to packets from one place to another ("*": any). `loss`: the share that is lost, 1 for a cut; `delay`: seconds."""

    source: str
    target: str
    loss: float = 0.0
    delay: float = 0.0


def why_not() -> str:
    """What is missing for such a network here; '' for nothing."""
    if os.geteuid():
        return "a network of its own needs root"
    for tool in ("ip", "nsenter"):
        if not shutil.which(tool):
            return f"a network of its own needs the command {tool}"
    if not os.path.exists("/dev/net/tun"):
        return "a network of its own needs /dev/net/tun"
    name = f"swift-probe-{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True)
    return f"no network namespaces here: {done.stderr.strip()}" if done.returncode else ""


class Network:
    """Places and the wires between them; use as a context manager. `places`: name → last number of its address."""

    def __init__(self, places: dict[str, int]) -> None:
        self.places = places
        mark = (os.getpid() * 16 + next(_numbers)) % 65536
        self.subnet = f"10.{mark >> 8}.{mark & 255}"
        self._prefix = f"swift-{os.getpid()}-{mark}-"
        self._switch: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def address(self, place: str) -> str:
        return f"{self.subnet}.{self.places[place]}"

    def _path(self, place: str) -> str:
        return f"/run/netns/{self._prefix}{place}"

    def __enter__(self) -> Network:
        try:
            for place in self.places:
                _run("ip", "netns", "add", self._prefix + place)
            told = {place: (self._path(place), self.address(place)) for place in self.places}
            self._switch = subprocess.Popen(
                [sys.executable, __file__, json.dumps(told)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            self._hear()
            for place in self.places:
                inside = ["ip", "-n", self._prefix + place]
                _run(*inside, "link", "set", "lo", "up")
                _run(*inside, "address", "add", f"{self.address(place)}/24", "dev", "wire")
                _run(*inside, "link", "set", "wire", "up", "mtu", str(MTU))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self._switch is not None:
            self._switch.kill()
            self._switch.communicate()
            self._switch = None
        for place in self.places:
            subprocess.run(["ip", "netns", "delete", self._prefix + place], capture_output=True)

    def _hear(self) -> None:
        assert self._switch is not None and self._switch.stdout is not None
        line = self._switch.stdout.readline()
        if line != "done\n":
            raise OSError(f"the switch said {line!r}")

    def set_rules(self, *rules: Rule) -> None:
        """These and no others from now on; of several that fit, all count."""
        with self._lock:
            assert self._switch is not None and self._switch.stdin is not None
            self._switch.stdin.write(json.dumps([asdict(rule) for rule in rules]) + "\n")
            self._switch.stdin.flush()
            self._hear()

    def command(self, place: str, words: list[str]) -> list[str]:
        """A command line that runs `words` there."""
        return ["nsenter", f"--net={self._path(place)}", "--", *words]

    @contextlib.contextmanager
    def inside(self, place: str) -> Iterator[None]:
        """Sockets that this thread makes meanwhile are of that place."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _enter(self._path(place))
            try:
                yield
            finally:
                _set_namespace(home)
        finally:
            os.close(home)

    def connect(self, place: str, address: tuple[str, int], seconds: float) -> socket.socket:
        with self.inside(place):
            sock = socket.socket()
        try:
            sock.settimeout(seconds)
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")


def _set_namespace(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _enter(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        _set_namespace(fd)
    finally:
        os.close(fd)


# -- the switch ------------------------------------------------------------------------------------------------------------


def _open_tun() -> int:
    """A TUN device of the namespace that the process is in; it may be read and written from any other."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", b"wire", IFF_TUN | IFF_NO_PI))
    return fd


class Switch:
    """Reads packets from all devices and writes them to where they go, as the rules say."""

    def __init__(self, places: dict[str, tuple[str, str]]) -> None:
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.devices: dict[int, str] = {}
        self.by_address: dict[bytes, tuple[str, int]] = {}
        for place, (path, address) in places.items():
            _enter(path)
            fd = _open_tun()
            self.devices[fd] = place
            self.by_address[socket.inet_aton(address)] = place, fd
        _set_namespace(home)
        self.rules: list[Rule] = []
        self.fates: dict[tuple[str, str], tuple[float, float]] = {}
        self.later: list[tuple[float, int, int, bytes]] = []
        self.count = 0

    def run(self) -> None:
        poll = select.epoll()
        poll.register(0, select.EPOLLIN)
        for fd in self.devices:
            poll.register(fd, select.EPOLLIN)
        print("done", flush=True)
        while True:
            wait = max(0.0, self.later[0][0] - time.monotonic()) if self.later else None
            for fd, _ in poll.poll(wait):
                if fd:
                    self.take(fd)
                elif not self.obey():
                    return
            now = time.monotonic()
            while self.later and self.later[0][0] <= now:
                _, _, fd, packet = heapq.heappop(self.later)
                self.put(fd, packet)

    def obey(self) -> bool:
        line = sys.stdin.readline()
        if line:
            self.rules = [Rule(**rule) for rule in json.loads(line)]
            self.fates.clear()
            print("done", flush=True)
        return bool(line)

    def take(self, fd: int) -> None:
        source = self.devices[fd]
        for _ in range(64):
            try:
                packet = os.read(fd, MTU + 100)
            except BlockingIOError:
                return
            target, out = self.by_address.get(packet[16:20], ("", -1))
            if out < 0 or packet[0] >> 4 != 4:
                continue
            fate = self.fates.get((source, target))
            if fate is None:
                fate = self.fates[source, target] = self.fate(source, target)
            loss, delay = fate
            if loss and random.random() < loss:
                continue
            if delay:
                self.count += 1
                heapq.heappush(self.later, (time.monotonic() + delay, self.count, out, packet))
            else:
                self.put(out, packet)

    def fate(self, source: str, target: str) -> tuple[float, float]:
        """(share lost, delay) of packets of this link."""
        kept, delay = 1.0, 0.0
        for rule in self.rules:
            if rule.source in (source, "*") and rule.target in (target, "*"):
                kept *= 1 - rule.loss
                delay += rule.delay
        return 1 - kept, delay

    def put(self, fd: int, packet: bytes) -> None:
        with contextlib.suppress(OSError):  # its buffer is full, or it goes down: lost, as on any wire
            os.write(fd, packet)


if __name__ == "__main__":
    Switch(json.loads(sys.argv[1])).run()
