"""The connections of one upload whose body still comes: asked with `Expect`, fed in step, ended by footers, answers collected.

What kinds of policies share of a streamed PUT (spec proxy 11.2-11.5, 14.3): the conversation and its framing, a second
`100 Continue` and what is sent after it included. What goes over which connection is decided by the stores. The sockets' buffers are
the queues that keep one slow server from stopping the others.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from swift.core import clock
from swift.core.concurrency import spawn_n
from swift.core.hashing import md5
from swift.core.object_headers import COMMIT_CONFIRMATION
from swift.proxy.backend import Answers, Asking, beside_each_other, let_go, read_answer
from swift.proxy.exchange import Exchange
from swift.proxy.quorum import Answer, have_quorum, is_success, pad
from swift.proxy.routing import Node, NodeIterator
from swift.proxy.services import Services
from swift.proxy.updates import Share
from swift.telemetry.log import Transaction, set_transaction, transaction
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendError, BackendResponse, wait_any
from swift.wire.message import HTTPServiceUnavailable

FOOTERS, COMMIT = "x-obj-metadata-footer", "x-obj-multiphase-commit"
"""What a server says in its 100 Continue that it can do."""


class Uplink:
    """One of the connections, wherever it ends up: its header block and share of updates are bound to it, not to a node.

    `call` is None once it has broken, `answer` the final one; `boundary`: of its documents. `is_late`: its server has not said yet whether
    it goes on, and is not waited for.
    """

    __slots__ = ("answer", "boundary", "call", "headers", "is_late", "node", "share")

    def __init__(self, headers: bytes, share: Share) -> None:
        self.headers = headers
        self.share = share
        self.boundary = b""
        self.is_late = False
        self.node: Node | None = None
        self.call: BackendCall | None = None
        self.answer: Answer | None = None

    @property
    def wants_data(self) -> bool:
        """It is connected, and its server waits for what comes next."""
        return self.call is not None and self.answer is None and not self.is_late


class Uplinks:
    """`common`: header block of all, without framing; `shares`: what each has besides; `quorum`: how many of them must be there at
    each step; `needed`: capabilities that a server must announce. Whatever ends an upload early must `abandon` it, so that the
    servers see a document without an end."""

    def __init__(
        self,
        services: Services,
        exchange: Exchange,
        asking: Asking,
        common: bytes,
        shares: Sequence[Share],
        nodes: NodeIterator,
        quorum: int,
        needed: Sequence[str] = (FOOTERS,),
    ) -> None:
        self.health = services.health
        self.services = services
        self.options = services.options
        self.exchange = exchange
        self.asking = asking
        self.nodes = nodes
        self.quorum = quorum
        self.needed = needed
        common += (
            b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\nX-Backend-Obj-Metadata-Footer: yes\r\n"
        )
        if COMMIT in needed:
            common += b"X-Backend-Obj-Multiphase-Commit: yes\r\n"
        self.links = [Uplink(common + share.lines, share) for share in shares]

    def live(self) -> list[Uplink]:
        """Those whose servers wait for what comes next."""
        return [link for link in self.links if link.wants_data]

    # -- connecting --------------------------------------------------------------------------------------------------------

    def connect(self) -> list[Answer] | None:
        """Find each link a node that wants the body, all at the same time.

        None: a quorum wants it. Else the answers (padded with 503) that are clear before the body was asked for. Raises
        HTTPServiceUnavailable.
        """
        self._connect_all(self.links, iter(self.nodes))
        missing = [link for link in self.links if link.node is None]
        if missing:
            # Nodes that failed lately may be back: each is asked if it would be 503, now and then if it would be a copy less.
            would_fail = len(self.links) - len(missing) < self.quorum
            self._connect_all(
                missing,
                self.nodes.last_resort() if would_fail else iter(self.nodes.second_chance, None),
            )
            for link in missing:
                if link.node is not None:
                    self.health.recovered(link.node)
        answers = [link.answer for link in self.links if link.answer is not None]
        statuses = [answer.status for answer in answers]
        wanting = len(self.live())
        decided = 409 in statuses or 412 in statuses and "HTTP_IF_NONE_MATCH" in self.exchange.environ
        if not decided and wanting + len(answers) < self.quorum:
            raise self.unavailable()
        if decided or wanting < self.quorum and have_quorum(statuses, self.quorum):
            self.abandon()
            return pad(answers, len(self.links))
        return None

    def _connect_all(self, links: Sequence[Uplink], nodes: Iterator[Node]) -> None:
        beside_each_other(lambda link: self._connect(link, nodes), links)

    def _connect(self, link: Uplink, nodes: Iterator[Node]) -> None:
        """Find the link a node that wants the body, or that has a final answer without it."""
        for node in nodes:
            link.boundary = b"%064x" % clock.getrandbits(256)
            boundary = b"X-Backend-Obj-Multipart-Mime-Boundary: %s\r\n" % link.boundary
            call = self.asking.call(node, link.headers + boundary)
            try:
                call.send()
                response = call.wait_continue()
            except BackendError as error:
                self.health.failed(node, error, self.asking.doing)
                continue
            if response.status == 100:
                if self._is_capable(response):
                    link.node, link.call = node, call
                    return
                call.close()
                self.health.failed(node, BackendError("does not take footers"), self.asking.doing)
                continue
            self.health.answered(node, response, self.asking.doing)
            if response.status < 500:
                link.node = node
                link.answer = read_answer(response, node, self.options.node_timeout)
                return
            let_go(response)

    def _is_capable(self, response: BackendResponse) -> bool:
        return all((response.get(name) or "").lower() == "yes" for name in self.needed)

    # -- sending -----------------------------------------------------------------------------------------------------------

    def send(self, link: Uplink, parts: list[Any]) -> None:
        """Send the parts, framing included. A link that fails is dropped. Raises HTTPServiceUnavailable without a quorum."""
        call, node = link.call, link.node
        assert call is not None and call.conn is not None and node is not None
        try:
            call.conn.send_bytes(parts, self.options.node_timeout)
        except BackendError as error:
            self._drop(link, error)
            if sum(link.call is not None or link.answer is not None for link in self.links) < self.quorum:
                raise self.unavailable() from None

    def _drop(self, link: Uplink, error: BaseException) -> None:
        assert link.call is not None and link.node is not None
        link.call.close()
        link.call = None
        self.health.failed(link.node, error, self.asking.doing)

    def unavailable(self) -> HTTPServiceUnavailable:
        """The answer where too few servers are left, or this one has not what it needs."""
        statuses = [link.answer.status if link.answer else 503 for link in self.links]
        self.services.log_unavailable("object", "PUT", statuses)
        return HTTPServiceUnavailable(request=self.exchange.request)

    # -- the end -----------------------------------------------------------------------------------------------------------

    def await_continue(self) -> list[Answer]:
        """Wait until every server has said that it goes on (a second 100), given up, or run out of time; once a quorum goes on, the others
        have their grace.

        Returns the final answers that came instead; `live` are those that go on. Raises HTTPServiceUnavailable where neither
        a quorum goes on nor one agrees on an answer.
        """
        self._wait_for(self.live(), lambda pending: len(self.live()) - len(pending) >= self.quorum)
        answers = [link.answer for link in self.links if link.answer is not None]
        if len(self.live()) < self.quorum and not have_quorum(
            [answer.status for answer in answers], self.quorum
        ):
            raise self.unavailable()
        return answers

    def _wait_for(
        self,
        pending: list[Uplink],
        is_enough: Callable[[Sequence[Uplink]], bool],
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """Until all of them have said that they go on, or else; once that is enough without those that have not, these have their grace,
        and are late. `is_over()`: nobody is waited for any more."""
        end = clock.monotonic() + self.options.node_timeout
        had_enough = False
        while pending and not is_over():
            if not had_enough and is_enough(pending):
                had_enough = True
                end = min(end, clock.monotonic() + self.options.post_quorum_timeout)
            conns = [
                link.call.conn for link in pending if link.call is not None and link.call.conn is not None
            ]
            ready = wait_any(conns, max(end - clock.monotonic(), 0))
            if not ready:
                for link in pending:
                    if had_enough:
                        link.is_late = True
                    else:
                        self._drop(link, self.asking.overdue())
                return
            for link in [link for link in pending if link.call is not None and link.call.conn in ready]:
                pending.remove(link)
                self._take_continue(link)

    def _take_continue(self, link: Uplink) -> None:
        assert link.call is not None and link.node is not None
        try:
            response = link.call.wait_continue()
        except BackendError as error:
            self._drop(link, error)
            return
        if response.status == 100:
            return
        self.health.answered(link.node, response, self.asking.doing)
        link.answer = read_answer(response, link.node, self.options.node_timeout)
        link.call = None

    def commit(self) -> None:
        """Tell those that go on that what they have stored counts."""
        for link in self.live():
            self._commit(link)

    def _commit(self, link: Uplink) -> None:
        document = commit_document(link.boundary)
        self.send(link, [b"%x\r\n%s\r\n0\r\n\r\n" % (len(document), document)])

    def collect(self, lost: Callable[[list[Share]], None]) -> list[Answer]:
        """Final answers: all that come until a quorum agrees and the others had their grace; padded with 503.

        `lost(shares)` is called if the upload is stored, for servers that broke off before they said so: what they were to tell
        the listings, nobody tells. For those whose answer comes too late to be waited for, it is called later.
        """
        collected = Answers()
        for link in self.links:
            if link.answer is not None:
                collected.add(link.answer)
        gone = [link for link in self.links if link.call is None and link.answer is None]
        pending = self.live()
        end = clock.monotonic() + self.options.node_timeout
        has_quorum = False
        while pending:
            if not has_quorum and have_quorum(collected.statuses, self.quorum):
                has_quorum = True
                end = min(end, clock.monotonic() + self.options.post_quorum_timeout)
            conns = [
                link.call.conn for link in pending if link.call is not None and link.call.conn is not None
            ]
            ready = wait_any(conns, max(end - clock.monotonic(), 0))
            if not ready and clock.monotonic() >= end:
                break
            for link in [link for link in pending if link.call is not None and link.call.conn in ready]:
                pending.remove(link)
                if not self._take_final(link, collected, end - clock.monotonic()):
                    gone.append(link)
        collected.finish(self.options.post_quorum_timeout)
        answers = collected.answers
        stored = sum(is_success(answer.status) for answer in answers) >= self.quorum
        if stored and gone:
            lost([link.share for link in gone])
        for link in [*pending, *(link for link in self.links if link.is_late)]:
            spawn_n(self._await_late, link, stored, lost, transaction())
        return pad(answers, len(self.links))

    def _take_final(self, link: Uplink, collected: Answers, seconds: float) -> bool:
        """Take a final answer; returns False for none, or an error, after which nobody can say what the server told the listing."""
        assert link.call is not None and link.node is not None
        try:
            response = link.call.response(max(seconds, 0.001))
        except BackendError as error:
            self._drop(link, error)
            return False
        self.health.answered(link.node, response, self.asking.doing)
        collected.add(collected.made_of(response, link.node))
        return response.status < 500

    def _await_late(
        self, link: Uplink, stored: bool, lost: Callable[[list[Share]], None], request: Transaction
    ) -> None:
        set_transaction(*request)
        late = Answers()
        taken = False
        if link.is_late:
            link.is_late = False
            self._take_continue(link)
            if link.wants_data:
                with contextlib.suppress(HTTPServiceUnavailable):  # without it there was a quorum
                    self._commit(link)
        if link.wants_data:
            taken = self._take_final(link, late, self.options.node_timeout)
            late.finish(self.options.post_quorum_timeout)
        if stored and not taken:
            lost([link.share])

    def abandon(self) -> None:
        """Drop the connections in the middle of the document: nothing of it will be stored."""
        for link in self.links:
            if link.call is not None:
                link.call.close()
                link.call = None


NO_BOUNDARY = b"0" * 64
"""As long as a boundary."""


def body_head(boundary: bytes) -> bytes:
    """What precedes the object's bytes."""
    return b"--%s\r\nX-Document: object body\r\n\r\n" % boundary


def metadata_document(boundary: bytes, footers: Mapping[str, str], is_last: bool = True) -> bytes:
    """What follows the object's bytes, to the end of the request, or else (not `is_last`) to the commit document."""
    text = json.dumps(footers).encode("ascii")
    digest = md5(text).hexdigest().encode()
    head = b"\r\n--%s\r\nX-Document: object metadata\r\nContent-MD5: %s\r\n\r\n" % (boundary, digest)
    return b"%s%s\r\n--%s%s" % (head, text, boundary, b"--" if is_last else b"\r\n")


def commit_document(boundary: bytes) -> bytes:
    """What is sent after the second 100, as a new body of its own: what was stored counts."""
    return b"X-Document: put commit\r\n\r\n%s\r\n--%s--" % (COMMIT_CONFIRMATION, boundary)
