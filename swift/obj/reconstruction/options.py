"""What an operator decides about the object-reconstructor (object-disk 23.3)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from swift.core.config import non_negative_int, request_node_count, truthy
from swift.core.errors import ConfigError
from swift.obj.replication.options import PassOptions
from swift.obj.replication.push import Sessions
from swift.obj.ssync.sender import Options as SsyncOptions

_LEGACY_CRC = "LIBERASURECODE_WRITE_LEGACY_CRC"  # read by the library whenever it writes a fragment


class ReconstructorOptions(PassOptions):
    """`conf`: section object-reconstructor. Raises ValueError, ConfigError."""

    def __init__(self, conf: Mapping[str, Any], logger: Any) -> None:
        super().__init__(conf, logger, "object-reconstructor")
        self.workers = non_negative_int(conf.get("reconstructor_workers", 0))
        self.handoffs_only = truthy(conf.get("handoffs_only", _handoffs_first(conf, logger)))
        if self.handoffs_only:
            logger.warning(
                "Handoff only mode is not intended for normal operation: nothing is rebuilt. Please disable "
                "handoffs_only once no handoffs remain"
            )
        self.rebuild_handoff_node_count = int(conf.get("rebuild_handoff_node_count", 2))
        if self.rebuild_handoff_node_count < -1:
            raise ConfigError("rebuild_handoff_node_count must be -1 (all), 0 (none) or more")
        self.max_objects_per_revert = non_negative_int(conf.get("max_objects_per_revert", 0))
        self.quarantine_threshold = non_negative_int(conf.get("quarantine_threshold", 0))
        self.quarantine_age = float(conf.get("quarantine_age", self.reclaim_age))
        self.request_node_count = request_node_count(conf.get("request_node_count", "2 * replicas"))
        legacy = conf.get("write_legacy_ec_crc")
        if legacy is not None:
            os.environ[_LEGACY_CRC] = "1" if truthy(legacy) else "0"
        self.sessions = Sessions(SsyncOptions(self.conn_timeout, self.node_timeout, self.http_timeout))


def _handoffs_first(conf: Mapping[str, Any], logger: Any) -> Any:
    """The old name of handoffs_only."""
    value = conf.get("handoffs_first", "false")
    if "handoffs_first" in conf:
        if "handoffs_only" in conf:
            logger.warning("Option handoffs_first is ignored: handoffs_only is set.")
        else:
            logger.warning("Option handoffs_first is deprecated. Use handoffs_only instead.")
    return value
