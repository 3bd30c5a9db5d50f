"""The filter itself: a host of somebody else's is taken for the one of ours that it stands for, as long as DNS says so.

Never here: DNS messages (`dns`), and what a host of ours means (`domain_remap`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from swift.core import capabilities
from swift.core.concurrency import Event
from swift.core.config import csv_list, positive_int
from swift.middleware.cname_lookup.dns import Found, Server, cname, parse_servers, servers_of_system
from swift.middleware.hosts import below, is_address, split_port, storage_domains, telling
from swift.telemetry.log import get_logger
from swift.wire.call import StartResponse
from swift.wire.message import HTTPBadRequest, HTTPServiceUnavailable, Request, Response

MAX_QUESTIONS = 256  # names that are asked for at a time
_RETRY_SECONDS = "2"

Ask = Callable[[str, Sequence[Server]], Found]


class TooManyQuestions(Exception):
    """So many names are being looked up that no other can be."""


class CnameLookup:
    """Raises ValueError at once for a configuration that can't be meant."""

    def __init__(self, app: Any, conf: dict[str, Any], logger: Any = None, ask: Ask = cname) -> None:
        self.app = app
        self.logger = logger or get_logger(conf, "proxy-server", log_route="cname-lookup")
        self.domains = storage_domains(conf)
        self.depth = positive_int(conf.get("lookup_depth", 1))
        self.servers = parse_servers(csv_list(conf.get("nameservers"))) or servers_of_system()
        self._ask = ask
        self._flights: dict[str, Any] = {}

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST")
        if host is None or not self.domains:
            return self.app(environ, start_response)
        name, port = split_port(host)
        if below(name, self.domains) is not None or is_address(name):
            return self.app(environ, start_response)
        try:
            found, problem = self._ours(environ.get("swift.cache"), name.removesuffix(".").lower())
        except TooManyQuestions:
            refusal: Response = HTTPServiceUnavailable(
                request=Request(environ), headers={"Retry-After": _RETRY_SECONDS}
            )
            return refusal(environ, start_response)
        if found is None:
            refusal = HTTPBadRequest(request=Request(environ), body=problem, content_type="text/plain")
            return refusal(environ, start_response)
        self.logger.debug("Mapped %s to %s", name, found)
        environ["HTTP_HOST"] = f"{found}{port}"
        return self._answered(environ, start_response, environ["HTTP_HOST"], host)

    def _ours(self, cache: Any, name: str) -> tuple[str | None, str]:
        """(host of ours, '') or (None, why there is none) for the name of somebody else's. Raises TooManyQuestions."""
        for _ in range(self.depth):
            found = self._target(cache, name)
            if found is None or found.lower() == name:
                return None, "CNAME lookup failed to resolve to a valid domain"
            if below(found, self.domains) is not None:
                return found, ""
            name = found.lower()
        return None, f"CNAME lookup failed after {self.depth} tries"

    def _target(self, cache: Any, name: str) -> str | None:
        key = f"cname-{name}"
        if cache is not None:
            known = cache.get(key)
            if known is False or isinstance(known, str):
                return known or None
        found = self._asked_once(name)
        if cache is not None and found.ttl > 0:
            cache.set(key, found.name or False, time=found.ttl)
        return found.name

    def _asked_once(self, name: str) -> Found:
        """Those who want the same name meanwhile wait for that answer instead of asking too."""
        flight = self._flights.get(name)
        if flight is not None:
            return flight.wait()
        if len(self._flights) >= MAX_QUESTIONS:
            raise TooManyQuestions
        flight = self._flights[name] = Event()
        found = Found(None, 0)
        try:
            found = self._ask(name, self.servers)
        finally:
            del self._flights[name]
            flight.send(found)
        return found

    def _answered(
        self, environ: dict[str, Any], start_response: StartResponse, ours: str, asked: str
    ) -> Iterable[bytes]:
        def as_asked(url: str) -> str:
            scheme, _, rest = url.partition("://")
            host, slash, path = rest.partition("/")
            return f"{scheme}://{asked}{slash}{path}" if host == ours else url

        return self.app(environ, telling(start_response, as_asked))


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], CnameLookup]:
    conf = {**global_conf, **local_conf}
    capabilities.register("cname_lookup", lookup_depth=positive_int(conf.get("lookup_depth", 1)))

    def factory(app: Any) -> CnameLookup:
        return CnameLookup(app, conf)

    return factory
