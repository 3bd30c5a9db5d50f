"""Objects of a container with versions, asked for by their names (spec middleware 4.24.2).

A version is stored whole under its hidden name first; only then does the link at the object's name lead to it. Whatever fails or
dies in between leaves what was current before, and a version more. Never here: requests that name a version (`by_id`).
"""

from __future__ import annotations

import mimetypes
from typing import Any
from urllib.parse import unquote, urlsplit

from swift.core import clock, constraints
from swift.core.config import truthy
from swift.core.object_headers import IF_CURRENT, UNLESS_LARGE
from swift.core.object_lock import LEGAL_HOLD, RETENTION, WORD, Word, forbids_change, told_of
from swift.core.timestamp import Timestamp
from swift.middleware import locked_objects
from swift.middleware.customer_keys import KEY, STORED_KEY
from swift.middleware.object_copies import (
    EMPTY_ETAG,
    OVERRIDE_ETAG,
    Opened,
    check_opened,
    head_object,
    open_object,
    own_environ,
    store_copy,
)
from swift.middleware.object_versioning.context import (
    SOURCE,
    Body,
    Headers,
    Place,
    StartResponse,
    checked,
    denied,
    header,
    refused,
    replaced,
    rights_for_one,
)
from swift.middleware.object_versioning.names import (
    MARKER_TYPE,
    NULL,
    Version,
    parse_path,
    parse_target,
    version_name,
)
from swift.middleware.parallel import Meanwhile
from swift.middleware.symlink.links import link_wanted
from swift.wire.call import Application, call_app, status_and_headers
from swift.wire.message import (
    HTTPBadRequest,
    HTTPInternalServerError,
    HTTPPreconditionFailed,
    HTTPServiceUnavailable,
    InputFilter,
    close_if_possible,
    environ_key,
    normalize_etag,
    wsgi_quote,
    wsgi_to_str,
)

_NO_CONTAINER = "The versions container does not exist. You may want to re-enable object versioning."
_IS_LINK = "x-object-sysmeta-versions-symlink"
_OVERRIDE_KEY = environ_key(OVERRIDE_ETAG)
_WORD_KEY = environ_key(WORD)
_SLO_SIZE_KEY = "HTTP_X_OBJECT_SYSMETA_SLO_SIZE"
# Beside its headers, what of a request is about the body that it brings.
_ABOUT_BODY = (
    "wsgi.input", "swift.callback.update_footers", "swift.callback.fetch_crypto_keys", "swift.content_type_overridden",
    "swift.crypto.override", "swift.slo_override", "swift.symlink_override", "swift.log_info", "swift.orig_req_method", KEY,
)  # fmt: skip
# And those about what is at the object's name.
_OF_LINKS = ("HTTP_IF_NONE_MATCH", environ_key(IF_CURRENT))
_UNLESS_LARGE = environ_key(UNLESS_LARGE)
_EXPIRY = frozenset(("HTTP_X_DELETE_AT", "HTTP_X_DELETE_AFTER"))
# Headers of a PUT that are about what is stored, not about the link to it.
_NOT_OF_LINKS = frozenset((
    "HTTP_ETAG", "HTTP_X_IF_DELETE_AT", "HTTP_X_SYMLINK_TARGET", "HTTP_X_SYMLINK_TARGET_ACCOUNT", "HTTP_X_SYMLINK_TARGET_ETAG",
    "HTTP_X_SYMLINK_TARGET_BYTES", "HTTP_X_OBJECT_MANIFEST", "HTTP_X_STATIC_LARGE_OBJECT", "HTTP_X_OBJECT_SYSMETA_SLO_ETAG",
    _SLO_SIZE_KEY, STORED_KEY, "HTTP_X_DETECT_CONTENT_TYPE", environ_key(RETENTION), environ_key(LEGAL_HOLD), "HTTP_TRANSFER_ENCODING", "HTTP_EXPECT", "CONTENT_LENGTH",
    "HTTP_X_BACKEND_STORAGE_POLICY_INDEX", "HTTP_X_OBJECT_SYSMETA_SYMLINK_TARGET", "HTTP_X_OBJECT_SYSMETA_SYMLINK_TARGET_ACCOUNT",
))  # fmt: skip


class _Counted(InputFilter):
    """A body of which it is known afterwards how long it was."""

    length = 0

    def pull(self, size: int) -> bytes:
        data = super().pull(size)
        self.length += len(data)
        return data


class Objects:
    def __init__(self, app: Application) -> None:
        self.app = app

    def handle(self, place: Place, start_response: StartResponse) -> Body:
        """A request for an object of a container that has, or had, versions."""
        method = place.environ["REQUEST_METHOD"]
        if method == "POST":
            return self.post(place, start_response)
        if method in ("PUT", "DELETE"):
            if not place.enabled:
                return self.app(place.environ, start_response)
            return self.put(place, start_response) if method == "PUT" else self.delete(place, start_response)
        return self.read(place, start_response)

    # -- reading -----------------------------------------------------------------------------------------------------------

    def read(self, place: Place, start_response: StartResponse) -> Body:
        """GET, HEAD and all else that changes nothing: the answer says which version it is about."""

        def respond(status: str, headers: Headers, exc_info: Any = None) -> Any:
            headers = with_version(place.version, place.account, headers)
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return self.app(place.environ, respond)

    # -- PUT ---------------------------------------------------------------------------------------------------------------

    def put(self, place: Place, start_response: StartResponse) -> Body:
        environ, request = place.environ, place.request
        denial = denied(environ, place.info["write_acl"])
        if denial is not None:
            return denial(environ, start_response)
        stamp = checked_timestamp(place)
        _check_name(place, stamp)
        _choose_content_type(place)
        checked(request, constraints.check_delete_headers, environ, stamp)
        if "HTTP_X_SYMLINK_TARGET" in environ:
            # Under the hidden name, where reserved names are allowed, nobody would see that a link leads there, or to itself.
            checked(request, link_wanted, environ, place.object_path, request.allow_reserved_names)
        newest = Meanwhile(head_object, self.app, environ, place.object_path, SOURCE)
        if "*" in environ.get("HTTP_IF_NONE_MATCH", "") and newest.wait().found:
            raise HTTPPreconditionFailed(request=request)
        path = self._version_path(place, stamp)
        body = _Counted(environ["wsgi.input"])
        data = self._data_environ(place, path, stamp, body)
        status, headers, answer = call_app(self.app, data)
        current = newest.wait()
        if status[0] != "2":
            return self._not_stored(place, status, headers, answer, start_response)
        for _ in answer:
            pass
        close_if_possible(answer)
        etag = header(headers, "etag") or ""
        is_new = status[:3] == "201"
        if not is_new:
            etag = self._stored_before(place, path)
        try:
            self.keep_null(place, current)
        except BaseException:
            # Nothing leads to the version yet, and its client is told that there is none.
            if is_new:
                self._take_back(place, path, stamp)
            raise
        # that of a link is chosen by whoever keeps it
        environ["CONTENT_TYPE"] = data.get("CONTENT_TYPE") or "application/octet-stream"
        link = self._client_link(place, stamp, etag, int(environ.get(_SLO_SIZE_KEY) or body.length))
        status, headers, answer = call_app(self.app, link)
        if is_new and status[:3] in ("409", "412"):
            # Somebody was faster: no link leads to the version, and its client is told that there is none.
            self._take_back(place, path, stamp)
        return self._linked(status, headers, answer, etag, stamp.normal, start_response)

    def _take_back(self, place: Place, path: str, stamp: Timestamp) -> None:
        """Remove a version of this very moment that nobody was told of. What locks it is its bucket's rule, which is for what there is."""
        sub = own_environ(
            place.environ, "DELETE", path, SOURCE, HTTP_X_TIMESTAMP=Timestamp(stamp.normal, offset=1).internal
        )
        sub[_WORD_KEY] = Word(Timestamp(stamp.normal).internal, is_kept=True).text()
        status_and_headers(self.app, sub)

    def _stored_before(self, place: Place, path: str) -> str:
        """The ETag of the version that was of this very moment and there first, if it is the client's: who brings times along may bring
        the same twice. Otherwise the client's is nowhere. Raises HTTPServiceUnavailable."""
        wanted = normalize_etag(place.environ.get("HTTP_ETAG"))
        found = head_object(self.app, place.environ, path, SOURCE)
        etag = found.headers.get("etag", "")
        if not found.found or not wanted or wanted.lower() != normalize_etag(etag):
            raise HTTPServiceUnavailable(request=place.request)
        return etag

    def _data_environ(self, place: Place, path: str, stamp: Timestamp, body: Any) -> dict[str, Any]:
        """The client's PUT, to the version's name. Expiry is the link's: a version stays.

        The filter's rights are for that name alone: a static link's target is looked at with the client's.
        """
        environ = place.environ
        sub = own_environ(environ, "PUT", path, None)
        for key, value in environ.items():
            if key in _ABOUT_BODY or (key.startswith(("HTTP_", "CONTENT_")) and key not in _EXPIRY):
                sub[key] = value
        for key in ("HTTP_ORIGIN", "HTTP_X_BACKEND_STORAGE_POLICY_INDEX", *_OF_LINKS):
            sub.pop(key, None)
        sub["HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"] = "true"
        sub["HTTP_X_TIMESTAMP"] = stamp.normal
        sub["wsgi.input"] = body
        sub["swift.authorize"] = rights_for_one(environ, path)
        return sub

    def _not_stored(
        self, place: Place, status: str, headers: Headers, answer: Body, start_response: StartResponse
    ) -> Body:
        code = int(status[:3])
        if code == 404 or code >= 500:
            close_if_possible(answer)
            if code == 404:
                raise refused(HTTPInternalServerError, place.environ, _NO_CONTAINER)
            raise HTTPServiceUnavailable(request=place.request)
        start_response(status, headers)
        return answer

    def _version_path(self, place: Place, stamp: Timestamp) -> str:
        return f"{place.hidden_path}/{version_name(place.obj, Timestamp(stamp.normal))}"

    def keep_null(self, place: Place, current: Opened) -> None:
        """Make a version of what is at the object's name, if it is none yet; `current`: head_object's answer. Raises HTTPException."""
        if current.status == 404 or current.headers.get(_IS_LINK):
            return
        if current.found:
            current = open_object(self.app, place.environ, place.object_path, SOURCE)
            if current.status == 404 or current.headers.get(_IS_LINK):
                current.close()
                return
        check_opened(place.request, current)
        locked = current.headers.get(RETENTION.lower()) or current.headers.get(LEGAL_HOLD.lower())
        seen = current.headers.get("x-backend-timestamp") or current.headers["x-timestamp"]
        path = self._version_path(place, Timestamp(current.headers["x-timestamp"]))
        again = self._kept_before(place, path, current) if locked else None
        status = store_copy(self.app, place.environ, current, path, SOURCE, again)
        if status == 404:
            raise refused(HTTPInternalServerError, place.environ, _NO_CONTAINER)
        if not 200 <= status < 300:
            raise HTTPServiceUnavailable(request=place.request)
        if locked or locked_objects.may_be_locked(place.info):
            # As it is kept now, with its lock, it may be replaced where it was; not as it may be by then.
            place.environ[_WORD_KEY] = Word(seen, is_kept=bool(locked)).text()

    def _kept_before(self, place: Place, path: str, current: Opened) -> str | None:
        """The word for a copy of what is locked, where an earlier try has left one, locked as well, that loses nothing by it."""
        earlier = head_object(self.app, place.environ, path, SOURCE)
        old, new = told_of(earlier.headers), told_of(current.headers)
        is_same = earlier.found and earlier.headers.get("etag") == current.headers.get("etag")
        if not is_same or forbids_change(old, "", new, None, clock.time()):
            return None
        seen = earlier.headers.get("x-backend-timestamp") or earlier.headers.get("x-timestamp", "")
        return Word(seen, is_kept=True).text()

    # -- links -------------------------------------------------------------------------------------------------------------

    def _client_link(self, place: Place, stamp: Timestamp, etag: str, size: int) -> dict[str, Any]:
        """The PUT of a link with the client's metadata."""
        headers = {
            key: value
            for key, value in place.environ.items()
            if key.startswith(("HTTP_", "CONTENT_")) and key not in _NOT_OF_LINKS
        }
        content_type, _, parameter = headers.get("CONTENT_TYPE", "").rpartition(";")
        if parameter.strip().startswith("swift_bytes="):
            headers["CONTENT_TYPE"] = content_type
        return self.link(place, version_name(place.obj, Timestamp(stamp.normal)), etag, size, stamp, headers)

    def link(
        self, place: Place, name: str, etag: str, size: int, stamp: Timestamp, headers: dict[str, str]
    ) -> dict[str, Any]:
        """The environ of a PUT that makes the object's name lead to the version `name`, with these headers (environ keys)."""
        sub = own_environ(place.environ, "PUT", place.object_path, SOURCE)
        if _WORD_KEY in place.environ:
            sub[_WORD_KEY] = place.environ[_WORD_KEY]
        if "HTTP_ORIGIN" in place.environ:
            sub["HTTP_ORIGIN"] = place.environ["HTTP_ORIGIN"]
        sub.update(headers)
        target = f"{wsgi_quote(place.hidden or '', '')}/{wsgi_quote(name)}"
        plain = headers.get(_OVERRIDE_KEY, EMPTY_ETAG)
        override = (
            f"{plain}; symlink_target={target}; symlink_target_etag={etag}; symlink_target_bytes={size}"
        )
        sub.update({
            "CONTENT_LENGTH": "0",
            "HTTP_X_TIMESTAMP": Timestamp(stamp.normal, offset=1).internal,
            "HTTP_X_BACKEND_ALLOW_RESERVED_NAMES": "true",
            "HTTP_X_OBJECT_SYSMETA_SYMLINK_TARGET": target,
            "HTTP_X_OBJECT_SYSMETA_SYMLINK_TARGET_ETAG": etag,
            "HTTP_X_OBJECT_SYSMETA_SYMLINK_TARGET_BYTES": str(size),
            "HTTP_X_OBJECT_SYSMETA_SYMLOOP_EXTEND": "true",
            "HTTP_X_OBJECT_SYSMETA_ALLOW_RESERVED_NAMES": "true",
            "HTTP_X_OBJECT_SYSMETA_VERSIONS_SYMLINK": "true",
            _OVERRIDE_KEY: override,
        })  # fmt: skip
        return sub

    def put_link(
        self,
        place: Place,
        link: dict[str, Any],
        etag: str,
        version_id: str,
        start_response: StartResponse,
    ) -> Body:
        """Send such a PUT and answer the client."""
        return self._linked(*call_app(self.app, link), etag, version_id, start_response)

    def _linked(
        self,
        status: str,
        headers: Headers,
        body: Body,
        etag: str,
        version_id: str,
        start_response: StartResponse,
    ) -> Body:
        if status[0] == "2":
            headers = replaced(headers, Etag=etag, X_Object_Version_Id=version_id)
        start_response(status, headers)
        return body

    # -- DELETE ------------------------------------------------------------------------------------------------------------

    def delete(self, place: Place, start_response: StartResponse) -> Body:
        environ = place.environ
        denial = denied(environ, place.info["write_acl"])
        if denial is not None:
            return denial(environ, start_response)
        stamp = checked_timestamp(place)
        _check_name(place, stamp)
        self.keep_null(place, head_object(self.app, environ, place.object_path, SOURCE))
        environ.pop(_UNLESS_LARGE, None)  # a version of it is kept, and needs its parts
        if "HTTP_X_IF_DELETE_AT" in environ:
            # Whether anything is deleted at all is decided there.
            status, headers, body = call_app(self.app, environ)
            if status[0] == "2":
                self._put_marker(place, stamp)
        else:
            self._put_marker(place, stamp)
            is_conditional = _OF_LINKS[1] in environ
            status, headers, body = (
                self._delete_seen(environ) if is_conditional else call_app(self.app, environ)
            )
            if status[:3] in ("409", "412") and is_conditional:
                # Something else is there by now: nothing was deleted.
                self._take_back(place, self._version_path(place, stamp), stamp)
        if status[0] == "2" or status[:3] == "404":
            headers = replaced(headers, X_Object_Version_Id=stamp.normal)
        start_response(status, headers)
        return body

    def _delete_seen(self, environ: dict[str, Any]) -> tuple[str, Headers, Body]:
        """Delete what was seen at the object's name, with the time of that: a link that has come since is never hit by it."""
        latest = Timestamp(environ[_OF_LINKS[1]])
        for is_last in (False, True):
            sub = {**environ, "HTTP_X_TIMESTAMP": Timestamp(latest, offset=1).internal}
            status, headers, body = call_app(self.app, sub)
            # that of a write that came to nothing, as most servers say
            told = header(headers, "x-backend-timestamp") if status[:3] == "409" else None
            if is_last or not told:
                break
            close_if_possible(body)
            latest = max(latest, Timestamp(told))
        return status, headers, body

    def _put_marker(self, place: Place, stamp: Timestamp) -> None:
        """Leave a version that says that the object was deleted. Raises HTTPException."""
        path = self._version_path(place, stamp)
        sub = own_environ(
            place.environ, "PUT", path, SOURCE, CONTENT_TYPE=MARKER_TYPE, CONTENT_LENGTH="0", HTTP_X_TIMESTAMP=stamp.normal
        )  # fmt: skip
        sub["swift.content_type_overridden"] = True
        status, _ = status_and_headers(self.app, sub)
        if status == 404:
            raise refused(HTTPInternalServerError, place.environ, _NO_CONTAINER)
        if status == 202 and self._is_marker(place, path):
            return  # who brings times along, as container sync does, may delete twice
        if status != 201:
            raise HTTPServiceUnavailable(request=place.request)

    def _is_marker(self, place: Place, path: str) -> bool:
        found = head_object(self.app, place.environ, path, SOURCE)
        return found.found and found.headers.get("content-type") == MARKER_TYPE

    # -- POST --------------------------------------------------------------------------------------------------------------

    def post(self, place: Place, start_response: StartResponse) -> Body:
        """To the link, for its expiry, and then to the version."""
        environ = place.environ
        status, headers, body = call_app(self.app, environ)
        location = (header(headers, "location") or "") if status[:3] == "307" else ""
        version = parse_path(urlsplit(location).path) if location else None
        if version is None or not _is_own(place, version):
            start_response(status, headers)
            return body
        close_if_possible(body)
        path = f"{place.hidden_path}/{version_name(version.obj, Timestamp(version.id))}"
        sub = own_environ(environ, "POST", path, SOURCE)
        for key, value in environ.items():
            if key.startswith(("HTTP_", "CONTENT_")) and key not in _EXPIRY:
                sub[key] = value
        sub.pop("HTTP_X_BACKEND_STORAGE_POLICY_INDEX", None)
        sub["HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"] = "true"
        return self.app(sub, start_response)


# -- versions in headers ---------------------------------------------------------------------------------------------------------


def version_linked(place: Place, headers: dict[str, str]) -> str:
    """The id of the version that a link (as such, `symlink=get`) leads to; `null` for anything else."""
    if not headers.get(_IS_LINK):
        return NULL
    target = headers.get("x-symlink-target") or headers.get("x-object-sysmeta-symlink-target") or ""
    version = parse_target(place.account, target)
    return version.id if version is not None and _is_own(place, version) else NULL


def _is_own(place: Place, version: Version) -> bool:
    return version.container == place.container and version.obj == place.obj


def with_version(api_version: str, account: str, headers: Headers) -> Headers:
    """The headers of an answer about a container with versions as clients may see them: hidden names become version ids."""
    found = NULL
    shown: Headers = []
    for name, value in headers:
        lower = name.lower()
        if lower == "content-location" and "/%00" in value:
            version = parse_path(value)
            if version is not None:
                value = f"/{api_version}/{wsgi_quote(version.account)}/{version.target}"
                found = version.id
        elif lower == "x-symlink-target" and value.startswith("%00"):
            version = parse_target(account, value)
            if version is not None:
                value = version.target
                found = version.id
        shown.append((name, value))
    shown.append(("X-Object-Version-Id", found))
    return shown


def hides(headers: Headers, place: Place) -> bool:
    """Returns True if an answer came from one of the object's versions, by way of the link at its name."""
    version = parse_path(header(headers, "content-location") or "")
    return version is not None and _is_own(place, version)


# -- what a PUT is about ---------------------------------------------------------------------------------------------------------


def checked_timestamp(place: Place) -> Timestamp:
    """The request's time, set where there was none: all of what is done for it is of that time."""
    try:
        return place.request.ensure_x_timestamp()
    except ValueError:
        text = (
            f"X-Timestamp should be a UNIX timestamp float value; was {place.environ['HTTP_X_TIMESTAMP']!r}"
        )
        raise refused(HTTPPreconditionFailed, place.environ, text) from None


def _check_name(place: Place, stamp: Timestamp) -> None:
    """Raises HTTPException if the object's name is too long for its versions to have one."""
    length = constraints.wsgi_name_length(version_name(place.obj, stamp))
    longest = constraints.limits().max_object_name_length
    if length > longest:
        text = f"Object name length of {length} longer than {longest}"
        raise HTTPBadRequest(request=place.request, body=text, content_type="text/plain")


def _choose_content_type(place: Place) -> None:
    """Guess the type from the object's name where the proxy would, for the hidden name tells it nothing."""
    environ = place.environ
    detect = environ.pop("HTTP_X_DETECT_CONTENT_TYPE", None)
    if "HTTP_X_SYMLINK_TARGET" in environ:
        return
    if not environ.get("CONTENT_TYPE") or truthy(detect):
        guessed, _ = mimetypes.guess_type(f"/{unquote(wsgi_to_str(place.obj))}")
        environ["CONTENT_TYPE"] = guessed or "application/octet-stream"
