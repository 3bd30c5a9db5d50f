"""A fragment archive made of others (object-disk 19.3): each fragment is proved right before it leaves.

Fragments carry no checksum of what they hold, and that they are as they were written does not say that they were right then. So a segment
counts only if it has its checksum (that kept with the object, or the ETag of an object of one segment), or if one fragment more than is
needed says the same. What can be proved by neither is compared with the ETag of the whole object before the last fragment leaves.
Which nodes are asked is `gathering`'s business, which fragments are right `coding.fragment_votes`'.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, islice
from typing import Any, NamedTuple

from swift.coding.fragment_votes import MAX_TRIES, agreeing
from swift.coding.fragments import HEADER, Codec, FragmentError
from swift.core.hashing import md5
from swift.core.segments import Whole
from swift.engine.fault_points import fault_point
from swift.engine.threads import Call, DeviceBusy, lane, run_in_thread
from swift.obj.checks import CheckedReader
from swift.obj.reconstruction.gathering import Archive, Gathering
from swift.obj.ssync.sender import NothingToSend
from swift.obj.store import ObjectStore, OpenObject, Place
from swift.wire.client import BackendError

INLINE = 128 * 1024  # bytes of a segment that is worked on where it is
AHEAD = 4 << 20  # bytes of segments that are read before the first of them is done
_MOST_AHEAD = 8  # segments


class OwnArchive:
    """The fragments with one index, in order, as they are on this disk; checked. Raises as `CheckedReader`."""

    def __init__(self, store: ObjectStore, place: Place, found: OpenObject, index: int) -> None:
        self.index = index
        self._pieces = (
            iter([memoryview(found.body)])
            if found.body is not None
            else (view for _, view in CheckedReader(store, place, found).pieces())
        )
        self._rest = memoryview(b"")

    def fragment(self, size: int) -> bytes:
        """The next one. Raises Quarantined, BackendError."""
        parts = []
        while size:
            if not len(self._rest):
                piece = next(self._pieces, None)
                if piece is None:
                    raise BackendError("our own archive ended early")
                self._rest = piece
            part = self._rest[:size]
            self._rest = self._rest[len(part) :]
            parts.append(bytes(part))
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Nothing is left open: the object is its opener's."""


class Own(NamedTuple):
    """What this device has of the object, and how it is read."""

    store: ObjectStore
    place: Place
    found: OpenObject
    fragment: int  # its index


Source = OwnArchive | Archive


class Rebuilding:
    """One archive in the making: the fragments with the index that `gathering` leaves out."""

    def __init__(self, whole: Whole, gathering: Gathering, own: Own) -> None:
        self.whole = whole
        self.gathering = gathering
        self.own: Own | None = own
        self.target = gathering.target
        self.segments = -(-whole.length // whole.segment_size)
        self._digest: Any = None
        self._submit: Callable[..., Call] | None = None
        self._opened: list[Source] | None = None

    def open(self) -> None:
        """Find enough archives to begin with. Raises NothingToSend."""
        self._opened = self._sources(0)

    def pieces(self) -> Iterator[bytes]:
        """Each fragment, proved. Raises NothingToSend, Quarantined."""
        number = 0
        while number < self.segments:
            sources = self._opened or self._sources(number)
            self._opened = None
            wrong = False
            try:
                for fragment in self._run(sources, number):
                    if fragment is None:
                        wrong = True
                        break
                    fault_point("rebuild:made")
                    yield fragment
                    number += 1
            finally:
                for source in sources:
                    source.close()
            if wrong:
                yield self._mended(number)
                number += 1

    # ------------------------------------------------------------ sources

    def _sources(self, number: int) -> list[Source]:
        """Enough of them, from a segment on. Raises NothingToSend."""
        whole = self.whole
        needed = whole.codec.data
        in_use: set[int] = set()
        found: list[Source] = []
        if self.own is not None:
            found.append(self._own_from(self.own, number))
            in_use.add(self.own.fragment)
        start = number * whole.fragment_size
        # of most codes any fragments will do, if they are enough
        wanted = whole.codec.total if whole.codec.ec_type.startswith("flat_xor") else needed
        found += self.gathering.take(wanted - len(found), in_use, start)
        if len(found) < needed:
            for source in found:
                source.close()
            raise NothingToSend(f"{len(found)} of the {needed} fragments that are needed to make another")
        if not whole.can_tell(self.segments - 1):
            if len(found) == needed:
                found += self.gathering.take(1, in_use, start)
            if len(found) == needed:
                self._begin_digest(number)
        return found

    def _own_from(self, own: Own, number: int) -> OwnArchive:
        archive = OwnArchive(own.store, own.place, own.found, own.fragment)
        for passed in range(number):
            archive.fragment(self.whole.fragment_size_of(passed))
        return archive

    def _begin_digest(self, number: int) -> None:
        """There is no witness to be had: all that is left is the ETag of the whole."""
        if self._digest is None:
            if number:
                raise NothingToSend("nothing proves what the fragments say")
            self._digest = md5()

    # ------------------------------------------------------------ segments

    def _run(self, sources: list[Source], first: int) -> Iterator[bytes | None]:
        """The fragments from a segment on; None for one that could not be proved, and then no more. Ends early where a source does."""
        whole = self.whole
        most = 1 if self._digest is not None else max(1, min(_MOST_AHEAD, AHEAD // whole.segment_size))
        ahead: deque[Callable[[], bytes | None]] = deque()
        for number in range(first, self.segments):
            fragments = self._read(sources, number)
            if fragments is None:
                break
            ahead.append(self._begin(number, fragments))
            if len(ahead) >= most:
                fragment = ahead.popleft()()
                yield fragment
                if fragment is None:
                    return
        while ahead:
            fragment = ahead.popleft()()
            yield fragment
            if fragment is None:
                return

    def _read(self, sources: list[Source], number: int) -> dict[int, bytes] | None:
        """The fragments of a segment; None if a source broke off, or sent what is none. Raises Quarantined."""
        found = {}
        for source in sources:
            fragment = self._fragment(source, number)
            if fragment is None:
                return None
            found[source.index] = fragment
        return found

    def _fragment(self, source: Source, number: int) -> bytes | None:
        whole = self.whole
        try:
            fragment = source.fragment(whole.fragment_size_of(number))
            if whole.codec.check(fragment, whole.length_of(number)) != source.index:
                raise FragmentError("another fragment than its archive says")
        except BackendError as error:
            self._failed(source, error, isinstance(source, OwnArchive))
            return None
        except FragmentError as error:
            self._failed(source, error, True)
            return None
        return fragment

    def _failed(self, source: Source, error: Exception, is_wrong: bool) -> None:
        gathering = self.gathering
        name = gathering.wanted.name
        if isinstance(source, Archive):
            gathering.work.logger.error("%s: %s: %s", name, source, error)
            if is_wrong:
                gathering.distrust(source.node)
            else:
                gathering.failed(source.node)
        else:
            gathering.work.logger.error("%s: our own fragment #%d: %s", name, source.index, error)
            self.own = None

    # ------------------------------------------------------------ proof

    def _begin(self, number: int, fragments: Mapping[int, bytes]) -> Callable[[], bytes | None]:
        """Begin to make the fragment of a segment; what is returned waits for it. None: it can't be proved."""
        args = self.whole, number, fragments, self.target, self._digest
        if self.whole.length_of(number) > INLINE:
            try:
                if self._submit is None:
                    self._submit = lane()
                return self._submit(_made, *args).wait
            except (OSError, DeviceBusy):  # no thread can be had
                pass
        made = _made(*args)
        return lambda: made

    def _mended(self, number: int) -> bytes:
        """The fragment of a segment that came out wrong, made of others. Raises NothingToSend, Quarantined."""
        whole, gathering = self.whole, self.gathering
        in_use: set[int] = set()
        sources: list[Source] = []
        if self.own is not None:
            sources.append(self._own_from(self.own, number))
            in_use.add(self.own.fragment)
        sources += gathering.take(whole.codec.total, in_use, number * whole.fragment_size)
        fragments: dict[int, bytes] = {}
        for source in sources:
            fragment = self._fragment(source, number)
            source.close()
            if fragment is not None:
                fragments[source.index] = fragment
        segment = run_in_thread(_right, whole, number, fragments)
        if segment is None:
            raise NothingToSend(f"segment {number} can't be made of the {len(fragments)} fragments there are")
        made = run_in_thread(whole.codec.encode, segment)
        for source in sources:
            fragment = fragments.get(source.index)
            if fragment is not None and fragment[HEADER:] != made[source.index][HEADER:]:
                self._failed(source, FragmentError(f"wrong content in segment {number}"), True)
        if self._digest is not None:
            self._digest.update(segment)
        return bytes(made[self.target])


def _made(
    whole: Whole,
    number: int,
    fragments: Mapping[int, bytes],
    target: int,
    digest: Any,
) -> bytes | None:
    """The fragment `target` of a segment; None if it is not proved right. `digest`: of the segments so far, where it is all there is."""
    codec, length = whole.codec, whole.length_of(number)
    try:
        pieces = codec.restored(fragments, length)
    except FragmentError:
        return None
    if not whole.is_right(number, pieces):
        return None
    if digest is not None:
        for piece in pieces:
            digest.update(piece)
        if (number + 1) * whole.segment_size >= whole.length and digest.hexdigest() != whole.etag:
            return None
    elif not whole.can_tell(number):
        return _witnessed(codec, b"".join(pieces), fragments, target)
    size = len(next(iter(fragments.values()))) - HEADER
    if len(fragments) == codec.data and size * codec.data == length:
        # they hold as much as the segment, and nothing else: as it is right, so are they
        return codec.rebuild(list(fragments.values()), target)
    return _of_segment(codec, b"".join(pieces), target)


def _witnessed(codec: Codec, segment: bytes, fragments: Mapping[int, bytes], target: int) -> bytes | None:
    """The fragment, if all of those that the segment was made of, and one more, are what it makes of them."""
    made = codec.encode(segment)
    if len(fragments) > codec.data and all(
        made[index][HEADER:] == fragment[HEADER:] for index, fragment in fragments.items()
    ):
        return made[target]
    return None


def _of_segment(codec: Codec, segment: bytes, target: int) -> bytes:
    return codec.encode(segment)[target]


def _right(whole: Whole, number: int, fragments: Mapping[int, bytes]) -> bytes | None:
    """The segment; None if it can't be told which of the fragments are right."""
    if not whole.can_tell(number):
        return agreeing(whole.codec, whole.length_of(number), fragments)[0]
    indexes = sorted(fragments)
    sets = (
        chosen
        for count in range(len(indexes), whole.codec.data - 1, -1)
        for chosen in combinations(indexes, count)
    )
    for chosen in islice(sets, MAX_TRIES):
        try:
            segment = whole.codec.decode([fragments[index] for index in chosen])
        except FragmentError:
            continue
        if whole.is_right(number, [segment]):
            return segment
    return None
