"""The options of `versioned_writes`, and which requests concern it (spec middleware 4.23, 4.24).

Features that are switched off refuse what would be lost: without an answer a client would believe that versions are kept, or that a
version was deleted where it is the object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from swift.core import capabilities
from swift.core.config import truthy
from swift.core.errors import ConfigError
from swift.core.names import RESERVED
from swift.middleware.info import get_container_info
from swift.middleware.object_versioning.context import ENABLED, denied
from swift.middleware.object_versioning.filter import ObjectVersioning, has_parameter
from swift.middleware.versioned_writes import locations
from swift.middleware.versioned_writes.archive import Archive, Kept
from swift.wire.call import Application
from swift.wire.message import HTTPBadRequest, HTTPException, Request, parsed_path

StartResponse = Callable[..., Any]
_VERSIONING_OFF = "Object versioning is not enabled here.\n"


class VersionedWrites:
    """`app`: the next filter. `allowed`: of the legacy modes, None if nothing is said; `versioning`: whether there is object versioning."""

    def __init__(self, app: Application, allowed: bool | None = None, versioning: bool = False) -> None:
        self.app = app
        self.allowed = allowed
        self.versioning = versioning
        self.behind: Application = ObjectVersioning(app) if versioning else app
        self.archive = Archive(self.behind)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        version, account, container, obj = parsed_path(environ)
        if container is None or version is None or account is None:
            return self.behind(environ, start_response)
        try:
            if obj is None:
                return self._container(environ, account, container, start_response)
            if not self.versioning and environ.get("QUERY_STRING"):
                _refuse_versions(environ)
            if environ["REQUEST_METHOD"] not in ("PUT", "DELETE") or self.allowed is False:
                return self.behind(environ, start_response)
            info = get_container_info(environ, self.app, account, container)
            location = locations.location_of(info, self.allowed)
            if location is None or RESERVED in container:
                return self.behind(environ, start_response)
            kept = Kept(environ, version, account, container, obj, location, info["write_acl"])
            return self.archive.handle(kept, start_response)
        except HTTPException as answer:
            return answer(environ, start_response)

    def _container(
        self, environ: dict[str, Any], account: str, container: str, start_response: StartResponse
    ) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("PUT", "POST"):
            if not self.versioning and truthy(environ.get("HTTP_X_VERSIONS_ENABLED")):
                raise _off(environ)
            if locations.is_touched(environ):
                info = get_container_info(environ, self.app, account, container) if self.versioning else None
                if info is not None and truthy(info["sysmeta"].get(ENABLED)):
                    # The refusal to come tells what only who may change the container is to know.
                    denial = denied(environ, None)
                    if denial is not None:
                        return denial(environ, start_response)
                locations.translate(environ, info, self.allowed)
        if self.allowed is None:
            return self.behind(environ, start_response)

        def respond(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers = locations.shown(headers)
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return self.behind(environ, respond)


def _refuse_versions(environ: dict[str, Any]) -> None:
    if has_parameter(environ, "version-id"):
        raise _off(environ)


def _off(environ: dict[str, Any]) -> HTTPException:
    return HTTPBadRequest(request=Request(environ), body=_VERSIONING_OFF, content_type="text/plain")


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], VersionedWrites]:
    conf = {**global_conf, **local_conf}
    given = conf.get("allow_versioned_writes")
    allowed = truthy(given) if given else None
    versioning = truthy(conf.get("allow_object_versioning", "false"))
    if allowed:
        capabilities.register("versioned_writes", allowed_flags=list(locations.FLAGS))
    if versioning:
        capabilities.register("object_versioning")

    def factory(app: Any) -> VersionedWrites:
        # By now the factories of all filters have run.
        if versioning and "symlink" not in capabilities.disclosed():
            raise ConfigError(
                "object versioning requires symlinks: the filter symlink is not in the pipeline"
            )
        return VersionedWrites(app, allowed, versioning)

    return factory
