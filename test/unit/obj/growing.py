"""An object server on one device whose ring's partition power is being changed, and the relinker for it."""

import os

from obj_app import App, Log

from swift.core.hashing import hash_path
from swift.core.policy import policies
from swift.obj.relinking import processes
from swift.obj.relinking.options import read_options
from swift.ring.builder import RingBuilder

POWER = 4
RING_NAMES = {0: "object", 1: "object-1", 2: "object-2"}


class Growing:
    """`ring(policy)`: its builder, whose steps are `prepare()` … `finish()`; `app`: the server."""

    def __init__(self, root, batch=None, power=POWER, **conf):
        self.app = App(root, batch=batch, **conf)
        self.root, self.device, self.etc = root, self.app.device, f"{root}/etc"
        self.power = power
        self.log = Log()
        self.builders = {}
        for policy, name in RING_NAMES.items():
            builder = RingBuilder(power, 1, 0)
            builder.add_dev(
                {"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": 6200, "device": "sda", "weight": 1.0,
                 "replication_ip": "127.0.0.1", "replication_port": 6200, "meta": ""}
            )  # fmt: skip
            builder.rebalance()
            self.builders[policy] = builder
            self.write_ring(policy, name)

    def write_ring(self, policy=0, name=None):
        path = f"{self.etc}/{name or RING_NAMES[policy]}.ring.gz"
        self.builders[policy].get_ring().save(path)
        os.utime(path, (1.7e9, 1.7e9))  # long before what is done with it

    def _turn(self, what, policy):
        assert getattr(self.builders[policy], f"{what}_increase_partition_power")()
        self.write_ring(policy)

    def prepare(self, policy=0):
        self._turn("prepare", policy)

    def increase(self, policy=0):
        assert self.builders[policy].increase_partition_power()
        self.write_ring(policy)

    def cancel(self, policy=0):
        self._turn("cancel", policy)

    def finish(self, policy=0):
        self._turn("finish", policy)

    def run(self, step, devices=(), partitions=(), names=(), **conf):
        """The relinker; returns its exit status."""
        base = {
            "devices": self.root,
            "mount_check": "false",
            "recon_cache_path": self.root,
            "workers": "0",
            "reclaim_age": "1e12",
        }
        options = read_options({**base, **conf}, self.etc, devices or ["sda"], partitions, names)
        assert policies() is not None
        return processes.run(step, options, self.log)

    def partition(self, name, power):
        return str(int(hash_path("a", "c", name)[:8], 16) >> (32 - power))

    def where(self, name, power, policy=0):
        where = self.app.where(f"/a/c/{name}", self.partition(name, power), policy)
        where.ec = policy == 2
        return where

    def request(self, method, name, power, body=b"", policy=0, **headers):
        """As from a proxy whose ring has this power."""
        path = f"/sda/{self.partition(name, power)}/a/c/{name}"
        return self.app.request(method, path, body, X_Backend_Storage_Policy_Index=str(policy), **headers)

    def put(self, name, power, timestamp, body=b"body", **headers):
        got = self.request("PUT", name, power, body, X_Timestamp=timestamp, **headers)
        assert got.status == 201, got.body
        return got

    def get(self, name, power, policy=0):
        return self.request("GET", name, power, policy=policy)

    def files(self, name, power, policy=0):
        try:
            return sorted(os.listdir(self.where(name, power, policy).hash_dir))
        except FileNotFoundError:
            return []

    def partitions(self, datadir="objects"):
        return sorted((name for name in os.listdir(f"{self.device}/{datadir}") if name.isdigit()), key=int)

    def names(self, count=6, moving=True):
        """Names of objects whose partition changes."""
        found = []
        number = 0
        while len(found) < count:
            name = f"o{number}"
            number += 1
            if self.partition(name, self.power) != self.partition(name, self.power + 1):
                found.append(name)
        return found
