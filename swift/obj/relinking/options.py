"""What an operator decides about a run of the relinker: configuration section and command line (object-disk 23.7, operations 17)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from swift.core.config import auto_int, non_negative_float, positive_float, truthy
from swift.core.errors import ConfigError
from swift.core.policy import StoragePolicy, policies
from swift.telemetry.recon_cache import DEFAULT_PATH

RELINK, CLEANUP = "relink", "cleanup"


@dataclass(frozen=True)
class RelinkerOptions:
    """`workers`: None: as many as there are devices; 0: none, all is done by the process itself. `devices`, `partitions`, `policies`: nothing
    else, when given. `files_per_second`: hash directories, in each process; 0: no limit."""

    swift_dir: str
    devices_dir: str
    mount_check: bool
    recon_cache_path: str
    workers: int | None
    files_per_second: float
    stats_interval: float
    clobber: bool
    devices: Sequence[str]
    partitions: frozenset[int]
    policies: Sequence[StoragePolicy]


def read_options(
    conf: Mapping[str, Any],
    swift_dir: str,
    devices: Sequence[str] = (),
    partitions: Sequence[int] = (),
    policy_names: Sequence[str] = (),
) -> RelinkerOptions:
    """`conf`: the section, with what the command line says in the place of what that does. Raises ConfigError, ValueError."""
    workers: int | None = auto_int(conf.get("workers", "auto"), -1)
    if workers is not None and workers < 0:
        workers = None
    return RelinkerOptions(
        swift_dir,
        str(conf.get("devices") or "/srv/node"),
        truthy(conf.get("mount_check", "true")),
        str(conf.get("recon_cache_path") or DEFAULT_PATH),
        workers,
        non_negative_float(conf.get("files_per_second", 0)),
        positive_float(conf.get("stats_interval", 300)),
        truthy(conf.get("clobber_hardlink_collisions")),
        tuple(devices),
        frozenset(partitions),
        [_policy(name) for name in policy_names] or list(policies()),
    )


def _policy(text: str) -> StoragePolicy:
    policy = policies().get_by_name_or_index(text) if re.search(r"\S", text) else None
    if policy is None:
        raise ConfigError(f"unknown policy {text!r}")
    return policy
