"""One node after the other is restarted, or replaced by the other implementation and back, while clients go on: none is refused."""

import http.client
import itertools
import os
import pathlib
import random
import signal
import subprocess
import sys
import sysconfig
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))

from cluster import PORT_OF  # noqa: E402
from cluster import Cluster as MixedCluster  # noqa: E402

from test.cluster import NODES, Cluster, wait_for_port  # noqa: E402
from test.ports import free_port, free_ports  # noqa: E402

REFERENCE = os.environ.get("REFERENCE_BIN", "")
LONGEST = 60.0


class Clients:
    """Each writes, reads and deletes objects of its own, one request after the other, until told to stop.

    What is written must be read at once, what is deleted is known to be; nobody replicates between the restarts.
    """

    def __init__(self, address, token, container, count=3):
        self.address, self.token, self.container = address, token, container
        self.done, self.failed = 0, []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]

    def _run(self, number):
        chance = random.Random(number)
        connection = http.client.HTTPConnection(*self.address, timeout=LONGEST)
        have = {}

        def ask(method, name, body=None, **headers):
            connection.request(
                method,
                f"/v1/AUTH_test/{self.container}/{name}",
                body,
                {"X-Auth-Token": self.token, **headers},
            )
            answer = connection.getresponse()
            return answer.status, answer.read()

        try:
            for count in itertools.count():
                if self.stopping.is_set():
                    return
                name = f"{number}-{count}"
                body = chance.randbytes(chance.choice((0, 100, 4096, 100_000)))
                status, _ = ask("PUT", name, body)
                if status != 201:
                    self.failed.append(f"PUT {name}: {status}")
                have[name] = body
                name = chance.choice(list(have))
                status, got = ask("GET", name)
                if (status, got) != (200, have[name]):
                    self.failed.append(f"GET {name}: {status}, {len(got)} of {len(have[name])} bytes")
                if count % 5 == 4:
                    del have[name]
                    status, _ = ask("DELETE", name)
                    if status != 204:
                        self.failed.append(f"DELETE {name}: {status}")
                    status, _ = ask("GET", name, **{"X-Newest": "true"})  # a node that was away still has it
                    if status != 404:
                        self.failed.append(f"GET {name} after its DELETE: {status}")
                self.done += 1
        except Exception as err:
            self.failed.append(repr(err))

    def go_on(self, count):
        """Returns when so many more rounds are done."""
        wanted = self.done + count
        end = time.monotonic() + LONGEST
        while self.done < wanted and not self.failed:
            assert time.monotonic() < end
            time.sleep(0.02)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def test_a_rolling_restart_refuses_nobody(tmp_path):
    """Each node is told to end, and started again when it has; then the proxy starts anew in its place."""
    with Cluster(tmp_path / "saio") as cluster:
        assert cluster.request("PUT", "/c").status == 201
        with Clients(cluster.address, cluster.token, "c") as clients:
            clients.go_on(10)
            for node in NODES:
                (leader,) = [pid for pid in cluster.pids(f"node{node}") if os.getpgid(pid) == pid]
                os.kill(leader, signal.SIGTERM)
                end = time.monotonic() + LONGEST
                while cluster.pids(f"node{node}"):
                    assert time.monotonic() < end
                    time.sleep(0.02)
                clients.go_on(5)
                cluster.revive(f"node{node}")
                clients.go_on(5)
            (leader,) = [pid for pid in cluster.pids("proxy") if os.getpgid(pid) == pid]
            os.kill(leader, signal.SIGUSR1)
            clients.go_on(10)
        assert clients.failed == []


@pytest.mark.reference
@pytest.mark.skipif(not REFERENCE, reason="REFERENCE_BIN names no installation of the reference")
def test_a_rolling_upgrade_refuses_nobody(tmp_path):
    """The reference's nodes become ours, one by one, and the reference's again; through our proxy."""
    ours = pathlib.Path(os.environ.get("OURS_BIN", sysconfig.get_path("scripts")))
    port, base = free_ports()
    memcache_port = free_port()
    memcached = subprocess.Popen(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(memcache_port)])
    cluster = MixedCluster("rolling", ours, tmp_path / "rolling", port, base, f"127.0.0.1:{memcache_port}")
    cluster.bin_of_node = dict.fromkeys(NODES, pathlib.Path(REFERENCE))
    try:
        wait_for_port("127.0.0.1", memcache_port)
        cluster.write()
        cluster.start()
        token = authenticate(port)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST)
        connection.request("PUT", "/v1/AUTH_test/c", headers={"X-Auth-Token": token})
        assert connection.getresponse().status == 201
        with Clients(("127.0.0.1", port), token, "c") as clients:
            clients.go_on(10)
            for folder in (ours, pathlib.Path(REFERENCE)):
                for node in NODES:
                    replace(cluster, node, folder)
                    clients.go_on(5)
        assert clients.failed == []
    finally:
        cluster.stop()
        memcached.kill()
        memcached.wait()


def authenticate(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST)
    connection.request("GET", "/auth/v1.0", headers={"X-Auth-User": "test:tester", "X-Auth-Key": "testing"})
    return connection.getresponse().headers["X-Auth-Token"]


def replace(cluster, node, folder):
    """A node's servers finish what they have begun; then those of the other implementation take their place."""
    for server in PORT_OF:
        process = cluster.processes.pop(f"{server}-{node}")
        os.kill(process.pid, signal.SIGHUP)  # of both: take nothing new, and end when all is done
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        cluster.start_one(f"{server}-{node}", server, folder)
    for offset in PORT_OF.values():
        cluster.wait(cluster.base_port + 10 * node + offset, f"127.0.0.{node}")
