"""Metadata that the file system can't hold in extended attributes: it goes behind the body, in the same file.

What lives here: the form of it, writing and reading it. What never does: when that is done (`metadata`), and what an object's size is
(`reader`). The form is described in doc/formats.md; files that fit are written as ever.
"""

from __future__ import annotations

import os
from hashlib import md5

from swift.engine.fault_points import fault_point
from swift.engine.new_file import write_all
from swift.obj.damage import read_or_judge
from swift.obj.errors import Corrupt

# no header of a request becomes metadata under this name: it has no prefix of those that do
POINTER = "Metadata-Overflow"
# what stays in the attribute, for tools that look at files
KEPT = ("name", "X-Timestamp", "Content-Length", "Content-Type", "ETag")
MAX_TAIL = 1 << 20


def append(fd: int, metadata: dict[str, str], blob: bytes) -> dict[str, str]:
    """Write `blob`, the codec's form of `metadata`, behind the body of an open new file; what the attribute is to hold.

    The body must be there whole. Raises OSError.
    """
    offset = os.lseek(fd, 0, os.SEEK_END)
    write_all(fd, blob)
    fault_point("overflow:written")
    kept = {key: metadata[key] for key in KEPT if key in metadata}
    return {**kept, POINTER: f"{offset};{len(blob)};{md5(blob, usedforsecurity=False).hexdigest()}"}


def read(fd: int, pointer: str) -> tuple[bytes, int]:
    """(The codec's form of all metadata, how many bytes of the file it takes.) Raises Corrupt, StateChanged, OSError."""
    try:
        offset, length, digest = pointer.split(";")
        at, left = int(offset), int(length)
    except ValueError:
        raise Corrupt(f"bad {POINTER} in the metadata: {pointer[:100]!a}") from None
    if at < 0 or not 0 < left <= MAX_TAIL:
        raise Corrupt(f"bad {POINTER} in the metadata: {pointer[:100]!a}")
    if os.fstat(fd).st_size != at + left:
        raise Corrupt(f"metadata behind {at} bytes should have {left}, the file has {os.fstat(fd).st_size}")
    pieces = []
    while left:
        piece = read_or_judge(os.pread, fd, left, at)
        if not piece:
            raise Corrupt("the metadata behind the body ends early")
        pieces.append(piece)
        at += len(piece)
        left -= len(piece)
    blob = b"".join(pieces)
    if md5(blob, usedforsecurity=False).hexdigest() != digest:
        raise Corrupt("the checksum of the metadata behind the body differs")
    return blob, len(blob)
