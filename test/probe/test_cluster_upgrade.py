"""From the reference to us, a node at a time while clients write, and back: nothing that either has acknowledged is missing.

Run with REFERENCE_BIN=/path/to/its/bin.
"""

import contextlib
import hashlib
import os
import pathlib
import subprocess
import time

import pytest

from test import network
from test.deployed import BIN, Deployed

REFERENCE = pathlib.Path(os.environ.get("REFERENCE_BIN", ""))
pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(
        not os.environ.get("REFERENCE_BIN"), reason="REFERENCE_BIN names no installation of the reference"
    ),
]
SERVERS = ("account", "container", "object", "proxy")
PIPELINE = "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats tempauth copy slo dlo versioned_writes symlink proxy-logging proxy-server"
DESCRIPTION = """
[cluster]
part_power = 6
{cluster}
[policies.gold]
index = 0
default = true
[users]
"test:tester" = {{ key = "testing", groups = ".admin" }}
[defaults]
disks = {{ sdb1 = 100 }}
{defaults}
[options.proxy-server]
DEFAULT = {{ workers = 1 }}
"pipeline:main" = {{ pipeline = "{pipeline}" }}
"app:proxy-server" = {{ error_suppression_interval = 1 }}
[options.account-server]
DEFAULT = {{ mount_check = false, workers = 1 }}
[options.container-server]
DEFAULT = {{ mount_check = false, workers = 1 }}
[options.object-server]
DEFAULT = {{ mount_check = false, workers = 1 }}
"""


class Store(Deployed):
    def begin(self):
        cluster, defaults = self.options()
        text = DESCRIPTION.format(cluster=cluster, defaults=defaults, pipeline=PIPELINE)
        text += "".join(
            f'[nodes.{node}]\naddress = "{self.ip(node)}"\nzone = {n}\n' for n, node in enumerate(self.nodes)
        )
        (self.desk / "cluster.toml").write_text(text)
        self.shell("swift-cluster apply && swift-cluster push")
        self.processes = {}
        self.acknowledged = {}

    def start(self, node, commands):
        running = self.processes[node] = []
        for server in SERVERS:
            conf = self.home / node / "etc" / f"{server}-server.conf"
            with open(self.home / node / "run" / f"{server}.log", "a") as log:
                words = self.network.command(
                    node, [str(commands / f"swift-{server}-server"), str(conf), "verbose"]
                )
                running.append(
                    subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
                )
        for port in (6200, 6201, 6202, 8080):
            end = time.monotonic() + 60
            while True:
                try:
                    self.network.connect("desk", (self.ip(node), port), 1).close()
                    break
                except OSError:
                    assert time.monotonic() < end, self.logs()
                    time.sleep(0.1)

    def stop(self, node):
        for process in self.processes[node]:
            process.terminate()
        for process in self.processes[node]:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)

    def put(self, node, count=3):
        """Until each is acknowledged: a node has just gone, or come."""
        for _ in range(count):
            path = f"/box/{len(self.acknowledged):04d}"
            body = hashlib.sha256(path.encode()).digest() * 100
            end = time.monotonic() + 60
            while (answer := self.ask("PUT", path, body, node=node)).status != 201:
                assert answer.status == 503 and time.monotonic() < end, (answer, self.logs())
                time.sleep(0.2)
            self.acknowledged[path] = body

    def assert_nothing_is_missing(self, node):
        for path, body in self.acknowledged.items():
            answer = self.ask("GET", path, node=node)
            assert (answer.status, answer.body == body) == (200, True), (path, answer)


@pytest.fixture
def store(tmp_path):
    if why := network.why_not():
        pytest.skip(why)
    with Store(tmp_path, 3) as made:
        made.begin()
        yield made


def test_nodes_change_over_one_at_a_time_and_back(store):
    for node in store.nodes:
        store.start(node, REFERENCE)
    store.authenticate("testing")
    assert store.ask("PUT", "/box").status in (201, 202)
    for node in store.nodes:
        store.put(node)
    for commands, order in ((BIN, store.nodes), (REFERENCE, store.nodes[::-1])):
        for at, node in enumerate(order):
            other = order[at - 1]
            store.stop(node)
            store.put(other)
            store.start(node, commands)
            store.put(node)
            store.assert_nothing_is_missing(node)
            store.assert_nothing_is_missing(other)
    # a replica that was away while rows came gets them from the others, and from those who could not tell it
    for daemon, conf in (("container-replicator", "container-server"), ("object-updater", "object-server")):
        for node in store.nodes:
            words = [str(BIN / f"swift-{daemon}"), f"{store.home}/{node}/etc/{conf}.conf", "once"]
            subprocess.run(store.network.command(node, words), check=True, timeout=120)
    listing = store.ask("GET", "/box").body.decode().split()
    assert [f"/box/{name}" for name in listing] == sorted(store.acknowledged)
