"""One request to one node, and its answer: paths, calls, and answers whose bodies must not hold up anybody.

Which nodes are asked, and what is made of their answers, is decided by the callers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from swift.core import clock
from swift.core.concurrency import spawn
from swift.core.remembered import Remembered
from swift.proxy.quorum import Answer
from swift.proxy.routing import Node
from swift.telemetry.log import Transaction, set_transaction, transaction
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendError, BackendResponse
from swift.wire.message import wsgi_quote

MAX_ERROR_BODY = 64 * 1024  # bytes

T = TypeVar("T")

_quoted_devices: Remembered[str, str] = Remembered(65536)


class Asking:
    """What one request says, whichever node it goes to. Times are seconds.

    `tail`: quoted path after the partition, with the query; `use_replication`: by the nodes' other address.
    """

    __slots__ = ("body", "conn_timeout", "method", "node_timeout", "part", "tail", "use_replication")

    def __init__(
        self,
        method: str,
        part: int,
        tail: str,
        conn_timeout: float,
        node_timeout: float,
        use_replication: bool = False,
        body: bytes = b"",
    ) -> None:
        self.method = method
        self.part = part
        self.tail = tail
        self.conn_timeout = conn_timeout
        self.node_timeout = node_timeout
        self.use_replication = use_replication
        self.body = body

    @property
    def doing(self) -> str:
        """For the log."""
        return f"{self.method} {self.tail}"

    def call(self, node: Node, headers: bytes) -> BackendCall:
        """The call that asks this node; `headers`: the whole block."""
        device = node["device"]
        quoted = _quoted_devices.get(device)
        if quoted is None:
            quoted = _quoted_devices.keep(device, wsgi_quote(device, ""))
        if self.use_replication:
            ip, port = node["replication_ip"], node["replication_port"]
        else:
            ip, port = node["ip"], node["port"]
        return BackendCall(
            ip,
            port,
            self.method,
            f"/{quoted}/{self.part}{self.tail}",
            headers,
            self.body,
            conn_timeout=self.conn_timeout,
            timeout=self.node_timeout,
        )

    def overdue(self) -> TimeoutError:
        """What became of a node that said nothing in time."""
        return TimeoutError(f"no answer in {self.node_timeout} s")


def read_answer(response: BackendResponse, node: Node | None, seconds: float) -> Answer:
    """The answer with its body, which is given up (and the connection dropped) after so many seconds or too many bytes."""
    if not response.buffered:
        response.conn.stream.set_deadline(seconds)
    try:
        body = response.read_all(MAX_ERROR_BODY)
    except BackendError:
        body = b""
    return Answer(response.status, response.reason, response.headers, body, node)


class Answers:
    """Answers as they come. One counts from its head on; bodies that have not come with their heads are read at the end."""

    __slots__ = ("_unread", "answers", "statuses")

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.statuses: list[int] = []
        self._unread: list[tuple[Answer, BackendResponse]] = []

    def made_of(self, response: BackendResponse, node: Node) -> Answer:
        """The answer, not added yet."""
        answer = Answer(response.status, response.reason, response.headers, b"", node)
        whole = response.take_whole() if response.remaining <= MAX_ERROR_BODY else None
        if whole is None:
            self._unread.append((answer, response))
        elif whole:
            answer.body = whole[0]
        return answer

    def add(self, answer: Answer) -> None:
        """It counts."""
        self.answers.append(answer)
        self.statuses.append(answer.status)

    def finish(self, seconds: float) -> None:
        """Read the bodies that are missing, all of them together in so many seconds; one that takes longer stays empty."""
        if not self._unread:
            return
        end = clock.monotonic() + seconds
        for answer, response in self._unread:
            answer.body = read_answer(response, answer.node, max(end - clock.monotonic(), 0.001)).body
        self._unread = []


def let_go(response: BackendResponse) -> None:
    """Keep the connection if what is left of the body is here already, else close it; nothing is waited for."""
    if response.buffered and 0 <= response.remaining <= MAX_ERROR_BODY:
        response.drain()
    else:
        response.close()


def beside_each_other(function: Callable[[T], object], items: Sequence[T]) -> None:
    """Call function(item) for each, several at the same time, as parts of this request; returns when all have returned."""
    if len(items) < 2:
        for item in items:
            function(item)
        return
    request = transaction()
    for thread in [spawn(_part_of, request, function, item) for item in items]:
        thread.wait()


def _part_of(request: Transaction, function: Callable[[T], object], item: T) -> None:
    set_transaction(*request)
    function(item)
