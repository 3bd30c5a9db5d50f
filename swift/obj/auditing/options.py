"""What an operator decides about the object-auditor (object-disk 23.5)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from swift.core.config import (
    auto_int,
    csv_list,
    non_negative_float,
    non_negative_int,
    positive_float,
    positive_int,
    read_conf_sections,
    truthy,
)
from swift.core.errors import ConfigError
from swift.obj.store import RECLAIM_AGE
from swift.telemetry import recon_cache

NO_REPLICATOR = (
    86400  # seconds that rsync's temporary files may stay where nobody says how long an rsync may take
)
RSYNC_TIMEOUT = 900
ETAG, CHECKSUMS, MIXED = "etag", "checksums", "mixed"


class AuditorOptions:
    """`conf`: section object-auditor. Times in seconds, rates in a second, 0 for no limit. Raises ValueError, ConfigError."""

    def __init__(self, conf: Mapping[str, Any]) -> None:
        sections = read_conf_sections(conf["__file__"]) if "__file__" in conf else {}
        replicator = sections.get("object-replicator")
        self.interval = non_negative_float(conf.get("interval", 30))
        self.concurrency = positive_int(conf.get("concurrency", 1))
        self.files_per_second = non_negative_float(conf.get("files_per_second", 20))
        self.bytes_per_second = non_negative_float(conf.get("bytes_per_second", 10000000))
        self.zero_byte_files_per_second = non_negative_float(conf.get("zero_byte_files_per_second", 50))
        self.log_time = positive_float(conf.get("log_time", 3600))
        self.chunk = positive_int(conf.get("disk_chunk_size", 65536))
        self.prove_by = _way_to_prove(conf.get("prove_by", MIXED))
        self.sizes = sorted(non_negative_int(word) for word in csv_list(conf.get("object_size_stats", "")))
        age = (replicator or {}).get("reclaim_age", RECLAIM_AGE)
        self.reclaim_age = float(conf.get("reclaim_age", age))
        self.tempfile_age = float(
            auto_int(conf.get("rsync_tempfile_timeout", "auto"), _longest_transfer(replicator))
        )
        self.recon_file = os.path.join(
            conf.get("recon_cache_path", recon_cache.DEFAULT_PATH), recon_cache.OBJECT
        )
        self.compare_listings = truthy(conf.get("compare_listings", "true"))
        self.conn_timeout = positive_float(conf.get("conn_timeout", 0.5))
        self.node_timeout = positive_float(conf.get("node_timeout", 10))
        self.watchers = {
            name: {**conf, **sections.get(f"object-auditor:watcher:{name}", {})}
            for name in csv_list(conf.get("watchers", ""))
        }


def _way_to_prove(word: str) -> str:
    if word not in (ETAG, CHECKSUMS, MIXED):
        raise ConfigError(f"prove_by must be {MIXED}, {ETAG} or {CHECKSUMS}, not {word!r}")
    return word


def _longest_transfer(replicator: Mapping[str, str] | None) -> int:
    if replicator is None:
        return NO_REPLICATOR
    return positive_int(replicator.get("rsync_timeout", RSYNC_TIMEOUT)) + RSYNC_TIMEOUT
