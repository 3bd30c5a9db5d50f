"""Names → partitions → devices, and the reload of ring files under a running server.

What lives here: the read side of a ring (spec ring 1.3, 3, 4.1); the order of handoffs is in `handoffs`. Numbers of devices and
partitions make it the hottest code of the proxy, so that everything that can be computed once per file is, and nothing here imports numpy.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Any, NoReturn

from swift.core import clock
from swift.core.hashing import hash_config, hash_path
from swift.ring.errors import RingLoadError
from swift.ring.format import RingData
from swift.ring.handoffs import Handoffs

DEFAULT_RELOAD_TIME = 15
_MOST_HEADS = 4096  # of accounts and containers
_MOST_PARTS = 8192  # whose nodes are kept: a tuple each
_LONGEST_NAME = 512
_HEAD = Struct(">I").unpack_from
_SHARED_HANDOFF_NODES = 8  # handoff_index below which node mappings are kept


class Node(dict):
    """A device dict plus ``index`` or ``handoff_index``; shared between callers, so it refuses changes.

    Take ``dict(node)`` for a copy of one's own.
    """

    __slots__ = ()

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("nodes of a ring are read-only; take dict(node)")

    __setitem__ = __delitem__ = __ior__ = update = pop = popitem = clear = setdefault = _refuse  # type: ignore[assignment]


class LoadedRing:
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
        self._part_nodes: dict[int, tuple[Node, ...]] = {}  # of the parts that were asked for lately
        self.handoff_nodes: list[dict[int, Node]] = [{} for _ in range(_SHARED_HANDOFF_NODES)]
        self._handoff_forms: list[dict[str, Any]] = []
        self._handoffs = Handoffs(data)

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
        known = self._part_nodes.get(part)
        if known is not None:
            return known
        if not 0 <= part < self.partition_count:
            return ()
        nodes = self._nodes_of(part)
        if len(self._part_nodes) >= _MOST_PARTS:
            self._part_nodes.clear()
        self._part_nodes[part] = nodes
        return nodes

    def _nodes_of(self, part: int) -> tuple[Node, ...]:
        caches = self.primary_nodes
        ids = self.primary_ids(part)
        try:
            return tuple([cache[dev_id] for cache, dev_id in zip(caches, ids)])  # noqa: B905  ids may be fewer
        except KeyError:
            return tuple(
                [
                    caches[index].get(dev_id) or self._primary_node(index, dev_id)
                    for index, dev_id in enumerate(ids)
                ]
            )

    def _primary_node(self, index: int, dev_id: int) -> Node:
        node = self.primary_nodes[index][dev_id] = Node(self.devs[dev_id] or {}, index=index)
        return node

    # ---- handoffs (4.2)

    def more_nodes(self, part: int) -> Iterator[dict[str, Any]]:
        """All handoffs of a part, in the order that every server of a cluster must agree on."""
        if self.even and 0 <= part < self.partition_count:
            primaries = {row[part] for row in self.rows}
        else:
            primaries = set(self.primary_ids(part))
        ids = self._handoffs.ids(part, primaries)
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


# equal files opened twice in a process (several daemons, several policies' users) share one
_loaded_rings: weakref.WeakValueDictionary[tuple, LoadedRing] = weakref.WeakValueDictionary()


def _identity(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _load(path: str, identity: tuple) -> LoadedRing:
    key = (os.path.realpath(path), identity)
    loaded = _loaded_rings.get(key)
    if loaded is None:
        loaded = LoadedRing(RingData.load(path))
        _loaded_rings[key] = loaded
    return loaded


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
        # (account, container or None) → the number that its partition is made of
        self._heads: dict[tuple[str | bytes, str | bytes | None], int] = {}
        identity = _identity(os.stat(self.path))
        loaded = _load(self.path, identity)
        self._validate(loaded.data)
        self._install(loaded, identity)

    def _install(self, loaded: LoadedRing, identity: tuple) -> None:
        self._identity = identity
        self._loaded = loaded
        self._deadline = clock.monotonic() + self.reload_time

    # ---- reload

    def has_changed(self) -> bool:
        """Returns True if another file stands at the path than the one in use; False while there is none."""
        try:
            return _identity(os.stat(self.path)) != self._identity
        except OSError:
            return False

    def _current(self) -> LoadedRing:
        if clock.monotonic() > self._deadline:
            self._look()
        return self._loaded

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
                from swift.engine.threads import run_in_thread

                loaded = run_in_thread(_load, self.path, identity)
                self._validate(loaded.data)
            except Exception as error:  # whatever may be wrong with a file, requests must not suffer from it
                self._keep_old(identity, error)
            else:
                self._refused = None
                self._install(loaded, identity)
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
        loaded = self._loaded if clock.monotonic() <= self._deadline else self._current()
        if obj:
            head = _HEAD(hash_path(account, container, obj, True))[0]
        else:
            # The same few accounts and containers again and again.
            known = self._heads.get((account, container))
            head = self._head_of(account, container) if known is None else known
        part = head >> loaded.part_shift
        return part, loaded.part_nodes(part)

    def _head_of(self, account: str | bytes, container: str | bytes | None) -> int:
        head: int = _HEAD(hash_path(account, container, None, True))[0]
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        if len(account) + len(container or "") <= _LONGEST_NAME:
            self._heads[account, container] = head
        return head

    def get_part_nodes(self, part: int) -> tuple[Node, ...]:
        """Primaries with their ``index``; empty beyond the last partition."""
        return self._current().part_nodes(part)

    def get_more_nodes(self, part: int) -> Iterator[dict[str, Any]]:
        """Handoffs with their ``handoff_index``, lazily; an iterator stays with the ring it began on."""
        return self._current().more_nodes(part)

    # ---- figures

    def parts_by_device(self) -> dict[int, int]:
        """How many parts each device has, all replicas counted. Looks at the whole table: for a thread."""
        found: Counter[int] = Counter()
        for row in self._loaded.rows:
            found.update(row)
        return dict(found)

    @property
    def devs(self) -> list[dict[str, Any] | None]:
        return self._current().devs

    @property
    def next_part_power(self) -> int | None:
        return self._current().data.next_part_power

    @property
    def part_shift(self) -> int:
        return self._loaded.part_shift

    @property
    def part_power(self) -> int:
        return 32 - self._loaded.part_shift

    @property
    def version(self) -> int | None:
        return self._loaded.data.version

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._loaded.data.size

    @property
    def raw_size(self) -> int:
        """Bytes decompressed, modulo 2**32."""
        return self._loaded.data.raw_size

    @property
    def md5(self) -> str:
        """Hex digest of the file in use."""
        return self._loaded.data.md5

    @property
    def dev_id_bytes(self) -> int:
        return self._loaded.data.dev_id_bytes

    @property
    def replica_count(self) -> float:
        return self._loaded.replica_count

    @property
    def partition_count(self) -> int:
        return self._loaded.partition_count

    @property
    def device_count(self) -> int:
        return sum(dev is not None for dev in self._loaded.devs)

    @property
    def weighted_device_count(self) -> int:
        return sum(dev is not None and dev["weight"] > 0 for dev in self._loaded.devs)

    @property
    def assigned_device_count(self) -> int:
        return len(self._loaded.data.assigned)
