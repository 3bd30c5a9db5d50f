"""The audit watcher `dark_data`: finds objects that no container lists, and logs, quarantines or deletes them (object-disk 20.4).

Nothing is dark unless every server that keeps the container has answered, and none lists it, neither as what it is nor in the policy it is in.
Objects are collected and asked for together (`listed_names`), so that what becomes of them follows some time after they were seen.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.config import non_negative_float, positive_float
from swift.core.errors import ConfigError, LockTimeout
from swift.core.names import split_path
from swift.core.swift_dir import use as use_swift_dir
from swift.engine.threads import DeviceBusy, DeviceStuck, pool_for
from swift.obj.auditing.listed_names import ListedNames
from swift.obj.directories import split_policy_dir
from swift.obj.files.layout import ObjectLocation, parse_name
from swift.obj.files.purge import purge
from swift.obj.files.quarantine import quarantine_hash_dir
from swift.obj.store import Times
from swift.ring.errors import RingError
from swift.ring.lookup import Ring

MOST = 10_000  # objects that are held until they are asked for
ACTIONS = ("log", "quarantine", "delete")


class _Seen(NamedTuple):
    """`path`: of its data; `timestamp`: of its metadata, internal form."""

    path: str
    timestamp: str


class DarkDataWatcher:
    """`conf`: the auditor's section with the watcher's own over it. Raises ValueError, ConfigError. `ring`: of containers, for tests."""

    def __init__(self, conf: Mapping[str, Any], logger: Any, ring: Any = None) -> None:
        self.logger = logger
        self.action = conf.get("action", "log")
        if self.action not in ACTIONS:
            raise ConfigError(f"action must be one of {', '.join(ACTIONS)}, not {self.action!r}")
        self.grace_age = non_negative_float(conf.get("grace_age", 604800))
        self._names = ListedNames(
            ring or _container_ring(use_swift_dir(conf.get("swift_dir"))),
            positive_float(conf.get("conn_timeout", 0.5)),
            positive_float(conf.get("node_timeout", 10)),
            f"object-auditor {os.getpid()}",
        )
        self._active = False
        self._waiting: dict[tuple[str, str], dict[str, list[_Seen]]] = {}
        self._count = 0
        self.unknown = self.ok = self.dark = 0

    def start(self, audit_type: str, **other: Any) -> None:
        """A pass begins; only those that read everything count."""
        self._active = audit_type == "ALL"
        self.unknown = self.ok = self.dark = 0

    def see_object(self, object_metadata: Mapping[str, str], data_file_path: str, **other: Any) -> None:
        """Remember it, to be asked for."""
        timestamp = object_metadata["X-Timestamp"]
        if not self._active or clock.time() - float(timestamp.partition("_")[0]) < self.grace_age:
            return
        account, container, obj = split_path(object_metadata["name"], 3, 3, True)
        its = self._waiting.setdefault((account, container), {})
        its.setdefault(obj, []).append(_Seen(data_file_path, timestamp))
        self._count += 1
        if self._count >= MOST:
            self._settle()

    def end(self, **other: Any) -> None:
        """The pass is over."""
        if not self._active:
            return
        self._settle()
        self.logger.info("total unknown %d ok %d dark %d", self.unknown, self.ok, self.dark)

    # ------------------------------------------------------------ what becomes of them

    def _settle(self) -> None:
        waiting, self._waiting, self._count = self._waiting, {}, 0
        for (account, container), its in waiting.items():
            self._container(account, container, its)

    def _container(self, account: str, container: str, its: dict[str, list[_Seen]]) -> None:
        listed = self._names.ask(account, container, its)
        self.ok += sum(len(its[name]) for name in listed.times)
        self.unknown += sum(len(its[name]) for name in listed.unknown)
        suspects: dict[int, list[str]] = {}
        for name, seen in its.items():
            if name not in listed.times and name not in listed.unknown:
                suspects.setdefault(_policy_of(seen[0].path), []).append(name)
        for policy_index, names in suspects.items():
            # it may wait for the reconciler, in another policy than its container
            listed = self._names.ask(account, container, names, policy_index)
            for name in names:
                if name in listed.times:
                    self.ok += len(its[name])
                elif name in listed.unknown:
                    self.unknown += len(its[name])
                else:
                    self._dark(name, its[name])

    def _dark(self, name: str, found: list[_Seen]) -> None:
        for seen in found:
            self.dark += 1
            try:
                self._act(seen)
            except (OSError, LockTimeout, DeviceBusy, DeviceStuck) as err:
                self.logger.error("ERROR with dark data %s: %s", seen.path, err)

    def _act(self, seen: _Seen) -> None:
        path = seen.path
        hash_dir, file = os.path.split(path)
        device_path = _up(path, 5)
        if self.action == "log":
            self.logger.info("reporting dark data %s", path)
        elif self.action == "quarantine":
            self.logger.info("quarantining dark data %s", path)
            pool_for(device_path).run(quarantine_hash_dir, device_path, hash_dir, file)
        else:
            self.logger.info("deleting dark data %s", hash_dir)
            parsed = parse_name(file, "#" in file)
            where = ObjectLocation(
                device_path,
                _policy_of(path),
                os.path.basename(_up(path, 3)),
                os.path.basename(hash_dir),
                None,
                "#" in file,
            )
            pool_for(device_path).run(purge, where, Times(parsed.timestamp, seen.timestamp), parsed.fragment)


def _up(path: str, levels: int) -> str:
    for _ in range(levels):
        path = os.path.dirname(path)
    return path


def _policy_of(path: str) -> int:
    """From `<device>/objects[-N]/<partition>/<suffix>/<hash>/<file>`."""
    return split_policy_dir(os.path.basename(_up(path, 4)))[1]


def _container_ring(swift_dir: str) -> Ring:
    try:
        return Ring(swift_dir, "container")
    except (OSError, RingError) as err:
        raise ConfigError(f"The container ring in {swift_dir} can't be opened: {err}") from None
