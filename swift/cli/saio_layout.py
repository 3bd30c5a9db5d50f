"""The files of an all-in-one cluster: directories, rings and configuration of four nodes in four zones on loopback.

What lives here: writing that layout under one folder. What never does: starting or stopping anything (swift/cli/saio.py).
The addresses, ports and users are those that all-in-one set-ups always had (spec operations.md 20.4).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import pathlib
import pwd
import secrets
from dataclasses import dataclass

from swift.deploy import configs
from swift.ring.builder import RingBuilder

NODES = (1, 2, 3, 4)
PART_POWER = 10
REPLICAS = 3
DATA, PARITY = 4, 2  # fragments of the policy ec42
SHARD_ABOVE = 100_000  # objects in a container
LOG_BYTES = 10 * 1024 * 1024  # of a log, before it is put aside as LOG.1
SERVERS = {"object": 0, "container": 1, "account": 2}
DAEMONS = {
    "object": (
        "object-updater",
        "object-replicator",
        "object-reconstructor",
        "object-auditor",
        "object-expirer",
    ),
    "container": (
        "container-updater",
        "container-replicator",
        "container-sharder",
        "container-sync",
        "container-auditor",
        "s3-lifecycle",
        "s3-notifier",
    ),
    "account": ("account-replicator", "account-auditor", "account-reaper"),
}
User = tuple[str, str, str, str]  # account, name, key, groups
USERS: tuple[User, ...] = (
    ("admin", "admin", "admin", ".admin .reseller_admin"),
    ("test", "tester", "testing", ".admin"),
    ("test", "tester2", "testing2", ".admin"),
    ("test", "tester3", "testing3", ""),
    ("test2", "tester2", "testing2", ".admin"),
)


@dataclass(frozen=True)
class Layout:
    """Where a cluster stands: home folder, address of the proxy, first of the storage servers' ports."""

    home: pathlib.Path
    ip: str = "127.0.0.1"
    port: int = 8080
    base_port: int = 6200
    memcache: str = ""
    users: tuple[User, ...] = ()  # beside those that are always there

    @property
    def all_users(self) -> list[User]:
        """The later one of the same name counts."""
        return list({user[:2]: user for user in (*USERS, *self.users)}.values())

    @property
    def etc(self) -> pathlib.Path:
        return self.home / "etc"

    @property
    def run(self) -> pathlib.Path:
        return self.home / "run"

    @property
    def log(self) -> pathlib.Path:
        return self.home / "log"

    @property
    def disks(self) -> pathlib.Path:
        return self.home / "disks"

    @property
    def endpoint(self) -> str:
        return f"http://{self.ip}:{self.port}"

    def storage_address(self, server: str, node: int) -> tuple[str, int]:
        """(ip, port) of a storage server, e.g. object on node 1: 127.0.0.1:6210."""
        return f"127.0.0.{node}", self.base_port + 10 * node + SERVERS[server]

    def addresses(self) -> list[tuple[str, int]]:
        """All that the cluster listens on, the proxy first."""
        return [(self.ip, self.port)] + [
            self.storage_address(server, node) for node in NODES for server in SERVERS
        ]

    def devices_of(self, node: int) -> tuple[str, str]:
        """Names of a node's disks: sdb1 and sdb5 of node 1. Whole copies are kept on the first ones, fragments on all eight."""
        return f"sdb{node}", f"sdb{node + len(NODES)}"

    def storage_confs(self, node: int) -> list[pathlib.Path]:
        return [self.etc / f"{server}-server" / f"{node}.conf" for server in SERVERS]

    def daemon_confs(self) -> list[pathlib.Path]:
        """The files that have daemons."""
        of_nodes = [self.etc / f"{server}-server" / f"{node}.conf" for node in NODES for server in DAEMONS]
        return [*of_nodes, self.reconciler_conf]

    @property
    def reconciler_conf(self) -> pathlib.Path:
        return self.etc / "container-reconciler.conf"

    @property
    def internal_client_conf(self) -> pathlib.Path:
        return self.etc / "internal-client.conf"

    @property
    def targets_conf(self) -> pathlib.Path:
        """Where events of buckets may go; [filter:s3api] has the names."""
        return self.etc / "s3-targets.conf"

    @property
    def proxy_conf(self) -> pathlib.Path:
        return self.etc / "proxy-server.conf"


def write(layout: Layout) -> list[pathlib.Path]:
    """Brings a folder to the state that the layout asks for; data, rings and secrets that are there stay.

    A file that a person has changed stays too; what it would be otherwise is then in FILE.new. Returns those files.
    """
    for folder in (layout.etc, layout.run, layout.log):
        folder.mkdir(parents=True, exist_ok=True)
    layout.home.chmod(0o755)
    for node in NODES:
        for device in layout.devices_of(node):
            (layout.disks / str(node) / device).mkdir(parents=True, exist_ok=True)
        _cache(layout, node).mkdir(parents=True, exist_ok=True)
    _write_secret(layout.etc / "swift.conf", _swift_conf())
    _write_secret(layout.etc / "token.key", base64.urlsafe_b64encode(os.urandom(32)).decode() + "\n")
    _write_secret(layout.etc / "backend-keys", _backend_keys())
    written = _Written(layout.etc)
    written.write(layout.proxy_conf, _proxy_conf(layout))
    written.write(layout.reconciler_conf, _reconciler_conf(layout))
    written.write(layout.internal_client_conf, _internal_client_conf(layout))
    written.write(layout.targets_conf, "# [s3-target:NAME] and its options, see s3-notifier.conf-sample\n")
    for node in NODES:
        for server in SERVERS:
            (layout.etc / f"{server}-server").mkdir(exist_ok=True)
            written.write(
                layout.etc / f"{server}-server" / f"{node}.conf", _storage_conf(layout, server, node)
            )
    written.save()
    _write_rings(layout)
    return written.kept


class _Written:
    """What was written into the configuration files last, to tell it from what a person made of it."""

    def __init__(self, etc: pathlib.Path) -> None:
        self.kept: list[pathlib.Path] = []
        self._etc = etc
        self._path = etc / "written.json"
        try:
            self._digests: dict[str, str] = json.loads(self._path.read_text())
        except (OSError, ValueError):
            self._digests = {}

    def write(self, path: pathlib.Path, text: str) -> None:
        name = str(path.relative_to(self._etc))
        digest = hashlib.sha256(text.encode()).hexdigest()
        beside = path.with_name(path.name + ".new")
        last = self._digests.get(name)
        if path.exists() and last and hashlib.sha256(path.read_bytes()).hexdigest() not in (last, digest):
            if digest != last:
                _write_private(beside, text)
                self.kept.append(path)
            return
        _write_private(path, text)
        self._digests[name] = digest
        beside.unlink(missing_ok=True)

    def save(self) -> None:
        _write_private(self._path, json.dumps(self._digests, indent=1, sort_keys=True) + "\n")


def _write_secret(path: pathlib.Path, text: str) -> None:
    """Made once: the hash settings and the key decide where data is found and which tokens hold."""
    if not path.exists():
        _write_private(path, text)


def _write_private(path: pathlib.Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as f:
        f.write(text)


def _swift_conf() -> str:
    return f"""[swift-hash]
# These two decide where every object lies. Never change them while there is data.
swift_hash_path_prefix = {secrets.token_hex(16)}
swift_hash_path_suffix = {secrets.token_hex(16)}

[storage-policy:0]
name = gold
policy_type = replication
default = yes

[storage-policy:1]
name = silver
policy_type = replication

[storage-policy:2]
name = ec42
policy_type = erasure_coding
ec_type = isa_l_rs_vand
ec_num_data_fragments = {DATA}
ec_num_parity_fragments = {PARITY}

# Storage servers take nothing from whoever does not know the keys in backend-keys.
[backend-security]
signing = require
"""


def _backend_keys() -> str:
    return f"# id and secret; the first signs, all are taken\nfirst {secrets.token_hex(32)}\n"


def _stay_who_we_are() -> str:
    """Root would become the user swift, if there is one, who may not write here."""
    return "" if os.geteuid() else f"user = {pwd.getpwuid(0).pw_name}\n"


def _proxy_conf(layout: Layout) -> str:
    key = (layout.etc / "token.key").read_text().strip()
    pipeline = configs.pipeline("tempauth")
    users = "\n".join(
        f"user_{account}_{user} = {secret} {groups}".rstrip()
        for account, user, secret, groups in layout.all_users
    )
    conf = f"""[DEFAULT]
bind_ip = {layout.ip}
bind_port = {layout.port}
workers = 1
swift_dir = {layout.etc}
{_stay_who_we_are()}log_name = proxy-server
log_file = {layout.log}/proxy.log
log_file_max_bytes = {LOG_BYTES}
metrics_path = /metrics

[pipeline:main]
pipeline = {pipeline}

[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
"""
    for name in dict.fromkeys(pipeline.split()[:-1]):
        conf += f"\n[filter:{name}]\nuse = egg:swift#{configs.entry_point(name)}\n"
        if name == "s3api":
            sts_key = base64.b64encode(hmac.digest(key.encode(), b"sts_key", "sha256")).decode()
            conf += f"sts_key = {sts_key}\nwebsite_domains = website.localhost=AUTH_test\n"
            conf += "extensions = all\nallow_anonymous = true\nallow_insecure_ssec = true\n"
        if name == "tempauth":
            conf += f"fernet_key_saio = {key}\nactive_fernet_key_id = saio\nstorage_url_scheme = default\n{users}\n"
        if name == "versioned_writes":
            conf += "allow_versioned_writes = true\nallow_object_versioning = true\n"
        if name == "cache" and layout.memcache:
            conf += f"memcache_servers = {layout.memcache}\n"
    return conf


def _reconciler_conf(layout: Layout) -> str:
    return f"""{_daemon_defaults(layout, "container-reconciler")}recon_cache_path = {_cache(layout, 1)}

[container-reconciler]
interval = 30

{_internal_pipeline(layout)}"""


def _internal_client_conf(layout: Layout) -> str:
    return f"{_daemon_defaults(layout, 'internal-client')}\n{_internal_pipeline(layout)}"


def _daemon_defaults(layout: Layout, name: str) -> str:
    return f"""[DEFAULT]
swift_dir = {layout.etc}
{_stay_who_we_are()}log_name = {name}
log_file = {layout.log}/{name}.log
log_file_max_bytes = {LOG_BYTES}
"""


def _internal_pipeline(layout: Layout) -> str:
    """What daemons send requests through."""
    cache = f"memcache_servers = {layout.memcache}\n" if layout.memcache else ""
    return f"""[pipeline:main]
pipeline = catch_errors cache proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true

[filter:cache]
use = egg:swift#memcache
{cache}
[filter:catch_errors]
use = egg:swift#catch_errors
"""


def _cache(layout: Layout, node: int) -> pathlib.Path:
    return layout.home / "cache" / str(node)


def _storage_conf(layout: Layout, server: str, node: int) -> str:
    ip, port = layout.storage_address(server, node)
    cache = _cache(layout, node)
    conf = f"""[DEFAULT]
devices = {layout.disks}/{node}
mount_check = false
bind_ip = {ip}
bind_port = {port}
workers = 1
swift_dir = {layout.etc}
{_stay_who_we_are()}log_name = {server}-server
log_file = {layout.log}/node{node}.log
log_file_max_bytes = {LOG_BYTES}
recon_cache_path = {cache}

[pipeline:main]
pipeline = healthcheck recon {server}-server

[app:{server}-server]
use = egg:swift#{server}

[filter:recon]
use = egg:swift#recon
recon_cache_path = {cache}

[filter:healthcheck]
use = egg:swift#healthcheck

"""
    for section in DAEMONS.get(server, ()):
        conf += f"\n[{section}]\n"
        if section == "s3-notifier":
            conf += f"targets_conf_path = {layout.targets_conf}\n"
        elif section not in ("account-auditor", "container-auditor"):  # every half hour is enough for these
            conf += "interval = 30\n"
        if section == "object-expirer":
            conf += (
                f"dequeue_from_legacy = true\nprocesses = {len(NODES)}\nprocess = {NODES.index(node)}\n"
                f"internal_client_conf_path = {layout.internal_client_conf}\n"
            )
        if section == "container-sharder":
            conf += f"auto_shard = true\nauto_shard_all = true\nshard_container_threshold = {SHARD_ABOVE}\n"
        if section == "container-sync":
            conf += f"internal_client_conf_path = {layout.internal_client_conf}\n"
    return conf


def _write_rings(layout: Layout) -> None:
    for name, server, replicas, disks in (
        ("account", "account", REPLICAS, 1),
        ("container", "container", REPLICAS, 1),
        ("object", "object", REPLICAS, 1),
        ("object-1", "object", 2, 1),
        ("object-2", "object", DATA + PARITY, 2),
    ):
        ring = layout.etc / f"{name}.ring.gz"
        builder_file = layout.etc / f"{name}.builder"
        if ring.exists() and _same_addresses(layout, builder_file, server):
            continue
        builder = (
            RingBuilder.load(str(builder_file))
            if builder_file.exists()
            else RingBuilder(PART_POWER, replicas, 1)
        )
        known = {dev["device"]: dev for dev in builder.devs if dev}
        for node in NODES:
            ip, port = layout.storage_address(server, node)
            for name_of_device in layout.devices_of(node)[:disks]:
                device = known.get(name_of_device)
                if device is not None:
                    device.update(ip=ip, port=port, replication_ip=ip, replication_port=port)
                    continue
                builder.add_dev(
                    {
                        "region": 1,
                        "zone": node,
                        "ip": ip,
                        "port": port,
                        "replication_ip": ip,
                        "replication_port": port,
                        "device": name_of_device,
                        "weight": 1.0,
                        "meta": "",
                    }
                )
        if not known:
            builder.rebalance()
        builder.save(str(builder_file))
        builder.get_ring().save(str(ring))


def _same_addresses(layout: Layout, builder_file: pathlib.Path, server: str) -> bool:
    if not builder_file.exists():
        return True
    devices = [dev for dev in RingBuilder.load(str(builder_file)).devs if dev]
    wanted = {
        device: layout.storage_address(server, node) for node in NODES for device in layout.devices_of(node)
    }
    return all(wanted.get(dev["device"]) == (dev["ip"], dev["port"]) for dev in devices)
