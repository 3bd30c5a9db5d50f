"""GET and HEAD: finding the node whose answer the client gets (spec proxy 10.2, 10.3).

Shared by accounts, containers and replicated objects. The way of a body to the client, and what happens when it breaks off,
is in `swift.proxy.relay`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

from swift.core import clock
from swift.core.concurrency import Empty, GreenletExit, Queue, kill, spawn
from swift.proxy.backend import Asking, beside_each_other, let_go, read_answer
from swift.proxy.backend_headers import HeaderTable
from swift.proxy.quorum import Answer, best_answer
from swift.proxy.routing import Node, NodeIterator, Place, is_handoff
from swift.proxy.services import Services
from swift.telemetry.log import Transaction, set_transaction, transaction
from swift.wire import conditional
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendError, BackendResponse, wait_any
from swift.wire.message import header_name
from swift.wire.ranges import parse_content_range

_ZERO = frozenset(("0", "0.0", "0000000000.00000"))
_TIMESTAMP_HEADERS = ("x-backend-data-timestamp", "x-backend-timestamp", "x-put-timestamp", "x-timestamp")
# None of these counts for bytes that continue an answer.
_UNCONDITIONAL: dict[str, str | None] = dict.fromkeys(
    ("X-Backend-Ignore-Range-If-Metadata-Present", *(header_name(key) or "" for key in conditional.KEYS))
)
_ALL = 1 << 30  # nodes at the same time: as many as there are
_BRIEF = 1.0  # seconds that a client who gets 404 waits longer for a node that hangs


class Source:
    """A node and its good answer, whose body is still to be read."""

    __slots__ = ("node", "response", "timestamp")

    def __init__(self, node: Node, response: BackendResponse, timestamp: str) -> None:
        self.node = node
        self.response = response
        self.timestamp = timestamp

    @property
    def age(self) -> tuple[str, str]:
        """Sorts by the time of the content, and for the same content by that of the last POST."""
        return self.timestamp, self.response.get("x-backend-timestamp") or ""


class Lookup:
    """What is looked for, where and how. Times are seconds.

    `query`: of the backend's path; `table`, `extra`: which headers of the request go along, and what replaces them;
    `newest`: ask all nodes, take the newest; `is_object`: by the rules for objects.
    """

    __slots__ = (
        "environ",
        "extra",
        "is_object",
        "newest",
        "node_timeout",
        "place",
        "query",
        "table",
        "use_replication",
    )

    def __init__(
        self,
        place: Place,
        environ: Mapping[str, Any],
        table: HeaderTable,
        node_timeout: float,
        query: str = "",
        extra: Mapping[str, str | None] | None = None,
        newest: bool = False,
        is_object: bool = False,
        use_replication: bool = False,
    ) -> None:
        self.place = place
        self.environ = environ
        self.table = table
        self.node_timeout = node_timeout
        self.query = query
        self.extra = extra
        self.newest = newest
        self.is_object = is_object
        self.use_replication = use_replication


class _Attempt:
    """One node that was asked. `thread`: the green thread that asks it, if it has one of its own."""

    __slots__ = ("call", "node", "response", "started", "thread")

    def __init__(self, node: Node, call: BackendCall) -> None:
        self.node = node
        self.call = call
        self.started = clock.monotonic()
        self.response: BackendResponse | None = None
        self.thread: Any = None


def source_timestamp(response: BackendResponse) -> str:
    """When what was answered was written: the first timestamp header that is there, in text that sorts by time."""
    for name in _TIMESTAMP_HEADERS:
        value = response.get(name)
        if value:
            return value
    return ""


class Reader:
    """One GET or HEAD on the nodes of a partition. After `find` returned None, `answers` are the ones that count: none of them is a good one."""

    __slots__ = (
        "_asking", "_begun", "_block", "_candidates", "_etag", "_found", "_is_last_resort", "_lookup", "_newest_missing", "_nodes", "_options", "_patience", "_services",
        "_spares", "_supply", "_suppressed", "_timings", "answers",
    )  # fmt: skip

    def __init__(self, services: Services, lookup: Lookup) -> None:
        place = lookup.place
        selector = place.selector
        tail = f"{place.tail}?{lookup.query}" if lookup.query else place.tail
        self._services = services
        self._lookup = lookup
        self._options = selector.options
        self._timings = selector.timings
        self._asking = Asking(
            lookup.environ["REQUEST_METHOD"],
            place.part,
            tail,
            services.options.conn_timeout,
            lookup.node_timeout,
            lookup.use_replication,
        )
        self._block = lookup.table.block(lookup.environ, services.agent, "/v1" + place.tail, lookup.extra)
        self._supply: NodeIterator = selector.iterate(place.part, place.primaries)
        self._nodes: Iterator[Node] = self._supply.walk
        self._candidates: list[Source] = []
        self._spares: list[Node] = []
        self._newest_missing = ""
        self._found: Source | None = None
        self._etag: str | None = None  # of what is continued
        self._is_last_resort = False
        self._patience: float | None = None
        self._suppressed = 0  # answers of 404
        self._begun: tuple[Node, BackendCall] | None = None  # asked already, whose answer counts first
        self.answers: list[Answer] = []

    def begin(self) -> bool:
        """Ask the first node, where there is a connection at once and only one node is asked at a time; returns True if it was asked.

        So several readers' requests are on their way before any is waited for. Then either `find` or `abandon`.
        """
        if self._lookup.newest or self._options.concurrent_gets:
            return False
        node = next(self._nodes, None)
        if node is None:
            return False
        call = self._asking.call(node, self._block)
        try:
            if call.send_idle():
                self._begun = node, call
                return True
        except BackendError as error:
            self._services.health.failed(node, error, self._asking.doing)
            return False
        self._nodes = chain((node,), self._nodes)
        return False

    def abandon(self) -> None:
        """What was begun is wanted no more."""
        if self._begun is not None:
            self._begun[1].close()
            self._begun = None

    def find(self) -> Source | None:
        """The source to answer from; None when no node has a good answer: then the best of `answers` is the answer."""
        lookup = self._lookup
        if lookup.newest:
            self._ask_wave(_ALL)
            source = self._newest_candidate()
        elif self._options.concurrent_gets:
            source = self._race(len(lookup.place.primaries))
        else:
            source = self._find_in_turn()
        if source is None:
            if self._found is not None or best_answer(self.answers) is None:
                source = self._find_among_those_left_alone()
            elif self._lookup.is_object and not self._newest_missing:
                # a 404 that no deletion proves: others may have been away when it was written
                self._patience = _BRIEF
                source = self._find_among_those_left_alone()
        if self._found is None:
            self._found = source
        return source

    def continue_from(self, first: int, last: int, node: Node | None = None) -> Source | None:
        """A source that goes on with the bytes `first`..`last` of what was found; None if there is none, or no ETag to know it by.

        `node` is asked first, then those whose answer was good or not waited for, then the others.
        """
        if self._etag is None and self._found is not None:
            self._etag = _etag_of(self._found.response)
        if not self._etag:
            return None
        self._change({**_UNCONDITIONAL, "Range": f"bytes={first}-{last}"}, node)
        found = self.find()
        if found is None:
            return None
        response = found.response
        content_range = parse_content_range(response.get("content-range"))
        if content_range is not None and content_range[:2] == (first, last):
            return found
        if response.status == 200 and first == 0 and response.content_length == last + 1:
            return found
        response.close()
        return None

    def find_whole(self, node: Node) -> Source | None:
        """As `find`, anew and without the Range; `node` is asked first."""
        self._found = None
        self._change({"Range": None}, node)
        return self.find()

    def _change(self, extra: Mapping[str, str | None], node: Node | None) -> None:
        """Before the next `find`: other headers, and `node` as the first one."""
        lookup = self._lookup
        extra = {**(lookup.extra or {}), **extra}
        self._block = lookup.table.block(
            lookup.environ, self._services.agent, "/v1" + lookup.place.tail, extra
        )
        spares, self._spares = self._spares, []
        self._nodes = chain(() if node is None else (node,), spares, self._nodes)
        self.answers = []

    def _find_in_turn(self) -> Source | None:
        """Nearly always the first node answers well, and nothing else of this class is needed."""
        begun, self._begun = self._begun, None
        nodes = self._nodes if begun is None else chain((begun[0],), self._nodes)
        for node in nodes:
            call = self._asking.call(node, self._block) if begun is None else begun[1]
            waited = begun is not None  # for its turn, maybe: that says nothing of its node
            try:
                if begun is None:
                    call.send()
                begun = None
                response = call.response()
            except BackendError as error:
                self._services.health.failed(node, error, self._asking.doing)
                continue
            if self._timings is not None and not waited:
                self._timings.record(node["ip"], clock.monotonic() - call.deadline + call.timeout)
            if self._is_enough(node, response):
                return self._candidates.pop()
            if response.status == 404:
                # It is not here: mostly it is nowhere, and all others will say the same at the same time.
                if not self._ask_wave(len(self._lookup.place.primaries) - 1):
                    self._ask_wave(_ALL)
                break
        return self._newest_candidate()

    def _find_among_those_left_alone(self) -> Source | None:
        """Nobody has a good answer, and the client would get 503, half a body or a 404: nodes that failed lately may be back."""
        self._nodes = self._supply.last_resort()
        self._is_last_resort = True
        self._ask_wave(_ALL)
        return self._newest_candidate()

    # -- asking ------------------------------------------------------------------------------------------------------------

    def _response(self, attempt: _Attempt) -> BackendResponse | None:
        try:
            response = attempt.call.response()
        except BackendError as error:
            self._services.health.failed(attempt.node, error, self._asking.doing)
            return None
        if self._timings is not None:
            self._timings.record(attempt.node["ip"], clock.monotonic() - attempt.started)
        if self._is_last_resort and response.status < 500:
            self._services.health.recovered(attempt.node)
        return response

    def _ask_wave(self, size: int) -> bool:
        """Ask the next `size` nodes at the same time; returns True if one of them is good enough."""
        running = self._start(size)
        while running:
            patience = min([attempt.call.deadline for attempt in running]) - clock.monotonic()
            conns = [attempt.call.conn for attempt in running if attempt.call.conn is not None]
            ready = wait_any(conns, max(patience, 0))
            if self._take(running, [attempt for attempt in running if attempt.call.conn in ready]):
                for attempt in running:
                    self._spares.append(attempt.node)
                    attempt.call.close()
                return True
            self._drop_overdue(running)
        return False

    def _start(self, size: int) -> list[_Attempt]:
        """Send the request to `size` nodes: where there is a connection at once, to the others beside each other."""
        running: list[_Attempt] = []
        to_open: list[_Attempt] = []
        for node in islice(self._nodes, size):
            attempt = _Attempt(node, self._asking.call(node, self._block))
            if self._patience is not None:
                attempt.call.timeout = min(attempt.call.timeout, self._patience)
            try:
                (running if attempt.call.send_idle() else to_open).append(attempt)
            except BackendError as error:
                self._services.health.failed(node, error, self._asking.doing)
        beside_each_other(self._open, to_open)
        return running + [attempt for attempt in to_open if attempt.call.conn is not None]

    def _open(self, attempt: _Attempt) -> None:
        """Get the request to the attempt's node, or else to the next one that takes it."""
        while True:
            try:
                attempt.call.send()
                return
            except BackendError as error:
                self._services.health.failed(attempt.node, error, self._asking.doing)
            node = next(self._nodes, None)
            if node is None:
                return
            attempt.node = node
            attempt.call = self._asking.call(node, self._block)

    def _take(self, running: list[_Attempt], finished: list[_Attempt]) -> bool:
        """Judge the answers that are there; returns True if one of them is enough."""
        enough = False
        for attempt in finished:
            running.remove(attempt)
            response = self._response(attempt)
            if response is not None and self._is_enough(attempt.node, response):
                enough = True
        return enough

    def _drop_overdue(self, running: list[_Attempt]) -> None:
        now = clock.monotonic()
        for attempt in [attempt for attempt in running if attempt.call.deadline <= now]:
            running.remove(attempt)
            attempt.call.close()
            self._services.health.failed(attempt.node, self._asking.overdue(), self._asking.doing)

    def _race(self, slots: int) -> Source | None:
        """Ask nodes until one is good enough: at most `slots` at a time, a further one when one disappoints or is slow.

        Each is asked in a green thread of its own, so that one that can't be connected to delays no other.
        """
        running: set[_Attempt] = set()
        finished: Queue = Queue()
        try:
            while True:
                node = next(self._nodes, None) if len(running) < slots else None
                if node is not None:
                    attempt = _Attempt(node, self._asking.call(node, self._block))
                    attempt.thread = spawn(self._run, attempt, finished, transaction())
                    running.add(attempt)
                if not running:
                    return self._newest_candidate()
                patience = (
                    self._options.concurrency_timeout if node is not None and len(running) < slots else None
                )
                try:
                    attempt = finished.get(timeout=patience)
                except Empty:
                    continue
                running.remove(attempt)
                if attempt.response is not None and self._is_enough(attempt.node, attempt.response):
                    return self._newest_candidate()
        finally:
            for attempt in running:
                self._spares.append(attempt.node)
                kill(attempt.thread)
                attempt.call.close()

    def _run(self, attempt: _Attempt, finished: Queue, request: Transaction) -> None:
        set_transaction(*request)
        try:
            attempt.call.send()
            attempt.response = self._response(attempt)
        except BackendError as error:
            self._services.health.failed(attempt.node, error, self._asking.doing)
        except GreenletExit:
            pass
        finally:
            finished.put(attempt)

    # -- judging -----------------------------------------------------------------------------------------------------------

    def _is_enough(self, node: Node, response: BackendResponse) -> bool:
        """Take the answer into account; True when no other node needs to be asked."""
        status = response.status
        is_object = self._lookup.is_object
        if status < 400 and status >= 200 or status == 416 and is_object:
            return self._is_good_enough(node, response)
        self._services.health.answered(node, response, self._asking.doing)
        answer = read_answer(response, node, self._lookup.node_timeout)
        when = response.get("x-backend-timestamp") or ""
        known = bool(when) and when not in _ZERO
        if (status == 404 or status >= 500) and is_handoff(node) and not known:
            return False
        if status == 404 and not known and not is_handoff(node):
            most = len(self._lookup.place.primaries) - 1
            if self._suppressed < min(self._options.rebalance_missing_suppression_count, most):
                self._suppressed += 1
                return False
        if status == 404 and is_object and when > self._newest_missing:
            self._newest_missing = when
        self.answers.append(answer)
        return False

    def _is_good_enough(self, node: Node, response: BackendResponse) -> bool:
        put_timestamp = response.get("x-put-timestamp")
        if put_timestamp is not None and put_timestamp in _ZERO or self._is_other_content(response):
            let_go(response)
            self.answers.append(Answer(404, "Not Found"))
            return False
        timestamp = source_timestamp(response)
        if timestamp < self._newest_missing:
            let_go(response)
            return False
        self._candidates.append(Source(node, response, timestamp))
        return not self._lookup.newest

    def _is_other_content(self, response: BackendResponse) -> bool:
        return self._etag is not None and _etag_of(response) != self._etag

    def _newest_candidate(self) -> Source | None:
        """The newest of the candidates that is not older than a deletion; the others are let go."""
        best: Source | None = None
        for source in self._candidates:
            if source.timestamp >= self._newest_missing and (best is None or source.age > best.age):
                best = source
        for source in self._candidates:
            if source is not best:
                self._spares.append(source.node)
                let_go(source.response)
        if best is None and self._candidates:
            self.answers = [
                answer for answer in self.answers if answer.status >= 400 and answer.status != 416
            ]
        self._candidates = []
        return best


def _etag_of(response: BackendResponse) -> str:
    return (response.get("etag") or "").replace('"', "")
