"""Rows of listings that nobody else will write: those that an object or container server was to report before it was lost.

These servers report what they store or delete, each to the servers that its request names (its share, `swift.proxy.updates`). One that
dies in the middle reports nothing, and one copy of the listing would be wrong until replication finds out. What never
happens here: deciding whether the write counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.core.concurrency import Timeout, spawn
from swift.proxy.backend_headers import block_of, closing_lines
from swift.proxy.services import Services
from swift.proxy.updates import Share
from swift.telemetry.log import Transaction, set_transaction, transaction
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendError


class LostRows:
    """Reports one write in the place of lost servers, by sending `op` to the servers of the listing that these were to inform.

    `tail`: quoted path that the row is about; `fields`: headers that say what is listed; `silent`: statuses with which a server has
    changed nothing and reports nothing, although the write counts.
    """

    def __init__(
        self,
        services: Services,
        environ: Mapping[str, Any],
        tail: str,
        op: str,
        fields: Callable[[], dict[str, str]],
        silent: frozenset[int] = frozenset(),
    ) -> None:
        self.silent = silent
        self.services = services
        self.environ = environ
        self.tail = tail
        self.op = op
        self.fields = fields

    def report(self, shares: Iterable[Share]) -> None:
        """`shares`: those of the lost requests. Waits a moment for the answers; a failure is a line in the log."""
        lines = closing_lines(self.environ, self.services.agent, "/v1" + self.tail)
        block = block_of(self.fields(), lines)
        sends = []
        for share in shares:
            tail = self.tail
            if share.listing:
                tail = f"{share.listing}/{tail.split('/', 3)[3]}"
            for host, device in share.addresses:
                path = f"/{device}/{share.part}{tail}"
                sends.append(spawn(self._send, host, path, block, transaction()))
        with Timeout(self.services.options.post_quorum_timeout, False):
            for send in sends:
                send.wait()

    def _send(self, host: str, path: str, block: bytes, request: Transaction) -> None:
        set_transaction(*request)
        ip, _, port = host.rpartition(":")
        options = self.services.options
        call = BackendCall(
            ip,
            int(port),
            self.op,
            path,
            block,
            conn_timeout=options.conn_timeout,
            timeout=options.node_timeout,
        )
        try:
            response = call.answer()
            response.drain()
            why = "" if response.status < 300 else str(response.status)
        except BackendError as error:
            why = str(error)
        if why:
            self.services.logger.warning("Row of %s not reported to %s: %s", self.tail, host, why)


def row_headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """When an object was written, and where it is kept."""
    return {
        "X-Timestamp": environ["HTTP_X_TIMESTAMP"],
        "X-Backend-Storage-Policy-Index": environ["HTTP_X_BACKEND_STORAGE_POLICY_INDEX"],
    }
