"""Object servers without a proxy: some nodes of a ring in processes of their own, each ours or the reference's.

What lives here: their files, processes and disks, and a small client. What never does: assertions.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import shutil
import signal
import subprocess
import sysconfig
import time
from urllib.parse import quote

from swift.obj import in_hand
from swift.obj.ssync import turnstile
from swift.ring.builder import RingBuilder
from swift.ring.lookup import Ring
from test.cluster import wait_for_port
from test.ports import free_ports, is_free

OURS = pathlib.Path(os.environ.get("OURS_BIN", sysconfig.get_path("scripts")))
SWIFT_CONF = """[swift-hash]
swift_hash_path_prefix = changeme
swift_hash_path_suffix = changeme

[storage-policy:0]
name = gold
default = yes

[storage-policy:1]
name = silver
"""
DATA = (".data", ".meta", ".ts")
# Daemons of the reference read /etc/swift/swift.conf whatever their configuration says: each gets an /etc of its own to see.
IN_OWN_ETC = (
    'mount -t tmpfs none "$1" && mkdir "$1/upper" "$1/work" && '
    'mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" /etc && '
    'mkdir -p /etc/swift && cp "$2" /etc/swift/swift.conf && shift 2 && exec "$@"'
)


class ObjectNodes:
    """Nodes 1 to `count`, each with the disk `sda` and in a zone of its own; use as a context manager.

    `kinds`: the folder of commands of each node. `method`: how replicators push; rsync brings a daemon for all nodes.
    """

    def __init__(
        self,
        home: pathlib.Path,
        kinds: list[pathlib.Path],
        method: str = "ssync",
        replicas: int = 3,
        regions: list[int] | None = None,
        part_power: int = 4,
    ) -> None:
        self.home = home
        self.kinds = kinds
        self.nodes = range(1, len(kinds) + 1)
        self.rsync_port, self.base = free_ports()
        while not all(is_free(f"127.0.0.{node}", self.base + node) for node in self.nodes):
            self.rsync_port, self.base = free_ports()
        self.rsyncd: subprocess.Popen | None = None
        self.method = method
        self.processes: dict[int, subprocess.Popen] = {}
        self.regions = regions or [1] * len(kinds)
        home.mkdir(parents=True, exist_ok=True)
        (home / "swift.conf").write_text(SWIFT_CONF)
        for node in self.nodes:
            self.disk(node).mkdir(parents=True)
            (home / f"cache{node}").mkdir()
            self.configure(node)
        for policy, name in enumerate(("object", "object-1")):
            builder = RingBuilder(part_power, min(replicas, len(kinds)) if not policy else 2, 0)
            for node in self.nodes:
                builder.add_dev(self.device(node, 1.0))
            builder.rebalance(seed="1")
            builder.save(str(home / f"{name}.builder"))
            builder.get_ring().save(str(home / f"{name}.ring.gz"))
        self.ring = self.open_ring()

    def configure(self, node: int) -> None:
        """Write a node's configuration. No debug messages: daemons of the reference may hang over those of their threads."""
        self.conf(node).write_text(
            f"[DEFAULT]\nuser = root\ndevices = {self.home}/node{node}\nmount_check = false\n"
            f"bind_ip = 127.0.0.{node}\nbind_port = {self.base + node}\nworkers = 1\nswift_dir = {self.home}\n"
            f"recon_cache_path = {self.home}/cache{node}\nconn_timeout = 10\nnode_timeout = 60\nlog_level = INFO\nreclaim_age = 1000000000\n\n"
            "[pipeline:main]\npipeline = object-server\n\n"
            "[app:object-server]\nuse = egg:swift#object\n\n"
            f"[object-replicator]\nsync_method = {self.method}\nconcurrency = 4\n"
            f"rsync_module = rsync://127.0.0.1:{self.rsync_port}/object{{replication_port}}\n"
        )

    def _start_rsync(self) -> None:
        """One daemon with a module for each node, as in all-in-one set-ups."""
        text = f"uid = root\ngid = root\nuse chroot = no\npid file = {self.home}/rsyncd.pid\n"
        for node in self.nodes:
            text += f"[object{self.base + node}]\npath = {self.home}/node{node}\nread only = false\n"
        (self.home / "rsyncd.conf").write_text(text)
        command = ["rsync", "--daemon", "--no-detach", f"--config={self.home}/rsyncd.conf"]
        with open(self.home / "rsyncd.log", "ab") as log:
            self.rsyncd = subprocess.Popen(
                [*command, "--address=127.0.0.1", f"--port={self.rsync_port}", "--log-file=/dev/stderr"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for_port("127.0.0.1", self.rsync_port)

    def device(self, node: int, weight: float) -> dict[str, object]:
        """As ring builders have it."""
        return {
            "region": self.regions[node - 1],
            "zone": node,
            "ip": f"127.0.0.{node}",
            "port": self.base + node,
            "replication_ip": f"127.0.0.{node}",
            "replication_port": self.base + node,
            "device": "sda",
            "weight": weight,
            "meta": "",
        }

    def open_ring(self, policy: int = 0) -> Ring:
        name = "object" if not policy else f"object-{policy}"
        return Ring(str(self.home / f"{name}.ring.gz"))

    def conf(self, node: int) -> pathlib.Path:
        return self.home / f"object-server-{node}.conf"

    def disk(self, node: int) -> pathlib.Path:
        return self.home / f"node{node}" / "sda"

    # -- processes

    def __enter__(self) -> ObjectNodes:
        for node in self.nodes:
            self.start(node)
        if self.method == "rsync":
            self._start_rsync()
        return self

    def __exit__(self, *exc: object) -> None:
        for node in list(self.processes):
            self.stop(node)
        self._take_away()
        if self.rsyncd is not None:
            self.rsyncd.kill()
            self.rsyncd.wait()

    def _take_away(self) -> None:
        """What the servers shared in memory."""
        before, in_hand.SHARED_MEMORY = in_hand.SHARED_MEMORY, "/dev/shm"
        for node in self.nodes:
            in_hand.take_away(f"{self.home}/node{node}", unreported=True)
            turnstile.take_away(f"{self.home}/node{node}")
        in_hand.SHARED_MEMORY = before

    def start(self, node: int) -> None:
        with open(self.home / f"server{node}.log", "ab") as log:
            self.processes[node] = subprocess.Popen(
                [*self._command(node, "swift-object-server"), str(self.conf(node)), "-v"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ(node),
                start_new_session=True,
            )
        wait_for_port(f"127.0.0.{node}", self.base + node)
        if self.processes[node].poll() is not None:
            raise AssertionError(f"node {node} has ended: another server has its address")

    def stop(self, node: int) -> None:
        """kill -9."""
        process = self.processes.pop(node)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _command(self, node: int, name: str) -> list[str]:
        folder = self.kinds[node - 1]
        if folder == OURS:
            return [str(folder / name)]
        own = self.home / f"etc{node}"
        own.mkdir(exist_ok=True)
        conf = str(self.home / "swift.conf")
        return ["unshare", "-m", "sh", "-c", IN_OWN_ETC, "sh", str(own), conf, str(folder / name)]

    def _environ(self, node: int) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return {**environ, "PATH": f"{self.kinds[node - 1]}:{os.environ['PATH']}", "PYTHONUTF8": "1"}

    def replicate(self, *nodes: int, args: tuple[str, ...] = (), check: bool = True) -> str:
        """One pass of each node's replicator, one after the other; what they said."""
        said = ""
        for node in nodes or self.nodes:
            done = subprocess.run(
                [*self._command(node, "swift-object-replicator"), str(self.conf(node)), "once", "-v", *args],
                capture_output=True,
                text=True,
                timeout=300,
                env=self._environ(node),
                start_new_session=True,
            )
            said += done.stdout + done.stderr
            if check and done.returncode:
                raise AssertionError(f"exit status {done.returncode}: {said}")
        return said

    # -- objects

    def primaries(self, name: str, policy: int = 0) -> list[int]:
        """The nodes that an object `a/c/<name>` belongs to."""
        ring = self.ring if not policy else self.open_ring(policy)
        return [node["zone"] for node in ring.get_nodes("a", "c", name)[1]]

    def handoff(self, name: str) -> int:
        """A node that it does not belong to."""
        return next(node for node in self.nodes if node not in self.primaries(name))

    def request(
        self, node: int, method: str, name: str, body: bytes = b"", timestamp: object = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of one request about `a/c/<name>`; header names with _ for -."""
        part = self.ring.get_part("a", "c", name)
        return self.request_to(node, "sda", part, method, name, body, timestamp, **headers)

    def request_to(
        self,
        node: int,
        disk: str,
        part: int,
        method: str,
        name: str,
        body: bytes = b"",
        timestamp: object = None,
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """As `request`, where the disk and the partition are said."""
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        sent["X-Timestamp"] = str(timestamp or f"{time.time():.5f}")
        if method == "PUT":
            sent.setdefault("Content-Type", "text/plain")
        connection = http.client.HTTPConnection(f"127.0.0.{node}", self.base + node, timeout=120)
        try:
            connection.request(method, f"/{disk}/{part}/a/c/{quote(name)}", body or None, sent)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def put(self, name: str, body: bytes, timestamp: object, *nodes: int, **headers: str) -> None:
        """PUT to these nodes, by default the primaries."""
        for node in nodes or self.primaries(name):
            status, _, text = self.request(node, "PUT", name, body, timestamp, **headers)
            if status != 201:
                raise AssertionError(f"{status} {text!r}")

    def empty(self, node: int) -> None:
        """The disk is replaced by a new one."""
        shutil.rmtree(self.disk(node))
        self.disk(node).mkdir()

    def files(self, node: int) -> list[str]:
        """partition/suffix/hash/file of all that is on a node's disk, of policy 0."""
        top = self.disk(node) / "objects"
        return sorted(str(path.relative_to(top)) for path in top.glob("*/*/*/*") if path.name.endswith(DATA))

    def partitions(self, node: int) -> list[str]:
        top = self.disk(node) / "objects"
        return sorted(path.name for path in top.iterdir()) if top.is_dir() else []

    def belonging(self, node: int, files: set[str]) -> list[str]:
        """Those of the files whose partition has this node as a primary."""
        return sorted(
            file
            for file in files
            if node in [n["zone"] for n in self.ring.get_part_nodes(int(file.partition("/")[0]))]
        )

    def everything(self) -> set[str]:
        return {file for node in self.nodes for file in self.files(node)}
