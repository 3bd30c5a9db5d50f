"""Rows of listings that nobody else will write: those that an object or container server was to report before it was lost.

These servers report what they store or delete, each to the servers that its request names (`swift.proxy.updates`). One that
dies in the middle reports nothing, and one copy of the listing would be wrong until replication finds out. What never
happens here: deciding whether the write counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from swift.core.concurrency import Timeout, spawn
from swift.proxy.backend import closing_lines
from swift.telemetry.log import Transaction, set_transaction, transaction
from swift.wire.client import POOL, BackendError, header_block

if TYPE_CHECKING:
    from swift.proxy.app import Application

_WANTED = {
    listing: re.compile(
        rb"^X-%s-Partition: (\d+)\r\nX-%s-Host: ([^\r]+)\r\nX-%s-Device: ([^\r]+)\r\n"
        % ((listing.encode(),) * 3),
        re.MULTILINE,
    )
    for listing in ("Container", "Account")
}


class LostRows:
    """Reports one write in the place of lost servers, by sending `op` to the servers of the listing.

    `tail`: quoted path that the row is about; `listing`: Container or Account, of which the rows are; `fields`: headers that
    say what is listed.
    """

    def __init__(
        self,
        app: Application,
        environ: Mapping[str, Any],
        tail: str,
        listing: str,
        op: str,
        fields: Callable[[], dict[str, str]],
    ) -> None:
        self.app = app
        self.environ = environ
        self.tail = tail
        self.listing = listing
        self.op = op
        self.fields = fields

    def report(self, blocks: Iterable[bytes]) -> None:
        """`blocks`: the header blocks of the lost requests. Waits a moment for the answers; a failure is a line in the log."""
        lines = closing_lines(self.environ, self.app.agent, "/v1" + self.tail)
        block = header_block(self.fields().items()) + "".join(lines).encode("latin-1")
        wanted = _WANTED[self.listing]
        sends = []
        for request in blocks:
            match = wanted.search(request)
            if match is None:
                continue
            part, hosts, devices = (text.decode("latin-1") for text in match.groups())
            for host, device in zip(hosts.split(","), devices.split(","), strict=True):
                sends.append(spawn(self._send, host, f"/{device}/{part}{self.tail}", block, transaction()))
        with Timeout(self.app.options.post_quorum_timeout, False):
            for send in sends:
                send.wait()

    def _send(self, host: str, path: str, block: bytes, request: Transaction) -> None:
        set_transaction(*request)
        ip, _, port = host.rpartition(":")
        options = self.app.options
        conn = None
        try:
            conn = POOL.get(ip, int(port), options.conn_timeout)
            response = conn.request(self.op, path, block, b"", options.node_timeout, options.conn_timeout)
            response.drain()
            why = "" if response.status < 300 else str(response.status)
        except BackendError as error:
            if conn is not None:
                conn.close()
            why = str(error)
        if why:
            self.app.logger.warning("Row of %s not reported to %s: %s", self.tail, host, why)


def row_headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """When an object was written, and where it is kept."""
    return {
        "X-Timestamp": environ["HTTP_X_TIMESTAMP"],
        "X-Backend-Storage-Policy-Index": environ["HTTP_X_BACKEND_STORAGE_POLICY_INDEX"],
    }
