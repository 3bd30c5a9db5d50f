"""A cluster whose nodes are as far apart as this machine allows: each in a network namespace and on file systems of its own.

What lives here: its processes (two proxies, four nodes, the daemons of each node), its disks, which can be frozen, filled up and
have their power cut, and its network. What never does: when any of that happens, and what must be true then.
Where namespaces or file systems of its own can't be had, `lacks` says what is missing and the cluster is a plain one.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from swift.cli import saio
from swift.cli.saio_layout import DAEMONS, NODES, SERVERS, Layout
from test import network
from test.cluster import Answer, Cluster

ROOT = pathlib.Path(__file__).resolve().parents[1]
IMAGE = 320 << 20  # bytes of a file system, sparse; XFS takes no less than 300 MB
PROXIES = 2


@dataclass(frozen=True)
class ApartLayout(Layout):
    """Nodes and proxies have addresses of their own in `subnet`; '': they are on loopback."""

    subnet: str = ""

    def storage_address(self, server: str, node: int) -> tuple[str, int]:
        if not self.subnet:
            return super().storage_address(server, node)
        return f"{self.subnet}.{node}", self.base_port + SERVERS[server]

    def proxy_address(self, number: int) -> tuple[str, int]:
        if not self.subnet:
            return self.ip, self.port + number - 1
        return f"{self.subnet}.{100 + number}", self.port


class Machines(Cluster):
    """Use as a context manager. `home`: an empty folder; `disks`: "xfs" or "folder"; `apart`: in namespaces.

    `options`: name of a section → options that are added to it, in all files that have it; `quick`: daemons make a pass every 3 s.
    """

    is_patient = False

    def __init__(
        self,
        home: pathlib.Path,
        disks: str = "xfs",
        apart: bool = True,
        options: dict[str, str] | None = None,
        quick: bool = False,
    ) -> None:
        super().__init__(home)
        self.lacks = []
        self.options = options or {}
        self.quick = quick
        self.daemons = tuple(f"daemons{node}" for node in NODES)
        self.proxies = tuple(f"proxy{number}" for number in range(1, PROXIES + 1))
        self.network: network.Network | None = None
        self._stack = contextlib.ExitStack()
        self._images: pathlib.Path | None = None
        if apart and (why := network.why_not()):
            self.lacks.append(why)
            apart = False
        if apart:
            places = {f"node{node}": node for node in NODES}
            self.network = network.Network(
                {**places, **{f"front{number}": 100 + number for number in range(1, PROXIES + 1)}}
            )
        old = self.layout
        self.layout: ApartLayout = ApartLayout(
            old.home,
            port=8080 if apart else old.port,
            base_port=6200 if apart else old.base_port,
            subnet=self.network.subnet if self.network else "",
        )
        self.on_xfs = disks == "xfs"
        if self.on_xfs and (os.geteuid() or not shutil.which("mkfs.xfs") or not shutil.which("xfs_io")):
            self.lacks.append("file systems of their own need root, mkfs.xfs and xfs_io")
            self.on_xfs = False

    # -- start and end

    trusts_everybody = True
    """Storage servers are asked over connections that sign nothing, and clocks are wrong by more than signatures hold."""

    def __enter__(self) -> Machines:
        try:
            if self.network is not None:
                self._stack.enter_context(self.network)
            self.write()
            if self.on_xfs:
                self._make_disks()
            for name in (*self.proxies, *(f"node{node}" for node in NODES)):
                self.spawn(name)
            for name in self.running():
                self.wait_for(name)
            for name in self.daemons:
                self.spawn(name)
            self.token = self.authenticate()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for node in NODES:
            for device in self.layout.devices_of(node):
                self.thaw(node, device)
        super().__exit__(*exc)
        if self._images is not None:
            for image in self._images.iterdir():
                path = self.path_of(image.name)
                if os.path.ismount(path):
                    subprocess.run(["umount", "-l", str(path)], check=False)
            shutil.rmtree(self._images)
            self._images = None
        self._stack.close()

    def write(self) -> None:
        """All files of the cluster, those of the further proxies too."""
        super().write()
        if self.trusts_everybody:
            self.trust_everybody()
        for number, name in enumerate(self.proxies, 1):
            ip, port = self.layout.proxy_address(number)
            text = self.layout.proxy_conf.read_text().replace("proxy.log", f"{name}.log")
            text = re.sub(r"(?m)^bind_ip = .*$", f"bind_ip = {ip}", text)
            self.conf(name).write_text(re.sub(r"(?m)^bind_port = .*$", f"bind_port = {port}", text))
        for path in [*map(self.conf, self.proxies), *self.layout.daemon_confs()]:
            text = path.read_text()
            for section, lines in self.options.items():
                text = _without(text, section, lines)
                text = re.sub(rf"(?m)^\[{re.escape(section)}\]\n(use = .*\n)?", rf"\g<0>{lines}\n", text)
            if self.quick:
                text = text.replace("\ninterval = 30\n", "\ninterval = 3\n")
            path.write_text(text)
        self._written = True

    def conf(self, proxy: str) -> pathlib.Path:
        return self.layout.etc / f"{proxy}-server.conf"

    # -- disks

    def devices(self) -> list[tuple[int, str]]:
        """(node, name of the device)"""
        return [(node, device) for node in NODES for device in self.layout.devices_of(node)]

    def path_of(self, device: str) -> pathlib.Path:
        number = int(device[3:])
        return self.layout.disks / str((number - 1) % len(NODES) + 1) / device

    def _make_disks(self) -> None:
        where = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self._images = pathlib.Path(tempfile.mkdtemp(prefix="swift-machines-", dir=where))
        for _, device in self.devices():
            image = self._images / device
            with open(image, "wb") as file:
                file.truncate(IMAGE)
            subprocess.run(["mkfs.xfs", "-q", str(image)], check=True, capture_output=True)
            self._mount(device)

    def _mount(self, device: str) -> None:
        assert self._images is not None
        image, path = self._images / device, self.path_of(device)
        subprocess.run(["mount", "-o", "loop,noatime", str(image), str(path)], check=True)

    def cut_power_of(self, node: int, device: str) -> None:
        """The disk of a node that does not run forgets all that was not synced, and comes back."""
        path = str(self.path_of(device))
        subprocess.run(["xfs_io", "-x", "-c", "shutdown", path], check=True, capture_output=True)
        end = time.monotonic() + 60
        while subprocess.run(["umount", path], capture_output=True).returncode:
            if time.monotonic() > end:
                raise OSError(f"{path} cannot be unmounted: {_users(path)} use it")
            time.sleep(0.05)
        self._mount(device)

    def freeze(self, node: int, device: str) -> None:
        subprocess.run(["fsfreeze", "-f", str(self.path_of(device))], check=True)

    def thaw(self, node: int, device: str) -> None:
        if self.on_xfs and os.path.ismount(self.path_of(device)):
            subprocess.run(["fsfreeze", "-u", str(self.path_of(device))], capture_output=True)

    # -- processes

    def place_of(self, name: str) -> str:
        return f"front{name[5:]}" if name.startswith("proxy") else f"node{name[-1]}"

    def running(self) -> dict[str, int]:
        return saio._running(self.layout)

    def spawn(self, name: str, skew: float = 0.0) -> None:
        """Starts a node, a proxy or the daemons of a node, with a clock that is `skew` seconds ahead."""
        if name.startswith("proxy"):
            module, confs = "swift.cli.node", [self.conf(name)]
        elif name.startswith("daemons"):
            module = "swift.cli.daemons"
            confs = [self.layout.etc / f"{server}-server" / f"{name[-1]}.conf" for server in DAEMONS]
        else:
            module, confs = "swift.cli.node", self.layout.storage_confs(int(name[-1]))
        words = [sys.executable, "-m", module, *map(str, confs)]
        if skew:
            words[2:3] = ["test.long_run.skewed", str(skew), module]
        if self.network is not None:
            words = self.network.command(self.place_of(name), words)
        with open(self.layout.log / f"{name}.out", "a") as out:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        (self.layout.run / f"{name}.pid").write_text(f"{process.pid} {saio._start_time(process.pid)}\n")

    def addresses_of(self, name: str) -> list[tuple[str, int]]:
        if name.startswith("daemons"):
            return []
        if name.startswith("proxy"):
            return [self.layout.proxy_address(int(name[5:]))]
        return [self.layout.storage_address(server, int(name[4:])) for server in SERVERS]

    def wait_for(self, name: str) -> None:
        """Returns when it accepts connections of its neighbours (an error after 60 s)."""
        end = time.monotonic() + 60
        for address in self.addresses_of(name):
            while True:
                try:
                    self.connect(self.place_of(name), address, 1).close()
                    break
                except OSError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.05)

    def revive(self, name: str, servers: object = (), skew: float = 0.0) -> None:
        self.spawn(name, skew)
        self.wait_for(name)

    def make_whole(self) -> None:
        """Everything runs with the right time, the network is whole, and the proxies have forgotten what failed."""
        if self.network is not None:
            self.network.set_rules()
        for name in self.proxies:
            self.kill(name)
        running = self.running()
        everything = [*self.proxies, *(f"node{node}" for node in NODES), *self.daemons]
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(self.revive, [name for name in everything if name not in running]))

    # -- requests

    def connect(self, place: str, address: tuple[str, int], seconds: float = 30.0) -> socket.socket:
        if self.network is None:
            return socket.create_connection(address, seconds)
        return self.network.connect(place, address, seconds)

    def connection(self, proxy: str, seconds: float = 30.0) -> http.client.HTTPConnection:
        """To a proxy, as from the machine that it is on."""
        return _Connection(self, self.place_of(proxy), self.addresses_of(proxy)[0], seconds)

    def storage_connection(self, node: int, port: int, seconds: float = 30.0) -> http.client.HTTPConnection:
        address = (self.layout.storage_address("object", node)[0], port)
        return _Connection(self, f"node{node}", address, seconds)

    def ask(
        self,
        proxy: str,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        seconds: float = 30.0,
    ) -> Answer:
        """One request of test:tester to a proxy; path is below /v1/AUTH_test."""
        connection = self.connection(proxy, seconds)
        try:
            sent = {"X-Auth-Token": self.token, **(headers or {})}
            connection.request(method, f"/v1/AUTH_test{path}", body=body, headers=sent)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def raw(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = self.connection(self.proxies[0])
        try:
            connection.request(method, path, body=body, headers=headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, machines: Machines, place: str, address: tuple[str, int], seconds: float) -> None:
        super().__init__(*address, timeout=seconds)
        self._machines, self._place = machines, place

    def connect(self) -> None:
        self.sock = self._machines.connect(self._place, (self.host, self.port), self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _without(text: str, section: str, lines: str) -> str:
    """The text of a file without those options of a section that `lines` sets."""
    head, mark, rest = text.partition(f"[{section}]\n")
    body, bracket, others = rest.partition("\n[")
    for line in lines.splitlines():
        body = re.sub(rf"(?m)^{re.escape(line.partition(' = ')[0])} = .*(\n|$)", "", body)
    return head + mark + body + bracket + others


def _users(path: str) -> list[str]:
    """The processes that have files below a path open, or mapped."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            links = [os.readlink(link) for link in (process / "fd").iterdir()]
            if any(link.startswith(path) for link in links) or path in (process / "maps").read_text():
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append(f"{process.name} {words}")
    return found
