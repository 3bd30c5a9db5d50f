"""Filter `memcache`, usually named `cache`: puts a cache into each request's environ (spec middleware 4.5).

Which cache that is, and with which options, is decided here: memcached where the configuration names servers, or where one runs
at the usual place; otherwise a cache inside this process, with which the store works as well. The caches themselves are in core.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable
from typing import Any

from swift.cache.local_cache import LocalCache
from swift.cache.memcache import MemcacheClient
from swift.core.config import (
    DEFAULT_SWIFT_DIR,
    csv_list,
    non_negative_float,
    positive_float,
    positive_int,
    read_ini,
    truthy,
)
from swift.core.errors import ConfigError
from swift.engine.sockets import connect
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics

USUAL_SERVER = "127.0.0.1:11211"
_PROBE_SECONDS = 0.3


class MemcacheMiddleware:
    def __init__(self, app: Any, cache: Any) -> None:
        self.app = app
        self.cache = cache

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["swift.cache"] = self.cache
        return self.app(environ, start_response)


def load_cache(conf: dict[str, Any], logger: Any = None) -> Any:
    """The cache that a filter section asks for. Raises ValueError that names a bad option."""
    logger = logger or get_logger(conf, "proxy-server", log_route="memcache")
    options = with_memcache_conf(conf)
    servers = csv_list(options.get("memcache_servers"))
    if not servers:
        if not _usual_server_runs():
            logger.info(
                "no memcached servers are configured and none runs at %s: caching in this process",
                USUAL_SERVER,
            )
            return LocalCache()
        servers = [USUAL_SERVER]
    return MemcacheClient(
        servers,
        max_connections=_option(
            options, "memcache_max_connections", positive_int, options.get("max_connections") or 2
        ),
        connect_timeout=_option(options, "connect_timeout", positive_float, 0.3),
        pool_timeout=_option(options, "pool_timeout", positive_float, 1.0),
        io_timeout=_option(options, "io_timeout", positive_float, 2.0),
        tries=_option(options, "tries", positive_int, 3),
        error_suppression_interval=_option(options, "error_suppression_interval", non_negative_float, 60),
        error_suppression_limit=_option(options, "error_suppression_limit", non_negative_float, 10),
        tls_context=_tls_context(options),
        item_size_warning_threshold=_option(options, "item_size_warning_threshold", int, -1),
        logger=logger,
        metrics=get_metrics(conf),
    )


def with_memcache_conf(conf: dict[str, Any]) -> dict[str, Any]:
    """The section's options over those of ``<swift_dir>/memcache.conf``, which is read only where the section lacks something."""
    connections = conf.get("memcache_max_connections") or conf.get("max_connections") or "0"
    try:
        enough = int(connections) > 0
    except ValueError:
        raise ValueError(f"memcache_max_connections must be a number, not {connections!r}") from None
    if conf.get("memcache_servers") and enough:
        return conf
    path = os.path.join(conf.get("swift_dir") or DEFAULT_SWIFT_DIR, "memcache.conf")
    try:
        base = read_ini(path, missing_ok=True).get("memcache", {})
    except ConfigError as error:
        raise ValueError(str(error)) from None
    own = {name: value for name, value in conf.items() if value != ""}
    if not enough:
        own = {
            name: value
            for name, value in own.items()
            if name not in ("memcache_max_connections", "max_connections")
        }
    return {**base, **own}


def _option(options: dict[str, Any], name: str, parse: Callable[[Any], Any], default: Any) -> Any:
    value = options.get(name)
    try:
        return parse(default if value is None or value == "" else value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _tls_context(options: dict[str, Any]) -> ssl.SSLContext | None:
    if not truthy(options.get("tls_enabled")):
        return None
    try:
        context = ssl.create_default_context(cafile=options.get("tls_cafile") or None)
        if options.get("tls_certfile"):
            context.load_cert_chain(options["tls_certfile"], options.get("tls_keyfile") or None)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"memcached TLS options: {error}") from None
    return context


def _usual_server_runs() -> bool:
    """Returns True if what listens there, if anything does, speaks memcached's language."""
    host, _, port = USUAL_SERVER.partition(":")
    try:
        connection = connect(host, int(port), _PROBE_SECONDS)
    except OSError:
        return False
    try:
        connection.set_timeout(_PROBE_SECONDS)
        connection.sendall(b"version\r\n")
        return connection.recv(64).startswith(b"VERSION ")
    except OSError:
        return False
    finally:
        connection.close()


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], MemcacheMiddleware]:
    conf = {**global_conf, **local_conf}
    cache = load_cache(conf)

    def factory(app: Any) -> MemcacheMiddleware:
        return MemcacheMiddleware(app, cache)

    return factory
