"""What is promised of swift.core.fs: durable, atomic, bounded."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from swift.core import fs


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
    fs.mkdirs_durable(f"{root}/objects/1/abc/hash", root)
    assert synced == [f"{root}/objects/1/abc", f"{root}/objects/1", f"{root}/objects", root]


def test_directories_found_are_synced_once_because_their_maker_may_not_have_done_so(tmp_path, synced):
    root = str(tmp_path)
    os.makedirs(f"{root}/objects/1")
    fs.mkdirs_durable(f"{root}/objects/1/abc", root)
    assert synced == [f"{root}/objects/1", f"{root}/objects", root]
    del synced[:]
    fs.mkdirs_durable(f"{root}/objects/1/abd", root)
    assert synced == [f"{root}/objects/1"]


def test_directories_removed_meanwhile_are_made_and_synced_again(tmp_path, synced):
    root = str(tmp_path)
    fs.mkdirs_durable(f"{root}/a/b/c", root)
    os.removedirs(f"{root}/a/b/c")
    os.makedirs(root, exist_ok=True)
    del synced[:]
    fs.mkdirs_durable(f"{root}/a/b/c", root)
    assert os.path.isdir(f"{root}/a/b/c")
    assert synced == [f"{root}/a/b", f"{root}/a", root]


def test_directory_not_remembered_is_synced_each_time(tmp_path, synced):
    root = str(tmp_path)
    fs.mkdirs_durable(f"{root}/a/b", root, remember=False)
    os.rmdir(f"{root}/a/b")
    del synced[:]
    fs.mkdirs_durable(f"{root}/a/b", root, remember=False)
    assert synced == [f"{root}/a"]


def test_missing_root_is_never_created(tmp_path):
    with pytest.raises(FileNotFoundError):
        fs.mkdirs_durable(f"{tmp_path}/unmounted/objects/1", f"{tmp_path}/unmounted")
    assert not (tmp_path / "unmounted").exists()


def test_path_outside_of_root_is_refused(tmp_path):
    with pytest.raises(ValueError):
        fs.mkdirs_durable("/somewhere/else", str(tmp_path))


def test_write_durable_replaces_and_leaves_no_temp_file(tmp_path, synced):
    target = tmp_path / "f"
    target.write_bytes(b"old")
    fs.write_durable(str(target), b"new")
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
        fs.write_durable(str(target), b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("named", [False, True])
def test_new_file_appears_when_linked_and_never_replaces(tmp_path, named):
    directory, tmp_dir = str(tmp_path / "d"), str(tmp_path / "tmp")
    os.mkdir(directory)
    if named:
        fs.no_tmpfile.add(tmp_dir)
    file = fs.NewFile(directory, tmp_dir)
    fs.write_all(file.fd, b"body")
    assert os.listdir(directory) == []
    file.link(directory, "name")
    file.close()
    assert (tmp_path / "d" / "name").read_bytes() == b"body"

    other = fs.NewFile(directory, tmp_dir)
    with pytest.raises(FileExistsError):
        other.link(directory, "name")
    other.close()
    assert os.listdir(directory) == ["name"]
    if named:
        assert os.listdir(tmp_dir) == []


def test_new_file_by_directory_descriptor(tmp_path):
    dir_fd = os.open(tmp_path, os.O_RDONLY)
    file = fs.NewFile(str(tmp_path), str(tmp_path / "tmp"), dir_fd=dir_fd)
    file.link(str(tmp_path), "x", dir_fd=dir_fd)
    file.close()
    os.close(dir_fd)
    assert os.listdir(tmp_path) == ["x"]


def test_fallocate_keeps_the_length(tmp_path):
    with open(tmp_path / "f", "wb") as f:
        fs.fallocate(f.fileno(), 1 << 20)
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
        fs.Reserve(reserve).check(0, size)
    else:
        with pytest.raises(OSError) as caught:
            fs.Reserve(reserve).check(0, size)
        assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("text", ["x", "-1", "101%", "nan%", "", "%"])
def test_reserve_refuses_nonsense(text):
    with pytest.raises(ValueError):
        fs.Reserve(text)


def test_lock_excludes_and_times_out(tmp_path):
    directory = str(tmp_path / "new")
    with fs.locked(directory, 1):
        with pytest.raises(fs.LockTimeout):
            fs.acquire_lock(directory, 0.01)
        os.close(fs.acquire_lock(directory, 0.01, limit=2))
        os.close(fs.acquire_lock(directory, 0.01, name="replication"))
    os.close(fs.acquire_lock(directory, 0.01))
    assert sorted(os.listdir(directory)) == [".lock", ".lock-1", ".lock-replication"]


def test_mounted_says_the_marker_file_or_the_device(tmp_path):
    assert fs.is_mount("/")
    assert fs.is_mount("/proc")
    assert not fs.is_mount(str(tmp_path))
    assert not fs.is_mount(str(tmp_path / "absent"))
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "d")
    (tmp_path / "proc").symlink_to("/proc")
    assert not fs.is_mount(str(tmp_path / "link"))
    assert not fs.is_mount(str(tmp_path / "proc"))
    (tmp_path / "d" / ".ismount").touch()
    assert fs.is_mount(str(tmp_path / "d"))
    assert fs.is_mount(str(tmp_path / "link"))


def test_xattrs(tmp_path):
    (tmp_path / "f").touch()
    path = str(tmp_path / "f")
    if not fs.user_xattr_limit(str(tmp_path)):
        with pytest.raises(OSError):
            fs.set_xattr(path, "user.a", b"1")
        return
    fs.set_xattr(path, "user.a", b"1")
    assert fs.get_xattr(path, "user.a") == b"1"
    assert fs.list_xattrs(path) == ["user.a"]
    fs.remove_xattr(path, "user.a")
    fs.remove_xattr(path, "user.a")
    assert fs.list_xattrs(path) == []
    assert os.listdir(tmp_path) == ["f"]


def run_to_fault(spec, code):
    return subprocess.run(
        [sys.executable, "-c", "from swift.core.fs import fault_point\n" + code],
        env={**os.environ, "SWIFT_FAULT_POINT": spec},
        capture_output=True,
        text=True,
    )


def test_fault_point_kills_at_the_count_given():
    code = "for i in range(3):\n print(i, flush=True)\n fault_point('put:here')"
    for spec, lines in (("put:here", "0\n"), ("put:here:2", "0\n1\n")):
        done = run_to_fault(spec, code)
        assert done.returncode == -signal.SIGKILL
        assert done.stdout == lines
    assert run_to_fault("elsewhere", code).returncode == 0


def test_fault_point_names_may_have_colons():
    code = "for i in range(3):\n print(i, flush=True)\n fault_point('here:now')"
    for spec, lines in (("here:now", "0\n"), ("here:now:2", "0\n1\n")):
        done = run_to_fault(spec, code)
        assert done.returncode == -signal.SIGKILL
        assert done.stdout == lines


def test_a_directory_made_anew_under_a_known_path_is_synced(tmp_path, synced):
    """By another process, of which we hear nothing; file systems give such a directory the same inode number."""
    root = str(tmp_path)
    for _ in range(20):
        fs.mkdirs_durable(f"{root}/a/b", root)
        os.rmdir(f"{root}/a/b")
        os.mkdir(f"{root}/a/b")
        del synced[:]
        fs.mkdirs_durable(f"{root}/a/b", root)
        assert f"{root}/a" in synced


def test_where_directories_have_no_identity_all_is_synced_each_time(tmp_path, synced, monkeypatch):
    monkeypatch.setattr(fs, "_generation_by_device", {os.stat(tmp_path).st_dev: fs._cannot_tell})
    root = str(tmp_path)
    for _ in range(2):
        del synced[:]
        fs.mkdirs_durable(f"{root}/a/b", root)
        assert synced == [f"{root}/a", root]


def test_what_is_remembered_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(fs, "_KNOWN_DURABLE_MAX", 10)
    for n in range(50):
        fs.mkdirs_durable(f"{tmp_path}/{n}", str(tmp_path))
    assert len(fs._known_durable) == 10


@pytest.mark.parametrize("way", ["_generation", "_handle"])
def test_each_way_to_tell_directories_apart(tmp_path, synced, monkeypatch, way):
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        getattr(fs, way)(fd)
    except OSError:
        return  # not on this file system: then it is not taken
    finally:
        os.close(fd)
    monkeypatch.setattr(fs, "_generation_by_device", {os.stat(tmp_path).st_dev: getattr(fs, way)})
    test_a_directory_made_anew_under_a_known_path_is_synced(tmp_path, synced)
