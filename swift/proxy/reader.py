"""GET and HEAD: finding the node whose answer the client gets (spec proxy 10.2, 10.3).

Shared by accounts, containers and replicated objects. The way of a body to the client, and what happens when it breaks off,
is in `swift.proxy.relay`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from swift.core import clock
from swift.proxy.backend import Accounts, node_path, read_answer
from swift.proxy.options import NodeOptions
from swift.proxy.quorum import Answer
from swift.proxy.routing import Node, Timings, address, is_handoff
from swift.wire.client import (
    POOL,
    BackendConnection,
    BackendError,
    BackendResponse,
    StaleConnection,
    wait_any,
)

_ZERO = frozenset(("0", "0.0", "0000000000.00000"))
_TIMESTAMP_HEADERS = ("x-backend-data-timestamp", "x-backend-timestamp", "x-put-timestamp", "x-timestamp")
_SMALL_REST = 64 * 1024
_ALL = 1 << 30  # nodes at the same time: as many as there are


class Source:
    """A node and its good answer, whose body is still to be read."""

    __slots__ = ("node", "response", "timestamp")

    def __init__(self, node: Node, response: BackendResponse, timestamp: str) -> None:
        self.node = node
        self.response = response
        self.timestamp = timestamp


class _Attempt:
    __slots__ = ("conn", "deadline", "node", "path", "started")

    def __init__(
        self, node: Node, conn: BackendConnection, path: str, started: float, deadline: float
    ) -> None:
        self.node = node
        self.conn = conn
        self.path = path
        self.started = started
        self.deadline = deadline


def source_timestamp(response: BackendResponse) -> str:
    """When what was answered was written: the first timestamp header that is there, in text that sorts by time."""
    for name in _TIMESTAMP_HEADERS:
        value = response.get(name)
        if value:
            return value
    return ""


class Reader:
    """One GET or HEAD on the nodes of a partition.

    `tail`: quoted path after the partition; `block`: the header block; `nodes`: the iterator of nodes, used up as needed;
    `primaries`: their number. After `find` returned None, `answers` are the ones that count.
    """

    __slots__ = (
        "accounts", "answers", "block", "candidates", "conn_timeout", "etag", "is_object", "method", "newest", "newest_missing",
        "node_options", "node_timeout", "nodes", "part", "primaries", "spares", "suppressions", "tail", "timings", "use_replication",
    )  # fmt: skip

    def __init__(
        self,
        accounts: Accounts,
        method: str,
        part: int,
        tail: str,
        block: bytes,
        nodes: Iterator[Node],
        primaries: int,
        *,
        node_options: NodeOptions,
        conn_timeout: float,
        node_timeout: float,
        is_object: bool = False,
        newest: bool = False,
        use_replication: bool = False,
        timings: Timings | None = None,
    ) -> None:
        self.accounts = accounts
        self.method = method
        self.part = part
        self.tail = tail
        self.block = block
        self.nodes = nodes
        self.primaries = primaries
        self.node_options = node_options
        self.conn_timeout = conn_timeout
        self.node_timeout = node_timeout
        self.is_object = is_object
        self.newest = newest
        self.use_replication = use_replication
        self.timings = timings
        self.answers: list[Answer] = []
        self.candidates: list[Source] = []
        self.spares: list[Node] = []
        self.newest_missing = ""
        self.etag: str | None = None
        self.suppressions = min(node_options.rebalance_missing_suppression_count, primaries - 1)

    def find(self) -> Source | None:
        """The source to answer from; None when no node has a good answer: then the best of `answers` is the answer."""
        if self.newest:
            self._ask_wave(_ALL)
            return self._newest_candidate()
        if self.node_options.concurrent_gets:
            return self._search(self.primaries)
        # Nearly always the first node answers well, and nothing of what follows is needed.
        attempt = self._start_next()
        if attempt is None:
            return None
        response = self._response(attempt)
        if response is None:
            return self._search(1)
        if self._is_enough(attempt.node, response):
            return self.candidates.pop()
        if response.status != 404:
            return self._search(1)
        # It is not here: mostly it is nowhere, and all others will say the same at the same time.
        if not self._ask_wave(self.primaries - 1):
            self._ask_wave(_ALL)
        return self._newest_candidate()

    def ask_again(self, first: Node | None = None) -> None:
        """Before the next `find`: ask `first`, then the nodes whose answer was good or not waited for, then the others."""
        spares, self.spares = self.spares, []
        self.nodes = chain(() if first is None else (first,), spares, self.nodes)
        self.answers = []

    # -- asking ------------------------------------------------------------------------------------------------------------

    def _doing(self) -> str:
        return f"{self.method} {self.tail}"

    def _start_next(self) -> _Attempt | None:
        """Send the request to the next node that takes it."""
        for node in self.nodes:
            path = node_path(node, self.part, self.tail)
            started = clock.monotonic()
            conn = None
            try:
                conn = POOL.get(*address(node, self.use_replication), self.conn_timeout)
                try:
                    conn.send(self.method, path, self.block, b"", self.node_timeout)
                except StaleConnection:
                    conn.reopen(self.conn_timeout)
                    conn.send(self.method, path, self.block, b"", self.node_timeout)
            except BackendError as error:
                if conn is not None:
                    conn.close()
                self.accounts.failed(node, error, self._doing())
                continue
            return _Attempt(node, conn, path, started, started + self.node_timeout)
        return None

    def _response(self, attempt: _Attempt) -> BackendResponse | None:
        conn = attempt.conn
        try:
            try:
                response = conn.response(max(attempt.deadline - clock.monotonic(), 0.001))
            except StaleConnection:
                conn.reopen(self.conn_timeout)
                conn.send(self.method, attempt.path, self.block, b"", self.node_timeout)
                response = conn.response(self.node_timeout)
        except BackendError as error:
            conn.close()
            self.accounts.failed(attempt.node, error, self._doing())
            return None
        if self.timings is not None:
            self.timings.record(attempt.node["ip"], clock.monotonic() - attempt.started)
        return response

    def _ask_wave(self, size: int) -> bool:
        """Ask the next `size` nodes at the same time; whether one of them is good enough."""
        running: list[_Attempt] = []
        while len(running) < size:
            attempt = self._start_next()
            if attempt is None:
                break
            running.append(attempt)
        while running:
            patience = min(attempt.deadline for attempt in running) - clock.monotonic()
            if self._wait(running, patience):
                self._abandon(running)
                return True
        return False

    def _search(self, slots: int) -> Source | None:
        """Ask nodes until one is good enough: at most `slots` at a time, a further one when one disappoints or is slow."""
        running: list[_Attempt] = []
        more = True
        while True:
            if more and len(running) < slots:
                attempt = self._start_next()
                if attempt is None:
                    more = False
                else:
                    running.append(attempt)
            if not running:
                return self._newest_candidate()
            patience = min(attempt.deadline for attempt in running) - clock.monotonic()
            if more and len(running) < slots:
                patience = min(patience, self.node_options.concurrency_timeout)
            if self._wait(running, patience):
                self._abandon(running)
                return self._newest_candidate()

    def _wait(self, running: list[_Attempt], seconds: float) -> bool:
        """Wait for answers and judge them; whether one of them is good enough."""
        ready = wait_any([attempt.conn for attempt in running], max(seconds, 0))
        if ready and self._take(running, [attempt for attempt in running if attempt.conn in ready]):
            return True
        self._drop_overdue(running)
        return False

    def _take(self, running: list[_Attempt], finished: list[_Attempt]) -> bool:
        """Judge the answers that are there; whether one of them is enough."""
        enough = False
        for attempt in finished:
            running.remove(attempt)
            response = self._response(attempt)
            if response is not None and self._is_enough(attempt.node, response):
                enough = True
        return enough

    def _drop_overdue(self, running: list[_Attempt]) -> None:
        now = clock.monotonic()
        for attempt in [attempt for attempt in running if attempt.deadline <= now]:
            running.remove(attempt)
            attempt.conn.close()
            self.accounts.failed(
                attempt.node, TimeoutError(f"no answer in {self.node_timeout} s"), self._doing()
            )

    def _abandon(self, running: list[_Attempt]) -> None:
        for attempt in running:
            self.spares.append(attempt.node)
            attempt.conn.close()

    # -- judging -----------------------------------------------------------------------------------------------------------

    def _is_enough(self, node: Node, response: BackendResponse) -> bool:
        """Take the answer into account; True when no other node needs to be asked."""
        status = response.status
        if status < 400 and status >= 200 or status == 416 and self.is_object:
            return self._is_good_enough(node, response)
        self.accounts.answered(node, status, self._doing())
        answer = read_answer(response, node)
        when = response.get("x-backend-timestamp") or ""
        known = bool(when) and when not in _ZERO
        if (status == 404 or status >= 500) and is_handoff(node) and not known:
            return False
        if status == 404 and not known and self.suppressions > 0 and not is_handoff(node):
            self.suppressions -= 1
            return False
        if status == 404 and self.is_object and when > self.newest_missing:
            self.newest_missing = when
        self.answers.append(answer)
        return False

    def _is_good_enough(self, node: Node, response: BackendResponse) -> bool:
        put_timestamp = response.get("x-put-timestamp")
        if put_timestamp is not None and put_timestamp in _ZERO or self._is_other_content(response):
            response.drain()
            self.answers.append(Answer(404, "Not Found"))
            return False
        timestamp = source_timestamp(response)
        if timestamp < self.newest_missing:
            response.drain()
            return False
        self.answers.append(Answer(response.status, response.reason, response.headers, b"", node))
        self.candidates.append(Source(node, response, timestamp))
        return not self.newest

    def _is_other_content(self, response: BackendResponse) -> bool:
        if self.etag is None:
            return False
        return (response.get("etag") or "").replace('"', "") != self.etag

    def _newest_candidate(self) -> Source | None:
        """The newest of the candidates that is not older than a deletion; the others are let go."""
        best: Source | None = None
        for source in self.candidates:
            if source.timestamp >= self.newest_missing and (
                best is None or source.timestamp > best.timestamp
            ):
                best = source
        for source in self.candidates:
            if source is not best:
                self.spares.append(source.node)
                _let_go(source.response)
        if best is None and self.candidates:
            self.answers = [
                answer for answer in self.answers if answer.status >= 400 and answer.status != 416
            ]
        self.candidates = []
        return best


def _let_go(response: BackendResponse) -> None:
    """Keep the connection if what is left of the body is here already, else close it."""
    if response.buffered and 0 <= response.remaining <= _SMALL_REST:
        response.drain()
    else:
        response.close()
