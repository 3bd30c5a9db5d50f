"""What is promised of swift.engine.xattrs: extended attributes."""

import os

import pytest

from swift.engine.xattrs import get_xattr, list_xattrs, remove_xattr, set_xattr, user_xattr_limit


def test_xattrs(tmp_path):
    (tmp_path / "f").touch()
    path = str(tmp_path / "f")
    if not user_xattr_limit(str(tmp_path)):
        with pytest.raises(OSError):
            set_xattr(path, "user.a", b"1")
        return
    set_xattr(path, "user.a", b"1")
    assert get_xattr(path, "user.a") == b"1"
    assert list_xattrs(path) == ["user.a"]
    remove_xattr(path, "user.a")
    remove_xattr(path, "user.a")
    assert list_xattrs(path) == []
    assert os.listdir(tmp_path) == ["f"]
