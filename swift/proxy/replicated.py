"""PUT of an object to its replicas (spec proxy 11).

Two ways. A small body is read whole and goes out with the head, its ETag and CRC known; the object servers' answers are all
there is to wait for. A longer one is streamed as a MIME document behind `Expect: 100-continue`, and the ETag follows in its
footer. The sockets' buffers are the queues that keep one slow replica from stopping the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from swift.core import clock
from swift.core.checksum import crc32
from swift.core.concurrency import sleep, spawn, spawn_n
from swift.core.config import truthy
from swift.core.constraints import limits
from swift.core.hashing import md5
from swift.core.policy import quorum_size
from swift.core.timestamp import http_date, parse
from swift.obj.updates import update_overrides
from swift.proxy.backend import FanOut, node_path, read_answer
from swift.proxy.digest import BodyDigest
from swift.proxy.exchange import Exchange
from swift.proxy.quorum import Answer, have_quorum, is_success, pad
from swift.proxy.routing import Node, address
from swift.proxy.rows import LostRows, row_headers
from swift.telemetry.log import Transaction, set_transaction, transaction
from swift.wire.client import POOL, BackendConnection, BackendError, StaleConnection, wait_any
from swift.wire.errors import ClientError, ClientTimeout
from swift.wire.message import (
    HeaderKeyDict,
    HTTPClientDisconnect,
    HTTPException,
    HTTPRequestEntityTooLarge,
    HTTPRequestTimeout,
    HTTPServiceUnavailable,
    HTTPUnprocessableEntity,
    head_headers,
    normalize_etag,
)

if TYPE_CHECKING:
    from swift.proxy.app import Application

SMALL_BODY = 64 * 1024  # bytes; up to there a body is held in memory until it is stored
_TURN = 1024 * 1024  # bytes after which other requests get a turn
_FOOTERS = "swift.callback.update_footers"


class _Replica:
    """One of the requests, wherever it ends up: its header block, connection, and final answer."""

    __slots__ = ("answer", "boundary", "conn", "headers", "node")

    def __init__(self, headers: bytes) -> None:
        self.headers = headers
        self.boundary = b""
        self.node: Node | None = None
        self.conn: BackendConnection | None = None
        self.answer: Answer | None = None


class Store:
    """One PUT. `common`: header block that all requests share; `lines`: what each has besides; `length`: None if chunked."""

    def __init__(
        self,
        app: Application,
        exchange: Exchange,
        part: int,
        tail: str,
        common: bytes,
        lines: Sequence[bytes],
        nodes: Iterator[Node],
        length: int | None,
    ) -> None:
        self.app = app
        self.options = app.options
        self.exchange = exchange
        self.environ = exchange.environ
        self.part = part
        self.tail = tail
        self.common = common
        self.lines = lines
        self.nodes = nodes
        self.length = length
        self.use_replication = truthy(self.environ.get("HTTP_X_BACKEND_USE_REPLICATION_NETWORK"))

    def run(self) -> list[Answer]:
        """Store the object; the answers of the servers, padded with 503. Raises HTTPException when it did not come so far."""
        length = self.length
        if length is not None and length <= SMALL_BODY and _FOOTERS not in self.environ:
            return self._store_small(self._read_small(length))
        return _Upload(self).run()

    # -- small bodies ------------------------------------------------------------------------------------------------------

    def _read_small(self, length: int) -> bytes:
        if not length:
            return b""
        try:
            body = self.environ["wsgi.input"].read(length)
        except ClientTimeout:
            raise self.too_slow() from None
        except (ClientError, OSError):
            raise self.gone() from None
        if len(body) != length:
            raise self.gone()
        return body

    def too_slow(self) -> HTTPException:
        """The answer to a client whose body did not come in time."""
        self.app.metrics.increment("object.client_timeouts")
        return HTTPRequestTimeout(request=self.exchange.request)

    def gone(self) -> HTTPException:
        """The answer to a client that left before the end of its body."""
        self.app.metrics.increment("object.client_disconnects")
        return HTTPClientDisconnect(request=self.exchange.request)

    def _store_small(self, body: bytes) -> list[Answer]:
        etag = md5(body).hexdigest()
        common = b"%sContent-Length: %d\r\n" % (self.common, len(body))
        given = self.environ.get("HTTP_ETAG")
        if given is None:
            common += b"Etag: %s\r\n" % etag.encode()
            given = etag
        # Without the checksum the servers hash the body, and find that it is not what the client says.
        if normalize_etag(given) == etag:
            common += b"X-Backend-Body-Crc32: %08x\r\n" % crc32(body)
        options = self.options
        return FanOut(
            self.app.accounts,
            "PUT",
            self.part,
            self.tail,
            [common + lines for lines in self.lines],
            self.nodes,
            body=body,
            conn_timeout=options.conn_timeout,
            node_timeout=options.node_timeout,
            post_quorum_timeout=options.post_quorum_timeout,
            use_replication=self.use_replication,
            lost_rows=self.lost_rows(len(body), etag, {}),
        ).run()

    def lost_rows(self, size: int, etag: str, footers: Mapping[str, str]) -> LostRows:
        """Reports this PUT where the object servers can't: the fields that they would send (spec proxy 15.5)."""
        environ = self.environ

        def fields() -> dict[str, str]:
            own = {"X-Size": str(size), "X-Content-Type": environ["CONTENT_TYPE"], "X-Etag": etag}
            overrides = update_overrides(head_headers(environ), footers.items())
            return {**own, **row_headers(environ), **overrides}

        return LostRows(self.app, environ, self.tail, "Container", "PUT", fields)


class _Upload:
    """A body streamed to the replicas. Whatever ends it early closes the connections before the document's end."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.app = store.app
        self.options = store.options
        self.exchange = store.exchange
        self.environ = store.environ
        self.doing = f"PUT {store.tail}"
        common = store.common + (
            b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\nX-Backend-Obj-Metadata-Footer: yes\r\n"
            b"X-Backend-Body-Crc32: footer\r\n"
        )
        if store.length is not None:
            common += b"X-Backend-Obj-Content-Length: %d\r\n" % store.length
        # With a known length and only our own footers the document's length is known too: then it is one chunk, and an object
        # server can receive the data where it writes it from. (Peers take a Content-Length for that of the object.)
        self.one_chunk: int | None = None
        if store.length is not None and _FOOTERS not in self.environ:
            sample = _own_footers("0" * 32, 0)
            around = len(_body_head(_NO_BOUNDARY)) + len(_metadata_document(_NO_BOUNDARY, sample))
            self.one_chunk = store.length + around
        self.replicas = [_Replica(common + lines) for lines in store.lines]
        self.quorum = quorum_size(len(self.replicas))
        self.digest = BodyDigest()
        self.received = 0
        self.footers: dict[str, str] = {}

    def run(self) -> list[Answer]:
        try:
            request = transaction()
            for opener in [spawn(self._connect, replica, request) for replica in self.replicas]:
                opener.wait()
            early = self._early_answers()
            if early is not None:
                return early
            self._stream()
            self._send_footers()
        except BaseException:
            self._abandon()
            raise
        return self._collect()

    # -- connecting --------------------------------------------------------------------------------------------------------

    def _connect(self, replica: _Replica, request: Transaction) -> None:
        """Find the replica a node that wants the body, or that has a final answer without it."""
        set_transaction(*request)
        for node in self.store.nodes:
            conn = None
            try:
                conn = POOL.get(*address(node, self.store.use_replication), self.options.conn_timeout)
                response = self._ask(conn, replica, node)
            except BackendError as error:
                if conn is not None:
                    conn.close()
                self.app.accounts.failed(node, error, self.doing)
                continue
            replica.node = node
            if response.status == 100:
                if (response.get("x-obj-metadata-footer") or "").lower() != "yes":
                    conn.close()
                    self.app.accounts.failed(node, BackendError("does not take footers"), self.doing)
                    continue
                replica.conn = conn
                return
            self.app.accounts.answered(node, response.status, self.doing)
            answer = read_answer(response, node)
            if answer.status < 500:
                replica.answer = answer
                return
        replica.node = None

    def _ask(self, conn: BackendConnection, replica: _Replica, node: Node) -> Any:
        replica.boundary = b"%064x" % clock.getrandbits(256)
        headers = b"%sX-Backend-Obj-Multipart-Mime-Boundary: %s\r\n" % (replica.headers, replica.boundary)
        path = node_path(node, self.store.part, self.store.tail)
        try:
            conn.send("PUT", path, headers, b"", self.options.node_timeout)
            return conn.wait_continue(self.options.node_timeout)
        except StaleConnection:
            conn.reopen(self.options.conn_timeout)
            conn.send("PUT", path, headers, b"", self.options.node_timeout)
            return conn.wait_continue(self.options.node_timeout)

    def _early_answers(self) -> list[Answer] | None:
        """The answers if they are clear before the body was asked for; None when there is a quorum that wants it."""
        answers = [replica.answer for replica in self.replicas if replica.answer is not None]
        statuses = [answer.status for answer in answers]
        wanting = sum(replica.conn is not None for replica in self.replicas)
        decided = 409 in statuses or 412 in statuses and "HTTP_IF_NONE_MATCH" in self.environ
        if not decided and wanting + len(answers) < self.quorum:
            self.app.log_unavailable("object", "PUT", statuses)
            raise HTTPServiceUnavailable(request=self.exchange.request)
        if decided or wanting < self.quorum and have_quorum(statuses, len(self.replicas)):
            self._abandon()
            return pad(answers, len(self.replicas))
        return None

    # -- the body ----------------------------------------------------------------------------------------------------------

    def _stream(self) -> None:
        for replica in self._live():
            self._send(replica, _body_head(replica.boundary), is_first=True)
        digest = self.digest
        longest = limits().max_file_size
        turn = 0
        while True:
            data = self._receive(digest.buffer())
            if not len(data):
                break
            self.received += len(data)
            if self.received > longest:
                raise HTTPRequestEntityTooLarge(request=self.exchange.request)
            digest.take(data)
            for replica in self._live():
                self._send(replica, data)
            turn += len(data)
            if turn >= _TURN:
                turn = 0
                sleep(0)
        digest.wait()
        if self.store.length is not None and self.received != self.store.length:
            raise self.store.gone()

    def _receive(self, buffer: memoryview) -> memoryview | bytes:
        """The next piece of the client's body, b'' at its end."""
        source = self.environ["wsgi.input"]
        try:
            recv_into = getattr(source, "recv_into", None)
            if recv_into is not None:
                return buffer[: recv_into(buffer)]
            return source.read(self.options.client_chunk_size)
        except ClientTimeout:
            raise self.store.too_slow() from None
        except (ClientError, OSError):
            raise self.store.gone() from None

    def _live(self) -> list[_Replica]:
        return [replica for replica in self.replicas if replica.conn is not None]

    def _send(
        self, replica: _Replica, data: memoryview | bytes, is_first: bool = False, is_last: bool = False
    ) -> None:
        assert replica.conn is not None and replica.node is not None
        parts: list[Any] = [data]
        if self.one_chunk is None or is_first:
            parts.insert(0, b"%x\r\n" % (self.one_chunk or len(data)))
        if self.one_chunk is None or is_last:
            parts.append(b"\r\n0\r\n\r\n" if is_last else b"\r\n")
        try:
            replica.conn.send_bytes(parts, self.options.node_timeout)
        except BackendError as error:
            replica.conn.close()
            replica.conn = None
            self.app.accounts.failed(replica.node, error, self.doing)
            self._check_quorum()

    def _check_quorum(self) -> None:
        useful = sum(replica.conn is not None or replica.answer is not None for replica in self.replicas)
        if useful < self.quorum:
            self.app.log_unavailable(
                "object", "PUT", [r.answer.status if r.answer else 503 for r in self.replicas]
            )
            raise HTTPServiceUnavailable(request=self.exchange.request)

    # -- the end -----------------------------------------------------------------------------------------------------------

    def _footers(self) -> dict[str, str]:
        """What the metadata document says: our digests, and what filters add. Raises 422 for another ETag than expected."""
        etag = self.digest.etag()
        footers = HeaderKeyDict()
        update = self.environ.get(_FOOTERS)
        if update is not None:
            update(footers)
        for expected in (self.environ.get("HTTP_ETAG") if update is None else None, footers.get("Etag")):
            if expected is not None and (normalize_etag(expected) or "").lower() != etag:
                when = http_date(parse(self.environ["HTTP_X_TIMESTAMP"]))
                raise HTTPUnprocessableEntity(request=self.exchange.request, headers={"Last-Modified": when})
        return {**footers, **_own_footers(etag, self.digest.crc)}

    def _send_footers(self) -> None:
        self.footers = self._footers()
        for replica in self._live():
            self._send(replica, _metadata_document(replica.boundary, self.footers), is_last=True)

    def _collect(self) -> list[Answer]:
        """Final answers: all that come until a quorum agrees and the others had their grace."""
        answers = [replica.answer for replica in self.replicas if replica.answer is not None]
        lost = [replica for replica in self.replicas if replica.conn is None and replica.answer is None]
        pending = self._live()
        deadline = clock.monotonic() + self.options.node_timeout
        while pending:
            if have_quorum([answer.status for answer in answers], len(self.replicas)):
                deadline = min(deadline, clock.monotonic() + self.options.post_quorum_timeout)
            ready = wait_any(
                [r.conn for r in pending if r.conn is not None], max(deadline - clock.monotonic(), 0)
            )
            if not ready and clock.monotonic() >= deadline:
                break
            for replica in [replica for replica in pending if replica.conn in ready]:
                pending.remove(replica)
                answer = self._final_answer(replica, max(deadline - clock.monotonic(), 0.001))
                if answer is not None:
                    answers.append(answer)
                if answer is None or answer.status >= 500:
                    lost.append(replica)
        stored = sum(is_success(answer.status) for answer in answers) >= self.quorum
        if stored:
            self._report(lost)
        for replica in pending:
            spawn_n(self._await_late, replica, stored, transaction())
        return pad(answers, len(self.replicas))

    def _await_late(self, replica: _Replica, stored: bool, request: Transaction) -> None:
        set_transaction(*request)
        answer = self._final_answer(replica, self.options.node_timeout)
        if stored and (answer is None or answer.status >= 500):
            self._report([replica])

    def _report(self, lost: list[_Replica]) -> None:
        if lost:
            rows = self.store.lost_rows(self.received, self.digest.etag(), self.footers)
            rows.report([replica.headers for replica in lost])

    def _final_answer(self, replica: _Replica, timeout: float) -> Answer | None:
        assert replica.conn is not None and replica.node is not None
        try:
            response = replica.conn.response(timeout)
        except BackendError as error:
            replica.conn.close()
            self.app.accounts.failed(replica.node, error, self.doing)
            return None
        self.app.accounts.answered(replica.node, response.status, self.doing)
        return read_answer(response, replica.node)

    def _abandon(self) -> None:
        """Drop the connections in the middle of the document: nothing of it will be stored."""
        self.digest.release()
        for replica in self._live():
            assert replica.conn is not None
            replica.conn.close()
            replica.conn = None


_NO_BOUNDARY = b"0" * 64


def _own_footers(etag: str, crc: int) -> dict[str, str]:
    return {"Etag": etag, "X-Backend-Body-Crc32": f"{crc:08x}"}


def _body_head(boundary: bytes) -> bytes:
    return b"--%s\r\nX-Document: object body\r\n\r\n" % boundary


def _metadata_document(boundary: bytes, footers: Mapping[str, str]) -> bytes:
    """What follows the object's bytes, to the end of the request."""
    text = json.dumps(footers).encode("ascii")
    digest = md5(text).hexdigest().encode()
    head = b"\r\n--%s\r\nX-Document: object metadata\r\nContent-MD5: %s\r\n\r\n" % (boundary, digest)
    return b"%s%s\r\n--%s--" % (head, text, boundary)
