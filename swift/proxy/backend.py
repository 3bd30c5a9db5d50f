"""Requests to storage servers: their header blocks, and sending one to several nodes at once (spec proxy 1.3, 5, 7.1).

A header block is made once per client request as bytes; what differs between nodes is a few lines behind it. What is done
with the answers is decided by the callers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from swift.core import clock
from swift.core.concurrency import GreenletExit, Timeout, spawn, spawn_n
from swift.core.policy import quorum_size
from swift.proxy.quorum import Answer, have_quorum, is_success, pad
from swift.proxy.routing import Node, address, is_handoff
from swift.telemetry.log import Transaction, set_transaction, transaction
from swift.wire.client import (
    POOL,
    BackendConnection,
    BackendError,
    BackendResponse,
    StaleConnection,
    wait_any,
)
from swift.wire.message import header_name, host_url, wsgi_quote

if TYPE_CHECKING:
    from swift.proxy.rows import LostRows

MAX_ERROR_BODY = 64 * 1024
_MAX_NAMES = 4096

# Request headers that are ours to say, belong to the client's connection, or are secrets of no use to a storage server.
_NOT_COPIED = frozenset(
    (
        "HTTP_AUTHORIZATION", "HTTP_CONNECTION", "HTTP_COOKIE", "HTTP_EXPECT", "HTTP_HOST", "HTTP_KEEP_ALIVE", "HTTP_PROXY_AUTHORIZATION",
        "HTTP_PROXY_CONNECTION", "HTTP_REFERER", "HTTP_TE", "HTTP_TRAILER", "HTTP_TRANSFER_ENCODING", "HTTP_UPGRADE",
        "HTTP_USER_AGENT", "HTTP_X_AUTH_KEY", "HTTP_X_AUTH_TOKEN", "HTTP_X_SERVICE_TOKEN", "HTTP_X_STORAGE_PASS",
        "HTTP_X_STORAGE_TOKEN", "HTTP_X_TRANS_ID", "CONTENT_LENGTH",
        # Where updates go, what a body's checksum is and how old a content type, a client must not say.
        "HTTP_CONTENT_TYPE_TIMESTAMP",
        "HTTP_X_CONTAINER_PARTITION", "HTTP_X_CONTAINER_HOST", "HTTP_X_CONTAINER_DEVICE", "HTTP_X_CONTAINER_ROOT_DB_STATE",
        "HTTP_X_DELETE_AT_CONTAINER", "HTTP_X_DELETE_AT_PARTITION", "HTTP_X_DELETE_AT_HOST", "HTTP_X_DELETE_AT_DEVICE",
        "HTTP_X_BACKEND_BODY_CRC32", "HTTP_X_BACKEND_QUOTED_CONTAINER_PATH", "HTTP_X_BACKEND_CONTAINER_PATH",
    )
)  # fmt: skip
_copied: dict[str, str] = {}


def _copied_as(key: str) -> str:
    """`X-Foo: ` for an environ key whose value is copied, '' for any other."""
    name = header_name(key)
    text = "" if name is None or key in _NOT_COPIED else f"{name}: "
    if len(_copied) < _MAX_NAMES:
        _copied[key] = text
    return text


def _as_block(lines: list[str]) -> bytes:
    text = "".join(lines)
    if not text.count("\r") == text.count("\n") == len(lines) or "\0" in text:
        raise ValueError("line break or NUL in a header")
    return text.encode("latin-1")


def closing_lines(environ: Mapping[str, Any], agent: str, path: str) -> list[str]:
    """The lines that nobody overrides; `path` is the client's, quoted."""
    query = environ.get("QUERY_STRING")
    target = f"{path}?{query}" if query else path
    return [
        f"X-Trans-Id: {environ.get('swift.trans_id') or '-'}\r\n",
        f"User-Agent: {agent}\r\n",
        f"Referer: {environ['REQUEST_METHOD']} {host_url(environ)}{target}\r\n",
    ]


def copied_block(environ: Mapping[str, Any], agent: str, path: str) -> bytes:
    """The client's headers as a storage server sees them: of all object verbs, and of account and container reads.

    Raises ValueError for a value that would break the framing.
    """
    lines = []
    for key, value in environ.items():
        text = _copied.get(key)
        if text is None:
            text = _copied_as(key)
        if text and (value or key != "CONTENT_TYPE"):
            lines.append(f"{text}{value}\r\n")
    if "HTTP_X_AUTH_TOKEN" in environ or "HTTP_X_STORAGE_TOKEN" in environ:
        # An object server drops its page cache after reads that carry a token; which one is none of its business.
        lines.append("X-Auth-Token: -\r\n")
    lines += closing_lines(environ, agent, path)
    return _as_block(lines)


_TRANSFERRED = {
    "account": (),
    "container": (
        "x-container-read", "x-container-write", "x-container-sync-key", "x-container-sync-to", "x-versions-location",
    ),
}  # fmt: skip
_REMOVABLE = {
    "account": (),
    "container": (
        "x-remove-container-read", "x-remove-container-write", "x-remove-container-sync-key", "x-remove-container-sync-to",
        "x-remove-versions-location",
    ),
}  # fmt: skip


def transferred_headers(environ: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Headers of an account or container write: control headers, metadata, and what is to be removed as empty (spec 1.3)."""
    made: dict[str, str] = {}
    given: dict[str, str] = {}
    remove_meta = f"x-remove-{kind}-meta-"
    prefixes = (f"x-{kind}-meta-", f"x-{kind}-sysmeta-")
    for key, value in environ.items():
        name = header_name(key)
        if name is None:
            continue
        lower = name.lower()
        if lower.startswith("x-backend-") or lower == "x-timestamp":
            made[name] = value
        elif lower.startswith(remove_meta) and len(lower) > len(remove_meta) or lower in _REMOVABLE[kind]:
            made["X-" + name[len("x-remove-") :]] = ""
        elif lower.startswith(prefixes) or lower in _TRANSFERRED[kind]:
            given[name] = value
    made.update(given)
    return made


def block_of(headers: Mapping[str, str], closing: Sequence[str]) -> bytes:
    """A header block of `headers` and the closing lines. Raises ValueError for a value that would break the framing."""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    lines += closing
    return _as_block(lines)


_quoted_devices: dict[str, str] = {}


def node_path(node: Node, part: int, tail: str) -> str:
    """`/<device>/<partition>/<a>[/<c>[/<o>]]`; `tail` is quoted and begins with a slash."""
    device = node["device"]
    quoted = _quoted_devices.get(device)
    if quoted is None:
        quoted = _quoted_devices[device] = wsgi_quote(device, "")
    return f"/{quoted}/{part}{tail}"


def read_answer(response: BackendResponse, node: Node | None) -> Answer:
    """The answer with its body, which is cut off (and the connection dropped) where it is longer than an error's."""
    try:
        body = response.read_all(MAX_ERROR_BODY)
    except BackendError:
        response.close()
        body = b""
    return Answer(response.status, response.reason, response.headers, body, node)


class Accounts:
    """Keeps count of how nodes did: what an answer or a failure means for the error limiter, and what the log says."""

    __slots__ = ("limiter", "logger")

    def __init__(self, limiter: Any, logger: Any) -> None:
        self.limiter = limiter
        self.logger = logger

    def answered(self, node: Node, status: int, doing: str) -> None:
        if status == 507:
            self.limiter.limit_now(node)
            self.logger.error(
                "Node error limited: %s:%s/%s (%s: 507)", node["ip"], node["port"], node["device"], doing
            )
        elif status >= 500:
            self._count(node)
            self.logger.error(
                "ERROR %d trying to %s from %s:%s/%s", status, doing, node["ip"], node["port"], node["device"]
            )

    def failed(self, node: Node, error: BaseException, doing: str) -> None:
        self._count(node)
        self.logger.error(
            "ERROR with %s:%s/%s trying to %s: %s", node["ip"], node["port"], node["device"], doing, error
        )

    def _count(self, node: Node) -> None:
        if self.limiter.increment(node):
            self.logger.error("Node error limited: %s:%s/%s", node["ip"], node["port"], node["device"])


class Leg:
    """One of the requests of a fan-out, wherever it ends up: its header block is bound to it, not to a node."""

    __slots__ = ("answer", "conn", "deadline", "headers", "node")

    def __init__(self, headers: bytes) -> None:
        self.headers = headers
        self.answer: Answer | None = None
        self.node: Node | None = None
        self.conn: BackendConnection | None = None
        self.deadline = 0.0


class FanOut:
    """The same request to several nodes at once, each replaced by the next of the iterator while it fails (spec 7.1).

    `tail`: quoted path after the partition; `blocks`: one header block for each request, which describes the body.
    A request is answered when a node says something below 500. `lost_rows`: who reports object writes for which no node is left.
    """

    def __init__(
        self,
        accounts: Accounts,
        method: str,
        part: int,
        tail: str,
        blocks: Iterable[bytes],
        nodes: Iterator[Node],
        *,
        body: bytes = b"",
        conn_timeout: float,
        node_timeout: float,
        post_quorum_timeout: float,
        use_replication: bool = False,
        lost_rows: LostRows | None = None,
    ) -> None:
        self.accounts = accounts
        self.method = method
        self.part = part
        self.tail = tail
        self.legs = [Leg(block) for block in blocks]
        self.nodes = nodes
        self.body = body
        self.conn_timeout = conn_timeout
        self.node_timeout = node_timeout
        self.post_quorum_timeout = post_quorum_timeout
        self.use_replication = use_replication
        self.lost_rows = lost_rows
        self.answers: list[Answer] = []

    def run(self) -> list[Answer]:
        """Send everything, collect until a quorum agrees and the others had their grace; answers padded with 503."""
        self._send_all()
        late = self._collect([leg for leg in self.legs if leg.conn is not None])
        if len(self.answers) < len(self.legs):
            self._report_lost([leg for leg in self.legs if leg not in late])
        for leg in late:
            spawn_n(self._await_late, leg, transaction())
        return pad(self.answers, len(self.legs))

    def _report_lost(self, legs: list[Leg]) -> None:
        """What no node has taken, no node reports to the listing above it: if the write counts, it's done here."""
        lost = [leg.headers for leg in legs if leg.answer is None]
        if lost and self.lost_rows is not None:
            done = sum(is_success(answer.status) for answer in self.answers)
            if done >= quorum_size(len(self.legs)):
                self.lost_rows.report(lost)

    # -- sending -----------------------------------------------------------------------------------------------------------

    def _doing(self) -> str:
        return f"{self.method} {self.tail}"

    def _send_all(self) -> None:
        """Idle connections take their request at once; those to be opened are opened beside each other."""
        connecting = []
        for leg in self.legs:
            node = leg.node = next(self.nodes, None)
            if node is None:
                continue
            conn = POOL.idle(*address(node, self.use_replication))
            if conn is None:
                connecting.append(leg)
            else:
                self._send(leg, conn)
        if len(connecting) == 1:
            self._open(connecting[0])
        elif connecting:
            request = transaction()
            for opener in [spawn(self._open_beside, leg, request) for leg in connecting]:
                opener.wait()

    def _open_beside(self, leg: Leg, request: Transaction) -> None:
        set_transaction(*request)
        self._open(leg)

    def _open(self, leg: Leg) -> None:
        """Get the leg's request to its node, or else to one of the next nodes; leg.conn is None when there is none left."""
        while leg.node is not None:
            try:
                conn = POOL.get(*address(leg.node, self.use_replication), self.conn_timeout)
            except BackendError as error:
                self.accounts.failed(leg.node, error, self._doing())
            else:
                if self._send(leg, conn):
                    return
            leg.node = next(self.nodes, None)

    def _send(self, leg: Leg, conn: BackendConnection) -> bool:
        node = leg.node
        assert node is not None
        path = node_path(node, self.part, self.tail)
        try:
            try:
                conn.send(self.method, path, leg.headers, self.body, self.node_timeout)
            except StaleConnection:
                conn.reopen(self.conn_timeout)
                conn.send(self.method, path, leg.headers, self.body, self.node_timeout)
        except BackendError as error:
            conn.close()
            leg.conn = None
            self.accounts.failed(node, error, self._doing())
            return False
        leg.conn = conn
        leg.deadline = clock.monotonic() + self.node_timeout
        return True

    # -- collecting --------------------------------------------------------------------------------------------------------

    def _collect(self, pending: list[Leg]) -> list[Leg]:
        """Take the answers of `pending`; those that are not waited for any longer."""
        # A leg that failed while it was sent from the pool has no connection, but nodes to go on with.
        for leg in self.legs:
            if leg.conn is None and leg.node is not None:
                self._next_node(leg)
                if leg.conn is not None:
                    pending.append(leg)
        quorum_since = None
        while pending:
            now = clock.monotonic()
            limit = min(leg.deadline for leg in pending)
            if quorum_since is not None:
                limit = min(limit, quorum_since + self.post_quorum_timeout)
            ready = wait_any([leg.conn for leg in pending if leg.conn is not None], max(limit - now, 0))
            if not ready:
                now = clock.monotonic()
                if quorum_since is not None and now >= quorum_since + self.post_quorum_timeout:
                    break
                self._drop_overdue(pending, now)
                continue
            for leg in [leg for leg in pending if leg.conn in ready]:
                answer = self._answer(leg)
                if answer is None:
                    self._next_node(leg)
                    if leg.conn is None:
                        pending.remove(leg)
                    continue
                pending.remove(leg)
                if _says_something(leg, answer):
                    leg.answer = answer
                    self.answers.append(answer)
            if quorum_since is None and have_quorum([a.status for a in self.answers], len(self.legs)):
                quorum_since = clock.monotonic()
        return pending

    def _drop_overdue(self, pending: list[Leg], now: float) -> None:
        for leg in [leg for leg in pending if leg.deadline <= now]:
            assert leg.node is not None and leg.conn is not None
            self.accounts.failed(leg.node, TimeoutError(f"no answer in {self.node_timeout} s"), self._doing())
            leg.conn.close()
            self._next_node(leg)
            if leg.conn is None:
                pending.remove(leg)

    def _next_node(self, leg: Leg) -> None:
        leg.conn = None
        leg.node = next(self.nodes, None)
        self._open(leg)

    def _answer(self, leg: Leg) -> Answer | None:
        """What the leg's node answered; None when that does not count and the next node is to be asked."""
        node, conn = leg.node, leg.conn
        assert node is not None and conn is not None
        try:
            try:
                response = conn.response(max(leg.deadline - clock.monotonic(), 0.001))
            except StaleConnection:
                conn.reopen(self.conn_timeout)
                conn.send(
                    self.method,
                    node_path(node, self.part, self.tail),
                    leg.headers,
                    self.body,
                    self.node_timeout,
                )
                response = conn.response(self.node_timeout)
        except BackendError as error:
            conn.close()
            self.accounts.failed(node, error, self._doing())
            return None
        self.accounts.answered(node, response.status, self._doing())
        answer = read_answer(response, node)
        return answer if response.status < 500 else None

    def _await_late(self, leg: Leg, request: Transaction) -> None:
        """The client has its answer; a node that dies now is still replaced, or a copy and a listing's row would be missing."""
        set_transaction(*request)
        try:
            while leg.conn is not None:
                answer = self._answer(leg)
                if answer is None:
                    self._next_node(leg)
                    continue
                if _says_something(leg, answer):
                    leg.answer = answer
                break
            self._report_lost([leg])
        except (Exception, Timeout, GreenletExit):
            if leg.conn is not None:
                leg.conn.close()


def _says_something(leg: Leg, answer: Answer) -> bool:
    """Nothing on a node where the thing never was says nothing about it."""
    return answer.status != 404 or not is_handoff(leg.node or {}) or bool(answer.get("x-backend-timestamp"))
