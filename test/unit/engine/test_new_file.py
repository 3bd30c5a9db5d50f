"""What is promised of swift.engine.new_file: files that appear when they are linked."""

import errno
import os

import pytest

from swift.engine import new_file
from swift.engine.new_file import NewFile, write_all


@pytest.mark.parametrize("named", [False, True])
def test_new_file_appears_when_linked_and_never_replaces(tmp_path, named):
    directory, tmp_dir = str(tmp_path / "d"), str(tmp_path / "tmp")
    os.mkdir(directory)
    if named:
        new_file.no_tmpfile.add(tmp_dir)
    file = NewFile(directory, tmp_dir)
    write_all(file.fd, b"body")
    assert os.listdir(directory) == []
    file.link(directory, "name")
    file.close()
    assert (tmp_path / "d" / "name").read_bytes() == b"body"

    other = NewFile(directory, tmp_dir)
    with pytest.raises(FileExistsError):
        other.link(directory, "name")
    other.close()
    assert os.listdir(directory) == ["name"]
    if named:
        assert os.listdir(tmp_dir) == []


def test_new_file_by_directory_descriptor(tmp_path):
    dir_fd = os.open(tmp_path, os.O_RDONLY)
    file = NewFile(str(tmp_path), str(tmp_path / "tmp"), dir_fd=dir_fd)
    file.link(str(tmp_path), "x", dir_fd=dir_fd)
    file.close()
    os.close(dir_fd)
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("goes", [False, True])
def test_a_directory_that_is_gone_is_told_as_missing(tmp_path, monkeypatch, is_open, goes):
    """ext4 says EPERM to who makes a file in one that is just being removed; else that is what it says."""
    (tmp_path / "d").mkdir()
    dir_fd = os.open(tmp_path / "d", os.O_RDONLY) if is_open else None
    real = os.open

    def open_late(path, flags, *args, **kwargs):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            if goes:
                (tmp_path / "d").rmdir()
            raise PermissionError(errno.EPERM, "not permitted", path)
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_late)
    with pytest.raises(FileNotFoundError if goes else PermissionError):
        NewFile(str(tmp_path / "d"), str(tmp_path / "tmp"), dir_fd)
    if dir_fd is not None:
        os.close(dir_fd)
