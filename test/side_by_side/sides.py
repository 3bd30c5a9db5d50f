"""The two clusters: storage servers once, and a proxy for each pipeline that a feature asks for.

Needs REFERENCE_BIN, memcached and root (each process of the reference gets an /etc/swift of its own). Never here: requests.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points

from swift.ring.builder import RingBuilder
from test.side_by_side.table import Feature

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

from cluster import PORT_OF, Cluster, Policy  # noqa: E402

# Every filter in its place, by entry point; those in BY_REQUEST only where a feature asks for them.
ORDER = (
    "catch_errors", "gatekeeper", "healthcheck", "proxy_logging", "memcache", "etag_quoter", "name_check", "cname_lookup", "domain_remap",
    "list_endpoints", "listing_formats", "read_only", "container_sync", "bulk", "tempurl", "formpost", "ratelimit", "crossdomain", "s3api",
    "tempauth", "staticweb", "copy", "container_quotas", "account_quotas", "slo", "dlo", "versioned_writes", "symlink", "keymaster", "encryption",
)  # fmt: skip
BY_REQUEST = (
    "etag_quoter", "name_check", "cname_lookup", "domain_remap", "list_endpoints", "read_only", "ratelimit", "s3api", "keymaster", "encryption",
)  # fmt: skip
OPTIONS: Mapping[str, str] = {
    "versioned_writes": "allow_versioned_writes = true\nallow_object_versioning = true\n",
}
# user → (key, groups) within the feature's account; `other` and `admin` are of accounts of their own
USERS: Mapping[str, tuple[str, str]] = {
    "owner": ("owner-key", ".admin"),
    "member": ("member-key", ""),
    "friend": ("friend-key", ""),
    "other": ("other-key", ".admin"),
    "admin": ("admin-key", ".reseller_admin"),
}
POLICIES: tuple[Policy, ...] = (
    ("silver", "policy_type = replication\n", 2),
    ("ec21", "policy_type = erasure_coding\nec_type = liberasurecode_rs_vand\nec_num_data_fragments = 2\nec_num_parity_fragments = 1\n", 3),
)  # fmt: skip


def login(account: str, user: str) -> tuple[str, str]:
    """(`account:user`, key) as the auth endpoint wants it."""
    if user == "other":
        account = f"{account}-other"
    elif user == "admin":
        account = "admin"
    return f"{account}:{user}", USERS[user][0]


class OneNode(Cluster):
    """All disks on one node: answers don't depend on how many there are, and the time to start them does.

    replaced: what stands for words of a feature's options that are this side's own.
    """

    replaced: Mapping[str, str] = {}

    def make_ring(self, name: str, server: str, replicas: int) -> None:
        builder = RingBuilder(6, replicas, 1)
        for node in self.nodes:
            ip, _, port = self.address(server, node).rpartition(":")
            for zone, device in enumerate(self.devices_of(node)):
                builder.add_dev({"region": 1, "zone": zone, "ip": ip, "port": int(port), "device": device, "weight": 1.0})  # fmt: skip
        builder.rebalance()
        builder.get_ring().save(str(self.etc / f"{name}.ring.gz"))

    def front_conf(self, port: int, features: Sequence[Feature]) -> str:
        """A proxy's configuration, for features that want the same one."""
        names = pipeline(features[0])
        text = (
            f"[DEFAULT]\nuser = root\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nswift_dir = {self.etc}\n"
            f"log_level = WARNING\nlog_name = proxy\n\n[pipeline:main]\npipeline = {' '.join(names)} proxy_logging proxy-server\n\n"
            "[app:proxy-server]\nuse = egg:swift#proxy\nallow_account_management = true\naccount_autocreate = true\n"
            f"{features[0].options}\n"
        )
        for name in names:
            text += f"\n[filter:{name}]\nuse = egg:swift#{name}\n{OPTIONS.get(name, '')}{features[0].filters.get(name, '')}\n"
            if name == "memcache":
                text += f"memcache_servers = {self.memcache}\nmemcache_max_connections = 16\n"
            elif name == "tempauth":
                text += "".join(_users(feature) for feature in features)
                text += "user_admin_admin = admin-key .reseller_admin\n"
        for word, value in self.replaced.items():
            text = text.replace(word, value)
        return text


def _users(feature: Feature) -> str:
    text = ""
    for user in USERS:
        if user != "admin":
            name, key = login(feature.account, user)
            text += f"user_{name.replace(':', '_')} = {key} {USERS[user][1]}\n"
    return text


def pipeline(feature: Feature) -> list[str]:
    """The filters for it, by entry point, as far as this store has them: without the last proxy_logging and the application.

    Raises ValueError for one that the feature asks for and that is not there.
    """
    there = {entry.name for entry in entry_points(group="paste.filter_factory")}
    missing = set(feature.filters) - there
    unplaced = set(feature.filters) - set(ORDER)
    if missing or unplaced:
        raise ValueError(f"{feature.name}: no filter {', '.join(sorted(missing | unplaced))}")
    wanted = there - set(feature.without) - set(BY_REQUEST) | set(feature.filters)
    return [name for name in ORDER if name in wanted]


class Sides:
    """Both clusters, running."""

    def __init__(self, root: pathlib.Path, port: int) -> None:
        bins = {
            "reference": pathlib.Path(os.environ["REFERENCE_BIN"]),
            "ours": pathlib.Path(os.environ.get("OURS_BIN", sysconfig.get_path("scripts"))),
        }
        self.clusters = [
            OneNode(name, folder, root / name, 0, port + 100 * n, f"127.0.0.1:{port + 90 + 100 * n}", devices=4, policies=POLICIES, nodes=(1,))
            for n, (name, folder) in enumerate(bins.items())
        ]  # fmt: skip
        self._caches: list[subprocess.Popen] = []
        self._next = port + 40

    def start(self) -> None:
        """The storage servers of both."""
        for cluster in self.clusters:
            ip, _, port = cluster.memcache.rpartition(":")
            self._caches.append(subprocess.Popen(["memcached", "-u", "nobody", "-l", ip, "-p", port, "-m", "32"]))  # fmt: skip
            cluster.write()
            for server in PORT_OF:
                cluster.start_one(f"{server}-1", server, cluster.bin)
        for cluster in self.clusters:
            for server in PORT_OF:
                cluster.wait(int(cluster.address(server, 1).rpartition(":")[2]), "127.0.0.1")

    def stop(self) -> None:
        """All that was started; files stay."""
        for cluster in self.clusters:
            cluster.stop()
        for cache in self._caches:
            cache.kill()
            cache.wait()

    @contextlib.contextmanager
    def fronts(self, features: Sequence[Feature]) -> Iterator[tuple[int, int]]:
        """Two proxies for features of one pipeline: their ports, the reference's first."""
        ports = []
        name = f"proxy-{self._next}"
        try:
            for cluster in self.clusters:
                port = self._next + 100 * len(ports)
                (cluster.etc / f"{name}.conf").write_text(cluster.front_conf(port, features))
                cluster.start_one(name, "proxy", cluster.bin)
                ports.append(port)
            self._next += 1
            for cluster, port in zip(self.clusters, ports, strict=True):
                cluster.wait(port)
            yield ports[0], ports[1]
        finally:
            for cluster in self.clusters:
                if name in cluster.processes:
                    cluster.kill(name)


@contextlib.contextmanager
def both(root: pathlib.Path, port: int) -> Iterator[Sides]:
    """Both clusters below `root`, which is removed at the end, on ports from `port` on (200 of them)."""
    sides = Sides(root, port)
    try:
        sides.start()
        yield sides
    finally:
        sides.stop()
        shutil.rmtree(root, ignore_errors=True)


def alike(features: Sequence[Feature]) -> list[list[Feature]]:
    """In groups that one pair of proxies can serve."""
    groups: dict[object, list[Feature]] = {}
    for feature in features:
        key = (tuple(sorted(feature.filters.items())), tuple(sorted(feature.without)), feature.options)
        groups.setdefault(key, []).append(feature)
    return list(groups.values())
