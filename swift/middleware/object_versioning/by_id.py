"""Requests that name a version of an object: `?version-id=` (spec middleware 4.24.3).

A version is a name in a container that no client can reach and that has no ACL: only the account's owners read and delete versions by
their ids. That right is asked for here, and holds for the version alone, not for what a link that was kept as a version may lead to.
"""

from __future__ import annotations

from typing import Any

from swift.core.timestamp import Timestamp
from swift.middleware import locked_objects
from swift.middleware.info import is_success
from swift.middleware.object_copies import OVERRIDE_ETAG, head_object, own_environ
from swift.middleware.object_versioning.context import (
    SOURCE,
    Body,
    Headers,
    Place,
    StartResponse,
    denied,
    header,
    parameters,
    query_text,
    refused,
    replaced,
)
from swift.middleware.object_versioning.names import MARKER_TYPE, NULL, parse_id, version_name
from swift.middleware.object_versioning.objects import Objects, checked_timestamp, hides, version_linked
from swift.wire.call import call_app, status_and_headers
from swift.wire.message import (
    HTTPBadRequest,
    HTTPLengthRequired,
    HTTPNotFound,
    HTTPServiceUnavailable,
    Request,
    close_if_possible,
    environ_key,
)

_NOT_VERSIONED = "version-aware operations require that the container is versioned"
_INVALID = "Invalid version parameter"
_ZERO_BYTES = "PUT version-id requests require a zero byte body"
_NO_SUCH = "The specified version does not exist"
_OVERRIDE_KEY = environ_key(OVERRIDE_ETAG)


class ById:
    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.app = objects.app

    def handle(self, place: Place, version_id: str, start_response: StartResponse) -> Body:
        environ = place.environ
        method = environ["REQUEST_METHOD"]
        if method == "POST":
            raise refused(HTTPBadRequest, environ, "POST to a specific version is not allowed")
        stamp, problem = None, ""
        try:
            stamp = parse_id(version_id)
        except ValueError:
            problem = _INVALID
        if place.hidden is None and version_id != NULL:
            problem = _NOT_VERSIONED
        if problem:
            # It tells of the container, and so only who may use it.
            reads = method in ("GET", "HEAD")
            denial = denied(environ, place.info["read_acl" if reads else "write_acl"])
            if denial is not None:
                return denial(environ, start_response)
            raise refused(HTTPBadRequest, environ, problem)
        if stamp is None:
            return self._null(place, method, start_response)
        if method in ("GET", "HEAD"):
            return self._read(place, stamp, start_response)
        if method == "PUT":
            return self._make_current(place, stamp, start_response)
        if method == "DELETE":
            return self._delete(place, stamp, start_response)
        return self.app(environ, start_response)

    # -- what was not written as a version -----------------------------------------------------------------------------------

    def _null(self, place: Place, method: str, start_response: StartResponse) -> Body:
        environ = place.environ
        if method == "PUT":
            raise refused(HTTPBadRequest, environ, _INVALID)
        params = parameters(environ)
        params.pop("version-id", None)
        environ["QUERY_STRING"] = query_text(params)
        if method not in ("GET", "HEAD"):
            return self.app(environ, start_response)
        status, headers, body = call_app(self.app, environ)
        if hides(headers, place) or _is_version_link(headers):
            close_if_possible(body)
            raise HTTPNotFound(request=place.request)
        if status[0] == "2":
            headers = [*headers, ("X-Object-Version-Id", NULL)]
        start_response(status, headers)
        return body

    # -- versions --------------------------------------------------------------------------------------------------------------

    def _version_path(self, place: Place, stamp: Timestamp) -> str:
        return f"{place.hidden_path}/{version_name(place.obj, stamp)}"

    def _read(self, place: Place, stamp: Timestamp, start_response: StartResponse) -> Body:
        environ = place.environ
        denial = denied(environ, None)
        if denial is not None:
            return denial(environ, start_response)
        status, headers, body = call_app(self.app, self._read_environ(place, stamp))
        if status[0] == "2":
            headers = [*headers, ("X-Object-Version-Id", stamp.internal)]
            if header(headers, "content-type") == MARKER_TYPE:
                close_if_possible(body)
                raise HTTPNotFound(
                    request=place.request, content_type=MARKER_TYPE, headers={"X-Object-Version-Id": stamp.internal}
                )  # fmt: skip
        start_response(status, headers)
        return body

    def _read_environ(self, place: Place, stamp: Timestamp) -> dict[str, Any]:
        environ = place.environ
        path = self._version_path(place, stamp)
        ask = environ.get("swift.authorize")

        def authorize(request: Request) -> Any:
            """Allows the version; who follows a link from there is asked for its target's ACL."""
            if request.environ["PATH_INFO"] == path or ask is None:
                return None
            return ask(request)

        params = parameters(environ)
        params.pop("version-id", None)
        sub = dict(environ)
        sub["PATH_INFO"] = path
        sub["QUERY_STRING"] = query_text(params)
        sub["swift.authorize"] = authorize
        sub["HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"] = "true"
        sub.pop("HTTP_X_BACKEND_STORAGE_POLICY_INDEX", None)
        return sub

    def _make_current(self, place: Place, stamp: Timestamp, start_response: StartResponse) -> Body:
        """PUT: the object's name leads to this version from now on."""
        environ = place.environ
        denial = denied(environ, place.info["write_acl"])
        if denial is not None:
            return denial(environ, start_response)
        _check_empty(environ)
        now = checked_timestamp(place)
        version = head_object(self.objects.app, environ, self._version_path(place, stamp), SOURCE)
        if version.status >= 500:
            raise HTTPServiceUnavailable(request=place.request)
        if not version.found or version.headers.get("content-type") == MARKER_TYPE:
            raise HTTPNotFound(request=place.request, body=_NO_SUCH, content_type="text/plain")
        current = head_object(self.objects.app, environ, place.object_path, SOURCE)
        self.objects.keep_null(place, current)
        etag = version.headers.get("etag", "")
        size = version.headers.get("x-object-sysmeta-slo-size") or version.headers.get("content-length", "0")
        headers = {
            key: value
            for key, value in environ.items()
            if key.startswith("HTTP_X_OBJECT_META_") or key in ("HTTP_X_DELETE_AT", "HTTP_X_DELETE_AFTER")
        }
        headers["CONTENT_TYPE"] = version.headers.get("content-type", "application/octet-stream")
        override = version.headers.get(OVERRIDE_ETAG, "")
        if "slo_etag=" in override:
            headers[_OVERRIDE_KEY] = override
        name = version_name(place.obj, stamp)
        link = self.objects.link(place, name, etag, int(size), now, headers)
        return self.objects.put_link(place, link, etag, stamp.internal, start_response)

    def _delete(self, place: Place, stamp: Timestamp, start_response: StartResponse) -> Body:
        """DELETE: the link first if it leads to this version, so that it never leads to nothing."""
        environ = place.environ
        denial = denied(environ, None)
        if denial is not None:
            return denial(environ, start_response)
        path = self._version_path(place, stamp)
        word = None
        if locked_objects.may_be_locked(place.info):
            # Before the link goes that leads to it.
            word = locked_objects.check_removal(self.app, environ, path, SOURCE)
        current = self._linked(place)
        if current[0] == stamp.internal:
            # Of the link's own time, so that one that has come meanwhile stays.
            sub = own_environ(
                environ, "DELETE", place.object_path, SOURCE, HTTP_X_TIMESTAMP=Timestamp(current[1], offset=1).internal
            )  # fmt: skip
            status, _ = status_and_headers(self.app, sub)
            if status >= 500:
                raise HTTPServiceUnavailable(request=place.request)
            current = self._linked(place) if status == 409 else (NULL, "")
        sub = own_environ(environ, "DELETE", path, SOURCE)
        for key in ("HTTP_X_TIMESTAMP", "HTTP_X_IF_DELETE_AT", locked_objects.WORD_KEY):
            if key in environ:
                sub[key] = environ[key]
        if word is not None:
            sub[locked_objects.WORD_KEY] = word.text()
        status_line, headers, body = call_app(self.app, sub)
        headers = replaced(
            headers, X_Object_Version_Id=stamp.internal, X_Object_Current_Version_Id=current[0]
        )
        start_response(status_line, headers)
        return body

    def _linked(self, place: Place) -> tuple[str, str]:
        """(id of the version that is current, time of the link to it). Raises HTTPServiceUnavailable."""
        link = head_object(self.app, place.environ, place.object_path, SOURCE)
        if not link.found and link.status != 404:
            raise HTTPServiceUnavailable(request=place.request)
        time = link.headers.get("x-backend-timestamp") or link.headers.get("x-timestamp", "")
        return (version_linked(place, link.headers), time) if is_success(link.status) else (NULL, "")


def _is_version_link(headers: Headers) -> bool:
    return bool(header(headers, "x-object-sysmeta-versions-symlink"))


def _check_empty(environ: dict[str, Any]) -> None:
    """Raises HTTPException unless the request's body is empty and says so."""
    request = Request(environ)
    try:
        length = request.message_length()
    except (ValueError, AttributeError) as error:
        raise refused(HTTPBadRequest, environ, str(error)) from None
    if length is None and not request.is_chunked:
        raise HTTPLengthRequired(request=request)
    if length or (length is None and environ["wsgi.input"].read(1)):
        raise HTTPBadRequest(request=request, body=_ZERO_BYTES, content_type="text/plain")
