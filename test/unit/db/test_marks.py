"""Marks of files: what they tell, when they count, and looking at them without waiting."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.core import clock
from swift.db import marks
from test.descriptors import none_left_open

SECOND = 1_000_000_000


@given(
    st.integers(0, 4 * SECOND),
    st.integers(0, 4 * SECOND),
    st.sampled_from([1, 10_000_000, SECOND, 2 * SECOND]),
)
def test_a_mark_that_counts_is_not_given_twice(first, second, grain):
    """Whatever the grain of a file system's times: a change after the reading has another time."""
    read_at, changed_later = sorted((first, second))
    for changed in (0, read_at // 2, read_at - SECOND, read_at - 100_000_000, read_at):
        found = (1, 1, 0, 10**18 + changed - changed % grain)
        if marks.is_settled(found, 10**18 + read_at):
            assert 10**18 + changed_later - changed_later % grain > found[3]


def test_times_that_can_not_be_do_not_count():
    now = clock.time_ns()
    assert not marks.is_settled((1, 1, 0, now + SECOND), now)
    assert not marks.is_settled((1, 1, 0, -5), now)
    assert marks.is_settled(None, now)


def test_looking_at_once_sees_what_looking_sees(tmp_path):
    directory = os.fsencode(tmp_path)
    (tmp_path / "there").write_bytes(b"12345")
    names = (b"there", b"missing")
    expected = marks.look_anyway(directory, names)
    assert expected[1][2] == 5 and expected[2] is None
    look = marks.road_to(directory)
    if look is None:
        pytest.skip("this file system, or this kernel, can't be looked at without waiting")
    assert look(directory, names) == expected
    (tmp_path / "there").write_bytes(b"123456")
    assert look(directory, names) != expected
    (tmp_path / "there").unlink()
    if look is not marks.look_anyway:
        with pytest.raises(BlockingIOError):
            look(directory, (b"never asked for",))
    for name in ("there", "nowhere"):
        assert not (tmp_path / name).exists()  # now the kernel knows
    assert look(directory, names)[1] is None
    with none_left_open():
        for _ in range(100):
            look(directory, names)
            look(directory + b"/nowhere", names)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP])
def test_where_the_call_can_not_be_had_there_is_no_road(tmp_path, monkeypatch, code):
    def refused(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(marks, "open_cached", refused)
    monkeypatch.setattr(marks, "_file_system", lambda path: 0x58465342)
    assert marks.road_to(os.fsencode(tmp_path)) is None


def test_file_systems_that_may_wait_in_any_call_have_no_road(tmp_path, monkeypatch):
    for kind in (0x65735546, 0x6969, 0x794C7630):  # fuse, nfs, overlay
        monkeypatch.setattr(marks, "_file_system", lambda path, kind=kind: kind)
        assert marks.road_to(os.fsencode(tmp_path)) is None
