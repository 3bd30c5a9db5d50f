"""What metrics tell of a node's rings: which ones it has, of which version and since when.

What never lives here: anything that looks into a table of partitions.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from swift.core.policy import policies
from swift.ring.errors import RingFileError
from swift.ring.format import RingData
from swift.telemetry.file_hashes import FileHashes


class RingFigures:
    """Called with a Swift directory: its rings' families of metrics. A file is read again when it is another one; may block."""

    def __init__(self) -> None:
        self._hashes = FileHashes()
        self._versions: dict[str, tuple[str, int | None]] = {}  # by path: md5, version

    def __call__(self, swift_dir: str) -> Iterable[Any]:
        from prometheus_client.core import GaugeMetricFamily

        info = GaugeMetricFamily(
            "swift_ring_info", "Ring files of this node.", labels=["ring", "version", "md5"]
        )
        version = GaugeMetricFamily("swift_ring_version", "Version of a ring.", labels=["ring"])
        changed = GaugeMetricFamily(
            "swift_ring_timestamp_seconds",
            "When a ring file was put here, in seconds since the epoch.",
            labels=["ring"],
        )
        for name in ("account", "container", *(policy.ring_name for policy in policies())):
            path = os.path.join(swift_dir, f"{name}.ring.gz")
            try:
                digest, mtime = self._hashes.md5(path), os.stat(path).st_mtime
                number = self._version(path, digest)
            except (OSError, RingFileError):
                continue  # a node need not have all of them
            info.add_metric([name, "" if number is None else str(number), digest], 1)
            changed.add_metric([name], mtime)
            if number is not None:
                version.add_metric([name], number)
        yield from (info, version, changed)

    def _version(self, path: str, digest: str) -> int | None:
        known = self._versions.get(path)
        if known is None or known[0] != digest:
            known = self._versions[path] = digest, RingData.load_metadata(path, with_devices=False).version
        return known[1]
