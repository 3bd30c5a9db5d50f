"""PUT of an erasure-coded object that is held in memory: one write to each node, and one word when enough have stored theirs.

The short form of the two-phase write (doc/architecture.md): a plain request whose last bytes, the confirmation, are held back until a
quorum has said `100 Continue`, which means that its fragment is on disk and does not count yet. What servers don't know it refuse it
before they store anything; then, and where too few nodes take it, the caller goes through the conversation of `erasure_put`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from swift.core import clock
from swift.core.concurrency import GreenletExit, Timeout, spawn_n
from swift.core.object_headers import COMMIT_CONFIRMATION, EC_INDEX, EC_PREFIX, OVERRIDES
from swift.core.policy import ErasurePolicy
from swift.proxy.backend import Answers, Asking, beside_each_other, let_go, read_answer
from swift.proxy.backend_headers import as_block
from swift.proxy.fragment_places import fragments_for
from swift.proxy.fragment_sums import Encoder, merged_footers
from swift.proxy.kinds import Upload
from swift.proxy.put_body import check_etag, footers_of_filters, lost_rows
from swift.proxy.put_small import SMALL_BODY, with_footers
from swift.proxy.quorum import Answer, is_success, pad
from swift.proxy.routing import Node
from swift.proxy.services import Services
from swift.proxy.updates import Share
from swift.proxy.uplinks import COMMIT
from swift.telemetry.log import Transaction, set_transaction, transaction
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendConnection, BackendError, BackendResponse, wait_any

__all__ = ["SMALL_BODY", "Peers", "SmallFragments"]

_REFUSAL = b"no MIME boundary"  # what a server says to whom a MIME document is announced that it can't find
_MAX_PEERS = 65536
_INDEX, _EC, _OVERRIDE = EC_INDEX.encode(), EC_PREFIX.encode(), OVERRIDES[0].encode()


class Peers:
    """Which servers are known not to take the short form, for a while: another one may come in their place."""

    SECONDS = 300.0

    def __init__(self) -> None:
        self._foreign: dict[tuple[str, int], float] = {}

    def refused(self, node: Node) -> None:
        """A server has said that it does not know it."""
        if len(self._foreign) < _MAX_PEERS:
            self._foreign[node["ip"], node["port"]] = clock.monotonic() + self.SECONDS

    def takes(self, node: Node) -> bool:
        """Return True unless the server has refused it lately."""
        if not self._foreign:
            return True
        until = self._foreign.get((node["ip"], node["port"]))
        if until is None:
            return True
        if until > clock.monotonic():
            return False
        del self._foreign[node["ip"], node["port"]]
        return True


class _Leg:
    """One of the fragments on its way. `is_stored`: its server waits for the confirmation; `answer`: the final one."""

    __slots__ = ("answer", "call", "headers", "index", "is_confirmed", "is_stored", "node", "share")

    def __init__(self, share: Share) -> None:
        self.share = share
        self.index = 0
        self.headers = b""
        self.node: Node | None = None
        self.call: BackendCall | None = None
        self.is_stored = False
        self.is_confirmed = False
        self.answer: Answer | None = None


class SmallFragments:
    """One PUT of `body`."""

    def __init__(
        self, services: Services, policy: ErasurePolicy, upload: Upload, body: bytes, peers: Peers
    ) -> None:
        self.services = services
        self.policy = policy
        self.upload = upload
        self.health = services.health
        self.peers = peers
        self.quorum = upload.place.quorum
        self.is_foreign = False  # a server does not know the short form
        options, place = services.options, upload.place
        self.patience = options.post_quorum_timeout
        self.asking = Asking(
            "PUT",
            place.part,
            place.tail,
            options.conn_timeout,
            options.node_timeout,
            upload.exchange.use_replication,
        )
        self.encoder = Encoder(policy)
        self.archives = self.encoder.whole(body)
        self.etag = self.encoder.etag()
        self.nodes = place.selector.iterate_for_put(place.part, place.primaries).walk
        self.legs = [_Leg(share) for share in upload.shares]
        self.footers: dict[str, str] = {}

    def run(self) -> tuple[list[Answer], str] | None:
        """(the servers' answers, padded with 503; the ETag); None if it does not go in this way, and nothing counts. Raises HTTPException."""
        self._describe()
        try:
            self._send_all()
            self._await_stored()
            answers = [leg.answer for leg in self.legs if leg.answer is not None]
            statuses = [answer.status for answer in answers]
            environ = self.upload.exchange.environ
            if 409 in statuses or 412 in statuses and "HTTP_IF_NONE_MATCH" in environ:
                self._abandon()
                return pad(answers, len(self.legs)), self.etag
            if self.is_foreign or sum(leg.is_stored for leg in self.legs) < self.quorum:
                self._abandon()
                return None
            return self._confirm(), self.etag
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        for leg in self.legs:
            if leg.call is not None:
                leg.call.close()
                leg.call = None

    # -- what is sent ------------------------------------------------------------------------------------------------------

    def _describe(self) -> None:
        """Header blocks of all legs, and which node gets which fragment. Raises 422 for another ETag than expected."""
        exchange = self.upload.exchange
        added = footers_of_filters(exchange.environ)
        check_etag(exchange, added, self.etag)
        describing = self.encoder.describing(self.etag)
        self.footers = merged_footers(describing, added, {}) if added else describing
        common = self._common(bool(added))
        own = [
            b"%s: %d\r\nEtag: %s\r\nX-Backend-Body-Crc32: %08x\r\n" % (_INDEX, index, md5.encode(), crc)
            for index, (md5, crc) in enumerate(self.encoder.archive_sums())
        ]
        first = []
        for leg in self.legs:
            leg.node = self._next_node()
            first.append(leg.node or {"handoff_index": 0})
        indexes = fragments_for(first, self.policy.codec.total, self.policy.duplication)
        for leg, index in zip(self.legs, indexes, strict=True):
            if index is None:
                leg.node = None
            else:
                leg.index = index
                leg.headers = common + leg.share.lines + own[index]

    def _common(self, is_added: bool) -> bytes:
        """What the header blocks of all legs have in common."""
        common = self.upload.common
        if is_added or _EC in common or _OVERRIDE in common:
            # of filters, or of requests that the pipeline makes of itself; which fragment it is, nobody says but we
            common = with_footers(common, {**self.footers, EC_INDEX: ""})
            common = common.replace(b"%s: \r\n" % _INDEX, b"")
        else:
            common += as_block([f"{name}: {value}\r\n" for name, value in self.footers.items()])
        size = len(self.archives[0])
        return (
            b"%sX-Backend-Obj-Multiphase-Commit: yes\r\nX-Backend-Obj-Content-Length: %d\r\nContent-Length: %d\r\n"
            % (
                common,
                size,
                size + len(COMMIT_CONFIRMATION),
            )
        )

    def _next_node(self) -> Node | None:
        for node in self.nodes:
            if self.peers.takes(node):
                return node
            self.is_foreign = True
        return None

    def _call(self, leg: _Leg) -> BackendCall:
        assert leg.node is not None
        call = self.asking.call(leg.node, leg.headers)
        call.body = self.archives[leg.index]
        return call

    def _send_all(self) -> None:
        """Idle connections take their request at once; those to be opened are opened beside each other."""
        if self.is_foreign:
            return
        to_open = []
        for leg in self.legs:
            if leg.node is None:
                continue
            leg.call = self._call(leg)
            try:
                if not leg.call.send_idle():
                    to_open.append(leg)
            except BackendError as error:
                self.health.failed(leg.node, error, self.asking.doing)
                leg.node = self._next_node()
                to_open.append(leg)
        beside_each_other(self._open, to_open)

    def _open(self, leg: _Leg) -> None:
        """Get the leg's request to its node, or else to one of the next nodes; leg.call is None when there is none left."""
        while leg.node is not None:
            leg.call = self._call(leg)
            try:
                leg.call.send()
                return
            except BackendError as error:
                self.health.failed(leg.node, error, self.asking.doing)
            leg.node = self._next_node()
        leg.call = None

    # -- the first phase ---------------------------------------------------------------------------------------------------

    def _await_stored(self) -> None:
        """Until all have stored their fragments, or enough have and the others had their grace, or it goes another way."""
        pending = [leg for leg in self.legs if leg.call is not None]
        until = None
        stored = 0
        while pending and not self.is_foreign:
            now = clock.monotonic()
            limit = min([leg.call.deadline for leg in pending if leg.call is not None])
            if until is not None:
                if now >= until:
                    return
                limit = min(limit, until)
            ready = wait_any(_connections(pending), max(limit - now, 0))
            if not ready:
                self._drop_overdue(pending)
            for leg in [leg for leg in pending if leg.call is not None and leg.call.conn in ready]:
                self._take_first(leg)
                stored += leg.is_stored
                if leg.is_stored or leg.call is None:
                    pending.remove(leg)
            if until is None and stored >= self.quorum:
                until = clock.monotonic() + self.patience

    def _take_first(self, leg: _Leg) -> None:
        """Take what has come for the leg: it is stored, or has its answer, or its fragment is on its way to the next node."""
        assert leg.call is not None and leg.node is not None
        try:
            response = leg.call.wait_continue()
        except BackendError as error:
            self.health.failed(leg.node, error, self.asking.doing)
            self._replace(leg)
            return
        if response.status == 100:
            if response.get(COMMIT) == "yes":
                leg.is_stored = True
            else:  # of somebody who only asks for the body
                leg.call.close()
                leg.call = None
                self.is_foreign = True
        elif response.status >= 500:
            self.health.answered(leg.node, response, self.asking.doing)
            let_go(response)
            self._replace(leg)
        else:
            self._take_refusal(leg, leg.node, response)

    def _take_refusal(self, leg: _Leg, node: Node, response: BackendResponse) -> None:
        answer = read_answer(response, node, self.services.options.node_timeout)
        leg.call = None
        if answer.status == 400 and _REFUSAL in answer.body:
            self.peers.refused(node)
            self.is_foreign = True
        else:
            leg.answer = answer

    def _drop_overdue(self, pending: list[_Leg]) -> None:
        now = clock.monotonic()
        for leg in [leg for leg in pending if leg.call is not None and leg.call.deadline <= now]:
            assert leg.node is not None and leg.call is not None
            self.health.failed(leg.node, self.asking.overdue(), self.asking.doing)
            leg.call.close()
            self._replace(leg)
            if leg.call is None:
                pending.remove(leg)

    def _replace(self, leg: _Leg) -> None:
        leg.call = None
        leg.node = self._next_node()
        self._open(leg)

    # -- the second phase --------------------------------------------------------------------------------------------------

    def _confirm(self) -> list[Answer]:
        """Enough fragments are stored: from now on the write counts. The answers, padded with 503."""
        late = [leg for leg in self.legs if leg.call is not None and not leg.is_stored]
        pending = [leg for leg in self.legs if leg.is_stored and self._send_confirmation(leg)]
        collected = Answers()
        for leg in self.legs:
            if leg.answer is not None:
                collected.add(leg.answer)
        self._collect(pending, collected)
        late += pending
        collected.finish(self.patience)
        if sum(is_success(status) for status in collected.statuses) >= self.quorum:
            self._report([leg for leg in self.legs if leg.answer is None and leg not in late])
        for leg in late:
            spawn_n(self._await_late, leg, transaction())
        return pad(collected.answers, len(self.legs))

    def _send_confirmation(self, leg: _Leg) -> bool:
        assert leg.call is not None and leg.call.conn is not None and leg.node is not None
        try:
            leg.call.conn.send_bytes(COMMIT_CONFIRMATION, self.services.options.node_timeout)
        except BackendError as error:
            self.health.failed(leg.node, error, self.asking.doing)
            leg.call.close()
            leg.call = None
            return False
        leg.is_confirmed = True
        leg.call.deadline = clock.monotonic() + self.services.options.node_timeout
        return True

    def _collect(self, pending: list[_Leg], collected: Answers) -> None:
        """Take final answers until a quorum has committed and the others had their grace; who is left is late."""
        until = None
        done = 0
        while pending:
            now = clock.monotonic()
            limit = min([leg.call.deadline for leg in pending if leg.call is not None])
            if until is not None:
                limit = min(limit, until)
            if now >= limit:
                if until is not None and now >= until:
                    return
                for leg in [leg for leg in pending if leg.call is not None and leg.call.deadline <= now]:
                    pending.remove(leg)
                    self._lose(leg, self.asking.overdue())
                continue
            ready = wait_any(_connections(pending), limit - now)
            for leg in [leg for leg in pending if leg.call is not None and leg.call.conn in ready]:
                pending.remove(leg)
                done += self._take_final(leg, collected)
            if until is None and done >= self.quorum:
                until = clock.monotonic() + self.patience

    def _take_final(self, leg: _Leg, collected: Answers) -> bool:
        """Returns True if the server has committed."""
        assert leg.call is not None and leg.call.conn is not None and leg.node is not None
        try:
            response = leg.call.response(max(leg.call.deadline - clock.monotonic(), 0.001))
        except BackendError as error:
            self._lose(leg, error)
            return False
        if response.status >= 500:
            self.health.answered(leg.node, response, self.asking.doing)
        answer = leg.answer = collected.made_of(response, leg.node)
        collected.add(answer)
        return is_success(response.status)

    def _lose(self, leg: _Leg, error: BaseException) -> None:
        assert leg.node is not None
        self.health.failed(leg.node, error, self.asking.doing)
        if leg.call is not None:
            leg.call.close()
            leg.call = None

    def _await_late(self, leg: _Leg, request: Transaction) -> None:
        """The client has its answer; a fragment that is stored now still counts, and one that nobody stores is reported."""
        set_transaction(*request)
        late = Answers()
        try:
            while leg.call is not None and not leg.is_stored:
                self._take_first(leg)
            if leg.call is not None and (leg.is_confirmed or self._send_confirmation(leg)):
                self._take_final(leg, late)
            late.finish(self.patience)
            if leg.answer is None:
                self._report([leg])
        except (Exception, Timeout, GreenletExit):
            if leg.call is not None:
                leg.call.close()

    def _report(self, legs: Sequence[_Leg]) -> None:
        """Tell the listings of the object in the place of servers that were lost."""
        if legs:
            environ, tail = self.upload.exchange.environ, self.upload.place.tail
            rows = lost_rows(self.services, environ, tail, self.encoder.length, self.etag, self.footers)
            rows.report([leg.share for leg in legs])


def _connections(legs: Iterable[_Leg]) -> list[BackendConnection]:
    return [leg.call.conn for leg in legs if leg.call is not None and leg.call.conn is not None]
