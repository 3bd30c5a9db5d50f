"""GET and HEAD of an object that is kept in fragments: what is asked, and what the client gets (spec proxy 14.6-14.10).

Ranges and conditions mean the object, which no node has: ranges are translated for the nodes and applied here. Gathering fragments is
`fragment_search`'s business, making segments of them `reassembly`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from swift.coding.fragments import FragmentError
from swift.core import clock
from swift.core.config import truthy
from swift.core.object_headers import EC_ETAG, EC_LENGTH, EC_PREFIX
from swift.core.policy import ErasurePolicy
from swift.core.segment_sums import SEGMENT_SUMS, SegmentSums
from swift.core.segments import Whole
from swift.engine.stream import Stream
from swift.proxy.backend import let_go
from swift.proxy.exchange import Body, Exchange
from swift.proxy.fragment_buckets import Bucket, FragmentSource
from swift.proxy.fragment_ranges import Segments, archive_bounds, archive_range, segments_of
from swift.proxy.fragment_search import FragmentSearch
from swift.proxy.kinds import Found, Kind
from swift.proxy.quorum import Answer
from swift.proxy.reader import Lookup, Reader
from swift.proxy.reassembly import INLINE, SegmentReader
from swift.proxy.relay import BodyBroken
from swift.proxy.routing import Place
from swift.proxy.services import Services
from swift.wire import conditional
from swift.wire.message import default_body
from swift.wire.multipart import byteranges_length, part_head
from swift.wire.ranges import RangeSpec, parse_range, ranges_for_length

_TRIES = 3  # to find an object that is overwritten again and again while its nodes are asked
_ETAG_IS_AT = "HTTP_X_BACKEND_ETAG_IS_AT"
_EC_ETAG, _EC_LENGTH, _EC_SUMS = EC_ETAG.lower(), EC_LENGTH.lower(), SEGMENT_SUMS.lower()
_EC = EC_PREFIX.lower()
# Of an archive, not of the object.
_NOT_THE_OBJECTS = frozenset(("etag", "content-length", "content-range", "x-backend-fragments"))


class ErasureReads(Kind):
    """The reads of one erasure-coded policy."""

    policy: ErasurePolicy

    def __init__(self, services: Services, policy: ErasurePolicy) -> None:
        super().__init__(services, policy)
        self.policy = policy
        self.fragment_size = 0  # known once the library is loaded

    def get(self, exchange: Exchange, place: Place, extra: Mapping[str, str | None]) -> Found | list[Answer]:
        """The object, of enough of its fragments; else the answers that count."""
        environ = exchange.environ
        conditional.drop_overruled(environ)
        is_at = environ.get(_ETAG_IS_AT)
        extra = {**extra, "X-Backend-Etag-Is-At": f"{is_at},{EC_ETAG}" if is_at else EC_ETAG}
        if exchange.method == "HEAD":
            return self._head(exchange, place, extra)
        specs = parse_range(environ["HTTP_RANGE"]) if "HTTP_RANGE" in environ else None
        found = self._find(exchange, place, extra, specs)
        if isinstance(found, _Object) and specs and not _may_be_partial(environ, found.source):
            found.close()
            found = self._find(exchange, place, extra, None)
        return found

    def _head(
        self, exchange: Exchange, place: Place, extra: Mapping[str, str | None]
    ) -> Found | list[Answer]:
        """Any node that knows of an acknowledged fragment tells all there is to tell."""
        services = self.services
        environ = exchange.environ
        newest = "HTTP_X_NEWEST" in environ and truthy(environ["HTTP_X_NEWEST"])
        lookup = Lookup(
            place,
            environ,
            services.headers.read,
            services.options.node_timeout if newest else services.options.recoverable_node_timeout,
            "",
            {**extra, "Range": None, "X-Backend-Fragment-Preferences": None},
            newest,
            True,
            exchange.use_replication,
        )
        reader = Reader(services, lookup)
        source = reader.find()
        if source is None:
            return _of_the_object(reader.answers)
        source.response.drain()
        return _Head(source.response.status, source.response.headers, source.response.get("x-timestamp"))

    def _find(
        self,
        exchange: Exchange,
        place: Place,
        extra: Mapping[str, str | None],
        specs: Sequence[RangeSpec] | None,
    ) -> _Object | _Head | list[Answer]:
        policy = self.policy
        if not self.fragment_size:
            self.fragment_size = policy.codec.fragment_size(policy.segment_size)
        method = "GET"
        asked: str | None = None
        if specs is not None and len(specs) == 1:
            asked = f"bytes={archive_range(specs[0], policy.segment_size, self.fragment_size)}"
        elif specs is not None:
            method = "HEAD"  # where the parts are is known when the length is
        environ = exchange.environ
        newest = "HTTP_X_NEWEST" in environ and truthy(environ["HTTP_X_NEWEST"])
        for _ in range(_TRIES):
            search = FragmentSearch(
                self.services,
                policy,
                place,
                environ,
                method,
                {**extra, "Range": asked},
                newest,
                exchange.use_replication,
            )
            bucket = search.find()
            if bucket is not None or not search.was_overtaken:
                break
        if bucket is None:
            return _of_the_object(search.answers)
        found = _Object(self.services, policy, search, bucket, specs, method == "HEAD")
        if found.ranges == []:
            found.close()
            return [found.unsatisfiable()]
        return found


class _Head(Found):
    """What is known of an object, without its body."""

    __slots__ = ("headers", "status", "timestamp")

    def __init__(self, status: int, headers: Sequence[tuple[str, str]], timestamp: str | None) -> None:
        self.status = status
        self.headers = _object_headers(headers)
        if status == 304:
            self.headers = _with_length(self.headers, 0)
        self.timestamp = timestamp

    def arrived(self) -> list[bytes] | None:
        return []

    def body(self) -> tuple[Body, int]:
        return [], 0

    def close(self) -> None:
        pass


class _Object(Found):
    """An object whose fragments are at hand. `source`: one of them; `ranges`: what is asked of it, None for all of it."""

    __slots__ = ("_bucket", "_is_open", "_reader", "_search", "_services", "_whole", "headers", "ranges", "source", "status", "timestamp")  # fmt: skip

    def __init__(
        self,
        services: Services,
        policy: ErasurePolicy,
        search: FragmentSearch,
        bucket: Bucket,
        specs: Sequence[RangeSpec] | None,
        is_bodiless: bool,
    ) -> None:
        """`is_bodiless`: the sources brought heads only."""
        self._services = services
        self._search = search
        self._bucket = bucket
        self._is_open = not is_bodiless
        self._reader: SegmentReader | None = None
        chosen = sorted(bucket.sources)[: policy.codec.data]
        # the one that has heard of the last POST, if not all have
        self.source = source = max((bucket.sources[index] for index in chosen), key=lambda one: one.age)
        for index in set(bucket.sources) - set(chosen):
            let_go(bucket.sources.pop(index).response)
        if is_bodiless:
            for one in bucket.sources.values():
                one.response.drain()
        response = source.response
        length = int(response.get(_EC_LENGTH) or 0)
        etag = response.get(_EC_ETAG) or ""
        sums = SegmentSums.parse(response.get(_EC_SUMS), etag, -(-length // policy.segment_size))
        self._whole = Whole(policy.codec, policy.segment_size, length, etag, sums)
        self.timestamp = response.get("x-timestamp")
        self.ranges: list[tuple[int, int]] | None = None
        if specs and (is_bodiless or response.status == 206):
            self.ranges = ranges_for_length(list(specs), length)
        self._describe(response.headers)

    def _describe(self, headers: Sequence[tuple[str, str]]) -> None:
        """The status and headers of the answer."""
        whole, ranges = self._whole, self.ranges
        mine = _object_headers(headers)
        if ranges is None:
            self.status = 200
        elif not ranges:
            self.status = 416
        elif len(ranges) == 1:
            self.status = 206
            start, stop = ranges[0]
            mine = _with_length(mine, stop - start)
            mine.append(("Content-Range", f"bytes {start}-{stop - 1}/{whole.length}"))
        else:
            self.status = 206
            boundary = f"{clock.getrandbits(256):064x}"
            content_type = _content_type(headers)
            mine = _with_length(mine, byteranges_length(ranges, whole.length, content_type, boundary))
            mine = [pair for pair in mine if pair[0].lower() != "content-type"]
            mine.append(("Content-Type", f"multipart/byteranges;boundary={boundary}"))
        self.headers = mine

    def unsatisfiable(self) -> Answer:
        """The answer to ranges none of which lies in the object."""
        headers = [pair for pair in self.headers if pair[0] != "Content-Length"]
        headers.append(("Content-Range", f"bytes */{self._whole.length}"))
        return Answer(416, "", headers, default_body(416))

    # -- the body ----------------------------------------------------------------------------------------------------------

    def arrived(self) -> list[bytes] | None:
        whole = self._whole
        if whole.length > whole.segment_size or whole.length > INLINE or not self._is_open:
            return None
        if not whole.length:
            self._drain()
            return []
        return self._at_once() if self.ranges is None or len(self.ranges) == 1 else None

    def _at_once(self) -> list[bytes] | None:
        """The body of an object of one segment whose fragments have all arrived and are good; else nothing is taken."""
        whole = self._whole
        sources = self._bucket.sources
        archives = {}
        for index, source in sources.items():
            archive = source.response.peek()
            if archive is None:
                return None
            archives[index] = archive
        pieces = whole.made_of(archives)
        if pieces is None:
            return None
        if self.ranges is not None:
            pieces = _cut(pieces, *self.ranges[0])
        self._is_open = False
        for source in sources.values():
            source.response.take_whole()
        return [b"".join(pieces)]

    def _drain(self) -> None:
        """Let go of the answers whose bodies nobody has begun to read."""
        if self._is_open:
            self._is_open = False
            for source in self._bucket.sources.values():
                let_go(source.response)

    def body(self) -> tuple[Body, int]:
        whole = self._whole
        if self.ranges is not None and len(self.ranges) > 1:
            return self._parts()
        start, stop = (0, whole.length) if self.ranges is None else self.ranges[0]
        segments = segments_of(start, stop, whole.segment_size)
        body = SegmentsBody(self._open(segments, self._first_sources(segments)), segments)
        body.prime()
        return body, stop - start

    def _first_sources(self, segments: Segments) -> list[FragmentSource]:
        """Those that were found, or, where these were asked for heads only, answers of the same nodes."""
        found = self._bucket.sources
        if self._is_open:
            self._is_open = False
            return list(found.values())
        sources: list[FragmentSource] = []
        for _ in range(self._whole.codec.data):
            source = self._another(segments, {source.index for source in sources}, None)
            if source is None:
                for opened in sources:
                    opened.response.close()
                raise BodyBroken("not enough fragments")
            sources.append(source)
        return sources

    def _another(
        self, segments: Segments, in_use: set[int], failed: FragmentSource | None
    ) -> FragmentSource | None:
        bounds = archive_bounds(segments.first, segments.last, self._whole.fragment_size)
        return self._search.replace(self._bucket, bounds, in_use, failed.node if failed is not None else None)

    def _open(self, segments: Segments, sources: Sequence[FragmentSource]) -> SegmentReader:
        def replace(number: int, in_use: set[int], failed: FragmentSource | None) -> FragmentSource | None:
            return self._another(segments._replace(first=number), in_use, failed)

        self._reader = SegmentReader(
            self._whole,
            sources,
            segments.first,
            segments.last,
            self._search.asking.node_timeout,
            replace,
            self._broke_off,
        )
        return self._reader

    def _broke_off(self, source: FragmentSource, error: BaseException) -> None:
        """A node that breaks off counts as failed; one bad object says nothing of a node."""
        doing, node = "read fragments from an object server", source.node
        if isinstance(error, FragmentError):
            where = f"{node['ip']}:{node['port']}/{node['device']}"
            self._services.logger.error(
                "ERROR with %s trying to %s: %s, fragment %d of %s",
                where,
                doing,
                error,
                source.index,
                self._search.asking.tail,
            )
        else:
            self._services.health.failed(node, error, doing)

    def _parts(self) -> tuple[Body, int]:
        header = dict(self.headers)["Content-Type"]
        length = int(dict(self.headers)["Content-Length"])
        return PartsBody(self._part_bodies(header.partition("=")[2])), length

    def _part_bodies(self, boundary: str) -> Iterator[Iterable[bytes]]:
        """The pieces of the body, the last bytes of each range included."""
        whole = self._whole
        content_type = _content_type(self.source.response.headers)
        for start, stop in self.ranges or ():
            yield [part_head(start, stop, whole.length, content_type, boundary)]
            segments = segments_of(start, stop, whole.segment_size)
            yield SegmentsBody(self._open(segments, self._first_sources(segments)), segments)
            yield [b"\r\n"]
        yield [f"--{boundary}--".encode("latin-1")]

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._drain()


class SegmentsBody:
    """The bytes of an object that were asked for, out of segments."""

    __slots__ = ("_first", "_reader", "_segments", "_source")

    def __init__(self, reader: SegmentReader, segments: Segments) -> None:
        self._reader = reader
        self._segments = segments
        self._source = reader.segments()
        self._first: list[list[memoryview]] = []

    def prime(self) -> None:
        """Get the first segment now, while the answer can still be another one. Raises BodyBroken."""
        self._first = [next(self._source)]

    def pieces(self) -> Iterator[list[memoryview]]:
        """What is wanted of each segment; valid until the next step. Raises BodyBroken."""
        wanted = self._segments
        size = self._reader.whole.segment_size
        at = wanted.first * size
        for pieces in chain(self._first, self._source):
            yield _cut(pieces, max(wanted.start - at, 0), wanted.stop - at)
            at += size

    def __iter__(self) -> Iterator[bytes]:
        try:
            for pieces in self.pieces():
                yield b"".join(pieces)
        finally:
            self.close()

    def send_to(self, stream: Stream) -> int:
        """Send all of it; bytes sent. Raises OSError if the client is gone, BodyBroken."""
        sent = 0
        try:
            for pieces in self.pieces():
                stream.sendmsg_all(pieces)
                sent += sum(map(len, pieces))
        finally:
            self.close()
        return sent

    def close(self) -> None:
        """The client is gone or done."""
        self._reader.close()


class PartsBody:
    """A `multipart/byteranges` body."""

    __slots__ = ("_current", "_parts")

    def __init__(self, parts: Iterator[Iterable[bytes]]) -> None:
        self._parts = parts
        self._current: Any = None

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            self._current = part
            yield from part

    def close(self) -> None:
        """The client is gone or done."""
        if hasattr(self._current, "close"):
            self._current.close()


def _cut(pieces: Sequence[memoryview], start: int, stop: int) -> list[memoryview]:
    """The bytes from `start` up to `stop` of what the pieces make together."""
    cut = []
    at = 0
    for piece in pieces:
        first, end = max(start - at, 0), min(stop - at, len(piece))
        if first < end:
            cut.append(piece if first == 0 and end == len(piece) else piece[first:end])
        at += len(piece)
    return cut


# ---------------------------------------------------------------- headers


def _object_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers of an archive as those of its object."""
    mine = []
    etag = length = None
    for pair in headers:
        lower = pair[0].lower()
        if lower.startswith(_EC):
            if lower == _EC_ETAG:
                etag = pair[1]
            elif lower == _EC_LENGTH:
                length = pair[1]
        elif lower not in _NOT_THE_OBJECTS:
            mine.append(pair)
    if etag is not None:
        mine.append(("Etag", etag))
    if length is not None:
        mine.append(("Content-Length", length))
    return mine


def _with_length(headers: list[tuple[str, str]], length: int) -> list[tuple[str, str]]:
    kept = [pair for pair in headers if pair[0].lower() != "content-length"]
    return [*kept, ("Content-Length", str(length))]


def _content_type(headers: Iterable[tuple[str, str]]) -> str:
    for name, value in headers:
        if name.lower() == "content-type":
            return value
    return "application/octet-stream"


def _of_the_object(answers: Sequence[Answer]) -> list[Answer]:
    """Answers without what they say of archives."""
    fixed = []
    for answer in answers:
        headers = answer.headers
        if answer.status in (304, 412, 416):
            headers = [pair for pair in _object_headers(headers) if pair[0] != "Content-Length"]
            length = answer.get(_EC_LENGTH)
            if answer.status == 416 and length is not None:
                headers.append(("Content-Range", f"bytes */{length}"))
        fixed.append(Answer(answer.status, answer.reason, headers, answer.body, answer.node))
    return fixed


def _may_be_partial(environ: Mapping[str, Any], source: FragmentSource) -> bool:
    """Return True unless If-Range names another entity."""
    if "HTTP_IF_RANGE" not in environ:
        return True
    response = source.response
    etag = response.get(_EC_ETAG)
    for name in environ.get(_ETAG_IS_AT, "").split(","):
        other = response.get(name.strip().lower())
        if other:
            etag = other
            break
    modified = conditional.parse_http_date(response.get("last-modified") or "")
    return conditional.range_applies(environ, conditional.normalize_etag(etag), modified)
