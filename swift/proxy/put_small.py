"""PUT of a body that is held in memory: head and body go out in one write, ETag and checksum known (spec proxy 11).

The servers' answers are all there is to wait for. What filters add once they have seen the body goes as headers.
"""

from __future__ import annotations

from collections.abc import Mapping

from swift.core.checksum import crc32
from swift.core.hashing import md5
from swift.core.object_headers import META, OVERRIDES, SYSMETA, TRANSIENT_SYSMETA
from swift.proxy.backend import Asking
from swift.proxy.backend_headers import as_block
from swift.proxy.fan_out import FanOut
from swift.proxy.kinds import Upload
from swift.proxy.put_body import ClientBody, check_etag, footers_of_filters, lost_rows
from swift.proxy.quorum import Answer
from swift.proxy.services import Services
from swift.wire.message import normalize_etag

SMALL_BODY = 64 * 1024  # bytes; up to there a body is held in memory until it is stored
# What object servers take from footers.
_FOOTERS = (META, SYSMETA, TRANSIENT_SYSMETA, *OVERRIDES)


class SmallPut:
    """One PUT of `length` bytes."""

    def __init__(self, services: Services, upload: Upload, length: int) -> None:
        self.services = services
        self.upload = upload
        self.length = length

    def run(self) -> list[Answer]:
        """Store the object; the answers of the servers, padded with 503. Raises HTTPException when it did not come so far."""
        services, upload = self.services, self.upload
        exchange, place = upload.exchange, upload.place
        environ, options = exchange.environ, services.options
        body = ClientBody(services, exchange).whole(self.length)
        etag = md5(body).hexdigest()
        common = b"%sContent-Length: %d\r\n" % (upload.common, len(body))
        footers = footers_of_filters(environ)
        given = None
        if footers is None:
            given = environ.get("HTTP_ETAG")
        else:
            check_etag(exchange, footers, etag)
            common = with_footers(common, footers)
        if given is None or normalize_etag(given) == etag:
            common += b"Etag: %s\r\nX-Backend-Body-Crc32: %08x\r\n" % (etag.encode(), crc32(body))
        else:
            # Without the checksum the servers hash the body, and find that it is not what the client says.
            common += as_block([f"Etag: {given}\r\n"])
        asking = Asking(
            "PUT",
            place.part,
            place.tail,
            options.conn_timeout,
            options.node_timeout,
            exchange.use_replication,
            body,
        )
        rows = lost_rows(services, environ, place.tail, len(body), etag, footers or {})
        nodes = place.selector.iterate_for_put(place.part, place.primaries)
        return FanOut(services, asking, common, upload.shares, nodes, place.quorum, rows).run()


def with_footers(block: bytes, footers: Mapping[str, str]) -> bytes:
    """The header block with what is kept of the footers in the place of headers of the same names."""
    lines = {
        name: f"{name}: {value}\r\n"
        for name, value in footers.items()
        if name.startswith(_FOOTERS) and value is not None
    }
    # Not by splitlines(), to which bytes of UTF-8 are line breaks.
    given = block.decode("latin-1").split("\r\n")[:-1]
    kept = [f"{line}\r\n" for line in given if line.partition(":")[0] not in lines]
    return as_block([*kept, *lines.values()])
