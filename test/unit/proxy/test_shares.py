"""What object servers are told of the container that they are to inform."""

from types import SimpleNamespace

from swift.proxy.updates import container_shares


def shares(nodes, **environ):
    services = SimpleNamespace(containers=SimpleNamespace(lookup=lambda account, container: (7, nodes)))
    exchange = SimpleNamespace(environ=environ, use_replication=False, account="a", container="c")
    return container_shares(services, exchange, {"sharding_state": "unsharded"}, 3, 2, None)


def node(number):
    return {"ip": f"10.0.0.{number}", "port": 6201, "device": f"d{number}"}


def test_they_follow_the_ring():
    first = shares(tuple(map(node, (1, 2, 3))))
    again = shares(tuple(map(node, (1, 2, 3))))
    moved = shares(tuple(map(node, (1, 2, 4))))
    assert [share.hosts for share in first] == [share.hosts for share in again]
    assert [share.hosts for share in first] == ["10.0.0.1:6201", "10.0.0.2:6201", "10.0.0.3:6201"]
    assert [share.hosts for share in moved] == ["10.0.0.1:6201", "10.0.0.2:6201", "10.0.0.4:6201"]


def test_they_say_what_the_request_asks_for():
    nodes = tuple(map(node, (1, 2, 3)))
    assert b"Clean-Expiring" in shares(nodes)[0].lines
    assert b"Clean-Expiring" not in shares(nodes, HTTP_X_BACKEND_CLEAN_EXPIRING_OBJECT_QUEUE="f")[0].lines
