"""The body of a PUT as it comes from the client, and what is known of it and its object beside the request's headers.

Shared by the roads that a PUT can take; sending is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swift.core.object_headers import UPDATE_FOOTERS, update_overrides
from swift.core.timestamp import http_date, parse
from swift.proxy.exchange import Exchange
from swift.proxy.rows import LostRows, row_headers
from swift.proxy.services import Services
from swift.wire.errors import ClientError, ClientTimeout
from swift.wire.message import (
    HeaderKeyDict,
    HTTPClientDisconnect,
    HTTPException,
    HTTPRequestTimeout,
    HTTPUnprocessableEntity,
    head_headers,
    normalize_etag,
)


class ClientBody:
    """Reads the body of a request. Raises HTTPException for a client that is too slow, or leaves before its end."""

    def __init__(self, services: Services, exchange: Exchange) -> None:
        self._metrics = services.metrics
        self._chunk_size = services.options.client_chunk_size
        self._exchange = exchange
        self._input = exchange.environ["wsgi.input"]
        self._recv_into = getattr(self._input, "recv_into", None)

    def whole(self, length: int) -> bytes:
        """All of it, in memory."""
        body: bytes = self._read(length) if length else b""
        while len(body) < length:
            # Filters may hand out less than they are asked for.
            more = self._read(length - len(body))
            if not more:
                raise self.gone()
            body += more
        return body

    def _read(self, size: int) -> bytes:
        try:
            return self._input.read(size)
        except ClientTimeout:
            raise self._too_slow() from None
        except (ClientError, OSError):
            raise self.gone() from None

    def piece(self, buffer: memoryview) -> memoryview | bytes:
        """The next piece, in the buffer or elsewhere; empty at the end."""
        if self._recv_into is None:
            return self._read(self._chunk_size)
        try:
            return buffer[: self._recv_into(buffer)]
        except ClientTimeout:
            raise self._too_slow() from None
        except (ClientError, OSError):
            raise self.gone() from None

    def _too_slow(self) -> HTTPException:
        self._metrics.increment("object.client_timeouts")
        return HTTPRequestTimeout(request=self._exchange.request)

    def gone(self) -> HTTPException:
        """The answer to a client that left before the end of its body."""
        self._metrics.increment("object.client_disconnects")
        return HTTPClientDisconnect(request=self._exchange.request)


def footers_of_filters(environ: Mapping[str, Any]) -> HeaderKeyDict | None:
    """What filters want to be kept with the object now that they have seen its body; None if none of them asked to."""
    update = environ.get(UPDATE_FOOTERS)
    if update is None:
        return None
    footers = HeaderKeyDict()
    update(footers)
    return footers


def check_etag(exchange: Exchange, footers: HeaderKeyDict | None, etag: str) -> None:
    """Compare the body's ETag with the one that it should have. Raises HTTPUnprocessableEntity.

    Where filters change the body, the client's ETag is not that of what they pass on.
    """
    environ = exchange.environ
    expected = environ.get("HTTP_ETAG") if footers is None else footers.get("Etag")
    if expected is not None and (normalize_etag(expected) or "").lower() != etag:
        when = http_date(parse(environ["HTTP_X_TIMESTAMP"]))
        raise HTTPUnprocessableEntity(request=exchange.request, headers={"Last-Modified": when})


def lost_rows(
    services: Services,
    environ: Mapping[str, Any],
    tail: str,
    size: int,
    etag: str,
    footers: Mapping[str, str],
) -> LostRows:
    """Reports a PUT where the object servers can't: the fields that they would send (spec proxy 15.5)."""

    def fields() -> dict[str, str]:
        own = {"X-Size": str(size), "X-Content-Type": environ["CONTENT_TYPE"], "X-Etag": etag}
        overrides = update_overrides(head_headers(environ), footers.items())
        return {**own, **row_headers(environ), **overrides}

    return LostRows(services, environ, tail, "PUT", fields)
