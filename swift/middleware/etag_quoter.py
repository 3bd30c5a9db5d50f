"""Filter `etag_quoter`: ETags of objects in quotes, as HTTP has them, where an account, a container or the cluster wants it (spec middleware 4.28).

An object's answer is looked at only; nothing is asked before there is an ETag to be quoted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from swift.core import capabilities
from swift.core.config import truthy
from swift.core.constraints import limits
from swift.middleware.info import get_account_info, get_container_info, is_success
from swift.wire.call import Application, StartResponse
from swift.wire.message import parsed_path

_OPTION = "rfc-compliant-etags"
_KEY = "RFC_COMPLIANT_ETAGS"


class EtagQuoter:
    def __init__(self, app: Application, conf: dict[str, Any]) -> None:
        self.app = app
        self.by_default = truthy(conf.get("enable_by_default", "false"))

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        version, account, container, obj = parsed_path(environ)
        if account is None or version not in limits().valid_api_versions:
            return self.app(environ, start_response)
        if obj is None:
            return self._of_a_listing(
                environ, start_response, "Account" if container is None else "Container"
            )

        def respond(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            for name, value in headers:
                if (
                    name in ("Etag", "ETag", "etag")
                    and not _is_quoted(value)
                    and self._wants_quotes(environ, account, container)
                ):
                    headers = _quoted(headers)
                    break
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        return self.app(environ, respond)

    def _wants_quotes(self, environ: dict[str, Any], account: str, container: str | None) -> bool:
        assert container is not None
        info = get_container_info(environ, self.app, account, container)
        if not is_success(info["status"]):
            return False
        wanted = info["sysmeta"].get(_OPTION)
        if wanted is None:
            info = get_account_info(environ, self.app, account)
            wanted = info["sysmeta"].get(_OPTION) if is_success(info["status"]) else None
        return self.by_default if wanted is None else truthy(wanted)

    def _of_a_listing(
        self, environ: dict[str, Any], start_response: StartResponse, level: str
    ) -> Iterable[bytes]:
        """The wish is kept as system metadata, and shown under the name that clients know."""
        upper = level.upper()
        key = f"HTTP_X_{upper}_{_KEY}"
        removal = f"HTTP_X_REMOVE_{upper}_{_KEY}"
        if key in environ or removal in environ:
            value = environ.pop(key, None)
            removed = environ.pop(removal, None)
            if removed or value == "":
                environ[f"HTTP_X_{upper}_SYSMETA_{_KEY}"] = ""
            elif value is not None:
                environ[f"HTTP_X_{upper}_SYSMETA_{_KEY}"] = str(truthy(value))
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return self.app(environ, start_response)
        stored = f"X-{level}-Sysmeta-Rfc-Compliant-Etags"

        def respond(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            for name, value in headers:
                if name == stored:
                    headers = [*headers, (f"X-{level}-Rfc-Compliant-Etags", value)]
                    break
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        return self.app(environ, respond)


def _is_quoted(value: str) -> bool:
    return value.endswith('"') and value.startswith(('"', 'W/"'))


def _quoted(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [
        (name, f'"{value}"') if name.lower() == "etag" and not _is_quoted(value) else (name, value)
        for name, value in headers
    ]


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], EtagQuoter]:
    conf = {**global_conf, **local_conf}
    capabilities.register("etag_quoter", enable_by_default=truthy(conf.get("enable_by_default", "false")))

    def factory(app: Any) -> EtagQuoter:
        return EtagQuoter(app, conf)

    return factory
