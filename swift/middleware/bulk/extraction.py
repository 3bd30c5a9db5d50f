"""The files of an archive as objects: one reading of it, small files stored beside each other, long ones as they come.

Never here: how archives are read (`archive`), and the answer's form.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from swift.core.concurrency import Event
from swift.core.constraints import limits
from swift.core.names import str_to_wsgi, wsgi_quote, wsgi_to_str
from swift.middleware.bulk.archive import Archive, BadArchive, Member
from swift.middleware.bulk.options import Options, own_environ
from swift.middleware.bulk.summaries import Summary
from swift.middleware.parallel import in_parallel
from swift.wire.body_input import BodyInput
from swift.wire.call import Application, status_and_headers
from swift.wire.errors import ClientError
from swift.wire.message import environ_key, parsed_path, status_line

FILES_CREATED = "Number Files Created"
SMALL_FILE = 65536  # bytes up to which a file is kept until it is its turn
_FIRST = 2  # files stored beside each other, to begin with
_MOST = 16
_TYPE = re.compile(r"(?:SCHILY|LIBARCHIVE)\.xattr\.user\.mime_type")
_META = re.compile(r"(?:SCHILY|LIBARCHIVE)\.xattr\.user\.meta\.(.+)", re.DOTALL)
_HEADER_NAME = re.compile(r"[!-.0-9;-~\x80-\xff]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class _Stop(Exception):
    """The extraction ends here; the status of the whole and the text about it."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class _File(NamedTuple):
    """A file that is to be stored. number: its place in the archive; path: WSGI string; before: done when one of the same path is."""

    number: int
    path: str
    headers: dict[str, str]
    data: bytes
    container_failure: str
    before: Event | None
    after: Event


class Extraction:
    """One PUT of an archive."""

    def __init__(self, app: Application, options: Options, environ: dict[str, Any], packing: str) -> None:
        self._app = app
        self._options = options
        self._environ = environ
        version, account, container, obj = parsed_path(environ)
        self._account_path = f"/{version}/{account}"
        self._place = self._account_path if container is None else f"{self._account_path}/{container}"
        self._is_packed = packing != "tar"
        base = container or ""
        if obj is not None:
            base += f"/{obj}"
        self._base = base.rstrip("/")
        body = environ["wsgi.input"]
        self._archive = Archive(getattr(body, "read_available", None) or body.read, packing)
        self._headers = {
            key: value
            for key, value in environ.items()
            if key in ("HTTP_X_DELETE_AT", "HTTP_X_DELETE_AFTER") or key.startswith("HTTP_X_OBJECT_META_")
        }
        self._containers: set[str] = set()
        self._refused: dict[str, str] = {}  # container → why it could not be made
        self._told: set[str] = set()  # of those
        self._made = 0
        self._number = 0
        self._in_hand: dict[str, Event] = {}
        self._stopped: _Stop | None = None
        self.summary = Summary("extract", status_line(201), (FILES_CREATED,))

    def run(self) -> Summary:
        """Read it to its end, or to what ends it. Raises ClientError."""
        summary = self.summary
        if parsed_path(self._environ)[1] is None:
            summary.status = status_line(404)
            return summary
        if not self._environ.get("CONTENT_LENGTH") and not self._environ.get("HTTP_TRANSFER_ENCODING"):
            summary.status = status_line(411)
            return summary
        if self._is_packed and self._ask("HEAD", self._place) == 401:
            # A few bytes of a stranger's may stand for hours of unpacking, and for no file that would be refused.
            summary.status = status_line(401)
            return summary
        for file, status in in_parallel(self._store, self._until_the_end(), _FIRST, _went_well, _MOST):
            self._note(file.number, file.path, status, file.container_failure)
        stopped = self._stopped
        if stopped is not None:
            summary.status, summary.body = status_line(stopped.status), stopped.text
        elif not summary.failures and not summary.counts[FILES_CREATED]:
            summary.status, summary.body = status_line(400), "Invalid Tar File: No Valid Files"
        elif summary.failures and summary.status[:3] == "201":
            summary.status = status_line(400)
        return summary

    def _until_the_end(self) -> Iterator[_File]:
        """What is to be stored, until something ends it: what is under way then still comes to its end."""
        try:
            yield from self._small_files()
        except BadArchive as error:
            self._stopped = self._stopped or _Stop(400, f"Invalid Tar File: {error}")
        except _Stop as stop:
            self._stopped = stop

    # -- members -----------------------------------------------------------------------------------------------------------

    def _small_files(self) -> Iterator[_File]:
        """What can be stored beside other files; longer ones are stored on the way. Raises BadArchive, ClientError, _Stop."""
        for member in self._archive:
            if self._stopped is not None or self.summary.failures >= self._options.max_failed_extractions:
                return
            path = self._path(member)
            if path is None:
                continue
            self._number += 1
            headers = self._member_headers(member)
            failure = self._container_failure(path)
            if headers is None or not self._may_be_stored(member, path):
                if headers is None:
                    self._fail(self._number, path, status_line(400))
                continue
            before, after = self._in_hand.get(path), Event()
            self._in_hand[path] = after
            file = _File(self._number, path, headers, b"", failure, before, after)
            if member.size <= SMALL_FILE:
                yield file._replace(data=self._read(file, member))
            else:
                self._note(file.number, path, self._store_long(file, member), failure)

    def _read(self, file: _File, member: Member) -> bytes:
        try:
            return member.read()
        except BadArchive:
            self._fail(file.number, file.path, status_line(400))
            raise

    def _path(self, member: Member) -> str | None:
        """Below the account, a WSGI string; None for what is in no container."""
        name = str_to_wsgi(member.name)
        name = name.removeprefix("./").lstrip("/")
        if self._base:
            name = f"{self._base}/{name}"
        return name if "/" in name else None

    def _may_be_stored(self, member: Member, path: str) -> bool:
        try:
            wsgi_to_str(path).encode("utf-8")
            # Without an object's name it would be a PUT of the container, which stores nothing.
            is_name = "\0" not in path and path.partition("/")[2] != ""
        except UnicodeError:
            is_name = False
        if not is_name:
            self._fail(self._number, path, status_line(412))
        elif member.size > limits().max_file_size:
            self._fail(self._number, path, status_line(413))
        else:
            return True
        return False

    def _member_headers(self, member: Member) -> dict[str, str] | None:
        """What its attributes say of the object, as environ keys; None for what can't be a header."""
        headers = dict(self._headers)
        for name, value in member.attributes.items():
            if _TYPE.fullmatch(name):
                key = "CONTENT_TYPE"
            elif match := _META.fullmatch(name):
                header = f"X-Object-Meta-{str_to_wsgi(match[1])}"
                if not _HEADER_NAME.fullmatch(header):
                    return None
                key = environ_key(header)
            else:
                continue
            value = str_to_wsgi(value)
            if _CONTROL.search(value):
                return None
            headers[key] = value
        return headers

    # -- containers --------------------------------------------------------------------------------------------------------

    def _container_failure(self, path: str) -> str:
        """Make the container of a path if it is not there; why it can't be had, else "". Raises _Stop."""
        container = path.partition("/")[0]
        if container in self._containers:
            return self._refused.get(container, "")
        where = f"{self._account_path}/{container}"
        status = self._ask("HEAD", where)
        if status == 404:
            self._made += 1
            if self._made > self._options.max_containers:
                text = f"More than {self._options.max_containers} containers to create from tar."
                raise _Stop(400, text)
            status = self._ask("PUT", where)
        if status == 401:
            raise _Stop(401)
        self._containers.add(container)
        if not 200 <= status < 300:
            self._refused[container] = status_line(status)
        return self._refused.get(container, "")

    def _ask(self, method: str, path: str) -> int:
        environ = own_environ(self._environ, method, path, "BulkExpand", "EA")
        return status_and_headers(self._app, environ)[0]

    # -- objects -----------------------------------------------------------------------------------------------------------

    def _put_environ(self, file: _File, length: int) -> dict[str, Any]:
        path = f"{self._account_path}/{file.path}"
        environ = own_environ(self._environ, "PUT", path, "BulkExpand", "EA")
        environ.update(file.headers)
        environ["CONTENT_LENGTH"] = str(length)
        return environ

    def _store(self, file: _File) -> int:
        """The status of the PUT of a file that is in hand."""
        environ = self._put_environ(file, len(file.data))
        environ["wsgi.input"] = io.BytesIO(file.data)
        return self._put(file, environ)

    def _store_long(self, file: _File, member: Member) -> int:
        """The same of one that is still to be read. Raises BadArchive, ClientError."""
        environ = self._put_environ(file, member.size)
        body = environ["wsgi.input"] = BodyInput(iter(member.read_some, b""), member.size)
        status = 499
        try:
            status = self._put(file, environ)
        except ClientError:
            if body.broken is None:
                raise
        if body.broken is not None:
            if isinstance(body.broken, BadArchive):
                self._fail(file.number, file.path, status_line(400))
            raise body.broken
        return status

    def _put(self, file: _File, environ: dict[str, Any]) -> int:
        try:
            if file.before is not None:
                file.before.wait()  # the later one in the archive is to be the later one in the store
            return status_and_headers(self._app, environ)[0]
        finally:
            if self._in_hand.get(file.path) is file.after:
                del self._in_hand[file.path]
            file.after.send()

    def _note(self, number: int, path: str, status: int, container_failure: str) -> None:
        if 200 <= status < 300:
            self.summary.counts[FILES_CREATED] += 1
            return
        container = path.partition("/")[0]
        if container_failure and container not in self._told:
            self._told.add(container)
            where = wsgi_quote(f"{self._account_path}/{container}")
            self.summary.fail(number, wsgi_to_str(where), container_failure)
        if status == 401:
            self._fail(number, path, status_line(401))
            self._stopped = _Stop(401)
            return
        self._fail(number, path, status_line(status))
        if status >= 500:
            self.summary.status = status_line(502)

    def _fail(self, number: int, path: str, status: str) -> None:
        limit = limits()
        longest = limit.max_container_name_length + limit.max_object_name_length + 2
        self.summary.fail(number, wsgi_to_str(wsgi_quote(path[:longest])), status)


def _went_well(status: int) -> bool:
    return status < 500
