"""A process has one Swift directory."""

import pytest

from swift.core import hashing, swift_dir
from swift.core.errors import ConfigError


@pytest.fixture
def directories(tmp_path):
    for name in ("ours", "etc"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "swift.conf").write_text(f"[swift-hash]\nswift_hash_path_suffix = {name}\n")
    return str(tmp_path / "ours"), str(tmp_path / "etc")


def test_no_directory_means_the_one_in_use(directories, monkeypatch):
    ours, etc = directories
    monkeypatch.setattr(swift_dir, "DEFAULT_SWIFT_DIR", etc)
    assert swift_dir.use(ours) == ours
    there = hashing.hash_path("a", "c", "o")
    assert swift_dir.use(None) == ours
    assert (hashing.hash_path("a", "c", "o"), swift_dir.current()) == (there, ours)


def test_the_default_if_none_is_in_use_yet(directories, monkeypatch):
    monkeypatch.setattr(swift_dir, "_current", None)
    monkeypatch.setattr(swift_dir, "DEFAULT_SWIFT_DIR", directories[1])
    assert swift_dir.use() == directories[1]


def test_another_directory_is_refused_and_changes_nothing(directories, tmp_path):
    ours, etc = directories
    swift_dir.use(ours)
    there = hashing.hash_path("a", "c", "o")
    with pytest.raises(ConfigError, match="already"):
        swift_dir.use(etc)
    assert (hashing.hash_path("a", "c", "o"), swift_dir.current()) == (there, ours)
    (tmp_path / "link").symlink_to(ours)
    swift_dir.use(str(tmp_path / "link"))
