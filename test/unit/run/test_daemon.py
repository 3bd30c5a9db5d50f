import pytest

from swift.core.errors import ConfigError
from swift.run.daemon import Overrides, distribute, parse_overrides


def test_overrides_count_only_for_one_pass():
    given = {"devices": " sda, ,sdb", "partitions": "1,2", "policies": "0", "other": 1}
    assert parse_overrides(once=True, **given) == Overrides(["sda", "sdb"], [1, 2], [0])
    assert parse_overrides(**given) == Overrides() == parse_overrides(once=True)
    with pytest.raises(ConfigError):
        parse_overrides(once=True, partitions="x")


def test_devices_are_dealt_round_robin():
    assert distribute(["a", "b", "c", "d", "e"], 2) == [["a", "c", "e"], ["b", "d"]]
    assert distribute(["a"], 5) == [["a"]]
    assert distribute([], 5) == []
