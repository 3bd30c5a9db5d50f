"""Filter `object_lock`: locks hold for native requests, too (spec s3.md 13.1.2, 18).

It stands on the right of all that makes requests of its own, so it sees by their last names what is to be removed or replaced, whoever
asks and by whatever road: versions by their ids, bulk deletions, links, copies, signed URLs. Object servers have the last word; this
filter asks before anything is touched, tells them what was seen, and holds what no object server can know: parts of locked objects, the
versions of a bucket with locks, the retention that new objects get.

Never here: S3 requests. Internal clients have no such filter: for them object servers are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

import orjson

from swift.core import clock
from swift.core.config import truthy
from swift.core.object_lock import CONFIGURED, LEGAL_HOLD, RETENTION, forbids_removal, told_of
from swift.middleware import locked_objects
from swift.middleware.info import get_container_info
from swift.middleware.locked_objects import WORD_KEY
from swift.middleware.object_copies import head_object, own_environ
from swift.middleware.object_versioning.context import SOURCE as VERSIONING
from swift.middleware.object_versioning.names import MARKER_TYPE, PREFIX, hidden_container
from swift.s3 import bucket_documents
from swift.s3.object_lock.document import default_retention
from swift.wire.call import Application, StartResponse
from swift.wire.message import (
    HTTPBadRequest,
    HTTPConflict,
    HTTPException,
    HTTPServiceUnavailable,
    Request,
    environ_key,
    parsed_path,
    wsgi_to_str,
)
from swift.wire.subanswer import ask

SOURCE = "OL"
SEGMENTS = "+segments"
_RETENTION_KEY, _HOLD_KEY = environ_key(RETENTION), environ_key(LEGAL_HOLD)
_VERSIONS_ENABLED = "HTTP_X_CONTAINER_SYSMETA_VERSIONS_ENABLED"
_UPLOAD_IDS = ("x-object-sysmeta-s3api-upload-id", "x-object-sysmeta-swift3-upload-id")
_EXPIRY = ("HTTP_X_DELETE_AT", "HTTP_X_DELETE_AFTER")
_CHANGES = frozenset(("PUT", "POST", "DELETE"))
_KNOWN = "s3api.locked_uploads"  # in an environ's infocache: what was found out for one request
_PAGE = 1000
_MOST_BYTES = 4 * 1024 * 1024
_SUSPENDED = (
    "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed."
)
_NO_EXPIRY = "What can be locked can't have an X-Delete-At"


class ObjectLock:
    def __init__(self, app: Application) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method not in _CHANGES:
            return self.app(environ, start_response)
        _, account, container, obj = parsed_path(environ)
        try:
            if account is None:
                pass
            elif obj is not None and container is not None:
                self._check_object(environ, method, account, container, obj)
            elif container is not None:
                self._check_container(environ, method, account, container)
            elif method == "DELETE":
                self._check_account(environ, account)
        except HTTPException as refusal:
            return refusal(environ, start_response)
        return self.app(environ, start_response)

    # -- objects -----------------------------------------------------------------------------------------------------------

    def _check_object(
        self, environ: dict[str, Any], method: str, account: str, container: str, obj: str
    ) -> None:
        """Raises HTTPException."""
        if container.endswith(SEGMENTS):
            self._check_part(environ, method, account, container, obj)
        is_version = container.startswith(PREFIX)
        if (method == "POST" and not is_version) or (not is_version and "\0" in account + container):
            return
        bucket = container[len(PREFIX) :] if is_version else container
        info = get_container_info(environ, self.app, account, bucket)
        if not locked_objects.may_be_locked(info):
            return
        if info["status"] >= 500:
            raise HTTPServiceUnavailable(request=Request(environ))
        if method == "DELETE":
            self._check_removal(environ)
        elif method == "POST":
            if any(environ.get(key) for key in _EXPIRY):
                raise _refused(environ, _NO_EXPIRY)
        elif is_version and environ.get("swift.source") != VERSIONING:
            self._give_retention(environ, info)

    def _check_removal(self, environ: dict[str, Any]) -> None:
        given = locked_objects.given_word(environ)
        if given.seen:
            return  # whoever sent it has looked
        word = locked_objects.check_removal(self.app, environ, environ["PATH_INFO"], SOURCE)
        if word is not None:
            environ[WORD_KEY] = word.text()

    def _give_retention(self, environ: dict[str, Any], info: Any) -> None:
        """What a new version has by its bucket's rule, if it brings nothing of its own. Raises HTTPServiceUnavailable."""
        if environ.get(_RETENTION_KEY) or environ.get("CONTENT_TYPE") == MARKER_TYPE or WORD_KEY in environ:
            return  # the last: it is written onto itself, and is none the newer for it
        try:
            found = bucket_documents.parse(info["sysmeta"][CONFIGURED], lambda _: None)
        except bucket_documents.Unreadable:
            raise HTTPServiceUnavailable(request=Request(environ)) from None
        retention = default_retention(found or {}, clock.time())
        if retention is not None:
            environ[_RETENTION_KEY] = retention

    # -- parts -------------------------------------------------------------------------------------------------------------

    def _check_part(
        self, environ: dict[str, Any], method: str, account: str, container: str, obj: str
    ) -> None:
        """Raises HTTPException for what would take a part from a locked object."""
        if method == "PUT" and environ.get("swift.source") == "S3":
            return  # of an open upload, of which there is no object yet
        bucket = container[: -len(SEGMENTS)]
        info = get_container_info(environ, self.app, account, bucket)
        if not locked_objects.may_be_locked(info):
            return
        if info["status"] >= 500:
            raise HTTPServiceUnavailable(request=Request(environ))
        if method != "DELETE" and any(environ.get(key) for key in _EXPIRY):
            raise _refused(environ, _NO_EXPIRY)
        if method == "POST":
            return
        key, _, number = obj.rpartition("/")
        key, _, upload = key.rpartition("/")
        if not key or not number.isdigit():
            return
        known: dict[Any, bool] = environ.setdefault("swift.infocache", {}).setdefault(_KNOWN, {})
        name = account, bucket, key, upload
        if name not in known:
            known[name] = self._is_upload_locked(environ, account, bucket, key, upload)
        if known[name]:
            raise locked_objects.protected(environ)

    def _is_upload_locked(
        self, environ: dict[str, Any], account: str, bucket: str, key: str, upload: str
    ) -> bool:
        """Returns True if a locked object, or version of one, was made of this upload. Raises HTTPServiceUnavailable."""
        if self._is_locked_one(environ, f"/v1/{account}/{bucket}/{key}", upload):
            return True
        path = f"/v1/{account}/{hidden_container(bucket)}"
        marker, prefix = "", wsgi_to_str(f"\0{key}\0")
        while True:
            query = urlencode({"format": "json", "limit": _PAGE, "prefix": prefix, "marker": marker})
            answer = ask(self.app, own_environ(environ, "GET", path, SOURCE, query))
            if answer.status == 404:
                answer.close()
                return False
            if not answer.is_success:
                answer.close()
                raise HTTPServiceUnavailable(request=Request(environ))
            rows = orjson.loads(answer.read(_MOST_BYTES) or b"[]")
            for row in rows:
                if "slo_etag" not in row.get("hash", "") and "slo_etag" not in row:
                    continue
                version = f"{path}/{row['name'].encode().decode('latin-1')}"
                if self._is_locked_one(environ, version, upload):
                    return True
            if len(rows) < _PAGE:
                return False
            marker = rows[-1]["name"]

    def _is_locked_one(self, environ: dict[str, Any], path: str, upload: str) -> bool:
        found = head_object(self.app, environ, path, SOURCE)
        if found.status >= 500:
            raise HTTPServiceUnavailable(request=Request(environ))
        if not found.found:
            return False
        uploads = {found.headers.get(name) for name in _UPLOAD_IDS}
        return wsgi_to_str(upload) in uploads and forbids_removal(
            told_of(found.headers), "", None, clock.time()
        )

    # -- containers and accounts -------------------------------------------------------------------------------------------

    def _check_container(self, environ: dict[str, Any], method: str, account: str, container: str) -> None:
        """Raises HTTPException."""
        if method == "DELETE" or _VERSIONS_ENABLED not in environ or truthy(environ[_VERSIONS_ENABLED]):
            return  # a container with versions does not go as long as there is one
        info = get_container_info(environ, self.app, account, container)
        if info["status"] >= 500:
            raise HTTPServiceUnavailable(request=Request(environ))
        if info["sysmeta"].get(CONFIGURED):
            raise HTTPConflict(request=Request(environ), body=_SUSPENDED, content_type="text/plain")

    def _check_account(self, environ: dict[str, Any], account: str) -> None:
        """Raises HTTPException for an account with buckets whose objects can be locked: nobody could read them any more."""
        marker = ""
        while True:
            query = urlencode({"format": "json", "limit": _PAGE, "prefix": PREFIX, "marker": marker})
            answer = ask(self.app, own_environ(environ, "GET", f"/v1/{account}", SOURCE, query))
            if answer.status == 404:
                answer.close()
                return
            if not answer.is_success:
                answer.close()
                raise HTTPServiceUnavailable(request=Request(environ))
            rows = orjson.loads(answer.read(_MOST_BYTES) or b"[]")
            for row in rows:
                bucket = row["name"].removeprefix(PREFIX).encode().decode("latin-1")
                info = get_container_info(environ, self.app, account, bucket)
                if info["status"] >= 500:
                    raise HTTPServiceUnavailable(request=Request(environ))
                if info["sysmeta"].get(CONFIGURED):
                    text = "The account has buckets whose objects can be locked."
                    raise HTTPConflict(request=Request(environ), body=text, content_type="text/plain")
            if len(rows) < _PAGE:
                return
            marker = rows[-1]["name"]


def _refused(environ: dict[str, Any], text: str) -> HTTPException:
    return HTTPBadRequest(request=Request(environ), body=text, content_type="text/plain")


def filter_factory(_global_conf: dict[str, Any], **_local_conf: Any) -> Callable[[Any], ObjectLock]:
    return ObjectLock
