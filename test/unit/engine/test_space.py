"""What is promised of swift.engine.space: room that is taken before it is needed, and room that stays."""

import errno
import os

import pytest

from swift.engine.space import Reserve, fallocate


def test_fallocate_keeps_the_length(tmp_path):
    with open(tmp_path / "f", "wb") as f:
        fallocate(f.fileno(), 1 << 20)
        st = os.fstat(f.fileno())
    assert st.st_size == 0
    assert st.st_blocks * 512 >= 1 << 20


class Statvfs:
    f_frsize = 1
    f_blocks = 1000
    f_bavail = 100


@pytest.mark.parametrize(
    "reserve, size, fits",
    [
        ("0", 100000, True),
        ("10", 89, True),
        ("10", 90, False),
        ("100", 0, True),
        ("101", 0, False),
        ("1%", 89, True),
        ("1%", 90, False),
        ("10%", 0, True),
        ("10.1%", 0, False),
    ],
)
def test_reserve(monkeypatch, reserve, size, fits):
    monkeypatch.setattr(os, "statvfs", lambda fd: Statvfs)
    if fits:
        Reserve(reserve).check(0, size)
    else:
        with pytest.raises(OSError) as caught:
            Reserve(reserve).check(0, size)
        assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("text", ["x", "-1", "101%", "nan%", "", "%"])
def test_reserve_refuses_nonsense(text):
    with pytest.raises(ValueError):
        Reserve(text)
