"""Families of metrics that are looked at when somebody asks: the build, the processes, the node's disks and what waits on them.

What lives here: reading and naming. What never does: counting events (`swift.telemetry.prometheus`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift import __version__
from swift.telemetry import recon_cache
from swift.telemetry.node_disks import NodeDisks
from swift.telemetry.prometheus import TABLE

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGESIZE")


def state_families(section: str, conf: Mapping[str, Any]) -> Callable[[], Iterable[Any]]:
    """A function for `prometheus.exposition`: the families of a server of this section and configuration."""
    disks = None if section == "proxy-server" else NodeDisks(conf)
    cache_path = str(conf.get("recon_cache_path") or recon_cache.DEFAULT_PATH)

    def families() -> Iterable[Any]:
        from prometheus_client.core import GaugeMetricFamily

        build = GaugeMetricFamily("swift_build_info", "The version that runs.", labels=["version", "server"])
        build.add_metric([__version__, section], 1)
        yield build
        yield from _processes()
        if disks is not None:
            yield from _disks(disks)
        if section == "object-server":
            recorded = recon_cache.read(os.path.join(cache_path, recon_cache.OBJECT))
            yield from _waiting(recorded)
            for deed in ("replication", "reconstruction"):
                yield from _standing(deed, recorded.get(f"object_{deed}_standing"))
            yield from _expiring(recorded.get("object_expirer_queue"))
        for kind, file in (("account", recon_cache.ACCOUNT), ("container", recon_cache.CONTAINER)):
            if section == f"{kind}-server":
                recorded = recon_cache.read(os.path.join(cache_path, file))
                yield from _databases(kind, recorded.get("replication_per_device"))

    return families


def _processes() -> Iterable[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    count, resident, seconds, descriptors = 0, 0, 0.0, 0
    for pid in TABLE.pids():
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read(4096).rpartition(")")[2].split()
            with open(f"/proc/{pid}/statm") as file:
                pages = int(file.read(4096).split()[1])
            opened = len(os.listdir(f"/proc/{pid}/fd"))
        except (OSError, ValueError, IndexError):
            continue
        count, resident, descriptors = count + 1, resident + pages * _PAGE, descriptors + opened
        seconds += (int(fields[11]) + int(fields[12])) / _TICKS
    yield GaugeMetricFamily("swift_processes", "Processes that serve.", value=count)
    yield GaugeMetricFamily("swift_process_resident_bytes", "Memory of all of them.", value=resident)
    yield GaugeMetricFamily("swift_process_open_fds", "Open descriptors of all of them.", value=descriptors)
    yield CounterMetricFamily("swift_process_cpu_seconds", "CPU time of those that live.", value=seconds)


def _disks(disks: NodeDisks) -> Iterable[Any]:
    from prometheus_client.core import GaugeMetricFamily

    try:
        usage, counts = disks.usage(), disks.quarantined()
    except (
        OSError
    ):  # no folder of disks, or one of them is broken: that must not take the other figures along
        return
    size = GaugeMetricFamily("swift_disk_size_bytes", "Size of a device.", labels=["device"])
    free = GaugeMetricFamily("swift_disk_available_bytes", "Room on a device.", labels=["device"])
    mounted = GaugeMetricFamily("swift_disk_mounted", "1 if a device is mounted.", labels=["device"])
    for entry in usage:
        mounted.add_metric([entry["device"]], 1 if entry["mounted"] is True else 0)
        if entry["size"] != "":
            size.add_metric([entry["device"]], entry["size"])
            free.add_metric([entry["device"]], entry["avail"])
    yield from (size, free, mounted)
    quarantined = GaugeMetricFamily(
        "swift_quarantined", "What was set aside as damaged.", labels=["kind", "policy"]
    )
    for kind in ("accounts", "containers"):
        quarantined.add_metric([kind, ""], counts[kind])
    for policy, found in sorted(counts["policies"].items()):
        quarantined.add_metric(["objects", policy], found["objects"])
    yield quarantined


def _waiting(recorded: Mapping[str, Any]) -> Iterable[Any]:
    from prometheus_client.core import GaugeMetricFamily

    pending = recorded.get("async_pending")
    if isinstance(pending, (int, float)):
        yield GaugeMetricFamily(
            "swift_async_pending", "Container updates that wait, as the last sweep found them.", value=pending
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
