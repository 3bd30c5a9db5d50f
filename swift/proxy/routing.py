"""In which order the nodes of a partition are tried (spec proxy 6.1-6.3, 6.5).

What lives here: where something is kept, the order of primaries, the iterator over primaries and handoffs, and the choice between
a node's two addresses. What never does: connections, and what counts as an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, permutations
from operator import itemgetter
from typing import Any

from swift.core import clock
from swift.core.policy import StoragePolicy, quorum_size
from swift.proxy.error_limit import ErrorLimiter
from swift.proxy.options import NodeOptions
from swift.wire.message import wsgi_quote

Node = Mapping[str, Any]

# For up to four replicas the orders are known beforehand; one random number picks one.
_ORDERS: dict[int, list[Callable[[Sequence[Node]], tuple[Node, ...]]]] = {
    count: [itemgetter(*order) for order in permutations(range(count))] for count in (2, 3, 4)
}


class Timings:
    """How fast nodes answered lately, by address, in whole milliseconds; for `sorting_method = timing`."""

    def __init__(self, expiry: float, clock: Callable[[], float] = clock.monotonic) -> None:
        self._expiry = expiry
        self._clock = clock
        self._seen: dict[str, tuple[float, float]] = {}

    def record(self, ip: str, seconds: float) -> None:
        self._seen[ip] = (round(seconds, 3), self._clock() + self._expiry)

    def of(self, node: Node) -> float:
        """Seconds; -1 when nothing recent is known, so that unknown nodes get their chance."""
        seconds, expires = self._seen.get(node["ip"], (-1.0, 0.0))
        return seconds if expires > self._clock() else -1.0


def shuffled(nodes: Sequence[Node]) -> Sequence[Node]:
    """The nodes in random order, as a new sequence."""
    orders = _ORDERS.get(len(nodes))
    if orders is not None:
        return orders[int(clock.random() * len(orders))](nodes)
    mixed = list(nodes)
    clock.shuffle(mixed)
    return mixed


def in_order(nodes: Sequence[Node], rank: Callable[[Node], float] | None) -> Sequence[Node]:
    """The nodes shuffled, then sorted by `rank` (None: just shuffled)."""
    mixed = shuffled(nodes)
    return mixed if rank is None else sorted(mixed, key=rank)


def local_first(
    primaries: Sequence[Node],
    handoffs: Callable[[], Iterable[Node]],
    is_local: Callable[[Node], bool],
    count: int,
) -> tuple[list[Node], Iterator[Node]]:
    """Write affinity: (as many nodes as there are primaries, local ones first; all others, lazily) (spec 6.3)."""
    preferred = list(islice(filter(is_local, chain(primaries, handoffs())), count))
    chosen = {node["id"] for node in preferred}
    others = (node for node in chain(primaries, handoffs()) if node["id"] not in chosen)
    in_sequence = chain(preferred, others)
    return list(islice(in_sequence, len(primaries))), in_sequence


def local_handoffs(handoffs: Iterable[Node], is_local: Callable[[Node], bool], count: int) -> list[Node]:
    """The first `count` local handoffs."""
    return list(islice(filter(is_local, handoffs), count))


class NodeIterator:
    """Nodes worth trying, at most `budget` that were not found to be failing while they were tried (spec 6.1).

    May be shared between green threads. `on_handoff(n)` is called before the n-th node that is not of `first`. When fewer
    than a quorum of `first` are left, those of them that failed lately follow after all: they may be back, and without them the
    answer would be no, or even "there is no such object".
    """

    __slots__ = ("_limiter", "_resting", "walk")

    def __init__(
        self,
        limiter: ErrorLimiter,
        first: Sequence[Node],
        others: Callable[[], Iterable[Node]],
        budget: int,
        on_handoff: Callable[[int], None] | None = None,
    ) -> None:
        self._limiter = limiter
        self._resting: list[Node] = []
        # Iterating over this is iterating over the object, and costs less.
        self.walk = _walk(limiter, first, others, budget, on_handoff, self._resting)

    def __iter__(self) -> Iterator[Node]:
        return self.walk

    def __next__(self) -> Node:
        return next(self.walk)

    def last_resort(self) -> Iterator[Node]:
        """For those who have asked all others and would have to give up: nodes left alone for past errors, each once."""
        resting = self._resting
        while resting:
            yield resting.pop(0)

    def second_chance(self) -> Node | None:
        """When all others have something to do, for a copy that nobody would take: the next that was left alone and may be tried."""
        resting = self._resting
        for index, node in enumerate(resting):
            if self._limiter.may_try(node):
                del resting[index]
                return node
        return None


def _walk(
    limiter: ErrorLimiter,
    first: Sequence[Node],
    others: Callable[[], Iterable[Node]],
    budget: int,
    on_handoff: Callable[[int], None] | None,
    resting: list[Node],
) -> Iterator[Node]:
    is_limited = limiter.is_limited
    most = len(first) + budget
    offered = 0
    for node in first:
        if is_limited(node):
            resting.append(node)
            continue
        offered += 1
        yield node
        if not is_limited(node):
            budget -= 1
            if budget <= 0:
                return
    resting_first = len(resting)
    used = 0
    for node in others():
        if is_limited(node):
            if len(resting) < most:
                resting.append(node)
            continue
        offered += 1
        used += 1
        if on_handoff is not None:
            on_handoff(used)
        yield node
        if not is_limited(node):
            budget -= 1
            if budget <= 0:
                return
    if offered < quorum_size(len(first)):
        for _ in range(resting_first):
            if resting:
                yield resting.pop(0)


class NodeSelector:
    """The nodes of one kind of thing (accounts, containers, or the objects of a policy) in the order that its options ask for.

    `on_excess(kind, n, primaries)` is called for the n-th handoff beyond those that a request normally uses.
    """

    def __init__(
        self,
        kind: str,
        ring: Any,
        options: NodeOptions,
        node_count: Callable[[int], int],
        limiter: ErrorLimiter,
        timings: Timings,
        on_excess: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.kind = kind
        self.ring = ring
        self.options = options
        self.node_count = node_count
        self.limiter = limiter
        self.timings = timings if options.sorting_method == "timing" else None
        self.on_excess = on_excess
        self._rank: Callable[[Node], float] | None = None
        # (number of nodes to begin with, of primaries) → budget and watch of the iterators
        self._forms: dict[tuple[int, int], tuple[int, Callable[[int], None] | None]] = {}
        if options.sorting_method == "timing":
            self._rank = timings.of
        elif options.sorting_method == "affinity":
            self._rank = options.read_affinity

    def lookup(
        self, account: str, container: str | None = None, obj: str | None = None
    ) -> tuple[int, Sequence[Node]]:
        """(partition, primaries) of something named by WSGI strings."""
        if f"{account}{container}{obj}".isascii():
            return self.ring.get_nodes(account, container, obj)
        names = [None if name is None else name.encode("latin-1") for name in (account, container, obj)]
        return self.ring.get_nodes(*names)

    def place(
        self,
        account: str,
        container: str | None = None,
        obj: str | None = None,
        policy: StoragePolicy | None = None,
    ) -> Place:
        """Where something is kept. Names are WSGI strings; `policy`: that of the object."""
        path = f"/{account}"
        if container is not None:
            path = f"{path}/{container}" if obj is None else f"{path}/{container}/{obj}"
        if path.isascii():
            part, primaries = self.ring.get_nodes(account, container, obj)
        else:
            part, primaries = self.lookup(account, container, obj)
        return Place(self, part, primaries, wsgi_quote(path), policy)

    def iterate(self, part: int, primaries: Sequence[Node]) -> NodeIterator:
        """Primaries, then handoffs, for reads and most writes."""
        ring = self.ring
        return self._iterate(primaries, lambda: ring.get_more_nodes(part), len(primaries))

    def iterate_fragments(
        self, part: int, primaries: Sequence[Node], fragments: int, data: int
    ) -> NodeIterator:
        """As `iterate`, such that the first ones hold different fragments, and of those the ones that need least work first.

        `fragments`: how many different ones there are; the first `data` of them hold the object as it is.
        """
        ring, rank = self.ring, self._rank
        ordered = primaries
        if rank is not None or len(primaries) > fragments:
            seen: dict[int, int] = {}
            keyed: list[tuple[Any, ...]] = []
            for node in in_order(primaries, rank):
                index = node["index"] % fragments
                turn = seen[index] = seen.get(index, 0) + 1
                keyed.append((rank(node) if rank is not None else 0, turn, index >= data, len(keyed), node))
            ordered = [item[-1] for item in sorted(keyed)]
        return self._iterate(ordered, lambda: ring.get_more_nodes(part), len(primaries), True)

    def iterate_for_put(self, part: int, primaries: Sequence[Node]) -> NodeIterator:
        """As `iterate`, with local nodes first where write affinity is set."""
        is_local = self.options.write_affinity
        if is_local is None:
            return self.iterate(part, primaries)
        ring = self.ring
        count = self.options.write_affinity_node_count(len(primaries))
        first, others = local_first(primaries, lambda: ring.get_more_nodes(part), is_local, count)
        return self._iterate(first, lambda: others, len(primaries))

    def iterate_for_delete(self, part: int, primaries: Sequence[Node]) -> tuple[NodeIterator, int]:
        """(nodes, number of requests): with write affinity, the local handoffs that may hold a copy are asked, too."""
        is_local = self.options.write_affinity
        if is_local is None:
            return self.iterate(part, primaries), len(primaries)
        count = self.options.write_affinity_handoff_delete_count
        if count is None:
            count = len(primaries) - sum(map(is_local, primaries))
        ring = self.ring
        extra = local_handoffs(ring.get_more_nodes(part), is_local, count)
        chosen = {node["id"] for node in extra}
        first = [*primaries, *extra]
        others = (node for node in ring.get_more_nodes(part) if node["id"] not in chosen)
        return self._iterate(first, lambda: others, len(primaries)), len(first)

    def _iterate(
        self,
        first: Sequence[Node],
        others: Callable[[], Iterable[Node]],
        primaries: int,
        is_ordered: bool = False,
    ) -> NodeIterator:
        size = len(first)
        form = self._forms.get((size, primaries))
        if form is None:
            budget = self.node_count(primaries) + size - primaries
            watch = self.on_excess and self._excess_watch(budget - size, primaries, self.on_excess)
            form = self._forms[size, primaries] = budget, watch
        budget, on_handoff = form
        ordered = first if is_ordered else in_order(first, self._rank)
        return NodeIterator(self.limiter, ordered, others, budget, on_handoff)

    def _excess_watch(
        self, allowed: int, primaries: int, tell: Callable[[str, int, int], None]
    ) -> Callable[[int], None]:
        def on_handoff(used: int) -> None:
            if used > allowed:
                tell(self.kind, used - allowed, primaries)

        return on_handoff


class Place:
    """Where an account, container or object (of `policy`) is kept. `tail`: quoted path after the partition."""

    __slots__ = ("_policy", "_quorum", "part", "primaries", "selector", "tail")

    def __init__(
        self,
        selector: NodeSelector,
        part: int,
        primaries: Sequence[Node],
        tail: str,
        policy: StoragePolicy | None,
    ) -> None:
        self.selector = selector
        self.part = part
        self.primaries = primaries
        self.tail = tail
        self._policy = policy
        self._quorum: int | None = None

    @property
    def quorum(self) -> int:
        """How many of the `primaries` must acknowledge that it is made there."""
        if self._quorum is None:
            count = len(self.primaries)
            self._quorum = quorum_size(count) if self._policy is None else self._policy.quorum(count)
        return self._quorum

    def nodes(self) -> NodeIterator:
        """Primaries, then handoffs, in the order in which they are to be asked."""
        return self.selector.iterate(self.part, self.primaries)


def is_handoff(node: Node) -> bool:
    """Return True for a node that is not among the primaries of the partition that it was taken for."""
    return "handoff_index" in node


def address(node: Node, use_replication: bool) -> tuple[str, int]:
    """(ip, port) under which to talk to the node (spec 6.5)."""
    if use_replication:
        return node["replication_ip"], node["replication_port"]
    return node["ip"], node["port"]
