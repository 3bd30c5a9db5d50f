"""Bodies on their way through the cipher: `SealedInput` on their way in, `OpenedBody` and `OpenedParts` on their way out.

What is long is received into buffers and has its digest taken by another core (`swift.wire.digest`); the cipher itself runs at memory
speed, nine times as fast as an MD5, and costs less where it is than a hand-over. Never here: headers, and which keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from swift.core.hashing import md5
from swift.middleware.encryption.ciphers import CryptoError, keystream
from swift.wire.digest import BodyDigest
from swift.wire.errors import ResponseBroken
from swift.wire.message import BodyFilter, InputFilter
from swift.wire.ranges import parse_content_range

_MAX_PART_HEAD = 16 * 1024


class SealedInput(InputFilter):
    """The body of a PUT, encrypted as it is read. `length`: bytes so far."""

    def __init__(self, below: Any, key: bytes, iv: bytes) -> None:
        super().__init__(below)
        self._recv_below: Callable[[Any], int] | None = getattr(below, "recv_into", None)
        self._stream = keystream(key, iv)
        self._md5 = md5()
        self._ring: BodyDigest | None = None
        self.length = 0

    def pull(self, size: int) -> bytes:
        data = self._read_below(size)
        self.length += len(data)
        if self._ring is not None and data:
            self._ring.buffer()
            self._ring.take(data)
        else:
            self._md5.update(data)
        return self._stream.update(data)

    def recv_into(self, buffer: Any) -> int:
        if self._ahead or self._ended or self._recv_below is None:
            return super().recv_into(buffer)
        ring = self._ring
        if ring is None:
            ring = self._ring = BodyDigest(self._md5)
        room = ring.buffer()
        size = self._recv_below(room[: len(buffer)] if len(buffer) < len(room) else room)
        if not size:
            self._ended = True
            return 0
        plain = room[:size]
        ring.take(plain)  # which stays as it is until the ring gives it out again
        self._stream.update_into(plain, memoryview(buffer)[:size])
        self.length += size
        return size

    def etag(self) -> str:
        """The MD5 of what was read, before it was encrypted."""
        if self._ring is not None:
            self._ring.wait()
        return self._md5.hexdigest()

    def release(self) -> None:
        """Let go of the buffers."""
        if self._ring is not None:
            self._ring.release()


class OpenedBody(BodyFilter):
    """A body, or one range of it, decrypted. `stream`: set to its first byte."""

    def __init__(self, below: Iterable[bytes], stream: Any) -> None:
        super().__init__(below)
        self._stream = stream

    def pieces(self, below: Iterable[bytes]) -> Iterator[bytes]:
        update = self._stream.update
        for data in below:
            yield update(data)


class OpenedParts(BodyFilter):
    """A multipart/byteranges body, the data of each part decrypted at its own place."""

    def __init__(self, below: Iterable[bytes], key: bytes, iv: bytes) -> None:
        super().__init__(below)
        self._key = key
        self._iv = iv

    def pieces(self, below: Iterable[bytes]) -> Iterator[bytes]:
        head = b""
        stream: Any = None
        left = 0  # bytes of a part's data
        for data in below:
            made = []
            while data:
                if left:
                    piece, data = data[:left], data[left:]
                    left -= len(piece)
                    made.append(stream.update(piece))
                    continue
                head += data
                end = head.find(b"\r\n\r\n")
                if end < 0:
                    if len(head) > _MAX_PART_HEAD:
                        raise ResponseBroken("the head of a part does not end")
                    break
                made.append(head[: end + 4])
                data = head[end + 4 :]
                first, last = _range_of(head[:end])
                head = b""
                stream, left = keystream(self._key, self._iv, first), last - first + 1
            if made:
                yield b"".join(made)
        if head:
            yield head


def _range_of(head: bytes) -> tuple[int, int]:
    """The first and the last byte that a part's head announces. Raises ResponseBroken."""
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-range":
            found = parse_content_range(value.strip())
            if found is not None:
                return found[:2]
    raise ResponseBroken("a part that does not say where it is from")


def opened(
    body: Iterable[bytes], key: bytes, iv: bytes, is_part: bool, content_range: str | None
) -> Iterable[bytes]:
    """The body of an answer decrypted. `is_part`: of a 206; without a Content-Range it has several. Raises CryptoError."""
    if is_part and content_range is None:
        return OpenedParts(body, key, iv)
    offset = 0
    if is_part:
        found = parse_content_range(content_range)
        if found is None:
            raise CryptoError("a part of an object that does not say where it is from")
        offset = found[0]
    stream = keystream(key, iv, offset)
    if isinstance(body, list | tuple):
        return [stream.update(b"".join(body))]
    return OpenedBody(body, stream)
