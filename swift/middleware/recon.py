"""Filter `recon`: answers `/recon/…` with what this node knows of itself (spec middleware 4.34, operations 10).

Each check is one function below, in the table at the end, and runs in a thread, once for all who ask at the same time. The daemons' figures come from their recon
files, those of the disks from `swift.telemetry.node_disks`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from swift import __version__
from swift.core import clock
from swift.core.concurrency import Timeout
from swift.core.config import DEFAULT_SWIFT_DIR
from swift.core.policy import policies
from swift.engine.threads import DeviceBusy, Shared, ThreadPool
from swift.telemetry import recon_cache
from swift.telemetry.file_hashes import FileHashes
from swift.telemetry.log import get_logger
from swift.telemetry.node_disks import NodeDisks

PREFIX = "/recon/"
_THREADS = 8  # more than there are checks that look at disks, each of which a disk that hangs keeps in one
ANSWER_SECONDS = 10
_REPLICATION = ("replication_time", "replication_stats", "replication_last")

Check = Callable[[], Any]


class ReconMiddleware:
    """``proc``: where the kernel's files are."""

    def __init__(self, app: Any, conf: dict[str, Any], logger: Any = None, proc: str = "/proc") -> None:
        self.app = app
        self.logger = logger or get_logger(conf, "recon", log_route="recon")
        self.disks = NodeDisks(conf)
        self.swift_dir = conf.get("swift_dir") or DEFAULT_SWIFT_DIR
        self.cache_path = conf.get("recon_cache_path") or recon_cache.DEFAULT_PATH
        self._proc = proc
        self._hashes = FileHashes()
        self._checks = self._table()
        self._asked: dict[Check, Shared] = {}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.startswith(PREFIX):
            return self.app(environ, start_response)
        name, _, kind = path[len(PREFIX) :].partition("/")
        check = self._checks.get((name, kind)) or self._checks.get((name, None))
        if check is None:
            status, media_type, body = (
                "404 Not Found",
                "text/plain",
                f"Invalid path: {path}".encode("latin-1"),
            )
        else:
            status, media_type, body = self._answer(check, path)
        start_response(status, [("Content-Type", media_type), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _answer(self, check: Check, path: str) -> tuple[str, str, bytes]:
        try:
            with Timeout(ANSWER_SECONDS):
                found = self._shared(check).ask()
            return "200 OK", "application/json", json.dumps(found).encode("ascii")
        except (Timeout, DeviceBusy):
            self.logger.error("recon: %s is not answered in %d s: a disk hangs", path, ANSWER_SECONDS)
            return "503 Service Unavailable", "text/plain", b"A disk does not answer."
        except (OSError, ValueError, LookupError):
            self.logger.exception("recon: %s cannot be answered", path)
            return "500 Internal Error", "text/plain", b"Internal server error."

    def _shared(self, check: Check) -> Shared:
        shared = self._asked.get(check)
        if shared is None:
            shared = self._asked[check] = Shared(partial(_threads().run, check))
        return shared

    # -- from the daemons ----------------------------------------------------------------------------------------------
    def _recorded(self, file: str, *keys: str) -> Check:
        """The values of ``keys`` in a recon file, None where there is none."""

        def check() -> dict[str, Any]:
            cache = recon_cache.read(os.path.join(self.cache_path, file))
            return {key: cache.get(key) for key in keys}

        return check

    # -- from the kernel -----------------------------------------------------------------------------------------------
    def _read_proc(self, name: str) -> str:
        with open(os.path.join(self._proc, name)) as file:
            return file.read(1024 * 1024)

    def mounted(self) -> list[dict[str, str]]:
        mounts = (line.split() for line in self._read_proc("mounts").splitlines())
        return [{"device": words[0], "path": words[1]} for words in mounts if len(words) > 1]

    def load(self) -> dict[str, Any]:
        one, five, fifteen, tasks, last_pid = self._read_proc("loadavg").split()[:5]
        return {
            "1m": float(one),
            "5m": float(five),
            "15m": float(fifteen),
            "tasks": tasks,
            "processes": int(last_pid),
        }

    def mem(self) -> dict[str, str]:
        fields = (line.partition(":") for line in self._read_proc("meminfo").splitlines())
        return {name: value.strip() for name, colon, value in fields if colon}

    def sockstat(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for line in self._read_proc("net/sockstat").splitlines():
            if line.startswith("TCP: "):
                words = line.split()
                tcp = dict(zip(words[1::2], map(int, words[2::2]), strict=False))
                found["tcp_in_use"] = tcp["inuse"]
                found["orphan"] = tcp["orphan"]
                found["time_wait"] = tcp["tw"]
                found["tcp_mem_allocated_bytes"] = tcp["mem"] * os.sysconf("SC_PAGESIZE")
        try:
            for line in self._read_proc("net/sockstat6").splitlines():
                if line.startswith("TCP6: inuse"):
                    found["tcp6_in_use"] = int(line.split()[2])
        except FileNotFoundError:
            pass  # a kernel without IPv6
        return found

    def device_list(self) -> dict[str, list[str] | None]:
        try:
            return {self.disks.root: os.listdir(self.disks.root)}
        except OSError:
            self.logger.exception("Error listing devices")
            return {self.disks.root: None}

    # -- from the configuration ----------------------------------------------------------------------------------------
    def ring_md5(self) -> dict[str, str]:
        rings = ["account", "container", *(policy.ring_name for policy in policies())]
        paths = [os.path.join(self.swift_dir, f"{ring}.ring.gz") for ring in rings]
        return {path: self._hashes.md5(path) for path in paths if os.path.exists(path)}

    def swift_conf_md5(self) -> dict[str, str | None]:
        path = os.path.join(self.swift_dir, "swift.conf")
        try:
            return {path: self._hashes.md5(path)}
        except OSError:
            return {path: None}

    def _table(self) -> dict[tuple[str, str | None], Check]:
        """(name, type) → check; the type None takes any."""
        account, container, obj = recon_cache.ACCOUNT, recon_cache.CONTAINER, recon_cache.OBJECT
        replication = self._recorded(obj, *_REPLICATION, "object_replication_time", "object_replication_last")
        return {
            ("mem", None): self.mem,
            ("load", None): self.load,
            ("async", None): self._recorded(obj, "async_pending", "async_pending_last"),
            ("replication", ""): replication,
            ("replication", "object"): replication,
            ("replication", "account"): self._recorded(account, *_REPLICATION),
            ("replication", "container"): self._recorded(container, *_REPLICATION),
            ("reconstruction", "object"): self._recorded(
                obj, "object_reconstruction_last", "object_reconstruction_time"
            ),
            ("standing", "object"): self._recorded(
                obj, "object_replication_standing", "object_reconstruction_standing"
            ),
            ("standing", "account"): self._recorded(account, "replication_per_device"),
            ("standing", "container"): self._recorded(container, "replication_per_device"),
            ("devices", None): self.device_list,
            ("updater", "container"): self._recorded(container, "container_updater_sweep"),
            ("updater", "object"): self._recorded(
                obj, "object_updater_sweep", "object_updater_stats", "object_updater_last"
            ),
            ("auditor", "account"): self._recorded(account, *_auditor_keys("account")),
            ("auditor", "container"): self._recorded(container, *_auditor_keys("container")),
            ("auditor", "object"): self._recorded(
                obj, "object_auditor_stats_ALL", "object_auditor_stats_ZBF"
            ),
            ("expirer", "object"): self._recorded(
                obj, "object_expiration_pass", "expired_last_pass", "object_expirer_queue"
            ),
            ("mounted", None): self.mounted,
            ("unmounted", None): self.disks.unmounted,
            ("diskusage", None): self.disks.usage,
            ("ringmd5", None): self.ring_md5,
            ("swiftconfmd5", None): self.swift_conf_md5,
            ("quarantined", None): self.disks.quarantined,
            ("sockstat", None): self.sockstat,
            ("version", None): lambda: {"version": __version__},
            ("driveaudit", None): self._recorded(recon_cache.DRIVE, "drive_audit_errors"),
            ("time", None): clock.time,
            ("sharding", None): self._recorded(container, "sharding_stats", "sharding_time", "sharding_last"),
            ("relinker", None): self._recorded(recon_cache.RELINKER, "devices", "workers"),
        }


_pool: ThreadPool | None = None


def _threads() -> ThreadPool:
    """Of our own: what else the process has threads for shall not wait for a disk."""
    global _pool
    if _pool is None:
        _pool = ThreadPool("recon", _THREADS, 4096)
    return _pool


def _auditor_keys(kind: str) -> tuple[str, ...]:
    return (
        f"{kind}_audits_passed", f"{kind}_auditor_pass_completed", f"{kind}_audits_since", f"{kind}_audits_failed",
    )  # fmt: skip


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], ReconMiddleware]:
    conf = {**global_conf, **local_conf}

    def factory(app: Any) -> ReconMiddleware:
        return ReconMiddleware(app, conf)

    return factory
