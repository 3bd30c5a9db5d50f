"""Bringing copies of one object up to date, from the newest good one, by the requests with which replication does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import md5
from itertools import combinations, islice
from typing import Any, NamedTuple

from swift.cli.copy_states import NONDURABLE, TOMBSTONE, UNKNOWN, Copy, Place
from swift.cli.object_copies import CHUNK, Newest, ObjectCopies, stored
from swift.coding.fragments import FragmentError
from swift.core.object_headers import EC_ETAG, EC_INDEX, EC_LENGTH, EC_SEGMENT_SIZE
from swift.core.policy import ErasurePolicy, StoragePolicy
from swift.obj.blocks import BLOCK_CRC32
from swift.obj.ssync.sender import Options, Session, SyncError
from swift.obj.store import Times
from swift.wire.direct import DirectError, delete_object, get_object, post_object, put_object
from swift.wire.message import HeaderKeyDict

MOST_SETS = 30  # of fragments that are tried
_WITHOUT_DATA = ("X-Static-Large-Object",)  # of the data, never of a POST


class CannotRepair(Exception):
    """Why a copy can't be brought up to date."""


class _Policy(NamedTuple):
    """What a session needs of a store when nothing is sent."""

    policy: StoragePolicy


class ObjectRepair:
    """Of copies that were looked at. `tell(text)`: called with each thing that was done or could not be."""

    def __init__(self, copies: ObjectCopies, tell: Callable[[str], None]) -> None:
        self.copies = copies
        self.tell = tell
        self.options = copies.timeouts.options()

    def run(self) -> None:
        """Bring all primaries up to date that can be reached."""
        newest = self.copies.newest
        if newest is None:
            self.tell("there is no copy to repair from")
            return
        for place in self.copies.lacking:
            if any(copy.place == place and copy.state in UNKNOWN for copy in self.copies.copies):
                self.tell(f"{place}: can't be reached")
                continue
            try:
                self._bring(place, newest)
            except (CannotRepair, DirectError, SyncError) as error:
                self.tell(f"{place}: not repaired: {error}")
            else:
                self.tell(f"{place}: brought up to date")

    def _bring(self, place: Place, newest: Newest) -> None:
        if newest.deleted:
            headers = self._replicating({}, newest.timestamp)
            try:
                delete_object(place.node, *self._where, headers, **self.options)
            except DirectError as error:
                if error.http_status != 404:  # a tombstone is written also where there was nothing
                    raise
            return
        has_data = any(
            copy.place == place
            and copy.timestamp == newest.timestamp
            and copy.fragment == self.copies.fragment_of(place)
            and copy.state != TOMBSTONE
            for copy in self.copies.having(newest.timestamp)
        )
        if isinstance(self.copies.policy, ErasurePolicy):
            fragments = FragmentRepair(self, self.copies.policy, newest)
            if has_data:
                fragments.commit(place)
            else:
                fragments.rebuild(place)
        elif not has_data:
            self._copy(place, newest)
        if newest.meta:
            self._bring_meta(place, newest)

    @property
    def _where(self) -> tuple[int, str, str, str]:
        copies = self.copies
        return (copies.partition, *copies.name)

    @property
    def where(self) -> tuple[int, str, str, str]:
        """Partition and names, as the direct client takes them."""
        return self._where

    def _replicating(self, kept: dict[str, str], timestamp: str) -> dict[str, str]:
        """Headers of a write that replicates: it takes all that is kept with the object, and tells no listing."""
        headers = self.copies.headers(**{"X-Timestamp": timestamp, **kept})
        headers["X-Backend-Replication-Headers"] = " ".join([*(name.lower() for name in kept), "x-timestamp"])
        return headers

    def write(
        self,
        place: Place,
        newest: Newest,
        found: HeaderKeyDict,
        kept: dict[str, str],
        pieces: Iterator[bytes],
        length: int,
        etag: str | None,
        more: dict[str, str] | None = None,
    ) -> None:
        """PUT of data of that time. Raises DirectError."""
        headers = {**self._replicating(kept, newest.timestamp), **(more or {})}
        content_type = found.get("Content-Type")
        put_object(place.node, *self._where, pieces, length, etag, content_type, headers, **self.options)

    def _copy(self, place: Place, newest: Newest) -> None:
        sources = sorted(self.copies.having(newest.timestamp), key=lambda copy: copy.meta != newest.meta)
        last: Exception = CannotRepair("no good copy can be read")
        for source in sources:
            try:
                found, pieces = get_object(
                    source.place.node, *self._where, CHUNK, self.copies.headers(), **self.options
                )
                length, etag = int(found["Content-Length"]), (found.get("Etag") or "").strip('"')
                self.write(place, newest, found, stored(found, (BLOCK_CRC32,)), pieces, length, etag)
                return
            except DirectError as error:
                last = error
        raise last

    def _bring_meta(self, place: Place, newest: Newest) -> None:
        """The metadata of the last POST, from a copy that has it."""
        for source in self.copies.having(newest.timestamp):
            if source.meta != newest.meta:
                continue
            headers = self.copies.headers()
            if source.fragment is not None:
                headers["X-Backend-Fragment-Preferences"] = self.copies.preferring(source)
            found, pieces = get_object(source.place.node, *self._where, CHUNK, headers, **self.options)
            pieces.close()
            kept = {
                name: value
                for name, value in stored(found, _WITHOUT_DATA).items()
                if not name.lower().startswith("x-object-sysmeta-")
            }
            post_object(place.node, *self._where, self._replicating(kept, newest.meta), **self.options)
            return


class FragmentRepair:
    """Making the fragment of a node of others, and making one that is there count."""

    def __init__(self, repair: ObjectRepair, policy: ErasurePolicy, newest: Newest) -> None:
        self.repair = repair
        self.copies = repair.copies
        self.policy = policy
        self.codec = policy.codec
        self.newest = newest

    def commit(self, place: Place) -> None:
        """A peer that is offered what it has itself, and hears that it is durable, makes it so. Raises SyncError."""
        index = self.copies.fragment_of(place)
        here = [copy for copy in self.copies.having(self.newest.timestamp) if copy.place == place]
        if all(copy.state != NONDURABLE for copy in here):
            return
        timeouts = self.copies.timeouts
        session = Session(
            _Policy(self.policy),  # type: ignore[arg-type]
            place.node,
            str(self.copies.partition),
            Options(timeouts.connect, timeouts.answer, timeouts.answer),
            index,
        )
        session.run([(self.copies.name_hash, Times(self.newest.timestamp))], check_only=True)

    def rebuild(self, place: Place) -> None:
        """Raises CannotRepair, DirectError."""
        index = self.copies.fragment_of(place)
        assert index is not None
        sources = self._proven_sources()
        archives = [self._open(source) for source in sources]
        try:
            found = archives[0].headers
            kept = stored(found, (BLOCK_CRC32,))
            kept[EC_INDEX] = str(index)
            size = archives[0].segment_size
            length = self.codec.archive_size(archives[0].length, size)
            pieces = self._rebuilt(archives, index)
            more = {"X-Backend-Ssync-Frag-Index": str(index)}
            self.repair.write(place, self.newest, found, kept, pieces, length, None, more)
        finally:
            for archive in archives:
                archive.close()

    def _proven_sources(self) -> list[Copy]:
        """As many fragments as are needed, of which comes what its checksum says: what is made of them is right. Raises CannotRepair."""
        by_index: dict[int, Copy] = {}
        for copy in self.copies.having(self.newest.timestamp):
            if copy.fragment is not None:
                by_index.setdefault(copy.fragment, copy)
        needed = self.codec.data
        if len(by_index) < needed:
            raise CannotRepair(f"{len(by_index)} different fragments are left, and {needed} are needed")
        why = ""
        for some in islice(combinations(sorted(by_index), needed), MOST_SETS):
            sources = [by_index[index] for index in some]
            try:
                self._prove(sources)
                return sources
            except (CannotRepair, FragmentError, DirectError) as error:
                why = str(error)
        raise CannotRepair(f"no set of fragments gives the object: {why}")

    def _prove(self, sources: list[Copy]) -> None:
        archives: list[_Archive] = []
        try:
            archives += [self._open(source) for source in sources]
            digest = md5(usedforsecurity=False)
            for fragments in self._in_step(archives):
                digest.update(self.codec.decode(fragments))
            etag = archives[0].headers.get(EC_ETAG)
            if digest.hexdigest() != etag:
                raise CannotRepair(f"what comes of them has the checksum {digest.hexdigest()}, not {etag}")
        finally:
            for archive in archives:
                archive.close()

    def _rebuilt(self, archives: list[_Archive], index: int) -> Iterator[bytes]:
        for fragments in self._in_step(archives):
            yield self.codec.rebuild(fragments, index)

    def _in_step(self, archives: list[_Archive]) -> Iterator[list[bytes]]:
        """The fragments of each segment, checked. Raises FragmentError, DirectError, CannotRepair."""
        left, size = archives[0].length, archives[0].segment_size
        while left:
            segment = min(left, size)
            left -= segment
            length = self.codec.fragment_size(segment)
            fragments = []
            for archive in archives:
                fragment = archive.read(length)
                self.codec.check(fragment, segment)
                fragments.append(fragment)
            yield fragments

    def _open(self, source: Copy) -> _Archive:
        headers = self.copies.headers(**{"X-Backend-Fragment-Preferences": self.copies.preferring(source)})
        found, pieces = get_object(
            source.place.node, *self.repair.where, CHUNK, headers, **self.repair.options
        )
        archive = _Archive(found, pieces)
        if (
            found.get(EC_INDEX) != str(source.fragment)
            or found.get("X-Backend-Data-Timestamp") != self.newest.timestamp
        ):
            archive.close()
            raise CannotRepair(f"{source.place} gives another fragment by now")
        return archive


class _Archive:
    """A fragment archive that is being read. Raises CannotRepair for one that says nothing of its object."""

    def __init__(self, headers: HeaderKeyDict, pieces: Any) -> None:
        self.headers = headers
        self._pieces = pieces
        self._buffer = b""
        try:
            self.length = int(headers[EC_LENGTH])
            self.segment_size = int(headers[EC_SEGMENT_SIZE])
            if self.length < 0 or self.segment_size < 1:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            self.close()
            raise CannotRepair("a fragment says nothing of its object") from None

    def read(self, count: int) -> bytes:
        """Raises CannotRepair where it ends early, DirectError."""
        while len(self._buffer) < count:
            piece = next(self._pieces, None)
            if piece is None:
                raise CannotRepair("a fragment archive ends early")
            self._buffer += piece
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def close(self) -> None:
        """Break it off."""
        self._pieces.close()
