"""For tests of replication: nodes with servers that listen, all in this process, and the replicators of each."""

from __future__ import annotations

import pathlib
from typing import Any

from swift.account.broker import AccountBroker
from swift.account.replicator import AccountReplicator
from swift.account.server import AccountServer
from swift.container.broker import ContainerBroker
from swift.container.replicator import ContainerReplicator
from swift.container.server import ContainerServer
from swift.core import swift_dir
from swift.core.concurrency import kill, spawn
from swift.core.hashing import hash_path, storage_directory
from swift.engine.sockets import listen
from swift.ring.builder import RingBuilder
from swift.ring.lookup import Ring
from swift.wire.server import Server
from test.databases import SWIFT_CONF, Logger, call

KINDS = {
    "account": (AccountServer, AccountReplicator, AccountBroker),
    "container": (ContainerServer, ContainerReplicator, ContainerBroker),
}


class QuietLogger(Logger):
    debug = notice = critical = Logger.error


class Nodes:
    """`count` nodes with a device each (`sd0` …), of one kind of database; `replicas` of them hold a replica each."""

    def __init__(
        self, home: pathlib.Path, kind: str = "container", count: int = 3, replicas: int = 3, **conf: str
    ) -> None:
        self.home = home
        self.kind = kind
        self.server_class, self.replicator_class, self.broker_class = KINDS[kind]
        (home / "swift.conf").write_text(SWIFT_CONF)
        swift_dir.use(str(home))
        self.listeners: dict[int, Any] = {}
        self.running: dict[int, Any] = {}
        self.apps: dict[int, Any] = {}
        self.logger = QuietLogger()
        self.more_conf = conf
        builder = RingBuilder(4, replicas, 1)
        for node in range(count):
            self.listeners[node] = listen("127.0.0.1", 0, 64)
            port = self.listeners[node].getsockname()[1]
            builder.add_dev(
                {
                    "region": 1,
                    "zone": node,
                    "ip": "127.0.0.1",
                    "port": port,
                    "replication_ip": "127.0.0.1",
                    "replication_port": port,
                    "device": f"sd{node}",
                    "weight": 1.0,
                    "meta": "",
                }
            )
            (home / str(node) / f"sd{node}").mkdir(parents=True)
        builder.rebalance()
        builder.get_ring().save(str(home / f"{kind}.ring.gz"))
        self.ring = Ring(str(home), kind)
        for node in range(count):
            self.start(node)

    def conf(self, node: int) -> dict[str, str]:
        return {
            "swift_dir": str(self.home),
            "devices": str(self.home / str(node)),
            "mount_check": "false",
            "fallocate_reserve": "0",
            "bind_ip": "127.0.0.1",
            "bind_port": str(self.listeners[node].getsockname()[1]),
            "recon_cache_path": str(self.home),
            "databases_per_second": "0",
            "reclaim_age": "2000000000",
            **self.more_conf,
        }

    def start(self, node: int) -> None:
        """Its server serves (again)."""
        self.apps[node] = self.server_class(self.conf(node), self.logger)
        server = Server(self.listeners[node], self.apps[node], {}, self.logger)
        self.running[node] = spawn(server.run)

    def stop(self) -> None:
        for green in self.running.values():
            kill(green)
        for listener in self.listeners.values():
            listener.close()

    def replicator(self, node: int, **conf: str) -> Any:
        return self.replicator_class({**self.conf(node), **conf}, self.logger, self.ring)

    def replicate(self, *nodes: int, **conf: str) -> None:
        """One pass of each of these nodes (all of them if none is named)."""
        for node in nodes or sorted(self.apps):
            self.replicator(node, **conf).run_once()

    # -- databases

    def part_nodes(self, *names: str) -> tuple[int, list[int]]:
        part, primaries = self.ring.get_nodes(*names)
        return part, [int(node["device"][2:]) for node in primaries]

    def path(self, node: int, *names: str) -> pathlib.Path:
        part = self.ring.get_part(*names)
        name_hash = hash_path(*names)
        root = self.home / str(node) / f"sd{node}" / self.broker_class.data_directory
        return pathlib.Path(storage_directory(str(root), str(part), name_hash)) / f"{name_hash}.db"

    def broker(self, node: int, *names: str) -> Any:
        return self.broker_class(str(self.path(node, *names)), logger=self.logger)

    def request(
        self, node: int, method: str, path: str, timestamp: str, body: str = "", **headers: Any
    ) -> int:
        """A request of a proxy to one node's server; `path` is below device and partition."""
        names = path.split("/", 2)[: 1 if self.kind == "account" else 2]
        part = self.ring.get_part(*names)
        return self.call(node, method, f"/sd{node}/{part}/{path}", timestamp, body, **headers)

    def call(self, node: int, method: str, path: str, timestamp: str, body: str = "", **headers: Any) -> int:
        """The same with the whole path."""
        given = {"X-Timestamp": timestamp, **{k.replace("_", "-"): str(v) for k, v in headers.items()}}
        return int(call(self.apps[node], method, path, "", given, body)[0])

    def put_object(self, node: int, path: str, timestamp: str, size: int = 7, policy: int = 0) -> int:
        return self.request(
            node,
            "PUT",
            path,
            timestamp,
            X_Size=size,
            X_Content_Type="t/x",
            X_Etag=f"e{size}",
            X_Backend_Storage_Policy_Index=policy,
        )
