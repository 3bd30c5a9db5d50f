"""GET and HEAD of a replicated object: one node gives the answer, others go on with its body where it breaks off.

Finding the node is `swift.proxy.reader`'s business, the way of the body `swift.proxy.relay`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swift.core.config import truthy
from swift.proxy.exchange import Body, Exchange
from swift.proxy.kinds import Found, Kind
from swift.proxy.quorum import Answer
from swift.proxy.reader import Lookup, Reader, Source
from swift.proxy.relay import (
    MultirangeBody,
    RangeBody,
    UnsizedBody,
    multipart_boundary,
)
from swift.proxy.routing import Place
from swift.proxy.services import Services
from swift.wire import conditional
from swift.wire.client import BackendResponse
from swift.wire.ranges import parse_content_range


class ReplicatedReads(Kind):
    """The reads of one replicated policy."""

    def get(self, exchange: Exchange, place: Place, extra: Mapping[str, str | None]) -> Found | list[Answer]:
        """The object on one of its nodes, else the answers that count."""
        environ = exchange.environ
        conditional.drop_overruled(environ)
        options = self.services.options
        newest = "HTTP_X_NEWEST" in environ and truthy(environ["HTTP_X_NEWEST"])
        lookup = Lookup(
            place,
            environ,
            self.services.headers.read,
            options.node_timeout if newest else options.recoverable_node_timeout,
            "",
            extra,
            newest,
            True,
            exchange.use_replication,
        )
        reader = Reader(self.services, lookup)
        source = reader.find()
        if (
            source is not None
            and "HTTP_IF_RANGE" in environ
            and not _may_be_partial(environ, source.response)
        ):
            source.response.close()
            source = reader.find_whole(source.node)
        return reader.answers if source is None else _Replica(self.services, lookup, reader, source)


class _Replica(Found):
    """A copy on one node."""

    __slots__ = ("_lookup", "_reader", "_response", "_services", "_source", "headers", "status", "timestamp")

    def __init__(self, services: Services, lookup: Lookup, reader: Reader, source: Source) -> None:
        self._services = services
        self._lookup = lookup
        self._reader = reader
        self._source = source
        self._response = response = source.response
        self.status = response.status
        self.headers = response.headers
        self.timestamp = response.get("x-timestamp")

    def arrived(self) -> list[bytes] | None:
        return self._response.take_whole()

    def body(self) -> tuple[Body, int]:
        """Continued from another node if it breaks off, except with X-Newest."""
        response, source = self._response, self._source
        length = response.remaining
        lookup = self._lookup
        if length < 0:
            return UnsizedBody(source, lookup.node_timeout, self._broke_off), length
        resume = None if lookup.newest else self._reader.continue_from
        timeout, chunk_size = lookup.node_timeout, self._services.options.object_chunk_size
        first, last = 0, length - 1
        if response.status == 206:
            if multipart_boundary(response.get("content-type") or ""):
                header = lookup.environ.get("HTTP_RANGE", "")
                return MultirangeBody(source, header, timeout, chunk_size, resume, self._broke_off), length
            content_range = parse_content_range(response.get("content-range"))
            if content_range is not None and content_range[1] - content_range[0] + 1 == length:
                first, last = content_range[:2]
            else:
                resume = None
        elif response.status != 200:
            resume = None
        return RangeBody(source, first, last, timeout, chunk_size, resume, self._broke_off), length

    def close(self) -> None:
        self._response.close()

    def _broke_off(self, source: Source, error: BaseException) -> None:
        """A body ended too early: that counts against its node."""
        self._services.health.failed(source.node, error, "read from a object server")


def _may_be_partial(environ: Mapping[str, Any], response: BackendResponse) -> bool:
    """Returns True unless a node answered with a part although If-Range names another entity: older servers ignore that header."""
    if response.status not in (206, 416):
        return True
    etag = response.get("etag")
    for name in environ.get("HTTP_X_BACKEND_ETAG_IS_AT", "").split(","):
        other = response.get(name.strip().lower())
        if other:
            etag = other
            break
    modified = conditional.parse_http_date(response.get("last-modified") or "")
    return conditional.range_applies(environ, conditional.normalize_etag(etag), modified)
