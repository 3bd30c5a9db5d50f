"""A process that a tracer looks at: writes some objects, relinks them and cleans up. Says MARK 1 to MARK 3 when each is done."""

import os
import sys

from swift.core.hashing import hash_path
from swift.core.policy import policies
from swift.core.swift_dir import use
from swift.obj.files.layout import ObjectLocation
from swift.obj.files.writer import tombstone, write_file
from swift.obj.relinking import processes
from swift.obj.relinking.options import read_options
from swift.obj.store import StoreOptions
from swift.ring.builder import RingBuilder

POWER = 4


class Silent:
    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def partition(name, power):
    return str(int(hash_path("a", "c", name)[:8], 16) >> (32 - power))


def names(count):
    """Of objects whose partition changes, one after another."""
    found = (f"o{number}" for number in range(1000))
    return [name for name in found if partition(name, POWER) != partition(name, POWER + 1)][:count]


def write(device, at):
    """All that an object may consist of; the first two names are the same object's data and what was posted to it."""
    options = StoreOptions(reclaim_age=1e12)
    posted, plain, deleted = names(3)
    for name in names(3):
        where = ObjectLocation(device, 0, partition(name, POWER), hash_path("a", "c", name), f"/a/c/{name}")
        metadata = {
            "X-Timestamp": at(1),
            "ETag": "841a2d689ad86bd1611447453c22c6fc",
            "Content-Length": "4",
            "Content-Type": "text/plain",
        }
        write_file(where, options, metadata, ".data", b"body")
        if name == posted:
            write_file(where, options, {"X-Timestamp": at(2), "X-Object-Meta-A": "post"}, ".meta")
        if name == deleted:
            tombstone(where, options, at(2))
    return posted, plain, deleted


def main(home):
    use(home)
    start = int(os.environ["START"])
    write(f"{home}/d/sda", lambda second: f"{start + second}.00000")
    os.write(1, b"MARK 1")
    builder = RingBuilder(POWER, 1, 0)
    builder.add_dev(
        {"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": 6200, "device": "sda", "weight": 1.0,
         "replication_ip": "127.0.0.1", "replication_port": 6200, "meta": ""}
    )  # fmt: skip
    builder.rebalance()
    conf = {"devices": f"{home}/d", "mount_check": "false", "recon_cache_path": home, "workers": "0"}
    options = read_options(conf, home, policy_names=["0"])
    assert policies()
    for number, step in (2, "relink"), (3, "cleanup"):
        assert (
            builder.prepare_increase_partition_power() if number == 2 else builder.increase_partition_power()
        )
        builder.get_ring().save(f"{home}/object.ring.gz")
        assert processes.run(step, options, Silent()) == 0
        os.write(1, f"MARK {number}".encode())


if __name__ == "__main__":
    main(sys.argv[1])
