"""Erasure coding of segments: what a fragment is, how segments become fragments, and fragments segments again (object-disk 8).

The one user of pyeclib. Its library ends the process when it is handed anything but whole fragments, and believes whatever their
payload says: so `check` comes first, and whoever serves what was decoded compares it with a checksum of the whole. It also keeps the
interpreter's lock; what is large is computed past it, by what has been learned of it (`learned`).
Nothing here waits or starts threads; the work on a large segment takes milliseconds, and its caller decides where it is done.
What never lives here: segments of an object as a whole, nodes, files.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple

from swift.coding.learned import COVERED, HEADER, SIZES, Learned, Parts, is_fit
from swift.coding.linear_code import NotEnough

_HEAD = Struct("<IIIQB32xBBIIII")  # up to and with the checksum of the header
_MAGIC = 0x0B0C5ECC
_QUICK = 2 << 20  # bytes of a segment

Fragment = bytes | bytearray | memoryview


class FragmentError(Exception):
    """Not a fragment, or not enough of them."""


def offered_types() -> list[str]:
    """The values of `ec_type` that the installed library can do."""
    from pyeclib.ec_iface import VALID_EC_TYPES

    return list(VALID_EC_TYPES)


class Header(NamedTuple):
    """`number`: its index. `size`: bytes of the whole fragment. `is_good`: the header's checksum is the usual one; if not, only
    `Codec.check` of the whole fragment can tell.
    """

    number: int
    size: int
    is_good: bool


class Codec:
    """One way to encode: `ec_type` with `data` + `parity` fragments. The library is loaded at the first use.

    Raises ValueError then, if it can't do that. All methods may be called in threads, at the same time.
    """

    __slots__ = ("_learned", "_made", "_sizes", "data", "ec_type", "parity")

    def __init__(self, ec_type: str, data: int, parity: int) -> None:
        self.ec_type = ec_type
        self.data = data
        self.parity = parity
        self._made: Any = None
        self._sizes: dict[int, int] = {0: 0}
        self._learned: Learned | None | bool = False  # not tried yet

    @property
    def total(self) -> int:
        """How many different fragments there are of a segment."""
        return self.data + self.parity

    @property
    def scheme(self) -> str:
        """As it is kept with each fragment archive."""
        return f"{self.ec_type} {self.data}+{self.parity}"

    @property
    def _library(self) -> Any:
        if self._made is None:
            from pyeclib.ec_iface import ECDriver, ECDriverError

            try:
                self._made = ECDriver(k=self.data, m=self.parity, ec_type=self.ec_type)
            except ECDriverError as error:
                why = (
                    " (it wants local parity, which no option of a policy gives)"
                    if self.ec_type == "isa_l_rs_lrc"
                    else ""
                )
                raise ValueError(f"{self.scheme}: {error}{why}") from None
        return self._made

    def load(self) -> None:
        """Load the library now. Raises ValueError."""
        assert self._library

    def prepare(self) -> None:
        """Find out now what would else be found out at the first long segment: that takes a tenth of a second."""
        self._code()

    @property
    def min_parity(self) -> int:
        """How many fragments beyond `data` must be stored before a write counts."""
        return int(self._library.min_parity_fragments_needed())

    def fragment_size(self, segment: int) -> int:
        """Bytes of each fragment of a segment of so many bytes."""
        size = self._sizes.get(segment)
        if size is None:
            size = int(self._library.get_segment_info(segment, segment)["fragment_size"])
            if len(self._sizes) < 4096:
                self._sizes[segment] = size
        return size

    def archive_size(self, length: int, segment: int) -> int:
        """Bytes of each fragment archive of an object of `length` bytes, cut into segments of `segment` bytes."""
        whole, rest = divmod(length, segment)
        return whole * self.fragment_size(segment) + self.fragment_size(rest)

    def encode(self, segment: bytes) -> list[bytes]:
        """The fragments of a segment that is not empty, by their index."""
        fragments: list[bytes] = self._library.encode(segment)
        return fragments

    def is_quick(self, segment: int) -> bool:
        """True if segments of so many bytes are decoded within a few milliseconds, in which others may wait."""
        return segment <= _QUICK and self._code() is not None and is_fit(self.fragment_size(segment) - HEADER)

    def room(self, segment: int) -> memoryview:
        """Memory for `encode_in`, for segments of up to so many bytes."""
        return memoryview(bytearray(self.total * (self.fragment_size(segment) - HEADER)))

    def encode_in(self, room: memoryview, segment: int) -> list[Parts]:
        """As `encode`, of the segment of `segment` bytes at the beginning of the room, in which the payloads are: valid as long as that is.

        Where it can be, this is done without the interpreter's lock.
        """
        code = self._code()
        size = self.fragment_size(segment) - HEADER
        if code is not None and is_fit(size):
            return code.encode_in(room, segment, size)
        fragments = self.encode(bytes(room[:segment]))
        return [(fragment[:HEADER], memoryview(fragment)[HEADER:]) for fragment in fragments]

    def _code(self) -> Learned | None:
        """What is known of how the library encodes; None if it is not to be found out."""
        if isinstance(self._learned, bool):
            self._learned = Learned.of(self.encode, self.fragment_size, self.data)
        return self._learned

    def check(self, fragment: Fragment, segment: int | None = None) -> int:
        """The index of a whole fragment with a good header. Raises FragmentError.

        `segment`: the length that its segment must have. The payload has no checksum of its own.
        """
        if len(fragment) <= HEADER:
            raise FragmentError(f"a fragment of {len(fragment)} bytes")
        index, size, more, length, _, _, _, _, magic, _, crc = _HEAD.unpack_from(fragment)
        if magic != _MAGIC or size + more + HEADER != len(fragment) or index >= self.total:
            raise FragmentError("the header of a fragment is damaged")
        if segment is not None and segment != length:
            raise FragmentError(f"a fragment of a segment of {length} bytes, not {segment}")
        if zlib.crc32(memoryview(fragment)[:COVERED]) != crc and not self._is_accepted(fragment):
            raise FragmentError("the checksum of a fragment's header differs")
        return int(index)

    def header(self, head: Fragment) -> Header:
        """What the first HEADER bytes of a fragment say. Raises FragmentError when they can't be that."""
        index, size, more, _, _, _, _, _, magic, _, crc = _HEAD.unpack_from(head)
        if magic != _MAGIC or index >= self.total:
            raise FragmentError("the header of a fragment is damaged")
        return Header(index, HEADER + size + more, zlib.crc32(memoryview(head)[:COVERED]) == crc)

    def _is_accepted(self, fragment: Fragment) -> bool:
        """Old libraries had another checksum, which the library knows."""
        from pyeclib.ec_iface import ECDriverError

        try:
            self._library.get_metadata(bytes(fragment), 1)
        except ECDriverError:
            return False
        return True

    def decode(self, fragments: Sequence[Fragment]) -> bytes:
        """The segment, of at least `data` different fragments that were checked. Raises FragmentError.

        What comes of a fragment with a damaged payload is wrong.
        """
        from pyeclib.ec_iface import ECDriverError

        self._check_set(fragments)
        code = self._code_for(fragments)
        if code is not None:
            by_index = {_index_of(fragment): fragment for fragment in fragments}
            return b"".join(self._restored(code, by_index, _length_of(fragments[0])))
        try:
            segment: bytes = self._library.decode([bytes(fragment) for fragment in fragments])
        except ECDriverError as error:
            raise FragmentError(str(error)) from None
        return segment

    def pieces(self, fragments: Mapping[int, Fragment], segment: int) -> list[memoryview] | None:
        """A segment of `segment` bytes as it stands in its data fragments, by their index and checked; None if one of them is missing.

        Nothing is copied: for all types that are offered these hold the segment as it is.
        """
        payloads = []
        for index in range(self.data):
            fragment = fragments.get(index)
            if fragment is None:
                return None
            payloads.append(memoryview(fragment)[HEADER:])
        return _joined(payloads, segment)

    def restored(self, fragments: Mapping[int, Fragment], segment: int) -> list[memoryview]:
        """As `pieces`, where data fragments may be missing: these are made of the others. Raises FragmentError.

        As `decode`, and where it can be without the interpreter's lock and without a copy.
        """
        pieces = self.pieces(fragments, segment)
        if pieces is not None:
            return pieces
        chosen = list(fragments.values())
        self._check_set(chosen)
        code = self._code_for(chosen)
        if code is not None:
            return self._restored(code, fragments, segment)
        return [memoryview(self.decode(chosen))]

    def _restored(self, code: Learned, fragments: Mapping[int, Fragment], segment: int) -> list[memoryview]:
        payloads = {index: memoryview(fragment)[HEADER:] for index, fragment in fragments.items()}
        missing = [index for index in range(self.data) if index not in payloads]
        if missing:
            payloads.update(zip(missing, _made(code, payloads, missing), strict=True))
        return _joined([payloads[index] for index in range(self.data)], segment)

    def rebuild(self, fragments: Sequence[Fragment], index: int) -> bytes:
        """The fragment `index`, of at least `data` different others that were checked. Raises FragmentError."""
        from pyeclib.ec_iface import ECDriverError

        self._check_set(fragments)
        code = self._code_for(fragments)
        if code is not None:
            payloads = {_index_of(one): memoryview(one)[HEADER:] for one in fragments}
            size = len(fragments[0]) - HEADER
            payload = _made(code, payloads, [index])[0]
            return code.headers(_length_of(fragments[0]), size)[index] + payload
        try:
            rebuilt: list[bytes] = self._library.reconstruct([bytes(one) for one in fragments], [index])
        except ECDriverError as error:
            raise FragmentError(str(error)) from None
        return rebuilt[0]

    def _check_set(self, fragments: Sequence[Fragment]) -> None:
        """Given the same one twice, the library makes a segment of it all the same."""
        if len({bytes(fragment[:4]) for fragment in fragments}) < max(self.data, len(fragments)):
            raise FragmentError("not enough different fragments")
        if len({len(fragment) for fragment in fragments}) > 1:
            raise FragmentError("fragments of different sizes")
        if len({_length_of(fragment) for fragment in fragments}) > 1:
            raise FragmentError("fragments of different segments")

    def _code_for(self, fragments: Sequence[Fragment]) -> Learned | None:
        """What these can be decoded by; None where the library is to decide."""
        return self._code() if is_fit(len(fragments[0]) - HEADER) else None


def _index_of(fragment: Fragment) -> int:
    return int.from_bytes(fragment[:4], "little")


def _length_of(fragment: Fragment) -> int:
    """Of the segment that a fragment is of."""
    return int(SIZES.unpack_from(fragment)[3])


def _joined(payloads: Sequence[memoryview], segment: int) -> list[memoryview]:
    """The pieces of a segment of `segment` bytes. Raises FragmentError."""
    views = []
    for payload in payloads:
        piece = payload[:segment] if segment < len(payload) else payload
        if segment:
            views.append(piece)
        segment -= len(piece)
    if segment:
        raise FragmentError("data fragments that are too short")
    return views


def _made(code: Learned, payloads: Mapping[int, memoryview], want: Sequence[int]) -> list[memoryview]:
    """The payloads of other fragments of the same segment. Raises FragmentError."""
    try:
        return code.made(payloads, want)
    except NotEnough:
        raise FragmentError("these fragments do not say what the others were") from None
