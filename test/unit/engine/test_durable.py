"""What is promised of swift.engine.durable: durable, atomic, bounded."""

import errno
import os

import pytest

from swift.engine import durable
from swift.engine.durable import mkdirs_durable, write_durable


@pytest.fixture
def synced(monkeypatch):
    """Paths (as of the call) of every descriptor that was fsynced."""
    seen = []
    real = os.fsync

    def fsync(fd):
        seen.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def test_new_directories_are_synced_in_every_parent(tmp_path, synced):
    root = str(tmp_path)
    mkdirs_durable(f"{root}/objects/1/abc/hash", root)
    assert synced == [f"{root}/objects/1/abc", f"{root}/objects/1", f"{root}/objects", root]


def test_directories_found_are_synced_once_because_their_maker_may_not_have_done_so(tmp_path, synced):
    root = str(tmp_path)
    os.makedirs(f"{root}/objects/1")
    mkdirs_durable(f"{root}/objects/1/abc", root)
    assert synced == [f"{root}/objects/1", f"{root}/objects", root]
    del synced[:]
    mkdirs_durable(f"{root}/objects/1/abd", root)
    assert synced == [f"{root}/objects/1"]


def test_directories_removed_meanwhile_are_made_and_synced_again(tmp_path, synced):
    root = str(tmp_path)
    mkdirs_durable(f"{root}/a/b/c", root)
    os.removedirs(f"{root}/a/b/c")
    os.makedirs(root, exist_ok=True)
    del synced[:]
    mkdirs_durable(f"{root}/a/b/c", root)
    assert os.path.isdir(f"{root}/a/b/c")
    assert synced == [f"{root}/a/b", f"{root}/a", root]


def test_directory_not_remembered_is_synced_each_time(tmp_path, synced):
    root = str(tmp_path)
    mkdirs_durable(f"{root}/a/b", root, remember=False)
    os.rmdir(f"{root}/a/b")
    del synced[:]
    mkdirs_durable(f"{root}/a/b", root, remember=False)
    assert synced == [f"{root}/a"]


def test_missing_root_is_never_created(tmp_path):
    with pytest.raises(FileNotFoundError):
        mkdirs_durable(f"{tmp_path}/unmounted/objects/1", f"{tmp_path}/unmounted")
    assert not (tmp_path / "unmounted").exists()


def test_path_outside_of_root_is_refused(tmp_path):
    with pytest.raises(ValueError):
        mkdirs_durable("/somewhere/else", str(tmp_path))


def test_write_durable_replaces_and_leaves_no_temp_file(tmp_path, synced):
    target = tmp_path / "f"
    target.write_bytes(b"old")
    write_durable(str(target), b"new")
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["f"]
    assert synced[-1] == str(tmp_path) and len(synced) == 2


def test_write_durable_keeps_the_old_file_on_error(tmp_path, monkeypatch):
    target = tmp_path / "f"
    target.write_bytes(b"old")

    def fail(fd):
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError):
        write_durable(str(target), b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_directory_made_anew_under_a_known_path_is_synced(tmp_path, synced):
    """By another process, of which we hear nothing; file systems give such a directory the same inode number."""
    root = str(tmp_path)
    for _ in range(20):
        mkdirs_durable(f"{root}/a/b", root)
        os.rmdir(f"{root}/a/b")
        os.mkdir(f"{root}/a/b")
        del synced[:]
        mkdirs_durable(f"{root}/a/b", root)
        assert f"{root}/a" in synced


def test_where_directories_have_no_identity_all_is_synced_each_time(tmp_path, synced, monkeypatch):
    monkeypatch.setattr(durable, "_generation_by_device", {os.stat(tmp_path).st_dev: durable._cannot_tell})
    root = str(tmp_path)
    for _ in range(2):
        del synced[:]
        mkdirs_durable(f"{root}/a/b", root)
        assert synced == [f"{root}/a", root]


def test_what_is_remembered_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(durable, "_KNOWN_DURABLE_MAX", 10)
    for n in range(50):
        mkdirs_durable(f"{tmp_path}/{n}", str(tmp_path))
    assert len(durable._known_durable) == 10


@pytest.mark.parametrize("way", ["_generation", "_handle"])
def test_each_way_to_tell_directories_apart(tmp_path, synced, monkeypatch, way):
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        getattr(durable, way)(fd)
    except OSError:
        return  # not on this file system: then it is not taken
    finally:
        os.close(fd)
    monkeypatch.setattr(durable, "_generation_by_device", {os.stat(tmp_path).st_dev: getattr(durable, way)})
    test_a_directory_made_anew_under_a_known_path_is_synced(tmp_path, synced)
