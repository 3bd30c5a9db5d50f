"""Objects kept in another container before they are overwritten or deleted, and brought back (spec middleware 4.23).

A copy is stored before what it is a copy of goes, and one that is brought back is deleted only once it is the object again. Never here:
which container that is (`locations`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from swift.core.constraints import limits
from swift.core.timestamp import Timestamp
from swift.middleware.object_copies import (
    Opened,
    check_opened,
    head_object,
    open_object,
    own_environ,
    store_copy,
)
from swift.middleware.object_versioning.context import denied
from swift.middleware.versioned_writes.locations import HISTORY, Location, archive_prefix
from swift.wire.call import Application, call_app, status_and_headers
from swift.wire.message import (
    HTTPPreconditionFailed,
    HTTPServiceUnavailable,
    Request,
    close_if_possible,
    str_to_wsgi,
)

SOURCE = "VW"
FIRST_ENTRIES = 8
MARKER_TYPE = "application/x-deleted;swift_versions_deleted=1"
Body = Iterable[bytes]
StartResponse = Callable[..., Any]


class Kept(NamedTuple):
    """A client's request for an object whose old copies go to `location`; names are WSGI strings."""

    environ: dict[str, Any]
    version: str
    account: str
    container: str
    obj: str
    location: Location
    write_acl: str | None

    @property
    def object_path(self) -> str:
        return f"/{self.version}/{self.account}/{self.container}/{self.obj}"

    @property
    def archive_path(self) -> str:
        return f"/{self.version}/{self.account}/{self.location.container}"

    def copy_path(self, timestamp: str) -> str:
        return f"{self.archive_path}/{archive_prefix(self.obj)}{timestamp}"


class Archive:
    """`app`: what comes behind in the pipeline."""

    def __init__(self, app: Application) -> None:
        self.app = app

    def handle(self, kept: Kept, start_response: StartResponse) -> Body:
        """PUT and DELETE. Raises HTTPException."""
        environ = kept.environ
        denial = denied(environ, kept.write_acl)
        if denial is not None:
            return denial(environ, start_response)
        environ["QUERY_STRING"] = ""
        if environ["REQUEST_METHOD"] == "PUT":
            self._keep_current(kept)
            return self.app(environ, start_response)
        if kept.location.mode == HISTORY:
            self._keep_current(kept)
            self._put_marker(kept)
            return self.app(environ, start_response)
        return self._pop(kept, start_response)

    # -- keeping -----------------------------------------------------------------------------------------------------------

    def _keep_current(self, kept: Kept) -> None:
        """A copy of what is there goes to the archive; of nothing, none."""
        environ = kept.environ
        current = open_object(self.app, environ, kept.object_path, SOURCE)
        if current.status == 404:
            current.close()
            return
        request = Request(environ)
        check_opened(request, current)
        if environ["REQUEST_METHOD"] == "PUT" and "*" in environ.get("HTTP_IF_NONE_MATCH", ""):
            current.close()
            raise HTTPPreconditionFailed(request=request)
        path = kept.copy_path(_time_of(current))
        _check_stored(request, store_copy(self.app, environ, current, path, SOURCE))

    def _put_marker(self, kept: Kept) -> None:
        path = kept.copy_path(Timestamp.now().internal)
        sub = own_environ(kept.environ, "PUT", path, SOURCE, CONTENT_TYPE=MARKER_TYPE, CONTENT_LENGTH="0")
        sub["swift.content_type_overridden"] = True
        status, _ = status_and_headers(self.app, sub)
        _check_stored(Request(kept.environ), status)

    # -- bringing back -------------------------------------------------------------------------------------------------------

    def _pop(self, kept: Kept, start_response: StartResponse) -> Body:
        """DELETE in stack mode: what was there before the object comes back."""
        environ = kept.environ
        entries = self._entries(kept)
        for name, is_marker in entries:
            if is_marker:
                current = head_object(self.app, environ, kept.object_path, SOURCE)
                if current.found:
                    break
                if current.status != 404:
                    raise HTTPServiceUnavailable(request=Request(environ))
                older = next(entries, None)
                if older is not None and not older[1] and self._restore(kept, older[0]):
                    self._delete_copy(kept, older[0])
            elif not self._restore(kept, name):
                continue  # a listing may know of what is gone
            return self._redirected(kept, name, start_response)
        return self.app(environ, start_response)

    def _entries(self, kept: Kept) -> Iterator[tuple[str, bool]]:
        """(name, whether it says that the object was deleted) of each copy, the newest first. Raises HTTPException."""
        prefix = archive_prefix(kept.obj)
        marker = ""
        while True:
            params = {"format": "json", "prefix": prefix, "reverse": "on", "marker": marker}
            if not marker:
                # Nearly always the newest will do, of an object that may have thousands.
                params["limit"] = str(min(FIRST_ENTRIES, limits().container_listing_limit))
            query = urlencode(params, encoding="latin-1")
            sub = own_environ(kept.environ, "GET", kept.archive_path, SOURCE, query)
            status, _, body = call_app(self.app, sub)
            try:
                data = b"".join(body)
            finally:
                close_if_possible(body)
            if status[:3] == "404":
                return
            if status[0] != "2":
                kind = HTTPPreconditionFailed if status[0] == "4" else HTTPServiceUnavailable
                raise kind(request=Request(kept.environ))
            rows = json.loads(data or b"[]")
            if not rows:
                return
            for row in rows:
                marker = str_to_wsgi(row["name"])
                yield marker, row["content_type"] == MARKER_TYPE

    def _restore(self, kept: Kept, name: str) -> bool:
        """Make a copy the object; returns False if there is no such copy. Raises HTTPException."""
        environ = kept.environ
        copy = open_object(self.app, environ, f"{kept.archive_path}/{name}", SOURCE)
        if copy.status == 404:
            copy.close()
            return False
        request = Request(environ)
        check_opened(request, copy)
        status = store_copy(self.app, environ, copy, kept.object_path, SOURCE)
        _check_stored(request, status)
        if status == 202:  # somebody else's object was first: the copy is still needed
            raise HTTPServiceUnavailable(request=request)
        return True

    def _delete_copy(self, kept: Kept, name: str) -> None:
        sub = own_environ(kept.environ, "DELETE", f"{kept.archive_path}/{name}", SOURCE)
        status, _ = status_and_headers(self.app, sub)
        if status >= 500:
            raise HTTPServiceUnavailable(request=Request(kept.environ))

    def _redirected(self, kept: Kept, name: str, start_response: StartResponse) -> Body:
        """The client's DELETE is that of the copy which is needed no more."""
        sub = own_environ(kept.environ, "DELETE", f"{kept.archive_path}/{name}", SOURCE)
        return self.app(sub, start_response)


def _time_of(opened: Opened) -> str:
    """When an object was stored, as a timestamp's text."""
    time = opened.headers.get("x-timestamp")
    if time:
        return Timestamp(time).internal
    return Timestamp(parsedate_to_datetime(opened.headers["last-modified"]).timestamp()).internal


def _check_stored(request: Request, status: int) -> None:
    """Raises HTTPException unless a PUT in the archive was taken."""
    if not 200 <= status < 300:
        raise (HTTPPreconditionFailed if 400 <= status < 499 else HTTPServiceUnavailable)(request=request)
