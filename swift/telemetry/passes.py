"""When the daemons of a node were last through, how long that took and what went wrong in it, from what they leave in recon files.

What lives here: the keys, and the families made of them. What never does: writing recon files.
Spec: operations.md 10.1, and the keys that are ours: `*_last`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class Pass(NamedTuple):
    """Of a daemon: where its recon file has the end of the last pass (seconds since the epoch), how long it took, and its failures.

    Keys of keys are joined by dots; "" for what it does not tell. `unit`: seconds that one of its duration is.
    """

    daemon: str
    last: str
    seconds: str
    failures: str = ""
    unit: float = 1.0


OBJECT = (
    Pass(
        "object-replicator",
        "object_replication_last",
        "object_replication_time",
        "replication_stats.failure",
        60.0,
    ),
    Pass("object-reconstructor", "object_reconstruction_last", "object_reconstruction_time", unit=60.0),
    Pass("object-updater", "object_updater_last", "object_updater_sweep"),
    Pass("object-auditor", "object_auditor_last.ALL", "object_auditor_pass.ALL", "object_auditor_errors.ALL"),
    Pass(
        "object-auditor-zbf",
        "object_auditor_last.ZBF",
        "object_auditor_pass.ZBF",
        "object_auditor_errors.ZBF",
    ),
    Pass("object-expirer", "object_expirer_last", "object_expiration_pass"),
)
CONTAINER = (
    Pass("container-replicator", "replication_last", "replication_time", "replication_stats.failure"),
    Pass(
        "container-auditor",
        "container_auditor_last",
        "container_auditor_pass_completed",
        "container_audits_failed",
    ),
    Pass("container-updater", "container_updater_last", "container_updater_sweep"),
    Pass("container-sharder", "sharding_last", "sharding_time", "sharding_stats.failure"),
    Pass("container-sync", "container_sync_last", "container_sync_sweep", "container_sync_stats.failures"),
    Pass("container-reconciler", "container_reconciler_last", "container_reconciler_pass"),
    Pass("s3-lifecycle", "s3_lifecycle.last_pass", "s3_lifecycle.seconds", "s3_lifecycle.errors"),
    Pass("s3-notifier", "s3_notifier.time", ""),
)
ACCOUNT = (
    Pass("account-replicator", "replication_last", "replication_time", "replication_stats.failure"),
    Pass(
        "account-auditor", "account_auditor_last", "account_auditor_pass_completed", "account_audits_failed"
    ),
    Pass("account-reaper", "account_reaper_last", "account_reaper_pass"),
)
OF_KIND: Mapping[str, Sequence[Pass]] = {"account": ACCOUNT, "container": CONTAINER, "object": OBJECT}


def families(daemons: Sequence[Pass], recorded: Mapping[str, Any]) -> Iterable[Any]:
    """What `recorded`, a recon file, tells of them."""
    from prometheus_client.core import GaugeMetricFamily

    labels = ["daemon"]
    last = GaugeMetricFamily(
        "swift_daemon_last_pass_timestamp_seconds",
        "When a daemon's last whole pass was over, in seconds since the epoch.",
        labels=labels,
    )
    took = GaugeMetricFamily("swift_daemon_last_pass_seconds", "How long that pass took.", labels=labels)
    failures = GaugeMetricFamily("swift_daemon_last_pass_failures", "What failed in it.", labels=labels)
    for daemon in daemons:
        for family, key, unit in (
            (last, daemon.last, 1.0),
            (took, daemon.seconds, daemon.unit),
            (failures, daemon.failures, 1.0),
        ):
            value = _value(recorded, key)
            if value is not None:
                family.add_metric([daemon.daemon], value * unit)
    yield from (last, took, failures)


def _value(recorded: Any, key: str) -> float | None:
    for part in key.split(".") if key else ():
        recorded = recorded.get(part) if isinstance(recorded, dict) else None
    return recorded if key and isinstance(recorded, (int, float)) else None
