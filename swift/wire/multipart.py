"""MIME multipart documents on the wire: multipart/byteranges bodies. Spec: proxy-and-backend.md 21.6."""

from collections.abc import Callable, Iterable, Iterator, Sequence

Ranges = Sequence[tuple[int, int]]


def part_head(start: int, stop: int, length: int, content_type: str, boundary: str) -> bytes:
    """Boundary line and headers of one part; stop is exclusive."""
    return (
        f"--{boundary}\r\nContent-Type: {content_type}\r\n"
        f"Content-Range: bytes {start}-{stop - 1}/{length}\r\n\r\n"
    ).encode("latin-1")


def byteranges_length(ranges: Ranges, length: int, content_type: str, boundary: str) -> int:
    """Exact Content-Length of the body that byteranges_body makes."""
    size = len(boundary) + 4
    for start, stop in ranges:
        size += len(part_head(start, stop, length, content_type, boundary)) + (stop - start) + 2
    return size


def byteranges_body(
    ranges: Ranges,
    length: int,
    content_type: str,
    boundary: str,
    read: Callable[[int, int], Iterable[bytes]],
) -> Iterator[bytes]:
    """Parts in the order given; read(start, stop) yields the bytes of one range. Nothing follows the final `--`."""
    for start, stop in ranges:
        yield part_head(start, stop, length, content_type, boundary)
        yield from read(start, stop)
        yield b"\r\n"
    yield f"--{boundary}--".encode("latin-1")
