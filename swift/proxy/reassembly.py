"""An object made of its fragments: archives read in step, segments checked before anybody gets them (spec proxy 14.7).

Fragments carry no checksum of what they hold, so that each segment is compared with what is known of the object: checksums of its
segments, or its ETag. Where neither is known, one fragment more than needed is read, and must be what the others say. What differs is
made of other fragments, and whoever sent the bad one is asked no more; what cannot be made good ends the body. Decoding is done in a
thread. Which nodes are asked is `fragment_search`'s business, which fragments are right `fragment_votes`'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from swift.coding.fragment_votes import agreeing, first_right, says
from swift.coding.fragments import Fragment, FragmentError
from swift.core.hashing import md5
from swift.core.segments import Whole
from swift.engine.threads import Call, DeviceBusy, lane, run_in_thread
from swift.proxy.fragment_buckets import FragmentSource
from swift.proxy.relay import BodyBroken
from swift.wire.client import BackendError
from swift.wire.ranges import parse_content_range

_CHECKED = "x-backend-fragments-checked"
INLINE = 128 * 1024  # bytes of a segment that is decoded where it is

# (first segment that is wanted, indexes in use, the source that failed) → another source that begins there, or None. Whoever failed
# twice must not come again.
Replace = Callable[[int, set[int], "FragmentSource | None"], "FragmentSource | None"]
OnBroken = Callable[[FragmentSource, BaseException], None]


class _Feed:
    """One archive on its way in. `at`: the offset in the archive of the next byte; `is_checked`: by its server before it is sent."""

    __slots__ = ("at", "buffer", "is_checked", "source")

    def __init__(self, source: FragmentSource, size: int, timeout: float) -> None:
        self.source = source
        self.buffer = bytearray(size)
        response = source.response
        content_range = parse_content_range(response.get("content-range"))
        self.at = content_range[0] if content_range is not None else 0
        self.is_checked = response.get(_CHECKED) == "yes"
        response.set_timeout(timeout)

    def fragment(self, start: int, size: int) -> memoryview:
        """The bytes from `start` of the archive on; valid until the next call. Raises BackendError."""
        if start < self.at:
            raise BackendError(f"a part of an archive that begins at {self.at}, not {start}")
        while self.at < start:
            self._fill(memoryview(self.buffer)[: min(start - self.at, len(self.buffer))])
        view = memoryview(self.buffer)[:size]
        self._fill(view)
        return view

    def _fill(self, view: memoryview) -> None:
        read = self.source.response.read_into
        done = 0
        while done < len(view):
            count = read(view[done:] if done else view)
            if not count:
                raise BackendError("archive ended early")
            done += count
        self.at += done

    def close(self, is_done: bool) -> None:
        """Give the connection back if nothing more comes over it."""
        if is_done and not self.source.response.remaining:
            self.source.response.release()
        else:
            self.source.response.close()


class SegmentReader:
    """Reads the segments `first`..`last` from sources that begin with, or before, the first one's fragments.

    `timeout`: seconds for each piece. Ends with `close`.
    """

    def __init__(
        self,
        whole: Whole,
        sources: Sequence[FragmentSource],
        first: int,
        last: int,
        timeout: float,
        replace: Replace,
        on_broken: OnBroken,
    ) -> None:
        self.whole = whole
        self.first = first
        self.last = last
        self._timeout = timeout
        self._replace = replace
        self._on_broken = on_broken
        self._is_done = False
        self._size = whole.fragment_size_of(0)
        self._feeds = {source.index: _Feed(source, self._size, timeout) for source in sources}
        self._submit: Callable[..., Call] | None = None
        # one more than needed, for segments that nothing else proves right
        self._witness: _Feed | None = None
        self._has_witness = True  # False once there is none to be had

    def segments(self) -> Iterator[list[memoryview]]:
        """Each segment in pieces, checked; they are valid until the next step. Raises BodyBroken."""
        digest: Any = None
        for number in range(self.first, self.last + 1):
            pieces = self._segment(number)
            if number == self.first and self._is_to_be_believed():
                digest = md5()
            if digest is None:
                yield pieces
                continue
            taken = self._begin(_digest, digest, pieces)
            if number == self.last and taken() != self.whole.etag:
                raise BodyBroken("the object does not have its ETag")
            yield pieces
            if number < self.last:
                taken()
        self._is_done = True
        self.close()

    def _is_to_be_believed(self) -> bool:
        """True if nothing speaks for the segments of an object that is read as a whole, but its ETag: the last one is held back for that."""
        whole = self.whole
        if self.first > 0 or self.last < (whole.length - 1) // whole.segment_size or whole.can_tell(0):
            return False
        return not self._has_witness and not self._is_checked()

    def _is_checked(self) -> bool:
        """True if all that is read was checked by those who sent it."""
        return all(feed.is_checked for feed in self._feeds.values())

    def _segment(self, number: int) -> list[memoryview]:
        whole = self.whole
        fragments = self._fragments(number)
        try:
            pieces = self._decode(fragments, whole.length_of(number))
        except FragmentError as error:  # of some codes, not any fragments say what the others were
            return [memoryview(self._mended(number, fragments, whole.can_tell(number), error))]
        if whole.is_right(number, pieces):
            if whole.can_tell(number) or self._is_checked():
                return pieces
            return self._witnessed(number, fragments, pieces)
        return [memoryview(self._mended(number, fragments, True))]

    # -- reading -----------------------------------------------------------------------------------------------------------

    def _fragments(self, number: int) -> dict[int, memoryview]:
        """The fragments of a segment, by index; whoever fails or sends what is none is replaced."""
        found: dict[int, memoryview] = {}
        for index in sorted(self._feeds):
            feed: _Feed | None = self._feeds[index]
            while feed is not None:
                try:
                    fragment = self._fragment(feed, number)
                except (BackendError, FragmentError) as error:
                    feed = self._replaced(feed, number, error)
                else:
                    found[feed.source.index] = fragment
                    break
        return found

    def _fragment(self, feed: _Feed, number: int) -> memoryview:
        whole = self.whole
        fragment = feed.fragment(number * whole.fragment_size, whole.fragment_size_of(number))
        if whole.codec.check(fragment, whole.length_of(number)) != feed.source.index:
            raise FragmentError("another fragment than its archive says")
        return fragment

    def _replaced(self, feed: _Feed, number: int, error: Exception) -> _Feed:
        """Go on with another archive from a segment on. Raises BodyBroken."""
        source = feed.source
        self._on_broken(source, error)
        feed.close(False)
        other = self._replace(number, set(self._feeds), source)
        if other is None:
            raise BodyBroken(f"{len(self._feeds) - 1} fragments are not enough: {error}") from error
        del self._feeds[source.index]
        new = self._feeds[other.index] = _Feed(other, self._size, self._timeout)
        return new

    # -- decoding ----------------------------------------------------------------------------------------------------------

    def _decode(self, fragments: Mapping[int, Fragment], length: int) -> list[memoryview]:
        """Raises FragmentError."""
        codec = self.whole.codec
        if length <= INLINE or codec.pieces(fragments, length) is not None or codec.is_quick(length):
            return codec.restored(fragments, length)
        segment: list[memoryview] = self._in_lane(codec.restored, fragments, length)
        return segment

    def _in_lane(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._begin(function, *args)()

    def _begin(self, function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        """Have it called in a thread; what is returned waits for its result."""
        try:
            if self._submit is None:
                self._submit = lane()
            return self._submit(function, *args).wait
        except (OSError, DeviceBusy):  # no thread can be had
            result = function(*args)
            return lambda: result

    # -- damage ------------------------------------------------------------------------------------------------------------

    def _call_witness(self, number: int, failed: FragmentSource | None = None) -> None:
        source = self._replace(number, set(self._feeds), failed)
        self._witness = None if source is None else _Feed(source, self._size, self._timeout)
        self._has_witness = source is not None

    def _witnessed(
        self, number: int, fragments: Mapping[int, Fragment], pieces: list[memoryview]
    ) -> list[memoryview]:
        """The segment, if one more fragment is what the others say. Raises BodyBroken."""
        if self._witness is None and self._has_witness:
            self._call_witness(number)
        while self._witness is not None:
            witness = self._witness
            try:
                fragment = self._fragment(witness, number)
            except (BackendError, FragmentError) as error:
                self._on_broken(witness.source, error)
                witness.close(False)
                self._call_witness(number, witness.source)
                continue
            chosen = [bytes(one) for one in fragments.values()]
            if self._in_lane(says, self.whole.codec, chosen, witness.source.index, bytes(fragment)):
                return pieces
            index = witness.source.index
            self._feeds[index] = witness
            self._witness = None
            segment = self._mended(number, {**fragments, index: fragment}, False)
            return [memoryview(segment)]
        return pieces

    def _mended(
        self,
        number: int,
        fragments: Mapping[int, Fragment],
        is_known: bool,
        why: FragmentError | None = None,
    ) -> bytes:
        """A segment that came out wrong, made of other fragments. Raises BodyBroken.

        One more fragment is fetched at a time, as long as there are any. `is_known`: there is what tells whether a segment is right; else
        one fragment more than needed must agree. `why`: these fragments are not wrong, they are not enough.
        """
        whole = self.whole
        all_of_it = {index: bytes(fragment) for index, fragment in fragments.items()}
        wrong = set() if why is not None else set(self._feeds)
        error = why or FragmentError(f"segment {number} does not have its checksum")
        failed: FragmentSource | None = None
        while len(all_of_it) < whole.codec.total:
            extra = self._replace(number, set(all_of_it), failed)
            failed = None
            if extra is None:
                break
            feed = _Feed(extra, self._size, self._timeout)
            try:
                all_of_it[extra.index] = bytes(self._fragment(feed, number))
            except (BackendError, FragmentError) as its_error:
                self._on_broken(extra, its_error)
                feed.close(False)
                failed = extra
                continue
            self._feeds[extra.index] = feed
            if why is not None:
                try:
                    pieces = self._decode(all_of_it, whole.length_of(number))
                except FragmentError:
                    continue  # then no part of them is enough either
                if is_known and whole.is_right(number, pieces):
                    return b"".join(pieces)  # all of them go on
            if is_known:
                segment, right = run_in_thread(first_right, whole, number, all_of_it, extra.index)
            else:
                segment, right = run_in_thread(agreeing, whole.codec, whole.length_of(number), all_of_it)
            if segment is not None:
                self._keep(right, wrong, error)
                return segment
        raise BodyBroken(f"{error}, and no other fragments make it good")

    def _keep(self, right: Sequence[int], suspects: set[int], error: Exception) -> None:
        """Go on with those that made a good segment, as many as are needed."""
        needed = sorted(index for index in right if index in self._feeds)[: self.whole.codec.data]
        for index in [index for index in self._feeds if index not in needed]:
            feed = self._feeds.pop(index)
            if index in suspects and index not in right:
                self._on_broken(feed.source, error)
            feed.close(False)

    def close(self) -> None:
        """Give back the connections."""
        feeds, self._feeds = self._feeds, {}
        for feed in feeds.values():
            feed.close(self._is_done)
        witness, self._witness = self._witness, None
        if witness is not None:
            witness.close(self._is_done)


def _digest(digest: Any, pieces: Sequence[Fragment]) -> str:
    for piece in pieces:
        digest.update(piece)
    return str(digest.hexdigest())
