"""Asking other nodes what they have of partitions, and telling them what was put there (object-disk 16).

Many partitions are compared in one request where the peer is ours: it is asked about the first one, and a header, which the reference
ignores, names all with the digests that we have. Never here: what follows from an answer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from swift.core import clock
from swift.core.errors import SwiftError
from swift.core.unpickle import UnpickleError, loads
from swift.obj.directories import is_suffix
from swift.obj.server_inventory import ENTRY, INVENTORY
from swift.obj.server_replicate import COMPARE, EQUAL, FRAGMENTS
from swift.telemetry.units import transaction_headers
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendError, ConnectError, header_block

Node = Mapping[str, Any]

MAX_BODY = 64 << 20
REST_SECONDS = 5.0  # a node that could not be reached is not asked again sooner …
MISSES = 3  # … once it has refused a connection, or let so many time out, one after the other
TRY_AGAIN_SECONDS = 3600.0  # a node that does not compare may have been replaced by one that does
SUFFIXES_AT_ONCE = 1000  # in one path, whose length is limited


class PeerError(SwiftError):
    """A node did not answer as it should. `status`: of its answer, or None."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


def name_of(node: Node) -> str:
    """How logs name a device."""
    return f"{node['replication_ip']}:{node['replication_port']}/{node['device']}"


class Peers:
    """All other nodes. Times in seconds: `http_timeout` for answers that take work. `agent`: who asks."""

    def __init__(
        self,
        conn_timeout: float,
        node_timeout: float,
        http_timeout: float,
        agent: str = "object-replicator",
    ) -> None:
        self.agent = agent
        self.conn_timeout = conn_timeout
        self.node_timeout = node_timeout
        self.http_timeout = http_timeout
        self._away: dict[tuple[str, int], tuple[float, str]] = {}  # until when, and why
        self._misses: dict[tuple[str, int], int] = {}
        self._plain: dict[tuple[str, int], float] = {}

    def hashes(self, node: Node, policy_index: int, partition: str) -> dict[str, Any]:
        """The suffix hashes of a partition there. Raises PeerError."""
        _, body = self._ask(node, policy_index, partition)
        try:
            found = loads(body)
        except UnpickleError as error:
            raise PeerError(f"{name_of(node)}: {error}") from None
        if not isinstance(found, dict):
            raise PeerError(f"{name_of(node)}: the suffix hashes are no dict")
        return found

    def equal(
        self,
        node: Node,
        policy_index: int,
        digests: Mapping[str, str],
        fragments: Mapping[str, int] | None = None,
    ) -> set[str]:
        """Those of the partitions that are the same there; none that it cannot tell of. Raises PeerError.

        `fragments`: of each partition, the index of the fragments there that the digest is to be of; else it is of all that is there.
        """
        key = _address(node)
        if self._plain.get(key, 0) > clock.monotonic():
            return set()
        header = ",".join(f"{partition}={digest}" for partition, digest in digests.items())
        extra = [(COMPARE, header)]
        if fragments:
            extra.append((FRAGMENTS, ",".join(str(fragments[partition]) for partition in digests)))
        headers, _ = self._ask(node, policy_index, next(iter(digests)), extra=extra)
        said = headers.get(EQUAL.lower())
        if said is None:
            self._plain[key] = clock.monotonic() + TRY_AGAIN_SECONDS
            return set()
        return digests.keys() & set(said.split(","))

    def announce(self, node: Node, policy_index: int, partition: str, suffixes: Iterable[str]) -> None:
        """Tell it that these suffixes were changed behind its server's back. Raises PeerError."""
        left = sorted(filter(is_suffix, suffixes))
        while left:
            some, left = left[:SUFFIXES_AT_ONCE], left[SUFFIXES_AT_ONCE:]
            self._ask(node, policy_index, f"{partition}/{'-'.join(some)}")

    def inventory(self, node: Node, policy_index: int, what: str, word: str, entry: str = "") -> Any:
        """The document that answers a question of `server_inventory`; None from a server that knows no such questions. Raises PeerError."""
        extra = [(INVENTORY, word), *([(ENTRY, entry)] if entry else [])]
        headers, body = self._ask(node, policy_index, what, extra)
        if headers.get(INVENTORY.lower()) != word:
            return None
        try:
            return json.loads(body)
        except ValueError as error:
            raise PeerError(f"{name_of(node)}: {error}") from None

    def _ask(
        self, node: Node, policy_index: int, what: str, extra: Iterable[tuple[str, str]] = ()
    ) -> tuple[dict[str, str], bytes]:
        """(headers by lower-case name, body) of a REPLICATE that was answered 200."""
        key = _address(node)
        until, why = self._away.get(key, (0.0, ""))
        if until > clock.monotonic():
            raise PeerError(why)
        headers = [
            ("Content-Length", "0"),
            ("X-Backend-Storage-Policy-Index", str(policy_index)),
            ("User-Agent", f"{self.agent} {os.getpid()}"),
            *transaction_headers(),
            *extra,
        ]
        call = BackendCall(
            *key,
            "REPLICATE",
            f"/{quote(node['device'], '')}/{what}",
            header_block(headers),
            conn_timeout=self.conn_timeout,
            timeout=self.http_timeout,
        )
        try:
            response = call.answer()
            self._misses.pop(key, None)
            if response.status != 200:
                response.drain()
                raise PeerError(f"{name_of(node)} answered {response.status}", response.status)
            response.set_timeout(self.http_timeout)
            return {name.lower(): value for name, value in response.headers}, response.read_all(MAX_BODY)
        except BackendError as error:
            if isinstance(error, ConnectError):
                self._missed(key, isinstance(error.__cause__, ConnectionRefusedError), str(error))
            raise PeerError(str(error)) from None

    def _missed(self, key: tuple[str, int], refused: bool, why: str) -> None:
        misses = self._misses[key] = self._misses.get(key, 0) + 1
        if refused or misses >= MISSES:
            self._away[key] = clock.monotonic() + REST_SECONDS, why


def _address(node: Node) -> tuple[str, int]:
    return node["replication_ip"], int(node["replication_port"])
