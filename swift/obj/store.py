"""What an object store is: the waist between the verbs and daemons above and a layout on disk below.

A store holds the objects of one policy on one device. Its methods are called from green threads, wait for the disk without
stalling others, and choose by themselves where the work is done; they know no HTTP and log nothing (a place takes
notes). The first implementation is `swift.obj.files`; which policy has which is said in `stores`. Never here: names of files.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from swift.core.policy import StoragePolicy
from swift.engine.space import Reserve
from swift.obj.device import Device

RECLAIM_AGE = 604800.0
COMMIT_WINDOW = 60.0

# How much of an object whoever opens it wants: its metadata; a small body too; the extent in any case.
HEAD, BODY, EXTENT = range(3)

SuffixHash = str | dict[int | None, str]
FragmentPreferences = Sequence[dict[str, Any]]


def _never_tired(began: float) -> None:
    """Goes on at once."""


class StoreOptions:
    """What an operator decides about stores.

    `preallocate`: reserve the size of a body on disk when it is known. `reserve`: the space that stays free. `sync_every`: bytes
    of a body after which they are synced. `reclaim_age`, `commit_window`: seconds. `validate_pct`: share of reads that are checked.
    `warm_bytes`: memory for what is remembered of objects that the kernel has in its caches, for all stores together; 0: none.
    `writer_process`: small writes are carried to the disks by a process of their own. `metadata_overflow`: metadata that the file
    system can't hold beside a file goes behind its body. `rest`: called after each piece of long work with when it began, before the
    next one begins. `shared`: what the stores of one kind share, by its name.
    """

    __slots__ = (
        "commit_window",
        "metadata_overflow",
        "preallocate",
        "reclaim_age",
        "reserve",
        "rest",
        "shared",
        "sync_every",
        "validate_pct",
        "warm_bytes",
        "writer_process",
    )

    def __init__(
        self,
        preallocate: bool = True,
        reserve: Reserve | None = None,
        sync_every: int = 512 << 20,
        reclaim_age: float = RECLAIM_AGE,
        commit_window: float = COMMIT_WINDOW,
        validate_pct: float = 100.0,
        warm_bytes: int = 32 << 20,
        writer_process: bool = False,
        metadata_overflow: bool = True,
        rest: Callable[[float], None] = _never_tired,
    ) -> None:
        self.preallocate = preallocate
        self.reserve = reserve or Reserve(0)
        self.sync_every = sync_every
        self.reclaim_age = reclaim_age
        self.commit_window = commit_window
        self.validate_pct = validate_pct
        self.warm_bytes = warm_bytes
        self.writer_process = writer_process
        self.metadata_overflow = metadata_overflow
        self.rest = rest
        self.shared: dict[str, Any] = {}


class Place:
    """Where one object is, or would be, in its store; made by `ObjectStore.locate` only.

    `partition`: its digits. `name_hash`: 32 hex digits; `suffix`: the last 3. `name`: `/account/container/object`, native text, or
    None to take what is there (daemons). `notes`: what was found or done that an operator should read in the log; kept
    here because disk work runs in threads of its own, where nobody may log.
    """

    __slots__ = ("name", "name_hash", "notes", "partition", "suffix")

    def __init__(self, partition: str, name_hash: str, name: str | None) -> None:
        self.partition = partition
        self.name_hash = name_hash
        self.suffix = name_hash[-3:]
        self.name = name
        self.notes: list[str] | None = None

    def note(self, text: str) -> None:
        """Add to `notes`."""
        if self.notes is None:
            self.notes = []
        self.notes.append(text)


class OpenObject:
    """An open, verified object: its metadata and the extent that holds its bytes. `close()` it.

    `fd`, `offset`, `size`: the extent; -1 when it is closed already. `body`: all the bytes, checked, if asked for and small; the
    extent is then closed. `metadata`: merged; `data_metadata`, `meta_metadata`: of the PUT and of the last POST (None without
    one). All times in internal form. `fragments`: EC: {timestamp: [indexes here]}, else None. `version`: tells this content from
    what is written later; for `ObjectStore.quarantine`. `identity`: the same for as long as the bytes can't have changed.
    `tail`: bytes of metadata behind the extent. `shown`: response headers made of the metadata, where the store has given it out before and callers have left them here.
    """

    __slots__ = (
        "body",
        "ctype_timestamp",
        "data_metadata",
        "data_timestamp",
        "durable_timestamp",
        "fd",
        "fragments",
        "identity",
        "lent",
        "meta_metadata",
        "metadata",
        "offset",
        "shown",
        "size",
        "tail",
        "timestamp",
        "version",
    )

    def __init__(self, fd: int, version: str, offset: int = 0) -> None:
        self.fd = fd
        self.offset = offset
        self.version = version
        self.size = self.tail = 0
        self.identity: tuple[int, ...] = ()
        self.body: bytes | None = None
        self.metadata: dict[str, str] = {}
        self.data_metadata: dict[str, str] = {}
        self.meta_metadata: dict[str, str] | None = None
        self.timestamp = self.data_timestamp = self.ctype_timestamp = ""
        self.durable_timestamp: str | None = None
        self.fragments: dict[str, list[int | None]] | None = None
        self.shown: list[list[tuple[str, str]]] | None = None
        self.lent = False  # a call that nobody waits for any more still has it: see Device.run_on

    @property
    def inode(self) -> int | None:
        """Of the file that holds it, if that was looked at."""
        return self.identity[1] if self.identity else None

    def close(self) -> None:
        """Give the extent back; what still reads from it keeps it until it ends. Safe to call twice."""
        if self.fd >= 0 and not self.lent:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        # whoever asked for it may have been told to stop while a thread still opened it
        self.lent = False
        self.close()


class State:
    """What is known of an object before it is changed.

    `found`: the closed object or None. `timestamp`: of the data, the tombstone or the expired object; '' for nothing.
    `metadata`: of the object, also of an expired one.
    """

    __slots__ = ("expired", "found", "metadata", "timestamp")

    def __init__(self) -> None:
        self.found: OpenObject | None = None
        self.timestamp = ""
        self.metadata: dict[str, str] = {}
        self.expired = False


class Write(NamedTuple):
    """What every write is told beside its content.

    `now`: seconds, for the expiry test of what is there. `next_part_power`: of a ring that grows: the object gets a second
    place. `fragment`: only this EC fragment counts as there; its index where the metadata (`EC_INDEX`) says none. `open_expired`: what has
    expired counts as there (POST). `is_exact`: what was decided on must still be all that is there when the file is linked, else it is
    decided again: two changes of one object at the same moment see each other.
    """

    now: float
    next_part_power: int | None = None
    fragment: int | None = None
    open_expired: bool = False
    is_exact: bool = False


class RemovalCheck(Protocol):
    """What a DELETE decides by. A plain value that can be sent, and changes nothing."""

    def __call__(self, state: State) -> bool:
        """Returns True if a tombstone is to be written."""

    def note(self, state: State) -> str:
        """What the tombstone says of the object's lock (`core.object_lock`), "" for nothing."""


class NewObject(ABC):
    """A body on its way in; nothing can see it before `finish`. Always ends with `close`."""

    @abstractmethod
    def write(self, data: bytes | memoryview) -> None:
        """Append; the buffer may be used again on return. Raises NoSpace, DeviceUnavailable, DeviceOverloaded, OSError."""

    @abstractmethod
    def look(self, check: Callable[[State], None]) -> State:
        """Have it decided once more what becomes of it. Nothing newer than what was found may be there when it counts: Refused (412).

        Raises what `check` raises, StateChanged, Collision, DeviceUnavailable, DeviceOverloaded, OSError.
        """

    @abstractmethod
    def finish(self, metadata: dict[str, str]) -> None:
        """Give it its metadata and make it durable under its name; an EC fragment is not yet *known* durable (`commit`).

        `metadata` holds X-Timestamp in internal form; the name is added. Raises NoSpace, MetadataTooLarge, XattrUnsupported,
        SameTimeConflict, LockTimeout, DeviceUnavailable, DeviceOverloaded, OSError.
        """

    @abstractmethod
    def commit(self) -> None:
        """The second phase of an EC write, after `finish`: `ObjectStore.commit` of what was finished."""

    @abstractmethod
    def close(self) -> None:
        """Let go; what was not finished is gone, at once unless the disk hangs. Safe to call twice."""


class HashedSuffixes(NamedTuple):
    """`hashed`: suffixes hashed anew. `hashes`: {suffix: value, or None where it can't be told}. `damaged`: what was moved away, for the log."""

    hashed: int
    hashes: dict[str, SuffixHash | None]
    damaged: list[str]


class Times(NamedTuple):
    """What there is of one object, as replicas compare it; internal form. Of the data or, without any, of the tombstone.

    `data`: when it was written (or deleted). `meta`, `ctype`: of the last POST and of the last change of the content type, None
    when they are the data's. `durable`: False for an EC fragment not known to be durable.
    """

    data: str
    meta: str | None = None
    ctype: str | None = None
    durable: bool = True
    deleted: bool = False


class Examination(NamedTuple):
    """What an auditor wants to know of objects.

    `read`: small ones are read to their end and proved as well, large ones left open for a `Proof`. `by_checksums`: see `Proof`.
    `tempfile_age`: seconds after which what a transfer left beside an object is removed.
    """

    read: bool
    by_checksums: bool
    tempfile_age: float


class Examined:
    """What was found at a place; there may be several for one place (EC fragments).

    `path`: of the file that holds the bytes. `found`: None unless the object is there and its metadata good; open if its bytes are still to be
    proved. `fragment`: its index, or None. `deleted`: (time, name) of a tombstone, internal form; the name may be None. `quarantined`: something
    here was damaged and has been moved away. `error`: why nothing can be said. `counts`: False for further fragments of the same object.
    """

    __slots__ = ("counts", "deleted", "error", "found", "fragment", "path", "place", "quarantined")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.path = ""
        self.found: OpenObject | None = None
        self.fragment: int | None = None
        self.deleted: tuple[str, str | None] | None = None
        self.quarantined = False
        self.error = ""
        self.counts = True


class Item(NamedTuple):
    """What lies in a store of one object, for inventories.

    `times`: of what counts, an EC fragment that is not known durable never does; None where there is no such thing. `fragments`: the
    indexes of what counts. `unfinished`: (timestamp, index) of newer fragments that are not known durable. `name`: of an object
    with such fragments, if it can be read.
    """

    name_hash: str
    times: Times | None
    fragments: tuple[int, ...] = ()
    unfinished: tuple[tuple[str, int], ...] = ()
    name: str | None = None


class SetAside(NamedTuple):
    """Something in quarantine. `entry`: its name there. `item`: what it holds of an object, None if nothing. `size`: bytes of its files.

    `fault`: why it does not prove whole, '' if it does, None if nobody looked.
    """

    entry: str
    item: Item | None
    size: int = 0
    etag: str = ""
    fault: str | None = None


class Digest(NamedTuple):
    """`value`: equal for equal suffix hashes. `suffixes`: how many there are. `hashed`: how many were hashed anew.

    `fragments`: EC: by the index of each fragment that is here, a digest of it and of what is no fragment; None: of the latter alone.
    """

    value: str
    suffixes: int
    hashed: int = 0
    damaged: tuple[str, ...] = ()
    fragments: Mapping[int | None, str] | None = None

    def of_fragment(self, index: int) -> str | None:
        """Equal for nodes of which each has its own fragments of the same objects, whatever else lies there."""
        found = self.fragments or {}
        return found.get(index, found.get(None))


class PartitionLock:
    """A lock that is held. `close` gives it back; so does being forgotten."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def close(self) -> None:
        """Safe to call twice."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class ObjectStore(ABC):
    """The objects of one policy on one device.

    Every method that touches the disk raises DeviceUnavailable (missing or hung), DeviceOverloaded (too many wait for it) and
    OSError beside what it names itself. What is found damaged is quarantined before the caller hears of it.
    """

    def __init__(self, device: Device, policy: StoragePolicy, options: StoreOptions) -> None:
        self.device = device
        self.policy = policy
        self.options = options

    @abstractmethod
    def locate(self, partition: str, name_hash: str, name: str | None) -> Place:
        """The place of an object. Touches no disk."""

    # ------------------------------------------------------------ for requests

    @abstractmethod
    def open(
        self,
        place: Place,
        want: int,
        now: float | None = None,
        open_expired: bool = False,
        frag_index: int | None = None,
        frag_prefs: FragmentPreferences | None = None,
    ) -> OpenObject:
        """The object at `place`. `want`: HEAD (the extent is closed), BODY (a small one is read and checked), EXTENT.

        `now`: seconds, for the expiry test; None: the clock. Raises NotExist (Deleted, Expired, Quarantined), Collision,
        StateChanged, XattrUnsupported.
        """

    @abstractmethod
    def put(
        self,
        place: Place,
        metadata: dict[str, str],
        body: bytes,
        check: Callable[[State], None],
        write: Write,
    ) -> State:
        """Write a whole object whose body is at hand; returns what was there before. An EC fragment is not yet known durable (`commit`).

        `check`: called with that, outside of the event loop; it raises what forbids the write. Raises as `NewObject.finish`.
        """

    @abstractmethod
    def begin(
        self,
        place: Place,
        size: int | None,
        check: Callable[[State], None],
        write: Write,
        taking: Callable[[memoryview], None],
    ) -> tuple[State, NewObject]:
        """Begin to write an object of `size` bytes (None: not known); `check` as for `put`.

        `taking`: called outside of the event loop with each piece that is written, for checksums.
        """

    @abstractmethod
    def post(
        self, place: Place, change: Callable[[OpenObject], dict[str, str]], write: Write
    ) -> tuple[OpenObject, dict[str, str]]:
        """Write new metadata: (the object as it was, what was written). `change` says what, outside of the event loop.

        Raises what `change` raises, NotExist, and as `NewObject.finish`.
        """

    @abstractmethod
    def delete(self, place: Place, timestamp: str, check: RemovalCheck, write: Write) -> tuple[State, bool]:
        """Write a tombstone if `check` says so: (what was there, what `check` said). Raises as `NewObject.finish`.

        A tombstone of the same time is no conflict: it is seen to that it is durable.
        """

    @abstractmethod
    def commit(self, place: Place, timestamp: str, fragment: int, next_part_power: int | None = None) -> None:
        """Make an EC fragment archive known durable and clean up after it (object-disk 6.2). Doing it again is no error.

        Nor is it one when something newer has taken its place. Of a replicated object nothing is left to do. Raises NotExist, NoSpace.
        """

    # ------------------------------------------------------------ for daemons

    @abstractmethod
    def partitions(self) -> list[str]:
        """The partitions that are here, in numeric order."""

    @abstractmethod
    def begin_pass(self) -> list[str]:
        """As `partitions`, at the beginning of a pass over the device: what a crash left is removed when it is old, what stands in a
        partition's place set right. Makes room for what is to come if the store has never been used.
        """

    @abstractmethod
    def lock_partition(self, partition: str) -> PartitionLock:
        """Keep others from replicating into a partition until it is given back. Waits for nothing. Raises LockTimeout.

        A partition that is not there is made, so that it can be locked.
        """

    @abstractmethod
    def drop_partition(self, partition: str) -> bool:
        """Remove what is left of a partition in which no object is left; True if it is gone. Never takes more than that."""

    @abstractmethod
    def invalidate(self, partition: str, suffixes: Iterable[str], are_durable: bool = False) -> None:
        """Others have put files into these suffixes: they are made durable, and the suffixes hashed again. Raises LockTimeout.

        `are_durable`: the files need no more than that the suffixes are hashed.
        """

    @abstractmethod
    def digests(self, partitions: Iterable[str], look_for_new: bool = False) -> list[Digest | None]:
        """For each partition a digest of all its suffix hashes, brought up to date; None where they can't be told."""

    @abstractmethod
    def verified_times(
        self, partition: str, name_hashes: Sequence[str], fragment: int | None = None
    ) -> list[Times | None]:
        """What there is of each of these objects, seen by opening it: None also for what is damaged. `fragment`: of this index only."""

    @abstractmethod
    def suffix_hashes(
        self, partition: str, recalculate: Iterable[str] = (), look_for_new: bool = False
    ) -> HashedSuffixes:
        """The suffix hashes of a partition, brought up to date (object-disk 11); reclaims what is old on the way.

        `recalculate`: suffixes to be hashed whatever is remembered. One damaged suffix takes nothing from the others.
        """

    @abstractmethod
    def hashes(
        self,
        partition: str,
        suffixes: Iterable[str] | None = None,
        fragment: int | None = None,
        only_durable: bool = False,
    ) -> Iterator[tuple[str, Times]]:
        """(name hash, its times) of the objects and tombstones in a partition (or some of its suffixes), sorted by suffix and hash.

        EC: `fragment`: only objects of which this one is here. `only_durable`: fragments that are not known to be durable don't count;
        else the newest do. Holds one suffix at a time in memory.
        """

    @abstractmethod
    def suffixes(self, partition: str) -> list[str]:
        """The suffixes that are in a partition, sorted."""

    @abstractmethod
    def inventory(self, partition: str, suffixes: Iterable[str] | None = None) -> Iterator[Item]:
        """All that is in a partition (or some of its suffixes), sorted by suffix and hash. Raises OSError where that can't be told."""

    @abstractmethod
    def set_aside(self, name_hash: str | None = None, most: int = 10_000) -> list[SetAside]:
        """What is in quarantine, or there of one object; then each is read and said whether it proves whole."""

    @abstractmethod
    def take_back(self, place: Place, entry: str) -> list[str]:
        """Bring from quarantine what proves whole and still counts; what it was. Raises Refused for what does not, saying why, LockTimeout."""

    @abstractmethod
    def walk(self, partitions: Iterable[str] | None = None) -> Generator[Place, None, None]:
        """The places of all objects and tombstones, partition by partition: the one walker of this house. Close it unless it came to its end.

        Memory is bounded whatever lies on the disk; what is added or removed meanwhile may or may not be seen.
        """

    @abstractmethod
    def changed(self, partition: str, since: float) -> Iterator[list[Place]]:
        """The places in a partition where something was written or deleted since then (seconds, of this machine's clock), or not long before.

        A list, which may be empty, after each step of the work, so that whoever asks can rest. Memory is bounded.
        """

    @abstractmethod
    def reclaim(self, partition: str) -> Iterator[int]:
        """Remove what is older than the options say and no replica needs: tombstones, metadata without an object, EC fragments that
        were never committed. Yields after each trip how many objects it concerned. Raises LockTimeout.
        """

    @abstractmethod
    def examine(self, places: Sequence[Place], wanted: Examination) -> list[Examined]:
        """Look at what is at these places, in one trip, for an auditor: the first of them, as many as there is time for; what has expired is
        left out. Marks tombstones that nobody needs any more to be reclaimed, adds metadata checksums that ancient releases did not write.

        One result for each place has `counts`, further ones are of other fragments of it. The caller closes what is open (`Device.leave`). Nothing
        that concerns one of them is raised.
        """

    @abstractmethod
    def misplaced(self, places: Sequence[Place]) -> tuple[int, int]:
        """(how many of these places belong to the names that are kept there, how many do not); nothing is changed. If it is all of them, our
        settings of hashes are not those that the device was filled with.
        """

    @abstractmethod
    def verify(self, place: Place, pace: Callable[[int], None] | None = None) -> int:
        """Read all bytes of an object, one that has expired too, and check them; the number of bytes.

        `pace`: called with the bytes of each step, to slow it down. Raises NotExist (Quarantined for what was damaged).
        """

    @abstractmethod
    def purge(self, place: Place, times: Times, fragment: int | None = None) -> bool:
        """Remove what `times` names, because it is known to be elsewhere; newer things stay. True if nothing is left.

        `fragment`: only this fragment archive; one that is not known to be durable must be older than the commit window, and stays if it
        has become durable. Data to which newer metadata was added stays, too. Removal need not survive a crash, and never takes more
        than it names.
        """

    @abstractmethod
    def quarantine(self, place: Place, reason: str, found: OpenObject | None = None) -> None:
        """Move an object away because it is damaged. `found`: what was found so; if it was replaced meanwhile nothing is moved, and anything
        newer than it stays.
        """
