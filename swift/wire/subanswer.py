"""Answers to requests that the pipeline made of itself, with everything that ends with them.

The server loop tells loggers and counters of a client's answer once it has left; who takes an answer inside has that duty, and
`Subanswer` does it. So nothing on the way has to watch the body, which keeps its way past Python. Making the environ is
`swift.wire.subrequest`'s; what an answer means, its taker's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from swift.core import clock
from swift.telemetry.served import DoneCallback, Served
from swift.wire.body import close_if_possible
from swift.wire.call import Application, Headers, call_app
from swift.wire.conditional import normalize_etag
from swift.wire.errors import ResponseBroken

_DONE = "swift.on_response_done"


class Subanswer:
    """What an application answered. To be read to its end or closed; closing again does nothing.

    `headers` as they came; `sent`: bytes of the body that were taken.
    """

    __slots__ = (
        "_callbacks",
        "_environ",
        "_found",
        "_method",
        "_start",
        "body",
        "headers",
        "sent",
        "status",
        "status_line",
    )

    def __init__(
        self, environ: dict[str, Any], status_line: str, headers: Headers, body: Iterable[bytes], start: float
    ) -> None:
        self.status_line = status_line
        self.status = int(status_line[:3])
        self.headers = headers
        self.body = body
        self.sent = 0
        self._environ = environ
        self._start = start
        self._method: str = environ["REQUEST_METHOD"]
        self._callbacks: list[DoneCallback] | None = environ.pop(_DONE, None)
        self._found: dict[str, str] | None = None

    @property
    def method(self) -> str:
        """Of the request that was answered, as it was sent."""
        return self._method

    @property
    def timestamp(self) -> str | None:
        """X-Timestamp that the request had on its way, if nobody made another one of it: of a change, that of what it has made."""
        found: str | None = self._environ.get("HTTP_X_TIMESTAMP")
        return found

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def get(self, lower_name: str) -> str | None:
        """The value of a header, the first one where it occurs more than once."""
        found = self._found
        if found is None:
            found = self._found = {name.lower(): value for name, value in reversed(self.headers)}
        return found.get(lower_name)

    @property
    def etag(self) -> str | None:
        """Without surrounding quotes."""
        return normalize_etag(self.get("etag"))

    @property
    def content_length(self) -> int | None:
        text = self.get("content-length")
        return int(text) if text is not None and text.isascii() and text.isdigit() else None

    def __iter__(self) -> Iterator[bytes]:
        """The body in pieces; closed at its end."""
        try:
            for data in self.body:
                self.sent += len(data)
                yield data
        except Exception as error:
            self.close(error)
            raise
        self.close()

    def read(self, limit: int) -> bytes:
        """All of the body, then closed. Raises ResponseBroken for one of more than `limit` bytes, and what reading it raises."""
        parts = []
        for data in self:
            parts.append(data)
            if self.sent > limit:
                error = ResponseBroken(f"an answer of more than {limit} bytes")
                self.close(error)
                raise error
        return b"".join(parts)

    def drain(self, limit: int = 65536) -> None:
        """Have it end well if that costs little, so that its connection can be used again; closed in any case."""
        try:
            for _ in self:
                if self.sent > limit:
                    break
        except ResponseBroken:
            pass
        finally:
            self.close()

    def given_to(self, environ: dict[str, Any]) -> Iterable[bytes]:
        """The body, as it is, for the answer to the request of `environ`: who wants to know of the end of this one hears of that one's."""
        callbacks = environ.get(_DONE)
        if callbacks is None:
            return self
        callbacks.extend(self._callbacks or ())
        self._callbacks = None
        return self.body

    def close(self, error: BaseException | None = None) -> None:
        """Let go of the body, and tell who wants to know. `error`: what ended it early."""
        callbacks, self._callbacks = self._callbacks, None
        body, self.body = self.body, ()
        try:
            close_if_possible(body)
        finally:
            if callbacks:
                served = Served(
                    self._environ, self.status, self.headers, self.sent, 0, error, self._start, clock.time()
                )
                for callback in callbacks:
                    callback(served)

    def __del__(self) -> None:
        if self._callbacks is not None:
            self.close()


def ask(app: Application, environ: dict[str, Any]) -> Subanswer:
    """Send a request, whose environ nobody uses otherwise, into `app`. Raises what the application raises."""
    environ[_DONE] = []
    start = clock.time()
    status_line, headers, body = call_app(app, environ)
    return Subanswer(environ, status_line, headers, body, start)
