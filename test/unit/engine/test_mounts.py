"""What is promised of swift.engine.mounts: what is mounted where."""

from swift.engine.mounts import is_mount


def test_mounted_says_the_marker_file_or_the_device(tmp_path):
    assert is_mount("/")
    assert is_mount("/proc")
    assert not is_mount(str(tmp_path))
    assert not is_mount(str(tmp_path / "absent"))
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "d")
    (tmp_path / "proc").symlink_to("/proc")
    assert not is_mount(str(tmp_path / "link"))
    assert not is_mount(str(tmp_path / "proc"))
    (tmp_path / "d" / ".ismount").touch()
    assert is_mount(str(tmp_path / "d"))
    assert is_mount(str(tmp_path / "link"))
