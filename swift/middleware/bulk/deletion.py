"""Lists of names that are deleted: objects beside each other, then containers.

The whole list is read before anything goes. Never here: the answer's form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from swift.core import concurrency
from swift.core.constraints import limits
from swift.middleware.bulk.options import Options, own_environ
from swift.middleware.bulk.summaries import Summary
from swift.middleware.parallel import in_parallel
from swift.wire.call import Application, status_and_headers
from swift.wire.message import parsed_path, status_line

DELETED, NOT_FOUND = "Number Deleted", "Number Not Found"
READ_SIZE = 65536
_MOST = 32  # names that are worked on at a time


class BadList(Exception):
    """The list can't be taken: the status and the text of the whole."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status


class _Doomed(NamedTuple):
    """number: where a failure is told, objects before containers; name: as it is told; path: below the account, a WSGI string."""

    number: int
    name: str
    path: str


class Deletion:
    """One request with a list."""

    def __init__(self, app: Application, options: Options, environ: dict[str, Any]) -> None:
        self._app = app
        self._options = options
        self._environ = environ
        version, account, _, _ = parsed_path(environ)
        self._account_path = f"/{version}/{account}"
        self.summary = Summary("delete", status_line(200), (DELETED, NOT_FOUND))

    def run(self) -> Summary:
        """Raises ClientError."""
        summary = self.summary
        if parsed_path(self._environ)[1] is None:
            summary.status = status_line(404)
            return summary
        try:
            self._delete_all()
        except BadList as error:
            summary.status, summary.body = status_line(error.status), str(error)
            return summary
        if summary.failures and summary.status[:3] == "200":
            summary.status = status_line(400)
        elif not summary.failures and not any(summary.counts.values()):
            summary.status, summary.body = status_line(400), "Invalid bulk delete."
        return summary

    # -- the list ----------------------------------------------------------------------------------------------------------

    def _names(self) -> list[bytes]:
        """The lines, blank ones as b"". Raises BadList, ClientError."""
        environ = self._environ
        content_type = environ.get("CONTENT_TYPE")
        if content_type and not content_type.startswith("text/plain"):
            raise BadList(406)
        if not environ.get("CONTENT_LENGTH") and not environ.get("HTTP_TRANSFER_ENCODING"):
            raise BadList(411)
        limit = limits()
        longest = 2 * (limit.max_object_name_length + limit.max_container_name_length + 2)
        body = environ["wsgi.input"]
        pull: Callable[[int], bytes] = getattr(body, "read_available", None) or body.read
        names: list[bytes] = []
        rest = b""
        while True:
            data = pull(READ_SIZE)
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            names += [line.strip() for line in lines]
            if not data and rest:
                names.append(rest.strip())
            if any(len(name) > longest for name in names[-len(lines) - 1 :]) or len(rest) > longest:
                raise BadList(400, "Invalid File Name")
            if len(names) > self._options.max_deletes:
                raise BadList(413, f"Maximum Bulk Deletes: {self._options.max_deletes} per request")
            if not data:
                return names

    def _sorted(self, names: list[bytes]) -> tuple[list[_Doomed], list[_Doomed], list[_Doomed]]:
        """(objects, objects that are named once more, containers)."""
        objects: list[_Doomed] = []
        again: list[_Doomed] = []
        containers: list[_Doomed] = []
        seen = set()
        for number, line in enumerate(names):
            if not line:
                continue
            raw = unquote_to_bytes(line)
            name = quote(raw)
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError:
                self.summary.fail(number, name, status_line(412))
                continue
            path = raw.decode("latin-1").lstrip("/")
            if not path:  # what would be left is the account
                self.summary.fail(number, name, status_line(412))
                continue
            doomed = _Doomed(number, name, path)
            if "/" not in path.strip("/"):
                containers.append(doomed._replace(number=number + len(names)))
            elif path in seen:
                again.append(doomed)
            else:
                seen.add(path)
                objects.append(doomed)
        return objects, again, containers

    # -- the work ----------------------------------------------------------------------------------------------------------

    def _delete_all(self) -> None:
        objects, again, containers = self._sorted(self._names())
        # A name that comes twice waits for the first: else both would be told as deleted.
        for doomed in (objects, again):
            for done, status in in_parallel(
                self._delete,
                self._until_too_many(doomed),
                self._options.delete_concurrency,
                _went_well,
                _MOST,
            ):
                self._note(done, status)
            self._check_failures()
        for one in containers:
            self._note(one, self._delete_container(one))
            self._check_failures()

    def _until_too_many(self, doomed: list[_Doomed]) -> Iterator[_Doomed]:
        for one in doomed:
            if self.summary.failures >= self._options.max_failed_deletes:
                return
            yield one

    def _check_failures(self) -> None:
        if self.summary.failures >= self._options.max_failed_deletes:
            raise BadList(400, "Max delete failures exceeded")

    def _delete(self, doomed: _Doomed) -> int:
        path = f"{self._account_path}/{doomed.path}"
        environ = own_environ(self._environ, "DELETE", path, "BulkDelete", "BD")
        return status_and_headers(self._app, environ)[0]

    def _delete_container(self, doomed: _Doomed) -> int:
        status = self._delete(doomed)
        for retry in range(1, self._options.container_retries + 1):
            if status != 409:
                break
            concurrency.sleep(1.5**retry)
            status = self._delete(doomed)
        return status

    def _note(self, doomed: _Doomed, status: int) -> None:
        summary = self.summary
        if 200 <= status < 300:
            summary.counts[DELETED] += 1
        elif status == 404:
            summary.counts[NOT_FOUND] += 1
        else:
            summary.fail(doomed.number, doomed.name, status_line(status))
            if status >= 500:
                summary.status = status_line(502)


def _went_well(status: int) -> bool:
    return status < 500
