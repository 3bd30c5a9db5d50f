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

RING = "object"
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
def load(cluster, request):
    container = "/" + request.node.name.translate(str.maketrans("_[", "--", "]"))
    assert cluster.request("PUT", container, headers={"X-Storage-Policy": "gold"}).status == 201
    return Load(cluster.addresses(), cluster.token, [container], each=4)


def device(builder, name):
    return next(dev for dev in builder.devs if dev and dev["device"] == name)


def rebalance(builder):
    builder.pretend_min_part_hours_passed()
    builder.rebalance(seed="1")


def replicate(cluster):
    cluster.run("swift-object-replicator", "{conf}", "once")


def astray(cluster):
    """Partitions that lie on a disk of the ring that does not have them on it."""
    ring = Ring(str(cluster.layout.etc), RING)
    disks = {dev["device"] for dev in ring.devs if dev}
    found = []
    for path in cluster.layout.disks.glob("*/*/objects/*"):
        name = path.parts[-3]
        if not path.name.isdigit() or name not in disks:
            continue  # nobody gives back what lies on a disk that was taken out
        if name not in {n["device"] for n in ring.get_part_nodes(int(path.name))}:
            found.append(path)
    return found


def settle(cluster, load):
    """Replicators run until nothing is astray; clients go on."""
    for _ in range(PASSES):
        replicate(cluster)
        load.rest(2)
        if not astray(cluster):
            return
    raise AssertionError(f"still astray: {astray(cluster)[:5]}")


def check_end(cluster, load):
    """Without clients: passes bring all copies home, and each copy of each object is right."""
    for _ in range(PASSES):
        replicate(cluster)
        if not astray(cluster):
            break
    assert astray(cluster) == []
    load.check()


def test_a_disk_is_added(cluster, load):
    ip, port = cluster.layout.storage_address("object", 1)

    def change(builder):
        builder.add_dev(
            {"region": 1, "zone": 1, "ip": ip, "port": port, "replication_ip": ip, "replication_port": port,
             "device": "sdb5", "weight": 1.0, "meta": ""}
        )  # fmt: skip
        rebalance(builder)

    with load.running():
        load.rest(20)
        cluster.change([RING], change, load)
        settle(cluster, load)
        cluster.change([RING], rebalance, load)
        settle(cluster, load)
    check_end(cluster, load)
    assert list(cluster.layout.disks.glob("1/sdb5/objects/*/*/*/*.data"))


def test_weights_change(cluster, load):
    with load.running():
        load.rest(20)
        for weights in (("sdb1", 0.0), ("sdb4", 2.0)), (("sdb1", 1.0), ("sdb2", 0.3)):

            def change(builder, weights=weights):
                for name, weight in weights:
                    builder.set_dev_weight(device(builder, name)["id"], weight)
                rebalance(builder)

            cluster.change([RING], change, load)
            settle(cluster, load)
    check_end(cluster, load)


@pytest.mark.parametrize("disk", ["there", "lost"])
def test_a_disk_is_removed(cluster, load, disk):
    """It was in the ring with all that it holds."""
    name, node = {"there": ("sdb2", 2), "lost": ("sdb3", 3)}[disk]

    def change(builder):
        builder.remove_dev(device(builder, name)["id"])
        rebalance(builder)

    with load.running():
        load.rest(20)
        cluster.change([RING], change, load)
        if disk == "lost":
            objects = cluster.layout.disks / str(node) / name / "objects"
            objects.rename(objects.with_name("lost"))
        settle(cluster, load)
    check_end(cluster, load)
