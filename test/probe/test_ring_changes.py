"""Rings change under load: disks are added, removed and weighted anew, and replicators run. Not one request fails, and none shows other content.

Of two proxies one always gets a new ring later than the other. Afterwards each copy is where the ring has it, and nowhere else.
"""

import pytest

from swift.cli import saio
from swift.core import swift_dir
from swift.ring.lookup import Ring
from test.altered import spawner
from test.load import Load
from test.two_proxies import TwoProxies, environ

RINGS = {"gold": "object", "ec42": "object-2"}
DAEMONS = {"gold": "swift-object-replicator", "ec42": "swift-object-reconstructor"}
PASSES = 8  # of all replicators: what one has given back, another may still have to give on


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saio, "_spawn", spawner(environ))
        cluster = TwoProxies(tmp_path_factory.mktemp("ring-changes") / "saio")
        cluster.write()
        with cluster:
            cluster.kill("daemons")
            yield cluster
            for path in sorted(cluster.layout.log.iterdir()):
                assert "Traceback" not in path.read_text(errors="replace"), path


@pytest.fixture
def cluster(shared):
    swift_dir.use(str(shared.layout.etc))
    return shared


@pytest.fixture
def policy(request):
    return getattr(request, "param", "gold")


@pytest.fixture
def load(cluster, policy, request):
    container = "/" + request.node.name.translate(str.maketrans("_[", "--", "]"))
    assert cluster.request("PUT", container, headers={"X-Storage-Policy": policy}).status == 201
    return Load(cluster.addresses(), cluster.token, [container], each=4)


def device(builder, name):
    return next(dev for dev in builder.devs if dev and dev["device"] == name)


def rebalance(builder):
    builder.pretend_min_part_hours_passed()
    builder.rebalance(seed="1")


def replicate(cluster, policy):
    cluster.run(DAEMONS[policy], "{conf}", "once")


def astray(cluster, policy):
    """Partitions that lie on a disk of the ring that does not have them on it."""
    ring = Ring(str(cluster.layout.etc), RINGS[policy])
    disks = {dev["device"] for dev in ring.devs if dev}
    found = []
    for path in cluster.layout.disks.glob(f"*/*/{RINGS[policy].replace('object', 'objects', 1)}/*"):
        name = path.parts[-3]
        if not path.name.isdigit() or name not in disks:
            continue  # nobody gives back what lies on a disk that was taken out
        if name not in {n["device"] for n in ring.get_part_nodes(int(path.name))}:
            found.append(path)
    return found


def settle(cluster, policy, load):
    """Replicators run until nothing is astray; clients go on."""
    for _ in range(PASSES):
        replicate(cluster, policy)
        load.rest(2)
        if not astray(cluster, policy):
            return
    raise AssertionError(f"still astray: {astray(cluster, policy)[:5]}")


def check_end(cluster, policy, load):
    """Without clients: passes bring all copies home, and each copy of each object is right."""
    for _ in range(PASSES):
        replicate(cluster, policy)
        if not astray(cluster, policy):
            break
    assert astray(cluster, policy) == []
    load.check()


def test_a_disk_is_added(cluster, policy, load):
    ip, port = cluster.layout.storage_address("object", 1)

    def change(builder):
        builder.add_dev(
            {"region": 1, "zone": 1, "ip": ip, "port": port, "replication_ip": ip, "replication_port": port,
             "device": "sdb5", "weight": 1.0, "meta": ""}
        )  # fmt: skip
        rebalance(builder)

    with load.running():
        load.rest(20)
        cluster.change([RINGS[policy]], change, load)
        settle(cluster, policy, load)
    check_end(cluster, policy, load)
    assert list(cluster.layout.disks.glob("1/sdb5/objects/*/*/*/*.data"))


@pytest.mark.parametrize("policy", RINGS, indirect=True)
def test_weights_change(cluster, policy, load):
    def change(builder):
        for name, weight in ("sdb1", 0.3), ("sdb4", 2.0):
            builder.set_dev_weight(device(builder, name)["id"], weight)
        rebalance(builder)

    with load.running():
        load.rest(20)
        cluster.change([RINGS[policy]], change, load)
        settle(cluster, policy, load)
    check_end(cluster, policy, load)


def test_a_disk_is_removed(cluster, policy, load):
    """All that it holds is lost with it."""

    def change(builder):
        builder.remove_dev(device(builder, "sdb3")["id"])
        rebalance(builder)

    with load.running():
        load.rest(20)
        cluster.change([RINGS[policy]], change, load)
        objects = cluster.layout.disks / "3" / "sdb3" / "objects"
        objects.rename(objects.with_name("lost"))
        settle(cluster, policy, load)
    check_end(cluster, policy, load)
