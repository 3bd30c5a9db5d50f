"""How devices are called, and how what speaks against pulling them is counted and told."""

import pytest

from swift.cli.cluster import Cluster, UnknownDevice
from swift.cli.pull_findings import MOST_PROBLEMS, Part, short_reason
from swift.ring.builder import RingBuilder

SWIFT_CONF = """[swift-hash]
swift_hash_path_prefix = changeme
swift_hash_path_suffix = changeme
[storage-policy:0]
name = gold
"""


def device(ip, port, name, zone):
    return {
        "region": 1,
        "zone": zone,
        "ip": ip,
        "port": port,
        "replication_ip": "192.168.0." + ip[-1] if "." in ip else ip,
        "replication_port": port + 1000,
        "device": name,
        "weight": 1.0,
        "meta": "",
    }


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "swift.conf").write_text(SWIFT_CONF)
    addresses = [
        ("10.0.0.1", "sdb1"),
        ("10.0.0.2", "sdb2"),
        ("fe80::3", "sdb3"),
        ("10.0.0.2", "same"),
        ("10.0.0.1", "same"),
    ]
    for name, port in (("account", 6202), ("container", 6201), ("object", 6200)):
        builder = RingBuilder(4, 2, 0)
        for zone, (ip, disk) in enumerate(addresses, 1):
            builder.add_dev(device(ip, port, disk, zone))
        builder.rebalance(seed="1")
        builder.get_ring().save(str(tmp_path / f"{name}.ring.gz"))
    return Cluster(str(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "sdb1",
        "/sdb1",
        "10.0.0.1/sdb1",
        "10.0.0.1:6200/sdb1",
        "10.0.0.1:6201/sdb1",
        "192.168.0.1/sdb1",
        "192.168.0.1:7200/sdb1",
    ],
)
def test_names_of_a_device(cluster, text):
    target = cluster.target(text)
    assert str(target) == "10.0.0.1/sdb1"
    assert sorted(target.nodes) == ["account", "container", "object"]


def test_an_address_with_colons(cluster):
    for text in ("sdb3", "[fe80::3]/sdb3", "[fe80::3]:6200/sdb3", "fe80::3/sdb3"):
        assert str(cluster.target(text)) == "[fe80::3]/sdb3"


@pytest.mark.parametrize(
    "text", ["", "/", "sdb9", "10.0.0.2/sdb1", "10.0.0.1:1/sdb1", "10.0.0.1:x/sdb1", "a b/sdb1"]
)
def test_no_device(cluster, text):
    with pytest.raises(UnknownDevice):
        cluster.target(text)


def test_one_name_of_two_devices(cluster):
    with pytest.raises(UnknownDevice, match=r"10\.0\.0\.1/same, 10\.0\.0\.2/same"):
        cluster.target("same")
    assert str(cluster.target("10.0.0.2/same")) == "10.0.0.2/same"


def test_servers_beside_a_device(cluster):
    target = cluster.target("10.0.0.2/sdb2")
    beside = cluster.beside(target, ["object", "container"])
    assert [(node["replication_port"], node["device"]) for node in beside] == [(7200, "sdb2"), (7201, "sdb2")]


def test_problems_are_counted_by_node():
    part = Part("objects", "gold", "partition", "object")
    part.checked, part.guests = 5, 2
    assert part.is_whole
    assert list(part.lines()) == [
        "objects of policy gold: 5 partitions, 2 of them not at home here: whole elsewhere"
    ]
    part.problem("lacks", "a", example="x", items=2)
    part.problem("lacks", "a", example="y", items=1)
    part.problem("waiting", items=1)
    assert not part.is_whole
    assert list(part.lines())[1:] == [
        "  a lacks 3 objects of 2 partitions, e.g. x",
        "  1 update not delivered to container servers yet",
    ]
    assert part.document()["problems"][0]["units"] == 2


def test_problems_are_bounded():
    part = Part("objects", "gold", "partition", "object")
    for number in range(MOST_PROBLEMS * 3):
        part.problem("unread", why=str(number))
    assert len(part.document()["problems"]) == MOST_PROBLEMS
    assert sum(problem["units"] for problem in part.document()["problems"]) == MOST_PROBLEMS * 3


def test_reasons_name_the_node_once():
    assert short_reason("1.2.3.4:5/sda: 1.2.3.4:5: refused", "1.2.3.4:5/sda") == "refused"
    assert short_reason("timed out", "1.2.3.4:5/sda") == "timed out"
