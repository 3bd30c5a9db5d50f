"""Filter `backend_ratelimit` of storage servers: how many requests a device takes a second (spec middleware 4.12).

Who is refused (529) is to ask another device. Limits are those of a worker process. The file that may change them while the server runs is read in a
thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import spawn_n
from swift.core.config import DEFAULT_SWIFT_DIR, non_negative_float, read_ini
from swift.core.errors import ConfigError
from swift.core.remembered import Remembered
from swift.engine.threads import run_in_thread
from swift.run.rate import RateLimiter
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics
from swift.wire.message import HTTPTooManyBackendRequests, Request

SECTION = "backend_ratelimit"
METHODS = ("get", "head", "put", "post", "delete", "update", "replicate")
_MOST_LIMITERS = 4096
_ALL = "ALL"


class Rates:
    """What is configured; equal if it says the same."""

    def __init__(self, conf: Mapping[str, Any]) -> None:
        self.catch_up = non_negative_float(conf.get("requests_per_device_rate_buffer", "1.0"))
        self.per_method = {_ALL: non_negative_float(conf.get("requests_per_device_per_second", "0.0"))}
        for method in METHODS:
            value = conf.get(f"{method}_requests_per_device_per_second", "0.0")
            self.per_method[method.upper()] = non_negative_float(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rates) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def is_limiting(self) -> bool:
        return any(self.per_method.values())


class BackendRateLimit:
    """Raises ValueError for a configuration that cannot be."""

    def __init__(self, app: Any, conf: Mapping[str, Any], logger: Any = None) -> None:
        self.app = app
        self.conf = dict(conf)
        self.logger = logger or get_logger(conf, conf.get("log_name"), log_route="backend_ratelimit")
        self.metrics = get_metrics(conf, "backend_ratelimit")
        given = conf.get("backend_ratelimit_conf_path")
        swift_dir = conf.get("swift_dir") or DEFAULT_SWIFT_DIR
        self.path = given or os.path.join(swift_dir, "backend-ratelimit.conf")
        self.interval = non_negative_float(conf.get("config_reload_interval", "60.0"))
        self.rates = Rates(conf)
        self._limiters: Remembered[tuple[str, str], RateLimiter] = Remembered(_MOST_LIMITERS)
        self._problem = ""
        try:
            self._take(_read(self.path))
        except FileNotFoundError:
            if given:
                self.logger.warning("Cannot load config file %s", given)
        self._next_look = clock.monotonic() + self.interval if self.interval else float("inf")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if clock.monotonic() >= self._next_look:
            self._next_look = clock.monotonic() + self.interval
            spawn_n(self._look)
        if self.rates.is_limiting:
            device = _device(environ["PATH_INFO"])
            if device is not None and not self._is_allowed(device, environ["REQUEST_METHOD"]):
                self.metrics.increment("backend.ratelimit")
                return HTTPTooManyBackendRequests(request=Request(environ))(environ, start_response)
        return self.app(environ, start_response)

    def _is_allowed(self, device: str, method: str) -> bool:
        for kind in (_ALL, method):
            rate = self.rates.per_method.get(kind)
            if rate and not self._limiter(device, kind, rate).is_allowed():
                return False
        return True

    def _limiter(self, device: str, kind: str, rate: float) -> RateLimiter:
        limiter = self._limiters.get((device, kind))
        if limiter is None:
            limiter = RateLimiter(rate, self.rates.catch_up, burst_after_idle=True, clock=clock.monotonic)
            self._limiters.keep((device, kind), limiter)
        return limiter

    # -- the file --------------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        try:
            section = run_in_thread(_read, self.path)
        except FileNotFoundError:
            return  # what was in force stays so
        self._take(section)

    def _take(self, section: Mapping[str, str] | str) -> None:
        """Have what the file says in force, as a whole; a text says why it cannot be read."""
        try:
            if isinstance(section, str):
                raise ValueError(section)
            rates = Rates({**self.conf, **section})
        except ValueError as error:
            problem = str(error)
            if problem != self._problem:
                self.logger.warning("Invalid config file %s: %s", self.path, problem)
            self._problem = problem
            return
        self._problem = ""
        if rates != self.rates:
            self.rates = rates
            self._limiters.clear()
            self.logger.info("Loaded config file %s, config changed", self.path)


def _read(path: str) -> Mapping[str, str] | str:
    """The section of a configuration file, or why it cannot be read. Raises FileNotFoundError."""
    if not os.path.exists(path):
        raise FileNotFoundError(path)
    try:
        sections = read_ini(path)
    except (OSError, ValueError, ConfigError) as error:
        return str(error) or type(error).__name__
    return sections.get(SECTION, f"there is no section [{SECTION}]")


def _device(path: str) -> str | None:
    """The device of a storage server's path; None for what is about none."""
    parts = path.split("/", 3)
    if len(parts) < 3 or parts[0] or not parts[1] or not (parts[2].isascii() and parts[2].isdigit()):
        return None
    return parts[1]


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], BackendRateLimit]:
    conf = {**global_conf, **local_conf}

    def factory(app: Any) -> BackendRateLimit:
        return BackendRateLimit(app, conf)

    return factory
