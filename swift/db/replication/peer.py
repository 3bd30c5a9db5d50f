"""Calling one peer: the operations of REPLICATE on its replica of one database, and whole files over HTTP (database.md 14.1).

Lives here: the wire. What is said to whom is in `exchange`. Nothing here raises for what a peer does or fails to do: that is in the Answer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from swift.core.names import quote_name
from swift.engine.fault_points import fault_point
from swift.engine.threads import DevicePool
from swift.telemetry.units import transaction_headers
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendError, header_block

from .rpc import CHUNK, FILE_CRC, FILE_ID, FILE_NAME, FILES

MAX_ANSWER = 64 * 1024 * 1024
MAX_TAKERS = 65536

Node = Mapping[str, Any]


class Answer(NamedTuple):
    """What came back. `status`: 0 for nothing, then `body` says why. `parsed`: the JSON of a body, where that is known."""

    status: int
    body: bytes
    parsed: Any = None

    @property
    def is_good(self) -> bool:
        """The peer has done what it was asked."""
        return 200 <= self.status < 300

    def document(self) -> Any:
        """The JSON in the body. Raises ValueError."""
        return json.loads(self.body) if self.parsed is None else self.parsed


class Timeouts(NamedTuple):
    """Seconds: for a connection, and for each wait on it."""

    connect: float
    answer: float


_takers: set[tuple[str, int]] = set()  # servers that take whole files over HTTP, as far as is known


def can_be_asked_about_many(node: Node) -> bool:
    """Returns True if the node's server is known to understand `sync_many`: those that take files do."""
    return (node["replication_ip"], int(node["replication_port"])) in _takers


def ask_about_many(
    node: Node, questions: Sequence[Sequence[Any]], timeouts: Timeouts, agent: str
) -> list[Answer]:
    """`sync` of several databases on one device, of each [partition, hash, arguments of sync …]. [] if it can't be asked so.

    A device or server that is away is waited for once, and not once for each database.
    """
    partition, name_hash = questions[0][:2]
    answer = Peer(node, partition, name_hash, timeouts, agent).call("sync_many", questions)
    if answer.status in (0, 507):  # it is so for each of them
        return [answer] * len(questions)
    if not answer.is_good:
        return []
    try:
        found = answer.document()
    except ValueError:
        return []
    if not isinstance(found, list) or len(found) != len(questions):
        return []
    return [
        Answer(200, b"", item) if isinstance(item, dict) else Answer(_status(item), b"") for item in found
    ]


def _status(item: Any) -> int:
    return item if type(item) is int and 400 <= item < 600 else 500


class Peer:
    """One node's replica of one database; there may be none yet."""

    def __init__(self, node: Node, partition: int, name_hash: str, timeouts: Timeouts, agent: str) -> None:
        self.node = node
        self.ip, self.port = node["replication_ip"], int(node["replication_port"])
        self.path = f"/{quote_name(node['device'])}/{partition}/{name_hash}"
        self.partition = partition
        self.timeouts = timeouts
        self.agent = agent

    def __str__(self) -> str:
        return f"{self.ip}:{self.port}/{self.node['device']}"

    @property
    def takes_files(self) -> bool:
        """Its server is known to take whole databases over HTTP."""
        return (self.ip, self.port) in _takers

    def call(self, operation: str, *arguments: Any, timeout: float | None = None) -> Answer:
        """One operation."""
        return self.send(orjson.dumps([operation, *arguments]), timeout)

    def send(self, body: bytes, timeout: float | None = None) -> Answer:
        """One operation that is JSON already."""
        headers = self._headers(("Content-Type", "application/json"), ("Content-Length", str(len(body))))
        return self._answer(self._request("REPLICATE", self.path, headers, body, timeout))

    def put(self, names: tuple[str, ...], headers: Mapping[str, str]) -> Answer:
        """PUT of the account or container, as a proxy would do it."""
        path = "/".join([quote_name(self.node["device"]), str(self.partition), *map(quote_name, names)])
        block = self._headers(*headers.items(), ("Content-Length", "0"))
        return self._answer(self._request("PUT", f"/{path}", block, b"", None))

    def send_file(
        self, path: str, pool: DevicePool, use: str, name: str, local_id: str, size: int, checksum: int
    ) -> Answer:
        """The database file at `path`, to be used as COMPLETE or JOIN say; `name`: its base name in the hash directory."""
        headers = self._headers(
            ("Content-Type", "application/octet-stream"),
            ("Content-Length", str(size)),
            ("Expect", "100-continue"),
            (FILES, use),
            (FILE_NAME, name),
            (FILE_ID, local_id),
            (FILE_CRC, str(checksum)),
        )
        # merging the peer's rows into it takes its time; a peer that is gone is noticed by its connection
        timeout = max(self.timeouts.answer, size / 1_000_000)
        call = self._request("REPLICATE", self.path, headers, b"", timeout)
        try:
            fd = pool.run(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                call.send_fresh()
                head = call.wait_continue()
                if head.status != 100:
                    head.close()
                    return Answer(head.status, b"")
                assert call.conn is not None
                offset = 0
                while offset < size:
                    data = pool.run(os.pread, fd, min(CHUNK, size - offset), offset)
                    if not data:
                        raise OSError(f"{path} has become shorter")
                    call.conn.send_bytes(data, self.timeouts.answer)
                    offset += len(data)
                    fault_point("db:exchange:piece_sent")
                response = call.response(timeout)
                response.drain()
                return Answer(response.status, b"")
            finally:
                pool.leave(os.close, fd)
        except (BackendError, OSError) as err:
            call.close()
            return Answer(0, str(err).encode())

    def _headers(self, *items: tuple[str, str]) -> bytes:
        return header_block([("User-Agent", self.agent), *transaction_headers(), *items])

    def _request(
        self, method: str, path: str, headers: bytes, body: bytes, timeout: float | None
    ) -> BackendCall:
        return BackendCall(
            self.ip,
            self.port,
            method,
            path,
            headers,
            body,
            conn_timeout=self.timeouts.connect,
            timeout=self.timeouts.answer if timeout is None else timeout,
        )

    def _answer(self, call: BackendCall) -> Answer:
        key = (self.ip, self.port)
        try:
            response = call.answer()
            if response.get(FILES.lower()) is None:
                if call.method == "REPLICATE":
                    _takers.discard(key)
            elif len(_takers) < MAX_TAKERS:
                _takers.add(key)
            body = response.read_all(MAX_ANSWER)
            return Answer(response.status, body)
        except (BackendError, OSError) as err:
            call.close()
            return Answer(0, str(err).encode())
