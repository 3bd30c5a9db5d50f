"""The metadata of object files: a pickled dict in extended attributes (object-disk 4).

The codec and its place on the file live here; what has no room there is in `overflow`. Which file's
metadata applies, and what to do with damage, is in `reader`. In memory: the name is native text, all other keys and
values are WSGI strings.
"""

from __future__ import annotations

import contextlib
import errno
import re
import struct
from hashlib import md5

from swift.core.remembered import Remembered
from swift.core.unpickle import UnpickleError, loads
from swift.engine.xattrs import get_xattr, set_xattr
from swift.obj.damage import judge
from swift.obj.errors import Corrupt, MetadataTooLarge, NoSpace, StateChanged, XattrUnsupported
from swift.obj.files import overflow

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
_known_keys: Remembered[bytes, str] = Remembered(_KNOWN_KEYS_MAX)
_known_items: Remembered[str, bytes] = Remembered(_KNOWN_KEYS_MAX)


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
            item = known.keep(key, _item(key))
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
            key = known.keep(key_piece, _text(key_piece))
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
    """The checked pickle of an open file.

    Raises Corrupt for what is proven damaged (see `swift.obj.damage`), StateChanged, XattrUnsupported, OSError.
    """
    blob = _attribute(fd, XATTR)
    if blob is None:
        raise Corrupt("no metadata")
    checksum = _attribute(fd, XATTR_CHECKSUM)  # missing: older than checksums
    if checksum is not None and md5(blob).hexdigest().encode() == checksum:
        return blob
    chunks = [blob]
    while len(chunks) < MAX_CHUNKS:
        chunk = _attribute(fd, f"{XATTR}{len(chunks)}")
        if chunk is None:
            break
        chunks.append(chunk)
    blob = b"".join(chunks)
    if checksum is not None and md5(blob).hexdigest().encode() != checksum:
        raise Corrupt("metadata checksum differs")
    return blob


def _attribute(fd: int, name: str) -> bytes | None:
    """One extended attribute; None when there is none of that name."""
    try:
        return get_xattr(fd, name)
    except OSError as err:
        if err.errno == errno.ENODATA:
            return None
        if err.errno in (errno.ENOTSUP, errno.EOPNOTSUPP):
            raise XattrUnsupported(str(err)) from None
        if err.errno == errno.ENOENT:
            raise StateChanged(str(err)) from None
        value: bytes = judge(err, get_xattr, fd, name)
        return value


def read(fd: int) -> dict[str, str]:
    """Metadata of an open file. Raises as `read_blob`."""
    return read_with_tail(fd)[0]


def read_with_tail(fd: int) -> tuple[dict[str, str], int]:
    """Metadata of an open file, and how many bytes of it lie behind the body (almost always 0). Raises as `read_blob`."""
    metadata = decode(read_blob(fd))
    pointer = metadata.get(overflow.POINTER)
    if pointer is None:
        return metadata, 0
    blob, tail = overflow.read(fd, pointer)
    return decode(blob), tail


def add_checksum(fd: int) -> None:
    """Give the metadata of an open file the checksum that ancient releases did not write. Raises as `read_blob`."""
    if _attribute(fd, XATTR_CHECKSUM) is None:
        blob = read_blob(fd)
        decode(blob)
        with contextlib.suppress(OSError):  # a full disk, or one that is read-only
            set_xattr(fd, XATTR_CHECKSUM, md5(blob).hexdigest().encode())


def write(fd: int, metadata: dict[str, str], may_overflow: bool = True) -> None:
    """Store metadata on an open new file that has its body. Raises NoSpace, MetadataTooLarge, XattrUnsupported, OSError.

    `may_overflow`: what the file system can't hold beside the file goes behind the body (`overflow`).
    """
    blob = encode(metadata)
    try:
        _set(fd, blob)
    except MetadataTooLarge:
        if not may_overflow or len(blob) > overflow.MAX_TAIL:
            raise
        try:
            rest = overflow.append(fd, metadata, blob)
        except OSError as err:
            if err.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(str(err)) from None
            raise
        try:
            _set(fd, encode(rest))
        except MetadataTooLarge:  # a long name, or type: all that counts is where the rest is
            _set(fd, encode({overflow.POINTER: rest[overflow.POINTER]}))


def _set(fd: int, blob: bytes) -> None:
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
    """Returns True if a small xattr could be had: then ENOSPC meant the size of the value, not the disk."""
    try:
        set_xattr(fd, XATTR, b"x" * 1024)
    except OSError:
        return False
    return True
