"""For tests of sharding: nodes with servers and sharders in this process, and what a proxy would list of a container there."""

from __future__ import annotations

import collections
import json
from typing import Any

from swift.container.shard_ranges import ACTIVE
from swift.container.sharding import deciding
from swift.container.sharding.sharder import ContainerSharder
from test.replicas import Nodes

ROOT = ("AUTH_a", "c")
OPTIONS = {
    "auto_shard": "true",
    "shard_container_threshold": "20",
    "rows_per_shard": "10",
    "minimum_shard_size": "4",
    "shrink_threshold": "4",
}


class Shards(Nodes):
    """Nodes with sharders; rows are told to servers as object servers tell them."""

    def __init__(self, home: Any, sharding: Any = None, **conf: str) -> None:
        self.sharding = dict(sharding or {})
        # no peer hangs here: whoever is slow is a busy machine
        super().__init__(home, **{"conn_timeout": "60", "node_timeout": "60", **conf})

    def sharder(self, node, **conf):
        options = {**OPTIONS, **self.sharding, **conf}
        return ContainerSharder({**self.conf(node), **options}, self.logger, self.ring)

    def shard(self, *nodes, **conf):
        for node in nodes or sorted(self.running):
            self.sharder(node, **conf).run_once()
        assert [line for line in self.logger.lines if "ERROR" in line] == []

    def make(self, policy=0, **headers):
        for node in self.part_nodes(*ROOT)[1]:
            assert self.request(
                node, "PUT", "AUTH_a/c", "1700000000.00000", X_Backend_Storage_Policy_Index=policy,
                X_Container_Sysmeta_Sharding="True", **headers,
            ) in (201, 202)  # fmt: skip

    def update(self, names, second=1, deleted=0, nodes=None, at=ROOT, policy=0):
        rows = [
            {"name": name, "created_at": f"17000{second:05d}.00000", "size": 7, "content_type": "t/x", "etag": "e",
             "deleted": deleted, "storage_policy_index": policy} for name in names
        ]  # fmt: skip
        for node in self.part_nodes(*at)[1] if nodes is None else nodes:
            assert self.request(
                node, "UPDATE", "/".join(at), "1700000000.00000", json.dumps(rows),
                X_Backend_Storage_Policy_Index=0,
            ) == 202  # fmt: skip

    def lose_a_range(self):
        """The root forgets one of its shards."""
        for broker in self.containers()[ROOT]:
            lost = broker.other_shard_ranges()[1]
            broker.merge_shard_ranges([{**lost, "deleted": 1, "timestamp": "1999000000.00000"}])

    def overlap(self, names):
        """The root has one shard too many, up to o0014, with rows of its own; its name."""
        extra = f".shards_AUTH_a/c-{'0' * 32}-1700000001.00000-0"
        cut = {"lower": "", "upper": "o0014", "object_count": 1}
        item = {**deciding._found(extra, "1700000001.00000", cut), "state": ACTIVE}
        for broker in self.containers()[ROOT]:
            broker.merge_shard_ranges([item])
        headers = {
            "X-Backend-Storage-Policy-Index": "0",
            "X-Container-Sysmeta-Shard-Quoted-Root": "AUTH_a/c",
            "X-Container-Sysmeta-Sharding": "True",
            "X-Backend-Auto-Create": "True",
        }
        assert self.sharder(0).asking.send(extra, [item], headers)
        self.update(names, 3, at=tuple(extra.split("/")))
        return extra

    def containers(self):
        """{(account, container): [broker]} of all that lie anywhere."""
        found = collections.defaultdict(list)
        for path in sorted(self.home.glob("*/sd*/containers/*/*/*")):
            broker = self.broker_class(str(path / f"{path.name}.db"), logger=self.logger)
            if broker.exists():
                info = broker.info()
                found[info["account"], info["container"]].append(broker)
        return found

    def listing(self, node=None):
        """What a proxy would list of the root, asking one replica of each."""
        return self._listing(ROOT, "", "", [])

    def _listing(self, names, lower, upper, above):
        primaries = self.part_nodes(*names)[1]
        broker = self.broker(primaries[len(above) % len(primaries)], *names)
        if not broker.exists():
            return []
        others = sorted(broker.other_shard_ranges(), key=lambda r: (r["upper"] == "", r["upper"]))
        if names in above or broker.db_state() not in ("sharding", "sharded"):
            return rows_of(broker, lower, upper)
        found, at = [], lower
        for item in others:
            if item["state"] not in (30, 40, 50, 60) or (item["upper"] and item["upper"] <= at):
                continue
            if item["lower"] > at:
                break
            end = item["upper"] if not upper or (item["upper"] and item["upper"] < upper) else upper
            found += self._listing(tuple(item["name"].split("/", 1)), at, end, [*above, names])
            at = end
            if not at:
                return found
        return found + rows_of(broker, at, upper)


def rows_of(broker, lower, upper):
    with broker.connection(broker.component_files()[0]) as conn:
        return [
            name
            for (name,) in conn.execute("SELECT name FROM object WHERE deleted = 0 ORDER BY name")
            if name > lower and (not upper or name <= upper)
        ]


def names(count, start=0):
    return [f"o{number:04d}" for number in range(start, start + count)]


def until_done(nodes, passes=12, **conf):
    for _ in range(passes):
        nodes.shard(**conf)
        if all(
            broker.db_state() in ("sharded", "collapsed", "unsharded")
            for found in nodes.containers().values()
            for broker in found
        ):
            return
    raise AssertionError("still sharding")
