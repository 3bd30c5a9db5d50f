"""Clocks that are an hour off either way, of storage nodes and of proxies: what was acknowledged is what is read, and all copies become the same."""

import json

import pytest

from swift.cli import saio
from swift.cli.saio_layout import NODES
from swift.core import swift_dir
from test.altered import spawner
from test.load import Client, Load
from test.two_proxies import TwoProxies, run_on

HOUR = 3600
NODE_CLOCKS = {1: HOUR, 2: -HOUR}


def copies(cluster):
    """{name hash: {names of files, in each place}} of all policies; fragments without their index."""
    found = {}
    for path in cluster.layout.disks.glob("*/*/objects*/*/*/*"):
        if len(path.name) == 32:
            files = frozenset(file.name.partition("#")[0].removesuffix(".data") for file in path.iterdir())
            found.setdefault(path.name, []).append(files)
    return found


def replicate(cluster):
    """Each node's, by the node's own clock."""
    etc = cluster.layout.etc
    for node in NODES:
        altered = {"ALTERED_CLOCK": str(NODE_CLOCKS.get(node, 0))}
        if list(cluster.layout.disks.glob(f"{node}/*/async_pending*/*")):
            run_on("swift-object-updater", str(etc / "object-server" / f"{node}.conf"), "once", **altered)
        run_on("swift-object-replicator", str(etc / "object-server" / f"{node}.conf"), "once", **altered)
        run_on(
            "swift-container-replicator", str(etc / "container-server" / f"{node}.conf"), "once", **altered
        )
        run_on("swift-container-updater", str(etc / "container-server" / f"{node}.conf"), "once", **altered)


@pytest.fixture(params=[0, HOUR], ids=["right", "ahead"])
def cluster(request, tmp_path, monkeypatch):
    """The clock of the second proxy is off, and those of two nodes."""

    def environ(name):
        if name == "proxy2":
            return {"ALTERED_CLOCK": str(request.param)}
        return {"ALTERED_CLOCK": str(NODE_CLOCKS.get(int(name[4:]), 0))} if name.startswith("node") else {}

    monkeypatch.setattr(saio, "_spawn", spawner(environ))
    cluster = TwoProxies(tmp_path / "saio")
    cluster.write()
    cluster.trust_everybody()  # signatures hold for less than an hour
    swift_dir.use(str(cluster.layout.etc))
    with cluster:
        cluster.kill("daemons")
        cluster.skew = request.param
        yield cluster
        for path in sorted(cluster.layout.log.iterdir()):
            assert "Traceback" not in path.read_text(errors="replace"), path


class PatientClient(Client):
    """Hears that there is something newer already (202, 409) as what it is: its own write was not taken."""

    def step(self):
        name = self.random.choice(self.names)
        there = self.bodies.get(name) is not None
        kind = self.random.choice(("PUT", "PUT", "DELETE") if there else ("PUT",))
        if kind == "PUT":
            body = self.random.randbytes(self.random.choice((100, 70_000)))
            answer = self.ask("PUT", name, body, {"X-Object-Meta-A": "put"}, (201, 202))
            if answer and answer[0].get("Etag"):
                self.bodies[name], self.metas[name] = body, "put"
        elif self.ask_status("DELETE", name) == 204:
            self.bodies[name] = None
        self.look(name)

    def ask_status(self, method, name):
        before = len(self.failures)
        if self.ask(method, name, None, {}, (204,)):
            return 204
        said = self.failures[before:]
        del self.failures[before:]
        if any(": 409 for" in line for line in said):
            return 409
        self.failures += said
        return 0


def test_an_hour_off(cluster):
    for container, policy in ("/gold", "gold"), ("/ec", "ec42"):
        assert cluster.request("PUT", container, headers={"X-Storage-Policy": policy}).status == 201
    addresses = cluster.addresses()
    load = Load(addresses, cluster.token, ["/gold", "/ec"])
    if cluster.skew:
        load.clients = [
            PatientClient(addresses, cluster.token, c, n) for c in ("/gold", "/ec") for n in range(2)
        ]
    with load.running():
        load.rest(40)
    replicate(cluster)
    load.check()
    for name, places in copies(cluster).items():
        assert len(set(places)) == 1, (name, places)
    for container in "/gold", "/ec":
        wanted = {
            name: len(body)
            for client in load.clients
            if client.container == container
            for name, body in client.bodies.items()
            if body is not None
        }
        rows = json.loads(cluster.request("GET", f"{container}?format=json").body)
        assert {row["name"]: row["bytes"] for row in rows} == wanted
        head = cluster.request("HEAD", container).headers
        assert int(head["x-container-object-count"]) == len(wanted)
        assert int(head["x-container-bytes-used"]) == sum(wanted.values())
