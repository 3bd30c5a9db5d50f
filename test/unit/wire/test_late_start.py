"""Bodies whose application starts late: begun, read, closed."""

import pytest

from swift.wire.call import first_chunk_taken


class Late:
    def __init__(self, *pieces, error=None):
        self.pieces = pieces
        self.error = error
        self.closed = 0

    def __iter__(self):
        yield from self.pieces
        if self.error is not None:
            raise self.error

    def close(self):
        self.closed += 1


@pytest.mark.parametrize("pieces", [(), (b"",), (b"a",), (b"a", b"b"), (b"", b"b")])
def test_every_piece_comes_and_the_body_is_closed(pieces):
    late = Late(*pieces)
    body = first_chunk_taken(late)
    assert b"".join(body) == b"".join(pieces)
    body.close()
    assert late.closed == 1


def test_a_body_that_nobody_reads_is_closed_too():
    late = Late(b"a", b"b")
    first_chunk_taken(late).close()
    assert late.closed == 1


def test_a_body_that_breaks_at_once_is_closed():
    late = Late(error=OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        first_chunk_taken(late)
    assert late.closed == 1
