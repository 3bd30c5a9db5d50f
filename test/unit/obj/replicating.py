"""Some object servers in this process, a ring of them, and their replicators."""

from ssync_pair import Served

from swift.obj.replication.replicator import ObjectReplicator
from swift.ring.builder import RingBuilder
from swift.ring.lookup import Ring


class Farm:
    """`count` servers; nodes are numbered from 1. `regions`: of each."""

    def __init__(self, root, count=4, replicas=3, regions=None, part_power=4, **conf):
        self.root = root
        self.served = {n: Served(f"{root}/n{n}", **conf) for n in range(1, count + 1)}
        self.etc = f"{root}/etc"
        for name in "object", "object-1":
            builder = RingBuilder(part_power, replicas, 0)
            for number, served in self.served.items():
                served.node["region"] = (regions or [1] * count)[number - 1]
                builder.add_dev({**served.node, "zone": number, "weight": 1.0, "meta": "", "id": number - 1})
                served.node["id"] = number - 1
            builder.rebalance(seed="1")
            builder.get_ring().save(f"{self.etc}/{name}.ring.gz")
        self.ring = Ring(f"{self.etc}/object.ring.gz")

    def stop(self):
        for served in self.served.values():
            served.stop()

    def replicator(self, number, **conf):
        served = self.served[number]
        base = {
            "devices": f"{self.root}/n{number}",
            "mount_check": "false",
            "swift_dir": self.etc,
            "bind_ip": "127.0.0.1",
            "bind_port": str(served.node["port"]),
            "recon_cache_path": f"{self.root}/n{number}",
            "reclaim_age": "1e12",
        }
        return ObjectReplicator({**base, **conf}, served.app.log)

    def replicate(self, *numbers, **conf):
        for number in numbers or self.served:
            self.replicator(number, **conf).run_once()

    def part(self, name):
        return str(self.ring.get_part("a", "c", name))

    def primaries(self, name):
        return [node["zone"] for node in self.ring.get_nodes("a", "c", name)[1]]

    def handoff(self, name):
        return next(n for n in self.served if n not in self.primaries(name))

    def request(self, number, method, name, body=b"", **headers):
        app = self.served[number].app
        return app.request(method, f"/sda/{self.part(name)}/a/c/{name}", body, **headers)

    def put(self, name, time, *numbers, body=b"body", **headers):
        for number in numbers or self.primaries(name):
            assert self.request(number, "PUT", name, body, X_Timestamp=time, **headers).status == 201

    def having(self, name):
        """The nodes that have an object, with its time."""
        found = {}
        for number in self.served:
            got = self.request(number, "HEAD", name)
            if got.status == 200:
                found[number] = got.headers["x-timestamp"]
        return found

    def log(self, number):
        return self.served[number].app.log.lines
