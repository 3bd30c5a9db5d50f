"""The filter's configuration, and the requests that it makes."""

from __future__ import annotations

from typing import Any, NamedTuple

from swift.wire.subrequest import make_environ

_CREDENTIALS = ("HTTP_X_AUTH_TOKEN", "HTTP_X_STORAGE_TOKEN", "HTTP_X_SERVICE_TOKEN")


class Options(NamedTuple):
    """yield_frequency: seconds between two signs of life; the rest are numbers of things."""

    max_containers: int
    max_failed_extractions: int
    max_deletes: int
    max_failed_deletes: int
    yield_frequency: float
    delete_concurrency: int
    container_retries: int

    @classmethod
    def from_conf(cls, conf: dict[str, Any]) -> Options:
        """Raises ValueError for what is no number, and for a concurrency outside of 1 to 1,000."""
        concurrency = int(conf.get("delete_concurrency", 2))
        if not 1 <= concurrency <= 1000:
            raise ValueError(f"delete_concurrency must be from 1 to 1000, not {concurrency}")
        return cls(
            int(conf.get("max_containers_per_extraction", 10000)),
            int(conf.get("max_failed_extractions", 1000)),
            int(conf.get("max_deletes_per_request", 10000)),
            int(conf.get("max_failed_deletes", 1000)),
            float(conf.get("yield_frequency", 10)),
            concurrency,
            int(conf.get("delete_container_retry_count", 0)),
        )


def own_environ(environ: dict[str, Any], method: str, path: str, agent: str, source: str) -> dict[str, Any]:
    """A request on behalf of the client's, with its credentials; `path` is a WSGI string."""
    made = make_environ(environ, method, path, query="", agent=f"%(orig)s {agent}", source=source)
    for key in _CREDENTIALS:
        if key in environ:
            made[key] = environ[key]
    return made
