"""WSGI lets an application call start_response as late as with its first chunk; filters that look at headers can't wait for it."""

from collections.abc import Iterable, Iterator

from swift.wire.message import close_if_possible


def first_chunk_taken(body: Iterable[bytes]) -> Iterable[bytes]:
    """The same body after its application was made to begin. For bodies whose start_response has not been called yet."""
    iterator = iter(body)
    try:
        first = next(iterator, b"")
    except BaseException:
        close_if_possible(body)
        raise

    def chunks() -> Iterator[bytes]:
        try:
            if first:
                yield first
            yield from iterator
        finally:
            close_if_possible(body)

    return chunks()
