"""Containers with versions: switched on and off, looked at, deleted (spec middleware 4.24.1).

Never here: listings of versions (`listing`), objects.
"""

from __future__ import annotations

from typing import Any

from swift.core.config import truthy
from swift.core.policy import policies
from swift.middleware.info import forget_container, is_success
from swift.middleware.object_copies import own_environ
from swift.middleware.object_versioning.context import (
    SOURCE,
    Body,
    Headers,
    Place,
    StartResponse,
    denied,
    header,
    refused,
)
from swift.middleware.object_versioning.names import hidden_container
from swift.middleware.parallel import Meanwhile
from swift.wire.call import Application, call_app, status_and_headers
from swift.wire.message import (
    HTTPBadRequest,
    HTTPConflict,
    HTTPInternalServerError,
    HTTPServiceUnavailable,
    Response,
    close_if_possible,
    wsgi_quote,
    wsgi_to_str,
)

_SYSMETA_ENABLED = "x-container-sysmeta-versions-enabled"
_ENABLED_KEY = "HTTP_X_CONTAINER_SYSMETA_VERSIONS_ENABLED"
LEGACY_IN_USE = "Cannot enable object versioning on a container that is already using the legacy versioned writes feature."
_SYNC_SOURCE = "Cannot enable object versioning on a container configured as source of container syncing."
_NO_SYNC = "Cannot configure container sync on a container with object versioning configured."
_DEPRECATED = "Cannot enable object versioning on a container that uses a deprecated storage policy."
_LEGACY_KEYS = ("HTTP_X_VERSIONS_LOCATION", "HTTP_X_HISTORY_LOCATION")


class Containers:
    def __init__(self, app: Application) -> None:
        self.app = app

    # -- looking -----------------------------------------------------------------------------------------------------------

    def passed(self, place: Place, start_response: StartResponse) -> Body:
        """The request as it is; the answer says whether versions are kept, and counts their bytes."""
        environ = place.environ
        reads = environ["REQUEST_METHOD"] in ("GET", "HEAD")
        hidden = Meanwhile(self.hidden_head, place) if reads and place.hidden is not None else None

        def respond(status: str, headers: Headers, exc_info: Any = None) -> Any:
            headers = shown(headers)
            if hidden is not None and status[0] == "2":
                headers = with_bytes(headers, hidden.wait())
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        return self.app(environ, respond)

    def hidden_head(self, place: Place) -> tuple[int, Headers]:
        """What is known of the versions' container."""
        return status_and_headers(self.app, own_environ(place.environ, "HEAD", place.hidden_path, SOURCE))

    # -- switching ---------------------------------------------------------------------------------------------------------

    def changed(self, place: Place, start_response: StartResponse) -> Body:
        """PUT and POST."""
        environ = place.environ
        if "HTTP_X_VERSIONS_ENABLED" not in environ:
            if environ.get("HTTP_X_CONTAINER_SYNC_TO") and place.hidden is not None:
                return self._refusal(environ, _NO_SYNC)(environ, start_response)
            return self.passed(place, start_response)
        if truthy(environ.pop("HTTP_X_VERSIONS_ENABLED")):
            return self._enabled(place, start_response)
        environ[_ENABLED_KEY] = str(False)
        return self.passed(place, start_response)

    def _refusal(self, environ: dict[str, Any], text: str) -> Response:
        return denied(environ, None) or refused(HTTPBadRequest, environ, text)

    def _enabled(self, place: Place, start_response: StartResponse) -> Body:
        environ, info = place.environ, place.info
        if info["status"] >= 500:
            raise HTTPServiceUnavailable(request=place.request)
        if environ["REQUEST_METHOD"] == "POST" and not is_success(info["status"]):
            return self._not_there(place, start_response)
        problem = self._problem(place)
        if problem:
            return self._refusal(environ, problem)(environ, start_response)
        denial = denied(environ, None)
        if denial is not None:
            return denial(environ, start_response)
        place = place._replace(hidden=hidden_container(place.container))
        made = self._make_hidden(place, self._policy_name(place))
        quoted = wsgi_quote(place.hidden or "", "")
        environ["HTTP_X_CONTAINER_SYSMETA_VERSIONS_CONTAINER"] = quoted
        environ[_ENABLED_KEY] = str(True)
        status, headers, body = call_app(self.app, environ)
        if status[0] != "2" and made:
            status_and_headers(self.app, own_environ(environ, "DELETE", place.hidden_path, SOURCE))
        start_response(status, shown(headers))
        return body

    def _not_there(self, place: Place, start_response: StartResponse) -> Body:
        """The answer to a POST of a container that is not known; if it is there after all, no client shall believe that it has versions."""
        status, headers, body = call_app(self.app, place.environ)
        if status[0] == "2":
            close_if_possible(body)
            raise HTTPServiceUnavailable(request=place.request)
        start_response(status, headers)
        return body

    def _problem(self, place: Place) -> str:
        """Why versions cannot be kept in this container; empty if they can."""
        environ, info = place.environ, place.info
        if any(environ.get(key) for key in _LEGACY_KEYS):
            return LEGACY_IN_USE
        if info["sysmeta"].get("versions-location") or info.get("versions"):
            return LEGACY_IN_USE
        if info["sync_to"] or environ.get("HTTP_X_CONTAINER_SYNC_TO"):
            return _SYNC_SOURCE
        if is_success(info["status"]):
            policy = policies().get_by_index(info["storage_policy"])
            if policy is not None and policy.is_deprecated:
                return _DEPRECATED
        return ""

    def _policy_name(self, place: Place) -> str | None:
        if is_success(place.info["status"]):
            policy = policies().get_by_index(place.info["storage_policy"])
            return policy.name if policy is not None else None
        return place.environ.get("HTTP_X_STORAGE_POLICY") or None

    def _make_hidden(self, place: Place, policy: str | None) -> bool:
        """Make the versions' container; returns True if there was none. Raises HTTPException."""
        environ = place.environ
        sub = own_environ(environ, "PUT", place.hidden_path, SOURCE, HTTP_X_STORAGE_POLICY=policy)
        status, headers, body = call_app(self.app, sub)
        text = b"".join(body)
        # What other processes know of the container is from before.
        forget_container(environ, wsgi_to_str(place.account), wsgi_to_str(place.hidden or ""))
        code = int(status[:3])
        if is_success(code) or code == 409:
            return code == 201
        if 400 <= code < 500:  # a name that is too long, no such policy: the client's to know
            answer = HTTPBadRequest(request=place.request, body=text)
            answer.status = status
            answer.headers["Content-Type"] = header(headers, "content-type")
            raise answer
        raise refused(HTTPInternalServerError, environ, "Error enabling object versioning")

    # -- deleting ----------------------------------------------------------------------------------------------------------

    def deleted(self, place: Place, start_response: StartResponse) -> Body:
        """DELETE: only if there are no versions. The container goes first, so that none is ever left without a place for its versions."""
        environ = place.environ
        if place.hidden is None:
            return self.passed(place, start_response)
        denial = denied(environ, None)
        if denial is not None:
            return denial(environ, start_response)
        status, headers = self.hidden_head(place)
        if is_success(status):
            if header(headers, "x-container-object-count") != "0":
                raise refused(HTTPConflict, environ, "Delete all versions before deleting container.")
        elif status != 404:
            raise refused(HTTPInternalServerError, environ, "Error deleting versioned container")
        answer, answer_headers, body = call_app(self.app, environ)
        if answer[0] == "2" and status != 404:
            status_and_headers(self.app, own_environ(environ, "DELETE", place.hidden_path, SOURCE))
        start_response(answer, shown(answer_headers))
        return body


def shown(headers: Headers) -> Headers:
    """With what a client may know of a container's versions."""
    enabled = header(headers, _SYSMETA_ENABLED)
    return headers if enabled is None else [*headers, ("X-Versions-Enabled", enabled)]


def with_bytes(headers: Headers, hidden: tuple[int, Headers]) -> Headers:
    """With the bytes of the versions counted; `hidden`: what a HEAD of their container answered."""
    status, hidden_headers = hidden
    ours = header(headers, "x-container-bytes-used")
    theirs = header(hidden_headers, "x-container-bytes-used")
    if not is_success(status) or ours is None or theirs is None:
        return headers
    total = str(int(ours) + int(theirs))
    return [(name, total if name.lower() == "x-container-bytes-used" else value) for name, value in headers]
