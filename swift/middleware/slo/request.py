"""What the parts of the filter share: its options, and requests of its own with a client's rights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swift.core.config import (
    bounded_float,
    non_negative_float,
    non_negative_int,
    positive_float,
    positive_int,
    truthy,
)
from swift.core.constraints import limits
from swift.core.errors import ConfigError
from swift.middleware.info import get_container_info
from swift.middleware.segments.source import CARRIED
from swift.wire.call import Application
from swift.wire.message import Request, parsed_path
from swift.wire.subrequest import make_environ

SOURCE = "SLO"
MOST_AT_A_TIME = 1000
_MANIFEST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Options:
    """All of [filter:slo]. Sizes in bytes, times in seconds."""

    max_manifest_segments: int = 1000
    max_manifest_size: int = 8 * 1024 * 1024
    rate_limit_under_size: int = 1024 * 1024
    rate_limit_after_segment: int = 10
    rate_limit_segments_per_sec: float = 1.0
    max_get_time: float = 86400.0
    concurrency: int = 2
    delete_concurrency: int = 2
    yield_frequency: float = 10.0
    allow_async_delete: bool = True
    verify_segments: bool = False
    expirer_account: str = ".expiring_objects"

    @property
    def max_stored_size(self) -> int:
        """Stored manifests say more of each segment than clients do."""
        return max(8 * self.max_manifest_size, _MANIFEST_BYTES)


def parse_options(conf: Mapping[str, Any]) -> Options:
    """Raises ConfigError."""
    prefix = limits().auto_create_account_prefix
    try:
        concurrency = _at_a_time(conf.get("concurrency", "2"))
        return Options(
            max_manifest_segments=positive_int(conf.get("max_manifest_segments", "1000")),
            max_manifest_size=positive_int(conf.get("max_manifest_size", "8388608")),
            rate_limit_under_size=non_negative_int(conf.get("rate_limit_under_size", "1048576")),
            rate_limit_after_segment=non_negative_int(conf.get("rate_limit_after_segment", "10")),
            rate_limit_segments_per_sec=non_negative_float(conf.get("rate_limit_segments_per_sec", "1")),
            max_get_time=positive_float(conf.get("max_get_time", "86400")),
            concurrency=concurrency,
            delete_concurrency=_at_a_time(conf.get("delete_concurrency", concurrency)),
            yield_frequency=positive_float(conf.get("yield_frequency", "10")),
            allow_async_delete=truthy(conf.get("allow_async_delete", "true")),
            verify_segments=truthy(conf.get("verify_segments", "false")),
            expirer_account=prefix + conf.get("expiring_objects_account_name", "expiring_objects"),
        )
    except ValueError as error:
        raise ConfigError(f"[filter:slo]: {error}") from None


def _at_a_time(value: Any) -> int:
    """How many requests at a time to begin with. Raises ValueError."""
    return int(bounded_float(value, 0, MOST_AT_A_TIME))


def own_request(environ: Mapping[str, Any], method: str, path: str, query: str, agent: str) -> dict[str, Any]:
    """The environ of a request with the client's rights; `path`: WSGI string, `agent`: what the log calls it beside the client's."""
    made = make_environ(environ, method, path=path, query=query, agent=f"%(orig)s SLO {agent}", source=SOURCE)
    for key in CARRIED:
        if key in environ:
            made[key] = environ[key]
    return made


def denied_write(app: Application, environ: Mapping[str, Any], path: str) -> Any:
    """The answer of whoever decides on rights if the client may not change the object at `path` (WSGI string), else None."""
    authorize = environ.get("swift.authorize")
    if authorize is None:
        return None
    asked = {**environ, "PATH_INFO": path}
    _, account, container, _ = parsed_path(asked)
    info = get_container_info(asked, app, account or "", container or "")
    asked["swob.ACL"] = info["write_acl"]
    return authorize(Request(asked))
