import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.ring import devices

GOLDEN = json.loads((pathlib.Path(__file__).parents[2] / "golden" / "ring" / "parse.json").read_text())
# a port outside of 1-65535 cannot be served; the reference takes it
STRICTER = {"r1z1-10.0.0.1:-1/sda"}


def outcomes(name):
    return [pytest.param(case, id=repr(case["in"])) for case in GOLDEN[name] if case["in"] not in STRICTER]


def check(function, case):
    if "error" in case:
        with pytest.raises(ValueError) as caught:
            function(case["in"])
        assert str(caught.value) == case["message"]
    else:
        assert function(case["in"]) == case["result"]


@pytest.mark.parametrize("case", outcomes("parse_add_value"))
def test_add_value(case):
    check(devices.parse_add_value, case)


@pytest.mark.parametrize("case", outcomes("parse_search_value"))
def test_search_value(case):
    check(devices.parse_search_value, case)


@pytest.mark.parametrize("case", outcomes("normalise_address"))
def test_address(case):
    check(devices.normalize_address, case)


@pytest.mark.parametrize("case", outcomes("normalise_ip"))
def test_ip(case):
    check(devices.normalize_ip, case)


@pytest.mark.parametrize("value", ["r1z1-10.0.0.1:0/sda", "r1z1-10.0.0.1:65536/sda", "r1z1-10.0.0.1:-1/sda"])
def test_impossible_ports_cannot_be_added(value):
    with pytest.raises(ValueError, match="Invalid port"):
        devices.parse_add_value(value)


@given(st.text(alphabet="drz-0123456789.:R/_[]abx \u2603", max_size=40))
def test_parsers_answer_or_raise_value_error(text):
    for parse in (devices.parse_add_value, devices.parse_search_value, devices.parse_change_value):
        try:
            parse(text)
        except ValueError:
            pass


DEVS = [
    {"id": 0, "region": 1, "zone": 1, "ip": "10.0.0.1", "port": 6200, "replication_ip": "10.0.0.1",
     "replication_port": 6200, "device": "sda", "weight": 100.0, "meta": "rack 7"},
    None,
    {"id": 2, "region": 1, "zone": 2, "ip": "2001:DB8:0::1", "port": 6200, "replication_ip": "host",
     "replication_port": 6300, "device": "sdb", "weight": 0.0, "meta": ""},
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ("", [0, 2]), ("d0", [0]), ("z2", [2]), ("_rack", [0]), ("_", [0, 2]), ("/", []), ("[2001:db8::1]", [2]),
        ("R:6300", [2]), ("d0z2", []), (":6200", [0, 2]),
    ],
)  # fmt: skip
def test_search(value, ids):
    assert [d["id"] for d in devices.search(DEVS, [devices.parse_search_value(value)])] == ids


def test_searches_are_joined_by_or_and_name_a_device_once():
    found = devices.search(DEVS, [{"id": 2}, {"zone": 1}, {"region": 1}])
    assert [d["id"] for d in found] == [0, 2]


def test_device_text_puts_ipv6_in_brackets():
    dev = dict(DEVS[2], meta="m")
    assert devices.device_text(dev) == 'd2r1z2-[2001:DB8:0::1]:6200Rhost:6300/sdb_"m"'
