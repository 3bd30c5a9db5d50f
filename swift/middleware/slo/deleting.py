"""DELETE of a manifest with its segments: at once, or handed to the expirer (spec middleware 4.21.3)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.config import truthy
from swift.core.object_lock import PROTECTED, forbids_removal, told_of
from swift.core.timestamp import Timestamp
from swift.middleware import locked_objects
from swift.middleware.bulk.deletion import DELETED, NOT_FOUND
from swift.middleware.bulk.summaries import Summary, told_at_the_end
from swift.middleware.parallel import in_parallel, in_turns
from swift.middleware.segments.answer import IGNORE_RANGE
from swift.middleware.slo import manifest, queue
from swift.middleware.slo.manifest import MARK, BadManifest, Item, Stored
from swift.middleware.slo.request import Options, denied_write, own_request
from swift.middleware.summary import JSON, TEXT, TEXT_XML, XML
from swift.wire.call import Application
from swift.wire.errors import ResponseBroken
from swift.wire.message import (
    HTML_TYPE,
    Accept,
    HTTPBadRequest,
    HTTPException,
    HTTPNotFound,
    HTTPServerError,
    HTTPServiceUnavailable,
    HTTPUnauthorized,
    Request,
    parsed_path,
    status_line,
    wsgi_quote,
    wsgi_to_str,
)
from swift.wire.subanswer import Subanswer, ask

# In the environ of an asynchronous deletion, of who finds segments that nothing refers to: they are handed over after the manifest has gone.
MANIFEST_FIRST = "swift.slo_manifest_first"
_GONE, _NO_MANIFEST = "SLO manifest not found", "Not an SLO manifest"
_UNAUTHORIZED, _UNREADABLE = "401 Unauthorized", "Unable to load SLO manifest"
_UNREADABLE_SEGMENT = "Unable to load SLO manifest or segment."
_MOST_FAILURES = 1000
_MOST_SEGMENTS_FACTOR = 10


class LookupFailed(Exception):
    """A manifest cannot be read; the text says why. `status`: of the answer, 400 if it was none that is to blame."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class _Doomed(NamedTuple):
    """An object that is to be deleted. `number`: in which order it is told; `path`: WSGI string; `query`: of its requests."""

    number: int
    path: str
    query: str = ""


class Deletion:
    """One DELETE of a manifest and what it lists."""

    def __init__(self, app: Application, options: Options, environ: dict[str, Any]) -> None:
        self._app = app
        self._options = options
        self._environ = environ
        self._request = Request(environ)
        version, account, container, obj = parsed_path(environ)
        self._account_path = f"/{version}/{account}"
        self._account = account or ""
        self._top = _Doomed(0, f"{self._account_path}/{container}/{obj}", self._version_query())
        self._told = Summary("delete", status_line(200), (DELETED, NOT_FOUND))

    def _version_query(self) -> str:
        version = self._request.params.get("version-id")
        return "" if version is None else f"version-id={wsgi_quote(version, '')}"

    def _lookup(self, what: _Doomed) -> Stored:
        """The items of a manifest. Raises LookupFailed."""
        query = f"multipart-manifest=get&{what.query}" if what.query else "multipart-manifest=get"
        environ = own_request(self._environ, "GET", what.path, query, "MultipartDELETE")
        # What is no manifest costs one byte.
        environ["HTTP_RANGE"] = "bytes=-1"
        environ[IGNORE_RANGE] = MARK
        got = ask(self._app, environ)
        try:
            if got.status == 404:
                raise LookupFailed(_GONE, 404)
            if got.status == 401:
                raise LookupFailed(_UNAUTHORIZED, 401)
            if got.status == 416:
                raise LookupFailed(_NO_MANIFEST)
            if not got.is_success:
                raise LookupFailed(_UNREADABLE_SEGMENT, got.status)
            if not truthy(got.get(MARK.lower())):
                raise LookupFailed(_NO_MANIFEST)
            if self._is_locked(got):
                raise LookupFailed(PROTECTED, 403)
            return Stored(got.read(self._options.max_stored_size))
        except (BadManifest, ResponseBroken):
            raise LookupFailed(_UNREADABLE, 500) from None
        finally:
            got.close()

    def _is_locked(self, got: Subanswer) -> bool:
        """Returns True if a manifest must not go: what it lists must not, either."""
        headers = {name.lower(): value for name, value in got.headers}
        seen = headers.get("x-backend-timestamp") or headers.get("x-timestamp", "")
        word = locked_objects.given_word(self._environ)._replace(seen=seen)
        return forbids_removal(told_of(headers), seen, word, clock.time())

    def _objects(self, stored: Stored) -> Iterator[Item]:
        """The items that are objects. Raises LookupFailed."""
        try:
            yield from (item for item in manifest.items(in_turns(stored)) if item.data is None)
        except BadManifest:
            raise LookupFailed(_UNREADABLE, 500) from None

    # -- at once -----------------------------------------------------------------------------------------------------------

    def summary(self) -> tuple[str, Iterable[bytes]]:
        """(media type, body) of the answer, which begins at once and ends when all is deleted."""
        told = self._told
        try:
            media_type = Accept(self._environ.get("HTTP_ACCEPT")).best_match((TEXT, JSON, XML, TEXT_XML))
        except ValueError:
            media_type = None
        if media_type is None:
            # Who could not read what was done, has it not done.
            told.status = status_line(406)
            return HTML_TYPE, iter((told.written(TEXT),))

        def work() -> bytes:
            self._delete_all()
            return told.written(media_type)

        is_xml = media_type in (XML, TEXT_XML)
        return media_type, told_at_the_end(work, self._options.yield_frequency, is_xml)

    def _delete_all(self) -> None:
        manifests: list[_Doomed] = []
        told, workers = self._told, self._options.delete_concurrency
        try:
            for doomed, status in in_parallel(
                self._delete, self._leaves(manifests), workers, lambda status: int(status[:3]) < 500
            ):
                self._note(doomed, status)
            # A manifest goes when nothing that it lists is left, so that what breaks off can be done again.
            for doomed in reversed(manifests):
                self._note(doomed, self._delete(doomed))
        except _TooMany as error:
            told.status, told.body = status_line(400), str(error)
            return
        if told.failures and told.status[:3] == "200":
            told.status = status_line(400)

    def _delete(self, doomed: _Doomed) -> str:
        environ = own_request(self._environ, "DELETE", doomed.path, doomed.query, "MultipartDELETE")
        if doomed is self._top and locked_objects.WORD_KEY in self._environ:
            environ[locked_objects.WORD_KEY] = self._environ[locked_objects.WORD_KEY]
        got = ask(self._app, environ)
        got.drain()
        return got.status_line

    def _note(self, doomed: _Doomed, status: str) -> None:
        """What became of one."""
        if status[0] == "2":
            self._told.counts[DELETED] += 1
        elif status[:3] == "404":
            self._told.counts[NOT_FOUND] += 1
        else:
            if status[0] == "5":
                self._told.status = status_line(502)
            self._fail(doomed, status)

    def _fail(self, doomed: _Doomed, text: str) -> None:
        name = doomed.path.removeprefix(self._account_path)
        self._told.fail(doomed.number, wsgi_to_str(wsgi_quote(name)), text)
        if self._told.failures >= _MOST_FAILURES:
            raise _TooMany("Max delete failures exceeded")

    def _leaves(self, manifests: list[_Doomed]) -> Iterator[_Doomed]:
        """What is listed and lists nothing itself; what does comes into `manifests`, outer ones first."""
        waiting = deque([self._top])
        seen = {self._top.path}  # listed twice: the second time there would be nothing left
        limit = _MOST_SEGMENTS_FACTOR * self._options.max_manifest_segments
        while waiting:
            current = waiting.popleft()
            try:
                items = list(self._objects(self._lookup(current)))
            except LookupFailed as error:
                if error.status == 404:
                    self._told.counts[NOT_FOUND] += 1
                else:
                    self._fail(current, str(error))
                continue
            manifests.append(current)
            for item in items:
                doomed = _Doomed(len(seen), self._account_path + item.path)
                if doomed.path in seen:
                    self._told.counts[NOT_FOUND] += 1
                    continue
                seen.add(doomed.path)
                if item.is_manifest:
                    waiting.append(doomed)
                else:
                    yield doomed
                if len(waiting) + len(manifests) > limit:
                    raise _TooMany("Too many buffered slo segments to delete.")

    # -- later -------------------------------------------------------------------------------------------------------------

    def segments(self) -> tuple[str, list[str]]:
        """(container, names) of the segments that may be handed over to the expirer, as text. Raises HTTPException."""
        request = self._request
        try:
            found = list(self._objects(self._lookup(self._top)))
        except LookupFailed as error:
            raise self._as_answer(error) from None
        self._check_write(self._top.path)
        if not found:
            return "", []
        names = [wsgi_to_str(item.path).split("/", 2)[1:] for item in found]
        containers = sorted({container for container, _ in names})
        if len(containers) > 1:
            shown = ", ".join(f'"{container}"' for container in containers)
            text = f"All segments must be in one container. Found segments in {shown}"
            raise HTTPBadRequest(request=request, body=text)
        if any(item.is_manifest for item in found):
            raise HTTPBadRequest(request=request, body="No segments may be large objects.")
        self._check_write(self._account_path + found[0].path)
        return containers[0], [name for _, name in names]

    def _as_answer(self, error: LookupFailed) -> HTTPException:
        if error.status == 404:
            return HTTPNotFound(request=self._request, body=_GONE)
        if error.status == 401:
            return HTTPUnauthorized(request=self._request, body=_UNAUTHORIZED)
        if error.status == 403:
            return locked_objects.protected(self._environ)
        if error.status == 400:
            return HTTPBadRequest(request=self._request, body=str(error))
        return HTTPServerError(request=self._request, body=str(error))

    def _check_write(self, path: str) -> None:
        """Raises HTTPException unless the client may delete what is there."""
        denial = denied_write(self._app, self._environ, path)
        if denial is not None:
            raise denial

    def queue(self, container: str, names: list[str]) -> None:
        """Hand segments over to the expirer; the manifest's own deletion is the caller's. Raises HTTPException."""
        if not names:
            return
        timestamp: Timestamp = self._request.ensure_x_timestamp()
        account, expirer = wsgi_to_str(self._account), self._options.expirer_account
        if not queue.send(self._app, self._environ, expirer, timestamp, account, container, names, "SLO"):
            raise HTTPServiceUnavailable(request=self._request)


class _TooMany(Exception):
    """More than anybody has to remember for one request."""
