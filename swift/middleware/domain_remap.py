"""Filter `domain_remap`: `container.account.example.com/object` for `/v1/account/container/object` (spec middleware 4.30).

Never here: names outside of the store's domains; `cname_lookup` finds out which of ours they stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from swift.core import capabilities
from swift.core.config import csv_list, truthy
from swift.middleware.hosts import below, split_port, storage_domains, telling
from swift.wire.call import StartResponse
from swift.wire.message import HTTPBadRequest, Request, wsgi_quote


class DomainRemap:
    def __init__(self, app: Any, conf: dict[str, Any]) -> None:
        self.app = app
        self.domains = storage_domains(conf)
        self.path_root = str(conf.get("path_root", "v1")).strip("/")
        prefixes = csv_list(conf.get("reseller_prefixes", "AUTH"))
        self.prefixes = {prefix.lower(): prefix for prefix in prefixes}
        self.default_prefix = conf.get("default_reseller_prefix")
        self.mangle_client_paths = truthy(conf.get("mangle_client_paths", "no"))

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST")
        named = below(split_port(host)[0], self.domains) if host else None
        if named is None:
            return self.app(environ, start_response)
        parts = named.strip(".").split(".")
        if len(parts) > 2:
            refusal = HTTPBadRequest(
                request=Request(environ), body=b"Bad domain in host header", content_type="text/plain"
            )
            return refusal(environ, start_response)
        account = self._account(parts[-1])
        if not account:
            return self.app(environ, start_response)
        asked = environ["PATH_INFO"]
        path = asked[1:]
        if self.mangle_client_paths and path.startswith(f"{self.path_root}/"):
            path = path[len(self.path_root) + 1 :]
        meant = "/" + "/".join((self.path_root, account, *parts[:-1], path))
        environ["PATH_INFO"] = meant
        return self._answered(environ, start_response, wsgi_quote(meant), wsgi_quote(asked))

    def _account(self, name: str) -> str | None:
        """The account that a part of a host's name stands for: those cannot hold `_` everywhere, and may come in any case."""
        if not self.prefixes or not name:
            return name
        if "_" not in name:
            name = name.replace("-", "_", 1)
        prefix, underscore, rest = name.partition("_")
        known = self.prefixes.get(prefix.lower())
        if known is not None:
            return f"{known}{underscore}{rest}"
        return f"{self.default_prefix}_{name}" if self.default_prefix else None

    def _answered(
        self, environ: dict[str, Any], start_response: StartResponse, meant: str, asked: str
    ) -> Iterable[bytes]:
        def as_asked(url: str) -> str:
            scheme, _, rest = url.partition("://")
            host, slash, path = rest.partition("/")
            path = slash + path
            return f"{scheme}://{host}{asked}{path[len(meant) :]}" if path.startswith(meant) else url

        return self.app(environ, telling(start_response, as_asked))


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], DomainRemap]:
    conf = {**global_conf, **local_conf}
    capabilities.register("domain_remap", default_reseller_prefix=conf.get("default_reseller_prefix"))

    def factory(app: Any) -> DomainRemap:
        return DomainRemap(app, conf)

    return factory
