"""Families of metrics that are looked at when somebody asks: the build, the processes, the node's disks and what waits on them.

What lives here: reading and naming. What never does: counting events (`swift.telemetry.metric_table`), how
long ago daemons have done their work (`swift.telemetry.passes`).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift import __version__
from swift.core.config import DEFAULT_SWIFT_DIR
from swift.telemetry import passes, recon_cache
from swift.telemetry.disk_watch import DiskWatch, watch_of
from swift.telemetry.file_hashes import FileHashes
from swift.telemetry.metric_table import TABLE
from swift.telemetry.prometheus import shows
from swift.telemetry.shared_tables import living_daemons

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGESIZE")
_MOST_FDS = re.compile(r"^Max open files +(\d+)", re.MULTILINE)

Families = Callable[[], Iterable[Any]]


class NodeState:
    """The families of a server of this section and configuration, made anew with each call, in a thread.

    `also`: families that floors above know of, such as rings.
    """

    def __init__(self, section: str, conf: Mapping[str, Any], also: Families | None = None) -> None:
        self.section = section
        self.cache_path = str(conf.get("recon_cache_path") or recon_cache.DEFAULT_PATH)
        self.daemons_at = None if section == "proxy-server" else self.cache_path
        self._watch = None if section == "proxy-server" else watch_of(conf)
        self._swift_conf = os.path.join(str(conf.get("swift_dir") or DEFAULT_SWIFT_DIR), "swift.conf")
        self._hashes = FileHashes()
        self._also = also

    def prepare(self) -> None:
        """Have disks looked at; waits for those that answer. In the hub, before a call."""
        if self._watch is not None:
            self._watch.look()

    def __call__(self) -> Iterable[Any]:
        yield from self._build()
        yield from _processes(self._processes())
        if self._watch is not None:
            yield from _disks(self._watch)
            yield _quarantined(self._watch, self.section.partition("-")[0] + "s")
        yield from self._recorded()
        if self._also is not None:
            yield from self._also()

    def _build(self) -> Iterable[Any]:
        from prometheus_client.core import GaugeMetricFamily

        build = GaugeMetricFamily("swift_build_info", "The version that runs.", labels=["version", "server"])
        build.add_metric([__version__, self.section], 1)
        yield build
        conf = GaugeMetricFamily(
            "swift_conf_info",
            "swift.conf: nodes that find data in the same places have the same.",
            labels=["md5"],
        )
        with contextlib.suppress(OSError):
            conf.add_metric([self._hashes.md5(self._swift_conf)], 1)
        yield conf
        yield GaugeMetricFamily(
            "swift_worker_silence_seconds",
            "Since the worker that has said nothing for longest has written down its counts: above 30 s one hangs.",
            value=TABLE.silence(),
        )

    def _processes(self) -> Iterable[tuple[str, int]]:
        own = TABLE.process or self.section
        for pid in TABLE.pids() if shows(self.section, own) else ():
            yield own, pid
        if self.daemons_at is not None:
            for process, pid in living_daemons(self.daemons_at):
                if shows(self.section, process):
                    yield process, pid

    def _recorded(self) -> Iterable[Any]:
        def read(name: str) -> dict[str, Any]:
            return recon_cache.read(os.path.join(self.cache_path, name))

        if self.section == "object-server":
            recorded = read(recon_cache.OBJECT)
            yield from _waiting(recorded)
            for deed in ("replication", "reconstruction"):
                yield from _standing(deed, recorded.get(f"object_{deed}_standing"))
            yield from _expiring(recorded.get("object_expirer_queue"))
            yield from _drive_audit(read(recon_cache.DRIVE))
            yield from passes.families(passes.OBJECT, recorded)
        for kind, file in (("account", recon_cache.ACCOUNT), ("container", recon_cache.CONTAINER)):
            if self.section == f"{kind}-server":
                recorded = read(file)
                yield from _databases(kind, recorded.get("replication_per_device"))
                if kind == "container":
                    yield from _sharding(recorded)
                    recorded = {**recorded, **read(recon_cache.S3)}
                    yield from _notifying(recorded.get("s3_notifier"))
                yield from passes.families(passes.OF_KIND[kind], recorded)


def state_families(section: str, conf: Mapping[str, Any], also: Families | None = None) -> NodeState:
    """For `prometheus.exposition`: the families of a server of this section and configuration."""
    return NodeState(section, conf, also)


def _processes(pids: Iterable[tuple[str, int]]) -> Iterable[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    labels = ["process"]
    sums: dict[str, list[float]] = {}
    for process, pid in pids:
        try:
            found = _process(pid)
        except (OSError, ValueError, IndexError):
            continue
        count, resident, seconds, descriptors, most, limit = sums.setdefault(process, [0, 0, 0.0, 0, 0, 0])
        sums[process] = [
            count + 1,
            resident + found[0],
            seconds + found[1],
            descriptors + found[2],
            max(most, found[2]),
            min(limit or found[3], found[3]),
        ]
    made: list[Any] = [
        GaugeMetricFamily("swift_processes", "Processes that serve.", labels=labels),
        GaugeMetricFamily("swift_process_resident_bytes", "Memory of all of them.", labels=labels),
        CounterMetricFamily("swift_process_cpu_seconds", "CPU time of those that live.", labels=labels),
        GaugeMetricFamily("swift_process_open_fds", "Open descriptors of all of them.", labels=labels),
        GaugeMetricFamily(
            "swift_process_most_open_fds", "Open descriptors of the one that has most.", labels=labels
        ),
        GaugeMetricFamily("swift_process_max_fds", "Descriptors that one may have open.", labels=labels),
    ]
    for process, figures in sorted(sums.items()):
        for family, value in zip(made, figures, strict=True):
            family.add_metric([process], value)
    yield from made


def _process(pid: int) -> tuple[int, float, int, int]:
    """Resident bytes, seconds of CPU, open descriptors, how many there may be. Raises OSError, ValueError or IndexError."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read(4096).rpartition(")")[2].split()
    with open(f"/proc/{pid}/statm") as file:
        pages = int(file.read(4096).split()[1])
    with open(f"/proc/{pid}/limits") as file:
        most = _MOST_FDS.search(file.read(4096))
    opened = len(os.listdir(f"/proc/{pid}/fd"))
    seconds = (int(fields[11]) + int(fields[12])) / _TICKS
    return pages * _PAGE, seconds, opened, int(most[1]) if most else 0


def _disks(watch: DiskWatch) -> Iterable[Any]:
    from prometheus_client.core import GaugeMetricFamily

    labels = ["device"]
    size = GaugeMetricFamily("swift_disk_size_bytes", "Size of a device.", labels=labels)
    free = GaugeMetricFamily("swift_disk_available_bytes", "Room on a device.", labels=labels)
    inodes = GaugeMetricFamily(
        "swift_disk_inodes", "Files that a device can have; 0: any number.", labels=labels
    )
    inodes_free = GaugeMetricFamily("swift_disk_inodes_free", "Files that there is room for.", labels=labels)
    mounted = GaugeMetricFamily(
        "swift_disk_mounted", "1 if a device is mounted or need not be.", labels=labels
    )
    read_only = GaugeMetricFamily("swift_disk_read_only", "1 if a device can't be written to.", labels=labels)
    answers = GaugeMetricFamily(
        "swift_disk_answers", "0 if a device does not answer: it hangs, or is broken.", labels=labels
    )
    for name in watch.names:
        seen = watch.seen.get(name)
        answers.add_metric([name], 1 if watch.answers(name) else 0)
        if seen is None:
            continue
        mounted.add_metric([name], 1 if seen.mounted else 0)
        if seen.mounted:
            read_only.add_metric([name], 1 if seen.read_only else 0)
            size.add_metric([name], seen.size)
            free.add_metric([name], seen.available)
            inodes.add_metric([name], seen.inodes)
            inodes_free.add_metric([name], seen.inodes_free)
    yield from (answers, mounted, read_only, size, free, inodes, inodes_free)


def _quarantined(watch: DiskWatch, kind: str) -> Any:
    """Of one kind only: a node's servers stand on the same disks."""
    from prometheus_client.core import GaugeMetricFamily

    counts = {"0" if kind == "objects" else "": 0}
    for seen in list(watch.seen.values()):
        for (what, policy), count in seen.quarantined.items():
            if what == kind:
                counts[policy] = counts.get(policy, 0) + count
    family = GaugeMetricFamily(
        "swift_quarantined", "What was set aside as damaged.", labels=["kind", "policy"]
    )
    for policy, count in sorted(counts.items()):
        family.add_metric([kind, policy], count)
    return family


def _drive_audit(recorded: Mapping[str, Any]) -> Iterable[Any]:
    from prometheus_client.core import GaugeMetricFamily

    errors = recorded.get("drive_audit_errors")
    if isinstance(errors, (int, float)):
        yield GaugeMetricFamily(
            "swift_drive_audit_errors", "Errors that drive-audit found in the kernel's log.", value=errors
        )


_SHARDING = {
    "sharding_candidates": "candidates",
    "shrinking_candidates": "shrinking_candidates",
    "sharding_in_progress": "in_progress",
}


def _sharding(recorded: Mapping[str, Any]) -> Iterable[Any]:
    from prometheus_client.core import GaugeMetricFamily

    stats = recorded.get("sharding_stats")
    told = stats.get("sharding") if isinstance(stats, dict) else None
    if not isinstance(told, dict):
        return
    family = GaugeMetricFamily(
        "swift_container_sharding", "Containers, by how far their sharding is.", labels=["state"]
    )
    for key, state in _SHARDING.items():
        entry = told.get(key)
        found = entry.get("found", entry.get("all")) if isinstance(entry, dict) else None
        if isinstance(found, list):
            found = len(found)
        if isinstance(found, (int, float)):
            family.add_metric([state], found)
    yield family


_NOTIFYING = {
    "waiting": "Events that wait for a target.",
    "refused": "Events that a target refused in the last pass.",
    "dropped": "Events that were given up in the last pass.",
    "is_down": "1 while a target is left alone because it does not answer.",
}


def _notifying(told: Any) -> Iterable[Any]:
    from prometheus_client.core import GaugeMetricFamily

    targets = told.get("targets") if isinstance(told, dict) else None
    if not isinstance(targets, dict):
        targets = {}
    for key, text in _NOTIFYING.items():
        family = GaugeMetricFamily(f"swift_s3_notifier_{key}", text, labels=["target"])
        for name, entry in sorted(targets.items()):
            if isinstance(entry, dict) and isinstance(entry.get(key), (int, float)):
                family.add_metric([name], entry[key])
        yield family


def _waiting(recorded: Mapping[str, Any]) -> Iterable[Any]:
    from prometheus_client.core import GaugeMetricFamily

    pending = recorded.get("async_pending")
    if isinstance(pending, (int, float)):
        yield GaugeMetricFamily(
            "swift_async_pending", "Container updates that wait, as the last sweep found them.", value=pending
        )
    seen = recorded.get("async_pending_last")
    if isinstance(seen, (int, float)):
        yield GaugeMetricFamily(
            "swift_async_pending_seen_timestamp_seconds",
            "When those were counted, in seconds since the epoch.",
            value=seen,
        )


_STANDING = {
    "partitions": "Partitions that are at home on a device.",
    "handoffs": "Partitions that a device has yet to give back.",
    "behind": "Partitions of a device that other primaries were not seen to have.",
    "behind_since": "When the oldest of those was first seen, in seconds since the epoch.",
    "checked": "When all partitions of a device were last compared, in seconds since the epoch.",
    "done": "Partitions of a device that the latest pass has dealt with.",
    "total": "Partitions of a device that there were when the latest pass began.",
    "remaining": "Seconds that the rest of the pass takes at the pace so far; 0 when it is over.",
}
_DATABASES = {
    "databases": "Databases of a device in the last whole pass of the replicator.",
    "failures": "Of those, how many could not be brought everywhere.",
    "handoffs": "Of those, how many are at home elsewhere and still here.",
    "last": "When that pass was over, in seconds since the epoch.",
    "last_without_failure": "When the latest pass without a failure began: what is older is everywhere.",
}


def _standing(deed: str, standing: Any) -> Iterable[Any]:
    from prometheus_client.core import GaugeMetricFamily

    if not isinstance(standing, dict):
        return
    labels = ["device", "policy"]
    families = {
        key: GaugeMetricFamily(f"swift_object_{deed}_{key}", text, labels=labels)
        for key, text in _STANDING.items()
    }
    for device, policies in sorted(standing.items()):
        for policy, entry in sorted(policies.items()) if isinstance(policies, dict) else ():
            for key, family in families.items():
                value = entry.get(key) if isinstance(entry, dict) else None
                if isinstance(value, (int, float)):
                    family.add_metric([device, policy], value)
    yield from families.values()


def _databases(kind: str, devices: Any) -> Iterable[Any]:
    from prometheus_client.core import GaugeMetricFamily

    if not isinstance(devices, dict):
        return
    families = {
        key: GaugeMetricFamily(f"swift_{kind}_replication_{key}", text, labels=["device"])
        for key, text in _DATABASES.items()
    }
    text = "Seconds that the rest of the pass under way takes at the pace so far."
    remaining = GaugeMetricFamily(f"swift_{kind}_replication_remaining", text, labels=["device"])
    for device, entry in sorted(devices.items()):
        if not isinstance(entry, dict):
            continue
        for key, family in families.items():
            if isinstance(entry.get(key), (int, float)):
                family.add_metric([device], entry[key])
        under_way = entry.get("pass")
        left = under_way.get("remaining") if isinstance(under_way, dict) else 0
        if isinstance(left, (int, float)):
            remaining.add_metric([device], left)
    yield from (*families.values(), remaining)


_EXPIRING = {
    "queued": "Objects with a time to expire at, in the whole cluster.",
    "waiting": "Objects that are due, which this node's expirer has found and not done yet.",
    "waiting_bytes": "What those hold, as they were queued.",
    "oldest_left": "When the oldest of those was due that could not be deleted, in seconds since the epoch.",
    "delayed": "Objects that are due and stay for a while by delay_reaping.",
}


def _expiring(queue: Any) -> Iterable[Any]:
    from prometheus_client.core import GaugeMetricFamily

    for key, text in _EXPIRING.items() if isinstance(queue, dict) else ():
        value = queue.get(key)
        if isinstance(value, (int, float)):
            yield GaugeMetricFamily(f"swift_object_expirer_{key}", text, value=value)
