import pytest

from swift.run import addresses
from swift.run.addresses import is_own_device, own_addresses


def device(ip, port=6200, **more):
    return {"ip": ip, "port": port, "replication_ip": "10.9.9.9", "replication_port": 7, **more}


def test_a_specific_address_stands_for_itself():
    assert own_addresses("10.0.0.1") == {"10.0.0.1"}
    assert own_addresses("[FE80::0:1]") == {"fe80::1"}


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::", "", None, "node1.example"])
def test_all_else_stands_for_all_interfaces(wildcard):
    assert "127.0.0.1" in own_addresses(wildcard)


def test_which_devices_are_own(monkeypatch):
    own = {"10.0.0.1", "fe80::1"}
    assert is_own_device(device("10.0.0.1"), own, 6200)
    assert is_own_device(device("FE80:0::1"), own, None)
    assert not is_own_device(device("10.0.0.1"), own, 6201)
    assert not is_own_device(device("10.0.0.2"), own, None)
    assert is_own_device(device("10.0.0.2"), {"10.9.9.9"}, 7, replication=True)
    assert not is_own_device(device("10.0.0.1"), own, 6200, replication=True)
    addresses._resolved.cache_clear()
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda name, port: [(2, 1, 6, "", ("10.0.0.1", 0))])
    assert is_own_device(device("node1"), own, 6200)

    def fails(name, port):
        raise OSError("no such name")

    monkeypatch.setattr(addresses.socket, "getaddrinfo", fails)
    assert not is_own_device(device("node2"), own, 6200)
    addresses._resolved.cache_clear()
