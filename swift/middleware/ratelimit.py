"""Filter `ratelimit`: how often accounts may be written to, and containers written to and listed (spec middleware 4.11).

A limit is a running time for each key, which every request pushes on: a counter that all proxies share by their cache. Of limits that many requests
fall under a worker takes a slice at a time, so that it need not ask the cache for each of them. Without a cache nothing is limited.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from swift.cache.memcache import MemcacheConnectionError
from swift.core import capabilities, clock
from swift.core.concurrency import sleep
from swift.core.config import csv_list
from swift.core.constraints import limits
from swift.middleware.info import get_account_info, get_container_info, is_success
from swift.telemetry.log import get_logger
from swift.wire.message import Request, Response, parsed_path, wsgi_to_str

_CHANGES = frozenset(("PUT", "DELETE", "POST", "COPY"))
_SECONDS_IN_SLICE = 0.02  # of what a limit allows, at most, is taken without being used
_COUNTER_LIFE = 86400  # seconds; a counter that goes forgives what was still to be waited for
_MOST_SLICES, _LONGEST_KEY = 10_000, 1024
_BLACKLISTED_WAIT = 1  # second

Step = tuple[float, float]


class Limit(NamedTuple):
    """At most `rate` requests a second that share `key`."""

    key: str
    rate: float


class Slice:
    """Requests that a worker may still let through, the next of which is due at `due` (ticks)."""

    __slots__ = ("due", "left", "until")

    def __init__(self, due: int, left: int, until: int) -> None:
        self.due = due
        self.left = left
        self.until = until


class RateLimit:
    def __init__(self, app: Any, conf: Mapping[str, Any], logger: Any = None) -> None:
        self.app = app
        self.logger = logger or get_logger(conf, "proxy-server", log_route="ratelimit")
        self.accuracy = int(conf.get("clock_accuracy", 1000))
        self.longest_sleep = float(conf.get("max_sleep_time_seconds", 60))
        self.log_sleep = float(conf.get("log_sleep_time_seconds", 0))
        self.buffer = int(float(conf.get("rate_buffer_seconds", 5)) * self.accuracy)
        self.account_rate = float(conf.get("account_ratelimit", 0))
        self.container_steps = steps(conf, "container_ratelimit_")
        self.listing_steps = steps(conf, "container_listing_ratelimit_")
        self.whitelist = frozenset(csv_list(conf.get("account_whitelist")))
        self.blacklist = frozenset(csv_list(conf.get("account_blacklist")))
        for option in ("account_whitelist", "account_blacklist"):
            if conf.get(option):
                self.logger.warning(
                    "Option %s is deprecated. Use the account metadata "
                    "X-Account-Sysmeta-Global-Write-Ratelimit: %s instead.",
                    option,
                    option.removeprefix("account_").upper(),
                )
        # By its options: only what an account itself says can limit anybody.
        self._limits_nobody = not (
            self.account_rate > 0 or self.container_steps or self.listing_steps or self.blacklist
        )
        self._slices: OrderedDict[str, Slice] = OrderedDict()
        self._told = False

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("swift.ratelimit.handled"):
            return self.app(environ, start_response)
        version, account, container, obj = parsed_path(environ)
        if account is None or version not in limits().valid_api_versions:
            return self.app(environ, start_response)
        environ["swift.ratelimit.handled"] = True
        cache = environ.get("swift.cache")
        if cache is None:
            if not self._told:
                self._told = True
                self.logger.warning("Warning: Cannot ratelimit without a memcached client")
            return self.app(environ, start_response)
        refusal = self._waited(environ, cache, account, container, obj)
        if refusal is not None:
            return refusal(environ, start_response)
        return self.app(environ, start_response)

    # -- which limits ----------------------------------------------------------------------------------------------------------

    def _waited(
        self, environ: dict[str, Any], cache: Any, account: str, container: str | None, obj: str | None
    ) -> Response | None:
        """Wait for the request's turn; the answer if that is too far away."""
        sysmeta = get_account_info(environ, self.app, account)["sysmeta"]
        write_limit = sysmeta.get("global-write-ratelimit")
        if self._limits_nobody and not write_limit:
            return None
        name = wsgi_to_str(account)
        if name in self.whitelist or write_limit == "WHITELIST":
            return None
        if name in self.blacklist or write_limit == "BLACKLIST":
            self.logger.error("Returning 497 because of blacklisting: %s", name)
            sleep(_BLACKLISTED_WAIT)
            return Response(
                status="497 Blacklisted", body="Your account has been blacklisted", request=Request(environ)
            )
        for limit in self._limits(environ, account, container, obj, write_limit):
            seconds = self._turn(cache, limit)
            if seconds is None:
                self.logger.error(
                    "Returning 498 for %s to %s/%s/%s . Ratelimit (Max Sleep) ",
                    *(environ["REQUEST_METHOD"], name, container, obj),
                )
                return Response(status="498 Rate Limited", body="Slow down", request=Request(environ))
            if seconds > 0:
                if 0 < self.log_sleep < seconds:
                    self.logger.warning(
                        "Ratelimit sleep log: %s for %s/%s/%s", *(seconds, name, container, obj)
                    )
                sleep(seconds)
        return None

    def _limits(
        self,
        environ: dict[str, Any],
        account: str,
        container: str | None,
        obj: str | None,
        write_limit: str | None,
    ) -> list[Limit]:
        """Those that a request falls under, in the order in which they are waited for."""
        method = environ["REQUEST_METHOD"]
        name = wsgi_to_str(account)
        found = []
        if container is not None:
            place = f"{name}/{wsgi_to_str(container)}"
            if obj is None:
                if self.account_rate > 0 and method in ("PUT", "DELETE"):
                    found.append(Limit(f"ratelimit/{name}", self.account_rate))
                if self.listing_steps and method == "GET":
                    rate = self._rate(environ, account, container, self.listing_steps)
                    found.append(Limit(f"ratelimit_listing/{place}", rate))
            elif self.container_steps and method in _CHANGES:
                rate = self._rate(environ, account, container, self.container_steps)
                found.append(Limit(f"ratelimit/{place}", rate))
        if write_limit and method in _CHANGES:
            found.append(Limit(f"ratelimit/global-write/{name}", _number(write_limit)))
        return [limit for limit in found if limit.rate > 0]

    def _rate(self, environ: dict[str, Any], account: str, container: str, table: list[Step]) -> float:
        info = get_container_info(environ, self.app, account, container)
        return rate_of(table, info["object_count"]) if is_success(info["status"]) else 0.0

    # -- waiting ---------------------------------------------------------------------------------------------------------------

    def _turn(self, cache: Any, limit: Limit) -> float | None:
        """Seconds until it is this request's turn; None if they are too many. Another request's turn is after it."""
        accuracy = self.accuracy
        now = round(clock.time() * accuracy)
        step = round(accuracy / limit.rate)
        piece = self._slices.get(limit.key)
        if piece is None or piece.left <= 0 or piece.until < now:
            try:
                piece = self._next_slice(cache, limit, now, step)
            except MemcacheConnectionError:
                return 0
        wait = max(piece.due - now, 0)
        if self.longest_sleep * accuracy - wait <= accuracy * 0.01:
            self._slices.pop(limit.key, None)
            try:
                cache.decr(limit.key, delta=step * piece.left)
            except MemcacheConnectionError:
                pass
            return None
        piece.left -= 1
        piece.due += step
        return wait / accuracy

    def _next_slice(self, cache: Any, limit: Limit, now: int, step: int) -> Slice:
        """Raises MemcacheConnectionError."""
        count = max(int(limit.rate * _SECONDS_IN_SLICE), 1)
        running = cache.incr(limit.key, delta=step * count, time=_COUNTER_LIFE)
        due = running - step * count
        if now - running > self.buffer:
            cache.set(limit.key, str(now + step * count), serialize=False, time=_COUNTER_LIFE)
            due = now
        until = now + max(round(_SECONDS_IN_SLICE * self.accuracy), due - now)
        piece = Slice(due, count, until)
        if len(limit.key) <= _LONGEST_KEY:
            self._slices[limit.key] = piece
            if len(self._slices) > _MOST_SLICES:
                self._slices.popitem(last=False)
        return piece


# -- rates -------------------------------------------------------------------------------------------------------------------------


def steps(conf: Mapping[str, Any], prefix: str) -> list[Step]:
    """The (size, rate) pairs of options `<prefix><size> = <rate>`, smallest size first. Raises ValueError."""
    return sorted(
        (float(option[len(prefix) :]), float(rate))
        for option, rate in conf.items()
        if option.startswith(prefix)
    )


def rate_of(table: list[Step], size: int) -> float:
    """The rate for a container of `size` objects: between two steps in proportion; 0, no limit, below the first one."""
    before: Step | None = None
    for step in table:
        if size < step[0]:
            if before is None:
                return 0.0
            share = (size - before[0]) / (step[0] - before[0])
            return before[1] + share * (step[1] - before[1])
        before = step
    return before[1] if before is not None else 0.0


def _number(text: str) -> float:
    """An account's own limit; 0 for what is no number."""
    try:
        rate = float(text)
    except ValueError:
        return 0.0
    return rate if 0 < rate < float("inf") else 0.0


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], RateLimit]:
    conf = {**global_conf, **local_conf}
    capabilities.register(
        "ratelimit",
        account_ratelimit=float(conf.get("account_ratelimit", 0)),
        max_sleep_time_seconds=float(conf.get("max_sleep_time_seconds", 60)),
        container_ratelimits=steps(conf, "container_ratelimit_"),
        container_listing_ratelimits=steps(conf, "container_listing_ratelimit_"),
    )

    def factory(app: Any) -> RateLimit:
        return RateLimit(app, conf)

    return factory
