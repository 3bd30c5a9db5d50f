"""Names → partitions → devices: primaries, handoffs, and the reload of ring files under a running server.

What lives here: the read side of a ring (spec ring 1.3, 3, 4). Numbers of devices and partitions make it the hottest
code of the proxy, so that everything that can be computed once per file is, and nothing here imports numpy.
"""

from __future__ import annotations

import hashlib
import logging
import os
import weakref
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, filterfalse
from struct import Struct
from typing import Any, NoReturn

from swift.core import clock
from swift.core.hashing import hash_config, hash_path
from swift.ring.errors import RingLoadError
from swift.ring.format import RingData

DEFAULT_RELOAD_TIME = 15
try:
    # a third faster than OpenSSL's for a few bytes; nothing secret is hashed
    from _md5 import md5 as _md5
except ImportError:

    def _md5(data: bytes) -> Any:
        return hashlib.md5(data, usedforsecurity=False)


_HEAD = Struct(">I").unpack_from
_PATIENCE = 1024  # entries that a pass looks at, at least, before it asks the postings
_LAST = 3  # the pass over single devices
_MAX_POSTINGS = 1 << 22  # entries (4 bytes each) kept per ring
_SHARED_HANDOFF_NODES = 8  # handoff_index below which node mappings are kept


class Node(dict):
    """A device dict plus ``index`` or ``handoff_index``; shared between callers, so it refuses changes.

    Take ``dict(node)`` for a copy of one's own.
    """

    __slots__ = ()

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("nodes of a ring are read-only; take dict(node)")

    __setitem__ = __delitem__ = __ior__ = update = pop = popitem = clear = setdefault = _refuse  # type: ignore[assignment]


class Snapshot:
    """One loaded ring file with what lookups derive from it; never changes, is replaced as a whole."""

    def __init__(self, data: RingData) -> None:
        self.data = data
        self.devs = data.devs
        self.rows = data.rows
        self.part_shift = data.part_shift
        self.partition_count = len(data.rows[0]) if data.rows else 0
        self.replica_count = data.replica_count
        self.even = len({len(row) for row in data.rows}) <= 1
        self.primary_nodes: list[dict[int, Node]] = [{} for _ in data.rows]
        self.handoff_nodes: list[dict[int, Node]] = [{} for _ in range(_SHARED_HANDOFF_NODES)]
        self.step = max(1, self.partition_count // 65536)
        self.near = 4 * self.step
        self._handoff_forms: list[dict[str, Any]] = []
        self._number_tiers()
        self._known_rare: list[set[int]] = [set() for _ in range(4)]
        self._postings: dict[tuple[int, int, int], array] = {}
        self._postings_size = 0

    def _number_tiers(self) -> None:
        """``tier_of[k][id]``: a small number for the device's region, zone or server; ``totals[k]``: how many occur."""
        self.tier_of: list[list[int]] = []
        self.tiers: list[set[int]] = []
        for depth in range(1, 4):
            numbers: dict[tuple, int] = {}
            tier_of = [-1] * len(self.devs)
            for dev_id in self.data.assigned:
                dev = self.devs[dev_id]
                assert dev is not None
                key = (dev["region"], dev["zone"], dev["ip"])[:depth]
                tier_of[dev_id] = numbers.setdefault(key, len(numbers))
            self.tier_of.append(tier_of)
            self.tiers.append(set(numbers.values()))
        self.tier_of.append(list(range(len(self.devs))))
        self.tiers.append(self.data.assigned)
        self.tier_tables = [
            (len(tiers), tier_of) for tiers, tier_of in zip(self.tiers, self.tier_of, strict=True)
        ]

    def primary_ids(self, part: int) -> list[int]:
        """Device ids of a part's rows, each once, in the order of rows (4.1)."""
        if self.even and 0 <= part < self.partition_count:
            ids = [row[part] for row in self.rows]
        else:
            ids = [row[part] for row in self.rows if len(row) > part]
        if len(set(ids)) != len(ids):
            ids = list(dict.fromkeys(ids))
        return ids

    def part_nodes(self, part: int) -> tuple[Node, ...]:
        """Primaries; empty beyond the last partition."""
        if not 0 <= part < self.partition_count:
            return ()
        caches = self.primary_nodes
        nodes = []
        for index, dev_id in enumerate(self.primary_ids(part)):
            node = caches[index].get(dev_id)
            nodes.append(node if node is not None else self._primary_node(index, dev_id))
        return tuple(nodes)

    def _primary_node(self, index: int, dev_id: int) -> Node:
        node = self.primary_nodes[index][dev_id] = Node(self.devs[dev_id] or {}, index=index)
        return node

    # ---- handoffs (4.2)

    def more_nodes(self, part: int) -> Iterator[dict[str, Any]]:
        """All handoffs of a part, in the order that every server of a cluster must agree on."""
        ids = self._handoff_ids(part)
        index = 0
        for dev_id in ids:
            node = self.handoff_nodes[index].get(dev_id)
            if node is None:
                node = self.handoff_nodes[index][dev_id] = Node(self.devs[dev_id] or {}, handoff_index=index)
            yield node
            index += 1
            if index == _SHARED_HANDOFF_NODES:
                break
        # so far down the list few are asked for: these are made for the caller alone
        if not self._handoff_forms:
            self._handoff_forms = [{**(dev or {}), "handoff_index": 0} for dev in self.devs]
        forms = self._handoff_forms
        for dev_id in ids:
            own = dict(forms[dev_id])
            own["handoff_index"] = index
            index += 1
            yield own

    def _handoff_ids(self, part: int) -> Iterator[int]:
        rows = self.rows
        if not rows:
            return
        start = _HEAD(_md5(b"%d" % part).digest())[0] >> self.part_shift
        if self.even and 0 <= part < self.partition_count:
            taken = {row[part] for row in rows}
        else:
            taken = set(self.primary_ids(part))
        for depth, (total, tier_of) in enumerate(self.tier_tables):
            if total == 1 and taken:
                continue
            seen = {tier_of[dev_id] for dev_id in taken} if depth < _LAST else taken
            if len(seen) == total:
                continue
            # nearly always the next device is found at the first part or two: no pieces for those
            near = start + self.near if self.even and start + self.near <= self.partition_count else start
            for at in range(start, near, self.step):
                for row in rows:
                    dev_id = row[at]
                    if tier_of[dev_id] not in seen:
                        yield dev_id
                        seen.add(tier_of[dev_id])
                        taken.add(dev_id)
                        if len(seen) == total:
                            break
                if len(seen) == total:
                    break
            else:
                yield from self._far(depth, start, near, seen, taken)

    def _far(self, depth: int, start: int, begin: int, seen: set[int], taken: set[int]) -> Iterator[int]:
        """The rest of one pass, from ``begin`` on."""
        total, tier_of = self.tier_tables[depth]
        missing = self.tiers[depth] - seen
        residue = start % self.step
        rare = self._known_rare[depth]
        patience = 0 if missing <= rare else max(_PATIENCE, 20 * total)
        for count, ids in self._walk(start, begin) if patience else ():
            if depth == _LAST:
                fresh = dict.fromkeys(filterfalse(taken.__contains__, ids))
                taken.update(fresh)
                yield from fresh
            else:
                for dev_id in ids:
                    if tier_of[dev_id] not in seen:
                        yield dev_id
                        seen.add(tier_of[dev_id])
                        taken.add(dev_id)
                        if len(seen) == total:
                            return
            if len(seen) == total:
                return
            patience -= count
            if patience < 0:
                missing = self.tiers[depth] - seen
                rare |= missing
                break
        else:
            if patience:
                return
        # what is still missing is rare: look it up instead of walking on
        for dev_id in self._rare(depth, missing, start, residue):
            yield dev_id
            taken.add(dev_id)

    def _walk(self, start: int, begin: int) -> Iterator[tuple[int, Iterable[int]]]:
        """Ids in the order of the walk from ``start``, without what lies before ``begin``; in pieces of growing size,
        each with the number of its entries."""
        step, parts = self.step, self.partition_count
        first = step - (parts - start) % step
        size = 4 * step
        for at, stop in ((begin, parts), (first, start)):
            while at < stop:
                end = min(at + size, stop)
                count = (end - at + step - 1) // step
                yield count * len(self.rows), self._entries(at, end, step)
                at += count * step
                size = min(size * 4, step * 1024)

    def _entries(self, at: int, end: int, step: int) -> Iterable[int]:
        """All rows' entries of parts at, at + step, … < end, part by part."""
        rows = self.rows
        if not self.even:
            short = len(rows[-1])
            if end > short > at:
                middle = at + (short - at + step - 1) // step * step
                return chain(
                    self._entries(at, short, step), self._entries(middle, end, step) if middle < end else ()
                )
            if short <= at:
                rows = rows[:-1]
        return chain.from_iterable(zip(*[row[at:end:step] for row in rows], strict=True))

    def _rare(self, depth: int, missing: set[int], start: int, residue: int) -> list[int]:
        """The first device of each missing tier, in the order of the walk; tiers that it never meets are left out."""
        unknown = [tier for tier in missing if (depth, tier, residue) not in self._postings]
        if unknown:
            self._post(depth, residue, set(unknown))
        # the walk never wraps to part 0 when start is a multiple of step, unless it begins there
        lowest = residue or (self.step if start else 0)
        hits = []
        for tier in missing:
            posting = self._postings[depth, tier, residue]
            at = bisect_left(posting, start)
            if at < len(posting):
                hits.append((0, posting[at]))
                continue
            at = bisect_left(posting, lowest)
            if at < len(posting):
                hits.append((1, posting[at]))
        hits.sort()
        tier_of = self.tier_of[depth]
        result = []
        for _, at_part in hits:
            for dev_id in self._entries(at_part, at_part + 1, 1):
                if tier_of[dev_id] in missing:
                    missing.discard(tier_of[dev_id])
                    result.append(dev_id)
        return result

    def _post(self, depth: int, residue: int, tiers: set[int]) -> None:
        """Remember at which parts of a residue class these tiers occur."""
        tier_of, step = self.tier_of[depth], self.step
        if self._postings_size > _MAX_POSTINGS:
            self._postings.clear()
            self._postings_size = 0
        found: dict[int, set[int]] = {tier: set() for tier in tiers}
        wanted = {dev_id for dev_id in self.data.assigned if tier_of[dev_id] in tiers}
        for row in self.rows:
            for index, dev_id in enumerate(row[residue::step]):
                if dev_id in wanted:
                    found[tier_of[dev_id]].add(residue + index * step)
        for tier, parts in found.items():
            self._postings[depth, tier, residue] = array("L", sorted(parts))
            self._postings_size += len(parts)


# equal files opened twice in a process (several daemons, several policies' users) share one snapshot
_snapshots: weakref.WeakValueDictionary[tuple, Snapshot] = weakref.WeakValueDictionary()


def _identity(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _load(path: str, identity: tuple) -> Snapshot:
    key = (os.path.realpath(path), identity)
    snapshot = _snapshots.get(key)
    if snapshot is None:
        snapshot = Snapshot(RingData.load(path))
        _snapshots[key] = snapshot
    return snapshot


class Ring:
    """A ring file open for service (spec ring 3).

    swift_dir: the file's path, or, with ``ring_name``, its directory. reload_time: seconds between looks at the file.
    validation_hook: called with the RingData of each new file, may raise RingLoadError to refuse it. Raises OSError,
    RingFileError or RingLoadError when the first load fails, ConfigError without a hash configuration (1.2).

    Later, a file that is missing, broken or refused is logged once and the old ring stays in use.
    """

    def __init__(
        self,
        swift_dir: str,
        ring_name: str | None = None,
        reload_time: float | None = None,
        validation_hook: Callable[[RingData], None] | None = None,
        logger: Any = None,
    ) -> None:
        self.path = os.path.join(swift_dir, f"{ring_name}.ring.gz") if ring_name else str(swift_dir)
        self.reload_time: float = DEFAULT_RELOAD_TIME if reload_time is None else reload_time
        self.logger = logger or logging.getLogger(__name__)
        self.load_failures = 0
        self._validate = validation_hook or (lambda data: None)
        hash_config()  # a ring cannot serve without one: complain at the start
        self._refused: tuple | None = None
        self._loading = False
        identity = _identity(os.stat(self.path))
        snapshot = _load(self.path, identity)
        self._validate(snapshot.data)
        self._install(snapshot, identity)

    def _install(self, snapshot: Snapshot, identity: tuple) -> None:
        self._identity = identity
        self._snapshot = snapshot
        self._deadline = clock.monotonic() + self.reload_time

    # ---- reload

    def has_changed(self) -> bool:
        """Whether the file is another one than the one in use; False while it is missing."""
        try:
            return _identity(os.stat(self.path)) != self._identity
        except OSError:
            return False

    def _current(self) -> Snapshot:
        if clock.monotonic() > self._deadline:
            self._look()
        return self._snapshot

    def _look(self) -> None:
        """Load the file if it changed; only the caller waits, others use the old ring meanwhile."""
        self._deadline = clock.monotonic() + self.reload_time
        if self._loading:
            return
        self._loading = True
        try:
            identity = None
            try:
                identity = _identity(os.stat(self.path))
                if identity == self._identity:
                    self._refused = None
                    return
                # imported here: tools that only read a ring need no green threads
                from swift.core.threads import run_in_thread

                snapshot = run_in_thread(_load, self.path, identity)
                self._validate(snapshot.data)
            except Exception as error:  # whatever may be wrong with a file, requests must not suffer from it
                self._keep_old(identity, error)
            else:
                self._refused = None
                self._install(snapshot, identity)
        finally:
            self._loading = False

    def _keep_old(self, identity: tuple | None, error: Exception) -> None:
        self.load_failures += 1
        if self._refused == (identity,):
            return
        self._refused = (identity,)
        what = "refused" if isinstance(error, RingLoadError) else "cannot be read"
        self.logger.error("Ring %s %s, the old one stays in use: %s", self.path, what, error)

    # ---- lookups

    def get_part(
        self, account: str | bytes, container: str | bytes | None = None, obj: str | bytes | None = None
    ) -> int:
        """Partition of a name (1.3). ValueError for an object without container."""
        digest = hash_path(account, container, obj, True)
        return _HEAD(digest)[0] >> self._current().part_shift

    def get_nodes(
        self, account: str | bytes, container: str | bytes | None = None, obj: str | bytes | None = None
    ) -> tuple[int, tuple[Node, ...]]:
        """(partition, primaries)."""
        snapshot = self._current()
        part = _HEAD(hash_path(account, container, obj, True))[0] >> snapshot.part_shift
        return part, snapshot.part_nodes(part)

    def get_part_nodes(self, part: int) -> tuple[Node, ...]:
        """Primaries with their ``index``; empty beyond the last partition."""
        return self._current().part_nodes(part)

    def get_more_nodes(self, part: int) -> Iterator[dict[str, Any]]:
        """Handoffs with their ``handoff_index``, lazily; an iterator stays with the ring it began on."""
        return self._current().more_nodes(part)

    # ---- figures

    @property
    def devs(self) -> list[dict[str, Any] | None]:
        return self._current().devs

    @property
    def next_part_power(self) -> int | None:
        return self._current().data.next_part_power

    @property
    def part_shift(self) -> int:
        return self._snapshot.part_shift

    @property
    def part_power(self) -> int:
        return 32 - self._snapshot.part_shift

    @property
    def version(self) -> int | None:
        return self._snapshot.data.version

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._snapshot.data.size

    @property
    def raw_size(self) -> int:
        """Bytes decompressed, modulo 2**32."""
        return self._snapshot.data.raw_size

    @property
    def md5(self) -> str:
        """Hex digest of the file in use."""
        return self._snapshot.data.md5

    @property
    def dev_id_bytes(self) -> int:
        return self._snapshot.data.dev_id_bytes

    @property
    def replica_count(self) -> float:
        return self._snapshot.replica_count

    @property
    def partition_count(self) -> int:
        return self._snapshot.partition_count

    @property
    def device_count(self) -> int:
        return sum(dev is not None for dev in self._snapshot.devs)

    @property
    def weighted_device_count(self) -> int:
        return sum(dev is not None and dev["weight"] > 0 for dev in self._snapshot.devs)

    @property
    def assigned_device_count(self) -> int:
        return len(self._snapshot.data.assigned)
