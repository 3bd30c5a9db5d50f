"""One segment at a time: the request for it, and whether what comes is what the manifest promised (spec middleware 2.10).

In which order segments are wanted, and how many are asked for ahead, is `body`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from swift.core.errors import BadRequest
from swift.core.hashing import md5
from swift.middleware.customer_keys import KEY, OPENED
from swift.wire.call import Application
from swift.wire.errors import ClientDisconnected, ClientTimeout, ResponseBroken
from swift.wire.message import wsgi_to_str
from swift.wire.subanswer import Subanswer, ask
from swift.wire.subrequest import make_environ

# Of the client's headers, beside what every subrequest takes along.
CARRIED = ("HTTP_X_AUTH_TOKEN", "HTTP_X_STORAGE_TOKEN", "HTTP_X_SERVICE_TOKEN", "HTTP_X_OPEN_EXPIRED", KEY)
MANIFEST = "multipart-manifest=get"  # the query with which an object is given as it is
_OPENED = OPENED.lower()
_SHOWN = 60  # bytes of an answer that the log shows


class Span(NamedTuple):
    """The bytes `first`..`last` of an object. `path`: WSGI string, not quoted, with version and account; `size`: of the whole object;
    `etag`: that it must have, None if nobody knows; `is_small`: it counts where small segments are slowed down."""

    path: str
    first: int
    last: int
    size: int
    etag: str | None
    is_small: bool = False

    @property
    def length(self) -> int:
        return self.last - self.first + 1


# What a body is made of, in its order.
Piece = bytes | Span


class SegmentError(ResponseBroken):
    """A segment, or what tells of segments, cannot be had as the manifest says.

    `status`: of an answer that is to blame, None if there is none.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class Segment:
    """The answer with a span's bytes, whose head is what it should be."""

    __slots__ = ("_answer", "_digest", "span")

    def __init__(self, span: Span, answer: Subanswer, is_verified: bool) -> None:
        self.span = span
        self._answer = answer
        whole = span.length == span.size and span.etag is not None
        self._digest: Any = md5() if is_verified and whole else None

    @property
    def send_to(self) -> Any:
        """As a body's, None if its bytes have to be looked at, or cannot send themselves."""
        if self._digest is not None:
            return None
        sender = getattr(self._answer.body, "send_to", None)
        if sender is None:
            return None

        def send_to(stream: Any) -> int:
            answer = self._answer
            try:
                sent: int = sender(stream)
                answer.sent += sent
                if sent != self.span.length:
                    raise self._wrong_length(sent)
            except BaseException as error:
                answer.close(_as_clients(error))
                raise
            answer.close()
            return sent

        return send_to

    def __iter__(self) -> Iterator[bytes]:
        """Exactly the span's bytes. Raises SegmentError, and what reading raises."""
        left = self.span.length
        digest = self._digest
        for data in self._answer:
            if len(data) > left:
                self.close()
                raise self._wrong_length(self.span.length - left + len(data))
            left -= len(data)
            if digest is not None:
                digest.update(data)
            yield data
        if left:
            raise self._wrong_length(self.span.length - left)
        if digest is not None and digest.hexdigest() != self.span.etag:
            raise SegmentError(f"{_shown(self.span)} does not have its ETag")

    def _wrong_length(self, count: int) -> SegmentError:
        return SegmentError(f"{_shown(self.span)} gave {count} bytes instead of {self.span.length}")

    def close(self) -> None:
        self._answer.close()


class SegmentSource:
    """Where segments come from: `app`, asked on behalf of a client's request.

    `code`: of the log, and the agent's name; `manifest`: its path, for error texts; `verify`: compare whole segments with their
    ETags, though the storage servers have checked them.
    """

    def __init__(
        self, app: Application, environ: Mapping[str, Any], code: str, manifest: str, verify: bool = False
    ) -> None:
        self.app = app
        self.manifest = manifest
        self._verify = verify
        self._template = make_environ(
            environ,
            "GET",
            query=MANIFEST,
            agent=f"%(orig)s {code} MultipartGET",
            source=code,
        )
        self._template["swift.non_client_disconnect"] = True
        for key in CARRIED:
            if key in environ:
                self._template[key] = environ[key]

    def environ(self, path: str, query: str = MANIFEST) -> dict[str, Any]:
        """The environ of a GET with the client's rights; `path`: WSGI string."""
        made = dict(self._template)
        made["PATH_INFO"] = path
        made["QUERY_STRING"] = query
        return made

    def ask(self, environ: dict[str, Any]) -> Subanswer:
        """Raises SegmentError where the application cannot be asked at all."""
        try:
            return ask(self.app, environ)
        except (OSError, BadRequest) as error:
            raise SegmentError(f"{self._doing(environ['PATH_INFO'])}: {error}", 503) from error

    def open(self, span: Span) -> Segment:
        """The answer with its bytes, checked as far as its head tells. Raises SegmentError."""
        environ = self.environ(span.path)
        is_part = span.length < span.size
        if is_part:
            until = "" if span.last == span.size - 1 else str(span.last)
            environ["HTTP_RANGE"] = f"bytes={span.first}-{until}"
        answer = self.ask(environ)
        trouble = None
        if not answer.is_success:
            raise self.failure(answer, span.path)
        if span.etag is not None and answer.etag != span.etag:
            trouble = f"Etag {answer.etag} instead of {span.etag}"
        elif answer.status != (206 if is_part else 200):
            trouble = f"status {answer.status}"
        elif answer.content_length not in (None, span.length):
            trouble = f"length {answer.content_length} instead of {span.length}"
        if trouble is not None:
            answer.close()
            raise SegmentError(f"{self._doing(span.path)}: {trouble}")
        # The ETag of what a customer's key has opened is that of what is stored.
        return Segment(span, answer, self._verify and not answer.get(_OPENED))

    def failure(self, answer: Subanswer, path: str) -> SegmentError:
        """What to raise for an answer that is no success; it is closed."""
        status, shown = answer.status, b""
        try:
            shown = answer.read(64 * 1024)[:_SHOWN]
        except ResponseBroken:
            pass
        text = shown.decode("latin-1")
        line = answer.status_line
        return SegmentError(
            f"While processing manifest {self.manifest}, got {line} ({text}) while retrieving {wsgi_to_str(path)}",
            status,
        )

    def _doing(self, path: str) -> str:
        return f"While processing manifest {self.manifest}, {wsgi_to_str(path)}"


def _as_clients(error: BaseException) -> BaseException:
    """What sending raised, under the name by which logs know a client that is gone."""
    if isinstance(error, TimeoutError):
        return ClientTimeout(str(error))
    return ClientDisconnected(str(error)) if isinstance(error, OSError) else error


def _shown(span: Span) -> str:
    return wsgi_to_str(span.path)
