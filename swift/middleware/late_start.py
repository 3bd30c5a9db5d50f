"""WSGI lets an application call start_response as late as with its first chunk; filters that look at headers can't wait for it."""

from collections.abc import Iterable, Iterator

from swift.wire.body import BodyFilter, close_if_possible


class _Begun(BodyFilter):
    """A body whose first piece was taken."""

    def __init__(self, below: Iterable[bytes], first: bytes, rest: Iterator[bytes]) -> None:
        super().__init__(below)
        self._first = first
        self._rest = rest

    def pieces(self, below: Iterable[bytes]) -> Iterator[bytes]:
        if self._first:
            yield self._first
        yield from self._rest


def first_chunk_taken(body: Iterable[bytes]) -> Iterable[bytes]:
    """The same body after its application was made to begin. For bodies whose start_response has not been called yet."""
    iterator = iter(body)
    try:
        first = next(iterator, b"")
    except BaseException:
        close_if_possible(body)
        raise
    return _Begun(body, first, iterator)
