"""A cluster as it was described: nodes, disks, policies, users.

What lives here: the words that all of this room speaks with. What never does: reading a file, judging.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ACCOUNTS, CONTAINERS = "accounts", "containers"
STORAGE_ROLES = ("account", "container", "object")
ROLES = ("proxy", *STORAGE_ROLES)
DAEMONS = (
    "account-auditor", "account-reaper", "account-replicator", "container-auditor", "container-reconciler", "container-replicator",
    "container-sharder", "container-sync", "container-updater", "object-auditor", "object-expirer", "object-reconstructor",
    "object-replicator", "object-updater", "s3-lifecycle", "s3-notifier",
)  # fmt: skip
PORTS = {"proxy": 8080, "account": 6202, "container": 6201, "object": 6200}

# file → section → option → value; a value is text, or names a secret
Options = dict[str, dict[str, dict[str, "str | Secret"]]]


class DescriptionError(Exception):
    """`lines`: what is wrong, one line each."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = list(lines)
        super().__init__("\n".join(self.lines))


@dataclass(frozen=True)
class Secret:
    """A value that is kept beside the description, under this name."""

    name: str


@dataclass(frozen=True)
class Disk:
    """`holds`: accounts, containers and names of policies; empty: all that its node's roles allow."""

    name: str
    weight: float
    holds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Node:
    """One machine, or one of several on a machine that differ by their ports."""

    name: str
    address: str
    replication_address: str
    region: int
    zone: int
    roles: tuple[str, ...]
    disks: tuple[Disk, ...]
    ports: Mapping[str, int]
    ssh: str
    swift_dir: str
    devices: str
    run_dir: str
    cache_dir: str
    options: Options


@dataclass(frozen=True)
class Policy:
    """A storage policy: `options` as they stand in swift.conf; `ring`: what its builder is called."""

    index: int
    name: str
    options: Mapping[str, str]
    replicas: float
    ring: str
    spare: (
        int  # copies or fragments that may be lost at once, and everything is still there and can be written
    )


@dataclass(frozen=True)
class User:
    """`key`: None if one is to be made."""

    account: str
    name: str
    groups: str
    key: str | None

    @property
    def full_name(self) -> str:
        return f"{self.account}:{self.name}"


@dataclass(frozen=True)
class RingSettings:
    """What the builder of one ring is told."""

    part_power: int
    min_part_hours: int
    overload: float


@dataclass(frozen=True)
class Description:
    """A cluster that has been judged possible."""

    name: str
    nodes: tuple[Node, ...]
    policies: tuple[Policy, ...]
    users: tuple[User, ...]
    replicas: float
    settings: Mapping[str, RingSettings]  # of each ring
    memcached: tuple[str, ...]
    user: str
    manager: str
    auth: str
    commands: str
    without: tuple[str, ...]  # daemons that are not to run
    signing: str  # of requests between nodes: off, sign or require
    signing_keys: tuple[str, ...]  # their ids; the first one signs
    options: Options = field(default_factory=dict)

    def of_role(self, role: str) -> list[Node]:
        return [node for node in self.nodes if role in node.roles]

    def rings(self) -> list[tuple[str, str, str, float, int]]:
        """(ring, role of its nodes, what its disks hold, replicas, how many copies may be lost)."""
        spare = spare_copies(self.replicas)
        return [
            ("account", "account", ACCOUNTS, self.replicas, spare),
            ("container", "container", CONTAINERS, self.replicas, spare),
            *(
                (policy.ring, "object", policy.name, policy.replicas, policy.spare)
                for policy in self.policies
            ),
        ]

    def disks_of(self, role: str, content: str) -> list[tuple[Node, Disk]]:
        """The disks that are in a ring."""
        return [
            (node, disk)
            for node in self.of_role(role)
            for disk in node.disks
            if not disk.holds or content in disk.holds
        ]


def spare_copies(replicas: float) -> int:
    """Copies that may be away while the rest is still a quorum."""
    return max(int(replicas) - (int(replicas) + 1) // 2, 0) if replicas > 1 else 0


def policy_sections(found: Iterable[Policy]) -> dict[str, dict[str, str]]:
    """As they stand in swift.conf."""
    return {f"storage-policy:{policy.index}": dict(policy.options) for policy in found}
