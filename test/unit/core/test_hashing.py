import json
import pathlib

import pytest

from swift.core import hashing
from swift.core.errors import ConfigError

PATHS = json.loads((pathlib.Path(__file__).parent / "data/paths.json").read_text())


@pytest.fixture(autouse=True)
def keep_hash_config():
    before = hashing.HashConfig() if hashing._config is None else hashing._config
    yield
    hashing.set_hash_config(before.prefix, before.suffix)


def test_golden_paths_and_partitions():
    hashing.set_hash_config(PATHS["prefix"], PATHS["suffix"])
    for case in PATHS["paths"]:
        names = [case["account"], case["container"], case["object"]]
        assert hashing.hash_path(*names) == case["hash"], names
        as_bytes = [None if name is None else name.encode() for name in names]
        assert hashing.hash_path(*as_bytes) == case["hash"]
        assert hashing.hash_path(names[0], *as_bytes[1:]) == case["hash"]
        assert hashing.hash_path(*names, raw_digest=True).hex() == case["hash"]
        for power, partition in case["parts_by_power"].items():
            assert hashing.partition_for_hash(case["hash"], power) == partition


def test_golden_paths_of_other_prefixes():
    for group in PATHS["other"]:
        hashing.set_hash_config(
            group.get("prefix", group.get("prefix_latin1", "")),
            group.get("suffix", group.get("suffix_latin1", "")),
        )
        for case in group["hashes"]:
            assert hashing.hash_path(case["account"], case["container"], case["object"]) == case["hash"]


def test_object_without_container():
    hashing.set_hash_config(b"", b"x")
    with pytest.raises(ValueError, match="container is required if object is provided"):
        hashing.hash_path("a", None, "o")
    assert hashing.hash_path("a", "", "") == hashing.hash_path("a")


def test_storage_directory_and_partition_moves():
    name_hash = "fa0fcec07328d068e24ccbf2a62f2a38"
    assert hashing.storage_directory("objects", 7, name_hash) == f"objects/7/a38/{name_hash}"
    path = f"/sda/objects/16003/a38/{name_hash}/x.data"
    assert hashing.partition_from_path("", path) == 16003
    assert hashing.replace_partition_in_path("", path, 14) == path
    assert hashing.replace_partition_in_path("", path, 15) == path.replace("16003", "32007")
    below = f"/srv/node/sda/objects/16003/a38/{name_hash}"
    assert hashing.replace_partition_in_path("/srv/node/", below, 15) == below.replace("16003", "32007")
    with pytest.raises(ValueError, match="Path '/elsewhere' is not under device dir '/srv/node'"):
        hashing.partition_from_path("/srv/node", "/elsewhere")


def test_settings_are_read_as_raw_bytes(tmp_path):
    (tmp_path / "swift.conf").write_bytes(b"[swift-hash]\nswift_hash_path_suffix = \xff%%x ; y  \n")
    assert hashing.load_hash_config(str(tmp_path)) == hashing.HashConfig(b"", b"\xff%x ; y")


@pytest.mark.parametrize("text", [None, "", "[swift-hash]\nswift_hash_path_suffix =\n"])
def test_missing_settings_end_in_one_line(tmp_path, text):
    if text is not None:
        (tmp_path / "swift.conf").write_text(text)
    with pytest.raises(ConfigError) as caught:
        hashing.load_hash_config(str(tmp_path))
    assert str(caught.value) == (
        "Error: [swift-hash]: both swift_hash_path_suffix and swift_hash_path_prefix are missing from "
        f"{tmp_path}/swift.conf"
    )


def test_bare_percent_is_a_config_error(tmp_path):
    (tmp_path / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = a%b\n")
    with pytest.raises(ConfigError, match="'%' that must be followed by '%' or '\\('"):
        hashing.load_hash_config(str(tmp_path))
