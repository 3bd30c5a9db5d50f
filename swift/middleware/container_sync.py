"""Filter `container_sync`: lets in what another cluster of a realm sends to a container that is synchronised (spec middleware 4.7).

Such a request is signed with the realm's key and the container's own. What it may then do is what the signature is about: this container
and the objects in it, and nothing that its other headers might lead to. The rows are sent by the daemon container-sync
(`swift.container.sync`); what a target of synchronisation is, is known to `swift.container.sync_realms`.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterable
from typing import Any

from swift.container.sync_realms import FILE, SyncRealms, signature
from swift.core import capabilities
from swift.core.config import truthy
from swift.core.constraints import limits
from swift.core.swift_dir import current as current_swift_dir
from swift.middleware.info import get_container_info
from swift.telemetry.log import get_logger
from swift.wire.message import (
    HTTPBadRequest,
    HTTPException,
    HTTPForbidden,
    HTTPUnauthorized,
    Request,
    parsed_path,
    wsgi_quote,
    wsgi_to_str,
)

_AUTH, _SYNC_TO = "HTTP_X_CONTAINER_SYNC_AUTH", "HTTP_X_CONTAINER_SYNC_TO"
_SHUNTED = "HTTP_X_BACKEND_INBOUND_X_TIMESTAMP"
_FULL_URL = (
    b"Full URLs are not allowed for X-Container-Sync-To values. Only realm values of the format "
    b"//realm/cluster/account/container are allowed.\n"
)
_VERSIONED = b"Cannot configure container sync on a container with object versioning configured."
_INVALID = b"X-Container-Sync-Auth header not valid; contact cluster operator for support."


class ContainerSyncFilter:
    def __init__(self, app: Any, conf: dict[str, Any], logger: Any = None) -> None:
        self.app = app
        self.logger = logger or get_logger(conf, "proxy-server", log_route="container_sync")
        directory = conf.get("swift_dir") or current_swift_dir()
        self.realms = SyncRealms(os.path.join(directory, FILE), self.logger)
        self.allow_full_urls = truthy(conf.get("allow_full_urls", "true"))
        self.current = self._parse_current(conf.get("current"))
        self._register()

    def _parse_current(self, value: str | None) -> tuple[str, str] | None:
        """(realm, cluster) that `//realm/cluster` names."""
        if not value:
            return None
        realm, slash, cluster = value.strip().upper().removeprefix("//").partition("/")
        if not value.strip().startswith("//") or not realm or not slash or not cluster or "/" in cluster:
            self.logger.error("Invalid current //REALM/CLUSTER (%s)", value)
            return None
        if cluster not in self.realms.clusters(realm):
            self.logger.error("Unknown current //REALM/CLUSTER (%s)", value)
        return realm, cluster

    def _register(self) -> None:
        realms = {}
        for realm in self.realms.names():
            clusters: dict[str, dict[str, bool]] = {name: {} for name in self.realms.clusters(realm)}
            if self.current is not None and self.current[0] == realm and self.current[1] in clusters:
                clusters[self.current[1]]["current"] = True
            if clusters:
                realms[realm] = {"clusters": clusters}
        capabilities.register("container_sync", realms=realms)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get(_AUTH) or _SYNC_TO in environ:
            version, _account, container, obj = parsed_path(environ)
            if container is not None and version in limits().valid_api_versions:
                refusal = self._refusal(environ, obj)
                if refusal is not None:
                    return refusal(environ, start_response)
        elif environ["PATH_INFO"] == "/info":
            self._register()  # the file may be another one by now
        return self.app(environ, start_response)

    def _refusal(self, environ: dict[str, Any], obj: str | None) -> HTTPException | None:
        if _SYNC_TO in environ and obj is None and environ["REQUEST_METHOD"] in ("PUT", "POST"):
            target = environ[_SYNC_TO]
            if target and not self.allow_full_urls and not target.startswith("//"):
                return HTTPBadRequest(request=Request(environ), body=_FULL_URL)
            if target and self._info(environ)["sysmeta"].get("versions-container"):
                return HTTPBadRequest(request=Request(environ), body=_VERSIONED)
        if environ.get(_AUTH):
            return self._checked(environ)
        return None

    def _info(self, environ: dict[str, Any]) -> Any:
        _, account, container, _ = parsed_path(environ)
        return get_container_info(environ, self.app, account, container)  # type: ignore[arg-type]

    def _checked(self, environ: dict[str, Any]) -> HTTPException | None:
        """None for a request that is signed as it should be, and that may do now what it is signed for; else its answer."""
        verdict = self._verdict(environ)
        environ.setdefault("swift.log_info", []).append(f"cs:{verdict}")
        if verdict == "valid":
            environ["swift.authorize_override"] = True
            environ["swift.authorize"] = _only_for(environ)
            environ["swift.slo_override"] = True
            environ["swift.symlink_override"] = True
            return None
        account = parsed_path(environ)[1]
        return HTTPUnauthorized(
            request=Request(environ),
            body=_INVALID,
            content_type="text/plain",
            headers={"Www-Authenticate": f'SwiftContainerSync realm="{wsgi_quote(account or "")}"'},
        )

    def _verdict(self, environ: dict[str, Any]) -> str:
        parts = environ[_AUTH].split()
        if len(parts) != 3:
            return "not-3-args"
        realm, nonce, given = parts
        realm_keys = self.realms.keys(wsgi_to_str(realm))
        if not realm_keys:
            return "no-local-realm-key"
        user_key = self._info(environ)["sync_key"]
        if not user_key:
            return "no-local-user-key"
        if _SHUNTED in environ:
            environ["HTTP_X_TIMESTAMP"] = environ.pop(_SHUNTED)
        timestamp = wsgi_to_str(environ.get("HTTP_X_TIMESTAMP", "0"))
        path = Request(environ).path
        right = False
        for key in realm_keys:
            wanted = signature(environ["REQUEST_METHOD"], path, timestamp, wsgi_to_str(nonce), key, user_key)
            right = hmac.compare_digest(wanted.encode(), given.encode("latin-1")) or right
        return "valid" if right else "invalid-sig"


def _only_for(signed: dict[str, Any]) -> Callable[[Any], HTTPException | None]:
    """An authorization for what is in the container of this request: a copy from elsewhere, say, is not signed by anybody."""
    container = parsed_path(signed)[:3]

    def authorize(request: Any) -> HTTPException | None:
        environ = request.environ
        return None if parsed_path(environ)[:3] == container else HTTPForbidden(request=Request(environ))

    return authorize


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], ContainerSyncFilter]:
    conf = {**global_conf, **local_conf}

    def factory(app: Any) -> ContainerSyncFilter:
        return ContainerSyncFilter(app, conf)

    return factory
