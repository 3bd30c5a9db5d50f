"""Object versioning: which part of it a request concerns (spec middleware 4.24).

The filter `versioned_writes` puts it into the pipeline, where its option says so. Whoever asks for what is in no container with versions
pays for a look at what is known of the container.
"""

from __future__ import annotations

from typing import Any

from swift.core.constraints import limits
from swift.core.names import RESERVED
from swift.middleware.info import container_key, get_container_info
from swift.middleware.object_versioning.by_id import ById
from swift.middleware.object_versioning.containers import Containers
from swift.middleware.object_versioning.context import (
    CONTAINER,
    Body,
    Headers,
    StartResponse,
    parameters,
    place_of,
)
from swift.middleware.object_versioning.listing import Listings
from swift.middleware.object_versioning.objects import Objects, with_version
from swift.wire.call import Application
from swift.wire.message import HTTPException, HTTPServiceUnavailable, parsed_path, wsgi_to_str

_READS = frozenset(("GET", "HEAD"))


class ObjectVersioning:
    """`app`: the next filter of the pipeline."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self.containers = Containers(app)
        self.listings = Listings(app, self.containers)
        self.objects = Objects(app)
        self.by_id = ById(self.objects)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Body:
        version, account, container, obj = parsed_path(environ)
        if obj is not None and environ["REQUEST_METHOD"] in _READS and not environ.get("QUERY_STRING"):
            return self._read(environ, start_response)
        if account is None or version not in limits().valid_api_versions:
            return self.app(environ, start_response)
        try:
            if container is None:
                if environ["REQUEST_METHOD"] == "GET" and RESERVED not in account:
                    return self.listings.account(environ, version, account, start_response)
                return self.app(environ, start_response)
            if RESERVED in environ["PATH_INFO"]:  # of internal clients; of others the proxy refuses it
                return self.app(environ, start_response)
            if obj is None:
                return self._container(environ, version, account, container, start_response)
            return self._object(environ, version, account, container, obj, start_response)
        except HTTPException as answer:
            return answer(environ, start_response)

    def _read(self, environ: dict[str, Any], start_response: StartResponse) -> Body:
        """Most requests: whether they concern a container with versions is known by the time of the answer, for the proxy has looked."""
        known = environ.setdefault("swift.infocache", {})

        def respond(status: str, headers: Headers, exc_info: Any = None) -> Any:
            version, account, container, _ = parsed_path(environ)
            info = known.get(container_key(wsgi_to_str(account or ""), wsgi_to_str(container or "")))
            if info is not None and info["sysmeta"].get(CONTAINER) and RESERVED not in environ["PATH_INFO"]:
                headers = with_version(version or "", account or "", headers)
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return self.app(environ, respond)

    def _container(
        self,
        environ: dict[str, Any],
        version: str,
        account: str,
        container: str,
        start_response: StartResponse,
    ) -> Body:
        info = get_container_info(environ, self.app, account, container)
        place = place_of(environ, version, account, container, "", info)
        method = environ["REQUEST_METHOD"]
        asks_for_versions = method == "GET" and has_parameter(environ, "versions")
        if info["status"] >= 500 and (asks_for_versions or method == "DELETE"):
            # There may be versions: none may be left behind, or be missing from an answer, because that is not known.
            raise HTTPServiceUnavailable(request=place.request)
        if method == "GET":
            if asks_for_versions:
                return self.listings.versions(place, start_response)
            if place.hidden is not None:
                return self.listings.plain(place, start_response)
        elif method == "DELETE":
            return self.containers.deleted(place, start_response)
        elif method in ("PUT", "POST"):
            return self.containers.changed(place, start_response)
        return self.containers.passed(place, start_response)

    def _object(
        self,
        environ: dict[str, Any],
        version: str,
        account: str,
        container: str,
        obj: str,
        start_response: StartResponse,
    ) -> Body:
        info = get_container_info(environ, self.app, account, container)
        if environ.get("QUERY_STRING") and has_parameter(environ, "version-id"):
            version_id = parameters(environ)["version-id"]
            if version_id:
                place = place_of(environ, version, account, container, obj, info)
                if info["status"] >= 500:
                    raise HTTPServiceUnavailable(request=place.request)
                return self.by_id.handle(place, version_id, start_response)
        if not info["sysmeta"].get(CONTAINER):
            return self.app(environ, start_response)
        return self.objects.handle(place_of(environ, version, account, container, obj, info), start_response)


def has_parameter(environ: dict[str, Any], name: str) -> bool:
    """Returns True if the query has this parameter; most queries need not be taken apart for that."""
    query = environ.get("QUERY_STRING", "")
    return bool(query) and (name in query or "%" in query) and name in parameters(environ)
