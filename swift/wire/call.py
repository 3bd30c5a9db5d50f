"""Calling a WSGI application from inside: one that has begun to answer, whenever it chooses to call start_response.

Never here: making the environ (`swift.wire.subrequest`), and what an answer means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from swift.wire.body import BodyFilter, close_if_possible

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
Headers = list[tuple[str, str]]


def call_app(app: Application, environ: dict[str, Any]) -> tuple[str, Headers, Iterable[bytes]]:
    """(status line, headers, body) of what the application answers. The body must be read to its end or closed."""
    return call_application(app, environ)[:3]


def status_and_headers(app: Application, environ: dict[str, Any]) -> tuple[int, Headers]:
    """(status, headers) of an answer whose body is of no interest."""
    status, headers, body = call_app(app, environ)
    try:
        for _ in body:
            pass
    finally:
        close_if_possible(body)
    return int(status[:3]), headers


def call_application(app: Application, environ: dict[str, Any]) -> tuple[str, Headers, Iterable[bytes], Any]:
    """As call_app, with the exc_info that start_response was given at the end."""
    captured: list[Any] = []
    written: list[bytes] = []

    def start_response(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        captured[:] = [status, headers, exc_info]
        return written.append

    body = app(environ, start_response)
    if not captured or written:
        body = _begun(body, captured, written)
    if not captured:
        close_if_possible(body)
        raise AssertionError("the application never called start_response")
    return captured[0], captured[1], body, captured[2]


def first_chunk_taken(body: Iterable[bytes]) -> Iterable[bytes]:
    """The same body after its application was made to begin. For bodies whose start_response has not been called yet."""
    return _begun(body, [], [], 1)


def _begun(
    body: Iterable[bytes], captured: list[Any], written: list[bytes], at_most: int | None = None
) -> Iterable[bytes]:
    """Take chunks until start_response was called: WSGI allows that to be late."""
    chunks = iter(body)
    taken: list[bytes] = []
    try:
        while not captured and len(taken) != at_most:
            taken.append(next(chunks))
    except StopIteration:
        pass
    except BaseException:
        close_if_possible(body)
        raise
    return _Begun([*written, *taken], chunks, body)


class _Begun(BodyFilter):
    """A body of which the first pieces were already taken."""

    def __init__(self, first: list[bytes], rest: Iterator[bytes], below: Any) -> None:
        super().__init__(below)
        self._first = first
        self._rest = rest

    def pieces(self, below: Iterable[bytes]) -> Iterator[bytes]:
        yield from self._first
        yield from self._rest
