"""PUT of a body that still comes: a MIME document behind `Expect: 100-continue`, its ETag in the footer (spec proxy 11)."""

from __future__ import annotations

from swift.core.concurrency import sleep
from swift.core.constraints import limits, too_large
from swift.core.object_headers import UPDATE_FOOTERS
from swift.proxy.backend import Asking
from swift.proxy.kinds import Upload
from swift.proxy.put_body import ClientBody, check_etag, footers_of_filters, lost_rows
from swift.proxy.quorum import Answer
from swift.proxy.reserved_uplinks import ReservedUplinks, is_conditional
from swift.proxy.services import Services
from swift.proxy.updates import Share
from swift.proxy.uplinks import NO_BOUNDARY, Uplink, Uplinks, body_head, metadata_document
from swift.wire.digest import BodyDigest

_TURN = 1024 * 1024  # bytes after which other requests get a turn


class StreamedPut:
    """One PUT. Whatever ends it early closes the connections before the document's end."""

    def __init__(self, services: Services, upload: Upload) -> None:
        self.services = services
        self.upload = upload
        exchange, place, options = upload.exchange, upload.place, services.options
        common = upload.common + b"X-Backend-Body-Crc32: footer\r\n"
        if upload.length is not None:
            common += b"X-Backend-Obj-Content-Length: %d\r\n" % upload.length
        # With a known length and only our own footers the document's length is known too: then it is one chunk, and an object
        # server can receive the data where it writes it from. (Peers take a Content-Length for that of the object.)
        self.one_chunk: int | None = None
        # With footers of filters, which nobody knows yet, it is the body alone that is one chunk.
        self.body_chunk: int | None = None
        if UPDATE_FOOTERS in exchange.environ:
            self.body_chunk = upload.length or None  # a chunk without bytes would be the document's end
        elif upload.length is not None:
            sample = _own_footers("0" * 32, 0)
            around = len(body_head(NO_BOUNDARY)) + len(metadata_document(NO_BOUNDARY, sample))
            self.one_chunk = upload.length + around
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
            self.uplinks = Uplinks(services, exchange, asking, common, upload.shares, nodes, place.quorum)
        self.body = ClientBody(services, exchange)
        self.digest = BodyDigest()
        self.received = 0
        self.footers: dict[str, str] = {}

    def run(self) -> list[Answer]:
        """Store the object; the answers of the servers, padded with 503. Raises HTTPException when it did not come so far."""
        try:
            early = self.uplinks.connect()
            if early is not None:
                return early
            self._stream()
            refused = self._send_footers()
            if refused is not None:
                return refused
        except BaseException:
            self.uplinks.abandon()
            raise
        finally:
            self.digest.release()
        return self.uplinks.collect(self._report)

    def _stream(self) -> None:
        uplinks = self.uplinks
        for link in uplinks.live():
            self._send(link, body_head(link.boundary), is_first=True)
        digest = self.digest
        longest = limits().max_file_size
        turn = 0
        while True:
            data = self.body.piece(digest.buffer())
            if not len(data):
                break
            self.received += len(data)
            if self.received > longest:
                raise too_large()
            digest.take(data)
            for link in uplinks.live():
                self._send(link, data)
            turn += len(data)
            if turn >= _TURN:
                turn = 0
                sleep(0)
        digest.wait()
        if self.upload.length is not None and self.received != self.upload.length:
            raise self.body.gone()

    def _send(
        self, link: Uplink, data: memoryview | bytes, is_first: bool = False, is_last: bool = False
    ) -> None:
        parts: list[memoryview | bytes] = [data]
        if self.body_chunk is not None:
            if is_first:
                parts = [b"%x\r\n" % len(data), data, b"\r\n%x\r\n" % self.body_chunk]
            elif is_last:
                parts = [b"\r\n%x\r\n" % len(data), data, b"\r\n0\r\n\r\n"]
        else:
            if self.one_chunk is None or is_first:
                parts.insert(0, b"%x\r\n" % (self.one_chunk or len(data)))
            if self.one_chunk is None or is_last:
                parts.append(b"\r\n0\r\n\r\n" if is_last else b"\r\n")
        self.uplinks.send(link, parts)

    def _send_footers(self) -> list[Answer] | None:
        """What the metadata document says: what filters add, and our digests. Raises 422 for another ETag than expected.

        Under a condition, the answers if it comes to nothing; else it is stored by then.
        """
        etag = self.digest.etag()
        added = footers_of_filters(self.upload.exchange.environ)
        check_etag(self.upload.exchange, added, etag)
        self.footers = {**(added or {}), **_own_footers(etag, self.digest.crc)}
        reserved = self.reserved

        def end(link: Uplink) -> None:
            document = metadata_document(link.boundary, self.footers, is_last=reserved is None)
            self._send(link, document, is_last=True)

        if reserved is None:
            for link in self.uplinks.live():
                end(link)
            return None
        refused = reserved.reserve(end)
        if refused is None:
            reserved.commit()
        return refused

    def _report(self, shares: list[Share]) -> None:
        """Tell the listings of the object in the place of servers that were lost."""
        environ, tail = self.upload.exchange.environ, self.upload.place.tail
        size, etag = self.received, self.footers["Etag"]
        lost_rows(self.services, environ, tail, size, etag, self.footers).report(shares)


def _own_footers(etag: str, crc: int) -> dict[str, str]:
    return {"Etag": etag, "X-Backend-Body-Crc32": f"{crc:08x}"}
