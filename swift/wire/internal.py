"""The internal client: a whole proxy pipeline in this process, loaded from its own configuration.

Daemons below the proxy act through it on accounts, containers and objects, with quorums and handoffs, without importing the proxy. Names are
native text; header names and values are WSGI strings. Spec: proxy-and-backend.md 26.1.
"""

import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from swift.core import clock
from swift.core.concurrency import Timeout, sleep
from swift.core.errors import ConfigError
from swift.run.pipeline import load_app, pipeline_names
from swift.telemetry.log import set_transaction, transaction
from swift.telemetry.units import GIVEN
from swift.wire.body import close_if_possible
from swift.wire.call import Application
from swift.wire.headers import HeaderKeyDict
from swift.wire.request import Request
from swift.wire.response import Response
from swift.wire.subanswer import Subanswer

DEFAULT_CONF = "/etc/swift/internal-client.conf"
MAX_LISTING = 64 * 1024 * 1024
MAX_LINE = 16 * 1024 * 1024
_DRAIN_LIMIT = 1024 * 1024

# Codes, or classes of them: 2 means 2xx.
Statuses = Iterable[int]
Headers = Mapping[str, Any]


class UnexpectedResponse(Exception):
    """The answer has a status that the caller does not accept; `resp` is the Response, its body unread."""

    def __init__(self, message: str, resp: Response) -> None:
        super().__init__(message)
        self.resp = resp


def _accepted(status: int, acceptable: Statuses) -> bool:
    return any(status == code or status // 100 == code for code in acceptable)


class InternalClient:
    """Requests to a pipeline of its own.

    conf_path: of the pipeline; it is loaded as it is and must not have gatekeeper in it, which would strip our headers.
    request_tries: how often a request is made in all when it fails with 5xx or an exception, with pauses of 2, 4, 8 … s.
    app: an application instead of conf_path. Raises ConfigError, ValueError.
    """

    def __init__(
        self,
        conf_path: str,
        user_agent: str,
        request_tries: int,
        use_replication_network: bool = False,
        global_conf: Mapping[str, str] | None = None,
        app: Application | None = None,
    ) -> None:
        if request_tries < 1:
            raise ValueError("request_tries must be positive")
        if app is None:
            if "gatekeeper" in pipeline_names(conf_path, global_conf):
                raise ConfigError(
                    f"{conf_path}: the pipeline of an internal client must not have gatekeeper in it"
                )
            app = load_app(conf_path, global_conf=global_conf, allow_modify_pipeline=False)
        self.app: Any = app
        self.user_agent = user_agent
        self.request_tries = request_tries
        self.use_replication_network = use_replication_network
        final_app = getattr(app, "_pipeline_final_app", app)
        if hasattr(final_app, "backend_user_agent"):
            final_app.backend_user_agent = user_agent

    # --- requests

    def make_path(self, account: str, container: str | None = None, obj: str | None = None) -> str:
        """Quoted path of an account, container or object. ValueError when a part above it is missing."""
        parts = [account]
        if container is not None:
            parts.append(container)
        if obj is not None:
            if container is None:
                raise ValueError("an object without its container")
            parts.append(obj)
        return "/v1/" + "/".join(quote(part, "/", errors="surrogateescape") for part in parts)

    def make_request(
        self,
        method: str,
        path: str,
        headers: Headers | None,
        acceptable_statuses: Statuses,
        body_file: Any = None,
        params: Mapping[str, Any] | None = None,
    ) -> Response:
        """One request, tried again as the constructor says; a Response with an acceptable status, to be read or closed.

        body_file: bytes or something with read(); it is rewound for another try, and if it can't be, there is none.
        Raises UnexpectedResponse, or what the last try raised.
        """
        acceptable = tuple(acceptable_statuses)
        if isinstance(body_file, bytes):
            body_file = io.BytesIO(body_file)
        tries = self.request_tries if body_file is None or hasattr(body_file, "seek") else 1
        pause = 2
        while True:
            tries -= 1
            try:
                response = self._once(method, path, headers, body_file, params)
            except (Exception, Timeout):
                if tries <= 0:
                    raise
            else:
                if _accepted(response.status_int, acceptable):
                    return response
                if tries <= 0 or response.status_int < 500:
                    raise UnexpectedResponse(f"Unexpected response: {response.status}", response)
                _finish(response)
            sleep(pause)
            pause *= 2

    def _once(
        self,
        method: str,
        path: str,
        headers: Headers | None,
        body_file: Any,
        params: Mapping[str, Any] | None,
    ) -> Response:
        if params:
            path += ("&" if "?" in path else "?") + urlencode(params, errors="surrogateescape")
        request = Request.blank(path, environ={"REQUEST_METHOD": method}, headers=headers or {})
        request.headers["User-Agent"] = self.user_agent
        request.headers["X-Backend-Allow-Reserved-Names"] = "true"
        if self.use_replication_network:
            request.headers.setdefault("X-Backend-Use-Replication-Network", "true")
        if body_file is not None:
            if hasattr(body_file, "seek"):
                body_file.seek(0)
            request.environ["wsgi.input"] = body_file
            if "CONTENT_LENGTH" not in request.environ:
                request.headers["Transfer-Encoding"] = "chunked"
        before = transaction()
        if before[0]:
            request.environ[GIVEN] = before[0]
        try:
            return request.get_response(self.app)
        finally:
            set_transaction(*before)  # what the daemon says next is not about this request

    def ask(
        self,
        method: str,
        account: str,
        container: str | None = None,
        obj: str | None = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Subanswer:
        """`make_request` in the form in which filters ask: whatever is answered but 5xx, to be read or closed. `headers`: by environ keys."""
        start = clock.time()
        named = {
            key.removeprefix("HTTP_").replace("_", "-").title(): text for key, text in (headers or {}).items()
        }
        path = self.make_path(account, container, obj)
        response = self.make_request(method, path, named, (2, 3, 4), body, query)
        asked = {"REQUEST_METHOD": method}
        return Subanswer(asked, response.status, response.headerlist, response.app_iter, start)

    def _done(self, *args: Any, **kwargs: Any) -> Response:
        """make_request for answers of which only status and headers matter."""
        response = self.make_request(*args, **kwargs)
        _finish(response)
        return response

    # --- metadata

    def _metadata(
        self, path: str, prefix: str, acceptable: Statuses, headers: Headers | None
    ) -> dict[str, str]:
        """Response headers that begin with prefix, without it, names in lower case; {} for a status other than 2xx."""
        response = self._done("HEAD", path, headers, acceptable)
        if not response.is_success:
            return {}
        lower = prefix.lower()
        return {
            name[len(lower) :].lower(): value
            for name, value in response.headers.items()
            if name.lower().startswith(lower)
        }

    def _set_metadata(self, path: str, metadata: Headers, prefix: str, acceptable: Statuses) -> None:
        headers = {
            name if name.lower().startswith(prefix.lower()) else prefix + name: value
            for name, value in metadata.items()
        }
        self._done("POST", path, headers, acceptable)

    def get_account_metadata(
        self, account: str, metadata_prefix: str = "", acceptable_statuses: Statuses = (2,)
    ) -> dict[str, str]:
        return self._metadata(self.make_path(account), metadata_prefix, acceptable_statuses, None)

    def get_account_info(self, account: str, acceptable_statuses: Statuses = (2, 404)) -> tuple[int, int]:
        """(containers, objects) of an account; zeros when there is none."""
        response = self._done("HEAD", self.make_path(account), {}, acceptable_statuses)
        if not response.is_success:
            return 0, 0
        headers = response.headers
        return (
            int(headers["X-Account-Container-Count"] or 0),
            int(headers["X-Account-Object-Count"] or 0),
        )

    def set_account_metadata(
        self, account: str, metadata: Headers, metadata_prefix: str = "", acceptable_statuses: Statuses = (2,)
    ) -> None:
        self._set_metadata(self.make_path(account), metadata, metadata_prefix, acceptable_statuses)

    def get_container_metadata(
        self,
        account: str,
        container: str,
        metadata_prefix: str = "",
        acceptable_statuses: Statuses = (2,),
        headers: Headers | None = None,
    ) -> dict[str, str]:
        path = self.make_path(account, container)
        return self._metadata(path, metadata_prefix, acceptable_statuses, headers)

    def set_container_metadata(
        self,
        account: str,
        container: str,
        metadata: Headers,
        metadata_prefix: str = "",
        acceptable_statuses: Statuses = (2,),
    ) -> None:
        self._set_metadata(self.make_path(account, container), metadata, metadata_prefix, acceptable_statuses)

    def get_object_metadata(
        self,
        account: str,
        container: str,
        obj: str,
        metadata_prefix: str = "",
        acceptable_statuses: Statuses = (2,),
        headers: Headers | None = None,
    ) -> dict[str, str]:
        path = self.make_path(account, container, obj)
        return self._metadata(path, metadata_prefix, acceptable_statuses, headers)

    def set_object_metadata(
        self,
        account: str,
        container: str,
        obj: str,
        metadata: Headers,
        metadata_prefix: str = "",
        acceptable_statuses: Statuses = (2,),
    ) -> None:
        path = self.make_path(account, container, obj)
        self._set_metadata(path, metadata, metadata_prefix, acceptable_statuses)

    # --- listings

    def _pages(
        self, path: str, marker: str, end_marker: str, prefix: str, acceptable: Statuses
    ) -> Iterator[dict[str, Any]]:
        """Items of a listing, page by page, until an empty page or a status other than 200."""
        while True:
            params = {"format": "json", "marker": marker, "end_marker": end_marker, "prefix": prefix}
            response = self.make_request("GET", path, {}, acceptable, params=params)
            if response.status_int != 200:
                _finish(response)
                return
            items = json.loads(_read(response, MAX_LISTING))
            if not items:
                return
            yield from items
            last = items[-1].get("name", items[-1].get("subdir"))
            # A server that gives the same page again would keep us here forever.
            if last is None or last <= marker:
                raise ValueError(f"the listing of {path} does not advance")
            marker = last

    def iter_containers(
        self,
        account: str,
        marker: str = "",
        end_marker: str = "",
        prefix: str = "",
        acceptable_statuses: Statuses = (2, 404),
    ) -> Iterator[dict[str, Any]]:
        """Containers as in a JSON listing."""
        return self._pages(self.make_path(account), marker, end_marker, prefix, acceptable_statuses)

    def iter_objects(
        self,
        account: str,
        container: str,
        marker: str = "",
        end_marker: str = "",
        prefix: str = "",
        acceptable_statuses: Statuses = (2, 404),
    ) -> Iterator[dict[str, Any]]:
        """Objects as in a JSON listing."""
        return self._pages(
            self.make_path(account, container), marker, end_marker, prefix, acceptable_statuses
        )

    # --- accounts and containers

    def create_account(self, account: str) -> None:
        self._done("PUT", self.make_path(account), {}, (2,))

    def delete_account(self, account: str, acceptable_statuses: Statuses = (2, 404)) -> None:
        self._done("DELETE", self.make_path(account), {}, acceptable_statuses)

    def account_exists(self, account: str) -> bool:
        return self._done("HEAD", self.make_path(account), {}, (2, 404)).is_success

    def create_container(
        self,
        account: str,
        container: str,
        headers: Headers | None = None,
        acceptable_statuses: Statuses = (2,),
    ) -> None:
        self._done("PUT", self.make_path(account, container), headers, acceptable_statuses)

    def delete_container(
        self,
        account: str,
        container: str,
        headers: Headers | None = None,
        acceptable_statuses: Statuses = (2, 404),
    ) -> None:
        self._done("DELETE", self.make_path(account, container), headers, acceptable_statuses)

    def container_exists(self, account: str, container: str) -> bool:
        return self._done("HEAD", self.make_path(account, container), {}, (2, 404)).is_success

    # --- objects

    def upload_object(
        self,
        fobj: Any,
        account: str,
        container: str,
        obj: str,
        headers: Headers | None = None,
        acceptable_statuses: Statuses = (2,),
        params: Mapping[str, Any] | None = None,
    ) -> Response:
        """fobj: bytes or something with read(); chunked unless headers have a Content-Length."""
        given = HeaderKeyDict(headers or {})
        if isinstance(fobj, bytes):
            given.setdefault("Content-Length", len(fobj))
        if "Content-Type" not in given:
            given["Content-Type"] = "application/octet-stream"
        path = self.make_path(account, container, obj)
        return self._done("PUT", path, given, acceptable_statuses, fobj, params=params)

    def get_object(
        self,
        account: str,
        container: str,
        obj: str,
        headers: Headers | None = None,
        acceptable_statuses: Statuses = (2,),
        params: Mapping[str, Any] | None = None,
    ) -> tuple[int, HeaderKeyDict, Any]:
        """(status, headers, body iterable, to be read to its end or closed)."""
        path = self.make_path(account, container, obj)
        response = self.make_request("GET", path, headers, acceptable_statuses, params=params)
        return response.status_int, response.headers, response.app_iter

    def iter_object_lines(
        self,
        account: str,
        container: str,
        obj: str,
        headers: Headers | None = None,
        acceptable_statuses: Statuses = (2,),
    ) -> Iterator[bytes]:
        """Lines without their ends; the object is unzipped when its name ends in .gz. ValueError for a line above MAX_LINE."""
        _, _, body = self.get_object(account, container, obj, headers, acceptable_statuses)
        try:
            rest = b""
            for data in _unzipped(body) if obj.endswith(".gz") else body:
                *lines, rest = (rest + data).split(b"\n")
                yield from lines
                if len(rest) > MAX_LINE:
                    raise ValueError(f"a line of {obj} is longer than {MAX_LINE} bytes")
            if rest:
                yield rest
        finally:
            close_if_possible(body)

    def delete_object(
        self,
        account: str,
        container: str,
        obj: str,
        headers: Headers | None = None,
        acceptable_statuses: Statuses = (2, 404),
    ) -> Response:
        return self._done("DELETE", self.make_path(account, container, obj), headers, acceptable_statuses)


def _finish(response: Response) -> None:
    """Read a short rest of the body, so that its connection can be used again, and let go of it."""
    body = response.app_iter
    if isinstance(body, list | tuple):
        return
    try:
        seen = 0
        for data in body:
            seen += len(data)
            if seen > _DRAIN_LIMIT:
                break
    finally:
        close_if_possible(body)


def _read(response: Response, limit: int) -> bytes:
    parts, size = [], 0
    body = response.app_iter
    try:
        for data in body:
            size += len(data)
            if size > limit:
                raise ValueError(f"a document longer than {limit} bytes")
            parts.append(data)
    finally:
        close_if_possible(body)
    return b"".join(parts)


def _unzipped(body: Iterable[bytes]) -> Iterator[bytes]:
    """gzip members one after the other, in pieces of bounded size. zlib.error when it is not gzip, ValueError when it ends early."""
    unzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
    fresh = True
    for data in body:
        while data:
            fresh = False
            yield unzip.decompress(data, 65536)
            data = unzip.unconsumed_tail
            if unzip.eof:
                data = unzip.unused_data
                unzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
                fresh = True
    if not fresh:
        yield unzip.flush()
        if not unzip.eof:
            raise ValueError("the gzip data ends early")
