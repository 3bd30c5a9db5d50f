"""A four-node cluster for measuring: the same configuration files start the reference and us.

What lives here: writing the files, starting and ending the processes of one side, what the system counts of them. What never does:
load and figures.
"""

from __future__ import annotations

import http.client
import os
import pathlib
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field

from disks import Images

# That of the reference's sample configuration.
PIPELINE = (
    "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats container_sync bulk tempurl ratelimit tempauth copy "
    "container-quotas account-quotas slo dlo versioned_writes symlink proxy-logging proxy-server"
)
ENTRY = {
    "proxy-logging": "proxy_logging",
    "cache": "memcache",
    "container-quotas": "container_quotas",
    "account-quotas": "account_quotas",
}
NODES = (1, 2, 3, 4)
PORT_OF = {"object": 0, "container": 1, "account": 2}
SWIFT_CONF = """[swift-hash]
swift_hash_path_prefix = changeme
swift_hash_path_suffix = changeme

[storage-policy:0]
name = gold
policy_type = replication
"""
# (name, options, replicas of its ring) of policies that a cluster may have beside the replicated one.
Policy = tuple[str, str, int]
EC42: Policy = (
    "ec42",
    "policy_type = erasure_coding\nec_type = liberasurecode_rs_vand\nec_num_data_fragments = 4\nec_num_parity_fragments = 2\n",
    6,
)
# Container servers of the reference know only the policies of /etc/swift: each process gets one of its own there, in a mount namespace.
IN_ITS_ETC = """
mount -t tmpfs tmpfs "$1" && mkdir "$1/up" "$1/work" && mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/up,workdir=$1/work" /etc &&
mkdir -p /etc/swift && cp "$2"/swift.conf "$2"/*.ring.gz /etc/swift/ && shift 2 && exec "$@"
"""
USERS = "user_admin_admin = admin .admin .reseller_admin\nuser_test_tester = testing .admin\nuser_test_tester3 = testing3\n"


@dataclass
class Cluster:
    """One side. bin: folder of its swift-* commands; nodes may take theirs from another folder (mixed clusters).

    images: each node's disk is a file system of its own; else all lie in folders below root. devices: disks of a node; nodes: their numbers.
    policies: beside the replicated one; default: the index of the one that containers have who ask for none. Needs root.
    inner: (entry point, options) of filters left of the last proxy-logging.
    """

    name: str
    bin: pathlib.Path
    root: pathlib.Path
    port: int
    base_port: int
    memcache: str = "127.0.0.1:11311"
    bin_of_node: dict[int, pathlib.Path] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)
    images: Images | None = None
    devices: int = 1
    policies: tuple[Policy, ...] = ()
    default: int = 0
    inner: tuple[tuple[str, str], ...] = ()
    nodes: tuple[int, ...] = NODES

    @property
    def etc(self) -> pathlib.Path:
        return self.root / "etc"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write(self) -> None:
        """Empty disks, rings and configuration files."""
        shutil.rmtree(self.root, ignore_errors=True)
        for folder in ("etc", "log"):
            (self.root / folder).mkdir(parents=True)
        (self.etc / "swift.conf").write_text(self.swift_conf())
        (self.etc / "proxy-server.conf").write_text(self.proxy_conf(self.port))
        for node in self.nodes:
            if self.images is not None:
                self.images.mount(self.root / str(node))
            for device in self.devices_of(node):
                (self.root / str(node) / device).mkdir(parents=True)
            for server, offset in PORT_OF.items():
                (self.etc / f"{server}-{node}.conf").write_text(
                    f"[DEFAULT]\nuser = root\ndevices = {self.root}/{node}\nmount_check = false\ndisable_fallocate = true\n"
                    f"bind_ip = 127.0.0.{node}\nbind_port = {self.base_port + 10 * node + offset}\nworkers = 0\n"
                    f"swift_dir = {self.etc}\nlog_level = WARNING\nrecon_cache_path = {self.root}\n\n"
                    f"[pipeline:main]\npipeline = healthcheck recon {server}-server\n\n"
                    f"[app:{server}-server]\nuse = egg:swift#{server}\n\n"
                    f"[filter:recon]\nuse = egg:swift#recon\nrecon_cache_path = {self.root}\n\n"
                    "[filter:healthcheck]\nuse = egg:swift#healthcheck\n"
                )
        for server in PORT_OF:
            self.make_ring(server, server, 3)
        for index, (_, _, replicas) in enumerate(self.policies, 1):
            self.make_ring(f"object-{index}", "object", replicas)

    def swift_conf(self) -> str:
        text = SWIFT_CONF
        for index, (name, options, _) in enumerate(self.policies, 1):
            text += f"\n[storage-policy:{index}]\nname = {name}\n{options}"
        mark = f"[storage-policy:{self.default}]\n"
        return text.replace(mark, f"{mark}default = yes\n")

    def make_ring(self, name: str, server: str, replicas: int) -> None:
        """A ring over all disks."""
        self.ring(name, "create", 10, replicas, 1)
        for node in self.nodes:
            for device in self.devices_of(node):
                self.ring(name, "add", f"r1z{node}-{self.address(server, node)}/{device}", 1)
        self.ring(name, "rebalance")

    def devices_of(self, node: int) -> list[str]:
        """Names of its disks: sdb1, sdb1x, sdb1xx … of node 1."""
        return [f"sdb{node}" + "x" * number for number in range(self.devices)]

    def address(self, server: str, node: int) -> str:
        """ip:port of a storage server."""
        return f"127.0.0.{node}:{self.base_port + 10 * node + PORT_OF[server]}"

    def proxy_conf(self, port: int) -> str:
        front, last = PIPELINE.rsplit(" proxy-logging ", 1)
        pipeline = " ".join([front, *(name for name, _ in self.inner), "proxy-logging", last])
        text = (
            f"[DEFAULT]\nuser = root\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nswift_dir = {self.etc}\n"
            f"log_level = WARNING\nlog_name = proxy\n\n[pipeline:main]\npipeline = {pipeline}\n\n"
            "[app:proxy-server]\nuse = egg:swift#proxy\nallow_account_management = true\naccount_autocreate = true\n"
        )
        for name in dict.fromkeys(PIPELINE.split()[:-1]):
            text += f"\n[filter:{name}]\nuse = egg:swift#{ENTRY.get(name, name)}\n"
            text += (
                USERS
                if name == "tempauth"
                else f"memcache_servers = {self.memcache}\nmemcache_max_connections = 64\n"
                if name == "cache"
                else ""
            )
        for name, options in self.inner:
            text += f"\n[filter:{name}]\nuse = egg:swift#{name}\n{options}"
        return text

    def ring(self, server: str, *words: object) -> None:
        """Runs this side's swift-ring-builder."""
        command = [str(self.bin / "swift-ring-builder"), f"{server}.builder", *map(str, words)]
        done = subprocess.run(command, cwd=self.etc, capture_output=True, text=True, env=_clean_environ())
        if done.returncode not in (0, 1):
            raise SystemExit(f"{self.name}: {' '.join(command)}: {done.stdout} {done.stderr}")

    def start(self) -> None:
        """Starts all servers and waits until each of them answers."""
        for node in self.nodes:
            for server in PORT_OF:
                self.start_one(f"{server}-{node}", server, self.bin_of_node.get(node, self.bin))
        self.start_one("proxy-server", "proxy", self.bin)
        for node in self.nodes:
            for offset in PORT_OF.values():
                self.wait(self.base_port + 10 * node + offset, f"127.0.0.{node}")
        self.wait(self.port)

    def start_one(self, conf: str, server: str, folder: pathlib.Path) -> None:
        """Starts one server of either implementation."""
        command = [str(folder / f"swift-{server}-server"), str(self.etc / f"{conf}.conf")]
        self.processes[conf] = self._started(command, conf, folder, in_its_etc=bool(self.policies))

    def daemon(self, daemon: str, node: int, *words: str) -> subprocess.Popen:
        """A daemon of a node, begun. `daemon`: as in the name of its command; `words` may say `once`. Its end is the caller's business."""
        folder = self.bin_of_node.get(node, self.bin)
        command = [str(folder / f"swift-{daemon}"), str(self.etc / f"object-{node}.conf"), *words]
        name = f"pass-{daemon}-{node}"
        process = self.processes[name] = self._started(command, name, folder, in_its_etc=True)
        return process

    def _started(
        self, command: list[str], name: str, folder: pathlib.Path, in_its_etc: bool
    ) -> subprocess.Popen:
        if in_its_etc:
            scratch = self.root / "overlay"
            scratch.mkdir(exist_ok=True)
            command = ["unshare", "-m", "sh", "-c", IN_ITS_ETC, "sh", str(scratch), str(self.etc), *command]
        with open(self.root / "log" / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**_clean_environ(), "PATH": f"{folder}:{os.environ['PATH']}"},
                start_new_session=True,
            )

    def wait(self, port: int, ip: str = "127.0.0.1") -> None:
        for _ in range(200):
            try:
                connection = http.client.HTTPConnection(ip, port, timeout=2)
                connection.request("GET", "/healthcheck")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit(f"{self.name}: not up; see {self.root}/log")

    def kill(self, conf: str) -> None:
        """kill -9 of one server."""
        process = self.processes.pop(conf)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in self.processes.values():
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        self.processes.clear()

    def cpu_seconds(self) -> float:
        """User and system time that all servers, and the processes that they have started, have used so far."""
        ticks = 0
        for server in ("proxy", "object", "container", "account"):
            for process in self.family(server):
                with open(f"/proc/{process}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def switches(self, server: str) -> int:
        """Context switches so far of all threads of all servers of one kind, and of the processes that they have started."""
        count = 0
        for process in self.family(server):
            for task in pathlib.Path(f"/proc/{process}/task").iterdir():
                words = (task / "status").read_text().split()
                count += sum(
                    int(words[n + 1]) for n, word in enumerate(words) if word.endswith("ctxt_switches:")
                )
        return count

    def family(self, server: str) -> list[int]:
        """Process numbers of all servers of one kind and of the processes that they have started."""
        leaders = {p.pid for conf, p in self.processes.items() if conf.startswith(f"{server}-")}
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) in leaders:  # its process group: each server leads one
                found.append(int(entry.name))
        return sorted(found)

    def memory(self) -> dict[str, float]:
        """Resident megabytes by kind of server (mean)."""
        kinds: dict[str, list[float]] = {}
        for conf, process in self.processes.items():
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            resident = int(status.split("VmRSS:")[1].split()[0]) / 1024
            kinds.setdefault(conf.split("-")[0], []).append(resident)
        return {kind: sum(values) / len(values) for kind, values in kinds.items()}

    def token(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(
            "GET", "/auth/v1.0", headers={"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}
        )
        answer = connection.getresponse()
        answer.read()
        return answer.headers["X-Auth-Token"]

    def request(
        self,
        method: str,
        path: str,
        token: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> int:
        """One request under /v1/AUTH_test; returns the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(
            method, f"/v1/AUTH_test{path}", body=body, headers={"X-Auth-Token": token, **(headers or {})}
        )
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status


def _clean_environ() -> dict[str, str]:
    """Without PYTHONPATH: both sides are a package named swift, and each must find its own."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
