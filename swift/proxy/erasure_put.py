"""PUT of an erasure-coded object whose body still comes: encoded segment by segment, sent in step, committed (spec proxy 14.3).

Nothing counts before a quorum has stored its fragments: servers keep them aside, and the old object, until they are told. Encoding and
digests are done by another core while this one receives and sends. A segment is received where it is encoded and sent from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from swift.coding.fragments import Parts
from swift.core.concurrency import sleep
from swift.core.constraints import limits
from swift.core.policy import ErasurePolicy
from swift.engine.threads import Call, DeviceBusy, lane
from swift.proxy.backend import Asking
from swift.proxy.fragment_places import fragments_for
from swift.proxy.fragment_sums import Encoder, merged_footers
from swift.proxy.kinds import Upload
from swift.proxy.put_body import ClientBody, check_etag, footers_of_filters, lost_rows
from swift.proxy.quorum import UNAVAILABLE, Answer, pad
from swift.proxy.reserved_uplinks import ReservedUplinks, is_conditional
from swift.proxy.services import Services
from swift.proxy.updates import Share
from swift.proxy.uplinks import (
    COMMIT,
    FOOTERS,
    Uplink,
    Uplinks,
    body_head,
    metadata_document,
)
from swift.wire.message import HTTPRequestEntityTooLarge

INLINE = 64 * 1024  # bytes of a segment that is encoded where it is
AHEAD = 2  # segments that are being encoded while the next one is received


class StreamedFragments:
    """One PUT. Whatever ends it early closes the connections before the document's end."""

    def __init__(
        self, services: Services, policy: ErasurePolicy, upload: Upload, body: bytes | None = None
    ) -> None:
        """`body`: what was read of the client already, all of it."""
        self.services = services
        self.policy = policy
        self.upload = upload
        exchange, place, options = upload.exchange, upload.place, services.options
        common = upload.common + b"X-Backend-Body-Crc32: footer\r\n"
        # If it is known how long an archive gets, it is one chunk, and a server can receive it where it writes it from.
        self.one_chunk: int | None = None
        if upload.length:
            self.one_chunk = policy.codec.archive_size(upload.length, policy.segment_size)
            common += b"X-Backend-Obj-Content-Length: %d\r\n" % self.one_chunk
        asking = Asking(
            "PUT",
            place.part,
            place.tail,
            options.conn_timeout,
            options.node_timeout,
            exchange.use_replication,
        )
        self.reserved: ReservedUplinks | None = None
        if is_conditional(exchange.environ):
            self.reserved = ReservedUplinks(services, exchange, asking, common, upload.shares, place)
            self.uplinks: Uplinks = self.reserved
        else:
            nodes = place.selector.iterate_for_put(place.part, place.primaries)
            self.uplinks = Uplinks(
                services, exchange, asking, common, upload.shares, nodes, place.quorum, (FOOTERS, COMMIT)
            )
        self.body = ClientBody(services, exchange)
        self.in_hand = body
        self.encoder = Encoder(policy)
        self.received = 0
        self._ahead = b""
        self.indexes: dict[Uplink, int] = {}
        self.etag = ""
        self.footers: dict[str, str] = {}
        # of each segment: where it is, its fragments, the digest of the object
        self._encoding: deque[tuple[memoryview, Call, Call]] = deque()
        self._rooms: list[memoryview] = []  # that are free
        self._submits: tuple[Callable[..., Call], Callable[..., Call]] | None = None

    def run(self) -> tuple[list[Answer], str | None]:
        """Store the object: (the answers of the servers, padded with 503; its ETag). Raises HTTPException when it did not come so far."""
        try:
            early = self.uplinks.connect()
            if early is not None:
                return early, None
            self._assign()
            self._stream()
            refused = self._send_footers()
            if refused is not None:
                return refused, None
            # (who writes under a condition has waited)
            refusals = self.uplinks.await_continue() if self.reserved is None else []
            if len(self.uplinks.live()) < self.uplinks.quorum:
                # What was stored is not committed. Clients can do nothing about it, so that they don't hear of it as their fault,
                # unless a quorum agrees that it is: their metadata does not fit on the disks.
                self.uplinks.abandon()
                is_their_fault = sum(a.status == 400 for a in refusals) >= self.uplinks.quorum
                answers = [
                    UNAVAILABLE if a.status // 100 == 4 and not (is_their_fault and a.status == 400) else a
                    for a in refusals
                ]
                return pad(answers, len(self.uplinks.links)), None
            self.uplinks.commit()
        except BaseException:
            self.uplinks.abandon()
            raise
        return self.uplinks.collect(self._report), self.etag

    def _assign(self) -> None:
        """Which fragments go over which connection; one that would bring nothing new is dropped."""
        links = self.uplinks.live()
        nodes = [link.node or {} for link in links]
        found = fragments_for(nodes, self.policy.codec.total, self.policy.duplication)
        for link, index in zip(links, found, strict=True):
            if index is not None:
                self.indexes[link] = index
            elif link.call is not None:
                link.call.close()
                link.call = None

    # -- the body ----------------------------------------------------------------------------------------------------------

    def _stream(self) -> None:
        for link in self.uplinks.live():
            head = _chunk(body_head(link.boundary))
            self.uplinks.send(link, head if self.one_chunk is None else [*head, b"%x\r\n" % self.one_chunk])
        longest = limits().max_file_size
        size = self.policy.segment_size
        if self.upload.length is not None:
            size = min(size, self.upload.length)
        while self.received != self.upload.length:
            room = self._rooms.pop() if self._rooms else self.policy.codec.room(size)
            filled = self._receive(room[:size])
            if self.received > longest:
                raise HTTPRequestEntityTooLarge(request=self.upload.exchange.request)
            if filled:
                self._take(room, filled)
            if filled < size:
                break
        self._send_encoded(0)
        if self.upload.length is not None and self.received != self.upload.length:
            raise self.body.gone()

    def _receive(self, segment: memoryview) -> int:
        """Fill it from the body; fewer bytes are the last ones."""
        if self.in_hand is not None:
            data = self.in_hand[self.received : self.received + len(segment)]
            segment[: len(data)] = data
            self.received += len(data)
            return len(data)
        filled = 0
        while filled < len(segment):
            piece = self._ahead or self.body.piece(segment[filled:])
            if not len(piece):
                break
            if isinstance(piece, bytes):  # a filter hands out what it likes
                self._ahead = piece[len(segment) - filled :]
                piece = piece[: len(segment) - filled]
                segment[filled : filled + len(piece)] = piece
            filled += len(piece)
        self.received += filled
        return filled

    def _take(self, room: memoryview, length: int) -> None:
        """Have the segment in a room encoded, and send what is done."""
        encoder = self.encoder
        if length > INLINE and self._has_lanes():
            assert self._submits is not None
            encode, digest = self._submits
            try:
                encoding = encode(encoder.encode, room, length)
                self._encoding.append((room, encoding, digest(encoder.digest, room[:length])))
            except DeviceBusy:
                raise self.uplinks.unavailable() from None
            self._send_encoded(AHEAD)
            return
        self._send_encoded(0)
        encoder.digest(room[:length])
        self._send_fragments(encoder.encode(room, length))
        self._rooms.append(room)
        sleep(0)

    def _has_lanes(self) -> bool:
        """One for the fragments, one for the digest of the object, so that two cores work at a time; False if there are none to be had."""
        if self._submits is None:
            try:
                self._submits = lane(), lane()
            except OSError:
                return False
        return True

    def _send_encoded(self, left: int) -> None:
        """Send the fragments of all segments but the last `left`, which may take longer."""
        while len(self._encoding) > left:
            room, encoded, digested = self._encoding.popleft()
            digested.wait()
            self._send_fragments(encoded.wait())
            self._rooms.append(room)

    def _send_fragments(self, fragments: list[Parts]) -> None:
        for link in self.uplinks.live():
            parts = fragments[self.indexes[link]]
            self.uplinks.send(link, _chunk(*parts) if self.one_chunk is None else list(parts))

    # -- the end -----------------------------------------------------------------------------------------------------------

    def _send_footers(self) -> list[Answer] | None:
        """Raises 422 for another ETag than expected. Under a condition, the answers if it comes to nothing."""
        self.etag = etag = self.encoder.etag()
        added = footers_of_filters(self.upload.exchange.environ)
        check_etag(self.upload.exchange, added, etag)
        describing = self.encoder.describing(etag)
        self.footers = merged_footers(describing, added, {})

        def end(link: Uplink) -> None:
            footers = merged_footers(describing, added, self.encoder.own(self.indexes[link]))
            document = metadata_document(link.boundary, footers, is_last=False)
            before = [] if self.one_chunk is None else [b"\r\n"]
            self.uplinks.send(link, [*before, *_chunk(document), b"0\r\n\r\n"])

        if self.reserved is not None:
            return self.reserved.reserve(end)
        for link in self.uplinks.live():
            end(link)
        return None

    def _report(self, shares: list[Share]) -> None:
        """Tell the listings of the object in the place of servers that were lost."""
        environ, tail = self.upload.exchange.environ, self.upload.place.tail
        lost_rows(self.services, environ, tail, self.encoder.length, self.etag, self.footers).report(shares)


def _chunk(*parts: bytes | memoryview) -> list[Any]:
    return [b"%x\r\n" % sum(map(len, parts)), *parts, b"\r\n"]
