"""Listings and figures of accounts and containers, as their servers give them: fetched here, answered by the controllers.

A fetched listing knows nothing of caches, permissions and clients; so it can be one of many of which another is put together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swift.core.config import truthy
from swift.proxy.backend_headers import LISTING
from swift.proxy.exchange import Body, Headers, split_headers
from swift.proxy.quorum import Answer
from swift.proxy.reader import Lookup, Reader, Source
from swift.proxy.relay import RangeBody, UnsizedBody
from swift.proxy.routing import Place
from swift.proxy.services import Services
from swift.wire.client import BackendError


class Listing:
    """A listing whose body is still to come. `headers`, `metadata`: of the answer, user metadata apart."""

    __slots__ = ("_services", "_source", "content_length", "content_type", "headers", "metadata", "status")

    def __init__(self, services: Services, source: Source) -> None:
        self._services = services
        self._source = source
        self.status = source.response.status
        headers, metadata, content_type, content_length = split_headers(source.response.headers)
        headers.append(("Accept-Ranges", "bytes"))
        self.headers: Headers = headers
        self.metadata: Headers = metadata
        self.content_type = content_type or "text/html; charset=UTF-8"
        self.content_length = content_length

    def get(self, lower_name: str, default: str | None = None) -> str | None:
        """A header of the answer."""
        return self._source.response.get(lower_name, default)

    def arrived(self) -> list[bytes] | None:
        """The whole body if it is here already, then nothing is left to close; else None."""
        return self._source.response.take_whole()

    def body(self) -> tuple[Body, int]:
        """The body as it comes, never continued elsewhere, and its length in bytes, -1 if nobody knows it."""
        response = self._source.response
        length = response.remaining
        options = self._services.options
        if length < 0:
            return UnsizedBody(self._source, options.node_timeout, self._broke_off), length
        timeout, chunk_size = options.node_timeout, options.object_chunk_size
        return RangeBody(self._source, 0, length - 1, timeout, chunk_size, None, self._broke_off), length

    def whole(self, limit: int) -> bytes:
        """The body in memory. Raises BackendError if it breaks off, takes too long, or is longer than `limit` bytes."""
        response = self._source.response
        response.set_timeout(self._services.options.node_timeout)
        try:
            return response.read_all(limit)
        except BackendError as error:
            self._broke_off(self._source, error)
            raise

    def close(self) -> None:
        """No body is wanted."""
        self._source.response.close()

    def _broke_off(self, source: Source, error: BaseException) -> None:
        self._services.health.failed(source.node, error, "read a listing")


class Fetch:
    """A request for a listing (GET) or figures (HEAD, as `environ` says). `extra`: headers for the servers."""

    __slots__ = ("_lookup", "_reader", "_services", "place")

    def __init__(
        self,
        services: Services,
        environ: Mapping[str, Any],
        place: Place,
        query: str,
        extra: Mapping[str, str | None] | None = None,
    ) -> None:
        self._services = services
        self._lookup = Lookup(
            place,
            environ,
            LISTING,
            services.options.node_timeout,
            query,
            extra,
            newest=truthy(environ.get("HTTP_X_NEWEST")),
            use_replication=truthy(environ.get("HTTP_X_BACKEND_USE_REPLICATION_NETWORK")),
        )
        self._reader: Reader | None = None
        self.place = place

    def send(self) -> bool:
        """Send it, so that it is on its way before `result` waits; returns False if that would have to wait, too."""
        self._reader = Reader(self._services, self._lookup)
        return self._reader.begin()

    def drop(self) -> None:
        """Nobody wants the answer of what was sent."""
        if self._reader is not None:
            self._reader.abandon()

    def result(self) -> Listing | list[Answer]:
        """The listing or figures, else the answers that count. Asked once more, it is sent once more."""
        reader = self._reader or Reader(self._services, self._lookup)
        self._reader = None
        source = reader.find()
        if source is None:
            return reader.answers
        try:
            return Listing(self._services, source)
        except BaseException:
            source.response.close()
            raise


def fetch(
    services: Services,
    environ: Mapping[str, Any],
    place: Place,
    query: str,
    extra: Mapping[str, str | None] | None = None,
) -> Listing | list[Answer]:
    """The result of a Fetch."""
    return Fetch(services, environ, place, query, extra).result()
