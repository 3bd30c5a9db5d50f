"""The digests of long bodies: taken by another core, in order, of a bounded number of pieces at a time, and right."""

import hashlib

import pytest

from swift.s3 import digests
from swift.s3.checksums import ALGORITHMS
from swift.s3.digests import Check
from swift.s3.errors import S3Error

PIECES = [bytes([number]) * 65536 for number in range(200)] + [b"end"]
WHOLE = b"".join(PIECES)


def fed(check):
    for piece in PIECES:
        check.update(piece)
    check.end()
    return check


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_they_are_right(name):
    expected = ALGORITHMS[name].make()
    expected.update(WHOLE)
    check = fed(Check(hashlib.sha256(WHOLE).hexdigest(), ALGORITHMS[name], None))
    assert check.value == expected.digest()


def test_what_was_promised_does_not_hold():
    with pytest.raises(S3Error) as raised:
        fed(Check(hashlib.sha256(b"").hexdigest(), None, None))
    assert raised.value.code == "XAmzContentSHA256Mismatch"
    with pytest.raises(S3Error) as raised:
        fed(Check(None, ALGORITHMS["crc32"], b"1234"))
    assert raised.value.code == "BadDigest"


def test_the_event_loop_takes_the_beginning_only(monkeypatch):
    given, waiting, most = [], 0, 0

    class Call:
        def __init__(self, function, data):
            self.function, self.data = function, data

        def wait(self):
            nonlocal waiting
            waiting -= 1
            self.function(self.data)

    def submit(function, data):
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        given.append(len(data))
        return Call(function, data)

    monkeypatch.setattr(digests, "lane", lambda: submit)
    fed(Check(hashlib.sha256(WHOLE).hexdigest(), None, None))
    assert len(WHOLE) - sum(given) < digests.BEGINNING
    assert most <= digests.MOST


def test_short_bodies_and_those_that_nobody_checks_wake_nobody(monkeypatch):
    monkeypatch.setattr(digests, "lane", None)
    check = Check(hashlib.sha256(WHOLE[:300_000]).hexdigest(), None, None)
    check.update(WHOLE[:300_000])
    check.end()
    fed(Check(None, None, None))
