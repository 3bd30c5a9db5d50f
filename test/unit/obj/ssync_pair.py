"""Two object servers, of which one replicates to the other over a real socket."""

import os

from obj_app import App

from swift.core.concurrency import spawn
from swift.engine.sockets import listen
from swift.obj.ssync.sender import Options, Session
from swift.wire.connection_pool import POOL
from swift.wire.server import Server

SWIFT_CONF = """[swift-hash]
swift_hash_path_prefix = changeme
swift_hash_path_suffix = changeme
[storage-policy:0]
name = gold
default = yes
[storage-policy:1]
name = silver
"""


class Served:
    """An App behind a server loop; `node` is its device as a ring would have it."""

    def __init__(self, root, more="", **conf):
        etc = f"{os.path.dirname(root)}/etc"  # a process has one
        os.makedirs(etc, exist_ok=True)
        with open(f"{etc}/swift.conf", "w") as file:
            file.write(SWIFT_CONF + more)
        self.app = App(root, swift_dir=etc, **conf)
        self.sock = listen("127.0.0.1", 0)
        self.server = Server(self.sock, self.app.application, {"client_timeout": "5"}, self.app.log)
        self.thread = spawn(self.server.run)
        ip, port = self.sock.getsockname()
        self.node = {
            "ip": ip,
            "port": port,
            "replication_ip": ip,
            "replication_port": port,
            "device": "sda",
            "region": 1,
            "id": 1,
        }

    def stop(self):
        POOL.clear()
        self.server.stop()
        self.thread.kill()

    def store(self, policy=0):
        service = self.app.server
        return service.stores.get(service.devices.get("sda"), service.policies[policy])

    def state(self, partition="7"):
        return dict(self.store().hashes(partition))


def push(source, node, partition="7", options=None, check_only=False, **more):
    """One session with everything in a partition."""
    store = source.store()
    session = Session(store, node, partition, options or Options(5, 5, 5), **more)
    return session.run(store.hashes(partition), check_only)
