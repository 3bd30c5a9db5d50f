"""How much an upload brings, and its end where that is more than there is room for: what both quota filters share.

Never here: what a quota is, and whom it binds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from swift.wire.message import HTTPRequestEntityTooLarge, InputFilter, Request


class Room(NamedTuple):
    """Bytes that may still come, and what a client is told for whom that is not enough."""

    bytes: int
    text: str


class Exceeded(HTTPRequestEntityTooLarge):
    """The answer to an upload that brings more than there is room for, raised to whoever reads it; most let it pass to the filter."""


class _Limited(InputFilter):
    """A body that ends in Exceeded once more has come than there is room for. Nothing of it is stored then."""

    def __init__(self, environ: dict[str, Any], room: Room) -> None:
        super().__init__(environ["wsgi.input"])
        self._environ = environ
        self._left = room.bytes
        self._text = room.text

    def pull(self, size: int) -> bytes:
        data = super().pull(size)
        self._left -= len(data)
        if self._left < 0:
            raise Exceeded(request=Request(self._environ), body=self._text)
        return data


def announced(environ: dict[str, Any]) -> int | None:
    """Bytes of the request's body; None if it does not say. What is no number is the proxy's to refuse."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        return None
    length = environ.get("CONTENT_LENGTH") or "0"
    return int(length) if length.isascii() and length.isdigit() else 0


def watch(environ: dict[str, Any], room: Room) -> None:
    """Have a body whose length is not known end where there is no more room."""
    environ["wsgi.input"] = _Limited(environ, room)


def stored_number(value: Any) -> int | None:
    """A quota as it is kept; None for what is none."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def is_number(value: str) -> bool:
    """Returns True if a client may set this as a quota: digits, or nothing, which takes it away."""
    return not value or (value.isascii() and value.isdigit())
