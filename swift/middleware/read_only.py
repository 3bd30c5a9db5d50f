"""Filter `read_only`: nothing is written to accounts that an operator has closed, or to the whole cluster (spec middleware 4.13)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from swift.core import capabilities
from swift.core.config import truthy
from swift.core.constraints import limits
from swift.middleware.info import get_account_info
from swift.wire.call import Application, StartResponse
from swift.wire.message import HTTPMethodNotAllowed, Request, parsed_path, wsgi_unquote

_WRITES = frozenset(("COPY", "POST", "PUT"))


class ReadOnly:
    def __init__(self, app: Application, conf: dict[str, Any]) -> None:
        self.app = app
        self.is_closed = truthy(conf.get("read_only", "false"))
        allow_deletes = truthy(conf.get("allow_deletes", "false"))
        self.methods = _WRITES if allow_deletes else _WRITES | {"DELETE"}

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method not in self.methods:
            return self.app(environ, start_response)
        version, account, _, _ = parsed_path(environ)
        if account is None or version not in limits().valid_api_versions:
            return self.app(environ, start_response)
        if method == "COPY" and "HTTP_DESTINATION_ACCOUNT" in environ:
            account = wsgi_unquote(environ["HTTP_DESTINATION_ACCOUNT"])
        if self._is_closed(environ, account):
            text = "Writes are disabled for this account."
            return HTTPMethodNotAllowed(request=Request(environ), body=text)(environ, start_response)
        return self.app(environ, start_response)

    def _is_closed(self, environ: dict[str, Any], account: str) -> bool:
        """An account's own word counts before the cluster's."""
        own = get_account_info(environ, self.app, account)["sysmeta"].get("read-only")
        return truthy(own) if own else self.is_closed


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], ReadOnly]:
    conf = {**global_conf, **local_conf}
    if truthy(conf.get("read_only", "false")):
        capabilities.register("read_only")

    def factory(app: Any) -> ReadOnly:
        return ReadOnly(app, conf)

    return factory
