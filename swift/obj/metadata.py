"""The metadata of object files: a pickled dict in extended attributes (object-disk 4).

The codec and its place on the file live here, and the block checksums kept among the metadata. Which file's
metadata applies, and what to do with damage, is in `reader`. In memory: the name is native text, all other keys and
values are WSGI strings.
"""

from __future__ import annotations

import base64
import binascii
import errno
import re
import struct
from functools import lru_cache
from hashlib import md5

from swift.core.checksum import crc32
from swift.core.fs import get_xattr, set_xattr
from swift.core.unpickle import UnpickleError, loads
from swift.obj.errors import Corrupt, MetadataTooLarge, NoSpace, StateChanged, XattrUnsupported

XATTR = "user.swift.metadata"
XATTR_CHECKSUM = "user.swift.metadata_checksum"
CHUNK_SIZE = 65536
MAX_CHUNKS = 1024  # of the 254 bytes of ancient releases; far above what any limit lets in
MAX_BLOB = 1 << 20

# ---------------------------------------------------------------- codec
#
# The reference pickles each byte string as _codecs.encode(<latin-1 text>, "latin1"). We write the same calls without
# the memo entries that nobody reads: smaller, which counts on ext4. The marker that readers look for stays in place.

_HEAD = b"\x80\x02}(c_codecs\nencode\nq\x01X"
_FIRST_TAIL = b"X\x06\x00\x00\x00latin1q\x03\x86R"
_BETWEEN = b"h\x03\x86Rh\x01X"
_END = b"h\x03\x86Ru."
_PY3_MARKER = b"_codecs\nencode"
# the same with the reference's memo entries, as long as their numbers fit in one byte
_REF_HEAD = b"\x80\x02}q\x00(c_codecs\nencode\nq\x01X"
_REF_FIRST_TAIL = b"q\x02X\x06\x00\x00\x00latin1q\x03\x86q\x04Rq\x05"
_REF_BETWEEN = re.compile(rb"q.h\x03\x86q.Rq.h\x01X", re.DOTALL)
_REF_END = re.compile(rb"q.h\x03\x86q.Rq.u\.\Z", re.DOTALL)

_u32 = struct.Struct("<I").pack

# keys recur in every object; those of users may fill the rest of these, no more
_KNOWN_KEYS_MAX = 1024
_known_keys: dict[bytes, str] = {}
_known_items: dict[str, bytes] = {}


def _item(text: str) -> bytes:
    """Length and bytes of the unicode opcode for `text`; the bytes are encoded twice, as every release does."""
    data = text.encode("utf-8", "surrogateescape")
    if not text.isascii():
        data = data.decode("latin-1").encode("utf-8")
    return _u32(len(data)) + data


def encode(metadata: dict[str, str]) -> bytes:
    """Pickle, protocol 2. `metadata` must not be empty."""
    items = []
    known = _known_items
    for key, value in metadata.items():
        item = known.get(key)
        if item is None:
            item = _item(key)
            if len(known) < _KNOWN_KEYS_MAX:
                known[key] = item
        items.append(item)
        if value.isascii():
            data = value.encode()
            items.append(_u32(len(data)) + data)
        else:
            items.append(_item(value))
    first = items[0]
    # the first item carries the definition of the text "latin1", so it is followed by its own tail
    return b"".join((_HEAD, first, _FIRST_TAIL, b"h\x01X", _BETWEEN.join(items[1:]), _END))


def _text(piece: bytes) -> str:
    text = piece[4:].decode()
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "surrogateescape")


def _fast_decode(blob: bytes) -> dict[str, str] | None:
    """Decode the two common shapes by splitting; None when a length doesn't fit, so that it was another shape."""
    if blob.startswith(_HEAD):
        start = len(_HEAD)
        length = blob[start] + 4  # keys of more than 255 bytes go the long way
        rest = blob[start + length :]
        if not (rest.startswith(_FIRST_TAIL + b"h\x01X") and rest.endswith(_END)):
            return None
        pieces = rest[len(_FIRST_TAIL) + 3 : -len(_END)].split(_BETWEEN)
    elif blob.startswith(_REF_HEAD):
        start = len(_REF_HEAD)
        length = blob[start] + 4
        rest = blob[start + length :]
        end = _REF_END.search(rest)
        if end is None or not rest.startswith(_REF_FIRST_TAIL + b"h\x01X"):
            return None
        pieces = _REF_BETWEEN.split(rest[len(_REF_FIRST_TAIL) + 3 : end.start()])
    else:
        return None
    pieces.insert(0, blob[start : start + length])
    if len(pieces) & 1:
        return None
    result = {}
    known = _known_keys
    it = iter(pieces)
    for key_piece, piece in zip(it, it, strict=False):
        data = piece[4:]
        if piece[:4] != _u32(len(data)):
            return None
        key = known.get(key_piece)
        if key is None:
            if key_piece[:4] != _u32(len(key_piece) - 4):
                return None
            key = _text(key_piece)
            if len(known) < _KNOWN_KEYS_MAX:
                known[key_piece] = key
        result[key] = data.decode() if data.isascii() else _text(piece)
    return result


def _plain(value: object, utf8: bool) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape") if utf8 else value.decode("latin-1")
    if isinstance(value, str):
        return value
    raise Corrupt(f"metadata holds a {type(value).__name__}")


def decode(blob: bytes) -> dict[str, str]:
    """Both text forms (object-disk 4.2), any pickle of a flat dict. Raises Corrupt."""
    try:
        fast = _fast_decode(blob)
        if fast is not None:
            return fast
        loaded = loads(blob, encoding=None, max_size=MAX_BLOB)
    except (UnpickleError, UnicodeError, IndexError) as err:
        raise Corrupt(f"metadata can't be read: {err}") from None
    if not isinstance(loaded, dict):
        raise Corrupt("metadata is no dict")
    py3 = _PY3_MARKER in blob[:32]
    result = {}
    for key, value in loaded.items():
        name = _plain(key, py3)
        result[name] = _plain(value, py3 or name == "name")
    return result


# ---------------------------------------------------------------- on the file


def read_blob(fd: int) -> bytes:
    """The checked pickle of an open file. Raises Corrupt, StateChanged, XattrUnsupported, OSError (EIO and the like)."""
    try:
        blob = get_xattr(fd, XATTR)
    except OSError as err:
        raise _read_error(err, "no metadata") from None
    try:
        checksum = get_xattr(fd, XATTR_CHECKSUM)
    except OSError as err:
        if err.errno != errno.ENODATA:
            raise _read_error(err, "") from None
        checksum = None  # older than checksums
    if checksum is not None and md5(blob).hexdigest().encode() == checksum:
        return blob
    chunks = [blob]
    while len(chunks) < MAX_CHUNKS:
        try:
            chunks.append(get_xattr(fd, f"{XATTR}{len(chunks)}"))
        except OSError as err:
            if err.errno == errno.ENODATA:
                break
            raise _read_error(err, "") from None
    blob = b"".join(chunks)
    if checksum is not None and md5(blob).hexdigest().encode() != checksum:
        raise Corrupt("metadata checksum differs")
    return blob


def _read_error(err: OSError, missing: str) -> Exception:
    if err.errno == errno.ENODATA:
        return Corrupt(missing)
    if err.errno in (errno.ENOTSUP, errno.EOPNOTSUPP):
        return XattrUnsupported(str(err))
    if err.errno == errno.ENOENT:
        return StateChanged(str(err))
    return Corrupt(f"metadata can't be read: {err}")


def read(fd: int) -> dict[str, str]:
    """Metadata of an open file. Raises as `read_blob`."""
    return decode(read_blob(fd))


def write(fd: int, metadata: dict[str, str]) -> None:
    """Store metadata on an open new file. Raises NoSpace, MetadataTooLarge, XattrUnsupported, OSError."""
    blob = encode(metadata)
    try:
        if len(blob) <= CHUNK_SIZE:
            set_xattr(fd, XATTR, blob)
        else:
            for number, start in enumerate(range(0, len(blob), CHUNK_SIZE)):
                set_xattr(fd, f"{XATTR}{number or ''}", blob[start : start + CHUNK_SIZE])
        set_xattr(fd, XATTR_CHECKSUM, md5(blob).hexdigest().encode())
    except OSError as err:
        if err.errno in (errno.ENOTSUP, errno.EOPNOTSUPP):
            raise XattrUnsupported(str(err)) from None
        if err.errno in (errno.E2BIG, errno.ERANGE) or (
            err.errno == errno.ENOSPC and len(blob) > 2048 and _has_space(fd)
        ):
            raise MetadataTooLarge(f"{len(blob)} bytes of metadata don't fit beside a file here") from None
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(str(err)) from None
        raise


def _has_space(fd: int) -> bool:
    """Whether a small xattr could be had: then ENOSPC meant the size of the value, not the disk."""
    try:
        set_xattr(fd, XATTR, b"x" * 1024)
    except OSError:
        return False
    return True


# ---------------------------------------------------------------- block checksums

BLOCK_CRC32 = "X-Object-Sysmeta-Block-Crc32"
MIN_BLOCK = 65536
MAX_BLOCKS = 64


def block_size_for(length: int | None) -> int:
    """Bytes per checksum of an object of `length` bytes: the smallest power of two that gives at most MAX_BLOCKS."""
    if length is None:
        return MIN_BLOCK
    size = MIN_BLOCK
    while size * MAX_BLOCKS < length:
        size *= 2
    return size


def format_block_crcs(etag: str, block_size: int, crcs: list[int]) -> str:
    """The value stored under BLOCK_CRC32. Bound to the ETag, so that it can't be taken for that of other content."""
    packed = struct.pack(f">{len(crcs)}I", *crcs)
    return f"{etag[:16]};{block_size};{base64.b64encode(packed).decode()}"


def parse_block_crcs(value: str, etag: str, length: int) -> tuple[int, list[int]] | None:
    """(block size, CRCs) for the content with this ETag and length; None if the value is not about it."""
    bound, _, rest = value.partition(";")
    size_text, _, packed_text = rest.partition(";")
    if bound != etag[:16]:
        return None
    try:
        size = int(size_text)
        packed = base64.b64decode(packed_text, validate=True)
    except (ValueError, binascii.Error):
        return None
    if size < 1 or len(packed) % 4 or len(packed) // 4 != -(-length // size):
        return None
    return size, list(struct.unpack(f">{len(packed) // 4}I", packed))


class BlockCrcs:
    """Takes the bytes of an object in order and gives its block checksums; for an unknown length blocks grow as needed."""

    __slots__ = ("block_size", "_crcs", "_current", "_filled")

    def __init__(self, length: int | None) -> None:
        self.block_size = block_size_for(length)
        self._crcs: list[int] = []
        self._current = 0
        self._filled = 0

    def update(self, data: bytes | memoryview) -> None:
        """Add the next bytes."""
        room = self.block_size - self._filled
        if len(data) < room:
            self._current = crc32(data, self._current)
            self._filled += len(data)
            return
        view = memoryview(data)
        start = 0
        while len(view) - start >= room:
            self._crcs.append(crc32(view[start : start + room], self._current))
            start += room
            self._current = self._filled = 0
            if len(self._crcs) == MAX_BLOCKS:
                self._double()
            room = self.block_size
        if start < len(view):
            self._current = crc32(view[start:])
            self._filled = len(view) - start

    def _double(self) -> None:
        """Merge pairs of blocks: the CRC of two runs follows from theirs."""
        size = self.block_size
        self._crcs = [
            combine(first, second, size)
            for first, second in zip(self._crcs[::2], self._crcs[1::2], strict=True)
        ]
        self.block_size = size * 2

    def finish(self) -> list[int]:
        """The checksums of all blocks; the object is complete."""
        return [*self._crcs, self._current] if self._filled else list(self._crcs)

    def total(self, length: int) -> int:
        """zlib.crc32 of all `length` bytes."""
        crcs = self.finish()
        total = 0
        for number, crc in enumerate(crcs):
            run = min(self.block_size, length - number * self.block_size)
            total = combine(total, crc, run)
        return total


# CRC-32 of joined runs: crc(A+B) = crc(A) * x^(8*len(B)) + crc(B), in the ring of polynomials over GF(2) modulo
# the CRC's polynomial (bit-reversed here, as the CRC is).

_POLYNOMIAL = 0xEDB88320


def _multiply(a: int, b: int) -> int:
    product = 0
    mask = 1 << 31
    while a:
        if a & mask:
            product ^= b
            a ^= mask
        mask >>= 1
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


@lru_cache(maxsize=256)
def _shift(length: int) -> int:
    """x^(8*length)."""
    power = 1 << 31  # x^0
    square = 1 << 23  # x^8
    while length:
        if length & 1:
            power = _multiply(square, power)
        square = _multiply(square, square)
        length >>= 1
    return power


def combine(first: int, second: int, length: int) -> int:
    """crc32(A + B) from the CRCs of A and B and the length of B in bytes."""
    return _multiply(_shift(length), first) ^ second
